//! [`VoiceActivity`]: whether the caller speaks, decided for every 20 ms.
//!
//! The neural detector (`earshot`) hears 16 ms at 16 kHz, so frames are resampled and cut anew. It holds on to a voice
//! through short gaps and lets go quickly, so that the rules of onset, hysteresis and hangover are here:
//! speech begins after two voiced frames in a row, goes on through pauses of [`HANGOVER_MS`], and ends after them.

use serde::Deserialize;

use crate::codec::{Frame, Resampler, SampleRate};

/// What a caller does in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Speaks.
    Speech,
    /// Draws breath between two words.
    Pause,
    /// Says nothing.
    Silence,
}

/// How voice is told from everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VoiceActivityConfig {
    /// What decides.
    pub detector: Detector,
    /// How sure the neural detector must be that speech begins, in percent; to go on, it need be less so.
    pub threshold_percent: u8,
    /// Frames quieter than this are never speech: root mean square of 16-bit samples.
    pub level_min: u16,
}

/// What tells voice from noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A small neural network, good down to 10 dB above noise.
    Neural,
    /// Loudness above the noise of the line: a fraction of the cost, fooled by any sound.
    Energy,
}

impl Default for VoiceActivityConfig {
    fn default() -> Self {
        Self { detector: Detector::Neural, threshold_percent: 50, level_min: 60 }
    }
}

/// Speech begins this long before it is first reported.
pub const ONSET_MS: u64 = 40;
/// Pauses up to this long are part of the speech around them.
pub const HANGOVER_MS: u32 = 200;

/// Listens to one caller.
#[derive(Debug)]
pub struct VoiceActivity {
    config: VoiceActivityConfig,
    neural: Option<Box<Neural>>,
    line: LineNoise,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody speaks; so many voiced frames in a row may become speech.
    Quiet { voiced: u8 },
    /// Somebody speaks, or did so this long ago.
    Speaking { quiet_ms: u32 },
}

impl VoiceActivity {
    /// Listens from the beginning of a call.
    pub fn new(config: VoiceActivityConfig) -> Self {
        let neural = (config.detector == Detector::Neural).then(|| Box::new(Neural::new()));
        Self { config, neural, line: LineNoise::new(), state: State::Quiet { voiced: 0 } }
    }

    /// Takes the next 20 ms; `None` if nothing arrived.
    pub fn handle_frame(&mut self, frame: Option<&Frame>) -> Activity {
        let voiced = frame.is_some_and(|it| self.is_voiced(it));
        match &mut self.state {
            State::Quiet { voiced: count } => {
                *count = if voiced { *count + 1 } else { 0 };
                if *count < ONSET_FRAMES {
                    return Activity::Silence;
                }
                self.state = State::Speaking { quiet_ms: 0 };
                Activity::Speech
            }
            State::Speaking { quiet_ms } => {
                if voiced {
                    *quiet_ms = 0;
                    return Activity::Speech;
                }
                *quiet_ms += Frame::MS;
                if *quiet_ms <= HANGOVER_MS {
                    return Activity::Pause;
                }
                self.state = State::Quiet { voiced: 0 };
                Activity::Silence
            }
        }
    }

    fn is_voiced(&mut self, frame: &Frame) -> bool {
        let level = level(frame);
        let noise = self.line.handle_level(level);
        let loud = level >= f32::from(self.config.level_min);
        let speaking = matches!(self.state, State::Speaking { .. });
        match &mut self.neural {
            // It hears every frame, quiet ones too: its picture of the line must have no gaps.
            Some(neural) => {
                let threshold = f32::from(self.config.threshold_percent.min(100)) / 100.0;
                let threshold = if speaking { threshold * HYSTERESIS } else { threshold };
                neural.score(frame) >= threshold && loud && level > noise * ABOVE_NOISE_NEURAL
            }
            None => loud && level > noise * if speaking { ABOVE_NOISE_TO_GO_ON } else { ABOVE_NOISE },
        }
    }
}

/// The level of the line when nobody speaks: the quietest frame of the last one to two windows. Speech has gaps, so its
/// quietest frame is the line; a steady noise has none, so it is the noise itself.
#[derive(Debug)]
struct LineNoise {
    before: f32,
    quietest: f32,
    frames: u16,
}

impl LineNoise {
    fn new() -> Self {
        Self { before: NOISE_LEVEL_INITIAL, quietest: f32::MAX, frames: 0 }
    }

    fn handle_level(&mut self, level: f32) -> f32 {
        self.quietest = self.quietest.min(level);
        let noise = self.before.min(self.quietest);
        self.frames += 1;
        if self.frames == NOISE_WINDOW_FRAMES {
            *self = Self { before: self.quietest, quietest: f32::MAX, frames: 0 };
        }
        noise
    }
}

/// The neural detector with what it needs to hear frames of any rate.
struct Neural {
    detector: earshot::Detector,
    to_wide: Resampler,
    /// Samples of the beginning of its next window.
    window: [i16; WINDOW],
    filled: usize,
    score: f32,
}

impl Neural {
    fn new() -> Self {
        Self {
            detector: earshot::Detector::default(),
            to_wide: Resampler::new(SampleRate::Hz8000, SampleRate::Hz16000),
            window: [0; WINDOW],
            filled: 0,
            score: 0.0,
        }
    }

    /// The highest score of the windows that this frame completes; the last one's if it completes none.
    fn score(&mut self, frame: &Frame) -> f32 {
        let wide = match frame.rate() {
            SampleRate::Hz8000 => self.to_wide.process(frame),
            SampleRate::Hz16000 => *frame,
        };
        let mut highest: Option<f32> = None;
        for sample in wide.samples() {
            if let Some(place) = self.window.get_mut(self.filled) {
                *place = *sample;
            }
            self.filled += 1;
            if self.filled == WINDOW {
                self.filled = 0;
                self.score = self.detector.predict_i16(&self.window);
                highest = Some(highest.map_or(self.score, |it| it.max(self.score)));
            }
        }
        highest.unwrap_or(self.score)
    }
}

impl std::fmt::Debug for Neural {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Neural({})", self.score)
    }
}

/// Root mean square.
fn level(frame: &Frame) -> f32 {
    let samples = frame.samples();
    let energy: f32 = samples.iter().map(|it| f32::from(*it).powi(2)).sum();
    let count = u16::try_from(samples.len()).map_or(1.0, f32::from);
    (energy / count).sqrt()
}

/// Samples that the neural detector takes at a time: 16 ms at 16 kHz.
const WINDOW: usize = 256;
const ONSET_FRAMES: u8 = 2;
/// How much of the threshold is enough to go on.
const HYSTERESIS: f32 = 0.7;
/// How many times louder than the line speech is, where only loudness decides.
const ABOVE_NOISE: f32 = 3.0;
const ABOVE_NOISE_TO_GO_ON: f32 = 2.0;
/// The neural detector takes some steady noises for voices; a voice stands out of them by this much.
const ABOVE_NOISE_NEURAL: f32 = 1.4;
const NOISE_LEVEL_INITIAL: f32 = 100.0;
const NOISE_WINDOW_FRAMES: u16 = 75;

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    /// "Hello, what are your opening hours", 2.7 s, spoken by flite's voice rms, 8 kHz µ-law.
    const SPEECH: &[u8] = include_bytes!("../../tests/data/opening-hours.ulaw");

    /// One character per 100 ms: what the detector says most of the time.
    fn hear(detector: Detector, frames: impl Iterator<Item = Option<Frame>>) -> String {
        let mut activity = VoiceActivity::new(VoiceActivityConfig { detector, ..VoiceActivityConfig::default() });
        let heard: Vec<_> = frames.map(|it| activity.handle_frame(it.as_ref())).collect();
        let letter = |it: &[Activity]| match it.iter().filter(|it| **it != Activity::Silence).count() {
            0..=2 => '.',
            _ => '#',
        };
        heard.chunks(5).map(letter).collect()
    }

    /// Half a second of the line's noise, the sentence, a second of noise.
    fn sentence(noise_level: i16) -> impl Iterator<Item = Option<Frame>> {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut speech = vec![0; SPEECH.len()];
        crate::codec::g711::decode_ulaw(SPEECH, &mut speech);
        let samples = [vec![0; 4_000], speech, vec![0; 8_000]].concat();
        let frames: Vec<_> = samples.chunks(160).map(|it| Frame::from_samples(SampleRate::Hz8000, it)).collect();
        frames.into_iter().map(move |mut frame| {
            for sample in frame.samples_mut() {
                let noise = i16::try_from(rng.next_u32() % 2_001).unwrap() - 1_000;
                *sample =
                    sample.saturating_add(i16::try_from(i32::from(noise) * i32::from(noise_level) / 577).unwrap());
            }
            Some(frame)
        })
    }

    #[test]
    fn a_sentence_is_speech_from_its_first_word_to_its_last() {
        let expected = ".......#########################...........";
        assert_eq!(hear(Detector::Neural, sentence(0)), expected, "neural");
        assert_eq!(hear(Detector::Energy, sentence(0)), expected, "energy");
    }

    #[test]
    fn noise_of_the_line_is_not_speech() {
        let expected = ".......#########################...........";
        for level in [30, 100] {
            assert_eq!(hear(Detector::Neural, sentence(level)), expected, "{level}");
            assert_eq!(hear(Detector::Energy, sentence(level)), expected, "{level}");
        }
        // 20 dB below the voice.
        assert_eq!(hear(Detector::Neural, sentence(300)), expected);
    }

    #[test]
    fn a_loud_steady_noise_is_learned() {
        for detector in [Detector::Neural, Detector::Energy] {
            let noise: Vec<_> = sentence(1_000).take(20).collect();
            let heard = hear(detector, noise.into_iter().cycle().take(250));
            assert!(heard.ends_with(&".".repeat(30)), "{detector:?} {heard}");
        }
    }

    #[test]
    fn nothing_is_silence_and_the_end_of_speech_is_a_pause_first() {
        let mut activity = VoiceActivity::new(VoiceActivityConfig { detector: Detector::Energy, ..Default::default() });
        let loud = Frame::from_samples(SampleRate::Hz8000, &[8_000; 160]);
        let heard: Vec<_> =
            [Some(&loud); 3].into_iter().chain([None; 12]).map(|it| activity.handle_frame(it)).collect();
        let mut expected = vec![Activity::Silence, Activity::Speech, Activity::Speech];
        expected.extend([Activity::Pause; 10]);
        expected.extend([Activity::Silence; 2]);
        assert_eq!(heard, expected);
    }
}
