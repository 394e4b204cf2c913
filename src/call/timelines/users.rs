//! Who has to show a password: users to us (RFC 3261 §22.2), and we to those we call (§22.3).

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::{Peer, check, check_showing};
use crate::auth::{DigestAccount, DigestClient, DigestServerConfig, Exchange, Protected};
use crate::call::{CallsConfig, UsersConfig};
use crate::identity::{AccountId, Secret};
use crate::registrar::RegistrarConfig;
use crate::route::{Admission, Destination, Target, TrunkName};
use crate::sip::{HeaderName, Response};

/// The peer as a user.
pub(super) fn account(password: &str) -> DigestAccount {
    DigestAccount::new(vec!["ours".to_owned()], "100", Secret::new(password)).expect("plain names")
}

/// The header field of the peer that answers a challenge of ours.
pub(super) fn authorization(challenge: &Response, password: &str, method: &str) -> String {
    let mut client = DigestClient::new(account(password), ChaCha12Rng::seed_from_u64(5));
    let request = Protected { method, uri: "sip:100@192.0.2.1", body: b"" };
    let fields = client.handle_challenge(&mut Exchange::default(), challenge, request).expect("a challenge for us");
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Strangers may call if they are users.
fn users_only(config: &mut CallsConfig) {
    config.users = Some(UsersConfig {
        digest: DigestServerConfig::new("ours"),
        registrar: RegistrarConfig::default(),
        users: vec![(AccountId::default(), "100".to_owned(), Secret::new("secret"))],
        caller_ids: std::collections::BTreeMap::new(),
        plain_media: std::collections::BTreeSet::new(),
    });
    let admission = &mut config.listeners[0].1;
    *admission = Admission { unknown_sources: false, users: true, ..admission.clone() };
}

#[track_caller]
fn check_users(flow: &str) {
    let mut peer = Peer::new(users_only);
    let expected: Vec<_> = flow.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(peer.run(flow), expected);
    assert!(peer.calls.registrar().is_some_and(crate::registrar::Registrar::is_empty));
    let stats = peer.calls.credentials_stats().expect("there are users");
    assert_eq!((stats.granted, stats.wrong, stats.without_credentials), (1, 1, 1));
}

#[test]
fn telephones_register_with_their_password() {
    check_users(
        "
        0.000 < REGISTER
        0.000 > 401 REGISTER
        1.000 < REGISTER cseq=2 auth=guess
        1.000 > 401 REGISTER
        2.000 < REGISTER cseq=3 auth=secret h=Expires:60
        2.000 > 200 REGISTER
        2.000 ! registration Bound
        2.100 < REGISTER cseq=4 auth=secret h=Expires:60
        2.100 > 401 REGISTER
        62.000 ! registration Unbound",
    );
}

#[test]
fn a_user_is_called_where_it_is_registered() {
    check_users(
        "
        0.000 < order user=100
        0.000 # Offered
        0.000 ! ended Rejected Some(480) Local
        0.000 # Ended
        0.100 < REGISTER
        0.100 > 401 REGISTER
        1.000 < REGISTER cseq=2 auth=guess
        1.000 > 401 REGISTER
        2.000 < REGISTER cseq=3 auth=secret h=Expires:60
        2.000 > 200 REGISTER
        2.000 ! registration Bound
        3.000 < order user=100
        3.000 # Offered
        3.000 ! open-media
        3.010 < media-opened
        3.010 > INVITE sendrecv v1
        3.100 < 486
        3.100 > ACK
        3.100 ! close-media
        3.100 ! ended Rejected Some(486) Remote
        3.100 # Ended
        4.000 < order user=101
        4.000 # Offered
        4.000 ! ended Rejected Some(480) Local
        4.000 # Ended
        62.000 ! registration Unbound",
    );
}

#[test]
fn strangers_call_if_they_are_users() {
    check_users(
        "
        0.000 < INVITE
        0.000 > 401 INVITE
        0.010 < ACK hop branch=1
        0.100 < INVITE cseq=2 auth=guess
        0.100 > 401 INVITE
        0.110 < ACK hop branch=2
        0.200 < INVITE cseq=3 auth=secret
        0.200 # Offered
        0.200 ! open-media send receive
        0.200 ! start-agent demo
        0.200 > 180 INVITE
        0.200 # Ringing
        0.200 < media-opened
        0.200 > 200 INVITE sendrecv v1
        0.200 ! answered
        0.200 # Answered Pcmu
        0.300 < ACK cseq=3
        1.000 < BYE cseq=4
        1.000 > 200 BYE
        1.000 ! close-media
        1.000 ! ended HungUp None Remote
        1.000 # Ended",
    );
}

/// A user with two numbers of its own, who calls 100, which is out of the house.
fn with_caller_ids(config: &mut CallsConfig) {
    super::trunks::trunk(|it| it.caller_id = Some("+49301".to_owned()))(config);
    users_only(config);
    let own = ["+49305550", "+49305551"].map(str::to_owned).to_vec();
    if let Some(users) = &mut config.users {
        users.caller_ids.insert((AccountId::default(), "100".to_owned()), own);
    }
    let to = Destination::Trunk(TrunkName("acme".to_owned()), "+4940".to_owned());
    config.routes.insert_number("100", Target { account: AccountId::default(), to });
}

#[test]
fn a_user_calls_out_as_one_of_its_numbers() {
    for (says, shown) in [
        ("P-Preferred-Identity:<sip:+49305551@home.example>", "+49305551"),
        ("P-Preferred-Identity:<sip:+4930110@home.example>", "+49305550"),
        ("P-Asserted-Identity:<sip:+49305551@home.example>", "+49305550"),
    ] {
        let timeline = format!(
            "
        0.000 < start
        0.000 < INVITE
        0.000 > 401 INVITE
        0.010 < ACK hop branch=1
        0.100 < INVITE cseq=2 auth=secret h={says}
        0.100 # Offered
        0.100 ! open-media send receive
        0.100 < media-opened
        0.100 # Dialled
        0.100 ! open-media
        0.100 < media-opened
        1.000 < drain"
        );
        let mut peer = Peer::new(with_caller_ids);
        peer.run(&timeline);
        let from = peer.received["INVITE"].headers().from().uri().user().map(str::to_owned);
        assert_eq!(from.as_deref(), Some(shown), "{says}");
    }
}

#[test]
fn without_users_nobody_registers() {
    check(
        "
        0.000 < REGISTER
        0.000 > 405 REGISTER Allow",
    );
}

#[test]
fn challenged_requests_are_sent_again_with_credentials() {
    check_showing(
        &[HeaderName::CSeq],
        |_| (),
        "
        0.000 < place-with-credentials
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 CSeq:1 INVITE
        0.100 < 407 h=Proxy-Authenticate:Digest~realm=ours,nonce=a,qop=\"auth\"
        0.100 > ACK CSeq:1 ACK
        0.100 > INVITE sendrecv v1 CSeq:2 INVITE
        0.200 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=b,qop=\"auth\"
        0.200 > ACK CSeq:2 ACK
        0.200 > INVITE sendrecv v1 CSeq:3 INVITE
        0.300 < 200 sdp=sendrecv
        0.300 > ACK CSeq:3 ACK
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        1.000 < hold
        1.000 > INVITE sendonly v2 CSeq:4 INVITE
        1.100 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=c,qop=\"auth\",stale=true
        1.100 > ACK CSeq:4 ACK
        1.100 > INVITE sendonly v2 CSeq:5 INVITE
        1.200 < 200 sdp=recvonly
        1.200 > ACK CSeq:5 ACK
        1.200 ! update-media send
        2.000 < hang-up
        2.000 > BYE CSeq:6 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Local
        2.000 # Ended
        2.100 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=d,qop=\"auth\"
        2.100 > BYE CSeq:7 BYE
        2.200 < 200 method=BYE",
    );
}

#[test]
fn credentials_of_a_request_are_in_its_ack() {
    let mut peer = Peer::new(|_| ());
    peer.run(
        "
        0.000 < place-with-credentials
        0.000 < media-opened
        0.100 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=a
        0.200 < 200 sdp=sendrecv
        0.300 < hang-up
        0.400 < 200 method=BYE",
    );
    let shown = |method: &str| peer.received[method].headers().get(&HeaderName::Authorization).map(str::to_owned);
    assert!(shown("INVITE").is_some_and(|it| it.contains("username=\"100\"")));
    assert_eq!(shown("ACK"), shown("INVITE"));
    assert!(shown("BYE").is_some_and(|it| Some(it) != shown("INVITE")));
}

#[test]
fn calls_end_where_the_password_is_wrong_or_not_meant() {
    check(
        "
        0.000 < place-with-credentials
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.100 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=a
        0.100 > ACK
        0.100 > INVITE sendrecv v1
        0.200 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=b
        0.200 > ACK
        0.200 ! close-media
        0.200 ! ended Rejected Some(401) Remote
        0.200 # Ended",
    );
    for place in ["place-with-credentials", "place"] {
        let realm = if place == "place" { "ours" } else { "theirs" };
        check(&format!(
            "
            0.000 < {place}
            0.000 # Offered
            0.000 ! open-media
            0.000 < media-opened
            0.000 > INVITE sendrecv v1
            0.100 < 407 h=Proxy-Authenticate:Digest~realm={realm},nonce=a
            0.100 > ACK
            0.100 ! close-media
            0.100 ! ended Rejected Some(407) Remote
            0.100 # Ended"
        ));
    }
}

#[test]
fn a_challenged_transfer_is_asked_for_again() {
    check_showing(
        &[HeaderName::CSeq],
        |_| (),
        "
        0.000 < place-with-credentials
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1 CSeq:1 INVITE
        0.300 < 200 sdp=sendrecv
        0.300 > ACK CSeq:1 ACK
        0.300 ! update-media send receive
        0.300 ! answered
        0.300 # Answered Pcmu
        1.000 < transfer
        1.000 > REFER CSeq:2 REFER
        1.000 # TransferStarted
        1.100 < 401 method=REFER h=WWW-Authenticate:Digest~realm=ours,nonce=b
        1.100 > REFER CSeq:3 REFER
        1.200 < 202 method=REFER
        1.300 < NOTIFY cseq=1 h=Event:refer;id=3|Subscription-State:terminated body=message/sipfrag:SIP/2.0~200~OK
        1.300 > 200 NOTIFY CSeq:1 NOTIFY
        1.300 ! transferred Succeeded
        1.300 # Transferred
        2.000 < BYE cseq=2
        2.000 > 200 BYE CSeq:2 BYE
        2.000 ! close-media
        2.000 ! ended HungUp None Remote
        2.000 # Ended",
    );
}

#[test]
fn a_call_that_is_given_up_does_not_begin_again() {
    check(
        "
        0.000 < place-with-credentials
        0.000 # Offered
        0.000 ! open-media
        0.000 < media-opened
        0.000 > INVITE sendrecv v1
        0.050 < hang-up
        0.100 < 401 h=WWW-Authenticate:Digest~realm=ours,nonce=a
        0.100 > ACK
        0.100 ! close-media
        0.100 ! ended Cancelled Some(401) Local
        0.100 # Ended",
    );
}
