//! The voice agent: turn taking, speech, conversation and pathways, on media time.

pub mod provider;
