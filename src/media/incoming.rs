//! The peer's audio, from packets to one frame a tick: jitter buffer, decoder, concealment, and a few milliseconds of
//! decoded audio between packets of any length and frames of 20 ms.

use super::jitter_buffer::{AudioPacket, JitterBuffer, Popped};
use super::levels::Level;
use crate::codec::conceal::Concealer;
use crate::codec::{AudioCodec, Frame, SampleRate, waveform};
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

#[derive(Debug)]
pub(super) struct Incoming {
    buffer: JitterBuffer,
    concealer: Concealer,
    /// Decoded and not yet heard: the first `held` samples.
    samples: Box<[i16; SAMPLES_MAX]>,
    held: usize,
    quiet: bool,
    concealed_frames: u64,
    shortened: u64,
}

impl Incoming {
    pub(super) fn new(now: Now) -> Self {
        Self {
            buffer: JitterBuffer::new(RATE.hz(), now),
            concealer: Concealer::new(RATE),
            samples: Box::new([0; SAMPLES_MAX]),
            held: 0,
            quiet: true,
            concealed_frames: 0,
            shortened: 0,
        }
    }

    pub(super) fn push(&mut self, packet: AudioPacket<'_>, now: Now) {
        self.buffer.push(packet, now);
    }

    pub(super) fn pass_over(&mut self, sequence: u16) {
        self.buffer.pass_over(sequence);
    }

    pub(super) const fn splice(&mut self) {
        self.buffer.splice();
    }

    /// The next 20 ms. While a digit is held down (`in_event`) its sender sends no audio, and none is invented.
    pub(super) fn tick(&mut self, in_event: bool, now: Now) -> Heard {
        let frame_len = RATE.frame_len();
        if self.buffer.wants_less(units(self.held), self.quiet, now) {
            self.shorten(now);
        }
        let mut invented = 0;
        while self.held < frame_len {
            let wanted = frame_len - self.held;
            let missing = match self.pop(wanted, now) {
                Next::Decoded => continue,
                Next::Nothing => break,
                Next::Missing(missing) => missing.min(wanted),
            };
            let Some(gap) = self.samples.get_mut(self.held..self.held + missing) else {
                break;
            };
            if in_event {
                gap.fill(0);
            } else {
                self.concealer.invent(gap);
            }
            self.held += missing;
            invented += missing;
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
        if in_event || self.concealer.is_silent() {
            return Heard::Nothing;
        }
        self.concealed_frames += 1;
        Heard::Concealed(frame)
    }

    pub(super) const fn buffer(&self) -> &JitterBuffer {
        &self.buffer
    }

    pub(super) const fn held(&self) -> u32 {
        units(self.held)
    }

    pub(super) const fn concealed_frames(&self) -> u64 {
        self.concealed_frames
    }

    pub(super) const fn shortened(&self) -> u64 {
        self.shortened
    }

    /// Takes one repetition of the waveform out of what comes next.
    fn shorten(&mut self, now: Now) {
        while self.held < 2 * RATE.frame_len() && self.buffer.has_next() {
            if self.pop(0, now) != Next::Decoded {
                break;
            }
        }
        if let Some(held) = self.samples.get_mut(..self.held) {
            let left = waveform::shorten(held, RATE.hz());
            self.shortened += u64::from(left < self.held);
            self.held = left;
        }
    }

    fn pop(&mut self, wanted: usize, now: Now) -> Next {
        match self.buffer.pop(units(wanted), units(self.held), self.quiet, now) {
            Popped::Missing(0) | Popped::Nothing => Next::Nothing,
            Popped::Missing(missing) => Next::Missing(usize::try_from(missing).unwrap_or(0)),
            Popped::Packet { codec, payload, skip } => {
                let Some(free) = self.samples.get_mut(self.held..) else {
                    return Next::Nothing;
                };
                let decoded = decode(codec, payload, skip, free);
                self.concealer.hear(decoded);
                self.held += decoded.len();
                Next::Decoded
            }
        }
    }

    /// Cuts the first frame off what is held; silence stands for what it lacks.
    fn take_frame(&mut self) -> Frame {
        let held = self.samples.get(..self.held).unwrap_or(&[]);
        let frame = Frame::from_samples(RATE, held);
        let len = held.len().min(RATE.frame_len());
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

/// Decodes to the beginning of `free`, leaving out the first `skip` units.
fn decode<'a>(codec: AudioCodec, payload: &[u8], skip: u32, free: &'a mut [i16]) -> &'a mut [i16] {
    let len = codec.decode(payload, free);
    let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(len);
    free.copy_within(skip..len, 0);
    free.get_mut(..len - skip).unwrap_or(&mut [])
}

/// Samples as units of the timestamp: the same at 8 kHz, where the bound on what is held keeps them small.
#[expect(clippy::cast_possible_truncation, reason = "at most SAMPLES_MAX")]
const fn units(samples: usize) -> u32 {
    samples as u32
}

const RATE: SampleRate = SampleRate::Hz8000;
/// The longest packet after almost two frames.
const SAMPLES_MAX: usize = 1_600;
