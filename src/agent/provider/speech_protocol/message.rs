//! The messages of `docs/speech-protocol.md` as they are written: MRCPv2's words (RFC 6787) in lower case as `type`,
//! one JSON object a text message. Both sides ignore fields they do not know.

use serde::{Deserialize, Serialize};

use super::super::WordTime;

/// The protocol's version, as in the paths.
pub const VERSION: u32 = 1;

/// Client to server on `/v1/recognise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum RecogniseRequest {
    /// What callers are expected to say. Takes effect with the next utterance.
    DefineGrammar {
        /// Sentences or phrases; their parts and mixtures are understood too.
        phrases: Vec<String>,
    },
    /// Recognise from here on, utterance after utterance.
    Recognize {
        /// Whether intermediate results are wanted.
        #[serde(default = "yes")]
        intermediate_results: bool,
    },
    /// Audio of this length is missing here; time passes nevertheless.
    AudioGap {
        /// Its length.
        ms: u32,
    },
    /// The utterance ends here.
    Finalize {
        /// Comes back with the result.
        turn: u32,
    },
    /// Recognise no more and forget the utterance.
    Stop,
}

/// Server to client on `/v1/recognise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum RecogniseResponse {
    /// A recogniser has been assigned.
    Ready {
        /// The protocol's version.
        version: u32,
    },
    /// The grammar is in place.
    GrammarDefined {
        /// Distinct words that can be recognised.
        words: u32,
        /// Words of the phrases that the recogniser cannot pronounce, and so never hears.
        unknown_words: Vec<String>,
    },
    /// Speech has begun in this utterance.
    StartOfInput {
        /// Where, in milliseconds of audio since the session began.
        at_ms: u32,
    },
    /// The utterance so far; it may still change.
    IntermediateResult {
        /// Its words.
        text: String,
    },
    /// The utterance is over.
    RecognitionComplete {
        /// That of the FINALIZE; absent if the server ended the utterance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<u32>,
        /// How it ended.
        cause: RecognitionCause,
        /// What was said; empty if nothing was understood.
        text: String,
        /// When its words were said, in milliseconds of audio since the session began.
        words: Vec<Word>,
    },
    /// STOP has been done.
    Stopped,
    /// Something went wrong.
    Error(ErrorMessage),
    /// A message of a later minor version.
    #[serde(other)]
    Unknown,
}

/// Client to server on `/v1/synthesise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum SynthesiseRequest {
    /// Speak after everything asked for earlier.
    Speak {
        /// Names the request; not to be reused in a session.
        request: u32,
        /// Plain text.
        text: String,
        /// Another voice than the session's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        voice: Option<String>,
    },
    /// Forget a request, or all of them.
    Stop {
        /// The request; absent means all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u32>,
    },
}

/// Server to client on `/v1/synthesise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum SynthesiseResponse {
    /// The session is open.
    Ready {
        /// The protocol's version.
        version: u32,
        /// Voices to choose from; the first is the default.
        voices: Vec<String>,
    },
    /// Binary messages from here on are audio of this request.
    SpeakStarted {
        /// The request.
        request: u32,
    },
    /// When words are spoken. Comes before the audio it describes, a sentence at a time.
    SpeechMarker {
        /// The request.
        request: u32,
        /// The words, in milliseconds from the beginning of the request's audio.
        words: Vec<Word>,
        /// Whether the times are proportional guesses.
        #[serde(default)]
        estimated: bool,
    },
    /// No audio of this request follows.
    SpeakComplete {
        /// The request.
        request: u32,
        /// How it ended.
        cause: SpeakCause,
        /// Audio sent for it.
        audio_ms: u32,
    },
    /// Something went wrong.
    Error(ErrorMessage),
    /// A message of a later minor version.
    #[serde(other)]
    Unknown,
}

/// The body of an ERROR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether the server closes the connection now.
    pub fatal: bool,
}

/// One word and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    /// The word.
    pub word: String,
    /// Its beginning, in milliseconds.
    pub start_ms: u32,
    /// Its end, in milliseconds.
    pub end_ms: u32,
}

impl From<Word> for WordTime {
    fn from(word: Word) -> Self {
        Self { word: word.word, start_ms: word.start_ms, end_ms: word.end_ms }
    }
}

impl From<WordTime> for Word {
    fn from(word: WordTime) -> Self {
        Self { word: word.word, start_ms: word.start_ms, end_ms: word.end_ms }
    }
}

/// How an utterance ended; MRCPv2's completion causes (RFC 6787 §9.4.11) as far as they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecognitionCause {
    /// Something was understood.
    Success,
    /// There was speech, and nothing was understood.
    NoMatch,
    /// There was no speech.
    NoInput,
    /// The utterance was too long and was ended; the next has begun.
    SuccessMaxtime,
    /// A cause of a later minor version.
    #[serde(other)]
    Unknown,
}

/// How a request to speak ended; MRCPv2's completion causes (RFC 6787 §8.4.4) as far as they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeakCause {
    /// All of it was sent.
    Normal,
    /// STOP ended it.
    Stopped,
    /// An ERROR before says why.
    Error,
    /// A cause of a later minor version.
    #[serde(other)]
    Unknown,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The message is not one of the protocol, or not now.
    BadMessage,
    /// A text, message or number is beyond its limit.
    TooLarge,
    /// No phrase of the grammar can be recognised.
    GrammarEmpty,
    /// There is no such voice.
    UnknownVoice,
    /// All recognisers are taken.
    Busy,
    /// The engine is not installed or did not start.
    EngineUnavailable,
    /// The engine failed.
    EngineFailed,
    /// Nothing came from the client for too long.
    IdleTimeout,
    /// The server is shutting down.
    GoingAway,
    /// A code of a later minor version.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The websocket close code that follows a fatal error of this kind.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::BadMessage | Self::GrammarEmpty | Self::UnknownVoice => 4400,
            Self::TooLarge => 1009,
            Self::Busy => 1013,
            Self::IdleTimeout => 4408,
            Self::GoingAway => 1001,
            Self::EngineUnavailable | Self::EngineFailed | Self::Unknown => 1011,
        }
    }

    /// The code as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadMessage => "bad-message",
            Self::TooLarge => "too-large",
            Self::GrammarEmpty => "grammar-empty",
            Self::UnknownVoice => "unknown-voice",
            Self::Busy => "busy",
            Self::EngineUnavailable => "engine-unavailable",
            Self::EngineFailed => "engine-failed",
            Self::IdleTimeout => "idle-timeout",
            Self::GoingAway => "going-away",
            Self::Unknown => "unknown",
        }
    }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_documented() {
        for (json, message) in [
            (
                r#"{"type":"define-grammar","phrases":["yes please"]}"#,
                RecogniseRequest::DefineGrammar { phrases: vec!["yes please".into()] },
            ),
            (
                r#"{"type":"recognize","intermediate_results":true}"#,
                RecogniseRequest::Recognize { intermediate_results: true },
            ),
            (r#"{"type":"audio-gap","ms":40}"#, RecogniseRequest::AudioGap { ms: 40 }),
            (r#"{"type":"finalize","turn":3}"#, RecogniseRequest::Finalize { turn: 3 }),
            (r#"{"type":"stop"}"#, RecogniseRequest::Stop),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), json);
            assert_eq!(serde_json::from_str::<RecogniseRequest>(json).unwrap(), message);
        }
        let error =
            RecogniseResponse::Error(ErrorMessage { code: ErrorCode::Busy, message: "later".into(), fatal: true });
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"type":"error","code":"busy","message":"later","fatal":true}"#
        );
        let code = serde_json::to_string(&ErrorCode::EngineUnavailable).unwrap();
        assert_eq!(code, format!("\"{}\"", ErrorCode::EngineUnavailable.as_str()));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let message = r#"{"type":"confidence-report","values":[1,2]}"#;
        assert_eq!(serde_json::from_str::<RecogniseResponse>(message).unwrap(), RecogniseResponse::Unknown);
        let message = r#"{"type":"speak-complete","request":1,"cause":"lexicon-load-failure","audio_ms":0,"x":{}}"#;
        assert_eq!(
            serde_json::from_str::<SynthesiseResponse>(message).unwrap(),
            SynthesiseResponse::SpeakComplete { request: 1, cause: SpeakCause::Unknown, audio_ms: 0 }
        );
    }
}
