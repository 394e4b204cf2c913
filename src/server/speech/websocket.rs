//! The speech server's websocket side: who may connect, with which audio, and what a message is on either side.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Sink, Stream, StreamExt};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::{Counter, Counters};
use super::engine::Engine;
use super::synthesiser::is_voice;
use super::{recognise_session, synthesise_session};
use crate::agent::provider::secret::Secret;
use crate::agent::provider::speech_protocol::{AudioFormat, RECOGNISE_PATH, SYNTHESISE_PATH};
use crate::agent::provider::wire::WireMessage;
use crate::limits::{SPEECH_MESSAGE_BYTES_MAX, SPEECH_READ_BYTES};
use crate::server::outbox::Outbox;
use crate::server::{clock, task};

/// What every connection shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) token: Secret,
    pub(super) voice: String,
    pub(super) sessions: Arc<Semaphore>,
    pub(super) counters: Arc<Counters>,
    pub(super) group: task::Group,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client closed it.
    ByClient,
    /// A fatal error was reported.
    Failed,
    /// The connection broke.
    Lost,
}

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route(RECOGNISE_PATH, get(recognise))
        .route(SYNTHESISE_PATH, get(synthesise))
        .with_state(Arc::new(shared))
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;
type Parameters = Query<BTreeMap<String, String>>;

async fn recognise(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Parameters,
    upgrade: Upgrade,
) -> Response {
    let admitted = admit(&shared, &headers, &query, upgrade);
    let Admitted { upgrade, format, seat } = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&shared, refusal),
    };
    upgrade.on_upgrade(move |socket| {
        let session = async move |shared: Arc<Shared>, socket: WebSocket| {
            let held = Counter::hold(&shared.counters, |it| &it.recogniser_sessions);
            let line = shared.engine.recogniser(format.rate());
            let ended = recognise_session::run(socket, format, line, shared.group.token().clone()).await;
            report(&shared, "recogniser", ended);
            drop((held, seat));
        };
        hand_over(&Arc::clone(&shared), "speech recogniser session", session(shared, socket))
    })
}

async fn synthesise(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Parameters,
    upgrade: Upgrade,
) -> Response {
    let voice = query.get("voice").cloned().unwrap_or_else(|| shared.voice.clone());
    let admitted = admit(&shared, &headers, &query, upgrade);
    let Admitted { upgrade, format, seat } = match admitted {
        Ok(_) if !is_voice(&voice) => return refuse(&shared, Refusal::BadQuery("there is no such voice")),
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&shared, refusal),
    };
    upgrade.on_upgrade(move |socket| {
        let session = async move |shared: Arc<Shared>, socket: WebSocket| {
            let held = Counter::hold(&shared.counters, |it| &it.synthesiser_sessions);
            let (engine, counters) = (shared.engine.clone(), Arc::clone(&shared.counters));
            let session = synthesise_session::Session { engine, format, voice, counters };
            let ended = synthesise_session::run(socket, session, shared.group.token().clone()).await;
            report(&shared, "synthesiser", ended);
            drop((held, seat));
        };
        hand_over(&Arc::clone(&shared), "speech synthesiser session", session(shared, socket))
    })
}

/// Runs a session as a named, counted task; axum's own, which is neither, ends at once.
fn hand_over(
    shared: &Shared,
    name: &'static str,
    session: impl Future<Output = ()> + Send + 'static,
) -> std::future::Ready<()> {
    shared.group.spawn(name, session);
    std::future::ready(())
}

fn report(shared: &Shared, what: &str, ended: Ended) {
    shared.counters.sessions_failed.add(u64::from(ended != Ended::ByClient));
    tracing::debug!(what, ?ended, "speech session ended");
}

struct Admitted {
    upgrade: WebSocketUpgrade,
    format: AudioFormat,
    seat: OwnedSemaphorePermit,
}

enum Refusal {
    Origin,
    Token,
    BadQuery(&'static str),
    Full,
    NotAWebSocket(WebSocketUpgradeRejection),
}

/// Looks at the token before anything else that a stranger can learn from.
fn admit(
    shared: &Shared,
    headers: &HeaderMap,
    query: &BTreeMap<String, String>,
    upgrade: Upgrade,
) -> Result<Admitted, Refusal> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::Origin);
    }
    if !carries_token(headers, &shared.token) {
        return Err(Refusal::Token);
    }
    let parameter = |name: &str| query.get(name).map_or("", String::as_str);
    let format = AudioFormat::parse(parameter("encoding"), parameter("rate")).map_err(Refusal::BadQuery)?;
    let upgrade = upgrade.map_err(Refusal::NotAWebSocket)?;
    let Ok(seat) = Arc::clone(&shared.sessions).try_acquire_owned() else {
        return Err(Refusal::Full);
    };
    let upgrade = upgrade
        .read_buffer_size(SPEECH_READ_BYTES)
        .max_message_size(SPEECH_MESSAGE_BYTES_MAX)
        .max_frame_size(SPEECH_MESSAGE_BYTES_MAX);
    Ok(Admitted { upgrade, format, seat })
}

fn refuse(shared: &Shared, refusal: Refusal) -> Response {
    shared.counters.connections_refused.add(1);
    match refusal {
        Refusal::Origin => (StatusCode::FORBIDDEN, "web pages may not connect here").into_response(),
        Refusal::Token => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, challenge, "the bearer token is missing or wrong").into_response()
        }
        Refusal::BadQuery(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
        Refusal::Full => {
            let later = [(header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, later, "too many sessions").into_response()
        }
        Refusal::NotAWebSocket(rejection) => rejection.into_response(),
    }
}

/// Takes the same time whichever byte of the token is wrong.
fn carries_token(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let (scheme, given) = value.as_bytes().split_at_checked(SCHEME.len()).unwrap_or_default();
    scheme.eq_ignore_ascii_case(SCHEME) && bool::from(given.ct_eq(token.reveal().as_bytes()))
}

/// A message for the socket.
pub(super) fn to_message(message: WireMessage) -> Message {
    match message {
        WireMessage::Text(text) => Message::Text(text.into()),
        WireMessage::Binary(bytes) => Message::Binary(bytes),
        WireMessage::Ping => Message::Ping(bytes::Bytes::new()),
    }
}

/// A message of the socket; `None` for a close frame, which ends the session elsewhere. A ping or pong counts as a sign
/// of life.
pub(super) fn to_wire(message: Message) -> Option<WireMessage> {
    match message {
        Message::Text(text) => Some(WireMessage::Text(text.as_str().to_owned())),
        Message::Binary(bytes) => Some(WireMessage::Binary(bytes)),
        Message::Ping(_) | Message::Pong(_) => Some(WireMessage::Ping),
        Message::Close(_) => None,
    }
}

pub(super) fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// Sends what is left, then reads over what the client still sends until it closes too, for two seconds at most.
///
/// Closing a socket with unread data in it resets the connection, which fails the client's next write and loses what
/// the network has not delivered: the error that says why. A client in a call always has audio on its way.
pub(super) async fn finish<O, I>(mut outbox: Outbox<O, Message>, mut stream: I, ended: Ended) -> Ended
where
    O: Sink<Message> + Unpin,
    I: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let closing = async {
        // A client that has gone reads no more; there is nobody left to tell.
        if outbox.flush().await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    tokio::select! {
        () = closing => {}
        () = task::deadline(clock::now().instant + CLOSING) => {}
    }
    ended
}

const SCHEME: &[u8] = b"Bearer ";
const CLOSING: std::time::Duration = std::time::Duration::from_secs(2);
