//! When a caller who speaks while the agent does means to interrupt. One strategy a file.

mod duration;
mod words;

use serde::Deserialize;

pub use duration::DurationBargeIn;
pub use words::WordsBargeIn;

/// How an interruption is told from a cough or an "uh-huh".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum BargeIn {
    /// The agent is never interrupted.
    Never,
    /// By how long the caller has spoken.
    Duration(DurationBargeIn),
    /// By how many words the recogniser heard.
    Words(WordsBargeIn),
}

/// What is known of a caller who speaks while the agent does.
#[derive(Clone, Copy, Debug)]
pub struct Intrusion<'a> {
    /// How long the caller has spoken, since the agent began and could be interrupted.
    pub speech_ms: u64,
    /// The words so far.
    pub text: &'a str,
}

impl BargeIn {
    /// Whether it is an interruption.
    pub fn interrupts(&self, intrusion: Intrusion<'_>) -> bool {
        match self {
            Self::Never => false,
            Self::Duration(it) => it.interrupts(intrusion),
            Self::Words(it) => it.interrupts(intrusion),
        }
    }
}

impl Default for BargeIn {
    fn default() -> Self {
        Self::Duration(DurationBargeIn::default())
    }
}
