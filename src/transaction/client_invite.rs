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

use super::hop_by_hop;
use super::timers::{Backoff, Timer};
use crate::sip::{Method, Request, Response};
use crate::transport::TransportKind;

/// What the transaction wants done. Drain with [`ClientInvite::poll_output`] after every `handle_*` call.
#[derive(Debug)]
pub(crate) enum Output {
    /// Write this request to the flow of the INVITE.
    Transmit(Bytes),
    /// Hand the response to the transaction user.
    Response(Response),
    /// Timer B fired before any response, or the flow is gone over which one could come.
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
        match (&self.state, response.status().code()) {
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
                let ack = hop_by_hop(&self.invite, Method::Ack, Some(&response)).build().ok().map(|it| it.to_bytes());
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

    /// The flow cannot carry the INVITE, or is gone. A call that rings already outlives its connection: the peer answers over
    /// another one, to the address in the Via (RFC 3261 §18.2.2). The client of a websocket cannot (RFC 7118 §5.1).
    pub(crate) fn handle_send_failed(&mut self) {
        let outlives = matches!(self.state, State::Proceeding) && !self.transport.is_websocket();
        match self.state {
            State::Calling { .. } | State::Proceeding if !outlives => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Timeout);
            }
            State::Calling { .. }
            | State::Proceeding
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => (),
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

    /// The INVITE as written, while nothing has come for it.
    pub(crate) fn unanswered(&self) -> Option<Bytes> {
        matches!(self.state, State::Calling { .. }).then(|| self.invite.to_bytes())
    }

    /// Whether the owner may drop the transaction.
    pub(crate) fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timer::Now;
    use crate::transaction::tests::{request, response};

    #[test]
    fn an_unanswered_invite_is_sent_seven_times_then_times_out() {
        check(
            TransportKind::Udp,
            "",
            "
             0.000 > INVITE
             0.500 > INVITE
             1.500 > INVITE
             3.500 > INVITE
             7.500 > INVITE
            15.500 > INVITE
            31.500 > INVITE
            32.000 ^ Timeout
            32.000 terminated B",
        );
    }

    #[test]
    fn a_provisional_response_stops_retransmission_and_timer_b() {
        check(
            TransportKind::Udp,
            "600 180",
            "
             0.000 > INVITE
             0.500 > INVITE
             0.600 ^ 180",
        );
    }

    #[test]
    fn a_rejection_is_acknowledged_again_for_each_retransmission() {
        check(
            TransportKind::Udp,
            "100 486; 600 486",
            "
             0.000 > INVITE
             0.100 > ACK
             0.100 ^ 486
             0.600 > ACK
            32.100 terminated D",
        );
    }

    #[test]
    fn every_2xx_reaches_the_transaction_user_until_timer_m() {
        check(
            TransportKind::Udp,
            "100 200; 600 200",
            "
             0.000 > INVITE
             0.100 ^ 200
             0.600 ^ 200
            32.100 terminated M",
        );
    }

    #[test]
    fn a_reliable_transport_neither_repeats_nor_lingers() {
        check(
            TransportKind::Tcp,
            "2000 404",
            "
             0.000 > INVITE
             2.000 > ACK
             2.000 ^ 404
             2.000 terminated",
        );
    }

    #[test]
    fn a_call_that_rings_outlives_its_connection_but_not_its_websocket() {
        check(
            TransportKind::Tcp,
            "100 180; 600 0; 900 200",
            "0.000 > INVITE\n0.100 ^ 180\n0.900 ^ 200\n32.900 terminated M",
        );
        check(TransportKind::Ws, "100 180; 600 0", "0.000 > INVITE\n0.100 ^ 180\n0.600 ^ Timeout\n0.600 terminated");
        check(TransportKind::Udp, "600 0", "0.000 > INVITE\n0.500 > INVITE\n0.600 ^ Timeout\n0.600 terminated");
    }

    /// Runs one transaction on simulated time: `responses` are milliseconds and a status, 0 for a flow that fails.
    #[track_caller]
    fn check(transport: TransportKind, responses: &str, expected: &str) {
        let start = Now::origin().instant;
        let mut machine = ClientInvite::new(request("INVITE"), transport, start);
        let mut inputs = responses.split("; ").filter_map(|it| it.split_once(' ')).peekable();
        let mut log = vec![];
        let mut now = start;
        let mut last_timer = String::new();
        loop {
            let at = |now: Instant| format!("{:.3}", (now - start).as_secs_f64());
            while let Some(output) = machine.poll_output() {
                log.push(match output {
                    Output::Transmit(bytes) => {
                        let text = String::from_utf8_lossy(&bytes);
                        format!("{} > {}", at(now), text.split(' ').next().expect("a method"))
                    }
                    Output::Response(response) => format!("{} ^ {}", at(now), response.status()),
                    Output::Timeout => format!("{} ^ Timeout", at(now)),
                });
            }
            if machine.is_terminated() {
                log.push(format!("{} terminated {last_timer}", at(now)).trim_end().to_owned());
                break;
            }
            last_timer.clear();
            let input_at = inputs.peek().map(|(ms, _)| start + Duration::from_millis(ms.parse().expect("a number")));
            match (input_at, machine.poll_timeout()) {
                (Some(next), timer) if timer.is_none_or(|(timer, _)| next <= timer) => {
                    now = next;
                    let status = inputs.next().expect("peeked").1.parse().expect("a number");
                    match status {
                        0 => machine.handle_send_failed(),
                        status => machine.handle_response(response(status), now),
                    }
                }
                (_, Some((next, timer))) => {
                    now = next;
                    last_timer = format!("{timer:?}");
                    machine.handle_timeout(now);
                }
                (_, None) => break,
            }
        }
        let expected: Vec<_> = expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(log, expected);
    }
}
