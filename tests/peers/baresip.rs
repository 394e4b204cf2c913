//! A baresip of our own, ordered about by its `ctrl_tcp` module: JSON in netstrings.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
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
}

/// A running baresip.
pub(crate) struct Baresip {
    process: Process,
    control: TcpStream,
    unread: Vec<u8>,
    home: Arc<Home>,
}

/// As the server's users have it in these tests.
pub(crate) const PASSWORD: &str = "secret";

impl Baresip {
    /// Starts it and waits until it can be ordered about.
    pub(crate) fn start(account: &Account<'_>) -> Self {
        let home = Home::new();
        let control = free_port();
        write_tone(&home.path().join("tone.wav"), account.tone_hz);
        std::fs::write(home.path().join("config"), configuration(&home, control)).unwrap();
        std::fs::write(home.path().join("accounts"), account_line(account)).unwrap();
        let process = Process::start(Command::new("baresip").arg("-v").arg("-f").arg(home.path()));
        let address = SocketAddr::from(([127, 0, 0, 1], control));
        let mut stream = None;
        process.log.wait(LIMIT, |_| {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        let control = stream.unwrap_or_else(|| panic!("baresip does not listen:\n{}", process.log.text()));
        control.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { process, control, unread: vec![], home }
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
        let registered = self.process.log.wait(LIMIT, |_| self.log().contains("200 OK"));
        assert!(registered, "no registration:\n{}", self.log());
    }

    /// What it heard in its last call: samples at 8 kHz. The file is complete once the call is over.
    #[track_caller]
    pub(crate) fn heard(&self) -> Vec<i16> {
        let files = std::fs::read_dir(self.home.path()).unwrap().map(|it| it.unwrap().path());
        let heard = files.filter(|it| it.to_string_lossy().ends_with("-dec.wav")).max();
        let mut reader =
            hound::WavReader::open(heard.unwrap_or_else(|| panic!("no recording:\n{}", self.log()))).unwrap();
        assert_eq!(reader.spec().sample_rate, 8000);
        reader.samples().map(Result::unwrap).collect()
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

fn configuration(home: &Home, control: u16) -> String {
    let directory = home.path().display();
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
{modules}module_tmp account.so
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

fn write_tone(path: &std::path::Path, tone_hz: f64) {
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
