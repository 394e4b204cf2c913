//! Pathways: conversations written down in TOML, which an agent follows in place of a language model.
//!
//! ```toml
//! [pathway]
//! name = "front desk"
//! start = "welcome"              # the first node
//! greeting = "Good morning, {{company|hello}}."
//! apology = "I am sorry, …"      # said when a service fails
//! goodbye = "Goodbye."           # last words where an `end` has none of its own
//! no_match = "Sorry?"            # for nodes without a `no_match` of their own; likewise `no_input`, `retries`
//!
//! [variables]                    # what `{{name}}` gives; the call adds `from`, `to` and its own
//! company = "Hookswitch"
//!
//! [intents.opening_hours]        # what a caller may want
//! phrases = ["when are you open"]
//! keywords = ["opening hours"]
//! examples = ["hello when are you open on monday"]  # not matched, but expected by the recogniser
//!
//! [global]                       # wherever the caller is: intent = node, or "@repeat" to say the last thing again
//! say_again = "@repeat"
//!
//! [slots.day]                    # what a caller may be asked for:
//! type = "date"                  # text, number, digits, choice, yes_no, name or date
//! examples = ["on monday"]       # for the recogniser; `{choice}` stands for each choice in turn
//!
//! [nodes.welcome]
//! kind = "listen"                # say, listen, collect, condition, action, transfer or end
//! say = "How can I help?"
//! on = { opening_hours = "hours" }
//! fill = ["day"]                 # slots that may be filled in the same breath
//! digits = { 1 = "hours" }
//! retries = 2                    # how often the caller is asked again, then `escalate`, or the goodbye
//! escalate = "hours"
//! ```
//!
//! A variable without a value gives its default (`{{name|default}}`), or nothing and an event in the call's record.
//! Everything is checked when a file is loaded; an error names the file, the line, the node and what is allowed.

mod caller_script;
mod check;
mod document;
mod intent;
mod load;
mod node;
pub mod number;
mod problem;
mod run;
mod slot;
mod template;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use caller_script::{CallerScript, CallerTurn};
pub use intent::Intent;
pub use node::{Action, Collect, Listen, Node, Play, Prompt, Reprompt, Retry, Test, When};
pub use problem::{PathwayError, PathwayErrors, Problem};
pub use run::Run;
pub use slot::{Choice, SlotKind};
pub use template::{Rendered, Template, TemplateError};
pub use words::Words;

/// A conversation that was loaded and found to be right: every name in it leads somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pathway {
    name: String,
    start: String,
    greeting: Option<Template>,
    apology: String,
    goodbye: Template,
    variables: BTreeMap<String, String>,
    intents: Vec<Intent>,
    global: Vec<(String, GlobalWay)>,
    slots: BTreeMap<String, Slot>,
    nodes: BTreeMap<String, Node>,
}

/// Where a global intent leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobalWay {
    Node(String),
    Repeat,
}

/// What a caller may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    kind: SlotKind,
    examples: Vec<String>,
}

impl Pathway {
    /// Reads the pathway `text`; errors call it `file`.
    pub fn load(file: &str, text: &str) -> Result<Self, PathwayErrors> {
        load::load(file, text)
    }

    /// The receptionist of the demo, built in.
    pub fn receptionist() -> Arc<Self> {
        let text = include_str!("../../../pathways/receptionist.toml");
        let pathway = Self::load("pathways/receptionist.toml", text);
        Arc::new(pathway.expect("the built-in pathway is loaded by a test"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is said when a service fails. It is rendered to audio before any call, so it has no variables.
    pub fn apology(&self) -> &str {
        &self.apology
    }

    /// Sentences and keywords that a caller is expected to say, in lower case without punctuation, each once: what a
    /// small language model for the recogniser is built from.
    pub fn phrases(&self) -> Vec<String> {
        let mut phrases = BTreeSet::new();
        for intent in &self.intents {
            let all = intent.phrases.iter().chain(&intent.keywords).chain(&intent.examples);
            phrases.extend(all.map(Words::to_string));
        }
        for slot in self.slots.values() {
            phrases.extend(slot.kind.phrases());
            phrases.extend(slot.examples());
        }
        phrases.remove("");
        phrases.into_iter().collect()
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).expect("names of nodes are resolved when a pathway is loaded")
    }

    fn intent(&self, name: &str) -> Option<&Intent> {
        self.intents.iter().find(|it| it.name == name)
    }
}

impl Slot {
    /// The examples, those with `{choice}` once for each choice.
    fn examples(&self) -> Vec<String> {
        let choices: Vec<String> = match &self.kind {
            SlotKind::Choice(choices) => choices.iter().map(|it| it.value.clone()).collect(),
            SlotKind::Text
            | SlotKind::Number
            | SlotKind::Digits { .. }
            | SlotKind::YesNo
            | SlotKind::Name
            | SlotKind::Date => vec![],
        };
        let expand = |example: &String| match example.contains(CHOICE) {
            true => choices.iter().map(|it| example.replace(CHOICE, it)).collect(),
            false => vec![example.clone()],
        };
        self.examples.iter().flat_map(expand).map(|it| Words::of(&it).to_string()).collect()
    }
}

const CHOICE: &str = "{choice}";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::agent::event::HangUpReason;
    use crate::agent::step::Step;

    #[test]
    fn the_scripted_caller_reaches_the_end_of_the_receptionist() {
        let script = CallerScript::receptionist();
        let pathway = Pathway::receptionist();
        assert_eq!(script.pathway, pathway.name());
        let mut run = Run::new(pathway, &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
        run.handle_start();
        let mut left = drain(&mut run);
        for turn in &script.turns {
            assert_eq!((run.node(), left.leave), (turn.at.as_str(), None));
            run.handle_speech(&turn.say);
            left = drain(&mut run);
            assert!(left.entered.contains(&turn.leads_to), "{} leads to {:?}", turn.say, left.entered);
        }
        assert_eq!(left.leave, Some(HangUpReason::Finished));
        assert_eq!((run.variable("name"), run.variable("day")), (Some("Mary Jones"), Some("wednesday")));
    }

    #[test]
    fn whatever_the_scripted_caller_says_is_expected() {
        let script = CallerScript::receptionist();
        let phrases = Pathway::receptionist().phrases();
        for said in script.turns.iter().map(|it| &it.say).chain(script.answers.values()) {
            assert!(phrases.contains(said), "{said}");
        }
        assert!(phrases.contains(&"on friday please".to_owned()) && phrases.contains(&"yes".to_owned()));
        assert!(phrases.is_sorted());
    }

    #[test]
    fn the_examples_of_the_documentation_load() {
        let document = include_str!("../../../docs/pathways.md");
        let examples = document.split("```toml\n").skip(1).filter_map(|it| it.split("```").next());
        let examples: Vec<_> = examples.collect();
        assert!(examples.len() >= 4 && examples.iter().all(|it| it.contains("[pathway]")), "every one is whole");
        for example in examples {
            if let Err(errors) = Pathway::load("docs/pathways.md", example) {
                panic!("{errors}\n{example}");
            }
        }
    }

    struct Drained {
        entered: Vec<String>,
        leave: Option<HangUpReason>,
    }

    fn drain(run: &mut Run) -> Drained {
        let mut drained = Drained { entered: vec![], leave: None };
        while let Some(step) = run.poll_step() {
            match step {
                Step::Event(crate::agent::event::Event::NodeEntered { node }) => drained.entered.push(node),
                Step::Leave { reason, .. } => drained.leave = Some(reason),
                Step::Say { .. }
                | Step::Play { .. }
                | Step::Dtmf(_)
                | Step::Transfer { .. }
                | Step::Model(_)
                | Step::Fail { .. }
                | Step::Event(_) => {}
            }
        }
        drained
    }
}
