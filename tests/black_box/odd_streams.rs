//! Streams that do what they should not: whoever listens hears them again as soon as they are in order.

use std::net::Ipv4Addr;

use crate::carrier::Carrier;
use crate::keys_told_twice::loud_runs;
use crate::rtp_stream::{Stream, bridge, pace, server_before};
use crate::sip_phone::Phone;
use crate::what_answers::tones;

/// What happens from 1.0 s on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    /// Sequence numbers wrap.
    Wraps,
    /// Timestamps stand still for a second.
    Freezes,
    /// Another stream follows without a pause, with numbers of its own.
    Changes,
    /// Nothing comes for three seconds, and numbers go on as if nothing had been.
    Pauses,
    /// Nothing comes for three seconds, and timestamps have run on.
    RunsOn,
}

#[test]
fn a_stream_that_is_in_order_again_is_heard_again() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let mut calls: Vec<_> = [Odd::Wraps, Odd::Freezes, Odd::Changes, Odd::Pauses, Odd::RunsOn]
        .into_iter()
        .map(|odd| {
            let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
            let (offer, answer) = (caller.sdp("0", &[]), called.sdp("8", &["rtpmap:8 PCMA/8000"]));
            bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
            if odd == Odd::Wraps {
                caller.sequence = u16::MAX - 70;
            }
            (odd, phone, caller, called)
        })
        .collect();
    // No two packets are alike in their place of the tone.
    let tone = tones(&[333.0], 1_000);
    pace(5_200, 20, |number| {
        let samples = &tone[160 * (number as usize % 50)..][..160];
        for (odd, _, caller, called) in &mut calls {
            let is_odd = (50..100).contains(&number);
            let is_pause = (50..200).contains(&number);
            match odd {
                Odd::Freezes if is_odd => caller.say(0, samples, 0),
                Odd::Pauses if is_pause => (),
                Odd::RunsOn if is_pause => caller.timestamp = caller.timestamp.wrapping_add(160),
                Odd::Changes if number == 50 => {
                    (caller.ssrc, caller.sequence, caller.timestamp) = (77, 5, 99);
                    caller.say(0, samples, 160);
                }
                Odd::Wraps | Odd::Freezes | Odd::Changes | Odd::Pauses | Odd::RunsOn => caller.say(0, samples, 160),
            }
            if number == 210 {
                called.heard();
            }
        }
    });
    for (odd, phone, _, called) in &mut calls {
        let heard = called.heard();
        let loud: usize = loud_runs(&heard, 8).iter().sum();
        assert!(heard.len() >= 40 && heard.len() - loud <= 4, "{odd:?}: {loud} of {} packets", heard.len());
        for pair in heard.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "{odd:?}");
        }
        phone.hang_up();
    }
}
