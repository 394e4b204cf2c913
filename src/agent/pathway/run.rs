//! [`Run`]: one caller's way through a pathway. Each input of the caller runs through nodes until one waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::intent::best_match;
use super::node::{Action, Collect, LAST_MARK, Listen, Node, Play, Prompt, Reprompt, Retry, Test, When};
use super::slot::SlotKind;
use super::template::Template;
use super::words::Words;
use super::{GlobalWay, Pathway};
use crate::agent::event::{Event, HangUpReason};
use crate::agent::step::Step;
use crate::limits::{AGENT_DIGITS_MAX, PATHWAY_STEPS_MAX, PATHWAY_VARIABLE_CHARS_MAX, PATHWAY_VARIABLES_MAX};

/// One caller's way through a pathway. Drain [`Run::poll_step`] after every `handle_*`.
#[derive(Debug)]
pub struct Run {
    pathway: Arc<Pathway>,
    variables: BTreeMap<String, String>,
    rng: ChaCha12Rng,
    at: String,
    waiting: Waiting,
    /// How often the caller was asked again at this node.
    attempts: u8,
    /// Sounds in a row that could not be played.
    sounds_failed: u8,
    /// Whether the caller has answered the node that is about to be entered: its prompt is not said.
    is_answered: bool,
    /// What was said since the caller's last input that led on: what "please repeat" repeats.
    said: Vec<(String, bool)>,
    steps: VecDeque<Step>,
}

/// What the way ahead depends on.
#[derive(Debug, PartialEq)]
enum Waiting {
    /// On the caller: at a `listen` or a `collect`, with the keys that were pressed there.
    Caller { digits: String, complete_at_ms: Option<u64> },
    /// On the end of a sound.
    Sound,
    /// On the outcome of a transfer.
    Transfer,
    /// On nothing: before the start and after the end.
    Nothing,
}

impl Run {
    /// A way that has not begun. `variables` add to those of the pathway, or replace them.
    pub fn new(pathway: Arc<Pathway>, variables: &BTreeMap<String, String>, rng: ChaCha12Rng) -> Self {
        let mut all = pathway.variables.clone();
        all.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self {
            at: pathway.start.clone(),
            pathway,
            variables: all,
            rng,
            waiting: Waiting::Nothing,
            attempts: 0,
            sounds_failed: 0,
            is_answered: false,
            said: vec![],
            steps: VecDeque::new(),
        }
    }

    /// Greets and enters the first node.
    pub fn handle_start(&mut self) {
        if let Some(greeting) = self.pathway.clone().greeting.as_ref() {
            let text = self.render(greeting);
            self.say(text, true);
        }
        self.go_to(self.pathway.start.clone());
    }

    /// The caller said something; empty if it was not understood at all.
    pub fn handle_speech(&mut self, text: &str) {
        if !self.leave_sound(!text.trim().is_empty()) {
            return;
        }
        let Waiting::Caller { .. } = self.waiting else { return };
        let words = Words::of(text);
        let pathway = self.pathway.clone();
        match pathway.node(&self.at) {
            Node::Listen(listen) => self.answer_listen(&pathway, listen, &words),
            Node::Collect(collect) => self.answer_collect(&pathway, collect, text, &words),
            Node::Say { .. }
            | Node::Play(_)
            | Node::Condition { .. }
            | Node::Action(_)
            | Node::Transfer { .. }
            | Node::End { .. } => {}
        }
    }

    /// The caller pressed a key, `at_ms` on media time.
    pub fn handle_digit(&mut self, digit: char, at_ms: u64) {
        if !self.leave_sound(true) {
            return;
        }
        let Waiting::Caller { digits, complete_at_ms } = &mut self.waiting else { return };
        let pathway = self.pathway.clone();
        match pathway.node(&self.at) {
            Node::Listen(listen) => match listen.digits.iter().find(|(key, _)| *key == digit) {
                Some((_, to)) => self.go_to(to.clone()),
                None if listen.digits.is_empty() => (),
                None => self.ask_again(listen.say.as_ref(), &listen.retry, Lacking::Match),
            },
            Node::Collect(collect) => {
                let Some(max) = collect.kind.digits_max() else { return };
                match digit {
                    '#' => return self.take_digits(),
                    '*' => digits.clear(),
                    _ => digits.push(digit),
                }
                *complete_at_ms = Some(at_ms.saturating_add(DIGIT_GAP_MS));
                if digits.len() >= max.min(AGENT_DIGITS_MAX) {
                    self.take_digits();
                }
            }
            Node::Say { .. }
            | Node::Play(_)
            | Node::Condition { .. }
            | Node::Action(_)
            | Node::Transfer { .. }
            | Node::End { .. } => {}
        }
    }

    /// Media time has come to `at_ms`: keys that nothing follows are an answer.
    pub fn handle_time(&mut self, at_ms: u64) {
        if let Waiting::Caller { complete_at_ms: Some(deadline), .. } = &self.waiting
            && *deadline <= at_ms
        {
            self.take_digits();
        }
    }

    /// The caller has said nothing for too long.
    pub fn handle_no_input(&mut self) {
        if self.waiting == Waiting::Sound {
            // It was cut off by what turned out to be a noise.
            return self.handle_played();
        }
        let Waiting::Caller { .. } = self.waiting else { return };
        let pathway = self.pathway.clone();
        match pathway.node(&self.at) {
            Node::Listen(Listen { say, retry, .. }) | Node::Collect(Collect { say, retry, .. }) => {
                self.ask_again(say.as_ref(), retry, Lacking::Input);
            }
            Node::Say { .. }
            | Node::Play(_)
            | Node::Condition { .. }
            | Node::Action(_)
            | Node::Transfer { .. }
            | Node::End { .. } => {}
        }
    }

    /// It is known who or what has answered; the variable `answered_by` says so from here on.
    pub fn handle_answered_by(&mut self, by: &str) {
        self.set("answered_by", by.to_owned());
    }

    /// The sound was heard to its end.
    pub fn handle_played(&mut self) {
        self.sounds_failed = 0;
        if let Some(next) = self.sound().map(|it| it.next.clone()) {
            self.go_to(next);
        }
    }

    /// The sound was heard as far as this mark.
    pub fn handle_mark(&mut self, name: &str) {
        if self.sound().is_some() {
            self.set(LAST_MARK, name.to_owned());
        }
    }

    /// The sound cannot be played.
    pub fn handle_not_played(&mut self) {
        let Some(failed) = self.sound().map(|it| it.failed.clone()) else { return };
        self.sounds_failed = self.sounds_failed.saturating_add(1);
        if self.sounds_failed > SOUNDS_FAILED_MAX {
            return self.leave(HangUpReason::PathwayLoop, None);
        }
        self.go_to(failed);
    }

    /// The transfer that was asked for is not done.
    pub fn handle_transfer_refused(&mut self) {
        if self.waiting != Waiting::Transfer {
            return;
        }
        if let Node::Transfer { failed, .. } = self.pathway.clone().node(&self.at) {
            self.go_to(failed.clone());
        }
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The name of the node that the caller is at.
    pub fn node(&self) -> &str {
        &self.at
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether keys have been pressed that may not be all yet.
    pub fn is_collecting_digits(&self) -> bool {
        matches!(&self.waiting, Waiting::Caller { complete_at_ms: Some(_), .. })
    }

    /// Renders the pathway's goodbye.
    pub fn goodbye(&mut self) -> String {
        let goodbye = self.pathway.goodbye.clone();
        self.render(&goodbye)
    }

    /// The sound that is waited for.
    fn sound(&self) -> Option<&Play> {
        let Node::Play(play) = self.pathway.node(&self.at) else { return None };
        (self.waiting == Waiting::Sound).then_some(play)
    }

    /// The caller interrupts a sound, if one is waited for. Whether what was said or pressed is still to be answered.
    fn leave_sound(&mut self, is_answer: bool) -> bool {
        let Some(play) = self.sound() else { return true };
        if !play.interruptible {
            return false;
        }
        let to = play.interrupted.clone();
        let asks = matches!(self.pathway.node(&to), Node::Listen(_) | Node::Collect(_));
        self.is_answered = asks && is_answer;
        self.sounds_failed = 0;
        self.go_to(to);
        asks && is_answer
    }

    fn answer_listen(&mut self, pathway: &Pathway, listen: &Listen, words: &Words) {
        let own = listen.on.iter().filter_map(|(intent, to)| Some((pathway.intent(intent)?, Way::Node(to))));
        let global = pathway.global.iter().filter_map(|(intent, way)| Some((pathway.intent(intent)?, Way::of(way))));
        let ways: Vec<_> = own.chain(global).collect();
        let found = best_match(ways.iter().map(|(intent, _)| *intent), words);
        match found.and_then(|found| ways.iter().find(|(intent, _)| std::ptr::eq(*intent, found))) {
            Some((_, way)) => {
                for slot in &listen.fill {
                    if let Some(value) = pathway.slots.get(slot).and_then(|it| it.kind.in_passing(words)) {
                        self.set(slot, value);
                    }
                }
                self.take(way);
            }
            None => self.ask_again(listen.say.as_ref(), &listen.retry, Lacking::Match),
        }
    }

    fn answer_collect(&mut self, pathway: &Pathway, collect: &Collect, text: &str, words: &Words) {
        let said_globally = |exactly: bool| {
            let intents = pathway.global.iter().filter_map(|(name, _)| pathway.intent(name));
            let found = best_match(intents, words).filter(|it| !exactly || it.phrases.contains(words))?;
            pathway.global.iter().find(|(name, _)| *name == found.name).map(|(_, way)| Way::of(way))
        };
        // Anything is a text or a name, so there only a whole phrase is meant for the pathway at large.
        let takes_anything = matches!(collect.kind, SlotKind::Text | SlotKind::Name);
        if takes_anything && let Some(way) = said_globally(true) {
            return self.take(&way);
        }
        if let Some(value) = collect.kind.from_speech(text) {
            return self.fill(collect, value);
        }
        match said_globally(false) {
            Some(way) => self.take(&way),
            None => self.ask_again(collect.say.as_ref(), &collect.retry, Lacking::Match),
        }
    }

    fn take_digits(&mut self) {
        let Waiting::Caller { digits, complete_at_ms } = &mut self.waiting else { return };
        *complete_at_ms = None;
        let digits = std::mem::take(digits);
        let pathway = self.pathway.clone();
        if let Node::Collect(collect) = pathway.node(&self.at) {
            match collect.kind.from_digits(&digits) {
                Some(value) => self.fill(collect, value),
                None => self.ask_again(collect.say.as_ref(), &collect.retry, Lacking::Match),
            }
        }
    }

    fn fill(&mut self, collect: &Collect, value: String) {
        self.set(&collect.slot, value);
        self.go_to(collect.next.clone());
    }

    fn take(&mut self, way: &Way<'_>) {
        match way {
            Way::Node(name) => self.go_to((*name).to_owned()),
            Way::Repeat => {
                for (text, interruptible) in self.said.clone() {
                    self.steps.push_back(Step::Say { text, interruptible });
                }
            }
        }
    }

    fn ask_again(&mut self, prompt: Option<&Prompt>, retry: &Retry, lacking: Lacking) {
        if self.attempts >= retry.retries {
            match &retry.escalate {
                Some(to) => self.go_to(to.clone()),
                None => self.leave(lacking.reason(), None),
            }
            return;
        }
        let Reprompt { texts, then_prompt } = match lacking {
            Lacking::Match => &retry.no_match,
            Lacking::Input => &retry.no_input,
        };
        let text = texts.get(usize::from(self.attempts)).or_else(|| texts.last());
        self.attempts += 1;
        if let Some(text) = text {
            let text = self.render(text);
            self.steps.push_back(Step::Say { text, interruptible: true });
        }
        if let Some(prompt) = prompt
            && *then_prompt
        {
            let text = self.one_of(prompt);
            self.steps.push_back(Step::Say { text, interruptible: prompt.interruptible });
        }
    }

    fn go_to(&mut self, name: String) {
        if self.waiting != Waiting::Nothing {
            self.said.clear();
        }
        self.waiting = Waiting::Nothing;
        let mut next = Some(name);
        for _ in 0..PATHWAY_STEPS_MAX {
            let Some(name) = next else { return };
            next = self.enter(name);
        }
        if next.is_some() {
            self.leave(HangUpReason::PathwayLoop, None);
        }
    }

    /// Enters one node; the node that follows if it does not wait.
    fn enter(&mut self, name: String) -> Option<String> {
        self.steps.push_back(Step::Event(Event::NodeEntered { node: name.clone() }));
        self.at = name;
        self.attempts = 0;
        let is_answered = std::mem::take(&mut self.is_answered);
        let pathway = self.pathway.clone();
        match pathway.node(&self.at) {
            Node::Say { say, next } => {
                self.prompt(say);
                Some(next.clone())
            }
            Node::Listen(Listen { say, .. }) | Node::Collect(Collect { say, .. }) => {
                if let Some(say) = say.as_ref().filter(|_| !is_answered) {
                    self.prompt(say);
                }
                self.waiting = Waiting::Caller { digits: String::new(), complete_at_ms: None };
                None
            }
            Node::Play(play) => {
                let source = self.render(&play.source);
                self.waiting = Waiting::Sound;
                if !play.marks.is_empty() && self.variables.len() < PATHWAY_VARIABLES_MAX {
                    // Nothing of it has been heard; that it begins stands in the record already.
                    self.variables.insert(LAST_MARK.to_owned(), String::new());
                }
                let (times, interruptible, marks) = (play.times, play.interruptible, play.marks.clone());
                self.steps.push_back(Step::Play { source, times, interruptible, marks });
                None
            }
            Node::Condition { when, otherwise } => {
                let way = when.iter().find(|it| self.holds(it)).map_or(otherwise, |it| &it.next);
                Some(way.clone())
            }
            Node::Action(action) => Some(self.act(action)),
            Node::Transfer { say, target, .. } => {
                if let Some(say) = say {
                    self.prompt(say);
                }
                self.waiting = Waiting::Transfer;
                self.steps.push_back(Step::Transfer { target: target.clone() });
                None
            }
            Node::End { say, note } => {
                if let Some(note) = note {
                    self.note(note);
                }
                let say = say.as_ref().map(|it| self.one_of(it));
                self.leave(HangUpReason::Finished, say);
                None
            }
        }
    }

    fn act(&mut self, action: &Action) -> String {
        for (name, value) in &action.set {
            let value = self.render(value);
            self.set(name, value);
        }
        if let Some(note) = &action.note {
            self.note(note);
        }
        if let Some(order) = action.recording {
            self.steps.push_back(Step::Event(Event::Recording(order)));
        }
        if let Some(dtmf) = &action.dtmf {
            self.steps.push_back(Step::Dtmf(dtmf.clone()));
        }
        action.next.clone()
    }

    fn leave(&mut self, reason: HangUpReason, say: Option<String>) {
        let say = say.unwrap_or_else(|| self.goodbye());
        self.waiting = Waiting::Nothing;
        self.steps.push_back(Step::Leave { reason, say: Some(say) });
    }

    fn holds(&self, when: &When) -> bool {
        let value = self.variable(&when.variable).unwrap_or_default().trim().to_lowercase();
        match &when.test {
            Test::Equals(it) => value == it.trim().to_lowercase(),
            Test::Contains(it) => value.contains(&it.trim().to_lowercase()),
            Test::Filled(it) => value.is_empty() != *it,
        }
    }

    fn set(&mut self, name: &str, value: String) {
        if self.variables.len() >= PATHWAY_VARIABLES_MAX && !self.variables.contains_key(name) {
            return;
        }
        let value: String = value.chars().take(PATHWAY_VARIABLE_CHARS_MAX).collect();
        self.variables.insert(name.to_owned(), value.clone());
        self.steps.push_back(Step::Event(Event::VariableSet { name: name.to_owned(), value }));
    }

    fn note(&mut self, note: &Template) {
        let text = self.render(note);
        self.steps.push_back(Step::Event(Event::Note { text }));
    }

    fn prompt(&mut self, prompt: &Prompt) {
        let text = self.one_of(prompt);
        self.say(text, prompt.interruptible);
    }

    fn one_of(&mut self, prompt: &Prompt) -> String {
        let index = if prompt.texts.len() > 1 { self.rng.random_range(0..prompt.texts.len()) } else { 0 };
        prompt.texts.get(index).map(|it| self.render(it)).unwrap_or_default()
    }

    fn say(&mut self, text: String, interruptible: bool) {
        if self.said.len() < PATHWAY_STEPS_MAX {
            self.said.push((text.clone(), interruptible));
        }
        self.steps.push_back(Step::Say { text, interruptible });
    }

    fn render(&mut self, template: &Template) -> String {
        let rendered = template.render(&self.variables);
        for name in rendered.missing {
            self.steps.push_back(Step::Event(Event::VariableMissing { name }));
        }
        rendered.text
    }
}

/// Where a matched intent leads to.
enum Way<'a> {
    Node(&'a str),
    Repeat,
}

impl<'a> Way<'a> {
    fn of(way: &'a GlobalWay) -> Self {
        match way {
            GlobalWay::Node(name) => Self::Node(name),
            GlobalWay::Repeat => Self::Repeat,
        }
    }
}

/// What the caller did not give.
#[derive(Clone, Copy)]
enum Lacking {
    Match,
    Input,
}

impl Lacking {
    fn reason(self) -> HangUpReason {
        match self {
            Self::Match => HangUpReason::NotUnderstood,
            Self::Input => HangUpReason::CallerSilent,
        }
    }
}

/// How long after a key another one may follow.
const DIGIT_GAP_MS: u64 = 3_000;
/// A pathway whose sounds all fail is left.
const SOUNDS_FAILED_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FRONT_DESK: &str = r##"
[pathway]
name = "front desk"
start = "menu"
greeting = "Hello {{caller|there}}."
goodbye = "Bye."
[variables]
tries = ""
[intents.order]
keywords = ["order"]
[intents.repeat]
phrases = ["repeat that"]
[intents.stop]
phrases = ["stop"]
keywords = ["stop it"]
[global]
repeat = "@repeat"
stop = "bye"
[slots.code]
type = "digits"
length = [2, 4]
[slots.note]
type = "text"
[nodes.menu]
kind = "listen"
say = "Menu?"
on = { order = "code" }
digits = { 1 = "code", 2 = "note" }
no_match = ["Once.", "Twice."]
retries = 3
[nodes.code]
kind = "collect"
say = "Code?"
slot = "code"
next = "check"
retries = 1
escalate = "hand_over"
[nodes.check]
kind = "condition"
when = [{ variable = "code", equals = "99", next = "hand_over" }]
otherwise = "thanks"
[nodes.thanks]
kind = "action"
set = { tries = "{{tries}}x" }
note = "Code {{code}} {{unknown}}"
dtmf = "5#"
recording = "pause"
next = "note"
[nodes.note]
kind = "collect"
say = "Anything else?"
slot = "note"
next = "bye"
[nodes.hand_over]
kind = "transfer"
say = "One moment."
target = "desk"
failed = "menu"
[nodes.bye]
kind = "end"
note = "Done: {{note|nothing}}"
"##;

    /// Runs the inputs of a script through the pathway above and compares all of it. Inputs: `~ text` is speech, `# keys`
    /// are keys, `...` is silence, `wait` is time that passes, `refused` is a transfer that is not done.
    #[track_caller]
    fn check(script: &str) {
        let pathway = Arc::new(Pathway::load("front-desk.toml", FRONT_DESK).unwrap());
        let mut run = Run::new(pathway, &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
        run.handle_start();
        let script: Vec<_> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        let mut log = drain(&mut run);
        for line in &script {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "~" => run.handle_speech(rest),
                "#" => rest.chars().for_each(|it| run.handle_digit(it, 1_000)),
                "..." => run.handle_no_input(),
                "wait" => run.handle_time(1_000 + DIGIT_GAP_MS),
                "refused" => run.handle_transfer_refused(),
                _ => continue,
            }
            log.push((*line).to_owned());
            log.extend(drain(&mut run));
        }
        assert_eq!(log, script, "\n{}", log.join("\n"));
    }

    fn drain(run: &mut Run) -> Vec<String> {
        std::iter::from_fn(|| run.poll_step()).map(show).collect()
    }

    fn show(step: Step) -> String {
        match step {
            Step::Say { text, interruptible: true } => format!("say {text}"),
            Step::Say { text, interruptible: false } => format!("say! {text}"),
            Step::Play { source, times, interruptible, marks: _ } => {
                format!("play{} {source} {times:?}", if interruptible { "" } else { "!" })
            }
            Step::Event(Event::NodeEntered { node }) => format!("at {node}"),
            Step::Event(Event::VariableSet { name, value }) => format!("set {name} = {value}"),
            Step::Event(Event::VariableMissing { name }) => format!("missing {name}"),
            Step::Event(Event::Note { text }) => format!("note {text}"),
            Step::Event(Event::Recording(order)) => format!("recording {order:?}"),
            Step::Leave { reason, say } => format!("leave {reason:?} {}", say.unwrap_or_default()),
            Step::Dtmf(keys) => format!("dtmf {keys}"),
            Step::Transfer { target } => format!("transfer {target}"),
            Step::Model(_) | Step::Fail { .. } | Step::Event(_) => format!("unexpected {step:?}"),
        }
    }

    #[test]
    fn how_far_a_sound_was_heard_is_a_variable_until_it_begins_again() {
        let text = r#"
[pathway]
name = "x"
start = "offer"
[nodes.offer]
kind = "play"
source = "offer.wav"
marks = { price = 500 }
next = "offer"
interrupted = "note"
[nodes.note]
kind = "action"
note = "heard {{last_mark|nothing}}"
next = "offer"
"#;
        let mut run =
            Run::new(Arc::new(Pathway::load("x.toml", text).unwrap()), &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
        run.handle_start();
        let mut log = vec![];
        for mark in [true, false] {
            if mark {
                run.handle_mark("price");
            }
            run.handle_digit('1', 0);
            log.extend(drain(&mut run).into_iter().filter(|it| !it.starts_with("at ") && !it.starts_with("play")));
        }
        assert_eq!(log, ["set last_mark = price", "note heard price", "note heard nothing"]);
    }

    #[test]
    fn speech_leads_through_collect_condition_and_action_to_the_end() {
        check(
            "say Hello there.
             at menu
             say Menu?
             ~ i want to order
             at code
             say Code?
             ~ one two three
             set code = 123
             at check
             at thanks
             set tries = x
             missing unknown
             note Code 123
             recording Pause
             dtmf 5#
             at note
             say Anything else?
             ~ Ring the bell.
             set note = Ring the bell.
             at bye
             note Done: Ring the bell.
             leave Finished Bye.
             ~ too late
             # 1",
        );
    }

    #[test]
    fn keys_choose_collect_and_time_out() {
        check(
            "say Hello there.
             at menu
             say Menu?
             # 9
             say Once.
             # 1
             at code
             say Code?
             # 1
             wait
             say Sorry, I did not understand that.
             say Code?
             # 7*99
             wait
             set code = 99
             at check
             at hand_over
             say! One moment.
             transfer desk
             ~ hello
             refused
             at menu
             say Menu?
             # 1
             at code
             say Code?
             # 1234
             set code = 1234
             at check
             at thanks
             set tries = x
             missing unknown
             note Code 1234
             recording Pause
             dtmf 5#
             at note
             say Anything else?
             # 1",
        );
    }

    #[test]
    fn callers_are_asked_again_and_then_handed_on() {
        check(
            "say Hello there.
             at menu
             say Menu?
             ~
             say Once.
             ~ what
             say Twice.
             ...
             say Are you still there?
             say Menu?
             ~ nonsense
             leave NotUnderstood Bye.",
        );
        check(
            "say Hello there.
             at menu
             say Menu?
             # 1
             at code
             say Code?
             ...
             say Are you still there?
             say Code?
             ...
             at hand_over
             say! One moment.
             transfer desk",
        );
    }

    #[test]
    fn global_intents_work_everywhere() {
        check(
            "say Hello there.
             at menu
             say Menu?
             ~ repeat that
             say Hello there.
             say Menu?
             # 2
             at note
             say Anything else?
             ~ please repeat that
             set note = please repeat that
             at bye
             note Done: please repeat that
             leave Finished Bye.",
        );
        check(
            "say Hello there.
             at menu
             say Menu?
             # 2
             at note
             say Anything else?
             ~ Stop!
             at bye
             note Done: nothing
             leave Finished Bye.",
        );
    }

    #[test]
    fn sounds_lead_on_by_themselves_by_the_caller_and_by_failing() {
        let text = r#"
[pathway]
name = "music"
start = "jingle"
[variables]
tune = "quiet.wav"
[intents.order]
keywords = ["order"]
[nodes.jingle]
kind = "play"
source = "jingle.wav"
times = 2
interruptible = false
next = "music"
[nodes.music]
kind = "play"
source = "{{tune}}"
loop = true
next = "jingle"
interrupted = "menu"
failed = "music"
[nodes.menu]
kind = "listen"
say = "Menu?"
on = { order = "jingle" }
digits = { 1 = "jingle" }
"#;
        let pathway = Arc::new(Pathway::load("music.toml", text).unwrap());
        let mut run = Run::new(pathway, &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
        run.handle_start();
        assert_eq!(drain(&mut run), ["at jingle", "play! jingle.wav Some(2)"]);
        run.handle_digit('1', 0);
        run.handle_speech("order");
        assert_eq!(drain(&mut run), [""; 0], "it is not interruptible");
        run.handle_played();
        assert_eq!(drain(&mut run), ["at music", "play quiet.wav None"]);
        run.handle_speech("i want to order");
        assert_eq!(drain(&mut run), ["at menu", "at jingle", "play! jingle.wav Some(2)"], "nobody asks again");
        run.handle_played();
        run.handle_digit('1', 0);
        assert_eq!(drain(&mut run)[2..], ["at menu", "at jingle", "play! jingle.wav Some(2)"]);
        run.handle_played();
        run.handle_speech("");
        assert_eq!(drain(&mut run)[2..], ["at menu", "say Menu?"], "a noise answers nothing");
        run.handle_played();
        run.handle_not_played();
        assert_eq!(drain(&mut run), [""; 0], "nothing is played");
        run.handle_digit('1', 0);
        run.handle_played();
        run.handle_no_input();
        assert_eq!(drain(&mut run).last().unwrap(), "play! jingle.wav Some(2)");
        run.handle_played();
        for _ in 0..SOUNDS_FAILED_MAX {
            run.handle_not_played();
        }
        run.handle_not_played();
        assert_eq!(drain(&mut run).last().unwrap(), "leave PathwayLoop Goodbye.");
    }

    #[test]
    fn a_round_that_never_waits_is_left() {
        let text = r#"
[pathway]
name = "round"
start = "a"
[nodes.a]
kind = "condition"
otherwise = "b"
[nodes.b]
kind = "action"
next = "a"
"#;
        let pathway = Arc::new(Pathway::load("round.toml", text).unwrap());
        let mut run = Run::new(pathway, &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
        run.handle_start();
        let log = drain(&mut run);
        assert_eq!(log.len(), PATHWAY_STEPS_MAX + 1);
        assert_eq!(log.last().unwrap(), "leave PathwayLoop Goodbye.");
    }
}
