//! The record of a call: what its events come to, in one object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Direction, EndCause, Event, Initiator, MediaReport, Party, Recorded, Recording, TurnTiming};
use crate::identity::{AccountId, CallId, Pii};

/// How a call went, or that it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is not over.
    InProgress,
    /// It was answered.
    Answered,
    /// The called side was busy.
    Busy,
    /// Nobody answered, or the caller did not wait.
    NoAnswer,
    /// It never came about.
    Failed,
    /// A machine answered.
    Voicemail,
}

/// One failure during a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What failed.
    pub component: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

/// One transfer, tried or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// To whom.
    pub target: Pii<String>,
    /// What became of it.
    pub outcome: String,
}

/// How somebody took it that the call is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordingConsent {
    /// Whether the call may be recorded.
    pub given: bool,
    /// `announced`, `key`, `silence` or `api`.
    pub how: String,
    /// `caller` or `called`; `None` for all of them.
    pub by: Option<String>,
}

/// How long the caller waited for the agent, over the turns of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Turns that were measured.
    pub turns: usize,
    /// The median of their [`TurnTiming::total_ms`]; of an even number of turns, the lower of the middle two.
    pub median_ms: u32,
    /// The longest.
    pub longest_ms: u32,
}

/// Everything about a call but its words. Times and durations are in milliseconds; a duration is never negative, even
/// if the wall clock was set back during the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// The call.
    pub call: CallId,
    /// Whose it is.
    pub account: AccountId,
    /// How it went.
    pub status: Status,
    /// Who called whom.
    pub direction: Option<Direction>,
    /// The caller.
    pub from: Option<Pii<String>>,
    /// The called.
    pub to: Option<Pii<String>>,
    /// Where the call came from or went to.
    pub source: Option<Pii<String>>,
    /// The trunk it came or went over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// The agent that took part.
    pub agent: Option<String>,
    /// The conference room that it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// What else the INVITE told of the call, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Pii<String>>,
    /// Of the first event, since the Unix epoch.
    pub started_unix_ms: i64,
    /// Of the answer, likewise.
    pub answered_unix_ms: Option<i64>,
    /// Of the end, likewise; of a call that a crash cut off, its last sign of life.
    pub ended_unix_ms: Option<i64>,
    /// From the start to the end.
    pub duration_ms: Option<u64>,
    /// From the first ringing (or the start) to the answer, or to the end if there was none.
    pub ring_ms: Option<u64>,
    /// From the answer to the end; zero without an answer.
    pub talk_ms: Option<u64>,
    /// Why it ended.
    pub end_reason: Option<EndCause>,
    /// Who ended it.
    pub initiator: Option<Initiator>,
    /// The final response to the INVITE, if it was not 2xx.
    pub sip_status: Option<u16>,
    /// The codec of the answered leg.
    pub codec: Option<String>,
    /// The media of its legs.
    pub media: Vec<MediaReport>,
    /// Things said.
    pub turns: usize,
    /// How quick the agent was.
    pub latency: Option<Latency>,
    /// What failed on the way.
    pub failures: Vec<Failure>,
    /// Where it was transferred.
    pub transfers: Vec<Transfer>,
    /// What was recorded of it.
    pub recordings: Vec<Recording>,
    /// Who was told of that or asked before, and how they took it.
    pub recording_consents: Vec<RecordingConsent>,
}

impl CallRecord {
    /// The record of `call` after `events`, which are in the order of their sequence; `None` if there are none.
    pub fn derive(call: CallId, account: AccountId, events: &[Recorded]) -> Option<Self> {
        let first = events.first()?;
        let mut derivation = Derivation::new(Self::empty(call, account, first.unix_ms));
        for event in events {
            derivation.apply(event);
        }
        Some(derivation.finish())
    }

    const fn empty(call: CallId, account: AccountId, started_unix_ms: i64) -> Self {
        Self {
            call,
            account,
            status: Status::InProgress,
            direction: None,
            from: None,
            to: None,
            source: None,
            trunk: None,
            agent: None,
            room: None,
            details: BTreeMap::new(),
            started_unix_ms,
            answered_unix_ms: None,
            ended_unix_ms: None,
            duration_ms: None,
            ring_ms: None,
            talk_ms: None,
            end_reason: None,
            initiator: None,
            sip_status: None,
            codec: None,
            media: vec![],
            turns: 0,
            latency: None,
            failures: vec![],
            transfers: vec![],
            recordings: vec![],
            recording_consents: vec![],
        }
    }
}

struct Derivation {
    record: CallRecord,
    ringing_unix_ms: Option<i64>,
    alive_unix_ms: i64,
    party: Option<Party>,
    timings: Vec<TurnTiming>,
}

impl Derivation {
    const fn new(record: CallRecord) -> Self {
        let alive_unix_ms = record.started_unix_ms;
        Self { record, ringing_unix_ms: None, alive_unix_ms, party: None, timings: vec![] }
    }

    fn apply(&mut self, Recorded { unix_ms, event, .. }: &Recorded) {
        let record = &mut self.record;
        match event.clone() {
            Event::Offered { direction, from, to, source, trunk, agent, details } => {
                record.details = details;
                record.direction = Some(direction);
                record.from = Some(from);
                record.to = Some(to);
                record.source = Some(source);
                record.trunk = trunk;
                record.agent = agent;
            }
            Event::Ringing => {
                self.ringing_unix_ms.get_or_insert(*unix_ms);
            }
            Event::Answered { codec } => {
                record.answered_unix_ms.get_or_insert(*unix_ms);
                record.codec = Some(codec);
            }
            Event::AnsweredBy { party } => self.party = Some(party),
            Event::Said { .. } => record.turns += 1,
            Event::TurnTiming(timing) => self.timings.push(timing),
            Event::Failed { component, reason } => {
                record.failures.push(Failure { component, reason, unix_ms: *unix_ms });
            }
            Event::MediaReport(report) => {
                record.media.retain(|it| it.leg != report.leg);
                record.media.push(report);
            }
            Event::Transfer { target, outcome } => record.transfers.push(Transfer { target, outcome }),
            Event::Room { room, .. } => record.room = Some(room),
            Event::Recording(recording) => record.recordings.push(recording),
            Event::RecordingConsent { given, how, by } => {
                record.recording_consents.push(RecordingConsent { given, how, by });
            }
            // The first end counts: a hang-up that crosses ours changes nothing.
            Event::Ended { cause, initiator, sip_status } if record.ended_unix_ms.is_none() => {
                record.ended_unix_ms = Some(*unix_ms);
                record.end_reason = Some(cause);
                record.initiator = Some(initiator);
                record.sip_status = sip_status;
            }
            Event::Settled if record.ended_unix_ms.is_none() => {
                record.ended_unix_ms = Some(self.alive_unix_ms);
                record.end_reason = Some(EndCause::ServerLost);
                record.initiator = Some(Initiator::Server);
            }
            Event::Ended { .. }
            | Event::Settled
            | Event::Held { .. }
            | Event::Digit { .. }
            | Event::Note { .. }
            | Event::Unknown(_) => {}
        }
        self.alive_unix_ms = *unix_ms;
    }

    fn finish(self) -> CallRecord {
        let Self { mut record, ringing_unix_ms, party, timings, .. } = self;
        record.latency = latency(&timings);
        record.status = status(&record, party);
        let rang_unix_ms = ringing_unix_ms.unwrap_or(record.started_unix_ms);
        record.ring_ms = record.answered_unix_ms.or(record.ended_unix_ms).map(|until| between(rang_unix_ms, until));
        if let Some(ended) = record.ended_unix_ms {
            record.duration_ms = Some(between(record.started_unix_ms, ended));
            record.talk_ms = Some(record.answered_unix_ms.map_or(0, |answered| between(answered, ended)));
        }
        record
    }
}

fn status(record: &CallRecord, party: Option<Party>) -> Status {
    match &record.end_reason {
        None => Status::InProgress,
        Some(_) if party == Some(Party::Machine) && record.answered_unix_ms.is_some() => Status::Voicemail,
        Some(cause) => Status::at_the_end(record.answered_unix_ms.is_some(), record.sip_status, cause),
    }
}

impl Status {
    /// How a call went that ended so, if no machine was found at its other end.
    pub const fn at_the_end(answered: bool, sip_status: Option<u16>, cause: &EndCause) -> Self {
        match (answered, sip_status, cause) {
            (true, _, _) => Self::Answered,
            (false, Some(486 | 600), _) => Self::Busy,
            (false, Some(408 | 480 | 487), _) | (false, _, EndCause::Cancelled | EndCause::NoAnswer) => Self::NoAnswer,
            (false, _, _) => Self::Failed,
        }
    }
}

fn latency(timings: &[TurnTiming]) -> Option<Latency> {
    let mut totals: Vec<_> = timings.iter().map(|it| it.total_ms).collect();
    totals.sort_unstable();
    let median_ms = *totals.get(totals.len().checked_sub(1)? / 2)?;
    Some(Latency { turns: totals.len(), median_ms, longest_ms: *totals.last()? })
}

fn between(from_unix_ms: i64, to_unix_ms: i64) -> u64 {
    u64::try_from(to_unix_ms.saturating_sub(from_unix_ms)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "call_018bcfe56800000000000000000000aa";
    const START: i64 = 1_700_000_000_000;

    /// Derives the record of events written as `milliseconds JSON`, one a line, and compares its JSON, without what is
    /// null, empty or the same for every call.
    #[track_caller]
    fn check(timeline: &str, expected: &str) {
        let line = |(index, line): (usize, &str)| {
            let (at_ms, json) = line.split_once(' ').unwrap();
            let event = serde_json::from_str(json).unwrap();
            assert!(!matches!(event, Event::Unknown(_)) || json.contains("dreamt"), "{json}");
            Recorded {
                sequence: u32::try_from(index).unwrap() + 1,
                unix_ms: START + at_ms.parse::<i64>().unwrap(),
                event,
            }
        };
        let lines = timeline.lines().map(str::trim).filter(|it| !it.is_empty());
        let events: Vec<_> = lines.enumerate().map(line).collect();
        let record = CallRecord::derive(CALL.parse().unwrap(), AccountId::default(), &events).unwrap();
        let serde_json::Value::Object(mut object) = serde_json::to_value(record).unwrap() else { panic!() };
        assert_eq!(object.remove("call").unwrap(), CALL);
        assert_eq!(object.remove("account").unwrap(), "default");
        object.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|it| !it.is_empty()));
        let shown: Vec<_> = object.iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(shown, expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>());
    }

    #[test]
    fn a_conversation() {
        check(
            r#"
            0 {"type":"offered","direction":"inbound","from":"+4930123","to":"100","source":"udp://192.0.2.1:5060","agent":"reception"}
            20 {"type":"ringing"}
            1020 {"type":"answered","codec":"PCMU"}
            2000 {"type":"said","role":"agent","text":"Hello.","start_ms":100,"end_ms":900}
            4000 {"type":"said","role":"caller","text":"billing please","start_ms":1500,"end_ms":2600}
            4700 {"type":"turn_timing","end_of_turn_ms":500,"recogniser_ms":50,"decision_ms":1,"synthesiser_ms":30,"playout_ms":20,"total_ms":601}
            4800 {"type":"turn_timing","total_ms":900}
            4900 {"type":"turn_timing","total_ms":300}
            5000 {"type":"dreamt"}
            6000 {"type":"held","held":true}
            6500 {"type":"digit","digit":"1","direction":"received"}
            7000 {"type":"failed","component":"model","reason":"timeout"}
            8000 {"type":"ended","cause":"hang_up","initiator":"remote"}
            8010 {"type":"media_report","leg":0,"packets_sent":350,"packets_received":348,"packets_lost":2,"jitter_us":900}
            8020 {"type":"ended","cause":"conversation_ended","initiator":"agent"}
            "#,
            r#"
            agent "reception"
            answered_unix_ms 1700000001020
            codec "PCMU"
            direction "inbound"
            duration_ms 8000
            end_reason "hang_up"
            ended_unix_ms 1700000008000
            failures [{"component":"model","reason":"timeout","unix_ms":1700000007000}]
            from "+4930123"
            initiator "remote"
            latency {"longest_ms":900,"median_ms":601,"turns":3}
            media [{"concealed_ms":0,"jitter_us":900,"leg":0,"packets_late":0,"packets_lost":2,"packets_received":348,"packets_sent":350,"packets_strange":0}]
            ring_ms 1000
            source "udp://192.0.2.1:5060"
            started_unix_ms 1700000000000
            status "answered"
            talk_ms 6980
            to "100"
            turns 2
            "#,
        );
    }

    #[test]
    fn a_call_in_progress_has_no_end() {
        check(
            r#"
            0 {"type":"offered","direction":"outbound","from":"100","to":"+4930123","source":"tcp://192.0.2.1:5060"}
            500 {"type":"answered","codec":"PCMA"}
            "#,
            r#"
            answered_unix_ms 1700000000500
            codec "PCMA"
            direction "outbound"
            from "100"
            ring_ms 500
            source "tcp://192.0.2.1:5060"
            started_unix_ms 1700000000000
            status "in_progress"
            to "+4930123"
            turns 0
            "#,
        );
    }

    #[test]
    fn a_settled_call_ended_with_its_last_sign_of_life() {
        check(
            r#"
            0 {"type":"ringing"}
            500 {"type":"answered","codec":"PCMA"}
            9000 {"type":"held","held":true}
            86400000 {"type":"settled"}
            "#,
            r#"
            answered_unix_ms 1700000000500
            codec "PCMA"
            duration_ms 9000
            end_reason "server_lost"
            ended_unix_ms 1700000009000
            initiator "server"
            ring_ms 500
            started_unix_ms 1700000000000
            status "answered"
            talk_ms 8500
            turns 0
            "#,
        );
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_time() {
        check(
            r#"
            0 {"type":"answered","codec":"PCMA"}
            -3600000 {"type":"ended","cause":"hang_up","initiator":"agent"}
            "#,
            r#"
            answered_unix_ms 1700000000000
            codec "PCMA"
            duration_ms 0
            end_reason "hang_up"
            ended_unix_ms 1699996400000
            initiator "agent"
            ring_ms 0
            started_unix_ms 1700000000000
            status "answered"
            talk_ms 0
            turns 0
            "#,
        );
    }

    #[test]
    fn the_status_says_how_it_went() {
        let status = |events: &[&str]| {
            let event =
                |json: &&str| Recorded { sequence: 1, unix_ms: START, event: serde_json::from_str(json).unwrap() };
            let events: Vec<_> = events.iter().map(event).collect();
            CallRecord::derive(CALL.parse().unwrap(), AccountId::default(), &events).unwrap().status
        };
        let ended = |cause: &str, status: Option<u16>| {
            let status = status.map_or_else(String::new, |it| format!(r#","sip_status":{it}"#));
            format!(r#"{{"type":"ended","cause":"{cause}","initiator":"remote"{status}}}"#)
        };
        let answered = r#"{"type":"answered","codec":"PCMU"}"#;
        let machine = r#"{"type":"answered_by","party":"machine"}"#;
        assert_eq!(status(&[answered]), Status::InProgress);
        assert_eq!(status(&[answered, &ended("hang_up", None)]), Status::Answered);
        assert_eq!(status(&[answered, machine, &ended("hang_up", None)]), Status::Voicemail);
        assert_eq!(status(&[machine, &ended("rejected", Some(404))]), Status::Failed);
        assert_eq!(status(&[&ended("rejected", Some(486))]), Status::Busy);
        assert_eq!(status(&[&ended("rejected", Some(600))]), Status::Busy);
        assert_eq!(status(&[&ended("cancelled", Some(487))]), Status::NoAnswer);
        assert_eq!(status(&[&ended("no_answer", None)]), Status::NoAnswer);
        assert_eq!(status(&[&ended("rejected", Some(480))]), Status::NoAnswer);
        assert_eq!(status(&[&ended("overloaded", Some(503))]), Status::Failed);
        assert_eq!(status(&[&ended("struck_by_comet", None)]), Status::Failed);
        assert_eq!(status(&[r#"{"type":"settled"}"#]), Status::Failed);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(CallRecord::derive(CALL.parse().unwrap(), AccountId::default(), &[]), None);
    }
}
