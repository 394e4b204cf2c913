//! Calls that come in, from the INVITE to the last timer: RFC 3261 §13.3, §9.2, §15.

use super::{Peer, check, check_showing};
use crate::call::{Ring, RingTone};

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
fn whoever_captures_is_told_whose_a_message_is_before_it_comes() {
    check_showing(
        &[],
        |config| config.captures = true,
        "
        0.000 < INVITE
        0.000 ~ is the peer's
        0.000 ~ INVITE
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
        0.060 ~ ACK
        5.000 < BYE
        5.000 ~ BYE
        5.000 > 200 BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Remote
        5.000 # Ended",
    );
}

#[test]
fn a_room_rings_until_somebody_says_that_there_is_room() {
    let room = |config: &mut crate::call::CallsConfig| {
        let to = crate::route::Destination::Room(crate::route::RoomName("den".to_owned()));
        let room = crate::route::Target { account: crate::identity::AccountId::default(), to };
        config.listeners[0].1.unknown_numbers = Some(room);
    };
    let flow = "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! enter-room den
        0.000 ! open-media send receive
        0.000 > 180 INVITE
        0.000 # Ringing
        0.050 < media-opened
        3.000 < answer
        3.000 > 200 INVITE sendrecv v1
        3.000 ! answered
        3.000 # Answered Pcmu
        3.060 < ACK
        5.000 < BYE
        5.000 > 200 BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Remote
        5.000 # Ended";
    check_showing(&[], room, flow);
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
        7.000 ! ended NoMediaPort Some(500) Local
        7.000 # Ended
        7.010 < ACK hop branch=2 cseq=2",
    );
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
