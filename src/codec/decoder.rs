//! [`Decoder`]: payloads to samples, with whatever a codec remembers from packet to packet, and what it can make of
//! packets that are lost.

use opus::Channels;

use super::{AudioCodec, SampleRate, g711, g722};

/// Decodes one stream.
pub struct Decoder {
    codec: AudioCodec,
    state: State,
}

enum State {
    Pcmu,
    Pcma,
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
    L16,
    /// Opus could not be had: it has no memory.
    Broken,
}

impl Decoder {
    /// At the beginning of a stream.
    pub fn new(codec: AudioCodec) -> Self {
        let state = match codec {
            AudioCodec::Pcmu => State::Pcmu,
            AudioCodec::Pcma => State::Pcma,
            AudioCodec::G722 => State::G722(Box::default()),
            AudioCodec::Opus => opus::Decoder::new(OPUS_HZ, Channels::Mono).map_or(State::Broken, State::Opus),
            AudioCodec::L16(_) => State::L16,
        };
        Self { codec, state }
    }

    /// What it decodes.
    pub const fn codec(&self) -> AudioCodec {
        self.codec
    }

    /// Decodes a payload to the beginning of `samples`, at [`AudioCodec::rate`], and returns how many it gave; what does
    /// not fit is left out, of Opus the whole packet. A packet that makes no sense gives none.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        match &mut self.state {
            State::Pcmu => g711::decode_ulaw(payload, samples),
            State::Pcma => g711::decode_alaw(payload, samples),
            State::G722(decoder) => decoder.decode(payload, samples),
            State::Opus(_) if payload.is_empty() => 0,
            State::Opus(decoder) => decoder.decode(payload, samples, false).unwrap_or(0),
            State::L16 => {
                let mut len = 0;
                for (to, from) in samples.iter_mut().zip(payload.as_chunks::<2>().0) {
                    *to = i16::from_be_bytes(*from);
                    len += 1;
                }
                len
            }
            State::Broken => 0,
        }
    }

    /// Whether the codec itself conceals losses: then [`Decoder::conceal`] is to be told of each.
    pub const fn conceals(&self) -> bool {
        matches!(self.state, State::Opus(_))
    }

    /// Fills `samples` in place of packets that are lost; `next`, if it is here already, is the packet that directly
    /// follows them, and may hold a copy of the last one. Only for codecs that [`Decoder::conceals`]; silence otherwise.
    pub fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [i16]) {
        samples.fill(0);
        let State::Opus(decoder) = &mut self.state else {
            return;
        };
        for piece in samples.chunks_mut(INVENTED_LEN_MAX) {
            // Opus invents multiples of 2.5 ms only.
            let mut invented = [0; INVENTED_LEN_MAX];
            let len = piece.len().next_multiple_of(OPUS_STEP_LEN).min(INVENTED_LEN_MAX);
            let Some(room) = invented.get_mut(..len) else {
                return;
            };
            let redundant = next.filter(|it| !it.is_empty());
            let result = match redundant {
                Some(next) => decoder.decode(next, room, true),
                None => decoder.decode(&[], room, false),
            };
            if result.is_ok() {
                for (to, from) in piece.iter_mut().zip(invented) {
                    *to = from;
                }
            }
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({:?})", self.codec)
    }
}

const OPUS_HZ: u32 = SampleRate::Hz16000.hz();
const OPUS_STEP_LEN: usize = 40;
/// 60 ms.
const INVENTED_LEN_MAX: usize = 960;

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::super::{Encoder, OpusSettings};
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_was_given() {
        for (codec, snr_db) in [
            (AudioCodec::Pcmu, 30.0),
            (AudioCodec::Pcma, 30.0),
            (AudioCodec::G722, 20.0),
            // Opus keeps the sound, not the waveform.
            (AudioCodec::Opus, 5.0),
            (AudioCodec::L16(SampleRate::Hz8000), 200.0),
            (AudioCodec::L16(SampleRate::Hz16000), 200.0),
        ] {
            let rate = codec.rate();
            let original: Vec<i16> = (0..rate.frame_len() * 50).map(|at| voice(at, rate)).collect();
            let got = through(codec, &original, |_| false);
            let snr = best_snr(&original, &got);
            assert!(snr > snr_db, "{codec:?}: {snr}");
        }
    }

    #[test]
    fn opus_recovers_a_lost_packet_better_from_the_next_one() {
        let rate = SampleRate::Hz16000;
        let original: Vec<i16> = (0..rate.frame_len() * 200).map(|at| syllables(at, rate)).collect();
        let clean = through(AudioCodec::Opus, &original, |_| false);
        let lost = |index: usize| index % 10 == 5;
        let with = best_snr(&clean, &through(AudioCodec::Opus, &original, lost));
        let without = best_snr(&clean, &through_with(AudioCodec::Opus, &original, lost, false));
        println!("10 % lost, against no loss: {with:.1} dB with the redundancy, {without:.1} dB without");
        assert!(with > without + 1.0, "{with} {without}");
    }

    #[test]
    fn discontinuous_opus_leaves_silence_out() {
        let settings = OpusSettings { discontinuous: true, ..OpusSettings::default() };
        let mut encoder = Encoder::new(AudioCodec::Opus, settings);
        let mut payload = [0; 400];
        let sent = (0..100).filter(|_| encoder.encode(&[0; 320], &mut payload) > 0).count();
        assert!((5..40).contains(&sent), "{sent}");
        let mut constant = Encoder::new(AudioCodec::Opus, OpusSettings::default());
        assert_eq!((0..100).filter(|_| constant.encode(&[0; 320], &mut payload) > 0).count(), 100);
        assert_eq!(constant.encode(&[0; 333], &mut payload), 0, "no frame is that long");
    }

    #[test]
    fn garbage_does_no_harm() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for codec in AudioCodec::ALL {
            let mut decoder = Decoder::new(codec);
            for _ in 0..3_000 {
                let mut payload = vec![0; rng.random_range(0..300)];
                rng.fill_bytes(&mut payload);
                let mut samples = vec![0; rng.random_range(0..2_000)];
                let len = decoder.decode(&payload, &mut samples);
                assert!(len <= samples.len());
                decoder.conceal(rng.random_bool(0.5).then_some(&payload), &mut samples);
                if codec == AudioCodec::Opus && len > 0 {
                    assert_eq!(codec.samples_of(codec.duration(&payload)), len);
                }
            }
        }
    }

    fn through(codec: AudioCodec, original: &[i16], lost: fn(usize) -> bool) -> Vec<i16> {
        through_with(codec, original, lost, true)
    }

    fn through_with(codec: AudioCodec, original: &[i16], lost: fn(usize) -> bool, redundancy: bool) -> Vec<i16> {
        let mut encoder = Encoder::new(codec, OpusSettings::default());
        let mut decoder = Decoder::new(codec);
        let len = codec.rate().frame_len();
        let payloads: Vec<Vec<u8>> = original
            .chunks(len)
            .map(|frame| {
                let mut payload = vec![0; 700];
                let len = encoder.encode(frame, &mut payload);
                payload.truncate(len);
                assert_eq!(codec.duration(&payload), codec.clock_hz() / 50, "{codec:?}");
                payload
            })
            .collect();
        let mut heard = vec![];
        for (index, payload) in payloads.iter().enumerate() {
            let mut samples = vec![0; len];
            if lost(index) {
                let next = payloads.get(index + 1).filter(|_| redundancy).map(Vec::as_slice);
                decoder.conceal(next, &mut samples);
            } else {
                assert_eq!(decoder.decode(payload, &mut samples), len);
            }
            heard.extend(samples);
        }
        heard
    }

    /// At the delay at which both are most alike.
    fn best_snr(original: &[i16], got: &[i16]) -> f64 {
        let snr = |delay: usize| {
            let (mut signal, mut noise) = (0.0, 1e-9);
            for (a, b) in original.iter().zip(got.iter().skip(delay)).skip(2_000) {
                signal += f64::from(*a).powi(2);
                noise += (f64::from(*a) - f64::from(*b)).powi(2);
            }
            10.0 * (signal / noise).log10()
        };
        (0..200).map(snr).fold(f64::MIN, f64::max)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn voice(at: usize, rate: SampleRate) -> i16 {
        let phase = std::f64::consts::TAU * 140.0 * at as f64 / f64::from(rate.hz());
        let value = phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase + 1.0).sin();
        (5_000.0 * value) as i16
    }

    /// Voice whose pitch and loudness change, so that the past does not tell the future.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn syllables(at: usize, rate: SampleRate) -> i16 {
        let seconds = at as f64 / f64::from(rate.hz());
        let phase = std::f64::consts::TAU * (140.0 * seconds + 6.0 * (7.0 * seconds).sin());
        let loudness = (std::f64::consts::TAU * 2.1 * seconds).sin().abs();
        let value = phase.sin() + 0.5 * (2.0 * phase).sin() + 0.4 * (7.0 * phase + 1.0).sin();
        (5_000.0 * loudness * value) as i16
    }
}
