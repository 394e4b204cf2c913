//! Every bound of the program, on one page, with its unit last in its name. What happens at a bound is told by the doc
//! comment of the type that is bounded; a metric counts it.

use std::time::Duration;

// --- sip, sdp ---

// --- transport, transaction, dialog, call ---

// --- rtp, media ---

// --- agent, pathway ---

// --- speech and other providers ---

// --- journal, http, configuration ---

/// Events that wait for the journal's writer.
pub const JOURNAL_QUEUE_EVENTS_MAX: usize = 8_192;
/// Places of that queue that only events which end a call may take.
pub const JOURNAL_QUEUE_RESERVED_EVENTS: usize = 1_024;
/// How long an event waits for a place in that queue.
pub const JOURNAL_APPEND_WAIT_MAX: Duration = Duration::from_millis(200);
/// Events of one transaction.
pub const JOURNAL_BATCH_EVENTS_MAX: usize = 1_000;
/// How long a transaction waits for more events.
pub const JOURNAL_BATCH_MAX: Duration = Duration::from_millis(20);
/// The longest pause between attempts to write a transaction, the first being a tenth of a second and each twice the
/// one before; then its events are lost.
pub const JOURNAL_RETRY_MAX: Duration = Duration::from_millis(1_600);
/// Events of one call; only its end goes beyond.
pub const JOURNAL_CALL_EVENTS_MAX: u32 = 50_000;
/// Connections that read the journal.
pub const JOURNAL_READERS_MAX: u32 = 4;
/// Calls on one page of a list.
pub const LIST_CALLS_MAX: u32 = 100;
/// Rows of one family on `/metrics`.
pub const METRIC_SERIES_MAX: usize = 1_000;
/// HTTP connections at a time; more are closed at once.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// How long an HTTP client may take to send the head of a request, or stay silent between requests.
pub const HTTP_HEAD_MAX: Duration = Duration::from_secs(10);
/// How long an HTTP request may take to be answered.
pub const HTTP_REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long an HTTP connection may serve requests, one after the other.
pub const HTTP_CONNECTION_MAX: Duration = Duration::from_secs(300);
/// Bytes of an HTTP request's line and headers.
pub const HTTP_HEAD_BYTES_MAX: usize = 16_384;
/// Headers of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of an HTTP request's URI.
pub const HTTP_URI_BYTES_MAX: usize = 4_096;
/// Bytes of an HTTP request's body.
pub const HTTP_BODY_BYTES_MAX: usize = 65_536;

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
