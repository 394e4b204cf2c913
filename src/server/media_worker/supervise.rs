//! A supervisor on a call: hears both sides on a leg of its own, and is heard by nobody, by one side, or by all.
//!
//! What the sides hear of each other is not touched: packets that are passed on go on being passed on while the supervisor
//! only listens ([`super::relay`]), and an agent's words keep their place in its queue. The supervisor's voice is mixed in
//! where a side's audio leaves. Everything is allocated when the supervisor comes or the call changes, nothing in a tick.

use smallvec::SmallVec;

use super::bridge::Passed;
use super::{Leg, Legs, MediaBusy, MediaLeg, Order};
use crate::codec::{AtRate, Frame, SampleRate};
use crate::identity::CallId;
use crate::limits::BRIDGE_FRAMES_MAX;
use crate::media::mixer::{MemberId, Mixer, Role};
use crate::media::{Heard, PlayoutFrame};
use crate::timer::Now;

/// Who hears a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Nobody: it listens.
    Nobody,
    /// The agent of the call, or where two people talk the peer of the leg with this number: it whispers.
    OneSide(u8),
    /// All: it barges in.
    Everyone,
}

impl MediaLeg {
    /// Makes this leg the supervisor of the other legs of its call, or changes who hears it; `None` ends that.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn supervise(&self, speech: Option<Speech>) -> Result<(), MediaBusy> {
        self.handle.order(Order::Supervise { key: self.key, speech })
    }
}

/// What a supervisor hears, and who hears it.
#[derive(Debug)]
pub(super) struct Desk {
    mixer: Mixer,
    speech: Speech,
    /// The keys of the legs into which its voice goes.
    targets: SmallVec<[u64; 4]>,
}

/// Somebody else's voice on its way into a leg.
#[derive(Debug)]
pub(super) struct Voice {
    /// To the rate of the leg.
    hearing: AtRate,
    next: Option<Frame>,
    /// Whether the peer hears it, and our agent.
    pub(super) to_peer: bool,
    to_agent: bool,
}

impl Voice {
    /// What is to be mixed in this tick.
    pub(super) const fn take(&mut self) -> Option<Frame> {
        self.next.take()
    }

    /// What our agent hears in place of `heard`.
    pub(super) fn heard_by_agent(&self, heard: Heard, voice: Option<Frame>) -> Heard {
        let Some(voice) = voice.filter(|_| self.to_agent) else {
            return heard;
        };
        match heard {
            Heard::Audio(mut frame) | Heard::Concealed(mut frame) if frame.rate() == voice.rate() => {
                frame.mix_in(&voice);
                Heard::Audio(frame)
            }
            Heard::Audio(_) | Heard::Concealed(_) => heard,
            Heard::Nothing => Heard::Audio(voice),
        }
    }
}

/// What was said on a leg in 20 ms, for whoever watches it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// By its peer.
    pub(super) heard: Option<Frame>,
    /// By our agent.
    pub(super) played: Option<Frame>,
}

/// What comes of a leg's tick for other legs.
pub(super) struct Ticked {
    pub(super) passed: Option<Passed>,
    pub(super) said: Said,
}

impl Legs {
    pub(super) fn supervise(&mut self, key: u64, speech: Option<Speech>, now: Now) {
        let Some(leg) = self.by_key(key) else {
            return;
        };
        let call = leg.id.call;
        match (speech, &mut leg.desk) {
            (Some(speech), Some(desk)) => desk.speech = speech,
            (Some(speech), none) => {
                let mut mixer = Mixer::new();
                // An empty mixer takes its first member.
                mixer.join(SUPERVISOR, Role::Listener, leg.session.rate()).unwrap_or_default();
                *none = Some(Box::new(Desk { mixer, speech, targets: SmallVec::new() }));
                leg.session.clear();
                self.supervisors.insert(call, key);
            }
            (None, desk) => *desk = None,
        }
        self.seat(call, now);
    }

    /// Lets the supervisor of a call, if there is one, hear whoever talks in it now.
    pub(super) fn seat(&mut self, call: CallId, now: Now) {
        let Some(key) = self.supervisors.get(&call).copied() else {
            return;
        };
        let speech = self.by_key(key).and_then(|it| it.desk.as_ref().map(|it| it.speech));
        let supervisor = speech.map(|_| key);
        if supervisor.is_none() {
            self.supervisors.remove(&call);
        }
        let mut targets = SmallVec::new();
        let mut keys: SmallVec<[u64; 4]> = SmallVec::new();
        for leg in self.open.iter_mut().flatten().filter(|it| it.id.call == call && Some(it.key) != supervisor) {
            let has_agent = leg.has_agent();
            let is_side = leg.partner.is_some() || has_agent;
            leg.watcher = supervisor.filter(|_| is_side);
            let (to_peer, to_agent) = match speech.filter(|_| is_side) {
                None | Some(Speech::Nobody) => (false, false),
                Some(Speech::OneSide(index)) => (!has_agent && leg.id.index == index, has_agent),
                Some(Speech::Everyone) => (true, has_agent),
            };
            if to_peer || to_agent {
                let hearing = AtRate::new(leg.session.rate());
                leg.voice = Some(Box::new(Voice { hearing, next: None, to_peer, to_agent }));
                targets.push(leg.key);
            } else {
                leg.voice = None;
            }
            keys.push(leg.key);
        }
        if let Some(desk) = supervisor.and_then(|it| self.by_key(it)?.desk.as_mut()) {
            desk.targets = targets;
        }
        for key in keys {
            self.settle(key, now);
        }
    }

    /// As [`Legs::seat`], of the call that a leg belongs to.
    pub(super) fn seat_of(&mut self, key: u64, now: Now) {
        if let Some(call) = self.by_key(key).map(|it| it.id.call).filter(|it| self.supervisors.contains_key(it)) {
            self.seat(call, now);
        }
    }

    /// Brings a supervisor what was said on the leg with this number.
    pub(super) fn tell_supervisor(&mut self, supervisor: u64, index: u8, said: &Said) {
        let Some(desk) = self.by_key(supervisor).and_then(|it| it.desk.as_mut()) else {
            return;
        };
        for (who, frame) in [(u32::from(index), said.heard), (AGENT | u32::from(index), said.played)] {
            if let Some(frame) = frame {
                desk.say(MemberId(who), &frame);
            }
        }
    }

    /// Brings what a supervisor said to those who are to hear it.
    pub(super) fn speak(&mut self, place: usize, frame: &Frame) {
        let Some(desk) = self.open.get_mut(place).and_then(|it| it.as_mut()?.desk.as_mut()) else {
            return;
        };
        // Taken out so that the other legs can be reached; put back below.
        let targets = std::mem::take(&mut desk.targets);
        for key in &targets {
            if let Some(leg) = self.by_key(*key) {
                let rate = leg.session.rate();
                if let Some(voice) = &mut leg.voice {
                    if voice.hearing.rate() != rate {
                        voice.hearing = AtRate::new(rate);
                    }
                    voice.next = Some(voice.hearing.process(frame));
                }
            }
        }
        if let Some(desk) = self.open.get_mut(place).and_then(|it| it.as_mut()?.desk.as_mut()) {
            desk.targets = targets;
        }
    }
}

impl Leg {
    /// Whether an agent of ours talks on it.
    pub(super) fn has_agent(&self) -> bool {
        self.partner.is_none() && self.link.as_ref().is_some_and(|it| !it.is_deserted())
    }

    /// What was said in a tick, if somebody wants to know.
    pub(super) fn said(&self, heard: &Heard) -> Said {
        if self.watcher.is_none() && self.desk.is_none() && self.room.is_none() {
            return Said::default();
        }
        let played = self.session.played_frame().copied().filter(|_| self.has_agent());
        Said { heard: audio(heard), played }
    }

    /// Has the peer hear the supervisor in the next tick, if it is to; what the supervisor says, for our agent.
    pub(super) fn hear_supervisor(&mut self) -> Option<Frame> {
        let voice = self.voice.as_mut()?;
        let (frame, to_peer) = (voice.take()?, voice.to_peer);
        if to_peer {
            self.session.mix_in(frame);
        }
        Some(frame)
    }

    /// Lets a supervisor hear what has been said since its last tick.
    pub(super) fn hear_call(&mut self) {
        let rate = self.session.rate();
        let Some(desk) = &mut self.desk else {
            return;
        };
        desk.follow_rate(rate);
        let (session, waiting) = (&mut self.session, &mut self.waiting_frames);
        desk.mixer.tick(|id, frame| {
            if id == SUPERVISOR && *waiting < BRIDGE_FRAMES_MAX {
                // There is room, as fewer wait than fit.
                session.play(PlayoutFrame { utterance: u32::MAX, frame: *frame }).unwrap_or_default();
                *waiting += 1;
            }
        });
    }
}

impl Desk {
    fn say(&mut self, who: MemberId, frame: &Frame) {
        if self.mixer.rate_of(who) != Some(frame.rate()) {
            // It has just come, or speaks another codec than before.
            self.mixer.leave(who);
            if self.mixer.join(who, Role::Member, frame.rate()).is_err() {
                return;
            }
        }
        self.mixer.say(who, frame);
    }

    /// The supervisor's codec may change, too.
    fn follow_rate(&mut self, rate: SampleRate) {
        if self.mixer.rate_of(SUPERVISOR) != Some(rate) {
            self.mixer.leave(SUPERVISOR);
            self.mixer.join(SUPERVISOR, Role::Listener, rate).unwrap_or_default();
        }
    }
}

/// What was heard of one direction, if anything.
pub(super) const fn audio(heard: &Heard) -> Option<Frame> {
    match heard {
        Heard::Audio(frame) | Heard::Concealed(frame) => Some(*frame),
        Heard::Nothing => None,
    }
}

const SUPERVISOR: MemberId = MemberId(u32::MAX);
/// Sets the agent of a leg apart from its peer.
const AGENT: u32 = 0x100;
