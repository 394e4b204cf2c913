//! The SIP worker's sockets: where a message for a [`Flow`] is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{TCP_CONNECTING_MESSAGES_MAX, TCP_CONNECTIONS_MAX};
use crate::server::sip_worker::Input;
use crate::server::{task, tcp};
use crate::transport::{Flow, TransportKind};

/// UDP sockets by local address and TCP connections by remote address.
///
/// A message for a TCP peer without a connection opens one; until it is open at most
/// [`TCP_CONNECTING_MESSAGES_MAX`] messages wait for it, further ones are dropped and counted.
#[derive(Debug)]
pub(crate) struct SipSockets {
    udp: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    tcp: BTreeMap<SocketAddr, tcp::Writer>,
    connecting: BTreeMap<SocketAddr, Vec<Bytes>>,
    connections: Arc<tcp::Connections>,
    worker: mpsc::Sender<Input>,
    dropped: u64,
}

/// The message could not be written, and no event will tell later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendFailed;

impl SipSockets {
    /// Writes to these UDP sockets, and opens TCP connections that report to `worker`.
    pub(crate) const fn new(
        udp: BTreeMap<SocketAddr, Arc<UdpSocket>>,
        connections: Arc<tcp::Connections>,
        worker: mpsc::Sender<Input>,
    ) -> Self {
        Self { udp, tcp: BTreeMap::new(), connecting: BTreeMap::new(), connections, worker, dropped: 0 }
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
            TransportKind::Tcp => self.send_on_connection(flow, data),
            TransportKind::Tls | TransportKind::Ws | TransportKind::Wss => Err(SendFailed),
        }
    }

    /// Takes over an open connection and writes what waited for it.
    pub(crate) fn connected(&mut self, flow: Flow, writer: tcp::Writer) {
        for data in self.connecting.remove(&flow.remote).unwrap_or_default() {
            if !writer.send(data) {
                self.dropped += 1;
            }
        }
        self.tcp.insert(flow.remote, writer);
    }

    /// Forgets a connection, which closes it.
    pub(crate) fn close(&mut self, flow: Flow) {
        self.tcp.remove(&flow.remote);
        self.connecting.remove(&flow.remote);
    }

    /// Messages dropped because a socket or a connection did not take them.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn send_on_connection(&mut self, flow: Flow, data: Bytes) -> Result<(), SendFailed> {
        if let Some(writer) = self.tcp.get(&flow.remote) {
            if writer.send(data) {
                return Ok(());
            }
            self.tcp.remove(&flow.remote);
            self.dropped += 1;
            return Err(SendFailed);
        }
        if self.connecting.len() >= TCP_CONNECTIONS_MAX {
            return Err(SendFailed);
        }
        if !self.connecting.contains_key(&flow.remote) {
            let connect = tcp::connect(flow, self.worker.clone(), Arc::clone(&self.connections));
            task::spawn("sip-tcp-connect", connect);
        }
        let waiting = self.connecting.entry(flow.remote).or_default();
        if waiting.len() >= TCP_CONNECTING_MESSAGES_MAX {
            self.dropped += 1;
        } else {
            waiting.push(data);
        }
        Ok(())
    }
}
