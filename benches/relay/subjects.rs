//! What is measured: each a process of its own on the first core, ended by its own id.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hookswitch::codec::AudioCodec;
use hookswitch::server::batched_udp::{Poll, ReceiveBatch, SendBatch};

use crate::signalling::{Telephones, media_address, sdp};
use crate::streams::{Coding, Streams};

const RTP_PORTS: (u16, u16) = (16_384, 23_999);
const API_KEY: &str = "bench-0123456789abcdef";
/// Ports shared by many legs.
const SHARED: &str = "[media]\nshared_port = 15000\n";
const RTPENGINE_PORTS: (u16, u16) = (24_000, 31_999);

/// A process through which all calls have been set up.
pub(crate) struct Subject {
    child: Child,
    /// Before the first call, and when half of them had been set up.
    resident_kib: u64,
    half_kib: u64,
    directory: Option<PathBuf>,
}

impl Subject {
    /// Starts it and sets up the calls of `streams`; `None` if it is not installed.
    pub(crate) fn start(name: &str, streams: &mut Streams) -> Option<Self> {
        match name {
            "bare" => Some(Self::role(streams, &["bare"], None)),
            "legs" => Some(Self::legs(streams, "none")),
            "legs-energy" => Some(Self::legs(streams, "energy")),
            "legs-neural" => Some(Self::legs(streams, "neural")),
            "rtpengine" => Self::rtpengine(streams),
            "hookswitch" => Self::hookswitch(streams, ""),
            "shared" => Self::hookswitch(streams, SHARED),
            other => panic!("there is no subject `{other}`"),
        }
    }

    fn new(child: Child) -> Self {
        Self { child, resident_kib: 0, half_kib: 0, directory: None }
    }

    fn legs(streams: &mut Streams, voice: &str) -> Self {
        let is_recorded = std::env::var_os("RELAY_RECORD").is_some();
        let directory = std::env::temp_dir().join(format!("hookswitch-legs-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory takes one more");
        let place = if is_recorded { directory.display().to_string() } else { "-".to_owned() };
        Self::role(streams, &["legs", voice, &place], Some(directory))
    }

    /// This program in another role, which is told the ports of the telephones and prints one for each.
    fn role(streams: &mut Streams, role: &[&str], directory: Option<PathBuf>) -> Self {
        let program = std::env::current_exe().expect("Linux knows the program");
        let mut command = on_first_core(&program);
        command.args(role);
        for call in 0..streams.calls() {
            command.args([streams.address(0, call).port().to_string(), streams.address(1, call).port().to_string()]);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started again");
        let mut subject = Self::new(child);
        subject.directory = directory;
        let mut lines = BufReader::new(subject.child.stdout.take().expect("its output is a pipe")).lines();
        for call in 0..streams.calls() {
            for side in 0..2 {
                let line = lines.next().and_then(Result::ok).expect("it prints its ports");
                let port = line.parse::<u16>().expect("a port");
                streams.set_peer(side, call, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            }
        }
        subject.resident_kib = subject.resident();
        subject
    }

    fn rtpengine(streams: &mut Streams) -> Option<Self> {
        let program = Path::new("/usr/bin/rtpengine");
        if !program.is_file() {
            return None;
        }
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = on_first_core(program);
        command.args(["--config-file=none", "--foreground", "--table=-1", "--interface=127.0.0.1", "--log-level=2"]);
        command.args([format!("--listen-ng={control}"), format!("--port-min={}", RTPENGINE_PORTS.0)]);
        command.args([format!("--port-max={}", RTPENGINE_PORTS.1), "--log-stderr".to_owned()]);
        let mut subject = Self::new(command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().ok()?);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
        socket.connect(control).expect("loopback is there");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket can time out");
        ask(&socket, "ping", "d7:command4:pinge");
        subject.resident_kib = subject.resident();
        let codings = streams.codings();
        let transcode = if codings[0] == codings[1] { String::new() } else { transcoded(codings[1]) };
        for call in 0..streams.calls() {
            subject.note_half(call, streams.calls());
            let fields = |command: &str, to: &str, media, coding| {
                let (id, sdp) = (format!("relay{call}"), sdp(media, coding));
                format!(
                    "d3:ICE6:remove7:call-id{}:{id}7:command{}:{command}8:from-tag1:a7:replacel6:origine3:sdp{}:{sdp}{to}e",
                    id.len(),
                    command.len(),
                    sdp.len()
                )
            };
            let offer =
                ask(&socket, &format!("o{call}"), &fields("offer", &transcode, streams.address(0, call), codings[0]));
            let answer = ask(
                &socket,
                &format!("a{call}"),
                &fields("answer", "6:to-tag1:b", streams.address(1, call), codings[1]),
            );
            streams.set_peer(1, call, media_address(&offer));
            streams.set_peer(0, call, media_address(&answer));
        }
        Some(subject)
    }

    fn hookswitch(streams: &mut Streams, more: &str) -> Option<Self> {
        let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/hookswitch");
        let binary = std::env::var_os("HOOKSWITCH_BIN").map_or_else(built, PathBuf::from);
        if !binary.is_file() {
            return None;
        }
        let directory = std::env::temp_dir().join(format!("hookswitch-relay-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory takes one more");
        let mut telephones = Telephones::new();
        let (sip, http) = (free_port(), free_port());
        let configuration = format!(
            "[sip]\nlisten = [\"udp://127.0.0.1:{sip}\"]\nmax_calls = 2000\n[rtp]\nports = \"{}-{}\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\napi_key = \"{API_KEY}\"\n[capture]\nenabled = {ladders}\n[speech]\nenabled = false\n[agents.nobody]\npathway = \"builtin:demo\"\n\
             [agents.nobody.speech]\nurl = \"ws://127.0.0.1:9\"\ntoken = \"none\"\n[data]\ndirectory = \"data\"\n\
             [log]\nlevel = \"warn\"\n{more}[trunks.load]\n{exact}uri = \"sip:{called}\"\nsources = [\"127.0.0.1/32\"]\noptions_s = 0\n\
             [numbers.\"400\"]\nuri = \"sip:400@{called}\"\n",
            RTP_PORTS.0,
            RTP_PORTS.1,
            ladders = !is_off("RELAY_LADDERS"),
            called = telephones.called(),
            exact = if more.is_empty() { "" } else { "media_addresses = \"exact\"\n" },
        );
        fs::write(directory.join("hookswitch.toml"), configuration).expect("the directory is ours");
        let log = fs::File::create(directory.join("log")).expect("the directory is ours");
        let mut command = on_first_core(&binary);
        command.args(["serve", "--config", "hookswitch.toml"]).current_dir(&directory).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the file is open")).stderr(log);
        let mut subject = Self::new(command.spawn().expect("it can be started"));
        subject.directory = Some(directory.clone());
        let is_ready = (0..300).any(|_| {
            std::thread::park_timeout(Duration::from_millis(100));
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, http)).is_ok()
        });
        assert!(is_ready, "{}", fs::read_to_string(directory.join("log")).unwrap_or_default());
        telephones.set_server(SocketAddr::from((Ipv4Addr::LOCALHOST, sip)));
        subject.resident_kib = subject.resident();
        for call in 0..streams.calls() {
            subject.note_half(call, streams.calls());
            let media = [0, 1].map(|side| streams.address(side, call));
            for (side, peer) in telephones.call(call, media, streams.codings()).into_iter().enumerate() {
                streams.set_peer(side, call, peer);
            }
        }
        if std::env::var_os("RELAY_RECORD").is_some() {
            record_all(SocketAddr::from((Ipv4Addr::LOCALHOST, http)), streams.calls());
        }
        Some(subject)
    }

    fn note_half(&mut self, call: usize, calls: usize) {
        if call == calls / 2 {
            self.half_kib = self.resident();
        }
    }

    /// Of all its threads so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        // The second field is a name in brackets, which may hold anything; the 14th and 15th are hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        Duration::from_millis(fields.filter_map(|it| it.parse::<u64>().ok()).sum::<u64>() * 10)
    }

    pub(crate) fn memory_kib_per_call(&self, calls: usize) -> f64 {
        self.resident().saturating_sub(self.resident_kib) as f64 / calls as f64
    }

    /// Of the second half of the calls: what comes with the first ones is there by then.
    pub(crate) fn memory_kib_per_further_call(&self, calls: usize) -> f64 {
        self.resident().saturating_sub(self.half_kib) as f64 / (calls - calls / 2) as f64
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself, and what is left behind in the temporary directory disturbs nobody.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.directory.take().map(fs::remove_dir_all));
    }
}

/// The bare relay: for each pair of ports of the telephones two sockets, and what comes to one leaves from the other.
pub(crate) fn forward(ports: &[String]) {
    let peer = |it: &String| SocketAddr::from((Ipv4Addr::LOCALHOST, it.parse::<u16>().expect("a port")));
    let peers: Vec<_> = ports.iter().map(peer).collect();
    let mut poll = Poll::new().expect("epoll");
    let mut sockets = vec![];
    for token in 0..peers.len() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
        poll.add(socket.as_fd(), token as u64).expect("epoll");
        println!("{}", socket.local_addr().expect("it is bound").port());
        sockets.push(socket);
    }
    std::thread::spawn(|| {
        // Whoever started this one holds the other end, so this ends with it whatever happens.
        drop(std::io::stdin().read_to_end(&mut vec![]));
        std::process::exit(0);
    });
    let (mut receive, mut send) = (ReceiveBatch::new(), SendBatch::new());
    let mut ready: Vec<usize> = vec![];
    loop {
        ready.clear();
        ready.extend(poll.wait(None).expect("epoll").map(|it| it.token as usize));
        for from in &ready {
            let to = from ^ 1;
            receive.receive(sockets[*from].as_fd()).expect("a socket can be read");
            for (_, datagram) in receive.iter() {
                send.push(|buffer| {
                    buffer.get_mut(..datagram.len())?.copy_from_slice(datagram);
                    Some((peers[to], datagram.len()))
                });
            }
            send.send(sockets[to].as_fd());
        }
    }
}

/// Has every call recorded, as an operator would.
fn record_all(http: SocketAddr, calls: usize) {
    let all = (0..100).find_map(|_| {
        // The latest calls may not be in the journal yet.
        std::thread::park_timeout(Duration::from_millis(100));
        Some(live_calls(http)).filter(|it| it.len() == calls)
    });
    for call in all.expect("every call is listed") {
        request(http, "POST", &format!("/v1/calls/{call}/recording"), r#"{"action": "start", "consent": "given"}"#);
    }
}

fn live_calls(http: SocketAddr) -> Vec<String> {
    let (mut cursor, mut all) = (String::new(), vec![]);
    loop {
        let list = request(http, "GET", &format!("/v1/calls?limit=100&state=live{cursor}"), "");
        let list: serde_json::Value = serde_json::from_str(&list).expect("the list is JSON");
        let calls = list["calls"].as_array().expect("it has calls").iter();
        all.extend(calls.map(|it| it["call"].as_str().expect("a call has a name").to_owned()));
        match list["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The body of the answer to a request that succeeds.
fn request(http: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(http).expect("it listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nAuthorization: Bearer {API_KEY}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
    answer.split_once("\r\n\r\n").map(|it| it.1.to_owned()).unwrap_or_default()
}

fn is_off(setting: &str) -> bool {
    std::env::var(setting).is_ok_and(|it| it == "0")
}

/// Leaves the first core to what is measured.
pub(crate) fn pin_this_process() {
    let id = std::process::id().to_string();
    drop(Command::new("taskset").args(["-a", "-c", "-p", "1", &id]).stdout(Stdio::null()).status());
}

fn on_first_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// What has rtpengine offer another codec; Opus as we have it: 24,000 bit/s, complexity 5.
fn transcoded(coding: Coding) -> String {
    let setting = std::env::var("RELAY_RTPENGINE_OPUS").unwrap_or_else(|_| "opus/48000/2/24000".to_owned());
    let name = if coding.codec == AudioCodec::Opus { &setting } else { coding.rtpmap().trim_end_matches("/8000") };
    format!("5:codecd9:transcodel{}:{name}ee", name.len())
}

/// The reply to a command of rtpengine's `ng` protocol, as it comes.
fn ask(socket: &UdpSocket, cookie: &str, command: &str) -> String {
    let mut buffer = [0; 8_192];
    for _ in 0..20 {
        drop(socket.send(format!("{cookie} {command}").as_bytes()));
        if let Ok(len) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.starts_with(&format!("{cookie} ")) {
                return text;
            }
        } else {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    panic!("rtpengine does not answer `{command}`");
}

/// A port that is free for UDP and TCP.
fn free_port() -> u16 {
    let free = (0..100).find_map(|_| {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).is_ok().then_some(address.port())
    });
    free.expect("there are ports left")
}
