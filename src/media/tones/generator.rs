//! [`ToneGenerator`]: plays pieces of up to two frequencies, once or over and over.
#![expect(clippy::cast_possible_truncation, reason = "amplitudes fit, and casts of floats saturate")]

use crate::codec::{Frame, SampleRate};
use crate::rtp::Digit;

/// Some time of one or two frequencies, or of silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// In hertz; zero for none.
    pub hz: [u16; 2],
    /// How long, in milliseconds.
    pub ms: u16,
}

impl Piece {
    /// Of one frequency.
    pub const fn tone(hz: u16, ms: u16) -> Self {
        Self { hz: [hz, 0], ms }
    }

    /// Of two.
    pub const fn pair(low: u16, high: u16, ms: u16) -> Self {
        Self { hz: [low, high], ms }
    }

    /// Of none.
    pub const fn silence(ms: u16) -> Self {
        Self { hz: [0, 0], ms }
    }

    /// Whether it is silence.
    pub const fn is_silence(&self) -> bool {
        matches!(self.hz, [0, 0])
    }
}

/// The special information tone: three rising tones before an announcement (ITU-T E.180 §3.7).
pub const SPECIAL_INFORMATION: &[Piece] =
    &[Piece::tone(950, 330), Piece::tone(1_400, 330), Piece::tone(1_800, 330), Piece::silence(1_000)];

/// What an answering machine says before it records.
pub const BEEP: &[Piece] = &[Piece::tone(1_000, 400)];

/// The tone of a fax machine that calls (ITU-T T.30 §4.1).
pub const FAX_CALLING: &[Piece] = &[Piece::tone(1_100, 500), Piece::silence(3_000)];

/// The tone of a fax machine that answers (ITU-T T.30 §4.1).
pub const FAX_ANSWERING: &[Piece] = &[Piece::tone(2_100, 3_000)];

/// Makes tones. What begins and ends has no click: it rises and falls within 2 ms.
#[derive(Clone, Debug)]
pub struct ToneGenerator {
    pieces: Vec<Piece>,
    repeats: bool,
    rate: SampleRate,
    /// Of each frequency.
    amplitude: f32,
    index: usize,
    /// Samples of the piece done.
    at: u32,
    phases: [f32; 2],
}

impl ToneGenerator {
    /// `level_db` is that of each frequency, against the loudest sine: -10 for a usual one. `repeats` makes it endless.
    pub fn new(pieces: &[Piece], repeats: bool, level_db: f32, rate: SampleRate) -> Self {
        let pieces: Vec<_> = pieces.iter().copied().filter(|it| it.ms > 0).collect();
        let amplitude = 32_000.0 * 10.0_f32.powf(level_db.min(-6.1) / 20.0);
        Self { pieces, repeats, rate, amplitude, index: 0, at: 0, phases: [0.0; 2] }
    }

    /// The tones of a digit (ITU-T Q.23), and as much silence after it as is usual.
    pub fn digit(digit: Digit, ms: u16, rate: SampleRate) -> Self {
        let (row, column) = super::dtmf::frequencies(digit);
        Self::new(&[Piece::pair(row, column, ms), Piece::silence(60)], false, -10.0, rate)
    }

    /// The next 20 ms; `None` at the end.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.pieces.get(self.index)?;
        let mut frame = Frame::silence(self.rate);
        for sample in frame.samples_mut() {
            *sample = self.next_sample().unwrap_or(0);
        }
        Some(frame)
    }

    fn next_sample(&mut self) -> Option<i16> {
        let piece = *self.pieces.get(self.index)?;
        let per_ms = self.rate.hz() / 1_000;
        let len = u32::from(piece.ms) * per_ms;
        let edge = 2 * per_ms;
        let distance = self.at.min(len - 1 - self.at).min(edge);
        let loudness = self.amplitude * f32::from(u16::try_from(distance).unwrap_or(u16::MAX)) / edge_f32(edge);
        let mut value = 0.0;
        for (phase, hz) in self.phases.iter_mut().zip(piece.hz).filter(|(_, hz)| *hz > 0) {
            value += loudness * (std::f32::consts::TAU * *phase).sin();
            *phase = (*phase + f32::from(hz) / edge_f32(self.rate.hz())).fract();
        }
        self.at += 1;
        if self.at >= len {
            self.at = 0;
            self.index += 1;
            if self.index == self.pieces.len() && self.repeats {
                self.index = 0;
            }
        }
        Some(value.round() as i16)
    }
}

/// Exact: at most 16,000.
fn edge_f32(value: u32) -> f32 {
    f32::from(u16::try_from(value).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::levels::Level;

    #[test]
    fn pieces_follow_one_another_and_end() {
        let pieces = [Piece::tone(1_000, 100), Piece::silence(50), Piece::pair(400, 450, 100)];
        let mut tone = ToneGenerator::new(&pieces, false, -20.0, SampleRate::Hz8000);
        let frames: Vec<_> = std::iter::from_fn(|| tone.next_frame()).collect();
        assert_eq!(frames.len(), 13);
        let levels: Vec<_> = frames.iter().map(|it| Level::of(it).rms).collect();
        assert!((2_100..2_400).contains(&levels[2]) && levels[5] == 0 && levels[6] == 0 && levels[9] > 2_000);
        let mut endless = ToneGenerator::new(&pieces, true, -20.0, SampleRate::Hz16000);
        assert!((0..1_000).all(|_| endless.next_frame().is_some()));
        assert_eq!(ToneGenerator::new(&[], true, 0.0, SampleRate::Hz8000).next_frame(), None);
        assert_eq!(ToneGenerator::new(&[Piece::silence(0)], true, 0.0, SampleRate::Hz8000).next_frame(), None);
    }
}
