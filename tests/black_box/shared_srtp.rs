//! Calls whose media are secured by keys in the signalling (RFC 4568), on one port: each is told from the others, under keys of
//! its own. The cryptography of the telephones is that of another implementation.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtc_srtp::context::Context;
use rtc_srtp::crypto::providers::AwsLcRsCrypto;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::carrier::Carrier;
use crate::rtp_peer::RtpPeer;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{ANSWER_MAX, Message, Phone};

#[test]
fn secured_calls_on_one_port_have_keys_of_their_own() {
    let carrier = Carrier::start();
    let threads = u16::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    let ports = rtp_ports(2 * threads + 2);
    let first = ports.split('-').next().unwrap().parse::<u16>().unwrap().next_multiple_of(2);
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__ACME__MEDIA_ADDRESSES", "exact"),
        ("TRUNKS__ACME__SRTP", "required"),
        ("MEDIA__SHARED_PORT", &first.to_string()),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
    ]);
    let shared = first..first + 2 * threads;
    let mut calls: Vec<_> = (1..=3).map(|number| Call::set_up(&server, &carrier, number)).collect();
    for call in &mut calls {
        assert!(shared.contains(&call.near.remote.port()) && shared.contains(&call.far.remote.port()), "{shared:?}");
        call.passes_both_ways();
    }
    let dropped =
        |what: &str| server.metrics().value(&format!("hookswitch_rtp_packets_total{{what=\"{what}\"}}")).unwrap();
    assert_eq!((dropped("unauthenticated"), dropped("replayed")), (0.0, 0.0));

    // From the right address, but not under its key; plain; and once more what has been heard.
    let (_, foreign) = calls[1].near.packet();
    let (plain, secured) = calls[0].near.packet();
    for packet in [&foreign, &plain, &secured, &secured] {
        calls[0].near.socket.send_to(packet, calls[0].near.remote).unwrap();
    }
    assert!(server.wait(ANSWER_MAX, || (dropped("unauthenticated"), dropped("replayed")) == (2.0, 1.0)));
    assert_eq!(calls[0].far.next().as_deref(), Some(&plain[12..]), "what is its own arrives, and nothing else");

    // Another key in mid-call, and reports under it.
    calls[0].rekey();
    calls[0].passes_both_ways();
    calls[1].passes_both_ways();
    calls[0].near.hears_report();
    // A packet may be there before the key that has been agreed on.
    assert!(dropped("unauthenticated") <= 3.0 && dropped("replayed") == 1.0);
    for call in &mut calls {
        call.phone.hang_up();
    }
}

#[test]
fn an_agent_speaks_and_hears_keys_under_srtp_on_a_shared_port() {
    let ports = rtp_ports(20);
    let first = ports.split('-').next().unwrap().parse::<u16>().unwrap().next_multiple_of(2);
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__ACME__MEDIA_ADDRESSES", "exact"),
        ("MEDIA__SHARED_PORT", &first.to_string()),
    ]);
    let mut phone = Phone::udp(&server);
    let offer = secured(&phone.sdp("sendrecv"), "RTP/SAVP", 1, 7);
    let answer = phone.invite_offering("100", &offer);
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    let mut near = End::new(phone.media.socket.try_clone().unwrap(), &answer, 7);
    assert!(near.remote.port() >= first && near.remote.port() < first + 20, "{}", near.remote);
    let end = Instant::now() + ANSWER_MAX;
    let mut loud = 0;
    while loud < 20 && Instant::now() < end {
        let (_, packet) = near.packet();
        near.socket.send_to(&packet, near.remote).unwrap();
        let heard = near.next().unwrap_or_default();
        loud += u32::from(heard.iter().filter(|it| !**it & 0x7f > 0x30).count() > 20);
    }
    assert_eq!(loud, 20, "the agent's greeting is heard");
    phone.hang_up();
}

pub(crate) struct Call {
    pub(crate) phone: Phone,
    pub(crate) near: End,
    pub(crate) far: End,
    number: u8,
}

/// A telephone's end of secured media.
pub(crate) struct End {
    pub(crate) socket: UdpSocket,
    pub(crate) remote: SocketAddr,
    peer: RtpPeer,
    pub(crate) seals: Context,
    opens: Context,
}

impl Call {
    pub(crate) fn set_up(server: &Server, carrier: &Carrier, number: u8) -> Self {
        let mut phone = Phone::udp(server);
        let called = UdpSocket::bind("127.0.0.1:0").unwrap();
        let offer = secured(&phone.sdp("sendrecv"), "RTP/SAVP", 1, number);
        let (invite, answer) = std::thread::scope(|scope| {
            let answering = scope.spawn(|| {
                let invite = carrier.next("INVITE", ANSWER_MAX);
                let port = called.local_addr().unwrap().port();
                let sdp = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
                );
                let sdp = secured(&sdp, "RTP/SAVP", tag(&invite.message), number + 100);
                carrier.answer_with(&invite, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], &sdp);
                carrier.next("ACK", ANSWER_MAX);
                invite
            });
            let answer = phone.invite_offering("400", &offer);
            assert_eq!(answer.status(), Some(200), "{answer:?}\n{}", server.log());
            (answering.join().unwrap(), answer)
        });
        assert!(invite.message.sdp("m=audio").unwrap().contains("RTP/SAVP"), "{:?}", invite.message);
        let near = End::new(phone.media.socket.try_clone().unwrap(), &answer, number);
        let far = End::new(called, &invite.message, number + 100);
        Self { phone, near, far, number }
    }

    #[track_caller]
    pub(crate) fn passes_both_ways(&mut self) {
        assert!(pass(&mut self.near, &mut self.far), "call {}", self.number);
        assert!(pass(&mut self.far, &mut self.near), "call {}", self.number);
    }

    /// The caller sends under another key from now on.
    fn rekey(&mut self) {
        let offer = secured(&self.phone.sdp("sendrecv"), "RTP/SAVP", 1, self.number + 50);
        let answer = self.phone.invite_with(&[], &offer);
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        self.near.seals = context(&key_of(self.number + 50));
    }
}

/// Whether a packet arrives, of many that are sent.
fn pass(from: &mut End, to: &mut End) -> bool {
    let mut sent = vec![];
    let arrived = (0..200).any(|_| {
        let (plain, packet) = from.packet();
        sent.push(plain[12..].to_vec());
        from.socket.send_to(&packet, from.remote).unwrap();
        // On a busy machine it may be one of those before.
        to.next().is_some_and(|it| sent.contains(&it))
    });
    while to.next().is_some() {}
    arrived
}

impl End {
    /// Of the media that `described` tells of, sending under the key of `number`.
    #[track_caller]
    fn new(socket: UdpSocket, described: &Message, number: u8) -> Self {
        let key = crypto(described).1;
        let (seals, opens) = (context(&key_of(number)), context(&STANDARD.decode(key).unwrap()));
        Self { socket, remote: described.rtp_address().unwrap(), peer: RtpPeer::new(), seals, opens }
    }

    /// The next packet, of 30 ms so that it is known not to have been coded again: plain, and as it is sent.
    pub(crate) fn packet(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut plain = self.peer.packet();
        plain.truncate(12);
        let mark = plain[3];
        plain.extend([mark; 240]);
        let secured = self.seals.encrypt_rtp(&plain).unwrap().to_vec();
        (plain, secured)
    }

    /// What the next packet of audio that comes says; nothing after a tenth of a second.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let end = Instant::now() + Duration::from_millis(100);
        while let Some(packet) = self.receive(end) {
            if packet[1] & 0x7f == 0 {
                return Some(self.opens.decrypt_rtp(&packet).expect("it is under our key")[12..].to_vec());
            }
        }
        None
    }

    /// Waits for a report, which has to be under the key of the packets.
    #[track_caller]
    fn hears_report(&mut self) {
        let end = Instant::now() + ANSWER_MAX;
        while let Some(packet) = self.receive(end) {
            if (200..=207).contains(&packet[1]) {
                self.opens.decrypt_rtcp(&packet).expect("it is under our key");
                return;
            }
        }
        panic!("no report after {ANSWER_MAX:?}");
    }

    fn receive(&self, end: Instant) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        loop {
            let left = end.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())?;
            self.socket.set_read_timeout(Some(left)).unwrap();
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer)
                && from == self.remote
            {
                return Some(buffer[..length].to_vec());
            }
        }
    }
}

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

/// The description with the key of `number` in it, and RTCP on the port of RTP.
fn secured(sdp: &str, profile: &str, tag: u32, number: u8) -> String {
    let key = STANDARD.encode(key_of(number));
    format!("{}a=crypto:{tag} {SUITE} inline:{key}\r\na=rtcp-mux\r\n", sdp.replace("RTP/AVP", profile))
}

fn key_of(number: u8) -> Vec<u8> {
    (0..30).map(|at| number.wrapping_mul(37) ^ at).collect()
}

/// The tag of the line of [`SUITE`].
fn tag(described: &Message) -> u32 {
    crypto(described).0
}

#[track_caller]
fn crypto(described: &Message) -> (u32, &str) {
    let lines = described.body.lines().filter_map(|it| it.strip_prefix("a=crypto:")?.split_once(' '));
    let mut lines = lines.filter_map(|(tag, rest)| Some((tag, rest.strip_prefix(SUITE)?.strip_prefix(" inline:")?)));
    let found = lines.next();
    let (tag, key) = found.unwrap_or_else(|| panic!("no key of {SUITE} in {described:?}"));
    (tag.parse().unwrap(), key.split('|').next().unwrap().trim())
}

fn context(key_and_salt: &[u8]) -> Context {
    let profile = ProtectionProfile::Aes128CmHmacSha1_80;
    Context::new(&key_and_salt[..16], &key_and_salt[16..], profile, None, None, &AwsLcRsCrypto).unwrap()
}
