//! How the server itself runs: `[speech]`, `[data]`, `[log]` and `[drain]`.

use std::path::PathBuf;
use std::time::Duration;

use super::Places;
use super::reading::Section;
use crate::limits;

/// `[speech]`: the embedded engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    /// `enabled`: whether the engine is started. Agents without a speech service of their own need it.
    pub enabled: bool,
    /// `decoders`: how many callers are recognised at once; `None` leaves it to the engine, which counts the cores.
    pub decoders: Option<u32>,
    /// `wait_ms`: how long a caller waits for a free decoder before the agent apologises.
    pub wait: Duration,
}

impl Speech {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let wait_ms = section.number("wait_ms", 0..=limits::DECODER_WAIT_CONFIGURED_MS_MAX).unwrap_or(2000);
        Self {
            enabled: section.boolean("enabled").unwrap_or(true),
            decoders: section.number("decoders", 1..=limits::DECODERS_CONFIGURED_MAX),
            wait: Duration::from_millis(wait_ms.into()),
        }
    }
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// `directory`: the journal and the recordings. Made, for its owner only, if it is not there.
    pub directory: PathBuf,
}

impl Data {
    pub(super) fn read(section: &Section<'_>, places: &Places<'_>) -> Self {
        let written = section.parsed("directory", |text| match text {
            "" => Err("expected the path of a directory".to_owned()),
            text => Ok(text.to_owned()),
        });
        let origin = section.origin("directory");
        let directory = written.map_or_else(|| PathBuf::from("data"), |written| places.path(&written, origin));
        Self { directory }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `level`: `info`, or with exceptions `info,hookswitch::call=debug`. The variable `RUST_LOG` takes its place.
    pub level: String,
    /// `format`
    pub format: LogFormat,
    /// `reveal_numbers`: whether phone numbers are logged as they are.
    pub reveal_numbers: bool,
}

impl Log {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let format = section.parsed("format", |text| match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected \"text\" or \"json\"".to_owned()),
        });
        Self {
            level: section.parsed("level", parse_level).unwrap_or_else(|| "info".to_owned()),
            format: format.unwrap_or(LogFormat::Text),
            reveal_numbers: section.boolean("reveal_numbers").unwrap_or(false),
        }
    }
}

fn parse_level(text: &str) -> Result<String, String> {
    // The parser takes a lone word for the name of a module, which is never what a slip like `inof` means.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = |it: &str| it.contains(['=', '[']) || levels.contains(&it.trim().to_ascii_lowercase().as_str());
    let understood = tracing_subscriber::EnvFilter::try_new(text).is_ok() && text.split(',').all(bare);
    if understood {
        return Ok(text.to_owned());
    }
    Err("expected off, error, warn, info, debug or trace, with exceptions as in \"info,hookswitch::call=debug\""
        .to_owned())
}

/// `[drain]`: what happens when the server is told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// `limit_s`: calls still in progress after so long are ended.
    pub limit: Duration,
}

impl Drain {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let seconds = section.number("limit_s", 0..=limits::DRAIN_CONFIGURED_S_MAX).unwrap_or(60);
        Self { limit: Duration::from_secs(seconds.into()) }
    }
}
