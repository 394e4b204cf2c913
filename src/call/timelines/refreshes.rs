//! Sessions that are refreshed, by either side, and what happens to those that are not: RFC 4028.

use super::{CallsConfig, check_showing};
use crate::sip::HeaderName;

const SHOWN: [HeaderName; 3] = [HeaderName::SessionExpires, HeaderName::MinSe, HeaderName::Require];

#[test]
fn a_caller_that_knows_timers_is_refreshed_by_update() {
    check(
        "
        0.000 < INVITE h=Supported:timer|Allow:INVITE,UPDATE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1 Session-Expires:1800;refresher=uas
        0.000 ! answered
        0.000 # Answered Pcmu
        0.010 < ACK
      900.000 > UPDATE Session-Expires:1800;refresher=uac
      900.010 < 200 method=UPDATE h=Session-Expires:1800;refresher=uac
     1000.000 < INVITE re cseq=2 sdp=sendonly h=Supported:timer
     1000.000 > 200 INVITE recvonly v2 Session-Expires:1800;refresher=uas
     1000.000 ! update-media receive
     1000.000 # Held
     1000.010 < ACK cseq=2
     1900.000 > UPDATE Session-Expires:1800;refresher=uac
     1900.100 < 405 method=UPDATE
     1900.100 > INVITE sendrecv v3 Session-Expires:1800;refresher=uac
     1900.200 < 200 sdp=sendonly method=INVITE
     1900.200 > ACK
     1900.200 ! update-media receive
     2000.000 < BYE cseq=3
     2000.000 > 200 BYE
     2000.000 ! close-media
     2000.000 ! ended HungUp None Remote
     2000.000 # Ended",
    );
}

#[test]
fn a_caller_that_asked_to_refresh_and_does_not_is_hung_up_on() {
    check(
        "
        0.000 < INVITE h=Supported:timer|Session-Expires:600
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.000 < media-opened
        0.000 > 200 INVITE sendrecv v1 Session-Expires:600;refresher=uac Require:timer
        0.000 ! answered
        0.000 # Answered Pcmu
        0.010 < ACK
      300.000 < UPDATE cseq=2 sdp=none h=Supported:timer|Session-Expires:600;refresher=uac
      300.000 > 200 UPDATE Session-Expires:600;refresher=uac Require:timer
      600.000 < UPDATE cseq=3 sdp=none h=Supported:timer|Session-Expires:30
      600.000 > 422 UPDATE Min-SE:90
      868.000 > BYE
      868.000 ! close-media
      868.000 ! ended SessionExpired None Local
      868.000 # Ended
      868.010 < 200 method=BYE",
    );
}

#[test]
fn an_interval_that_is_too_small_is_refused_and_one_of_a_proxy_is_kept() {
    check(
        "
        0.000 < INVITE branch=a h=Supported:timer|Session-Expires:60
        0.000 > 422 INVITE Min-SE:90
        0.010 < ACK hop branch=a
        1.000 < INVITE branch=b cseq=2 h=Session-Expires:90
        1.000 # Offered
        1.000 ! open-media send receive
        1.000 ! start-agent demo
        1.000 > 180 INVITE
        1.000 # Ringing
        1.000 < media-opened
        1.000 > 200 INVITE sendrecv v1 Session-Expires:90;refresher=uas
        1.000 ! answered
        1.000 # Answered Pcmu
        1.010 < ACK cseq=2
       46.000 > INVITE sendrecv v2 Session-Expires:90;refresher=uac
       46.100 < 500
       46.100 > ACK
       53.500 > INVITE sendrecv v2 Session-Expires:90;refresher=uac
       53.600 < 500 method=INVITE
       53.600 > ACK
       61.000 > BYE
       61.000 ! close-media
       61.000 ! ended SessionExpired None Local
       61.000 # Ended
       61.010 < 200 method=BYE",
    );
}

#[test]
fn our_call_asks_again_for_the_interval_that_the_peer_wants() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 Session-Expires:1800
        0.100 < 422 h=Min-SE:3600
        0.100 > ACK
        0.100 > INVITE sendrecv v1 Session-Expires:3600 Min-SE:3600
        0.200 < 180
        0.200 # Ringing
        1.000 < 200 sdp=sendrecv h=Session-Expires:3600;refresher=uac|Allow:UPDATE
        1.000 > ACK
        1.000 ! update-media send receive
        1.000 ! answered
        1.000 # Answered Pcmu
     1801.000 > UPDATE Session-Expires:3600;refresher=uac
     1801.010 < 422 method=UPDATE h=Min-SE:4000
     1801.010 > UPDATE Session-Expires:4000;refresher=uac Min-SE:4000
     1801.020 < 200 method=UPDATE h=Session-Expires:4000;refresher=uac
     3801.020 > UPDATE Session-Expires:4000;refresher=uac
     3801.030 < 481 method=UPDATE
     3801.030 ! close-media
     3801.030 ! ended PeerLost Some(481) Remote
     3801.030 # Ended",
    );
}

#[test]
fn a_called_peer_that_refreshes_goes_on_when_we_change_the_session() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 Session-Expires:1800
        0.400 < 200 sdp=sendrecv h=Session-Expires:90;refresher=uas|Require:timer
        0.400 > ACK
        0.400 ! update-media send receive
        0.400 ! answered
        0.400 # Answered Pcmu
       40.000 < hold
       40.000 > INVITE sendonly v2 Session-Expires:90;refresher=uas
       40.010 < 200 sdp=recvonly h=Session-Expires:90;refresher=uas
       40.010 > ACK
       40.010 ! update-media send
       80.000 < UPDATE cseq=1 sdp=none h=Supported:timer|Session-Expires:90;refresher=uac
       80.000 > 200 UPDATE Session-Expires:90;refresher=uac Require:timer
       90.000 < media-moved
       90.000 > INVITE sendonly v3 Session-Expires:90;refresher=uas
       90.010 < 200 sdp=recvonly h=Session-Expires:90;refresher=uas
       90.010 > ACK
       90.010 ! update-media send
       95.000 < hang-up
       95.000 > BYE
       95.000 ! close-media
       95.000 ! ended HungUp None Local
       95.000 # Ended
       95.010 < 200 method=BYE",
    );
}

#[test]
fn timers_can_be_left_to_the_peer() {
    check_showing(
        &SHOWN,
        |config: &mut CallsConfig| {
            config.session_timers.inbound = false;
            config.session_timers.outbound = false;
        },
        "
        0.000 < INVITE h=Supported:timer
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
        1.000 < INVITE re cseq=2 sdp=pcma h=Supported:timer|Session-Expires:90
        1.000 > 200 INVITE sendrecv v2 Session-Expires:90;refresher=uac Require:timer
        1.000 ! update-media send receive
        1.010 < ACK cseq=2
        2.000 < BYE cseq=3
        2.000 > 200 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[track_caller]
fn check(flow: &str) {
    check_showing(&SHOWN, |_| (), flow);
}
