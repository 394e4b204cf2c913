//! What a leg sends of its own accord: the packets and reports of a tick, from its own sockets or the shared ones.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::{Leg, WorkerMetrics, browser};
use crate::media::{LegTransport, TransmitKind};
use crate::server::batched_udp::SendBatch;
use crate::timer::Now;

impl Leg {
    /// Sends what its session has to send, however its packets are carried.
    pub(super) fn send_out(&mut self, send: &mut SendBatch, metrics: &WorkerMetrics, now: Now) {
        match &mut self.transport {
            LegTransport::WebRtc(peer) => browser::send(peer, &mut self.session, send, &self.sockets, now),
            LegTransport::Plain | LegTransport::Srtp { .. } => self.transmit(send, metrics),
        }
    }

    fn transmit(&mut self, send: &mut SendBatch, metrics: &WorkerMetrics) {
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
