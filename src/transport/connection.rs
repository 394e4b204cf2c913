//! One connection: what has come of its next message, and whether its peer is alive (RFC 5626 §4.4.1, §3.5.1).
//!
//! We ping the connections that we opened, once nothing came on them for [`STREAM_PING_MS`]. Deviation: a peer that does
//! not answer is given up after [`STREAM_PONG_MS_MAX`] only if it has answered before on that connection. RFC 5626 has
//! peers agree on pings first; many that never heard of it ignore them, and are alive.

use std::time::{Duration, Instant};

use super::{Dropped, PeerIdentity, TransportKind};
use crate::limits::{STREAM_PING_MS, STREAM_PONG_MS_MAX, STREAM_STALL_MS_MAX};
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
        Self { framer: StreamFramer::new(), identity, stalled_at: None, ping }
    }

    /// One that the peer opened, without a certificate.
    pub(super) fn accepted(kind: TransportKind, now: Instant) -> Self {
        Self::new(kind, false, PeerIdentity::default(), now)
    }

    pub(super) const fn identity(&self) -> &PeerIdentity {
        &self.identity
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
        self.stalled_at.into_iter().chain(ping).min()
    }
}

const PING_AFTER: Duration = Duration::from_millis(STREAM_PING_MS);
