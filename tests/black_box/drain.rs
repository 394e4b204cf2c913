//! SIGTERM: no new calls, those in progress come to their end or to the limit, then the server ends well.

use std::time::Duration;

use crate::http_client;
use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn calls_in_progress_come_to_their_end() {
    let mut server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    server.terminate();
    // The signal is noticed a moment later; what is called by then is a call like any other.
    let refused = loop {
        let mut other = Phone::udp(&server);
        let answer = other.invite("100");
        if answer.status() != Some(200) {
            break answer;
        }
        other.hang_up();
    };
    assert_eq!(refused.status(), Some(503), "{refused:?}");
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    assert_eq!(http_client::get(server.http, "/readyz").unwrap().status, 503);
    assert_eq!(http_client::get(server.http, "/healthz").unwrap().status, 200);
    phone.hear(100);
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200));
    phone.hang_up();
    assert_eq!(server.exit_status(Duration::from_secs(15)).code(), Some(0), "{}", server.log());
    let calls = journal::calls(&server.home.data());
    assert!(calls.iter().all(|it| it.closed), "{calls:?}");
    assert_eq!(calls[0].end_cause(), Some("hang_up"), "{calls:?}");
}

#[test]
fn calls_that_outlast_the_limit_are_ended() {
    let mut server = Server::start(&[("DRAIN__LIMIT_S", "2")]);
    let mut phone = Phone::call(&server, "100");
    server.terminate();
    let stay = phone.stay(Sends::Silence, Duration::from_secs(15));
    assert!(stay.bye.is_some(), "{stay:?}\n{}", server.log());
    assert!(stay.lasted > Duration::from_secs(1), "{stay:?}");
    assert_eq!(server.exit_status(Duration::from_secs(15)).code(), Some(0), "{}", server.log());
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("drained"), "{calls:?}");
}

#[test]
fn a_caller_who_does_not_answer_keeps_no_server_alive() {
    let mut server = Server::start(&[("DRAIN__LIMIT_S", "1")]);
    let phone = Phone::call(&server, "100");
    drop(phone);
    server.terminate();
    server.exit_status(Duration::from_secs(50));
    let calls = journal::calls(&server.home.data());
    assert!(calls[0].closed, "{calls:?}");
}
