//! What is refused, with which status, and what that leaves: nothing.

use super::{Peer, check};
use crate::route::Admission;
use crate::transport::Dropped;

#[test]
fn requests_that_fit_no_dialog_are_481_and_harm_no_call() {
    check(
        "
        0.000 < BYE to=nobody
        0.000 > 481 BYE
        0.010 < BYE to=
        0.010 > 481 BYE
        0.020 < INVITE cseq=7
        0.020 # Offered
        0.020 ! open-media send receive
        0.020 ! start-agent demo
        0.020 > 180 INVITE
        0.020 # Ringing
        0.030 < media-opened
        0.030 > 200 INVITE sendrecv v1
        0.030 ! answered
        0.030 # Answered Pcmu
        0.040 < ACK cseq=7
        0.050 < ACK cseq=7
        0.100 < BYE from=stranger
        0.100 > 481 BYE
        0.110 < BYE call=other
        0.110 > 481 BYE
        0.120 < INFO cseq=6
        0.120 > 500 INFO
        1.000 < BYE cseq=8
        1.000 > 200 BYE
        1.000 ! close-media
        1.000 ! ended HungUp None Remote
        1.000 # Ended
        1.100 < INFO cseq=9
        1.100 > 481 INFO
        1.200 < 200 method=BYE
        1.300 < ACK cseq=7",
    );
}

#[test]
fn digits_and_questions_within_the_dialog_are_answered_and_refer_is_declined() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1
        0.000 ! answered
        0.000 # Answered Pcmu
        0.010 < ACK
        1.000 < INFO cseq=2 body=application/dtmf:5
        1.000 > 200 INFO
        1.000 ! digit 5
        2.000 < INFO cseq=3 body=text/plain:5
        2.000 > 415 INFO Accept
        3.000 < INFO cseq=4
        3.000 > 200 INFO
        4.000 < OPTIONS cseq=5
        4.000 > 200 OPTIONS Allow Accept
        5.000 < REFER cseq=6 h=Refer-To:<sip:x@y>
        5.000 > 603 REFER
        6.000 < REFER cseq=7
        6.000 > 400 REFER
        7.000 < NOTIFY cseq=8
        7.000 > 489 NOTIFY
        8.000 < BYE cseq=9
        8.000 > 200 BYE
        8.000 ! close-media
        8.000 ! ended HungUp None Remote
        8.000 # Ended",
    );
}

#[test]
fn what_is_not_served_is_refused_without_a_call() {
    check(
        "
        0.000 < OPTIONS
        0.000 > 200 OPTIONS Allow Accept
        0.100 < REGISTER
        0.100 > 405 REGISTER Allow
        0.200 < REFER h=Refer-To:<sip:x@y>
        0.200 > 403 REFER
        0.300 < GUESS
        0.300 > 501 GUESS Allow
        0.400 < INVITE branch=a h=Require:path
        0.400 > 420 INVITE Unsupported
        0.410 < ACK hop branch=a
        0.500 < INVITE branch=b cseq=2 sdp=g729
        0.500 > 488 INVITE Warning
        0.510 < ACK hop branch=b cseq=2
        0.600 < INVITE branch=c cseq=3 body=text/plain:x
        0.600 > 415 INVITE Accept
        0.610 < ACK hop branch=c cseq=3
        0.700 < INVITE branch=d cseq=4 h=Max-Forwards:0
        0.700 > 483 INVITE
        0.710 < ACK hop branch=d cseq=4
        0.800 < INVITE branch=e cseq=5 contact=none
        0.800 > 400 INVITE
        0.810 < ACK hop branch=e cseq=5",
    );
}

#[test]
fn draining_refuses_calls_and_answers_options() {
    check(
        "
        0.000 < drain
        1.000 < INVITE
        1.000 > 503 INVITE Retry-After
        1.010 < ACK hop
        2.000 < OPTIONS
        2.000 > 200 OPTIONS Allow Accept",
    );
}

#[test]
fn limits_answer_503_and_count() {
    let mut peer = Peer::new(|config| config.limits.calls_max = 0);
    let log = peer.run("0.000 < INVITE\n0.010 < ACK hop");
    assert_eq!(log, ["0.000 < INVITE", "0.000 > 503 INVITE Retry-After", "0.010 < ACK hop"]);
    assert_eq!(peer.calls.stats().dropped(Dropped::TooManyCalls), 1);

    let mut peer = Peer::new(|config| config.limits.transactions_max = 0);
    let log = peer.run("0.000 < INVITE\n0.010 < ACK hop\n0.020 < OPTIONS");
    let expected = ["0.000 < INVITE", "0.000 > 503 INVITE Retry-After", "0.010 < ACK hop", "0.020 < OPTIONS"];
    assert_eq!(log[..4], expected);
    assert_eq!(log[4], "0.020 > 503 OPTIONS Retry-After");
    assert_eq!(peer.calls.stats().dropped(Dropped::TooManyTransactions), 2);

    let mut peer = Peer::new(|config| config.limits.dialogs_max = 0);
    let log = peer.run("0.000 < INVITE\n0.010 < ACK hop");
    assert_eq!(log[1], "0.000 > 503 INVITE Retry-After");
    assert_eq!(peer.calls.stats().dropped(Dropped::TooManyDialogs), 1);
}

#[test]
fn strangers_and_unknown_numbers_are_refused() {
    let mut peer = Peer::new(|config| config.listeners[0].1 = Admission::default());
    let log = peer.run("0.000 < INVITE\n0.010 < ACK hop");
    assert_eq!(log, ["0.000 < INVITE", "0.000 > 403 INVITE", "0.010 < ACK hop"]);

    let mut peer = Peer::new(|config| config.listeners[0].1.unknown_numbers = None);
    let log = peer.run("0.000 < INVITE\n0.010 < ACK hop");
    let expected = ["0.000 < INVITE", "0.000 > 404 INVITE", "0.000 # Offered", "0.000 # Ended", "0.010 < ACK hop"];
    assert_eq!(log, expected);
}
