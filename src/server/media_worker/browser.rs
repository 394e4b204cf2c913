//! Legs to browsers: `str0m` makes the packets that leave for them.

use std::os::fd::AsFd;

use crate::limits::RTP_DATAGRAM_BYTES_MAX;
use crate::media::Session;
use crate::rtp::packet::is_rtcp;
use crate::server::batched_udp::SendBatch;
use crate::server::ports::LegSockets;
use crate::timer::Now;
use crate::webrtc::Peer;

/// What the session says goes to the browser, and what that makes of it goes out; its RTCP is its own.
pub(super) fn send_to_browser(
    peer: &mut Peer,
    session: &mut Session,
    send: &mut SendBatch,
    sockets: &LegSockets,
    now: Now,
) {
    peer.handle_timeout(now.instant);
    let mut packet = [0; RTP_DATAGRAM_BYTES_MAX];
    while let Some(transmit) = session.poll_transmit(&mut packet) {
        let packet = packet.get(..transmit.len).unwrap_or_default();
        if !is_rtcp(packet) {
            peer.send(packet, now.instant);
        }
    }
    loop {
        let is_queued = send.push(|buffer| peer.poll_transmit(buffer));
        if !is_queued || send.is_full() {
            send.send(sockets.rtp().as_fd());
        }
        if !is_queued {
            return;
        }
    }
}
