//! WAV and MP3 files, as somebody has put them where they are fetched from: decoded as a whole, for a [`Clip`].
//!
//! They are told by their content. What is decoded is bounded by [`CLIP_SECONDS_MAX`] and [`CLIP_DECODED_SAMPLES_MAX`],
//! whatever their heads claim; what is beyond is cut off.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};
use rusty_mp3::Mp3Decoder;

use crate::codec::{Clip, ClipRate, SampleRate};
use crate::limits::{CLIP_DECODED_SAMPLES_MAX, CLIP_SECONDS_MAX};

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlayable {
    /// It is neither WAV nor MP3.
    #[error("it is neither WAV nor MP3")]
    NotAudio,
    /// It begins as WAV or MP3 and cannot be decoded.
    #[error("it cannot be decoded: {0}")]
    Damaged(String),
    /// At this rate.
    #[error(transparent)]
    Rate(#[from] ClipRate),
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PCM of 8 to 32 bits, or float.
    Wav,
    /// MPEG-1, 2 and 2.5, layer III.
    Mp3,
}

/// What the first bytes say it is.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Kind::Wav),
        [b'I', b'D', b'3', ..] => Some(Kind::Mp3),
        // The sync word, layer III, and a bit rate and sample rate that there are.
        [0xff, second, third, ..] if second & 0xe6 == 0xe2 && third >> 4 != 15 && third & 0x0c != 0x0c => {
            Some(Kind::Mp3)
        }
        _ => None,
    }
}

/// Decodes a whole file; several channels become one.
///
/// # Errors
///
/// [`NotPlayable`].
pub fn decode(bytes: &[u8], rate: SampleRate) -> Result<Clip, NotPlayable> {
    let (samples, hz) = match kind(bytes).ok_or(NotPlayable::NotAudio)? {
        Kind::Wav => decode_wav(bytes)?,
        Kind::Mp3 => decode_mp3(bytes)?,
    };
    if samples.is_empty() {
        return Err(NotPlayable::Damaged("there is no audio in it".to_owned()));
    }
    Ok(Clip::new(&samples, hz, rate)?)
}

fn decode_wav(bytes: &[u8]) -> Result<(Vec<i16>, u32), NotPlayable> {
    let damaged = |error: hound::Error| NotPlayable::Damaged(error.to_string());
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let spec = reader.spec();
    if !(8_000..=48_000).contains(&spec.sample_rate) || spec.channels == 0 {
        return Err(ClipRate(spec.sample_rate).into());
    }
    let bits = u32::from(spec.bits_per_sample);
    let to_16 = |it: i32| if bits > 16 { it >> (bits - 16) } else { it << (16 - bits.min(16)) };
    let mono = match spec.sample_format {
        SampleFormat::Float => {
            let samples = reader.samples::<f32>().map(|it| it.map(from_float));
            mixed_as_read(samples, spec)
        }
        SampleFormat::Int => {
            let samples = reader.samples::<i32>().map(|it| it.map(|it| i16::try_from(to_16(it)).unwrap_or(0)));
            mixed_as_read(samples, spec)
        }
    };
    Ok((mono.map_err(damaged)?, spec.sample_rate))
}

/// The channels of a file as one, without keeping them.
fn mixed_as_read<E>(samples: impl Iterator<Item = Result<i16, E>>, spec: hound::WavSpec) -> Result<Vec<i16>, E> {
    let (channels, bound) = (i32::from(spec.channels), samples_max(spec.sample_rate));
    let (mut mono, mut sum, mut missing) = (vec![], 0, channels);
    for sample in samples {
        sum += i32::from(sample?);
        missing -= 1;
        if missing == 0 {
            mono.push(i16::try_from(sum / channels).unwrap_or(0));
            (sum, missing) = (0, channels);
            if mono.len() >= bound {
                break;
            }
        }
    }
    Ok(mono)
}

fn decode_mp3(bytes: &[u8]) -> Result<(Vec<i16>, u32), NotPlayable> {
    let mut decoder = Mp3Decoder::new();
    let (mut mono, mut hz) = (vec![], 0);
    // Piece by piece, so that what is decoded and not yet mixed stays small.
    for piece in bytes.chunks(MP3_PIECE_BYTES) {
        decoder.push(piece);
        while let Ok(audio) = decoder.next_frame() {
            if hz == 0 {
                hz = audio.sample_rate;
            }
            // A stream that changes its rate half way is none of ours.
            if audio.sample_rate == hz && mono.len() < samples_max(hz) {
                let samples: Vec<i16> = audio.samples.iter().copied().map(from_float).collect();
                mono.append(&mut mixed(&samples, audio.channels));
            }
        }
    }
    if hz == 0 {
        return Err(NotPlayable::Damaged("there is no MPEG frame in it".to_owned()));
    }
    Ok((mono, hz))
}

/// Several channels as one.
pub fn mixed(samples: &[i16], channels: u16) -> Vec<i16> {
    let channels = usize::from(channels).max(1);
    let divisor = i32::try_from(channels).unwrap_or(1);
    let mix = |it: &[i16]| i16::try_from(it.iter().map(|it| i32::from(*it)).sum::<i32>() / divisor).unwrap_or(0);
    samples.chunks_exact(channels).map(mix).collect()
}

/// A sample of full scale 1.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate, which is clipping")]
pub fn from_float(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Of one channel.
fn samples_max(hz: u32) -> usize {
    let samples = u64::from(hz) * u64::from(CLIP_SECONDS_MAX);
    usize::try_from(samples).unwrap_or(usize::MAX).min(CLIP_DECODED_SAMPLES_MAX)
}

const MP3_PIECE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_head_claims_of_a_file_costs_nothing() {
        // Two seconds of 65,535 channels, of which there are a few bytes.
        let mut wav =
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\xff\xff\x40\x1f\0\0\0\0\0\0\xfe\xff\x10\0data".to_vec();
        wav.extend(0xffff_fff0_u32.to_le_bytes());
        wav.extend([1; 40]);
        assert!(matches!(decode(&wav, SampleRate::Hz8000), Err(NotPlayable::Damaged(_))));
    }

    #[test]
    fn channels_are_mixed_as_they_are_read() {
        let spec =
            hound::WavSpec { channels: 2, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut bytes = Cursor::new(vec![]);
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for sample in [100_i16, 300, -5, -7, i16::MAX, i16::MAX] {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        let clip = decode(bytes.get_ref(), SampleRate::Hz8000).unwrap();
        assert_eq!(clip.samples(), [200, -6, i16::MAX]);
    }
}
