//! Who answers a call of an agent's: people, machines that talk like people, services that ask who is calling, menus, and
//! the network. flite speaks for them.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::carrier::Carrier;
use crate::journal::Recorded;
use crate::rtp_peer::{Account, RtpPeer, Sends, TICK, to_ulaw};
use crate::server_process::Server;
use crate::sip_phone::ANSWER_MAX;
use crate::speech_engine::SpeechEngine;
use crate::what_answers::{answer, ended, place, server, tones};

#[test]
fn a_person_is_talked_to() {
    let call = Called::speaking("Hello?").understood_as("hello", "hang_up");
    call.assert_found(&["human"], &["human at "]);
    assert!(call.account.loud > 40, "the agent speaks: {} packets of sound", call.account.loud);
    assert_eq!(call.record.end_cause(), Some("hang_up"));
}

#[test]
fn a_machine_that_says_as_little_as_a_person_is_known_by_its_words() {
    let call =
        Called::speaking("Leave a message.").understood_late("leave a message", Duration::from_secs(1), "hang_up");
    call.assert_found(&["human", "machine"], &["human at ", "machine at "]);
    assert!(call.notes().last().unwrap().ends_with(", by what was said"), "{:?}", call.notes());
    assert_eq!(call.record.end_cause(), Some("machine_answered"));
}

#[test]
fn a_service_that_asks_who_is_calling_is_no_machine_that_records() {
    let words = "Please state your name and the reason for calling.";
    let call = Called::speaking(words).understood_as("please state your name and the reason for calling", "message");
    assert!(call.notes().iter().any(|it| it.starts_with("screening at ")), "{:?}", call.notes());
    assert_eq!(call.record.end_cause(), Some("hang_up"), "it is answered as a person is");
}

#[test]
fn a_menu_that_talks_as_long_as_a_machine_is_known_by_its_words() {
    let words = "For opening hours, press one. For orders and deliveries, press two.";
    let call = Called::speaking(words).understood_as("for opening hours press one for orders press two", "go_on");
    call.assert_found(&["machine", "machine"], &["machine at ", "ivr at "]);
}

#[test]
fn a_mailbox_that_takes_no_message_gets_none() {
    let call =
        Called::speaking("The mailbox is full. Goodbye.").understood_as("the mailbox is full goodbye", "message");
    assert!(call.notes().iter().any(|it| it.starts_with("unavailable at ")), "{:?}", call.notes());
    assert_eq!(call.record.end_cause(), Some("machine_answered"));
}

/// ITU-T E.180: three tones before an announcement.
#[test]
fn the_tones_before_an_announcement_end_the_call_before_it_is_answered() {
    let carrier = Carrier::start();
    let server = server(&carrier, &[]);
    let invite = place(&server, &carrier);
    let mut media = RtpPeer::new();
    answer(&carrier, &invite, "183 Session Progress", &mut media);
    media.voice.extend(tones(&[], 400));
    for hz in [950.0, 1_400.0, 1_800.0] {
        media.voice.extend(tones(&[hz], 330));
    }
    let (deadline, mut account) = (Instant::now() + ANSWER_MAX, Account::default());
    let cancel = loop {
        assert!(Instant::now() < deadline, "it rings on");
        media.tick(Sends::Silence, &mut account);
        if let Some(cancel) = carrier.next_if_any("CANCEL", Duration::from_millis(1)) {
            break cancel;
        }
    };
    carrier.answer(&cancel, "200 OK", &[]);
    carrier.answer(&invite, "487 Request Terminated", &[]);
    let record = ended(&server);
    assert_eq!(record.end_cause(), Some("unreachable"));
    assert!(record.all("note").any(|it| it["text"].as_str().unwrap().starts_with("special_information at ")));
}

#[test]
fn the_tone_of_a_network_that_has_no_way_through_ends_the_call() {
    let voice = (0..24).flat_map(|_| [tones(&[480.0, 620.0], 250), tones(&[], 250)].concat()).collect();
    let call = Called { voice }.talk("go_on", &[]);
    assert_eq!(call.record.end_cause(), Some("network_busy"), "{:?}", call.notes());
}

/// Who is called, and what they say.
struct Called {
    voice: Vec<u8>,
}

/// What became of the call.
struct Outcome {
    record: Recorded,
    /// What they heard.
    account: Account,
}

impl Called {
    fn speaking(text: &str) -> Self {
        Self { voice: spoken(text) }
    }

    /// With a recogniser that makes no mistakes.
    fn understood_as(self, text: &str, on_machine: &str) -> Outcome {
        self.understood_late(text, Duration::ZERO, on_machine)
    }

    fn understood_late(self, text: &str, after: Duration, on_machine: &str) -> Outcome {
        let engine = SpeechEngine::understanding(text, after);
        let [(_, url), (_, token)] = engine.keys();
        self.talk(on_machine, &[("SPEECH__URL", url.to_owned()), ("SPEECH__TOKEN", token.to_owned())])
    }

    /// Stays for four seconds after the last word, unless it is hung up on before.
    fn talk(self, on_machine: &str, keys: &[(&str, String)]) -> Outcome {
        let carrier = Carrier::start();
        let mut keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
        keys.push(("ON_MACHINE", on_machine));
        if on_machine == "message" {
            keys.push(("MACHINE_MESSAGE", "Please call us back."));
        }
        let server: Server = server(&carrier, &keys);
        let invite = place(&server, &carrier);
        let mut media = RtpPeer::new();
        answer(&carrier, &invite, "200 OK", &mut media);
        carrier.next("ACK", ANSWER_MAX);
        media.voice.extend(tones(&[], 300));
        media.voice.extend(self.voice);
        let mut account = Account::default();
        let until = Instant::now() + TICK * u32::try_from(media.voice.len() / 160).unwrap() + Duration::from_secs(4);
        let bye = loop {
            media.tick(Sends::Silence, &mut account);
            let bye = carrier.next_if_any("BYE", Duration::from_millis(1));
            if bye.is_some() || Instant::now() > until {
                break bye;
            }
        };
        match bye {
            Some(bye) => carrier.answer(&bye, "200 OK", &[]),
            None => carrier.hang_up(&invite),
        }
        Outcome { record: ended(&server), account }
    }
}

impl Outcome {
    /// What was found beside tones and silence.
    fn notes(&self) -> Vec<&str> {
        let notes = self.record.all("note").filter(|it| it["topic"] == "detected");
        notes.map(|it| it["text"].as_str().unwrap()).filter(|it| !it.starts_with("silence")).collect()
    }

    #[track_caller]
    fn assert_found(&self, parties: &[&str], notes: &[&str]) {
        let found: Vec<_> = self.record.all("answered_by").map(|it| it["party"].as_str().unwrap()).collect();
        assert_eq!(found, parties, "{:?}", self.notes());
        let told = self.notes();
        assert!(
            told.len() == notes.len() && told.iter().zip(notes).all(|(it, begin)| it.starts_with(begin)),
            "{told:?}"
        );
    }
}

/// A telephone's sound of a text.
pub(crate) fn spoken(text: &str) -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("hookswitch-said-{}-{}.wav", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let said = Command::new("flite").args(["-voice", "kal", "-t", text, "-o"]).arg(&path).status();
    assert!(said.unwrap().success(), "flite speaks; scripts/setup.sh test installs it");
    let mut reader = hound::WavReader::open(&path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (1, 8_000));
    let voice = reader.samples::<i16>().map(|it| to_ulaw(it.unwrap())).collect();
    std::fs::remove_file(&path).unwrap();
    voice
}
