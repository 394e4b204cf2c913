//! What a leg hears beside speech: tones of the network and of machines, and who or what has answered.

pub mod answer;
pub mod call_progress;
mod phrases;
mod spectrum;

pub use answer::{Answer, AnswerConfig, AnswerDetector, AnswerEvidence, AnswerVerdict, Readiness};
pub use call_progress::{CallProgress, Detected, Detection, Evidence};
