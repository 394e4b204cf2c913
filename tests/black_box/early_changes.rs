//! Media of ours that move before a call is answered: UPDATE with our own offer (RFC 3311 §5.1).

use std::net::SocketAddr;
use std::time::Duration;

use crate::carrier::{Carrier, Received};
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{TonePeer, talk};

#[test]
fn a_carrier_whose_media_address_is_taken_is_told_of_another_port_before_it_answers() {
    let carrier = Carrier::start();
    let threads = u16::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    let ports = rtp_ports(2 * threads + 2);
    let first = ports.split('-').next().unwrap().parse::<u16>().unwrap().next_multiple_of(2);
    let shared = first..first + 2 * threads;
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__MEDIA_ADDRESSES", "exact"),
        ("MEDIA__SHARED_PORT", &first.to_string()),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
    ]);
    let mut called = TonePeer::new(900.0);
    // All calls are said to be heard at one address: a thread of media can have one of them on its port.
    let mut calls = vec![];
    let (caller, from, to) = loop {
        assert!(calls.len() <= usize::from(threads), "none of {} calls has another port", calls.len());
        let mut caller = Phone::udp(&server);
        let moved = std::thread::scope(|scope| {
            let answering = scope.spawn(|| answer(&carrier, &called));
            assert_eq!(caller.invite("400").status(), Some(200), "{}", server.log());
            answering.join().unwrap()
        });
        match moved {
            (from, Some(to)) => break (caller, from, to),
            (_, None) => calls.push(caller),
        }
    };
    assert!(shared.contains(&from.port()) && !shared.contains(&to.port()), "{from} {to}");
    for mut call in calls {
        call.hang_up();
    }
    called.remote = Some(to);
    let mut caller_media = TonePeer::on(caller.media.socket.try_clone().unwrap(), caller.media.remote, 500.0);
    talk(&mut [&mut caller_media, &mut called], 20, Duration::from_millis(400));
    let seen = [caller_media.heard.len(), called.heard.len()];
    talk(&mut [&mut caller_media, &mut called], 20, Duration::from_secs(1));
    assert_eq!(caller_media.tones(seen[0], &[500.0, 900.0]), [900.0]);
    assert_eq!(called.tones(seen[1], &[500.0, 900.0]), [500.0]);
}

/// Rings reliably with SDP, takes an UPDATE if one comes, and answers: where we wanted media first, and where then.
fn answer(carrier: &Carrier, called: &TonePeer) -> (SocketAddr, Option<SocketAddr>) {
    let invite = carrier.next("INVITE", ANSWER_MAX);
    let own = format!("Contact: <{}>", carrier.uri());
    let early = [own.as_str(), "Require: 100rel", "RSeq: 7", "Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE"];
    carrier.answer_with(&invite, "183 Session Progress", &early, &called.sdp());
    let prack = carrier.next("PRACK", ANSWER_MAX);
    carrier.answer(&prack, "200 OK", &[]);
    let update = carrier.next_if_any("UPDATE", Duration::from_millis(500));
    let moved = update.as_ref().and_then(|it: &Received| it.message.rtp_address());
    if let Some(update) = update {
        carrier.answer_with(&update, "200 OK", &[&own], &called.sdp().replace("- 1 1", "- 1 2"));
    }
    carrier.answer(&invite, "200 OK", &[&own]);
    carrier.next("ACK", ANSWER_MAX);
    (invite.message.rtp_address().unwrap(), moved)
}
