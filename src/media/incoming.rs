//! The peer's audio, from packets to one frame a tick: jitter buffer, decoder, concealment, comfort noise, and a few
//! milliseconds of decoded audio between packets of any length and frames of 20 ms.
//!
//! All of that is made when the first packet comes and given up while packets are passed on, so that a leg whose audio
//! nobody decodes does not pay for it.

use super::jitter_buffer::{AudioPacket, Coding, JitterBuffer, Popped};
use super::levels::Level;
use super::report::Aim;
use crate::codec::comfort_noise::{NoiseGenerator, Silence};
use crate::codec::conceal::Concealer;
use crate::codec::{AudioCodec, Decoder, Frame, waveform};
use crate::limits::{JITTER_TARGET_MS_MIN, RTP_PACKET_AUDIO_MS_MAX};
use crate::timer::Now;

/// What a tick brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// 20 ms of the peer.
    Audio(Frame),
    /// 20 ms of which more than half was invented, because packets were lost or late.
    Concealed(Frame),
    /// No audio: the peer sends none, or the loss has lasted too long to be concealed.
    Nothing,
}

/// The peer's audio. [`Ear`] hears it, if there is anything to be heard.
#[derive(Debug)]
pub(super) struct Incoming {
    codec: AudioCodec,
    ear: Option<Box<Ear>>,
    /// What ears counted that are gone.
    before: IncomingCounts,
}

/// What happened to the peer's audio since the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IncomingCounts {
    pub(super) late: u64,
    pub(super) skipped: u64,
    pub(super) concealed_frames: u64,
    /// Frames of which lost audio was in the packet that followed.
    pub(super) recovered_frames: u64,
    pub(super) shortened: u64,
    /// The delay once a second of audio heard, added up, and how often.
    pub(super) delays_us: u64,
    pub(super) delays: u64,
}

impl Incoming {
    pub(super) const fn new(codec: AudioCodec) -> Self {
        let before = IncomingCounts {
            late: 0,
            skipped: 0,
            concealed_frames: 0,
            recovered_frames: 0,
            shortened: 0,
            delays_us: 0,
            delays: 0,
        };
        Self { codec, ear: None, before }
    }

    pub(super) fn change_codec(&mut self, codec: AudioCodec) {
        self.codec = codec;
        if let Some(ear) = &mut self.ear {
            ear.change_codec(codec);
        }
    }

    pub(super) fn push(&mut self, packet: AudioPacket<'_>, now: Now) {
        let ear = self.ear.get_or_insert_with(|| Box::new(Ear::new(self.codec, now)));
        ear.buffer.push(packet, now);
    }

    pub(super) fn pass_over(&mut self, sequence: u16) {
        if let Some(ear) = &mut self.ear {
            ear.buffer.pass_over(sequence);
        }
    }

    /// The next packet begins another stream.
    pub(super) fn splice(&mut self) {
        if let Some(ear) = &mut self.ear {
            ear.buffer.splice();
            ear.noise = None;
        }
    }

    /// Nothing is heard for a while: what has come and was not heard yet is forgotten.
    pub(super) fn rest(&mut self) {
        self.before = self.counts();
        self.ear = None;
    }

    /// The next 20 ms. While a digit is held down (`in_event`) its sender sends no audio, and none is invented.
    pub(super) fn tick(&mut self, in_event: bool, now: Now) -> Heard {
        let Some(ear) = &mut self.ear else {
            return Heard::Nothing;
        };
        let heard = ear.tick(in_event, now);
        if heard != Heard::Nothing {
            ear.count_delay(now);
        }
        heard
    }

    pub(super) fn counts(&self) -> IncomingCounts {
        let Some(ear) = &self.ear else {
            return self.before;
        };
        let (before, buffer) = (self.before, ear.buffer.counts());
        IncomingCounts {
            late: before.late + buffer.late,
            skipped: before.skipped + buffer.skipped,
            concealed_frames: before.concealed_frames + ear.concealed_frames,
            recovered_frames: before.recovered_frames + ear.recovered_frames,
            shortened: before.shortened + ear.shortened,
            delays_us: before.delays_us + ear.delays_us,
            delays: before.delays + ear.delays,
        }
    }

    /// The delay aimed at, and why.
    pub(super) fn aim(&self) -> Aim {
        let least_ms = JITTER_TARGET_MS_MIN;
        let nothing = Aim { target_ms: least_ms, least_ms, ..Aim::default() };
        self.ear.as_ref().map_or(nothing, |it| it.buffer.aim())
    }

    /// As [`JitterBuffer::delay_now_us`].
    pub(super) fn delay_us(&self, now: Now) -> u64 {
        self.ear.as_ref().map_or(0, |it| it.buffer.delay_now_us(it.held(), now))
    }
}

#[derive(Debug)]
struct Ear {
    buffer: JitterBuffer,
    codec: AudioCodec,
    decoder: Decoder,
    concealer: Concealer,
    /// The peer is silent, and has said what its silence sounds like.
    noise: Option<Box<NoiseGenerator>>,
    /// Decoded and not yet heard: the first `held` samples. Grows to [`room_for`] the longest packet if one comes.
    samples: Vec<i16>,
    held: usize,
    quiet: bool,
    /// Samples invented since the last packet.
    invented: usize,
    /// How often packets of a codec that conceals are lost, in 1/65,536: of late, as a running mean.
    loss: u32,
    /// Frames of which lost audio was in the packet that followed.
    recovered_frames: u64,
    concealed_frames: u64,
    shortened: u64,
    /// Frames heard since the delay was looked at last.
    frames: u8,
    delays_us: u64,
    delays: u64,
}

impl Ear {
    fn new(codec: AudioCodec, now: Now) -> Self {
        Self {
            buffer: JitterBuffer::new(codec.clock_hz(), now),
            codec,
            decoder: Decoder::new(codec),
            concealer: Concealer::new(codec.rate()),
            noise: None,
            samples: vec![0; FRAMES * codec.rate().frame_len()],
            held: 0,
            quiet: true,
            invented: 0,
            loss: 0,
            recovered_frames: 0,
            concealed_frames: 0,
            shortened: 0,
            frames: 0,
            delays_us: 0,
            delays: 0,
        }
    }

    /// Looks at the delay once in a second of audio, first after half of one.
    fn count_delay(&mut self, now: Now) {
        self.frames += 1;
        if self.frames == FRAMES_PER_DELAY / 2 {
            self.delays_us += self.buffer.delay_now_us(self.held(), now);
            self.delays += 1;
        }
        self.frames %= FRAMES_PER_DELAY;
    }

    /// Goes on with another codec. What is still in the buffer is heard if it is like the new one in rate and clock.
    fn change_codec(&mut self, codec: AudioCodec) {
        let before = std::mem::replace(&mut self.codec, codec);
        if before.clock_hz() != codec.clock_hz() || before.rate() != codec.rate() {
            self.buffer.change_clock(codec.clock_hz());
        }
        if before.rate() != codec.rate() {
            self.concealer = Concealer::new(codec.rate());
            self.samples = vec![0; FRAMES * codec.rate().frame_len()];
            self.held = 0;
            self.quiet = true;
        }
    }

    /// The next 20 ms. While a digit is held down (`in_event`) its sender sends no audio, and none is invented.
    fn tick(&mut self, in_event: bool, now: Now) -> Heard {
        let frame_len = self.codec.rate().frame_len();
        if self.buffer.wants_less(self.held(), self.quiet, now) {
            self.shorten(now);
        }
        let mut invented = 0;
        while self.held < frame_len {
            let wanted = frame_len - self.held;
            match self.pop(wanted, now) {
                Next::Decoded => {}
                Next::Nothing if self.noise.is_none() => break,
                Next::Nothing => self.fill(wanted, in_event),
                Next::Missing(missing) => {
                    self.observe_loss(!in_event);
                    let missing = if self.conceals() { missing } else { missing.min(wanted) };
                    let is_noise = self.noise.is_some();
                    self.fill(missing, in_event);
                    invented += if is_noise { 0 } else { missing };
                }
            }
        }
        if self.held == 0 {
            self.concealer.reset();
            self.quiet = true;
            return Heard::Nothing;
        }
        let frame = self.take_frame();
        self.quiet = Level::of(&frame).is_quiet();
        if 2 * invented <= frame_len {
            return Heard::Audio(frame);
        }
        let is_over = if self.conceals() { self.invented > 6 * frame_len } else { self.concealer.is_silent() };
        if in_event || is_over {
            return Heard::Nothing;
        }
        self.concealed_frames += 1;
        Heard::Concealed(frame)
    }

    /// In units of the RTP timestamp.
    fn held(&self) -> u32 {
        self.codec.units_of(self.held)
    }

    /// A packet tells what was in the one before it (RFC 7587 §3.3), if that is still to be heard when it comes: while
    /// packets are lost, each is held for longer by the length of one.
    fn observe_loss(&mut self, is_lost: bool) {
        self.loss -= self.loss / LOSS_WINDOW;
        self.loss += if is_lost && self.conceals() { LOSS_ONE / LOSS_WINDOW } else { 0 };
        if self.loss > LOSS_ONE / 50 {
            self.buffer.reserve(Frame::MS);
        } else if self.loss < LOSS_ONE / 200 {
            self.buffer.reserve(0);
        }
    }

    /// Whether the codec conceals losses itself: better than we can, but in packets of its own length.
    const fn conceals(&self) -> bool {
        self.decoder.conceals()
    }

    /// Puts `len` samples in the place of what is missing.
    fn fill(&mut self, len: usize, in_event: bool) {
        let Some(gap) = self.samples.get_mut(self.held..).and_then(|it| it.get_mut(..len)) else {
            self.held = self.samples.len();
            return;
        };
        if in_event {
            gap.fill(0);
        } else if let Some(noise) = &mut self.noise {
            noise.fill(gap);
            self.concealer.hear(gap);
        } else if self.decoder.conceals() {
            let next = self.buffer.after_missing();
            let next = next.filter(|(coding, _)| *coding == Coding::Audio(self.decoder.codec()));
            self.recovered_frames += u64::from(next.is_some());
            self.decoder.conceal(next.map(|it| it.1), gap);
            self.invented += len;
        } else {
            self.concealer.invent(gap);
        }
        self.held += len;
    }

    /// Takes one repetition of the waveform out of what comes next.
    fn shorten(&mut self, now: Now) {
        let rate = self.codec.rate();
        while self.held < 2 * rate.frame_len() && self.buffer.has_next() {
            if self.pop(0, now) != Next::Decoded {
                break;
            }
        }
        if let Some(held) = self.samples.get_mut(..self.held) {
            let left = waveform::shorten(held, rate.hz());
            self.shortened += u64::from(left < self.held);
            self.held = left;
        }
    }

    fn pop(&mut self, wanted: usize, now: Now) -> Next {
        // A codec that conceals knows most about whole packets.
        let wanted = if self.conceals() && wanted > 0 { self.codec.rate().frame_len() } else { wanted };
        let (held, codec) = (self.codec.units_of(self.held), self.codec);
        // Rounded up, so that what is wanted is never nothing.
        let units = codec.units_of(wanted) + u32::from(codec.samples_of(codec.units_of(wanted)) < wanted);
        match self.buffer.pop(units, held, self.quiet, now) {
            Popped::Missing(0) | Popped::Nothing => Next::Nothing,
            Popped::Missing(missing) => Next::Missing(codec.samples_of(missing)),
            Popped::Packet { coding: Coding::ComfortNoise, payload, .. } => {
                let Some(silence) = Silence::parse(payload) else {
                    return Next::Decoded;
                };
                match &mut self.noise {
                    Some(noise) => noise.update(silence),
                    None => self.noise = Some(Box::new(NoiseGenerator::new(silence))),
                }
                Next::Decoded
            }
            Popped::Packet { coding: Coding::Audio(codec), payload, skip } => {
                let len = self.held + codec.samples_of(codec.duration(payload));
                if len > self.samples.len() {
                    let len = len.min(room_for(codec)).max(self.samples.len());
                    self.samples.resize(len, 0);
                }
                let Some(free) = self.samples.get_mut(self.held..) else {
                    return Next::Nothing;
                };
                if self.decoder.codec() != codec {
                    self.decoder = Decoder::new(codec);
                }
                let len = self.decoder.decode(payload, free);
                let skip = codec.samples_of(skip).min(len);
                free.copy_within(skip..len, 0);
                let decoded = free.get_mut(..len - skip).unwrap_or(&mut []);
                self.concealer.hear(decoded);
                self.held += decoded.len();
                self.noise = None;
                self.invented = 0;
                self.observe_loss(false);
                Next::Decoded
            }
        }
    }

    /// Cuts the first frame off what is held; silence stands for what it lacks.
    fn take_frame(&mut self) -> Frame {
        let held = self.samples.get(..self.held).unwrap_or(&[]);
        let frame = Frame::from_samples(self.codec.rate(), held);
        let len = held.len().min(frame.samples().len());
        self.samples.copy_within(len..self.held, 0);
        self.held -= len;
        frame
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Decoded,
    Missing(usize),
    Nothing,
}

/// Every packet lost.
const LOSS_ONE: u32 = 65_536;
/// Packets over which losses are averaged.
const LOSS_WINDOW: u32 = 128;

/// A second.
const FRAMES_PER_DELAY: u8 = 50;

/// Room for so many frames is there from the beginning.
const FRAMES: usize = 4;

/// The longest packet after almost four frames, in samples.
fn room_for(codec: AudioCodec) -> usize {
    let frames = usize::try_from(RTP_PACKET_AUDIO_MS_MAX / Frame::MS).unwrap_or(0) + FRAMES;
    codec.rate().frame_len() * frames
}
