//! A telephone whose media port is closed for a while: what is sent there comes back as ICMP errors.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn a_port_that_is_closed_for_a_while_costs_no_call_and_one_that_stays_closed_ends_it() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "3")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.hear(20);
    let ssrc = phone.media.ssrc_heard;
    let sequence = last_sequence(&phone);

    let address = close(&mut phone);
    let stay = phone.stay(Sends::Nothing, Duration::from_millis(1_500));
    assert!(stay.bye.is_none(), "{stay:?}\n{}", server.log());
    phone.media.socket = UdpSocket::bind(address).unwrap();
    phone.hear(20);
    assert_eq!(phone.media.ssrc_heard, ssrc, "it is the same stream");
    let missed = last_sequence(&phone).wrapping_sub(sequence);
    assert!((70..500).contains(&missed), "{missed} packets were sent meanwhile");
    let refused = || server.metrics().value("hookswitch_rtp_packets_total{what=\"refused\"}").unwrap();
    assert!(refused() > 40.0, "{} packets have come back", refused());
    let unsent = || server.metrics().value("hookswitch_rtp_packets_total{what=\"unsent\"}").unwrap();
    assert_eq!(unsent(), 0.0, "an error for one packet is none for the next");

    // There is no way from loopback to there.
    let elsewhere = phone.sdp("sendrecv").replace("c=IN IP4 127.0.0.1", "c=IN IP4 192.0.2.1");
    assert_eq!(phone.invite_with(&[], &elsewhere).status(), Some(200));
    let stay = phone.stay(Sends::Nothing, Duration::from_millis(1_200));
    assert!(stay.bye.is_none(), "{stay:?}\n{}", server.log());
    assert!(unsent() > 40.0, "{} packets are not sent", unsent());
    assert_eq!(phone.reinvite("sendrecv").status(), Some(200));
    phone.hear(20);

    close(&mut phone);
    let begin = Instant::now();
    let stay = phone.stay(Sends::Nothing, Duration::from_secs(20));
    assert!(stay.bye.is_some() && begin.elapsed() > Duration::from_secs(2), "{stay:?}\n{}", server.log());
    server.settles(&before, ANSWER_MAX);
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("media_inactive"), "{calls:?}");
    let told = calls[0].all("media_report").next().unwrap()["packets_refused"].as_u64().unwrap();
    assert!(told > 80, "{told} packets have come back");
}

/// Closes the media port, whose address is returned; what is heard and sent from here on is another one's.
fn close(phone: &mut Phone) -> SocketAddr {
    let address = phone.media.socket.local_addr().unwrap();
    phone.media.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    address
}

/// The number of the next packet that comes.
#[track_caller]
fn last_sequence(phone: &Phone) -> u16 {
    phone.media.socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    let mut buffer = [0; 2_048];
    phone.media.socket.recv(&mut buffer).unwrap();
    u16::from_be_bytes([buffer[2], buffer[3]])
}
