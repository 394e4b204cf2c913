//! Requests that are too large for UDP: RFC 3261 §18.1.1.
//!
//! A request of more than [`UDP_REQUEST_BYTES_MAX`] bytes goes over TCP, its Via saying so. If that connection does not
//! come about, or breaks before an answer, the same transaction begins again over UDP, once; the peer gets large requests
//! over UDP at once for a while then. Requests within dialogs stay on the flow of their dialog: behind a network address
//! translator no other way works.

use std::net::SocketAddr;

use super::{ClientInvite, ClientNonInvite, Machine, TooManyTransactions, TransactionId, Transactions};
use crate::limits::{TCP_REFUSED_MAX, TCP_REFUSED_S, UDP_REQUEST_BYTES_MAX};
use crate::sip::{HeaderName, Request};
use crate::timer::{Deadlines, Now};
use crate::transport::{Flow, TransportKind};

/// A request that went over TCP, as it would have gone over UDP.
#[derive(Debug)]
pub(super) struct Fallback {
    flow: Flow,
    request: Request,
}

/// Peers that do not take TCP, until they are asked again. At most [`TCP_REFUSED_MAX`]; beyond it the one that is due
/// first gives way.
#[derive(Debug, Default)]
pub(super) struct UdpOnly {
    until: Deadlines<SocketAddr>,
}

impl UdpOnly {
    fn insert(&mut self, peer: SocketAddr, now: Now) {
        self.until.set(peer, Some(now.instant + std::time::Duration::from_secs(TCP_REFUSED_S)));
        if self.until.len() > TCP_REFUSED_MAX
            && let Some(first) = self.until.next()
        {
            self.until.pop_due(first);
        }
    }

    fn contains(&mut self, peer: SocketAddr, now: Now) -> bool {
        while self.until.pop_due(now.instant).is_some() {}
        self.until.contains(&peer)
    }
}

impl Transactions {
    /// As [`Self::request`], over TCP in place of UDP if the request is too large for that.
    pub(crate) fn request_by_size(
        &mut self,
        flow: Flow,
        request: Request,
        now: Now,
    ) -> Result<TransactionId, TooManyTransactions> {
        let Some((over_tcp, changed)) = self.over_tcp(flow, &request, now) else {
            return self.request(flow, request, now);
        };
        // Known before it is sent: the connection may fail at once.
        let id = self.begin(over_tcp, changed, now)?;
        self.fallbacks.insert(id, Fallback { flow, request });
        self.drain_transport(now);
        Ok(id)
    }

    /// The flow in place of `flow`, and the request with the Via for it.
    fn over_tcp(&mut self, flow: Flow, request: &Request, now: Now) -> Option<(Flow, Request)> {
        let is_large = flow.kind == TransportKind::Udp && request.to_bytes().len() > UDP_REQUEST_BYTES_MAX;
        if !is_large || self.udp_only.contains(flow.remote, now) {
            return None;
        }
        let local = self.transport.local_of(TransportKind::Tcp, flow.local.ip())?;
        let over_tcp = Flow { kind: TransportKind::Tcp, local, remote: flow.remote };
        let branch = request.headers().top_via().branch()?;
        let via = self.via(over_tcp, branch);
        Some((over_tcp, request.edit().set(HeaderName::Via, via).build().ok()?))
    }

    /// Begins the transaction `id` again over UDP, if it may. Whether it did.
    pub(super) fn fall_back(&mut self, id: TransactionId, now: Now) -> bool {
        let Some(Fallback { flow, request }) = self.fallbacks.remove(&id) else { return false };
        self.udp_only.insert(flow.remote, now);
        let Some(transaction) = self.machines.get_mut(&id) else { return false };
        let before = match &mut transaction.machine {
            Machine::ClientInvite { machine, flow: on, .. } => {
                *machine = ClientInvite::new(request, flow.kind, now.instant);
                std::mem::replace(on, flow)
            }
            Machine::ClientNonInvite { machine, flow: on, .. } => {
                *machine = ClientNonInvite::new(request.to_bytes(), flow.kind, now.instant);
                std::mem::replace(on, flow)
            }
            Machine::ServerInvite { .. } | Machine::ServerNonInvite { .. } => return false,
        };
        self.clients_by_flow.remove(&(before, id));
        self.clients_by_flow.insert((flow, id));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::sip::{Message, Method, Uri};
    use crate::transaction::token::Tokens;
    use crate::transaction::{Output, TransactionLimits};
    use crate::transport::{Listener, SourceLimits, Transport, Wire};

    #[test]
    fn a_large_request_goes_over_tcp_and_falls_back_once() {
        let mut peer = Peer::new();
        // A size, and what is sent for it.
        peer.check(600, "", "udp UDP");
        peer.check(1_400, "", "tcp TCP");
        peer.check(1_400, "answer fail", "tcp TCP");
        peer.check(1_400, "fail", "tcp TCP, udp UDP");
        // The peer is known now; what goes over UDP is repeated as usual.
        peer.check(1_400, "wait", "udp UDP, udp UDP");
        peer.now = peer.now + Duration::from_secs(TCP_REFUSED_S);
        peer.check(1_400, "fail fail", "tcp TCP, udp UDP");
    }

    #[test]
    fn without_a_tcp_listener_everything_goes_over_udp() {
        let mut peer = Peer::new();
        peer.flow.local = "198.51.100.1:5060".parse().expect("an address");
        peer.check(1_400, "", "udp UDP");
    }

    struct Peer {
        transactions: Transactions,
        flow: Flow,
        now: Now,
    }

    impl Peer {
        fn new() -> Self {
            let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|it| it.parse().expect("an address"));
            let listeners = [TransportKind::Udp, TransportKind::Tcp].map(|kind| Listener::new(kind, local)).to_vec();
            let transport = Transport::new(listeners, SourceLimits::none(), 0, 0);
            let tokens = Tokens::new(ChaCha12Rng::seed_from_u64(1), 0);
            let limits = TransactionLimits { transactions_max: 100, in_dialog_reserve: 0 };
            let flow = Flow { kind: TransportKind::Udp, local, remote };
            Self { transactions: Transactions::new(transport, tokens, limits), flow, now: Now::origin() }
        }

        /// Sends an INVITE of about `bytes`, and lets happen what `events` says: `answer` (a 100 over TCP), `fail` (of the
        /// connection) or `wait`. `expected` is on what each message goes, and what its Via says.
        #[track_caller]
        fn check(&mut self, bytes: usize, events: &str, expected: &str) {
            let via = self.transactions.next_via(self.flow);
            let uri = Uri::parse("sip:bob@192.0.2.2").expect("a URI");
            let invite = Request::builder(Method::Invite, &uri)
                .header(HeaderName::Via, via)
                .header(HeaderName::MaxForwards, 70)
                .header(HeaderName::From, "<sip:alice@192.0.2.1>;tag=a")
                .header(HeaderName::To, "<sip:bob@192.0.2.2>")
                .header(HeaderName::CallId, "c")
                .header(HeaderName::CSeq, "1 INVITE")
                .body("text/plain", Bytes::from(vec![b'x'; bytes - 300]))
                .build()
                .expect("a request");
            let id = self.transactions.request_by_size(self.flow, invite, self.now).expect("there is room");
            let mut sent = vec![];
            let mut last = String::new();
            self.collect(&mut sent, &mut last);
            let tcp = Flow { kind: TransportKind::Tcp, ..self.flow };
            for event in events.split_whitespace() {
                match event {
                    "answer" => {
                        let head = last.split("\r\n\r\n").next().unwrap_or_default();
                        let kept = head.split("\r\n").skip(1).filter(|it| !it.starts_with("Content"));
                        let kept: Vec<_> = kept.collect();
                        let trying =
                            format!("SIP/2.0 100 Trying\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"));
                        self.transactions.handle_segment(tcp, trying.as_bytes(), self.now);
                    }
                    "fail" => self.transactions.handle_send_failed(tcp, self.now),
                    _ => {
                        self.now = self.now + Duration::from_millis(500);
                        self.transactions.handle_timeout(self.now);
                    }
                }
                self.collect(&mut sent, &mut last);
            }
            assert_eq!(sent.join(", "), expected, "{bytes} {events}");
            let timeouts = std::iter::from_fn(|| self.transactions.poll_output());
            assert_eq!(timeouts.filter(|it| matches!(it, Output::Timeout { .. })).count(), 0, "nothing is lost");
            self.transactions.abandon(id);
            assert_eq!((self.transactions.len(), self.transactions.fallbacks.len()), (0, 0));
        }

        fn collect(&mut self, sent: &mut Vec<String>, last: &mut String) {
            while let Some(wire) = self.transactions.poll_wire() {
                let Wire::Send { flow, data } = wire else { continue };
                let Ok(Message::Request(request)) = Message::parse(data.clone()) else { panic!("{data:?}") };
                let via = request.headers().top_via();
                sent.push(format!("{} {}", flow.kind.scheme(), via.transport_str()));
                *last = String::from_utf8_lossy(&data).into_owned();
            }
        }
    }
}
