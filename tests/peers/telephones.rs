//! baresip as a telephone of a user: it registers, calls the agent, holds, goes on and hangs up.

use std::time::Duration;

use crate::baresip::{Account, Baresip, PASSWORD, TONE_HZ, rms, share_of_tone};
use crate::server_process::Server;

/// Keys of a server with two users.
pub(crate) const USERS: [(&str, &str); 3] =
    [("SIP__OPEN", "false"), ("USERS__ALICE__PASSWORD", PASSWORD), ("USERS__BOB__PASSWORD", PASSWORD)];

#[test]
fn a_telephone_on_udp_calls_holds_and_hangs_up() {
    calls_holds_and_hangs_up("udp");
}

#[test]
fn a_telephone_on_tcp_calls_holds_and_hangs_up() {
    calls_holds_and_hangs_up("tcp");
}

fn calls_holds_and_hangs_up(transport: &str) {
    let server = Server::start(&USERS);
    let mut telephone = alice(&server, transport);
    telephone.is_registered();
    hang_up_and_be_hung_up(&server, &mut telephone, &format!(";transport={transport}"));
}

/// Two calls: one that is held, taken back and ended by the telephone, and one that the agent ends when it has spoken.
#[track_caller]
pub(crate) fn hang_up_and_be_hung_up(server: &Server, telephone: &mut Baresip, parameters: &str) {
    let before = server.metrics();
    telephone.order("dial", &format!("sip:100@{}{parameters}", server.sip));
    telephone.event("CALL_ESTABLISHED");
    telephone.event("CALL_RTCP");
    telephone.order("hold", "");
    telephone.event("CALL_REMOTE_SDP");
    telephone.order("resume", "");
    telephone.event("CALL_REMOTE_SDP");
    telephone.order("hangup", "");
    server.settles(&before, Duration::from_secs(20));

    telephone.order("dial", &format!("sip:200@{}{parameters}", server.sip));
    telephone.event("CALL_ESTABLISHED");
    telephone.event("CALL_CLOSED");
    server.settles(&before, Duration::from_secs(20));
    let heard = telephone.heard();
    assert!(rms(&heard) > 0.01, "nothing to hear in {} samples", heard.len());
    assert!(share_of_tone(&heard, TONE_HZ) < 0.1, "it hears itself");
}

#[test]
fn a_telephone_with_a_wrong_password_calls_nobody() {
    let server = Server::start(&[USERS[0], ("USERS__ALICE__PASSWORD", "another")]);
    let mut telephone = alice(&server, "udp");
    telephone.order("dial", &format!("sip:100@{}", server.sip));
    let closed = telephone.event("CALL_CLOSED");
    let reason = closed["param"].as_str().unwrap_or_default();
    assert!(["401", "403"].iter().any(|it| reason.contains(it)), "{closed}");
    assert!(!telephone.log().contains("200 OK"), "{}", telephone.log());
}

fn alice(server: &Server, transport: &str) -> Baresip {
    Baresip::start(&Account::new("alice", server.sip, transport))
}
