//! What a leg sends of its own accord: the packets and reports of a tick, from its own sockets or the shared ones.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::{Leg, WorkerMetrics};
use crate::limits::RTP_DATAGRAM_BYTES_MAX;
use crate::media::{Session, TransmitKind};
use crate::rtp::packet::is_rtcp;
use crate::server::batched_udp::SendBatch;
use crate::server::ports::LegSockets;
use crate::timer::Now;
use crate::webrtc::Peer;

impl Leg {
    /// Sends what its session has to send.
    pub(super) fn transmit(&mut self, send: &mut SendBatch, metrics: &WorkerMetrics) {
        let mut kind = TransmitKind::Rtp;
        loop {
            let mut next = None;
            let is_queued = send.push(|buffer| {
                let transmit = self.session.poll_transmit(buffer)?;
                next = Some(transmit.kind);
                let protected = self.transport.protect(buffer, transmit.len).ok();
                metrics.send_failures.fetch_add(u64::from(protected.is_none()), Ordering::Relaxed);
                Some((transmit.to, protected?))
            });
            // A tick gives at most one datagram of each kind, RTP first, so each is a batch of its own.
            kind = next.unwrap_or(kind);
            if !is_queued {
                return;
            }
            let socket = match kind {
                TransmitKind::Rtp => self.sockets.rtp(),
                TransmitKind::Rtcp => self.sockets.rtcp(),
            };
            if send.send(socket.as_fd()) == 0 {
                metrics.send_failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

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
