//! What is played into calls under way over HTTP, as the sides hear it: which packets held which tone, how soon it was gone
//! when it was cleared, and what the journal says of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};
use serde_json::Value;

use crate::http_client::{self, Answer};
use crate::live_calls::{CALLED, CALLER, KEY, Talking, ask, live_call};
use crate::playing::wav_of_tone;
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};
use crate::tone_peer::{TonePeer, decode, levels, talk};

const SECOND: Duration = Duration::from_secs(1);
/// What is played.
const PLAYED: f64 = 1_300.0;
const OTHER: f64 = 1_700.0;

fn home() -> Arc<Home> {
    let home = Home::new();
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/two.wav"), wav_of_tone(1_300, 2_000)).unwrap();
    std::fs::write(home.path().join("sounds/other.wav"), wav_of_tone(1_700, 1_000)).unwrap();
    home
}

fn two_people(more: &[(&str, &str)]) -> Talking {
    let mut settings = vec![("SOUNDS__DIRECTORY", "sounds")];
    settings.extend(more);
    let mut it = Talking::start_in(&home(), &settings);
    talk(&mut [&mut it.caller, &mut it.called], 30, SECOND);
    assert!(it.called.heard.iter().any(|it| it.payload.len() == 240), "packets are passed on as they are");
    it
}

/// A request from beside those who talk.
#[derive(Clone)]
struct Desk {
    http: SocketAddr,
    call: String,
}

impl Desk {
    fn of(it: &Talking) -> Self {
        Self { http: it.server.http, call: it.call.clone() }
    }

    fn ask(&self, method: &str, what: &str, body: &str) -> Answer {
        let path = format!("/v1/calls/{}/play{what}", self.call);
        http_client::send(self.http, method, &path, &format!("Authorization: Bearer {KEY}\r\n"), body).unwrap()
    }

    #[track_caller]
    fn play(&self, body: &str) -> u64 {
        let answer = self.ask("POST", "", body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["play"].as_u64().unwrap()
    }

    /// The steps of what was played, as `caller started`, and when they happened.
    fn steps(&self) -> Vec<(String, Value)> {
        let path = format!("/v1/calls/{}/events", self.call);
        let answer = http_client::get_with(self.http, &path, &format!("Authorization: Bearer {KEY}\r\n")).unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let plays = body["events"].as_array().unwrap().iter().filter(|it| it["type"] == "play");
        let named = |it: &Value| {
            let words = ["to", "what", "mark"].map(|key| it[key].as_str().unwrap_or_default().to_owned());
            (words.join(" ").trim().to_owned(), it.clone())
        };
        plays.map(named).collect()
    }

    /// The same once there are so many of them.
    #[track_caller]
    fn wait_for_steps(&self, server: &Server, count: usize) -> Vec<(String, Value)> {
        let is_there = server.wait(ANSWER_MAX, || self.steps().len() >= count);
        let steps = self.steps();
        assert!(is_there, "{steps:?}\n{}", server.log());
        steps
    }
}

/// All talk while somebody asks for something beside them.
fn meanwhile<T: Send>(it: &mut Talking, time: Duration, ask: impl FnOnce(Desk) -> T + Send) -> T {
    let desk = Desk::of(it);
    let (caller, called) = (&mut it.caller, &mut it.called);
    std::thread::scope(|scope| {
        let asking = scope.spawn(move || ask(desk));
        talk(&mut [caller, called], 30, time);
        asking.join().unwrap()
    })
}

/// In which packets since `from` a tone is loud.
fn packets_with(peer: &TonePeer, from: usize, hz: f64) -> Vec<usize> {
    let is_loud = |payload: &[u8]| {
        let samples: Vec<f64> = payload.iter().map(|it| decode(*it)).collect();
        let levels = levels(&samples, hz);
        levels.iter().sum::<f64>() / levels.len().max(1) as f64 > 1_500.0
    };
    (from..peer.heard.len()).filter(|it| is_loud(&peer.heard[*it].payload)).collect()
}

/// Whether they follow each other.
fn is_run(packets: &[usize]) -> bool {
    packets.windows(2).all(|it| it[1] == it[0] + 1)
}

#[test]
fn a_sound_with_marks_is_heard_whole_by_whom_it_is_for_and_packets_are_passed_on_again_after_it() {
    let mut it = two_people(&[]);
    let from = [it.caller.heard.len(), it.called.heard.len()];
    let body = r#"{"sound": "two.wav", "marks": {"offer": 500, "price": 1500, "never": 9000}}"#;
    let play = meanwhile(&mut it, SECOND * 4, |desk| {
        std::thread::park_timeout(SECOND / 2);
        desk.play(body)
    });
    let loud = packets_with(&it.caller, from[0], PLAYED);
    assert!(is_run(&loud) && loud.len() == 100, "two seconds without a gap: {loud:?}");
    let passed = |it: &TonePeer, at: usize| it.heard[at].payload.len() == 240;
    // What the other side said before and says after it is passed on; there is a little of both around it.
    let (first, last) = (loud[0], loud[99]);
    assert!((from[0]..first - 5).all(|at| passed(&it.caller, at)));
    assert!((last + 5..it.caller.heard.len()).all(|at| passed(&it.caller, at)));
    let voice = packets_with(&it.caller, from[0], CALLED);
    assert!(voice.iter().all(|at| !loud.contains(at)), "the other side is not heard beside it");
    let lost = it.caller.heard.len() - from[0] - loud.len() - voice.len();
    println!("around it, {lost} packets have neither the sound nor the voice");
    assert!(lost <= 4, "{lost}");
    it.caller.assert_unbroken(from[0]);
    it.called.assert_unbroken(from[1]);
    let unheard = it.called.heard.len() - from[1] - packets_with(&it.called, from[1], CALLER).len();
    println!("of the caller, {unheard} packets are not heard");
    assert!(unheard <= 4, "the other side hears the caller all the while: {unheard}");
    assert_eq!(packets_with(&it.called, from[1], PLAYED), Vec::<usize>::new());

    let steps = Desk::of(&it).wait_for_steps(&it.server, 4);
    let names: Vec<_> = steps.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, ["caller started", "caller mark offer", "caller mark price", "caller finished"]);
    assert!(steps.iter().all(|it| it.1["play"] == play));
    assert_eq!(steps[0].1["sound"], "two.wav");
    let at = |step: usize| steps[step].1["unix_ms"].as_i64().unwrap() - steps[0].1["unix_ms"].as_i64().unwrap();
    println!("marks at {} and {} ms, the end at {}", at(1), at(2), at(3));
    for (step, ms) in [(1, 500), (2, 1_500), (3, 1_980)] {
        assert!((at(step) - ms).abs() <= 20, "{steps:?}");
    }
    // As the caller heard it: that long after the first packet came the one with the mark.
    let heard_at = |packet: usize| (it.caller.heard[loud[packet]].at - it.caller.heard[first].at).as_millis();
    assert!(heard_at(25).abs_diff(500) < 40 && heard_at(75).abs_diff(1_500) < 40);
    assert_eq!(it.server.metrics().value("hookswitch_plays_total{outcome=\"finished\"}"), Some(1.0));
}

#[test]
fn what_both_hear_for_ever_is_gone_within_a_packet_when_it_is_cleared() {
    let mut it = two_people(&[]);
    let from = [it.caller.heard.len(), it.called.heard.len()];
    let cleared = meanwhile(&mut it, SECOND * 4, |desk| {
        desk.play(r#"{"sound": "two.wav", "to": "both", "times": "forever"}"#);
        std::thread::park_timeout(SECOND * 3);
        let asked = Instant::now();
        assert_eq!(desk.ask("DELETE", "", "").status, 204);
        [asked, Instant::now()]
    });
    let steps = Desk::of(&it).wait_for_steps(&it.server, 4);
    for (peer, from, side, voice) in [(&it.caller, from[0], "caller", CALLED), (&it.called, from[1], "called", CALLER)]
    {
        let loud = packets_with(peer, from, PLAYED);
        assert!(is_run(&loud) && loud.len() > 120, "{side}: {loud:?}");
        let last = peer.heard[*loud.last().unwrap()].at;
        let (after, late) = (last.saturating_duration_since(cleared[0]), last.saturating_duration_since(cleared[1]));
        let next = packets_with(peer, *loud.last().unwrap(), voice)[0];
        println!(
            "{side}: the last packet came {after:?} after it was asked for, {late:?} after the answer, the voice {} packets later",
            next - loud.last().unwrap()
        );
        assert!(late < Duration::from_millis(40), "{late:?}");
        assert!(next <= loud.last().unwrap() + 4, "the other side is heard again");
        peer.assert_unbroken(from);
        let step = steps.iter().find(|it| it.0 == format!("{side} cleared")).unwrap();
        // A packet of what had begun may be a little one.
        let heard_ms = (loud.len() as u64 * 20) % 2_000;
        assert!(step.1["position_ms"].as_u64().unwrap().abs_diff(heard_ms) <= 20, "{heard_ms} {step:?}");
    }
    assert_eq!(it.server.metrics().value("hookswitch_plays_total{outcome=\"cleared\"}"), Some(2.0));
    let answer = it.ask("DELETE", "/play/4000000000", "");
    assert!(answer.status == 404 && answer.body.contains("not_found"), "{}", answer.body);
    assert_eq!(it.ask("DELETE", "/play", "").status, 204, "nothing is left to be cleared");
}

#[test]
fn what_is_queued_mixed_held_and_moved_is_heard_so() {
    let mut it = two_people(&[]);
    let from = it.caller.heard.len();
    meanwhile(&mut it, SECOND * 7, |desk| {
        let play = desk.play(r#"{"sound": "two.wav", "mode": "mixed", "gain": 0.5}"#);
        desk.play(r#"{"sound": "other.wav", "from_ms": 500}"#);
        std::thread::park_timeout(SECOND);
        assert_eq!(desk.ask("PATCH", "", r#"{"paused": true}"#).status, 204);
        std::thread::park_timeout(SECOND * 2);
        assert_eq!(desk.ask("PATCH", &format!("/{play}"), r#"{"position_ms": 1600, "gain": 2}"#).status, 204);
        assert_eq!(desk.ask("PATCH", "", r#"{"paused": false}"#).status, 204);
        assert_eq!(desk.ask("PATCH", &format!("/{play}"), r#"{"gain": 17}"#).status, 400);
    });
    let (mixed, other) = (packets_with(&it.caller, from, PLAYED), packets_with(&it.caller, from, OTHER));
    let voice = packets_with(&it.caller, from, CALLED);
    let gap = mixed.windows(2).position(|it| it[1] > it[0] + 1).unwrap();
    println!(
        "{} packets, held for {}, {} more, then {}",
        gap + 1,
        mixed[gap + 1] - mixed[gap],
        mixed.len() - gap - 1,
        other.len()
    );
    assert!((40..60).contains(&gap), "about a second");
    assert!(mixed[gap + 1] - mixed[gap] > 50, "and then two of rest");
    assert_eq!(mixed.len() - gap - 1, 20, "the last 400 ms");
    assert!(is_run(&other) && other.len() == 25 && other[0] == mixed.last().unwrap() + 1, "and half a second after it");
    let beside = mixed.iter().filter(|it| voice.contains(it)).count();
    assert!(beside + 8 >= mixed.len(), "{beside} of {}: the voice is heard beside it", mixed.len());
    let level =
        |at: usize| levels(&it.caller.heard[at].payload.iter().map(|it| decode(*it)).collect::<Vec<_>>(), PLAYED)[0];
    let (soft, loud) = (level(mixed[10]), level(mixed[mixed.len() - 5]));
    assert!((3.4..4.6).contains(&(loud / soft)), "{soft} {loud}");
    it.caller.assert_unbroken(from);
}

#[test]
fn an_agent_waits_while_something_is_played_and_goes_on_after_it() {
    let server = Server::start_in(&home(), &[("HTTP__API_KEY", KEY), ("SOUNDS__DIRECTORY", "sounds")]);
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(20);
    let mut caller = TonePeer::on(phone.media.socket.try_clone().unwrap(), phone.media.remote, CALLER);
    let call = live_call(&server);
    let desk = Desk { http: server.http, call: call.clone() };
    assert_eq!(desk.ask("POST", "", r#"{"sound": "beep", "to": "called"}"#).status, 409);
    desk.play(r#"{"sound": "two.wav", "to": "both"}"#);
    caller.sing(0.0);
    talk(&mut [&mut caller], 20, SECOND * 9);
    let loud = packets_with(&caller, 0, PLAYED);
    assert!(is_run(&loud) && loud.len() == 100, "{loud:?}");
    let is_spoken = |at: usize| caller.heard[at].payload.iter().filter(|it| decode(**it).abs() > 500.0).count() > 20;
    let spoken = (loud[99] + 1..caller.heard.len()).filter(|it| is_spoken(*it)).count();
    println!("{spoken} packets of speech after it");
    assert!(spoken > 50, "{spoken}");
    caller.assert_unbroken(0);
    phone.hang_up();
    assert!(
        server.wait(ANSWER_MAX, || ask(&server, "GET", &format!("/v1/calls/{call}"), "")
            .body
            .contains("ended_unix_ms\":1"))
    );
    let transcript = ask(&server, "GET", &format!("/v1/calls/{call}/transcript?format=text"), "").body;
    assert!(transcript.contains("hang up when you are done"), "{transcript}");
    let names: Vec<_> = desk.steps().into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["caller started", "caller finished"]);
}

#[test]
fn the_end_of_a_call_and_a_side_that_holds_it_tell_how_far_it_was_heard() {
    let mut it = two_people(&[]);
    meanwhile(&mut it, SECOND, |desk| desk.play(r#"{"sound": "two.wav", "times": 3}"#));
    it.phone.hang_up();
    let bye = it.at_called.next("BYE", ANSWER_MAX);
    it.at_called.answer(&bye, "200 OK", &[]);
    let steps = Desk::of(&it).wait_for_steps(&it.server, 2);
    let (name, step) = steps.last().unwrap();
    assert_eq!(name, "caller cleared");
    assert!(step["position_ms"].as_u64().unwrap().abs_diff(950) < 300, "{step:?}");
    assert_eq!(it.ask("POST", "/play", r#"{"sound": "two.wav"}"#).status, 409);
}

#[test]
fn no_more_is_taken_than_may_wait_and_nothing_that_makes_no_sense() {
    let mut it = two_people(&[]);
    let body = r#"{"sound": "two.wav", "times": "forever"}"#;
    meanwhile(&mut it, SECOND * 2, |desk| {
        for _ in 0..32 {
            desk.play(body);
        }
        let full = desk.ask("POST", "", body);
        assert!(full.status == 409 && full.body.contains("conflict"), "{}", full.body);
        assert!(full.body.contains("as much as may wait is to be played already"), "{}", full.body);
        for wrong in [
            r#"{"sound": ""}"#,
            r#"{"sound": "two.wav", "times": 0}"#,
            r#"{"sound": "two.wav", "times": "often"}"#,
            r#"{"sound": "two.wav", "to": "nobody"}"#,
            r#"{"sound": "two.wav", "gain": -1}"#,
            r#"{"sound": "two.wav", "marks": {"a": 1, "b": 1}}"#,
            r#"{"sound": "two.wav", "loud": true}"#,
            "{}",
        ] {
            assert_eq!(desk.ask("POST", "", wrong).status, 400, "{wrong}");
        }
        assert_eq!(desk.ask("DELETE", "", "").status, 204);
    });
    let steps = Desk::of(&it).wait_for_steps(&it.server, 33);
    assert_eq!(steps.iter().filter(|it| it.0 == "caller cleared").count(), 32);
    let path = format!("/v1/calls/{}/play", it.call);
    assert_eq!(http_client::post(it.server.http, &path, "wrong", body).status, 401);
    assert_eq!(ask(&it.server, "POST", "/v1/calls/call_00000000000000000000000000000001/play", body).status, 404);
}

#[test]
fn an_address_that_cannot_be_played_is_told_of_and_disturbs_nobody() {
    let web = serve_trouble();
    let mut it = two_people(&[("SOUNDS__ALLOW", "127.0.0.1/32"), ("SOUNDS__FETCH_S", "3")]);
    let from = [it.caller.heard.len(), it.called.heard.len()];
    let urls = [
        (format!("http://{web}/away"), "the server answered 302"),
        (format!("http://{web}/page"), "it is neither WAV nor MP3"),
        (format!("http://{web}/huge"), "it has more than 33554432 bytes"),
        (format!("http://{web}/slow"), "it took longer than 3s"),
        (format!("http://127.0.0.2:{}/tone.wav", web.port()), "127.0.0.2 is not a public address"),
        ("http://169.254.169.254/latest".to_owned(), "169.254.169.254 is not a public address"),
        (format!("http://{web}/broken"), "it cannot be decoded"),
        ("../two.wav".to_owned(), "not an https URL, nor a file of the directory for audio"),
        ("nothing.wav".to_owned(), "it cannot be read"),
    ];
    let count = urls.len();
    let wanted = urls.clone();
    meanwhile(&mut it, SECOND * 5, move |desk| {
        for (url, _) in wanted {
            desk.play(&format!(r#"{{"sound": "{url}"}}"#));
        }
    });
    let steps = Desk::of(&it).wait_for_steps(&it.server, count);
    for (url, reason) in &urls {
        let step = steps.iter().find(|it| it.1["sound"] == url.as_str());
        let step = step.unwrap_or_else(|| panic!("{url}: {steps:?}"));
        assert_eq!(step.0, "caller failed");
        assert!(step.1["reason"].as_str().unwrap().starts_with(reason), "{step:?}");
    }
    for (peer, from) in [(&it.caller, from[0]), (&it.called, from[1])] {
        assert!(peer.heard[from..].iter().all(|it| it.payload.len() == 240), "packets are passed on all the while");
        peer.assert_unbroken(from);
    }
    assert_eq!(it.server.metrics().value("hookswitch_plays_total{outcome=\"failed\"}"), Some(count as f64));
}

#[test]
fn a_stream_without_an_end_is_heard_soon_and_ends_when_it_is_cleared() {
    for is_paced in [true, false] {
        let radio = Radio::start(is_paced);
        let mut it = two_people(&[("SOUNDS__ALLOW", "127.0.0.1/32")]);
        let from = it.caller.heard.len();
        let memory = memory_kb(&it.server);
        let url = radio.url();
        let (asked, cleared) = meanwhile(&mut it, SECOND * 7, |desk| {
            let asked = Instant::now();
            desk.play(&format!(r#"{{"sound": "{url}", "times": "forever", "marks": {{"three": 3000}}}}"#));
            std::thread::park_timeout(SECOND * 6);
            assert_eq!(desk.ask("DELETE", "", "").status, 204);
            (asked, Instant::now())
        });
        let loud = packets_with(&it.caller, from, PLAYED);
        let (first, last) = (it.caller.heard[loud[0]].at, it.caller.heard[*loud.last().unwrap()].at);
        let grown = memory_kb(&it.server) - memory;
        println!(
            "paced {is_paced}: heard after {:?}, {} packets in {:?}, gone {:?} after the answer, {} kB sent, {grown:.0} kB more",
            first - asked,
            loud.len(),
            last - first,
            last.saturating_duration_since(cleared),
            radio.sent.load(Ordering::Relaxed) / 1_000
        );
        assert!(first - asked < SECOND * 2);
        assert!(last.saturating_duration_since(cleared) < Duration::from_millis(40));
        let all = loud.last().unwrap() - loud[0] + 1;
        // Where a file that goes round begins anew, an MP3 has some milliseconds of silence.
        assert!(all - loud.len() < 20, "{} of {all}", loud.len());
        // What sockets hold is theirs; the decoded seconds are ours.
        assert!(
            radio.sent.load(Ordering::Relaxed) < 12_000_000 && grown < 30_000.0,
            "the server waits for us: {grown} kB"
        );
        assert!(it.server.wait(ANSWER_MAX, || radio.is_left.load(Ordering::Relaxed)), "nobody listens any more");
        let steps = Desk::of(&it).wait_for_steps(&it.server, 3);
        let names: Vec<_> = steps.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["caller started", "caller mark three", "caller cleared"]);
        let heard_ms = all as u64 * 20;
        assert!(steps[2].1["position_ms"].as_u64().unwrap().abs_diff(heard_ms) <= 60, "{heard_ms} {steps:?}");
        it.caller.assert_unbroken(from);
    }
}

/// How much memory a server holds.
fn memory_kb(server: &Server) -> f64 {
    server.metrics().value("process_resident_memory_bytes").unwrap_or(0.0) / 1_000.0
}

/// A station that sends one tone for ever, as fast as it is heard or as fast as it is taken.
struct Radio {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    is_left: Arc<AtomicBool>,
}

impl Radio {
    fn start(is_paced: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, is_left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let radio = Self { address, sent: Arc::clone(&sent), is_left: Arc::clone(&is_left) };
        let second = mp3_second();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-name: Test\r\n\r\n").unwrap();
            let mut next = Instant::now();
            // Longer than any test takes.
            for piece in second.chunks(second.len() / 10 + 1).cycle().take(100_000) {
                if stream.write_all(piece).is_err() {
                    is_left.store(true, Ordering::Relaxed);
                    return;
                }
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                next += Duration::from_millis(100);
                while is_paced && Instant::now() < next {
                    std::thread::park_timeout(next - Instant::now());
                }
            }
        });
        radio
    }

    fn url(&self) -> String {
        format!("http://{}/live", self.address)
    }
}

/// About a second of the tone, in whole frames.
fn mp3_second() -> Vec<u8> {
    let mut encoder = Mp3Encoder::new(Mp3EncoderConfig { bitrate_kbps: 128, vbr_quality: None });
    // 1,300 waves in 44,100 samples; frames have 1,152 of them.
    let samples: Vec<i16> = (0..44_100_u32)
        .map(|at| {
            #[expect(clippy::cast_possible_truncation, reason = "a quarter of full scale")]
            let sample = (8_000.0 * (std::f64::consts::TAU * PLAYED * f64::from(at) / 44_100.0).sin()) as i16;
            sample
        })
        .collect();
    encoder.push_pcm_s16(&samples, 1, 44_100).unwrap();
    encoder.finish();
    let mut bytes = vec![];
    while let Ok(packet) = encoder.next_packet() {
        bytes.extend(packet);
    }
    bytes
}

/// Serves what cannot be played, each by its name.
fn serve_trouble() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            let stream = stream.unwrap();
            std::thread::spawn(move || trouble(stream));
        }
    });
    address
}

fn trouble(mut stream: TcpStream) {
    let mut request = [0; 4_096];
    let length = stream.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let wav = wav_of_tone(1_300, 1_000);
    let (head, body): (&str, Vec<u8>) = match request.split(' ').nth(1).unwrap() {
        "/away" => ("302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0", vec![]),
        "/page" => ("200 OK", b"<html><body>This is a page, and no audio at all.</body></html>".to_vec()),
        "/huge" => ("200 OK\r\nContent-Length: 99999999", wav),
        "/broken" => ("200 OK", b"RIFF\xff\xff\xff\xffWAVEfmt nothing that is audio".to_vec()),
        _ => ("200 OK\r\nContent-Length: 30000", wav[..1_000].to_vec()),
    };
    // Whoever asked may have gone.
    drop(write!(stream, "HTTP/1.1 {head}\r\n\r\n").and_then(|()| stream.write_all(&body)));
    if request.contains("/slow") {
        std::thread::park_timeout(SECOND * 20);
    }
}
