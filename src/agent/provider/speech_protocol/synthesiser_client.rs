//! The client side of `/v1/synthesise`. An utterance's number is its request's number.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::super::secret::Secret;
use super::super::wire::{Output, Reason, SocketProtocol, WireMessage};
use super::super::{SynthesiserCommand, SynthesiserEvent, UtteranceId};
use super::message::{SpeakCause, SynthesiseRequest, SynthesiseResponse};
use super::{AudioFormat, KEEP_ALIVE, SYNTHESISE_PATH, bearer, bounded_reason, text};
use crate::timer::Now;

/// What a synthesiser session is opened with.
#[derive(Clone, Debug)]
pub struct SynthesiserConfig {
    /// How audio is received. Its rate is that of the samples the agent hears of.
    pub format: AudioFormat,
    /// The voice; `None` for the server's default.
    pub voice: Option<String>,
}

/// One session, from the agent's side.
#[derive(Debug)]
pub struct SynthesiserClient {
    config: SynthesiserConfig,
    ready: bool,
    failed: bool,
    /// Whose audio binary messages are.
    speaking: Option<u32>,
    /// Requests that are neither complete nor stopped, so bounded by what the server lets be outstanding.
    outstanding: BTreeSet<u32>,
    keep_alive: Option<Instant>,
    outputs: VecDeque<Output<SynthesiserEvent>>,
}

impl SynthesiserClient {
    /// A session that is not connected yet.
    pub const fn new(config: SynthesiserConfig) -> Self {
        Self {
            config,
            ready: false,
            failed: false,
            speaking: None,
            outstanding: BTreeSet::new(),
            keep_alive: None,
            outputs: VecDeque::new(),
        }
    }

    fn send(&mut self, request: &SynthesiseRequest) {
        self.outputs.push_back(Output::Send(text(request)));
    }

    fn event(&mut self, event: SynthesiserEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn fail(&mut self, reason: &str) {
        if !self.failed {
            self.failed = true;
            self.event(SynthesiserEvent::Failed { reason: bounded_reason(reason) });
            self.outputs.push_back(Output::Close { code: 1000, reason: "" });
        }
    }

    fn handle_response(&mut self, response: SynthesiseResponse) {
        match response {
            SynthesiseResponse::Ready { .. } => {
                if !self.ready {
                    self.ready = true;
                    self.event(SynthesiserEvent::Ready);
                }
            }
            SynthesiseResponse::SpeakStarted { request } => self.speaking = Some(request),
            SynthesiseResponse::SpeechMarker { request, words, estimated: _ } => {
                if self.outstanding.contains(&request) {
                    let words = words.into_iter().map(Into::into).collect();
                    self.event(SynthesiserEvent::Words { utterance: UtteranceId(request), words });
                }
            }
            SynthesiseResponse::SpeakComplete { request, cause, audio_ms: _ } => {
                self.speaking = None;
                if self.outstanding.remove(&request) {
                    match cause {
                        SpeakCause::Error => self.fail("the synthesiser could not speak a text"),
                        SpeakCause::Normal | SpeakCause::Stopped | SpeakCause::Unknown => {
                            self.event(SynthesiserEvent::Complete { utterance: UtteranceId(request) });
                        }
                    }
                }
            }
            SynthesiseResponse::Error(error) => self.fail(&format!("{}: {}", error.code.as_str(), error.message)),
            SynthesiseResponse::Unknown => {}
        }
    }

    fn handle_audio(&mut self, bytes: &[u8]) {
        let Some(request) = self.speaking else {
            return self.fail("the synthesiser sent audio of nothing");
        };
        match self.config.format.decode(bytes) {
            Some(samples) if self.outstanding.contains(&request) => {
                self.event(SynthesiserEvent::Audio { utterance: UtteranceId(request), samples });
            }
            // Audio that was on its way when the utterance was stopped.
            Some(_) => {}
            None => self.fail("the synthesiser's audio ends within a sample"),
        }
    }
}

impl SocketProtocol for SynthesiserClient {
    type Command = SynthesiserCommand;
    type Event = SynthesiserEvent;

    fn target(&self) -> String {
        let voice = self.config.voice.as_deref().filter(|it| it.bytes().all(|it| it.is_ascii_alphanumeric()));
        let voice = voice.map(|it| format!("&voice={it}")).unwrap_or_default();
        format!("{SYNTHESISE_PATH}?{}{voice}", self.config.format.query())
    }

    fn authorization(&self, key: &Secret) -> (&'static str, String) {
        bearer(key)
    }

    fn failure(reason: String) -> SynthesiserEvent {
        SynthesiserEvent::Failed { reason }
    }

    fn is_droppable(_command: &SynthesiserCommand) -> bool {
        false
    }

    fn handle_open(&mut self, now: Now) {
        self.keep_alive = Some(now.instant + KEEP_ALIVE);
    }

    fn handle_command(&mut self, command: SynthesiserCommand, _now: Now) {
        if self.failed {
            return;
        }
        match command {
            SynthesiserCommand::Speak { utterance, text } => {
                self.outstanding.insert(utterance.0);
                self.send(&SynthesiseRequest::Speak { request: utterance.0, text, voice: None });
            }
            SynthesiserCommand::Stop { utterance } => {
                if self.outstanding.remove(&utterance.0) {
                    self.send(&SynthesiseRequest::Stop { request: Some(utterance.0) });
                }
            }
        }
    }

    fn handle_dropped(&mut self, _count: u32, _now: Now) {}

    fn handle_message(&mut self, message: WireMessage, _now: Now) {
        if self.failed {
            return;
        }
        match message {
            WireMessage::Text(json) => match serde_json::from_str(&json) {
                Ok(response) => self.handle_response(response),
                Err(error) => self.fail(&format!("the synthesiser sent what is not a message: {error}")),
            },
            WireMessage::Binary(bytes) => self.handle_audio(&bytes),
            WireMessage::Ping => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.keep_alive.is_some_and(|at| at <= now.instant) {
            self.keep_alive = Some(now.instant + KEEP_ALIVE);
            self.outputs.push_back(Output::Send(WireMessage::Ping));
        }
    }

    fn poll_output(&mut self) -> Option<Output<SynthesiserEvent>> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.keep_alive.map(|at| (at, Reason::KeepAlive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn two_utterances_are_spoken_in_order() {
        check(
            "
            < {\"type\":\"ready\",\"version\":1,\"voices\":[\"rms\"]}
            ^ Ready
            speak 1 Hello.
            > {\"type\":\"speak\",\"request\":1,\"text\":\"Hello.\"}
            speak 2 Bye.
            > {\"type\":\"speak\",\"request\":2,\"text\":\"Bye.\"}
            < {\"type\":\"speak-started\",\"request\":1}
            < {\"type\":\"speech-marker\",\"request\":1,\"words\":[{\"word\":\"Hello.\",\"start_ms\":0,\"end_ms\":9}],\"estimated\":true}
            ^ Words { utterance: UtteranceId(1), words: [WordTime { word: \"Hello.\", start_ms: 0, end_ms: 9 }] }
            < audio
            ^ Audio { utterance: UtteranceId(1), samples: [1, 2] }
            < {\"type\":\"speak-complete\",\"request\":1,\"cause\":\"normal\",\"audio_ms\":9}
            ^ Complete { utterance: UtteranceId(1) }
            < {\"type\":\"speak-started\",\"request\":2}
            < {\"type\":\"speak-complete\",\"request\":2,\"cause\":\"normal\",\"audio_ms\":0}
            ^ Complete { utterance: UtteranceId(2) }",
        );
    }

    #[test]
    fn audio_on_its_way_when_an_utterance_is_stopped_is_dropped() {
        check(
            "
            < {\"type\":\"ready\",\"version\":1,\"voices\":[]}
            ^ Ready
            speak 1 Hello.
            > {\"type\":\"speak\",\"request\":1,\"text\":\"Hello.\"}
            < {\"type\":\"speak-started\",\"request\":1}
            stop 1
            > {\"type\":\"stop\",\"request\":1}
            stop 1
            < audio
            < {\"type\":\"speech-marker\",\"request\":1,\"words\":[]}
            < {\"type\":\"speak-complete\",\"request\":1,\"cause\":\"stopped\",\"audio_ms\":20}",
        );
    }

    #[test]
    fn audio_of_nothing_and_errors_end_the_session() {
        check("< audio\n^ Failed { reason: \"the synthesiser sent audio of nothing\" }\n> close 1000\n< audio");
        check(
            "
            < {\"type\":\"error\",\"code\":\"engine-failed\",\"message\":\"no\\nmore\",\"fatal\":true}
            ^ Failed { reason: \"engine-failed: no more\" }
            > close 1000
            speak 1 x",
        );
    }

    #[test]
    fn the_voice_is_asked_for_in_the_address() {
        let target = |voice: Option<&str>| {
            let voice = voice.map(str::to_owned);
            SynthesiserClient::new(SynthesiserConfig { format: AudioFormat::MULAW, voice }).target()
        };
        assert_eq!(target(Some("slt")), "/v1/synthesise?encoding=mulaw&rate=8000&voice=slt");
        assert_eq!(target(Some("a&b")), "/v1/synthesise?encoding=mulaw&rate=8000");
        assert_eq!(target(None), "/v1/synthesise?encoding=mulaw&rate=8000");
    }

    #[track_caller]
    fn check(script: &str) {
        let now = Now::origin();
        let format = AudioFormat::linear16(SampleRate::Hz8000);
        let mut client = SynthesiserClient::new(SynthesiserConfig { format, voice: None });
        client.handle_open(now);
        let mut log = vec![];
        let script: Vec<_> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        for line in &script {
            match *line.splitn(3, ' ').collect::<Vec<_>>() {
                [">" | "^", ..] => continue,
                ["<", "audio"] => {
                    client.handle_message(WireMessage::Binary(vec![1, 0, 2, 0].into()), now);
                }
                ["<", ..] => client.handle_message(WireMessage::Text(line.trim_start_matches("< ").to_owned()), now),
                ["speak", number, text] => {
                    let utterance = UtteranceId(number.parse().unwrap());
                    client.handle_command(SynthesiserCommand::Speak { utterance, text: text.to_owned() }, now);
                }
                ["stop", number] => {
                    let utterance = UtteranceId(number.parse().unwrap());
                    client.handle_command(SynthesiserCommand::Stop { utterance }, now);
                }
                _ => panic!("{line}"),
            }
            log.push((*line).to_owned());
            while let Some(output) = client.poll_output() {
                log.push(match output {
                    Output::Send(WireMessage::Text(json)) => format!("> {json}"),
                    Output::Send(other) => format!("> {other:?}"),
                    Output::Event(event) => format!("^ {event:?}"),
                    Output::Close { code, .. } => format!("> close {code}"),
                });
            }
        }
        assert_eq!(log, script);
    }
}
