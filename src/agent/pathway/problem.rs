//! What can be wrong with a pathway, each with its line, and what would have been right.

use std::fmt;

/// Everything that is wrong with one pathway, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathwayErrors {
    /// The file, as the caller of the loader named it.
    pub file: String,
    /// At least one.
    pub errors: Vec<PathwayError>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathwayError {
    /// The line in the file, from one.
    pub line: usize,
    /// Where in the pathway, such as "node `welcome`"; empty if the file as a whole is meant.
    pub place: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML, an unknown key, or a value of the wrong type; the reader's own words.
    #[error("{0}")]
    Syntax(String),
    /// A bound of `limits.rs`.
    #[error("{what} are more than the {max} allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A node that no node has as its name.
    #[error("`{key}` leads to `{target}`, which is no node; nodes are: {allowed}")]
    UnknownTarget {
        /// The key that names it.
        key: String,
        /// The name.
        target: String,
        /// The names there are.
        allowed: String,
    },
    /// A node that the start does not lead to.
    #[error("no way leads here from the start node `{start}`")]
    Unreachable {
        /// The start.
        start: String,
    },
    /// An intent that `[intents]` does not have.
    #[error("`{key}` names the intent `{intent}`, which is not defined; intents are: {allowed}")]
    UnknownIntent {
        /// The key that names it.
        key: &'static str,
        /// The name.
        intent: String,
        /// The names there are.
        allowed: String,
    },
    /// An intent that no node and no global names.
    #[error("nothing asks for this intent: name it in the `on` of a node or in `[global]`")]
    UnusedIntent,
    /// An intent that nothing can match.
    #[error("the intent has neither `phrases` nor `keywords`")]
    EmptyIntent,
    /// The same words in two places that could both match.
    #[error("\"{phrase}\" is also said for {other}")]
    Duplicate {
        /// The words.
        phrase: String,
        /// Where else they are.
        other: String,
    },
    /// A slot that `[slots]` does not have.
    #[error("the slot `{slot}` is not defined; slots are: {allowed}")]
    UnknownSlot {
        /// The name.
        slot: String,
        /// The names there are.
        allowed: String,
    },
    /// A kind, type or the like that does not exist.
    #[error("`{key} = \"{value}\"` is not allowed; allowed are: {allowed}")]
    UnknownValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A key that this kind of node does not take.
    #[error("a `{kind}` node does not take `{key}`; it takes: {allowed}")]
    NotTaken {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
        /// What it takes.
        allowed: String,
    },
    /// A key that this kind needs.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it is for.
        why: &'static str,
    },
    /// A value that cannot be used.
    #[error("`{key}`: {why}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Why, and what is allowed.
        why: String,
    },
    /// Nodes that lead to each other and never wait for the caller.
    #[error("this node comes back to itself without waiting for the caller ({way})")]
    NeverWaits {
        /// The nodes on the way.
        way: String,
    },
}

impl fmt::Display for PathwayErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: ", self.file, error.line)?;
            if !error.place.is_empty() {
                write!(f, "{}: ", error.place)?;
            }
            write!(f, "{}", error.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for PathwayErrors {}
