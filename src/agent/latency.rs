//! [`Stopwatch`]: where the time of one reply goes, from the end of the caller's speech to the first frame of the reply.

use std::time::Duration;

use super::event::TurnLatency;
use super::provider::UtteranceId;
use crate::timer::Now;

/// Times one reply. Each stage begins where the one before ended; a stage that is passed twice counts once.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    end_of_turn_wait: u32,
    stage: Stage,
    stage_began: Now,
    parts: TurnLatency,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Recogniser,
    Decision,
    Synthesiser(UtteranceId),
    Playout(UtteranceId),
}

impl Stopwatch {
    /// The turn was found to be over at `now`, so long after its last word on media time.
    pub fn start(end_of_turn_wait_ms: u64, now: Now) -> Self {
        Self {
            end_of_turn_wait: u32::try_from(end_of_turn_wait_ms).unwrap_or(u32::MAX),
            stage: Stage::Recogniser,
            stage_began: now,
            parts: TurnLatency::default(),
        }
    }

    /// The words of the turn are known.
    pub fn handle_words_known(&mut self, now: Now) {
        if self.stage == Stage::Recogniser {
            self.parts.recogniser = self.enter(Stage::Decision, now);
        }
    }

    /// The first sentence of the reply went to the synthesiser.
    pub fn handle_sentence(&mut self, utterance: UtteranceId, now: Now) {
        if self.stage == Stage::Decision {
            self.parts.decision = self.enter(Stage::Synthesiser(utterance), now);
        }
    }

    /// Audio of an utterance arrived.
    pub fn handle_audio(&mut self, utterance: UtteranceId, now: Now) {
        if self.stage == Stage::Synthesiser(utterance) {
            self.parts.synthesiser = self.enter(Stage::Playout(utterance), now);
        }
    }

    /// A frame of an utterance was sent: the latency, if it is the first of the reply.
    pub fn handle_played(&self, utterance: UtteranceId, now: Now) -> Option<TurnLatency> {
        if self.stage != Stage::Playout(utterance) {
            return None;
        }
        let mut parts = self.parts;
        parts.end_of_turn_wait = self.end_of_turn_wait;
        parts.playout = ms(now - self.stage_began);
        parts.total = [parts.end_of_turn_wait, parts.recogniser, parts.decision, parts.synthesiser, parts.playout]
            .iter()
            .fold(0, |sum, it| sum.saturating_add(*it));
        Some(parts)
    }

    fn enter(&mut self, stage: Stage, now: Now) -> u32 {
        let spent = ms(now - self.stage_began);
        self.stage = stage;
        // What is less than a millisecond is left to the next stage, so that the parts add up.
        self.stage_began = self.stage_began + Duration::from_millis(u64::from(spent));
        spent
    }
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up() {
        let start = Now::origin();
        let at = |us| start + Duration::from_micros(us);
        let mut watch = Stopwatch::start(500, start);
        watch.handle_words_known(at(120_700));
        watch.handle_words_known(at(130_000));
        watch.handle_sentence(UtteranceId(3), at(120_900));
        watch.handle_sentence(UtteranceId(4), at(121_000));
        watch.handle_audio(UtteranceId(4), at(150_000));
        watch.handle_audio(UtteranceId(3), at(200_500));
        assert_eq!(watch.handle_played(UtteranceId(2), at(201_000)), None);
        let expected = TurnLatency {
            end_of_turn_wait: 500,
            recogniser: 120,
            decision: 0,
            synthesiser: 80,
            playout: 20,
            total: 720,
        };
        assert_eq!(watch.handle_played(UtteranceId(3), at(220_000)), Some(expected));
    }
}
