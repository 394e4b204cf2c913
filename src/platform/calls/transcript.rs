//! The transcript of a call: what was said, by whom and when, and how long each reply took.

use std::fmt;

use serde::Serialize;

use super::{Event, Recorded, Role, TurnTiming};
use crate::identity::{CallId, Pii};

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// By whom.
    pub role: Role,
    /// The words; of the agent, only those that were heard.
    pub text: Pii<String>,
    /// Its beginning, in milliseconds of the call's media time.
    pub start_ms: u64,
    /// Its end, likewise.
    pub end_ms: u64,
    /// Whether the caller interrupted it.
    pub interrupted: bool,
    /// Where the time before this reply of the agent went, if it was one and was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<TurnTiming>,
}

/// The words of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transcript {
    /// The call.
    pub call: CallId,
    /// In the order in which they were begun.
    pub turns: Vec<Turn>,
}

impl Transcript {
    /// The transcript of `call` after `events`, which are in the order of their sequence.
    pub fn derive(call: CallId, events: &[Recorded]) -> Self {
        let mut turns: Vec<Turn> = vec![];
        let mut measured = None;
        for recorded in events {
            match &recorded.event {
                Event::TurnTiming(timing) => measured = Some(*timing),
                Event::Said { role, text, start_ms, end_ms, interrupted } => turns.push(Turn {
                    role: *role,
                    text: text.clone(),
                    start_ms: *start_ms,
                    end_ms: *end_ms,
                    interrupted: *interrupted,
                    timing: if *role == Role::Agent { measured.take() } else { None },
                }),
                Event::Offered { .. }
                | Event::Ringing
                | Event::Answered { .. }
                | Event::AnsweredBy { .. }
                | Event::Held { .. }
                | Event::Digit { .. }
                | Event::Failed { .. }
                | Event::MediaReport(_)
                | Event::Transfer { .. }
                | Event::RecordingConsent { .. }
                | Event::Recording(_)
                | Event::Room { .. }
                | Event::Play(_)
                | Event::Note { .. }
                | Event::Ended { .. }
                | Event::Settled
                | Event::Unknown(_) => {}
            }
        }
        // The caller's words are known only after they were recognised, when the agent may have begun to speak.
        turns.sort_by_key(|turn| turn.start_ms);
        Self { call, turns }
    }

    /// The transcript for people, a turn a line.
    pub fn text(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            for turn in &self.turns {
                let who = match turn.role {
                    Role::Caller => "Caller",
                    Role::Agent => "Agent",
                };
                let cut = if turn.interrupted { " —" } else { "" };
                writeln!(f, "{who}: {}{cut}", turn.text.reveal())?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "call_018bcfe56800000000000000000000aa";

    fn derive(events: &[&str]) -> Transcript {
        let event = |json: &&str| Recorded { sequence: 1, unix_ms: 0, event: serde_json::from_str(json).unwrap() };
        Transcript::derive(CALL.parse().unwrap(), &events.iter().map(event).collect::<Vec<_>>())
    }

    #[test]
    fn turns_stand_in_the_order_they_were_begun_with_the_time_each_reply_took() {
        let transcript = derive(&[
            r#"{"type":"answered","codec":"PCMU"}"#,
            r#"{"type":"said","role":"agent","text":"Hello, how can","start_ms":100,"end_ms":900,"interrupted":true}"#,
            r#"{"type":"turn_timing","total_ms":640}"#,
            r#"{"type":"said","role":"agent","text":"Sure.","start_ms":3240,"end_ms":4000}"#,
            r#"{"type":"said","role":"caller","text":"billing","start_ms":880,"end_ms":2600}"#,
            r#"{"type":"said","role":"agent","text":"Anything else?","start_ms":9000,"end_ms":9900}"#,
        ]);
        assert_eq!(
            transcript.text().to_string(),
            "Agent: Hello, how can —\nCaller: billing\nAgent: Sure.\nAgent: Anything else?\n"
        );
        let timings: Vec<_> = transcript.turns.iter().map(|it| it.timing.map(|it| it.total_ms)).collect();
        assert_eq!(timings, [None, None, Some(640), None]);
        assert_eq!(
            serde_json::to_string(&transcript.turns[1]).unwrap(),
            r#"{"role":"caller","text":"billing","start_ms":880,"end_ms":2600,"interrupted":false}"#
        );
    }

    #[test]
    fn a_call_without_words_has_an_empty_transcript() {
        let transcript = derive(&[r#"{"type":"settled"}"#]);
        assert!(transcript.turns.is_empty());
        assert_eq!(transcript.text().to_string(), "");
    }
}
