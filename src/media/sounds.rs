//! Sounds that no file has to be there for, by name: music on hold, and the tones of countries.

use super::hold_music::hold_music;
use super::tones::ToneGenerator;
use super::tones::call_tones::CallTones;
use super::tones::generator::{BEEP, Piece, SPECIAL_INFORMATION};
use crate::codec::{Clip, SampleRate};

/// A sound by its name, made to be repeated; `None` if there is none of that name.
///
/// | name | what it is |
/// |---|---|
/// | `hold-music` | a quiet tune |
/// | `ringback:DE`, `busy:DE`, `congestion:DE` | the tones of a country, ISO 3166-1 |
/// | `beep` | what an answering machine says before it records |
/// | `special-information` | what comes before an announcement of the network |
/// | `joined`, `left`, `muted`, `unmuted` | what happens in a conference room |
/// | `enter-pin`, `wrong-pin` | what is heard at its door |
pub fn by_name(name: &str, rate: SampleRate) -> Option<Clip> {
    match name.split_once(':') {
        None => match name {
            "hold-music" => hold_music(rate).ok(),
            "beep" => tone(BEEP, rate),
            "special-information" => tone(SPECIAL_INFORMATION, rate),
            "joined" => tone(&[Piece::tone(440, 100), Piece::tone(660, 140)], rate),
            "left" => tone(&[Piece::tone(660, 100), Piece::tone(440, 140)], rate),
            "enter-pin" => tone(ENTER_PIN, rate),
            "wrong-pin" => tone(&[Piece::tone(300, 200), Piece::silence(60), Piece::tone(300, 200)], rate),
            "muted" => tone(&[Piece::tone(520, 80), Piece::tone(390, 80)], rate),
            "unmuted" => tone(&[Piece::tone(390, 80), Piece::tone(520, 80)], rate),
            _ => None,
        },
        Some((kind, country)) => {
            let tones = CallTones::of(country)?;
            match kind {
                "ringback" => tone(tones.ringback, rate),
                "busy" => tone(tones.busy, rate),
                "congestion" => tone(tones.congestion, rate),
                _ => None,
            }
        }
    }
}

/// One round of a tone.
fn tone(pieces: &[Piece], rate: SampleRate) -> Option<Clip> {
    let mut tone = ToneGenerator::new(pieces, false, LEVEL_DB, rate);
    let mut samples: Vec<i16> = vec![];
    while let Some(frame) = tone.next_frame() {
        samples.extend_from_slice(frame.samples());
    }
    // The last frame is filled up; a round ends with its last piece.
    let ms: usize = pieces.iter().map(|it| usize::from(it.ms)).sum();
    samples.truncate(ms * rate.frame_len() / 20);
    Clip::new(&samples, rate.hz(), rate).ok()
}

/// Three short notes.
const ENTER_PIN: &[Piece] =
    &[Piece::tone(520, 90), Piece::silence(60), Piece::tone(520, 90), Piece::silence(60), Piece::tone(780, 160)];
/// As loud as networks send tones.
const LEVEL_DB: f32 = -13.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::levels::Level;

    #[test]
    fn every_name_is_a_sound_of_its_length() {
        for (name, ms) in [
            ("hold-music", 19_200),
            ("beep", 400),
            ("special-information", 1_990),
            ("ringback:de", 5_000),
            ("ringback:US", 6_000),
            ("busy:GB", 750),
            ("congestion:FR", 500),
            ("joined", 240),
            ("left", 240),
            ("enter-pin", 460),
            ("wrong-pin", 460),
            ("muted", 160),
            ("unmuted", 160),
        ] {
            for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
                assert_eq!(by_name(name, rate).map(|it| it.duration_ms()), Some(ms), "{name}");
            }
        }
        for name in ["", "ringback", "ringback:", "ringback:ZZ", "music", "../beep", "hold-music:DE"] {
            assert_eq!(by_name(name, SampleRate::Hz8000), None, "{name}");
        }
    }

    #[test]
    fn german_ringback_is_a_second_of_425_hz() {
        let clip = by_name("ringback:DE", SampleRate::Hz8000).unwrap();
        let second = crate::codec::Frame::from_samples(SampleRate::Hz8000, &clip.samples()[4_000..4_160]);
        let level = f32::from(Level::of(&second).rms);
        assert!((4_000.0..6_500.0).contains(&level), "{level}");
        assert_eq!(Level::of(&clip.round(2 * 8_000)).rms, 0);
    }
}
