//! Why calls end, as both sides tell it: RFC 3326.

use super::check_showing;
use crate::sip::HeaderName;

#[test]
fn the_reason_of_a_bye_is_kept() {
    for (header, told) in [
        ("Reason:Q.850;cause=31", " Q850(31)"),
        ("Reason:SIP;cause=503,Q.850;cause=38", " Q850(38)"),
        ("Reason:sip;cause=200;text=\"gone\"", " Sip(200)"),
        ("Reason:preemption;cause=1", ""),
        ("Reason:Q.850;cause=x", ""),
        ("Reason:;;", ""),
    ] {
        check(&format!(
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
            1.000 < BYE cseq=2 h={header}
            1.000 > 200 BYE
            1.000 ! close-media
            1.000 ! ended HungUp None Remote{told}
            1.000 # Ended"
        ));
    }
}

#[test]
fn the_reason_of_a_cancel_is_kept() {
    check(
        "
        0.000 < INVITE
        0.000 # Offered
        0.000 ! open-media send receive
        0.000 ! start-agent demo
        0.000 > 180 INVITE
        0.000 # Ringing
        0.100 < CANCEL h=Reason:SIP;cause=200
        0.100 > 200 CANCEL
        0.100 > 487 INVITE
        0.100 ! close-media
        0.100 ! ended Cancelled Some(487) Remote Sip(200)
        0.100 # Ended
        0.110 < ACK hop",
    );
}

#[test]
fn our_cancel_and_our_byes_say_why_and_so_may_a_refusal() {
    check(
        "
        0.000 < place
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 180
        0.100 # Ringing
      180.000 > CANCEL Reason:Q.850;cause=19;text=\"No answer from user\"
      180.010 < 200 method=CANCEL
      180.020 < 487 h=Reason:Q.850;cause=18
      180.020 > ACK
      180.020 ! close-media
      180.020 ! ended NoAnswer Some(487) Local Q850(18)
      180.020 # Ended",
    );
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
        0.410 > BYE Reason:SIP;cause=200;text=\"Call completed elsewhere\"
        0.420 < 200 method=BYE
        2.000 < media-inactive
        2.000 > BYE Reason:Q.850;cause=41;text=\"Temporary failure\"
        2.000 ! close-media
        2.000 ! ended MediaInactive None Local
        2.000 # Ended
        2.010 < 200 method=BYE",
    );
}

#[track_caller]
fn check(flow: &str) {
    check_showing(&[HeaderName::Reason], |_| (), flow);
}
