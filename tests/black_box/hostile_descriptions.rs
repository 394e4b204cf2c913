//! Session descriptions that want what there is not (RFC 8866, RFC 3264): each call is answered or refused with a reason,
//! and what is answered sounds as it should.

use std::time::Duration;

use crate::carrier::Carrier;
use crate::rtp_peer::RtpPeer;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{ANSWER_MAX, Phone};

/// What is put in the place of what in an offer, and the answer.
const CASES: &[(&str, &str, u16)] = &[
    ("a=ptime:20", "a=ptime:0", 200),
    ("a=ptime:20", "a=ptime:4294967296", 200),
    ("a=ptime:20", "a=ptime:-20", 200),
    ("a=ptime:20", "a=ptime:1000\r\na=maxptime:0", 200),
    ("a=ptime:20", "a=ptime:1", 200),
    ("a=ptime:20", "a=ptime:20\r\na=maxptime:2147483648", 200),
    ("a=ptime:20", "a=rtcp:0\r\na=rtcp:70000", 200),
    ("a=ptime:20", "a=rtcp:1 IN IP4 224.0.0.1", 200),
    ("a=fmtp:101 0-16", "a=fmtp:101 0-4294967296,-1,,99999999999999999999", 200),
    ("a=fmtp:101 0-16", "a=fmtp:999 x\r\na=fmtp:\r\na=fmtp:0", 200),
    ("PCMU/8000", "PCMU/4294967295", 488),
    ("PCMU/8000", "PCMU/8000/255", 488),
    ("PCMU/8000", "PCMU/0", 200),
    (
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:0 opus/48000/2\r\na=fmtp:0 maxaveragebitrate=99999999999;maxplaybackrate=0",
        200,
    ),
    ("a=rtpmap:0 PCMU/8000", "a=rtpmap:300 PCMU/8000\r\na=rtpmap:-1 PCMU/8000", 200),
    ("telephone-event/8000", "telephone-event/4294967295", 200),
    ("AVP 0 101", "AVP 0 0 0 0 101 101", 200),
    ("AVP 0 101", "AVP", 400),
    ("AVP 0 101", "AVP 256 -1 x", 488),
    ("m=audio ", "m=audio -", 400),
    ("m=audio ", "m=audio 7", 400),
    ("m=audio ", "m=audio 0\r\nm=audio ", 400),
    ("c=IN IP4 127.0.0.1", "c=IN IP4 224.0.0.1", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP4 255.255.255.255", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP6 ::1", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP4 999.0.0.1", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP4", 400),
    ("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0", 200),
    ("v=0", "v=1", 400),
    ("t=0 0", "t=99999999999999999999999 -1", 200),
];

#[test]
fn impossible_descriptions_are_refused_and_odd_ones_make_calls_that_sound() {
    let server = Server::start(&[]);
    let before = server.metrics();
    let mut wrong = vec![];
    for (from, to, expected) in CASES {
        let mut phone = Phone::udp(&server);
        let offer = phone.sdp("sendrecv");
        assert!(offer.contains(from), "{from}");
        let status = phone.invite_offering("100", &offer.replacen(from, to, 1)).status();
        if status != Some(*expected) {
            wrong.push((to, status));
        }
        if status == Some(200) {
            // Who has no address is on hold.
            if !to.contains("0.0.0.0") {
                phone.hear(15);
            }
            phone.hang_up();
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    server.settles(&before, Duration::from_secs(10));
}

#[test]
fn a_port_that_is_none_and_streams_without_number_are_refused() {
    let server = Server::start(&[]);
    let before = server.metrics();
    for (port, expected) in [("0", 488), ("70000", 400), ("4294967296", 400), ("9/0", 400)] {
        let mut phone = Phone::udp(&server);
        let own = phone.media.port().to_string();
        let offer = phone.sdp("sendrecv").replace(&format!("m=audio {own} "), &format!("m=audio {port} "));
        assert_eq!(phone.invite_offering("100", &offer).status(), Some(expected), "{port}");
    }
    for (count, expected) in [(30, 200), (100, 400)] {
        let mut phone = Phone::udp(&server);
        let others = "m=video 9 RTP/AVP 31\r\na=sendonly\r\n".repeat(count);
        let offer = phone.sdp("sendrecv") + &others;
        let answer = phone.invite_offering("100", &offer);
        assert_eq!(answer.status(), Some(expected), "{count}");
        if expected == 200 {
            // Each is answered, and refused (RFC 3264 §6).
            assert_eq!(answer.body.matches("m=video 0 ").count(), count);
            phone.hear(10);
            phone.hang_up();
        }
    }
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv") + &"a=x:y\r\n".repeat(2_000);
    assert_eq!(phone.invite_offering("100", &offer).status(), Some(400));
    server.settles(&before, Duration::from_secs(10));
}

/// What is put in the place of what in the answer of a telephone that is called, and what the caller gets.
const ANSWERS: &[(&str, &str, u16)] = &[
    ("a=sendrecv", "a=ptime:0\r\na=maxptime:0", 200),
    ("a=sendrecv", "a=ptime:4294967296", 200),
    ("a=sendrecv", "a=rtcp:0\r\na=rtcp:70000 IN IP4 224.0.0.1", 200),
    ("a=sendrecv", "a=fmtp:101 0-99999999999\r\na=fmtp:0 x", 200),
    ("a=sendrecv", "m=video 9 RTP/AVP 31\r\nm=audio 9 RTP/AVP 0", 488),
    ("m=audio ", "m=audio 7", 488),
    ("m=audio ", "m=audio -", 488),
    ("RTP/AVP 0 101", "RTP/AVP", 488),
    ("RTP/AVP 0 101", "RTP/AVP 77", 488),
    ("RTP/AVP 0 101", "RTP/SAVP 0 101", 488),
    ("RTP/AVP 0 101", "UDP/TLS/RTP/SAVPF 0 101", 488),
    ("PCMU/8000", "PCMU/4294967295", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP4 224.0.0.1", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP4", 488),
    ("c=IN IP4 127.0.0.1", "c=IN IP6 ::1", 488),
    ("v=0", "v=1", 488),
];

#[test]
fn an_answer_that_cannot_be_used_ends_the_call_for_both_sides() {
    let carrier = Carrier::start();
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
        ("RTP__PORTS", &rtp_ports(200)),
    ]);
    let before = server.metrics();
    let mut wrong = vec![];
    for (from, to, expected) in ANSWERS {
        let (mut phone, called) = (Phone::udp(&server), RtpPeer::new());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n",
            called.port()
        );
        assert!(sdp.contains(from), "{from}");
        let status = std::thread::scope(|scope| {
            let calling = scope.spawn(|| phone.invite("400").status());
            let invite = carrier.next("INVITE", ANSWER_MAX);
            let contact = format!("Contact: <{}>", carrier.uri());
            carrier.answer_with(&invite, "200 OK", &[&contact], &sdp.replacen(from, to, 1));
            carrier.next("ACK", ANSWER_MAX);
            calling.join().unwrap()
        });
        if status != Some(*expected) {
            wrong.push((to, status));
        }
        if status == Some(200) {
            phone.hang_up();
        }
        let bye = carrier.next("BYE", ANSWER_MAX);
        carrier.answer(&bye, "200 OK", &[]);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    server.settles(&before, Duration::from_secs(10));
}
