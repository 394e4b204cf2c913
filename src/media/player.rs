//! [`Player`]: what is played to a leg besides speech: clips and streams, one after the other, with marks that tell how
//! far they are. Clearing takes effect with the next frame.

use std::collections::{BTreeMap, VecDeque};

use crate::codec::{Clip, Frame, SampleRate};
use crate::limits::{PLAYER_EVENTS_MAX, PLAYER_ITEMS_MAX, PLAYER_MARKS_MAX, PLAYER_STREAM_FRAMES_MAX};

/// Names something that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayId(pub u32);

/// How something is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playing {
    /// Comes back in [`PlayerEvent`].
    pub id: PlayId,
    /// How often; `None` is for ever. Of a stream, once is all there is.
    pub times: Option<u32>,
    /// Where to begin, in milliseconds.
    pub from_ms: u32,
    /// In 256ths of what it is; at most 16 times as loud.
    pub gain: u16,
    /// Places in milliseconds and their names, told when they are reached.
    pub marks: BTreeMap<u32, String>,
    /// Whether it is to be heard alone, or beside whatever else there is to hear.
    pub is_alone: bool,
}

/// What has happened to something that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayerEvent {
    /// Its first frame is out.
    Started(PlayId),
    /// A mark has been reached.
    Mark(PlayId, String),
    /// Its last frame is out.
    Finished(PlayId),
    /// It was cleared after so many milliseconds.
    Cleared(PlayId, u32),
}

/// Too much waits to be played, or the stream is not there (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the player does not take this now")]
pub struct PlayerFull;

/// See the module. When [`PLAYER_ITEMS_MAX`] things wait, it refuses more.
#[derive(Debug)]
pub struct Player {
    rate: SampleRate,
    items: VecDeque<Item>,
    is_paused: bool,
    events: VecDeque<PlayerEvent>,
    /// Frames of silence because a stream had none.
    starved: u64,
}

#[derive(Debug)]
struct Item {
    playing: Playing,
    source: Source,
    /// Samples of this time round that are out.
    position: usize,
    is_started: bool,
}

#[derive(Debug)]
enum Source {
    Clip(Clip),
    Stream { frames: VecDeque<Frame>, is_over: bool },
}

impl Playing {
    /// Once, from the beginning, as loud as it is.
    pub const fn once(id: PlayId) -> Self {
        Self { id, times: Some(1), from_ms: 0, gain: UNITY, marks: BTreeMap::new(), is_alone: true }
    }

    /// Again and again.
    pub const fn forever(id: PlayId) -> Self {
        Self { id, times: None, from_ms: 0, gain: UNITY, marks: BTreeMap::new(), is_alone: true }
    }
}

impl Player {
    /// For a leg of this rate.
    pub const fn new(rate: SampleRate) -> Self {
        Self { rate, items: VecDeque::new(), is_paused: false, events: VecDeque::new(), starved: 0 }
    }

    /// Plays a clip after what is already to be played.
    ///
    /// # Errors
    ///
    /// [`PlayerFull`], also of a clip whose rate is not the player's.
    pub fn play(&mut self, clip: Clip, playing: Playing) -> Result<(), PlayerFull> {
        if clip.rate() != self.rate {
            return Err(PlayerFull);
        }
        self.push(Source::Clip(clip), playing)
    }

    /// Plays what [`Player::feed`] will bring, after what is already to be played.
    ///
    /// # Errors
    ///
    /// [`PlayerFull`].
    pub fn play_stream(&mut self, playing: Playing) -> Result<(), PlayerFull> {
        self.push(Source::Stream { frames: VecDeque::new(), is_over: false }, playing)
    }

    /// The next 20 ms of a stream; `None` ends it.
    ///
    /// # Errors
    ///
    /// [`PlayerFull`]: [`PLAYER_STREAM_FRAMES_MAX`] frames wait.
    pub fn feed(&mut self, id: PlayId, frame: Option<Frame>) -> Result<(), PlayerFull> {
        let item = self.items.iter_mut().find(|it| it.playing.id == id).ok_or(PlayerFull)?;
        let Source::Stream { frames, is_over } = &mut item.source else {
            return Err(PlayerFull);
        };
        match frame {
            None => *is_over = true,
            Some(_) if *is_over || frames.len() >= PLAYER_STREAM_FRAMES_MAX => return Err(PlayerFull),
            Some(frame) => frames.push_back(frame),
        }
        Ok(())
    }

    /// Goes on from another place of a clip that is being played or waits.
    pub fn seek(&mut self, id: PlayId, ms: u32) {
        let position = self.samples_of(ms);
        if let Some(item) = self.items.iter_mut().find(|it| it.playing.id == id)
            && let Source::Clip(clip) = &item.source
        {
            item.position = position.min(clip.samples().len());
        }
    }

    /// How loud something is from the next frame on, in 256ths.
    pub fn set_gain(&mut self, id: PlayId, gain: u16) {
        if let Some(item) = self.items.iter_mut().find(|it| it.playing.id == id) {
            item.playing.gain = gain;
        }
    }

    /// While paused, nothing is played and nothing is lost.
    pub const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Forgets everything that is or was to be played.
    pub fn clear(&mut self) {
        while let Some(item) = self.items.pop_front() {
            let event = PlayerEvent::Cleared(item.playing.id, self.ms_of(item.position));
            self.tell(event);
        }
    }

    /// Forgets one thing.
    pub fn stop(&mut self, id: PlayId) {
        if let Some(index) = self.items.iter().position(|it| it.playing.id == id)
            && let Some(item) = self.items.remove(index)
        {
            let event = PlayerEvent::Cleared(id, self.ms_of(item.position));
            self.tell(event);
        }
    }

    /// The next 20 ms; `None` if there is nothing to play.
    pub fn tick(&mut self) -> Option<Frame> {
        if self.is_paused {
            return None;
        }
        let mut frame = Frame::silence(self.rate);
        let mut filled = 0;
        while filled < frame.samples().len() {
            let Some(mut item) = self.items.pop_front() else { break };
            if !item.is_started {
                item.is_started = true;
                self.tell(PlayerEvent::Started(item.playing.id));
            }
            let room = frame.samples_mut().get_mut(filled..).unwrap_or(&mut []);
            let before = item.position;
            let (len, state) = item.fill(room);
            filled += len;
            self.tell_marks(&item, before, before + len);
            match state {
                State::GoesOn => {}
                State::Starves => {
                    self.starved += 1;
                    self.items.push_front(item);
                    return Some(frame);
                }
                State::AtItsEnd if item.begin_again() => {}
                State::AtItsEnd => {
                    self.tell(PlayerEvent::Finished(item.playing.id));
                    continue;
                }
            }
            self.items.push_front(item);
        }
        (filled > 0).then_some(frame)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<PlayerEvent> {
        self.events.pop_front()
    }

    /// What is played next.
    pub fn current(&self) -> Option<&Playing> {
        Some(&self.items.front()?.playing)
    }

    /// Whether [`Player::pause`] holds it.
    pub const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The rate of what it plays.
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Whether there is nothing to play.
    pub fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    /// Frames of silence that were played because a stream was late.
    pub const fn starved(&self) -> u64 {
        self.starved
    }

    fn push(&mut self, source: Source, mut playing: Playing) -> Result<(), PlayerFull> {
        if self.items.len() >= PLAYER_ITEMS_MAX || playing.times == Some(0) {
            return Err(PlayerFull);
        }
        while playing.marks.len() > PLAYER_MARKS_MAX {
            playing.marks.pop_last();
        }
        let position = match &source {
            // One that begins behind its end would go round for ever.
            Source::Clip(clip) if clip.samples().is_empty() => return Err(PlayerFull),
            Source::Clip(clip) => self.samples_of(playing.from_ms).min(clip.samples().len()),
            Source::Stream { .. } => 0,
        };
        self.items.push_back(Item { playing, source, position, is_started: false });
        Ok(())
    }

    /// Tells the marks from `from` up to `to`, in samples.
    fn tell_marks(&mut self, item: &Item, from: usize, to: usize) {
        if from == to {
            return;
        }
        for (ms, name) in &item.playing.marks {
            if (from..to).contains(&self.samples_of(*ms)) {
                self.tell(PlayerEvent::Mark(item.playing.id, name.clone()));
            }
        }
    }

    fn tell(&mut self, event: PlayerEvent) {
        if self.events.len() >= PLAYER_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn samples_of(&self, ms: u32) -> usize {
        usize::try_from(u64::from(ms) * u64::from(self.rate.hz()) / 1_000).unwrap_or(usize::MAX)
    }

    fn ms_of(&self, samples: usize) -> u32 {
        let ms = u64::try_from(samples).unwrap_or(u64::MAX).saturating_mul(1_000) / u64::from(self.rate.hz());
        u32::try_from(ms).unwrap_or(u32::MAX)
    }
}

enum State {
    GoesOn,
    /// A stream has nothing now.
    Starves,
    AtItsEnd,
}

impl Item {
    /// Puts what comes next into `room`; returns how much that was.
    fn fill(&mut self, room: &mut [i16]) -> (usize, State) {
        let (len, state) = match &mut self.source {
            Source::Clip(clip) => {
                let left = clip.samples().get(self.position..).unwrap_or(&[]);
                let len = left.len().min(room.len());
                room.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
                (len, if len == left.len() { State::AtItsEnd } else { State::GoesOn })
            }
            Source::Stream { frames, is_over } => match frames.pop_front() {
                // Frames of a stream begin with the tick; what does not fit behind the end of something else is cut.
                Some(frame) => {
                    room.iter_mut().zip(frame.samples()).for_each(|(to, from)| *to = *from);
                    (room.len(), if *is_over && frames.is_empty() { State::AtItsEnd } else { State::GoesOn })
                }
                None if *is_over => (0, State::AtItsEnd),
                None => (0, State::Starves),
            },
        };
        let gain = i32::from(self.playing.gain.min(16 * UNITY));
        if self.playing.gain != UNITY {
            for sample in room.iter_mut().take(len) {
                let louder = i32::from(*sample) * gain / i32::from(UNITY);
                *sample = i16::try_from(louder).unwrap_or(if louder < 0 { i16::MIN } else { i16::MAX });
            }
        }
        self.position += len;
        (len, state)
    }

    fn begin_again(&mut self) -> bool {
        if matches!(self.source, Source::Stream { .. }) || self.playing.times == Some(1) {
            return false;
        }
        self.playing.times = self.playing.times.map(|it| it.saturating_sub(1));
        self.position = 0;
        true
    }
}

const UNITY: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    fn clips_follow_each_other_without_a_gap() {
        let mut player = Player::new(RATE);
        player.play(clip(1, 200), Playing::once(PlayId(1))).unwrap();
        player.play(clip(2, 120), Playing::once(PlayId(2))).unwrap();
        check(&mut player, "1*160 | 1*40 2*120 | .", "started 1, finished 1, started 2, finished 2");
        assert!(player.is_idle());
    }

    #[test]
    fn a_loop_goes_round_and_clearing_ends_it_at_once() {
        let mut player = Player::new(RATE);
        let mut marks = BTreeMap::new();
        marks.insert(10, "half".to_owned());
        player.play(clip(3, 240), Playing { times: Some(2), marks, ..Playing::once(PlayId(1)) }).unwrap();
        player.play(clip(4, 160), Playing::forever(PlayId(2))).unwrap();
        check(
            &mut player,
            "3*160 | 3*160 | 3*160 | 4*160 | 4*160",
            "started 1, mark 1 half, mark 1 half, finished 1, started 2",
        );
        player.clear();
        check(&mut player, ". | .", "cleared 2 at 0");
    }

    #[test]
    fn seeking_gain_and_pausing() {
        let mut player = Player::new(RATE);
        let ramp: Vec<i16> = (0..800).map(|it| it / 160).collect();
        let ramp = Clip::new(&ramp, 8_000, RATE).unwrap();
        player.play(ramp, Playing { from_ms: 20, gain: 512, ..Playing::once(PlayId(7)) }).unwrap();
        check(&mut player, "2*160", "started 7");
        player.pause(true);
        check(&mut player, ".", "");
        player.pause(false);
        player.seek(PlayId(7), 80);
        player.set_gain(PlayId(7), 256 * 16);
        check(&mut player, "64*160 | .", "finished 7");
        player.play(clip(30_000, 160), Playing { gain: 512, ..Playing::once(PlayId(8)) }).unwrap();
        check(&mut player, "32767*160", "started 8, finished 8");
    }

    #[test]
    fn a_stream_that_is_late_is_silence() {
        let mut player = Player::new(RATE);
        player.play_stream(Playing::once(PlayId(1))).unwrap();
        player.feed(PlayId(1), Some(Frame::from_samples(RATE, &[5; 160]))).unwrap();
        check(&mut player, "5*160 | 0*160", "started 1");
        player.feed(PlayId(1), Some(Frame::from_samples(RATE, &[6; 160]))).unwrap();
        player.feed(PlayId(1), None).unwrap();
        check(&mut player, "6*160 | .", "finished 1");
        assert_eq!((player.starved(), player.feed(PlayId(1), None)), (1, Err(PlayerFull)));
    }

    #[test]
    fn everything_has_a_bound() {
        let mut player = Player::new(RATE);
        for id in 0..100 {
            let played = player.play(clip(1, 1), Playing::once(PlayId(id)));
            assert_eq!(played.is_ok(), id < 64);
        }
        player.clear();
        assert!(player.play(Clip::new(&[], 8_000, RATE).unwrap(), Playing::forever(PlayId(1))).is_err());
        assert!(player.play(clip(1, 9), Playing { times: Some(0), ..Playing::once(PlayId(1)) }).is_err());
        player.play_stream(Playing::once(PlayId(1))).unwrap();
        let fed = (0..1_000).filter(|_| player.feed(PlayId(1), Some(Frame::silence(RATE))).is_ok()).count();
        assert_eq!(fed, PLAYER_STREAM_FRAMES_MAX);
    }

    /// As many ticks as `expected` has, each as `value*samples …`, and what was told in them.
    #[track_caller]
    fn check(player: &mut Player, expected: &str, events: &str) {
        let ticks =
            expected.split(" | ").map(|_| player.tick().map_or_else(|| ".".to_owned(), |it| runs(it.samples())));
        let ticks: Vec<_> = ticks.collect();
        assert_eq!(ticks.join(" | "), expected);
        let told: Vec<_> = std::iter::from_fn(|| player.poll_event())
            .map(|it| match it {
                PlayerEvent::Started(id) => format!("started {}", id.0),
                PlayerEvent::Mark(id, name) => format!("mark {} {name}", id.0),
                PlayerEvent::Finished(id) => format!("finished {}", id.0),
                PlayerEvent::Cleared(id, ms) => format!("cleared {} at {ms}", id.0),
            })
            .collect();
        assert_eq!(told.join(", "), events);
    }

    fn runs(samples: &[i16]) -> String {
        let runs = samples.chunk_by(|a, b| a == b).map(|run| format!("{}*{}", run[0], run.len()));
        runs.collect::<Vec<_>>().join(" ")
    }

    fn clip(value: i16, len: usize) -> Clip {
        Clip::new(&vec![value; len], 8_000, RATE).unwrap()
    }
}
