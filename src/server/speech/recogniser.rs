//! One recogniser session: demands in, outcomes out, with one decoder. Runs on a thread of its own, see `decoders`.

use super::audio::Upsampled;
use super::gate::{Gate, Passed, TimeMap};
use super::language_model::{Grammar, base_form};
use super::model::Model;
use super::pocketsphinx_ffi::{Decoder, DecoderError};
use crate::agent::provider::WordTime;
use crate::agent::provider::speech_protocol::{ErrorCode, RecogniserDemand, RecognitionCause, samples_to_ms};
use crate::codec::SampleRate;
use crate::limits::SPEECH_UTTERANCE_MS_MAX;

/// What a recogniser tells its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has been assigned.
    Ready,
    /// The grammar is in place.
    GrammarDefined {
        /// Its distinct words.
        words: u32,
        /// Words that cannot be recognised.
        unknown_words: Vec<String>,
    },
    /// Speech has begun.
    StartOfInput {
        /// Where in the session.
        at_ms: u32,
    },
    /// The utterance so far.
    Partial {
        /// Its words.
        text: String,
    },
    /// The utterance is over.
    Complete {
        /// Which turn asked for it.
        turn: Option<u32>,
        /// How it ended.
        cause: RecognitionCause,
        /// What was said.
        text: String,
        /// When, in the session.
        words: Vec<WordTime>,
    },
    /// Nothing is recognised any more.
    Stopped,
    /// The recogniser is of no more use.
    Failed {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// Drop the connection without a word; only scripted peers do this.
    Vanish,
}

/// The session.
#[derive(Debug)]
pub struct Recogniser {
    model: Model,
    rate: SampleRate,
    upsampled: Upsampled,
    gate: Gate,
    /// What the decoder is to understand, until there is one: the general language model without a grammar.
    wanted: Option<Option<Grammar>>,
    decoder: Option<Decoder>,
    /// The decoder for the next utterance, if the grammar changed within one.
    next_decoder: Option<Decoder>,
    listening: Option<Listening>,
    /// Samples heard since it was clear what the decoder is to understand.
    heard: usize,
}

#[derive(Debug)]
struct Listening {
    partial_results: bool,
    map: TimeMap,
    partial: String,
    partial_at: u64,
}

impl Listening {
    fn new(partial_results: bool) -> Self {
        Self { partial_results, map: TimeMap::default(), partial: String::new(), partial_at: 0 }
    }
}

impl Recogniser {
    /// A session for audio at `rate`.
    pub fn new(model: Model, rate: SampleRate) -> Self {
        Self {
            model,
            rate,
            upsampled: Upsampled::new(rate),
            gate: Gate::new(),
            wanted: None,
            decoder: None,
            next_decoder: None,
            listening: None,
            heard: 0,
        }
    }

    /// Does what is demanded; the outcomes come in order. After `Failed` there is nothing more to demand.
    pub fn handle(&mut self, demand: RecogniserDemand) -> Vec<Outcome> {
        let outcome = match demand {
            RecogniserDemand::Grammar(phrases) => self.define_grammar(&phrases).map(|it| vec![it]),
            RecogniserDemand::Start { partial_results } => self.start(partial_results).map(|()| vec![]),
            RecogniserDemand::Audio(samples) => self.hear(&samples),
            RecogniserDemand::Gap { ms } => {
                let rest = self.gate.skip(u64::from(ms) * SAMPLES_PER_MS);
                self.decode(rest.into_iter().collect())
            }
            RecogniserDemand::Finalize { turn } => self.complete(Some(turn), None),
            RecogniserDemand::Stop => self.stop().map(|()| vec![Outcome::Stopped]),
        };
        outcome.unwrap_or_else(|failure| vec![failure.into()])
    }

    fn define_grammar(&mut self, phrases: &[String]) -> Result<Outcome, Failure> {
        let grammar = self.model.learn(phrases).map_err(DecoderError::from)?.ok_or(Failure::GrammarEmpty)?;
        self.model.probe().map_err(DecoderError::from)?;
        let (words, unknown_words) = (grammar.words, grammar.unknown_words.clone());
        if self.listening.as_ref().is_some_and(|it| it.map.passed() > 0) {
            self.next_decoder = Some(self.model.decoder(Some(&grammar), self.rate)?);
        } else {
            self.decoder = None;
            self.wanted = Some(Some(grammar));
            self.heard = 0;
        }
        Ok(Outcome::GrammarDefined { words, unknown_words })
    }

    fn start(&mut self, partial_results: bool) -> Result<(), Failure> {
        self.model.probe().map_err(DecoderError::from)?;
        if self.decoder.is_none() && self.wanted.is_none() {
            self.wanted = Some(None);
        }
        self.listening = Some(Listening::new(partial_results));
        self.gate.finish();
        Ok(())
    }

    fn hear(&mut self, samples: &[i16]) -> Result<Vec<Outcome>, Failure> {
        let samples = self.upsampled.push(samples);
        let passed = self.gate.push(&samples);
        self.heard = self.heard.saturating_add(samples.len());
        if self.heard >= STAYED_SAMPLES {
            self.ready_decoder()?;
        }
        self.decode(passed)
    }

    /// Starts the decoder that is wanted. That costs more than all the rest of a session, so it is not done for a caller
    /// who says nothing and leaves.
    fn ready_decoder(&mut self) -> Result<(), Failure> {
        if let Some(grammar) = self.wanted.take() {
            self.decoder = Some(self.model.decoder(grammar.as_ref(), self.rate)?);
        }
        Ok(())
    }

    fn decode(&mut self, passed: Vec<Passed>) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = vec![];
        if !passed.is_empty() {
            self.ready_decoder()?;
        }
        for passed in passed {
            let (Some(listening), Some(decoder)) = (&mut self.listening, &mut self.decoder) else {
                break;
            };
            if listening.map.passed() == 0 {
                outcomes.push(Outcome::StartOfInput { at_ms: session_ms(passed.position) });
            }
            if !(decoder.start() && decoder.process(&passed.samples)) {
                return Err(Failure::Decoder);
            }
            listening.map.push(&passed);
            if listening.partial_results && listening.map.passed() >= listening.partial_at + PARTIAL_SAMPLES {
                listening.partial_at = listening.map.passed();
                let text = decoder.text();
                if text != listening.partial {
                    listening.partial.clone_from(&text);
                    outcomes.push(Outcome::Partial { text });
                }
            }
            if session_ms(listening.map.passed()) >= SPEECH_UTTERANCE_MS_MAX {
                outcomes.extend(self.complete(None, Some(RecognitionCause::SuccessMaxtime))?);
            }
        }
        Ok(outcomes)
    }

    fn complete(&mut self, turn: Option<u32>, cause: Option<RecognitionCause>) -> Result<Vec<Outcome>, Failure> {
        let speech_ms = self.gate.speech_ms();
        let rest: Vec<Passed> = self.gate.finish().into_iter().collect();
        let mut outcomes = if cause.is_none() { self.decode(rest)? } else { vec![] };
        let partial_results = self.listening.as_ref().is_some_and(|it| it.partial_results);
        let listening = self.listening.as_mut().map(|it| std::mem::replace(it, Listening::new(partial_results)));
        let words = match (listening, &mut self.decoder) {
            (Some(listening), Some(decoder)) if listening.map.passed() > 0 => {
                decoder.end();
                if speech_ms < SPEECH_MS_MIN { None } else { Some(words(decoder, &listening.map)) }
            }
            (_, _) => None,
        };
        if let Some(decoder) = self.next_decoder.take() {
            self.decoder = Some(decoder);
        }
        let cause = cause.unwrap_or(match &words {
            None => RecognitionCause::NoInput,
            Some(words) if words.is_empty() => RecognitionCause::NoMatch,
            Some(_) => RecognitionCause::Success,
        });
        let words = words.unwrap_or_default();
        let text = words.iter().map(|it| it.word.as_str()).collect::<Vec<_>>().join(" ");
        outcomes.push(Outcome::Complete { turn, cause, text, words });
        Ok(outcomes)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.complete(None, None)?;
        self.listening = None;
        Ok(())
    }
}

/// The words of the utterance that has ended, without fillers and silence.
fn words(decoder: &mut Decoder, map: &TimeMap) -> Vec<WordTime> {
    let segments = decoder.segments().into_iter().filter(|it| !it.word.starts_with(['<', '[', '+']));
    segments
        .map(|segment| WordTime {
            word: base_form(&segment.word).to_owned(),
            start_ms: session_ms(map.place(u64::from(segment.first_frame) * FRAME_SAMPLES)),
            end_ms: session_ms(map.place(u64::from(segment.last_frame) * FRAME_SAMPLES) + FRAME_SAMPLES),
        })
        .collect()
}

fn session_ms(samples: u64) -> u32 {
    samples_to_ms(samples, SampleRate::Hz16000)
}

#[derive(Debug)]
enum Failure {
    GrammarEmpty,
    Start(DecoderError),
    Decoder,
}

impl From<DecoderError> for Failure {
    fn from(error: DecoderError) -> Self {
        Self::Start(error)
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let (code, message) = match failure {
            Failure::GrammarEmpty => {
                (ErrorCode::GrammarEmpty, "no word of the phrases is in the dictionary".to_owned())
            }
            Failure::Start(error @ DecoderError::Missing(_)) => (ErrorCode::EngineUnavailable, error.to_string()),
            Failure::Start(error @ DecoderError::Refused(_)) => (ErrorCode::EngineFailed, error.to_string()),
            Failure::Decoder => (ErrorCode::EngineFailed, "the decoder refused audio".to_owned()),
        };
        Self::Failed { code, message }
    }
}

const SAMPLES_PER_MS: u64 = 16;
/// A caller who has been there for half a second stays: the decoder is ready before they speak.
const STAYED_SAMPLES: usize = 8_000;
/// A frame of the decoder: 10 ms.
const FRAME_SAMPLES: u64 = 160;
/// Between two partial results: 150 ms of speech.
const PARTIAL_SAMPLES: u64 = 2_400;
/// Less speech than this is a click or a cough.
const SPEECH_MS_MIN: u32 = 80;
