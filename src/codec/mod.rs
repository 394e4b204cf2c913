//! Audio codecs and sample-rate conversion.

mod frame;

pub use frame::{Frame, SampleRate};
