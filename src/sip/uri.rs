//! Addresses: SIP and SIPS URIs (RFC 3261 §19.1), `tel` URIs (RFC 3966), and any other scheme kept as it is.
//!
//! Deviations: `#` and non-ASCII characters may stand unescaped in the user part, `@` in the header part (telephones
//! send both); an empty parameter (`;;`) is skipped.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::str::FromStr;

use super::host::{Host, HostPort};
use super::params::Params;
use super::text::{Span, Text, URI_PARAM, USER, USER_SAFE, cut, is};
use crate::limits::SIP_HEADER_LINE_BYTES_MAX;

/// An address as written: parsing keeps the text, so it is displayed byte for byte. It shares the buffer of the message
/// it came from; [`Uri::detached`] copies, for those who keep it long.
///
/// `==` compares the text. Whether two URIs mean the same is [`Uri::equivalent`].
#[derive(Clone)]
pub struct Uri {
    /// The URI, maybe with the display name and parameters that it stands between.
    text: Text,
    place: Span,
    scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Option<HostPort>,
    port: Option<u16>,
    params: Span,
    headers: Option<Span>,
}

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`, RFC 3966.
    Tel,
    /// Anything else, see [`Uri::scheme_str`].
    Other,
}

/// The text is not a URI that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URI: {0}")]
pub struct UriError(pub(crate) &'static str);

impl Uri {
    /// Reads a URI alone, without angle brackets or blanks around it.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        Self::read(Text::copy(text))
    }

    /// `sip:user@host:port`, the user escaped as needed. `host` may be an IPv6 address, then in brackets.
    pub fn sip(user: Option<&str>, host: &str, port: Option<u16>) -> Result<Self, UriError> {
        Host::parse(host).ok_or(UriError("bad host"))?;
        let mut text = String::from("sip:");
        if let Some(user) = user {
            escape(user, |it| is(it, USER_SAFE), &mut text);
            text.push('@');
        }
        text.push_str(host);
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        Self::parse(&text)
    }

    /// `sip:user@address:port`.
    pub fn at(user: Option<&str>, address: SocketAddr) -> Result<Self, UriError> {
        Self::sip(user, &Host::from(address.ip()).to_string(), Some(address.port()))
    }

    fn read(text: Text) -> Result<Self, UriError> {
        Self::read_part(&text, text.as_str(), text.as_str())
    }

    /// Reads `part`, which was cut from `element`, which was cut from `text`.
    pub(crate) fn read_part(text: &Text, element: &str, part: &str) -> Result<Self, UriError> {
        if element.len() > SIP_HEADER_LINE_BYTES_MAX {
            return Err(UriError("too long"));
        }
        let parts = match part.strip_prefix("sip:") {
            // As nearly everyone writes it.
            Some(rest) => Parts::sip(Scheme::Sip, element, rest)?,
            None => {
                let (scheme, rest) = cut(part, b':').ok_or(UriError("no scheme"))?;
                if scheme.eq_ignore_ascii_case("sip") {
                    Parts::sip(Scheme::Sip, element, rest)?
                } else if scheme.eq_ignore_ascii_case("sips") {
                    Parts::sip(Scheme::Sips, element, rest)?
                } else if scheme.eq_ignore_ascii_case("tel") {
                    Parts::tel(element, rest)?
                } else {
                    Parts::other(scheme, rest)?
                }
            }
        };
        let Parts { scheme, user, password, host, port, params, headers } = parts;
        let place = Span::within(element, part);
        Ok(Self { place, scheme, user, password, host, port, params, headers, text: text.share(element) })
    }

    /// The element that this stands in.
    pub(crate) const fn element(&self) -> &Text {
        &self.text
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.text.at(self.place)
    }

    /// The kind of address.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme as written.
    pub fn scheme_str(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Whether this is a `sip` or `sips` URI.
    pub const fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user as written, without password; of a `tel` URI the number.
    pub fn user(&self) -> Option<&str> {
        self.user.map(|it| self.text.at(it))
    }

    /// The user with its escapes decoded.
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        self.user().map(unescape)
    }

    /// The password as written. Nobody should send one.
    pub fn password(&self) -> Option<&str> {
        self.password.map(|it| self.text.at(it))
    }

    /// The host; `None` unless the scheme is `sip` or `sips`.
    pub fn host(&self) -> Option<Host<'_>> {
        self.host.map(|it| it.of(&self.text))
    }

    /// The port, if one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.text.at(self.params))
    }

    /// What the `transport` parameter asks for.
    pub fn transport(&self) -> Option<&str> {
        self.params().value("transport")
    }

    /// Whether it is a loose route (RFC 3261 §19.1.1, `lr`).
    pub fn is_loose_route(&self) -> bool {
        self.params().contains("lr")
    }

    /// Name and value, both decoded, of each header after the question mark (RFC 3261 §19.1.1).
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let text = self.headers.map_or("", |it| self.text.at(it));
        text.split('&').filter(|it| !it.is_empty()).map(|it| {
            let (name, value) = it.split_once('=').unwrap_or((it, ""));
            (unescape(name), unescape(value))
        })
    }

    /// The first header of this name, decoded.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether there is a question mark.
    pub const fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    /// A copy that does not keep the message alive from which this was read.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::parse(self.as_str()).expect("a URI that was read once can be read again")
    }

    /// With a parameter added, or replaced if there is one of this name. Name and value are written as they are, and
    /// refused if they would be more than that.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<Self, UriError> {
        if name.is_empty() || name.contains([';', '?', '=']) || value.is_some_and(|it| it.contains([';', '?'])) {
            return Err(UriError("more than a parameter"));
        }
        let whole = self.without_param(name);
        let (before, headers) = whole.split_at_headers();
        let value = value.map_or_else(String::new, |it| format!("={it}"));
        Self::parse(&format!("{before};{name}{value}{headers}"))
    }

    /// Of another user at the same place; a SIP URI. Headers are left out.
    pub fn with_user(&self, user: &str) -> Result<Self, UriError> {
        let host = self.host().ok_or(UriError("no host"))?;
        let uri = Self::sip(Some(user), &host.to_string(), self.port())?;
        let (_, rest) = uri.as_str().split_once(':').ok_or(UriError("no scheme"))?;
        let params = self.params().as_str();
        let separator = if params.is_empty() { "" } else { ";" };
        Self::parse(&format!("{}:{rest}{separator}{params}", self.scheme_str()))
    }

    /// Without the parameters of this name.
    #[must_use]
    pub fn without_param(&self, name: &str) -> Self {
        if !self.params().contains(name) {
            return self.clone();
        }
        let (before, headers) = self.split_at_headers();
        let kept_before = before.len().saturating_sub(self.params().as_str().len() + 1);
        let mut text = before.get(..kept_before).unwrap_or_default().to_owned();
        for param in self.params().as_str().split(';') {
            let param_name = param.split_once('=').map_or(param, |(it, _)| it);
            if !param_name.eq_ignore_ascii_case(name) {
                text.push(';');
                text.push_str(param);
            }
        }
        text.push_str(headers);
        Self::parse(&text).expect("a URI with fewer parameters is a URI")
    }

    /// Without the headers after the question mark.
    #[must_use]
    pub fn without_headers(&self) -> Self {
        if !self.has_headers() {
            return self.clone();
        }
        Self::parse(self.split_at_headers().0).expect("a URI without headers is a URI")
    }

    /// The text up to the question mark, and from it on.
    fn split_at_headers(&self) -> (&str, &str) {
        let headers = self.headers.map_or(0, |it| self.text.at(it).len() + 1);
        let whole = self.as_str();
        whole.split_at_checked(whole.len().saturating_sub(headers)).unwrap_or((whole, ""))
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Uri {}

impl PartialOrd for Uri {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Uri {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Uri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Scheme and host only: the user is personal data.
impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme_str())?;
        if self.user.is_some() {
            f.write_str("<redacted>")?;
        }
        match self.host() {
            Some(host) if self.user.is_some() => write!(f, "@{host}"),
            Some(host) => write!(f, "{host}"),
            None => Ok(()),
        }
    }
}

struct Parts {
    scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Option<HostPort>,
    port: Option<u16>,
    params: Span,
    headers: Option<Span>,
}

impl Parts {
    const fn empty(scheme: Scheme) -> Self {
        Self { scheme, user: None, password: None, host: None, port: None, params: Span::EMPTY, headers: None }
    }

    /// RFC 3261 §25.1: an `@` may stand once, so the first one ends the user.
    fn sip(scheme: Scheme, whole: &str, rest: &str) -> Result<Self, UriError> {
        let mut parts = Self::empty(scheme);
        let mut rest = rest;
        if let Some((user, after)) = cut(rest, b'@') {
            let length = escaped_length(user, |it| is(it, USER));
            let (user, password) = user.split_at_checked(length).ok_or(UriError("bad user"))?;
            let password = match password.strip_prefix(':') {
                Some(password) => Some(password),
                None if password.is_empty() => None,
                None => return Err(UriError("bad user")),
            };
            if user.is_empty() {
                return Err(UriError("bad user"));
            }
            if password.is_some_and(|it| !well_escaped(it, |it| is(it, USER))) {
                return Err(UriError("bad password"));
            }
            parts.user = Some(Span::within(whole, user));
            parts.password = password.map(|it| Span::within(whole, it));
            rest = after;
        }
        let (host, port, mut tail) = HostPort::parse_front(whole, rest).ok_or(UriError("bad host or port"))?;
        (parts.host, parts.port) = (Some(host), port);
        if tail.is_empty() {
            return Ok(parts);
        }
        if let Some((before, headers)) = cut(tail, b'?') {
            if !well_escaped(headers, |it| is(it, URI_PARAM) || it == b'@') {
                return Err(UriError("bad headers"));
            }
            parts.headers = Some(Span::within(whole, headers));
            tail = before;
        }
        if let Some(params) = tail.strip_prefix(';') {
            if !well_escaped(params, |it| is(it, URI_PARAM)) {
                return Err(UriError("bad parameters"));
            }
            parts.params = Span::of_part(whole, params);
        } else if !tail.is_empty() {
            return Err(UriError("trash after the host"));
        }
        Ok(parts)
    }

    /// RFC 3966 §3.
    fn tel(whole: &str, rest: &str) -> Result<Self, UriError> {
        let mut parts = Self::empty(Scheme::Tel);
        let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
        let digits = number.strip_prefix('+').unwrap_or(number);
        let is_digit = |it: u8| it.is_ascii_hexdigit() || matches!(it, b'*' | b'#' | b'-' | b'.' | b'(' | b')');
        if !digits.bytes().all(is_digit)
            || !digits.bytes().any(|it| it.is_ascii_alphanumeric() || it == b'*' || it == b'#')
        {
            return Err(UriError("bad telephone number"));
        }
        if !well_escaped(params, |it| is(it, URI_PARAM)) {
            return Err(UriError("bad parameters"));
        }
        parts.user = Some(Span::within(whole, number));
        parts.params = Span::of_part(whole, params);
        Ok(parts)
    }

    fn other(scheme: &str, rest: &str) -> Result<Self, UriError> {
        let is_scheme = scheme.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.'))
            && scheme.starts_with(|it: char| it.is_ascii_alphabetic());
        let is_opaque = |it: u8| (it.is_ascii_graphic() && !matches!(it, b'<' | b'>' | b'"')) || !it.is_ascii();
        if !is_scheme || rest.is_empty() || !rest.bytes().all(is_opaque) {
            return Err(UriError("bad scheme or characters"));
        }
        Ok(Self::empty(Scheme::Other))
    }
}

/// Every byte allowed, and every `%` followed by two hexadecimal digits.
#[inline]
fn well_escaped(text: &str, is_allowed: impl Fn(u8) -> bool) -> bool {
    escaped_length(text, is_allowed) == text.len()
}

/// How many bytes from the front on are allowed or sound escapes.
#[inline]
fn escaped_length(text: &str, is_allowed: impl Fn(u8) -> bool) -> usize {
    let mut rest = text.as_bytes();
    loop {
        let Some(at) = rest.iter().position(|it| !is_allowed(*it)) else {
            return text.len();
        };
        match rest.get(at..) {
            Some([b'%', high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = after,
            _ => return text.len() - rest.len() + at,
        }
    }
}

fn escape(text: &str, is_safe: impl Fn(u8) -> bool, out: &mut String) {
    use fmt::Write as _;
    for byte in text.bytes() {
        if is_safe(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
}

/// Decodes `%xx`; what is not UTF-8 afterwards is replaced.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let pair = if byte == b'%' { after.split_first_chunk::<2>() } else { None };
        let value = pair.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (pair, value) {
            (Some((_, after)), Some(value)) => {
                decoded.push(value);
                rest = after;
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, user: Option<&str>, host: Option<&str>, port: Option<u16>, params: &str) {
        let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = uri.host().map(|it| it.to_string());
        assert_eq!(
            (uri.user(), found.as_deref(), uri.port(), uri.params().as_str()),
            (user, host, port, params),
            "{text}"
        );
        assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn uris_are_taken_apart() {
        check("sip:example.com", None, Some("example.com"), None, "");
        check("sip:j.doe@example.com:5061;a;b=c", Some("j.doe"), Some("example.com"), Some(5061), "a;b=c");
        check("SIPS:%40x:secret@[2001:db8::1]:5061", Some("%40x"), Some("[2001:db8::1]"), Some(5061), "");
        check("sip:a;b=c?d/e@example.com", Some("a;b=c?d/e"), Some("example.com"), None, "");
        check("sip:*21#@pbx", Some("*21#"), Some("pbx"), None, "");
        check("sip:a@b;x=:[]/&+$;;y", Some("a"), Some("b"), None, "x=:[]/&+$;;y");
        check("tel:+49-30-123;ext=4;isub=1", Some("+49-30-123"), None, None, "ext=4;isub=1");
        check("tel:*31#", Some("*31#"), None, None, "");
        check("http://example.com/?a@b", None, None, None, "");
        let uri = Uri::parse("sip:a@b;lr?Replaces=c%40d%3Bto-tag%3D1&Subject=x%zz").err();
        assert_eq!(uri, Some(UriError("bad headers")));
        let uri = Uri::parse("sip:a@b;lr?Replaces=c%40d%3Bto-tag%3D1&Subject=").expect("valid");
        assert_eq!(
            (uri.header("replaces").as_deref(), uri.header("subject").as_deref()),
            (Some("c@d;to-tag=1"), Some(""))
        );
        assert!(uri.is_loose_route() && uri.header("x").is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["", "sip", "sip:", ":a", "sip:@b", "sip:a@", "sip:a@b@c", "sip:a b@c", "sip:a@b c", "sip:a@b;x y", "1a:b"]
        {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
        for bad in
            ["<sip:a@b>", "sip:a@b>", "sip:a%4@b", "sip:a%zz@b", "sip:a\"@b", "sip:a@b\r\n", "sip:a@b;x=\0", "sip: a@b"]
        {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
        for bad in
            ["tel:", "tel:+", "tel:abc-x", "tel:+1 2", "tel:-", "tel:1@b", "sip:a@b :5", "urn:a b", "sip:\u{1a}@b"]
        {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
        assert!(Uri::parse(&format!("sip:{}@b", "a".repeat(9_000))).is_err());
    }

    #[test]
    fn uris_are_written() {
        let address = "[2001:db8::1]:5062".parse().expect("an address");
        assert_eq!(
            Uri::at(Some("a@b/c d"), address).map(|it| it.to_string()),
            Ok("sip:a%40b%2Fc%20d@[2001:db8::1]:5062".to_owned())
        );
        assert!(Uri::sip(Some("a"), "b\r\nEvil: 1", None).is_err() && Uri::sip(None, "b;lr", None).is_err());
        let uri = Uri::parse("sip:a@b;x=1;lr;X=2?h=1").expect("valid");
        assert_eq!(uri.without_param("x").as_str(), "sip:a@b;lr?h=1");
        assert_eq!(uri.with_param("lr", None).map(|it| it.to_string()), Ok("sip:a@b;x=1;X=2;lr?h=1".to_owned()));
        assert_eq!(uri.without_headers().as_str(), "sip:a@b;x=1;lr;X=2");
        assert!(uri.with_param("y", Some("1\r\n")).is_err() && uri.with_param("y", Some("1?h=2")).is_err());
        assert_eq!(format!("{uri:?} {:?}", Uri::parse("tel:+49301234")), "sip:<redacted>@b Ok(tel:<redacted>)");
        assert_eq!(
            Uri::parse("sip:%C3%BC%00@b").ok().and_then(|it| it.user_decoded().map(Cow::into_owned)),
            Some("\u{fc}\0".into())
        );
    }
}
