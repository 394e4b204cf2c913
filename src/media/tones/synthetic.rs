//! What the tests of detectors listen to: noise, and something with the pitch, the formants, the syllables and the pauses
//! of speech.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "signal processing of tests"
)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::codec::{Frame, SampleRate};

/// White noise, the same in every run.
pub(in crate::media) struct Noise(ChaCha12Rng);

impl Noise {
    pub(in crate::media) fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// The frame with noise of this root mean square.
    pub(in crate::media) fn add(&mut self, frame: &Frame, rms: f32) -> Frame {
        let mut noisy = *frame;
        for sample in noisy.samples_mut() {
            // Three uniform numbers are bell-shaped enough.
            let value: f32 = (0..3).map(|_| self.0.random_range(-1.0..1.0_f32)).sum();
            *sample = (f32::from(*sample) + value * rms) as i16;
        }
        noisy
    }
}

/// `ms` of speech, as long without a pause as a breath lasts. Louder than -25 dB of full scale, as callers are.
pub(in crate::media) fn speech(seed: u64, ms: u32, rate: SampleRate) -> Vec<Frame> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let hz = rate.hz() as f32;
    let base = rng.random_range(85.0..230.0_f32);
    let mut samples = vec![];
    let total = (ms * (rate.hz() / 1_000)) as usize;
    let mut phase = 0.0_f32;
    let mut filters = [Resonator::default(); 3];
    while samples.len() < total {
        if rng.random_bool(0.15) {
            let pause = rng.random_range(0.03..0.15_f32);
            samples.extend(std::iter::repeat_n(0.0, (pause * hz) as usize));
        }
        let len = (rng.random_range(0.1..0.28_f32) * hz) as usize;
        let formants = VOWELS[rng.random_range(0..VOWELS.len())];
        let (from, to) = (base * rng.random_range(0.8..1.25), base * rng.random_range(0.8..1.25));
        let fricative = rng.random_range(0.0..0.35_f32);
        for at in 0..len {
            let part = at as f32 / len as f32;
            let is_hiss = part < fricative * 0.6;
            phase += (from + (to - from) * part) / hz;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            let breath = rng.random_range(-1.0..1.0_f32);
            let source = if is_hiss { 0.12 * breath } else { pulse + 0.01 * breath };
            let envelope = (std::f32::consts::PI * part).sin().max(0.0).sqrt();
            let mut value = 0.0;
            for ((filter, formant), gain) in filters.iter_mut().zip(formants).zip([1.0, 0.7, 0.35]) {
                let formant = if is_hiss { formant * 1.6 } else { formant };
                value += gain * filter.run(source * envelope, formant, 50.0 + formant * 0.05, hz);
            }
            samples.push(value);
        }
    }
    samples.truncate(total);
    let power = samples.iter().map(|it| it * it).sum::<f32>() / samples.len().max(1) as f32;
    let gain = 2_500.0 / power.sqrt().max(1e-6);
    let samples: Vec<i16> = samples.iter().map(|it| (it * gain) as i16).collect();
    samples.chunks(rate.frame_len()).map(|it| Frame::from_samples(rate, it)).collect()
}

/// First formants of vowels, in hertz.
const VOWELS: [[f32; 3]; 7] = [
    [730.0, 1_090.0, 2_440.0],
    [270.0, 2_290.0, 3_010.0],
    [300.0, 870.0, 2_240.0],
    [530.0, 1_840.0, 2_480.0],
    [570.0, 840.0, 2_410.0],
    [660.0, 1_720.0, 2_410.0],
    [490.0, 1_350.0, 1_690.0],
];

/// Two poles.
#[derive(Clone, Copy, Default)]
struct Resonator {
    before: f32,
    last: f32,
}

impl Resonator {
    fn run(&mut self, input: f32, hz: f32, width: f32, rate: f32) -> f32 {
        let radius = (-std::f32::consts::PI * width / rate).exp();
        let angle = std::f32::consts::TAU * hz / rate;
        let next = input + 2.0 * radius * angle.cos() * self.last - radius * radius * self.before;
        self.before = self.last;
        self.last = next;
        next
    }
}
