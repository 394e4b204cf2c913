//! [`Transcoder`]: from the payloads of any codec to those of any other.

use super::{AudioCodec, Converter, Decoder, Encoder, OpusSettings};

/// Decodes, converts the sample rate if it must, and encodes in packets of a length of its own. For streams whose packets
/// come in order; a lost one is told by [`Transcoder::lose`].
#[derive(Debug)]
pub struct Transcoder {
    decoder: Decoder,
    /// `None` if both codecs have the same rate.
    converter: Option<Converter>,
    encoder: Encoder,
    /// Decoded and not yet converted; unused without a converter.
    decoded: Vec<i16>,
    /// To be encoded.
    ready: Vec<i16>,
    /// Samples of one packet that leaves.
    packet_len: usize,
}

impl Transcoder {
    /// At the beginning of a stream; packets that leave are as near to `ptime_ms` as [`AudioCodec::ptime_ms`] allows.
    pub fn new(from: AudioCodec, to: AudioCodec, opus: OpusSettings, ptime_ms: u16) -> Self {
        let (from_rate, to_rate) = (from.rate(), to.rate());
        let converter = (from_rate != to_rate)
            .then(|| Converter::new(from_rate.hz(), to_rate.hz()).expect("every codec's rate is supported"));
        Self {
            decoder: Decoder::new(from),
            converter,
            encoder: Encoder::new(to, opus),
            decoded: Vec::with_capacity(2 * PACKET_LEN_MAX),
            ready: Vec::with_capacity(2 * PACKET_LEN_MAX),
            packet_len: to_rate.frame_len() * usize::from(to.ptime_ms(ptime_ms)) / 20,
        }
    }

    /// Takes the next payload; then drain [`Transcoder::poll`]. What is beyond 120 ms is left out.
    pub fn push(&mut self, payload: &[u8]) {
        let mut samples = [0; PACKET_LEN_MAX];
        let len = self.decoder.decode(payload, &mut samples);
        self.take(samples.get(..len).unwrap_or(&[]));
    }

    /// A packet of `samples` at the rate of the codec that comes in is lost; `next` is the one after it, if it is here.
    pub fn lose(&mut self, samples: usize, next: Option<&[u8]>) {
        let mut invented = [0; PACKET_LEN_MAX];
        if let Some(invented) = invented.get_mut(..samples.min(PACKET_LEN_MAX)) {
            self.decoder.conceal(next, invented);
            self.take(invented);
        }
    }

    /// Encodes the next packet to the beginning of `payload`: its length, 0 if it need not be sent; `None` if there is
    /// not enough audio for one.
    pub fn poll(&mut self, payload: &mut [u8]) -> Option<usize> {
        let len = self.encoder.encode(self.ready.get(..self.packet_len)?, payload);
        self.ready.drain(..self.packet_len);
        Some(len)
    }

    fn take(&mut self, samples: &[i16]) {
        let Some(converter) = &mut self.converter else {
            let room = (2 * PACKET_LEN_MAX).saturating_sub(self.ready.len());
            return self.ready.extend(samples.iter().take(room));
        };
        self.decoded.extend(samples);
        let pieces = self.decoded.chunks_exact(converter.input_len());
        let rest = pieces.remainder().len();
        for piece in pieces {
            let mut converted = [0; 480];
            converter.process(piece, &mut converted);
            let room = (2 * PACKET_LEN_MAX).saturating_sub(self.ready.len());
            self.ready.extend(converted.iter().take(converter.output_len().min(room)));
        }
        self.decoded.drain(..self.decoded.len() - rest);
    }
}

/// 120 ms at 16 kHz.
const PACKET_LEN_MAX: usize = 1_920;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_codec_becomes_any_other() {
        for from in AudioCodec::ALL {
            for to in AudioCodec::ALL {
                for ptime_ms in [10, 20, 30, 60] {
                    check(from, to, ptime_ms);
                }
            }
        }
    }

    #[test]
    fn what_is_not_drained_and_what_makes_no_sense_is_bounded() {
        for to in AudioCodec::ALL {
            let mut transcoder = Transcoder::new(AudioCodec::Pcmu, to, OpusSettings::default(), 20);
            for _ in 0..100 {
                transcoder.push(&[0x55; 1_400]);
                transcoder.push(&[]);
                transcoder.lose(usize::MAX, None);
            }
            assert!(transcoder.ready.len() <= 2 * PACKET_LEN_MAX && transcoder.decoded.len() <= PACKET_LEN_MAX);
        }
    }

    /// A tone of 400 Hz goes through, and comes out with its power and its pitch.
    #[track_caller]
    fn check(from: AudioCodec, to: AudioCodec, ptime_ms: u16) {
        let mut encoder = Encoder::new(from, OpusSettings::default());
        let mut decoder = Decoder::new(to);
        let mut transcoder = Transcoder::new(from, to, OpusSettings::default(), ptime_ms);
        let (mut heard, mut packets) = (vec![], 0);
        for index in 0..60 {
            let len = from.rate().frame_len();
            let samples: Vec<i16> = (index * len..(index + 1) * len).map(|at| tone(at, from.rate().hz())).collect();
            let mut payload = [0; 1_400];
            let len = encoder.encode(&samples, &mut payload);
            transcoder.push(&payload[..len]);
            while let Some(len) = transcoder.poll(&mut payload) {
                assert_eq!(to.duration(&payload[..len]), to.clock_hz() / 1_000 * u32::from(to.ptime_ms(ptime_ms)));
                let mut samples = [0; 1_920];
                let len = decoder.decode(&payload[..len], &mut samples);
                heard.extend_from_slice(&samples[..len]);
                packets += 1;
            }
        }
        let late_ms = 1_200 - packets * usize::from(to.ptime_ms(ptime_ms));
        assert!(late_ms < usize::from(to.ptime_ms(ptime_ms)), "{from:?} {to:?} {ptime_ms}: {late_ms} ms");
        let steady = &heard[heard.len() / 2..];
        let power = steady.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>()
            / f64::from(u32::try_from(steady.len()).unwrap());
        let crossings = steady.windows(2).filter(|it| it[0] < 0 && it[1] >= 0).count();
        let hz = crossings * usize::try_from(to.rate().hz()).unwrap() / steady.len();
        let level = power.sqrt() / (8_000.0 / 2_f64.sqrt());
        assert!((0.8..1.2).contains(&level) && (390..410).contains(&hz), "{from:?} {to:?} {ptime_ms}: {level} {hz} Hz");
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn tone(at: usize, hz: u32) -> i16 {
        (8_000.0 * (std::f64::consts::TAU * 400.0 * at as f64 / f64::from(hz)).sin()) as i16
    }
}
