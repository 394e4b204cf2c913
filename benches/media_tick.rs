//! One tick of 20 ms of many legs: a packet in, a frame heard, a frame played, a packet out. Sessions only, no sockets:
//! the system calls of each packet come on top. Items are legs, so the time of an item is the time a leg costs.
//! Allocations are counted too: after the first ticks of a leg there are none. Then the same legs with somebody listening
//! for voice on each.

use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use hookswitch::agent::voice_activity::{Detector, VoiceActivity, VoiceActivityConfig};
use hookswitch::codec::{AudioCodec, Frame, OpusSettings, SampleRate};
use hookswitch::media::{Heard, Latching, PlayoutFrame, RemoteMedia, Session, SessionConfig, TICK};
use hookswitch::rtp::{Header, Packet};
use hookswitch::timer::Now;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
    for (detector, name) in
        [(None, ""), (Some(Detector::Energy), ", voice by loudness"), (Some(Detector::Neural), ", voice by a network")]
    {
        for legs in LEGS {
            let mut bench = Legs::new(legs);
            bench.listen(detector);
            (0..50).for_each(|_| bench.tick());
            let ticks = 100_000 / legs;
            let start = instant();
            (0..ticks).for_each(|_| bench.tick());
            let spent = instant() - start;
            let per_leg = spent.as_nanos() / u128::try_from(legs * ticks).unwrap_or(1);
            let size = size_of::<Session>();
            report(&format!("{legs:>6} legs{name}: {per_leg:>5} ns per leg and tick, {size} bytes a session"));
        }
    }
}

#[divan::bench(args = LEGS)]
fn tick(bencher: Bencher<'_, '_>, legs: usize) {
    let mut bench = Legs::new(legs);
    (0..50).for_each(|_| bench.tick());
    bencher.counter(ItemsCount::new(legs)).bench_local(|| bench.tick());
}

struct Legs {
    sessions: Vec<Session>,
    /// What listens for voice on each, if anything does.
    listeners: Vec<VoiceActivity>,
    now: Now,
    number: u16,
}

impl Legs {
    fn new(count: usize) -> Self {
        let now = Now { instant: instant(), unix: Duration::ZERO };
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let remote = RemoteMedia {
            rtp: ([192, 0, 2, 1], 4_000).into(),
            rtcp: ([192, 0, 2, 1], 4_001).into(),
            latching: Latching::Exact,
            codec: AudioCodec::Pcmu,
            payload_type: 0,
            received_payload_type: 0,
            ptime_ms: 20,
            maxptime_ms: None,
            opus: OpusSettings::default(),
            comfort_noise: None,
            telephone_event: None,
            send: true,
            receive: true,
        };
        let config = SessionConfig { remote: Some(remote), hears_tones: false };
        let sessions = (0..count).map(|_| Session::new(config.clone(), &mut rng, now)).collect();
        Self { sessions, listeners: vec![], now, number: 0 }
    }

    fn listen(&mut self, detector: Option<Detector>) {
        let new = |detector| VoiceActivity::new(VoiceActivityConfig { detector, ..VoiceActivityConfig::default() });
        self.listeners = self.sessions.iter().filter_map(|_| detector.map(new)).collect();
    }

    fn tick(&mut self) {
        self.number = self.number.wrapping_add(1);
        let timestamp = u32::from(self.number) * 160;
        let header = Header { payload_type: 0, marker: false, sequence: self.number, timestamp, ssrc: 7 };
        let mut datagram = [0; 172];
        let len = Packet { header, payload: &[0x55; 160] }.write(&mut datagram).expect("the buffer is long enough");
        let frame = Frame::from_samples(SampleRate::Hz8000, &[1_000; 160]);
        let mut buffer = [0; 1_500];
        self.now = self.now + TICK;
        for (index, session) in self.sessions.iter_mut().enumerate() {
            session.handle_rtp(([192, 0, 2, 1], 4_000).into(), datagram.get(..len).unwrap_or(&[]), self.now);
            session.play(PlayoutFrame { utterance: 1, frame }).expect("the queue is emptied every tick");
            let tick = session.handle_tick(self.now);
            if let (Some(listener), Heard::Audio(frame)) = (self.listeners.get_mut(index), &tick.heard) {
                black_box(listener.handle_frame(Some(frame)));
            }
            black_box(tick);
            while let Some(transmit) = session.poll_transmit(&mut buffer) {
                black_box(transmit);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn report(line: &str) {
    println!("{line}");
}

const LEGS: [usize; 4] = [100, 1_000, 2_000, 10_000];
