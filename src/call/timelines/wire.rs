//! Messages as they stand on the wire, and where they go: RFC 3261 §8.1.1, §12, §18, RFC 3581, RFC 5118.

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::call::{Calls, CallsConfig, HangUpCause, Outbound, Output};
use crate::identity::{AccountId, LegId};
use crate::route::{Admission, Target};
use crate::sip::{HeaderName, Message};
use crate::timer::Now;
use crate::transport::{Flow, Listener, TransportKind};

#[test]
fn the_200_of_a_call_that_came_through_proxies() {
    let mut shell = Shell::new(TransportKind::Udp, "192.0.2.1:5060");
    let flow = shell.flow("198.51.100.2:6000");
    shell.calls.handle_datagram(flow, invite("UDP", "IP4 198.51.100.3", "<sip:alice@10.0.0.1:5070>"), shell.now);
    let sent = shell.drain();
    assert_eq!(sent.len(), 2, "180 and 200");
    let (to, text) = &sent[1];
    assert_eq!(to.remote, flow.remote, "rport is where it came from");
    let session = text.split_once("o=- ").and_then(|(_, it)| it.split(' ').next()).expect("o= is there");
    let tag = &shell.tag;
    let body = format!(
        "v=0\r\no=- {session} 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    let expected = format!(
        "SIP/2.0 200 OK\r\n\
         Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1;received=198.51.100.2;rport=6000\r\n\
         Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK0\r\n\
         From: \"Alice\" <sip:alice@example.org>;tag=a\r\n\
         To: <sip:100@example.com>;tag={tag}\r\n\
         Call-ID: c\r\n\
         CSeq: 1 INVITE\r\n\
         Record-Route: <sip:p2.example.org;lr>\r\n\
         Record-Route: <sip:p1.example.org;lr>, <sip:p0.example.org;lr>\r\n\
         Contact: <sip:sip.example.com:5080>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY\r\n\
         Supported: 100rel, norefersub, timer\r\n\
         Content-Type: application/sdp\r\n\
         Server: test\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(*text, expected);
}

#[test]
fn a_bye_follows_the_route_set_on_the_flow_of_the_peer() {
    let mut shell = Shell::new(TransportKind::Udp, "192.0.2.1:5060");
    let flow = shell.flow("198.51.100.2:6000");
    shell.calls.handle_datagram(flow, invite("UDP", "IP4 198.51.100.3", "<sip:alice@10.0.0.1:5070>"), shell.now);
    shell.acknowledge(flow);
    let (to, bye) = shell.hang_up();
    assert_eq!(to, flow);
    let lines: Vec<_> = bye.lines().take(6).collect();
    assert!(lines[1].starts_with("Via: SIP/2.0/UDP sip.example.com:5080;branch=z9hG4bK0000"), "{bye}");
    assert_eq!(lines[0], "BYE sip:alice@10.0.0.1:5070 SIP/2.0");
    assert_eq!(
        lines[2..],
        [
            "Max-Forwards: 70",
            "Route: <sip:p2.example.org;lr>",
            "Route: <sip:p1.example.org;lr>",
            "Route: <sip:p0.example.org;lr>"
        ]
    );
}

#[test]
fn a_bye_over_a_stream_that_is_gone_goes_to_the_next_hop() {
    let mut shell = Shell::new(TransportKind::Tcp, "[2001:db8::1]:5060");
    let flow = shell.flow("[2001:db8::9]:40000");
    let invite = invite("TCP", "IP6 2001:db8::9", "<sip:alice@[2001:db8::9]:5070;transport=tcp>");
    let text = String::from_utf8_lossy(&invite).replace("Record-Route", "X-Record-Route");
    shell.calls.handle_segment(flow, Bytes::from(text), shell.now);
    shell.acknowledge(flow);
    shell.calls.handle_disconnected(flow, shell.now);
    let (to, bye) = shell.hang_up();
    assert_eq!(to, shell.flow("[2001:db8::9]:5070"));
    assert!(bye.starts_with("BYE sip:alice@[2001:db8::9]:5070;transport=tcp SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("Via: SIP/2.0/TCP [2001:db8::1]:5060;branch="), "{bye}");
}

#[test]
fn our_invite_and_a_connection_that_is_refused() {
    let mut shell = Shell::new(TransportKind::Tcp, "192.0.2.1:5060");
    let flow = shell.flow("198.51.100.2:5060");
    let uri = |it: &str| it.parse().expect("a URI");
    let outbound = Outbound {
        account: AccountId::default(),
        to: uri("sip:bob@example.org;x=y?Route=%3Csip:evil%3E"),
        from: uri("sip:100@example.com"),
        display_name: Some("The \"Demo\"".to_owned()),
        flow,
        other_flows: vec![],
        keeps_transport: false,
        headers: vec![(HeaderName::Subject, "hello".to_owned())],
        credentials: None,
    };
    shell.calls.place(outbound, shell.now);
    let sent = shell.drain();
    let text = &sent[0].1;
    let head: Vec<_> = text.lines().filter(|it| !it.contains("branch=") && !it.contains("Call-ID")).take(13).collect();
    assert!(head[2].starts_with("From: \"The \\\"Demo\\\"\" <sip:100@example.com>;tag=0000"), "{text}");
    assert_eq!(
        [head[0], head[1], head[3], head[4], head[5], head[6], head[7], head[8], head[9], head[10], head[11]],
        [
            "INVITE sip:bob@example.org;x=y SIP/2.0",
            "Max-Forwards: 70",
            "To: <sip:bob@example.org;x=y>",
            "CSeq: 1 INVITE",
            "Contact: <sip:192.0.2.1:5060;transport=tcp>",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY",
            "Supported: 100rel, norefersub, timer",
            "Session-Expires: 1800",
            "Subject: hello",
            "Content-Type: application/sdp",
            "User-Agent: test",
        ]
    );
    shell.calls.handle_send_failed(flow, shell.now);
    shell.drain();
    assert_eq!(shell.calls.counts(), crate::call::Counts::default());
}

#[test]
fn requests_for_dialogs_that_do_not_exist_hold_nothing() {
    let mut shell = Shell::new(TransportKind::Udp, "192.0.2.1:5060");
    let flow = shell.flow("198.51.100.2:6000");
    let bye = "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;rport;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n";
    for _ in 0..2 {
        shell.calls.handle_datagram(flow, Bytes::from_static(bye.as_bytes()), shell.now);
    }
    let sent = shell.drain();
    assert!(sent[0].1.starts_with("SIP/2.0 481 ") && sent[0] == sent[1], "a copy gets the same answer");
    assert_eq!(shell.calls.counts(), crate::call::Counts::default());
}

/// The shell around [`Calls`]: it opens media at once.
struct Shell {
    calls: Calls,
    kind: TransportKind,
    local: std::net::SocketAddr,
    now: Now,
    leg: Option<LegId>,
    tag: String,
}

impl Shell {
    fn new(kind: TransportKind, local: &str) -> Self {
        let local = local.parse().expect("an address");
        let listener = Listener::new(kind, local);
        let listener =
            if kind == TransportKind::Udp { listener.advertised_as("sip.example.com", 5080) } else { listener };
        let mut config = CallsConfig::new(vec![listener]);
        let target = Target::agent("demo");
        config.listeners[0].1 =
            Admission { unknown_sources: true, unknown_numbers: Some(target), ..Admission::default() };
        config.user_agent = "test".to_owned();
        let now = Now::origin();
        let calls = Calls::new(config, ChaCha12Rng::seed_from_u64(1), now);
        Self { calls, kind, local, now, leg: None, tag: String::new() }
    }

    fn flow(&self, remote: &str) -> Flow {
        Flow { kind: self.kind, local: self.local, remote: remote.parse().expect("an address") }
    }

    /// Performs what is to be done, and returns what was sent.
    fn drain(&mut self) -> Vec<(Flow, String)> {
        let mut sent = vec![];
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Send { flow, data } => {
                    if let Ok(Message::Response(response)) = Message::parse(data.clone()) {
                        response.headers().to().tag().unwrap_or_default().clone_into(&mut self.tag);
                    }
                    sent.push((flow, String::from_utf8_lossy(&data).into_owned()));
                }
                Output::OpenMedia { leg, .. } => {
                    self.leg = Some(leg);
                    let ip = if self.local.is_ipv4() { "203.0.113.1" } else { "2001:db8::1" };
                    let address = std::net::SocketAddr::new(ip.parse().expect("an address"), 20_000);
                    self.calls.handle_media_opened(leg, address, self.now);
                }
                Output::Supervising { .. }
                | Output::SupervisorGone { .. }
                | Output::Close { .. }
                | Output::Received { .. }
                | Output::CallIdKnown { .. }
                | Output::UpdateMedia { .. }
                | Output::CloseMedia { .. }
                | Output::Bridge { .. }
                | Output::Unbridge { .. }
                | Output::PlaySound { .. }
                | Output::StartAgent { .. }
                | Output::EnterRoom { .. }
                | Output::Answered { .. }
                | Output::Digit { .. }
                | Output::Transferred { .. }
                | Output::TransferAsked { .. }
                | Output::Ended { .. }
                | Output::Registration(_)
                | Output::Ask(_)
                | Output::Trunk { .. }
                | Output::Secure { .. }
                | Output::Journal { .. } => (),
            }
        }
        sent
    }

    /// Sends the ACK of the call that came in.
    fn acknowledge(&mut self, flow: Flow) {
        self.drain();
        let ack = format!(
            "ACK sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK2;rport\r\nFrom: <sip:alice@example.org>;tag=a\r\n\
             To: <sip:100@example.com>;tag={}\r\nCall-ID: c\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
            self.tag
        );
        match self.kind {
            TransportKind::Tcp | TransportKind::Tls => self.calls.handle_segment(flow, Bytes::from(ack), self.now),
            TransportKind::Udp | TransportKind::Ws | TransportKind::Wss => {
                self.calls.handle_datagram(flow, Bytes::from(ack), self.now);
            }
        }
        assert_eq!(self.calls.counts().unacknowledged, 0);
    }

    /// Hangs up, and returns the BYE.
    fn hang_up(&mut self) -> (Flow, String) {
        self.drain();
        self.calls.hang_up(self.leg.expect("there is a call").call, HangUpCause::Done, self.now);
        let mut sent = self.drain();
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }
}

fn invite(transport: &str, address: &str, contact: &str) -> Bytes {
    let body = format!(
        "v=0\r\no=- 1 1 IN {address}\r\ns=-\r\nc=IN {address}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"
    );
    Bytes::from(format!(
        "INVITE sip:100@example.com SIP/2.0\r\n\
         Record-Route: <sip:p2.example.org;lr>\r\nRecord-Route: <sip:p1.example.org;lr>, <sip:p0.example.org;lr>\r\n\
         Via: SIP/2.0/{transport} 10.0.0.2;branch=z9hG4bK1;rport\r\nVia: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK0\r\n\
         Max-Forwards: 69\r\nFrom: \"Alice\" <sip:alice@example.org>;tag=a\r\nTo: <sip:100@example.com>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: {contact}\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}
