//! The actor of a call that is for a conference room: it asks for the PIN, lets the caller in, hears its keys there, and
//! looks after what the journal is told.
//!
//! Digits are never written down here: they may be those of a PIN.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{RoomRecording, Rooms};
use crate::call::{HangUpCause, TransferOutcome};
use crate::codec::{Clip, SampleRate};
use crate::identity::CallId;
use crate::limits::CALL_CLOSE_S_MAX;
use crate::platform::calls::Event;
use crate::platform::rooms::Refused;
use crate::platform::rooms::door::{Door, Outcome};
use crate::route::RoomName;
use crate::server::attendant::{self, Over};
use crate::server::call_actor::Shared;
use crate::server::call_recording::CallRecording;
use crate::server::consent::{RecordingPlan, Words};
use crate::server::media_link::{LegTick, TaskEnd};
use crate::server::media_worker::RoomOrder;
use crate::server::new_call::{NewCall, Party};
use crate::server::plays::Plays;
use crate::server::sip_worker::{Bridged, Command, Signal};
use crate::server::{clock, task};
use crate::timer::Now;

/// Attends to a call for `room` until it is over.
pub(crate) async fn run(room: RoomName, new: NewCall, shared: Shared) {
    let NewCall { call, party, link, rate, signals } = new;
    let is_moderator = shared.rooms.is_moderator(&room.0, party.user.as_deref());
    let presence = Presence { room: room.0, call, rooms: shared.rooms.clone(), worker: shared.worker.clone() };
    let mut plays = Plays::new(shared.worker.clone(), Arc::clone(&shared.sounds), Arc::clone(&shared.metrics));
    let attendant = Attendant {
        shared,
        presence,
        party,
        is_moderator,
        door: None,
        asking: 0,
        state: State::Outside,
        asterisk: false,
        telling: None,
        was_told: false,
        bridged: None,
        recording: None,
        answered: None,
        rate,
    };
    attendant.run(link, signals, &mut plays).await;
}

struct Attendant {
    shared: Shared,
    presence: Presence,
    party: Party,
    is_moderator: bool,
    /// Where the PIN is asked for, while it is.
    door: Option<Door>,
    /// Ticks for which it is still asked.
    asking: u32,
    state: State,
    /// The last key was one.
    asterisk: bool,
    /// It is told that the room is recorded: for so many ticks more, and whether it comes in as a moderator then.
    telling: Option<(u32, bool)>,
    was_told: bool,
    /// Those who talk from now on, if it is transferred out of the room.
    bridged: Option<Bridged>,
    /// Of the call alone, once somebody wants one.
    recording: Option<CallRecording>,
    answered: Option<Now>,
    rate: SampleRate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    /// Its call goes on without the room, or ends.
    Gone,
}

/// A place in a room, which is given up whatever becomes of the actor.
struct Presence {
    room: String,
    call: CallId,
    rooms: Rooms,
    worker: mpsc::Sender<Command>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Only of an actor that has panicked: others have left before.
        let (commands, _) = self.rooms.leave(&self.room, self.call);
        if std::thread::panicking() {
            let hang_up = Command::HangUp(self.call, HangUpCause::Failed);
            for command in commands.into_iter().chain([hang_up]) {
                // With a full queue the calls end when their far sides or their media do.
                self.worker.try_send(command).unwrap_or(());
            }
        }
    }
}

impl Attendant {
    async fn run(mut self, mut link: Option<TaskEnd>, mut signals: mpsc::Receiver<Signal>, plays: &mut Plays) {
        match self.admitted() {
            Err(refused) => self.refuse(refused).await,
            Ok(()) if self.party.is_placed => {}
            Ok(()) => self.carry_out(vec![Command::Answer(self.presence.call)]).await,
        }
        let ended = loop {
            if self.state == State::Gone
                && let Some(bridged) = self.bridged.take()
            {
                // Nobody listens any more, so that the two may get each other's packets as they come.
                drop(link.take());
                break self.give_way(bridged, &mut signals, plays).await;
            }
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(Signal::Ended { end, cause, media }) => break Some((end, cause, media)),
                    Some(Signal::Play(request, seats, reply)) => {
                        reply.send(plays.handle_request(request, &seats, clock::now())).unwrap_or_default();
                        self.shared.log.write_all(self.presence.call, plays.take_events()).await;
                    }
                    Some(Signal::Bridged(bridged)) => self.bridged = Some(bridged),
                    Some(signal) => self.handle_signal(signal).await,
                    // The worker is gone, and with it the process.
                    None => break None,
                },
                () = plays.next() => {
                    self.shared.log.write_all(self.presence.call, plays.take_events()).await;
                }
                tick = next_tick(&mut link) => match tick {
                    Some(tick) => self.handle_tick(&tick).await,
                    None => link = None,
                },
            }
        };
        let recordings = self.leave().await;
        if let Some((end, cause, media)) = ended {
            self.shared.log.write_all(self.presence.call, plays.finish().await).await;
            self.finish(recordings).await;
            self.shared.log.finish(self.presence.call, end, cause, media).await;
        }
    }

    /// It has been transferred out of the room, and talks to somebody until the call is over.
    async fn give_way(
        &mut self,
        bridged: Bridged,
        signals: &mut mpsc::Receiver<Signal>,
        plays: &mut Plays,
    ) -> Option<Over> {
        self.own_recording();
        let mut recording = self.recording.take()?;
        let over =
            attendant::attend(self.presence.call, &mut recording, plays, Some(bridged), signals, &self.shared).await;
        self.recording = Some(recording);
        over
    }

    /// Whether it may try to get in.
    fn admitted(&self) -> Result<(), Refused> {
        let Presence { room, rooms, .. } = &self.presence;
        // Whoever is asked for a PIN may turn out to be a moderator.
        let is_asked = !self.is_moderator && !self.party.is_placed && rooms.door(room).is_some();
        if is_asked && rooms.is_besieged(room, clock::now()) {
            return Err(Refused::Pin);
        }
        rooms.admits(room, self.is_moderator || is_asked)
    }

    async fn handle_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Answered => {
                self.answered = Some(clock::now());
                self.open_door().await;
            }
            Signal::Record(request, reply) => {
                // Everybody in the room would have to be asked: somebody has to vouch for them.
                let done = self.own_recording().handle_request(request, clock::now());
                // Whoever asked may have gone.
                reply.send(done.map(|_| ())).unwrap_or_default();
                self.write_events().await;
            }
            Signal::Transferred(TransferOutcome::Succeeded) => {
                let recordings = self.leave().await;
                self.write_recordings(recordings).await;
            }
            Signal::Ringing | Signal::Transferred(_) | Signal::Play(..) | Signal::Bridged(_) | Signal::Ended { .. } => {
            }
        }
    }

    async fn open_door(&mut self) {
        let is_known = self.is_moderator || self.party.is_placed;
        let door = self.presence.rooms.door(&self.presence.room).filter(|_| !is_known);
        match door {
            Some((door, prompt)) if self.state == State::Outside => {
                self.door = Some(door);
                let ms = prompt.as_ref().map_or(0, Clip::duration_ms);
                self.asking = u32::try_from(ms / 20).unwrap_or(u32::MAX);
                self.cue(prompt).await;
            }
            _ => self.enter(self.is_moderator).await,
        }
    }

    async fn handle_tick(&mut self, tick: &LegTick) {
        if let Some((ticks, is_moderator)) = self.telling {
            let left = ticks.saturating_sub(1 + tick.missed);
            self.telling = (left > 0).then_some((left, is_moderator));
            if left == 0 {
                self.enter(is_moderator).await;
            }
        } else if let Some(digit) = tick.tick.dtmf {
            self.press(digit.to_char()).await;
        } else if self.asking > 0 {
            // Who listens to the question has time to think.
            self.asking = self.asking.saturating_sub(1 + tick.missed);
        } else if let Some(door) = &mut self.door {
            let outcome = door.tick(1 + tick.missed);
            self.judge(outcome).await;
        }
    }

    async fn press(&mut self, key: char) {
        if let Some(door) = &mut self.door {
            let outcome = door.press(key);
            self.asking = 0;
            self.cue(None).await;
            return self.judge(outcome).await;
        }
        let follows = std::mem::replace(&mut self.asterisk, key == '*');
        if self.state == State::Inside && follows && key == MUTE_KEY {
            self.toggle_mute().await;
        }
    }

    async fn judge(&mut self, outcome: Outcome) {
        let rooms = self.presence.rooms.clone();
        if outcome != Outcome::Waiting && rooms.is_besieged(&self.presence.room, clock::now()) {
            return self.refuse(Refused::Pin).await;
        }
        match outcome {
            Outcome::Waiting => {}
            Outcome::Wrong => {
                rooms.note_wrong_pin(&self.presence.room, clock::now());
                self.cue(rooms.0.cues.wrong_pin.clone()).await;
            }
            Outcome::Refused => {
                rooms.note_wrong_pin(&self.presence.room, clock::now());
                self.send_away(Refused::Pin).await;
            }
            Outcome::Admitted { is_moderator } => {
                self.cue(None).await;
                self.enter(is_moderator).await;
            }
        }
    }

    async fn enter(&mut self, is_moderator: bool) {
        self.door = None;
        if self.state != State::Outside {
            return;
        }
        let announcement = self.presence.rooms.announcement(&self.presence.room).filter(|_| !self.was_told);
        if let Some(clip) = announcement {
            self.was_told = true;
            self.telling = Some((u32::try_from(clip.duration_ms() / 20).unwrap_or(u32::MAX), is_moderator));
            return self.cue(Some(clip)).await;
        }
        let Presence { room, call, rooms, .. } = &self.presence;
        let who = if self.party.is_placed { self.party.to.clone() } else { self.party.from.clone() };
        match rooms.enter(room, *call, who, is_moderator, clock::now()) {
            Ok(commands) => {
                self.state = State::Inside;
                self.carry_out(commands).await;
                self.note("entered").await;
            }
            Err(refused) => self.refuse(refused).await,
        }
    }

    /// Nobody gets in. Before the answer a status says why, after it a tone does.
    async fn refuse(&mut self, refused: Refused) {
        self.presence.rooms.refuse(refused);
        self.send_away(refused).await;
    }

    async fn send_away(&mut self, refused: Refused) {
        self.door = None;
        self.state = State::Gone;
        let what = match refused {
            Refused::Full => "refused_full",
            Refused::Locked => "refused_locked",
            Refused::Pin => "refused_pin",
        };
        tracing::info!(room = self.presence.room, why = refused.name(), "not let into the room");
        self.note(what).await;
        if self.answered.is_some() {
            let cue = self.presence.rooms.0.cues.refused.clone();
            let wait = cue.as_ref().map_or(0, Clip::duration_ms);
            self.cue(cue).await;
            task::deadline(clock::now().instant + Duration::from_millis(wait)).await;
        }
        let cause = match refused {
            Refused::Full => HangUpCause::Busy,
            Refused::Locked | Refused::Pin => HangUpCause::Done,
        };
        self.carry_out(vec![Command::HangUp(self.presence.call, cause)]).await;
    }

    async fn toggle_mute(&self) {
        let Presence { room, call, rooms, .. } = &self.presence;
        let call = *call;
        let is_muted = rooms.with(room, |it| it.toggle_mute(call)).await.flatten();
        let cues = &self.presence.rooms.0.cues;
        let (cue, what) = match is_muted {
            Some(true) => (cues.muted.clone(), "muted"),
            Some(false) => (cues.unmuted.clone(), "unmuted"),
            None => return,
        };
        self.cue(cue).await;
        self.note(what).await;
    }

    /// Gives up the place in the room, if there is one; the recordings that are over with it.
    async fn leave(&mut self) -> Vec<RoomRecording> {
        self.door = None;
        if std::mem::replace(&mut self.state, State::Gone) != State::Inside {
            return vec![];
        }
        let (commands, recordings) = self.presence.rooms.leave(&self.presence.room, self.presence.call);
        self.carry_out(commands).await;
        self.note("left").await;
        recordings
    }

    async fn finish(&mut self, recordings: Vec<RoomRecording>) {
        self.write_recordings(recordings).await;
        if let Some(recording) = self.recording.take() {
            for event in recording.finish().await {
                self.shared.log.write(self.presence.call, event, clock::now()).await;
            }
        }
    }

    /// Waits a little for the files to be finished, and tells of them in the record of this call, the last of the room.
    async fn write_recordings(&self, recordings: Vec<RoomRecording>) {
        let until = clock::now().instant + Duration::from_secs(CALL_CLOSE_S_MAX);
        for RoomRecording { underway, since } in recordings {
            let begun_ms = self.answered.map_or(0, |it| since.since(it).as_millis());
            let (kept, start_ms) = (Arc::clone(&self.shared.recordings), u64::try_from(begun_ms).unwrap_or(0));
            // A task of its own, so that a slow disk does not keep the file from being passed on.
            let kept = task::spawn("recording-end", async move { kept.keep(underway, start_ms).await });
            let failure = tokio::select! {
                kept = kept => match kept {
                    Ok((recording, error)) => {
                        if let Some(recording) = recording {
                            let event = Event::Recording(recording);
                            self.shared.log.write(self.presence.call, event, clock::now()).await;
                        }
                        error
                    }
                    Err(_) => Some("a defect of the recorder".to_owned()),
                },
                () = task::deadline(until) => Some("the disk was too slow for the journal to be told more".to_owned()),
            };
            if let Some(reason) = failure {
                let event = Event::Failed { component: "recorder".to_owned(), reason };
                self.shared.log.write(self.presence.call, event, clock::now()).await;
            }
        }
    }

    fn own_recording(&mut self) -> &mut CallRecording {
        let Self { shared, presence, answered, rate, recording, .. } = self;
        recording.get_or_insert_with(|| {
            let plan = RecordingPlan::unwritten(Words::default());
            let recordings = Arc::clone(&shared.recordings);
            let new = CallRecording::new(presence.call, Arc::new(plan), recordings, shared.worker.clone(), *rate);
            match *answered {
                Some(answered) => new.answered_at(answered),
                None => new,
            }
        })
    }

    async fn write_events(&mut self) {
        for event in self.own_recording().take_events() {
            self.shared.log.write(self.presence.call, event, clock::now()).await;
        }
    }

    async fn cue(&self, clip: Option<Clip>) {
        self.carry_out(vec![Command::Room(self.presence.call, RoomOrder::Cue(clip))]).await;
    }

    async fn carry_out(&self, commands: Vec<Command>) {
        for command in commands {
            // Without a worker there are no calls either.
            drop(self.shared.worker.send(command).await);
        }
    }

    async fn note(&self, what: &str) {
        let event = Event::Room { room: self.presence.room.clone(), what: what.to_owned() };
        self.shared.log.write(self.presence.call, event, clock::now()).await;
    }
}

/// The next tick of the leg; never, once it is closed.
async fn next_tick(link: &mut Option<TaskEnd>) -> Option<LegTick> {
    match link {
        Some(link) => link.tick().await,
        None => std::future::pending().await,
    }
}

/// After an asterisk, has the others hear this member no more, or again.
const MUTE_KEY: char = '6';
