//! An INVITE that comes in: who may call, and who answers.

use std::time::Duration;

use super::carried::Carried;
use super::config::RingTone;
use super::details::details;
use super::dial::{Errand, Why};
use super::history::History;
use super::leg::{Leg, Ringing, State};
use super::party::Party;
use super::{Call, Calls, Direction, End, EndCause, Event, Initiator, Output};
use crate::dialog::Offered;
use crate::identity::{AccountId, CallId, LegId, Pii};
use crate::limits::{MEDIA_OPEN_MS_MAX, RING_AGAIN_MS};
use crate::route::{self, Caller, Destination, Target};
use crate::sip::Request;
use crate::timer::Now;
use crate::transport::refusal::Refusal;
use crate::transport::{Dropped, Flow};

impl Calls {
    /// A call comes in.
    pub(super) fn handle_offered(&mut self, mut offered: Offered, now: Now) {
        if let Some(replaced) = offered.replaces {
            self.handle_replacement(&offered, replaced, now);
            return;
        }
        let Offered { dialog, flow, request, .. } = &offered;
        let is_full = if self.is_draining {
            Some(Dropped::Draining)
        } else if self.calls.len() >= self.config.limits.calls_max {
            Some(Dropped::TooManyCalls)
        } else {
            None
        };
        if let Some(reason) = is_full {
            self.dialogs.drop_counted(reason);
            let retry_after_s = self.config.retry_after_s;
            self.dialogs.reject(*dialog, &Refusal::Unavailable { retry_after_s }, now);
            return;
        }
        let (caller, routed) = match self.route(*flow, request, now) {
            Ok(it) => it,
            Err(refusal) => {
                self.dialogs.reject(*dialog, &refusal, now);
                return;
            }
        };
        let peer = caller.trunk().and_then(|it| self.trunks.index_of(it));
        let media = match self.dialogs.assign(*dialog, peer, offered.media.take()) {
            Ok(media) => media,
            Err(refusal) => {
                self.dialogs.reject(offered.dialog, &refusal, now);
                return;
            }
        };
        offered.media = media;
        let Offered { dialog, flow, request, .. } = &offered;
        let history = History::of(request, &caller);
        let carried = |target: Target| {
            let carried = match &target.to {
                Destination::Agent(_) | Destination::Room(_) => Carried::nothing(),
                to @ (Destination::User(_) | Destination::Uri(_) | Destination::Trunk(..)) => {
                    Carried::of(request, &self.config.passed_headers, &caller, to, history.clone())?
                }
            };
            Ok((target, carried))
        };
        let routed = routed.map_err(refusal_of).and_then(carried);
        let (target, carried) = match routed {
            Ok(it) => it,
            Err(refusal) => {
                self.dialogs.reject(*dialog, &refusal, now);
                // A stranger leaves no trace but the counters, or scanners would fill the journal.
                if caller != Caller::Stranger || refusal == Refusal::NotFound {
                    self.journal_unanswered(*flow, &caller, request, &refusal, now);
                }
                return;
            }
        };
        self.dialogs.note_known(flow.remote.ip(), now);
        let allowed = self.users.as_ref().map_or(&[][..], |it| it.caller_ids(&caller));
        let party = Party::of(request, &caller, *flow).with_caller_ids(allowed, request);
        match target.to {
            Destination::Agent(_) | Destination::Room(_) => self.begin_in_house(offered, party, target, now),
            Destination::User(_) | Destination::Uri(_) | Destination::Trunk(..) => {
                self.begin_with_dialling(offered, party, target, carried, now)
            }
        }
    }

    /// Lets an agent ring, or a room.
    fn begin_in_house(&mut self, offered: Offered, party: Party, target: Target, now: Now) {
        let Offered { dialog, request, .. } = &offered;
        let ring = self.config.ring;
        let caller = party.caller.clone();
        let leg = self.begin(&offered, party, &target, ring.tone, now);
        if let Target { account, to: Destination::Agent(agent) } = target {
            let to = Pii::new(request.uri_str().to_owned());
            let party = self.legs.get(&leg).map(|it| &*it.party);
            let from = party.map(|it| it.caller_uri(request)).unwrap_or_default();
            let details =
                party.map(|it| details(request.headers(), it, &self.config.exposed_headers)).unwrap_or_default();
            let trunk = caller.trunk().cloned();
            self.tell(Output::StartAgent { call: leg.call, account, agent, leg, from, to, trunk, details });
        }
        if ring.tone == RingTone::Ringing {
            self.dialogs.ring(*dialog, now);
            self.journal(leg.call, Event::Ringing);
        }
        self.settle(leg);
    }

    /// Calls whom the caller wants. It rings when they do.
    fn begin_with_dialling(&mut self, offered: Offered, party: Party, target: Target, carried: Carried, now: Now) {
        let leg = self.begin(&offered, party.clone(), &target, RingTone::None, now);
        let errand = Errand { waiting: leg.index, why: Why::Routed, target, from: party, carried, redirected: None };
        if let Err(refusal) = self.dial(leg.call, errand, now) {
            self.refuse_leg(leg, &refusal, EndCause::Rejected, Initiator::Local, now);
        }
        self.settle(leg);
    }

    /// A call with its first leg, which rings.
    fn begin(&mut self, offered: &Offered, party: Party, target: &Target, tone: RingTone, now: Now) -> LegId {
        let Offered { dialog, flow, request, media, replaces: _ } = offered;
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        let leg = LegId { call, index: 0 };
        let is_in_house = matches!(target.to, Destination::Agent(_) | Destination::Room(_));
        // A room may be full: whoever looks after it answers.
        let is_agent = matches!(target.to, Destination::Agent(_));
        let answer_after = self.config.ring.answer_after.filter(|_| is_agent);
        let ringing = Ringing {
            media: None,
            tone,
            answer_at: answer_after.map(|it| now.instant + it),
            again_at: now.instant + Duration::from_millis(RING_AGAIN_MS),
            give_up_at: now.instant + Duration::from_millis(MEDIA_OPEN_MS_MAX),
        };
        let (from, details) =
            (party.caller_uri(request), details(request.headers(), &party, &self.config.exposed_headers));
        let history = History::of(request, &party.caller);
        let (trunk, caller) = (party.caller.trunk().cloned(), party.caller.clone());
        let mut held = Leg::new(leg, party, State::Ringing(ringing));
        held.dialog = Some(*dialog);
        if let Some(media) = media.as_ref() {
            held.note_media(media.clone());
        }
        let mut begun = Call::new(is_in_house);
        begun.history = Some(Box::new(history));
        begun.number = self.config.routes.number(&self.trunks.called_user(caller.trunk(), request)).map(Into::into);
        self.calls.insert(call, begun);
        self.legs.insert(leg, held);
        self.bind(*dialog, leg, request.headers().call_id());
        self.trunks.count_in(trunk.as_ref());
        // Carriers may challenge what we send in their calls, too.
        if let Some(account) = trunk.as_ref().and_then(|it| self.trunks.credentials_of(it)) {
            self.dialogs.use_account(*dialog, account);
        }
        let to = Pii::new(request.uri_str().to_owned());
        let offered = Event::Offered {
            direction: Direction::Inbound,
            account: target.account.clone(),
            from: from.clone(),
            to: to.clone(),
            flow: *flow,
            trunk,
            agent: match &target.to {
                Destination::Agent(agent) => Some(agent.clone()),
                Destination::Room(_) | Destination::User(_) | Destination::Uri(_) | Destination::Trunk(..) => None,
            },
            details,
        };
        self.journal(call, offered);
        if let Destination::Room(room) = &target.to {
            self.tell(Output::EnterRoom { leg, room: room.clone(), caller, from, to });
        }
        self.tell(Output::OpenMedia { leg, local_ip: flow.local.ip(), peer: flow.remote.ip(), remote: media.clone() });
        leg
    }

    /// Somebody who is known asked for a number that nobody answers: that is worth an entry.
    fn journal_unanswered(&mut self, flow: Flow, caller: &Caller, request: &Request, refusal: &Refusal, now: Now) {
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        self.tell_call_id(call, request.headers().call_id());
        let party = Party::of(request, caller, flow);
        let offered = Event::Offered {
            direction: Direction::Inbound,
            account: AccountId::default(),
            from: party.caller_uri(request),
            to: Pii::new(request.uri_str().to_owned()),
            flow,
            trunk: caller.trunk().cloned(),
            agent: None,
            details: details(request.headers(), &party, &self.config.exposed_headers),
        };
        self.journal(call, offered);
        let status = Some(refusal.status().code());
        let end = End { cause: EndCause::Rejected, sip_status: status, initiator: Initiator::Local, reason: None };
        self.journal(call, Event::Ended(end));
    }
}

/// The answer to those who are not let in.
const fn refusal_of(refused: route::Refusal) -> Refusal {
    match refused {
        route::Refusal::UnknownSource | route::Refusal::NotAllowed => Refusal::Forbidden,
        route::Refusal::UnknownNumber => Refusal::NotFound,
    }
}
