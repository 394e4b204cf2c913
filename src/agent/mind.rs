//! [`Mind`]: what decides what the agent says, be it a pathway or a language model.

use std::collections::BTreeMap;

use rand_chacha::ChaCha12Rng;

use super::config::MindConfig;
use super::conversation::Conversation;
use super::event::Speaker;
use super::language_model::LanguageModel;
use super::pathway::Run;
use super::provider::ModelEvent;
use super::step::Step;

/// What decides what the agent says. Drain [`Mind::poll_step`] after every `handle_*`.
#[derive(Debug)]
pub(super) enum Mind {
    Pathway(Box<Run>),
    Model(Box<LanguageModel>),
}

impl Mind {
    pub(super) fn new(config: &MindConfig, variables: &BTreeMap<String, String>, rng: ChaCha12Rng) -> Self {
        match config {
            MindConfig::Pathway(it) => Self::Pathway(Box::new(Run::new(it.clone(), variables, rng))),
            MindConfig::Model(it) => Self::Model(Box::new(LanguageModel::new(it.clone(), variables))),
        }
    }

    pub(super) fn handle_start(&mut self) {
        match self {
            Self::Pathway(it) => it.handle_start(),
            Self::Model(it) => it.handle_start(),
        }
    }

    /// The caller said this, which the conversation has already.
    pub(super) fn handle_speech(&mut self, text: &str, conversation: &Conversation, now_ms: u64) {
        match self {
            Self::Pathway(it) => it.handle_speech(text),
            Self::Model(it) => it.handle_speech(text, conversation, now_ms),
        }
    }

    pub(super) fn handle_digit(&mut self, digit: char, now_ms: u64) {
        match self {
            Self::Pathway(it) => it.handle_digit(digit, now_ms),
            Self::Model(it) => it.handle_digit(digit, now_ms),
        }
    }

    pub(super) fn handle_time(&mut self, conversation: &mut Conversation, now_ms: u64) {
        match self {
            Self::Pathway(it) => it.handle_time(now_ms),
            Self::Model(it) => {
                it.handle_time(now_ms);
                if let Some(keys) = it.take_digits(now_ms) {
                    conversation.push(Speaker::Caller, &keys);
                    it.handle_speech(&keys, conversation, now_ms);
                }
            }
        }
    }

    pub(super) fn handle_no_input(&mut self) {
        match self {
            Self::Pathway(it) => it.handle_no_input(),
            Self::Model(it) => it.handle_no_input(),
        }
    }

    pub(super) fn handle_interrupted(&mut self) {
        match self {
            Self::Pathway(_) => {}
            Self::Model(it) => it.handle_interrupted(),
        }
    }

    /// It is known who or what has answered.
    pub(super) fn handle_answered_by(&mut self, by: &str) {
        match self {
            Self::Pathway(it) => it.handle_answered_by(by),
            Self::Model(_) => {}
        }
    }

    /// The sound that was to be played was heard to its end.
    pub(super) fn handle_played(&mut self) {
        match self {
            Self::Pathway(it) => it.handle_played(),
            Self::Model(_) => {}
        }
    }

    /// The caller has heard a sound as far as this mark.
    pub(super) fn handle_mark(&mut self, name: &str) {
        match self {
            Self::Pathway(it) => it.handle_mark(name),
            Self::Model(_) => {}
        }
    }

    /// The sound that was to be played is not there.
    pub(super) fn handle_not_played(&mut self) {
        match self {
            Self::Pathway(it) => it.handle_not_played(),
            Self::Model(_) => {}
        }
    }

    pub(super) fn handle_transfer_refused(&mut self) {
        match self {
            Self::Pathway(it) => it.handle_transfer_refused(),
            Self::Model(it) => it.handle_transfer_refused(),
        }
    }

    pub(super) fn handle_model(&mut self, event: ModelEvent, now_ms: u64) {
        match self {
            Self::Pathway(_) => {}
            Self::Model(it) => it.handle_event(event, now_ms),
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        match self {
            Self::Pathway(it) => it.poll_step(),
            Self::Model(it) => it.poll_step(),
        }
    }

    /// Whether more of a reply may come without the caller doing anything.
    pub(super) fn is_thinking(&self) -> bool {
        match self {
            Self::Pathway(_) => false,
            Self::Model(it) => it.is_generating(),
        }
    }

    pub(super) fn is_collecting_digits(&self) -> bool {
        match self {
            Self::Pathway(it) => it.is_collecting_digits(),
            Self::Model(it) => it.is_collecting_digits(),
        }
    }

    pub(super) fn goodbye(&mut self) -> String {
        match self {
            Self::Pathway(it) => it.goodbye(),
            Self::Model(it) => it.goodbye().to_owned(),
        }
    }
}
