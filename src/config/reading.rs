//! Typed reading of a written tree. Every key is asked for by name, so a section knows its keys and reports any other
//! with the nearest one it knows. Mistakes are collected, not returned: a reader goes on with a default, and the whole
//! file is judged at once.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use super::written::{Node, Origin, Table, Value};
use crate::identity::Secret;

/// One mistake and where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) origin: Origin,
    pub(super) message: String,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, origin: Origin, message: String) {
        self.0.borrow_mut().push(Problem { origin, message });
    }

    /// In the order of the file, those of the environment last.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by(|left, right| left.origin.cmp(&right.origin));
        problems.dedup();
        problems
    }
}

/// One table while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// As in its heading: `sip`, `agents.reception.model`.
    path: String,
    table: Option<&'a Table>,
    origin: Origin,
    problems: &'a Problems,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole tree.
    pub(super) const fn root(table: &'a Table, problems: &'a Problems) -> Self {
        Self { path: String::new(), table: Some(table), origin: Origin::BuiltIn, problems, asked: RefCell::new(vec![]) }
    }

    /// The table `key`, or an empty one if it is not written.
    pub(super) fn section(&self, key: &'static str) -> Self {
        self.section_if_any(key).unwrap_or_else(|| Self {
            path: self.path_to(key),
            table: None,
            origin: self.origin.clone(),
            problems: self.problems,
            asked: RefCell::default(),
        })
    }

    /// The table `key`.
    pub(super) fn section_if_any(&self, key: &'static str) -> Option<Self> {
        let node = self.node(key)?;
        self.enter(key, node)
    }

    /// The tables in the table `key`, by their names.
    pub(super) fn sections(&self, key: &'static str) -> Vec<(String, Self)> {
        let Some(outer) = self.section_if_any(key) else {
            return vec![];
        };
        let inner = outer.table.into_iter().flatten();
        inner.filter_map(|(name, node)| Some((name.clone(), outer.enter(name, node)?))).collect()
    }

    /// Any text.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.read(key, "text in quotes", |value| match value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        })
    }

    /// Text that the value's own parser understands; its error says what is allowed.
    pub(super) fn parsed<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.complain(key, &message);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.boolean_or(key, "true or false")
    }

    /// `true` or `false`, of a key whose value may be something else too, as `expected` says.
    pub(super) fn boolean_or(&self, key: &'static str, expected: &str) -> Option<bool> {
        self.read(key, expected, |value| match value {
            Value::Boolean(value) => Some(*value),
            Value::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
            Value::Integer(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        })
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number = |value: &Value| match value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        };
        self.read(key, &expected, |value| number(value).filter(|number| range.contains(number)))
    }

    /// Text that no message ever repeats.
    pub(super) fn secret(&self, key: &'static str) -> Option<Secret> {
        match &self.node(key)?.value {
            Value::Text(text) => Some(Secret::new(text.clone())),
            Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                self.complain_of_secret(key, "expected text in quotes");
                None
            }
        }
    }

    /// A list of text; text alone is a list of one. In a variable, commas stand between the items.
    pub(super) fn list<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let node = self.node(key)?;
        let items: Vec<Node> = match &node.value {
            Value::List(items) => items.clone(),
            Value::Text(text) if matches!(node.origin, Origin::Environment { .. }) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Node { origin: node.origin.clone(), value: Value::Text(item.to_owned()) })
                .collect(),
            Value::Text(_) => vec![node.clone()],
            Value::Integer(_) | Value::Boolean(_) | Value::Table(_) | Value::Other(_) => {
                self.complain(key, "expected a list of text in quotes");
                return None;
            }
        };
        let item = |item: &Node| {
            let value = match &item.value {
                Value::Text(text) => parse(text),
                Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                    Err("expected text in quotes".to_owned())
                }
            };
            value.map_err(|message| self.complain_at(&item.origin, key, &item.value, &message)).ok()
        };
        Some(items.iter().filter_map(item).collect())
    }

    /// A list whose items are text or tables.
    pub(super) fn items<T>(
        &self,
        key: &'static str,
        text: impl Fn(&str) -> Result<T, String>,
        table: impl Fn(&Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let node = self.node(key)?;
        let Value::List(items) = &node.value else { return self.list(key, text) };
        let mut read = vec![];
        for item in items {
            match &item.value {
                Value::Text(written) => match text(written) {
                    Ok(value) => read.push(value),
                    Err(message) => self.complain_at(&item.origin, key, &item.value, &message),
                },
                Value::Table(_) => {
                    if let Some(section) = self.enter(key, item) {
                        read.extend(table(&section));
                        section.finish();
                    }
                }
                Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => {
                    self.complain_at(&item.origin, key, &item.value, "expected text in quotes, or a table");
                }
            }
        }
        Some(read)
    }

    /// A table of text by names, which a list of `name=text` may stand for.
    pub(super) fn pairs(&self, key: &'static str) -> Option<Vec<(String, String)>> {
        let node = self.node(key)?;
        let Value::Table(table) = &node.value else {
            return self.list(key, |item| {
                let (name, text) = item.split_once('=').unwrap_or(("", item));
                Ok((name.trim().to_owned(), text.trim().to_owned()))
            });
        };
        let mut pairs = vec![];
        for (name, inner) in table {
            if let Value::Text(text) = &inner.value {
                pairs.push((name.clone(), text.clone()));
            } else {
                self.complain_at(&inner.origin, key, &inner.value, "expected text in quotes");
            }
        }
        Some(pairs)
    }

    /// Whether `key` is written as text, which some keys take in place of something else.
    pub(super) fn text_if_any(&self, key: &'static str) -> Option<&'a str> {
        match &self.node(key)?.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        }
    }

    /// Whether `key` is written as a list, or as text of a variable that may be one.
    pub(super) fn is_list(&self, key: &'static str) -> bool {
        self.node(key).is_some_and(|node| matches!(node.value, Value::List(_)))
    }

    /// Where `key` is written.
    pub(super) fn origin(&self, key: &str) -> Option<&'a Origin> {
        self.table?.get(key).map(|node| &node.origin)
    }

    /// Reports a mistake in the value of `key`, or in the section if the key is not written.
    pub(super) fn complain(&self, key: &'static str, message: &str) {
        match self.table.and_then(|table| table.get(key)) {
            Some(node) => self.complain_at(&node.origin, key, &node.value, message),
            None => self.complain_of_section(&format!("{key}: {message}")),
        }
    }

    /// As [`Section::complain`], without repeating the value.
    pub(super) fn complain_of_secret(&self, key: &'static str, message: &str) {
        let origin = self.origin(key).unwrap_or(&self.origin).clone();
        self.problems.add(origin, format!("{}{key}: {message}", self.prefix()));
    }

    /// Reports a mistake in the section as a whole.
    pub(super) fn complain_of_section(&self, message: &str) {
        self.problems.add(self.origin.clone(), format!("{}{message}", self.prefix()));
    }

    /// Reports the keys that nothing asked for, and returns those that were.
    pub(super) fn finish(self) -> Vec<&'static str> {
        let mut known = self.asked.take();
        known.sort_unstable();
        known.dedup();
        for (key, node) in self.table.into_iter().flatten() {
            if known.contains(&key.as_str()) {
                continue;
            }
            let nearest = nearest(key, &known);
            let all = known.join(", ");
            let message = if self.path.is_empty() {
                let guess = nearest.map_or_else(|| ".".to_owned(), |it| format!("; did you mean [{it}]?"));
                format!("there is no section [{key}]{guess} Sections: {all}")
            } else {
                let guess = nearest.map_or_else(|| ".".to_owned(), |it| format!("; did you mean `{it}`?"));
                format!("{}there is no key `{key}`{guess} Keys: {all}", self.prefix())
            };
            self.problems.add(node.origin.clone(), message);
        }
        known
    }

    fn read<T>(&self, key: &'static str, expected: &str, parse: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let node = self.node(key)?;
        let value = parse(&node.value);
        if value.is_none() {
            self.complain(key, &format!("expected {expected}"));
        }
        value
    }

    fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.table?.get(key)
    }

    fn enter(&self, key: &str, node: &'a Node) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            let message =
                format!("{}{key} = {}: expected the table [{}]", self.prefix(), node.value, self.path_to(key));
            self.problems.add(node.origin.clone(), message);
            return None;
        };
        Some(Self {
            path: self.path_to(key),
            table: Some(table),
            origin: node.origin.clone(),
            problems: self.problems,
            asked: RefCell::default(),
        })
    }

    fn complain_at(&self, origin: &Origin, key: &str, value: &Value, message: &str) {
        self.problems.add(origin.clone(), format!("{}{key} = {value}: {message}", self.prefix()));
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("[{}] ", self.path) }
    }

    fn path_to(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-');
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

/// The one of `known` that `written` is most likely a slip of.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let written = written.to_ascii_lowercase();
    let distance_max = (written.len() / 3).clamp(1, 3);
    let ranked = known.iter().map(|it| (distance(&written, it), *it)).filter(|(distance, _)| *distance <= distance_max);
    ranked.min_by_key(|(distance, _)| *distance).map(|(_, it)| it)
}

/// How many characters must be added, left out or replaced to make one text of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut costs: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.chars().enumerate() {
        let mut diagonal = row;
        let mut before = row + 1;
        let mut next = vec![before];
        for (above, to) in costs.iter().skip(1).zip(&right) {
            before = (diagonal + usize::from(from != *to)).min(above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        costs = next;
    }
    costs.last().copied().unwrap_or_default()
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in configuration"),
            Self::File { line } => write!(f, "line {line}"),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}
