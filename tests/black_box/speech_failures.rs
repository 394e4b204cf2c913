//! A speech service that is not there, or goes away: the caller hears an apology, the call ends, and its record says why.

use std::time::Duration;

use hookswitch::server::speech::scripted::Failure;

use crate::journal::{self, Recorded};
use crate::rtp_peer::Sends;
use crate::server_process::{Server, free_port};
use crate::sip_phone::Phone;
use crate::speech_engine::SpeechEngine;

#[test]
fn a_speech_service_that_is_not_there() {
    let url = format!("ws://127.0.0.1:{}", free_port());
    let server = Server::start(&[("AGENTS__TALKER__SPEECH__URL", url.as_str())]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some() && stay.heard.loud > 20, "{stay:?}\n{}", server.log());
    server.settles(&before, Duration::from_secs(10));
    assert_service_failed(&journal::calls(&server.home.data()));
    // Others have a service of their own.
    let mut other = Phone::call(&server, "200");
    let stay = other.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some() && stay.heard.loud > 20, "{stay:?}");
}

#[test]
fn a_speech_service_that_never_answers() {
    // It accepts connections, as the kernel does for a program that is stuck.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = Server::start(&[("AGENTS__TALKER__SPEECH__URL", url.as_str())]);
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(30));
    assert!(stay.bye.is_some() && stay.heard.loud > 20, "{stay:?}\n{}", server.log());
    server.settles(&before, Duration::from_secs(10));
    assert_service_failed(&journal::calls(&server.home.data()));
}

#[test]
fn a_speech_service_that_dies_during_a_call() {
    let engine = SpeechEngine::start(None);
    let server = Server::start(&engine.keys());
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    engine.kill();
    let stay = phone.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some() && stay.heard.loud > 20, "{stay:?}\n{}", server.log());
    server.settles(&before, Duration::from_secs(10));
    assert_service_failed(&journal::calls(&server.home.data()));
}

#[test]
fn a_recogniser_that_is_busy() {
    check(Failure::Busy);
}

#[test]
fn a_synthesiser_that_fails() {
    check(Failure::SynthesiserFails { after: 0 });
}

#[test]
fn a_synthesiser_that_hangs() {
    check(Failure::SynthesiserHangs { after: 0 });
}

/// A call to an agent whose service fails so ends with an apology.
#[track_caller]
fn check(failure: Failure) {
    let engine = SpeechEngine::start(Some(failure));
    let server = Server::start(&engine.keys());
    let before = server.metrics();
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(30));
    assert!(stay.bye.is_some() && stay.heard.loud > 20, "{stay:?}\n{}", server.log());
    server.settles(&before, Duration::from_secs(10));
    assert_service_failed(&journal::calls(&server.home.data()));
}

#[track_caller]
fn assert_service_failed(calls: &[Recorded]) {
    let call = &calls[0];
    assert_eq!(call.end_cause(), Some("service_failed"), "{call:?}");
    let failed = call.all("failed").next().unwrap_or_else(|| panic!("no failure in {call:?}"));
    assert!(!failed["component"].as_str().unwrap().is_empty(), "{call:?}");
    assert!(!failed["reason"].as_str().unwrap().is_empty(), "{call:?}");
}
