//! Several trunks at one address: each has its own calls, and its own media settings.

use crate::carrier::Carrier;
use crate::credentials::Credentials;
use crate::journal;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone, Wire};

#[test]
fn the_port_tells_trunks_at_one_address_apart() {
    let carriers = [Carrier::start(), Carrier::start()];
    let server = Server::start(&[
        ("TRUNKS__ALPHA__URI", &carriers[0].uri()),
        ("TRUNKS__ALPHA__CODECS", "pcma"),
        ("TRUNKS__BETA__URI", &carriers[1].uri()),
        ("TRUNKS__BETA__CODECS", "pcmu"),
        ("NUMBERS__500__TRUNK", "alpha"),
        ("NUMBERS__600__TRUNK", "beta"),
    ]);
    located(&server, &["alpha", "beta"]);
    for (carrier, number, trunk, codec, calls) in
        [(&carriers[0], "500", "alpha", "8", 1), (&carriers[1], "600", "beta", "0", 3)]
    {
        // In: from the port of its server.
        let wire = Wire::Udp { socket: carrier.socket(), server: server.sip };
        let mut phone = Phone::new(wire, server.sip);
        let offer = phone.sdp("sendrecv").replace("RTP/AVP 0 101", "RTP/AVP 0 8 101");
        let answer = phone.invite_offering("100", &offer);
        assert_eq!((answer.status(), payload_type(&answer)), (Some(200), Some(codec)), "{answer:?}");
        phone.hang_up();
        assert_eq!(trunk_of_call(&server, calls), trunk);
        // And out.
        let mut caller = Phone::udp(&server);
        caller.number = number.to_owned();
        caller.send_invite(&[], &offer);
        let invite = carrier.next("INVITE", ANSWER_MAX);
        assert_eq!(payload_type(&invite.message), Some(codec), "{:?}", invite.message);
        carrier.answer(&invite, "486 Busy Here", &[]);
        assert_eq!(caller.invited().status(), Some(486));
    }
}

#[test]
fn then_the_password_and_then_the_number() {
    // Two accounts with one carrier, and one that shows a password.
    let server = Server::start(&[
        ("SIP__OPEN", "false"),
        ("TRUNKS__ALPHA__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__ALPHA__USERNAME", "4930123"),
        ("TRUNKS__BETA__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__BETA__USERNAME", "4930456"),
        ("TRUNKS__BETA__CODECS", "pcma"),
        ("TRUNKS__GAMMA__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__GAMMA__INBOUND__ADDRESS", "true"),
        ("TRUNKS__GAMMA__INBOUND__USERNAME", "gamma"),
        ("TRUNKS__GAMMA__INBOUND__PASSWORD", "secret"),
        ("NUMBERS__4930123__AGENT", "talker"),
        ("NUMBERS__4930456__AGENT", "talker"),
        ("USERS__100__PASSWORD", "secret"),
    ]);
    located(&server, &["alpha", "beta", "gamma"]);
    for (calls, (number, trunk, codec)) in
        (1..).zip([("4930123", "alpha", "0"), ("4930456", "beta", "8"), ("100", "alpha", "0")])
    {
        let mut phone = Phone::udp(&server);
        let offer = phone.sdp("sendrecv").replace("RTP/AVP 0 101", "RTP/AVP 0 8 101");
        let answer = phone.invite_offering(number, &offer);
        assert_eq!((answer.status(), payload_type(&answer)), (Some(200), Some(codec)), "{number} {answer:?}");
        phone.hang_up();
        assert_eq!(trunk_of_call(&server, calls), trunk, "{number}");
    }
    // Its telephones know the challenge from their registration.
    let mut phone = Phone::udp(&server);
    let mut credentials = Credentials::of("gamma", "secret");
    let contact = format!("<sip:gamma@{}>", phone.wire.local());
    assert_eq!(credentials.register(&mut phone, &contact).status(), Some(200));
    let mut phone = Phone::udp(&server);
    phone.number = "4930456".to_owned();
    let authorization = credentials.authorization("INVITE", &format!("sip:4930456@{}", server.sip), "");
    let offer = phone.sdp("sendrecv");
    let answer = phone.invite_with(&[&authorization], &offer);
    assert_eq!((answer.status(), payload_type(&answer)), (Some(200), Some("0")), "{answer:?}");
    phone.hang_up();
    assert_eq!(trunk_of_call(&server, 4), "gamma");
}

#[track_caller]
fn located(server: &Server, trunks: &[&str]) {
    let is_located =
        |it: &str| server.metrics().value(&format!("hookswitch_trunk_gateways{{trunk=\"{it}\"}}")) == Some(1.0);
    assert!(server.wait(ANSWER_MAX, || trunks.iter().all(|it| is_located(it))), "{}", server.metrics().shown());
}

/// What the first codec of an offer or answer is called.
fn payload_type(message: &Message) -> Option<&str> {
    message.sdp("m=audio ")?.split(' ').nth(2)
}

/// Whose the call of this number was, counted from one.
#[track_caller]
fn trunk_of_call(server: &Server, number: usize) -> String {
    let mut calls = vec![];
    let is_over = server.wait(ANSWER_MAX, || {
        calls = journal::calls(&server.home.data());
        calls.len() >= number && calls.iter().all(|it| it.closed)
    });
    assert!(is_over, "{calls:?}");
    calls[number - 1].events[0]["trunk"].as_str().unwrap_or_default().to_owned()
}
