//! [`Conversation`]: what was said and heard, as a language model is to remember it.
//!
//! Bounded by `CONVERSATION_ENTRIES_MAX` and `CONVERSATION_CHARS_MAX`: the oldest entries make room.

use std::collections::VecDeque;

use super::event::Speaker;
use super::provider::{Message, Role};
use crate::limits::{CONVERSATION_CHARS_MAX, CONVERSATION_ENTRIES_MAX};

/// What was said and heard so far.
#[derive(Debug, Default)]
pub struct Conversation {
    entries: VecDeque<Entry>,
    chars: usize,
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    speaker: Speaker,
    text: String,
    chars: usize,
}

impl Conversation {
    /// Adds what one side said; of the agent, what was heard. What follows from the same side is one message with it.
    pub fn push(&mut self, speaker: Speaker, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let chars = text.chars().count();
        match self.entries.back_mut().filter(|it| it.speaker == speaker && it.chars + chars < ENTRY_CHARS_MAX) {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(text);
                last.chars += chars + 1;
                self.chars += chars + 1;
            }
            None => {
                self.entries.push_back(Entry { speaker, text: text.to_owned(), chars });
                self.chars += chars;
            }
        }
        while self.entries.len() > CONVERSATION_ENTRIES_MAX
            || (self.chars > CONVERSATION_CHARS_MAX && self.entries.len() > 1)
        {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.chars -= oldest.chars;
            self.forgotten += 1;
        }
    }

    /// The conversation as a language model reads it, after its instructions.
    pub fn messages(&self, instructions: &str) -> Vec<Message> {
        let instructions = Message { role: Role::System, text: instructions.to_owned() };
        let said = self.entries.iter().map(|entry| Message {
            role: match entry.speaker {
                Speaker::Caller => Role::User,
                Speaker::Agent => Role::Assistant,
            },
            text: entry.text.clone(),
        });
        std::iter::once(instructions).filter(|it| !it.text.is_empty()).chain(said).collect()
    }

    /// Entries that had to make room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

const ENTRY_CHARS_MAX: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_one_side_are_one_message() {
        let mut conversation = Conversation::default();
        for (speaker, text) in [
            (Speaker::Agent, "Hello."),
            (Speaker::Agent, "How can I help?"),
            (Speaker::Caller, " billing "),
            (Speaker::Agent, ""),
            (Speaker::Caller, "please"),
        ] {
            conversation.push(speaker, text);
        }
        let messages: Vec<_> = conversation.messages("Be kind.").into_iter().map(|it| (it.role, it.text)).collect();
        let expected = [
            (Role::System, "Be kind.".to_owned()),
            (Role::Assistant, "Hello. How can I help?".to_owned()),
            (Role::User, "billing please".to_owned()),
        ];
        assert_eq!(messages, expected);
        assert_eq!(conversation.messages("").len(), 2);
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let mut conversation = Conversation::default();
        for index in 0..5_000 {
            let speaker = if index % 2 == 0 { Speaker::Caller } else { Speaker::Agent };
            conversation.push(speaker, &"word ".repeat(index % 300));
        }
        let messages = conversation.messages("");
        let chars: usize = messages.iter().map(|it| it.text.chars().count()).sum();
        assert!(chars <= CONVERSATION_CHARS_MAX && messages.len() <= CONVERSATION_ENTRIES_MAX);
        assert!(conversation.forgotten() > 4_000);
    }
}
