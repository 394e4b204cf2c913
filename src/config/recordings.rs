//! `[recordings]`, `[agents.NAME.recording]`, `[numbers."…".recording]` and `[users.NAME.recording]`: what is recorded, and
//! where recordings are kept.

use std::path::PathBuf;
use std::time::Duration;

use super::Places;
use super::agents::speech_or;
use super::reading::Section;
use crate::limits;

/// `[recordings]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// `url`: where they are kept; `None` stands for the directory `recordings` of `[data] directory`.
    pub place: Option<RecordingPlace>,
    /// `keep_days`: older ones are deleted; `None` keeps them all.
    pub keep: Option<Duration>,
}

/// Where recordings are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingPlace {
    /// A directory of this machine.
    Directory(PathBuf),
    /// `s3://bucket/prefix` or `gs://bucket/prefix`.
    Bucket(String),
}

/// `[agents.NAME.recording]`, and of calls between two people `[numbers."…".recording]` and `[users.NAME.recording]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// `enabled`: whether calls are recorded from the answer on. If not, the pathway may still switch it on.
    pub enabled: bool,
    /// `format`
    pub format: RecordingFormat,
    /// `consent`
    pub consent: Consent,
    /// `announcement`: said first, with the consent `announce`.
    pub announcement: String,
    /// `question`: said first, with the consent `ask`.
    pub question: String,
    /// `announcement_file`: the sound that is played instead of that.
    pub announcement_file: Option<String>,
    /// `question_file`: likewise.
    pub question_file: Option<String>,
}

/// What a recording is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingFormat {
    /// 16-bit WAV.
    Wav,
    /// MP3.
    Mp3,
}

/// What must happen before anything is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consent {
    /// Nothing.
    None,
    /// Who talks is told.
    Announce,
    /// Who talks presses 1.
    Ask,
}

impl Recordings {
    pub(super) fn read(section: &Section<'_>, places: &Places<'_>) -> Self {
        let origin = section.origin("url");
        let written = section.parsed("url", parse_place);
        let place = written.map(|place| match place {
            Written::Bucket(url) => RecordingPlace::Bucket(url),
            Written::Directory(path) => RecordingPlace::Directory(places.path(&path, origin)),
        });
        let days = section.number("keep_days", 1..=limits::RECORDING_KEEP_CONFIGURED_DAYS_MAX);
        Self { place, keep: days.map(|it| Duration::from_secs(86_400 * u64::from(it))) }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            enabled: false,
            format: RecordingFormat::Wav,
            consent: Consent::None,
            announcement: ANNOUNCEMENT.to_owned(),
            question: QUESTION.to_owned(),
            announcement_file: None,
            question_file: None,
        }
    }
}

impl Recording {
    pub(super) fn read(section: Section<'_>) -> Self {
        let format = section.parsed("format", |text| match text {
            "wav" => Ok(RecordingFormat::Wav),
            "mp3" => Ok(RecordingFormat::Mp3),
            _ => Err("expected \"wav\" or \"mp3\"".to_owned()),
        });
        let consent = section.parsed("consent", |text| match text {
            "none" => Ok(Consent::None),
            "announce" => Ok(Consent::Announce),
            "ask" => Ok(Consent::Ask),
            _ => Err("expected \"none\", \"announce\" or \"ask\"".to_owned()),
        });
        let recording = Self {
            enabled: section.boolean("enabled").unwrap_or(false),
            format: format.unwrap_or(RecordingFormat::Wav),
            consent: consent.unwrap_or(Consent::None),
            announcement: speech_or(&section, "announcement", ANNOUNCEMENT),
            question: speech_or(&section, "question", QUESTION),
            announcement_file: section.text("announcement_file"),
            question_file: section.text("question_file"),
        };
        section.finish();
        recording
    }
}

impl RecordingFormat {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }
}

impl Consent {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Announce => "announce",
            Self::Ask => "ask",
        }
    }
}

enum Written {
    Directory(String),
    Bucket(String),
}

fn parse_place(text: &str) -> Result<Written, String> {
    let expected = || Err("expected the path of a directory, s3://bucket/prefix or gs://bucket/prefix".to_owned());
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text.is_empty() { expected() } else { Ok(Written::Directory(text.to_owned())) };
    };
    let bucket = rest.split('/').next().unwrap_or_default();
    let is_name = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
    match scheme {
        "file" if rest.starts_with('/') => Ok(Written::Directory(rest.to_owned())),
        "s3" | "gs" if !bucket.is_empty() && bucket.bytes().all(is_name) => {
            Ok(Written::Bucket(text.trim_end_matches('/').to_owned()))
        }
        _ => expected(),
    }
}

const ANNOUNCEMENT: &str = "This call is recorded.";
const QUESTION: &str = "May this call be recorded? Press 1 for yes, or 2 for no.";
