//! The client side of `/v1/recognise`.
//!
//! | state   | input             | action                                         | next    |
//! |---------|-------------------|------------------------------------------------|---------|
//! | Opening | READY             | DEFINE-GRAMMAR if there are phrases, RECOGNIZE | Defining, or Open + `Ready` |
//! | Defining| GRAMMAR-DEFINED   | `Ready`                                        | Open    |
//! | not Open| audio             | counted; stands as AUDIO-GAP before the first  | same    |
//! | not Open| finalize          | answered when open                             | same    |
//! | any     | fatal ERROR, junk | `Failed`                                       | Failed  |
//!
//! Positions stay those of the agent: audio that could not be sent is announced as AUDIO-GAP, so the server's clock
//! and the agent's agree.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::secret::Secret;
use super::super::wire::{Output, Reason, SocketProtocol, WireMessage};
use super::super::{RecogniserCommand, RecogniserEvent};
use super::message::{RecogniseRequest, RecogniseResponse};
use super::{AudioFormat, KEEP_ALIVE, RECOGNISE_PATH, bearer, bounded_reason, text};
use crate::codec::Frame;
use crate::limits::{PROVIDER_COMMANDS_MAX, SPEECH_GAP_MS_MAX};
use crate::timer::Now;

/// What a recogniser session is opened with.
#[derive(Clone, Debug)]
pub struct RecogniserConfig {
    /// How audio is sent. Its rate is that of the agent's frames.
    pub format: AudioFormat,
    /// What callers are expected to say; empty for the server's general model.
    pub phrases: Vec<String>,
    /// Whether partial results are wanted.
    pub partial_results: bool,
}

/// One session, from the agent's side.
#[derive(Debug)]
pub struct RecogniserClient {
    config: RecogniserConfig,
    state: State,
    /// Audio that is missing before what is sent next.
    gap_ms: u32,
    keep_alive: Option<Instant>,
    unknown_words: Vec<String>,
    outputs: VecDeque<Output<RecogniserEvent>>,
}

#[derive(Debug)]
enum State {
    /// `finalized` holds the turns that ended before the session could hear them; bounded by dropping the oldest.
    Opening {
        finalized: VecDeque<u32>,
    },
    Defining {
        finalized: VecDeque<u32>,
    },
    Open,
    Failed,
}

impl RecogniserClient {
    /// A session that is not connected yet.
    pub const fn new(config: RecogniserConfig) -> Self {
        Self {
            config,
            state: State::Opening { finalized: VecDeque::new() },
            gap_ms: 0,
            keep_alive: None,
            unknown_words: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Words of the phrases that the server said it cannot recognise.
    pub fn unknown_words(&self) -> &[String] {
        &self.unknown_words
    }

    fn send(&mut self, request: &RecogniseRequest) {
        self.outputs.push_back(Output::Send(text(request)));
    }

    fn event(&mut self, event: RecogniserEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn fail(&mut self, reason: &str) {
        if !matches!(self.state, State::Failed) {
            self.state = State::Failed;
            self.event(RecogniserEvent::Failed { reason: bounded_reason(reason) });
            self.outputs.push_back(Output::Close { code: 1000, reason: "" });
        }
    }

    fn missing(&mut self, ms: u32) {
        self.gap_ms = self.gap_ms.saturating_add(ms);
    }

    fn send_gap(&mut self) {
        while self.gap_ms > 0 {
            let ms = self.gap_ms.min(SPEECH_GAP_MS_MAX);
            self.gap_ms -= ms;
            self.send(&RecogniseRequest::AudioGap { ms });
        }
    }

    fn handle_audio(&mut self, frame: &Frame) {
        match self.state {
            State::Opening { .. } | State::Defining { .. } => self.missing(Frame::MS),
            State::Open if frame.rate() == self.config.format.rate() => {
                self.send_gap();
                let bytes = self.config.format.encode(frame.samples());
                self.outputs.push_back(Output::Send(WireMessage::Binary(bytes)));
            }
            State::Open => {
                let (is, should) = (frame.rate().hz(), self.config.format.rate().hz());
                self.fail(&format!("audio of {is} Hz in a recogniser session of {should} Hz"));
            }
            State::Failed => {}
        }
    }

    fn handle_finalize(&mut self, turn: u32) {
        match &mut self.state {
            State::Opening { finalized } | State::Defining { finalized } => {
                if finalized.len() == PROVIDER_COMMANDS_MAX {
                    finalized.pop_front();
                }
                finalized.push_back(turn);
            }
            State::Open => {
                self.send_gap();
                self.send(&RecogniseRequest::Finalize { turn });
            }
            State::Failed => {}
        }
    }

    fn handle_response(&mut self, response: RecogniseResponse) {
        match response {
            RecogniseResponse::Ready { .. } => self.handle_ready(),
            RecogniseResponse::GrammarDefined { unknown_words, .. } => {
                self.unknown_words = unknown_words;
                if let State::Defining { finalized } = &mut self.state {
                    let finalized = std::mem::take(finalized);
                    self.open(finalized);
                }
            }
            RecogniseResponse::IntermediateResult { text } => self.event(RecogniserEvent::Partial { text }),
            RecogniseResponse::RecognitionComplete { turn, text, words, cause: _ } => {
                let words = words.into_iter().map(Into::into).collect();
                self.event(RecogniserEvent::Final { turn, text, words });
            }
            RecogniseResponse::Error(error) if error.fatal => {
                self.fail(&format!("{}: {}", error.code.as_str(), error.message));
            }
            RecogniseResponse::Error(_)
            | RecogniseResponse::StartOfInput { .. }
            | RecogniseResponse::Stopped
            | RecogniseResponse::Unknown => {}
        }
    }

    fn handle_ready(&mut self) {
        let State::Opening { finalized } = &mut self.state else {
            return;
        };
        let finalized = std::mem::take(finalized);
        if self.config.phrases.is_empty() {
            self.open(finalized);
        } else {
            let phrases = std::mem::take(&mut self.config.phrases);
            self.send(&RecogniseRequest::DefineGrammar { phrases });
            self.state = State::Defining { finalized };
        }
    }

    fn open(&mut self, finalized: VecDeque<u32>) {
        self.state = State::Open;
        self.send(&RecogniseRequest::Recognize { intermediate_results: self.config.partial_results });
        self.event(RecogniserEvent::Ready);
        for turn in finalized {
            self.event(RecogniserEvent::Final { turn: Some(turn), text: String::new(), words: vec![] });
        }
    }
}

impl SocketProtocol for RecogniserClient {
    type Command = RecogniserCommand;
    type Event = RecogniserEvent;

    fn target(&self) -> String {
        format!("{RECOGNISE_PATH}?{}", self.config.format.query())
    }

    fn authorization(&self, key: &Secret) -> (&'static str, String) {
        bearer(key)
    }

    fn failure(reason: String) -> RecogniserEvent {
        RecogniserEvent::Failed { reason }
    }

    fn is_droppable(command: &RecogniserCommand) -> bool {
        matches!(command, RecogniserCommand::Audio(_))
    }

    fn handle_open(&mut self, now: Now) {
        self.keep_alive = Some(now.instant + KEEP_ALIVE);
    }

    fn handle_command(&mut self, command: RecogniserCommand, _now: Now) {
        match command {
            RecogniserCommand::Audio(frame) => self.handle_audio(&frame),
            RecogniserCommand::Finalize { turn } => self.handle_finalize(turn),
        }
    }

    fn handle_dropped(&mut self, count: u32, _now: Now) {
        self.missing(count.saturating_mul(Frame::MS));
    }

    fn handle_message(&mut self, message: WireMessage, _now: Now) {
        if matches!(self.state, State::Failed) {
            return;
        }
        match message {
            WireMessage::Text(json) => match serde_json::from_str(&json) {
                Ok(response) => self.handle_response(response),
                Err(error) => self.fail(&format!("the recogniser sent what is not a message: {error}")),
            },
            WireMessage::Binary(_) => self.fail("the recogniser sent audio"),
            WireMessage::Ping => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.keep_alive.is_some_and(|at| at <= now.instant) {
            self.keep_alive = Some(now.instant + KEEP_ALIVE);
            self.outputs.push_back(Output::Send(WireMessage::Ping));
        }
    }

    fn poll_output(&mut self) -> Option<Output<RecogniserEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.keep_alive.map(|at| (at, Reason::KeepAlive))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn a_turn_is_recognised() {
        check(
            &["yes please", "no thank you"],
            "
            < {\"type\":\"ready\",\"version\":1}
            > {\"type\":\"define-grammar\",\"phrases\":[\"yes please\",\"no thank you\"]}
            < {\"type\":\"grammar-defined\",\"words\":5,\"unknown_words\":[]}
            > {\"type\":\"recognize\",\"intermediate_results\":true}
            ^ Ready
            audio
            > binary 160
            < {\"type\":\"start-of-input\",\"at_ms\":0}
            < {\"type\":\"intermediate-result\",\"text\":\"yes\"}
            ^ Partial { text: \"yes\" }
            finalize 1
            > {\"type\":\"finalize\",\"turn\":1}
            < {\"type\":\"recognition-complete\",\"turn\":1,\"cause\":\"success\",\"text\":\"yes\",\"words\":[{\"word\":\"yes\",\"start_ms\":4,\"end_ms\":9}]}
            ^ Final { turn: Some(1), text: \"yes\", words: [WordTime { word: \"yes\", start_ms: 4, end_ms: 9 }] }",
        );
    }

    #[test]
    fn what_is_said_before_the_session_opens_is_a_gap_and_an_empty_turn() {
        check(
            &[],
            "
            audio
            audio
            finalize 1
            < {\"type\":\"ready\",\"version\":1}
            > {\"type\":\"recognize\",\"intermediate_results\":true}
            ^ Ready
            ^ Final { turn: Some(1), text: \"\", words: [] }
            audio
            > {\"type\":\"audio-gap\",\"ms\":40}
            > binary 160",
        );
    }

    #[test]
    fn dropped_audio_keeps_its_place_in_time() {
        check(
            &[],
            "
            < {\"type\":\"ready\",\"version\":1}
            > {\"type\":\"recognize\",\"intermediate_results\":true}
            ^ Ready
            dropped 3
            finalize 2
            > {\"type\":\"audio-gap\",\"ms\":60}
            > {\"type\":\"finalize\",\"turn\":2}
            < {\"type\":\"something-new\",\"x\":[]}
            < {\"type\":\"error\",\"code\":\"bad-message\",\"message\":\"odd\",\"fatal\":false}",
        );
    }

    #[test]
    fn a_fatal_error_and_junk_end_the_session_once() {
        check(
            &[],
            "
            < {\"type\":\"error\",\"code\":\"busy\",\"message\":\"all recognisers are taken\",\"fatal\":true}
            ^ Failed { reason: \"busy: all recognisers are taken\" }
            > close 1000
            < {\"type\":\"error\",\"code\":\"busy\",\"message\":\"again\",\"fatal\":true}
            audio
            finalize 1",
        );
        check(
            &[],
            "
            < junk
            ^ Failed { reason: \"the recogniser sent what is not a message: expected value at line 1 column 1\" }
            > close 1000",
        );
    }

    #[test]
    fn an_open_session_pings() {
        let start = Now::origin();
        let mut client = client(&[]);
        assert_eq!(client.poll_timeout(), None);
        client.handle_open(start);
        let at = start + Duration::from_secs(15);
        assert_eq!(client.poll_timeout(), Some((at.instant, Reason::KeepAlive)));
        client.handle_timeout(start);
        assert_eq!(client.poll_output(), None);
        client.handle_timeout(at);
        assert_eq!(client.poll_output(), Some(Output::Send(WireMessage::Ping)));
    }

    fn client(phrases: &[&str]) -> RecogniserClient {
        RecogniserClient::new(RecogniserConfig {
            format: AudioFormat::MULAW,
            phrases: phrases.iter().map(|it| (*it).to_owned()).collect(),
            partial_results: true,
        })
    }

    /// Runs a script: inputs in the agent's words, `<` what the server sends, `>` what is sent, `^` what the agent hears.
    #[track_caller]
    fn check(phrases: &[&str], script: &str) {
        let now = Now::origin();
        let mut client = client(phrases);
        client.handle_open(now);
        let mut log = vec![];
        let script: Vec<_> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        for line in &script {
            match line.split_once(' ').unwrap_or((line, "")) {
                (">" | "^", _) => continue,
                ("<", json) => client.handle_message(WireMessage::Text(json.to_owned()), now),
                ("audio", _) => {
                    client.handle_command(RecogniserCommand::Audio(Frame::silence(SampleRate::Hz8000)), now);
                }
                ("finalize", turn) => {
                    client.handle_command(RecogniserCommand::Finalize { turn: turn.parse().unwrap() }, now);
                }
                ("dropped", count) => client.handle_dropped(count.parse().unwrap(), now),
                (other, _) => panic!("{other}"),
            }
            log.push((*line).to_owned());
            while let Some(output) = client.poll_output() {
                log.push(match output {
                    Output::Send(WireMessage::Text(json)) => format!("> {json}"),
                    Output::Send(WireMessage::Binary(bytes)) => format!("> binary {}", bytes.len()),
                    Output::Send(WireMessage::Ping) => "> ping".to_owned(),
                    Output::Event(event) => format!("^ {event:?}"),
                    Output::Close { code, .. } => format!("> close {code}"),
                });
            }
        }
        assert_eq!(log, script);
    }
}
