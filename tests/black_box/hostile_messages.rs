//! What is no SIP, or not meant for us, is dropped in silence or refused, and disturbs nobody (RFC 3261 §16.3, §17, §18;
//! RFC 4475).

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::server_process::Server;
use crate::sip_phone::{Phone, Wire};

#[test]
fn garbage_is_dropped() {
    let server = Server::start(&[]);
    let mut wire = Wire::udp(server.sip);
    let mut random = ChaCha12Rng::seed_from_u64(1);
    for length in [0, 1, 2, 3, 4, 7, 64, 500, 1_472, 9_000, 65_507] {
        for _ in 0..5 {
            let mut bytes = vec![0; length];
            random.fill_bytes(&mut bytes);
            wire.send(&bytes);
        }
        wire.send(&vec![0; length]);
        wire.send(&vec![b'\n'; length]);
        wire.send(&vec![b'A'; length]);
    }
    assert_silent(&mut wire);
    Phone::assert_served(&server);
}

#[test]
fn torn_and_damaged_requests_disturb_nobody() {
    let server = Server::start(&[]);
    let before = server.metrics();
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv");
    // Whole, it is refused; so is what is left of it, unless the damage is just there.
    let headers = ["Content-Type: application/sdp", "Require: nothing-we-know"];
    let request = phone.request("INVITE", &headers, &offer).into_bytes();
    let head = request.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    for end in (1..head).step_by(3) {
        phone.wire.send(&request[..end]);
    }
    let mut random = ChaCha12Rng::seed_from_u64(2);
    for _ in 0..500 {
        let mut damaged = request[..head].to_vec();
        for _ in 0..=random.next_u32() % 4 {
            let at = random.next_u32() as usize % damaged.len();
            damaged[at] = random.next_u32().to_le_bytes()[0];
        }
        phone.wire.send(&damaged);
    }
    // Some of it may have been refused, which is read and forgotten.
    while phone.wire.receive(Duration::from_millis(300)).is_some() {}
    Phone::assert_served(&server);
    server.settles(&before, Duration::from_secs(10));
}

#[test]
fn stray_responses_and_acks_get_no_answer() {
    let server = Server::start(&[]);
    let mut phone = Phone::udp(&server);
    let request = phone.request("OPTIONS", &[], "");
    let (_, headers) = request.split_once("\r\n").unwrap();
    for status in ["100 Trying", "180 Ringing", "200 OK", "302 Moved Temporarily", "486 Busy Here", "603 Decline"] {
        phone.wire.send(format!("SIP/2.0 {status}\r\n{headers}").as_bytes());
        phone.wire.send(format!("SIP/2.0 {status}\r\n{}", headers.replace("OPTIONS", "INVITE")).as_bytes());
    }
    let ack = phone.request("ACK", &[], "");
    phone.wire.send(ack.as_bytes());
    assert_silent(&mut phone.wire);
    Phone::assert_served(&server);
}

#[test]
fn requests_without_what_every_request_has_are_not_served() {
    let server = Server::start(&[]);
    for damage in [
        |text: String| without(&text, "Call-ID"),
        |text: String| without(&text, "From"),
        |text: String| without(&text, "To"),
        |text: String| without(&text, "CSeq"),
        |text: String| without(&text, "Via"),
        |text: String| text.replace("1 OPTIONS\r\n", "1 INVITE\r\n"),
        |text: String| text.replace("1 OPTIONS\r\n", "-1 OPTIONS\r\n"),
        |text: String| text.replace("1 OPTIONS\r\n", "2147483648 OPTIONS\r\n"),
        |text: String| text.replace("1 OPTIONS\r\n", "99999999999 OPTIONS\r\n"),
        |text: String| text.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        |text: String| text.replace("Call-ID", "Call-ID: twice\r\nCall-ID"),
        |text: String| text.replace("CSeq", "CSeq: 7 OPTIONS\r\nCSeq"),
        |text: String| text.replace("Content-Length: 0", "Content-Length: 500"),
        |text: String| text.replace("Content-Length: 0", "Content-Length: -1"),
        |text: String| text.replace("Content-Length: 0", "Content-Length: 4294967296"),
    ] {
        let mut phone = Phone::udp(&server);
        phone.cseq = 1;
        let intact = phone.request("OPTIONS", &[], "");
        let request = damage(intact.clone());
        assert_ne!(request, intact);
        phone.wire.send(request.as_bytes());
        if let Some(answer) = phone.wire.receive(Duration::from_millis(200)) {
            let status = answer.status().unwrap();
            assert!(matches!(status, 400 | 505), "{status} to\n{request}");
        }
    }
    Phone::assert_served(&server);
}

#[test]
fn a_request_inside_a_body_is_not_executed() {
    let server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    phone.cseq += 1;
    let inner = phone.request("BYE", &[], "");
    let outer = phone.request("OPTIONS", &["Content-Type: text/plain"], &inner);
    phone.wire.send(outer.as_bytes());
    let answer = phone.wire.receive(Duration::from_secs(5)).unwrap();
    assert!(answer.header("CSeq").unwrap().ends_with("OPTIONS"), "{answer:?}");
    assert_silent(&mut phone.wire);
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200));
    phone.hang_up();
}

#[test]
fn transfers_are_refused_inside_a_call_and_outside() {
    let server = Server::start(&[]);
    let refer_to = ["Refer-To: <sip:+19005550100@example.org>"];
    let mut phone = Phone::call(&server, "100");
    let inside = phone.ask("REFER", &refer_to);
    assert_eq!(inside.status(), Some(603), "{inside:?}");
    let nowhere = phone.ask("REFER", &[]);
    assert_eq!(nowhere.status(), Some(400), "{nowhere:?}");
    let outside = Phone::udp(&server).ask("REFER", &refer_to);
    assert_eq!(outside.status(), Some(403), "{outside:?}");
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200), "the call goes on");
    phone.hang_up();
}

#[test]
fn strangers_are_refused_where_the_listener_is_not_open() {
    let server = Server::start(&[("SIP__OPEN", "false")]);
    let before = server.metrics();
    for number in ["100", "+4930123456", "nobody"] {
        let mut phone = Phone::udp(&server);
        let answer = phone.invite(number);
        let status = answer.status().unwrap();
        // The same for every number, so that strangers cannot find out which there are.
        assert_eq!(status, 403, "{number}");
    }
    server.settles(&before, Duration::from_secs(5));
}

fn without(request: &str, header: &str) -> String {
    let lines = request.split("\r\n").filter(|line| !line.starts_with(&format!("{header}:")));
    lines.collect::<Vec<_>>().join("\r\n")
}

#[track_caller]
fn assert_silent(wire: &mut Wire) {
    let answer = wire.receive(Duration::from_millis(500));
    assert!(answer.is_none(), "{answer:?}");
}
