//! What making a caller's audio better costs: one tick of 20 ms of one leg.
#![expect(clippy::unwrap_used, reason = "a bench may fail anywhere")]

use hookswitch::codec::{Frame, SampleRate};
use hookswitch::media::enhance::{Enhancements, Enhancer};
use hookswitch::media::{Played, PlayoutFrame};

const RATES: [SampleRate; 2] = [SampleRate::Hz8000, SampleRate::Hz16000];

fn main() {
    divan::main();
}

#[divan::bench(args = RATES)]
fn noise_suppression(bencher: divan::Bencher<'_, '_>, rate: SampleRate) {
    tick(bencher, rate, Enhancements { noise_suppression: true, ..Enhancements::default() });
}

#[divan::bench(args = RATES)]
fn echo_cancellation(bencher: divan::Bencher<'_, '_>, rate: SampleRate) {
    tick(bencher, rate, Enhancements { echo_cancellation: true, ..Enhancements::default() });
}

#[divan::bench(args = RATES)]
fn gain_control(bencher: divan::Bencher<'_, '_>, rate: SampleRate) {
    tick(bencher, rate, Enhancements { gain_control: true, ..Enhancements::default() });
}

#[divan::bench(args = RATES)]
fn all_three(bencher: divan::Bencher<'_, '_>, rate: SampleRate) {
    let all = Enhancements { noise_suppression: true, echo_cancellation: true, gain_control: true };
    tick(bencher, rate, all);
}

fn tick(bencher: divan::Bencher<'_, '_>, rate: SampleRate, what: Enhancements) {
    let mut enhancer = Enhancer::new(what, rate);
    let mut frame = Frame::silence(rate);
    for (at, sample) in frame.samples_mut().iter_mut().enumerate() {
        *sample = i16::try_from(at * 7_919 % 6_007).unwrap() - 3_000;
    }
    bencher.bench_local(|| {
        enhancer.play(&PlayoutFrame { utterance: 1, frame });
        enhancer.tick(Some(Played { utterance: 1, position: 160 }), Some(frame))
    });
}
