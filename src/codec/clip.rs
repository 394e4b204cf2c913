//! [`Clip`]: audio that is there as a whole.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::{Converter, Frame, SampleRate};
use crate::limits::CLIP_SECONDS_MAX;

/// Audio that is there as a whole, at the rate of frames. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    rate: SampleRate,
    samples: Arc<[i16]>,
}

/// A clip that is there for as long as somebody else has it.
#[derive(Clone, Debug)]
pub struct WeakClip {
    rate: SampleRate,
    samples: Weak<[i16]>,
}

impl WeakClip {
    /// The clip, if it is still there.
    pub fn upgrade(&self) -> Option<Clip> {
        Some(Clip { rate: self.rate, samples: self.samples.upgrade()? })
    }
}

/// A rate of audio that no clip can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audio at {0} Hz cannot be played")]
pub struct ClipRate(pub u32);

impl Clip {
    /// Of samples at any rate from 8 to 48 kHz that files come in, as what is played at `rate`.
    ///
    /// # Errors
    ///
    /// [`ClipRate`].
    pub fn new(samples: &[i16], hz: u32, rate: SampleRate) -> Result<Self, ClipRate> {
        let len_max = usize::try_from(hz.saturating_mul(CLIP_SECONDS_MAX)).unwrap_or(usize::MAX);
        let samples = samples.get(..len_max).unwrap_or(samples);
        if hz == rate.hz() {
            return Ok(Self { rate, samples: samples.into() });
        }
        let (factor, hz) = stretch(hz);
        let stretched = (factor > 1).then(|| stretched(samples, factor));
        let samples = stretched.as_deref().unwrap_or(samples);
        let mut converter = Converter::new(hz, rate.hz()).map_err(|error| ClipRate(error.0))?;
        let pieces = samples.len().div_ceil(converter.input_len().max(1));
        let mut converted = Vec::with_capacity(pieces * converter.output_len());
        let mut piece = vec![0; converter.output_len()];
        for from in samples.chunks(converter.input_len()) {
            converter.process(from, &mut piece);
            converted.extend_from_slice(&piece);
        }
        Ok(Self { rate, samples: converted.into() })
    }

    /// The same audio, without keeping it.
    pub fn downgrade(&self) -> WeakClip {
        WeakClip { rate: self.rate, samples: Arc::downgrade(&self.samples) }
    }

    /// Its rate.
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Its samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// How long it is, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        u64::try_from(self.samples.len()).unwrap_or(u64::MAX) * 1_000 / u64::from(self.rate.hz())
    }

    /// Fills a frame with what comes at `from`, and with silence after the end.
    pub fn once(&self, from: usize) -> Frame {
        let mut frame = Frame::silence(self.rate);
        let rest = self.samples.get(from..).unwrap_or_default();
        frame.samples_mut().iter_mut().zip(rest).for_each(|(to, sample)| *to = *sample);
        frame
    }

    /// Fills a frame with what comes at `from`, going round at the end.
    pub fn round(&self, from: usize) -> Frame {
        let mut frame = Frame::silence(self.rate);
        let round = self.samples.iter().cycle().skip(from.checked_rem(self.samples.len()).unwrap_or(0));
        frame.samples_mut().iter_mut().zip(round).for_each(|(to, sample)| *to = *sample);
        frame
    }
}

/// Audio that comes bit by bit, at any rate that clips may have, as frames.
#[derive(Debug)]
pub struct FrameMaker {
    rate: SampleRate,
    factor: i32,
    /// The last sample, from which a straight line leads to the next.
    last: Option<i16>,
    /// `None` if it has the right rate as it comes.
    converter: Option<Converter>,
    /// What is too little to be converted yet.
    raw: VecDeque<i16>,
    made: VecDeque<i16>,
}

impl FrameMaker {
    /// From `hz` to `rate`.
    ///
    /// # Errors
    ///
    /// [`ClipRate`].
    pub fn new(hz: u32, rate: SampleRate) -> Result<Self, ClipRate> {
        let (factor, stretched) = stretch(hz);
        let converter = (hz != rate.hz()).then(|| Converter::new(stretched, rate.hz())).transpose();
        let converter = converter.or(Err(ClipRate(hz)))?;
        Ok(Self { rate, factor, last: None, converter, raw: VecDeque::new(), made: VecDeque::new() })
    }

    /// Takes what comes next.
    pub fn push(&mut self, samples: &[i16]) {
        let Some(converter) = &mut self.converter else {
            self.made.extend(samples);
            return;
        };
        for sample in samples {
            match self.last.replace(*sample).filter(|_| self.factor > 1) {
                Some(before) => self.raw.extend(line(before, *sample, self.factor)),
                None => self.raw.extend((self.factor == 1).then_some(sample)),
            }
        }
        while self.raw.len() >= converter.input_len() {
            let piece: Vec<i16> = self.raw.drain(..converter.input_len()).collect();
            let mut converted = vec![0; converter.output_len()];
            converter.process(&piece, &mut converted);
            self.made.extend(converted);
        }
    }

    /// The next 20 ms, once they are there.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mut frame = Frame::silence(self.rate);
        let len = frame.samples().len();
        if self.made.len() < len {
            return None;
        }
        frame.samples_mut().iter_mut().zip(self.made.drain(..len)).for_each(|(to, from)| *to = from);
        Some(frame)
    }
}

/// The rates that do not divide into pieces of 10 ms are brought to one that does; what the straight lines between the
/// samples add is above the band that is left. How many samples are made of one, and their rate.
const fn stretch(hz: u32) -> (i32, u32) {
    match hz {
        11_025 => (4, 44_100),
        12_000 => (2, 24_000),
        22_050 => (2, 44_100),
        other => (1, other),
    }
}

/// `factor` samples on the way from one to the next.
fn line(from: i16, to: i16, factor: i32) -> impl Iterator<Item = i16> {
    let (from, to) = (i32::from(from), i32::from(to));
    (0..factor).map(move |step| i16::try_from(from + (to - from) * step / factor).unwrap_or(0))
}

/// `factor` times as many samples, on straight lines between those that are there.
fn stretched(samples: &[i16], factor: i32) -> Vec<i16> {
    let next = samples.iter().skip(1).chain(samples.last());
    samples.iter().zip(next).flat_map(|(from, to)| line(*from, *to, factor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn files_of_every_usual_rate_keep_pitch_and_length() {
        for hz in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            let tone =
                |at: u32| (8_000.0 * (std::f64::consts::TAU * 500.0 * f64::from(at) / f64::from(hz)).sin()) as i16;
            let samples: Vec<i16> = (0..hz).map(tone).collect();
            let clip = Clip::new(&samples, hz, RATE).unwrap();
            assert!(clip.duration_ms().abs_diff(1_000) <= 10, "{hz}: {}", clip.duration_ms());
            let middle = &clip.samples()[800..7_200];
            let rising = middle.windows(2).filter(|it| it[0] < 0 && it[1] >= 0).count();
            assert!(rising.abs_diff(400) <= 1, "{hz}: {rising}");
            let loudness = middle.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>() / middle.len() as f64;
            assert!(((2.0 * loudness).sqrt() - 8_000.0).abs() < 300.0, "{hz}: {}", (2.0 * loudness).sqrt());
        }
    }

    #[test]
    fn what_comes_bit_by_bit_becomes_the_same_as_what_is_there_as_a_whole() {
        for hz in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
            let samples: Vec<i16> = (0..hz).map(|at| i16::try_from(at % 97 * 100).unwrap()).collect();
            let clip = Clip::new(&samples, hz, RATE).unwrap();
            let mut maker = FrameMaker::new(hz, RATE).unwrap();
            let mut made = vec![];
            for piece in samples.chunks(577) {
                maker.push(piece);
                while let Some(frame) = maker.next_frame() {
                    made.extend_from_slice(frame.samples());
                }
            }
            assert!(made.len() >= 7_840, "{hz}: {}", made.len());
            assert_eq!(made[..7_840], clip.samples()[..7_840], "{hz}");
        }
        assert!(FrameMaker::new(9_999, RATE).is_err());
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        assert_eq!(Clip::new(&[1], 9_999, RATE), Err(ClipRate(9_999)));
    }

    #[test]
    fn what_goes_round_has_no_gap() {
        let clip = Clip::new(&[1, 2, 3], 8_000, RATE).unwrap();
        let frame = clip.round(7);
        assert_eq!(&frame.samples()[..5], &[2, 3, 1, 2, 3]);
        assert_eq!(clip.once(1).samples()[..4], [2, 3, 0, 0]);
        let nothing = Clip::new(&[], 8_000, RATE).unwrap();
        assert_eq!(nothing.once(1), Frame::silence(RATE));
        assert_eq!(nothing.round(5), Frame::silence(RATE));
    }
}
