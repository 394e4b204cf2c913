//! Supervisors of all kinds, on calls of all kinds: users, wide band, secured media, and calls that are transferred.

use std::time::Duration;

use hookswitch::codec::AudioCodec;
use serde_json::Value;

use crate::carrier::Carrier;
use crate::credentials::Credentials;
use crate::http_client::{self, Answer};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone};
use crate::tone_peer::{TonePeer, talk};

const KEY: &str = "hsk_of_this_test_and_no_other";
const CALLER: f64 = 500.0;
const CALLED: f64 = 900.0;
const SUPERVISOR: f64 = 1_300.0;
const OTHER: f64 = 1_700.0;
const TONES: [f64; 4] = [CALLER, CALLED, SUPERVISOR, OTHER];
const SECOND: Duration = Duration::from_secs(1);

/// A codec, and whether it is secured.
type Kind = (AudioCodec, bool);

const PLAIN: Kind = (AudioCodec::Pcmu, false);
const SECURED: Kind = (AudioCodec::Pcmu, true);
const WIDE: Kind = (AudioCodec::G722, false);
const OPUS: Kind = (AudioCodec::Opus, false);

/// Two people who talk.
struct Talking {
    server: Server,
    phone: Phone,
    caller: TonePeer,
    called: TonePeer,
    at_called: Carrier,
    /// Where number 500 is.
    at_other: Carrier,
    call: String,
}

impl Talking {
    #[track_caller]
    fn start(caller: Kind, called: Kind, supervisor: Kind) -> Self {
        let (at_called, at_other) = (Carrier::start(), Carrier::start());
        let any_secured = caller.1 || called.1 || supervisor.1;
        let server = Server::start(&[
            ("HTTP__API_KEY", KEY),
            ("MEDIA__CODECS", "opus,g722,pcmu"),
            ("MEDIA__SRTP", if any_secured { "preferred" } else { "off" }),
            ("NUMBERS__400__URI", &format!("sip:400@{}", at_called.address)),
            ("NUMBERS__500__URI", &format!("sip:500@{}", at_other.address)),
            ("TRUNKS__ACME__URI", &at_called.uri()),
            ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
            ("TRUNKS__ACME__OPTIONS_S", "0"),
            ("USERS__BOSS__PASSWORD", "secret"),
            ("SIP__TRANSFERS", "known"),
        ]);
        let mut phone = Phone::udp(&server);
        let (mut caller, mut called) = (TonePeer::speaking(CALLER, caller.0, caller.1), peer(CALLED, called));
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| drop(called.answer(&at_called)));
            phone.invite_offering("400", &caller.sdp_offering())
        });
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        caller.agree(&answer);
        let mut call = None;
        server.wait(ANSWER_MAX, || {
            let calls: Value = serde_json::from_str(&ask(&server, "GET", "/v1/calls?state=live", "").body).unwrap();
            call = calls["calls"][0]["call"].as_str().map(str::to_owned);
            call.is_some()
        });
        Self { phone, caller, called, at_called, at_other, call: call.unwrap(), server }
    }

    fn ask(&self, method: &str, what: &str, body: &str) -> Answer {
        ask(&self.server, method, &format!("/v1/calls/{}{what}", self.call), body)
    }

    /// Calls the supervisor at `to`.
    #[track_caller]
    fn supervise(&self, to: &str, mode: &str) {
        let answer = self.ask("POST", "/supervise", &format!(r#"{{"to": "{to}", "mode": "{mode}"}}"#));
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    #[track_caller]
    fn change(&self, mode: &str) {
        assert_eq!(self.ask("PATCH", "/supervise", &format!(r#"{{"mode": "{mode}"}}"#)).status, 204);
    }

    /// Whom each side hears in each mode.
    #[track_caller]
    fn check_modes(&mut self, supervisor: &mut TonePeer) {
        for (mode, expected) in [
            ("listen", [&[CALLED][..], &[CALLER], &[CALLER, CALLED]]),
            ("whisper", [&[CALLED], &[CALLER, SUPERVISOR], &[CALLER, CALLED]]),
            ("barge", [&[CALLED, SUPERVISOR], &[CALLER, SUPERVISOR], &[CALLER, CALLED]]),
        ] {
            self.change(mode);
            assert_eq!(heard([&mut self.caller, &mut self.called, supervisor]), expected, "{mode}");
        }
    }

    fn notes(&self) -> Vec<String> {
        let events: Value = serde_json::from_str(&self.ask("GET", "/events", "").body).unwrap();
        let of_supervisor = events["events"].as_array().unwrap().iter().filter(|it| it["topic"] == "supervisor");
        of_supervisor.map(|it| it["text"].as_str().unwrap().to_owned()).collect()
    }
}

fn peer(hz: f64, (codec, is_secured): Kind) -> TonePeer {
    TonePeer::speaking(hz, codec, is_secured)
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let headers = format!("Authorization: Bearer {KEY}\r\n");
    http_client::send(server.http, method, path, &headers, body).unwrap()
}

/// Which tones each hears, once what has just happened has come through.
#[track_caller]
fn heard<const N: usize>(mut peers: [&mut TonePeer; N]) -> [Vec<f64>; N] {
    talk(&mut peers, 20, SECOND * 6 / 10);
    let from = peers.each_ref().map(|it| it.heard.len());
    talk(&mut peers, 20, SECOND);
    std::array::from_fn(|index| peers[index].tones(from[index], &TONES))
}

#[test]
fn wide_band_and_secured_media_are_supervised_by_each_other() {
    for (caller, called, supervisor) in
        [(WIDE, PLAIN, SECURED), (SECURED, SECURED, WIDE), (WIDE, WIDE, OPUS), (OPUS, SECURED, PLAIN)]
    {
        let mut it = Talking::start(caller, called, supervisor);
        let at_supervisor = Carrier::start();
        let mut supervisor = peer(SUPERVISOR, supervisor);
        it.supervise(&format!("sip:boss@{}", at_supervisor.address), "listen");
        supervisor.answer(&at_supervisor);
        it.check_modes(&mut supervisor);
        let metrics = it.server.metrics();
        for what in ["unauthenticated", "replayed"] {
            assert_eq!(metrics.value(&format!("hookswitch_rtp_packets_total{{what=\"{what}\"}}")), Some(0.0));
        }
    }
}

#[test]
fn what_is_above_four_kilohertz_reaches_a_supervisor_who_can_hear_it() {
    let mut it = Talking::start(WIDE, WIDE, OPUS);
    let at_supervisor = Carrier::start();
    let mut supervisor = peer(SUPERVISOR, OPUS);
    it.supervise(&format!("sip:boss@{}", at_supervisor.address), "listen");
    supervisor.answer(&at_supervisor);
    it.caller.sing(5_000.0);
    talk(&mut [&mut it.caller, &mut it.called, &mut supervisor], 20, SECOND / 2);
    let from = supervisor.heard.len();
    talk(&mut [&mut it.caller, &mut it.called, &mut supervisor], 20, SECOND);
    let levels = supervisor.wide_levels(from, 5_000.0);
    let loud = levels.iter().filter(|it| **it > 1_500.0).count();
    assert!(loud * 10 > levels.len() * 9, "{levels:?}");
}

#[test]
fn a_user_supervises_from_wherever_it_is_registered() {
    let mut it = Talking::start(PLAIN, PLAIN, PLAIN);
    let mut boss = Phone::udp(&it.server);
    let contact = format!("<sip:boss@{}>", boss.wire.local());
    assert_eq!(Credentials::of("boss", "secret").register(&mut boss, &contact).status(), Some(200));
    it.supervise("boss", "listen");
    let mut supervisor = TonePeer::new(SUPERVISOR);
    let invite = answer_at(&mut boss, &mut supervisor, &contact);
    it.check_modes(&mut supervisor);
    // It hangs up, and the call goes on.
    let caller_and_called = heard([&mut it.caller, &mut it.called]);
    assert_eq!(caller_and_called.map(|it| it.len()), [1, 1], "who says nothing is not heard");
    assert_eq!(it.ask("DELETE", "/supervise", "").status, 204);
    let bye = boss.wire.request("BYE");
    assert_eq!(bye.header("Call-ID"), invite.header("Call-ID"));
    boss.wire.send(bye.reply("200 OK").as_bytes());
    assert!(it.server.wait(ANSWER_MAX, || it.notes().last().is_some_and(|it| it == "gone")), "{:?}", it.notes());
}

/// Takes a call that comes in at a telephone.
#[track_caller]
fn answer_at(phone: &mut Phone, peer: &mut TonePeer, contact: &str) -> Message {
    let invite = phone.wire.request("INVITE");
    peer.agree(&invite);
    let answer = invite.answer("200 OK", &[&format!("Contact: {contact}")], &peer.sdp_answering(&invite));
    phone.wire.send(answer.as_bytes());
    phone.wire.request("ACK");
    invite
}

#[test]
fn a_supervisor_is_called_over_a_trunk() {
    let mut it = Talking::start(PLAIN, PLAIN, PLAIN);
    let body = r#"{"to": "+4930123", "trunk": "acme", "mode": "listen"}"#;
    assert_eq!(it.ask("POST", "/supervise", body).status, 202);
    let mut supervisor = TonePeer::new(SUPERVISOR);
    let invite = supervisor.answer(&it.at_called);
    assert!(invite.message.start.contains("sip:+4930123@"), "{}", invite.message.start);
    it.check_modes(&mut supervisor);
}

#[test]
fn a_supervisor_stays_with_a_call_that_is_transferred_from_outside() {
    for mode in ["listen", "whisper", "barge"] {
        let mut it = Talking::start(PLAIN, PLAIN, PLAIN);
        let at_supervisor = Carrier::start();
        let (mut supervisor, mut other) = (peer(SUPERVISOR, PLAIN), peer(OTHER, WIDE));
        it.supervise(&format!("sip:boss@{}", at_supervisor.address), mode);
        supervisor.answer(&at_supervisor);
        assert_eq!(it.ask("POST", "/transfer", r#"{"to": "500"}"#).status, 202);
        other.answer(&it.at_other);
        let bye = it.at_called.next("BYE", ANSWER_MAX);
        it.at_called.answer(&bye, "200 OK", &[]);
        check_transferred(mode, [&mut it.caller, &mut other, &mut supervisor]);
    }
}

#[test]
fn a_supervisor_stays_with_a_call_that_one_side_transfers() {
    for mode in ["listen", "whisper", "barge"] {
        let mut it = Talking::start(PLAIN, PLAIN, PLAIN);
        let at_supervisor = Carrier::start();
        let (mut supervisor, mut other) = (peer(SUPERVISOR, PLAIN), peer(OTHER, PLAIN));
        it.supervise(&format!("sip:boss@{}", at_supervisor.address), mode);
        supervisor.answer(&at_supervisor);
        talk(&mut [&mut it.caller, &mut it.called, &mut supervisor], 20, SECOND / 2);
        // The caller sends the called side on.
        let refer_to = format!("Refer-To: <sip:500@{}>", it.server.sip);
        assert_eq!(it.phone.ask("REFER", &[&refer_to]).status(), Some(202));
        other.answer(&it.at_other);
        check_transferred(mode, [&mut it.called, &mut other, &mut supervisor]);
    }
}

/// Whom each of the new three hears.
#[track_caller]
fn check_transferred(mode: &str, peers: [&mut TonePeer; 3]) {
    let left = peers[0].tone();
    let expected: [&[f64]; 3] = match mode {
        "listen" => [&[OTHER], &[left], &[left, OTHER]],
        "whisper" => [&[OTHER], &[left, SUPERVISOR], &[left, OTHER]],
        _ => [&[SUPERVISOR, OTHER], &[left, SUPERVISOR], &[left, OTHER]],
    };
    assert_eq!(heard(peers), expected, "{mode}");
}
