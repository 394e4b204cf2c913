//! A peer closes its connection at the moment at which we send a request over it (RFC 3261 §18.4): it has not read it, or
//! will not answer it, and the request goes another way.

use std::time::{Duration, Instant};

use crate::http_client::Metrics;
use crate::listening::Listening;
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Message, Phone, Wire};

#[test]
fn requests_within_a_call_go_over_a_new_connection() {
    let house = House::start(1);
    let (mut phone, mut carrier) = house.call();
    // To hold the call.
    let offer = phone.sdp("sendonly");
    phone.send_invite(&[], &offer);
    let mut again = house.loses(&mut carrier, "INVITE", 0);
    let invite = again.1;
    let sdp = phone.sdp("recvonly");
    again.0.send(invite.answer("200 OK", &[&house.contact(0)], &sdp).as_bytes());
    assert_eq!(phone.invited().status(), Some(200));
    again.0.request("ACK");
    phone.hang_up();
    let (mut last, bye) = house.loses(&mut again.0, "BYE", 0);
    last.send(bye.answer("200 OK", &[], "").as_bytes());
    drop(last);
    house.settles();
}

#[test]
fn a_connection_that_was_closed_before_is_opened_anew() {
    let house = House::start(1);
    let (mut phone, carrier) = house.call();
    drop(carrier);
    phone.hang_up();
    let mut carrier = Wire::of_stream(house.servers[0].accept());
    let bye = carrier.request("BYE");
    carrier.send(bye.answer("200 OK", &[], "").as_bytes());
    // The next call has this connection, and finds it closed.
    drop(carrier);
    let (mut phone, mut carrier) = house.call();
    phone.hang_up();
    let bye = carrier.request("BYE");
    carrier.send(bye.answer("200 OK", &[], "").as_bytes());
    drop(carrier);
    house.settles();
}

#[test]
fn a_new_call_goes_over_a_new_connection_and_then_to_the_next_server() {
    let house = House::start(2);
    let (mut phone, mut carrier) = house.call();
    phone.hang_up();
    let bye = carrier.request("BYE");
    carrier.send(bye.answer("200 OK", &[], "").as_bytes());

    // Over the connection that is there, then a new one, then to the next server.
    let mut phone = house.begin();
    let (again, _) = house.loses(&mut carrier, "INVITE", 0);
    drop(again);
    let mut next = Wire::of_stream(house.servers[1].accept());
    let invite = next.request("INVITE");
    next.send(invite.answer("486 Busy Here", &[], "").as_bytes());
    assert_eq!(phone.invited().status(), Some(486));
    next.request("ACK");
    drop(next);
    house.settles();
}

#[test]
fn where_every_connection_is_closed_the_call_fails_at_once() {
    let house = House::start(1);
    let begin = Instant::now();
    let mut phone = house.begin();
    let mut first = Wire::of_stream(house.servers[0].accept());
    let (second, _) = house.loses(&mut first, "INVITE", 0);
    drop(second);
    let answer = phone.invited();
    assert_eq!(answer.status(), Some(480), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "after {:?}", begin.elapsed());
    house.settles();

    // Within a call: its BYE is lost, and the call is over all the same.
    let (mut phone, mut carrier) = house.call();
    phone.hang_up();
    let (again, _) = house.loses(&mut carrier, "BYE", 0);
    drop(again);
    house.settles();
}

/// A server with a trunk of these servers, over TCP.
struct House {
    server: Server,
    servers: Vec<Listening>,
    before: Metrics,
}

impl House {
    fn start(servers: usize) -> Self {
        let servers: Vec<_> = (0..servers).map(|_| Listening::start()).collect();
        let gateways: Vec<_> = servers.iter().map(|it| format!("sip:{};transport=tcp", it.address)).collect();
        let keys = [("TRUNKS__ACME__GATEWAYS", gateways.join(",")), ("NUMBERS__500__TRUNK", "acme".to_owned())];
        let server = Server::start(&keys.each_ref().map(|(key, value)| (*key, value.as_str())));
        let before = server.metrics();
        Self { server, servers, before }
    }

    fn begin(&self) -> Phone {
        let mut phone = Phone::udp(&self.server);
        phone.begin_call("500");
        phone
    }

    fn contact(&self, server: usize) -> String {
        format!("Contact: <sip:{};transport=tcp>", self.servers[server].address)
    }

    /// A call that the first server has answered, over a new connection.
    #[track_caller]
    fn call(&self) -> (Phone, Wire) {
        let mut phone = self.begin();
        let mut carrier = Wire::of_stream(self.servers[0].accept());
        let invite = carrier.request("INVITE");
        let sdp = phone.sdp("sendrecv");
        carrier.send(invite.answer("200 OK", &[&self.contact(0)], &sdp).as_bytes());
        assert_eq!(phone.invited().status(), Some(200));
        carrier.request("ACK");
        (phone, carrier)
    }

    /// Closes a connection once this request is on it; the new one, and the request, which is the same.
    #[track_caller]
    fn loses(&self, wire: &mut Wire, method: &str, server: usize) -> (Wire, Message) {
        let request = wire.request(method);
        wire.close();
        let mut again = Wire::of_stream(self.servers[server].accept());
        let copy = again.request(method);
        for name in ["Via", "CSeq", "Call-ID"] {
            assert_eq!(copy.header(name), request.header(name));
        }
        (again, copy)
    }

    #[track_caller]
    fn settles(&self) {
        self.server.settles(&self.before, ANSWER_MAX);
    }
}
