//! A server that dies without a word: what had ended is on record, what had not is settled at the next start.

use std::time::{Duration, Instant};

use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn records_survive_and_open_calls_are_settled() {
    let mut server = Server::start(&[]);
    let mut finished = Phone::call(&server, "200");
    let stay = finished.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some(), "{stay:?}");
    let mut running = Phone::call(&server, "100");
    running.stay(Sends::Silence, Duration::from_secs(2));
    server.kill();

    let killed = Instant::now();
    let again = Server::start_at(&server.home, server.sip.port(), server.http.port(), &[]);
    let calls = journal::calls(&again.home.data());
    assert_eq!(calls.len(), 2, "{calls:?}");
    let [whole, cut] = &calls[..] else { unreachable!() };
    for kind in ["offered", "answered", "said", "ended"] {
        assert!(whole.has(kind), "no {kind}: {whole:?}");
    }
    assert!(whole.closed && !whole.has("settled"), "{whole:?}");
    assert!(cut.closed && cut.has("offered") && cut.has("answered") && cut.has("settled"), "{cut:?}");
    assert!(!cut.has("ended"), "{cut:?}");

    // The dialog died with its server; the port is served again.
    assert_eq!(running.ask("BYE", &[]).status(), Some(481));
    Phone::call(&again, "100").hang_up();
    assert!(killed.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_second_crash_settles_nothing_twice() {
    let mut server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    phone.stay(Sends::Silence, Duration::from_millis(500));
    server.kill();
    let mut again = Server::start_in(&server.home, &[]);
    again.kill();
    let third = Server::start_in(&server.home, &[]);
    let calls = journal::calls(&third.home.data());
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].all("settled").count(), 1, "{calls:?}");
}
