//! What concurrent calls with an agent cost the server: real calls over SIP and RTP on the loopback interface, to the
//! release build of `hookswitch serve`, whose agent follows a pathway and hears and speaks through a scripted speech
//! peer by the protocol of `docs/speech-protocol.md`.
//!
//! Four processes: the server, whose processor time and memory are therefore its own; the speech peer; an echo, which
//! shows what the same number of packets costs a program that does nothing with them; and this one, which calls. Each
//! caller talks for 2.7 of 7 seconds, so that a turn is taken every 7 seconds.
//!
//! `cargo build --release && cargo bench --bench agent_calls`. `AGENT_CALLS` (10,50,200) are the steps,
//! `AGENT_CALLS_SECONDS` (30) is the measured time of each, `HOOKSWITCH_BIN` another binary. Prints JSON; a run in which
//! the callers themselves were late is marked void, and says nothing about gaps and latencies. Wants a machine that does
//! nothing else, with as many cores to spare as the server takes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measures")]
#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that cannot be made ends")]
#![expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "the sizes are its own")]

#[path = "agent_calls/callers.rs"]
mod callers;
#[path = "agent_calls/children.rs"]
mod children;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use hookswitch::identity::AccountId;
use hookswitch::platform::calls::sql::Journal;
use hookswitch::platform::calls::{Event, TurnTiming};
use hookswitch::server::clock;
use serde_json::{Value, json};

use self::callers::{Phase, Plan, Seen};
use self::children::{AUDIO_AFTER, Process, RESULT_AFTER, Server};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("speech-peer") => children::speech_peer(),
        Some("echo") => children::echo(),
        _ => measure(),
    }
}

fn measure() {
    let binary = std::env::var_os("HOOKSWITCH_BIN").map_or_else(built, PathBuf::from);
    if !binary.is_file() {
        eprintln!("there is no {}: run `cargo build --release` first, or set HOOKSWITCH_BIN", binary.display());
        std::process::exit(1);
    }
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let steps = setting("AGENT_CALLS", "10,50,200");
    let steps: Vec<usize> = steps.split(',').map(|it| it.trim().parse().expect("AGENT_CALLS are numbers")).collect();
    let seconds = setting("AGENT_CALLS_SECONDS", "30").parse().expect("AGENT_CALLS_SECONDS is a number");
    let (peer, speech) = Process::role("speech-peer");
    let steps = steps.into_iter().map(|calls| {
        let plan =
            |sip, is_echo| Plan { peer: sip, is_echo, calls, measured: Duration::from_secs(seconds), speech: SPEECH };
        let echo = echo_figures(|address| plan(address, true));
        let server = Server::start(&binary, speech, calls);
        let mut step = call_figures(&server, &peer, &plan(server.sip, false));
        let per_second = |it: &Value| it["cpu_percent_of_a_core"].as_f64().unwrap_or(0.0);
        step["times_the_echo"] = round(per_second(&step) / per_second(&echo));
        step["echo"] = echo;
        eprintln!("{step:#}");
        step
    });
    let result = json!({
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "measured_seconds": seconds,
        "speech_peer_ms": { "result": millis(RESULT_AFTER), "audio": millis(AUDIO_AFTER) },
        "steps": steps.collect::<Vec<_>>(),
    });
    println!("{result:#}");
}

/// Where cargo puts it, from where it has put this.
fn built() -> PathBuf {
    let program = std::env::current_exe().expect("Linux knows the program");
    let release = program.parent().and_then(Path::parent).unwrap_or_else(|| Path::new("target/release"));
    release.join("hookswitch")
}

/// The server's figures at one moment.
struct Sample {
    at: Instant,
    processor: Duration,
    threads: BTreeMap<String, Duration>,
    peer: Duration,
    resident_kib: u64,
    metrics: BTreeMap<String, f64>,
}

impl Sample {
    fn take(server: &Server, peer: &Process) -> Self {
        Self {
            at: clock::now().instant,
            processor: server.process.processor_time(),
            threads: server.process.thread_times(),
            peer: peer.processor_time(),
            resident_kib: server.process.resident_kib(),
            metrics: server.metrics(),
        }
    }
}

fn call_figures(server: &Server, peer: &Process, plan: &Plan) -> Value {
    children::pause(Duration::from_secs(2));
    let idle = Sample::take(server, peer);
    let (phases, changes) = sync_channel(4);
    let (seen, begin, end, threads) = std::thread::scope(|scope| {
        let callers = scope.spawn(move || callers::run(plan, &phases));
        let mut samples = vec![];
        let mut threads = 0;
        while let Ok(phase) = changes.recv() {
            if phase != Phase::Over {
                samples.push(Sample::take(server, peer));
                threads = server.process.threads();
            }
        }
        let seen = callers.join().expect("the callers do not panic");
        let [begin, end] = <[Sample; 2]>::try_from(samples).unwrap_or_else(|_| panic!("{:?}", seen.failures));
        (seen, begin, end, threads)
    });
    // The last transactions wait out 64 * T1 (RFC 3261 §17).
    children::pause(Duration::from_secs(35));
    let after = Sample::take(server, peer);
    let mut figures = seen_figures(&seen, plan);
    let minutes = (end.at - begin.at).as_secs_f64() / 60.0 * seen.answered as f64;
    let spent = end.processor - begin.processor;
    figures["cpu_seconds_per_call_minute"] = round(spent.as_secs_f64() / minutes);
    figures["cpu_percent_of_a_core"] = percent(spent, end.at - begin.at);
    figures["cpu_percent_by_thread"] = by_thread(&begin, &end);
    figures["speech_peer_cpu_percent_of_a_core"] = percent(end.peer - begin.peer, end.at - begin.at);
    figures["threads"] = json!(threads);
    figures["rss_kib"] = json!({
        "idle": idle.resident_kib, "begin": begin.resident_kib, "end": end.resident_kib, "after": after.resident_kib,
        "per_call": round((end.resident_kib as f64 - idle.resident_kib as f64) / plan.calls as f64),
    });
    figures["metrics"] = metric_figures(&idle, &begin, &end, &after);
    let (data, log) = (server.data(), server.log());
    figures["turns"] = turn_figures(&after, &data);
    figures["server_log_lines"] = json!(log.lines().count());
    figures
}

fn seen_figures(seen: &Seen, plan: &Plan) -> Value {
    let lag = quantile(&seen.lag_us, 0.99);
    let mut failures = BTreeMap::<_, u32>::new();
    seen.failures.iter().for_each(|it| *failures.entry(it).or_default() += 1);
    json!({
        "calls": plan.calls,
        "answered": seen.answered,
        "failed": seen.failures.len(),
        "failures": failures,
        "void": lag > LAG_US_MAX,
        "callers_lag_ms": spread(&seen.lag_us),
        "rtp": {
            "sent": seen.sent, "received": seen.received, "expected": seen.expected, "lost": seen.lost,
            "gap_ms": spread(&seen.gaps_us),
        },
        "heard_response_ms": spread(&seen.responses_us),
    })
}

/// What the server counts of itself: what went wrong while it was measured, and what is left after the calls.
fn metric_figures(idle: &Sample, begin: &Sample, end: &Sample, after: &Sample) -> Value {
    let rose = |name: &str| {
        let of = |it: &Sample| it.metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|it| it.1).sum::<f64>();
        of(end) - of(begin)
    };
    let before = |name: &str| idle.metrics.get(name).copied().unwrap_or(0.0);
    let held = after
        .metrics
        .iter()
        .filter(|(name, count)| HELD.iter().any(|it| name.starts_with(it)) && **count > before(name));
    let held: BTreeMap<_, _> = held.collect();
    json!({
        "ticks_late": rose("hookswitch_media_ticks_late_total"),
        "queue_drops": rose("hookswitch_queue_drops_total") + rose("hookswitch_journal_dropped_total"),
        "rtp_lost": rose("hookswitch_rtp_packets_total{what=\"lost\"}"),
        "rtp_late": rose("hookswitch_rtp_packets_total{what=\"late\"}"),
        "concealed_seconds": rose("hookswitch_rtp_concealed_seconds_total"),
        "service_errors": rose("hookswitch_service_errors_total"),
        "turn_latency_ms": {
            "p50": histogram_quantile(after, "hookswitch_turn_latency_seconds", 0.5),
            "p99": histogram_quantile(after, "hookswitch_turn_latency_seconds", 0.99),
        },
        "held_after_the_calls": held,
    })
}

/// The turns as the journal has them, which is to the millisecond.
fn turn_figures(after: &Sample, data: &Path) -> Value {
    let turns = read_turns(data);
    let of = |part: fn(&TurnTiming) -> u32| {
        let mut all: Vec<_> = turns.iter().map(|it| part(it).saturating_mul(1_000)).collect();
        all.sort_unstable();
        spread(&all)
    };
    json!({
        "count": turns.len(),
        "counted_by_metrics": after.metrics.get("hookswitch_turn_latency_seconds_count"),
        "total_ms": of(|it| it.total_ms),
        "end_of_turn_wait_ms": of(|it| it.end_of_turn_ms),
        "recogniser_ms": of(|it| it.recogniser_ms),
        "decision_ms": of(|it| it.decision_ms),
        "synthesiser_ms": of(|it| it.synthesiser_ms),
        "playout_ms": of(|it| it.playout_ms),
        "our_overhead_ms": of(|it| {
            let configured = millis(RESULT_AFTER) + millis(AUDIO_AFTER);
            it.total_ms.saturating_sub(it.end_of_turn_ms).saturating_sub(configured)
        }),
    })
}

fn read_turns(data: &Path) -> Vec<TurnTiming> {
    // The server has the journal locked, so this reads a copy.
    let copy = data.with_extension("copy");
    std::fs::create_dir_all(&copy).expect("the directory is ours");
    for file in std::fs::read_dir(data).into_iter().flatten().flatten() {
        drop(std::fs::copy(file.path(), copy.join(file.file_name())));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let (journal, _writer) = Journal::open(&copy, clock::now).await.expect("the journal is whole");
        let (account, mut before, mut turns) = (AccountId::default(), None, vec![]);
        loop {
            let calls = journal.list(&account, 100, before).await.expect("the journal can be read");
            let Some(last) = calls.last() else { return turns };
            before = Some(last.call);
            for call in &calls {
                let events = journal.events(&account, call.call).await.expect("the journal can be read");
                turns.extend(
                    events
                        .into_iter()
                        .filter_map(|it| if let Event::TurnTiming(it) = it.event { Some(it) } else { None }),
                );
            }
        }
    })
}

/// The same packets, sent back by a program that does nothing else.
fn echo_figures(plan: impl Fn(std::net::SocketAddr) -> Plan) -> Value {
    let (echo, address) = Process::role("echo");
    let plan = Plan { measured: ECHO_TIME, ..plan(address) };
    let (phases, changes) = sync_channel(4);
    let spent = |it: &Process| it.thread_times().values().sum::<Duration>();
    std::thread::scope(|scope| {
        let callers = scope.spawn(|| callers::run(&plan, &{ phases }));
        let mut samples = vec![];
        while let Ok(phase) = changes.recv() {
            if phase != Phase::Over {
                samples.push((clock::now().instant, spent(&echo)));
            }
        }
        let seen = callers.join().expect("the callers do not panic");
        let ((from, before), (to, after)) = (samples[0], samples[1]);
        json!({
            "received": seen.received, "expected": seen.expected, "lost": seen.lost, "gap_ms": spread(&seen.gaps_us),
            "callers_lag_ms": spread(&seen.lag_us),
            "cpu_percent_of_a_core": percent(after - before, to - from),
        })
    })
}

fn by_thread(begin: &Sample, end: &Sample) -> Value {
    let share = |(name, spent): (&String, &Duration)| {
        let before = begin.threads.get(name).copied().unwrap_or_default();
        (name.clone(), percent(spent.saturating_sub(before), end.at - begin.at))
    };
    end.threads.iter().map(share).collect::<serde_json::Map<_, _>>().into()
}

/// Of sorted microseconds, in milliseconds.
fn spread(sorted_us: &[u32]) -> Value {
    let of = |share: f64| round(f64::from(quantile(sorted_us, share)) / 1e3);
    json!({ "count": sorted_us.len(), "p50": of(0.5), "p99": of(0.99), "max": of(1.0) })
}

fn quantile(sorted: &[u32], share: f64) -> u32 {
    let last = sorted.len().saturating_sub(1) as f64;
    #[expect(clippy::cast_sign_loss, reason = "a share of a length")]
    let at = (last * share).round() as usize;
    sorted.get(at).copied().unwrap_or(0)
}

/// Of a histogram of seconds, in milliseconds, as if what is in a bucket were spread evenly over it.
fn histogram_quantile(sample: &Sample, name: &str, share: f64) -> Value {
    let prefix = format!("{name}_bucket{{le=\"");
    let bucket = |(key, count): (&String, &f64)| {
        let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse::<f64>().ok()?;
        Some((bound, *count))
    };
    let mut buckets: Vec<_> = sample.metrics.iter().filter_map(bucket).collect();
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    let wanted = buckets.last().map_or(0.0, |it| it.1) * share;
    let mut below = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted && count > below.1 {
            let inside = (wanted - below.1) / (count - below.1);
            return round((below.0 + inside * (bound - below.0)) * 1e3);
        }
        below = (bound, count);
    }
    Value::Null
}

fn percent(spent: Duration, of: Duration) -> Value {
    round(spent.as_secs_f64() * 100.0 / of.as_secs_f64())
}

/// To four digits after the point.
fn round(value: f64) -> Value {
    json!((value * 1e4).round() / 1e4)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// "What are your opening hours", as a person on a telephone would say it.
const SPEECH: &[u8] = include_bytes!("../tests/data/opening-hours.ulaw");
const ECHO_TIME: Duration = Duration::from_secs(10);
/// Callers that are later than half a packet measure themselves.
const LAG_US_MAX: u32 = 10_000;
/// What calls hold: when they are over, there may be no more of it than before.
const HELD: &[&str] = &[
    "hookswitch_sip_dialogs",
    "hookswitch_sip_transactions",
    "hookswitch_rtp_sessions",
    "hookswitch_media_ports_in_use",
    "hookswitch_tasks{",
];
