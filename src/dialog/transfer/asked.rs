//! A transfer that the peer asks us for: RFC 3515 §2.4, the side that receives REFER, and RFC 4488.
//!
//! Nothing is done for a peer that the configuration does not let ask: 603. Nothing of a Refer-To is used but its URI and,
//! for a transfer to a call that is there, its Replaces; other header fields in it are refused.
//!
//! | input              | action                             | next     |
//! |--------------------|------------------------------------|----------|
//! | REFER              | tell                               | asked    |
//! | accepted           | 202, NOTIFY 100                    | accepted |
//! | refused            | its status                         | none     |
//! | progress           | NOTIFY                             | accepted |
//! | outcome, time over | NOTIFY that ends the subscription  | none     |
//!
//! One NOTIFY is under way at a time; of those that wait, the last one counts. A BYE of either side ends the subscription.

use std::time::{Duration, Instant};

use crate::dialog::Event;
use crate::dialog::session::{Session, State};
use crate::dialog::shared::{Purpose, Shared};
use crate::limits::TRANSFER_MS_MAX;
use crate::sip::{HeaderName, Method, NameAddr, Replaces, Request, Response, StatusCode, Uri};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::refusal::Refusal;

/// A transfer that the peer asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    progress: Progress,
    give_up_at: Instant,
}

/// How far it is.
#[derive(Debug)]
enum Progress {
    /// Nobody decided yet.
    Asked {
        server: TransactionId,
        request: Box<Request>,
    },
    Accepted {
        cseq: u32,
        is_silent: bool,
        notify: Option<TransactionId>,
        waiting: Option<StatusCode>,
        is_final: bool,
    },
}

/// What a peer asks for.
#[derive(Clone, Debug)]
pub(crate) struct TransferRequest {
    /// Whom to call, header fields left out.
    pub(crate) to: Uri,
    /// The dialog that the call is to take the place of.
    pub(crate) replaces: Option<Replaces>,
    /// Who asks, as it says.
    pub(crate) referred_by: Option<NameAddr>,
}

impl Asked {
    /// A NOTIFY was sent again, with credentials.
    pub(in crate::dialog) fn sent_again(&mut self, before: TransactionId, again: TransactionId) {
        if let Progress::Accepted { notify: Some(client), .. } = &mut self.progress
            && *client == before
        {
            *client = again;
        }
    }

    /// When to stop waiting for the outcome.
    pub(in crate::dialog) const fn gives_up_at(&self) -> Instant {
        self.give_up_at
    }
}

impl Session {
    /// A REFER of the peer.
    pub(in crate::dialog) fn handle_refer(
        &mut self,
        server: TransactionId,
        request: &Request,
        shared: &mut Shared,
        now: Now,
    ) {
        let refusal = match read(request) {
            Err(refusal) => refusal,
            Ok(_) if !shared.config.takes_transfers => Refusal::Declined,
            Ok(wanted) => match &mut self.state {
                State::Confirmed(it) if it.asked.is_some() => Refusal::RequestPending,
                State::Confirmed(it) if it.hangs_up.is_none() => {
                    let progress = Progress::Asked { server, request: Box::new(request.clone()) };
                    let give_up_at = now.instant + Duration::from_millis(TRANSFER_MS_MAX);
                    it.asked = Some(Asked { progress, give_up_at });
                    shared.tell(Event::TransferAsked { dialog: self.id, wanted: Box::new(wanted) });
                    return;
                }
                State::Confirmed(_) | State::Ended(_) => Refusal::DoesNotExist,
                State::Incoming(_) | State::Calling(_) => Refusal::Declined,
            },
        };
        let tag = self.local_tag.clone();
        shared.refuse(server, request, &refusal, Some(&tag), now);
    }

    /// Decides about the transfer that the peer asks for.
    pub(in crate::dialog) fn decide_transfer(&mut self, decision: Result<(), Refusal>, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(Asked { progress: Progress::Asked { server, request }, give_up_at }) =
            confirmed.asked.take_if(|it| matches!(it.progress, Progress::Asked { .. }))
        else {
            return;
        };
        if let Err(refusal) = decision {
            shared.refuse(server, &request, &refusal, Some(&confirmed.dialog.local_tag), now);
            return;
        }
        let is_silent = request.headers().get(&HeaderName::ReferSub).is_some_and(|it| it.starts_with("false"));
        let mut reply = shared.reply(&request, StatusCode::ACCEPTED, &confirmed.dialog);
        if is_silent {
            reply = reply.header(HeaderName::ReferSub, "false");
        }
        shared.respond(server, reply, now);
        let cseq = request.headers().cseq().number;
        let progress = Progress::Accepted { cseq, is_silent, notify: None, waiting: None, is_final: false };
        confirmed.asked = Some(Asked { progress, give_up_at });
        self.report_transfer(StatusCode::TRYING, shared, now);
    }

    /// Tells the peer how the transfer that it asked for goes. The first final status is the last that is told.
    pub(in crate::dialog) fn report_transfer(&mut self, status: StatusCode, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(Asked { progress: Progress::Accepted { is_final, waiting, is_silent, .. }, .. }) =
            &mut confirmed.asked
        else {
            return;
        };
        if *is_final {
            return;
        }
        *is_final = status.is_final();
        *waiting = Some(status);
        if *is_silent {
            confirmed.asked.take_if(|_| status.is_final());
            return;
        }
        self.pursue_notify(shared, now);
    }

    /// Sends the NOTIFY that waits, if nothing that it could overtake is under way.
    pub(in crate::dialog) fn pursue_notify(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(Asked { progress: Progress::Accepted { cseq, notify, waiting, .. }, give_up_at }) =
            &mut confirmed.asked
        else {
            return;
        };
        let is_busy = notify.is_some() || confirmed.reinvite.is_pending() || shared.is_waiting(self.id);
        let Some(status) = waiting.take_if(|_| !is_busy) else {
            return;
        };
        let dialog = &mut confirmed.dialog;
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let state = if status.is_final() {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={}", give_up_at.saturating_duration_since(now.instant).as_secs())
        };
        let body = format!("SIP/2.0 {status} {}\r\n", status.reason());
        let builder = dialog
            .request(Method::Notify, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::Event, format_args!("refer;id={cseq}"))
            .header(HeaderName::SubscriptionState, state)
            .body("message/sipfrag;version=2.0", body.into());
        match shared.request(self.id, Purpose::Notify, flow, builder, now) {
            Some((client, _)) => *notify = Some(client),
            None => confirmed.asked = None,
        }
    }

    /// A NOTIFY of ours is answered, or is not.
    pub(in crate::dialog) fn handle_notify_response(
        &mut self,
        id: TransactionId,
        response: Option<&Response>,
        shared: &mut Shared,
        now: Now,
    ) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(Asked { progress: Progress::Accepted { notify, waiting, is_final, .. }, .. }) = &mut confirmed.asked
        else {
            return;
        };
        if *notify != Some(id) || response.is_some_and(|it| it.status().is_provisional()) {
            return;
        }
        *notify = None;
        // A peer that does not know the subscription wants no more (RFC 6665 §4.2.2).
        let is_wanted = response.is_some_and(|it| it.status() != StatusCode::CALL_DOES_NOT_EXIST);
        if !is_wanted || (*is_final && waiting.is_none()) {
            confirmed.asked = None;
            return;
        }
        self.pursue_notify(shared, now);
    }

    /// Nobody tells how the transfer went, or nobody decided about it.
    pub(in crate::dialog) fn handle_asked_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Some(asked) = confirmed.asked.as_mut().filter(|it| it.give_up_at <= now.instant) else {
            return;
        };
        // The last NOTIFY has its own timer.
        asked.give_up_at = now.instant + Duration::from_millis(TRANSFER_MS_MAX);
        self.decide_transfer(Err(Refusal::Declined), shared, now);
        self.report_transfer(StatusCode::REQUEST_TIMEOUT, shared, now);
    }
}

/// What a REFER asks for (§2.4.1).
fn read(request: &Request) -> Result<TransferRequest, Refusal> {
    let headers = request.headers();
    let refer_to = headers.address(HeaderName::ReferTo).and_then(Result::ok);
    let refer_to = refer_to.ok_or(Refusal::BadRequest("Exactly One Refer-To"))?;
    let uri = refer_to.uri();
    let mut replaces = None;
    for (name, value) in uri.headers() {
        if !name.eq_ignore_ascii_case("Replaces") || replaces.is_some() {
            return Err(Refusal::Declined);
        }
        replaces = Some(Replaces::parse(&value).ok_or(Refusal::BadRequest("Malformed Replaces"))?);
    }
    let calls = uri.params().value("method").is_none_or(|it| it.eq_ignore_ascii_case("INVITE"));
    if !calls || uri.scheme() == crate::sip::Scheme::Other {
        return Err(Refusal::Declined);
    }
    let referred_by = headers.address(HeaderName::ReferredBy).and_then(Result::ok).map(|it| it.detached());
    Ok(TransferRequest { to: uri.without_headers().detached(), replaces, referred_by })
}
