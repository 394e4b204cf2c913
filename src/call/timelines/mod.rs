//! Whole calls on simulated time, each written as its own call flow.
//!
//! Lines with `<` are what the peer or the shell does; all others are what [`Calls`] does about it, to its last timer:
//! `>` a message that goes out, `!` another output, `#` an entry of the journal.

mod admission;
mod bridged;
mod changes;
mod early_offers;
mod incoming;
mod next_hop;
mod outgoing;
mod parties;
mod reasons;
mod redirects;
mod referrals;
mod refreshes;
mod refusals;
mod reliable;
mod supervised;
mod transfers;
mod transfers_carried_out;
mod trunks;
mod users;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;

use super::*;
use crate::route::{Admission, Target};
use crate::sip::{Headers, Message, Request, Response, StatusCode};
use crate::transport::{Listener, TransportKind};

/// Runs `flow` and compares what happens, to the last timer, with it. Nothing may be held afterwards.
#[track_caller]
fn check(flow: &str) {
    let expected: Vec<_> = flow.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let mut peer = Peer::new(|_| ());
    let log = peer.run(flow);
    assert_eq!(log, expected);
    let counts = peer.calls.counts();
    assert_eq!(counts, Counts::default());
}

/// As [`check`], with a configuration, and with header fields that are shown, too.
#[track_caller]
fn check_showing(shown: &[HeaderName], configure: impl FnOnce(&mut CallsConfig), flow: &str) {
    let expected: Vec<_> = flow.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let mut peer = Peer::new(configure);
    peer.shown = shown.to_vec();
    let log = peer.run(flow);
    assert_eq!(log, expected);
    assert_eq!(peer.calls.counts(), Counts::default());
}

/// A peer that does what it is told, and the shell around [`Calls`].
struct Peer {
    calls: Calls,
    start: Now,
    now: Now,
    log: Vec<String>,
    leg: Option<LegId>,
    /// The last request of each method that went out, and the To tag of our last response.
    received: BTreeMap<String, Request>,
    tag: String,
    /// The first INVITE that went out.
    first: Option<Request>,
    /// The call that was last ordered.
    ordered: Option<CallId>,
    /// Where the peer is.
    remote: SocketAddr,
    /// The number of our last reliable provisional response, for `rack`.
    rseq: u32,
    /// The last 401 that went out, for `auth`.
    challenge: Option<Response>,
    /// Header fields that are shown of whatever goes out.
    shown: Vec<HeaderName>,
    /// Where calls go if `flow()` does not answer.
    other_flows: Vec<Flow>,
}

impl Peer {
    fn new(configure: impl FnOnce(&mut CallsConfig)) -> Self {
        let mut config = CallsConfig::new(vec![Listener::new(TransportKind::Udp, flow().local)]);
        let target = Target::agent("demo");
        config.listeners[0].1 =
            Admission { unknown_sources: true, unknown_numbers: Some(target), ..Admission::default() };
        configure(&mut config);
        let now = Now::origin();
        let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(1), now);
        Self {
            calls,
            start: now,
            now,
            log: vec![],
            leg: None,
            received: BTreeMap::new(),
            tag: String::new(),
            first: None,
            ordered: None,
            remote: flow().remote,
            rseq: 0,
            challenge: None,
            shown: vec![],
            other_flows: vec![],
        }
    }

    fn run(&mut self, flow: &str) -> Vec<String> {
        let inputs = flow.lines().filter_map(|it| it.trim().split_once(" < "));
        for (at, input) in inputs {
            let ms: u64 = at.trim().replace('.', "").parse().expect("a time with three decimals");
            self.advance(Some(self.start + Duration::from_millis(ms)));
            self.log.push(format!("{} < {input}", self.at()));
            self.act(input);
            self.drain();
        }
        self.advance(None);
        std::mem::take(&mut self.log)
    }

    /// Lets timers fire up to and including `until`, or all of them.
    fn advance(&mut self, until: Option<Now>) {
        while let Some((at, _)) = self.calls.poll_timeout() {
            if until.is_some_and(|until| at > until.instant) {
                break;
            }
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            self.calls.handle_timeout(self.now);
            self.drain();
        }
        self.now = until.unwrap_or(self.now);
    }

    fn at(&self) -> String {
        format!("{:.3}", self.now.since(self.start).as_secs_f64())
    }

    fn act(&mut self, input: &str) {
        let now = self.now;
        let mut words = input.split(' ');
        let what = words.next().expect("a word");
        let options: BTreeMap<_, _> = words.map(|it| it.split_once('=').unwrap_or((it, ""))).collect();
        let leg = self.leg;
        let leg = || leg.expect("there was a call");
        match what {
            "media-opened" => self.calls.handle_media_opened(leg(), "192.0.2.1:20000".parse().expect("valid"), now),
            "media-refused" => self.calls.handle_media_refused(leg(), now),
            "media-inactive" => self.calls.handle_media_inactive(leg(), now),
            "hang-up" => self.calls.hang_up(leg().call, HangUpCause::Done, now),
            "busy" => self.calls.hang_up(leg().call, HangUpCause::Busy, now),
            "answer" => self.calls.answer(leg().call, now),
            "hold" => self.calls.hold(leg().call, true, now),
            "media-moved" => self.calls.handle_media_moved(leg(), "192.0.2.1:20002".parse().expect("valid"), now),
            "resume" => self.calls.hold(leg().call, false, now),
            "transfer" => {
                let to = "sip:bob@example.org?Subject=x".parse().expect("a URI");
                self.calls.transfer(leg().call, &TransferTarget::Uri(to), now);
            }
            "transfer-to-self" => self.calls.transfer(leg().call, &TransferTarget::Call(leg().call), now),
            "report" => self.calls.report_transfer(leg().call, options["status"].parse().expect("a status"), now),
            "drain" => self.calls.drain(now),
            "start" => self.calls.handle_timeout(now),
            "from" => self.remote = options["at"].parse().expect("an address"),
            "place-over" => {
                let remote = options["to"].parse().expect("an address");
                self.other_flows = vec![Flow { remote, ..flow() }];
                self.place(vec![], None);
            }
            "order" => self.order(&options),
            "give-up" => self.calls.hang_up(self.ordered.expect("an order"), HangUpCause::Done, now),
            "place" => self.place(vec![], None),
            "place-with-credentials" => self.place(vec![], Some(users::account("secret"))),
            "place-smuggled" => {
                self.place(vec![(HeaderName::Subject, "x\r\nRoute: <sip:evil>".to_owned())], None);
            }
            "first" => self.respond_first(&options),
            status if status.bytes().all(|it| it.is_ascii_digit()) => self.respond(status, &options),
            method => self.request(method, &options),
        }
    }

    fn place(&mut self, headers: Vec<(HeaderName, String)>, credentials: Option<DigestAccount>) {
        let uri = |it: &str| it.parse().expect("a URI");
        let outbound = Outbound {
            account: AccountId::default(),
            to: uri("sip:peer@192.0.2.9"),
            from: uri("sip:us@192.0.2.1"),
            display_name: Some("Us".to_owned()),
            flow: flow(),
            other_flows: self.other_flows.clone(),
            keeps_transport: false,
            headers,
            credentials,
        };
        self.calls.place(outbound, self.now);
    }

    /// Sends a request of `method`. Options: `branch`, `cseq`, `call`, `from` (tag), `to` (tag), `sdp`, `body`, `h`
    /// (more headers, with `|` between them, `~` for blanks and `{tag}` for our last tag), `contact=none`; `re`: within
    /// the dialog; `auth`: with credentials for our last challenge, of this password; `rack`: with the
    /// RAck of our last reliable response; `hop`: the ACK of a refusal.
    fn request(&mut self, method: &str, options: &BTreeMap<&str, &str>) {
        let option = |name: &str, default: &str| (*options.get(name).unwrap_or(&default)).to_owned();
        let is_outside = matches!(method, "INVITE" | "CANCEL" | "OPTIONS" | "REGISTER" | "REFER" | "GUESS")
            && !options.contains_key("re")
            && !(matches!(method, "OPTIONS" | "REFER" | "NOTIFY") && options.contains_key("cseq"));
        // Where our side called, the dialog has its Call-ID and From the other way round.
        let placed = self.received.get("INVITE").map(Request::headers);
        let call = placed.map_or("c", |it| it.call_id()).to_owned();
        let tag = placed.and_then(|it| it.from().tag()).unwrap_or(&self.tag);
        let tag = if is_outside { "" } else { tag }.to_owned();
        let to = match option("to", &tag) {
            tag if tag.is_empty() => String::new(),
            tag => format!(";tag={tag}"),
        };
        let cseq = option("cseq", if is_outside || method == "ACK" { "1" } else { "2" });
        let is_hop = matches!(method, "INVITE" | "CANCEL") || options.contains_key("hop");
        let branch = option("branch", &format!("{}{cseq}", if is_hop { "" } else { method }));
        let (call, from) = (option("call", &call), option("from", "peer"));
        let default = if method == "INVITE" { "sendrecv" } else { "none" };
        let body = match options.get("body").and_then(|it| it.split_once(':')) {
            Some((content_type, body)) => format!("Content-Type: {content_type}\r\n\r\n{}", body.replace('~', " ")),
            None => sdp(&option("sdp", default)),
        };
        let contact = if options.contains_key("contact") { "" } else { "Contact: <sip:peer@192.0.2.9>\r\n" };
        let header: String =
            extra_headers(options, &self.tag).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let auth = self.challenge.as_ref().zip(options.get("auth"));
        let auth = auth.map_or_else(String::new, |(it, password)| users::authorization(it, password, method));
        let rack =
            if options.contains_key("rack") { format!("RAck: {} 1 INVITE\r\n", self.rseq) } else { String::new() };
        let text = format!(
            "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{branch}\r\n\
             From: <sip:peer@192.0.2.9>;tag={from}\r\nTo: <sip:100@192.0.2.1>{to}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\n{contact}{header}{rack}{auth}{body}"
        );
        let flow = Flow { remote: self.remote, ..flow() };
        self.calls.handle_datagram(flow, Bytes::from(text), self.now);
    }

    /// As [`Self::respond`], to the first INVITE of all.
    fn respond_first(&mut self, options: &BTreeMap<&str, &str>) {
        let first = self.first.clone().expect("an INVITE went out");
        let last = self.received.insert("INVITE".to_owned(), first);
        let status = *options.keys().find(|it| it.bytes().all(|it| it.is_ascii_digit())).expect("a status");
        let options = options.iter().chain([(&"method", &"INVITE")]).map(|(name, value)| (*name, *value)).collect();
        self.respond(status, &options);
        self.received.insert("INVITE".to_owned(), last.expect("an INVITE went out"));
    }

    /// Answers the last request that went out, or that of `method`. Options: `sdp`, `tag`, `h`.
    fn respond(&mut self, status: &str, options: &BTreeMap<&str, &str>) {
        let status: u16 = status.parse().expect("a status");
        let last = options.get("method").copied().unwrap_or_else(|| {
            ["INVITE", "BYE"].into_iter().rfind(|it| self.received.contains_key(*it)).expect("a request went out")
        });
        let Some(request) = self.received.get(last) else {
            let text = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKstray\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n";
            self.calls.handle_datagram(flow(), Bytes::from_static(text.as_bytes()), self.now);
            return;
        };
        let tag = options.get("tag").copied().unwrap_or("peer");
        let mut reply = Response::reply(request, StatusCode::new(status).expect("a status")).to_tag(request, tag);
        if !options.contains_key("contact") {
            reply = reply.header(HeaderName::Contact, "<sip:peer@192.0.2.9>");
        }
        for (name, value) in extra_headers(options, &self.tag) {
            reply = reply.header(HeaderName::parse(&name).expect("a name"), value);
        }
        if let Some(kind) = options.get("sdp") {
            let body = sdp(kind);
            let (_, body) = body.split_once("\r\n\r\n").expect("a body");
            reply = reply.body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
        }
        let data = reply.build().expect("a response").to_bytes();
        self.calls.handle_datagram(flow(), data, self.now);
    }

    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            let line = match output {
                Output::Send { flow: to, data } => {
                    assert_eq!(to.local, flow().local);
                    let line = self.receive(data);
                    if to.remote.ip() == flow().remote.ip() || to.remote == self.remote {
                        line
                    } else {
                        format!("{line} to {}", to.remote.ip())
                    }
                }
                Output::Close { .. } => "! close".to_owned(),
                Output::Received { data, .. } => {
                    let text = String::from_utf8_lossy(&data);
                    format!("~ {}", text.split(' ').next().expect("a word"))
                }
                Output::CallIdKnown { call_id, .. } => {
                    format!("~ is {}", if *call_id == *"c" { "the peer's" } else { "ours" })
                }
                Output::OpenMedia { leg, remote, .. } => {
                    self.leg = Some(leg);
                    format!("! open-media{}", remote.as_ref().map_or_else(String::new, show_media))
                }
                Output::UpdateMedia { remote, is_another, .. } => {
                    format!("! update-media{}{}", if is_another { " another" } else { "" }, show_media(&remote))
                }
                Output::CloseMedia { .. } => "! close-media".to_owned(),
                Output::Bridge { a, b } => format!("! bridge {} {}", a.index, b.index),
                Output::Unbridge { a, b } => format!("! unbridge {} {}", a.index, b.index),
                Output::PlaySound { leg, sound } => format!("! play {} {sound:?}", leg.index),
                Output::Supervising { leg } => format!("! supervising {}", leg.index),
                Output::SupervisorGone { .. } => "! supervisor-gone".to_owned(),
                Output::StartAgent { agent, .. } => format!("! start-agent {}", agent.0),
                Output::EnterRoom { room, .. } => format!("! enter-room {}", room.0),
                Output::Answered { .. } => "! answered".to_owned(),
                Output::Digit { digit, .. } => format!("! digit {digit}"),
                Output::Transferred { outcome, .. } => format!("! transferred {outcome:?}"),
                Output::TransferAsked { to, replaces, .. } => {
                    format!("! transfer-asked {to}{}", replaces.map_or_else(String::new, |it| format!(" {it}")))
                }
                Output::Ended { end, .. } => {
                    let reason = end.reason.map_or_else(String::new, |it| format!(" {it:?}"));
                    format!("! ended {:?} {:?} {:?}{reason}", end.cause, end.sip_status, end.initiator)
                }
                Output::Ask(question) => {
                    self.answer_question(&question);
                    continue;
                }
                Output::Trunk { event, .. } => format!("! trunk {}", trunks::show(event)),
                Output::Secure { .. } => "! secure".to_owned(),
                Output::Registration(event) => {
                    let text = format!("{event:?}");
                    format!("! registration {}", text.split(' ').next().expect("a name"))
                }
                Output::Journal { event: Event::Answered { codec: Some(codec) }, .. } => {
                    format!("# Answered {codec:?}")
                }
                Output::Journal { event, .. } => {
                    let text = format!("{event:?}");
                    format!("# {}", text.split(|it: char| !it.is_ascii_alphabetic()).next().expect("a name"))
                }
            };
            self.log.push(format!("{} {line}", self.at()));
        }
    }

    fn receive(&mut self, data: Bytes) -> String {
        match Message::parse(data).expect("what we send can be read") {
            Message::Request(request) => {
                let method = request.method().as_str().to_owned();
                let line = format!("> {method}{}{}", show_sdp(request.body()), self.show(request.headers()));
                if method == "INVITE" && self.first.is_none() {
                    self.first = Some(request.clone());
                }
                self.received.insert(method, request);
                line
            }
            Message::Response(response) => {
                let headers = response.headers();
                if let Some(tag) = headers.to().tag().filter(|_| matches!(response.status().code(), 101..=299)) {
                    tag.clone_into(&mut self.tag);
                }
                if let Some(Ok(rseq)) = headers.rseq() {
                    self.rseq = rseq;
                }
                if response.status() == StatusCode::UNAUTHORIZED {
                    self.challenge = Some(response.clone());
                }
                let (status, method) = (response.status(), &headers.cseq().method);
                let shown = show_headers(status, headers) + &self.show(headers);
                format!("> {status} {method}{}{shown}", show_sdp(response.body()))
            }
        }
    }

    fn show(&self, headers: &Headers) -> String {
        let values = self.shown.iter().flat_map(|name| headers.all(name).map(move |value| format!(" {name}:{value}")));
        values.collect()
    }
}

fn flow() -> Flow {
    let [local, remote] = ["192.0.2.1:5060", "192.0.2.9:5060"].map(|it| it.parse().expect("an address"));
    Flow { kind: TransportKind::Udp, local, remote }
}

fn extra_headers(options: &BTreeMap<&str, &str>, tag: &str) -> Vec<(String, String)> {
    let all = options.get("h").copied().unwrap_or_default();
    let each = all.split('|').filter_map(|it| it.split_once(':'));
    each.map(|(name, value)| (name.to_owned(), value.replace('~', " ").replace("{tag}", tag))).collect()
}

/// Content-Type, empty line and body.
fn sdp(kind: &str) -> String {
    let (address, rest) = match kind {
        "none" => return "\r\n".to_owned(),
        "garbage" => return "Content-Type: application/sdp\r\n\r\ngarbage".to_owned(),
        "g729" => ("192.0.2.9", "m=audio 4000 RTP/AVP 18".to_owned()),
        "black-hole" => ("0.0.0.0", "m=audio 4000 RTP/AVP 0".to_owned()),
        "moved" => ("192.0.2.10", "m=audio 5000 RTP/AVP 0".to_owned()),
        "video" => ("192.0.2.9", "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 31".to_owned()),
        "no-audio" => ("192.0.2.9", "m=audio 0 RTP/AVP 0\r\nm=video 4002 RTP/AVP 31".to_owned()),
        "pcma" => ("192.0.2.9", "m=audio 4000 RTP/AVP 8".to_owned()),
        direction => ("192.0.2.9", format!("m=audio 4000 RTP/AVP 0\r\na={direction}")),
    };
    format!(
        "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{rest}\r\n"
    )
}

fn show_media(media: &MediaDescription) -> String {
    let send = if media.send { " send" } else { "" };
    let receive = if media.receive { " receive" } else { "" };
    format!("{send}{receive}")
}

/// The direction and the version of a session description of ours.
fn show_sdp(body: &Bytes) -> String {
    if body.is_empty() {
        return String::new();
    }
    if body.starts_with(b"SIP/2.0") {
        return format!(" [{}]", String::from_utf8_lossy(body).trim_end());
    }
    let description = crate::sdp::SessionDescription::parse(body).expect("a session description");
    let direction = description.direction_of(&description.media[0]);
    let others = description.media.iter().skip(1).map(|it| format!(" {} {}", it.kind, it.port));
    format!(" {direction} v{}{}", description.origin.version, others.collect::<String>())
}

/// The header fields that explain a refusal or answer OPTIONS.
fn show_headers(status: StatusCode, headers: &Headers) -> String {
    let names: &[HeaderName] = match status.code() {
        200 if headers.cseq().method == crate::sip::Method::Options => &[HeaderName::Allow, HeaderName::Accept],
        200 => &[],
        _ => &[
            HeaderName::Allow,
            HeaderName::Accept,
            HeaderName::Unsupported,
            HeaderName::Warning,
            HeaderName::RetryAfter,
        ],
    };
    let found = names.iter().filter(|it| headers.contains(it));
    found.map(|it| format!(" {it}")).collect()
}
