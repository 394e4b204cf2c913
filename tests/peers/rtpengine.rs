//! An rtpengine of our own, in user space, ordered about by its `ng` protocol: bencoded dictionaries in datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::server_process::{Process, free_port};

/// See the module.
pub(crate) struct RtpEngine {
    process: Process,
    socket: UdpSocket,
}

impl RtpEngine {
    pub(crate) fn start() -> Self {
        let control = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("rtpengine");
        command.args(["--config-file=none", "--foreground", "--log-stderr", "--table=-1", "--interface=127.0.0.1"]);
        command.args([format!("--listen-ng={control}"), format!("--port-min={}", PORTS.0)]);
        let process = Process::start(command.arg(format!("--port-max={}", PORTS.1)));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(control).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let engine = Self { process, socket };
        engine.send("ping", "d7:command4:pinge");
        engine
    }

    /// Passes a description through; what the other side is to be told, over `protocol`.
    pub(crate) fn ask(&self, command: &str, protocol: &str, sdp: &str) -> String {
        let text = |it: &str| format!("{}:{it}", it.len());
        let to = if command == "answer" { "6:to-tag1:b" } else { "" };
        let reply = self.send(command, &format!(
            "d4:DTLS3:off3:ICE6:remove7:call-id4:test7:command{}8:from-tag1:a7:replacel6:origin18:session-connectione\
             3:sdp{}{to}18:transport-protocol{}e",
            text(command),
            text(sdp),
            text(protocol)
        ));
        let (_, rest) = reply.split_once("3:sdp").unwrap_or_else(|| panic!("{reply}\n{}", self.process.log.text()));
        let (length, rest) = rest.split_once(':').unwrap();
        rest.get(..length.parse().unwrap()).unwrap().to_owned()
    }

    /// What answers a command. The cookie tells repetitions of it from the next one.
    fn send(&self, cookie: &str, command: &str) -> String {
        let mut buffer = [0; 8_192];
        let mut reply = None;
        self.process.log.wait(Duration::from_secs(10), |_| {
            // Until it listens, its port refuses.
            drop(self.socket.send(format!("{cookie} {command}").as_bytes()));
            reply = self.socket.recv(&mut buffer).ok();
            reply.is_some()
        });
        let length = reply.unwrap_or_else(|| panic!("rtpengine says nothing:\n{}", self.process.log.text()));
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

/// Between those of the servers of these tests and the kernel's.
const PORTS: (u16, u16) = (23_000, 23_900);
