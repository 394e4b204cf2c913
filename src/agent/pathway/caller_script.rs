//! [`CallerScript`]: what a scripted caller says to a pathway, turn by turn; data for demonstrations and tests.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A scripted caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerScript {
    /// The name of the pathway that it is made for.
    pub pathway: String,
    /// How long the agent must have been silent before the caller speaks, in milliseconds.
    pub silence_ms: u32,
    /// The turns in order.
    pub turns: Vec<CallerTurn>,
    /// What is said at a node that no turn stands at, by the name of the node: the agent may ask for what it did not
    /// understand.
    #[serde(default)]
    pub answers: BTreeMap<String, String>,
}

/// One turn of a scripted caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerTurn {
    /// The node that the agent must stand at.
    pub at: String,
    /// What the caller says.
    pub say: String,
    /// The node that the agent is then to reach.
    pub leads_to: String,
}

impl CallerScript {
    /// Reads a script; the error names the line.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The caller of the demo: four turns with [`super::Pathway::receptionist`].
    pub fn receptionist() -> Self {
        let text = include_str!("../../../pathways/receptionist-caller.toml");
        Self::parse(text).expect("the built-in script is read by a test")
    }
}
