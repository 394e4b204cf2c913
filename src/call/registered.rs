//! Trunks that register with us, as PBXs do whose address changes or is behind a translator: they are called where they have
//! registered, over the flow that this came on. So are users whom nobody calls but ourselves.
//!
//! The Request-URI is the Contact that was registered, with the called number for its user (as in RFC 6140 §5.2), so that
//! whoever registered with one Contact is reached by many numbers; its other parts and parameters stay as they were. If it is
//! not registered, its servers are called, if it has any.

use super::dial::Way;
use super::outgoing::Outgoing;
use super::servers::{CallerId, Order};
use super::{Calls, Outbound};
use crate::identity::{CallId, LegId};
use crate::route::{Caller, TrunkName};
use crate::sip::Uri;
use crate::timer::Now;

impl Calls {
    /// The way to `number` where `trunk` has registered: where it wants to be called most, else the latest.
    pub(super) fn registered_way(&self, trunk: &TrunkName, number: &str, now: Now) -> Option<Way> {
        let (account, user) = self.trunks.registering_as(trunk)?;
        let binding = self.registrar()?.targets(account, user, now).into_iter().next()?;
        let to = self.trunks.user_at(trunk, Some(number), &self.own_uri(binding.flow)?)?;
        Some(Way {
            flow: binding.flow,
            other_flows: binding.other_flows,
            trunk: Some(trunk.clone()),
            is_registered: true,
            target: binding.uri.with_user(number).ok()?,
            path: binding.path,
            to,
            caller: Caller::Known,
        })
    }

    /// Places a call to a user of ours: where they want to be called most, else where they registered last. Of somebody who is
    /// not registered it is over at once, as temporarily unavailable (RFC 3261 §21.4.18).
    pub(super) fn place_to_user(&mut self, call: CallId, order: Order, now: Now) {
        let name = order.user.as_deref().filter(|_| !self.is_draining);
        let ways = name.and_then(|it| self.ways_to_user(&order.account, it, now).ok());
        match ways.and_then(|it| it.into_iter().next()) {
            Some(way) => self.place_registered(call, order, way, now),
            None => self.refuse_order(call, &order),
        }
    }

    /// Places a call to where its trunk, or user, has registered.
    pub(super) fn place_registered(&mut self, call: CallId, order: Order, way: Way, now: Now) {
        let Some(from) = self.caller_there(&order, &way) else {
            self.refuse_order(call, &order);
            return;
        };
        let trunk = way.trunk;
        if let Some(trunk) = &trunk {
            self.trunks.count_out(trunk);
        }
        let outbound = Outbound {
            account: order.account,
            to: way.to,
            from,
            display_name: order.display_name,
            flow: way.flow,
            other_flows: way.other_flows,
            keeps_transport: true,
            headers: order.headers,
            credentials: trunk.as_ref().and_then(|it| self.trunks.credentials_of(it)),
        };
        let outgoing = Outgoing { target: way.target, path: way.path, trunk, ..Outgoing::of(outbound) };
        self.place_as(call, outgoing, order.agent, now);
        if let Some(leg) = self.legs.get_mut(&LegId { call, index: 0 }) {
            leg.party.caller = way.caller;
        }
    }

    fn caller_there(&self, order: &Order, way: &Way) -> Option<Uri> {
        let here = self.own_uri(way.flow)?;
        let Some(trunk) = &way.trunk else {
            return match &order.from {
                CallerId::Uri(uri) => Some(uri.clone()),
                CallerId::User(user) => here.with_user(user).ok(),
                CallerId::OfTrunk => Some(here),
            };
        };
        match &order.from {
            CallerId::Uri(uri) => Some(uri.clone()),
            CallerId::User(user) => self.trunks.user_at(trunk, Some(user), &here),
            CallerId::OfTrunk => self.trunks.user_at(trunk, self.trunks.own_user(trunk), &here),
        }
    }
}
