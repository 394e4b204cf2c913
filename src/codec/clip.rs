//! [`Clip`]: audio that is there as a whole.

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
        // The rates that do not divide into pieces of 10 ms are brought to one that does; what the straight lines between
        // the samples add is above the band that is left.
        let (doubled, hz) = match hz {
            11_025 => (Some(stretched(samples, 4)), 44_100),
            12_000 => (Some(stretched(samples, 2)), 24_000),
            22_050 => (Some(stretched(samples, 2)), 44_100),
            other => (None, other),
        };
        let samples = doubled.as_deref().unwrap_or(samples);
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

/// `factor` times as many samples, on straight lines between those that are there.
fn stretched(samples: &[i16], factor: i32) -> Vec<i16> {
    let next = samples.iter().skip(1).chain(samples.last());
    let pairs = samples.iter().zip(next);
    let between = |(from, to): (&i16, &i16), step: i32| {
        let (from, to) = (i32::from(*from), i32::from(*to));
        i16::try_from(from + (to - from) * step / factor).unwrap_or(0)
    };
    pairs.flat_map(|pair| (0..factor).map(move |step| between(pair, step))).collect()
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
