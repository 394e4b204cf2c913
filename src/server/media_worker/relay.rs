//! Packets of two bridged legs that agreed on the same coding: each is sent on when it arrives, with a header of the
//! other leg and nothing else done to it.
//!
//! Such a leg does not tick: once a second its reports are looked after. That is so only while nobody has to say anything
//! in between: no agent, no digit of our own to be sent, no supervisor who is heard, no side on hold. Whatever changes that
//! goes through [`Legs::settle`]. A recording, or a supervisor who only listens, has what is passed on decoded beside the
//! path, in ticks of its own ([`Ear`]); packets leave as they would without.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::shared::send_all;
use super::supervise::audio;
use super::{Leg, Legs, MediaEvent, WorkerMetrics};
use crate::codec::Frame;
use crate::media::LegTransport;
use crate::server::batched_udp::SendBatch;
use crate::timer::Now;

impl Legs {
    /// Begins or ends passing packets on between a leg and the one that it is bridged to, as things stand now.
    pub(super) fn settle(&mut self, key: u64, now: Now) {
        let Some(place) = self.by_key.get(&key).copied() else {
            return;
        };
        let partner = self.leg(place).and_then(|it| it.partner);
        let partner = partner.and_then(|it| self.by_key.get(&it).copied());
        let before = self.leg(place).and_then(|it| it.relays_to);
        let pair = partner.and_then(|other| self.open.get_disjoint_mut([place, other]).ok());
        let is_possible = match pair {
            Some([Some(leg), Some(other)]) => leg.partner == Some(other.key) && leg.can_relay_with(other, now),
            _ => false,
        };
        let after = partner.filter(|_| is_possible);
        if before == after {
            return self.open_ears(place, after, now);
        }
        for (place, other) in [(Some(place), partner), (partner, Some(place))] {
            if let Some(place) = place {
                self.relay_to(place, other.filter(|_| is_possible), now);
            }
        }
        self.open_ears(place, after, now);
    }

    /// Has what two legs pass on to each other heard, if somebody wants to hear it.
    fn open_ears(&mut self, place: usize, other: Option<usize>, now: Now) {
        let Some(other) = other else {
            return;
        };
        let wants = |it: &mut Leg| it.tap.is_some() || it.watcher.is_some();
        let is_wanted = [place, other].into_iter().any(|it| self.leg(it).is_some_and(wants));
        for place in [place, other] {
            let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
                continue;
            };
            if is_wanted == leg.ear.is_some() {
                continue;
            }
            leg.session.overhear(is_wanted);
            leg.ear = is_wanted.then(|| Box::new(Ear { said: None, number: leg.session.ticks(now) }));
            if is_wanted {
                self.slots.insert(place, now.instant);
            } else {
                self.slots.remove(place);
            }
        }
    }

    /// What was last said on a leg whose packets are passed on.
    pub(super) fn overheard(&self, place: usize) -> Option<Frame> {
        self.open.get(place)?.as_ref()?.ear.as_ref()?.said
    }

    /// Has the partner of a leg that has been taken out speak for itself again.
    pub(super) fn part(&mut self, leg: &Leg, now: Now) {
        let Some(other) = leg.relays_to else {
            return;
        };
        self.relaying -= 1;
        self.relay_to(other, None, now);
    }

    /// A leg whose packets are passed on does not tick.
    fn relay_to(&mut self, place: usize, other: Option<usize>, now: Now) {
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        match (leg.relays_to.is_some(), other.is_some()) {
            (false, true) => {
                self.slots.remove(place);
                self.relaying += 1;
                // Nobody listens to it, and nobody will.
                leg.link = None;
                leg.session.begin_relay(now);
            }
            (true, false) => {
                self.relaying -= 1;
                if leg.ear.take().is_some() {
                    self.slots.remove(place);
                }
                leg.session.end_relay(now);
                leg.session.align(self.slots.insert(place, now.instant));
                // Not in the slot that is being served, should it have got into that.
                leg.ticked_in = self.slots.served();
            }
            (false, false) | (true, true) => (),
        }
        leg.relays_to = other;
    }

    /// Looks after legs whose packets are passed on, if it is time for some of them.
    pub(super) fn run_due_rounds(&mut self, send: &mut SendBatch, now: Now) {
        let due = self.rounds.take_due(now.instant, self.open.len()).filter(|_| self.relaying > 0);
        for place in due.into_iter().flatten() {
            let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
                continue;
            };
            if leg.relays_to.is_none() {
                continue;
            }
            if leg.abandoned.load(Ordering::Relaxed) {
                self.close(place, send, now);
                continue;
            }
            let (metrics, events) = (&self.metrics, &self.events);
            if catch_unwind(AssertUnwindSafe(|| leg.relay_round(send, metrics, events, now))).is_err() {
                send.clear();
                self.fail(place, now);
            }
        }
    }

    /// Takes datagrams of the leg at `place` and sends them on from the one at `other`: at once, or with those of other
    /// legs if it shares its port with them.
    pub(super) fn relay<'a>(
        &mut self,
        (place, other): (usize, usize),
        datagrams: impl Iterator<Item = (SocketAddr, &'a mut [u8])>,
        send: &mut SendBatch,
        now: Now,
    ) {
        let Ok([Some(from), Some(to)]) = self.open.get_disjoint_mut([place, other]) else {
            return;
        };
        let metrics = &self.metrics;
        let mut shared = to.shared.and_then(|it| self.shared.get_mut(it)).map(|it| &mut it.send);
        let served = catch_unwind(AssertUnwindSafe(|| {
            for (sender, datagram) in datagrams {
                let batch = shared.as_deref_mut().unwrap_or(&mut *send);
                from.pass_on(to, sender, datagram, batch, metrics, now);
                if batch.is_full() {
                    send_all(batch, to.sockets.rtp(), metrics);
                }
            }
            send_all(send, to.sockets.rtp(), metrics);
        }));
        let is_too_long = !from.session.fits(&to.session);
        let key = from.key;
        if served.is_err() {
            send.clear();
            self.fail(place, now);
            self.fail(other, now);
        } else if is_too_long {
            self.settle(key, now);
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
        if !self.session.fits(&to.session) {
            self.session.keep(&packet, now);
            return false;
        }
        send.push(|buffer| {
            let transmit = to.session.forward(&packet, buffer, now)?;
            let Ok(len) = to.transport.protect(buffer, transmit.len) else {
                metrics.send_failures.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            Some((transmit.to, len))
        })
    }

    fn can_relay_with(&self, other: &Self, now: Now) -> bool {
        self.is_unheard() && other.is_unheard() && self.session.can_relay_with(&other.session, now)
    }

    /// Nobody but its partner speaks on this leg.
    fn is_unheard(&self) -> bool {
        self.voice.as_ref().is_none_or(|it| !it.to_peer)
            && self.sound.is_none()
            && self.link.as_ref().is_none_or(|it| it.is_deserted())
            && !matches!(self.transport, LegTransport::WebRtc(_))
            // Keys of the other side have to be heard.
            && !self.tells_keys
    }

    /// 20 ms of a leg whose packets are passed on, for whoever wants to hear it. The other side has said `other`.
    pub(super) fn overhear_tick(&mut self, other: Option<&Frame>, now: Now) -> Option<Frame> {
        let ear = self.ear.as_mut()?;
        ear.number += 1;
        ear.said = audio(&self.session.overheard(now));
        if let Some(tap) = &mut self.tap {
            tap.tick(ear.number, ear.said.as_ref(), other);
        }
        ear.said.filter(|_| self.watcher.is_some())
    }

    /// Lets `ticks` pass unheard after a stall: what is recorded keeps its time.
    pub(super) fn skip_overheard(&mut self, ticks: u32) {
        if let Some(ear) = &mut self.ear {
            ear.number += u64::from(ticks);
        }
    }

    /// A second of a leg whose packets are passed on: only its reports and its silence are looked after.
    fn relay_round(
        &mut self,
        send: &mut SendBatch,
        metrics: &WorkerMetrics,
        events: &mpsc::Sender<MediaEvent>,
        now: Now,
    ) {
        let inactive_for = self.session.handle_relay_round(now);
        self.send_out(send, metrics, now);
        self.tell_inactivity(inactive_for, events);
        self.publish(metrics, now);
    }
}

/// Of a leg whose packets are passed on: what its peer said in the last 20 ms.
#[derive(Debug)]
pub(super) struct Ear {
    said: Option<Frame>,
    /// Counts its ticks on from those of the leg.
    number: u64,
}
