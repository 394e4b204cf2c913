//! What the signalling stack counts: messages by method and status, and what was dropped and why.

use std::collections::BTreeMap;

use crate::sip::{Method, StatusCode};

/// Counters of a whole signalling stack, from its start on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    requests_in: [u64; METHOD_NAMES.len()],
    requests_out: [u64; METHOD_NAMES.len()],
    /// By place of the method in the table and status: at most a few dozen pairs, since responses that belong to nothing
    /// of ours carry methods and statuses of the peer's choice only within these bounds.
    responses_in: BTreeMap<(usize, u16), u64>,
    responses_out: BTreeMap<(usize, u16), u64>,
    dropped: [u64; Dropped::ALL.len()],
}

/// Why something was not taken further. What it was has been answered where the RFC calls for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// A datagram that is no SIP message, or one that nobody can be told about.
    Garbage,
    /// A request that breaks the grammar, or lacks what every request has: answered 400 or 505.
    Malformed,
    /// A stream whose framing was lost: its connection was closed.
    FramingLost,
    /// A connection beyond the limit: closed.
    TooManyStreams,
    /// A connection that left a message unfinished: closed.
    StreamStalled,
    /// A connection of ours whose peer no longer answers pings: closed.
    PingUnanswered,
    /// A connection whose peer does not keep it alive as it agreed to: closed.
    FlowSilent,
    /// A message beyond the rate of its source.
    SourceTooFast,
    /// A request beyond the rate of a source that is not known.
    UnknownSourceTooFast,
    /// A response that belongs to no transaction.
    StrayResponse,
    /// An ACK that belongs to no transaction and no dialog.
    StrayAck,
    /// A request that came by a second path: answered 482.
    Merged,
    /// A request beyond the limit of transactions: answered 503.
    TooManyTransactions,
    /// An INVITE beyond the limit of dialogs: answered 503.
    TooManyDialogs,
    /// An INVITE while too many accepted ones wait for their ACK: answered 503.
    TooManyUnacknowledged,
    /// An INVITE beyond the limit of calls: answered 503.
    TooManyCalls,
    /// An INVITE while draining: answered 503.
    Draining,
    /// An INVITE that waited for too long to be looked at: answered 503.
    Overloaded,
}

impl Dropped {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 18] = [
        Self::Garbage,
        Self::Malformed,
        Self::FramingLost,
        Self::TooManyStreams,
        Self::StreamStalled,
        Self::PingUnanswered,
        Self::FlowSilent,
        Self::SourceTooFast,
        Self::UnknownSourceTooFast,
        Self::StrayResponse,
        Self::StrayAck,
        Self::Merged,
        Self::TooManyTransactions,
        Self::TooManyDialogs,
        Self::TooManyUnacknowledged,
        Self::TooManyCalls,
        Self::Draining,
        Self::Overloaded,
    ];

    /// As a metric's label writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Malformed => "malformed",
            Self::FramingLost => "framing_lost",
            Self::TooManyStreams => "too_many_streams",
            Self::StreamStalled => "stream_stalled",
            Self::PingUnanswered => "ping_unanswered",
            Self::FlowSilent => "flow_silent",
            Self::SourceTooFast => "source_too_fast",
            Self::UnknownSourceTooFast => "unknown_source_too_fast",
            Self::StrayResponse => "stray_response",
            Self::StrayAck => "stray_ack",
            Self::Merged => "merged",
            Self::TooManyTransactions => "too_many_transactions",
            Self::TooManyDialogs => "too_many_dialogs",
            Self::TooManyUnacknowledged => "too_many_unacknowledged",
            Self::TooManyCalls => "too_many_calls",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }
}

impl Stats {
    /// Nothing counted yet.
    pub(crate) const fn new() -> Self {
        Self {
            requests_in: [0; METHOD_NAMES.len()],
            requests_out: [0; METHOD_NAMES.len()],
            responses_in: BTreeMap::new(),
            responses_out: BTreeMap::new(),
            dropped: [0; Dropped::ALL.len()],
        }
    }

    /// Requests received, by the name of their method.
    pub fn requests_in(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        METHOD_NAMES.into_iter().zip(self.requests_in)
    }

    /// Requests sent, retransmissions included, by the name of their method.
    pub fn requests_out(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        METHOD_NAMES.into_iter().zip(self.requests_out)
    }

    /// Responses received, by the name of the method they answer and status.
    pub fn responses_in(&self) -> impl Iterator<Item = (&'static str, u16, u64)> + '_ {
        named(&self.responses_in)
    }

    /// Responses sent, retransmissions included, by the name of the method they answer and status.
    pub fn responses_out(&self) -> impl Iterator<Item = (&'static str, u16, u64)> + '_ {
        named(&self.responses_out)
    }

    /// How often something was dropped for `reason`.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    pub(crate) fn count_request_in(&mut self, method: &Method) {
        count(&mut self.requests_in, method_index(method));
    }

    pub(crate) fn count_request_out(&mut self, method: &Method) {
        count(&mut self.requests_out, method_index(method));
    }

    pub(crate) fn count_response_in(&mut self, method: &Method, status: StatusCode) {
        *self.responses_in.entry((method_index(method), status.code())).or_default() += 1;
    }

    pub(crate) fn count_response_out(&mut self, method: &Method, status: StatusCode) {
        *self.responses_out.entry((method_index(method), status.code())).or_default() += 1;
    }

    pub(crate) fn count_dropped(&mut self, reason: Dropped) {
        count(&mut self.dropped, reason as usize);
    }
}

fn named(counters: &BTreeMap<(usize, u16), u64>) -> impl Iterator<Item = (&'static str, u16, u64)> + '_ {
    counters
        .iter()
        .map(|((method, status), count)| (METHOD_NAMES.get(*method).copied().unwrap_or("other"), *status, *count))
}

fn count(counters: &mut [u64], index: usize) {
    if let Some(counter) = counters.get_mut(index) {
        *counter += 1;
    }
}

const METHOD_NAMES: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "INFO",
    "PRACK",
    "UPDATE",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
    "other",
];

const fn method_index(method: &Method) -> usize {
    match method {
        Method::Invite => 0,
        Method::Ack => 1,
        Method::Bye => 2,
        Method::Cancel => 3,
        Method::Options => 4,
        Method::Register => 5,
        Method::Info => 6,
        Method::Prack => 7,
        Method::Update => 8,
        Method::Refer => 9,
        Method::Notify => 10,
        Method::Subscribe => 11,
        Method::Message => 12,
        Method::Publish => 13,
        Method::Other(_) => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place() {
        let mut stats = Stats::default();
        for reason in Dropped::ALL {
            stats.count_dropped(reason);
        }
        assert!(Dropped::ALL.iter().all(|it| stats.dropped(*it) == 1));
        stats.count_request_in(&Method::Publish);
        stats.count_request_in(&Method::Other("GUESS".into()));
        let seen: Vec<_> = stats.requests_in().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [("PUBLISH", 1), ("other", 1)]);
        stats.count_response_out(&Method::Invite, StatusCode::TRYING);
        stats.count_response_out(&Method::Invite, StatusCode::TRYING);
        assert_eq!(stats.responses_out().collect::<Vec<_>>(), [("INVITE", 100, 2)]);
    }
}
