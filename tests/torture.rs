//! The torture messages of RFC 4475 and RFC 5118 and a few of our own, as files under `tests/torture`, each with the
//! verdict that is expected of it. Every file there must be in the table.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use hookswitch::sip::{Contacts, Frame, HeaderName, Headers, Message, Request, StreamFramer};

/// `ok`, with the headers that cannot be read when asked for; or the answer and whether it can be given.
const VERDICTS: &[(&str, &str)] = &[
    // RFC 4475 §3.1.1: valid.
    ("wsinv.sip", "ok"),
    ("intmeth.dat", "ok"),
    ("esc01.sip", "ok"),
    ("escnull.sip", "ok"),
    ("esc02.sip", "ok"),
    ("lwsdisp.sip", "ok"),
    ("longreq.sip", "ok"),
    ("dblreq.sip", "ok"),
    ("semiuri.sip", "ok"),
    ("transports.sip", "ok"),
    ("mpart01.dat", "ok"),
    ("unreason.sip", "ok"),
    ("noreason.sip", "ok"),
    // RFC 4475 §3.1.2: invalid.
    ("badinv01.sip", "400 Malformed Via, silent"),
    ("badct01.sip", "ok, malformed Contact"),
    ("clerr.sip", "400 Body Shorter Than Content-Length"),
    ("ncl.sip", "400 Malformed Content-Length"),
    ("scalar02.sip", "400 Malformed CSeq"),
    ("scalarmf.sip", "400 Malformed Max-Forwards"),
    ("scalarlg.sip", "400 Malformed CSeq, silent"),
    ("quotbal.sip", "400 Malformed To"),
    ("ltgtruri.sip", "400 Malformed Request-URI"),
    ("lwsruri.sip", "400 Malformed Start Line"),
    ("lwsstart.sip", "400 Malformed Start Line"),
    ("trws.sip", "400 Malformed Start Line"),
    ("escruri.sip", "400 Malformed Request-URI"),
    // Nothing here reads Date, and RFC 4475 allows to ignore what is not read.
    ("baddate.sip", "ok"),
    ("regbadct.sip", "ok, malformed Contact"),
    ("badaspec.sip", "400 Malformed To"),
    ("baddn.sip", "400 Malformed From"),
    ("badvers.sip", "505 Version Not Supported"),
    ("mismatch01.sip", "400 Method Mismatch in CSeq"),
    ("mismatch02.sip", "400 Method Mismatch in CSeq"),
    ("bigcode.sip", "400 Malformed Start Line, silent"),
    // RFC 4475 §3.2, §3.3: well-formed; what they ask for is for others to refuse.
    ("badbranch.sip", "ok"),
    ("insuf.sip", "400 Missing From, silent"),
    ("unkscm.sip", "ok"),
    ("novelsc.sip", "ok"),
    ("unksm2.sip", "ok"),
    ("bext01.sip", "ok"),
    ("regaut01.sip", "ok"),
    ("multi01.sip", "400 Duplicate CSeq"),
    ("mcl01.sip", "400 Duplicate Content-Length"),
    ("bcast.sip", "ok"),
    ("zeromf.sip", "ok"),
    ("cparam01.sip", "ok"),
    ("cparam02.sip", "ok"),
    ("regescrt.sip", "ok"),
    ("inv2543.sip", "ok"),
    // RFC 5118 §4.
    ("ipv6-good.sip", "ok"),
    ("ipv6-bad.sip", "400 Malformed Request-URI"),
    ("port-ambiguous.sip", "ok"),
    ("port-unambiguous.sip", "ok"),
    ("via-received-delim.sip", "ok"),
    ("via-received-no-delim.sip", "ok"),
    ("ipv4-mapped.sip", "ok"),
    ("abnf-3-colons.sip", "ok"),
    ("mult-ip.sip", "ok"),
    // Ours.
    ("nonutf8.dat", "ok"),
    ("refer-replaces.sip", "ok"),
    ("tel.sip", "ok"),
    ("star.sip", "ok"),
];

#[test]
fn every_message_gets_its_verdict() {
    let found: Vec<_> = VERDICTS.iter().map(|(name, _)| (*name, verdict(read(name)))).collect();
    let found: Vec<_> = found.iter().map(|(name, verdict)| (*name, verdict.as_str())).collect();
    for (found, expect) in found.iter().zip(VERDICTS) {
        assert_eq!(found, expect);
    }
}

#[test]
fn every_file_is_in_the_table() {
    let files: BTreeSet<String> = fs::read_dir(directory())
        .expect("the corpus is readable")
        .map(|it| it.expect("the corpus is readable").file_name().into_string().expect("names are UTF-8"))
        .filter(|it| !it.starts_with('.'))
        .collect();
    let table: BTreeSet<String> = VERDICTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, table);
}

#[test]
fn what_is_accepted_is_written_back_and_framed_alike() {
    for (name, _) in VERDICTS.iter().filter(|(_, verdict)| verdict.starts_with("ok")) {
        let bytes = read(name);
        let message = Message::parse(bytes.clone()).expect("accepted");
        let written = message.to_bytes();
        // What follows the body of a datagram is not the message.
        assert!(bytes.starts_with(&written), "{name}");
        assert_eq!(written.len() < bytes.len(), *name == "dblreq.sip", "{name}");
        assert_eq!(Message::parse(written.clone()).as_ref(), Ok(&message), "{name}");
        if message.headers().content_length().is_none() {
            continue;
        }
        let mut framer = StreamFramer::new();
        let mut frames = vec![];
        for byte in &written {
            framer.push(&[*byte]);
            frames.extend(framer.by_ref());
        }
        assert_eq!(frames, [Ok(Frame::Message(message))], "{name}");
    }
}

#[test]
fn what_a_datagram_has_too_much_is_not_a_second_request_but_in_a_stream_it_is() {
    let mut framer = StreamFramer::new();
    framer.push(&read("dblreq.sip"));
    let methods: Vec<_> = framer
        .map(|it| match it {
            Ok(Frame::Message(Message::Request(request))) => request.method().to_string(),
            Ok(frame) => format!("{frame:?}"),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(methods, ["REGISTER", "Pong", "INVITE"]);
}

#[test]
fn odd_dress_does_not_hide_what_is_said() {
    let request = request("wsinv.sip");
    let headers = request.headers();
    assert_eq!((headers.to().tag(), headers.from().tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!(headers.from().display_name().as_deref(), Some("J Rosenberg \\\""));
    assert_eq!((headers.max_forwards(), headers.cseq().number), (Some(68), 9));
    let vias = headers.vias().expect("three");
    let vias: Vec<_> = vias.iter().map(|it| (it.transport_str(), it.host().to_string(), it.branch())).collect();
    assert_eq!(
        vias,
        [
            ("UDP", "192.0.2.2".to_owned(), Some("390skdjuw")),
            ("TCP", "spindle.example.com".to_owned(), Some("z9hG4bK9ikj8")),
            ("UDP", "192.168.255.111".to_owned(), Some("z9hG4bK30239")),
        ]
    );
    let contacts = headers.contacts().expect("one");
    let contact = contacts.first().expect("one");
    assert_eq!(contact.display_name().as_deref(), Some("Quoted string \"\""));
    assert_eq!((contact.params().value("newparam"), contact.params().value("q")), (Some("newvalue"), Some("0.33")));
    assert_eq!(headers.get(&HeaderName::Subject), Some(""));
    let folded = HeaderName::Other("newfangledheader".into());
    let words: Vec<_> = headers.get(&folded).expect("there").split_ascii_whitespace().collect();
    assert_eq!(words, ["newfangled", "value", "continued", "newfangled", "value"]);
    assert!(headers.raw(&folded).expect("there").windows(2).any(|it| it == b"\r\n"));
}

#[test]
fn escapes_keep_and_mean() {
    let esc01 = request("esc01.sip");
    assert_eq!(esc01.uri().user(), Some("sips%3Auser%40example.com"));
    assert_eq!(esc01.uri().user_decoded().as_deref(), Some("sips:user@example.com"));
    assert_eq!(esc01.headers().to().uri().user_decoded().as_deref(), Some("user"));
    let contacts = request("esc02.sip").headers().contacts();
    assert!(matches!(contacts, Ok(Contacts::List(list)) if list.len() == 2), "an escaped name is another name");
    let semi = request("semiuri.sip");
    assert_eq!(semi.uri().user_decoded().as_deref(), Some("user;par=u@example.net"));
    let refer = request("refer-replaces.sip");
    let target = refer.headers().address(HeaderName::ReferTo).expect("there").expect("valid");
    let replaces = target.uri().header("replaces").expect("there").into_owned();
    assert_eq!(replaces, "12345@192.168.118.3;to-tag=12345;from-tag=5FFE-3994");
    assert_eq!(target.uri().without_headers().as_str(), "sip:dave@denver.example.org");
}

#[test]
fn what_is_not_utf8_hides_nothing() {
    let request = request("nonutf8.dat");
    let headers = request.headers();
    assert_eq!((headers.iter().count(), headers.cseq().number), (8, 1));
    assert_eq!(headers.get(&HeaderName::Other("X-City".into())), Some("K\u{1a}ln"));
    assert_eq!(headers.raw(&HeaderName::Other("X-City".into())), Some(&b"K\xf6ln"[..]));
    assert_eq!(headers.from().uri().as_str(), "sip:j@example.com");
    assert!(request.edit().append(HeaderName::Server, "s").build().is_ok_and(|it| {
        it.headers().raw(&HeaderName::Subject) == Some(b"\xff\xfe") && it.headers().iter().count() == 9
    }));
}

#[test]
fn ipv6_stands_everywhere() {
    let vias = request("mult-ip.sip").headers().vias().expect("two");
    assert_eq!(vias.iter().map(|it| it.port()).collect::<Vec<_>>(), [Some(6050), Some(8080)]);
    for name in ["via-received-delim.sip", "via-received-no-delim.sip"] {
        assert_eq!(request(name).headers().top_via().received(), "2001:db8::9:255".parse().ok(), "{name}");
    }
    assert_eq!(request("port-ambiguous.sip").uri().port(), None);
    assert_eq!(request("port-unambiguous.sip").uri().port(), Some(5070));
    assert_eq!(request("star.sip").headers().contacts(), Ok(Contacts::Star));
    let tel = request("tel.sip");
    assert_eq!(tel.uri().user(), Some("+1-201-555-0123"));
    assert_eq!(tel.headers().from().display_name().as_deref(), Some("x <y>, \"z\""));
}

fn verdict(bytes: Bytes) -> String {
    match Message::parse(bytes) {
        Ok(message) => {
            let bad = unreadable(message.headers());
            if bad.is_empty() { "ok".to_owned() } else { format!("ok, malformed {}", bad.join(" ")) }
        }
        Err(error) => {
            let source = "192.0.2.200:5060".parse().expect("an address");
            let silent = if error.reply(source, "tag").is_some() { "" } else { ", silent" };
            match error.reply(source, "tag") {
                Some(reply) => match Message::parse(reply) {
                    Ok(Message::Response(response)) => format!("{} {}{silent}", response.status(), response.reason()),
                    // A response that copies a malformed header is malformed itself.
                    _ => format!("{} {}{silent}", error.status(), error.reason()),
                },
                None => format!("{} {}{silent}", error.status(), error.reason()),
            }
        }
    }
}

/// The headers with a typed view that refuses them.
fn unreadable(headers: &Headers) -> Vec<String> {
    let lists = [HeaderName::Route, HeaderName::RecordRoute, HeaderName::PAssertedIdentity, HeaderName::Diversion];
    let mut bad: Vec<String> = vec![];
    bad.extend(lists.into_iter().filter_map(|it| headers.addresses(it).err()).map(|it| it.0.to_string()));
    bad.extend(headers.vias().err().map(|it| it.0.to_string()));
    bad.extend(headers.contacts().err().map(|it| it.0.to_string()));
    bad.extend(headers.address(HeaderName::ReferTo).and_then(Result::err).map(|it| it.0.to_string()));
    bad.extend(headers.content_type().and_then(Result::err).map(|it| it.0.to_string()));
    bad.extend(headers.retry_after().and_then(Result::err).map(|it| it.0.to_string()));
    bad.extend(headers.expires().and_then(Result::err).map(|it| it.0.to_string()));
    bad
}

fn request(name: &str) -> Request {
    match Message::parse(read(name)) {
        Ok(Message::Request(request)) => Some(request),
        Ok(Message::Response(_)) | Err(_) => None,
    }
    .expect("a request that is accepted")
}

fn read(name: &str) -> Bytes {
    fs::read(directory().join(name)).expect("the corpus is readable").into()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}
