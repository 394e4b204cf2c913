//! Calls that go out while servers do not: RFC 3263 §4.3.

use super::{check, check_showing};
use crate::sip::HeaderName;

#[test]
fn a_server_that_is_silent_is_passed_over() {
    check(
        "
        0.000 < place-over to=192.0.2.10:5060
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1
        0.510 > INVITE sendrecv v1
        1.510 > INVITE sendrecv v1
        3.510 > INVITE sendrecv v1
        4.010 > INVITE sendrecv v1 to 192.0.2.10
        4.100 < 100
        4.200 < 180
        4.200 # Ringing
        5.000 < 200 sdp=sendrecv
        5.000 > ACK to 192.0.2.10
        5.000 ! update-media send receive
        5.000 ! answered
        5.000 # Answered Pcmu
        6.000 < hang-up
        6.000 > BYE to 192.0.2.10
        6.000 ! close-media
        6.000 ! ended HungUp None Local
        6.000 # Ended
        6.100 < 200 method=BYE
        7.510 > INVITE sendrecv v1
        15.510 > INVITE sendrecv v1
        31.510 > INVITE sendrecv v1",
    );
}

#[test]
fn a_server_that_is_unavailable_is_passed_over_at_once() {
    check_showing(
        &[HeaderName::CSeq],
        |_| (),
        "
        0.000 < place-over to=192.0.2.10:5060
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1 CSeq:1 INVITE
        0.100 < 100
        0.200 < 503 h=Retry-After:60
        0.200 > ACK CSeq:1 ACK
        0.200 > INVITE sendrecv v1 CSeq:2 INVITE to 192.0.2.10
        0.300 < 503
        0.300 > ACK CSeq:2 ACK to 192.0.2.10
        0.300 ! close-media
        0.300 ! ended Rejected Some(503) Remote
        0.300 # Ended",
    );
}

#[test]
fn what_the_called_side_says_is_not_asked_again_elsewhere() {
    for (status, cause) in [("486", "Rejected Some(486)"), ("500", "Rejected Some(500)"), ("408", "NoAnswer Some(408)")]
    {
        check(&format!(
            "
            0.000 < place-over to=192.0.2.10:5060
            0.000 # Offered
            0.000 ! open-media
            0.010 < media-opened
            0.010 > INVITE sendrecv v1
            0.200 < {status}
            0.200 > ACK
            0.200 ! close-media
            0.200 ! ended {cause} Remote
            0.200 # Ended"
        ));
    }
    // Once it rang, somebody was called.
    check(
        "
        0.000 < place-over to=192.0.2.10:5060
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1
        0.200 < 180
        0.200 # Ringing
        0.300 < 503
        0.300 > ACK
        0.300 ! close-media
        0.300 ! ended Rejected Some(503) Remote
        0.300 # Ended",
    );
}

#[test]
fn a_server_that_was_left_may_still_answer() {
    check_showing(
        &[HeaderName::CSeq],
        |_| (),
        "
        0.000 < place-over to=192.0.2.10:5060
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1 CSeq:1 INVITE
        0.510 > INVITE sendrecv v1 CSeq:1 INVITE
        1.510 > INVITE sendrecv v1 CSeq:1 INVITE
        3.510 > INVITE sendrecv v1 CSeq:1 INVITE
        4.010 > INVITE sendrecv v1 CSeq:2 INVITE to 192.0.2.10
        4.510 > INVITE sendrecv v1 CSeq:2 INVITE to 192.0.2.10
        5.510 > INVITE sendrecv v1 CSeq:2 INVITE to 192.0.2.10
        7.510 > INVITE sendrecv v1 CSeq:1 INVITE
        7.510 > INVITE sendrecv v1 CSeq:2 INVITE to 192.0.2.10
        8.000 < first 200 sdp=sendrecv
        8.000 > ACK CSeq:1 ACK
        8.000 ! update-media send receive
        8.000 ! answered
        8.000 # Answered Pcmu
        8.100 < 180 tag=other
        8.100 > CANCEL CSeq:2 CANCEL to 192.0.2.10
        8.200 < 200 method=CANCEL
        8.300 < 487 tag=other
        8.300 > ACK CSeq:2 ACK to 192.0.2.10
        9.000 < hang-up
        9.000 > BYE CSeq:2 BYE
        9.000 ! close-media
        9.000 ! ended HungUp None Local
        9.000 # Ended
        9.100 < 200 method=BYE",
    );
    // It rings after all, when the other one is asked already: it is told to stop.
    check(
        "
        0.000 < place-over to=192.0.2.10:5060
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1
        0.510 > INVITE sendrecv v1
        1.510 > INVITE sendrecv v1
        3.510 > INVITE sendrecv v1
        4.010 > INVITE sendrecv v1 to 192.0.2.10
        4.100 < first 180
        4.100 > CANCEL
        4.150 < first 487
        4.150 > ACK
        4.200 < 486
        4.200 > ACK to 192.0.2.10
        4.200 ! close-media
        4.200 ! ended Rejected Some(486) Remote
        4.200 # Ended
        4.300 < 200 method=CANCEL",
    );
}
