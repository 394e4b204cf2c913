//! A speech peer that needs no engine: it recognises by script and synthesises noise, with the latencies and failures
//! it is told. For tests and for measuring everything around the engine under load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::decoders::{RecogniserEnd, RecogniserLine, line};
use super::recogniser::Outcome;
use super::synthesiser::{RenderError, Speech, estimated_words};
use crate::agent::provider::WordTime;
use crate::agent::provider::speech_protocol::{ErrorCode, RecogniserDemand, RecognitionCause, samples_to_ms};
use crate::codec::SampleRate;
use crate::server::{clock, task};

/// What the peer does.
#[derive(Clone, Debug)]
pub struct Script {
    /// What is recognised, turn after turn; each session begins with the first, and begins again after the last.
    pub texts: Vec<String>,
    /// Until a session is ready.
    pub ready_after: Duration,
    /// Until a turn's result.
    pub result_after: Duration,
    /// Until a sentence's audio.
    pub audio_after: Duration,
    /// Speech for each character of a text.
    pub audio_per_char: Duration,
    /// What goes wrong.
    pub failure: Option<Failure>,
}

impl Default for Script {
    /// Recognises nothing, at once, and speaks at a usual pace.
    fn default() -> Self {
        Self {
            texts: vec![],
            ready_after: Duration::ZERO,
            result_after: Duration::ZERO,
            audio_after: Duration::ZERO,
            audio_per_char: Duration::from_millis(60),
            failure: None,
        }
    }
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Every recogniser session is refused as busy.
    Busy,
    /// Recogniser sessions fail with an error after so many results.
    RecogniserFails {
        /// Results before.
        after: usize,
    },
    /// Recogniser sessions lose their connection after so many results.
    RecogniserVanishes {
        /// Results before.
        after: usize,
    },
    /// Recogniser sessions give no result any more after so many.
    RecogniserHangs {
        /// Results before.
        after: usize,
    },
    /// Sentences, of all sessions together, fail after so many.
    SynthesiserFails {
        /// Sentences before.
        after: usize,
    },
    /// Sentences, of all sessions together, never come after so many.
    SynthesiserHangs {
        /// Sentences before.
        after: usize,
    },
}

/// The peer's engine.
#[derive(Clone, Debug)]
pub struct Scripted {
    script: Arc<Mutex<Arc<Script>>>,
    sentences: Arc<AtomicUsize>,
    heard: Heard,
}

/// What recognisers have heard.
type Heard = Arc<Mutex<VecDeque<i16>>>;

impl Scripted {
    /// A peer that does what `script` says.
    pub fn new(script: Script) -> Self {
        let script = Arc::new(Mutex::new(Arc::new(script)));
        Self { script, sentences: Arc::new(AtomicUsize::new(0)), heard: Heard::default() }
    }

    /// Another script, for sessions and sentences that begin from here on.
    pub fn change(&self, script: Script) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// The last half minute of what sessions have heard.
    pub fn heard(&self) -> Vec<i16> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A line to a scripted recogniser.
    pub(super) fn open(&self, rate: SampleRate) -> RecogniserLine {
        let (line, end) = line();
        task::spawn("scripted recogniser", recognise((self.script(), Arc::clone(&self.heard)), rate, end));
        line
    }

    /// A sentence of noise.
    ///
    /// # Errors
    ///
    /// When the script says so.
    pub(super) async fn render(&self, sentence: &str) -> Result<Speech, RenderError> {
        let script = self.script();
        let before = self.sentences.fetch_add(1, Ordering::Relaxed);
        match script.failure {
            Some(Failure::SynthesiserFails { after }) if before >= after => return Err(RenderError::Scripted),
            Some(Failure::SynthesiserHangs { after }) if before >= after => std::future::pending().await,
            Some(_) | None => {}
        }
        pause(script.audio_after).await;
        let chars = u32::try_from(sentence.chars().count()).unwrap_or(u32::MAX);
        let len = script.audio_per_char.saturating_mul(chars).as_millis() * 8;
        let samples = noise(usize::try_from(len).unwrap_or(0).min(SAMPLES_MAX));
        let words = estimated_words(sentence, &samples, NOISE_HZ);
        Ok(Speech { rate_hz: NOISE_HZ, samples, words, estimated: true })
    }
}

async fn recognise((script, heard): (Arc<Script>, Heard), rate: SampleRate, end: RecogniserEnd) {
    let RecogniserEnd { mut demands, outcomes } = end;
    pause(script.ready_after).await;
    let first = match script.failure {
        Some(Failure::Busy) => {
            Outcome::Failed { code: ErrorCode::Busy, message: "all recognisers are taken, as scripted".to_owned() }
        }
        Some(_) | None => Outcome::Ready,
    };
    if outcomes.send(first).await.is_err() {
        return;
    }
    let mut session = Session { script, heard, rate, results: 0, samples: 0, turn_began_at: None, position: 0 };
    while let Some(demand) = demands.recv().await {
        for outcome in session.handle(demand).await {
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }
}

struct Session {
    script: Arc<Script>,
    heard: Heard,
    rate: SampleRate,
    results: usize,
    samples: u64,
    turn_began_at: Option<u64>,
    position: u64,
}

impl Session {
    async fn handle(&mut self, demand: RecogniserDemand) -> VecDeque<Outcome> {
        let outcome = match demand {
            RecogniserDemand::Grammar(phrases) => {
                let words = u32::try_from(phrases.len()).unwrap_or(u32::MAX);
                Some(Outcome::GrammarDefined { words, unknown_words: vec![] })
            }
            RecogniserDemand::Start { .. } => None,
            RecogniserDemand::Audio(samples) => self.hear(&samples),
            RecogniserDemand::Gap { ms } => {
                self.position += u64::from(ms) * u64::from(self.rate.hz()) / 1_000;
                None
            }
            RecogniserDemand::Finalize { turn } => self.finalize(turn).await,
            RecogniserDemand::Stop => Some(Outcome::Stopped),
        };
        outcome.into_iter().collect()
    }

    fn hear(&mut self, samples: &[i16]) -> Option<Outcome> {
        let len = u64::try_from(samples.len()).unwrap_or(0);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(samples);
        let forgotten = heard.len().saturating_sub(HEARD_SAMPLES_MAX);
        heard.drain(..forgotten);
        drop(heard);
        let began = self.position;
        self.position += len;
        let is_loud = samples.iter().any(|it| it.unsigned_abs() > LOUD);
        if !is_loud || self.turn_began_at.is_some() {
            return None;
        }
        self.turn_began_at = Some(began);
        Some(Outcome::StartOfInput { at_ms: samples_to_ms(began, self.rate) })
    }

    async fn finalize(&mut self, turn: u32) -> Option<Outcome> {
        match self.script.failure {
            Some(Failure::RecogniserFails { after }) if self.results >= after => {
                let message = "failed as scripted".to_owned();
                return Some(Outcome::Failed { code: ErrorCode::EngineFailed, message });
            }
            Some(Failure::RecogniserVanishes { after }) if self.results >= after => return Some(Outcome::Vanish),
            Some(Failure::RecogniserHangs { after }) if self.results >= after => return None,
            Some(_) | None => {}
        }
        pause(self.script.result_after).await;
        let index = self.results.checked_rem(self.script.texts.len()).unwrap_or(0);
        let text = self.script.texts.get(index).cloned().unwrap_or_default();
        self.results += 1;
        let cause = if text.is_empty() { RecognitionCause::NoInput } else { RecognitionCause::Success };
        let words = self.words(&text);
        self.turn_began_at = None;
        self.samples = self.position;
        Some(Outcome::Complete { turn: Some(turn), cause, text, words })
    }

    /// The words of the turn's text, spread over its sound.
    fn words(&self, text: &str) -> Vec<WordTime> {
        let begin = samples_to_ms(self.turn_began_at.unwrap_or(self.samples), self.rate);
        let end = samples_to_ms(self.position, self.rate);
        let count = u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX).max(1);
        let at = |index: u32| begin + (end - begin) / count * index;
        let words = text.split_whitespace().zip(0..);
        words
            .map(|(word, at_index)| WordTime {
                word: word.to_owned(),
                start_ms: at(at_index),
                end_ms: at(at_index + 1),
            })
            .collect()
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        task::deadline(clock::now().instant + time).await;
    }
}

/// Noise that rises and falls four times a second, which a voice detector takes for speech more readily than a tone.
fn noise(len: usize) -> Vec<i16> {
    let mut seed = 1_u32;
    (0..len)
        .map(|at| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [high, ..] = seed.to_be_bytes();
            let swell = i16::try_from(at % 2_000).map_or(0, |it| 1_000 - (it - 1_000).abs());
            (i16::from(high) - 128) * (swell / 20)
        })
        .collect()
}

const NOISE_HZ: u32 = 8_000;
const LOUD: u16 = 500;
/// At 8 kHz.
const HEARD_SAMPLES_MAX: usize = 30 * 8_000;
/// Ten minutes.
const SAMPLES_MAX: usize = 600 * 8_000;
