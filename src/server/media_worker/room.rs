//! Rooms: legs of different calls that hear each other, each all but itself.
//!
//! A room's legs are on one thread, but tick at times of their own. Who is about to tick a second time begins a new round:
//! what was said in the last one is mixed and handed to all, so nobody waits for somebody who has left, and what is heard
//! is at most one tick old. The room itself is a member while it plays: music to who is alone or waits for a moderator, and
//! a tone when somebody comes or goes. A member whose peer holds the call neither hears nor is heard: what comes from it is
//! most likely music.
//!
//! Everything is allocated when somebody comes, goes or changes codec, nothing in a tick.

use std::hash::BuildHasher;
use std::sync::Arc;

use super::{Leg, Legs, MediaBusy, MediaLeg, Order};
use crate::codec::{AtRate, Clip, Frame, SampleRate};
use crate::limits::BRIDGE_FRAMES_MAX;
use crate::media::PlayoutFrame;
use crate::media::mixer::{MemberId, Mixer, Role};
use crate::server::recorder::TapEnd;

/// Names a room among those of all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(pub(super) u64);

impl RoomKey {
    /// Of the room of this name.
    pub fn of(name: &str) -> Self {
        Self(foldhash::fast::FixedState::default().hash_one(name))
    }
}

/// What a room sounds like besides its members, at 8 kHz; nothing where there is nothing.
#[derive(Clone, Debug, Default)]
pub struct RoomSounds {
    /// Played over and over to who is alone, and to all who wait.
    pub music: Option<Clip>,
    /// When somebody comes.
    pub joined: Option<Clip>,
    /// When somebody goes.
    pub left: Option<Clip>,
}

/// How a leg enters a room.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which. The leg was opened for it ([`super::OpenLeg::room`]).
    pub room: RoomKey,
    /// What it sounds like; that of the first who enters counts.
    pub sounds: Arc<RoomSounds>,
    /// Whether the others do not hear it.
    pub is_muted: bool,
    /// Whether nobody hears anybody yet.
    pub is_waiting: bool,
}

/// What is to be done with a leg and its room.
#[derive(Debug)]
pub enum RoomOrder {
    /// Let it in.
    Enter(Entry),
    /// Have the others hear it no more, or again.
    Mute(bool),
    /// Have all in its room hear each other, who have waited for that.
    Begin,
    /// Record what is said in its room, or end that.
    Record(Option<TapEnd>),
    /// Play this to its peer once, over everything else, in a room or outside of one. What is still being played ends.
    Cue(Option<Clip>),
}

impl MediaLeg {
    /// Has something done with this leg and its room.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn room(&self, order: RoomOrder) -> Result<(), MediaBusy> {
        self.handle.order(Order::Room { key: self.key, order })
    }
}

/// A room with somebody in it.
#[derive(Debug)]
pub(super) struct Room {
    mixer: Mixer,
    sounds: Arc<RoomSounds>,
    seats: Vec<Seat>,
    is_waiting: bool,
    /// The tone that is played, and how many samples of it are.
    tone: Option<(Clip, usize)>,
    /// How many samples of the music are played.
    music_at: usize,
    tap: Option<TapEnd>,
    /// Counts what is recorded.
    round: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    key: u64,
    rate: SampleRate,
    role: Role,
    is_muted: bool,
    /// It has ticked in this round.
    has_ticked: bool,
}

/// What a peer hears once.
#[derive(Debug)]
pub(super) struct Cue {
    clip: Clip,
    /// Samples played.
    at: usize,
    hearing: AtRate,
}

impl Cue {
    pub(super) fn new(clip: Clip, rate: SampleRate) -> Self {
        Self { clip, at: 0, hearing: AtRate::new(rate) }
    }

    /// The next 20 ms, at `rate`; `None` once all is said.
    pub(super) fn next(&mut self, rate: SampleRate) -> Option<Frame> {
        if self.at >= self.clip.samples().len() {
            return None;
        }
        if self.hearing.rate() != rate {
            self.hearing = AtRate::new(rate);
        }
        let frame = self.clip.once(self.at);
        self.at += frame.samples().len();
        Some(self.hearing.process(&frame))
    }

    /// How many samples of the clip have been said.
    pub(super) fn position(&self) -> u32 {
        u32::try_from(self.at.min(self.clip.samples().len())).unwrap_or(u32::MAX)
    }
}

impl Room {
    fn new(entry: &Entry) -> Self {
        Self {
            mixer: Mixer::new(),
            sounds: Arc::clone(&entry.sounds),
            seats: vec![],
            is_waiting: entry.is_waiting,
            tone: None,
            music_at: 0,
            tap: None,
            round: 0,
        }
    }

    fn enter(&mut self, key: u64, is_muted: bool, rate: SampleRate) -> bool {
        if self.mixer.join(member(key), Role::Listener, rate).is_err() {
            return false;
        }
        self.mixer.set_muted(member(key), is_muted);
        self.seats.push(Seat { key, rate, role: Role::Listener, is_muted, has_ticked: false });
        self.tone = self.sounds.joined.clone().map(|it| (it, 0));
        true
    }

    fn leave(&mut self, key: u64) {
        self.mixer.leave(member(key));
        self.seats.retain(|it| it.key != key);
        self.tone = self.sounds.left.clone().map(|it| (it, 0));
        if self.seats.len() == 1 {
            self.music_at = 0;
        }
    }

    fn mute(&mut self, key: u64, is_muted: bool) {
        self.mixer.set_muted(member(key), is_muted);
        if let Some(seat) = self.seats.iter_mut().find(|it| it.key == key) {
            seat.is_muted = is_muted;
        }
    }

    /// The next 20 ms of what the room itself plays: a tone, or else music where nobody talks.
    fn sound(&mut self) -> Option<Frame> {
        if let Some((clip, at)) = &mut self.tone {
            let frame = clip.once(*at);
            *at += frame.samples().len();
            if *at >= clip.samples().len() {
                self.tone = None;
            }
            return Some(frame);
        }
        let is_quiet = self.is_waiting || self.seats.len() == 1;
        let music = self.sounds.music.as_ref().filter(|it| is_quiet && !it.samples().is_empty())?;
        let frame = music.round(self.music_at);
        self.music_at = (self.music_at + frame.samples().len()) % music.samples().len();
        Some(frame)
    }

    /// The room is a member only while it plays, so that its silence costs nothing.
    fn play(&mut self) {
        match self.sound() {
            Some(frame) => {
                if self.mixer.rate_of(ROOM) != Some(frame.rate()) {
                    self.mixer.leave(ROOM);
                    // There is room, as rooms have fewer members than a mix has.
                    self.mixer.join(ROOM, Role::Member, frame.rate()).unwrap_or_default();
                }
                self.mixer.say(ROOM, &frame);
            }
            None => self.mixer.leave(ROOM),
        }
    }

    /// The recorder hears what is mixed, at the rate of the members.
    fn seat_recorder(&mut self) {
        let rate = self.seats.iter().map(|it| it.rate).max().filter(|_| self.tap.is_some());
        if self.mixer.rate_of(RECORDER) != rate {
            self.mixer.leave(RECORDER);
            if let Some(rate) = rate {
                // There is room, as rooms have fewer members than a mix has.
                self.mixer.join(RECORDER, Role::Listener, rate).unwrap_or_default();
            }
        }
    }

    /// Mixes what was said since the last round, and hands it out.
    fn mix(&mut self, mut hear: impl FnMut(u64, &Frame)) {
        self.play();
        self.seat_recorder();
        self.round += 1;
        let Self { mixer, seats, tap, round, .. } = self;
        mixer.tick(|id, frame| {
            if id == RECORDER {
                if let Some(tap) = tap.as_mut() {
                    tap.tick(*round, Some(frame), Some(frame));
                }
            } else if let Some(seat) = seats.iter().find(|it| member(it.key) == id) {
                hear(seat.key, frame);
            }
        });
        seats.iter_mut().for_each(|it| it.has_ticked = false);
    }

    /// Takes what a member said, and how its peer may be dealt with now: whether it may hear, and be heard.
    fn say(&mut self, key: u64, rate: SampleRate, directions: (bool, bool), heard: Option<&Frame>) {
        let is_waiting = self.is_waiting;
        let Some(seat) = self.seats.iter_mut().find(|it| it.key == key) else {
            return;
        };
        seat.has_ticked = true;
        let role = match directions {
            (false, _) => Role::Held,
            (true, receive) if is_waiting || !receive => Role::Listener,
            (true, _) => Role::Member,
        };
        if seat.rate != rate {
            // Its codec has changed.
            self.mixer.leave(member(key));
            self.mixer.join(member(key), role, rate).unwrap_or_default();
            self.mixer.set_muted(member(key), seat.is_muted);
            (seat.rate, seat.role) = (rate, role);
        } else if seat.role != role {
            self.mixer.set_role(member(key), role);
            seat.role = role;
        }
        if let Some(frame) = heard {
            self.mixer.say(member(key), frame);
        }
    }
}

impl Legs {
    pub(super) fn room(&mut self, key: u64, order: RoomOrder) {
        match order {
            RoomOrder::Enter(entry) => return self.enter(key, &entry),
            RoomOrder::Cue(clip) => {
                if let Some(leg) = self.by_key(key) {
                    let rate = leg.session.rate();
                    leg.cue = clip.map(|clip| Box::new(Cue::new(clip, rate)));
                }
                return;
            }
            RoomOrder::Mute(_) | RoomOrder::Begin | RoomOrder::Record(_) => {}
        }
        let room = self.by_key(key).and_then(|it| it.room);
        // A tap that no room takes is dropped, which finishes its recording.
        let Some(room) = room.and_then(|it| self.rooms.get_mut(&it)) else {
            return;
        };
        match order {
            RoomOrder::Mute(is_muted) => room.mute(key, is_muted),
            RoomOrder::Begin => room.is_waiting = false,
            RoomOrder::Record(tap) => room.tap = tap,
            RoomOrder::Enter(_) | RoomOrder::Cue(_) => {}
        }
    }

    fn enter(&mut self, key: u64, entry: &Entry) {
        let Some(leg) = self.by_key(key).filter(|it| it.room.is_none() && it.partner.is_none()) else {
            return;
        };
        leg.session.clear();
        let rate = leg.session.rate();
        let room = self.rooms.entry(entry.room).or_insert_with(|| Room::new(entry));
        if room.enter(key, entry.is_muted, rate)
            && let Some(leg) = self.by_key(key)
        {
            leg.room = Some(entry.room);
        }
    }

    /// A leg is not in its room any more, if it was in one. The last one takes the room with it.
    pub(super) fn leave_room(&mut self, key: u64, room: Option<RoomKey>) {
        let Some((name, room)) = room.and_then(|it| Some((it, self.rooms.get_mut(&it)?))) else {
            return;
        };
        room.leave(key);
        if room.seats.is_empty() {
            self.rooms.remove(&name);
        }
    }

    /// Lets `ticks` pass unheard after a stall: what is recorded keeps its time.
    pub(super) fn skip_rounds(&mut self, ticks: u32) {
        for room in self.rooms.values_mut() {
            room.round += u64::from(ticks);
        }
    }

    /// A leg is about to tick: if it has ticked in this round, that is over.
    pub(super) fn begin_round(&mut self, room: Option<RoomKey>, key: u64) {
        let Self { rooms, open, by_key, .. } = self;
        let Some(room) = room.and_then(|it| rooms.get_mut(&it)) else {
            return;
        };
        if !room.seats.iter().any(|it| it.key == key && it.has_ticked) {
            return;
        }
        room.mix(|key, frame| {
            let leg = by_key.get(&key).and_then(|it| open.get_mut(*it)?.as_deref_mut());
            if let Some(leg) = leg.filter(|it| it.waiting_frames < BRIDGE_FRAMES_MAX) {
                // There is room, as fewer wait than fit.
                leg.session.play(PlayoutFrame { utterance: u32::MAX, frame: *frame }).unwrap_or_default();
                leg.waiting_frames += 1;
            }
        });
    }

    /// Takes what a leg's peer said for those in its room.
    pub(super) fn say_in_room(&mut self, room: Option<RoomKey>, key: u64, heard: Option<&Frame>) {
        let Some((rate, directions)) =
            room.and_then(|_| self.by_key(key)).map(|it| (it.session.rate(), it.session.directions()))
        else {
            return;
        };
        if let Some(room) = room.and_then(|it| self.rooms.get_mut(&it)) {
            room.say(key, rate, directions, heard);
        }
    }
}

impl Leg {
    /// Has the peer hear the next 20 ms of its cue.
    pub(super) fn play_cue(&mut self) {
        let rate = self.session.rate();
        let Some(cue) = &mut self.cue else {
            return;
        };
        match cue.next(rate) {
            Some(frame) => self.session.mix_in(frame),
            None => self.cue = None,
        }
    }
}

fn member(key: u64) -> MemberId {
    // Keys count from zero; a room does not see two thousand million of them.
    MemberId(u32::try_from(key & 0x7fff_ffff).unwrap_or(0))
}

const ROOM: MemberId = MemberId(u32::MAX);
const RECORDER: MemberId = MemberId(u32::MAX - 1);
