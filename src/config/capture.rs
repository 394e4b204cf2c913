//! `[capture]`: the SIP messages of calls, kept and sent to a collector.

use std::time::Duration;

use super::Places;
use super::reading::Section;
use crate::identity::Secret;
use crate::limits;

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// `enabled`: whether the messages of each call are kept, to be read afterwards.
    pub enabled: bool,
    /// `bytes_per_call`: how much of each call is kept; its first messages are.
    pub bytes_per_call: usize,
    /// `keep_days`: how long.
    pub keep: Duration,
    /// `homer` and what goes with it.
    pub homer: Option<Homer>,
}

/// A Homer collector, which takes every message as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Homer {
    /// The host of `homer`: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is spoken to over TCP (`tcp://`) and not by datagrams.
    pub is_stream: bool,
    /// `capture_id`: which of the collector's senders we are.
    pub id: u32,
    /// `auth_key`, or what the variable named by `auth_key_env` holds.
    pub key: Option<Secret>,
}

impl Capture {
    pub(super) fn read(section: &Section<'_>, places: &Places<'_>) -> Self {
        let bytes = section.number("bytes_per_call", limits::CAPTURE_CONFIGURED_BYTES);
        let days = section.number("keep_days", 1..=limits::CAPTURE_KEEP_DAYS_MAX).unwrap_or(30);
        let id = section.number("capture_id", 0..=u32::MAX).unwrap_or(2001);
        let key = places.secret(section, "auth_key", "auth_key_env");
        Self {
            enabled: section.boolean("enabled").unwrap_or(true),
            bytes_per_call: bytes.and_then(|it| usize::try_from(it).ok()).unwrap_or(limits::CAPTURE_CALL_BYTES_MAX),
            keep: Duration::from_secs(u64::from(days) * 86_400),
            homer: section.parsed("homer", parse_homer).map(|(is_stream, host, port)| Homer {
                host,
                port,
                is_stream,
                id,
                key,
            }),
        }
    }
}

/// Whether it is `tcp://`, the host and the port.
fn parse_homer(text: &str) -> Result<(bool, String, u16), String> {
    let expected = || "expected udp:// or tcp:// and a host, such as udp://homer.example.com:9060".to_owned();
    let (is_stream, rest) = match (text.strip_prefix("udp://"), text.strip_prefix("tcp://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(expected()),
    };
    if rest.is_empty() {
        return Err(expected());
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_error: std::num::ParseIntError| expected())?)
        }
        Some(_) | None => (rest, HEP_PORT),
    };
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let is_host = host.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:".contains(&it)) && !host.is_empty();
    if is_host { Ok((is_stream, host.to_owned(), port)) } else { Err(expected()) }
}

const HEP_PORT: u16 = 9060;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_and_a_port() {
        for (text, is_stream, host, port) in [
            ("udp://homer.example.com", false, "homer.example.com", 9060),
            ("tcp://homer.example.com", true, "homer.example.com", 9060),
            ("udp://192.0.2.1:9061", false, "192.0.2.1", 9061),
            ("udp://[2001:db8::1]:9061", false, "2001:db8::1", 9061),
            ("tcp://[2001:db8::1]", true, "2001:db8::1", 9060),
        ] {
            assert_eq!(parse_homer(text), Ok((is_stream, host.to_owned(), port)), "{text}");
        }
        for text in ["tls://x", "udp://", "udp://x:y", "udp://a b", "x", "udp://:9060"] {
            assert!(parse_homer(text).is_err(), "{text}");
        }
    }
}
