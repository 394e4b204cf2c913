//! Lets through to the decoder only what holds speech, with a little before and after, and remembers where in the
//! session it was. Pocketsphinx has a gate of its own, which loses the places of words; and decoding silence costs as
//! much as decoding speech.

use std::collections::VecDeque;

use earshot::Detector;

/// The gate of one session. Its clock counts samples at 16 kHz since the session began.
pub(super) struct Gate {
    detector: Box<Detector>,
    /// Samples that do not fill a block yet.
    block: Vec<i16>,
    /// What came last while the gate was shut: the beginnings of words are quiet.
    before: VecDeque<i16>,
    is_open: bool,
    /// Blocks in a row that are unlike the gate's state.
    contrary_blocks: u32,
    speech_blocks: u32,
    /// Where the next sample of `block` stands.
    position: u64,
}

/// A stretch of audio for the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Where its first sample stands in the session.
    pub position: u64,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Gate {
    /// A shut gate at the beginning of a session.
    pub(super) fn new() -> Self {
        Self {
            detector: Detector::default_boxed(),
            block: Vec::with_capacity(BLOCK),
            before: VecDeque::with_capacity(BEFORE),
            is_open: false,
            contrary_blocks: 0,
            speech_blocks: 0,
            position: 0,
        }
    }

    /// The next samples; what of them and of what came before is to be decoded.
    pub(super) fn push(&mut self, samples: &[i16]) -> Vec<Passed> {
        let mut passed = vec![];
        let mut samples = samples;
        while !samples.is_empty() {
            let (taken, rest) = samples.split_at(samples.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(taken);
            samples = rest;
            if self.block.len() == BLOCK {
                passed.extend(self.decide());
            }
        }
        passed
    }

    /// Audio is missing here: time passes, and what stood before does not touch what follows.
    pub(super) fn skip(&mut self, samples: u64) -> Option<Passed> {
        let rest = self.flush();
        self.before.clear();
        self.position += samples;
        rest
    }

    /// The utterance ends: what of it was not passed yet. The gate shuts and the next utterance's speech is counted anew.
    pub(super) fn finish(&mut self) -> Option<Passed> {
        let rest = self.flush();
        self.is_open = false;
        self.contrary_blocks = 0;
        self.speech_blocks = 0;
        rest
    }

    /// How long speech was heard in this utterance, in milliseconds.
    pub(super) const fn speech_ms(&self) -> u32 {
        self.speech_blocks * BLOCK_MS
    }

    /// Where the next sample stands.
    #[cfg(test)]
    const fn position(&self) -> u64 {
        self.position + self.block.len() as u64
    }

    fn decide(&mut self) -> Option<Passed> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let position = self.position;
        self.position += BLOCK as u64;
        let is_speech = self.detector.predict_i16(&block) >= SPEECH_SCORE;
        self.speech_blocks += u32::from(is_speech);
        self.contrary_blocks = if is_speech == self.is_open { 0 } else { self.contrary_blocks + 1 };
        if self.is_open {
            if self.contrary_blocks >= SHUT_BLOCKS {
                self.is_open = false;
                self.contrary_blocks = 0;
            }
            return Some(Passed { position, samples: block });
        }
        self.before.extend(block);
        let excess = self.before.len().saturating_sub(BEFORE);
        self.before.drain(..excess);
        if self.contrary_blocks < OPEN_BLOCKS {
            return None;
        }
        self.is_open = true;
        self.contrary_blocks = 0;
        let samples: Vec<i16> = self.before.drain(..).collect();
        Some(Passed { position: self.position - samples.len() as u64, samples })
    }

    fn flush(&mut self) -> Option<Passed> {
        let block = std::mem::take(&mut self.block);
        let position = self.position;
        self.position += block.len() as u64;
        if self.is_open {
            return (!block.is_empty()).then_some(Passed { position, samples: block });
        }
        self.before.extend(block);
        None
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.is_open).field("position", &self.position).finish()
    }
}

/// Where in the session a sample stands that the decoder knows by its number in the utterance.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeMap {
    /// First number in the utterance and its place in the session, of each stretch. Bounded by the utterance's length.
    stretches: Vec<(u64, u64)>,
    passed: u64,
}

impl TimeMap {
    /// `passed` has been given to the decoder.
    pub(super) fn push(&mut self, passed: &Passed) {
        let follows =
            self.stretches.last().is_some_and(|(number, place)| place + (self.passed - number) == passed.position);
        if !follows {
            self.stretches.push((self.passed, passed.position));
        }
        self.passed += passed.samples.len() as u64;
    }

    /// How many samples the decoder was given.
    pub(super) const fn passed(&self) -> u64 {
        self.passed
    }

    /// The place in the session of a sample of the utterance.
    pub(super) fn place(&self, number: u64) -> u64 {
        let at = self.stretches.partition_point(|(first, _)| *first <= number);
        let stretch = at.checked_sub(1).and_then(|at| self.stretches.get(at));
        stretch.map_or(number, |(first, place)| place + (number - first))
    }
}

/// Samples the detector judges at a time.
const BLOCK: usize = 256;
const BLOCK_MS: u32 = 16;
/// Samples kept while the gate is shut: 304 ms.
const BEFORE: usize = 19 * BLOCK;
const SPEECH_SCORE: f32 = 0.5;
/// Blocks of speech that open the gate: 32 ms.
const OPEN_BLOCKS: u32 = 2;
/// Blocks without speech that shut it: 720 ms, longer than a pause within a sentence.
const SHUT_BLOCKS: u32 = 45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_noise_do_not_pass() {
        let mut gate = Gate::new();
        let mut seed = 1_u32;
        for _ in 0..200 {
            let block: Vec<i16> = (0..320)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as i16 - 128
                })
                .collect();
            assert!(gate.push(&[0; 320]).is_empty());
            assert!(gate.push(&block).is_empty());
        }
        assert_eq!(gate.position(), 200 * 640);
        assert_eq!(gate.finish(), None);
    }

    #[test]
    fn places_survive_shut_gates_and_gaps() {
        let mut map = TimeMap::default();
        let passed = |position, len| Passed { position, samples: vec![0; len] };
        map.push(&passed(1_000, 256));
        map.push(&passed(1_256, 256));
        map.push(&passed(9_000, 512));
        assert_eq!(map.stretches.len(), 2);
        assert_eq!([0, 511, 512, 1_000].map(|it| map.place(it)), [1_000, 1_511, 9_000, 9_488]);
        assert_eq!(map.passed(), 1_024);
        let mut gate = Gate::new();
        gate.push(&[0; 100]);
        assert_eq!(gate.skip(16_000), None);
        assert_eq!(gate.position(), 16_100);
    }
}
