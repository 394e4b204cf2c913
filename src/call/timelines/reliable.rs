//! Provisional responses that are acknowledged, early dialogs and forks: RFC 3262, RFC 3311, RFC 3261 §13.2.2.

use super::{CallsConfig, check_showing};
use crate::call::{Ring, RingTone};
use crate::sip::HeaderName;

const SHOWN: [HeaderName; 2] = [HeaderName::Require, HeaderName::RAck];

#[test]
fn a_peer_that_insists_gets_a_reliable_180_until_its_prack() {
    check(
        ring_only,
        "
        0.000 < INVITE h=Require:100rel
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE Require:100rel
        0.000 # Ringing
        0.000 < media-opened
        0.500 > 180 INVITE Require:100rel
        1.000 < PRACK cseq=2 h=RAck:1~1~INVITE
        1.000 > 481 PRACK
        1.200 < PRACK cseq=3
        1.200 > 400 PRACK
        1.300 < PRACK cseq=4 rack
        1.300 > 200 PRACK
        1.400 < PRACK cseq=5 rack
        1.400 > 481 PRACK
        2.000 < answer
        2.000 > 200 INVITE sendrecv v1
        2.000 ! answered
        2.000 # Answered Pcmu
        2.010 < ACK
        3.000 < BYE cseq=6
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
}

#[test]
fn an_answer_overtakes_a_180_but_not_a_session_description() {
    check(
        |config| config.reliable_provisionals = true,
        "
        0.000 < INVITE h=Supported:100rel
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE Require:100rel
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1
        0.000 ! answered
        0.000 # Answered Pcmu
        0.010 < PRACK cseq=2 rack
        0.010 > 200 PRACK
        0.020 < ACK
        3.000 < BYE cseq=3
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
    check(
        early_media,
        "
        0.000 < INVITE h=Supported:100rel
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 < media-opened
        0.000 > 183 INVITE sendrecv v1 Require:100rel
        0.000 # EarlyMedia
        0.100 < UPDATE cseq=2 sdp=sendonly
        0.100 > 500 UPDATE Retry-After
        0.500 > 183 INVITE sendrecv v1 Require:100rel
        0.600 < PRACK cseq=3 rack
        0.600 > 200 PRACK
        0.600 > 200 INVITE
        0.600 ! answered
        0.600 # Answered Pcmu
        0.610 < ACK
        3.000 < BYE cseq=4
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
}

#[test]
fn offers_go_on_in_prack_and_update_before_the_answer() {
    check(
        |config| {
            early_media(config);
            config.ring.answer_after = None;
        },
        "
        0.000 < INVITE h=Supported:100rel
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 < media-opened
        0.000 > 183 INVITE sendrecv v1 Require:100rel
        0.000 # EarlyMedia
        0.100 < PRACK cseq=2 rack sdp=sendonly
        0.100 > 200 PRACK recvonly v2
        0.100 ! update-media receive
        0.100 # Held
        0.200 < UPDATE cseq=3 sdp=sendrecv
        0.200 > 200 UPDATE sendrecv v3
        0.200 ! update-media send receive
        0.200 # Resumed
        0.300 < UPDATE cseq=4 sdp=g729
        0.300 > 488 UPDATE Warning
        1.000 < answer
        1.000 > 200 INVITE
        1.000 ! answered
        1.000 # Answered Pcmu
        1.010 < ACK
        2.000 < INVITE re cseq=5 sdp=moved
        2.000 > 200 INVITE sendrecv v3
        2.000 ! update-media send receive
        2.010 < ACK cseq=5
        3.000 < BYE cseq=6
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
}

#[test]
fn an_invite_without_offer_gets_it_in_the_18x_and_answers_in_the_prack() {
    check(
        ring_only,
        "
        0.000 < INVITE sdp=none h=Require:100rel
        0.000 # Offered
        0.000 ! open-media
        0.000 ! start-agent demo
        0.000 # Ringing
        0.010 < media-opened
        0.010 > 180 INVITE sendrecv v1 Require:100rel
        0.050 < answer
        0.060 < UPDATE cseq=2 sdp=sendonly
        0.060 > 491 UPDATE
        0.100 < PRACK cseq=3 rack sdp=sendrecv
        0.100 > 200 PRACK
        0.100 > 200 INVITE
        0.100 ! update-media send receive
        0.100 ! answered
        0.100 # Answered Pcmu
        0.110 < ACK
        3.000 < BYE cseq=4
        3.000 > 200 BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Remote
        3.000 # Ended",
    );
    check(
        ring_only,
        "
        0.000 < INVITE sdp=none h=Require:100rel
        0.000 # Offered
        0.000 ! open-media
        0.000 ! start-agent demo
        0.000 # Ringing
        0.010 < media-opened
        0.010 > 180 INVITE sendrecv v1 Require:100rel
        0.100 < PRACK cseq=2 rack sdp=g729
        0.100 > 200 PRACK
        0.100 > 488 INVITE Warning
        0.100 ! close-media
        0.100 ! ended NoCommonMedia Some(488) Local
        0.100 # Ended
        0.110 < ACK hop",
    );
}

#[test]
fn a_prack_that_never_comes_ends_the_call() {
    check(
        ring_only,
        "
        0.000 < INVITE h=Require:100rel
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE Require:100rel
        0.000 # Ringing
        0.000 < media-opened
        0.500 > 180 INVITE Require:100rel
        1.500 > 180 INVITE Require:100rel
        3.500 > 180 INVITE Require:100rel
        7.500 > 180 INVITE Require:100rel
       15.500 > 180 INVITE Require:100rel
       31.500 > 180 INVITE Require:100rel
       32.000 > 500 INVITE
       32.000 ! close-media
       32.000 ! ended NotAcknowledged Some(500) Local
       32.000 # Ended
       32.100 < ACK hop",
    );
}

#[test]
fn reliable_responses_of_every_fork_are_acknowledged_in_order() {
    check(
        |_| (),
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 183 sdp=sendrecv tag=one h=Require:100rel|RSeq:7
        0.100 > PRACK RAck:7 1 INVITE
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.110 < 200 method=PRACK tag=one
        0.120 < 183 sdp=sendrecv tag=one h=Require:100rel|RSeq:7 method=INVITE
        0.130 < 180 tag=one h=Require:100rel|RSeq:9 method=INVITE
        0.140 < 180 tag=one h=Require:100rel|RSeq:8 method=INVITE
        0.140 > PRACK RAck:8 1 INVITE
        0.140 # Ringing
        0.150 < 200 method=PRACK tag=one
        0.200 < 180 tag=two h=Require:100rel|RSeq:1 method=INVITE
        0.200 > PRACK RAck:1 1 INVITE
        0.210 < 200 method=PRACK tag=two
        0.300 < UPDATE from=one cseq=1 sdp=sendonly
        0.300 > 200 UPDATE recvonly v2
        0.300 ! update-media receive
        0.300 # Held
        0.310 < UPDATE from=two cseq=2 sdp=sendonly
        0.310 > 491 UPDATE
        0.320 < BYE from=two cseq=3
        0.320 > 200 BYE
        1.000 < 200 sdp=sendrecv tag=two method=INVITE
        1.000 > ACK
        1.000 ! update-media send receive
        1.000 ! answered
        1.000 # Answered Pcmu
        1.100 < 200 tag=one method=INVITE
        1.100 > ACK
        1.100 > BYE
        1.110 < 200 method=BYE
        2.000 < BYE from=two cseq=4
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn an_answer_in_a_reliable_18x_is_final() {
    check(
        |_| (),
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 183 sdp=sendrecv h=Require:100rel|RSeq:7
        0.100 > PRACK RAck:7 1 INVITE
        0.100 ! update-media send receive
        0.100 # EarlyMedia
        0.110 < 200 method=PRACK
        0.300 < 200 sdp=g729 method=INVITE
        0.300 > ACK
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        2.000 < BYE
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

fn ring_only(config: &mut CallsConfig) {
    config.ring.answer_after = None;
}

fn early_media(config: &mut CallsConfig) {
    config.ring = Ring { tone: RingTone::EarlyMedia, ..Ring::default() };
    config.reliable_provisionals = true;
}

#[track_caller]
fn check(configure: impl FnOnce(&mut CallsConfig), flow: &str) {
    check_showing(
        &SHOWN,
        |config| {
            config.session_timers.outbound = false;
            config.session_timers.inbound = false;
            configure(config);
        },
        flow,
    );
}
