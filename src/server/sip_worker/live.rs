//! Calls under way, as somebody outside of them deals with them: hung up, transferred, pressed keys into, recorded,
//! supervised.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::{Signal, SipWorker};
use crate::agent::RecordingOrder;
use crate::call::HangUpCause;
use crate::config::Consent;
use crate::identity::{CallId, LegId, Pii};
use crate::limits::DTMF_SENT_MS;
use crate::platform::calls::Event;
use crate::route::Target;
use crate::rtp::Digit;
use crate::server::capture::CaptureTap;
use crate::server::clock;
use crate::server::media_worker::Speech;
use crate::server::recorder::Format;
use crate::timer::Now;
use crate::transport::refusal::Refusal;

/// What is to be done with a call that is under way.
#[derive(Clone, Debug)]
pub(crate) enum LiveOrder {
    /// End it.
    HangUp,
    /// Connect its first side with somebody else.
    Transfer(Target),
    /// Send these digits to one side.
    Digits(Vec<Digit>, Side),
    /// Change what becomes of its recording.
    Record(RecordRequest),
    /// Call somebody who is to hear it.
    Supervise(Target, Mode),
    /// Change who hears its supervisor.
    ChangeMode(Mode),
    /// Hang up its supervisor.
    Dismiss,
}

/// What is to become of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordRequest {
    /// What.
    pub(crate) order: RecordingOrder,
    /// What whoever asks says of the consent of the sides.
    pub(crate) vouching: Option<Vouching>,
    /// If not as configured.
    pub(crate) format: Option<Format>,
}

/// How it comes that those who talk agree to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouching {
    /// They have.
    Given,
    /// They are to be told or asked now.
    Asked(Consent),
}

/// Who hears a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody.
    Listen,
    /// One side; in a call with an agent of ours, that.
    Whisper(Side),
    /// All.
    Barge,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Whisper(_) => "whisper",
            Self::Barge => "barge",
        }
    }
}

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who called, or in a call that we placed who was called first.
    Caller,
    /// Whom that talks to.
    Called,
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiveRefused {
    /// The call is over, or not answered yet.
    NotTalking,
    /// It has no such side, supervisor or recording, or has one already.
    Conflict(&'static str),
    /// Whom to call cannot be reached; the SIP status that says so.
    Unreachable(u16),
    /// Something is full.
    Busy,
}

/// Those of all calls.
#[derive(Debug)]
pub(super) struct Supervisors {
    by_call: BTreeMap<CallId, Supervisor>,
    /// How many have come to hear a call.
    came: u64,
}

impl Supervisors {
    pub(super) const fn new() -> Self {
        Self { by_call: BTreeMap::new(), came: 0 }
    }

    /// How many there are or are called, and how many have come so far.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.by_call.len(), self.came)
    }

    /// Forgets that of a call. Whether it had one.
    pub(super) fn remove(&mut self, call: CallId) -> bool {
        self.by_call.remove(&call).is_some()
    }
}

/// Of a call.
#[derive(Clone, Copy, Debug)]
struct Supervisor {
    mode: Mode,
    /// Once it has answered.
    leg: Option<LegId>,
}

type Reply = oneshot::Sender<Result<(), LiveRefused>>;

impl SipWorker {
    pub(super) fn handle_live(&mut self, call: CallId, order: LiveOrder, reply: Reply, now: Now) {
        let done = match order {
            LiveOrder::Record(request) => return self.record_live(call, request, reply),
            LiveOrder::HangUp => self.hang_up_live(call, now),
            LiveOrder::Transfer(target) => self.calls.redirect(call, target, now).map_err(refused),
            LiveOrder::Digits(digits, side) => self.press(call, &digits, side),
            LiveOrder::Supervise(target, mode) => self.supervise(call, target, mode, now),
            LiveOrder::ChangeMode(mode) => match self.supervisors.by_call.get_mut(&call) {
                Some(supervisor) => {
                    supervisor.mode = mode;
                    self.note(call, mode.name());
                    self.direct_supervisor(call);
                    Ok(())
                }
                None => Err(LiveRefused::Conflict("the call has no supervisor")),
            },
            LiveOrder::Dismiss if self.calls.dismiss_supervisor(call, now) => Ok(()),
            LiveOrder::Dismiss => Err(LiveRefused::Conflict("the call has no supervisor")),
        };
        // Whoever asked may have gone.
        reply.send(done).unwrap_or_default();
    }

    fn hang_up_live(&mut self, call: CallId, now: Now) -> Result<(), LiveRefused> {
        let first = LegId { call, index: 0 };
        let has_legs = self.legs.range(first..=LegId { call, index: u8::MAX }).next().is_some();
        if !has_legs && !self.actors.contains_key(&call) {
            return Err(LiveRefused::NotTalking);
        }
        self.ended_by_operator.insert(call);
        self.calls.hang_up(call, HangUpCause::Done, now);
        Ok(())
    }

    fn press(&self, call: CallId, digits: &[Digit], side: Side) -> Result<(), LiveRefused> {
        let (caller, called) = self.calls.sides(call).ok_or(LiveRefused::NotTalking)?;
        let leg = match side {
            Side::Caller => caller,
            Side::Called => called.ok_or(LiveRefused::Conflict("the call has no second side"))?,
        };
        let leg = self.legs.get(&leg).ok_or(LiveRefused::NotTalking)?;
        digits.iter().try_for_each(|it| leg.send_digit(*it, DTMF_SENT_MS)).or(Err(LiveRefused::Busy))
    }

    /// The actor of a call looks after its recording. A call without one gets one now.
    fn record_live(&mut self, call: CallId, request: RecordRequest, reply: Reply) {
        let attended = self.actors.contains_key(&call) || self.attend(call);
        let actor = self.actors.get(&call).filter(|_| attended);
        let Some(actor) = actor else {
            return reply.send(Err(LiveRefused::NotTalking)).unwrap_or_default();
        };
        if let Err(mpsc::error::TrySendError::Full(Signal::Record(_, reply))) =
            actor.try_send(Signal::Record(request, reply))
        {
            reply.send(Err(LiveRefused::Busy)).unwrap_or_default();
        }
    }

    fn supervise(&mut self, call: CallId, target: Target, mode: Mode, now: Now) -> Result<(), LiveRefused> {
        if self.supervisors.by_call.contains_key(&call) {
            return Err(LiveRefused::Conflict("the call has a supervisor"));
        }
        self.calls.supervise(call, target, now).map_err(refused)?;
        self.supervisors.by_call.insert(call, Supervisor { mode, leg: None });
        Ok(())
    }

    pub(super) fn supervisor_answered(&mut self, leg: LegId) {
        // Nobody else listens to it.
        self.links.remove(&leg);
        let Some(supervisor) = self.supervisors.by_call.get_mut(&leg.call) else {
            return;
        };
        supervisor.leg = Some(leg);
        self.supervisors.came += 1;
        let mode = supervisor.mode;
        self.note(leg.call, mode.name());
        self.direct_supervisor(leg.call);
    }

    pub(super) fn supervisor_gone(&mut self, call: CallId) {
        if self.supervisors.remove(call) {
            self.note(call, "gone");
        }
    }

    /// Has a supervisor heard by whom it is to be heard by, as things are now.
    pub(super) fn direct_supervisor(&mut self, call: CallId) {
        let Some(Supervisor { mode, leg: Some(leg) }) = self.supervisors.by_call.get(&call).copied() else {
            return;
        };
        let sides = self.calls.sides(call);
        let speech = match mode {
            Mode::Listen => Speech::Nobody,
            Mode::Barge => Speech::Everyone,
            Mode::Whisper(side) => match sides {
                Some((caller, Some(_))) if side == Side::Caller => Speech::OneSide(caller.index),
                Some((_, Some(called))) => Speech::OneSide(called.index),
                // An agent needs no number, and no peer may take what is meant for it.
                Some((_, None)) | None => Speech::OneSide(u8::MAX),
            },
        };
        if let Some(Err(_)) = self.legs.get(&leg).map(|it| it.supervise(Some(speech))) {
            self.media_refusals += 1;
            self.calls.dismiss_supervisor(call, clock::now());
        }
    }

    pub(super) fn capture(&self, tell: impl FnOnce(&CaptureTap)) {
        if let Some(capture) = &self.shell.capture {
            tell(capture);
        }
    }

    fn note(&self, call: CallId, text: &str) {
        let event = Event::Note { topic: "supervisor".to_owned(), text: Pii::new(text.to_owned()) };
        // What cannot be written is reported by the log.
        self.shell.log.write_now(call, event, clock::now()).unwrap_or(());
    }
}

fn refused(refusal: Refusal) -> LiveRefused {
    if refusal == Refusal::DoesNotExist {
        LiveRefused::NotTalking
    } else if refusal == Refusal::RequestPending {
        LiveRefused::Conflict("somebody is being called for it already")
    } else {
        LiveRefused::Unreachable(refusal.status().code())
    }
}
