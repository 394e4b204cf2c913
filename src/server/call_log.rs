//! Where everything that happens to a call is written down: the journal, and whoever watches live.
//!
//! The signalling, media and agent cores each tell what happened in their own words; here it becomes the journal's.

use tokio::sync::broadcast;

use crate::call;
use crate::identity::{AccountId, CallId, Pii};
use crate::limits::CALL_LOG_WATCHED_EVENTS_MAX;
use crate::media;
use crate::platform::calls::sql::{Journal, NotWritten};
use crate::platform::calls::{Direction, DigitDirection, EndCause, Entry, Event, Initiator, MediaReport};
use crate::timer::Now;
use crate::transport::Flow;

/// A handle for writing; clones lead to the same journal and watchers.
///
/// A watcher that does not keep up loses the oldest events and is told how many; the journal's own bound is
/// documented there.
#[derive(Clone, Debug)]
pub struct CallLog {
    journal: Option<Journal>,
    watchers: broadcast::Sender<Entry>,
}

impl CallLog {
    /// Writes to `journal`; without one, only watchers are told.
    pub fn new(journal: Option<Journal>) -> Self {
        Self { journal, watchers: broadcast::Sender::new(CALL_LOG_WATCHED_EVENTS_MAX) }
    }

    /// Every event from here on.
    pub fn watch(&self) -> broadcast::Receiver<Entry> {
        self.watchers.subscribe()
    }

    /// Writes without waiting: for the SIP worker, which never does.
    pub(crate) fn write_now(&self, call: CallId, event: Event, now: Now) {
        let entry = self.tell(call, event, now);
        if let Some(journal) = &self.journal
            && let Err(error) = journal.try_append(entry)
        {
            tracing::error!(%call, %error, "an event of the call is not in the journal");
        }
    }

    /// Writes, waiting for room if need be.
    pub(crate) async fn write(&self, call: CallId, event: Event, now: Now) {
        let entry = self.tell(call, event, now);
        if let Some(journal) = &self.journal {
            report(call, journal.append(entry).await);
        }
    }

    /// Writes the last event of a call and returns when it is committed.
    pub(crate) async fn write_last(&self, call: CallId, event: Event, now: Now) {
        let entry = Entry { account: AccountId::default(), call, unix_ms: now.unix_ms(), event };
        if let Some(journal) = &self.journal {
            report(call, journal.append_and_commit(entry.clone()).await);
        }
        // Nobody watching is not an error.
        drop(self.watchers.send(entry));
    }

    fn tell(&self, call: CallId, event: Event, now: Now) -> Entry {
        let entry = Entry { account: AccountId::default(), call, unix_ms: now.unix_ms(), event };
        // Nobody watching is not an error.
        drop(self.watchers.send(entry.clone()));
        entry
    }
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
        call::Event::Offered { direction, account: _, from, to, flow, agent } => Event::Offered {
            direction: match direction {
                call::Direction::Inbound => Direction::Inbound,
                call::Direction::Outbound => Direction::Outbound,
            },
            from,
            to,
            source: Pii::new(source(flow)),
            agent: agent.map(|it| it.0),
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
        call::Event::Ended(_) => return None,
    })
}

/// The last event of a call. An agent that hung up knows better than signalling why.
pub(crate) fn ended(end: call::End, agent: Option<EndCause>) -> Event {
    let (cause, initiator) = match (agent, end.initiator) {
        (Some(cause), call::Initiator::Local) => {
            let initiator = match cause {
                EndCause::Drained | EndCause::Internal | EndCause::ServiceFailed => Initiator::Server,
                _ => Initiator::Agent,
            };
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
        call::EndCause::Cancelled => EndCause::Cancelled,
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
        call::EndCause::PeerLost => EndCause::SignallingLost,
    }
}

/// The media of leg number `leg` in the journal's words.
pub(crate) fn media_report(leg: u8, report: &media::Report) -> Event {
    Event::MediaReport(MediaReport {
        leg,
        packets_sent: report.sent.packets,
        packets_received: report.received.packets,
        packets_lost: report.received.lost,
        packets_late: report.received.late,
        packets_strange: report.dropped.total(),
        concealed_ms: report.received.concealed_frames * 20,
        jitter_us: report.received.jitter_us,
        round_trip_ms: report.remote.round_trip_us.map(|it| it / 1_000),
        far_packets_lost: report.remote.lost,
    })
}

fn source(flow: Flow) -> String {
    format!("{}://{}", flow.kind.uri_parameter(), flow.remote)
}
