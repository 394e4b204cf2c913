//! An INVITE that goes out: RFC 3261 §13.2, with its CANCEL (§9.1), the answers of its forks and the servers that are tried
//! one after the other (RFC 3263 §4.3).
//!
//! The INVITE to the next server has the next CSeq, not the same one: servers of one domain lead to the same place, where
//! an equal one would count as merged (RFC 3261 §8.2.2.2).
//!
//! A redirection (3xx) ends the call as a refusal does. Where it points is told: following would let whoever answers choose
//! whom we call (and who pays), which is the layer above's to allow.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::early::Early;
use super::reinvite::Reinvite;
use super::uas::new_negotiation;
use crate::auth::DigestAccount;
use crate::codec::AudioCodec;
use crate::dialog::end::{End, EndCause, Initiator, Reason};
use crate::dialog::inspection::SDP;
use crate::dialog::offer_answer::{MediaDescription, Negotiation};
use crate::dialog::session::{Ack, Confirmed, OwnInvite, Session, State};
use crate::dialog::session_timer::{Asked, SessionTimer, Terms};
use crate::dialog::shared::{Purpose, Shared};
use crate::dialog::state::Dialog;
use crate::dialog::{DialogId, Event, ServerEvent};
use crate::limits::{FORKS_MAX, INTERVAL_ATTEMPTS_MAX, REDIRECT_TARGETS_MAX};
use crate::sip::{Contacts, HeaderName, Method, NameAddr, Request, Response, StatusCode, Uri};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transaction::timers::T1;
use crate::transport::Flow;
use crate::transport::refusal::ALLOW;

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    /// Where it goes: the Request-URI.
    pub(crate) target: Uri,
    /// Whom: the To.
    pub(crate) to: Uri,
    /// As whom.
    pub(crate) from: NameAddr,
    /// The way out.
    pub(crate) flow: Flow,
    /// The ways to try if that one fails.
    pub(crate) other_flows: Vec<Flow>,
    /// Whether it goes over these even if it is too large for UDP.
    pub(crate) keeps_transport: bool,
    /// The peer that it is for; `None` for whoever is known to be there.
    pub(crate) peer: Option<usize>,
    /// The address of our media session.
    pub(crate) local: SocketAddr,
    /// Whether it is offered what browsers take.
    pub(crate) is_browser: bool,
    /// Through how many more hops it may go.
    pub(crate) max_forwards: u8,
    /// The codec to offer first, if it is one of ours.
    pub(crate) prefers: Option<AudioCodec>,
    /// More header fields.
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// What to show if asked.
    pub(crate) account: Option<DigestAccount>,
}

/// A call of ours that is not answered finally.
#[derive(Debug)]
pub(crate) struct Calling {
    client: TransactionId,
    flow: Flow,
    /// The ways that are left to try.
    other_flows: VecDeque<Flow>,
    /// When the next one is tried, because nothing comes over this one.
    next_hop_at: Option<Instant>,
    negotiation: Negotiation,
    /// The session timer that the INVITE asks for, and how often it was refused.
    asked: Option<Asked>,
    refusals: u8,
    is_proceeding: bool,
    cancel: Cancel,
    /// The Reason of its CANCEL (RFC 3326).
    cancel_reason: String,
    /// What the peer is to be told before or after its answer.
    pub(in crate::dialog) reinvite: Reinvite,
}

/// How far a CANCEL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    NotWanted,
    /// It has to wait for a provisional response (§9.1).
    Wanted,
    /// If nothing follows until then, the call counts as cancelled.
    Sent {
        give_up_at: Instant,
    },
}

impl Calling {
    /// When to stop waiting for the answer to a cancelled INVITE.
    pub(in crate::dialog) const fn gives_up_at(&self) -> Option<Instant> {
        match self.cancel {
            Cancel::Sent { give_up_at } => Some(give_up_at),
            Cancel::NotWanted | Cancel::Wanted => None,
        }
    }

    /// When something is due.
    pub(in crate::dialog) fn poll_timeout(&self) -> Option<Instant> {
        self.gives_up_at().into_iter().chain(self.next_hop_at).min()
    }

    /// Whether `id` is the latest INVITE.
    pub(in crate::dialog) fn waits_for(&self, id: TransactionId) -> bool {
        self.client == id
    }

    /// The INVITE was sent again, with credentials.
    pub(in crate::dialog) const fn sent_again(&mut self, client: TransactionId) {
        self.client = client;
        self.is_proceeding = false;
    }

    /// The INVITE went out over `flow`.
    fn sent_over(&mut self, client: TransactionId, flow: Flow, next_hop_after: Duration, now: Now) {
        self.sent_again(client);
        self.flow = flow;
        self.next_hop_at = (!self.other_flows.is_empty()).then_some(now.instant + next_hop_after);
    }

    pub(in crate::dialog) const fn is_cancelled(&self) -> bool {
        !matches!(self.cancel, Cancel::NotWanted)
    }

    /// Sends the CANCEL if it is wanted and allowed.
    fn pursue_cancel(&mut self, shared: &mut Shared, now: Now) {
        if self.cancel == Cancel::Wanted && self.is_proceeding {
            self.cancel = Cancel::Sent { give_up_at: now.instant + T1.saturating_mul(64) };
            // Without room for the CANCEL the call ends when it is given up.
            shared.transactions.cancel(self.client, &self.cancel_reason, now).unwrap_or_default();
        }
    }
}

impl Session {
    /// Sends an INVITE with an offer; `None` if that is not possible.
    pub(in crate::dialog) fn invite(
        id: DialogId,
        invitation: Invitation,
        shared: &mut Shared,
        now: Now,
    ) -> Option<Self> {
        let Invitation { target, to, from, flow, other_flows, local, max_forwards, prefers, headers, account, .. } =
            invitation;
        shared.keep_transport(id, invitation.keeps_transport);
        if let Some(account) = account {
            shared.use_account(id, account);
        }
        let peer = invitation.peer.or_else(|| shared.peers.at(flow, None).first().copied());
        shared.peers.assign(id, peer);
        let mut negotiation = new_negotiation(id, local, flow, invitation.is_browser, shared);
        if let Some(codec) = prefers {
            negotiation.prefer(codec);
        }
        let offer = negotiation.offer();
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let (tag, call_id) = (shared.transactions.tokens().tag(), shared.transactions.tokens().call_id());
        let mut builder = Request::builder(Method::Invite, &target)
            .header(HeaderName::Via, via)
            .header(HeaderName::MaxForwards, max_forwards)
            .header(HeaderName::From, format_args!("{from};tag={tag}"))
            .header(HeaderName::To, format_args!("<{to}>"))
            .header(HeaderName::CallId, call_id)
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, shared.supported());
        let asked = shared.config.session_timers.ask();
        if let Some(asked) = asked {
            builder = asked.write(builder, None);
        }
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let builder = builder.body(SDP, offer.into());
        let (client, request) = shared.request(id, Purpose::Invite, flow, builder, now)?;
        let other_flows: VecDeque<_> = other_flows.into();
        let next_hop_after = shared.config.next_hop_after;
        let calling = Calling {
            client,
            flow,
            next_hop_at: (!other_flows.is_empty()).then_some(now.instant + next_hop_after),
            other_flows,
            negotiation,
            asked,
            refusals: 0,
            is_proceeding: false,
            cancel: Cancel::NotWanted,
            cancel_reason: String::new(),
            reinvite: Reinvite::default(),
        };
        let mut session = Self::new(id, &tag, State::Calling(Box::new(calling)));
        session.invites.push(OwnInvite { id: client, flow, request, acks: smallvec::SmallVec::new() });
        Some(session)
    }

    /// Gives the call up before its answer. The end is told once it is certain.
    pub(in crate::dialog) fn cancel(&mut self, reason: &str, shared: &mut Shared, now: Now) {
        if let State::Calling(calling) = &mut self.state
            && calling.cancel == Cancel::NotWanted
        {
            calling.cancel = Cancel::Wanted;
            reason.clone_into(&mut calling.cancel_reason);
            calling.pursue_cancel(shared, now);
        }
    }

    /// A cancelled INVITE was not answered (§9.1).
    pub(in crate::dialog) fn handle_cancel_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Calling(calling) = &self.state else {
            return;
        };
        if calling.gives_up_at().is_some_and(|it| it <= now.instant) {
            shared.transactions.abandon(calling.client);
            self.close(shared);
            let end = End { cause: EndCause::Cancelled, sip_status: None, initiator: Initiator::Local, reason: None };
            self.tell_end(shared, end);
        }
    }

    /// A response to an INVITE that begins a session.
    pub(in crate::dialog) fn handle_invite_response(
        &mut self,
        id: TransactionId,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        let status = response.status();
        if status.is_success() {
            self.handle_invite_ok(id, response, shared, now);
            return;
        }
        if status.is_provisional() && shared.left.remove(&id) {
            // Without room for the CANCEL the peer rings in vain until it gives up.
            shared.transactions.cancel(id, ELSEWHERE, now).unwrap_or_default();
        }
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        if !calling.waits_for(id) {
            return;
        }
        calling.next_hop_at = None;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            shared.server_events.push_back(ServerEvent::Reached { flow: calling.flow });
        }
        if status.is_provisional() {
            calling.is_proceeding = true;
            calling.pursue_cancel(shared, now);
            let (is_cancelled, flow) = (calling.is_cancelled(), calling.flow);
            if status != StatusCode::TRYING {
                let negotiation = calling.negotiation.clone();
                let media = self.note_provisional(response, flow, &negotiation, shared, now);
                if let Some(media) = media.filter(|_| !is_cancelled) {
                    shared.tell(Event::Provisional { dialog: self.id, status, media });
                }
            }
            return;
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let retry_after_s = response.headers().retry_after().and_then(Result::ok).map(|it| it.seconds);
            if self.try_next_hop(retry_after_s, shared, now) {
                return;
            }
        }
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL && self.ask_again(response, shared, now) {
            return;
        }
        let State::Calling(calling) = &self.state else {
            return;
        };
        let (cause, initiator) = match status {
            _ if calling.is_cancelled() => (EndCause::Cancelled, Initiator::Local),
            StatusCode::REQUEST_TIMEOUT => (EndCause::NoAnswer, Initiator::Remote),
            _ => (EndCause::Rejected, Initiator::Remote),
        };
        if (300..400).contains(&status.code()) && cause == EndCause::Rejected {
            shared.tell(Event::Redirected { dialog: self.id, status, contacts: pointed_to(response) });
        }
        self.close(shared);
        self.tell_end(
            shared,
            End { cause, sip_status: Some(status.code()), initiator, reason: Reason::of(response.headers()) },
        );
    }

    /// Sends the INVITE again, with the session interval that its refusal asks for (RFC 4028 §7.3). Whether it was sent.
    fn ask_again(&mut self, response: &Response, shared: &mut Shared, now: Now) -> bool {
        let State::Calling(calling) = &mut self.state else {
            return false;
        };
        if calling.is_cancelled() || calling.refusals >= INTERVAL_ATTEMPTS_MAX {
            return false;
        }
        let asked = calling.asked.and_then(|it| it.after_refusal(response.headers()));
        let Some((asked, own)) = asked.zip(self.invites.iter().find(|it| it.id == calling.client)) else {
            return false;
        };
        let via = shared.transactions.next_via(calling.flow);
        let headers = own.request.headers();
        let number = headers.cseq().number + 1;
        let mut builder = Request::builder(Method::Invite, own.request.uri())
            .header(HeaderName::Via, via)
            .header(HeaderName::CSeq, format_args!("{number} INVITE"));
        for header in headers.iter() {
            if !REPLACED.contains(&header.name()) {
                builder = builder.header(header.name(), header.value());
            }
        }
        let content_type = headers.get(&HeaderName::ContentType).unwrap_or(SDP);
        let builder = asked.write(builder, None).body(content_type, own.request.body().clone());
        let Some((client, request)) = shared.request(self.id, Purpose::Invite, calling.flow, builder, now) else {
            return false;
        };
        calling.client = client;
        calling.asked = Some(asked);
        calling.refusals += 1;
        calling.is_proceeding = false;
        let flow = calling.flow;
        self.invites.push(OwnInvite { id: client, flow, request, acks: smallvec::SmallVec::new() });
        true
    }

    /// Nothing answered an INVITE that begins a session, or it could not be sent.
    pub(in crate::dialog) fn handle_invite_timeout(&mut self, id: TransactionId, shared: &mut Shared, now: Now) {
        let is_latest = matches!(&self.state, State::Calling(it) if it.waits_for(id));
        if is_latest && self.try_next_hop(None, shared, now) {
            return;
        }
        if let State::Calling(calling) = &self.state
            && is_latest
        {
            let cause = if calling.is_cancelled() { EndCause::Cancelled } else { EndCause::NoAnswer };
            self.close(shared);
            self.tell_end(shared, End { cause, sip_status: None, initiator: Initiator::Local, reason: None });
        }
    }

    /// Nothing at all came over the latest way. An INVITE without a provisional response cannot be cancelled yet: it is
    /// left to itself, and may still answer the call.
    pub(in crate::dialog) fn handle_hop_timeout(&mut self, shared: &mut Shared, now: Now) {
        let State::Calling(calling) = &mut self.state else {
            return;
        };
        if calling.next_hop_at.take_if(|it| *it <= now.instant).is_some() {
            let left = calling.client;
            if self.try_next_hop(None, shared, now) {
                shared.left.insert(left);
            }
        }
    }

    /// Sends the INVITE over the next way. Whether it was sent. A call that rang already is not begun again.
    fn try_next_hop(&mut self, retry_after_s: Option<u32>, shared: &mut Shared, now: Now) -> bool {
        let State::Calling(calling) = &mut self.state else {
            return false;
        };
        let failed = calling.flow;
        let may_go_on = !calling.is_cancelled() && self.early.is_empty();
        let own = self.invites.iter().find(|it| it.id == calling.client).map(|it| it.request.clone());
        let mut sent = None;
        while let Some(request) = own.as_ref().filter(|_| may_go_on && sent.is_none()) {
            let Some(flow) = calling.other_flows.pop_front() else {
                break;
            };
            sent = over(request, flow, self.id, shared, now).map(|(client, request)| (client, flow, request));
        }
        shared.server_events.push_back(ServerEvent::Failed { flow: failed, retry_after_s });
        let Some((client, flow, request)) = sent else {
            return false;
        };
        calling.sent_over(client, flow, shared.config.next_hop_after, now);
        self.invites.push(OwnInvite { id: client, flow, request, acks: smallvec::SmallVec::new() });
        true
    }

    /// A 2xx: the first one answers the call, copies get their ACK again, those of other forks are ended (§13.2.2.4).
    fn handle_invite_ok(&mut self, id: TransactionId, response: &Response, shared: &mut Shared, now: Now) {
        if self.acknowledge_again(id, response, shared, now) {
            return;
        }
        let Some(own) = self.invites.iter().find(|it| it.id == id).filter(|it| it.acks.len() < FORKS_MAX) else {
            return;
        };
        let (request, flow) = (own.request.clone(), own.flow);
        let Ok(mut dialog) = Dialog::from_response(&request, response, flow) else {
            self.fail_without_dialog(shared);
            return;
        };
        let early = self.take_early(&mut dialog);
        self.acknowledge(id, &dialog, shared, now);
        let state = std::mem::replace(&mut self.state, State::Ended(None));
        let State::Calling(calling) = state else {
            self.state = state;
            // Another fork answered, too.
            let via = shared.transactions.next_via(flow);
            let bye = dialog.request(Method::Bye, &via).header(HeaderName::Reason, ELSEWHERE);
            if let Ok(bye) = bye.build() {
                shared.transactions.request(flow, bye, now).ok();
            }
            return;
        };
        shared.left.remove(&id);
        if !calling.waits_for(id) {
            // The server that was left has answered after all: the other one need not.
            shared.left.insert(calling.client);
            if calling.is_proceeding && shared.left.remove(&calling.client) {
                shared.transactions.cancel(calling.client, ELSEWHERE, now).unwrap_or_default();
            }
        }
        self.start(*calling, dialog, early, response, shared, now);
    }

    fn start(
        &mut self,
        calling: Calling,
        dialog: Dialog,
        early: Option<Early>,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) {
        let is_cancelled = calling.is_cancelled();
        let reinvite = calling.reinvite.in_dialog_with(&dialog.remote_tag);
        let agreed = early.as_ref().and_then(Early::agreed);
        // Peers leave the answer out of the 2xx after an 18x that had it, reliable or not.
        let preview = early.as_ref().and_then(|it| it.media.clone()).filter(|_| response.body().is_empty());
        let mut offered = calling.negotiation;
        let media = match agreed.or(preview) {
            Some(media) => Ok(media),
            None => offered.accept(response.body()),
        };
        let negotiation = early.map_or(offered, |it| it.negotiation);
        let timer = Terms::granted(response.headers()).map(|it| SessionTimer::start(it, now.instant));
        self.state = State::Confirmed(Box::new(Confirmed {
            dialog,
            unacknowledged: None,
            reinvite: reinvite.after_the_answer(&negotiation),
            negotiation,
            timer,
            late_prack: None,
            asking: None,
            asked: None,
            pressed: VecDeque::new(),
            hangs_up: None,
            owns_call_id: true,
        }));
        let status = Some(response.status().code());
        match media {
            Ok(media) if !is_cancelled => shared.tell(Event::Answered { dialog: self.id, media: Some(media) }),
            Ok(MediaDescription { .. }) | Err(_) => {
                let cause = if is_cancelled { EndCause::Cancelled } else { EndCause::NoCommonMedia };
                self.send_bye(cause, shared, now);
                self.tell_end(shared, End { cause, sip_status: status, initiator: Initiator::Local, reason: None });
            }
        }
    }

    /// A 2xx that makes no dialog cannot be acknowledged: the call ends, and the peer gives up on the ACK.
    fn fail_without_dialog(&mut self, shared: &mut Shared) {
        if matches!(self.state, State::Calling(_)) {
            self.close(shared);
            let end = End {
                cause: EndCause::NoCommonMedia,
                sip_status: Some(200),
                initiator: Initiator::Local,
                reason: None,
            };
            self.tell_end(shared, end);
        }
    }

    /// Sends the ACK of a 2xx to the INVITE `id`, and keeps it for copies of the 2xx.
    pub(super) fn acknowledge(&mut self, id: TransactionId, dialog: &Dialog, shared: &mut Shared, now: Now) {
        let Some(own) = self.invites.iter_mut().find(|it| it.id == id) else {
            return;
        };
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let cseq = own.request.headers().cseq().number;
        let mut builder = dialog.ack(cseq, &via).header(HeaderName::UserAgent, &shared.config.user_agent);
        // RFC 3261 §13.2.2.4: the credentials of the INVITE.
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            builder = builder.copy(own.request.headers(), &name);
        }
        if let Ok(ack) = builder.build() {
            let bytes = ack.to_bytes();
            shared.transactions.send_ack(flow, bytes.clone(), now);
            own.acks.push(Ack { to_tag: dialog.remote_tag.clone(), flow, bytes });
        }
    }

    /// Whether a 2xx is a copy, whose ACK is then sent again.
    pub(super) fn acknowledge_again(
        &self,
        id: TransactionId,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) -> bool {
        let to_tag = response.headers().to().tag().unwrap_or_default();
        let own = self.invites.iter().find(|it| it.id == id);
        let Some(ack) = own.and_then(|it| it.acks.iter().find(|it| &*it.to_tag == to_tag)) else {
            return false;
        };
        shared.transactions.send_ack(ack.flow, ack.bytes.clone(), now);
        true
    }
}

/// The addresses of a redirection, those with the highest `q` first (RFC 3261 §20.10).
fn pointed_to(response: &Response) -> Vec<Uri> {
    let contacts = match response.headers().contacts() {
        Ok(Contacts::List(contacts)) => contacts,
        Ok(Contacts::Star) | Err(_) => vec![],
    };
    let mut ranked: Vec<_> = contacts.iter().map(|it| (preference(it), it.uri().detached())).collect();
    ranked.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
    ranked.into_iter().map(|(_, uri)| uri).take(REDIRECT_TARGETS_MAX).collect()
}

/// `q` in thousandths; without one an address is as good as can be.
fn preference(contact: &NameAddr) -> u16 {
    let Some(q) = contact.params().value("q") else {
        return 1_000;
    };
    let (whole, part) = q.split_once('.').unwrap_or((q, ""));
    let thousandths = format!("{part:0<3}").get(..3).and_then(|it| it.parse().ok()).unwrap_or(0);
    if whole == "1" { 1_000 } else { thousandths }
}

/// Sends `request` again over another flow, with the next CSeq.
fn over(
    request: &Request,
    flow: Flow,
    id: DialogId,
    shared: &mut Shared,
    now: Now,
) -> Option<(TransactionId, Request)> {
    let via = shared.transactions.next_via(flow);
    let contact = shared.transactions.transport().contact_uri(flow);
    let number = request.headers().cseq().number.checked_add(1)?;
    let editor = request.edit().set(HeaderName::Via, via).set(HeaderName::CSeq, format_args!("{number} INVITE"));
    let request = editor.set(HeaderName::Contact, format_args!("<{contact}>")).build().ok()?;
    let (request, exchange) = shared.credentials.authorize(id, request);
    let client = shared.send(id, Purpose::Invite, flow, &request, exchange, now)?;
    Some((client, request))
}

/// What an INVITE that is sent again does not have from the one before.
const REPLACED: [HeaderName; 7] = [
    HeaderName::Via,
    HeaderName::CSeq,
    HeaderName::SessionExpires,
    HeaderName::MinSe,
    HeaderName::UserAgent,
    HeaderName::ContentType,
    HeaderName::ContentLength,
];

/// What other forks are told that answer, too.
const ELSEWHERE: &str = EndCause::AnsweredElsewhere.reason();
