//! Both sides of registration on simulated time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::{Event, Registrar, RegistrarConfig, Registration, RegistrationConfig, RegistrationState};
use crate::auth::{Authenticated, DigestAccount};
use crate::identity::{AccountId, Secret};
use crate::limits::BINDINGS_PER_USER_MAX;
use crate::sip::{HeaderName, Message, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transport::{Flow, TransportKind};

const US: &str = "198.51.100.1:5060";

fn flow(kind: TransportKind, remote: &str) -> Flow {
    Flow { kind, local: US.parse().expect("an address"), remote: remote.parse().expect("an address") }
}

// --- our registrar ---

struct World {
    registrar: Registrar,
    start: Now,
    now: Now,
    log: Vec<String>,
}

impl World {
    fn new(change: impl FnOnce(&mut RegistrarConfig)) -> Self {
        let mut config = RegistrarConfig { domains: vec!["example.com".to_owned()], ..RegistrarConfig::default() };
        change(&mut config);
        let now = Now::origin();
        Self { registrar: Registrar::new(config), start: now, now, log: vec![] }
    }

    /// Lets time pass until this second.
    fn at(&mut self, second: u64) -> &mut Self {
        let until = self.start + Duration::from_secs(second);
        while let Some((at, _)) = self.registrar.poll_timeout().filter(|(at, _)| *at <= until.instant) {
            self.now = self.start + at.saturating_duration_since(self.start.instant);
            self.registrar.handle_timeout(self.now);
            self.events();
        }
        self.now = until;
        self
    }

    /// Alice registers over `flow`, with these header fields: `Call-ID cseq` first.
    fn register(&mut self, flow: Flow, id: &str, fields: &str) -> &mut Self {
        let (call_id, cseq) = id.split_once(' ').expect("Call-ID and CSeq");
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} REGISTER\r\n{}\r\n\r\n",
            fields.trim().lines().map(str::trim).collect::<Vec<_>>().join("\r\n")
        );
        self.register_text(flow, &text.replace("\r\n\r\n\r\n", "\r\n\r\n"))
    }

    fn register_text(&mut self, flow: Flow, text: &str) -> &mut Self {
        let Ok(Message::Request(request)) = Message::parse(Bytes::copy_from_slice(text.as_bytes())) else {
            panic!("{text}");
        };
        let reply = self.registrar.handle_register(&Authenticated::assumed("alice"), &request, flow, self.now);
        let reply = reply.to_tag(&request, "2").build().expect("a response");
        let mut line = reply.status().to_string();
        for name in [HeaderName::Contact, HeaderName::MinExpires, HeaderName::Unsupported, HeaderName::Require] {
            for value in reply.headers().all(&name) {
                write!(line, " {value}").expect("a string takes it");
            }
        }
        self.tell(&line);
        self.events();
        self
    }

    fn disconnect(&mut self, flow: Flow) -> &mut Self {
        self.registrar.handle_disconnected(flow);
        self.events();
        self
    }

    fn targets(&mut self) -> &mut Self {
        let targets = self.registrar.targets(&AccountId::default(), "alice", self.now);
        let shown: Vec<_> = targets.iter().map(|it| format!("{} by {}", it.uri, it.flow.remote)).collect();
        self.tell(format!("= {}", shown.join(", ")).trim_end());
        self
    }

    fn events(&mut self) {
        while let Some(event) = self.registrar.poll_event() {
            let line = match event {
                Event::Bound { user, contact, .. } => format!("^ {user} bound {}", contact.reveal()),
                Event::Unbound { user, contact, why, .. } => format!("^ {user} unbound {} {why:?}", contact.reveal()),
            };
            self.tell(&line);
        }
    }

    fn tell(&mut self, line: &str) {
        self.log.push(format!("{} {line}", self.now.since(self.start).as_secs()));
    }

    #[track_caller]
    fn check(&mut self, expect: &str) {
        self.events();
        let expect: Vec<_> = expect.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(self.log, expect);
        if self.registrar.is_empty() {
            assert_eq!(self.registrar.poll_timeout(), None);
        }
    }
}

fn phone() -> Flow {
    flow(TransportKind::Udp, "203.0.113.9:40000")
}

#[test]
fn a_telephone_registers_refreshes_and_goes() {
    World::new(|_| ())
        .register(phone(), "a 1", "")
        .register(phone(), "a 2", "Contact: <sip:alice@10.0.0.1>\nExpires: 600")
        .targets()
        .at(500)
        .register(phone(), "a 3", "Contact: <sip:alice@10.0.0.1>;expires=600")
        .at(1_000)
        .register(phone(), "a 4", "")
        .register(phone(), "a 5", "Contact: <sip:alice@10.0.0.1>;expires=0")
        .targets()
        .check(
            "0 200
             0 200 <sip:alice@10.0.0.1>;expires=600
             0 ^ alice bound sip:alice@10.0.0.1
             0 = sip:alice@10.0.0.1 by 203.0.113.9:40000
             500 200 <sip:alice@10.0.0.1>;expires=600
             1000 200 <sip:alice@10.0.0.1>;expires=100
             1000 200
             1000 ^ alice unbound sip:alice@10.0.0.1 Removed
             1000 =",
        );
}

#[test]
fn bindings_expire() {
    World::new(|_| ())
        .register(phone(), "a 1", "Contact: <sip:alice@10.0.0.1>;expires=x")
        .register(phone(), "b 1", "Contact: <sip:alice@10.0.0.2>\nExpires: 99999999999")
        .at(3_599)
        .targets()
        .at(8_000)
        .targets()
        .check(
            "0 200 <sip:alice@10.0.0.1>;expires=3600
             0 ^ alice bound sip:alice@10.0.0.1
             0 200 <sip:alice@10.0.0.1>;expires=3600 <sip:alice@10.0.0.2>;expires=7200
             0 ^ alice bound sip:alice@10.0.0.2
             3599 = sip:alice@10.0.0.1 by 203.0.113.9:40000, sip:alice@10.0.0.2 by 203.0.113.9:40000
             3600 ^ alice unbound sip:alice@10.0.0.1 Expired
             7200 ^ alice unbound sip:alice@10.0.0.2 Expired
             8000 =",
        );
}

#[test]
fn older_requests_of_a_call_change_nothing() {
    World::new(|_| ())
        .register(phone(), "a 5", "Contact: <sip:alice@10.0.0.1>, <sip:alice@10.0.0.2>")
        .at(1)
        .register(phone(), "a 5", "Contact: <sip:alice@10.0.0.3>, <sip:ALICE@10.0.0.1>, <sip:alice@10.0.0.2>;expires=0")
        .register(phone(), "a 4", "Contact: *\nExpires: 0")
        .register(phone(), "b 1", "Contact: <sip:alice@10.0.0.1>;expires=60")
        .register(phone(), "a 6", "Contact: *\nExpires: 0")
        .check(
            "0 200 <sip:alice@10.0.0.1>;expires=3600 <sip:alice@10.0.0.2>;expires=3600
             0 ^ alice bound sip:alice@10.0.0.1
             0 ^ alice bound sip:alice@10.0.0.2
             1 500
             1 500
             1 200 <sip:alice@10.0.0.1>;expires=60 <sip:alice@10.0.0.2>;expires=3599
             1 200
             1 ^ alice unbound sip:alice@10.0.0.1 Removed
             1 ^ alice unbound sip:alice@10.0.0.2 Removed",
        );
}

#[test]
fn what_cannot_be_served_is_refused() {
    let base = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:alice@10.0.0.1>\r\n\r\n";
    let contacts = format!("<sip:a@10.0.0.1>{}", ",<sip:b@10.0.0.1>".repeat(BINDINGS_PER_USER_MAX));
    World::new(|it| it.bindings_max = 1)
        .register_text(phone(), &base.replace("To: <sip:alice@", "To: <sip:bob@"))
        .register_text(phone(), &base.replace("To: <sip:alice@example.com", "To: <sip:alice@example.org"))
        .register_text(phone(), &base.replace("TER sip:example.com", "TER sip:example.org"))
        .register(phone(), "a 1", "Require: path, gruu")
        .register(phone(), "a 1", "Contact: <sip:alice@10.0.0.1>;expires=59")
        .register(phone(), "a 1", "Contact: *")
        .register(phone(), "a 1", "Contact: *, <sip:alice@10.0.0.1>\nExpires: 0")
        .register(phone(), "a 1", "Contact: <tel:+123>")
        .register(phone(), "a 1", "Contact: <sip:alice@10.0.0.1?Route=x>")
        .register(phone(), "a 1", &format!("Contact: {contacts}"))
        .register(phone(), "a 1", "Contact: <sip:alice@10.0.0.1>, <sip:alice@10.0.0.2>")
        .register(phone(), "a 1", &format!("Path: {}", ["<sip:p;lr>"; 9].join(",")))
        .check(
            "0 403
             0 404
             0 404
             0 420 gruu
             0 423 60
             0 400
             0 400
             0 400
             0 400
             0 400
             0 503
             0 400",
        );
}

#[test]
fn the_latest_bindings_stay_when_there_are_too_many() {
    let mut world = World::new(|_| ());
    for number in 0..=BINDINGS_PER_USER_MAX {
        let second = u64::try_from(number).expect("small");
        world.at(second).register(phone(), &format!("{number} 1"), &format!("Contact: <sip:{number}@10.0.0.1>"));
    }
    assert_eq!(world.registrar.len(), BINDINGS_PER_USER_MAX);
    assert_eq!(world.registrar.stats().made_room, 1);
    assert_eq!(world.log.last().map(String::as_str), Some("10 ^ alice unbound sip:0@10.0.0.1 MadeRoom"));
}

#[test]
fn preferred_and_latest_contacts_come_first() {
    World::new(|_| ())
        .register(phone(), "a 1", "Contact: <sip:1@10.0.0.1>;q=0.5, <sip:2@10.0.0.1>;q=0.25, <sip:3@10.0.0.1>;q=2")
        .at(1)
        .register(phone(), "b 1", "Contact: <sip:4@203.0.113.9:5070>;q=0.5")
        .targets()
        .check(
            "0 200 <sip:1@10.0.0.1>;expires=3600;q=0.500 <sip:2@10.0.0.1>;expires=3600;q=0.250 \
             <sip:3@10.0.0.1>;expires=3600
             0 ^ alice bound sip:1@10.0.0.1
             0 ^ alice bound sip:2@10.0.0.1
             0 ^ alice bound sip:3@10.0.0.1
             1 200 <sip:1@10.0.0.1>;expires=3599;q=0.500 <sip:2@10.0.0.1>;expires=3599;q=0.250 \
             <sip:3@10.0.0.1>;expires=3599 <sip:4@203.0.113.9:5070>;expires=3600;q=0.500
             1 ^ alice bound sip:4@203.0.113.9:5070
             1 = sip:3@10.0.0.1 by 203.0.113.9:40000, sip:4@203.0.113.9:5070 by 203.0.113.9:5070, \
             sip:1@10.0.0.1 by 203.0.113.9:40000, sip:2@10.0.0.1 by 203.0.113.9:40000",
        );
}

#[test]
fn connections_are_the_way_until_they_are_lost() {
    let tcp = flow(TransportKind::Tcp, "203.0.113.9:40000");
    World::new(|_| ())
        .register(tcp, "a 1", "Contact: <sip:1@10.0.0.1;transport=tcp>")
        .register(tcp, "b 1", "Contact: <sip:2@203.0.113.9;transport=tcp>")
        .targets()
        .disconnect(tcp)
        .targets()
        .disconnect(tcp)
        .check(
            "0 200 <sip:1@10.0.0.1;transport=tcp>;expires=3600
             0 ^ alice bound sip:1@10.0.0.1;transport=tcp
             0 200 <sip:1@10.0.0.1;transport=tcp>;expires=3600 <sip:2@203.0.113.9;transport=tcp>;expires=3600
             0 ^ alice bound sip:2@203.0.113.9;transport=tcp
             0 = sip:1@10.0.0.1;transport=tcp by 203.0.113.9:40000, sip:2@203.0.113.9;transport=tcp by 203.0.113.9:40000
             0 ^ alice unbound sip:1@10.0.0.1;transport=tcp FlowLost
             0 = sip:2@203.0.113.9;transport=tcp by 203.0.113.9:5060",
        );
}

#[test]
fn devices_keep_their_binding_whatever_its_address() {
    let instance = ";+sip.instance=\"<urn:uuid:0>\";reg-id=1";
    World::new(|_| ())
        .register(phone(), "a 1", &format!("Path: <sip:edge.example;lr;ob>\nContact: <sip:1@10.0.0.1>{instance}"))
        .register(phone(), "b 1", &format!("Contact: <sip:1@10.0.0.2>{instance}"))
        .check(
            "0 200 <sip:1@10.0.0.1>;expires=3600;+sip.instance=\"<urn:uuid:0>\";reg-id=1 outbound
             0 ^ alice bound sip:1@10.0.0.1
             0 200 <sip:1@10.0.0.2>;expires=3600;+sip.instance=\"<urn:uuid:0>\";reg-id=1 outbound",
        );
}

#[test]
fn a_device_has_several_flows_and_is_called_over_one() {
    let contact = |reg_id: u32, instance: u32| {
        format!("Contact: <sip:1@10.0.0.{reg_id}>;+sip.instance=\"<urn:uuid:{instance}>\";reg-id={reg_id}")
    };
    let flow = |port| Flow { remote: SocketAddr::new(phone().remote.ip(), port), ..phone() };
    let mut world = World::new(|_| ());
    for (port, call, contact) in [
        (1, "a 1", contact(1, 0)),
        (2, "b 1", contact(2, 0)),
        (3, "c 1", contact(1, 1)),
        (4, "d 1", "Contact: <sip:1@10.0.0.9>".to_owned()),
        // Takes the place of the first.
        (5, "e 1", contact(1, 0)),
    ] {
        world.register(flow(port), call, &contact);
        world.now = world.now + Duration::from_secs(1);
    }
    let targets = world.registrar.targets(&AccountId::default(), "alice", world.now);
    let ports = targets.iter().map(|it| {
        let others: Vec<_> = it.other_flows.iter().map(|it| it.remote.port()).collect();
        (it.flow.remote.port(), others)
    });
    assert_eq!(ports.collect::<Vec<_>>(), [(5, vec![2]), (4, vec![]), (3, vec![])]);
}

#[test]
fn a_proxy_that_keeps_no_flows_is_told_of() {
    let contact = "Contact: <sip:1@10.0.0.1>;+sip.instance=\"<urn:uuid:0>\";reg-id=1";
    let path = "Path: <sip:edge.example;lr>";
    World::new(|_| ())
        .register(phone(), "a 1", &format!("{path}\nSupported: path, outbound\n{contact}"))
        .register(phone(), "a 2", &format!("{path}\n{contact}"))
        .check(
            "0 439
             0 200 <sip:1@10.0.0.1>;expires=3600
             0 ^ alice bound sip:1@10.0.0.1",
        );
}

#[test]
fn the_path_leads_to_the_telephone() {
    let mut world = World::new(|_| ());
    world.register(phone(), "a 1", "Path: <sip:edge.example;lr>\nContact: <sip:1@203.0.113.9>");
    let targets = world.registrar.targets(&AccountId::default(), "alice", world.now);
    assert_eq!((targets[0].path[0].as_str(), targets[0].flow), ("<sip:edge.example;lr>", phone()));
    assert!(world.registrar.targets(&AccountId("other".to_owned()), "alice", world.now).is_empty());
}

// --- our registrations ---

/// A registration with two servers against a script: at each request, the answer to it and how long it takes, until
/// there is none. `nothing` does not come, `stop` has us go.
struct Carrier {
    registration: Registration,
    start: Now,
    now: Now,
    log: Vec<String>,
}

impl Carrier {
    fn new() -> Self {
        let account = DigestAccount::new(vec!["carrier".to_owned()], "user", Secret::new("secret")).expect("plain");
        let uri = |text: &str| text.parse().expect("a URI");
        let config = RegistrationConfig {
            address: uri("sip:user@carrier.example"),
            registrar: uri("sip:carrier.example"),
            servers: ["192.0.2.1:5060", "192.0.2.2:5060"]
                .map(|it| super::Server { flow: flow(TransportKind::Udp, it), contact: uri("sip:user@198.51.100.1") })
                .into(),
            expires_s: 3_600,
            account: Some(account),
            route: vec![],
            user_agent: "test".to_owned(),
        };
        let now = Now::origin();
        let registration = Registration::new(config, ChaCha12Rng::seed_from_u64(3));
        Self { registration, start: now, now, log: vec![] }
    }

    fn run(&mut self, script: &[&str]) {
        self.registration.start(self.now);
        let mut script = script.iter().peekable();
        loop {
            while let Some(register) = self.registration.poll_output() {
                let request = register.request("SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1").expect("a request");
                self.tell_request(&request, register.flow);
                let Some(answer) = script.next() else {
                    return;
                };
                self.answer(&request, answer);
            }
            if script.next_if(|it| **it == "stop").is_some() {
                self.registration.stop(self.now);
                self.tell_state();
            } else if script.next_if(|it| **it == "disconnect").is_some() {
                let flow = self.registration.server().expect("two servers");
                self.registration.handle_disconnected(flow, self.now);
                self.tell_state();
            } else if let Some((at, _)) = self.registration.poll_timeout() {
                self.now = self.start + at.saturating_duration_since(self.start.instant);
                self.registration.handle_timeout(self.now);
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, request: &Request, answer: &str) {
        if answer == "nothing" {
            self.now = self.now + Duration::from_secs(32);
            self.registration.handle_no_answer(self.now);
        } else {
            let (status, fields) = answer.split_once(' ').unwrap_or((answer, ""));
            let status = status.parse().ok().and_then(StatusCode::new).expect("a status");
            let mut reply = Response::reply(request, status).to_tag(request, "2");
            for field in fields.split(" | ").filter(|it| !it.is_empty()) {
                let (name, value) = field.split_once(": ").expect("a header field");
                reply = reply.header(HeaderName::parse(name).expect("a name"), value);
            }
            self.registration.handle_response(&reply.build().expect("a response"), self.now);
        }
        self.tell_state();
    }

    fn tell_request(&mut self, request: &Request, flow: Flow) {
        let headers = request.headers();
        let expires = headers.get(&HeaderName::Expires).unwrap_or_default();
        let has_credentials = headers.contains(&HeaderName::Authorization);
        let auth = if has_credentials { " with credentials" } else { "" };
        self.tell(&format!("> {} {expires} to {}{auth}", headers.cseq().number, flow.remote.ip()));
    }

    fn tell_state(&mut self) {
        let state = match self.registration.state() {
            RegistrationState::NotRegistered => "not_registered".to_owned(),
            RegistrationState::Pending => "pending".to_owned(),
            RegistrationState::Registered => "registered".to_owned(),
            RegistrationState::Failed(failure) => format!("failed {failure:?}"),
            RegistrationState::AuthFailed => "auth_failed".to_owned(),
        };
        self.tell(&state);
    }

    fn tell(&mut self, line: &str) {
        self.log.push(format!("{} {line}", self.now.since(self.start).as_secs()));
    }
}

const CHALLENGE: &str = "401 WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\"";
const OK: &str = "200 Contact: <sip:user@198.51.100.1>;expires=100, <sip:other@x>;expires=7 | Expires: 9";

#[track_caller]
fn check(script: &[&str], expect: &str) {
    let mut carrier = Carrier::new();
    carrier.run(script);
    let expect: Vec<_> = expect.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(carrier.log, expect);
}

#[test]
fn we_register_refresh_in_time_and_go() {
    check(
        &[CHALLENGE, OK, OK, "stop", "200"],
        "0 > 1 3600 to 192.0.2.1
         0 pending
         0 > 2 3600 to 192.0.2.1 with credentials
         0 registered
         82 > 3 3600 to 192.0.2.1 with credentials
         82 registered
         82 pending
         82 > 4 0 to 192.0.2.1 with credentials
         82 not_registered",
    );
}

#[test]
fn wrong_passwords_are_not_tried_again_soon() {
    check(
        &[CHALLENGE, CHALLENGE],
        "0 > 1 3600 to 192.0.2.1
         0 pending
         0 > 2 3600 to 192.0.2.1 with credentials
         0 auth_failed
         3081 > 3 3600 to 192.0.2.1",
    );
    check(
        &[&CHALLENGE.replace("\"carrier\"", "\"other\"")],
        "0 > 1 3600 to 192.0.2.1
         0 auth_failed
         3081 > 2 3600 to 192.0.2.1",
    );
}

#[test]
fn intervals_are_the_registrars_to_choose() {
    check(
        &["423 Min-Expires: 7200", "200 Contact: <sip:user@198.51.100.1>"],
        "0 > 1 3600 to 192.0.2.1
         0 pending
         0 > 2 7200 to 192.0.2.1
         0 registered
         5918 > 3 7200 to 192.0.2.1",
    );
    check(
        &["423 Min-Expires: 60", "200"],
        "0 > 1 3600 to 192.0.2.1
         0 failed Refused(StatusCode(423))
         21 > 2 3600 to 192.0.2.1
         21 registered
         2998 > 3 3600 to 192.0.2.1",
    );
    check(
        &["200 Contact: <sip:user@border.example>;expires=60"],
        "0 > 1 3600 to 192.0.2.1
         0 registered
         49 > 2 3600 to 192.0.2.1",
    );
    check(
        &["200 Expires: 0"],
        "0 > 1 3600 to 192.0.2.1
         0 failed NotGranted
         21 > 2 3600 to 192.0.2.1",
    );
}

#[test]
fn the_next_server_is_asked_and_pauses_grow() {
    check(
        &["nothing", "503", "302", "500", "nothing", "503 Retry-After: 600", "404", OK],
        "0 > 1 3600 to 192.0.2.1
         32 pending
         32 > 2 3600 to 192.0.2.2
         32 failed Refused(StatusCode(503))
         53 > 3 3600 to 192.0.2.1
         53 pending
         53 > 4 3600 to 192.0.2.2
         53 failed Refused(StatusCode(500))
         89 > 5 3600 to 192.0.2.1
         121 pending
         121 > 6 3600 to 192.0.2.2
         121 failed Refused(StatusCode(503))
         768 > 7 3600 to 192.0.2.1
         768 failed Refused(StatusCode(404))
         970 > 8 3600 to 192.0.2.1
         970 registered
         1057 > 9 3600 to 192.0.2.1",
    );
}

#[test]
fn lost_connections_are_registered_anew() {
    check(
        &[OK, "disconnect", OK, "stop", "nothing"],
        "0 > 1 3600 to 192.0.2.1
         0 registered
         0 failed NoAnswer
         0 > 2 3600 to 192.0.2.1
         0 registered
         0 pending
         0 > 3 0 to 192.0.2.1
         32 not_registered",
    );
}

#[test]
fn stopping_waits_for_the_answer() {
    let mut carrier = Carrier::new();
    carrier.registration.start(carrier.now);
    let register = carrier.registration.poll_output().expect("a request");
    carrier.registration.stop(carrier.now);
    assert!(carrier.registration.poll_output().is_none());
    let request = register.request("SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK1").expect("a request");
    carrier.answer(&request, OK);
    let register = carrier.registration.poll_output().expect("a second request");
    let request = register.request("SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK2").expect("a request");
    assert_eq!(request.headers().get(&HeaderName::Expires), Some("0"));
    carrier.answer(&request, "200");
    assert_eq!(carrier.registration.state(), RegistrationState::NotRegistered);
    assert_eq!(carrier.registration.poll_timeout(), None);
}
