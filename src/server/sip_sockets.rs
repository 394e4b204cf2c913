//! The SIP worker's sockets: where a message for a [`Flow`] is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{
    TCP_CONNECTING_MESSAGES_MAX, TCP_CONNECTIONS_MAX, TLS_EXPECTED_S, TLS_NAMES_PER_ADDRESS_MAX, TLS_PEERS_MAX,
};
use crate::route::TrunkName;
use crate::server::connections::{Connected, ConnectionId, Connections, Writer};
use crate::server::sip_worker::Input;
use crate::server::tls::{TlsClient, TlsError, TlsPeer};
use crate::server::{clock, task, tcp};
use crate::transport::{Flow, TransportKind};

/// UDP sockets by local address, and connections by flow.
///
/// A message for a TCP or TLS peer without a connection opens one; until it is open at most
/// [`TCP_CONNECTING_MESSAGES_MAX`] messages wait for it, further ones are dropped and counted. A websocket cannot be
/// opened: its client listens nowhere.
///
/// A TLS connection is verified against the [`TlsPeer`] that is expected there, see [`Self::expect_tls`], else against the
/// address itself.
#[derive(Debug)]
pub(crate) struct SipSockets {
    udp: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    open: BTreeMap<Flow, (ConnectionId, Writer)>,
    connecting: BTreeMap<Flow, Vec<Bytes>>,
    expected: BTreeMap<SocketAddr, Vec<Expected>>,
    /// Of those that are being opened, the ones whose server may turn out to be only some of those expected.
    unverified: BTreeSet<Flow>,
    /// For peers that nobody told about.
    tls: Option<TlsClient>,
    /// For those of these trunks.
    trunks: BTreeMap<TrunkName, TlsClient>,
    connections: Arc<Connections>,
    worker: mpsc::Sender<Input>,
    dropped: u64,
}

#[derive(Debug)]
struct Expected {
    peer: TlsPeer,
    at: Instant,
}

/// The message could not be written, and no event will tell later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendFailed;

/// A host cannot be connected to over TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotExpected {
    /// We do not speak TLS.
    #[error("there is no TLS: add a tls:// listener, and [sip.tls] ca if the system has no authorities")]
    NoClient,
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] TlsError),
}

impl SipSockets {
    /// Writes to these UDP sockets, and opens connections that report to `worker`. `tls` is for TLS peers that nobody told
    /// about, without it there are no connections to those; `trunks` have their own.
    pub(crate) fn new(
        udp: BTreeMap<SocketAddr, Arc<UdpSocket>>,
        (tls, trunks): (Option<TlsClient>, BTreeMap<TrunkName, TlsClient>),
        connections: Arc<Connections>,
        worker: mpsc::Sender<Input>,
    ) -> Self {
        Self {
            udp,
            open: BTreeMap::new(),
            connecting: BTreeMap::new(),
            expected: BTreeMap::new(),
            unverified: BTreeSet::new(),
            tls,
            trunks,
            connections,
            worker,
            dropped: 0,
        }
    }

    /// From here on TLS connections to `remote` are verified as those to `peer`, and to whoever else was expected there
    /// within the last [`TLS_EXPECTED_S`]: a flow tells addresses apart, not names, so its server has to be all of them. To
    /// be called before the first message to an address that was looked up for a name; calling it again is cheap.
    ///
    /// A connection that was opened before a name was expected is closed and returned, as what is under way on it fails; the
    /// next message opens one that is verified for it. At most [`TLS_PEERS_MAX`] addresses are remembered; beyond it the
    /// one that was expected longest ago is forgotten.
    pub(crate) fn expect_tls(&mut self, remote: SocketAddr, peer: TlsPeer) -> Vec<Flow> {
        let now = clock::now().instant;
        let expected = self.expected.entry(remote).or_default();
        expected.retain(|it| now.saturating_duration_since(it.at) < Duration::from_secs(TLS_EXPECTED_S));
        if let Some(known) = expected.iter_mut().find(|it| it.peer.is_same(&peer)) {
            known.at = now;
            return vec![];
        }
        if expected.len() < TLS_NAMES_PER_ADDRESS_MAX {
            expected.push(Expected { peer, at: now });
        }
        let is_there = |flow: &Flow| flow.kind == TransportKind::Tls && flow.remote == remote;
        let closed = self.open.extract_if(.., |flow, _| is_there(flow)).map(|(flow, _)| flow).collect();
        self.unverified.extend(self.connecting.keys().filter(|it| is_there(it)));
        if self.expected.len() > TLS_PEERS_MAX {
            let latest = |(_, it): &(&SocketAddr, &Vec<Expected>)| it.iter().map(|it| it.at).max();
            if let Some(oldest) = self.expected.iter().min_by_key(latest).map(|(it, _)| *it) {
                self.expected.remove(&oldest);
            }
        }
        closed
    }

    /// As [`Self::expect_tls`], of a host of which the name is known, and the trunk if it is one's.
    ///
    /// # Errors
    /// When nobody can be trusted, or that is no host name.
    pub(crate) fn expect_tls_name(
        &mut self,
        remote: SocketAddr,
        name: &str,
        trunk: Option<&TrunkName>,
    ) -> Result<Vec<Flow>, NotExpected> {
        let own = trunk.and_then(|it| self.trunks.get(it));
        let peer = own.or(self.tls.as_ref()).ok_or(NotExpected::NoClient)?.peer(name)?;
        Ok(self.expect_tls(remote, peer))
    }

    /// Writes `data` to `flow`, opening a connection if it takes one.
    pub(crate) fn send(&mut self, flow: Flow, data: Bytes) -> Result<(), SendFailed> {
        match flow.kind {
            TransportKind::Udp => {
                let socket = self.udp.get(&flow.local).ok_or(SendFailed)?;
                match socket.try_send_to(&data, flow.remote) {
                    Ok(_) => Ok(()),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        // The send buffer is full: as if the network had lost it, and the timers deal with that.
                        self.dropped += 1;
                        Ok(())
                    }
                    Err(_) => Err(SendFailed),
                }
            }
            TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss => {
                self.send_on_connection(flow, data)
            }
        }
    }

    /// Takes over an open connection and writes what waited for it. False if it is not verified for all that is expected
    /// there by now: it is closed, and what waited is lost.
    pub(crate) fn connected(&mut self, connected: Connected) -> bool {
        let Connected { flow, id, writer, .. } = connected;
        if self.unverified.remove(&flow) {
            self.connecting.remove(&flow);
            return false;
        }
        for data in self.connecting.remove(&flow).unwrap_or_default() {
            if !writer.send(data) {
                self.dropped += 1;
            }
        }
        self.open.insert(flow, (id, writer));
        true
    }

    /// Whether this is the connection of these addresses.
    pub(crate) fn is_open(&self, flow: Flow, id: ConnectionId) -> bool {
        self.open.get(&flow).is_some_and(|it| it.0 == id)
    }

    /// Whether there is a connection of these addresses.
    pub(crate) fn has(&self, flow: Flow) -> bool {
        self.open.contains_key(&flow)
    }

    /// Forgets a connection, which closes it. One that is being opened in its place goes on.
    pub(crate) fn close(&mut self, flow: Flow) {
        self.open.remove(&flow);
    }

    /// Forgets a connection that could not be opened, and what waits for it.
    pub(crate) fn give_up(&mut self, flow: Flow) {
        self.connecting.remove(&flow);
        self.unverified.remove(&flow);
    }

    /// Messages dropped because a socket or a connection did not take them.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn send_on_connection(&mut self, flow: Flow, data: Bytes) -> Result<(), SendFailed> {
        if let Some((_, open)) = self.open.get(&flow) {
            if open.send(data) {
                return Ok(());
            }
            self.open.remove(&flow);
            self.dropped += 1;
            return Err(SendFailed);
        }
        if self.connecting.len() >= TCP_CONNECTIONS_MAX {
            return Err(SendFailed);
        }
        if !self.connecting.contains_key(&flow) {
            self.open_connection(flow)?;
        }
        let waiting = self.connecting.entry(flow).or_default();
        if waiting.len() >= TCP_CONNECTING_MESSAGES_MAX {
            self.dropped += 1;
        } else {
            waiting.push(data);
        }
        Ok(())
    }

    fn open_connection(&self, flow: Flow) -> Result<(), SendFailed> {
        let tls = match flow.kind {
            TransportKind::Udp | TransportKind::Ws | TransportKind::Wss => return Err(SendFailed),
            TransportKind::Tcp => vec![],
            TransportKind::Tls => self.peers_at(flow.remote).ok_or(SendFailed)?,
        };
        let connect = tcp::connect(flow, tls, self.worker.clone(), Arc::clone(&self.connections));
        task::spawn("sip-connect", connect);
        Ok(())
    }

    /// Whom to expect at `remote`; `None` if TLS is not spoken. Never nobody.
    fn peers_at(&self, remote: SocketAddr) -> Option<Vec<TlsPeer>> {
        match self.expected.get(&remote).filter(|it| !it.is_empty()) {
            Some(expected) => Some(expected.iter().map(|it| it.peer.clone()).collect()),
            None => Some(vec![self.tls.as_ref()?.peer(&remote.ip().to_string()).ok()?]),
        }
    }
}
