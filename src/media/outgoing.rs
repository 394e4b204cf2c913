//! What a leg sends: on every tick 20 ms of an event, of what is to be played, or of silence, in packets of the length
//! that was agreed on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;

use super::TICK;
use super::dtmf::DtmfSender;
use super::playout::{Played, Playout, PlayoutFrame, PlayoutFull};
use super::relay::{Numbering, Relayed};
use super::session::TelephoneEventFormat;
use super::tones::ToneGenerator;
use crate::codec::{AudioCodec, Encoder, Frame, OpusSettings, Resampler, SampleRate};
use crate::limits::{DTMF_DIGIT_MS_MAX, DTMF_DIGIT_MS_MIN, DTMF_DIGITS_MAX};
use crate::rtp::{Digit, Header, Packet, timestamp_distance};

#[derive(Debug)]
pub(super) struct Outgoing {
    ssrc: u32,
    sequence: u16,
    /// Of this tick; runs on whether or not anything is sent.
    timestamp: u32,
    /// Nothing was sent in the tick before.
    was_silent: bool,
    playout: Playout,
    /// What is to be played waits.
    pub(super) is_paused: bool,
    dtmf: DtmfSender,
    /// Digits to be played as tones, and the one that is.
    tones: VecDeque<(Digit, u16)>,
    tone: Option<Box<ToneGenerator>>,
    format: Format,
    /// What it takes to speak; `None` while packets are passed on and while nothing may be sent.
    voice: Option<Box<Voice>>,
    /// How much of what we send is lost, in 1/256: the worst of late, as the peer reports it.
    loss: Option<u8>,
    /// Ticks since there was last something to be said.
    quiet_ticks: u32,
    /// Even a short packet is to be sent now.
    flush: bool,
    event: Option<(Header, [u8; 4])>,
    /// What our silence sounds like is to be told.
    noise: Option<Header>,
    /// What is passed on, the timestamp at which the last of it ends, and since when `timestamp` has stood still.
    numbering: Numbering,
    relayed_until: Option<u32>,
    relayed_at: Option<Instant>,
    packets: u64,
    octets: u64,
    /// The same when the stream began that is sent now.
    before: (u64, u64),
    refused: u64,
}

/// Frames to payloads.
#[derive(Debug)]
struct Voice {
    encoder: Encoder,
    /// For what is played at another rate than the leg's, and whether it still holds the end of it.
    resampler: Option<Box<Resampler>>,
    has_tail: bool,
    /// To be sent: the first `held` samples. There is room for a packet and what comes in a tick.
    samples: Vec<i16>,
    held: usize,
    /// The timestamp of the first of them.
    held_at: u32,
    /// What the peer was sent in this tick, and whether that was said: nothing is during a digit.
    frame: Option<Frame>,
    is_said: bool,
    /// `None` until something is to be mixed in.
    mix: Option<Box<Mix>>,
}

/// What is heard beside what is played, or in its place.
#[derive(Debug, Default)]
struct Mix {
    /// In the next tick.
    next: Option<Frame>,
    /// In the place of what is played.
    alone: Option<Frame>,
    /// What was played in this tick without it, if there was any.
    played: Option<Frame>,
}

impl Outgoing {
    /// SSRC, sequence number and timestamp start at random (RFC 3550 §5.1); the sequence number below 2^15, so that the
    /// first wrap is far enough away for SRTP receivers that miss the beginning.
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let [low, high, ..] = rng.next_u32().to_be_bytes();
        let format = Format {
            codec: AudioCodec::Pcmu,
            payload_type: 0,
            telephone_event: None,
            ptime_ms: 20,
            opus: OpusSettings::default(),
            comfort_noise: None,
        };
        Self {
            ssrc: rng.next_u32(),
            sequence: u16::from_be_bytes([low, high]) >> 1,
            timestamp: rng.next_u32(),
            was_silent: true,
            playout: Playout::default(),
            is_paused: false,
            dtmf: DtmfSender::default(),
            tones: VecDeque::new(),
            tone: None,
            format,
            voice: None,
            loss: None,
            quiet_ticks: 0,
            flush: false,
            event: None,
            noise: None,
            numbering: Numbering::default(),
            relayed_until: None,
            relayed_at: None,
            packets: 0,
            octets: 0,
            before: (0, 0),
            refused: 0,
        }
    }

    /// What comes next is a stream of its own. Timestamps run on, and so does what is counted.
    pub(super) fn begin_anew(&mut self, rng: &mut impl Rng) {
        let fresh = Self::new(rng);
        (self.ssrc, self.sequence) = (fresh.ssrc, fresh.sequence);
        self.before = (self.packets, self.octets);
        self.was_silent = true;
    }

    pub(super) fn play(&mut self, frame: PlayoutFrame) -> Result<(), PlayoutFull> {
        self.playout.push(frame)
    }

    pub(super) fn clear(&mut self) {
        self.playout.clear();
        if let Some(voice) = &mut self.voice {
            if let Some(resampler) = &mut voice.resampler {
                resampler.reset();
            }
            voice.has_tail = false;
        }
    }

    pub(super) fn send_dtmf(&mut self, digit: Digit, ms: u16) -> bool {
        self.dtmf.push(digit, ms)
    }

    pub(super) fn play_dtmf(&mut self, digit: Digit, ms: u16) -> bool {
        let has_room = self.tones.len() < DTMF_DIGITS_MAX;
        if has_room {
            self.tones.push_back((digit, ms.clamp(DTMF_DIGIT_MS_MIN, DTMF_DIGIT_MS_MAX)));
        }
        has_room
    }

    /// Prepares the packets of the next 20 ms, unless nothing `may` be sent. What was not fetched of the tick before is
    /// left out.
    pub(super) fn tick(&mut self, may: Option<Format>) -> Option<Played> {
        if let Some(format) = may {
            self.change_format(format);
        }
        self.timestamp = self.timestamp.wrapping_add(self.tick_units());
        self.event = None;
        self.noise = None;
        self.flush = false;
        let Some(format) = may else {
            self.dtmf.interrupt();
            self.tone = None;
            self.voice = None;
            self.was_silent = true;
            return None;
        };
        let (packet_len, loss) = (self.packet_len(), self.loss);
        let voice = self.voice.get_or_insert_with(|| Box::new(Voice::new(format, loss)));
        let (mixed_in, alone) = voice.begin_tick();
        if voice.held >= packet_len {
            voice.held = 0;
        }
        let rate = format.codec.rate();
        voice.make_room(packet_len + rate.frame_len());
        if let Some((payload_type, event)) = format.telephone_event.and_then(|it| {
            let event = self.dtmf.tick(self.timestamp, it.clock_hz)?;
            Some((it.payload_type, event))
        }) {
            let (marker, timestamp) = (event.marker, event.timestamp);
            self.event =
                Some((Header { payload_type, marker, sequence: 0, timestamp, ssrc: self.ssrc }, event.payload));
            self.flush = true;
            voice.frame = Some(Frame::silence(rate));
            return None;
        }
        let has_tail = voice.has_tail;
        let tone = self.next_tone(rate);
        let next = if tone.is_some() || self.is_paused { None } else { self.playout.next() };
        let next = next.filter(|_| alone.is_none());
        let is_quiet = tone.is_none() && next.is_none() && !has_tail && mixed_in.is_none() && alone.is_none();
        self.quiet_ticks = if is_quiet { self.quiet_ticks.saturating_add(1) } else { 0 };
        if let Some(payload_type) = format.comfort_noise.filter(|_| self.quiet_ticks > HANGOVER_TICKS) {
            self.leave_out(payload_type, rate);
            return None;
        }
        if let Some(voice) = &mut self.voice {
            let frame = tone.or(alone).or_else(|| next.as_ref().map(|(frame, _)| *frame));
            voice.say(frame, mixed_in.as_ref(), rate, self.timestamp);
        }
        next.map(|(_, played)| played)
    }

    /// Lets time pass in which nothing is sent.
    pub(super) fn skip(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks.wrapping_mul(self.tick_units()));
        if let Some(voice) = &mut self.voice {
            voice.held = 0;
        }
        self.was_silent = true;
    }

    /// Writes the next packet of this tick.
    pub(super) fn poll_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let packet_len = self.packet_len();
        while let Some(voice) = self.voice.as_mut().filter(|it| it.held >= packet_len || (self.flush && it.held > 0)) {
            let timestamp = voice.held_at;
            let mut payload = [0; PAYLOAD_LEN_MAX];
            let len = voice.encode(packet_len.min(voice.held), self.format.codec, &mut payload);
            if len == 0 {
                self.was_silent = true;
                continue;
            }
            let marker = std::mem::take(&mut self.was_silent);
            let payload_type = self.format.payload_type;
            let header = Header { payload_type, marker, sequence: self.sequence, timestamp, ssrc: self.ssrc };
            return self.write(header, payload.get(..len)?, buffer);
        }
        if let Some(header) = self.noise.take() {
            self.was_silent = true;
            return self.write(Header { sequence: self.sequence, ..header }, &[NOISE_LEVEL_DB], buffer);
        }
        let (header, payload) = self.event.take()?;
        self.was_silent = false;
        self.write(Header { sequence: self.sequence, ..header }, &payload, buffer)
    }

    /// Whether a digit is being sent or waits.
    pub(super) fn has_digits(&self) -> bool {
        self.dtmf.is_busy() || self.tone.is_some() || !self.tones.is_empty()
    }

    /// Beside what is played in the next tick, and what was mixed into that before.
    pub(super) fn mix_in(&mut self, frame: Frame) {
        let mix = self.mix();
        match mix.next.as_mut().filter(|it| it.rate() == frame.rate()) {
            Some(before) => before.mix_in(&frame),
            None => mix.next = Some(frame),
        }
    }

    /// In the place of what is played in the next tick, which is passed over unless it is paused.
    pub(super) fn speak_alone(&mut self, frame: Frame) {
        self.mix().alone = Some(frame);
    }

    fn mix(&mut self) -> &mut Mix {
        let (format, loss) = (self.format, self.loss);
        let voice = self.voice.get_or_insert_with(|| Box::new(Voice::new(format, loss)));
        voice.mix.get_or_insert_default()
    }

    /// From now on packets are passed on. What was still to be said is forgotten. The last tick was at `ticked_at`.
    pub(super) fn begin_relay(&mut self, format: Format, ticked_at: Instant) {
        self.change_format(format);
        self.clear();
        self.voice = None;
        self.event = None;
        self.noise = None;
        self.numbering.restart();
        self.relayed_at = Some(ticked_at);
    }

    /// What is said next runs on from what was passed on, and is a talkspurt of its own.
    pub(super) fn end_relay(&mut self, now: Instant) {
        self.timestamp = self.next_timestamp(now).wrapping_sub(self.tick_units());
        self.relayed_until = None;
        self.relayed_at = None;
        self.was_silent = true;
    }

    /// Writes a packet of the other leg as one of ours.
    pub(super) fn forward(
        &mut self,
        packet: &Relayed<'_>,
        payload_type: u8,
        buffer: &mut [u8],
        now: Instant,
    ) -> Option<usize> {
        let is_first = !self.numbering.has(packet);
        if is_first {
            let next = (self.sequence, self.next_timestamp(now));
            self.numbering.begin(packet, next);
        }
        let place = self.numbering.place(packet)?;
        let (is_newest, is_audio) = (place.is_newest || is_first, packet.units > 0);
        let header = Header {
            payload_type,
            marker: packet.header.marker || (is_first && is_audio),
            sequence: place.sequence,
            timestamp: place.timestamp,
            ssrc: self.ssrc,
        };
        let len = Packet { header, payload: packet.payload }.write(buffer)?;
        if is_newest {
            self.sequence = place.sequence.wrapping_add(1);
        }
        if is_newest && is_audio {
            self.timestamp = place.timestamp;
            self.relayed_until = Some(place.timestamp.wrapping_add(packet.units));
            self.relayed_at = Some(now);
        }
        self.packets += 1;
        self.octets += u64::try_from(packet.payload.len()).unwrap_or(0);
        Some(len)
    }

    pub(super) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Of now; runs on whether or not anything is sent.
    pub(super) fn timestamp(&self, now: Instant) -> u32 {
        let passed = self.relayed_at.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        let ticks = u32::try_from((passed.as_millis() / TICK.as_millis()) & u128::from(u32::MAX)).unwrap_or(0);
        self.timestamp.wrapping_add(ticks.wrapping_mul(self.tick_units()))
    }

    pub(super) fn frame(&self) -> Option<&Frame> {
        self.voice.as_ref()?.frame.as_ref()
    }

    pub(super) fn played(&self) -> Option<&Frame> {
        let voice = self.voice.as_ref().filter(|it| it.is_said)?;
        voice.mix.as_ref().and_then(|it| it.played.as_ref()).or(voice.frame.as_ref())
    }

    /// One of its packets has come back.
    pub(super) const fn handle_refused(&mut self) {
        self.refused += 1;
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets and octets under the SSRC of now (RFC 3550 §6.4.1).
    pub(super) const fn sent_of_stream(&self) -> (u64, u64) {
        (self.packets - self.before.0, self.octets - self.before.1)
    }

    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) const fn playout(&self) -> &Playout {
        &self.playout
    }

    pub(super) const fn digits(&self) -> u64 {
        self.dtmf.sent()
    }

    /// Prepares for losses like those that the peer reports, in 1/256: more at once, less step by step.
    pub(super) fn expect_loss(&mut self, fraction_lost: u8) {
        let loss = self.loss.map_or(fraction_lost, |it| fraction_lost.max(it / 4 * 3));
        self.loss = Some(loss);
        if let Some(voice) = self.voice.as_mut().filter(|_| self.format.opus.forward_error_correction) {
            voice.encoder.expect_loss(percent(loss));
        }
    }

    /// A tick of silence of which nothing is sent but, now and then, what it sounds like (RFC 3389 §4).
    fn leave_out(&mut self, payload_type: u8, rate: SampleRate) {
        self.flush = true;
        if let Some(voice) = &mut self.voice {
            voice.frame = Some(Frame::silence(rate));
        }
        if (self.quiet_ticks - HANGOVER_TICKS) % NOISE_EVERY_TICKS == 1 {
            let (timestamp, ssrc) = (self.timestamp, self.ssrc);
            self.noise = Some(Header { payload_type, marker: false, sequence: 0, timestamp, ssrc });
        }
    }

    /// The next 20 ms of a digit; what is to be played waits for it.
    fn next_tone(&mut self, rate: SampleRate) -> Option<Frame> {
        if let Some(frame) = self.tone.as_mut().and_then(|it| it.next_frame()) {
            return Some(frame);
        }
        self.tone = None;
        let (digit, ms) = self.tones.pop_front()?;
        let mut tone = Box::new(ToneGenerator::digit(digit, ms, rate));
        let frame = tone.next_frame();
        self.tone = Some(tone);
        frame
    }

    fn write(&mut self, header: Header, payload: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let len = Packet { header, payload }.write(buffer)?;
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += u64::try_from(payload.len()).unwrap_or(0);
        Some(len)
    }

    /// Another codec begins anew, with what comes next.
    fn change_format(&mut self, format: Format) {
        if (format.codec, format.opus) != (self.format.codec, self.format.opus) {
            self.voice = None;
        }
        if format.telephone_event.is_none() && self.dtmf.is_busy() {
            // The peer takes no events any more.
            let room = DTMF_DIGITS_MAX.saturating_sub(self.tones.len());
            self.tones.extend(self.dtmf.take_waiting().take(room));
        }
        self.format = format;
    }

    const fn packet_len(&self) -> usize {
        let ptime_ms = self.format.codec.ptime_ms(self.format.ptime_ms);
        self.format.codec.rate().frame_len() / 2 * (ptime_ms / 10) as usize
    }

    /// Of what is said next: after what has been sent, also if that was long packets.
    fn next_timestamp(&self, now: Instant) -> u32 {
        let next = self.timestamp(now).wrapping_add(self.tick_units());
        self.relayed_until.filter(|it| timestamp_distance(next, *it) > 0).unwrap_or(next)
    }

    const fn tick_units(&self) -> u32 {
        self.format.codec.clock_hz() / 50
    }
}

impl Voice {
    fn new(format: Format, loss: Option<u8>) -> Self {
        let mut encoder = Encoder::new(format.codec, format.opus);
        if let Some(loss) = loss.filter(|_| format.opus.forward_error_correction) {
            encoder.expect_loss(percent(loss));
        }
        Self {
            encoder,
            resampler: None,
            has_tail: false,
            samples: vec![],
            held: 0,
            held_at: 0,
            frame: None,
            is_said: false,
            mix: None,
        }
    }

    /// Forgets the tick before; returns what is to be mixed in, and what is to be said in the place of all else.
    fn begin_tick(&mut self) -> (Option<Frame>, Option<Frame>) {
        self.frame = None;
        self.is_said = false;
        let Some(mix) = &mut self.mix else {
            return (None, None);
        };
        mix.played = None;
        (mix.next.take(), mix.alone.take())
    }

    /// For so many samples.
    fn make_room(&mut self, len: usize) {
        if self.samples.len() < len {
            self.samples.reserve_exact(len - self.samples.len());
            self.samples.resize(len, 0);
        }
    }

    /// Adds 20 ms to what is to be sent; silence if there is nothing to say.
    fn say(&mut self, frame: Option<Frame>, mixed_in: Option<&Frame>, rate: SampleRate, timestamp: u32) {
        let mut frame = self.at_rate(frame, rate);
        self.is_said = true;
        if let Some(other) = mixed_in {
            if let Some(mix) = &mut self.mix {
                mix.played = Some(frame);
            }
            frame.mix_in(other);
        }
        if self.held == 0 {
            self.held_at = timestamp;
        }
        if let Some(room) = self.samples.get_mut(self.held..) {
            for (to, from) in room.iter_mut().zip(frame.samples()) {
                *to = *from;
            }
            self.held += rate.frame_len();
        }
        self.frame = Some(frame);
    }

    /// Encodes the first `len` samples held.
    fn encode(&mut self, len: usize, codec: AudioCodec, payload: &mut [u8]) -> usize {
        let written = self.samples.get(..len).map_or(0, |samples| self.encoder.encode(samples, payload));
        self.samples.copy_within(len..self.held, 0);
        self.held -= len;
        self.held_at = self.held_at.wrapping_add(codec.units_of(len));
        written
    }

    /// What is to be sent at the leg's rate; silence if there is nothing.
    fn at_rate(&mut self, frame: Option<Frame>, rate: SampleRate) -> Frame {
        let Some(frame) = frame else {
            let tail = self.resampler.as_mut().filter(|it| self.has_tail && it.to() == rate);
            self.has_tail = false;
            return tail.map_or_else(|| Frame::silence(rate), |it| it.process(&Frame::silence(it.from())));
        };
        if frame.rate() == rate {
            self.has_tail = false;
            return frame;
        }
        let new = || Box::new(Resampler::new(frame.rate(), rate));
        let resampler = self.resampler.get_or_insert_with(new);
        if (resampler.from(), resampler.to()) != (frame.rate(), rate) {
            *resampler = new();
        } else if !self.has_tail {
            resampler.reset();
        }
        self.has_tail = true;
        resampler.process(&frame)
    }
}

/// How to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) codec: AudioCodec,
    pub(super) payload_type: u8,
    pub(super) telephone_event: Option<TelephoneEventFormat>,
    pub(super) ptime_ms: u16,
    pub(super) opus: OpusSettings,
    /// The payload type of comfort noise, if silence is left out.
    pub(super) comfort_noise: Option<u8>,
}

/// Between what Opus makes of a line that loses little and of one that loses too much.
fn percent(fraction: u8) -> u8 {
    u8::try_from(u32::from(fraction) * 100 / 256).unwrap_or(100).clamp(2, 40)
}

/// Silence that is sent as such, as most pauses between words are.
const HANGOVER_TICKS: u32 = 10;
/// Between two packets that tell what our silence sounds like: one second.
const NOISE_EVERY_TICKS: u32 = 50;
/// Barely audible: the line is not dead.
const NOISE_LEVEL_DB: u8 = 75;
/// 40 ms of L16 at 16 kHz.
const PAYLOAD_LEN_MAX: usize = 1_280;
