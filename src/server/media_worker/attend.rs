//! Somebody attends to a leg whose peer is to be told something before it is recorded: the words are played in the place of
//! whatever else is said to it, and the keys that it presses meanwhile may be for whoever attends, not for its partner.
//!
//! While it is attended to, a leg ticks, so that what two legs pass on to each other is decoded for that time. Words wait for
//! a peer that cannot hear them: one that holds the call, or a browser that is not there yet.

use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::room::Cue;
use super::{Leg, Legs, MediaBusy, MediaEvent, MediaLeg, Order, WorkerMetrics};
use crate::codec::{Clip, Frame, SampleRate};
use crate::media::{LegTransport, Played, Tick};
use crate::server::media_link::{LegCommand, WorkerEnd};
use crate::timer::Now;

/// What a leg's peer is told, and by whom.
#[derive(Debug)]
pub struct Telling {
    /// The words.
    pub clip: Clip,
    /// Of whoever attends to the leg from here on, who is told by [`TOLD`] how far the words have come, and ends it all by
    /// dropping the other end; `None` if that has the leg's link already.
    pub link: Option<WorkerEnd>,
    /// Whether keys are for whoever attends.
    pub takes_keys: bool,
}

/// What a leg's peer is being told.
#[derive(Debug)]
pub(super) struct Told {
    /// `None` once all is said, or it was cut off.
    cue: Option<Cue>,
    /// Samples of it that were sent.
    position: u32,
    takes_keys: bool,
}

impl MediaLeg {
    /// Has the peer told something, or ends that.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn tell(&self, telling: Option<Box<Telling>>) -> Result<(), MediaBusy> {
        self.handle.order(Order::Tell { key: self.key, telling })
    }
}

impl Legs {
    pub(super) fn tell(&mut self, key: u64, telling: Option<Box<Telling>>, now: Now) {
        let Some(leg) = self.by_key(key) else {
            return;
        };
        match telling.map(|it| *it) {
            Some(Telling { clip, link, takes_keys }) => {
                let cue = Some(Cue::new(clip, leg.session.rate()));
                leg.told = Some(Box::new(Told { cue, position: 0, takes_keys }));
                if let Some(link) = link {
                    leg.link = Some(Box::new(link));
                }
            }
            None => {
                leg.told = None;
                // Without a partner it is that of an agent.
                if leg.partner.is_some() {
                    leg.link = None;
                }
            }
        }
        self.settle(key, now);
    }
}

impl Leg {
    /// Does what the task at the other end of the link wants.
    pub(super) fn take_commands(&mut self, metrics: &WorkerMetrics, events: &mpsc::Sender<MediaEvent>) {
        if self.link.as_ref().is_some_and(|it| it.is_deserted()) {
            (self.link, self.told) = (None, None);
        }
        while let Some(command) = self.link.as_mut().and_then(|it| it.command()) {
            let is_refused = match command {
                // Whoever talked to this peer before does so no more, and may not know it yet.
                LegCommand::Play(_) if self.partner.is_some() => false,
                LegCommand::Clear if self.partner.is_some() => {
                    self.told.iter_mut().for_each(|it| it.cue = None);
                    false
                }
                LegCommand::Play(frame) => self.session.play(frame).is_err(),
                LegCommand::Clear => {
                    self.session.clear();
                    false
                }
                LegCommand::Dtmf(digit, ms) => self.press(digit, ms, events).is_none(),
            };
            metrics.commands_refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
        }
    }

    /// Has the peer hear the next 20 ms of what it is told, and nothing else.
    pub(super) fn tell(&mut self) {
        let is_there = match &self.transport {
            LegTransport::WebRtc(peer) => peer.is_reached(),
            LegTransport::Plain | LegTransport::Srtp { .. } => true,
        };
        let (hears, rate) = (self.session.directions().0 && is_there, self.session.rate());
        let frame = self.told.as_mut().filter(|_| hears).and_then(|it| it.next(rate));
        self.session.pause(frame.is_some());
        if let Some(frame) = frame {
            self.session.mix_in(frame);
        }
    }

    /// Whether its partner is not heard for now.
    pub(super) fn is_being_told(&self) -> bool {
        self.told.as_ref().is_some_and(|it| it.cue.is_some())
    }

    /// Whether keys are for whoever attends.
    pub(super) fn takes_keys(&self) -> bool {
        self.told.as_ref().is_some_and(|it| it.takes_keys)
    }

    /// Says how far the words have come.
    pub(super) fn note_told(&self, tick: &mut Tick) {
        if let Some(told) = &self.told {
            tick.played = Some(Played { utterance: TOLD, position: told.position });
        }
    }
}

impl Told {
    fn next(&mut self, rate: SampleRate) -> Option<Frame> {
        let cue = self.cue.as_mut()?;
        let frame = cue.next(rate);
        self.position = cue.position();
        if frame.is_none() {
            self.cue = None;
        }
        frame
    }
}

/// Names what a peer is told among what it is played.
pub const TOLD: u32 = u32::MAX - 1;
