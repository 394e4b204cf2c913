//! Every bound of the program, on one page, with its unit last in its name. What happens at a bound is told by the doc
//! comment of the type that is bounded; a metric counts it.

use std::time::Duration;

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

// --- auth, registrar ---

/// How long a nonce of ours may be used.
pub const NONCE_S_MAX: u64 = 300;
/// Nonces whose use is remembered; beyond it the oldest becomes stale.
pub const NONCES_MAX: usize = 65_536;
/// Wrong credentials that one source may show within [`AUTH_FAILURES_S`]; then it is not listened to until that is over.
pub const AUTH_FAILURES_MAX: u32 = 30;
/// The time in which wrong credentials are counted, in seconds.
pub const AUTH_FAILURES_S: u64 = 60;
/// Sources whose wrong credentials are counted; beyond it the one that began first is forgotten.
pub const AUTH_SOURCES_MAX: usize = 10_000;
/// Realms for which a client remembers a nonce; beyond it the oldest is forgotten.
pub const AUTH_REALMS_MAX: usize = 8;
/// Challenges of one response that are looked at.
pub const CHALLENGES_MAX: usize = 16;
/// Bindings of one user; a new one takes the place of the one that was refreshed longest ago.
pub const BINDINGS_PER_USER_MAX: usize = 10;
/// Bindings of all users, when the configuration names no other limit; a new one beyond is answered 503.
pub const BINDINGS_MAX: usize = 50_000;
/// Bytes of one Contact of a binding; a longer one is refused.
pub const BINDING_CONTACT_BYTES_MAX: usize = 1_024;
/// Hops of one Path; a longer one is refused.
pub const PATH_HOPS_MAX: usize = 8;
/// Times in a row that a registration asks for the interval that a registrar wants (423).
pub const REGISTRATION_INTERVALS_MAX: u8 = 3;

// --- locate, trunks ---

/// Searches for servers under way; one more fails.
pub const LOCATES_MAX: usize = 2_000;
/// Answers of name servers that are remembered; beyond it the one that expires first is forgotten.
pub const DNS_CACHE_ENTRIES_MAX: usize = 4_096;
/// An answer holds at least so long, in seconds, whatever it says: a TTL of 0 would cost a question for every call.
pub const DNS_TTL_S_MIN: u64 = 5;
/// An answer holds at most so long, in seconds.
pub const DNS_TTL_S_MAX: u64 = 86_400;
/// That there are no records is believed at most so long, in seconds.
pub const DNS_NEGATIVE_S_MAX: u64 = 300;
/// And so long if the answer does not say, in seconds.
pub const DNS_NEGATIVE_S_DEFAULT: u64 = 60;
/// After a question that was not answered the next one like it is asked, in seconds.
pub const DNS_FAILED_S: u64 = 10;
/// Questions to the name server that are under way.
pub const DNS_QUESTIONS_MAX: usize = 64;
/// How long one attempt to ask the name server may take, in seconds.
pub const DNS_TRY_S_MAX: u64 = 2;
/// How long an answer may take, all attempts together, in seconds.
pub const DNS_ANSWER_S_MAX: u64 = 5;
/// How long after its time an answer stands in for one that does not come, in seconds.
pub const DNS_STALE_S_MAX: u64 = 86_400;
/// How long the address is believed from which this machine reaches another, in seconds.
pub const DNS_ROUTE_S: u64 = 30;
/// Servers of one target; further ones are left out.
pub const HOPS_MAX: usize = 16;
/// Services of a NAPTR set that are used, the preferred ones.
pub const NAPTR_SERVICES_MAX: usize = 4;
/// Servers of an SRV set that are used, those with the lowest priority.
pub const SRV_SERVERS_MAX: usize = 16;
/// How long a server that failed rests at first, in seconds; twice as long each time that it fails again.
pub const HOP_REST_S_MIN: u64 = 15;
/// How long a server that failed rests at most, in seconds.
pub const HOP_REST_S_MAX: u64 = 300;
/// How long a server rests at most that asks for it itself (Retry-After), in seconds.
pub const HOP_RETRY_AFTER_S_MAX: u64 = 3_600;
/// Servers whose rest is remembered; beyond it the one whose rest ends first may be tried again.
pub const RESTING_HOPS_MAX: usize = 1_024;

/// After so long without any answer an INVITE goes to the next server as well, when the configuration names no other time.
pub const NEXT_HOP_AFTER_MS: u64 = 4_000;
/// How often the servers of a trunk are looked for anew, in seconds, at most.
pub const TRUNK_REFRESH_S: u64 = 60;
/// After so long the servers of a trunk are looked for again if none were found, in seconds.
pub const TRUNK_RETRY_S: u64 = 15;
/// How long a server of a trunk may take to answer OPTIONS, in milliseconds.
pub const TRUNK_OPTIONS_MS_MAX: u64 = 4_000;
/// Gateways of one trunk.
pub const TRUNK_GATEWAYS_MAX: usize = 16;

// --- transport, transaction, dialog, call ---

/// TCP connections whose framing state is held.
pub const STREAMS_MAX: usize = 4_096;
/// How long a connection may leave a message unfinished.
pub const STREAM_STALL_MS_MAX: u64 = 32_000;
/// A connection of ours on which nothing came for so long is pinged (RFC 5626 §4.4.1).
pub const STREAM_PING_MS: u64 = 95_000;
/// How often a telephone that registers a flow over a connection keeps that alive, at least, in seconds: its Flow-Timer
/// (RFC 5626 §4.4).
pub const FLOW_TIMER_S: u32 = 120;
/// How much longer than that nothing may come on it, in seconds.
pub const FLOW_GRACE_S: u64 = 15;
/// How long the answer to a ping may take.
pub const STREAM_PONG_MS_MAX: u64 = 10_000;
/// Names that are kept of a peer's certificate.
pub const PEER_NAMES_MAX: usize = 100;
/// A request of ours over UDP that is larger goes over TCP where it may: RFC 3261 §18.1.1, for a path whose MTU is not
/// known.
pub const UDP_REQUEST_BYTES_MAX: usize = 1_300;
/// How long a peer that did not take TCP gets large requests over UDP at once.
pub const TCP_REFUSED_S: u64 = 600;
/// Peers that are remembered for that; beyond it the one that is due first is forgotten.
pub const TCP_REFUSED_MAX: usize = 1_024;
/// Sources whose rates are held, by rate; those beyond share buckets.
pub const SOURCES_HELD_MAX: usize = 65_536;
/// Buckets that the sources beyond share.
pub const SOURCES_CROWD_BUCKETS: usize = 1_024;
/// Sources that are remembered as known; beyond it the one that was heard of longest ago is forgotten.
pub const SOURCES_KNOWN_MAX: usize = 65_536;
/// How long a source that had a request admitted is known.
pub const SOURCE_KNOWN_S: u64 = 3_600;
/// Messages a second of one source, unless the configuration says otherwise.
pub const SOURCE_MESSAGES_PER_S: u32 = 4_000;
/// Requests a second of one source that is not known, unless the configuration says otherwise.
pub const UNKNOWN_SOURCE_REQUESTS_PER_S: u32 = 40;
/// Connections a second that one source may open, unless the configuration says otherwise.
pub const SOURCE_CONNECTIONS_PER_S: u32 = 20;
/// What a source may send or open at once, as a multiple of what it may in a second.
pub const SOURCE_BURST_S: u32 = 5;
/// The highest rate that `[sip.limits]` can allow.
pub const SOURCE_RATE_CONFIGURED_MAX: u32 = 1_000_000;
/// Networks of `[sip.limits] exempt`.
pub const EXEMPT_NETWORKS_MAX: usize = 256;
/// Transactions held, when the configuration names no other limit: those of 3,600 calls a second.
pub const TRANSACTIONS_MAX: usize = 240_000;
/// Transactions kept free for requests within dialogs, so that a flood of INVITEs does not keep calls from ending.
pub const TRANSACTIONS_IN_DIALOG_RESERVE: usize = 8_000;
/// Dialogs held, when the configuration names no other limit: those that end count until their last timer.
pub const DIALOGS_MAX: usize = 120_000;
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
/// Levels of the index of an entry of History-Info (RFC 7044).
pub const HISTORY_LEVELS_MAX: usize = 16;
/// Entries of History-Info that are carried on.
pub const HISTORY_ENTRIES_MAX: usize = 16;
/// Redirections (3xx) that one call follows.
pub const REDIRECTS_MAX: usize = 5;
/// Addresses of one redirection that are looked at.
pub const REDIRECT_TARGETS_MAX: usize = 8;
/// Frames of 20 ms that wait on a bridged leg; what comes beyond is left out, so that no delay builds up.
pub const BRIDGE_FRAMES_MAX: u16 = 4;
/// Legs of one call at a time.
pub const CALL_LEGS_MAX: usize = 16;
/// Places where a user is registered that are called at once.
pub const CALL_FORKS_MAX: usize = 8;
/// How long a peer that had its partner transferred may take to hang up before we do.
pub const TRANSFER_LEAVE_MS: u64 = 4_000;
/// How long the media session of a call may take to open.
pub const MEDIA_OPEN_MS_MAX: u64 = 5_000;
/// How long a call may ring, in either direction.
pub const RING_MS_MAX: u64 = 180_000;
/// How often a call that rings on says so, so that no proxy forgets it.
pub const RING_AGAIN_MS: u64 = 60_000;
/// How long a transfer may take until its outcome is told, in either direction.
pub const TRANSFER_MS_MAX: u64 = 180_000;
/// The shortest session interval that a peer can make us keep, in seconds.
pub const SESSION_INTERVAL_S_MIN: u32 = 20;
/// The longest session interval, in seconds.
pub const SESSION_INTERVAL_S_MAX: u32 = 86_400;
/// INVITEs of one call that are sent because the one before was refused with 422.
pub const INTERVAL_ATTEMPTS_MAX: u8 = 3;
/// How long a re-INVITE of ours may be left without a final response before its call ends.
pub const REINVITE_MS_MAX: u64 = 64_000;
/// Attempts of one of our re-INVITEs while the peer answers 491.
pub const REINVITE_ATTEMPTS_MAX: u8 = 5;

// --- capture ---

/// Captured messages that wait to be sorted; more are dropped and counted.
pub const CAPTURE_QUEUE_MESSAGES_MAX: usize = 16_384;
/// Packets that wait to be written to a collector over TCP; further ones are dropped and counted.
pub const HEP_QUEUE_PACKETS_MAX: usize = 4_096;
/// How long captured messages wait for others before they are worked off together.
pub const CAPTURE_BATCH: Duration = Duration::from_millis(20);
/// Bytes of one call's messages that are kept, when the configuration names no other limit.
pub const CAPTURE_CALL_BYTES_MAX: usize = 64 * 1024;
/// Messages of one call that are kept.
pub const CAPTURE_CALL_MESSAGES_MAX: u32 = 500;
/// Bytes of messages that wait to be stored.
pub const CAPTURE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls whose messages are followed.
pub const CAPTURE_CALLS_MAX: usize = 200_000;
/// How long messages of a call wait for those that follow, before they are stored together.
pub const CAPTURE_SETTLE_MS: u64 = 1_000;
/// How long messages belong to a call that is over: all copies of a BYE have gone out by then (RFC 3261 §17.1.2).
pub const CAPTURE_LINGER_MS: u64 = 33_000;
/// INVITEs that are kept before it is known whose they are.
pub const CAPTURE_UNKNOWN_MAX: usize = 1_024;
/// Messages kept with each of them.
pub const CAPTURE_UNKNOWN_MESSAGES_MAX: usize = 8;
/// How long they are kept.
pub const CAPTURE_UNKNOWN_MS: u64 = 5_000;
/// Parts of ladders that wait for the journal's writer; more are dropped and counted.
pub const LADDERS_QUEUED_MAX: usize = 2_048;
/// Parts of one call's ladder that are read.
pub const LADDER_PARTS_MAX: u32 = 1_000;
/// Parts of ladders that are deleted at a time because they are too old.
pub const LADDERS_EXPIRED_MAX: u32 = 2_000;

// --- srtp ---

/// SSRCs under one key and in one direction; the one that has been silent for longest gives way to a new one.
pub const SRTP_STREAMS_MAX: usize = 16;
/// How often the sequence numbers of a peer may have wrapped before it talks to us: in a day of 20 ms packets.
pub const SRTP_ROLLOVERS_SOUGHT_MAX: u16 = 66;
/// Packets of such a peer of which that is looked for; later ones are taken to have wrapped once at most.
pub const SRTP_SEARCHES_MAX: u8 = 100;
/// How long packets under the key before the current one are still taken, in milliseconds.
pub const SRTP_OLD_KEY_MS: u64 = 2_000;
/// Bytes of a master key identifier; a key with a longer one is not used.
pub const SRTP_MKI_BYTES_MAX: usize = 128;

// --- webrtc ---

/// Addresses from which one browser has proved to be there; the oldest is forgotten.
pub const WEBRTC_ADDRESSES_MAX: usize = 8;
/// Streams of one browser; packets of more are dropped.
pub const WEBRTC_STREAMS_MAX: usize = 4;
/// Datagrams and packets of one browser that wait for the next tick; more are dropped.
pub const WEBRTC_DATAGRAMS_MAX: usize = 32;

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
/// Things that wait to be played by one player; more are refused.
pub const PLAYER_ITEMS_MAX: usize = 64;
/// Frames of a stream that wait to be played; more are refused.
pub const PLAYER_STREAM_FRAMES_MAX: usize = 500;
/// Marks in one thing that is played; more are left out.
pub const PLAYER_MARKS_MAX: usize = 256;
/// Events of a player that wait to be drained; the oldest give way.
pub const PLAYER_EVENTS_MAX: usize = 1_024;
/// Frames of a stream that are there before it goes on, once it has been late.
pub const PLAYER_STREAM_REFILL_FRAMES: usize = 15;
/// Audio in one clip; what is beyond is cut off.
pub const CLIP_SECONDS_MAX: u32 = 3_600;
/// Samples of a file that are decoded for a clip, at the rate of the file: an hour at 16 kHz, 22 minutes at 44.1.
pub const CLIP_DECODED_SAMPLES_MAX: usize = 60 << 20;
/// Members of one mix; more are refused.
pub const MIXER_MEMBERS_MAX: usize = 256;
/// Members of one conference room, whatever its configuration says: a mix has places for the room itself and its
/// recorder besides. Mixing them takes less than one of the 20 ms of a tick (docs/measurements.md).
pub const ROOM_MEMBERS_MAX: usize = 200;
/// Digits of a room's PIN.
pub const ROOM_PIN_DIGITS_MAX: usize = 16;
/// Attempts at a room's PIN in one call; after the last one the call is ended.
pub const ROOM_PIN_ATTEMPTS_MAX: u8 = 3;
/// Wrong PINs of one room in [`ROOM_WRONG_PINS_S`], in all calls together; then nobody who has to press one gets in for the
/// rest of that time.
pub const ROOM_WRONG_PINS_MAX: u32 = 30;
/// For how long wrong PINs of a room are counted, from the first one, in seconds.
pub const ROOM_WRONG_PINS_S: u32 = 600;
/// How long is waited for the next digit of a PIN, in ticks of 20 ms; then what was pressed is judged.
pub const ROOM_PIN_WAIT_TICKS: u32 = 400;
/// Recordings of one room that wait for it to be empty; a further one is not begun.
pub const ROOM_RECORDINGS_MAX: usize = 16;
/// Digits that wait to be sent to one leg; more are refused.
pub const DTMF_DIGITS_MAX: usize = 32;
/// Digits that wait to be told to one peer by INFO; more are dropped.
pub const INFO_DIGITS_MAX: usize = 32;
/// The shortest digit sent.
pub const DTMF_DIGIT_MS_MIN: u16 = 40;
/// The longest digit sent.
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
pub const AGENT_LEG_FRAMES_MAX: u32 = 20;
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
/// Phrases and keywords of one pathway, with those that slots expand to: as many as one grammar of the speech protocol
/// takes, so that a pathway that loads is one whose calls can be recognised.
pub const PATHWAY_PHRASES_MAX: usize = SPEECH_PHRASES_MAX;
/// Nodes that one input may run through; a pathway that does not wait by then hangs up.
pub const PATHWAY_STEPS_MAX: usize = 64;
/// Variables of one call; more are not set.
pub const PATHWAY_VARIABLES_MAX: usize = 200;
/// The value of one variable; the rest is cut off.
pub const PATHWAY_VARIABLE_CHARS_MAX: usize = 1_000;

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
/// What a websocket of the speech protocol reads at a time. It is cleared before each look at the socket, with and without
/// a message there, so it is not larger than a few messages of audio; a larger message takes several reads.
pub const SPEECH_READ_BYTES: usize = 4 * 1024;
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
/// Messages of a client that the speech server reads before its recogniser has taken them: ten seconds of audio.
pub const SPEECH_READ_AHEAD_MAX: usize = 500;
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
/// How long the providers of a call are not connected to while there is nothing to tell them.
pub const PROVIDER_IDLE_MS_MAX: u64 = 100;
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

/// Events that wait for the journal's writer. A checkpoint of SQLite takes a fifth of a second, in which 2,500 calls a second
/// leave some 3,000.
pub const JOURNAL_QUEUE_EVENTS_MAX: usize = 32_768;
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
/// Requests with wrong API keys that are told so in a second; the others are told that they are too many.
pub const API_FAILURES_PER_SECOND_MAX: u32 = 20;
/// Bytes of an API key; a longer one is wrong.
pub const API_KEY_BYTES_MAX: usize = 256;
/// Bytes of an API key that is configured, at least.
pub const API_KEY_BYTES_MIN: usize = 16;
/// Bytes of one call's SIP messages that may be kept, at least and at most.
pub const CAPTURE_CONFIGURED_BYTES: std::ops::RangeInclusive<u32> = 1_024..=10_485_760;
/// Days that SIP messages may be kept.
pub const CAPTURE_KEEP_DAYS_MAX: u32 = 3_650;
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
/// Bytes of `[sip] realm`.
pub const REALM_BYTES_MAX: usize = 100;
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
/// Days that `[recordings] keep_days` can ask for.
pub const RECORDING_KEEP_CONFIGURED_DAYS_MAX: u32 = 36_500;
/// Decoders that `[speech] decoders` can ask for.
pub const DECODERS_CONFIGURED_MAX: u32 = 256;
/// Milliseconds that `[speech] wait_ms` can allow.
pub const DECODER_WAIT_CONFIGURED_MS_MAX: u32 = 30_000;
/// Seconds that `[drain] limit_s` can allow.
pub const DRAIN_CONFIGURED_S_MAX: u32 = 86_400;

// --- server ---

/// Digits that a request may have sent at once.
pub const LIVE_DIGITS_MAX: usize = 32;

/// UDP ports for media unless the configuration says otherwise: outside the range that the kernel gives to other programs.
pub const RTP_PORTS_DEFAULT: std::ops::RangeInclusive<u16> = 16_384..=32_767;

/// Datagrams that one system call receives from or sends to one socket.
pub const UDP_BATCH_DATAGRAMS_MAX: usize = 64;
/// Sockets that one wait of a media thread reports.
pub const EPOLL_EVENTS_MAX: usize = 256;
/// Hosts that are known to use one media address for several legs; more are found out about anew.
pub const AMBIGUOUS_HOSTS_MAX: usize = 256;
/// Packets that came back as ICMP errors, to be counted in one turn of a media thread, for each socket.
pub const MEDIA_REFUSALS_PER_TURN_MAX: usize = 16;
/// Orders that wait for a media thread; more are refused.
pub const MEDIA_ORDERS_MAX: usize = 1_024;
/// Legs of one media thread; more are refused.
pub const MEDIA_LEGS_PER_THREAD_MAX: usize = 8_000;
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
/// Audio in one recording's file: what the header of a WAV file can say, less a megabyte. What follows is left out.
pub const RECORDING_BYTES_MAX: u64 = (1 << 32) - (1 << 20);
/// Things that are played or wait to be, by order from outside, in one call; more are refused.
pub const LIVE_PLAYS_MAX: usize = 32;
/// Steps of what is played that wait to be written down; what finds no room waits with the leg.
pub const LIVE_PLAY_STEPS_MAX: usize = 256;
/// Marks of one thing that is played again and again that are told; those after that are not.
pub const LIVE_PLAY_MARKS_MAX: u32 = 1_000;
/// Characters of what names a sound.
pub const LIVE_SOUND_CHARS_MAX: usize = 2_000;
/// Characters of the name of a mark.
pub const MARK_CHARS_MAX: usize = 64;
/// How often something may be played.
pub const LIVE_PLAY_TIMES_MAX: u32 = 100_000;
/// Bytes of a file that is played.
pub const CLIP_BYTES_MAX: usize = 32 << 20;
/// How long a file whose length its server does not tell may take to be there as a whole; then it is played as it comes.
pub const STREAM_PATIENCE: Duration = Duration::from_millis(800);
/// Bytes of such a file after which it is not waited for any longer.
pub const STREAM_HEAD_BYTES: usize = 512 << 10;
/// Frames of a stream that are decoded ahead; its server waits meanwhile.
pub const STREAM_FRAMES_MAX: usize = 150;
/// Frames of a stream that are there before it is played.
pub const STREAM_FRAMES_AHEAD: u64 = 25;
/// Bytes of a stream in which there has to be enough audio to begin with.
pub const STREAM_SILENT_BYTES_MAX: usize = 2 << 20;
/// For so long a stream may bring nothing; then it is over.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Streams that are played at a time, by all calls; more are refused.
pub const AUDIO_STREAMS_MAX: usize = 256;
/// How long fetching a file that is played may take.
pub const CLIP_FETCH_MAX: Duration = Duration::from_secs(15);
/// The most that may be configured for it.
pub const CLIP_FETCH_CONFIGURED_S_MAX: u32 = 300;
/// Files that are fetched and decoded at a time; others wait.
pub const CLIP_FETCHES_MAX: usize = 8;
/// Files whose audio is shared by those who play them; of others each has its own.
pub const CLIPS_SHARED_MAX: usize = 1_024;
/// Uploads of recordings at a time; others wait on the disk.
pub const RECORDING_UPLOADS_MAX: usize = 4;
/// A larger recording is uploaded in parts of so many bytes. A bucket takes 10,000 parts of at least 5 MiB.
pub const RECORDING_UPLOAD_PART_BYTES: usize = 8 << 20;
/// Datagrams, segments and connection events that wait for the SIP worker.
pub const SIP_INPUTS_MAX: usize = 8_192;
/// How long the SIP worker works on what waits before it looks at its commands and deadlines, and lets others work.
pub const SIP_TURN_MAX: Duration = Duration::from_millis(4);
/// INVITEs that begin a call and wait for the SIP worker while there is anything else for it; further ones are dropped.
pub const SIP_NEW_CALLS_MAX: usize = 4_096;
/// How long such an INVITE may wait; then it is answered 503. Less than T1, after which its sender would repeat it.
pub const SIP_NEW_CALL_WAIT_MS_MAX: u64 = 400;
/// How long it should wait at most: so many are refused that the others do not wait for longer.
pub const SIP_NEW_CALL_WAIT_MS: u64 = 40;
/// How often it is found out how many these are.
pub const SIP_INTAKE_MS: u64 = 20;
/// How long they may wait for longer than that before any are refused: a burst is worked off.
pub const SIP_BURST_MS: u64 = 160;
/// When none has come for so long, all are served again.
pub const SIP_REST_MS: u64 = 1_000;
/// Refused INVITEs that are remembered so that their copies are refused, too; when there are as many again, these are
/// forgotten.
pub const SHED_INVITES_MAX: usize = 65_536;
/// How long they are remembered at least: 64*T1, for which a client repeats an INVITE.
pub const SHED_S: u64 = 32;
/// Datagrams that are read from a socket before others get their turn.
pub const SIP_DATAGRAMS_PER_TURN_MAX: usize = 2_048;
/// Orders that wait for the SIP worker; who gives one waits for room.
pub const SIP_COMMANDS_MAX: usize = 1_024;
/// How old the SIP worker's status may be when somebody looks, in milliseconds.
pub const SIP_STATUS_MS: u64 = 50;
/// The kernel's receive buffer of a SIP socket: a burst of INVITEs while the worker is busy.
pub const SIP_UDP_RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Calls that wait for an actor; further ones are refused with 503.
pub const NEW_CALLS_MAX: usize = 1_024;
/// Signals that wait for a call's actor; one that takes no more has hung, and its call ends.
pub const CALL_SIGNALS_MAX: usize = 32;
/// How long the end of a call waits for its media thread, in seconds.
pub const CALL_CLOSE_S_MAX: u64 = 2;
/// Events that wait for one who watches the calls; the oldest give way.
pub const CALL_LOG_WATCHED_EVENTS_MAX: usize = 1_024;
/// Inactive legs that wait to be told to the SIP worker.
pub const MEDIA_EVENTS_MAX: usize = 1_024;
/// How long a key that an agent presses sounds, in milliseconds.
pub const DTMF_SENT_MS: u16 = 160;
/// Open SIP connections, unless the configuration names fewer; further ones are closed at once.
pub const TCP_CONNECTIONS_MAX: usize = 4_096;
/// Open SIP connections of one source, unless the configuration says otherwise; further ones are closed at once.
pub const TCP_CONNECTIONS_PER_SOURCE_MAX: usize = 256;
/// Bytes read from a SIP connection at once.
pub const TCP_SEGMENT_BYTES_MAX: usize = 16 << 10;
/// Messages that wait to be written to a SIP connection; beyond that the connection is closed.
pub const TCP_WRITE_QUEUE_MESSAGES_MAX: usize = 256;
/// Messages that wait for a SIP connection to be opened; further ones are dropped.
pub const TCP_CONNECTING_MESSAGES_MAX: usize = 32;
/// How long opening a SIP connection may take, in seconds: two repetitions of its first packet.
pub const TCP_CONNECT_S_MAX: u64 = 4;
/// How long a TLS handshake and the opening of a websocket may take, both together, in seconds.
pub const SIP_HANDSHAKE_S_MAX: u64 = 10;
/// A connection whose peer says nothing at all is closed, in seconds.
pub const TCP_FIRST_BYTE_S_MAX: u64 = 60;
/// A websocket on which nothing came for so long is pinged, in seconds.
pub const WEBSOCKET_PING_S: u64 = 30;
/// How long the answer to a websocket's ping may take, in seconds.
pub const WEBSOCKET_PONG_S_MAX: u64 = 10;
/// How often the files of TLS are looked at, in seconds.
pub const TLS_RELOAD_S: u64 = 30;
/// Addresses for which is remembered who is expected there over TLS; beyond it the one that was expected longest ago is
/// forgotten.
pub const TLS_PEERS_MAX: usize = 1_024;
/// Names that one address can be expected to have.
pub const TLS_NAMES_PER_ADDRESS_MAX: usize = 64;
/// How long a name is expected at an address after it was last looked up there, in seconds.
pub const TLS_EXPECTED_S: u64 = 3_600;
/// How long a peer may take to read one message, in seconds.
pub const TCP_WRITE_S_MAX: u64 = 10;
/// A SIP connection on which nothing came for so long is closed, in seconds.
pub const TCP_IDLE_S_MAX: u64 = 1_800;
/// How long connecting to a provider may take, in milliseconds.
pub const PROVIDER_CONNECT_MS_MAX: u64 = 3_000;
