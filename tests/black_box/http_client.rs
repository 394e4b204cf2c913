//! A request over HTTP/1.1 on a connection of its own, and what `/metrics` says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

/// `None` if there is no server, or not an answer.
pub(crate) fn get(server: SocketAddr, path: &str) -> Option<Answer> {
    get_with(server, path, "")
}

/// As [`get`], with more header lines.
pub(crate) fn get_with(server: SocketAddr, path: &str, headers: &str) -> Option<Answer> {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{headers}\r\n"))
}

/// Sends JSON, with an API key.
#[track_caller]
pub(crate) fn post(server: SocketAddr, path: &str, key: &str, json: &str) -> Answer {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        json.len()
    );
    ask(server, &(head + json)).expect("it is answered")
}

/// Another method, with more header lines and a body.
pub(crate) fn send(server: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<Answer> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    ask(server, &(head + body))
}

fn ask(server: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let bytes = bytes.split_off(end + 4);
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Some(Answer { status: head.split(' ').nth(1)?.parse().ok()?, head, body, bytes })
}

/// Reads `/metrics`.
#[track_caller]
pub(crate) fn metrics(server: SocketAddr) -> Metrics {
    let answer = get(server, "/metrics").expect("/metrics answers");
    assert_eq!(answer.status, 200);
    Metrics::parse(&answer.body)
}

/// The samples of the Prometheus text format, by name and labels as written.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    samples: BTreeMap<String, f64>,
    gauges: BTreeSet<String>,
}

impl Metrics {
    fn parse(text: &str) -> Self {
        let gauge = |line: &str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" gauge")?.to_owned());
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self {
            samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect(),
            gauges: text.lines().filter_map(gauge).collect(),
        }
    }

    /// What calls hold (calls, dialogs, media ports, tasks …) more of than in `before`.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let held = |sample: &str| HELD.contains(&sample.split('{').next().unwrap());
        let was = |sample: &str| before.samples.get(sample).copied().unwrap_or(0.0);
        self.samples
            .iter()
            .filter(|(sample, value)| held(sample) && **value > was(sample))
            .map(|(sample, value)| format!("{sample}: {} before, {value} after", was(sample)))
            .collect()
    }

    /// One sample, by its name and labels as written.
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        self.samples.get(sample).copied()
    }

    /// What is not zero, for a test that fails.
    pub(crate) fn shown(&self) -> String {
        let shown = |(sample, value): (&String, &f64)| format!("{sample} {value}\n");
        self.samples.iter().filter(|(sample, value)| **value != 0.0 && !sample.contains("_bucket")).map(shown).collect()
    }

    /// Tasks that ended by a panic.
    pub(crate) fn panics(&self) -> Vec<&String> {
        let panicked = |(sample, value): &(&String, &f64)| sample.starts_with(PANICS) && **value > 0.0;
        self.samples.iter().filter(panicked).map(|(sample, _)| sample).collect()
    }

    /// Whether there is all that is compared, so that comparing it says something.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        for name in HELD {
            assert!(self.gauges.contains(name), "no gauge {name} among {:?}", self.gauges);
        }
    }
}

/// Transactions are not among them: they wait out 32 seconds (RFC 3261 §17).
const HELD: [&str; 7] = [
    "hookswitch_calls",
    "hookswitch_sip_dialogs",
    "hookswitch_rtp_sessions",
    "hookswitch_media_ports_in_use",
    "hookswitch_decoders_in_use",
    "hookswitch_decoders_waiting",
    "hookswitch_tasks",
];
const PANICS: &str = "hookswitch_task_panics_total";
