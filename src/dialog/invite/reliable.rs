//! Provisional responses that the peer has to acknowledge: RFC 3262 §3 and §5, the side that sends them. The other side is
//! with the calls that go out.
//!
//! | input            | action               | next         |
//! |------------------|----------------------|--------------|
//! | T1, 2*T1, 4*T1 … | send again           | waiting      |
//! | PRACK            | 200, what was queued | acknowledged |
//! | 64*T1            | refuse the INVITE    | given up     |
//!
//! They are sent so if the peer insists, or if it can and the configuration asks for it. One waits for its PRACK at a
//! time; of those that have to wait, the last one counts. A 2xx waits if a session description waits.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::reinvite::answer_to;
use super::uas::{Incoming, new_negotiation};
use crate::dialog::Event;
use crate::dialog::end::{End, EndCause, Initiator};
use crate::dialog::inspection::{Body, SDP};
use crate::dialog::session::{Session, State};
use crate::dialog::shared::Shared;
use crate::sip::{HeaderName, Headers, Method, RAck, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transaction::timers::T1;
use crate::transport::refusal::Refusal;

/// One provisional response that waits for its PRACK.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    status: StatusCode,
    response: Bytes,
    /// It holds an offer or an answer.
    pub(super) has_description: bool,
    again_at: Instant,
    interval: Duration,
    give_up_at: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Resend(StatusCode, Bytes),
    GiveUp,
}

/// What becomes of the provisional responses to one INVITE.
#[derive(Debug)]
pub(crate) struct Provisionals {
    mode: Mode,
    /// The number of the last one.
    rseq: u32,
    pub(super) unconfirmed: Option<Unconfirmed>,
    queued: Option<(StatusCode, Option<SocketAddr>)>,
}

/// A provisional response that a final one has overtaken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LatePrack {
    rseq: u32,
    cseq: u32,
}

/// How they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    Reliable,
    /// The peer takes no others.
    ReliableOnly,
}

impl Provisionals {
    /// Those to an INVITE with these `headers`. `rseq` is random (§3), and far enough from 2^31.
    pub(super) fn new(headers: &Headers, is_wanted: bool, rseq: u32) -> Self {
        let mode = if headers.lists(&HeaderName::Require, "100rel") {
            Mode::ReliableOnly
        } else if is_wanted && headers.lists(&HeaderName::Supported, "100rel") {
            Mode::Reliable
        } else {
            Mode::Plain
        };
        Self { mode, rseq, unconfirmed: None, queued: None }
    }

    /// When something is due.
    pub(in crate::dialog) fn poll_timeout(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|it| it.again_at.min(it.give_up_at))
    }
}

impl Provisionals {
    /// What a PRACK that comes after the final response names (§3).
    pub(super) fn late(&self, invite: &Request) -> Option<LatePrack> {
        self.unconfirmed.as_ref().map(|_| LatePrack { rseq: self.rseq, cseq: invite.headers().cseq().number })
    }
}

impl LatePrack {
    fn is_named_by(self, rack: &RAck) -> bool {
        let Self { rseq, cseq } = self;
        rack.rseq == rseq && rack.cseq.number == cseq && rack.cseq.method == Method::Invite
    }
}

impl Unconfirmed {
    fn new(status: StatusCode, response: Bytes, has_description: bool, now: Instant) -> Self {
        let give_up_at = now + T1.saturating_mul(64);
        Self { status, response, has_description, again_at: now + T1, interval: T1, give_up_at }
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.give_up_at <= now {
            return Some(Due::GiveUp);
        }
        if self.again_at > now {
            return None;
        }
        self.interval = self.interval.saturating_mul(2);
        self.again_at = now + self.interval;
        Some(Due::Resend(self.status, self.response.clone()))
    }
}

impl Session {
    /// Sends a provisional response. `local` is the address of our media session if it is to be heard early.
    pub(super) fn provide(&mut self, status: StatusCode, local: Option<SocketAddr>, shared: &mut Shared, now: Now) {
        let State::Incoming(it) = &mut self.state else {
            return;
        };
        if it.provisionals.unconfirmed.is_some() {
            it.provisionals.queued = Some((status, local));
            return;
        }
        let owes_offer = it.offer.is_none() && it.early_offer.is_none() && !it.is_agreed;
        let is_reliable = match it.provisionals.mode {
            Mode::Plain => false,
            Mode::Reliable => !owes_offer || local.is_some(),
            // The first one holds the offer (§5), so it waits for the media session.
            Mode::ReliableOnly if owes_offer && local.is_none() => {
                it.provisionals.queued = Some((status, None));
                return;
            }
            Mode::ReliableOnly => true,
        };
        let description = local.and_then(|local| it.early_description(local, is_reliable, shared));
        let mut reply = shared.reply(&it.request, status, &it.dialog);
        if is_reliable {
            it.provisionals.rseq += 1;
            reply = reply.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, it.provisionals.rseq);
        }
        let has_description = description.is_some();
        if let Some(description) = description {
            reply = reply.body(SDP, description.into());
        }
        let response = shared.respond(it.server, reply, now);
        if let Some(response) = response.filter(|_| is_reliable) {
            it.provisionals.unconfirmed =
                Some(Unconfirmed::new(status, response.to_bytes(), has_description, now.instant));
        }
    }

    /// The media session is ready: what waits for its address can be sent.
    pub(in crate::dialog) fn handle_media_ready(&mut self, local: SocketAddr, shared: &mut Shared, now: Now) {
        if let State::Incoming(it) = &mut self.state
            && it.provisionals.unconfirmed.is_none()
            && let Some((status, _)) = it.provisionals.queued.take()
        {
            self.provide(status, Some(local), shared, now);
        }
    }

    /// Sends a provisional response again, or gives up on its PRACK.
    pub(in crate::dialog) fn handle_provisional_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Incoming(it) = &mut self.state else {
            return;
        };
        match it.provisionals.unconfirmed.as_mut().and_then(|it| it.handle_timeout(now.instant)) {
            Some(Due::Resend(status, response)) => {
                shared.transactions.respond_bytes(it.server, status, response, now);
            }
            Some(Due::GiveUp) => {
                self.refuse_and_tell(&Refusal::Failed, EndCause::NotAcknowledged, shared, now);
            }
            None => (),
        }
    }

    /// A PRACK of the peer.
    pub(in crate::dialog) fn handle_prack(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) {
        match self.try_prack(server, request, body, shared, now) {
            Ok(()) => self.go_on_after_prack(shared, now),
            Err(refusal) => {
                let tag = self.dialog_mut().map(|it| it.local_tag.clone());
                shared.refuse(server, request, &refusal, tag.as_deref(), now);
            }
        }
    }

    fn try_prack(
        &mut self,
        server: TransactionId,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Refusal> {
        let rack = request.headers().rack().ok_or(Refusal::BadRequest("Missing RAck"))?;
        let rack = rack.or(Err(Refusal::BadRequest("Malformed RAck")))?;
        let id = self.id;
        let it = match &mut self.state {
            State::Incoming(it) => it,
            // A final response has overtaken it (§3).
            State::Confirmed(it) if it.late_prack.is_some_and(|it| it.is_named_by(&rack)) => {
                let reply = Response::reply(request, StatusCode::OK).to_tag(request, &it.dialog.local_tag);
                shared.respond(server, reply, now);
                return Ok(());
            }
            State::Confirmed(_) | State::Calling(_) | State::Ended(_) => return Err(Refusal::DoesNotExist),
        };
        if !it.provisionals.late(&it.request).is_some_and(|it| it.is_named_by(&rack)) {
            return Err(Refusal::DoesNotExist);
        }
        let reply = Response::reply(request, StatusCode::OK).to_tag(request, &it.dialog.local_tag);
        let has_offered = it.early_offer.is_some();
        let has_answered = it.provisionals.unconfirmed.as_ref().is_some_and(|it| it.has_description) && !has_offered;
        let mut media = None;
        let reply = if has_answered || (it.is_agreed && body == Body::Sdp) {
            it.is_agreed = true;
            match it.answered.as_mut().filter(|_| body == Body::Sdp) {
                Some((negotiation, _, agreed)) => {
                    let (answer, changed) = answer_to(request, negotiation, shared)?;
                    *agreed = changed.clone();
                    media = Some(changed);
                    reply.body(SDP, answer.into())
                }
                None => reply,
            }
        } else {
            reply
        };
        it.provisionals.unconfirmed = None;
        shared.respond(server, reply, now);
        if let Some(mut offered) = it.early_offer.take() {
            let Ok(agreed) = offered.accept(request.body()) else {
                let refusal = Refusal::NotAcceptable(305, "No usable answer");
                self.refuse_and_tell(&refusal, EndCause::NoCommonMedia, shared, now);
                return Ok(());
            };
            it.answered = Some((offered, String::new(), agreed.clone()));
            it.is_agreed = true;
            media = Some(agreed);
        }
        if let Some(media) = media {
            shared.tell(Event::Media { dialog: id, media });
        }
        Ok(())
    }

    /// What waited for the PRACK.
    fn go_on_after_prack(&mut self, shared: &mut Shared, now: Now) {
        let State::Incoming(it) = &mut self.state else {
            return;
        };
        let queued = it.provisionals.queued.take();
        if let Some(local) = it.wants_answer.take() {
            self.answer(local, shared, now);
        } else if let Some((status, local)) = queued {
            self.provide(status, local, shared, now);
        }
    }

    fn refuse_and_tell(&mut self, refusal: &Refusal, cause: EndCause, shared: &mut Shared, now: Now) {
        self.reject(refusal, shared, now);
        let sip_status = Some(refusal.status().code());
        self.tell_end(shared, End { cause, sip_status, initiator: Initiator::Local, reason: None });
    }
}

impl Incoming {
    /// The answer to the offer in the INVITE, or if it had none and the response is reliable, an offer.
    fn early_description(&mut self, local: SocketAddr, is_reliable: bool, shared: &mut Shared) -> Option<String> {
        if self.is_agreed {
            return None;
        }
        if self.offer.is_some() {
            self.fix_answer(local, shared);
            return self.answered.as_ref().map(|(_, answer, _)| answer.clone());
        }
        if !is_reliable || self.early_offer.is_some() {
            return None;
        }
        let flow = self.dialog.flow;
        let mut negotiation = new_negotiation(self.id, local, flow, flow.kind.is_websocket(), shared);
        let offer = negotiation.offer();
        self.early_offer = Some(negotiation);
        Some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provisional_is_sent_again_in_doubling_steps_and_given_up_after_32_s() {
        let start = Now::origin().instant;
        let mut machine = Unconfirmed::new(StatusCode::RINGING, Bytes::from_static(b"180"), false, start);
        let mut log = vec![];
        loop {
            let now = machine.again_at.min(machine.give_up_at);
            assert_eq!(machine.handle_timeout(now - Duration::from_millis(1)), None, "early calls do nothing");
            let due = machine.handle_timeout(now).expect("its time has come");
            log.push((now - start).as_secs_f64());
            if due == Due::GiveUp {
                break;
            }
        }
        assert_eq!(log, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 32.0]);
    }
}
