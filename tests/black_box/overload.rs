//! Beyond its limits the server says 503 and when to try again (RFC 3261 §21.5.4), and those who are served notice
//! nothing.

use std::time::Duration;

use crate::journal;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{Message, Phone};

#[test]
fn a_call_without_a_media_port_is_refused() {
    let ports = rtp_ports(4);
    let server = Server::start(&[("RTP__PORTS", ports.as_str())]);
    let before = server.metrics();
    let mut phones = [Phone::call(&server, "100"), Phone::call(&server, "100")];
    assert_overloaded(&Phone::udp(&server).invite("100"));
    Phone::assert_served(&server);
    for phone in &mut phones {
        phone.hear(15);
        phone.hang_up();
    }
    server.settles(&before, Duration::from_secs(10));
    // The ports rest for some seconds before they are given again.
    let mut answer = Phone::udp(&server).invite("100");
    for _ in 0..20 {
        if answer.status() == Some(200) {
            break;
        }
        assert_overloaded(&answer);
        let mut waiting = Phone::udp(&server);
        assert!(waiting.wire.receive(Duration::from_millis(500)).is_none());
        answer = waiting.invite("100");
    }
    assert_eq!(answer.status(), Some(200), "{answer:?}");
}

#[test]
fn a_call_beyond_the_limit_is_refused() {
    let server = Server::start(&[("SIP__MAX_CALLS", "2")]);
    let before = server.metrics();
    let mut phones = [Phone::call(&server, "100"), Phone::call(&server, "100")];
    assert_overloaded(&Phone::udp(&server).invite("100"));
    Phone::assert_served(&server);
    phones[0].hang_up();
    let mut third = Phone::call(&server, "100");
    third.hang_up();
    phones[1].hang_up();
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    let refused = calls.iter().filter(|it| it.end_cause() == Some("overloaded")).count();
    assert!(refused <= 1, "{calls:?}");
}

#[test]
fn a_flood_of_invites_leaves_nothing_behind() {
    let ports = rtp_ports(400);
    let server = Server::start(&[("SIP__MAX_CALLS", "50"), ("RTP__PORTS", ports.as_str())]);
    let before = server.metrics();
    // Nobody acknowledges or answers anything.
    for _ in 0..300 {
        let mut phone = Phone::udp(&server);
        phone.cseq = 1;
        let offer = phone.sdp("sendrecv");
        let request = phone.request("INVITE", &["Content-Type: application/sdp"], &offer);
        phone.wire.send(request.as_bytes());
    }
    Phone::assert_served(&server);
    server.settles(&before, Duration::from_secs(90));
    Phone::call(&server, "100").hang_up();
}

#[track_caller]
fn assert_overloaded(answer: &Message) {
    assert_eq!(answer.status(), Some(503), "{answer:?}");
    let seconds: u32 = answer.header("Retry-After").and_then(|it| it.parse().ok()).expect("Retry-After");
    assert!((1..=3600).contains(&seconds), "{answer:?}");
}
