//! A pathway as it is written in TOML, before anything in it is checked but its syntax, its keys and their types.
//!
//! A node is read as one record with every key that any kind of node has, and `load` then says which keys its kind
//! takes: reading a tagged enumeration would lose the place of every value in the file.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) pathway: Head,
    #[serde(default)]
    pub(super) variables: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    pub(super) intents: BTreeMap<Spanned<String>, IntentEntry>,
    #[serde(default)]
    pub(super) global: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) slots: BTreeMap<Spanned<String>, SlotEntry>,
    pub(super) nodes: BTreeMap<Spanned<String>, NodeEntry>,
}

/// `[pathway]`: what holds for the whole conversation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) start: Spanned<String>,
    pub(super) greeting: Option<Spanned<String>>,
    pub(super) apology: Option<Spanned<String>>,
    pub(super) goodbye: Option<Spanned<String>>,
    pub(super) no_match: Option<Spanned<String>>,
    pub(super) no_input: Option<Spanned<String>>,
    pub(super) retries: Option<u8>,
}

/// `[intents.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntentEntry {
    #[serde(default)]
    pub(super) phrases: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) keywords: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) examples: Vec<String>,
}

/// `[slots.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlotEntry {
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) choices: Option<Spanned<BTreeMap<String, ChoiceEntry>>>,
    pub(super) length: Option<Spanned<[u8; 2]>>,
    #[serde(default)]
    pub(super) examples: Vec<Spanned<String>>,
}

/// One value of a choice: what else is said for it, and its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceEntry {
    #[serde(default)]
    pub(super) said: Vec<String>,
    pub(super) digit: Option<String>,
}

/// `[nodes.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeEntry {
    pub(super) kind: Spanned<String>,
    pub(super) say: Option<Spanned<Texts>>,
    pub(super) interruptible: Option<Spanned<bool>>,
    pub(super) next: Option<Spanned<String>>,
    pub(super) on: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub(super) fill: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) digits: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub(super) slot: Option<Spanned<String>>,
    pub(super) no_match: Option<Spanned<Texts>>,
    pub(super) no_input: Option<Spanned<Texts>>,
    pub(super) retries: Option<Spanned<u8>>,
    pub(super) escalate: Option<Spanned<String>>,
    pub(super) when: Option<Spanned<Vec<WhenEntry>>>,
    pub(super) otherwise: Option<Spanned<String>>,
    pub(super) set: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub(super) note: Option<Spanned<String>>,
    pub(super) dtmf: Option<Spanned<String>>,
    pub(super) recording: Option<Spanned<String>>,
    pub(super) target: Option<Spanned<String>>,
    pub(super) failed: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) times: Option<Spanned<u32>>,
    #[serde(rename = "loop")]
    pub(super) forever: Option<Spanned<bool>>,
    pub(super) interrupted: Option<Spanned<String>>,
    pub(super) marks: Option<Spanned<BTreeMap<Spanned<String>, Spanned<u32>>>>,
}

/// One branch of a `condition`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhenEntry {
    pub(super) variable: Spanned<String>,
    pub(super) equals: Option<String>,
    pub(super) contains: Option<String>,
    pub(super) filled: Option<bool>,
    pub(super) next: Spanned<String>,
}

/// One text, or several.
#[derive(Debug)]
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Texts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = vec![];
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl NodeEntry {
    /// The keys that are written, besides `kind`, with their places in the file.
    pub(super) fn keys(&self) -> Vec<(&'static str, Range<usize>)> {
        fn place<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
            value.as_ref().map(Spanned::span)
        }
        let all = [
            ("say", place(&self.say)),
            ("interruptible", place(&self.interruptible)),
            ("next", place(&self.next)),
            ("on", place(&self.on)),
            ("fill", place(&self.fill)),
            ("digits", place(&self.digits)),
            ("slot", place(&self.slot)),
            ("no_match", place(&self.no_match)),
            ("no_input", place(&self.no_input)),
            ("retries", place(&self.retries)),
            ("escalate", place(&self.escalate)),
            ("when", place(&self.when)),
            ("otherwise", place(&self.otherwise)),
            ("set", place(&self.set)),
            ("note", place(&self.note)),
            ("dtmf", place(&self.dtmf)),
            ("recording", place(&self.recording)),
            ("target", place(&self.target)),
            ("failed", place(&self.failed)),
            ("source", place(&self.source)),
            ("times", place(&self.times)),
            ("loop", place(&self.forever)),
            ("interrupted", place(&self.interrupted)),
            ("marks", place(&self.marks)),
        ];
        all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
    }
}
