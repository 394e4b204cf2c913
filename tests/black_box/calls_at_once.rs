//! Two calls do not know of each other, and many calls leave nothing behind.

use std::time::{Duration, Instant};

use crate::journal;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::Phone;

#[test]
fn two_calls_do_not_know_of_each_other() {
    let server = Server::start(&[]);
    let mut first = Phone::call(&server, "100");
    let mut second = Phone::call(&server, "100");
    assert_ne!(first.media.remote, second.media.remote);
    std::thread::scope(|scope| {
        for phone in [&mut first, &mut second] {
            scope.spawn(move || {
                phone.hear_sound(30);
                phone.hear(100);
            });
        }
    });
    assert_ne!(first.media.ssrc_heard, second.media.ssrc_heard);
    first.hang_up();
    second.hear(50);
    second.hang_up();
}

#[test]
fn a_thousand_calls_leave_nothing_behind() {
    const CALLS: usize = 1_000;
    let ports = rtp_ports(4_000);
    let server = Server::start(&[("RTP__PORTS", ports.as_str())]);
    let before = server.metrics();
    before.assert_complete();
    let began = Instant::now();
    for _ in 0..CALLS {
        let mut phone = Phone::call(&server, "100");
        phone.hang_up();
    }
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    server.settles(&before, Duration::from_secs(45));
    let calls = journal::calls(&server.home.data());
    assert_eq!(calls.len(), CALLS);
    assert!(calls.iter().all(|it| it.closed && it.end_cause() == Some("hang_up")));
}

#[test]
fn refused_and_cancelled_calls_leave_nothing_behind() {
    let ports = rtp_ports(400);
    let server = Server::start(&[("SIP__RING_MS", "60000"), ("RTP__PORTS", ports.as_str())]);
    let before = server.metrics();
    for _ in 0..100 {
        let mut phone = Phone::udp(&server);
        let unusable = phone.sdp("sendrecv").replace("RTP/AVP 0 101", "RTP/AVP 18");
        assert_eq!(phone.invite_with(&[], &unusable).status(), Some(488));
        let mut phone = Phone::udp(&server);
        let answer = phone.cancel("100");
        assert_eq!(answer.status(), Some(487), "{answer:?}");
    }
    server.settles(&before, Duration::from_secs(45));
}
