//! SIP over TCP: messages are cut out of the stream by their length, however it is sliced (RFC 3261 §18.3, RFC 5626
//! §4.4.1).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone, Wire};

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start(&[]);
    let mut phone = Phone::tcp(&server);
    let request = phone.request("OPTIONS", &[], "");
    for byte in request.as_bytes() {
        phone.wire.send(&[*byte]);
    }
    assert_eq!(phone.wire.receive(ANSWER_MAX).unwrap().status(), Some(200));
}

#[test]
fn several_requests_may_come_in_one_segment() {
    let server = Server::start(&[]);
    let mut phone = Phone::tcp(&server);
    let mut bytes = String::new();
    for number in 1..=5 {
        phone.cseq = number;
        bytes += &phone.request("OPTIONS", &["Content-Type: text/plain"], "some words");
        bytes += "\r\n\r\n";
    }
    phone.wire.send(bytes.as_bytes());
    let mut answered: Vec<_> = (0..5)
        .map(|_| {
            let answer = phone.wire.receive(ANSWER_MAX).unwrap();
            answer.header("CSeq").unwrap().to_owned()
        })
        .collect();
    answered.sort();
    assert_eq!(answered, (1..=5).map(|number| format!("{number} OPTIONS")).collect::<Vec<_>>());
}

#[test]
fn a_call_over_a_stream() {
    let server = Server::start(&[]);
    let before = server.metrics();
    let mut phone = Phone::tcp(&server);
    assert_eq!(phone.invite("100").status(), Some(200));
    phone.hear_sound(20);
    phone.hang_up();
    drop(phone);
    server.settles(&before, Duration::from_secs(10));
}

#[test]
fn keep_alives_are_answered() {
    let server = Server::start(&[]);
    let mut stream = connect(&server);
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[test]
fn a_peer_that_has_said_all_it_has_to_say_is_still_answered() {
    let server = Server::start(&[]);
    let phone = Phone::tcp(&server);
    let request = phone.request("OPTIONS", &[], "");
    let Wire::Tcp { mut stream, .. } = phone.wire else { unreachable!() };
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
}

#[test]
fn a_stream_of_garbage_is_closed_and_only_that() {
    let server = Server::start(&[]);
    let mut phone = Phone::tcp(&server);
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200));
    for garbage in [vec![b'A'; 200_000], vec![0; 200_000], b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec()] {
        let mut stream = connect(&server);
        // The server may close it before all is written.
        drop(stream.write_all(&garbage));
        let mut rest = vec![];
        let ended = stream.read_to_end(&mut rest);
        let is_open = ended.is_err_and(|error| matches!(error.kind(), std::io::ErrorKind::WouldBlock));
        assert!(!is_open, "the connection is still open after {} bytes of garbage", garbage.len());
    }
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200));
}

#[test]
fn idle_and_slow_connections_keep_nobody_out() {
    let server = Server::start(&[]);
    let idle: Vec<_> = (0..150).map(|_| connect(&server)).collect();
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.").unwrap();
            stream
        })
        .collect();
    Phone::assert_served(&server);
    let answer = Phone::tcp(&server).ask("OPTIONS", &[]);
    assert_eq!(answer.status(), Some(200));
    drop((idle, slow));
}

#[test]
fn calls_of_a_stream_that_breaks_end() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let before = server.metrics();
    for _ in 0..10 {
        let mut phone = Phone::tcp(&server);
        phone.cseq = 1;
        let offer = phone.sdp("sendrecv");
        let request = phone.request("INVITE", &["Content-Type: application/sdp"], &offer);
        phone.wire.send(request.as_bytes());
    }
    server.settles(&before, Duration::from_secs(45));
    Phone::assert_served(&server);
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server.sip, ANSWER_MAX).unwrap();
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    stream
}
