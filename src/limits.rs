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

/// Characters in the text of one SPEAK.
pub const SPEECH_TEXT_CHARS_MAX: usize = 5_000;
/// SPEAK requests that one session may have outstanding.
pub const SPEECH_SPEAKS_MAX: usize = 32;
/// Phrases in one grammar.
pub const SPEECH_PHRASES_MAX: usize = 2_000;
/// Characters in one phrase of a grammar.
pub const SPEECH_PHRASE_CHARS_MAX: usize = 200;
/// Bytes in one websocket message of the speech protocol, in either direction.
pub const SPEECH_MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Audio bytes in one binary message: five seconds of 16-bit audio at 16 kHz.
pub const SPEECH_AUDIO_BYTES_MAX: usize = 160_000;
/// Longest stretch of audio one AUDIO-GAP may stand for.
pub const SPEECH_GAP_MS_MAX: u32 = 60_000;
/// Silence on the socket, pings included, after which the speech server ends a session.
pub const SPEECH_IDLE_MS_MAX: u64 = 60_000;
/// Interval at which a client pings, well below [`SPEECH_IDLE_MS_MAX`].
pub const SPEECH_KEEP_ALIVE_MS: u64 = 15_000;
/// Websocket sessions of the speech server, recognisers and synthesisers together.
pub const SPEECH_SESSIONS_MAX: usize = 1_024;
/// Messages between a session and its recogniser, each way.
pub const SPEECH_RECOGNISER_QUEUE_MAX: usize = 64;
/// Speech in one utterance before the recogniser ends it by itself.
pub const SPEECH_UTTERANCE_MS_MAX: u32 = 60_000;
/// Characters that are synthesised in one piece; longer sentences are cut.
pub const SPEECH_SENTENCE_CHARS_MAX: usize = 240;
/// Characters in one word given to the synthesiser; longer words are cut.
pub const SPEECH_WORD_CHARS_MAX: usize = 40;
/// Sentences that wait for the synthesis thread, of all sessions; each session has at most one.
pub const SPEECH_SYNTHESIS_QUEUE_MAX: usize = SPEECH_SESSIONS_MAX;
/// Commands that wait for a provider: five seconds of audio frames.
pub const PROVIDER_COMMANDS_MAX: usize = 250;
/// Events of a provider that wait for the agent.
pub const PROVIDER_EVENTS_MAX: usize = 256;
/// Messages that wait for a provider's socket.
pub const PROVIDER_OUTBOX_MAX: usize = 32;
/// Characters of a provider's error text that are kept.
pub const PROVIDER_REASON_CHARS_MAX: usize = 300;
/// Bytes in one line of a server-sent event stream.
pub const EVENT_STREAM_LINE_BYTES_MAX: usize = 256 * 1024;
/// Bytes in one event of a server-sent event stream.
pub const EVENT_STREAM_EVENT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a language model's answer that is not an event stream.
pub const MODEL_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of text in one generation; the generation fails beyond.
pub const MODEL_TEXT_BYTES_MAX: usize = 64 * 1024;

// --- journal, http, configuration ---

// --- server ---
