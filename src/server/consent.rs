//! Consent to being recorded: what people are told before, made into audio when the server starts, how one of them takes it,
//! and which calls between two people are recorded at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{Clip, Frame, SampleRate};
use crate::config::{self, Config, Consent, RecordingFormat};
use crate::route;
use crate::server::media_link::LegTick;
use crate::server::media_worker::TOLD;
use crate::server::recorder::Format;
use crate::server::sounds::Sounds;
use crate::server::speech::render_text;

/// What a configuration says about recording.
#[derive(Clone, Debug)]
pub(crate) struct RecordingPlan {
    /// Whether a call is recorded from its answer on.
    pub(crate) enabled: bool,
    /// What it is written as.
    pub(crate) format: Format,
    /// What must happen first.
    pub(crate) consent: Consent,
    /// What is said then.
    pub(crate) words: Words,
}

/// The announcement and the question, as audio; `None` if there is none of it. Without it nothing is recorded that needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    announcement: Option<Clip>,
    question: Option<Clip>,
}

impl Words {
    /// What a consent needs.
    pub(crate) const fn of(&self, consent: Consent) -> Option<&Clip> {
        match consent {
            Consent::None => None,
            Consent::Announce => self.announcement.as_ref(),
            Consent::Ask => self.question.as_ref(),
        }
    }

    #[cfg(test)]
    pub(crate) fn silent(samples: usize) -> Self {
        let clip = Clip::new(&vec![0; samples], 8_000, SampleRate::Hz8000).ok();
        Self { announcement: clip.clone(), question: clip }
    }
}

impl RecordingPlan {
    /// Of calls of which nobody has written anything: whoever has them recorded says how the others agree to that.
    pub(crate) fn unwritten(words: Words) -> Self {
        Self { enabled: false, format: Format::Wav, consent: Consent::Announce, words }
    }

    /// What has to be said first, in frames of `rate`.
    pub(crate) fn frames(&self, rate: SampleRate) -> Vec<Frame> {
        let clip = self.words.of(self.consent).and_then(|it| Clip::new(it.samples(), it.rate().hz(), rate).ok());
        let frames = clip.iter().flat_map(|it| it.samples().chunks(rate.frame_len()));
        frames.map(|it| Frame::from_samples(rate, it)).collect()
    }
}

/// What should be said before a recording is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "[{of}.recording] {key} = \"{sound}\": {reason}; it is the name of a built-in sound, or a file of [sounds] directory"
)]
pub struct WordsMissing {
    of: String,
    key: &'static str,
    sound: String,
    reason: String,
}

/// Makes plans of configurations. What several of them say is spoken once.
pub(crate) struct Planner<'a> {
    sounds: &'a Sounds,
    spoken: RefCell<BTreeMap<(String, String), Option<Clip>>>,
}

impl<'a> Planner<'a> {
    pub(crate) const fn new(sounds: &'a Sounds) -> Self {
        Self { sounds, spoken: RefCell::new(BTreeMap::new()) }
    }

    /// The plan of the section `of`, for people who are spoken to by `voice`.
    ///
    /// # Errors
    /// [`WordsMissing`].
    pub(crate) fn plan(
        &self,
        of: &str,
        recording: &config::Recording,
        voice: Option<&str>,
    ) -> Result<RecordingPlan, WordsMissing> {
        let words = |key, text: &str, file: Option<&String>| match file {
            Some(file) => {
                let missing = |reason| WordsMissing { of: of.to_owned(), key, sound: file.clone(), reason };
                self.sounds.load(file, SampleRate::Hz16000).map(Some).map_err(missing)
            }
            None => Ok(self.speak(text, voice)),
        };
        let config::Recording { announcement, question, announcement_file, question_file, .. } = recording;
        let words = Words {
            announcement: words("announcement_file", announcement, announcement_file.as_ref())?,
            question: words("question_file", question, question_file.as_ref())?,
        };
        let consent = recording.consent;
        if recording.enabled && consent != Consent::None && words.of(consent).is_none() {
            tracing::warn!(of, "the consent to a recording cannot be asked for; nothing will be recorded");
        }
        let format = match recording.format {
            RecordingFormat::Wav => Format::Wav,
            RecordingFormat::Mp3 => Format::Mp3,
        };
        Ok(RecordingPlan { enabled: recording.enabled, format, consent, words })
    }

    /// A text as audio; `None` if it cannot be spoken.
    pub(crate) fn speak(&self, text: &str, voice: Option<&str>) -> Option<Clip> {
        let voice = voice.unwrap_or(VOICE);
        let key = (text.to_owned(), voice.to_owned());
        if let Some(spoken) = self.spoken.borrow().get(&key) {
            return spoken.clone();
        }
        let rate = SampleRate::Hz16000;
        let spoken = match render_text(text, voice, rate) {
            // A telephone that has just been answered may lose the first moment.
            Ok(speech) if !speech.is_empty() => {
                let samples: Vec<i16> = std::iter::repeat_n(0, rate.frame_len() * LEAD_FRAMES).chain(speech).collect();
                Clip::new(&samples, rate.hz(), rate).ok()
            }
            Ok(_) => None,
            Err(error) => {
                tracing::info!(%error, "the words before a recording cannot be spoken");
                None
            }
        };
        self.spoken.borrow_mut().insert(key, spoken.clone());
        spoken
    }
}

/// How calls between two people are recorded.
#[derive(Clone, Debug)]
pub(crate) struct BridgedPlans {
    numbers: BTreeMap<String, Arc<RecordingPlan>>,
    users: BTreeMap<String, Arc<RecordingPlan>>,
    unwritten: Arc<RecordingPlan>,
}

impl Default for BridgedPlans {
    fn default() -> Self {
        let unwritten = Arc::new(RecordingPlan::unwritten(Words::default()));
        Self { numbers: BTreeMap::new(), users: BTreeMap::new(), unwritten }
    }
}

impl BridgedPlans {
    /// Those of a configuration.
    ///
    /// # Errors
    /// [`WordsMissing`].
    pub(crate) fn new(config: &Config, planner: &Planner<'_>) -> Result<Self, WordsMissing> {
        let mut plans = Self::default();
        for (number, recording) in &config.number_recordings {
            let plan = planner.plan(&format!("numbers.\"{number}\""), recording, None)?;
            plans.numbers.insert(route::normalise(number), Arc::new(plan));
        }
        for (name, user) in &config.users {
            if let Some(recording) = &user.recording {
                let plan = planner.plan(&format!("users.\"{name}\""), recording, None)?;
                plans.users.insert(name.clone(), Arc::new(plan));
            }
        }
        let unwritten = planner.plan("", &config::Recording::default(), None)?;
        plans.unwritten = Arc::new(RecordingPlan::unwritten(unwritten.words));
        Ok(plans)
    }

    /// That of a call that came in to `number`, between `users`: where several apply, the one that asks for the most counts.
    pub(crate) fn of<'a>(
        &self,
        number: Option<&str>,
        users: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Arc<RecordingPlan> {
        let of_users = users.rev().filter_map(|it| self.users.get(it));
        let found = of_users.chain(number.and_then(|it| self.numbers.get(it)));
        // Of those that are alike the last.
        Arc::clone(found.max_by_key(|it| (it.enabled, it.consent)).unwrap_or(&self.unwritten))
    }

    /// That of calls of which nobody has written anything.
    pub(crate) fn unwritten(&self) -> Arc<RecordingPlan> {
        Arc::clone(&self.unwritten)
    }
}

/// How somebody takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was heard, and nothing was asked.
    Announced,
    /// 1 was pressed.
    Yes,
    /// 2 was pressed.
    No,
    /// Nothing was.
    Silence,
}

impl Answer {
    /// Whether it is consent.
    pub(crate) const fn is_consent(self) -> bool {
        matches!(self, Self::Announced | Self::Yes)
    }

    /// As the journal has it.
    pub(crate) const fn how(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Yes | Self::No => "key",
            Self::Silence => "silence",
        }
    }
}

/// One who is told, or asked.
#[derive(Debug)]
pub(crate) struct Listener {
    asks: bool,
    samples: u32,
    was_told: bool,
    /// So many ticks are left for an answer.
    ticks: u32,
    /// A key that was pressed in the media: whatever of it is still to come must not reach the other side.
    pressed: Option<(Answer, u32)>,
}

impl Listener {
    /// Who is about to hear `clip`.
    pub(crate) fn new(consent: Consent, clip: &Clip) -> Self {
        let samples = u32::try_from(clip.samples().len()).unwrap_or(u32::MAX);
        Self { asks: consent == Consent::Ask, samples, was_told: false, ticks: ANSWER_TICKS, pressed: None }
    }

    /// 20 ms of its leg have passed.
    pub(crate) fn handle_tick(&mut self, tick: &LegTick) -> Option<Answer> {
        let passed = 1 + tick.missed;
        if let Some((answer, ticks)) = &mut self.pressed {
            let has_ended = tick.tick.dtmf_ended.is_some();
            *ticks = if has_ended { (*ticks).min(KEY_END_TICKS) } else { ticks.saturating_sub(passed) };
            return (*ticks == 0).then_some(*answer);
        }
        if let Some(answer) = tick.tick.dtmf.and_then(|it| self.handle_key(it.to_char())) {
            // One that INFO tells of is over.
            let has_ended = tick.tick.dtmf_ended.is_some();
            self.pressed = Some((answer, if has_ended { KEY_END_TICKS } else { KEY_TICKS_MAX }));
            return None;
        }
        if !self.was_told {
            let is_told = |it: crate::media::Played| it.utterance == TOLD && it.position >= self.samples;
            self.was_told = tick.tick.played.is_some_and(is_told);
            return (self.was_told && !self.asks).then_some(Answer::Announced);
        }
        self.ticks = self.ticks.saturating_sub(passed);
        (self.ticks == 0).then_some(Answer::Silence)
    }

    /// It has pressed a key.
    pub(crate) const fn handle_key(&self, key: char) -> Option<Answer> {
        match key {
            '1' if self.asks => Some(Answer::Yes),
            '2' if self.asks => Some(Answer::No),
            _ => None,
        }
    }

    /// Whether it has answered, and need not hear the rest.
    pub(crate) const fn has_answered(&self) -> bool {
        self.pressed.is_some()
    }
}

/// Eight seconds.
pub(crate) const ANSWER_TICKS: u32 = 400;
/// A key is held for less than that.
const KEY_TICKS_MAX: u32 = 100;
/// The end of a key is told more than once.
const KEY_END_TICKS: u32 = 10;
/// 300 ms.
const LEAD_FRAMES: usize = 15;
const VOICE: &str = "rms";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::{DtmfEnded, Heard, Played, Tick};
    use crate::rtp::Digit;

    #[test]
    fn who_is_told_has_heard_the_end() {
        check(Consent::Announce, "told:0 told:200 key:2 told:320", "- - - Announced");
    }

    #[test]
    fn who_is_asked_answers_by_a_key_or_not_at_all() {
        // What is left of a key has come by then.
        check(Consent::Ask, "told:160 key:1 wait:5 end wait:9 wait:1", "- - - - - Yes");
        check(Consent::Ask, "told:320 key:5 key:2 end wait:10", "- - - - No");
        check(Consent::Ask, "told:320 key:2 wait:100", "- - No");
        check(Consent::Ask, "wait:900 told:320 wait:399 wait:1", "- - - Silence");
    }

    /// Goes through `steps` and compares what comes of each.
    fn check(consent: Consent, steps: &str, expected: &str) {
        let clip = Clip::new(&[0; 320], 8_000, SampleRate::Hz8000).unwrap();
        let mut listener = Listener::new(consent, &clip);
        let mut position = 0;
        let log: Vec<_> = steps
            .split(' ')
            .map(|step| {
                let (what, number) = step.split_once(':').unwrap_or((step, "1"));
                let (mut times, mut dtmf, mut dtmf_ended) = (1, None, None);
                match what {
                    "told" => position = number.parse().unwrap(),
                    "key" => dtmf = number.chars().next().and_then(Digit::from_char),
                    "end" => dtmf_ended = Some(DtmfEnded { digit: Digit::from_char('1').unwrap(), duration_ms: 100 }),
                    "wait" => times = number.parse().unwrap(),
                    other => panic!("{other}"),
                }
                let played = Some(Played { utterance: TOLD, position });
                let tick = Tick {
                    number: 1,
                    heard: Heard::Nothing,
                    played,
                    dtmf,
                    dtmf_ended,
                    tone: None,
                    queued_frames: 0,
                    inactive_for: Duration::ZERO,
                };
                let answer = (0..times).find_map(|_| listener.handle_tick(&LegTick { tick: tick.clone(), missed: 0 }));
                answer.map_or_else(|| "-".to_owned(), |it| format!("{it:?}"))
            })
            .collect();
        assert_eq!(log.join(" "), expected, "{steps}");
    }

    #[test]
    fn of_several_plans_the_one_counts_that_asks_for_the_most() {
        let plan = |enabled, consent| {
            Arc::new(RecordingPlan { enabled, format: Format::Wav, consent, words: Words::default() })
        };
        let named = |it: &[(&str, bool, Consent)]| it.iter().map(|it| (it.0.to_owned(), plan(it.1, it.2))).collect();
        let plans = BridgedPlans {
            numbers: named(&[("4930", true, Consent::None), ("2", false, Consent::Ask)]),
            users: named(&[("a", true, Consent::Announce), ("b", true, Consent::Ask), ("c", false, Consent::None)]),
            ..BridgedPlans::default()
        };
        let of = |number, users: &[&'static str]| {
            let plan = plans.of(number, users.iter().copied());
            (plan.enabled, plan.consent)
        };
        assert_eq!(of(None, &[]), (false, Consent::Announce));
        assert_eq!(of(Some("4930"), &["x"]), (true, Consent::None));
        assert_eq!(of(Some("4930"), &["a", "b"]), (true, Consent::Ask));
        assert_eq!(of(Some("2"), &["c", "a"]), (true, Consent::Announce));
        assert_eq!(of(None, &["c"]), (false, Consent::None));
    }
}
