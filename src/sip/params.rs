//! Parameters after a semicolon: `uri-parameters` and `generic-param` of RFC 3261 §25.1.

use std::borrow::Cow;

use super::text::{
    Split, VALUE, cut, is, is_blank_byte, is_token_byte, quoted, quoted_length, split, trim, unescape_quoted,
};

/// The parameters of a URI or of a header, in their order. Names are compared without regard to case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// `text` is what follows the first semicolon.
    #[inline]
    pub(crate) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// As written, without the first semicolon.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each. Values are as written, quotes and escapes included.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        self.split().filter(|it| !it.is_empty()).map(pair)
    }

    /// The first of this name: `None` if there is none, `Some(None)` if it has no value.
    pub fn get(self, name: &str) -> Option<Option<&'a str>> {
        self.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first of this name, as written.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.get(name).flatten()
    }

    /// The value of the first of this name, without its quotes.
    pub fn unquoted(self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.value(name)?;
        Some(quoted(value).map_or(Cow::Borrowed(value), |(inner, _)| unescape_quoted(inner)))
    }

    /// Whether there is one of this name.
    pub fn contains(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether this is `generic-param *(SEMI generic-param)`, tolerant of what stands in an unquoted value.
    pub(crate) fn is_well_formed(self) -> bool {
        let mut rest = self.0.as_bytes();
        loop {
            let Some(after) = one(rest) else {
                return false;
            };
            match after.split_first() {
                None => return true,
                Some((b';', after)) => rest = after,
                Some(_) => return false,
            }
        }
    }

    fn split(self) -> Split<'a> {
        split(self.0, b';')
    }
}

fn pair(text: &str) -> (&str, Option<&str>) {
    match cut(text, b'=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (text, None),
    }
}

/// What follows the parameter at the front.
#[inline]
fn one(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = skip(bytes, is_blank_byte);
    let after = skip(bytes, is_token_byte);
    if after.len() == bytes.len() {
        return None;
    }
    let after = skip(after, is_blank_byte);
    let Some((b'=', value)) = after.split_first() else {
        return Some(after);
    };
    let value = skip(value, is_blank_byte);
    let after = match value.first() {
        Some(b'"') => value.get(quoted_length(value)?..)?,
        _ => skip(value, |it| is(it, VALUE)),
    };
    (after.len() < value.len()).then(|| skip(after, is_blank_byte))
}

#[inline]
fn skip(bytes: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let count = bytes.iter().position(|it| !is_skipped(*it)).unwrap_or(bytes.len());
    bytes.get(count..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_whatever_their_dress() {
        let params = Params::new("tag=a ; X = \"semi;colon \\\"q\\\"\";lr; a=b=c");
        assert_eq!(params.value("TAG"), Some("a"));
        assert_eq!(params.unquoted("x").as_deref(), Some("semi;colon \"q\""));
        assert_eq!((params.get("lr"), params.get("none")), (Some(None), None));
        assert_eq!(params.value("a"), Some("b=c"));
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn malformed_parameters_are_told() {
        for (text, well) in [
            ("a", true),
            ("a=b;c", true),
            ("a=\"b", false),
            (";", false),
            ("a=", false),
            ("a b", false),
            ("a=\"b\"c", false),
        ] {
            assert_eq!(Params::new(text).is_well_formed(), well, "{text}");
        }
    }
}
