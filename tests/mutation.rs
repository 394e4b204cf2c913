//! Hostile input: messages that were torn, spliced and flipped. Nothing may panic, and what is said of a message that is
//! accepted must hold: it writes back what was read, reads back what it wrote, and comes out of a stream as it went in.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use hookswitch::limits::SIP_MESSAGE_BYTES_MAX;
use hookswitch::sdp::SessionDescription;
use hookswitch::sip::{
    AuthenticationInfo, Challenge, Credentials, Frame, Headers, Host, MediaType, Message, Method, NameAddr, Replaces,
    Request, Response, RetryAfter, StatusCode, StreamFramer, Uri, Via,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

const MUTATIONS: u32 = 100_000;

#[test]
fn mutated_messages_never_panic_and_keep_their_promises() {
    let corpus = corpus();
    let mut rng = ChaCha12Rng::seed_from_u64(0x5150);
    let (mut accepted, mut answered) = (0, 0);
    for _ in 0..MUTATIONS {
        let input = Bytes::from(mutate(&corpus, &mut rng));
        match Message::parse(input.clone()) {
            Ok(message) => {
                accepted += 1;
                check_message(&input, &message);
            }
            Err(error) => answered += u32::from(check_reply(&error)),
        }
    }
    // Otherwise the mutations are too wild or too tame to say anything.
    assert!(accepted > MUTATIONS / 8 && answered > MUTATIONS / 20, "{accepted} {answered}");
}

#[test]
fn mutated_streams_never_panic_and_end() {
    let corpus = corpus();
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    for _ in 0..10_000 {
        let stream = [mutate(&corpus, &mut rng), mutate(&corpus, &mut rng)].concat();
        let whole = frames(&stream, usize::MAX);
        let chunk = 1 + below(&mut rng, 300);
        assert_eq!(frames(&stream, chunk), whole, "chunks of {chunk}");
    }
}

#[test]
fn mutated_session_descriptions_never_panic_and_are_written_as_they_are_read() {
    let corpus: Vec<Vec<u8>> = corpus()
        .iter()
        .filter_map(|it| it.windows(4).position(|it| it == b"\r\n\r\n").and_then(|at| it.get(at + 4..)))
        .filter(|it| it.starts_with(b"v=0"))
        .map(<[u8]>::to_vec)
        .collect();
    let mut rng = ChaCha12Rng::seed_from_u64(8);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let Ok(sdp) = SessionDescription::parse(&mutate(&corpus, &mut rng)) else {
            continue;
        };
        accepted += 1;
        for media in &sdp.media {
            let attributes = &media.attributes;
            let read = (attributes.rtpmaps().count(), attributes.cryptos().count(), attributes.rtcp());
            assert!(read.0 <= attributes.len() && attributes.fmtp(0).is_none_or(|it| it.len() < 70_000));
            assert!(media.payload_types().all(|it| it < 128) && sdp.direction_of(media).as_str().len() >= 8);
        }
        let written = sdp.to_string();
        let again = SessionDescription::parse(written.as_bytes()).expect("what was written can be read");
        assert_eq!(again.to_string(), written);
    }
    assert!(accepted > 2_000, "{accepted}");
}

/// What a digest field says is written as it is read, whatever else stands beside it.
#[test]
fn mutated_credentials_never_panic_and_keep_their_promises() {
    const CORPUS: &[&str] = &[
        "Digest realm=\"a, b\", nonce=\"n\", opaque=\"o\", stale=true, algorithm=SHA-256, qop=\"auth,auth-int\"",
        "Digest realm=a,nonce=n , Digest realm=\"b\", nonce=\"\\\"\", domain=\"sip:x\",algorithm=MD5-sess",
        "Basic YWJj==, Negotiate, Digest realm=\"c\",nonce=\"m\"",
        "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0a\", algorithm=MD5, cnonce=\"c\", \
         qop=auth-int, nc=0000000a, opaque=\"\"",
        "nextnonce=\"n\", rspauth=\"0a\", qop=auth, cnonce=\"c\", nc=00000001",
    ];
    let corpus: Vec<_> = CORPUS.iter().map(|it| it.as_bytes().to_vec()).collect();
    let mut rng = ChaCha12Rng::seed_from_u64(9);
    let [mut challenges, mut credentials, mut infos] = [0; 3];
    for _ in 0..MUTATIONS {
        let bytes = mutate(&corpus, &mut rng);
        let text = String::from_utf8_lossy(&bytes);
        for challenge in Challenge::parse_all(&text).into_iter().flatten() {
            let again = Challenge::parse_all(challenge.as_str()).expect("one alone");
            assert_eq!(again.first().map(Challenge::as_str), Some(challenge.as_str()));
            let read = challenge.params().iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            assert!(read <= challenge.as_str().len());
            if let Some(digest) = challenge.digest() {
                challenges += 1;
                let written = digest.to_string();
                let mut again = Challenge::parse_all(&written).and_then(|it| it.first()?.digest()).expect("a digest");
                // An algorithm that is not known is left out, which means another.
                again.algorithm = digest.algorithm;
                again.qop = digest.qop;
                assert_eq!(again, digest, "{text:?}");
            }
        }
        if let Some(digest) = Credentials::parse(&text).and_then(|it| it.digest()) {
            credentials += 1;
            let written = digest.to_string();
            let mut again = Credentials::parse(&written).and_then(|it| it.digest()).expect("a digest");
            again.algorithm = digest.algorithm;
            assert!(again == digest, "{text:?}");
        }
        if let Some(info) = AuthenticationInfo::parse(&text) {
            infos += 1;
            assert_eq!(AuthenticationInfo::parse(&info.to_string()), Some(info), "{text:?}");
        }
    }
    let least = challenges.min(credentials).min(infos);
    assert!(least > 1_000, "{challenges} {credentials} {infos}");
}

fn check_message(input: &[u8], message: &Message) {
    let written = message.to_bytes();
    let start = input.iter().take_while(|it| matches!(it, b'\r' | b'\n')).count();
    assert!(input.get(start..).is_some_and(|it| it.starts_with(&written)));
    assert!(written.ends_with(message.body()));
    assert_eq!(Message::parse(written.clone()).as_ref(), Ok(message));
    check_headers(message.headers());
    let source = source();
    match message {
        Message::Request(request) => {
            check_uri(request.uri());
            let same = request.edit().build().expect("unchanged");
            if request.headers().content_length().is_some() {
                assert_eq!(same.to_bytes(), written);
            }
            let stamped = request.edit().stamp_via(source).build().expect("a stamped request is a request");
            assert_eq!(vias(stamped.headers()), vias(request.headers()));
            check_response(request, &stamped);
        }
        Message::Response(response) => {
            assert_eq!(Message::parse(response.edit().build().expect("unchanged").to_bytes()).map(|_| ()), Ok(()));
        }
    }
}

fn check_response(request: &Request, stamped: &Request) {
    let reply = Response::reply(stamped, StatusCode::NOT_FOUND).to_tag(stamped, "ours").build();
    let reply = reply.expect("every request can be answered");
    let (asked, told) = (request.headers(), reply.headers());
    assert_eq!((asked.call_id(), asked.cseq(), asked.from()), (told.call_id(), told.cseq(), told.from()));
    assert_eq!(told.to().tag(), asked.to().tag().or(Some("ours")), "{:?}", asked.to().as_str());
    assert_eq!(vias(asked), vias(told));
}

fn vias(headers: &Headers) -> Option<usize> {
    headers.vias().ok().map(|it| it.len())
}

fn check_headers(headers: &Headers) {
    check_uri(headers.from().uri());
    check_uri(headers.to().uri());
    let names = headers.iter().map(|it| it.name()).collect::<Vec<_>>();
    for name in &names {
        assert!(headers.contains(name) && headers.all(name).count() <= names.len());
        if let Ok(addresses) = headers.addresses(name.clone()) {
            for address in addresses {
                assert_eq!(NameAddr::parse(address.as_str()).as_ref(), Ok(&address));
                check_uri(address.uri());
                let read = (address.display_name(), address.params().iter().count(), address.tag());
                assert!(read.1 <= address.as_str().len());
            }
        }
    }
    for via in headers.vias().into_iter().flatten() {
        assert_eq!(Via::parse(via.as_str()).as_ref(), Ok(&via));
        let stamped = via.stamped(source());
        assert_eq!((stamped.branch(), stamped.host().to_string()), (via.branch(), via.host().to_string()));
        assert!(via.rport().is_none() || stamped.rport() == Some(Some(5999)));
        assert!(Host::parse(&via.host().to_string()).is_some_and(|it| it.same(via.host())));
    }
    let read =
        (headers.contacts().is_ok(), headers.session_expires(), headers.min_se(), headers.rack(), headers.rseq());
    let more = (headers.expires(), headers.reasons().count(), headers.require().count(), headers.supported().count());
    let rest = (headers.allows(&Method::Invite), headers.retry_after().is_some(), headers.content_type().is_some());
    assert!(!format!("{read:?}{more:?}{rest:?}").is_empty());
    for text in headers.iter().map(|it| it.value()).filter(|it| it.len() < 200) {
        let read = (Replaces::parse(text), MediaType::parse(text).is_some(), RetryAfter::parse(text).is_some());
        assert!(!format!("{read:?}").is_empty());
    }
}

fn check_uri(uri: &Uri) {
    assert_eq!(Uri::parse(uri.as_str()).as_ref(), Ok(uri));
    assert!(uri.equivalent(uri), "{}", uri.as_str());
    assert_eq!(uri.detached(), *uri);
    assert!(!uri.without_headers().has_headers(), "{}", uri.as_str());
    assert!(uri.headers().count() <= uri.as_str().len());
    if uri.is_sip() {
        let with = uri.with_param("x-added", Some("1")).expect("a parameter more");
        assert_eq!(with.params().value("x-added"), Some("1"), "{}", with.as_str());
        assert_eq!((with.user(), with.host(), with.port()), (uri.user(), uri.host(), uri.port()));
        assert!(!with.without_param("x-added").params().contains("x-added"));
    }
}

/// Whether there is a reply. It must be one message and say nothing that is not one line.
fn check_reply(error: &hookswitch::sip::ParseError) -> bool {
    assert!(!error.reason().is_empty() && !format!("{error:?}").is_empty());
    let Some(reply) = error.reply(source(), "ours") else {
        return false;
    };
    let text = std::str::from_utf8(&reply).expect("replies are text");
    let lines: Vec<_> = text.split("\r\n").collect();
    assert!(lines.iter().all(|it| !it.contains(['\r', '\n', '\0'])), "{text:?}");
    let blank = lines.iter().position(|it| it.is_empty()).expect("there is an end");
    assert_eq!(blank + 2, lines.len(), "{text:?}");
    let names = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: ", "Content-Length: 0"];
    assert!(lines[1..blank].iter().all(|line| names.iter().any(|it| line.starts_with(it))), "{text:?}");
    true
}

fn frames(stream: &[u8], chunk: usize) -> Vec<String> {
    let mut framer = StreamFramer::new();
    let mut found = vec![];
    for part in stream.chunks(chunk.min(stream.len().max(1))) {
        framer.push(part);
        for frame in framer.by_ref() {
            found.push(match frame {
                Ok(Frame::Message(message)) => format!("{:?} {}", message, message.to_bytes().len()),
                // How line ends group into keep-alives depends on how they arrive.
                Ok(Frame::Ping | Frame::Pong) => continue,
                other => format!("{other:?}"),
            });
        }
        assert!(framer.held_bytes() <= SIP_MESSAGE_BYTES_MAX);
    }
    found
}

fn mutate(corpus: &[Vec<u8>], rng: &mut ChaCha12Rng) -> Vec<u8> {
    const SPECIAL: &[&[u8]] = &[
        b"\r\n",
        b"\r\n ",
        b"\n",
        b"\r",
        b"\0",
        b"\"",
        b"\\",
        b"<",
        b">",
        b";",
        b",",
        b":",
        b"=",
        b"@",
        b"?",
        b"%",
        b"[",
        b"]",
        b" ",
        b"\t",
        b"\xff",
        b"\xc3\xbc",
        b"%00",
        b"sip:",
        b"tel:+1",
        b"Content-Length: 5\r\n",
        b"l: 99999\r\n",
        b"Via: ",
        b"SIP/2.0",
        b"*",
        b";;",
        b"-1",
        b"4294967296",
        b"\r\n\r\n",
        b";tag=",
        b"\x1a",
        b"::",
        b":::1.2.3.4]",
    ];
    let mut bytes = corpus[below(rng, corpus.len())].clone();
    for _ in 0..=below(rng, 2) {
        let at = below(rng, bytes.len() + 1);
        let end = (at + below(rng, 40)).min(bytes.len());
        match below(rng, 8) {
            0 if at.is_multiple_of(4) => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, SPECIAL[below(rng, SPECIAL.len())].iter().copied())),
            3 => drop(bytes.splice(at..end, SPECIAL[below(rng, SPECIAL.len())].iter().copied())),
            4 if at < bytes.len() => bytes[at] = rng.next_u32().to_le_bytes()[0],
            5 => {
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            _ => {
                let other = &corpus[below(rng, corpus.len())];
                let from = below(rng, other.len());
                let to = (from + below(rng, 80)).min(other.len());
                drop(bytes.splice(at..at, other[from..to].iter().copied()));
            }
        }
    }
    bytes
}

fn below(rng: &mut ChaCha12Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound.max(1)
}

fn source() -> SocketAddr {
    ([192, 0, 2, 200], 5999).into()
}

fn corpus() -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the corpus is readable")
        .map(|it| it.expect("the corpus is readable").path())
        .filter(|it| it.extension().is_some_and(|it| it == "sip" || it == "dat"))
        .collect();
    files.sort();
    files.iter().map(|it| fs::read(it).expect("the corpus is readable")).filter(|it| it.len() < 2_500).collect()
}
