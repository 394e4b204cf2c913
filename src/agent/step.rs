//! [`Step`]: what an agent's mind, be it a pathway or a language model, wants done next.

use std::collections::BTreeMap;

use super::event::{Event, HangUpReason, Service};
use super::provider::ModelCommand;

/// One thing to do. Steps are done in order; those that the caller must not notice too early wait until everything
/// before them has been said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this. Several are spoken one after the other.
    Say {
        /// The words.
        text: String,
        /// Whether the caller may interrupt them.
        interruptible: bool,
    },
    /// Play a sound after what is already to be said.
    Play {
        /// Where it is found, in the words of whoever wrote the pathway.
        source: String,
        /// How often; `None` is for ever.
        times: Option<u32>,
        /// Whether the caller may interrupt it.
        interruptible: bool,
        /// Places of it in milliseconds, told when they have been heard, and their names.
        marks: BTreeMap<u32, String>,
    },
    /// Once all is said: send these keys.
    Dtmf(String),
    /// Once all is said: hand the caller over.
    Transfer {
        /// Whom to.
        target: String,
    },
    /// Say the last words, or the agent's goodbye, and hang up once they are heard.
    Leave {
        /// Why.
        reason: HangUpReason,
        /// The last words.
        say: Option<String>,
    },
    /// Tell the language model.
    Model(ModelCommand),
    /// A service failed for good: apologise and hang up.
    Fail {
        /// Which.
        service: Service,
        /// What it said.
        reason: String,
    },
    /// Tell the call's record.
    Event(Event),
}
