//! Trunks: registered, asked whether they live, called through and let in.

use super::{CallsConfig, Peer, check_showing};
use crate::auth::DigestAccount;
use crate::call::{CallerId, Order, TrunkAdmission, TrunkConfig, TrunkEvent};
use crate::identity::{AccountId, Secret};
use crate::locate::{Question, RecordKind, Records, Unanswered};
use crate::route::{Admission, TrunkName};
use crate::sip::HeaderName;

pub(super) fn show(event: TrunkEvent) -> String {
    match event {
        TrunkEvent::Registration(it) => format!("{:?}", it.state),
        TrunkEvent::NotLocated(error) => format!("{error:?}"),
        TrunkEvent::Down(server) => format!("down {}", server.ip()),
        TrunkEvent::Up(server) => format!("up {}", server.ip()),
    }
}

impl Peer {
    /// The name server knows `two.example`, and our own address.
    pub(super) fn answer_question(&mut self, question: &Question) {
        let address = |it: &str| it.parse().expect("an address");
        let answer = match (question.kind, &*question.name) {
            (RecordKind::Route, _) => Ok(vec![address("192.0.2.1")]),
            (RecordKind::A, "two.example") => Ok(vec![address("192.0.2.20"), address("192.0.2.21")]),
            (RecordKind::A, "slow.example") => return,
            _ => Err(Unanswered::None(None)),
        };
        let answer = answer.map(|it| (Records::Addresses(it), std::time::Duration::from_secs(60)));
        self.calls.handle_answer(question, answer, self.now);
    }

    /// Orders a call. Options: `trunk`, `to`, `user`.
    pub(super) fn order(&mut self, options: &std::collections::BTreeMap<&str, &str>) {
        let order = Order {
            account: AccountId::default(),
            to: options.get("to").copied().unwrap_or("tel:+4930123").parse().expect("a URI"),
            user: options.get("user").map(|it| (*it).to_owned()),
            from: CallerId::OfTrunk,
            display_name: None,
            headers: vec![],
            credentials: None,
            trunk: options.get("trunk").map(|it| TrunkName((*it).to_owned())),
            agent: None,
        };
        self.ordered = Some(self.calls.order(order, self.now));
    }
}

pub(super) fn trunk(change: impl FnOnce(&mut TrunkConfig)) -> impl FnOnce(&mut CallsConfig) {
    let uri = |it: &str| it.parse().expect("a URI");
    let mut trunk = TrunkConfig {
        name: TrunkName("acme".to_owned()),
        account: AccountId::default(),
        domain: Some(uri("sip:two.example")),
        gateways: vec![uri("sip:two.example")],
        proxy: None,
        transport: None,
        username: Some("us er".to_owned()),
        credentials: DigestAccount::new(vec!["carrier".to_owned()], "us er", Secret::new("secret")).ok(),
        register_s: None,
        sources: vec![],
        admission: TrunkAdmission::default(),
        caller_id: None,
        ping_every: None,
        capabilities: None,
        redirects: crate::call::Redirects::Refused,
    };
    change(&mut trunk);
    move |config| {
        config.trunks = vec![trunk];
        config.listeners[0].1 = Admission::default();
        let target = crate::route::Target::agent("demo");
        config.routes.insert_number("100", target);
    }
}

#[test]
fn a_registration_is_made_kept_failed_over_and_removed() {
    check_showing(
        &[HeaderName::CSeq, HeaderName::Expires],
        trunk(|it| it.register_s = Some(600)),
        "
        0.000 > REGISTER CSeq:1 REGISTER Expires:600 to 192.0.2.20
        0.000 < start
        0.100 < 503 method=REGISTER
        0.100 > REGISTER CSeq:2 REGISTER Expires:600 to 192.0.2.21
        0.200 < 401 method=REGISTER h=WWW-Authenticate:Digest~realm=\"carrier\",~nonce=\"n\"
        0.200 > REGISTER CSeq:3 REGISTER Expires:600 to 192.0.2.21
        0.300 < 423 method=REGISTER h=Min-Expires:3600
        0.300 > REGISTER CSeq:4 REGISTER Expires:3600 to 192.0.2.21
        0.400 < 200 method=REGISTER h=Expires:3600
        0.400 ! trunk Registered
        9.000 < drain
        9.000 > REGISTER CSeq:5 REGISTER Expires:0 to 192.0.2.21
        9.100 < 200 method=REGISTER
        9.100 ! trunk NotRegistered",
    );
}

#[test]
fn wrong_credentials_and_foreign_realms_are_not_tried_again_soon() {
    for realm in ["carrier", "elsewhere"] {
        let again = if realm == "carrier" {
            "
        0.100 > REGISTER to 192.0.2.20
        0.200 < 401 method=REGISTER h=WWW-Authenticate:Digest~realm=\"carrier\",~nonce=\"m\"
        0.200 ! trunk AuthFailed"
        } else {
            "
        0.100 ! trunk AuthFailed"
        };
        let timeline = format!(
            "
        0.000 > REGISTER to 192.0.2.20
        0.000 < start
        0.100 < 401 method=REGISTER h=WWW-Authenticate:Digest~realm=\"{realm}\",~nonce=\"n\"{again}
        50.000 < drain
        50.000 ! trunk NotRegistered"
        );
        check_showing(&[], trunk(|it| it.register_s = Some(600)), &timeline);
    }
}

#[test]
fn calls_go_over_the_trunk_and_the_next_server() {
    check_showing(
        &[HeaderName::To, HeaderName::Route],
        |config| {
            trunk(|it| {
                it.caller_id = Some("+49301".to_owned());
                it.proxy = "sip:two.example".parse().ok();
            })(config);
        },
        "
        0.000 < start
        0.000 < order trunk=acme
        0.000 # Offered
        0.000 ! open-media
        0.010 < media-opened
        0.010 > INVITE sendrecv v1 To:<sip:+4930123@two.example> Route:<sip:two.example;lr> to 192.0.2.20
        0.100 < 503
        0.100 > ACK To:<sip:+4930123@two.example>;tag=peer Route:<sip:two.example;lr> to 192.0.2.20
        0.100 > INVITE sendrecv v1 To:<sip:+4930123@two.example> Route:<sip:two.example;lr> to 192.0.2.21
        0.200 < 404
        0.200 > ACK To:<sip:+4930123@two.example>;tag=peer Route:<sip:two.example;lr> to 192.0.2.21
        0.200 ! close-media
        0.200 ! ended Rejected Some(404) Remote
        0.200 # Ended
        1.000 < order trunk=acme
        1.000 # Offered
        1.000 ! open-media
        1.010 < media-opened
        1.010 > INVITE sendrecv v1 To:<sip:+4930123@two.example> Route:<sip:two.example;lr> to 192.0.2.21
        1.100 < 404
        1.100 > ACK To:<sip:+4930123@two.example>;tag=peer Route:<sip:two.example;lr> to 192.0.2.21
        1.100 ! close-media
        1.100 ! ended Rejected Some(404) Remote
        1.100 # Ended
        2.000 < drain",
    );
}

#[test]
fn a_call_whose_way_is_not_found_ends() {
    check_showing(
        &[],
        |_| (),
        "
        0.000 < order to=sip:a@nowhere.example
        0.000 # Offered
        0.000 ! ended NotSent None Local
        0.000 # Ended
        1.000 < order trunk=unknown
        1.000 # Offered
        1.000 ! ended NotSent None Local
        1.000 # Ended
        2.000 < order to=sip:a@slow.example:5060
        3.000 < give-up
        3.000 # Offered
        3.000 ! ended Cancelled None Local
        3.000 # Ended
        4.000 < order to=sip:a@two.example:5060
        4.000 # Offered
        4.000 ! open-media
        4.100 < media-refused
        4.100 ! ended NoMediaPort None Local
        4.100 # Ended",
    );
}

#[test]
fn servers_that_do_not_answer_options_are_down_until_they_do() {
    check_showing(
        &[],
        trunk(|it| it.ping_every = Some(std::time::Duration::from_secs(40))),
        "
        0.000 > OPTIONS to 192.0.2.20
        0.000 > OPTIONS to 192.0.2.21
        0.000 < start
        0.100 < 503 method=OPTIONS
        0.100 ! trunk down 192.0.2.21
        0.500 > OPTIONS to 192.0.2.20
        0.600 < 404 method=OPTIONS
        40.000 > OPTIONS to 192.0.2.20
        40.000 > OPTIONS to 192.0.2.21
        40.100 < 200 method=OPTIONS
        40.100 ! trunk up 192.0.2.21
        40.500 > OPTIONS to 192.0.2.20
        40.600 < 200 method=OPTIONS
        41.000 < drain",
    );
}

#[test]
fn a_registration_leaves_a_server_that_does_not_live_and_returns() {
    check_showing(
        &[],
        trunk(|it| {
            it.register_s = Some(600);
            it.ping_every = Some(std::time::Duration::from_secs(40));
            it.gateways = ["sip:192.0.2.20", "sip:192.0.2.21"].map(|it| it.parse().expect("a URI")).to_vec();
        }),
        "
        0.000 > REGISTER to 192.0.2.20
        0.000 > OPTIONS to 192.0.2.20
        0.000 > OPTIONS to 192.0.2.21
        0.000 < start
        0.100 < 200 method=REGISTER
        0.100 ! trunk Registered
        0.200 < 200 method=OPTIONS
        0.500 > OPTIONS to 192.0.2.20
        1.500 > OPTIONS to 192.0.2.20
        3.500 > OPTIONS to 192.0.2.20
        4.000 ! trunk down 192.0.2.20
        4.000 > REGISTER to 192.0.2.21
        4.100 < 200 method=REGISTER
        40.000 > OPTIONS to 192.0.2.20
        40.000 > OPTIONS to 192.0.2.21
        40.100 < 200 method=OPTIONS
        40.500 > OPTIONS to 192.0.2.20
        40.600 < 200 method=OPTIONS
        40.600 ! trunk up 192.0.2.20
        40.600 > REGISTER to 192.0.2.20
        40.700 < 200 method=REGISTER
        50.000 < drain
        50.000 > REGISTER to 192.0.2.20
        50.100 < 200 method=REGISTER
        50.100 ! trunk NotRegistered",
    );
}

#[test]
fn a_trunk_is_known_by_its_address_only() {
    check_showing(
        &[],
        trunk(|it| it.sources = vec!["198.51.100.0/24".parse().expect("a network")]),
        "
        0.000 < start
        0.000 < INVITE from=1 branch=1
        0.000 > 403 INVITE
        0.000 < ACK hop branch=1 to=x
        1.000 < from at=198.51.100.7:5060
        1.000 < INVITE from=2 branch=2 call=d
        1.000 # Offered
        1.000 ! open-media send receive
        1.000 ! start-agent demo
        1.000 > 180 INVITE
        1.000 # Ringing
        1.100 < media-refused
        1.100 > 503 INVITE Retry-After
        1.100 ! ended NoMediaPort Some(503) Local
        1.100 # Ended
        1.100 < ACK hop branch=2
        2.000 < from at=192.0.2.20:5060
        2.000 < INVITE from=3 branch=3 call=e
        2.000 # Offered
        2.000 ! open-media send receive
        2.000 ! start-agent demo
        2.000 > 180 INVITE
        2.000 # Ringing
        2.100 < media-refused
        2.100 > 503 INVITE Retry-After
        2.100 ! ended NoMediaPort Some(503) Local
        2.100 # Ended
        2.100 < ACK hop branch=3
        9.000 < drain",
    );
}

#[test]
fn a_call_of_ours_is_followed_where_its_trunk_points() {
    check_showing(
        &[HeaderName::To, HeaderName::HistoryInfo],
        trunk(|it| it.redirects = crate::call::Redirects::Followed),
        "
        1.000 < order trunk=acme
        1.000 # Offered
        1.000 ! open-media
        1.000 < media-opened
        1.000 > INVITE sendrecv v1 To:<sip:+4930123@two.example> to 192.0.2.20
        1.100 < 302 contact=none h=Contact:<sip:+4930124@two.example>;q=0.5,<sip:a@192.0.2.9>;q=0.9,<sip:b@127.0.0.1>;q=0.7
        1.100 > ACK To:<sip:+4930123@two.example>;tag=peer to 192.0.2.20
        1.100 # Redirected
        1.100 # Redirected
        1.100 # Redirected
        1.100 > INVITE sendrecv v1 To:<sip:a@192.0.2.9> History-Info:<sip:+4930123@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1 History-Info:<sip:a@192.0.2.9>;index=1.1;mp=1
        1.200 < 486
        1.200 > ACK To:<sip:a@192.0.2.9>;tag=peer
        1.200 > INVITE sendrecv v1 To:<sip:+4930124@two.example> History-Info:<sip:+4930123@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1 History-Info:<sip:+4930124@two.example>;index=1.3;mp=1 to 192.0.2.20
        1.300 < 200 sdp=sendrecv
        1.300 > ACK To:<sip:+4930124@two.example>;tag=peer to 192.0.2.20
        1.300 ! update-media send receive
        1.300 ! answered
        1.300 # Answered Pcmu
        2.000 < hang-up
        2.000 > BYE To:<sip:+4930124@two.example>;tag=peer to 192.0.2.20
        2.000 ! close-media
        2.000 ! ended HungUp None Local
        2.000 # Ended
        2.100 < 200
        3.000 < drain",
    );
}

#[test]
fn a_call_of_ours_is_not_followed_unless_that_is_wanted() {
    check_showing(
        &[],
        trunk(|_| ()),
        "
        1.000 < order trunk=acme
        1.000 # Offered
        1.000 ! open-media
        1.000 < media-opened
        1.000 > INVITE sendrecv v1 to 192.0.2.20
        1.100 < 302 contact=none h=Contact:<sip:a@192.0.2.9>
        1.100 > ACK to 192.0.2.20
        1.100 ! close-media
        1.100 ! ended Rejected Some(302) Remote
        1.100 # Ended
        3.000 < drain",
    );
}
