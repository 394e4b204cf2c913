//! Keys for a trunk that takes them by INFO: however the other side tells of them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::carrier::{Carrier, Received};
use crate::rtp_peer::{Account, RtpPeer, Sends, TICK};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::what_answers::tones;

#[test]
fn events_tones_and_info_of_one_side_are_told_to_the_other_by_info() {
    // Its media settings are for whoever is at its address.
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__ACME__DTMF", "info"),
        ("TRUNKS__HOUSE__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__HOUSE__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__HOUSE__OPTIONS_S", "0"),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
    ]);
    let mut phone = Phone::udp(&server);
    let called = answered(&mut phone, &carrier, true);
    assert!(!called.0.message.body.contains("telephone-event"), "{:?}", called.0.message);
    for digit in ['5', '#'] {
        press_event(&mut phone.media, digit);
        assert_eq!(told(&carrier), digit);
    }
    phone.press('7');
    assert_eq!(told(&carrier), '7');
    // Told in two ways, it is one press.
    press_event(&mut phone.media, '8');
    phone.press('8');
    assert_eq!(told(&carrier), '8');
    // The second one waits for the answer to the first, and stays the second.
    phone.press('1');
    phone.press('2');
    let first = carrier.next("INFO", ANSWER_MAX);
    assert!(carrier.next_if_any("INFO", Duration::from_millis(300)).is_none_or(|it| same(&it, &first)));
    carrier.answer(&first, "200 OK", &[]);
    assert_eq!((digit(&first), told(&carrier)), ('1', '2'));
    phone.hang_up();

    let mut phone = Phone::udp(&server);
    let _called = answered(&mut phone, &carrier, false);
    phone.media.voice.extend(tones(&[852.0, 1_477.0], 120));
    let mut heard = Account::default();
    (0..25).for_each(|_| phone.media.tick(Sends::Silence, &mut heard));
    assert_eq!(told(&carrier), '9');
    phone.hang_up();
    assert!(carrier.next_if_any("INFO", Duration::from_millis(100)).is_none(), "each key once");
}

/// A call that the carrier takes; with or without telephone events on the caller's side.
fn answered(phone: &mut Phone, carrier: &Carrier, has_events: bool) -> (Received, RtpPeer) {
    let media = RtpPeer::new();
    let offer = phone.sdp("sendrecv");
    let without = offer
        .replace(" 0 101", " 0")
        .lines()
        .filter(|it| !it.contains(":101 "))
        .fold(String::new(), |text, it| text + it + "\r\n");
    let invite = std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let invite = carrier.next("INVITE", ANSWER_MAX);
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
                media.port()
            );
            carrier.answer_with(&invite, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], &sdp);
            carrier.next("ACK", ANSWER_MAX);
            invite
        });
        let answer = phone.invite_offering("400", if has_events { &offer } else { &without });
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        answering.join().unwrap()
    });
    (invite, media)
}

/// Holds a key for 100 ms, as telephone events (RFC 4733).
fn press_event(media: &mut RtpPeer, digit: char) {
    let code = u8::try_from("0123456789*#".find(digit).unwrap()).unwrap();
    let first = media.packet();
    let mut next = Instant::now();
    for number in 1..=8_u16 {
        let mut packet = media.packet();
        packet.truncate(12);
        packet[1] = if number == 1 { 0x80 | 101 } else { 101 };
        packet[4..8].copy_from_slice(&first[4..8]);
        let end = if number > 5 { 0x80 } else { 0 };
        packet.extend([code, end | 10]);
        packet.extend((number.min(5) * 160).to_be_bytes());
        media.socket.send_to(&packet, media.remote.unwrap()).unwrap();
        next += TICK;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }
}

/// The key that the next INFO tells of, which is answered.
#[track_caller]
fn told(carrier: &Carrier) -> char {
    let info = carrier.next("INFO", ANSWER_MAX);
    carrier.answer(&info, "200 OK", &[]);
    digit(&info)
}

#[track_caller]
fn digit(info: &Received) -> char {
    assert_eq!(info.message.header("Content-Type"), Some("application/dtmf-relay"));
    let (signal, duration) = info.message.body.trim().split_once("\r\n").unwrap();
    assert!(duration.starts_with("Duration="), "{:?}", info.message);
    signal.strip_prefix("Signal=").unwrap().parse().unwrap()
}

fn same(one: &Received, other: &Received) -> bool {
    one.message.header("CSeq") == other.message.header("CSeq")
}
