//! A baresip of our own, ordered about by its `ctrl_tcp` module: JSON in netstrings.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server_process::{Home, Process, free_port, rtp_ports};

/// Who it is and how it reaches the server.
pub(crate) struct Account<'a> {
    /// Its user name; its password is [`PASSWORD`].
    pub(crate) user: &'a str,
    /// Where the server is.
    pub(crate) server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub(crate) transport: &'a str,
    /// A proxy that every request goes to first.
    pub(crate) proxy: Option<SocketAddr>,
    /// More parameters, such as `;mediaenc=srtp`.
    pub(crate) parameters: &'a str,
    /// What it speaks: a sine of so many Hz.
    pub(crate) tone_hz: f64,
    /// The authority that the certificate of a server on TLS must be from.
    pub(crate) authority: Option<&'a Path>,
}

impl<'a> Account<'a> {
    /// One that goes straight to the server and speaks [`TONE_HZ`].
    pub(crate) const fn new(user: &'a str, server: SocketAddr, transport: &'a str) -> Self {
        Self { user, server, transport, proxy: None, parameters: "", tone_hz: TONE_HZ, authority: None }
    }
}

/// A running baresip.
pub(crate) struct Baresip {
    process: Process,
    control: TcpStream,
    unread: Vec<u8>,
    home: Arc<Home>,
    server: SocketAddr,
}

/// As the server's users have it in these tests.
pub(crate) const PASSWORD: &str = "secret";

/// What a telephone speaks.
pub(crate) const TONE_HZ: f64 = 440.0;

impl Baresip {
    /// Starts it and waits until it can be ordered about.
    pub(crate) fn start(account: &Account<'_>) -> Self {
        let home = Home::new();
        let control = free_port();
        write_tone(&home.path().join("tone.wav"), account.tone_hz);
        std::fs::write(home.path().join("config"), configuration(&home, control, account)).unwrap();
        std::fs::write(home.path().join("accounts"), account_line(account)).unwrap();
        let process = Process::start(Command::new("baresip").args(["-v", "-s", "-f"]).arg(home.path()));
        let address = SocketAddr::from(([127, 0, 0, 1], control));
        let mut stream = None;
        process.log.wait(LIMIT, |_| {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        let control = stream.unwrap_or_else(|| panic!("baresip does not listen:\n{}", process.log.text()));
        control.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { process, control, unread: vec![], home, server: account.server }
    }

    /// Gives an order, such as `dial` with an address.
    #[track_caller]
    pub(crate) fn order(&mut self, command: &str, parameters: &str) {
        let order = json!({"command": command, "params": parameters}).to_string();
        write!(self.control, "{}:{order},", order.len()).unwrap();
        let answer = self.wait(|it| it["response"] == true);
        assert_eq!(answer["ok"], true, "{command} {parameters}: {answer}\n{}", self.log());
    }

    /// Waits for an event of this type.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        self.wait(|it| it["type"] == kind)
    }

    /// Waits until the server has taken its registration.
    #[track_caller]
    pub(crate) fn is_registered(&self) {
        assert!(self.registers(LIMIT), "no registration:\n{}", self.log());
    }

    /// Whether the server takes its registration within `limit`.
    pub(crate) fn registers(&self, limit: Duration) -> bool {
        self.process.log.wait(limit, |_| self.log().contains("[1 binding]"))
    }

    /// What it heard in its last call: samples at 8 kHz. The file is complete once the call is over.
    #[track_caller]
    pub(crate) fn heard(&self) -> Vec<i16> {
        let heard = self.recordings().pop().unwrap_or_else(|| panic!("no recording:\n{}", self.log()));
        let mut reader = hound::WavReader::open(heard).unwrap();
        assert_eq!(reader.spec().sample_rate, 8000);
        reader.samples().map(Result::unwrap).collect()
    }

    /// Waits until it has heard nothing but `tone_hz` for `duration`. It records what it hears until its audio is stopped for
    /// the first time, by a hold of either side.
    #[track_caller]
    pub(crate) fn hears(&self, tone_hz: f64, duration: Duration) {
        let windows = usize::try_from(duration.as_millis() / 20).unwrap();
        // What came before counts as little as what comes now.
        let before = self.samples();
        let is_heard = self.process.log.wait(LIMIT, |_| {
            let tail = self.tail(windows * WINDOW);
            self.samples() >= before + windows * WINDOW && tail.chunks(WINDOW).all(|it| is_tone(it, Some(tone_hz)))
        });
        let heard = shape(&self.tail(8_000), &[tone_hz]);
        assert!(is_heard, "{tone_hz} Hz is `a` in {heard}, of {before} and {} samples\n{}", self.samples(), self.log());
    }

    /// How many samples it has recorded in its last call.
    fn samples(&self) -> usize {
        let bytes = self.recordings().pop().map_or(0, |it| std::fs::metadata(it).unwrap().len());
        usize::try_from(bytes).unwrap().saturating_sub(WAV_HEADER_BYTES) / 2
    }

    /// The last samples that it has recorded, of those that are on the disk.
    pub(crate) fn latest(&self, samples: usize) -> Vec<i16> {
        self.tail(samples)
    }

    /// The last samples that it has recorded; the header of the file is not looked at, as it is written at the end.
    fn tail(&self, samples: usize) -> Vec<i16> {
        let Some(file) = self.recordings().pop() else { return vec![] };
        let bytes = std::fs::read(file).unwrap();
        let data = bytes.get(WAV_HEADER_BYTES..).unwrap_or_default();
        let data = data.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]]));
        let skipped = data.len().saturating_sub(samples);
        data.skip(skipped).collect()
    }

    fn recordings(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.home.path()).unwrap().map(|it| it.unwrap().path());
        let mut files: Vec<_> = files.filter(|it| it.to_string_lossy().ends_with("-dec.wav")).collect();
        files.sort();
        files
    }

    /// How it dials `user`: where it is registered itself.
    pub(crate) fn address_of(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.server)
    }

    /// What a Replaces names its first answered call to `user` by, looking at its log from `seen` bytes on.
    #[track_caller]
    pub(crate) fn replaces_since(&self, seen: usize, user: &str) -> String {
        let log = self.log().split_off(seen);
        let to = format!("To: <sip:{user}@");
        let messages = log.split("SIP/2.0 200 OK").skip(1).map(|it| it.split("\r\n\r\n").next().unwrap());
        let mut answers = messages.filter(|it| it.contains(&to) && it.contains(" INVITE"));
        let answer = answers.next().unwrap_or_else(|| panic!("no answer of {user}:\n{log}"));
        let value = |name: &str, mark: &str| {
            let line = answer.lines().find(|it| it.starts_with(name)).unwrap_or_default();
            line.split(mark).nth(1).unwrap_or_default().to_owned()
        };
        let (id, ours, theirs) = (value("Call-ID:", ": "), value("From:", ";tag="), value("To:", ";tag="));
        format!("{id}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{ours}")
    }

    pub(crate) fn log(&self) -> String {
        self.process.log.text()
    }

    #[track_caller]
    fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            while let Some(message) = self.next_message() {
                if is_it(&message) {
                    return message;
                }
            }
            let mut buffer = [0; 4096];
            if let Ok(length @ 1..) = self.control.read(&mut buffer) {
                self.unread.extend_from_slice(&buffer[..length]);
            }
        }
        panic!("baresip says nothing more:\n{}", self.log());
    }

    fn next_message(&mut self) -> Option<Value> {
        let colon = self.unread.iter().position(|it| *it == b':')?;
        let length: usize = std::str::from_utf8(&self.unread[..colon]).unwrap().parse().unwrap();
        let end = colon + 1 + length;
        if self.unread.len() <= end {
            return None;
        }
        let message = serde_json::from_slice(&self.unread[colon + 1..end]).unwrap();
        self.unread.drain(..=end);
        Some(message)
    }
}

/// What was heard, as a letter for each tone of `tones` (`a` is the first) and `?` for anything else, each written once for
/// as long as it lasts. Silence is left out, and what lasts less than a tenth of a second.
pub(crate) fn shape(samples: &[i16], tones: &[f64]) -> String {
    let mut shape = String::new();
    let (mut last, mut windows) = (' ', 0);
    for window in samples.chunks_exact(WINDOW) {
        let tone = ('a'..).zip(tones).find(|(_, hz)| is_tone(window, Some(**hz)));
        let letter = match tone {
            Some((letter, _)) => letter,
            None if is_tone(window, None) => continue,
            None => '?',
        };
        windows = if letter == last { windows + 1 } else { 1 };
        last = letter;
        if windows == 5 && !shape.ends_with(letter) {
            shape.push(letter);
        }
    }
    shape
}

/// How many windows of 20 ms between the first and the last with `tone_hz` hold anything else, and how many there are.
pub(crate) fn gaps(samples: &[i16], tone_hz: f64) -> (usize, usize) {
    let windows: Vec<_> = samples.chunks_exact(WINDOW).map(|it| is_tone(it, Some(tone_hz))).collect();
    let (Some(first), Some(last)) = (windows.iter().position(|it| *it), windows.iter().rposition(|it| *it)) else {
        return (0, 0);
    };
    let between = &windows[first..=last];
    (between.iter().filter(|it| !**it).count(), between.len())
}

/// Whether 20 ms are a loud sine of `tone_hz`, or silence.
fn is_tone(window: &[i16], tone_hz: Option<f64>) -> bool {
    match tone_hz {
        Some(tone_hz) => rms(window) > 0.1 && share_of_tone(window, tone_hz) > 0.9,
        None => rms(window) < 0.002,
    }
}

/// The loudness of `samples`, 1 being that of the loudest square wave.
pub(crate) fn rms(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|it| (f64::from(*it) / 32768.0).powi(2)).sum();
    (energy / samples.len().max(1) as f64).sqrt()
}

/// Which share of the energy of `samples`, taken at 8 kHz, is at `tone_hz`.
pub(crate) fn share_of_tone(samples: &[i16], tone_hz: f64) -> f64 {
    let (mut re, mut im, mut energy) = (0.0, 0.0, 0.0);
    for (index, sample) in samples.iter().enumerate() {
        let (value, angle) = (f64::from(*sample), std::f64::consts::TAU * tone_hz * index as f64 / 8000.0);
        re += value * angle.cos();
        im += value * angle.sin();
        energy += value * value;
    }
    2.0 * (re * re + im * im) / (energy.max(1.0) * samples.len().max(1) as f64)
}

fn configuration(home: &Home, control: u16, account: &Account<'_>) -> String {
    let directory = home.path().display();
    let authority = account.authority.map_or_else(String::new, |it| format!("sip_cafile {}\n", it.display()));
    let modules: String =
        ["g711", "aufile", "aubridge", "sndfile", "uuid", "srtp"].map(|it| format!("module {it}.so\n")).concat();
    format!(
        "poll_method epoll
net_interface 127.0.0.1
sip_listen 127.0.0.1:0
audio_player aubridge,player
audio_alert aubridge,alert
audio_source aufile,{directory}/tone.wav
audio_buffer 20-160
rtp_ports {ports}
snd_path {directory}
module_path {MODULES}
{authority}{modules}module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
",
        ports = rtp_ports(20),
    )
}

fn account_line(account: &Account<'_>) -> String {
    let Account { user, server, transport, proxy, parameters, .. } = account;
    let outbound = proxy.map_or_else(String::new, |it| format!(";outbound=\"sip:{it};transport={transport};lr\""));
    format!(
        "<sip:{user}@{server};transport={transport}>;auth_user={user};auth_pass={PASSWORD};regint=60;\
         answermode=manual;audio_codecs=pcmu/8000/1{outbound}{parameters}\n"
    )
}

fn write_tone(path: &Path, tone_hz: f64) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for index in 0..8000 * TONE_S {
        let angle = std::f64::consts::TAU * tone_hz * f64::from(index) / 8000.0;
        #[expect(clippy::cast_possible_truncation, reason = "a third of full scale")]
        writer.write_sample((angle.sin() * 10_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

const LIMIT: Duration = Duration::from_secs(20);
const MODULES: &str = "/usr/lib/baresip/modules";
const TONE_S: u32 = 60;
/// 20 ms.
const WINDOW: usize = 160;
const WAV_HEADER_BYTES: usize = 44;
