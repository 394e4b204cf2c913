//! The server seen from outside: the real binary on loopback, through its sockets, its files and its exit status.
//!
//! Each test starts a server of its own ([`server_process`]) and calls it with a phone of a few lines that knows nothing
//! of the server's code ([`sip_phone`], [`rtp_peer`]). Waiting is always waiting for a message, with a limit.
#![cfg(feature = "server")]
#![expect(clippy::disallowed_methods, reason = "a real server is waited for on a real clock")]
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic, reason = "a test may fail anywhere")]
#![expect(clippy::print_stderr, reason = "a test that fails shows what the server said")]
#![expect(clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod carrier;
mod certificates;
mod coded_voice;
mod credentials;
mod cut_off_recordings;
mod http_client;
mod journal;
mod leg_reports;
mod listening;
mod name_server;
mod rtp_peer;
mod rtp_stream;
mod server_process;
mod sip_phone;
mod speech_engine;

mod bridged_media;
mod bridged_sounds;
mod bucket;
mod bucket_parts;
mod call_ladders;
mod caller_ids;
mod calls_at_once;
mod closing_connections;
mod connection_limits;
mod consents;
mod crash;
mod described_api;
mod drain;
mod early_changes;
mod enhanced_callers;
mod event_clocks;
mod hold;
mod hostile_bodies;
mod hostile_descriptions;
mod hostile_media;
mod hostile_messages;
mod hostile_sources;
mod keys_by_info;
mod keys_told_twice;
mod live_calls;
mod live_plays;
mod lost_callers;
mod media_strangers;
mod neighbours;
mod next_nonces;
mod odd_streams;
mod open_files;
mod overload;
mod packet_lengths;
mod paths;
mod playing;
mod quiet_peers;
mod recordings;
mod redirections;
mod registered_trunks;
mod registrars;
mod releases;
mod reused_connections;
mod rooms;
mod secure_streams;
mod several_flows;
mod shared_media;
mod shared_srtp;
mod silent_callers;
mod speech_failures;
mod starting;
mod streams;
mod supervision;
mod tone_peer;
mod trunk_media;
mod trunks;
mod unreachable;
mod websockets;
mod what_answers;
mod who_answers;
