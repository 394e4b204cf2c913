//! An interruption by the duration of speech: the fastest, for it needs no recogniser.

use serde::Deserialize;

use super::Intrusion;

/// Interrupts after some speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DurationBargeIn {
    /// Speech that interrupts, in milliseconds; short pauses in it do not count.
    pub speech_ms: u32,
}

impl DurationBargeIn {
    pub(super) fn interrupts(self, intrusion: Intrusion<'_>) -> bool {
        intrusion.speech_ms >= u64::from(self.speech_ms)
    }
}

impl Default for DurationBargeIn {
    fn default() -> Self {
        Self { speech_ms: 250 }
    }
}
