//! The transaction layer: RFC 3261 §17 with the corrections of RFC 6026 and RFC 4320.
//!
//! `Transactions` owns the transport layer and the four kinds of machine. It matches messages to machines (§17.1.3,
//! §17.2.3), answers merged requests with 482 (§8.2.2.2) and requests beyond its limit with 503, and keeps every
//! machine's deadline in one ordered table.

mod again;
mod by_size;
mod client_invite;
mod client_non_invite;
mod key;
mod server_invite;
mod server_non_invite;
mod shedding;
pub mod timers;
pub mod token;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;

use self::again::Again;
use self::by_size::{Fallback, UdpOnly};
use self::client_invite::ClientInvite;
use self::client_non_invite::ClientNonInvite;
use self::key::{ClientKey, Origin, ServerKey};
use self::server_invite::ServerInvite;
use self::server_non_invite::ServerNonInvite;
use self::shedding::Shedding;
use self::token::Tokens;
use crate::sip::{HeaderName, Method, Request, RequestBuilder, Response, StatusCode};
use crate::timer::{Deadlines, Now};
use crate::transport::refusal::Refusal;
use crate::transport::{self, Dropped, Flow, PeerIdentity, ReplyPath, Stats, Transport, TransportKind, Wire};

/// The transaction layer.
///
/// At most `transactions_max` transactions are held, and for requests within dialogs a reserve on top, so that a flood
/// of INVITEs does not keep calls from ending. A request beyond is answered 503 and counted.
pub(crate) struct Transactions {
    transport: Transport,
    tokens: Tokens,
    limits: TransactionLimits,
    machines: BTreeMap<TransactionId, Transaction>,
    servers: HashMap<ServerKey, TransactionId>,
    clients: HashMap<ClientKey, TransactionId>,
    origins: HashMap<Origin, TransactionId>,
    clients_by_flow: BTreeSet<(Flow, TransactionId)>,
    fallbacks: BTreeMap<TransactionId, Fallback>,
    udp_only: UdpOnly,
    deadlines: Deadlines<TransactionId>,
    next_id: u64,
    shedding: Shedding,
    outputs: VecDeque<Output>,
}

/// How many transactions are held.
#[derive(Clone, Copy, Debug)]
pub struct TransactionLimits {
    /// For any request.
    pub transactions_max: usize,
    /// On top of that, for requests within a dialog and for CANCEL.
    pub in_dialog_reserve: usize,
}

/// Names a transaction for as long as it is held; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TransactionId(u64);

/// What the transaction layer tells. Drain with [`Transactions::poll_output`].
#[derive(Debug)]
pub(crate) enum Output {
    /// A new request: answer it with [`Transactions::respond`]. The flow is the one that its responses take.
    Request { id: TransactionId, flow: Flow, request: Request },
    /// An ACK that is not that of a refusal.
    Ack { request: Request },
    /// A CANCEL: answer it, and the INVITE it is about if that is named.
    Cancel { id: TransactionId, request: Request, invite: Option<TransactionId> },
    /// A response to a request of ours.
    Response { id: TransactionId, response: Response },
    /// A request of ours got no answer, or could not be sent.
    Timeout { id: TransactionId },
    /// An INVITE of ours needs no more attention: no response to it will be passed up any more.
    InviteEnded { id: TransactionId },
}

/// The transaction layer holds all it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions")]
pub(crate) struct TooManyTransactions;

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    /// What is counted for a message this transaction sends.
    method: Method,
    /// Where its request goes if its connection is lost.
    again: Again,
}

/// The machines. An INVITE is kept until something was sent for it: a 100 is made from it.
#[derive(Debug)]
#[expect(clippy::enum_variant_names, reason = "RFC 3261 names them so")]
enum Machine {
    ServerInvite {
        machine: ServerInvite,
        untried: Option<Request>,
        path: ReplyPath,
        key: ServerKey,
        origin: Option<Origin>,
    },
    ServerNonInvite {
        machine: ServerNonInvite,
        path: ReplyPath,
        key: ServerKey,
        origin: Option<Origin>,
    },
    ClientInvite {
        machine: ClientInvite,
        flow: Flow,
        key: ClientKey,
    },
    ClientNonInvite {
        machine: ClientNonInvite,
        flow: Flow,
        key: ClientKey,
    },
}

impl Transactions {
    /// An empty layer over `transport`, whose branches come from `tokens`.
    pub(crate) fn new(transport: Transport, tokens: Tokens, limits: TransactionLimits) -> Self {
        let shedding = Shedding::new(transport.secret());
        Self {
            transport,
            tokens,
            limits,
            machines: BTreeMap::new(),
            servers: HashMap::new(),
            clients: HashMap::new(),
            origins: HashMap::new(),
            clients_by_flow: BTreeSet::new(),
            fallbacks: BTreeMap::new(),
            udp_only: UdpOnly::default(),
            deadlines: Deadlines::new(),
            next_id: 0,
            shedding,
            outputs: VecDeque::new(),
        }
    }

    /// A datagram came.
    pub(crate) fn handle_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        self.transport.handle_datagram(flow, data, now);
        self.drain_transport(now);
    }

    /// From here on this share of the INVITEs that begin a call, 0 to 1, is answered 503 without being held; copies of
    /// those that are held are not. Returns the share before.
    pub(crate) const fn shed(&mut self, share: f64) -> f64 {
        self.shedding.set_share(share)
    }

    /// A connection is open: we opened it if `is_ours`, and `identity` is what its peer's certificate shows.
    pub(crate) fn handle_connected(&mut self, flow: Flow, is_ours: bool, identity: PeerIdentity, now: Now) {
        self.transport.handle_connected(flow, is_ours, identity, now);
    }

    /// A source had a request admitted: it is no stranger.
    pub(crate) fn note_known(&mut self, source: IpAddr, now: Now) {
        self.transport.note_known(source, now);
    }

    /// The peer of a stream has agreed to keep it alive.
    pub(crate) fn expect_keep_alives(&mut self, flow: Flow, now: Now) {
        self.transport.expect_keep_alives(flow, now);
    }

    /// Bytes of a stream came.
    pub(crate) fn handle_segment(&mut self, flow: Flow, data: &[u8], now: Now) {
        self.transport.handle_segment(flow, data, now);
        self.drain_transport(now);
    }

    /// The peer closed a stream, or it broke.
    pub(crate) fn handle_disconnected(&mut self, flow: Flow, now: Now) {
        let was_ours = self.transport.is_ours(flow);
        self.transport.handle_disconnected(flow);
        self.handle_lost(flow, Some(was_ours), now);
    }

    /// What was last written to the flow did not get out (RFC 3261 §17.1.4).
    pub(crate) fn handle_send_failed(&mut self, flow: Flow, now: Now) {
        self.handle_lost(flow, None, now);
    }

    /// Nothing that waits for an answer on this flow gets one there. `was_ours` says whether we had opened the connection, if
    /// there was one.
    fn handle_lost(&mut self, flow: Flow, was_ours: Option<bool>, now: Now) {
        let first = (flow, TransactionId(0));
        let last = (flow, TransactionId(u64::MAX));
        let ids: Vec<_> = self.clients_by_flow.range(first..=last).map(|(_, id)| *id).collect();
        for id in ids {
            if self.fall_back(id, now) || was_ours.is_some_and(|it| self.send_again(id, it, now)) {
                self.settle(id, now);
                continue;
            }
            match self.machines.get_mut(&id).map(|it| &mut it.machine) {
                Some(Machine::ClientInvite { machine, .. }) => machine.handle_send_failed(),
                Some(Machine::ClientNonInvite { machine, .. }) => machine.handle_send_failed(),
                Some(Machine::ServerInvite { .. } | Machine::ServerNonInvite { .. }) | None => (),
            }
            self.settle(id, now);
        }
        self.drain_transport(now);
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.transport.handle_timeout(now);
        while let Some(id) = self.deadlines.pop_due(now.instant) {
            match self.machines.get_mut(&id).map(|it| &mut it.machine) {
                Some(Machine::ServerInvite { machine, .. }) => machine.handle_timeout(now.instant),
                Some(Machine::ServerNonInvite { machine, .. }) => machine.handle_timeout(now.instant),
                Some(Machine::ClientInvite { machine, .. }) => machine.handle_timeout(now.instant),
                Some(Machine::ClientNonInvite { machine, .. }) => machine.handle_timeout(now.instant),
                None => (),
            }
            self.settle(id, now);
        }
        self.drain_transport(now);
    }

    /// The top Via of a new request that goes out on `flow`, with a fresh branch.
    pub(crate) fn next_via(&mut self, flow: Flow) -> String {
        let branch = self.tokens.branch();
        self.via(flow, &branch)
    }

    fn via(&self, flow: Flow, branch: &str) -> String {
        // Peers may use a connection of ours the other way round, if they find us behind it (RFC 5923 §8.1).
        let listens = flow.kind == TransportKind::Tls && self.transport.local_of(flow.kind, flow.local.ip()).is_some();
        let alias = if listens { ";alias" } else { "" };
        format!("SIP/2.0/{} {};branch={branch};rport{alias}", flow.kind.via(), self.transport.sent_by(flow))
    }

    /// Sends `request`, whose top Via is from [`Self::next_via`], in a transaction of its own.
    pub(crate) fn request(
        &mut self,
        flow: Flow,
        request: Request,
        now: Now,
    ) -> Result<TransactionId, TooManyTransactions> {
        let id = self.begin(flow, request, now)?;
        self.drain_transport(now);
        Ok(id)
    }

    fn begin(&mut self, flow: Flow, request: Request, now: Now) -> Result<TransactionId, TooManyTransactions> {
        let method = request.method().clone();
        let is_invite = method == Method::Invite;
        let key = ClientKey::of_request(&request).ok_or(TooManyTransactions)?;
        let again = Again::of(&request, flow);
        if !self.has_room(!is_invite) {
            self.transport.stats_mut().count_dropped(Dropped::TooManyTransactions);
            return Err(TooManyTransactions);
        }
        let machine = if is_invite {
            let machine = ClientInvite::new(request, flow.kind, now.instant);
            Machine::ClientInvite { machine, flow, key: key.clone() }
        } else {
            let machine = ClientNonInvite::new(request.to_bytes(), flow.kind, now.instant);
            Machine::ClientNonInvite { machine, flow, key: key.clone() }
        };
        let id = self.insert(machine, method, again);
        self.clients.insert(key, id);
        self.clients_by_flow.insert((flow, id));
        self.settle(id, now);
        Ok(id)
    }

    /// Cancels the INVITE `id` (RFC 3261 §9.1), which must have got a provisional response. `reason` is the value of its
    /// Reason header field (RFC 3326).
    pub(crate) fn cancel(&mut self, id: TransactionId, reason: &str, now: Now) -> Result<(), TooManyTransactions> {
        let Some(Machine::ClientInvite { machine, flow, .. }) = self.machines.get(&id).map(|it| &it.machine) else {
            return Ok(());
        };
        let flow = *flow;
        let cancel = hop_by_hop(machine.invite(), Method::Cancel, None).header(HeaderName::Reason, reason);
        let cancel = cancel.build().or(Err(TooManyTransactions))?;
        self.request(flow, cancel, now)?;
        Ok(())
    }

    /// Forgets a transaction: an INVITE of ours whose final response is not coming (RFC 3261 §9.1), or a request whose
    /// copies may be answered anew.
    pub(crate) fn abandon(&mut self, id: TransactionId) {
        self.remove(id);
    }

    /// Sends the ACK of a 2xx, which has no transaction.
    pub(crate) fn send_ack(&mut self, flow: Flow, ack: Bytes, now: Now) {
        self.transport.send_request(flow, ack, &Method::Ack, now);
        self.drain_transport(now);
    }

    /// Answers the request `id`. After a 2xx to an INVITE, repeats it.
    pub(crate) fn respond(&mut self, id: TransactionId, response: &Response, now: Now) {
        self.respond_bytes(id, response.status(), response.to_bytes(), now);
    }

    /// As [`Self::respond`], with a response that is written already.
    pub(crate) fn respond_bytes(&mut self, id: TransactionId, status: StatusCode, response: Bytes, now: Now) {
        match self.machines.get_mut(&id).map(|it| &mut it.machine) {
            Some(Machine::ServerInvite { machine, .. }) => machine.respond(status, response, now.instant),
            Some(Machine::ServerNonInvite { machine, path, .. }) => {
                if let Some(response) = machine.respond(response, now.instant) {
                    self.transport.send_response(path, response);
                }
            }
            Some(Machine::ClientInvite { .. } | Machine::ClientNonInvite { .. }) | None => (),
        }
        self.settle(id, now);
        self.drain_transport(now);
    }

    /// Whether the INVITE `id` waits for its final response from us.
    pub(crate) fn is_proceeding(&self, id: TransactionId) -> bool {
        match self.machines.get(&id).map(|it| &it.machine) {
            Some(Machine::ServerInvite { machine, .. }) => machine.is_proceeding(),
            Some(Machine::ServerNonInvite { .. } | Machine::ClientInvite { .. } | Machine::ClientNonInvite { .. })
            | None => false,
        }
    }

    /// Tags, branches and Call-IDs of this shard.
    pub(crate) const fn tokens(&mut self) -> &mut Tokens {
        &mut self.tokens
    }

    /// The layer below, for its getters.
    pub(crate) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The counters of the stack.
    pub(crate) const fn stats_mut(&mut self) -> &mut Stats {
        self.transport.stats_mut()
    }

    /// How many transactions are held.
    pub(crate) fn len(&self) -> usize {
        self.machines.len()
    }

    /// The next thing for the sockets, or `None` once drained.
    pub(crate) fn poll_wire(&mut self) -> Option<Wire> {
        self.transport.poll_wire()
    }

    /// The next thing to know, or `None` once drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and what asks for it.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let transaction = self.deadlines.next().map(|it| (it, "a transaction's timer"));
        let stream = self.transport.poll_timeout().map(|it| (it, "a connection that stalls or is idle"));
        transaction.into_iter().chain(stream).min_by_key(|(at, _)| *at)
    }

    fn drain_transport(&mut self, now: Now) {
        while let Some(output) = self.transport.poll_output() {
            match output {
                transport::Output::Closed { flow, was_ours } => self.handle_lost(flow, Some(was_ours), now),
                transport::Output::Request { flow, request, path } => self.handle_request(flow, request, path, now),
                transport::Output::Response { response } => self.handle_response(response, now),
            }
        }
    }

    fn handle_request(&mut self, flow: Flow, request: Request, path: ReplyPath, now: Now) {
        let key = ServerKey::of(&request);
        let is_ack = *request.method() == Method::Ack;
        if let Some(id) = self.servers.get(&key).copied() {
            self.handle_copy(id, request, now);
            return;
        }
        if is_ack {
            // That of a refusal without a transaction is expected, and asks for nothing.
            let tag = request.headers().to().tag();
            if tag.is_none_or(|it| it != self.transport.stateless_tag(request.headers().top_via())) {
                self.outputs.push_back(Output::Ack { request });
            }
            return;
        }
        let is_cancel = *request.method() == Method::Cancel;
        let origin = if is_cancel { None } else { Origin::of(&request) };
        if origin.as_ref().is_some_and(|it| self.origins.contains_key(it)) {
            self.stats_mut().count_dropped(Dropped::Merged);
            self.refuse(&request, &path, &Refusal::LoopDetected);
            return;
        }
        let begins_call = origin.is_some() && *request.method() == Method::Invite;
        if begins_call && self.shedding.refuses(&key, now.instant) {
            self.stats_mut().count_dropped(Dropped::Overloaded);
            self.refuse(&request, &path, &Refusal::Unavailable { retry_after_s: RETRY_AFTER_S });
            return;
        }
        if !self.has_room(is_cancel || origin.is_none()) {
            self.stats_mut().count_dropped(Dropped::TooManyTransactions);
            self.refuse(&request, &path, &Refusal::Unavailable { retry_after_s: RETRY_AFTER_S });
            return;
        }
        let invite = is_cancel.then(|| self.servers.get(&key.of_invite()).copied()).flatten();
        let reply_flow = path.flow;
        let id = self.insert_server(flow, &request, path, key, origin, now);
        self.outputs.push_back(if is_cancel {
            Output::Cancel { id, request, invite }
        } else {
            Output::Request { id, flow: reply_flow, request }
        });
    }

    fn insert_server(
        &mut self,
        flow: Flow,
        request: &Request,
        path: ReplyPath,
        key: ServerKey,
        origin: Option<Origin>,
        now: Now,
    ) -> TransactionId {
        let method = request.method().clone();
        let machine = if method == Method::Invite {
            let machine = ServerInvite::new(flow.kind, now.instant);
            let untried = Some(request.clone());
            Machine::ServerInvite { machine, untried, path, key: key.clone(), origin: origin.clone() }
        } else {
            let machine = ServerNonInvite::new(flow.kind, now.instant);
            Machine::ServerNonInvite { machine, path, key: key.clone(), origin: origin.clone() }
        };
        let id = self.insert(machine, method, Again::Never);
        self.servers.insert(key, id);
        if let Some(origin) = origin {
            self.origins.insert(origin, id);
        }
        self.settle(id, now);
        id
    }

    /// A request that belongs to the server transaction `id`.
    fn handle_copy(&mut self, id: TransactionId, request: Request, now: Now) {
        let is_ack = *request.method() == Method::Ack;
        match self.machines.get_mut(&id).map(|it| &mut it.machine) {
            Some(Machine::ServerInvite { machine, .. }) if is_ack => {
                machine.handle_ack(now.instant);
                while let Some(output) = machine.poll_output() {
                    if output == server_invite::Output::Ack {
                        self.outputs.push_back(Output::Ack { request: request.clone() });
                    }
                }
            }
            Some(Machine::ServerInvite { machine, .. }) => machine.handle_invite(),
            Some(Machine::ServerNonInvite { machine, path, .. }) => {
                if let Some(response) = machine.handle_request() {
                    self.transport.send_response(path, response);
                }
            }
            Some(Machine::ClientInvite { .. } | Machine::ClientNonInvite { .. }) | None => (),
        }
        self.settle(id, now);
    }

    fn handle_response(&mut self, response: Response, now: Now) {
        let id = ClientKey::of_response(&response).and_then(|it| self.clients.get(&it).copied());
        let Some(id) = id else {
            self.stats_mut().count_dropped(Dropped::StrayResponse);
            return;
        };
        self.fallbacks.remove(&id);
        match self.machines.get_mut(&id).map(|it| &mut it.machine) {
            Some(Machine::ClientInvite { machine, .. }) => machine.handle_response(response, now.instant),
            Some(Machine::ClientNonInvite { machine, .. }) => machine.handle_response(response, now.instant),
            Some(Machine::ServerInvite { .. } | Machine::ServerNonInvite { .. }) | None => (),
        }
        self.settle(id, now);
    }

    /// Drains the machine `id`, moves its deadline and drops it if it is done.
    fn settle(&mut self, id: TransactionId, now: Now) {
        let Some(transaction) = self.machines.get_mut(&id) else {
            return;
        };
        let (deadline, is_terminated) = match &mut transaction.machine {
            Machine::ServerInvite { machine, untried, path, .. } => {
                while let Some(output) = machine.poll_output() {
                    match output {
                        server_invite::Output::Transmit(data) => {
                            *untried = None;
                            self.transport.send_response(path, data);
                        }
                        server_invite::Output::Trying => {
                            let reply = untried.take().map(|it| Response::reply(&it, StatusCode::TRYING).build());
                            // A reply to a request that was read can be written.
                            if let Some(Ok(trying)) = reply {
                                machine.respond(trying.status(), trying.to_bytes(), now.instant);
                            }
                        }
                        server_invite::Output::Ack | server_invite::Output::Unacknowledged => (),
                    }
                }
                (machine.poll_timeout(), machine.is_terminated())
            }
            Machine::ServerNonInvite { machine, .. } => (machine.poll_timeout(), machine.is_terminated()),
            Machine::ClientInvite { machine, flow, .. } => {
                while let Some(output) = machine.poll_output() {
                    match output {
                        client_invite::Output::Transmit(data) => {
                            self.transport.send_request(*flow, data, &transaction.method, now);
                        }
                        client_invite::Output::Response(response) => {
                            self.outputs.push_back(Output::Response { id, response });
                        }
                        client_invite::Output::Timeout => self.outputs.push_back(Output::Timeout { id }),
                    }
                }
                (machine.poll_timeout(), machine.is_terminated())
            }
            Machine::ClientNonInvite { machine, flow, .. } => {
                while let Some(output) = machine.poll_output() {
                    match output {
                        client_non_invite::Output::Transmit(data) => {
                            self.transport.send_request(*flow, data, &transaction.method, now);
                        }
                        client_non_invite::Output::Response(response) => {
                            self.outputs.push_back(Output::Response { id, response });
                        }
                        client_non_invite::Output::Timeout => self.outputs.push_back(Output::Timeout { id }),
                    }
                }
                (machine.poll_timeout(), machine.is_terminated())
            }
        };
        if is_terminated {
            self.remove(id);
        } else {
            self.deadlines.set(id, deadline.map(|(at, _)| at));
        }
    }

    fn insert(&mut self, machine: Machine, method: Method, again: Again) -> TransactionId {
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        self.machines.insert(id, Transaction { machine, method, again });
        id
    }

    fn remove(&mut self, id: TransactionId) {
        self.deadlines.set(id, None);
        self.fallbacks.remove(&id);
        match self.machines.remove(&id).map(|it| it.machine) {
            Some(Machine::ServerInvite { key, origin, .. } | Machine::ServerNonInvite { key, origin, .. }) => {
                self.servers.remove(&key);
                if let Some(origin) = origin {
                    self.origins.remove(&origin);
                }
            }
            Some(Machine::ClientInvite { flow, key, .. }) => {
                self.clients.remove(&key);
                self.clients_by_flow.remove(&(flow, id));
                self.outputs.push_back(Output::InviteEnded { id });
            }
            Some(Machine::ClientNonInvite { flow, key, .. }) => {
                self.clients.remove(&key);
                self.clients_by_flow.remove(&(flow, id));
            }
            None => (),
        }
    }

    fn has_room(&self, is_in_dialog: bool) -> bool {
        let reserve = if is_in_dialog { self.limits.in_dialog_reserve } else { 0 };
        self.machines.len() < self.limits.transactions_max + reserve
    }

    /// Answers without a transaction: a copy of the request gets the same answer again.
    fn refuse(&mut self, request: &Request, path: &ReplyPath, refusal: &Refusal) {
        let tag = self.transport.stateless_tag(request.headers().top_via());
        if let Ok(response) = refusal.reply(request, &tag) {
            self.transport.send_response(path, response.to_bytes());
        }
    }
}

/// A request that follows an INVITE of ours hop by hop: its CANCEL (RFC 3261 §9.1), or the ACK of the response that
/// refused it (§17.1.1.3). Both have the branch of the INVITE; the ACK has the To of the response.
fn hop_by_hop(invite: &Request, method: Method, refused: Option<&Response>) -> RequestBuilder {
    let headers = invite.headers();
    let cseq = format!("{} {method}", headers.cseq().number);
    let to = refused.map_or_else(|| headers.to(), |it| it.headers().to());
    Request::builder(method, invite.uri())
        .header(HeaderName::Via, headers.top_via())
        .header(HeaderName::MaxForwards, MAX_FORWARDS)
        .copy(headers, &HeaderName::Route)
        .header(HeaderName::From, headers.from())
        .header(HeaderName::To, to)
        .header(HeaderName::CallId, headers.call_id())
        .header(HeaderName::CSeq, cseq)
}

/// The Max-Forwards of every request of ours (RFC 3261 §8.1.1.6).
pub(crate) const MAX_FORWARDS: u8 = 70;

/// When to come back if the transactions are exhausted, in seconds.
const RETRY_AFTER_S: u32 = 32;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sip::Message;

    /// A request of this method, as small as can be.
    pub(crate) fn request(method: &str) -> Request {
        let text = format!(
            "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    /// A response to [`request`] for an INVITE.
    pub(crate) fn response(status: u16) -> Response {
        let status = StatusCode::new(status).expect("a status");
        Response::reply(&request("INVITE"), status).build().expect("a response")
    }
}
