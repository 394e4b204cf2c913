//! The transport layer without its sockets: RFC 3261 §18, RFC 3581, the keep-alives of RFC 5626 §4.4.1, the reuse of
//! connections of RFC 5923.
//!
//! It turns datagrams and segments into messages and back, names us in Via and Contact, and decides where a response
//! goes. Deviation: the `maddr` parameter of a Via is not followed (§18.2.2), so that a request cannot point its
//! responses at a third party; a response goes to the address the request came from.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;

mod connection;
mod flow;
pub mod precedence;
pub mod refusal;
pub(crate) mod sources;
mod stats;

use self::connection::{Connection, Due};
use self::sources::{Sources, TooFast};
use crate::limits::STREAMS_MAX;
use crate::sip::{Fault, Frame, Message, Method, ParseError, Request, Response, StatusCode, Via};
use crate::timer::{Deadlines, Now};

pub(crate) use self::flow::uri_host;
pub use self::flow::{Flow, Listener, PeerIdentity, TransportKind};
pub use self::sources::{Rate, SourceLimits};
pub use self::stats::{Dropped, Stats};

/// The transport layer: listeners, the framing of each stream, and the counters of the whole stack.
///
/// At most [`STREAMS_MAX`] streams are held; a segment of one more closes its connection.
pub(crate) struct Transport {
    listeners: Vec<Listener>,
    connections: BTreeMap<Flow, Connection>,
    /// Where peers listen who said that we may use the connection that they opened. As many as there are connections.
    aliases: BTreeMap<SocketAddr, Flow>,
    deadlines: Deadlines<Flow>,
    sources: Sources,
    /// Tags of answers that are given without keeping state: the shard and a secret.
    shard: u16,
    tag_secret: u64,
    stats: Stats,
    /// Whether every message that comes is told as [`Wire::Received`].
    is_tapped: bool,
    wire: VecDeque<Wire>,
    outputs: VecDeque<Output>,
}

/// What goes to the sockets. It passes the layers above untouched, see [`Transport::poll_wire`].
#[derive(Debug)]
pub(crate) enum Wire {
    /// Write this to the flow.
    Send { flow: Flow, data: Bytes },
    /// Framing is lost, or the peer stalls: drop the connection.
    Close { flow: Flow },
    /// For whoever watches: this message came. Only if [`Transport::tap`] was called.
    Received { flow: Flow, data: Bytes },
}

/// What the transport layer tells. Drain with [`Transport::poll_output`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is moved once, and a request is the common case")]
pub(crate) enum Output {
    /// A connection is being dropped, which we had opened if `was_ours`.
    Closed { flow: Flow, was_ours: bool },
    /// A request came, with `received` and `rport` in its top Via, and the way its responses go.
    Request { flow: Flow, request: Request, path: ReplyPath },
    /// A response came.
    Response { response: Response },
}

/// Where the responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyPath {
    /// The way back.
    pub(crate) flow: Flow,
    /// Where to connect to if a stream is gone: the source address, and the port that the Via names. The client of a
    /// websocket listens nowhere.
    alternative: Option<SocketAddr>,
}

impl Transport {
    /// A transport layer that receives on `listeners`.
    pub(crate) fn new(listeners: Vec<Listener>, sources: SourceLimits, shard: u16, tag_secret: u64) -> Self {
        Self {
            listeners,
            connections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            deadlines: Deadlines::new(),
            sources: Sources::new(sources, tag_secret),
            shard,
            tag_secret,
            stats: Stats::new(),
            is_tapped: false,
            wire: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Has every message that comes told as [`Wire::Received`] from here on.
    pub(crate) const fn tap(&mut self) {
        self.is_tapped = true;
    }

    /// A connection is open: we opened it if `is_ours`, and `identity` is what its peer's certificate shows.
    pub(crate) fn handle_connected(&mut self, flow: Flow, is_ours: bool, identity: PeerIdentity, now: Now) {
        if self.has_room(flow) {
            let connection = Connection::new(flow.kind, is_ours, identity, now.instant);
            self.deadlines.set(flow, connection.poll_timeout());
            self.connections.insert(flow, connection);
        }
    }

    /// A datagram or the message of a websocket came.
    pub(crate) fn handle_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        if flow.kind.is_reliable() {
            if !self.has_room(flow) {
                return;
            }
            self.connections.entry(flow).or_insert_with(|| Connection::accepted(flow.kind, now.instant));
        }
        // Keep-alives of network address translators: line ends, or zeros. Those of a connection want an answer.
        if data.iter().all(|it| matches!(it, b'\r' | b'\n' | 0)) {
            if flow.kind.is_reliable() && &*data == PING {
                self.send(flow, Bytes::from_static(PONG));
            }
            return;
        }
        if !self.admits(flow, !data.starts_with(b"SIP/2.0 "), now) {
            return;
        }
        if self.is_tapped {
            self.wire.push_back(Wire::Received { flow, data: data.clone() });
        }
        match Message::parse(data) {
            Ok(message) => self.handle_message(flow, message),
            Err(error) => self.handle_malformed(flow, &error),
        }
    }

    /// Bytes of a stream came.
    pub(crate) fn handle_segment(&mut self, flow: Flow, data: &[u8], now: Now) {
        if !self.has_room(flow) {
            return;
        }
        let connection = self.connections.entry(flow).or_insert_with(|| Connection::accepted(flow.kind, now.instant));
        // Its frames are handled while the connection stays known: answers to them go out on it.
        let mut framer = connection.take_framer();
        let mut is_new = framer.held_bytes() == 0;
        framer.push(data);
        let mut is_ponged = false;
        for frame in framer.by_ref() {
            is_new = true;
            match frame {
                Ok(Frame::Message(message)) => {
                    if self.admits(flow, matches!(message, Message::Request(_)), now) {
                        if self.is_tapped {
                            self.wire.push_back(Wire::Received { flow, data: message.to_bytes() });
                        }
                        self.handle_message(flow, message);
                    }
                }
                Ok(Frame::Malformed(error)) => {
                    if self.admits(flow, true, now) {
                        self.handle_malformed(flow, &error);
                    }
                }
                Ok(Frame::Ping) => self.send(flow, Bytes::from_static(PONG)),
                Ok(Frame::Pong) => is_ponged = true,
                Err(error) => {
                    self.handle_malformed(flow, &error.0);
                    self.close(flow, Dropped::FramingLost);
                    return;
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.handle_segment(framer, is_new, is_ponged, now.instant);
            self.deadlines.set(flow, connection.poll_timeout());
        }
    }

    /// The connection of a stream is gone.
    pub(crate) fn handle_disconnected(&mut self, flow: Flow) {
        self.connections.remove(&flow);
        self.deadlines.set(flow, None);
        self.aliases.retain(|_, it| *it != flow);
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some(flow) = self.deadlines.pop_due(now.instant) {
            let Some(connection) = self.connections.get_mut(&flow) else { continue };
            let due = connection.handle_timeout(now.instant);
            self.deadlines.set(flow, connection.poll_timeout());
            match due {
                Some(Due::Ping) => self.send(flow, Bytes::from_static(PING)),
                Some(Due::Close(reason)) => self.close(flow, reason),
                None => (),
            }
        }
    }

    /// A source had a request admitted: it is no stranger.
    pub(crate) fn note_known(&mut self, source: IpAddr, now: Now) {
        self.sources.note_known(source, now.instant);
    }

    /// The peer of a stream has agreed to keep it alive (RFC 5626 §4.4): one that does not is taken for dead.
    pub(crate) fn expect_keep_alives(&mut self, flow: Flow, now: Now) {
        if let Some(connection) = self.connections.get_mut(&flow).filter(|_| flow.kind.is_stream()) {
            connection.expect_keep_alives(now.instant);
            self.deadlines.set(flow, connection.poll_timeout());
        }
    }

    /// Who is at the other end of `flow`, as its certificate shows.
    pub(crate) fn identity(&self, flow: Flow) -> Option<&PeerIdentity> {
        self.connections.get(&flow).map(Connection::identity).filter(|it| !it.is_empty())
    }

    /// The connection that the peer opened who listens at the other end of `flow`, and is `name`: it may be used in place of
    /// another one (RFC 5923 §8.2).
    pub(crate) fn reusable(&self, flow: Flow, name: &str) -> Option<Flow> {
        let alias = self.aliases.get(&flow.remote).copied().filter(|_| flow.kind == TransportKind::Tls)?;
        self.identity(alias).is_some_and(|it| it.is(name)).then_some(alias)
    }

    /// Remembers that a peer lets us use its connection. Only over TLS, and only who shows to be the host that the Via
    /// names: anybody else could take what is meant for that host.
    fn note_alias(&mut self, flow: Flow, via: &Via) {
        if flow.kind != TransportKind::Tls || !via.params().contains("alias") {
            return;
        }
        let host = via.host().to_string();
        let port = via.port().unwrap_or_else(|| flow.kind.default_port());
        if self.identity(flow).is_some_and(|it| it.is(host.trim_matches(['[', ']'])))
            && self.aliases.len() < STREAMS_MAX
        {
            self.aliases.insert(SocketAddr::new(flow.remote.ip(), port), flow);
        }
    }

    /// Sends a request, or sends it again.
    pub(crate) fn send_request(&mut self, flow: Flow, request: Bytes, method: &Method, now: Now) {
        self.stats.count_request_out(method);
        self.sources.note_known(flow.remote.ip(), now.instant);
        self.send(flow, request);
    }

    /// Sends a response, or sends it again.
    pub(crate) fn send_response(&mut self, path: &ReplyPath, response: Bytes) {
        self.stats.count_response_out(&method_of(&response), status_of(&response));
        let is_gone = path.flow.kind.is_reliable() && !self.has_stream(path.flow);
        let flow = match path.alternative {
            Some(remote) if is_gone => Flow { remote, ..path.flow },
            Some(_) | None => path.flow,
        };
        self.send(flow, response);
    }

    /// The listener that peers on the other end of `flow` know us by.
    pub(crate) fn listener(&self, flow: Flow) -> Option<&Listener> {
        let is_near: [&dyn Fn(&&Listener) -> bool; 4] = [
            &|it| it.kind == flow.kind && it.local == flow.local,
            &|it| it.kind == flow.kind && it.local.ip() == flow.local.ip(),
            &|it| it.kind == flow.kind && it.local.is_ipv4() == flow.local.is_ipv4(),
            &|it| it.local.ip() == flow.local.ip(),
        ];
        is_near.into_iter().find_map(|it| self.listeners.iter().find(it))
    }

    /// Where we listen at `ip` for this kind.
    pub(crate) fn local_of(&self, kind: TransportKind, ip: IpAddr) -> Option<SocketAddr> {
        self.listeners.iter().find(|it| it.kind == kind && it.local.ip() == ip).map(|it| it.local)
    }

    /// The host and port that peers on the other end of `flow` know us by.
    pub(crate) fn sent_by(&self, flow: Flow) -> String {
        match self.listener(flow) {
            Some(it) => format!("{}:{}", it.advertised_host, it.advertised_port),
            None => format!("{}:{}", uri_host(flow.local.ip()), flow.local.port()),
        }
    }

    /// Our Contact for peers on the other end of `flow`.
    pub(crate) fn contact_uri(&self, flow: Flow) -> String {
        match self.listener(flow).filter(|it| it.kind == flow.kind) {
            Some(listener) => listener.contact_uri(),
            None => Listener::new(flow.kind, flow.local).contact_uri(),
        }
    }

    /// A To tag for an answer that is given without keeping state: the same for every copy of a request.
    pub(crate) fn stateless_tag(&self, of: &Via) -> String {
        let mut hasher = DefaultHasher::new();
        (self.tag_secret, of.branch(), of.port(), of.host()).hash(&mut hasher);
        format!("{:04x}{:016x}", self.shard, hasher.finish())
    }

    /// A number that peers do not know.
    pub(crate) const fn secret(&self) -> u64 {
        self.tag_secret
    }

    /// Whether a stream is open, as far as is known here: something came in on it.
    pub(crate) fn has_stream(&self, flow: Flow) -> bool {
        self.connections.contains_key(&flow)
    }

    /// Whether a stream is open that we opened.
    pub(crate) fn is_ours(&self, flow: Flow) -> bool {
        self.connections.get(&flow).is_some_and(Connection::is_ours)
    }

    /// How many streams are held.
    pub(crate) fn streams(&self) -> usize {
        self.connections.len()
    }

    /// The counters of the stack.
    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters of the stack, to count in.
    pub(crate) const fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// The next thing for the sockets, or `None` once drained.
    pub(crate) fn poll_wire(&mut self) -> Option<Wire> {
        self.wire.pop_front()
    }

    /// The next thing to know, or `None` once drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether a connection may be held; one too many is closed.
    fn has_room(&mut self, flow: Flow) -> bool {
        let has_room = self.connections.len() < STREAMS_MAX || self.has_stream(flow);
        if !has_room {
            self.stats.count_dropped(Dropped::TooManyStreams);
            self.wire.push_back(Wire::Close { flow });
        }
        has_room
    }

    /// Whether a message may be taken from its source. One too many meets silence: an answer would make us an amplifier.
    fn admits(&mut self, flow: Flow, is_request: bool, now: Now) -> bool {
        let reason = match self.sources.admit(flow.remote.ip(), is_request, now.instant) {
            Ok(()) => return true,
            Err(TooFast::Anybody) => Dropped::SourceTooFast,
            Err(TooFast::Unknown) => Dropped::UnknownSourceTooFast,
        };
        self.stats.count_dropped(reason);
        false
    }

    fn handle_message(&mut self, flow: Flow, message: Message) {
        match message {
            Message::Request(request) => {
                self.stats.count_request_in(request.method());
                let path = reply_path(flow, request.headers().top_via());
                self.note_alias(flow, request.headers().top_via());
                let request = request.stamped(flow.remote);
                // What was read can be written, except if the stamp makes it too large.
                let Ok(request) = request else {
                    self.stats.count_dropped(Dropped::Malformed);
                    return;
                };
                self.outputs.push_back(Output::Request { flow, request, path });
            }
            Message::Response(response) => {
                self.stats.count_response_in(&response.headers().cseq().method, response.status());
                self.outputs.push_back(Output::Response { response });
            }
        }
    }

    /// Answers what can be answered; the rest is met with silence, so that nobody is told that something listens here.
    fn handle_malformed(&mut self, flow: Flow, error: &ParseError) {
        if error.fault() == Fault::Empty {
            return;
        }
        let Some(via) = error.top_via() else {
            self.stats.count_dropped(Dropped::Garbage);
            return;
        };
        self.stats.count_dropped(Dropped::Malformed);
        let path = reply_path(flow, via);
        if let Some(reply) = error.reply(flow.remote, &self.stateless_tag(via)) {
            self.stats.count_response_out(&method_of(&reply), error.status());
            // Over a stream that is about to close, too: the peer learns why.
            self.send(path.flow, reply);
        }
    }

    fn send(&mut self, flow: Flow, data: Bytes) {
        self.wire.push_back(Wire::Send { flow, data });
    }

    fn close(&mut self, flow: Flow, reason: Dropped) {
        self.stats.count_dropped(reason);
        let was_ours = self.is_ours(flow);
        self.handle_disconnected(flow);
        self.wire.push_back(Wire::Close { flow });
        self.outputs.push_back(Output::Closed { flow, was_ours });
    }
}

fn reply_path(flow: Flow, via: &Via) -> ReplyPath {
    let sent_by = SocketAddr::new(flow.remote.ip(), via.port().unwrap_or_else(|| flow.kind.default_port()));
    let is_direct = flow.kind.is_reliable() || via.rport().is_some();
    let alternative = (!flow.kind.is_websocket()).then_some(sent_by);
    let flow = if is_direct { flow } else { Flow { remote: sent_by, ..flow } };
    ReplyPath { flow, alternative }
}

/// The method that a response of ours answers.
fn method_of(response: &Bytes) -> Method {
    let line = memchr::memmem::find(response, b"\r\nCSeq:").and_then(|at| response.get(at + 2..));
    let line = line.and_then(|it| it.split(|byte| *byte == b'\r').next()).unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().and_then(|it| std::str::from_utf8(it).ok());
    word.and_then(Method::parse).unwrap_or_else(|| Method::Other("".into()))
}

/// The status in the first line of a response that we wrote.
fn status_of(response: &Bytes) -> StatusCode {
    let digits = response.get(8..11).and_then(|it| std::str::from_utf8(it).ok());
    digits.and_then(|it| it.parse().ok()).and_then(StatusCode::new).unwrap_or(StatusCode::OK)
}

/// A keep-alive that asks for an answer, and the answer (RFC 5626 §4.4.1).
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_response_goes_back_where_its_request_came_from() {
        // Via as it came; Via as it is passed on; where the response goes.
        for (via, stamped, reply) in [
            ("192.0.2.9:5070", "192.0.2.9:5070;branch=b", "192.0.2.9:5070"),
            ("192.0.2.9", "192.0.2.9;branch=b", "192.0.2.9:5060"),
            ("10.0.0.1:5070", "10.0.0.1:5070;branch=b;received=192.0.2.9", "192.0.2.9:5070"),
            ("host.example", "host.example;branch=b;received=192.0.2.9", "192.0.2.9:5060"),
            ("10.0.0.1;rport", "10.0.0.1;branch=b;received=192.0.2.9;rport=6000", "192.0.2.9:6000"),
            ("192.0.2.9;rport", "192.0.2.9;branch=b;received=192.0.2.9;rport=6000", "192.0.2.9:6000"),
            ("192.0.2.9;maddr=198.51.100.1", "192.0.2.9;maddr=198.51.100.1;branch=b", "192.0.2.9:5060"),
            ("192.0.2.9;received=198.51.100.1", "192.0.2.9;branch=b", "192.0.2.9:5060"),
        ] {
            let mut transport = transport();
            transport.handle_datagram(flow(TransportKind::Udp), options(via, ""), Now::origin());
            let Some(Output::Request { request, path, .. }) = transport.poll_output() else {
                panic!("{via} is a request");
            };
            assert_eq!(request.headers().top_via().as_str(), format!("SIP/2.0/UDP {stamped}"));
            transport.send_response(&path, Bytes::from_static(b"SIP/2.0 200 OK"));
            assert_eq!(drain(&mut transport), [format!("{reply} SIP/2.0 200 OK")], "{via}");
        }
    }

    #[test]
    fn datagrams_that_are_no_request_meet_silence_or_400() {
        let long = options("192.0.2.9", "Content-Length: 5\r\n\r\n1234");
        let ack = Bytes::from_static(b"ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=b\r\n\r\n");
        let response = Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n");
        for (data, expected, dropped) in [
            (long, vec!["192.0.2.9:5060 SIP/2.0 400 Body Shorter Than Content-Length"], Some(Dropped::Malformed)),
            (Bytes::from_static(b"hello"), vec![], Some(Dropped::Garbage)),
            (Bytes::from_static(b"\r\n\r\n"), vec![], None),
            (Bytes::from_static(b"\0\0\0\0"), vec![], None),
            (Bytes::new(), vec![], None),
            (ack, vec![], Some(Dropped::Garbage)),
            (response, vec![], Some(Dropped::Garbage)),
        ] {
            let mut transport = transport();
            transport.handle_datagram(flow(TransportKind::Udp), data.clone(), Now::origin());
            assert!(transport.poll_output().is_none(), "{data:?}");
            assert_eq!(drain(&mut transport), expected, "{data:?}");
            let counted = Dropped::ALL.into_iter().filter(|it| transport.stats().dropped(*it) > 0);
            assert_eq!(counted.collect::<Vec<_>>(), Vec::from_iter(dropped), "{data:?}");
        }
    }

    #[test]
    fn trailing_bytes_of_a_datagram_are_no_request() {
        let mut transport = transport();
        let hidden = options("192.0.2.9", "Content-Length: 0\r\n\r\nBYE sip:a@b SIP/2.0\r\n\r\n");
        transport.handle_datagram(flow(TransportKind::Udp), hidden, Now::origin());
        assert!(matches!(transport.poll_output(), Some(Output::Request { request, .. }) if request.body().is_empty()));
        assert!(transport.poll_output().is_none() && transport.poll_wire().is_none());
    }

    #[test]
    fn streams_may_come_in_any_pieces() {
        let message = options("192.0.2.9", "Content-Length: 2\r\n\r\nhi");
        let stream = [b"\r\n\r\n", &message[..], &message[..], b"\r\n\r\n", &message[..]].concat();
        for piece in [1, 2, 3, 7, 100, stream.len()] {
            let mut transport = transport();
            for data in stream.chunks(piece) {
                transport.handle_segment(flow(TransportKind::Tcp), data, Now::origin());
            }
            let requests = std::iter::from_fn(|| transport.poll_output()).count();
            assert_eq!((requests, drain(&mut transport).len()), (3, 2), "pieces of {piece}");
            assert_eq!(transport.poll_timeout(), None, "nothing is unfinished");
            transport.handle_disconnected(flow(TransportKind::Tcp));
            assert_eq!(transport.streams(), 0);
        }
    }

    #[test]
    fn a_stream_without_framing_is_answered_and_closed() {
        let mut transport = transport();
        transport.handle_segment(flow(TransportKind::Tcp), &options("192.0.2.9", ""), Now::origin());
        assert_eq!(
            drain(&mut transport),
            ["192.0.2.9:6000 SIP/2.0 400 Missing Content-Length", "close 192.0.2.9:6000"]
        );
        assert!(matches!(transport.poll_output(), Some(Output::Closed { .. })));
        assert_eq!((transport.streams(), transport.stats().dropped(Dropped::FramingLost)), (0, 1));
    }

    #[test]
    fn a_message_must_be_finished_in_time_and_a_busy_stream_lives() {
        let (flow, start) = (flow(TransportKind::Tcp), Now::origin());
        let message = options("192.0.2.9", "Content-Length: 0\r\n\r\n");
        let mut transport = transport();
        transport.handle_segment(flow, b"OPTIONS", start);
        let mut at = start;
        // One more byte now and then does not help.
        for _ in 0..3 {
            at = at + Duration::from_secs(10);
            transport.handle_segment(flow, b" ", at);
            transport.handle_timeout(at);
        }
        assert_eq!(drain(&mut transport), Vec::<String>::new());
        assert_eq!(transport.poll_timeout(), Some((start + Duration::from_secs(32)).instant));
        transport.handle_timeout(start + Duration::from_secs(32));
        assert_eq!(drain(&mut transport), ["close 192.0.2.9:6000"]);
        // Always in the middle of a message, but never of the same one.
        let half = message.len() / 2;
        transport.handle_segment(flow, &message[..half], start);
        for round in 1..10 {
            let now = start + Duration::from_secs(10 * round);
            transport.handle_timeout(now);
            transport.handle_segment(flow, &[&message[half..], &message[..half]].concat(), now);
        }
        assert_eq!((transport.streams(), drain(&mut transport).len()), (1, 0));
    }

    #[test]
    fn a_response_to_a_stream_that_is_gone_opens_another() {
        let mut transport = transport();
        let message = options("192.0.2.9:5071", "Content-Length: 0\r\n\r\n");
        transport.handle_segment(flow(TransportKind::Tcp), &message, Now::origin());
        let Some(Output::Request { path, .. }) = transport.poll_output() else {
            panic!("it is a request");
        };
        transport.send_response(&path, Bytes::from_static(b"SIP/2.0 200 OK"));
        transport.handle_disconnected(flow(TransportKind::Tcp));
        transport.send_response(&path, Bytes::from_static(b"SIP/2.0 200 OK"));
        assert_eq!(drain(&mut transport), ["192.0.2.9:6000 SIP/2.0 200 OK", "192.0.2.9:5071 SIP/2.0 200 OK"]);
    }

    #[test]
    fn a_websocket_carries_whole_messages_and_is_the_only_way_back() {
        let (flow, start) = (flow(TransportKind::Ws), Now::origin());
        let mut transport = transport();
        transport.handle_connected(flow, false, PeerIdentity::new(["Carrier.example"]), start);
        assert!(transport.identity(flow).is_some_and(|it| it.is("carrier.example")));
        transport.handle_datagram(flow, Bytes::from_static(PING), start);
        transport.handle_datagram(flow, Bytes::from_static(b"hello"), start);
        transport.handle_datagram(flow, options("phone.invalid", ""), start);
        let Some(Output::Request { path, .. }) = transport.poll_output() else {
            panic!("it is a request");
        };
        transport.send_response(&path, Bytes::from_static(b"SIP/2.0 200 OK"));
        transport.handle_disconnected(flow);
        transport.send_response(&path, Bytes::from_static(b"SIP/2.0 200 OK"));
        assert_eq!(
            drain(&mut transport),
            ["192.0.2.9:6000 ", "192.0.2.9:6000 SIP/2.0 200 OK", "192.0.2.9:6000 SIP/2.0 200 OK"]
        );
        assert_eq!((transport.streams(), transport.identity(flow)), (0, None));
    }

    #[test]
    fn a_connection_is_reused_for_whom_its_certificate_names() {
        let tls = flow(TransportKind::Tls);
        // Names in the certificate; the Via of a request that came; whom a connection is wanted to, and where.
        let check = |names: &[&str], via: &str, name: &str, at: &str, is_reused: bool| {
            let mut transport = transport();
            transport.handle_connected(tls, false, PeerIdentity::new(names), Now::origin());
            transport.handle_segment(tls, &options(via, "Content-Length: 0\r\n\r\n"), Now::origin());
            let wanted = Flow { remote: at.parse().expect("an address"), ..tls };
            assert_eq!(transport.reusable(wanted, name), is_reused.then_some(tls), "{names:?} {via} {name} {at}");
            transport.handle_disconnected(tls);
            assert_eq!(transport.reusable(wanted, name), None, "it is gone");
        };
        let both = ["sbc.example", "192.0.2.9"];
        check(&both, "sbc.example;alias", "sbc.example", "192.0.2.9:5061", true);
        check(&both, "SBC.example:5071;alias", "sbc.example", "192.0.2.9:5071", true);
        check(&both, "192.0.2.9;alias", "sbc.example", "192.0.2.9:5061", true);
        check(&both, "sbc.example", "sbc.example", "192.0.2.9:5061", false);
        check(&both, "other.example;alias", "sbc.example", "192.0.2.9:5061", false);
        check(&both, "sbc.example;alias", "other.example", "192.0.2.9:5061", false);
        check(&both, "sbc.example;alias", "sbc.example", "192.0.2.9:5062", false);
        check(&both, "sbc.example;alias", "sbc.example", "192.0.2.10:5061", false);
        check(&[], "sbc.example;alias", "sbc.example", "192.0.2.9:5061", false);
    }

    #[test]
    fn requests_beyond_the_rate_of_a_stranger_meet_silence() {
        let rate = |burst| Some(Rate { per_s: 1, burst });
        let sources = SourceLimits { messages: rate(5), unknown_requests: rate(2), exempt: vec![] };
        let mut transport = Transport::new(vec![], sources, 0, 0);
        let (udp, now) = (flow(TransportKind::Udp), Now::origin());
        let requests = |transport: &mut Transport, count: usize| {
            for _ in 0..count {
                transport.handle_datagram(udp, options("192.0.2.9", ""), now);
            }
            std::iter::from_fn(|| transport.poll_output()).count()
        };
        assert_eq!(requests(&mut transport, 10), 2);
        // Who was sent a request is no stranger.
        transport.send_request(udp, Bytes::from_static(b"BYE"), &Method::Bye, now);
        assert_eq!(requests(&mut transport, 10), 3);
        let dropped = [Dropped::UnknownSourceTooFast, Dropped::SourceTooFast].map(|it| transport.stats().dropped(it));
        assert_eq!((dropped, drain(&mut transport).len()), ([8, 7], 1));
    }

    #[test]
    fn one_stream_too_many_is_closed() {
        let mut transport = transport();
        for port in 0..=STREAMS_MAX {
            let port = u16::try_from(port).expect("few enough");
            let remote = SocketAddr::new(flow(TransportKind::Tcp).remote.ip(), port);
            transport.handle_segment(Flow { remote, ..flow(TransportKind::Tcp) }, b"O", Now::origin());
        }
        assert_eq!(transport.streams(), STREAMS_MAX);
        assert_eq!(drain(&mut transport), [format!("close 192.0.2.9:{STREAMS_MAX}")]);
    }

    #[test]
    fn peers_are_told_the_advertised_address_of_their_listener() {
        let transport = transport();
        for (kind, local, sent_by, contact) in [
            (TransportKind::Udp, "192.0.2.1:5060", "sip.example.org:5080", "sip:sip.example.org:5080"),
            (TransportKind::Udp, "[2001:db8::1]:5060", "[2001:db8::1]:5060", "sip:[2001:db8::1]:5060"),
            (TransportKind::Tcp, "192.0.2.1:5060", "192.0.2.1:5060", "sip:192.0.2.1:5060;transport=tcp"),
            (TransportKind::Tcp, "192.0.2.1:41234", "192.0.2.1:5060", "sip:192.0.2.1:5060;transport=tcp"),
        ] {
            let local = local.parse().expect("an address");
            let flow = Flow { kind, local, remote: local };
            assert_eq!((transport.sent_by(flow).as_str(), transport.contact_uri(flow).as_str()), (sent_by, contact));
        }
    }

    fn transport() -> Transport {
        let listener = |kind, local: &str| Listener::new(kind, local.parse().expect("an address"));
        let listeners = vec![
            listener(TransportKind::Udp, "192.0.2.1:5060").advertised_as("sip.example.org", 5080),
            listener(TransportKind::Udp, "[2001:db8::1]:5060"),
            listener(TransportKind::Tcp, "192.0.2.1:5060"),
        ];
        Transport::new(listeners, SourceLimits::none(), 0, 0)
    }

    fn flow(kind: TransportKind) -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.9:6000"].map(|it| it.parse().expect("an address"));
        Flow { kind, local, remote }
    }

    /// An OPTIONS whose Via has this sent-by and these parameters; `rest` begins after the last header field.
    fn options(via: &str, rest: &str) -> Bytes {
        let rest = if rest.is_empty() { "\r\n" } else { rest };
        Bytes::from(format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=b\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: c\r\nCSeq: 1 OPTIONS\r\n{rest}"
        ))
    }

    /// Where each message goes, with its first line.
    fn drain(transport: &mut Transport) -> Vec<String> {
        let wire = std::iter::from_fn(|| transport.poll_wire());
        wire.map(|it| match it {
            Wire::Send { flow, data } => {
                let text = String::from_utf8_lossy(&data);
                format!("{} {}", flow.remote, text.lines().next().unwrap_or_default())
            }
            Wire::Close { flow } => format!("close {}", flow.remote),
            Wire::Received { flow, .. } => format!("received {}", flow.remote),
        })
        .collect()
    }
}
