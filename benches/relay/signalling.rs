//! As much SIP as two telephones on loopback need: one calls, the other answers, one call after the other.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::streams::Coding;

const RETRANSMIT: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 20;

/// The signalling of both telephones.
pub(crate) struct Telephones {
    caller: UdpSocket,
    called: UdpSocket,
    server: SocketAddr,
    /// The Call-ID of the last call that was taken: copies of its INVITE may still come.
    taken: Option<String>,
}

impl Telephones {
    pub(crate) fn new() -> Self {
        let open = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
            socket.set_read_timeout(Some(RETRANSMIT)).expect("a socket can time out");
            socket
        };
        Self { caller: open(), called: open(), server: SocketAddr::from((Ipv4Addr::LOCALHOST, 5060)), taken: None }
    }

    pub(crate) fn set_server(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// Where the called telephone is.
    pub(crate) fn called(&self) -> SocketAddr {
        self.called.local_addr().expect("it is bound")
    }

    /// Sets up a call between two media addresses, and returns where each is to send.
    pub(crate) fn call(&mut self, number: usize, media: [SocketAddr; 2], codings: [Coding; 2]) -> [SocketAddr; 2] {
        let (caller, server) = (self.caller.local_addr().expect("it is bound"), self.server);
        let head = |method: &str, uri: &str, to: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK{method}{number};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:load@{caller}>;tag=a{number}\r\nTo: {to}\r\n\
                 Call-ID: relay-{number}@load\r\nCSeq: 1 {method}\r\nContact: <sip:load@{caller}>\r\n"
            )
        };
        let uri = format!("sip:400@{server}");
        let invite = with_body(&head("INVITE", &uri, &format!("<{uri}>")), &sdp(media[0], codings[0]));
        self.caller.send_to(invite.as_bytes(), server).expect("loopback takes it");
        let offer = self.offer(&invite);
        self.taken = header(&offer, "Call-ID").map(str::to_owned);
        let mut answer = offer.lines().take_while(|it| !it.is_empty()).fold("SIP/2.0 200 OK\r\n".to_owned(), copy_line);
        answer.push_str(&format!("Contact: <sip:400@{}>\r\n", self.called()));
        let answer = with_body(&tagged(&answer, number), &sdp(media[1], codings[1]));
        self.called.send_to(answer.as_bytes(), server).expect("loopback takes it");
        let accepted = self.accepted(&answer, &format!("relay-{number}@load"));
        let target = header(&accepted, "Contact").and_then(|it| it.split(['<', '>']).nth(1)).unwrap_or(&uri).to_owned();
        let to = header(&accepted, "To").expect("a response says whom it is from");
        let ack = format!("{}Content-Length: 0\r\n\r\n", head("ACK", &target, to));
        self.caller.send_to(ack.as_bytes(), server).expect("loopback takes it");
        [media_address(&accepted), media_address(&offer)]
    }

    /// The INVITE that comes of ours.
    fn offer(&self, invite: &str) -> String {
        for _ in 0..ATTEMPTS {
            match read(&self.called) {
                Some(text) if text.starts_with("INVITE ") && header(&text, "Call-ID") != self.taken.as_deref() => {
                    return text;
                }
                Some(_) => (),
                None => drop(self.caller.send_to(invite.as_bytes(), self.server)),
            }
        }
        panic!("no call arrives; the server says {:?}", read(&self.caller));
    }

    /// The 200 that comes of `answer`, once that has been acknowledged.
    fn accepted(&self, answer: &str, call_id: &str) -> String {
        let is_acknowledged = (0..ATTEMPTS).any(|_| match read(&self.called) {
            Some(text) => text.starts_with("ACK "),
            None => {
                drop(self.called.send_to(answer.as_bytes(), self.server));
                false
            }
        });
        assert!(is_acknowledged, "the answer is not acknowledged");
        let accepted = (0..ATTEMPTS).find_map(|_| {
            let text = read(&self.caller)?;
            (text.starts_with("SIP/2.0 200") && header(&text, "Call-ID") == Some(call_id)).then_some(text)
        });
        accepted.expect("the call is accepted")
    }
}

/// What a response repeats of its request.
fn copy_line(text: String, line: &str) -> String {
    let is_repeated = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|it| line.starts_with(it));
    if is_repeated { text + line + "\r\n" } else { text }
}

fn tagged(answer: &str, number: usize) -> String {
    let lines = answer
        .split("\r\n")
        .map(|it| if it.starts_with("To:") { format!("{it};tag=b{number}") } else { it.to_owned() });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn with_body(head: &str, body: &str) -> String {
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Audio of one codec from and to there.
pub(crate) fn sdp(media: SocketAddr, coding: Coding) -> String {
    let (ip, port, rtpmap, number) = (media.ip(), media.port(), coding.rtpmap(), coding.payload_type);
    format!(
        "v=0\r\no=load 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {number} 101\r\n\
         a=rtpmap:{number} {rtpmap}\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// Where SDP in a text says that audio is taken.
pub(crate) fn media_address(text: &str) -> SocketAddr {
    let value = |prefix: &str| text.lines().find_map(|it| it.strip_prefix(prefix)).map(str::trim);
    let port = value("m=audio ").and_then(|it| it.split(' ').next()?.parse::<u16>().ok());
    let ip = value("c=IN IP4 ").and_then(|it| it.parse::<Ipv4Addr>().ok());
    ip.zip(port).unwrap_or_else(|| panic!("no audio in {text}")).into()
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(": "))
}

fn read(socket: &UdpSocket) -> Option<String> {
    let mut buffer = [0; 4_096];
    let (len, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
}
