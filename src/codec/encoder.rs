//! [`Encoder`]: samples to payloads, with whatever a codec remembers from packet to packet.

use opus::{Application, Bandwidth, Bitrate, Channels, Signal};

use super::{AudioCodec, OpusSettings, SampleRate, g711, g722};

/// Encodes one stream.
pub struct Encoder {
    codec: AudioCodec,
    state: State,
}

enum State {
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
    L16,
    /// Opus could not be had: it has no memory.
    Broken,
}

impl Encoder {
    /// At the beginning of a stream. `opus` says how Opus is sent, if it is that.
    pub fn new(codec: AudioCodec, opus: OpusSettings) -> Self {
        let state = match codec {
            AudioCodec::Pcmu => State::Pcmu,
            AudioCodec::Pcma => State::Pcma,
            AudioCodec::G722 => State::G722(Box::default()),
            AudioCodec::Opus => opus_encoder(opus).map_or(State::Broken, State::Opus),
            AudioCodec::L16(_) => State::L16,
        };
        Self { codec, state }
    }

    /// What it encodes.
    pub const fn codec(&self) -> AudioCodec {
        self.codec
    }

    /// Prepares for so many packets in a hundred to be lost, if the codec can.
    pub fn expect_loss(&mut self, percent: u8) {
        if let State::Opus(encoder) = &mut self.state {
            // A share of a hundred is always taken.
            encoder.set_packet_loss_perc(i32::from(percent.min(100))).unwrap_or(());
        }
    }

    /// Encodes the next samples, at [`AudioCodec::rate`], to the beginning of `payload` and returns its length; what does
    /// not fit is left out. Opus takes 10, 20, 40 or 60 ms. Zero if the codec has nothing to send: silence that is left
    /// out, or samples that it cannot take.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        match &mut self.state {
            State::Pcmu => g711::encode_ulaw(samples, payload),
            State::Pcma => g711::encode_alaw(samples, payload),
            State::G722(encoder) => encoder.encode(samples, payload),
            State::Opus(encoder) => match encoder.encode(samples, payload) {
                // RFC 7587 §3.1.3: what is no longer than its first byte and a length need not be sent.
                Ok(..=2) | Err(_) => 0,
                Ok(len) => len,
            },
            State::L16 => {
                let mut len = 0;
                for (to, from) in payload.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
                    *to = from.to_be_bytes();
                    len += 2;
                }
                len
            }
            State::Broken => 0,
        }
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?})", self.codec)
    }
}

/// Complexity 5 sounds nearly as good as 10 at two thirds of the time.
fn opus_encoder(settings: OpusSettings) -> Result<opus::Encoder, opus::Error> {
    let mut encoder = opus::Encoder::new(SampleRate::Hz16000.hz(), Channels::Mono, Application::Voip)?;
    encoder.set_complexity(5)?;
    encoder.set_signal(Signal::Voice)?;
    encoder.set_bitrate(Bitrate::Bits(i32::try_from(settings.bit_rate).unwrap_or(i32::MAX)))?;
    encoder.set_vbr(!settings.constant_bit_rate)?;
    encoder.set_dtx(settings.discontinuous)?;
    encoder.set_inband_fec(settings.forward_error_correction)?;
    encoder.set_packet_loss_perc(if settings.forward_error_correction { 10 } else { 0 })?;
    encoder.set_max_bandwidth(if settings.narrow_band { Bandwidth::Narrowband } else { Bandwidth::Wideband })?;
    Ok(encoder)
}
