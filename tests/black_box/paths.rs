//! Telephones that register through a proxy which wants to stay on the way to them (RFC 3327).

use crate::credentials::Credentials;
use crate::server_process::Server;
use crate::sip_phone::Phone;

#[test]
fn a_telephone_is_called_by_the_path_of_its_registration() {
    let server = Server::start(&[("USERS__100__PASSWORD", "secret"), ("NUMBERS__600__USER", "100")]);
    // What comes from the telephone comes from the proxy.
    let (mut proxy, mut credentials) = (Phone::udp(&server), Credentials::of("100", "secret"));
    let contact = "<sip:100@192.0.2.55:5060>";
    let path = format!("<sip:{};lr>", proxy.wire.local());
    let challenge = credentials.try_register(&mut proxy, contact, false);
    credentials.challenged(&challenge, "auth");
    let authorization = credentials.authorization("REGISTER", &format!("sip:100@{}", proxy.server), "");
    proxy.contact = Some(contact.to_owned());
    let answer = proxy.ask("REGISTER", &[&authorization, "Supported: path", &format!("Path: {path}")]);
    assert_eq!((answer.status(), answer.header("Path")), (Some(200), Some(path.as_str())), "{answer:?}");

    let mut caller = Phone::udp(&server);
    let (invite, refused) = std::thread::scope(|scope| {
        let refusing = scope.spawn(|| {
            let invite = proxy.wire.request("INVITE");
            proxy.wire.send(invite.answer("486 Busy Here", &[], "").as_bytes());
            invite
        });
        let refused = caller.invite("600");
        (refusing.join().unwrap(), refused)
    });
    assert_eq!(invite.start, "INVITE sip:100@192.0.2.55:5060 SIP/2.0");
    assert_eq!(invite.header("Route"), Some(path.as_str()), "{invite:?}");
    assert_eq!(refused.status(), Some(486));
}
