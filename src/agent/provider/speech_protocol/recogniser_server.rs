//! The server side of `/v1/recognise`.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::WordTime;
use super::super::wire::{Output, Reason, WireMessage};
use super::message::{ErrorCode, ErrorMessage, RecogniseRequest, RecogniseResponse, RecognitionCause, VERSION};
use super::{AudioFormat, IDLE, text};
use crate::limits::{SPEECH_AUDIO_BYTES_MAX, SPEECH_GAP_MS_MAX, SPEECH_PHRASE_CHARS_MAX, SPEECH_PHRASES_MAX};
use crate::timer::Now;

/// What a client wants of its recogniser, in the order it wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecogniserDemand {
    /// Expect these phrases from the next utterance on. Their number and lengths are within the limits.
    Grammar(Vec<String>),
    /// Begin to recognise.
    Start {
        /// Whether to report the utterance so far.
        partial_results: bool,
    },
    /// The next audio, at the session's rate.
    Audio(Vec<i16>),
    /// This much audio is missing.
    Gap {
        /// Its length, at most [`SPEECH_GAP_MS_MAX`].
        ms: u32,
    },
    /// The utterance ends here.
    Finalize {
        /// To be answered with.
        turn: u32,
    },
    /// Recognise no more.
    Stop,
}

/// One session, from the server's side.
#[derive(Debug)]
pub struct RecogniserServer {
    format: AudioFormat,
    idle_at: Instant,
    closed: bool,
    outputs: VecDeque<Output<RecogniserDemand>>,
}

impl RecogniserServer {
    /// A session whose websocket has just opened.
    pub fn new(format: AudioFormat, now: Now) -> Self {
        Self { format, idle_at: now.instant + IDLE, closed: false, outputs: VecDeque::new() }
    }

    /// A message of the client.
    pub fn handle_message(&mut self, message: WireMessage, now: Now) {
        self.idle_at = now.instant + IDLE;
        if self.closed {
            return;
        }
        match message {
            WireMessage::Binary(bytes) if bytes.len() > SPEECH_AUDIO_BYTES_MAX => {
                self.fail(ErrorCode::TooLarge, "a message holds at most five seconds of audio");
            }
            WireMessage::Binary(bytes) => match self.format.decode(&bytes) {
                Some(samples) => self.demand(RecogniserDemand::Audio(samples)),
                None => self.fail(ErrorCode::BadMessage, "audio ends within a sample"),
            },
            WireMessage::Text(json) => match serde_json::from_str(&json) {
                Ok(request) => self.handle_request(request),
                Err(error) => self.fail(ErrorCode::BadMessage, &error.to_string()),
            },
            WireMessage::Ping => {}
        }
    }

    /// Ends the session if the client has been silent for too long. An early call does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.idle_at <= now.instant {
            self.fail(ErrorCode::IdleTimeout, "nothing was received for a minute; ping to stay connected");
        }
    }

    /// A recogniser has been assigned.
    pub fn ready(&mut self) {
        self.respond(&RecogniseResponse::Ready { version: VERSION });
    }

    /// The grammar is in place.
    pub fn grammar_defined(&mut self, words: u32, unknown_words: Vec<String>) {
        self.respond(&RecogniseResponse::GrammarDefined { words, unknown_words });
    }

    /// Speech has begun.
    pub fn start_of_input(&mut self, at_ms: u32) {
        self.respond(&RecogniseResponse::StartOfInput { at_ms });
    }

    /// The utterance so far.
    pub fn intermediate_result(&mut self, text: String) {
        self.respond(&RecogniseResponse::IntermediateResult { text });
    }

    /// The utterance is over.
    pub fn recognition_complete(
        &mut self,
        turn: Option<u32>,
        cause: RecognitionCause,
        text: String,
        words: Vec<WordTime>,
    ) {
        let words = words.into_iter().map(Into::into).collect();
        self.respond(&RecogniseResponse::RecognitionComplete { turn, cause, text, words });
    }

    /// A stop has been done.
    pub fn stopped(&mut self) {
        self.respond(&RecogniseResponse::Stopped);
    }

    /// Reports a fatal error and closes.
    pub fn fail(&mut self, code: ErrorCode, message: &str) {
        if self.closed {
            return;
        }
        self.respond(&RecogniseResponse::Error(ErrorMessage { code, message: message.to_owned(), fatal: true }));
        self.closed = true;
        self.outputs.push_back(Output::Close { code: code.close_code(), reason: code.as_str() });
    }

    /// The next thing to do; drain to `None`.
    pub fn poll_output(&mut self) -> Option<Output<RecogniserDemand>> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        (!self.closed).then_some((self.idle_at, Reason::Idle))
    }

    fn handle_request(&mut self, request: RecogniseRequest) {
        match request {
            RecogniseRequest::DefineGrammar { phrases } => {
                if phrases.len() > SPEECH_PHRASES_MAX {
                    self.fail(ErrorCode::TooLarge, &format!("a grammar has at most {SPEECH_PHRASES_MAX} phrases"));
                } else if phrases.iter().any(|it| it.chars().count() > SPEECH_PHRASE_CHARS_MAX) {
                    let message = format!("a phrase has at most {SPEECH_PHRASE_CHARS_MAX} characters");
                    self.fail(ErrorCode::TooLarge, &message);
                } else {
                    self.demand(RecogniserDemand::Grammar(phrases));
                }
            }
            RecogniseRequest::Recognize { intermediate_results } => {
                self.demand(RecogniserDemand::Start { partial_results: intermediate_results });
            }
            RecogniseRequest::AudioGap { ms } if ms <= SPEECH_GAP_MS_MAX => self.demand(RecogniserDemand::Gap { ms }),
            RecogniseRequest::AudioGap { .. } => {
                self.fail(ErrorCode::TooLarge, &format!("a gap has at most {SPEECH_GAP_MS_MAX} ms"));
            }
            RecogniseRequest::Finalize { turn } => self.demand(RecogniserDemand::Finalize { turn }),
            RecogniseRequest::Stop => self.demand(RecogniserDemand::Stop),
        }
    }

    fn demand(&mut self, demand: RecogniserDemand) {
        self.outputs.push_back(Output::Event(demand));
    }

    fn respond(&mut self, response: &RecogniseResponse) {
        if !self.closed {
            self.outputs.push_back(Output::Send(text(response)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn demands_come_out_in_the_order_of_the_messages() {
        let now = Now::origin();
        let mut server = RecogniserServer::new(AudioFormat::MULAW, now);
        for json in [
            r#"{"type":"define-grammar","phrases":["yes"]}"#,
            r#"{"type":"recognize"}"#,
            r#"{"type":"audio-gap","ms":20}"#,
        ] {
            server.handle_message(WireMessage::Text(json.to_owned()), now);
        }
        server.handle_message(WireMessage::Binary(Bytes::from_static(&[0xff, 0xff])), now);
        server.handle_message(WireMessage::Text(r#"{"type":"finalize","turn":7}"#.to_owned()), now);
        server.handle_message(WireMessage::Text(r#"{"type":"stop"}"#.to_owned()), now);
        let expected = [
            RecogniserDemand::Grammar(vec!["yes".to_owned()]),
            RecogniserDemand::Start { partial_results: true },
            RecogniserDemand::Gap { ms: 20 },
            RecogniserDemand::Audio(vec![0, 0]),
            RecogniserDemand::Finalize { turn: 7 },
            RecogniserDemand::Stop,
        ];
        for demand in expected {
            assert_eq!(server.poll_output(), Some(Output::Event(demand)));
        }
        assert_eq!(server.poll_output(), None);
    }

    #[test]
    fn what_is_not_a_message_or_too_large_closes_the_session() {
        let many = serde_json::json!({"type": "define-grammar", "phrases": vec!["a"; SPEECH_PHRASES_MAX + 1]});
        let long = serde_json::json!({"type": "define-grammar", "phrases": ["a".repeat(SPEECH_PHRASE_CHARS_MAX + 1)]});
        for (message, code) in [
            (WireMessage::Text("{".to_owned()), 4400),
            (WireMessage::Text(r#"{"type":"interpret"}"#.to_owned()), 4400),
            (WireMessage::Text(r#"{"type":"finalize","turn":-1}"#.to_owned()), 4400),
            (WireMessage::Text(r#"{"type":"audio-gap","ms":60001}"#.to_owned()), 1009),
            (WireMessage::Text(many.to_string()), 1009),
            (WireMessage::Text(long.to_string()), 1009),
            (WireMessage::Binary(vec![0; SPEECH_AUDIO_BYTES_MAX + 1].into()), 1009),
        ] {
            let now = Now::origin();
            let mut server = RecogniserServer::new(AudioFormat::MULAW, now);
            server.handle_message(message.clone(), now);
            assert!(matches!(server.poll_output(), Some(Output::Send(WireMessage::Text(_)))), "{message:?}");
            assert!(matches!(server.poll_output(), Some(Output::Close { code: it, .. }) if it == code), "{message:?}");
            server.handle_message(WireMessage::Text(r#"{"type":"stop"}"#.to_owned()), now);
            server.ready();
            assert_eq!(server.poll_output(), None, "nothing follows a close");
        }
    }

    #[test]
    fn a_silent_client_is_left_after_a_minute_and_a_ping_keeps_it() {
        let start = Now::origin();
        let mut server = RecogniserServer::new(AudioFormat::MULAW, start);
        server.handle_message(WireMessage::Ping, start + Duration::from_secs(50));
        server.handle_timeout(start + Duration::from_secs(60));
        assert_eq!(server.poll_output(), None);
        server.handle_timeout(start + Duration::from_secs(110));
        assert!(matches!(server.poll_output(), Some(Output::Send(_))));
        assert_eq!(server.poll_output(), Some(Output::Close { code: 4408, reason: "idle-timeout" }));
        assert_eq!(server.poll_timeout(), None);
    }
}
