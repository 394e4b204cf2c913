//! What keeps a server from starting is said in a line that names it, and the exit status tells.

use std::time::Duration;

use crate::http_client;
use crate::server_process::{Home, Server, free_port, hookswitch, run_and_fail, serve_and_fail};
use crate::sip_phone::Phone;

#[test]
fn a_second_server_on_the_same_sip_address_says_so() {
    let server = Server::start(&[]);
    let text = serve_and_fail(&Home::new(), server.sip.port(), free_port(), &[]);
    assert!(text.contains(&server.sip.to_string()), "{text}");
    Phone::assert_served(&server);
}

#[test]
fn a_second_server_on_the_same_http_address_says_so() {
    let server = Server::start(&[]);
    let text = serve_and_fail(&Home::new(), free_port(), server.http.port(), &[]);
    assert!(text.contains(&server.http.to_string()), "{text}");
    Phone::assert_served(&server);
}

#[test]
fn a_second_server_on_the_same_data_says_so() {
    let server = Server::start(&[]);
    let text = serve_and_fail(&server.home, free_port(), free_port(), &[]);
    assert!(text.contains(server.home.data().to_str().unwrap()), "{text}");
    Phone::assert_served(&server);
}

#[test]
fn a_server_may_have_no_agent_at_all() {
    let home = Home::new();
    let file = home.path().join("b2bua.toml");
    std::fs::write(&file, "[speech]\nenabled = false\n[users.300]\npassword = \"x\"\n[numbers.301]\nuser = \"300\"\n")
        .unwrap();
    let server = Server::start_with(&home, &file, free_port(), free_port(), &[("SIP__OPEN", "loopback")]);
    for (number, status) in [("100", 404), ("301", 480)] {
        let answer = Phone::udp(&server).invite(number);
        assert_eq!(answer.status(), Some(status), "{answer:?}");
    }
    assert_eq!(Phone::udp(&server).ask("OPTIONS", &[]).status(), Some(200));
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let home = Home::new();
    let file = home.path().join("wrong.toml");
    let text = "[sip]\nlisten = [\"udp://127.0.0.1:0\"]\nmax_cals = 5\n\n[rtp]\nports = \"1-2\"\n";
    std::fs::write(&file, text).unwrap();
    let printed = run_and_fail(hookswitch().arg("serve").arg("--config").arg(&file).current_dir(home.path()));
    for (line, word) in [(3, "max_cals"), (6, "ports")] {
        let place = format!("{}:{line}:", file.display());
        let found = printed.lines().find(|it| it.contains(&place)).unwrap_or_else(|| panic!("{printed}"));
        assert!(found.contains(word), "{printed}");
    }
}

#[test]
fn a_mistake_in_a_variable_is_named() {
    let home = Home::new();
    let printed =
        run_and_fail(hookswitch().arg("serve").env("HOOKSWITCH_SIP__MAX_CALLS", "many").current_dir(home.path()));
    assert!(printed.contains("HOOKSWITCH_SIP__MAX_CALLS"), "{printed}");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let home = Home::new();
    let file = home.path().join("absent.toml");
    let printed = run_and_fail(hookswitch().arg("serve").arg("--config").arg(&file).current_dir(home.path()));
    assert!(printed.contains("absent.toml"), "{printed}");
}

#[test]
fn a_mistake_in_a_pathway_is_named_with_its_file() {
    let home = Home::new();
    std::fs::write(
        home.path().join("way.toml"),
        "[pathway]\nname = \"w\"\nstart = \"nowhere\"\n[nodes.a]\nkind = \"end\"\n",
    )
    .unwrap();
    let file = home.path().join("hookswitch.toml");
    std::fs::write(&file, "[agents.lost]\npathway = \"way.toml\"\n").unwrap();
    let mut command = hookswitch();
    command.arg("serve").arg("--config").arg(&file).current_dir(home.path());
    command.env("HOOKSWITCH_SIP__LISTEN", format!("udp://127.0.0.1:{}", free_port()));
    command.env("HOOKSWITCH_HTTP__LISTEN", format!("127.0.0.1:{}", free_port()));
    let printed = run_and_fail(&mut command);
    assert!(printed.contains("way.toml:3") && printed.contains("nowhere"), "{printed}");
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = Server::start(&[]);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/no/such/page", 404)] {
        let answer = http_client::get(server.http, path).unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.body.contains("panicked"));
    }
    server.metrics().assert_complete();
}

#[test]
fn an_idle_server_ends_when_it_is_asked_to() {
    let mut server = Server::start(&[]);
    server.terminate();
    assert_eq!(server.exit_status(Duration::from_secs(10)).code(), Some(0));
    // Its ports are free again at once.
    let again = Server::start_at(&server.home, server.sip.port(), server.http.port(), &[]);
    Phone::assert_served(&again);
}
