//! The voice agent: turn taking, speech, conversation and pathways, on media time.

pub mod barge_in;
pub mod endpointing;
pub mod event;
pub mod pathway;
pub mod provider;
pub mod speech;
pub mod step;
pub mod turn_machine;
pub mod voice_activity;
