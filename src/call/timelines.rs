//! Whole calls on simulated time, each written as its own call flow.
//!
//! Lines with `<` are what the peer or the shell does; all others are what [`Calls`] does about it, to its last timer:
//! `>` a message that goes out, `!` another output, `#` an entry of the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;

use super::*;
use crate::route::{Admission, Target};
use crate::sip::{Headers, Message, Request, Response, StatusCode};
use crate::transport::{Dropped, Listener, TransportKind};

#[test]
fn a_call_that_comes_in_is_answered_and_hung_up_by_the_caller() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.050 < media-opened
        0.050 > 200 INVITE sendrecv v1
        0.050 ! answered
        0.050 # Answered Pcmu
        0.060 < ACK
        5.000 < BYE
        5.000 > 200 BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Remote
        5.000 # Ended",
    );
}

#[test]
fn the_agent_hangs_up() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.050 < media-opened
        0.050 > 200 INVITE sendrecv v1
        0.050 ! answered
        0.050 # Answered Pcmu
        0.060 < ACK
        5.000 < hang-up
        5.000 > BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Local
        5.000 # Ended
        5.500 > BYE
        5.600 < 200",
    );
}

#[test]
fn a_200_is_repeated_until_its_ack_and_a_bye_waits_for_it() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.050 < media-opened
        0.050 > 200 INVITE sendrecv v1
        0.050 ! answered
        0.050 # Answered Pcmu
        0.100 < INVITE
        0.550 > 200 INVITE sendrecv v1
        1.000 < hang-up
        1.000 ! close-media
        1.000 ! ended HungUp None Local
        1.000 # Ended
        1.550 > 200 INVITE sendrecv v1
        2.000 < ACK
        2.000 > BYE
        2.010 < 200",
    );
}

#[test]
fn an_ack_that_never_comes_ends_the_call_after_32_seconds() {
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
        0.500 > 200 INVITE sendrecv v1
        1.500 > 200 INVITE sendrecv v1
        3.500 > 200 INVITE sendrecv v1
        7.500 > 200 INVITE sendrecv v1
       11.500 > 200 INVITE sendrecv v1
       15.500 > 200 INVITE sendrecv v1
       19.500 > 200 INVITE sendrecv v1
       23.500 > 200 INVITE sendrecv v1
       27.500 > 200 INVITE sendrecv v1
       31.500 > 200 INVITE sendrecv v1
       32.000 > BYE
       32.000 ! close-media
       32.000 ! ended NotAcknowledged None Local
       32.000 # Ended
       32.100 < 481",
    );
}

#[test]
fn a_cancelled_call_ends_with_487_and_later_cancels_find_nothing() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        1.000 < CANCEL
        1.000 > 200 CANCEL
        1.000 > 487 INVITE
        1.000 ! close-media
        1.000 ! ended Cancelled Some(487) Remote
        1.000 # Ended
        1.010 < ACK hop
        1.100 < CANCEL
        1.100 > 200 CANCEL
        2.000 < media-opened",
    );
}

#[test]
fn a_cancel_after_the_answer_has_no_effect_and_an_unknown_one_is_481() {
    check(
        "
        0.000 < CANCEL
        0.000 > 481 CANCEL
        1.000 < INVITE branch=2
        1.000 # Offered
        1.000 ! open-media send receive
        1.000 ! start-agent demo
        1.000 > 180 INVITE
        1.000 # Ringing
        1.050 < media-opened
        1.050 > 200 INVITE sendrecv v1
        1.050 ! answered
        1.050 # Answered Pcmu
        1.060 < CANCEL branch=2
        1.060 > 200 CANCEL
        1.070 < ACK
        2.000 < BYE
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

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
fn a_bye_in_the_early_dialog_ends_the_invite() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.500 < INVITE re cseq=2
        0.500 > 500 INVITE Retry-After
        0.510 < ACK hop cseq=2
        1.000 < BYE cseq=3
        1.000 > 200 BYE
        1.000 > 487 INVITE
        1.000 ! close-media
        1.000 ! ended Cancelled Some(487) Remote
        1.000 # Ended
        1.010 < ACK hop branch=1 cseq=1",
    );
}

#[test]
fn the_peer_holds_and_resumes_and_moves_its_media() {
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
        1.000 < INVITE re cseq=2 sdp=sendonly
        1.000 > 200 INVITE recvonly v2
        1.000 ! update-media receive
        1.000 # Held
        1.010 < ACK cseq=2
        1.500 < media-inactive
        2.000 < INVITE re cseq=3 sdp=inactive
        2.000 > 200 INVITE inactive v3
        2.000 ! update-media
        2.010 < ACK cseq=3
        3.000 < INVITE re cseq=4 sdp=black-hole
        3.000 > 200 INVITE recvonly v4
        3.000 ! update-media receive
        3.010 < ACK cseq=4
        4.000 < INVITE re cseq=5 sdp=moved
        4.000 > 200 INVITE sendrecv v5
        4.000 ! update-media send receive
        4.000 # Resumed
        4.010 < ACK cseq=5
        5.000 < INVITE re cseq=6 sdp=moved
        5.000 > 200 INVITE sendrecv v5
        5.000 ! update-media send receive
        5.010 < ACK cseq=6
        9.000 < media-inactive
        9.000 > BYE
        9.000 ! close-media
        9.000 ! ended MediaInactive None Local
        9.000 # Ended
        9.010 < 200",
    );
}

#[test]
fn a_refused_change_keeps_the_session() {
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
        1.000 < INVITE re cseq=2 sdp=g729
        1.000 > 488 INVITE Warning
        1.010 < ACK hop cseq=2
        2.000 < INVITE re cseq=3 sdp=garbage
        2.000 > 400 INVITE
        2.010 < ACK hop cseq=3
        3.000 < UPDATE cseq=4 sdp=g729
        3.000 > 488 UPDATE Warning
        4.000 < UPDATE cseq=5 sdp=sendonly
        4.000 > 200 UPDATE recvonly v2
        4.000 ! update-media receive
        4.000 # Held
        5.000 < INVITE re cseq=6
        5.000 > 200 INVITE sendrecv v3
        5.000 ! update-media send receive
        5.000 # Resumed
        5.010 < ACK cseq=6
        6.000 < UPDATE cseq=7 sdp=none
        6.000 > 200 UPDATE
        7.000 < BYE cseq=8
        7.000 > 200 BYE
        7.000 ! close-media
        7.000 ! ended HungUp None Remote
        7.000 # Ended",
    );
}

#[test]
fn an_invite_without_offer_gets_one_and_answers_it_in_the_ack() {
    check(
        "
        0.000 < INVITE sdp=none
        0.000 # Offered
        0.000 ! open-media
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1
        0.000 ! answered
        0.000 # Answered
        0.010 < ACK sdp=sendrecv
        0.010 ! update-media send receive
        1.000 < INVITE re cseq=2 sdp=none
        1.000 > 200 INVITE sendrecv v1
        1.100 < INVITE re cseq=3 branch=9
        1.100 > 491 INVITE
        1.110 < ACK hop cseq=3 branch=9
        1.200 < ACK cseq=2 sdp=sendonly
        1.200 ! update-media receive
        1.200 # Held
        2.000 < INVITE re cseq=4 sdp=none
        2.000 > 200 INVITE sendrecv v1
        2.010 < ACK cseq=4
        3.000 < BYE cseq=5
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
}

#[test]
fn an_ack_without_the_answer_it_owes_ends_the_call() {
    check(
        "
        0.000 < INVITE sdp=none
        0.000 # Offered
        0.000 ! open-media
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1
        0.000 ! answered
        0.000 # Answered
        0.010 < ACK
        0.010 > BYE
        0.010 ! close-media
        0.010 ! ended NoCommonMedia None Local
        0.010 # Ended
        0.020 < 200",
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
        1.000 # Digit
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
        7.000 > 405 NOTIFY Allow
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
        0.200 > 405 REFER Allow
        0.300 < GUESS
        0.300 > 501 GUESS Allow
        0.400 < INVITE branch=a h=Require:100rel
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
fn an_invite_by_a_second_path_is_482_and_a_copy_is_absorbed() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.100 < INVITE branch=other
        0.100 > 482 INVITE
        0.110 < ACK hop branch=other
        0.200 < INVITE
        0.200 > 180 INVITE
        1.000 < media-opened
        1.000 > 200 INVITE sendrecv v1
        1.000 ! answered
        1.000 # Answered Pcmu
        1.010 < ACK
       40.000 < INVITE branch=late
       40.000 > 482 INVITE
       40.010 < ACK hop branch=late
       41.000 < BYE
       41.000 > 200 BYE
       41.000 ! close-media
       41.000 ! ended HungUp None Remote
       41.000 # Ended",
    );
}

#[test]
fn no_port_no_call() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.010 < media-refused
        0.010 > 503 INVITE Retry-After
        0.010 ! ended NoMediaPort Some(503) Local
        0.010 # Ended
        0.020 < ACK hop",
    );
}

#[test]
fn a_busy_agent_refuses_and_a_media_session_that_never_opens_fails_the_call() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        1.000 < busy
        1.000 > 486 INVITE
        1.000 ! close-media
        1.000 ! ended Rejected Some(486) Local
        1.000 # Ended
        1.010 < ACK hop
        2.000 < INVITE branch=2 cseq=2
        2.000 # Offered
        2.000 ! open-media send receive
        2.000 ! start-agent demo
        2.000 > 180 INVITE
        2.000 # Ringing
        7.000 > 500 INVITE
        7.000 ! close-media
        7.000 ! ended Rejected Some(500) Local
        7.000 # Ended
        7.010 < ACK hop branch=2 cseq=2",
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
fn our_call_is_answered_and_ended_by_either_side() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1
        0.100 < 100
        0.200 < 180
        0.200 # Ringing
        1.000 < 200 sdp=sendrecv
        1.000 > ACK
        1.000 ! update-media send receive
        1.000 ! answered
        1.000 # Answered Pcmu
        1.500 < 200 sdp=sendrecv
        1.500 > ACK
        5.000 < BYE
        5.000 > 200 BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Remote
        5.000 # Ended
        6.000 < 200 sdp=sendrecv method=INVITE
        6.000 > ACK",
    );
}

#[test]
fn every_other_fork_that_answers_is_ended() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.400 < 200 sdp=sendrecv
        0.400 > ACK
        0.400 ! update-media send receive
        0.400 ! answered
        0.400 # Answered Pcmu
        0.410 < 200 sdp=sendrecv tag=second
        0.410 > ACK
        0.410 > BYE
        0.420 < 200 method=BYE
        1.600 < 200 sdp=sendrecv tag=second method=INVITE
        1.600 > ACK
        2.000 < hang-up
        2.000 > BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Local
        2.000 # Ended
        2.010 < 200 method=BYE",
    );
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < hang-up
        0.500 > INVITE sendrecv v1
        0.600 < 100
        0.600 > CANCEL
        0.610 < 200 method=CANCEL
        0.620 < 487
        0.620 > ACK
        0.620 ! close-media
        0.620 ! ended Cancelled Some(487) Local
        0.620 # Ended",
    );
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 180
        0.100 # Ringing
        0.200 < hang-up
        0.200 > CANCEL
        0.210 < 200 sdp=sendrecv
        0.210 > ACK
        0.210 > BYE
        0.210 ! close-media
        0.210 ! ended Cancelled Some(200) Local
        0.210 # Ended
        0.220 < 200 method=BYE
        0.230 < 200 method=CANCEL",
    );
}

#[test]
fn a_cancel_that_nobody_heeds_gives_up() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 180
        0.100 # Ringing
        0.200 < hang-up
        0.200 > CANCEL
        0.210 < 200 method=CANCEL
       32.200 ! close-media
       32.200 ! ended Cancelled None Local
       32.200 # Ended",
    );
}

#[test]
fn refusals_redirections_and_silence_end_our_call() {
    for (status, cause) in [(486, "Rejected"), (302, "Rejected"), (408, "NoAnswer"), (603, "Rejected")] {
        check(&format!(
            "
            0.000 < place
            0.000 # Offered
            0.000 ! open-media
            0.000 < media-opened
            0.000 > INVITE sendrecv v1
            0.100 < {status}
            0.100 > ACK
            0.100 ! close-media
            0.100 ! ended {cause} Some({status}) Remote
            0.100 # Ended
            0.600 < {status}
            0.600 > ACK",
        ));
    }
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.500 > INVITE sendrecv v1
        1.500 > INVITE sendrecv v1
        3.500 > INVITE sendrecv v1
        7.500 > INVITE sendrecv v1
       15.500 > INVITE sendrecv v1
       31.500 > INVITE sendrecv v1
       32.000 ! close-media
       32.000 ! ended NoAnswer None Local
       32.000 # Ended",
    );
}

#[test]
fn a_call_that_rings_on_is_given_up() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 180
        0.100 # Ringing
      180.000 > CANCEL
      180.010 < 200 method=CANCEL
      180.020 < 487
      180.020 > ACK
      180.020 ! close-media
      180.020 ! ended Cancelled Some(487) Local
      180.020 # Ended",
    );
}

#[test]
fn early_media_comes_before_the_answer() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 183 sdp=sendrecv
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.400 < 200 sdp=sendrecv
        0.400 > ACK
        0.400 ! update-media send receive
        0.400 ! answered
        0.400 # Answered Pcmu
        2.000 < BYE
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn an_answer_that_cannot_be_used_ends_our_call() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.400 < 200 sdp=g729
        0.400 > ACK
        0.400 > BYE
        0.400 ! close-media
        0.400 ! ended NoCommonMedia Some(200) Local
        0.400 # Ended
        0.500 < 200 method=BYE",
    );
}

#[test]
fn our_hold_is_asked_again_after_a_collision() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.400 < 200 sdp=sendrecv
        0.400 > ACK
        0.400 ! update-media send receive
        0.400 ! answered
        0.400 # Answered Pcmu
        2.000 < hold
        2.000 > INVITE sendonly v2
        2.100 < INVITE re cseq=1
        2.100 > 491 INVITE
        2.110 < ACK hop cseq=1
        2.200 < 491
        2.200 > ACK
        5.920 > INVITE sendonly v2
        5.950 < 200 sdp=recvonly
        5.950 > ACK
        5.950 ! update-media send
        6.000 < resume
        6.000 > INVITE sendrecv v3
        6.100 < 488
        6.100 > ACK
        7.000 < hold
        7.000 > INVITE sendonly v4
        7.100 < 481
        7.100 > ACK
        7.100 ! close-media
        7.100 ! ended PeerLost Some(481) Remote
        7.100 # Ended",
    );
}

#[test]
fn byes_that_cross_are_both_answered() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.400 < 200 sdp=sendrecv
        0.400 > ACK
        0.400 ! update-media send receive
        0.400 ! answered
        0.400 # Answered Pcmu
        2.000 < hang-up
        2.000 > BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Local
        2.000 # Ended
        2.010 < BYE
        2.010 > 200 BYE
        2.020 < 200 method=BYE",
    );
}

#[test]
fn header_fields_that_smuggle_end_the_call_unsent() {
    check(
        "
        0.000 < place-smuggled
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 ! close-media
        0.000 ! ended NotSent None Local
        0.000 # Ended",
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

#[test]
fn a_183_carries_the_answer_and_the_command_answers() {
    let mut peer = Peer::new(|config| config.ring = Ring { tone: RingTone::EarlyMedia, answer_after: None });
    let log = peer.run("0.000 < INVITE\n0.050 < media-opened\n61.000 < answer\n61.010 < ACK\n62.000 < BYE");
    let expected = "0.000 < INVITE|0.000 # Offered|0.000 ! open-media send receive|0.000 ! start-agent demo|\
        0.050 < media-opened|0.050 > 183 INVITE sendrecv v1|0.050 # EarlyMedia|60.000 > 183 INVITE sendrecv v1|\
        61.000 < answer|61.000 > 200 INVITE sendrecv v1|61.000 ! answered|61.000 # Answered Pcmu|61.010 < ACK|\
        62.000 < BYE|62.000 > 200 BYE|62.000 ! close-media|62.000 ! ended HungUp None Remote|62.000 # Ended";
    assert_eq!(log.join("|"), expected);
}

/// Runs `flow` and compares what happens, to the last timer, with it. Nothing may be held afterwards.
#[track_caller]
fn check(flow: &str) {
    let expected: Vec<_> = flow.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let mut peer = Peer::new(|_| ());
    let log = peer.run(flow);
    assert_eq!(log, expected);
    let counts = peer.calls.counts();
    assert_eq!(counts, Counts::default());
}

/// A peer that does what it is told, and the shell around [`Calls`].
struct Peer {
    calls: Calls,
    start: Now,
    now: Now,
    log: Vec<String>,
    leg: Option<LegId>,
    /// The last request of each method that went out, and the To tag of our last response.
    received: BTreeMap<String, Request>,
    tag: String,
}

impl Peer {
    fn new(configure: impl FnOnce(&mut CallsConfig)) -> Self {
        let mut config = CallsConfig::new(vec![Listener::new(TransportKind::Udp, flow().local)]);
        let target = Target { account: AccountId::default(), agent: AgentName("demo".to_owned()) };
        config.listeners[0].1 = Admission { unknown_sources: true, unknown_numbers: Some(target) };
        configure(&mut config);
        let now = Now::origin();
        let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(1), now);
        let received = BTreeMap::new();
        Self { calls, start: now, now, log: vec![], leg: None, received, tag: String::new() }
    }

    fn run(&mut self, flow: &str) -> Vec<String> {
        let inputs = flow.lines().filter_map(|it| it.trim().split_once(" < "));
        for (at, input) in inputs {
            let seconds: f64 = at.trim().parse().expect("a time");
            self.advance(Some(self.start + Duration::from_millis((seconds * 1_000.0).round() as u64)));
            self.log.push(format!("{} < {input}", self.at()));
            self.act(input);
            self.drain();
        }
        self.advance(None);
        std::mem::take(&mut self.log)
    }

    /// Lets timers fire up to and including `until`, or all of them.
    fn advance(&mut self, until: Option<Now>) {
        while let Some((at, _)) = self.calls.poll_timeout() {
            if until.is_some_and(|until| at > until.instant) {
                break;
            }
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            self.calls.handle_timeout(self.now);
            self.drain();
        }
        self.now = until.unwrap_or(self.now);
    }

    fn at(&self) -> String {
        format!("{:.3}", self.now.since(self.start).as_secs_f64())
    }

    fn act(&mut self, input: &str) {
        let now = self.now;
        let mut words = input.split(' ');
        let what = words.next().expect("a word");
        let options: BTreeMap<_, _> = words.map(|it| it.split_once('=').unwrap_or((it, ""))).collect();
        let leg = self.leg;
        let leg = || leg.expect("there was a call");
        match what {
            "media-opened" => self.calls.handle_media_opened(leg(), "192.0.2.1:20000".parse().expect("valid"), now),
            "media-refused" => self.calls.handle_media_refused(leg(), now),
            "media-inactive" => self.calls.handle_media_inactive(leg(), now),
            "hang-up" => self.calls.hang_up(leg().call, HangUpCause::Done, now),
            "busy" => self.calls.hang_up(leg().call, HangUpCause::Busy, now),
            "answer" => self.calls.answer(leg().call, now),
            "hold" => self.calls.hold(leg().call, true, now),
            "resume" => self.calls.hold(leg().call, false, now),
            "drain" => self.calls.drain(now),
            "place" => self.place(vec![]),
            "place-smuggled" => {
                self.place(vec![(HeaderName::Subject, "x\r\nRoute: <sip:evil>".to_owned())]);
            }
            status if status.bytes().all(|it| it.is_ascii_digit()) => self.respond(status, &options),
            method => self.request(method, &options),
        }
    }

    fn place(&mut self, headers: Vec<(HeaderName, String)>) {
        let uri = |it: &str| it.parse().expect("a URI");
        let outbound = Outbound {
            account: AccountId::default(),
            to: uri("sip:peer@192.0.2.9"),
            from: uri("sip:us@192.0.2.1"),
            display_name: Some("Us".to_owned()),
            flow: flow(),
            headers,
        };
        self.calls.place(outbound, self.now);
    }

    /// Sends a request of `method`. Options: `branch`, `cseq`, `call`, `from` (tag), `to` (tag), `sdp`, `body`, `h` (one
    /// more header), `contact=none`; `re`: within the dialog; `hop`: the ACK of a refusal.
    fn request(&mut self, method: &str, options: &BTreeMap<&str, &str>) {
        let option = |name: &str, default: &str| (*options.get(name).unwrap_or(&default)).to_owned();
        let is_outside = matches!(method, "INVITE" | "CANCEL" | "OPTIONS" | "REGISTER" | "REFER" | "GUESS")
            && !options.contains_key("re")
            && !(matches!(method, "OPTIONS" | "REFER") && options.contains_key("cseq"));
        // Where our side called, the dialog has its Call-ID and From the other way round.
        let placed = self.received.get("INVITE").map(Request::headers);
        let call = placed.map_or("c", |it| it.call_id()).to_owned();
        let tag = placed.and_then(|it| it.from().tag()).unwrap_or(&self.tag);
        let tag = if is_outside { "" } else { tag }.to_owned();
        let to = match option("to", &tag) {
            tag if tag.is_empty() => String::new(),
            tag => format!(";tag={tag}"),
        };
        let cseq = option("cseq", if is_outside || method == "ACK" { "1" } else { "2" });
        let is_hop = matches!(method, "INVITE" | "CANCEL") || options.contains_key("hop");
        let branch = option("branch", &if is_hop { cseq.clone() } else { format!("{method}{cseq}") });
        let (call, from) = (option("call", &call), option("from", "peer"));
        let default = if method == "INVITE" { "sendrecv" } else { "none" };
        let body = match options.get("body").and_then(|it| it.split_once(':')) {
            Some((content_type, body)) => format!("Content-Type: {content_type}\r\n\r\n{body}"),
            None => sdp(&option("sdp", default)),
        };
        let contact = if options.contains_key("contact") { "" } else { "Contact: <sip:peer@192.0.2.9>\r\n" };
        let header = options.get("h").map_or_else(String::new, |it| format!("{it}\r\n"));
        let text = format!(
            "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{branch}\r\n\
             From: <sip:peer@192.0.2.9>;tag={from}\r\nTo: <sip:100@192.0.2.1>{to}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\n{contact}{header}{body}"
        );
        self.calls.handle_datagram(flow(), Bytes::from(text), self.now);
    }

    /// Answers the last request that went out, or that of `method`. Options: `sdp`, `tag`.
    fn respond(&mut self, status: &str, options: &BTreeMap<&str, &str>) {
        let status: u16 = status.parse().expect("a status");
        let last = options.get("method").copied().unwrap_or_else(|| {
            ["INVITE", "BYE"].into_iter().rfind(|it| self.received.contains_key(*it)).expect("a request went out")
        });
        let Some(request) = self.received.get(last) else {
            let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKstray\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n";
            self.calls.handle_datagram(flow(), Bytes::from_static(text.as_bytes()), self.now);
            return;
        };
        let tag = options.get("tag").copied().unwrap_or("peer");
        let mut reply = Response::reply(request, StatusCode::new(status).expect("a status"))
            .to_tag(request, tag)
            .header(HeaderName::Contact, "<sip:peer@192.0.2.9>");
        if let Some(kind) = options.get("sdp") {
            let body = sdp(kind);
            let (_, body) = body.split_once("\r\n\r\n").expect("a body");
            reply = reply.body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
        }
        let data = reply.build().expect("a response").to_bytes();
        self.calls.handle_datagram(flow(), data, self.now);
    }

    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            let line = match output {
                Output::Send { flow: to, data } => {
                    assert_eq!(to, flow());
                    self.receive(data)
                }
                Output::Close { .. } => "! close".to_owned(),
                Output::OpenMedia { leg, remote, .. } => {
                    self.leg = Some(leg);
                    format!("! open-media{}", remote.as_ref().map_or_else(String::new, show_media))
                }
                Output::UpdateMedia { remote, .. } => format!("! update-media{}", show_media(&remote)),
                Output::CloseMedia { .. } => "! close-media".to_owned(),
                Output::StartAgent { agent, .. } => format!("! start-agent {}", agent.0),
                Output::Answered { .. } => "! answered".to_owned(),
                Output::Digit { digit, .. } => format!("! digit {digit}"),
                Output::Ended { end, .. } => {
                    format!("! ended {:?} {:?} {:?}", end.cause, end.sip_status, end.initiator)
                }
                Output::Journal { event: Event::Answered { codec: Some(codec) }, .. } => {
                    format!("# Answered {codec:?}")
                }
                Output::Journal { event, .. } => {
                    let text = format!("{event:?}");
                    let end = text.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(text.len());
                    format!("# {}", &text[..end])
                }
            };
            self.log.push(format!("{} {line}", self.at()));
        }
    }

    fn receive(&mut self, data: Bytes) -> String {
        match Message::parse(data).expect("what we send can be read") {
            Message::Request(request) => {
                let method = request.method().as_str().to_owned();
                let line = format!("> {method}{}", show_sdp(request.body()));
                self.received.insert(method, request);
                line
            }
            Message::Response(response) => {
                let headers = response.headers();
                if let Some(tag) = headers.to().tag().filter(|_| matches!(response.status().code(), 101..=299)) {
                    tag.clone_into(&mut self.tag);
                }
                let (status, method) = (response.status(), &headers.cseq().method);
                format!("> {status} {method}{}{}", show_sdp(response.body()), show_headers(status, headers))
            }
        }
    }
}

fn flow() -> Flow {
    let [local, remote] = ["192.0.2.1:5060", "192.0.2.9:5060"].map(|it| it.parse().expect("an address"));
    Flow { kind: TransportKind::Udp, local, remote }
}

/// Content-Type, empty line and body.
fn sdp(kind: &str) -> String {
    let (address, rest) = match kind {
        "none" => return "\r\n".to_owned(),
        "garbage" => return "Content-Type: application/sdp\r\n\r\ngarbage".to_owned(),
        "g729" => ("192.0.2.9", "m=audio 4000 RTP/AVP 18".to_owned()),
        "black-hole" => ("0.0.0.0", "m=audio 4000 RTP/AVP 0".to_owned()),
        "moved" => ("192.0.2.10", "m=audio 5000 RTP/AVP 0".to_owned()),
        direction => ("192.0.2.9", format!("m=audio 4000 RTP/AVP 0\r\na={direction}")),
    };
    format!(
        "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{rest}\r\n"
    )
}

fn show_media(media: &MediaDescription) -> String {
    let send = if media.send { " send" } else { "" };
    let receive = if media.receive { " receive" } else { "" };
    format!("{send}{receive}")
}

/// The direction and the version of a session description of ours.
fn show_sdp(body: &Bytes) -> String {
    if body.is_empty() {
        return String::new();
    }
    let description = crate::sdp::SessionDescription::parse(body).expect("a session description");
    let direction = description.direction_of(&description.media[0]);
    format!(" {direction} v{}", description.origin.version)
}

/// The header fields that explain a refusal or answer OPTIONS.
fn show_headers(status: StatusCode, headers: &Headers) -> String {
    let names: &[HeaderName] = match status.code() {
        200 if headers.cseq().method == crate::sip::Method::Options => &[HeaderName::Allow, HeaderName::Accept],
        200 => &[],
        _ => &[
            HeaderName::Allow,
            HeaderName::Accept,
            HeaderName::Unsupported,
            HeaderName::Warning,
            HeaderName::RetryAfter,
        ],
    };
    let found = names.iter().filter(|it| headers.contains(it));
    found.map(|it| format!(" {it}")).collect()
}
