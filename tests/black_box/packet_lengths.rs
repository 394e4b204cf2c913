//! How long packets are: as each side asks, and never longer than it takes.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::journal;
use crate::rtp_stream::{EVENTS, Packet, Stream, bridge, call_agent, pace, server_before};
use crate::server_process::Server;
use crate::sip_phone::Phone;

const LENGTHS_MS: [u32; 5] = [10, 20, 30, 40, 60];

#[test]
fn packets_that_are_longer_than_the_other_side_takes_are_not_passed_on() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
    let offer = caller.sdp("0 101", &[EVENTS]);
    let answer = called.sdp("0 101", &[EVENTS, "ptime:20", "maxptime:20"]);
    bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
    let say = |caller: &mut Stream, ms: u32, count: u32| {
        let payload = vec![0x55; 8 * ms as usize];
        pace(count * ms, ms, |_| caller.say(0, &payload, 8 * ms));
    };
    say(&mut caller, 20, 40);
    // What fits is passed on as it is: what is coded again by us would begin later.
    let before = called.heard();
    assert!(before.iter().filter(|it| it.payload == [0x55; 160]).count() > 20, "{} packets", before.len());
    say(&mut caller, 60, 20);
    let heard = called.heard();
    assert!(heard.iter().all(|it| it.payload.len() == 160), "{:?}", lengths(&heard));
    let said = heard.iter().filter(|it| it.payload.iter().filter(|it| **it == 0x55).count() > 80).count();
    assert!((50..=62).contains(&said), "{said} of 60 packets are heard");
    phone.hang_up();
}

#[test]
fn every_length_is_heard_and_sent_where_a_call_ends_here() {
    let server = Server::start(&[]);
    let mut callers: Vec<_> = LENGTHS_MS
        .iter()
        .map(|ms| {
            let (mut phone, mut caller) = (Phone::udp(&server), Stream::new());
            let offer = caller.sdp("0", &[&format!("ptime:{ms}")]);
            call_agent(&mut phone, &mut caller, &offer);
            (*ms, phone, caller)
        })
        .collect();
    pace(1_500, 10, |number| {
        for (ms, _, caller) in &mut callers {
            if (number * 10).is_multiple_of(*ms) {
                caller.say(0, &vec![0xFF; 8 * *ms as usize], 8 * *ms);
            }
        }
    });
    for (ms, phone, caller) in &mut callers {
        assert_lengths(&caller.heard(), 0, *ms, 1_500 / *ms);
        phone.hang_up();
    }
    let data = server.home.data();
    let all_closed = || journal::calls(&data).iter().filter(|it| it.closed).count() == LENGTHS_MS.len();
    assert!(server.wait(Duration::from_secs(10), all_closed), "{}", server.log());
    for call in journal::calls(&data) {
        let media = call.all("media_report").next().unwrap();
        let of = |name: &str| media[name].as_u64().unwrap();
        assert_eq!((of("packets_lost"), of("packets_strange")), (0, 0), "{media}");
        assert!(of("packets_late") <= 2 && of("packets_received") >= 24, "{media}");
    }
}

#[test]
fn every_length_is_heard_and_sent_where_a_call_is_coded_again() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let mut calls: Vec<_> = LENGTHS_MS
        .iter()
        .map(|ms| {
            let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
            let offer = caller.sdp("0", &[&format!("ptime:{ms}")]);
            let answer = called.sdp("8", &["rtpmap:8 PCMA/8000", "ptime:20"]);
            bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
            (*ms, phone, caller, called)
        })
        .collect();
    pace(1_500, 10, |number| {
        for (ms, _, caller, called) in &mut calls {
            if (number * 10).is_multiple_of(*ms) {
                caller.say(0, &vec![0x55; 8 * *ms as usize], 8 * *ms);
            }
            if number.is_multiple_of(2) {
                called.say(8, &[0x55; 160], 160);
            }
        }
    });
    for (ms, phone, caller, called) in &mut calls {
        let (to_caller, to_called) = (caller.heard(), called.heard());
        assert_lengths(&to_caller, 0, *ms, 1_500 / *ms);
        assert_lengths(&to_called, 8, 20, 75);
        // Each hears the other without a break, once it has begun.
        for heard in [to_caller, to_called] {
            let said: Vec<u8> = heard.iter().flat_map(|it| it.payload.clone()).skip(3_200).collect();
            let loud = said.iter().filter(|it| !matches!(it, 0xFF | 0xD5)).count();
            assert!(loud * 20 > said.len() * 19, "{ms} ms: {loud} of {} samples", said.len());
        }
        phone.hang_up();
    }
}

/// Whether all packets are of that length, one after the other; about as many as `count`.
#[track_caller]
fn assert_lengths(heard: &[Packet], payload_type: u8, ms: u32, count: u32) {
    assert!(heard.len() * 10 > count as usize * 8, "{ms} ms: {} of {count} packets", heard.len());
    for packet in heard {
        assert_eq!((packet.payload_type, packet.payload.len()), (payload_type, 8 * ms as usize));
    }
    let mut stalls = 0;
    for pair in heard.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "{ms} ms");
        let left_out = pair[1].timestamp.wrapping_sub(pair[0].timestamp.wrapping_add(8 * ms));
        // A machine that stalls may have to leave whole ticks out.
        assert!(left_out.is_multiple_of(160), "{ms} ms");
        stalls += u32::from(left_out > 0);
    }
    assert!(stalls <= 2, "{ms} ms: {stalls} jumps");
}

fn lengths(heard: &[Packet]) -> Vec<usize> {
    heard.iter().map(|it| it.payload.len()).collect()
}
