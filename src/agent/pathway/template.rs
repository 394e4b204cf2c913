//! [`Template`]: a text with `{{name}}` and `{{name|default}}` in it.
//!
//! A variable that has no value, or an empty one, gives its default; without a default it gives nothing. A name that
//! was never given a value, not even an empty one, is reported, so that the call record can show it.

use std::collections::BTreeMap;

/// A text that may name variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { name: String, default: Option<String> },
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is not closed by `}}}}`")]
    Unclosed,
    /// The name between the braces is not one.
    #[error("`{name}` is not a variable name: letters, digits and `_` are allowed, then `|` and a default")]
    Name {
        /// What stands there.
        name: String,
    },
}

/// A template with its variables put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text, with runs of blanks that an empty variable left made one.
    pub text: String,
    /// The names that had neither a value nor a default.
    pub missing: Vec<String>,
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = vec![];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (name, default) = match inside.split_once('|') {
                Some((name, default)) => (name.trim(), Some(default.trim().to_owned())),
                None => (inside.trim(), None),
            };
            if !is_variable_name(name) {
                return Err(TemplateError::Name { name: name.to_owned() });
            }
            pieces.push(Piece::Variable { name: name.to_owned(), default });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// Puts the variables in.
    pub fn render(&self, variables: &BTreeMap<String, String>) -> Rendered {
        let mut text = String::new();
        let mut missing = vec![];
        for piece in &self.pieces {
            match piece {
                Piece::Text(it) => push_text(&mut text, it),
                Piece::Variable { name, default } => {
                    let value = variables.get(name);
                    match value.filter(|it| !it.trim().is_empty()).or(default.as_ref()) {
                        Some(it) => push_text(&mut text, it),
                        None if value.is_some() => (),
                        None => missing.push(name.clone()),
                    }
                }
            }
        }
        Rendered { text: text.trim().to_owned(), missing }
    }
}

/// Whether `name` can name a variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// Appends, leaving out a blank that would follow another one.
fn push_text(text: &mut String, piece: &str) {
    let after_blank = text.is_empty() || text.ends_with(char::is_whitespace);
    text.push_str(if after_blank { piece.trim_start() } else { piece });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str, missing: &[&str]) {
        let variables = BTreeMap::from([
            ("name".to_owned(), "Ada".to_owned()),
            ("blank".to_owned(), " ".to_owned()),
            ("braces".to_owned(), "{{name}}".to_owned()),
        ]);
        let rendered = Template::parse(text).unwrap().render(&variables);
        assert_eq!(
            (rendered.text.as_str(), rendered.missing),
            (expected, missing.iter().map(|it| it.to_string()).collect())
        );
    }

    #[test]
    fn variables_have_values_defaults_or_leave_nothing() {
        check("Hello {{name}}!", "Hello Ada!", &[]);
        check("Hello {{ nobody | there }}!", "Hello there!", &[]);
        check("Hello {{blank|there}}!", "Hello there!", &[]);
        check("Dear {{nobody}} caller", "Dear caller", &["nobody"]);
        check("{{nobody}}", "", &["nobody"]);
        check("{{nobody|}}", "", &[]);
        check("{{blank}}", "", &[]);
        check("no } variable { here", "no } variable { here", &[]);
        // A value is never read as a template again.
        check("{{braces}}", "{{name}}", &[]);
    }

    #[test]
    fn malformed_templates_are_refused() {
        assert_eq!(Template::parse("a {{b"), Err(TemplateError::Unclosed));
        assert_eq!(Template::parse("{{}}"), Err(TemplateError::Name { name: String::new() }));
        assert_eq!(Template::parse("{{a b}}"), Err(TemplateError::Name { name: "a b".to_owned() }));
    }
}
