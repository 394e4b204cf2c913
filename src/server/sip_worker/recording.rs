//! The recording of calls, as far as signalling has to do with it: which leg is recorded, who talks on a call, and that people
//! are told or asked before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Signal, SipWorker};
use crate::codec::SampleRate;
use crate::identity::{CallId, LegId};
use crate::limits::CALL_SIGNALS_MAX;
use crate::server::consent::RecordingPlan;
use crate::server::media_worker::Telling;
use crate::server::new_call::{NewCall, Party};
use crate::server::recorder::TapEnd;

/// Two people talk.
#[derive(Clone, Debug)]
pub(crate) struct Bridged {
    /// Their legs, that of the caller first.
    pub(crate) sides: [u8; 2],
    /// How they are recorded.
    pub(crate) plan: Arc<RecordingPlan>,
    /// Of these legs the one on which somebody else talks now than before.
    pub(crate) newcomer: Option<u8>,
}

/// Who talks on calls without an agent.
#[derive(Debug, Default)]
pub(super) struct Talking {
    sides: BTreeMap<CallId, [u8; 2]>,
}

impl Talking {
    /// The call is over.
    pub(super) fn remove(&mut self, call: CallId) {
        self.sides.remove(&call);
    }
}

impl SipWorker {
    /// Has the recording of a call begin, or ask first, if it is answered and others talk in it than before.
    pub(super) fn tell_bridged(&mut self, call: CallId, newcomer: Option<u8>) {
        let Some(bridged) = self.bridged(call, newcomer) else {
            return;
        };
        let before = self.talking.sides.insert(call, bridged.sides);
        if before == Some(bridged.sides) && newcomer.is_none() {
            return;
        }
        if self.actors.contains_key(&call) {
            self.signal(call, Signal::Bridged(bridged));
        } else if bridged.plan.enabled && !self.attend(call) {
            tracing::warn!(%call, "the call is not recorded: too many calls wait for that");
        }
    }

    fn bridged(&self, call: CallId, newcomer: Option<u8>) -> Option<Bridged> {
        let (first, second) = self.calls.sides(call)?;
        let second = second?;
        let users = [first, second].into_iter().filter_map(|it| self.calls.user_of(it));
        let plan = self.shell.plans.of(self.calls.number_of(call), users);
        Some(Bridged { sides: [first.index, second.index], plan, newcomer })
    }

    /// Starts an actor for a call between two people.
    pub(super) fn attend(&mut self, call: CallId) -> bool {
        let Some(bridged) = self.bridged(call, None) else {
            return false;
        };
        let (signals, queue) = mpsc::channel(CALL_SIGNALS_MAX);
        let first = LegId { call, index: bridged.sides[0] };
        let rate = self.calls.rate_of(first).unwrap_or(SampleRate::Hz8000);
        let new = NewCall { call, party: Party::default(), link: None, rate, signals: queue };
        let is_started = self.shell.new_calls.try_send(new).is_ok();
        if is_started {
            // There is room in a queue that is new.
            signals.try_send(Signal::Bridged(bridged)).unwrap_or(());
            self.actors.insert(call, signals);
        }
        is_started
    }

    /// A tap that no leg takes is dropped, which finishes its recording.
    pub(super) fn record_leg(&mut self, call: CallId, tap: Option<TapEnd>) {
        let (first, last) = (LegId { call, index: 0 }, LegId { call, index: u8::MAX });
        let side = self.calls.sides(call).map(|it| it.0).filter(|it| self.legs.contains_key(it));
        let leg = side.or_else(|| self.legs.range(first..=last).next().map(|it| *it.0));
        if let Some(Err(_)) = leg.and_then(|it| self.legs.get(&it)).map(|it| it.record(tap)) {
            self.media_refusals += 1;
        }
    }

    /// Whoever attends to a call has one side told something, or ends that.
    pub(super) fn tell_leg(&mut self, leg: LegId, telling: Option<Box<Telling>>) {
        if let Some(Err(_)) = self.legs.get(&leg).map(|it| it.tell(telling)) {
            self.media_refusals += 1;
            tracing::warn!(%leg, "a side of the call is not told of its recording: its media thread is too busy");
        }
    }
}
