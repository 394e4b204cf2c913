//! SIP over UDP: binding a listener and moving its datagrams to the SIP worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{SIP_DATAGRAMS_PER_TURN_MAX, SIP_MESSAGE_BYTES_MAX, SIP_UDP_RECEIVE_BUFFER_BYTES};
use crate::server::clock;
use crate::server::sip_worker::{Input, WaitingInvite};
use crate::transport::{Flow, TransportKind, precedence};

/// Binds `local`. An IPv6 socket carries IPv6 only, so that `0.0.0.0` and `::` can listen on the same port.
///
/// # Errors
/// The operating system's, for example that another process listens there.
pub(crate) fn bind(local: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(SIP_UDP_RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(Arc::new(UdpSocket::from_std(socket.into())?))
}

/// Reads datagrams until the worker is gone. When one of the worker's queues is full, new datagrams for it are dropped
/// and counted: UDP peers retransmit, and what is already queued is older and closer to its timers.
pub(crate) async fn read(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    worker: mpsc::Sender<Input>,
    new_calls: mpsc::Sender<WaitingInvite>,
    dropped: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; SIP_MESSAGE_BYTES_MAX];
    loop {
        // An error is that of the runtime, which ends.
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            () = worker.closed() => return,
        };
        if ready.is_err() {
            return;
        }
        let since = clock::now().instant;
        for _ in 0..SIP_DATAGRAMS_PER_TURN_MAX {
            let (len, remote) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // An ICMP answer to something sent earlier; the transaction's timers deal with that.
                Err(_) => continue,
            };
            let Some(datagram) = buffer.get(..len) else { continue };
            let flow = Flow { kind: TransportKind::Udp, local, remote };
            let data = Bytes::copy_from_slice(datagram);
            let is_taken = if precedence::begins_call(datagram) {
                new_calls.try_send(WaitingInvite { flow, data, since }).is_ok()
            } else {
                worker.try_send(Input::Datagram(flow, data)).is_ok()
            };
            if !is_taken {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        // A socket that always has more would keep the worker from its turn.
        tokio::task::yield_now().await;
    }
}
