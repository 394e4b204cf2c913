//! A server that may open few files: new calls and connections wait or are refused, those that are there go on.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::rtp_peer::Sends;
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

#[test]
fn a_call_that_gets_only_some_of_its_files_is_refused_or_goes_on_without_the_rest() {
    let server = Server::start_with_few_files(FILES, &[("AGENTS__TALKER__RECORDING__ENABLED", "true")]);
    let before = server.metrics();
    let mut first = Phone::call(&server, "100");
    first.hear_sound(20);
    first.hang_up();
    server.settles(&before, Duration::from_secs(20));
    let (most, few) = (usize::try_from(FILES).unwrap(), server.open_files());
    let (mut connections, mut statuses) = (vec![], vec![]);
    for spare in [0, 1, 2, 3, 4, 5, 6, 8, 10, 12] {
        connections.clear();
        assert!(server.wait(ANSWER_MAX, || server.open_files() <= few), "{} files are open", server.open_files());
        // The last ones one by one, so that none waits to take the place of what the call lets go.
        let at_once = most - spare - few - 4;
        connections.extend((0..at_once).map(|_| TcpStream::connect(server.sip).unwrap()));
        assert!(
            server.wait(ANSWER_MAX, || server.open_files() >= few + at_once),
            "{} files are open",
            server.open_files()
        );
        while server.open_files() < most - spare {
            let open = server.open_files();
            connections.push(TcpStream::connect(server.sip).unwrap());
            assert!(server.wait(ANSWER_MAX, || server.open_files() > open), "{open} files are open");
        }
        let mut phone = Phone::udp(&server);
        let status = phone.invite("100").status();
        statuses.push(status);
        if status == Some(200) {
            let stay = phone.stay(Sends::Silence, Duration::from_secs(1));
            assert!(stay.bye.is_some() || stay.heard.packets > 20, "{spare}: {stay:?}\n{}", server.log());
            if stay.bye.is_none() {
                phone.hang_up();
            }
        }
    }
    assert!(statuses.iter().all(|it| matches!(it, Some(200 | 503))), "{statuses:?}");
    assert!(statuses.contains(&Some(200)) && statuses.contains(&Some(503)), "{statuses:?}");
    drop(connections);
    let is_served = server.wait(ANSWER_MAX, || {
        let mut again = Phone::udp(&server);
        let is_answered = again.invite("100").status() == Some(200);
        if is_answered {
            again.hear_sound(20);
            again.hang_up();
        }
        is_answered
    });
    assert!(is_served, "{}", server.log());
    server.settles(&before, Duration::from_secs(20));
}
