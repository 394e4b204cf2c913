//! Transfers, asked for by either side: RFC 3515, RFC 4488, RFC 3891. However they go, the outcome is told once.

use super::{CallsConfig, Peer, check_showing};
use crate::call::{Replacements, Transfers};
use crate::sip::HeaderName;

const SHOWN: [HeaderName; 3] = [HeaderName::ReferTo, HeaderName::Event, HeaderName::SubscriptionState];

#[test]
fn a_202_is_no_success_but_the_final_notify_is() {
    answered(
        "
        1.000 < transfer
        1.000 > REFER Refer-To:<sip:bob@example.org>
        1.000 # TransferStarted
        1.010 < 202 method=REFER
        1.020 < NOTIFY cseq=2 h=Event:refer|Subscription-State:active;expires=60 body=message/sipfrag:SIP/2.0~100~Trying
        1.020 > 200 NOTIFY
        2.000 < NOTIFY cseq=3 h=Event:refer;id=1|Subscription-State:active body=message/sipfrag;version=2.0:SIP/2.0~200~OK
        2.000 > 200 NOTIFY
        2.000 ! transferred Succeeded
        2.000 # Transferred
        2.010 < NOTIFY cseq=4 h=Event:refer|Subscription-State:terminated;reason=noresource body=message/sipfrag:SIP/2.0~200~OK
        2.010 > 200 NOTIFY
        2.020 < NOTIFY cseq=5 h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        2.020 > 481 NOTIFY
        3.000 < hang-up
        3.000 > BYE
        3.000 ! close-media
        3.000 ! ended HungUp None Local
        3.000 # Ended
        3.010 < 200 method=BYE",
    );
}

#[test]
fn a_target_that_is_busy_or_a_peer_that_declines_leaves_the_call() {
    answered(
        "
        1.000 < transfer
        1.000 > REFER Refer-To:<sip:bob@example.org>
        1.000 # TransferStarted
        1.005 < transfer
        1.005 ! transferred NotPossible
        1.005 # Transferred
        1.010 < NOTIFY cseq=2 h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~486~Busy~Here
        1.010 > 200 NOTIFY
        1.010 ! transferred Failed(486)
        1.010 # Transferred
        1.020 < 202 method=REFER
        2.000 < transfer
        2.000 > REFER Refer-To:<sip:bob@example.org>
        2.000 # TransferStarted
        2.010 < 603 method=REFER
        2.010 ! transferred Refused(603)
        2.010 # Transferred
        3.000 < transfer
        3.000 > REFER Refer-To:<sip:bob@example.org>
        3.000 # TransferStarted
        3.010 < 202 method=REFER h=Refer-Sub:false
        3.010 ! transferred Unknown
        3.010 # Transferred
        3.500 < transfer-to-self
        3.500 ! transferred NotPossible
        3.500 # Transferred
        4.000 < BYE cseq=3
        4.000 > 200 BYE
        4.000 ! close-media
        4.000 ! ended HungUp None Remote
        4.000 # Ended",
    );
}

#[test]
fn a_bye_or_silence_instead_of_the_notify_is_an_outcome_too() {
    answered(
        "
        1.000 < transfer
        1.000 > REFER Refer-To:<sip:bob@example.org>
        1.000 # TransferStarted
        1.010 < 202 method=REFER
        2.000 < BYE cseq=2
        2.000 > 200 BYE
        2.000 ! transferred HungUp
        2.000 # Transferred
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended
        2.010 < NOTIFY cseq=3 h=Event:refer|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        2.010 > 481 NOTIFY",
    );
    answered(
        "
        1.000 < transfer
        1.000 > REFER Refer-To:<sip:bob@example.org>
        1.000 # TransferStarted
        1.010 < 202 method=REFER
      181.000 ! transferred Unknown
      181.000 # Transferred
      182.000 < transfer
      182.000 > REFER Refer-To:<sip:bob@example.org>
      182.000 # TransferStarted
      182.010 < 202 method=REFER
      182.500 < hang-up
      182.500 > BYE
      182.500 ! transferred Unknown
      182.500 # Transferred
      182.500 ! close-media
      182.500 ! ended HungUp None Local
      182.500 # Ended
      182.510 < 200 method=BYE",
    );
    answered(
        "
        1.000 < transfer
        1.000 > REFER Refer-To:<sip:bob@example.org>
        1.000 # TransferStarted
        1.010 < 481 method=REFER
        1.010 ! transferred Refused(481)
        1.010 # Transferred
        1.010 ! close-media
        1.010 ! ended PeerLost Some(481) Remote
        1.010 # Ended",
    );
}

#[test]
fn odd_notifies_are_refused() {
    answered(
        "
        1.000 < NOTIFY cseq=2 h=Event:refer|Subscription-State:active body=message/sipfrag:SIP/2.0~200~OK
        1.000 > 481 NOTIFY
        1.100 < transfer
        1.100 > REFER Refer-To:<sip:bob@example.org>
        1.100 # TransferStarted
        1.110 < 202 method=REFER
        1.200 < NOTIFY cseq=3 h=Event:presence|Subscription-State:active
        1.200 > 489 NOTIFY
        1.300 < NOTIFY cseq=4 h=Event:refer
        1.300 > 400 NOTIFY
        1.400 < NOTIFY cseq=5 h=Event:refer;id=99|Subscription-State:active
        1.400 > 481 NOTIFY
        1.500 < NOTIFY cseq=6 h=Event:refer|Subscription-State:active body=text/plain:SIP/2.0~200~OK
        1.500 > 200 NOTIFY
        1.600 < NOTIFY cseq=7 h=Event:refer|Subscription-State:active body=message/sipfrag:SIP/2.0~2000
        1.600 > 200 NOTIFY
        1.700 < NOTIFY cseq=8 h=Event:refer|Subscription-State:terminated;reason=timeout
        1.700 > 200 NOTIFY
        1.700 ! transferred Unknown
        1.700 # Transferred
        4.000 < BYE cseq=9
        4.000 > 200 BYE
        4.000 ! close-media
        4.000 ! ended HungUp None Remote
        4.000 # Ended",
    );
}

#[test]
fn a_peer_that_may_ask_is_told_how_it_goes() {
    let replaces = "Replaces=c%40d%3Bto-tag%3D1%3Bfrom-tag%3D2";
    answered_with(
        |config| config.transfers = Transfers::ToHosts(vec!["pbx.example".to_owned()]),
        &format!(
            "
        1.000 < REFER cseq=2 h=Refer-To:<sip:bob@PBX.example?{replaces}>
        1.000 > 202 REFER
        1.000 > NOTIFY [SIP/2.0 100 Trying] Event:refer;id=2 Subscription-State:active;expires=180
        1.000 # TransferAsked
        1.000 ! transfer-asked sip:bob@PBX.example c@d;to-tag=1;from-tag=2
        1.100 < REFER cseq=3 h=Refer-To:<sip:bob@pbx.example>
        1.100 > 491 REFER
        1.200 < report status=180
        1.300 < report status=183
        1.400 < 200 method=NOTIFY
        1.400 > NOTIFY [SIP/2.0 183 Session Progress] Event:refer;id=2 Subscription-State:active;expires=179
        1.410 < 200 method=NOTIFY
        2.000 < report status=200
        2.000 > NOTIFY [SIP/2.0 200 OK] Event:refer;id=2 Subscription-State:terminated;reason=noresource
        2.010 < report status=486
        2.020 < 200 method=NOTIFY
        3.000 < REFER cseq=4 h=Refer-To:<sip:bob@premium.example>
        3.000 > 403 REFER
        3.000 # TransferAsked
        3.100 < REFER cseq=5 h=Refer-To:<sip:bob@pbx.example?Route=%3Csip:evil%3E>
        3.100 > 603 REFER
        3.200 < REFER cseq=6 h=Refer-To:<sip:bob@pbx.example?Replaces=x>
        3.200 > 400 REFER
        3.300 < REFER cseq=7 h=Refer-To:<sip:bob@pbx.example?Replaces=x%0D%0ARoute:%20y%3Bto-tag%3D1%3Bfrom-tag%3D2>
        3.300 > 400 REFER
        3.400 < REFER cseq=8 h=Refer-To:<sip:bob@pbx.example>|Refer-To:<sip:bob@pbx.example>
        3.400 > 400 REFER
        3.500 < REFER cseq=9 h=Refer-To:<sip:bob@pbx.example;method=BYE>
        3.500 > 603 REFER
        4.000 < REFER cseq=10 h=Refer-To:<sip:bob@pbx.example>|Refer-Sub:false
        4.000 > 202 REFER
        4.000 # TransferAsked
        4.000 ! transfer-asked sip:bob@pbx.example
        4.100 < report status=200
        5.000 < REFER cseq=11 h=Refer-To:<sip:bob@pbx.example>
        5.000 > 202 REFER
        5.000 > NOTIFY [SIP/2.0 100 Trying] Event:refer;id=11 Subscription-State:active;expires=180
        5.000 # TransferAsked
        5.000 ! transfer-asked sip:bob@pbx.example
        5.010 < 200 method=NOTIFY
      185.000 > NOTIFY [SIP/2.0 408 Request Timeout] Event:refer;id=11 Subscription-State:terminated;reason=noresource
      185.010 < 200 method=NOTIFY
      190.000 < BYE cseq=12
      190.000 > 200 BYE
      190.000 ! close-media
      190.000 ! ended HungUp None Remote
      190.000 # Ended"
        ),
    );
}

#[test]
fn a_phone_of_the_same_pbx_takes_the_place_of_the_peer() {
    answered_with(
        |config| config.replacements = Replacements::FromSameSource,
        "
        0.500 < INVITE branch=w call=d from=new h=Replaces:c;to-tag={tag};from-tag=wrong
        0.500 > 481 INVITE
        0.510 < ACK hop branch=w call=d from=new
        0.600 < INVITE branch=e cseq=2 call=d from=new h=Replaces:c;to-tag={tag};from-tag=peer;early-only
        0.600 > 486 INVITE
        0.610 < ACK hop branch=e cseq=2 call=d from=new
        0.700 < INVITE branch=m cseq=3 call=d from=new h=Replaces:c
        0.700 > 400 INVITE
        0.710 < ACK hop branch=m cseq=3 call=d from=new
        1.000 < INVITE branch=n cseq=4 call=d from=new sdp=sendonly h=Require:replaces|Replaces:c;to-tag={tag};from-tag=peer
        1.000 # Replaced
        1.000 > 200 INVITE recvonly v1
        1.000 > BYE
        1.000 ! update-media receive
        1.000 # Held
        1.010 < ACK call=d from=new cseq=4
        1.020 < 200 method=BYE
        2.000 < BYE call=d from=new cseq=5
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn a_stranger_takes_nothing_over() {
    for from_elsewhere in [false, true] {
        let mut peer = Peer::new(|config| {
            if from_elsewhere {
                config.replacements = Replacements::FromSameSource;
            }
        });
        peer.run("0.000 < INVITE\n0.000 < media-opened\n0.010 < ACK");
        if from_elsewhere {
            peer.remote = "198.51.100.66:5060".parse().expect("an address");
        }
        let log = peer.run("1.000 < INVITE branch=n cseq=4 call=d from=new h=Replaces:c;to-tag={tag};from-tag=peer");
        let expected = if from_elsewhere { "1.000 > 481 INVITE" } else { "1.000 > 403 INVITE" };
        assert_eq!(log[1], expected, "{log:?}");
        assert_eq!(peer.calls.counts().calls, 1, "the call goes on");
    }
}

#[track_caller]
fn answered(rest: &str) {
    answered_with(|_| (), rest);
}

/// Runs `rest` in a call that came in and is answered.
#[track_caller]
fn answered_with(configure: impl FnOnce(&mut CallsConfig), rest: &str) {
    let begin = "
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
        0.010 < ACK";
    check_showing(&SHOWN, configure, &format!("{begin}{rest}"));
}
