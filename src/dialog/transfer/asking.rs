//! A transfer that we ask the peer for: RFC 3515 §2.4, the side that sends REFER.
//!
//! | input                               | outcome                       |
//! |-------------------------------------|-------------------------------|
//! | 300–699 to the REFER                | refused                       |
//! | NOTIFY with 100–199                 |                               |
//! | NOTIFY with 200–299                 | succeeded                     |
//! | NOTIFY with 300–699                 | failed                        |
//! | NOTIFY that ends the subscription   | unknown                       |
//! | 2xx with Refer-Sub: false           | unknown                       |
//! | BYE of the peer                     | hung up                       |
//! | nothing for the time a call rings   | unknown                       |
//!
//! A NOTIFY may come before the 2xx to the REFER.

use std::time::{Duration, Instant};

use super::{TransferOutcome, status_in};
use crate::dialog::Event;
use crate::dialog::session::{Confirmed, Session, State};
use crate::dialog::shared::{Purpose, Shared};
use crate::limits::TRANSFER_MS_MAX;
use crate::sip::{HeaderName, Method, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::refusal::Refusal;

/// A transfer that we asked for, until its subscription ends.
#[derive(Debug)]
pub(crate) struct Asking {
    refer_to: Box<str>,
    sent: Option<Sent>,
    is_told: bool,
    give_up_at: Instant,
}

/// A REFER that is out.
#[derive(Clone, Copy, Debug)]
struct Sent {
    client: TransactionId,
    /// Its number, which names its subscription (§2.4.6).
    cseq: u32,
}

impl Asking {
    /// When to stop waiting.
    pub(in crate::dialog) const fn gives_up_at(&self) -> Instant {
        self.give_up_at
    }

    /// The REFER was sent again, with credentials.
    pub(in crate::dialog) fn sent_again(&mut self, before: TransactionId, again: TransactionId, cseq: u32) {
        if self.sent.is_some_and(|it| it.client == before) {
            self.sent = Some(Sent { client: again, cseq });
        }
    }

    /// Takes note that an outcome is told. Whether it is the first.
    const fn is_first_outcome(&mut self) -> bool {
        !std::mem::replace(&mut self.is_told, true)
    }
}

impl Session {
    /// Asks the peer to call what `refer_to` names. Whether that was possible.
    pub(in crate::dialog) fn refer(&mut self, refer_to: &str, shared: &mut Shared, now: Now) -> bool {
        let State::Confirmed(confirmed) = &mut self.state else {
            return false;
        };
        if confirmed.asking.is_some() || confirmed.hangs_up.is_some() {
            return false;
        }
        let give_up_at = now.instant + Duration::from_millis(TRANSFER_MS_MAX);
        confirmed.asking = Some(Asking { refer_to: refer_to.into(), sent: None, is_told: false, give_up_at });
        self.pursue_refer(shared, now);
        true
    }

    /// Sends the REFER that waits, once the call is acknowledged and nothing that it could overtake is under way.
    pub(in crate::dialog) fn pursue_refer(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Confirmed { dialog, asking, unacknowledged, reinvite, hangs_up, .. } = &mut **confirmed;
        let Some(asking) = asking.as_mut().filter(|it| it.sent.is_none()) else {
            return;
        };
        let is_busy = reinvite.is_pending() || shared.is_waiting(self.id);
        if unacknowledged.is_some() || hangs_up.is_some() || is_busy {
            return;
        }
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let builder = dialog
            .request(Method::Refer, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::ReferTo, format_args!("<{}>", asking.refer_to))
            .header(HeaderName::ReferredBy, format_args!("<{contact}>"));
        match shared.request(self.id, Purpose::Refer, flow, builder, now) {
            Some((client, request)) => asking.sent = Some(Sent { client, cseq: request.headers().cseq().number }),
            None => self.end_asking(TransferOutcome::NotPossible, shared),
        }
    }

    /// A response to our REFER.
    pub(in crate::dialog) fn handle_refer_response(
        &mut self,
        id: TransactionId,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        let status = response.status();
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        if status.is_provisional() || confirmed.asking.as_ref().and_then(|it| it.sent).is_none_or(|it| it.client != id)
        {
            return;
        }
        if status.is_success() {
            let is_silent = response.headers().get(&HeaderName::ReferSub).is_some_and(|it| it.starts_with("false"));
            if is_silent {
                self.end_asking(TransferOutcome::Unknown, shared);
            }
            return;
        }
        self.end_asking(TransferOutcome::Refused(status.code()), shared);
        if matches!(status, StatusCode::CALL_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT) {
            self.handle_peer_lost(Some(status), shared, now);
        }
    }

    /// Nothing tells how the transfer went.
    pub(in crate::dialog) fn handle_asking_timeout(&mut self, shared: &mut Shared, now: Now) {
        if let State::Confirmed(confirmed) = &self.state
            && confirmed.asking.as_ref().is_some_and(|it| it.give_up_at <= now.instant)
        {
            self.end_asking(TransferOutcome::Unknown, shared);
        }
    }

    /// The transfer is over; how is told once.
    pub(in crate::dialog) fn end_asking(&mut self, outcome: TransferOutcome, shared: &mut Shared) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        if let Some(mut asking) = confirmed.asking.take()
            && asking.is_first_outcome()
        {
            let outcome = if asking.sent.is_some() { outcome } else { TransferOutcome::NotPossible };
            shared.tell(Event::Transferred { dialog: self.id, outcome });
        }
    }

    /// A NOTIFY of the peer.
    pub(in crate::dialog) fn handle_notify(
        &mut self,
        server: TransactionId,
        request: &Request,
        shared: &mut Shared,
        now: Now,
    ) {
        let tag = self.local_tag.clone();
        match self.try_notify(request, shared) {
            Ok(()) => {
                let reply = Response::reply(request, StatusCode::OK).to_tag(request, &tag);
                shared.respond(server, reply, now);
            }
            Err(refusal) => shared.refuse(server, request, &refusal, Some(&tag), now),
        }
    }

    fn try_notify(&mut self, request: &Request, shared: &mut Shared) -> Result<(), Refusal> {
        let headers = request.headers();
        let (event, params) = split_first(headers.get(&HeaderName::Event).unwrap_or_default());
        if !event.eq_ignore_ascii_case("refer") {
            return Err(Refusal::BadEvent);
        }
        let id = params.split(';').find_map(|it| it.trim().strip_prefix("id="));
        let state = headers.get(&HeaderName::SubscriptionState);
        let (state, _) = split_first(state.ok_or(Refusal::BadRequest("Missing Subscription-State"))?);
        let State::Confirmed(confirmed) = &mut self.state else {
            return Err(Refusal::DoesNotExist);
        };
        let is_named = |sent: Sent| id.is_none_or(|id| id.parse() == Ok(sent.cseq));
        let asking = confirmed.asking.as_mut().filter(|it| it.sent.is_some_and(is_named));
        let asking = asking.ok_or(Refusal::DoesNotExist)?;
        let status = status_in(request);
        if let Some(status) = status.filter(|it| it.is_final())
            && asking.is_first_outcome()
        {
            let is_success = status.is_success();
            let outcome = if is_success { TransferOutcome::Succeeded } else { TransferOutcome::Failed(status.code()) };
            shared.tell(Event::Transferred { dialog: self.id, outcome });
        }
        if state.eq_ignore_ascii_case("terminated") {
            self.end_asking(TransferOutcome::Unknown, shared);
        }
        Ok(())
    }
}

/// What stands before the first semicolon, and what follows it.
fn split_first(value: &str) -> (&str, &str) {
    let (first, rest) = value.split_once(';').unwrap_or((value, ""));
    (first.trim(), rest)
}
