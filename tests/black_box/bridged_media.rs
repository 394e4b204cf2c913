//! What two telephones hear of each other.

use std::net::UdpSocket;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::rtp_peer::RtpPeer;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone};

#[test]
fn the_same_codec_is_passed_on_and_another_is_coded_again() {
    let carrier = Carrier::start();
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
    ]);
    for (payload_type, name, is_passed_on) in [(0, "PCMU", true), (8, "PCMA", false)] {
        let mut caller = Phone::udp(&server);
        let called = RtpPeer::new();
        let answer = std::thread::scope(|scope| {
            let answering = scope.spawn(|| answer(&carrier, &called.socket, payload_type, name));
            assert_eq!(caller.invite("400").status(), Some(200));
            answering.join().unwrap()
        });
        let from = answer.rtp_address().unwrap();
        // Packets of 30 ms stay so only if nobody decodes them; what is coded again comes in packets of 20 ms.
        let sent: Vec<Vec<u8>> = (0..60_u8).map(|number| packet(&mut caller.media, number)).collect();
        let remote = caller.media.remote.unwrap();
        let mut heard = vec![];
        for packet in &sent {
            caller.media.socket.send_to(packet, remote).unwrap();
            heard.extend(next(&called.socket, from));
        }
        let passed_on: Vec<_> = heard.iter().filter(|it| it.len() == 12 + 240).collect();
        assert_eq!(passed_on.len() > 20, is_passed_on, "{name}: {} of {}", passed_on.len(), heard.len());
        for packet in passed_on {
            assert_eq!(packet[1] & 0x7f, payload_type);
            assert!(sent.iter().any(|it| it[12..] == packet[12..]), "{packet:?}");
        }
        caller.hang_up();
    }
}

/// Takes the call with one codec; returns the offer.
pub(crate) fn answer(carrier: &Carrier, media: &UdpSocket, payload_type: u8, name: &str) -> Message {
    let request = carrier.next("INVITE", ANSWER_MAX);
    let port = media.local_addr().unwrap().port();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {payload_type} 101\r\n\
         a=rtpmap:{payload_type} {name}/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    );
    carrier.answer_with(&request, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], &sdp);
    carrier.next("ACK", ANSWER_MAX);
    request.message
}

/// 30 ms of which no two are alike.
fn packet(media: &mut RtpPeer, number: u8) -> Vec<u8> {
    let mut packet = media.packet();
    packet.truncate(12);
    packet.extend([number; 240]);
    packet
}

fn next(socket: &UdpSocket, from: std::net::SocketAddr) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 2_048];
    let (len, sender) = socket.recv_from(&mut buffer).ok()?;
    (sender == from).then(|| buffer[..len].to_vec())
}
