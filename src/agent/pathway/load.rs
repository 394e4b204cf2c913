//! From the file to a [`Pathway`]: every name is resolved and every value read, and whatever is wrong is collected, so
//! that one reading shows all of it.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::document::{Document, IntentEntry, NodeEntry, SlotEntry, Texts, WhenEntry};
use super::intent::Intent;
use super::node::{Action, Collect, Listen, Node, Play, Prompt, Reprompt, Retry, Test, When};
use super::problem::{PathwayError, PathwayErrors, Problem};
use super::slot::{Choice, SlotKind};
use super::template::{Template, is_variable_name};
use super::words::Words;
use super::{GlobalWay, Pathway, Slot, check};
use crate::agent::event::RecordingOrder;
use crate::limits::{
    MARK_CHARS_MAX, PATHWAY_BYTES_MAX, PATHWAY_NODES_MAX, PATHWAY_PHRASES_MAX, PLAYER_MARKS_MAX,
    SPEECH_PHRASE_CHARS_MAX,
};

/// Reads the pathway `text`, called `file` in errors.
pub(super) fn load(file: &str, text: &str) -> Result<Pathway, PathwayErrors> {
    let fail = |errors| Err(PathwayErrors { file: file.to_owned(), errors });
    if text.len() > PATHWAY_BYTES_MAX {
        let problem = Problem::TooMany { what: "bytes", max: PATHWAY_BYTES_MAX };
        return fail(vec![PathwayError { line: 1, place: String::new(), problem }]);
    }
    let document: Document = match toml::from_str(text) {
        Ok(it) => it,
        Err(error) => {
            let line = line_of(text, error.span().map_or(0, |it| it.start));
            let problem = Problem::Syntax(error.message().to_owned());
            return fail(vec![PathwayError { line, place: String::new(), problem }]);
        }
    };
    let mut loader = Loader { text, document: &document, errors: vec![] };
    let pathway = loader.pathway();
    loader.bounds(&pathway);
    // The way through the nodes is only worth checking once every name leads somewhere.
    if loader.errors.is_empty() {
        check::duplicates(&mut loader);
        check::unused_intents(&mut loader, &pathway);
        check::unreachable(&mut loader, &pathway);
        check::unknown_marks(&mut loader, &pathway);
        check::never_waiting(&mut loader, &pathway);
    }
    if loader.errors.is_empty() {
        return Ok(pathway);
    }
    loader.errors.sort_by_key(|it| it.line);
    fail(loader.errors)
}

/// The document, and what was found to be wrong with it so far.
pub(super) struct Loader<'a> {
    text: &'a str,
    pub(super) document: &'a Document,
    errors: Vec<PathwayError>,
}

impl<'a> Loader<'a> {
    /// Notes something wrong at a place of the file.
    pub(super) fn wrong(&mut self, at: Range<usize>, place: impl Into<String>, problem: Problem) {
        self.errors.push(PathwayError { line: line_of(self.text, at.start), place: place.into(), problem });
    }

    fn pathway(&mut self) -> Pathway {
        let document = self.document;
        let head = &document.pathway;
        let place = "pathway";
        let defaults = Defaults {
            no_match: self.template_or(place, "no_match", &head.no_match, DEFAULT_NO_MATCH),
            no_input: self.template_or(place, "no_input", &head.no_input, DEFAULT_NO_INPUT),
            retries: head.retries.unwrap_or(DEFAULT_RETRIES),
        };
        let start = self.target(place, "start", &head.start);
        let greeting = head.greeting.as_ref().map(|it| self.template(place, "greeting", it));
        let apology = head.apology.as_ref().map_or(DEFAULT_APOLOGY, |it| it.get_ref()).to_owned();
        let goodbye = self.template_or(place, "goodbye", &head.goodbye, DEFAULT_GOODBYE);
        let intents = document.intents.iter().map(|(name, entry)| self.intent(name, entry)).collect();
        let slots: BTreeMap<_, _> =
            document.slots.iter().map(|(name, entry)| (name.get_ref().clone(), self.slot(name, entry))).collect();
        let global = self.global();
        let nodes = document
            .nodes
            .iter()
            .filter_map(|(name, entry)| {
                let node = self.node(name.get_ref(), entry, &slots, &defaults)?;
                Some((name.get_ref().clone(), node))
            })
            .collect();
        for name in document.variables.keys().chain(document.slots.keys()) {
            self.variable_name(name);
        }
        Pathway {
            name: head.name.clone(),
            start,
            greeting,
            apology,
            goodbye,
            variables: document.variables.iter().map(|(name, value)| (name.get_ref().clone(), value.clone())).collect(),
            intents,
            global,
            slots,
            nodes,
        }
    }

    fn bounds(&mut self, pathway: &Pathway) {
        if self.document.nodes.len() > PATHWAY_NODES_MAX {
            self.wrong(0..0, "", Problem::TooMany { what: "nodes", max: PATHWAY_NODES_MAX });
        }
        let phrases = pathway.phrases();
        if phrases.len() > PATHWAY_PHRASES_MAX {
            self.wrong(0..0, "", Problem::TooMany { what: "phrases", max: PATHWAY_PHRASES_MAX });
        }
        if phrases.iter().any(|it| it.chars().count() > SPEECH_PHRASE_CHARS_MAX) {
            let what = "the characters of a phrase or example";
            self.wrong(0..0, "", Problem::TooMany { what, max: SPEECH_PHRASE_CHARS_MAX });
        }
    }

    fn intent(&mut self, name: &Spanned<String>, entry: &IntentEntry) -> Intent {
        let words =
            |texts: &[Spanned<String>]| -> Vec<Words> { texts.iter().map(|it| Words::of(it.get_ref())).collect() };
        let intent = Intent {
            name: name.get_ref().clone(),
            phrases: words(&entry.phrases),
            keywords: words(&entry.keywords),
            examples: entry.examples.iter().map(|it| Words::of(it)).collect(),
        };
        if intent.phrases.iter().chain(&intent.keywords).all(Words::is_empty) {
            self.wrong(name.span(), format!("intent `{}`", name.get_ref()), Problem::EmptyIntent);
        }
        intent
    }

    fn global(&mut self) -> Vec<(String, GlobalWay)> {
        let mut entries: Vec<_> = self.document.global.iter().collect();
        entries.sort_by_key(|(intent, _)| intent.span().start);
        let mut global = vec![];
        for (intent, target) in entries {
            self.known_intent("global", "global", intent);
            let way = if target.get_ref() == REPEAT {
                GlobalWay::Repeat
            } else {
                GlobalWay::Node(self.target("global", intent.get_ref(), target))
            };
            global.push((intent.get_ref().clone(), way));
        }
        global
    }

    fn slot(&mut self, name: &Spanned<String>, entry: &SlotEntry) -> Slot {
        let place = format!("slot `{}`", name.get_ref());
        let kind = match entry.kind.get_ref().as_str() {
            "text" => SlotKind::Text,
            "number" => SlotKind::Number,
            "digits" => self.digits_slot(&place, entry),
            "choice" => self.choice_slot(name, &place, entry),
            "yes_no" => SlotKind::YesNo,
            "name" => SlotKind::Name,
            "date" => SlotKind::Date,
            other => {
                let problem = Problem::UnknownValue { key: "type", value: other.to_owned(), allowed: SLOT_TYPES };
                self.wrong(entry.kind.span(), place.as_str(), problem);
                SlotKind::Text
            }
        };
        for (key, written, wanted) in [
            ("choices", entry.choices.as_ref().map(Spanned::span), matches!(kind, SlotKind::Choice(_))),
            ("length", entry.length.as_ref().map(Spanned::span), matches!(kind, SlotKind::Digits { .. })),
        ] {
            if let Some(at) = written
                && !wanted
            {
                let why = format!("a slot of type `{}` does not take it", entry.kind.get_ref());
                self.wrong(at, place.as_str(), Problem::Invalid { key, why });
            }
        }
        let examples = entry.examples.iter().map(|it| it.get_ref().clone()).collect();
        Slot { kind, examples }
    }

    fn digits_slot(&mut self, place: &str, entry: &SlotEntry) -> SlotKind {
        let Some(length) = &entry.length else {
            return SlotKind::Digits { min: 1, max: 32 };
        };
        let [min, max] = *length.get_ref();
        if min == 0 || min > max || max > 64 {
            let why = "allowed is [fewest, most] with 1 <= fewest <= most <= 64".to_owned();
            self.wrong(length.span(), place, Problem::Invalid { key: "length", why });
        }
        SlotKind::Digits { min, max }
    }

    fn choice_slot(&mut self, name: &Spanned<String>, place: &str, entry: &SlotEntry) -> SlotKind {
        let Some(choices) = entry.choices.as_ref().filter(|it| !it.get_ref().is_empty()) else {
            let problem = Problem::Missing { key: "choices", why: "a slot of type `choice` lists its values" };
            self.wrong(name.span(), place, problem);
            return SlotKind::Choice(vec![]);
        };
        let mut found = vec![];
        for (value, choice) in choices.get_ref() {
            let digit = choice.digit.as_deref().and_then(|it| self.key(choices.span(), place, "digit", it));
            let said = std::iter::once(value).chain(&choice.said).map(|it| Words::of(it)).collect();
            found.push(Choice { value: value.clone(), said, digit });
        }
        SlotKind::Choice(found)
    }

    fn node(
        &mut self,
        name: &str,
        entry: &NodeEntry,
        slots: &BTreeMap<String, Slot>,
        defaults: &Defaults,
    ) -> Option<Node> {
        let place = format!("node `{name}`");
        let place = place.as_str();
        let Some((kind, keys)) = KINDS.iter().find(|(kind, _)| kind == entry.kind.get_ref()) else {
            let value = entry.kind.get_ref().clone();
            let allowed = "say, play, listen, collect, condition, action, transfer, end";
            self.wrong(entry.kind.span(), place, Problem::UnknownValue { key: "kind", value, allowed });
            return None;
        };
        for (key, at) in entry.keys() {
            if !keys.contains(&key) {
                self.wrong(at, place, Problem::NotTaken { kind, key, allowed: keys.join(", ") });
            }
        }
        let node = match *kind {
            "say" => Node::Say {
                say: self
                    .prompt(place, entry, true)
                    .or_else(|| self.missing(entry, place, "say", "the text to say"))?,
                next: self.needed(place, entry, "next", &entry.next)?,
            },
            "play" => Node::Play(self.play(place, entry)?),
            "listen" => Node::Listen(self.listen(place, entry, slots, defaults)),
            "collect" => Node::Collect(self.collect(place, entry, slots, defaults)?),
            "condition" => self.condition(place, entry)?,
            "action" => Node::Action(self.action(place, entry)?),
            "transfer" => Node::Transfer {
                say: self.prompt(place, entry, false),
                target: match &entry.target {
                    Some(it) => it.get_ref().clone(),
                    None => self.missing(entry, place, "target", "whom the caller is transferred to")?,
                },
                failed: self.needed(place, entry, "failed", &entry.failed)?,
            },
            _ => Node::End {
                say: self.prompt(place, entry, false),
                note: entry.note.as_ref().map(|it| self.template(place, "note", it)),
            },
        };
        Some(node)
    }

    fn play(&mut self, place: &str, entry: &NodeEntry) -> Option<Play> {
        let Some(source) = &entry.source else {
            return self.missing(entry, place, "source", "the file, the URL or the name of what is played");
        };
        let next = self.needed(place, entry, "next", &entry.next)?;
        let mut or_next = |key, to: &Option<Spanned<String>>| {
            to.as_ref().map_or_else(|| next.clone(), |it| self.target(place, key, it))
        };
        let (interrupted, failed) = (or_next("interrupted", &entry.interrupted), or_next("failed", &entry.failed));
        let interruptible = entry.interruptible.as_ref().is_none_or(|it| *it.get_ref());
        let forever = entry.forever.as_ref().filter(|it| *it.get_ref());
        if let Some(it) = forever.filter(|_| !interruptible || entry.times.is_some()) {
            let why = "what is played for ever is interruptible, and takes no `times`".to_owned();
            self.wrong(it.span(), place, Problem::Invalid { key: "loop", why });
        }
        if let Some(it) = entry.times.as_ref().filter(|it| !(1..=PLAY_TIMES_MAX).contains(it.get_ref())) {
            let why = format!("1 to {PLAY_TIMES_MAX} are allowed");
            self.wrong(it.span(), place, Problem::Invalid { key: "times", why });
        }
        let times = if forever.is_some() { None } else { Some(entry.times.as_ref().map_or(1, |it| *it.get_ref())) };
        let source = self.template(place, "source", source);
        let marks = self.marks(place, entry);
        Some(Play { source, times, interruptible, marks, next, interrupted, failed })
    }

    fn marks(&mut self, place: &str, entry: &NodeEntry) -> BTreeMap<u32, String> {
        let mut marks = BTreeMap::new();
        let Some(written) = &entry.marks else {
            return marks;
        };
        if written.get_ref().len() > PLAYER_MARKS_MAX {
            self.wrong(written.span(), place, Problem::TooMany { what: "marks", max: PLAYER_MARKS_MAX });
        }
        let mut names: Vec<_> = written.get_ref().iter().collect();
        names.sort_by_key(|(name, _)| name.span().start);
        for (name, ms) in names {
            let (name, at) = (name.get_ref(), name.span());
            if name.trim().is_empty() || name.chars().count() > MARK_CHARS_MAX {
                let why = format!("the name of a mark has 1 to {MARK_CHARS_MAX} characters");
                self.wrong(at, place, Problem::Invalid { key: "marks", why });
            } else if let Some(other) = marks.insert(*ms.get_ref(), name.clone()) {
                let why = format!("`{name}` is where `{other}` is; each has a place of its own, in milliseconds");
                self.wrong(at, place, Problem::Invalid { key: "marks", why });
            }
        }
        marks
    }

    fn listen(
        &mut self,
        place: &str,
        entry: &NodeEntry,
        slots: &BTreeMap<String, Slot>,
        defaults: &Defaults,
    ) -> Listen {
        let mut on: Vec<_> = entry.on.iter().flat_map(|it| it.get_ref()).collect();
        on.sort_by_key(|(intent, _)| intent.span().start);
        let on = on
            .into_iter()
            .map(|(intent, target)| {
                self.known_intent(place, "on", intent);
                (intent.get_ref().clone(), self.target(place, intent.get_ref(), target))
            })
            .collect::<Vec<_>>();
        let mut digits = vec![];
        for (key, target) in entry.digits.iter().flat_map(|it| it.get_ref()) {
            let to = self.target(place, key.get_ref(), target);
            if let Some(digit) = self.key(key.span(), place, "digits", key.get_ref()) {
                digits.push((digit, to));
            }
        }
        if on.is_empty() && entry.digits.as_ref().is_none_or(|it| it.get_ref().is_empty()) {
            let why = "a `listen` node needs `on`, `digits` or both: where each answer leads to";
            self.wrong(entry.kind.span(), place, Problem::Missing { key: "on", why });
        }
        let fill = self.fill(place, entry, slots);
        Listen { say: self.prompt(place, entry, true), on, fill, digits, retry: self.retry(place, entry, defaults) }
    }

    fn fill(&mut self, place: &str, entry: &NodeEntry, slots: &BTreeMap<String, Slot>) -> Vec<String> {
        let mut fill = vec![];
        for slot in entry.fill.iter().flat_map(|it| it.get_ref()) {
            match slots.get(slot.get_ref()).map(|it| &it.kind) {
                Some(SlotKind::Text | SlotKind::YesNo) => {
                    let why = format!("the slot `{}` is of a type that any sentence fills; collect it", slot.get_ref());
                    self.wrong(slot.span(), place, Problem::Invalid { key: "fill", why });
                }
                Some(
                    SlotKind::Number | SlotKind::Digits { .. } | SlotKind::Choice(_) | SlotKind::Name | SlotKind::Date,
                ) => fill.push(slot.get_ref().clone()),
                None => self.unknown_slot(place, slot, slots),
            }
        }
        fill
    }

    fn unknown_slot(&mut self, place: &str, slot: &Spanned<String>, slots: &BTreeMap<String, Slot>) {
        let problem = Problem::UnknownSlot { slot: slot.get_ref().clone(), allowed: listed(slots.keys()) };
        self.wrong(slot.span(), place, problem);
    }

    fn collect(
        &mut self,
        place: &str,
        entry: &NodeEntry,
        slots: &BTreeMap<String, Slot>,
        defaults: &Defaults,
    ) -> Option<Collect> {
        let Some(slot) = &entry.slot else {
            return self.missing(entry, place, "slot", "the slot that the answer fills");
        };
        let Some(kind) = slots.get(slot.get_ref()).map(|it| it.kind.clone()) else {
            self.unknown_slot(place, slot, slots);
            return None;
        };
        Some(Collect {
            say: self.prompt(place, entry, true),
            slot: slot.get_ref().clone(),
            kind,
            next: self.needed(place, entry, "next", &entry.next)?,
            retry: self.retry(place, entry, defaults),
        })
    }

    fn condition(&mut self, place: &str, entry: &NodeEntry) -> Option<Node> {
        let entries = entry.when.as_ref().map(|it| it.get_ref().as_slice()).unwrap_or_default();
        let when = entries.iter().map(|it| self.when(place, it)).collect();
        Some(Node::Condition { when, otherwise: self.needed(place, entry, "otherwise", &entry.otherwise)? })
    }

    fn when(&mut self, place: &str, entry: &WhenEntry) -> When {
        let test = match (&entry.equals, &entry.contains, entry.filled) {
            (Some(it), None, None) => Test::Equals(it.clone()),
            (None, Some(it), None) => Test::Contains(it.clone()),
            (None, None, Some(it)) => Test::Filled(it),
            _ => {
                let why = "takes `variable`, `next` and exactly one of `equals`, `contains`, `filled`".to_owned();
                self.wrong(entry.variable.span(), place, Problem::Invalid { key: "when", why });
                Test::Filled(true)
            }
        };
        self.variable_name(&entry.variable);
        When { variable: entry.variable.get_ref().clone(), test, next: self.target(place, "next", &entry.next) }
    }

    fn action(&mut self, place: &str, entry: &NodeEntry) -> Option<Action> {
        let mut set = vec![];
        for (name, value) in entry.set.iter().flat_map(|it| it.get_ref()) {
            self.variable_name(name);
            set.push((name.get_ref().clone(), self.template(place, "set", value)));
        }
        if let Some(dtmf) = &entry.dtmf
            && (dtmf.get_ref().is_empty() || dtmf.get_ref().len() > 64 || !dtmf.get_ref().chars().all(is_key))
        {
            let why = format!("1 to 64 of the keys {KEYS} are allowed");
            self.wrong(dtmf.span(), place, Problem::Invalid { key: "dtmf", why });
        }
        Some(Action {
            set,
            note: entry.note.as_ref().map(|it| self.template(place, "note", it)),
            dtmf: entry.dtmf.as_ref().map(|it| it.get_ref().clone()),
            recording: entry.recording.as_ref().and_then(|it| {
                let order = RecordingOrder::from_word(it.get_ref());
                if order.is_none() {
                    let why = "start, pause, resume and stop are allowed".to_owned();
                    self.wrong(it.span(), place, Problem::Invalid { key: "recording", why });
                }
                order
            }),
            next: self.needed(place, entry, "next", &entry.next)?,
        })
    }

    fn retry(&mut self, place: &str, entry: &NodeEntry, defaults: &Defaults) -> Retry {
        let mut texts = |key, written: &Option<Spanned<Texts>>, default: &Template| match written {
            Some(it) => Reprompt { texts: self.templates(place, key, it), then_prompt: false },
            None => Reprompt { texts: vec![default.clone()], then_prompt: true },
        };
        let no_match = texts("no_match", &entry.no_match, &defaults.no_match);
        let no_input = texts("no_input", &entry.no_input, &defaults.no_input);
        Retry {
            no_match,
            no_input,
            retries: entry.retries.as_ref().map_or(defaults.retries, |it| *it.get_ref()),
            escalate: entry.escalate.as_ref().map(|it| self.target(place, "escalate", it)),
        }
    }

    fn prompt(&mut self, place: &str, entry: &NodeEntry, interruptible: bool) -> Option<Prompt> {
        let texts = self.templates(place, "say", entry.say.as_ref()?);
        Some(Prompt { texts, interruptible: entry.interruptible.as_ref().map_or(interruptible, |it| *it.get_ref()) })
    }

    fn templates(&mut self, place: &str, key: &'static str, texts: &Spanned<Texts>) -> Vec<Template> {
        let list = &texts.get_ref().0;
        if list.is_empty() || list.iter().any(|it| it.trim().is_empty()) {
            let why = "a text, or a list of texts, none of them empty, is allowed".to_owned();
            self.wrong(texts.span(), place, Problem::Invalid { key, why });
        }
        list.iter().filter_map(|it| self.read_template(texts.span(), place, key, it)).collect()
    }

    fn template_or(
        &mut self,
        place: &str,
        key: &'static str,
        text: &Option<Spanned<String>>,
        default: &str,
    ) -> Template {
        match text {
            Some(it) => self.template(place, key, it),
            None => Template::parse(default).expect("the defaults below are templates"),
        }
    }

    fn template(&mut self, place: &str, key: &'static str, text: &Spanned<String>) -> Template {
        self.read_template(text.span(), place, key, text.get_ref())
            .unwrap_or_else(|| Template::parse("").expect("nothing is a template"))
    }

    fn read_template(&mut self, at: Range<usize>, place: &str, key: &'static str, text: &str) -> Option<Template> {
        match Template::parse(text) {
            Ok(it) => Some(it),
            Err(error) => {
                self.wrong(at, place, Problem::Invalid { key, why: error.to_string() });
                None
            }
        }
    }

    /// A node that must be named; the error if it is not.
    fn needed(
        &mut self,
        place: &str,
        entry: &NodeEntry,
        key: &'static str,
        to: &Option<Spanned<String>>,
    ) -> Option<String> {
        match to {
            Some(it) => Some(self.target(place, key, it)),
            None => self.missing(entry, place, key, "the node that follows"),
        }
    }

    fn missing<T>(&mut self, entry: &NodeEntry, place: &str, key: &'static str, why: &'static str) -> Option<T> {
        self.wrong(entry.kind.span(), place, Problem::Missing { key, why });
        None
    }

    fn target(&mut self, place: &str, key: &str, to: &Spanned<String>) -> String {
        let nodes = &self.document.nodes;
        if !nodes.contains_key(to.get_ref().as_str()) {
            let allowed = listed(nodes.keys().map(Spanned::get_ref));
            let problem = Problem::UnknownTarget { key: key.to_owned(), target: to.get_ref().clone(), allowed };
            self.wrong(to.span(), place, problem);
        }
        to.get_ref().clone()
    }

    fn known_intent(&mut self, place: &str, key: &'static str, intent: &Spanned<String>) {
        let intents = &self.document.intents;
        if !intents.contains_key(intent.get_ref().as_str()) {
            let allowed = listed(intents.keys().map(Spanned::get_ref));
            self.wrong(intent.span(), place, Problem::UnknownIntent { key, intent: intent.get_ref().clone(), allowed });
        }
    }

    fn key(&mut self, at: Range<usize>, place: &str, key: &'static str, written: &str) -> Option<char> {
        let mut keys = written.chars();
        match (keys.next(), keys.next()) {
            (Some(it), None) if is_key(it) => Some(it),
            _ => {
                let why = format!("`{written}` is not a key; allowed is one of {KEYS}");
                self.wrong(at, place, Problem::Invalid { key, why });
                None
            }
        }
    }

    fn variable_name(&mut self, name: &Spanned<String>) {
        if !is_variable_name(name.get_ref()) {
            let why = "letters, digits and `_` are allowed in a variable's name".to_owned();
            self.wrong(name.span(), format!("variable `{}`", name.get_ref()), Problem::Invalid { key: "name", why });
        }
    }
}

/// What nodes take from `[pathway]` when they do not say it themselves.
struct Defaults {
    no_match: Template,
    no_input: Template,
    retries: u8,
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|it| *it == b'\n').count() + 1
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn is_key(key: char) -> bool {
    KEYS.contains(key)
}

/// The keys of a telephone (RFC 4733 events 0 to 15).
const KEYS: &str = "0123456789*#ABCD";
/// In `[global]`: say again what was said last.
const REPEAT: &str = "@repeat";
const SLOT_TYPES: &str = "text, number, digits, choice, yes_no, name, date";
const PLAY_TIMES_MAX: u32 = 1_000;
const DEFAULT_RETRIES: u8 = 2;
const DEFAULT_NO_MATCH: &str = "Sorry, I did not understand that.";
const DEFAULT_NO_INPUT: &str = "Are you still there?";
const DEFAULT_APOLOGY: &str = "I am sorry, we have a technical problem. Please call again later.";
const DEFAULT_GOODBYE: &str = "Goodbye.";
/// The kinds of nodes and the keys that each takes.
const KINDS: &[(&str, &[&str])] = &[
    ("say", &["say", "interruptible", "next"]),
    ("play", &["source", "times", "loop", "interruptible", "marks", "next", "interrupted", "failed"]),
    ("listen", &["say", "interruptible", "on", "fill", "digits", "no_match", "no_input", "retries", "escalate"]),
    ("collect", &["say", "interruptible", "slot", "next", "no_match", "no_input", "retries", "escalate"]),
    ("condition", &["when", "otherwise"]),
    ("action", &["set", "note", "dtmf", "recording", "next"]),
    ("transfer", &["say", "target", "failed"]),
    ("end", &["say", "note"]),
];

#[cfg(test)]
mod tests {
    use super::super::Pathway;

    /// Loads `text`, whose first line is line 1, and compares everything that is wrong with it.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let text = text.trim_start_matches('\n');
        let found = Pathway::load("p.toml", text).map(|_| ()).map_err(|it| it.to_string());
        let expected: Vec<_> = expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        match found {
            Ok(()) => assert!(expected.is_empty(), "nothing is wrong"),
            Err(found) => assert_eq!(found.lines().collect::<Vec<_>>(), expected),
        }
    }

    #[test]
    fn a_small_pathway_is_right() {
        check(
            r#"
[pathway]
name = "small"
start = "bye"
[nodes.bye]
kind = "end"
"#,
            "",
        );
    }

    #[test]
    fn a_phrase_that_no_recogniser_takes_is_refused() {
        let long = "a ".repeat(crate::limits::SPEECH_PHRASE_CHARS_MAX);
        let text = format!(
            "[pathway]\nname = \"x\"\nstart = \"bye\"\n[global]\nlong = \"bye\"\n\
             [intents.long]\nphrases = [\"{long}\"]\n[nodes.bye]\nkind = \"end\"\n"
        );
        check(&text, "p.toml:1: the characters of a phrase or example are more than the 200 allowed");
    }

    #[test]
    fn unknown_names_are_named_with_what_is_allowed() {
        check(
            r#"
[pathway]
name = "x"
start = "welcome"
[intents.hours]
keywords = ["hours"]
[global]
helpp = "bye"
[nodes.welcome]
kind = "listen"
on = { hours = "hors", ours = "bye" }
[nodes.ask]
kind = "collect"
slot = "day"
next = "bye"
[nodes.bye]
kind = "ending"
"#,
            "p.toml:7: global: `global` names the intent `helpp`, which is not defined; intents are: hours
             p.toml:10: node `welcome`: `hours` leads to `hors`, which is no node; nodes are: ask, bye, welcome
             p.toml:10: node `welcome`: `on` names the intent `ours`, which is not defined; intents are: hours
             p.toml:13: node `ask`: the slot `day` is not defined; slots are: none
             p.toml:16: node `bye`: `kind = \"ending\"` is not allowed; allowed are: say, play, listen, collect, condition, action, transfer, end",
        );
    }

    #[test]
    fn keys_are_checked_against_the_kind_of_the_node() {
        check(
            r##"
[pathway]
name = "x"
start = "a"
[nodes.a]
kind = "say"
digits = { 1 = "b" }
[nodes.b]
kind = "listen"
digits = { 12 = "c" }
[nodes.c]
kind = "action"
dtmf = "12x"
next = "d"
[nodes.d]
kind = "say"
say = "Hello {{na me}}"
next = "e"
[nodes.e]
kind = "condition"
when = [{ variable = "v", equals = "1", filled = true, next = "f" }]
otherwise = "f"
[nodes.f]
kind = "transfer"
failed = "a"
"##,
            "p.toml:5: node `a`: `say` is missing: the text to say
             p.toml:6: node `a`: a `say` node does not take `digits`; it takes: say, interruptible, next
             p.toml:9: node `b`: `digits`: `12` is not a key; allowed is one of 0123456789*#ABCD
             p.toml:12: node `c`: `dtmf`: 1 to 64 of the keys 0123456789*#ABCD are allowed
             p.toml:16: node `d`: `say`: `na me` is not a variable name: letters, digits and `_` are allowed, then `|` and a default
             p.toml:20: node `e`: `when`: takes `variable`, `next` and exactly one of `equals`, `contains`, `filled`
             p.toml:23: node `f`: `target` is missing: whom the caller is transferred to",
        );
    }

    #[test]
    fn what_is_played_is_found_and_ends() {
        check(
            r#"
[pathway]
name = "x"
start = "a"
[nodes.a]
kind = "play"
next = "b"
[nodes.b]
kind = "play"
source = "a.wav"
loop = true
interruptible = false
next = "c"
[nodes.c]
kind = "play"
source = "{{jingle}}"
times = 0
next = "d"
interrupted = "e"
failed = "a"
[nodes.d]
kind = "end"
"#,
            "p.toml:5: node `a`: `source` is missing: the file, the URL or the name of what is played
             p.toml:10: node `b`: `loop`: what is played for ever is interruptible, and takes no `times`
             p.toml:16: node `c`: `times`: 1 to 1000 are allowed
             p.toml:18: node `c`: `interrupted` leads to `e`, which is no node; nodes are: a, b, c, d",
        );
    }

    #[test]
    fn marks_have_places_of_their_own_and_are_asked_for_by_their_names() {
        check(
            r#"
[pathway]
name = "x"
start = "a"
[nodes.a]
kind = "play"
source = "a.wav"
next = "b"
[nodes.a.marks]
price = 500
"" = 700
terms = 500
[nodes.b]
kind = "say"
say = "B"
marks = { price = 1 }
next = "a"
"#,
            "p.toml:10: node `a`: `marks`: the name of a mark has 1 to 64 characters
             p.toml:11: node `a`: `marks`: `terms` is where `price` is; each has a place of its own, in milliseconds
             p.toml:15: node `b`: a `say` node does not take `marks`; it takes: say, interruptible, next",
        );
        check(
            r#"
[pathway]
name = "x"
start = "a"
[nodes.a]
kind = "play"
source = "a.wav"
marks = { price = 500, terms = 900 }
next = "b"
[nodes.b]
kind = "condition"
when = [
    { variable = "last_mark", equals = "terms", next = "c" },
    { variable = "last_mark", equals = "prize", next = "c" },
]
otherwise = "c"
[nodes.c]
kind = "end"
"#,
            "p.toml:13: node `b`: `when`: no sound has a mark `prize`; marks are: price, terms",
        );
    }

    #[test]
    fn slots_say_what_their_type_takes() {
        check(
            r#"
[pathway]
name = "x"
start = "a"
[slots.day]
type = "weekday"
[slots.size]
type = "choice"
[slots.code]
type = "digits"
length = [5, 3]
[slots.name]
type = "name"
length = [1, 2]
[slots.sure]
type = "yes_no"
[nodes.a]
kind = "listen"
fill = ["sure", "when"]
digits = { 1 = "a" }
"#,
            "p.toml:5: slot `day`: `type = \"weekday\"` is not allowed; allowed are: text, number, digits, choice, yes_no, name, date
             p.toml:6: slot `size`: `choices` is missing: a slot of type `choice` lists its values
             p.toml:10: slot `code`: `length`: allowed is [fewest, most] with 1 <= fewest <= most <= 64
             p.toml:13: slot `name`: `length`: a slot of type `name` does not take it
             p.toml:18: node `a`: `fill`: the slot `sure` is of a type that any sentence fills; collect it
             p.toml:18: node `a`: the slot `when` is not defined; slots are: code, day, name, size, sure",
        );
    }

    #[test]
    fn the_way_through_the_nodes_is_checked() {
        check(
            r#"
[pathway]
name = "x"
start = "a"
[intents.one]
phrases = ["Let us begin"]
[intents.two]
phrases = ["let us begin!"]
[intents.three]
keywords = ["..."]
[nodes.a]
kind = "say"
say = "A"
next = "b"
[nodes.b]
kind = "action"
next = "a"
[nodes.alone]
kind = "listen"
on = { one = "a" }
"#,
            "p.toml:8: intent `three`: the intent has neither `phrases` nor `keywords`",
        );
        check(
            r#"
[pathway]
name = "x"
start = "a"
[intents.one]
phrases = ["Let us begin"]
[intents.two]
phrases = ["let us begin!"]
[nodes.a]
kind = "say"
say = "A"
next = "b"
[nodes.b]
kind = "action"
next = "a"
[nodes.alone]
kind = "listen"
on = { one = "a" }
"#,
            "p.toml:6: intent `two`: nothing asks for this intent: name it in the `on` of a node or in `[global]`
             p.toml:7: intent `two`: \"let us begin!\" is also said for intent `one`
             p.toml:8: node `a`: this node comes back to itself without waiting for the caller (a -> b -> a)
             p.toml:15: node `alone`: no way leads here from the start node `a`",
        );
    }

    #[test]
    fn syntax_keys_and_types_are_the_readers_to_judge() {
        check("[pathway]\nname = \"x\"\nstart = ", "p.toml:3: string values must be quoted, expected literal string");
        check(
            "[pathway]\nname = \"x\"\nstart = \"a\"\n[nodes.a]\nkind = \"end\"\nsays = 1",
            "p.toml:6: unknown field `says`, expected one of `kind`, `say`, `interruptible`, `next`, `on`, `fill`, `digits`, \
             `slot`, `no_match`, `no_input`, `retries`, `escalate`, `when`, `otherwise`, `set`, `note`, `dtmf`, `recording`, `target`, `failed`, \
             `source`, `times`, `loop`, `interrupted`, `marks`",
        );
        check(
            "[pathway]\nname = \"x\"\nstart = \"a\"\n[nodes.a]\nkind = \"end\"\nsay = 1",
            "p.toml:6: invalid type: integer `1`, expected a text or a list of texts",
        );
        check("[nodes.a]\n[nodes.a]", "p.toml:2: duplicate key");
        let large = "#".repeat(crate::limits::PATHWAY_BYTES_MAX + 1);
        check(&large, "p.toml:1: bytes are more than the 1048576 allowed");
    }
}
