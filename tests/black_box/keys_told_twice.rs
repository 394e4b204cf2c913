//! Keys of peers that tell of one press in two ways: it counts once.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::journal;
use crate::rtp_stream::{EVENTS, Lost, Packet, Stream, bridge, call_agent, codes, pace, server_before};
use crate::server_process::Server;
use crate::sip_phone::Phone;
use crate::what_answers::tones;

#[test]
fn an_event_and_an_info_between_telephones_are_one_press() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
    let (offer, answer) = (caller.sdp("0 101", &[EVENTS]), called.sdp("0 101", &[EVENTS]));
    bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
    quiet(&mut caller, 600);
    // Its events are passed on as they come.
    caller.press(5, 100, 8_000, Lost::Nothing, || ());
    phone.press('5');
    quiet(&mut caller, 500);
    // INFO first: the events are for nobody.
    phone.press('6');
    caller.press(6, 200, 8_000, Lost::Nothing, || ());
    quiet(&mut caller, 600);
    // Told in one way each, and twice in the same way.
    phone.press('7');
    quiet(&mut caller, 600);
    for _ in 0..2 {
        caller.press(8, 100, 8_000, Lost::Nothing, || ());
        quiet(&mut caller, 200);
    }
    assert_eq!(codes(&called.heard()), [5, 6, 7, 8, 8]);
    phone.hang_up();
}

#[test]
fn a_tone_that_is_told_as_an_event_is_not_heard_as_well() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    // To one who takes events, and one who takes tones.
    let heard = [(0, "0 101", EVENTS), (8, "8", "rtpmap:8 PCMA/8000")].map(|(payload_type, formats, line)| {
        let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
        let (offer, answer) = (caller.sdp("0", &[]), called.sdp(formats, &[line]));
        bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
        quiet(&mut caller, 400);
        let tone = tones(&[852.0, 1_477.0], 200);
        pace(200, 20, |number| caller.say(0, &tone[160 * number as usize..][..160], 160));
        quiet(&mut caller, 700);
        let heard = called.heard();
        phone.hang_up();
        (loud_runs(&heard, payload_type), codes(&heard))
    });
    let [(as_event, events), (as_tone, none)] = heard;
    assert_eq!((events, none), (vec![9], vec![]));
    // It takes a moment to know that it is one.
    assert!(as_event.iter().sum::<usize>() <= 3, "{as_event:?}");
    assert!(as_tone.len() == 1 && (9..=12).contains(&as_tone[0]), "once, as it was: {as_tone:?}");
}

#[test]
fn an_agent_counts_each_press_once_and_writes_it_down_once() {
    let server = Server::start(&[]);
    let (mut phone, mut caller) = (Phone::udp(&server), Stream::new());
    let offer = caller.sdp("0 101", &[EVENTS]);
    call_agent(&mut phone, &mut caller, &offer);
    quiet(&mut caller, 300);
    // It is held for longer than an INFO may be late.
    caller.press(5, 900, 8_000, Lost::Nothing, || ());
    let info = phone.ask_with("INFO", &["Content-Type: application/dtmf-relay"], "Signal=5\r\nDuration=900\r\n");
    assert_eq!(info.status(), Some(200));
    quiet(&mut caller, 200);
    phone.press('4');
    quiet(&mut caller, 200);
    caller.press(3, 100, 8_000, Lost::Nothing, || ());
    quiet(&mut caller, 200);
    phone.hang_up();
    let data = server.home.data();
    let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
    assert!(server.wait(Duration::from_secs(10), is_closed), "{}", server.log());
    let call = journal::calls(&data).remove(0);
    let keys: Vec<_> = call.all("digit").map(|it| it["digit"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, ["5", "4", "3"], "{call:?}");
}

fn quiet(caller: &mut Stream, ms: u32) {
    pace(ms, 20, |_| caller.say(0, &[0xFF; 160], 160));
}

/// How many packets in a row are of something that is no silence, one number for each such row.
pub(crate) fn loud_runs(heard: &[Packet], payload_type: u8) -> Vec<usize> {
    let audio = heard.iter().filter(|it| it.payload_type == payload_type);
    let loud: Vec<bool> = audio.map(|it| it.payload.iter().collect::<BTreeSet<_>>().len() > 20).collect();
    loud.split(|it| !it).map(<[bool]>::len).filter(|it| *it > 0).collect()
}
