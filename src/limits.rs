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

// --- server ---
