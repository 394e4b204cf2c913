//! Recordings: kept, told of in the journal, playable after a crash, and never at the expense of a call.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::journal;
use crate::rtp_peer::{Account, Sends, TICK};
use crate::server_process::Server;
use crate::sip_phone::Phone;

const RECORDED: (&str, &str) = ("AGENTS__TALKER__RECORDING__ENABLED", "true");
const TALKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/black_box/talker.toml");
const AS_MP3: (&str, &str) = ("AGENTS__TALKER__RECORDING__FORMAT", "mp3");

#[test]
fn a_finished_recording_is_told_of_in_the_journal() {
    let server = Server::start(&[RECORDED]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(60);
    phone.hang_up();
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    let recording = calls[0].all("recording").next().unwrap_or_else(|| panic!("{calls:?}\n{}", server.log()));
    let path = server.home.data().join("recordings").join(recording["key"].as_str().unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let digest: String = Sha256::digest(&bytes).iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(recording["sha256"].as_str(), Some(digest.as_str()));
    assert_eq!(recording["bytes"].as_u64(), Some(bytes.len() as u64));
    let (seconds, _, right) = wav(&path);
    assert!(seconds > 1.0 && right > 0.01, "{seconds} s, {right}");
    assert!((recording["duration_ms"].as_f64().unwrap() / 1e3 - seconds).abs() < 0.001);
}

#[test]
fn a_killed_server_leaves_a_wav_that_plays() {
    let (mut server, _phone) = in_a_call(&[RECORDED]);
    server.kill();
    let (seconds, _, right) = wav(&only_file(&server, "recordings"));
    assert!(seconds > 1.5 && right > 0.01, "{seconds} s, {right}");
}

#[test]
fn a_killed_server_leaves_an_mp3_that_plays() {
    let (mut server, _phone) = in_a_call(&[RECORDED, AS_MP3]);
    server.kill();
    let mut decoder = rusty_mp3::Mp3Decoder::new();
    decoder.push(&std::fs::read(only_file(&server, "recordings")).unwrap());
    decoder.flush();
    let (mut samples, mut right) = (0, 0.0);
    while let Ok(audio) = decoder.next_frame() {
        assert_eq!((audio.sample_rate, audio.channels), (8_000, 2));
        samples += audio.samples.len() / 2;
        right += audio.samples.iter().skip(1).step_by(2).map(|it| it.abs()).sum::<f32>();
    }
    assert!(samples > 12_000, "{samples}");
    assert!(right / samples as f32 > 0.01, "{right}");
}

#[test]
fn a_place_that_cannot_be_written_to_costs_the_recording_only() {
    let server = Server::start(&[RECORDED, ("RECORDINGS__URL", "/dev/null/recordings")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(60);
    phone.hang_up();
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    let failed = calls[0].all("failed").next().unwrap_or_else(|| panic!("{calls:?}"));
    assert_eq!(failed["component"], "recorder");
    assert_eq!(calls[0].end_cause(), Some("hang_up"));
    assert!(server.metrics().shown().contains("hookswitch_recordings_total{outcome=\"failed\"} 1"));
}

#[test]
fn a_disk_that_fills_up_in_mid_call_costs_the_recording_only() {
    let server = Server::start_on_full_disk(200, &[RECORDED]);
    let mut phone = Phone::call(&server, "100");
    // At 32 kB a second the file ends after six.
    phone.stay(Sends::Silence, Duration::from_secs(8));
    phone.hear(50);
    phone.hang_up();
    let data = server.home.data();
    let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
    assert!(server.wait(Duration::from_secs(10), is_closed), "{}", server.log());
    let calls = journal::calls(&data);
    let failed = calls[0].all("failed").next().unwrap_or_else(|| panic!("{calls:?}\n{}", server.log()));
    assert_eq!((failed["component"].as_str(), calls[0].end_cause()), (Some("recorder"), Some("hang_up")));
    assert!(server.metrics().shown().contains("hookswitch_recordings_total{outcome=\"failed\"} 1"));
}

#[test]
fn nothing_is_recorded_before_the_announcement_is_heard() {
    let server = Server::start(&[RECORDED, ("AGENTS__TALKER__RECORDING__CONSENT", "announce")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.stay(Sends::Silence, Duration::from_secs(4));
    phone.hang_up();
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    let consent = calls[0].all("recording_consent").next().unwrap_or_else(|| panic!("{calls:?}\n{}", server.log()));
    assert_eq!((consent["given"].as_bool(), consent["how"].as_str()), (Some(true), Some("announced")));
    let recording = calls[0].all("recording").next().unwrap();
    assert!(recording["start_ms"].as_u64().unwrap() > 800, "{recording}");
}

#[test]
fn a_caller_who_does_not_agree_is_not_recorded() {
    let server = Server::start(&[RECORDED, ("AGENTS__TALKER__RECORDING__CONSENT", "ask")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    phone.ask("INFO", &["Content-Type: application/dtmf-relay"]);
    phone.hang_up();
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    assert!(!calls[0].has("recording"), "{calls:?}");
    assert!(files(&server.home.data().join("recordings")).is_empty());
}

/// The gaps between packets that callers see at the same time on one server, of whom some are recorded: run with `--nocapture`
/// for the figures.
#[test]
fn the_timing_of_packets_is_the_same_with_a_recording() {
    let kinds = ["talker", "wav", "mp3"];
    let mut keys = vec![("AGENTS__MP3__RECORDING__FORMAT".to_owned(), "mp3")];
    for (kind, number) in kinds.into_iter().zip(["100", "101", "102"]).skip(1) {
        let agent = format!("AGENTS__{}", kind.to_uppercase());
        keys.push((format!("{agent}__PATHWAY"), TALKER));
        keys.push((format!("{agent}__IDLE_PROMPT_S"), "600"));
        keys.push((format!("{agent}__RECORDING__ENABLED"), "true"));
        keys.push((format!("NUMBERS__{number}__AGENT"), kind));
    }
    let server = Server::start(&keys.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>());
    let phones: Vec<_> = ["100", "101", "102"].repeat(3).into_iter().map(|it| Phone::call(&server, it)).collect();
    let end = Instant::now() + Duration::from_secs(6);
    let accounts: Vec<Account> = std::thread::scope(|scope| {
        let listening: Vec<_> = phones
            .into_iter()
            .map(|mut phone| {
                scope.spawn(move || {
                    let mut account = Account::default();
                    while Instant::now() < end {
                        phone.media.tick(Sends::Silence, &mut account);
                    }
                    phone.hang_up();
                    account
                })
            })
            .collect();
        listening.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let figures = [0, 1, 2].map(|kind| {
        let mut gaps: Vec<_> = accounts.iter().skip(kind).step_by(3).flat_map(|it| it.gaps.clone()).collect();
        assert!(gaps.len() > 3 * 250, "{}", gaps.len());
        gaps.sort_unstable();
        let figures = [500, 950, 990, 1_000].map(|part| gaps[(gaps.len() - 1) * part / 1_000]);
        println!("{}: {} gaps, p50, p95, p99 and max {figures:?}", kinds[kind], gaps.len());
        figures
    });
    // Wide, because other tests run beside this one; but what disturbs one kind disturbs all.
    for of_recorded in &figures[1..] {
        assert!(of_recorded[0].abs_diff(figures[0][0]) < TICK / 8, "{figures:?}");
        assert!(of_recorded[1].abs_diff(figures[0][1]) < TICK, "{figures:?}");
    }
    assert_eq!(files(&server.home.data().join("recordings")).len(), 6);
}

fn in_a_call(keys: &[(&str, &str)]) -> (Server, Phone) {
    let server = Server::start(keys);
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    phone.stay(Sends::Silence, Duration::from_secs(3));
    (server, phone)
}

fn only_file(server: &Server, directory: &str) -> PathBuf {
    let found = files(&server.home.data().join(directory));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        |it: &Path| std::fs::read_dir(it).into_iter().flatten().map(|it| it.unwrap().path()).collect::<Vec<_>>();
    entries(directory).iter().flat_map(|it| entries(it)).collect()
}

/// Seconds, and how loud the caller and the agent are.
fn wav(path: &Path) -> (f64, f64, f64) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let (spec, len) = (reader.spec(), reader.duration());
    assert_eq!(spec.channels, 2);
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let loud = |channel: usize| {
        let channel = samples.iter().skip(channel).step_by(2);
        channel.map(|it| f64::from(it.unsigned_abs()) / 32_768.0).sum::<f64>() / f64::from(len.max(1))
    };
    (f64::from(len) / f64::from(spec.sample_rate), loud(0), loud(1))
}
