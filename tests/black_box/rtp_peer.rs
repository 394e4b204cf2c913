//! The caller's end of a call's media: µ-law packets of 20 ms (RFC 3550, RFC 3551) out, and an account of those that come
//! in.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// No packets at all.
    Nothing,
    /// Packets of silence.
    Silence,
}

/// What came in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// RTP packets.
    pub(crate) packets: u32,
    /// Those with sound in them.
    pub(crate) loud: u32,
    /// Runs of sound with at least half a second of silence before each.
    pub(crate) bursts: u32,
    /// The longest time without a packet between the first and the last.
    pub(crate) longest_gap: Duration,
    /// All times between two packets.
    pub(crate) gaps: Vec<Duration>,
    /// What they carried.
    pub(crate) payload: Vec<u8>,
    /// When the last one came.
    pub(crate) last: Option<Instant>,
    quiet: u32,
}

/// One RTP stream each way.
pub(crate) struct RtpPeer {
    pub(crate) socket: UdpSocket,
    pub(crate) remote: Option<SocketAddr>,
    /// The SSRC that comes in.
    pub(crate) ssrc_heard: Option<u32>,
    /// µ-law that is sent in the place of silence, for as long as there is some.
    pub(crate) voice: VecDeque<u8>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    next: Instant,
}

impl RtpPeer {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ssrc = 0x1CEB_0000 | u32::from(socket.local_addr().unwrap().port());
        Self {
            socket,
            remote: None,
            ssrc_heard: None,
            voice: VecDeque::new(),
            ssrc,
            sequence: 4711,
            timestamp: 0,
            next: Instant::now(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// The next packet, of silence if there is nothing else.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend((0..160).map(|_| self.voice.pop_front().unwrap_or(0xFF)));
        packet
    }

    /// One tick of 20 ms: sends what is due and takes what comes meanwhile.
    pub(crate) fn tick(&mut self, sends: Sends, account: &mut Account) {
        // After a pause between two calls of this, the schedule starts anew.
        let now = Instant::now();
        if self.next + TICK * 5 < now {
            self.next = now;
        }
        if let (Sends::Silence, Some(remote)) = (sends, self.remote) {
            let packet = self.packet();
            // A port that is closed already refuses; whether it should be is seen elsewhere.
            drop(self.socket.send_to(&packet, remote));
        }
        self.next += TICK;
        let mut buffer = [0; 2048];
        while let Some(wait) = self.next.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
            self.socket.set_read_timeout(Some(wait)).unwrap();
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                self.take(&buffer[..length], from, account);
            }
        }
    }

    fn take(&mut self, packet: &[u8], from: SocketAddr, account: &mut Account) {
        if Some(from) != self.remote || packet.len() <= 12 || packet[0] >> 6 != 2 {
            return;
        }
        self.ssrc_heard = Some(u32::from_be_bytes(packet[8..12].try_into().unwrap()));
        let now = Instant::now();
        if let Some(last) = account.last {
            account.longest_gap = account.longest_gap.max(now - last);
            account.gaps.push(now - last);
        }
        account.last = Some(now);
        account.packets += 1;
        account.payload.extend(&packet[12..]);
        if packet[12..].iter().filter(|it| is_loud(**it)).count() > 20 {
            account.loud += 1;
            account.bursts += u32::from(account.quiet >= 25 || account.loud == 1);
            account.quiet = 0;
        } else {
            account.quiet += 1;
        }
    }
}

/// µ-law is stored inverted: the top bit is the sign, and the other seven are the greater, the quieter.
fn is_loud(octet: u8) -> bool {
    !octet & 0x7F > 0x30
}

/// ITU-T G.711.
pub(crate) fn to_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 0x84).min(0x7FFF);
    let exponent = (31 - magnitude.leading_zeros()).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    !(sign | u8::try_from(exponent << 4).unwrap() | u8::try_from(mantissa).unwrap())
}

pub(crate) const TICK: Duration = Duration::from_millis(20);
