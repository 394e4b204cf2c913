//! [`Session`]: the RTP session of one leg (RFC 3550, 3551), from the offer to the end of the call.
//!
//! A session is never replaced: [`Session::update`] brings it the peer's answer, a re-INVITE or a hold, and its own SSRC,
//! sequence numbers and timestamps run on. It sends one packet every [`TICK`] while it may send, and hears one frame
//! every tick, whether or not packets come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::TICK;
use super::control::Control;
use super::dtmf::{DtmfEnded, DtmfEvent, DtmfReceiver};
pub use super::incoming::Heard;
use super::incoming::Incoming;
use super::jitter_buffer::AudioPacket;
use super::latch::{Latch, Latching};
use super::outgoing::{Format, Outgoing};
use super::playout::{Played, PlayoutFrame, PlayoutFull};
use super::reception::{Reception, Verdict};
use super::report::{Dropped, Received, Report, Sent};
use crate::codec::{AudioCodec, Frame};
use crate::limits::RTP_PACKET_AUDIO_MS_MAX;
use crate::rtp::packet::is_rtcp;
use crate::rtp::rtcp::{self, ReportBlock, SenderInfo};
use crate::rtp::{Digit, Header, PAYLOAD_TYPE_COMFORT_NOISE, Packet};
use crate::timer::Now;

/// What a session is told at its beginning.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// The peer, if its SDP is known yet. Before that, every packet comes from a stranger.
    pub remote: Option<RemoteMedia>,
}

/// What was agreed on with the peer, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMedia {
    /// Where the peer's SDP wants RTP. Nothing is sent to an unspecified address or port 0.
    pub rtp: SocketAddr,
    /// Where it wants RTCP; the same as `rtp` if both share a port (RFC 5761).
    pub rtcp: SocketAddr,
    /// Who else may turn out to be the peer.
    pub latching: Latching,
    /// How audio is coded, both ways.
    pub codec: AudioCodec,
    /// Its payload type, both ways.
    pub payload_type: u8,
    /// How digits are sent, if they are.
    pub telephone_event: Option<TelephoneEventFormat>,
    /// Whether we may send: not before the answer, and not to a peer that holds us.
    pub send: bool,
    /// Whether the peer may send.
    pub receive: bool,
}

/// How digits are sent (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEventFormat {
    /// The payload type.
    pub payload_type: u8,
    /// The rate at which durations count, in hertz.
    pub clock_hz: u32,
}

/// What happened in 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Counts the ticks of the leg from 1; numbers are left out where [`Session::skip_ticks`] was needed.
    pub number: u64,
    /// What the peer said.
    pub heard: Heard,
    /// How far the utterance that was sent in this tick has come; `None` if silence was sent, or nothing.
    pub played: Option<Played>,
    /// A digit that the peer has begun to press.
    pub dtmf: Option<Digit>,
    /// A digit that it has let go of.
    pub dtmf_ended: Option<DtmfEnded>,
    /// Frames still to be played.
    pub queued_frames: u16,
    /// Since when no valid RTP has come. Zero while the leg is held or not yet answered.
    pub inactive_for: Duration,
}

/// A datagram to be sent: the first `len` bytes of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Its destination.
    pub to: SocketAddr,
    /// From which socket.
    pub kind: TransmitKind,
    /// Its length.
    pub len: usize,
}

/// Which of a leg's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmitKind {
    /// The one with the even port.
    Rtp,
    /// The one with the odd port.
    Rtcp,
}

/// Why a digit is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtmfRefused {
    /// The peer did not agree on telephone events.
    #[error("the peer takes no telephone events")]
    NotAgreed,
    /// [`crate::limits::DTMF_DIGITS_MAX`] digits wait.
    #[error("too many digits are waiting to be sent")]
    QueueFull,
}

/// One leg's RTP session. Drain [`Session::poll_transmit`] after every [`Session::handle_tick`].
#[derive(Debug)]
pub struct Session {
    remote: Option<RemoteMedia>,
    latch: Option<Latch>,
    /// The SSRC that is followed, and when its last packet came.
    source: Option<(u32, Now)>,
    /// An SSRC that may take over, and the sequence number that would confirm it.
    candidate: Option<(u32, u16)>,
    reception: Reception,
    incoming: Incoming,
    dtmf: DtmfReceiver,
    outgoing: Outgoing,
    control: Control,
    rtcp_due: Option<RtcpDue>,
    /// Our packets at the time of the last report.
    packets_reported: u64,
    start: Now,
    next_tick: Instant,
    number: u64,
    /// Since when RTP has been expected; moves on with each packet.
    expected_since: Option<Now>,
    received: Received,
    dropped: Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RtcpDue {
    Report(Now),
    Bye(Now),
}

impl Session {
    /// A session whose first tick is one [`TICK`] from now.
    pub fn new(config: SessionConfig, rng: &mut ChaCha12Rng, now: Now) -> Self {
        let mut session = Self {
            remote: None,
            latch: None,
            source: None,
            candidate: None,
            reception: Reception::default(),
            incoming: Incoming::new(now),
            dtmf: DtmfReceiver::default(),
            outgoing: Outgoing::new(rng),
            control: Control::new(ChaCha12Rng::from_rng(rng), now),
            rtcp_due: None,
            packets_reported: 0,
            start: now,
            next_tick: now.instant + TICK,
            number: 0,
            expected_since: None,
            received: Received::default(),
            dropped: Dropped::default(),
        };
        if let Some(remote) = config.remote {
            session.update(remote, now);
        }
        session
    }

    /// Moves the next tick, so that the legs of a thread do not tick together.
    pub const fn align(&mut self, next_tick: Instant) {
        self.next_tick = next_tick;
    }

    /// Takes what signalling has agreed on: the first answer, a re-INVITE, hold and resume. The peer may come from
    /// another source only if its address or its [`Latching`] has changed.
    pub fn update(&mut self, remote: RemoteMedia, now: Now) {
        let moved = self.remote.is_none_or(|it| (it.rtp, it.latching) != (remote.rtp, remote.latching));
        if moved {
            self.latch = Some(Latch::new(remote.rtp, remote.latching));
            self.follow_anew();
        }
        let expects_rtp = remote.send && remote.receive;
        self.expected_since = if expects_rtp { self.expected_since.or(Some(now)) } else { None };
        self.remote = Some(remote);
    }

    /// Takes a datagram from the RTP socket.
    pub fn handle_rtp(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        let Some(remote) = self.remote.filter(|_| self.latch.as_ref().is_some_and(|it| it.admits(from))) else {
            self.dropped.strangers += 1;
            return;
        };
        if remote.rtcp == remote.rtp && is_rtcp(datagram) {
            return self.read_rtcp(datagram, &remote, now);
        }
        let Ok(Packet { header, payload }) = Packet::parse(datagram) else {
            self.dropped.malformed += 1;
            return;
        };
        let Some(kind) = Kind::of(header.payload_type, &remote) else {
            self.dropped.payload_type += 1;
            return;
        };
        if !kind.allows(payload, &remote) {
            self.dropped.malformed += 1;
            return;
        }
        if self.latch.as_mut().is_some_and(|it| it.follow(from)) {
            self.follow_anew();
        }
        if self.follows(&header, now) && self.is_in_sequence(&header) {
            self.accept(kind, &header, payload, &remote, now);
        }
    }

    /// Takes a datagram from the RTCP socket. It is read if it comes from the peer's host, and changes no address.
    pub fn handle_rtcp(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        let host = from.ip().to_canonical();
        let is_peer = |remote: &RemoteMedia| {
            let destination = self.latch.as_ref().map(|it| it.destination().ip().to_canonical());
            host == remote.rtcp.ip().to_canonical() || Some(host) == destination
        };
        let Some(remote) = self.remote.filter(is_peer) else {
            self.dropped.strangers += 1;
            return;
        };
        self.read_rtcp(datagram, &remote, now);
    }

    /// Queues 20 ms to be played. Frames at 16 kHz are brought down to the leg's rate.
    ///
    /// # Errors
    ///
    /// [`PlayoutFull`], if too many wait already.
    pub fn play(&mut self, frame: PlayoutFrame) -> Result<(), PlayoutFull> {
        self.outgoing.play(frame)
    }

    /// Forgets what has not been sent yet: the next packet is silence.
    pub fn clear(&mut self) {
        self.outgoing.clear();
    }

    /// Queues a digit, to be held for `ms`, which is brought into the range of [`crate::limits`].
    ///
    /// # Errors
    ///
    /// [`DtmfRefused`] says why it will not be sent.
    pub fn send_dtmf(&mut self, digit: Digit, ms: u16) -> Result<(), DtmfRefused> {
        if self.remote.is_none_or(|it| it.telephone_event.is_none()) {
            return Err(DtmfRefused::NotAgreed);
        }
        if self.outgoing.send_dtmf(digit, ms) { Ok(()) } else { Err(DtmfRefused::QueueFull) }
    }

    /// One frame out, one frame in.
    pub fn handle_tick(&mut self, now: Now) -> Tick {
        self.number += 1;
        self.next_tick += TICK;
        self.dtmf.handle_timeout(now);
        let heard = self.incoming.tick(self.dtmf.is_active(), now);
        let played = self.outgoing.tick(self.format());
        let has_spoken = self.outgoing.packets() > 0 || self.received.packets > 0;
        if self.control.take_due(now) && has_spoken {
            self.rtcp_due = Some(RtcpDue::Report(now));
        }
        let mut tick = Tick {
            number: self.number,
            heard,
            played,
            dtmf: None,
            dtmf_ended: None,
            queued_frames: u16::try_from(self.outgoing.playout().len()).unwrap_or(u16::MAX),
            inactive_for: self.expected_since.map_or(Duration::ZERO, |it| now - it),
        };
        while let Some(event) = self.dtmf.poll_event(|it| tick.has_room_for(it)) {
            match event {
                DtmfEvent::Began(digit) => {
                    self.received.digits += 1;
                    tick.dtmf = Some(digit);
                }
                DtmfEvent::Ended(ended) => tick.dtmf_ended = Some(ended),
            }
        }
        tick
    }

    /// Lets `ticks` pass unheard and unsaid, after a stall that is too long to make up for. Timestamps run on.
    pub fn skip_ticks(&mut self, ticks: u32) {
        self.number += u64::from(ticks);
        self.next_tick += TICK * ticks;
        self.outgoing.skip(ticks);
    }

    /// Says good-bye by RTCP: drain [`Session::poll_transmit`] once more, then drop the session.
    pub fn handle_close(&mut self, now: Now) {
        if self.outgoing.packets() > 0 {
            self.rtcp_due = Some(RtcpDue::Bye(now));
        }
    }

    /// The next datagram to be sent, written to `buffer`, which should hold
    /// [`crate::limits::RTP_DATAGRAM_BYTES_MAX`].
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        let (remote, latch) = (self.remote?, self.latch?);
        if let Some(len) = self.outgoing.poll_packet(buffer) {
            return Some(Transmit { to: latch.destination(), kind: TransmitKind::Rtp, len });
        }
        let due = self.rtcp_due.take()?;
        let is_shared = remote.rtcp == remote.rtp;
        let to = if is_shared { latch.destination() } else { remote.rtcp };
        // A peer behind a NAT cannot be reached at the RTCP address of its SDP.
        if (latch.is_learned() && !is_shared) || !is_reachable(to) {
            return None;
        }
        let len = self.write_rtcp(due, buffer)?;
        Some(Transmit { to, kind: if is_shared { TransmitKind::Rtp } else { TransmitKind::Rtcp }, len })
    }

    /// When [`Session::handle_tick`] is to be called next.
    pub const fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// What the peer was sent in the last tick: silence during a digit, `None` if nothing was sent.
    pub const fn sent_frame(&self) -> Option<&Frame> {
        self.outgoing.frame()
    }

    /// Our SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.outgoing.ssrc()
    }

    /// Everything counted so far.
    pub fn report(&self, now: Now) -> Report {
        let buffer = self.incoming.buffer();
        let counts = buffer.counts();
        let (jitter, jitter_max) = self.reception.jitter();
        let clock_hz = self.clock_hz();
        Report {
            received: Received {
                lost: self.reception.lost(),
                late: counts.late,
                duplicates: self.reception.duplicates(),
                skipped: counts.skipped,
                concealed_frames: self.incoming.concealed_frames(),
                shortened: self.incoming.shortened(),
                jitter_us: unit_us(jitter, clock_hz),
                jitter_max_us: unit_us(jitter_max, clock_hz),
                target_ms: buffer.target_ms(),
                delay_us: buffer.delay_now_us(self.incoming.held(), now),
                ..self.received
            },
            sent: Sent {
                packets: self.outgoing.packets(),
                octets: self.outgoing.octets(),
                underruns: self.outgoing.playout().underruns(),
                digits: self.outgoing.digits(),
            },
            dropped: self.dropped,
            remote: self.control.remote(),
            ticks: self.number,
        }
    }

    /// How to send now; `None` if we may not.
    fn format(&self) -> Option<Format> {
        let remote = self.remote.filter(|it| it.send)?;
        is_reachable(self.latch?.destination()).then_some(Format {
            codec: remote.codec,
            payload_type: remote.payload_type,
            telephone_event: remote.telephone_event,
        })
    }

    /// Whether the packet belongs to the stream that is followed. Another SSRC takes over once the followed one has been
    /// silent for [`SSRC_SILENCE`] and two packets of the new one have come in order.
    fn follows(&mut self, header: &Header, now: Now) -> bool {
        let Some((ssrc, last)) = self.source else {
            self.source = Some((header.ssrc, now));
            return true;
        };
        if ssrc == header.ssrc {
            self.source = Some((ssrc, now));
            return true;
        }
        let next = Some((header.ssrc, header.sequence));
        let is_confirmed = self.candidate == next && now - last >= SSRC_SILENCE;
        if !is_confirmed {
            self.candidate = Some((header.ssrc, header.sequence.wrapping_add(1)));
            self.dropped.ssrc += 1;
            return false;
        }
        self.follow_anew();
        self.source = Some((header.ssrc, now));
        self.received.ssrc_changes += 1;
        true
    }

    fn is_in_sequence(&mut self, header: &Header) -> bool {
        match self.reception.handle(header.sequence) {
            Verdict::Valid => true,
            Verdict::Duplicate => false,
            Verdict::Astray => {
                self.dropped.astray += 1;
                false
            }
            Verdict::Restarted => {
                self.received.restarts += 1;
                self.incoming.splice();
                self.dtmf.restart();
                true
            }
        }
    }

    fn accept(&mut self, kind: Kind, header: &Header, payload: &[u8], remote: &RemoteMedia, now: Now) {
        self.received.packets += 1;
        self.received.octets += u64::try_from(payload.len()).unwrap_or(0);
        self.expected_since = self.expected_since.map(|_| now);
        match kind {
            Kind::Audio => {
                let arrival = (now - self.start).as_micros() * u128::from(remote.codec.clock_hz()) / 1_000_000;
                let arrival = u32::try_from(arrival & u128::from(u32::MAX)).unwrap_or(0);
                self.reception.handle_time(header.timestamp, arrival);
                let Header { sequence, timestamp, .. } = *header;
                self.incoming.push(AudioPacket { sequence, timestamp, codec: remote.codec, payload }, now);
            }
            Kind::Event { clock_hz } => {
                self.incoming.pass_over(header.sequence);
                self.dtmf.handle(header, payload, clock_hz, now);
            }
            Kind::ComfortNoise => self.incoming.pass_over(header.sequence),
        }
    }

    /// The next packet begins another stream.
    fn follow_anew(&mut self) {
        self.source = None;
        self.candidate = None;
        self.reception.restart();
        self.incoming.splice();
        self.dtmf.restart();
    }

    fn read_rtcp(&mut self, datagram: &[u8], remote: &RemoteMedia, now: Now) {
        let theirs = self.source.map(|(ssrc, _)| ssrc);
        let result = self.control.handle(datagram, self.outgoing.ssrc(), theirs, remote.codec.clock_hz(), now);
        self.dropped.rtcp += u64::from(result.is_err());
    }

    fn write_rtcp(&mut self, due: RtcpDue, buffer: &mut [u8]) -> Option<usize> {
        let (RtcpDue::Report(now) | RtcpDue::Bye(now)) = due;
        let (packets, octets) = (self.outgoing.packets(), self.outgoing.octets());
        let has_sent = packets > std::mem::replace(&mut self.packets_reported, packets);
        let info = has_sent.then(|| SenderInfo {
            ntp: self.control.ntp(now),
            timestamp: self.outgoing.timestamp(),
            packets: low_bits(packets),
            octets: low_bits(octets),
        });
        let source = self.source.map(|(ssrc, _)| ssrc);
        let block = source.zip(self.reception.report()).map(|(ssrc, (fraction_lost, lost, highest_sequence))| {
            let (last_report, delay_since_last_report) = self.control.last_report(ssrc, now);
            let (jitter, _) = self.reception.jitter();
            ReportBlock { ssrc, fraction_lost, lost, highest_sequence, jitter, last_report, delay_since_last_report }
        });
        let bye = matches!(due, RtcpDue::Bye(_));
        rtcp::Report { ssrc: self.outgoing.ssrc(), info, block, cname: self.control.cname(), bye }.write(buffer)
    }

    fn clock_hz(&self) -> u32 {
        self.remote.map_or(8_000, |it| it.codec.clock_hz())
    }
}

impl Tick {
    const fn has_room_for(&self, event: &DtmfEvent) -> bool {
        match event {
            DtmfEvent::Began(_) => self.dtmf.is_none() && self.dtmf_ended.is_none(),
            DtmfEvent::Ended(_) => self.dtmf_ended.is_none(),
        }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Audio,
    Event {
        clock_hz: u32,
    },
    /// RFC 3389; also sent by peers that never agreed on it.
    ComfortNoise,
}

impl Kind {
    fn of(payload_type: u8, remote: &RemoteMedia) -> Option<Self> {
        if payload_type == remote.payload_type {
            return Some(Self::Audio);
        }
        match remote.telephone_event {
            Some(event) if event.payload_type == payload_type => Some(Self::Event { clock_hz: event.clock_hz }),
            _ => (payload_type == PAYLOAD_TYPE_COMFORT_NOISE).then_some(Self::ComfortNoise),
        }
    }

    /// Whether the payload can be one of the kind. Empty audio is a keep-alive (RFC 6263 §4.6).
    fn allows(self, payload: &[u8], remote: &RemoteMedia) -> bool {
        match self {
            Self::Audio => remote.codec.duration(payload) <= remote.codec.clock_hz() / 1_000 * RTP_PACKET_AUDIO_MS_MAX,
            Self::Event { .. } => payload.len() >= 4,
            Self::ComfortNoise => true,
        }
    }
}

fn is_reachable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

fn unit_us(units: u32, clock_hz: u32) -> u32 {
    u32::try_from(u64::from(units) * 1_000_000 / u64::from(clock_hz.max(1))).unwrap_or(u32::MAX)
}

fn low_bits(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).unwrap_or(0)
}

/// Two streams at once are not mixed up: the one that is followed has to fall silent first.
const SSRC_SILENCE: Duration = Duration::from_millis(100);
