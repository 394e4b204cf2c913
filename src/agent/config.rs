//! What an agent is given: its configuration, shared by its calls, and what is known of the one call.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::language_model::ModelConfig;
use super::pathway::Pathway;
use super::turn_machine::TurnTaking;
use super::voice_activity::VoiceActivityConfig;
use crate::codec::{Clip, Frame, SampleRate};
use crate::identity::{CallId, Pii};

/// An agent, as its calls use it.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What decides what is said.
    pub mind: MindConfig,
    /// What the caller hears when a service fails.
    pub apology: Apology,
    /// The rate of the leg; the synthesiser is asked for the same.
    pub rate: SampleRate,
    /// What is done when a machine answers a call of the agent's own.
    pub on_machine: OnMachine,
    /// What a caller hears who is being transferred.
    pub transfer_sound: Option<Sound>,
    /// How the conversation begins.
    pub first_message: FirstMessage,
    /// How turns are taken.
    pub turn_taking: TurnTaking,
    /// How voice is told from noise.
    pub voice_activity: VoiceActivityConfig,
    /// How long things may take.
    pub times: AgentTimes,
}

/// What decides what is said.
#[derive(Clone, Debug)]
pub enum MindConfig {
    /// A scripted conversation.
    Pathway(Arc<Pathway>),
    /// A language model.
    Model(ModelConfig),
}

/// Who or what has answered a call of the agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// A person.
    Human,
    /// A machine that talks.
    Machine,
    /// A machine that records from now on.
    MachineReady,
    /// A menu.
    Menu,
    /// A service that asks who is calling.
    Screening,
    /// Nobody: the number cannot be reached, or takes no message.
    Unavailable,
    /// A fax machine.
    Fax,
    /// Nobody has spoken, or it took too long to tell.
    Unclear,
}

impl AnsweredBy {
    /// What the variable `answered_by` holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Machine | Self::MachineReady => "machine",
            Self::Menu => "menu",
            Self::Screening => "screening",
            Self::Unavailable => "unavailable",
            Self::Fax => "fax",
            Self::Unclear => "unclear",
        }
    }
}

/// What an agent does when a machine answers its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnMachine {
    /// It talks as to a person.
    GoOn,
    /// It hangs up.
    HangUp,
    /// It waits until the machine records, says this, and hangs up.
    Message(String),
}

/// A sound that is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// What it is called in the call's record.
    pub name: String,
    /// At the rate of the leg.
    pub clip: Clip,
}

/// What the caller hears when a service fails: audio made before the call, because the service that fails may be the
/// synthesiser.
#[derive(Clone, Debug, Default)]
pub struct Apology {
    /// Its words, for the transcript.
    pub text: String,
    /// Its audio, at the rate of the leg. Without any the call ends in silence.
    pub frames: Arc<[Frame]>,
}

/// How the conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FirstMessage {
    /// The agent greets. If the caller is quicker, the greeting answers them.
    AgentFirst {
        /// So long after the call was answered.
        delay_ms: u32,
    },
    /// The agent waits for the caller to say something, and greets then.
    CallerFirst {
        /// But not for longer than this.
        wait_ms_max: u32,
    },
}

/// How long things may take, in milliseconds of media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentTimes {
    /// The whole call, before the agent says goodbye.
    pub call_ms_max: u64,
    /// The last words, before the agent hangs up whether they were heard or not.
    pub farewell_ms_max: u64,
    /// The recogniser, from the answer to its readiness.
    pub ready_ms_max: u64,
    /// The synthesiser, while the leg has nothing to play.
    pub synthesiser_ms_max: u64,
    /// A transfer, before it counts as refused.
    pub transfer_ms_max: u64,
    /// A machine's greeting, before the message is left all the same.
    pub machine_ms_max: u64,
}

impl Default for FirstMessage {
    fn default() -> Self {
        Self::AgentFirst { delay_ms: 200 }
    }
}

impl Default for AgentTimes {
    fn default() -> Self {
        Self {
            call_ms_max: 30 * 60_000,
            farewell_ms_max: 30_000,
            ready_ms_max: 5_000,
            synthesiser_ms_max: 5_000,
            transfer_ms_max: 45_000,
            machine_ms_max: 60_000,
        }
    }
}

impl AgentConfig {
    /// An agent with this mind and the defaults for all else.
    pub fn new(mind: MindConfig, rate: SampleRate, apology: Apology) -> Self {
        Self {
            mind,
            apology,
            rate,
            on_machine: OnMachine::GoOn,
            transfer_sound: None,
            first_message: FirstMessage::default(),
            turn_taking: TurnTaking::default(),
            voice_activity: VoiceActivityConfig::default(),
            times: AgentTimes::default(),
        }
    }
}

/// What is known of one call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The call.
    pub call: CallId,
    /// Who calls; the variable `from`.
    pub from: Pii<String>,
    /// Who is called; the variable `to`.
    pub to: Pii<String>,
    /// Variables for the texts of the agent.
    pub variables: BTreeMap<String, String>,
}

impl CallContext {
    /// The variables of the call with `from` and `to` among them.
    pub(super) fn all_variables(&self) -> BTreeMap<String, String> {
        let numbers = [("from", &self.from), ("to", &self.to)];
        let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), value.reveal().clone()));
        numbers.chain(self.variables.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::barge_in::{BargeIn, WordsBargeIn};
    use super::super::endpointing::{Endpointing, SilenceEndpointing};
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        first_message: FirstMessage,
        turn_taking: TurnTaking,
        times: AgentTimes,
        model: ModelConfig,
    }

    #[test]
    fn the_parts_can_be_written_in_toml() {
        let written: Written = toml::from_str(
            r#"
            first_message = { caller_first = { wait_ms_max = 3000 } }
            times = { call_ms_max = 60000 }
            model = { instructions = "Be brief." }
            [turn_taking]
            idle_ms = 5000
            endpointing = { strategy = "silence", end_of_turn_ms = 400 }
            barge_in = { strategy = "words", words = 3 }
            "#,
        )
        .unwrap();
        let endpointing = SilenceEndpointing { end_of_turn_ms: 400, ..SilenceEndpointing::default() };
        let expected = Written {
            first_message: FirstMessage::CallerFirst { wait_ms_max: 3_000 },
            turn_taking: TurnTaking {
                endpointing: Endpointing::Silence(endpointing),
                barge_in: BargeIn::Words(WordsBargeIn { words: 3, ..WordsBargeIn::default() }),
                idle_ms: 5_000,
                ..TurnTaking::default()
            },
            times: AgentTimes { call_ms_max: 60_000, ..AgentTimes::default() },
            model: ModelConfig { instructions: "Be brief.".to_owned(), ..ModelConfig::default() },
        };
        assert_eq!(written, expected);
    }

    #[test]
    fn unknown_keys_are_refused_in_the_parts() {
        for text in [
            "endpointing = { strategy = \"silence\", end_of_turn = 1 }",
            "endpointing = { strategy = \"guess\" }",
            "barge_in = { strategy = \"words\", speech_ms = 1 }",
            "idle = 1",
        ] {
            assert!(toml::from_str::<TurnTaking>(text).is_err(), "{text}");
        }
    }
}
