//! Those who are called and point elsewhere: RFC 3261 §8.1.3.4, RFC 7044.

use super::parties::{check, check_with};
use crate::call::{CallsConfig, Redirects, TrunkConfig};
use crate::identity::AccountId;
use crate::route::{Destination, Target, TrunkName};
use crate::sip::HeaderName;

fn follow(config: &mut CallsConfig) {
    config.redirects = Redirects::Followed;
}

#[test]
fn nobody_is_followed_unless_that_is_wanted() {
    check(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 302 h=Contact:<sip:c@192.0.2.12>
        0.010 > b ACK
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected
        0.010 > a 480 INVITE
        0.010 ! close-media 0
        0.010 ! ended Rejected Some(480) Remote
        0.010 # Ended
        0.020 < a ACK hop",
    );
}

#[test]
fn the_preferred_address_is_called_first_and_the_others_after_it() {
    check_with(
        follow,
        &[HeaderName::HistoryInfo],
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1 History-Info:<sip:300@192.0.2.1:5060>;index=1 History-Info:<sip:b@192.0.2.11:5060>;index=1.1;mp=1
        0.010 < b 302 contact=none h=Contact:<sip:d@192.0.2.13>;q=0.2,<sip:c@192.0.2.12>;q=0.7,<mailto:x@example>
        0.010 > b ACK
        0.010 # Redirected 1 sip:c@192.0.2.12
        0.010 # Redirected 1 sip:d@192.0.2.13
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected
        0.010 # Dialled 2
        0.010 ! open-media 2
        0.010 > c INVITE sendrecv v1 History-Info:<sip:300@192.0.2.1:5060>;index=1 History-Info:<sip:b@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1 History-Info:<sip:c@192.0.2.12>;index=1.1.1;mp=1.1
        0.020 < c 486
        0.020 > c ACK
        0.020 ! close-media 2
        0.020 # LegEnded 2 Rejected
        0.020 # Dialled 3
        0.020 ! open-media 3
        0.020 > d INVITE sendrecv v1 History-Info:<sip:300@192.0.2.1:5060>;index=1 History-Info:<sip:b@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1 History-Info:<sip:d@192.0.2.13>;index=1.1.2;mp=1.1
        0.030 < d 200 sdp=sendrecv
        0.030 > d ACK
        0.030 # LegAnswered 3
        0.030 ! update-media 3 192.0.2.13 send receive
        0.030 ! bridge 0 3
        0.030 # Bridged 0 3
        0.030 > a 200 INVITE sendrecv v1
        0.030 ! answered 0
        0.030 # Answered
        0.040 < a ACK
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 3
        9.000 ! close-media 0
        9.000 > d BYE
        9.000 ! close-media 3
        9.000 # LegEnded 3 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < d 200 method=BYE",
    );
}

#[test]
fn circles_and_ways_back_to_us_end() {
    check_with(
        follow,
        &[],
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 302 contact=none h=Contact:<sip:c@192.0.2.12>,<sip:b@192.0.2.11:5060>,<sip:300@192.0.2.1>
        0.010 > b ACK
        0.010 # Redirected 1 sip:c@192.0.2.12
        0.010 # Redirected 1 sip:300@192.0.2.1
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected
        0.010 # Dialled 2
        0.010 ! open-media 2
        0.010 > c INVITE sendrecv v1
        0.020 < c 301 contact=none h=Contact:<sip:b@192.0.2.11:5060>
        0.020 > c ACK
        0.020 ! close-media 2
        0.020 # LegEnded 2 Rejected
        0.020 > a 480 INVITE
        0.020 ! close-media 0
        0.020 ! ended Rejected Some(480) Remote
        0.020 # Ended
        0.030 < a ACK hop",
    );
}

#[test]
fn no_more_are_called_than_may_be() {
    let contacts: Vec<_> = (0..9).map(|it| format!("<sip:{it}@192.0.2.12>")).collect();
    let mut timeline = format!(
        "
        0.000 < a INVITE to=300
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 300 contact=none h=Contact:{}
        0.010 > b ACK
        0.010 # Redirected 1 sip:0@192.0.2.12
        0.010 # Redirected 1 sip:1@192.0.2.12
        0.010 # Redirected 1 sip:2@192.0.2.12
        0.010 # Redirected 1 sip:3@192.0.2.12
        0.010 # Redirected 1 sip:4@192.0.2.12
        0.010 ! close-media 1
        0.010 # LegEnded 1 Rejected",
        contacts.join(",")
    );
    for leg in 2..=6 {
        let (called, refused) = (format!("0.{:02}0", leg - 1), format!("0.{leg:02}0"));
        timeline += &format!(
            "
            {called} # Dialled {leg}
            {called} ! open-media {leg}
            {called} > c INVITE sendrecv v1
            {refused} < c 480
            {refused} > c ACK
            {refused} ! close-media {leg}
            {refused} # LegEnded {leg} Rejected"
        );
    }
    timeline += "
        0.060 > a 480 INVITE
        0.060 ! close-media 0
        0.060 ! ended Rejected Some(480) Remote
        0.060 # Ended
        0.070 < a ACK hop";
    check_with(follow, &[], &timeline);
}

#[test]
fn a_user_is_followed_to_whom_it_could_call_itself() {
    check_with(
        |config| {
            follow(config);
            let user = Target { account: AccountId::default(), to: Destination::User("100".to_owned()) };
            config.routes.insert_number("600", user);
        },
        &[HeaderName::HistoryInfo],
        "
        0.000 < c REGISTER
        0.000 > c 401 REGISTER
        0.000 > c 200 REGISTER
        1.000 < a INVITE to=600
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > c INVITE sendrecv v1 History-Info:<sip:600@192.0.2.1:5060>;index=1 History-Info:<sip:c@192.0.2.12:5060>;index=1.1;mp=1
        1.010 < c 302 contact=none h=Contact:<sip:900@192.0.2.13>,<sip:300@elsewhere.example>
        1.010 > c ACK
        1.010 # Redirected 1 sip:b@192.0.2.11:5060
        1.010 ! close-media 1
        1.010 # LegEnded 1 Rejected
        1.010 # Dialled 2
        1.010 ! open-media 2
        1.010 > b INVITE sendrecv v1 History-Info:<sip:600@192.0.2.1:5060>;index=1 History-Info:<sip:100@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1 History-Info:<sip:b@192.0.2.11:5060>;index=1.1.1;mp=1.1
        1.020 < b 603
        1.020 > b ACK
        1.020 ! close-media 2
        1.020 # LegEnded 2 Rejected
        1.020 > a 603 INVITE
        1.020 ! close-media 0
        1.020 ! ended Rejected Some(603) Remote
        1.020 # Ended
        1.030 < a ACK hop",
    );
}

fn trunk(name: &str, host: &str, redirects: Redirects) -> TrunkConfig {
    let domain: crate::sip::Uri = format!("sip:{host}").parse().expect("a URI");
    let realms = vec!["carrier".to_owned()];
    let secret = crate::identity::Secret::new("secret");
    TrunkConfig {
        name: TrunkName(name.to_owned()),
        account: AccountId::default(),
        gateways: vec![domain.clone()],
        domain: Some(domain),
        proxy: None,
        transport: None,
        username: Some("us".to_owned()),
        credentials: crate::auth::DigestAccount::new(realms, "us", secret).ok(),
        register_s: None,
        sources: vec![],
        admission: crate::call::TrunkAdmission::default(),
        caller_id: None,
        ping_every: None,
        redirects,
        capabilities: None,
    }
}

pub(super) fn carriers(redirects: Redirects) -> impl FnOnce(&mut CallsConfig) {
    move |config| {
        config.trunks = vec![trunk("one", "b.example", redirects), trunk("two", "c.example", Redirects::Refused)];
        let to = Destination::Trunk(TrunkName("one".to_owned()), "+4930".to_owned());
        config.routes.insert_number("700", Target { account: AccountId::default(), to });
        let to = Destination::Uri("sip:+4940@d.example".parse().expect("a URI"));
        config.routes.insert_number("800", Target { account: AccountId::default(), to });
    }
}

#[test]
fn a_number_over_a_trunk() {
    check_with(
        carriers(Redirects::Refused),
        &[HeaderName::From, HeaderName::To, HeaderName::CSeq],
        "
        1.000 < a INVITE to=700
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > b INVITE sendrecv v1 From:\"a\" <sip:a@192.0.2.1:5060> To:<sip:+4930@b.example> CSeq:1 INVITE
        1.010 < b 407 h=Proxy-Authenticate:Digest~realm=carrier,nonce=a,qop=\"auth\"
        1.010 > b ACK From:\"a\" <sip:a@192.0.2.1:5060> To:<sip:+4930@b.example> CSeq:1 ACK
        1.010 > b INVITE sendrecv v1 From:\"a\" <sip:a@192.0.2.1:5060> To:<sip:+4930@b.example> CSeq:2 INVITE
        1.020 < b 302 contact=none h=Contact:<sip:+4931@b.example>
        1.020 > b ACK From:\"a\" <sip:a@192.0.2.1:5060> To:<sip:+4930@b.example> CSeq:2 ACK
        1.020 ! close-media 1
        1.020 # LegEnded 1 Rejected
        1.020 > a 480 INVITE From:\"a\" <sip:a@elsewhere.example> To:<sip:700@192.0.2.1> CSeq:1 INVITE
        1.020 ! close-media 0
        1.020 ! ended Rejected Some(480) Remote
        1.020 # Ended
        1.030 < a ACK hop
        9.000 < drain",
    );
}

#[test]
fn a_trunk_that_is_followed_gets_its_credentials_and_nobody_else() {
    check_with(
        carriers(Redirects::Followed),
        &[HeaderName::To, HeaderName::ProxyAuthorization],
        "
        1.000 < a INVITE to=700
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > b INVITE sendrecv v1 To:<sip:+4930@b.example>
        1.020 < b 302 contact=none h=Contact:<sip:+4931@b.example;npdi>,<sip:+4932@192.0.2.12>,<sip:+4933@d.example>
        1.020 > b ACK To:<sip:+4930@b.example>
        1.020 # Redirected 1 +4931
        1.020 # Redirected 1 sip:+4932@192.0.2.12
        1.020 # Redirected 1 sip:+4933@d.example
        1.020 ! close-media 1
        1.020 # LegEnded 1 Rejected
        1.020 # Dialled 2
        1.020 ! open-media 2
        1.020 > b INVITE sendrecv v1 To:<sip:+4931@b.example>
        1.030 < b 480
        1.030 > b ACK To:<sip:+4931@b.example>
        1.030 ! close-media 2
        1.030 # LegEnded 2 Rejected
        1.030 # Dialled 3
        1.030 ! open-media 3
        1.030 > d INVITE sendrecv v1 To:<sip:+4933@d.example>
        1.040 < d 407 h=Proxy-Authenticate:Digest~realm=carrier,nonce=a,qop=\"auth\"
        1.040 > d ACK To:<sip:+4933@d.example>
        1.040 ! close-media 3
        1.040 # LegEnded 3 Rejected
        1.040 > a 500 INVITE To:<sip:700@192.0.2.1>
        1.040 ! close-media 0
        1.040 ! ended Rejected Some(500) Remote
        1.040 # Ended
        1.050 < a ACK hop
        9.000 < drain",
    );
}

#[test]
fn a_host_that_is_no_trunk_is_found_by_its_name() {
    check_with(
        carriers(Redirects::Refused),
        &[HeaderName::To],
        "
        1.000 < a INVITE to=800
        1.000 # Offered
        1.000 ! open-media 0
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > d INVITE sendrecv v1 To:<sip:+4940@d.example>
        1.010 < d 486
        1.010 > d ACK To:<sip:+4940@d.example>
        1.010 ! close-media 1
        1.010 # LegEnded 1 Rejected
        1.010 > a 486 INVITE To:<sip:800@192.0.2.1>
        1.010 ! close-media 0
        1.010 ! ended Rejected Some(486) Remote
        1.010 # Ended
        1.020 < a ACK hop
        2.000 < z INVITE to=800
        2.000 > z 403 INVITE To:<sip:800@192.0.2.1>
        2.010 < z ACK hop
        9.000 < drain",
    );
}
