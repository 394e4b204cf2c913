//! Digits as tones (ITU-T Q.23), found by the rules of ITU-T Q.24: two frequencies of one level, nothing else beside
//! them, no second harmonics, for long enough. The last three keep speech from being taken for digits.
#![expect(clippy::cast_precision_loss, reason = "of lengths of blocks")]

use super::goertzel::Goertzel;
use crate::codec::{Frame, SampleRate};
use crate::media::DtmfEnded;
use crate::rtp::Digit;

/// What happened to a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmfToneEvent {
    /// It is heard, since 26 ms or more.
    Began(Digit),
    /// It is heard no longer.
    Ended(DtmfEnded),
}

/// Listens for digits. Takes frames of one rate.
#[derive(Clone, Debug)]
pub struct DtmfToneDetector {
    rate: SampleRate,
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    row_harmonics: [Goertzel; 4],
    column_harmonics: [Goertzel; 4],
    block: Vec<f32>,
    block_len: usize,
    /// What the last block held, and for how many blocks.
    candidate: Option<Digit>,
    streak: u32,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    blocks: u32,
    misses: u32,
}

impl DtmfToneDetector {
    /// For audio of this rate.
    pub fn new(rate: SampleRate) -> Self {
        let hz = rate.frame_len() as f32 * 50.0;
        let bank = |frequencies: [u16; 4], times: f32| frequencies.map(|it| Goertzel::new(times * f32::from(it), hz));
        let block_len = rate.frame_len() * BLOCK_LEN / 160;
        Self {
            rate,
            rows: bank(ROWS, 1.0),
            columns: bank(COLUMNS, 1.0),
            row_harmonics: bank(ROWS, 2.0),
            column_harmonics: bank(COLUMNS, 2.0),
            block: Vec::with_capacity(block_len),
            block_len,
            candidate: None,
            streak: 0,
            current: None,
        }
    }

    /// Hears 20 ms. At most one digit begins and one ends in it; the end comes first.
    pub fn handle_frame(&mut self, frame: &Frame) -> [Option<DtmfToneEvent>; 2] {
        let mut events = [None; 2];
        if frame.rate() != self.rate {
            return events;
        }
        for sample in frame.samples() {
            self.block.push(f32::from(*sample));
            if self.block.len() < self.block_len {
                continue;
            }
            let found = self.classify();
            self.block.clear();
            for event in self.follow(found).into_iter().flatten() {
                if let Some(slot) = events.iter_mut().find(|it| it.is_none()) {
                    *slot = Some(event);
                }
            }
        }
        events
    }

    /// Takes the verdict on one block into account.
    fn follow(&mut self, found: Option<Digit>) -> [Option<DtmfToneEvent>; 2] {
        self.streak = if found == self.candidate { self.streak + 1 } else { 1 };
        self.candidate = found;
        let mut ended = None;
        if let Some(current) = &mut self.current {
            current.blocks += 1;
            current.misses = if found == Some(current.digit) { 0 } else { current.misses + 1 };
            if current.misses < BLOCKS_MIN {
                return [None; 2];
            }
            let blocks = current.blocks - current.misses;
            let duration_ms = u32::try_from(BLOCK_LEN).unwrap_or(0) * blocks / 8;
            ended = Some(DtmfToneEvent::Ended(DtmfEnded { digit: current.digit, duration_ms }));
            self.current = None;
        }
        let began = found.filter(|_| self.streak >= BLOCKS_MIN).map(|digit| {
            self.current = Some(Current { digit, blocks: self.streak, misses: 0 });
            DtmfToneEvent::Began(digit)
        });
        [ended, began]
    }

    fn classify(&self) -> Option<Digit> {
        let len = self.block.len() as f32;
        let energy: f32 = self.block.iter().map(|it| it * it).sum();
        if energy < len * RMS_MIN * RMS_MIN {
            return None;
        }
        let (row, row_power) = strongest(&self.rows, &self.block)?;
        let (column, column_power) = strongest(&self.columns, &self.block)?;
        let twist = column_power / row_power;
        if !(REVERSE_TWIST_MIN..=TWIST_MAX).contains(&twist) {
            return None;
        }
        // A pure pair has all of its energy in the two: a sine of amplitude a has the energy a² n / 2.
        if (row_power + column_power) * 2.0 / len < energy * SHARE_MIN {
            return None;
        }
        let harmonic = |bank: &[Goertzel; 4], index: usize| bank.get(index).map_or(0.0, |it| it.power(&self.block));
        let digit = KEYS.get(4 * row + column).copied().and_then(Digit::from_char)?;
        // Where the row's harmonic is so near to the column that it cannot be told from it, the share above has to do.
        let (low, high) = frequencies(digit);
        let is_apart = (2 * low).abs_diff(high) > HARMONIC_APART_HZ;
        let has_harmonics = (is_apart && harmonic(&self.row_harmonics, row) > HARMONIC_MAX * row_power)
            || harmonic(&self.column_harmonics, column) > HARMONIC_MAX * column_power;
        if has_harmonics {
            return None;
        }
        Some(digit)
    }
}

/// The frequency that has more than the others of its group by 8 dB or more.
fn strongest(bank: &[Goertzel; 4], block: &[f32]) -> Option<(usize, f32)> {
    let powers = bank.map(|it| it.power(block));
    let (index, most) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others = powers.iter().enumerate().filter(|(at, _)| *at != index);
    others.into_iter().all(|(_, it)| it * PEAK_MIN < most).then_some((index, most))
}

/// Row and column of a digit, in hertz.
pub fn frequencies(digit: Digit) -> (u16, u16) {
    let at = KEYS.iter().position(|it| *it == digit.to_char()).unwrap_or(0);
    let of = |group: [u16; 4], index: usize| group.get(index).copied().unwrap_or(0);
    (of(ROWS, at / 4), of(COLUMNS, at % 4))
}

const KEYS: [char; 16] = ['1', '2', '3', 'A', '4', '5', '6', 'B', '7', '8', '9', 'C', '*', '0', '#', 'D'];
const ROWS: [u16; 4] = [697, 770, 852, 941];
const COLUMNS: [u16; 4] = [1_209, 1_336, 1_477, 1_633];
/// 12.75 ms at 8 kHz: two whole ones fit into the 40 ms that a digit lasts at the least.
const BLOCK_LEN: usize = 102;
const BLOCKS_MIN: u32 = 2;
/// -40 dB against full scale.
const RMS_MIN: f32 = 230.0;
/// The column may be 8 dB above the row or below it, and half a decibel more for what G.711 makes of it: networks ask for
/// 8 dB of the one and 4 of the other, and do not agree on which.
const TWIST_MAX: f32 = 7.1;
const REVERSE_TWIST_MIN: f32 = 0.141;
const PEAK_MIN: f32 = 6.3;
const SHARE_MIN: f32 = 0.76;
const HARMONIC_MAX: f32 = 0.08;
const HARMONIC_APART_HZ: u16 = 100;

#[cfg(test)]
mod tests {
    use super::super::generator::{Piece, ToneGenerator};
    use super::super::synthetic::{Noise, speech};
    use super::*;

    #[test]
    fn every_digit_is_found_with_its_length_at_both_rates() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000] {
            for key in KEYS {
                let digit = Digit::from_char(key).unwrap();
                let frames = std::iter::from_fn({
                    let mut tone = ToneGenerator::digit(digit, 100, rate);
                    move || tone.next_frame()
                });
                let events = hear(rate, frames.chain([Frame::silence(rate); 3]));
                let [DtmfToneEvent::Began(began), DtmfToneEvent::Ended(ended)] = events[..] else {
                    panic!("{key}: {events:?}");
                };
                assert_eq!((began, ended.digit), (digit, digit));
                assert!((75..=115).contains(&ended.duration_ms), "{key}: {ended:?}");
            }
        }
    }

    #[test]
    fn detection_rates_over_noise_and_length() {
        println!("digits of 16 x 25, found / wrong, by length and signal-to-noise ratio");
        for (ms, snr_db, least) in
            [(40, 100.0, 1.0), (50, 20.0, 1.0), (50, 15.0, 0.99), (70, 12.0, 0.99), (100, 10.0, 0.97), (100, 5.0, 0.0)]
        {
            let (mut found, mut wrong) = (0_u32, 0_u32);
            let mut noise = Noise::new(3);
            for round in 0..25 {
                for key in KEYS {
                    let digit = Digit::from_char(key).unwrap();
                    let (row, column) = frequencies(digit);
                    // The beginning moves against the blocks.
                    let pieces = [Piece::silence(30 + round), Piece::pair(row, column, ms), Piece::silence(80)];
                    let mut tone = ToneGenerator::new(&pieces, false, -16.0, SampleRate::Hz8000);
                    let rms = 32_000.0 * 10.0_f32.powf(-16.0 / 20.0);
                    let frames = std::iter::from_fn(|| tone.next_frame());
                    let noisy = frames.map(|it| noise.add(&it, rms * 10.0_f32.powf(-snr_db / 20.0)));
                    let events = hear(SampleRate::Hz8000, noisy);
                    let began: Vec<_> =
                        events.iter().filter(|it| matches!(it, DtmfToneEvent::Began(_))).copied().collect();
                    found += u32::from(began == [DtmfToneEvent::Began(digit)]);
                    wrong += u32::from(began.iter().any(|it| *it != DtmfToneEvent::Began(digit)));
                }
            }
            println!("{ms:>4} ms {snr_db:>5} dB: {found:>3} / {wrong}");
            assert!(f64::from(found) >= 400.0 * least && wrong == 0, "{ms} ms, {snr_db} dB: {found}, {wrong} wrong");
        }
    }

    #[test]
    fn twist_and_frequency_within_bounds_only() {
        let check = |row: f32, column: f32, twist_db: f32, expected: bool| {
            let frames = (0..10).map(|index| {
                let mut frame = Frame::silence(SampleRate::Hz8000);
                for (at, sample) in (0_u16..).zip(frame.samples_mut()) {
                    let seconds = f32::from(index * 160 + at) / 8_000.0;
                    let tau = std::f32::consts::TAU;
                    let louder = 10.0_f32.powf(twist_db / 20.0);
                    let value = (tau * row * seconds).sin() + louder * (tau * column * seconds).sin();
                    *sample = to_sample(2_000.0 * value);
                }
                frame
            });
            let found = !hear(SampleRate::Hz8000, frames).is_empty();
            assert_eq!(found, expected, "{row} {column} {twist_db}");
        };
        for twist_db in [-4.0, 0.0, 6.0] {
            check(770.0, 1_336.0, twist_db, true);
            check(770.0 * 1.015, 1_336.0 * 0.985, twist_db, true);
        }
        check(770.0, 1_336.0, 12.0, false);
        check(770.0, 1_336.0, -10.0, false);
        check(770.0, 1_336.0 * 1.05, 0.0, false);
        check(770.0, 1_100.0, 0.0, false);
        check(440.0, 480.0, 0.0, false);
    }

    #[test]
    fn speech_and_noise_are_no_digits() {
        let mut false_alarms = 0;
        let mut noise = Noise::new(5);
        for seed in 0..15 {
            let quiet = speech(seed, 20_000, SampleRate::Hz8000);
            let frames = quiet.iter().map(|it| noise.add(it, if seed % 3 == 0 { 300.0 } else { 0.0 }));
            false_alarms += hear(SampleRate::Hz8000, frames).len();
        }
        let hiss = (0..15_000).map(|_| noise.add(&Frame::silence(SampleRate::Hz8000), 3_000.0));
        let hiss = hear(SampleRate::Hz8000, hiss).len();
        println!("false alarms in 5 minutes of synthesised speech: {false_alarms}, in 5 minutes of noise: {hiss}");
        assert_eq!((false_alarms, hiss), (0, 0));
    }

    fn hear(rate: SampleRate, frames: impl Iterator<Item = Frame>) -> Vec<DtmfToneEvent> {
        let mut detector = DtmfToneDetector::new(rate);
        frames.flat_map(|it| detector.handle_frame(&it)).flatten().collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    fn to_sample(value: f32) -> i16 {
        value as i16
    }
}
