//! [`TurnMachine`]: who has the floor, on media time.
//!
//! | state            | input                          | output           | next                      |
//! |------------------|--------------------------------|------------------|---------------------------|
//! | Listening        | speech                         | CallerSpeaks     | Hearing                   |
//! | Listening        | final result out of nothing    | Turn             | Deciding the reply        |
//! | Listening        | silence for long               | Idle             | Listening                 |
//! | Hearing          | end of turn                    | Finalize         | Deciding, final awaited   |
//! | Deciding, final  | final, or none in time         | Turn             | Deciding the reply        |
//! | Deciding, final  | the caller goes on             |                  | Hearing                   |
//! | Deciding, reply  | barge-in                       | Interrupt        | Hearing                   |
//! | any              | the agent begins to be heard   |                  | Speaking                  |
//! | Speaking         | barge-in                       | Interrupt        | Yielding, then Hearing    |
//! | Speaking         | a remark that does not         | Finalize         | Speaking                  |
//! | Yielding         | playout is empty, or too late  | Yielded          | Hearing, or Deciding      |
//! | Deciding reply, Speaking | nothing more to say    |                  | Listening                 |
//! | any              | a key                          | Interrupt if heard | Deciding the reply      |
//!
//! A result that was asked for carries the number of its turn, so that one that comes too late is known and dropped.

use std::collections::VecDeque;

use serde::Deserialize;

use super::barge_in::{BargeIn, Intrusion};
use super::endpointing::{Ending, Endpointing};
use super::voice_activity::{Activity, ONSET_MS};
use crate::codec::Frame;
use crate::limits::AGENT_TURN_CHARS_MAX;

/// How turns are taken. Times are media time, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnTaking {
    /// When a turn of the caller is over.
    pub endpointing: Endpointing,
    /// When a caller interrupts.
    pub barge_in: BargeIn,
    /// After the agent begins to speak, the caller's voice does not count as an interruption for so long.
    pub barge_in_ignore_ms: u32,
    /// Whether a key interrupts.
    pub digits_interrupt: bool,
    /// The longest turn; a line that is never silent is answered all the same.
    pub turn_ms_max: u32,
    /// How long the recogniser's final result is waited for before the partial one is taken.
    pub final_ms_max: u32,
    /// A turn without words that is shorter was a noise; a longer one was not understood.
    pub noise_ms_max: u32,
    /// How long nobody speaks before the caller is asked.
    pub idle_ms: u32,
}

impl Default for TurnTaking {
    fn default() -> Self {
        Self {
            endpointing: Endpointing::default(),
            barge_in: BargeIn::default(),
            barge_in_ignore_ms: 200,
            digits_interrupt: true,
            turn_ms_max: 60_000,
            final_ms_max: 2_000,
            noise_ms_max: 300,
            idle_ms: 8_000,
        }
    }
}

/// Who has the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnState {
    /// Nobody: the caller may speak.
    Listening,
    /// The caller speaks.
    Hearing,
    /// The caller has spoken; the reply is being made.
    Deciding,
    /// The agent is heard.
    Speaking,
    /// The agent was interrupted; its last audio is on its way out.
    Yielding,
}

/// What the machine decided. Drain with [`TurnMachine::poll_output`] after every `handle_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnOutput {
    /// The floor changed hands.
    State(TurnState),
    /// The caller began to speak while nobody did.
    CallerSpeaks,
    /// Stop speaking: the playout is to be emptied at once.
    Interrupt,
    /// No more of what was interrupted will be heard.
    Yielded,
    /// Ask the recogniser for the final result of this turn. It may be a turn that nobody waits for.
    Finalize {
        /// Numbers the turn.
        turn: u32,
    },
    /// The caller's turn is complete.
    Turn(Turn),
    /// The caller said something that is no turn: a remark while the agent spoke, or words that a key or the agent's last
    /// words cut short.
    Remark {
        /// What was said.
        text: String,
        /// When it began.
        start_ms: u64,
        /// When it ended.
        end_ms: u64,
    },
    /// Nobody has said anything for long.
    Idle,
}

/// A complete turn of the caller. Times are milliseconds of media time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What was said; empty if nothing was understood.
    pub text: String,
    /// When it began.
    pub start_ms: u64,
    /// When its last word ended.
    pub end_ms: u64,
    /// When it was decided that it is over.
    pub decided_ms: u64,
    /// How much voice was in it.
    pub voiced_ms: u64,
    /// Whether it cut the agent off.
    pub interrupted: bool,
    /// Whether the recogniser's final result did not come in time.
    pub late: bool,
}

/// What the machine must know of the agent's own speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Whether what is or will be heard next may be interrupted.
    pub interruptible: bool,
    /// Whether the leg has nothing left to play.
    pub playout_empty: bool,
}

/// Who has the floor, and what follows from what is heard.
#[derive(Debug)]
pub struct TurnMachine {
    config: TurnTaking,
    state: State,
    /// The state that was last reported.
    reported: TurnState,
    now_ms: u64,
    voice: Voice,
    /// The last turn that was numbered.
    turn: u32,
    /// The last words that were no turn, and of which the recogniser may still tell: number, beginning, end.
    discarded: Option<(u32, u64, u64)>,
    outputs: VecDeque<TurnOutput>,
}

#[derive(Debug)]
enum State {
    Listening { since_ms: u64 },
    Hearing(Hearing),
    AwaitingFinal(AwaitingFinal),
    AwaitingReply { overlap: Overlap },
    Speaking(Speaking),
    Yielding { deadline_ms: u64, then: AfterYielding },
}

/// A turn in progress.
#[derive(Debug)]
struct Hearing {
    start_ms: u64,
    voiced_ms: u64,
    text: TurnText,
    interrupted: bool,
    recogniser_ended: bool,
}

/// A turn that is over, but for its text.
#[derive(Debug)]
struct AwaitingFinal {
    turn: u32,
    hearing: Hearing,
    end_ms: u64,
    decided_ms: u64,
    /// Voice since then: the caller goes on after all.
    overlap: Overlap,
    /// Whether the turn is over because it lasted too long, whoever goes on.
    cut: bool,
}

#[derive(Debug)]
struct Speaking {
    since_ms: u64,
    overlap: Overlap,
    /// Whether the caller has said anything meanwhile, since when, and what.
    remarked: bool,
    remark_ms: u64,
    text: TurnText,
    /// When the voice began that the agent has begun to speak over. It interrupts by words only, until it pauses.
    over_ms: Option<u64>,
}

#[derive(Debug)]
enum AfterYielding {
    Hearing(Hearing),
    Reply,
}

/// How long the caller has spoken where it may count as an interruption.
#[derive(Clone, Copy, Debug, Default)]
struct Overlap {
    voiced_ms: u64,
}

/// The caller's voice, whoever has the floor.
#[derive(Debug, Default)]
struct Voice {
    /// When the speech in progress began.
    start_ms: Option<u64>,
    /// When voice was last heard.
    last_ms: u64,
    /// How much voice the last tick brought to light.
    tick_ms: u64,
}

/// The words of a turn: final pieces, what an earlier end of the turn asked for, and what may still change.
#[derive(Debug, Default)]
struct TurnText {
    fixed: String,
    awaited: Option<(u32, String)>,
    partial: String,
}

impl TurnMachine {
    /// A machine that listens, at zero on media time.
    pub fn new(config: TurnTaking) -> Self {
        Self {
            config,
            state: State::Listening { since_ms: 0 },
            reported: TurnState::Listening,
            now_ms: 0,
            voice: Voice::default(),
            turn: 0,
            discarded: None,
            outputs: VecDeque::new(),
        }
    }

    /// 20 ms have passed in which the caller did this.
    pub fn handle_tick(&mut self, activity: Activity, floor: Floor) {
        self.now_ms += u64::from(Frame::MS);
        self.voice.handle(activity, self.now_ms);
        let next = match std::mem::replace(&mut self.state, State::Listening { since_ms: self.now_ms }) {
            State::Listening { since_ms } => self.tick_listening(since_ms),
            State::Hearing(hearing) => self.tick_hearing(hearing, activity),
            State::AwaitingFinal(awaiting) => self.tick_awaiting_final(awaiting),
            State::AwaitingReply { overlap } => self.tick_awaiting_reply(overlap, floor),
            State::Speaking(speaking) => self.tick_speaking(speaking, activity, floor),
            State::Yielding { deadline_ms, then } => self.tick_yielding(deadline_ms, then, floor),
        };
        self.enter(next);
    }

    /// Time has passed of which nothing is known.
    pub fn handle_gap(&mut self, ms: u64) {
        self.now_ms = self.now_ms.saturating_add(ms);
    }

    /// The recogniser's view of the turn so far.
    pub fn handle_partial(&mut self, text: &str) {
        match &mut self.state {
            State::Hearing(hearing) | State::Yielding { then: AfterYielding::Hearing(hearing), .. } => {
                hearing.text.set_partial(text);
            }
            State::AwaitingFinal(awaiting) => awaiting.hearing.text.set_partial(text),
            State::Speaking(speaking) => speaking.text.set_partial(text),
            State::Listening { .. }
            | State::AwaitingReply { .. }
            | State::Yielding { then: AfterYielding::Reply, .. } => {}
        }
    }

    /// The recogniser's final result: of the turn that was asked for, or of its own accord.
    pub fn handle_final(&mut self, turn: Option<u32>, text: &str) {
        self.handle_discarded(turn, text);
        match &mut self.state {
            State::Listening { .. } => {
                // The detector missed a voice that the recogniser understood.
                if turn.is_none() && !text.trim().is_empty() {
                    let mut hearing = Hearing::new(self.now_ms, false);
                    hearing.text.push_fixed(text);
                    let next = self.complete(hearing, self.now_ms, self.now_ms, false);
                    self.enter(next);
                }
            }
            State::Hearing(hearing) | State::Yielding { then: AfterYielding::Hearing(hearing), .. } => {
                hearing.recogniser_ended |= turn.is_none();
                hearing.text.handle_final(turn, text);
            }
            State::AwaitingFinal(awaiting) => {
                if turn != Some(awaiting.turn) {
                    awaiting.hearing.text.handle_final(turn, text);
                    return;
                }
                awaiting.hearing.text.partial.clear();
                awaiting.hearing.text.push_fixed(text);
                let state = std::mem::replace(&mut self.state, State::Listening { since_ms: self.now_ms });
                if let State::AwaitingFinal(AwaitingFinal { hearing, end_ms, decided_ms, .. }) = state {
                    let next = self.complete(hearing, end_ms, decided_ms, false);
                    self.enter(next);
                }
            }
            State::Speaking(speaking) => speaking.text.handle_final(turn, text),
            State::AwaitingReply { .. } | State::Yielding { then: AfterYielding::Reply, .. } => {}
        }
    }

    /// The caller pressed a key, which is an input like a turn.
    pub fn handle_digit(&mut self, interruptible: bool) {
        let interrupts = interruptible && self.config.digits_interrupt;
        let next = match std::mem::replace(&mut self.state, State::Listening { since_ms: self.now_ms }) {
            State::Listening { .. } => State::awaiting_reply(),
            State::Hearing(hearing) | State::AwaitingFinal(AwaitingFinal { hearing, .. }) => {
                self.discard_words(hearing.start_ms);
                State::awaiting_reply()
            }
            State::AwaitingReply { .. } => {
                if interrupts {
                    self.outputs.push_back(TurnOutput::Interrupt);
                    self.outputs.push_back(TurnOutput::Yielded);
                }
                State::awaiting_reply()
            }
            State::Speaking(_) if interrupts => self.yielding(AfterYielding::Reply),
            State::Speaking(speaking) => State::Speaking(speaking),
            State::Yielding { deadline_ms, then } => {
                match then {
                    AfterYielding::Hearing(hearing) => self.discard_words(hearing.start_ms),
                    AfterYielding::Reply => {}
                }
                State::Yielding { deadline_ms, then: AfterYielding::Reply }
            }
        };
        self.enter(next);
    }

    /// The agent begins to be heard.
    pub fn handle_speech_started(&mut self) {
        let mut over_ms = None;
        match &self.state {
            State::Speaking(_) => return,
            State::Yielding { .. } => self.outputs.push_back(TurnOutput::Yielded),
            State::Hearing(hearing) | State::AwaitingFinal(AwaitingFinal { hearing, .. }) => {
                self.discard_words(hearing.start_ms);
                over_ms = self.voice.start_ms;
            }
            State::Listening { .. } | State::AwaitingReply { .. } => {}
        }
        self.enter(State::Speaking(Speaking { over_ms, ..Speaking::new(self.now_ms) }));
    }

    /// The agent has nothing more to say until the caller does something.
    pub fn handle_reply_over(&mut self) {
        let next = match &mut self.state {
            State::AwaitingReply { .. } => match self.voice.start_ms {
                Some(start_ms) => State::Hearing(Hearing::new(start_ms, false)),
                None => State::Listening { since_ms: self.now_ms },
            },
            State::Speaking(speaking) => {
                // Whoever begins to answer as the agent ends is heard; a remark before that is forgotten by now.
                if speaking.remarked {
                    let start_ms = self.voice.start_ms.unwrap_or(self.voice.last_ms);
                    let mut hearing = Hearing::new(start_ms, false);
                    hearing.voiced_ms = speaking.overlap.voiced_ms;
                    hearing.text = std::mem::take(&mut speaking.text);
                    State::Hearing(hearing)
                } else {
                    if !speaking.text.joined().is_empty() {
                        self.discard_words(self.now_ms);
                    }
                    State::Listening { since_ms: self.now_ms }
                }
            }
            State::Listening { .. } | State::Hearing(_) | State::AwaitingFinal(_) | State::Yielding { .. } => return,
        };
        self.enter(next);
    }

    /// The next decision.
    pub fn poll_output(&mut self) -> Option<TurnOutput> {
        self.outputs.pop_front()
    }

    /// Who has the floor.
    pub fn state(&self) -> TurnState {
        match self.state {
            State::Listening { .. } => TurnState::Listening,
            State::Hearing(_) => TurnState::Hearing,
            State::AwaitingFinal(_) | State::AwaitingReply { .. } => TurnState::Deciding,
            State::Speaking(_) => TurnState::Speaking,
            State::Yielding { .. } => TurnState::Yielding,
        }
    }

    /// Whether the agent may begin to be heard without cutting the caller short.
    pub fn may_speak(&self) -> bool {
        match &self.state {
            State::Listening { .. }
            | State::AwaitingReply { .. }
            | State::Speaking(_)
            | State::Yielding { then: AfterYielding::Reply, .. } => true,
            State::Hearing(_) | State::AwaitingFinal(_) | State::Yielding { then: AfterYielding::Hearing(_), .. } => {
                false
            }
        }
    }

    /// What the caller is saying, as far as the recogniser told: for the record of a call that ends in mid-sentence.
    pub fn words_so_far(&self) -> Option<(u64, String)> {
        let hearing = match &self.state {
            State::Hearing(it) | State::Yielding { then: AfterYielding::Hearing(it), .. } => it,
            State::AwaitingFinal(it) => &it.hearing,
            State::Listening { .. }
            | State::AwaitingReply { .. }
            | State::Speaking(_)
            | State::Yielding { then: AfterYielding::Reply, .. } => return None,
        };
        Some((hearing.start_ms, hearing.text.joined())).filter(|(_, text)| !text.is_empty())
    }

    fn tick_listening(&mut self, since_ms: u64) -> State {
        if let Some(start_ms) = self.voice.start_ms {
            self.outputs.push_back(TurnOutput::CallerSpeaks);
            let mut hearing = Hearing::new(start_ms, false);
            hearing.voiced_ms = self.voice.tick_ms;
            return State::Hearing(hearing);
        }
        if self.now_ms.saturating_sub(since_ms) < u64::from(self.config.idle_ms) {
            return State::Listening { since_ms };
        }
        self.outputs.push_back(TurnOutput::Idle);
        State::Listening { since_ms: self.now_ms }
    }

    fn tick_hearing(&mut self, mut hearing: Hearing, activity: Activity) -> State {
        hearing.voiced_ms += self.voice.tick_ms;
        let text = hearing.text.joined();
        let quiet_ms = self.now_ms.saturating_sub(self.voice.last_ms);
        let ending = Ending { quiet_ms, text: &text, recogniser_ended: hearing.recogniser_ended };
        let too_long = self.now_ms.saturating_sub(hearing.start_ms) >= u64::from(self.config.turn_ms_max);
        let over = activity != Activity::Speech && self.config.endpointing.is_over(ending);
        if !over && !too_long {
            return State::Hearing(hearing);
        }
        let (end_ms, decided_ms) = (self.voice.last_ms.clamp(hearing.start_ms, self.now_ms), self.now_ms);
        if hearing.recogniser_ended && hearing.text.is_final() {
            return self.complete(hearing, end_ms, decided_ms, false);
        }
        let turn = self.finalize();
        State::AwaitingFinal(AwaitingFinal {
            turn,
            hearing,
            end_ms,
            decided_ms,
            overlap: Overlap::default(),
            cut: too_long,
        })
    }

    fn tick_awaiting_final(&mut self, mut awaiting: AwaitingFinal) -> State {
        awaiting.overlap.handle(&self.voice);
        if awaiting.overlap.voiced_ms >= GOES_ON_MS && !awaiting.cut {
            let AwaitingFinal { turn, mut hearing, overlap, .. } = awaiting;
            hearing.voiced_ms += overlap.voiced_ms;
            hearing.text.await_final(turn);
            hearing.recogniser_ended = false;
            return State::Hearing(hearing);
        }
        if self.now_ms.saturating_sub(awaiting.decided_ms) < u64::from(self.config.final_ms_max) {
            return State::AwaitingFinal(awaiting);
        }
        self.complete(awaiting.hearing, awaiting.end_ms, awaiting.decided_ms, true)
    }

    fn tick_awaiting_reply(&mut self, mut overlap: Overlap, floor: Floor) -> State {
        overlap.handle(&self.voice);
        let intrusion = Intrusion { speech_ms: overlap.voiced_ms, text: "" };
        if !floor.interruptible || !self.config.barge_in.interrupts(intrusion) {
            return State::AwaitingReply { overlap };
        }
        self.outputs.push_back(TurnOutput::Interrupt);
        self.outputs.push_back(TurnOutput::Yielded);
        State::Hearing(self.interrupted_by(overlap, TurnText::default()))
    }

    fn tick_speaking(&mut self, mut speaking: Speaking, activity: Activity, floor: Floor) -> State {
        let ignored = self.now_ms.saturating_sub(speaking.since_ms) <= u64::from(self.config.barge_in_ignore_ms);
        let text = speaking.text.joined();
        speaking.over_ms = speaking.over_ms.filter(|it| self.voice.start_ms == Some(*it) && text.is_empty());
        if !ignored && speaking.over_ms.is_none() {
            speaking.overlap.handle(&self.voice);
        }
        if activity == Activity::Speech && !speaking.remarked {
            speaking.remarked = true;
            speaking.remark_ms = self.voice.start_ms.unwrap_or(self.now_ms);
        }
        let intrusion = Intrusion { speech_ms: speaking.overlap.voiced_ms, text: &text };
        if floor.interruptible && !ignored && self.config.barge_in.interrupts(intrusion) {
            let hearing = self.interrupted_by(speaking.overlap, speaking.text);
            return self.yielding(AfterYielding::Hearing(hearing));
        }
        let quiet_ms = self.now_ms.saturating_sub(self.voice.last_ms);
        let ending = Ending { quiet_ms, text: &text, recogniser_ended: false };
        if speaking.remarked && self.voice.start_ms.is_none() && self.config.endpointing.is_over(ending) {
            self.discard_words(speaking.remark_ms);
            speaking.remarked = false;
            speaking.text = TurnText::default();
        }
        State::Speaking(speaking)
    }

    fn tick_yielding(&mut self, deadline_ms: u64, then: AfterYielding, floor: Floor) -> State {
        let then = match then {
            AfterYielding::Hearing(mut hearing) => {
                hearing.voiced_ms += self.voice.tick_ms;
                AfterYielding::Hearing(hearing)
            }
            AfterYielding::Reply => AfterYielding::Reply,
        };
        if !floor.playout_empty && self.now_ms < deadline_ms {
            return State::Yielding { deadline_ms, then };
        }
        self.outputs.push_back(TurnOutput::Yielded);
        match then {
            AfterYielding::Hearing(hearing) => State::Hearing(hearing),
            AfterYielding::Reply => State::awaiting_reply(),
        }
    }

    fn yielding(&mut self, then: AfterYielding) -> State {
        self.outputs.push_back(TurnOutput::Interrupt);
        State::Yielding { deadline_ms: self.now_ms + YIELDING_MS_MAX, then }
    }

    fn interrupted_by(&self, overlap: Overlap, text: TurnText) -> Hearing {
        let start_ms = self.voice.start_ms.unwrap_or(self.now_ms);
        let recogniser_ended = text.is_final();
        Hearing { start_ms, voiced_ms: overlap.voiced_ms, text, interrupted: true, recogniser_ended }
    }

    fn complete(&mut self, hearing: Hearing, end_ms: u64, decided_ms: u64, late: bool) -> State {
        let Hearing { start_ms, voiced_ms, text, interrupted, .. } = hearing;
        let text = text.joined();
        let turn = Turn { text, start_ms, end_ms, decided_ms, voiced_ms, interrupted, late };
        self.outputs.push_back(TurnOutput::Turn(turn));
        State::awaiting_reply()
    }

    /// Has the recogniser put an end to words that are no turn, so that the next turn does not begin with them.
    fn discard_words(&mut self, start_ms: u64) {
        let turn = self.finalize();
        self.discarded = Some((turn, start_ms, self.voice.last_ms.max(start_ms)));
    }

    fn handle_discarded(&mut self, turn: Option<u32>, text: &str) {
        if let Some((_, start_ms, end_ms)) = self.discarded.take_if(|(discarded, ..)| turn == Some(*discarded)) {
            let text: String = text.trim().chars().take(AGENT_TURN_CHARS_MAX).collect();
            if !text.is_empty() {
                self.outputs.push_back(TurnOutput::Remark { text, start_ms, end_ms });
            }
        }
    }

    fn finalize(&mut self) -> u32 {
        self.turn = self.turn.wrapping_add(1);
        self.outputs.push_back(TurnOutput::Finalize { turn: self.turn });
        self.turn
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        let state = self.state();
        if self.reported != state {
            self.reported = state;
            self.outputs.push_back(TurnOutput::State(state));
        }
    }
}

impl State {
    fn awaiting_reply() -> Self {
        Self::AwaitingReply { overlap: Overlap::default() }
    }
}

impl Hearing {
    fn new(start_ms: u64, interrupted: bool) -> Self {
        Self { start_ms, voiced_ms: 0, text: TurnText::default(), interrupted, recogniser_ended: false }
    }
}

impl Speaking {
    fn new(since_ms: u64) -> Self {
        let (overlap, text) = (Overlap::default(), TurnText::default());
        Self { since_ms, overlap, remarked: false, remark_ms: since_ms, text, over_ms: None }
    }
}

impl Overlap {
    fn handle(&mut self, voice: &Voice) {
        match voice.start_ms {
            Some(_) => self.voiced_ms += voice.tick_ms,
            None => self.voiced_ms = 0,
        }
    }
}

impl Voice {
    fn handle(&mut self, activity: Activity, now_ms: u64) {
        self.tick_ms = 0;
        match activity {
            Activity::Speech => {
                self.tick_ms = if self.start_ms.is_some() { u64::from(Frame::MS) } else { ONSET_MS };
                self.start_ms.get_or_insert_with(|| now_ms.saturating_sub(ONSET_MS));
                self.last_ms = now_ms;
            }
            Activity::Pause => {}
            Activity::Silence => self.start_ms = None,
        }
    }
}

impl TurnText {
    fn set_partial(&mut self, text: &str) {
        self.partial = text.trim().chars().take(AGENT_TURN_CHARS_MAX).collect();
    }

    fn handle_final(&mut self, turn: Option<u32>, text: &str) {
        match (turn, &self.awaited) {
            (None, _) => {
                self.partial.clear();
                self.push_fixed(text);
            }
            (Some(turn), Some((awaited, _))) if turn == *awaited => {
                self.awaited = None;
                self.push_fixed(text);
            }
            // The result of a turn that was given up.
            (Some(_), _) => {}
        }
    }

    fn push_fixed(&mut self, text: &str) {
        let room = AGENT_TURN_CHARS_MAX.saturating_sub(self.fixed.chars().count());
        let text: String = text.trim().chars().take(room).collect();
        push_words(&mut self.fixed, &text);
    }

    /// The words so far were asked for as `turn`; their final result may still come.
    fn await_final(&mut self, turn: u32) {
        let earlier = self.awaited.take().map(|(_, text)| text).unwrap_or_default();
        self.push_fixed(&earlier);
        self.awaited = Some((turn, std::mem::take(&mut self.partial)));
    }

    fn is_final(&self) -> bool {
        !self.fixed.is_empty() && self.awaited.is_none() && self.partial.is_empty()
    }

    fn joined(&self) -> String {
        let mut text = self.fixed.clone();
        push_words(&mut text, self.awaited.as_ref().map_or("", |(_, text)| text));
        push_words(&mut text, &self.partial);
        text
    }
}

fn push_words(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

/// Voice after the end of a turn that makes it go on.
const GOES_ON_MS: u64 = 200;
/// How long a leg may take to report that its playout is empty.
const YIELDING_MS_MAX: u64 = 200;

#[cfg(test)]
mod tests {
    use super::super::barge_in::WordsBargeIn;
    use super::super::endpointing::RecogniserEndpointing;
    use super::*;

    /// Runs a timeline and compares all of it. Inputs are `caller …`, `recogniser …`, `agent …`, `key`; what the machine
    /// says stands behind `>`. The caller's voice and the agent's floor stay as they are until an input changes them.
    #[track_caller]
    fn check(config: TurnTaking, script: &str) {
        let script: Vec<_> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        let mut machine = TurnMachine::new(config);
        let mut inputs = script.iter().filter(|it| !it.contains('>')).peekable();
        let (mut activity, mut floor) = (Activity::Silence, Floor { interruptible: true, playout_empty: true });
        let mut log = vec![];
        let end_ms = time_of(script.last().expect("a script has lines"));
        for now_ms in (0..=end_ms).step_by(20) {
            while let Some(line) = inputs.next_if(|it| time_of(it) <= now_ms) {
                log.push((*line).to_owned());
                let words: Vec<_> = line.split_whitespace().skip(1).collect();
                match words.as_slice() {
                    ["caller", "speech"] => activity = Activity::Speech,
                    ["caller", "pause"] => activity = Activity::Pause,
                    ["caller", "silence"] => activity = Activity::Silence,
                    ["recogniser", "partial", text @ ..] => machine.handle_partial(&text.join(" ")),
                    ["recogniser", "final", text @ ..] => machine.handle_final(None, &text.join(" ")),
                    ["recogniser", turn, text @ ..] => machine.handle_final(turn.parse().ok(), &text.join(" ")),
                    ["agent", "heard"] => {
                        floor.playout_empty = false;
                        machine.handle_speech_started();
                    }
                    ["agent", "uninterruptible"] => floor.interruptible = false,
                    ["agent", "empty"] => floor.playout_empty = true,
                    ["agent", "over"] => {
                        floor.playout_empty = true;
                        machine.handle_reply_over();
                    }
                    ["key"] => machine.handle_digit(floor.interruptible),
                    _ => panic!("{line}"),
                }
                log.extend(drain(&mut machine, now_ms));
            }
            machine.handle_tick(activity, floor);
            log.extend(drain(&mut machine, now_ms + 20));
        }
        assert_eq!(log, script, "\n{}", log.join("\n"));
    }

    fn time_of(line: &str) -> u64 {
        line.split_whitespace()
            .next()
            .and_then(|it| it.replace('.', "").parse().ok())
            .expect("lines begin with seconds")
    }

    fn drain(machine: &mut TurnMachine, now_ms: u64) -> Vec<String> {
        let show = |output| match output {
            TurnOutput::State(state) => format!("[{state:?}]").to_lowercase(),
            TurnOutput::Turn(turn) => {
                let flags = [(turn.interrupted, " interrupted"), (turn.late, " late")];
                let flags: String = flags.iter().filter(|it| it.0).map(|it| it.1).collect();
                format!("turn \"{}\" {}-{} voiced {}{flags}", turn.text, turn.start_ms, turn.end_ms, turn.voiced_ms)
            }
            TurnOutput::Finalize { turn } => format!("finalize {turn}"),
            TurnOutput::Remark { text, start_ms, end_ms } => format!("remark \"{text}\" {start_ms}-{end_ms}"),
            TurnOutput::CallerSpeaks | TurnOutput::Interrupt | TurnOutput::Yielded | TurnOutput::Idle => {
                format!("{output:?}").to_lowercase()
            }
        };
        std::iter::from_fn(|| machine.poll_output())
            .map(|it| format!("{}.{:03} > {}", now_ms / 1_000, now_ms % 1_000, show(it)))
            .collect()
    }

    fn recogniser_decides() -> TurnTaking {
        let endpointing = Endpointing::Recogniser(RecogniserEndpointing::default());
        TurnTaking { endpointing, ..TurnTaking::default() }
    }

    #[test]
    fn a_turn_is_heard_decided_and_replied_to() {
        check(
            TurnTaking::default(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             0.700 recogniser partial what are
             1.100 caller silence
             1.600 > finalize 1
             1.600 > [deciding]
             1.900 recogniser 1 what are your hours
             1.900 > turn \"what are your hours\" 80-1100 voiced 1020
             2.100 agent heard
             2.100 > [speaking]
             3.000 agent over
             3.000 > [listening]
             3.020 caller silence",
        );
    }

    #[test]
    fn an_interruption_yields_until_the_leg_is_empty() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             0.900 caller speech
             1.140 > interrupt
             1.140 > [yielding]
             1.260 agent empty
             1.280 > yielded
             1.280 > [hearing]
             1.600 recogniser partial wait
             2.000 caller silence
             2.500 > finalize 1
             2.500 > [deciding]
             2.700 recogniser 1 wait a moment
             2.700 > turn \"wait a moment\" 880-2000 voiced 1120 interrupted
             2.720 caller silence",
        );
    }

    #[test]
    fn a_leg_that_does_not_report_is_not_waited_for() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             0.900 caller speech
             1.140 > interrupt
             1.140 > [yielding]
             1.340 > yielded
             1.340 > [hearing]
             1.500 caller silence",
        );
    }

    #[test]
    fn a_remark_is_let_pass_and_its_words_are_discarded() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             0.900 caller speech
             1.040 caller silence
             1.300 recogniser partial uh huh
             1.540 > finalize 1
             2.000 recogniser 1 uh huh
             2.000 > remark \"uh huh\" 880-1040
             2.500 agent over
             2.500 > [listening]
             2.520 caller silence",
        );
    }

    #[test]
    fn an_uninterruptible_utterance_is_finished_before_the_caller_is_heard() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             0.200 agent uninterruptible
             0.900 caller speech
             2.000 agent over
             2.000 > [hearing]
             2.300 caller silence
             2.800 > finalize 1
             2.800 > [deciding]
             2.900 recogniser 1 hello
             2.900 > turn \"hello\" 880-2300 voiced 1420",
        );
    }

    #[test]
    fn an_answer_that_begins_as_the_agent_ends_is_a_turn() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             1.800 caller speech
             2.000 agent over
             2.000 > [hearing]
             2.020 caller silence
             2.520 > finalize 1
             2.520 > [deciding]
             2.700 recogniser 1 yes
             2.700 > turn \"yes\" 1780-2020 voiced 240",
        );
    }

    #[test]
    fn a_caller_who_goes_on_gets_one_turn() {
        check(
            TurnTaking::default(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             0.600 recogniser partial i want
             1.000 caller silence
             1.500 > finalize 1
             1.500 > [deciding]
             1.700 caller speech
             1.880 > [hearing]
             2.000 recogniser 1 i want an
             2.200 recogniser partial appointment
             2.400 caller silence
             2.900 > finalize 2
             2.900 > [deciding]
             3.000 recogniser 2 appointment today
             3.000 > turn \"i want an appointment today\" 80-2400 voiced 1640
             3.020 caller silence",
        );
    }

    #[test]
    fn a_final_result_that_is_late_leaves_the_partial_one() {
        check(
            TurnTaking::default(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             0.600 recogniser partial hello
             1.000 caller silence
             1.500 > finalize 1
             1.500 > [deciding]
             3.500 > turn \"hello\" 80-1000 voiced 920 late
             3.600 recogniser 1 hello there",
        );
    }

    #[test]
    fn without_any_result_the_turn_is_empty() {
        check(
            TurnTaking::default(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             1.000 caller silence
             1.500 > finalize 1
             1.500 > [deciding]
             3.500 > turn \"\" 80-1000 voiced 920 late
             3.520 recogniser 7 stale",
        );
    }

    #[test]
    fn a_caller_who_goes_on_before_the_reply_is_heard_stops_it() {
        check(
            TurnTaking::default(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             1.000 caller silence
             1.500 > finalize 1
             1.500 > [deciding]
             1.600 recogniser 1 hello
             1.600 > turn \"hello\" 80-1000 voiced 920
             1.800 caller speech
             2.040 > interrupt
             2.040 > yielded
             2.040 > [hearing]
             2.400 caller silence
             2.900 > finalize 2
             2.900 > [deciding]
             3.000 recogniser 2 i mean goodbye
             3.000 > turn \"i mean goodbye\" 1780-2400 voiced 620 interrupted",
        );
    }

    #[test]
    fn words_out_of_nothing_are_a_turn() {
        check(
            TurnTaking::default(),
            "1.000 recogniser final hello
             1.000 > turn \"hello\" 1000-1000 voiced 0
             1.000 > [deciding]
             1.200 agent over
             1.200 > [listening]
             1.220 caller silence",
        );
    }

    #[test]
    fn silence_is_noticed_again_and_again() {
        check(
            TurnTaking::default(),
            "8.000 > idle
             16.000 > idle
             16.100 caller silence",
        );
    }

    #[test]
    fn a_line_that_is_never_silent_is_answered() {
        check(
            TurnTaking { turn_ms_max: 1_000, ..TurnTaking::default() },
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             1.080 > finalize 1
             1.080 > [deciding]
             1.400 recogniser 1 and then
             1.400 > turn \"and then\" 80-1080 voiced 1000
             1.420 caller speech",
        );
    }

    #[test]
    fn keys_interrupt_and_discard_what_is_being_said() {
        check(
            TurnTaking::default(),
            "0.100 agent heard
             0.100 > [speaking]
             0.500 key
             0.500 > interrupt
             0.500 > [yielding]
             0.560 key
             0.600 agent empty
             0.620 > yielded
             0.620 > [deciding]
             0.700 agent heard
             0.700 > [speaking]
             0.800 caller speech
             1.160 > interrupt
             1.160 > [yielding]
             1.300 caller silence
             1.360 > yielded
             1.360 > [hearing]
             1.400 key
             1.400 > finalize 1
             1.400 > [deciding]
             1.500 agent heard
             1.500 > [speaking]
             1.520 caller silence",
        );
    }

    #[test]
    fn words_interrupt_where_words_are_asked_for() {
        check(
            TurnTaking { barge_in: BargeIn::Words(WordsBargeIn::default()), ..TurnTaking::default() },
            "0.100 agent heard
             0.100 > [speaking]
             0.500 caller speech
             1.000 recogniser partial uh
             1.200 recogniser partial uh stop
             1.220 > interrupt
             1.220 > [yielding]
             1.220 agent empty
             1.240 > yielded
             1.240 > [hearing]
             1.300 caller silence",
        );
    }

    #[test]
    fn the_recogniser_ends_the_turn_where_it_is_asked_to() {
        check(
            recogniser_decides(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             0.500 recogniser partial good
             1.000 caller pause
             1.200 recogniser final good morning
             1.220 > turn \"good morning\" 80-1000 voiced 920
             1.220 > [deciding]
             1.300 caller silence",
        );
    }

    #[test]
    fn a_recogniser_that_does_not_end_the_turn_is_overruled() {
        check(
            recogniser_decides(),
            "0.100 caller speech
             0.120 > callerspeaks
             0.120 > [hearing]
             1.000 caller silence
             4.000 > finalize 1
             4.000 > [deciding]
             4.100 recogniser 1 late but there
             4.100 > turn \"late but there\" 80-1000 voiced 920",
        );
    }
}
