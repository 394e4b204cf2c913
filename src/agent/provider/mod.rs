//! What an agent says to its speech and language services, and what it hears from them, whatever their wire protocol.
//! The wire protocols themselves are the sans-IO codecs beside this file.

pub mod chat_completions;
pub mod event_stream;
pub mod secret;
pub mod speech_protocol;
pub mod wire;

/// One word of a recognised or spoken text with its place in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordTime {
    /// The word as written.
    pub word: String,
    /// Its beginning, in milliseconds: of the audio sent since the recogniser's session began, or of the utterance.
    pub start_ms: u32,
    /// Its end, likewise.
    pub end_ms: u32,
}

/// What the agent tells its recogniser.
#[expect(clippy::large_enum_variant, reason = "nearly every command is audio; boxing it would allocate per frame")]
#[derive(Clone, Debug, PartialEq)]
pub enum RecogniserCommand {
    /// The next 20 ms of the caller. Frames follow each other without gaps: silence stands for what did not arrive.
    Audio(crate::codec::Frame),
    /// The caller's turn has ended: send the final result for everything up to here.
    Finalize {
        /// Numbers the turn; the final result carries it back.
        turn: u32,
    },
}

/// What the recogniser tells the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecogniserEvent {
    /// The session is open; audio is being recognised.
    Ready,
    /// The text of the turn so far; it may still change.
    Partial {
        /// The words so far.
        text: String,
    },
    /// The text of a finished turn.
    Final {
        /// The turn of the [`RecogniserCommand::Finalize`] that this answers; `None` if the service ended it by itself.
        turn: Option<u32>,
        /// What was said; empty if nothing was understood.
        text: String,
        /// Word times, if the service gives them.
        words: Vec<WordTime>,
    },
    /// The service cannot go on. No event follows.
    Failed {
        /// What happened, for the call record.
        reason: String,
    },
}

/// Names one utterance of one call; never reused in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtteranceId(pub u32);

/// What the agent tells its synthesiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesiserCommand {
    /// Turn `text` into audio. Several may be outstanding; they are spoken in order.
    Speak {
        /// Comes back with every piece of audio.
        utterance: UtteranceId,
        /// Plain text.
        text: String,
    },
    /// Forget this utterance. Audio of it that still arrives is dropped by the agent.
    Stop {
        /// The utterance.
        utterance: UtteranceId,
    },
}

/// What the synthesiser tells the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesiserEvent {
    /// The session is open.
    Ready,
    /// The next audio of an utterance, at the rate the agent asked for.
    Audio {
        /// Whose audio.
        utterance: UtteranceId,
        /// Linear samples; any number.
        samples: Vec<i16>,
    },
    /// When the words of an utterance are spoken, from its beginning.
    Words {
        /// Whose words.
        utterance: UtteranceId,
        /// The words in order.
        words: Vec<WordTime>,
    },
    /// All audio of the utterance has been sent.
    Complete {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// The service cannot go on. No event follows.
    Failed {
        /// What happened, for the call record.
        reason: String,
    },
}

/// Who said a message of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// The caller.
    User,
    /// The agent.
    Assistant,
}

/// One message of the conversation given to a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said; of the agent, only what was heard.
    pub text: String,
}

/// What the agent tells its language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelCommand {
    /// Generate the agent's next turn.
    Generate {
        /// Comes back with every piece of text.
        generation: u32,
        /// The conversation so far.
        messages: Vec<Message>,
    },
    /// Forget this generation.
    Cancel {
        /// The generation.
        generation: u32,
    },
}

/// What the language model tells the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// The next piece of text.
    Text {
        /// Whose text.
        generation: u32,
        /// The piece, to be appended verbatim.
        delta: String,
    },
    /// The text is complete.
    Done {
        /// The generation.
        generation: u32,
    },
    /// This generation failed; the next may succeed.
    Failed {
        /// The generation.
        generation: u32,
        /// What happened, for the call record.
        reason: String,
    },
}
