//! What is played into a leg from outside, whoever talks on it: clips and streams, one after the other, alone or beside the
//! rest, in a call with an agent of ours as in one between two people.
//!
//! What plays alone takes the place of the partner's voice, of music on hold and of a room; an agent of ours waits, and
//! goes on afterwards; and everything waits while the peer is told something ([`super::attend`]). Packets of a leg that
//! something is played to are not passed on as they come; they are again in the tick after its last one. While the peer cannot
//! hear us, nothing is played and nothing is lost.

use std::sync::atomic::{AtomicU32, Ordering};

use rtrb::Consumer;
use tokio::sync::mpsc;

use super::{Leg, Legs, MediaBusy, MediaLeg, Order};
use crate::codec::{AtRate, Clip, Frame, SampleRate};
use crate::limits::PLAYER_STREAM_REFILL_FRAMES;
use crate::media::player::{PlayId, Player, PlayerEvent, Playing};
use crate::timer::Now;

/// What is to be done with what is played into a leg.
#[derive(Debug)]
pub enum PlayOrder {
    /// Play this after what is already to be played.
    Play(Box<Play>),
    /// Forget these, at once.
    Stop(Vec<PlayId>),
    /// Hold everything that is played from outside where it is, or go on with it. What else there is to hear is heard meanwhile.
    Pause(bool),
    /// Go on from there, in milliseconds.
    Seek(PlayId, u32),
    /// So loud, in 256ths.
    Gain(PlayId, u16),
}

/// Something that is to be played.
#[derive(Debug)]
pub struct Play {
    /// How. Its name is one of [`new_play_id`].
    pub playing: Playing,
    /// What. Its rate need not be that of the leg; but what waits at a time has one rate.
    pub source: PlaySource,
    /// Where it is told what becomes of it. What finds no room there is told later.
    pub told: mpsc::Sender<PlayTold>,
}

/// Where what is played comes from.
#[derive(Debug)]
pub enum PlaySource {
    /// It is there.
    Clip(Clip),
    /// It comes while it is played; it ends when its writer is dropped.
    Stream(SampleRate, Consumer<Frame>),
}

/// What has become of something that is played into a leg.
#[derive(Clone, Debug)]
pub struct PlayTold {
    /// When the packet of it left.
    pub at: Now,
    /// What has been played.
    pub play: PlayId,
    /// What happened.
    pub what: PlayStep,
}

/// A step in what becomes of something that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayStep {
    /// Its first packet has left.
    Started,
    /// So has that with this mark.
    Mark(String),
    /// And its last.
    Finished,
    /// It was stopped where it had come to, in milliseconds of it, or its leg has ended there.
    Cleared(u32),
    /// The leg has no room for it, or is gone.
    Refused,
}

/// A name for something that is played, which nothing else has.
pub fn new_play_id() -> PlayId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    PlayId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl MediaLeg {
    /// Has something played into this leg, or done with what is. What is not played for that is told as
    /// [`PlayStep::Refused`].
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn play_into(&self, order: PlayOrder, now: Now) -> Result<(), MediaBusy> {
        let listener = match &order {
            PlayOrder::Play(play) => Some((play.playing.id, play.told.clone())),
            PlayOrder::Stop(_) | PlayOrder::Pause(_) | PlayOrder::Seek(..) | PlayOrder::Gain(..) => None,
        };
        let ordered = self.handle.order(Order::PlayInto { key: self.key, order });
        if let Some((play, told)) = listener.filter(|_| ordered.is_err()) {
            tell_refused(play, &told, now);
        }
        ordered
    }
}

/// What is played into a leg.
#[derive(Debug)]
pub(super) struct Deck {
    player: Player,
    hearing: AtRate,
    streams: Vec<Stream>,
    /// Who is to be told of what, until that is over.
    listeners: Vec<(PlayId, mpsc::Sender<PlayTold>)>,
    /// What has found no room yet.
    untold: Option<(PlayId, PlayStep)>,
}

#[derive(Debug)]
struct Stream {
    play: PlayId,
    frames: Consumer<Frame>,
    /// It was late, and goes on when a little of it is there.
    is_filling: bool,
}

impl Legs {
    pub(super) fn play_into(&mut self, key: u64, order: PlayOrder, now: Now) {
        match self.by_key(key) {
            Some(leg) => leg.play_into(order, now),
            None => refuse(&order, now),
        }
        self.settle(key, now);
    }
}

/// Tells whoever ordered something to be played that it is not.
pub(crate) fn refuse(order: &PlayOrder, now: Now) {
    if let PlayOrder::Play(play) = order {
        tell_refused(play.playing.id, &play.told, now);
    }
}

fn tell_refused(play: PlayId, told: &mpsc::Sender<PlayTold>, now: Now) {
    // Whoever has so much to hear of hears of the end of the call.
    told.try_send(PlayTold { at: now, play, what: PlayStep::Refused }).unwrap_or_default();
}

impl Leg {
    fn play_into(&mut self, order: PlayOrder, now: Now) {
        let rate = self.session.rate();
        match order {
            PlayOrder::Play(play) => {
                let deck = self.deck.get_or_insert_with(|| Box::new(Deck::new(rate)));
                if let Err(play) = deck.play(play) {
                    tell_refused(play.playing.id, &play.told, now);
                }
            }
            PlayOrder::Stop(plays) => {
                if let Some(deck) = &mut self.deck {
                    plays.into_iter().for_each(|it| deck.player.stop(it));
                }
            }
            PlayOrder::Pause(is_paused) => {
                if let Some(deck) = &mut self.deck {
                    deck.player.pause(is_paused);
                }
            }
            PlayOrder::Seek(play, ms) => {
                if let Some(deck) = &mut self.deck {
                    deck.player.seek(play, ms);
                }
            }
            PlayOrder::Gain(play, gain) => {
                if let Some(deck) = &mut self.deck {
                    deck.player.set_gain(play, gain);
                }
            }
        }
        self.tell_plays(now);
    }

    /// Has the peer hear the next 20 ms of what is played into this leg.
    pub(super) fn play_deck(&mut self, now: Now) {
        let may_speak = self.session.may_speak() && !self.is_being_told();
        let Some(deck) = &mut self.deck else {
            return;
        };
        if may_speak && let Some((frame, is_alone)) = deck.next(self.session.rate()) {
            if is_alone {
                let others_wait = self.has_agent() && self.room.is_none();
                self.session.pause(others_wait);
                self.session.speak_alone(frame);
            } else {
                self.session.mix_in(frame);
            }
        }
        self.tell_plays(now);
    }

    /// What is still to be played never will be.
    pub(super) fn end_plays(&mut self, now: Now) {
        if let Some(deck) = &mut self.deck {
            deck.player.clear();
        }
        self.tell_plays(now);
    }

    /// Whether nothing is played into this leg now.
    pub(super) fn has_quiet_deck(&self) -> bool {
        self.deck.as_ref().is_none_or(|it| it.player.is_paused() && it.untold.is_none())
    }

    fn tell_plays(&mut self, now: Now) {
        if let Some(deck) = &mut self.deck {
            deck.tell(now);
            if deck.player.is_idle() && deck.untold.is_none() {
                self.deck = None;
            }
        }
    }
}

impl Deck {
    fn new(rate: SampleRate) -> Self {
        Self { player: Player::new(rate), hearing: AtRate::new(rate), streams: vec![], listeners: vec![], untold: None }
    }

    fn play(&mut self, play: Box<Play>) -> Result<(), Box<Play>> {
        let id = play.playing.id;
        let rate = match &play.source {
            PlaySource::Clip(clip) => clip.rate(),
            PlaySource::Stream(rate, _) => *rate,
        };
        if self.player.is_idle() && self.player.rate() != rate {
            self.player = Player::new(rate);
        }
        let taken = match &play.source {
            PlaySource::Clip(clip) => self.player.play(clip.clone(), play.playing.clone()),
            PlaySource::Stream(..) if self.player.rate() != rate => return Err(play),
            PlaySource::Stream(..) => self.player.play_stream(play.playing.clone()),
        };
        if taken.is_err() {
            return Err(play);
        }
        let Play { source, told, .. } = *play;
        if let PlaySource::Stream(_, frames) = source {
            self.streams.push(Stream { play: id, frames, is_filling: false });
        }
        self.listeners.push((id, told));
        Ok(())
    }

    /// The next 20 ms, and whether they are heard alone.
    fn next(&mut self, rate: SampleRate) -> Option<(Frame, bool)> {
        let (current, is_alone) = self.player.current().map(|it| (it.id, it.is_alone))?;
        if !self.player.is_paused()
            && let Some(stream) = self.streams.iter_mut().find(|it| it.play == current)
        {
            stream.feed(&mut self.player);
        }
        let frame = self.player.tick()?;
        if self.hearing.rate() != rate {
            self.hearing = AtRate::new(rate);
        }
        Some((self.hearing.process(&frame), is_alone))
    }

    fn tell(&mut self, now: Now) {
        loop {
            let next = self.untold.take().or_else(|| self.player.poll_event().map(step));
            let Some((play, what)) = next else {
                return;
            };
            let Some(index) = self.listeners.iter().position(|it| it.0 == play) else {
                continue;
            };
            let is_over = matches!(what, PlayStep::Finished | PlayStep::Cleared(_) | PlayStep::Refused);
            let told = PlayTold { at: now, play, what };
            let sent = self.listeners.get(index).map(|(_, listener)| listener.try_send(told));
            if let Some(Err(mpsc::error::TrySendError::Full(told))) = sent {
                self.untold = Some((play, told.what));
                return;
            }
            if is_over {
                self.listeners.remove(index);
                self.streams.retain(|it| it.play != play);
            }
        }
    }
}

impl Stream {
    /// Hands the player the next frame, if it is there.
    fn feed(&mut self, player: &mut Player) {
        // In this order: what is written before the writer goes must not be missed.
        let is_over = self.frames.is_abandoned();
        if self.is_filling && !is_over && self.frames.slots() < PLAYER_STREAM_REFILL_FRAMES {
            return;
        }
        self.is_filling = false;
        let fed = match self.frames.pop() {
            Ok(frame) => player.feed(self.play, Some(frame)),
            Err(_) if is_over => player.feed(self.play, None),
            Err(_) => {
                self.is_filling = true;
                Ok(())
            }
        };
        // There is room, as nothing waits in the player.
        fed.unwrap_or_default();
    }
}

fn step(event: PlayerEvent) -> (PlayId, PlayStep) {
    match event {
        PlayerEvent::Started(play) => (play, PlayStep::Started),
        PlayerEvent::Mark(play, name) => (play, PlayStep::Mark(name)),
        PlayerEvent::Finished(play) => (play, PlayStep::Finished),
        PlayerEvent::Cleared(play, ms) => (play, PlayStep::Cleared(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    fn a_stream_that_was_late_goes_on_when_a_little_of_it_is_there_and_ends_with_its_writer() {
        let (mut deck, mut writer, mut told) = stream(100);
        writer.push(Frame::from_samples(RATE, &[7; 160])).unwrap();
        assert_eq!(samples(&mut deck, 3), [7, 0, 0]);
        for _ in 0..PLAYER_STREAM_REFILL_FRAMES - 1 {
            writer.push(Frame::from_samples(RATE, &[8; 160])).unwrap();
        }
        assert_eq!(samples(&mut deck, 2), [0, 0]);
        writer.push(Frame::from_samples(RATE, &[9; 160])).unwrap();
        assert_eq!(samples(&mut deck, 2), [8, 8]);
        drop(writer);
        let rest = samples(&mut deck, PLAYER_STREAM_REFILL_FRAMES - 2);
        assert_eq!(rest.last(), Some(&9));
        assert_eq!(deck.next(RATE), None);
        deck.tell(crate::server::clock::now());
        let steps: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).map(|it| it.what).collect();
        assert_eq!(steps, [PlayStep::Started, PlayStep::Finished]);
        assert!(deck.streams.is_empty() && deck.listeners.is_empty());
    }

    #[test]
    fn what_finds_no_room_is_told_later() {
        let (mut deck, _writer, mut told) = stream(1);
        let clip = Clip::new(&[5; 320], 8_000, RATE).unwrap();
        let id = new_play_id();
        let (listener, mut others) = mpsc::channel(8);
        let play = Play { playing: Playing::once(id), source: PlaySource::Clip(clip), told: listener.clone() };
        deck.play(Box::new(play)).unwrap();
        let wide = Clip::new(&[5; 320], 16_000, SampleRate::Hz16000).unwrap();
        let play = Play { playing: Playing::once(new_play_id()), source: PlaySource::Clip(wide), told: listener };
        assert!(deck.play(Box::new(play)).is_err(), "what waits has one rate");
        deck.next(RATE);
        deck.player.clear();
        deck.tell(crate::server::clock::now());
        assert_eq!(told.try_recv().map(|it| it.what).ok(), Some(PlayStep::Started));
        assert!(told.try_recv().is_err() && others.try_recv().is_err());
        deck.tell(crate::server::clock::now());
        assert_eq!(told.try_recv().map(|it| it.what).ok(), Some(PlayStep::Cleared(0)));
        assert_eq!(others.try_recv().map(|it| (it.play, it.what)).ok(), Some((id, PlayStep::Cleared(0))));
        assert!(deck.player.is_idle() && deck.untold.is_none());
    }

    fn stream(room: usize) -> (Deck, rtrb::Producer<Frame>, mpsc::Receiver<PlayTold>) {
        let (writer, frames) = rtrb::RingBuffer::new(PLAYER_STREAM_REFILL_FRAMES * 2);
        let (told, steps) = mpsc::channel(room);
        let mut deck = Deck::new(SampleRate::Hz16000);
        let source = PlaySource::Stream(RATE, frames);
        deck.play(Box::new(Play { playing: Playing::once(new_play_id()), source, told })).unwrap();
        (deck, writer, steps)
    }

    /// The first sample of each of so many ticks.
    fn samples(deck: &mut Deck, ticks: usize) -> Vec<i16> {
        (0..ticks).map(|_| deck.next(RATE).unwrap().0.samples()[0]).collect()
    }
}
