//! Speech made beforehand: the apology that a caller hears when a service fails must not need a service.

use super::audio::{converted, rate_of};
use super::sentences::sentences;
use super::synthesiser::{RenderError, render};
use crate::codec::SampleRate;

/// Renders a whole text on the calling thread, some fifteen milliseconds a second of speech.
///
/// # Errors
///
/// If flite is missing or fails; [`fallback_tone`] needs nothing.
pub fn render_text(text: &str, voice: &str, rate: SampleRate) -> Result<Vec<i16>, RenderError> {
    let mut samples = vec![];
    for sentence in sentences(text) {
        let speech = render(&sentence, voice)?;
        let from = rate_of(speech.rate_hz).ok_or(super::flite_ffi::NoAudio)?;
        samples.extend(converted(&speech.samples, from, rate));
    }
    Ok(samples)
}

/// What is played where a text cannot be: three short tones, falling, which no telephone network uses. 1.2 s.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a sine of moderate amplitude")]
pub fn fallback_tone(rate: SampleRate) -> Vec<i16> {
    let hz = rate.hz() as f32;
    let (len, ramp) = (rate.frame_len() * TONE_FRAMES, rate.frame_len() as f32);
    let tone = |pitch: f32| {
        (0..len).map(move |at| {
            let edge = (at.min(len - 1 - at) as f32 / ramp).min(1.0);
            ((at as f32 / hz * pitch * std::f32::consts::TAU).sin() * edge * AMPLITUDE) as i16
        })
    };
    let pause = || std::iter::repeat_n(0, rate.frame_len() * PAUSE_FRAMES);
    PITCHES.iter().flat_map(|it| tone(*it).chain(pause())).collect()
}

const PITCHES: [f32; 3] = [660.0, 550.0, 440.0];
const TONE_FRAMES: usize = 15;
const PAUSE_FRAMES: usize = 5;
const AMPLITUDE: f32 = 6_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_is_audible_and_does_not_click() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            let samples = fallback_tone(rate);
            assert_eq!(samples.len(), rate.frame_len() * 60);
            assert!(samples.iter().any(|it| *it > 5_000));
            let steps = samples.windows(2).map(|it| (i32::from(it[0]) - i32::from(it[1])).abs());
            assert!(steps.max().unwrap() < 4_000);
            assert_eq!((samples[0], *samples.last().unwrap()), (0, 0));
        }
    }

    #[test]
    fn a_text_is_rendered_at_both_rates() {
        let narrow = render_text("We are sorry. Please call later.", "rms", SampleRate::Hz8000)
            .unwrap_or_else(|error| panic!("{error}"));
        let wide = render_text("We are sorry. Please call later.", "rms", SampleRate::Hz16000).unwrap();
        assert!((8_000..40_000).contains(&narrow.len()), "{}", narrow.len());
        assert_eq!(wide.len() / 2, narrow.len());
        assert!(narrow.iter().any(|it| it.abs() > 3_000));
        assert_eq!(render_text(" ... ", "rms", SampleRate::Hz8000), Ok(vec![]));
    }
}
