//! `authentication_info`: telephones are told that we know their password, too, and the next nonce in time (RFC 7616 §3.5).

use crate::credentials::{Credentials, parameter};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone};

#[test]
fn a_telephone_that_takes_the_next_nonce_is_not_asked_again() {
    for algorithm in ["MD5", "SHA-256"] {
        let server = Server::start(&[
            ("USERS__100__PASSWORD", "secret"),
            ("SIP__DIGEST", algorithm),
            ("SIP__AUTHENTICATION_INFO", "true"),
            ("SIP__NONCE_S", "2"),
        ]);
        let mut phone = Phone::udp(&server);
        let contact = format!("<sip:100@{}>", phone.wire.local());
        let mut credentials = Credentials::of("100", "secret");
        let uri = format!("sip:100@{}", server.sip);
        let is_accepted = |credentials: &Credentials, answer: &Message| {
            assert_eq!(answer.status(), Some(200), "{algorithm} {answer:?}");
            let info = answer.header("Authentication-Info").unwrap();
            assert_eq!(parameter(info, "rspauth"), Some(credentials.proof(&uri, "")), "{info}");
            assert_eq!(parameter(info, "qop").as_deref(), Some("auth"));
            parameter(info, "nextnonce")
        };
        let answer = credentials.register(&mut phone, &contact);
        let mut next = is_accepted(&credentials, &answer);
        let mut renewed = 0;
        // Twice over, which is longer than a nonce lives.
        let is_renewed = server.wait(ANSWER_MAX, || {
            if let Some(nonce) = next.take() {
                assert_ne!(nonce, credentials.nonce);
                credentials.renew(nonce);
                renewed += 1;
            }
            let answer = credentials.try_register(&mut phone, &contact, true);
            next = is_accepted(&credentials, &answer);
            renewed == 3
        });
        assert!(is_renewed, "{algorithm}: {renewed} nonces");
    }
}

#[test]
fn a_nonce_that_has_ended_is_asked_for_anew() {
    let server = Server::start(&[("USERS__100__PASSWORD", "secret"), ("SIP__NONCE_S", "2")]);
    let mut phone = Phone::udp(&server);
    let contact = format!("<sip:100@{}>", phone.wire.local());
    let mut credentials = Credentials::of("100", "secret");
    let answer = credentials.register(&mut phone, &contact);
    assert!(answer.header("Authentication-Info").is_none(), "nobody asked for it");
    let mut last = answer;
    assert!(server.wait(ANSWER_MAX, || {
        last = credentials.try_register(&mut phone, &contact, true);
        last.status() == Some(401)
    }));
    assert_eq!(parameter(last.header("WWW-Authenticate").unwrap(), "stale").as_deref(), Some("true"));
    credentials.challenged(&last, "auth");
    assert_eq!(credentials.try_register(&mut phone, &contact, true).status(), Some(200));
}

#[test]
fn a_body_may_be_protected() {
    let keys = [
        ("SIP__OPEN", "false"),
        ("SIP__AUTH_INT", "true"),
        ("SIP__DIGEST", "SHA-256"),
        ("USERS__100__PASSWORD", "secret"),
    ];
    let server = Server::start(&keys);
    for (is_changed, status) in [(false, 200), (true, 401)] {
        let mut phone = Phone::udp(&server);
        let offer = phone.sdp("sendrecv");
        let challenge = phone.invite_with(&[], &offer);
        assert_eq!(challenge.status(), Some(401), "{challenge:?}");
        let mut credentials = Credentials::of("100", "secret");
        credentials.challenged(&challenge, "auth-int");
        let authorization = credentials.authorization("INVITE", &format!("sip:100@{}", server.sip), &offer);
        let sent = if is_changed { offer.replace("127.0.0.1", "127.0.0.2") } else { offer };
        let answer = phone.invite_with(&[&authorization], &sent);
        assert_eq!(answer.status(), Some(status), "{answer:?}");
        if status == 200 {
            phone.hang_up();
        }
    }
}
