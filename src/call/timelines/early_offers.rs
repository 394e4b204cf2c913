//! Media that change before a call is answered: UPDATE with an offer of ours (RFC 3311 §5.1), and what becomes of it where
//! that is not possible. Requests of ours within a call that are challenged.

use super::parties::check_with;
use super::{CallsConfig, check_showing};
use crate::call::{Ring, RingTone};
use crate::sip::HeaderName;

#[track_caller]
fn check(configure: impl FnOnce(&mut CallsConfig), flow: &str) {
    let untimed = |config: &mut CallsConfig| {
        config.session_timers.outbound = false;
        config.session_timers.inbound = false;
        configure(config);
    };
    check_showing(&[HeaderName::CSeq], untimed, flow);
}

#[test]
fn the_called_side_is_told_before_it_answers() {
    check(
        |_| (),
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 CSeq:1 INVITE
        0.100 < 183 sdp=sendrecv h=Require:100rel|RSeq:7|Allow:INVITE,~UPDATE
        0.100 > PRACK CSeq:2 PRACK
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.105 < media-moved
        0.110 < 200 method=PRACK
        0.110 > UPDATE sendrecv v2 CSeq:3 UPDATE
        0.115 < UPDATE from=peer cseq=1 sdp=sendonly
        0.115 > 491 UPDATE CSeq:1 UPDATE
        0.120 < 200 sdp=sendrecv method=UPDATE
        0.120 ! update-media send receive
        0.300 < 200 method=INVITE
        0.300 > ACK CSeq:1 ACK
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        2.000 < BYE
        2.000 > 200 BYE CSeq:2 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn where_it_cannot_be_told_it_is_told_after_the_answer() {
    for (update, refusal) in [("", ""), ("|Allow:INVITE,~UPDATE", "0.110 < 491 method=UPDATE\n")] {
        let update_sent = if update.is_empty() { "" } else { "0.105 > UPDATE sendrecv v2 CSeq:3 UPDATE\n" };
        let (version, cseq) = if update.is_empty() { ("v2", 3) } else { ("v2", 4) };
        check(
            |_| (),
            &format!(
                "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 CSeq:1 INVITE
        0.100 < 183 sdp=sendrecv h=Require:100rel|RSeq:7{update}
        0.100 > PRACK CSeq:2 PRACK
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.104 < 200 method=PRACK
        0.105 < media-moved
        {update_sent}{refusal}
        0.300 < 200 method=INVITE
        0.300 > ACK CSeq:1 ACK
        0.300 > INVITE sendrecv {version} CSeq:{cseq} INVITE
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        0.310 < 200 sdp=sendrecv
        0.310 > ACK CSeq:{cseq} ACK
        0.310 ! update-media send receive
        2.000 < BYE
        2.000 > 200 BYE CSeq:2 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended"
            ),
        );
    }
}

#[test]
fn the_caller_is_told_before_we_answer() {
    check(
        |config| {
            config.ring = Ring { tone: RingTone::EarlyMedia, answer_after: None };
            config.reliable_provisionals = true;
        },
        "
        0.000 < INVITE h=Supported:100rel|Allow:UPDATE,~PRACK
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 < media-opened
        0.000 > 183 INVITE sendrecv v1 CSeq:1 INVITE
        0.000 # EarlyMedia
        0.005 < media-moved
        0.010 < PRACK cseq=2 rack
        0.010 > 200 PRACK CSeq:2 PRACK
        0.010 > UPDATE sendrecv v2 CSeq:1 UPDATE
        0.020 < 200 method=UPDATE sdp=sendrecv
        0.020 ! update-media send receive
        0.500 < answer
        0.500 > 200 INVITE CSeq:1 INVITE
        0.500 ! answered
        0.500 # Answered Pcmu
        0.600 < ACK
        2.000 < BYE cseq=3
        2.000 > 200 BYE CSeq:3 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn challenged_requests_of_early_calls_are_sent_again() {
    let challenge = "h=WWW-Authenticate:Digest~realm=ours,nonce=b,qop=\"auth\"";
    check(
        |_| (),
        &format!(
            "
        0.000 < place-with-credentials
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 CSeq:1 INVITE
        0.100 < 183 sdp=sendrecv h=Require:100rel|RSeq:7|Allow:INVITE,~UPDATE
        0.100 > PRACK CSeq:2 PRACK
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.110 < 401 method=PRACK {challenge}
        0.110 > PRACK CSeq:3 PRACK
        0.120 < 200 method=PRACK
        0.130 < media-moved
        0.130 > UPDATE sendrecv v2 CSeq:4 UPDATE
        0.140 < 491 method=UPDATE
        0.300 < 200 method=INVITE
        0.300 > ACK CSeq:1 ACK
        0.300 > INVITE sendrecv v2 CSeq:5 INVITE
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        0.310 < 401 method=INVITE h=WWW-Authenticate:Digest~realm=ours,nonce=c,qop=\"auth\",stale=true
        0.310 > ACK CSeq:5 ACK
        0.310 > INVITE sendrecv v2 CSeq:6 INVITE
        0.320 < 200 sdp=sendrecv
        0.320 > ACK CSeq:6 ACK
        0.320 ! update-media send receive
        2.000 < BYE
        2.000 > 200 BYE CSeq:2 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended"
        ),
    );
}

#[test]
fn a_carrier_that_called_may_challenge_what_we_send() {
    check_with(
        super::redirects::carriers(crate::call::Redirects::Refused),
        &[HeaderName::CSeq],
        "
        1.000 < b INVITE to=200
        1.000 # Offered
        1.000 ! open-media 0
        1.000 ! start-agent demo
        1.000 > b 180 INVITE CSeq:1 INVITE
        1.000 # Ringing
        1.000 > b 200 INVITE sendrecv v1 CSeq:1 INVITE
        1.000 ! answered 0
        1.000 # Answered
        1.010 < b ACK
        2.000 < hang-up
        2.000 > b BYE CSeq:1 BYE
        2.000 ! close-media 0
        2.000 ! ended HungUp None Local
        2.000 # Ended
        2.010 < b 407 method=BYE h=Proxy-Authenticate:Digest~realm=carrier,nonce=a,qop=\"auth\"
        2.010 > b BYE CSeq:2 BYE
        2.020 < b 200 method=BYE
        9.000 < drain",
    );
}
