//! Kamailio in front of the server: what it routes by Record-Route comes back through it, on either transport.

use crate::baresip::{Account, Baresip};
use crate::kamailio::Kamailio;
use crate::server_process::Server;
use crate::telephones::{USERS, hang_up_and_be_hung_up};

#[test]
fn a_call_through_a_proxy_by_udp_only() {
    calls_through_a_proxy("udp", "udp");
}

#[test]
fn a_call_through_a_proxy_from_udp_to_tcp() {
    calls_through_a_proxy("udp", "tcp");
}

#[test]
fn a_call_through_a_proxy_from_tcp_to_udp() {
    calls_through_a_proxy("tcp", "udp");
}

fn calls_through_a_proxy(outside: &str, inside: &str) {
    let server = Server::start(&USERS);
    let proxy = Kamailio::start(server.sip, inside);
    let account = Account { proxy: Some(proxy.address), ..Account::new("alice", server.sip, outside) };
    let mut telephone = Baresip::start(&account);
    telephone.is_registered();
    hang_up_and_be_hung_up(&server, &mut telephone, "");
}
