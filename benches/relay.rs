//! What passing on a packet costs: calls of two telephones through the release build of `hookswitch serve`, 50 packets a
//! second each way, beside `rtpengine` (if it is installed; in user space) and beside a program that does nothing but
//! receive and send. With the same codec on both sides packets are passed on as they are, else they are coded again.
//!
//! This process is both telephones, with their signalling and RTP; each of the three is a process of its own on the first
//! core, this one on the second. `cargo build --release && cargo bench --bench relay`. `RELAY_CALLS` (200), at most 1,500;
//! `RELAY_SECONDS` (20), the measured time of each; `RELAY_SUBJECTS` (bare,rtpengine,hookswitch), which of them, and
//! `shared`, which is us with shared media ports and needs a socket for each telephone; `RELAY_CODECS` (pcmu:pcmu), those
//! of the two sides, also pcma, g722 and opus; `RELAY_RTPENGINE_OPUS` (opus/48000/2/24000), as what rtpengine is to send
//! Opus; `RELAY_LADDERS=0`, to capture no messages of calls; `RELAY_RECORD=1`, to have every call of ours recorded;
//! `HOOKSWITCH_BIN`, another binary. Further subjects are `legs`, `legs-energy` and `legs-neural`: terminated legs, two for
//! each call, each of which plays back what it hears, with nobody, loudness or a network listening for voice on it
//! (`legs`); with `RELAY_RECORD=1` each is recorded. Prints a table and JSON. A packet's delay is from before it is sent
//! until it has been read; packets of G.722 and Opus are only counted. Memory is by how much the process has grown for each call, and for each of
//! the second half of the calls, which leaves out what comes with the first ones. A run in which this process was late
//! itself is marked void.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measures")]
#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that cannot be made ends")]
#![expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "the sizes are its own")]

#[path = "relay/legs.rs"]
mod legs;
#[path = "relay/signalling.rs"]
mod signalling;
#[path = "relay/streams.rs"]
mod streams;
#[path = "relay/subjects.rs"]
mod subjects;

use std::time::Duration;

use serde_json::{Value, json};

use self::streams::{Coding, Figures, Streams};
use self::subjects::Subject;

const CALLS_MAX: usize = 1_500;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if arguments.get(1).is_some_and(|it| it == "bare") {
        return subjects::forward(&arguments[2..]);
    }
    if arguments.get(1).is_some_and(|it| it == "legs") {
        return legs::run(&arguments[2..]);
    }
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let calls = setting("RELAY_CALLS", "200").parse::<usize>().expect("RELAY_CALLS is a number").clamp(1, CALLS_MAX);
    let codecs = setting("RELAY_CODECS", "pcmu:pcmu");
    let (theirs, ours) = codecs.split_once(':').expect("RELAY_CODECS is two names");
    let codings = [theirs, ours].map(Coding::of);
    let seconds = setting("RELAY_SECONDS", "20").parse().expect("RELAY_SECONDS is a number");
    subjects::pin_this_process();
    let mut rows = vec![];
    let subjects = setting("RELAY_SUBJECTS", "bare,rtpengine,hookswitch");
    let is_exact = subjects.contains("shared");
    for name in subjects.split(',') {
        let streams = Streams::new(calls, codings, is_exact);
        match measure(name.trim(), streams, Duration::from_secs(seconds)) {
            Some(row) => rows.push(row),
            None => eprintln!("{name} is not there"),
        }
    }
    println!("{calls} calls, {codecs}, {} packets a second", calls * 100);
    println!(
        "{:<12} {:>9} {:>8} {:>28} {:>8} {:>8} {:>6}",
        "", "us/packet", "lost", "delay us mean/p50/p99/max", "KiB/call", "further", "cpu"
    );
    for row in &rows {
        let delay = format!(
            "{}/{}/{}/{}",
            row["delay_us"]["mean"], row["delay_us"]["p50"], row["delay_us"]["p99"], row["delay_us"]["max"]
        );
        let void = if row["void"] == true { "void: the generator was late" } else { "" };
        println!(
            "{:<12} {:>9.2} {:>8} {delay:>28} {:>8.1} {:>8.1} {:>5.0}% {void}",
            row["name"].as_str().unwrap_or_default(),
            row["cpu_us_per_packet"].as_f64().unwrap_or(0.0),
            row["lost"].to_string(),
            row["memory_kib_per_call"].as_f64().unwrap_or(0.0),
            row["memory_kib_per_further_call"].as_f64().unwrap_or(0.0),
            row["cpu_percent"].as_f64().unwrap_or(0.0),
        );
    }
    let cost = |name: &str| rows.iter().find(|it| it["name"] == name).and_then(|it| it["cpu_us_per_packet"].as_f64());
    let ratio = cost("hookswitch").zip(cost("rtpengine")).map(|(ours, theirs)| theirs / ours);
    if let Some(ratio) = ratio {
        println!("rtpengine takes {ratio:.2} times as much");
    }
    println!(
        "{}",
        json!({ "calls": calls, "codecs": codecs, "seconds": seconds, "rows": rows, "rtpengine_to_hookswitch": ratio })
    );
}

/// `None` if the program is not installed.
fn measure(name: &str, mut streams: Streams, measured: Duration) -> Option<Value> {
    let subject = Subject::start(name, &mut streams)?;
    streams.run(WARM_UP, false);
    let before = subject.processor_time();
    let Figures { sent, received, arrived, delays, lags, elapsed } = streams.run(measured, true);
    let spent = subject.processor_time() - before;
    let (memory, further) =
        (subject.memory_kib_per_call(streams.calls()), subject.memory_kib_per_further_call(streams.calls()));
    let lag = percentile(&lags, 99);
    Some(json!({
        "name": name,
        "cpu_us_per_packet": spent.as_secs_f64() * 1e6 / arrived.max(1) as f64,
        "cpu_percent_per_leg": 50.0 * spent.as_secs_f64() / elapsed.as_secs_f64() / streams.calls() as f64,
        "cpu_percent": 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64(),
        "sent": sent,
        "lost": sent.saturating_sub(received),
        "delay_us": { "mean": mean(&delays), "p50": percentile(&delays, 50), "p99": percentile(&delays, 99), "max": percentile(&delays, 100) },
        "memory_kib_per_call": memory,
        "memory_kib_per_further_call": further,
        "generator_lag_us": { "p99": lag, "max": percentile(&lags, 100) },
        "void": lag > LAG_US_MAX,
    }))
}

fn mean(values: &[u32]) -> u64 {
    values.iter().map(|it| u64::from(*it)).sum::<u64>() / (values.len() as u64).max(1)
}

/// Of sorted values.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

const LAG_US_MAX: u32 = 3_000;
