//! Hookswitch: one binary that is a SIP B2BUA, an RTP media server and a voice-agent runtime.
//!
//! ```text
//! events up >                                                route (a pure function: who may call whom)
//! socket -> transport -> transaction -> dialog -----------------> call
//!    ^          ^             ^           ^    < commands down     | ^
//!    +----------+-------------+-----------+------------------------+ |   bounded queues, joined in `server`
//!                                                                    v
//! socket -> srtp -> rtp -> jitter buffer -> codec -> media session <-------> agent (turn taking, speech, pathway)
//! ```
//!
//! Code depends towards the socket only; `tests/tidy.rs` holds the table of which module may name which. Everything but
//! `server`, `config` and the `sql`/`http` files of `platform` is a core: plain structs that take [`timer::Now`] and
//! inputs, and return outputs and a deadline. Cores build without the feature `server` and never see a socket, a
//! clock, a task, a lock or a channel.

pub mod identity;
pub mod limits;
pub mod timer;

pub mod rtp;
pub mod sdp;
pub mod sip;

pub mod auth;
pub mod call;
pub mod capture;
pub mod dialog;
pub mod locate;
pub mod registrar;
pub mod route;
pub mod transaction;
pub mod transport;

pub mod codec;
pub mod media;
pub mod srtp;
pub mod webrtc;

pub mod agent;

pub mod platform;

#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod server;
