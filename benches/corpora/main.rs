//! Two corpora and what the detectors make of them: who or what answers a call, and digits as tones. `run` beside this
//! file makes the speech; noise, beeps, tones and what the telephone does to them are added here, from fixed seeds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may fail anywhere")]
#![expect(clippy::print_stdout, reason = "a bench prints its result")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::collections::BTreeMap;
use std::path::Path;

use hookswitch::codec::{AudioCodec, Decoder, Encoder, Frame, OpusSettings, SampleRate};
use hookswitch::media::detect::{Answer, AnswerConfig, AnswerDetector, AnswerVerdict, Readiness};
use hookswitch::media::tones::{DtmfToneDetector, DtmfToneEvent};
use hookswitch::rtp::Digit;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Somebody who answers.
struct Spoken {
    label: String,
    text: String,
    samples: Vec<f64>,
}

const RATE: SampleRate = SampleRate::Hz8000;
const LABELS: [&str; 6] = ["human", "company", "machine", "screening", "menu", "unavailable"];

fn main() {
    let Some(directory) = std::env::args().nth(1) else {
        println!("corpora DIRECTORY");
        return;
    };
    let corpus = read(Path::new(&directory));
    for (name, signal_to_noise) in [("no noise", None), ("20 dB above noise", Some(20.0)), ("10 dB", Some(10.0))] {
        for with_words in [false, true] {
            answers(&corpus, name, signal_to_noise, with_words);
        }
    }
    digits();
    talk_off(&corpus);
}

fn read(directory: &Path) -> Vec<Spoken> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let raw = files.iter().filter(|it| it.extension().is_some_and(|it| it == "raw"));
    raw.map(|file| {
        let bytes = std::fs::read(file).unwrap();
        let samples = bytes.as_chunks::<2>().0.iter().map(|it| f64::from(i16::from_le_bytes(*it))).collect();
        let text = std::fs::read_to_string(file.with_extension("txt")).unwrap();
        let label = file.file_stem().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
        Spoken { label, text, samples }
    })
    .collect()
}

/// Prints the confusion matrix of one level of noise.
fn answers(corpus: &[Spoken], noise: &str, signal_to_noise: Option<f64>, with_words: bool) {
    let words = if with_words { ", with words" } else { "" };
    println!(
        "\n### {noise}{words}\n\n| | human | machine | menu | screening | unavailable | unclear | right | first verdict, ms | beep to ready, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut right, mut all, mut false_beeps) = (0, 0, 0);
    for label in LABELS {
        let mut found: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut first_ms, mut ready_ms, mut right_here, mut count) = (vec![], vec![], 0, 0);
        for (index, spoken) in corpus.iter().enumerate().filter(|(_, it)| it.label == label) {
            for variant in 0..2_u64 {
                let scene = scene(spoken, index as u64 * 2 + variant, signal_to_noise);
                let verdicts = judge(&scene, spoken, with_words);
                let last = verdicts.iter().rfind(|it| !matches!(it.answer, Answer::MachineReady(_)));
                let name = last.map_or("unclear", |it| named(it.answer));
                *found.entry(name).or_default() += 1;
                first_ms.extend(verdicts.first().map(|it| i64::from(it.at_ms) - scene.speech_ms));
                let ready = verdicts.iter().find(|it| it.answer == Answer::MachineReady(Readiness::Beep));
                false_beeps += u32::from(ready.is_some() && scene.beep_ms.is_none());
                ready_ms.extend(ready.zip(scene.beep_ms).map(|(it, beep_ms)| i64::from(it.at_ms) - beep_ms));
                right_here += u32::from(is_right(label, name, with_words));
                count += 1;
            }
        }
        let of = |name: &str| found.get(name).copied().unwrap_or(0);
        let columns = ["human", "machine", "menu", "screening", "unavailable", "unclear"].map(|it| of(it).to_string());
        println!(
            "| {label} | {} | {right_here} of {count} | {} | {} |",
            columns.join(" | "),
            spread(first_ms),
            spread(ready_ms)
        );
        right += right_here;
        all += count;
    }
    println!("\n{right} of {all} right, {false_beeps} beeps where there was none.");
}

/// Without words, whatever talks on is a machine; a company that greets at length may be taken for one.
fn is_right(label: &str, found: &str, with_words: bool) -> bool {
    match label {
        "human" | "company" => found == "human",
        "machine" => found == "machine",
        other if with_words => found == other,
        _ => found != "human" && found != "unclear",
    }
}

const fn named(answer: Answer) -> &'static str {
    match answer {
        Answer::Human => "human",
        Answer::Machine | Answer::MachineReady(_) => "machine",
        Answer::Ivr => "menu",
        Answer::Screening => "screening",
        Answer::Unavailable | Answer::Fax => "unavailable",
        Answer::Unknown => "unclear",
    }
}

struct Scene {
    frames: Vec<Frame>,
    /// When the first word begins, and when the beep ends.
    speech_ms: i64,
    words_ms: i64,
    beep_ms: Option<i64>,
}

/// Silence, the greeting, for machines a beep, silence; noise over all of it; and all of it through G.711.
fn scene(spoken: &Spoken, seed: u64, signal_to_noise: Option<f64>) -> Scene {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut samples = vec![0.0; 8 * rng.random_range(100..1_200)];
    if spoken.label == "unavailable" && seed.is_multiple_of(2) {
        for hz in [950.0, 1_400.0, 1_800.0] {
            samples.extend(tone(&[hz], 330, 4_000.0));
        }
    }
    let speech_ms = samples.len() as i64 / 8;
    samples.extend(&spoken.samples);
    let words_ms = samples.len() as i64 / 8;
    let beeps = spoken.label == "machine" && seed.is_multiple_of(2);
    let beep_ms = beeps.then(|| {
        samples.extend(vec![0.0; 8 * rng.random_range(200..1_000)]);
        samples.extend(tone(&[rng.random_range(600.0..1_600.0)], rng.random_range(200..800), 5_000.0));
        samples.len() as i64 / 8
    });
    samples.extend(vec![0.0; 8 * 4_000]);
    if let Some(decibels) = signal_to_noise {
        let energy: f64 = spoken.samples.iter().map(|it| it * it).sum::<f64>() / spoken.samples.len() as f64;
        let amplitude = (3.0 * energy).sqrt() * 10.0_f64.powf(-decibels / 20.0);
        samples.iter_mut().for_each(|it| *it += rng.random_range(-amplitude..amplitude));
    }
    Scene { frames: through_g711(&samples), speech_ms, words_ms, beep_ms }
}

fn judge(scene: &Scene, spoken: &Spoken, with_words: bool) -> Vec<AnswerVerdict> {
    let mut detector = AnswerDetector::new(RATE, AnswerConfig::default(), None);
    detector.handle_answered();
    let mut verdicts = vec![];
    for (tick, frame) in scene.frames.iter().enumerate() {
        verdicts.extend(detector.handle_frame(frame));
        // A recogniser that makes no mistakes and is done half a second after the last word.
        if with_words && tick as i64 * 20 == (scene.words_ms + 500) / 20 * 20 {
            verdicts.extend(detector.handle_transcript(&spoken.text));
        }
    }
    verdicts
}

/// Every digit at lengths, levels, twists and offsets that networks have to take (ITU-T Q.24), in noise.
fn digits() {
    println!("\n### Digits that are found, of those that were pressed\n");
    println!(
        "| Above noise | 40 ms | 50 ms | 70 ms | 100 ms | twist -8 dB | twist +8 dB | 1.5 % off | 3.5 % off, to be refused | -30 dBm0 | wrong digits |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for noise in [None, Some(30.0), Some(20.0), Some(15.0), Some(10.0)] {
        let mut wrong = 0;
        let mut rate = |ms: u32, twist: f64, offset: f64, level: f64| {
            let (mut found, mut pressed) = (0, 0);
            for seed in 0..20_u64 {
                for digit in "0123456789*#ABCD".chars() {
                    let heard = press(digit, (ms, twist, offset, level), noise, seed);
                    found += u32::from(heard.contains(&digit));
                    wrong += heard.iter().filter(|it| **it != digit).count() + heard.len().saturating_sub(1);
                    pressed += 1;
                }
            }
            format!("{:.1} %", f64::from(found) * 100.0 / f64::from(pressed))
        };
        let columns = [
            rate(40, 0.0, 0.0, -10.0),
            rate(50, 0.0, 0.0, -10.0),
            rate(70, 0.0, 0.0, -10.0),
            rate(100, 0.0, 0.0, -10.0),
            rate(70, -8.0, 0.0, -10.0),
            rate(70, 8.0, 0.0, -10.0),
            rate(70, 0.0, 0.015, -10.0),
            rate(70, 0.0, 0.035, -10.0),
            rate(70, 0.0, 0.0, -30.0),
        ];
        let above = noise.map_or_else(|| "no noise".to_owned(), |it| format!("{it} dB"));
        println!("| {above} | {} | {wrong} |", columns.join(" | "));
    }
}

/// The digits that are heard when one is pressed: for so many ms, the higher tone so many dB above the lower, off by a
/// share of its frequency, each tone at so many dBm0.
fn press(digit: char, (ms, twist, offset, level): (u32, f64, f64, f64), noise: Option<f64>, seed: u64) -> Vec<char> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed * 1_000 + u64::from(u32::from(digit)));
    let at = "123A456B789C*0#D".find(digit).unwrap();
    let (low, high) = ([697.0, 770.0, 852.0, 941.0][at / 4], [1_209.0, 1_336.0, 1_477.0, 1_633.0][at % 4]);
    // A sine at 3.17 dBm0 fills the range.
    let amplitude = 32_767.0 * 10.0_f64.powf((level - 3.17) / 20.0);
    let mut samples = vec![0.0; rng.random_range(800..1_200)];
    let (one, other) = (
        tone(&[low * (1.0 + offset)], ms, amplitude),
        tone(&[high * (1.0 + offset)], ms, amplitude * 10.0_f64.powf(twist / 20.0)),
    );
    samples.extend(one.iter().zip(&other).map(|(one, other)| one + other));
    samples.extend(vec![0.0; 1_600]);
    if let Some(decibels) = noise {
        let amplitude = (3.0_f64).sqrt() * amplitude * 10.0_f64.powf(-decibels / 20.0);
        samples.iter_mut().for_each(|it| *it += rng.random_range(-amplitude..amplitude));
    }
    heard(&through_g711(&samples))
}

fn heard(frames: &[Frame]) -> Vec<char> {
    let mut detector = DtmfToneDetector::new(RATE);
    let events = frames.iter().flat_map(|it| detector.handle_frame(it)).flatten();
    let began = events.filter_map(|it| match it {
        DtmfToneEvent::Began(digit) => Some(digit),
        DtmfToneEvent::Ended(_) => None,
    });
    began.map(Digit::to_char).collect()
}

/// Digits that are found in speech, where there are none. The speech is heard at several pitches and levels.
fn talk_off(corpus: &[Spoken]) {
    let (mut samples, mut found) = (0, 0);
    for spoken in corpus {
        for pitch in [0.8, 0.9, 1.0, 1.1, 1.2, 1.35] {
            for gain in [0.3, 1.0, 2.5] {
                let len = (spoken.samples.len() as f64 / pitch) as usize;
                let resampled: Vec<f64> = (0..len)
                    .map(|at| gain * spoken.samples.get((at as f64 * pitch) as usize).unwrap_or(&0.0))
                    .collect();
                samples += len;
                found += heard(&through_g711(&resampled)).len();
            }
        }
    }
    let minutes = samples as f64 / 8_000.0 / 60.0;
    println!("\n### Digits that are found in speech\n\n{found} in {minutes:.0} minutes of speech (talk-off).");
}

fn tone(frequencies: &[f64], ms: u32, amplitude: f64) -> Vec<f64> {
    let len = 8 * ms;
    let value = |at: u32| -> f64 {
        let phase = |hz: &f64| (std::f64::consts::TAU * hz * f64::from(at) / 8_000.0).sin();
        amplitude * frequencies.iter().map(phase).sum::<f64>()
    };
    (0..len).map(value).collect()
}

fn through_g711(samples: &[f64]) -> Vec<Frame> {
    let mut encoder = Encoder::new(AudioCodec::Pcmu, OpusSettings::default());
    let mut decoder = Decoder::new(AudioCodec::Pcmu);
    let (mut packet, mut decoded) = ([0; 200], vec![0; 160]);
    let frames = samples.chunks_exact(160).map(|chunk| {
        let chunk: Vec<i16> = chunk.iter().map(|it| it.round() as i16).collect();
        let len = encoder.encode(&chunk, &mut packet);
        decoder.decode(&packet[..len], &mut decoded);
        Frame::from_samples(RATE, &decoded)
    });
    frames.collect()
}

/// Median and 95th percentile.
fn spread(mut values: Vec<i64>) -> String {
    values.sort_unstable();
    match values.len() {
        0 => String::new(),
        len => format!("{} / {}", values[len / 2], values[(len - 1) * 95 / 100]),
    }
}
