//! The SIP worker's sockets: where a message for a [`Flow`] is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{TCP_CONNECTING_MESSAGES_MAX, TCP_CONNECTIONS_MAX, TLS_PEERS_MAX};
use crate::route::TrunkName;
use crate::server::connections::{Connected, Connections, Writer};
use crate::server::sip_worker::Input;
use crate::server::tls::{TlsClient, TlsError, TlsPeer};
use crate::server::{task, tcp};
use crate::transport::{Flow, PeerIdentity, TransportKind};

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
    open: BTreeMap<Flow, Open>,
    connecting: BTreeMap<Flow, Vec<Bytes>>,
    expected: BTreeMap<SocketAddr, Expected>,
    expectations: u64,
    /// For peers that nobody told about.
    tls: Option<TlsClient>,
    /// For those of these trunks.
    trunks: BTreeMap<TrunkName, TlsClient>,
    connections: Arc<Connections>,
    worker: mpsc::Sender<Input>,
    dropped: u64,
}

#[derive(Debug)]
struct Open {
    writer: Writer,
    identity: PeerIdentity,
}

#[derive(Debug)]
struct Expected {
    peer: TlsPeer,
    /// The higher, the later it was asked for.
    order: u64,
}

/// The message could not be written, and no event will tell later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendFailed;

/// A connection is open to that address which was verified for another name, or with other trust, and whose certificate
/// does not show the name that is expected now. What is for one host must not go to another, even at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a connection to this address is in use for another host name")]
pub(crate) struct OtherNameInUse;

/// A host cannot be connected to over TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotExpected {
    /// We do not speak TLS.
    #[error("there is no TLS: add a tls:// listener, and [sip.tls] ca if the system has no authorities")]
    NoClient,
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] TlsError),
    /// Somebody else is connected there.
    #[error(transparent)]
    OtherNameInUse(#[from] OtherNameInUse),
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
            expectations: 0,
            tls,
            trunks,
            connections,
            worker,
            dropped: 0,
        }
    }

    /// From here on TLS connections to `remote` are verified as those to `peer`. To be called before the
    /// first message to an address that was looked up for a name; calling it again is cheap.
    ///
    /// At most [`TLS_PEERS_MAX`] are remembered, those with a connection besides.
    ///
    /// # Errors
    /// When a connection for somebody else is open there. What was expected before stays.
    pub(crate) fn expect_tls(&mut self, remote: SocketAddr, peer: TlsPeer) -> Result<(), OtherNameInUse> {
        let same = self.expected.get(&remote).is_some_and(|it| it.peer.is_same(&peer));
        if !same && self.is_in_use_by_another(remote, &peer) {
            return Err(OtherNameInUse);
        }
        self.expectations += 1;
        self.expected.insert(remote, Expected { peer, order: self.expectations });
        if self.expected.len() > TLS_PEERS_MAX {
            let is_idle = |it: &SocketAddr| !self.open.keys().any(|flow| flow.remote == *it);
            let idle = self.expected.iter().filter(|(it, _)| is_idle(it));
            if let Some(oldest) = idle.min_by_key(|(_, it)| it.order).map(|(it, _)| *it) {
                self.expected.remove(&oldest);
            }
        }
        Ok(())
    }

    /// As [`Self::expect_tls`], of a host of which the name is known, and the trunk if it is one's.
    ///
    /// # Errors
    /// As there; or when nobody can be trusted, or that is no host name.
    pub(crate) fn expect_tls_name(
        &mut self,
        remote: SocketAddr,
        name: &str,
        trunk: Option<&TrunkName>,
    ) -> Result<(), NotExpected> {
        let own = trunk.and_then(|it| self.trunks.get(it));
        let peer = own.or(self.tls.as_ref()).ok_or(NotExpected::NoClient)?.peer(name)?;
        Ok(self.expect_tls(remote, peer)?)
    }

    /// Whether a connection to `remote` is open or being opened that must not carry what is for `peer`.
    fn is_in_use_by_another(&self, remote: SocketAddr, peer: &TlsPeer) -> bool {
        let is_there = |flow: &Flow| flow.kind == TransportKind::Tls && flow.remote == remote;
        let is_another = |(_, it): (&Flow, &Open)| !it.identity.is(&peer.name());
        self.connecting.keys().any(is_there) || self.open.iter().filter(|(it, _)| is_there(it)).any(is_another)
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

    /// Takes over an open connection and writes what waited for it.
    pub(crate) fn connected(&mut self, connected: Connected) {
        let Connected { flow, identity, writer, .. } = connected;
        for data in self.connecting.remove(&flow).unwrap_or_default() {
            if !writer.send(data) {
                self.dropped += 1;
            }
        }
        self.open.insert(flow, Open { writer, identity });
    }

    /// Forgets a connection, which closes it.
    pub(crate) fn close(&mut self, flow: Flow) {
        self.open.remove(&flow);
        self.connecting.remove(&flow);
    }

    /// Messages dropped because a socket or a connection did not take them.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn send_on_connection(&mut self, flow: Flow, data: Bytes) -> Result<(), SendFailed> {
        if let Some(open) = self.open.get(&flow) {
            if open.writer.send(data) {
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
            let tls = match flow.kind {
                TransportKind::Udp | TransportKind::Ws | TransportKind::Wss => return Err(SendFailed),
                TransportKind::Tcp => None,
                TransportKind::Tls => Some(self.peer_at(flow.remote).ok_or(SendFailed)?),
            };
            let connect = tcp::connect(flow, tls, self.worker.clone(), Arc::clone(&self.connections));
            task::spawn("sip-connect", connect);
        }
        let waiting = self.connecting.entry(flow).or_default();
        if waiting.len() >= TCP_CONNECTING_MESSAGES_MAX {
            self.dropped += 1;
        } else {
            waiting.push(data);
        }
        Ok(())
    }

    /// Whom to expect at `remote`.
    fn peer_at(&self, remote: SocketAddr) -> Option<TlsPeer> {
        match self.expected.get(&remote) {
            Some(expected) => Some(expected.peer.clone()),
            None => self.tls.as_ref()?.peer(&remote.ip().to_string()).ok(),
        }
    }
}
