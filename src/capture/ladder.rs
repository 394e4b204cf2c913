//! A call's ladder as it is stored and shown: its messages, redacted, in the order they went.
//!
//! The stored form is a line of JSON about each message, the message itself, and a line feed.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Direction, Message};
use crate::identity::CallId;

/// A message of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// When, in microseconds since the Unix epoch.
    pub unix_us: u64,
    /// Which way it went.
    pub direction: Direction,
    /// As in a Via header field: `UDP`.
    pub transport: String,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The length of the message, in the stored form.
    #[serde(rename = "bytes")]
    length: usize,
    /// The message, without its secrets.
    #[serde(skip)]
    pub data: Bytes,
}

impl Rung {
    /// A message whose secrets have been taken out already.
    pub fn of(message: &Message) -> Self {
        let Message { unix_us, direction, flow, data } = message;
        Self {
            unix_us: *unix_us,
            direction: *direction,
            transport: flow.kind.via().to_owned(),
            local: flow.local,
            remote: flow.remote,
            length: data.len(),
            data: data.clone(),
        }
    }

    /// Adds the stored form to `to`.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend(serde_json::to_vec(self).unwrap_or_default());
        to.push(b'\n');
        to.extend(&self.data);
        to.push(b'\n');
    }

    /// Reads what [`Self::write`] wrote, up to the first thing that is not understood.
    pub fn read_all(mut stored: &[u8]) -> Vec<Self> {
        let mut rungs = vec![];
        while let Some((rung, rest)) = Self::read(stored) {
            rungs.push(rung);
            stored = rest;
        }
        rungs
    }

    fn read(stored: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = stored.split_at_checked(memchr::memchr(b'\n', stored)?)?;
        let mut rung: Self = serde_json::from_slice(head).ok()?;
        let (data, rest) = rest.get(1..)?.split_at_checked(rung.length)?;
        rung.data = Bytes::copy_from_slice(data);
        Some((rung, rest.get(1..).unwrap_or_default()))
    }

    /// Who sent it, and to whom.
    pub const fn ends(&self) -> (SocketAddr, SocketAddr) {
        match self.direction {
            Direction::Received => (self.remote, self.local),
            Direction::Sent => (self.local, self.remote),
        }
    }

    /// The first line, and for a response the method that it answers.
    pub fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.data);
        let first = text.lines().next().unwrap_or_default();
        let Some(status) = first.strip_prefix("SIP/2.0 ") else {
            return first.strip_suffix(" SIP/2.0").unwrap_or(first).to_owned();
        };
        let cseq = text.lines().find_map(|it| it.split_once(':').filter(|it| it.0.trim().eq_ignore_ascii_case("cseq")));
        let method = cseq.and_then(|it| it.1.split_whitespace().nth(1)).unwrap_or_default();
        if method.is_empty() { status.to_owned() } else { format!("{status} ({method})") }
    }
}

/// The ladder as text: a column for each address, an arrow for each message, and then every message in full.
pub fn text(call: CallId, rungs: &[Rung], not_kept: u64) -> String {
    let mut addresses: Vec<SocketAddr> = vec![];
    for (from, to) in rungs.iter().map(Rung::ends) {
        for address in [from, to] {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    let mut shown = format!("{call}: {} messages", rungs.len());
    if not_kept > 0 {
        shown += &format!(", {not_kept} more were not kept");
    }
    if let Some(first) = rungs.first() {
        shown += &format!(", {} UTC", date(first.unix_us));
    }
    let head: String = addresses.iter().map(|it| format!("{:^COLUMN$}", it.to_string())).collect();
    push_line(&mut shown, &format!("\n\n{:MARGIN$}{head}", ""));
    for rung in rungs {
        let (from, to) = rung.ends();
        let place = |of: SocketAddr| addresses.iter().position(|it| *it == of).unwrap_or_default();
        let arrow = arrow(place(from), place(to), addresses.len(), &rung.summary());
        push_line(&mut shown, &format!("\n{:MARGIN$}{arrow}", time(rung.unix_us)));
    }
    for (index, rung) in rungs.iter().enumerate() {
        let (from, to) = rung.ends();
        let head = format!("\n\n--- {} {} {} {from} -> {to}\n", index + 1, time(rung.unix_us), rung.transport);
        shown += &head;
        shown += String::from_utf8_lossy(&rung.data).replace("\r\n", "\n").trim_end();
    }
    shown.push('\n');
    shown
}

/// `|----- INVITE ----->|`, between the columns `from` and `to`.
fn arrow(from: usize, to: usize, columns: usize, label: &str) -> String {
    let half = COLUMN / 2;
    let mut cells: Vec<char> = vec![' '; columns.max(1) * COLUMN];
    for column in 0..columns {
        put(&mut cells, column * COLUMN + half, '|');
    }
    let (left, right) = (from.min(to) * COLUMN + half, from.max(to) * COLUMN + half);
    for at in left + 1..right {
        put(&mut cells, at, '-');
    }
    let room = right.saturating_sub(left + 5);
    let label: Vec<char> = format!(" {label} ").chars().filter(|it| !it.is_control()).take(room).collect();
    let start = left + 2 + (right - left).saturating_sub(label.len() + 3) / 2;
    for (at, letter) in label.into_iter().enumerate() {
        put(&mut cells, start + at, letter);
    }
    if from < to {
        put(&mut cells, right.saturating_sub(1), '>');
    } else if to < from {
        put(&mut cells, left + 1, '<');
    }
    cells.into_iter().collect()
}

fn put(cells: &mut [char], at: usize, letter: char) {
    if let Some(cell) = cells.get_mut(at) {
        *cell = letter;
    }
}

fn push_line(shown: &mut String, line: &str) {
    shown.push_str(line.trim_end_matches(' '));
}

/// `14:31:19.123456`, of the day in UTC.
fn time(unix_us: u64) -> String {
    let (seconds, fraction) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}")
}

/// `2026-11-20`, in UTC. Years are counted from March, so that the leap day is the last.
fn date(unix_us: u64) -> String {
    let days = unix_us / 86_400_000_000 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let mut text = String::new();
    // Writing to a string does not fail.
    write!(text, "{}-{month:02}-{day:02}", year + era * 400 + next).unwrap_or_default();
    text
}

/// Before the columns, for the time.
const MARGIN: usize = 16;
const COLUMN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(unix_us: u64, direction: Direction, local: &str, remote: &str, data: &'static str) -> Rung {
        Rung {
            unix_us,
            direction,
            transport: "UDP".to_owned(),
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            length: data.len(),
            data: Bytes::from_static(data.as_bytes()),
        }
    }

    fn ladder() -> Vec<Rung> {
        let (us, a, b) = ("192.0.2.1:5060", "192.0.2.7:5060", "[2001:db8::1]:5060");
        vec![
            rung(
                1_709_210_096_000_001,
                Direction::Received,
                us,
                a,
                "INVITE sip:100@x SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n",
            ),
            rung(1_709_210_096_020_000, Direction::Sent, us, b, "INVITE sip:200@y SIP/2.0\r\nCSeq: 7 INVITE\r\n\r\n"),
            rung(1_709_210_097_000_000, Direction::Received, us, b, "SIP/2.0 200 OK\r\nCSeq: 7 INVITE\r\n\r\n"),
            rung(1_709_210_097_000_100, Direction::Sent, us, a, "SIP/2.0 200 OK\r\ncseq : 1 INVITE\r\n\r\n"),
        ]
    }

    #[test]
    fn what_is_stored_is_read() {
        let mut stored = vec![];
        for rung in ladder() {
            rung.write(&mut stored);
        }
        assert_eq!(Rung::read_all(&stored), ladder());
        assert_eq!(Rung::read_all(stored.get(..stored.len() - 5).unwrap()).len(), 3);
        assert_eq!(Rung::read_all(b"{}\n"), []);
    }

    #[test]
    fn a_ladder_has_a_column_for_each_address() {
        let call = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let shown = text(call, &ladder(), 3);
        let expected = "\
call_018bcfe56800000000000000000000aa: 4 messages, 3 more were not kept, 2024-02-29 UTC

                             192.0.2.7:5060                          192.0.2.1:5060                        [2001:db8::1]:5060
12:34:56.000001                     |---------- INVITE sip:100@x ---------->|                                       |
12:34:56.020000                     |                                       |---------- INVITE sip:200@y ---------->|
12:34:57.000000                     |                                       |<---------- 200 OK (INVITE) -----------|
12:34:57.000100                     |<---------- 200 OK (INVITE) -----------|                                       |

--- 1 12:34:56.000001 UDP 192.0.2.7:5060 -> 192.0.2.1:5060
INVITE sip:100@x SIP/2.0
CSeq: 1 INVITE

v=0
";
        assert!(shown.starts_with(expected), "{shown}");
    }
}
