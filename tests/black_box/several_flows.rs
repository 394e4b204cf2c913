//! A telephone with several connections (RFC 5626): it is one telephone, which rings once, and is reached as long as one of
//! them lives.

use std::io::{Read, Write};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone, Wire};

#[test]
fn a_telephone_rings_once_over_whichever_connection_lives() {
    let server = Server::start(&[("USERS__100__PASSWORD", "secret"), ("NUMBERS__600__USER", "100")]);
    let (mut first, answer) = registered(&server, 1);
    assert_eq!(answer.header("Require"), Some("outbound"));
    assert_eq!(answer.header("Flow-Timer"), Some("120"));
    let (mut second, answer) = registered(&server, 2);
    let contacts: Vec<_> = answer.all("Contact").collect();
    assert!(contacts.len() == 2 && contacts.iter().all(|it| it.contains(INSTANCE)), "{contacts:?}");
    for phone in [&mut first, &mut second] {
        keep_alive(phone);
    }
    let before = server.metrics();

    // The latest is taken, and what the telephone says there counts.
    let mut caller = calling(&server);
    let invite = second.wire.request("INVITE");
    second.wire.send(invite.answer("486 Busy Here", &[], "").as_bytes());
    assert_eq!(caller.invited().status(), Some(486));
    assert_nothing_came(&mut first);

    // A connection that breaks while the call is on its way.
    let mut caller = calling(&server);
    second.wire.request("INVITE");
    drop(second);
    rings_and_is_busy(&mut caller, &mut first);

    // One that is closed as the call comes, and one that the server knows to be gone.
    for is_known in [false, true] {
        let (second, _) = registered(&server, 2);
        drop(second);
        if is_known {
            let connections = "hookswitch_sip_connections";
            assert!(server.wait(ANSWER_MAX, || server.metrics().value(connections) == Some(1.0)));
        }
        let mut caller = calling(&server);
        rings_and_is_busy(&mut caller, &mut first);
    }

    // None is left.
    drop(first);
    let mut caller = calling(&server);
    assert_eq!(caller.invited().status(), Some(480));
    server.settles(&before, Duration::from_secs(10));
}

/// A telephone on a connection of its own, and the answer to its REGISTER.
fn registered(server: &Server, reg_id: u32) -> (Phone, Message) {
    let mut phone = Phone::tcp(server);
    let contact =
        format!("<sip:100@{};transport=tcp;ob>;reg-id={reg_id};+sip.instance=\"{INSTANCE}\"", phone.wire.local());
    let answer = Credentials::of("100", "secret").register(&mut phone, &contact);
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    (phone, answer)
}

fn calling(server: &Server) -> Phone {
    let mut caller = Phone::udp(server);
    caller.begin_call("600");
    caller
}

#[track_caller]
fn rings_and_is_busy(caller: &mut Phone, phone: &mut Phone) {
    let invite = phone.wire.request("INVITE");
    phone.wire.send(invite.answer("486 Busy Here", &[], "").as_bytes());
    assert_eq!(caller.invited().status(), Some(486));
    assert_eq!(phone.wire.request("ACK").header("Call-ID"), invite.header("Call-ID"));
    assert_nothing_came(phone);
}

/// What came before would come before the answer to this.
#[track_caller]
fn assert_nothing_came(phone: &mut Phone) {
    phone.cseq += 1;
    let options = phone.request("OPTIONS", &[], "");
    phone.wire.send(options.as_bytes());
    let first = phone.wire.receive(ANSWER_MAX).unwrap();
    assert_eq!(first.status(), Some(200), "{first:?}");
}

/// Two line ends are answered by one (RFC 5626 §4.4.1).
fn keep_alive(phone: &mut Phone) {
    let Wire::Tcp { stream, .. } = &mut phone.wire else { unreachable!() };
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
}

const INSTANCE: &str = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";
