//! Changing and refreshing a session: re-INVITE (RFC 3261 §14) and UPDATE (RFC 3311) from either side.
//!
//! A change that is refused leaves the session as it was. The media session is only ever told of a change, never replaced.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::unacknowledged::Unacknowledged;
use crate::dialog::Event;
use crate::dialog::end::{End, EndCause, Initiator};
use crate::dialog::inspection::{Body, SDP};
use crate::dialog::offer_answer::{Negotiation, Offer};
use crate::dialog::session::{AwaitedAck, Confirmed, OfferInOk, OwnInvite, Session, State};
use crate::dialog::session_timer::{Asked, Due, SessionTimer, Terms};
use crate::dialog::shared::{Purpose, Shared};
use crate::limits::{REINVITE_ATTEMPTS_MAX, REINVITE_MS_MAX};
use crate::sip::{HeaderName, Method, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::refusal::{ALLOW, Refusal};

/// Our re-INVITE or UPDATE: what is wanted and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Reinvite {
    wanted: Wanted,
    pending: Option<Pending>,
    /// After a collision (§14.1).
    retry_at: Option<Instant>,
    attempts: u8,
}

/// What is still to be asked.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// Whether the peer is to be on hold.
    holds: Option<bool>,
    /// Where our media session is now.
    local: Option<SocketAddr>,
    /// The session timer is to be started anew.
    refresh: bool,
    /// The least interval of the session timer, after a 422.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Pending {
    client: TransactionId,
    /// The peer's tag, which tells early dialogs apart.
    remote_tag: Box<str>,
    wanted: Wanted,
    /// What our side becomes if the peer agrees; `None` for an UPDATE without an offer.
    negotiation: Option<Negotiation>,
    /// A peer that says 100 can stay silent for ever.
    give_up_at: Instant,
}

impl Reinvite {
    /// When to try again, or to give up.
    pub(in crate::dialog) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.pending.as_ref().map(|it| it.give_up_at)).min()
    }

    /// Whether one is under way.
    pub(in crate::dialog) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// What was sent as `before` was sent again, with credentials.
    pub(in crate::dialog) fn sent_again(&mut self, before: TransactionId, again: TransactionId) {
        if let Some(pending) = self.pending.as_mut().filter(|it| it.client == before) {
            pending.client = again;
        }
    }

    /// Whether an offer of ours waits for its answer.
    pub(super) fn has_offered(&self) -> bool {
        self.pending.as_ref().is_some_and(|it| it.negotiation.is_some())
    }

    /// The same, where of several early dialogs only that with the peer of this tag goes on.
    pub(super) fn in_dialog_with(mut self, remote_tag: &str) -> Self {
        if let Some(lost) = self.pending.take_if(|it| &*it.remote_tag != remote_tag) {
            self.wanted = lost.wanted.and(self.wanted);
        }
        self
    }

    /// The same once the call is answered: what `negotiation` tells already is not wanted any more.
    pub(super) fn after_the_answer(mut self, negotiation: &Negotiation) -> Self {
        if negotiation.tells(self.wanted.holds, self.wanted.local) {
            (self.wanted.holds, self.wanted.local) = (None, None);
        }
        self
    }
}

impl Wanted {
    /// Whether it takes an offer.
    const fn is_change(&self) -> bool {
        self.holds.is_some() || self.local.is_some()
    }

    /// Both, where `later` is what was wanted after this.
    fn and(self, later: Self) -> Self {
        Self {
            holds: later.holds.or(self.holds),
            local: later.local.or(self.local),
            refresh: self.refresh || later.refresh,
            asked: later.asked.or(self.asked),
        }
    }
}

impl Session {
    /// Puts the peer on hold, or takes it back, as soon as no other change is under way.
    pub(in crate::dialog) fn hold(&mut self, holds: bool, shared: &mut Shared, now: Now) {
        self.want(Wanted { holds: Some(holds), ..Wanted::default() }, shared, now);
    }

    /// Tells the peer that our media session has moved to `local`, as soon as no other change is under way.
    pub(in crate::dialog) fn move_media(&mut self, local: SocketAddr, shared: &mut Shared, now: Now) {
        self.want(Wanted { local: Some(local), ..Wanted::default() }, shared, now);
    }

    fn want(&mut self, wanted: Wanted, shared: &mut Shared, now: Now) {
        let reinvite = match &mut self.state {
            State::Confirmed(it) => &mut it.reinvite,
            State::Incoming(it) => &mut it.reinvite,
            State::Calling(it) => &mut it.reinvite,
            State::Ended(_) => return,
        };
        reinvite.wanted = reinvite.wanted.and(wanted);
        reinvite.attempts = 0;
        self.pursue_reinvite(shared, now);
        self.pursue_early_offer(shared, now);
    }

    /// Whether an UPDATE may change the media of a call that is not answered (RFC 3311 §5.1): offer and answer are complete,
    /// and the one peer there is serves it.
    pub(in crate::dialog) fn takes_early_offers(&self) -> bool {
        match &self.state {
            State::Incoming(it) => it.is_agreed && it.answered.is_some() && it.dialog.takes_update,
            State::Calling(it) if !it.is_cancelled() => match &*self.early {
                [early] => early.is_agreed && early.dialog.takes_update,
                _ => false,
            },
            State::Calling(_) | State::Confirmed(_) | State::Ended(_) => false,
        }
    }

    /// Sends what is wanted of a call that is not answered in an UPDATE, if that may be. What cannot be said now, or is
    /// refused, is said again once the call is answered.
    pub(in crate::dialog) fn pursue_early_offer(&mut self, shared: &mut Shared, now: Now) {
        if !self.takes_early_offers() || shared.is_waiting(self.id) {
            return;
        }
        let (dialog, negotiation, reinvite) = match &mut self.state {
            State::Incoming(it) => match &it.answered {
                Some((negotiation, ..)) => (&mut it.dialog, negotiation, &mut it.reinvite),
                None => return,
            },
            State::Calling(it) => match self.early.first_mut() {
                Some(early) => (&mut early.dialog, &early.negotiation, &mut it.reinvite),
                None => return,
            },
            State::Confirmed(_) | State::Ended(_) => return,
        };
        let wanted = reinvite.wanted;
        if !wanted.is_change() || reinvite.attempts > 0 {
            return;
        }
        let (negotiation, offer) = negotiation.changed(wanted.holds, wanted.local);
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let builder = dialog
            .request(Method::Update, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, shared.supported())
            .body(SDP, offer.into());
        reinvite.attempts += 1;
        let remote_tag = dialog.remote_tag.clone();
        if let Some((client, _)) = shared.request(self.id, Purpose::Update, flow, builder, now) {
            let give_up_at = now.instant + Duration::from_millis(REINVITE_MS_MAX);
            reinvite.wanted = Wanted::default();
            reinvite.pending = Some(Pending { client, remote_tag, wanted, negotiation: Some(negotiation), give_up_at });
        }
    }

    /// What became of an UPDATE of ours in a call that is not answered. Whether it was one.
    fn handle_early_offer_response(
        &mut self,
        id: TransactionId,
        response: Option<&Response>,
        shared: &mut Shared,
    ) -> bool {
        let reinvite = match &mut self.state {
            State::Incoming(it) => &mut it.reinvite,
            State::Calling(it) => &mut it.reinvite,
            State::Confirmed(_) | State::Ended(_) => return false,
        };
        let Some(pending) = reinvite.pending.take_if(|it| it.client == id) else {
            return true;
        };
        let Pending { remote_tag, wanted, negotiation, .. } = pending;
        let Some(mut negotiation) = negotiation else {
            return true;
        };
        let agreed = response.filter(|it| it.status().is_success()).and_then(|it| negotiation.accept(it.body()).ok());
        if agreed.is_none() {
            reinvite.wanted = wanted.and(reinvite.wanted);
        }
        let early = self.early.iter_mut().find(|it| it.dialog.remote_tag == remote_tag);
        let (held, current) = match (&mut self.state, early) {
            (State::Incoming(it), _) => match &mut it.answered {
                Some((held, _, current)) => (held, Some(current)),
                None => return true,
            },
            (State::Calling(_), Some(early)) => (&mut early.negotiation, early.media.as_mut()),
            (State::Calling(_) | State::Confirmed(_) | State::Ended(_), _) => return true,
        };
        match agreed {
            Some(media) => {
                *held = negotiation;
                if let Some(current) = current {
                    current.clone_from(&media);
                }
                shared.tell(Event::Media { dialog: self.id, media });
            }
            None => held.remember(&negotiation),
        }
        true
    }

    /// Sends the re-INVITE or UPDATE that is wanted, if none is under way in either direction. Every one of them refreshes
    /// the session; one that changes nothing else is an UPDATE if the peer serves that.
    pub(in crate::dialog) fn pursue_reinvite(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Confirmed { dialog, negotiation, unacknowledged, reinvite, timer, hangs_up, .. } = &mut **confirmed;
        if hangs_up.is_some() || unacknowledged.is_some() || reinvite.pending.is_some() || reinvite.retry_at.is_some() {
            return;
        }
        let wanted = std::mem::take(&mut reinvite.wanted);
        if !wanted.is_change() && !wanted.refresh {
            return;
        }
        let is_invite = wanted.is_change() || !dialog.takes_update;
        if shared.is_waiting(self.id) {
            reinvite.wanted = wanted;
            return;
        }
        let (method, purpose) =
            if is_invite { (Method::Invite, Purpose::Reinvite) } else { (Method::Update, Purpose::Update) };
        let negotiation = is_invite.then(|| negotiation.changed(wanted.holds, wanted.local));
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let mut builder = dialog
            .request(method, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, shared.supported());
        if let Some(terms) = timer.as_ref().map(SessionTimer::terms) {
            builder = wanted.asked.unwrap_or_else(|| terms.ask()).write(builder, Some(terms));
        }
        let (negotiation, offer) = negotiation.unzip();
        if let Some(offer) = offer {
            builder = builder.body(SDP, offer.into());
        }
        reinvite.attempts += 1;
        if let Some((client, request)) = shared.request(self.id, purpose, flow, builder, now) {
            let give_up_at = now.instant + Duration::from_millis(REINVITE_MS_MAX);
            let remote_tag = dialog.remote_tag.clone();
            reinvite.pending = Some(Pending { client, remote_tag, wanted, negotiation, give_up_at });
            if is_invite {
                self.invites.push(OwnInvite { id: client, flow, request, acks: smallvec::SmallVec::new() });
            }
        }
    }

    /// The pause after a collision may be over, or the peer does not answer.
    pub(in crate::dialog) fn handle_reinvite_timeout(&mut self, shared: &mut Shared, now: Now) {
        if let State::Confirmed(confirmed) = &mut self.state
            && confirmed.reinvite.pending.take_if(|it| it.give_up_at <= now.instant).is_some()
        {
            self.handle_peer_lost(None, shared, now);
        }
        if let State::Confirmed(confirmed) = &mut self.state
            && confirmed.reinvite.retry_at.take_if(|it| *it <= now.instant).is_some()
        {
            self.pursue_reinvite(shared, now);
        }
    }

    /// The session may have to be refreshed, or to end because nobody did (RFC 4028 §10).
    pub(in crate::dialog) fn handle_session_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        match confirmed.timer.as_mut().and_then(|it| it.handle_timeout(now.instant)) {
            Some(Due::Refresh) => self.want(Wanted { refresh: true, ..Wanted::default() }, shared, now),
            Some(Due::End) => {
                self.send_bye(EndCause::SessionExpired, shared, now);
                let end = End {
                    cause: EndCause::SessionExpired,
                    sip_status: None,
                    initiator: Initiator::Local,
                    reason: None,
                };
                self.tell_end(shared, end);
            }
            None => (),
        }
    }

    /// A response to a re-INVITE or UPDATE of ours.
    pub(in crate::dialog) fn handle_reinvite_response(
        &mut self,
        id: TransactionId,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        let status = response.status();
        if status.is_final() && self.handle_early_offer_response(id, Some(response), shared) {
            return;
        }
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
        let Some(pending) = confirmed.reinvite.pending.take_if(|it| it.client == id) else {
            return;
        };
        match status {
            _ if status.is_success() => self.handle_reinvite_ok(pending, response, shared, now),
            StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                self.handle_peer_lost(Some(status), shared, now);
                return;
            }
            _ => confirmed.handle_reinvite_refused(&pending, response, shared, now),
        }
        self.pursue_reinvite(shared, now);
    }

    fn handle_reinvite_ok(&mut self, pending: Pending, response: &Response, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let current = confirmed.timer.as_ref().map(SessionTimer::terms);
        let terms = Terms::granted(response.headers()).or_else(|| current.filter(|it| it.we_refresh));
        confirmed.timer = terms.map(|it| SessionTimer::start(it, now.instant));
        confirmed.reinvite.wanted.refresh = false;
        let Some(mut negotiation) = pending.negotiation else {
            return;
        };
        confirmed.negotiation.remember(&negotiation);
        if let Ok(media) = negotiation.accept(response.body()) {
            confirmed.negotiation = negotiation;
            shared.tell(Event::Media { dialog: self.id, media });
        }
    }

    /// Nothing answers a re-INVITE, UPDATE or REFER of ours.
    pub(in crate::dialog) fn handle_unanswered(&mut self, id: TransactionId, shared: &mut Shared, now: Now) {
        if !self.handle_early_offer_response(id, None, shared) {
            self.handle_peer_lost(None, shared, now);
        }
    }

    /// The peer does not know the dialog, or does not answer in it (§12.2.1.2).
    pub(in crate::dialog) fn handle_peer_lost(&mut self, status: Option<StatusCode>, shared: &mut Shared, now: Now) {
        if status == Some(StatusCode::CALL_DOES_NOT_EXIST) {
            self.close(shared);
        } else {
            self.send_bye(EndCause::PeerLost, shared, now);
        }
        let sip_status = status.map(StatusCode::code);
        self.tell_end(
            shared,
            End { cause: EndCause::PeerLost, sip_status, initiator: Initiator::Remote, reason: None },
        );
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
        let Confirmed { dialog, negotiation, unacknowledged, timer, .. } = confirmed;
        let terms = agree_timer(request, timer.as_ref(), shared)?;
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
        let reply = shared.ok(request, dialog, Some(description), terms);
        let response = shared.respond(server, reply, now).ok_or(Refusal::Failed)?;
        *timer = terms.map(|it| SessionTimer::start(it, now.instant));
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
            let mut terms = None;
            if let State::Confirmed(confirmed) = &mut self.state {
                terms = agree_timer(request, confirmed.timer.as_ref(), shared)?;
                confirmed.timer = terms.map(|it| SessionTimer::start(it, now.instant));
            }
            let dialog = self.dialog_mut().ok_or(Refusal::DoesNotExist)?;
            dialog.refresh_target(request.headers());
            let reply = shared.ok(request, dialog, None, terms);
            shared.respond(server, reply, now);
            return Ok(());
        }
        if let State::Incoming(it) = &mut self.state
            && it.is_agreed
            && !it.reinvite.has_offered()
            && let Some((negotiation, _, agreed)) = &mut it.answered
        {
            let (answer, media) = answer_to(request, negotiation, shared)?;
            *agreed = media.clone();
            it.dialog.refresh_target(request.headers());
            let reply = shared.ok(request, &it.dialog, Some(answer), None);
            shared.respond(server, reply, now);
            shared.tell(Event::Media { dialog: id, media });
            return Ok(());
        }
        let Confirmed { dialog, negotiation, timer, .. } = self.changeable(shared)?;
        let terms = agree_timer(request, timer.as_ref(), shared)?;
        let (answer, media) = answer_to(request, negotiation, shared)?;
        dialog.refresh_target(request.headers());
        let reply = shared.ok(request, dialog, Some(answer), terms);
        shared.respond(server, reply, now);
        *timer = terms.map(|it| SessionTimer::start(it, now.instant));
        shared.tell(Event::Media { dialog: id, media });
        Ok(())
    }

    /// The session, if an offer of the peer may come now (§14.2, RFC 3311 §5.2).
    fn changeable(&mut self, shared: &mut Shared) -> Result<&mut Confirmed, Refusal> {
        match &mut self.state {
            State::Confirmed(it) if it.hangs_up.is_some() => Err(Refusal::DoesNotExist),
            State::Confirmed(it) if it.reinvite.has_offered() => Err(Refusal::RequestPending),
            State::Confirmed(it) if it.unacknowledged.as_ref().is_some_and(AwaitedAck::has_offer) => {
                Err(Refusal::RequestPending)
            }
            State::Confirmed(it) => Ok(it),
            State::Incoming(it) if it.early_offer.is_some() || it.reinvite.has_offered() => {
                Err(Refusal::RequestPending)
            }
            State::Incoming(_) => {
                let seconds = shared.transactions.tokens().back_off_ms(0, 10_000) / 1_000;
                Err(Refusal::OutOfOrder { retry_after_s: u32::try_from(seconds).ok() })
            }
            State::Calling(_) | State::Ended(_) => Err(Refusal::DoesNotExist),
        }
    }
}

impl Confirmed {
    /// A re-INVITE or UPDATE of ours is refused: the session goes on as it was, and what was wanted may be asked again.
    fn handle_reinvite_refused(&mut self, pending: &Pending, response: &Response, shared: &mut Shared, now: Now) {
        if let Some(negotiation) = &pending.negotiation {
            self.negotiation.remember(negotiation);
        }
        let can_retry = self.reinvite.attempts < REINVITE_ATTEMPTS_MAX;
        let mut again = pending.wanted;
        match response.status() {
            StatusCode::REQUEST_PENDING if can_retry => {
                let (from_ms, to_ms) = if self.owns_call_id { (2_100, 4_000) } else { (0, 2_000) };
                let pause_ms = shared.transactions.tokens().back_off_ms(from_ms, to_ms);
                self.reinvite.retry_at = Some(now.instant + Duration::from_millis(pause_ms));
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL if can_retry => {
                let terms = self.timer.as_ref().map(SessionTimer::terms);
                let asked = again.asked.or_else(|| terms.map(Terms::ask));
                again.asked = asked.and_then(|it| it.after_refusal(response.headers()));
                if again.asked.is_none() {
                    return;
                }
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if pending.negotiation.is_none() => {
                self.dialog.takes_update = false;
            }
            _ => return,
        }
        self.reinvite.wanted = again.and(self.reinvite.wanted);
    }
}

/// What the session timer becomes by a 2xx to `request`.
fn agree_timer(request: &Request, timer: Option<&SessionTimer>, shared: &Shared) -> Result<Option<Terms>, Refusal> {
    shared.config.session_timers.agree(request.headers(), timer.map(SessionTimer::terms))
}

/// Answers the offer in `request`; nothing changes if it cannot be used.
pub(super) fn answer_to(
    request: &Request,
    negotiation: &mut Negotiation,
    shared: &mut Shared,
) -> Result<(String, crate::dialog::offer_answer::MediaDescription), Refusal> {
    let rng = shared.transactions.tokens().rng();
    let (terms, local) = (negotiation.srtp_terms(), negotiation.local_ip());
    let offer = Offer::read(request.body(), negotiation.capabilities(), terms, local, rng);
    Ok(negotiation.answer(&offer.map_err(|it| it.refusal())?))
}
