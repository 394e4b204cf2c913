//! `name-addr` and `addr-spec` with their parameters: From, To, Contact, Route and their kin (RFC 3261 §20.10, §25.1).
//!
//! Deviations: an unquoted display name may hold any character but `,`, `;`, `"`, `<` and `>`.

use std::borrow::Cow;
use std::fmt;

use super::params::Params;
use super::text::{Span, Text, quoted, trim, unescape_quoted};
use super::uri::{Uri, UriError};

/// A display name, a URI and parameters, as written: displayed byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct NameAddr {
    text: Text,
    display: Option<Span>,
    uri: Uri,
    params: Span,
}

impl NameAddr {
    /// Reads one address, with or without angle brackets.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        Self::read(Text::copy(text))
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

    pub(crate) fn read(text: Text) -> Result<Self, UriError> {
        let whole = trim(text.as_str());
        let (display, addr, after) = if whole.starts_with('"') {
            let (_, after) = quoted(whole).ok_or(UriError("quote not closed"))?;
            let display = whole.get(..whole.len() - after.len()).unwrap_or_default();
            let rest = trim(after).strip_prefix('<').ok_or(UriError("no address after the display name"))?;
            let (addr, after) = rest.split_once('>').ok_or(UriError("bracket not closed"))?;
            (Some(display), addr, after)
        } else if let Some((display, rest)) = whole.split_once('<') {
            let display = trim(display);
            if display.contains([',', ';', '"', '>']) {
                return Err(UriError("bad display name"));
            }
            let (addr, after) = rest.split_once('>').ok_or(UriError("bracket not closed"))?;
            ((!display.is_empty()).then_some(display), addr, after)
        } else {
            let end = whole.find(';').unwrap_or(whole.len());
            let (addr, after) = whole.split_at_checked(end).unwrap_or((whole, ""));
            // RFC 3261 §20.10: with any of these the address must stand in brackets.
            if addr.contains([',', '?']) {
                return Err(UriError("address needs angle brackets"));
            }
            (None, trim(addr), after)
        };
        let params = match trim(after) {
            "" => "",
            after => trim(after.strip_prefix(';').ok_or(UriError("trash after the address"))?),
        };
        if !trim(after).is_empty() && !Params::new(params).is_well_formed() {
            return Err(UriError("bad parameters"));
        }
        let uri = Uri::read(text.share(addr))?;
        let whole = text.as_str();
        let (display, params) = (display.map(|it| Span::within(whole, it)), Span::of_part(whole, params));
        Ok(Self { display, uri, params, text })
    }

    /// The display name without quotes and escapes.
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        let display = self.text.at(self.display?);
        Some(quoted(display).map_or(Cow::Borrowed(display), |(inner, _)| unescape_quoted(inner)))
    }

    /// The address.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The parameters of the header, not those of the URI.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.text.at(self.params))
    }

    /// The tag of a From or To (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params().value("tag")
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// A copy that does not keep the message alive from which this was read.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { text: Text::copy(self.as_str()), uri: self.uri.detached(), ..self.clone() }
    }

    /// With a parameter appended.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<Self, UriError> {
        // Without brackets the parameter would be the header's either way.
        let value = value.map_or_else(String::new, |it| format!("={it}"));
        Self::parse(&format!("{};{name}{value}", trim(self.as_str())))
    }
}

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
