//! Hosts and ports: `hostport` of RFC 3261 §25.1, with the IPv6 reading of RFC 5118.
//!
//! Deviations: an underscore may stand in a name and a label may start with a digit (RFC 1123); a name whose last label
//! is all digits is a broken IPv4 address and refused. Port 0 is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{HOST, Span, Text, is, number, trim};

/// Where something is: a name or an address. Displays as it stands on the wire, IPv6 in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A domain name, to be compared without regard to case.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// The address, unless it is a name.
    pub const fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(ip) => Some(IpAddr::V4(ip)),
            Self::V6(ip) => Some(IpAddr::V6(ip)),
        }
    }

    /// Whether both say the same host.
    pub fn same(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (one, two) => one.ip().is_some() && one.ip() == two.ip(),
        }
    }

    /// Reads a host alone; IPv6 in brackets.
    pub fn parse(text: &'a str) -> Option<Self> {
        match HostPort::parse(text) {
            Some((host, None)) => Some(host.of_str(text)),
            _ => None,
        }
    }
}

impl From<IpAddr> for Host<'_> {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(ip) => fmt::Display::fmt(ip, f),
            Self::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// A host as URIs and Vias keep it: a name stays in their text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HostPort {
    Name(Span),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl HostPort {
    /// The host's span is relative to `text`.
    fn parse(text: &str) -> Option<(Self, Option<u16>)> {
        Self::parse_in(text, text, false)
    }

    /// As [`Self::parse`], with the span relative to `whole`, from which `text` was cut. `blanks` says whether there may be
    /// some around the colon, as in a Via.
    pub(crate) fn parse_in(whole: &str, text: &str, blanks: bool) -> Option<(Self, Option<u16>)> {
        let (host, after) = Self::parse_host(whole, text)?;
        Some((host, port(after, blanks)?))
    }

    /// The host and port at the front, and what follows them: nothing, or what begins with `;` or `?`.
    pub(crate) fn parse_front<'a>(whole: &str, text: &'a str) -> Option<(Self, Option<u16>, &'a str)> {
        let (host, after) = Self::parse_host(whole, text)?;
        let ends = |it: &str| it.is_empty() || it.starts_with([';', '?']);
        if ends(after) {
            return Some((host, None, after));
        }
        let digits = after.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let (port_text, tail) = after.split_at_checked(digits + 1)?;
        (ends(tail) && !port_text.is_empty()).then_some((host, port(port_text, false)?, tail))
    }

    fn parse_host<'a>(whole: &str, text: &'a str) -> Option<(Self, &'a str)> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']')?;
            return Some((Self::V6(ipv6(address)?), after));
        }
        let length = text.bytes().position(|it| !is(it, HOST)).unwrap_or(text.len());
        let (host, after) = text.split_at_checked(length)?;
        if is_numeric(host.as_bytes()) {
            return Some((Self::V4(host.parse().ok()?), after));
        }
        (!host.starts_with('.')).then(|| (Self::Name(Span::within(whole, host)), after))
    }

    pub(crate) fn of(self, text: &Text) -> Host<'_> {
        match self {
            Self::Name(span) => Host::Name(text.at(span)),
            Self::V4(ip) => Host::V4(ip),
            Self::V6(ip) => Host::V6(ip),
        }
    }

    fn of_str(self, text: &str) -> Host<'_> {
        match self {
            Self::Name(span) => Host::Name(span.of(text)),
            Self::V4(ip) => Host::V4(ip),
            Self::V6(ip) => Host::V6(ip),
        }
    }
}

/// Whether the last label is all digits; so is that of nothing.
fn is_numeric(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    match host.last() {
        Some(last) if !last.is_ascii_digit() => false,
        _ => {
            let label = host.iter().rposition(|it| *it == b'.').map_or(0, |it| it + 1);
            host.get(label..).is_none_or(|it| it.iter().all(u8::is_ascii_digit))
        }
    }
}

/// RFC 5118 §4.10: the grammar of RFC 3261 has three colons before an embedded IPv4 address, and some write them.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| text.replacen(":::", "::", 1).parse().ok().filter(|_| text.contains('.')))
}

/// `Some(None)` for nothing, `None` for nonsense.
#[inline]
fn port(text: &str, blanks: bool) -> Option<Option<u16>> {
    let blankless = |it| if blanks { trim(it) } else { it };
    let text = blankless(text);
    if text.is_empty() {
        return Some(None);
    }
    let port = number::<u16>(blankless(text.strip_prefix(':')?))?;
    (port > 0).then_some(Some(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, Option<u16>)>) {
        let found = HostPort::parse(text).map(|(host, port)| (host.of_str(text).to_string(), port));
        assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expect, "{text}");
    }

    #[test]
    fn hosts_and_ports() {
        check("example.com", Some(("example.com", None)));
        check("example.com.:5060", Some(("example.com.", Some(5060))));
        check("192.0.2.1:5061", Some(("192.0.2.1", Some(5061))));
        check("[2001:db8::1]:5062", Some(("[2001:db8::1]", Some(5062))));
        check("[::ffff:192.0.2.1]", Some(("[::ffff:192.0.2.1]", None)));
        check("3f2a1b_x", Some(("3f2a1b_x", None)));
        for bad in ["", ":5060", "a:", "a:0", "a:+5", "a:65536", "1.2.3", "1.2.3.256", "2001:db8::1", "[::1", "[::1]x"]
        {
            check(bad, None);
        }
        for bad in ["a b", "a@b", "[fe80::1%eth0]", ".a", "a:5060:1", "a\u{1a}"] {
            check(bad, None);
        }
    }

    #[test]
    fn hosts_compare_without_case_and_by_address() {
        assert!(Host::Name("A.example").same(Host::Name("a.EXAMPLE")));
        assert!(Host::parse("[2001:DB8:0::1]").is_some_and(|it| it.same(Host::parse("[2001:db8::1]").expect("valid"))));
        assert!(!Host::Name("a").same(Host::Name("b")));
        assert_eq!(Host::parse("a:1"), None);
    }
}
