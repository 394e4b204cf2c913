//! The configuration as written: a tree of values, each with the place it was written at. The file makes the tree;
//! environment variables are laid over it.
//!
//! A variable `HOOKSWITCH_SECTION__KEY` sets `key` of `[section]`; more `__` go deeper, as in
//! `HOOKSWITCH_AGENTS__RECEPTION__VOICE`. Names match whatever their case, and a character that a variable cannot hold
//! is written `_`: the agent `front-desk` is `FRONT_DESK`, the number `+4930123` is `_4930123`. A variable without
//! `__` is not ours (container systems set such for a service called hookswitch), and an empty one counts as unset.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// In the built-in defaults.
    BuiltIn,
    /// In the file, on this line, counted from one.
    File { line: usize },
    /// In an environment variable of this name.
    Environment { variable: String },
}

/// One value and its place: of a table's entry, that of the key.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What a value can be.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// Nothing that any key takes (a fraction, a date, an integer beyond 64 bits), as it was written.
    Other(String),
}

/// Entries by key, in the order of their names.
pub(super) type Table = BTreeMap<String, Node>;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => {
                let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
                write!(f, "{shown:?}{}", if shown.len() < text.len() { "…" } else { "" })
            }
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
            Self::Other(written) => f.write_str(written),
        }
    }
}

/// A mistake in what was written, before it is known what the values mean.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) origin: Origin,
    pub(super) message: String,
}

/// Whether everything of a section is as it is built in.
pub(super) fn is_built_in(tree: &Table, section: &str) -> bool {
    fn is_built_in(node: &Node) -> bool {
        let inner = match &node.value {
            Value::Table(table) => table.values().all(is_built_in),
            Value::List(items) => items.iter().all(is_built_in),
            Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => true,
        };
        inner && node.origin == Origin::BuiltIn
    }
    tree.get(section).is_some_and(is_built_in)
}

/// Whether `key` of a section is `false`, in a file or in a variable.
pub(super) fn is_off(tree: &Table, section: &str, key: &str) -> bool {
    let Some(Value::Table(section)) = tree.get(section).map(|it| &it.value) else {
        return false;
    };
    match section.get(key).map(|it| &it.value) {
        Some(Value::Boolean(value)) => !value,
        Some(Value::Text(text)) => text.eq_ignore_ascii_case("false"),
        Some(Value::Integer(_) | Value::List(_) | Value::Table(_) | Value::Other(_)) | None => false,
    }
}

/// Reads a whole file. What could be read is returned beside the mistakes.
pub(super) fn parse(text: &str, origin: impl Fn(usize) -> Origin) -> (Table, Vec<Malformed>) {
    let lines = Lines::of(text);
    let at = |offset| origin(lines.line(offset));
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors.iter().map(|error| Malformed {
        origin: at(error.span().map_or(0, |span| span.start)),
        message: format!("not TOML: {}", error.message()),
    });
    (convert_table(table.get_ref(), &at), errors.collect())
}

/// Lays the variables over `table`.
pub(super) fn overlay(table: &mut Table, environment: &BTreeMap<String, String>) -> Vec<Malformed> {
    let mut malformed = vec![];
    for (variable, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(path) = path_of(variable) else {
            continue;
        };
        let origin = Origin::Environment { variable: variable.clone() };
        if let Err(message) = set(table, &path, value, &origin) {
            malformed.push(Malformed { origin, message });
        }
    }
    malformed
}

/// The names between the `__` of one of our variables.
fn path_of(variable: &str) -> Option<Vec<String>> {
    let lower = variable.to_ascii_lowercase();
    let rest = lower.strip_prefix(PREFIX)?;
    rest.contains("__").then(|| rest.split("__").map(str::to_owned).collect())
}

fn set(table: &mut Table, path: &[String], value: &str, origin: &Origin) -> Result<(), String> {
    let Some((name, deeper)) = path.split_first() else {
        return Err("it names a table, not one of its keys".to_owned());
    };
    let key = find(table, name)?;
    if deeper.is_empty() {
        if matches!(table.get(&key), Some(Node { value: Value::Table(_), .. })) {
            return Err(format!("`{key}` is a table: name one of its keys after another `__`"));
        }
        table.insert(key, Node { origin: origin.clone(), value: Value::Text(value.to_owned()) });
        return Ok(());
    }
    let node =
        table.entry(key.clone()).or_insert_with(|| Node { origin: origin.clone(), value: Value::Table(Table::new()) });
    match &mut node.value {
        Value::Table(inner) => set(inner, deeper, value, origin),
        Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => {
            Err(format!("`{key}` is not a table, so nothing can follow it"))
        }
    }
}

/// The key that a variable means by `name`; a new one if there is none yet.
fn find(table: &Table, name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a name between `__` is empty".to_owned());
    }
    let matching: Vec<_> = table.keys().filter(|key| as_in_a_variable(key) == name).collect();
    match matching.as_slice() {
        [] => Ok(match name.strip_prefix('_') {
            Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => format!("+{digits}"),
            Some(_) | None => name.to_owned(),
        }),
        [key] => Ok((*key).clone()),
        [first, second, ..] => Err(format!("it could mean `{first}` or `{second}`")),
    }
}

fn as_in_a_variable(key: &str) -> String {
    key.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' }).collect()
}

fn convert_table(table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) -> Table {
    let entry = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
        let node = Node { origin: at(key.span().start), value: convert(value.get_ref(), at) };
        (key.get_ref().clone().into_owned(), node)
    };
    table.iter().map(entry).collect()
}

fn convert(value: &DeValue<'_>, at: &impl Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
        DeValue::Float(number) => Value::Other(number.to_string()),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node { origin: at(item.span().start), value: convert(item.get_ref(), at) })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, at)),
    }
}

/// Where the lines of a text begin, to find the line of an offset.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// Counted from one.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

/// In lower case, as variables are compared.
pub(super) const PREFIX: &str = "hookswitch_";
const SHOWN_CHARACTERS_MAX: usize = 60;
