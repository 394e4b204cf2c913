//! Calls that go out: RFC 3261 §13.2, §9.1, and what forks and crossings do to them.

use super::check;

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
      180.020 ! ended NoAnswer Some(487) Local
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
