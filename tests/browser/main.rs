//! A browser as a telephone: SIP over a websocket (RFC 7118), media by ICE and DTLS-SRTP. `run.mjs` drives a headless
//! Chromium; `scripts/setup.sh run test` installs it and Node.js. The agent is the server's own.
#![cfg(feature = "server")]
#![expect(clippy::disallowed_methods, reason = "real programs are waited for on a real clock")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]
#![expect(clippy::print_stderr, reason = "a test that fails shows what the programs said")]
#![expect(clippy::indexing_slicing, reason = "a test may fail anywhere")]

#[path = "../peers/authority.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod authority;
#[path = "../black_box/http_client.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod http_client;
#[path = "../black_box/server_process.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod server_process;

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use authority::Secured;
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

#[derive(PartialEq, Eq)]
enum Socket {
    Plain,
    Secure,
}

fn calls(socket: Socket, parameters: &[&str]) {
    // A browser wants the machine for itself: audio of two at a time has gaps.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
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
        ],
    );
    let before = secured.server.metrics();
    let sip = if socket == Socket::Plain { format!("ws://127.0.0.1:{ws}") } else { format!("wss://127.0.0.1:{wss}") };
    let mut command = Command::new("node");
    command.arg(root.join("tests/browser/run.mjs")).arg(format!("sip={sip}")).args(parameters);
    command.arg(format!("certificate={}", secured.certificate.display()));
    let mut browser = Process::start(&mut command);
    let status = browser.exit_status(Duration::from_secs(90));
    assert!(status.success(), "{}", browser.log.text());
    secured.server.settles(&before, Duration::from_secs(20));
}
