//! A talker who says one tone and listens for others: which 20 ms held which tone, and what the packets were like.

use std::f64::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::carrier::{Carrier, Received};
use crate::rtp_peer::TICK;
use crate::sip_phone::ANSWER_MAX;

/// A packet that came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) at: Instant,
}

/// See the module.
pub(crate) struct TonePeer {
    pub(crate) socket: UdpSocket,
    pub(crate) remote: Option<SocketAddr>,
    /// In hertz; a multiple of 50 fits into a packet of 20 ms.
    hz: f64,
    sequence: u16,
    timestamp: u32,
    pub(crate) heard: Vec<Heard>,
}

impl TonePeer {
    pub(crate) fn on(socket: UdpSocket, remote: Option<SocketAddr>, hz: f64) -> Self {
        Self { socket, remote, hz, sequence: 100, timestamp: 0, heard: vec![] }
    }

    pub(crate) fn new(hz: f64) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap(), None, hz)
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Takes a call that comes in at `carrier`.
    #[track_caller]
    pub(crate) fn answer(&mut self, carrier: &Carrier) -> Received {
        let request = carrier.next("INVITE", ANSWER_MAX);
        self.answer_invite(carrier, &request);
        request
    }

    /// The same, of a call that came in before.
    #[track_caller]
    pub(crate) fn answer_invite(&mut self, carrier: &Carrier, request: &Received) {
        self.remote = request.message.rtp_address();
        carrier.answer_with(request, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], &self.sdp());
        carrier.next("ACK", ANSWER_MAX);
    }

    /// What it has and where.
    pub(crate) fn sdp(&self) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n",
            self.port()
        )
    }

    fn say(&mut self, milliseconds: u32) {
        let samples = milliseconds * 8;
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend([0x7E, 0, 0, 1]);
        packet.extend((0..samples).map(|at| {
            let seconds = f64::from(self.timestamp + at) / 8_000.0;
            encode(6_000.0 * (TAU * self.hz * seconds).sin())
        }));
        self.timestamp = self.timestamp.wrapping_add(samples);
        if let Some(remote) = self.remote {
            drop(self.socket.send_to(&packet, remote));
        }
    }

    fn listen(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let packet = &buffer[..length];
            if Some(from) == self.remote && length > 12 && packet[1] & 0x7F == 0 {
                self.heard.push(Heard {
                    sequence: u16::from_be_bytes(packet[2..4].try_into().unwrap()),
                    ssrc: u32::from_be_bytes(packet[8..12].try_into().unwrap()),
                    payload: packet[12..].to_vec(),
                    at: Instant::now(),
                });
            }
        }
    }

    /// How loud a tone was in each 20 ms that were heard since packet `from`, as its amplitude.
    pub(crate) fn levels(&self, from: usize, hz: f64) -> Vec<f64> {
        let samples: Vec<f64> =
            self.heard[from..].iter().flat_map(|it| it.payload.iter().map(|it| decode(*it))).collect();
        levels(&samples, hz)
    }

    /// Which of `tones` are there in nearly all of what was heard since packet `from`; fails if one comes and goes.
    #[track_caller]
    pub(crate) fn tones(&self, from: usize, tones: &[f64]) -> Vec<f64> {
        let is_there = |hz: &f64| {
            let levels = self.levels(from, *hz);
            let loud = levels.iter().filter(|it| **it > 1_000.0).count();
            assert!(levels.len() > 20, "only {} frames were heard", levels.len());
            // A tick of the machine may be late; more is a fault.
            let gaps = levels.len() - loud;
            assert!(loud <= 2 || gaps <= 2, "{hz} Hz in {loud} of {} frames: {levels:?}", levels.len());
            gaps <= 2
        };
        tones.iter().copied().filter(|it| is_there(it)).collect()
    }

    /// Whether every packet since `from` is the one after that before it, in one stream.
    #[track_caller]
    pub(crate) fn assert_unbroken(&self, from: usize) {
        for pair in self.heard[from..].windows(2) {
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        }
    }
}

/// All talk and listen for some time, in packets of so many milliseconds.
pub(crate) fn talk(peers: &mut [&mut TonePeer], packet_ms: u32, time: Duration) {
    let packet = TICK * packet_ms / 20;
    let end = Instant::now() + time;
    let mut next = Instant::now();
    while Instant::now() < end {
        for peer in &mut *peers {
            peer.say(packet_ms);
        }
        next += packet;
        while Instant::now() < next {
            for peer in &mut *peers {
                peer.listen();
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// How loud a tone is in each 20 ms, as its amplitude.
pub(crate) fn levels(samples: &[f64], hz: f64) -> Vec<f64> {
    samples.as_chunks::<160>().0.iter().map(|it| goertzel(it, hz)).collect()
}

fn goertzel(samples: &[f64], hz: f64) -> f64 {
    let step = TAU * hz / 8_000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        re += sample * (step * at as f64).cos();
        im += sample * (step * at as f64).sin();
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

/// ITU-T G.711, µ-law.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the values are within 16 bits")]
fn encode(sample: f64) -> u8 {
    let magnitude = (sample.abs() as u32).min(32_635) + 132;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 15;
    let sign = if sample < 0.0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

pub(crate) fn decode(octet: u8) -> f64 {
    let octet = !octet;
    let magnitude = ((u32::from(octet & 15) << 3) + 132) << ((octet >> 4) & 7);
    let value = f64::from(magnitude) - 132.0;
    if octet & 0x80 != 0 { -value } else { value }
}
