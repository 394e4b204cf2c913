//! [`Agent`]: one call's voice agent, which joins the turn machine, the speech and the mind.
//!
//! Its life: *ringing* (services warm up, the first message is synthesised), *opening* (answered, the first message is
//! held back for its delay or for the caller), *talking*, *quiet* (a machine greets, a fax is sent on), *leaving* (the last words play out), *ended*. Time is media
//! time: 20 ms a tick, from the answer on.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha12Rng;

use super::config::{AgentConfig, AnsweredBy, CallContext, FirstMessage, OnMachine};
use super::conversation::Conversation;
use super::event::{Event, HangUpReason, Output, Service, Speaker, Tick};
use super::latency::Stopwatch;
use super::mind::Mind;
use super::provider::{
    ModelCommand, ModelEvent, RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent, UtteranceId,
};
use super::speech::{AudioTaken, Speech, Spoken, SpokenKind};
use super::step::Step;
use super::turn_machine::{Floor, Turn, TurnMachine, TurnOutput, TurnState};
use super::voice_activity::VoiceActivity;
use crate::codec::{Clip, Frame};
use crate::limits::{AGENT_MISSED_FRAMES_MAX, AGENT_OUTPUTS_MAX, AGENT_STEPS_MAX};
use crate::timer::Now;

/// One call's voice agent. Drain [`Agent::poll_output`] after every `handle_*`.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    context: CallContext,
    phase: Phase,
    /// Media time since the answer.
    now_ms: u64,
    mind: Mind,
    /// What the mind wants done and that must wait for what is being said.
    steps: VecDeque<Step>,
    turns: TurnMachine,
    voice: VoiceActivity,
    speech: Speech,
    conversation: Conversation,
    stopwatch: Option<Stopwatch>,
    /// When a final result was asked for last.
    finalized_at: Now,
    recogniser_ready: bool,
    /// Turns in a row of which the recogniser gave no result in time.
    late_results: u8,
    /// Until when a transfer that was asked for may take.
    transfer_until_ms: Option<u64>,
    outputs: VecDeque<Output>,
    counts: Counts,
}

/// What an agent had to drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pieces of audio that arrived for an utterance that was stopped.
    pub late_audio: u64,
    /// Pieces of audio that exceeded what may wait.
    pub dropped_audio: u64,
    /// Outputs that nobody drained.
    pub dropped_outputs: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Not answered yet; a service may have failed already.
    Ringing {
        failed: Option<Service>,
    },
    /// Answered; the first message is held back until then, or until the caller has said something.
    Opening {
        greet_at_ms: u64,
    },
    Talking,
    /// Nobody is there to talk to: silent until something else is decided, or until then.
    Quiet {
        deadline_ms: u64,
    },
    /// The last words are on their way.
    Leaving {
        reason: HangUpReason,
        deadline_ms: u64,
    },
    Ended,
}

impl Agent {
    /// An agent for a call that is being offered. It begins to prepare its first message at once.
    pub fn new(config: AgentConfig, context: CallContext, rng: ChaCha12Rng, now: Now) -> Self {
        let mut mind = Mind::new(&config.mind, &context.all_variables(), rng);
        mind.handle_start();
        let mut agent = Self {
            turns: TurnMachine::new(config.turn_taking.clone()),
            voice: VoiceActivity::new(config.voice_activity),
            speech: Speech::new(config.rate),
            config,
            context,
            phase: Phase::Ringing { failed: None },
            now_ms: 0,
            mind,
            steps: VecDeque::new(),
            conversation: Conversation::default(),
            stopwatch: None,
            finalized_at: now,
            recogniser_ready: false,
            late_results: 0,
            transfer_until_ms: None,
            outputs: VecDeque::new(),
            counts: Counts::default(),
        };
        agent.advance(now);
        agent
    }

    /// The call was answered: the caller hears the agent from here on.
    pub fn handle_answered(&mut self, now: Now) {
        let Phase::Ringing { failed } = self.phase else { return };
        let greet_at_ms = match self.config.first_message {
            FirstMessage::AgentFirst { delay_ms } => delay_ms,
            FirstMessage::CallerFirst { wait_ms_max } => wait_ms_max,
        };
        self.phase = Phase::Opening { greet_at_ms: u64::from(greet_at_ms) };
        if let Some(service) = failed {
            self.apologise(service);
        }
        self.advance(now);
    }

    /// The call has ended. What was heard until then is recorded; nothing follows.
    pub fn handle_hangup(&mut self, _now: Now) {
        self.end();
    }

    /// 20 ms of the leg have passed. Ticks before the answer are no media time.
    pub fn handle_tick(&mut self, tick: &Tick, now: Now) {
        match self.phase {
            Phase::Ringing { .. } | Phase::Ended => return,
            Phase::Opening { .. } | Phase::Talking | Phase::Quiet { .. } | Phase::Leaving { .. } => {}
        }
        for _ in 0..tick.missed.min(AGENT_MISSED_FRAMES_MAX) {
            self.now_ms += u64::from(Frame::MS);
            self.hear(None, now, false);
        }
        let gap_ms = u64::from(tick.missed.saturating_sub(AGENT_MISSED_FRAMES_MAX)) * u64::from(Frame::MS);
        self.turns.handle_gap(gap_ms);
        self.now_ms += gap_ms + u64::from(Frame::MS);
        self.speech.handle_tick(tick.played, tick.queued_frames, self.now_ms);
        self.record_spoken();
        if let Some((utterance, _)) = tick.played
            && let Some(latency) = self.stopwatch.and_then(|it| it.handle_played(utterance, now))
        {
            self.stopwatch = None;
            self.event(Event::TurnLatency(latency));
        }
        self.hear(tick.audio.as_ref(), now, tick.queued_frames == 0 && tick.played.is_none());
        if let Some(digit) = tick.digit {
            self.handle_digit(digit, now);
        }
        self.check_deadlines(now);
        self.advance(now);
        self.feed(tick.queued_frames, now);
        self.finish_reply(now);
        self.hang_up_when_heard();
    }

    /// Something from the recogniser.
    pub fn handle_recogniser(&mut self, event: RecogniserEvent, now: Now) {
        if let Phase::Ended = self.phase {
            return;
        }
        match event {
            RecogniserEvent::Ready => self.recogniser_ready = true,
            RecogniserEvent::Partial { text } => self.turns.handle_partial(&text),
            RecogniserEvent::Final { turn, text, words: _ } => self.turns.handle_final(turn, &text),
            RecogniserEvent::Failed { reason } => self.fail(Service::Recogniser, reason),
        }
        self.take_turns(now);
        self.advance(now);
    }

    /// Something from the synthesiser.
    pub fn handle_synthesiser(&mut self, event: SynthesiserEvent, now: Now) {
        if let Phase::Ended = self.phase {
            return;
        }
        match event {
            SynthesiserEvent::Ready => {}
            SynthesiserEvent::Audio { utterance, samples } => self.take_audio(utterance, &samples, now),
            SynthesiserEvent::Words { utterance, words } => self.speech.handle_words(utterance, words),
            SynthesiserEvent::Complete { utterance } => {
                self.speech.handle_complete(utterance, self.now_ms);
                self.record_spoken();
            }
            SynthesiserEvent::Failed { reason } => {
                if let Phase::Leaving { .. } = self.phase {
                    // Of the last words there will be no more than what it gave so far.
                    self.speech.complete_all(self.now_ms);
                }
                self.fail(Service::Synthesiser, reason);
            }
        }
        self.advance(now);
        self.feed(0, now);
    }

    /// A sound that was asked for by [`Output::Fetch`], or why there is none.
    pub fn handle_sound(&mut self, utterance: UtteranceId, found: Result<Clip, String>, now: Now) {
        if let Phase::Ended = self.phase {
            return;
        }
        let refused = match found {
            Ok(clip) => {
                let is_taken = self.speech.handle_clip(utterance, clip);
                (!is_taken).then(|| "there is nothing in it to be heard".to_owned())
            }
            Err(reason) => Some(reason),
        };
        // One that nobody waits for any more may fail as it likes.
        if let Some((source, reason)) = refused.and_then(|it| Some((self.speech.drop_sound(utterance)?, it))) {
            self.event(Event::NotPlayed { source, reason });
            self.mind.handle_not_played();
        }
        self.advance(now);
        self.feed(0, now);
    }

    /// Something from the language model.
    pub fn handle_model(&mut self, event: ModelEvent, now: Now) {
        if let Phase::Opening { .. } | Phase::Talking = self.phase {
            self.mind.handle_model(event, self.now_ms);
            self.advance(now);
        }
    }

    /// It is known who or what has answered this call, which is one of ours; told again when more is known.
    pub fn handle_answered_by(&mut self, by: AnsweredBy, now: Now) {
        if let Phase::Ended = self.phase {
            return;
        }
        self.mind.handle_answered_by(by.name());
        let is_leaving = match self.phase {
            Phase::Leaving { reason, .. } => reason != HangUpReason::MessageLeft,
            Phase::Ringing { .. } => true,
            Phase::Opening { .. } | Phase::Talking | Phase::Quiet { .. } | Phase::Ended => false,
        };
        match (by, self.config.on_machine.clone()) {
            _ if is_leaving => {}
            (AnsweredBy::Machine, OnMachine::Message(_)) => self.fall_silent(self.config.times.machine_ms_max),
            // A beep after a pause that was taken for one: the message begins anew.
            (AnsweredBy::MachineReady, OnMachine::Message(message)) => self.leave_message(&message, now),
            (AnsweredBy::Machine | AnsweredBy::MachineReady, OnMachine::HangUp)
            | (AnsweredBy::Unavailable | AnsweredBy::Fax, OnMachine::HangUp | OnMachine::Message(_)) => {
                self.end();
                self.output(Output::HangUp { reason: HangUpReason::Machine });
            }
            (_, OnMachine::GoOn)
            | (
                AnsweredBy::Human | AnsweredBy::Menu | AnsweredBy::Screening | AnsweredBy::Unclear,
                OnMachine::HangUp | OnMachine::Message(_),
            ) => {}
        }
        self.advance(now);
    }

    /// The caller is not to be talked to any more, and is about to be handed over; without that, the call ends after `ms`.
    pub fn fall_silent(&mut self, ms: u64) {
        match self.phase {
            Phase::Opening { .. } | Phase::Talking => {
                self.silence(true);
                self.phase = Phase::Quiet { deadline_ms: self.now_ms.saturating_add(ms) };
            }
            Phase::Ringing { .. } | Phase::Quiet { .. } | Phase::Leaving { .. } | Phase::Ended => {}
        }
    }

    fn leave_message(&mut self, message: &str, now: Now) {
        self.silence(true);
        self.leave(HangUpReason::MessageLeft, message, now);
    }

    /// The transfer that was asked for is not done.
    pub fn handle_transfer_refused(&mut self, reason: &str, now: Now) {
        if self.transfer_until_ms.take().is_some() {
            self.event(Event::TransferRefused { reason: reason.to_owned() });
            if self.speech.end_waiting() {
                self.output(Output::ClearPlayout);
                self.speech.settle(self.now_ms);
                self.record_spoken();
            }
            self.mind.handle_transfer_refused();
            self.advance(now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether nothing more will come of this agent but what waits in [`Agent::poll_output`].
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Who has the floor.
    pub fn turn_state(&self) -> TurnState {
        self.turns.state()
    }

    /// The call that the agent is in.
    pub fn context(&self) -> &CallContext {
        &self.context
    }

    /// What was said and heard so far.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Samples that are kept to be said.
    pub fn samples_waiting(&self) -> usize {
        self.speech.samples_waiting()
    }

    /// What had to be dropped.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes 20 ms of the caller: to the recogniser without gaps, and to the turn machine.
    fn hear(&mut self, audio: Option<&Frame>, now: Now, playout_empty: bool) {
        let frame = audio.copied().unwrap_or_else(|| Frame::silence(self.config.rate));
        self.output(Output::Recogniser(RecogniserCommand::Audio(frame)));
        let activity = self.voice.handle_frame(audio);
        let floor = Floor { interruptible: self.is_interruptible(), playout_empty };
        self.turns.handle_tick(activity, floor);
        self.take_turns(now);
    }

    fn is_interruptible(&self) -> bool {
        match self.phase {
            Phase::Opening { .. } | Phase::Talking => {
                let transferring =
                    self.transfer_until_ms.is_some() || self.steps.iter().any(|it| matches!(it, Step::Transfer { .. }));
                !transferring && self.speech.is_interruptible()
            }
            Phase::Ringing { .. } | Phase::Quiet { .. } | Phase::Leaving { .. } | Phase::Ended => false,
        }
    }

    fn take_turns(&mut self, now: Now) {
        while let Some(output) = self.turns.poll_output() {
            match output {
                TurnOutput::State(state) => self.event(Event::State(state)),
                TurnOutput::CallerSpeaks => self.drop_unheard(),
                TurnOutput::Interrupt => self.interrupt(),
                TurnOutput::Yielded => {
                    self.speech.settle(self.now_ms);
                    self.record_spoken();
                }
                TurnOutput::Finalize { turn } => {
                    self.finalized_at = now;
                    self.output(Output::Recogniser(RecogniserCommand::Finalize { turn }));
                }
                TurnOutput::Turn(turn) => self.handle_turn(turn, now),
                TurnOutput::Remark { text, start_ms, end_ms } => self.record_caller(text, start_ms, end_ms, false),
                TurnOutput::Idle => self.handle_idle(),
            }
        }
    }

    fn handle_turn(&mut self, turn: Turn, now: Now) {
        let Turn { text, start_ms, end_ms, decided_ms, voiced_ms, interrupted, late } = turn;
        self.late_results = if late { self.late_results.saturating_add(1) } else { 0 };
        if late {
            self.event(Event::RecogniserLate);
        }
        let understood = !text.is_empty();
        if understood {
            self.record_caller(text.clone(), start_ms, end_ms, false);
        } else if self.late_results >= LATE_RESULTS_MAX {
            return self.fail(Service::Recogniser, format!("no result of {LATE_RESULTS_MAX} turns in a row"));
        } else if !interrupted && voiced_ms <= u64::from(self.config.turn_taking.noise_ms_max) {
            return;
        }
        let decided_at = if decided_ms < self.now_ms { self.finalized_at } else { now };
        let mut stopwatch = Stopwatch::start(decided_ms.saturating_sub(end_ms), decided_at);
        stopwatch.handle_words_known(now);
        match (&mut self.phase, self.speech.first()) {
            // The greeting is the answer to whatever the caller says before it.
            (Phase::Opening { greet_at_ms }, Some((greeting, has_audio))) => {
                *greet_at_ms = self.now_ms;
                stopwatch.handle_sentence(greeting, now);
                if has_audio {
                    stopwatch.handle_audio(greeting, now);
                }
                self.stopwatch = Some(stopwatch);
            }
            (Phase::Opening { .. } | Phase::Talking, _) => {
                self.phase = Phase::Talking;
                self.stopwatch = Some(stopwatch);
                self.mind.handle_speech(&text, &self.conversation, self.now_ms);
            }
            (Phase::Ringing { .. } | Phase::Quiet { .. } | Phase::Leaving { .. } | Phase::Ended, _) => {}
        }
    }

    fn handle_digit(&mut self, digit: char, now: Now) {
        self.event(Event::Digit(digit));
        match self.phase {
            Phase::Opening { .. } | Phase::Talking if self.transfer_until_ms.is_none() => {}
            Phase::Ringing { .. }
            | Phase::Opening { .. }
            | Phase::Talking
            | Phase::Quiet { .. }
            | Phase::Leaving { .. }
            | Phase::Ended => {
                return;
            }
        }
        self.turns.handle_digit(self.speech.is_interruptible());
        self.take_turns(now);
        if self.config.turn_taking.digits_interrupt {
            self.drop_unheard_before_digit();
        }
        let mut stopwatch = Stopwatch::start(0, now);
        stopwatch.handle_words_known(now);
        self.stopwatch = Some(stopwatch);
        self.mind.handle_digit(digit, self.now_ms);
    }

    fn handle_idle(&mut self) {
        let waits = self.speech.is_idle() && self.steps.is_empty() && self.transfer_until_ms.is_none();
        if let Phase::Talking = self.phase
            && waits
            && !self.mind.is_collecting_digits()
        {
            self.mind.handle_no_input();
        }
    }

    fn take_audio(&mut self, utterance: UtteranceId, samples: &[i16], now: Now) {
        match self.speech.handle_audio(utterance, samples) {
            AudioTaken::Kept { first: true } => {
                if let Some(stopwatch) = &mut self.stopwatch {
                    stopwatch.handle_audio(utterance, now);
                }
            }
            AudioTaken::Kept { first: false } => {}
            AudioTaken::Dropped { first } => {
                self.counts.dropped_audio += 1;
                if first {
                    self.event(Event::AudioDropped { utterance });
                }
            }
            AudioTaken::Late => self.counts.late_audio += 1,
        }
    }

    fn check_deadlines(&mut self, now: Now) {
        self.mind.handle_time(&mut self.conversation, self.now_ms);
        let times = self.config.times;
        if let Phase::Opening { .. } | Phase::Talking = self.phase {
            if self.now_ms >= times.call_ms_max {
                self.silence(true);
                let goodbye = self.mind.goodbye();
                self.leave(HangUpReason::MaxDuration, &goodbye, now);
            } else if !self.recogniser_ready && self.now_ms >= times.ready_ms_max {
                self.fail(Service::Recogniser, format!("not ready {} ms after the answer", times.ready_ms_max));
            } else if self.speech.starved_ms(self.now_ms) >= times.synthesiser_ms_max {
                self.fail(Service::Synthesiser, format!("no audio for {} ms", times.synthesiser_ms_max));
            }
        }
        if let Phase::Quiet { deadline_ms } = self.phase
            && deadline_ms <= self.now_ms
        {
            match self.config.on_machine.clone() {
                OnMachine::Message(message) => self.leave_message(&message, now),
                OnMachine::GoOn | OnMachine::HangUp => self.leave(HangUpReason::Machine, "", now),
            }
        }
        if self.transfer_until_ms.is_some_and(|it| it <= self.now_ms) {
            self.handle_transfer_refused("no answer in time", now);
        }
    }

    /// Does what the mind wants, as far as it need not wait.
    fn advance(&mut self, now: Now) {
        while let Some(step) = self.mind.poll_step() {
            if self.steps.len() >= AGENT_STEPS_MAX {
                self.event(Event::SpeechDropped);
                break;
            }
            self.steps.push_back(step);
        }
        while self.steps.front().is_some_and(|it| self.may_do(it)) {
            match self.steps.pop_front() {
                Some(step) => self.perform(step, now),
                None => break,
            }
        }
    }

    fn may_do(&self, step: &Step) -> bool {
        let talking = matches!(self.phase, Phase::Opening { .. } | Phase::Talking);
        match step {
            Step::Say { .. } | Step::Play { .. } | Step::Model(_) | Step::Event(_) => self.transfer_until_ms.is_none(),
            Step::Leave { .. } | Step::Fail { .. } => talking,
            Step::Dtmf(_) | Step::Transfer { .. } => talking && self.speech.is_idle(),
        }
    }

    fn perform(&mut self, step: Step, now: Now) {
        match step {
            Step::Say { text, interruptible } => self.say(&text, interruptible, now),
            Step::Play { source, times, interruptible, marks } => self.play(source, times, interruptible, &marks),
            Step::Dtmf(keys) => {
                for key in keys.chars() {
                    self.output(Output::SendDtmf(key));
                }
            }
            Step::Transfer { target } => {
                self.transfer_until_ms = Some(self.now_ms.saturating_add(self.config.times.transfer_ms_max));
                self.event(Event::TransferRequested { target });
                if let Some(sound) = &self.config.transfer_sound {
                    self.speech.wait_with(&sound.name, &sound.clip);
                }
            }
            Step::Leave { reason, say } => {
                let goodbye = say.unwrap_or_else(|| self.mind.goodbye());
                self.leave(reason, &goodbye, now);
            }
            Step::Model(command) => self.output(Output::Model(command)),
            Step::Fail { service, reason } => self.fail(service, reason),
            Step::Event(event) => self.event(event),
        }
    }

    fn say(&mut self, text: &str, interruptible: bool, now: Now) {
        let Some(utterance) = self.speech.say(text, interruptible) else {
            if !text.trim().is_empty() {
                self.event(Event::SpeechDropped);
            }
            return;
        };
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.handle_sentence(utterance, now);
        }
        let text = text.trim().to_owned();
        self.output(Output::Synthesiser(SynthesiserCommand::Speak { utterance, text }));
    }

    fn play(&mut self, source: String, times: Option<u32>, interruptible: bool, marks: &BTreeMap<u32, String>) {
        match self.speech.play(&source, times, interruptible) {
            Some(utterance) => {
                self.speech.mark(utterance, marks);
                self.output(Output::Fetch { utterance, source });
            }
            None => {
                self.event(Event::NotPlayed { source, reason: "too much waits to be said".to_owned() });
                self.mind.handle_not_played();
            }
        }
    }

    /// Says the last words; the call ends when they are heard, or when that takes too long.
    fn leave(&mut self, reason: HangUpReason, last_words: &str, now: Now) {
        self.say(last_words, false, now);
        let deadline_ms = self.now_ms.saturating_add(self.config.times.farewell_ms_max);
        self.phase = Phase::Leaving { reason, deadline_ms };
    }

    fn fail(&mut self, service: Service, reason: String) {
        self.event(Event::ServiceFailed { service, reason });
        match &mut self.phase {
            Phase::Ringing { failed } => *failed = failed.or(Some(service)),
            Phase::Opening { .. } | Phase::Talking => self.apologise(service),
            Phase::Quiet { .. } | Phase::Leaving { .. } | Phase::Ended => {}
        }
    }

    fn apologise(&mut self, service: Service) {
        self.silence(true);
        let apology = self.config.apology.clone();
        // An empty text would be no utterance.
        let text = if apology.text.trim().is_empty() { "(apology)" } else { &apology.text };
        if !apology.frames.is_empty() && self.speech.say_frames(text, &apology.frames).is_none() {
            self.event(Event::SpeechDropped);
        }
        let deadline_ms = self.now_ms.saturating_add(self.config.times.farewell_ms_max);
        self.phase = Phase::Leaving { reason: HangUpReason::ServiceFailed(service), deadline_ms };
    }

    /// The caller interrupts: silence within this tick.
    fn interrupt(&mut self) {
        if self.speech.is_heard() {
            self.event(Event::BargeIn);
        }
        self.silence(false);
    }

    /// Stops what is being said and what would follow, and empties the leg.
    fn silence(&mut self, all: bool) {
        if self.speech.is_heard() {
            self.output(Output::ClearPlayout);
        }
        self.stop(all);
        self.mind.handle_interrupted();
        let mut waiting = std::mem::take(&mut self.steps);
        waiting.extend(std::iter::from_fn(|| self.mind.poll_step()));
        for step in waiting {
            match step {
                Step::Model(command @ ModelCommand::Cancel { .. }) => self.output(Output::Model(command)),
                // What was decided already belongs to the record, even if it is not said.
                Step::Event(event) if all => self.event(event),
                Step::Model(ModelCommand::Generate { .. })
                | Step::Say { interruptible: true, .. }
                | Step::Play { interruptible: true, .. } => {}
                Step::Say { interruptible: false, .. }
                | Step::Play { interruptible: false, .. }
                | Step::Dtmf(_)
                | Step::Transfer { .. }
                | Step::Leave { .. }
                | Step::Fail { .. }
                | Step::Event(_) => {
                    if !all {
                        self.steps.push_back(step);
                    }
                }
            }
        }
        if all {
            self.transfer_until_ms = None;
            self.speech.settle(self.now_ms);
            self.record_spoken();
        }
        self.stopwatch = None;
    }

    fn stop(&mut self, all: bool) {
        for utterance in self.speech.interrupt(all) {
            self.output(Output::Synthesiser(SynthesiserCommand::Stop { utterance }));
        }
    }

    /// The caller speaks first: what was about to be said is not said, but for the greeting.
    fn drop_unheard(&mut self) {
        if let Phase::Talking = self.phase
            && !self.speech.is_heard()
        {
            self.stop(false);
        }
    }

    /// A caller who presses a key before the greeting knows the menu.
    fn drop_unheard_before_digit(&mut self) {
        if let Phase::Opening { .. } = self.phase {
            self.phase = Phase::Talking;
        }
        self.drop_unheard();
    }

    /// Gives the leg its next frames, if the agent may speak.
    fn feed(&mut self, queued_frames: u16, now: Now) {
        let may_speak = match self.phase {
            Phase::Ringing { .. } | Phase::Quiet { .. } | Phase::Ended => false,
            Phase::Opening { greet_at_ms } => {
                greet_at_ms <= self.now_ms && (self.turns.may_speak() || self.has_waited_to_greet(greet_at_ms))
            }
            Phase::Talking => self.turns.may_speak(),
            Phase::Leaving { .. } => true,
        };
        if !may_speak {
            return;
        }
        while let Some((utterance, frame)) = self.speech.feed(queued_frames) {
            if let Phase::Opening { .. } = self.phase {
                self.phase = Phase::Talking;
            }
            self.turns.handle_speech_started();
            self.take_turns(now);
            self.output(Output::Play { utterance, frame });
        }
    }

    /// Whether the caller's line has been loud for so long that the greeting is not held back any more: a noise, or somebody
    /// who does not listen.
    fn has_waited_to_greet(&self, greet_at_ms: u64) -> bool {
        let has_words = self.turns.words_so_far().is_some();
        let patience_ms = if has_words { GREETING_AFTER_WORDS_MS_MAX } else { GREETING_AFTER_NOISE_MS_MAX };
        self.now_ms.saturating_sub(greet_at_ms) >= patience_ms
    }

    /// Gives the floor back once there is nothing more to say.
    fn finish_reply(&mut self, now: Now) {
        match self.phase {
            Phase::Opening { greet_at_ms } if greet_at_ms <= self.now_ms && self.speech.is_idle() => {
                self.phase = Phase::Talking;
            }
            Phase::Opening { .. } | Phase::Talking => {}
            Phase::Ringing { .. } | Phase::Quiet { .. } | Phase::Leaving { .. } | Phase::Ended => return,
        }
        let busy = self.mind.is_thinking() || self.transfer_until_ms.is_some() || !self.steps.is_empty();
        if self.speech.is_idle() && !busy {
            self.stopwatch = None;
            self.turns.handle_reply_over();
            self.take_turns(now);
            self.advance(now);
        }
    }

    fn hang_up_when_heard(&mut self) {
        if let Phase::Leaving { reason, deadline_ms } = self.phase
            && (self.speech.is_idle() || deadline_ms <= self.now_ms)
        {
            self.end();
            self.output(Output::HangUp { reason });
        }
    }

    /// Stops everything and records what was said until here.
    fn end(&mut self) {
        if let Phase::Ended = self.phase {
            return;
        }
        self.silence(true);
        if let Some((start_ms, text)) = self.turns.words_so_far() {
            self.record_caller(text, start_ms, self.now_ms, true);
        }
        self.phase = Phase::Ended;
    }

    fn record_caller(&mut self, text: String, start_ms: u64, end_ms: u64, interrupted: bool) {
        self.conversation.push(Speaker::Caller, &text);
        self.event(Event::Transcript { speaker: Speaker::Caller, text, start_ms, end_ms, interrupted });
    }

    fn record_spoken(&mut self) {
        while let Some(mark) = self.speech.poll_mark() {
            self.mind.handle_mark(&mark);
        }
        while let Some(spoken) = self.speech.poll_spoken() {
            let Spoken { text, start_ms, end_ms, interrupted, kind } = spoken;
            if kind != SpokenKind::Words {
                self.event(Event::Played { source: text, start_ms, end_ms, interrupted });
                // One that was interrupted is followed by what interrupted it.
                if kind == SpokenKind::Sound && !interrupted {
                    self.mind.handle_played();
                }
                continue;
            }
            self.conversation.push(Speaker::Agent, &text);
            self.event(Event::Transcript { speaker: Speaker::Agent, text, start_ms, end_ms, interrupted });
        }
    }

    fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    fn output(&mut self, output: Output) {
        let room = match output {
            Output::Play { .. } | Output::Recogniser(RecogniserCommand::Audio(_)) => AGENT_OUTPUTS_MAX,
            Output::HangUp { .. } => usize::MAX,
            Output::Recogniser(RecogniserCommand::Finalize { .. })
            | Output::Synthesiser(_)
            | Output::Model(_)
            | Output::ClearPlayout
            | Output::SendDtmf(_)
            | Output::Fetch { .. }
            | Output::Event(_) => 2 * AGENT_OUTPUTS_MAX,
        };
        if self.outputs.len() >= room {
            self.counts.dropped_outputs += 1;
            return;
        }
        self.outputs.push_back(output);
    }
}

/// For so long a caller's line that is loud before the greeting, and of which nothing is understood, holds it back.
const GREETING_AFTER_NOISE_MS_MAX: u64 = 3_000;
/// The same for one of which something is.
const GREETING_AFTER_WORDS_MS_MAX: u64 = 10_000;
/// After so many turns without a result the recogniser counts as failed.
const LATE_RESULTS_MAX: u8 = 3;
