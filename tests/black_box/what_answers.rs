//! What becomes of a call when a machine is at the other end: voice mail, a busy line, a fax.

use std::time::{Duration, Instant};

use hookswitch::codec::SampleRate;

use crate::carrier::{Carrier, Received};
use crate::http_client;
use crate::journal::{self, Recorded};
use crate::rtp_peer::{Account, RtpPeer, Sends, to_ulaw};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{decode, levels};

const KEY: &str = "a key for tests only";

#[test]
fn a_machine_gets_its_message_after_the_beep() {
    let carrier = Carrier::start();
    let server = server(&carrier, &[("ON_MACHINE", "message"), ("MACHINE_MESSAGE", "Please call us back tomorrow.")]);
    let invite = place(&server, &carrier);
    let mut media = RtpPeer::new();
    answer(&carrier, &invite, "200 OK", &mut media);
    carrier.next("ACK", ANSWER_MAX);
    let mut greeting = talk(5_000);
    let talk_ms = greeting.len() / 8;
    greeting.extend(tones(&[1_000.0], 400));
    media.voice.extend(greeting);
    let mut before = Account::default();
    for _ in 0..talk_ms / 20 - 10 {
        media.tick(Sends::Silence, &mut before);
    }
    let mut after = Account::default();
    let bye = until_bye(&carrier, &mut media, &mut after);
    carrier.answer(&bye, "200 OK", &[]);
    assert!(after.loud > 40, "the message is heard: {} packets of sound", after.loud);
    // It may have begun to speak before it knew; from the verdict on it is silent.
    assert!(before.loud < 60, "{} packets of sound over the greeting", before.loud);
    let call = ended(&server);
    assert_eq!(call.end_cause(), Some("message_left"), "{call:?}");
    assert!(call.all("answered_by").any(|it| it["party"] == "machine"), "{call:?}");
    let detected: Vec<_> = call.all("note").filter(|it| it["topic"] == "detected").collect();
    assert!(
        detected.iter().any(|it| it["text"].as_str().unwrap().starts_with("machine_ready_beep at ")),
        "{detected:?}"
    );
}

#[test]
fn an_engaged_tone_before_the_answer_ends_a_call_of_ours() {
    let carrier = Carrier::start();
    let server = server(&carrier, &[]);
    assert_eq!(end_by_tone(&server, &carrier, &[480.0, 620.0], 500), "line_busy");
}

#[test]
fn tones_are_told_apart_by_the_cadence_of_the_country() {
    // Engaged in China; in the United States a network without a way sounds more like that.
    for (country, cause) in [("CN", "line_busy"), ("US", "network_busy")] {
        let carrier = Carrier::start();
        let server = server_with(&carrier, &[("SOUNDS__COUNTRY", country)]);
        assert_eq!(end_by_tone(&server, &carrier, &[450.0], 350), cause);
    }
}

#[test]
fn music_that_begins_in_the_middle_of_a_call_is_noted() {
    let server = Server::start(&[]);
    let mut phone = Phone::call(&server, "100");
    let mut account = Account::default();
    (0..100).for_each(|_| phone.media.tick(Sends::Silence, &mut account));
    let tune = hookswitch::media::hold_music::hold_music(SampleRate::Hz8000).unwrap();
    phone.media.voice.extend(tune.samples().iter().take(8 * 9_000).map(|it| to_ulaw(*it)));
    (0..450).for_each(|_| phone.media.tick(Sends::Silence, &mut account));
    phone.hang_up();
    let call = ended(&server);
    let notes: Vec<_> = call.all("note").filter(|it| it["topic"] == "detected").collect();
    assert!(notes.iter().any(|it| it["text"].as_str().unwrap().starts_with("music at ")), "{call:?}");
}

/// Places a call that hears tones and pauses, each of so many milliseconds, before it is answered; why it has ended.
fn end_by_tone(server: &Server, carrier: &Carrier, frequencies: &[f64], ms: u32) -> String {
    let invite = place(server, carrier);
    let mut media = RtpPeer::new();
    answer(carrier, &invite, "183 Session Progress", &mut media);
    for _ in 0..12 {
        media.voice.extend(tones(frequencies, ms));
        media.voice.extend(tones(&[], ms));
    }
    let mut account = Account::default();
    let deadline = Instant::now() + ANSWER_MAX;
    let cancel = loop {
        assert!(Instant::now() < deadline, "it rings on");
        media.tick(Sends::Silence, &mut account);
        if let Some(cancel) = carrier.next_if_any("CANCEL", Duration::from_millis(1)) {
            break cancel;
        }
    };
    carrier.answer(&cancel, "200 OK", &[]);
    carrier.answer(&invite, "487 Request Terminated", &[]);
    ended(server).end_cause().unwrap_or_default().to_owned()
}

#[test]
fn a_fax_that_calls_is_hung_up_if_it_should_be() {
    let server = Server::start(&[("AGENTS__TALKER__ON_FAX", "hang_up")]);
    let mut phone = Phone::call(&server, "100");
    for _ in 0..4 {
        phone.media.voice.extend(tones(&[1_100.0], 500));
        phone.media.voice.extend(tones(&[], 3_000));
    }
    let stay = phone.stay(Sends::Silence, Duration::from_secs(15));
    assert!(stay.bye.is_some(), "it is still there");
    assert_eq!(ended(&server).end_cause(), Some("fax"));
}

#[test]
fn a_fax_that_calls_is_sent_on_to_where_faxes_go_and_hears_the_machine_there() {
    let carrier = Carrier::start();
    let transfers = format!("sip:600@{}", carrier.address);
    let server = server(&carrier, &[("ON_FAX", "faxes"), ("TRANSFERS__FAXES", &transfers)]);
    let mut phone = Phone::call(&server, "100");
    let calling = || [tones(&[1_100.0], 500), tones(&[], 3_000)].concat();
    phone.media.voice.extend((0..4).flat_map(|_| calling()));
    let (mut fax, mut account) = (RtpPeer::new(), Account::default());
    let deadline = Instant::now() + Duration::from_secs(15);
    let invite = loop {
        assert!(Instant::now() < deadline, "nobody calls where faxes go\n{}", server.log());
        phone.media.tick(Sends::Silence, &mut account);
        if let Some(invite) = carrier.next_if_any("INVITE", Duration::from_millis(1)) {
            break invite;
        }
    };
    assert!(invite.message.start.contains("sip:600@"), "{}", invite.message.start);
    answer(&carrier, &invite, "200 OK", &mut fax);
    carrier.next("ACK", ANSWER_MAX);
    // Each hears the other from the first tone on: nothing of the agent is left in between.
    phone.media.voice.clear();
    phone.media.voice.extend((0..4).flat_map(|_| calling()));
    fax.voice.extend(tones(&[2_100.0], 6_000));
    let (mut here, mut there) = (Account::default(), Account::default());
    std::thread::scope(|scope| {
        scope.spawn(|| (0..150).for_each(|_| fax.tick(Sends::Silence, &mut there)));
        (0..150).for_each(|_| phone.media.tick(Sends::Silence, &mut here));
    });
    let (here, there) = (share_of(&here.payload, 2_100.0), share_of(&there.payload, 1_100.0));
    assert!(here > 0.5 && there > 0.1, "{here} of what the caller hears, {there} of what the called machine hears");
    phone.hang_up();
    carrier.next("BYE", ANSWER_MAX);
}

/// In how many of the 20 ms of µ-law there is this tone.
fn share_of(payload: &[u8], hz: f64) -> f64 {
    let samples: Vec<f64> = payload.iter().map(|it| decode(*it)).collect();
    let levels = levels(&samples, hz);
    levels.iter().filter(|it| **it > 1_500.0).count() as f64 / levels.len().max(1) as f64
}

pub(crate) fn server(carrier: &Carrier, keys: &[(&str, &str)]) -> Server {
    let own: Vec<_> = keys.iter().map(|(key, value)| (format!("AGENTS__TALKER__{key}"), *value)).collect();
    let own: Vec<(&str, &str)> = own.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    server_with(carrier, &own)
}

fn server_with(carrier: &Carrier, keys: &[(&str, &str)]) -> Server {
    let uri = carrier.uri();
    let trunk = [("TRUNKS__ACME__URI", uri.as_str()), ("TRUNKS__ACME__OPTIONS_S", "0"), ("HTTP__API_KEY", KEY)];
    Server::start(&[&trunk[..], keys].concat())
}

/// Has the agent call, over HTTP.
pub(crate) fn place(server: &Server, carrier: &Carrier) -> Received {
    let body = r#"{"to": "+4930123456", "agent": "talker", "trunk": "acme", "variables": {"name": "Ann"}}"#;
    let refused = http_client::post(server.http, "/v1/calls", "no key at all", body);
    assert_eq!(refused.status, 401);
    let placed = http_client::post(server.http, "/v1/calls", KEY, body);
    assert_eq!(placed.status, 201, "{}", placed.body);
    let invite = carrier.next("INVITE", ANSWER_MAX);
    assert!(invite.message.start.contains("sip:+4930123456@"), "{}", invite.message.start);
    invite
}

pub(crate) fn answer(carrier: &Carrier, invite: &Received, status: &str, media: &mut RtpPeer) {
    media.remote = invite.message.rtp_address();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n",
        media.port()
    );
    carrier.answer_with(invite, status, &[&format!("Contact: <{}>", carrier.uri())], &sdp);
}

fn until_bye(carrier: &Carrier, media: &mut RtpPeer, account: &mut Account) -> Received {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        media.tick(Sends::Silence, account);
        if let Some(bye) = carrier.next_if_any("BYE", Duration::from_millis(1)) {
            return bye;
        }
    }
    panic!("the agent stays on the line");
}

pub(crate) fn ended(server: &Server) -> Recorded {
    let data = server.home.data();
    let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
    assert!(server.wait(Duration::from_secs(10), is_closed), "{}", server.log());
    journal::calls(&data).remove(0)
}

/// Something that rises and falls as speech does, without a pause of more than a syllable.
#[expect(clippy::cast_possible_truncation, reason = "within full scale")]
fn talk(ms: u32) -> Vec<u8> {
    let samples = (0..8 * ms).map(|at| {
        let seconds = f64::from(at) / 8_000.0;
        let syllable = (std::f64::consts::TAU * 2.2 * seconds).sin().abs();
        let pitch = 130.0 + 25.0 * (std::f64::consts::TAU * 0.7 * seconds).sin();
        let voice = |times: f64| (std::f64::consts::TAU * pitch * times * seconds).sin() / times;
        to_ulaw((5_000.0 * syllable * (voice(1.0) + voice(2.0) + voice(5.0) + voice(9.0))) as i16)
    });
    samples.collect()
}

#[expect(clippy::cast_possible_truncation, reason = "within full scale")]
pub(crate) fn tones(frequencies: &[f64], ms: u32) -> Vec<u8> {
    let value = |at: u32| {
        let phases = frequencies.iter().map(|it| (std::f64::consts::TAU * it * f64::from(at) / 8_000.0).sin());
        to_ulaw((4_000.0 * phases.sum::<f64>()) as i16)
    };
    (0..8 * ms).map(value).collect()
}
