//! SIP over websockets (RFC 7118): the opening, and messages in both directions.
//!
//! The client must speak the subprotocol `sip`. A browser says which page it acts for (Origin); pages that are not listed
//! are refused, clients that are no browsers name none. One websocket message is one SIP message. We ping a client that
//! is silent, and close when it does not answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::limits::{SIP_MESSAGE_BYTES_MAX, TCP_WRITE_S_MAX, WEBSOCKET_PING_S, WEBSOCKET_PONG_S_MAX};
use crate::server::connections::{Connected, ConnectionPermit, HandshakeFailure, Writer, WriterEnd};
use crate::server::sip_worker::Input;
use crate::server::tcp::Acceptor;
use crate::server::{clock, task};
use crate::transport::{Flow, PeerIdentity};

/// The pages that may open websockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Arc<[String]>);

impl Origins {
    /// Those with these origins, such as `https://phone.example.com`; `*` is any.
    pub(crate) fn new(allowed: impl IntoIterator<Item = String>) -> Self {
        Self(allowed.into_iter().collect())
    }

    fn allow(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| self.0.iter().any(|it| it == "*" || it.eq_ignore_ascii_case(origin)))
    }
}

/// Opens the websocket that a client asks for, and gives it to the worker.
///
/// # Errors
/// When the client does not ask properly, or may not.
pub(crate) async fn accept(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    flow: Flow,
    identity: PeerIdentity,
    acceptor: &Acceptor,
    permit: ConnectionPermit,
) -> Result<(), HandshakeFailure> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * SIP_MESSAGE_BYTES_MAX)
        .max_message_size(Some(SIP_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SIP_MESSAGE_BYTES_MAX));
    let origins = &acceptor.origins;
    #[expect(clippy::result_large_err, reason = "the signature is that of the library's callback")]
    let judge = |request: &Request, response| judge(request.headers(), origins, response);
    let opened = accept_hdr_async_with_config(stream, judge, Some(config)).await;
    let socket = opened.map_err(|error| {
        tracing::debug!(peer = %flow.remote, %error, "websocket refused");
        HandshakeFailure::Websocket
    })?;
    let (writer, end) = Writer::new();
    let connected = Connected { flow, id: permit.id(), is_ours: false, identity, writer };
    if acceptor.worker.send(Input::Connected(connected)).await.is_ok() {
        task::spawn("sip-websocket", carry(socket, flow, end, acceptor.worker.clone(), permit));
    }
    Ok(())
}

/// The answer to an opening: with the subprotocol, or why not.
#[expect(clippy::result_large_err, reason = "the signature is that of the library's callback")]
fn judge(headers: &HeaderMap, origins: &Origins, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|it| it.to_str().ok());
    let speaks_sip = offered.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(SUBPROTOCOL));
    let origin = headers.get(header::ORIGIN).map(|it| it.to_str().unwrap_or_default());
    let refusal = if !speaks_sip {
        Some((StatusCode::BAD_REQUEST, "Sec-WebSocket-Protocol must offer sip (RFC 7118)"))
    } else if !origins.allow(origin) {
        Some((StatusCode::FORBIDDEN, "this origin may not connect"))
    } else {
        None
    };
    if let Some((status, why)) = refusal {
        let mut refused = ErrorResponse::new(Some(why.to_owned()));
        *refused.status_mut() = status;
        return Err(refused);
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// Messages in both directions, until either side closes.
async fn carry<S>(
    mut socket: WebSocketStream<S>,
    flow: Flow,
    mut end: WriterEnd,
    worker: mpsc::Sender<Input>,
    permit: ConnectionPermit,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id = permit.id();
    let mut is_pinged = false;
    let mut look_at = clock::now().instant + PING_AFTER;
    loop {
        let outgoing = tokio::select! {
            biased;
            data = end.queue.recv() => match data {
                Some(data) => Some(message(data)),
                None => break,
            },
            incoming = socket.next() => {
                is_pinged = false;
                look_at = clock::now().instant + PING_AFTER;
                let data = match incoming {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                };
                if worker.send(Input::Message((flow, id), data)).await.is_err() {
                    break;
                }
                None
            }
            () = task::deadline(look_at) => {
                if is_pinged {
                    break;
                }
                is_pinged = true;
                look_at = clock::now().instant + Duration::from_secs(WEBSOCKET_PONG_S_MAX);
                Some(Message::Ping(Bytes::new()))
            }
        };
        let Some(outgoing) = outgoing else { continue };
        let patience = Duration::from_secs(TCP_WRITE_S_MAX);
        if !matches!(tokio::time::timeout(patience, socket.send(outgoing)).await, Ok(Ok(()))) {
            break;
        }
    }
    let goodbye = tokio::time::timeout(Duration::from_secs(TCP_WRITE_S_MAX), socket.close(None));
    let _already_closed = goodbye.await;
    drop(permit);
    drop(worker.send(Input::Disconnected((flow, id))).await);
}

/// Text where it is text, as browsers expect.
fn message(data: Bytes) -> Message {
    match Utf8Bytes::try_from(data.clone()) {
        Ok(text) => Message::Text(text),
        Err(_not_text) => Message::Binary(data),
    }
}

const SUBPROTOCOL: &str = "sip";
const PING_AFTER: Duration = Duration::from_secs(WEBSOCKET_PING_S);
const READ_BUFFER_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sip_from_listed_pages_is_taken() {
        for (allowed, protocol, origin, expected) in [
            (&[][..], Some("sip"), None, 101),
            (&[], Some("chat, SIP"), None, 101),
            (&[], None, None, 400),
            (&[], Some("chat"), None, 400),
            (&[], Some("sip"), Some("https://evil.example"), 403),
            (&["https://phone.example"], Some("sip"), Some("https://phone.example"), 101),
            (&["https://phone.example"], Some("sip"), Some("https://phone.example.evil.example"), 403),
            (&["https://phone.example"], Some("sip"), Some("null"), 403),
            (&["*"], Some("sip"), Some("https://anywhere.example"), 101),
        ] {
            let origins = Origins::new(allowed.iter().map(|it| (*it).to_owned()));
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::SEC_WEBSOCKET_PROTOCOL, protocol), (header::ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let status = match judge(&headers, &origins, response) {
                Ok(answer) => {
                    assert_eq!(answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL).unwrap(), "sip");
                    answer.status().as_u16()
                }
                Err(answer) => answer.status().as_u16(),
            };
            assert_eq!(status, expected, "{allowed:?} {protocol:?} {origin:?}");
        }
    }
}
