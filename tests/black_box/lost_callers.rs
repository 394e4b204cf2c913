//! Callers of whom nothing is heard any more: the call ends after the configured time, and holds nothing then.

use std::time::Duration;

use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn a_caller_who_never_sends_media_is_hung_up_on() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "2")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Nothing, Duration::from_secs(10));
    assert!(stay.bye.is_some(), "{stay:?}");
    assert!((1.5..5.0).contains(&stay.lasted.as_secs_f32()), "{stay:?}");
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("media_inactive"), "{calls:?}");
}

#[test]
fn a_caller_who_vanishes_holds_nothing() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_millis(500));
    assert!(stay.bye.is_none(), "{stay:?}");
    assert!(!server.metrics().beyond(&before).is_empty());
    // Nobody answers the BYE from here on.
    drop(phone);
    server.settles(&before, Duration::from_secs(45));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("media_inactive"), "{calls:?}");
    assert!(calls[0].closed);
}

#[test]
fn a_caller_who_sends_media_stays() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(4));
    assert!(stay.bye.is_none(), "{stay:?}");
    phone.hang_up();
}

#[test]
fn a_caller_who_only_talks_briefly_too_is_missed() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let mut phone = Phone::call(&server, "100");
    phone.stay(Sends::Silence, Duration::from_secs(2));
    let stay = phone.stay(Sends::Nothing, Duration::from_secs(10));
    assert!(stay.bye.is_some(), "{stay:?}");
    let answer = phone.ask("OPTIONS", &[]);
    assert_eq!(answer.status(), Some(481), "{answer:?}");
}
