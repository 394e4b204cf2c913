//! Calls of trunks that are known by something else than their addresses, and what strangers learn of them.

use super::{CallsConfig, Peer};
use crate::auth::DigestServerConfig;
use crate::call::{Event, Output, TrunkAdmission, TrunkConfig, UsersConfig};
use crate::identity::{AccountId, Secret};
use crate::registrar::RegistrarConfig;
use crate::route::{Admission, Target, TrunkName};
use crate::sip::{HeaderName, Message, Response};
use crate::transport::{Flow, Listener, PeerIdentity, TransportKind};

#[test]
fn a_trunk_is_known_by_its_certificate() {
    let admission = || TrunkAdmission {
        by_address: false,
        certificate_names: vec!["sbc.acme.example".to_owned()],
        ..TrunkAdmission::default()
    };
    check(admission(), &["sbc.acme.example"], "192.0.2.77:4000", "180 acme");
    check(admission(), &["other.example", "SBC.Acme.Example"], "192.0.2.77:4000", "180 acme");
    // Its address is not enough, nor is another name, a wildcard or no certificate at all.
    check(admission(), &[], "192.0.2.50:4000", "403");
    check(admission(), &["acme.example"], "192.0.2.77:4000", "403");
    check(admission(), &["*.acme.example"], "192.0.2.77:4000", "403");
    // Unless it is to be.
    let both = TrunkAdmission { by_address: true, ..admission() };
    check(both, &[], "192.0.2.50:4000", "180 acme");
    check(TrunkAdmission::default(), &["sbc.acme.example"], "192.0.2.77:4000", "403");
}

#[test]
fn a_trunk_is_known_by_its_password_and_by_the_connection_it_registered_on() {
    let account = Some(("100".to_owned(), Secret::new("secret")));
    let admission = |by_registration| TrunkAdmission {
        by_address: false,
        by_registration,
        account: account.clone(),
        ..TrunkAdmission::default()
    };
    for (by_registration, is_wanted) in [(false, "401"), (true, "180 acme")] {
        let mut caller = Caller::new(admission(by_registration), true, "192.0.2.77:4000", &[]);
        // Strangers are asked for a password, whatever they call and whoever they say they are.
        assert_eq!(caller.invite(None), "401");
        assert_eq!(caller.invite(Some("guess")), "401");
        assert_eq!(caller.invite(Some("secret")), "180 acme");
        assert_eq!(caller.register(), "200");
        assert_eq!(caller.invite(None), is_wanted);
        // Another connection from the same address is another caller.
        let registered = caller.flow;
        caller.flow.remote.set_port(4001);
        assert_eq!(caller.invite(None), "401");
        // The connection is gone, and with it what was known of it.
        caller.flow = registered;
        caller.peer.calls.handle_disconnected(caller.flow, caller.peer.now);
        assert_eq!(caller.invite(None), "401");
    }
}

/// How a trunk with this admission answers to a call from `remote`, whose certificate shows `names`: the status, and the
/// trunk if it is known as that.
#[track_caller]
fn check(admission: TrunkAdmission, names: &[&str], remote: &str, expected: &str) {
    let mut caller = Caller::new(admission, false, remote, names);
    assert_eq!(caller.invite(None), expected, "{names:?} {remote}");
}

/// A peer behind a TLS connection.
struct Caller {
    peer: Peer,
    flow: Flow,
    number: u32,
    challenge: Option<Response>,
}

impl Caller {
    fn new(admission: TrunkAdmission, has_users: bool, remote: &str, names: &[&str]) -> Self {
        let flow = Flow {
            kind: TransportKind::Tls,
            local: "192.0.2.1:5061".parse().expect("an address"),
            remote: remote.parse().expect("an address"),
        };
        let mut peer = Peer::new(|config| configure(config, admission, has_users, flow));
        let identity = PeerIdentity::new(names);
        peer.calls.handle_timeout(peer.now);
        peer.drain();
        peer.calls.handle_connected(flow, false, identity, peer.now);
        Self { peer, flow, number: 0, challenge: None }
    }

    /// The status of the first response to an INVITE, and the trunk that its call is said to be of.
    fn invite(&mut self, password: Option<&str>) -> String {
        self.request("INVITE", password)
    }

    fn register(&mut self) -> String {
        assert_eq!(self.request("REGISTER", None), "401");
        self.request("REGISTER", Some("secret"))
    }

    fn request(&mut self, method: &str, password: Option<&str>) -> String {
        self.number += 1;
        let number = self.number;
        let auth = self.challenge.as_ref().zip(password);
        let auth = auth.map_or_else(String::new, |(it, password)| super::users::authorization(it, password, method));
        let text = format!(
            "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK{number}\r\n\
             From: <sip:100@192.0.2.9>;tag={number}\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: {number}\r\n\
             CSeq: {number} {method}\r\nContact: <sip:100@192.0.2.9;transport=tls>\r\n{auth}Content-Length: 0\r\n\r\n"
        );
        self.peer.calls.handle_segment(self.flow, text.into(), self.peer.now);
        let (mut status, mut trunk) = (String::new(), None);
        while let Some(output) = self.peer.calls.poll_output() {
            if let Output::Journal { event: Event::Offered { trunk: of, .. }, .. } = output {
                trunk = of;
            } else if let Output::Send { data, .. } = output
                && let Ok(Message::Response(response)) = Message::parse(data)
            {
                if status.is_empty() {
                    status = response.status().code().to_string();
                }
                if response.headers().contains(&HeaderName::WwwAuthenticate) {
                    self.challenge = Some(response);
                }
            }
        }
        trunk.map_or_else(|| status.clone(), |it| format!("{status} {}", it.0))
    }
}

fn configure(config: &mut CallsConfig, admission: TrunkAdmission, has_users: bool, flow: Flow) {
    let uri = |it: &str| it.parse().expect("a URI");
    config.trunks = vec![TrunkConfig {
        name: TrunkName("acme".to_owned()),
        account: AccountId::default(),
        domain: Some(uri("sip:two.example")),
        gateways: vec![uri("sip:two.example")],
        proxy: None,
        transport: None,
        username: None,
        credentials: None,
        register_s: None,
        sources: vec!["192.0.2.50".parse().expect("an address")],
        admission,
        caller_id: None,
        ping_every: None,
        capabilities: None,
        redirects: crate::call::Redirects::Refused,
    }];
    let closed = Admission { users: has_users, ..Admission::default() };
    config.listeners.push((Listener::new(flow.kind, flow.local), closed));
    config.routes.insert_number("100", Target::agent("demo"));
    config.users = has_users.then(|| UsersConfig {
        digest: DigestServerConfig::new("ours"),
        registrar: RegistrarConfig::default(),
        users: vec![],
        caller_ids: std::collections::BTreeMap::new(),
        plain_media: std::collections::BTreeSet::new(),
    });
}
