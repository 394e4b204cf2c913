//! The agents of the configuration, made ready before the first call: pathways loaded, apologies rendered to audio,
//! services named. What is wrong with one stops the start, not a call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::barge_in::{BargeIn, DurationBargeIn};
use crate::agent::endpointing::{Endpointing, SilenceEndpointing};
use crate::agent::pathway::{Pathway, PathwayErrors};
use crate::agent::provider::chat_completions::{ChatCompletions, ChatConfig};
use crate::agent::provider::secret::Secret;
use crate::agent::provider::speech_protocol::{
    AudioFormat, RecogniserClient, RecogniserConfig, SynthesiserClient, SynthesiserConfig,
};
use crate::agent::{AgentConfig, AgentTimes, Apology, MindConfig, ModelConfig, OnMachine, Sound, TurnTaking};
use crate::call::HandOver;
use crate::codec::{Frame, SampleRate};
use crate::config::{self, TransferBy};
use crate::limits::{PROVIDER_CONNECT_MS_MAX, RING_MS_MAX};
use crate::media::enhance::Enhancements;
use crate::route::Target;
use crate::server::call_actor::Services;
use crate::server::consent::{Planner, RecordingPlan, WordsMissing};
use crate::server::provider::{ModelAddress, SocketAddress, spawn_model, spawn_recogniser, spawn_synthesiser};
use crate::server::sounds::Sounds;
use crate::server::speech::{fallback_tone, render_text};
use crate::server::system::target;

/// One agent, shared by its calls.
#[derive(Debug)]
pub(crate) struct PreparedAgent {
    /// What every call's [`crate::agent::Agent`] is made from, at 8 and at 16 kHz.
    narrow: AgentConfig,
    wide: AgentConfig,
    /// To whom it may hand callers over, by the names it knows them by.
    pub(crate) transfers: BTreeMap<String, Target>,
    /// How they get there.
    pub(crate) transfer_by: HandOver,
    /// What is done about fax machines.
    pub(crate) on_fax: config::OnFax,
    phrases: Vec<String>,
    voice: Option<String>,
    speech: SocketAddress,
    model: Option<(ChatConfig, ModelAddress)>,
    /// How its calls are recorded.
    pub(crate) recording: Arc<RecordingPlan>,
    /// What is done to the audio of its callers.
    pub(crate) sound: Enhancements,
}

/// Agents by name.
pub(crate) type PreparedAgents = BTreeMap<String, Arc<PreparedAgent>>;

/// Why an agent cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The pathway's file cannot be read.
    #[error("agent `{agent}`: {}: {source}", .file.display())]
    Unreadable {
        /// The agent.
        agent: String,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pathway has mistakes.
    #[error("agent `{agent}`: {source}")]
    Pathway {
        /// The agent.
        agent: String,
        /// All of them.
        source: PathwayErrors,
    },
    /// The agent has no speech service, and the embedded engine is off.
    #[error("agent `{0}` has no speech service: give it [agents.{0}.speech] or set [speech] enabled = true")]
    NoSpeech(String),
    /// What is said before a recording is not there.
    #[error(transparent)]
    Words(#[from] WordsMissing),
    /// What a caller should hear during a transfer is not there.
    #[error(
        "agent `{agent}`: transfer_sound = \"{sound}\": {reason}; it is the name of a built-in sound, or a file of [sounds] directory"
    )]
    NoSound {
        /// The agent.
        agent: String,
        /// What was written.
        sound: String,
        /// Why.
        reason: String,
    },
}

/// Makes every agent ready. `embedded` is the address of the local speech engine, if it runs; a call may wait for one of
/// its decoders for as long as `decoder_wait`.
///
/// # Errors
/// The first agent with a mistake.
pub(crate) fn prepare(
    agents: &BTreeMap<String, config::Agent>,
    embedded: Option<&SocketAddress>,
    decoder_wait: Duration,
    sounds: &Sounds,
    planner: &Planner<'_>,
) -> Result<PreparedAgents, AgentError> {
    let prepared = agents.iter().map(|(name, agent)| {
        let prepared = prepare_one(name, agent, embedded, decoder_wait, (sounds, planner))?;
        Ok((name.clone(), Arc::new(prepared)))
    });
    prepared.collect()
}

fn prepare_one(
    name: &str,
    agent: &config::Agent,
    embedded: Option<&SocketAddress>,
    decoder_wait: Duration,
    (sounds, planner): (&Sounds, &Planner<'_>),
) -> Result<PreparedAgent, AgentError> {
    let (mind, phrases, apology) = match &agent.brain {
        config::Brain::Pathway(source) => {
            let pathway = load_pathway(name, source)?;
            let (phrases, apology) = (pathway.phrases(), pathway.apology().to_owned());
            (MindConfig::Pathway(pathway), phrases, apology)
        }
        config::Brain::Model(model) => (MindConfig::Model(model_mind(agent, model)), vec![], agent.apology.clone()),
    };
    let speech = match (&agent.speech, embedded) {
        (Some(own), _) => SocketAddress {
            base: own.url.clone(),
            key: own.token.clone().unwrap_or_else(|| Secret::new("")),
            connect_timeout: Duration::from_millis(PROVIDER_CONNECT_MS_MAX),
        },
        (None, Some(embedded)) => embedded.clone(),
        (None, None) => return Err(AgentError::NoSpeech(name.to_owned())),
    };
    let model = match &agent.brain {
        config::Brain::Pathway(_) => None,
        config::Brain::Model(model) => {
            Some((ChatConfig::new(model.model.clone()), ModelAddress::new(model.url.clone(), model.api_key.clone())))
        }
    };
    let defaults = AgentTimes::default();
    let times = AgentTimes {
        call_ms_max: milliseconds(agent.turns.duration_max),
        // A caller who waits for a decoder has not lost the recogniser.
        // Signalling gives up on whoever is called, and says so.
        transfer_ms_max: RING_MS_MAX.saturating_add(READY_AFTER_WAIT_MS),
        ready_ms_max: defaults.ready_ms_max.max(milliseconds(decoder_wait).saturating_add(READY_AFTER_WAIT_MS)),
        ..defaults
    };
    let transfers = agent.transfers.iter().map(|(name, to)| (name.clone(), target(to))).collect();
    let transfer_by = hand_over(agent.transfer_by);
    let config = |rate, transfer_sound| AgentConfig {
        turn_taking: turn_taking(&agent.turns),
        times,
        transfer_sound,
        on_machine: on_machine(&agent.on_machine),
        ..AgentConfig::new(mind.clone(), rate, render_apology(name, &apology, agent.voice.as_deref(), rate))
    };
    let sound = |rate| transfer_sound(name, agent, sounds, rate);
    let narrow = config(SampleRate::Hz8000, sound(SampleRate::Hz8000)?);
    let wide = config(SampleRate::Hz16000, sound(SampleRate::Hz16000)?);
    let recording = planner.plan(&format!("agents.{name}"), &agent.recording, agent.voice.as_deref())?;
    let voice = agent.voice.clone();
    let on_fax = agent.on_fax.clone();
    Ok(PreparedAgent {
        narrow,
        wide,
        transfers,
        transfer_by,
        on_fax,
        phrases,
        voice,
        speech,
        model,
        recording: Arc::new(recording),
        sound: enhancements(agent.sound),
    })
}

impl PreparedAgent {
    /// What the agent of a call is made from that hears and speaks at `rate`.
    pub(crate) const fn config(&self, rate: SampleRate) -> &AgentConfig {
        match rate {
            SampleRate::Hz8000 => &self.narrow,
            SampleRate::Hz16000 => &self.wide,
        }
    }

    /// Opens the services of one call: connections begin at once, so that they are warm when the call is answered. G.711
    /// goes to them as it is, wide band without compression.
    pub(crate) fn open_services(&self, rate: SampleRate) -> Services {
        let format = match rate {
            SampleRate::Hz8000 => AudioFormat::MULAW,
            SampleRate::Hz16000 => AudioFormat::linear16(rate),
        };
        let recogniser =
            RecogniserClient::new(RecogniserConfig { format, phrases: self.phrases.clone(), partial_results: true });
        let synthesiser = SynthesiserClient::new(SynthesiserConfig { format, voice: self.voice.clone() });
        Services {
            recogniser: spawn_recogniser(recogniser, self.speech.clone()),
            synthesiser: spawn_synthesiser(synthesiser, self.speech.clone()),
            model: self
                .model
                .as_ref()
                .map(|(chat, address)| spawn_model(ChatCompletions::new(chat.clone()), address.clone())),
        }
    }
}

fn enhancements(sound: config::Sound) -> Enhancements {
    Enhancements {
        noise_suppression: sound.noise_suppression,
        echo_cancellation: sound.echo_cancellation,
        gain_control: sound.gain_control,
    }
}

fn on_machine(configured: &config::OnMachine) -> OnMachine {
    match configured {
        config::OnMachine::GoOn => OnMachine::GoOn,
        config::OnMachine::HangUp => OnMachine::HangUp,
        config::OnMachine::Message(message) => OnMachine::Message(message.clone()),
    }
}

/// Nobody hears it whom the agent cannot hand over.
fn transfer_sound(
    name: &str,
    agent: &config::Agent,
    sounds: &Sounds,
    rate: SampleRate,
) -> Result<Option<Sound>, AgentError> {
    let sound = &agent.transfer_sound;
    if sound == SILENCE || agent.transfers.is_empty() {
        return Ok(None);
    }
    let missing = |reason| AgentError::NoSound { agent: name.to_owned(), sound: sound.clone(), reason };
    let clip = sounds.load(sound, rate).map_err(missing)?;
    Ok(Some(Sound { name: sound.clone(), clip }))
}

const fn hand_over(by: TransferBy) -> HandOver {
    match by {
        TransferBy::Bridge => HandOver::Bridged,
        TransferBy::Refer => HandOver::Referred,
        TransferBy::ReferOrBridge => HandOver::ReferredOrBridged,
        TransferBy::Release => HandOver::Released,
    }
}

fn load_pathway(agent: &str, source: &config::Pathway) -> Result<Arc<Pathway>, AgentError> {
    match source {
        config::Pathway::Demo => Ok(Pathway::receptionist()),
        config::Pathway::File(file) => {
            let text = std::fs::read_to_string(file).map_err(|source| AgentError::Unreadable {
                agent: agent.to_owned(),
                file: file.clone(),
                source,
            })?;
            let pathway = Pathway::load(&file.display().to_string(), &text)
                .map_err(|source| AgentError::Pathway { agent: agent.to_owned(), source })?;
            Ok(Arc::new(pathway))
        }
    }
}

fn model_mind(agent: &config::Agent, model: &config::Model) -> ModelConfig {
    let defaults = ModelConfig::default();
    ModelConfig {
        instructions: model.system_prompt.clone(),
        greeting: agent.greeting.clone().unwrap_or(defaults.greeting),
        goodbye: agent.goodbye.clone(),
        fallback: model.fallback.clone(),
        idle: agent.turns.idle_prompt.clone(),
        idle_count_max: u8::try_from(agent.turns.idle_prompts_max).unwrap_or(u8::MAX),
        silence_ms_max: milliseconds_u32(model.timeout),
        ..ModelConfig::default()
    }
}

fn turn_taking(turns: &config::Turns) -> TurnTaking {
    TurnTaking {
        endpointing: Endpointing::Silence(silence_endpointing(milliseconds_u32(turns.end_of_turn))),
        barge_in: BargeIn::Duration(DurationBargeIn { speech_ms: milliseconds_u32(turns.barge_in) }),
        idle_ms: milliseconds_u32(turns.idle_prompt_after),
        ..TurnTaking::default()
    }
}

/// A caller whose words seem unfinished gets as much more time as by default.
fn silence_endpointing(end_of_turn_ms: u32) -> SilenceEndpointing {
    let defaults = SilenceEndpointing::default();
    let patience_ms = defaults.end_of_turn_ms_max.saturating_sub(defaults.end_of_turn_ms);
    SilenceEndpointing { end_of_turn_ms, end_of_turn_ms_max: end_of_turn_ms.saturating_add(patience_ms), ..defaults }
}

/// The apology as audio, made now because the service that fails may be the synthesiser.
fn render_apology(agent: &str, text: &str, voice: Option<&str>, rate: SampleRate) -> Apology {
    let samples = render_text(text, voice.unwrap_or("rms"), rate).unwrap_or_else(|error| {
        tracing::warn!(agent, %error, "the apology cannot be spoken; callers will hear tones instead");
        fallback_tone(rate)
    });
    let frames = samples.chunks(rate.frame_len()).map(|it| Frame::from_samples(rate, it));
    Apology { text: text.to_owned(), frames: frames.collect() }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn milliseconds_u32(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// What is written where nothing is to be heard.
const SILENCE: &str = "silence";
/// From a free decoder to a recogniser that listens.
const READY_AFTER_WAIT_MS: u64 = 3_000;
