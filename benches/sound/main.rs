//! The receive path on simulated time: speech in, damaged packets, and what a listener hears, as raw samples. `run` beside
//! this file makes the speech, calls this program and scores what comes out.
//!
//! Every stream goes through a whole [`Session`] (jitter buffer, decoder, concealment), and beside it through plain
//! repetition: a receiver that waits long enough for every packet that comes and plays the last one again for each that
//! does not, which costs more delay than ours and knows no late packets. What was sent is written down as well, for
//! `peers.py`; with `hear` this program listens to what rtpengine has made of it: once by waiting for everything, with
//! silence where nothing came, and once with a session of ours.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may fail anywhere")]
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench has a clock to begin at, and a result")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hookswitch::codec::{AudioCodec, Decoder, Encoder, Frame, OpusSettings, Resampler, SampleRate, Transcoder};
use hookswitch::media::{Heard, Latching, RemoteMedia, Session, SessionConfig, TICK};
use hookswitch::rtp::{Header, Packet};
use hookswitch::timer::Now;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// What happens to a stream on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Damage {
    /// Of packets, each by itself.
    loss: f64,
    /// Of packets, of which each takes the two after it along.
    burst: f64,
    /// Every packet is late by anything up to this.
    jitter_ms: u32,
    /// How much faster the sender's clock runs than ours, in millionths.
    drift_ppm: i32,
    /// Codecs that the audio has been through before.
    through: Option<AudioCodec>,
}

/// A packet and when it comes, counted from when the first was sent.
struct Sent {
    arrives: Duration,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, received, out] = &arguments[..]
        && mode == "hear"
    {
        return hear_peers(Path::new(received), Path::new(out));
    }
    let [_, narrow, wide, out] = &arguments[..] else {
        println!("sound NARROW.raw WIDE.raw DIRECTORY, or sound hear RECEIVED DIRECTORY");
        return;
    };
    let none = Damage::default();
    let conditions = [
        ("clean", none),
        ("loss 1 %", Damage { loss: 0.01, ..none }),
        ("loss 3 %", Damage { loss: 0.03, ..none }),
        ("loss 5 %", Damage { loss: 0.05, ..none }),
        ("loss 10 %", Damage { loss: 0.10, ..none }),
        ("bursts of 3", Damage { burst: 0.02, ..none }),
        ("jitter 40 ms", Damage { jitter_ms: 40, ..none }),
        ("drift +200 ppm", Damage { drift_ppm: 200, ..none }),
        ("drift -200 ppm", Damage { drift_ppm: -200, ..none }),
    ];
    for codec in [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus] {
        let file = if codec.rate() == SampleRate::Hz8000 { narrow } else { wide };
        let speech = read(Path::new(file));
        for (name, damage) in conditions {
            measure(codec, &speech, name, damage, Path::new(out));
        }
        for (name, through) in [("through Opus", AudioCodec::Opus), ("through G.722", AudioCodec::G722)] {
            if codec == AudioCodec::Pcmu {
                measure(codec, &speech, name, Damage { through: Some(through), ..none }, Path::new(out));
            }
        }
    }
}

fn measure(codec: AudioCodec, speech: &[i16], name: &str, damage: Damage, out: &Path) {
    // Drift needs time to be noticed: the speech is heard three times, and the last is judged.
    let rounds = if damage.drift_ppm == 0 { 1 } else { 3 };
    let mut rng = ChaCha12Rng::seed_from_u64(20);
    let packets = send(codec, speech, rounds, damage, &mut rng);
    let file = |receiver: &str| out.join(format!("{}__{name}__{receiver}.raw", codec.name()));
    let (heard, delay_ms, concealed) = receive(codec, &packets, &mut rng);
    write_packets(&out.join(format!("../sent/{}__{name}.packets", codec.name())), &packets);
    write(&file("ours"), last(&heard, speech.len() * (rounds - 1)));
    for other in others(codec) {
        let path = out.join(format!("{}__{name}__ours.raw", pair(codec, *other)));
        if damage.drift_ppm == 0 {
            write(&path, &coded(codec, *other, &heard));
        }
    }
    write(&file("repetition"), last(&repeat(codec, &packets), speech.len() * (rounds - 1)));
    println!(
        "{} | {name} | delay {delay_ms} ms | concealed {concealed} frames of {}",
        codec.name(),
        heard.len() / codec.rate().frame_len()
    );
}

fn last(samples: &[i16], from: usize) -> &[i16] {
    samples.get(from..).unwrap_or(&[])
}

/// Encodes the speech and sends it over the network.
fn send(codec: AudioCodec, speech: &[i16], rounds: usize, damage: Damage, rng: &mut ChaCha12Rng) -> Vec<Sent> {
    let mut encoder = Encoder::new(codec, OpusSettings::default());
    let mut detour = damage.through.map(|through| {
        let opus = OpusSettings::default();
        (
            Encoder::new(codec, opus),
            Transcoder::new(codec, through, opus, 20),
            Transcoder::new(through, codec, opus, 20),
        )
    });
    let mut packets = vec![];
    let mut lost_until = 0;
    let frames = (0..rounds).flat_map(|_| speech.chunks_exact(codec.rate().frame_len()));
    for (index, frame) in frames.enumerate() {
        let mut payload = vec![0; 700];
        let len = match &mut detour {
            None => encoder.encode(frame, &mut payload),
            Some((first, there, back)) => {
                let len = first.encode(frame, &mut payload);
                there.push(&payload[..len]);
                while let Some(len) = there.poll(&mut payload) {
                    back.push(&payload[..len]);
                }
                back.poll(&mut payload).unwrap_or(0)
            }
        };
        payload.truncate(len);
        if rng.random_bool(damage.burst) {
            lost_until = index + 3;
        }
        let is_lost = index < lost_until || rng.random_bool(damage.loss) || len == 0;
        let late = if damage.jitter_ms == 0 { 0 } else { rng.random_range(0..=damage.jitter_ms * 1_000) };
        // A clock that runs fast sends earlier.
        let spacing_ns = 20_000_000 - i64::from(damage.drift_ppm) * 20;
        let sent = Duration::from_nanos(u64::try_from(spacing_ns).unwrap() * u64::try_from(index).unwrap());
        let arrives = sent + Duration::from_micros(u64::from(late) + 3_000);
        let sequence = u16::try_from(index % 65_536).unwrap();
        if !is_lost {
            let timestamp = u32::from(sequence).wrapping_mul(codec.clock_hz() / 50);
            packets.push(Sent { arrives, sequence, timestamp, payload });
        }
    }
    packets.sort_by_key(|it| it.arrives);
    packets
}

/// What a session hears, the mean delay of its jitter buffer, and how many frames it made up.
fn receive(codec: AudioCodec, packets: &[Sent], rng: &mut ChaCha12Rng) -> (Vec<i16>, u64, u64) {
    let start = Now { instant: Instant::now(), unix: Duration::ZERO };
    let peer = ([192, 0, 2, 1], 4_000).into();
    let remote = RemoteMedia {
        rtp: peer,
        rtcp: ([192, 0, 2, 1], 4_001).into(),
        latching: Latching::Exact,
        codec,
        payload_type: 96,
        received_payload_type: 96,
        ptime_ms: 20,
        maxptime_ms: None,
        opus: OpusSettings::default(),
        comfort_noise: None,
        telephone_event: None,
        send: true,
        receive: true,
    };
    let mut session = Session::new(SessionConfig { remote: Some(remote), hears_tones: false }, rng, start);
    let mut heard = vec![];
    let (mut next, mut buffer) = (0, [0; 1_500]);
    let end = packets.last().unwrap().arrives + Duration::from_millis(500);
    let mut at = Duration::ZERO;
    let (mut concealed, mut delays_us) = (0, vec![]);
    while at < end {
        while let Some(packet) = packets.get(next).filter(|it| it.arrives <= at) {
            let Sent { sequence, timestamp, .. } = *packet;
            let header = Header { payload_type: 96, marker: next == 0, sequence, timestamp, ssrc: 7 };
            let mut datagram = [0; 1_500];
            let len = Packet { header, payload: &packet.payload }.write(&mut datagram).unwrap();
            session.handle_rtp(peer, &datagram[..len], start + packet.arrives);
            next += 1;
        }
        match session.handle_tick(start + at).heard {
            Heard::Audio(frame) => heard.extend(frame.samples()),
            Heard::Concealed(frame) => {
                concealed += 1;
                heard.extend(frame.samples());
            }
            Heard::Nothing => heard.extend(std::iter::repeat_n(0, codec.rate().frame_len())),
        }
        while session.poll_transmit(&mut buffer).is_some() {}
        if next < packets.len() {
            delays_us.push(session.report(start + at).received.delay_us);
        }
        at += TICK;
    }
    let delay_ms = delays_us.iter().sum::<u64>() / 1_000 / u64::try_from(delays_us.len().max(1)).unwrap();
    (heard, delay_ms, concealed)
}

/// As what a stream is coded again.
const fn others(codec: AudioCodec) -> &'static [AudioCodec] {
    match codec {
        AudioCodec::Pcmu => &[AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus],
        AudioCodec::Pcma | AudioCodec::G722 | AudioCodec::Opus => &[AudioCodec::Pcmu],
        AudioCodec::L16(_) => &[],
    }
}

fn pair(codec: AudioCodec, other: AudioCodec) -> String {
    format!("{} to {}", codec.name(), other.name())
}

/// What becomes of samples that have come by one codec when they are sent on by another, at 8 kHz.
fn coded(codec: AudioCodec, other: AudioCodec, samples: &[i16]) -> Vec<i16> {
    let samples = at_rate(samples, codec.rate(), other.rate());
    // Nothing is lost there, so nothing is repeated either.
    let opus = OpusSettings { forward_error_correction: false, ..OpusSettings::default() };
    let (mut encoder, mut decoder) = (Encoder::new(other, opus), Decoder::new(other));
    let mut heard = vec![];
    for frame in samples.chunks_exact(other.rate().frame_len()) {
        let (mut payload, mut decoded) = (vec![0; 700], vec![0; frame.len()]);
        let len = encoder.encode(frame, &mut payload);
        decoder.decode(&payload[..len], &mut decoded);
        heard.extend(decoded);
    }
    at_rate(&heard, other.rate(), SampleRate::Hz8000)
}

fn at_rate(samples: &[i16], from: SampleRate, to: SampleRate) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to);
    let frames = samples.chunks_exact(from.frame_len());
    frames.flat_map(|it| resampler.process(&Frame::from_samples(from, it)).samples().to_vec()).collect()
}

/// Listens to what rtpengine has sent, in both ways.
fn hear_peers(received: &Path, out: &Path) {
    for file in std::fs::read_dir(received).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|it| it != "packets") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let [codec, name, other] = stem.split("__").collect::<Vec<_>>()[..] else {
            continue;
        };
        let known = [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus];
        let [codec, other] = [codec, other].map(|name| *known.iter().find(|it| it.name() == name).unwrap());
        let packets = read_received(&path);
        if packets.is_empty() {
            continue;
        }
        let file = |receiver: &str| out.join(format!("{}__{name}__{receiver}.raw", pair(codec, other)));
        let narrow = |samples: &[i16]| at_rate(samples, other.rate(), SampleRate::Hz8000);
        write(&file("rtpengine"), &narrow(&wait_for_all(other, &packets)));
        let mut rng = ChaCha12Rng::seed_from_u64(20);
        write(&file("rtpengine, then ours"), &narrow(&receive(other, &packets, &mut rng).0));
    }
}

/// What is heard by somebody who waits for every packet, and hears silence where none came. It goes by their numbers, as
/// rtpengine's timestamps go on without a gap where something was lost.
fn wait_for_all(codec: AudioCodec, packets: &[Sent]) -> Vec<i16> {
    let first = packets[0].sequence;
    let since = |it: &Sent| it.sequence.wrapping_sub(first);
    // What was sent before the first one that came has nowhere to be.
    let by_number: BTreeMap<u16, &Sent> =
        packets.iter().map(|it| (since(it), it)).filter(|it| it.0 < u16::MAX / 2).collect();
    let mut decoder = Decoder::new(codec);
    let mut heard: Vec<i16> = vec![];
    for (number, packet) in by_number {
        let at = usize::from(number) * codec.rate().frame_len();
        heard.resize(at + codec.rate().frame_len(), 0);
        decoder.decode(&packet.payload, &mut heard[at..]);
    }
    heard
}

/// In the order of their arrival: when, in microseconds, sequence number, timestamp, length of the payload, payload.
fn read_received(path: &Path) -> Vec<Sent> {
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut packets) = (&bytes[..], vec![]);
    while let Some((head, more)) = rest.split_first_chunk::<12>() {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *head;
        let (payload, after) = more.split_at(usize::from(u16::from_be_bytes([k, l])));
        packets.push(Sent {
            arrives: Duration::from_micros(u32::from_be_bytes([a, b, c, d]).into()),
            sequence: u16::from_be_bytes([e, f]),
            timestamp: u32::from_be_bytes([g, h, i, j]),
            payload: payload.to_vec(),
        });
        rest = after;
    }
    packets
}

/// What plain repetition plays.
fn repeat(codec: AudioCodec, packets: &[Sent]) -> Vec<i16> {
    let by_number: BTreeMap<u16, &Sent> = packets.iter().map(|it| (it.sequence, it)).collect();
    let mut decoder = Decoder::new(codec);
    let mut before = vec![0; codec.rate().frame_len()];
    let mut heard = vec![];
    for number in 0..=*by_number.last_key_value().unwrap().0 {
        if let Some(packet) = by_number.get(&number) {
            let mut samples = vec![0; codec.rate().frame_len()];
            decoder.decode(&packet.payload, &mut samples);
            before = samples;
        }
        heard.extend(&before);
    }
    heard
}

fn read(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks::<2>().0.iter().map(|it| i16::from_le_bytes(*it)).collect()
}

/// In the order of their arrival: when, in microseconds, the sequence number, the length of the payload, the payload.
fn write_packets(path: &Path, packets: &[Sent]) {
    let mut bytes = vec![];
    for Sent { arrives, sequence, payload, .. } in packets {
        bytes.extend(u32::try_from(arrives.as_micros()).unwrap().to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
    }
    std::fs::write(path, bytes).unwrap();
}

fn write(path: &Path, samples: &[i16]) {
    let bytes: Vec<u8> = samples.iter().flat_map(|it| it.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}
