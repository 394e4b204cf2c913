//! Recordings that go to a bucket: one that is down in the middle of a call and comes back, and one that refuses for ever.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::http_client;
use crate::journal;
use crate::releases::percent_decoded;
use crate::rtp_peer::Sends;
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};

const KEY: &str = "a key for tests only";

#[test]
fn a_bucket_that_is_down_for_a_while_loses_no_recording_and_disturbs_no_call() {
    let bucket = Bucket::start();
    let server = recording_to(&bucket);
    record_a_call(&server);
    assert!(server.wait(ANSWER_MAX, || metric(&server, UPLOADS) == 1.0), "{}", server.log());
    for mode in [Mode::HangsUp, Mode::Unavailable] {
        let (uploads, failures) = (metric(&server, UPLOADS), metric(&server, FAILURES));
        let mut phone = Phone::call(&server, "100");
        phone.hear_sound(20);
        bucket.be(mode);
        record_a_call(&server);
        assert!(server.wait(ANSWER_MAX, || metric(&server, FAILURES) > failures), "{}", server.log());
        // It fails while this call goes on.
        let stay = phone.stay(Sends::Silence, Duration::from_secs(1));
        assert!(stay.heard.packets > 40 && stay.heard.longest_gap < Duration::from_millis(200), "{stay:?}");
        phone.hang_up();
        assert!(server.wait(ANSWER_MAX, || metric(&server, WAITING) >= 2.0), "{}", server.log());
        assert_eq!(metric(&server, UPLOADS), uploads);
        bucket.be(Mode::Up);
        let is_done = || metric(&server, UPLOADS) >= uploads + 2.0 && metric(&server, WAITING) == 0.0;
        assert!(server.wait(Duration::from_secs(20), is_done), "{}", server.log());
    }
    let objects = bucket.objects();
    let calls = journal::calls(&server.home.data());
    let told: Vec<_> = calls.iter().flat_map(|it| it.all("recording")).collect();
    assert_eq!((objects.len(), told.len()), (5, 5), "{told:?}");
    for recording in told {
        let object = &objects[&format!("/calls/kept/{}", recording["key"].as_str().unwrap())];
        let digest: String = Sha256::digest(object).iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(recording["sha256"].as_str(), Some(digest.as_str()), "it came whole");
    }
}

#[test]
fn a_bucket_that_refuses_for_ever_leaves_recordings_here_and_the_log_says_why() {
    let bucket = Bucket::start();
    bucket.be(Mode::Forbidden);
    let server = recording_to(&bucket);
    record_a_call(&server);
    assert!(server.wait(ANSWER_MAX, || metric(&server, FAILURES) >= 2.0), "{}", server.log());
    server.logs("recordings could not be uploaded, and wait here", ANSWER_MAX);
    assert!(server.log().contains("AccessDenied") && server.log().contains("403"), "{}", server.log());
    assert_eq!((metric(&server, UPLOADS), metric(&server, WAITING)), (0.0, 1.0));
    let calls = journal::calls(&server.home.data());
    let recording = calls[0].all("recording").next().unwrap();
    let file = server.home.data().join("recordings-spool/ready").join(recording["key"].as_str().unwrap());
    let bytes = std::fs::read(&file).unwrap();
    // It can be had from here meanwhile.
    let call = recording["key"].as_str().unwrap().split(['/', '.']).nth(1).unwrap();
    let path = format!("/v1/calls/{call}/recording");
    let got = http_client::get_with(server.http, &path, &format!("Authorization: Bearer {KEY}\r\n")).unwrap();
    assert_eq!(got.status, 200, "{}", got.body);
    assert!(got.bytes == bytes, "{} of {} bytes", got.bytes.len(), bytes.len());
}

#[test]
fn a_recording_that_is_never_taken_holds_up_no_other() {
    let (home, bucket) = (Home::new(), Bucket::start());
    let refused = "default/call_018bcfe56800000000000000000000aa.wav";
    let file = home.data().join("recordings-spool/ready").join(refused);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "never").unwrap();
    bucket.be(Mode::ForbidsOne("call_018bcfe56800000000000000000000aa"));
    let server = recording_in(&home, &bucket);
    // From here on, it is tried every eight seconds at most.
    assert!(server.wait(Duration::from_secs(20), || metric(&server, FAILURES) >= 4.0), "{}", server.log());
    record_a_call(&server);
    assert!(server.wait(Duration::from_secs(4), || metric(&server, UPLOADS) == 1.0), "{}", server.log());
    assert_eq!((metric(&server, WAITING), file.exists()), (1.0, true));
}

#[test]
fn a_bucket_of_google_gets_recordings_as_well() {
    let bucket = Bucket::start();
    let server = recording_to_google(&Home::new(), &bucket);
    record_a_call(&server);
    assert!(server.wait(ANSWER_MAX, || metric(&server, UPLOADS) >= 1.0), "{}", server.log());
    let data = server.home.data();
    assert!(server.wait(ANSWER_MAX, || journal::calls(&data).iter().all(|it| it.closed)));
    let (objects, calls) = (bucket.objects(), journal::calls(&data));
    let recording = calls[0].all("recording").next().unwrap();
    assert_eq!(objects.len(), 1);
    let (path, object) = objects.first_key_value().unwrap();
    assert_eq!(percent_decoded(path), format!("/calls/kept/{}", recording["key"].as_str().unwrap()));
    assert_eq!(recording["bytes"].as_u64().and_then(|it| usize::try_from(it).ok()), Some(object.len()), "{recording}");
}

/// With the data of a server before it.
pub(crate) fn recording_to_google(home: &Arc<Home>, bucket: &Bucket) -> Server {
    let account = format!(
        r#"{{"gcs_base_url": "http://{}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#,
        bucket.address
    );
    let keys = [
        ("AGENTS__TALKER__RECORDING__ENABLED", "true"),
        ("RECORDINGS__URL", "gs://calls/kept"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", &account),
        ("GOOGLE_ALLOW_HTTP", "true"),
    ];
    Server::start_in(home, &keys)
}

fn recording_to(bucket: &Bucket) -> Server {
    recording_in(&Home::new(), bucket)
}

#[test]
fn of_a_recording_that_the_disk_was_too_small_for_the_beginning_is_uploaded() {
    let bucket = Bucket::start();
    let server = Server::start_on_full_disk(200, &keys(&format!("http://{}", bucket.address)));
    let mut phone = Phone::call(&server, "100");
    // At 32 kB a second the file ends after six.
    phone.stay(Sends::Silence, Duration::from_secs(8));
    phone.hear(50);
    phone.hang_up();
    assert!(server.wait(ANSWER_MAX, || metric(&server, UPLOADS) == 1.0), "{}", server.log());
    let data = server.home.data();
    assert!(server.wait(ANSWER_MAX, || journal::calls(&data).iter().all(|it| it.closed)));
    let calls = journal::calls(&data);
    let failed = calls[0].all("failed").next().unwrap_or_else(|| panic!("{calls:?}\n{}", server.log()));
    assert_eq!((failed["component"].as_str(), calls[0].end_cause()), (Some("recorder"), Some("hang_up")));
    let objects = bucket.objects();
    let mut reader = hound::WavReader::new(&objects.values().next().unwrap()[..]).unwrap();
    assert!(reader.duration() > 4 * 8_000 && reader.samples::<i16>().all(|it| it.is_ok()), "{}", reader.duration());
}

/// With the data of a server before it.
pub(crate) fn recording_in(home: &Arc<Home>, bucket: &Bucket) -> Server {
    Server::start_in(home, &keys(&format!("http://{}", bucket.address)))
}

fn keys(endpoint: &str) -> [(&str, &str); 8] {
    [
        ("AGENTS__TALKER__RECORDING__ENABLED", "true"),
        ("RECORDINGS__URL", "s3://calls/kept"),
        ("HTTP__API_KEY", KEY),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "tests only"),
        ("AWS_REGION", "us-east-1"),
    ]
}

#[track_caller]
fn record_a_call(server: &Server) {
    let mut phone = Phone::call(server, "100");
    phone.hear_sound(20);
    phone.hang_up();
}

pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    server.metrics().value(name).unwrap_or_else(|| panic!("no {name}"))
}

pub(crate) const UPLOADS: &str = "hookswitch_recording_uploads_total";
pub(crate) const FAILURES: &str = "hookswitch_recording_upload_failures_total";
pub(crate) const WAITING: &str = "hookswitch_recording_uploads_waiting";

/// As much of S3 as uploads need, whole and in parts.
pub(crate) struct Bucket {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    objects: BTreeMap<String, Vec<u8>>,
    parts: Parts,
}

/// What there is of uploads in parts.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    /// How many have been begun, and how many of them given up.
    pub(crate) begun: usize,
    pub(crate) aborted: usize,
    /// The parts that have come, by the number of their upload.
    pub(crate) unfinished: BTreeMap<usize, BTreeMap<u32, Vec<u8>>>,
    /// How often the second part was asked to be taken.
    pub(crate) second: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Up,
    /// Connections are closed unanswered.
    HangsUp,
    Unavailable,
    Forbidden,
    /// One object is refused, by what is in its name.
    ForbidsOne(&'static str),
    /// The second part of everything fails so often.
    SecondFails(usize),
    /// The second part of everything is refused.
    SecondForbidden,
    /// Nothing is heard of the second part of anything.
    SecondStalls,
}

impl Bucket {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream.unwrap(), &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn be(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().objects.clone()
    }

    pub(crate) fn parts(&self) -> Parts {
        self.state.lock().unwrap().parts.clone()
    }
}

/// Serves one request; nothing if it is not a whole one.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, text) = answer(&head, body, state)?;
    let answer = format!(
        "HTTP/1.1 {status}\r\nETag: \"x\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    (&mut &*stream).write_all(answer.as_bytes()).ok()
}

/// Status and body of the answer to a request; none, if the connection ends without one.
fn answer(head: &str, body: Vec<u8>, state: &Mutex<State>) -> Option<(&'static str, String)> {
    let mut state = state.lock().ok()?;
    let mut start = head.split(' ');
    let (method, target) = (start.next()?, start.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let value = |name: &str| query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let part: Option<u32> = value("partNumber").and_then(|it| it.parse().ok());
    let upload: Option<usize> = value("uploadId").and_then(|it| it.parse().ok());
    let refused = || "<Error><Code>AccessDenied</Code><Message>You may not write here.</Message></Error>".to_owned();
    state.parts.second += usize::from(part == Some(2));
    match state.mode {
        Mode::HangsUp => return None,
        Mode::Unavailable => return Some(("503 Service Unavailable", String::new())),
        Mode::Forbidden => return Some(("403 Forbidden", refused())),
        Mode::ForbidsOne(name) if path.contains(name) => return Some(("403 Forbidden", refused())),
        Mode::SecondFails(times) if part == Some(2) && state.parts.second <= times => {
            return Some(("503 Service Unavailable", String::new()));
        }
        Mode::SecondForbidden if part == Some(2) => return Some(("403 Forbidden", refused())),
        Mode::SecondStalls if part == Some(2) => {
            drop(state);
            loop {
                std::thread::park();
            }
        }
        Mode::Up | Mode::ForbidsOne(_) | Mode::SecondFails(_) | Mode::SecondForbidden | Mode::SecondStalls => {}
    }
    let text = match (method, part, upload) {
        ("PUT", None, _) => {
            state.objects.insert(path.to_owned(), body);
            String::new()
        }
        ("PUT", Some(part), Some(upload)) => {
            state.parts.unfinished.entry(upload).or_default().insert(part, body);
            String::new()
        }
        ("POST", None, None) => {
            state.parts.begun += 1;
            let id = state.parts.begun;
            state.parts.unfinished.insert(id, BTreeMap::new());
            format!(
                "<InitiateMultipartUploadResult><Bucket>calls</Bucket><Key>k</Key><UploadId>{id}</UploadId>\
                 </InitiateMultipartUploadResult>"
            )
        }
        ("POST", None, Some(upload)) => {
            let whole = state.parts.unfinished.remove(&upload)?.into_values().flatten().collect();
            state.objects.insert(path.to_owned(), whole);
            "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>".to_owned()
        }
        ("DELETE", None, Some(upload)) => {
            state.parts.aborted += usize::from(state.parts.unfinished.remove(&upload).is_some());
            String::new()
        }
        _ => String::new(),
    };
    Some(("200 OK", text))
}
