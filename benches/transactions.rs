//! What calls cost the signalling stack, without sockets: two user agents call each other on simulated time, 2,000 calls
//! a second, 100,000 transactions in all. `cargo bench --bench transactions` prints the time and the memory that a
//! transaction takes, beside the bare cost of reading and writing the same messages; then the memory of a call that is
//! answered and idle, whose limit is 8 kB.
//!
//! Allocations are counted, not sampled: they are the same on every run, and on a busy machine the better figure.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::indexing_slicing, reason = "there are two sides")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what the shell would do with the rest costs the stack nothing")]

mod allocations;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookswitch::call::{Calls, CallsConfig, HangUpCause, Outbound, Output};
use hookswitch::identity::{AccountId, CallId};
use hookswitch::route::{Admission, Target};
use hookswitch::sip::{Message, Uri};
use hookswitch::timer::Now;
use hookswitch::transport::{Flow, Listener, TransportKind};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Of each call: INVITE and BYE, a client and a server of each.
const TRANSACTIONS_PER_CALL: usize = 4;
const CALLS: usize = 25_000;
const CALLS_PER_SECOND: u64 = 2_000;
const IDLE_CALLS: usize = 5_000;
/// The limit of the memory of an idle call.
const IDLE_BYTES_MAX: i64 = 8_000;

fn main() {
    let calls = argument("--calls").unwrap_or(CALLS);
    let transactions = calls * TRANSACTIONS_PER_CALL;
    let mut pair = Pair::new();
    let start = Instant::now();
    allocations::reset_peak();
    let before = allocations::counts();
    let mut most = (0, 0);
    for number in 0..calls {
        pair.advance(Duration::from_micros(1_000_000 / CALLS_PER_SECOND));
        pair.place(number);
        pair.hang_up_all();
        let held = allocations::counts().held - before.held;
        most = most.max((held, pair.transactions()));
    }
    pair.rest();
    let took = start.elapsed();
    let after = allocations::counts();
    assert_eq!(pair.transactions(), 0, "every transaction ends");
    let bare = bare_cost(&pair.sample, pair.messages);
    println!("{transactions} transactions of {calls} calls, {CALLS_PER_SECOND} calls a second on simulated time:");
    println!("  time            {:>9.2?} a transaction, {:.2?} a call", per(took, transactions), per(took, calls));
    println!(
        "  reading/writing {:>9.2?} a transaction for the same {} messages: {:.1} times less",
        per(bare, transactions),
        pair.messages,
        took.as_secs_f64() / bare.as_secs_f64()
    );
    println!("  allocations     {:>9} a transaction", (after.times - before.times) / count(transactions));
    println!("  allocated       {:>9} bytes a transaction", (after.bytes - before.bytes) / count(transactions));
    println!(
        "  memory at most  {:>9} bytes for each of {} transactions held, their calls included",
        most.0 / count(most.1.max(1)),
        most.1
    );
    println!("  in all          {:>9} bytes at most", after.peak - before.held);
    idle_calls();
}

/// The memory of answered calls when all transactions have gone.
fn idle_calls() {
    let mut pair = Pair::new();
    let empty = pair.held;
    for number in 0..IDLE_CALLS {
        pair.advance(Duration::from_millis(1));
        pair.place(number);
    }
    pair.advance(Duration::from_secs(70));
    assert_eq!(pair.transactions(), 0, "every transaction ends");
    println!("{IDLE_CALLS} calls, answered and idle:");
    for (side, name) in ["the calling side", "the called side"].into_iter().enumerate() {
        let each = (pair.held[side] - empty[side]) / count(IDLE_CALLS);
        let verdict = if each < IDLE_BYTES_MAX { "within" } else { "BEYOND" };
        println!("  {name:<16} {each:>8} bytes a call, {verdict} the limit of {IDLE_BYTES_MAX}");
    }
}

/// Two user agents on one wire.
struct Pair {
    sides: [Calls; 2],
    /// What each side holds: messages are copied on the wire, so each holds its own.
    held: [i64; 2],
    now: Now,
    answered: Vec<CallId>,
    /// The messages of the first call, and how many there were of all.
    sample: Vec<Bytes>,
    messages: usize,
}

impl Pair {
    fn new() -> Self {
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_700_000_000) };
        let mut held = [0; 2];
        let sides = [0, 1].map(|side| {
            let mut admission = Admission { unknown_sources: true, ..Admission::default() };
            let target = Target::agent("bench");
            admission.unknown_numbers = Some(target);
            let mut config = CallsConfig::new(vec![Listener::new(TransportKind::Udp, address(side))]);
            config.listeners = config.listeners.into_iter().map(|(it, _)| (it, admission.clone())).collect();
            config.ring.answer_after = Some(Duration::ZERO);
            config.limits.calls_max = CALLS;
            config.limits.unacknowledged_max = CALLS;
            let before = allocations::counts().held;
            let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(side as u64), now);
            held[side] = allocations::counts().held - before;
            calls
        });
        Self { sides, held, now, answered: vec![], sample: vec![], messages: 0 }
    }

    fn transactions(&self) -> usize {
        self.sides.iter().map(|it| it.counts().transactions).sum()
    }

    fn with<T>(&mut self, side: usize, act: impl FnOnce(&mut Calls, Now) -> T) -> T {
        let before = allocations::counts().held;
        let result = act(&mut self.sides[side], self.now);
        self.held[side] += allocations::counts().held - before;
        result
    }

    fn place(&mut self, number: usize) {
        let outbound = Outbound {
            account: AccountId::default(),
            to: Uri::sip(Some("100"), "192.0.2.2", None).expect("a URI"),
            from: Uri::sip(Some(&number.to_string()), "192.0.2.1", None).expect("a URI"),
            display_name: None,
            flow: Flow { kind: TransportKind::Udp, local: address(0), remote: address(1) },
            other_flows: vec![],
            keeps_transport: true,
            headers: vec![],
            credentials: None,
        };
        let call = self.with(0, |it, now| it.place(outbound, now));
        self.answered.push(call);
        self.drain();
    }

    fn hang_up_all(&mut self) {
        for call in std::mem::take(&mut self.answered) {
            self.with(0, |it, now| it.hang_up(call, HangUpCause::Done, now));
        }
        self.drain();
    }

    /// Time passes, with every timer that is due in it.
    fn advance(&mut self, duration: Duration) {
        let until = self.now.instant + duration;
        while let Some((at, side)) = self.next_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            self.with(side, Calls::handle_timeout);
            self.drain();
        }
        self.now = self.now + until.saturating_duration_since(self.now.instant);
    }

    fn rest(&mut self) {
        while let Some((at, side)) = self.next_timeout() {
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            self.with(side, Calls::handle_timeout);
            self.drain();
        }
    }

    fn next_timeout(&self) -> Option<(Instant, usize)> {
        (0..2).filter_map(|it| Some((self.sides[it].poll_timeout()?.0, it))).min()
    }

    fn drain(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for side in [0, 1] {
                while let Some(output) = self.with(side, |it, _| it.poll_output()) {
                    is_quiet = false;
                    self.perform(side, output);
                }
            }
        }
    }

    fn perform(&mut self, side: usize, output: Output) {
        // It was the side's own until here.
        let before = allocations::counts().held;
        let media = match output {
            Output::Send { flow, data } => {
                self.messages += 1;
                if self.sample.len() < 5 {
                    self.sample.push(data.clone());
                }
                let flow = Flow { local: flow.remote, remote: flow.local, ..flow };
                let copy = data.to_vec();
                drop(data);
                self.held[side] += allocations::counts().held - before - count(copy.len());
                self.with(1 - side, |it, now| it.handle_datagram(flow, Bytes::copy_from_slice(&copy), now));
                return;
            }
            Output::OpenMedia { leg, .. } => Some(leg),
            other => {
                drop(other);
                None
            }
        };
        self.held[side] += allocations::counts().held - before;
        if let Some(leg) = media {
            let address = SocketAddr::new(address(side).ip(), 20_000);
            self.with(side, |it, now| it.handle_media_opened(leg, address, now));
        }
    }
}

/// What it takes to read as many messages as these and to write them again.
fn bare_cost(sample: &[Bytes], messages: usize) -> Duration {
    let start = Instant::now();
    for message in sample.iter().cycle().take(messages) {
        let copy = Bytes::copy_from_slice(message);
        let message = Message::parse(copy).expect("what was sent can be read");
        let written = match &message {
            Message::Request(it) => it.edit().build().map(|it| it.to_bytes()),
            Message::Response(it) => it.edit().build().map(|it| it.to_bytes()),
        };
        black_box(written).expect("what was read can be written");
    }
    start.elapsed()
}

fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, if side == 0 { 1 } else { 2 }], 5060))
}

fn per(duration: Duration, times: usize) -> Duration {
    duration / u32::try_from(times).unwrap_or(u32::MAX).max(1)
}

fn count(it: usize) -> i64 {
    i64::try_from(it).unwrap_or(i64::MAX)
}

fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|it| it != name);
    arguments.nth(1)?.parse().ok()
}
