//! Transfers of calls: whom we ask the peer to call, and what the peer asks us for.

use std::time::Duration;

use super::carried::Carried;
use super::config::HandOver;
use super::dial::{Errand, Why, transfer_headers};
use super::party::{Party, user_of};
use super::{CallId, Calls, EndCause, Event, Output, TransferOutcome, TransferTarget, Transfers};
use crate::dialog::transfer::asked::TransferRequest;
use crate::dialog::{DialogId, Offered};
use crate::identity::{LegId, Pii};
use crate::limits::TRANSFER_LEAVE_MS;
use crate::route::{self, Caller, Destination, Target};
use crate::sip::{Replaces, Uri};
use crate::timer::Now;
use crate::transport::refusal::Refusal;

impl Calls {
    pub(super) fn start_transfer(&mut self, call: CallId, to: &TransferTarget, now: Now) {
        let refer_to = match to {
            TransferTarget::Uri(uri) => Some(uri.without_headers().to_string()),
            TransferTarget::Call(other) => {
                let other = self.main_leg(*other).filter(|_| *other != call);
                let other = other.and_then(|it| self.legs.get(&it)).and_then(|it| it.dialog);
                other.and_then(|it| self.dialogs.refer_to_peer_of(it))
            }
        };
        let Some(id) = self.main_leg(call) else {
            return;
        };
        if !self.ask_transfer(id, refer_to.as_deref(), AfterTransfer::Tell, now) {
            let (to, outcome) = (Pii::new(refer_to.unwrap_or_default()), TransferOutcome::NotPossible);
            self.tell(Output::Transferred { call, outcome });
            self.journal(call, Event::Transferred { to, outcome });
        }
    }

    /// Asks the peer of a leg to call what `refer_to` names. Whether that was possible.
    fn ask_transfer(&mut self, id: LegId, refer_to: Option<&str>, after: AfterTransfer, now: Now) -> bool {
        // One that is under way keeps its own outcome.
        let dialog = self.legs.get(&id).filter(|it| it.transfer.is_none()).and_then(|it| it.dialog);
        let Some((dialog, refer_to)) = dialog.zip(refer_to) else {
            return false;
        };
        if !self.dialogs.refer(dialog, refer_to, now) {
            return false;
        }
        let to = Pii::new(refer_to.to_owned());
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.transfer = Some(Box::new(Transfer { to: to.clone(), after }));
        }
        self.journal(id.call, Event::TransferStarted { to });
        true
    }

    /// The one place where a transfer of ours ends. Without effect if there is none.
    pub(super) fn finish_transfer(&mut self, id: LegId, outcome: TransferOutcome, now: Now) {
        let Some(transfer) = self.legs.get_mut(&id).and_then(|it| it.transfer.take()) else {
            return;
        };
        let Transfer { to, after } = *transfer;
        let ended = Event::Transferred { to, outcome };
        let is_done = outcome == TransferOutcome::Succeeded && !matches!(after, AfterTransfer::Tell);
        match after {
            AfterTransfer::Bridge(target) if let TransferOutcome::Refused(_) = outcome => {
                self.journal(id.call, ended);
                self.start_handing_over(id.call, *target, HandOver::Bridged, now);
                return;
            }
            AfterTransfer::Released => (),
            AfterTransfer::Tell | AfterTransfer::Leave | AfterTransfer::Bridge(_) => {
                self.tell(Output::Transferred { call: id.call, outcome });
            }
        }
        self.journal(id.call, ended);
        if is_done {
            if let Some(call) = self.calls.get_mut(&id.call) {
                call.has_agent = false;
            }
            self.let_leave(id, now);
        }
    }

    /// The peer of a leg has been transferred: it has time to leave by itself.
    pub(super) fn let_leave(&mut self, id: LegId, now: Now) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.leaves_at = Some(now.instant + Duration::from_millis(TRANSFER_LEAVE_MS));
        }
        self.settle(id);
    }

    /// Our agent hands its caller over to `target`.
    pub(super) fn start_handing_over(&mut self, call: CallId, target: Target, how: HandOver, now: Now) {
        let refused = match self.handing_over(call, target, how, now) {
            Ok(()) => return,
            Err(refused) => refused,
        };
        let outcome = TransferOutcome::Failed(refused.status().code());
        self.tell(Output::Transferred { call, outcome });
        self.journal(call, Event::Transferred { to: Pii::default(), outcome });
    }

    fn handing_over(&mut self, call: CallId, target: Target, how: HandOver, now: Now) -> Result<(), Refusal> {
        let held = self.calls.get(&call).filter(|it| it.has_agent).ok_or(Refusal::DoesNotExist)?;
        let history = held.history.as_deref().cloned().unwrap_or_default();
        let leg = self.main_leg(call).and_then(|it| self.legs.get(&it));
        let leg = leg.filter(|it| it.is_answered()).ok_or(Refusal::DoesNotExist)?;
        let (id, from) = (leg.id, (*leg.party).clone());
        let after = match how {
            HandOver::Bridged | HandOver::Released => {
                let carried = Carried { history, ..Carried::nothing() };
                let (waiting, why) = (id.index, Why::HandedOver { how });
                return self.dial(call, Errand { waiting, why, target, from, carried, redirected: None }, now);
            }
            HandOver::Referred => AfterTransfer::Leave,
            HandOver::ReferredOrBridged => AfterTransfer::Bridge(Box::new(target.clone())),
        };
        let refer_to = self.refer_to(&target, &from).ok_or(Refusal::NotFound)?;
        let is_asked = self.ask_transfer(id, Some(&refer_to), after, now);
        if is_asked { Ok(()) } else { Err(Refusal::RequestPending) }
    }

    /// What the side of `party` has to call to reach `target`.
    fn refer_to(&self, target: &Target, party: &Party) -> Option<String> {
        let uri = match &target.to {
            Destination::Agent(_) | Destination::Room(_) => return None,
            Destination::User(name) => {
                let contact = self.own_uri(party.flow)?;
                Uri::sip(Some(name), &contact.host()?.to_string(), contact.port()).ok()?
            }
            Destination::Uri(uri) => uri.without_headers(),
            Destination::Trunk(trunk, number) => {
                self.trunks.called(trunk, &Uri::sip(Some(number), "trunk.invalid", None).ok()?)?
            }
        };
        Some(uri.to_string())
    }

    /// Two legs hear each other, and could do so without us: the peer of `id` is asked to take our place opposite `other`.
    pub(super) fn release(&mut self, id: LegId, other: LegId, now: Now) {
        let other = self.legs.get(&other).and_then(|it| it.dialog);
        let refer_to = other.and_then(|it| self.dialogs.refer_to_peer_of(it));
        self.ask_transfer(id, refer_to.as_deref(), AfterTransfer::Released, now);
    }

    /// The peer asks for a transfer.
    pub(super) fn handle_transfer_asked(&mut self, id: LegId, wanted: TransferRequest, now: Now) {
        let Some((dialog, party)) = self.legs.get(&id).and_then(|it| Some((it.dialog?, it.party.clone()))) else {
            return;
        };
        let asked = |is_accepted| Event::TransferAsked { to: Pii::new(wanted.to.to_string()), is_accepted };
        let decision = match &self.config.transfers {
            Transfers::Refused => Err(Refusal::Declined),
            Transfers::ToHosts(hosts) => {
                let host = wanted.to.host().map(|it| it.to_string()).unwrap_or_default();
                let is_allowed = hosts.iter().any(|it| it.eq_ignore_ascii_case(&host));
                self.dialogs.decide_transfer(dialog, if is_allowed { Ok(()) } else { Err(Refusal::Forbidden) }, now);
                self.journal(id.call, asked(is_allowed));
                if is_allowed {
                    let TransferRequest { to, replaces, referred_by } = wanted;
                    self.tell(Output::TransferAsked { call: id.call, to, replaces, referred_by });
                }
                return;
            }
            Transfers::CarriedOut { for_known_sources } => match party.caller {
                Caller::User(..) => self.plan_transfer(id, &party, &wanted),
                Caller::Known | Caller::Trunk(_) if *for_known_sources => self.plan_transfer(id, &party, &wanted),
                Caller::Known | Caller::Trunk(_) | Caller::Stranger => Err(Refusal::Forbidden),
            },
        };
        self.journal(id.call, asked(decision.is_ok()));
        match decision {
            Err(refusal) => self.dialogs.decide_transfer(dialog, Err(refusal), now),
            Ok(plan) => {
                self.dialogs.decide_transfer(dialog, Ok(()), now);
                self.carry_out(id, plan, now);
            }
        }
    }

    /// What is to be done for a peer that asks for a transfer, if it may reach whom it names as if it called there itself.
    fn plan_transfer(&self, by: LegId, party: &Party, wanted: &TransferRequest) -> Result<Plan, Refusal> {
        let call = self.calls.get(&by.call).filter(|it| it.dialling.is_none()).ok_or(Refusal::RequestPending)?;
        let leg = self.legs.get(&by).filter(|it| !it.is_dropped && !it.is_aside).ok_or(Refusal::DoesNotExist)?;
        let partner = leg.partner.filter(|_| leg.is_answered());
        let own = wanted.replaces.as_ref().and_then(|it| self.dialogs.named_by(it));
        let own = own.and_then(|it| self.by_dialog.get(&it)).copied();
        if let Some(other) = own {
            return self.plan_joining(by, partner, other, party, call.has_agent);
        }
        let user = user_of(&wanted.to).unwrap_or_default();
        let routed = self.config.routes.route(&route::Admission::default(), &party.caller, &user);
        let target = routed.map_err(|it| match it {
            route::Refusal::UnknownNumber => Refusal::NotFound,
            route::Refusal::UnknownSource | route::Refusal::NotAllowed => Refusal::Forbidden,
        })?;
        let (waiting, why) = match partner {
            Some(waiting) => (waiting, Why::Asked { by: by.index }),
            None if call.has_agent => (by.index, Why::AgentSentOn { by: by.index }),
            None => return Err(Refusal::DoesNotExist),
        };
        Ok(Plan::Dial { waiting, why, target, replaces: wanted.replaces.clone() })
    }

    /// An attended transfer between two calls of ours: the other side of the one takes the place of the peer in the other.
    fn plan_joining(
        &self,
        by: LegId,
        partner: Option<u8>,
        other: LegId,
        party: &Party,
        has_agent: bool,
    ) -> Result<Plan, Refusal> {
        let leg = self.legs.get(&other).filter(|it| it.is_answered() && !it.is_dropped);
        let leg = leg.filter(|_| other.call != by.call).ok_or(Refusal::DoesNotExist)?;
        // Whoever asks is in both calls, or it could take over those of others.
        let is_same = leg.party.caller == party.caller && leg.party.flow.remote.ip() == party.flow.remote.ip();
        if !is_same {
            return Err(Refusal::Forbidden);
        }
        match (partner, leg.partner) {
            (Some(index), _) => Ok(Plan::Join { from: LegId { call: by.call, index }, into: other }),
            (None, Some(index)) if has_agent => Ok(Plan::Join { from: LegId { call: other.call, index }, into: by }),
            (None, _) => Err(Refusal::Declined),
        }
    }

    fn carry_out(&mut self, by: LegId, plan: Plan, now: Now) {
        match plan {
            Plan::Dial { waiting, why, target, replaces } => {
                let waits = LegId { call: by.call, index: waiting };
                // Whom the new side is told that it is called by: who waits, or for an agent whoever sent it on.
                let Some(from) = self.legs.get(&waits).map(|it| (*it.party).clone()) else {
                    return;
                };
                let referrer = self.legs.get(&by).and_then(|it| it.party.at(&self.own_uri(it.party.flow)?));
                let history =
                    self.calls.get(&by.call).and_then(|it| it.history.as_deref().cloned()).unwrap_or_default();
                let headers = transfer_headers(referrer.as_ref(), replaces.map(|it| it.to_string()));
                let carried = Carried { headers, history, ..Carried::nothing() };
                let errand = Errand { waiting, why, target, from, carried, redirected: None };
                if let Err(refusal) = self.dial(by.call, errand, now) {
                    self.report_to(by, refusal.status(), now);
                }
            }
            Plan::Join { from, into } => {
                self.dismiss(by, now);
                self.take_place(from, into, now);
            }
        }
    }

    /// Whether a leg outlives its dialog: its peer has our agent transferred, and has left already.
    pub(super) fn is_sent_on(&self, id: LegId) -> bool {
        let dialling = self.calls.get(&id.call).and_then(|it| it.dialling.as_ref());
        dialling.is_some_and(|it| matches!(it.why, Why::AgentSentOn { by } if by == id.index))
    }

    pub(super) fn detach(&mut self, id: LegId) {
        if let Some(dialog) = self.legs.get_mut(&id).and_then(|it| it.dialog.take()) {
            self.by_dialog.remove(&dialog);
        }
    }

    /// Somebody wants to take the place of the peer of an answered call, which goes on with its media session and agent.
    /// What is not allowed looks like what does not exist.
    pub(super) fn handle_replacement(&mut self, offered: &Offered, replaced: DialogId, now: Now) {
        let Offered { dialog, flow, request, .. } = offered;
        let (caller, is_admitted) = match self.route(*flow, request, now) {
            Err(refusal) => {
                self.dialogs.reject(*dialog, &refusal, now);
                return;
            }
            Ok((caller, routed)) => (caller, routed != Err(route::Refusal::UnknownSource)),
        };
        let is_same_source = self.dialogs.source_of(replaced) == Some(flow.remote.ip());
        let id = self.by_dialog.get(&replaced).copied().filter(|_| is_admitted && is_same_source);
        let leg = id.and_then(|it| self.legs.get_mut(&it)).filter(|it| it.is_answered());
        let (Some(id), Some((leg, local))) = (id, leg.and_then(|it| it.local.map(|local| (it, local)))) else {
            self.dialogs.reject(*dialog, &Refusal::DoesNotExist, now);
            return;
        };
        leg.dialog = Some(*dialog);
        *leg.party = Party::of(request, &caller, *flow);
        let by = leg.party.caller_uri(request);
        self.by_dialog.remove(&replaced);
        self.bind(*dialog, id, request.headers().call_id());
        self.finish_transfer(id, TransferOutcome::Unknown, now);
        self.journal(id.call, Event::Replaced { leg: id.index, by });
        self.dialogs.answer(*dialog, local, now);
        self.dialogs.hang_up(replaced, &Refusal::Declined, EndCause::HungUp, now);
    }
}

/// A transfer that we asked a peer for.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Whom it is to reach.
    to: Pii<String>,
    after: AfterTransfer,
}

/// What follows a transfer that we asked a peer for.
#[derive(Debug)]
enum AfterTransfer {
    /// Nothing: whoever wanted it is told.
    Tell,
    /// The agent is told, and after a success the peer leaves.
    Leave,
    /// The same, and if the peer does not do it, we call whom it was to call.
    Bridge(Box<Target>),
    /// Both sides hear each other already, and after a success they do without us.
    Released,
}

/// What is to be done for a peer that asks for a transfer.
enum Plan {
    /// Somebody is to be called for the leg `waiting`.
    Dial { waiting: u8, why: Why, target: Target, replaces: Option<Replaces> },
    /// The peer of `from` takes the place of the peer of `into`.
    Join { from: LegId, into: LegId },
}
