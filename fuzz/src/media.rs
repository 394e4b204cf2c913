//! What is promised of media, and of the descriptions that lead to them.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookswitch::call::{Calls, CallsConfig, Output};
use hookswitch::codec::{AudioCodec, OpusSettings};
use hookswitch::media::{Latching, RemoteMedia, Session, SessionConfig, TelephoneEventFormat};
use hookswitch::route::{Admission, Target};
use hookswitch::sdp::{InlineKey, SessionDescription};
use hookswitch::sip::{Message, StatusCode};
use hookswitch::srtp::{Inbound, MasterKey, OVERHEAD_BYTES_MAX, Outbound, Suite};
use hookswitch::timer::Now;
use hookswitch::transport::{Flow, Listener, TransportKind};
use hookswitch::webrtc::{Format, FormatKind, IceCredentials, Identity, Parameters, Peer};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// The value of `a=crypto`.
pub fn crypto(input: &[u8]) -> bool {
    let line = String::from_utf8_lossy(input).replace(['\r', '\n'], " ");
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/SAVP 0\r\na=crypto:{line}\r\n"
    );
    let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else {
        return false;
    };
    let attributes = &sdp.media.first().expect("one stream").attributes;
    let Some(crypto) = attributes.cryptos().next() else {
        return false;
    };
    let shown = format!("{crypto:?}");
    assert!(crypto.key_params.len() < 12 || !shown.contains(crypto.key_params), "it prints its key");
    let Some(key) = crypto.key() else {
        return false;
    };
    assert!(key.identifier.len() <= 128 && key.key_and_salt.len() <= line.len());
    let again = format!("a=crypto:1 {} {}\r\n", crypto.suite, InlineKey::write(&key.key_and_salt).as_str());
    let (before, _) = text.split_once("a=crypto").expect("it is there");
    let again = [before, &again].concat();
    let again = SessionDescription::parse(again.as_bytes()).expect("what was written can be read");
    let again = again.media.first().and_then(|it| it.attributes.cryptos().next()?.key()).expect("a key");
    assert!(again.key_and_salt == key.key_and_salt);
    let suite = Suite::from_name(crypto.suite);
    suite.is_none_or(|suite| {
        let len = suite.key_len() + suite.salt_len();
        MasterKey::new(suite, &key.key_and_salt).is_some() == (key.key_and_salt.len() == len)
    })
}

/// Packets under SRTP. The first byte says what: a suite, and either whether the rest is a packet as it comes, or what is
/// protected, changed at a place that the second byte names, and must come through unchanged only.
pub fn srtp(input: &[u8]) -> bool {
    let [how, at, packet @ ..] = input else {
        return false;
    };
    if packet.len() > 1_400 {
        return false;
    }
    let suite = Suite::ALL[usize::from(how & 3)];
    let key = MasterKey::new(suite, &[7; 44][..suite.key_len() + suite.salt_len()]).expect("its length is right");
    let mki: &[u8] = if how & 4 == 0 { b"" } else { b"\x01" };
    let (is_rtcp, now) = (how & 8 != 0, Instant::now());
    let mut inbound = Inbound::new(key.clone(), mki);
    let mut unprotect = |packet: &mut [u8]| match is_rtcp {
        true => inbound.unprotect_rtcp(packet, now),
        false => inbound.unprotect_rtp(packet, now),
    };
    if how & 16 != 0 {
        let mut packet = packet.to_vec();
        assert!(unprotect(&mut packet).is_err(), "nobody guesses a tag");
        return false;
    }
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD_BYTES_MAX, 0);
    let mut outbound = Outbound::new(key);
    let protected = match is_rtcp {
        true => outbound.protect_rtcp(&mut buffer, packet.len()),
        false => outbound.protect_rtp(&mut buffer, packet.len()),
    };
    let Ok(len) = protected else {
        return false;
    };
    buffer.truncate(len);
    if !mki.is_empty() {
        // What is sent names no key.
        return false;
    }
    let mut changed = buffer.clone();
    let place = usize::from(*at) % changed.len();
    changed[place] ^= 1 << (how >> 5);
    assert!(unprotect(&mut changed).is_err(), "a changed packet is taken, at {place}");
    let mut again = buffer.clone();
    let len = unprotect(&mut buffer).expect("what is protected comes through");
    assert_eq!(&buffer[..len], packet);
    assert!(unprotect(&mut again).is_err(), "it is taken twice");
    true
}

/// What comes to the sockets of a leg, one packet after the other: the first byte says which codec was agreed on; before
/// each packet stand its length, and a byte that says from where and to which socket it comes and how long after the last.
pub fn session(input: &[u8]) -> bool {
    let Some((codec, mut rest)) = input.split_first() else {
        return false;
    };
    let codecs = [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus];
    let peer = SocketAddr::from(([192, 0, 2, 9], 4_000));
    let event = TelephoneEventFormat { payload_type: 101, received_payload_type: 101, clock_hz: 8_000 };
    let remote = RemoteMedia {
        rtp: peer,
        rtcp: SocketAddr::from(([192, 0, 2, 9], 4_001)),
        latching: Latching::default(),
        codec: codecs[usize::from(codec & 3)],
        payload_type: 96,
        received_payload_type: 96,
        ptime_ms: 20,
        maxptime_ms: None,
        opus: OpusSettings::default(),
        comfort_noise: Some(13),
        telephone_event: Some(event),
        send: true,
        receive: codec & 4 == 0,
    };
    let mut now = now();
    let mut session =
        Session::new(SessionConfig { remote: Some(remote), hears_tones: codec & 8 != 0 }, &mut rng(), now);
    let (mut buffer, mut packets) = ([0; 2_048], 0_u64);
    while let [low, how, after @ ..] = rest {
        let (packet, after) = after.split_at(usize::from(*low).min(after.len()));
        rest = after;
        let from = if how & 1 == 0 { peer } else { SocketAddr::from(([192, 0, 2, 66], 5_000)) };
        packets += 1;
        match how & 2 {
            0 => session.handle_rtp(from, packet, now),
            _ => session.handle_rtcp(from, packet, now),
        }
        for _ in 0..how >> 6 {
            now = now + Duration::from_millis(20);
            let tick = session.handle_tick(now);
            assert!(!format!("{tick:?}").is_empty());
            for _ in 0..16 {
                let Some(sent) = session.poll_transmit(&mut buffer) else { break };
                assert!(sent.len <= buffer.len() && sent.to != SocketAddr::from(([192, 0, 2, 66], 5_000)));
            }
        }
    }
    let report = session.report(now);
    assert!(report.received.packets <= packets, "{report:?}");
    report.received.packets > 0
}

/// A datagram for the socket of a leg to a browser. Who does not know its password gets nothing, and is nobody.
pub fn browser_datagram(input: &[u8]) -> bool {
    static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().expect("randomness")));
    let credentials = || IceCredentials::of_peer("abcd", &"x".repeat(24)).expect("they are long enough");
    let parameters = Parameters {
        identity: IDENTITY.clone(),
        ours: credentials(),
        theirs: credentials(),
        their_fingerprint: IDENTITY.fingerprint(),
    };
    let formats = [Format { payload_type: 0, kind: FormatKind::Pcmu, clock_hz: 8_000 }];
    let (local, from) = (SocketAddr::from(([192, 0, 2, 1], 4_000)), SocketAddr::from(([192, 0, 2, 66], 5_000)));
    let now = Instant::now();
    let mut peer = Peer::new(&parameters, &formats, local, now).expect("an address for media");
    let mut buffer = [0; 2_048];
    let mut answered = 0;
    for (number, datagram) in input.split(|it| *it == 0xfe).take(8).enumerate() {
        peer.handle_datagram(from, datagram, now);
        peer.handle_timeout(now + Duration::from_millis(number as u64));
        assert!(peer.poll_packet(&mut buffer).is_none(), "media without a handshake");
        for _ in 0..8 {
            let Some((to, len)) = peer.poll_transmit(&mut buffer) else { break };
            assert!(to == from && len <= 200, "{len} bytes to {to}");
            answered += 1;
        }
    }
    assert!(answered <= 8, "as many answers as questions");
    answered > 0
}

/// A session description as the offer of a call, plain or of a browser: the answer can be read, and takes no more streams
/// than were offered.
pub fn offer(input: &[u8]) -> bool {
    static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().expect("randomness")));
    let local = SocketAddr::from(([192, 0, 2, 1], 5_061));
    let flow = Flow { kind: TransportKind::Tls, local, remote: SocketAddr::from(([192, 0, 2, 9], 5_061)) };
    let admission =
        Admission { unknown_sources: true, unknown_numbers: Some(Target::agent("fuzz")), ..Admission::default() };
    let mut config = CallsConfig::new(vec![Listener::new(flow.kind, local)]);
    config.listeners = config.listeners.into_iter().map(|(it, _)| (it, admission.clone())).collect();
    config.capabilities.browsers = Some(IDENTITY.clone());
    let now = now();
    let mut calls = Calls::new(config, rng(), now);
    let mut invite = String::from(
        "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:p@192.0.2.9>;tag=p\r\n\
         To: <sip:a@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:p@192.0.2.9;transport=tls>\r\n\
         Content-Type: application/sdp\r\n",
    );
    write!(invite, "Content-Length: {}\r\n\r\n", input.len()).expect("memory");
    calls.handle_segment(flow, Bytes::from([invite.as_bytes(), input].concat()), now);
    let mut answer = None;
    while let Some(output) = calls.poll_output() {
        if let Output::OpenMedia { leg, .. } = &output {
            calls.handle_media_opened(*leg, SocketAddr::from(([192, 0, 2, 1], 20_000)), now);
        }
        if let Output::Send { data, .. } = &output
            && let Ok(Message::Response(response)) = Message::parse(data.clone())
            && response.status() == StatusCode::OK
        {
            answer = Some(SessionDescription::parse(response.body()).expect("our answer can be read"));
        }
    }
    let Some(answer) = answer else {
        return false;
    };
    let Ok(offered) = SessionDescription::parse(input) else {
        assert!(input.trim_ascii().is_empty(), "it was taken: {:?}", String::from_utf8_lossy(input));
        return false;
    };
    assert_eq!(answer.media.len(), offered.media.len());
    assert_eq!(answer.media.iter().filter(|it| it.port != 0).count(), 1, "one stream is taken");
    true
}

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}

fn now() -> Now {
    Now { instant: Instant::now(), unix: Duration::from_secs(1_700_000_000) }
}
