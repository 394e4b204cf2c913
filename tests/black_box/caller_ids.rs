//! As whom a user calls out of the house: as one of the numbers that it may show, whatever its telephone says.

use crate::carrier::Carrier;
use crate::credentials::Credentials;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn a_user_calls_out_as_one_of_its_numbers_only() {
    let carrier = Carrier::start();
    let server = Server::start(&[
        ("SIP__OPEN", "false"),
        ("USERS__ANNE__PASSWORD", "secret"),
        ("USERS__ANNE__CALLER_IDS", "+49305550,+49305551"),
        ("USERS__BOB__PASSWORD", "secret"),
        ("TRUNKS__ACME__URI", &carrier.uri()),
        ("TRUNKS__ACME__CALLER_ID", "+4930123"),
        // Everybody here has the same address.
        ("TRUNKS__ACME__INBOUND__ADDRESS", "false"),
        ("TRUNKS__ACME__INBOUND__CERTIFICATE_NAMES", "carrier.test"),
        ("NUMBERS__500__TRUNK", "acme"),
        ("NUMBERS__500__DIAL", "+4940456"),
    ]);
    let preferred = |number: &str| format!("P-Preferred-Identity: <sip:{number}@elsewhere.test>");
    for (user, says, shown) in [
        ("anne", Some("+49305551"), "+49305551"),
        ("anne", Some("+49305550"), "+49305550"),
        // Whatever is not its own, and nothing at all.
        ("anne", Some("+4930110"), "+49305550"),
        ("anne", None, "+49305550"),
        // Who has no number of its own has that of the house.
        ("bob", Some("+49305550"), "+4930123"),
        ("bob", None, "+4930123"),
    ] {
        let mut phone = Phone::udp(&server);
        phone.number = "500".to_owned();
        let offer = phone.sdp("sendrecv");
        let challenge = phone.invite_with(&[], &offer);
        let mut credentials = Credentials::of(user, "secret");
        credentials.challenged(&challenge, "auth");
        let authorization = credentials.authorization("INVITE", &format!("sip:500@{}", server.sip), &offer);
        let headers: Vec<_> = [authorization].into_iter().chain(says.map(preferred)).collect();
        phone.send_invite(&headers.iter().map(String::as_str).collect::<Vec<_>>(), &offer);
        let invite = carrier.next("INVITE", ANSWER_MAX);
        let from = invite.message.header("From").unwrap();
        assert!(from.contains(&format!("<sip:{shown}@{}>", carrier.address)), "{user} {says:?} {from}");
        assert!(invite.message.start.starts_with("INVITE sip:+4940456@"), "{}", invite.message.start);
        let text = format!("{:?}", invite.message);
        assert!(!text.contains("tester") && !text.contains("elsewhere") && !text.contains("+4930110"), "{text}");
        carrier.answer(&invite, "486 Busy Here", &[]);
        assert_eq!(phone.invited().status(), Some(486));
    }
}
