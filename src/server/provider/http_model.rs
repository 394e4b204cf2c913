//! The driver of a language model behind HTTP: one request a generation, its response read as it streams.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::mpsc;

use super::queue::{Commands, Entry, Refused};
use crate::agent::provider::secret::Secret;
use crate::agent::provider::wire::{ModelProtocol, ModelRequest};
use crate::agent::provider::{Message, ModelCommand, ModelEvent};
use crate::limits::{PROVIDER_EVENTS_MAX, PROVIDER_REASON_CHARS_MAX};
use crate::server::{clock, task};

/// Where a model is, and how patient its calls are.
#[derive(Clone, Debug)]
pub struct ModelAddress {
    /// Up to and including the version: `https://api.openai.com/v1`.
    pub base: String,
    /// What it is presented with; `None` for a server that asks for nothing.
    pub key: Option<Secret>,
    /// Until the connection is open.
    pub connect_timeout: Duration,
    /// Until the response begins, of each attempt, and then again until its body begins.
    pub first_byte_timeout: Duration,
    /// Until the generation is over, attempts and pauses between them included.
    pub total_timeout: Duration,
    /// The pause before the first repetition; the second is twice as long. A longer Retry-After is not waited for.
    pub backoff: Duration,
}

impl ModelAddress {
    /// A model with the usual patience of a telephone call.
    pub const fn new(base: String, key: Option<Secret>) -> Self {
        Self {
            base,
            key,
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(8),
            total_timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(200),
        }
    }
}

/// The agent's end of a driver. A new generation takes the place of one that is not over. Of one that is cancelled or
/// replaced, only what was in the queue already is still heard.
/// The generation in progress is dropped, connection and all, with this.
#[derive(Debug)]
pub struct ModelHandle {
    commands: Commands<ModelCommand>,
    events: mpsc::Receiver<ModelEvent>,
}

impl ModelHandle {
    /// Tells the model something.
    ///
    /// # Errors
    ///
    /// If the driver has ended, or is far behind.
    pub fn send(&self, command: ModelCommand) -> Result<(), Refused> {
        self.commands.push(command)
    }

    /// The next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ModelEvent> {
        self.events.recv().await
    }
}

impl Drop for ModelHandle {
    fn drop(&mut self) {
        self.commands.close();
    }
}

/// Starts the driver of a model.
///
/// # Errors
///
/// If the address or key cannot be used in a request.
pub fn spawn_model<P: ModelProtocol + 'static>(protocol: P, address: ModelAddress) -> Result<ModelHandle, String> {
    let client = Client::builder()
        .connect_timeout(address.connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))?;
    reqwest::Url::parse(&address.base).map_err(|error| format!("the model's address is wrong: {error}"))?;
    let authorization = match &address.key {
        Some(key) => {
            let (name, value) = protocol.authorization(key);
            // An invalid value is not quoted: it holds the key.
            let mut value =
                HeaderValue::from_str(&value).or(Err("the model's key does not fit a header".to_owned()))?;
            value.set_sensitive(true);
            Some((HeaderName::from_static(name), value))
        }
        None => None,
    };
    let commands = Commands::new(COMMANDS_MAX, |_| false);
    let (events, received) = mpsc::channel(PROVIDER_EVENTS_MAX);
    let handle = ModelHandle { commands: commands.clone(), events: received };
    let driver = Driver { protocol, address, client, authorization, events };
    task::spawn("provider model", driver.run(commands));
    Ok(handle)
}

struct Driver<P> {
    protocol: P,
    address: ModelAddress,
    client: Client,
    authorization: Option<(HeaderName, HeaderValue)>,
    events: mpsc::Sender<ModelEvent>,
}

impl<P: ModelProtocol> Driver<P> {
    async fn run(mut self, commands: Commands<ModelCommand>) {
        let mut waiting: Option<(u32, Vec<Message>)> = None;
        loop {
            let (generation, messages) = match waiting.take() {
                Some(begun) => begun,
                None => match commands.next().await {
                    Some(Entry::Command(ModelCommand::Generate { generation, messages })) => (generation, messages),
                    // It is over already.
                    Some(Entry::Command(ModelCommand::Cancel { .. }) | Entry::Dropped(_)) => continue,
                    None => return,
                },
            };
            let cancelled = {
                let generating = Box::pin(self.generate(generation, &messages));
                tokio::select! {
                    () = generating => None,
                    next = interruption(&commands, generation) => Some(next),
                }
            };
            match cancelled {
                None => {}
                Some(Interruption::Cancelled) => self.protocol.cancel(),
                Some(Interruption::Superseded(generation, messages)) => {
                    self.protocol.cancel();
                    waiting = Some((generation, messages));
                }
                Some(Interruption::Dropped) => return,
            }
        }
    }

    async fn generate(&mut self, generation: u32, messages: &[Message]) {
        let total = self.address.total_timeout;
        let failure = match tokio::time::timeout(total, self.attempts(generation, messages)).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => format!("the model did not finish within {} ms", total.as_millis()),
        };
        self.protocol.cancel();
        let failure = self.address.key.as_ref().map_or_else(|| failure.clone(), |key| key.redact(&failure));
        let reason = failure.chars().take(PROVIDER_REASON_CHARS_MAX).collect();
        // Nobody is told if the agent has gone meanwhile.
        self.events.send(ModelEvent::Failed { generation, reason }).await.ok();
    }

    /// Asks, and asks again at most twice while the service is overloaded and has not begun to answer.
    async fn attempts(&mut self, generation: u32, messages: &[Message]) -> Result<(), String> {
        let request = self.protocol.begin(generation, messages);
        let mut backoff = self.address.backoff;
        for attempts_left in (0..ATTEMPTS_MAX).rev() {
            match ask(self.post(&request), self.address.first_byte_timeout).await {
                Ok(response) if attempts_left > 0 && is_transient(response.status()) => match retry_after(&response) {
                    Some(wait) if wait > backoff.max(RETRY_AFTER_MAX) => return self.read(response).await,
                    wait => task::deadline(clock::now().instant + wait.unwrap_or(backoff).max(backoff)).await,
                },
                Ok(response) => return self.read(response).await,
                Err(Failure::Transient(_)) if attempts_left > 0 => {
                    task::deadline(clock::now().instant + backoff).await;
                }
                Err(Failure::Transient(reason) | Failure::Final(reason)) => return Err(reason),
            }
            backoff = backoff.saturating_mul(2);
        }
        Err("the model did not answer".to_owned())
    }

    fn post(&self, request: &ModelRequest) -> RequestBuilder {
        let url = format!("{}{}", self.address.base.trim_end_matches('/'), request.path);
        let mut builder = self.client.post(url).body(request.body.clone());
        for (name, value) in &request.headers {
            builder = builder.header(*name, *value);
        }
        match &self.authorization {
            Some((name, value)) => builder.header(name, value),
            None => builder,
        }
    }

    async fn read(&mut self, mut response: Response) -> Result<(), String> {
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
        self.protocol.handle_head(response.status().as_u16(), content_type);
        // Some services send the head at once and then think: the body's beginning is waited for as the head's is. The
        // total bounds what follows.
        let patience = self.address.first_byte_timeout;
        let mut next = tokio::time::timeout(patience, response.chunk()).await.map_err(|_elapsed| slow(patience))?;
        loop {
            let chunk =
                next.map_err(|error| format!("the model's answer broke off: {}", sources(&error.without_url())))?;
            let is_end = chunk.is_none();
            match chunk {
                Some(bytes) => self.protocol.handle_body(&bytes),
                None => self.protocol.handle_end(),
            }
            while let Some(event) = self.protocol.poll_event() {
                let is_last = matches!(event, ModelEvent::Done { .. } | ModelEvent::Failed { .. });
                let event = self.redacted(event);
                if self.events.send(event).await.is_err() || is_last {
                    return Ok(());
                }
            }
            if is_end {
                return Err("the model's answer ended without a result".to_owned());
            }
            next = response.chunk().await;
        }
    }

    /// Services quote the key they were given when they refuse it.
    fn redacted(&self, event: ModelEvent) -> ModelEvent {
        match (event, &self.address.key) {
            (ModelEvent::Failed { generation, reason }, Some(key)) => {
                ModelEvent::Failed { generation, reason: key.redact(&reason) }
            }
            (event, _) => event,
        }
    }
}

/// Sends a request and waits until the response begins.
async fn ask(request: RequestBuilder, first_byte: Duration) -> Result<Response, Failure> {
    match tokio::time::timeout(first_byte, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let reason = format!("the model cannot be reached: {}", sources(&error.without_url()));
            Err(Failure::Transient(reason))
        }
        Err(_) => Err(Failure::Final(slow(first_byte))),
    }
}

fn slow(first_byte: Duration) -> String {
    format!("the model did not begin to answer within {} ms", first_byte.as_millis())
}

enum Failure {
    /// Worth another attempt: nothing was answered.
    Transient(String),
    Final(String),
}

enum Interruption {
    Cancelled,
    Superseded(u32, Vec<Message>),
    Dropped,
}

/// Completes when the agent wants no more of `current`.
async fn interruption(commands: &Commands<ModelCommand>, current: u32) -> Interruption {
    loop {
        match commands.next().await {
            Some(Entry::Command(ModelCommand::Cancel { generation })) if generation == current => {
                return Interruption::Cancelled;
            }
            Some(Entry::Command(ModelCommand::Generate { generation, messages })) => {
                return Interruption::Superseded(generation, messages);
            }
            Some(Entry::Command(ModelCommand::Cancel { .. }) | Entry::Dropped(_)) => {}
            None => return Interruption::Dropped,
        }
    }
}

fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Retry-After in seconds; its other form, a date, is not used by these services.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error with what caused it, which reqwest's own text leaves out.
fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One and two repetitions.
const ATTEMPTS_MAX: u32 = 3;
/// A service that asks for more patience than this has failed, for a caller on the line.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);
/// Commands to a model: a conversation each, and few at a time.
const COMMANDS_MAX: usize = 16;
