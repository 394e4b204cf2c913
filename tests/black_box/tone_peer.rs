//! A talker who says one tone and listens for others: which 20 ms held which tone, and what the packets were like.

use std::f64::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hookswitch::codec::AudioCodec;

use crate::carrier::{Carrier, Received};
use crate::coded_voice::Voice;
use crate::rtp_peer::TICK;
use crate::sip_phone::{ANSWER_MAX, Message};

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
    /// Packets of telephone events that came.
    pub(crate) events: usize,
    /// How it codes and secures what it says; as µ-law, plain, without.
    voice: Option<Box<Mutex<Voice>>>,
}

impl TonePeer {
    pub(crate) fn on(socket: UdpSocket, remote: Option<SocketAddr>, hz: f64) -> Self {
        Self { socket, remote, hz, sequence: 100, timestamp: 0, heard: vec![], events: 0, voice: None }
    }

    pub(crate) fn new(hz: f64) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap(), None, hz)
    }

    /// Who speaks another codec, or under a key of its own.
    pub(crate) fn speaking(hz: f64, codec: AudioCodec, is_secured: bool) -> Self {
        Self { voice: Some(Box::new(Mutex::new(Voice::new(codec, is_secured)))), ..Self::new(hz) }
    }

    /// What it says, in hertz.
    pub(crate) fn tone(&self) -> f64 {
        self.hz
    }

    /// Another tone from here on.
    pub(crate) fn sing(&mut self, hz: f64) {
        self.hz = hz;
    }

    /// How loud a tone was in each 20 ms that were heard since packet `from`, as wide as the codec is.
    pub(crate) fn wide_levels(&self, from: usize, hz: f64) -> Vec<f64> {
        let voice = self.voice.as_ref().unwrap().lock().unwrap();
        let (samples, rate) = voice.heard_since(from);
        samples.chunks_exact((rate / 50) as usize).map(|it| goertzel_at(it, hz, rate)).collect()
    }

    /// Takes what the other side says of its media.
    #[track_caller]
    pub(crate) fn agree(&mut self, message: &Message) {
        self.remote = message.rtp_address();
        if let Some(voice) = &mut self.voice {
            voice.get_mut().unwrap().agree(message);
        }
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
        self.agree(&request.message);
        let sdp = self.sdp_answering(&request.message);
        carrier.answer_with(request, "200 OK", &[&format!("Contact: <{}>", carrier.uri())], &sdp);
        carrier.next("ACK", ANSWER_MAX);
    }

    /// What it has and where.
    pub(crate) fn sdp(&self) -> String {
        self.sdp_with("RTP/AVP")
    }

    /// The same, as an offer that names its keys.
    pub(crate) fn sdp_offering(&self) -> String {
        let is_secured = self.voice.as_ref().is_some_and(|it| !it.lock().unwrap().crypto().is_empty());
        self.sdp_with(if is_secured { "RTP/SAVP" } else { "RTP/AVP" })
    }

    /// The same, as an answer.
    pub(crate) fn sdp_answering(&self, offer: &Message) -> String {
        let offered = offer.sdp("m=audio ").unwrap_or_default();
        self.sdp_with(offered.split(' ').nth(1).unwrap_or("RTP/AVP"))
    }

    fn sdp_with(&self, profile: &str) -> String {
        let plain = || (0, "PCMU/8000".to_owned());
        let (number, codec) = self.voice.as_ref().map_or_else(plain, |it| it.lock().unwrap().format());
        let key = self.voice.as_ref().map(|it| it.lock().unwrap().crypto()).unwrap_or_default();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} {profile} {number} 101\r\n\
             a=rtpmap:{number} {codec}\r\na=rtpmap:101 telephone-event/8000\r\n{key}",
            self.port()
        )
    }

    fn say(&mut self, milliseconds: u32) {
        if let Some(voice) = &mut self.voice {
            self.sequence = self.sequence.wrapping_add(1);
            let packet = voice.get_mut().unwrap().say(self.hz, milliseconds, self.sequence);
            if let Some(remote) = self.remote {
                drop(self.socket.send_to(&packet, remote));
            }
            return;
        }
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

    /// Presses keys as telephone events (RFC 4733): each is held for 60 ms, and its end is told three times.
    pub(crate) fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = u8::try_from("0123456789*#".find(key).unwrap()).unwrap();
            for (count, (end, duration)) in
                [(0, 160), (0, 320), (0x80, 480), (0x80, 480), (0x80, 480_u16)].iter().enumerate()
            {
                self.sequence = self.sequence.wrapping_add(1);
                let mut packet = vec![0x80, if count == 0 { 0x80 | 101 } else { 101 }];
                packet.extend(self.sequence.to_be_bytes());
                packet.extend(self.timestamp.to_be_bytes());
                packet.extend([0x7E, 0, 0, 1, code, end | 10]);
                packet.extend(duration.to_be_bytes());
                drop(self.socket.send_to(&packet, self.remote.unwrap()));
                std::thread::park_timeout(TICK);
            }
            self.timestamp = self.timestamp.wrapping_add(800);
        }
    }

    fn listen(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            self.events += usize::from(Some(from) == self.remote && length > 12 && buffer[1] & 0x7F == 101);
            if let Some(voice) = self.voice.as_mut().filter(|_| Some(from) == self.remote) {
                self.heard.extend(voice.get_mut().unwrap().hear(&mut buffer[..length]));
                continue;
            }
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
    goertzel_at(samples, hz, 8_000)
}

fn goertzel_at(samples: &[f64], hz: f64, rate: u32) -> f64 {
    let step = TAU * hz / f64::from(rate);
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        re += sample * (step * at as f64).cos();
        im += sample * (step * at as f64).sin();
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

/// ITU-T G.711, µ-law.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the values are within 16 bits")]
pub(crate) fn encode(sample: f64) -> u8 {
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
