//! Every bound of the program, on one page, with its unit last in its name. What happens at a bound is told by the doc
//! comment of the type that is bounded; a metric counts it.

// --- sip, sdp ---

/// A SIP message, start line to end of body; also what a stream may hold back before its message is complete.
pub const SIP_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Header lines of a SIP message.
pub const SIP_HEADER_COUNT_MAX: usize = 256;
/// One header line with its continuation lines, and the start line.
pub const SIP_HEADER_LINE_BYTES_MAX: usize = 8 * 1024;
/// Media descriptions of a session description.
pub const SDP_MEDIA_COUNT_MAX: usize = 32;
/// Attributes of a session description, those of its media included.
pub const SDP_ATTRIBUTE_COUNT_MAX: usize = 1_000;
/// Formats of one media description.
pub const SDP_FORMAT_COUNT_MAX: usize = 64;

// --- transport, transaction, dialog, call ---

// --- rtp, media ---

// --- agent, pathway ---

// --- speech and other providers ---

// --- journal, http, configuration ---

/// Calls that `[sip] max_calls` can allow.
pub const CALLS_CONFIGURED_MAX: u32 = 100_000;
/// Seconds of ringing that `[sip]` can ask for; RFC 3261 §16.6 gives up a proxied INVITE at about that time.
pub const RING_CONFIGURED_S_MAX: u32 = 180;
/// Bytes of `[sip] user_agent`.
pub const USER_AGENT_BYTES_MAX: usize = 100;
/// Seconds without media that `[rtp] inactivity_s` can allow.
pub const RTP_INACTIVITY_CONFIGURED_S_MAX: u32 = 86_400;
/// Bytes of an agent's name.
pub const AGENT_NAME_BYTES_MAX: usize = 64;
/// Bytes of a number in `[numbers]`.
pub const NUMBER_BYTES_MAX: usize = 64;
/// Seconds that an agent's `max_duration_s` can allow.
pub const CALL_DURATION_CONFIGURED_S_MAX: u32 = 86_400;
/// Bytes of one text that an agent is configured to say.
pub const SPOKEN_TEXT_CONFIGURED_BYTES_MAX: usize = 4_000;
/// Milliseconds that a model's `timeout_ms` can allow.
pub const MODEL_TIMEOUT_CONFIGURED_MS_MAX: u32 = 60_000;
/// Decoders that `[speech] decoders` can ask for.
pub const DECODERS_CONFIGURED_MAX: u32 = 256;
/// Milliseconds that `[speech] wait_ms` can allow.
pub const DECODER_WAIT_CONFIGURED_MS_MAX: u32 = 30_000;
/// Seconds that `[drain] limit_s` can allow.
pub const DRAIN_CONFIGURED_S_MAX: u32 = 86_400;

// --- server ---
