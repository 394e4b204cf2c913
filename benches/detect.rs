//! What listening costs per frame of 20 ms, beside the level of the frame alone: the least that any detector does.

use divan::{Bencher, black_box};
use hookswitch::codec::{Frame, SampleRate};
use hookswitch::media::detect::{AnswerConfig, AnswerDetector, CallProgress};
use hookswitch::media::levels::Level;
use hookswitch::media::tones::{DtmfToneDetector, ToneGenerator};
use hookswitch::rtp::Digit;

fn main() {
    divan::main();
}

#[divan::bench(args = RATES)]
fn level(bencher: Bencher<'_, '_>, rate: SampleRate) {
    let frame = digit(rate);
    bencher.bench_local(|| black_box(Level::of(black_box(&frame))));
}

#[divan::bench(args = RATES)]
fn digits(bencher: Bencher<'_, '_>, rate: SampleRate) {
    let frame = digit(rate);
    let mut detector = DtmfToneDetector::new(rate);
    bencher.bench_local(|| black_box(detector.handle_frame(black_box(&frame))));
}

#[divan::bench(args = RATES)]
fn call_progress(bencher: Bencher<'_, '_>, rate: SampleRate) {
    let frame = digit(rate);
    let mut detector = CallProgress::new(rate, None);
    bencher.bench_local(|| black_box(detector.handle_frame(black_box(&frame))));
}

#[divan::bench(args = RATES)]
fn answer(bencher: Bencher<'_, '_>, rate: SampleRate) {
    let frame = digit(rate);
    let mut detector = AnswerDetector::new(rate, AnswerConfig::default(), None);
    bencher.bench_local(|| black_box(detector.handle_frame(black_box(&frame))));
}

fn digit(rate: SampleRate) -> Frame {
    let five = Digit::from_char('5').expect("it is one");
    let mut tone = ToneGenerator::digit(five, 100, rate);
    tone.next_frame();
    tone.next_frame().expect("it lasts 100 ms")
}

const RATES: [SampleRate; 2] = [SampleRate::Hz8000, SampleRate::Hz16000];
