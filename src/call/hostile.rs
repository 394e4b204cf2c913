//! Peers that mean harm: mutated messages, floods and calls that are left alone. Nothing may panic, every limit holds, and
//! once the timers ran out nothing is held and calls are possible again.

use rand::{RngExt, SeedableRng};

use super::*;
use crate::route::{Admission, Target};
use crate::transport::{Dropped, Listener, TransportKind};

#[test]
fn mutated_messages_leave_nothing() {
    for seed in 0..4 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut victim = Victim::new(|_| ());
        for round in 0..1_000_u32 {
            let message = SEEDS[rng.random_range(0..SEEDS.len())].replace("{n}", &(round / 4).to_string());
            let message = message.replace("{tag}", &victim.tag);
            let mutated = mutate(message.as_bytes(), &mut rng);
            let flow = flow(TransportKind::Udp, 6_000 + u16::try_from(round % 50).expect("few enough"));
            victim.calls.handle_datagram(flow, mutated, victim.now);
            victim.drain();
            if rng.random_bool(0.1) {
                victim.wait(1);
            }
        }
        victim.rest();
    }
}

#[test]
fn mutated_streams_leave_nothing() {
    let mut rng = ChaCha12Rng::seed_from_u64(9);
    let mut victim = Victim::new(|_| ());
    for port in 6_000..6_200 {
        let flow = flow(TransportKind::Tcp, port);
        let all: Vec<_> = SEEDS.iter().map(|it| it.replace("{n}", &port.to_string())).collect();
        let stream = mutate(all.concat().as_bytes(), &mut rng);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.random_range(1..=rest.len()));
            victim.calls.handle_segment(flow, Bytes::copy_from_slice(piece), victim.now);
            victim.drain();
            rest = after;
        }
        if rng.random_bool(0.9) {
            victim.calls.handle_disconnected(flow, victim.now);
        }
    }
    victim.wait(40);
    for port in 6_000..6_200 {
        victim.calls.handle_disconnected(flow(TransportKind::Tcp, port), victim.now);
    }
    victim.rest();
}

#[test]
fn mutated_extensions_leave_nothing() {
    for seed in 0..6 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut victim = Victim::new(|config| {
            config.transfers = Transfers::ToHosts(vec!["h".to_owned()]);
            config.replacements = Replacements::FromSameSource;
            config.reliable_provisionals = seed % 2 == 0;
            config.ring.answer_after = [None, Some(std::time::Duration::ZERO)][usize::from(seed % 3 == 0)];
        });
        for round in 0..1_500_u32 {
            let message = EXTENSIONS[rng.random_range(0..EXTENSIONS.len())];
            let message = message.replace("{n}", &(round / 20).to_string()).replace("{cseq}", &round.to_string());
            let message = message.replace("{tag}", &victim.tag).replace("{rseq}", &victim.rseq);
            let message = message.replace("{last}", &victim.last_request);
            let mutated =
                if rng.random_bool(0.3) { mutate(message.as_bytes(), &mut rng) } else { Bytes::from(message) };
            victim.calls.handle_datagram(flow(TransportKind::Udp, 6_000), mutated, victim.now);
            victim.drain();
            if rng.random_bool(0.2) {
                victim.command(&mut rng);
            }
            if rng.random_bool(0.05) {
                victim.wait(rng.random_range(1..100));
            }
        }
        victim.rest();
    }
}

#[test]
fn invites_that_are_never_acknowledged_hold_their_limit_and_pass() {
    let mut victim = Victim::new(|config| config.limits.unacknowledged_max = 100);
    for number in 0..400 {
        victim.invite(number);
    }
    assert_eq!(victim.calls.counts().unacknowledged, 100);
    assert_eq!(victim.calls.stats().dropped(Dropped::TooManyUnacknowledged), 300);
    victim.rest();
    victim.invite(1_000);
    assert_eq!(victim.calls.counts().unacknowledged, 1, "calls are possible again");
}

#[test]
fn a_flood_of_questions_is_bounded_and_leaves_room_to_hang_up() {
    let mut victim = Victim::new(|config| config.limits.transactions_max = 1_000);
    victim.invite(1);
    let tag = victim.tag.clone();
    for number in 0..3_000 {
        let message = OPTIONS.replace("{n}", &number.to_string());
        victim.calls.handle_datagram(flow(TransportKind::Udp, 6_000), Bytes::from(message), victim.now);
    }
    victim.drain();
    assert_eq!(victim.calls.counts().transactions, 1_000);
    let bye = SEEDS[3].replace("{n}", "1").replace("{tag}", &tag);
    victim.calls.handle_datagram(flow(TransportKind::Udp, 6_000), Bytes::from(bye), victim.now);
    victim.drain();
    assert_eq!(victim.calls.counts().calls, 0, "the BYE got through");
    victim.rest();
}

#[test]
fn what_waited_for_too_long_is_refused_unless_it_belongs_to_a_call() {
    let mut victim = Victim::new(|_| ());
    let udp = flow(TransportKind::Udp, 6_000);
    let message = |number: &str, tag: &str, seed: &str| Bytes::from(seed.replace("{n}", number).replace("{tag}", tag));
    victim.invite(1);
    let tag = victim.tag.clone();
    let transactions = victim.calls.counts().transactions;
    // A copy of what is held, a new call, and the end of the one that is there.
    victim.calls.handle_late_datagram(udp, message("1", "", SEEDS[0]), victim.now);
    assert_eq!(victim.calls.stats().dropped(Dropped::Overloaded), 0);
    victim.calls.handle_late_datagram(udp, message("2", "", SEEDS[0]), victim.now);
    assert_eq!(victim.calls.stats().dropped(Dropped::Overloaded), 1);
    assert_eq!(victim.calls.counts().transactions, transactions, "nothing is held for it");
    let refused = std::iter::from_fn(|| victim.calls.poll_output()).find_map(|it| {
        let Output::Send { data, .. } = it else { return None };
        data.starts_with(b"SIP/2.0 503").then_some(data)
    });
    let refused = String::from_utf8(refused.expect("it is told").to_vec()).expect("text");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");
    victim.calls.handle_late_datagram(udp, message("1", &tag, SEEDS[3]), victim.now);
    victim.drain();
    assert_eq!(victim.calls.counts().calls, 0, "the BYE got through");
    victim.invite(2);
    assert_eq!(victim.calls.counts().calls, 0, "a copy gets the same answer");
    assert_eq!(victim.calls.stats().dropped(Dropped::Overloaded), 2);
    victim.invite(3);
    assert_eq!(victim.calls.counts().calls, 1, "its caller may call again");
    // The ACK of the refusal is expected, and nobody else's.
    let tag = refused.lines().find_map(|it| it.strip_prefix("To: ")?.split(";tag=").nth(1)).expect("a tag");
    for (tag, stray) in [(tag, 0), ("other", 1)] {
        let ack = SEEDS[0].replace("INVITE", "ACK").replace("{n}", "2");
        let ack = ack.replacen("\r\nCall-ID", &format!(";tag={tag}\r\nCall-ID"), 1);
        victim.calls.handle_datagram(udp, Bytes::from(ack), victim.now);
        victim.drain();
        assert_eq!(victim.calls.stats().dropped(Dropped::StrayAck), stray, "{tag}");
    }
    victim.rest();
}

/// A user agent and its shell.
struct Victim {
    calls: Calls,
    now: Now,
    /// Our tag in the last response.
    tag: String,
    /// The number of our last reliable provisional response.
    rseq: String,
    /// The header fields of our last request that its responses repeat.
    last_request: String,
    started: usize,
    ended: usize,
}

impl Victim {
    fn new(configure: impl FnOnce(&mut CallsConfig)) -> Self {
        let kinds = [TransportKind::Udp, TransportKind::Tcp];
        let mut config = CallsConfig::new(kinds.map(|it| Listener::new(it, flow(it, 1).local)).to_vec());
        for (_, admission) in &mut config.listeners {
            let target = Target::agent("demo");
            *admission = Admission { unknown_sources: true, unknown_numbers: Some(target), ..Admission::default() };
        }
        configure(&mut config);
        let now = Now::origin();
        let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(1), now);
        Self { calls, now, tag: "t".to_owned(), rseq: String::new(), last_request: String::new(), started: 0, ended: 0 }
    }

    fn invite(&mut self, number: u32) {
        let message = SEEDS[0].replace("{n}", &number.to_string());
        self.calls.handle_datagram(flow(TransportKind::Udp, 6_000), Bytes::from(message), self.now);
        self.drain();
    }

    /// Something that the shell might do with any call.
    fn command(&mut self, rng: &mut ChaCha12Rng) {
        let calls: Vec<_> = self.calls.calls.keys().copied().collect();
        let Some(call) = calls.get(rng.random_range(0..=calls.len())).copied() else {
            let uri = |it: &str| it.parse().expect("a URI");
            let (to, from) = (uri("sip:p@192.0.2.9"), uri("sip:a@192.0.2.1"));
            let flow = flow(TransportKind::Udp, 6_000);
            let account = AccountId::default();
            self.calls.place(
                Outbound {
                    account,
                    to,
                    from,
                    display_name: None,
                    flow,
                    other_flows: vec![],
                    keeps_transport: false,
                    headers: vec![],
                    credentials: None,
                },
                self.now,
            );
            // The end of a call that was placed is told, too.
            self.started += 1;
            self.drain();
            return;
        };
        let now = self.now;
        match rng.random_range(0..7) {
            0 => self.calls.hang_up(call, HangUpCause::Busy, now),
            1 => self.calls.hold(call, rng.random(), now),
            2 => self.calls.transfer(call, &TransferTarget::Uri("sip:x@h".parse().expect("a URI")), now),
            3 => self.calls.transfer(call, &TransferTarget::Call(calls[0]), now),
            4 => self.calls.report_transfer(call, rng.random_range(0..800), now),
            5 => self.calls.answer(call, now),
            _ => {
                let address = "192.0.2.1:20002".parse().expect("an address");
                self.calls.handle_media_moved(LegId { call, index: 0 }, address, now);
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::OpenMedia { leg, .. } => {
                    let address = "192.0.2.1:20000".parse().expect("an address");
                    self.calls.handle_media_opened(leg, address, self.now);
                }
                Output::StartAgent { .. } => self.started += 1,
                Output::Ended { .. } => self.ended += 1,
                Output::Send { data, .. } => {
                    let text = String::from_utf8_lossy(&data);
                    let to = text.lines().find(|it| it.starts_with("To: ") || it.starts_with("t:"));
                    if let Some((_, tag)) = to.and_then(|it| it.rsplit_once(";tag=")) {
                        tag.clone_into(&mut self.tag);
                    }
                    if let Some(rseq) = text.lines().find_map(|it| it.strip_prefix("RSeq: ")) {
                        rseq.clone_into(&mut self.rseq);
                    }
                    if !text.starts_with("SIP/2.0") && !text.starts_with("ACK") {
                        let is_repeated = |it: &&str| {
                            ["Via", "From", "To", "Call-ID", "CSeq"]
                                .iter()
                                .any(|name| it.starts_with(&format!("{name}: ")))
                        };
                        self.last_request = text.lines().filter(is_repeated).map(|it| format!("{it}\r\n")).collect();
                        if !self.last_request.contains(";tag=far") {
                            self.last_request = self.last_request.replacen("\r\nCall-ID", ";tag=far\r\nCall-ID", 1);
                        }
                    }
                }
                Output::Supervising { .. }
                | Output::EnterRoom { .. }
                | Output::SupervisorGone { .. }
                | Output::Close { .. }
                | Output::Received { .. }
                | Output::CallIdKnown { .. }
                | Output::UpdateMedia { .. }
                | Output::CloseMedia { .. }
                | Output::Bridge { .. }
                | Output::Unbridge { .. }
                | Output::PlaySound { .. }
                | Output::Answered { .. }
                | Output::Digit { .. }
                | Output::Registration(_)
                | Output::Ask(_)
                | Output::Trunk { .. }
                | Output::Secure { .. }
                | Output::Transferred { .. }
                | Output::TransferAsked { .. }
                | Output::Journal { .. } => (),
            }
        }
    }

    /// Lets so many seconds pass.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + std::time::Duration::from_secs(seconds);
        while let Some((at, _)) = self.calls.poll_timeout().filter(|(at, _)| *at <= until.instant) {
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            self.calls.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// Waits for the last timer. Calls that were acknowledged are hung up as those of a caller who vanished.
    #[track_caller]
    fn rest(&mut self) {
        self.wait(200);
        let left: Vec<_> = self.calls.calls.keys().copied().collect();
        for call in left {
            self.calls.hang_up(call, HangUpCause::Done, self.now);
            self.drain();
        }
        self.wait(200);
        assert_eq!(self.calls.counts(), Counts::default());
        assert_eq!(self.started, self.ended);
    }
}

fn flow(kind: TransportKind, port: u16) -> Flow {
    let local = "192.0.2.1:5060".parse().expect("an address");
    Flow { kind, local, remote: SocketAddr::from(([192, 0, 2, 9], port)) }
}

/// Changes a few bytes: flips, cuts, repeats, or puts in what parsers stumble over.
fn mutate(message: &[u8], rng: &mut ChaCha12Rng) -> Bytes {
    const ODD: [&[u8]; 8] = [b"\r\n", b"\0", b"\"", b";", b"<", b"4294967296", b"\xff\xfe", b"sip:"];
    let mut bytes = message.to_vec();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..bytes.len());
        let to = rng.random_range(at..bytes.len().min(at + 40));
        match rng.random_range(0..4) {
            0 => bytes[at] = rng.random(),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..at, ODD[rng.random_range(0..ODD.len())].iter().copied())),
        }
    }
    Bytes::from(bytes)
}

const OPTIONS: &str = "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKo{n}\r\n\
    From: <sip:p@192.0.2.9>;tag=o{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

const SEEDS: [&str; 8] = [
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKi{n}\r\nMax-Forwards: 70\r\n\
     From: \"P\" <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:p@192.0.2.9>\r\nRecord-Route: <sip:192.0.2.9;lr>\r\nContent-Type: application/sdp\r\n\
     Content-Length: 123\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
     m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKl{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=l{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: l{n}\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:p@192.0.2.9>\r\nContent-Length: 0\r\n\r\n",
    "ACK sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKa{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\nCSeq: 1 ACK\r\n\
     Content-Length: 0\r\n\r\n",
    "BYE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKb{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\nCSeq: 9 BYE\r\n\
     Content-Length: 0\r\n\r\n",
    "CANCEL sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKi{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c{n}\r\nCSeq: 1 CANCEL\r\n\
     Content-Length: 0\r\n\r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKr{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\nCSeq: 2 INVITE\r\n\
     Contact: <sip:p@192.0.2.9>\r\nContent-Length: 0\r\n\r\n",
    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0000{n}\r\nFrom: <sip:a@192.0.2.1>;tag={tag}\r\n\
     To: <sip:p@192.0.2.9>;tag=p{n}\r\nCall-ID: c{n}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
    "INFO sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bKf{n}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\nCSeq: 3 INFO\r\n\
     Content-Type: application/dtmf\r\nContent-Length: 1\r\n\r\n5",
];

/// Requests and responses of the extensions, well-formed.
const EXTENSIONS: [&str; 22] = [
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} INVITE\r\nContact: <sip:p@192.0.2.9>\r\nRequire: 100rel\r\nSupported: timer\r\nSession-Expires: 90\r\nAllow: UPDATE\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} INVITE\r\nContact: <sip:p@192.0.2.9>\r\nSupported: 100rel, timer\r\nAllow: UPDATE\r\n\
     \r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=q\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: r{cseq}\r\n\
     CSeq: {cseq} INVITE\r\nContact: <sip:p@192.0.2.9>\r\nReplaces: c{n};to-tag={tag};from-tag=p{n}\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "PRACK sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} PRACK\r\nContact: <sip:p@192.0.2.9>\r\nRAck: {rseq} {cseq} INVITE\r\n\
     \r\n",
    "PRACK sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} PRACK\r\nContact: <sip:p@192.0.2.9>\r\nRAck: {rseq} 1 INVITE\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "UPDATE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} UPDATE\r\nContact: <sip:p@192.0.2.9>\r\nSupported: timer\r\nSession-Expires: 91;refresher=uac\r\n\
     \r\n",
    "UPDATE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} UPDATE\r\nContact: <sip:p@192.0.2.9>\r\nSession-Expires: 20\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} INVITE\r\nContact: <sip:p@192.0.2.9>\r\nSupported: timer\r\nSession-Expires: 4000000000;refresher=uas\r\nMin-SE: 4000000000\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} INVITE\r\nContact: <sip:p@192.0.2.9>\r\n\
     \r\n",
    "ACK sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} ACK\r\nContact: <sip:p@192.0.2.9>\r\n\
     \r\n",
    "ACK sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} ACK\r\nContact: <sip:p@192.0.2.9>\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "REFER sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} REFER\r\nContact: <sip:p@192.0.2.9>\r\nRefer-To: <sip:x@h>\r\n\
     \r\n",
    "REFER sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} REFER\r\nContact: <sip:p@192.0.2.9>\r\nRefer-To: <sip:x@h?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\nRefer-Sub: false\r\n\
     \r\n",
    "NOTIFY sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} NOTIFY\r\nContact: <sip:p@192.0.2.9>\r\nEvent: refer\r\nSubscription-State: active\r\n\
     Content-Type: message/sipfrag\r\n\r\nSIP/2.0 100 Trying",
    "NOTIFY sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} NOTIFY\r\nContact: <sip:p@192.0.2.9>\r\nEvent: refer\r\nSubscription-State: terminated\r\n\
     Content-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK",
    "BYE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK{cseq}\r\n\
     From: <sip:p@192.0.2.9>;tag=p{n}\r\nTo: <sip:a@192.0.2.1>;tag={tag}\r\nCall-ID: c{n}\r\n\
     CSeq: {cseq} BYE\r\nContact: <sip:p@192.0.2.9>\r\nReason: Q.850;cause=16\r\n\
     \r\n",
    "SIP/2.0 183 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\nRequire: 100rel\r\nRSeq: 1\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "SIP/2.0 180 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\nRequire: 100rel\r\nRSeq: 2\r\n\
     \r\n",
    "SIP/2.0 200 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\nSession-Expires: 1;refresher=uac\r\nAllow: UPDATE\r\n\
     Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "SIP/2.0 422 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\nMin-SE: {cseq}\r\n\
     \r\n",
    "SIP/2.0 491 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\n\
     \r\n",
    "SIP/2.0 202 x\r\n{last}Contact: <sip:p@192.0.2.9>\r\n\
     \r\n",
];
