//! Agents that hand their caller over by REFER: RFC 3515, and RFC 5589 §7 with Replaces.

use super::parties::{check, check_with};
use crate::sip::HeaderName;

#[test]
fn the_callers_side_calls_and_leaves() {
    check_with(
        |_| (),
        &[HeaderName::ReferTo],
        "
        0.000 < a INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.010 < a ACK
        1.000 < hand-over refer
        1.000 > a REFER Refer-To:<sip:b@192.0.2.11:5060>
        1.000 # TransferStarted
        1.010 < a 202 method=REFER
        1.020 < a NOTIFY h=Event:refer|Subscription-State:active body=message/sipfrag:SIP/2.0~100~Trying
        1.020 > a 200 NOTIFY
        3.000 < a NOTIFY h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        3.000 > a 200 NOTIFY
        3.000 ! transferred Succeeded
        3.000 # Transferred Succeeded
        7.000 > a BYE
        7.000 ! close-media 0
        7.000 ! ended HungUp None Local
        7.000 # Ended
        7.010 < a 200 method=BYE",
    );
}

#[test]
fn a_caller_that_leaves_before_it_tells_has_left() {
    check(
        "
        0.000 < a INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.010 < a ACK
        1.000 < hand-over refer-or-bridge
        1.000 > a REFER
        1.000 # TransferStarted
        1.010 < a 202 method=REFER
        1.020 < a BYE
        1.020 > a 200 BYE
        1.020 ! transferred HungUp
        1.020 # Transferred HungUp
        1.020 ! close-media 0
        1.020 ! ended HungUp None Remote
        1.020 # Ended
        1.030 < a NOTIFY h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        1.030 > a 481 NOTIFY",
    );
}

#[test]
fn a_caller_that_cannot_be_referred_is_bridged() {
    check(
        "
        0.000 < a INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.010 < a ACK
        1.000 < hand-over refer-or-bridge
        1.000 > a REFER
        1.000 # TransferStarted
        1.010 < a 603 method=REFER
        1.010 # Transferred Refused(603)
        1.010 # Dialled 1
        1.010 ! open-media 1
        1.010 > b INVITE sendrecv v1
        1.500 < b 200 sdp=sendrecv
        1.500 > b ACK
        1.500 # LegAnswered 1
        1.500 ! update-media 1 192.0.2.11 send receive
        1.500 ! bridge 0 1
        1.500 # Bridged 0 1
        1.500 ! transferred Succeeded
        1.500 # Transferred Succeeded
        9.000 < b BYE
        9.000 > b 200 BYE
        9.000 ! unbridge 1 0
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 > a BYE
        9.000 ! close-media 0
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < a 200 method=BYE",
    );
}

#[test]
fn a_transfer_that_fails_leaves_the_agent_its_caller() {
    check(
        "
        0.000 < a INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.010 < a ACK
        1.000 < hand-over refer-or-bridge
        1.000 > a REFER
        1.000 # TransferStarted
        1.010 < a 202 method=REFER
        1.500 < hand-over refer
        1.500 ! transferred Failed(491)
        1.500 # Transferred Failed(491)
        2.000 < a NOTIFY h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~486~Busy
        2.000 > a 200 NOTIFY
        2.000 ! transferred Failed(486)
        2.000 # Transferred Failed(486)
        2.500 < hand-over refer
        2.500 > a REFER
        2.500 # TransferStarted
        2.510 < a 501 method=REFER
        2.510 ! transferred Refused(501)
        2.510 # Transferred Refused(501)
        9.000 < hang-up
        9.000 > a BYE
        9.000 ! close-media 0
        9.000 ! ended HungUp None Local
        9.000 # Ended
        9.010 < a 200 method=BYE",
    );
}

const RELEASED: &str = "
        0.000 < a INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.010 < a ACK
        1.000 < hand-over release
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > b INVITE sendrecv v1
        1.400 < b 200 sdp=sendrecv
        1.400 > b ACK
        1.400 # LegAnswered 1
        1.400 ! update-media 1 192.0.2.11 send receive
        1.400 ! bridge 0 1
        1.400 # Bridged 0 1
        1.400 ! transferred Succeeded
        1.400 # Transferred Succeeded
        1.400 > a REFER
        1.400 # TransferStarted";

#[test]
fn two_who_hear_each_other_do_without_us() {
    check(&format!(
        "{RELEASED}
        1.510 < a 202 method=REFER
        1.600 < b BYE
        1.600 > b 200 BYE
        1.600 ! unbridge 1 0
        1.600 ! close-media 1
        1.600 # LegEnded 1 HungUp
        1.620 < a NOTIFY h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        1.620 > a 200 NOTIFY
        1.620 # Transferred Succeeded
        1.630 < a BYE
        1.630 > a 200 BYE
        1.630 ! close-media 0
        1.630 ! ended HungUp None Remote
        1.630 # Ended"
    ));
}

#[test]
fn where_that_is_not_possible_we_stay_between_them() {
    check(&format!(
        "{RELEASED}
        1.510 < a 420 method=REFER
        1.510 # Transferred Refused(420)
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 1
        9.000 ! close-media 0
        9.000 > b BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < b 200 method=BYE"
    ));
}
