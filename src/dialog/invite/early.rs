//! The early dialogs of a call that goes out: RFC 3261 §12.1.2 and §13.2.2.1, the acknowledgement of their provisional
//! responses (RFC 3262 §4), and UPDATE within them (RFC 3311). A forked INVITE makes several.

use super::reinvite::answer_to;
use crate::dialog::end::EndCause;
use crate::dialog::inspection::Body;
use crate::dialog::offer_answer::{MediaDescription, Negotiation};
use crate::dialog::session::{Session, State};
use crate::dialog::shared::{Purpose, Shared};
use crate::dialog::state::Dialog;
use crate::dialog::{Event, options_reply};
use crate::limits::FORKS_MAX;
use crate::sip::{HeaderName, Method, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

/// One early dialog.
#[derive(Debug)]
pub(crate) struct Early {
    pub(in crate::dialog) dialog: Dialog,
    /// Our side of what is offered and answered in it.
    pub(super) negotiation: Negotiation,
    /// The number of the last provisional response that we acknowledged.
    rseq: Option<u32>,
    /// What its session description means, and whether that is final.
    pub(super) media: Option<MediaDescription>,
    pub(super) is_agreed: bool,
}

impl Early {
    /// Whether offer and answer are complete, so that what a 2xx says about them does not count.
    pub(super) fn agreed(&self) -> Option<MediaDescription> {
        if self.is_agreed { self.media.clone() } else { None }
    }
}

impl Session {
    /// A provisional response above 100 to our INVITE. `None` if it is a copy or out of order; otherwise its media, if it
    /// has some.
    pub(super) fn note_provisional(
        &mut self,
        response: &Response,
        flow: Flow,
        negotiation: &Negotiation,
        shared: &mut Shared,
        now: Now,
    ) -> Option<Option<MediaDescription>> {
        let headers = response.headers();
        let tag = headers.to().tag().unwrap_or_default();
        if response.status() == StatusCode::EARLY_DIALOG_TERMINATED {
            self.early.retain(|it| &*it.dialog.remote_tag != tag);
            return None;
        }
        let invite = &self.invites.last()?.request;
        let cseq = invite.headers().cseq().number;
        if tag.is_empty() {
            // RFC 2543 let 1xx go without a tag; there is no dialog then.
            return Some(negotiation.clone().accept(response.body()).ok());
        }
        let index = match self.early.iter().position(|it| &*it.dialog.remote_tag == tag) {
            Some(index) => index,
            None if self.early.len() >= FORKS_MAX => return None,
            None => {
                let dialog = Dialog::from_response(invite, response, flow).ok()?;
                let negotiation = negotiation.clone();
                self.early.push(Early { dialog, negotiation, rseq: None, media: None, is_agreed: false });
                self.early.len() - 1
            }
        };
        let early = self.early.get_mut(index)?;
        let rseq = headers.rseq().and_then(Result::ok).filter(|_| headers.lists(&HeaderName::Require, "100rel"));
        if let Some(rseq) = rseq {
            if early.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
                return None;
            }
            early.rseq = Some(rseq);
            early.dialog.refresh_target(headers);
        }
        let media = if early.is_agreed { None } else { early.negotiation.accept(response.body()).ok() };
        if media.is_some() {
            early.media.clone_from(&media);
            early.is_agreed = rseq.is_some();
        }
        if let Some(rseq) = rseq {
            let flow = shared.way_out(&early.dialog);
            let via = shared.transactions.next_via(flow);
            let prack = early.dialog.request(Method::Prack, &via);
            let prack = prack.header(HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
            shared.request(self.id, Purpose::Prack, flow, prack, now);
        }
        Some(media)
    }

    /// The dialog of a 2xx goes on from the early one with the same tag, which is forgotten.
    pub(super) fn take_early(&mut self, dialog: &mut Dialog) -> Option<Early> {
        let index = self.early.iter().position(|it| it.dialog.remote_tag == dialog.remote_tag)?;
        let early = self.early.swap_remove(index);
        dialog.go_on_from(&early.dialog);
        Some(early)
    }

    /// A request of the peer in an early dialog of our call.
    pub(in crate::dialog) fn handle_early_request(
        &mut self,
        server: TransactionId,
        flow: Flow,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) {
        let tag = self.local_tag.clone();
        if *request.method() == Method::Bye {
            // It answered, and hung up before we knew.
            let reply = Response::reply(request, StatusCode::OK).to_tag(request, &tag);
            shared.respond(server, reply, now);
            self.early.retain(|it| !it.dialog.is_of(request));
            if self.early.is_empty() {
                self.cancel(EndCause::HungUp.reason(), shared, now);
            }
            return;
        }
        if let Err(refusal) = self.try_early_request(server, flow, request, body, shared, now) {
            shared.refuse(server, request, &refusal, Some(&tag), now);
        }
    }

    fn try_early_request(
        &mut self,
        server: TransactionId,
        flow: Flow,
        request: &Request,
        body: Body,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = self.id;
        let is_calling = matches!(self.state, State::Calling(_));
        let has_offered = matches!(&self.state, State::Calling(it) if it.reinvite.has_offered());
        let early = self.early.iter_mut().find(|it| it.dialog.is_of(request)).filter(|_| is_calling);
        let early = early.ok_or(Refusal::DoesNotExist)?;
        let in_order = early.dialog.advance(request.headers().cseq().number);
        in_order.or(Err(Refusal::OutOfOrder { retry_after_s: None }))?;
        early.dialog.flow = flow;
        let reply = if *request.method() == Method::Options {
            options_reply(request, &early.dialog.local_tag, shared.supported())
        } else if *request.method() != Method::Update {
            // Its 200 is late or lost.
            return Err(Refusal::OutOfOrder { retry_after_s: Some(1) });
        } else if body != Body::Sdp {
            early.dialog.refresh_target(request.headers());
            shared.ok(request, &early.dialog, None, None)
        } else if has_offered {
            return Err(Refusal::RequestPending);
        } else if early.is_agreed {
            let (answer, media) = answer_to(request, &mut early.negotiation, shared)?;
            early.dialog.refresh_target(request.headers());
            early.media = Some(media.clone());
            shared.tell(Event::Media { dialog: id, media });
            shared.ok(request, &early.dialog, Some(answer), None)
        } else {
            return Err(Refusal::RequestPending);
        };
        shared.respond(server, reply, now);
        Ok(())
    }
}
