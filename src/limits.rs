//! Every bound of the program, on one page, with its unit last in its name. What happens at a bound is told by the doc
//! comment of the type that is bounded; a metric counts it.

// --- sip, sdp ---

// --- transport, transaction, dialog, call ---

// --- rtp, media ---

/// An RTP or RTCP datagram that is longer is dropped.
pub const RTP_DATAGRAM_BYTES_MAX: usize = 1_500;
/// Audio in one RTP packet; a packet with more is dropped.
pub const RTP_PACKET_AUDIO_MS_MAX: u32 = 120;
/// Packets that wait in a jitter buffer; the oldest give way.
pub const JITTER_PACKETS_MAX: usize = 64;
/// The least delay that a jitter buffer aims at.
pub const JITTER_TARGET_MS_MIN: u32 = 20;
/// The most delay that a jitter buffer aims at.
pub const JITTER_TARGET_MS_MAX: u32 = 200;
/// A jitter buffer that has come to delay audio by more skips to its target at once.
pub const JITTER_DELAY_MS_MAX: u32 = 500;
/// Frames that wait to be played to one leg; more are refused.
pub const PLAYOUT_FRAMES_MAX: usize = 50;
/// Digits that wait to be sent to one leg; more are refused.
pub const DTMF_DIGITS_MAX: usize = 32;
/// The shortest digit sent.
pub const DTMF_DIGIT_MS_MIN: u16 = 40;
/// The longest digit sent: its duration still fits 16 bits at 8 kHz.
pub const DTMF_DIGIT_MS_MAX: u16 = 6_000;

// --- agent, pathway ---

// --- speech and other providers ---

// --- journal, http, configuration ---

// --- server ---
