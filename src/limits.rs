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

/// Synthesised audio that an agent keeps unplayed; what exceeds it is dropped.
pub const AGENT_SPEECH_MS_MAX: u32 = 60_000;
/// Utterances that an agent has queued; more are refused.
pub const AGENT_UTTERANCES_MAX: usize = 64;
/// The longest text of one utterance; the rest is cut off at a character.
pub const AGENT_UTTERANCE_CHARS_MAX: usize = 2_000;
/// Word times kept of one utterance.
pub const AGENT_UTTERANCE_WORDS_MAX: usize = 1_000;
/// Frames that an agent has in its leg's playout queue at a time: what a barge-in may have to empty.
pub const AGENT_LEG_FRAMES_MAX: u32 = 10;
/// Frames of silence that stand in for ticks that were missed; beyond it only the clock advances.
pub const AGENT_MISSED_FRAMES_MAX: u32 = 250;
/// Recognised text of one turn of the caller; the rest is cut off.
pub const AGENT_TURN_CHARS_MAX: usize = 4_000;
/// Outputs of an agent waiting to be drained. Audio beyond it is dropped, and everything but the hang-up beyond twice as
/// many, so that only an owner that does not drain loses any.
pub const AGENT_OUTPUTS_MAX: usize = 4_096;
/// Steps of an agent that wait for what is being said; more are dropped.
pub const AGENT_STEPS_MAX: usize = 512;
/// Keys collected before they are taken as an input.
pub const AGENT_DIGITS_MAX: usize = 64;
/// Entries of a conversation's history; the oldest make room.
pub const CONVERSATION_ENTRIES_MAX: usize = 400;
/// Text of a conversation's history; the oldest entries make room.
pub const CONVERSATION_CHARS_MAX: usize = 48_000;
/// Text that a language model may generate for one turn; the generation is cancelled beyond it.
pub const MODEL_TEXT_CHARS_MAX: usize = 8_000;
/// A pathway's file.
pub const PATHWAY_BYTES_MAX: usize = 1 << 20;
/// Nodes of a pathway.
pub const PATHWAY_NODES_MAX: usize = 500;
/// Phrases and keywords of one pathway, with those that slots expand to.
pub const PATHWAY_PHRASES_MAX: usize = 5_000;
/// Nodes that one input may run through; a pathway that does not wait by then hangs up.
pub const PATHWAY_STEPS_MAX: usize = 64;
/// Variables of one call; more are not set.
pub const PATHWAY_VARIABLES_MAX: usize = 200;
/// The value of one variable; the rest is cut off.
pub const PATHWAY_VARIABLE_CHARS_MAX: usize = 1_000;

// --- speech and other providers ---

// --- journal, http, configuration ---

// --- server ---
