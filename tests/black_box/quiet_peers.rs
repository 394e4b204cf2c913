//! Peers that leave silence out, and peers of which only RTCP comes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::carrier::Carrier;
use crate::journal;
use crate::keys_told_twice::loud_runs;
use crate::rtp_peer::Sends;
use crate::rtp_stream::{Stream, bridge, call_agent, pace, server_before};
use crate::server_process::Server;
use crate::sip_phone::Phone;
use crate::what_answers::tones;

#[test]
fn silence_is_left_out_with_comfort_noise_in_its_place() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[("MEDIA__COMFORT_NOISE", "true")]);
    let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
    let offer = caller.sdp("96", &["rtpmap:96 opus/48000/2", "fmtp:96 usedtx=1"]);
    let answer = called.sdp("8 13", &["rtpmap:8 PCMA/8000", "rtpmap:13 CN/8000"]);
    let (invite, _) = bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
    assert!(invite.message.sdp("m=audio ").unwrap().contains(" 13"), "{:?}", invite.message);
    let tone = |number: u32| tones(&[400.0], 20 * (number + 1)).split_off(160 * number as usize);
    // The called side speaks A-law, of which µ-law read as such is no silence either.
    pace(600, 20, |number| called.say(8, &tone(number % 5), 160));
    let loud = caller.heard();
    assert!(loud.iter().filter(|it| it.payload.len() > 20).count() > 15, "{} packets", loud.len());
    // It falls silent, and says what its silence sounds like.
    let at = called.timestamp;
    called.send(13, false, at, &[78]);
    pace(600, 20, |_| ());
    caller.heard();
    called.heard();
    pace(1_600, 20, |number| called.timestamp += if number > 0 { 160 } else { 0 });
    let (to_caller, to_called) = (caller.heard(), called.heard());
    // Opus takes a while to be sure of it.
    assert!(to_caller.len() <= 25, "{} packets in 1.6 s", to_caller.len());
    // The caller has said nothing at all.
    assert!((1..=3).contains(&to_called.len()), "{} packets in 1.6 s", to_called.len());
    assert!(to_called.iter().all(|it| it.payload_type == 13), "{to_called:?}");
    // It speaks again.
    let at = called.timestamp;
    called.send(8, true, at, &tone(0));
    called.timestamp += 160;
    pace(600, 20, |number| called.say(8, &tone(number % 5), 160));
    let again = caller.heard();
    assert!(again.iter().filter(|it| it.payload.len() > 20).count() > 20, "{} packets", again.len());
    let first = again.iter().find(|it| it.payload.len() > 20).unwrap();
    assert!(first.marker, "a talkspurt begins");
    phone.hang_up();
}

#[test]
fn comfort_noise_that_nobody_agreed_on_is_understood() {
    let carrier = Carrier::start_on(Ipv4Addr::new(127, 0, 0, 2));
    let server = server_before(&carrier, &[]);
    let (mut phone, mut caller, mut called) = (Phone::udp(&server), Stream::new(), Stream::new());
    let (offer, answer) = (caller.sdp("0", &[]), called.sdp("8", &["rtpmap:8 PCMA/8000"]));
    bridge(&mut phone, &carrier, (&mut caller, &offer), (&mut called, &answer));
    let tone = tones(&[333.0], 1_000);
    pace(500, 20, |number| caller.say(0, &tone[160 * number as usize..][..160], 160));
    let at = caller.timestamp;
    caller.send(13, false, at, &[50]);
    called.heard();
    pace(1_000, 20, |_| caller.timestamp += 160);
    let noise = called.heard();
    assert!(noise.len() >= 45 && noise.iter().all(|it| it.payload.len() == 160), "{} packets", noise.len());
    let is_noise = noise.iter().skip(10).all(|it| it.payload.iter().any(|it| *it != 0xD5));
    assert!(is_noise, "there is a background");
    pace(500, 20, |number| caller.say(0, &tone[160 * number as usize..][..160], 160));
    let loud: usize = loud_runs(&called.heard(), 8).iter().sum();
    assert!(loud >= 18, "{loud} packets of speech");
    phone.hang_up();
}

#[test]
fn reports_on_the_port_of_the_audio_are_sent_and_read() {
    let server = Server::start(&[]);
    let (mut phone, mut caller) = (Phone::udp(&server), Stream::new());
    let offer = caller.sdp("0", &["rtcp-mux"]);
    let answer = call_agent(&mut phone, &mut caller, &offer);
    assert!(answer.sdp("a=rtcp-mux").is_some(), "{answer:?}");
    pace(300, 20, |_| caller.say(0, &[0xFF; 160], 160));
    caller.heard();
    let theirs = caller.ssrc_heard.unwrap();
    // A receiver report, and the metrics of RFC 3611 with a score of 3.9 for the conversation.
    let mut report = vec![0x80, 201, 0, 1];
    report.extend(caller.ssrc.to_be_bytes());
    report.extend([0x80, 207, 0, 10]);
    report.extend(caller.ssrc.to_be_bytes());
    report.extend([7, 0, 0, 8]);
    report.extend(theirs.to_be_bytes());
    report.extend([
        13, 5, 0, 0, 0, 0, 0, 0, 0, 40, 0, 60, 127, 127, 127, 16, 80, 127, 41, 39, 0x30, 0, 0, 60, 0, 90, 0, 200,
    ]);
    caller.socket.send_to(&report, caller.remote.unwrap()).unwrap();
    pace(4_000, 20, |_| caller.say(0, &[0xFF; 160], 160));
    caller.heard();
    assert!(caller.reports.iter().any(|it| it[1] == 200), "{:?}", caller.reports);
    phone.hang_up();
    let data = server.home.data();
    let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
    assert!(server.wait(Duration::from_secs(10), is_closed), "{}", server.log());
    let call = journal::calls(&data).remove(0);
    let media = call.all("media_report").next().unwrap();
    assert_eq!(media["far_mos_hundredths"], 390, "{media}");
    assert_eq!(media["packets_strange"], 0, "{media}");
}

#[test]
fn a_telephone_of_which_only_reports_come_is_there() {
    let server = Server::start(&[("RTP__INACTIVITY_S", "1")]);
    let mut phone = Phone::call(&server, "100");
    let remote = phone.media.remote.unwrap();
    let rtcp = SocketAddr::new(remote.ip(), remote.port() + 1);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let report = [0x80, 201, 0, 1, 0xCA, 0xFE, 0, 1];
    for _ in 0..5 {
        socket.send_to(&report, rtcp).unwrap();
        let stay = phone.stay(Sends::Nothing, Duration::from_millis(500));
        assert!(stay.bye.is_none(), "hung up though it reports");
    }
    // A farewell is no sign of life, nor is what cannot be read.
    let farewell = [&report[..], &[0x81, 203, 0, 1, 0xCA, 0xFE, 0, 1]].concat();
    let mut bye = None;
    for _ in 0..10 {
        for datagram in [&farewell[..], &report[..7], &[0x80; 40]] {
            socket.send_to(datagram, rtcp).unwrap();
        }
        bye = phone.stay(Sends::Nothing, Duration::from_millis(400)).bye;
        if bye.is_some() {
            break;
        }
    }
    assert!(bye.is_some(), "nothing of it comes any more");
}
