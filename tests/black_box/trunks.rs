//! Trunks: registered with, called through, and let in.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::certificates::Authority;
use crate::journal;
use crate::name_server::{NameServer, Record};
use crate::server_process::{Home, Process, Server, free_port, hookswitch};
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn a_registration_is_kept_and_removed_at_the_end() {
    let carrier = Carrier::start();
    let mut server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__USERNAME", "4930123"),
        ("TRUNKS__ACME__PASSWORD", "wonderland"),
        ("TRUNKS__ACME__REALM", "acme.example"),
        ("TRUNKS__ACME__REGISTER", "true"),
    ]);
    let first = carrier.next("REGISTER", ANSWER_MAX);
    assert!(first.message.header("Authorization").is_none());
    carrier.challenge(&first, "acme.example", "n1");
    let second = carrier.next("REGISTER", ANSWER_MAX);
    assert!(second.shows("4930123", "wonderland", "acme.example", "n1"), "{:?}", second.message);
    let contact = second.message.header("Contact").unwrap();
    assert_eq!(contact, format!("<sip:4930123@{}>", server.sip));
    carrier.answer(&second, "200 OK", &[&format!("Contact: {contact};expires=4")]);
    // What is granted counts, not what was asked for.
    let refresh = carrier.next("REGISTER", ANSWER_MAX);
    assert_eq!(refresh.message.header("Expires"), Some("3600"));
    carrier.answer(&refresh, "200 OK", &[&format!("Contact: {contact};expires=600")]);
    wait_for_metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"} 1");
    wait_for_metric(&server, "hookswitch_trunk_registrations_total{trunk=\"acme\",result=\"accepted\"} 2");
    server.terminate();
    let farewell = carrier.next("REGISTER", ANSWER_MAX);
    assert_eq!(farewell.message.header("Expires"), Some("0"));
    carrier.answer(&farewell, "200 OK", &[]);
    assert!(server.exit_status(ANSWER_MAX).success());
}

#[test]
fn a_password_is_for_its_realm_and_what_is_refused_is_told() {
    let carrier = Carrier::start();
    let server = Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__USERNAME", "4930123"),
        ("TRUNKS__ACME__PASSWORD", "wonderland"),
        ("TRUNKS__ACME__REGISTER", "true"),
        ("TRUNKS__OTHER__URI", &carrier.uri()),
        ("TRUNKS__OTHER__USERNAME", "nobody"),
        ("TRUNKS__OTHER__REGISTER", "true"),
    ]);
    for _ in 0..2 {
        let request = carrier.next("REGISTER", ANSWER_MAX);
        if request.message.header("To").unwrap().contains("4930123") {
            carrier.challenge(&request, "elsewhere.example", "n1");
        } else {
            carrier.answer(&request, "403 Forbidden", &[]);
        }
    }
    for name in ["acme", "other"] {
        wait_for_metric(&server, &format!("hookswitch_trunk_registered{{trunk=\"{name}\"}} 0"));
        let failed = format!("hookswitch_trunk_registrations_total{{trunk=\"{name}\",result=\"failed\"}} 1");
        wait_for_metric(&server, &failed);
    }
    let log = server.log();
    assert!(log.contains("credentials were asked for by a realm that they are not for"), "{log}");
    assert!(log.contains("the answer is 403") && !log.contains("wonderland"), "{log}");
    assert!(carrier.next_if_any("REGISTER", Duration::from_secs(1)).is_none(), "it is tried again at once");
}

#[test]
fn a_registration_goes_to_the_next_server() {
    let carriers = [Carrier::start(), Carrier::start()];
    let gateways = carriers.each_ref().map(Carrier::uri).join(",");
    let server = Server::start(&[
        ("TRUNKS__ACME__GATEWAYS", &gateways),
        ("TRUNKS__ACME__USERNAME", "4930123"),
        ("TRUNKS__ACME__REGISTER", "true"),
    ]);
    let request = carriers[0].next("REGISTER", ANSWER_MAX);
    carriers[0].answer(&request, "503 Service Unavailable", &["Retry-After: 600"]);
    let request = carriers[1].next("REGISTER", ANSWER_MAX);
    carriers[1].answer(&request, "200 OK", &["Expires: 600"]);
    wait_for_metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"} 1");
    wait_for_metric(&server, "hookswitch_trunk_gateways_resting{trunk=\"acme\"} 1");
}

#[test]
fn only_the_address_lets_a_trunk_in() {
    // Everybody here has the same address: one server knows it as a trunk's, the other one knows another trunk.
    let closed = [("SIP__OPEN", "false"), ("TRUNKS__ACME__URI", "sip:192.0.2.1")];
    let server = Server::start(&closed);
    let mut stranger = Phone::udp(&server);
    let claims = ["P-Asserted-Identity: <sip:4930123@192.0.2.1>", "X-Forwarded-For: 192.0.2.1"];
    let offer = stranger.sdp("sendrecv");
    let refused = stranger.invite_with(&claims, &offer);
    assert_eq!(refused.status(), Some(403), "{refused:?}");
    assert!(journal::calls(&server.home.data()).is_empty(), "a stranger leaves no trace");

    let server = Server::start(&[
        ("SIP__OPEN", "false"),
        ("TRUNKS__ACME__URI", "sip:192.0.2.1"),
        ("TRUNKS__ACME__SOURCES", "127.0.0.0/8"),
    ]);
    wait_for_metric(&server, "hookswitch_trunk_gateways{trunk=\"acme\"} 1");
    let mut phone = Phone::call(&server, "100");
    phone.hang_up();
    wait_for_metric(&server, "hookswitch_trunk_calls_total{trunk=\"acme\",direction=\"in\"} 1");
    let unknown = Phone::udp(&server).invite("999");
    assert_eq!(unknown.status(), Some(404), "{unknown:?}");
    let calls = journal::calls(&server.home.data());
    assert!(calls.iter().all(|it| it.events[0]["trunk"] == "acme"), "{calls:?}");
}

#[test]
fn a_call_finds_its_server_by_name_and_passes_dead_ones() {
    let server = Server::start(&[]);
    let (live, dead) = (server.sip.port(), free_port());
    let zone = [
        ("carrier.test", Record::Naptr(10, 10, "SIP+D2U", "_sip._udp.carrier.test")),
        ("_sip._udp.carrier.test", Record::Srv(0, 0, dead, "dead.carrier.test")),
        ("_sip._udp.carrier.test", Record::Srv(10, 0, live, "live.carrier.test")),
        ("dead.carrier.test", Record::A(Ipv4Addr::LOCALHOST)),
        ("live.carrier.test", Record::A(Ipv4Addr::LOCALHOST)),
    ];
    let names = NameServer::start(&zone);
    let text = call(&names, "", &["sip:100@carrier.test", "--limit", "1"]).1;
    let after = text.split("answered after ").nth(1).and_then(|it| it.split(' ').next()?.parse::<f64>().ok());
    assert!(after.is_some_and(|it| it >= 3.0), "{text}");
    let (is_success, text) = call(&names, "", &["sip:100@nowhere.test"]);
    assert!(!is_success && text.contains("the name has no address"), "{text}");
}

#[test]
fn a_call_over_a_trunk_shows_its_credentials_and_takes_the_next_server() {
    let carriers = [Carrier::start(), Carrier::start()];
    let trunk = format!(
        "[trunks.acme]\ngateways = [{}]\nusername = 'u'\npassword = 'wonderland'\nrealm = 'acme.example'\n\
         caller_id = '+4930123'\n",
        carriers.each_ref().map(|it| format!("'{}'", it.uri())).join(", ")
    );
    let names = NameServer::start(&[]);
    let phone = std::thread::spawn(move || call(&names, &trunk, &["+4940456", "--trunk", "acme"]));
    let first = carriers[0].next("INVITE", ANSWER_MAX);
    let uri = format!("INVITE sip:+4940456@{} SIP/2.0", carriers[0].address);
    assert_eq!(first.message.start, uri);
    carriers[0].answer(&first, "503 Service Unavailable", &[]);
    let second = carriers[1].next("INVITE", ANSWER_MAX);
    assert_eq!(second.message.header("Call-ID"), first.message.header("Call-ID"));
    assert!(second.message.header("From").unwrap().contains("sip:+4930123@"));
    carriers[1].challenge(&second, "acme.example", "n2");
    let third = loop {
        let request = carriers[1].next("INVITE", ANSWER_MAX);
        if request.message.header("Authorization").is_some() {
            break request;
        }
    };
    assert!(third.shows("u", "wonderland", "acme.example", "n2"), "{:?}", third.message);
    carriers[1].answer(&third, "486 Busy Here", &[]);
    let (is_success, text) = phone.join().unwrap();
    assert!(!is_success && text.contains("rejected (486)"), "{text}");
}

#[test]
fn a_trunk_may_have_an_authority_of_its_own() {
    let home = Home::new();
    let [acme, ours] = ["acme", "ours"].map(|it| Authority::new(home.path(), it));
    let start = |authority: &Authority, name: &str, more: &[(&str, &str)]| {
        let own = authority.issue(&[name], |_| ());
        let (sip, tls) = (free_port(), free_port());
        let listen = format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip},tls://127.0.0.1:{tls}");
        let ca = ours.file();
        let mut keys = vec![
            ("SIP__LISTEN", listen.as_str()),
            ("SIP__TLS__CERTIFICATE", own.certificate.to_str().unwrap()),
            ("SIP__TLS__KEY", own.key.to_str().unwrap()),
            ("SIP__TLS__CA", ca.to_str().unwrap()),
        ];
        keys.extend(more);
        (Server::start_at(&Home::new(), sip, free_port(), &keys), tls)
    };
    let (_carrier, port) = start(&acme, "127.0.0.1", &[]);
    let (uri, ca) = (format!("sips:127.0.0.1:{port}"), acme.file());
    let mut keys = vec![("TRUNKS__ACME__URI", uri.as_str()), ("TRUNKS__ACME__OPTIONS_S", "1")];
    let (stranger, _) = start(&ours, "us.test", &keys);
    wait_for_metric(&stranger, "hookswitch_trunk_gateways_resting{trunk=\"acme\"} 1");
    keys.push(("TRUNKS__ACME__TLS__CA", ca.to_str().unwrap()));
    let (friend, _) = start(&ours, "we.test", &keys);
    wait_for_metric(&friend, "hookswitch_sip_responses_total{direction=\"in\",method=\"OPTIONS\",status=\"200\"} 1");
    wait_for_metric(&friend, "hookswitch_trunk_gateways_resting{trunk=\"acme\"} 0");
}

#[test]
fn kamailio_is_a_carrier_as_any_other() {
    let (home, port, sip) = (Home::new(), free_port(), free_port());
    let file = home.path().join("kamailio.cfg");
    let template = include_str!("kamailio.cfg");
    let other = format!("127.0.0.1:{sip}");
    let text = template.replace("@PORT@", &port.to_string()).replace("@USER@", "100").replace("@OTHER@", &other);
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("kamailio");
    // In the foreground, with little memory, and its sockets and pipes in our directory.
    command.args(["-DD", "-E", "-m", "16", "-M", "4", "-f"]).arg(&file).arg("-Y").arg(home.path());
    let _kamailio = Kamailio(Process::start(command.arg("-w").arg(home.path())));
    let uri = format!("sip:127.0.0.1:{port}");
    let keys = [
        ("TRUNKS__ACME__URI", uri.as_str()),
        ("TRUNKS__ACME__USERNAME", "100"),
        ("TRUNKS__ACME__PASSWORD", "wonderland"),
        ("TRUNKS__ACME__REALM", "carrier.test"),
        ("TRUNKS__ACME__REGISTER", "true"),
    ];
    let server = Server::start_at(&Home::new(), sip, free_port(), &keys);
    wait_for_metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"} 1");
    let names = NameServer::start(&[]);
    let (is_success, text) = call(&names, "", &[&format!("sip:100@127.0.0.1:{port}"), "--limit", "1"]);
    assert!(is_success && text.contains("answered"), "{text}");
    wait_for_metric(&server, "hookswitch_trunk_calls_total{trunk=\"acme\",direction=\"in\"} 1");
    for (password, outcome) in [("wonderland", "answered"), ("looking-glass", "rejected (407)")] {
        let trunk = format!(
            "[trunks.acme]\nuri = '{uri}'\nusername = '100'\npassword = '{password}'\nrealm = 'carrier.test'\n"
        );
        let text = call(&names, &trunk, &["200", "--trunk", "acme", "--limit", "1"]).1;
        assert!(text.contains(outcome), "{text}");
    }
}

/// Killed, it would leave its children behind.
struct Kamailio(Process);

impl Drop for Kamailio {
    fn drop(&mut self) {
        self.0.signal("TERM");
        self.0.exit_status(ANSWER_MAX);
    }
}

/// The test phone with this configuration: whether the call went well, and what was printed.
fn call(names: &NameServer, config: &str, arguments: &[&str]) -> (bool, String) {
    let home = Home::new();
    let file = home.path().join("phone.toml");
    std::fs::write(&file, format!("[dns]\nservers = ['{}']\n{config}", names.address)).unwrap();
    let mut command = hookswitch();
    command.arg("call").args(arguments).arg("--config").arg(&file).current_dir(home.path());
    let mut process = Process::start(&mut command);
    let status = process.exit_status(Duration::from_secs(60));
    // The log ends a moment after the process.
    process.log.wait(Duration::from_secs(5), |log| log.is_over());
    (status.success(), process.log.text())
}

#[track_caller]
fn wait_for_metric(server: &Server, line: &str) {
    let (sample, value) = line.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap();
    let found = server.wait(ANSWER_MAX, || server.metrics().value(sample) == Some(value));
    assert!(found, "no `{line}` in\n{}\n{}", server.metrics().shown(), server.log());
}
