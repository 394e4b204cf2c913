//! How audio is written in binary messages: raw samples of one channel, without a header, each message whole samples.

use bytes::Bytes;

use crate::codec::{SampleRate, g711};

/// The encoding of a session's audio, chosen in the query of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 16-bit signed little-endian samples.
    Linear16,
    /// G.711 µ-law, at 8 kHz only.
    Mulaw,
    /// G.711 A-law, at 8 kHz only.
    Alaw,
}

/// An encoding at a rate it exists at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    encoding: Encoding,
    rate: SampleRate,
}

impl AudioFormat {
    /// 16-bit samples at `rate`.
    pub const fn linear16(rate: SampleRate) -> Self {
        Self { encoding: Encoding::Linear16, rate }
    }

    /// G.711 µ-law.
    pub const MULAW: Self = Self { encoding: Encoding::Mulaw, rate: SampleRate::Hz8000 };

    /// G.711 A-law.
    pub const ALAW: Self = Self { encoding: Encoding::Alaw, rate: SampleRate::Hz8000 };

    /// Reads the values of the query's `encoding` and `rate`.
    ///
    /// # Errors
    ///
    /// A sentence for the peer if the two do not name a format.
    pub fn parse(encoding: &str, rate: &str) -> Result<Self, &'static str> {
        match (encoding, rate) {
            ("linear16", "8000") => Ok(Self::linear16(SampleRate::Hz8000)),
            ("linear16", "16000") => Ok(Self::linear16(SampleRate::Hz16000)),
            ("mulaw", "8000") => Ok(Self::MULAW),
            ("alaw", "8000") => Ok(Self::ALAW),
            ("mulaw" | "alaw", _) => Err("mulaw and alaw have a rate of 8000"),
            ("linear16", _) => Err("rate is 8000 or 16000"),
            (_, _) => Err("encoding is linear16, mulaw or alaw"),
        }
    }

    /// The query that [`Self::parse`] understands.
    pub fn query(self) -> String {
        let encoding = match self.encoding {
            Encoding::Linear16 => "linear16",
            Encoding::Mulaw => "mulaw",
            Encoding::Alaw => "alaw",
        };
        format!("encoding={encoding}&rate={}", self.rate.hz())
    }

    /// The rate.
    pub const fn rate(self) -> SampleRate {
        self.rate
    }

    /// Samples as a message.
    pub fn encode(self, samples: &[i16]) -> Bytes {
        match self.encoding {
            Encoding::Linear16 => samples.iter().flat_map(|it| it.to_le_bytes()).collect(),
            Encoding::Mulaw => companded(samples, g711::encode_ulaw),
            Encoding::Alaw => companded(samples, g711::encode_alaw),
        }
    }

    /// A message as samples; `None` if it ends within a sample.
    pub fn decode(self, message: &[u8]) -> Option<Vec<i16>> {
        match self.encoding {
            Encoding::Linear16 => {
                let (samples, rest) = message.as_chunks::<2>();
                rest.is_empty().then(|| samples.iter().map(|it| i16::from_le_bytes(*it)).collect())
            }
            Encoding::Mulaw => Some(expanded(message, g711::decode_ulaw)),
            Encoding::Alaw => Some(expanded(message, g711::decode_alaw)),
        }
    }
}

fn companded(samples: &[i16], encode: fn(&[i16], &mut [u8]) -> usize) -> Bytes {
    let mut payload = vec![0; samples.len()];
    let written = encode(samples, &mut payload);
    payload.truncate(written);
    payload.into()
}

fn expanded(message: &[u8], decode: fn(&[u8], &mut [i16]) -> usize) -> Vec<i16> {
    let mut samples = vec![0; message.len()];
    let written = decode(message, &mut samples);
    samples.truncate(written);
    samples
}

/// How long `samples` at `rate` last, in milliseconds, for positions in a session.
pub fn samples_to_ms(samples: u64, rate: SampleRate) -> u32 {
    u32::try_from(samples * 1_000 / u64::from(rate.hz())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_survives_every_format() {
        let samples: Vec<i16> = (0..160_i16).map(|it| it * 200 - 16_000).collect();
        for (query, tolerance) in [
            (("linear16", "8000"), 0),
            (("linear16", "16000"), 0),
            (("mulaw", "8000"), 1_024),
            (("alaw", "8000"), 1_024),
        ] {
            let format = AudioFormat::parse(query.0, query.1).unwrap();
            assert_eq!(format.query(), format!("encoding={}&rate={}", query.0, query.1));
            let back = format.decode(&format.encode(&samples)).unwrap();
            assert_eq!(back.len(), samples.len());
            for (from, to) in samples.iter().zip(&back) {
                assert!((i32::from(*from) - i32::from(*to)).abs() <= tolerance, "{query:?} {from} {to}");
            }
        }
        assert!(AudioFormat::linear16(SampleRate::Hz8000).decode(&[1, 2, 3]).is_none());
        assert!(AudioFormat::parse("mulaw", "16000").is_err() && AudioFormat::parse("opus", "8000").is_err());
    }
}
