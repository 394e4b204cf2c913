//! Tones: making them, and finding them in audio.

pub mod call_tones;
pub mod dtmf;
pub mod generator;
pub(super) mod goertzel;
pub mod relay;
#[cfg(test)]
pub(super) mod synthetic;

pub use dtmf::{DtmfToneDetector, DtmfToneEvent};
pub use generator::{Piece, ToneGenerator};
