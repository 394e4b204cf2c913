//! [`Speech`]: what the agent says, from text to what the caller heard.
//!
//! An utterance is queued as text, its audio arrives from the synthesiser, frames of it are fed to the leg a few at a
//! time, and the leg reports how much of it was sent. Audio is kept until it is reported as played, so emptying the
//! leg loses nothing that is still to be said, and what was *heard* is known to the word. A sound that is played is an
//! utterance, too: one whose audio is a clip, and goes round.
//!
//! Bounds: utterances beyond `AGENT_UTTERANCES_MAX` are refused, audio beyond `AGENT_SPEECH_MS_MAX` is dropped.

use std::collections::{BTreeMap, VecDeque};

use super::provider::{UtteranceId, WordTime};
use crate::codec::{Clip, Frame, SampleRate};
use crate::limits::{
    AGENT_LEG_FRAMES_MAX, AGENT_SPEECH_MS_MAX, AGENT_UTTERANCE_CHARS_MAX, AGENT_UTTERANCE_WORDS_MAX,
    AGENT_UTTERANCES_MAX,
};

/// What the agent says.
#[derive(Debug)]
pub struct Speech {
    rate: SampleRate,
    /// In the order of speaking; the first is being heard, or is next.
    queue: VecDeque<Utterance>,
    /// Cut off; their last frames may still be on their way out.
    stopped: Vec<Utterance>,
    next_id: u32,
    /// What was said to its end, or as far as it was heard, and not yet asked for.
    spoken: VecDeque<Spoken>,
    /// The utterance that the leg could play but that has no audio, and since when.
    starved: Option<(UtteranceId, u64)>,
    /// Ticks in a row in which the leg had nothing of what it was given.
    silent_ticks: u8,
    /// Marks that have been heard, and not yet asked for.
    marked: VecDeque<String>,
}

/// Something that the caller heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The words that were heard.
    pub text: String,
    /// When the first of them began, in milliseconds of media time.
    pub start_ms: u64,
    /// When the last of them ended.
    pub end_ms: u64,
    /// Whether more would have followed.
    pub interrupted: bool,
    /// What it was.
    pub kind: SpokenKind,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpokenKind {
    /// Words.
    Words,
    /// A sound, whose text is where it came from.
    Sound,
    /// What fills the time of a transfer.
    Waiting,
}

/// What became of audio from the synthesiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioTaken {
    /// It will be played. The first of its utterance says so.
    Kept {
        /// Whether it is.
        first: bool,
    },
    /// Too much waits already. The first time of an utterance says so.
    Dropped {
        /// Whether it is.
        first: bool,
    },
    /// Its utterance was stopped, or never was.
    Late,
}

#[derive(Debug)]
struct Utterance {
    id: UtteranceId,
    text: String,
    interruptible: bool,
    kind: SpokenKind,
    /// The audio of a sound, once it is there.
    clip: Option<Clip>,
    /// How often it is played.
    times: Option<u32>,
    /// Places of it that are told once they have been heard, in samples, with their names; the first is next.
    marks: VecDeque<(u32, String)>,
    /// Audio that is not known to have been played.
    audio: VecDeque<i16>,
    /// Samples that arrived, that the leg was given, and that it reported as played.
    received: u32,
    fed: u32,
    played: u32,
    complete: bool,
    truncated: bool,
    words: Vec<WordTime>,
    start_ms: Option<u64>,
}

impl Speech {
    /// Nothing to say yet, at the rate of the leg.
    pub fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            queue: VecDeque::new(),
            stopped: vec![],
            next_id: 0,
            spoken: VecDeque::new(),
            starved: None,
            silent_ticks: 0,
            marked: VecDeque::new(),
        }
    }

    /// Queues a text whose audio will come; `None` if it is empty or the queue is full.
    pub fn say(&mut self, text: &str, interruptible: bool) -> Option<UtteranceId> {
        let text: String = text.trim().chars().take(AGENT_UTTERANCE_CHARS_MAX).collect();
        if text.is_empty() || self.queue.len() >= AGENT_UTTERANCES_MAX {
            return None;
        }
        let id = UtteranceId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.queue.push_back(Utterance::new(id, text, interruptible));
        Some(id)
    }

    /// Queues something whose audio is at hand. It cannot be interrupted.
    pub fn say_frames(&mut self, text: &str, frames: &[Frame]) -> Option<UtteranceId> {
        let id = self.say(text, false)?;
        let utterance = self.queue.back_mut()?;
        for frame in frames.iter().filter(|it| it.rate() == self.rate) {
            utterance.push(frame.samples());
        }
        utterance.complete = true;
        Some(id)
    }

    /// Queues a sound that [`Speech::handle_clip`] will bring; `None` if the queue is full.
    pub fn play(&mut self, source: &str, times: Option<u32>, interruptible: bool) -> Option<UtteranceId> {
        let id = self.say(source, interruptible)?;
        let utterance = self.queue.back_mut()?;
        (utterance.kind, utterance.times) = (SpokenKind::Sound, times);
        Some(id)
    }

    /// Has it told by [`Speech::poll_mark`] when the caller has heard these places of a sound, in milliseconds, each once.
    pub fn mark(&mut self, id: UtteranceId, marks: &BTreeMap<u32, String>) {
        let rate = self.rate;
        let samples = |ms: u32| ms.saturating_mul(rate.hz() / 1_000);
        if let Some(utterance) = self.queue.iter_mut().find(|it| it.id == id) {
            utterance.marks = marks.iter().map(|(ms, name)| (samples(*ms), name.clone())).collect();
        }
    }

    /// The next mark that has been heard.
    pub fn poll_mark(&mut self) -> Option<String> {
        self.marked.pop_front()
    }

    /// Plays a sound again and again until [`Speech::end_waiting`].
    pub fn wait_with(&mut self, name: &str, clip: &Clip) {
        if let Some(id) = self.play(name, None, false) {
            self.handle_clip(id, clip.clone());
            if let Some(utterance) = self.queue.back_mut() {
                utterance.kind = SpokenKind::Waiting;
            }
        }
    }

    /// Nobody waits any more; whether the leg must be emptied.
    pub fn end_waiting(&mut self) -> bool {
        let Some(at) = self.queue.iter().position(|it| it.kind == SpokenKind::Waiting) else { return false };
        let waiting = self.queue.remove(at).filter(|it| it.fed > 0);
        let was_heard = waiting.is_some();
        self.stopped.extend(waiting);
        was_heard
    }

    /// Brings a sound that is to be played; `false` if it is not (any more), or cannot be.
    pub fn handle_clip(&mut self, id: UtteranceId, clip: Clip) -> bool {
        let rate = self.rate;
        let is_usable = clip.rate() == rate && !clip.samples().is_empty();
        let mut awaiting = self.queue.iter_mut().filter(|it| is_usable && it.awaits_clip());
        let Some(utterance) = awaiting.find(|it| it.id == id) else { return false };
        let len = u32::try_from(clip.samples().len()).unwrap_or(u32::MAX);
        utterance.received = utterance.times.map_or(u32::MAX, |it| len.saturating_mul(it));
        utterance.clip = Some(clip);
        utterance.complete = true;
        true
    }

    /// A sound does not come: it is not played. Where it should have come from, if it was still to be.
    pub fn drop_sound(&mut self, id: UtteranceId) -> Option<String> {
        let at = self.queue.iter().position(|it| it.id == id && it.awaits_clip())?;
        self.queue.remove(at).map(|it| it.text)
    }

    /// The synthesiser's next audio of an utterance.
    pub fn handle_audio(&mut self, id: UtteranceId, samples: &[i16]) -> AudioTaken {
        let waiting: usize = self.queue.iter().map(|it| it.audio.len()).sum();
        let room = samples_in(AGENT_SPEECH_MS_MAX, self.rate).saturating_sub(waiting);
        let Some(utterance) = self.queue.iter_mut().find(|it| it.id == id && !it.complete) else {
            return AudioTaken::Late;
        };
        let first = utterance.received == 0 && !samples.is_empty();
        utterance.push(samples.get(..room.min(samples.len())).unwrap_or_default());
        if self.starved.is_some_and(|(starved, _)| starved == id) {
            self.starved = None;
        }
        if samples.len() <= room {
            return AudioTaken::Kept { first };
        }
        let first = !utterance.truncated;
        utterance.truncated = true;
        AudioTaken::Dropped { first }
    }

    /// When the words of an utterance are spoken.
    pub fn handle_words(&mut self, id: UtteranceId, words: Vec<WordTime>) {
        let mut all = self.queue.iter_mut().chain(&mut self.stopped);
        if let Some(utterance) = all.find(|it| it.id == id) {
            let room = AGENT_UTTERANCE_WORDS_MAX.saturating_sub(utterance.words.len());
            utterance.words.extend(words.into_iter().take(room));
        }
    }

    /// All audio of an utterance has arrived.
    pub fn handle_complete(&mut self, id: UtteranceId, now_ms: u64) {
        if let Some(utterance) = self.queue.iter_mut().find(|it| it.id == id) {
            utterance.complete = true;
        }
        self.finish(now_ms);
    }

    /// No more audio will arrive: what is there is all of it.
    pub fn complete_all(&mut self, now_ms: u64) {
        for utterance in &mut self.queue {
            utterance.complete = true;
        }
        self.finish(now_ms);
    }

    /// 20 ms have passed: what the leg played in them, and how many frames it still has.
    pub fn handle_tick(&mut self, played: Option<(UtteranceId, u32)>, queued_frames: u16, now_ms: u64) {
        if let Some((id, samples)) = played {
            self.handle_played(id, samples, now_ms);
        }
        // Reports of ticks that were missed do not come again: a leg with nothing left has played all.
        let nothing = played.is_none() && queued_frames == 0 && self.frames_in_leg() > 0;
        self.silent_ticks = if nothing { self.silent_ticks + 1 } else { 0 };
        if self.silent_ticks >= SILENT_TICKS_MAX {
            self.silent_ticks = 0;
            for utterance in &mut self.queue {
                utterance.handle_played(utterance.fed, self.rate, now_ms);
            }
        }
        self.take_marks();
        self.finish(now_ms);
        let next = self.queue.iter().find(|it| !it.is_fed());
        let starving = next.filter(|it| it.fed == it.received && it.kind == SpokenKind::Words).map(|it| it.id);
        self.starved = match (starving, self.starved) {
            (Some(id), Some((before, since_ms))) if id == before => Some((id, since_ms)),
            (Some(id), _) => Some((id, now_ms)),
            (None, _) => None,
        };
    }

    /// How long the leg has had nothing to play because the synthesiser gives no audio.
    pub fn starved_ms(&self, now_ms: u64) -> u64 {
        self.starved.map_or(0, |(_, since_ms)| now_ms.saturating_sub(since_ms))
    }

    /// The next frame for the leg, while it has few; call until `None`. `queued_frames` is what the leg said.
    pub fn feed(&mut self, queued_frames: u16) -> Option<(UtteranceId, Frame)> {
        if self.frames_in_leg().max(u32::from(queued_frames)) >= AGENT_LEG_FRAMES_MAX {
            return None;
        }
        let rate = self.rate;
        let utterance = self.queue.iter_mut().find(|it| !it.is_fed())?;
        if let Some(frame) = utterance.next_of_clip(rate) {
            return Some((utterance.id, frame));
        }
        let from = usize::try_from(utterance.fed.saturating_sub(utterance.played)).unwrap_or(usize::MAX);
        let available = utterance.audio.len().saturating_sub(from);
        if available == 0 || (available < rate.frame_len() && !utterance.complete) {
            return None;
        }
        let mut frame = Frame::silence(rate);
        for (to, sample) in frame.samples_mut().iter_mut().zip(utterance.audio.iter().skip(from)) {
            *to = *sample;
        }
        utterance.fed = utterance.received.min(utterance.fed.saturating_add(frame_samples(rate)));
        Some((utterance.id, frame))
    }

    /// Cuts off what may be interrupted, or everything if `all`; the utterances that the synthesiser need not go on with.
    /// The leg must be emptied: what remains is fed again from where it was heard.
    pub fn interrupt(&mut self, all: bool) -> Vec<UtteranceId> {
        let mut stopped = vec![];
        for _ in 0..self.queue.len() {
            let Some(mut utterance) = self.queue.pop_front() else { break };
            if !all && !utterance.interruptible {
                utterance.fed = utterance.played;
                self.queue.push_back(utterance);
                continue;
            }
            if !utterance.complete {
                stopped.push(utterance.id);
            }
            utterance.audio = VecDeque::new();
            // Nothing of an utterance that the leg was not given can still be heard.
            if utterance.fed > 0 {
                self.stopped.push(utterance);
            }
        }
        self.starved = None;
        stopped
    }

    /// The leg is empty: what was heard of the utterances that were cut off is final.
    pub fn settle(&mut self, now_ms: u64) {
        let rate = self.rate;
        for utterance in self.stopped.drain(..) {
            let text = utterance.heard(rate);
            if let Some(start_ms) = utterance.start_ms.filter(|_| !text.is_empty()) {
                let end_ms = now_ms.min(start_ms + u64::from(ms_of(utterance.played, rate)));
                let (interrupted, kind) = (!utterance.is_played(), utterance.kind);
                push_bounded(&mut self.spoken, Spoken { text, start_ms, end_ms, interrupted, kind });
            }
        }
    }

    /// The next utterance that was said to its end or cut off.
    pub fn poll_spoken(&mut self) -> Option<Spoken> {
        self.spoken.pop_front()
    }

    /// What is being heard or is next, and whether it has audio already.
    pub fn first(&self) -> Option<(UtteranceId, bool)> {
        self.queue.front().map(|it| (it.id, it.received > 0))
    }

    /// Whether there is nothing left to say.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether anything of what is queued has been heard.
    pub fn is_heard(&self) -> bool {
        self.queue.iter().any(|it| it.fed > 0)
    }

    /// Whether what is being said, or is said next, may be interrupted.
    pub fn is_interruptible(&self) -> bool {
        self.queue.front().is_none_or(|it| it.interruptible)
    }

    /// Samples that are kept: what the bound is about.
    pub fn samples_waiting(&self) -> usize {
        self.queue.iter().map(|it| it.audio.len()).sum()
    }

    fn handle_played(&mut self, id: UtteranceId, samples: u32, now_ms: u64) {
        let rate = self.rate;
        if let Some(utterance) = self.stopped.iter_mut().find(|it| it.id == id) {
            utterance.handle_played(samples, rate, now_ms);
        }
        if let Some(at) = self.queue.iter().position(|it| it.id == id) {
            // The leg plays in order, so whatever came before has been played even if no report of it arrived.
            for earlier in self.queue.iter_mut().take(at) {
                earlier.handle_played(earlier.fed, rate, now_ms);
            }
            if let Some(utterance) = self.queue.get_mut(at) {
                utterance.handle_played(samples, rate, now_ms);
            }
        }
    }

    fn finish(&mut self, now_ms: u64) {
        while let Some(utterance) = self.queue.pop_front_if(|it| it.is_played()) {
            // Without any audio nothing was heard.
            if let Some(start_ms) = utterance.start_ms {
                let (text, kind) = (utterance.text, utterance.kind);
                let spoken = Spoken { text, start_ms, end_ms: now_ms, interrupted: false, kind };
                push_bounded(&mut self.spoken, spoken);
            }
        }
    }

    fn take_marks(&mut self) {
        for utterance in &mut self.queue {
            let played = utterance.played;
            while let Some((_, name)) = utterance.marks.pop_front_if(|(at, _)| *at < played) {
                self.marked.push_back(name);
            }
        }
    }

    fn frames_in_leg(&self) -> u32 {
        self.queue.iter().map(|it| it.fed.saturating_sub(it.played).div_ceil(frame_samples(self.rate))).sum()
    }
}

impl Utterance {
    fn new(id: UtteranceId, text: String, interruptible: bool) -> Self {
        Self {
            id,
            text,
            interruptible,
            kind: SpokenKind::Words,
            clip: None,
            times: Some(1),
            marks: VecDeque::new(),
            audio: VecDeque::new(),
            received: 0,
            fed: 0,
            played: 0,
            complete: false,
            truncated: false,
            words: vec![],
            start_ms: None,
        }
    }

    fn push(&mut self, samples: &[i16]) {
        self.audio.extend(samples);
        self.received = self.received.saturating_add(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    }

    fn awaits_clip(&self) -> bool {
        self.kind == SpokenKind::Sound && !self.complete
    }

    /// The next 20 ms of a sound; what is behind its last end is silent.
    fn next_of_clip(&mut self, rate: SampleRate) -> Option<Frame> {
        let clip = self.clip.as_ref()?;
        let mut frame = clip.round(usize::try_from(self.fed).unwrap_or(usize::MAX));
        let left = usize::try_from(self.received.saturating_sub(self.fed)).unwrap_or(usize::MAX);
        frame.samples_mut().iter_mut().skip(left).for_each(|it| *it = 0);
        self.fed = self.received.min(self.fed.saturating_add(frame_samples(rate)));
        Some(frame)
    }

    fn is_fed(&self) -> bool {
        self.complete && self.fed >= self.received
    }

    fn is_played(&self) -> bool {
        self.complete && self.played >= self.received
    }

    /// The leg has played so many samples, of which the last frame may be filled up with silence.
    fn handle_played(&mut self, samples: u32, rate: SampleRate, now_ms: u64) {
        let samples = samples.min(self.fed);
        if samples <= self.played {
            return;
        }
        self.start_ms.get_or_insert_with(|| now_ms.saturating_sub(u64::from(ms_of(samples, rate))));
        let newly = usize::try_from(samples - self.played).unwrap_or(usize::MAX);
        self.audio.drain(..newly.min(self.audio.len()));
        self.played = samples;
    }

    /// The words that were heard: by the times of the words if there are any, by proportion if not.
    fn heard(&self, rate: SampleRate) -> String {
        if self.is_played() || self.kind != SpokenKind::Words {
            return self.text.clone();
        }
        let tokens: Vec<&str> = self.text.split_whitespace().collect();
        let played_ms = ms_of(self.played, rate);
        let count = if self.words.is_empty() {
            self.tokens_by_proportion(&tokens, played_ms, ms_of(self.received, rate))
        } else {
            let heard = self.words.iter().filter(|it| it.start_ms.midpoint(it.end_ms) <= played_ms).count();
            let aligned = self.words.len() == tokens.len() || (self.words.len() < tokens.len() && !self.complete);
            if aligned { heard } else { tokens.len() * heard / self.words.len() }
        };
        tokens.iter().take(count).copied().collect::<Vec<_>>().join(" ")
    }

    /// A word counts as heard from its middle on, each character taking the same time.
    fn tokens_by_proportion(&self, tokens: &[&str], played_ms: u32, received_ms: u32) -> usize {
        let chars = |it: &str| u64::try_from(it.chars().count()).unwrap_or(u64::MAX);
        let all: u64 = tokens.iter().map(|it| chars(it) + 1).sum();
        let estimated_ms = if self.complete { 0 } else { all.saturating_mul(CHARACTER_MS) };
        let total_ms = u64::from(received_ms).max(estimated_ms).max(1);
        let (mut before, mut count) = (0, 0);
        for token in tokens {
            let middle = before + chars(token) / 2;
            if middle * total_ms >= u64::from(played_ms) * all {
                break;
            }
            before += chars(token) + 1;
            count += 1;
        }
        count
    }
}

fn push_bounded(spoken: &mut VecDeque<Spoken>, next: Spoken) {
    if spoken.len() < 2 * AGENT_UTTERANCES_MAX {
        spoken.push_back(next);
    }
}

fn frame_samples(rate: SampleRate) -> u32 {
    rate.hz() / 50
}

fn ms_of(samples: u32, rate: SampleRate) -> u32 {
    samples / (rate.hz() / 1_000)
}

fn samples_in(ms: u32, rate: SampleRate) -> usize {
    usize::try_from(ms * (rate.hz() / 1_000)).unwrap_or(usize::MAX)
}

/// Time that a character takes to be spoken, for an utterance whose length is not known yet.
const CHARACTER_MS: u64 = 65;
/// Ticks without a report after which an empty leg is taken to have played what it was given.
const SILENT_TICKS_MAX: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    fn speech(texts: &[(&str, bool)]) -> Speech {
        let mut speech = Speech::new(RATE);
        for (text, interruptible) in texts {
            speech.say(text, *interruptible).unwrap();
        }
        speech
    }

    fn word(word: &str, start_ms: u32, end_ms: u32) -> WordTime {
        WordTime { word: word.to_owned(), start_ms, end_ms }
    }

    /// Feeds the leg and lets it play so many milliseconds of one utterance, reporting each frame.
    fn play(speech: &mut Speech, id: u32, from_ms: u32, to_ms: u32) {
        for ms in (from_ms + 20..=to_ms).step_by(20) {
            while speech.feed(0).is_some() {}
            speech.handle_tick(Some((UtteranceId(id), ms * 8)), 0, u64::from(ms));
        }
    }

    #[track_caller]
    fn check_heard(words: &[WordTime], complete: bool, played_ms: u32, expected: &str) {
        let mut speech = speech(&[("Your order is on its way.", true)]);
        speech.handle_audio(UtteranceId(0), &[1; 8 * 2_000]);
        speech.handle_words(UtteranceId(0), words.to_vec());
        if complete {
            speech.handle_complete(UtteranceId(0), 0);
        }
        play(&mut speech, 0, 0, played_ms);
        speech.interrupt(false);
        speech.settle(5_000);
        let heard = speech.poll_spoken().map(|it| it.text).unwrap_or_default();
        assert_eq!(heard, expected, "{played_ms} ms");
    }

    #[test]
    fn heard_words_are_counted_by_their_times() {
        let names = ["Your", "order", "is", "on", "its", "way."];
        let words: Vec<_> = names.iter().zip(0..).map(|(it, at)| word(it, at * 300, at * 300 + 300)).collect();
        check_heard(&words, true, 100, "");
        check_heard(&words, true, 160, "Your");
        check_heard(&words, true, 440, "Your");
        check_heard(&words, true, 460, "Your order");
        check_heard(&words[..2], false, 1_000, "Your order");
        // Two words a token: half of the words is half of the text.
        let many: Vec<_> = (0..12).map(|at| word("x", at * 150, at * 150 + 150)).collect();
        check_heard(&many, true, 900, "Your order is");
    }

    #[test]
    fn heard_words_are_estimated_without_times() {
        check_heard(&[], true, 0, "");
        check_heard(&[], true, 1_000, "Your order is");
        check_heard(&[], true, 1_980, "Your order is on its way.");
        // While audio still arrives, its length is at least what the text needs: 26 characters are 1.7 s.
        check_heard(&[], false, 1_000, "Your order is");
    }

    #[test]
    fn utterances_are_fed_in_order_and_few_at_a_time() {
        let mut speech = speech(&[("One.", true), ("Two.", true)]);
        speech.handle_audio(UtteranceId(1), &[2; 400]);
        assert!(speech.feed(0).is_none());
        assert_eq!(speech.handle_audio(UtteranceId(0), &[1; 100]), AudioTaken::Kept { first: true });
        assert!(speech.feed(0).is_none(), "less than a frame waits for more");
        assert_eq!(speech.handle_audio(UtteranceId(0), &[1; 100]), AudioTaken::Kept { first: false });
        speech.handle_complete(UtteranceId(0), 0);
        let fed: Vec<_> = std::iter::from_fn(|| speech.feed(0)).map(|(id, it)| (id.0, it.samples()[159])).collect();
        assert_eq!(fed, [(0, 1), (0, 0), (1, 2), (1, 2)]);
        speech.handle_complete(UtteranceId(1), 0);
        assert_eq!(speech.feed(0).map(|(id, _)| id.0), Some(1));
        assert_eq!((speech.feed(0), speech.is_idle()), (None, false));
        // One report of the second says that the first is over; the last frame is counted without what fills it up.
        speech.handle_tick(Some((UtteranceId(1), 480)), 0, 100);
        let spoken: Vec<_> = std::iter::from_fn(|| speech.poll_spoken()).map(|it| it.text).collect();
        assert_eq!((spoken.as_slice(), speech.is_idle()), (["One.".to_owned(), "Two.".to_owned()].as_slice(), true));
    }

    #[test]
    fn the_leg_has_few_frames_at_a_time() {
        let mut speech = speech(&[("Long.", true)]);
        speech.handle_audio(UtteranceId(0), &[1; 8_000]);
        assert_eq!(std::iter::from_fn(|| speech.feed(0)).count(), 20);
        speech.handle_tick(Some((UtteranceId(0), 160)), 19, 20);
        assert_eq!(std::iter::from_fn(|| speech.feed(19)).count(), 1);
        assert!(speech.feed(0).is_none());
    }

    #[test]
    fn what_cannot_be_interrupted_is_said_again_from_where_it_was_heard() {
        let mut speech = speech(&[("One.", true), ("Legal.", false), ("Two.", true)]);
        for id in 0..3 {
            speech.handle_audio(UtteranceId(id), &[i16::try_from(id).unwrap(); 320]);
            speech.handle_complete(UtteranceId(id), 0);
        }
        while speech.feed(0).is_some() {}
        speech.handle_tick(Some((UtteranceId(0), 160)), 5, 20);
        assert_eq!(speech.interrupt(false), []);
        let fed: Vec<_> = std::iter::from_fn(|| speech.feed(0)).map(|(id, _)| id.0).collect();
        assert_eq!(fed, [1, 1]);
        assert!(!speech.is_interruptible());
        speech.settle(40);
        assert_eq!(speech.poll_spoken().map(|it| it.interrupted), Some(true));
    }

    #[test]
    fn frames_on_their_way_when_it_was_cut_off_were_heard() {
        let mut speech = speech(&[("Seven words are in this long sentence.", true)]);
        speech.handle_audio(UtteranceId(0), &[1; 16_000]);
        play(&mut speech, 0, 0, 200);
        assert_eq!(speech.interrupt(false), [UtteranceId(0)]);
        assert_eq!(speech.handle_audio(UtteranceId(0), &[1; 160]), AudioTaken::Late);
        speech.handle_tick(Some((UtteranceId(0), 8 * 220)), 0, 220);
        speech.handle_tick(Some((UtteranceId(0), 8 * 240)), 0, 240);
        speech.settle(240);
        let expected =
            Spoken { text: "Seven".to_owned(), start_ms: 0, end_ms: 240, interrupted: true, kind: SpokenKind::Words };
        assert_eq!((speech.poll_spoken(), speech.poll_spoken()), (Some(expected), None));
    }

    #[test]
    fn audio_and_utterances_are_bounded() {
        let mut speech = speech(&[("Endless.", true)]);
        let minute = vec![1; 8 * 60_000];
        assert_eq!(speech.handle_audio(UtteranceId(0), &minute), AudioTaken::Kept { first: true });
        assert_eq!(speech.handle_audio(UtteranceId(0), &[1]), AudioTaken::Dropped { first: true });
        assert_eq!(speech.handle_audio(UtteranceId(0), &[1]), AudioTaken::Dropped { first: false });
        assert_eq!(speech.samples_waiting(), minute.len());
        let more = (0..100).filter(|_| speech.say("More.", true).is_some()).count();
        assert_eq!(more, AGENT_UTTERANCES_MAX - 1);
        assert_eq!(speech.say(" ", true), None);
    }

    #[test]
    fn a_sound_is_played_as_often_as_it_should_and_no_longer() {
        let mut speech = speech(&[("One.", true)]);
        speech.handle_audio(UtteranceId(0), &[1; 160]);
        speech.handle_complete(UtteranceId(0), 0);
        let id = speech.play("jingle.wav", Some(2), true).unwrap();
        assert_eq!(std::iter::from_fn(|| speech.feed(0)).count(), 1, "it is not there yet");
        speech.handle_tick(Some((UtteranceId(0), 160)), 0, 20);
        assert_eq!(speech.starved_ms(9_000), 0, "the synthesiser has nothing to do with it");
        assert!(speech.handle_clip(id, clip(&[5; 200])));
        assert!(!speech.handle_clip(id, clip(&[6; 200])), "it is there already");
        let fed: Vec<_> = std::iter::from_fn(|| speech.feed(0)).map(|(_, it)| it.samples()[79..81].to_vec()).collect();
        assert_eq!(fed, [[5, 5], [5, 5], [5, 0]]);
        for (samples, ms) in [(160, 40), (320, 60), (400, 80)] {
            speech.handle_tick(Some((id, samples)), 0, ms);
        }
        let spoken: Vec<_> = std::iter::from_fn(|| speech.poll_spoken()).map(|it| (it.text, it.kind)).collect();
        let expected = [("One.", SpokenKind::Words), ("jingle.wav", SpokenKind::Sound)];
        assert_eq!(spoken, expected.map(|(text, kind)| (text.to_owned(), kind)));
    }

    #[test]
    fn marks_are_told_once_when_their_places_have_been_heard() {
        let mut speech = speech(&[]);
        let id = speech.play("offer.wav", Some(2), true).unwrap();
        let marks = [(0, "a"), (50, "b"), (60, "c"), (100, "never")];
        speech.mark(id, &marks.map(|(ms, name)| (ms, name.to_owned())).into());
        assert!(speech.handle_clip(id, clip(&[5; 400])));
        let mut told = vec![];
        for ms in (20..=80).step_by(20) {
            play(&mut speech, id.0, ms - 20, ms);
            told.push(std::iter::from_fn(|| speech.poll_mark()).collect::<String>());
        }
        assert_eq!(told, ["a", "", "b", "c"]);
        speech.interrupt(false);
        speech.handle_tick(Some((id, 800)), 0, 100);
        assert_eq!(speech.poll_mark(), None);
    }

    #[test]
    fn a_sound_that_goes_on_for_ever_is_cut_off_where_it_was_heard() {
        let mut speech = speech(&[]);
        let id = speech.play("music.mp3", None, true).unwrap();
        assert!(speech.handle_clip(id, clip(&[5; 100])));
        play(&mut speech, id.0, 0, 1_000);
        assert_eq!(speech.samples_waiting(), 0, "only the clip is kept");
        assert_eq!(speech.interrupt(false), []);
        speech.settle(1_000);
        let spoken = speech.poll_spoken().unwrap();
        assert_eq!((spoken.start_ms, spoken.end_ms, spoken.interrupted), (0, 1_000, true));
        // What comes too late, what has another rate and what is nothing is not played.
        assert!(!speech.handle_clip(id, clip(&[5; 100])));
        let id = speech.play("silence.wav", None, true).unwrap();
        assert!(!speech.handle_clip(id, clip(&[])));
        assert_eq!(speech.drop_sound(id).as_deref(), Some("silence.wav"));
        assert_eq!((speech.drop_sound(id), speech.is_idle()), (None, true));
    }

    fn clip(samples: &[i16]) -> Clip {
        Clip::new(samples, 8_000, RATE).unwrap()
    }

    #[test]
    fn starving_and_lost_reports_are_noticed() {
        let mut speech = speech(&[("One.", true)]);
        for tick in 1..=5 {
            speech.handle_tick(None, 0, tick * 20);
        }
        assert_eq!(speech.starved_ms(100), 80);
        speech.handle_audio(UtteranceId(0), &[1; 160]);
        speech.handle_complete(UtteranceId(0), 100);
        assert_eq!(speech.starved_ms(100), 0);
        assert!(speech.feed(0).is_some());
        for tick in 6..=10 {
            assert!(!speech.is_idle());
            speech.handle_tick(None, 0, tick * 20);
        }
        assert!(speech.is_idle());
    }
}
