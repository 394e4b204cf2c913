//! Calls of our own that are pointed elsewhere (RFC 3261 §8.1.3.4): the leg keeps its media session, and gets another dialog.
//! Whom it may be pointed to is said in [`super::redirect`].

use std::collections::VecDeque;

use super::history::History;
use super::leg::State;
use super::outgoing::Outgoing;
use super::party::user_of;
use super::redirect::{Redirected, is_same, shown};
use super::servers::Seeker;
use super::{Calls, End, EndCause, Event, Initiator};
use crate::identity::{LegId, Pii};
use crate::limits::REDIRECTS_MAX;
use crate::locate::{self, Hop};
use crate::route::Destination;
use crate::sip::{HeaderName, StatusCode, Uri};
use crate::timer::Now;

/// How a call of ours was placed, and where else it may go.
#[derive(Debug)]
pub(super) struct Placed {
    outgoing: Outgoing,
    history: History,
    by: Option<Redirected>,
    tried: Vec<Destination>,
    /// With how many branches go out before it from where it was pointed to.
    left: VecDeque<(u32, Destination)>,
}

impl Placed {
    pub(super) fn new(outgoing: &Outgoing) -> Self {
        let tried = vec![Destination::Uri(outgoing.target.clone())];
        let outgoing = outgoing.clone();
        Self { outgoing, history: History::default(), by: None, tried, left: VecDeque::new() }
    }
}

impl Calls {
    /// Takes note that a call of ours is pointed to `targets`, the preferred ones first.
    pub(super) fn note_elsewhere(&mut self, id: LegId, by: Redirected, targets: Vec<Destination>, status: u16) {
        let Some(placed) = self.legs.get_mut(&id).and_then(|it| it.placed.as_mut()) else {
            return;
        };
        placed.history.gave_away(user_of(&placed.outgoing.target), status);
        placed.by = Some(by);
        let mut noted = vec![];
        for (branches, to) in (0_u32..).zip(targets) {
            if placed.tried.len() <= REDIRECTS_MAX && !placed.tried.iter().any(|it| is_same(it, &to)) {
                placed.tried.push(to.clone());
                noted.push(Pii::new(shown(&to)));
                placed.left.push_back((branches, to));
            }
        }
        for to in noted {
            self.journal(id.call, Event::Redirected { leg: id.index, to });
        }
    }

    /// Whether a call of ours that was refused goes elsewhere instead of being over.
    pub(super) fn goes_elsewhere(&mut self, id: LegId, end: End, now: Now) -> bool {
        let is_refused = end.cause == EndCause::Rejected && end.sip_status.is_none_or(|it| it < 600);
        let leg = self.legs.get_mut(&id).filter(|it| is_refused && matches!(it.state, State::Calling { .. }));
        let Some(placed) = leg.and_then(|it| it.placed.as_mut()) else {
            return false;
        };
        while let Some((branches, to)) = placed.left.pop_front() {
            placed.history.note_branches(branches);
            let targets = match &to {
                Destination::Trunk(trunk, _) => self.trunks.targets_of(trunk),
                Destination::Uri(uri) => locate::Target::of(uri).into_iter().collect(),
                Destination::Agent(_) | Destination::Room(_) | Destination::User(_) => vec![],
            };
            if !targets.is_empty() {
                self.detach(id);
                self.servers.seek(Seeker::Elsewhere(id, to), targets, now);
                return true;
            }
        }
        false
    }

    /// The servers are found of where a call of ours goes instead; none, if there are none.
    pub(super) fn handle_elsewhere_located(&mut self, id: LegId, to: &Destination, hops: &[Hop], now: Now) {
        // It may have been given up.
        let is_wanted = |it: &&super::leg::Leg| it.dialog.is_none() && matches!(it.state, State::Calling { .. });
        let Some(local) = self.legs.get(&id).filter(is_wanted).and_then(|it| it.local) else {
            return;
        };
        if let Some(outgoing) = self.outgoing_elsewhere(id, to, hops) {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.party.flow = outgoing.outbound.flow;
                leg.over.clone_from(&outgoing.trunk);
                leg.party.user = user_of(&outgoing.target);
                if let Some(placed) = &mut leg.placed {
                    placed.outgoing = outgoing.clone();
                }
            }
            self.send_invite(id, outgoing, local, now);
            return;
        }
        let sip_status = Some(StatusCode::TEMPORARILY_UNAVAILABLE.code());
        let end = End { cause: EndCause::Rejected, sip_status, initiator: Initiator::Remote, reason: None };
        if !self.goes_elsewhere(id, end, now) {
            self.finish_leg(id, end, now);
        }
    }

    fn outgoing_elsewhere(&mut self, id: LegId, to: &Destination, hops: &[Hop]) -> Option<Outgoing> {
        let placed = self.legs.get(&id)?.placed.as_ref()?;
        let (mut outgoing, history) = (placed.outgoing.clone(), placed.history.clone());
        self.check_pointed_to(placed.by.as_ref()?, hops).ok()?;
        let is_own =
            |it: &Hop| self.config.listeners.iter().any(|(own, _)| own.kind == it.kind && own.local == it.remote);
        let trunk = match to {
            Destination::Trunk(trunk, _) => Some(trunk),
            Destination::Agent(_) | Destination::Room(_) | Destination::User(_) | Destination::Uri(_) => None,
        };
        if hops.iter().any(is_own) {
            return None;
        }
        let flows = self.flows_to(hops, trunk);
        let (flow, other_flows) = flows.split_first()?;
        let outbound = &mut outgoing.outbound;
        (outbound.flow, outbound.other_flows) = (*flow, other_flows.to_vec());
        outbound.headers.retain(|(name, _)| !matches!(name, HeaderName::Route | HeaderName::HistoryInfo));
        outbound.to = match to {
            Destination::Uri(uri) => uri.clone(),
            Destination::Trunk(trunk, number) => {
                self.trunks.called(trunk, &Uri::sip(Some(number), "trunk.invalid", None).ok()?)?
            }
            Destination::Agent(_) | Destination::Room(_) | Destination::User(_) => return None,
        };
        outbound.credentials = trunk.and_then(|it| self.trunks.credentials_of(it));
        outbound.keeps_transport = trunk.is_some_and(|it| self.trunks.pins_transport(it));
        if let Some(trunk) = trunk {
            outbound.headers.extend(self.trunks.route_of(trunk));
        }
        outgoing.trunk = trunk.cloned();
        outgoing.target = outgoing.outbound.to.clone();
        let contact = self.own_uri(*flow)?;
        outgoing.outbound.headers.extend(history.headers(&outgoing.target, 0, &contact));
        Some(outgoing)
    }
}
