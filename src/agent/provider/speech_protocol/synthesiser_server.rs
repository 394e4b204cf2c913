//! The server side of `/v1/synthesise`. It keeps the requests in order and knows which one is spoken; its owner renders
//! the one it is handed and hands back audio at the pace of the socket.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::WordTime;
use super::super::wire::{Output, Reason, WireMessage};
use super::message::{ErrorCode, ErrorMessage, SpeakCause, SynthesiseRequest, SynthesiseResponse, VERSION};
use super::{AudioFormat, IDLE, samples_to_ms, text};
use crate::limits::{SPEECH_SPEAKS_MAX, SPEECH_TEXT_CHARS_MAX};
use crate::timer::Now;

/// One request to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakRequest {
    /// Its number.
    pub request: u32,
    /// Plain text, within the limit.
    pub text: String,
    /// Another voice than the session's.
    pub voice: Option<String>,
}

/// What a client wants of its synthesiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesiserDemand {
    /// Render this. Comes when the request before is over.
    Speak(SpeakRequest),
    /// Render no more of the request that was handed out last; it is already reported as stopped.
    Stop,
}

/// One session, from the server's side.
#[derive(Debug)]
pub struct SynthesiserServer {
    format: AudioFormat,
    idle_at: Instant,
    closed: bool,
    speaking: Option<Speaking>,
    /// Bounded by [`SPEECH_SPEAKS_MAX`]; a request beyond is a fatal error.
    waiting: VecDeque<SpeakRequest>,
    outputs: VecDeque<Output<SynthesiserDemand>>,
}

#[derive(Debug)]
struct Speaking {
    request: u32,
    samples_sent: u64,
}

impl SynthesiserServer {
    /// A session whose websocket has just opened.
    pub fn new(format: AudioFormat, voices: Vec<String>, now: Now) -> Self {
        let ready = text(&SynthesiseResponse::Ready { version: VERSION, voices });
        Self {
            format,
            idle_at: now.instant + IDLE,
            closed: false,
            speaking: None,
            waiting: VecDeque::new(),
            outputs: VecDeque::from([Output::Send(ready)]),
        }
    }

    /// A message of the client.
    pub fn handle_message(&mut self, message: WireMessage, now: Now) {
        self.idle_at = now.instant + IDLE;
        if self.closed {
            return;
        }
        match message {
            WireMessage::Text(json) => match serde_json::from_str(&json) {
                Ok(SynthesiseRequest::Speak { request, text, voice }) => {
                    self.handle_speak(SpeakRequest { request, text, voice });
                }
                Ok(SynthesiseRequest::Stop { request }) => self.handle_stop(request),
                Err(error) => self.fail(ErrorCode::BadMessage, &error.to_string()),
            },
            WireMessage::Binary(_) => self.fail(ErrorCode::BadMessage, "a synthesiser takes no audio"),
            WireMessage::Ping => {}
        }
    }

    /// Ends the session if the client has been silent for too long. An early call does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.idle_at <= now.instant {
            self.fail(ErrorCode::IdleTimeout, "nothing was received for a minute; ping to stay connected");
        }
    }

    /// When the words of the next audio are spoken, in milliseconds from the beginning of that audio.
    pub fn words(&mut self, words: Vec<WordTime>, estimated: bool) {
        if let Some(speaking) = &self.speaking
            && !words.is_empty()
        {
            let before = samples_to_ms(speaking.samples_sent, self.format.rate());
            let words = words
                .into_iter()
                .map(|it| WordTime {
                    start_ms: it.start_ms.saturating_add(before),
                    end_ms: it.end_ms.saturating_add(before),
                    word: it.word,
                })
                .map(Into::into)
                .collect();
            let request = speaking.request;
            self.respond(&SynthesiseResponse::SpeechMarker { request, words, estimated });
        }
    }

    /// The next audio of the request that is spoken.
    pub fn audio(&mut self, samples: &[i16]) {
        if let Some(speaking) = &mut self.speaking {
            speaking.samples_sent += u64::try_from(samples.len()).unwrap_or(u64::MAX);
            let bytes = self.format.encode(samples);
            self.outputs.push_back(Output::Send(WireMessage::Binary(bytes)));
        }
    }

    /// All of the request that is spoken has been handed back.
    pub fn complete(&mut self) {
        self.finish(SpeakCause::Normal);
    }

    /// The request that is spoken cannot be.
    pub fn refuse(&mut self, code: ErrorCode, message: &str) {
        self.respond(&SynthesiseResponse::Error(ErrorMessage { code, message: message.to_owned(), fatal: false }));
        self.finish(SpeakCause::Error);
    }

    /// Reports a fatal error and closes.
    pub fn fail(&mut self, code: ErrorCode, message: &str) {
        if self.closed {
            return;
        }
        self.respond(&SynthesiseResponse::Error(ErrorMessage { code, message: message.to_owned(), fatal: true }));
        self.closed = true;
        self.waiting.clear();
        self.outputs.push_back(Output::Close { code: code.close_code(), reason: code.as_str() });
    }

    /// The next thing to do; drain to `None`.
    pub fn poll_output(&mut self) -> Option<Output<SynthesiserDemand>> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        (!self.closed).then_some((self.idle_at, Reason::Idle))
    }

    fn handle_speak(&mut self, speak: SpeakRequest) {
        if speak.text.chars().count() > SPEECH_TEXT_CHARS_MAX {
            return self.fail(ErrorCode::TooLarge, &format!("a text has at most {SPEECH_TEXT_CHARS_MAX} characters"));
        }
        if self.waiting.len() + usize::from(self.speaking.is_some()) >= SPEECH_SPEAKS_MAX {
            let message = format!("at most {SPEECH_SPEAKS_MAX} requests to speak may be outstanding");
            return self.fail(ErrorCode::TooLarge, &message);
        }
        let used = self.speaking.as_ref().map(|it| it.request).into_iter();
        if used.chain(self.waiting.iter().map(|it| it.request)).any(|it| it == speak.request) {
            return self.fail(ErrorCode::BadMessage, "the number of a request was used twice");
        }
        self.waiting.push_back(speak);
        self.start_next();
    }

    fn handle_stop(&mut self, request: Option<u32>) {
        let is_meant = |it: u32| request.is_none_or(|wanted| wanted == it);
        let (stopped, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|it| is_meant(it.request));
        self.waiting = kept;
        let stops_speaking = self.speaking.as_ref().is_some_and(|it| is_meant(it.request));
        if stops_speaking {
            self.outputs.push_back(Output::Event(SynthesiserDemand::Stop));
            self.report_complete(SpeakCause::Stopped);
        }
        for speak in stopped {
            let cause = SpeakCause::Stopped;
            self.respond(&SynthesiseResponse::SpeakComplete { request: speak.request, cause, audio_ms: 0 });
        }
        self.start_next();
    }

    fn finish(&mut self, cause: SpeakCause) {
        self.report_complete(cause);
        self.start_next();
    }

    fn report_complete(&mut self, cause: SpeakCause) {
        if let Some(Speaking { request, samples_sent }) = self.speaking.take() {
            let audio_ms = samples_to_ms(samples_sent, self.format.rate());
            self.respond(&SynthesiseResponse::SpeakComplete { request, cause, audio_ms });
        }
    }

    fn start_next(&mut self) {
        if self.speaking.is_none()
            && let Some(speak) = self.waiting.pop_front()
        {
            self.speaking = Some(Speaking { request: speak.request, samples_sent: 0 });
            self.respond(&SynthesiseResponse::SpeakStarted { request: speak.request });
            self.outputs.push_back(Output::Event(SynthesiserDemand::Speak(speak)));
        }
    }

    fn respond(&mut self, response: &SynthesiseResponse) {
        if !self.closed {
            self.outputs.push_back(Output::Send(text(response)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn requests_are_handed_out_one_at_a_time() {
        check(
            "
            > {\"type\":\"ready\",\"version\":1,\"voices\":[\"rms\"]}
            < {\"type\":\"speak\",\"request\":1,\"text\":\"One.\"}
            > {\"type\":\"speak-started\",\"request\":1}
            ^ Speak(SpeakRequest { request: 1, text: \"One.\", voice: None })
            < {\"type\":\"speak\",\"request\":2,\"text\":\"Two.\",\"voice\":\"slt\"}
            words
            > {\"type\":\"speech-marker\",\"request\":1,\"words\":[{\"word\":\"w\",\"start_ms\":1,\"end_ms\":2}],\"estimated\":false}
            audio
            > binary 320
            words
            > {\"type\":\"speech-marker\",\"request\":1,\"words\":[{\"word\":\"w\",\"start_ms\":21,\"end_ms\":22}],\"estimated\":false}
            complete
            > {\"type\":\"speak-complete\",\"request\":1,\"cause\":\"normal\",\"audio_ms\":20}
            > {\"type\":\"speak-started\",\"request\":2}
            ^ Speak(SpeakRequest { request: 2, text: \"Two.\", voice: Some(\"slt\") })
            complete
            > {\"type\":\"speak-complete\",\"request\":2,\"cause\":\"normal\",\"audio_ms\":0}",
        );
    }

    #[test]
    fn stop_drops_what_is_spoken_and_what_waits() {
        check(
            "
            > {\"type\":\"ready\",\"version\":1,\"voices\":[\"rms\"]}
            < {\"type\":\"speak\",\"request\":1,\"text\":\"One.\"}
            > {\"type\":\"speak-started\",\"request\":1}
            ^ Speak(SpeakRequest { request: 1, text: \"One.\", voice: None })
            < {\"type\":\"speak\",\"request\":2,\"text\":\"Two.\"}
            < {\"type\":\"speak\",\"request\":3,\"text\":\"Three.\"}
            < {\"type\":\"stop\",\"request\":2}
            > {\"type\":\"speak-complete\",\"request\":2,\"cause\":\"stopped\",\"audio_ms\":0}
            < {\"type\":\"stop\"}
            ^ Stop
            > {\"type\":\"speak-complete\",\"request\":1,\"cause\":\"stopped\",\"audio_ms\":0}
            > {\"type\":\"speak-complete\",\"request\":3,\"cause\":\"stopped\",\"audio_ms\":0}
            audio
            complete
            < {\"type\":\"stop\",\"request\":9}",
        );
    }

    #[test]
    fn a_text_that_cannot_be_spoken_does_not_hold_up_the_next() {
        check(
            "
            > {\"type\":\"ready\",\"version\":1,\"voices\":[\"rms\"]}
            < {\"type\":\"speak\",\"request\":1,\"text\":\"One.\",\"voice\":\"nobody\"}
            > {\"type\":\"speak-started\",\"request\":1}
            ^ Speak(SpeakRequest { request: 1, text: \"One.\", voice: Some(\"nobody\") })
            refuse
            > {\"type\":\"error\",\"code\":\"unknown-voice\",\"message\":\"no such voice\",\"fatal\":false}
            > {\"type\":\"speak-complete\",\"request\":1,\"cause\":\"error\",\"audio_ms\":0}",
        );
    }

    #[test]
    fn the_limits_hold() {
        let now = Now::origin();
        let close_of = |messages: &[String]| {
            let mut server = SynthesiserServer::new(AudioFormat::MULAW, vec![], now);
            for message in messages {
                server.handle_message(WireMessage::Text(message.clone()), now);
            }
            std::iter::from_fn(|| server.poll_output()).find_map(|it| match it {
                Output::Close { code, .. } => Some(code),
                Output::Send(_) | Output::Event(_) => None,
            })
        };
        let speak = |request: usize, text: &str| format!(r#"{{"type":"speak","request":{request},"text":"{text}"}}"#);
        let many: Vec<_> = (0..=SPEECH_SPEAKS_MAX).map(|it| speak(it, "x")).collect();
        assert_eq!(close_of(&many[1..]), None);
        assert_eq!(close_of(&many), Some(1009));
        assert_eq!(close_of(&[speak(1, &"é".repeat(SPEECH_TEXT_CHARS_MAX))]), None);
        assert_eq!(close_of(&[speak(1, &"é".repeat(SPEECH_TEXT_CHARS_MAX + 1))]), Some(1009));
        assert_eq!(close_of(&[speak(1, "x"), speak(1, "x")]), Some(4400));
    }

    #[track_caller]
    fn check(script: &str) {
        let now = Now::origin();
        let format = AudioFormat::linear16(SampleRate::Hz8000);
        let mut server = SynthesiserServer::new(format, vec!["rms".to_owned()], now);
        let mut log = vec![];
        let script: Vec<_> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        drain(&mut server, &mut log);
        for line in &script {
            match line.split_once(' ').unwrap_or((line, "")) {
                (">" | "^", _) => continue,
                ("<", json) => server.handle_message(WireMessage::Text(json.to_owned()), now),
                ("words", _) => {
                    server.words(vec![WordTime { word: "w".to_owned(), start_ms: 1, end_ms: 2 }], false);
                }
                ("audio", _) => server.audio(&[0; 160]),
                ("complete", _) => server.complete(),
                ("refuse", _) => server.refuse(ErrorCode::UnknownVoice, "no such voice"),
                (other, _) => panic!("{other}"),
            }
            log.push((*line).to_owned());
            drain(&mut server, &mut log);
        }
        assert_eq!(log, script);
    }

    fn drain(server: &mut SynthesiserServer, log: &mut Vec<String>) {
        while let Some(output) = server.poll_output() {
            log.push(match output {
                Output::Send(WireMessage::Text(json)) => format!("> {json}"),
                Output::Send(WireMessage::Binary(bytes)) => format!("> binary {}", bytes.len()),
                Output::Send(WireMessage::Ping) => "> ping".to_owned(),
                Output::Event(demand) => format!("^ {demand:?}"),
                Output::Close { code, .. } => format!("> close {code}"),
            });
        }
    }
}
