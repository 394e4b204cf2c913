//! An INVITE that comes in: RFC 3261 §13.3, its CANCEL (§9.2) and its ACK.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::reinvite::Reinvite;
use super::reliable::Provisionals;
use super::unacknowledged::{Due, Unacknowledged};
use crate::dialog::end::{End, EndCause, Initiator, Reason};
use crate::dialog::inspection::Body;
use crate::dialog::offer_answer::{MediaDescription, Negotiation, Offer};
use crate::dialog::session::{AwaitedAck, Confirmed, OfferInOk, Session, State};
use crate::dialog::session_timer::{SessionTimer, Terms};
use crate::dialog::shared::Shared;
use crate::dialog::state::Dialog;
use crate::dialog::{DialogId, Event, Offered};
use crate::sip::{Request, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

/// A call that comes in and is not answered finally.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(super) id: DialogId,
    pub(super) server: TransactionId,
    pub(super) request: Request,
    pub(in crate::dialog) dialog: Dialog,
    pub(super) offer: Option<Offer>,
    /// What the 200 agrees to.
    timer: Option<Terms>,
    /// Fixed by a 183, and the same in the 200 (RFC 3261 §13.2.1).
    pub(super) answered: Option<(Negotiation, String, MediaDescription)>,
    /// An offer of ours in an 18x, whose answer the PRACK brings.
    pub(super) early_offer: Option<Negotiation>,
    /// Offer and answer are complete before the 2xx, which says nothing more about them (RFC 3262 §5).
    pub(super) is_agreed: bool,
    pub(in crate::dialog) provisionals: Provisionals,
    /// The call is to be answered once the PRACK is there.
    pub(super) wants_answer: Option<SocketAddr>,
    /// What the peer is to be told before or after the answer.
    pub(in crate::dialog) reinvite: Reinvite,
}

impl Session {
    /// Takes a new INVITE, or says why not.
    pub(in crate::dialog) fn from_invite(
        id: DialogId,
        server: TransactionId,
        flow: Flow,
        request: Request,
        body: Body,
        replaces: Option<DialogId>,
        shared: &mut Shared,
    ) -> Result<Self, Refusal> {
        let timer = shared.config.session_timers.agree(request.headers(), None)?;
        // Whose it is, the layer above may find out better: an offer is of use that is for one of them.
        let mut likely = shared.peers.at(flow, Some(&request)).into_iter();
        let mut peer = likely.next();
        let offer = match body {
            Body::Sdp => {
                let mut read = read_offer(&request, flow, peer, shared);
                while let (Err(_), Some(other)) = (&read, likely.next()) {
                    peer = Some(other);
                    read = read_offer(&request, flow, peer, shared).or(read);
                }
                Some(read?)
            }
            Body::None | Body::Other => None,
        };
        let tag = shared.transactions.tokens().tag();
        let dialog = Dialog::from_request(&request, &tag, flow);
        let dialog = dialog.or(Err(Refusal::BadRequest("Missing Contact Or Malformed Record-Route")))?;
        let media = offer.as_ref().map(Offer::media);
        shared.peers.assign(id, peer);
        shared.tell(Event::Offered(Box::new(Offered { dialog: id, flow, request: request.clone(), media, replaces })));
        let rseq = shared.transactions.tokens().rseq();
        let provisionals = Provisionals::new(request.headers(), shared.config.reliable_provisionals, rseq);
        let incoming = Incoming {
            id,
            server,
            request,
            dialog,
            offer,
            timer,
            answered: None,
            early_offer: None,
            is_agreed: false,
            provisionals,
            wants_answer: None,
            reinvite: Reinvite::default(),
        };
        let mut session = Self::new(id, &tag, State::Incoming(Box::new(incoming)));
        session.server = Some(server);
        Ok(session)
    }

    /// It is the call of this peer: what can be agreed on with it may be something else.
    pub(in crate::dialog) fn assign(
        &mut self,
        peer: Option<usize>,
        shared: &mut Shared,
    ) -> Result<Option<MediaDescription>, Refusal> {
        shared.peers.assign(self.id, peer);
        let State::Incoming(incoming) = &mut self.state else {
            return Ok(None);
        };
        if incoming.offer.is_some() {
            incoming.offer = Some(read_offer(&incoming.request, incoming.dialog.flow, peer, shared)?);
        }
        Ok(incoming.offer.as_ref().map(Offer::media))
    }

    /// Sends 180.
    pub(in crate::dialog) fn ring(&mut self, shared: &mut Shared, now: Now) {
        self.provide(StatusCode::RINGING, None, shared, now);
    }

    /// Sends 183, with the answer to the offer if there is one, so that audio may flow before the call is answered.
    pub(in crate::dialog) fn progress(&mut self, local: SocketAddr, shared: &mut Shared, now: Now) {
        self.provide(StatusCode::SESSION_PROGRESS, Some(local), shared, now);
    }

    /// Sends 200, which starts the session. `local` is the address of our media session.
    pub(in crate::dialog) fn answer(&mut self, local: SocketAddr, shared: &mut Shared, now: Now) {
        let state = std::mem::replace(&mut self.state, State::Ended(None));
        let State::Incoming(mut incoming) = state else {
            self.state = state;
            return;
        };
        // A 2xx may not overtake a session description (RFC 3262 §3).
        if incoming.provisionals.unconfirmed.as_ref().is_some_and(|it| it.has_description) {
            incoming.wants_answer = Some(local);
            self.state = State::Incoming(incoming);
            return;
        }
        incoming.fix_answer(local, shared);
        let Incoming { server, request, dialog, answered, timer, is_agreed, provisionals, reinvite, .. } = *incoming;
        let late_prack = provisionals.late(&request);
        let (negotiation, description, media, offer) = match answered {
            Some((negotiation, answer, media)) => {
                (negotiation, Some(answer).filter(|_| !is_agreed), Some(media), OfferInOk::None)
            }
            None => {
                let mut negotiation =
                    new_negotiation(self.id, local, dialog.flow, dialog.flow.kind.is_websocket(), shared);
                let description = negotiation.offer();
                (negotiation, Some(description), None, OfferInOk::First)
            }
        };
        let reply = shared.ok(&request, &dialog, description, timer);
        let response = shared.respond(server, reply, now);
        let machine =
            response.map(|it| Unacknowledged::new(it.to_bytes(), request.headers().cseq().number, now.instant));
        shared.count_unacknowledged(false, machine.is_some());
        self.state = State::Confirmed(Box::new(Confirmed {
            dialog,
            unacknowledged: machine.map(|machine| AwaitedAck { server, machine, offer }),
            reinvite: reinvite.after_the_answer(&negotiation),
            negotiation,
            timer: timer.map(|it| SessionTimer::start(it, now.instant)),
            late_prack,
            asking: None,
            asked: None,
            pressed: VecDeque::new(),
            hangs_up: None,
            owns_call_id: false,
        }));
        shared.tell(Event::Answered { dialog: self.id, media });
    }

    /// Refuses the call.
    pub(in crate::dialog) fn reject(&mut self, refusal: &Refusal, shared: &mut Shared, now: Now) {
        if let State::Incoming(it) = &self.state {
            shared.refuse(it.server, &it.request, refusal, Some(&it.dialog.local_tag), now);
            self.close(shared);
        }
    }

    /// The caller gave up: by CANCEL, or by a BYE in the early dialog. Without effect once the call is answered.
    pub(in crate::dialog) fn handle_cancel(&mut self, reason: Option<Reason>, shared: &mut Shared, now: Now) {
        if matches!(self.state, State::Incoming(_)) {
            self.reject(&Refusal::Terminated, shared, now);
            let status = Refusal::Terminated.status().code();
            let end =
                End { cause: EndCause::Cancelled, sip_status: Some(status), initiator: Initiator::Remote, reason };
            self.tell_end(shared, end);
        }
    }

    /// An ACK within the dialog.
    pub(in crate::dialog) fn handle_ack(&mut self, request: &Request, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let cseq = request.headers().cseq().number;
        let Some(mut awaited) = confirmed.unacknowledged.take_if(|it| it.machine.is_acknowledged_by(cseq)) else {
            return;
        };
        shared.count_unacknowledged(true, false);
        let answer = match &mut awaited.offer {
            OfferInOk::None => None,
            OfferInOk::First => Some(confirmed.negotiation.accept(request.body())),
            OfferInOk::Change(changed) => Some(changed.accept(request.body())),
        };
        let hangs_up = confirmed.hangs_up;
        match (answer, awaited.offer) {
            (None, _) => (),
            (Some(Ok(media)), offer) => {
                if let OfferInOk::Change(changed) = offer {
                    confirmed.negotiation = *changed;
                }
                shared.tell(Event::Media { dialog: self.id, media });
            }
            // The session goes on as it was (§14.2).
            (Some(Err(_unusable)), OfferInOk::Change(changed)) => confirmed.negotiation.remember(&changed),
            (Some(Err(_unusable)), OfferInOk::None | OfferInOk::First) => {
                self.send_bye(EndCause::NoCommonMedia, shared, now);
                let end =
                    End { cause: EndCause::NoCommonMedia, sip_status: None, initiator: Initiator::Local, reason: None };
                self.tell_end(shared, end);
                return;
            }
        }
        if let Some(cause) = hangs_up {
            self.send_bye(cause, shared, now);
        } else {
            self.pursue(shared, now);
        }
    }

    /// Sends a 2xx again, or gives up on its ACK.
    pub(in crate::dialog) fn handle_ack_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(awaited) = &mut confirmed.unacknowledged else {
            return;
        };
        match awaited.machine.handle_timeout(now.instant) {
            Some(Due::Resend(response)) => {
                shared.transactions.respond_bytes(awaited.server, StatusCode::OK, response, now);
            }
            Some(Due::GiveUp) => {
                self.send_bye(EndCause::NotAcknowledged, shared, now);
                let end = End {
                    cause: EndCause::NotAcknowledged,
                    sip_status: None,
                    initiator: Initiator::Local,
                    reason: None,
                };
                self.tell_end(shared, end);
            }
            None => (),
        }
    }
}

impl Incoming {
    /// Answers the offer, if there is one and it is not answered yet.
    pub(super) fn fix_answer(&mut self, local: SocketAddr, shared: &mut Shared) {
        if let (None, Some(offer)) = (&self.answered, &self.offer) {
            let flow = self.dialog.flow;
            let mut negotiation = new_negotiation(self.id, local, flow, flow.kind.is_websocket(), shared);
            let (answer, media) = negotiation.answer(offer);
            self.answered = Some((negotiation, answer, media));
        }
    }
}

/// The offer of an INVITE, as far as it is of use with that peer.
fn read_offer(request: &Request, flow: Flow, peer: Option<usize>, shared: &mut Shared) -> Result<Offer, Refusal> {
    let capabilities = shared.capabilities(peer).clone();
    let terms = capabilities.srtp_terms(flow.kind.is_secure());
    let rng = shared.transactions.tokens().rng();
    let offer = Offer::read(request.body(), &capabilities, terms, flow.local.ip(), rng);
    offer.map_err(|it| it.refusal())
}

/// Our side of the offers and answers of a new dialog. Who is at the other end of a websocket is a browser, as far as is
/// known before it says anything.
pub(super) fn new_negotiation(
    id: DialogId,
    local: SocketAddr,
    flow: Flow,
    is_browser: bool,
    shared: &mut Shared,
) -> Negotiation {
    let session_id = shared.transactions.tokens().session_id();
    let capabilities = shared.capabilities(shared.peers.of_session(id)).clone();
    let terms = capabilities.srtp_terms(flow.kind.is_secure());
    Negotiation::new(capabilities, terms, session_id, local, is_browser, shared.transactions.tokens().rng())
}
