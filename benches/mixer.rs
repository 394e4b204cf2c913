//! What a conference costs: one tick of 20 ms of the mixer, for all members and for each.
#![expect(clippy::unwrap_used, reason = "a bench may fail anywhere")]

use hookswitch::codec::{Frame, SampleRate};
use hookswitch::media::mixer::{MemberId, Mixer, Role};

const MEMBERS: [u32; 4] = [3, 10, 50, 200];

fn main() {
    divan::main();
}

/// All at 8 kHz: no resampling.
#[divan::bench(args = MEMBERS)]
fn a_tick_of_one_rate(bencher: divan::Bencher<'_, '_>, members: u32) {
    tick(bencher, members, |_| SampleRate::Hz8000);
}

/// Half at 8 kHz and half at 16 kHz: every second member is resampled both ways.
#[divan::bench(args = MEMBERS)]
fn a_tick_of_two_rates(bencher: divan::Bencher<'_, '_>, members: u32) {
    tick(bencher, members, |index| if index % 2 == 0 { SampleRate::Hz8000 } else { SampleRate::Hz16000 });
}

fn tick(bencher: divan::Bencher<'_, '_>, members: u32, rate: fn(u32) -> SampleRate) {
    let mut mixer = Mixer::new();
    for index in 0..members {
        mixer.join(MemberId(index), Role::Member, rate(index)).unwrap();
    }
    let frames: Vec<_> = (0..members).map(|it| (MemberId(it), Frame::from_samples(rate(it), &[1_000; 320]))).collect();
    bencher.counter(divan::counter::ItemsCount::new(members)).bench_local(|| {
        for (id, frame) in &frames {
            mixer.say(*id, frame);
        }
        mixer.tick(|_, frame| {
            divan::black_box(frame);
        });
    });
}
