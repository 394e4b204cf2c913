//! Pieces of messages: UTF-8 that shares the message's buffer, places in it, and the character classes of RFC 3261 §25.1.

use std::ops::Range;

use bytes::Bytes;

/// UTF-8 over [`Bytes`]: cloning and cutting share the buffer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Text(Bytes);

impl Text {
    pub(crate) fn copy(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The bytes must be UTF-8.
    pub(crate) const fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a text is made from UTF-8 and cut at character boundaries")
    }

    /// `part` must have been cut from this text.
    #[inline]
    pub(crate) fn share(&self, part: &str) -> Self {
        if part.is_empty() { Self::default() } else { Self(self.0.slice_ref(part.as_bytes())) }
    }

    #[inline]
    pub(crate) fn at(&self, span: Span) -> &str {
        self.cut(usize::from(span.start)..usize::from(span.end))
    }

    /// The range must begin and end at character boundaries.
    #[inline]
    pub(crate) fn cut(&self, range: Range<usize>) -> &str {
        let bytes = self.0.get(range).unwrap_or_default();
        std::str::from_utf8(bytes).expect("a text is made from UTF-8 and cut at character boundaries")
    }
}

/// A part of a text of at most 64 KiB: a header line, a URI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { start: 0, end: 0 };

    /// The place of `part`, which must have been cut from `whole`.
    #[inline]
    pub(crate) fn within(whole: &str, part: &str) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let place = |it: usize| u16::try_from(it).unwrap_or(u16::MAX);
        Self { start: place(start), end: place(start + part.len()) }
    }

    /// As [`Self::within`], where an empty `part` may come from anywhere.
    #[inline]
    pub(crate) fn of_part(whole: &str, part: &str) -> Self {
        if part.is_empty() { Self::EMPTY } else { Self::within(whole, part) }
    }

    #[inline]
    pub(crate) fn of(self, whole: &str) -> &str {
        whole.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
}

/// `token` of RFC 3261 §25.1.
#[inline]
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[inline]
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Whether a byte is of one of these classes.
#[inline]
pub(crate) const fn is(byte: u8, classes: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "the table has an entry for every byte")]
    let of = CLASSES[byte as usize];
    of & classes != 0
}

/// `token`.
pub(crate) const TOKEN: u8 = 1;
/// What may stand in a user or password; `%` is looked at apart.
pub(crate) const USER: u8 = 2;
/// What needs no escape when we write a user. `;`, `?`, `/` would be legal; many parsers stumble over them.
pub(crate) const USER_SAFE: u8 = 4;
/// What may stand in URI parameters and headers; `%` is looked at apart.
pub(crate) const URI_PARAM: u8 = 8;
/// What may stand in a host name.
pub(crate) const HOST: u8 = 16;
/// What may stand in the unquoted value of a header parameter.
pub(crate) const VALUE: u8 = 32;

/// One look tells all classes of a byte.
static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs in the compiler, which would refuse"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let byte = at as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        let mut of = 0;
        if alphanumeric || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            of |= TOKEN;
        }
        if alphanumeric
            || matches!(
                byte,
                b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b'&' | b'=' | b'+' | b'$' | b','
            )
        {
            of |= USER | USER_SAFE;
        }
        if matches!(byte, b';' | b'?' | b'/' | b'#') || !byte.is_ascii() {
            of |= USER;
        }
        if (byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'@' | b'\\' | b'%')) || !byte.is_ascii() {
            of |= URI_PARAM;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_') {
            of |= HOST;
        }
        if !byte.is_ascii_control() && !matches!(byte, b' ' | b'"' | b'<' | b'>' | b',' | b';') {
            of |= VALUE;
        }
        table[at] = of;
        at += 1;
    }
    table
}

/// Stands for a byte that is not UTF-8.
pub(crate) const SUBSTITUTE: u8 = 0x1a;

/// Cuts spaces and tabs, and nothing else: what other parsers take for white space is how headers are smuggled.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [] => text,
        [first, .., last] if !is_blank_byte(*first) && !is_blank_byte(*last) => text,
        _ => text.trim_matches(is_blank),
    }
}

pub(crate) const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

#[inline]
pub(crate) const fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Splits at the first of an ASCII byte.
#[inline]
pub(crate) fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let found = memchr::memchr(at, text.as_bytes())?;
    Some((text.get(..found)?, text.get(found + 1..)?))
}

/// An unsigned number of digits only; `str::parse` alone would take a sign.
#[inline]
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    if text.is_empty() || !text.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Cuts the quoted string that `text` starts with: what is between its quotes, still escaped, and what follows it.
pub(crate) fn quoted(text: &str) -> Option<(&str, &str)> {
    let length = quoted_length(text.as_bytes())?;
    Some((text.get(1..length - 1)?, text.get(length..)?))
}

/// Bytes of the quoted string at the front, its quotes included.
pub(crate) fn quoted_length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut from = 1;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        from = at + 2;
    }
}

/// Takes the backslashes of quoted pairs away.
pub(crate) fn unescape_quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for character in text.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(character);
            escaped = false;
        }
    }
    plain.into()
}

/// Splits at `separator`, but not inside quoted strings and angle brackets. The parts are trimmed. Linear: every byte
/// is looked at once.
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

pub(crate) const fn split(text: &str, separator: u8) -> Split<'_> {
    Split { rest: Some(text), separator }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let bytes = rest.as_bytes();
        let (mut from, mut bracketed) = (0, false);
        while let Some(found) = bytes.get(from..).and_then(|it| memchr::memchr3(self.separator, b'"', b'<', it)) {
            let at = from + found;
            match bytes.get(at) {
                Some(b'"') => match rest.get(at..).and_then(quoted) {
                    Some((_, after)) => from = rest.len() - after.len(),
                    None => break,
                },
                // A bracket that is not closed ends nothing: the element's own grammar refuses it.
                Some(b'<') if !bracketed => {
                    match bytes.get(at..).and_then(|it| memchr::memchr(b'>', it)) {
                        Some(length) => from = at + length + 1,
                        None => (from, bracketed) = (at + 1, true),
                    };
                }
                Some(b'<') => from = at + 1,
                _ => {
                    self.rest = rest.get(at + 1..);
                    return rest.get(..at).map(trim);
                }
            }
        }
        self.rest = None;
        Some(trim(rest))
    }
}
