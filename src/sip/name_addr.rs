//! `name-addr` and `addr-spec` with their parameters: From, To, Contact, Route and their kin (RFC 3261 §20.10, §25.1).
//!
//! Deviations: an unquoted display name may hold any character but `,`, `;`, `"`, `<`, `>` and control characters.

use std::borrow::Cow;
use std::fmt;

use super::params::Params;
use super::text::{SUBSTITUTE, Span, Text, cut, is_token, quoted, trim, unescape_quoted};
use super::uri::{Uri, UriError};

/// A display name, a URI and parameters, as written: displayed byte for byte.
#[derive(Clone)]
pub struct NameAddr {
    /// Its element is this whole address.
    uri: Uri,
    display: Option<Span>,
    params: Span,
}

impl NameAddr {
    /// Reads one address, with or without angle brackets.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let text = Text::copy(text);
        Self::read(&text, text.as_str())
    }

    /// `"display" <uri>`, the display name quoted and escaped. Control characters in it are refused.
    pub fn new(display: Option<&str>, uri: &Uri) -> Result<Self, UriError> {
        let Some(display) = display else {
            return Self::parse(&format!("<{uri}>"));
        };
        if display.chars().any(char::is_control) {
            return Err(UriError("control character in the display name"));
        }
        let escaped = display.replace('\\', "\\\\").replace('"', "\\\"");
        Self::parse(&format!("\"{escaped}\" <{uri}>"))
    }

    /// Reads `part`, which was cut from `text`.
    pub(crate) fn read(text: &Text, part: &str) -> Result<Self, UriError> {
        let whole = trim(part);
        let (display, addr, after) = if whole.starts_with('<') {
            let (addr, after) = bracketed(whole)?;
            (None, addr, after)
        } else if whole.starts_with('"') {
            let (_, after) = quoted(whole).ok_or(UriError("quote not closed"))?;
            let display = whole.get(..whole.len() - after.len());
            let (addr, after) = bracketed(trim(after))?;
            (display, addr, after)
        } else if let Some(at) = memchr::memchr(b'<', whole.as_bytes()) {
            let (display, rest) = whole.split_at_checked(at).unwrap_or((whole, ""));
            let display = trim(display);
            if !display.bytes().all(may_stand_unquoted) {
                return Err(UriError("bad display name"));
            }
            let (addr, after) = bracketed(rest)?;
            (Some(display), addr, after)
        } else {
            let end = memchr::memchr(b';', whole.as_bytes()).unwrap_or(whole.len());
            let (addr, after) = whole.split_at_checked(end).unwrap_or((whole, ""));
            // RFC 3261 §20.10: with any of these the address must stand in brackets.
            if addr.bytes().any(|it| matches!(it, b',' | b'?')) {
                return Err(UriError("address needs angle brackets"));
            }
            (None, trim(addr), after)
        };
        let mut params = trim(after);
        if !params.is_empty() {
            params = trim(params.strip_prefix(';').ok_or(UriError("trash after the address"))?);
            if !Params::new(params).is_well_formed() {
                return Err(UriError("bad parameters"));
            }
        }
        let uri = Uri::read_part(text, whole, addr)?;
        let (display, params) = (display.map(|it| Span::within(whole, it)), Span::of_part(whole, params));
        Ok(Self { uri, display, params })
    }

    /// The display name without quotes and escapes.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        let display = self.uri.element().at(self.display?);
        Some(quoted(display).map_or(Cow::Borrowed(display), |(inner, _)| unescape_quoted(inner)))
    }

    /// The address. A clone of it keeps this whole element; [`Uri::detached`] does not.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The parameters of the header, not those of the URI.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.uri.element().at(self.params))
    }

    /// The tag of a From or To (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params().value("tag")
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.uri.element().as_str()
    }

    /// A copy that does not keep the message alive from which this was read.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::parse(self.as_str()).expect("an address that was read once can be read again")
    }

    /// With a parameter appended. What would be more than a token and a value is refused.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<Self, UriError> {
        let param = value.map_or_else(|| name.to_owned(), |it| format!("{name}={it}"));
        if !is_token(name) || Params::new(&param).iter().count() != 1 {
            return Err(UriError("more than a parameter"));
        }
        // Without brackets a parameter is the header's, as it should be.
        Self::parse(&format!("{};{param}", self.as_str()))
    }
}

/// Old telephones send names in Latin-1: what is not UTF-8 may stand.
const fn may_stand_unquoted(byte: u8) -> bool {
    let is_control = byte.is_ascii_control() && byte != b'\t' && byte != SUBSTITUTE;
    !is_control && !matches!(byte, b',' | b';' | b'"' | b'>')
}

/// What stands in the angle brackets that `text` must begin with, and what follows them.
#[inline]
fn bracketed(text: &str) -> Result<(&str, &str), UriError> {
    let rest = text.strip_prefix('<').ok_or(UriError("no address after the display name"))?;
    cut(rest, b'>').ok_or(UriError("bracket not closed"))
}

impl PartialEq for NameAddr {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for NameAddr {}

impl std::str::FromStr for NameAddr {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Without display name and user, which are personal data.
impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, display: Option<&str>, uri: &str, tag: Option<&str>) {
        let address = NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(address.display_name().as_deref(), display, "{text}");
        assert_eq!((address.uri().as_str(), address.tag(), address.as_str()), (uri, tag, text.trim()), "{text}");
    }

    #[test]
    fn addresses_are_read_whatever_their_dress() {
        check("sip:a@b", None, "sip:a@b", None);
        check("sip:a@b;tag=x", None, "sip:a@b", Some("x"));
        check("sip:a@b ; tag = x", None, "sip:a@b", Some("x"));
        check("<sip:a@b;p=1?h=2>;Tag=x;q=1", None, "sip:a@b;p=1?h=2", Some("x"));
        check(" Alice B  <sip:a@b> ", Some("Alice B"), "sip:a@b", None);
        check("Alice<sip:a@b>", Some("Alice"), "sip:a@b", None);
        check("\"\" <sip:a@b>", Some(""), "sip:a@b", None);
        check("\"A, \\\"B\\\" <c> \\\\\"<tel:+1>;tag=x", Some("A, \"B\" <c> \\"), "tel:+1", Some("x"));
        check("J\u{fc}rgen <sip:a@b>", Some("J\u{fc}rgen"), "sip:a@b", None);
        check("<urn:service:sos>", None, "urn:service:sos", None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            "\"a <sip:a@b>",
            "\"a\" sip:a@b",
            "a, b <sip:a@b>",
            "a \"b\" <sip:a@b>",
            "\u{1}<sip:a@b>",
            "<sip:a@b>;x=\u{7f}",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
        for bad in
            ["< sip:a@b>", "<sip:a@b >", "<sip:a@b>;", "<sip:a@b>;;", "<sip:a@b> x", "<sip:a@b>;tag=", "sip:a@b?h=1"]
        {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_written() {
        let uri = Uri::parse("sip:a@b;x=1").expect("valid");
        let address =
            NameAddr::new(Some("A \"B\" \\"), &uri).and_then(|it| it.with_param("tag", Some("t"))).expect("valid");
        assert_eq!(address.to_string(), "\"A \\\"B\\\" \\\\\" <sip:a@b;x=1>;tag=t");
        assert_eq!(address.display_name().as_deref(), Some("A \"B\" \\"));
        assert!(NameAddr::new(Some("A\r\nB"), &uri).is_err());
        for evil in ["1\r\nEvil: 2", "1;y=2", "1, <sip:c@d>", ""] {
            assert!(address.with_param("x", Some(evil)).is_err(), "{evil}");
        }
        assert_eq!(format!("{address:?}"), "<sip:<redacted>@b>");
    }
}
