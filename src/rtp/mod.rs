//! RTP and RTCP packets: bytes to values and back, without state (RFC 3550, 3551, 4733, 5761).

mod extended_report;
pub mod packet;
pub mod rtcp;
pub mod telephone_event;

pub use extended_report::VoipMetrics;
pub use packet::{Header, Packet, PacketError};
pub use telephone_event::Digit;

/// The static payload type of G.711 µ-law at 8 kHz (RFC 3551 §6).
pub const PAYLOAD_TYPE_PCMU: u8 = 0;
/// The static payload type of G.711 A-law at 8 kHz (RFC 3551 §6).
pub const PAYLOAD_TYPE_PCMA: u8 = 8;
/// The static payload type of comfort noise at 8 kHz (RFC 3389 §4).
pub const PAYLOAD_TYPE_COMFORT_NOISE: u8 = 13;

/// How far `to` is ahead of `from`, both on a circle of 2^16: negative if it is behind.
pub const fn sequence_distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from).cast_signed()
}

/// How far `to` is ahead of `from`, both on a circle of 2^32: negative if it is behind.
pub const fn timestamp_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}
