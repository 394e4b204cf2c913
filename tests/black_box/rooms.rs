//! Conference rooms: who gets in, who hears whom, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use hookswitch::codec::AudioCodec;
use serde_json::Value;

use crate::carrier::Carrier;
use crate::credentials::Credentials;
use crate::http_client::{self, Answer};
use crate::playing::wav_of_tone;
use crate::rtp_peer::Sends;
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{self, TonePeer, talk};

const KEY: &str = "hsk_of_this_test_and_no_other";
const A: f64 = 500.0;
const B: f64 = 900.0;
const C: f64 = 1_300.0;
const DESK: f64 = 1_700.0;
const TONES: [f64; 3] = [A, B, C];
const SECOND: Duration = Duration::from_secs(1);

/// A server with a room at number 700.
struct Room {
    server: Server,
}

/// Somebody in it.
struct Member {
    phone: Phone,
    peer: TonePeer,
}

impl Room {
    fn start(keys: &[(&str, &str)]) -> Self {
        Self::start_in(&Home::new(), keys)
    }

    fn start_in(home: &Arc<Home>, keys: &[(&str, &str)]) -> Self {
        let mut all = vec![("HTTP__API_KEY", KEY), ("NUMBERS__700__ROOM", "den"), ("ROOMS__DEN__MAX_MEMBERS", "3")];
        all.extend(keys);
        Self { server: Server::start_in(home, &all) }
    }

    /// Somebody calls the room, who says a tone.
    #[track_caller]
    fn call(&self, hz: f64) -> Member {
        let phone = Phone::call(&self.server, "700");
        let peer = TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, hz);
        Member { phone, peer }
    }

    /// The same of somebody who speaks another codec, or under keys.
    #[track_caller]
    fn call_with(&self, mut peer: TonePeer) -> Member {
        let mut phone = Phone::udp(&self.server);
        let answer = phone.invite_offering("700", &peer.sdp_offering());
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        peer.agree(&answer);
        Member { phone, peer }
    }

    /// Three who are in the room.
    #[track_caller]
    fn three(&self) -> [Member; 3] {
        let members = TONES.map(|hz| self.call(hz));
        self.wait_for_members(3);
        members
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = format!("Authorization: Bearer {KEY}\r\n");
        http_client::send(self.server.http, method, &format!("/v1/{path}"), &headers, body).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.ask("GET", path, "").body).unwrap()
    }

    fn members(&self) -> Vec<Value> {
        self.json("rooms/den")["members"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn wait_for_members(&self, count: usize) {
        let so = self.server.wait(ANSWER_MAX, || self.members().len() == count);
        assert!(so, "{:?} are not {count}", self.members());
    }

    /// The call of the member that came as number `index`.
    fn call_of(&self, index: usize) -> String {
        self.members()[index]["call"].as_str().unwrap().to_owned()
    }

    fn change(&self, index: usize, body: &str) -> u16 {
        self.ask("PATCH", &format!("rooms/den/members/{}", self.call_of(index)), body).status
    }

    fn refusals(&self, reason: &str) -> Option<f64> {
        self.server.metrics().value(&format!("hookswitch_room_refusals_total{{reason=\"{reason}\"}}"))
    }
}

/// Which tones each hears, once what has just happened has come through.
#[track_caller]
fn heard<const N: usize>(members: &mut [Member; N]) -> [Vec<f64>; N] {
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND * 7 / 10);
    let from = members.each_ref().map(|it| it.peer.heard.len());
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND);
    std::array::from_fn(|index| members[index].peer.tones(from[index], &TONES))
}

#[track_caller]
fn assert_hung_up(member: &mut Member) {
    let stay = member.phone.stay(Sends::Silence, ANSWER_MAX);
    assert!(stay.bye.is_some(), "{stay:?}");
}

#[test]
fn each_hears_the_others_and_not_itself() {
    let room = Room::start(&[]);
    let mut members = room.three();
    assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    let metrics = room.server.metrics();
    assert_eq!(metrics.value("hookswitch_rooms"), Some(1.0));
    assert_eq!(metrics.value("hookswitch_room_members"), Some(3.0));
    // The order is that in which they came.
    assert_eq!(room.change(1, r#"{"muted": true}"#), 204);
    assert_eq!(heard(&mut members), [vec![C], vec![A, C], vec![A]]);
    assert_eq!(room.change(1, r#"{"muted": false}"#), 204);
    // A member does the same with its own keys.
    members[2].phone.press('*');
    members[2].phone.press('6');
    assert_eq!(heard(&mut members), [vec![B], vec![A], vec![A, B]]);
    assert_eq!(room.members()[2]["muted"], true);
    members[2].phone.press('*');
    members[2].phone.press('6');
    assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    let removed = room.call_of(1);
    let path = format!("rooms/den/members/{removed}");
    assert_eq!(room.ask("DELETE", &path, "").status, 204);
    assert_hung_up(&mut members[1]);
    room.wait_for_members(2);
    assert_eq!(room.ask("DELETE", &path, "").status, 404);
    let [a, _, c] = members;
    assert_eq!(heard(&mut [a, c]), [vec![C], vec![A]]);
    assert!(room.server.wait(ANSWER_MAX, || room.json(&format!("calls/{removed}"))["ended_unix_ms"].is_i64()));
    assert_eq!(room.json(&format!("calls/{removed}"))["room"], "den");
    let events = room.json(&format!("calls/{removed}/events"));
    let of_room = events["events"].as_array().unwrap().iter().filter(|it| it["type"] == "room");
    let told: Vec<_> = of_room.map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(told, ["entered", "muted", "unmuted", "removed", "left"]);
}

#[test]
fn members_of_all_codecs_and_keys_are_mixed_as_wide_as_they_are() {
    let room = Room::start(&[("MEDIA__CODECS", "opus,g722,pcmu")]);
    let mut members = [
        room.call_with(TonePeer::speaking(A, AudioCodec::G722, false)),
        room.call_with(TonePeer::speaking(B, AudioCodec::Opus, true)),
        room.call_with(TonePeer::speaking(C, AudioCodec::Pcmu, true)),
    ];
    room.wait_for_members(3);
    assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    // What G.722 has above 4 kHz is there for Opus, and not for G.711.
    members[0].peer.sing(5_000.0);
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND / 2);
    let from = members.each_ref().map(|it| it.peer.heard.len());
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND);
    let loud = |index: usize, hz| {
        let levels = members[index].peer.wide_levels(from[index], hz);
        levels.iter().filter(|it| **it > 1_500.0).count() * 10 / levels.len().max(1)
    };
    assert!(loud(1, 5_000.0) >= 9 && loud(2, 3_000.0) == 0, "{} {}", loud(1, 5_000.0), loud(2, 3_000.0));
    let what = |what: &str| room.server.metrics().value(&format!("hookswitch_rtp_packets_total{{what=\"{what}\"}}"));
    assert_eq!((what("unauthenticated"), what("replayed")), (Some(0.0), Some(0.0)));
}

#[test]
fn who_holds_the_room_hears_nothing_and_brings_no_music_in() {
    let room = Room::start(&[]);
    let mut members = room.three();
    assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    for (direction, at_c) in [("sendonly", false), ("recvonly", true)] {
        assert_eq!(members[2].phone.reinvite(direction).status(), Some(200));
        talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND / 2);
        let from = members.each_ref().map(|it| it.peer.heard.len());
        talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND);
        assert_eq!(members[0].peer.tones(from[0], &TONES), [B], "{direction}");
        assert_eq!(members[1].peer.tones(from[1], &TONES), [A], "{direction}");
        assert_eq!(members[2].peer.heard.len() > from[2], at_c, "{direction}");
        assert_eq!(members[2].phone.reinvite("sendrecv").status(), Some(200));
        assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    }
}

#[test]
fn a_pin_lets_in_who_knows_it() {
    let room = Room::start(&[("ROOMS__DEN__PIN", "4711"), ("LOG__LEVEL", "debug")]);
    let mut first = room.call(A);
    for key in "1234#".chars() {
        first.phone.press(key);
    }
    talk(&mut [&mut first.peer], 20, SECOND / 2);
    assert_eq!(room.members().len(), 0);
    for key in "4711#".chars() {
        first.phone.press(key);
    }
    room.wait_for_members(1);
    let mut second = room.call(B);
    for key in "0000#471#47111#".chars() {
        second.phone.press(key);
    }
    assert_hung_up(&mut second);
    assert_eq!((room.members().len(), room.refusals("pin")), (1, Some(4.0)));
    // Nobody is told what was pressed.
    assert!(!room.server.log().contains("4711"), "the PIN is in the log");
    let events = room.json(&format!("calls/{}/events", room.call_of(0))).to_string();
    assert!(events.contains("entered") && !events.contains("digit"), "{events}");
    let path = format!("calls/{}/sip?format=text", room.call_of(0));
    let mut messages = String::new();
    room.server.wait(ANSWER_MAX, || {
        messages = room.ask("GET", &path, "").body;
        messages.matches("Duration=100").count() >= 10
    });
    assert!(messages.contains("Signal=x") && !messages.contains("Signal=4"), "{messages}");
}

#[test]
fn pins_cannot_be_tried_out_call_after_call() {
    let room = Room::start(&[("ROOMS__DEN__PIN", "4711")]);
    let mut strangers: Vec<_> = (0..10).map(|_| room.call(A)).collect();
    for stranger in &mut strangers {
        for key in "1#2#3#".chars() {
            stranger.phone.press(key);
        }
    }
    assert!(room.server.wait(ANSWER_MAX, || room.refusals("pin") == Some(30.0)), "{:?}", room.refusals("pin"));
    assert_eq!(Phone::udp(&room.server).invite("700").status(), Some(603), "not even who knows it");
    for stranger in &mut strangers {
        assert_hung_up(stranger);
    }
}

#[test]
fn a_room_that_is_full_or_locked_says_so_before_it_answers() {
    let room = Room::start(&[]);
    let mut members = room.three();
    assert_eq!(Phone::udp(&room.server).invite("700").status(), Some(486));
    assert_eq!(room.refusals("full"), Some(1.0));
    members[2].phone.hang_up();
    room.wait_for_members(2);
    assert_eq!(room.ask("PATCH", "rooms/den", r#"{"locked": true}"#).status, 204);
    assert_eq!(Phone::udp(&room.server).invite("700").status(), Some(603));
    assert_eq!(room.ask("PATCH", "rooms/den", r#"{"locked": false}"#).status, 204);
    let mut third = room.call(C);
    room.wait_for_members(3);
    assert_eq!(room.ask("POST", "rooms/den/end", "").status, 204);
    for member in members.iter_mut().take(2).chain([&mut third]) {
        assert_hung_up(member);
    }
    room.wait_for_members(0);
    assert_eq!(room.ask("PATCH", "rooms/den", r#"{"locked": true}"#).status, 409);
    for (method, path, body) in [
        ("GET", "rooms/attic", ""),
        ("PATCH", "rooms/attic", r#"{"locked": true}"#),
        ("POST", "rooms/attic/end", ""),
        ("POST", "rooms/attic/members", r#"{"to": "sip:a@127.0.0.1"}"#),
        ("PATCH", "rooms/den/members/call_0", r#"{"muted": true}"#),
    ] {
        assert_eq!(room.ask(method, path, body).status, 404, "{method} {path}");
    }
    assert_eq!(room.ask("PATCH", "rooms/den", r#"{"locked": 1}"#).status, 400);
    assert_eq!(http_client::get(room.server.http, "/v1/rooms").unwrap().status, 401);
    room.call(A);
    room.wait_for_members(1);
}

#[test]
fn the_room_waits_for_its_moderator_and_ends_with_them() {
    let room = Room::start(&[
        ("ROOMS__DEN__MODERATOR_PIN", "999999"),
        ("ROOMS__DEN__WAIT_FOR_MODERATOR", "true"),
        ("ROOMS__DEN__END_WITH_MODERATOR", "true"),
        ("ROOMS__DEN__MUTED_ON_ENTRY", "true"),
        ("ROOMS__DEN__MUSIC", "busy:DE"),
    ]);
    let before = room.server.metrics();
    let mut members = [A, B].map(|hz| {
        let mut member = room.call(hz);
        member.phone.press('#');
        member
    });
    room.wait_for_members(2);
    assert_eq!(room.json("rooms")["rooms"][0]["waiting"], true);
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND);
    let from = members.each_ref().map(|it| it.peer.heard.len());
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND);
    for (member, from) in members.iter().zip(from) {
        // The busy tone of Germany, which is music here: half of the time.
        let music = member.peer.levels(from, 425.0).iter().filter(|it| **it > 1_000.0).count();
        assert!((15..40).contains(&music), "{music}");
        assert!(member.peer.levels(from, A).iter().chain(&member.peer.levels(from, B)).all(|it| *it < 3_000.0));
    }
    let mut moderator = room.call(C);
    for key in "999999#".chars() {
        moderator.phone.press(key);
    }
    room.wait_for_members(3);
    assert_eq!(room.members()[2]["moderator"], true);
    let [a, b] = members;
    let mut members = [a, b, moderator];
    assert_eq!(heard(&mut members), [vec![C], vec![C], vec![]], "others came in muted");
    assert_eq!(room.change(0, r#"{"muted": false}"#), 204);
    assert_eq!(heard(&mut members), [vec![C], vec![A, C], vec![A]]);
    members[2].phone.hang_up();
    assert_hung_up(&mut members[0]);
    assert_hung_up(&mut members[1]);
    room.wait_for_members(0);
    room.server.settles(&before, SECOND * 10);
    assert_eq!(room.server.metrics().value("hookswitch_rooms"), Some(0.0));
    assert_eq!(room.server.metrics().value("hookswitch_room_entries_total"), Some(3.0));
}

#[test]
fn who_is_alone_hears_music_and_a_tone_when_somebody_comes_or_goes() {
    let room = Room::start(&[("ROOMS__DEN__MUSIC", "congestion:FR")]);
    let mut first = room.call(A);
    room.wait_for_members(1);
    let (tone, music) = (660.0, 440.0);
    let louder = |peer: &TonePeer, from, hz| peer.levels(from, hz).iter().filter(|it| **it > 1_000.0).count();
    talk(&mut [&mut first.peer], 20, SECOND / 2);
    let from = first.peer.heard.len();
    talk(&mut [&mut first.peer], 20, SECOND);
    let heard = [louder(&first.peer, from, music), louder(&first.peer, from, tone)];
    assert!((15..40).contains(&heard[0]) && heard[1] == 0, "{heard:?}");
    let from = first.peer.heard.len();
    let mut second = room.call(B);
    room.wait_for_members(2);
    talk(&mut [&mut first.peer, &mut second.peer], 20, SECOND);
    let came = louder(&first.peer, from, tone);
    assert!((4..12).contains(&came), "{came}");
    let from = first.peer.heard.len();
    talk(&mut [&mut first.peer, &mut second.peer], 20, SECOND);
    assert_eq!((louder(&first.peer, from, music), louder(&first.peer, from, tone)), (0, 0), "two hear no music");
    let from = first.peer.heard.len();
    second.phone.hang_up();
    room.wait_for_members(1);
    talk(&mut [&mut first.peer], 20, SECOND * 3 / 2);
    let heard = [louder(&first.peer, from, music), louder(&first.peer, from, tone)];
    assert!(heard[0] > 15 && (4..12).contains(&heard[1]), "{heard:?}");
    first.peer.assert_unbroken(0);
}

#[test]
fn a_user_may_be_a_moderator_and_keys_may_be_events() {
    let room = Room::start(&[
        ("SIP__OPEN", "false"),
        ("USERS__ANN__PASSWORD", "secret"),
        ("USERS__BOB__PASSWORD", "secret"),
        ("ROOMS__DEN__MODERATORS", "ann"),
        ("ROOMS__DEN__PIN", "4711"),
        ("ROOMS__DEN__WAIT_FOR_MODERATOR", "true"),
    ]);
    let mut members = [("bob", A), ("ann", B)].map(|(user, hz)| {
        let mut phone = Phone::udp(&room.server);
        let mut credentials = Credentials::of(user, "secret");
        let challenge = phone.invite("700");
        assert_eq!(challenge.status(), Some(401), "{challenge:?}");
        credentials.challenged(&challenge, "auth");
        let authorization = credentials.authorization("INVITE", &format!("sip:700@{}", room.server.sip), "");
        let offer = phone.sdp("sendrecv");
        let answer = phone.invite_with(&[&authorization], &offer);
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        let peer = TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, hz);
        Member { phone, peer }
    });
    room.wait_for_members(1);
    assert_eq!(room.members()[0]["moderator"], true);
    members[0].peer.press("4711#");
    room.wait_for_members(2);
    assert_eq!(heard(&mut members), [vec![B], vec![A]]);
    members[0].peer.press("*6");
    assert_eq!(heard(&mut members), [vec![B], vec![]]);
    members[0].peer.press("*6");
    assert_eq!(heard(&mut members), [vec![B], vec![A]]);
}

#[test]
fn who_vanishes_leaves_the_room() {
    let room = Room::start(&[("RTP__INACTIVITY_S", "1")]);
    let [mut a, mut b, mut c] = room.three();
    talk(&mut [&mut a.peer, &mut b.peer, &mut c.peer], 20, SECOND / 2);
    talk(&mut [&mut a.peer, &mut b.peer], 20, SECOND * 3);
    assert_eq!(room.members().len(), 2);
    assert_eq!(heard(&mut [a, b]), [vec![B], vec![A]]);
    assert_hung_up(&mut c);
}

#[test]
fn a_recording_of_the_room_has_all_voices() {
    let room = Room::start(&[("ROOMS__DEN__RECORD", "true")]);
    let mut members = room.three();
    talk(&mut members.each_mut().map(|it| &mut it.peer), 20, SECOND * 2);
    assert_eq!(room.json("rooms/den")["recording"], true);
    let last = room.call_of(2);
    for (left, member) in members.iter_mut().enumerate() {
        member.phone.hang_up();
        room.wait_for_members(2 - left);
    }
    let path = format!("calls/{last}/recording");
    assert!(room.server.wait(ANSWER_MAX, || room.ask("GET", &path, "").status == 200), "{}", room.server.log());
    let file = room.ask("GET", &path, "").bytes;
    let mut reader = hound::WavReader::new(&file[..]).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (16_000, 2));
    let samples: Vec<f64> = reader.samples::<i16>().map(|it| f64::from(it.unwrap())).step_by(4).collect();
    for hz in TONES {
        let loud = tone_peer::levels(&samples, hz).iter().filter(|it| **it > 3_000.0).count();
        assert!(loud > 60, "{hz} Hz in {loud} of {} frames", samples.len() / 160);
    }
}

#[test]
fn whoever_comes_into_a_room_that_is_recorded_is_told_before() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/told.wav"), wav_of_tone(1_700, 800)).unwrap();
    let keys = [("SOUNDS__DIRECTORY", "sounds"), ("ROOMS__DEN__ANNOUNCEMENT_FILE", "told.wav")];
    let room = Room::start_in(&home, &[keys[0], keys[1], ("ROOMS__DEN__RECORD", "true")]);
    let told = |member: &Member| member.peer.levels(0, DESK).iter().filter(|it| **it > 1_500.0).count();
    let mut first = room.call(A);
    talk(&mut [&mut first.peer], 20, SECOND / 2);
    assert!(room.members().is_empty(), "it is still being told");
    talk(&mut [&mut first.peer], 20, SECOND);
    assert_eq!(room.members().len(), 1);
    assert!((38..=42).contains(&told(&first)), "{}", told(&first));
    // What is said while the second one is told is not in the room yet.
    let mut second = room.call(C);
    talk(&mut [&mut first.peer, &mut second.peer], 20, SECOND / 2);
    second.peer.sing(B);
    talk(&mut [&mut first.peer, &mut second.peer], 20, SECOND * 2);
    assert_eq!(heard(&mut [first, second]), [vec![B], vec![A]]);
    // It belongs to whoever is the last to leave.
    let paths = [0, 1].map(|it| format!("calls/{}/recording", room.call_of(it)));
    room.ask("POST", "rooms/den/end", "");
    let mut file = None;
    room.server.wait(ANSWER_MAX, || {
        file = paths.iter().map(|it| room.ask("GET", it, "")).find(|it| it.status == 200);
        file.is_some()
    });
    let file = file.unwrap_or_else(|| panic!("{}", room.server.log())).bytes;
    let samples = hound::WavReader::new(&file[..]).unwrap().into_samples::<i16>();
    let samples: Vec<f64> = samples.map(|it| f64::from(it.unwrap())).step_by(4).collect();
    let loud = |hz| tone_peer::levels(&samples, hz).iter().filter(|it| **it > 1_500.0).count();
    assert!(loud(A) > 100 && loud(B) > 50, "{} {}", loud(A), loud(B));
    assert_eq!((loud(C), loud(DESK)), (0, 0));
}

#[test]
fn who_is_in_a_room_is_told_when_its_recording_begins() {
    let room = Room::start(&[("ROOMS__DEN__ANNOUNCEMENT_FILE", "ringback")]);
    let mut member = room.call(A);
    talk(&mut [&mut member.peer], 20, SECOND / 2);
    assert_eq!(room.members().len(), 1, "nobody is told of what is not recorded");
    let loud = |it: &Member| it.peer.levels(0, 440.0).iter().filter(|it| **it > 500.0).count();
    let before = loud(&member);
    assert_eq!(room.ask("POST", "rooms/den/recording", r#"{"action": "start"}"#).status, 204);
    talk(&mut [&mut member.peer], 20, SECOND * 2);
    assert!(loud(&member) > before + 20, "{before}, {}", loud(&member));
}

#[test]
fn a_member_is_recorded_by_itself_and_transferred_out_of_the_room() {
    let desk = Carrier::start();
    let room = Room::start(&[]);
    let mut members = room.three();
    let call = room.call_of(2);
    let record = |action: &str| {
        let body = format!(r#"{{"action": "{action}", "consent": "given"}}"#);
        room.ask("POST", &format!("calls/{call}/recording"), &body).status
    };
    assert_eq!(record("start"), 204);
    assert_eq!(heard(&mut members), [vec![B, C], vec![A, C], vec![A, B]]);
    assert_eq!(record("stop"), 204);
    let body = format!(r#"{{"to": "sip:desk@{}"}}"#, desk.address);
    assert_eq!(room.ask("POST", &format!("calls/{call}/transfer"), &body).status, 202);
    let mut clerk = TonePeer::new(DESK);
    clerk.answer(&desk);
    room.wait_for_members(2);
    let [a, b, c] = &mut members;
    talk(&mut [&mut a.peer, &mut b.peer, &mut c.peer, &mut clerk], 20, SECOND * 7 / 10);
    let from = [&a.peer, &b.peer, &c.peer, &clerk].map(|it| it.heard.len());
    talk(&mut [&mut a.peer, &mut b.peer, &mut c.peer, &mut clerk], 20, SECOND);
    let tones = [A, B, C, DESK];
    let heard = [(&a.peer, from[0]), (&b.peer, from[1]), (&c.peer, from[2]), (&clerk, from[3])];
    assert_eq!(heard.map(|(peer, from)| peer.tones(from, &tones)), [vec![B], vec![A], vec![DESK], vec![C]]);
    let path = format!("calls/{call}/recording");
    // Two people talk now, who can be told.
    assert_eq!(room.ask("POST", &path, r#"{"action": "start", "consent": "announce"}"#).status, 202);
    talk(&mut [&mut c.peer, &mut clerk], 20, SECOND * 4);
    c.phone.hang_up();
    assert!(room.server.wait(ANSWER_MAX, || room.ask("GET", &path, "").status == 200), "{}", room.server.log());
    assert_eq!(room.ask("GET", &format!("{path}?number=2"), "").status, 200);
    assert_eq!(room.json(&format!("calls/{call}"))["recording_consents"].as_array().map(Vec::len), Some(3));
    let file = room.ask("GET", &path, "").bytes;
    let samples: Vec<i16> = hound::WavReader::new(&file[..]).unwrap().samples().map(Result::unwrap).collect();
    for (channel, hz, is_there) in [(0, C, true), (0, A, false), (1, C, false), (1, A, true), (1, B, true)] {
        let side: Vec<_> = samples.iter().skip(channel).step_by(2).map(|it| f64::from(*it)).collect();
        let loud = tone_peer::levels(&side, hz).iter().filter(|it| **it > 3_000.0).count();
        assert_eq!(loud > 50, is_there, "{hz} Hz in {loud} frames of channel {channel}");
    }
}

#[test]
fn somebody_who_is_invited_is_in_the_room_when_they_answer() {
    let guest_at = Carrier::start();
    let room = Room::start(&[("ROOMS__DEN__PIN", "4711")]);
    let mut a = room.call(A);
    for key in "4711#".chars() {
        a.phone.press(key);
    }
    room.wait_for_members(1);
    let body = format!(r#"{{"to": "sip:guest@{}"}}"#, guest_at.address);
    let answer = room.ask("POST", "rooms/den/members", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let mut guest = TonePeer::new(B);
    let invite = guest.answer(&guest_at);
    room.wait_for_members(2);
    talk(&mut [&mut a.peer, &mut guest], 20, SECOND * 7 / 10);
    let from = [a.peer.heard.len(), guest.heard.len()];
    talk(&mut [&mut a.peer, &mut guest], 20, SECOND);
    assert_eq!(a.peer.tones(from[0], &TONES), [B]);
    assert_eq!(guest.tones(from[1], &TONES), [A]);
    guest_at.hang_up(&invite);
    room.wait_for_members(1);
}

#[test]
fn a_user_is_invited_by_name() {
    let room = Room::start(&[("USERS__100__PASSWORD", "secret"), ("USERS__101__PASSWORD", "secret")]);
    let mut a = room.call(A);
    room.wait_for_members(1);
    let mut telephone = Phone::udp(&room.server);
    let contact = format!("<sip:100@{}>", telephone.wire.local());
    assert_eq!(Credentials::of("100", "secret").register(&mut telephone, &contact).status(), Some(200));
    assert_eq!(room.ask("POST", "rooms/den/members", r#"{"to": "102"}"#).status, 400);
    assert_eq!(room.ask("POST", "rooms/den/members", r#"{"to": "100"}"#).status, 201);
    let mut guest = TonePeer::new(B);
    let invite = telephone.wire.request("INVITE");
    assert_eq!(invite.header("To").map(|it| it.contains("sip:100@")), Some(true), "{invite:?}");
    guest.agree(&invite);
    let sdp = guest.sdp_answering(&invite);
    telephone.wire.send(invite.answer("200 OK", &[&format!("Contact: {contact}")], &sdp).as_bytes());
    telephone.wire.request("ACK");
    room.wait_for_members(2);
    talk(&mut [&mut a.peer, &mut guest], 20, SECOND * 7 / 10);
    let from = [a.peer.heard.len(), guest.heard.len()];
    talk(&mut [&mut a.peer, &mut guest], 20, SECOND);
    assert_eq!([a.peer.tones(from[0], &TONES), guest.tones(from[1], &TONES)], [[B], [A]]);
    // Who is a user but nowhere to be found.
    let answer = room.ask("POST", "rooms/den/members", r#"{"to": "101"}"#);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let call = serde_json::from_str::<Value>(&answer.body).unwrap()["call"].as_str().unwrap().to_owned();
    let so = room.server.wait(ANSWER_MAX, || {
        let record = room.ask("GET", &format!("calls/{call}"), "").body;
        serde_json::from_str::<Value>(&record).is_ok_and(|it| it["sip_status"] == 480)
    });
    assert!(so, "{}", room.ask("GET", &format!("calls/{call}"), "").body);
}
