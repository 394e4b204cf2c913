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

/// TCP connections whose framing state is held.
pub const STREAMS_MAX: usize = 4_096;
/// How long a connection may leave a message unfinished.
pub const STREAM_STALL_MS_MAX: u64 = 32_000;
/// Transactions held, when the configuration names no other limit: those of 2,000 calls a second.
pub const TRANSACTIONS_MAX: usize = 160_000;
/// Transactions kept free for requests within dialogs, so that a flood of INVITEs does not keep calls from ending.
pub const TRANSACTIONS_IN_DIALOG_RESERVE: usize = 8_000;
/// Dialogs held, when the configuration names no other limit: those that end count until their last timer.
pub const DIALOGS_MAX: usize = 80_000;
/// Accepted INVITEs that wait for their ACK, when the configuration names no other limit.
pub const UNACKNOWLEDGED_MAX: usize = 4_000;
/// Calls held, when the configuration names no other limit.
pub const CALLS_MAX: usize = 5_000;
/// Answers of one forked INVITE that are acknowledged; the others are left to time out.
pub const FORKS_MAX: usize = 8;
/// Route entries a dialog takes from its peer.
pub const ROUTE_SET_MAX: usize = 16;
/// Header fields of an INVITE that are shown to the agent.
pub const CALL_HEADERS_MAX: usize = 32;
/// Bytes of one header field that are shown to the agent.
pub const CALL_HEADER_BYTES_MAX: usize = 512;
/// How long the media session of a call may take to open.
pub const MEDIA_OPEN_MS_MAX: u64 = 5_000;
/// How long a call may ring, in either direction.
pub const RING_MS_MAX: u64 = 180_000;
/// How often a call that rings on says so, so that no proxy forgets it.
pub const RING_AGAIN_MS: u64 = 60_000;
/// Attempts of one of our re-INVITEs while the peer answers 491.
pub const REINVITE_ATTEMPTS_MAX: u8 = 5;

// --- rtp, media ---

// --- agent, pathway ---

// --- speech and other providers ---

// --- journal, http, configuration ---

// --- server ---
