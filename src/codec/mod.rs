//! Audio codecs, sample-rate conversion and concealment of lost audio.

pub mod conceal;
mod frame;
pub mod g711;
mod resample;
pub mod waveform;

pub use frame::{Frame, SampleRate};
pub use resample::Resampler;

/// How a leg's audio is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl AudioCodec {
    /// The rate of the RTP timestamp, in hertz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    /// The rate of the decoded audio.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
        }
    }

    /// How much audio a payload holds, in units of the RTP timestamp.
    pub fn duration(self, payload: &[u8]) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => u32::try_from(payload.len()).unwrap_or(u32::MAX),
        }
    }

    /// Decodes a payload to the beginning of `samples` and returns how many it gave; what does not fit is left out.
    pub fn decode(self, payload: &[u8], samples: &mut [i16]) -> usize {
        match self {
            Self::Pcmu => g711::decode_ulaw(payload, samples),
            Self::Pcma => g711::decode_alaw(payload, samples),
        }
    }

    /// Encodes samples to the beginning of `payload` and returns its length; what does not fit is left out.
    pub fn encode(self, samples: &[i16], payload: &mut [u8]) -> usize {
        match self {
            Self::Pcmu => g711::encode_ulaw(samples, payload),
            Self::Pcma => g711::encode_alaw(samples, payload),
        }
    }
}
