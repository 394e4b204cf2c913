//! Our own speech protocol, `docs/speech-protocol.md`: MRCPv2's words (RFC 6787) over websockets. Codecs of both sides,
//! bytes to events and back.
//!
//! Deviations from RFC 6787: one connection is one resource, so there is no channel identifier; requests are numbered
//! by what the agent numbers anyway (turns and utterances); a RECOGNIZE lasts over many utterances, which FINALIZE
//! separates; results are JSON instead of NLSML.

mod audio;
mod message;
mod recogniser_client;
mod recogniser_server;
mod synthesiser_client;
mod synthesiser_server;

pub use audio::{AudioFormat, Encoding, samples_to_ms};
pub use message::{ErrorCode, ErrorMessage, RecognitionCause, SpeakCause, VERSION};
pub use recogniser_client::{RecogniserClient, RecogniserConfig};
pub use recogniser_server::{RecogniserDemand, RecogniserServer};
pub use synthesiser_client::{SynthesiserClient, SynthesiserConfig};
pub use synthesiser_server::{SpeakRequest, SynthesiserDemand, SynthesiserServer};

use std::time::Duration;

use serde::Serialize;

use super::secret::Secret;
use super::wire::WireMessage;
use crate::limits::{SPEECH_IDLE_MS_MAX, SPEECH_KEEP_ALIVE_MS};

/// The path of the recogniser.
pub const RECOGNISE_PATH: &str = "/v1/recognise";
/// The path of the synthesiser.
pub const SYNTHESISE_PATH: &str = "/v1/synthesise";

const KEEP_ALIVE: Duration = Duration::from_millis(SPEECH_KEEP_ALIVE_MS);
const IDLE: Duration = Duration::from_millis(SPEECH_IDLE_MS_MAX);

fn text(message: &impl Serialize) -> WireMessage {
    // The message types hold strings, numbers and lists only, none of which serde_json refuses.
    WireMessage::Text(serde_json::to_string(message).expect("messages of the protocol are representable"))
}

fn bearer(key: &Secret) -> (&'static str, String) {
    ("authorization", format!("Bearer {}", key.reveal()))
}

/// The first characters of what a service says went wrong, for the call record.
pub(super) fn bounded_reason(text: &str) -> String {
    text.chars()
        .take(crate::limits::PROVIDER_REASON_CHARS_MAX)
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}
