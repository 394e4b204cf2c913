//! The connections that carry SIP, whatever is around the bytes: how many there may be, and the tasks of each.
//!
//! A connection of bytes is two tasks and one bounded queue. A peer that does not read fills its queue and loses the
//! connection, never memory. Connections are limited in all and per source, and so is how fast a source opens them; one
//! on which nothing comes is closed after [`TCP_IDLE_S_MAX`], and a peer that opens one and says nothing at all is not
//! waited for that long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::{
    TCP_CONNECTIONS_MAX, TCP_CONNECTIONS_PER_SOURCE_MAX, TCP_FIRST_BYTE_S_MAX, TCP_IDLE_S_MAX, TCP_SEGMENT_BYTES_MAX,
    TCP_WRITE_QUEUE_MESSAGES_MAX, TCP_WRITE_S_MAX,
};
use crate::server::sip_worker::Input;
use crate::server::{clock, task};
use crate::transport::sources::{Rates, is_in, key};
use crate::transport::{Flow, PeerIdentity, Rate};

/// How many connections there may be.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimits {
    /// In all.
    pub(crate) total: usize,
    /// Of one source: an IPv4 address, or an IPv6 /64.
    pub(crate) per_source: usize,
    /// How fast one source may open them; `None` is no limit.
    pub(crate) opening: Option<Rate>,
    /// Sources without a limit of their own.
    pub(crate) exempt: Vec<IpNet>,
}

impl Default for ConnectionLimits {
    /// Those that hold unless the configuration says otherwise, without a limit to how fast connections are opened.
    fn default() -> Self {
        Self { total: TCP_CONNECTIONS_MAX, per_source: TCP_CONNECTIONS_PER_SOURCE_MAX, opening: None, exempt: vec![] }
    }
}

/// The worker's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Bytes>,
    _close: DropGuard,
}

/// What the tasks of a connection have of its [`Writer`].
pub(crate) struct WriterEnd {
    /// What to write; closed once the worker lets go of the connection.
    pub(crate) queue: mpsc::Receiver<Bytes>,
    /// Cancelled at the same time.
    pub(crate) closed: CancellationToken,
}

impl Writer {
    /// Both ends.
    pub(crate) fn new() -> (Self, WriterEnd) {
        let (sender, queue) = mpsc::channel(TCP_WRITE_QUEUE_MESSAGES_MAX);
        let closed = CancellationToken::new();
        (Self { queue: sender, _close: closed.clone().drop_guard() }, WriterEnd { queue, closed })
    }

    /// Queues `data`; false if the peer has stopped reading or the connection is gone, and then it should be dropped.
    pub(crate) fn send(&self, data: Bytes) -> bool {
        self.queue.try_send(data).is_ok()
    }
}

/// Tells a connection from an earlier one between the same addresses, of which something may still be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(u64);

/// A connection that has come into being, for the worker.
#[derive(Debug)]
pub(crate) struct Connected {
    /// Its addresses.
    pub(crate) flow: Flow,
    /// Which of those that ever were between them.
    pub(crate) id: ConnectionId,
    /// Whether we opened it.
    pub(crate) is_ours: bool,
    /// Who is at the other end.
    pub(crate) identity: PeerIdentity,
    /// For writing to it.
    pub(crate) writer: Writer,
}

/// Counts connections, in all and by source, and those that did not come about.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
    admitted: AtomicU64,
    refused: [AtomicU64; NotAdmitted::ALL.len()],
    handshakes_failed: [AtomicU64; HandshakeFailure::ALL.len()],
}

#[derive(Debug)]
struct Open {
    total: usize,
    by_source: BTreeMap<IpAddr, usize>,
    opening: Option<Rates>,
}

/// Why a connection is closed as soon as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// There are too many.
    Total,
    /// There are too many of its source.
    OfSource,
    /// Its source opens them too fast.
    TooFast,
}

impl NotAdmitted {
    /// Every reason.
    pub(crate) const ALL: [Self; 3] = [Self::Total, Self::OfSource, Self::TooFast];

    /// As a metric's label writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Total => "too_many_connections",
            Self::OfSource => "too_many_connections_of_source",
            Self::TooFast => "source_connects_too_fast",
        }
    }
}

/// What did not come about on a connection that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// TLS, which the peer began.
    TlsIn,
    /// TLS, which we began.
    TlsOut,
    /// The opening of a websocket.
    Websocket,
    /// It took too long.
    TooSlow,
}

impl HandshakeFailure {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::TlsIn, Self::TlsOut, Self::Websocket, Self::TooSlow];

    /// As a metric's label writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TlsIn => "tls_in",
            Self::TlsOut => "tls_out",
            Self::Websocket => "websocket",
            Self::TooSlow => "too_slow",
        }
    }
}

impl Connections {
    /// None are open. `secret` is any number that peers do not know.
    pub(crate) fn new(limits: ConnectionLimits, secret: u64) -> Self {
        let opening = limits.opening.map(|it| Rates::new(it, secret));
        Self {
            limits,
            open: Mutex::new(Open { total: 0, by_source: BTreeMap::new(), opening }),
            admitted: AtomicU64::new(0),
            refused: Default::default(),
            handshakes_failed: Default::default(),
        }
    }

    /// Room for one more connection from `source`, or why there is none. What we open ourselves counts, but is as fast as
    /// we like.
    pub(crate) fn admit(self: &Arc<Self>, source: IpAddr, is_ours: bool) -> Result<ConnectionPermit, NotAdmitted> {
        let is_exempt = is_ours || is_in(&self.limits.exempt, source);
        let source = key(source);
        let mut open = self.lock();
        let of_source = open.by_source.get(&source).copied().unwrap_or_default();
        let refused = if open.total >= self.limits.total {
            Some(NotAdmitted::Total)
        } else if of_source >= self.limits.per_source && !is_exempt {
            Some(NotAdmitted::OfSource)
        } else if !is_exempt && open.opening.as_mut().is_some_and(|it| !it.take(source, clock::now().instant)) {
            Some(NotAdmitted::TooFast)
        } else {
            None
        };
        if let Some(reason) = refused {
            count(&self.refused, reason as usize);
            return Err(reason);
        }
        open.total += 1;
        open.by_source.insert(source, of_source + 1);
        drop(open);
        let id = ConnectionId(self.admitted.fetch_add(1, Ordering::Relaxed));
        Ok(ConnectionPermit { connections: Arc::clone(self), source, id })
    }

    /// A handshake failed.
    pub(crate) fn count_failed(&self, failure: HandshakeFailure) {
        count(&self.handshakes_failed, failure as usize);
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().total
    }

    /// How many were closed as soon as they were there.
    pub(crate) fn refused(&self, reason: NotAdmitted) -> u64 {
        self.refused.get(reason as usize).map_or(0, |it| it.load(Ordering::Relaxed))
    }

    /// How many handshakes failed.
    pub(crate) fn failed(&self, failure: HandshakeFailure) -> u64 {
        self.handshakes_failed.get(failure as usize).map_or(0, |it| it.load(Ordering::Relaxed))
    }

    fn release(&self, source: IpAddr) {
        let mut open = self.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&source);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    source: IpAddr,
    id: ConnectionId,
}

impl ConnectionPermit {
    /// Names the connection.
    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.release(self.source);
    }
}

/// Gives a connection of bytes to the worker and starts its tasks.
pub(crate) async fn start(
    (reader, writer): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
    (flow, is_ours, identity): (Flow, bool, PeerIdentity),
    worker: &mpsc::Sender<Input>,
    permit: ConnectionPermit,
) {
    let (handle, WriterEnd { queue, closed }) = Writer::new();
    let id = permit.id();
    if worker.send(Input::Connected(Connected { flow, id, is_ours, identity, writer: handle })).await.is_err() {
        return;
    }
    task::spawn("sip-connection-write", write(writer, queue, (flow, id), worker.clone()));
    task::spawn("sip-connection-read", read(reader, (flow, is_ours), worker.clone(), closed, permit));
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    (flow, is_ours): (Flow, bool),
    worker: mpsc::Sender<Input>,
    closed: CancellationToken,
    permit: ConnectionPermit,
) {
    let id = permit.id();
    let mut buffer = BytesMut::with_capacity(TCP_SEGMENT_BYTES_MAX);
    let mut patience = Duration::from_secs(if is_ours { TCP_IDLE_S_MAX } else { TCP_FIRST_BYTE_S_MAX });
    loop {
        buffer.reserve(TCP_SEGMENT_BYTES_MAX);
        let read = tokio::time::timeout(patience, reader.read_buf(&mut buffer));
        let Some(Ok(Ok(len))) = closed.run_until_cancelled(read).await else { break };
        if len == 0 || worker.send(Input::Segment((flow, id), buffer.split().freeze())).await.is_err() {
            break;
        }
        patience = Duration::from_secs(TCP_IDLE_S_MAX);
    }
    drop(permit);
    drop(worker.send(Input::Disconnected((flow, id))).await);
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
    connection: (Flow, ConnectionId),
    worker: mpsc::Sender<Input>,
) {
    while let Some(data) = queue.recv().await {
        let written = async {
            writer.write_all(&data).await?;
            writer.flush().await
        };
        let patience = Duration::from_secs(TCP_WRITE_S_MAX);
        if !matches!(tokio::time::timeout(patience, written).await, Ok(Ok(()))) {
            drop(worker.send(Input::Disconnected(connection)).await);
            return;
        }
    }
    // The worker let go of the connection: tell the peer that nothing follows.
    let goodbye = tokio::time::timeout(Duration::from_secs(TCP_WRITE_S_MAX), writer.shutdown());
    let _already_closed = goodbye.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_by_source() {
        let limits = ConnectionLimits {
            total: 5,
            per_source: 2,
            opening: None,
            exempt: vec!["192.0.2.128/25".parse().unwrap()],
        };
        let connections = Arc::new(Connections::new(limits, 1));
        let admit = |source: &str| connections.admit(source.parse().unwrap(), false);
        let mut open = vec![];
        for (source, expected) in [
            ("2001:db8::1", None),
            ("2001:db8::2", None),
            ("2001:db8::3", Some(NotAdmitted::OfSource)),
            ("192.0.2.200", None),
            ("192.0.2.200", None),
            ("192.0.2.200", None),
            ("192.0.2.200", Some(NotAdmitted::Total)),
        ] {
            match admit(source) {
                Ok(permit) => open.push(permit),
                Err(reason) => assert_eq!(Some(reason), expected, "{source}"),
            }
        }
        assert_eq!((open.len(), connections.len()), (5, 5));
        drop(open);
        assert_eq!(connections.len(), 0);
        assert!(connections.lock().by_source.is_empty());
    }

    #[test]
    fn who_opens_connections_too_fast_waits() {
        let opening = Some(Rate { per_s: 1, burst: 3 });
        let limits = ConnectionLimits { total: 100, per_source: 100, opening, exempt: vec![] };
        let connections = Arc::new(Connections::new(limits, 1));
        let source = "192.0.2.1".parse().unwrap();
        let admitted = (0..10).filter(|_| connections.admit(source, false).is_ok()).count();
        assert_eq!(admitted, 3);
        assert_eq!(connections.refused(NotAdmitted::TooFast), 7);
        assert!(connections.admit(source, true).is_ok(), "what we open ourselves is our own affair");
    }
}
