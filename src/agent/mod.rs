//! The voice agent: turn taking, speech, conversation and pathways, on media time.
//!
//! ```text
//! caller's audio -> voice_activity -> turn_machine (endpointing, barge_in) --turn--> mind: pathway | language_model
//!        \-> recogniser ----words----^          |                                      |
//!                                               v interrupt                            v steps
//!           leg <----frames---- speech (queued, played, heard) <----audio---- synthesiser
//! ```
//!
//! [`Agent`] joins the parts. It is a core: it is told what happened and says what to do, and never waits. What the caller
//! *heard* is computed from what the leg reports as sent, and only that enters the conversation.

pub mod barge_in;
pub mod config;
pub mod conversation;
pub mod endpointing;
pub mod event;
pub mod language_model;
pub mod latency;
mod mind;
pub mod pathway;
pub mod provider;
pub mod sentence;
pub mod speech;
pub mod step;
pub mod turn_machine;
pub mod voice_activity;
mod voice_agent;

pub use config::{
    AgentConfig, AgentTimes, AnsweredBy, Apology, CallContext, FirstMessage, MindConfig, OnMachine, Sound,
};
pub use event::{Event, HangUpReason, Output, RecordingOrder, Service, Speaker, Tick, TurnLatency};
pub use language_model::ModelConfig;
pub use turn_machine::{TurnState, TurnTaking};
pub use voice_agent::{Agent, Counts};
