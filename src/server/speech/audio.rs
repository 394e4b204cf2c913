//! Streams and pieces of audio at one of the two sample rates, made of messages of any length.

use crate::codec::{Frame, Resampler, SampleRate};

/// A stream of samples as the recogniser wants it: 16 kHz, whatever the length of what comes in. Up to 20 ms wait for
/// the rest of their frame.
#[derive(Debug)]
pub(super) struct Upsampled {
    rate: SampleRate,
    resampler: Resampler,
    waiting: Vec<i16>,
}

impl Upsampled {
    /// The beginning of a stream at `rate`.
    pub(super) fn new(rate: SampleRate) -> Self {
        Self { rate, resampler: Resampler::new(rate, SampleRate::Hz16000), waiting: vec![] }
    }

    /// The next samples, converted.
    pub(super) fn push(&mut self, samples: &[i16]) -> Vec<i16> {
        if self.rate == SampleRate::Hz16000 {
            return samples.to_vec();
        }
        self.waiting.extend_from_slice(samples);
        let len = self.rate.frame_len();
        let whole = self.waiting.len() / len * len;
        let frames: Vec<i16> = self.waiting.drain(..whole).collect();
        let convert = |it: &[i16]| self.resampler.process(&Frame::from_samples(self.rate, it)).samples().to_vec();
        frames.chunks(len).flat_map(convert).collect()
    }
}

/// All of `samples` at another rate, without the resampler's delay.
pub fn converted(samples: &[i16], from: SampleRate, to: SampleRate) -> Vec<i16> {
    if from == to {
        return samples.to_vec();
    }
    let mut resampler = Resampler::new(from, to);
    let silence = [0; 320];
    let mut converted = vec![];
    for frame in samples.chunks(from.frame_len()).chain([silence.get(..from.frame_len()).unwrap_or(&silence)]) {
        converted.extend_from_slice(resampler.process(&Frame::from_samples(from, frame)).samples());
    }
    let (from, to) = (from.frame_len(), to.frame_len());
    let (delay, len) = (to * RESAMPLER_DELAY_MS / 20, samples.len() * to / from);
    converted.drain(..delay.min(converted.len()));
    converted.truncate(len);
    converted
}

/// The rate of so many hertz.
pub(super) fn rate_of(hz: u32) -> Option<SampleRate> {
    [SampleRate::Hz8000, SampleRate::Hz16000].into_iter().find(|it| it.hz() == hz)
}

/// Between 8 and 16 kHz.
const RESAMPLER_DELAY_MS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_keeps_its_length_and_its_place() {
        // A burst in the middle of silence: its centre must not move.
        let burst = |rate: SampleRate| -> Vec<i16> {
            let len = rate.frame_len() * 5 + 7;
            (0..len).map(|it| if (len / 2 - 20..len / 2 + 20).contains(&it) { 8_000 } else { 0 }).collect()
        };
        for (from, to) in [(SampleRate::Hz16000, SampleRate::Hz8000), (SampleRate::Hz8000, SampleRate::Hz16000)] {
            let samples = burst(from);
            let out = converted(&samples, from, to);
            assert_eq!(out.len(), samples.len() * to.frame_len() / from.frame_len());
            let energy: f64 = out.iter().map(|it| f64::from(*it).powi(2)).sum();
            let moment: f64 = out.iter().enumerate().map(|(at, it)| at as f64 * f64::from(*it).powi(2)).sum();
            let centre_ms = moment / energy * 1_000.0 / f64::from(to.hz());
            let expected_ms = (samples.len() / 2) as f64 * 1_000.0 / f64::from(from.hz());
            assert!((centre_ms - expected_ms).abs() < 0.5, "{centre_ms} {expected_ms}");
        }
    }

    #[test]
    fn a_stream_may_come_in_any_pieces() {
        let samples: Vec<i16> = (0..1_600_i16).map(|it| it % 50 * 100).collect();
        let whole = Upsampled::new(SampleRate::Hz8000).push(&samples);
        assert_eq!(whole.len(), 3_200);
        for size in [1, 7, 160, 1_000] {
            let mut stream = Upsampled::new(SampleRate::Hz8000);
            let pieces: Vec<i16> = samples.chunks(size).flat_map(|it| stream.push(it)).collect();
            assert_eq!(pieces, whole, "{size}");
        }
    }
}
