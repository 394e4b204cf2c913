//! Where everything that happens to a call is written down: the journal, and whoever watches live.
//!
//! The signalling, media and agent cores each tell what happened in their own words; here it becomes the journal's.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::broadcast;

use crate::call;
use crate::identity::{AccountId, CallId, Pii};
use crate::limits::{CALL_CLOSE_S_MAX, CALL_LOG_WATCHED_EVENTS_MAX};
use crate::platform::calls::record::Status;
use crate::platform::calls::sql::{Journal, NotWritten};
use crate::platform::calls::{DigitDirection, Direction, EndCause, Entry, Event, Initiator};
use crate::server::media_report::media_report;
use crate::server::metrics::{Metrics, Snapshot};
use crate::server::sip_worker::MediaClosed;
use crate::server::{clock, task};
use crate::timer::Now;
use crate::transport::Flow;

/// A handle for writing; clones lead to the same journal and watchers.
///
/// A watcher that does not keep up loses the oldest events and is told how many; the journal's own bound is
/// documented there.
#[derive(Clone, Debug)]
pub struct CallLog {
    journal: Option<Journal>,
    metrics: Option<Arc<Metrics>>,
    watchers: broadcast::Sender<Entry>,
    open: OpenCalls,
}

/// Calls that are not over: as many as signalling lets in. Clones look at the same calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenCalls(Arc<DashMap<CallId, OpenCall, foldhash::fast::RandomState>>);

impl OpenCalls {
    /// Adds them to `snapshot`.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        for state in CallState::ALL {
            let count = self.0.iter().filter(|it| it.state == state).count();
            snapshot.calls.insert(state.name(), u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

/// What is known of a call in progress.
#[derive(Clone, Copy, Debug)]
struct OpenCall {
    direction: Direction,
    state: CallState,
    answered: Option<Now>,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState {
    Offered,
    Ringing,
    Talking,
    Held,
}

impl CallState {
    const ALL: [Self; 4] = [Self::Offered, Self::Ringing, Self::Talking, Self::Held];

    const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::Held => "held",
        }
    }

    const fn is_answered(self) -> bool {
        matches!(self, Self::Talking | Self::Held)
    }
}

impl CallLog {
    /// Writes to `journal` and counts in `metrics`, where there are any.
    pub fn new(journal: Option<Journal>, metrics: Option<Arc<Metrics>>) -> Self {
        let watchers = broadcast::Sender::new(CALL_LOG_WATCHED_EVENTS_MAX);
        Self { journal, metrics, watchers, open: OpenCalls::default() }
    }

    /// Every event from here on.
    pub fn watch(&self) -> broadcast::Receiver<Entry> {
        self.watchers.subscribe()
    }

    /// How many calls have begun and not ended.
    pub fn open_calls(&self) -> usize {
        self.open.0.len()
    }

    /// The calls that have begun and not ended, the latest first.
    pub(crate) fn live(&self) -> Vec<CallId> {
        let mut calls: Vec<_> = self.open.0.iter().map(|it| *it.key()).collect();
        calls.sort_unstable_by(|a, b| b.cmp(a));
        calls
    }

    /// Whether the call has begun and not ended.
    pub(crate) fn is_live(&self, call: CallId) -> bool {
        self.open.0.contains_key(&call)
    }

    /// When a call that is under way was answered.
    pub(crate) fn answered(&self, call: CallId) -> Option<Now> {
        self.open.0.get(&call)?.answered
    }

    /// Whether the journal has so much to write that more calls would lose events.
    pub(crate) fn is_behind(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_behind)
    }

    /// How full the journal's queue is: 0 to 1.
    pub(crate) fn fullness(&self) -> f64 {
        self.journal.as_ref().map_or(0.0, Journal::fullness)
    }

    /// The calls in progress, for metrics: without the log itself, which holds those.
    pub(crate) fn calls_in_progress(&self) -> OpenCalls {
        self.open.clone()
    }

    /// Writes without waiting: for the SIP worker, which never does. A first event that cannot be written is told to
    /// nobody, as there is to be no such call.
    ///
    /// # Errors
    /// When the event is not in the journal, which has been logged.
    pub(crate) fn write_now(&self, call: CallId, event: Event, now: Now) -> Result<(), NotWritten> {
        let entry = entry(call, event.clone(), now);
        let written = self.journal.as_ref().map_or(Ok(()), |it| it.try_append(entry.clone()));
        report(call, written);
        if written.is_ok() || !matches!(event, Event::Offered { .. }) {
            self.follow(call, &event, now);
            self.tell(entry);
        }
        written
    }

    /// Writes, waiting for room if need be.
    pub(crate) async fn write(&self, call: CallId, event: Event, now: Now) {
        self.follow(call, &event, now);
        let entry = entry(call, event, now);
        self.tell(entry.clone());
        if let Some(journal) = &self.journal {
            report(call, journal.append(entry).await);
        }
    }

    /// Writes the last event of a call and returns when it is committed. Only then is the call over for everyone else.
    pub(crate) async fn write_last(&self, call: CallId, event: Event, now: Now) {
        let entry = entry(call, event.clone(), now);
        if let Some(journal) = &self.journal {
            report(call, journal.append_and_commit(entry.clone()).await);
        }
        self.follow(call, &event, now);
        self.tell(entry);
    }

    /// Writes the reports of a call's legs, as soon as they are there, and its last event. When this returns, the call is in
    /// the journal from beginning to end.
    pub(crate) async fn finish(&self, call: CallId, end: call::End, cause: Option<EndCause>, media: MediaClosed) {
        let patience = clock::now().instant + Duration::from_secs(CALL_CLOSE_S_MAX);
        for (leg, report) in media {
            tokio::select! {
                biased;
                report = report => if let Ok(report) = report {
                    self.write(call, Event::MediaReport(media_report(leg.index, &report)), clock::now()).await;
                },
                () = task::deadline(patience) => (),
            }
        }
        self.write_last(call, ended(end, cause), clock::now()).await;
    }

    fn tell(&self, entry: Entry) {
        // Nobody watching is not an error.
        drop(self.watchers.send(entry));
    }

    /// Keeps track of how far the call is.
    fn follow(&self, call: CallId, event: &Event, now: Now) {
        let set = |state| {
            if let Some(mut open) = self.open.0.get_mut(&call) {
                open.state = state;
            }
        };
        match event {
            Event::Offered { direction, .. } => {
                self.open.0.insert(call, OpenCall { direction: *direction, state: CallState::Offered, answered: None });
            }
            Event::Ringing => set(CallState::Ringing),
            Event::Answered { .. } => {
                set(CallState::Talking);
                if let Some(mut open) = self.open.0.get_mut(&call) {
                    open.answered.get_or_insert(now);
                }
            }
            Event::Held { held: false } => set(CallState::Talking),
            Event::Held { held: true } => set(CallState::Held),
            Event::Ended { cause, sip_status, .. } => {
                if let (Some((_, open)), Some(metrics)) = (self.open.0.remove(&call), &self.metrics) {
                    let status = Status::at_the_end(open.state.is_answered(), *sip_status, cause);
                    metrics.call_ended(open.direction, status);
                    metrics.call_result(open.direction, open.state.is_answered(), *sip_status);
                }
            }
            Event::MediaReport(report) => {
                if let Some(metrics) = &self.metrics {
                    metrics.media_ended(report);
                }
            }
            Event::Settled
            | Event::AnsweredBy { .. }
            | Event::Digit { .. }
            | Event::Said { .. }
            | Event::TurnTiming(_)
            | Event::Failed { .. }
            | Event::Transfer { .. }
            | Event::RecordingConsent { .. }
            | Event::Recording(_)
            | Event::Room { .. }
            | Event::Note { .. }
            | Event::Unknown(_) => (),
        }
    }
}

fn entry(call: CallId, event: Event, now: Now) -> Entry {
    Entry { account: AccountId::default(), call, unix_ms: now.unix_ms(), event }
}

fn report(call: CallId, written: Result<(), NotWritten>) {
    if let Err(error) = written {
        tracing::error!(%call, %error, "an event of the call is not in the journal");
    }
}

/// A signalling event in the journal's words; `None` for [`call::Event::Ended`], which [`ended`] makes when the media
/// and the agent have said their last.
pub(crate) fn signalling(event: call::Event) -> Option<Event> {
    Some(match event {
        call::Event::Offered { direction, account: _, from, to, flow, trunk, agent, details } => Event::Offered {
            direction: match direction {
                call::Direction::Inbound => Direction::Inbound,
                call::Direction::Outbound => Direction::Outbound,
            },
            from,
            to,
            source: Pii::new(source(flow)),
            trunk: trunk.map(|it| it.0),
            agent: agent.map(|it| it.0),
            details: details.into_iter().collect(),
        },
        call::Event::Ringing => Event::Ringing,
        call::Event::EarlyMedia => Event::Note {
            topic: "early_media".to_owned(),
            text: Pii::new("the called side sends audio before it answers".to_owned()),
        },
        call::Event::Answered { codec } => {
            Event::Answered { codec: codec.map_or_else(String::new, |it| it.name().to_owned()) }
        }
        call::Event::Held => Event::Held { held: true },
        call::Event::Resumed => Event::Held { held: false },
        call::Event::Digit { digit, .. } => {
            Event::Digit { digit: Pii::new(digit.to_string()), direction: DigitDirection::Received }
        }
        call::Event::TransferStarted { to } => Event::Note { topic: "transfer_started".to_owned(), text: to },
        call::Event::Transferred { to, outcome } => Event::Transfer { target: to, outcome: outcome.name().to_owned() },
        call::Event::TransferAsked { to, is_accepted: true } => {
            Event::Note { topic: "transfer_accepted".to_owned(), text: to }
        }
        call::Event::TransferAsked { to, is_accepted: false } => {
            Event::Note { topic: "transfer_refused".to_owned(), text: to }
        }
        call::Event::Dialled { leg, to, flow } => {
            let text = format!("leg {leg} to {} by {}", to.reveal(), source(flow));
            Event::Note { topic: "dialled".to_owned(), text: Pii::new(text) }
        }
        call::Event::Redirected { leg, to } => {
            let text = format!("leg {leg} to {}", to.reveal());
            Event::Note { topic: "redirected".to_owned(), text: Pii::new(text) }
        }
        call::Event::LegRinging { leg } => note("leg_ringing", format!("leg {leg}")),
        call::Event::LegAnswered { leg, codec } => {
            note("leg_answered", format!("leg {leg} {}", codec.map_or("", |it| it.name())))
        }
        call::Event::LegEnded { leg, end } => {
            let status = end.sip_status.map_or_else(String::new, |it| format!(" {it}"));
            note("leg_ended", format!("leg {leg} {}{status}", end.cause.name()))
        }
        call::Event::Bridged { a, b } => note("bridged", format!("legs {a} and {b}")),
        call::Event::Replaced { leg: _, by } => Event::Note { topic: "replaced".to_owned(), text: by },
        call::Event::Ended(_) => return None,
    })
}

/// The last event of a call. An agent that hung up knows better than signalling why.
pub(crate) fn ended(end: call::End, agent: Option<EndCause>) -> Event {
    let (cause, initiator) = match (agent, end.initiator) {
        // What hangs up without a reason of its own does so for somebody.
        (Some(EndCause::HangUp), call::Initiator::Local) => (EndCause::HangUp, Initiator::Operator),
        (Some(cause), call::Initiator::Local) => {
            let is_ours = matches!(cause, EndCause::Drained | EndCause::Internal | EndCause::ServiceFailed);
            let initiator = if is_ours { Initiator::Server } else { Initiator::Agent };
            (cause, initiator)
        }
        (_, call::Initiator::Local) => (cause(end), Initiator::Server),
        (_, call::Initiator::Remote) => (cause(end), Initiator::Remote),
    };
    Event::Ended { cause, initiator, sip_status: end.sip_status }
}

fn cause(end: call::End) -> EndCause {
    match end.cause {
        call::EndCause::HungUp => EndCause::HangUp,
        call::EndCause::Cancelled | call::EndCause::AnsweredElsewhere => EndCause::Cancelled,
        call::EndCause::Rejected => match end.sip_status {
            Some(404) => EndCause::UnknownNumber,
            Some(403) => EndCause::NotAllowed,
            Some(_) | None => EndCause::Rejected,
        },
        call::EndCause::NoAnswer => EndCause::NoAnswer,
        call::EndCause::NotAcknowledged => EndCause::NoAck,
        call::EndCause::NoCommonMedia => EndCause::NoCommonCodec,
        call::EndCause::NoMediaPort | call::EndCause::Overloaded => EndCause::Overloaded,
        call::EndCause::MediaInactive => EndCause::MediaInactive,
        call::EndCause::PeerLost | call::EndCause::SessionExpired | call::EndCause::NotSent => EndCause::SignallingLost,
    }
}

fn note(topic: &str, text: String) -> Event {
    Event::Note { topic: topic.to_owned(), text: Pii::new(text) }
}

fn source(flow: Flow) -> String {
    format!("{}://{}", flow.kind.scheme(), flow.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::clock;

    fn call(number: u16) -> CallId {
        format!("call_{number:032x}").parse().unwrap()
    }

    fn offered() -> Event {
        Event::Offered {
            direction: Direction::Inbound,
            from: Pii::new("100".to_owned()),
            to: Pii::new("200".to_owned()),
            source: Pii::new("udp://192.0.2.1:5060".to_owned()),
            trunk: None,
            agent: None,
            details: std::collections::BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn without_room_in_the_journal_there_is_no_new_call_and_the_others_end() {
        let directory = std::env::temp_dir().join(format!("hookswitch-full-journal-{}", std::process::id()));
        let (journal, writer) = Journal::open(&directory, clock::now).await.unwrap();
        let log = CallLog::new(Some(journal.clone()), None);
        assert_eq!(log.write_now(call(1), offered(), clock::now()), Ok(()));
        while log.write_now(call(1), Event::Ringing, clock::now()).is_ok() {}
        let mut watcher = log.watch();
        assert_eq!(log.write_now(call(2), offered(), clock::now()), Err(NotWritten::Full));
        assert_eq!(log.open_calls(), 1);
        assert!(watcher.try_recv().is_err());
        let end = Event::Ended { cause: EndCause::HangUp, initiator: Initiator::Remote, sip_status: None };
        assert_eq!(log.write_now(call(1), end, clock::now()), Ok(()));
        assert_eq!(log.open_calls(), 0);
        drop((log, journal, writer));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
