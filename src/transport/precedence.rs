//! Which datagrams may wait when more come than can be looked at (RFC 7339 §5.10.1: requests within dialogs go before
//! those that begin one).

use std::time::{Duration, Instant};

use crate::limits::{SIP_BEHIND_MS_MAX, SIP_NEW_CALL_WAIT_MS, SIP_NEW_CALL_WAIT_MS_MAX};

/// How long requests that begin a call may wait. A burst may take a while to be worked off; when they wait for long all
/// the time, more come than are worked off, and then none is worth waiting for much: its sender would repeat it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Since when all of them have waited for longer than they should.
    behind_since: Option<Instant>,
}

impl Patience {
    /// Nothing has waited yet.
    pub const fn new() -> Self {
        Self { behind_since: None }
    }

    /// Whether a request that has waited since `since` has waited for too long. To be asked about each, in order.
    pub fn is_over(&mut self, since: Instant, now: Instant) -> bool {
        let waited = now.saturating_duration_since(since);
        if waited <= Duration::from_millis(SIP_NEW_CALL_WAIT_MS) {
            self.behind_since = None;
            return false;
        }
        let behind_since = *self.behind_since.get_or_insert(now);
        let is_behind = now.saturating_duration_since(behind_since) > Duration::from_millis(SIP_BEHIND_MS_MAX);
        is_behind || waited > Duration::from_millis(SIP_NEW_CALL_WAIT_MS_MAX)
    }
}

/// Whether a datagram looks like an INVITE that begins a call. A glance, not a reading: what it takes wrongly for one
/// waits longer and is treated no worse.
pub fn begins_call(datagram: &[u8]) -> bool {
    if !datagram.starts_with(b"INVITE ") {
        return false;
    }
    let to = memchr::memmem::find(datagram, b"\r\nTo:").or_else(|| memchr::memmem::find(datagram, b"\r\nt:"));
    let line = to.and_then(|at| datagram.get(at + 2..)).unwrap_or_default();
    let line = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
    memchr::memmem::find(line, b";tag=").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_worked_off_and_a_queue_that_stands_is_not() {
        let start = crate::timer::Now::origin().instant;
        let at = |ms| start + Duration::from_millis(ms);
        let mut patience = Patience::default();
        // When it came, when it is looked at.
        for (since, now, is_over) in [
            (0, 100, false),
            (0, 300, false),
            (0, 400, false),
            (0, 401, true),
            (350, 450, false),
            (400, 600, false),
            (500, 1_000, true),
            (900, 1_100, false),
            (1_000, 1_101, true),
            (1_010, 1_112, true),
            (1_100, 1_200, false),
            (1_100, 1_300, false),
        ] {
            assert_eq!(patience.is_over(at(since), at(now)), is_over, "{since} {now}");
        }
    }

    #[test]
    fn only_invites_without_a_to_tag_begin_a_call() {
        let with = |start: &str, to: &str| {
            begins_call(format!("{start} sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\n{to}\r\nCSeq: 1\r\n\r\n").as_bytes())
        };
        assert!(with("INVITE", "To: <sip:a>"));
        assert!(with("INVITE", "t:sip:a"));
        assert!(with("INVITE", "X: y"));
        assert!(!with("INVITE", "To: <sip:a>;tag=2"));
        assert!(!with("INVITE", "t: <sip:a>;x=y;tag=2"));
        assert!(!with("BYE", "To: <sip:a>;tag=2"));
        assert!(!with("ACK", "To: <sip:a>"));
        assert!(!begins_call(b""));
    }
}
