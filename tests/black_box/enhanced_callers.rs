//! What an agent's recogniser is given of callers in noise, with an echo, or far from their microphone: as it comes, and made
//! better. The recogniser is a service of the test's own, which keeps what it hears.

use std::time::{Duration, Instant};

use crate::rtp_peer::{Account, Sends, to_ulaw};
use crate::server_process::{Home, Server};
use crate::sip_phone::Phone;
use crate::speech_engine::SpeechEngine;
use crate::tone_peer::decode;
use crate::who_answers::spoken;

#[test]
fn noise_is_suppressed_if_it_should_be() {
    let [as_it_comes, suppressed] = both("NOISE_SUPPRESSION", Caller::InNoise);
    // Two seconds in, it knows what the noise is.
    let [before, after] = [&as_it_comes, &suppressed].map(|it| loudness(&it[it.len() / 2..]));
    assert!(before > 300.0 && after < before / 3.0, "{before} without, {after} with");
}

#[test]
fn what_comes_back_of_the_agents_own_voice_is_cancelled_if_it_should_be() {
    let [as_it_comes, cancelled] = both("ECHO_CANCELLATION", Caller::WithEcho);
    let [before, after] = [&as_it_comes, &cancelled].map(|it| loudest_second(&it[it.len() / 3..]));
    assert!(before > 200.0 && after < before / 4.0, "{before} without, {after} with");
}

#[test]
fn quiet_callers_are_made_louder_if_they_should_be() {
    let [as_it_comes, louder] = both("GAIN_CONTROL", Caller::Quiet);
    let [before, after] = [&as_it_comes, &louder].map(|it| loudest_second(&it[it.len() / 2..]));
    assert!(before > 20.0 && after > 1.8 * before, "{before} without, {after} with");
}

#[derive(Clone, Copy, PartialEq)]
enum Caller {
    /// Says nothing where it is loud.
    InNoise,
    /// Has a loudspeaker beside the microphone.
    WithEcho,
    /// Is two metres away from it.
    Quiet,
}

/// What the recogniser is given of a caller without and with an enhancement.
fn both(key: &str, caller: Caller) -> [Vec<i16>; 2] {
    std::thread::scope(|scope| {
        let calls = ["false", "true"].map(|is_on| {
            let key = format!("AGENTS__TALKER__{key}");
            scope.spawn(move || heard_of(caller, &key, is_on))
        });
        calls.map(|it| it.join().unwrap())
    })
}

/// What the recogniser is given of a call of eight seconds.
fn heard_of(caller: Caller, key: &str, is_on: &str) -> Vec<i16> {
    let engine = SpeechEngine::start(None);
    let [url, token] = engine.keys();
    let home = Home::new();
    let pathway = home.path().join("lecturer.toml");
    std::fs::write(&pathway, LECTURER).unwrap();
    let pathway = ("AGENTS__TALKER__PATHWAY", pathway.to_str().unwrap());
    let server = Server::start_in(&home, &[url, token, pathway, (key, is_on)]);
    let mut phone = Phone::call(&server, "100");
    phone.media.voice.extend(match caller {
        Caller::InNoise => noise(10 * 8_000),
        Caller::WithEcho => vec![0xFF; 320],
        Caller::Quiet => (0..4).flat_map(|_| far_away()).collect(),
    });
    let (mut account, end) = (Account::default(), Instant::now() + Duration::from_secs(8));
    while Instant::now() < end {
        phone.media.tick(Sends::Silence, &mut account);
        if caller == Caller::WithEcho {
            // A third of it, two packets later.
            let back = account.payload.drain(..).map(|it| scaled(it, 0.33)).collect::<Vec<_>>();
            phone.media.voice.extend(back);
        }
    }
    phone.hang_up();
    engine.heard()
}

/// Says something that is not to be interrupted, and listens.
const LECTURER: &str = r#"
[pathway]
name = "lecturer"
start = "lecture"

[nodes.lecture]
kind = "say"
say = "This is a rather long sentence that nobody is to interrupt, so that what is said and what comes back of it can be heard side by side for as long as a call of this test lasts, and a bit longer, too."
interruptible = false
next = "listen"

[nodes.listen]
kind = "listen"
say = "Go on."
digits = { "9" = "leave" }
no_match = ["Go on."]
no_input = ["Are you there?"]

[nodes.leave]
kind = "end"
say = "Goodbye."
"#;

fn far_away() -> Vec<u8> {
    spoken("I would like to know when you are open tomorrow.").into_iter().map(|it| scaled(it, 0.03)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "within full scale")]
fn scaled(octet: u8, factor: f64) -> u8 {
    to_ulaw((decode(octet) * factor) as i16)
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 1_u32;
    let samples = (0..len).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, high, ..] = seed.to_le_bytes();
        to_ulaw((i16::from(high) - 128) * 8)
    });
    samples.collect()
}

/// The root of the mean square.
fn loudness(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|it| f64::from(*it).powi(2)).sum();
    (energy / samples.len().max(1) as f64).sqrt()
}

fn loudest_second(samples: &[i16]) -> f64 {
    samples.chunks(8_000).map(loudness).fold(0.0, f64::max)
}
