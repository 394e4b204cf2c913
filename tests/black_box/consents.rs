//! Calls between two people that are recorded once both have been told, or have agreed: what each hears, and what is kept.

use std::path::Path;
use std::time::{Duration, Instant};

use hookswitch::codec::AudioCodec;
use serde_json::Value;

use crate::carrier::{Carrier, Received};
use crate::credentials::Credentials;
use crate::http_client::{self, Answer};
use crate::playing::wav_of_tone;
use crate::server_process::{Home, Server, free_port};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{TonePeer, levels, talk};

const KEY: &str = "hsk_of_this_test_and_no_other";
/// What is said before everybody has agreed, and after.
const BEFORE: [f64; 2] = [700.0, 1_100.0];
const AFTER: [f64; 2] = [500.0, 900.0];
const OTHER: f64 = 1_300.0;
/// The words.
const ANNOUNCEMENT: f64 = 1_700.0;
const QUESTION: f64 = 2_300.0;
const WORDS_MS: u32 = 800;
const SLICE: Duration = Duration::from_millis(60);
const SECOND: Duration = Duration::from_secs(1);

/// A codec, and whether it is secured.
type Kind = (AudioCodec, bool);
const PLAIN: Kind = (AudioCodec::Pcmu, false);
const SECURED: Kind = (AudioCodec::Pcmu, true);
const WIDE: Kind = (AudioCodec::G722, false);

/// Two people who talk.
struct Talking {
    server: Server,
    phone: Phone,
    caller: TonePeer,
    called: TonePeer,
    at_called: Carrier,
    invite: Received,
    /// Where number 500 is.
    at_other: Carrier,
    call: String,
}

impl Talking {
    #[track_caller]
    fn start(kinds: [Kind; 2], keys: &[(&str, &str)]) -> Self {
        let (at_called, at_other, home) = (Carrier::start(), Carrier::start(), home());
        let (to_called, to_other) = (format!("sip:400@{}", at_called.address), format!("sip:500@{}", at_other.address));
        let mut all = vec![
            ("HTTP__API_KEY", KEY),
            ("SOUNDS__DIRECTORY", "sounds"),
            ("MEDIA__CODECS", "g722,pcmu"),
            ("MEDIA__SRTP", if kinds.iter().any(|it| it.1) { "preferred" } else { "off" }),
            ("NUMBERS__400__URI", &to_called),
            ("NUMBERS__500__URI", &to_other),
            ("SIP__TRANSFERS", "known"),
            ("TRUNKS__ACME__URI", "sip:127.0.0.1:9"),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
        ];
        all.extend(keys);
        let server = Server::start_in(&home, &all);
        let mut phone = Phone::udp(&server);
        let mut caller = TonePeer::speaking(BEFORE[0], kinds[0].0, kinds[0].1);
        let mut called = TonePeer::speaking(BEFORE[1], kinds[1].0, kinds[1].1);
        let (answer, invite) = std::thread::scope(|scope| {
            let answering = scope.spawn(|| called.answer(&at_called));
            let answer = phone.invite_offering("400", &caller.sdp_offering());
            (answer, answering.join().unwrap())
        });
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        caller.agree(&answer);
        let call = live_call(&server);
        Self { server, phone, caller, called, at_called, invite, at_other, call }
    }

    fn ask(&self, method: &str, what: &str, body: &str) -> Answer {
        ask(&self.server, method, &format!("/v1/calls/{}{what}", self.call), body)
    }

    fn record(&self, body: &str) -> u16 {
        self.ask("POST", "/recording", body).status
    }

    /// Both talk until each has heard so many frames of `hz` since packet `from`.
    #[track_caller]
    fn talk_until_heard(&mut self, hz: f64, frames: usize, from: [usize; 2]) {
        let end = Instant::now() + ANSWER_MAX;
        while [&self.caller, &self.called].iter().zip(from).any(|(it, from)| loud(&it.levels(from, hz)) < frames) {
            assert!(Instant::now() < end, "{hz} Hz was not heard by both\n{}", self.server.log());
            talk(&mut [&mut self.caller, &mut self.called], 20, SLICE);
        }
    }

    fn talk(&mut self, time: Duration) {
        talk(&mut [&mut self.caller, &mut self.called], 20, time);
    }

    /// From here on they say what may be recorded.
    fn sing_after(&mut self) {
        self.caller.sing(AFTER[0]);
        self.called.sing(AFTER[1]);
    }

    fn heard(&self) -> [usize; 2] {
        [self.caller.heard.len(), self.called.heard.len()]
    }

    /// Talks until the journal has so many consents; they are given as `by how given`.
    #[track_caller]
    fn consents(&mut self, count: usize) -> Vec<String> {
        let end = Instant::now() + ANSWER_MAX;
        loop {
            self.talk(SLICE * 4);
            let record: Value = serde_json::from_str(&self.ask("GET", "", "").body).unwrap();
            let consents = record["recording_consents"].as_array().unwrap();
            if consents.len() >= count {
                let text = |it: &Value| it.as_str().unwrap_or("all").to_owned();
                let mut shown: Vec<_> = consents
                    .iter()
                    .map(|it| format!("{} {} {}", text(&it["by"]), text(&it["how"]), it["given"]))
                    .collect();
                shown.sort();
                return shown;
            }
            assert!(Instant::now() < end, "{record}\n{}", self.server.log());
        }
    }

    /// Hangs up and gives the recordings, once the call is over.
    #[track_caller]
    fn finish(&mut self) -> Vec<Value> {
        self.phone.hang_up();
        let bye = self.at_called.next("BYE", ANSWER_MAX);
        self.at_called.answer(&bye, "200 OK", &[]);
        self.recordings()
    }

    #[track_caller]
    fn recordings(&self) -> Vec<Value> {
        let is_over = || crate::journal::calls(&self.server.home.data()).iter().all(|it| it.closed);
        assert!(self.server.wait(ANSWER_MAX, is_over), "{}", self.server.log());
        self.server.metrics();
        let list: Value = serde_json::from_str(&self.ask("GET", "/recordings", "").body).unwrap();
        list["recordings"].as_array().unwrap().clone()
    }

    /// The two channels of a recording.
    fn channels(&self, number: usize) -> [Vec<f64>; 2] {
        let file = self.ask("GET", &format!("/recording?number={number}"), "");
        let mut reader = hound::WavReader::new(&file.bytes[..]).unwrap();
        assert_eq!(reader.spec().sample_rate, 8_000);
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        [0, 1].map(|which| samples.iter().skip(which).step_by(2).map(|it| f64::from(*it)).collect())
    }

    /// What was said after the consent is on its channel, and nothing else is anywhere.
    #[track_caller]
    fn check_recorded(&self, number: usize) {
        for (which, channel) in self.channels(number).iter().enumerate() {
            let own = loud(&levels(channel, AFTER[which]));
            assert!(own > 30, "channel {which}: {own} of {} frames", channel.len() / 160);
            for hz in [BEFORE[0], BEFORE[1], AFTER[1 - which], ANNOUNCEMENT, QUESTION] {
                let others = loud(&levels(channel, hz));
                assert_eq!(others, 0, "channel {which}: {hz} Hz in {others} frames");
            }
        }
    }

    fn files(&self) -> usize {
        let folder = self.server.home.data().join("recordings/default");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

/// With the words in its folder of sounds.
fn home() -> std::sync::Arc<Home> {
    let home = Home::new();
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    for (name, hz) in [("announcement.wav", 1_700), ("question.wav", 2_300)] {
        std::fs::write(home.path().join("sounds").join(name), wav_of_tone(hz, WORDS_MS)).unwrap();
    }
    home
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let headers = format!("Authorization: Bearer {KEY}\r\n");
    http_client::send(server.http, method, path, &headers, body).unwrap()
}

fn live_call(server: &Server) -> String {
    let mut call = None;
    server.wait(ANSWER_MAX, || {
        let calls: Value = serde_json::from_str(&ask(server, "GET", "/v1/calls?state=live", "").body).unwrap();
        call = calls["calls"][0]["call"].as_str().map(str::to_owned);
        call.is_some()
    });
    call.unwrap()
}

fn loud(levels: &[f64]) -> usize {
    levels.iter().filter(|it| **it > 1_500.0).count()
}

const ANNOUNCED: [(&str, &str); 3] = [
    ("NUMBERS__400__RECORDING__ENABLED", "true"),
    ("NUMBERS__400__RECORDING__CONSENT", "announce"),
    ("NUMBERS__400__RECORDING__ANNOUNCEMENT_FILE", "announcement.wav"),
];
const ASKED: [(&str, &str); 3] = [
    ("NUMBERS__400__RECORDING__ENABLED", "true"),
    ("NUMBERS__400__RECORDING__CONSENT", "ask"),
    ("NUMBERS__400__RECORDING__QUESTION_FILE", "question.wav"),
];
/// For what is asked over HTTP.
const WORDS_ONLY: [(&str, &str); 2] = [
    ("NUMBERS__400__RECORDING__ANNOUNCEMENT_FILE", "announcement.wav"),
    ("NUMBERS__400__RECORDING__QUESTION_FILE", "question.wav"),
];

#[test]
fn both_hear_the_announcement_and_nothing_before_it_is_recorded() {
    for kinds in [[PLAIN, PLAIN], [PLAIN, SECURED], [PLAIN, WIDE], [SECURED, PLAIN]] {
        let mut it = Talking::start(kinds, &ANNOUNCED);
        // Both are in the middle of it.
        it.talk_until_heard(ANNOUNCEMENT, 20, [0, 0]);
        it.sing_after();
        assert_eq!(it.consents(2), ["called announced true", "caller announced true"]);
        it.talk(SECOND * 2);
        check_words(&it.caller, BEFORE[1], ANNOUNCEMENT);
        check_words(&it.called, BEFORE[0], ANNOUNCEMENT);
        let from = it.heard();
        it.talk(SECOND);
        assert_eq!(it.caller.tones(from[0], &[AFTER[1], ANNOUNCEMENT]), [AFTER[1]]);
        assert_eq!(it.called.tones(from[1], &[AFTER[0], ANNOUNCEMENT]), [AFTER[0]]);
        let recordings = it.finish();
        assert_eq!(recordings.len(), 1, "{kinds:?}");
        assert!(recordings[0]["start_ms"].as_u64().is_some_and(|it| it + 40 >= u64::from(WORDS_MS)), "{recordings:?}");
        it.check_recorded(1);
    }
}

/// The words were heard once and whole, and nothing of the partner meanwhile.
#[track_caller]
fn check_words(peer: &TonePeer, partner: f64, words: f64) {
    let (said, other) = (peer.levels(0, words), peer.levels(0, partner));
    let first = said.iter().position(|it| *it > 1_500.0).unwrap();
    let last = said.iter().rposition(|it| *it > 1_500.0).unwrap();
    let frames = WORDS_MS as usize / 20;
    assert!((frames - 2..=frames + 2).contains(&(last + 1 - first)), "{first} to {last}");
    // What was already on its way is played out.
    let middle = first + 4..last - 1;
    assert_eq!(loud(&said[middle.clone()]), middle.len());
    assert_eq!(loud(&other[middle]), 0);
}

#[test]
fn packets_are_passed_on_as_they_are_before_the_words_and_after() {
    let mut it = Talking::start([PLAIN, PLAIN], &WORDS_ONLY);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    assert!(it.called.heard.len() > 20);
    it.server.metrics();
    assert_eq!(it.record(r#"{"action": "start", "consent": "announce"}"#), 202);
    assert_eq!(it.record(r#"{"action": "start"}"#), 409, "nobody has agreed yet");
    assert_eq!(it.record(r#"{"action": "start", "consent": "ask"}"#), 409, "one thing at a time");
    let from = it.heard();
    it.talk_until_heard(ANNOUNCEMENT, 20, from);
    it.sing_after();
    assert_eq!(it.consents(2), ["called announced true", "caller announced true"]);
    it.talk(SECOND * 2);
    it.caller.assert_unbroken(0);
    it.called.assert_unbroken(0);
    assert_eq!(it.finish().len(), 1);
    it.check_recorded(1);
}

#[test]
fn who_is_asked_presses_1_and_the_other_does_not_hear_that() {
    for (keys, by_info) in [(&ASKED[..], false), (&WORDS_ONLY, false), (&ASKED, true)] {
        let mut it = Talking::start([PLAIN, PLAIN], keys);
        if keys.len() == WORDS_ONLY.len() {
            it.talk(SECOND);
            assert_eq!(it.record(r#"{"action": "start", "consent": "ask"}"#), 202);
        }
        it.talk_until_heard(QUESTION, 20, [0, 0]);
        if by_info {
            it.phone.press('1');
        } else {
            it.caller.press("1");
        }
        assert_eq!(it.consents(1), ["caller key true"]);
        let before = it.caller.heard.len();
        it.talk(SECOND / 2);
        assert_eq!(loud(&it.caller.levels(before, QUESTION)), 0, "who has answered hears no more of the question");
        // Nothing is recorded with the consent of one.
        it.talk(SECOND);
        assert_eq!(it.files(), 0);
        let no_key = it.called.events;
        it.sing_after();
        it.talk(SECOND / 4);
        it.called.press("1");
        assert_eq!(it.consents(2), ["called key true", "caller key true"]);
        it.talk(SECOND * 2);
        assert_eq!((no_key, it.called.events, it.caller.events), (0, 0, 0), "the keys were not for the other side");
        it.caller.press("5");
        it.talk(SECOND);
        assert!(it.called.events > 0, "keys are passed on again");
        assert_eq!(it.finish().len(), 1);
        it.check_recorded(1);
    }
}

#[test]
fn who_refuses_is_not_recorded_and_not_asked_again() {
    for (keys, is_caller) in [(&ASKED[..], true), (&ASKED, false), (&WORDS_ONLY, false)] {
        let mut it = Talking::start([PLAIN, PLAIN], keys);
        if keys.len() == WORDS_ONLY.len() {
            assert_eq!(it.record(r#"{"action": "start", "consent": "ask"}"#), 202);
        }
        it.talk_until_heard(QUESTION, 10, [0, 0]);
        let who = if is_caller { &mut it.caller } else { &mut it.called };
        who.press("2");
        let by = if is_caller { "caller" } else { "called" };
        assert_eq!(it.consents(1), [format!("{by} key false")]);
        it.talk(SECOND / 2);
        for body in [
            r#"{"action": "start"}"#,
            r#"{"action": "start", "consent": "given"}"#,
            r#"{"action": "start", "consent": "announce"}"#,
            r#"{"action": "start", "consent": "ask"}"#,
        ] {
            let answer = it.ask("POST", "/recording", body);
            assert!(answer.status == 409 && answer.body.contains("no_consent"), "{body}: {}", answer.body);
        }
        // The call goes on.
        let from = it.heard();
        it.talk(SECOND);
        assert_eq!(it.caller.tones(from[0], &[BEFORE[1], QUESTION]), [BEFORE[1]]);
        assert_eq!(it.called.tones(from[1], &[BEFORE[0], QUESTION]), [BEFORE[0]]);
        assert!(it.finish().is_empty());
        assert_eq!(it.files(), 0);
    }
}

#[test]
fn who_says_nothing_has_not_agreed_and_may_be_asked_again() {
    let mut it = Talking::start([PLAIN, SECURED], &ASKED);
    it.talk_until_heard(QUESTION, 20, [0, 0]);
    it.caller.press("1");
    let asked = Instant::now();
    assert_eq!(it.consents(2), ["called silence false", "caller key true"]);
    assert!(asked.elapsed() > Duration::from_secs(7), "{:?}", asked.elapsed());
    assert_eq!(it.record(r#"{"action": "start", "consent": "announce"}"#), 409);
    assert_eq!(it.files(), 0);
    let from = it.heard();
    assert_eq!(it.record(r#"{"action": "start", "consent": "ask"}"#), 202);
    it.talk(SECOND);
    assert_eq!(loud(&it.caller.levels(from[0], QUESTION)), 0, "who has agreed is not asked again");
    assert!(loud(&it.called.levels(from[1], QUESTION)) > 20);
    assert!(it.finish().is_empty());
}

#[test]
fn a_hang_up_in_the_middle_of_the_words_leaves_no_file_and_no_task() {
    for keys in [ANNOUNCED, ASKED] {
        let mut it = Talking::start([PLAIN, PLAIN], &keys);
        it.talk_until_heard(if keys == ANNOUNCED { ANNOUNCEMENT } else { QUESTION }, 10, [0, 0]);
        assert!(it.finish().is_empty());
        assert_eq!(it.files(), 0);
        let tasks = it.server.metrics();
        assert_eq!(tasks.value("hookswitch_calls{state=\"talking\"}"), Some(0.0));
        assert_eq!(tasks.value("hookswitch_tasks{name=\"call-attendant\"}").unwrap_or(0.0), 0.0);
        let calls = crate::journal::calls(&it.server.home.data());
        assert!(!calls[0].has("recording_consent") && !calls[0].has("failed"), "{calls:?}");
    }
}

#[test]
fn a_user_is_recorded_whoever_calls_and_whoever_it_calls() {
    let keys = [
        ("USERS__201__PASSWORD", "secret"),
        ("USERS__201__RECORDING__ENABLED", "true"),
        ("USERS__201__RECORDING__CONSENT", "announce"),
        ("USERS__201__RECORDING__ANNOUNCEMENT_FILE", "announcement.wav"),
        ("NUMBERS__600__USER", "201"),
    ];
    let mut it = Talking::start([PLAIN, PLAIN], &keys);
    it.talk(SECOND);
    assert!(it.finish().is_empty(), "nobody is recorded who is not to be");
    let mut user = Phone::udp(&it.server);
    let contact = format!("<sip:201@{}>", user.wire.local());
    assert_eq!(Credentials::of("201", "secret").register(&mut user, &contact).status(), Some(200));
    let (mut caller, mut called) = (TonePeer::speaking(BEFORE[0], PLAIN.0, false), TonePeer::new(BEFORE[1]));
    let mut phone = Phone::udp(&it.server);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            let invite = user.wire.request("INVITE");
            called.agree(&invite);
            let answer = invite.answer("200 OK", &[&format!("Contact: {contact}")], &called.sdp_answering(&invite));
            user.wire.send(answer.as_bytes());
            user.wire.request("ACK");
        });
        phone.invite_offering("600", &caller.sdp_offering())
    });
    caller.agree(&answer);
    talk(&mut [&mut caller, &mut called], 20, SECOND * 3);
    assert!(loud(&caller.levels(0, ANNOUNCEMENT)) > 30 && loud(&called.levels(0, ANNOUNCEMENT)) > 30);
    it.call = live_call(&it.server);
    phone.hang_up();
    let bye = user.wire.request("BYE");
    user.wire.send(bye.reply("200 OK").as_bytes());
    assert_eq!(it.recordings().len(), 1);
}

#[test]
fn words_that_cannot_be_spoken_cost_the_recording_only() {
    let keys = [ANNOUNCED[0], ANNOUNCED[1], ("NUMBERS__400__RECORDING__ANNOUNCEMENT", "...")];
    let mut it = Talking::start([PLAIN, PLAIN], &keys);
    it.talk(SECOND * 2);
    assert_eq!(it.record(r#"{"action": "start", "consent": "announce"}"#), 409);
    assert!(it.finish().is_empty());
    let calls = crate::journal::calls(&it.server.home.data());
    let failed = calls[0].all("failed").next().unwrap_or_else(|| panic!("{calls:?}"));
    assert_eq!(failed["component"], "recorder");
    assert!(it.server.log().contains("cannot be asked for"), "{}", it.server.log());
}

#[test]
fn the_speech_engine_says_the_words() {
    let mut it = Talking::start([PLAIN, PLAIN], &ANNOUNCED[..2]);
    assert_eq!(it.consents(2), ["called announced true", "caller announced true"]);
    let silent = |it: &TonePeer, hz| {
        let levels = it.levels(0, hz);
        let last = levels.iter().rposition(|it| *it < 200.0).unwrap_or(0);
        levels[..last].iter().filter(|it| **it < 200.0).count()
    };
    // "This call is recorded." takes more than a second, in which the other one is not heard.
    it.talk(SECOND);
    assert!(silent(&it.caller, BEFORE[1]) > 50 && silent(&it.called, BEFORE[0]) > 50);
    let recordings = it.finish();
    assert!(recordings[0]["start_ms"].as_u64().is_some_and(|it| it > 1_000), "{recordings:?}");
}

#[test]
fn who_comes_later_is_told_too_and_the_recording_waits() {
    let mut it = Talking::start([PLAIN, PLAIN], &ANNOUNCED);
    it.talk_until_heard(ANNOUNCEMENT, 20, [0, 0]);
    it.sing_after();
    assert_eq!(it.consents(2).len(), 2);
    it.talk(SECOND);
    assert_eq!(it.ask("POST", "/transfer", r#"{"to": "500"}"#).status, 202);
    let mut other = TonePeer::new(OTHER);
    let invite = other.answer(&it.at_other);
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    // Said while the newcomer is being told: not recorded.
    it.caller.sing(BEFORE[0]);
    let from = it.caller.heard.len();
    let end = Instant::now() + ANSWER_MAX;
    while loud(&other.levels(0, ANNOUNCEMENT)) < 20 {
        assert!(Instant::now() < end, "{}", it.server.log());
        talk(&mut [&mut it.caller, &mut other], 20, SLICE);
    }
    it.caller.sing(AFTER[0]);
    talk(&mut [&mut it.caller, &mut other], 20, SECOND * 2);
    assert_eq!(loud(&it.caller.levels(from, ANNOUNCEMENT)), 0, "who was told before is not told again");
    it.phone.hang_up();
    let bye = it.at_other.next("BYE", ANSWER_MAX);
    assert_eq!(bye.message.header("Call-ID"), invite.message.header("Call-ID"));
    it.at_other.answer(&bye, "200 OK", &[]);
    assert_eq!(it.recordings().len(), 1);
    let [left, right] = it.channels(1);
    assert!(loud(&levels(&left, AFTER[0])) > 80);
    assert!(loud(&levels(&right, AFTER[1])) > 20 && loud(&levels(&right, OTHER)) > 30);
    // What the caller said between the answer of the newcomer and the beginning of the words may be there.
    assert!(loud(&levels(&left, BEFORE[0])) < 5, "{}", loud(&levels(&left, BEFORE[0])));
    assert!(it.invite.message.start.starts_with("INVITE"));
}

#[test]
fn the_words_wait_for_a_side_that_holds_the_call() {
    let mut it = Talking::start([PLAIN, PLAIN], &[WORDS_ONLY[0], WORDS_ONLY[1], ("SOUNDS__HOLD_MUSIC", "hold-music")]);
    it.talk(SECOND / 2);
    let contact = format!("Contact: <{}>", it.at_called.uri());
    let sdp = |version: u32, direction: &str| {
        it.called.sdp().replace("o=- 1 1", &format!("o=- 1 {version}")) + &format!("a={direction}\r\n")
    };
    let (held, taken_back) = (sdp(2, "inactive"), sdp(3, "sendrecv"));
    assert_eq!(it.at_called.ask(&it.invite, "INVITE", 2, &contact, &held).status(), Some(200));
    assert_eq!(it.record(r#"{"action": "start", "consent": "announce"}"#), 202);
    it.talk(SECOND * 2);
    assert_eq!(it.consents(1), ["caller announced true"]);
    assert_eq!(it.files(), 0);
    assert_eq!(it.at_called.ask(&it.invite, "INVITE", 3, &contact, &taken_back).status(), Some(200));
    assert_eq!(it.consents(2), ["called announced true", "caller announced true"]);
    assert!((38..=42).contains(&loud(&it.called.levels(0, ANNOUNCEMENT))));
    it.sing_after();
    it.talk(SECOND);
    assert_eq!(it.finish().len(), 1);
}

/// A caller who has been handed over to the desk by an agent, which is recorded by these keys.
fn handed_over(keys: &str) -> (Talking, usize) {
    let (at_called, at_other, home) = (Carrier::start(), Carrier::start(), home());
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/black_box");
    std::fs::copy(here.join("handover.toml"), home.path().join("handover.toml")).unwrap();
    let file = home.path().join("hookswitch.toml");
    let text = format!(
        "[sip]\nopen = 'loopback'\n[http]\napi_key = '{KEY}'\n[sounds]\ndirectory = 'sounds'\n[numbers.600]\n\
         agent = 'handover'\n[agents.handover]\npathway = 'handover.toml'\ntransfers = {{ desk = '{}' }}\n\
         [agents.handover.recording]\nenabled = true\n{keys}",
        at_called.uri().replace("sip:", "sip:desk@")
    );
    std::fs::write(&file, text).unwrap();
    let server = Server::start_with(&home, &file, free_port(), free_port(), &[]);
    let mut phone = Phone::udp(&server);
    let mut caller = TonePeer::new(AFTER[0]);
    let answer = phone.invite_offering("600", &caller.sdp_offering());
    caller.agree(&answer);
    let call = live_call(&server);
    let mut called = TonePeer::new(BEFORE[1]);
    // The agent says something first.
    let end = Instant::now() + ANSWER_MAX;
    let invite = loop {
        assert!(Instant::now() < end, "{}", server.log());
        talk(&mut [&mut caller], 20, SLICE);
        if let Some(invite) = at_called.next_if_any("INVITE", Duration::from_millis(1)) {
            break invite;
        }
    };
    called.answer_invite(&at_called, &invite);
    let heard = caller.heard.len();
    (Talking { server, phone, caller, called, at_called, invite, at_other, call }, heard)
}

#[test]
fn who_is_handed_over_to_is_told_too() {
    let (mut it, from) = handed_over("consent = 'announce'\nannouncement_file = 'announcement.wav'\n");
    assert!(loud(&it.caller.levels(0, ANNOUNCEMENT)) > 30, "the agent's caller is told first");
    it.talk_until_heard(ANNOUNCEMENT, 20, [0, 0]);
    it.called.sing(AFTER[1]);
    assert_eq!(it.consents(2), ["called announced true", "caller announced true"]);
    it.talk(SECOND * 2);
    assert_eq!(loud(&it.caller.levels(from, ANNOUNCEMENT)), 0, "once is enough");
    assert_eq!(it.finish().len(), 1);
    let [left, right] = it.channels(1);
    assert!(loud(&levels(&left, AFTER[0])) > 80 && loud(&levels(&right, AFTER[1])) > 60);
    assert!(loud(&levels(&right, BEFORE[1])) < 5, "the desk was not recorded before");
}

#[test]
fn without_a_demand_for_consent_the_recording_goes_on_with_who_is_handed_over_to() {
    let (mut it, _) = handed_over("announcement_file = 'announcement.wav'\n");
    it.called.sing(AFTER[1]);
    it.talk(SECOND * 2);
    assert_eq!(loud(&it.called.levels(0, ANNOUNCEMENT)), 0);
    assert_eq!(it.finish().len(), 1);
    let [left, right] = it.channels(1);
    assert!(loud(&levels(&left, AFTER[0])) > 80 && loud(&levels(&right, AFTER[1])) > 60);
}

#[test]
fn the_caller_of_an_agent_is_told_or_asked_in_the_middle_of_the_call() {
    for (consent, hz, file) in [("announce", ANNOUNCEMENT, "ANNOUNCEMENT"), ("ask", QUESTION, "QUESTION")] {
        let home = home();
        let key = format!("AGENTS__TALKER__RECORDING__{file}_FILE");
        let sound = format!("{}.wav", file.to_lowercase());
        let keys = [("HTTP__API_KEY", KEY), ("SOUNDS__DIRECTORY", "sounds"), (&key, &sound)];
        let server = Server::start_in(&home, &keys);
        let mut phone = Phone::call(&server, "100");
        let mut caller = TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, AFTER[0]);
        let call = live_call(&server);
        let path = format!("/v1/calls/{call}/recording");
        talk(&mut [&mut caller], 20, SECOND);
        let body = format!(r#"{{"action": "start", "consent": "{consent}"}}"#);
        assert_eq!(ask(&server, "POST", &path, &body).status, 202);
        talk(&mut [&mut caller], 20, SECOND);
        let told = caller.levels(0, hz);
        let first = told.iter().position(|it| *it > 1_500.0).unwrap();
        assert!(loud(&told[first..]) > 37, "{told:?}");
        if consent == "ask" {
            talk(&mut [&mut caller], 20, SECOND);
            assert!(!server.home.data().join("recordings/default").exists());
            caller.press("1");
        }
        talk(&mut [&mut caller], 20, SECOND);
        caller.assert_unbroken(0);
        phone.hang_up();
        assert!(server.wait(ANSWER_MAX, || ask(&server, "GET", &path, "").status == 200), "{}", server.log());
        let record: Value = serde_json::from_str(&ask(&server, "GET", &format!("/v1/calls/{call}"), "").body).unwrap();
        let how = if consent == "ask" { "key" } else { "announced" };
        let consents = &record["recording_consents"];
        assert_eq!(consents.as_array().map(Vec::len), Some(1), "{record}");
        assert_eq!((consents[0]["how"].as_str(), consents[0]["by"].as_str()), (Some(how), Some("caller")));
    }
}

#[test]
fn who_takes_the_place_of_a_side_is_told_too() {
    let mut it = Talking::start([PLAIN, PLAIN], &ANNOUNCED);
    it.talk_until_heard(ANNOUNCEMENT, 20, [0, 0]);
    it.sing_after();
    assert_eq!(it.consents(2).len(), 2);
    it.talk(SECOND);
    // An INVITE with Replaces, as after an attended transfer.
    let header = |name: &str| it.invite.message.header(name).unwrap();
    let tag = header("From").split("tag=").nth(1).unwrap().split(';').next().unwrap();
    let replaces = format!("Replaces: {};to-tag={tag};from-tag=called", header("Call-ID"));
    let mut taker = Phone::udp(&it.server);
    let mut other = TonePeer::speaking(BEFORE[1], PLAIN.0, false);
    let answer = taker.invite_with(&[&replaces], &other.sdp_offering());
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    other.agree(&answer);
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    let end = Instant::now() + ANSWER_MAX;
    while loud(&other.levels(0, ANNOUNCEMENT)) < 20 {
        assert!(Instant::now() < end, "{}", it.server.log());
        talk(&mut [&mut it.caller, &mut other], 20, SLICE);
    }
    other.sing(OTHER);
    talk(&mut [&mut it.caller, &mut other], 20, SECOND * 2);
    it.phone.hang_up();
    taker.asked("BYE", "200 OK");
    assert_eq!(it.recordings().len(), 1);
    let [left, right] = it.channels(1);
    assert!(loud(&levels(&left, AFTER[0])) > 80 && loud(&levels(&right, OTHER)) > 50);
    assert!(loud(&levels(&right, BEFORE[1])) < 5, "what was said before that is not recorded");
}

#[test]
fn a_call_that_is_transferred_by_its_first_side_is_recorded_anew() {
    let mut it = Talking::start([PLAIN, PLAIN], &ANNOUNCED);
    it.talk_until_heard(ANNOUNCEMENT, 20, [0, 0]);
    it.sing_after();
    assert_eq!(it.consents(2).len(), 2);
    it.talk(SECOND);
    let refer_to = format!("Refer-To: <sip:500@{}>", it.server.sip);
    assert_eq!(it.phone.ask("REFER", &[&refer_to]).status(), Some(202));
    let mut other = TonePeer::new(OTHER);
    other.answer(&it.at_other);
    let heard = it.called.heard.len();
    talk(&mut [&mut it.called, &mut other], 20, SECOND * 3);
    assert!((38..=42).contains(&loud(&other.levels(0, ANNOUNCEMENT))));
    assert_eq!(loud(&it.called.levels(heard, ANNOUNCEMENT)), 0);
    it.at_called.hang_up(&it.invite);
    let bye = it.at_other.next("BYE", ANSWER_MAX);
    it.at_other.answer(&bye, "200 OK", &[]);
    assert_eq!(it.recordings().len(), 2);
    let [left, right] = it.channels(2);
    assert!(loud(&levels(&left, AFTER[1])) > 50 && loud(&levels(&right, OTHER)) > 50);
}
