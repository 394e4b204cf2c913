//! What is behind the websocket: the local engine or a scripted one.

use super::decoders::{Decoders, RecogniserLine};
use super::flite_ffi::VOICES;
use super::scripted::Scripted;
use super::synthesiser::{RenderError, Speech, Synthesiser};
use crate::codec::SampleRate;

/// An engine; clones share it.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    /// Pocketsphinx and flite.
    Local {
        /// Recognisers.
        decoders: Decoders,
        /// The synthesiser.
        synthesiser: Synthesiser,
    },
    /// A script.
    Scripted(Scripted),
}

impl Engine {
    /// A line to a recogniser for audio at `rate`.
    pub(super) fn recogniser(&self, rate: SampleRate) -> RecogniserLine {
        match self {
            Self::Local { decoders, .. } => decoders.open(rate),
            Self::Scripted(scripted) => scripted.open(rate),
        }
    }

    /// Renders a sentence.
    ///
    /// # Errors
    ///
    /// If the engine is missing or fails.
    pub(super) async fn render(&self, sentence: String, voice: String) -> Result<Speech, RenderError> {
        match self {
            Self::Local { synthesiser, .. } => synthesiser.render(sentence, voice).await,
            Self::Scripted(scripted) => scripted.render(&sentence).await,
        }
    }

    /// The names of the voices, `default` first.
    pub(super) fn voices(default: &str) -> Vec<String> {
        let others = VOICES.iter().filter(|it| **it != default);
        std::iter::once(default).chain(others.copied()).map(str::to_owned).collect()
    }
}
