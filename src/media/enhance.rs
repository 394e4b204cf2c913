//! [`Enhancer`]: the caller's audio made better before anything listens to it. Noise is suppressed, what comes back of the
//! agent's own voice is cancelled, and quiet callers are made louder, each only if asked for.

use std::collections::VecDeque;

use sonora::config::{AdaptiveDigital, EchoCanceller, GainController2, NoiseSuppression, NoiseSuppressionLevel};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::playout::{Played, PlayoutFrame};
use crate::codec::{Frame, SampleRate};
use crate::limits::PLAYOUT_FRAMES_MAX;

/// What is done to the audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enhancements {
    /// Steady noise is taken out.
    pub noise_suppression: bool,
    /// What is played to the caller is taken out of what comes back.
    pub echo_cancellation: bool,
    /// Quiet callers are made louder.
    pub gain_control: bool,
}

/// Enhances the audio of one leg. Allocates when made and when the rate of the leg changes.
pub struct Enhancer {
    what: Enhancements,
    rate: SampleRate,
    processing: Box<AudioProcessing>,
    /// Handed to the leg and not yet sent, as far as is known.
    queued: VecDeque<PlayoutFrame>,
}

impl Enhancements {
    /// Whether there is anything to do.
    pub const fn any(self) -> bool {
        self.noise_suppression || self.echo_cancellation || self.gain_control
    }
}

impl Enhancer {
    /// At the beginning of a leg that begins at `rate`.
    pub fn new(what: Enhancements, rate: SampleRate) -> Self {
        Self { what, rate, processing: processing(what, rate), queued: VecDeque::new() }
    }

    /// The leg is to play this, after what it has been told before.
    pub fn play(&mut self, frame: &PlayoutFrame) {
        if self.what.echo_cancellation && self.queued.len() < PLAYOUT_FRAMES_MAX {
            self.queued.push_back(frame.clone());
        }
    }

    /// The leg is not to play what it has been told and has not sent.
    pub fn clear(&mut self) {
        self.queued.clear();
    }

    /// 20 ms have passed, in which `played` was sent and `heard` came: that, enhanced.
    pub fn tick(&mut self, played: Option<Played>, heard: Option<Frame>) -> Option<Frame> {
        if let Some(rate) = heard.as_ref().map(Frame::rate).filter(|it| *it != self.rate) {
            self.rate = rate;
            self.processing = processing(self.what, rate);
        }
        if self.what.echo_cancellation {
            self.render(played);
        }
        let mut heard = heard?;
        let len = heard.samples().len() / 2;
        let before = heard;
        for (from, to) in before.samples().chunks(len).zip(heard.samples_mut().chunks_mut(len)) {
            if self.processing.process_capture_i16(from, to).is_err() {
                return Some(before);
            }
        }
        Some(heard)
    }

    /// Shows the canceller what the caller's side is playing now.
    fn render(&mut self, played: Option<Played>) {
        let mut frame = Frame::silence(self.rate);
        if let Some(played) = played {
            // What belongs to an utterance before this one has been cleared.
            while self.queued.front().is_some_and(|it| it.utterance != played.utterance) {
                self.queued.pop_front();
            }
            frame = self.queued.pop_front().map_or(frame, |it| it.frame);
        }
        let config = StreamConfig::new(frame.rate().hz(), 1);
        let mut unused = Frame::silence(frame.rate());
        let len = frame.samples().len() / 2;
        for (from, to) in frame.samples().chunks(len).zip(unused.samples_mut().chunks_mut(len)) {
            // The rate is one of ours, all of which are supported.
            self.processing.process_render_i16_with_config(from, &config, &config, to).unwrap_or(());
        }
    }
}

impl std::fmt::Debug for Enhancer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enhancer({:?})", self.what)
    }
}

fn processing(what: Enhancements, rate: SampleRate) -> Box<AudioProcessing> {
    let noise = NoiseSuppression { level: NoiseSuppressionLevel::High, ..NoiseSuppression::default() };
    let gain = GainController2 { adaptive_digital: Some(AdaptiveDigital::default()), ..GainController2::default() };
    let config = Config {
        noise_suppression: what.noise_suppression.then_some(noise),
        echo_canceller: what.echo_cancellation.then(EchoCanceller::default),
        gain_controller2: what.gain_control.then_some(gain),
        ..Config::default()
    };
    let stream = StreamConfig::new(rate.hz(), 1);
    Box::new(AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build())
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn noise_goes_and_voice_stays() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            let what = Enhancements { noise_suppression: true, ..Enhancements::default() };
            let mut enhancer = Enhancer::new(what, rate);
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            let (mut before, mut after, mut voiced) = (0.0, 0.0, 0.0);
            for index in 0..400 {
                let noise: Vec<i16> = (0..rate.frame_len()).map(|_| rng.random_range(-400..=400)).collect();
                let mut frame = Frame::from_samples(rate, &noise);
                let is_voice = index >= 300;
                if is_voice {
                    for (at, sample) in frame.samples_mut().iter_mut().enumerate() {
                        *sample = sample.saturating_add(voice(index, at, rate));
                    }
                }
                let got = enhancer.tick(None, Some(frame)).unwrap();
                if is_voice {
                    voiced += power(&got);
                } else if index >= 200 {
                    before += power(&frame);
                    after += power(&got);
                }
            }
            assert!(after < before / 10.0, "{rate:?}: noise {before:.0} to {after:.0}");
            assert!(voiced > 20.0 * after, "{rate:?}: voice {voiced:.0} over noise {after:.0}");
        }
    }

    #[test]
    fn the_agents_own_voice_does_not_come_back() {
        let rate = SampleRate::Hz8000;
        let what = Enhancements { echo_cancellation: true, ..Enhancements::default() };
        let mut enhancer = Enhancer::new(what, rate);
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let mut sent: VecDeque<Frame> = VecDeque::new();
        let (mut before, mut after) = (0.0, 0.0);
        for index in 0..500_u32 {
            let noise: Vec<i16> = (0..160).map(|_| rng.random_range(-8_000..=8_000)).collect();
            let frame = Frame::from_samples(rate, &noise);
            enhancer.play(&PlayoutFrame { utterance: 1, frame });
            sent.push_back(frame);
            // A round trip of 100 ms, and a quarter of the amplitude.
            let mut echo = if sent.len() > 5 { sent.pop_front().unwrap() } else { Frame::silence(rate) };
            echo.samples_mut().iter_mut().for_each(|it| *it /= 4);
            let played = Played { utterance: 1, position: (index + 1) * 160 };
            let got = enhancer.tick(Some(played), Some(echo)).unwrap();
            if index >= 300 {
                before += power(&echo);
                after += power(&got);
            }
        }
        assert!(after < before / 100.0, "{before:.0} to {after:.0}");
    }

    #[test]
    fn quiet_callers_get_louder_and_silence_is_taken() {
        let rate = SampleRate::Hz16000;
        let what = Enhancements { gain_control: true, noise_suppression: true, echo_cancellation: true };
        let mut enhancer = Enhancer::new(what, SampleRate::Hz8000);
        assert_eq!(enhancer.tick(None, None), None);
        let mut quiet = Frame::silence(rate);
        let (mut before, mut after) = (0.0, 0.0);
        for index in 0..500 {
            for (at, sample) in quiet.samples_mut().iter_mut().enumerate() {
                *sample = voice(index, at, rate) / 16;
            }
            let got = enhancer.tick(None, Some(quiet)).unwrap();
            assert_eq!(got.rate(), rate);
            if index > 400 {
                before += power(&quiet);
                after += power(&got);
            }
        }
        assert!(after > before, "{before:.0} to {after:.0}");
        enhancer.clear();
    }

    fn power(frame: &Frame) -> f64 {
        frame.samples().iter().map(|it| f64::from(*it).powi(2)).sum()
    }

    /// A voice that begins three times a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn voice(frame: usize, at: usize, rate: SampleRate) -> i16 {
        let seconds = (frame * rate.frame_len() + at) as f64 / f64::from(rate.hz());
        let phase = std::f64::consts::TAU * 150.0 * seconds;
        let loudness = (std::f64::consts::TAU * 3.0 * seconds).sin().max(0.0);
        let value = phase.sin() + 0.5 * (2.0 * phase).sin() + 0.4 * (7.0 * phase).sin();
        (5_000.0 * loudness * value) as i16
    }
}
