//! What a telephone hears of ours while the one that it calls rings, or holds it.

use std::time::{Duration, Instant};

use crate::carrier::{Carrier, Received};
use crate::playing::{JINGLE_HZ, MUSIC_HZ, RINGING_HZ, runs, wav_of_tone};
use crate::rtp_peer::{Account, RtpPeer, Sends};
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::what_answers::tones;

#[test]
fn ringing_the_other_side_and_music_on_hold() {
    let (home, carrier) = (Home::new(), Carrier::start());
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/hold.wav"), wav_of_tone(JINGLE_HZ, 700)).unwrap();
    let server = Server::start_in(
        &home,
        &[
            ("TRUNKS__ACME__URI", &carrier.uri()),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
            ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
            ("SOUNDS__DIRECTORY", "sounds"),
            ("SOUNDS__COUNTRY", "DE"),
            ("SOUNDS__RINGBACK", "true"),
            ("SOUNDS__HOLD_MUSIC", "hold.wav"),
        ],
    );
    let mut phone = Phone::udp(&server);
    let mut called = RtpPeer::new();
    let (invite, early) = std::thread::scope(|scope| {
        let ringing = scope.spawn(|| {
            let invite = carrier.next("INVITE", ANSWER_MAX);
            carrier.answer(&invite, "180 Ringing", &[]);
            invite
        });
        let early = phone.invite_early("400");
        (ringing.join().unwrap(), early)
    });
    assert_eq!(early.status(), Some(183));
    assert!(runs(&hear(&mut phone, &mut called, 1_500)).iter().any(|it| it.0 == RINGING_HZ && it.1 > 300));

    called.remote = invite.message.rtp_address();
    carrier.answer_with(&invite, "200 OK", &[&contact(&carrier)], &sdp(&called, 1, "sendrecv"));
    carrier.next("ACK", ANSWER_MAX);
    assert_eq!(phone.invited().status(), Some(200));
    called.voice.extend(tones(&[f64::from(MUSIC_HZ)], 60_000));
    hear(&mut phone, &mut called, 500);
    assert_eq!(heard_in(&mut phone, &mut called), [MUSIC_HZ], "the other side, and no ringing");

    reinvite(&carrier, &invite, &called, 1, "inactive");
    hear(&mut phone, &mut called, 300);
    assert_eq!(heard_in(&mut phone, &mut called), [JINGLE_HZ], "music on hold");
    reinvite(&carrier, &invite, &called, 2, "sendrecv");
    hear(&mut phone, &mut called, 300);
    assert_eq!(heard_in(&mut phone, &mut called), [MUSIC_HZ], "the other side again");
    let asked = phone.wire.receive(Duration::from_millis(1));
    assert!(asked.is_none_or(|it| it.method() != Some("INVITE")), "the hold is not passed on");
    phone.hang_up();
}

#[test]
fn music_goes_on_while_the_one_who_holds_has_somebody_else_called_and_ends_when_that_one_answers() {
    let (home, carrier, other) = (Home::new(), Carrier::start(), Carrier::start());
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/hold.wav"), wav_of_tone(JINGLE_HZ, 700)).unwrap();
    let server = Server::start_in(
        &home,
        &[
            ("TRUNKS__ACME__URI", &carrier.uri()),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
            ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
            ("NUMBERS__500__URI", &format!("sip:500@{}", other.address)),
            ("SIP__TRANSFERS", "known"),
            ("SOUNDS__DIRECTORY", "sounds"),
            ("SOUNDS__HOLD_MUSIC", "hold.wav"),
        ],
    );
    let (mut phone, mut called, mut third) = (Phone::udp(&server), RtpPeer::new(), RtpPeer::new());
    let invite = std::thread::scope(|scope| {
        let answering = scope.spawn(|| taken(&carrier, &mut called));
        assert_eq!(phone.invite("400").status(), Some(200));
        answering.join().unwrap()
    });
    reinvite(&carrier, &invite, &called, 1, "inactive");
    hear(&mut phone, &mut called, 300);
    assert_eq!(heard_in(&mut phone, &mut called), [JINGLE_HZ], "music on hold");

    let refer = format!("{}\r\nRefer-To: <sip:500@{}>", contact(&carrier), server.sip);
    assert_eq!(carrier.ask(&invite, "REFER", 2, &refer, "").status(), Some(202));
    let asked = other.next("INVITE", ANSWER_MAX);
    other.answer(&asked, "180 Ringing", &[]);
    assert_eq!(heard_in(&mut phone, &mut called), [JINGLE_HZ], "music while somebody else is called");

    third.remote = asked.message.rtp_address();
    other.answer_with(&asked, "200 OK", &[&contact(&other)], &sdp(&third, 1, "sendrecv"));
    other.next("ACK", ANSWER_MAX);
    third.voice.extend(tones(&[f64::from(MUSIC_HZ)], 60_000));
    hear(&mut phone, &mut third, 500);
    assert_eq!(heard_in(&mut phone, &mut third), [MUSIC_HZ], "who was called, and no music");
    carrier.hang_up(&invite);
    hear(&mut phone, &mut third, 300);
    assert_eq!(heard_in(&mut phone, &mut third), [MUSIC_HZ], "the call goes on without who transferred it");
    phone.hang_up();
    other.next("BYE", ANSWER_MAX);
}

/// Takes a call that comes in.
fn taken(carrier: &Carrier, media: &mut RtpPeer) -> Received {
    let invite = carrier.next("INVITE", ANSWER_MAX);
    media.remote = invite.message.rtp_address();
    carrier.answer_with(&invite, "200 OK", &[&contact(carrier)], &sdp(media, 1, "sendrecv"));
    carrier.next("ACK", ANSWER_MAX);
    invite
}

/// What the phone hears in so many milliseconds, in which both sides send.
fn hear(phone: &mut Phone, called: &mut RtpPeer, ms: u64) -> Vec<u8> {
    let (mut heard, mut other) = (Account::default(), Account::default());
    let end = Instant::now() + Duration::from_millis(ms);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end {
                called.tick(Sends::Silence, &mut other);
            }
        });
        while Instant::now() < end {
            phone.media.tick(Sends::Silence, &mut heard);
        }
    });
    heard.payload
}

fn heard_in(phone: &mut Phone, called: &mut RtpPeer) -> Vec<u16> {
    runs(&hear(phone, called, 1_000)).into_iter().filter(|it| it.1 > 200).map(|it| it.0).collect()
}

/// The called side changes the direction of its audio.
fn reinvite(carrier: &Carrier, invite: &Received, called: &RtpPeer, cseq: u32, direction: &str) {
    let answer = carrier.ask(invite, "INVITE", cseq, &contact(carrier), &sdp(called, 1 + cseq, direction));
    assert_eq!(answer.status(), Some(200), "{answer:?}");
}

fn contact(carrier: &Carrier) -> String {
    format!("Contact: <{}>", carrier.uri())
}

fn sdp(called: &RtpPeer, version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na={direction}\r\n",
        called.port()
    )
}
