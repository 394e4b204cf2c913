//! Legs that are called for another: to all places where a user is registered at once, of which the first to answer
//! wins (RFC 3261 §16.7), or out of the house. What comes of it goes to the leg that waits, and only the outcome.

use smallvec::SmallVec;

use super::carried::Carried;
use super::config::{HandOver, RingTone};
use super::outgoing::Outgoing;
use super::party::{Party, user_of};
use super::redirect::{Following, Redirected, shown};
use super::servers::Seeker;
use super::{Call, Calls, End, EndCause, Event, Initiator, Outbound, Output, Reason, Sound, TransferOutcome};
use crate::auth::DigestAccount;
use crate::dialog::offer_answer::MediaDescription;
use crate::identity::{AccountId, CallId, LegId, Pii};
use crate::limits::CALL_FORKS_MAX;
use crate::locate::{self, Hop};
use crate::route::{Caller, Destination, Target, TrunkName};
use crate::sip::{HeaderName, NameAddr, StatusCode, Uri};
use crate::timer::Now;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

/// Whom to call for a leg.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    /// The leg that is to be connected.
    pub(super) waiting: u8,
    pub(super) why: Why,
    pub(super) target: Target,
    /// As whom.
    pub(super) from: Party,
    pub(super) carried: Carried,
    /// Who pointed there, if somebody did.
    pub(super) redirected: Option<Redirected>,
}

/// Why somebody is called for a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its peer called.
    Routed,
    /// The peer of this leg asked for a transfer.
    Asked { by: u8 },
    /// The same, and it is our agent who is transferred: who is called takes the place of the peer.
    AgentSentOn { by: u8 },
    /// Our agent hands its caller over.
    HandedOver { how: HandOver },
    /// Somebody outside of the call has this leg's place taken.
    Redirected { by: u8 },
    /// A supervisor is to hear the call, beside whoever talks in it.
    Aside,
}

impl Why {
    const fn is_aside(self) -> bool {
        matches!(self, Self::Aside)
    }
}

/// Somebody is being called for a leg.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) waiting: u8,
    pub(super) why: Why,
    to: Pii<String>,
    /// Of those that refused, the one to tell of.
    pub(super) best: Option<End>,
    /// Searches for servers that are under way.
    searches: usize,
    /// Where it may go if somebody points elsewhere; `None` where nobody is followed.
    pub(super) following: Option<Box<Following>>,
}

/// One place where somebody can be reached.
pub(super) struct Way {
    pub(super) flow: Flow,
    pub(super) other_flows: Vec<Flow>,
    pub(super) trunk: Option<TrunkName>,
    /// Whether it is a place that was registered with us: no other transport leads there, and no route of the trunk's.
    pub(super) is_registered: bool,
    pub(super) target: Uri,
    pub(super) path: Vec<NameAddr>,
    pub(super) to: Uri,
    pub(super) caller: Caller,
}

impl Calls {
    /// Calls whom `errand` names: users at once, others as soon as their servers are found.
    pub(super) fn dial(&mut self, call: CallId, errand: Errand, now: Now) -> Result<(), Refusal> {
        let is_aside = errand.why.is_aside();
        let is_free = self.calls.get_mut(&call).is_some_and(|it| it.dialling(is_aside).is_none());
        if !is_free {
            return Err(Refusal::RequestPending);
        }
        self.begin_dialling(call, &errand);
        let dialled = self.pursue_errand(call, errand, now);
        if let Some(held) = self.calls.get_mut(&call).filter(|_| dialled.is_err()) {
            *held.dialling(is_aside) = None;
        }
        dialled
    }

    /// Calls whom `errand` names, for a leg for which somebody is being called already.
    pub(super) fn pursue_errand(&mut self, call: CallId, errand: Errand, now: Now) -> Result<(), Refusal> {
        let Target { account, to } = &errand.target;
        let targets = match to {
            Destination::Agent(_) | Destination::Room(_) => return Err(Refusal::Declined),
            Destination::User(name) => {
                let ways = self.ways_to_user(account, name, now)?;
                return self.dial_ways(call, errand, ways, now);
            }
            Destination::Uri(uri) if let Some(way) = self.way_over_trunk(uri, &errand, now) => {
                return self.dial_ways(call, errand, SmallVec::from_iter([way]), now);
            }
            Destination::Uri(uri) => locate::Target::of(uri).into_iter().collect(),
            Destination::Trunk(trunk, number) if let Some(way) = self.registered_way(trunk, number, now) => {
                return self.dial_ways(call, errand, SmallVec::from_iter([way]), now);
            }
            Destination::Trunk(trunk, _) if self.trunks.registering_as(trunk).is_some() => {
                let targets = self.trunks.targets_of(trunk);
                if targets.is_empty() {
                    return Err(Refusal::TemporarilyUnavailable);
                }
                targets
            }
            Destination::Trunk(trunk, _) => self.trunks.targets_of(trunk),
        };
        if targets.is_empty() {
            return Err(Refusal::Failed);
        }
        let is_aside = errand.why.is_aside();
        if let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling(is_aside).as_mut()) {
            dialling.searches += 1;
        }
        self.servers.seek(Seeker::Errand(call, Box::new(errand)), targets, now);
        Ok(())
    }

    fn begin_dialling(&mut self, call: CallId, errand: &Errand) {
        let to = Pii::new(shown(&errand.target.to));
        let is_aside = errand.why.is_aside();
        let following = (self.follows_redirects() && !is_aside).then(|| Box::new(Following::new(errand)));
        if let Some(held) = self.calls.get_mut(&call) {
            let (waiting, why) = (errand.waiting, errand.why);
            let dialling = Dialling { waiting, why, to, best: None, searches: 0, following };
            *held.dialling(is_aside) = Some(Box::new(dialling));
        }
    }

    /// The servers are found of somebody who is to be called for a leg; none, if there are none.
    pub(super) fn handle_errand_located(&mut self, call: CallId, errand: Errand, hops: &[Hop], now: Now) {
        // Whoever waited may be gone.
        let is_aside = errand.why.is_aside();
        let dialling = self.dialling_of(call, is_aside);
        let is_wanted = dialling.is_some_and(|it| (it.0.index, it.1) == (errand.waiting, errand.why));
        if !is_wanted {
            return;
        }
        if let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling(is_aside).as_mut()) {
            dialling.searches = dialling.searches.saturating_sub(1);
        }
        let is_redirected = errand.redirected.is_some();
        let dialled = self.way_to_servers(&errand, hops);
        let dialled = dialled.and_then(|it| self.dial_ways(call, errand, SmallVec::from_iter([it]), now));
        if let Err(refusal) = dialled {
            // That nobody is where a side points is no fault of ours.
            let (refusal, initiator) = if is_redirected {
                (Refusal::TemporarilyUnavailable, Initiator::Remote)
            } else {
                (refusal, Initiator::Local)
            };
            let sip_status = Some(refusal.status().code());
            let end = End { cause: EndCause::Rejected, sip_status, initiator, reason: None };
            self.handle_branch_ended(call, is_aside, end, now);
        }
    }

    fn dial_ways(&mut self, call: CallId, errand: Errand, ways: SmallVec<[Way; 1]>, now: Now) -> Result<(), Refusal> {
        let Errand { waiting, why, target, from, carried, redirected: _ } = errand;
        let waits = LegId { call, index: waiting };
        let from = if matches!(target.to, Destination::User(_)) { from } else { from.seen_outside() };
        let prefers = self.legs.get(&waits).and_then(|it| it.remote.as_ref()).map(|it| it.codec);
        let mut added: SmallVec<[LegId; 2]> = SmallVec::new();
        for (branch, way) in (0..).zip(ways) {
            let Way { flow, other_flows, trunk, is_registered, target: uri, path, to, caller } = way;
            let Some(contact) = self.own_uri(flow) else {
                continue;
            };
            let Some((shown, display_name)) = from.shown_through(&contact) else {
                continue;
            };
            let mut headers = carried.clone().headers(&from, &target.to, &contact);
            headers.extend(carried.history.headers(&uri, branch, &contact));
            if let Some(trunk) = trunk.as_ref().filter(|_| !is_registered) {
                headers.extend(self.trunks.route_of(trunk));
            }
            let (from_uri, credentials) = self.over_trunk(trunk.as_ref(), shown, &from);
            let mut party = Party::unknown(flow);
            (party.user, party.caller) = (user_of(&to), caller);
            let outbound = Outbound {
                account: target.account.clone(),
                to,
                from: from_uri,
                display_name,
                flow,
                other_flows,
                // A telephone behind a translator is reached the way that it registered, and no other.
                keeps_transport: is_registered || trunk.as_ref().is_none_or(|it| self.trunks.pins_transport(it)),
                headers,
                credentials,
            };
            let max_forwards = carried.max_forwards;
            let outgoing = Outgoing { outbound, target: uri, path, max_forwards, prefers, trunk };
            added.extend(self.add_leg(call, party, outgoing, now));
        }
        if added.is_empty() {
            return Err(Refusal::Failed);
        }
        for leg in added {
            if let Some(held) = self.legs.get_mut(&leg) {
                held.is_aside = why.is_aside();
            }
            self.start_leg(leg, waits, why, now);
        }
        Ok(())
    }

    /// Opens the media session of a leg that is to go out, or lends it that of the leg whose place it is to take.
    fn start_leg(&mut self, id: LegId, waits: LegId, why: Why, now: Now) {
        let lent = self.legs.get(&waits).and_then(|it| it.local).filter(|_| matches!(why, Why::AgentSentOn { .. }));
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let Some(flow) = leg.way_out() else {
            return;
        };
        if let Some(local) = lent {
            leg.has_media = false;
            self.media_opened(id, local, now);
        } else {
            self.open_media(id, flow.local.ip(), flow.remote.ip());
        }
    }

    pub(super) fn ways_to_user(
        &self,
        account: &AccountId,
        name: &str,
        now: Now,
    ) -> Result<SmallVec<[Way; 1]>, Refusal> {
        let registrar = self.registrar().ok_or(Refusal::TemporarilyUnavailable)?;
        let bindings = registrar.targets(account, name, now).into_iter().take(CALL_FORKS_MAX);
        let ways = bindings.filter_map(|it| {
            let contact = self.own_uri(it.flow)?;
            let to = Uri::sip(Some(name), &contact.host()?.to_string(), contact.port()).ok()?;
            let caller = Caller::User(account.clone(), name.to_owned());
            let (flow, other_flows, target, path) = (it.flow, it.other_flows, it.uri, it.path);
            Some(Way { flow, other_flows, trunk: None, is_registered: true, target, path, to, caller })
        });
        let ways: SmallVec<[Way; 1]> = ways.collect();
        if ways.is_empty() { Err(Refusal::TemporarilyUnavailable) } else { Ok(ways) }
    }

    /// The way to a URI that belongs to a trunk. Whom a peer asks for, or points to, is not called with our credentials.
    fn way_over_trunk(&mut self, uri: &Uri, errand: &Errand, now: Now) -> Option<Way> {
        let is_asked = matches!(errand.why, Why::Asked { .. } | Why::AgentSentOn { .. });
        let is_ours = !is_asked && errand.redirected.is_none();
        let (trunk, flows) = self.trunk_towards(uri, now).filter(|_| is_ours)?;
        let (flow, other_flows) = flows.split_first()?;
        let target = self.trunks.called(&trunk, uri)?;
        let (flow, other_flows, to, trunk) = (*flow, other_flows.to_vec(), target.clone(), Some(trunk));
        let (path, caller) = (vec![], Caller::Known);
        Some(Way { flow, other_flows, trunk, is_registered: false, to, target, path, caller })
    }

    /// As whom a leg goes out over `trunk`, and with which credentials.
    fn over_trunk(&mut self, trunk: Option<&TrunkName>, from: Uri, party: &Party) -> (Uri, Option<DigestAccount>) {
        let Some(trunk) = trunk else {
            return (from, None);
        };
        self.trunks.count_out(trunk);
        let credentials = self.trunks.credentials_of(trunk);
        let caller_id = party.outside.as_deref().or_else(|| self.trunks.caller_id(trunk));
        let caller_id = caller_id.filter(|_| !party.is_private);
        let caller_id = caller_id.and_then(|it| self.trunks.user_at(trunk, Some(it), &from));
        (caller_id.unwrap_or(from), credentials)
    }

    /// The way over servers that were found. One that leads back to us would be a circle.
    fn way_to_servers(&mut self, errand: &Errand, hops: &[Hop]) -> Result<Way, Refusal> {
        let is_own =
            |it: &Hop| self.config.listeners.iter().any(|(own, _)| own.kind == it.kind && own.local == it.remote);
        if hops.iter().any(is_own) {
            return Err(Refusal::LoopDetected);
        }
        self.check_redirected(errand, hops)?;
        let trunk = match &errand.target.to {
            Destination::Trunk(trunk, _) => Some(trunk.clone()),
            Destination::Agent(_) | Destination::Room(_) | Destination::User(_) | Destination::Uri(_) => None,
        };
        let flows = self.flows_to(hops, trunk.as_ref());
        let unavailable = Refusal::Unavailable { retry_after_s: self.config.retry_after_s };
        let (flow, other_flows) = flows.split_first().ok_or(unavailable)?;
        let (flow, other_flows) = (*flow, other_flows.to_vec());
        let to = match (&errand.target.to, &trunk) {
            (Destination::Trunk(_, number), Some(trunk)) => {
                let called = Uri::sip(Some(number), "trunk.invalid", None).or(Err(Refusal::NotFound))?;
                self.trunks.called(trunk, &called).ok_or(Refusal::NotFound)?
            }
            (Destination::Uri(uri), _) => uri.without_headers().detached(),
            (Destination::Agent(_) | Destination::Room(_) | Destination::User(_) | Destination::Trunk(..), _) => {
                return Err(Refusal::Declined);
            }
        };
        let (target, path, caller) = (to.clone(), vec![], Caller::Known);
        Ok(Way { flow, other_flows, trunk, is_registered: false, target, path, to, caller })
    }

    /// Our URI over `flow`.
    pub(super) fn own_uri(&self, flow: Flow) -> Option<Uri> {
        Uri::parse(&self.dialogs.contact_uri(flow)).ok()
    }

    /// A leg that is called for another gets on.
    pub(super) fn handle_dialled_progress(
        &mut self,
        id: LegId,
        status: StatusCode,
        media: Option<MediaDescription>,
        now: Now,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let is_first = status == StatusCode::RINGING && !std::mem::replace(&mut leg.is_ringing_told, true);
        if is_first {
            self.journal(id.call, Event::LegRinging { leg: id.index });
        }
        let has_media = media.is_some();
        if let Some(remote) = media {
            self.update_media(id, remote);
        }
        let is_aside = self.legs.get(&id).is_some_and(|it| it.is_aside);
        let Some((waiting, why)) = self.dialling_of(id.call, is_aside) else {
            return;
        };
        match why {
            Why::Routed if has_media => {
                if self.legs.get(&waiting).is_some_and(|it| it.partner.is_none()) {
                    self.join(waiting, id, now);
                }
                self.ring(waiting, RingTone::EarlyMedia, now);
            }
            Why::Routed if status == StatusCode::RINGING => self.ring_for(waiting, now),
            Why::Asked { by } | Why::AgentSentOn { by } => {
                self.report_to(LegId { call: id.call, index: by }, status, now);
            }
            Why::Routed | Why::HandedOver { .. } | Why::Redirected { .. } | Why::Aside => (),
        }
    }

    /// It rings for a leg that waits, which hears that from its own network or from us.
    fn ring_for(&mut self, waiting: LegId, now: Now) {
        let leg = self.legs.get(&waiting).filter(|_| self.config.own_sounds.ringback);
        if leg.is_some_and(|it| it.partner.is_none() && it.awaits_early_media()) {
            self.ring(waiting, RingTone::EarlyMedia, now);
            self.tell(Output::PlaySound { leg: waiting, sound: Some(Sound::Ringback) });
        } else {
            self.ring(waiting, RingTone::Ringing, now);
        }
    }

    /// A leg that is called for another is answered: the first one wins.
    pub(super) fn handle_dialled_answer(&mut self, id: LegId, media: Option<MediaDescription>, now: Now) {
        let is_aside = self.legs.get(&id).is_some_and(|it| it.is_aside);
        let Some((waiting, why)) = self.dialling_of(id.call, is_aside) else {
            return;
        };
        let dialling = self.calls.get_mut(&id.call).and_then(|it| it.dialling(is_aside).take());
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.is_dialled = false;
            if let Some(media) = &media {
                leg.note_media(media.clone());
            }
        }
        self.journal(id.call, Event::LegAnswered { leg: id.index, codec: media.as_ref().map(|it| it.codec) });
        self.drop_dialled(id.call, is_aside, EndCause::AnsweredElsewhere, now);
        if let (Some(media), false) = (media, matches!(why, Why::AgentSentOn { .. })) {
            self.update_media(id, media);
        }
        let to = dialling.map(|it| it.to).unwrap_or_default();
        match why {
            Why::Routed => {
                self.join(waiting, id, now);
                self.answer_leg(waiting, now);
            }
            Why::Asked { by } => {
                self.tell_transferred(id.call, to, TransferOutcome::Succeeded);
                let by = LegId { call: id.call, index: by };
                self.dismiss(by, now);
                self.join(waiting, id, now);
            }
            Why::AgentSentOn { by } => {
                self.tell_transferred(id.call, to, TransferOutcome::Succeeded);
                self.report_to(LegId { call: id.call, index: by }, StatusCode::OK, now);
                self.take_place(id, waiting, now);
            }
            Why::HandedOver { how } => {
                if let Some(call) = self.calls.get_mut(&id.call) {
                    call.has_agent = false;
                }
                self.join(waiting, id, now);
                self.tell(Output::Transferred { call: id.call, outcome: TransferOutcome::Succeeded });
                self.tell_transferred(id.call, to, TransferOutcome::Succeeded);
                if how == HandOver::Released {
                    self.release(waiting, id, now);
                }
            }
            Why::Redirected { by } => {
                self.tell_transferred(id.call, to, TransferOutcome::Succeeded);
                self.join(waiting, id, now);
                self.drop_leg(LegId { call: id.call, index: by }, None, now);
            }
            Why::Aside => self.tell(Output::Supervising { leg: id }),
        }
    }

    /// A leg that is called for another is over before it was answered.
    pub(super) fn handle_dialled_end(&mut self, id: LegId, is_aside: bool, end: End, now: Now) {
        // RFC 3261 §16.7, step 5: 6xx speaks for all places.
        if end.sip_status.is_some_and(|it| it >= 600) {
            self.drop_dialled(id.call, is_aside, EndCause::Cancelled, now);
            if !is_aside {
                self.follow_nobody(id.call);
            }
        }
        let is_redirected = end.sip_status.is_some_and(|it| (300..400).contains(&it));
        if !is_redirected || is_aside || !self.follow_next(id.call, now) {
            self.handle_branch_ended(id.call, is_aside, end, now);
        }
    }

    /// One of those who are called for a leg cannot be reached. If there is nobody else to call, nobody can.
    fn handle_branch_ended(&mut self, call: CallId, is_aside: bool, end: End, now: Now) {
        let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling(is_aside).as_mut()) else {
            return;
        };
        let best = dialling.best.filter(|it| rank(*it) <= rank(end)).unwrap_or(end);
        dialling.best = Some(best);
        let is_searching = dialling.searches > 0;
        if self.dialled(call, is_aside).next().is_some() || is_searching {
            return;
        }
        if is_aside || !self.follow_next(call, now) {
            self.fail_dialling(call, is_aside, best, now);
        }
    }

    fn fail_dialling(&mut self, call: CallId, is_aside: bool, end: End, now: Now) {
        let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling(is_aside).take()) else {
            return;
        };
        let waiting = LegId { call, index: dialling.waiting };
        let refusal = relayed(end);
        let outcome = TransferOutcome::Failed(refusal.status().code());
        match dialling.why {
            Why::Routed => self.refuse_leg(waiting, &refusal, end.cause, end.initiator, now),
            Why::Asked { by } | Why::AgentSentOn { by } => {
                self.tell_transferred(call, dialling.to, outcome);
                let by = LegId { call, index: by };
                self.report_to(by, refusal.status(), now);
                // Whoever asked has left, and nobody else is there.
                if self.legs.get(&by).is_none_or(|it| it.dialog.is_none()) {
                    self.end_leg(waiting, &Refusal::Declined, None, now);
                }
            }
            Why::HandedOver { .. } => {
                self.tell(Output::Transferred { call, outcome });
                self.tell_transferred(call, dialling.to, outcome);
            }
            Why::Redirected { by } => {
                self.tell_transferred(call, dialling.to, outcome);
                // Whom it talked to has left, and nobody else is there.
                if !self.legs.contains_key(&LegId { call, index: by }) {
                    self.end_leg(waiting, &Refusal::Declined, None, now);
                }
            }
            Why::Aside => self.tell(Output::SupervisorGone { call }),
        }
    }

    /// Gives up every leg that is called for another.
    pub(super) fn drop_dialled(&mut self, call: CallId, is_aside: bool, why: EndCause, now: Now) {
        let dialled: SmallVec<[LegId; 4]> = self.dialled(call, is_aside).collect();
        for id in dialled {
            self.drop_leg(id, Some(why), now);
        }
    }

    /// Ends a leg without which the call goes on.
    fn drop_leg(&mut self, id: LegId, why: Option<EndCause>, now: Now) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.is_dropped = true;
        }
        self.end_leg(id, &Refusal::Declined, why, now);
    }

    fn dialled(&self, call: CallId, is_aside: bool) -> impl Iterator<Item = LegId> {
        let legs = self.calls.get(&call).map(Call::legs).into_iter().flatten();
        let ids = legs.map(move |index| LegId { call, index });
        ids.filter(move |it| {
            self.legs.get(it).is_some_and(|it| it.is_dialled && it.is_aside == is_aside && !it.is_dropped)
        })
    }

    /// The leg that waits, and why, if somebody is being called for it, or beside it.
    fn dialling_of(&self, call: CallId, is_aside: bool) -> Option<(LegId, Why)> {
        let held = self.calls.get(&call)?;
        let dialling = if is_aside { &held.aside } else { &held.dialling }.as_ref()?;
        Some((LegId { call, index: dialling.waiting }, dialling.why))
    }

    /// Tells a peer how the transfer goes that it asked for.
    pub(super) fn report_to(&mut self, id: LegId, status: StatusCode, now: Now) {
        if let Some(dialog) = self.legs.get(&id).and_then(|it| it.dialog) {
            self.dialogs.report_transfer(dialog, status, now);
        }
    }

    fn tell_transferred(&mut self, call: CallId, to: Pii<String>, outcome: TransferOutcome) {
        self.journal(call, Event::Transferred { to, outcome });
    }
}

/// Of several refusals, which is to be told: 6xx first, then the lowest (RFC 3261 §16.7, step 6), silence last.
fn rank(end: End) -> (bool, u16) {
    let status = end.sip_status.unwrap_or(u16::MAX);
    (!(600..700).contains(&status), status)
}

/// What a caller is told about the end of a leg that was called for it. What only concerns us and the called side is
/// a fault of ours for the caller.
pub(super) fn relayed(end: End) -> Refusal {
    let code = match (end.cause, end.sip_status) {
        (EndCause::Rejected, Some(status)) => match status {
            403 | 404 | 410 | 480 | 482 | 483 | 484 | 486 | 488 | 600 | 603 | 604 | 606 | 607 => status,
            // It is not there, or not any more; or it points elsewhere, where nobody follows.
            300..400 | 408 | 430 | 487 => 480,
            503 => 503,
            600.. => 603,
            _ => 500,
        },
        (EndCause::NoCommonMedia, _) => 488,
        (EndCause::NoMediaPort | EndCause::Overloaded | EndCause::NotSent, _) => 503,
        (EndCause::NoAnswer | EndCause::Cancelled | EndCause::AnsweredElsewhere | EndCause::HungUp, _) => 480,
        _ => 500,
    };
    let cause = match end.reason {
        Some(Reason::Q850(cause)) if end.initiator == Initiator::Remote => Some(cause),
        Some(Reason::Q850(_) | Reason::Sip(_)) | None => None,
    };
    Refusal::Relayed(StatusCode::new(code).unwrap_or(StatusCode::SERVER_INTERNAL_ERROR), cause)
}

/// The header fields by which a transfer says who asked for it, and what it takes the place of.
pub(super) fn transfer_headers(by: Option<&Uri>, replaces: Option<String>) -> Vec<(HeaderName, String)> {
    let by = by.map(|it| (HeaderName::ReferredBy, format!("<{it}>")));
    by.into_iter().chain(replaces.map(|it| (HeaderName::Replaces, it))).collect()
}
