//! What is wrong with a pathway as a whole: words that mean two things, intents that nobody asks for, nodes that
//! nothing leads to, and rounds that never wait for the caller.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Loader;
use super::node::{LAST_MARK, Node};
use super::problem::Problem;
use super::words::Words;
use super::{GlobalWay, Pathway};

/// The same phrase, or the same keyword, in two intents or twice in one.
pub(super) fn duplicates(loader: &mut Loader<'_>) {
    let document = loader.document;
    let mut intents: Vec<_> = document.intents.iter().collect();
    intents.sort_by_key(|(name, _)| name.span().start);
    let mut phrases = BTreeMap::new();
    let mut keywords = BTreeMap::new();
    for (name, entry) in intents {
        for (texts, seen) in [(&entry.phrases, &mut phrases), (&entry.keywords, &mut keywords)] {
            for text in texts {
                if let Some(other) = seen.insert(Words::of(text.get_ref()), name.get_ref()) {
                    let problem =
                        Problem::Duplicate { phrase: text.get_ref().clone(), other: format!("intent `{other}`") };
                    loader.wrong(text.span(), format!("intent `{}`", name.get_ref()), problem);
                }
            }
        }
    }
}

/// Intents that no `listen` node and no `[global]` names.
pub(super) fn unused_intents(loader: &mut Loader<'_>, pathway: &Pathway) {
    let mut used: BTreeSet<&str> = pathway.global.iter().map(|(intent, _)| intent.as_str()).collect();
    for node in pathway.nodes.values() {
        if let Node::Listen(listen) = node {
            used.extend(listen.on.iter().map(|(intent, _)| intent.as_str()));
        }
    }
    let document = loader.document;
    for name in document.intents.keys().filter(|it| !used.contains(it.get_ref().as_str())) {
        loader.wrong(name.span(), format!("intent `{}`", name.get_ref()), Problem::UnusedIntent);
    }
}

/// Nodes that neither the start nor a global intent leads to.
pub(super) fn unreachable(loader: &mut Loader<'_>, pathway: &Pathway) {
    let mut reached = BTreeSet::new();
    let mut open = vec![pathway.start.as_str()];
    for (_, way) in &pathway.global {
        match way {
            GlobalWay::Node(name) => open.push(name),
            GlobalWay::Repeat => (),
        }
    }
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(pathway.nodes.get(name).map(Node::targets).unwrap_or_default());
        }
    }
    let document = loader.document;
    for name in document.nodes.keys().filter(|it| !reached.contains(it.get_ref().as_str())) {
        let problem = Problem::Unreachable { start: pathway.start.clone() };
        loader.wrong(name.span(), format!("node `{}`", name.get_ref()), problem);
    }
}

/// Marks that a `condition` asks for and no sound has.
pub(super) fn unknown_marks(loader: &mut Loader<'_>, pathway: &Pathway) {
    let marks = |node: &Node| match node {
        Node::Play(play) => play.marks.values().cloned().collect(),
        Node::Say { .. }
        | Node::Listen(_)
        | Node::Collect(_)
        | Node::Condition { .. }
        | Node::Action(_)
        | Node::Transfer { .. }
        | Node::End { .. } => vec![],
    };
    let known: BTreeSet<String> = pathway.nodes.values().flat_map(marks).collect();
    if known.is_empty() {
        // Then it is a variable like any other.
        return;
    }
    let document = loader.document;
    for (name, entry) in &document.nodes {
        for when in entry.when.iter().flat_map(|it| it.get_ref()) {
            let Some(mark) = when.equals.as_ref().filter(|_| when.variable.get_ref() == LAST_MARK) else { continue };
            let is_known = mark.is_empty() || known.iter().any(|it| it.to_lowercase() == mark.trim().to_lowercase());
            if !is_known {
                let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let why = format!("no sound has a mark `{mark}`; marks are: {known}");
                let place = format!("node `{}`", name.get_ref());
                loader.wrong(when.variable.span(), place, Problem::Invalid { key: "when", why });
            }
        }
    }
}

/// Rounds of `say` and `action` nodes only. A round through a `condition` may end, and is bounded when it runs.
pub(super) fn never_waiting(loader: &mut Loader<'_>, pathway: &Pathway) {
    let mut known = BTreeSet::new();
    let document = loader.document;
    for name in document.nodes.keys() {
        let mut way = vec![name.get_ref().as_str()];
        while let Some(next) = way.last().and_then(|it| follows_by_itself(pathway, it)) {
            let Some(at) = way.iter().position(|it| *it == next) else {
                way.push(next);
                continue;
            };
            let round = way.split_off(at);
            if at == 0 && !round.iter().any(|it| known.contains(it)) {
                known.extend(round.iter().copied());
                let problem = Problem::NeverWaits { way: format!("{} -> {next}", round.join(" -> ")) };
                loader.wrong(name.span(), format!("node `{}`", name.get_ref()), problem);
            }
            break;
        }
    }
}

fn follows_by_itself<'a>(pathway: &'a Pathway, name: &str) -> Option<&'a str> {
    match pathway.nodes.get(name)? {
        Node::Say { next, .. } => Some(next),
        Node::Action(action) => Some(&action.next),
        Node::Play(_)
        | Node::Listen(_)
        | Node::Collect(_)
        | Node::Condition { .. }
        | Node::Transfer { .. }
        | Node::End { .. } => None,
    }
}
