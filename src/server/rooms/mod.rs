//! The conference rooms of the configuration: who is in which, for the actors of their members and for HTTP.
//!
//! What a room decides ([`crate::platform::rooms`]) is told to the SIP worker, which has its media threads and calls do it.
//! A room is looked at under a lock that nobody holds for longer than that takes, and never on the way of a packet.

pub(crate) mod http;
pub(crate) mod member;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::agent::RecordingOrder;
use crate::call::HangUpCause;
use crate::codec::{Clip, SampleRate};
use crate::config;
use crate::identity::{AccountId, CallId, Pii};
use crate::limits::ROOM_RECORDINGS_MAX;
use crate::platform::rooms::door::Door;
use crate::platform::rooms::{Change, Member, Refused, Room, Rules};
use crate::server::consent::Planner;
use crate::server::media_worker::{Entry, RoomKey, RoomOrder, RoomSounds};
use crate::server::recordings::{Recordings, Underway};
use crate::server::sip_worker::Command;
use crate::server::sounds::Sounds;
use crate::timer::Now;

/// All rooms. Clones lead to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Rooms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rooms: BTreeMap<String, Mutex<Held>>,
    cues: Cues,
    worker: mpsc::Sender<Command>,
    recordings: Arc<Recordings>,
    entered: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

/// What one caller hears of the way into a room and of its own state there.
#[derive(Debug)]
struct Cues {
    wrong_pin: Option<Clip>,
    refused: Option<Clip>,
    muted: Option<Clip>,
    unmuted: Option<Clip>,
}

#[derive(Debug)]
struct Held {
    room: Room,
    key: RoomKey,
    sounds: Arc<RoomSounds>,
    prompt: Option<Clip>,
    records: bool,
    announcement: Announcement,
    recording: Option<RoomRecording>,
    /// Those that have been ended since the room was empty.
    ended: Vec<RoomRecording>,
    /// How many have been begun since it was empty.
    begun: u32,
}

/// What is said to whoever comes into a room that is recorded.
#[derive(Debug)]
enum Announcement {
    /// Nothing: whoever runs the room tells them.
    None,
    Said(Clip),
    /// It could not be made into audio, so nothing is recorded.
    Unspoken,
}

/// A recording of a room, and since when it is made.
#[derive(Debug)]
pub(crate) struct RoomRecording {
    pub(crate) underway: Underway,
    pub(crate) since: Now,
}

/// What rooms have come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomsSnapshot {
    /// Rooms with somebody in them.
    pub occupied: u64,
    /// Members of all rooms.
    pub members: u64,
    /// Total of those who came in.
    pub entered: u64,
    /// Total of those who did not, by why.
    pub refused: [(&'static str, u64); Refused::ALL.len()],
}

/// A room as it is.
pub(crate) struct View {
    pub(crate) members: Vec<Member>,
    pub(crate) members_max: usize,
    pub(crate) is_locked: bool,
    pub(crate) is_waiting: bool,
    pub(crate) is_recorded: bool,
}

/// A sound of a room is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "[rooms.{room}] {key} = \"{sound}\": {reason}; it is the name of a built-in sound, or a file of [sounds] directory"
)]
pub struct RoomSoundMissing {
    room: String,
    key: &'static str,
    sound: String,
    reason: String,
}

impl Rooms {
    /// Those of `config`, all empty.
    ///
    /// # Errors
    /// [`RoomSoundMissing`].
    pub(crate) fn new(
        config: &BTreeMap<String, config::Room>,
        (sounds, planner): (&Sounds, &Planner<'_>),
        recordings: Arc<Recordings>,
        worker: mpsc::Sender<Command>,
    ) -> Result<Self, RoomSoundMissing> {
        let built_in = |name: &str| sounds.load(name, SampleRate::Hz8000).ok();
        let mut rooms = BTreeMap::new();
        for (name, room) in config {
            let load = |key, sound: &str| {
                let missing = |reason| RoomSoundMissing { room: name.clone(), key, sound: sound.to_owned(), reason };
                sounds.load(sound, SampleRate::Hz8000).map_err(missing)
            };
            let tone = |name| built_in(name).filter(|_| room.tones);
            let heard = RoomSounds {
                music: room.music.as_deref().map(|it| load("music", it)).transpose()?,
                joined: tone("joined"),
                left: tone("left"),
            };
            let asks = room.rules.pin.is_some() || room.rules.moderator_pin.is_some();
            let held = Held {
                room: Room::new(room.rules.clone()),
                key: RoomKey::of(name),
                sounds: Arc::new(heard),
                prompt: asks.then(|| load("prompt", &room.prompt)).transpose()?,
                records: room.record,
                announcement: match (&room.announcement_file, &room.announcement) {
                    (Some(file), _) => Announcement::Said(load("announcement_file", file)?),
                    (None, Some(text)) => match planner.speak(text, None) {
                        Some(clip) => Announcement::Said(clip),
                        None => {
                            tracing::warn!(room = name, "its announcement cannot be spoken; it will not be recorded");
                            Announcement::Unspoken
                        }
                    },
                    (None, None) => Announcement::None,
                },
                recording: None,
                ended: vec![],
                begun: 0,
            };
            rooms.insert(name.clone(), Mutex::new(held));
        }
        let cues = Cues {
            wrong_pin: built_in("wrong-pin"),
            refused: built_in("congestion"),
            muted: built_in("muted"),
            unmuted: built_in("unmuted"),
        };
        let (entered, refused) = (AtomicU64::new(0), Refused::ALL.map(|_| AtomicU64::new(0)));
        Ok(Self(Arc::new(Inner { rooms, cues, worker, recordings, entered, refused })))
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.rooms.keys().map(String::as_str)
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.rooms.contains_key(name)
    }

    /// How a room is.
    pub(crate) fn view(&self, name: &str) -> Option<View> {
        let held = self.held(name)?;
        Some(View {
            members: held.room.members().to_vec(),
            members_max: held.room.rules().members_max,
            is_locked: held.room.is_locked(),
            is_waiting: held.room.is_waiting() && !held.room.members().is_empty(),
            is_recorded: held.recording.is_some(),
        })
    }

    /// Has something done with a room, and carries out what follows. `None` if there is no such room.
    pub(crate) async fn with<T>(&self, name: &str, work: impl FnOnce(&mut Room) -> T) -> Option<T> {
        let (done, commands) = {
            let mut held = self.held(name)?;
            let done = work(&mut held.room);
            (done, held.commands())
        };
        for command in commands {
            // Without a worker there are no calls either.
            drop(self.0.worker.send(command).await);
        }
        Some(done)
    }

    /// Changes what becomes of the recording of a room with somebody in it; `None` if there is no such room.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(crate) async fn record(&self, name: &str, order: RecordingOrder, now: Now) -> Option<Result<(), &'static str>> {
        let done = {
            let mut held = self.held(name)?;
            let was_recorded = held.recording.is_some();
            let done = held.record(order, &self.0.recordings, now);
            let is_news = held.recording.is_some() && !was_recorded;
            let told = if is_news { held.cues() } else { vec![] };
            done.map(|it| told.into_iter().chain(it))
        };
        match done {
            Ok(commands) => {
                for command in commands {
                    drop(self.0.worker.send(command).await);
                }
                Some(Ok(()))
            }
            Err(why) => Some(Err(why)),
        }
    }

    /// What somebody is told before they come into a room, if it is recorded.
    fn announcement(&self, name: &str) -> Option<Clip> {
        let held = self.held(name)?;
        let is_recorded = held.recording.is_some() || (held.records && held.begun == 0);
        match &held.announcement {
            Announcement::Said(clip) if is_recorded => Some(clip.clone()),
            Announcement::Said(_) | Announcement::Unspoken | Announcement::None => None,
        }
    }

    /// The door of a room, and what is heard there.
    fn door(&self, name: &str) -> Option<(Door, Option<Clip>)> {
        let held = self.held(name)?;
        Some((Door::of(held.room.rules())?, held.prompt.clone()))
    }

    fn is_moderator(&self, name: &str, user: Option<&str>) -> bool {
        let is = |it: &Rules| user.is_some_and(|user| it.moderators.contains(user));
        self.held(name).is_some_and(|it| is(it.room.rules()))
    }

    /// Whether somebody who has not come in could.
    fn admits(&self, name: &str, is_moderator: bool) -> Result<(), Refused> {
        self.held(name).map_or(Ok(()), |it| it.room.admits(is_moderator))
    }

    /// Whether no PIN is listened to, because too many wrong ones were pressed.
    fn is_besieged(&self, name: &str, now: Now) -> bool {
        self.held(name).is_some_and(|it| it.room.is_besieged(now.unix_ms()))
    }

    /// Counts a wrong PIN.
    fn note_wrong_pin(&self, name: &str, now: Now) {
        self.refuse(Refused::Pin);
        if let Some(mut held) = self.held(name) {
            held.room.note_wrong_pin(now.unix_ms());
        }
    }

    /// Lets somebody in; what the media and the calls are to do then.
    fn enter(
        &self,
        name: &str,
        call: CallId,
        party: Pii<String>,
        is_moderator: bool,
        now: Now,
    ) -> Result<Vec<Command>, Refused> {
        // Routes only name rooms that exist.
        let mut held = self.held(name).ok_or(Refused::Locked)?;
        let is_muted = held.room.enter(call, party, is_moderator, now.unix_ms())?;
        let is_waiting = held.room.is_waiting();
        let entry = Entry { room: held.key, sounds: Arc::clone(&held.sounds), is_muted, is_waiting };
        let mut commands = vec![Command::Room(call, RoomOrder::Enter(entry))];
        commands.extend(held.commands());
        if held.records && held.begun == 0 {
            match held.record(RecordingOrder::Start, &self.0.recordings, now) {
                Ok(command) => commands.extend(command),
                Err(reason) => tracing::warn!(room = name, reason, "the room is not recorded"),
            }
        }
        self.0.entered.fetch_add(1, Ordering::Relaxed);
        Ok(commands)
    }

    /// Somebody is gone: what the others are to do, and the recordings that are over because the room is empty.
    fn leave(&self, name: &str, call: CallId) -> (Vec<Command>, Vec<RoomRecording>) {
        let Some(mut held) = self.held(name) else {
            return (vec![], vec![]);
        };
        if !held.room.leave(call) {
            return (vec![], vec![]);
        }
        let mut over = vec![];
        if held.room.members().is_empty() {
            held.begun = 0;
            over = std::mem::take(&mut held.ended);
            over.extend(held.recording.take());
        }
        (held.commands(), over)
    }

    /// Counts somebody who does not get in.
    fn refuse(&self, refused: Refused) {
        for (counter, why) in self.0.refused.iter().zip(Refused::ALL) {
            if why == refused {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What they have come to.
    pub(crate) fn snapshot(&self) -> RoomsSnapshot {
        let counts: Vec<_> = self.0.rooms.keys().filter_map(|it| Some(self.held(it)?.room.members().len())).collect();
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let mut refused = [("", 0); Refused::ALL.len()];
        for ((to, counter), why) in refused.iter_mut().zip(&self.0.refused).zip(Refused::ALL) {
            *to = (why.name(), counter.load(Ordering::Relaxed));
        }
        RoomsSnapshot {
            occupied: number(counts.iter().filter(|it| **it > 0).count()),
            members: number(counts.iter().sum()),
            entered: self.0.entered.load(Ordering::Relaxed),
            refused,
        }
    }

    fn held(&self, name: &str) -> Option<MutexGuard<'_, Held>> {
        self.0.rooms.get(name).map(|it| it.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    /// Has all in the room told that it is recorded from now on.
    fn cues(&self) -> Vec<Command> {
        let Announcement::Said(clip) = &self.announcement else {
            return vec![];
        };
        let members = self.room.members().iter();
        members.map(|it| Command::Room(it.call, RoomOrder::Cue(Some(clip.clone())))).collect()
    }

    /// What the worker is to do, in its words.
    fn commands(&mut self) -> Vec<Command> {
        let mut commands = vec![];
        while let Some(change) = self.room.poll_change() {
            commands.push(match change {
                Change::Muted(call, is_muted) => Command::Room(call, RoomOrder::Mute(is_muted)),
                Change::Leaves(call) => Command::HangUp(call, HangUpCause::Done),
                Change::Begins => match self.room.members().first() {
                    Some(first) => Command::Room(first.call, RoomOrder::Begin),
                    None => continue,
                },
            });
        }
        commands
    }

    fn record(
        &mut self,
        order: RecordingOrder,
        recordings: &Recordings,
        now: Now,
    ) -> Result<Option<Command>, &'static str> {
        let first = self.room.members().first().map(|it| it.call).ok_or("nobody is in the room")?;
        match (order, &self.recording) {
            (RecordingOrder::Start | RecordingOrder::Resume, Some(recording)) => {
                recording.underway.control.pause(false);
                Ok(None)
            }
            (RecordingOrder::Pause, Some(recording)) => {
                recording.underway.control.pause(true);
                Ok(None)
            }
            (RecordingOrder::Start, None) if matches!(self.announcement, Announcement::Unspoken) => {
                Err("its announcement could not be spoken")
            }
            (RecordingOrder::Start, None) => {
                if self.ended.len() >= ROOM_RECORDINGS_MAX {
                    return Err("the room has been recorded too often since it was empty");
                }
                let begun = recordings.begin_of_room(&AccountId::default(), first, self.begun + 1);
                let (tap, underway) = begun.map_err(|_busy| "too many recordings are under way")?;
                self.begun += 1;
                self.recording = Some(RoomRecording { underway, since: now });
                Ok(Some(Command::Room(first, RoomOrder::Record(Some(tap)))))
            }
            (RecordingOrder::Stop, Some(_)) => {
                self.ended.extend(self.recording.take());
                Ok(Some(Command::Room(first, RoomOrder::Record(None))))
            }
            (RecordingOrder::Pause | RecordingOrder::Resume | RecordingOrder::Stop, None) => Err("there is none"),
        }
    }
}
