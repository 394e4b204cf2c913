//! The driver of a service behind a websocket.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{Sink, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::queue::{Commands, Entry, Refused};
use crate::agent::provider::secret::Secret;
use crate::agent::provider::wire::{Output, RecogniserProtocol, SocketProtocol, SynthesiserProtocol, WireMessage};
use crate::agent::provider::{RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent};
use crate::limits::{
    PROVIDER_COMMANDS_MAX, PROVIDER_EVENTS_MAX, PROVIDER_OUTBOX_MAX, PROVIDER_REASON_CHARS_MAX,
    SPEECH_MESSAGE_BYTES_MAX, SPEECH_READ_BYTES,
};
use crate::server::outbox::Outbox;
use crate::server::{clock, task};

/// Where a service is.
#[derive(Clone, Debug)]
pub struct SocketAddress {
    /// `ws://` or `wss://`, host and port; the protocol appends its path.
    pub base: String,
    /// What it is presented with.
    pub key: Secret,
    /// How long connecting may take, the websocket handshake included.
    pub connect_timeout: Duration,
}

/// The agent's end of a driver. The service's connection ends when this is dropped.
#[derive(Debug)]
pub struct Handle<C, E> {
    commands: Commands<C>,
    events: mpsc::Receiver<E>,
}

impl<C, E> Handle<C, E> {
    /// Tells the service something. Audio that is too much for it makes room for newer audio.
    ///
    /// # Errors
    ///
    /// If the driver has ended, or is behind with commands that cannot be dropped.
    pub fn send(&self, command: C) -> Result<(), Refused> {
        self.commands.push(command)
    }

    /// The next event; `None` once the service has failed and said so. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<E> {
        self.events.recv().await
    }

    /// How many commands were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.commands.dropped()
    }
}

impl<C, E> Drop for Handle<C, E> {
    fn drop(&mut self) {
        self.commands.close();
    }
}

/// Starts the driver of a recogniser.
pub fn spawn_recogniser<P>(protocol: P, address: SocketAddress) -> Handle<RecogniserCommand, RecogniserEvent>
where
    P: RecogniserProtocol + 'static,
{
    spawn("provider recogniser", protocol, address)
}

/// Starts the driver of a synthesiser.
pub fn spawn_synthesiser<P>(protocol: P, address: SocketAddress) -> Handle<SynthesiserCommand, SynthesiserEvent>
where
    P: SynthesiserProtocol + 'static,
{
    spawn("provider synthesiser", protocol, address)
}

fn spawn<P: SocketProtocol + 'static>(
    name: &'static str,
    protocol: P,
    address: SocketAddress,
) -> Handle<P::Command, P::Event> {
    let commands = Commands::new(PROVIDER_COMMANDS_MAX, P::is_droppable);
    let (events, received) = mpsc::channel(PROVIDER_EVENTS_MAX);
    let handle = Handle { commands: commands.clone(), events: received };
    task::spawn(name, async move {
        drive(protocol, address, &commands, &events).await;
        // In this order: an agent that has seen the end of the events gets no command accepted any more.
        commands.close();
        drop(events);
    });
    handle
}

async fn drive<P: SocketProtocol>(
    mut protocol: P,
    address: SocketAddress,
    commands: &Commands<P::Command>,
    events: &mpsc::Sender<P::Event>,
) {
    let request = request(&protocol, &address);
    let connected = tokio::select! {
        connected = connect(request, address.connect_timeout) => connected,
        () = events.closed() => return,
    };
    let failure = match connected {
        Ok(socket) => {
            protocol.handle_open(clock::now());
            match converse(&mut protocol, socket, commands, events).await {
                Ending::Dropped | Ending::Reported => return,
                Ending::Lost(reason) => reason,
            }
        }
        Err(reason) => reason,
    };
    let reason = address.key.redact(&failure).chars().take(PROVIDER_REASON_CHARS_MAX).collect();
    // Nobody is told if the agent has gone meanwhile.
    events.send(P::failure(reason)).await.ok();
}

enum Ending {
    /// The agent needs the service no more.
    Dropped,
    /// The protocol ended it and has said why.
    Reported,
    /// The connection ended for this reason.
    Lost(String),
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(request: Result<Request, String>, timeout: Duration) -> Result<Socket, String> {
    let config = WebSocketConfig::default()
        .read_buffer_size(SPEECH_READ_BYTES)
        .max_message_size(Some(SPEECH_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SPEECH_MESSAGE_BYTES_MAX));
    let connecting = connect_async_with_config(request?, Some(config), true);
    match tokio::time::timeout(timeout, Box::pin(connecting)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(format!("cannot connect: {}", what(&error))),
        Err(_) => Err(format!("cannot connect within {} ms", timeout.as_millis())),
    }
}

fn request<P: SocketProtocol>(protocol: &P, address: &SocketAddress) -> Result<Request, String> {
    let url = format!("{}{}", address.base.trim_end_matches('/'), protocol.target());
    let mut request = url.into_client_request().map_err(|error| format!("the service's address is wrong: {error}"))?;
    let (name, value) = protocol.authorization(&address.key);
    // An invalid value is not quoted: it holds the key.
    let mut value = HeaderValue::from_str(&value).or(Err("the service's key does not fit a header".to_owned()))?;
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
    Ok(request)
}

/// What a handshake was refused with, in words.
fn what(error: &Error) -> String {
    let Error::Http(response) = error else {
        return error.to_string();
    };
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let body: String = body.trim().chars().take(PROVIDER_REASON_CHARS_MAX).collect();
    format!("{} {body}", response.status()).trim_end().to_owned()
}

/// Messages and commands both ways until one side ends. While the socket is behind, no commands are taken, so they wait
/// or are dropped in their queue; while the agent is behind, nothing is read, so TCP holds the service back.
async fn converse<P: SocketProtocol>(
    protocol: &mut P,
    socket: Socket,
    commands: &Commands<P::Command>,
    events: &mpsc::Sender<P::Event>,
) -> Ending {
    let (sink, mut stream) = socket.split();
    let mut outbox = Outbox::new(sink);
    let mut told: VecDeque<P::Event> = VecDeque::new();
    let mut ending = None;
    let ending = loop {
        while let Some(output) = protocol.poll_output() {
            match output {
                Output::Send(message) => outbox.push(to_message(message)),
                Output::Event(event) => told.push_back(event),
                Output::Close { code, reason } => {
                    outbox.push(close(code, reason));
                    ending = Some(Ending::Reported);
                }
            }
        }
        if let Some(ending) = ending {
            break ending;
        }
        tokio::select! {
            entry = commands.next(), if outbox.len() < PROVIDER_OUTBOX_MAX => match entry {
                Some(Entry::Command(command)) => protocol.handle_command(command, clock::now()),
                Some(Entry::Dropped(count)) => protocol.handle_dropped(count, clock::now()),
                None => {
                    outbox.push(close(u16::from(CloseCode::Normal), ""));
                    ending = Some(Ending::Dropped);
                }
            },
            message = receive(&mut stream), if told.is_empty() && outbox.len() < PROVIDER_OUTBOX_MAX => match message {
                Ok(Some(message)) => protocol.handle_message(message, clock::now()),
                Ok(None) => {}
                Err(reason) => ending = Some(Ending::Lost(reason)),
            },
            permit = events.reserve(), if !told.is_empty() => match (permit, told.pop_front()) {
                (Ok(permit), Some(event)) => permit.send(event),
                (_, _) => ending = Some(Ending::Dropped),
            },
            result = outbox.flush(), if !outbox.is_flushed() => if let Err(error) = result {
                ending = Some(Ending::Lost(format!("the connection was lost: {error}")));
            },
            () = task::deadline_if_any(protocol.poll_timeout().map(|(at, _)| at)) => {
                protocol.handle_timeout(clock::now());
            }
        }
    };
    match ending {
        Ending::Dropped => close_politely(outbox).await,
        Ending::Reported => {
            // First what the service said: it may have gone, and then the close frame fails.
            tell(events, told).await;
            close_politely(outbox).await;
        }
        Ending::Lost(_) => tell(events, told).await,
    }
    ending
}

async fn tell<E>(events: &mpsc::Sender<E>, told: VecDeque<E>) {
    for event in told {
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Sends what is left, the close frame last, to a service that may have gone.
async fn close_politely<S: Sink<Message> + Unpin>(mut outbox: Outbox<S, Message>) {
    tokio::select! {
        // A service that has gone does not read the close frame.
        _ = outbox.flush() => {}
        () = task::deadline(clock::now().instant + CLOSING) => {}
    }
}

/// The next message; `None` for a control frame; an error when the connection is over.
async fn receive(stream: &mut SplitStream<Socket>) -> Result<Option<WireMessage>, String>
where
    SplitStream<Socket>: Stream<Item = Result<Message, Error>>,
{
    match stream.next().await {
        Some(Ok(Message::Text(text))) => Ok(Some(WireMessage::Text(text.as_str().to_owned()))),
        Some(Ok(Message::Binary(bytes))) => Ok(Some(WireMessage::Binary(bytes))),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(Some(frame)))) => {
            Err(format!("the service closed the connection: {} {}", frame.code, frame.reason).trim_end().to_owned())
        }
        Some(Ok(Message::Close(None))) | None => Err("the service closed the connection".to_owned()),
        Some(Err(error)) => Err(format!("the connection was lost: {error}")),
    }
}

fn to_message(message: WireMessage) -> Message {
    match message {
        WireMessage::Text(text) => Message::Text(text.into()),
        WireMessage::Binary(bytes) => Message::Binary(bytes),
        WireMessage::Ping => Message::Ping(bytes::Bytes::new()),
    }
}

fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
}

const CLOSING: Duration = Duration::from_secs(1);
