//! The server against programs of other people, as Debian packages them: baresip as a telephone, Kamailio as the proxy in
//! front of it, sipsak as an operator's probe. `scripts/setup.sh run test` installs them.
//!
//! Every program runs on loopback, on ports of its own, with its files in a temporary directory.
#![cfg(feature = "server")]
#![expect(clippy::disallowed_methods, reason = "real programs are waited for on a real clock")]
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic, reason = "a test may fail anywhere")]
#![expect(clippy::print_stderr, reason = "a test that fails shows what the programs said")]
#![expect(clippy::indexing_slicing, reason = "a test may fail anywhere")]

#[path = "../black_box/carrier.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod carrier;
#[path = "../black_box/http_client.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod http_client;
#[path = "../black_box/rtp_peer.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rtp_peer;
#[path = "../black_box/server_process.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod server_process;
#[path = "../black_box/sip_phone.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sip_phone;

#[expect(dead_code, reason = "other tests use the rest")]
mod authority;
mod baresip;
mod codecs;
mod kamailio;
mod rtpengine;

mod conversations;
mod mixed;
mod probes;
mod proxied;
mod secured;
mod secured_media;
mod telephones;
