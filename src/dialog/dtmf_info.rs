//! Digits in INFO bodies: `application/dtmf-relay` (lines `Signal=5` and `Duration=160`) and `application/dtmf` (the bare
//! digit). No RFC defines them; PBXs and gateways send both. Ours are of the first kind, one after the other.

use super::session::{Confirmed, Session, State};
use super::shared::{Purpose, Shared};
use crate::limits::INFO_DIGITS_MAX;
use crate::sip::{HeaderName, Method};
use crate::timer::Now;

/// A digit and how long it was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// One of `0-9`, `*`, `#` and `A-D`.
    pub digit: char,
    /// In milliseconds.
    pub duration_ms: u16,
}

impl Session {
    /// Tells the peer of an answered call of a key, after those before it.
    pub(super) fn press(&mut self, digit: Digit, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        if confirmed.pressed.len() < INFO_DIGITS_MAX {
            confirmed.pressed.push_back(digit);
            self.pursue_pressed(shared, now);
        }
    }

    /// Sends the INFO that waits, once the call is acknowledged and nothing that it could overtake is under way.
    pub(super) fn pursue_pressed(&mut self, shared: &mut Shared, now: Now) {
        let State::Confirmed(confirmed) = &mut self.state else {
            return;
        };
        let Confirmed { dialog, pressed, unacknowledged, reinvite, hangs_up, .. } = &mut **confirmed;
        let is_busy = reinvite.is_pending() || shared.is_waiting(self.id);
        if unacknowledged.is_some() || hangs_up.is_some() || is_busy {
            return;
        }
        let Some(Digit { digit, duration_ms }) = pressed.pop_front() else {
            return;
        };
        let flow = shared.way_out(dialog);
        let via = shared.transactions.next_via(flow);
        let contact = shared.transactions.transport().contact_uri(flow);
        let builder = dialog
            .request(Method::Info, &via)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
            .body("application/dtmf-relay", format!("Signal={digit}\r\nDuration={duration_ms}\r\n").into());
        // One that cannot be sent is dropped, as if the key had not been pressed.
        shared.request(self.id, Purpose::Info, flow, builder, now);
    }
}

/// Reads the body of an INFO. `None` if the type is another or there is no digit in it.
pub fn parse(content_type: &str, body: &[u8]) -> Option<Digit> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let body = std::str::from_utf8(body).ok()?;
    if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        parse_relay(body)
    } else if media_type.eq_ignore_ascii_case("application/dtmf") {
        let digit = digit_named(body.trim())?;
        Some(Digit { digit, duration_ms: DURATION_MS })
    } else {
        None
    }
}

/// Whether bodies of this type are read.
pub(crate) fn is_readable(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    ["application/dtmf-relay", "application/dtmf"].iter().any(|it| media_type.eq_ignore_ascii_case(it))
}

fn parse_relay(body: &str) -> Option<Digit> {
    let mut digit = None;
    let mut duration_ms = DURATION_MS;
    for line in body.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if key.eq_ignore_ascii_case("signal") && digit.is_none() {
            digit = digit_named(value.trim_matches('"'));
        } else if key.eq_ignore_ascii_case("duration") {
            duration_ms = value.parse().unwrap_or(DURATION_MS).clamp(DURATION_MS_MIN, DURATION_MS_MAX);
        }
    }
    Some(Digit { digit: digit?, duration_ms })
}

/// Some senders name `*` and `#` by their RFC 4733 numbers.
fn digit_named(name: &str) -> Option<char> {
    let mut characters = name.chars();
    match (characters.next()?.to_ascii_uppercase(), characters.as_str()) {
        ('1', "0") => Some('*'),
        ('1', "1") => Some('#'),
        (digit @ ('0'..='9' | '*' | '#' | 'A'..='D'), "") => Some(digit),
        _ => None,
    }
}

const DURATION_MS: u16 = 160;
const DURATION_MS_MIN: u16 = 40;
const DURATION_MS_MAX: u16 = 6_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bodies_are_read_in_all_their_spellings() {
        check("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Some(('5', 250)));
        check("application/dtmf-relay", "Signal = 5\r\nDuration = 250\r\n", Some(('5', 250)));
        check("Application/DTMF-Relay; charset=utf-8", "SIGNAL=#", Some(('#', 160)));
        check("application/dtmf-relay", "signal=\"d\"\nduration=x", Some(('D', 160)));
        check("application/dtmf-relay", "Duration=99999\nSignal=10", Some(('*', 160)));
        check("application/dtmf-relay", "Duration=60000\nSignal=11", Some(('#', 6_000)));
        check("application/dtmf", "7", Some(('7', 160)));
        check("application/dtmf", " * \r\n", Some(('*', 160)));
    }

    #[test]
    fn what_is_no_digit_is_none() {
        check("application/dtmf-relay", "Signal=\r\n", None);
        check("application/dtmf-relay", "5", None);
        check("application/dtmf-relay", "Signal=E", None);
        check("application/dtmf", "", None);
        check("application/dtmf", "12", None);
        check("text/plain", "5", None);
        assert!(is_readable("application/dtmf") && !is_readable("text/plain"));
    }

    #[track_caller]
    fn check(content_type: &str, body: &str, expected: Option<(char, u16)>) {
        let found = parse(content_type, body.as_bytes());
        assert_eq!(found, expected.map(|(digit, duration_ms)| Digit { digit, duration_ms }));
    }
}
