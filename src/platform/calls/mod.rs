//! The call journal: what can happen to a call, as it is stored and as other programs read it. The [record] and the
//! [transcript] of a call are derived from its events and from nothing else, so they survive a crash at any point.
//!
//! Events are JSON objects with a field `type`. A journal outlives the program that wrote it: a reader ignores fields
//! that it does not know, takes defaults for optional ones that are missing, and keeps events of an unknown type.

#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod ladder_sql;
pub mod record;
#[cfg(feature = "server")]
pub mod sql;
pub mod transcript;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::{AccountId, CallId, Pii};

/// One event of one call, as it is handed to the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Whose call it is.
    pub account: AccountId,
    /// The call.
    pub call: CallId,
    /// When it happened, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// What happened.
    pub event: Event,
}

/// One event as the journal gives it back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// Counts the events of the call from one, in the order they reached the journal.
    pub sequence: u32,
    /// When it happened, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// There is a call: an INVITE came in or is about to go out. The first event of every call.
    Offered {
        /// Who calls whom.
        direction: Direction,
        /// The caller: a number or a SIP URI.
        from: Pii<String>,
        /// Who is called, likewise.
        to: Pii<String>,
        /// Where the INVITE came from or goes to, as `udp://192.0.2.1:5060`.
        source: Pii<String>,
        /// The trunk that the far end belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trunk: Option<String>,
        /// The agent that takes part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// What else the INVITE told of the call: `caller_name`, `diverted_from`, `header_x_tenant` …
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        details: BTreeMap<String, Pii<String>>,
    },
    /// The called side rings.
    Ringing,
    /// The call is answered.
    Answered {
        /// The codec of the leg, as in SDP: `PCMU`.
        codec: String,
    },
    /// What answered is known.
    AnsweredBy {
        /// A human or a machine.
        party: Party,
    },
    /// The far side put the call on hold, or took it off.
    Held {
        /// Whether it is on hold now.
        held: bool,
    },
    /// A key of a telephone was pressed.
    Digit {
        /// One of `0123456789*#ABCD`. Often part of a secret.
        digit: Pii<String>,
        /// Whether it was received or sent.
        direction: DigitDirection,
    },
    /// Something was said and, if by the agent, heard.
    Said {
        /// By whom.
        role: Role,
        /// The words; of the agent, only those that were played.
        text: Pii<String>,
        /// Its beginning, in milliseconds of the call's media time.
        start_ms: u64,
        /// Its end, likewise.
        end_ms: u64,
        /// Whether the caller interrupted it.
        #[serde(default)]
        interrupted: bool,
    },
    /// How long the caller waited for the agent's next words, which follow as [`Event::Said`].
    TurnTiming(TurnTiming),
    /// Something that the call needs has failed.
    Failed {
        /// `recogniser`, `synthesiser`, `model`, `media` …
        component: String,
        /// What happened.
        reason: String,
    },
    /// What became of the media of a leg.
    MediaReport(MediaReport),
    /// The call was transferred, or not.
    Transfer {
        /// To whom.
        target: Pii<String>,
        /// `refused`, `ringing`, `done` …
        outcome: String,
    },
    /// Somebody was told of the recording, or asked for it.
    RecordingConsent {
        /// Whether the call may be recorded.
        given: bool,
        /// `announced`, `key` (of the telephone), `silence`, or `api` if somebody else vouches for them.
        how: String,
        /// Who: `caller` or `called`; `None` for all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A recording is finished and kept.
    Recording(Recording),
    /// The call has to do with a conference room.
    Room {
        /// The room.
        room: String,
        /// `entered`, `left`, `muted`, `unmuted`, `removed`, or `refused_full`, `refused_locked`, `refused_pin`.
        what: String,
    },
    /// Something is played to a side, by order from outside.
    Play(PlayEvent),
    /// Something that only people read, such as the nodes a pathway went through.
    Note {
        /// What it is about.
        topic: String,
        /// What it says.
        text: Pii<String>,
    },
    /// The call is over.
    Ended {
        /// Why.
        cause: EndCause,
        /// Who ended it.
        initiator: Initiator,
        /// The final response to the INVITE, if it was not 2xx.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sip_status: Option<u16>,
    },
    /// The server had stopped in the middle of the call, and closed it when it started again.
    Settled,
    /// An event that a later version wrote, as it stands in the journal.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

impl Event {
    /// Whether the call is over with this event.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Settled)
    }
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Someone calls us.
    Inbound,
    /// We call someone.
    Outbound,
    /// A call of the server with itself, as in the demo.
    Internal,
}

/// What answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// A human.
    Human,
    /// An answering machine or mailbox.
    Machine,
    /// It could not be told.
    Unclear,
}

/// Which way a digit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigitDirection {
    /// From the far side to us.
    Received,
    /// From us to the far side.
    Sent,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The human at the far side, whoever called.
    Caller,
    /// Our agent.
    Agent,
}

/// Where the time between the caller's last word and the agent's first went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnTiming {
    /// Waiting whether the caller goes on.
    pub end_of_turn_ms: u32,
    /// Until the recogniser's final words.
    pub recogniser_ms: u32,
    /// Until the pathway or model had the first words of a reply.
    pub decision_ms: u32,
    /// Until their first audio.
    pub synthesiser_ms: u32,
    /// Until that audio was sent.
    pub playout_ms: u32,
    /// All of it.
    pub total_ms: u32,
}

/// The media of one leg, from its beginning to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaReport {
    /// The leg's index in the call.
    pub leg: u8,
    /// The codec at its end, as in SDP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub codec: String,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// RTP packets that came too late to be played.
    pub packets_late: u64,
    /// RTP packets that came twice.
    #[serde(skip_serializing_if = "is_zero")]
    pub packets_duplicate: u64,
    /// Packets that were not of this session and had no effect: the sum of `packets_dropped` but for what keys tell apart.
    pub packets_strange: u64,
    /// Packets that were not used, by reason; what there was none of is left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub packets_dropped: BTreeMap<String, u64>,
    /// RTP packets of ours that came back, as nobody listens where they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_refused: Option<u64>,
    /// Audio that was made up for what was missing, in milliseconds.
    pub concealed_ms: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1) at the end, in microseconds.
    pub jitter_us: u32,
    /// The most that this was.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub jitter_max_us: u32,
    /// The jitter buffer; none where packets are passed on as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_buffer: Option<JitterBufferReport>,
    /// How the far side's audio sounded here, as a mean opinion score of the E-model in hundredths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_hundredths: Option<u16>,
    /// Round-trip time by RTCP, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u32>,
    /// RTP packets of ours that the far side reports lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_packets_lost: Option<u64>,
    /// The jitter that it reports, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_jitter_us: Option<u32>,
    /// How our audio sounded there: as it says (RFC 3611), else as its losses and the delay let expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_mos_hundredths: Option<u16>,
}

/// A jitter buffer, at present or at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JitterBufferReport {
    /// The delay that it aims at, in milliseconds.
    pub target_ms: u32,
    /// Why so.
    pub because: JitterBufferReasons,
    /// The delay that it has, in milliseconds.
    pub delay_ms: u32,
    /// The same on the average of the audio heard, if there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_mean_ms: Option<u32>,
    /// How often a piece of waveform was taken out to shorten the delay.
    pub shortened: u64,
    /// Packets that were dropped to shorten it at once.
    pub skipped: u64,
    /// Lost audio that was found in the packet that followed, in milliseconds.
    pub recovered_ms: u64,
}

/// What the delay aimed at is made of: their sum, within 20 to 200 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JitterBufferReasons {
    /// Needed on any network, in milliseconds.
    pub least_ms: u32,
    /// By how much all but 2 % of the recent packets were late at the most, in milliseconds.
    pub lateness_ms: u32,
    /// For the copies of lost audio in the packets that follow, while packets are lost, in milliseconds.
    pub fec_ms: u32,
}

/// A recording of a call, or of a part of it: two channels, the caller on the left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// Its name in the place where recordings are kept.
    pub key: String,
    /// `wav` or `mp3`.
    pub format: String,
    /// Its beginning, in milliseconds since the answer.
    pub start_ms: u64,
    /// Its length, likewise.
    pub duration_ms: u64,
    /// Silence in it that stands for audio which the disk was too slow for.
    #[serde(skip_serializing_if = "is_zero")]
    pub missed_ms: u64,
    /// The size of the file.
    pub bytes: u64,
    /// Of the file, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// It was never finished, as the server died; what there was of it at its next start is kept.
    #[serde(skip_serializing_if = "is_false")]
    pub cut_off: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero_u32(value: &u32) -> bool {
    *value == 0
}

/// A step in what becomes of something that is played to a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayEvent {
    /// What, by the number that its request was answered with.
    pub play: u32,
    /// To whom: `caller` or `called`.
    pub to: String,
    /// `started` with its first packet, `mark` with that of a mark, `finished` with its last, `cleared` when it was stopped,
    /// `failed`.
    pub what: String,
    /// Of a start and a failure: what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<Pii<String>>,
    /// The mark's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Of a mark, its place; of what was stopped, where that was: in milliseconds from the beginning of the sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_ms: Option<u32>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initiator {
    /// The far side.
    Remote,
    /// Our agent.
    Agent,
    /// The server itself, because of a limit, a failure or its own end.
    Server,
    /// A person or program through the API.
    Operator,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// One side hung up an answered call.
    HangUp,
    /// The caller gave up before the answer.
    Cancelled,
    /// The called side refused.
    Rejected,
    /// Nobody answered in time.
    NoAnswer,
    /// The number is nobody's.
    UnknownNumber,
    /// The caller may not call here.
    NotAllowed,
    /// The offer has no codec in common with us.
    NoCommonCodec,
    /// The server has as many calls as it may have, or no media port, or is draining.
    Overloaded,
    /// The answer was never acknowledged.
    NoAck,
    /// The far side does not know the call any more, or does not answer requests.
    SignallingLost,
    /// No media came for the configured time.
    MediaInactive,
    /// The caller stayed silent.
    CallerIdle,
    /// The call lasted as long as it may.
    DurationLimit,
    /// The conversation came to its end.
    ConversationEnded,
    /// A machine answered, and was not talked to.
    MachineAnswered,
    /// A machine answered, and has a message now.
    MessageLeft,
    /// A fax machine is at the other end.
    Fax,
    /// The called line is engaged, as its tone says.
    LineBusy,
    /// The network has no way to the called line, as its tone says.
    NetworkBusy,
    /// The called number cannot be reached, as the network announces.
    Unreachable,
    /// A service that the agent needs has failed.
    ServiceFailed,
    /// The call was handed to someone else.
    Transferred,
    /// The server was told to stop.
    Drained,
    /// The server stopped without being told to, and noticed when it started again.
    ServerLost,
    /// A defect of ours.
    Internal,
    /// A cause that a later version knows.
    #[serde(untagged)]
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &Event, json: &str) {
        assert_eq!(serde_json::to_string(event).unwrap(), json);
        assert_eq!(&serde_json::from_str::<Event>(json).unwrap(), event);
    }

    #[test]
    fn events_are_tagged_objects() {
        check(&Event::Ringing, r#"{"type":"ringing"}"#);
        check(&Event::Answered { codec: "PCMU".to_owned() }, r#"{"type":"answered","codec":"PCMU"}"#);
        check(
            &Event::Offered {
                direction: Direction::Inbound,
                from: Pii::new("+4930123".to_owned()),
                to: Pii::new("100".to_owned()),
                source: Pii::new("udp://192.0.2.1:5060".to_owned()),
                trunk: None,
                agent: None,
                details: BTreeMap::new(),
            },
            r#"{"type":"offered","direction":"inbound","from":"+4930123","to":"100","source":"udp://192.0.2.1:5060"}"#,
        );
        check(
            &Event::TurnTiming(TurnTiming { total_ms: 900, ..TurnTiming::default() }),
            r#"{"type":"turn_timing","end_of_turn_ms":0,"recogniser_ms":0,"decision_ms":0,"synthesiser_ms":0,"playout_ms":0,"total_ms":900}"#,
        );
        check(
            &Event::Ended { cause: EndCause::HangUp, initiator: Initiator::Remote, sip_status: None },
            r#"{"type":"ended","cause":"hang_up","initiator":"remote"}"#,
        );
        check(&Event::Settled, r#"{"type":"settled"}"#);
        check(
            &Event::Recording(Recording {
                key: "default/call.wav".to_owned(),
                format: "wav".to_owned(),
                duration_ms: 20,
                bytes: 684,
                ..Recording::default()
            }),
            r#"{"type":"recording","key":"default/call.wav","format":"wav","start_ms":0,"duration_ms":20,"bytes":684}"#,
        );
    }

    #[test]
    fn what_a_later_version_wrote_is_kept() {
        let later = r#"{"of":["sheep"],"type":"dreamt"}"#;
        check(&Event::Unknown(serde_json::from_str(later).unwrap()), later);
        check(
            &Event::Ended {
                cause: EndCause::Other("struck_by_comet".to_owned()),
                initiator: Initiator::Server,
                sip_status: Some(500),
            },
            r#"{"type":"ended","cause":"struck_by_comet","initiator":"server","sip_status":500}"#,
        );
        let more = r#"{"type":"answered","codec":"opus","channels":2}"#;
        assert_eq!(serde_json::from_str::<Event>(more).unwrap(), Event::Answered { codec: "opus".to_owned() });
        let less = r#"{"type":"media_report","packets_sent":5}"#;
        let report = MediaReport { packets_sent: 5, ..MediaReport::default() };
        assert_eq!(serde_json::from_str::<Event>(less).unwrap(), Event::MediaReport(report));
    }

    #[test]
    fn what_people_say_and_press_stays_out_of_logs() {
        let said = Event::Said {
            role: Role::Caller,
            text: Pii::new("my pin is 1234".to_owned()),
            start_ms: 0,
            end_ms: 900,
            interrupted: false,
        };
        let digit = Event::Digit { digit: Pii::new("7".to_owned()), direction: DigitDirection::Received };
        let shown = format!("{said:?} {digit:?}");
        assert!(!shown.contains("1234") && !shown.contains('7'), "{shown}");
    }
}
