//! Connections that are used both ways (RFC 5923): by the peer that opened them, and by us for what we ask of it, if it
//! says that we may and its certificate shows that it is who we look for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::certificates::{Authority, Issued};
use crate::listening::Listening;
use crate::name_server::{NameServer, Record};
use crate::server_process::{Home, Server, free_port};
use crate::sip_phone::{ANSWER_MAX, Phone, Wire};

#[test]
fn a_call_goes_over_the_connection_that_its_server_opened() {
    let house = House::start();
    let mut carrier = house.connect(Some(&house.carrier));
    house.say_hello(&mut carrier, ";alias");
    let mut phone = Phone::udp(&house.server);
    phone.begin_call("500");
    let invite = carrier.request("INVITE");
    assert_eq!(invite.start, format!("INVITE sip:500@carrier.test:{} SIP/2.0", house.listener_port()));
    let contact = format!("Contact: <sip:carrier.test:{};transport=tls>", house.listener_port());
    let sdp = phone.sdp("sendrecv");
    carrier.send(invite.answer("200 OK", &[&contact], &sdp).as_bytes());
    assert_eq!(phone.invited().status(), Some(200));
    // What follows in the dialog goes the same way.
    carrier.request("ACK");
    phone.hang_up();
    let bye = carrier.request("BYE");
    carrier.send(bye.answer("200 OK", &[], "").as_bytes());
    house.assert_not_connected_to();

    // Once it is gone, the server is connected to.
    drop(carrier);
    let streams = "hookswitch_sip_connections";
    assert!(house.server.wait(ANSWER_MAX, || house.server.metrics().value(streams) == Some(0.0)));
    let mut direct = house.call_and_accept();
    let invite = direct.request("INVITE");
    let via = invite.header("Via").unwrap();
    assert!(via.ends_with(";alias"), "we may be called over our connection, too: {via}");
    direct.send(invite.answer("486 Busy Here", &[], "").as_bytes());
    direct.request("ACK");
    // And it is: what its server asks comes over the same connection.
    house.say_hello(&mut direct, "");
}

#[test]
fn only_who_says_and_shows_so_is_reached_over_its_connection() {
    let house = House::start();
    for (own, via) in [(Some(&house.carrier), ""), (Some(&house.other), ";alias"), (None, ";alias")] {
        let mut peer = house.connect(own);
        house.say_hello(&mut peer, via);
        let mut direct = house.call_and_accept();
        let invite = direct.request("INVITE");
        direct.send(invite.answer("486 Busy Here", &[], "").as_bytes());
        direct.request("ACK");
        // What had come before would come before the answer to this.
        house.say_hello(&mut peer, via);
        // The next call has a new connection to make, too.
        drop(direct);
        assert!(
            house
                .server
                .wait(ANSWER_MAX, || { house.server.metrics().value("hookswitch_sip_connections") == Some(1.0) })
        );
    }
}

/// A server with a trunk whose server is ours.
struct House {
    server: Server,
    tls: SocketAddr,
    ours: Authority,
    carrier: Issued,
    other: Issued,
    listener: Listening,
    _names: NameServer,
    _home: Arc<Home>,
}

impl House {
    fn start() -> Self {
        let home = Home::new();
        let [ours, carriers] = ["ours", "carriers"].map(|it| Authority::new(home.path(), it));
        let own = ours.issue(&["sip.example.test"], |_| {});
        let [carrier, other] = ["carrier.test", "other.test"].map(|it| carriers.issue(&[it], |_| {}));
        let listener = Listening::start();
        let names = NameServer::start(&[("carrier.test", Record::A(Ipv4Addr::LOCALHOST))]);
        let (sip, tls) = (free_port(), free_port());
        let listen = format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip},tls://127.0.0.1:{tls}");
        let (ca, uri) = (carriers.file(), format!("sips:carrier.test:{}", listener.address.port()));
        let keys = [
            ("SIP__LISTEN", listen.as_str()),
            ("SIP__TLS__CERTIFICATE", own.certificate.to_str().unwrap()),
            ("SIP__TLS__KEY", own.key.to_str().unwrap()),
            ("SIP__TLS__CLIENT_CA", ca.to_str().unwrap()),
            ("SIP__TLS__CLIENT_CERTIFICATES", "optional"),
            ("SIP__TLS__CA", ca.to_str().unwrap()),
            ("DNS__SERVERS", &names.address.to_string()),
            ("TRUNKS__ACME__URI", &uri),
            ("NUMBERS__500__TRUNK", "acme"),
        ];
        let server = Server::start_at(&Home::new(), sip, free_port(), &keys);
        let tls = SocketAddr::from((Ipv4Addr::LOCALHOST, tls));
        Self { server, tls, ours, carrier, other, listener, _names: names, _home: home }
    }

    fn listener_port(&self) -> u16 {
        self.listener.address.port()
    }

    fn connect(&self, own: Option<&Issued>) -> Wire {
        self.ours.connect(self.tls, "sip.example.test", own).unwrap()
    }

    /// An OPTIONS of the trunk's server, with these parameters in its Via, whose answer is the first thing to come.
    #[track_caller]
    fn say_hello(&self, wire: &mut Wire, parameters: &str) {
        let (server, port, unique) = (self.tls, self.listener_port(), wire.local().port());
        let options = format!(
            "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/TLS carrier.test:{port};branch=z9hG4bK-{unique}{parameters}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:carrier.test>;tag=1\r\nTo: <sip:{server}>\r\nCall-ID: hello-{unique}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        wire.send(options.as_bytes());
        let first = wire.receive(ANSWER_MAX).unwrap();
        assert_eq!(first.status(), Some(200), "{first:?}");
    }

    fn assert_not_connected_to(&self) {
        assert!(!self.listener.is_connected_to(), "there is a connection of its own");
    }

    /// The connection that a call to the trunk opens.
    #[track_caller]
    fn call_and_accept(&self) -> Wire {
        self.assert_not_connected_to();
        Phone::udp(&self.server).begin_call("500");
        Authority::accept(self.listener.accept(), &self.carrier)
    }
}
