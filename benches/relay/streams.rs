//! The RTP of all telephones: a stream from each, 20 ms a packet, staggered by milliseconds; and who has received what.
//!
//! Packets of G.711 that are passed on as they are say when they were sent. Where the two sides have different codecs,
//! packets are only counted.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hookswitch::codec::{AudioCodec, Encoder, OpusSettings};
use hookswitch::rtp::packet::is_rtcp;

use hookswitch::server::batched_udp::{Poll, ReceiveBatch, SendBatch};
use hookswitch::server::clock;

/// Sockets of one side where its telephones share them, so that this process has little to do.
const SOCKETS: usize = 4;
const SLOTS: usize = 20;
const PACKET_LEN: usize = 172;
/// Of audio that is coded, before it repeats.
const PAYLOADS: usize = 50;

/// How the telephones of one side code audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) codec: AudioCodec,
    pub(crate) payload_type: u8,
}

impl Coding {
    pub(crate) fn of(name: &str) -> Self {
        let (codec, payload_type) = match name {
            "pcmu" => (AudioCodec::Pcmu, 0),
            "pcma" => (AudioCodec::Pcma, 8),
            "g722" => (AudioCodec::G722, 9),
            "opus" => (AudioCodec::Opus, 96),
            other => panic!("there is no codec `{other}`"),
        };
        Self { codec, payload_type }
    }

    /// As `a=rtpmap` has it.
    pub(crate) const fn rtpmap(self) -> &'static str {
        match self.codec {
            AudioCodec::G722 => "G722/8000",
            AudioCodec::Opus => "opus/48000/2",
            AudioCodec::Pcma => "PCMA/8000",
            AudioCodec::Pcmu | AudioCodec::L16(_) => "PCMU/8000",
        }
    }

    /// One second of something between a vowel and noise.
    fn payloads(self) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(self.codec, OpusSettings::default());
        let len = self.codec.rate().frame_len();
        let mut noise = 1_u32;
        let mut sample = |at: usize| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let seconds = at as f64 / f64::from(self.codec.rate().hz());
            let envelope = (seconds * 20.0).sin().abs();
            let tones =
                (1..=8).map(|it| (seconds * 120.0 * std::f64::consts::TAU * f64::from(it)).sin() / f64::from(it));
            (envelope * (4_000.0 * tones.sum::<f64>() + f64::from(noise >> 20) - 2_048.0)) as i16
        };
        let mut payload = |frame: usize| {
            let samples: Vec<_> = (0..len).map(|it| sample(frame * len + it)).collect();
            let mut payload = vec![0; 500];
            let written = encoder.encode(&samples, &mut payload);
            payload.truncate(written);
            payload
        };
        (0..PAYLOADS).map(&mut payload).collect()
    }
}

/// Two telephones for each call.
pub(crate) struct Streams {
    sides: [Vec<UdpSocket>; 2],
    poll: Poll,
    receive: ReceiveBatch,
    send: SendBatch,
    /// Where the telephones of each side send.
    peers: [Vec<SocketAddr>; 2],
    /// The sockets that send in each millisecond, and for which calls.
    slots: Vec<Vec<(usize, Vec<usize>)>>,
    codings: [Coding; 2],
    /// What is said where packets are not passed on as they are.
    payloads: Option<[Vec<Vec<u8>>; 2]>,
    sequence: u16,
    figures: Figures,
    origin: Instant,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// In microseconds, sorted.
    pub(crate) delays: Vec<u32>,
    /// How late each millisecond's packets were sent, in microseconds, sorted.
    pub(crate) lags: Vec<u32>,
    pub(crate) elapsed: Duration,
}

impl Streams {
    /// With a socket for each telephone, if `is_exact`, or a few for all.
    pub(crate) fn new(calls: usize, codings: [Coding; 2], is_exact: bool) -> Self {
        let sockets = if is_exact { calls } else { SOCKETS };
        let socket_of = |call: usize| if is_exact { call } else { call / SLOTS % SOCKETS };
        let mut slots = vec![vec![]; SLOTS];
        for (index, slot) in slots.iter_mut().enumerate() {
            for call in (index..calls).step_by(SLOTS) {
                match slot.iter_mut().find(|it: &&mut (usize, Vec<usize>)| it.0 == socket_of(call)) {
                    Some((_, calls)) => calls.push(call),
                    None => slot.push((socket_of(call), vec![call])),
                }
            }
        }
        let poll = Poll::new().expect("epoll");
        let mut token = 0;
        let sides = [(); 2].map(|()| {
            let open = || {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
                socket.set_nonblocking(true).expect("a socket can be non-blocking");
                // What the system does not grant is left out.
                drop(socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20));
                poll.add(socket.as_fd(), token).expect("epoll");
                token += 1;
                socket
            };
            std::iter::repeat_with(open).take(sockets).collect()
        });
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        Self {
            sides,
            poll,
            receive: ReceiveBatch::new(),
            send: SendBatch::new(),
            peers: [vec![nobody; calls], vec![nobody; calls]],
            slots,
            codings,
            payloads: (codings[0] != codings[1]).then(|| codings.map(Coding::payloads)),
            sequence: 0,
            figures: Figures::default(),
            origin: clock::now().instant,
        }
    }

    pub(crate) const fn calls(&self) -> usize {
        self.peers[0].len()
    }

    pub(crate) const fn codings(&self) -> [Coding; 2] {
        self.codings
    }

    /// The address of a telephone's socket.
    pub(crate) fn address(&self, side: usize, call: usize) -> SocketAddr {
        let sockets = &self.slots[call % SLOTS];
        let socket = sockets.iter().find(|(_, calls)| calls.contains(&call)).expect("each call has one").0;
        self.sides[side][socket].local_addr().expect("it is bound")
    }

    /// Where it is to send.
    pub(crate) fn set_peer(&mut self, side: usize, call: usize, peer: SocketAddr) {
        self.peers[side][call] = peer;
    }

    /// Sends and receives for so long, and then waits for what is still on its way.
    pub(crate) fn run(&mut self, time: Duration, is_measured: bool) -> Figures {
        self.figures = Figures::default();
        let start = clock::now().instant;
        let end = time.as_millis() as u64;
        for ms in 0..end {
            let due = start + Duration::from_millis(ms);
            self.listen_until(due);
            let lag = clock::now().instant.saturating_duration_since(due);
            self.figures.lags.push(lag.as_micros() as u32);
            self.send_slot(ms as usize % SLOTS, is_measured);
            if ms as usize % SLOTS == SLOTS - 1 {
                self.sequence = self.sequence.wrapping_add(1);
            }
        }
        self.figures.elapsed = clock::now().instant - start;
        if is_measured && self.payloads.is_none() {
            self.listen_until(clock::now().instant + Duration::from_millis(500));
        }
        let mut figures = std::mem::take(&mut self.figures);
        figures.delays.sort_unstable();
        figures.lags.sort_unstable();
        figures
    }

    fn send_slot(&mut self, slot: usize, is_measured: bool) {
        for side in 0..2 {
            for (socket, calls) in &self.slots[slot] {
                let socket = &self.sides[side][*socket];
                for call in calls {
                    let now = (clock::now().instant - self.origin).as_micros() as u64;
                    let mut packet = packet(self.sequence, side, *call, now, is_measured);
                    self.figures.sent += u64::from(is_measured);
                    let to = self.peers[side][*call];
                    let coding = self.codings[side];
                    let payload = self.payloads.as_ref().map(|it| &*it[side][usize::from(self.sequence) % PAYLOADS]);
                    self.send.push(|buffer| {
                        if let Some(payload) = payload {
                            packet[1] = coding.payload_type;
                            let timestamp = u32::from(self.sequence).wrapping_mul(coding.codec.clock_hz() / 50);
                            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
                            buffer.get_mut(..12)?.copy_from_slice(&packet[..12]);
                            buffer.get_mut(12..12 + payload.len())?.copy_from_slice(payload);
                            return Some((to, 12 + payload.len()));
                        }
                        buffer.get_mut(..PACKET_LEN)?.copy_from_slice(&packet);
                        Some((to, PACKET_LEN))
                    });
                    if self.send.is_full() {
                        self.send.send(socket.as_fd());
                    }
                }
                self.send.send(socket.as_fd());
            }
        }
    }

    fn listen_until(&mut self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(clock::now().instant);
            let ready: Vec<u64> = self.poll.wait(Some(left)).expect("epoll").map(|it| it.token).collect();
            for token in ready {
                let (index, sockets) = (token as usize, self.sides[0].len());
                let socket = &self.sides[index / sockets][index % sockets];
                if self.receive.receive(socket.as_fd()).is_err() {
                    continue;
                }
                let now = (clock::now().instant - self.origin).as_micros() as u64;
                for (_, datagram) in self.receive.iter() {
                    if self.payloads.is_some() {
                        self.figures.received += u64::from(!is_rtcp(datagram));
                    } else if let Some(sent) = measured_at(datagram) {
                        self.figures.received += 1;
                        self.figures.delays.push(now.saturating_sub(sent) as u32);
                    }
                }
            }
            if left.is_zero() {
                return;
            }
        }
    }
}

/// A packet of G.711 that says when it was sent, and whether it counts.
fn packet(sequence: u16, side: usize, call: usize, now: u64, is_measured: bool) -> [u8; PACKET_LEN] {
    let mut packet = [0xd5; PACKET_LEN];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&(0x1000_0000 + (call * 2 + side) as u32).to_be_bytes());
    packet[12..16].copy_from_slice(if is_measured { MEASURED } else { b"warm" });
    packet[16..24].copy_from_slice(&now.to_be_bytes());
    packet
}

fn measured_at(datagram: &[u8]) -> Option<u64> {
    let is_ours = datagram.len() == PACKET_LEN && datagram.get(12..16)? == MEASURED;
    let at: [u8; 8] = *datagram.get(16..)?.first_chunk()?;
    is_ours.then_some(u64::from_be_bytes(at))
}

const MEASURED: &[u8] = b"true";
