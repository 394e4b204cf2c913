//! Several peers around one [`Calls`]: telephones `a`, `b` and so on, each at an address of its own. A peer may have
//! several dialogs at a time: `a`, `a2`.
//!
//! Lines with `<` are what a peer or the shell does, all others what [`Calls`] does about it. Media sessions open at once.
//! A line with `~` stands for how many calls go on after the INVITE of `a` ([`SCENES`]).

use std::collections::BTreeMap;

use super::*;
use crate::route::Destination;

/// Runs `flow` and compares what happens, to the last timer, with it. Nothing may be held afterwards.
#[track_caller]
pub(super) fn check(flow: &str) {
    check_with(|_| (), &[], flow);
}

/// As [`check`], with a configuration, and with header fields that are shown, too.
#[track_caller]
pub(super) fn check_with(configure: impl FnOnce(&mut CallsConfig), shown: &[HeaderName], flow: &str) {
    let flow = SCENES.iter().fold(flow.to_owned(), |flow, (name, lines)| flow.replace(name, lines));
    let expected: Vec<_> = flow.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let mut parties = Parties::new(configure);
    parties.shown = shown.to_vec();
    let log = parties.run(&flow);
    assert_eq!(log, expected, "\n{}", log.join("\n"));
    let counts = parties.calls.counts();
    assert_eq!(counts, Counts::default());
    assert!(parties.calls.legs.is_empty() && parties.calls.by_dialog.is_empty());
}

/// What a line stands for.
const SCENES: [(&str, &str); 2] = [
    (
        "~ b answers",
        "
        0.000 # Offered
        0.000 ! open-media 0
        0.000 # Dialled 1
        0.000 ! open-media 1
        0.000 > b INVITE sendrecv v1
        0.010 < b 200 sdp=sendrecv
        0.010 > b ACK
        0.010 # LegAnswered 1
        0.010 ! update-media 1 192.0.2.11 send receive
        0.010 ! bridge 0 1
        0.010 # Bridged 0 1
        0.010 > a 200 INVITE sendrecv v1
        0.010 ! answered 0
        0.010 # Answered
        0.020 < a ACK",
    ),
    (
        "~ the agent answers",
        "
        0.000 # Offered
        0.000 ! open-media 0
        0.000 ! start-agent demo
        0.000 > a 180 INVITE
        0.000 # Ringing
        0.000 > a 200 INVITE sendrecv v1
        0.000 ! answered 0
        0.000 # Answered
        0.020 < a ACK",
    ),
];

/// One dialog of a telephone.
#[derive(Default)]
struct Phone {
    call_id: String,
    local_tag: String,
    remote_tag: String,
    cseq: u32,
    /// Its own INVITE that is to be acknowledged or cancelled.
    invite: (String, u32),
    /// The last request of each method that it got.
    received: BTreeMap<String, Request>,
}

struct Parties {
    calls: Calls,
    start: Now,
    now: Now,
    log: Vec<String>,
    phones: BTreeMap<String, Phone>,
    call: Option<CallId>,
    calls_made: u32,
    shown: Vec<HeaderName>,
    challenge: Option<Response>,
}

impl Parties {
    /// Telephone `a` is a known source; 200 is an agent, and 300, 400 and so on lead to `b`, `c` and so on.
    fn new(configure: impl FnOnce(&mut CallsConfig)) -> Self {
        let mut config = CallsConfig::new(vec![Listener::new(TransportKind::Udp, flow().local)]);
        config.routes.insert_source("192.0.2.10/32".parse().expect("a network"));
        config.routes.insert_number("200", Target::agent("demo"));
        for (number, name) in [("300", "b"), ("400", "c"), ("500", "d")] {
            let uri = format!("sip:{name}@{}", address(name)).parse().expect("a URI");
            config.routes.insert_number(number, Target { account: AccountId::default(), to: Destination::Uri(uri) });
        }
        config.users = Some(UsersConfig {
            digest: crate::auth::DigestServerConfig::new("ours"),
            registrar: registrar::RegistrarConfig::default(),
            users: vec![(AccountId::default(), "100".to_owned(), crate::identity::Secret::new("secret"))],
            caller_ids: BTreeMap::new(),
            plain_media: std::collections::BTreeSet::new(),
        });
        config.routes.insert_user(AccountId::default(), "100");
        config.session_timers.outbound = false;
        configure(&mut config);
        let now = Now::origin();
        let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(1), now);
        let phones = BTreeMap::new();
        Self { calls, start: now, now, log: vec![], phones, call: None, calls_made: 0, shown: vec![], challenge: None }
    }

    fn run(&mut self, flow: &str) -> Vec<String> {
        for (at, input) in flow.lines().filter_map(|it| it.trim().split_once(" < ")) {
            let ms: u64 = at.trim().replace('.', "").parse().expect("a time with three decimals");
            self.advance(Some(self.start + Duration::from_millis(ms)));
            self.log.push(format!("{} < {input}", self.at()));
            self.act(input);
            self.drain();
        }
        self.advance(None);
        std::mem::take(&mut self.log)
    }

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
        let mut words = input.split(' ');
        let name = words.next().expect("a word").to_owned();
        let options: BTreeMap<_, _> = words.clone().map(|it| it.split_once('=').unwrap_or((it, ""))).collect();
        let call = || self.call.expect("there was a call");
        match name.as_str() {
            "drain" => self.calls.drain(self.now),
            "hang-up" => self.calls.hang_up(call(), HangUpCause::Done, self.now),
            "inactive" => {
                let index = words.next().expect("a leg").parse().expect("a number");
                self.calls.handle_media_inactive(LegId { call: call(), index }, self.now);
            }
            "moved" => {
                let index: u8 = words.next().expect("a leg").parse().expect("a number");
                let address = SocketAddr::from(([192, 0, 2, 1], 30_000 + u16::from(index)));
                self.calls.handle_media_moved(LegId { call: call(), index }, address, self.now);
            }
            "hand-over" => {
                let uri = format!("sip:b@{}", address("b")).parse().expect("a URI");
                let target = Target { account: AccountId::default(), to: Destination::Uri(uri) };
                let how = match words.next() {
                    Some("refer") => HandOver::Referred,
                    Some("refer-or-bridge") => HandOver::ReferredOrBridged,
                    Some("release") => HandOver::Released,
                    _ => HandOver::Bridged,
                };
                self.calls.hand_over(call(), target, how, self.now);
            }
            "supervise" | "redirect" => {
                let to = words.next().expect("a telephone");
                let uri = format!("sip:{to}@{}", address(to)).parse().expect("a URI");
                let target = Target { account: AccountId::default(), to: Destination::Uri(uri) };
                let done = match name.as_str() {
                    "supervise" => self.calls.supervise(call(), target, self.now),
                    _ => self.calls.redirect(call(), target, self.now),
                };
                if let Err(refusal) = done {
                    self.log.push(format!("{} ! refused {}", self.at(), refusal.status().code()));
                }
            }
            "dismiss" => drop(self.calls.dismiss_supervisor(call(), self.now)),
            _ => match words.next().expect("what the telephone does") {
                status if status.bytes().all(|it| it.is_ascii_digit()) => self.respond(&name, status, &options),
                "REGISTER" => self.register(&name),
                method => self.request(&name, method, &options),
            },
        }
    }

    fn send(&mut self, name: &str, text: String) {
        let flow = Flow { remote: address(name), ..flow() };
        self.calls.handle_datagram(flow, Bytes::from(text), self.now);
    }

    /// The user 100 registers, showing its password.
    fn register(&mut self, name: &str) {
        for cseq in 1..=2 {
            let credentials = self.challenge.take();
            let credentials =
                credentials.map_or_else(String::new, |it| users::authorization(&it, "secret", "REGISTER"));
            let at = address(name);
            let text = format!(
                "REGISTER sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKr{name}{cseq}\r\n\
                 From: <sip:100@192.0.2.1>;tag=r\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: r{name}\r\nCSeq: {cseq} REGISTER\r\n\
                 Contact: <sip:{name}@{at}>;expires=600\r\n{credentials}\r\n"
            );
            self.send(name, text);
            self.drain();
        }
    }

    /// Options: `to` (whom an INVITE calls), `sdp`, `h` (more header fields, with `|` between them and `~` for blanks),
    /// ``refer` and `with` (Refer-To and its Replaces), `re`.
    fn request(&mut self, name: &str, method: &str, options: &BTreeMap<&str, &str>) {
        let is_new = method == "INVITE" && !options.contains_key("re");
        let dialogs: BTreeMap<_, _> = self
            .phones
            .iter()
            .map(|(name, it)| {
                (name.clone(), format!("{};to-tag={};from-tag={}", it.call_id, it.remote_tag, it.local_tag))
            })
            .collect();
        let phone = self.phones.entry(name.to_owned()).or_default();
        if is_new {
            self.calls_made += 1;
            *phone = Phone {
                call_id: format!("call-{name}-{}", self.calls_made),
                local_tag: format!("tag-{name}"),
                ..Phone::default()
            };
        }
        if !matches!(method, "ACK" | "CANCEL") {
            phone.cseq += 1;
        }
        if method == "INVITE" {
            phone.invite = (format!("{}i{}", phone.call_id, phone.cseq), phone.cseq);
        }
        let (branch, cseq) = match method {
            "CANCEL" => phone.invite.clone(),
            "ACK" if options.contains_key("hop") => phone.invite.clone(),
            "ACK" => (format!("{}a{}", phone.call_id, phone.invite.1), phone.invite.1),
            "INVITE" => phone.invite.clone(),
            _ => (format!("{}{method}{}", phone.call_id, phone.cseq), phone.cseq),
        };
        let at = address(name);
        let to = options.get("to").unwrap_or(&"300");
        let to_tag = if is_new || method == "CANCEL" { String::new() } else { format!(";tag={}", phone.remote_tag) };
        let mut header: String =
            extra_headers(options, "").iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if let Some(refer) = options.get("refer") {
            let with = options.get("with").map_or_else(String::new, |it| {
                let escaped = dialogs[*it].replace(';', "%3B").replace('=', "%3D");
                format!("?Replaces={escaped}")
            });
            header += &format!("Refer-To: <sip:{refer}@192.0.2.1{with}>\r\n");
        }
        let body = options.get("body").and_then(|it| it.split_once(':'));
        let body = body.map(|(kind, body)| format!("Content-Type: {kind}\r\n\r\n{}", body.replace('~', " ")));
        let body = body.unwrap_or_else(|| {
            sdp(options.get("sdp").unwrap_or(&if method == "INVITE" { "sendrecv" } else { "none" }))
        });
        let (call_id, tag) = (&phone.call_id, &phone.local_tag);
        let text = format!(
            "{method} sip:{to}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bK{branch}\r\n\
             From: \"{name}\" <sip:{name}@elsewhere.example>;tag={tag}\r\nTo: <sip:{to}@192.0.2.1>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{name}@{at}>\r\n{header}{body}"
        );
        self.send(name, text);
    }

    /// Answers the last request that it got, or that of `method`. Options: `sdp`, `h`.
    fn respond(&mut self, name: &str, status: &str, options: &BTreeMap<&str, &str>) {
        let phone = &self.phones[name];
        let method = options.get("method").unwrap_or(&"INVITE");
        let request = phone.received.get(*method).expect("a request went out");
        let mut reply = Response::reply(request, StatusCode::new(status.parse().expect("a status")).expect("a status"))
            .to_tag(request, &format!("tag-{name}"));
        if !options.contains_key("contact") {
            reply = reply.header(HeaderName::Contact, format!("<sip:{name}@{}>", address(name)));
        }
        for (name, value) in extra_headers(options, "") {
            reply = reply.header(HeaderName::parse(&name).expect("a name"), value);
        }
        if let Some(kind) = options.get("sdp") {
            let body = sdp(kind);
            let (_, body) = body.split_once("\r\n\r\n").expect("a body");
            reply = reply.body("application/sdp", Bytes::copy_from_slice(body.as_bytes()));
        }
        let data = reply.build().expect("a response").to_bytes();
        let flow = Flow { remote: address(name), ..flow() };
        self.calls.handle_datagram(flow, data, self.now);
    }

    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            let line = match output {
                Output::Send { flow: to, data } => self.receive(to, data),
                Output::Close { .. } => "! close".to_owned(),
                Output::OpenMedia { leg, .. } => {
                    self.call = Some(leg.call);
                    let port = 20_000 + 2 * u16::from(leg.index);
                    self.log.push(format!("{} ! open-media {}", self.at(), leg.index));
                    let address = SocketAddr::from(([192, 0, 2, 1], port));
                    self.calls.handle_media_opened(leg, address, self.now);
                    continue;
                }
                Output::UpdateMedia { leg, peer, remote, is_another } => {
                    let who = if is_another { " another" } else { "" };
                    format!("! update-media {} {peer}{who}{}", leg.index, show_change(&remote))
                }
                Output::CloseMedia { leg } => format!("! close-media {}", leg.index),
                Output::Bridge { a, b } => format!("! bridge {} {}", a.index, b.index),
                Output::Unbridge { a, b } => format!("! unbridge {} {}", a.index, b.index),
                Output::PlaySound { leg, sound } => format!("! play {} {sound:?}", leg.index),
                Output::Supervising { leg } => format!("! supervising {}", leg.index),
                Output::SupervisorGone { .. } => "! supervisor-gone".to_owned(),
                Output::StartAgent { agent, .. } => format!("! start-agent {}", agent.0),
                Output::EnterRoom { room, .. } => format!("! enter-room {}", room.0),
                Output::Answered { leg, .. } => format!("! answered {}", leg.index),
                Output::Digit { leg, digit, .. } => format!("! digit {} {digit}", leg.index),
                Output::Transferred { outcome, .. } => format!("! transferred {outcome:?}"),
                Output::TransferAsked { to, .. } => format!("! transfer-asked {to}"),
                Output::Ended { end, .. } => ended(end),
                Output::Ask(question) => {
                    self.answer_question(&question);
                    continue;
                }
                Output::Registration(_)
                | Output::Trunk { .. }
                | Output::Secure { .. }
                | Output::Received { .. }
                | Output::CallIdKnown { .. } => continue,
                Output::Journal { event, .. } => told(&event),
            };
            self.log.push(format!("{} {line}", self.at()));
        }
    }

    /// The name server knows our address, and that `b.example` is where `b` is.
    fn answer_question(&mut self, question: &Question) {
        let host = question.name.strip_suffix(".example").filter(|it| it.len() == 1).map(address);
        let found = match (question.kind, host) {
            (crate::locate::RecordKind::Route, _) => Ok(flow().local.ip()),
            (crate::locate::RecordKind::A, Some(host)) => Ok(host.ip()),
            _ => Err(crate::locate::Unanswered::None(None)),
        };
        let answer = found.map(|it| (crate::locate::Records::Addresses(vec![it]), Duration::from_secs(60)));
        self.calls.handle_answer(question, answer, self.now);
    }

    fn receive(&mut self, to: Flow, data: Bytes) -> String {
        let message = Message::parse(data).expect("what we send can be read");
        let call_id = message.headers().call_id().to_owned();
        let host = name_at(to.remote);
        let known = self.phones.iter().find(|(name, it)| name.starts_with(&host) && it.call_id == call_id);
        let name = known.map(|(name, _)| name.clone()).unwrap_or(host);
        let shown: String = self
            .shown
            .iter()
            .flat_map(|it| {
                message
                    .headers()
                    .all(it)
                    .map(move |value| format!(" {it}:{}", value.split(";tag=").next().unwrap_or(value)))
            })
            .collect();
        match message {
            Message::Request(request) => {
                let method = request.method().as_str().to_owned();
                let phone = self.phones.entry(name.clone()).or_default();
                if phone.call_id != call_id {
                    let remote_tag = request.headers().from().tag().unwrap_or_default().to_owned();
                    *phone = Phone { call_id, local_tag: format!("tag-{name}"), remote_tag, ..Phone::default() };
                }
                let line = format!("> {name} {method}{}{shown}", show_sdp(request.body()));
                phone.received.insert(method, request);
                line
            }
            Message::Response(response) => {
                let headers = response.headers();
                let status = response.status();
                if let (Some(phone), Some(tag)) = (self.phones.get_mut(&name), headers.to().tag()) {
                    tag.clone_into(&mut phone.remote_tag);
                }
                if status == StatusCode::UNAUTHORIZED {
                    self.challenge = Some(response.clone());
                }
                format!("> {name} {status} {}{}{shown}", headers.cseq().method, show_sdp(response.body()))
            }
        }
    }
}

/// A line of the log for an event of the journal.
fn told(event: &Event) -> String {
    match event {
        Event::Dialled { leg, .. } => format!("# Dialled {leg}"),
        Event::Redirected { leg, to } => format!("# Redirected {leg} {}", to.reveal()),
        Event::LegRinging { leg } => format!("# LegRinging {leg}"),
        Event::LegAnswered { leg, .. } => format!("# LegAnswered {leg}"),
        Event::LegEnded { leg, end } => format!("# LegEnded {leg} {:?}", end.cause),
        Event::Bridged { a, b } => format!("# Bridged {a} {b}"),
        Event::Transferred { outcome, .. } => format!("# Transferred {outcome:?}"),
        Event::TransferAsked { is_accepted, .. } => format!("# TransferAsked {is_accepted}"),
        event @ (Event::Offered { .. }
        | Event::Ringing
        | Event::EarlyMedia
        | Event::Answered { .. }
        | Event::Held
        | Event::Resumed
        | Event::Digit { .. }
        | Event::TransferStarted { .. }
        | Event::Replaced { .. }
        | Event::Ended(_)) => {
            let text = format!("{event:?}");
            format!("# {}", text.split(|it: char| !it.is_ascii_alphabetic()).next().expect("a name"))
        }
    }
}

/// What is agreed on, where it is not PCMU at port 4000 with the codec and address.
fn show_change(media: &MediaDescription) -> String {
    let is_usual = media.codec == crate::codec::AudioCodec::Pcmu;
    let codec = if is_usual { String::new() } else { format!(" {:?}", media.codec) };
    let address = if media.rtp.port() == 4000 { String::new() } else { format!(" {}", media.rtp) };
    show_media(media) + &codec + &address
}

/// Telephone `a` is at 192.0.2.10, `b` at 192.0.2.11 and so on.
fn address(name: &str) -> SocketAddr {
    let letter = name.as_bytes().first().expect("a name");
    SocketAddr::from(([192, 0, 2, 10 + (letter - b'a')], 5060))
}

fn name_at(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => char::from(ip.octets()[3] - 10 + b'a').to_string(),
        IpAddr::V6(ip) => panic!("nobody is at {ip}"),
    }
}

fn ended(end: End) -> String {
    let reason = end.reason.map_or_else(String::new, |it| format!(" {it:?}"));
    format!("! ended {:?} {:?} {:?}{reason}", end.cause, end.sip_status, end.initiator)
}
