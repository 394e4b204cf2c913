//! The other processes: the server, the speech peer and the echo, each ended by its own id when its handle is dropped;
//! and what Linux says of a process (proc(5)).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hookswitch::agent::provider::secret::Secret;
use hookswitch::server::clock;
use hookswitch::server::speech::scripted::{Script, Scripted};
use hookswitch::server::speech::{SpeechConfig, SpeechServer};

/// A process of ours.
pub(crate) struct Process(Child);

impl Process {
    /// This program in another role, and the address that it prints first. It ends when its input does.
    pub(crate) fn role(role: &str) -> (Self, SocketAddr) {
        let program = std::env::current_exe().expect("Linux knows the program");
        let mut child = Command::new(program)
            .arg(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        output.read_line(&mut line).expect("its output is text");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("`{role}` says `{line}`"));
        (Self(child), address)
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display())))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|it| it.is_some())
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn terminate(&mut self) {
        let id = self.0.id().to_string();
        drop(Command::new("kill").args(["-TERM", &id]).status());
        for _ in 0..300 {
            if self.has_ended() {
                return;
            }
            pause(Duration::from_millis(100));
        }
    }

    /// Processor time so far, of all its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        // The second field is a name in brackets, which may hold anything; the 14th and 15th are hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        Duration::from_millis(fields.filter_map(|it| it.parse::<u64>().ok()).sum::<u64>() * 10)
    }

    /// As [`Process::processor_time`], to the nanosecond, by the name of a thread without its number; of the threads
    /// that are alive.
    pub(crate) fn thread_times(&self) -> BTreeMap<String, Duration> {
        let mut times = BTreeMap::<_, Duration>::new();
        for task in fs::read_dir(self.path("task")).into_iter().flatten().flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let name = name.trim().trim_end_matches(|it: char| it.is_ascii_digit()).trim_end_matches('-');
            let statistics = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let spent = Duration::from_nanos(numbers(&statistics).first().copied().unwrap_or(0));
            *times.entry(name.to_owned()).or_default() += spent;
        }
        times
    }

    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(self.path("task")).map_or(0, Iterator::count)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn path(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(file)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `hookswitch serve` with an agent that speaks and hears through the speech peer.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) sip: SocketAddr,
    http: SocketAddr,
    directory: PathBuf,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(binary: &Path, speech: SocketAddr, calls: usize) -> Self {
        let directory = std::env::temp_dir().join(format!("agent-calls-{}-{calls}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory takes one more");
        let (sip, http) = (free_port(), free_port());
        let configuration = format!(
            "[sip]\nlisten = [\"udp://{sip}\"]\nopen = \"loopback\"\nmax_calls = {}\n[rtp]\nports = \"16384-23999\"\n\
             [http]\nlisten = \"{http}\"\n[speech]\nenabled = false\n[data]\ndirectory = \"data\"\n\
             [log]\nlevel = \"warn\"\n[agents.desk]\npathway = \"desk.toml\"\nidle_prompt_s = 600\n\
             [agents.desk.speech]\nurl = \"ws://{speech}\"\ntoken = \"{TOKEN}\"\n",
            calls + 10,
        );
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("the directory is ours");
        write("hookswitch.toml", &configuration);
        write("desk.toml", PATHWAY);
        let log = File::create(directory.join("log")).expect("the directory is ours");
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os().filter(|(it, _)| it.to_string_lossy().starts_with("HOOKSWITCH_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--config", "hookswitch.toml"]).current_dir(&directory).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the file is open")).stderr(log);
        let mut server = Self { process: Process::start(&mut command), sip, http, directory };
        let ready = (0..200).any(|_| {
            pause(Duration::from_millis(100));
            server.process.has_ended() || server.get("/readyz").starts_with("HTTP/1.1 200")
        });
        assert!(ready && !server.process.has_ended(), "the server does not start:\n{}", server.log());
        server
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it has logged; nothing, if all went well.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The samples of `/metrics`, by name and labels as written.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics");
        let samples = page.lines().filter(|it| !it.starts_with('#')).filter_map(|it| it.rsplit_once(' '));
        samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    fn get(&self, path: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.http, HTTP_LIMIT)?;
            stream.set_read_timeout(Some(HTTP_LIMIT))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.terminate();
        // What is left behind in the system's temporary directory disturbs nobody.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The role of the speech peer: recognises the same words each turn, speaks noise, each after its configured time.
pub(crate) fn speech_peer() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let script = Script {
        texts: vec!["when are you open".to_owned()],
        result_after: RESULT_AFTER,
        audio_after: AUDIO_AFTER,
        ..Script::default()
    };
    let server = SpeechServer::start_scripted(SpeechConfig::new(Secret::new(TOKEN)), Scripted::new(script));
    let server = runtime.block_on(server).expect("any port of the loopback interface");
    say(server.address());
    wait_for_the_end_of_input();
}

/// The role of the echo: what receiving and sending as many packets costs at least, with one system call for each.
pub(crate) fn echo() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
    say(socket.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..len], from));
        }
    });
    wait_for_the_end_of_input();
}

fn say(address: SocketAddr) {
    println!("{address}");
}

/// The process that started this one holds the other end, so this ends with it whatever happens.
fn wait_for_the_end_of_input() {
    drop(std::io::stdin().read_to_end(&mut vec![]));
}

pub(crate) fn pause(time: Duration) {
    let until = clock::now().instant + time;
    loop {
        let left = until.saturating_duration_since(clock::now().instant);
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// A port that is free for UDP and TCP.
fn free_port() -> SocketAddr {
    let free = (0..100).find_map(|_| {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address)
    });
    free.expect("there are ports left")
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// What the speech peer takes for a result.
pub(crate) const RESULT_AFTER: Duration = Duration::from_millis(80);
/// What the speech peer takes for the first audio of a sentence.
pub(crate) const AUDIO_AFTER: Duration = Duration::from_millis(120);
const HTTP_LIMIT: Duration = Duration::from_secs(5);
const TOKEN: &str = "agent-calls";
const PATHWAY: &str = r#"
[pathway]
name = "desk"
start = "talk"
greeting = "Good morning, how can I help?"

[intents.hours]
phrases = ["when are you open"]

[nodes.talk]
kind = "listen"
on = { hours = "hours" }

[nodes.hours]
kind = "say"
say = "We are open from nine to five."
next = "talk"
"#;
