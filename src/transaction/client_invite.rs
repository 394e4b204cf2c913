//! The INVITE client transaction: RFC 3261 §17.1.1, amended by RFC 6026 §7.2.
//!
//! | state      | input              | action              | next       |
//! |------------|--------------------|---------------------|------------|
//! | Calling    | Timer A            | resend INVITE       | Calling    |
//! | Calling    | Timer B            | Timeout to TU       | Terminated |
//! | Calling    | 1xx                | response to TU      | Proceeding |
//! | Proceeding | 1xx                | response to TU      | Proceeding |
//! | either     | 2xx                | response to TU      | Accepted   |
//! | either     | 300–699            | ACK, response to TU | Completed  |
//! | Accepted   | 2xx                | response to TU      | Accepted   |
//! | Completed  | 300–699            | ACK                 | Completed  |
//! | Accepted   | Timer M            |                     | Terminated |
//! | Completed  | Timer D            |                     | Terminated |

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::timers::{Backoff, Timer};
use crate::sip::{BuildError, HeaderName, Method, Request, RequestBuilder, Response};
use crate::transport::TransportKind;

/// What the transaction wants done. Drain with [`ClientInvite::poll_output`] after every `handle_*` call.
#[derive(Debug)]
pub(crate) enum Output {
    /// Write this request to the flow of the INVITE.
    Transmit(Bytes),
    /// Hand the response to the transaction user.
    Response(Response),
    /// Timer B fired before any response.
    Timeout,
}

/// One INVITE client transaction.
#[derive(Debug)]
pub(crate) struct ClientInvite {
    invite: Request,
    transport: TransportKind,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Calling { timer_a: Option<Backoff>, timer_b: Instant },
    Proceeding,
    Accepted { timer_m: Instant },
    Completed { ack: Option<Bytes>, timer_d: Instant },
    Terminated,
}

impl ClientInvite {
    /// Sends `invite` and starts Timers A and B.
    pub(crate) fn new(invite: Request, transport: TransportKind, now: Instant) -> Self {
        let timer_a = Backoff::start(Timer::A, transport, now);
        let timer_b = now + Timer::B.length(transport);
        Self {
            outputs: VecDeque::from([Output::Transmit(invite.to_bytes())]),
            invite,
            transport,
            state: State::Calling { timer_a, timer_b },
        }
    }

    /// Feeds a response matched to this transaction (RFC 3261 §17.1.3).
    pub(crate) fn handle_response(&mut self, response: Response, now: Instant) {
        match (&self.state, response.status().get()) {
            (State::Calling { .. } | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                self.outputs.push_back(Output::Response(response));
            }
            (State::Calling { .. } | State::Proceeding, 200..=299) => {
                self.state = State::Accepted { timer_m: now + Timer::M.length(self.transport) };
                self.outputs.push_back(Output::Response(response));
            }
            (State::Calling { .. } | State::Proceeding, _) => {
                // A response that cannot be acknowledged in writing still ends the transaction.
                let ack = self.acknowledge(&response).ok();
                self.outputs.extend(ack.clone().map(Output::Transmit));
                self.outputs.push_back(Output::Response(response));
                self.state = if Timer::D.is_skipped(self.transport) {
                    State::Terminated
                } else {
                    State::Completed { ack, timer_d: now + Timer::D.length(self.transport) }
                };
            }
            // Each fork's 2xx belongs to the transaction user, which sends the ACK.
            (State::Accepted { .. }, 200..=299) => self.outputs.push_back(Output::Response(response)),
            (State::Completed { ack, .. }, 300..) => self.outputs.extend(ack.clone().map(Output::Transmit)),
            (State::Accepted { .. } | State::Completed { .. } | State::Terminated, _) => (),
        }
    }

    /// The flow cannot carry the INVITE. A call that rings already outlives its connection: the peer answers over
    /// another one, to the address in the Via (RFC 3261 §18.2.2).
    pub(crate) fn handle_send_failed(&mut self) {
        match self.state {
            State::Calling { .. } => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Timeout);
            }
            State::Proceeding | State::Accepted { .. } | State::Completed { .. } | State::Terminated => (),
        }
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Calling { timer_b, .. } if *timer_b <= now => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Timeout);
            }
            State::Calling { timer_a: Some(timer_a), .. } if timer_a.at <= now => {
                // Timer A doubles without a ceiling; only Timers E and G are capped at T2.
                timer_a.double(now);
                self.outputs.push_back(Output::Transmit(self.invite.to_bytes()));
            }
            State::Accepted { timer_m: at } | State::Completed { timer_d: at, .. } if *at <= now => {
                self.state = State::Terminated;
            }
            State::Calling { .. }
            | State::Proceeding
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => (),
        }
    }

    /// The next thing to do, or `None` once drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and the timer that asks for it.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match &self.state {
            State::Calling { timer_a: Some(a), timer_b } if a.at < *timer_b => Some((a.at, Timer::A)),
            State::Calling { timer_b, .. } => Some((*timer_b, Timer::B)),
            State::Accepted { timer_m } => Some((*timer_m, Timer::M)),
            State::Completed { timer_d, .. } => Some((*timer_d, Timer::D)),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// The INVITE, from which a CANCEL is made (RFC 3261 §9.1).
    pub(crate) const fn invite(&self) -> &Request {
        &self.invite
    }

    /// Whether the owner may drop the transaction.
    pub(crate) fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
