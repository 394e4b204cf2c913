//! Packets of two bridged legs that agreed on the same coding: each is sent on when it arrives, with a header of the
//! other leg and nothing else done to it.
//!
//! That is so only while nobody has to say anything in between: no agent, no digit of our own to be sent, no supervisor who
//! is heard, no side on hold. Whatever changes that goes through [`Legs::settle`]. A recording, or a supervisor who only
//! listens, has what is passed on decoded beside the path ([`Ear`]); packets leave as they would without.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::supervise::audio;
use super::{Leg, Legs, MediaEvent, WorkerMetrics};
use crate::codec::Frame;
use crate::media::LegTransport;
use crate::server::batched_udp::{ReceiveBatch, SendBatch};
use crate::timer::Now;

impl Legs {
    /// Begins or ends passing packets on between a leg and the one that it is bridged to, as things stand now.
    pub(super) fn settle(&mut self, key: u64) {
        let Some(place) = self.by_key.get(&key).copied() else {
            return;
        };
        let partner = self.leg(place).and_then(|it| it.partner);
        let partner = partner.and_then(|it| self.by_key.get(&it).copied());
        let before = self.leg(place).and_then(|it| it.relays_to);
        let pair = partner.and_then(|other| self.open.get_disjoint_mut([place, other]).ok());
        let is_possible = match pair {
            Some([Some(leg), Some(other)]) => leg.partner == Some(other.key) && leg.can_relay_with(other),
            _ => false,
        };
        let after = partner.filter(|_| is_possible);
        if before == after {
            return self.open_ears(place, partner.filter(|_| is_possible));
        }
        for (place, other) in [(Some(place), partner), (partner, Some(place))] {
            if let Some(leg) = place.and_then(|it| self.leg(it)) {
                leg.relay_to(other.filter(|_| is_possible));
            }
        }
        self.open_ears(place, partner.filter(|_| is_possible));
    }

    /// Has what two legs pass on to each other heard, if somebody wants to hear it.
    fn open_ears(&mut self, place: usize, other: Option<usize>) {
        let wants = |it: &mut Leg| it.tap.is_some() || it.watcher.is_some();
        let is_wanted = [Some(place), other].into_iter().flatten().any(|it| self.leg(it).is_some_and(wants));
        for place in [Some(place), other].into_iter().flatten() {
            if let Some(leg) = self.leg(place) {
                let is_open = is_wanted && other.is_some();
                leg.session.overhear(is_open);
                if is_open != leg.ear.is_some() {
                    leg.ear = is_open.then(Box::default);
                }
            }
        }
    }

    /// What was last said on a leg whose packets are passed on.
    pub(super) fn overheard(&self, place: usize) -> Option<Frame> {
        self.open.get(place)?.as_ref()?.ear.as_ref()?.said
    }

    /// Has the partner of a leg that is about to be closed speak for itself again.
    pub(super) fn part(&mut self, leg: &Leg) {
        if let Some(other) = leg.relays_to.and_then(|it| self.leg(it)) {
            other.relay_to(None);
            other.session.overhear(false);
            other.ear = None;
        }
    }

    /// Takes a batch of the leg at `place` and sends it on from the one at `other`.
    pub(super) fn relay(
        &mut self,
        (place, other): (usize, usize),
        batch: &mut ReceiveBatch,
        send: &mut SendBatch,
        now: Now,
    ) {
        let Ok([Some(from), Some(to)]) = self.open.get_disjoint_mut([place, other]) else {
            return;
        };
        let metrics = &self.metrics;
        let served = catch_unwind(AssertUnwindSafe(|| {
            let mut queued = 0;
            for (sender, datagram) in batch.iter_mut() {
                queued += usize::from(from.pass_on(to, sender, datagram, send, metrics, now));
            }
            let sent = if queued > 0 { send.send(to.sockets.rtp.as_fd()) } else { 0 };
            let failed = u64::try_from(queued.saturating_sub(sent)).unwrap_or(0);
            metrics.send_failures.fetch_add(failed, Ordering::Relaxed);
        }));
        if served.is_err() {
            send.clear();
            self.fail(place);
            self.fail(other);
        }
    }

    fn leg(&mut self, place: usize) -> Option<&mut Leg> {
        self.open.get_mut(place)?.as_deref_mut()
    }
}

impl Leg {
    /// Queues a datagram of this leg's peer for that of `to`; returns whether it did.
    fn pass_on(
        &mut self,
        to: &mut Self,
        sender: SocketAddr,
        datagram: &mut [u8],
        send: &mut SendBatch,
        metrics: &WorkerMetrics,
        now: Now,
    ) -> bool {
        let Some(datagram) = self.unprotect(sender, datagram, false, now) else {
            return false;
        };
        let Some(packet) = self.session.handle_relayed(sender, datagram, now) else {
            return false;
        };
        send.push(|buffer| {
            let transmit = to.session.forward(&packet, buffer)?;
            let len = to.transport.protect(buffer, transmit.len).ok();
            metrics.send_failures.fetch_add(u64::from(len.is_none()), Ordering::Relaxed);
            Some((transmit.to, len?))
        })
    }

    fn can_relay_with(&self, other: &Self) -> bool {
        self.is_unheard() && other.is_unheard() && self.session.can_relay_with(&other.session)
    }

    /// Nobody but its partner speaks on this leg.
    fn is_unheard(&self) -> bool {
        let is_spoken_into = self.voice.as_ref().is_some_and(|it| it.to_peer);
        !is_spoken_into && self.link.is_deserted() && !matches!(self.transport, LegTransport::WebRtc(_))
    }

    fn relay_to(&mut self, other: Option<usize>) {
        match (self.relays_to.is_some(), other.is_some()) {
            (false, true) => self.session.begin_relay(),
            (true, false) => self.session.end_relay(),
            (false, false) | (true, true) => (),
        }
        self.relays_to = other;
    }

    /// 20 ms of a leg whose packets are passed on: only its reports and its silence are looked after, and what is said if
    /// somebody wants to hear it. The other side has said `other`.
    pub(super) fn relay_tick(
        &mut self,
        other: Option<&Frame>,
        send: &mut SendBatch,
        metrics: &WorkerMetrics,
        events: &mpsc::Sender<MediaEvent>,
        now: Now,
    ) -> Option<Frame> {
        let inactive_for = self.session.handle_relay_tick(now);
        self.transmit(send, metrics);
        self.tell_inactivity(inactive_for, events);
        self.publish_if_due(self.session.ticks(), metrics, now);
        let ear = self.ear.as_mut()?;
        ear.said = audio(&self.session.overheard(now));
        if let Some(tap) = &mut self.tap {
            tap.tick(self.session.ticks(), ear.said.as_ref(), other);
        }
        ear.said
    }
}

/// Of a leg whose packets are passed on: what its peer said in the last 20 ms.
#[derive(Debug, Default)]
pub(super) struct Ear {
    said: Option<Frame>,
}
