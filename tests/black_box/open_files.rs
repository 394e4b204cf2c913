//! A server that may open few files: new calls and connections wait or are refused, those that are there go on.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};

const FILES: u32 = 96;

#[test]
fn when_no_more_sockets_can_be_opened_new_calls_are_refused_and_others_go_on() {
    let server = Server::start_with_few_files(FILES, &[]);
    let before = server.metrics();
    let mut call = Phone::call(&server, "100");
    call.hear_sound(20);
    // Connections take what calls would need.
    let mut connections = vec![];
    let is_full = server.wait(ANSWER_MAX, || {
        connections.extend((0..20).map(|_| TcpStream::connect(server.sip).unwrap()));
        server.open_files() >= usize::try_from(FILES).unwrap()
    });
    assert!(is_full, "{} files are open", server.open_files());

    let mut refused = Phone::udp(&server);
    let answer = refused.invite("100");
    assert_eq!(answer.status(), Some(503), "{answer:?}\n{}", server.log());
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    // Many more wait to be accepted than can be.
    let (begin, used) = (Instant::now(), server.cpu_time());
    call.hear(100);
    let busy = (server.cpu_time() - used).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!(busy < 0.5, "{busy} of a core is used up");
    call.hang_up();

    drop(connections);
    let mut again = Phone::udp(&server);
    let is_served = server.wait(ANSWER_MAX, || {
        again = Phone::udp(&server);
        again.invite("100").status() == Some(200)
    });
    assert!(is_served, "{}", server.log());
    again.hear_sound(20);
    again.hang_up();
    let mut over_tcp = Phone::tcp(&server);
    assert_eq!(over_tcp.ask("OPTIONS", &[]).status(), Some(200));
    drop(over_tcp);
    server.settles(&before, Duration::from_secs(20));
}
