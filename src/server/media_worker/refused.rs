//! What was sent and came back: nobody listens there (ICMP, RFC 792, RFC 4443). It is counted for the leg whose it was, and
//! nothing follows from it, since anyone may have sent the error.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::{Legs, SHARED_TOKEN};
use crate::limits::MEDIA_REFUSALS_PER_TURN_MAX;
use crate::server::batched_udp::{Poll, hear_of_refusals, take_refusal};

/// Waits on the sockets for RTP and RTCP from now on. Many who talk RTP have no port for RTCP: what comes back of that is
/// of no interest.
pub(super) fn listen_on(poll: &Poll, [rtp, rtcp]: [&UdpSocket; 2], token: u64) -> io::Result<()> {
    poll.add(rtp.as_fd(), token)?;
    poll.add(rtcp.as_fd(), token | 1)?;
    let is_ipv6 = rtp.local_addr()?.is_ipv6();
    // Where the system does not tell, nothing is counted.
    hear_of_refusals(rtp.as_fd(), is_ipv6).unwrap_or(());
    Ok(())
}

impl Legs {
    /// Counts what has come back to a socket.
    pub(super) fn take_refusals(&mut self, token: u64) {
        let is_shared = token & SHARED_TOKEN != 0;
        let place = usize::try_from((token & !SHARED_TOKEN) >> 1).unwrap_or(usize::MAX);
        for _ in 0..MEDIA_REFUSALS_PER_TURN_MAX {
            let socket = if is_shared {
                self.shared.get(place).map(|it| it.pair.rtp())
            } else {
                self.open.get(place).and_then(Option::as_ref).map(|it| it.sockets.rtp())
            };
            let Some(to) = socket.and_then(|it| take_refusal(it.as_fd())) else {
                return;
            };
            let place = if is_shared { self.by_address.get(&(token, to)).copied() } else { Some(place) };
            if let Some(leg) = place.and_then(|it| self.open.get_mut(it)?.as_deref_mut()) {
                leg.session.handle_refused();
            }
        }
    }
}
