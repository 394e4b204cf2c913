//! SIP over TCP: accepting and opening connections, reading segments from them and writing messages to them.
//!
//! A connection is two tasks and one bounded queue. A peer that does not read fills its queue and loses the
//! connection, never memory. Connections are limited in all and per source address; one that sends nothing is closed
//! after [`TCP_IDLE_S_MAX`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::{
    TCP_CONNECT_S_MAX, TCP_CONNECTIONS_MAX, TCP_CONNECTIONS_PER_SOURCE_MAX, TCP_IDLE_S_MAX, TCP_SEGMENT_BYTES_MAX,
    TCP_WRITE_QUEUE_MESSAGES_MAX, TCP_WRITE_S_MAX,
};
use crate::server::sip_worker::Input;
use crate::server::{clock, task};
use crate::transport::{Flow, TransportKind};

/// The worker's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Bytes>,
    _close: DropGuard,
}

impl Writer {
    /// Queues `data`; false if the peer has stopped reading or the connection is gone, and then it should be dropped.
    pub(crate) fn send(&self, data: Bytes) -> bool {
        self.queue.try_send(data).is_ok()
    }
}

/// Binds `local` for listening.
///
/// # Errors
/// The operating system's, for example that another process listens there.
pub(crate) fn bind(local: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
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

/// Counts open connections, in all and by source.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: std::sync::Mutex<BTreeMap<IpAddr, usize>>,
}

impl Connections {
    /// Room for one more connection from `source`, or `None` when a limit is reached.
    fn admit(self: &Arc<Self>, source: IpAddr) -> Option<ConnectionPermit> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let total: usize = open.values().sum();
        let of_source = open.entry(source).or_default();
        if total >= TCP_CONNECTIONS_MAX || *of_source >= TCP_CONNECTIONS_PER_SOURCE_MAX {
            if *of_source == 0 {
                open.remove(&source);
            }
            return None;
        }
        *of_source += 1;
        drop(open);
        Some(ConnectionPermit { connections: Arc::clone(self), source })
    }

    fn release(&self, source: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = open.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&source);
            }
        }
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().sum()
    }
}

/// Accepts connections until the worker is gone. One beyond a limit is closed at once.
pub(crate) async fn accept(listener: TcpListener, worker: mpsc::Sender<Input>, connections: Arc<Connections>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = worker.closed() => return,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors, most likely: others must end before this can go on.
            task::deadline(clock::now().instant + ACCEPT_PAUSE).await;
            continue;
        };
        let Some(permit) = connections.admit(remote.ip()) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        start(stream, Flow { kind: TransportKind::Tcp, local, remote }, &worker, permit).await;
    }
}

/// Opens a connection to `flow.remote`, reports it to the worker and, when that fails, says so.
pub(crate) async fn connect(flow: Flow, worker: mpsc::Sender<Input>, connections: Arc<Connections>) {
    let opened = tokio::time::timeout(Duration::from_secs(TCP_CONNECT_S_MAX), TcpStream::connect(flow.remote)).await;
    let (Ok(Ok(stream)), Some(permit)) = (opened, connections.admit(flow.remote.ip())) else {
        // The worker may be gone; then nobody waits for the connection.
        drop(worker.send(Input::SendFailed(flow)).await);
        return;
    };
    start(stream, flow, &worker, permit).await;
}

async fn start(stream: TcpStream, flow: Flow, worker: &mpsc::Sender<Input>, permit: ConnectionPermit) {
    // Signalling messages are small and wait for each other: never for Nagle.
    let _unsupported = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (to_writer, queue) = mpsc::channel(TCP_WRITE_QUEUE_MESSAGES_MAX);
    let closed = CancellationToken::new();
    let handle = Writer { queue: to_writer, _close: closed.clone().drop_guard() };
    if worker.send(Input::Connected(flow, handle)).await.is_err() {
        return;
    }
    task::spawn("sip-tcp-write", write(writer, queue, flow, worker.clone()));
    task::spawn("sip-tcp-read", read(reader, flow, worker.clone(), closed, permit));
}

async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    worker: mpsc::Sender<Input>,
    closed: CancellationToken,
    permit: ConnectionPermit,
) {
    let mut buffer = BytesMut::with_capacity(TCP_SEGMENT_BYTES_MAX);
    loop {
        buffer.reserve(TCP_SEGMENT_BYTES_MAX);
        let read = tokio::time::timeout(Duration::from_secs(TCP_IDLE_S_MAX), reader.read_buf(&mut buffer));
        let Some(Ok(Ok(len))) = closed.run_until_cancelled(read).await else { break };
        if len == 0 || worker.send(Input::Segment(flow, buffer.split().freeze())).await.is_err() {
            break;
        }
    }
    drop(permit);
    drop(worker.send(Input::Disconnected(flow)).await);
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>, flow: Flow, worker: mpsc::Sender<Input>) {
    while let Some(data) = queue.recv().await {
        let patience = Duration::from_secs(TCP_WRITE_S_MAX);
        if !matches!(tokio::time::timeout(patience, writer.write_all(&data)).await, Ok(Ok(()))) {
            drop(worker.send(Input::SendFailed(flow)).await);
            return;
        }
    }
    // The worker let go of the connection: tell the peer that nothing follows.
    let _already_closed = writer.shutdown().await;
}

/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
struct ConnectionPermit {
    connections: Arc<Connections>,
    source: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.release(self.source);
    }
}
