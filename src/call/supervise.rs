//! What somebody who is no party to a call does with it: a supervisor is called who hears it, one side is connected with
//! somebody else.

use super::carried::Carried;
use super::dial::{Errand, Why};
use super::{Calls, EndCause, HandOver};
use crate::codec::SampleRate;
use crate::identity::{CallId, LegId};
use crate::route::{Caller, Target};
use crate::timer::Now;
use crate::transport::refusal::Refusal;

impl Calls {
    /// Calls `target`, who is to hear an answered call without being a party to it. [`super::Output::Supervising`] tells
    /// that it answers, [`super::Output::SupervisorGone`] that it does not, or has hung up. The supervisor's leg ends with
    /// the call.
    ///
    /// # Errors
    ///
    /// Why nobody is called: there is no such call, it has a supervisor, or `target` cannot be reached.
    pub fn supervise(&mut self, call: CallId, target: Target, now: Now) -> Result<(), Refusal> {
        let leg = self.main_leg(call).and_then(|it| self.legs.get(&it)).filter(|it| it.is_answered());
        let (waiting, from) = leg.map(|it| (it.id.index, (*it.party).clone())).ok_or(Refusal::DoesNotExist)?;
        if self.supervisor_of(call).is_some() {
            return Err(Refusal::RequestPending);
        }
        let errand = Errand { waiting, why: Why::Aside, target, from, carried: Carried::nothing(), redirected: None };
        let called = self.dial(call, errand, now);
        self.drain_dialogs(now);
        called
    }

    /// Hangs up a call's supervisor, or stops calling one. Whether there was one.
    pub fn dismiss_supervisor(&mut self, call: CallId, now: Now) -> bool {
        let leg = self.supervisor_of(call);
        let is_sought = self.calls.get_mut(&call).is_some_and(|it| it.aside.take().is_some());
        self.drop_dialled(call, true, EndCause::Cancelled, now);
        if let Some(leg) = leg.filter(|it| self.legs.get(it).is_some_and(|it| it.is_answered())) {
            self.end_leg(leg, &Refusal::Declined, Some(EndCause::HungUp), now);
        } else if is_sought {
            self.tell(super::Output::SupervisorGone { call });
        }
        self.drain_dialogs(now);
        leg.is_some() || is_sought
    }

    /// Has `target` called for the first side of an answered call, in the place of whom that talks to: our agent, or
    /// another side, which is hung up when `target` has answered. Of an agent's call [`super::Output::Transferred`] tells.
    ///
    /// # Errors
    ///
    /// Why nobody is called.
    pub fn redirect(&mut self, call: CallId, target: Target, now: Now) -> Result<(), Refusal> {
        let leg = self.main_leg(call).and_then(|it| self.legs.get(&it)).filter(|it| it.is_answered());
        let leg = leg.ok_or(Refusal::DoesNotExist)?;
        let (waiting, partner, from) = (leg.id.index, leg.partner, (*leg.party).clone());
        let why = partner.map_or(Why::HandedOver { how: HandOver::Bridged }, |by| Why::Redirected { by });
        let has_agent = self.calls.get(&call).is_some_and(|it| it.has_agent);
        if partner.is_none() && !has_agent {
            return Err(Refusal::DoesNotExist);
        }
        let errand = Errand { waiting, why, target, from, carried: Carried::nothing(), redirected: None };
        let called = self.dial(call, errand, now);
        self.drain_dialogs(now);
        called
    }

    /// The leg of a call that commands are about, and the one that it talks to.
    pub fn sides(&self, call: CallId) -> Option<(LegId, Option<LegId>)> {
        let first = self.main_leg(call)?;
        let leg = self.legs.get(&first).filter(|it| it.is_answered())?;
        Some((first, leg.partner.map(|index| LegId { call, index })))
    }

    /// The number of the configuration that was called, without its `+`, if the call came in to one.
    pub fn number_of(&self, call: CallId) -> Option<&str> {
        self.calls.get(&call)?.number.as_deref()
    }

    /// The user at the far end of a leg, if it is one.
    pub fn user_of(&self, leg: LegId) -> Option<&str> {
        match &self.legs.get(&leg)?.party.caller {
            Caller::User(_, name) => Some(name),
            Caller::Stranger | Caller::Known | Caller::Trunk(_) => None,
        }
    }

    /// The rate of what a leg hears; `None` if that is not agreed on yet.
    pub fn rate_of(&self, leg: LegId) -> Option<SampleRate> {
        Some(self.legs.get(&leg)?.remote.as_ref()?.codec.rate())
    }

    fn supervisor_of(&self, call: CallId) -> Option<LegId> {
        let mut legs = self.calls.get(&call)?.legs().map(|index| LegId { call, index });
        legs.find(|it| self.legs.get(it).is_some_and(|it| it.is_aside && !it.is_dropped))
    }
}
