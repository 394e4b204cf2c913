//! Callers who are there but say nothing: they are asked, then told goodbye.

use std::time::Duration;

use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn a_silent_caller_is_asked_and_then_told_goodbye() {
    let server = Server::start(&[("AGENTS__TALKER__IDLE_PROMPT_S", "1")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(45));
    assert!(stay.bye.is_some(), "{stay:?}");
    // The first words, two questions and the goodbye.
    assert!(stay.heard.bursts >= 4, "{stay:?}");
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("caller_idle"), "{calls:?}");
    let said = calls[0].all("said").filter(|it| it["role"] == "agent").count();
    assert!(said >= 4, "{calls:?}");
}

#[test]
fn the_agent_hangs_up_after_its_last_words() {
    let server = Server::start(&[]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "200");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some() && stay.heard.loud > 30, "{stay:?}");
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("conversation_ended"), "{calls:?}");
    let said: Vec<_> = calls[0].all("said").map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(said.join(" "), "Nobody is here. Goodbye.");
}

#[test]
fn a_call_ends_when_it_has_lasted_as_long_as_it_may() {
    let server = Server::start(&[("AGENTS__TALKER__MAX_DURATION_S", "3")]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some(), "{stay:?}");
    assert!(stay.lasted < Duration::from_secs(12), "{stay:?}");
    server.settles(&before, Duration::from_secs(10));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls[0].end_cause(), Some("duration_limit"), "{calls:?}");
}
