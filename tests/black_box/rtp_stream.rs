//! One end of an RTP stream of which a test says every packet, and a call between two of them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::carrier::{Carrier, Received};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone};

/// See the module.
pub(crate) struct Stream {
    pub(crate) socket: UdpSocket,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// The SSRC of what came last.
    pub(crate) ssrc_heard: Option<u32>,
    /// RTCP that came to its port, of which [`Stream::heard`] says nothing.
    pub(crate) reports: Vec<Vec<u8>>,
}

/// An RTP packet that came.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload: Vec<u8>,
}

/// A key that was pressed, as events tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) code: u8,
    /// In units of its clock.
    pub(crate) duration: u16,
    timestamp: u32,
}

/// What is lost of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    /// The marker of its first packet, and every packet that says that it has ended.
    MarkerAndEnd,
}

impl Stream {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ssrc = 0xCAFE_0000 | u32::from(socket.local_addr().unwrap().port());
        Self { socket, remote: None, ssrc, sequence: 100, timestamp: 1_000_000, ssrc_heard: None, reports: vec![] }
    }

    /// What it offers or answers: the payload types in order, and lines about them.
    pub(crate) fn sdp(&self, formats: &str, lines: &[&str]) -> String {
        let port = self.socket.local_addr().unwrap().port();
        let lines: String = lines.iter().map(|it| format!("a={it}\r\n")).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n{lines}"
        )
    }

    /// Sends the next packet.
    pub(crate) fn send(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, if marker { 0x80 | payload_type } else { payload_type }];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        drop(self.socket.send_to(&packet, self.remote.unwrap()));
    }

    /// Sends the next packet of audio, which lasts for so many units of its clock.
    pub(crate) fn say(&mut self, payload_type: u8, payload: &[u8], units: u32) {
        self.send(payload_type, false, self.timestamp, payload);
        self.timestamp = self.timestamp.wrapping_add(units);
    }

    /// Holds a key for `ms` milliseconds, as events of payload type 101; `meanwhile` is done every 20 ms.
    pub(crate) fn press(&mut self, code: u8, ms: u32, clock_hz: u32, lost: Lost, mut meanwhile: impl FnMut()) {
        let (units, packets, begin) = (clock_hz / 50, ms / 20, self.timestamp);
        let ends = if lost == Lost::Nothing { 3 } else { 0 };
        pace(20 * (packets + ends), 20, |number| {
            let is_end = number >= packets;
            let duration = u16::try_from(units * (number + 1).min(packets)).unwrap();
            let [high, low] = duration.to_be_bytes();
            let marker = number == 0 && lost == Lost::Nothing;
            self.send(101, marker, begin, &[code, if is_end { 0x8A } else { 0x0A }, high, low]);
            meanwhile();
        });
        self.timestamp = begin.wrapping_add(units * (packets + ends));
    }

    /// The RTP packets that have come since it was asked last.
    pub(crate) fn heard(&mut self) -> Vec<Packet> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        let mut heard = vec![];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let packet = &buffer[..length];
            if Some(from) != self.remote || length < 12 {
                continue;
            }
            if (192..=223).contains(&packet[1]) {
                self.reports.push(packet.to_vec());
                continue;
            }
            self.ssrc_heard = Some(u32::from_be_bytes(packet[8..12].try_into().unwrap()));
            heard.push(Packet {
                payload_type: packet[1] & 0x7F,
                marker: packet[1] & 0x80 != 0,
                sequence: u16::from_be_bytes(packet[2..4].try_into().unwrap()),
                timestamp: u32::from_be_bytes(packet[4..8].try_into().unwrap()),
                payload: packet[12..].to_vec(),
            });
        }
        heard
    }
}

/// The keys that events of payload type 101 tell of, each once.
pub(crate) fn keys(heard: &[Packet]) -> Vec<Key> {
    let mut keys: Vec<Key> = vec![];
    for packet in heard.iter().filter(|it| it.payload_type == 101) {
        let (code, timestamp) = (packet.payload[0], packet.timestamp);
        let duration = u16::from_be_bytes(packet.payload[2..4].try_into().unwrap());
        match keys.iter_mut().find(|it| (it.code, it.timestamp) == (code, timestamp)) {
            Some(key) => key.duration = key.duration.max(duration),
            None => keys.push(Key { code, duration, timestamp }),
        }
    }
    keys
}

/// Their codes.
pub(crate) fn codes(heard: &[Packet]) -> Vec<u8> {
    keys(heard).iter().map(|it| it.code).collect()
}

/// Does something every `step_ms` for `ms`, with its number.
pub(crate) fn pace(ms: u32, step_ms: u32, mut step: impl FnMut(u32)) {
    let mut next = Instant::now();
    for number in 0..ms / step_ms {
        step(number);
        next += Duration::from_millis(step_ms.into());
        while let Some(left) = next.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
            std::thread::park_timeout(left);
        }
    }
}

/// A server that lets anybody on this machine call the carrier at 127.0.0.2 as 400.
pub(crate) fn server_before(carrier: &Carrier, more: &[(&str, &str)]) -> Server {
    let (uri, number) = (carrier.uri(), format!("sip:400@{}", carrier.address));
    let mut keys = vec![
        ("TRUNKS__ACME__URI", uri.as_str()),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
        ("TRUNKS__HOUSE__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__HOUSE__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__HOUSE__OPTIONS_S", "0"),
        ("NUMBERS__400__URI", number.as_str()),
    ];
    keys.extend(more);
    Server::start(&keys)
}

/// A call of `caller` to 400 that `called` takes; each with its payload types and lines.
#[track_caller]
pub(crate) fn bridge(
    phone: &mut Phone,
    carrier: &Carrier,
    (caller, offer): (&mut Stream, &str),
    (called, answer): (&mut Stream, &str),
) -> (Received, Message) {
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let invite = carrier.next("INVITE", ANSWER_MAX);
            called.remote = invite.message.rtp_address();
            carrier.answer_with(&invite, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], answer);
            carrier.next("ACK", ANSWER_MAX);
            invite
        });
        let answered = phone.invite_offering("400", offer);
        assert_eq!(answered.status(), Some(200), "{answered:?}");
        caller.remote = answered.rtp_address();
        (answering.join().unwrap(), answered)
    })
}

/// A call of `caller` to the agent of 100.
#[track_caller]
pub(crate) fn call_agent(phone: &mut Phone, caller: &mut Stream, offer: &str) -> Message {
    let answered = phone.invite_offering("100", offer);
    assert_eq!(answered.status(), Some(200), "{answered:?}");
    caller.remote = answered.rtp_address();
    answered
}

/// Telephone events.
pub(crate) const EVENTS: &str = "rtpmap:101 telephone-event/8000";
