//! One packet through the jitter buffer, in and out, on networks of several kinds; beside it, a plain queue of owned
//! buffers, which neither orders nor measures anything.

use std::collections::VecDeque;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hookswitch::codec::AudioCodec;
use hookswitch::media::jitter_buffer::{AudioPacket, Coding, JitterBuffer};
use hookswitch::timer::Now;

fn main() {
    divan::main();
}

#[divan::bench]
fn plain_queue(bencher: Bencher<'_, '_>) {
    let mut queue: VecDeque<Vec<u8>> = VecDeque::with_capacity(4);
    let mut spare = vec![];
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        for _ in 0..PACKETS {
            let mut packet: Vec<u8> = spare.pop().unwrap_or_default();
            packet.clear();
            packet.extend_from_slice(black_box(&[7; 160]));
            queue.push_back(packet);
            spare.extend(black_box(queue.pop_front()));
        }
    });
}

#[divan::bench]
fn clean(bencher: Bencher<'_, '_>) {
    run(bencher, Some);
}

#[divan::bench]
fn every_pair_swapped(bencher: Bencher<'_, '_>) {
    run(bencher, |index| Some(index ^ 1));
}

#[divan::bench]
fn every_tenth_lost(bencher: Bencher<'_, '_>) {
    run(bencher, |index| (index % 10 != 0).then_some(index));
}

/// One packet and one frame every 20 ms; `packet` says which packet comes.
fn run(bencher: Bencher<'_, '_>, packet: fn(u32) -> Option<u32>) {
    let mut now = start();
    let mut buffer = JitterBuffer::new(8_000, now);
    let mut next = 0_u32;
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        for _ in 0..PACKETS {
            if let Some(index) = packet(next) {
                let [.., high, low] = index.to_be_bytes();
                let sequence = u16::from_be_bytes([high, low]);
                let timestamp = index.wrapping_mul(160);
                let payload = black_box(&[7; 160]);
                buffer.push(AudioPacket { sequence, timestamp, coding: Coding::Audio(AudioCodec::Pcmu), payload }, now);
            }
            now = now + Duration::from_millis(20);
            buffer.wants_less(0, false, now);
            black_box(buffer.pop(160, 0, false, now));
            next = next.wrapping_add(1);
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of simulated time")]
fn start() -> Now {
    Now { instant: std::time::Instant::now(), unix: Duration::ZERO }
}

const PACKETS: u32 = 100;
