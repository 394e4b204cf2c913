//! What agents play, as it is heard: a file, an address, music that a key ends, and ringing during a transfer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::carrier::Carrier;
use crate::journal;
use crate::rtp_peer::Sends;
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};

pub(crate) const JINGLE_HZ: u16 = 600;
pub(crate) const MUSIC_HZ: u16 = 1_500;
pub(crate) const RINGING_HZ: u16 = 425;

#[test]
fn files_addresses_and_ringing_are_heard_one_after_the_other() {
    let (home, carrier) = (Home::new(), Carrier::start());
    let music = serve(wav_of_tone(MUSIC_HZ, 700));
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/jingle.wav"), wav_of_tone(JINGLE_HZ, 500)).unwrap();
    std::fs::write(home.path().join("player.toml"), pathway(&music)).unwrap();
    let server = Server::start_in(
        &home,
        &[
            ("SOUNDS__DIRECTORY", "sounds"),
            ("SOUNDS__ALLOW", "127.0.0.0/8"),
            ("SOUNDS__COUNTRY", "DE"),
            ("AGENTS__PLAYER__PATHWAY", "player.toml"),
            ("AGENTS__PLAYER__TRANSFERS", &format!("desk=sip:400@{}", carrier.address)),
            ("AGENTS__PLAYER__TRANSFER_SOUND", "ringback"),
            ("NUMBERS__300__AGENT", "player"),
        ],
    );
    let mut phone = Phone::call(&server, "300");
    let mut heard = phone.stay(Sends::Silence, Duration::from_secs(4)).heard.payload;
    phone.press('5');
    let invite = carrier.next("INVITE", ANSWER_MAX);
    carrier.answer(&invite, "180 Ringing", &[]);
    let ringing = phone.stay(Sends::Silence, Duration::from_secs(3)).heard.payload;
    heard.extend(&ringing);
    carrier.answer(&invite, "486 Busy Here", &[]);
    let stay = phone.stay(Sends::Silence, Duration::from_secs(8));
    assert!(stay.bye.is_some(), "the goodbye ends the call");
    let tones = runs(&heard);
    let [(JINGLE_HZ, jingle_ms), (MUSIC_HZ, music_ms), (RINGING_HZ, ringing_ms)] = tones[..] else {
        panic!("{tones:?}\n{}", server.log());
    };
    // Half a second twice; music until the key; a second of ringing, and perhaps the beginning of another.
    assert!((900..=1_100).contains(&jingle_ms), "{tones:?}");
    assert!((1_500..3_500).contains(&music_ms), "{tones:?}");
    assert!((900..2_000).contains(&ringing_ms), "{tones:?}");
    assert!(!runs(&stay.heard.payload).iter().any(|it| it.1 > 300), "it rings on after the refusal");
    let data = server.home.data();
    let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
    assert!(server.wait(Duration::from_secs(10), is_closed), "{}", server.log());
    let calls = journal::calls(&data);
    let played: Vec<_> = calls[0].all("note").filter(|it| it["topic"] == "played").collect();
    let said: Vec<_> = played.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert!(said[0].starts_with("jingle.wav from ") && said[0].ends_with("to its end"), "{said:?}");
    assert!(said[1].starts_with(&music) && said[1].ends_with("cut off"), "{said:?}");
    assert!(said[2].starts_with("ringback from ") && said[2].ends_with("cut off"), "{said:?}");
}

/// Whoever interrupts a message is dealt with by what they have heard of it.
#[test]
fn how_far_a_message_was_heard_decides_what_follows() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    for (name, hz, ms) in [("offer", JINGLE_HZ, 5_000), ("early", MUSIC_HZ, 400), ("late", RINGING_HZ, 400)] {
        std::fs::write(home.path().join(format!("sounds/{name}.wav")), wav_of_tone(hz, ms)).unwrap();
    }
    std::fs::write(home.path().join("offer.toml"), OFFER).unwrap();
    let keys =
        [("SOUNDS__DIRECTORY", "sounds"), ("AGENTS__OFFER__PATHWAY", "offer.toml"), ("NUMBERS__300__AGENT", "offer")];
    let server = Server::start_in(&home, &keys);
    for (wait_ms, follows, mark) in [(1_000, MUSIC_HZ, None), (3_000, RINGING_HZ, Some("last_mark = price"))] {
        let mut phone = Phone::call(&server, "300");
        let mut heard = phone.stay(Sends::Silence, Duration::from_millis(wait_ms)).heard.payload;
        phone.press('5');
        let stay = phone.stay(Sends::Silence, Duration::from_secs(8));
        assert!(stay.bye.is_some(), "the goodbye ends the call");
        heard.extend(&stay.heard.payload);
        let tones = runs(&heard);
        let [(JINGLE_HZ, offer_ms), (then, _)] = tones[..] else {
            panic!("{tones:?}\n{}", server.log());
        };
        assert_eq!(then, follows, "{tones:?}");
        let data = server.home.data();
        assert!(server.wait(Duration::from_secs(10), || journal::calls(&data).last().is_some_and(|it| it.closed)));
        let calls = journal::calls(&data);
        let notes: Vec<_> = calls.last().unwrap().all("note").collect();
        let set = notes.iter().find(|it| it["topic"] == "variable").map(|it| it["text"].as_str().unwrap());
        assert_eq!(set, mark, "{notes:?}");
        println!("{offer_ms} ms of the offer were heard, then {then} Hz");
    }
}

const OFFER: &str = r#"
[pathway]
name = "offer"
start = "offer"
[nodes.offer]
kind = "play"
source = "offer.wav"
marks = { price = 2000, terms = 4500 }
next = "bye"
interrupted = "how_far"
[nodes.how_far]
kind = "condition"
when = [{ variable = "last_mark", equals = "price", next = "late" }]
otherwise = "early"
[nodes.late]
kind = "play"
source = "late.wav"
interruptible = false
next = "bye"
[nodes.early]
kind = "play"
source = "early.wav"
interruptible = false
next = "bye"
[nodes.bye]
kind = "end"
"#;

fn pathway(music: &str) -> String {
    format!(
        r#"
[pathway]
name = "player"
start = "jingle"
[nodes.jingle]
kind = "play"
source = "jingle.wav"
times = 2
interruptible = false
next = "missing"
[nodes.missing]
kind = "play"
source = "../player.toml"
next = "lost"
failed = "queue"
[nodes.queue]
kind = "play"
source = "{music}"
loop = true
next = "lost"
interrupted = "menu"
[nodes.menu]
kind = "listen"
say = "Nobody hears this, as the key has answered it."
digits = {{ 5 = "desk" }}
[nodes.desk]
kind = "transfer"
target = "desk"
failed = "lost"
[nodes.lost]
kind = "end"
"#
    )
}

/// Serves one file to everybody; its address.
fn serve(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(8) {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /music.wav "), "it is asked for by its name");
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len()).unwrap();
            stream.write_all(&file).unwrap();
        }
    });
    format!("http://{address}/music.wav")
}

/// A WAV file of one tone.
pub(crate) fn wav_of_tone(hz: u16, ms: u32) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(vec![]);
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for at in 0..16 * ms {
        let phase = f64::from(at) * f64::from(hz) / 16_000.0;
        #[expect(clippy::cast_possible_truncation, reason = "a quarter of full scale")]
        writer.write_sample((8_000.0 * (std::f64::consts::TAU * phase).sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// The tones in µ-law audio, and for how long each is heard, in steps of 50 ms.
pub(crate) fn runs(audio: &[u8]) -> Vec<(u16, u32)> {
    let mut runs: Vec<(u16, u32)> = vec![];
    for window in audio.chunks_exact(400) {
        let samples: Vec<f64> = window.iter().map(|it| f64::from(linear(*it))).collect();
        let Some(hz) = [JINGLE_HZ, MUSIC_HZ, RINGING_HZ].into_iter().find(|it| is_tone(&samples, *it)) else {
            continue;
        };
        match runs.last_mut().filter(|it| it.0 == hz) {
            Some(run) => run.1 += 50,
            None => runs.push((hz, 50)),
        }
    }
    runs
}

/// Whether nearly all of the energy is at this frequency.
fn is_tone(samples: &[f64], hz: u16) -> bool {
    let (mut re, mut im, mut energy) = (0.0, 0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let phase = std::f64::consts::TAU * f64::from(hz) * at as f64 / 8_000.0;
        re += sample * phase.cos();
        im += sample * phase.sin();
        energy += sample * sample;
    }
    let count = samples.len() as f64;
    energy / count > 500.0_f64.powi(2) && 2.0 * (re * re + im * im) / (count * energy) > 0.8
}

/// ITU-T G.711.
fn linear(octet: u8) -> i32 {
    let bits = !octet;
    let magnitude = ((i32::from(bits & 0x0F) << 3) + 0x84) << ((bits >> 4) & 7);
    if bits & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude }
}
