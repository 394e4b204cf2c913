//! Those who are called and point elsewhere (RFC 3261 §8.1.3.4): whom they may send a call to, and whom not.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::journal;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{TonePeer, talk};

const CALLER_HZ: f64 = 500.0;
const CALLED_HZ: f64 = 900.0;

#[test]
fn a_trunk_that_points_to_another_of_its_numbers_is_called_there() {
    let carriers = carriers();
    let server = server(&carriers);
    let before = server.metrics();
    let mut caller = Phone::udp(&server);
    let mut called = TonePeer::new(CALLED_HZ);
    let invites = std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let first = carriers[0].next("INVITE", ANSWER_MAX);
            let moved = format!("Contact: <sip:+4940456@{}>;q=0.9", carriers[0].address);
            carriers[0].answer(&first, "302 Moved Temporarily", &[&moved]);
            carriers[0].next("ACK", ANSWER_MAX);
            [first, called.answer(&carriers[0])]
        });
        assert_eq!(caller.invite("400").status(), Some(200), "{}", server.log());
        answering.join().unwrap()
    });
    let [first, second] = invites.each_ref().map(|it| &it.message);
    assert!(first.start.contains("sip:400@") && second.start.contains("sip:+4940456@"), "{second:?}");
    assert_ne!(first.header("Call-ID"), second.header("Call-ID"));
    let history = second.all("History-Info").collect::<Vec<_>>().join(",");
    assert!(history.contains("cause%3D302") && history.contains("sip:+4940456@"), "{second:?}");

    let mut caller_media = TonePeer::on(caller.media.socket.try_clone().unwrap(), caller.media.remote, CALLER_HZ);
    talk(&mut [&mut caller_media, &mut called], 20, Duration::from_millis(400));
    let seen = [caller_media.heard.len(), called.heard.len()];
    talk(&mut [&mut caller_media, &mut called], 20, Duration::from_secs(1));
    assert_eq!(caller_media.tones(seen[0], &[CALLER_HZ, CALLED_HZ]), [CALLED_HZ]);
    assert_eq!(called.tones(seen[1], &[CALLER_HZ, CALLED_HZ]), [CALLER_HZ]);
    caller.hang_up();
    carriers[0].answer(&carriers[0].next("BYE", ANSWER_MAX), "200 OK", &[]);
    let is_closed = || journal::calls(&server.home.data()).iter().all(|it| it.closed);
    assert!(server.wait(ANSWER_MAX, is_closed));
    let calls = journal::calls(&server.home.data());
    assert!(calls.len() == 1 && calls[0].all("note").any(|it| it["topic"] == "redirected"), "{calls:?}");
    // The dialog that was refused waits for answers that are late.
    server.settles(&before, Duration::from_secs(40));
}

#[test]
fn a_trunk_does_not_point_to_the_servers_of_another() {
    let carriers = carriers();
    let server = server(&carriers);
    let mut caller = Phone::udp(&server);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let first = carriers[0].next("INVITE", ANSWER_MAX);
            let moved = format!("Contact: <sip:+1900555@{}>", carriers[1].address);
            carriers[0].answer(&first, "302 Moved Temporarily", &[&moved]);
            carriers[0].next("ACK", ANSWER_MAX);
        });
        caller.invite("400")
    });
    assert!(refused.status().is_some_and(|it| it >= 400), "{refused:?}");
    assert!(refused.header("Contact").is_none(), "{refused:?}");
    assert!(carriers[1].next_if_any("INVITE", Duration::from_millis(300)).is_none(), "it is called for another trunk");
}

#[test]
fn those_who_point_in_circles_are_left() {
    let carriers = carriers();
    let server = server(&carriers);
    let mut caller = Phone::udp(&server);
    let (refused, invites) = std::thread::scope(|scope| {
        let pointing = scope.spawn(|| {
            let mut invites = 0;
            let mut limit = ANSWER_MAX;
            while let Some(invite) = carriers[0].next_if_any("INVITE", limit) {
                let user = if invite.message.start.contains("sip:401@") { "402" } else { "401" };
                let moved = format!("Contact: <sip:{user}@{}>", carriers[0].address);
                carriers[0].answer(&invite, "302 Moved Temporarily", &[&moved]);
                (invites, limit) = (invites + 1, Duration::from_secs(1));
            }
            invites
        });
        (caller.invite("400"), pointing.join().unwrap())
    });
    assert!(refused.status().is_some_and(|it| it >= 400), "{refused:?}");
    assert_eq!(invites, 3, "400, 401 and 402 once each");
}

fn carriers() -> [Carrier; 2] {
    [[127, 0, 0, 2], [127, 0, 0, 3]].map(|it| Carrier::start_on(Ipv4Addr::from(it)))
}

/// It calls 400 over the trunk of the first carrier, which is followed.
fn server(carriers: &[Carrier; 2]) -> Server {
    Server::start(&[
        ("TRUNKS__ACME__URI", &carriers[0].uri()),
        ("TRUNKS__ACME__REDIRECTS", "follow"),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__OTHER__URI", &carriers[1].uri()),
        ("NUMBERS__400__TRUNK", "acme"),
    ])
}
