//! Two legs that hear each other: what is decoded on one is played on the other, whatever their codecs, and digits that
//! one side presses are sent to the other in the way it takes them. Where both have agreed on the same, nothing is decoded:
//! [`super::relay`].

use tokio::sync::mpsc;

use super::{Leg, Legs, MediaBusy, MediaEvent, MediaLeg, Order};
use crate::codec::{Clip, Frame};
use crate::limits::{BRIDGE_FRAMES_MAX, DTMF_SENT_MS};
use crate::media::tones::relay::{Telling, held_ms};
use crate::media::{Heard, PlayoutFrame, Tick};
use crate::rtp::Digit;
use crate::timer::Now;

/// What a leg's peer said in 20 ms, for the leg that it is bridged to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    partner: u64,
    audio: Option<Frame>,
    digit: Option<(Digit, u16)>,
    /// Whether the audio is the tone of a digit.
    tone: Option<Telling>,
}

impl MediaLeg {
    /// Lets this leg and `other`, of the same call, hear each other and nobody else.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn bridge(&self, other: &Self) -> Result<(), MediaBusy> {
        self.handle.order(Order::Bridge { a: self.key, b: other.key })
    }

    /// Ends what [`MediaLeg::bridge`] began. Nothing is to be done about a leg that is closed.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn unbridge(&self) -> Result<(), MediaBusy> {
        self.handle.order(Order::Unbridge { key: self.key })
    }

    /// Plays a sound again and again in the place of what the partner says, until that is `None` or the leg is bridged anew.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn play(&self, sound: Option<Clip>) -> Result<(), MediaBusy> {
        self.handle.order(Order::Sound { key: self.key, clip: sound })
    }

    /// Sends a digit, held for `ms`.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn send_digit(&self, digit: Digit, ms: u16) -> Result<(), MediaBusy> {
        self.handle.order(Order::Digit { key: self.key, digit, ms })
    }

    /// Its peer has told of a digit by INFO, held for `ms`: it is for whoever hears the leg, unless its media have told of
    /// it as well.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn tell_digit(&self, digit: Digit, ms: u16) -> Result<(), MediaBusy> {
        self.handle.order(Order::Told { key: self.key, digit, ms })
    }
}

impl Legs {
    pub(super) fn bridge(&mut self, a: u64, b: u64, now: Now) {
        if !self.by_key.contains_key(&a) || !self.by_key.contains_key(&b) {
            return;
        }
        self.unbridge(a, now);
        self.unbridge(b, now);
        for (key, partner) in [(a, b), (b, a)] {
            let room = self.by_key(key).and_then(|it| it.room.take());
            self.leave_room(key, room);
            if let Some(leg) = self.by_key(key) {
                leg.partner = Some(partner);
                leg.sound = None;
                // What was still to be said was not for the new partner.
                leg.session.clear();
            }
        }
        self.settle(a, now);
        self.seat_of(a, now);
    }

    pub(super) fn unbridge(&mut self, key: u64, now: Now) {
        let Some(partner) = self.by_key(key).and_then(|it| it.partner.take()) else {
            return;
        };
        if let Some(leg) = self.by_key(partner).filter(|it| it.partner == Some(key)) {
            leg.partner = None;
        }
        self.settle(key, now);
        self.settle(partner, now);
        self.seat_of(key, now);
    }

    pub(super) fn play(&mut self, key: u64, clip: Option<Clip>, now: Now) {
        if let Some(leg) = self.by_key(key) {
            leg.sound = clip.filter(|it| !it.samples().is_empty()).map(|it| (it, 0));
            leg.session.clear();
        }
        self.settle(key, now);
    }

    /// The peer of a leg has told of a digit by INFO.
    pub(super) fn tell_digit(&mut self, key: u64, digit: Digit, ms: u16, now: Now) {
        let Some(leg) = self.by_key(key) else {
            return;
        };
        let partner = leg.partner;
        if let Some(((told, partner), events)) =
            leg.session.tell_digit(digit, ms, now).zip(partner).map(|it| (it, self.events.clone()))
            && let Some(leg) = self.by_key(partner)
        {
            leg.send_digit(told.digit, held_ms(told.duration_ms), &events);
        }
        self.settle(key, now);
    }

    /// Brings a leg what its partner's peer said.
    pub(super) fn pass(&mut self, passed: Passed) {
        let events = passed.digit.map(|_| self.events.clone());
        let Some(leg) = self.by_key(passed.partner) else {
            return;
        };
        let (digit, audio) = match passed.tone {
            None => (passed.digit, passed.audio),
            // Who takes tones hears them as they are; others are told of the digit when it ends.
            Some(Telling::First) if leg.hears_keys() => (None, passed.audio),
            Some(_) => (passed.digit, passed.audio.map(|it| Frame::silence(it.rate()))),
        };
        if let Some(((digit, ms), events)) = digit.zip(events) {
            leg.send_digit(digit, ms, &events);
        }
        if let Some(frame) = audio
            && leg.waiting_frames < BRIDGE_FRAMES_MAX
            && leg.sound.is_none()
            && !leg.is_being_told()
        {
            // There is room, as fewer wait than fit.
            leg.session.play(PlayoutFrame { utterance: BRIDGED, frame }).unwrap_or_default();
            leg.waiting_frames += 1;
        }
    }
}

impl Leg {
    /// What is to be passed on of `tick`; nothing if nobody is bridged to this leg.
    pub(super) fn passed(&self, tick: &Tick) -> Option<Passed> {
        let audio = match &tick.heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => Some(*frame),
            Heard::Nothing => None,
        };
        let digit = tick.dtmf_ended.filter(|_| !self.takes_keys()).map(|it| (it.digit, held_ms(it.duration_ms)));
        let passed = Passed { partner: self.partner?, audio, digit, tone: tick.tone };
        (passed.audio.is_some() || passed.digit.is_some()).then_some(passed)
    }

    /// Whether its peer takes keys as tones in the audio, and in no other way.
    fn hears_keys(&self) -> bool {
        !self.tells_keys && !self.session.takes_events()
    }

    /// Keeps the sound that is played going.
    pub(super) fn play_sound(&mut self) {
        let Some((clip, position)) = &mut self.sound else {
            return;
        };
        if self.waiting_frames == 0 {
            let frame = clip.round(*position);
            *position = (*position + frame.samples().len()) % clip.samples().len();
            // There is room, as nothing waits.
            self.session.play(PlayoutFrame { utterance: BRIDGED, frame }).unwrap_or_default();
        }
    }

    /// Sends a digit as an event, or as tones to a peer that takes none; or has it told.
    pub(super) fn send_digit(&mut self, digit: Digit, ms: u16, events: &mpsc::Sender<MediaEvent>) {
        let ms = if ms == 0 { DTMF_SENT_MS } else { ms };
        // What does not fit is dropped, as if the key had not been pressed.
        self.press(digit, ms, events).unwrap_or_default();
    }

    /// The same; `None` if there is no room for it.
    pub(super) fn press(&mut self, digit: Digit, ms: u16, events: &mpsc::Sender<MediaEvent>) -> Option<()> {
        if self.tells_keys {
            events.try_send(MediaEvent::Pressed { leg: self.id, digit, ms }).ok()
        } else {
            self.session.press(digit, ms).ok()
        }
    }
}

/// Names what the other side says among what is played.
const BRIDGED: u32 = u32::MAX;
