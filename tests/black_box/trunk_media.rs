//! What a trunk says of media otherwise than other peers hear.

use std::time::Duration;

use crate::carrier::Carrier;
use crate::http_client;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};

const KEY: &str = "a key for tests only";

#[test]
fn offers_and_answers_to_a_trunk_are_its_own() {
    let carrier = Carrier::start();
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__ACME__CODECS", "pcma,g722"),
        ("TRUNKS__ACME__PTIME_MS", "30"),
        ("TRUNKS__ACME__DTMF", "tones"),
        ("TRUNKS__ACME__SRTP", "preferred"),
        ("HTTP__API_KEY", KEY),
    ]);
    let body = r#"{"to": "+4930123456", "agent": "talker", "trunk": "acme"}"#;
    assert_eq!(http_client::post(server.http, "/v1/calls", KEY, body).status, 201);
    let invite = carrier.next("INVITE", ANSWER_MAX);
    let media = invite.message.sdp("m=audio").unwrap_or_default();
    assert!(media.ends_with(" RTP/AVP 8 9"), "{media}");
    assert_eq!(invite.message.sdp("a=ptime:"), Some("30"));
    assert!(invite.message.sdp("a=crypto:").is_some(), "SRTP is preferred there");
    carrier.answer(&invite, "486 Busy Here", &[]);
    carrier.next("ACK", ANSWER_MAX);

    // The trunk has the address of this phone, which offers PCMU alone.
    let mut phone = Phone::udp(&server);
    assert_eq!(phone.invite("100").status(), Some(488));
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv").replace("RTP/AVP 0 101", "RTP/AVP 0 9 8 101");
    let answer = phone.invite_with(&[], &offer);
    assert_eq!(answer.status(), Some(200));
    // Our order decides, and there are no events.
    assert!(answer.sdp("m=audio").unwrap_or_default().ends_with(" RTP/AVP 8"), "{answer:?}");
    phone.hang_up();
    assert!(carrier.next_if_any("INVITE", Duration::from_millis(1)).is_none());
}

#[test]
fn a_change_of_codec_in_mid_call_keeps_the_stream() {
    let server = Server::start(&[]);
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv");
    assert_eq!(phone.invite_with(&[], &offer).status(), Some(200));
    phone.hear_sound(20);
    let before = phone.media.ssrc_heard;
    let port = phone.media.remote;
    let offer =
        phone.sdp("sendrecv").replace("RTP/AVP 0 101", "RTP/AVP 8 101").replace("rtpmap:0 PCMU", "rtpmap:8 PCMA");
    let answer = phone.invite_with(&[], &offer);
    assert_eq!(answer.status(), Some(200));
    assert!(answer.sdp("m=audio").unwrap_or_default().contains(" RTP/AVP 8"), "{answer:?}");
    phone.hear(20);
    assert_eq!((phone.media.ssrc_heard, phone.media.remote), (before, port));
    phone.hang_up();
}
