//! Hostile input: whatever peers send, torn, spliced and flipped. The promises of `fuzz/src/lib.rs` must hold for each,
//! within memory that its length bounds, and in time that grows no faster than it.
//!
//! The release build tries a million inputs, the debug build a tenth of them.

#![expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test may panic and read the clock"
)]

#[path = "../benches/allocations/mod.rs"]
mod allocations;
#[expect(unreachable_pub, reason = "it is a library for the fuzz targets")]
#[path = "../fuzz/src/lib.rs"]
mod promises;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

const INPUTS: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Of a hundred inputs, how many go to each of the targets; and of a hundred of those, how many are accepted at least:
/// otherwise the mutations are too wild to say anything.
const SHARES: [(&str, u32, u32); 18] = [
    ("message", 34, 12),
    ("stream", 5, 30),
    ("sdp", 8, 10),
    ("uri", 12, 20),
    ("authentication", 12, 20),
    ("rtp", 5, 20),
    ("rtcp", 4, 5),
    ("telephone_event", 2, 20),
    ("opus", 1, 5),
    ("speech_protocol", 4, 4),
    ("event_stream", 3, 10),
    ("crypto", 3, 5),
    ("srtp", 2, 10),
    ("session", 1, 10),
    ("browser_datagram", 1, 5),
    ("offer", 1, 5),
    ("audio_file", 1, 10),
    ("digits", 1, 20),
];
/// What a target may hold, apart from what the input's length explains: an Opus decoder is the largest.
const HELD_BYTES_MAX: i64 = 128 << 10;
/// The same of MP3, whose decoder has large tables, and of resampling.
const AUDIO_FILE_HELD_BYTES_MAX: i64 = 1 << 20;
/// What it may hold for each byte of the input. Every check makes several copies.
const HELD_BYTES_PER_BYTE_MAX: i64 = 64;

#[test]
fn a_million_mutated_inputs_break_no_promise_and_hold_little_memory() {
    let mut rng = ChaCha12Rng::seed_from_u64(0x5150);
    for (name, target) in promises::targets() {
        let (_, share, accepted_min) = *SHARES.iter().find(|it| it.0 == name).expect("every target has a share");
        let (corpus, mut accepted) = (corpus(name), 0);
        for _ in 0..INPUTS / 100 * share {
            let input = mutate(&corpus, &mut rng);
            let before = allocations::counts().held;
            allocations::reset_peak();
            accepted += u32::from(target(&input));
            let held = allocations::counts().peak - before;
            let held_max = if name == "audio_file" { AUDIO_FILE_HELD_BYTES_MAX } else { HELD_BYTES_MAX };
            let limit = held_max + HELD_BYTES_PER_BYTE_MAX * input.len() as i64;
            assert!(
                held <= limit,
                "{name} held {held} bytes for {}: {:?}",
                input.len(),
                input.escape_ascii().to_string()
            );
        }
        let percent = accepted / (INPUTS / 100 * share / 100);
        assert!(percent >= accepted_min, "{name}: {percent} % accepted");
    }
}

/// Whoever writes one is no peer, but a mistake in it is to be told and not to end in a panic.
#[test]
#[cfg(feature = "server")]
fn mutated_configurations_are_understood_or_refused_in_words() {
    use hookswitch::config::{Config, Environment};
    let (root, mut rng) = (PathBuf::from(env!("CARGO_MANIFEST_DIR")), ChaCha12Rng::seed_from_u64(0x70a1));
    // What the example says in comments, it says too.
    let example = fs::read_to_string(root.join("hookswitch.example.toml")).expect("the example is readable");
    let said: String = example.lines().map(|it| it.trim_start_matches("#: ").to_owned() + "\n").collect();
    let sections = said.split("\n[").map(|it| format!("[{it}").into_bytes());
    let mut corpus = read(&root.join("tests/black_box"), |it| it.ends_with("hookswitch.toml"));
    corpus.extend(sections.chain([said.clone().into_bytes()]));
    let (environment, mut accepted) = (Environment::new(), 0);
    for _ in 0..INPUTS / 50 {
        let input = mutate(&corpus, &mut rng);
        let text = String::from_utf8_lossy(&input);
        match Config::parse(&text, Path::new("hookswitch.toml"), &environment) {
            Ok(config) => {
                let shown = config.to_string();
                let again = Config::parse(&shown, Path::new("hookswitch.toml"), &environment);
                let again = again.map_or_else(|error| error.to_string(), |it| it.to_string());
                let differs = again.lines().zip(shown.lines()).find(|(again, shown)| again != shown);
                assert!(differs.is_none() || shown.contains("<secret>"), "{differs:?}\n{text}");
                accepted += 1;
            }
            Err(error) => {
                let told = error.to_string();
                assert!(!told.is_empty() && told.len() <= 4_096 + 64 * text.len(), "{} bytes of {text}", told.len());
            }
        }
    }
    assert!(accepted >= INPUTS / 50 / 20, "{accepted} accepted");
}

#[test]
fn what_repeats_costs_no_more_the_more_often_it_does() {
    for (name, before, piece, after) in REPETITIONS {
        let (_, target) = promises::targets().into_iter().find(|it| it.0 == *name).expect("a target");
        check_growth(name, target, |times| {
            [before.as_bytes(), &piece.as_bytes().repeat(times), after.as_bytes()].concat()
        });
    }
}

/// What a slow parser would choke on: beginning, what is repeated, end.
const REPETITIONS: &[(&str, &str, &str, &str)] = &[
    ("message", START, "X: y\r\n", "\r\n"),
    ("message", START, "X: y\r\n z\r\n", "\r\n"),
    ("message", START, "\r\n ", "\r\n\r\n"),
    ("message", START, "Contact: <sip:a@b>\r\n", "\r\n"),
    ("message", START, "Route: <sip:a;lr>, <sip:b;lr>\r\n", "\r\n"),
    ("message", "INVITE sip:", "a", "@b SIP/2.0\r\n\r\n"),
    ("message", "INVITE sip:a;", ";a=b", " SIP/2.0\r\n\r\n"),
    ("message", "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a", ", SIP/2.0/UDP b;branch=c", "\r\n\r\n"),
    ("message", "OPTIONS sip:a SIP/2.0\r\nFrom: \"", "\\\"", "\" <sip:a>;tag=b\r\n\r\n"),
    ("message", "\r\n", "\r\n", "OPTIONS"),
    ("stream", "\0", "\r\n\r\n", ""),
    ("stream", "\0", "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n", ""),
    ("stream", "\x01OPTIONS sip:a SIP/2.0\r\n", "X: y\r\n", ""),
    ("sdp", SDP, "a=rtpmap:96 opus/48000/2\r\n", ""),
    ("sdp", SDP, "a=fmtp:96 x=y\r\n", ""),
    ("sdp", SDP, "m=audio 9 RTP/AVP 0\r\n", ""),
    ("sdp", "v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP", " 0", "\r\n"),
    ("sdp", SDP, "a=fmtp:0 ", "x\r\n"),
    ("uri", "sip:a@b", ";c=d", ""),
    ("uri", "sip:a@b?", "c=d&", ""),
    ("uri", "sip:", "%41", "@b"),
    ("uri", "\"", "\\\"", "\" <sip:a>"),
    ("uri", "<sip:a>", ";b=\"c\"", ""),
    ("uri", "sip:[", "::", "]"),
    ("authentication", "Digest ", "a=b,", ""),
    ("authentication", "", "Digest realm=\"a\", nonce=\"b\", ", ""),
    ("authentication", "Digest realm=\"", "\\a", "\", nonce=b"),
    ("authentication", "Digest realm=a, nonce=b, qop=\"", "auth,", "\""),
    ("speech_protocol", "\0{\"type\":\"define-grammar\",\"phrases\":[\"a\"", ",\"b\"", "]}"),
    ("speech_protocol", "\0", "[", ""),
    ("speech_protocol", "\0{\"type\":", "{\"a\":", ""),
    ("event_stream", "\x07", "data: a\n\n", ""),
    ("event_stream", "\x07", "data: a\n", "\n"),
    ("crypto", "1 AES_CM_128_HMAC_SHA1_80 inline:", "AAAA", ""),
    ("crypto", "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", "|1:1", ""),
    ("digits", "\0", "Duration=1\r\n", "Signal=5"),
    ("digits", "\0Signal=", "\"", "5"),
    ("offer", SDP, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n", ""),
    ("offer", SDP, "m=audio 9 RTP/AVP 0\r\n", ""),
    ("speech_protocol", "\x01{\"type\":\"speak\",\"request\":1,\"text\":\"", "a. ", "\"}"),
];
const START: &str = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n\
                     Call-ID: c\r\nCSeq: 1 OPTIONS\r\n";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 96\r\n";

/// Eight times the input may take little more than eight times the memory that is asked for, which is the same on every
/// run; and at most four times as long as the small one takes eight times, once in some attempts. What is quadratic takes
/// eight times as long.
#[track_caller]
fn check_growth(name: &str, target: fn(&[u8]) -> bool, make: impl Fn(usize) -> Vec<u8>) {
    let piece = make(1).len() - make(0).len();
    let small = make(4_000 / piece.max(1));
    let large = make(8 * (4_000 / piece.max(1)));
    let asked = |input: &[u8]| {
        let before = allocations::counts();
        black_box(target(input));
        let after = allocations::counts();
        (after.bytes - before.bytes, after.times - before.times)
    };
    let shown = String::from_utf8_lossy(&small[..small.len().min(120)]).into_owned();
    let ((few_bytes, few), (many_bytes, many)) = (asked(&small), asked(&large));
    assert!(
        many_bytes <= 16 * few_bytes + (1 << 16),
        "{name} asks for {many_bytes} bytes, not 8 * {few_bytes}: {shown}"
    );
    assert!(many <= 16 * few + 1_000, "{name} asks {many} times, not 8 * {few}: {shown}");
    // Eight small ones beside a large one, as long if all is well: so whatever else the machine does meets both alike.
    let time = |times: usize, input: &[u8]| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(target(input));
        }
        start.elapsed().max(Duration::from_micros(5))
    };
    let is_linear = (0..40).any(|_| time(1, &large) < time(8, &small) * 4);
    assert!(is_linear, "{name} takes {:?} and then {:?}: {shown}", time(8, &small), time(1, &large));
}

fn mutate(corpus: &[Vec<u8>], rng: &mut ChaCha12Rng) -> Vec<u8> {
    const SPECIAL: &[&[u8]] = &[
        b"\r\n",
        b"\r\n ",
        b"\n",
        b"\r",
        b"\0",
        b"\"",
        b"\\",
        b"<",
        b">",
        b";",
        b",",
        b":",
        b"=",
        b"@",
        b"?",
        b"%",
        b"[",
        b"]",
        b" ",
        b"\t",
        b"\xff",
        b"\xc3\xbc",
        b"%00",
        b"sip:",
        b"tel:+1",
        b"Content-Length: 5\r\n",
        b"l: 99999\r\n",
        b"Via: ",
        b"SIP/2.0",
        b"*",
        b";;",
        b"-1",
        b"4294967296",
        b"\r\n\r\n",
        b";tag=",
        b"\x1a",
        b"::",
        b":::1.2.3.4]",
    ];
    let mut bytes = corpus[below(rng, corpus.len())].clone();
    for _ in 0..=below(rng, 2) {
        let at = below(rng, bytes.len() + 1);
        let end = (at + below(rng, 40)).min(bytes.len());
        match below(rng, 8) {
            0 if at.is_multiple_of(4) => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, SPECIAL[below(rng, SPECIAL.len())].iter().copied())),
            3 => drop(bytes.splice(at..end, SPECIAL[below(rng, SPECIAL.len())].iter().copied())),
            4 if at < bytes.len() => bytes[at] = rng.next_u32().to_le_bytes()[0],
            5 => {
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            _ => {
                let other = &corpus[below(rng, corpus.len())];
                let from = below(rng, other.len());
                let to = (from + below(rng, 80)).min(other.len());
                drop(bytes.splice(at..at, other[from..to].iter().copied()));
            }
        }
    }
    bytes
}

fn below(rng: &mut ChaCha12Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound.max(1)
}

/// What is mutated for a target: its own corpus, and for those of SIP the torture messages or what they hold.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut corpus = read(&root.join("fuzz/corpus").join(name), |_| true);
    let torture = read(&root.join("tests/torture"), |it| it.extension().is_some_and(|it| it == "sip" || it == "dat"));
    let torture = torture.into_iter().filter(|it| it.len() < 2_500);
    match name {
        "message" => corpus.extend(torture),
        "stream" => corpus.extend(torture.map(|it| [b"\x20", &it[..]].concat())),
        "sdp" => {
            let body = |it: Vec<u8>| it.windows(4).position(|it| it == b"\r\n\r\n").map(|at| it[at + 4..].to_vec());
            corpus.extend(torture.filter_map(body).filter(|it| it.starts_with(b"v=0")));
        }
        _ => (),
    }
    assert!(!corpus.is_empty(), "{name}");
    corpus
}

fn read(directory: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> =
        entries.map(|it| it.expect("the corpus is readable").path()).filter(|it| is_wanted(it)).collect();
    files.sort();
    files.iter().map(|it| fs::read(it).expect("the corpus is readable")).collect()
}
