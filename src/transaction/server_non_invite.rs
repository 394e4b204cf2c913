//! The non-INVITE server transaction: RFC 3261 §17.2.2, amended by RFC 4320.
//!
//! | state      | input         | action       | next       |
//! |------------|---------------|--------------|------------|
//! | Trying     | request       |              | Trying     |
//! | Trying     | 200–699       | send         | Completed  |
//! | Trying     | 64*T1         |              | Terminated |
//! | Completed  | request       | send again   | Completed  |
//! | Completed  | Timer J       |              | Terminated |
//!
//! RFC 4320 §4.1 forbids provisional responses that help nobody and §4.2 forbids an answer that comes too late, so there
//! is no Proceeding state and an unanswered request is forgotten when its client has given up.

use std::time::Instant;

use bytes::Bytes;

use super::timers::Timer;
use crate::transport::TransportKind;

/// One non-INVITE server transaction. Its only output is the response, which the methods return.
#[derive(Debug)]
pub(crate) struct ServerNonInvite {
    transport: TransportKind,
    state: State,
}

#[derive(Debug)]
enum State {
    Trying { timer_f: Instant },
    Completed { response: Bytes, timer_j: Instant },
    Terminated,
}

impl ServerNonInvite {
    /// Takes over a new request.
    pub(crate) fn new(transport: TransportKind, now: Instant) -> Self {
        Self { transport, state: State::Trying { timer_f: now + Timer::F.length(transport) } }
    }

    /// A retransmission of the request: what to send again, if anything.
    pub(crate) fn handle_request(&self) -> Option<Bytes> {
        match &self.state {
            State::Completed { response, .. } => Some(response.clone()),
            State::Trying { .. } | State::Terminated => None,
        }
    }

    /// Takes the final response of the transaction user and returns it if it is to be sent.
    pub(crate) fn respond(&mut self, response: Bytes, now: Instant) -> Option<Bytes> {
        match &self.state {
            State::Trying { .. } if Timer::J.is_skipped(self.transport) => {
                self.state = State::Terminated;
            }
            State::Trying { .. } => {
                let timer_j = now + Timer::J.length(self.transport);
                self.state = State::Completed { response: response.clone(), timer_j };
            }
            State::Completed { .. } | State::Terminated => return None,
        }
        Some(response)
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            State::Trying { timer_f: at } | State::Completed { timer_j: at, .. } if *at <= now => {
                self.state = State::Terminated;
            }
            State::Trying { .. } | State::Completed { .. } | State::Terminated => (),
        }
    }

    /// When to call [`Self::handle_timeout`], and the timer that asks for it.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match &self.state {
            State::Trying { timer_f } => Some((*timer_f, Timer::F)),
            State::Completed { timer_j, .. } => Some((*timer_j, Timer::J)),
            State::Terminated => None,
        }
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

    #[test]
    fn copies_of_the_request_get_the_same_answer_until_timer_j() {
        check(
            TransportKind::Udp,
            "0 request; 10 respond; 500 request; 31000 request; 31500 respond",
            "
             0.010 > response
             0.500 > response
            31.000 > response
            32.010 terminated J",
        );
    }

    #[test]
    fn a_reliable_transport_does_not_linger() {
        check(
            TransportKind::Tcp,
            "10 respond",
            "
             0.010 > response
             0.010 terminated",
        );
    }

    #[test]
    fn an_unanswered_request_is_forgotten_in_silence() {
        check(
            TransportKind::Udp,
            "500 request",
            "
            32.000 terminated F",
        );
    }

    /// Runs one transaction on simulated time: `inputs` are milliseconds and `request` or `respond`.
    #[track_caller]
    fn check(transport: TransportKind, inputs: &str, expected: &str) {
        let start = Now::origin().instant;
        let mut machine = ServerNonInvite::new(transport, start);
        let mut inputs = inputs.split("; ").map(|it| it.split_once(' ').expect("time and input")).peekable();
        let mut log = vec![];
        let mut now = start;
        let mut last_timer = String::new();
        loop {
            let at = |now: Instant| format!("{:.3}", (now - start).as_secs_f64());
            if machine.is_terminated() {
                log.push(format!("{} terminated {last_timer}", at(now)).trim_end().to_owned());
                break;
            }
            let input_at = inputs.peek().map(|(ms, _)| start + Duration::from_millis(ms.parse().expect("a number")));
            match (input_at, machine.poll_timeout()) {
                (Some(next), timer) if timer.is_none_or(|(timer, _)| next <= timer) => {
                    now = next;
                    let sent = match inputs.next().expect("peeked").1 {
                        "request" => machine.handle_request(),
                        _ => machine.respond(Bytes::from_static(b"response"), now),
                    };
                    log.extend(sent.map(|it| format!("{} > {}", at(now), String::from_utf8_lossy(&it))));
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
