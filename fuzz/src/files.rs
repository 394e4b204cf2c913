//! Audio files as they are fetched, and keys of a telephone as INFO requests name them.

use hookswitch::codec::SampleRate;
use hookswitch::dialog::dtmf_info::{self, Digit};
use hookswitch::limits::CLIP_SECONDS_MAX;
use hookswitch::media::audio_file;

/// A WAV or MP3 file, for a leg of one rate or the other.
pub fn audio_file(input: &[u8]) -> bool {
    let rate = if input.len().is_multiple_of(2) { SampleRate::Hz8000 } else { SampleRate::Hz16000 };
    let Ok(clip) = audio_file::decode(input, rate) else {
        return false;
    };
    let seconds_max = u64::from(CLIP_SECONDS_MAX);
    assert!(clip.rate() == rate && clip.duration_ms() <= 1_000 * seconds_max + 10, "{} ms", clip.duration_ms());
    // A frame of 24 bytes, the smallest of MP3, stands for 24 ms.
    assert!(clip.samples().len() <= 64 * input.len() + 4 * 1_152, "{} of {}", clip.samples().len(), input.len());
    true
}

/// The body of an INFO request: the first byte says of which type.
pub fn digits(input: &[u8]) -> bool {
    let Some((first, body)) = input.split_first() else {
        return false;
    };
    let content_type = CONTENT_TYPES[usize::from(*first) % CONTENT_TYPES.len()];
    let Some(digit) = dtmf_info::parse(content_type, body) else {
        return false;
    };
    let Digit { digit: key, duration_ms } = digit;
    assert!("0123456789*#ABCD".contains(key) && (40..=6_000).contains(&duration_ms), "{digit:?}");
    let written = format!("Signal={key}\r\nDuration={duration_ms}\r\n");
    assert_eq!(dtmf_info::parse(CONTENT_TYPES[0], written.as_bytes()), Some(digit));
    true
}

const CONTENT_TYPES: [&str; 3] =
    ["application/dtmf-relay", "application/dtmf", "Application/DTMF-Relay ; charset=utf-8"];
