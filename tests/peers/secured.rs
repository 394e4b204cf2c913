//! baresip with SRTP, whose implementation is its own: keys in the signalling (RFC 4568), demanded or offered.

use std::time::Duration;

use crate::authority::Secured;
use crate::baresip::{Account, Baresip};
use crate::server_process::Server;
use crate::telephones::{USERS, hang_up_and_be_hung_up};

/// `RTP/SAVP` only.
#[test]
fn a_telephone_that_demands_srtp_hears_and_is_heard() {
    calls_secured("srtp-mand");
}

/// `RTP/AVP` with keys.
#[test]
fn a_telephone_that_offers_srtp_hears_and_is_heard() {
    calls_secured("srtp");
}

/// TLS, with SRTP: nothing is told to who listens.
#[test]
fn a_telephone_on_tls_holds_and_hangs_up_without_keys_in_clear() {
    let mut keys = USERS.to_vec();
    keys.extend([("MEDIA__SRTP", "required"), ("MEDIA__SRTP_KEYS_IN_CLEAR", "false")]);
    let mut secured = Secured::start(&keys);
    let account = Account::new("alice", secured.tls, "tls");
    let account = Account { parameters: ";mediaenc=srtp-mand", authority: Some(&secured.authority), ..account };
    let mut telephone = Baresip::start(&account);
    telephone.is_registered();
    secured.server.sip = secured.tls;
    hang_up_and_be_hung_up(&secured.server, &mut telephone, ";transport=tls");

    // The same telephone over UDP would tell its keys to everyone.
    let mut telephone = Baresip::start(&Account { server: secured.plain, transport: "udp", ..account });
    telephone.order("dial", &format!("sip:100@{}", secured.plain));
    let closed = telephone.event("CALL_CLOSED");
    assert!(closed["param"].as_str().unwrap_or_default().contains("488"), "{closed}");
}

#[track_caller]
fn calls_secured(encryption: &str) {
    let server = Server::start(&USERS);
    let mut telephone = alice(&server, &format!(";mediaenc={encryption}"));
    hang_up_and_be_hung_up(&server, &mut telephone, "");
    let metrics = server.metrics();
    let packets = |what: &str| metrics.value(&format!("hookswitch_rtp_packets_total{{what=\"{what}\"}}")).unwrap();
    assert!(packets("in") > 50.0 && packets("out") > 50.0);
    assert_eq!((packets("unauthenticated"), packets("replayed")), (0.0, 0.0));
    let log = telephone.log();
    assert!(log.contains("secure"), "{log}");
}

#[test]
fn policies_are_kept() {
    for (policy, encryption, is_taken) in [
        ("off", ";mediaenc=srtp-mand", false),
        ("required", "", false),
        ("required", ";mediaenc=srtp-mand", true),
        ("preferred", "", true),
    ] {
        let mut keys = USERS.to_vec();
        keys.push(("MEDIA__SRTP", policy));
        let server = Server::start(&keys);
        let before = server.metrics();
        let mut telephone = alice(&server, encryption);
        telephone.order("dial", &format!("sip:100@{}", server.sip));
        let event = telephone.event(if is_taken { "CALL_ESTABLISHED" } else { "CALL_CLOSED" });
        if is_taken {
            telephone.order("hangup", "");
        } else {
            assert!(event["param"].as_str().unwrap_or_default().contains("488"), "{policy} {encryption}: {event}");
        }
        server.settles(&before, Duration::from_secs(20));
    }
}

fn alice(server: &Server, parameters: &str) -> Baresip {
    Baresip::start(&Account { parameters, ..Account::new("alice", server.sip, "udp") })
}
