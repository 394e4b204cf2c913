//! [`LanguageModel`]: a mind that is a language model. Its text streams in, and each sentence is spoken once it is whole.
//!
//! A generation is numbered; what arrives of one that was cancelled is dropped. A model that fails or is silent for too
//! long is covered by a fallback sentence; one that does so again and again ends the call with an apology.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::conversation::Conversation;
use super::event::{Event, HangUpReason, Service};
use super::pathway::Template;
use super::provider::{ModelCommand, ModelEvent};
use super::sentence::Sentences;
use super::step::Step;
use crate::limits::{AGENT_DIGITS_MAX, MODEL_TEXT_CHARS_MAX};

/// How a language model is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// What it is told first.
    pub instructions: String,
    /// What the agent says first; nothing if it is empty.
    pub greeting: String,
    /// The last words.
    pub goodbye: String,
    /// Said when the model fails or is slow.
    pub fallback: String,
    /// Said when the caller was not understood.
    pub unclear: String,
    /// Said to a silent caller.
    pub idle: String,
    /// How often a silent caller is asked before the call ends.
    pub idle_count_max: u8,
    /// How long the model may be silent, in milliseconds of media time.
    pub silence_ms_max: u32,
    /// How many failures in a row end the call.
    pub failures_max: u8,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            instructions: String::new(),
            greeting: "Hello, how can I help you?".to_owned(),
            goodbye: "Goodbye.".to_owned(),
            fallback: "Sorry, could you say that again?".to_owned(),
            unclear: "Sorry, I did not understand that.".to_owned(),
            idle: "Are you still there?".to_owned(),
            idle_count_max: 2,
            silence_ms_max: 5_000,
            failures_max: 2,
        }
    }
}

/// A mind that is a language model. Drain [`LanguageModel::poll_step`] after every `handle_*`.
#[derive(Debug)]
pub struct LanguageModel {
    config: ModelConfig,
    generation: u32,
    state: State,
    failures: u8,
    idle_count: u8,
    digits: String,
    digits_complete_at_ms: Option<u64>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum State {
    Quiet,
    Generating {
        sentences: Sentences,
        chars: usize,
        /// Whether anything of it was said.
        said: bool,
        /// When it must have given more.
        deadline_ms: u64,
    },
}

impl LanguageModel {
    /// A model that has not been asked anything. The texts of `config` may name variables.
    pub fn new(mut config: ModelConfig, variables: &BTreeMap<String, String>) -> Self {
        let mut steps = VecDeque::new();
        for text in [
            &mut config.instructions,
            &mut config.greeting,
            &mut config.goodbye,
            &mut config.fallback,
            &mut config.unclear,
            &mut config.idle,
        ] {
            // A text that is no template, such as one about braces, is used as it stands.
            let Ok(template) = Template::parse(text) else { continue };
            let rendered = template.render(variables);
            *text = rendered.text;
            steps.extend(rendered.missing.into_iter().map(|name| Step::Event(Event::VariableMissing { name })));
        }
        Self {
            config,
            generation: 0,
            state: State::Quiet,
            failures: 0,
            idle_count: 0,
            digits: String::new(),
            digits_complete_at_ms: None,
            steps,
        }
    }

    /// Greets.
    pub fn handle_start(&mut self) {
        let greeting = self.config.greeting.clone();
        self.say(greeting);
    }

    /// The caller said something, which is in the conversation; empty if it was not understood at all.
    pub fn handle_speech(&mut self, text: &str, conversation: &Conversation, now_ms: u64) {
        self.idle_count = 0;
        if text.trim().is_empty() {
            let unclear = self.config.unclear.clone();
            return self.say(unclear);
        }
        self.handle_interrupted();
        self.generation = self.generation.wrapping_add(1);
        let messages = conversation.messages(&self.config.instructions);
        self.steps.push_back(Step::Model(ModelCommand::Generate { generation: self.generation, messages }));
        let deadline_ms = now_ms.saturating_add(u64::from(self.config.silence_ms_max));
        self.state = State::Generating { sentences: Sentences::default(), chars: 0, said: false, deadline_ms };
    }

    /// The caller pressed a key. Keys that nothing follows are told to the model by [`LanguageModel::take_digits`].
    pub fn handle_digit(&mut self, digit: char, now_ms: u64) {
        self.idle_count = 0;
        if self.digits.len() < AGENT_DIGITS_MAX {
            self.digits.push(digit);
        }
        let gap_ms = if digit == '#' || self.digits.len() >= AGENT_DIGITS_MAX { 0 } else { DIGIT_GAP_MS };
        self.digits_complete_at_ms = Some(now_ms.saturating_add(gap_ms));
    }

    /// The keys that were pressed, as the caller's words, once no more follow.
    pub fn take_digits(&mut self, now_ms: u64) -> Option<String> {
        self.digits_complete_at_ms.filter(|it| *it <= now_ms)?;
        self.digits_complete_at_ms = None;
        let digits = std::mem::take(&mut self.digits);
        Some(format!("(presses {})", digits.chars().map(String::from).collect::<Vec<_>>().join(" ")))
    }

    /// Whether keys have been pressed that may not be all yet.
    pub fn is_collecting_digits(&self) -> bool {
        self.digits_complete_at_ms.is_some()
    }

    /// The caller interrupts: nothing more of this generation is to be said.
    pub fn handle_interrupted(&mut self) {
        if let State::Generating { .. } = self.state {
            self.state = State::Quiet;
            self.steps.push_back(Step::Model(ModelCommand::Cancel { generation: self.generation }));
        }
    }

    /// The caller has said nothing for too long.
    pub fn handle_no_input(&mut self) {
        if self.idle_count >= self.config.idle_count_max {
            let step = Step::Leave { reason: HangUpReason::CallerSilent, say: Some(self.config.goodbye.clone()) };
            return self.steps.push_back(step);
        }
        self.idle_count += 1;
        let idle = self.config.idle.clone();
        self.say(idle);
    }

    /// The transfer that was asked for is not done.
    pub fn handle_transfer_refused(&mut self) {
        let fallback = self.config.fallback.clone();
        self.say(fallback);
    }

    /// Something from the model.
    pub fn handle_event(&mut self, event: ModelEvent, now_ms: u64) {
        let generation = match &event {
            ModelEvent::Text { generation, .. }
            | ModelEvent::Done { generation }
            | ModelEvent::Failed { generation, .. } => *generation,
        };
        let State::Generating { sentences, chars, said, deadline_ms } = &mut self.state else { return };
        if generation != self.generation {
            return;
        }
        match event {
            ModelEvent::Text { delta, .. } => {
                let room = MODEL_TEXT_CHARS_MAX.saturating_sub(*chars);
                let delta: String = delta.chars().take(room).collect();
                *chars += delta.chars().count();
                *deadline_ms = now_ms.saturating_add(u64::from(self.config.silence_ms_max));
                for text in sentences.push(&delta) {
                    *said = true;
                    self.steps.push_back(Step::Say { text, interruptible: true });
                }
                if *chars >= MODEL_TEXT_CHARS_MAX {
                    self.handle_interrupted();
                }
            }
            ModelEvent::Done { .. } => match self.finish() {
                true => self.failures = 0,
                false => self.fail("the model gave no text".to_owned(), false),
            },
            ModelEvent::Failed { reason, .. } => {
                let said = self.finish();
                self.fail(reason, said);
            }
        }
    }

    /// Media time has come to `now_ms`: a model that is silent for too long is given up.
    pub fn handle_time(&mut self, now_ms: u64) {
        if let State::Generating { deadline_ms, .. } = &self.state
            && *deadline_ms <= now_ms
        {
            self.steps.push_back(Step::Model(ModelCommand::Cancel { generation: self.generation }));
            let said = self.finish();
            self.fail("the model was silent for too long".to_owned(), said);
        }
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether more of a reply may come.
    pub fn is_generating(&self) -> bool {
        matches!(self.state, State::Generating { .. })
    }

    /// The last words.
    pub fn goodbye(&self) -> &str {
        &self.config.goodbye
    }

    /// Says what is left of the generation; whether anything of it was said at all.
    fn finish(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Quiet) {
            State::Quiet => false,
            State::Generating { mut sentences, said, .. } => {
                let rest = sentences.finish();
                let said = said || rest.is_some();
                if let Some(text) = rest {
                    self.say(text);
                }
                said
            }
        }
    }

    /// The model failed. A reply that was begun is left as it is, so that the caller is not asked twice.
    fn fail(&mut self, reason: String, said: bool) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.config.failures_max {
            return self.steps.push_back(Step::Fail { service: Service::Model, reason });
        }
        self.steps.push_back(Step::Event(Event::ServiceFailed { service: Service::Model, reason }));
        if !said {
            let fallback = self.config.fallback.clone();
            self.say(fallback);
        }
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.steps.push_back(Step::Say { text, interruptible: true });
        }
    }
}

/// How long after a key another one may follow.
const DIGIT_GAP_MS: u64 = 2_000;
