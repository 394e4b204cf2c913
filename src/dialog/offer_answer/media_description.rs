//! [`MediaDescription`]: what offer and answer agreed on, as a media session needs it.

use std::net::SocketAddr;

use crate::codec::{AudioCodec, OpusSettings};
use crate::srtp::Keys;
use crate::webrtc::Parameters;

/// What offer and answer agreed on. Each side names payload types for what it receives, and they need not be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// Where RTP goes. Unspecified while the peer holds us in the way of RFC 2543.
    pub rtp: SocketAddr,
    /// Where RTCP goes; the same as `rtp` if both share a port (RFC 5761).
    pub rtcp: SocketAddr,
    /// The codec, both ways.
    pub codec: AudioCodec,
    /// Its payload type in what we send.
    pub payload_type: u8,
    /// Its payload type in what we are sent.
    pub received_payload_type: u8,
    /// How the peer wants Opus, if it is that.
    pub opus: OpusSettings,
    /// The payload type of comfort noise in what we send, if silence may be left out.
    pub comfort_noise: Option<u8>,
    /// How digits are sent, if as telephone events.
    pub telephone_event: Option<TelephoneEvents>,
    /// How much audio a packet of ours holds, in milliseconds: what the peer asks for, as far as the codec has it.
    pub ptime_ms: u16,
    /// The longest packet that the peer takes, in milliseconds, if it says so (RFC 8866 §6.5).
    pub maxptime_ms: Option<u16>,
    /// The keys, if media are secured.
    pub keys: Option<Box<Keys>>,
    /// What agreed on ICE and DTLS, if the peer is a browser: then that finds out where media go.
    pub webrtc: Option<Box<Parameters>>,
    /// Whether we send.
    pub send: bool,
    /// Whether the peer sends.
    pub receive: bool,
}

/// How telephone events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvents {
    /// Their payload type in what we send.
    pub payload_type: u8,
    /// Their payload type in what we are sent.
    pub received_payload_type: u8,
    /// The rate at which their durations count, in hertz.
    pub clock_hz: u32,
}
