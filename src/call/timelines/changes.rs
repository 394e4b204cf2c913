//! Sessions that change: hold, resume, late offers and collisions: RFC 3261 §14, RFC 3311, RFC 3264.

use super::check;

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
fn a_reinvite_that_is_never_answered_ends_the_call() {
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
        2.100 < 100
       66.000 > BYE
       66.000 ! close-media
       66.000 ! ended PeerLost None Remote
       66.000 # Ended
       66.010 < 200 method=BYE",
    );
}

#[test]
fn the_side_that_was_called_waits_less_after_a_collision() {
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
        2.000 < hold
        2.000 > INVITE sendonly v2
        2.010 < UPDATE cseq=2 sdp=sendonly
        2.010 > 491 UPDATE
        2.020 < UPDATE cseq=3 sdp=none
        2.020 > 200 UPDATE
        2.100 < 491
        2.100 > ACK
        2.150 < INVITE re cseq=4 branch=4 sdp=moved
        2.150 > 200 INVITE sendrecv v3
        2.150 ! update-media send receive
        2.160 < ACK cseq=4
        3.450 > INVITE sendonly v4
        3.560 < 200 sdp=recvonly
        3.560 > ACK
        3.560 ! update-media send
        5.000 < BYE cseq=5
        5.000 > 200 BYE
        5.000 ! close-media
        5.000 ! ended HungUp None Remote
        5.000 # Ended",
    );
}
