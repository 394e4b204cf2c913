//! A browser as one of several: in a room, as the supervisor of a call, and in a call that is recorded and supervised.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::alone;
use crate::called::{CALLER_HZ, Called, PAGE_HZ};
use crate::carrier::Carrier;
use crate::http_client::{self, Answer};
use crate::rtp_peer::Sends;
use crate::server_process::{Server, rtp_ports};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{self, TonePeer, talk};

const KEY: &str = "hsk_of_this_test_and_no_other";
/// What the third one says, in hertz.
const OTHER_HZ: f64 = 700.0;
/// How the page tells of whom it hears.
const CALLER: &str = "450";
const OTHER: &str = "700";
const BOTH: &str = "450 700";
/// How long it may take until all hear whom they are to hear.
const CHANGE_MAX: Duration = Duration::from_secs(15);

#[test]
fn a_browser_is_in_a_room_with_telephones_in_opus() {
    be_in_a_room("wss", "opus,pcmu", "audio/opus", false);
}

#[test]
fn a_browser_is_in_a_room_with_telephones_in_mu_law() {
    be_in_a_room("ws", "pcmu", "audio/PCMU", true);
}

#[test]
fn a_browser_supervises_a_call() {
    let _alone = alone();
    let at_called = Carrier::start();
    let keys = [
        ("HTTP__API_KEY", KEY),
        ("NUMBERS__400__URI", &format!("sip:400@{}", at_called.address)),
        ("TRUNKS__ACME__URI", &at_called.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("TRUNKS__ACME__OPTIONS_S", "0"),
    ];
    let Called { secured, mut page, mut phone } = Called::start_with("wss", &keys, &LISTENS);
    let before = secured.server.metrics();
    let mut called = TonePeer::new(OTHER_HZ);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| drop(called.answer(&at_called)));
        phone.invite("400")
    });
    assert_eq!(answer.status(), Some(200), "{answer:?}\n{}", secured.server.log());
    let mut caller = peer_of(&phone, CALLER_HZ);
    let call = live_call(&secured.server);
    let supervise = format!("calls/{call}/supervise");
    let answer = ask(&secured.server, "POST", &supervise, r#"{"to": "page", "mode": "listen"}"#);
    assert_eq!(answer.status, 202, "{}", answer.body);
    // Who of the two hears the page; it hears both all the time.
    for (mode, at_caller, at_called) in
        [("listen", false, false), ("whisper", false, true), ("barge", true, true), ("listen", false, false)]
    {
        if ask(&secured.server, "PATCH", &supervise, &format!(r#"{{"mode": "{mode}"}}"#)).status != 204 {
            assert_eq!(mode, "listen", "it is there from the second on");
        }
        until(&mut [&mut caller, &mut called], mode, |peers| {
            last_heard(&page.log.text()) == Some(BOTH)
                && hears(peers[0], PAGE_HZ) == Some(at_caller)
                && hears(peers[1], PAGE_HZ) == Some(at_called)
                && hears(peers[0], OTHER_HZ) == Some(true)
                && hears(peers[1], CALLER_HZ) == Some(true)
        });
    }
    assert_eq!(ask(&secured.server, "DELETE", &supervise, "").status, 204);
    assert!(page.exit_status(Duration::from_secs(20)).success(), "{}", page.log.text());
    // The call goes on without it.
    let from = caller.heard.len();
    talk(&mut [&mut caller, &mut called], 20, Duration::from_secs(1));
    assert!(caller.heard.len() > from + 40);
    caller.assert_unbroken(0);
    phone.hang_up();
    let bye = at_called.next("BYE", ANSWER_MAX);
    at_called.answer(&bye, "200 OK", &[]);
    secured.server.settles(&before, Duration::from_secs(20));
}

#[test]
fn a_call_of_a_browser_is_recorded_and_supervised() {
    let _alone = alone();
    let Called { secured, mut page, mut phone } = Called::start_with("wss", &[("HTTP__API_KEY", KEY)], &LISTENS);
    let before = secured.server.metrics();
    let answer = phone.invite("500");
    assert_eq!(answer.status(), Some(200), "{answer:?}\n{}", page.log.text());
    let mut caller = peer_of(&phone, CALLER_HZ);
    let call = live_call(&secured.server);
    let record = |action: &str| {
        let body = format!(r#"{{"action": "{action}", "consent": "given"}}"#);
        ask(&secured.server, "POST", &format!("calls/{call}/recording"), &body).status
    };
    assert_eq!(record("start"), 204);
    until(&mut [&mut caller], "the two", |peers| {
        last_heard(&page.log.text()) == Some(CALLER) && hears(peers[0], PAGE_HZ) == Some(true)
    });
    let at_supervisor = Carrier::start();
    let supervise = format!("calls/{call}/supervise");
    let body = format!(r#"{{"to": "sip:boss@{}", "mode": "whisper"}}"#, at_supervisor.address);
    assert_eq!(ask(&secured.server, "POST", &supervise, &body).status, 202);
    let mut supervisor = TonePeer::new(OTHER_HZ);
    supervisor.answer(&at_supervisor);
    for (mode, at_caller, at_page) in [("whisper", false, BOTH), ("listen", false, CALLER), ("barge", true, BOTH)] {
        assert_eq!(ask(&secured.server, "PATCH", &supervise, &format!(r#"{{"mode": "{mode}"}}"#)).status, 204);
        until(&mut [&mut caller, &mut supervisor], mode, |peers| {
            last_heard(&page.log.text()) == Some(at_page)
                && hears(peers[0], OTHER_HZ) == Some(at_caller)
                && hears(peers[0], PAGE_HZ) == Some(true)
                && hears(peers[1], CALLER_HZ) == Some(true)
                && hears(peers[1], PAGE_HZ) == Some(true)
        });
    }
    assert_eq!(record("stop"), 204);
    phone.hang_up();
    let bye = at_supervisor.next("BYE", ANSWER_MAX);
    at_supervisor.answer(&bye, "200 OK", &[]);
    assert!(page.exit_status(Duration::from_secs(20)).success(), "{}", page.log.text());
    secured.server.settles(&before, Duration::from_secs(20));
    let path = format!("calls/{call}/recording");
    assert!(secured.server.wait(ANSWER_MAX, || ask(&secured.server, "GET", &path, "").status == 200));
    let file = ask(&secured.server, "GET", &path, "").bytes;
    let mut reader = hound::WavReader::new(&file[..]).unwrap();
    let step = reader.spec().sample_rate / 8_000;
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let loud = |channel: usize, hz: f64| {
        let side = samples.iter().skip(channel).step_by(2 * step as usize).map(|it| f64::from(*it)).collect::<Vec<_>>();
        tone_peer::levels(&side, hz).iter().filter(|it| **it > 1_500.0).count()
    };
    // The caller is on the left, the browser on the right, and the supervisor is no part of the call.
    for (channel, hz, is_there) in
        [(0, CALLER_HZ, true), (0, PAGE_HZ, false), (1, PAGE_HZ, true), (1, CALLER_HZ, false)]
    {
        let frames = loud(channel, hz);
        assert!(if is_there { frames > 150 } else { frames < 10 }, "{hz} Hz in {frames} frames of channel {channel}");
    }
}

#[test]
fn a_scan_of_the_ports_finds_nobody_and_disturbs_no_browser() {
    let _alone = alone();
    let ports = rtp_ports(20);
    let Called { secured, mut page, mut phone } = Called::start_with("wss", &[("RTP__PORTS", &ports)], &LISTENS);
    assert_eq!(phone.invite("500").status(), Some(200), "{}", page.log.text());
    let mut caller = peer_of(&phone, CALLER_HZ);
    until(&mut [&mut caller], "before", |peers| {
        last_heard(&page.log.text()) == Some(CALLER) && hears(peers[0], PAGE_HZ) == Some(true)
    });
    let (first, last) = ports.split_once('-').map(|(a, b)| (a.parse::<u16>().unwrap(), b.parse().unwrap())).unwrap();
    let scanners = ["127.0.0.1:0", "127.0.0.2:0"].map(|it| UdpSocket::bind(it).unwrap());
    let strange = || secured.server.metrics().value("hookswitch_rtp_packets_total{what=\"strange\"}").unwrap();
    let (from, before) = (caller.heard.len(), strange());
    for _ in 0..10 {
        for probe in probes() {
            for (scanner, port) in scanners.iter().flat_map(|it| (first..=last).map(move |port| (it, port))) {
                // Where nobody listens, the system refuses.
                drop(scanner.send_to(&probe, ("127.0.0.1", port)));
            }
        }
        talk(&mut [&mut caller], 20, Duration::from_millis(300));
    }
    for scanner in &scanners {
        scanner.set_nonblocking(true).unwrap();
        let answer = scanner.recv_from(&mut [0; 2_048]);
        assert!(answer.is_err(), "an answer from {answer:?}");
    }
    // Ten times from each scanner to the RTP and RTCP ports of both sides.
    let sent = 10.0 * 2.0 * 4.0 * probes().len() as f64;
    // What may be RTCP is read from the peer's host, whatever port it comes from.
    assert!(secured.server.wait(ANSWER_MAX, || strange() >= before + sent * 0.95), "{} of {sent}", strange() - before);
    assert_eq!(hears(&caller, PAGE_HZ), Some(true));
    assert!(caller.heard.len() > from + 120, "{} packets in three seconds", caller.heard.len() - from);
    assert_eq!(last_heard(&page.log.text()), Some(CALLER));
    phone.hang_up();
    assert!(page.exit_status(Duration::from_secs(20)).success(), "{}", page.log.text());
}

/// What nobody who knows no secret of the call can say better: STUN requests with and without credentials (RFC 8489), also that
/// name the roles and candidates of a browser; handshakes of DTLS; SRTP and RTCP of nobody.
fn probes() -> Vec<Vec<u8>> {
    let stun = |attributes: &[u8]| {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&[0, 1][..], &length, &[0x21, 0x12, 0xa4, 0x42], &[7; 12], attributes].concat()
    };
    let user = [&[0, 6, 0, 8][..], b"aaaa:bbb"].concat();
    let nominates = [0x00, 0x25, 0, 0, 0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x24, 0, 4, 0x6e, 0, 0xff, 0xff];
    let proof = [&[0, 8, 0, 20][..], &[9; 20]].concat();
    let hello = [&[22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48][..], &[1; 60]].concat();
    let rtp = [&[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[5; 60]].concat();
    let bye = vec![0x81, 203, 0, 1, 0, 0, 0, 1];
    let whole = [&user[..], &nominates, &proof].concat();
    vec![
        stun(&[]),
        stun(&user),
        stun(&whole),
        stun(&[0xff; 40]),
        hello,
        rtp,
        bye,
        vec![0x16],
        vec![],
        vec![0xff; 1_400],
    ]
}

/// Who calls a room or is invited there, and hears and is heard there until it is thrown out.
#[track_caller]
fn be_in_a_room(scheme: &str, codecs: &str, codec: &str, is_invited: bool) {
    let _alone = alone();
    let keys = [
        ("HTTP__API_KEY", KEY),
        ("NUMBERS__700__ROOM", "den"),
        ("ROOMS__DEN__MAX_MEMBERS", "3"),
        ("MEDIA__CODECS", codecs),
    ];
    let calls: &[&str] = if is_invited { &[] } else { &["calls=700"] };
    let parameters: Vec<&str> = LISTENS.iter().chain(calls).copied().collect();
    let Called { secured, mut page, mut phone } = Called::start_with(scheme, &keys, &parameters);
    let server = &secured.server;
    if is_invited {
        let invited = ask(server, "POST", "rooms/den/members", r#"{"to": "page"}"#);
        assert_eq!(invited.status, 201, "{}", invited.body);
    }
    assert!(server.wait(CHANGE_MAX, || server.metrics().value("hookswitch_room_members") == Some(1.0)));
    assert_eq!(phone.invite("700").status(), Some(200));
    let mut caller = peer_of(&phone, CALLER_HZ);
    until(&mut [&mut caller], "both are there", |peers| {
        last_heard(&page.log.text()) == Some(CALLER) && hears(peers[0], PAGE_HZ) == Some(true)
    });
    let log = page.log.text();
    assert!(log.lines().any(|it| it.contains(r#""hears""#) && it.contains(codec)), "{codec} is not in {log}");
    let mut other_phone = Phone::call(server, "700");
    let mut other = peer_of(&other_phone, OTHER_HZ);
    until(&mut [&mut caller, &mut other], "three", |peers| {
        let all_hear = peers.iter().all(|it| hears(it, PAGE_HZ) == Some(true));
        all_hear && hears(peers[0], OTHER_HZ) == Some(true) && last_heard(&page.log.text()) == Some(BOTH)
    });
    // By the order in which they came: the browser, the telephone, the other telephone.
    let members: Value = serde_json::from_str(&ask(server, "GET", "rooms/den", "").body).unwrap();
    let member = |index: usize| format!("rooms/den/members/{}", members["members"][index]["call"].as_str().unwrap());
    for (index, muted, page_is_heard, page_hears) in
        [(0, true, false, BOTH), (0, false, true, BOTH), (2, true, true, CALLER), (2, false, true, BOTH)]
    {
        let answer = ask(server, "PATCH", &member(index), &format!(r#"{{"muted": {muted}}}"#));
        assert_eq!(answer.status, 204, "{}", answer.body);
        until(&mut [&mut caller, &mut other], &format!("{index} {muted}"), |peers| {
            let all = peers.iter().all(|it| hears(it, PAGE_HZ) == Some(page_is_heard));
            all && last_heard(&page.log.text()) == Some(page_hears)
        });
    }
    // Who is thrown out is not heard any more.
    assert_eq!(ask(server, "DELETE", &member(1), "").status, 204);
    assert!(phone.stay(Sends::Silence, ANSWER_MAX).bye.is_some());
    until(&mut [&mut other], "without the first", |peers| {
        hears(peers[0], CALLER_HZ) == Some(false)
            && hears(peers[0], PAGE_HZ) == Some(true)
            && last_heard(&page.log.text()) == Some(OTHER)
    });
    assert_eq!(ask(server, "DELETE", &member(0), "").status, 204);
    assert!(page.exit_status(Duration::from_secs(20)).success(), "{}", page.log.text());
    other_phone.hang_up();
    assert!(server.wait(ANSWER_MAX, || server.metrics().value("hookswitch_rtp_sessions") == Some(0.0)));
}

/// The parameters of a page that tells whom it hears until somebody hangs it up.
const LISTENS: [&str; 2] = ["tones=450,700", "ends=them"];

fn peer_of(phone: &Phone, hz: f64) -> TonePeer {
    TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, hz)
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let headers = format!("Authorization: Bearer {KEY}\r\n");
    http_client::send(server.http, method, &format!("/v1/{path}"), &headers, body).unwrap()
}

#[track_caller]
fn live_call(server: &Server) -> String {
    let mut call = None;
    server.wait(ANSWER_MAX, || {
        let calls: Value = serde_json::from_str(&ask(server, "GET", "calls?state=live", "").body).unwrap();
        call = calls["calls"][0]["call"].as_str().map(str::to_owned);
        call.is_some()
    });
    call.unwrap()
}

/// Whom the page has told of last.
fn last_heard(log: &str) -> Option<&str> {
    let line = log.lines().rfind(|it| it.contains(r#""kind":"hears""#))?;
    line.split(r#""tones":""#).nth(1)?.split('"').next()
}

/// Whether a tone is there all the time of late, or not at all; nothing if it comes and goes.
fn hears(peer: &TonePeer, hz: f64) -> Option<bool> {
    let from = peer.heard.len().checked_sub(LATELY)?;
    let loud = peer.levels(from, hz).iter().filter(|it| **it > 1_000.0).count();
    // On a busy machine the page's tone has gaps.
    match loud * 100 / LATELY {
        80.. => Some(true),
        0..=2 => Some(false),
        _ => None,
    }
}

/// In packets.
const LATELY: usize = 40;

/// Talks until it is as it should be.
#[track_caller]
fn until(peers: &mut [&mut TonePeer], what: &str, mut is_so: impl FnMut(&[&mut TonePeer]) -> bool) {
    let end = Instant::now() + CHANGE_MAX;
    loop {
        talk(peers, 20, Duration::from_millis(200));
        if is_so(peers) {
            return;
        }
        assert!(Instant::now() < end, "{what}: after {CHANGE_MAX:?} it is not as it should be");
    }
}
