//! Capture: the SIP messages of each call, kept as a ladder that can be read afterwards or sent to a collector.
//!
//! Messages are taken as they are on the wire. [`Ladders`] finds out whose they are by their Call-ID and gives them back
//! in parts, ready to be stored; [`redaction::redacted`] blanks the secrets in whatever leaves this program.

pub mod hep;
pub mod ladder;
mod ladders;
pub mod pcap;
pub mod redaction;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::ladders::{LadderCounts, LadderLimits, Ladders, Part};
use crate::transport::Flow;

/// A message as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When, in microseconds since the Unix epoch.
    pub unix_us: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Between whom.
    pub flow: Flow,
    /// The whole message; it may be malformed.
    pub data: Bytes,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To us.
    Received,
    /// From us.
    Sent,
}

/// The Call-ID of a message (RFC 3261 §20.8), whatever else is wrong with it.
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(end)?;
        if line.is_empty() {
            return None;
        }
        if let Some(value) = value_of(line, &[b"call-id", b"i"]) {
            return Some(value).filter(|it| !it.is_empty());
        }
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.get(1..))?;
    }
}

/// The value of a header line if it has one of these names, which are in lower case.
fn value_of<'a>(line: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    let name = name.trim_ascii();
    names.iter().any(|it| it.eq_ignore_ascii_case(name)).then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_is_found_in_whatever_comes() {
        for (message, expected) in [
            ("INVITE sip:x SIP/2.0\r\nVia: x\r\nCall-ID: a@b\r\n\r\n", Some("a@b")),
            ("INVITE sip:x SIP/2.0\r\ni:a\r\n\r\n", Some("a")),
            ("garbage\ncall-id \t:  a \nx", Some("a")),
            ("Call-ID: first\r\n", Some("first")),
            ("INVITE sip:x SIP/2.0\r\nVia: x\r\n\r\nCall-ID: body", None),
            ("INVITE sip:x SIP/2.0\r\nCall-ID:\r\n\r\n", None),
            ("INVITE", None),
            ("", None),
        ] {
            assert_eq!(call_id(message.as_bytes()), expected.map(str::as_bytes), "{message:?}");
        }
    }
}
