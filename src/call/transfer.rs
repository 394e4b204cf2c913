//! Transfers of calls: whom we ask the peer to call, and what the peer asks us for.

use super::leg::{NotRouted, from_of};
use super::{CallId, Calls, EndCause, Event, Output, TransferOutcome, TransferTarget, Transfers};
use crate::dialog::transfer::asked::TransferRequest;
use crate::dialog::{DialogId, Offered};
use crate::identity::Pii;
use crate::route;
use crate::timer::Now;
use crate::transport::refusal::Refusal;

impl Calls {
    pub(super) fn start_transfer(&mut self, call: CallId, to: &TransferTarget, now: Now) {
        let refer_to = match to {
            TransferTarget::Uri(uri) => Some(uri.without_headers().to_string()),
            TransferTarget::Call(other) => {
                let other = self.calls.get(other).filter(|_| *other != call).and_then(|it| it.dialog);
                other.and_then(|it| self.dialogs.refer_to_peer_of(it))
            }
        };
        let Some(leg) = self.calls.get(&call) else {
            return;
        };
        // One that is under way keeps its own outcome.
        let dialog = leg.dialog.filter(|_| leg.transfer.is_none());
        let is_sent = match (dialog, &refer_to) {
            (Some(dialog), Some(refer_to)) => self.dialogs.refer(dialog, refer_to, now),
            (None, _) | (_, None) => false,
        };
        let to = Pii::new(refer_to.unwrap_or_default());
        if !is_sent {
            let outcome = TransferOutcome::NotPossible;
            self.tell(Output::Transferred { call, outcome });
            self.journal(call, Event::Transferred { to, outcome });
            return;
        }
        if let Some(leg) = self.calls.get_mut(&call) {
            leg.transfer = Some(to.clone());
        }
        self.journal(call, Event::TransferStarted { to });
    }

    /// The one place where a transfer of ours ends. Without effect if there is none.
    pub(super) fn finish_transfer(&mut self, call: CallId, outcome: TransferOutcome) {
        if let Some(to) = self.calls.get_mut(&call).and_then(|it| it.transfer.take()) {
            self.tell(Output::Transferred { call, outcome });
            self.journal(call, Event::Transferred { to, outcome });
        }
    }

    /// The peer asks for a transfer.
    pub(super) fn handle_transfer_asked(&mut self, call: CallId, wanted: TransferRequest, now: Now) {
        let Some(dialog) = self.calls.get(&call).and_then(|it| it.dialog) else {
            return;
        };
        let TransferRequest { to, replaces, referred_by } = wanted;
        let host = to.host().map(|it| it.to_string()).unwrap_or_default();
        let is_accepted = self.config.transfers.allow(&host);
        let decision = match &self.config.transfers {
            _ if is_accepted => Ok(()),
            Transfers::Refused => Err(Refusal::Declined),
            Transfers::ToHosts(_) => Err(Refusal::Forbidden),
        };
        self.dialogs.decide_transfer(dialog, decision, now);
        self.journal(call, Event::TransferAsked { to: Pii::new(to.to_string()), is_accepted });
        if is_accepted {
            self.tell(Output::TransferAsked { call, to, replaces, referred_by });
        }
    }

    /// Somebody wants to take the place of the peer of an answered call, which goes on with its media session and agent.
    /// What is not allowed looks like what does not exist.
    pub(super) fn handle_replacement(&mut self, offered: &Offered, replaced: DialogId, now: Now) {
        let Offered { dialog, flow, request, .. } = offered;
        let is_admitted = match self.route(*flow, request, now) {
            Err(NotRouted::Unauthenticated(refusal)) => {
                self.dialogs.reject(*dialog, &refusal, now);
                return;
            }
            Err(NotRouted::Refused(route::Refusal::UnknownSource)) => false,
            Ok(_) | Err(NotRouted::Refused(route::Refusal::UnknownNumber)) => true,
        };
        let is_same_source = self.dialogs.source_of(replaced) == Some(flow.remote.ip());
        let call = self.by_dialog.get(&replaced).copied().filter(|_| is_admitted && is_same_source);
        let leg = call.and_then(|it| self.calls.get_mut(&it)).filter(|it| it.is_answered());
        let (Some(call), Some((leg, local))) = (call, leg.and_then(|it| it.local.map(|local| (it, local)))) else {
            self.dialogs.reject(*dialog, &Refusal::DoesNotExist, now);
            return;
        };
        leg.dialog = Some(*dialog);
        self.by_dialog.remove(&replaced);
        self.bind(*dialog, call, request.headers().call_id());
        self.finish_transfer(call, TransferOutcome::Unknown);
        self.journal(call, Event::Replaced { by: from_of(request) });
        self.dialogs.answer(*dialog, local, now);
        self.dialogs.hang_up(replaced, &Refusal::Declined, EndCause::HungUp, now);
    }
}
