//! The life of a call's leg, from its offer to its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::config::RingTone;
use super::{Calls, Direction, End, EndCause, Event, HangUpCause, Initiator, Outbound, Output, TransferOutcome};
use crate::dialog::invite::uac::Invitation;
use crate::dialog::offer_answer::MediaDescription;
use crate::dialog::transfer::asked::TransferRequest;
use crate::dialog::{self, DialogId, HangUp, Offered};
use crate::identity::{CallId, LegId, Pii};
use crate::limits::{CALL_HEADER_BYTES_MAX, CALL_HEADERS_MAX, MEDIA_OPEN_MS_MAX, RING_AGAIN_MS, RING_MS_MAX};
use crate::route;
use crate::sip::{Headers, NameAddr, Request, StatusCode};
use crate::timer::Now;
use crate::transport::refusal::Refusal;
use crate::transport::{Dropped, Flow};

/// A call's leg.
#[derive(Debug)]
pub(super) struct Leg {
    id: LegId,
    pub(super) dialog: Option<DialogId>,
    state: State,
    /// Where the media session is, once it is open.
    pub(super) local: Option<SocketAddr>,
    /// A media session is open, or being opened.
    has_media: bool,
    /// What the journal was told while the call rang.
    is_ringing_told: bool,
    is_early_media_told: bool,
    /// Whom a transfer of ours, which has no outcome yet, is to reach.
    pub(super) transfer: Option<Pii<String>>,
    /// The peer does not want to hear us.
    is_held: bool,
    /// The peer does not send, by its own word or by ours.
    is_silent: bool,
}

/// What a leg is waiting for.
#[derive(Debug)]
enum State {
    /// A call came in and rings.
    Ringing(Ringing),
    /// A call is to go out, once its media session is open.
    Preparing { outbound: Box<Outbound>, give_up_at: Instant },
    /// A call went out.
    Calling { give_up_at: Instant },
    /// Both sides talk.
    Answered,
    /// A call that went out is given up; its end will be told.
    Cancelling { cause: EndCause },
}

/// A call that came in and rings.
#[derive(Clone, Copy, Debug)]
struct Ringing {
    media: Option<SocketAddr>,
    /// When to answer; `None` to wait for the command.
    answer_at: Option<Instant>,
    /// RFC 3261 §13.3.1.1: a proxy forgets a call that does not ring on.
    again_at: Instant,
    give_up_at: Instant,
}

impl Leg {
    const fn new(id: LegId, state: State) -> Self {
        Self {
            id,
            dialog: None,
            state,
            local: None,
            has_media: true,
            is_ringing_told: false,
            is_early_media_told: false,
            transfer: None,
            is_held: false,
            is_silent: false,
        }
    }

    /// Whether both sides talk.
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Ringing(it) => {
                let answer_at = it.answer_at.filter(|_| it.media.is_some());
                answer_at.into_iter().chain([it.again_at, it.give_up_at]).min()
            }
            State::Preparing { give_up_at, .. } | State::Calling { give_up_at } => Some(*give_up_at),
            State::Answered | State::Cancelling { .. } => None,
        }
    }
}

impl Calls {
    pub(super) fn handle_event(&mut self, event: dialog::Event, now: Now) {
        let (dialog, event) = match event {
            dialog::Event::Offered(offered) => {
                self.handle_offered(*offered, now);
                return;
            }
            dialog::Event::Registering { id, flow, request } => {
                self.handle_registering(id, flow, &request, now);
                return;
            }
            dialog::Event::Provisional { dialog, status, media } => (dialog, LegEvent::Provisional(status, media)),
            dialog::Event::Answered { dialog, media } => (dialog, LegEvent::Answered(media)),
            dialog::Event::Media { dialog, media } => (dialog, LegEvent::Media(media)),
            dialog::Event::Digit { dialog, digit } => (dialog, LegEvent::Digit(digit.digit, digit.duration_ms)),
            dialog::Event::Transferred { dialog, outcome } => (dialog, LegEvent::Transferred(outcome)),
            dialog::Event::TransferAsked { dialog, wanted } => (dialog, LegEvent::TransferAsked(wanted)),
            dialog::Event::Ended { dialog, end } => (dialog, LegEvent::Ended(end)),
        };
        let Some(call) = self.by_dialog.get(&dialog).copied() else {
            return;
        };
        match event {
            LegEvent::Provisional(status, media) => self.handle_provisional(call, status, media),
            LegEvent::Answered(media) => self.handle_answered(call, media),
            LegEvent::Media(media) => self.handle_media(call, media),
            LegEvent::Digit(digit, duration_ms) => {
                self.tell(Output::Digit { call, digit, duration_ms });
                self.journal(call, Event::Digit { digit, duration_ms });
            }
            LegEvent::Transferred(outcome) => self.finish_transfer(call, outcome),
            LegEvent::TransferAsked(wanted) => self.handle_transfer_asked(call, *wanted, now),
            LegEvent::Ended(end) => self.finish(call, self.explain(call, end)),
        }
        self.settle(call);
    }

    /// A call comes in.
    fn handle_offered(&mut self, offered: Offered, now: Now) {
        if let Some(replaced) = offered.replaces {
            self.handle_replacement(&offered, replaced, now);
            return;
        }
        let Offered { dialog, flow, request, media, replaces: _ } = offered;
        let is_full = if self.is_draining {
            Some(Dropped::Draining)
        } else if self.calls.len() >= self.config.limits.calls_max {
            Some(Dropped::TooManyCalls)
        } else {
            None
        };
        if let Some(reason) = is_full {
            self.dialogs.drop_counted(reason);
            let retry_after_s = self.config.retry_after_s;
            self.dialogs.reject(dialog, &Refusal::Unavailable { retry_after_s }, now);
            return;
        }
        let target = match self.route(flow, &request, now) {
            Ok(target) => target,
            Err(NotRouted::Unauthenticated(refusal)) => {
                self.dialogs.reject(dialog, &refusal, now);
                return;
            }
            // A stranger leaves no trace but the counters, or scanners would fill the journal.
            Err(NotRouted::Refused(route::Refusal::UnknownSource)) => {
                self.dialogs.reject(dialog, &Refusal::Forbidden, now);
                return;
            }
            Err(NotRouted::Refused(route::Refusal::UnknownNumber)) => {
                self.dialogs.reject(dialog, &Refusal::NotFound, now);
                self.journal_unanswered(flow, &request, now);
                return;
            }
        };
        self.dialogs.note_known(flow.remote.ip(), now);
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        let leg = LegId { call, index: 0 };
        let ring = self.config.ring;
        let ringing = Ringing {
            media: None,
            answer_at: ring.answer_after.map(|it| now.instant + it),
            again_at: now.instant + Duration::from_millis(RING_AGAIN_MS),
            give_up_at: now.instant + Duration::from_millis(MEDIA_OPEN_MS_MAX),
        };
        let state = State::Ringing(ringing);
        let (is_held, is_silent) = media.as_ref().map_or((false, false), |it| (!it.send, !it.receive));
        let held = Leg { dialog: Some(dialog), is_held, is_silent, ..Leg::new(leg, state) };
        self.calls.insert(call, held);
        self.by_dialog.insert(dialog, call);
        let (from, to) = (from_of(&request), Pii::new(request.uri_str().to_owned()));
        let offered = Event::Offered {
            direction: Direction::Inbound,
            account: target.account.clone(),
            from: from.clone(),
            to: to.clone(),
            flow,
            agent: Some(target.agent.clone()),
        };
        self.journal(call, offered);
        self.tell(Output::OpenMedia { leg, local_ip: flow.local.ip(), remote: media });
        let (account, agent, headers) = (target.account, target.agent, shown_headers(request.headers()));
        self.tell(Output::StartAgent { call, account, agent, leg, from, to, headers });
        if ring.tone == RingTone::Ringing {
            self.dialogs.ring(dialog, now);
            self.journal(call, Event::Ringing);
        }
        self.settle(call);
    }

    /// Who answers. Strangers may show that they are none, if the listener lets users call.
    pub(super) fn route(&mut self, flow: Flow, request: &Request, now: Now) -> Result<route::Target, NotRouted> {
        let is_listener =
            |it: &&(crate::transport::Listener, route::Admission)| it.0.kind == flow.kind && it.0.local == flow.local;
        let closed = route::Admission::default();
        let admission = self.config.listeners.iter().find(is_listener).map_or(&closed, |(_, it)| it);
        let user = request.uri().user_decoded().unwrap_or_default();
        let source = flow.remote.ip();
        match (self.config.routes.route(admission, source, &user), &mut self.users) {
            (Err(route::Refusal::UnknownSource), Some(users)) if admission.users => {
                users.check(request, source, now).map_err(NotRouted::Unauthenticated)?;
                let admission = route::Admission { unknown_sources: true, ..admission.clone() };
                self.config.routes.route(&admission, source, &user).map_err(NotRouted::Refused)
            }
            (routed, _) => routed.map_err(NotRouted::Refused),
        }
    }

    /// A known source asked for a number that nobody answers: that is worth an entry.
    fn journal_unanswered(&mut self, flow: Flow, request: &Request, now: Now) {
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        let offered = Event::Offered {
            direction: Direction::Inbound,
            account: crate::identity::AccountId::default(),
            from: from_of(request),
            to: Pii::new(request.uri_str().to_owned()),
            flow,
            agent: None,
        };
        self.journal(call, offered);
        let status = Some(Refusal::NotFound.status().code());
        let end = End { cause: EndCause::Rejected, sip_status: status, initiator: Initiator::Local, reason: None };
        self.journal(call, Event::Ended(end));
    }

    pub(super) fn place_as(&mut self, call: CallId, outbound: Outbound, now: Now) {
        let leg = LegId { call, index: 0 };
        let offered = Event::Offered {
            direction: Direction::Outbound,
            account: outbound.account.clone(),
            from: Pii::new(outbound.from.to_string()),
            to: Pii::new(outbound.to.to_string()),
            flow: outbound.flow,
            agent: None,
        };
        self.journal(call, offered);
        let is_full = self.is_draining || self.calls.len() >= self.config.limits.calls_max;
        let local_ip = outbound.flow.local.ip();
        let give_up_at = now.instant + Duration::from_millis(MEDIA_OPEN_MS_MAX);
        let state = State::Preparing { outbound: Box::new(outbound), give_up_at };
        self.calls.insert(call, Leg { has_media: !is_full, ..Leg::new(leg, state) });
        if is_full {
            self.finish(
                call,
                End { cause: EndCause::Overloaded, sip_status: None, initiator: Initiator::Local, reason: None },
            );
            return;
        }
        self.tell(Output::OpenMedia { leg, local_ip, remote: None });
        self.settle(call);
    }

    pub(super) fn media_opened(&mut self, call: CallId, address: SocketAddr, now: Now) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        leg.local = Some(address);
        match (&mut leg.state, leg.dialog) {
            (State::Ringing(ringing), Some(dialog)) => {
                ringing.media = Some(address);
                ringing.give_up_at = now.instant + Duration::from_millis(RING_MS_MAX);
                match self.config.ring.tone {
                    RingTone::EarlyMedia => {
                        self.dialogs.progress(dialog, address, now);
                        self.journal(call, Event::EarlyMedia);
                    }
                    RingTone::Ringing => self.dialogs.media_ready(dialog, address, now),
                    RingTone::None => (),
                }
                self.answer_if_due(call, now);
            }
            (State::Preparing { outbound, .. }, _) => {
                let outbound = (**outbound).clone();
                self.send_invite(call, outbound, address, now);
            }
            (State::Ringing(_) | State::Calling { .. } | State::Answered | State::Cancelling { .. }, _) => (),
        }
        self.settle(call);
    }

    fn send_invite(&mut self, call: CallId, outbound: Outbound, local: SocketAddr, now: Now) {
        let Outbound { to, from, display_name, flow, other_flows, headers, credentials, .. } = outbound;
        let from = NameAddr::new(display_name.as_deref(), &from.without_headers());
        let to = to.without_headers();
        let dialog = from.ok().and_then(|from| {
            let invitation = Invitation { to, from, flow, other_flows, local, headers, account: credentials };
            self.dialogs.invite(invitation, now)
        });
        let (Some(dialog), Some(leg)) = (dialog, self.calls.get_mut(&call)) else {
            self.finish(
                call,
                End { cause: EndCause::NotSent, sip_status: None, initiator: Initiator::Local, reason: None },
            );
            return;
        };
        leg.dialog = Some(dialog);
        leg.state = State::Calling { give_up_at: now.instant + Duration::from_millis(RING_MS_MAX) };
        self.by_dialog.insert(dialog, call);
    }

    pub(super) fn media_refused(&mut self, call: CallId, now: Now) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        leg.has_media = false;
        let mut sip_status = None;
        if let Some(dialog) = leg.dialog {
            let refusal = Refusal::Unavailable { retry_after_s: self.config.retry_after_s };
            self.dialogs.reject(dialog, &refusal, now);
            sip_status = Some(refusal.status().code());
        }
        self.finish(call, End { cause: EndCause::NoMediaPort, sip_status, initiator: Initiator::Local, reason: None });
    }

    pub(super) fn media_inactive(&mut self, call: CallId, now: Now) {
        let is_expected = |leg: &Leg| leg.is_held || leg.is_silent || !matches!(leg.state, State::Answered);
        if self.calls.get(&call).is_some_and(|it| !is_expected(it)) {
            self.end_call(call, HangUpCause::Done, Some(EndCause::MediaInactive), now);
        }
    }

    pub(super) fn answer_call(&mut self, call: CallId, now: Now) {
        if let Some(Leg { state: State::Ringing(ringing), .. }) = self.calls.get_mut(&call) {
            ringing.answer_at = Some(now.instant);
            self.answer_if_due(call, now);
            self.settle(call);
        }
    }

    fn answer_if_due(&mut self, call: CallId, now: Now) {
        let Some(Leg { state: State::Ringing(ringing), dialog: Some(dialog), .. }) = self.calls.get_mut(&call) else {
            return;
        };
        if let Some(media) = ringing.media
            && ringing.answer_at.take_if(|it| *it <= now.instant).is_some()
        {
            self.dialogs.answer(*dialog, media, now);
        }
    }

    /// Ends a call as its state demands. `told` is why, if that is not plain from the state.
    pub(super) fn end_call(&mut self, call: CallId, cause: HangUpCause, told: Option<EndCause>, now: Now) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        let refusal = self.config.refusal(cause);
        let (cause, sip_status) = match &leg.state {
            State::Ringing(_) => (EndCause::Rejected, Some(refusal.status().code())),
            State::Preparing { .. } | State::Calling { .. } | State::Cancelling { .. } => (EndCause::Cancelled, None),
            State::Answered => (EndCause::HungUp, None),
        };
        let cause = told.unwrap_or(cause);
        let outcome = leg.dialog.map_or(HangUp::Done, |it| self.dialogs.hang_up(it, &refusal, cause, now));
        match outcome {
            HangUp::Done => self.finish(call, End { cause, sip_status, initiator: Initiator::Local, reason: None }),
            HangUp::Pending => {
                leg.state = State::Cancelling { cause };
                self.settle(call);
            }
        }
    }

    pub(super) fn call_timeout(&mut self, call: CallId, now: Now) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        match &mut leg.state {
            State::Ringing(ringing) if ringing.give_up_at <= now.instant => {
                let (cause, told) = match ringing.media {
                    Some(_) => (HangUpCause::Unavailable, EndCause::NoAnswer),
                    None => (HangUpCause::Failed, EndCause::NoMediaPort),
                };
                self.end_call(call, cause, Some(told), now);
            }
            State::Ringing(ringing) if ringing.again_at <= now.instant => {
                ringing.again_at = now.instant + Duration::from_millis(RING_AGAIN_MS);
                let media = ringing.media;
                match (self.config.ring.tone, media, leg.dialog) {
                    (RingTone::EarlyMedia, Some(media), Some(dialog)) => self.dialogs.progress(dialog, media, now),
                    (RingTone::Ringing | RingTone::EarlyMedia, _, Some(dialog)) => self.dialogs.ring(dialog, now),
                    (RingTone::None, ..) | (_, _, None) => (),
                }
            }
            State::Ringing(_) => self.answer_if_due(call, now),
            State::Preparing { give_up_at, .. } if *give_up_at <= now.instant => {
                self.end_call(call, HangUpCause::Done, Some(EndCause::NoMediaPort), now);
            }
            State::Calling { give_up_at } if *give_up_at <= now.instant => {
                self.end_call(call, HangUpCause::Done, Some(EndCause::NoAnswer), now);
            }
            State::Preparing { .. } | State::Calling { .. } | State::Answered | State::Cancelling { .. } => (),
        }
        self.settle(call);
    }

    fn handle_provisional(&mut self, call: CallId, status: StatusCode, media: Option<MediaDescription>) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        let id = leg.id;
        if let Some(remote) = media {
            let is_told = std::mem::replace(&mut leg.is_early_media_told, true);
            self.tell(Output::UpdateMedia { leg: id, remote });
            if !is_told {
                self.journal(call, Event::EarlyMedia);
            }
        } else if status == StatusCode::RINGING && !std::mem::replace(&mut leg.is_ringing_told, true) {
            self.journal(call, Event::Ringing);
        }
    }

    fn handle_answered(&mut self, call: CallId, media: Option<MediaDescription>) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        // A new dialog took the place of an answered one.
        if matches!(leg.state, State::Answered) {
            if let Some(remote) = media {
                self.handle_media(call, remote);
            }
            return;
        }
        let is_outbound = matches!(leg.state, State::Calling { .. });
        leg.state = State::Answered;
        let id = leg.id;
        // The media session of a call that came in was opened with what the peer offered.
        let codec = media.as_ref().map(|it| it.codec);
        if let Some(remote) = media.filter(|_| is_outbound) {
            self.tell(Output::UpdateMedia { leg: id, remote });
        }
        self.tell(Output::Answered { call, leg: id });
        self.journal(call, Event::Answered { codec });
    }

    fn handle_media(&mut self, call: CallId, remote: MediaDescription) {
        let Some(leg) = self.calls.get_mut(&call) else {
            return;
        };
        let was_held = std::mem::replace(&mut leg.is_held, !remote.send);
        leg.is_silent = !remote.receive;
        let (id, is_held) = (leg.id, leg.is_held);
        self.tell(Output::UpdateMedia { leg: id, remote });
        match (was_held, is_held) {
            (false, true) => self.journal(call, Event::Held),
            (true, false) => self.journal(call, Event::Resumed),
            (false, false) | (true, true) => (),
        }
    }

    /// Why a call that is given up was given up, which the dialog does not know.
    fn explain(&self, call: CallId, end: End) -> End {
        match self.calls.get(&call).map(|it| &it.state) {
            Some(State::Cancelling { cause }) if end.cause == EndCause::Cancelled => End { cause: *cause, ..end },
            Some(_) | None => end,
        }
    }

    /// The one place where a call ends.
    fn finish(&mut self, call: CallId, end: End) {
        self.finish_transfer(call, TransferOutcome::Unknown);
        let Some(leg) = self.calls.remove(&call) else {
            return;
        };
        self.deadlines.set(call, None);
        if let Some(dialog) = leg.dialog {
            self.by_dialog.remove(&dialog);
        }
        if leg.has_media {
            self.tell(Output::CloseMedia { leg: leg.id });
        }
        self.tell(Output::Ended { call, end });
        self.journal(call, Event::Ended(end));
    }

    fn settle(&mut self, call: CallId) {
        if let Some(leg) = self.calls.get(&call) {
            self.deadlines.set(call, leg.poll_timeout());
        }
    }
}

/// Why a call that comes in is not let in.
pub(super) enum NotRouted {
    Refused(route::Refusal),
    /// Its sender may be a user, but has not shown it.
    Unauthenticated(Refusal),
}

/// What a dialog tells, once its leg is known.
enum LegEvent {
    Provisional(StatusCode, Option<MediaDescription>),
    Answered(Option<MediaDescription>),
    Media(MediaDescription),
    Digit(char, u16),
    Transferred(TransferOutcome),
    TransferAsked(Box<TransferRequest>),
    Ended(End),
}

pub(super) fn from_of(request: &Request) -> Pii<String> {
    Pii::new(request.headers().from().uri().to_string())
}

/// Header fields that carriers and PBXs tell about a call: identities, diversions, and their own `X-` fields.
fn shown_headers(headers: &Headers) -> Vec<(String, Pii<String>)> {
    const SHOWN: [&str; 7] = [
        "P-Asserted-Identity",
        "Remote-Party-ID",
        "Diversion",
        "History-Info",
        "User-to-User",
        "Subject",
        "User-Agent",
    ];
    let is_shown = |name: &str| {
        SHOWN.iter().any(|it| it.eq_ignore_ascii_case(name))
            || name.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("x-"))
    };
    let fields = headers.iter().map(|it| (it.name().as_str().to_owned(), it.value()));
    fields
        .filter(|(name, value)| is_shown(name) && value.len() <= CALL_HEADER_BYTES_MAX)
        .map(|(name, value)| (name, Pii::new(value.to_owned())))
        .take(CALL_HEADERS_MAX)
        .collect()
}
