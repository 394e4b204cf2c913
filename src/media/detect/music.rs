//! [`MusicDetector`]: music on hold. Its notes stand still for a quarter of a second or more, one follows another without a
//! pause, and there are several of them; the pitch of speech glides, its syllables are short, and it pauses; the tones of a
//! network stand still too, but they are one or two, and pause.
//!
//! Audio is looked at in blocks of 80 ms: which semitone is the strongest, and how loud the block is. A window of six
//! seconds is judged every half second. A beat is looked for as well; it is told as evidence and decides nothing, as slow
//! music has none that is heard. Singing over quiet music is taken for speech.
#![expect(clippy::cast_precision_loss, reason = "signal processing of small numbers")]

use std::collections::VecDeque;

use crate::codec::{Frame, SampleRate};
use crate::media::tones::goertzel::Goertzel;

/// Why a verdict was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MusicEvidence {
    /// Of the last six seconds, how much was part of a note that stood still, in percent.
    pub sustained_percent: u8,
    /// How much was a pause, in percent.
    pub quiet_percent: u8,
    /// How many different notes stood still.
    pub notes: u8,
    /// The beat, in milliseconds, if one was found.
    pub beat_ms: Option<u16>,
}

/// Music has begun, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MusicVerdict {
    /// Whether there is music now.
    pub is_music: bool,
    /// In milliseconds since the first frame.
    pub at_ms: u32,
    /// What speaks for it.
    pub evidence: MusicEvidence,
}

/// Listens for music. Each change is told once.
#[derive(Clone, Debug)]
pub struct MusicDetector {
    rate: SampleRate,
    /// In fours, from the lowest; the last is not looked at.
    notes: [[Goertzel; 4]; NOTES.div_ceil(4)],
    /// The block that is being filled, with the window function applied when it is full.
    block: Vec<f32>,
    blocks: VecDeque<Block>,
    at_ms: u32,
    until_judgement: u32,
    /// Judgements in a row that contradict what was told last.
    contrary: u32,
    is_music: bool,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    rms: f32,
    /// The strongest note, if it stands out.
    note: Option<u8>,
}

impl MusicDetector {
    /// For audio of this rate.
    pub fn new(rate: SampleRate) -> Self {
        let hz = |note: usize| LOWEST_HZ * (note as f32 / 12.0).exp2();
        Self {
            rate,
            notes: std::array::from_fn(|four| {
                std::array::from_fn(|note| Goertzel::new(hz(4 * four + note), rate.hz() as f32))
            }),
            block: Vec::with_capacity(rate.frame_len() * BLOCK_FRAMES),
            blocks: VecDeque::with_capacity(WINDOW_BLOCKS),
            at_ms: 0,
            until_judgement: JUDGEMENT_BLOCKS,
            contrary: 0,
            is_music: false,
        }
    }

    /// Hears 20 ms; silence where nothing came.
    pub fn handle_frame(&mut self, frame: &Frame) -> Option<MusicVerdict> {
        self.at_ms = self.at_ms.saturating_add(Frame::MS);
        if frame.rate() != self.rate {
            return None;
        }
        self.block.extend(frame.samples().iter().map(|it| f32::from(*it)));
        if self.block.len() < self.rate.frame_len() * BLOCK_FRAMES {
            return None;
        }
        if self.blocks.len() == WINDOW_BLOCKS {
            self.blocks.pop_front();
        }
        let block = self.measure();
        self.blocks.push_back(block);
        self.block.clear();
        self.until_judgement = self.until_judgement.saturating_sub(1);
        if self.until_judgement > 0 || self.blocks.len() < WINDOW_BLOCKS {
            return None;
        }
        self.until_judgement = JUDGEMENT_BLOCKS;
        self.judge()
    }

    fn measure(&mut self) -> Block {
        let len = self.block.len() as f32;
        let energy: f32 = self.block.iter().map(|it| it * it).sum();
        let rms = (energy / len).sqrt();
        if rms < RMS_MIN {
            return Block { rms, note: None };
        }
        for (at, sample) in self.block.iter_mut().enumerate() {
            *sample *= 0.5 - 0.5 * (std::f32::consts::TAU * at as f32 / len).cos();
        }
        let powers = self.notes.iter().flat_map(|it| Goertzel::powers(*it, &self.block)).take(NOTES);
        let strongest = (0_u8..).zip(powers).max_by(|a, b| a.1.total_cmp(&b.1));
        // A sine alone has all of the energy: the window halves its amplitude.
        let share = |power: f32| 8.0 * power / (len * energy);
        Block { rms, note: strongest.filter(|it| share(it.1) >= SHARE_MIN).map(|it| it.0) }
    }

    fn judge(&mut self) -> Option<MusicVerdict> {
        let evidence = self.evidence();
        let is_music =
            evidence.sustained_percent >= SUSTAINED_MIN && evidence.quiet_percent <= QUIET_MAX && evidence.notes >= 3;
        self.contrary = if is_music == self.is_music { 0 } else { self.contrary + 1 };
        if self.contrary < CONTRARY_MIN {
            return None;
        }
        self.contrary = 0;
        self.is_music = is_music;
        Some(MusicVerdict { is_music, at_ms: self.at_ms, evidence })
    }

    fn evidence(&self) -> MusicEvidence {
        let mean = self.blocks.iter().map(|it| it.rms).sum::<f32>() / WINDOW_BLOCKS as f32;
        let quiet = self.blocks.iter().filter(|it| it.rms < RMS_MIN.max(mean * 0.3)).count();
        let (mut sustained, mut heard) = (0, 0_u64);
        let mut run: Option<(u8, usize)> = None;
        for note in self.blocks.iter().map(|it| it.note).chain([None]) {
            if let Some((before, length)) = run
                && note == Some(before)
            {
                run = Some((before, length + 1));
                continue;
            }
            if let Some((ended, length)) = run.filter(|it| it.1 >= RUN_MIN) {
                sustained += length;
                heard |= 1 << ended;
            }
            run = note.map(|it| (it, 1));
        }
        MusicEvidence {
            sustained_percent: percent(sustained),
            quiet_percent: percent(quiet),
            notes: u8::try_from(heard.count_ones()).unwrap_or(u8::MAX),
            beat_ms: self.beat_ms(),
        }
    }

    /// The lag at which rises of loudness repeat best, if they do.
    fn beat_ms(&self) -> Option<u16> {
        let rms: Vec<f32> = self.blocks.iter().map(|it| it.rms).collect();
        let rises: Vec<f32> = rms.array_windows().map(|[before, after]| (after - before).max(0.0)).collect();
        let mean = rises.iter().sum::<f32>() / rises.len().max(1) as f32;
        let rises: Vec<f32> = rises.iter().map(|it| it - mean).collect();
        let correlation =
            |lag: usize| -> f32 { rises.iter().zip(rises.iter().skip(lag)).map(|(a, b)| a * b).sum::<f32>() };
        let all = correlation(0);
        let best = (BEAT_BLOCKS_MIN..=BEAT_BLOCKS_MAX).map(|lag| (lag, correlation(lag)));
        let (lag, repeated) = best.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let is_beat = all > 0.0 && repeated > 0.4 * all;
        is_beat.then(|| u16::try_from(lag).unwrap_or(u16::MAX).saturating_mul(BLOCK_MS))
    }
}

fn percent(blocks: usize) -> u8 {
    u8::try_from(blocks * 100 / WINDOW_BLOCKS).unwrap_or(100)
}

/// From A2, three and a half octaves: where melodies and their accompaniment are on a telephone.
const LOWEST_HZ: f32 = 110.0;
const NOTES: usize = 43;
const BLOCK_FRAMES: usize = 4;
const BLOCK_MS: u16 = 80;
const WINDOW_BLOCKS: usize = 75;
const JUDGEMENT_BLOCKS: u32 = 6;
/// Below, nothing is played.
const RMS_MIN: f32 = 50.0;
/// The strongest note of a block has at least this share of its energy.
const SHARE_MIN: f32 = 0.08;
/// A quarter of a second.
const RUN_MIN: usize = 3;
const SUSTAINED_MIN: u8 = 40;
const QUIET_MAX: u8 = 25;
/// Two judgements agree.
const CONTRARY_MIN: u32 = 2;
/// 240 to 1,040 ms.
const BEAT_BLOCKS_MIN: usize = 3;
const BEAT_BLOCKS_MAX: usize = 13;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "amplitudes and lengths fit")]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::codec::g711;
    use crate::media::tones::synthetic::{Noise, speech};

    #[test]
    fn a_made_up_corpus_is_told_apart() {
        let mut wrong = vec![];
        let mut heard_after_ms = vec![];
        for seed in 0..6 {
            let rate = if seed % 2 == 0 { SampleRate::Hz8000 } else { SampleRate::Hz16000 };
            for (name, frames) in [("music", music(seed, rate)), ("music by G.711", by_g711(&music(seed, rate)))] {
                match listen(rate, &frames) {
                    Some(verdict) => heard_after_ms.push(verdict.at_ms),
                    None => wrong.push(format!("{name} {seed} was not found")),
                }
            }
            let mut noise = Noise::new(seed);
            let noisy: Vec<_> = speech(seed, 30_000, rate).iter().map(|it| noise.add(it, 200.0)).collect();
            let others = [
                ("speech", speech(seed + 100, 30_000, rate)),
                ("speech in noise", noisy),
                ("noise", (0..1_500).map(|_| noise.add(&Frame::silence(rate), 900.0)).collect()),
                ("ringback", tones(rate, &[440.0, 480.0], 2_000, 4_000)),
                ("busy", tones(rate, &[425.0], 480, 480)),
                ("a tone", tones(rate, &[1_004.0], 30_000, 0)),
                ("silence", vec![Frame::silence(rate); 1_500]),
            ];
            for (name, frames) in others {
                if let Some(verdict) = listen(rate, &frames) {
                    wrong.push(format!("{name} {seed} was taken for music: {verdict:?}"));
                }
            }
        }
        heard_after_ms.sort_unstable();
        let latest = heard_after_ms.last();
        println!("{} of 54 wrong; music was known after {latest:?} ms at the latest: {wrong:#?}", wrong.len());
        assert!(wrong.len() <= 2, "{wrong:#?}");
    }

    #[test]
    fn the_end_of_music_is_told_too() {
        let rate = SampleRate::Hz8000;
        let mut detector = MusicDetector::new(rate);
        let frames: Vec<_> = music(3, rate).into_iter().chain(speech(3, 20_000, rate)).collect();
        let told: Vec<_> = frames.iter().filter_map(|it| detector.handle_frame(it)).map(|it| it.is_music).collect();
        assert_eq!(told, [true, false]);
    }

    fn listen(rate: SampleRate, frames: &[Frame]) -> Option<MusicVerdict> {
        let mut detector = MusicDetector::new(rate);
        frames.iter().find_map(|it| detector.handle_frame(it))
    }

    /// Thirty seconds: chords under a melody of a scale, at some tempo, with or without drums.
    fn music(seed: u64, rate: SampleRate) -> Vec<Frame> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let hz = f64::from(rate.hz());
        let beat = (rng.random_range(0.3..0.7) * hz) as usize;
        let root = rng.random_range(130.0..220.0_f64);
        let has_drums = rng.random_bool(0.5);
        let scale = [0, 2, 4, 5, 7, 9, 11, 12].map(|it| root * (f64::from(it) / 12.0).exp2());
        let chords = [[0, 2, 4], [3, 5, 7], [4, 6, 1], [5, 0, 2]];
        let mut samples = vec![0.0; 30 * rate.hz() as usize];
        let (mut note, mut chord) = (scale[0], chords[0]);
        for (at, sample) in samples.iter_mut().enumerate() {
            if at % beat == 0 {
                note = 2.0 * scale[rng.random_range(0..scale.len())];
            }
            if at % (4 * beat) == 0 {
                chord = chords[rng.random_range(0..chords.len())];
            }
            let seconds = at as f64 / hz;
            let decay = (-3.0 * (at % beat) as f64 / beat as f64).exp();
            let sine = |hz: f64| (std::f64::consts::TAU * hz * seconds).sin();
            let voice = |hz: f64| sine(hz) + 0.4 * sine(2.0 * hz) + 0.2 * sine(3.0 * hz);
            let accompaniment: f64 = chord.iter().map(|it| 0.3 * voice(scale[*it])).sum();
            let hit = (-60.0 * (at % beat) as f64 / beat as f64).exp();
            let drum = if has_drums { hit * rng.random_range(-1.5..1.5) } else { 0.0 };
            *sample = 2_500.0 * ((0.3 + 0.7 * decay) * voice(note) + accompaniment + drum);
        }
        frames(rate, samples.iter().map(|it| *it as i16).collect())
    }

    fn tones(rate: SampleRate, hz: &[f64], on_ms: usize, off_ms: usize) -> Vec<Frame> {
        let per_ms = rate.hz() as usize / 1_000;
        let sample = |at: usize| {
            let sine = |hz: &f64| (std::f64::consts::TAU * hz * at as f64 / f64::from(rate.hz())).sin();
            let is_on = at / per_ms % (on_ms + off_ms) < on_ms;
            if is_on { (hz.iter().map(sine).sum::<f64>() * 3_000.0) as i16 } else { 0 }
        };
        frames(rate, (0..30_000 * per_ms).map(sample).collect())
    }

    fn by_g711(original: &[Frame]) -> Vec<Frame> {
        let through = |frame: &Frame| {
            let (mut coded, mut decoded) = ([0; 320], [0; 320]);
            let len = g711::encode_ulaw(frame.samples(), &mut coded);
            g711::decode_ulaw(&coded[..len], &mut decoded);
            Frame::from_samples(frame.rate(), &decoded)
        };
        original.iter().map(through).collect()
    }

    fn frames(rate: SampleRate, samples: Vec<i16>) -> Vec<Frame> {
        samples.chunks(rate.frame_len()).map(|it| Frame::from_samples(rate, it)).collect()
    }
}
