//! Legs that are called for another: to all places where a user is registered at once, of which the first to answer
//! wins (RFC 3261 §16.7), or out of the house. What comes of it goes to the leg that waits, and only the outcome.

use smallvec::SmallVec;

use super::carried::Carried;
use super::config::RingTone;
use super::outgoing::Outgoing;
use super::party::{Party, user_of};
use super::{Call, Calls, End, EndCause, Event, Initiator, Outbound, Output, Reason, TransferOutcome};
use crate::dialog::offer_answer::MediaDescription;
use crate::identity::{AccountId, CallId, LegId, Pii};
use crate::limits::CALL_FORKS_MAX;
use crate::route::{Caller, Destination, Target};
use crate::sip::{HeaderName, NameAddr, Scheme, StatusCode, Uri};
use crate::timer::Now;
use crate::transport::refusal::Refusal;
use crate::transport::{Flow, TransportKind};

/// Whom to call for a leg.
pub(super) struct Errand {
    /// The leg that is to be connected.
    pub(super) waiting: u8,
    pub(super) why: Why,
    pub(super) target: Target,
    /// As whom.
    pub(super) from: Party,
    pub(super) carried: Carried,
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
    HandedOver,
}

/// Somebody is being called for a leg.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) waiting: u8,
    pub(super) why: Why,
    to: Pii<String>,
    /// Of those that refused, the one to tell of.
    best: Option<End>,
}

/// One place where somebody can be reached.
struct Way {
    flow: Flow,
    target: Uri,
    path: Vec<NameAddr>,
    to: Uri,
    caller: Caller,
}

impl Calls {
    /// Calls whom `errand` names.
    pub(super) fn dial(&mut self, call: CallId, errand: Errand, now: Now) -> Result<(), Refusal> {
        let Errand { waiting, why, target, from, carried } = errand;
        let waits = LegId { call, index: waiting };
        let ways = self.ways(&target, now)?;
        let to = ways.first().map(|it| Pii::new(it.to.to_string())).unwrap_or_default();
        let held = self.calls.get_mut(&call).filter(|it| it.dialling.is_none()).ok_or(Refusal::RequestPending)?;
        held.dialling = Some(Box::new(Dialling { waiting, why, to, best: None }));
        let prefers = self.legs.get(&waits).and_then(|it| it.remote).map(|it| it.codec);
        let mut added: SmallVec<[LegId; 2]> = SmallVec::new();
        for Way { flow, target: uri, path, to, caller } in ways {
            let Some(contact) = self.own_uri(flow) else {
                continue;
            };
            let Some((from_uri, display_name)) = from.shown_through(&contact) else {
                continue;
            };
            let headers = carried.clone().headers(&from, &target.to, &contact);
            let mut party = Party::unknown(flow);
            (party.user, party.caller) = (user_of(&to), caller);
            let outbound = Outbound {
                account: target.account.clone(),
                to,
                from: from_uri,
                display_name,
                flow,
                other_flows: vec![],
                headers,
                credentials: None,
            };
            let max_forwards = carried.max_forwards;
            let outgoing = Outgoing { outbound, target: uri, path, max_forwards, prefers };
            added.extend(self.add_leg(call, party, outgoing, now));
        }
        if added.is_empty() {
            if let Some(held) = self.calls.get_mut(&call) {
                held.dialling = None;
            }
            return Err(Refusal::Failed);
        }
        for leg in added {
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

    /// Where `target` can be reached, at least at one place.
    fn ways(&self, target: &Target, now: Now) -> Result<SmallVec<[Way; 1]>, Refusal> {
        match &target.to {
            Destination::Agent(_) => Err(Refusal::Declined),
            Destination::User(name) => self.ways_to_user(&target.account, name, now),
            Destination::Uri(uri) => {
                let flow = self.way_to(uri)?;
                let target = uri.without_headers().detached();
                let way = Way { flow, to: target.clone(), target, path: vec![], caller: Caller::Known };
                Ok(SmallVec::from_iter([way]))
            }
        }
    }

    fn ways_to_user(&self, account: &AccountId, name: &str, now: Now) -> Result<SmallVec<[Way; 1]>, Refusal> {
        let registrar = self.registrar().ok_or(Refusal::TemporarilyUnavailable)?;
        let bindings = registrar.targets(account, name, now).into_iter().take(CALL_FORKS_MAX);
        let ways = bindings.filter_map(|it| {
            let contact = self.own_uri(it.flow)?;
            let to = Uri::sip(Some(name), &contact.host()?.to_string(), contact.port()).ok()?;
            let caller = Caller::User(account.clone(), name.to_owned());
            Some(Way { flow: it.flow, target: it.uri, path: it.path, to, caller })
        });
        let ways: SmallVec<[Way; 1]> = ways.collect();
        if ways.is_empty() { Err(Refusal::TemporarilyUnavailable) } else { Ok(ways) }
    }

    /// The way to a URI whose host is an address. One of ours would be a circle.
    fn way_to(&self, uri: &Uri) -> Result<Flow, Refusal> {
        let is_sips = uri.scheme() == Scheme::Sips;
        let kind = match uri.transport() {
            None if is_sips => TransportKind::Tls,
            None => TransportKind::Udp,
            Some(it) => TransportKind::of_uri_parameter(it, is_sips).ok_or(Refusal::Failed)?,
        };
        let ip = uri.host().and_then(|it| it.ip()).ok_or(Refusal::Failed)?;
        let remote =
            std::net::SocketAddr::new(ip, uri.port().unwrap_or(if kind == TransportKind::Tls { 5061 } else { 5060 }));
        let listeners = || self.config.listeners.iter().map(|(it, _)| it).filter(|it| it.kind == kind);
        if listeners().any(|it| it.local == remote) {
            return Err(Refusal::LoopDetected);
        }
        let of_family = listeners().filter(|it| it.local.is_ipv4() == remote.is_ipv4());
        // What listens on loopback reaches nothing else.
        let local = of_family.map(|it| it.local).max_by_key(|it| it.ip().is_loopback() == ip.is_loopback());
        Ok(Flow { kind, local: local.ok_or(Refusal::Failed)?, remote })
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
        if let Some(remote) = media {
            self.update_media(id, remote);
        }
        let Some((waiting, why)) = self.dialling_of(id.call) else {
            return;
        };
        match why {
            Why::Routed if media.is_some() => {
                if self.legs.get(&waiting).is_some_and(|it| it.partner.is_none()) {
                    self.join(waiting, id, now);
                }
                self.ring(waiting, RingTone::EarlyMedia, now);
            }
            Why::Routed if status == StatusCode::RINGING => self.ring(waiting, RingTone::Ringing, now),
            Why::Asked { by } | Why::AgentSentOn { by } => {
                self.report_to(LegId { call: id.call, index: by }, status, now);
            }
            Why::Routed | Why::HandedOver => (),
        }
    }

    /// A leg that is called for another is answered: the first one wins.
    pub(super) fn handle_dialled_answer(&mut self, id: LegId, media: Option<MediaDescription>, now: Now) {
        let Some((waiting, why)) = self.dialling_of(id.call) else {
            return;
        };
        let dialling = self.calls.get_mut(&id.call).and_then(|it| it.dialling.take());
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.is_dialled = false;
            if let Some(media) = media {
                leg.note_media(media);
            }
        }
        self.journal(id.call, Event::LegAnswered { leg: id.index, codec: media.map(|it| it.codec) });
        self.drop_dialled(id.call, now);
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
            Why::HandedOver => {
                if let Some(call) = self.calls.get_mut(&id.call) {
                    call.has_agent = false;
                }
                self.join(waiting, id, now);
                self.tell(Output::Transferred { call: id.call, outcome: TransferOutcome::Succeeded });
                self.tell_transferred(id.call, to, TransferOutcome::Succeeded);
            }
        }
    }

    /// A leg that is called for another is over before it was answered.
    pub(super) fn handle_dialled_end(&mut self, id: LegId, end: End, now: Now) {
        let Some(dialling) = self.calls.get_mut(&id.call).and_then(|it| it.dialling.as_mut()) else {
            return;
        };
        let best = dialling.best.filter(|it| rank(*it) <= rank(end)).unwrap_or(end);
        dialling.best = Some(best);
        // RFC 3261 §16.7, step 5: 6xx speaks for all places.
        if end.sip_status.is_some_and(|it| it >= 600) {
            self.drop_dialled(id.call, now);
        }
        if self.dialled(id.call).next().is_none() {
            self.fail_dialling(id.call, best, now);
        }
    }

    fn fail_dialling(&mut self, call: CallId, end: End, now: Now) {
        let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling.take()) else {
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
            Why::HandedOver => {
                self.tell(Output::Transferred { call, outcome });
                self.tell_transferred(call, dialling.to, outcome);
            }
        }
    }

    /// Gives up every leg that is called for another.
    pub(super) fn drop_dialled(&mut self, call: CallId, now: Now) {
        let dialled: SmallVec<[LegId; 4]> = self.dialled(call).collect();
        for id in dialled {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.is_dropped = true;
            }
            self.end_leg(id, &Refusal::Declined, None, now);
        }
    }

    fn dialled(&self, call: CallId) -> impl Iterator<Item = LegId> {
        let legs = self.calls.get(&call).map(Call::legs).into_iter().flatten();
        let ids = legs.map(move |index| LegId { call, index });
        ids.filter(|it| self.legs.get(it).is_some_and(|it| it.is_dialled && !it.is_dropped))
    }

    /// The leg that waits, and why, if somebody is being called for it.
    fn dialling_of(&self, call: CallId) -> Option<(LegId, Why)> {
        let dialling = self.calls.get(&call)?.dialling.as_ref()?;
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
            // It is not there, or not any more; or it points elsewhere, where we do not follow.
            300..400 | 408 | 430 | 487 => 480,
            503 => 503,
            600.. => 603,
            _ => 500,
        },
        (EndCause::NoCommonMedia, _) => 488,
        (EndCause::NoMediaPort | EndCause::Overloaded, _) => 503,
        (EndCause::NoAnswer | EndCause::Cancelled | EndCause::HungUp, _) => 480,
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
