//! SIP over TLS (RFC 3261 §26.2, RFC 5922): who is served, and who we are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::date_time_ymd;

use crate::certificates::{Authority, Issued};
use crate::server_process::{Home, Server, free_port, serve_and_fail};
use crate::sip_phone::{ANSWER_MAX, Phone, Wire};

#[test]
fn a_call_over_tls() {
    let secured = Secured::start(&[]);
    let before = secured.server.metrics();
    let wire = secured.authority.connect(secured.tls, "sip.example.test", None).unwrap();
    let mut phone = Phone::new(wire, secured.tls);
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200));
    let answer = phone.invite("100");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    let contact = answer.header("Contact").unwrap();
    assert_eq!(contact, format!("<sip:{};transport=tls>", secured.tls));
    phone.hear_sound(20);
    phone.hang_up();
    drop(phone);
    secured.server.settles(&before, Duration::from_secs(10));
    assert_eq!(secured.server.metrics().value("hookswitch_sip_certificate_days_left"), Some(20.0));
}

#[test]
fn the_server_hangs_up_on_the_flow_of_the_call() {
    let secured = Secured::start(&[]);
    let wire = secured.authority.connect(secured.tls, "sip.example.test", None).unwrap();
    let mut phone = Phone::new(wire, secured.tls);
    assert_eq!(phone.invite("200").status(), Some(200));
    let stay = phone.stay(crate::rtp_peer::Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some(), "{stay:?}");
}

#[test]
fn a_client_does_not_go_on_with_a_server_of_another_name() {
    let secured = Secured::start(&[]);
    assert!(secured.authority.connect(secured.tls, "sip.example.org", None).is_err());
    let failed = "hookswitch_sip_handshakes_failed_total{kind=\"tls_in\"}";
    let mut stream = TcpStream::connect_timeout(&secured.tls, ANSWER_MAX).unwrap();
    // What is no TLS at all is closed, too.
    stream.write_all(b"OPTIONS sip:127.0.0.1 SIP/2.0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    let mut rest = vec![];
    drop(stream.read_to_end(&mut rest));
    let is_counted = secured.server.wait(ANSWER_MAX, || secured.server.metrics().value(failed) == Some(2.0));
    assert!(is_counted, "{}", secured.server.metrics().shown());
    Phone::assert_served(&secured.server);
}

#[test]
fn stalled_handshakes_keep_nobody_out() {
    let secured = Secured::start(&[]);
    let stalled: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect_timeout(&secured.tls, ANSWER_MAX).unwrap();
            stream.write_all(&[22, 3, 1]).unwrap();
            stream
        })
        .collect();
    let wire = secured.authority.connect(secured.tls, "sip.example.test", None).unwrap();
    assert_eq!(Phone::new(wire, secured.tls).ask("OPTIONS", &[]).status(), Some(200));
    // They are given up after ten seconds.
    let mut last = stalled.into_iter().last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = vec![];
    assert!(last.read_to_end(&mut rest).is_ok(), "it is still open");
    let slow = "hookswitch_sip_handshakes_failed_total{kind=\"too_slow\"}";
    assert!(secured.server.metrics().value(slow).unwrap() > 0.0);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let home = Home::new();
    let clients = Authority::new(home.path(), "carriers");
    let carrier = clients.issue(&["carrier.example"], |_| {});
    let stranger = Authority::new(home.path(), "strangers").issue(&["carrier.example"], |_| {});
    for (kind, own, expected) in [
        ("required", Some(&carrier), true),
        ("required", Some(&stranger), false),
        ("required", None, false),
        ("optional", Some(&carrier), true),
        ("optional", Some(&stranger), false),
        ("optional", None, true),
    ] {
        let ca = clients.file();
        let keys = [("SIP__TLS__CLIENT_CA", ca.to_str().unwrap()), ("SIP__TLS__CLIENT_CERTIFICATES", kind)];
        let secured = Secured::start(&keys);
        assert_eq!(secured.serves(own), expected, "{kind} {}", own.is_some());
    }
}

#[test]
fn a_trunk_is_let_in_by_the_name_in_its_certificate() {
    let home = Home::new();
    let clients = Authority::new(home.path(), "carriers");
    let carrier = clients.issue(&["carrier.example"], |_| {});
    let other = clients.issue(&["other.example"], |_| {});
    let ca = clients.file();
    let secured = Secured::start(&[
        ("SIP__OPEN", "false"),
        ("SIP__TLS__CLIENT_CA", ca.to_str().unwrap()),
        ("SIP__TLS__CLIENT_CERTIFICATES", "optional"),
        ("TRUNKS__ACME__URI", "sip:127.0.0.1:9"),
        ("TRUNKS__ACME__INBOUND__CERTIFICATE_NAMES", "carrier.example"),
    ]);
    for (own, status) in [(Some(&carrier), 200), (Some(&other), 403), (None, 403)] {
        let wire = secured.authority.connect(secured.tls, "sip.example.test", own).unwrap();
        let mut phone = Phone::new(wire, secured.tls);
        assert_eq!(phone.invite("100").status(), Some(status));
        if status == 200 {
            phone.hang_up();
        }
    }
    let calls = crate::journal::calls(&secured.server.home.data());
    assert_eq!(calls.iter().map(|it| it.events[0]["trunk"].clone()).collect::<Vec<_>>(), ["acme"]);
}

#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let secured = Secured::start(&[]);
    let open = secured.authority.connect(secured.tls, "sip.example.test", None).unwrap();
    let mut open = Phone::new(open, secured.tls);
    let renewed = Authority::new(secured.server.home.path(), "renewed");
    assert!(renewed.connect(secured.tls, "sip.example.test", None).is_err());

    // A file that is written halfway changes nothing.
    std::fs::write(&secured.own.certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    secured.server.hang_up();
    secured.server.logs("those from before stay in use", ANSWER_MAX);
    assert!(secured.serves(None));

    let issued = renewed.issue(&["sip.example.test"], |_| {});
    std::fs::copy(&issued.key, &secured.own.key).unwrap();
    std::fs::copy(&issued.certificate, &secured.own.certificate).unwrap();
    secured.server.hang_up();
    secured.server.logs("renewed TLS files are in use", ANSWER_MAX);
    let wire = renewed.connect(secured.tls, "sip.example.test", None).unwrap();
    assert_eq!(Phone::new(wire, secured.tls).ask("OPTIONS", &[]).status(), Some(200));
    assert_eq!(open.ask("OPTIONS", &[]).status(), Some(200), "who is connected stays so");
}

#[test]
fn files_that_are_of_no_use_stop_the_start_and_say_what_to_do() {
    let home = Home::new();
    let authority = Authority::new(home.path(), "ours");
    let [one, two] = ["one.example", "two.example"].map(|it| authority.issue(&[it], |_| {}));
    let nowhere = home.path().join("nowhere.pem");
    for (certificate, key, expected) in [
        (&nowhere, &one.key, "nowhere.pem cannot be read"),
        (&one.key, &one.key, "holds no certificate; expected a PEM file with `-----BEGIN CERTIFICATE-----`"),
        (&one.certificate, &one.certificate, "holds no private key"),
        (&one.certificate, &two.key, "does not belong to the certificate in"),
    ] {
        let listen = format!("tls://127.0.0.1:{}", free_port());
        let keys = [
            ("SIP__LISTEN", listen.as_str()),
            ("SIP__TLS__CERTIFICATE", certificate.to_str().unwrap()),
            ("SIP__TLS__KEY", key.to_str().unwrap()),
        ];
        let printed = serve_and_fail(&home, free_port(), free_port(), &keys);
        assert!(printed.contains(expected), "{expected:?} is not in\n{printed}");
    }
    let printed = serve_and_fail(&home, free_port(), free_port(), &[("SIP__LISTEN", "tls://127.0.0.1:0")]);
    assert!(printed.contains("need [sip.tls] certificate and key"), "{printed}");
}

#[test]
fn an_expired_certificate_is_warned_of() {
    let home = Home::new();
    let authority = Authority::new(home.path(), "ours");
    let own = authority.issue(&["sip.example.test"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let secured = Secured::start_with(&home, authority, own, &[]);
    secured.server.logs("the TLS certificate has expired", ANSWER_MAX);
    assert!(secured.server.metrics().value("hookswitch_sip_certificate_days_left").unwrap() < 0.0);
}

/// A server with a certificate.
struct Secured {
    server: Server,
    tls: SocketAddr,
    authority: Authority,
    own: Issued,
}

impl Secured {
    fn start(keys: &[(&str, &str)]) -> Self {
        let home = Home::new();
        let authority = Authority::new(home.path(), "ours");
        // Half a day more: it is the same day when the test ends.
        let end = SystemTime::now() + Duration::from_secs(20 * 86_400 + 43_200);
        let own = authority.issue(&["sip.example.test"], |params| params.not_after = end.into());
        Self::start_with(&home, authority, own, keys)
    }

    fn start_with(home: &Arc<Home>, authority: Authority, own: Issued, keys: &[(&str, &str)]) -> Self {
        let (sip, port) = (free_port(), free_port());
        let listen = format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip},tls://127.0.0.1:{port}");
        let mut all = vec![
            ("SIP__LISTEN", listen.as_str()),
            ("SIP__TLS__CERTIFICATE", own.certificate.to_str().unwrap()),
            ("SIP__TLS__KEY", own.key.to_str().unwrap()),
        ];
        all.extend(keys);
        let server = Server::start_at(home, sip, free_port(), &all);
        Self { server, tls: SocketAddr::from(([127, 0, 0, 1], port)), authority, own }
    }

    /// Whether a client with this certificate gets an answer. In TLS 1.3 it learns of a refusal after the handshake.
    fn serves(&self, own: Option<&Issued>) -> bool {
        let Ok(wire) = self.authority.connect(self.tls, "sip.example.test", own) else { return false };
        let mut phone = Phone::new(wire, self.tls);
        phone.cseq = 1;
        let request = phone.request("OPTIONS", &[], "");
        let Wire::Tls { mut stream, .. } = phone.wire else { unreachable!() };
        let mut answer = [0; 12];
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"SIP/2.0 200 "
    }
}
