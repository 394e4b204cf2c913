//! Chat completions as OpenAI defined them and most services offer them: a JSON request, answered by server-sent events.
//!
//! Read tolerantly, because the services differ: usage comes in a chunk without choices, `[DONE]` may be missing, a
//! stream may be answered by one whole JSON object, content may be null, absent or a list of parts, and errors come as
//! an HTTP status, as an event within the stream, or both. Reasoning texts are read over. Tools are not offered to the
//! model; an answer that is only a tool call has failed.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event_stream::EventStream;
use super::secret::Secret;
use super::speech_protocol::bounded_reason;
use super::wire::{ModelProtocol, ModelRequest};
use super::{Message, ModelEvent, Role};
use crate::limits::{MODEL_BODY_BYTES_MAX, MODEL_TEXT_BYTES_MAX};

/// What a model is asked with.
#[derive(Clone, Debug)]
pub struct ChatConfig {
    /// The model's name at its service.
    pub model: String,
    /// Randomness, 0 to 2; `None` leaves it to the service.
    pub temperature: Option<f32>,
    /// Most tokens of an answer; `None` leaves it to the service.
    pub tokens_max: Option<u32>,
    /// The name of the field for `tokens_max`.
    pub tokens_field: TokensField,
}

/// How a service calls the bound on an answer's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensField {
    /// `max_tokens`: what nearly every compatible server understands.
    MaxTokens,
    /// `max_completion_tokens`: what OpenAI's reasoning models demand.
    MaxCompletionTokens,
}

/// Tokens counted by the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Of the conversation.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}

/// The codec: one generation at a time.
#[derive(Debug)]
pub struct ChatCompletions {
    config: ChatConfig,
    generation: u32,
    state: State,
    usage: Option<Usage>,
    events: VecDeque<ModelEvent>,
}

#[derive(Debug)]
enum State {
    /// Nothing is generated, or the generation is over.
    Idle,
    /// The request is out.
    Asked,
    /// An event stream.
    Streaming { stream: EventStream, progress: Progress },
    /// An answer or error in one piece; bounded by [`MODEL_BODY_BYTES_MAX`].
    Collecting { status: u16, body: Vec<u8> },
}

#[derive(Debug, Default)]
struct Progress {
    text_bytes: usize,
    finish_reason: Option<String>,
    asked_for_tool: bool,
}

impl ChatConfig {
    /// This model, with everything else left to the service.
    pub const fn new(model: String) -> Self {
        Self { model, temperature: None, tokens_max: None, tokens_field: TokensField::MaxTokens }
    }
}

impl ChatCompletions {
    /// A codec for one call's conversation.
    pub const fn new(config: ChatConfig) -> Self {
        Self { config, generation: 0, state: State::Idle, usage: None, events: VecDeque::new() }
    }

    /// What the last generation cost, if the service said so.
    pub const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn fail(&mut self, reason: &str) {
        self.state = State::Idle;
        self.events.push_back(ModelEvent::Failed { generation: self.generation, reason: bounded_reason(reason) });
    }

    fn handle_event(&mut self, data: &str) {
        if data.trim() == "[DONE]" {
            return self.finish(true);
        }
        if data.trim().is_empty() {
            return;
        }
        match serde_json::from_str::<Value>(data) {
            Ok(value) => self.handle_chunk(value),
            Err(error) => self.fail(&format!("the model's service sent what is not JSON: {error}")),
        }
    }

    /// One chunk of a stream, or the whole answer: they differ in `delta` or `message` only.
    fn handle_chunk(&mut self, value: Value) {
        if let Some(error) = value.get("error").filter(|it| !it.is_null()) {
            let reason = error_text(error);
            return self.fail(&reason);
        }
        match serde_json::from_value::<Chunk>(value) {
            Ok(chunk) => self.handle_choices(chunk),
            Err(error) => self.fail(&format!("the model's service sent an unknown chunk: {error}")),
        }
    }

    fn handle_choices(&mut self, chunk: Chunk) {
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        let generation = self.generation;
        let State::Streaming { progress, .. } = &mut self.state else {
            return;
        };
        for choice in chunk.choices.unwrap_or_default().into_iter().filter(|it| it.index.unwrap_or(0) == 0) {
            if let Some(delta) = choice.delta.or(choice.message) {
                progress.asked_for_tool |= delta.tool_calls.is_some_and(|it| !it.is_empty());
                let text = delta.content.map(Content::into_text).unwrap_or_default();
                progress.text_bytes += text.len();
                if !text.is_empty() {
                    self.events.push_back(ModelEvent::Text { generation, delta: text });
                }
            }
            if let Some(reason) = choice.finish_reason {
                progress.finish_reason = Some(reason);
            }
        }
        if progress.text_bytes > MODEL_TEXT_BYTES_MAX {
            self.fail("the model's answer is too long");
        }
    }

    /// The stream is over: `[DONE]` came, or the body ended.
    fn finish(&mut self, said_done: bool) {
        let State::Streaming { progress, .. } = &self.state else {
            return;
        };
        let reason = progress.finish_reason.as_deref();
        if progress.text_bytes == 0 && progress.asked_for_tool {
            self.fail("the model asked for a tool, which it was not offered");
        } else if progress.text_bytes == 0 && reason == Some("content_filter") {
            self.fail("the model's service withheld the answer (content_filter)");
        } else if said_done || reason.is_some() {
            self.state = State::Idle;
            self.events.push_back(ModelEvent::Done { generation: self.generation });
        } else {
            self.fail("the model's answer ended early");
        }
    }

    fn handle_collected(&mut self, status: u16, body: &[u8]) {
        let value = serde_json::from_slice::<Value>(body).ok();
        if (200..300).contains(&status) {
            self.state = State::Streaming { stream: EventStream::new(), progress: Progress::default() };
            match value {
                Some(value) => self.handle_chunk(value),
                None => self.fail("the model's service answered what is neither JSON nor a stream"),
            }
            return self.finish(false);
        }
        let mut reason = format!("the model's service answered {status}");
        let detail = match &value {
            Some(value) => error_text(value.get("error").unwrap_or(value)),
            None => String::from_utf8_lossy(body).into_owned(),
        };
        if !detail.trim().is_empty() {
            write!(reason, ": {}", detail.trim()).expect("writing to a string does not fail");
        }
        self.fail(&reason);
    }
}

impl ModelProtocol for ChatCompletions {
    fn authorization(&self, key: &Secret) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", key.reveal()))
    }

    fn begin(&mut self, generation: u32, messages: &[Message]) -> ModelRequest {
        self.generation = generation;
        self.state = State::Asked;
        self.usage = None;
        self.events.clear();
        let (max_tokens, max_completion_tokens) = match self.config.tokens_field {
            TokensField::MaxTokens => (self.config.tokens_max, None),
            TokensField::MaxCompletionTokens => (None, self.config.tokens_max),
        };
        let body = Body {
            model: &self.config.model,
            messages: messages.iter().map(BodyMessage::from).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            temperature: self.config.temperature,
            max_tokens,
            max_completion_tokens,
        };
        ModelRequest {
            path: "/chat/completions",
            headers: vec![("content-type", "application/json"), ("accept", "text/event-stream")],
            // The body holds strings and finite numbers only; a float that is not a number is written as null.
            body: Bytes::from(serde_json::to_vec(&body).expect("the request is representable")),
        }
    }

    fn handle_head(&mut self, status: u16, content_type: &str) {
        if !matches!(self.state, State::Asked) {
            return;
        }
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_json = media_type.eq_ignore_ascii_case("application/json");
        self.state = if (200..300).contains(&status) && !is_json {
            State::Streaming { stream: EventStream::new(), progress: Progress::default() }
        } else {
            State::Collecting { status, body: vec![] }
        };
    }

    fn handle_body(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Streaming { stream, .. } => match stream.push(bytes) {
                Ok(()) => self.handle_events(),
                Err(error) => self.fail(&error.to_string()),
            },
            State::Collecting { body, .. } => {
                let room = MODEL_BODY_BYTES_MAX.saturating_sub(body.len());
                body.extend(bytes.iter().take(room));
            }
            State::Idle | State::Asked => {}
        }
    }

    fn handle_end(&mut self) {
        match &mut self.state {
            State::Streaming { stream, .. } => match stream.finish() {
                Ok(()) => {
                    self.handle_events();
                    self.finish(false);
                }
                Err(error) => self.fail(&error.to_string()),
            },
            State::Collecting { status, body } => {
                let (status, body) = (*status, std::mem::take(body));
                self.handle_collected(status, &body);
            }
            State::Idle | State::Asked => {}
        }
    }

    fn cancel(&mut self) {
        self.state = State::Idle;
        self.events.clear();
    }

    fn poll_event(&mut self) -> Option<ModelEvent> {
        self.events.pop_front()
    }
}

impl ChatCompletions {
    fn handle_events(&mut self) {
        while let State::Streaming { stream, .. } = &mut self.state {
            let Some(data) = stream.next_event() else {
                break;
            };
            self.handle_event(&data);
        }
    }
}

/// What an error object says, in whatever shape.
fn error_text(error: &Value) -> String {
    let error = error.as_array().and_then(|it| it.first()).unwrap_or(error);
    let error = error.get("error").unwrap_or(error);
    let text = |key| error.get(key).and_then(Value::as_str);
    match (text("message").or_else(|| text("detail")).or_else(|| error.as_str()), text("code").or_else(|| text("type")))
    {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(message), None) => message.to_owned(),
        (None, Some(code)) => code.to_owned(),
        (None, None) => error.to_string(),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<BodyMessage<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct BodyMessage<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> From<&'a Message> for BodyMessage<'a> {
    fn from(message: &'a Message) -> Self {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Self { role, content: &message.text }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<i64>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    text: Option<String>,
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let texts = parts.into_iter().filter(|it| it.kind.as_deref().is_none_or(|it| it == "text"));
                texts.filter_map(|it| it.text).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_written_as_documented() {
        let config = ChatConfig {
            model: "m".to_owned(),
            temperature: Some(0.5),
            tokens_max: Some(90),
            tokens_field: TokensField::MaxTokens,
        };
        let mut codec = ChatCompletions::new(config);
        let messages = [
            Message { role: Role::System, text: "Be \"brief\".".to_owned() },
            Message { role: Role::User, text: "hi".to_owned() },
            Message { role: Role::Assistant, text: "hello".to_owned() },
        ];
        let request = codec.begin(1, &messages);
        assert_eq!(request.path, "/chat/completions");
        assert_eq!(
            std::str::from_utf8(&request.body).unwrap(),
            r#"{"model":"m","messages":[{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"max_tokens":90}"#
        );
    }

    #[test]
    fn a_stream_is_the_same_wherever_it_is_cut() {
        let stream = concat!(
            ": keep-alive\r\n\r\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\r\n\r\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüß \"}}],\"usage\":null}\n\n",
            "data:{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"Gott\"}]}},{\"index\":1,\"delta\":{\"content\":\"no\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n",
            "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"late\"}}]}\n\n",
        );
        for size in 1..stream.len() {
            let mut codec = asked();
            codec.handle_head(200, "text/event-stream; charset=utf-8");
            for chunk in stream.as_bytes().chunks(size) {
                codec.handle_body(chunk);
            }
            codec.handle_end();
            assert_eq!(log(&mut codec), ["Grüß ", "Gott", "done"], "chunks of {size}");
            assert_eq!(codec.usage(), Some(Usage { prompt_tokens: 7, completion_tokens: 2 }));
        }
    }

    #[test]
    fn answers_end_in_many_ways() {
        let hi = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
        let end =
            |reason: &str| format!("data: {{\"choices\":[{{\"delta\":null,\"finish_reason\":\"{reason}\"}}]}}\n\n");
        let tool = "data: {\"choices\":[{\"delta\":{\"content\":null,\"tool_calls\":[{\"index\":0}]}}]}\n\n";
        for (body, expected) in [
            (format!("{hi}{}", end("stop")), vec!["hi", "done"]),
            (format!("{hi}{}", end("length")), vec!["hi", "done"]),
            (format!("{hi}data: [DONE]"), vec!["hi", "done"]),
            (hi.to_owned(), vec!["hi", "failed: the model's answer ended early"]),
            (String::new(), vec!["failed: the model's answer ended early"]),
            (end("content_filter"), vec!["failed: the model's service withheld the answer (content_filter)"]),
            (format!("{tool}{}", end("stop")), vec!["failed: the model asked for a tool, which it was not offered"]),
            (
                format!("{hi}data: {{\"error\":{{\"message\":\"overloaded\",\"type\":\"server_error\"}}}}\n\n{hi}"),
                vec!["hi", "failed: overloaded (server_error)"],
            ),
            (
                "data: {oops\n\n".to_owned(),
                vec!["failed: the model's service sent what is not JSON: key must be a string at line 1 column 2"],
            ),
        ] {
            let mut codec = asked();
            codec.handle_head(200, "text/event-stream");
            codec.handle_body(body.as_bytes());
            codec.handle_end();
            assert_eq!(log(&mut codec), expected, "{body}");
        }
    }

    #[test]
    fn a_service_that_does_not_stream_is_understood() {
        check_whole(
            200,
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#,
            &["hi", "done"],
        );
        check_whole(200, "<html>", &["failed: the model's service answered what is neither JSON nor a stream"]);
        check_whole(200, r#"{"error":"model not loaded"}"#, &["failed: model not loaded"]);
    }

    #[test]
    fn errors_of_every_shape_become_a_reason() {
        for (body, reason) in [
            (
                r#"{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
                ": Slow down (rate_limit_exceeded)",
            ),
            (r#"{"error":"no such model"}"#, ": no such model"),
            (r#"[{"error":{"code":429,"message":"Quota"}}]"#, ": Quota"),
            (r#"{"detail":"Not Found"}"#, ": Not Found"),
            ("upstream\nfailed", ": upstream failed"),
            ("", ""),
        ] {
            check_whole(429, body, &[&format!("failed: the model's service answered 429{reason}")]);
        }
        let long = "x".repeat(5_000);
        let mut codec = asked();
        codec.handle_head(500, "text/plain");
        codec.handle_body(long.as_bytes());
        codec.handle_end();
        assert_eq!(log(&mut codec)[0].chars().count(), "failed: ".len() + 300);
    }

    #[test]
    fn a_cancelled_generation_is_silent_and_the_next_begins_afresh() {
        let mut codec = asked();
        codec.handle_head(200, "text/event-stream");
        codec.handle_body(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\nda");
        codec.cancel();
        codec.handle_body(b"ta: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n");
        codec.handle_end();
        assert_eq!(codec.poll_event(), None);
        codec.begin(2, &[]);
        codec.handle_head(200, "text/event-stream");
        codec.handle_body(b"data: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"}]}\n\n");
        codec.handle_end();
        assert_eq!(codec.poll_event(), Some(ModelEvent::Text { generation: 2, delta: "c".to_owned() }));
        assert_eq!(codec.poll_event(), Some(ModelEvent::Done { generation: 2 }));
    }

    #[test]
    fn an_endless_answer_fails() {
        let mut codec = asked();
        codec.handle_head(200, "text/event-stream");
        let chunk = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1_000));
        for _ in 0..100 {
            codec.handle_body(chunk.as_bytes());
        }
        let log = log(&mut codec);
        assert_eq!(log.last().unwrap(), "failed: the model's answer is too long");
        assert_eq!(log.len(), MODEL_TEXT_BYTES_MAX / 1_000 + 2);
    }

    #[track_caller]
    fn check_whole(status: u16, body: &str, expected: &[&str]) {
        let mut codec = asked();
        codec.handle_head(status, "application/json");
        for byte in body.as_bytes() {
            codec.handle_body(&[*byte]);
        }
        codec.handle_end();
        assert_eq!(log(&mut codec), expected, "{body}");
    }

    fn asked() -> ChatCompletions {
        let config = ChatConfig {
            model: "m".to_owned(),
            temperature: None,
            tokens_max: None,
            tokens_field: TokensField::MaxTokens,
        };
        let mut codec = ChatCompletions::new(config);
        codec.begin(1, &[]);
        codec
    }

    fn log(codec: &mut ChatCompletions) -> Vec<String> {
        std::iter::from_fn(|| codec.poll_event())
            .map(|event| match event {
                ModelEvent::Text { delta, .. } => delta,
                ModelEvent::Done { .. } => "done".to_owned(),
                ModelEvent::Failed { reason, .. } => format!("failed: {reason}"),
            })
            .collect()
    }
}
