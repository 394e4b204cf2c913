//! Transfers that a peer asks for and we carry out: RFC 3515, RFC 5589, RFC 3891.

use super::parties::check_with;
use crate::call::{CallsConfig, Transfers};
use crate::sip::HeaderName;

#[track_caller]
fn check(flow: &str) {
    check_with(carry_out, &[], flow);
}

const CALLED_SIDE_TRANSFERRED: &str = "
        0.000 < a INVITE to=300
        ~ b answers
        1.000 < a INVITE re sdp=sendonly
        1.000 > a 200 INVITE recvonly v2
        1.000 ! update-media 0 192.0.2.10 receive
        1.000 # Held
        1.000 > b INVITE sendonly v2
        1.010 < b 200 sdp=recvonly
        1.010 > b ACK
        1.010 ! update-media 1 192.0.2.11 send
        1.020 < a ACK
        2.000 < a REFER refer=400
        2.000 # TransferAsked true
        2.000 > a 202 REFER
        2.000 > a NOTIFY [SIP/2.0 100 Trying] Subscription-State:active;expires=180
        2.000 # Dialled 2
        2.000 ! open-media 2
        2.000 > c INVITE sendrecv v1 Referred-By:<sip:a@192.0.2.1:5060>
        2.010 < a 200 method=NOTIFY
        2.020 < c 100
        4.000 < c 200 sdp=sendrecv
        4.000 > c ACK
        4.000 # LegAnswered 2
        4.000 ! update-media 2 192.0.2.12 send receive
        4.000 # Transferred Succeeded
        4.000 > a NOTIFY [SIP/2.0 200 OK] Subscription-State:terminated;reason=noresource
        4.000 ! unbridge 0 1
        4.000 ! bridge 1 2
        4.000 # Bridged 1 2
        4.000 > b INVITE sendrecv v3
        4.010 < b 200 sdp=sendrecv
        4.010 > b ACK
        4.010 ! update-media 1 192.0.2.11 send receive
        4.020 < a 200 method=NOTIFY
        4.030 < a BYE
        4.030 > a 200 BYE
        4.030 ! close-media 0
        9.000 < c BYE
        9.000 > c 200 BYE
        9.000 ! unbridge 2 1
        9.000 ! close-media 2
        9.000 # LegEnded 2 HungUp
        9.000 > b BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < b 200 method=BYE";

#[test]
fn the_called_side_is_transferred() {
    check_with(carry_out, &[HeaderName::ReferredBy, HeaderName::SubscriptionState], CALLED_SIDE_TRANSFERRED);
}

#[test]
fn the_caller_is_transferred_by_whom_it_called() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        2.000 < b REFER refer=400
        2.000 # TransferAsked true
        2.000 > b 202 REFER
        2.000 > b NOTIFY [SIP/2.0 100 Trying]
        2.000 # Dialled 2
        2.000 ! open-media 2
        2.000 > c INVITE sendrecv v1
        2.010 < b 200 method=NOTIFY
        2.020 < b BYE
        2.020 > b 200 BYE
        2.020 ! unbridge 1 0
        2.020 ! close-media 1
        2.020 # LegEnded 1 HungUp
        2.030 < c 180
        2.030 # LegRinging 2
        4.000 < c 200 sdp=sendrecv
        4.000 > c ACK
        4.000 # LegAnswered 2
        4.000 ! update-media 2 192.0.2.12 send receive
        4.000 # Transferred Succeeded
        4.000 ! bridge 0 2
        4.000 # Bridged 0 2
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 2
        9.000 ! close-media 0
        9.000 > c BYE
        9.000 ! close-media 2
        9.000 # LegEnded 2 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < c 200 method=BYE",
    );
}

#[test]
fn a_transfer_that_fails_leaves_both_where_they_were() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        2.000 < b REFER refer=400
        2.000 # TransferAsked true
        2.000 > b 202 REFER
        2.000 > b NOTIFY [SIP/2.0 100 Trying]
        2.000 # Dialled 2
        2.000 ! open-media 2
        2.000 > c INVITE sendrecv v1
        2.010 < b 200 method=NOTIFY
        2.020 < b REFER refer=500
        2.020 > b 491 REFER
        2.030 < c 486
        2.030 > c ACK
        2.030 ! close-media 2
        2.030 # LegEnded 2 Rejected
        2.030 # Transferred Failed(486)
        2.030 > b NOTIFY [SIP/2.0 486 Busy Here]
        2.040 < b 200 method=NOTIFY
        3.000 < b REFER refer=999
        3.000 # TransferAsked false
        3.000 > b 404 REFER
        4.000 < b REFER refer=500
        4.000 # TransferAsked true
        4.000 > b 202 REFER
        4.000 > b NOTIFY [SIP/2.0 100 Trying]
        4.000 # Dialled 3
        4.000 ! open-media 3
        4.000 > d INVITE sendrecv v1
        4.010 < b 200 method=NOTIFY
        4.020 < d 180
        4.020 # LegRinging 3
        4.020 > b NOTIFY [SIP/2.0 180 Ringing]
        4.030 < b 200 method=NOTIFY
        5.000 < a BYE
        5.000 > a 200 BYE
        5.000 ! unbridge 0 1
        5.000 ! close-media 0
        5.000 > b BYE
        5.000 ! close-media 1
        5.000 # LegEnded 1 HungUp
        5.000 > d CANCEL
        5.010 < d 200 method=CANCEL
        5.020 < d 487
        5.020 > d ACK
        5.020 ! close-media 3
        5.020 # LegEnded 3 HungUp
        5.020 ! ended HungUp None Remote
        5.020 # Ended
        5.030 < b 200 method=BYE",
    );
}

#[test]
fn a_transfer_that_fails_after_its_asker_has_left_ends_the_call() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        2.000 < b REFER refer=400
        2.000 # TransferAsked true
        2.000 > b 202 REFER
        2.000 > b NOTIFY [SIP/2.0 100 Trying]
        2.000 # Dialled 2
        2.000 ! open-media 2
        2.000 > c INVITE sendrecv v1
        2.010 < b 200 method=NOTIFY
        2.020 < b BYE
        2.020 > b 200 BYE
        2.020 ! unbridge 1 0
        2.020 ! close-media 1
        2.020 # LegEnded 1 HungUp
        2.030 < c 486
        2.030 > c ACK
        2.030 ! close-media 2
        2.030 # LegEnded 2 Rejected
        2.030 # Transferred Failed(486)
        2.030 > a BYE
        2.030 ! close-media 0
        2.030 ! ended HungUp None Local
        2.030 # Ended
        2.040 < a 200 method=BYE",
    );
}

#[test]
fn a_caller_sends_our_agent_on() {
    check(
        "
        0.000 < a INVITE to=200
        ~ the agent answers
        2.000 < a REFER refer=300
        2.000 # TransferAsked true
        2.000 > a 202 REFER
        2.000 > a NOTIFY [SIP/2.0 100 Trying]
        2.000 # Dialled 1
        2.000 > b INVITE sendrecv v1
        2.010 < a 200 method=NOTIFY
        2.020 < b 180
        2.020 # LegRinging 1
        2.020 > a NOTIFY [SIP/2.0 180 Ringing]
        2.030 < a 200 method=NOTIFY
        4.000 < b 200 sdp=sendrecv
        4.000 > b ACK
        4.000 # LegAnswered 1
        4.000 # Transferred Succeeded
        4.000 > a NOTIFY [SIP/2.0 200 OK]
        4.000 ! update-media 0 192.0.2.11 another send receive
        4.000 # Replaced
        4.000 > a BYE
        4.000 # LegEnded 1 HungUp
        4.010 < a 200 method=NOTIFY
        4.020 < a 200 method=BYE
        9.000 < b BYE
        9.000 > b 200 BYE
        9.000 ! close-media 0
        9.000 ! ended HungUp None Remote
        9.000 # Ended",
    );
}

#[test]
fn a_caller_sends_our_agent_on_and_leaves_at_once() {
    check(
        "
        0.000 < a INVITE to=200
        ~ the agent answers
        2.000 < a REFER refer=300
        2.000 # TransferAsked true
        2.000 > a 202 REFER
        2.000 > a NOTIFY [SIP/2.0 100 Trying]
        2.000 # Dialled 1
        2.000 > b INVITE sendrecv v1
        2.010 < a BYE
        2.010 > a 200 BYE
        2.020 < a 481 method=NOTIFY
        2.030 < b 100
        4.000 < b 200 sdp=sendrecv
        4.000 > b ACK
        4.000 # LegAnswered 1
        4.000 # Transferred Succeeded
        4.000 ! update-media 0 192.0.2.11 another send receive
        4.000 # Replaced
        4.000 # LegEnded 1 HungUp
        9.000 < hang-up
        9.000 > b BYE
        9.000 ! close-media 0
        9.000 ! ended HungUp None Local
        9.000 # Ended
        9.010 < b 200 method=BYE",
    );
}

#[test]
fn strangers_and_whom_they_may_not_call() {
    check_with(
        |config| {
            carry_out(config);
            config.listeners[0].1.unknown_sources = true;
        },
        &[],
        "
        0.000 < e INVITE to=200
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > e 180 INVITE
        0.000 # Ringing
        0.000 > e 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.020 < e ACK
        2.000 < e REFER refer=300
        2.000 # TransferAsked false
        2.000 > e 403 REFER
        9.000 < e BYE
        9.000 > e 200 BYE
        9.000 ! close-media 0
        9.000 ! ended HungUp None Remote
        9.000 # Ended",
    );
}

#[test]
fn an_attended_transfer_joins_two_calls() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        1.000 < a2 INVITE to=400
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > c INVITE sendrecv v1
        1.010 < c 200 sdp=sendrecv
        1.010 > c ACK
        1.010 # LegAnswered 1
        1.010 ! update-media 1 192.0.2.12 send receive
        1.010 ! bridge 0 1
        1.010 # Bridged 0 1
        1.010 > a2 200 INVITE sendrecv v1
        1.010 ! answered 0
        1.010 # Answered
        1.020 < a2 ACK
        2.000 < a REFER refer=400 with=a2
        2.000 # TransferAsked true
        2.000 > a 202 REFER
        2.000 > a NOTIFY [SIP/2.0 100 Trying]
        2.000 ! unbridge 0 1
        2.000 ! update-media 0 192.0.2.11 another send receive
        2.000 > b INVITE sendrecv v2
        2.000 # Replaced
        2.000 > a2 BYE
        2.000 ! close-media 1
        2.000 # LegEnded 1 HungUp
        2.010 < a 200 method=NOTIFY
        2.010 > a NOTIFY [SIP/2.0 200 OK]
        2.020 < b 200 sdp=sendrecv
        2.020 > b ACK
        2.020 ! update-media 0 192.0.2.11 send receive
        2.030 < a2 200 method=BYE
        2.040 < a 200 method=NOTIFY
        2.050 < a BYE
        2.050 > a 200 BYE
        2.050 ! close-media 0
        2.050 ! ended HungUp None Local
        2.050 # Ended
        9.000 < b BYE
        9.000 > b 200 BYE
        9.000 ! unbridge 0 1
        9.000 ! close-media 0
        9.000 > c BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < c 200 method=BYE",
    );
}

#[test]
fn our_agent_hands_its_caller_over() {
    check(
        "
        0.000 < a INVITE to=200
        ~ the agent answers
        2.000 < hand-over
        2.000 # Dialled 1
        2.000 ! open-media 1
        2.000 > b INVITE sendrecv v1
        2.010 < b 180
        2.010 # LegRinging 1
        4.000 < b 486
        4.000 > b ACK
        4.000 ! close-media 1
        4.000 # LegEnded 1 Rejected
        4.000 ! transferred Failed(486)
        4.000 # Transferred Failed(486)
        5.000 < hand-over
        5.000 # Dialled 2
        5.000 ! open-media 2
        5.000 > b INVITE sendrecv v1
        5.010 < b 200 sdp=sendrecv
        5.010 > b ACK
        5.010 # LegAnswered 2
        5.010 ! update-media 2 192.0.2.11 send receive
        5.010 ! bridge 0 2
        5.010 # Bridged 0 2
        5.010 ! transferred Succeeded
        5.010 # Transferred Succeeded
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 2
        9.000 ! close-media 0
        9.000 > b BYE
        9.000 ! close-media 2
        9.000 # LegEnded 2 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < b 200 method=BYE",
    );
}

fn carry_out(config: &mut CallsConfig) {
    config.transfers = Transfers::CarriedOut { for_known_sources: true };
}
