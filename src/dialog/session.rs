//! One INVITE session: its dialog, its media and the requests that are under way in it (RFC 3261 §13–§15).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::dtmf_info::Digit;
use super::invite::early::Early;
use super::invite::reinvite::Reinvite;
use super::invite::reliable::LatePrack;
use super::invite::uac::Calling;
use super::invite::uas::Incoming;
use super::invite::unacknowledged::Unacknowledged;
use super::offer_answer::Negotiation;
use super::session_timer::SessionTimer;
use super::shared::{Purpose, Shared};
use super::state::Dialog;
use super::transfer::asked::Asked;
use super::transfer::asking::Asking;
use super::{DialogId, Event};
use crate::dialog::end::{End, EndCause};
use crate::sip::{HeaderName, Method, Request};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transaction::timers::T1;
use crate::transport::Flow;

/// One INVITE session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) id: DialogId,
    /// Our tag in the dialog.
    pub(super) local_tag: Box<str>,
    pub(super) state: State,
    /// Our INVITEs whose transactions still live, for the ACKs of their 2xx.
    pub(super) invites: SmallVec<[OwnInvite; 1]>,
    /// The early dialogs of our call; other forks of an answered one may answer, too.
    pub(super) early: Vec<Early>,
    /// The INVITE that began the session, if it came in: a CANCEL may be about it.
    pub(super) server: Option<TransactionId>,
    /// When final responses to our INVITEs are not waited for any more, once the session is over.
    forget_at: Option<Instant>,
    /// Whether the end has been told.
    pub(super) is_end_told: bool,
    /// Whether it counts as over.
    pub(super) is_counted_out: bool,
}

/// What a session is waiting for.
#[derive(Debug)]
pub(super) enum State {
    /// The peer calls; we have not answered finally.
    Incoming(Box<Incoming>),
    /// We call; the peer has not answered finally.
    Calling(Box<Calling>),
    /// There is a dialog and a session.
    Confirmed(Box<Confirmed>),
    /// It is over; what is under way runs out. The dialog is kept to answer a BYE that crossed ours.
    Ended(Option<Box<Dialog>>),
}

/// An answered call.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub(super) dialog: Dialog,
    pub(super) negotiation: Negotiation,
    pub(super) unacknowledged: Option<AwaitedAck>,
    pub(super) reinvite: Reinvite,
    /// A provisional response that our 2xx has overtaken.
    pub(super) late_prack: Option<LatePrack>,
    pub(super) timer: Option<SessionTimer>,
    /// A transfer that we asked for, and one that the peer asked for.
    pub(super) asking: Option<Asking>,
    pub(super) asked: Option<Asked>,
    /// Keys that the peer is to be told of by INFO.
    pub(super) pressed: VecDeque<Digit>,
    /// We want to hang up, but may not before the ACK (RFC 3261 §15).
    pub(super) hangs_up: Option<EndCause>,
    /// Whether our side made the Call-ID, which decides who waits longer after a collision (RFC 3261 §14.1).
    pub(super) owns_call_id: bool,
}

/// A 2xx of ours that waits for its ACK.
#[derive(Debug)]
pub(super) struct AwaitedAck {
    pub(super) server: TransactionId,
    pub(super) machine: Unacknowledged,
    /// The 2xx holds an offer, so the ACK must hold the answer.
    pub(super) offer: OfferInOk,
}

/// Whether a 2xx of ours holds an offer.
#[derive(Debug)]
pub(super) enum OfferInOk {
    /// It holds an answer, or nothing.
    None,
    /// The session begins with it.
    First,
    /// The session may change with it; what it becomes if it does.
    Change(Box<Negotiation>),
}

/// One of our INVITEs.
#[derive(Debug)]
pub(super) struct OwnInvite {
    pub(super) id: TransactionId,
    pub(super) flow: Flow,
    pub(super) request: Request,
    /// To tag and ACK of each 2xx, to be sent again with each copy of it.
    pub(super) acks: SmallVec<[Ack; 1]>,
}

/// The ACK of a 2xx.
#[derive(Debug)]
pub(super) struct Ack {
    pub(super) to_tag: Box<str>,
    pub(super) flow: Flow,
    pub(super) bytes: Bytes,
}

impl AwaitedAck {
    /// Whether the ACK must hold an answer.
    pub(super) const fn has_offer(&self) -> bool {
        match self.offer {
            OfferInOk::None => false,
            OfferInOk::First | OfferInOk::Change(_) => true,
        }
    }
}

impl Session {
    /// A session that begins.
    pub(super) fn new(id: DialogId, local_tag: &str, state: State) -> Self {
        Self {
            id,
            local_tag: local_tag.into(),
            state,
            invites: SmallVec::new(),
            early: vec![],
            server: None,
            forget_at: None,
            is_end_told: false,
            is_counted_out: false,
        }
    }

    /// The dialog, once there is one.
    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Incoming(it) => Some(&mut it.dialog),
            State::Confirmed(it) => Some(&mut it.dialog),
            State::Ended(it) => it.as_deref_mut(),
            State::Calling(_) => None,
        }
    }

    /// Whether a request of the peer that names our tag is within the session.
    pub(super) fn is_of(&mut self, request: &Request) -> bool {
        match self.dialog_mut() {
            Some(dialog) => dialog.is_of(request),
            None => self.early.iter().any(|it| it.dialog.is_of(request)),
        }
    }

    /// When something of the session itself is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Calling(it) => it.poll_timeout(),
            State::Confirmed(it) => {
                let ack = it.unacknowledged.as_ref().map(|it| it.machine.poll_timeout());
                let asking = it.asking.as_ref().map(Asking::gives_up_at);
                let transfers = asking.into_iter().chain(it.asked.as_ref().map(Asked::gives_up_at));
                let timer = it.timer.as_ref().map(SessionTimer::poll_timeout);
                ack.into_iter().chain(it.reinvite.poll_timeout()).chain(timer).chain(transfers).min()
            }
            State::Incoming(it) => it.provisionals.poll_timeout(),
            State::Ended(_) => self.forget_at,
        }
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_done(&self, shared: &Shared) -> bool {
        matches!(self.state, State::Ended(_)) && self.invites.is_empty() && !shared.is_waiting(self.id)
    }

    /// Sends what waited for another request of ours. On a network that reorders, a second one might overtake the first,
    /// which would be out of order then.
    pub(super) fn pursue(&mut self, shared: &mut Shared, now: Now) {
        self.pursue_reinvite(shared, now);
        self.pursue_early_offer(shared, now);
        self.pursue_notify(shared, now);
        self.pursue_refer(shared, now);
        self.pursue_pressed(shared, now);
    }

    /// Takes note that the session is over: INVITEs of ours that only got provisional responses would stay for ever.
    pub(super) fn note_end(&mut self, now: Now) {
        if matches!(self.state, State::Ended(_)) && self.forget_at.is_none() && !self.invites.is_empty() {
            self.forget_at = Some(now.instant + T1.saturating_mul(65));
        }
    }

    /// Gives up on INVITEs of ours whose final response does not come.
    pub(super) fn handle_end_timeout(&mut self, shared: &mut Shared, now: Now) {
        if self.forget_at.is_some_and(|it| it <= now.instant) {
            self.forget_at = None;
            for invite in self.invites.drain(..) {
                shared.transactions.abandon(invite.id);
                shared.forget_client(invite.id);
            }
        }
    }

    /// Tells the end, once.
    pub(super) fn tell_end(&mut self, shared: &mut Shared, end: End) {
        if !self.is_end_told {
            self.is_end_told = true;
            shared.tell(Event::Ended { dialog: self.id, end });
        }
    }

    /// Ends the session without a word: the peer ended it, or never knew it.
    pub(super) fn close(&mut self, shared: &mut Shared) {
        let dialog = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Incoming(it) => Some(it.dialog),
            State::Confirmed(it) => {
                shared.count_unacknowledged(it.unacknowledged.is_some(), false);
                Some(it.dialog)
            }
            State::Ended(it) => it.map(|it| *it),
            State::Calling(_) => None,
        };
        self.state = State::Ended(dialog.map(Box::new));
    }

    /// Ends the session with a BYE (RFC 3261 §15.1.1).
    pub(super) fn send_bye(&mut self, cause: EndCause, shared: &mut Shared, now: Now) {
        self.send_bye_because(cause.reason(), shared, now);
    }

    /// The same, with the value of a Reason header field.
    pub(super) fn send_bye_because(&mut self, reason: &str, shared: &mut Shared, now: Now) {
        self.close(shared);
        let id = self.id;
        if let Some(dialog) = self.dialog_mut() {
            let flow = shared.way_out(dialog);
            let via = shared.transactions.next_via(flow);
            let bye = dialog.request(Method::Bye, &via).header(HeaderName::Reason, reason);
            shared.request(id, Purpose::Bye, flow, bye, now);
        }
    }
}
