//! Audio codecs, sample-rate conversion, comfort noise and concealment of lost audio.

mod audio_codec;
mod clip;
pub mod comfort_noise;
pub mod conceal;
mod decoder;
mod encoder;
mod frame;
pub mod g711;
pub mod g722;
mod half_band;
mod opus_packet;
mod resample;
mod transcoder;
pub mod waveform;

pub use audio_codec::AudioCodec;
pub use clip::{Clip, ClipRate, FrameMaker, WeakClip};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use frame::{Frame, SampleRate};
pub use opus_packet::OpusSettings;
pub use resample::{AtRate, Converter, Resampler, UnsupportedRate};
pub use transcoder::Transcoder;
