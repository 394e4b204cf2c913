//! Peers that have media settings of their own, and which of them somebody is, as far as addresses and numbers tell.
//!
//! Several may be at one address: the port tells them apart, then the number that is called.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use smallvec::SmallVec;

use super::DialogId;
use super::offer_answer::Capabilities;
use crate::sip::Request;
use crate::transport::Flow;

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// The addresses that it has.
    pub(crate) sources: Vec<RangeInclusive<IpAddr>>,
    /// Where it listens.
    pub(crate) servers: Vec<SocketAddr>,
    /// The numbers or names of ours that it calls.
    pub(crate) calls: Vec<String>,
    /// What our media sessions can do for it, if that is not what they can do for others.
    pub(crate) capabilities: Option<Box<Capabilities>>,
}

/// All of them, and the sessions of which it is known whose they are.
#[derive(Debug, Default)]
pub(super) struct Peers {
    all: BTreeMap<usize, Peer>,
    of_sessions: BTreeMap<DialogId, Option<usize>>,
}

impl Peers {
    pub(super) fn set(&mut self, index: usize, peer: Peer) {
        self.all.insert(index, peer);
    }

    /// Whose a session is.
    pub(super) fn of_session(&self, id: DialogId) -> Option<usize> {
        self.of_sessions.get(&id).copied().flatten()
    }

    pub(super) fn assign(&mut self, id: DialogId, peer: Option<usize>) {
        self.of_sessions.insert(id, peer);
    }

    pub(super) fn forget(&mut self, id: DialogId) {
        self.of_sessions.remove(&id);
    }

    pub(super) fn capabilities(&self, peer: Option<usize>) -> Option<&Capabilities> {
        self.all.get(&peer?)?.capabilities.as_deref()
    }

    /// Who is at the other end of `flow`, as far as its address tells: the likeliest first.
    pub(super) fn at(&self, flow: Flow, request: Option<&Request>) -> SmallVec<[usize; 2]> {
        let ip = flow.remote.ip().to_canonical();
        let is_there = |it: &Peer| it.sources.iter().any(|it| it.contains(&ip));
        let there = self.all.iter().filter(|(_, it)| is_there(it)).map(|(index, _)| *index);
        let mut there: SmallVec<[usize; 2]> = there.collect();
        if there.len() > 1 {
            there.sort_by_key(|it| std::cmp::Reverse(self.rank(*it, flow, request)));
        }
        there
    }

    /// Who of these sent `request` over `flow`, or is at the other end of it; of equals the first.
    pub(super) fn nearest(
        &self,
        among: impl Iterator<Item = usize>,
        flow: Flow,
        request: Option<&Request>,
    ) -> Option<usize> {
        // The first of the highest, where `max_by_key` takes the last.
        among.min_by_key(|it| std::cmp::Reverse(self.rank(*it, flow, request)))
    }

    fn rank(&self, peer: usize, flow: Flow, request: Option<&Request>) -> (bool, bool) {
        let peer = self.all.get(&peer);
        let listens = peer.is_some_and(|it| it.listens_at(flow, request));
        let is_called = peer.is_some_and(|it| it.makes(request));
        (listens, is_called)
    }

    /// Those of them who listen at the other end of `flow`, or all if nobody does.
    pub(super) fn listening(&self, mut among: Vec<usize>, flow: Flow, request: &Request) -> Vec<usize> {
        let listens = |it: &usize| self.all.get(it).is_some_and(|it| it.listens_at(flow, Some(request)));
        if among.iter().any(listens) {
            among.retain(listens);
        }
        among
    }
}

impl Peer {
    /// Whether it listens at the other end of `flow`. Who connected to us says in the Via where it listens: that decides
    /// between those who share an address, and nothing else.
    fn listens_at(&self, flow: Flow, request: Option<&Request>) -> bool {
        let via = request.filter(|_| flow.kind.is_reliable()).map(|it| it.headers().top_via());
        let said = via.map(|it| it.port().unwrap_or_else(|| flow.kind.default_port()));
        let ports = [Some(flow.remote.port()), said];
        let ip = flow.remote.ip().to_canonical();
        self.servers.iter().any(|it| it.ip().to_canonical() == ip && ports.contains(&Some(it.port())))
    }

    fn makes(&self, request: Option<&Request>) -> bool {
        let user = request.and_then(|it| it.uri().user_decoded());
        user.is_some_and(|user| self.calls.iter().any(|it| *it == *user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{HeaderName, Method, Uri};
    use crate::transport::TransportKind;

    #[test]
    fn the_port_tells_peers_apart_and_then_the_number() {
        let address = |it: &str| it.parse::<SocketAddr>().expect("an address");
        let peer = |port: u16, calls: &str| Peer {
            sources: vec![address("192.0.2.9:0").ip()..=address("192.0.2.9:0").ip()],
            servers: vec![SocketAddr::new(address("192.0.2.9:0").ip(), port)],
            calls: vec![calls.to_owned()],
            capabilities: None,
        };
        let mut peers = Peers::default();
        for (index, port, calls) in [(0, 5060, "a"), (1, 5070, "b"), (2, 5070, "c")] {
            peers.set(index, peer(port, calls));
        }
        let check = |kind, remote: &str, via: &str, user: &str, expected: Option<usize>| {
            let flow = Flow { kind, local: address("192.0.2.1:5060"), remote: address(remote) };
            let request = Request::builder(Method::Invite, &Uri::sip(Some(user), "192.0.2.1", None).expect("a URI"))
                .header(HeaderName::Via, format_args!("SIP/2.0/{} {via};branch=z9hG4bK1", kind.via()))
                .header(HeaderName::From, "<sip:a@b>;tag=1")
                .header(HeaderName::To, "<sip:a@b>")
                .header(HeaderName::CallId, "c")
                .header(HeaderName::CSeq, "1 INVITE")
                .build()
                .expect("a request");
            assert_eq!(peers.at(flow, Some(&request)).first().copied(), expected, "{remote} {via} {user}");
        };
        check(TransportKind::Udp, "192.0.2.9:5060", "x", "c", Some(0));
        check(TransportKind::Udp, "192.0.2.9:5070", "x", "a", Some(1));
        check(TransportKind::Udp, "192.0.2.9:5070", "x", "c", Some(2));
        check(TransportKind::Udp, "192.0.2.9:9999", "x", "b", Some(1));
        check(TransportKind::Udp, "192.0.2.9:9999", "x:5070", "?", Some(0));
        check(TransportKind::Tcp, "192.0.2.9:9999", "x:5070", "c", Some(2));
        check(TransportKind::Tcp, "192.0.2.9:9999", "x", "c", Some(0));
        check(TransportKind::Udp, "192.0.2.8:5060", "x", "a", None);
    }
}
