//! What we code against what ffmpeg codes: G.722 is exact to the bit.

use std::io::Write;
use std::process::{Command, Stdio};

use hookswitch::codec::g722::{Decoder, Encoder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

#[test]
#[expect(clippy::cast_possible_truncation, reason = "within 16 bits")]
fn ffmpeg_codes_the_same_g722() {
    let mut rng = ChaCha12Rng::seed_from_u64(722);
    let noise: Vec<i16> = (0..32_000).map(|_| rng.next_u32() as i16).collect();
    same("noise", &noise);
    same("silence", &[0; 3_200]);
    same("little noise", &noise.iter().map(|it| it >> 12).collect::<Vec<_>>());
    let swelling = |(at, it): (usize, &i16)| i16::try_from(i32::from(*it) * (at % 4_000) as i32 / 8_000).unwrap();
    same("noise that comes and goes", &noise.iter().enumerate().map(swelling).collect::<Vec<_>>());
    // Nearly at full scale: beyond, ffmpeg does not limit the bands to 15 bits, as the recommendation does (LIMIT).
    for hz in [50.0, 440.0, 1_000.0, 3_400.0, 4_000.0, 5_200.0, 7_900.0] {
        let sample = |at: i32| (28_000.0 * (std::f64::consts::TAU * hz * f64::from(at) / 16_000.0).sin()) as i16;
        same(&format!("{hz} Hz"), &(0..16_000).map(sample).collect::<Vec<_>>());
    }
    // What no encoder makes must be understood in the same way, too.
    let mut codes = vec![0; 16_000];
    rng.fill_bytes(&mut codes);
    assert_eq!(decoded(&codes), ffmpeg_decoded(&codes));
}

/// ffmpeg gives up on what has been cut by anything: the audio ends with a whole packet of it.
#[track_caller]
fn same(name: &str, samples: &[i16]) {
    let mut codes = vec![0; samples.len() / 2];
    Encoder::default().encode(samples, &mut codes);
    let bytes = samples.iter().flat_map(|it| it.to_le_bytes()).collect();
    let raw = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "g722", "-f", "g722", "-"];
    assert!(codes == ffmpeg(&raw, bytes), "{name} is encoded in another way");
    assert!(decoded(&codes) == ffmpeg_decoded(&codes), "{name} is decoded in another way");
}

fn decoded(codes: &[u8]) -> Vec<i16> {
    let mut samples = vec![0; 2 * codes.len()];
    Decoder::default().decode(codes, &mut samples);
    samples
}

fn ffmpeg_decoded(codes: &[u8]) -> Vec<i16> {
    let bytes = ffmpeg(&["-f", "g722", "-i", "-", "-f", "s16le", "-"], codes.to_vec());
    bytes.as_chunks::<2>().0.iter().map(|it| i16::from_le_bytes(*it)).collect()
}

fn ffmpeg(arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || into.write_all(&input).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}
