//! What is promised of everything that peers send: nothing panics, what is accepted is written back as it was read and
//! reads back as it was written, and what is told of it stays within its bounds. Each public function but [`targets`]
//! takes any bytes; the fuzz targets run one each, and `tests/mutation.rs` all of them.

mod files;
mod media;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookswitch::agent::provider::event_stream::EventStream;
use hookswitch::agent::provider::speech_protocol::{
    AudioFormat, RecogniserClient, RecogniserConfig, RecogniserServer, SynthesiserClient, SynthesiserConfig,
    SynthesiserServer,
};
use hookswitch::agent::provider::wire::{Output, SocketProtocol, WireMessage};
use hookswitch::capture::redaction::redacted;
use hookswitch::codec::{AudioCodec, Decoder, OpusSettings};
use hookswitch::limits::SIP_MESSAGE_BYTES_MAX;
use hookswitch::rtp::rtcp::{Compound, Rtcp};
use hookswitch::rtp::telephone_event::TelephoneEvent;
use hookswitch::rtp::{Packet, packet};
use hookswitch::sdp::SessionDescription;
use hookswitch::sip::{
    AuthenticationInfo, Challenge, Credentials, Frame, Headers, Host, MediaType, Message, Method, NameAddr, ParseError,
    Replaces, Request, Response, RetryAfter, StatusCode, StreamFramer, Uri, Via,
};
use hookswitch::timer::Now;

pub use files::{audio_file, digits};
pub use media::{browser_datagram, crypto, offer, session, srtp};

/// A target by its name: the folder of its corpus, and what takes an input. Whether the input was accepted.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub fn targets() -> [Target; 18] {
    [
        ("message", message),
        ("stream", stream),
        ("sdp", sdp),
        ("uri", uri),
        ("authentication", authentication),
        ("rtp", rtp),
        ("rtcp", rtcp),
        ("telephone_event", telephone_event),
        ("opus", opus),
        ("speech_protocol", speech_protocol),
        ("event_stream", event_stream),
        ("crypto", crypto),
        ("srtp", srtp),
        ("session", session),
        ("browser_datagram", browser_datagram),
        ("offer", offer),
        ("audio_file", audio_file),
        ("digits", digits),
    ]
}

/// A SIP message in a datagram: as it is read, edited, stamped and answered.
pub fn message(input: &[u8]) -> bool {
    let input = Bytes::copy_from_slice(input);
    // What is kept and sent to collectors is as long as what came, or shorter by what it may not tell.
    assert!(redacted(&input).len() <= 2 * input.len() + 64);
    match Message::parse(input.clone()) {
        Ok(message) => {
            check_message(&input, &message);
            true
        }
        Err(error) => {
            check_reply(&error);
            false
        }
    }
}

/// A SIP stream: its first byte says in how large pieces the rest arrives, which changes nothing.
pub fn stream(input: &[u8]) -> bool {
    let Some((chunk, stream)) = input.split_first() else {
        return false;
    };
    let whole = frames(stream, usize::MAX);
    assert_eq!(frames(stream, usize::from(*chunk) + 1), whole, "pieces of {}", usize::from(*chunk) + 1);
    !whole.is_empty()
}

/// A session description.
pub fn sdp(input: &[u8]) -> bool {
    let Ok(sdp) = SessionDescription::parse(input) else {
        return false;
    };
    for media in &sdp.media {
        let attributes = &media.attributes;
        let read = (attributes.rtpmaps().count(), attributes.cryptos().count(), attributes.rtcp());
        assert!(read.0 <= attributes.len() && attributes.fmtp(0).is_none_or(|it| it.len() < 70_000));
        assert!(media.payload_types().all(|it| it < 128) && sdp.direction_of(media).as_str().len() >= 8);
        for payload_type in media.payload_types() {
            attributes.fmtp(payload_type).map(OpusSettings::from_fmtp);
        }
    }
    let written = sdp.to_string();
    let again = SessionDescription::parse(written.as_bytes()).expect("what was written can be read");
    assert_eq!(again.to_string(), written);
    true
}

/// A URI, and what holds one.
pub fn uri(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let uri = Uri::parse(&text);
    if let Ok(uri) = &uri {
        check_uri(uri);
    }
    let address = NameAddr::parse(&text);
    if let Ok(address) = &address {
        assert_eq!(NameAddr::parse(address.as_str()).as_ref(), Ok(address));
        check_uri(address.uri());
    }
    if let Ok(via) = Via::parse(&text) {
        assert_eq!(Via::parse(via.as_str()).as_ref(), Ok(&via));
    }
    if let Some(host) = Host::parse(&text) {
        assert!(host.same(host));
    }
    uri.is_ok() || address.is_ok()
}

/// A challenge, credentials, or what a server says of itself.
pub fn authentication(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let mut is_accepted = false;
    for challenge in Challenge::parse_all(&text).into_iter().flatten() {
        is_accepted = true;
        let again = Challenge::parse_all(challenge.as_str()).expect("one alone");
        assert_eq!(again.first().map(Challenge::as_str), Some(challenge.as_str()));
        let read = challenge.params().iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        assert!(read <= challenge.as_str().len());
        if let Some(digest) = challenge.digest() {
            let written = digest.to_string();
            let mut again = Challenge::parse_all(&written).and_then(|it| it.first()?.digest()).expect("a digest");
            // An algorithm that is not known is left out, which means another.
            again.algorithm = digest.algorithm;
            again.qop = digest.qop;
            assert_eq!(again, digest, "{text:?}");
        }
    }
    if let Some(digest) = Credentials::parse(&text).and_then(|it| it.digest()) {
        is_accepted = true;
        let written = digest.to_string();
        let mut again = Credentials::parse(&written).and_then(|it| it.digest()).expect("a digest");
        again.algorithm = digest.algorithm;
        assert!(again == digest, "{text:?}");
    }
    if let Some(info) = AuthenticationInfo::parse(&text) {
        is_accepted = true;
        assert_eq!(AuthenticationInfo::parse(&info.to_string()), Some(info), "{text:?}");
    }
    is_accepted
}

/// An RTP packet.
pub fn rtp(input: &[u8]) -> bool {
    let Ok(read) = Packet::parse(input) else {
        return false;
    };
    assert!(read.payload.len() < input.len() && !(packet::is_rtcp(input) && read.header.payload_type < 64));
    let mut buffer = [0; 2_048];
    let len = read.write(&mut buffer).expect("what was read can be written");
    let again = buffer.get(..len).map(Packet::parse).expect("it fits").expect("what was written can be read");
    assert_eq!((again.header, again.payload), (read.header, read.payload));
    true
}

/// An RTCP compound packet.
pub fn rtcp(input: &[u8]) -> bool {
    let Ok(compound) = Compound::parse(input) else {
        return false;
    };
    let mut packets = 0;
    for packet in compound.packets() {
        packets += 1;
        if let Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. } = packet {
            assert!(blocks.iter().count() <= 31);
        }
    }
    assert!(packets > 0 && packets <= input.len() / 4);
    true
}

/// A telephone event.
pub fn telephone_event(input: &[u8]) -> bool {
    let Some(event) = TelephoneEvent::parse(input) else {
        return false;
    };
    assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Some(event));
    true
}

/// An Opus packet: first what says how long it is, then the whole.
pub fn opus(input: &[u8]) -> bool {
    let duration = AudioCodec::Opus.duration(input);
    assert!(duration <= 5_760 || duration == u32::MAX);
    let mut samples = [0; 1_920];
    Decoder::new(AudioCodec::Opus).decode(input, &mut samples) > 0
}

/// A message of the speech protocol: the first byte says to whom.
pub fn speech_protocol(input: &[u8]) -> bool {
    let Some((to, message)) = input.split_first() else {
        return false;
    };
    let message = match to & 4 {
        0 => WireMessage::Text(String::from_utf8_lossy(message).into_owned()),
        _ => WireMessage::Binary(Bytes::copy_from_slice(message)),
    };
    let now = Now { instant: Instant::now(), unix: Duration::ZERO };
    let format = AudioFormat::MULAW;
    match to & 3 {
        0 => {
            let mut server = RecogniserServer::new(format, now);
            server.handle_message(message, now);
            is_accepted(std::iter::from_fn(|| server.poll_output()))
        }
        1 => {
            let mut server = SynthesiserServer::new(format, vec!["rms".to_owned()], now);
            server.handle_message(message, now);
            is_accepted(std::iter::from_fn(|| server.poll_output()))
        }
        2 => {
            let phrases = vec!["yes".to_owned()];
            let mut client = RecogniserClient::new(RecogniserConfig { format, phrases, partial_results: true });
            client.handle_open(now);
            client.handle_message(message, now);
            is_accepted(std::iter::from_fn(|| client.poll_output()))
        }
        _ => {
            let mut client = SynthesiserClient::new(SynthesiserConfig { format, voice: None });
            client.handle_open(now);
            client.handle_message(message, now);
            is_accepted(std::iter::from_fn(|| client.poll_output()))
        }
    }
}

/// A stream of server-sent events: its first byte says in how large pieces the rest arrives, which changes nothing.
pub fn event_stream(input: &[u8]) -> bool {
    let Some((chunk, stream)) = input.split_first() else {
        return false;
    };
    let read = |chunk: usize| {
        let (mut events, mut found) = (EventStream::new(), vec![]);
        let mut is_good = stream.chunks(chunk).all(|it| {
            let is_good = events.push(it).is_ok();
            found.extend(std::iter::from_fn(|| events.next_event()));
            is_good
        });
        is_good = is_good && events.finish().is_ok();
        found.extend(std::iter::from_fn(|| events.next_event()));
        (is_good, found)
    };
    let whole = read(stream.len().max(1));
    assert_eq!(read(usize::from(*chunk) + 1), whole, "pieces of {}", usize::from(*chunk) + 1);
    assert!(
        whole.1.iter().map(String::len).sum::<usize>() <= 3 * stream.len(),
        "what cannot be read takes three bytes"
    );
    whole.0 && !whole.1.is_empty()
}

fn is_accepted<E>(outputs: impl Iterator<Item = Output<E>>) -> bool {
    let outputs: Vec<_> = outputs.collect();
    assert!(outputs.len() < 64, "one message has few effects");
    outputs.iter().any(|it| matches!(it, Output::Event(_)))
        && !outputs.iter().any(|it| matches!(it, Output::Close { .. }))
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
fn check_reply(error: &ParseError) -> bool {
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

fn source() -> SocketAddr {
    ([192, 0, 2, 200], 5999).into()
}
