//! SIP over UDP: binding a listener and moving its datagrams to the SIP worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{SIP_MESSAGE_BYTES_MAX, SIP_UDP_RECEIVE_BUFFER_BYTES};
use crate::server::sip_worker::Input;
use crate::transport::{Flow, TransportKind};

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

/// Reads datagrams until the worker is gone. When the worker's queue is full, new datagrams are dropped and counted:
/// UDP peers retransmit, and what is already queued is older and closer to its timers.
pub(crate) async fn read(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    worker: mpsc::Sender<Input>,
    dropped: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; SIP_MESSAGE_BYTES_MAX];
    loop {
        // An error here is an ICMP answer to something sent earlier; the transaction's timers deal with that.
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = worker.closed() => return,
        };
        let Ok((len, remote)) = received else { continue };
        let Some(datagram) = buffer.get(..len) else { continue };
        let flow = Flow { kind: TransportKind::Udp, local, remote };
        match worker.try_send(Input::Datagram(flow, Bytes::copy_from_slice(datagram))) {
            Ok(()) => (),
            Err(mpsc::error::TrySendError::Full(_)) => {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}
