//! [`Session`]: the RTP session of one leg (RFC 3550, 3551), from the offer to the end of the call.
//!
//! A session is never replaced: [`Session::update`] brings it the peer's answer, a re-INVITE or a hold, and its own SSRC,
//! sequence numbers and timestamps run on. It sends one packet every [`TICK`] while it may send, and hears one frame
//! every tick, whether or not packets come.

mod digits;
mod feedback;
mod passing;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::TICK;
use super::control::{Control, Said};
use super::dtmf::{DtmfEnded, DtmfEvent, DtmfReceiver};
pub use super::incoming::Heard;
use super::incoming::Incoming;
use super::jitter_buffer::{AudioPacket, Coding};
use super::latch::{Latch, Latching};
use super::outgoing::{Format, Outgoing};
use super::playout::{Played, PlayoutFrame, PlayoutFull};
use super::quality::Quality;
use super::reception::{Reception, Verdict};
use super::report::{Dropped, Received, Remote, Report, Sent};
use super::tones::DtmfToneDetector;
use super::tones::relay::{OneTelling, Telling};
use crate::codec::{AudioCodec, Frame, OpusSettings, SampleRate};
use crate::limits::RTP_PACKET_AUDIO_MS_MAX;
use crate::rtp::packet::is_rtcp;
use crate::rtp::rtcp::{self, ReportBlock, SenderInfo};
use crate::rtp::{Digit, Header, PAYLOAD_TYPE_COMFORT_NOISE, Packet};
use crate::srtp::Rejected;
use crate::timer::Now;

/// What a session is told at its beginning.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    /// The peer, if its SDP is known yet. Before that, every packet comes from a stranger.
    pub remote: Option<RemoteMedia>,
    /// Whether digits are looked for in the audio of a peer that agrees on no telephone events.
    pub hears_tones: bool,
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
    /// Its payload type in what we send: the peer's number.
    pub payload_type: u8,
    /// Its payload type in what we are sent: our number. The peer's own is taken as well, as many peers send that.
    pub received_payload_type: u8,
    /// How much audio a packet of ours holds, in milliseconds; brought to what [`AudioCodec::ptime_ms`] allows.
    pub ptime_ms: u16,
    /// The longest packet that the peer takes (`maxptime`), in milliseconds, if it says so. Longer ones are not passed on.
    pub maxptime_ms: Option<u16>,
    /// How Opus is sent, if it is that.
    pub opus: OpusSettings,
    /// The payload type of comfort noise, if it was agreed on: then silence is left out. That of RFC 3551 is always taken.
    pub comfort_noise: Option<u8>,
    /// How digits are sent, if they are.
    pub telephone_event: Option<TelephoneEventFormat>,
    /// Whether we may send: not before the answer, and not to a peer that holds us.
    pub send: bool,
    /// Whether the peer may send. What it sends all the same is counted, and not heard.
    pub receive: bool,
}

/// How digits are sent (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEventFormat {
    /// The payload type in what we send.
    pub payload_type: u8,
    /// The payload type in what we are sent. The other is taken as well.
    pub received_payload_type: u8,
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
    /// Whether what is heard is the tone of a digit, and whether it is that which tells of it first.
    pub tone: Option<Telling>,
    /// Frames still to be played.
    pub queued_frames: u16,
    /// Since when nothing valid has come, neither RTP nor RTCP. Zero while the leg is held or not yet answered.
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
    hears_tones: bool,
    /// `None` if digits are not looked for in the audio.
    tones: Option<Box<DtmfToneDetector>>,
    one_telling: OneTelling,
    /// The tone of a digit that sounds.
    tone: Option<Telling>,
    /// When an event came last.
    event_heard: Option<Now>,
    /// Counts the peer's streams.
    streams: u32,
    /// Since when packets are passed on, if they are.
    relaying_since: Option<Instant>,
    /// What is passed on is heard as well.
    is_overheard: bool,
    /// A digit of the peer that has not ended was passed on packet by packet.
    digit_was_relayed: bool,
    /// The longest packet of the peer under what is agreed on, in milliseconds.
    longest_ms: u32,
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
        let codec = config.remote.map_or(AudioCodec::Pcmu, |it| it.codec);
        let mut session = Self {
            remote: None,
            latch: None,
            source: None,
            candidate: None,
            reception: Reception::default(),
            incoming: Incoming::new(codec),
            dtmf: DtmfReceiver::default(),
            hears_tones: config.hears_tones,
            tones: None,
            one_telling: OneTelling::default(),
            tone: None,
            event_heard: None,
            streams: 0,
            relaying_since: None,
            is_overheard: false,
            digit_was_relayed: false,
            longest_ms: 0,
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

    /// Another peer takes the place of the one before, and hears from us as if for the first time: with an SSRC that it does
    /// not know and a low sequence number, so that its SRTP has no rollovers to guess. What was agreed on with it follows by
    /// [`Session::update`].
    pub fn meet_another(&mut self, rng: &mut ChaCha12Rng) {
        self.outgoing.begin_anew(rng);
        self.packets_reported = 0;
        self.latch = None;
        self.follow_anew();
    }

    /// Takes what signalling has agreed on: the first answer, a re-INVITE, hold and resume. The peer may come from
    /// another source only if its address or its [`Latching`] has changed, or if it is silent where it was.
    pub fn update(&mut self, remote: RemoteMedia, now: Now) {
        let is_elsewhere = |it: RemoteMedia| (it.rtp, it.latching) != (remote.rtp, remote.latching);
        let moved = self.latch.is_none() || self.remote.is_none_or(is_elsewhere);
        if moved {
            self.latch = Some(Latch::new(remote.rtp, remote.latching));
            self.follow_anew();
        } else if let Some(latch) = self.latch.as_mut().filter(|_| remote.receive) {
            latch.renew();
        }
        let before = self.remote.map_or(remote.codec, |it| it.codec);
        if self.remote.is_none_or(|it| it.codec != remote.codec) {
            self.incoming.change_codec(remote.codec);
            self.reception.change_clock(before.clock_hz(), remote.codec.clock_hz());
        }
        if !self.hears_tones || remote.telephone_event.is_some() {
            self.listen_for_tones(None);
        } else if self.tones.is_none() || before.rate() != remote.codec.rate() {
            self.listen_for_tones(Some(remote.codec.rate()));
        }
        self.longest_ms = 0;
        let clock = |it: RemoteMedia| it.telephone_event.map(|it| it.clock_hz);
        if self.remote.is_some_and(|it| clock(it) != clock(remote)) {
            // Their timestamps may count from somewhere else.
            self.dtmf.restart();
        }
        let expects_rtp = remote.send && remote.receive;
        self.expected_since = if expects_rtp { self.expected_since.or(Some(now)) } else { None };
        self.remote = Some(remote);
    }

    /// Whether a datagram from there could be the peer's: others need not be looked at.
    pub fn admits(&self, from: SocketAddr, now: Now) -> bool {
        let is_peer = |it: &RemoteMedia| {
            let host = from.ip().to_canonical();
            let destination = self.latch.as_ref().map(|it| it.destination().ip().to_canonical());
            host == it.rtcp.ip().to_canonical() || Some(host) == destination
        };
        self.follows_from(from, now) || self.remote.as_ref().is_some_and(is_peer)
    }

    /// Counts a datagram that did not get past the leg's [`super::LegTransport`].
    pub const fn handle_rejected(&mut self, rejected: Rejected) {
        match rejected {
            Rejected::Malformed => self.dropped.malformed += 1,
            Rejected::Forged => self.dropped.unauthenticated += 1,
            Rejected::Replayed => self.dropped.replayed += 1,
        }
    }

    /// Counts a datagram of which the leg's [`super::LegTransport`] says that it is not the peer's.
    pub const fn handle_stranger(&mut self) {
        self.dropped.strangers += 1;
    }

    /// Takes notice that a packet of ours has come back as an ICMP error.
    pub const fn handle_refused(&mut self) {
        self.outgoing.handle_refused();
    }

    /// Takes a datagram from the RTP socket.
    pub fn handle_rtp(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        if let Some((kind, Packet { header, payload }, remote)) = self.check(from, datagram, now) {
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

    /// Queues 20 ms to be played. Frames of another rate are brought to the leg's.
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

    /// Queues a digit as tones in the audio, for peers that take no telephone events.
    ///
    /// # Errors
    ///
    /// [`DtmfRefused::QueueFull`].
    pub fn play_dtmf(&mut self, digit: Digit, ms: u16) -> Result<(), DtmfRefused> {
        if self.outgoing.play_dtmf(digit, ms) { Ok(()) } else { Err(DtmfRefused::QueueFull) }
    }

    /// Queues a digit in whichever way the peer takes it: as a telephone event, else as tones.
    ///
    /// # Errors
    ///
    /// [`DtmfRefused::QueueFull`].
    pub fn press(&mut self, digit: Digit, ms: u16) -> Result<(), DtmfRefused> {
        match self.send_dtmf(digit, ms) {
            Err(DtmfRefused::NotAgreed) => self.play_dtmf(digit, ms),
            result => result,
        }
    }

    /// One frame out, one frame in.
    pub fn handle_tick(&mut self, now: Now) -> Tick {
        self.number += 1;
        self.next_tick += TICK;
        self.dtmf.handle_timeout(now);
        let heard = self.incoming.tick(self.dtmf.is_active(), now);
        self.hear_tones(&heard);
        let played = self.outgoing.tick(self.format());
        self.report_if_due(now);
        let mut tick = Tick {
            number: self.number,
            heard,
            played,
            dtmf: None,
            dtmf_ended: None,
            tone: None,
            queued_frames: u16::try_from(self.outgoing.playout().len()).unwrap_or(u16::MAX),
            inactive_for: self.inactive_for(now),
        };
        self.tell_digits(&mut tick, now);
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
    pub fn sent_frame(&self) -> Option<&Frame> {
        self.outgoing.frame()
    }

    /// Has `frame` heard by the peer in the next tick, over whatever is played then. It is of the leg's rate.
    pub fn mix_in(&mut self, frame: Frame) {
        self.outgoing.mix_in(frame);
    }

    /// Has `frame`, of the leg's rate, heard by the peer in the next tick in the place of what is played then, which is
    /// passed over unless [`Session::pause`] has it wait.
    pub fn speak_alone(&mut self, frame: Frame) {
        self.outgoing.speak_alone(frame);
    }

    /// Whether the next tick says what is to be said: the peer may hear us, and no digit is being sent.
    pub fn may_speak(&self) -> bool {
        self.format().is_some() && !self.outgoing.has_digits()
    }

    /// Has what is to be played wait, or go on.
    pub fn pause(&mut self, is_paused: bool) {
        self.outgoing.is_paused = is_paused;
    }

    /// As [`Session::sent_frame`], without what was mixed in.
    pub fn played_frame(&self) -> Option<&Frame> {
        self.outgoing.played()
    }

    /// The rate of what is heard and sent; until a codec is agreed on, that of G.711.
    pub fn rate(&self) -> SampleRate {
        self.remote.map_or(SampleRate::Hz8000, |it| it.codec.rate())
    }

    /// Whether the peer may hear us, and we the peer.
    pub fn directions(&self) -> (bool, bool) {
        self.remote.map_or((false, false), |it| (it.send, it.receive))
    }

    /// Our SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.outgoing.ssrc()
    }

    /// Everything counted so far.
    pub fn report(&self, now: Now) -> Report {
        let counts = self.incoming.counts();
        let (jitter, jitter_max) = self.reception.jitter();
        let clock_hz = self.clock_hz();
        let remote = self.control.remote();
        let is_relaying = self.relaying_since.is_some();
        let received = Received {
            lost: self.reception.lost(),
            late: counts.late,
            duplicates: self.reception.duplicates(),
            skipped: counts.skipped,
            concealed_frames: counts.concealed_frames,
            recovered_frames: counts.recovered_frames,
            shortened: counts.shortened,
            jitter_us: unit_us(jitter, clock_hz),
            jitter_max_us: unit_us(jitter_max, clock_hz),
            aim: (!is_relaying).then(|| self.incoming.aim()),
            delay_us: if is_relaying { 0 } else { self.incoming.delay_us(now) },
            delay_mean_us: counts.delays_us.checked_div(counts.delays),
            ..self.received
        };
        Report {
            codec: self.remote.map(|it| it.codec),
            received,
            sent: Sent {
                packets: self.outgoing.packets(),
                octets: self.outgoing.octets(),
                refused: self.outgoing.refused(),
                underruns: self.outgoing.playout().underruns(),
                digits: self.outgoing.digits(),
            },
            dropped: self.dropped,
            remote,
            quality: self.quality(&received, &remote),
            remote_quality: self.remote_quality(&remote),
            ticks: self.ticks(now),
        }
    }

    /// Delay: half the round trip if it is known, the jitter buffer, and a packet at the sender.
    fn quality(&self, received: &Received, remote: &Remote) -> Quality {
        let network_us = remote.round_trip_us.unwrap_or(0) / 2;
        let delay_ms = network_us / 1_000 + received.aim.map_or(0, |it| it.target_ms) + PACKET_MS;
        let missing = received.lost + received.late + received.skipped;
        Quality::estimate(self.codec(), missing, received.packets + received.lost, delay_ms)
    }

    /// The same at the peer, whose jitter buffer is taken to be like three times its jitter.
    fn remote_quality(&self, remote: &Remote) -> Option<Quality> {
        let round_trip_us = remote.round_trip_us?;
        let delay_ms = round_trip_us / 2_000 + (3 * (remote.jitter_us / 1_000)).max(PACKET_MS) + PACKET_MS;
        let lost = u64::try_from(remote.lost).unwrap_or(0);
        Some(Quality::estimate(self.codec(), lost, self.outgoing.packets(), delay_ms))
    }

    fn codec(&self) -> AudioCodec {
        self.remote.map_or(AudioCodec::Pcmu, |it| it.codec)
    }

    /// How to send now; `None` if we may not.
    fn format(&self) -> Option<Format> {
        let remote = self.remote.filter(|it| it.send)?;
        is_reachable(self.latch?.destination()).then_some(Format {
            codec: remote.codec,
            payload_type: remote.payload_type,
            telephone_event: remote.telephone_event,
            ptime_ms: remote.ptime_ms,
            opus: remote.opus,
            comfort_noise: remote.comfort_noise,
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
                self.streams = self.streams.wrapping_add(1);
                self.incoming.splice();
                self.dtmf.restart();
                true
            }
        }
    }

    /// What a datagram of the RTP socket is, if it is the next of the peer's packets.
    fn check<'a>(&mut self, from: SocketAddr, datagram: &'a [u8], now: Now) -> Option<(Kind, Packet<'a>, RemoteMedia)> {
        let Some(remote) = self.remote.filter(|_| self.follows_from(from, now)) else {
            self.dropped.strangers += 1;
            return None;
        };
        if remote.rtcp == remote.rtp && is_rtcp(datagram) {
            self.read_rtcp(datagram, &remote, now);
            return None;
        }
        let Ok(packet) = Packet::parse(datagram) else {
            self.dropped.malformed += 1;
            return None;
        };
        let Some(kind) = Kind::of(packet.header.payload_type, &remote) else {
            self.dropped.payload_type += 1;
            return None;
        };
        if !kind.allows(packet.payload, &remote) {
            self.dropped.malformed += 1;
            return None;
        }
        if self.latch.as_mut().is_some_and(|it| it.follow(from)) {
            self.follow_anew();
        }
        let is_next = self.follows(&packet.header, now) && self.is_in_sequence(&packet.header);
        is_next.then_some((kind, packet, remote))
    }

    fn follows_from(&self, from: SocketAddr, now: Now) -> bool {
        let is_silent = self.source.is_none_or(|(_, heard)| now - heard >= SOURCE_SILENCE);
        self.latch.as_ref().is_some_and(|it| it.admits(from, is_silent))
    }

    fn count(&mut self, payload: &[u8], now: Now) {
        self.received.packets += 1;
        self.received.octets += u64::try_from(payload.len()).unwrap_or(0);
        self.expected_since = self.expected_since.map(|_| now);
    }

    fn count_arrival(&mut self, timestamp: u32, remote: &RemoteMedia, now: Now) {
        let (since, clock_hz) = (now - self.start, u64::from(remote.codec.clock_hz()));
        let arrival = since.as_secs().wrapping_mul(clock_hz) + u64::from(since.subsec_micros()) * clock_hz / 1_000_000;
        self.reception.handle_time(timestamp, low_bits(arrival));
    }

    fn report_if_due(&mut self, now: Now) {
        let has_spoken = self.outgoing.packets() > 0 || self.received.packets > 0;
        if self.control.take_due(now) && has_spoken {
            self.rtcp_due = Some(RtcpDue::Report(now));
        }
    }

    fn inactive_for(&self, now: Now) -> Duration {
        self.expected_since.map_or(Duration::ZERO, |it| now - it)
    }

    fn accept(&mut self, kind: Kind, header: &Header, payload: &[u8], remote: &RemoteMedia, now: Now) {
        self.count(payload, now);
        if !remote.receive {
            return self.incoming.pass_over(header.sequence);
        }
        match kind {
            Kind::Audio => {
                self.count_arrival(header.timestamp, remote, now);
                self.note_length(remote.codec.duration(payload), remote.codec);
            }
            Kind::Event { clock_hz } => self.take_event(header, payload, clock_hz, now),
            Kind::ComfortNoise => (),
        }
        self.listen_to(kind, header, payload, remote.codec, now);
    }

    /// Has a packet heard in its time.
    fn listen_to(&mut self, kind: Kind, header: &Header, payload: &[u8], codec: AudioCodec, now: Now) {
        let Header { sequence, timestamp, .. } = *header;
        let coding = match kind {
            Kind::Audio => Coding::Audio(codec),
            Kind::ComfortNoise if !payload.is_empty() => Coding::ComfortNoise,
            Kind::Event { .. } | Kind::ComfortNoise => return self.incoming.pass_over(sequence),
        };
        self.incoming.push(AudioPacket { sequence, timestamp, coding, payload }, now);
    }

    /// The next packet begins another stream.
    fn follow_anew(&mut self) {
        self.source = None;
        self.candidate = None;
        self.streams = self.streams.wrapping_add(1);
        self.reception.restart();
        self.incoming.splice();
        self.dtmf.restart();
    }

    fn read_rtcp(&mut self, datagram: &[u8], remote: &RemoteMedia, now: Now) {
        let theirs = self.source.map(|(ssrc, _)| ssrc);
        let result = self.control.handle(datagram, self.outgoing.ssrc(), theirs, remote.codec.clock_hz(), now);
        self.dropped.rtcp += u64::from(result.is_err());
        if matches!(result, Ok(Said::Report)) {
            // A telephone that is muted may say nothing else.
            self.expected_since = self.expected_since.map(|_| now);
        }
        self.heed_loss();
    }

    fn write_rtcp(&mut self, due: RtcpDue, buffer: &mut [u8]) -> Option<usize> {
        let (RtcpDue::Report(now) | RtcpDue::Bye(now)) = due;
        let (packets, octets) = self.outgoing.sent_of_stream();
        let has_sent = packets > std::mem::replace(&mut self.packets_reported, packets);
        let info = has_sent.then(|| SenderInfo {
            ntp: self.control.ntp(now),
            timestamp: self.outgoing.timestamp(now.instant),
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

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Audio,
    Event {
        clock_hz: u32,
    },
    /// RFC 3389; also sent by peers that never agreed on it.
    ComfortNoise,
}

impl Kind {
    fn of(payload_type: u8, remote: &RemoteMedia) -> Option<Self> {
        let is_event = |it: &TelephoneEventFormat| it.received_payload_type == payload_type;
        let is_their_event = |it: &TelephoneEventFormat| it.payload_type == payload_type;
        if payload_type == remote.received_payload_type {
            return Some(Self::Audio);
        }
        if let Some(event) = remote.telephone_event.filter(is_event) {
            return Some(Self::Event { clock_hz: event.clock_hz });
        }
        if remote.comfort_noise == Some(payload_type) {
            return Some(Self::ComfortNoise);
        }
        // From here on the numbers of a peer that ignores ours.
        if payload_type == remote.payload_type {
            return Some(Self::Audio);
        }
        match remote.telephone_event.filter(is_their_event) {
            Some(event) => Some(Self::Event { clock_hz: event.clock_hz }),
            None => (payload_type == PAYLOAD_TYPE_COMFORT_NOISE).then_some(Self::ComfortNoise),
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

/// As long as most packets are.
const PACKET_MS: u32 = 20;
/// Two streams at once are not mixed up: the one that is followed has to fall silent first.
const SSRC_SILENCE: Duration = Duration::from_millis(100);
/// After which another source may be followed if signalling has said so: longer than the longest packet and its jitter.
const SOURCE_SILENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt};

    use super::*;
    use crate::codec::{Decoder, Encoder};
    use crate::media::host_behind_nat;
    use crate::rtp::rtcp::{Compound, Rtcp};
    use crate::rtp::telephone_event::TelephoneEvent;

    const PEER: &str = "192.0.2.1:4000";
    const STRANGER: &str = "198.51.100.66:4000";

    #[test]
    fn a_leg_sends_one_packet_every_tick_whatever_happens() {
        let mut leg = Leg::new(peer());
        let sent = leg.run(100);
        assert_eq!(sent.len(), 100);
        assert!(sent[0].sequence < 1 << 15);
        for pair in sent.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
        }
        assert!(sent[0].marker && sent[1..].iter().all(|it| !it.marker));
        assert!(sent.iter().all(|it| it.payload == [0xff; 160] && it.to == addr(PEER)));
    }

    #[test]
    fn two_legs_have_nothing_in_common() {
        let (first, second) = (Leg::seeded(1).run(1), Leg::seeded(2).run(1));
        assert_ne!(first[0].ssrc, second[0].ssrc);
        assert_ne!(first[0].timestamp, second[0].timestamp);
        assert_ne!(first[0].sequence, second[0].sequence);
    }

    #[test]
    fn nothing_is_sent_before_the_answer_and_while_held() {
        let mut leg = Leg::new(RemoteMedia { send: false, ..peer() });
        assert!(leg.run(10).is_empty());
        leg.update(peer());
        let before = leg.run(10);
        leg.update(RemoteMedia { send: false, ..peer() });
        assert!(leg.run(5).is_empty());
        leg.update(RemoteMedia { codec: AudioCodec::Pcma, payload_type: 8, received_payload_type: 8, ..peer() });
        let after = leg.run(10);
        assert_eq!((before.len(), after.len()), (10, 10));
        assert_eq!(after[0].sequence, before[9].sequence.wrapping_add(1));
        assert_eq!(after[0].timestamp, before[9].timestamp.wrapping_add(6 * 160));
        assert_eq!(after[0].ssrc, before[9].ssrc);
        assert!(before[0].marker && after[0].marker && !after[1].marker);
        assert_eq!((after[0].payload_type, after[0].payload[0]), (8, 0xd5));
    }

    #[test]
    fn nothing_is_sent_to_an_address_that_is_none() {
        for nowhere in ["0.0.0.0:4000", "192.0.2.1:0"] {
            let mut leg = Leg::new(RemoteMedia { rtp: addr(nowhere), ..peer() });
            assert!(leg.run(400).is_empty());
        }
        let mut unknown = Leg::unknown();
        unknown.hear(PEER, 1, 160);
        assert!(unknown.run(10).is_empty());
        assert_eq!(unknown.report().dropped.strangers, 1);
    }

    #[test]
    fn what_is_played_is_sent_and_told() {
        let mut leg = Leg::new(peer());
        for _ in 0..3 {
            leg.session.play(loud(7)).unwrap();
        }
        let mut wide = Frame::silence(SampleRate::Hz16000);
        wide.samples_mut().fill(1_000);
        leg.session.play(PlayoutFrame { utterance: 8, frame: wide }).unwrap();
        let played: Vec<_> = (0..5).map(|_| leg.tick().played).collect();
        let at = |utterance, position| Some(Played { utterance, position });
        assert_eq!(played, [at(7, 160), at(7, 320), at(7, 480), at(8, 320), None]);
        assert!(leg.sent[..3].iter().all(|it| it.payload == [0x80; 160]));
        assert_ne!(leg.sent[3].payload, [0xff; 160]);
        // The last 5 ms of what was at another rate, and nothing else.
        assert_eq!(leg.sent[4].payload[80..], [0xff; 80]);
        assert_eq!(leg.run(1)[0].payload, [0xff; 160]);
    }

    #[test]
    fn clearing_takes_effect_with_the_next_packet() {
        let mut leg = Leg::new(peer());
        for _ in 0..20 {
            leg.session.play(loud(1)).unwrap();
        }
        leg.run(5);
        leg.session.clear();
        let tick = leg.tick();
        assert_eq!((tick.played, tick.queued_frames), (None, 0));
        assert_eq!(leg.sent[5].payload, [0xff; 160]);
    }

    #[test]
    fn strangers_are_neither_heard_nor_answered() {
        let mut leg = Leg::new(peer());
        for index in 0..50 {
            leg.hear(STRANGER, index, 160); // before the peer's first packet
            leg.hear("192.0.2.1:4002", index, 160);
            assert_eq!(leg.tick().heard, Heard::Nothing);
        }
        for index in 50..100 {
            leg.hear(STRANGER, index, 160); // with the peer's own SSRC and numbers
            leg.hear(PEER, index, 160);
            leg.tick();
        }
        leg.update(peer()); // a re-INVITE that changes nothing
        for index in 100..150 {
            leg.hear(STRANGER, index, 160); // while the peer is silent
            leg.tick();
        }
        assert!(leg.sent.iter().all(|it| it.to == addr(PEER)));
        let report = leg.report();
        assert_eq!((report.received.packets, report.dropped.strangers), (50, 200));
        assert_eq!(leg.tick().heard, Heard::Nothing);
    }

    #[test]
    fn signalling_moves_a_stream_and_nothing_else_does() {
        let mut leg = Leg::new(peer());
        leg.hear(PEER, 1, 160);
        leg.run(1);
        let elsewhere = "203.0.113.9:5000";
        leg.update(RemoteMedia { rtp: addr(elsewhere), rtcp: addr("203.0.113.9:5001"), ..peer() });
        leg.hear(PEER, 2, 160);
        leg.hear(elsewhere, 900, 160);
        let sent = leg.run(1);
        assert_eq!(sent[0].to, addr(elsewhere));
        assert_eq!((leg.report().received.packets, leg.report().dropped.strangers), (2, 1));
    }

    #[test]
    fn a_peer_behind_a_nat_is_found() {
        let public = addr("203.0.113.9:61000");
        let private = addr("192.168.1.7:4000");
        let latching = host_behind_nat(private.ip(), public.ip());
        let mut leg = Leg::new(RemoteMedia { rtp: private, latching, ..peer() });
        assert_eq!(leg.run(1)[0].to, private);
        leg.hear(STRANGER, 1, 160);
        leg.hear("203.0.113.9:61000", 1, 160);
        leg.hear("203.0.113.9:61002", 2, 160);
        assert_eq!(leg.run(1)[0].to, public);
        assert_eq!((leg.report().received.packets, leg.report().dropped.strangers), (1, 2));
    }

    #[test]
    fn a_peer_that_a_nat_has_moved_is_found_again_when_signalling_says_so() {
        let private = addr("192.168.1.7:4000");
        let remote = RemoteMedia { rtp: private, latching: Latching::Host(addr("203.0.113.66:0").ip()), ..peer() };
        let [before, after] = ["203.0.113.66:61000", "203.0.113.66:61002"];
        let mut leg = Leg::new(remote);
        leg.hear(before, 1, 160);
        leg.run(50);
        leg.hear(after, 2, 160);
        assert_eq!(leg.run(1)[0].to, addr(before), "nobody has said anything");
        leg.update(RemoteMedia { send: false, receive: false, ..remote });
        leg.hear(after, 3, 160);
        leg.update(remote);
        leg.hear(before, 4, 160);
        leg.hear(after, 5, 160);
        assert_eq!(leg.run(1)[0].to, addr(before), "it is not silent");
        leg.run(25);
        leg.hear(after, 6, 160);
        leg.hear(before, 7, 160);
        assert_eq!(leg.run(1)[0].to, addr(after));
    }

    #[test]
    fn another_peer_hears_a_stream_of_its_own() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..20);
        let before = leg.sent.last().cloned().unwrap();
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        leg.session.meet_another(&mut rng);
        let elsewhere = "203.0.113.9:5000";
        leg.update(RemoteMedia { rtp: addr(elsewhere), rtcp: addr("203.0.113.9:5001"), ..peer() });
        let first = leg.run(1).remove(0);
        assert_ne!(first.ssrc, before.ssrc);
        assert!(first.sequence < 1 << 15 && first.marker && first.to == addr(elsewhere));
        assert_eq!(first.timestamp, before.timestamp.wrapping_add(160), "time runs on");
        leg.reports.clear();
        let datagram = packet(0, 77, 40_000, 9, &[0x80; 160]);
        leg.session.handle_rtp(addr(elsewhere), &datagram, leg.now);
        assert_eq!(leg.report().received.packets, 21, "it is followed at once");
        let sent_before = u32::try_from(leg.sent.len()).unwrap() - 1;
        while leg.reports.is_empty() && leg.sent.len() < 1_000 {
            leg.tick();
        }
        let report = leg.reports.first().unwrap().1.clone();
        let Some(Rtcp::SenderReport { ssrc, info, .. }) = Compound::parse(&report).unwrap().packets().next() else {
            panic!("{report:?}");
        };
        assert_eq!((ssrc, info.packets), (first.ssrc, leg.reported_after - sent_before));
    }

    #[test]
    fn digits_wait_out_a_hold_and_become_tones_where_events_end() {
        let mut leg = Leg::new(peer());
        for digit in ['4', '5'] {
            leg.session.send_dtmf(Digit::from_char(digit).unwrap(), 100).unwrap();
        }
        leg.run(2);
        leg.update(RemoteMedia { send: false, ..peer() });
        leg.run(100);
        leg.update(peer());
        let resumed = leg.run(1);
        let event = TelephoneEvent::parse(&resumed[0].payload).unwrap();
        assert_eq!((event.code, event.duration, resumed[0].payload_type), (5, 160, 101), "the other is over");
        leg.session.send_dtmf(Digit::from_char('6').unwrap(), 100).unwrap();
        leg.update(RemoteMedia { telephone_event: None, ..peer() });
        let tones = leg.run(6);
        assert!(tones.iter().all(|it| it.payload_type == 0));
        assert!(tones[0].payload.iter().any(|it| *it & 0x7f < 0x40), "a tone");
        leg.run(20);
        assert!(
            leg.session.can_relay_with(&Leg::new(RemoteMedia { telephone_event: None, ..peer() }).session, leg.now)
        );
    }

    #[test]
    fn what_was_not_agreed_on_is_dropped_and_counted() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..50);
        let from = addr(PEER);
        for index in 0..100 {
            leg.session.handle_rtp(from, &packet(18, 1, index, 0, &[0; 20]), leg.now); // G.729
            leg.session.handle_rtp(from, &packet(0, 1, index, 0, &[0; 1_200]), leg.now);
            leg.session.handle_rtp(from, &packet(0, 1, index, 0, &[0; 1_600]), leg.now);
            leg.session.handle_rtp(from, &[0; 172], leg.now);
            leg.session.handle_rtp(from, &packet(0, 1, 30_000 + 2 * index, 0, &[0; 160]), leg.now);
            leg.session.handle_rtp(from, &packet(0, 1_000 + u32::from(index), 7, 0, &[0; 160]), leg.now);
        }
        leg.hear_stream(50..100);
        let report = leg.report();
        assert_eq!((report.received.packets, report.received.concealed_frames, report.received.lost), (100, 0, 0));
        let dropped = Dropped { payload_type: 100, malformed: 300, astray: 100, ssrc: 100, ..Dropped::default() };
        assert_eq!(report.dropped, dropped);
    }

    #[test]
    fn a_new_ssrc_of_the_peer_is_followed() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..50);
        let mut heard = 0;
        for index in 0..50 {
            let datagram = packet(0, 99, 20_000 + index, u32::from(index) * 160 + 77, &[0x80; 160]);
            leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
            heard += u32::from(matches!(leg.tick().heard, Heard::Audio(_)));
        }
        assert!(heard > 42, "{heard}");
        assert_eq!(leg.report().received.ssrc_changes, 1);
        assert_eq!(leg.report().dropped.ssrc, 4);
    }

    #[test]
    fn packets_of_any_length_become_frames() {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut leg = Leg::new(peer());
            let len = ptime_ms * 8;
            let mut heard = vec![];
            for ms in 0..2_000 {
                if ms % ptime_ms == 0 {
                    let first = ms * 8;
                    let payload: Vec<u8> = (first..first + len).map(stream_byte).collect();
                    let index = u16::try_from(ms / ptime_ms).unwrap();
                    leg.session.handle_rtp(addr(PEER), &packet(0, 1, index, first, &payload), leg.now);
                }
                if ms % 20 == 7
                    && let Heard::Audio(frame) = leg.session.handle_tick(leg.now).heard
                {
                    heard.extend_from_slice(frame.samples());
                }
                leg.now = leg.now + Duration::from_millis(1);
            }
            let mut expected = vec![0; heard.len()];
            let bytes: Vec<u8> = (0..u32::try_from(heard.len()).unwrap()).map(stream_byte).collect();
            Decoder::new(AudioCodec::Pcmu).decode(&bytes, &mut expected);
            assert!(heard.len() > 1_850 * 8, "{ptime_ms} ms: {}", heard.len());
            assert_eq!(leg.report().received.concealed_frames, 0, "{ptime_ms} ms");
            let same = heard.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            assert_eq!(same, heard.len(), "{ptime_ms} ms");
        }
    }

    #[test]
    fn losses_are_concealed_and_counted() {
        let mut leg = Leg::new(peer());
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut quiet = 0;
        for index in 0..1_000 {
            if index % 50 < 40 || rng.random_bool(0.5) {
                leg.hear(PEER, index, 160);
            }
            quiet += u32::from(leg.tick().heard == Heard::Nothing);
        }
        let received = leg.report().received;
        assert!((80..120).contains(&received.lost), "{received:?}");
        let quality = leg.report().quality;
        assert!((330..410).contains(&quality.mos_hundredths) && leg.report().remote_quality.is_none(), "{quality:?}");
        assert!(received.concealed_frames > 60 && quiet < 60, "{received:?} {quiet}");
    }

    #[test]
    fn audio_comes_back_after_whatever_a_peer_does() {
        /// Sequence number and timestamp of a packet, unless it is not sent.
        type Disturbance = fn(u16) -> Option<(u16, u32)>;
        let disturbances: [(&str, Disturbance); 5] = [
            ("a gap of five seconds", |index| (index >= 250).then_some((index, u32::from(index) * 160))),
            ("another numbering", |index| Some((index + 20_000, u32::from(index) * 160))),
            ("another timestamp", |index| Some((index, u32::from(index) * 160 + 3_000_000_000))),
            ("a frozen timestamp", |index| Some((index, 50 * 160))),
            ("a timestamp that runs back", |index| Some((index, 1_000_000 - u32::from(index) * 160))),
        ];
        for (name, disturb) in disturbances {
            let mut leg = Leg::new(peer());
            leg.hear_stream(0..50);
            let sent_before = leg.sent.len();
            let mut heard = vec![];
            for index in 50..400 {
                if let Some((sequence, timestamp)) = disturb(index) {
                    leg.session.handle_rtp(addr(PEER), &packet(0, 1, sequence, timestamp, &[0x80; 160]), leg.now);
                }
                heard.push(matches!(leg.tick().heard, Heard::Audio(_)));
            }
            assert!(heard[225..].iter().all(|it| *it), "{name}: {heard:?}");
            assert_eq!(leg.sent.len() - sent_before, 350, "{name}");
        }
    }

    #[test]
    fn digits_of_the_peer_are_heard_once() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..20);
        let event = |end, duration| TelephoneEvent { code: 11, end, volume: 10, duration }.to_bytes();
        let mut digits = vec![];
        let mut ended = vec![];
        for index in 0..8_u16 {
            let (end, duration) = (index >= 5, 160 * index.min(5));
            for from in [STRANGER, PEER] {
                leg.session.handle_rtp(addr(from), &packet(101, 1, 20 + index, 3_200, &event(end, duration)), leg.now);
            }
            let tick = leg.tick();
            digits.extend(tick.dtmf);
            ended.extend(tick.dtmf_ended);
            assert_eq!(tick.heard, Heard::Nothing, "nothing is invented during a digit");
        }
        assert_eq!(digits, [Digit::from_char('#').unwrap()]);
        assert_eq!(ended, [DtmfEnded { digit: digits[0], duration_ms: 100 }]);
        leg.hear_stream(28..60);
        assert_eq!((leg.report().received.lost, leg.report().received.digits), (0, 1));
    }

    #[test]
    fn digits_are_sent_in_place_of_audio() {
        let mut leg = Leg::new(peer());
        for _ in 0..10 {
            leg.session.play(loud(1)).unwrap();
        }
        leg.run(2);
        assert_eq!(leg.session.send_dtmf(Digit::from_char('4').unwrap(), 60), Ok(()));
        leg.run(8);
        let types: Vec<_> = leg.sent.iter().map(|it| it.payload_type).collect();
        assert_eq!(types, [0, 0, 101, 101, 101, 101, 101, 0, 0, 0]);
        let events: Vec<_> = leg.sent[2..7].iter().map(|it| TelephoneEvent::parse(&it.payload).unwrap()).collect();
        assert_eq!(events.iter().map(|it| it.duration).collect::<Vec<_>>(), [160, 320, 480, 480, 480]);
        assert_eq!(events.iter().map(|it| it.end).collect::<Vec<_>>(), [false, false, true, true, true]);
        assert!(leg.sent[2].marker && leg.sent[3..].iter().all(|it| !it.marker));
        assert!(leg.sent[2..7].iter().all(|it| it.timestamp == leg.sent[2].timestamp));
        assert_eq!(leg.sent[7].timestamp, leg.sent[1].timestamp.wrapping_add(6 * 160));
        assert!(leg.sent.windows(2).all(|it| it[1].sequence == it[0].sequence.wrapping_add(1)));
        assert_eq!(leg.sent[7].payload, [0x80; 160], "audio goes on where it was");
        leg.update(RemoteMedia { telephone_event: None, ..peer() });
        assert_eq!(leg.session.send_dtmf(Digit::from_char('4').unwrap(), 60), Err(DtmfRefused::NotAgreed));
    }

    #[test]
    fn digits_are_played_and_heard_as_tones_by_every_codec() {
        for codec in AudioCodec::ALL {
            let remote =
                RemoteMedia { codec, payload_type: 96, received_payload_type: 96, telephone_event: None, ..peer() };
            let (mut from, mut to) = (Leg::new(remote), Leg::new(remote));
            let mut heard = String::new();
            for digit in "0123456789*#ABCD".chars().filter_map(Digit::from_char) {
                from.session.play_dtmf(digit, 80).unwrap();
            }
            let mut ended = 0;
            for _ in 0..160 {
                from.tick();
                for out in from.sent.split_off(0) {
                    let datagram = packet(96, out.ssrc, out.sequence, out.timestamp, &out.payload);
                    to.session.handle_rtp(addr(PEER), &datagram, to.now);
                }
                let tick = to.tick();
                heard.extend(tick.dtmf.map(Digit::to_char));
                ended += u32::from(tick.dtmf_ended.is_some_and(|it| (50..=110).contains(&it.duration_ms)));
            }
            assert_eq!((heard.as_str(), ended), ("0123456789*#ABCD", 16), "{codec:?}");
        }
    }

    #[test]
    fn reports_go_out_every_five_seconds_or_so() {
        let mut leg = Leg::new(peer());
        let mut times = vec![];
        for index in 0..6_000 {
            leg.hear(PEER, index, 160);
            leg.tick();
            times.extend(leg.reports.drain(..).map(|_| f64::from(index) * 0.02));
        }
        assert!((18..=35).contains(&times.len()), "{}", times.len());
        let gaps: Vec<_> = times.windows(2).map(|it| it[1] - it[0]).collect();
        assert!(gaps.iter().all(|it| (2.4..7.6).contains(it)), "{gaps:?}");
        assert!(gaps.iter().any(|it| *it < 4.5) && gaps.iter().any(|it| *it > 5.5), "{gaps:?}");
    }

    #[test]
    fn reports_say_what_happened_and_name_nobody() {
        let mut leg = Leg::new(peer());
        for index in 0..400 {
            if index % 10 != 9 {
                leg.hear(PEER, index, 160);
            }
            leg.tick();
        }
        let (to, report) = leg.reports.last().unwrap().clone();
        assert_eq!(to, addr("192.0.2.1:4001"));
        let cname = report.windows(2).position(|it| it == [1, 16]).unwrap() + 2;
        assert!(report[cname..cname + 16].iter().all(|it| BASE64.contains(it)));
        let Some(Rtcp::SenderReport { ssrc, info, blocks }) = Compound::parse(&report).unwrap().packets().next() else {
            panic!("{report:?}");
        };
        assert_eq!(ssrc, leg.sent[0].ssrc);
        assert_eq!((info.packets, info.octets), (leg.reported_after, leg.reported_after * 160));
        assert_eq!(info.timestamp, leg.sent[0].timestamp.wrapping_add((info.packets - 1) * 160));
        let block = blocks.iter().next().unwrap();
        assert_eq!(block.ssrc, 1);
        assert!((23..29).contains(&block.fraction_lost), "{block:?}");
    }

    #[test]
    fn the_round_trip_is_measured_and_rtcp_moves_nothing() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..400);
        let Some((_, report)) = leg.reports.pop() else { panic!("no report") };
        let Some(Rtcp::SenderReport { info, .. }) = Compound::parse(&report).unwrap().packets().next() else {
            panic!("{report:?}");
        };
        // The peer held the report for half a second; the network took the rest of the time since it was sent.
        let since = leg.now - leg.reported_at.unwrap();
        let block = ReportBlock {
            ssrc: leg.sent[0].ssrc,
            fraction_lost: 12,
            lost: 34,
            highest_sequence: 0,
            jitter: 80,
            last_report: u32::try_from(info.ntp >> 16 & 0xffff_ffff).unwrap(),
            delay_since_last_report: u32::try_from(
                (since - Duration::from_millis(70)).as_micros() * 65_536 / 1_000_000,
            )
            .unwrap(),
        };
        let mut buffer = [0; 200];
        let answer = rtcp::Report { ssrc: 1, info: None, block: Some(block), cname: b"x", bye: true };
        let len = answer.write(&mut buffer).unwrap();
        leg.session.handle_rtcp(addr(STRANGER), &buffer[..len], leg.now);
        assert_eq!(leg.report().remote.reports, 0);
        leg.session.handle_rtcp(addr("192.0.2.1:55"), &buffer[..len], leg.now);
        leg.session.handle_rtcp(addr("192.0.2.1:55"), &buffer[..len - 1], leg.now);
        let remote = leg.report().remote;
        let round_trip_us = remote.round_trip_us.unwrap();
        assert!((69_000..71_000).contains(&round_trip_us), "{round_trip_us}");
        assert_eq!((remote.fraction_lost, remote.lost, remote.jitter_us, remote.byes), (12, 34, 10_000, 1));
        assert_eq!((leg.report().dropped.strangers, leg.report().dropped.rtcp), (1, 1));
        assert_eq!(leg.run(1)[0].to, addr(PEER), "and the call goes on");
        leg.run(400);
        assert!(leg.reports.iter().all(|(to, _)| *to == addr("192.0.2.1:4001")));
    }

    #[test]
    fn one_port_can_serve_both() {
        let mut leg = Leg::new(RemoteMedia { rtcp: addr(PEER), ..peer() });
        let mut buffer = [0; 200];
        let report = rtcp::Report { ssrc: 1, info: None, block: None, cname: b"x", bye: false };
        let len = report.write(&mut buffer).unwrap();
        leg.session.handle_rtp(addr(PEER), &buffer[..len], leg.now);
        assert_eq!((leg.report().remote.reports, leg.report().dropped.payload_type), (1, 0));
        leg.run(400);
        assert!(!leg.reports.is_empty() && leg.reports.iter().all(|(to, _)| *to == addr(PEER)));
    }

    #[test]
    fn a_peer_that_may_not_send_is_not_heard() {
        let mut leg = Leg::new(RemoteMedia { receive: false, ..peer() });
        for index in 0..20 {
            leg.hear(PEER, index, 160);
            assert_eq!(leg.tick().heard, Heard::Nothing);
        }
        leg.update(peer());
        leg.hear_stream(20..40);
        leg.hear(PEER, 40, 160);
        assert!(matches!(leg.tick().heard, Heard::Audio(_)));
        assert_eq!((leg.report().received.packets, leg.report().received.lost), (41, 0));
    }

    #[test]
    fn inactivity_counts_only_while_rtp_is_expected() {
        let mut leg = Leg::new(RemoteMedia { send: false, ..peer() });
        leg.run(100);
        assert_eq!(leg.tick().inactive_for, Duration::ZERO);
        leg.update(peer());
        leg.run(99);
        assert_eq!(leg.tick().inactive_for, TICK * 100);
        leg.hear(STRANGER, 0, 160);
        assert_eq!(leg.tick().inactive_for, TICK * 101);
        leg.hear(PEER, 0, 160);
        assert_eq!(leg.tick().inactive_for, TICK);
        leg.update(RemoteMedia { receive: false, ..peer() });
        leg.run(100);
        assert_eq!(leg.tick().inactive_for, Duration::ZERO);
        leg.update(peer());
        assert_eq!(leg.tick().inactive_for, TICK);
    }

    #[test]
    fn skipped_ticks_leave_a_gap_in_time_and_none_in_sequence() {
        let mut leg = Leg::new(peer());
        leg.run(10);
        let next = leg.session.next_tick();
        leg.session.skip_ticks(30);
        assert_eq!(leg.session.next_tick(), next + TICK * 30);
        assert_eq!(leg.tick().number, 41);
        let [.., before, after] = &leg.sent[..] else { panic!() };
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(31 * 160));
        assert!(after.marker);
    }

    #[test]
    fn closing_says_good_bye_by_rtcp() {
        let mut leg = Leg::new(peer());
        leg.run(1);
        leg.session.handle_close(leg.now);
        leg.drain();
        let (_, datagram) = leg.reports.pop().unwrap();
        let last = Compound::parse(&datagram).unwrap().packets().last();
        assert_eq!(last, Some(Rtcp::Bye { ssrc: Some(leg.sent[0].ssrc) }));
    }

    #[test]
    fn mutated_datagrams_do_no_harm() {
        let mut leg = Leg::new(peer());
        let mut rng = ChaCha12Rng::seed_from_u64(9);
        for index in 0..20_000_u16 {
            let mut datagram =
                packet(if index % 7 == 0 { 101 } else { 0 }, 1, index, u32::from(index) * 160, &[9; 160]);
            datagram.truncate(rng.random_range(0..=datagram.len()));
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..datagram.len().max(1));
                if let Some(byte) = datagram.get_mut(at) {
                    *byte = rng.random();
                }
            }
            leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
            rng.fill_bytes(&mut datagram);
            leg.session.handle_rtcp(addr(PEER), &datagram, leg.now);
            leg.tick();
        }
        leg.hear_stream(20_000..20_200);
        assert!(matches!(leg.tick().heard, Heard::Audio(_)));
    }

    #[test]
    fn every_codec_is_heard_and_sent_in_packets_of_any_length() {
        for codec in AudioCodec::ALL {
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                check_codec(codec, ptime_ms);
            }
        }
    }

    #[test]
    fn silence_is_left_out_where_comfort_noise_is_agreed_on() {
        let mut leg = Leg::new(RemoteMedia { comfort_noise: Some(13), ..peer() });
        let sent = leg.run(160);
        let noise: Vec<_> = sent.iter().filter(|it| it.payload == [75]).collect();
        assert_eq!((sent.len(), noise.len()), (13, 3));
        assert!(noise.windows(2).all(|it| it[1].timestamp.wrapping_sub(it[0].timestamp) == 8_000));
        assert!(sent.windows(2).all(|it| it[1].sequence == it[0].sequence.wrapping_add(1)));
        leg.session.play(loud(1)).unwrap();
        let spoken = leg.run(1);
        assert!(spoken[0].marker && spoken[0].payload == [0x80; 160]);
        assert_eq!(spoken[0].timestamp, sent[0].timestamp.wrapping_add(160 * 160));
        leg.session.send_dtmf(Digit::from_char('5').unwrap(), 100).unwrap();
        assert!(leg.run(3).iter().all(|it| it.payload.len() == 4));
    }

    #[test]
    fn what_is_lost_of_opus_is_found_in_the_next_packet() {
        let remote = RemoteMedia { codec: AudioCodec::Opus, payload_type: 96, received_payload_type: 96, ..peer() };
        let mut leg = Leg::new(remote);
        let mut encoder = Encoder::new(AudioCodec::Opus, OpusSettings::default());
        encoder.expect_loss(20);
        let mut target_ms = vec![];
        for index in 0..1_000_u16 {
            let first = u32::from(index) * 320;
            let samples: Vec<i16> = (first..first + 320).map(|it| wave(it, 16_000)).collect();
            let mut payload = [0; 1_400];
            let len = encoder.encode(&samples, &mut payload);
            if index % 10 != 9 || index > 500 {
                let datagram = packet(96, 1, index, u32::from(index) * 960, &payload[..len]);
                leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
            }
            leg.tick();
            target_ms.push(leg.report().received.aim.unwrap().target_ms);
        }
        let received = leg.report().received;
        assert_eq!(received.lost, 50);
        assert!(received.recovered_frames >= 40, "{received:?}");
        assert_eq!((target_ms[0], target_ms[400], target_ms[999]), (20, 40, 20));
    }

    #[test]
    fn digits_go_the_way_that_the_peer_takes() {
        let digit = Digit::from_char('5').unwrap();
        let mut leg = Leg::new(peer());
        leg.session.press(digit, 100).unwrap();
        assert_eq!(leg.run(1)[0].payload.len(), 4);
        let mut leg = Leg::new(RemoteMedia { telephone_event: None, ..peer() });
        leg.session.press(digit, 100).unwrap();
        assert_ne!(leg.run(1)[0].payload, [0xff; 160]);
    }

    #[test]
    fn payload_types_may_differ_each_way() {
        let event = TelephoneEventFormat { payload_type: 100, received_payload_type: 101, clock_hz: 8_000 };
        let remote = RemoteMedia {
            codec: AudioCodec::Pcma,
            payload_type: 96,
            received_payload_type: 97,
            telephone_event: Some(event),
            ..peer()
        };
        let mut leg = Leg::new(remote);
        let digit = TelephoneEvent { code: 5, end: false, volume: 10, duration: 160 }.to_bytes();
        let mut digits = 0;
        for index in 0..40 {
            // Our number, and the peer's own, which many a peer sends.
            let (audio, event) = if index % 2 == 0 { (97, 101) } else { (96, 100) };
            let (payload_type, payload) = if index < 20 { (audio, &[0x55; 160][..]) } else { (event, &digit[..]) };
            let timestamp = u32::from(index.min(20)) * 160;
            leg.session.handle_rtp(addr(PEER), &packet(payload_type, 1, index, timestamp, payload), leg.now);
            digits += u32::from(leg.tick().dtmf.is_some());
        }
        assert_eq!((leg.report().received.packets, digits), (40, 1));
        assert_eq!(leg.session.send_dtmf(Digit::from_char('1').unwrap(), 40), Ok(()));
        let sent = leg.run(3);
        assert_eq!(sent.iter().map(|it| it.payload_type).collect::<Vec<_>>(), [100, 100, 100]);
        assert_eq!(leg.run(10).last().map(|it| it.payload_type), Some(96));
    }

    #[test]
    fn a_codec_changes_in_place() {
        let mut leg = Leg::new(peer());
        leg.hear_stream(0..50);
        let mut before = leg.sent.last().unwrap().clone();
        let mut heard = 50;
        for (codec, payload_type) in [(AudioCodec::Opus, 96), (AudioCodec::G722, 9), (AudioCodec::Pcma, 8)] {
            leg.update(RemoteMedia { codec, payload_type, received_payload_type: payload_type, ..peer() });
            assert_eq!(leg.session.rate(), codec.rate());
            let mut encoder = Encoder::new(codec, OpusSettings::default());
            let mut audible = 0;
            for index in heard..heard + 50 {
                let mut payload = [0; 400];
                let len = encoder.encode(&[1_000; 320][..codec.rate().frame_len()], &mut payload);
                let timestamp = u32::from(index) * codec.clock_hz() / 50;
                let datagram = packet(payload_type, 1, index, timestamp, &payload[..len]);
                leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
                if let Heard::Audio(frame) = leg.tick().heard {
                    audible += 1;
                    assert_eq!(frame.rate(), codec.rate());
                }
            }
            heard += 50;
            assert!(audible >= 47, "{codec:?}: {audible}");
            for out in &leg.sent[leg.sent.len() - 50..] {
                assert_eq!((out.ssrc, out.payload_type), (before.ssrc, payload_type));
                assert_eq!(out.sequence, before.sequence.wrapping_add(1));
                assert_eq!(out.timestamp, before.timestamp.wrapping_add(codec.clock_hz() / 50));
                before = out.clone();
            }
        }
        assert_eq!(leg.report().received.lost, 0);
    }

    #[test]
    fn comfort_noise_fills_what_the_peer_leaves_out() {
        let mut leg = Leg::new(RemoteMedia { comfort_noise: Some(77), ..peer() });
        leg.hear_stream(0..50);
        let noise = |payload_type, index, at| packet(payload_type, 1, index, at, &[50, 120, 130]);
        leg.session.handle_rtp(addr(PEER), &noise(13, 50, 8_000), leg.now);
        let mut levels = vec![];
        for tick in 0..300_u32 {
            if tick == 150 {
                leg.session.handle_rtp(addr(PEER), &noise(77, 51, 8_000 + 150 * 160), leg.now);
            }
            match leg.tick().heard {
                Heard::Audio(frame) => levels.push(super::super::levels::Level::of(&frame).rms),
                other @ (Heard::Concealed(_) | Heard::Nothing) => panic!("{other:?} at {tick}"),
            }
        }
        assert!(levels[20..].iter().all(|it| (60..160).contains(it)), "{levels:?}");
        for index in 52..100 {
            let timestamp = 8_000 + (300 + u32::from(index) - 52) * 160;
            leg.session.handle_rtp(addr(PEER), &packet(0, 1, index, timestamp, &[0x80; 160]), leg.now);
            leg.tick();
        }
        assert_eq!((leg.report().received.concealed_frames, leg.report().received.lost), (0, 0));
    }

    #[test]
    fn opus_conceals_its_losses_and_falls_silent_in_the_end() {
        let remote = RemoteMedia { codec: AudioCodec::Opus, payload_type: 96, received_payload_type: 96, ..peer() };
        let mut leg = Leg::new(remote);
        let mut encoder = Encoder::new(AudioCodec::Opus, OpusSettings::default());
        let mut heard = vec![];
        for index in 0..300_u16 {
            let mut payload = [0; 400];
            let samples: Vec<i16> = (0..320).map(|at| wave(u32::from(index) * 320 + at, 16_000)).collect();
            let len = encoder.encode(&samples, &mut payload);
            if index % 10 != 5 && index < 200 {
                let datagram = packet(96, 1, index, u32::from(index) * 960, &payload[..len]);
                leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
            }
            heard.push(leg.tick().heard);
        }
        let level = |it: &Heard| match it {
            Heard::Audio(frame) | Heard::Concealed(frame) => super::super::levels::Level::of(frame).rms,
            Heard::Nothing => 0,
        };
        let levels: Vec<_> = heard.iter().map(level).collect();
        // The one exception is where the delay grows, for packets to be there that tell of those before them.
        assert!(levels[20..200].iter().filter(|it| **it <= 1_000).count() <= 1, "{levels:?}");
        assert!((15..=27).contains(&leg.report().received.concealed_frames), "{:?}", leg.report().received);
        assert!(heard[215..].iter().all(|it| *it == Heard::Nothing));
    }

    /// A tone is heard and sent with this codec, in packets of this length, on a network that is never late.
    #[track_caller]
    fn check_codec(codec: AudioCodec, ptime_ms: u16) {
        let (rate, clock_hz) = (codec.rate(), codec.clock_hz());
        let event = TelephoneEventFormat { payload_type: 101, received_payload_type: 101, clock_hz };
        let remote = RemoteMedia {
            codec,
            payload_type: 96,
            received_payload_type: 96,
            ptime_ms,
            maxptime_ms: None,
            telephone_event: Some(event),
            ..peer()
        };
        let mut leg = Leg::new(remote);
        let mut encoder = Encoder::new(codec, OpusSettings::default());
        let ptime_ms = u32::from(codec.ptime_ms(ptime_ms));
        let (mut index, mut hum, mut audible) = (0_u16, 0_u32, 0);
        for ms in 0..2_000_u32 {
            if ms % ptime_ms == 0 {
                let first = ms * (rate.hz() / 1_000);
                let samples: Vec<i16> =
                    (first..first + ptime_ms * (rate.hz() / 1_000)).map(|it| wave(it, rate.hz())).collect();
                let mut payload = [0; 1_400];
                let len = encoder.encode(&samples, &mut payload);
                let datagram = packet(96, 1, index, ms * (clock_hz / 1_000), &payload[..len]);
                leg.session.handle_rtp(addr(PEER), &datagram, leg.now);
                index += 1;
            }
            if ms % 20 == 7 {
                let samples: Vec<i16> = (0..320).map(|at| wave(hum + at, 16_000)).collect();
                hum += 320;
                let frame = Frame::from_samples(SampleRate::Hz16000, &samples);
                leg.session.play(PlayoutFrame { utterance: 1, frame }).unwrap();
                let tick = leg.session.handle_tick(leg.now);
                leg.drain();
                audible += u32::from(matches!(tick.heard, Heard::Audio(frame) if frame.rate() == rate));
                let position = u32::try_from(tick.number).unwrap() * 320;
                assert_eq!(tick.played, Some(Played { utterance: 1, position }));
            }
            leg.now = leg.now + Duration::from_millis(1);
        }
        let name = format!("{codec:?} {ptime_ms} ms");
        assert_eq!(leg.report().received.concealed_frames, 0, "{name}");
        assert!(audible >= 93, "{name}: {audible}");
        let mut decoder = Decoder::new(codec);
        let mut samples = vec![];
        for (at, out) in leg.sent.iter().enumerate() {
            assert_eq!(codec.duration(&out.payload), clock_hz / 1_000 * ptime_ms, "{name}");
            assert_eq!(
                out.timestamp.wrapping_sub(leg.sent[0].timestamp),
                u32::try_from(at).unwrap() * clock_hz / 1_000 * ptime_ms
            );
            let mut decoded = [0; 1_920];
            let len = decoder.decode(&out.payload, &mut decoded);
            samples.extend_from_slice(&decoded[..len]);
        }
        let level = super::super::levels::Level::of_samples(&samples[samples.len() / 4..]).rms;
        assert!((4_500..6_500).contains(&level), "{name}: {level}");
        // A digit cuts what is collected short, and everything keeps its time.
        leg.session.send_dtmf(Digit::from_char('5').unwrap(), 100).unwrap();
        let sent = leg.run(40);
        let events: Vec<_> = sent.iter().filter(|it| it.payload_type == 101).collect();
        let last = TelephoneEvent::parse(&events.last().unwrap().payload).unwrap();
        assert_eq!((events.len(), u32::from(last.duration)), (7, clock_hz / 10), "{name}");
        let span = |it: &Out| if it.payload_type == 101 { clock_hz / 50 } else { codec.duration(&it.payload) };
        let total: u32 = sent.iter().map(span).sum();
        assert!(total.abs_diff(clock_hz / 50 * 40) <= clock_hz / 1_000 * ptime_ms, "{name}: {total}");
    }

    /// A tone of 440 Hz.
    #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
    fn wave(at: u32, hz: u32) -> i16 {
        (8_000.0 * (std::f64::consts::TAU * 440.0 * f64::from(at) / f64::from(hz)).sin()) as i16
    }

    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// What was sent in one RTP packet.
    #[derive(Clone, Debug)]
    struct Out {
        to: SocketAddr,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
        payload_type: u8,
        marker: bool,
        payload: Vec<u8>,
    }

    /// A session on simulated time, and everything it has sent.
    struct Leg {
        session: Session,
        now: Now,
        sent: Vec<Out>,
        reports: Vec<(SocketAddr, Vec<u8>)>,
        /// When the last report was sent, and after how many packets.
        reported_at: Option<Now>,
        reported_after: u32,
    }

    impl Leg {
        fn new(remote: RemoteMedia) -> Self {
            Self::with(Some(remote), 1)
        }

        fn seeded(seed: u64) -> Self {
            Self::with(Some(peer()), seed)
        }

        fn unknown() -> Self {
            Self::with(None, 1)
        }

        fn with(remote: Option<RemoteMedia>, seed: u64) -> Self {
            let now = Now::origin();
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let session = Session::new(SessionConfig { remote, hears_tones: true }, &mut rng, now);
            Self { session, now, sent: vec![], reports: vec![], reported_at: None, reported_after: 0 }
        }

        fn update(&mut self, remote: RemoteMedia) {
            self.session.update(remote, self.now);
        }

        /// A loud packet of `len` samples.
        fn hear(&mut self, from: &str, index: u16, len: usize) {
            let datagram = packet(0, 1, index, u32::from(index) * 160, &vec![0x80; len]);
            self.session.handle_rtp(addr(from), &datagram, self.now);
        }

        fn hear_stream(&mut self, indexes: std::ops::Range<u16>) {
            for index in indexes {
                self.hear(PEER, index, 160);
                self.tick();
            }
        }

        fn tick(&mut self) -> Tick {
            self.now = self.now + TICK;
            let tick = self.session.handle_tick(self.now);
            self.drain();
            tick
        }

        fn run(&mut self, ticks: usize) -> Vec<Out> {
            let before = self.sent.len();
            for _ in 0..ticks {
                self.tick();
            }
            self.sent[before..].to_vec()
        }

        fn drain(&mut self) {
            let mut buffer = [0; 1_500];
            while let Some(Transmit { to, len, .. }) = self.session.poll_transmit(&mut buffer) {
                let datagram = &buffer[..len];
                if is_rtcp(datagram) {
                    self.reports.push((to, datagram.to_vec()));
                    self.reported_at = Some(self.now);
                    self.reported_after = u32::try_from(self.sent.len()).unwrap();
                } else {
                    let Packet { header, payload } = Packet::parse(datagram).unwrap();
                    let Header { payload_type, marker, sequence, timestamp, ssrc } = header;
                    let payload = payload.to_vec();
                    self.sent.push(Out { to, sequence, timestamp, ssrc, payload_type, marker, payload });
                }
            }
        }

        fn report(&self) -> Report {
            self.session.report(self.now)
        }
    }

    fn peer() -> RemoteMedia {
        RemoteMedia {
            rtp: addr(PEER),
            rtcp: addr("192.0.2.1:4001"),
            latching: Latching::Exact,
            codec: AudioCodec::Pcmu,
            payload_type: 0,
            received_payload_type: 0,
            ptime_ms: 20,
            maxptime_ms: None,
            opus: OpusSettings::default(),
            comfort_noise: None,
            telephone_event: Some(TelephoneEventFormat {
                payload_type: 101,
                received_payload_type: 101,
                clock_hz: 8_000,
            }),
            send: true,
            receive: true,
        }
    }

    fn packet(payload_type: u8, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header { payload_type, marker: false, sequence, timestamp, ssrc };
        let mut buffer = vec![0; 2_000];
        let len = Packet { header, payload }.write(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    /// A frame as loud as can be.
    fn loud(utterance: u32) -> PlayoutFrame {
        PlayoutFrame { utterance, frame: Frame::from_samples(SampleRate::Hz8000, &[i16::MAX; 160]) }
    }

    /// The byte at a place of a stream in which every sample differs from those before it.
    fn stream_byte(at: u32) -> u8 {
        (at % 251).to_le_bytes()[0]
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
