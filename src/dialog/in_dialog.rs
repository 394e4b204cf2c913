//! Requests within a dialog: RFC 3261 §12.2.2, §15.1.2, and INFO with digits.
//!
//! REFER and NOTIFY are served within dialogs only. Outside, REFER is answered 403, since it would have us act for a
//! stranger, and NOTIFY 481.

use super::dtmf_info;
use super::end::{End, EndCause, Initiator, Reason};
use super::inspection::Body;
use super::session::{Session, State};
use super::shared::{Purpose, Shared};
use super::transfer::TransferOutcome;
use super::{Event, options_reply};
use crate::sip::{HeaderName, Method, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

impl Session {
    /// A response to a request of ours.
    pub(super) fn handle_response(
        &mut self,
        id: TransactionId,
        purpose: Purpose,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        match purpose {
            Purpose::Invite => self.handle_invite_response(id, response, shared, now),
            Purpose::Reinvite | Purpose::Update => self.handle_reinvite_response(id, response, shared, now),
            Purpose::Refer => self.handle_refer_response(id, response, shared, now),
            Purpose::Notify => self.handle_notify_response(id, Some(response), shared, now),
            Purpose::Info if response.status() == StatusCode::CALL_DOES_NOT_EXIST => {
                self.handle_peer_lost(Some(response.status()), shared, now);
            }
            Purpose::Bye | Purpose::Prack | Purpose::Info => (),
        }
    }

    /// A request of ours got no response.
    pub(super) fn handle_no_response(&mut self, id: TransactionId, purpose: Purpose, shared: &mut Shared, now: Now) {
        match purpose {
            Purpose::Invite => self.handle_invite_timeout(id, shared, now),
            Purpose::Reinvite | Purpose::Update | Purpose::Refer => self.handle_unanswered(id, shared, now),
            Purpose::Notify => self.handle_notify_response(id, None, shared, now),
            Purpose::Bye | Purpose::Prack | Purpose::Info => (),
        }
    }

    /// A request of the peer within the dialog, inspected, but not yet known to be in order.
    pub(super) fn handle_request(
        &mut self,
        server: TransactionId,
        flow: Flow,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) {
        if matches!(self.state, State::Calling(_)) {
            self.handle_early_request(server, flow, request, body, shared, now);
            return;
        }
        let is_ended = matches!(self.state, State::Ended(_));
        let Some(dialog) = self.dialog_mut().filter(|_| !is_ended || *request.method() == Method::Bye) else {
            shared.refuse(server, request, &Refusal::DoesNotExist, None, now);
            return;
        };
        let tag = dialog.local_tag.clone();
        if dialog.advance(request.headers().cseq().number).is_err() {
            shared.refuse(server, request, &Refusal::OutOfOrder { retry_after_s: None }, Some(&tag), now);
            return;
        }
        dialog.flow = flow;
        match request.method() {
            Method::Bye => self.handle_bye(server, request, shared, now),
            Method::Invite => self.handle_reinvite(server, request, body, shared, now),
            Method::Update => self.handle_update(server, request, body, shared, now),
            Method::Prack => {
                self.handle_prack(server, request, body, shared, now);
                self.pursue_early_offer(shared, now);
            }
            Method::Info => self.handle_info(server, request, body, &tag, shared, now),
            Method::Options => {
                let reply = options_reply(request, &tag, shared.supported());
                shared.respond(server, reply, now);
            }
            Method::Refer => self.handle_refer(server, request, shared, now),
            Method::Notify => self.handle_notify(server, request, shared, now),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Message
            | Method::Publish
            | Method::Other(_) => shared.refuse(server, request, &Refusal::MethodNotAllowed, Some(&tag), now),
        }
    }

    /// The peer hangs up. In the early dialog that ends the INVITE, too (§15.1.2).
    fn handle_bye(&mut self, server: TransactionId, request: &Request, shared: &mut Shared, now: Now) {
        if let Some(dialog) = self.dialog_mut() {
            let reply = Response::reply(request, StatusCode::OK).to_tag(request, &dialog.local_tag);
            shared.respond(server, reply, now);
        }
        let reason = Reason::of(request.headers());
        self.handle_cancel(reason, shared, now);
        self.end_asking(TransferOutcome::HungUp, shared);
        self.close(shared);
        self.tell_end(shared, End { cause: EndCause::HungUp, sip_status: None, initiator: Initiator::Remote, reason });
    }

    /// Digits are told; an INFO without a body asks whether we are alive.
    fn handle_info(
        &self,
        server: TransactionId,
        request: &Request,
        body: Body,
        tag: &str,
        shared: &mut Shared,
        now: Now,
    ) {
        let content_type = request.headers().get(&HeaderName::ContentType).unwrap_or_default();
        let refusal = match dtmf_info::parse(content_type, request.body()) {
            Some(digit) => {
                shared.tell(Event::Digit { dialog: self.id, digit });
                None
            }
            None if body != Body::Other => None,
            None if dtmf_info::is_readable(content_type) => Some(Refusal::BadRequest("Not A Digit")),
            None => Some(Refusal::UnsupportedMediaType(DIGITS)),
        };
        match refusal {
            Some(refusal) => shared.refuse(server, request, &refusal, Some(tag), now),
            None => {
                let reply = Response::reply(request, StatusCode::OK).to_tag(request, tag);
                shared.respond(server, reply, now);
            }
        }
    }
}

const DIGITS: &str = "application/dtmf-relay, application/dtmf";
