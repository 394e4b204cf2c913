//! What is played to the sides of a call by order from outside: found or fetched, handed to their legs in the order in which
//! it was asked for, and written into the journal step by step.
//!
//! Nothing of this holds the call up: what takes long to be found is waited for beside everything else, and only what was
//! asked for after it, for the same side, waits with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rtrb::Consumer;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::codec::{Clip, Frame, SampleRate};
use crate::identity::{LegId, Pii};
use crate::limits::{LIVE_PLAY_MARKS_MAX, LIVE_PLAY_STEPS_MAX, LIVE_PLAYS_MAX};
use crate::media::player::{PlayId, Playing};
use crate::platform::calls::{Event, PlayEvent};
use crate::server::audio_stream::AudioStream;
use crate::server::media_worker::{Play, PlayOrder, PlaySource, PlayStep, PlayTold, new_play_id};
use crate::server::metrics::Metrics;
use crate::server::player::{FetchError, Opened};
use crate::server::sip_worker::{Command, LiveRefused, Side};
use crate::server::sounds::Sounds;
use crate::server::{clock, task};
use crate::timer::Now;

/// What is to be played, or done with what is.
#[derive(Clone, Debug)]
pub(crate) enum PlayRequest {
    /// Play this to whoever is to hear it, after what they are to hear already.
    Play(Wanted, PlayTo),
    /// Forget one thing, or everything.
    Clear(Option<u32>),
    /// Hold everything where it is, or go on.
    Pause(bool),
    /// Go on from another place, or as loud as this.
    Change(u32, Option<u32>, Option<u16>),
}

/// What is to be played.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What names it in the API: of [`new_play_id`].
    pub(crate) play: u32,
    /// A built-in sound, a file or an address.
    pub(crate) sound: String,
    /// How; its name is left out of account.
    pub(crate) playing: Playing,
}

/// Who is to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlayTo {
    /// One side.
    One(Side),
    /// Both, or whichever there is.
    Both,
}

/// A side of the call, and at what rate it speaks.
pub(crate) type Seat = (Side, LegId, SampleRate);

/// See the module.
pub(crate) struct Plays {
    worker: mpsc::Sender<Command>,
    sounds: Arc<Sounds>,
    metrics: Arc<Metrics>,
    /// Of everything that is played in this call, so that it can follow each other.
    rate: Option<SampleRate>,
    live: BTreeMap<u32, Live>,
    opening: FuturesUnordered<BoxFuture<'static, (u32, Result<Found, Aborted>)>>,
    streams: FuturesUnordered<BoxFuture<'static, (PlayId, Option<String>)>>,
    listener: mpsc::Sender<PlayTold>,
    told: mpsc::Receiver<PlayTold>,
    is_paused: bool,
    events: VecDeque<(Event, Now)>,
}

type Found = Result<Vec<Source>, String>;

/// One thing that is played or will be.
struct Live {
    sound: String,
    playing: Playing,
    /// Who hears it, or has yet to hear it.
    hearers: Vec<Hearer>,
    state: State,
    marks_told: u32,
}

struct Hearer {
    side: Side,
    leg: LegId,
    play: PlayId,
    /// Why what it hears of ended before its time.
    broken: Option<String>,
}

enum State {
    Opening(AbortHandle),
    /// One for each who is to hear it.
    Ready(Vec<Source>),
    Ordered,
}

enum Source {
    Clip(Clip),
    Stream(Box<AudioStream>, Consumer<Frame>, Option<OwnedSemaphorePermit>),
}

impl Plays {
    /// Nothing is played.
    pub(crate) fn new(worker: mpsc::Sender<Command>, sounds: Arc<Sounds>, metrics: Arc<Metrics>) -> Self {
        let (listener, told) = mpsc::channel(LIVE_PLAY_STEPS_MAX);
        Self {
            worker,
            sounds,
            metrics,
            rate: None,
            live: BTreeMap::new(),
            opening: FuturesUnordered::new(),
            streams: FuturesUnordered::new(),
            listener,
            told,
            is_paused: false,
            events: VecDeque::new(),
        }
    }

    /// Does what is asked for, as far as the call's sides are these.
    pub(crate) fn handle_request(&mut self, request: PlayRequest, seats: &[Seat], now: Now) -> Result<(), LiveRefused> {
        match request {
            PlayRequest::Play(wanted, to) => return self.play(wanted, to, seats, now),
            PlayRequest::Clear(None) => {
                // From the last to the first, so that nothing of what waits has its turn meanwhile.
                let plays: Vec<_> = self.live.keys().rev().copied().collect();
                let cleared = plays.into_iter().map(|it| self.clear(it, now));
                // All of them, also if one is not.
                return cleared.fold(Ok(()), Result::and);
            }
            PlayRequest::Clear(Some(play)) => {
                self.known(play)?;
                return self.clear(play, now);
            }
            PlayRequest::Pause(is_paused) => {
                self.is_paused = is_paused;
                let mut legs: Vec<_> = self.live.values().flat_map(|it| it.hearers.iter().map(|it| it.leg)).collect();
                legs.dedup();
                let ordered = legs.into_iter().map(|leg| self.order(leg, PlayOrder::Pause(is_paused)));
                let ordered = ordered.fold(Ok(()), Result::and);
                self.order_ready(now);
                return ordered;
            }
            PlayRequest::Change(play, ms, gain) => self.change(play, ms, gain)?,
        }
        Ok(())
    }

    /// Waits until something has happened, and takes note of it.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            biased;
            Some((play, why)) = self.streams.next(), if !self.streams.is_empty() => {
                let hearers = self.live.values_mut().flat_map(|it| it.hearers.iter_mut());
                for hearer in hearers.filter(|it| it.play == play) {
                    hearer.broken.clone_from(&why);
                }
            }
            Some((play, found)) = self.opening.next(), if !self.opening.is_empty() => {
                self.handle_found(play, found, clock::now());
            }
            Some(told) = self.told.recv() => self.handle_told(told),
        }
    }

    /// What is to be written down, and when it happened.
    pub(crate) fn take_events(&mut self) -> VecDeque<(Event, Now)> {
        std::mem::take(&mut self.events)
    }

    /// The call is over: waits a little for how far everything has come.
    pub(crate) async fn finish(&mut self) -> VecDeque<(Event, Now)> {
        let now = clock::now();
        let unheard = |it: &Live| !matches!(it.state, State::Ordered);
        let unheard: Vec<_> = self.live.iter().filter(|(_, it)| unheard(it)).map(|(play, _)| *play).collect();
        for play in unheard {
            // It is with nobody yet who could refuse.
            self.clear(play, now).unwrap_or_default();
        }
        let until = now.instant + LAST_STEPS_MAX;
        while !self.live.is_empty()
            && let Ok(Some(told)) = tokio::time::timeout_at(until.into(), self.told.recv()).await
        {
            self.handle_told(told);
        }
        self.take_events()
    }

    fn play(&mut self, wanted: Wanted, to: PlayTo, seats: &[Seat], now: Now) -> Result<(), LiveRefused> {
        if self.live.len() >= LIVE_PLAYS_MAX {
            return Err(LiveRefused::Conflict("as much as may wait is to be played already"));
        }
        let is_meant = |it: &Side| to == PlayTo::Both || to == PlayTo::One(*it);
        let hearers = seats.iter().filter(|it| is_meant(&it.0));
        let hearers =
            hearers.map(|(side, leg, _)| Hearer { side: *side, leg: *leg, play: new_play_id(), broken: None });
        let hearers: Vec<_> = hearers.collect();
        if hearers.is_empty() {
            return Err(LiveRefused::Conflict("the call has no second side"));
        }
        let best = seats.iter().map(|it| it.2).max().unwrap_or(SampleRate::Hz8000);
        let rate = *self.rate.get_or_insert(best);
        let Wanted { play, sound, playing } = wanted;
        // Going round and beginning somewhere take all of it.
        let may_stream = matches!(playing.times, None | Some(1)) && playing.from_ms == 0;
        let (sounds, source, count) = (Arc::clone(&self.sounds), sound.clone(), hearers.len());
        let (abort, registration) = AbortHandle::new_pair();
        let opening = async move { open(&sounds, &source, rate, may_stream, count).await };
        self.opening.push(Abortable::new(opening, registration).map(move |found| (play, found)).boxed());
        let state = State::Opening(abort);
        self.live.insert(play, Live { sound, playing, hearers, state, marks_told: 0 });
        self.order_ready(now);
        Ok(())
    }

    fn known(&self, play: u32) -> Result<(), LiveRefused> {
        self.live.contains_key(&play).then_some(()).ok_or(LiveRefused::Conflict(NOT_PLAYED))
    }

    fn change(&mut self, play: u32, ms: Option<u32>, gain: Option<u16>) -> Result<(), LiveRefused> {
        self.known(play)?;
        let Some(live) = self.live.get_mut(&play) else {
            return Ok(());
        };
        if !matches!(live.state, State::Ordered) {
            live.playing.from_ms = ms.unwrap_or(live.playing.from_ms);
            live.playing.gain = gain.unwrap_or(live.playing.gain);
            return Ok(());
        }
        let hearers: Vec<_> = live.hearers.iter().map(|it| (it.leg, it.play)).collect();
        for (leg, play) in hearers {
            if let Some(ms) = ms {
                self.order(leg, PlayOrder::Seek(play, ms))?;
            }
            if let Some(gain) = gain {
                self.order(leg, PlayOrder::Gain(play, gain))?;
            }
        }
        Ok(())
    }

    fn clear(&mut self, play: u32, now: Now) -> Result<(), LiveRefused> {
        let Some(live) = self.live.get(&play) else {
            return Ok(());
        };
        if let State::Opening(abort) = &live.state {
            abort.abort();
        }
        if matches!(live.state, State::Ordered) {
            // How far it has come is told by the leg.
            let hearers: Vec<_> = live.hearers.iter().map(|it| (it.leg, it.play)).collect();
            let stopped = hearers.into_iter().map(|(leg, it)| self.order(leg, PlayOrder::Stop(vec![it])));
            return stopped.fold(Ok(()), Result::and);
        }
        for side in live.hearers.iter().map(|it| it.side).collect::<Vec<_>>() {
            let event = PlayEvent { position_ms: Some(0), ..step(play, side, "cleared") };
            self.end(play, event, now);
        }
        self.order_ready(now);
        Ok(())
    }

    fn handle_found(&mut self, play: u32, found: Result<Found, Aborted>, now: Now) {
        // What was cleared meanwhile is told already.
        let (Ok(found), Some(live)) = (found, self.live.get_mut(&play)) else {
            return;
        };
        match found {
            Ok(sources) => live.state = State::Ready(sources),
            Err(reason) => {
                tracing::warn!(reason, "not played");
                for side in live.hearers.iter().map(|it| it.side).collect::<Vec<_>>() {
                    self.fail(play, side, &reason, now);
                }
            }
        }
        self.order_ready(now);
    }

    /// Hands what has been found to the legs, unless something that they are to hear before has not been.
    fn order_ready(&mut self, now: Now) {
        if self.is_paused {
            return;
        }
        let mut awaited = vec![];
        let mut orders = vec![];
        for live in self.live.values_mut() {
            let legs = live.hearers.iter().map(|it| it.leg);
            let is_awaited = legs.clone().any(|it| awaited.contains(&it));
            match std::mem::replace(&mut live.state, State::Ordered) {
                State::Ready(sources) if !is_awaited => {
                    orders.extend(live.hearers.iter().zip(sources).map(|(hearer, source)| {
                        (hearer.leg, Playing { id: hearer.play, ..live.playing.clone() }, source)
                    }));
                }
                State::Ordered => {}
                state @ (State::Ready(_) | State::Opening(_)) => {
                    awaited.extend(legs);
                    live.state = state;
                }
            }
        }
        for (leg, playing, source) in orders {
            let play = playing.id;
            let source = match source {
                Source::Clip(clip) => PlaySource::Clip(clip),
                Source::Stream(stream, frames, permit) => {
                    self.streams.push(run(play, stream, permit));
                    PlaySource::Stream(self.rate.unwrap_or(SampleRate::Hz8000), frames)
                }
            };
            let order = Play { playing, source, told: self.listener.clone() };
            if self.order(leg, PlayOrder::Play(Box::new(order))).is_err() {
                self.handle_told(PlayTold { at: now, play, what: PlayStep::Refused });
            }
        }
    }

    fn order(&self, leg: LegId, order: PlayOrder) -> Result<(), LiveRefused> {
        self.worker.try_send(Command::PlayInto(leg, order)).or(Err(LiveRefused::Busy))
    }

    fn handle_told(&mut self, told: PlayTold) {
        let is_it = |it: &Hearer| it.play == told.play;
        let Some((play, live)) = self.live.iter_mut().find(|(_, it)| it.hearers.iter().any(is_it)) else {
            return;
        };
        let Some(hearer) = live.hearers.iter_mut().find(|it| is_it(it)) else {
            return;
        };
        let (play, side, broken) = (*play, hearer.side, hearer.broken.take());
        match told.what {
            PlayStep::Started => {
                let sound = Some(Pii::new(live.sound.clone()));
                self.write(PlayEvent { sound, ..step(play, side, "started") }, told.at);
            }
            PlayStep::Mark(name) => {
                live.marks_told = live.marks_told.saturating_add(1);
                if live.marks_told <= LIVE_PLAY_MARKS_MAX {
                    let place = live.playing.marks.iter().find(|(_, it)| **it == name).map(|(ms, _)| *ms);
                    self.write(PlayEvent { mark: Some(name), position_ms: place, ..step(play, side, "mark") }, told.at);
                }
            }
            PlayStep::Cleared(ms) => {
                self.end(play, PlayEvent { position_ms: Some(ms), ..step(play, side, "cleared") }, told.at);
            }
            PlayStep::Finished => match broken {
                Some(reason) => self.fail(play, side, &reason, told.at),
                None => self.end(play, step(play, side, "finished"), told.at),
            },
            PlayStep::Refused => self.fail(play, side, "its side is gone, or has no room for it", told.at),
        }
    }

    fn fail(&mut self, play: u32, side: Side, reason: &str, at: Now) {
        let sound = self.live.get(&play).map(|it| Pii::new(it.sound.clone()));
        self.end(play, PlayEvent { sound, reason: Some(reason.to_owned()), ..step(play, side, "failed") }, at);
    }

    /// A side hears no more of something.
    fn end(&mut self, play: u32, event: PlayEvent, at: Now) {
        self.metrics.play_ended(&event.what);
        if let Some(live) = self.live.get_mut(&play) {
            live.hearers.retain(|it| name(it.side) != event.to);
            if live.hearers.is_empty() {
                self.live.remove(&play);
            }
        }
        self.write(event, at);
    }

    fn write(&mut self, event: PlayEvent, at: Now) {
        self.events.push_back((Event::Play(event), at));
    }
}

fn step(play: u32, side: Side, what: &str) -> PlayEvent {
    PlayEvent {
        play,
        to: name(side).to_owned(),
        what: what.to_owned(),
        sound: None,
        mark: None,
        position_ms: None,
        reason: None,
    }
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Called => "called",
    }
}

/// One source for each who is to hear it: a clip is shared, a stream is read once for each.
async fn open(sounds: &Sounds, sound: &str, rate: SampleRate, may_stream: bool, count: usize) -> Found {
    let mut sources = vec![];
    while sources.len() < count {
        let source = match (sounds.open(sound, rate, may_stream).await?, sources.first()) {
            ((Opened::Clip(clip), _), None) => {
                sources.extend((0..count).map(|_| Source::Clip(clip.clone())));
                continue;
            }
            ((Opened::Clip(clip), _), Some(_)) => Source::Clip(clip),
            ((Opened::Stream(stream, frames), permit), _) => Source::Stream(stream, frames, permit),
        };
        sources.push(source);
    }
    Ok(sources)
}

/// Reads a stream in a task of its own; tells why it ended, if that was before its time.
fn run(
    play: PlayId,
    stream: Box<AudioStream>,
    permit: Option<OwnedSemaphorePermit>,
) -> BoxFuture<'static, (PlayId, Option<String>)> {
    let running: JoinHandle<Result<(), FetchError>> = task::spawn("audio-stream", async move {
        let _permit = permit;
        stream.run().await
    });
    let why = |it: Result<Result<(), FetchError>, _>| match it {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("a defect of ours".to_owned()),
    };
    running.map(move |it| (play, why(it))).boxed()
}

/// What is asked of is not there (any more).
pub(crate) const NOT_PLAYED: &str = "nothing of that number is played";
/// After the end of a call, its legs tell soon how far they came.
const LAST_STEPS_MAX: Duration = Duration::from_millis(500);
