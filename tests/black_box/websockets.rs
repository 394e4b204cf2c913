//! SIP over websockets (RFC 7118): a browser's telephone, which has no address of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hookswitch::codec::AudioCodec;
use tokio_tungstenite::tungstenite::Message;

use crate::credentials::Credentials;
use crate::rtp_peer::Sends;
use crate::server_process::{Home, Server, free_port};
use crate::sip_phone::{ANSWER_MAX, Phone, Wire};
use crate::tone_peer::{TonePeer, talk};

#[test]
fn a_call_over_a_websocket() {
    let (server, ws) = start(&[]);
    let before = server.metrics();
    let mut phone = Phone::new(Wire::ws(ws, None, "sip").unwrap(), ws);
    let answer = phone.invite("100");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert!(answer.header("Via").unwrap().starts_with("SIP/2.0/WS "), "{answer:?}");
    assert_eq!(answer.header("Contact").unwrap(), format!("<sip:{ws};transport=ws>"));
    phone.hear_sound(20);
    phone.hang_up();
    drop(phone);
    server.settles(&before, Duration::from_secs(10));
}

#[test]
fn the_server_hangs_up_on_the_websocket() {
    let (server, ws) = start(&[]);
    let mut phone = Phone::new(Wire::ws(ws, None, "sip").unwrap(), ws);
    let answer = phone.invite("200");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    // Its Contact names no host that exists: the only way is the one it came.
    let stay = phone.stay(Sends::Silence, Duration::from_secs(20));
    assert!(stay.bye.is_some(), "{stay:?}\n{}", server.log());
}

#[test]
fn only_sip_and_listed_pages_are_let_in() {
    let (_server, ws) = start(&[("SIP__ORIGINS", "https://phone.example")]);
    assert_eq!(Wire::ws(ws, None, "chat").err(), Some(400));
    assert_eq!(Wire::ws(ws, Some("https://evil.example"), "sip").err(), Some(403));
    let wire = Wire::ws(ws, Some("https://phone.example"), "sip").unwrap();
    assert_eq!(Phone::new(wire, ws).ask("OPTIONS", &[]).status(), Some(200));
}

#[test]
fn keep_alives_of_both_kinds_are_answered() {
    let (_server, ws) = start(&[]);
    let Wire::Ws { mut socket } = Wire::ws(ws, None, "sip").unwrap() else { unreachable!() };
    socket.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
    socket.send(Message::text("\r\n\r\n")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("\r\n"));
}

#[test]
fn what_is_too_large_or_no_websocket_ends_the_connection_and_only_that() {
    let (server, ws) = start(&[]);
    let Wire::Ws { mut socket } = Wire::ws(ws, None, "sip").unwrap() else { unreachable!() };
    // The server may close it before all is written.
    drop(socket.send(Message::binary(vec![b'A'; 200_000])));
    while socket.read().is_ok() {}

    let mut stream = TcpStream::connect_timeout(&ws, ANSWER_MAX).unwrap();
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    stream.write_all(b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x;branch=b\r\n\r\n").unwrap();
    let mut rest = vec![];
    drop(stream.read_to_end(&mut rest));
    // It is counted a moment after the connection is closed.
    let failed = || server.metrics().value("hookswitch_sip_handshakes_failed_total{kind=\"websocket\"}");
    assert!(server.wait(ANSWER_MAX, || failed() == Some(1.0)), "{}", server.metrics().shown());

    let mut phone = Phone::new(Wire::ws(ws, None, "sip").unwrap(), ws);
    phone.wire.send(b"no SIP at all");
    assert_eq!(phone.ask("OPTIONS", &[]).status(), Some(200), "a message that is none costs nothing else");
    Phone::assert_served(&server);
}

#[test]
fn a_telephone_on_a_websocket_that_is_no_browser_is_called_with_what_its_user_takes() {
    for (keys, profile, is_secured) in [
        (&[][..], "UDP/TLS/RTP/SAVPF", false),
        (&[("USERS__DESK__MEDIA", "plain")], "RTP/AVP", false),
        (&[("USERS__DESK__MEDIA", "plain"), ("MEDIA__SRTP", "required")], "RTP/SAVP", true),
    ] {
        let mut all = vec![("USERS__DESK__PASSWORD", "secret"), ("NUMBERS__500__USER", "desk")];
        all.extend(keys);
        let (server, ws) = start(&all);
        let mut desk = Phone::new(Wire::ws(ws, None, "sip").unwrap(), ws);
        let contact = "<sip:desk@desk.invalid;transport=ws>";
        assert_eq!(Credentials::of("desk", "secret").register(&mut desk, contact).status(), Some(200));
        let mut called = TonePeer::speaking(900.0, AudioCodec::Pcmu, is_secured);
        let mut caller = TonePeer::speaking(500.0, AudioCodec::Pcmu, is_secured);
        let mut phone = Phone::udp(&server);
        let answer = std::thread::scope(|scope| {
            let calling = scope.spawn(|| phone.invite_offering("500", &caller.sdp_offering()));
            let invite = desk.wire.request("INVITE");
            let offered = invite.sdp("m=audio ").unwrap();
            assert_eq!(offered.split(' ').nth(1), Some(profile), "{invite:?}");
            if profile == "UDP/TLS/RTP/SAVPF" {
                desk.wire.send(invite.reply("488 Not Acceptable Here").as_bytes());
                return calling.join().unwrap();
            }
            called.agree(&invite);
            let answer = invite.answer("200 OK", &[&format!("Contact: {contact}")], &called.sdp_answering(&invite));
            desk.wire.send(answer.as_bytes());
            desk.wire.request("ACK");
            calling.join().unwrap()
        });
        if profile == "UDP/TLS/RTP/SAVPF" {
            assert_eq!(answer.status(), Some(488), "{answer:?}");
            continue;
        }
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        caller.agree(&answer);
        talk(&mut [&mut caller, &mut called], 20, Duration::from_millis(500));
        let from = [caller.heard.len(), called.heard.len()];
        talk(&mut [&mut caller, &mut called], 20, Duration::from_secs(1));
        assert_eq!(caller.tones(from[0], &[500.0, 900.0]), [900.0]);
        assert_eq!(called.tones(from[1], &[500.0, 900.0]), [500.0]);
        phone.hang_up();
        desk.wire.request("BYE");
    }
}

fn start(keys: &[(&str, &str)]) -> (Server, SocketAddr) {
    let (sip, port) = (free_port(), free_port());
    let listen = format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip},ws://127.0.0.1:{port}");
    let mut all = vec![("SIP__LISTEN", listen.as_str())];
    all.extend(keys);
    (Server::start_at(&Home::new(), sip, free_port(), &all), SocketAddr::from(([127, 0, 0, 1], port)))
}
