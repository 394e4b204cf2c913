//! What a leg is listened to for beside words: who or what has answered a call of ours, fax machines, the network's tones.
//! Each finding comes once, with its time on the leg and what speaks for it.

use std::fmt;

use crate::agent::AnsweredBy;
use crate::codec::{Frame, SampleRate};
use crate::media::Heard;
use crate::media::detect::{
    Answer, AnswerConfig, AnswerDetector, AnswerEvidence, AnswerVerdict, CallProgress, Detected, Detection,
    MusicDetector, MusicVerdict, Readiness,
};
use crate::media::tones::call_tones::CallTones;
use crate::platform::calls::{EndCause, Party};

/// Listens to one leg, at one rate.
#[derive(Debug)]
pub(crate) struct Listening {
    rate: SampleRate,
    tones: Box<CallProgress>,
    music: Box<MusicDetector>,
    /// For a call of ours.
    answer: Option<Box<AnswerDetector>>,
    /// For how many more ticks tones, and who has answered, are listened for.
    ticks_left: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Who or what has answered.
    Answer(AnswerVerdict),
    /// A tone, or lasting silence.
    Tone(Detection),
    /// Music has begun or ended.
    Music(MusicVerdict),
}

impl Listening {
    /// To who calls us: for tones, in the first minute, which is when faxes and dialling machines show themselves; for music
    /// all along, as a call may be put on hold at any time. Where the country is known, so are the cadences of its tones.
    pub(crate) fn to_caller(rate: SampleRate, country: Option<&'static CallTones>) -> Self {
        Self {
            rate,
            tones: Box::new(CallProgress::new(rate, country)),
            music: Box::new(MusicDetector::new(rate)),
            answer: None,
            ticks_left: CALLER_TICKS,
        }
    }

    /// To who is called, from the first early media on.
    pub(crate) fn to_called(rate: SampleRate, country: Option<&'static CallTones>) -> Self {
        let answer = Box::new(AnswerDetector::new(rate, AnswerConfig::default(), country));
        Self { answer: Some(answer), ticks_left: CALLED_TICKS, ..Self::to_caller(rate, country) }
    }

    /// The call is answered: what is heard from here on is a greeting.
    pub(crate) fn handle_answered(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.handle_answered();
        }
    }

    /// Reads what a recogniser has understood so far.
    pub(crate) fn understand(&mut self, words: &str) -> Option<Finding> {
        self.answer.as_mut()?.handle_transcript(words).map(Finding::Answer)
    }

    /// Hears 20 ms.
    pub(crate) fn hear(&mut self, heard: &Heard) -> [Option<Finding>; 3] {
        let silence = Frame::silence(self.rate);
        let frame = match heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => frame,
            Heard::Nothing => &silence,
        };
        let music = self.music.handle_frame(frame).map(Finding::Music);
        let Some(left) = self.ticks_left.checked_sub(1) else {
            return [None, None, music];
        };
        self.ticks_left = left;
        let tone = self.tones.handle_frame(frame).map(Finding::Tone);
        let answer = self.answer.as_mut().and_then(|it| it.handle_frame(frame)).map(Finding::Answer);
        [tone, answer, music]
    }
}

impl Finding {
    /// Its name in the journal.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Answer(verdict) => match verdict.answer {
                Answer::Human => "human",
                Answer::Machine => "machine",
                Answer::MachineReady(Readiness::Beep) => "machine_ready_beep",
                Answer::MachineReady(Readiness::Silence) => "machine_ready_silence",
                Answer::Ivr => "ivr",
                Answer::Screening => "screening",
                Answer::Unavailable => "unavailable",
                Answer::Fax => "fax",
                Answer::Unknown => "unknown",
            },
            Self::Tone(detection) => match detection.detected {
                Detected::Ringback => "ringback",
                Detected::Busy => "busy",
                Detected::Congestion => "congestion",
                Detected::SpecialInformation => "special_information",
                Detected::FaxCalling => "fax_calling",
                Detected::FaxAnswering => "fax_answering",
                Detected::Beep => "beep",
                Detected::Silence => "silence",
            },
            Self::Music(MusicVerdict { is_music: true, .. }) => "music",
            Self::Music(MusicVerdict { is_music: false, .. }) => "music_ended",
        }
    }

    /// When, in milliseconds since the leg was first heard.
    pub(crate) const fn at_ms(&self) -> u32 {
        match self {
            Self::Answer(verdict) => verdict.at_ms,
            Self::Tone(detection) => detection.at_ms,
            Self::Music(verdict) => verdict.at_ms,
        }
    }

    /// Who answered, as an agent is told.
    pub(crate) const fn answered_by(&self) -> Option<AnsweredBy> {
        match self {
            Self::Tone(_) | Self::Music(_) => None,
            Self::Answer(verdict) => Some(match verdict.answer {
                Answer::Human => AnsweredBy::Human,
                Answer::Machine => AnsweredBy::Machine,
                Answer::MachineReady(_) => AnsweredBy::MachineReady,
                Answer::Ivr => AnsweredBy::Menu,
                Answer::Screening => AnsweredBy::Screening,
                Answer::Unavailable => AnsweredBy::Unavailable,
                Answer::Fax => AnsweredBy::Fax,
                Answer::Unknown => AnsweredBy::Unclear,
            }),
        }
    }

    /// Whether it is a fax machine that shows itself: one that calls us, or one that answers a call of ours.
    pub(crate) fn is_fax(&self, is_placed: bool) -> bool {
        let sought = if is_placed { Detected::FaxAnswering } else { Detected::FaxCalling };
        matches!(self, Self::Tone(Detection { detected, .. }) if *detected == sought)
    }

    /// Why a call of ours is over, if this says so.
    pub(crate) const fn end_cause(&self) -> Option<EndCause> {
        let Self::Tone(Detection { detected, .. }) = self else {
            return None;
        };
        match detected {
            Detected::Busy => Some(EndCause::LineBusy),
            Detected::Congestion => Some(EndCause::NetworkBusy),
            Detected::SpecialInformation => Some(EndCause::Unreachable),
            Detected::Ringback | Detected::FaxCalling | Detected::FaxAnswering | Detected::Beep | Detected::Silence => {
                None
            }
        }
    }

    /// Who answered, as the call record has it; `None` if this says nothing about it.
    pub(crate) const fn party(&self) -> Option<Party> {
        match self {
            Self::Tone(_) | Self::Music(_) => None,
            Self::Answer(verdict) => Some(match verdict.answer {
                Answer::Human => Party::Human,
                Answer::Machine
                | Answer::MachineReady(_)
                | Answer::Ivr
                | Answer::Screening
                | Answer::Unavailable
                | Answer::Fax => Party::Machine,
                Answer::Unknown => Party::Unclear,
            }),
        }
    }
}

/// For people: the name, the time and what speaks for it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_ms = self.at_ms();
        write!(f, "{} at {}.{:02} s: ", self.name(), at_ms / 1_000, at_ms % 1_000 / 10)?;
        let tone = match self {
            Self::Tone(detection) => Some(detection),
            Self::Answer(AnswerVerdict { evidence, .. }) => evidence.tone.as_ref(),
            Self::Music(MusicVerdict { evidence, .. }) => {
                let (sustained, quiet) = (evidence.sustained_percent, evidence.quiet_percent);
                return write!(f, "{sustained} % in {} notes that stand still, {quiet} % of pause", evidence.notes);
            }
        };
        match (tone, self) {
            (Some(Detection { detected: Detected::Silence, evidence, .. }), _) => {
                write!(f, "nothing for {} ms", evidence.tone_ms)
            }
            (Some(Detection { evidence, .. }), _) => {
                write!(f, "{} Hz for {} ms, then {} ms of pause", evidence.hz, evidence.tone_ms, evidence.pause_ms)
            }
            (None, Self::Answer(AnswerVerdict { evidence, .. })) => write_cadence(f, evidence),
            (None, Self::Tone(_) | Self::Music(_)) => Ok(()),
        }
    }
}

fn write_cadence(f: &mut fmt::Formatter<'_>, evidence: &AnswerEvidence) -> fmt::Result {
    let AnswerEvidence { greeting_ms, words, initial_silence_ms, pause_ms, by_transcript, .. } = evidence;
    write!(
        f,
        "{greeting_ms} ms of greeting in {words} words after {initial_silence_ms} ms, then {pause_ms} ms of pause"
    )?;
    if *by_transcript { f.write_str(", by what was said") } else { Ok(()) }
}

/// One minute.
const CALLER_TICKS: u32 = 3_000;
/// Two minutes: a long greeting after long ringing.
const CALLED_TICKS: u32 = 6_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fax_that_calls_is_found_once_and_says_why() {
        let found = listen(Listening::to_caller(SampleRate::Hz8000, None), |ms| {
            // Half a second every three and a half.
            if ms % 3_500 < 500 { Some(1_100.0) } else { None }
        });
        assert!(found[0].starts_with("fax_calling at "), "{found:?}");
        assert!(found[0].contains(" Hz for "), "{found:?}");
        assert_eq!(found.iter().filter(|it| it.starts_with("fax")).count(), 1, "{found:?}");
    }

    #[test]
    fn music_on_hold_is_heard_to_begin() {
        let rate = SampleRate::Hz8000;
        let tune = crate::media::hold_music::hold_music(rate).unwrap();
        let mut listening = Listening::to_caller(rate, None);
        // In the middle of a call: two minutes of it have passed.
        for _ in 0..6_000 {
            assert!(listening.hear(&Heard::Nothing).iter().flatten().all(|it| it.name() == "silence"));
        }
        let heard = (0..900).flat_map(|tick| listening.hear(&Heard::Audio(tune.round(tick * 160))));
        let found: Vec<_> = heard.flatten().map(|it| it.to_string()).collect();
        assert!(found.iter().any(|it| it.starts_with("music at 12") && it.contains("notes")), "{found:?}");
    }

    #[test]
    fn tones_are_told_by_the_cadence_of_their_country() {
        // Engaged in China, and what is nearest to it in the United States.
        let busy = |ms: u32| (ms % 700 < 350).then_some(450.0);
        let of = |country| {
            let found = listen(Listening::to_caller(SampleRate::Hz8000, CallTones::of(country)), busy);
            found.first().and_then(|it| it.split(' ').next()).map(str::to_owned)
        };
        assert_eq!(of("CN").as_deref(), Some("busy"));
        assert_eq!(of("US").as_deref(), Some("congestion"));
    }

    #[test]
    fn who_says_a_word_and_waits_is_a_person() {
        let mut listening = Listening::to_called(SampleRate::Hz16000, None);
        listening.handle_answered();
        let found = listen(listening, |ms| (400..800).contains(&ms).then_some(200.0 + f64::from(ms % 90)));
        assert!(found.iter().any(|it| it.starts_with("human at ")), "{found:?}");
    }

    #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
    fn listen(mut listening: Listening, hz: impl Fn(u32) -> Option<f64>) -> Vec<String> {
        let rate = listening.rate;
        let mut found = vec![];
        let mut phase = 0.0_f64;
        for tick in 0..600_u32 {
            let mut frame = Frame::silence(rate);
            if let Some(hz) = hz(tick * 20) {
                for sample in frame.samples_mut() {
                    phase += hz / f64::from(rate.hz());
                    *sample = (6_000.0 * (phase * std::f64::consts::TAU).sin()) as i16;
                }
            }
            found.extend(listening.hear(&Heard::Audio(frame)).into_iter().flatten().map(|it| it.to_string()));
        }
        found
    }
}
