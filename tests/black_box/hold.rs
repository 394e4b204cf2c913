//! Hold and resume by re-INVITE (RFC 3264 §8.4): who is not to be spoken to hears nothing.

use std::time::Duration;

use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn who_holds_the_call_hears_nothing_until_it_goes_on() {
    let server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    let origin = |answer: &crate::sip_phone::Message| -> Vec<String> {
        answer.sdp("o=").unwrap().split(' ').map(str::to_owned).collect()
    };
    for (offered, answers, sends) in
        [("sendonly", &["recvonly", "inactive"][..], Sends::Silence), ("inactive", &["inactive"][..], Sends::Nothing)]
    {
        phone.hear(40);
        let (ssrc, remote) = (phone.media.ssrc_heard, phone.media.remote);

        let held = phone.reinvite(offered);
        assert_eq!(held.status(), Some(200), "{held:?}");
        assert!(answers.iter().any(|it| held.sdp(&format!("a={it}")).is_some()), "{offered} {held:?}");
        phone.stay(sends, Duration::from_millis(500));
        let stay = phone.stay(sends, Duration::from_secs(1));
        assert_eq!(stay.heard.packets, 0, "{offered} {stay:?}");

        let resumed = phone.reinvite("sendrecv");
        assert_eq!(resumed.status(), Some(200), "{resumed:?}");
        for direction in ["a=sendonly", "a=recvonly", "a=inactive"] {
            assert!(resumed.sdp(direction).is_none(), "{resumed:?}");
        }
        phone.hear(40);
        assert_eq!((phone.media.ssrc_heard, phone.media.remote), (ssrc, remote), "it is the same session");
        let (before, after) = (origin(&held), origin(&resumed));
        assert_eq!(before[..2], after[..2]);
        let version = |it: &[String]| it[2].parse::<u64>().unwrap();
        assert!(matches!(version(&after) - version(&before), 0 | 1), "{before:?} {after:?}");
    }
    phone.hang_up();
}

#[test]
fn a_call_on_hold_needs_no_media() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let mut phone = Phone::call(&server, "100");
    let stay = phone.stay(Sends::Silence, Duration::from_millis(500));
    assert!(stay.bye.is_none(), "{stay:?}");
    assert_eq!(phone.reinvite("inactive").status(), Some(200));
    let stay = phone.stay(Sends::Nothing, Duration::from_secs(4));
    assert!(stay.bye.is_none(), "{stay:?}");
    assert_eq!(phone.reinvite("sendrecv").status(), Some(200));
    let stay = phone.stay(Sends::Nothing, Duration::from_secs(10));
    assert!(stay.bye.is_some(), "{stay:?}");
}
