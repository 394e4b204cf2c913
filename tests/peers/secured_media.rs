//! SRTP of other people's making, under keys that the signalling tells (RFC 4568): the media of a call are ffmpeg's, or come
//! through an rtpengine that secures them; the other end of the call is plain.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hookswitch::codec::{AudioCodec, Decoder};

use crate::baresip::{rms, share_of_tone};
use crate::carrier::Carrier;
use crate::rtpengine::RtpEngine;
use crate::server_process::{Home, Process, Server, free_port};
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn ffmpeg_speaks_and_hears_under_srtp() {
    for suite in ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"] {
        speaks_and_hears(suite);
    }
}

#[test]
fn rtpengine_secures_a_call() {
    for suite in ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"] {
        secures(suite);
    }
}

fn secures(suite: &str) {
    let (carrier, rtpengine) = (Carrier::start(), RtpEngine::start());
    let server = bridging(&carrier);
    let (near, far) = (socket(), socket());
    let plain = plain_sdp(near.local_addr().unwrap().port());
    let offer = rtpengine.ask("offer", "RTP/SAVP", &plain);
    let is_wanted = |line: &str| !line.starts_with("a=crypto:") || line.contains(&format!(" {suite} "));
    let offer: String = offer.lines().filter(|it| is_wanted(it)).map(|it| format!("{it}\r\n")).collect();
    let mut phone = Phone::udp(&server);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| answer(&carrier, far.local_addr().unwrap().port()));
        phone.invite_offering("400", &offer)
    });
    assert!(answer.body.contains(&format!(" {suite} inline:")), "{suite} is not taken: {answer:?}\n{offer}");
    let ours = rtpengine.ask("answer", "RTP/AVP", &answer.body);
    let port: u16 = ours.lines().find_map(|it| it.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok()).unwrap();
    let is_over = AtomicBool::new(false);
    let (heard_far, heard_near) = std::thread::scope(|scope| {
        // The one speaks at its own pace, the other as it hears.
        let far = scope.spawn(|| hear_and_speak(&far, || is_over.load(Ordering::Relaxed)));
        let near = speak_and_hear(&near, SocketAddr::from(([127, 0, 0, 1], port)));
        is_over.store(true, Ordering::Relaxed);
        (far.join().unwrap(), near)
    });
    for (heard, hz) in [(&heard_far, THEIR_HZ), (&heard_near, OUR_HZ)] {
        let end = &heard[heard.len().saturating_sub(6_000)..];
        assert!(rms(end) > 0.05 && share_of_tone(end, hz) > 0.9, "{suite}: {} samples of {hz} Hz", heard.len());
    }
    authentic(&server, suite);
    phone.hang_up();
}

fn bridging(carrier: &Carrier) -> Server {
    Server::start(&[
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__SOURCES", "127.0.0.1/32"),
        ("NUMBERS__400__URI", &format!("sip:400@{}", carrier.address)),
        ("MEDIA__CODECS", "pcmu"),
    ])
}

#[track_caller]
fn authentic(server: &Server, suite: &str) {
    let metrics = server.metrics();
    for what in ["unauthenticated", "replayed"] {
        assert_eq!(metrics.value(&format!("hookswitch_rtp_packets_total{{what=\"{what}\"}}")), Some(0.0), "{suite}");
    }
}

fn speaks_and_hears(suite: &str) {
    let carrier = Carrier::start();
    let server = bridging(&carrier);
    let (near, far) = (socket(), socket());
    let mut phone = Phone::udp(&server);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| answer(&carrier, far.local_addr().unwrap().port()));
        phone.invite_offering("400", &secured_sdp(near.local_addr().unwrap().port(), suite, OUR_KEY))
    });
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    let line = answer.sdp("a=crypto:1 ").unwrap_or_else(|| panic!("no key in {answer:?}"));
    let key = line.strip_prefix(suite).and_then(|it| it.strip_prefix(" inline:")).unwrap_or_else(|| panic!("{line}"));

    let home = Home::new();
    let (from_ffmpeg, to_ffmpeg) = (socket(), even_port());
    let heard_by_ffmpeg = home.path().join("heard.raw");
    let _listener = listener(home.path(), &secured_sdp(to_ffmpeg, suite, key), &heard_by_ffmpeg);
    let _speaker = speaker(suite, from_ffmpeg.local_addr().unwrap());
    let (ours, theirs) = (answer.rtp_address().unwrap(), SocketAddr::from(([127, 0, 0, 1], to_ffmpeg)));
    let is_over = AtomicBool::new(false);
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| pass_on(&from_ffmpeg, &near, ours, &is_over));
        scope.spawn(|| pass_on(&near, &from_ffmpeg, theirs, &is_over));
        let heard = hear_and_speak(&far, || size(&heard_by_ffmpeg) > 2 * 12_000);
        is_over.store(true, Ordering::Relaxed);
        heard
    });
    assert!(rms(&heard) > 0.05 && share_of_tone(&heard, THEIR_HZ) > 0.9, "{suite}: {} samples", heard.len());
    let bytes = std::fs::read(&heard_by_ffmpeg).unwrap_or_default();
    let samples: Vec<_> = bytes.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])).collect();
    // What came before the first packet is silence of its own.
    let end = &samples[samples.len().saturating_sub(6_000)..];
    assert!(rms(end) > 0.05 && share_of_tone(end, OUR_HZ) > 0.9, "{suite}: {} samples", samples.len());
    authentic(&server, suite);
    phone.hang_up();
}

/// Takes the call without SRTP.
fn answer(carrier: &Carrier, port: u16) {
    let request = carrier.next("INVITE", ANSWER_MAX);
    let contact = format!("Contact: <{}>", carrier.uri());
    carrier.answer_with(&request, "200 OK", &[&contact], &plain_sdp(port));
    carrier.next("ACK", ANSWER_MAX);
}

fn plain_sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n"
    )
}

fn secured_sdp(port: u16, suite: &str, key: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/SAVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=crypto:1 {suite} inline:{key}\r\n"
    )
}

fn speaker(suite: &str, to: SocketAddr) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-re", "-f", "lavfi", "-i"]);
    command.arg(format!("sine=frequency={THEIR_HZ}:sample_rate=8000:duration=60,volume=4,asetnsamples=160"));
    command.args(["-c:a", "pcm_mulaw", "-f", "rtp", "-srtp_out_suite", suite, "-srtp_out_params", OUR_KEY]);
    Process::start(command.arg(format!("srtp://{to}")))
}

fn listener(directory: &Path, sdp: &str, heard: &Path) -> Process {
    let file = directory.join("call.sdp");
    std::fs::write(&file, sdp).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-protocol_whitelist", "file,udp,rtp,srtp"]);
    command.args(["-analyzeduration", "0", "-probesize", "32", "-i"]).arg(&file);
    Process::start(command.args(["-flush_packets", "1", "-f", "s16le"]).arg(heard))
}

/// Sends what one socket takes from the other to `to`.
fn pass_on(from: &UdpSocket, by: &UdpSocket, to: SocketAddr, is_over: &AtomicBool) {
    let mut buffer = [0; 2_048];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(length) = from.recv(&mut buffer) {
            // A port that is not open yet refuses.
            drop(by.send_to(&buffer[..length], to));
        }
    }
}

/// What is heard until enough is, with a packet of a tone for each that comes.
fn hear_and_speak(socket: &UdpSocket, mut is_enough: impl FnMut() -> bool) -> Vec<i16> {
    let end = Instant::now() + Duration::from_secs(20);
    let (mut decoder, mut heard, mut number) = (Decoder::new(AudioCodec::Pcmu), vec![], 0_u16);
    let mut buffer = [0; 2_048];
    while Instant::now() < end && (heard.len() < 12_000 || !is_enough()) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if length <= 12 || buffer[1] & 0x7f != 0 {
            continue;
        }
        let mut samples = [0; 1_920];
        let decoded = decoder.decode(&buffer[12..length], &mut samples);
        heard.extend_from_slice(&samples[..decoded]);
        socket.send_to(&tone(number, OUR_HZ), from).unwrap();
        number = number.wrapping_add(1);
    }
    heard
}

/// What is heard while a packet of a tone is sent every 20 ms, for three seconds.
fn speak_and_hear(socket: &UdpSocket, to: SocketAddr) -> Vec<i16> {
    let (mut decoder, mut heard, mut due) = (Decoder::new(AudioCodec::Pcmu), vec![], Instant::now());
    let mut buffer = [0; 2_048];
    for number in 0..150 {
        socket.send_to(&tone(number, THEIR_HZ), to).unwrap();
        due += Duration::from_millis(20);
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
            socket.set_read_timeout(Some(left)).unwrap();
            let Ok(length @ 13..) = socket.recv(&mut buffer) else { continue };
            let mut samples = [0; 1_920];
            let decoded = decoder.decode(&buffer[12..length], &mut samples);
            heard.extend_from_slice(&samples[..decoded]);
        }
    }
    heard
}

fn tone(number: u16, hz: f64) -> Vec<u8> {
    let start = u32::from(number) * 160;
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend(start.to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend((start..start + 160).map(|it| {
        let angle = std::f64::consts::TAU * hz * f64::from(it) / 8_000.0;
        #[expect(clippy::cast_possible_truncation, reason = "a third of full scale")]
        mu_law((angle.sin() * 10_000.0) as i16)
    }));
    packet
}

/// ITU-T G.711, table 2.
fn mu_law(sample: i16) -> u8 {
    let magnitude = u32::from(sample.unsigned_abs()).min(32_635) + 132;
    let segment = 24 - magnitude.leading_zeros();
    let code = segment << 4 | (magnitude >> (segment + 3) & 0x0f) | if sample < 0 { 0x80 } else { 0 };
    !u8::try_from(code).unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

/// ffmpeg takes the one after it, too.
fn even_port() -> u16 {
    let is_free = |it: &u16| [*it, it + 1].iter().all(|it| UdpSocket::bind(("127.0.0.1", *it)).is_ok());
    std::iter::repeat_with(|| free_port() & !1).take(50).find(is_free).expect("two ports are free")
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |it| it.len())
}

const OUR_KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const OUR_HZ: f64 = 1_000.0;
const THEIR_HZ: f64 = 440.0;
