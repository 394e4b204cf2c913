//! Two legs with dialogs of their own (RFC 7092): one telephone calls another through us.

use super::parties::{check, check_with};
use crate::call::CallsConfig;
use crate::sip::HeaderName;

#[test]
fn two_talk_until_the_caller_hangs_up() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 100
        0.200 > a 100 INVITE
        1.000 < b 180
        1.000 # LegRinging 1
        1.000 > a 180 INVITE
        1.000 # Ringing
        2.000 < b 200 sdp=sendrecv
        2.000 > b ACK
        2.000 # LegAnswered 1
        2.000 ! update-media 1 192.0.2.11 send receive
        2.000 ! bridge 0 1
        2.000 # Bridged 0 1
        2.000 > a 200 INVITE sendrecv v1
        2.000 ! answered 0
        2.000 # Answered
        2.100 < a ACK
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 1
        9.000 ! close-media 0
        9.000 > b BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < b 200 method=BYE",
    );
}

#[test]
fn the_called_side_hangs_up() {
    check(
        "
        0.000 < a INVITE to=300 sdp=none
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 100
        0.200 > a 100 INVITE
        2.000 < b 200 sdp=sendrecv
        2.000 > b ACK
        2.000 # LegAnswered 1
        2.000 ! update-media 1 192.0.2.11 send receive
        2.000 ! bridge 0 1
        2.000 # Bridged 0 1
        2.000 > a 200 INVITE sendrecv v1
        2.000 ! answered 0
        2.000 # Answered
        2.100 < a ACK sdp=sendrecv
        2.100 ! update-media 0 192.0.2.10 send receive
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
fn early_media_are_heard_by_the_caller() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 183 sdp=sendrecv
        0.010 ! update-media 1 192.0.2.11 send receive
        0.010 ! bridge 0 1
        0.010 # Bridged 0 1
        0.010 > a 183 INVITE sendrecv v1
        0.010 # EarlyMedia
        1.000 < b 180
        1.000 # LegRinging 1
        1.100 < b 183 sdp=sendrecv
        1.100 ! update-media 1 192.0.2.11 send receive
        2.000 < b 200 sdp=sendrecv
        2.000 > b ACK
        2.000 # LegAnswered 1
        2.000 ! update-media 1 192.0.2.11 send receive
        2.000 > a 200 INVITE sendrecv v1
        2.000 ! answered 0
        2.000 # Answered
        2.100 < a ACK
        3.000 < a INVITE re sdp=sendonly
        3.000 > a 200 INVITE recvonly v2
        3.000 ! update-media 0 192.0.2.10 receive
        3.000 # Held
        3.000 > b INVITE sendonly v2
        3.010 < b 200 sdp=recvonly
        3.010 > b ACK
        3.010 ! update-media 1 192.0.2.11 send
        3.100 < a ACK
        4.000 < b INFO body=application/dtmf-relay:Signal=5
        4.000 > b 200 INFO
        4.000 ! digit 1 5
        4.000 # Digit
        5.000 < a INVITE re sdp=sendrecv
        5.000 > a 200 INVITE sendrecv v3
        5.000 ! update-media 0 192.0.2.10 send receive
        5.000 # Resumed
        5.000 > b INVITE sendrecv v3
        5.010 < b 200 sdp=sendrecv
        5.010 > b ACK
        5.010 ! update-media 1 192.0.2.11 send receive
        5.100 < a ACK
        9.000 < hang-up
        9.000 > a BYE
        9.000 ! unbridge 0 1
        9.000 ! close-media 0
        9.000 > b BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Local
        9.000 # Ended
        9.010 < a 200 method=BYE
        9.010 < b 200 method=BYE",
    );
}

#[test]
fn refusals_reach_the_caller_in_words_that_mean_something_there() {
    check_with(
        |_| (),
        &[HeaderName::Reason],
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 486 h=Reason:Q.850;cause=17|Retry-After:5
        0.010 > b ACK
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected
        0.010 > a 486 INVITE Reason:Q.850;cause=17
        0.010 ! close-media 0
        0.010 ! ended Rejected Some(486) Remote
        0.010 # Ended
        0.020 < a ACK hop
        9.000 < a INVITE to=300
        9.000 # Offered
        9.000 ! open-media 0
        9.000 # Dialled 1
        9.000 ! open-media 1
        9.000 > b INVITE sendrecv v1
        9.010 < b 407
        9.010 > b ACK
        9.010 ! close-media 1
        9.010 # LegEnded 1 Rejected
        9.010 > a 500 INVITE
        9.010 ! close-media 0
        9.010 ! ended Rejected Some(500) Remote
        9.010 # Ended
        9.020 < a ACK hop
        19.000 < a INVITE to=300
        19.000 # Offered
        19.000 ! open-media 0
        19.000 # Dialled 1
        19.000 ! open-media 1
        19.000 > b INVITE sendrecv v1
        19.010 < b 302
        19.010 > b ACK
        19.010 ! close-media 1
        19.010 # LegEnded 1 Rejected
        19.010 > a 480 INVITE
        19.010 ! close-media 0
        19.010 ! ended Rejected Some(480) Remote
        19.010 # Ended
        19.020 < a ACK hop
        29.000 < a INVITE to=300
        29.000 # Offered
        29.000 ! open-media 0
        29.000 # Dialled 1
        29.000 ! open-media 1
        29.000 > b INVITE sendrecv v1
        29.010 < b 488
        29.010 > b ACK
        29.010 ! close-media 1
        29.010 # LegEnded 1 Rejected
        29.010 > a 488 INVITE
        29.010 ! close-media 0
        29.010 ! ended Rejected Some(488) Remote
        29.010 # Ended
        29.020 < a ACK hop
        39.000 < a INVITE to=300 sdp=g729
        39.000 > a 488 INVITE
        39.020 < a ACK hop",
    );
}

#[test]
fn nobody_answers() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 180
        0.010 # LegRinging 1
        0.010 > a 180 INVITE
        0.010 # Ringing
        60.010 > a 180 INVITE
        120.010 > a 180 INVITE
        180.000 > a 480 INVITE
        180.000 ! close-media 0
        180.000 > b CANCEL
        180.100 < a ACK hop
        180.100 < b 200 method=CANCEL
        180.110 < b 487
        180.110 > b ACK
        180.110 ! close-media 1
        180.110 # LegEnded 1 NoAnswer
        180.110 ! ended NoAnswer Some(480) Local
        180.110 # Ended",
    );
}

#[test]
fn nothing_is_heard_of_the_called_side() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.200 > a 100 INVITE
        0.500 > b INVITE sendrecv v1
        1.500 > b INVITE sendrecv v1
        3.500 > b INVITE sendrecv v1
        7.500 > b INVITE sendrecv v1
        15.500 > b INVITE sendrecv v1
        31.500 > b INVITE sendrecv v1
        32.000 ! close-media 1
        32.000 # LegEnded 1 NoAnswer
        32.000 > a 480 INVITE
        32.000 ! close-media 0
        32.000 ! ended NoAnswer Some(480) Local
        32.000 # Ended
        32.100 < a ACK hop",
    );
}

#[test]
fn the_caller_gives_up() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 180
        0.010 # LegRinging 1
        0.010 > a 180 INVITE
        0.010 # Ringing
        2.000 < a CANCEL
        2.000 > a 200 CANCEL
        2.000 > a 487 INVITE
        2.000 ! close-media 0
        2.000 > b CANCEL
        2.010 < a ACK hop
        2.020 < b 200 method=CANCEL
        2.030 < b 487
        2.030 > b ACK
        2.030 ! close-media 1
        2.030 # LegEnded 1 Cancelled
        2.030 ! ended Cancelled Some(487) Remote
        2.030 # Ended",
    );
}

#[test]
fn a_cancel_crosses_the_answer() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 180
        0.010 # LegRinging 1
        0.010 > a 180 INVITE
        0.010 # Ringing
        2.000 < a CANCEL
        2.000 > a 200 CANCEL
        2.000 > a 487 INVITE
        2.000 ! close-media 0
        2.000 > b CANCEL
        2.010 < b 200 sdp=sendrecv
        2.010 > b ACK
        2.010 > b BYE
        2.010 ! close-media 1
        2.010 # LegEnded 1 Cancelled
        2.010 ! ended Cancelled Some(487) Remote
        2.010 # Ended
        2.010 < a ACK hop
        2.020 < b 481 method=CANCEL
        2.030 < b 200 method=BYE",
    );
}

#[test]
fn both_hang_up_at_once() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        5.000 < a BYE
        5.000 > a 200 BYE
        5.000 ! unbridge 0 1
        5.000 ! close-media 0
        5.000 > b BYE
        5.000 ! close-media 1
        5.000 # LegEnded 1 HungUp
        5.000 ! ended HungUp None Remote
        5.000 # Ended
        5.000 < b BYE
        5.000 > b 200 BYE
        5.010 < b 200 method=BYE",
    );
}

#[test]
fn silence_on_one_leg_ends_both_unless_it_is_held() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        1.000 < b INVITE re sdp=inactive
        1.000 > b 200 INVITE inactive v2
        1.000 ! update-media 1 192.0.2.11
        1.000 # Held
        1.000 > a INVITE sendonly v2
        1.010 < a 200 sdp=recvonly
        1.010 > a ACK
        1.010 ! update-media 0 192.0.2.10 send
        1.020 < b ACK
        2.000 < inactive 0
        2.000 < inactive 1
        3.000 < b INVITE re sdp=sendrecv
        3.000 > b 200 INVITE sendrecv v3
        3.000 ! update-media 1 192.0.2.11 send receive
        3.000 # Resumed
        3.000 > a INVITE sendrecv v3
        3.010 < a 200 sdp=sendrecv
        3.010 > a ACK
        3.010 ! update-media 0 192.0.2.10 send receive
        3.020 < b ACK
        5.000 < inactive 1
        5.000 > b BYE
        5.000 ! unbridge 1 0
        5.000 ! close-media 1
        5.000 # LegEnded 1 MediaInactive
        5.000 > a BYE
        5.000 ! close-media 0
        5.000 ! ended MediaInactive None Local
        5.000 # Ended
        5.010 < a 200 method=BYE
        5.010 < b 200 method=BYE",
    );
}

#[test]
fn why_one_side_hangs_up_the_other_is_told() {
    check_with(
        |_| (),
        &[HeaderName::Reason],
        "
        0.000 < a INVITE to=300
        ~ b answers
        5.000 < a BYE h=Reason:Q.850;cause=31
        5.000 > a 200 BYE
        5.000 ! unbridge 0 1
        5.000 ! close-media 0
        5.000 > b BYE Reason:Q.850;cause=31
        5.000 ! close-media 1
        5.000 # LegEnded 1 HungUp
        5.000 ! ended HungUp None Remote Q850(31)
        5.000 # Ended
        5.010 < b 200 method=BYE",
    );
}

#[test]
fn why_the_caller_gives_up_the_called_side_is_told() {
    for (told, passed_on, cause, kept) in [
        ("SIP;cause=200;text=\"Call~completed~elsewhere\"", ELSEWHERE, "AnsweredElsewhere", " Sip(200)"),
        ("Q.850;cause=27", "Q.850;cause=27", "Cancelled", " Q850(27)"),
        ("SIP;cause=487", "Q.850;cause=16;text=\"Normal call clearing\"", "Cancelled", " Sip(487)"),
    ] {
        check_with(
            |_| (),
            &[HeaderName::Reason],
            &format!(
                "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 180
        0.010 # LegRinging 1
        0.010 > a 180 INVITE
        0.010 # Ringing
        2.000 < a CANCEL h=Reason:{told}
        2.000 > a 200 CANCEL
        2.000 > a 487 INVITE
        2.000 ! close-media 0
        2.000 > b CANCEL Reason:{passed_on}
        2.010 < a ACK hop
        2.020 < b 200 method=CANCEL
        2.030 < b 487
        2.030 > b ACK
        2.030 ! close-media 1
        2.030 # LegEnded 1 {cause}
        2.030 ! ended Cancelled Some(487) Remote{kept}
        2.030 # Ended"
            ),
        );
    }
}

#[test]
fn only_what_is_allowed_crosses() {
    check_with(
        passes_fields,
        &[
            HeaderName::From,
            HeaderName::To,
            HeaderName::MaxForwards,
            HeaderName::PAssertedIdentity,
            HeaderName::Privacy,
            HeaderName::Diversion,
            HeaderName::Other("X-Tenant".into()),
            HeaderName::Other("X-Secret".into()),
        ],
        "
        0.000 < a INVITE to=300 h=Max-Forwards:20|P-Asserted-Identity:\"Real\"~<sip:+4930@carrier>|X-Tenant:7|X-Secret:8|Diversion:<sip:7@carrier>;reason=no-answer,<sip:8@carrier>;privacy=full
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1 From:\"Real\" <sip:+4930@192.0.2.1:5060> To:<sip:b@192.0.2.11:5060> Max-Forwards:19 P-Asserted-Identity:<sip:+4930@192.0.2.1:5060> Diversion:<sip:300@192.0.2.1:5060>;reason=unconditional;counter=1 Diversion:<sip:7@192.0.2.1:5060>;reason=no-answer X-Tenant:7
        0.010 < b 603
        0.010 > b ACK From:\"Real\" <sip:+4930@192.0.2.1:5060> To:<sip:b@192.0.2.11:5060> Max-Forwards:70
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected
        0.010 > a 603 INVITE From:\"a\" <sip:a@elsewhere.example> To:<sip:300@192.0.2.1>
        0.010 ! close-media 0
        0.010 ! ended Rejected Some(603) Remote
        0.010 # Ended
        0.020 < a ACK hop
        9.000 < a INVITE to=300 h=Max-Forwards:20|P-Asserted-Identity:<sip:+4930@carrier>|Privacy:id
        9.000 # Offered
        9.000 ! open-media 0
        9.000 # Dialled 1
        9.000 ! open-media 1
        9.000 > b INVITE sendrecv v1 From:\"Anonymous\" <sip:anonymous@anonymous.invalid> To:<sip:b@192.0.2.11:5060> Max-Forwards:19 P-Asserted-Identity:<sip:+4930@192.0.2.1:5060> Privacy:id Diversion:<sip:300@192.0.2.1:5060>;reason=unconditional;counter=1
        9.010 < b 603
        9.010 > b ACK From:\"Anonymous\" <sip:anonymous@anonymous.invalid> To:<sip:b@192.0.2.11:5060> Max-Forwards:70
        9.010 ! close-media 1
        9.010 # LegEnded 1 Rejected
        9.010 > a 603 INVITE From:\"a\" <sip:a@elsewhere.example> To:<sip:300@192.0.2.1>
        9.010 ! close-media 0
        9.010 ! ended Rejected Some(603) Remote
        9.010 # Ended
        9.020 < a ACK hop
        19.000 < a INVITE to=300 h=Max-Forwards:1
        19.000 > a 483 INVITE From:\"a\" <sip:a@elsewhere.example> To:<sip:300@192.0.2.1>
        19.000 # Offered
        19.000 # Ended
        19.020 < a ACK hop",
    );
}

#[test]
fn a_user_is_called_wherever_it_is_registered() {
    check_with(
        leads_to_a_user,
        &[HeaderName::Reason],
        &format!(
            "
        0.000 < c REGISTER
        0.000 > c 401 REGISTER
        0.000 > c 200 REGISTER
        0.000 < d REGISTER
        0.000 > d 401 REGISTER
        0.000 > d 200 REGISTER
        1.000 < a INVITE to=600
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 # Dialled 2
        1.000 ! open-media 1
        1.000 ! open-media 2
        1.000 > c INVITE sendrecv v1
        1.000 > d INVITE sendrecv v1
        1.010 < c 180
        1.010 # LegRinging 1
        1.010 > a 180 INVITE
        1.010 # Ringing
        1.020 < d 180
        1.020 # LegRinging 2
        3.000 < d 200 sdp=sendrecv
        3.000 > d ACK
        3.000 # LegAnswered 2
        3.000 > c CANCEL Reason:{ELSEWHERE}
        3.000 ! update-media 2 192.0.2.13 send receive
        3.000 ! bridge 0 2
        3.000 # Bridged 0 2
        3.000 > a 200 INVITE sendrecv v1
        3.000 ! answered 0
        3.000 # Answered
        3.010 < c 200 method=CANCEL
        3.010 < c 487
        3.010 > c ACK
        3.010 ! close-media 1
        3.010 # LegEnded 1 AnsweredElsewhere
        3.020 < a ACK
        5.000 < d BYE
        5.000 > d 200 BYE
        5.000 ! unbridge 2 0
        5.000 ! close-media 2
        5.000 # LegEnded 2 HungUp
        5.000 > a BYE Reason:Q.850;cause=16;text=\"Normal call clearing\"
        5.000 ! close-media 0
        5.000 ! ended HungUp None Remote
        5.000 # Ended
        5.010 < a 200 method=BYE"
        ),
    );
}

#[test]
fn a_user_who_is_nowhere() {
    check_with(
        leads_to_a_user,
        &[],
        "
        0.000 < a INVITE to=600
        0.000 # Offered
        0.000 ! open-media 0
        0.000 > a 480 INVITE
        0.000 ! close-media 0
        0.000 ! ended Rejected Some(480) Local
        0.000 # Ended
        0.020 < a ACK hop",
    );
}

const BUSY_SOMEWHERE: &str = "
        1.000 < c REGISTER
        1.000 > c 401 REGISTER
        1.000 > c 200 REGISTER
        1.000 < d REGISTER
        1.000 > d 401 REGISTER
        1.000 > d 200 REGISTER
        2.000 < a INVITE to=600
        2.000 # Offered
        2.000 ! open-media 0
        2.000 # Dialled 1
        2.000 # Dialled 2
        2.000 ! open-media 1
        2.000 ! open-media 2
        2.000 > c INVITE sendrecv v1
        2.000 > d INVITE sendrecv v1
        2.010 < c 486
        2.010 > c ACK
        2.010 ! close-media 1
        2.010 # LegEnded 1 Rejected
        2.020 < d 480
        2.020 > d ACK
        2.020 ! close-media 2
        2.020 # LegEnded 2 Rejected
        2.020 > a 480 INVITE
        2.020 ! close-media 0
        2.020 ! ended Rejected Some(480) Remote
        2.020 # Ended
        2.030 < a ACK hop
        9.000 < a INVITE to=600
        9.000 # Offered
        9.000 ! open-media 0
        9.000 # Dialled 1
        9.000 # Dialled 2
        9.000 ! open-media 1
        9.000 ! open-media 2
        9.000 > c INVITE sendrecv v1
        9.000 > d INVITE sendrecv v1
        9.010 < c 180
        9.010 # LegRinging 1
        9.010 > a 180 INVITE
        9.010 # Ringing
        9.020 < d 603
        9.020 > d ACK
        9.020 ! close-media 2
        9.020 # LegEnded 2 Rejected
        9.020 > c CANCEL
        9.020 > a 603 INVITE
        9.020 ! close-media 0
        9.030 < a ACK hop
        9.040 < c 200 method=CANCEL
        9.040 < c 487
        9.040 > c ACK
        9.040 ! close-media 1
        9.040 # LegEnded 1 Cancelled
        9.040 ! ended Rejected Some(603) Remote
        9.040 # Ended";

#[test]
fn a_user_who_is_busy_somewhere() {
    check_with(leads_to_a_user, &[], BUSY_SOMEWHERE);
}

#[test]
fn strangers_and_circles_are_refused() {
    check_with(
        |config| {
            config.listeners[0].1.unknown_sources = true;
            let uri = "sip:300@192.0.2.1".parse().expect("a URI");
            let to = crate::route::Destination::Uri(uri);
            let account = crate::identity::AccountId::default();
            config.routes.insert_number("700", crate::route::Target { account, to });
        },
        &[],
        "
        0.000 < e INVITE to=300
        0.000 > e 403 INVITE
        0.010 < e ACK hop
        1.000 < a INVITE to=700
        1.000 # Offered
        1.000 ! open-media 0
        1.000 > a 482 INVITE
        1.000 ! close-media 0
        1.000 ! ended Rejected Some(482) Local
        1.000 # Ended
        1.010 < a ACK hop",
    );
}

fn passes_fields(config: &mut CallsConfig) {
    config.passed_headers = vec![HeaderName::Other("X-Tenant".into())];
}

/// 600 is the user 100.
fn leads_to_a_user(config: &mut CallsConfig) {
    let to = crate::route::Destination::User("100".to_owned());
    let account = crate::identity::AccountId::default();
    config.routes.insert_number("600", crate::route::Target { account, to });
}

#[test]
fn what_changes_on_one_side_changes_nothing_on_the_other() {
    check(
        "
        0.000 < a INVITE to=300
        ~ b answers
        1.000 < a INVITE re sdp=pcma
        1.000 > a 200 INVITE sendrecv v2
        1.000 ! update-media 0 192.0.2.10 send receive Pcma
        1.020 < a ACK
        2.000 < b INVITE re sdp=moved
        2.000 > b 200 INVITE sendrecv v2
        2.000 ! update-media 1 192.0.2.11 send receive 192.0.2.10:5000
        2.020 < b ACK
        3.000 < a INVITE re sdp=video
        3.000 > a 200 INVITE sendrecv v3 video 0
        3.000 ! update-media 0 192.0.2.10 send receive
        3.020 < a ACK
        4.000 < a INVITE re sdp=no-audio
        4.000 > a 488 INVITE
        4.020 < a ACK hop
        5.000 < a UPDATE sdp=pcma
        5.000 > a 200 UPDATE sendrecv v4
        5.000 ! update-media 0 192.0.2.10 send receive Pcma
        6.000 < moved 1
        6.000 > b INVITE sendrecv v3
        6.000 < moved 0
        6.000 > a INVITE sendrecv v5
        6.010 < b 200 sdp=pcma
        6.010 > b ACK
        6.010 ! update-media 1 192.0.2.11 send receive Pcma
        6.010 < a 488
        6.010 > a ACK
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 1
        9.000 ! close-media 0
        9.000 > b BYE
        9.000 ! close-media 1
        9.000 # LegEnded 1 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < b 200 method=BYE",
    );
}

const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
