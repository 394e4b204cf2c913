//! [`Secret`]: a key or token that cannot reach a log by accident.

use std::fmt;

/// An API key or token. `Debug` shows that there is one, never which; it has no `Display` and is not serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a key.
    pub fn new(key: impl Into<Box<str>>) -> Self {
        Self(key.into())
    }

    /// The key itself, for the wire. The name keeps every disclosure searchable.
    pub const fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the key in it: services quote the key they were given in their errors.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&*self.0, "<secret>") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_print() {
        let key = Secret::new("sk-1234");
        assert_eq!(format!("{key:?}"), "Secret(<redacted>)");
        assert_eq!(key.redact("bad key sk-1234!"), "bad key <secret>!");
        assert_eq!(Secret::new("").redact("as it is"), "as it is");
    }
}
