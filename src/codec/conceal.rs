//! Concealment of lost audio: the last pitch period is repeated, fades out within 60 ms, and the next good audio is
//! blended in.
//!
//! It follows the idea of G.711 Appendix I without its look-ahead: no delay is added, and the joint between the audio
//! heard and its repetition is evened out from the side of the repetition.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "signal processing on our own buffers, whose lengths are constants"
)]

use super::SampleRate;
use super::waveform::{best_lag, crossfade};

/// Follows a stream of audio and invents what is missing.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// Samples in a millisecond.
    ms: usize,
    /// Its last 40 ms are the last that were given out, the latest last.
    history: [i16; HISTORY_LEN],
    loss: Option<Loss>,
}

/// A loss that is being concealed.
#[derive(Clone, Debug)]
struct Loss {
    /// One pitch period; its end runs smoothly into its beginning.
    period: [i16; HISTORY_LEN / 2],
    len: usize,
    /// By how much the period's beginning misses the audio before the loss.
    step: f32,
    /// Samples invented so far.
    invented: usize,
}

impl Concealer {
    /// At the beginning of a stream.
    pub const fn new(rate: SampleRate) -> Self {
        let ms = match rate {
            SampleRate::Hz8000 => 8,
            SampleRate::Hz16000 => 16,
        };
        Self { ms, history: [0; HISTORY_LEN], loss: None }
    }

    /// Takes the next good audio; after a loss, its first 5 ms are blended with what was invented.
    pub fn hear(&mut self, samples: &mut [i16]) {
        if let Some(mut loss) = self.loss.take() {
            let len = samples.len().min(5 * self.ms);
            let ms = self.ms;
            crossfade(std::iter::from_fn(|| Some(loss.next(ms))), &mut samples[..len]);
        }
        self.remember(samples);
    }

    /// Fills `samples` in place of audio that did not come.
    pub fn invent(&mut self, samples: &mut [i16]) {
        let mut loss = self.loss.take().unwrap_or_else(|| self.begin_loss());
        for sample in samples.iter_mut() {
            *sample = loss.next(self.ms);
        }
        self.loss = Some(loss);
        self.remember(samples);
    }

    /// Whether what would be invented now is silence: the fade is over.
    pub fn is_silent(&self) -> bool {
        self.loss.as_ref().is_some_and(|it| it.invented >= FADE_END_MS * self.ms)
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.history = [0; HISTORY_LEN];
        self.loss = None;
    }

    fn begin_loss(&self) -> Loss {
        let history = &self.history[HISTORY_LEN - 40 * self.ms..];
        let mut reversed = [0; HISTORY_LEN];
        for (to, from) in reversed.iter_mut().zip(history.iter().rev()) {
            *to = *from;
        }
        let len = best_lag(&reversed[..40 * self.ms], 20 * self.ms, 5 * self.ms, 20 * self.ms);
        let mut period = [0; HISTORY_LEN / 2];
        let end = history.len();
        period[..len].copy_from_slice(&history[end - len..]);
        // What came before the period's beginning follows its end: blend its last quarter into that.
        let quarter = len / 4;
        let mut tail = [0; HISTORY_LEN / 8];
        let tail = &mut tail[..quarter];
        tail.copy_from_slice(&history[end - len - quarter..end - len]);
        crossfade(period[len - quarter..len].iter().copied(), tail);
        period[len - quarter..len].copy_from_slice(tail);
        let step = f32::from(history[end - 1]) - f32::from(history[end - 1 - len]);
        Loss { period, len, step, invented: 0 }
    }

    fn remember(&mut self, samples: &[i16]) {
        let history = &mut self.history[HISTORY_LEN - 40 * self.ms..];
        let samples = &samples[samples.len().saturating_sub(history.len())..];
        let kept = history.len() - samples.len();
        history.copy_within(samples.len().., 0);
        history[kept..].copy_from_slice(samples);
    }
}

impl Loss {
    fn next(&mut self, ms: usize) -> i16 {
        let at = self.invented;
        self.invented = at.saturating_add(1);
        if at >= FADE_END_MS * ms {
            return 0;
        }
        let smooth = 2 * ms;
        let step = if at < smooth { self.step * (smooth - at) as f32 / smooth as f32 } else { 0.0 };
        let fade = at.saturating_sub(FADE_START_MS * ms) as f32 / ((FADE_END_MS - FADE_START_MS) * ms) as f32;
        ((f32::from(self.period[at % self.len]) + step) * (1.0 - fade)).round() as i16
    }
}

/// 40 ms at 16 kHz: the longest period searched for, twice.
const HISTORY_LEN: usize = 640;
const FADE_START_MS: usize = 10;
const FADE_END_MS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voiced_sound_goes_on_through_a_lost_frame() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            let len = rate.frame_len();
            let mut concealer = Concealer::new(rate);
            let mut heard = vec![];
            for index in 0..10 {
                let mut frame: Vec<i16> = (index * len..(index + 1) * len).map(|at| voice(at, rate)).collect();
                if index == 5 {
                    concealer.invent(&mut frame);
                } else {
                    concealer.hear(&mut frame);
                }
                heard.extend(frame);
            }
            let lost = 5 * len..6 * len;
            let (mut error, mut signal) = (0.0, 0.0);
            for at in lost {
                error += (f32::from(heard[at]) - f32::from(voice(at, rate))).powi(2);
                signal += f32::from(voice(at, rate)).powi(2);
            }
            assert!(error < 0.1 * signal, "{rate:?}: {}", error / signal);
            let steepest = |samples: &[i16]| samples.windows(2).map(|it| it[0].abs_diff(it[1])).max().unwrap_or(0);
            let original: Vec<i16> = (0..10 * len).map(|at| voice(at, rate)).collect();
            assert!(steepest(&heard) <= steepest(&original) + steepest(&original) / 3, "a click");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_and_audio_comes_back() {
        let rate = SampleRate::Hz8000;
        let mut concealer = Concealer::new(rate);
        let mut frame: Vec<i16> = (0..160).map(|at| voice(at, rate)).collect();
        concealer.hear(&mut frame);
        let mut loudest = vec![];
        for index in 0..4 {
            assert_eq!(concealer.is_silent(), index == 3);
            concealer.invent(&mut frame);
            loudest.push(frame.iter().map(|it| it.unsigned_abs()).max().unwrap_or(0));
        }
        assert!(concealer.is_silent());
        assert!(loudest.is_sorted_by(|a, b| a > b) && loudest[3] == 0, "{loudest:?}");
        let mut frame = vec![1_000; 160];
        concealer.hear(&mut frame);
        assert!(frame[0] < 50 && frame[39] > 950 && frame[40] == 1_000);
        assert!(!concealer.is_silent());
    }

    #[test]
    fn silence_and_pieces_of_any_length_are_taken() {
        let mut concealer = Concealer::new(SampleRate::Hz8000);
        let mut piece = vec![0; 7];
        concealer.invent(&mut piece);
        concealer.hear(&mut []);
        concealer.hear(&mut [3]);
        let mut long = vec![i16::MIN; 2_000];
        concealer.hear(&mut long);
        concealer.invent(&mut long);
        concealer.hear(&mut long);
        concealer.reset();
        concealer.invent(&mut piece);
        assert_eq!(piece, [0; 7]);
    }

    /// 110 Hz and three harmonics.
    fn voice(at: usize, rate: SampleRate) -> i16 {
        let phase = std::f32::consts::TAU * 110.0 * at as f32 / rate.hz() as f32;
        let value =
            phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (3.0 * phase + 1.0).sin() + 0.2 * (5.0 * phase).sin();
        (4_000.0 * value) as i16
    }
}
