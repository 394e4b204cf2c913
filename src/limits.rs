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

/// Datagrams that one system call receives from or sends to one socket.
pub const UDP_BATCH_DATAGRAMS_MAX: usize = 16;
/// Sockets that one wait of a media thread reports.
pub const EPOLL_EVENTS_MAX: usize = 256;
/// Orders that wait for a media thread; more are refused.
pub const MEDIA_ORDERS_MAX: usize = 1_024;
/// Legs of one media thread; more are refused.
pub const MEDIA_LEGS_PER_THREAD_MAX: usize = 10_000;
/// Ticks that wait for a leg's task; later ones are dropped and counted.
pub const LEG_TICKS_MAX: usize = 50;
/// Commands that wait for a leg; more are refused.
pub const LEG_COMMANDS_MAX: usize = 128;
/// Ticks that wait to be recorded; later ones are dropped and become silence.
pub const TAP_TICKS_MAX: usize = 100;
/// The longest recording; what follows is left out.
pub const RECORDING_SECONDS_MAX: u64 = 86_400;
/// Recordings at once; more are refused.
pub const RECORDINGS_MAX: usize = 1_000;
