//! One connection: what has come of its next message, and whether its peer is alive (RFC 5626 §4.4.1, §3.5.1).
//!
//! We ping the connections that we opened, once nothing came on them for [`STREAM_PING_MS`]. Deviation: a peer that does
//! not answer is given up after [`STREAM_PONG_MS_MAX`] only if it has answered before on that connection. RFC 5626 has
//! peers agree on pings first; many that never heard of it ignore them, and are alive.

use std::time::{Duration, Instant};

use super::{Dropped, PeerIdentity, TransportKind};
use crate::limits::{FLOW_GRACE_S, FLOW_TIMER_S, STREAM_PING_MS, STREAM_PONG_MS_MAX, STREAM_STALL_MS_MAX};
use crate::sip::StreamFramer;

/// What a connection wants at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a ping.
    Ping,
    /// Close it.
    Close(Dropped),
}

/// One connection. Without a framer for websockets, which cut their messages themselves.
pub(super) struct Connection {
    framer: StreamFramer,
    identity: PeerIdentity,
    /// By when the message that has begun must be whole.
    stalled_at: Option<Instant>,
    ping: Ping,
    /// When nothing has come for too long from a peer that agreed to keep the connection alive.
    silent_at: Option<Instant>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// The peer's: it opened the connection, or the websocket's own pings do.
    Theirs,
    /// Ours, at that time unless something comes.
    Due { at: Instant, answers: bool },
    /// The answer's, by that time.
    Sent { until: Instant, answers: bool },
}

impl Connection {
    pub(super) fn new(kind: TransportKind, is_ours: bool, identity: PeerIdentity, now: Instant) -> Self {
        let is_pinged = is_ours && kind.is_stream();
        let ping = if is_pinged { Ping::Due { at: now + PING_AFTER, answers: false } } else { Ping::Theirs };
        Self { framer: StreamFramer::new(), identity, stalled_at: None, ping, silent_at: None }
    }

    /// One that the peer opened, without a certificate.
    pub(super) fn accepted(kind: TransportKind, now: Instant) -> Self {
        Self::new(kind, false, PeerIdentity::default(), now)
    }

    pub(super) const fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// Whether we opened it; a websocket never.
    pub(super) fn is_ours(&self) -> bool {
        self.ping != Ping::Theirs
    }

    /// The peer has agreed to keep it alive (RFC 5626 §4.4).
    pub(super) fn expect_keep_alives(&mut self, now: Instant) {
        self.silent_at = Some(now + SILENCE_MAX);
    }

    /// The framer, to be given back with [`Self::handle_segment`].
    pub(super) fn take_framer(&mut self) -> StreamFramer {
        std::mem::take(&mut self.framer)
    }

    /// Bytes came and went through `framer`. `is_new` says that what it holds is not what it held before.
    pub(super) fn handle_segment(&mut self, framer: StreamFramer, is_new: bool, is_ponged: bool, now: Instant) {
        if framer.held_bytes() == 0 {
            self.stalled_at = None;
        } else if is_new {
            self.stalled_at = Some(now + Duration::from_millis(STREAM_STALL_MS_MAX));
        }
        self.framer = framer;
        self.silent_at = self.silent_at.map(|_| now + SILENCE_MAX);
        self.ping = match self.ping {
            Ping::Theirs => Ping::Theirs,
            Ping::Due { answers, .. } => Ping::Due { at: now + PING_AFTER, answers },
            Ping::Sent { answers, .. } => Ping::Due { at: now + PING_AFTER, answers: answers || is_ponged },
        };
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.stalled_at.is_some_and(|it| it <= now) {
            return Some(Due::Close(Dropped::StreamStalled));
        }
        if self.silent_at.is_some_and(|it| it <= now) {
            return Some(Due::Close(Dropped::FlowSilent));
        }
        match self.ping {
            Ping::Due { at, answers } if at <= now => {
                self.ping = Ping::Sent { until: now + Duration::from_millis(STREAM_PONG_MS_MAX), answers };
                Some(Due::Ping)
            }
            Ping::Sent { until, answers: true } if until <= now => Some(Due::Close(Dropped::PingUnanswered)),
            Ping::Sent { until, answers: false } if until <= now => {
                self.ping = Ping::Due { at: now + PING_AFTER, answers: false };
                None
            }
            Ping::Theirs | Ping::Due { .. } | Ping::Sent { .. } => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ping = match self.ping {
            Ping::Theirs => None,
            Ping::Due { at, .. } => Some(at),
            Ping::Sent { until, .. } => Some(until),
        };
        self.stalled_at.into_iter().chain(ping).chain(self.silent_at).min()
    }
}

const PING_AFTER: Duration = Duration::from_millis(STREAM_PING_MS);
const SILENCE_MAX: Duration = Duration::from_secs(FLOW_TIMER_S as u64 + FLOW_GRACE_S);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::Now;

    #[test]
    fn an_idle_connection_of_ours_is_pinged() {
        // Seconds since it was opened, and what happens then: something comes, its answer to a ping comes, or nothing.
        check("", "95 ping, 200 ping, 305 ping");
        check("90 bytes", "185 ping, 290 ping");
        // Who answered once and does not answer now is gone.
        check("96 pong", "95 ping, 191 ping, 201 close");
        check("96 pong 195 pong", "95 ping, 191 ping, 290 ping, 300 close");
        check("96 pong 200 bytes", "95 ping, 191 ping, 295 ping, 305 close");
        check("96 bytes", "95 ping, 191 ping, 296 ping");
    }

    #[test]
    fn a_connection_that_the_peer_opened_is_its_to_keep_alive() {
        let start = Now::origin().instant;
        for (kind, is_ours) in [(TransportKind::Tcp, false), (TransportKind::Tls, false), (TransportKind::Wss, true)] {
            let connection = Connection::new(kind, is_ours, PeerIdentity::default(), start);
            assert_eq!(connection.poll_timeout(), None, "{kind:?}");
        }
    }

    #[test]
    fn who_promised_to_keep_a_connection_alive_and_does_not_is_gone() {
        let start = Now::origin().instant;
        let at = |second: u64| start + Duration::from_secs(second);
        let mut connection = Connection::accepted(TransportKind::Tcp, start);
        connection.expect_keep_alives(at(10));
        for (second, expected) in [(145, None), (235, None), (279, None), (280, Some(Due::Close(Dropped::FlowSilent)))]
        {
            if second == 145 {
                let framer = connection.take_framer();
                connection.handle_segment(framer, true, false, at(second));
            }
            assert_eq!(connection.handle_timeout(at(second)), expected, "{second}");
        }
    }

    /// Lets `events` happen to a connection of ours, and what it wants by the 310th second is `expected`.
    #[track_caller]
    fn check(events: &str, expected: &str) {
        let start = Now::origin().instant;
        let at = |second: u64| start + Duration::from_secs(second);
        let mut connection = Connection::new(TransportKind::Tcp, true, PeerIdentity::default(), start);
        let words: Vec<_> = events.split_whitespace().collect();
        let mut events = words.chunks(2).map(|it| (it[0].parse::<u64>().expect("a second"), it[1])).peekable();
        let mut seen = vec![];
        for second in 0..=310 {
            if let Some((_, event)) = events.next_if(|it| it.0 == second) {
                let framer = connection.take_framer();
                connection.handle_segment(framer, true, event == "pong", at(second));
            }
            if connection.poll_timeout().is_none_or(|it| it > at(second)) {
                continue;
            }
            match connection.handle_timeout(at(second)) {
                Some(Due::Ping) => seen.push(format!("{second} ping")),
                Some(Due::Close(Dropped::PingUnanswered)) => {
                    seen.push(format!("{second} close"));
                    break;
                }
                Some(Due::Close(reason)) => panic!("{reason:?}"),
                None => (),
            }
        }
        assert_eq!(seen.join(", "), expected);
    }
}
