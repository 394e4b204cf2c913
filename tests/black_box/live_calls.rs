//! Calls under way, dealt with over HTTP: recorded, supervised, pressed keys into, transferred, ended.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::carrier::{Carrier, Received};
use crate::http_client::{self, Answer};
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{TonePeer, talk};

pub(crate) const KEY: &str = "hsk_of_this_test_and_no_other";
pub(crate) const CALLER: f64 = 500.0;
pub(crate) const CALLED: f64 = 900.0;
const SUPERVISOR: f64 = 1_300.0;
const TONES: [f64; 3] = [CALLER, CALLED, SUPERVISOR];
const SECOND: Duration = Duration::from_secs(1);

/// Two people who talk, and somebody who may be called beside them.
pub(crate) struct Talking {
    pub(crate) server: Server,
    pub(crate) phone: Phone,
    pub(crate) caller: TonePeer,
    pub(crate) called: TonePeer,
    pub(crate) at_called: Carrier,
    at_supervisor: Carrier,
    pub(crate) call: String,
}

impl Talking {
    fn start() -> Self {
        Self::start_in(&Home::new(), &[])
    }

    pub(crate) fn start_in(home: &Arc<Home>, more: &[(&str, &str)]) -> Self {
        let (at_called, at_supervisor) = (Carrier::start(), Carrier::start());
        let (uri, number) = (at_called.uri(), format!("sip:400@{}", at_called.address));
        let mut settings = vec![
            ("HTTP__API_KEY", KEY),
            ("TRUNKS__ACME__URI", &uri),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
            ("NUMBERS__400__URI", &number),
        ];
        settings.extend(more);
        let server = Server::start_in(home, &settings);
        let mut phone = Phone::udp(&server);
        let mut called = TonePeer::new(CALLED);
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| drop(called.answer(&at_called)));
            assert_eq!(phone.invite("400").status(), Some(200));
            answering.join().unwrap();
        });
        let socket = phone.media.socket.try_clone().unwrap();
        let caller = TonePeer::on(socket, phone.media.remote, CALLER);
        let call = live_call(&server);
        Self { server, phone, caller, called, at_called, at_supervisor, call }
    }

    fn post(&self, what: &str, body: &str) -> u16 {
        self.ask("POST", what, body).status
    }

    pub(crate) fn ask(&self, method: &str, what: &str, body: &str) -> Answer {
        ask(&self.server, method, &format!("/v1/calls/{}{what}", self.call), body)
    }

    /// Calls the supervisor, who answers.
    fn supervise(&self, mode: &str) -> (TonePeer, Received) {
        let mut supervisor = TonePeer::new(SUPERVISOR);
        let to = format!("sip:boss@{}", self.at_supervisor.address);
        let answer = self.ask("POST", "/supervise", &format!(r#"{{"to": "{to}", "mode": "{mode}"}}"#));
        assert_eq!(answer.status, 202, "{}", answer.body);
        let invite = supervisor.answer(&self.at_supervisor);
        (supervisor, invite)
    }
}

pub(crate) fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let headers = format!("Authorization: Bearer {KEY}\r\n");
    http_client::send(server.http, method, path, &headers, body).unwrap()
}

/// The only call under way, once the journal has it.
pub(crate) fn live_call(server: &Server) -> String {
    let mut call = None;
    server.wait(ANSWER_MAX, || {
        let calls: Value = serde_json::from_str(&ask(server, "GET", "/v1/calls?state=live", "").body).unwrap();
        call = calls["calls"][0]["call"].as_str().map(str::to_owned);
        call.is_some()
    });
    call.unwrap()
}

#[test]
fn a_supervisor_listens_whispers_and_barges_into_a_call_between_two_people() {
    let mut it = Talking::start();
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    assert!(it.called.heard.iter().any(|it| it.payload.len() == 240), "packets are passed on as they are");
    let (mut supervisor, _) = it.supervise("listen");
    assert_eq!(it.post("/supervise", r#"{"to": "sip:x@127.0.0.1:9", "mode": "listen"}"#), 409);
    let began = [it.caller.heard.len(), it.called.heard.len()];
    for (mode, [caller, called, boss]) in [
        ("listen", [&[CALLED][..], &[CALLER], &[CALLER, CALLED]]),
        ("whisper", [&[CALLED], &[CALLER, SUPERVISOR], &[CALLER, CALLED]]),
        ("barge", [&[CALLED, SUPERVISOR], &[CALLER, SUPERVISOR], &[CALLER, CALLED]]),
        ("listen", [&[CALLED], &[CALLER], &[CALLER, CALLED]]),
    ] {
        assert_eq!(it.ask("PATCH", "/supervise", &format!(r#"{{"mode": "{mode}"}}"#)).status, 204);
        talk(&mut [&mut it.caller, &mut it.called, &mut supervisor], 20, SECOND / 2);
        let from = [it.caller.heard.len(), it.called.heard.len(), supervisor.heard.len()];
        talk(&mut [&mut it.caller, &mut it.called, &mut supervisor], 20, SECOND * 3 / 2);
        let heard =
            [it.caller.tones(from[0], &TONES), it.called.tones(from[1], &TONES), supervisor.tones(from[2], &TONES)];
        assert_eq!(heard, [caller, called, boss], "{mode}");
    }
    assert_eq!(it.server.metrics().value("hookswitch_supervisors"), Some(1.0));
    assert_eq!(it.ask("DELETE", "/supervise", "").status, 204);
    let bye = it.at_supervisor.next("BYE", ANSWER_MAX);
    it.at_supervisor.answer(&bye, "200 OK", &[]);
    assert_eq!(it.ask("DELETE", "/supervise", "").status, 409);
    let from = it.called.heard.len();
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    let passed_on = it.called.heard[from..].iter().filter(|it| it.payload.len() == 240).count();
    assert!(passed_on > 20, "{passed_on}");
    it.caller.assert_unbroken(began[0]);
    it.called.assert_unbroken(began[1]);
    it.phone.hang_up();
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    it.server.wait(ANSWER_MAX, || it.server.metrics().value("hookswitch_calls{state=\"talking\"}") == Some(0.0));
    assert_eq!(it.server.metrics().value("hookswitch_supervisions_total"), Some(1.0));
}

#[test]
fn a_supervisor_goes_with_the_call_and_the_call_goes_on_without_one() {
    let mut it = Talking::start();
    let (_supervisor, invite) = it.supervise("listen");
    it.at_supervisor.hang_up(&invite);
    assert!(it.server.wait(ANSWER_MAX, || it.server.metrics().value("hookswitch_supervisors") == Some(0.0)));
    it.supervise("barge");
    it.phone.hang_up();
    let bye = it.at_supervisor.next("BYE", ANSWER_MAX);
    it.at_supervisor.answer(&bye, "200 OK", &[]);
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
}

#[test]
fn a_supervisor_of_an_agent_hears_both_and_is_heard_by_both() {
    let at_supervisor = Carrier::start();
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let phone = Phone::call(&server, "100");
    let mut caller = TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, CALLER);
    let call = live_call(&server);
    let to = format!("sip:boss@{}", at_supervisor.address);
    let body = format!(r#"{{"to": "{to}", "mode": "listen"}}"#);
    assert_eq!(ask(&server, "POST", &format!("/v1/calls/{call}/supervise"), &body).status, 202);
    let mut supervisor = TonePeer::new(SUPERVISOR);
    supervisor.answer(&at_supervisor);
    talk(&mut [&mut caller, &mut supervisor], 20, SECOND * 3);
    let caller_there = supervisor.levels(0, CALLER).iter().filter(|it| **it > 1_000.0).count();
    // As much as a busy machine lets the tester say.
    assert!(caller_there > 75, "{caller_there}");
    assert!(caller.levels(0, SUPERVISOR).iter().all(|it| *it < 800.0));
    let change = |mode: &str| ask(&server, "PATCH", &format!("/v1/calls/{call}/supervise"), mode).status;
    assert_eq!(change(r#"{"mode": "whisper"}"#), 204);
    let from = caller.heard.len();
    talk(&mut [&mut caller, &mut supervisor], 20, SECOND);
    assert!(caller.levels(from, SUPERVISOR).iter().all(|it| *it < 800.0), "only the agent hears a whisper");
    assert_eq!(change(r#"{"mode": "barge"}"#), 204);
    talk(&mut [&mut caller, &mut supervisor], 20, SECOND / 2);
    let from = caller.heard.len();
    talk(&mut [&mut caller, &mut supervisor], 20, SECOND);
    let barged = caller.levels(from, SUPERVISOR).iter().filter(|it| **it > 1_000.0).count();
    assert!(barged > 25, "{barged}");
    caller.assert_unbroken(0);
}

#[test]
fn a_call_between_two_people_is_recorded_while_its_packets_are_passed_on() {
    let mut it = Talking::start();
    assert_eq!(it.ask("GET", "/recording", "").status, 404);
    let refused = it.ask("POST", "/recording", r#"{"action": "start"}"#);
    assert!(refused.status == 409 && refused.body.contains("no_consent"), "{}", refused.body);
    assert_eq!(it.post("/recording", r#"{"action": "pause"}"#), 409);
    assert_eq!(it.post("/recording", r#"{"action": "begin"}"#), 400);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND * 2);
    assert_eq!(it.post("/recording", r#"{"action": "start", "consent": "given"}"#), 204);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND * 3);
    assert_eq!(it.post("/recording", r#"{"action": "pause"}"#), 204);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    assert_eq!(it.post("/recording", r#"{"action": "resume"}"#), 204);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    assert_eq!(it.post("/recording", r#"{"action": "stop"}"#), 204);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND / 2);
    // Nothing that the two hear of each other is decoded on the way, before, during or after.
    for heard in [&it.caller.heard, &it.called.heard] {
        let passed_on = heard.iter().position(|it| it.payload.len() == 240).unwrap();
        assert!(heard[passed_on..].iter().all(|it| it.payload.len() == 240));
        assert!(heard.len() > 200, "{}", heard.len());
    }
    it.phone.hang_up();
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    let mut list = Value::Null;
    it.server.wait(ANSWER_MAX, || {
        list = serde_json::from_str(&it.ask("GET", "/recordings", "").body).unwrap();
        list["recordings"].as_array().is_some_and(|it| it.len() == 1)
    });
    assert!(list["recordings"][0]["start_ms"].as_u64().is_some_and(|it| it > 1_500), "{list}");
    let whole = it.ask("GET", "/recording", "");
    assert_eq!((whole.status, whole.bytes.len() as u64), (200, list["recordings"][0]["bytes"].as_u64().unwrap()));
    assert!(whole.head.contains("content-type: audio/wav") && whole.head.contains("accept-ranges: bytes"));
    check_channels(&whole.bytes);
    check_download(&it, &whole.bytes);
    assert_eq!(it.post("/recording", r#"{"action": "start", "consent": "given"}"#), 409, "the call is over");
}

/// The gaps between the packets that the called side gets, before, while and after the call is recorded: run with
/// `--nocapture` on a machine that is quiet for the figures. Here only loss and order are judged.
#[test]
fn what_is_passed_on_is_whole_and_in_order_with_a_recording() {
    let mut it = Talking::start();
    talk(&mut [&mut it.caller, &mut it.called], 20, SECOND);
    for (name, request) in [
        ("plain", ("GET", "", "")),
        ("recorded", ("POST", "/recording", r#"{"action": "start", "consent": "given"}"#)),
        ("plain again", ("POST", "/recording", r#"{"action": "stop"}"#)),
    ] {
        assert!(it.ask(request.0, request.1, request.2).status < 300);
        let from = it.called.heard.len();
        talk(&mut [&mut it.caller, &mut it.called], 20, SECOND * 4);
        it.called.assert_unbroken(from);
        let mut gaps: Vec<_> = it.called.heard[from..].windows(2).map(|it| it[1].at - it[0].at).collect();
        gaps.sort_unstable();
        let at = |part: usize| gaps[(gaps.len() - 1) * part / 1_000].as_micros();
        println!("{name}: {} gaps, us: p50 {} p95 {} p99 {}", gaps.len(), at(500), at(950), at(990));
        assert!(gaps.len() > 100, "{}", gaps.len());
    }
}

/// The caller on the left, the called side on the right, and a second of silence in between.
fn check_channels(bytes: &[u8]) {
    let mut reader = hound::WavReader::new(bytes).unwrap();
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let channel = |which: usize| samples.iter().skip(which).step_by(2).map(|it| f64::from(*it)).collect::<Vec<_>>();
    for (which, own, other) in [(0, CALLER, CALLED), (1, CALLED, CALLER)] {
        let levels = |hz: f64| crate::tone_peer::levels(&channel(which), hz);
        let (own, other) = (levels(own), levels(other));
        let loud = own.iter().filter(|it| **it > 4_000.0).count();
        let silent = own.iter().filter(|it| **it < 100.0).count();
        // A busy machine keeps the tester from saying some of it.
        assert!((120..=215).contains(&loud), "channel {which}: {loud} of {}", own.len());
        assert!((30..=120).contains(&silent), "channel {which}: {silent} of {}", own.len());
        assert!(other.iter().filter(|it| **it > 500.0).count() < 6, "channel {which} has the other side in it");
    }
}

fn check_download(it: &Talking, whole: &[u8]) {
    let ranged = |range: &str, path: &str| {
        let headers = format!("Authorization: Bearer {KEY}\r\nRange: {range}\r\n");
        http_client::get_with(it.server.http, &format!("/v1/calls/{}/{path}", it.call), &headers).unwrap()
    };
    let part = ranged("bytes=44-143", "recording");
    assert_eq!((part.status, &part.bytes[..]), (206, &whole[44..144]));
    assert!(part.head.contains(&format!("content-range: bytes 44-143/{}", whole.len())), "{}", part.head);
    let end = ranged("bytes=-10", "recording?number=1");
    assert_eq!((end.status, &end.bytes[..]), (206, &whole[whole.len() - 10..]));
    assert_eq!(ranged("bytes=99999999-", "recording").status, 416);
    assert_eq!(ranged("bytes=0-", "recording?number=2").status, 404);
    assert_eq!(ranged("bytes=0-", "recording?number=0").status, 400);
    for path in
        ["/v1/calls/..%2f..%2fhookswitch.db/recording", "/v1/calls/default%2fx/recording", "/v1/calls/../recording"]
    {
        assert_eq!(ask(&it.server, "GET", path, "").status, 404, "{path}");
    }
    let answer = http_client::get(it.server.http, &format!("/v1/calls/{}/recording", it.call)).unwrap();
    assert_eq!(answer.status, 401);
}

#[test]
fn the_recording_of_an_agents_call_is_switched_on_in_its_middle() {
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    let path = format!("/v1/calls/{}/recording", live_call(&server));
    assert_eq!(ask(&server, "POST", &path, r#"{"action": "start", "format": "mp3"}"#).status, 204);
    phone.hear(60);
    phone.hang_up();
    assert!(server.wait(ANSWER_MAX, || ask(&server, "GET", &path, "").status == 200));
    let answer = ask(&server, "GET", &path, "");
    assert!(answer.head.contains("content-type: audio/mpeg"), "{}", answer.head);
    assert!(answer.bytes.len() > 1_000, "{}", answer.bytes.len());
}

#[test]
fn a_recording_that_needs_consent_waits_for_somebody_to_vouch_for_it() {
    let server = Server::start(&[("HTTP__API_KEY", KEY), ("AGENTS__TALKER__RECORDING__CONSENT", "announce")]);
    let mut phone = Phone::call(&server, "100");
    let path = format!("/v1/calls/{}/recording", live_call(&server));
    assert_eq!(ask(&server, "POST", &path, r#"{"action": "start"}"#).status, 409);
    assert_eq!(ask(&server, "POST", &path, r#"{"action": "start", "consent": "given"}"#).status, 204);
    phone.hear(20);
    phone.hang_up();
    assert!(server.wait(ANSWER_MAX, || ask(&server, "GET", &path, "").status == 200));
    let calls = crate::journal::calls(&server.home.data());
    let consent = calls[0].all("recording_consent").next().unwrap();
    assert_eq!((consent["given"].as_bool(), consent["how"].as_str()), (Some(true), Some("api")));
}

#[test]
fn keys_are_pressed_and_a_call_is_ended_from_outside() {
    let mut it = Talking::start();
    assert_eq!(it.post("/dtmf", r#"{"digits": "42#", "to": "called"}"#), 204);
    assert_eq!(it.post("/dtmf", r#"{"digits": "4x"}"#), 400);
    assert_eq!(it.post("/dtmf", r#"{"digits": ""}"#), 400);
    let events = events(&it.called.socket, SECOND * 2);
    assert_eq!(events, [4, 2, 11]);
    assert_eq!(it.post("/end", ""), 204);
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    assert!(it.phone.stay(crate::rtp_peer::Sends::Silence, ANSWER_MAX).bye.is_some());
    assert!(it.server.wait(ANSWER_MAX, || it.post("/end", "") == 409));
    let mut record = Value::Null;
    it.server.wait(ANSWER_MAX, || {
        record = serde_json::from_str(&it.ask("GET", "", "").body).unwrap();
        !record["initiator"].is_null()
    });
    assert_eq!(record["initiator"].as_str(), Some("operator"), "{record}");
    assert_eq!(ask(&it.server, "POST", "/v1/calls/call_00000000000000000000000000000001/end", "").status, 404);
    let calls: Value = serde_json::from_str(&ask(&it.server, "GET", "/v1/calls?state=live", "").body).unwrap();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_call_is_transferred_from_outside() {
    let mut it = Talking::start();
    let to = format!("sip:other@{}", it.at_supervisor.address);
    assert_eq!(it.post("/transfer", &format!(r#"{{"to": "{to}"}}"#)), 202);
    let mut other = TonePeer::new(SUPERVISOR);
    other.answer(&it.at_supervisor);
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    talk(&mut [&mut it.caller, &mut other], 20, SECOND);
    let from = [it.caller.heard.len(), other.heard.len()];
    talk(&mut [&mut it.caller, &mut other], 20, SECOND);
    assert_eq!(it.caller.tones(from[0], &TONES), [SUPERVISOR]);
    assert_eq!(other.tones(from[1], &TONES), [CALLER]);
    assert_eq!(it.post("/transfer", r#"{"to": "nobody"}"#), 400);
    for to in ["sip:bob@127.0.0.1?Subject=x", "tel:+1", "sip:"] {
        assert_eq!(it.post("/transfer", &format!(r#"{{"to": "{to}"}}"#)), 400, "{to}");
    }
    assert_eq!(it.post("/transfer", r#"{"to": "1", "trunk": "nobody"}"#), 400);
}

/// The codes of telephone events that come in, each once.
fn events(socket: &UdpSocket, time: Duration) -> Vec<u8> {
    let end = std::time::Instant::now() + time;
    let (mut codes, mut last, mut buffer) = (vec![], None, [0; 2_048]);
    while let Some(left) = end.checked_duration_since(std::time::Instant::now()).filter(|it| !it.is_zero()) {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let timestamp: [u8; 4] = buffer[4..8].try_into().unwrap();
        if length >= 16 && buffer[1] & 0x7F == 101 && last.replace(timestamp) != Some(timestamp) {
            codes.push(buffer[12]);
        }
    }
    codes
}
