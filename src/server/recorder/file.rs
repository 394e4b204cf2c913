//! The files of recordings: WAV (16-bit PCM) and MP3 (MPEG-2 and 2.5 Layer III, constant bit rate), two channels each.
//!
//! Both are brought up to date every second, so that what a killed process leaves behind plays.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};
use serde::{Deserialize, Serialize};

use crate::limits::RECORDING_BYTES_MAX;

/// What a recording is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// 16-bit linear samples.
    #[default]
    Wav,
    /// A fifth to an eighth of the size.
    Mp3,
}

impl Format {
    /// The end of a file's name, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }

    /// The rate of the file for a leg of `hz`. Above 24 kHz the encoder would keep the whole recording in memory, and
    /// speech has nothing there that a recording needs.
    pub(super) const fn file_hz(self, hz: u32) -> u32 {
        match self {
            Self::Mp3 if hz > MP3_HZ_MAX => MP3_HZ_MAX,
            Self::Wav | Self::Mp3 => hz,
        }
    }
}

/// A file that is being written.
pub(super) struct RecordingFile {
    writer: Writer,
    /// Bytes of audio so far, or about so many.
    bytes: u64,
    bytes_per_sample: u64,
}

enum Writer {
    Wav(WavWriter<BufWriter<File>>),
    Mp3 { encoder: Box<Mp3Encoder>, file: BufWriter<File>, hz: u32 },
}

impl RecordingFile {
    /// Makes the file, for its owner only, and the directories that lead to it.
    pub(super) fn create(path: &Path, format: Format, hz: u32) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let file = BufWriter::new(file);
        let writer = match format {
            Format::Wav => {
                let format = SampleFormat::Int;
                let spec = WavSpec { channels: 2, sample_rate: hz, bits_per_sample: 16, sample_format: format };
                Writer::Wav(WavWriter::new(file, spec).map_err(wav_error)?)
            }
            Format::Mp3 => {
                let config = Mp3EncoderConfig { bitrate_kbps: mp3_kbps(hz), vbr_quality: None };
                Writer::Mp3 { encoder: Box::new(Mp3Encoder::new(config)), file, hz }
            }
        };
        let bytes_per_sample = if format == Format::Wav { 4 } else { 1 };
        Ok(Self { writer, bytes: 0, bytes_per_sample })
    }

    /// Writes as many samples of both channels as the shorter has.
    pub(super) fn write(&mut self, left: &[i16], right: &[i16]) -> io::Result<()> {
        let len = u64::try_from(left.len().min(right.len())).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len.saturating_mul(self.bytes_per_sample));
        if self.bytes > RECORDING_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the recording is as large as one may be"));
        }
        let pairs = left.iter().zip(right).flat_map(|(left, right)| [*left, *right]);
        match &mut self.writer {
            Writer::Wav(writer) => {
                for sample in pairs {
                    writer.write_sample(sample).map_err(wav_error)?;
                }
            }
            Writer::Mp3 { encoder, file, hz } => {
                let samples: Vec<i16> = pairs.collect();
                encoder.push_pcm_s16(&samples, 2, *hz).map_err(|error| io::Error::other(format!("{error:?}")))?;
                drain(encoder, file)?;
            }
        }
        Ok(())
    }

    /// Makes what has been written so far a file that plays.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Wav(writer) => writer.flush().map_err(wav_error),
            Writer::Mp3 { file, .. } => file.flush(),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self.writer {
            Writer::Wav(writer) => writer.finalize().map_err(wav_error),
            Writer::Mp3 { mut encoder, mut file, .. } => {
                encoder.finish();
                drain(&mut encoder, &mut file)?;
                if let Some(tag) = encoder.lame_tag_frame() {
                    // It stands in for the first frame, which is as long and could not know the length.
                    file.seek(SeekFrom::Start(0))?;
                    file.write_all(tag)?;
                }
                file.flush()
            }
        }
    }
}

fn drain(encoder: &mut Mp3Encoder, file: &mut BufWriter<File>) -> io::Result<()> {
    while let Ok(packet) = encoder.next_packet() {
        file.write_all(&packet)?;
    }
    Ok(())
}

fn wav_error(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other @ (hound::Error::FormatError(_)
        | hound::Error::TooWide
        | hound::Error::UnfinishedSample
        | hound::Error::Unsupported
        | hound::Error::InvalidSampleFormat) => io::Error::other(other),
    }
}

/// For both channels.
const fn mp3_kbps(hz: u32) -> u32 {
    match hz {
        ..=8_000 => 32,
        8_001..=16_000 => 64,
        _ => 80,
    }
}

const MP3_HZ_MAX: u32 = 24_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mp3_of_every_rate_has_the_length_of_what_was_written() {
        for hz in [8_000, 16_000, 24_000] {
            let (path, seconds) =
                (std::env::temp_dir().join(format!("hookswitch-mp3-{}-{hz}.mp3", std::process::id())), 2);
            let mut file = RecordingFile::create(&path, Format::Mp3, hz).unwrap();
            let tick: Vec<i16> = (0..hz / 50).map(|it| if it % 20 < 10 { 4_000 } else { -4_000 }).collect();
            let silence = vec![0; tick.len()];
            for _ in 0..50 * seconds {
                file.write(&tick, &silence).unwrap();
            }
            file.flush().unwrap();
            let unfinished = decoded(&path);
            file.finish().unwrap();
            let finished = decoded(&path);
            std::fs::remove_file(&path).unwrap();
            let expected = usize::try_from(hz).unwrap() * seconds;
            // The encoder holds one frame back, and its delay and padding are decoded here.
            for got in [unfinished, finished] {
                assert!(got.0.abs_diff(expected) < 3 * 1_152, "{hz}: {} of {expected}", got.0);
                assert!(got.1 > 20.0 * got.2, "{hz}: left {} right {}", got.1, got.2);
            }
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        for format in [Format::Wav, Format::Mp3] {
            let result = RecordingFile::create(Path::new("/dev/full"), format, 8_000).and_then(|mut file| {
                for _ in 0..100 {
                    file.write(&[1; 160], &[1; 160])?;
                }
                file.flush()
            });
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull, "{format:?}");
        }
    }

    /// Samples a channel, and how loud each is.
    fn decoded(path: &Path) -> (usize, f32, f32) {
        let mut decoder = rusty_mp3::Mp3Decoder::new();
        decoder.push(&std::fs::read(path).unwrap());
        decoder.flush();
        let (mut len, mut left, mut right) = (0, 0.0, 0.0);
        while let Ok(audio) = decoder.next_frame() {
            assert_eq!(audio.channels, 2);
            for pair in audio.samples.chunks(2) {
                left += pair[0].abs();
                right += pair[1].abs();
                len += 1;
            }
        }
        (len, left, right)
    }
}
