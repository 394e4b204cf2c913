//! A browser as a telephone: SIP over a websocket (RFC 7118), media by ICE and DTLS-SRTP. `run.mjs` drives a headless
//! Chromium; `scripts/setup.sh run test` installs it and Node.js. It calls the server's own agent ([`calls`]), or registers
//! and is called ([`called`]), also as one of several ([`among_others`]).
#![cfg(feature = "server")]
#![expect(clippy::disallowed_methods, reason = "real programs are waited for on a real clock")]
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic, reason = "a test may fail anywhere")]
#![expect(clippy::print_stderr, reason = "a test that fails shows what the programs said")]
#![expect(clippy::indexing_slicing, reason = "a test may fail anywhere")]

#[path = "../peers/authority.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod authority;
#[path = "../black_box/carrier.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod carrier;
#[path = "../black_box/coded_voice.rs"]
mod coded_voice;
#[path = "../black_box/http_client.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod http_client;
#[path = "../black_box/rtp_peer.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rtp_peer;
#[path = "../black_box/server_process.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod server_process;
#[path = "../black_box/sip_phone.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sip_phone;
#[path = "../black_box/tone_peer.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod tone_peer;

mod among_others;
mod called;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use authority::Secured;
use serde_json::Value;
use server_process::{Process, free_port};

#[test]
fn a_browser_hears_the_greeting_in_opus_and_hangs_up() {
    calls(Socket::Secure, &["to=sip:100@127.0.0.1", "codec=opus", "ends=us"]);
}

#[test]
fn a_browser_presses_a_key_in_mu_law_and_is_hung_up_on() {
    calls(Socket::Secure, &["to=sip:300@127.0.0.1", "codec=PCMU", "keys=1", "ends=them"]);
}

#[test]
fn a_browser_whose_microphone_beeps_from_the_beginning_is_greeted() {
    calls(Socket::Plain, &["to=sip:100@127.0.0.1", "codec=opus", "ends=us", "noise=1"]);
}

#[test]
fn of_a_call_with_a_browser_the_round_trip_is_known_and_how_we_sound_there() {
    let record = calls(Socket::Plain, &["to=sip:100@127.0.0.1", "codec=opus", "ends=us", "stays=9"]);
    let media = &record["media"][0];
    let number = |name: &str| media[name].as_u64().unwrap_or_else(|| panic!("no {name}: {media}"));
    assert!((1..1_000).contains(&number("round_trip_ms")), "{media}");
    assert!(number("far_packets_lost") < 50 && number("far_jitter_us") < 200_000, "{media}");
    assert!(number("far_mos_hundredths") > 300, "{media}");
    assert!(media["jitter_buffer"]["because"]["least_ms"] == 20, "{media}");
}

#[derive(PartialEq, Eq)]
enum Socket {
    Plain,
    Secure,
}

/// Returns the record of the call.
fn calls(socket: Socket, parameters: &[&str]) -> Value {
    let _alone = alone();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ws, wss) = (free_port(), free_port());
    let menu = root.join("sipp-scenarios/menu.toml");
    let sockets = format!("ws://127.0.0.1:{ws},wss://127.0.0.1:{wss}");
    let secured = Secured::start_with(
        &sockets,
        &[
            ("AGENTS__MENU__PATHWAY", menu.to_str().unwrap()),
            ("AGENTS__MENU__IDLE_PROMPT_S", "600"),
            ("NUMBERS__300__AGENT", "menu"),
            ("SIP__ORIGINS", "*"),
            ("HTTP__API_KEY", KEY),
        ],
    );
    let before = secured.server.metrics();
    let sip = if socket == Socket::Plain { format!("ws://127.0.0.1:{ws}") } else { format!("wss://127.0.0.1:{wss}") };
    let mut browser = browser(&secured, &sip, parameters);
    let status = browser.exit_status(Duration::from_secs(90));
    assert!(status.success(), "{}", browser.log.text());
    secured.server.settles(&before, Duration::from_secs(20));
    let metrics = secured.server.metrics();
    assert_eq!(metrics.value("hookswitch_rtp_packets_total{what=\"unsent\"}"), Some(0.0));
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let calls = http_client::get_with(secured.server.http, "/v1/calls?limit=1", &key).unwrap();
    serde_json::from_str::<Value>(&calls.body).unwrap()["calls"][0].clone()
}

const KEY: &str = "a key for tests only";

/// A browser that has the page of these parameters open.
fn browser(secured: &Secured, sip: &str, parameters: &[&str]) -> Process {
    let mut command = Command::new("node");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run.mjs");
    command.arg(script).arg(format!("sip={sip}")).args(parameters);
    Process::start(command.arg(format!("certificate={}", secured.certificate.display())))
}

/// A browser wants the machine for itself: audio of two at a time has gaps.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
