//! The life of a call's leg, from its offer to its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::config::RingTone;
use super::elsewhere::Placed;
use super::outgoing::Outgoing;
use super::party::Party;
use super::transfer::Transfer;
use super::{Calls, End, EndCause, Event, Initiator, Output, TransferOutcome};
use crate::dialog::offer_answer::MediaDescription;
use crate::dialog::transfer::asked::TransferRequest;
use crate::dialog::{self, DialogId, HangUp};
use crate::identity::LegId;
use crate::limits::{RING_AGAIN_MS, RING_MS_MAX};
use crate::route::TrunkName;
use crate::sip::{StatusCode, Uri};
use crate::timer::Now;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

/// A call's leg: the part between us and one peer.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) party: Box<Party>,
    pub(super) dialog: Option<DialogId>,
    pub(super) state: State,
    /// Where the media session is, once it is open.
    pub(super) local: Option<SocketAddr>,
    /// What was last agreed on.
    pub(super) remote: Option<MediaDescription>,
    /// A media session is open, or being opened.
    pub(super) has_media: bool,
    /// It is called for another leg of the call, and not connected with it yet.
    pub(super) is_dialled: bool,
    /// It hears the call beside those who talk in it, or is called for that.
    pub(super) is_aside: bool,
    /// The leg of the same call that hears it.
    pub(super) partner: Option<u8>,
    /// The call goes on without it.
    pub(super) is_dropped: bool,
    /// When it is hung up, if its peer does not do so before.
    pub(super) leaves_at: Option<Instant>,
    /// What the journal was told while the call rang.
    pub(super) is_ringing_told: bool,
    pub(super) is_early_media_told: bool,
    /// The trunk that it goes over, if we called.
    pub(super) over: Option<TrunkName>,
    /// How it was placed, if it is a call of our own that may be pointed elsewhere.
    pub(super) placed: Option<Box<Placed>>,
    /// A transfer that we asked its peer for, which has no outcome yet.
    pub(super) transfer: Option<Box<Transfer>>,
    /// The peer does not want to hear us.
    pub(super) is_held: bool,
    /// The peer does not send, by its own word or by ours.
    is_silent: bool,
    /// We do not want to hear the peer.
    pub(super) holds: bool,
}

/// What a leg is waiting for.
#[derive(Debug)]
pub(super) enum State {
    /// A call came in and rings.
    Ringing(Ringing),
    /// A call is to go out, once its media session is open.
    Preparing { outgoing: Box<Outgoing>, give_up_at: Instant },
    /// A call went out.
    Calling { give_up_at: Instant },
    /// Both sides talk.
    Answered,
    /// A call that went out is given up; its end will be told.
    Cancelling { cause: EndCause },
}

/// A call that came in and rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ringing {
    pub(super) media: Option<SocketAddr>,
    /// What the caller hears.
    pub(super) tone: RingTone,
    /// When to answer; `None` to wait for the command.
    pub(super) answer_at: Option<Instant>,
    /// RFC 3261 §13.3.1.1: a proxy forgets a call that does not ring on.
    pub(super) again_at: Instant,
    pub(super) give_up_at: Instant,
}

impl Leg {
    pub(super) fn new(id: LegId, party: Party, state: State) -> Self {
        Self {
            id,
            party: Box::new(party),
            dialog: None,
            state,
            local: None,
            remote: None,
            has_media: true,
            is_dialled: false,
            is_aside: false,
            partner: None,
            is_dropped: false,
            leaves_at: None,
            is_ringing_told: false,
            is_early_media_told: false,
            over: None,
            placed: None,
            transfer: None,
            is_held: false,
            is_silent: false,
            holds: false,
        }
    }

    /// Whether both sides talk.
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    /// The way that it is to go out, if it is.
    pub(super) fn way_out(&self) -> Option<Flow> {
        match &self.state {
            State::Preparing { outgoing, .. } => Some(outgoing.outbound.flow),
            State::Ringing(_) | State::Calling { .. } | State::Answered | State::Cancelling { .. } => None,
        }
    }

    pub(super) fn awaits_early_media(&self) -> bool {
        matches!(&self.state, State::Ringing(it) if it.media.is_some() && it.tone != RingTone::EarlyMedia)
            && self.remote.is_some()
    }

    /// Takes note of what is agreed on. Whether the peer held us before. One that we hold may say that it does not want to
    /// hear us either, which holds nobody.
    pub(super) fn note_media(&mut self, media: MediaDescription) -> bool {
        let was_held = self.is_held;
        self.is_held = !media.send && (media.receive || !self.holds);
        self.is_silent = !media.receive;
        self.remote = Some(media);
        was_held
    }

    /// Takes note that the media session is elsewhere.
    pub(super) fn note_moved(&mut self, address: SocketAddr) {
        self.local = Some(address);
        if let State::Ringing(ringing) = &mut self.state
            && let Some(media) = &mut ringing.media
        {
            *media = address;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let awaited = match &self.state {
            State::Ringing(it) => {
                let answer_at = it.answer_at.filter(|_| it.media.is_some());
                answer_at.into_iter().chain([it.again_at, it.give_up_at]).min()
            }
            State::Preparing { give_up_at, .. } | State::Calling { give_up_at } => Some(*give_up_at),
            State::Answered | State::Cancelling { .. } => None,
        };
        awaited.into_iter().chain(self.leaves_at).min()
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
            dialog::Event::Redirected { dialog, status, contacts } => (dialog, LegEvent::Redirected(status, contacts)),
            dialog::Event::Answered { dialog, media } => (dialog, LegEvent::Answered(media)),
            dialog::Event::Media { dialog, media } => (dialog, LegEvent::Media(media)),
            dialog::Event::Digit { dialog, digit } => (dialog, LegEvent::Digit(digit.digit, digit.duration_ms)),
            dialog::Event::Transferred { dialog, outcome } => (dialog, LegEvent::Transferred(outcome)),
            dialog::Event::TransferAsked { dialog, wanted } => (dialog, LegEvent::TransferAsked(wanted)),
            dialog::Event::Ended { dialog, end } => (dialog, LegEvent::Ended(end)),
        };
        let Some(leg) = self.by_dialog.get(&dialog).copied() else {
            return;
        };
        match event {
            LegEvent::Provisional(status, media) => self.handle_provisional(leg, status, media, now),
            LegEvent::Redirected(status, contacts) => self.handle_redirected(leg, status.code(), &contacts),
            LegEvent::Answered(media) => self.handle_answered(leg, media, now),
            LegEvent::Media(media) => self.handle_media(leg, media, now),
            LegEvent::Digit(digit, duration_ms) => self.handle_digit(leg, digit, duration_ms),
            LegEvent::Transferred(outcome) => self.finish_transfer(leg, outcome, now),
            LegEvent::TransferAsked(wanted) => self.handle_transfer_asked(leg, *wanted, now),
            LegEvent::Ended(_) if self.is_sent_on(leg) => self.detach(leg),
            LegEvent::Ended(end) if self.goes_elsewhere(leg, end, now) => (),
            LegEvent::Ended(end) => self.finish_leg(leg, self.explain(leg, end), now),
        }
        self.settle(leg);
    }

    pub(super) fn media_opened(&mut self, id: LegId, address: SocketAddr, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.local = Some(address);
        match (&mut leg.state, leg.dialog) {
            (State::Ringing(ringing), Some(dialog)) => {
                ringing.media = Some(address);
                ringing.give_up_at = now.instant + Duration::from_millis(RING_MS_MAX);
                match ringing.tone {
                    RingTone::EarlyMedia => {
                        self.dialogs.progress(dialog, address, now);
                        self.journal(id.call, Event::EarlyMedia);
                    }
                    RingTone::Ringing => self.dialogs.media_ready(dialog, address, now),
                    RingTone::None => (),
                }
                self.answer_if_due(id, now);
            }
            (State::Preparing { outgoing, .. }, _) => {
                let outgoing = (**outgoing).clone();
                self.send_invite(id, outgoing, address, now);
            }
            (State::Ringing(_) | State::Calling { .. } | State::Answered | State::Cancelling { .. }, _) => (),
        }
        self.settle(id);
    }

    pub(super) fn media_refused(&mut self, id: LegId, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.has_media = false;
        let mut sip_status = None;
        if let Some(dialog) = leg.dialog {
            let refusal = Refusal::Unavailable { retry_after_s: self.config.retry_after_s };
            self.dialogs.reject(dialog, &refusal, now);
            sip_status = Some(refusal.status().code());
        }
        let end = End { cause: EndCause::NoMediaPort, sip_status, initiator: Initiator::Local, reason: None };
        self.finish_leg(id, end, now);
    }

    pub(super) fn media_inactive(&mut self, id: LegId, now: Now) {
        let is_expected = |leg: &Leg| leg.is_held || leg.is_silent || !leg.is_answered();
        if self.legs.get(&id).is_some_and(|it| !is_expected(it)) {
            self.end_leg(id, &Refusal::Declined, Some(EndCause::MediaInactive), now);
        }
    }

    /// Lets a caller hear that whom it calls rings, or already speaks.
    pub(super) fn ring(&mut self, id: LegId, tone: RingTone, now: Now) {
        let Some(Leg { state: State::Ringing(ringing), dialog: Some(dialog), .. }) = self.legs.get_mut(&id) else {
            return;
        };
        if ringing.tone == RingTone::EarlyMedia || ringing.tone == tone {
            return;
        }
        ringing.tone = tone;
        ringing.again_at = now.instant + Duration::from_millis(RING_AGAIN_MS);
        let (dialog, media) = (*dialog, ringing.media);
        match (tone, media) {
            (RingTone::Ringing, _) => {
                self.dialogs.ring(dialog, now);
                if let Some(media) = media {
                    self.dialogs.media_ready(dialog, media, now);
                }
                self.journal(id.call, Event::Ringing);
            }
            (RingTone::EarlyMedia, Some(media)) => {
                self.dialogs.progress(dialog, media, now);
                self.journal(id.call, Event::EarlyMedia);
            }
            (RingTone::EarlyMedia, None) | (RingTone::None, _) => (),
        }
        self.settle(id);
    }

    /// Answers a leg that rings, as soon as its media session is open.
    pub(super) fn answer_leg(&mut self, id: LegId, now: Now) {
        if let Some(Leg { state: State::Ringing(ringing), .. }) = self.legs.get_mut(&id) {
            ringing.answer_at = Some(now.instant);
            self.answer_if_due(id, now);
            self.settle(id);
        }
    }

    fn answer_if_due(&mut self, id: LegId, now: Now) {
        let Some(Leg { state: State::Ringing(ringing), dialog: Some(dialog), .. }) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(media) = ringing.media
            && ringing.answer_at.take_if(|it| *it <= now.instant).is_some()
        {
            self.dialogs.answer(*dialog, media, now);
        }
    }

    /// Ends a leg as its state demands: with `refusal` if it rings. `told` is why, if that is not plain from the state.
    pub(super) fn end_leg(&mut self, id: LegId, refusal: &Refusal, told: Option<EndCause>, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let (cause, sip_status) = match &leg.state {
            State::Ringing(_) => (EndCause::Rejected, Some(refusal.status().code())),
            State::Preparing { .. } | State::Calling { .. } | State::Cancelling { .. } => (EndCause::Cancelled, None),
            State::Answered => (EndCause::HungUp, None),
        };
        let cause = told.unwrap_or(cause);
        let outcome = leg.dialog.map_or(HangUp::Done, |it| self.dialogs.hang_up(it, refusal, cause, now));
        match outcome {
            HangUp::Done => {
                self.finish_leg(id, End { cause, sip_status, initiator: Initiator::Local, reason: None }, now);
            }
            HangUp::Pending => {
                leg.state = State::Cancelling { cause };
                self.settle(id);
            }
        }
    }

    /// Refuses a leg that rings with what another side said.
    pub(super) fn refuse_leg(&mut self, id: LegId, refusal: &Refusal, cause: EndCause, by: Initiator, now: Now) {
        if let Some(dialog) = self.legs.get(&id).and_then(|it| it.dialog) {
            self.dialogs.hang_up(dialog, refusal, cause, now);
        }
        let sip_status = Some(refusal.status().code());
        self.finish_leg(id, End { cause, sip_status, initiator: by, reason: None }, now);
    }

    pub(super) fn leg_timeout(&mut self, id: LegId, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.leaves_at.take_if(|it| *it <= now.instant).is_some() {
            self.end_leg(id, &Refusal::Declined, None, now);
            return;
        }
        match &mut leg.state {
            State::Ringing(ringing) if ringing.give_up_at <= now.instant => {
                let (refusal, told) = match ringing.media {
                    Some(_) => (Refusal::TemporarilyUnavailable, EndCause::NoAnswer),
                    None => (Refusal::Failed, EndCause::NoMediaPort),
                };
                self.end_leg(id, &refusal, Some(told), now);
            }
            State::Ringing(ringing) if ringing.again_at <= now.instant => {
                ringing.again_at = now.instant + Duration::from_millis(RING_AGAIN_MS);
                match (ringing.tone, ringing.media, leg.dialog) {
                    (RingTone::EarlyMedia, Some(media), Some(dialog)) => self.dialogs.progress(dialog, media, now),
                    (RingTone::Ringing | RingTone::EarlyMedia, _, Some(dialog)) => self.dialogs.ring(dialog, now),
                    (RingTone::None, ..) | (_, _, None) => (),
                }
            }
            State::Ringing(_) => self.answer_if_due(id, now),
            State::Preparing { give_up_at, .. } if *give_up_at <= now.instant => {
                self.end_leg(id, &Refusal::Declined, Some(EndCause::NoMediaPort), now);
            }
            State::Calling { give_up_at } if *give_up_at <= now.instant => {
                self.end_leg(id, &Refusal::Declined, Some(EndCause::NoAnswer), now);
            }
            State::Preparing { .. } | State::Calling { .. } | State::Answered | State::Cancelling { .. } => (),
        }
        self.settle(id);
    }

    fn handle_provisional(&mut self, id: LegId, status: StatusCode, media: Option<MediaDescription>, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.is_dialled {
            self.handle_dialled_progress(id, status, media, now);
        } else if let Some(remote) = media {
            let is_told = std::mem::replace(&mut leg.is_early_media_told, true);
            self.update_media(id, remote);
            if !is_told {
                self.journal(id.call, Event::EarlyMedia);
            }
        } else if status == StatusCode::RINGING && !std::mem::replace(&mut leg.is_ringing_told, true) {
            self.journal(id.call, Event::Ringing);
        }
    }

    fn handle_answered(&mut self, id: LegId, media: Option<MediaDescription>, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        // A new dialog took the place of an answered one.
        if leg.is_answered() {
            if let Some(remote) = media {
                self.handle_media(id, remote, now);
            }
            return;
        }
        let is_outbound = matches!(leg.state, State::Calling { .. });
        leg.state = State::Answered;
        leg.placed = None;
        if leg.is_dialled {
            self.handle_dialled_answer(id, media, now);
            return;
        }
        let codec = media.as_ref().map(|it| it.codec);
        if let Some(remote) = media {
            leg.note_media(remote.clone());
            // The media session of a call that came in was opened with what the peer offered.
            if is_outbound {
                self.update_media(id, remote);
            }
        }
        self.tell(Output::Answered { call: id.call, leg: id });
        self.journal(id.call, Event::Answered { codec });
        self.align_holds(id, now);
        if let Some(index) = self.legs.get(&id).and_then(|it| it.partner) {
            self.align_holds(LegId { call: id.call, index }, now);
        }
    }

    fn handle_media(&mut self, id: LegId, remote: MediaDescription, now: Now) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let was_held = leg.note_media(remote.clone());
        let is_held = leg.is_held;
        self.update_media(id, remote);
        match (was_held, is_held) {
            (false, true) => self.journal(id.call, Event::Held),
            (true, false) => self.journal(id.call, Event::Resumed),
            (false, false) | (true, true) => (),
        }
        self.align_holds(id, now);
    }

    pub(super) fn update_media(&mut self, id: LegId, remote: MediaDescription) {
        self.tell_media(id, remote, false);
    }

    /// Tells what is agreed on with the peer of a leg, which `is_another` than before or not.
    pub(super) fn tell_media(&mut self, id: LegId, remote: MediaDescription, is_another: bool) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.remote = Some(remote.clone());
            let peer = leg.party.flow.remote.ip();
            self.tell(Output::UpdateMedia { leg: id, peer, remote, is_another });
        }
    }

    /// Why a call that is given up was given up, which the dialog does not know.
    fn explain(&self, id: LegId, end: End) -> End {
        match self.legs.get(&id).map(|it| &it.state) {
            Some(State::Cancelling { cause }) if end.cause == EndCause::Cancelled => End { cause: *cause, ..end },
            Some(_) | None => end,
        }
    }

    /// The one place where a leg ends.
    pub(super) fn finish_leg(&mut self, id: LegId, end: End, now: Now) {
        self.finish_transfer(id, TransferOutcome::Unknown, now);
        self.part(id);
        let Some(leg) = self.legs.remove(&id) else {
            return;
        };
        self.deadlines.set(id, None);
        if let Some(dialog) = leg.dialog {
            self.by_dialog.remove(&dialog);
        }
        if leg.has_media {
            self.tell(Output::CloseMedia { leg: id });
        }
        if id.index > 0 {
            self.journal(id.call, Event::LegEnded { leg: id.index, end });
        }
        self.handle_leg_gone(&leg, end, now);
    }

    pub(super) fn settle(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get(&id) {
            self.deadlines.set(id, leg.poll_timeout());
        }
    }
}

/// What a dialog tells, once its leg is known.
enum LegEvent {
    Provisional(StatusCode, Option<MediaDescription>),
    Redirected(StatusCode, Vec<Uri>),
    Answered(Option<MediaDescription>),
    Media(MediaDescription),
    Digit(char, u16),
    Transferred(TransferOutcome),
    TransferAsked(Box<TransferRequest>),
    Ended(End),
}
