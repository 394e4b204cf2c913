//! PBXs that register with us: they are called where they have registered.

use crate::credentials::Credentials;
use crate::http_client;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone, Wire};

#[test]
fn a_trunk_is_called_over_its_registration() {
    let server = Server::start(&[
        ("TRUNKS__PBX__INBOUND__USERNAME", "branch"),
        ("TRUNKS__PBX__INBOUND__PASSWORD", "secret"),
        ("TRUNKS__PBX__INBOUND__REGISTRATION", "true"),
        ("TRUNKS__PBX__CALLER_ID", "+4930123"),
        ("NUMBERS__500__TRUNK", "pbx"),
        ("NUMBERS__500__DIAL", "+4940456"),
        // Who calls it.
        ("TRUNKS__ACME__URI", "sip:192.0.2.1"),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1"),
    ]);
    assert_eq!(Phone::udp(&server).invite("500").status(), Some(480), "it is nowhere");
    for wire in [Wire::tcp(server.sip), Wire::udp(server.sip)] {
        let transport = if matches!(wire, Wire::Tcp { .. }) { ";transport=tcp" } else { "" };
        let mut pbx = Phone::new(wire, server.sip);
        let place = format!("{}{transport};line=7", pbx.wire.local());
        let answer = Credentials::of("branch", "secret").register(&mut pbx, &format!("<sip:branch@{place}>"));
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        let mut phone = Phone::udp(&server);
        phone.begin_call("500");
        let invite = pbx.wire.request("INVITE");
        assert_eq!(invite.start, format!("INVITE sip:+4940456@{place} SIP/2.0"));
        assert!(invite.header("To").unwrap().starts_with("<sip:+4940456@"), "{invite:?}");
        assert!(invite.header("From").unwrap().contains("<sip:+4930123@"), "{invite:?}");
        assert!(invite.header("Route").is_none());
        let sdp = phone.sdp("sendrecv");
        let contact = format!("Contact: <sip:branch@{place}>");
        pbx.wire.send(invite.answer("200 OK", &[&contact], &sdp).as_bytes());
        assert_eq!(phone.invited().status(), Some(200));
        pbx.wire.request("ACK");
        phone.hang_up();
        let bye = pbx.wire.request("BYE");
        pbx.wire.send(bye.answer("200 OK", &[], "").as_bytes());
    }
    // The first one's connection is closed, and the second one is there still. It is not any more now.
    let mut pbx = Phone::udp(&server);
    let mut credentials = Credentials::of("branch", "secret");
    let challenge = credentials.try_register(&mut pbx, "*", false);
    credentials.challenged(&challenge, "auth");
    let answer = remove_all(&mut credentials, &mut pbx);
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert_eq!(Phone::udp(&server).invite("500").status(), Some(480));
}

fn remove_all(credentials: &mut Credentials, phone: &mut Phone) -> Message {
    let authorization = credentials.authorization("REGISTER", &format!("sip:branch@{}", phone.server), "");
    phone.contact = Some("*".to_owned());
    phone.ask("REGISTER", &[&authorization, "Expires: 0"])
}

#[test]
fn agents_call_over_it_and_it_calls_us_over_its_connection() {
    let server = Server::start(&[
        ("SIP__OPEN", "false"),
        ("HTTP__API_KEY", KEY),
        ("TRUNKS__PBX__INBOUND__USERNAME", "branch"),
        ("TRUNKS__PBX__INBOUND__PASSWORD", "secret"),
        ("TRUNKS__PBX__INBOUND__REGISTRATION", "true"),
    ]);
    let mut pbx = Phone::tcp(&server);
    let place = format!("{};transport=tcp", pbx.wire.local());
    Credentials::of("branch", "secret").register(&mut pbx, &format!("<sip:branch@{place}>"));
    let order = r#"{"to": "+4940456", "agent": "talker", "trunk": "pbx", "from": "+49301"}"#;
    assert_eq!(http_client::post(server.http, "/v1/calls", KEY, order).status, 201);
    let invite = pbx.wire.request("INVITE");
    assert_eq!(invite.start, format!("INVITE sip:+4940456@{place} SIP/2.0"));
    assert!(invite.header("From").unwrap().contains("<sip:+49301@"), "{invite:?}");
    pbx.wire.send(invite.answer("486 Busy Here", &[], "").as_bytes());
    pbx.wire.request("ACK");
    // No password is asked for on the connection that has registered.
    let mut caller = Phone::new(pbx.wire, server.sip);
    assert_eq!(caller.invite("100").status(), Some(200));
    caller.hang_up();
    for direction in ["in", "out"] {
        let calls = format!("hookswitch_trunk_calls_total{{trunk=\"pbx\",direction=\"{direction}\"}}");
        assert!(
            server.wait(ANSWER_MAX, || server.metrics().value(&calls) == Some(1.0)),
            "{}",
            server.metrics().shown()
        );
    }
    let stranger = Phone::tcp(&server).invite("100");
    assert_eq!(stranger.status(), Some(401), "{stranger:?}");
}

const KEY: &str = "a key for tests only";
