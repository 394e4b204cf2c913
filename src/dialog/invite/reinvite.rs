//! Changing a session: re-INVITE from either side (RFC 3261 §14) and UPDATE from the peer (RFC 3311).
//!
//! A change that is refused leaves the session as it was. The media session is only ever told of a change, never replaced.

use std::time::{Duration, Instant};

use super::unacknowledged::Unacknowledged;
use crate::dialog::Event;
use crate::dialog::end::{End, EndCause, Initiator};
use crate::dialog::inspection::{Body, SDP};
use crate::dialog::offer_answer::{Negotiation, Offer};
use crate::dialog::session::{AwaitedAck, Confirmed, OfferInOk, OwnInvite, Session, State};
use crate::dialog::shared::{Purpose, Shared};
use crate::limits::REINVITE_ATTEMPTS_MAX;
use crate::sip::{HeaderName, Method, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::refusal::{ALLOW, Refusal};

/// Our re-INVITE: the one that is wanted and the one that is under way.
#[derive(Debug, Default)]
pub(crate) struct Reinvite {
    /// Whether the peer is to be on hold, where that is still to be asked.
    wanted: Option<bool>,
    pending: Option<Pending>,
    /// After a collision (§14.1).
    retry_at: Option<Instant>,
    attempts: u8,
}

#[derive(Debug)]
struct Pending {
    client: TransactionId,
    holds: bool,
    /// What our side becomes if the peer agrees.
    negotiation: Negotiation,
}

impl Reinvite {
    /// When to try again.
    pub(in crate::dialog) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

impl Session {
    /// Puts the peer on hold, or takes it back, as soon as no other change is under way.
    pub(in crate::dialog) fn hold(&mut self, holds: bool, shared: &mut Shared, now: Now) {
        if let State::Confirmed(confirmed) = &mut self.state {
            confirmed.reinvite.wanted = Some(holds);
            confirmed.reinvite.attempts = 0;
            self.pursue_reinvite(shared, now);
        }
    }

    /// Sends the re-INVITE that is wanted, if none is under way in either direction.
    pub(super) fn pursue_reinvite(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Confirmed { dialog, negotiation, unacknowledged, reinvite, hangs_up, .. } = &mut **confirmed;
        if *hangs_up || unacknowledged.is_some() || reinvite.pending.is_some() || reinvite.retry_at.is_some() {
            return;
        }
        let Some(holds) = reinvite.wanted.take() else {
            return;
        };
        let mut negotiation = negotiation.clone();
        negotiation.set_holds(holds);
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let builder = dialog
            .request(Method::Invite, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::Allow, ALLOW)
            .body(SDP, negotiation.offer().into());
        reinvite.attempts += 1;
        if let Some((client, request)) = shared.request(self.id, Purpose::Reinvite, flow, builder, now) {
            reinvite.pending = Some(Pending { client, holds, negotiation });
            self.invites.push(OwnInvite { id: client, request, acks: smallvec::SmallVec::new() });
        }
    }

    /// The pause after a collision may be over.
    pub(in crate::dialog) fn handle_reinvite_timeout(&mut self, shared: &mut Shared, now: Now) {
        if let State::Confirmed(confirmed) = &mut self.state
            && confirmed.reinvite.retry_at.take_if(|it| *it <= now.instant).is_some()
        {
            self.pursue_reinvite(shared, now);
        }
    }

    /// A response to a re-INVITE of ours.
    pub(in crate::dialog) fn handle_reinvite_response(
        &mut self,
        id: TransactionId,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        let status = response.status();
        if status.is_provisional() || (status.is_success() && self.acknowledge_again(id, response, shared, now)) {
            return;
        }
        if status.is_success()
            && let Some(dialog) = self.dialog_mut()
        {
            dialog.refresh_target(response.headers());
            let dialog = dialog.clone();
            self.acknowledge(id, &dialog, shared, now);
        }
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(Pending { holds, negotiation, .. }) = confirmed.reinvite.pending.take_if(|it| it.client == id) else {
            return;
        };
        confirmed.negotiation.remember(&negotiation);
        match status {
            _ if status.is_success() => {
                if let Ok(media) = negotiation.accept(response.body()) {
                    confirmed.negotiation = negotiation;
                    shared.tell(Event::Media { dialog: self.id, media });
                }
            }
            StatusCode::REQUEST_PENDING if confirmed.reinvite.attempts < REINVITE_ATTEMPTS_MAX => {
                let (from_ms, to_ms) = if confirmed.owns_call_id { (2_100, 4_000) } else { (0, 2_000) };
                let pause_ms = shared.transactions.tokens().back_off_ms(from_ms, to_ms);
                confirmed.reinvite.retry_at = Some(now.instant + Duration::from_millis(pause_ms));
                confirmed.reinvite.wanted.get_or_insert(holds);
            }
            StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                self.handle_peer_lost(Some(status), shared, now);
                return;
            }
            _ => (),
        }
        self.pursue_reinvite(shared, now);
    }

    /// The peer does not know the dialog, or does not answer in it (§12.2.1.2).
    pub(in crate::dialog) fn handle_peer_lost(&mut self, status: Option<StatusCode>, shared: &mut Shared, now: Now) {
        if status == Some(StatusCode::CALL_DOES_NOT_EXIST) {
            self.close(shared);
        } else {
            self.send_bye(shared, now);
        }
        let sip_status = status.map(StatusCode::code);
        self.tell_end(shared, End { cause: EndCause::PeerLost, sip_status, initiator: Initiator::Remote });
    }

    /// A re-INVITE of the peer.
    pub(in crate::dialog) fn handle_reinvite(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) {
        if let Err(refusal) = self.try_reinvite(server, request, body, shared, now) {
            let tag = self.dialog_mut().map(|it| it.local_tag.clone());
            shared.refuse(server, request, &refusal, tag.as_deref(), now);
        }
    }

    fn try_reinvite(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = self.id;
        let confirmed = self.changeable(shared)?;
        let Confirmed { dialog, negotiation, unacknowledged, .. } = confirmed;
        let (description, media, offer) = match body {
            Body::Sdp => {
                let (answer, media) = answer_to(request, negotiation, shared)?;
                (answer, Some(media), OfferInOk::None)
            }
            Body::None | Body::Other => {
                let mut changed = negotiation.clone();
                (changed.offer(), None, OfferInOk::Change(Box::new(changed)))
            }
        };
        dialog.refresh_target(request.headers());
        let reply = shared.ok(request, dialog, Some(description));
        let response = shared.respond(server, reply, now).ok_or(Refusal::Failed)?;
        let machine = Unacknowledged::new(response.to_bytes(), request.headers().cseq().number, now.instant);
        // A peer that sends the next INVITE has seen the 2xx to the one before.
        shared.count_unacknowledged(unacknowledged.is_some(), true);
        *unacknowledged = Some(AwaitedAck { server, machine, offer });
        if let Some(media) = media {
            shared.tell(Event::Media { dialog: id, media });
        }
        Ok(())
    }

    /// An UPDATE of the peer (RFC 3311 §5.2).
    pub(in crate::dialog) fn handle_update(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) {
        if let Err(refusal) = self.try_update(server, request, body, shared, now) {
            let tag = self.dialog_mut().map(|it| it.local_tag.clone());
            shared.refuse(server, request, &refusal, tag.as_deref(), now);
        }
    }

    fn try_update(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = self.id;
        if body != Body::Sdp {
            let dialog = self.dialog_mut().ok_or(Refusal::DoesNotExist)?;
            dialog.refresh_target(request.headers());
            let reply = shared.ok(request, dialog, None);
            shared.respond(server, reply, now);
            return Ok(());
        }
        let Confirmed { dialog, negotiation, .. } = self.changeable(shared)?;
        let (answer, media) = answer_to(request, negotiation, shared)?;
        dialog.refresh_target(request.headers());
        let reply = shared.ok(request, dialog, Some(answer));
        shared.respond(server, reply, now);
        shared.tell(Event::Media { dialog: id, media });
        Ok(())
    }

    /// The session, if an offer of the peer may come now (§14.2, RFC 3311 §5.2).
    fn changeable(&mut self, shared: &mut Shared) -> Result<&mut Confirmed, Refusal> {
        match &mut self.state {
            State::Confirmed(it) if it.hangs_up => Err(Refusal::DoesNotExist),
            State::Confirmed(it) if it.reinvite.pending.is_some() => Err(Refusal::RequestPending),
            State::Confirmed(it) if it.unacknowledged.as_ref().is_some_and(AwaitedAck::has_offer) => {
                Err(Refusal::RequestPending)
            }
            State::Confirmed(it) => Ok(it),
            State::Incoming(_) => {
                let seconds = shared.transactions.tokens().back_off_ms(0, 10_000) / 1_000;
                Err(Refusal::OutOfOrder { retry_after_s: u32::try_from(seconds).ok() })
            }
            State::Calling(_) | State::Ended(_) => Err(Refusal::DoesNotExist),
        }
    }
}

/// Answers the offer in `request`; nothing changes if it cannot be used.
fn answer_to(
    request: &Request,
    negotiation: &mut Negotiation,
    shared: &Shared,
) -> Result<(String, crate::dialog::offer_answer::MediaDescription), Refusal> {
    let offer = Offer::read(request.body(), &shared.config.capabilities, negotiation.local_ip());
    Ok(negotiation.answer(&offer.map_err(|it| it.refusal())?))
}
