//! A telephone of a few lines, to call the server with: one socket, one call, messages as text.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, HandshakeError, WebSocket};

use crate::rtp_peer::{Account, RtpPeer, Sends};
use crate::server_process::Server;

/// How long an answer may take.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What carries a phone's messages.
pub(crate) enum Wire {
    Udp { socket: UdpSocket, server: SocketAddr },
    Tcp { stream: TcpStream, received: Vec<u8> },
    Tls { stream: Box<dyn Secured>, socket: TcpStream, received: Vec<u8> },
    Ws { socket: Box<WebSocket<TcpStream>> },
}

/// A stream in TLS, of either side.
pub(crate) trait Secured: Read + Write + Send {}

impl<T: Read + Write + Send> Secured for T {}

impl Wire {
    pub(crate) fn udp(server: SocketAddr) -> Self {
        Self::Udp { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), server }
    }

    pub(crate) fn tcp(server: SocketAddr) -> Self {
        Self::of_stream(TcpStream::connect_timeout(&server, ANSWER_MAX).unwrap())
    }

    pub(crate) fn of_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::Tcp { stream, received: vec![] }
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Tcp { stream, .. } | Self::Tls { socket: stream, .. } => stream.shutdown(Shutdown::Both).unwrap(),
            Self::Udp { .. } | Self::Ws { .. } => unreachable!(),
        }
    }

    /// The next request of `method`, whatever comes before it.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str) -> Message {
        let end = Instant::now() + ANSWER_MAX;
        let mut skipped = vec![];
        while let Some(message) = self.receive(end.saturating_duration_since(Instant::now())) {
            if message.method() == Some(method) {
                return message;
            }
            skipped.push(message.start);
        }
        panic!("no {method}; there were {skipped:?}");
    }

    /// A websocket to `server`, as a page of `origin` opens it; the status if it is refused.
    pub(crate) fn ws(server: SocketAddr, origin: Option<&str>, protocol: &str) -> Result<Self, u16> {
        let stream = TcpStream::connect_timeout(&server, ANSWER_MAX).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        let mut request = format!("ws://{server}/").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers().get("Sec-WebSocket-Protocol").unwrap(), protocol);
                Ok(Self::Ws { socket: Box::new(socket) })
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp { socket, .. } => socket.local_addr().unwrap(),
            Self::Tcp { stream, .. } => stream.local_addr().unwrap(),
            Self::Tls { socket, .. } => socket.local_addr().unwrap(),
            Self::Ws { socket } => socket.get_ref().local_addr().unwrap(),
        }
    }

    /// What its Via and Contact name: the client of a websocket has no address.
    fn host(&self) -> String {
        match self {
            Self::Ws { .. } => format!("phone{}.invalid", self.local().port()),
            Self::Udp { .. } | Self::Tcp { .. } | Self::Tls { .. } => self.local().to_string(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "UDP",
            Self::Tcp { .. } => "TCP",
            Self::Tls { .. } => "TLS",
            Self::Ws { .. } => "WS",
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Udp { socket, server } => {
                socket.send_to(bytes, *server).unwrap();
            }
            Self::Tcp { stream, .. } => stream.write_all(bytes).unwrap(),
            Self::Tls { stream, .. } => {
                stream.write_all(bytes).unwrap();
                stream.flush().unwrap();
            }
            Self::Ws { socket } => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                socket.send(tungstenite::Message::text(text)).unwrap();
            }
        }
    }

    /// The next message, unless none comes in time. What cannot be read as one fails the test.
    #[track_caller]
    pub(crate) fn receive(&mut self, limit: Duration) -> Option<Message> {
        let end = Instant::now() + limit;
        loop {
            if let Self::Tcp { received, .. } | Self::Tls { received, .. } = self
                && let Some(message) = cut_message(received)
            {
                return Some(message);
            }
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let mut buffer = [0; 65_536];
            let read = match self {
                Self::Udp { socket, .. } => {
                    socket.set_read_timeout(Some(left)).unwrap();
                    socket.recv(&mut buffer)
                }
                Self::Tcp { stream, .. } => {
                    stream.set_read_timeout(Some(left)).unwrap();
                    stream.read(&mut buffer)
                }
                Self::Tls { stream, socket, .. } => {
                    socket.set_read_timeout(Some(left)).unwrap();
                    stream.read(&mut buffer)
                }
                Self::Ws { socket } => {
                    socket.get_ref().set_read_timeout(Some(left)).unwrap();
                    match socket.read() {
                        Ok(tungstenite::Message::Text(text)) => return Some(Message::parse(text.as_bytes())),
                        Ok(_) | Err(tungstenite::Error::ConnectionClosed) => Ok(0),
                        Err(tungstenite::Error::Io(error)) => Err(error),
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            match (read, &mut *self) {
                (Ok(0), Self::Tcp { .. } | Self::Tls { .. }) => return None,
                (Ok(length), Self::Tcp { received, .. } | Self::Tls { received, .. }) => {
                    received.extend(&buffer[..length]);
                }
                (Ok(_), Self::Ws { .. }) => {}
                // A test that ran before may have heard media on this port, and they may still come.
                (Ok(_), Self::Udp { .. }) if !buffer[0].is_ascii_uppercase() => {}
                (Ok(length), Self::Udp { .. }) => return Some(Message::parse(&buffer[..length])),
                (Err(error), _) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                (Err(error), _) => panic!("{error}"),
            }
            if Instant::now() >= end {
                return None;
            }
        }
    }
}

/// Takes the first whole message off a stream.
fn cut_message(received: &mut Vec<u8>) -> Option<Message> {
    while received.starts_with(b"\r\n") {
        received.drain(..2);
    }
    let head = received.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let message = Message::parse(&received[..head]);
    // Without a length there is no telling where it ends, which no stream recovers from (RFC 3261 §18.3).
    let length: usize = message.header("Content-Length").map_or(0, |it| it.parse().unwrap());
    if received.len() < head + length {
        return None;
    }
    let bytes: Vec<u8> = received.drain(..head + length).collect();
    Some(Message::parse(&bytes))
}

/// A SIP message, as far as a test looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) start: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("SIP is UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a message has an empty line");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a header: {line}")))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self { start, headers, body: body.to_owned() }
    }

    /// Of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        self.start.strip_suffix(" SIP/2.0")?.split(' ').next()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of the first line of its SDP that starts with `prefix`.
    pub(crate) fn sdp(&self, prefix: &str) -> Option<&str> {
        self.body.lines().find_map(|line| line.strip_prefix(prefix))
    }

    /// Where its SDP wants RTP.
    pub(crate) fn rtp_address(&self) -> Option<SocketAddr> {
        let ip = self.sdp("c=IN IP4 ")?.trim().parse().ok()?;
        let port = self.sdp("m=audio ")?.split(' ').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, port))
    }

    fn to_tag(&self) -> Option<String> {
        let (_, tag) = self.header("To")?.split_once("tag=")?;
        Some(tag.split(';').next()?.to_owned())
    }

    /// A response to it, as the one who is called.
    pub(crate) fn reply(&self, status: &str) -> String {
        self.answer(status, &[], "")
    }

    /// The same; `headers` are whole lines, and a body is SDP.
    pub(crate) fn answer(&self, status: &str, headers: &[&str], sdp: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            for value in self.all(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = self.header("To").unwrap();
        let tag = if to.contains("tag=") { "" } else { ";tag=called" };
        text.push_str(&format!("To: {to}{tag}\r\n"));
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        if !sdp.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text + &format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len())
    }
}

/// A telephone with one dialog, or none yet.
pub(crate) struct Phone {
    pub(crate) wire: Wire,
    pub(crate) media: RtpPeer,
    pub(crate) server: SocketAddr,
    call_id: String,
    tag: String,
    peer_tag: Option<String>,
    pub(crate) number: String,
    /// Its Contact, if that is not its address.
    pub(crate) contact: Option<String>,
    pub(crate) cseq: u32,
    /// Of the SDP, counted up with each.
    sdp_version: u32,
}

impl Phone {
    pub(crate) fn udp(server: &Server) -> Self {
        Self::new(Wire::udp(server.sip), server.sip)
    }

    pub(crate) fn tcp(server: &Server) -> Self {
        Self::new(Wire::tcp(server.sip), server.sip)
    }

    pub(crate) fn new(wire: Wire, server: SocketAddr) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            wire,
            media: RtpPeer::new(),
            server,
            call_id: format!("call-{unique}@test"),
            tag: format!("tag-{unique}"),
            peer_tag: None,
            number: "100".to_owned(),
            contact: None,
            cseq: 0,
            sdp_version: 0,
        }
    }

    /// A call to `number` that is answered.
    #[track_caller]
    pub(crate) fn call(server: &Server, number: &str) -> Self {
        let mut phone = Self::udp(server);
        let answer = phone.invite(number);
        assert_eq!(answer.status(), Some(200), "{answer:?}\n{}", server.metrics().shown());
        phone
    }

    /// Calls `number`; the final response, which is acknowledged.
    #[track_caller]
    pub(crate) fn invite(&mut self, number: &str) -> Message {
        let offer = self.sdp("sendrecv");
        self.invite_offering(number, &offer)
    }

    /// The same, with an offer of one's own.
    #[track_caller]
    pub(crate) fn invite_offering(&mut self, number: &str, offer: &str) -> Message {
        self.number = number.to_owned();
        self.invite_with(&[], offer)
    }

    /// Calls `number` and gives up while it rings; the final response to the INVITE, which is acknowledged.
    #[track_caller]
    pub(crate) fn cancel(&mut self, number: &str) -> Message {
        self.number = number.to_owned();
        self.cseq += 1;
        let offer = self.sdp("sendrecv");
        let invite = self.request("INVITE", &["Content-Type: application/sdp"], &offer);
        self.wire.send(invite.as_bytes());
        let provisional = self.wire.receive(ANSWER_MAX).expect("a provisional response");
        assert!(provisional.status().is_some_and(|it| it < 200), "{provisional:?}");
        let cancel = self.request("CANCEL", &[], "").replace(&self.branch("CANCEL"), &self.branch("INVITE"));
        self.wire.send(cancel.as_bytes());
        let answer = self.final_response("INVITE");
        self.acknowledge_refusal(&answer);
        answer
    }

    /// Calls `number`; the first response that has SDP, whose audio is heard from here on.
    #[track_caller]
    pub(crate) fn invite_early(&mut self, number: &str) -> Message {
        self.number = number.to_owned();
        let offer = self.sdp("sendrecv");
        self.send_invite(&[], &offer);
        let end = Instant::now() + ANSWER_MAX;
        while let Some(message) = self.wire.receive(end.saturating_duration_since(Instant::now())) {
            assert!(message.status().is_none_or(|it| it < 300), "{message:?}");
            if message.status().is_some() && message.rtp_address().is_some() {
                self.media.remote = message.rtp_address();
                return message;
            }
        }
        panic!("no SDP before the answer");
    }

    /// An INVITE, or re-INVITE, with this offer; the final response, which is acknowledged.
    #[track_caller]
    pub(crate) fn invite_with(&mut self, headers: &[&str], offer: &str) -> Message {
        self.send_invite(headers, offer);
        self.invited()
    }

    /// Calls `number`, and does not wait for what comes of it.
    pub(crate) fn begin_call(&mut self, number: &str) {
        self.number = number.to_owned();
        let offer = self.sdp("sendrecv");
        self.send_invite(&[], &offer);
    }

    /// Sends an INVITE, and does not wait for what comes of it.
    pub(crate) fn send_invite(&mut self, headers: &[&str], offer: &str) {
        self.cseq += 1;
        let mut headers = headers.to_vec();
        headers.push("Content-Type: application/sdp");
        let request = self.request("INVITE", &headers, offer);
        self.wire.send(request.as_bytes());
    }

    /// The final response to an INVITE that was sent, acknowledged.
    #[track_caller]
    pub(crate) fn invited(&mut self) -> Message {
        let answer = self.final_response("INVITE");
        if answer.status() == Some(200) {
            self.peer_tag = answer.to_tag();
            self.media.remote = answer.rtp_address();
            let ack = self.request("ACK", &[], "");
            self.wire.send(ack.as_bytes());
        } else {
            self.acknowledge_refusal(&answer);
        }
        answer
    }

    /// The ACK of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
    fn acknowledge_refusal(&mut self, answer: &Message) {
        let kept = std::mem::replace(&mut self.peer_tag, answer.to_tag());
        let ack = self.request("ACK", &[], "").replace(&self.branch("ACK"), &self.branch("INVITE"));
        self.peer_tag = kept;
        self.wire.send(ack.as_bytes());
    }

    /// Puts the call on hold, or takes it off, by the direction of a new offer.
    #[track_caller]
    pub(crate) fn reinvite(&mut self, direction: &str) -> Message {
        let offer = self.sdp(direction);
        self.invite_with(&[], &offer)
    }

    /// Sends a request inside the dialog, or outside while there is none, and returns the final response.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, headers: &[&str]) -> Message {
        self.ask_with(method, headers, "")
    }

    /// The same, with a body.
    #[track_caller]
    pub(crate) fn ask_with(&mut self, method: &str, headers: &[&str], body: &str) -> Message {
        self.cseq += 1;
        let request = self.request(method, headers, body);
        self.wire.send(request.as_bytes());
        self.final_response(method)
    }

    /// Presses a key, and tells it by INFO.
    #[track_caller]
    pub(crate) fn press(&mut self, key: char) {
        self.cseq += 1;
        let body = format!("Signal={key}\r\nDuration=100\r\n");
        let request = self.request("INFO", &["Content-Type: application/dtmf-relay"], &body);
        self.wire.send(request.as_bytes());
        assert_eq!(self.final_response("INFO").status(), Some(200));
    }

    #[track_caller]
    pub(crate) fn hang_up(&mut self) {
        let answer = self.ask("BYE", &[]);
        assert_eq!(answer.status(), Some(200), "{answer:?}");
    }

    /// Whether the server still answers.
    #[track_caller]
    pub(crate) fn assert_served(server: &Server) {
        let answer = Self::udp(server).ask("OPTIONS", &[]);
        assert_eq!(answer.status(), Some(200), "{answer:?}");
    }

    /// The text of a request with this phone's next CSeq taken already.
    pub(crate) fn request(&self, method: &str, headers: &[&str], body: &str) -> String {
        let Self { server, number, call_id, tag, cseq, .. } = self;
        let (local, transport) = (self.wire.host(), self.wire.name());
        let contact = format!("<sip:tester@{local};transport={}>", transport.to_lowercase());
        let contact = self.contact.as_ref().unwrap_or(&contact);
        let to_tag = self.peer_tag.as_ref().map_or_else(String::new, |it| format!(";tag={it}"));
        let mut text = format!(
            "{method} sip:{number}@{server} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {local};branch={};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:tester@{local}>;tag={tag}\r\n\
             To: <sip:{number}@{server}>{to_tag}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: {contact}\r\n",
            self.branch(method),
        );
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// An offer of µ-law.
    pub(crate) fn sdp(&mut self, direction: &str) -> String {
        self.sdp_version += 1;
        format!(
            "v=0\r\no=- 4711 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-16\r\na=ptime:20\r\na={direction}\r\n",
            self.sdp_version,
            self.media.port(),
        )
    }

    fn branch(&self, method: &str) -> String {
        format!("z9hG4bK-{}-{}-{method}", self.tag, self.cseq)
    }

    /// Skips provisional responses and copies of what was answered before.
    #[track_caller]
    fn final_response(&mut self, method: &str) -> Message {
        let cseq = format!("{} {method}", self.cseq);
        let end = Instant::now() + ANSWER_MAX;
        while let Some(message) = self.wire.receive(end.saturating_duration_since(Instant::now())) {
            let is_final = message.status().is_some_and(|it| it >= 200);
            if is_final && message.header("CSeq") == Some(cseq.as_str()) {
                return message;
            }
        }
        panic!("no answer to {method} after {ANSWER_MAX:?}");
    }

    /// The next request of the server with this method, which is answered with `status`.
    #[track_caller]
    pub(crate) fn asked(&mut self, method: &str, status: &str) -> Message {
        let end = Instant::now() + ANSWER_MAX;
        while let Some(message) = self.wire.receive(end.saturating_duration_since(Instant::now())) {
            if message.method() == Some(method) {
                self.wire.send(message.reply(status).as_bytes());
                return message;
            }
        }
        panic!("no {method} after {ANSWER_MAX:?}");
    }

    /// Stays on the line for `limit`, or until the server hangs up, which is answered.
    pub(crate) fn stay(&mut self, sends: Sends, limit: Duration) -> Stay {
        self.stay_until(sends, limit, |_| false)
    }

    /// Sends silence until so many packets have come.
    #[track_caller]
    pub(crate) fn hear(&mut self, packets: u32) {
        let stay = self.stay_until(Sends::Silence, ANSWER_MAX, |heard| heard.packets >= packets);
        assert!(stay.bye.is_none() && stay.heard.packets >= packets, "{packets} packets are not heard: {stay:?}");
    }

    /// Sends silence until so many packets with sound in them have come.
    #[track_caller]
    pub(crate) fn hear_sound(&mut self, packets: u32) {
        let stay = self.stay_until(Sends::Silence, ANSWER_MAX, |heard| heard.loud >= packets);
        assert!(stay.bye.is_none() && stay.heard.loud >= packets, "{packets} packets of sound are not heard: {stay:?}");
    }

    fn stay_until(&mut self, sends: Sends, limit: Duration, is_enough: impl Fn(&Account) -> bool) -> Stay {
        let begin = Instant::now();
        let mut heard = Account::default();
        while begin.elapsed() < limit && !is_enough(&heard) {
            self.media.tick(sends, &mut heard);
            while let Some(message) = self.wire.receive(Duration::from_millis(1)) {
                if message.method() == Some("BYE") {
                    self.wire.send(message.reply("200 OK").as_bytes());
                    return Stay { heard, bye: Some(message), lasted: begin.elapsed() };
                }
            }
        }
        Stay { heard, bye: None, lasted: begin.elapsed() }
    }
}

/// What happened while the caller was on the line.
#[derive(Debug)]
pub(crate) struct Stay {
    /// What was heard.
    pub(crate) heard: Account,
    /// The server's BYE.
    pub(crate) bye: Option<Message>,
    /// How long it was.
    pub(crate) lasted: Duration,
}
