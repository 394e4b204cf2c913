//! Calls of peers whose media addresses are exact: many on one port.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use crate::bridged_media::answer;
use crate::carrier::Carrier;
use crate::rtp_peer::RtpPeer;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn calls_on_one_port_are_told_apart_and_an_address_that_is_taken_gets_its_own() {
    let carrier = Carrier::start();
    let threads = u16::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    let ports = rtp_ports(2 * threads + 2);
    let first = ports.split('-').next().unwrap().parse::<u16>().unwrap().next_multiple_of(2);
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__ACME__MEDIA_ADDRESSES", "exact"),
        ("MEDIA__SHARED_PORT", &first.to_string()),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
    ]);
    let mut calls: Vec<_> = (0..4).map(|_| Call::set_up(&server, &carrier, Phone::udp(&server))).collect();
    let shared = first..first + 2 * threads;
    for call in &calls {
        assert!(shared.contains(&call.caller.media.remote.unwrap().port()), "{shared:?}");
        assert_eq!(call.caller.media.remote.unwrap(), call.called_remote);
    }
    for (call, mark) in calls.iter_mut().zip(10_u8..) {
        call.passes_both_ways(mark);
    }
    // Other callers say that they are where the first is: each thread has one of them at most on its port.
    let taken = calls[0].caller.media.socket.try_clone().unwrap();
    let copies: Vec<_> = (0..threads)
        .map(|_| {
            let mut phone = Phone::udp(&server);
            phone.media.socket = taken.try_clone().unwrap();
            Call::set_up(&server, &carrier, phone)
        })
        .collect();
    let ports = copies.iter().map(|it| it.caller.media.remote.unwrap().port());
    let (inside, outside): (Vec<_>, Vec<_>) = ports.partition(|it| shared.contains(it));
    assert!(
        !outside.is_empty() && inside.iter().collect::<BTreeSet<_>>().len() == inside.len(),
        "{inside:?} {outside:?}"
    );
    calls[0].passes_both_ways(50);
    let unmatched = || server.metrics().value("hookswitch_rtp_packets_total{what=\"unmatched\"}").unwrap();
    let before = unmatched();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packet = calls[0].packet(60);
    for _ in 0..10 {
        stranger.send_to(&packet, calls[0].called_remote).unwrap();
    }
    assert!(server.wait(ANSWER_MAX, || unmatched() >= before + 10.0));
    for call in calls.iter_mut().chain(&mut copies.into_iter().collect::<Vec<_>>()) {
        call.caller.hang_up();
    }
}

pub(crate) struct Call {
    pub(crate) caller: Phone,
    pub(crate) called: RtpPeer,
    /// Where the called telephone is to send.
    pub(crate) called_remote: std::net::SocketAddr,
}

impl Call {
    pub(crate) fn set_up(server: &Server, carrier: &Carrier, mut caller: Phone) -> Self {
        let called = RtpPeer::new();
        let offer = std::thread::scope(|scope| {
            let answering = scope.spawn(|| answer(carrier, &called.socket, 0, "PCMU"));
            assert_eq!(caller.invite("400").status(), Some(200), "{}", server.log());
            answering.join().unwrap()
        });
        Self { caller, called, called_remote: offer.rtp_address().unwrap() }
    }

    /// Of 30 ms, as nothing that is coded again is.
    pub(crate) fn packet(&mut self, mark: u8) -> Vec<u8> {
        let mut packet = self.caller.media.packet();
        packet.truncate(12);
        packet.extend([mark; 240]);
        packet
    }

    pub(crate) fn passes_both_ways(&mut self, mark: u8) {
        let remote = self.caller.media.remote.unwrap();
        assert!((0..200).any(|_| {
            let packet = self.packet(mark);
            self.caller.media.socket.send_to(&packet, remote).unwrap();
            hears(&self.called.socket, mark)
        }));
        assert!((0..200).any(|_| {
            let mut packet = self.called.packet();
            packet.truncate(12);
            packet.extend([mark; 240]);
            self.called.socket.send_to(&packet, self.called_remote).unwrap();
            hears(&self.caller.media.socket, mark)
        }));
    }
}

/// Whether such a packet is the next of its length.
fn hears(socket: &UdpSocket, mark: u8) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 2_048];
    let next = (0..20).find_map(|_| socket.recv(&mut buffer).ok().filter(|len| *len == 252));
    next.is_some_and(|_| buffer[12] == mark && buffer[251] == mark)
}
