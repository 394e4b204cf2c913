//! Two legs that hear each other: they are joined and parted, hold and digits of one reach the other, and when one ends
//! the other does, unless the call has something else in mind for it (RFC 7092).

use smallvec::SmallVec;

use super::dial::Why;
use super::leg::{Leg, State};
use super::{Call, Calls, End, EndCause, Event, Output, Reason, Sound};
use crate::dialog::dtmf_info::Digit;
use crate::dialog::offer_answer::Keys;
use crate::identity::{CallId, LegId};
use crate::timer::Now;
use crate::transport::refusal::Refusal;

impl Calls {
    /// Lets two legs of a call hear each other, and nobody else.
    pub(super) fn join(&mut self, a: LegId, b: LegId, now: Now) {
        let partner = self.legs.get(&a).and_then(|it| it.partner);
        if partner == Some(b.index) || !self.legs.contains_key(&b) {
            return;
        }
        self.part(a);
        self.part(b);
        if let Some(leg) = self.legs.get_mut(&a) {
            leg.partner = Some(b.index);
        }
        if let Some(leg) = self.legs.get_mut(&b) {
            leg.partner = Some(a.index);
        }
        self.tell(Output::Bridge { a, b });
        self.journal(a.call, Event::Bridged { a: a.index, b: b.index });
        self.align_holds(a, now);
        self.align_holds(b, now);
    }

    /// Ends what a leg and its partner hear of each other.
    pub(super) fn part(&mut self, id: LegId) {
        let Some(index) = self.legs.get_mut(&id).and_then(|it| it.partner.take()) else {
            return;
        };
        let partner = LegId { call: id.call, index };
        if let Some(leg) = self.legs.get_mut(&partner) {
            leg.partner = None;
        }
        self.tell(Output::Unbridge { a: id, b: partner });
    }

    /// Holds the partner of a leg whose peer holds us, and takes it back.
    pub(super) fn align_holds(&mut self, id: LegId, now: Now) {
        let Some((is_held, index)) = self.legs.get(&id).and_then(|it| Some((it.is_held, it.partner?))) else {
            return;
        };
        let partner = LegId { call: id.call, index };
        let Some(leg) = self.legs.get_mut(&partner).filter(|it| it.holds != is_held) else {
            return;
        };
        if !leg.is_answered() && !leg.dialog.is_some_and(|it| self.dialogs.takes_early_offers(it)) {
            return;
        }
        leg.holds = is_held;
        if self.config.own_sounds.hold_music {
            let sound = is_held.then_some(Sound::HoldMusic);
            self.tell(Output::PlaySound { leg: partner, sound });
        } else if let Some(dialog) = leg.dialog {
            self.dialogs.hold(dialog, is_held, now);
        }
    }

    /// A digit came in an INFO.
    pub(super) fn handle_digit(&mut self, id: LegId, digit: char, duration_ms: u16) {
        // A supervisor's keys are for nobody.
        let Some(leg) = self.legs.get(&id).filter(|it| !it.is_aside) else {
            return;
        };
        let is_bridged = leg.partner.is_some();
        self.tell(Output::Digit { leg: id, digit, duration_ms });
        // An agent writes down itself what it is told.
        if is_bridged {
            self.journal(id.call, Event::Digit { digit, duration_ms });
        }
    }

    /// Whether the keys that are pressed for the peer of a leg are told by INFO, and not in its media.
    pub fn tells_keys_by_info(&self, leg: LegId) -> bool {
        let dialog = self.legs.get(&leg).and_then(|it| it.dialog);
        dialog.is_some_and(|it| self.dialogs.capabilities(it).keys == Keys::Info)
    }

    /// Tells the peer of a leg of a key, one of `0-9`, `*`, `#` and `A-D`, held for so long.
    pub fn press(&mut self, leg: LegId, digit: char, duration_ms: u16, now: Now) {
        if let Some(dialog) = self.legs.get(&leg).and_then(|it| it.dialog) {
            self.dialogs.press(dialog, Digit { digit, duration_ms }, now);
            self.drain_dialogs(now);
        }
    }

    /// The call goes on without this leg. Its peer, who asked for that, is told so, and has time to leave by itself.
    pub(super) fn dismiss(&mut self, id: LegId, now: Now) {
        self.report_to(id, crate::sip::StatusCode::OK, now);
        self.part(id);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.is_dropped = true;
        }
        self.let_leave(id, now);
    }

    /// The dialog of the leg `from` goes on in the place of that of `into`, with the media session and whoever talks on
    /// it; the peer of `into` is hung up.
    pub(super) fn take_place(&mut self, from: LegId, into: LegId, now: Now) {
        let Some((taker, taken)) = self.legs.get(&from).zip(self.legs.get(&into)) else {
            return;
        };
        let (Some(dialog), Some(local)) = (taker.dialog, taken.local) else {
            return;
        };
        let (party, remote, is_moved) = (taker.party.clone(), taker.remote.clone(), taker.has_media);
        let holds = taker.holds;
        let by = crate::identity::Pii::new(party.user.clone().unwrap_or_default());
        if let Some(taker) = self.legs.get_mut(&from) {
            taker.dialog = None;
        }
        let mut old = None;
        if let Some(leg) = self.legs.get_mut(&into) {
            old = leg.dialog.replace(dialog);
            (leg.party, leg.holds, leg.state, leg.leaves_at) = (party, holds, State::Answered, None);
            if let Some(remote) = &remote {
                leg.note_media(remote.clone());
            }
        }
        let call_id = self.dialogs.call_id(dialog).unwrap_or_default().to_owned();
        self.bind(dialog, into, &call_id);
        if let Some(remote) = remote {
            self.tell_media(into, remote, true);
        }
        if is_moved {
            self.dialogs.move_media(dialog, local, now);
        }
        if self.config.own_sounds.hold_music {
            self.tell(Output::PlaySound { leg: into, sound: None });
        }
        self.journal(into.call, Event::Replaced { leg: into.index, by });
        if let Some(old) = old {
            self.by_dialog.remove(&old);
            self.dialogs.hang_up(old, &Refusal::Declined, EndCause::HungUp, now);
        }
        self.align_holds(into, now);
        if let Some(partner) = self.legs.get(&into).and_then(|it| it.partner) {
            self.align_holds(LegId { call: into.call, index: partner }, now);
        }
        if let Some(taker) = self.legs.get_mut(&from) {
            taker.is_dropped = from.call == into.call;
        }
        let end = End {
            cause: EndCause::HungUp,
            sip_status: None,
            initiator: crate::dialog::end::Initiator::Local,
            reason: None,
        };
        self.finish_leg(from, end, now);
    }

    /// A leg is gone: so are the others, unless the call goes on without it.
    pub(super) fn handle_leg_gone(&mut self, leg: &Leg, end: End, now: Now) {
        let LegId { call: id, index } = leg.id;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.remove_leg(index);
        if call.end.is_none() && !leg.is_dropped {
            let why = call.dialling.as_ref().map(|it| (it.why, it.waiting));
            match why {
                _ if leg.is_dialled => self.handle_dialled_end(leg.id, leg.is_aside, end, now),
                _ if leg.is_aside => self.tell(Output::SupervisorGone { call: id }),
                // Who waits goes on waiting.
                Some((Why::Asked { by } | Why::Redirected { by }, _)) if by == index => (),
                Some(_) | None => self.end_rest(id, end, now),
            }
        }
        self.finish_if_empty(id, end);
    }

    /// Ends what is left of a call, because of `end`.
    fn end_rest(&mut self, id: CallId, end: End, now: Now) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.end = Some(end);
        (call.dialling, call.aside) = (None, None);
        let rest: SmallVec<[u8; 4]> = call.legs().collect();
        for index in rest {
            let leg = LegId { call: id, index };
            // Who is about to leave does; and who takes our place may still have to tell so.
            if self.legs.get(&leg).is_some_and(|it| it.transfer.is_some() && it.is_answered()) {
                self.let_leave(leg, now);
            } else if self.legs.get(&leg).is_some_and(|it| !it.is_dropped) {
                let told = match (end.cause, end.reason) {
                    (EndCause::Rejected, _) => EndCause::HungUp,
                    // Those who called us had called others, too.
                    (EndCause::Cancelled, Some(Reason::Sip(200))) => EndCause::AnsweredElsewhere,
                    (cause, _) => cause,
                };
                self.end_leg(leg, &super::dial::relayed(end), Some(told), now);
            }
        }
    }

    /// The one place where a call ends.
    fn finish_if_empty(&mut self, id: CallId, end: End) {
        let Some(call) = self.calls.get(&id).filter(|it| it.is_empty()) else {
            return;
        };
        let end = call.end.unwrap_or(end);
        self.calls.remove(&id);
        self.tell(Output::Ended { call: id, end });
        self.journal(id, Event::Ended(end));
    }
}

impl Call {
    /// Whether every leg is gone.
    pub(super) fn is_empty(&self) -> bool {
        self.legs().next().is_none()
    }
}
