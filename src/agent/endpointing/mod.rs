//! When a caller's turn is over. One strategy a file.

mod recogniser;
mod silence;

use serde::Deserialize;

pub use recogniser::RecogniserEndpointing;
pub use silence::SilenceEndpointing;

/// How the end of a turn is found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum Endpointing {
    /// By how long the caller has been silent.
    Silence(SilenceEndpointing),
    /// By the recogniser, which ends turns itself.
    Recogniser(RecogniserEndpointing),
}

/// What is known of a turn that may be over.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// How long the caller has been silent.
    pub quiet_ms: u64,
    /// The words so far; empty if the recogniser gives none before the end.
    pub text: &'a str,
    /// Whether the recogniser said that the turn is over.
    pub recogniser_ended: bool,
}

impl Endpointing {
    /// Whether the turn is over.
    pub fn is_over(&self, ending: Ending<'_>) -> bool {
        match self {
            Self::Silence(it) => it.is_over(ending),
            Self::Recogniser(it) => it.is_over(ending),
        }
    }
}

impl Default for Endpointing {
    fn default() -> Self {
        Self::Silence(SilenceEndpointing::default())
    }
}
