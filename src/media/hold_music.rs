//! Music on hold: a tune of our own, played by a few lines of arithmetic, so that nobody has rights in it and no file
//! has to be shipped.
//!
//! Plucked notes over slow chords, quiet and without anything above 2 kHz, which survives every codec.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few seconds of samples; float to integer casts saturate"
)]

use crate::codec::{Clip, ClipRate, SampleRate};

/// The tune, made to be repeated: its end runs into its beginning.
///
/// # Errors
///
/// Never, for any rate of frames; [`ClipRate`] would name it.
pub fn hold_music(rate: SampleRate) -> Result<Clip, ClipRate> {
    let hz = rate.hz() as f32;
    let len = (BARS.len() as f32 * BEATS_PER_BAR * BEAT_S * hz) as usize;
    let mut mix = vec![0.0_f32; len];
    for (bar, (root, melody)) in BARS.iter().enumerate() {
        let bar_start = bar as f32 * BEATS_PER_BAR * BEAT_S;
        for (interval, offset) in [(0, 0.0), (7, 0.5), (12, 1.0), (16, 1.5), (19, 2.0), (16, 2.5), (12, 3.0), (7, 3.5)]
        {
            pluck(&mut mix, hz, bar_start + offset * BEAT_S, root + interval, 0.10);
        }
        for (beat, note) in melody.iter().enumerate() {
            if let Some(note) = note {
                pluck(&mut mix, hz, bar_start + beat as f32 * BEAT_S, *note, 0.22);
            }
        }
    }
    let samples: Vec<i16> = mix.iter().map(|it| (it * 14_000.0).round() as i16).collect();
    Clip::new(&samples, rate.hz(), rate)
}

/// Adds a note that begins at `start` seconds and dies away; past the end of the tune it goes on at its beginning.
fn pluck(mix: &mut [f32], hz: f32, start: f32, midi: u8, loudness: f32) {
    let frequency = 440.0 * ((f32::from(midi) - 69.0) / 12.0).exp2();
    let first = (start * hz) as usize;
    let (len, total) = ((NOTE_S * hz) as usize, mix.len());
    for at in 0..len {
        let seconds = at as f32 / hz;
        let envelope = (seconds / 0.008).min(1.0) * (-2.6 * seconds).exp() * (1.0 - at as f32 / len as f32);
        let phase = std::f32::consts::TAU * frequency * seconds;
        let value = phase.sin() + 0.35 * (-3.0 * seconds).exp() * (2.0 * phase).sin();
        if let Some(sample) = mix.get_mut((first + at) % total) {
            *sample += loudness * envelope * value;
        }
    }
}

type Bar = (u8, [Option<u8>; 4]);

/// The root of each bar's chord and its melody, as MIDI notes.
const BARS: [Bar; 8] = [
    (48, [Some(76), None, Some(79), Some(76)]),
    (45, [Some(72), None, Some(76), None]),
    (53, [Some(72), Some(74), Some(76), Some(77)]),
    (43, [Some(74), None, None, Some(71)]),
    (48, [Some(79), None, Some(76), Some(72)]),
    (45, [Some(81), None, Some(76), None]),
    (50, [Some(77), Some(76), Some(74), Some(72)]),
    (43, [Some(74), None, Some(71), None]),
];
const BEATS_PER_BAR: f32 = 4.0;
const BEAT_S: f32 = 0.6;
const NOTE_S: f32 = 1.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tune_is_heard_throughout_and_clips_nowhere() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            let tune = hold_music(rate).unwrap();
            assert_eq!(tune.duration_ms(), 19_200);
            let loudest = tune.samples().iter().map(|it| it.unsigned_abs()).max().unwrap();
            assert!((4_000..24_000).contains(&loudest), "{loudest}");
            let second = rate.frame_len() * 50;
            for part in tune.samples().chunks_exact(second) {
                assert!(part.iter().any(|it| it.unsigned_abs() > 1_000), "a silent second");
            }
            // Where it begins again nothing jumps.
            let joint = tune.samples()[0].abs_diff(*tune.samples().last().unwrap());
            assert!(joint < 600, "{joint}");
        }
    }
}
