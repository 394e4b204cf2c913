//! What one frame of 20 ms consists of: silence, one tone, tones of the network, or anything else.
#![expect(clippy::cast_precision_loss, reason = "of lengths of frames")]

use crate::codec::{Frame, SampleRate};
use crate::media::tones::goertzel::Goertzel;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Under -46 dB of full scale, or no louder than the noise of the line.
    Silence,
    /// Nearly all energy is around one frequency.
    Tone {
        /// In hertz.
        hz: f32,
    },
    /// Nearly all energy is where ringing and busy tones are, in more than one frequency.
    Network,
    /// Speech, music, noise.
    Other,
}

/// A frame measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) kind: Kind,
    /// Root mean square.
    pub(super) rms: f32,
}

/// Measures frames of one rate.
#[derive(Clone, Debug)]
pub(super) struct Spectrum {
    window: Vec<f32>,
    /// Every 50 Hz from [`FIRST`] on.
    bins: [Goertzel; BINS],
    samples: Vec<f32>,
}

impl Spectrum {
    pub(super) fn new(rate: SampleRate) -> Self {
        let len = rate.frame_len();
        let angle = |at: usize| std::f32::consts::TAU * (at as f32 + 0.5) / len as f32;
        Self {
            window: (0..len).map(|at| 1.0 - angle(at).cos()).collect(),
            bins: std::array::from_fn(|bin| Goertzel::new(hz_of(bin), len as f32 * 50.0)),
            samples: vec![0.0; len],
        }
    }

    /// Measures a frame on a line whose noise has this root mean square, as far as it is known: what is left without it
    /// decides.
    pub(super) fn measure(&mut self, frame: &Frame, noise: f32) -> Measured {
        let mut energy = 0.0;
        let mut windowed = 0.0;
        for ((to, sample), weight) in self.samples.iter_mut().zip(frame.samples()).zip(&self.window) {
            let value = f32::from(*sample);
            *to = value * weight;
            energy += value * value;
            windowed += *to * *to;
        }
        let rms = (energy / self.samples.len() as f32).sqrt();
        let weight: f32 = self.window.iter().map(|it| it * it).sum();
        // Where the noise is a great part of it, nothing can be said of the rest.
        let of_noise = if rms > noise * CLEAR_OF_NOISE { noise * noise * weight } else { 0.0 };
        let is_quiet = rms < SILENCE_RMS.max(noise * NOISE_PEAK);
        let kind = if is_quiet { Kind::Silence } else { self.kind(windowed - of_noise) };
        Measured { kind, rms }
    }

    fn kind(&self, energy: f32) -> Kind {
        let powers = self.bins.map(|it| it.power(&self.samples));
        // All bins of the frame together would have this much.
        let total = energy * self.samples.len() as f32 / 2.0;
        let share = |bins: std::ops::Range<usize>| powers.get(bins).map_or(0.0, |it| it.iter().sum::<f32>()) / total;
        let peak = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |it| it.0);
        if share(peak.saturating_sub(2)..(peak + 3).min(BINS)) > TONE_SHARE {
            return Kind::Tone { hz: self.interpolate(&powers, peak) };
        }
        // 350 to 650 Hz.
        if share(3..10) > TONE_SHARE { Kind::Network } else { Kind::Other }
    }

    /// Under this window the neighbours of a peak tell where between the bins it is.
    fn interpolate(&self, powers: &[f32; BINS], peak: usize) -> f32 {
        let at = |bin: Option<usize>| bin.and_then(|it| powers.get(it)).copied().unwrap_or(0.0).sqrt();
        let (before, here, after) = (at(peak.checked_sub(1)), at(Some(peak)), at(Some(peak + 1)));
        let offset = if after > before {
            (2.0 * after - here) / (after + here)
        } else {
            (here - 2.0 * before) / (before + here)
        };
        hz_of(peak) + 50.0 * offset.clamp(-0.5, 0.5)
    }
}

fn hz_of(bin: usize) -> f32 {
    (bin + FIRST) as f32 * 50.0
}

const FIRST: usize = 4;
/// From 200 to 2,350 Hz.
const BINS: usize = 44;
const SILENCE_RMS: f32 = 160.0;
const TONE_SHARE: f32 = 0.82;
/// 6 dB.
const CLEAR_OF_NOISE: f32 = 2.0;
/// How much louder than its quietest frame noise is now and then.
const NOISE_PEAK: f32 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::tones::synthetic::{Noise, speech};
    use crate::media::tones::{Piece, ToneGenerator};

    #[test]
    fn tones_are_known_by_their_frequency() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            let mut spectrum = Spectrum::new(rate);
            for hz in [400, 425, 440, 713, 950, 1_000, 1_100, 1_777, 2_100] {
                let mut tone = ToneGenerator::new(&[Piece::tone(hz, 200)], false, -16.0, rate);
                let mut noise = Noise::new(1);
                for frame in std::iter::from_fn(|| tone.next_frame()).skip(1).take(8) {
                    let noisy = noise.add(&frame, 300.0);
                    let Kind::Tone { hz: found } = spectrum.measure(&noisy, 0.0).kind else {
                        panic!("{hz}");
                    };
                    assert!((found - f32::from(hz)).abs() < 6.0, "{hz} {found}");
                }
            }
            let mut pair = ToneGenerator::new(&[Piece::pair(480, 620, 200)], false, -16.0, rate);
            let kinds =
                std::iter::from_fn(|| pair.next_frame()).skip(1).take(8).map(|it| spectrum.measure(&it, 0.0).kind);
            assert!(kinds.into_iter().all(|it| it == Kind::Network));
            assert_eq!(spectrum.measure(&Frame::silence(rate), 0.0).kind, Kind::Silence);
            // Noise is known to be noise, and a tone 10 dB above it to be a tone, once the noise is known.
            let mut noise = Noise::new(2);
            let hiss: Vec<_> = (0..50).map(|_| noise.add(&Frame::silence(rate), 1_700.0)).collect();
            let floor = hiss.iter().map(|it| spectrum.measure(it, 0.0).rms).fold(f32::INFINITY, f32::min);
            assert!(hiss.iter().all(|it| spectrum.measure(it, floor).kind == Kind::Silence));
            let mut tone = ToneGenerator::new(&[Piece::tone(1_000, 400)], false, -17.0, rate);
            let noisy: Vec<_> = std::iter::from_fn(|| tone.next_frame()).map(|it| noise.add(&it, 1_700.0)).collect();
            let tones = |floor: f32, spectrum: &mut Spectrum| {
                noisy.iter().filter(|it| matches!(spectrum.measure(it, floor).kind, Kind::Tone { .. })).count()
            };
            assert!(
                tones(floor, &mut spectrum) >= noisy.len() - 2,
                "{} of {}",
                tones(floor, &mut spectrum),
                noisy.len()
            );
            let speech = speech(1, 20_000, rate);
            let other = speech.iter().map(|it| spectrum.measure(it, 0.0).kind);
            let tonal = other.filter(|it| matches!(it, Kind::Tone { .. })).count();
            assert!(tonal < 150, "{tonal}");
        }
    }
}
