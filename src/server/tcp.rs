//! SIP over TCP, and over TLS and websockets on it: accepting and opening connections.
//!
//! What comes before the first SIP message (a TLS handshake, the opening of a websocket) is done by a task of its own
//! within [`SIP_HANDSHAKE_S_MAX`], so that a peer that stalls there holds nothing but its own place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::limits::{SIP_HANDSHAKE_S_MAX, TCP_CONNECT_S_MAX};
use crate::server::connections::{self, ConnectionPermit, Connections, HandshakeFailure};
use crate::server::sip_worker::Input;
use crate::server::tls::{self, TlsPeer, TlsServer};
use crate::server::{clock, task, websocket};
use crate::transport::{Flow, PeerIdentity, TransportKind};

/// Binds `local` for listening.
///
/// # Errors
/// The operating system's, for example that another process listens there.
pub(crate) fn bind(local: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted server takes its port back although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    socket.listen(1_024)?;
    TcpListener::from_std(socket.into())
}

/// What an accepted connection becomes.
#[derive(Clone)]
pub(crate) struct Acceptor {
    /// What it carries.
    pub(crate) kind: TransportKind,
    /// The worker it is given to.
    pub(crate) worker: mpsc::Sender<Input>,
    /// How many there may be.
    pub(crate) connections: Arc<Connections>,
    /// Who we are, for [`TransportKind::is_secure`] ones.
    pub(crate) tls: Option<Arc<TlsServer>>,
    /// Whose websockets are taken.
    pub(crate) origins: websocket::Origins,
}

/// Accepts connections until the worker is gone. One beyond a limit is closed at once.
pub(crate) async fn accept(listener: TcpListener, acceptor: Acceptor) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = acceptor.worker.closed() => return,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors, most likely: others must end before this can go on.
            task::deadline(clock::now().instant + ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = acceptor.connections.admit(remote.ip(), false) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        let flow = Flow { kind: acceptor.kind, local, remote };
        if acceptor.kind == TransportKind::Tcp {
            start_plain(stream, (flow, false), &acceptor.worker, permit).await;
        } else {
            task::spawn("sip-handshake", acceptor.clone().shake_hands(stream, flow, permit));
        }
    }
}

impl Acceptor {
    async fn shake_hands(self, stream: TcpStream, flow: Flow, permit: ConnectionPermit) {
        let opening = async {
            let _unsupported = stream.set_nodelay(true);
            if !flow.kind.is_secure() {
                return websocket::accept(stream, flow, PeerIdentity::default(), &self, permit).await;
            }
            let tls = self.tls.as_ref().ok_or(HandshakeFailure::TlsIn)?;
            let (stream, identity) = match tls.accept(stream, flow.kind).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(peer = %flow.remote, %error, "TLS handshake failed");
                    return Err(HandshakeFailure::TlsIn);
                }
            };
            if flow.kind.is_websocket() {
                return websocket::accept(stream, flow, identity, &self, permit).await;
            }
            connections::start(tokio::io::split(stream), (flow, false, identity), &self.worker, permit).await;
            Ok(())
        };
        let limit = Duration::from_secs(SIP_HANDSHAKE_S_MAX);
        match tokio::time::timeout(limit, opening).await {
            Ok(Ok(())) => (),
            Ok(Err(failure)) => self.connections.count_failed(failure),
            Err(_late) => self.connections.count_failed(HandshakeFailure::TooSlow),
        }
    }
}

/// Opens a connection to `flow.remote`, reports it to the worker and, when that fails, says so. `tls` is whom to expect
/// there, for [`TransportKind::Tls`]: the server has to be all of them.
pub(crate) async fn connect(flow: Flow, tls: Vec<TlsPeer>, worker: mpsc::Sender<Input>, connections: Arc<Connections>) {
    if try_connect(flow, tls, &worker, &connections).await.is_none() {
        // The worker may be gone; then nobody waits for the connection.
        drop(worker.send(Input::NotConnected(flow)).await);
    }
}

async fn try_connect(
    flow: Flow,
    tls: Vec<TlsPeer>,
    worker: &mpsc::Sender<Input>,
    connections: &Arc<Connections>,
) -> Option<()> {
    let permit = connections.admit(flow.remote.ip(), true).ok()?;
    let open = async {
        let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !flow.local.ip().is_unspecified() && flow.local.is_ipv4() == flow.remote.is_ipv4() {
            socket.bind(SocketAddr::new(flow.local.ip(), 0))?;
        }
        socket.connect(flow.remote).await
    };
    let limit = Duration::from_secs(TCP_CONNECT_S_MAX);
    let stream = tokio::time::timeout(limit, open).await.ok()?.ok()?;
    let Some((peer, others)) = tls.split_first() else {
        start_plain(stream, (flow, true), worker, permit).await;
        return Some(());
    };
    let _unsupported = stream.set_nodelay(true);
    let limit = Duration::from_secs(SIP_HANDSHAKE_S_MAX);
    match tokio::time::timeout(limit, tls::connect(stream, peer, others)).await {
        Ok(Ok((stream, identity))) => {
            connections::start(tokio::io::split(stream), (flow, true, identity), worker, permit).await;
            Some(())
        }
        Ok(Err(error)) => {
            tracing::warn!(peer = %flow.remote, name = peer.name(), %error, "TLS handshake failed");
            connections.count_failed(HandshakeFailure::TlsOut);
            None
        }
        Err(_late) => {
            connections.count_failed(HandshakeFailure::TooSlow);
            None
        }
    }
}

async fn start_plain(
    stream: TcpStream,
    (flow, is_ours): (Flow, bool),
    worker: &mpsc::Sender<Input>,
    permit: ConnectionPermit,
) {
    // Signalling messages are small and wait for each other: never for Nagle.
    let _unsupported = stream.set_nodelay(true);
    connections::start(stream.into_split(), (flow, is_ours, PeerIdentity::default()), worker, permit).await;
}

/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
