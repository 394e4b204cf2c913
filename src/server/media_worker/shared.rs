//! Ports that many legs share: what comes there is the leg's whose peer is where it comes from, and what is sent on from
//! there is collected and leaves at the end of the turn, many datagrams in one system call.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::refused::listen_on;
use super::{Legs, MediaBusy, MediaLeg, Order, SHARED_TOKEN, WorkerMetrics};
use crate::media::RemoteMedia;
use crate::server::batched_udp::{ReceiveBatch, SendBatch};
use crate::server::ports::{LegSockets, RtpSockets, SharedPair};
use crate::timer::Now;

/// A pair of shared ports, and what is to leave from the first of them.
#[derive(Debug)]
pub(super) struct SharedEnd {
    pub(super) pair: LegSockets,
    pub(super) send: SendBatch,
}

impl MediaLeg {
    /// Gives the leg ports of its own in the place of shared ones.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn move_to(&self, sockets: RtpSockets) -> Result<(), MediaBusy> {
        self.handle.order(Order::Move { key: self.key, sockets })
    }
}

impl Legs {
    /// The index of a pair, which is listened on from now on.
    pub(super) fn share(&mut self, pair: &Arc<SharedPair>) -> io::Result<usize> {
        let is_it = |it: &SharedEnd| matches!(&it.pair, LegSockets::Shared(known) if Arc::ptr_eq(known, pair));
        if let Some(index) = self.shared.iter().position(is_it) {
            return Ok(index);
        }
        let index = self.shared.len();
        let (token, sockets) = (token_of(index), LegSockets::Shared(Arc::clone(pair)));
        listen_on(&self.poll, [sockets.rtp(), sockets.rtcp()], token)?;
        self.shared.push(SharedEnd { pair: sockets, send: SendBatch::new() });
        Ok(index)
    }

    /// From now on what comes from where the peer is, is this leg's; unless it is another's, as two legs must not be.
    pub(super) fn find_by_address(&mut self, key: u64, remote: &RemoteMedia) {
        let Some(place) = self.by_key.get(&key).copied() else {
            return;
        };
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        let Some(token) = leg.shared.map(token_of) else {
            return;
        };
        for before in leg.addresses.iter_mut().filter_map(Option::take) {
            self.by_address.remove(&before);
        }
        let rtcp = (remote.rtcp != remote.rtp).then_some((token | 1, canonical(remote.rtcp)));
        for (slot, address) in leg.addresses.iter_mut().zip([Some((token, canonical(remote.rtp))), rtcp]) {
            *slot = address.filter(|it| !self.by_address.contains_key(it));
            self.by_address.extend(slot.map(|it| (it, place)));
        }
    }

    /// From now on a leg is reached at its own sockets. Should they not be listened on, it hears nothing, and ends for that.
    pub(super) fn move_to(&mut self, key: u64, sockets: RtpSockets) {
        let Some(place) = self.by_key.get(&key).copied() else {
            return;
        };
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        for before in leg.addresses.iter_mut().filter_map(Option::take) {
            self.by_address.remove(&before);
        }
        let token = token_of_leg(place);
        if let Err(error) = listen_on(&self.poll, [&sockets.rtp, &sockets.rtcp], token) {
            tracing::error!(%error, leg = %leg.id, "epoll");
        }
        leg.shared = None;
        leg.sockets = LegSockets::Own(sockets);
    }

    /// Takes what waits on a shared socket, at most one batch.
    pub(super) fn receive_shared(&mut self, token: u64, batch: &mut ReceiveBatch, send: &mut SendBatch, now: Now) {
        let (is_rtcp, index) = (token & 1 == 1, usize::try_from((token & !SHARED_TOKEN) >> 1).unwrap_or(usize::MAX));
        let Some(end) = self.shared.get(index) else {
            return;
        };
        let socket = if is_rtcp { end.pair.rtcp() } else { end.pair.rtp() };
        if batch.receive(socket.as_fd()).is_err() {
            self.metrics.receive_failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for (from, datagram) in batch.iter_mut() {
            let place = self.by_address.get(&(token, from)).copied();
            let Some(leg) = place.and_then(|it| self.open.get_mut(it)?.as_deref_mut()) else {
                self.metrics.unmatched.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let place = place.unwrap_or(usize::MAX);
            if let Some(other) = leg.relays_to.filter(|_| !is_rtcp) {
                self.relay((place, other), std::iter::once((from, datagram)), send, now);
            } else if catch_unwind(AssertUnwindSafe(|| leg.receive(from, datagram, is_rtcp, now))).is_err() {
                self.fail(place, now);
            }
        }
    }

    /// Sends what has been collected in this turn.
    pub(super) fn flush(&mut self) {
        for end in &mut self.shared {
            send_all(&mut end.send, end.pair.rtp(), &self.metrics);
        }
    }
}

/// Sends what is queued, and counts what the system does not take.
pub(super) fn send_all(batch: &mut SendBatch, socket: &UdpSocket, metrics: &WorkerMetrics) {
    let queued = batch.len();
    if queued == 0 {
        return;
    }
    let failed = queued.saturating_sub(batch.send(socket.as_fd()));
    if failed > 0 {
        metrics.send_failures.fetch_add(u64::try_from(failed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn token_of(index: usize) -> u64 {
    SHARED_TOKEN | u64::try_from(index).unwrap_or(u64::MAX >> 3) << 1
}

/// Of the sockets of a leg that has its own.
pub(super) fn token_of_leg(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX >> 1) << 1
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
