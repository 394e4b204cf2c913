//! sipsak, as operators probe servers with it.

use std::process::{Command, Output};
use std::time::Duration;

use crate::baresip::PASSWORD;
use crate::server_process::{Home, Process, Server, free_port};
use crate::telephones::USERS;

#[test]
fn options_are_answered_on_both_transports() {
    let server = Server::start(&[]);
    for transport in ["udp", "tcp"] {
        let output = sipsak(&["-E", transport, "-vv", "-s", &format!("sip:100@{}", server.sip)]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("SIP/2.0 200 OK"), "{transport}: {text}");
    }
}

#[test]
fn a_registration_needs_the_password() {
    // sipsak writes the first four digits of a port into its URIs, so what it signs is not what it asks for otherwise.
    let server = Server::start_at(&Home::new(), four_digit_port(), free_port(), &USERS);
    let register = |password: &str| {
        let (contact, uri) = ("sip:alice@127.0.0.1:9999", format!("sip:alice@{}", server.sip));
        sipsak(&["-U", "-C", contact, "-u", "alice", "-a", password, "-x", "60", "-s", &uri])
    };
    assert!(!register("wrong").status.success());
    let output = register(PASSWORD);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn trashed_messages_leave_the_server_at_work() {
    let server = Server::start(&[]);
    let uri = format!("sip:100@{}", server.sip);
    // It sends until nothing is answered, which is when too much is trashed; how far it gets is not the matter.
    let trash = Process::start(Command::new("sipsak").args(["-R", "-t", "400", "-s", &uri]));
    trash.log.wait(Duration::from_secs(5), |log| log.is_over());
    drop(trash);
    let output = sipsak(&["-s", &uri]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    server.metrics();
}

fn sipsak(arguments: &[&str]) -> Output {
    Command::new("sipsak").args(arguments).output().expect("sipsak is installed")
}

fn four_digit_port() -> u16 {
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        std::net::UdpSocket::bind(address).is_ok() && std::net::TcpListener::bind(address).is_ok()
    };
    (5_100..9_990).rev().find(is_free).expect("a port is free")
}
