//! What a leg hears beside speech: tones of the network and of machines, music on hold, and who or what has
//! answered.

pub mod answer;
pub mod call_progress;
pub mod music;
mod phrases;
mod spectrum;

pub use answer::{Answer, AnswerConfig, AnswerDetector, AnswerEvidence, AnswerVerdict, Readiness};
pub use call_progress::{CallProgress, Detected, Detection, Evidence};
pub use music::{MusicDetector, MusicEvidence, MusicVerdict};
