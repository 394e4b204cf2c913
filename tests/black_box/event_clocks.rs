//! Keys as telephone events whose durations count at the clock of the codec on one side and at 8 kHz on the other.

use std::net::Ipv4Addr;

use crate::carrier::Carrier;
use crate::rtp_stream::{EVENTS, Lost, Packet, Stream, bridge, keys, pace, server_before};
use crate::sip_phone::Phone;

/// 20 ms of Opus with nothing in them.
const NOTHING: [u8; 3] = [0xF8, 0xFF, 0xFE];

#[test]
fn keys_are_told_at_the_clock_of_each_side() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
    let offer = caller.sdp("96 101", &["rtpmap:96 opus/48000/2", "rtpmap:101 telephone-event/48000"]);
    let answer = called.sdp("0 101", &[EVENTS]);
    let (_, answered) = bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
    assert!(answered.body.contains("telephone-event/48000"), "{answered:?}");
    let talk = |caller: &mut Stream, called: &mut Stream, ms| {
        pace(ms, 20, |_| {
            caller.say(96, &NOTHING, 960);
            called.say(0, &[0xFF; 160], 160);
        });
    };
    talk(&mut caller, &mut called, 200);
    for (code, ms, lost) in [(5, 200, Lost::Nothing), (6, 40, Lost::Nothing), (7, 200, Lost::MarkerAndEnd)] {
        caller.press(code, ms, 48_000, lost, || called.say(0, &[0xFF; 160], 160));
        talk(&mut caller, &mut called, 600);
    }
    called.press(8, 200, 8_000, Lost::Nothing, || caller.say(96, &NOTHING, 960));
    talk(&mut caller, &mut called, 200);
    called.press(9, 200, 8_000, Lost::MarkerAndEnd, || caller.say(96, &NOTHING, 960));
    talk(&mut caller, &mut called, 700);
    // A key that was held for 40 ms is held for 60, which detectors need.
    check(&called.heard(), 8, &[(5, 200), (6, 60), (7, 200)]);
    check(&caller.heard(), 48, &[(8, 200), (9, 200)]);
    phone.hang_up();
}

/// Each key and how long it was held, at so many units a millisecond.
#[track_caller]
fn check(heard: &[Packet], units: u16, expected: &[(u8, u16)]) {
    let told: Vec<_> = keys(heard).iter().map(|it| (it.code, it.duration / units)).collect();
    assert_eq!(told, expected);
}
