//! The non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! | state      | input             | action         | next       |
//! |------------|-------------------|----------------|------------|
//! | Trying     | Timer E           | send again     | Trying     |
//! | Proceeding | Timer E (T2)      | send again     | Proceeding |
//! | either     | 1xx               | response to TU | Proceeding |
//! | either     | 200–699           | response to TU | Completed  |
//! | either     | Timer F           | timeout to TU  | Terminated |
//! | Completed  | response          |                | Completed  |
//! | Completed  | Timer K           |                | Terminated |

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::timers::{Backoff, Timer};
use crate::sip::Response;
use crate::transport::TransportKind;

/// What the transaction wants done. Drain with [`ClientNonInvite::poll_output`] after every `handle_*` call.
#[derive(Debug)]
pub(crate) enum Output {
    /// Write the request to its flow.
    Transmit(Bytes),
    /// Hand the response to the transaction user.
    Response(Response),
    /// Timer F fired before any final response.
    Timeout,
}

/// One non-INVITE client transaction.
#[derive(Debug)]
pub(crate) struct ClientNonInvite {
    request: Bytes,
    transport: TransportKind,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Trying { timer_e: Option<Backoff>, timer_f: Instant },
    Proceeding { timer_e: Option<Backoff>, timer_f: Instant },
    Completed { timer_k: Instant },
    Terminated,
}

impl ClientNonInvite {
    /// Sends `request` and starts Timers E and F.
    pub(crate) fn new(request: Bytes, transport: TransportKind, now: Instant) -> Self {
        let timer_e = Backoff::start(Timer::E, transport, now);
        let timer_f = now + Timer::F.length(transport);
        Self {
            outputs: VecDeque::from([Output::Transmit(request.clone())]),
            request,
            transport,
            state: State::Trying { timer_e, timer_f },
        }
    }

    /// Feeds a response matched to this transaction (RFC 3261 §17.1.3).
    pub(crate) fn handle_response(&mut self, response: Response, now: Instant) {
        match &self.state {
            State::Trying { timer_e, timer_f } | State::Proceeding { timer_e, timer_f } => {
                self.state = match response.status().code() {
                    100..=199 => State::Proceeding { timer_e: *timer_e, timer_f: *timer_f },
                    _ if Timer::K.is_skipped(self.transport) => State::Terminated,
                    _ => State::Completed { timer_k: now + Timer::K.length(self.transport) },
                };
                self.outputs.push_back(Output::Response(response));
            }
            State::Completed { .. } | State::Terminated => (),
        }
    }

    /// The flow cannot carry the request.
    pub(crate) fn handle_send_failed(&mut self) {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Timeout);
            }
            State::Completed { .. } => self.state = State::Terminated,
            State::Terminated => (),
        }
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Trying { timer_f, .. } | State::Proceeding { timer_f, .. } if *timer_f <= now => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Timeout);
            }
            State::Trying { timer_e: Some(timer_e), .. } if timer_e.at <= now => {
                timer_e.double_to_t2(now);
                self.outputs.push_back(Output::Transmit(self.request.clone()));
            }
            State::Proceeding { timer_e: Some(timer_e), .. } if timer_e.at <= now => {
                timer_e.slow_down(now);
                self.outputs.push_back(Output::Transmit(self.request.clone()));
            }
            State::Completed { timer_k } if *timer_k <= now => self.state = State::Terminated,
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } | State::Terminated => (),
        }
    }

    /// The next thing to do, or `None` once drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and the timer that asks for it.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match &self.state {
            State::Trying { timer_e: Some(timer_e), timer_f }
            | State::Proceeding { timer_e: Some(timer_e), timer_f }
                if timer_e.at < *timer_f =>
            {
                Some((timer_e.at, Timer::E))
            }
            State::Trying { timer_f, .. } | State::Proceeding { timer_f, .. } => Some((*timer_f, Timer::F)),
            State::Completed { timer_k } => Some((*timer_k, Timer::K)),
            State::Terminated => None,
        }
    }

    /// The request, while nothing has come for it.
    pub(crate) fn unanswered(&self) -> Option<Bytes> {
        matches!(self.state, State::Trying { .. }).then(|| self.request.clone())
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
    fn an_unanswered_request_is_sent_eleven_times_then_times_out() {
        check(
            TransportKind::Udp,
            "",
            "
             0.000 > request
             0.500 > request
             1.500 > request
             3.500 > request
             7.500 > request
            11.500 > request
            15.500 > request
            19.500 > request
            23.500 > request
            27.500 > request
            31.500 > request
            32.000 ^ Timeout
            32.000 terminated F",
        );
    }

    #[test]
    fn a_provisional_response_slows_the_repetition_to_t2() {
        check(
            TransportKind::Udp,
            "100 100; 6000 200; 7000 200",
            "
             0.000 > request
             0.100 ^ 100
             0.500 > request
             4.500 > request
             6.000 ^ 200
            11.000 terminated K",
        );
    }

    #[test]
    fn a_reliable_transport_neither_repeats_nor_lingers() {
        check(
            TransportKind::Tcp,
            "9000 481",
            "
             0.000 > request
             9.000 ^ 481
             9.000 terminated",
        );
    }

    /// Runs one transaction on simulated time: `responses` are milliseconds and a status.
    #[track_caller]
    fn check(transport: TransportKind, responses: &str, expected: &str) {
        let start = Now::origin().instant;
        let mut machine = ClientNonInvite::new(Bytes::from_static(b"request"), transport, start);
        let mut inputs = responses.split("; ").filter_map(|it| it.split_once(' ')).peekable();
        let mut log = vec![];
        let mut now = start;
        let mut last_timer = String::new();
        loop {
            let at = |now: Instant| format!("{:.3}", (now - start).as_secs_f64());
            while let Some(output) = machine.poll_output() {
                log.push(match output {
                    Output::Transmit(bytes) => format!("{} > {}", at(now), String::from_utf8_lossy(&bytes)),
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
                    machine.handle_response(crate::transaction::tests::response(status), now);
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
