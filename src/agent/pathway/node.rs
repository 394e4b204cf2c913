//! The nodes of a pathway: what each does, with every name in it resolved.

use std::collections::BTreeMap;

use super::slot::SlotKind;
use super::template::Template;
use crate::agent::event::RecordingOrder;

/// The variable that says how far the last sound with marks was heard.
pub(super) const LAST_MARK: &str = "last_mark";

/// One place in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Says something and goes on.
    Say {
        /// What is said.
        say: Prompt,
        /// Where to.
        next: String,
    },
    /// Plays a sound.
    Play(Play),
    /// Waits for what the caller wants.
    Listen(Listen),
    /// Asks for one value until it has it.
    Collect(Collect),
    /// Goes one of several ways by what the variables hold.
    Condition {
        /// The ways, tried in order.
        when: Vec<When>,
        /// The way if none holds.
        otherwise: String,
    },
    /// Does something silently and goes on.
    Action(Action),
    /// Hands the caller to someone else.
    Transfer {
        /// What is said first; it is not interruptible.
        say: Option<Prompt>,
        /// Whom to, as the agent's transfer targets name it.
        target: String,
        /// Where to if it does not succeed.
        failed: String,
    },
    /// Says the last words and hangs up.
    End {
        /// The last words; without them the pathway's goodbye. Not interruptible.
        say: Option<Prompt>,
        /// How the call ended, for its record.
        note: Option<Template>,
    },
}

/// Something to say: one of several texts, so that a caller who comes by again does not hear the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// At least one.
    pub texts: Vec<Template>,
    /// Whether the caller may interrupt it.
    pub interruptible: bool,
}

/// A `play` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// Where the sound is found: a file, a URL, or the name of one that is built in.
    pub source: Template,
    /// How often it is played; `None` is until the caller interrupts it.
    pub times: Option<u32>,
    /// Whether the caller may interrupt it.
    pub interruptible: bool,
    /// Places of it in milliseconds, and their names; the variable `last_mark` says which was heard last.
    pub marks: BTreeMap<u32, String>,
    /// Where to once it is over.
    pub next: String,
    /// Where to when the caller interrupts it. If something is asked for there, what interrupted is the answer.
    pub interrupted: String,
    /// Where to if it cannot be played.
    pub failed: String,
}

/// A `listen` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is asked.
    pub say: Option<Prompt>,
    /// Intent and where it leads to, in the order in which they are tried.
    pub on: Vec<(String, String)>,
    /// Slots that the caller may fill in the same breath ("an appointment on monday").
    pub fill: Vec<String>,
    /// Key and where it leads to.
    pub digits: Vec<(char, String)>,
    /// What happens without a usable answer.
    pub retry: Retry,
}

/// A `collect` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collect {
    /// What is asked.
    pub say: Option<Prompt>,
    /// The variable that the answer is written to.
    pub slot: String,
    /// The kind of the answer.
    pub kind: SlotKind,
    /// Where to with the answer.
    pub next: String,
    /// What happens without a usable answer.
    pub retry: Retry,
}

/// What happens when the caller says nothing, or nothing that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// What is said when nothing fits.
    pub no_match: Reprompt,
    /// What is said to a silent caller.
    pub no_input: Reprompt,
    /// How many times the caller is asked again.
    pub retries: u8,
    /// Where to after that; without it the call ends with the goodbye.
    pub escalate: Option<String>,
}

/// How the caller is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reprompt {
    /// The first for the first time, the last for all further ones; at least one.
    pub texts: Vec<Template>,
    /// Whether the node's own prompt follows: so it does when the text is the pathway's and knows nothing of the node.
    pub then_prompt: bool,
}

/// One way out of a `condition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The variable that is looked at.
    pub variable: String,
    /// What must hold.
    pub test: Test,
    /// Where to.
    pub next: String,
}

/// What must hold of a variable; a missing one is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is this text; case does not matter.
    Equals(String),
    /// This text is in it; case does not matter.
    Contains(String),
    /// It has a value, or has none.
    Filled(bool),
}

/// An `action` node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Variables and their new values.
    pub set: Vec<(String, Template)>,
    /// A note for the call's record.
    pub note: Option<Template>,
    /// Keys to send to the caller.
    pub dtmf: Option<String>,
    /// What is to become of the recording.
    pub recording: Option<RecordingOrder>,
    /// Where to.
    pub next: String,
}

impl Node {
    /// The nodes that this one can lead to by itself.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::Say { next, .. } | Self::Action(Action { next, .. }) => vec![next],
            Self::Play(it) => vec![&it.next, &it.interrupted, &it.failed],
            Self::Listen(it) => {
                let ways = it.on.iter().map(|(_, to)| to.as_str()).chain(it.digits.iter().map(|(_, to)| to.as_str()));
                ways.chain(it.retry.escalate.as_deref()).collect()
            }
            Self::Collect(it) => std::iter::once(it.next.as_str()).chain(it.retry.escalate.as_deref()).collect(),
            Self::Condition { when, otherwise } => {
                when.iter().map(|it| it.next.as_str()).chain([otherwise.as_str()]).collect()
            }
            Self::Transfer { failed, .. } => vec![failed],
            Self::End { .. } => vec![],
        }
    }
}
