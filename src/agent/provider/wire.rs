//! What every wire protocol of a speech or language service looks like from the driver's side.
//!
//! A recogniser and a synthesiser are websocket protocols ([`RecogniserProtocol`], [`SynthesiserProtocol`]); a language
//! model is a streamed HTTP response ([`ModelProtocol`]). Each is bytes to events and back with no socket and no clock:
//! after every `handle_*` call the driver drains `poll_output`, then asks for `poll_timeout`.

use std::time::Instant;

use bytes::Bytes;

use super::secret::Secret;
use super::{Message, ModelEvent, RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent};
use crate::timer::Now;

/// One websocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// A ping control frame; pongs are the driver's business.
    Ping,
}

/// What a websocket protocol wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<E> {
    /// Send this message.
    Send(WireMessage),
    /// Tell this to the owner.
    Event(E),
    /// Send a close frame and end; nothing follows.
    Close {
        /// The code of RFC 6455 §7.4 or one of the protocol's own.
        code: u16,
        /// The reason, at most 123 bytes.
        reason: &'static str,
    },
}

/// Why a websocket protocol wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A ping is due.
    KeepAlive,
    /// The peer has been silent for too long.
    Idle,
}

/// A service reached over one websocket for as long as a call lasts.
pub trait SocketProtocol: Send {
    /// What the agent tells the service.
    type Command: Send + 'static;
    /// What the agent hears from it.
    type Event: Send + 'static;

    /// The path and query to open below the service's address.
    fn target(&self) -> String;

    /// The header that carries the key.
    fn authorization(&self, key: &Secret) -> (&'static str, String);

    /// The event that says the service cannot go on.
    fn failure(reason: String) -> Self::Event;

    /// Whether `command` may be left out when commands come faster than the socket takes them.
    fn is_droppable(command: &Self::Command) -> bool;

    /// The websocket is open.
    fn handle_open(&mut self, now: Now);

    /// The agent's next command.
    fn handle_command(&mut self, command: Self::Command, now: Now);

    /// So many droppable commands were left out here.
    fn handle_dropped(&mut self, count: u32, now: Now);

    /// A message of the service.
    fn handle_message(&mut self, message: WireMessage, now: Now);

    /// Time has passed. An early call does nothing.
    fn handle_timeout(&mut self, now: Now);

    /// The next thing to do; drain to `None`.
    fn poll_output(&mut self) -> Option<Output<Self::Event>>;

    /// When to call [`Self::handle_timeout`], and why.
    fn poll_timeout(&self) -> Option<(Instant, Reason)>;
}

/// The wire protocol of a speech recogniser.
pub trait RecogniserProtocol: SocketProtocol<Command = RecogniserCommand, Event = RecogniserEvent> {}

impl<P: SocketProtocol<Command = RecogniserCommand, Event = RecogniserEvent>> RecogniserProtocol for P {}

/// The wire protocol of a speech synthesiser.
pub trait SynthesiserProtocol: SocketProtocol<Command = SynthesiserCommand, Event = SynthesiserEvent> {}

impl<P: SocketProtocol<Command = SynthesiserCommand, Event = SynthesiserEvent>> SynthesiserProtocol for P {}

/// One HTTP request, always a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// Appended to the service's base address.
    pub path: &'static str,
    /// Headers besides the authorisation.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Bytes,
}

/// The wire protocol of a language model: one request and one streamed response a generation.
pub trait ModelProtocol: Send {
    /// The header that carries the key.
    fn authorization(&self, key: &Secret) -> (&'static str, String);

    /// Begins a generation, forgetting any earlier one, and returns the request to send.
    fn begin(&mut self, generation: u32, messages: &[Message]) -> ModelRequest;

    /// The response has begun.
    fn handle_head(&mut self, status: u16, content_type: &str);

    /// More of the response's body, cut anywhere.
    fn handle_body(&mut self, bytes: &[u8]);

    /// The body is complete.
    fn handle_end(&mut self);

    /// Forgets the generation: no event follows until the next [`Self::begin`].
    fn cancel(&mut self);

    /// The next event; drain to `None`. After `Done` or `Failed` the rest of the body is of no interest.
    fn poll_event(&mut self) -> Option<ModelEvent>;
}
