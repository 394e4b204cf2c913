//! A server of our own: the real binary with a temporary directory, ended by its process id when the test ends.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::http_client::{self, Metrics};

/// How long a server may take to start: the build under test is a slow one, on a busy machine.
const START_MAX: Duration = Duration::from_secs(40);

/// A running server.
pub(crate) struct Server {
    process: Process,
    /// SIP, on UDP and TCP.
    pub(crate) sip: SocketAddr,
    /// HTTP.
    pub(crate) http: SocketAddr,
    /// Where its data directory is. Shared with a server that is started after this one.
    pub(crate) home: Arc<Home>,
}

/// A directory that goes with its last user.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hookswitch-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Arc::new(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left behind in the system's temporary directory disturbs nobody.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Server {
    /// Starts a server and waits until it is ready. `keys` are configuration keys as `SECTION__KEY` and their values,
    /// over those of `hookswitch.toml` in this directory.
    pub(crate) fn start(keys: &[(&str, &str)]) -> Self {
        Self::start_in(&Home::new(), keys)
    }

    /// As [`Server::start`], with the data of a server before it.
    pub(crate) fn start_in(home: &Arc<Home>, keys: &[(&str, &str)]) -> Self {
        Self::start_at(home, free_port(), free_port(), keys)
    }

    /// As [`Server::start`], where no file may grow beyond so many kilobytes: a disk that is full.
    pub(crate) fn start_on_full_disk(kilobytes: u32, keys: &[(&str, &str)]) -> Self {
        // Without the signal, writing fails.
        Self::start_limited(&format!("trap '' XFSZ; ulimit -f {}", kilobytes * 2), keys)
    }

    /// As [`Server::start`], with no more than so many files and sockets open at a time.
    pub(crate) fn start_with_few_files(files: u32, keys: &[(&str, &str)]) -> Self {
        Self::start_limited(&format!("ulimit -n {files}"), keys)
    }

    /// After `limits`, in the words of the shell.
    fn start_limited(limits: &str, keys: &[(&str, &str)]) -> Self {
        let (home, sip, http) = (Home::new(), free_port(), free_port());
        let plain = serve(&home, &Self::configuration(), sip, http, keys);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\""));
        command.arg(plain.get_program()).args(plain.get_args()).current_dir(home.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self::begin(&mut command, &home, sip, http)
    }

    /// As [`Server::start_in`], at given ports.
    pub(crate) fn start_at(home: &Arc<Home>, sip: u16, http: u16, keys: &[(&str, &str)]) -> Self {
        Self::start_with(home, &Self::configuration(), sip, http, keys)
    }

    fn configuration() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/black_box/hookswitch.toml")
    }

    /// As [`Server::start_at`], with another configuration.
    pub(crate) fn start_with(
        home: &Arc<Home>,
        configuration: &Path,
        sip: u16,
        http: u16,
        keys: &[(&str, &str)],
    ) -> Self {
        Self::begin(&mut serve(home, configuration, sip, http, keys), home, sip, http)
    }

    fn begin(command: &mut Command, home: &Arc<Home>, sip: u16, http: u16) -> Self {
        let process = Process::start(command);
        let server = Self { process, sip: loopback(sip), http: loopback(http), home: Arc::clone(home) };
        let ready = server.process.log.wait(START_MAX, |_| {
            assert!(!server.process.has_ended(), "the server ended at its start:\n{}", server.log());
            http_client::get(server.http, "/readyz").is_some_and(|answer| answer.status == 200)
        });
        assert!(ready, "the server is not ready after {START_MAX:?}:\n{}", server.log());
        server
    }

    /// What it has printed and logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log.text()
    }

    /// `/metrics`, after which no task may have panicked.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        let metrics = http_client::metrics(self.http);
        assert!(metrics.panics().is_empty(), "{:?}\n{}", metrics.panics(), self.log());
        metrics
    }

    /// Waits until everything that calls hold is as little as in `before`.
    #[track_caller]
    pub(crate) fn settles(&self, before: &Metrics, limit: Duration) {
        let mut more = vec![];
        let settled = self.process.log.wait(limit, |_| {
            more = self.metrics().beyond(before);
            more.is_empty()
        });
        assert!(settled, "still held after {limit:?}: {more:?}\n{}", self.log());
    }

    /// The CPU time that it has used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id())).unwrap();
        // The name in brackets may hold spaces; user and system time are the 12th and 13th after it, in hundredths.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.child.id())).unwrap().count()
    }

    /// Has it look at its files again.
    pub(crate) fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// Waits until it has logged `text`.
    #[track_caller]
    pub(crate) fn logs(&self, text: &str, limit: Duration) {
        let logged = self.process.log.wait(limit, |_| self.log().contains(text));
        assert!(logged, "no {text:?} in\n{}", self.log());
    }

    /// Asks `is_so` several times a second, until it is or `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
        self.process.log.wait(limit, |_| is_so())
    }

    /// Asks it to drain.
    pub(crate) fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit_status(&mut self, limit: Duration) -> ExitStatus {
        self.process.exit_status(limit)
    }
}

/// `hookswitch serve` that is not expected to run: its exit status and what it printed.
#[track_caller]
pub(crate) fn serve_and_fail(home: &Home, sip: u16, http: u16, keys: &[(&str, &str)]) -> String {
    let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/black_box/hookswitch.toml");
    run_and_fail(&mut serve(home, &configuration, sip, http, keys))
}

/// Runs a command that must fail, and returns what it printed.
#[track_caller]
pub(crate) fn run_and_fail(command: &mut Command) -> String {
    let mut process = Process::start(command);
    let status = process.exit_status(START_MAX);
    // The log ends a moment after the process.
    process.log.wait(Duration::from_secs(5), |log| log.is_over());
    let text = process.log.text();
    assert!(!status.success(), "it ended well:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// The binary, without the variables of whoever runs the test.
pub(crate) fn hookswitch() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookswitch"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOOKSWITCH_") {
            command.env_remove(name);
        }
    }
    command
}

fn serve(home: &Home, configuration: &Path, sip: u16, http: u16, keys: &[(&str, &str)]) -> Command {
    let mut command = hookswitch();
    command.arg("serve").arg("--config").arg(configuration).current_dir(home.path());
    command.env("HOOKSWITCH_SIP__LISTEN", format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip}"));
    command.env("HOOKSWITCH_HTTP__LISTEN", format!("127.0.0.1:{http}"));
    command.env("HOOKSWITCH_DATA__DIRECTORY", home.data());
    command.env("HOOKSWITCH_RTP__PORTS", rtp_ports(60));
    for (key, value) in keys {
        // What all programs take from their environment is named as they do.
        let is_common = ["AWS_", "GOOGLE_"].iter().any(|it| key.starts_with(it));
        command.env(if is_common { (*key).to_owned() } else { format!("HOOKSWITCH_{key}") }, value);
    }
    command
}

/// Media ports that no other server of these tests has, as `[rtp] ports` takes them.
pub(crate) fn rtp_ports(count: u16) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Whoever wants very many is alone in doing so, and has them where nobody else comes round to.
    let first =
        if count >= RTP_MANY { RTP_LAST - count } else { next_of(&NEXT, count, RTP_FIRST..RTP_LAST - RTP_MOST) };
    format!("{first}-{}", first + count - 1)
}

/// A port that is free for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..100 {
        // Not those that the kernel gives to sockets without a wish: one of them could get it before a server does. Programs
        // that run at the same time begin elsewhere.
        let port = next_of(&NEXT, 1, PORTS_FIRST..RTP_FIRST);
        let offset = u16::try_from(std::process::id() % u32::from(RTP_FIRST - PORTS_FIRST)).unwrap();
        let port = PORTS_FIRST + (port - PORTS_FIRST + offset) % (RTP_FIRST - PORTS_FIRST);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port");
}

/// So many ports in a row, of all in turn.
fn next_of(next: &AtomicU16, count: u16, all: Range<u16>) -> u16 {
    let first = |after: u16| if after.max(all.start) + count > all.end { all.start } else { after.max(all.start) };
    let before = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(first(it) + count));
    first(before.unwrap())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A process of ours, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) log: Arc<Log>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::<Log>::default();
        log.read(child.stdout.take().unwrap());
        log.read(child.stderr.take().unwrap());
        Self { child, log }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    fn has_ended(&self) -> bool {
        // Both ends of its output are closed when it ends, and not before.
        self.log.state.lock().unwrap().sources == 0
    }

    #[track_caller]
    pub(crate) fn exit_status(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        self.log.wait(limit, |_| {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("no end after {limit:?}:\n{}", self.log.text()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- log of process {}\n{}---", self.child.id(), self.log.text());
        }
    }
}

/// What a process prints, as it comes. Bounded: of a very long log the beginning is forgotten.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<Printed>,
    grew: Condvar,
}

#[derive(Default)]
pub(crate) struct Printed {
    text: String,
    sources: u32,
}

impl Printed {
    /// Whether nothing can come any more: the process has closed its output.
    pub(crate) const fn is_over(&self) -> bool {
        self.sources == 0
    }
}

impl Log {
    fn read(self: &Arc<Self>, mut source: impl Read + Send + 'static) {
        self.state.lock().unwrap().sources += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                let mut state = log.state.lock().unwrap();
                state.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                if state.text.len() > LOG_BYTES_MAX {
                    let kept = state.text.chars().skip(LOG_BYTES_MAX / 2).collect();
                    state.text = kept;
                }
                log.grew.notify_all();
            }
            log.state.lock().unwrap().sources -= 1;
            log.grew.notify_all();
        });
    }

    pub(crate) fn text(&self) -> String {
        self.state.lock().unwrap().text.clone()
    }

    /// Asks `is_so` whenever the log grows and several times a second, until it is or `limit` has passed.
    pub(crate) fn wait(&self, limit: Duration, mut is_so: impl FnMut(&Printed) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            // The question may look at the log itself, so the lock is not held while it is asked.
            let printed = {
                let state = self.state.lock().unwrap();
                Printed { text: String::new(), sources: state.sources }
            };
            if is_so(&printed) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            drop(self.grew.wait_timeout(self.state.lock().unwrap(), ASK_EVERY).unwrap());
        }
    }
}

/// Outside of what the kernel gives to sockets without a wish, and of what a server takes by default.
const RTP_FIRST: u16 = 24_000;
/// From here on to those of media, whatever else servers listen on. SIPp scenarios have those below.
const PORTS_FIRST: u16 = 20_000;
const RTP_LAST: u16 = 32_700;
const RTP_MANY: u16 = 1_000;
const RTP_MOST: u16 = 4_000;
const LOG_BYTES_MAX: usize = 1 << 20;
const ASK_EVERY: Duration = Duration::from_millis(50);
