//! [`AnswerDetector`]: whether a person or a machine has answered, and when the machine records.
//!
//! People say a word or two and wait, companies a sentence; machines talk on. So the cadence of speech and pauses is judged
//! first, what a recogniser makes of the words corrects it, and tones are heard all the time, on early media too.

use super::call_progress::{CallProgress, Detected, Detection};
use super::phrases;
use crate::codec::{Frame, SampleRate};
use crate::media::levels::Level;
use crate::media::tones::call_tones::CallTones;

/// Who or what has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A person.
    Human,
    /// A machine that talks.
    Machine,
    /// A machine that records now.
    MachineReady(Readiness),
    /// A menu.
    Ivr,
    /// A service that asks who is calling.
    Screening,
    /// The number cannot be reached, or takes no message.
    Unavailable,
    /// A fax machine.
    Fax,
    /// Nobody has spoken, or it took too long to tell.
    Unknown,
}

/// How a machine showed that it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// By a beep.
    Beep,
    /// It has fallen silent.
    Silence,
}

/// Why a verdict was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerEvidence {
    /// From the first to the last voice of the greeting, in milliseconds.
    pub greeting_ms: u32,
    /// Of it, with voice.
    pub voice_ms: u32,
    /// Stretches of voice.
    pub words: u16,
    /// The silence before the first of them, or so far.
    pub initial_silence_ms: u32,
    /// The silence since the last of them.
    pub pause_ms: u32,
    /// The tone, if one was decisive.
    pub tone: Option<Detection>,
    /// Whether words were decisive.
    pub by_transcript: bool,
}

/// A verdict. The first is about who answered; [`Answer::MachineReady`] and corrections by the transcript may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerVerdict {
    /// Who or what.
    pub answer: Answer,
    /// In milliseconds since the first frame.
    pub at_ms: u32,
    /// What speaks for it.
    pub evidence: AnswerEvidence,
}

/// Bounds of the judgement, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerConfig {
    /// Silence after a greeting that is no longer than this makes it a person's soon.
    pub greeting_ms_max: u32,
    /// That silence.
    pub human_pause_ms: u32,
    /// A greeting that is longer than this is a machine's. In between it may be a company's, which waits for an answer then.
    pub long_greeting_ms_max: u32,
    /// Silence after a greeting in between that makes it a person's, if nothing in its words speaks against that.
    pub yield_pause_ms: u32,
    /// Silence after a machine's greeting that means it records.
    pub machine_pause_ms: u32,
    /// For how long nobody may speak.
    pub initial_silence_ms_max: u32,
    /// After this, the answer stays unknown.
    pub total_ms_max: u32,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            greeting_ms_max: 2_400,
            human_pause_ms: 700,
            long_greeting_ms_max: 4_500,
            yield_pause_ms: 900,
            machine_pause_ms: 1_500,
            initial_silence_ms_max: 5_000,
            total_ms_max: 20_000,
        }
    }
}

/// Listens to what answers. Its own time is that of the frames it is given, one every 20 ms.
#[derive(Clone, Debug)]
pub struct AnswerDetector {
    config: AnswerConfig,
    tones: CallProgress,
    is_answered: bool,
    at_ms: u32,
    answered_ms: u32,
    /// The quietest frame of this half second and of the one before: what is no voice.
    quietest: [f32; 2],
    /// Frames of voice in a row.
    run: u32,
    first_voice_ms: Option<u32>,
    last_voice_ms: u32,
    voice_ms: u32,
    words: u16,
    answer: Option<Answer>,
}

impl AnswerDetector {
    /// Before the answer, only tones and words count: call [`AnswerDetector::handle_answered`] then.
    pub fn new(rate: SampleRate, config: AnswerConfig, country: Option<&'static CallTones>) -> Self {
        Self {
            config,
            tones: CallProgress::new(rate, country),
            is_answered: false,
            at_ms: 0,
            answered_ms: 0,
            quietest: [f32::INFINITY; 2],
            run: 0,
            first_voice_ms: None,
            last_voice_ms: 0,
            voice_ms: 0,
            words: 0,
            answer: None,
        }
    }

    /// The call is answered: what is heard from now on is the greeting.
    pub const fn handle_answered(&mut self) {
        self.is_answered = true;
        self.answered_ms = self.at_ms;
        self.first_voice_ms = None;
        self.voice_ms = 0;
        self.words = 0;
        self.run = 0;
        // What the network said while it rang is no word of whoever answers.
        if !matches!(self.answer, Some(Answer::Unavailable | Answer::Fax)) {
            self.answer = None;
        }
    }

    /// Hears 20 ms; silence where nothing came, so that time passes.
    pub fn handle_frame(&mut self, frame: &Frame) -> Option<AnswerVerdict> {
        self.at_ms = self.at_ms.saturating_add(Frame::MS);
        let detection = self.tones.handle_frame(frame);
        self.follow_voice(Level::of(frame).rms);
        if let Some(answer) = detection.and_then(|it| self.judge_tone(it.detected)) {
            return self.tell(answer, detection, false);
        }
        let answer = self.judge_cadence()?;
        self.tell(answer, None, false)
    }

    /// Reads what a recogniser has understood so far.
    pub fn handle_transcript(&mut self, transcript: &str) -> Option<AnswerVerdict> {
        let answer = phrases::classify(transcript)?;
        let is_news = match self.answer {
            None | Some(Answer::Human | Answer::Unknown) => true,
            Some(Answer::Machine) => answer != Answer::Machine,
            Some(_) => false,
        };
        if is_news { self.tell(answer, None, true) } else { None }
    }

    fn follow_voice(&mut self, rms: u16) {
        let rms = f32::from(rms);
        let [now, before] = &mut self.quietest;
        *now = now.min(rms);
        // Whoever speaks pauses for breath and between syllables; what never falls below is noise.
        let floor = now.min(*before).min(FLOOR_MAX);
        if self.at_ms.is_multiple_of(FLOOR_MS) {
            (*before, *now) = (*now, f32::INFINITY);
        }
        let is_voice = rms > VOICE_RMS_MIN.max(floor * VOICE_ABOVE_FLOOR) && !self.tones.is_long_tone();
        if !is_voice {
            if self.run >= WORD_FRAMES_MIN {
                self.words = self.words.saturating_add(1);
            }
            self.run = 0;
            return;
        }
        self.run += 1;
        if self.run < WORD_FRAMES_MIN {
            return;
        }
        let new_frames = if self.run == WORD_FRAMES_MIN { WORD_FRAMES_MIN } else { 1 };
        self.voice_ms = self.voice_ms.saturating_add(new_frames * Frame::MS);
        let began_ms = self.at_ms.saturating_sub(WORD_FRAMES_MIN * Frame::MS);
        self.first_voice_ms = self.first_voice_ms.or(Some(began_ms));
        self.last_voice_ms = self.at_ms;
    }

    fn judge_tone(&self, detected: Detected) -> Option<Answer> {
        match detected {
            // A fax machine that is called does not sound like one that calls; a beep of 1,100 Hz does.
            Detected::FaxCalling | Detected::Beep if self.voice_ms >= 600 => {
                Some(Answer::MachineReady(Readiness::Beep))
            }
            Detected::FaxCalling | Detected::FaxAnswering => Some(Answer::Fax),
            Detected::SpecialInformation => Some(Answer::Unavailable),
            // A beep without a greeting may be anything.
            Detected::Beep | Detected::Ringback | Detected::Busy | Detected::Congestion | Detected::Silence => None,
        }
    }

    fn judge_cadence(&self) -> Option<Answer> {
        if !self.is_answered {
            return None;
        }
        let evidence = self.evidence();
        match self.answer {
            None if self.first_voice_ms.is_none() => {
                (evidence.initial_silence_ms >= self.config.initial_silence_ms_max).then_some(Answer::Unknown)
            }
            None if evidence.greeting_ms >= self.config.long_greeting_ms_max => Some(Answer::Machine),
            None if evidence.pause_ms >= self.yields_after_ms(evidence.greeting_ms) => Some(Answer::Human),
            None if self.at_ms - self.answered_ms >= self.config.total_ms_max => Some(Answer::Unknown),
            Some(Answer::Machine) if evidence.pause_ms >= self.config.machine_pause_ms => {
                Some(Answer::MachineReady(Readiness::Silence))
            }
            None | Some(_) => None,
        }
    }

    /// For how long somebody is silent who has greeted for so long and waits for an answer.
    const fn yields_after_ms(&self, greeting_ms: u32) -> u32 {
        if greeting_ms < self.config.greeting_ms_max { self.config.human_pause_ms } else { self.config.yield_pause_ms }
    }

    fn tell(&mut self, answer: Answer, tone: Option<Detection>, by_transcript: bool) -> Option<AnswerVerdict> {
        if self.answer == Some(answer) {
            return None;
        }
        self.answer = Some(answer);
        let evidence = AnswerEvidence { tone, by_transcript, ..self.evidence() };
        Some(AnswerVerdict { answer, at_ms: self.at_ms, evidence })
    }

    fn evidence(&self) -> AnswerEvidence {
        let first = self.first_voice_ms;
        AnswerEvidence {
            greeting_ms: first.map_or(0, |it| self.last_voice_ms.saturating_sub(it)),
            voice_ms: self.voice_ms,
            words: self.words,
            initial_silence_ms: first.unwrap_or(self.at_ms).saturating_sub(self.answered_ms),
            pause_ms: first.map_or(0, |_| self.at_ms - self.last_voice_ms),
            tone: None,
            by_transcript: false,
        }
    }
}

/// Louder noise is taken for voice, lest a voice that begins with the call be taken for noise.
const FLOOR_MAX: f32 = 2_500.0;
const FLOOR_MS: u32 = 500;
/// 6 dB.
const VOICE_ABOVE_FLOOR: f32 = 2.0;
const VOICE_RMS_MIN: f32 = 250.0;
/// What is shorter is a click.
const WORD_FRAMES_MIN: u32 = 4;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::media::tones::generator::{FAX_ANSWERING, SPECIAL_INFORMATION};
    use crate::media::tones::synthetic::{Noise, speech};
    use crate::media::tones::{Piece, ToneGenerator};

    /// The labels of the corpus are its columns; what it holds is made up, so the figures say how the rules behave, not
    /// how often people and machines are told apart.
    #[test]
    fn confusion_matrix_of_a_made_up_corpus() {
        for noise in [0.0, 100.0] {
            let mut right = 0;
            println!("noise of {noise}: verdicts, and milliseconds to the first of them (median, worst)");
            for label in ["human", "long human", "machine", "machine with pauses", "fax", "unavailable", "silence"] {
                let mut verdicts: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
                let mut times = vec![];
                for seed in 0..15 {
                    let found = run(scene(label, seed), noise);
                    let first = found.first().map(|it| it.answer);
                    let expected = match label {
                        "human" | "long human" => Answer::Human,
                        "machine" | "machine with pauses" => Answer::Machine,
                        "fax" => Answer::Fax,
                        "unavailable" => Answer::Unavailable,
                        _ => Answer::Unknown,
                    };
                    right += u32::from(first == Some(expected));
                    *verdicts
                        .entry(format!("{:?}", found.iter().map(|it| it.answer).collect::<Vec<_>>()))
                        .or_default() += 1;
                    times.extend(found.first().map(|it| it.at_ms));
                }
                times.sort_unstable();
                println!("{label:>20}: {verdicts:?}, {:?} {:?}", times.get(times.len() / 2), times.last());
            }
            println!("right: {right} of 105");
            assert!(right >= 100, "{right}");
        }
    }

    #[test]
    fn a_machine_that_beeps_is_ready_then_and_one_that_does_not_after_a_pause() {
        let greeting = speech(4, 6_000, SampleRate::Hz8000);
        let silence = std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), 150);
        let mut beep = ToneGenerator::new(&[Piece::tone(1_000, 500)], false, -14.0, SampleRate::Hz8000);
        let beeping: Vec<_> =
            greeting.iter().copied().chain(std::iter::from_fn(|| beep.next_frame())).chain(silence.clone()).collect();
        let answers = |frames: Vec<Frame>| run(frames, 0.0).iter().map(|it| it.answer).collect::<Vec<_>>();
        assert_eq!(answers(beeping), [Answer::Machine, Answer::MachineReady(Readiness::Beep)]);
        let silent = greeting.into_iter().chain(silence).collect();
        assert_eq!(answers(silent), [Answer::Machine, Answer::MachineReady(Readiness::Silence)]);
    }

    #[test]
    fn words_correct_the_cadence_and_come_first_on_early_media() {
        let mut detector = AnswerDetector::new(SampleRate::Hz8000, AnswerConfig::default(), None);
        for frame in speech(1, 4_000, SampleRate::Hz8000) {
            assert_eq!(detector.handle_frame(&frame), None, "not answered yet");
        }
        let verdict = detector.handle_transcript("please leave a message after the tone").unwrap();
        assert!(verdict.answer == Answer::Machine && verdict.evidence.by_transcript);
        assert_eq!(detector.handle_transcript("leave a message"), None);
        let mut detector = AnswerDetector::new(SampleRate::Hz8000, AnswerConfig::default(), None);
        detector.handle_answered();
        let short = speech(2, 900, SampleRate::Hz8000).into_iter();
        let answers = short.chain(std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), 60));
        let answers: Vec<_> = answers.filter_map(|it| detector.handle_frame(&it)).map(|it| it.answer).collect();
        assert_eq!(answers, [Answer::Human]);
        let corrected = detector.handle_transcript("Hi, state your name").map(|it| it.answer);
        assert_eq!(corrected, Some(Answer::Screening));
    }

    fn scene(label: &str, seed: u64) -> Vec<Frame> {
        let rate = SampleRate::Hz8000;
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut frames = vec![Frame::silence(rate); rng.random_range(5..60)];
        let silence = |count: usize| std::iter::repeat_n(Frame::silence(rate), count);
        let tone = |pieces: &[Piece]| {
            let mut tone = ToneGenerator::new(pieces, false, -14.0, rate);
            std::iter::from_fn(move || tone.next_frame())
        };
        match label {
            "human" => frames.extend(speech(seed, rng.random_range(300..900), rate)),
            "long human" => frames.extend(speech(seed, rng.random_range(900..2_200), rate)),
            "machine" => frames.extend(speech(seed, rng.random_range(4_000..12_000), rate)),
            "machine with pauses" => {
                for part in 0..5 {
                    frames.extend(speech(seed * 10 + part, rng.random_range(800..2_000), rate));
                    frames.extend(silence(rng.random_range(10..32)));
                }
            }
            "fax" => frames.extend(tone(FAX_ANSWERING)),
            "unavailable" => {
                frames.extend(tone(SPECIAL_INFORMATION));
                frames.extend(speech(seed, 5_000, rate));
            }
            _ => frames.extend(silence(300)),
        }
        if label.starts_with("machine") && seed.is_multiple_of(2) {
            frames.extend(silence(20));
            frames.extend(tone(&[Piece::tone(rng.random_range(600..1_800), 400)]));
        }
        frames.extend(silence(150));
        frames
    }

    fn run(frames: Vec<Frame>, noise: f32) -> Vec<AnswerVerdict> {
        let mut detector = AnswerDetector::new(SampleRate::Hz8000, AnswerConfig::default(), None);
        let mut hiss = Noise::new(9);
        detector.handle_answered();
        let frames = frames.into_iter().map(|it| if noise > 0.0 { hiss.add(&it, noise) } else { it });
        frames.filter_map(|it| detector.handle_frame(&it)).collect()
    }
}
