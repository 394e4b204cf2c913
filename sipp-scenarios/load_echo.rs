//! The physical limit beside which `load` prints its figures: `echo PORT` sends every datagram back, one system call to
//! read and one to write it, and `ask PORT SECONDS` has as many of them on the way as fit and counts.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|it| it.parse::<u16>().ok()).expect("a number");
    match arguments.get(1).map(String::as_str) {
        Some("echo") => echo(number(2)),
        Some("ask") => ask(number(2), Duration::from_secs(number(3).into())),
        _ => eprintln!("load_echo echo PORT | ask PORT SECONDS"),
    }
}

fn echo(port: u16) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the port is free");
    let mut buffer = [0; 2048];
    loop {
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..len], from).ok();
        }
    }
}

fn ask(port: u16, duration: Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(("127.0.0.1", port)).expect("an address");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let (datagram, mut buffer) = ([b'x'; BYTES], [0; 2048]);
    let (start, mut answered) = (Instant::now(), 0_u64);
    for _ in 0..WINDOW {
        socket.send(&datagram).ok();
    }
    while start.elapsed() < duration {
        if socket.recv(&mut buffer).is_ok() {
            answered += 1;
        }
        socket.send(&datagram).ok();
    }
    println!("{}", answered * 1000 / u64::try_from(start.elapsed().as_millis()).unwrap_or(1).max(1));
}

/// About what a message of the scenario `answer` has.
const BYTES: usize = 520;
const WINDOW: usize = 32;
