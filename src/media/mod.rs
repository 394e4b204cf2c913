//! The media cores, sans-IO, on media time: what arrives is ordered, decoded and handed out frame by frame; what is to be
//! said leaves on one clock.
//!
//! ```text
//! LegTransport -> handle_rtp -> latch -> reception -> jitter buffer -> decode -> conceal -> Tick::heard
//!                              \-> DTMF -> Tick::dtmf
//! play, clear -> playout queue -> encode -> poll_transmit -> LegTransport       (one packet every tick)
//! LegTransport -> handle_relayed -> latch -> reception -> forward of the other leg -> LegTransport   (nothing decoded)
//! ```

mod arrival;
pub mod audio_file;
mod control;
pub mod detect;
mod dtmf;
pub mod enhance;
pub mod hold_music;
mod incoming;
pub mod jitter_buffer;
mod latch;
mod leg_transport;
pub mod levels;
pub mod mixer;
mod outgoing;
pub mod player;
pub mod playout;
pub mod quality;
mod reception;
mod relay;
mod report;
mod session;
pub mod sounds;
pub mod tones;

pub use dtmf::DtmfEnded;
pub use latch::{Latching, host_behind_nat};
pub use leg_transport::{Browser, LegTransport};
pub use playout::{Played, PlayoutFrame, PlayoutFull};
pub use quality::Quality;
pub use relay::Relayed;
pub use report::{Aim, Dropped, Received, Remote, Report, Sent};
pub use session::{
    DtmfRefused, Heard, RemoteMedia, Session, SessionConfig, TelephoneEventFormat, Tick, Transmit, TransmitKind,
};

/// How often a leg sends and hears: every 20 ms.
pub const TICK: std::time::Duration = std::time::Duration::from_millis(20);
