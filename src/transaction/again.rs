//! Requests whose connection is lost before anything came for them (RFC 3261 §18.4). A peer that closes an idle connection
//! may do so at the very moment at which a request is written to it, and then has not read it.
//!
//! Such a request goes out again, once and as the same transaction, so that a peer that has read it after all takes it for a
//! copy: over a new connection to the same server if we had opened the one that is lost, else, within a dialog, to the
//! address that its route or target names. Requests to telephones that connected to us have nowhere else to go.

use std::net::SocketAddr;

use super::{Machine, TransactionId, Transactions};
use crate::sip::{NameAddr, Request, Uri};
use crate::timer::Now;
use crate::transport::Flow;

/// Where a request goes if its connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// To the same server, if the connection was ours.
    SameServer,
    /// To this address, if the connection was not ours.
    To(SocketAddr),
    /// Nowhere: it has been sent again already.
    Never,
}

impl Again {
    /// For a request that goes out on `flow`.
    pub(super) fn of(request: &Request, flow: Flow) -> Self {
        let is_within_dialog = request.headers().to().tag().is_some();
        if !is_within_dialog || !flow.kind.is_stream() {
            return Self::SameServer;
        }
        let route = request.headers().routes().unwrap_or_default();
        let uri = route.first().map_or_else(|| request.uri(), NameAddr::uri);
        address_of(uri, flow).map_or(Self::SameServer, Self::To)
    }
}

impl Transactions {
    /// Sends the request `id`, whose connection is lost, again, if it may. Whether it did.
    pub(super) fn send_again(&mut self, id: TransactionId, was_ours: bool, now: Now) -> bool {
        let Some(transaction) = self.machines.get_mut(&id) else { return false };
        let again = std::mem::replace(&mut transaction.again, Again::Never);
        let (unanswered, on) = match &mut transaction.machine {
            Machine::ClientInvite { machine, flow, .. } => (machine.unanswered(), flow),
            Machine::ClientNonInvite { machine, flow, .. } => (machine.unanswered(), flow),
            Machine::ServerInvite { .. } | Machine::ServerNonInvite { .. } => return false,
        };
        let before = *on;
        let to = match again {
            Again::SameServer | Again::To(_) if was_ours => before,
            Again::To(remote) => Flow { remote, ..before },
            Again::SameServer | Again::Never => return false,
        };
        let Some(request) = unanswered.filter(|_| to.kind.is_stream()) else { return false };
        *on = to;
        let method = transaction.method.clone();
        self.clients_by_flow.remove(&(before, id));
        self.clients_by_flow.insert((to, id));
        self.transport.send_request(to, request, &method, now);
        true
    }
}

fn address_of(uri: &Uri, flow: Flow) -> Option<SocketAddr> {
    let ip = uri.host()?.ip()?;
    Some(SocketAddr::new(ip, uri.port().unwrap_or_else(|| flow.kind.default_port())))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::sip::{HeaderName, Method};
    use crate::transaction::token::Tokens;
    use crate::transaction::{Output, TransactionLimits};
    use crate::transport::{Listener, PeerIdentity, SourceLimits, Transport, TransportKind, Wire};

    #[test]
    fn a_request_goes_out_again_once_if_its_connection_is_lost() {
        let server = "192.0.2.2:5060";
        // To a server over a connection of ours, a new one; then it has failed.
        check(Method::Invite, true, "", "lose", &[server, server]);
        check(Method::Invite, true, "", "lose lose", &[server, server, "timeout"]);
        check(Method::Register, true, "", "lose fail", &[server, server, "timeout"]);
        // A connection that does not come about is no reason to try it again.
        check(Method::Register, true, "", "fail", &[server, "timeout"]);
        // What was answered is not lost.
        check(Method::Invite, true, "", "trying lose", &[server]);
    }

    #[test]
    fn who_connected_to_us_is_connected_to_within_a_dialog() {
        let phone = "192.0.2.2:5060";
        check(Method::Invite, false, "", "lose", &[phone, "timeout"]);
        check(Method::Bye, false, ";tag=b", "lose", &[phone, "192.0.2.3:5070"]);
        check(Method::Bye, false, ";tag=b", "lose fail", &[phone, "192.0.2.3:5070", "timeout"]);
        check(Method::Bye, true, ";tag=b", "lose", &[phone, phone]);
    }

    /// Sends a request to `sip:bob@192.0.2.3:5070` over a connection, which is ours or the peer's, and lets happen what
    /// `events` says: `lose` (the connection), `fail` (to connect) or `trying` (a 100). `expected` is where each copy goes,
    /// and whether it is told that there is no answer.
    #[track_caller]
    fn check(method: Method, is_ours: bool, tag: &str, events: &str, expected: &[&str]) {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|it| it.parse().expect("an address"));
        let flow = Flow { kind: TransportKind::Tcp, local, remote };
        let transport = Transport::new(vec![Listener::new(flow.kind, local)], SourceLimits::none(), 0, 0);
        let tokens = Tokens::new(ChaCha12Rng::seed_from_u64(1), 0);
        let limits = TransactionLimits { transactions_max: 100, in_dialog_reserve: 0 };
        let (mut transactions, now) = (Transactions::new(transport, tokens, limits), Now::origin());
        transactions.handle_connected(flow, is_ours, PeerIdentity::default(), now);
        let via = transactions.next_via(flow);
        let uri = Uri::parse("sip:bob@192.0.2.3:5070;transport=tcp").expect("a URI");
        let from_to = format!("From: <sip:a@b>;tag=a\r\nTo: <sip:bob@b>{tag}\r\nCall-ID: c\r\nCSeq: 1 {method}");
        let trying = format!("SIP/2.0 100 Trying\r\nVia: {via}\r\n{from_to}\r\nContent-Length: 0\r\n\r\n");
        let request = Request::builder(method.clone(), &uri)
            .header(HeaderName::Via, via)
            .header(HeaderName::MaxForwards, 70)
            .header(HeaderName::From, "<sip:a@b>;tag=a")
            .header(HeaderName::To, format_args!("<sip:bob@b>{tag}"))
            .header(HeaderName::CallId, "c")
            .header(HeaderName::CSeq, format_args!("1 {method}"))
            .build()
            .expect("a request");
        let bytes = request.to_bytes();
        transactions.request(flow, request, now).expect("there is room");
        let (mut seen, mut last) = (vec![], flow);
        let mut collect = |transactions: &mut Transactions, last: &mut Flow| {
            while let Some(wire) = transactions.poll_wire() {
                let Wire::Send { flow, data } = wire else { panic!("{wire:?}") };
                assert_eq!(data, bytes);
                *last = flow;
                seen.push(flow.remote.to_string());
            }
            while let Some(output) = transactions.poll_output() {
                if matches!(output, Output::Timeout { .. }) {
                    seen.push("timeout".to_owned());
                }
            }
        };
        collect(&mut transactions, &mut last);
        for event in events.split(' ') {
            match event {
                "lose" => {
                    transactions.handle_connected(last, is_ours, PeerIdentity::default(), now);
                    transactions.handle_disconnected(last, now);
                }
                "fail" => transactions.handle_send_failed(last, now),
                "trying" => transactions.handle_segment(flow, trying.as_bytes(), now),
                _ => panic!("{event}"),
            }
            collect(&mut transactions, &mut last);
        }
        assert_eq!(seen, expected, "{method} {is_ours} {events}");
        let is_over = seen.last().is_some_and(|it| it == "timeout");
        assert_eq!(transactions.len(), usize::from(!is_over));
    }
}
