//! Recordings of a server that died: the next one finds them, tells of them, and gives them out.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bucket::{Bucket, UPLOADS, metric, recording_in};
use crate::rtp_peer::Sends;
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::{http_client, journal};

const KEY: &str = "a key for tests only";

#[test]
fn a_wav_that_a_crash_cut_off_can_be_had_after_the_restart() {
    check(&[("HTTP__API_KEY", KEY), ("AGENTS__TALKER__RECORDING__ENABLED", "true")], "wav");
}

#[test]
fn an_mp3_that_a_crash_cut_off_can_be_had_after_the_restart() {
    let mp3 = ("AGENTS__TALKER__RECORDING__FORMAT", "mp3");
    check(&[("HTTP__API_KEY", KEY), ("AGENTS__TALKER__RECORDING__ENABLED", "true"), mp3], "mp3");
}

#[test]
fn a_recording_for_a_bucket_that_a_crash_cut_off_gets_there_and_the_call_tells_of_it() {
    let (home, bucket) = (Home::new(), Bucket::start());
    let call = die_in_a_call(recording_in(&home, &bucket));
    let server = recording_in(&home, &bucket);
    let recording = told(&server, &call, "wav");
    assert!(server.wait(ANSWER_MAX, || metric(&server, UPLOADS) == 1.0), "{}", server.log());
    let objects = bucket.objects();
    let object = &objects[&format!("/calls/kept/{}", recording["key"].as_str().unwrap())];
    assert_eq!(recording["sha256"].as_str(), Some(digest(object).as_str()));
    let again = get(&server, &format!("/v1/calls/{call}"));
    assert_eq!(again["recordings"].as_array().unwrap().len(), 1, "{again}");
}

fn check(keys: &[(&str, &str)], format: &str) {
    let home = Home::new();
    let call = die_in_a_call(Server::start_in(&home, keys));
    let server = Server::start_in(&home, keys);
    let recording = told(&server, &call, format);
    let path = format!("/v1/calls/{call}/recording");
    let got = http_client::get_with(server.http, &path, &format!("Authorization: Bearer {KEY}\r\n")).unwrap();
    assert_eq!((got.status, got.bytes.len() as u64), (200, recording["bytes"].as_u64().unwrap()), "{recording}");
    assert_eq!(recording["sha256"].as_str(), Some(digest(&got.bytes).as_str()));
    // The next start finds nothing more.
    drop(server);
    let calls = journal::calls(&Server::start_in(&home, keys).home.data());
    assert_eq!((calls[0].all("recording").count(), calls[0].all("settled").count()), (1, 1), "{calls:?}");
}

/// The call in which it died, of some three seconds.
fn die_in_a_call(mut server: Server) -> String {
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    phone.stay(Sends::Silence, Duration::from_secs(3));
    let call = get(&server, "/v1/calls?state=live")["calls"][0]["call"].as_str().unwrap().to_owned();
    server.kill();
    call
}

/// What the record says of its recording.
#[track_caller]
fn told(server: &Server, call: &str, format: &str) -> Value {
    let record = get(server, &format!("/v1/calls/{call}"));
    let recording = record["recordings"][0].clone();
    assert_eq!((recording["format"].as_str(), recording["cut_off"].as_bool()), (Some(format), Some(true)), "{record}");
    let [start_ms, length_ms, talk_ms] =
        [&recording["start_ms"], &recording["duration_ms"], &record["talk_ms"]].map(|it| it.as_u64().unwrap());
    assert!(start_ms < 1_000 && (1_500..10_000).contains(&length_ms), "{record}");
    // It shows that the call was alive when nothing else did any more.
    assert!(talk_ms.abs_diff(start_ms + length_ms) < 1_000, "{record}");
    let events = get(server, &format!("/v1/calls/{call}/events"));
    let kinds: Vec<_> = events["events"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert!(kinds.ends_with(&["recording", "settled"]), "{kinds:?}");
    recording
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let got = http_client::get_with(server.http, path, &format!("Authorization: Bearer {KEY}\r\n")).unwrap();
    assert_eq!(got.status, 200, "{}", got.body);
    serde_json::from_str(&got.body).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|it| format!("{it:02x}")).collect()
}
