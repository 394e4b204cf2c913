//! Recordings that are too long to be uploaded as one: parts that fail are sent again, and none are left behind in the bucket.
//!
//! They are what a server that was killed has left behind, so that no test has to talk for minutes.

use std::sync::Arc;
use std::time::Duration;

use crate::bucket::{Bucket, FAILURES, Mode, UPLOADS, WAITING, metric, recording_in, recording_to_google};
use crate::releases::percent_decoded;
use crate::server_process::{Home, Server};
use crate::sip_phone::ANSWER_MAX;

const KEY: &str = "default/call_018bcfe56800000000000000000000aa.wav";
const OBJECT: &str = "/calls/kept/default/call_018bcfe56800000000000000000000aa.wav";
const PART_BYTES: usize = 8 << 20;
const UPLOAD_MAX: Duration = Duration::from_secs(40);

#[test]
fn a_part_that_fails_is_sent_again_and_no_other() {
    let (home, bucket) = (left_behind(2 * PART_BYTES + 5), Bucket::start());
    bucket.be(Mode::SecondFails(2));
    let server = recording_in(&home, &bucket);
    await_uploaded(&server);
    let parts = bucket.parts();
    assert_eq!((parts.begun, parts.second, parts.aborted, metric(&server, FAILURES)), (1, 3, 0, 0.0));
    assert_whole(&bucket, 2 * PART_BYTES + 5);
}

#[test]
fn a_bucket_of_google_gets_parts_as_well() {
    let (home, bucket) = (left_behind(2 * PART_BYTES + 5), Bucket::start());
    bucket.be(Mode::SecondFails(2));
    await_uploaded(&recording_to_google(&home, &bucket));
    let parts = bucket.parts();
    assert_eq!((parts.begun, parts.second, parts.unfinished.len()), (1, 3, 0));
    let objects = bucket.objects();
    let (path, object) = objects.first_key_value().unwrap();
    assert_eq!(percent_decoded(path), OBJECT);
    assert!(*object == content(2 * PART_BYTES + 5), "{} bytes", object.len());
}

#[test]
fn of_an_upload_that_fails_no_parts_are_left_in_the_bucket() {
    let (home, bucket) = (left_behind(2 * PART_BYTES + 5), Bucket::start());
    bucket.be(Mode::SecondForbidden);
    let server = recording_in(&home, &bucket);
    assert!(server.wait(UPLOAD_MAX, || bucket.parts().aborted >= 1), "{}", server.log());
    server.logs("AccessDenied", ANSWER_MAX);
    assert!(bucket.objects().is_empty() && bucket.parts().unfinished.len() <= 1);
    bucket.be(Mode::Up);
    await_uploaded(&server);
    let parts = bucket.parts();
    assert!(parts.unfinished.is_empty() && parts.aborted == parts.begun - 1, "{} {}", parts.begun, parts.aborted);
    assert_whole(&bucket, 2 * PART_BYTES + 5);
}

#[test]
fn a_server_that_stops_in_the_middle_gives_its_parts_up_and_the_next_one_uploads_all() {
    let (home, bucket) = (left_behind(PART_BYTES + 1), Bucket::start());
    bucket.be(Mode::SecondStalls);
    let mut server = recording_in(&home, &bucket);
    assert!(server.wait(UPLOAD_MAX, || bucket.parts().second == 1), "{}", server.log());
    server.terminate();
    assert!(server.exit_status(ANSWER_MAX).success(), "{}", server.log());
    let parts = bucket.parts();
    assert_eq!((parts.aborted, parts.unfinished.len(), bucket.objects().len()), (1, 0, 0), "{}", server.log());
    bucket.be(Mode::Up);
    await_uploaded(&recording_in(&home, &bucket));
    assert_whole(&bucket, PART_BYTES + 1);
}

#[test]
fn after_a_crash_in_the_middle_the_next_server_uploads_all() {
    let (home, bucket) = (left_behind(PART_BYTES + 1), Bucket::start());
    bucket.be(Mode::SecondStalls);
    let mut server = recording_in(&home, &bucket);
    assert!(server.wait(UPLOAD_MAX, || bucket.parts().second == 1), "{}", server.log());
    server.kill();
    bucket.be(Mode::Up);
    await_uploaded(&recording_in(&home, &bucket));
    assert_eq!((bucket.parts().begun, bucket.parts().second), (2, 2));
    assert_whole(&bucket, PART_BYTES + 1);
}

/// The data of a server that was killed while it recorded so much.
fn left_behind(bytes: usize) -> Arc<Home> {
    let home = Home::new();
    let file = home.data().join("recordings-spool/writing").join(KEY);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content(bytes)).unwrap();
    home
}

/// No two parts are alike.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[track_caller]
fn await_uploaded(server: &Server) {
    let is_done = || metric(server, UPLOADS) == 1.0 && metric(server, WAITING) == 0.0;
    assert!(server.wait(UPLOAD_MAX, is_done), "{}", server.log());
}

#[track_caller]
fn assert_whole(bucket: &Bucket, bytes: usize) {
    let objects = bucket.objects();
    assert_eq!(objects.keys().collect::<Vec<_>>(), [OBJECT]);
    assert!(objects[OBJECT] == content(bytes), "{} of {bytes} bytes", objects[OBJECT].len());
}
