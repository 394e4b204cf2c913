//! What goes into an agent and what comes out of it.

use super::provider::{ModelCommand, RecogniserCommand, SynthesiserCommand, UtteranceId};
use super::turn_machine::TurnState;
use crate::codec::Frame;

/// 20 ms of a leg, as its media session lived through them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// What the caller sent; `None` if nothing arrived (silence suppression, hold, loss, a caller who sends nothing).
    pub audio: Option<Frame>,
    /// The utterance that was sent to the caller in this tick, and how many of its samples have been sent so far.
    pub played: Option<(UtteranceId, u32)>,
    /// A key that the caller pressed.
    pub digit: Option<char>,
    /// Frames that still wait in the leg's playout queue.
    pub queued_frames: u16,
    /// Ticks before this one that the agent never saw; time passed in them all the same.
    pub missed: u32,
}

/// What the agent wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For the recogniser.
    Recogniser(RecogniserCommand),
    /// For the synthesiser.
    Synthesiser(SynthesiserCommand),
    /// For the language model.
    Model(ModelCommand),
    /// For the leg: the next 20 ms to send.
    Play {
        /// The utterance that they are of.
        utterance: UtteranceId,
        /// The audio.
        frame: Frame,
    },
    /// For the leg: drop everything that waits to be sent.
    ClearPlayout,
    /// For the leg: send this key to the caller.
    SendDtmf(char),
    /// Find a sound, and bring it by [`super::Agent::handle_sound`].
    Fetch {
        /// The utterance that it is played as.
        utterance: UtteranceId,
        /// Where it is found.
        source: String,
    },
    /// For the call's record.
    Event(Event),
    /// End the call. The last output of an agent.
    HangUp {
        /// Why.
        reason: HangUpReason,
    },
}

/// What happened, for the call's record. Times are milliseconds since the call was answered, on media time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The conversation moved on.
    State(TurnState),
    /// Something was said and heard.
    Transcript {
        /// Who said it.
        speaker: Speaker,
        /// The words; of the agent, those that the caller heard.
        text: String,
        /// When it began.
        start_ms: u64,
        /// When it ended.
        end_ms: u64,
        /// Whether it was cut off here.
        interrupted: bool,
    },
    /// A sound was played and heard.
    Played {
        /// Where it came from.
        source: String,
        /// When it began.
        start_ms: u64,
        /// When it ended.
        end_ms: u64,
        /// Whether it was cut off there.
        interrupted: bool,
    },
    /// A sound was not played.
    NotPlayed {
        /// Where it should have come from.
        source: String,
        /// Why.
        reason: String,
    },
    /// A reply reached the caller.
    TurnLatency(TurnLatency),
    /// The caller pressed a key.
    Digit(char),
    /// The agent was interrupted and emptied its playout.
    BargeIn,
    /// The recogniser did not give a final result in time; the text that was known was used.
    RecogniserLate,
    /// A service failed.
    ServiceFailed {
        /// Which.
        service: Service,
        /// What it said.
        reason: String,
    },
    /// Synthesised audio was dropped because too much of it waited to be played.
    AudioDropped {
        /// Of which utterance. Each is reported once.
        utterance: UtteranceId,
    },
    /// Something to say was dropped because too much waited to be said.
    SpeechDropped,
    /// A pathway reached a node.
    NodeEntered {
        /// Its name.
        node: String,
    },
    /// A pathway set a variable.
    VariableSet {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A text named a variable that has neither a value nor a default.
    VariableMissing {
        /// Its name.
        name: String,
    },
    /// A pathway noted something about the call, such as how it ended.
    Note {
        /// The note.
        text: String,
    },
    /// A pathway wants the recording switched.
    Recording(RecordingOrder),
    /// The caller is to be handed over. Answer with `handle_transfer_refused` if that is not done.
    TransferRequested {
        /// Whom to.
        target: String,
    },
    /// The transfer was not done.
    TransferRefused {
        /// Why.
        reason: String,
    },
}

/// What is to become of the recording of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingOrder {
    /// Begin one, or go on with the one that is paused.
    Start,
    /// Record silence.
    Pause,
    /// Go on.
    Resume,
    /// End it; what follows is another one.
    Stop,
}

impl RecordingOrder {
    /// The word for it in a pathway.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "start" => Some(Self::Start),
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "stop" => Some(Self::Stop),
            _ => None,
        }
    }
}

/// A side of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The person on the phone.
    Caller,
    /// The agent.
    Agent,
}

/// A service that an agent depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Speech to text.
    Recogniser,
    /// Text to speech.
    Synthesiser,
    /// The language model.
    Model,
}

/// Where the time of one reply went, in milliseconds. The parts add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnLatency {
    /// From the end of the caller's speech to the decision that the turn is over.
    pub end_of_turn_wait: u32,
    /// From there to the recogniser's final result.
    pub recogniser: u32,
    /// From there to the first sentence of the reply.
    pub decision: u32,
    /// From there to its first audio.
    pub synthesiser: u32,
    /// From there to its first frame on the wire.
    pub playout: u32,
    /// From the end of the caller's speech to the first frame of the reply on the wire.
    pub total: u32,
}

/// Why an agent ends its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpReason {
    /// The conversation reached its end.
    Finished,
    /// The caller said nothing, however often asked.
    CallerSilent,
    /// The caller was not understood, however often asked.
    NotUnderstood,
    /// The call lasted as long as it may.
    MaxDuration,
    /// A service failed; the caller heard the apology.
    ServiceFailed(Service),
    /// A machine answered, and is not talked to.
    Machine,
    /// A machine answered, and has a message now.
    MessageLeft,
    /// The pathway went round without waiting for the caller.
    PathwayLoop,
}
