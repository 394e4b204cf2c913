//! The INVITE server transaction: RFC 3261 §17.2.1, amended by RFC 6026 §7.1.
//!
//! | state      | input              | action              | next       |
//! |------------|--------------------|---------------------|------------|
//! | Proceeding | 200 ms             | 100                 | Proceeding |
//! | Proceeding | INVITE             | last provisional    | Proceeding |
//! | Proceeding | 1xx from TU        | send                | Proceeding |
//! | Proceeding | 2xx from TU        | send                | Accepted   |
//! | Proceeding | 300–699 from TU    | send                | Completed  |
//! | Completed  | INVITE, Timer G    | send again          | Completed  |
//! | Completed  | ACK                |                     | Confirmed  |
//! | Completed  | Timer H            |                     | Terminated |
//! | Confirmed  | Timer I            |                     | Terminated |
//! | Accepted   | 2xx from TU        | send                | Accepted   |
//! | Accepted   | ACK                | ACK to TU           | Accepted   |
//! | Accepted   | Timer L            |                     | Terminated |
//!
//! Deviation: §17.2.1 lets a server skip the 100 when it knows that it answers within 200 ms; this one waits the 200 ms
//! and skips it if a response went out by then.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::timers::{Backoff, Timer};
use crate::sip::StatusCode;
use crate::transport::TransportKind;

/// What the transaction wants done. Drain with [`ServerInvite::poll_output`] after every `handle_*` call and command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Write this response to where the INVITE wants its responses.
    Transmit(Bytes),
    /// The transaction user has not answered for 200 ms: send a 100.
    Trying,
    /// Hand the ACK of a 2xx to the transaction user.
    Ack,
    /// No ACK came for a final response above 299.
    Unacknowledged,
}

/// One INVITE server transaction.
#[derive(Debug)]
pub(crate) struct ServerInvite {
    transport: TransportKind,
    state: State,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Proceeding { last: Option<Bytes>, trying: Option<Instant> },
    Completed { response: Bytes, timer_g: Option<Backoff>, timer_h: Instant },
    Confirmed { timer_i: Instant },
    Accepted { timer_l: Instant },
    Terminated,
}

impl ServerInvite {
    /// Takes over a new INVITE.
    pub(crate) fn new(transport: TransportKind, now: Instant) -> Self {
        let trying = Some(now + Timer::Trying.length(transport));
        Self { transport, state: State::Proceeding { last: None, trying }, outputs: VecDeque::new() }
    }

    /// A retransmission of the INVITE.
    pub(crate) fn handle_invite(&mut self) {
        match &self.state {
            State::Proceeding { last: Some(response), .. } | State::Completed { response, .. } => {
                self.outputs.push_back(Output::Transmit(response.clone()));
            }
            // The transaction user retransmits its 2xx by itself.
            State::Proceeding { last: None, .. }
            | State::Confirmed { .. }
            | State::Accepted { .. }
            | State::Terminated => (),
        }
    }

    /// An ACK with the branch of the INVITE.
    pub(crate) fn handle_ack(&mut self, now: Instant) {
        match &self.state {
            State::Completed { .. } if Timer::I.is_skipped(self.transport) => self.state = State::Terminated,
            State::Completed { .. } => {
                self.state = State::Confirmed { timer_i: now + Timer::I.length(self.transport) };
            }
            State::Accepted { .. } => self.outputs.push_back(Output::Ack),
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => (),
        }
    }

    /// Sends a response of the transaction user. A response that the state does not allow is not sent.
    pub(crate) fn respond(&mut self, status: StatusCode, response: Bytes, now: Instant) {
        let timer_l = now + Timer::L.length(self.transport);
        match (&mut self.state, status.code()) {
            (State::Proceeding { last, trying }, 100..=199) => {
                *trying = None;
                *last = Some(response.clone());
            }
            (State::Proceeding { .. }, 200..=299) => self.state = State::Accepted { timer_l },
            (State::Proceeding { .. }, _) => {
                self.state = State::Completed {
                    response: response.clone(),
                    timer_g: Backoff::start(Timer::G, self.transport, now),
                    timer_h: now + Timer::H.length(self.transport),
                };
            }
            (State::Accepted { .. }, 200..=299) => (),
            (State::Accepted { .. } | State::Completed { .. } | State::Confirmed { .. } | State::Terminated, _) => {
                return;
            }
        }
        self.outputs.push_back(Output::Transmit(response));
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Proceeding { trying, .. } if trying.is_some_and(|it| it <= now) => {
                *trying = None;
                self.outputs.push_back(Output::Trying);
            }
            State::Completed { timer_h, .. } if *timer_h <= now => {
                self.state = State::Terminated;
                self.outputs.push_back(Output::Unacknowledged);
            }
            State::Completed { response, timer_g: Some(timer_g), .. } if timer_g.at <= now => {
                timer_g.double_to_t2(now);
                self.outputs.push_back(Output::Transmit(response.clone()));
            }
            State::Confirmed { timer_i: at } | State::Accepted { timer_l: at } if *at <= now => {
                self.state = State::Terminated;
            }
            State::Proceeding { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Accepted { .. }
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
            State::Proceeding { trying, .. } => trying.map(|it| (it, Timer::Trying)),
            State::Completed { timer_g: Some(timer_g), timer_h, .. } if timer_g.at < *timer_h => {
                Some((timer_g.at, Timer::G))
            }
            State::Completed { timer_h, .. } => Some((*timer_h, Timer::H)),
            State::Confirmed { timer_i } => Some((*timer_i, Timer::I)),
            State::Accepted { timer_l } => Some((*timer_l, Timer::L)),
            State::Terminated => None,
        }
    }

    /// Whether no final response was given yet.
    pub(crate) fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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
    fn an_unanswered_invite_is_answered_with_100_after_200_ms() {
        check(
            TransportKind::Udp,
            "500 INVITE; 1000 180; 1500 INVITE; 2000 200",
            "
             0.200 > 100
             0.500 > 100
             1.000 > 180
             1.500 > 180
             2.000 > 200
            34.000 terminated L",
        );
    }

    #[test]
    fn an_early_answer_saves_the_100() {
        check(
            TransportKind::Udp,
            "100 180",
            "
             0.100 > 180",
        );
    }

    #[test]
    fn a_rejection_is_repeated_until_timer_h() {
        check(
            TransportKind::Udp,
            "100 486",
            "
             0.100 > 486
             0.600 > 486
             1.600 > 486
             3.600 > 486
             7.600 > 486
            11.600 > 486
            15.600 > 486
            19.600 > 486
            23.600 > 486
            27.600 > 486
            31.600 > 486
            32.100 ^ Unacknowledged
            32.100 terminated H",
        );
    }

    #[test]
    fn an_ack_stops_the_rejection_and_later_copies_are_absorbed() {
        check(
            TransportKind::Udp,
            "100 486; 200 INVITE; 700 ACK; 800 INVITE; 900 ACK",
            "
             0.100 > 486
             0.200 > 486
             0.600 > 486
             5.700 terminated I",
        );
    }

    #[test]
    fn a_reliable_transport_repeats_nothing_and_ends_at_the_ack() {
        check(
            TransportKind::Tcp,
            "100 486; 9000 ACK",
            "
             0.100 > 486
             9.000 terminated",
        );
    }

    #[test]
    fn an_accepted_invite_absorbs_copies_and_passes_2xx_and_acks() {
        check(
            TransportKind::Udp,
            "100 200; 300 INVITE; 600 200; 700 ACK; 800 486",
            "
             0.100 > 200
             0.600 > 200
             0.700 ^ Ack
            32.100 terminated L",
        );
    }

    /// Runs one transaction on simulated time: `inputs` are milliseconds and `INVITE`, `ACK` or the status of a
    /// response of the transaction user. A 100 the machine asks for is given at once.
    #[track_caller]
    fn check(transport: TransportKind, inputs: &str, expected: &str) {
        let start = Now::origin().instant;
        let mut machine = ServerInvite::new(transport, start);
        let mut inputs = inputs.split("; ").map(|it| it.split_once(' ').expect("time and input")).peekable();
        let mut log = vec![];
        let mut now = start;
        let mut last_timer = String::new();
        loop {
            let at = |now: Instant| format!("{:.3}", (now - start).as_secs_f64());
            while let Some(output) = machine.poll_output() {
                match output {
                    Output::Transmit(bytes) => {
                        log.push(format!("{} > {}", at(now), String::from_utf8_lossy(&bytes)));
                    }
                    Output::Trying => machine.respond(StatusCode::TRYING, Bytes::from_static(b"100"), now),
                    Output::Ack | Output::Unacknowledged => log.push(format!("{} ^ {output:?}", at(now))),
                }
            }
            if machine.is_terminated() {
                log.push(format!("{} terminated {last_timer}", at(now)).trim_end().to_owned());
                break;
            }
            last_timer.clear();
            let input_at = inputs.peek().map(|(ms, _)| start + Duration::from_millis(ms.parse().expect("a number")));
            match (input_at, machine.poll_timeout()) {
                (Some(at), timer) if timer.is_none_or(|(timer, _)| at <= timer) => {
                    now = at;
                    match inputs.next().expect("peeked").1 {
                        "INVITE" => machine.handle_invite(),
                        "ACK" => machine.handle_ack(now),
                        status => {
                            let code = StatusCode::new(status.parse().expect("a number")).expect("a status");
                            machine.respond(code, Bytes::copy_from_slice(status.as_bytes()), now);
                        }
                    }
                }
                (_, Some((at, timer))) => {
                    now = at;
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
