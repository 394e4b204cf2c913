//! The RTP of all telephones: a stream from each, 20 ms a packet, staggered by milliseconds; and who has received what.
//!
//! Packets of G.711 say when they were sent, in sixteen levels of sound that either law keeps apart, so that it can be
//! read also where they are decoded and coded again. Packets of other codecs are only counted.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hookswitch::codec::{AudioCodec, Decoder, Encoder, OpusSettings};
use hookswitch::rtp::packet::is_rtcp;

use hookswitch::server::batched_udp::{Poll, ReceiveBatch, SendBatch};
use hookswitch::server::clock;

/// Sockets of one side where its telephones share them, so that this process has little to do.
const SOCKETS: usize = 4;
const SLOTS: usize = 20;
const HEADER_LEN: usize = 12;
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

    const fn is_g711(self) -> bool {
        matches!(self.codec, AudioCodec::Pcmu | AudioCodec::Pcma)
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
    payloads: [Vec<Vec<u8>>; 2],
    /// Whether packets say when they were sent, and how that is written by each side.
    stamps: Option<[Stamps; 2]>,
    sequence: u16,
    figures: Figures,
    origin: Instant,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    /// Those that can be told.
    pub(crate) received: u64,
    /// All that came, also what was made up.
    pub(crate) arrived: u64,
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
            payloads: codings.map(Coding::payloads),
            stamps: codings.iter().all(|it| it.is_g711()).then(|| codings.map(Stamps::of)),
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
        if is_measured && self.stamps.is_some() {
            self.listen_until(clock::now().instant + Duration::from_millis(200));
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
                    self.figures.sent += u64::from(is_measured);
                    let (to, coding, sequence) = (self.peers[side][*call], self.codings[side], self.sequence);
                    let payload = &self.payloads[side][usize::from(sequence) % PAYLOADS];
                    let stamps = self.stamps.as_ref().filter(|_| is_measured).map(|it| &it[side]);
                    self.send.push(|buffer| {
                        buffer.get_mut(..HEADER_LEN)?.copy_from_slice(&header(sequence, side, *call, coding));
                        let written = buffer.get_mut(HEADER_LEN..HEADER_LEN + payload.len())?;
                        written.copy_from_slice(payload);
                        if let Some(stamps) = stamps {
                            stamps.write(now, written);
                        }
                        Some((to, HEADER_LEN + payload.len()))
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
                for (_, datagram) in self.receive.iter().filter(|it| !is_rtcp(it.1)) {
                    self.figures.arrived += 1;
                    let Some(stamps) = &self.stamps else {
                        self.figures.received += 1;
                        continue;
                    };
                    let stamps = &stamps[index / sockets];
                    if let Some(sent) = datagram.get(HEADER_LEN..).and_then(|it| stamps.read(it)) {
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

fn header(sequence: u16, side: usize, call: usize, coding: Coding) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..2].copy_from_slice(&[0x80, coding.payload_type]);
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    let timestamp = u32::from(sequence).wrapping_mul(coding.codec.clock_hz() / 50);
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&(0x1000_0000 + (call * 2 + side) as u32).to_be_bytes());
    header
}

/// Numbers in the sound of one law of G.711: a level for each four bits.
struct Stamps {
    /// The code of each level.
    codes: [u8; 16],
    /// The level of each code, if it is near one.
    levels: [u8; 256],
}

impl Stamps {
    fn of(coding: Coding) -> Self {
        let levels: [i16; 16] = std::array::from_fn(|it| 40 + (it * it * 100) as i16);
        let mut codes = [0; 16];
        Encoder::new(coding.codec, OpusSettings::default()).encode(&levels, &mut codes);
        let all: [u8; 256] = std::array::from_fn(|it| it as u8);
        let mut decoded = [0; 256];
        Decoder::new(coding.codec).decode(&all, &mut decoded);
        let nearest = |sample: i16| (0..16_u8).min_by_key(|it| levels[usize::from(*it)].abs_diff(sample)).unwrap_or(0);
        Self { codes, levels: decoded.map(nearest) }
    }

    fn write(&self, time: u64, payload: &mut [u8]) {
        for (index, code) in payload.iter_mut().take(STAMP_LEN).enumerate() {
            *code = self.codes[usize::from(digit(time, index))];
        }
    }

    fn read(&self, payload: &[u8]) -> Option<u64> {
        let stamp = payload.get(..STAMP_LEN)?;
        let digits = stamp.iter().map(|it| self.levels[usize::from(*it)]);
        let time = digits.clone().take(TIME_DIGITS).fold(0, |time, it| time << 4 | u64::from(it));
        digits.enumerate().all(|(index, it)| it == digit(time, index)).then_some(time)
    }
}

/// Of a time; and after those, of something that only such a time has.
const fn digit(time: u64, index: usize) -> u8 {
    if index < TIME_DIGITS {
        return (time >> (4 * (TIME_DIGITS - 1 - index)) & 15) as u8;
    }
    // Silence is not a time.
    let mixed = (time ^ 0xa5a5_a5a5_a5a5).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (4 * (index - TIME_DIGITS) + 32) & 15) as u8
}

const TIME_DIGITS: usize = 12;
const STAMP_LEN: usize = TIME_DIGITS + 8;
