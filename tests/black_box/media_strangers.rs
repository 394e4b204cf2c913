//! A stream belongs to the address that signalling named (RFC 7362): nobody else is heard, answered or able to take it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::rtp_peer::{RtpPeer, Sends};
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn a_stranger_gets_nothing_and_steals_nothing() {
    let server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    let target = phone.media.remote.unwrap();
    // The first packets of the call are the strangers', then theirs and the caller's are mixed.
    let mut strangers = [stranger("127.0.0.1:0", target), stranger("127.0.0.2:0", target)];
    let mut got = 0;
    for second in 0..3 {
        for stranger in &mut strangers {
            for _ in 0..25 {
                // A clone of the caller's stream: same SSRC, sequence and time go on where it is.
                let packet = phone.media.packet();
                stranger.socket.send_to(&packet, target).unwrap();
            }
        }
        let stay = phone.stay(if second == 0 { Sends::Nothing } else { Sends::Silence }, Duration::from_secs(1));
        assert!(stay.bye.is_none(), "{stay:?}");
        assert!(stay.heard.packets > 20 && stay.heard.longest_gap < Duration::from_millis(400), "{stay:?}");
        got += strangers.iter().map(|it| received(&it.socket)).sum::<usize>();
    }
    assert_eq!(got, 0, "packets to strangers");
    phone.hang_up();
}

#[test]
fn a_stranger_is_no_sign_of_life() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "2")]);
    let mut phone = Phone::call(&server, "100");
    let target = phone.media.remote.unwrap();
    let mut stranger = stranger("127.0.0.1:0", target);
    let mut bye = None;
    for _ in 0..10 {
        for _ in 0..10 {
            let packet = stranger.packet();
            drop(stranger.socket.send_to(&packet, target));
        }
        bye = phone.stay(Sends::Nothing, Duration::from_millis(500)).bye;
        if bye.is_some() {
            break;
        }
    }
    assert!(bye.is_some(), "the call lives on a stranger's packets");
}

#[test]
fn malformed_media_disturbs_no_call() {
    let server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    let target = phone.media.remote.unwrap();
    let control = SocketAddr::new(target.ip(), target.port() + 1);
    let mut random = ChaCha12Rng::seed_from_u64(3);
    for length in [0, 1, 11, 12, 13, 100, 1_499, 1_501, 9_000, 65_000] {
        for first in [0x80, 0x8F, 0x90, 0xA0, 0xBF, 0x00, 0xFF] {
            let mut bytes = vec![0; length];
            random.fill_bytes(&mut bytes);
            if let Some(it) = bytes.first_mut() {
                *it = first;
            }
            phone.media.socket.send_to(&bytes, target).unwrap();
            phone.media.socket.send_to(&bytes, control).unwrap();
        }
        let stay = phone.stay(Sends::Silence, Duration::from_millis(100));
        assert!(stay.bye.is_none(), "{stay:?}");
    }
    // RTCP BYE (RFC 3550 §6.6) of every SSRC there is: only SIP ends calls.
    for ssrc in [phone.media.ssrc_heard.unwrap(), 0, u32::MAX] {
        let mut bye = vec![0x81, 203, 0, 1];
        bye.extend(ssrc.to_be_bytes());
        phone.media.socket.send_to(&bye, control).unwrap();
        stranger("127.0.0.1:0", target).socket.send_to(&bye, control).unwrap();
    }
    phone.hear(50);
    phone.hang_up();
}

#[test]
fn a_caller_behind_nat_is_found_by_its_packets() {
    let server = Server::start(&[]);
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv").replace("c=IN IP4 127.0.0.1", "c=IN IP4 10.255.255.1");
    assert_eq!(phone.invite_with(&[], &offer).status(), Some(200));
    phone.hear(50);
    let late = stranger("127.0.0.1:0", phone.media.remote.unwrap());
    let packet = phone.media.packet();
    late.socket.send_to(&packet, phone.media.remote.unwrap()).unwrap();
    phone.hear(50);
    assert_eq!(received(&late.socket), 0, "packets to a stranger");
    phone.hang_up();
}

#[test]
fn a_caller_whom_its_nat_moves_is_found_again_by_signalling() {
    let server = Server::start(&[]);
    let mut phone = Phone::udp(&server);
    let offer = phone.sdp("sendrecv").replace("c=IN IP4 127.0.0.1", "c=IN IP4 10.255.255.1");
    assert_eq!(phone.invite_with(&[], &offer).status(), Some(200));
    phone.hear(50);
    let before = std::mem::replace(&mut phone.media.socket, UdpSocket::bind("127.0.0.1:0").unwrap());
    let lost = phone.stay(Sends::Silence, Duration::from_millis(700));
    assert_eq!(lost.heard.packets, 0, "nothing but packets says that this is the caller");
    assert!(received(&before) > 20);
    assert_eq!(phone.invite_with(&[], &offer).status(), Some(200), "the SDP of before");
    phone.hear(50);
    phone.hang_up();
}

#[test]
fn a_trunk_behind_a_nat_whose_address_it_knows_is_found_if_that_is_said_of_it() {
    for (addresses, is_found) in [("host", true), ("learned", false)] {
        let server = Server::start(&[
            ("TRUNKS__ACME__URI", "sip:127.0.0.1:9"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__MEDIA_ADDRESSES", addresses),
        ]);
        let mut phone = Phone::udp(&server);
        let offer = phone.sdp("sendrecv");
        phone.media.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(phone.invite_with(&[], &offer).status(), Some(200));
        let stay = phone.stay(Sends::Silence, Duration::from_millis(700));
        assert_eq!(stay.heard.packets > 10, is_found, "{addresses}: {stay:?}");
        phone.hang_up();
    }
}

#[test]
fn the_port_of_an_ended_call_is_not_given_to_the_next() {
    let server = Server::start(&[]);
    let mut last = None;
    for _ in 0..5 {
        let mut phone = Phone::call(&server, "100");
        assert_ne!(phone.media.remote, last, "its late packets would reach the next call");
        last = phone.media.remote;
        phone.hang_up();
    }
}

fn stranger(local: &str, target: SocketAddr) -> RtpPeer {
    let mut peer = RtpPeer::new();
    peer.socket = UdpSocket::bind(local).unwrap();
    peer.remote = Some(target);
    peer
}

/// How many packets wait at a socket.
fn received(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
}
