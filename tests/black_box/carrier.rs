//! A carrier of a few lines: a UDP socket that takes requests, and answers as a test says.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

use crate::sip_phone::Message;

/// See the module.
pub(crate) struct Carrier {
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
}

/// A request and who sent it.
pub(crate) struct Received {
    pub(crate) message: Message,
    from: SocketAddr,
}

impl Carrier {
    pub(crate) fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST)
    }

    /// At an address of its own, such as 127.0.0.2.
    pub(crate) fn start_on(ip: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// Its socket, to send with.
    pub(crate) fn socket(&self) -> UdpSocket {
        self.socket.try_clone().unwrap()
    }

    pub(crate) fn uri(&self) -> String {
        format!("sip:{}", self.address)
    }

    /// The next request of `method`, skipping others.
    #[track_caller]
    pub(crate) fn next(&self, method: &str, limit: Duration) -> Received {
        self.next_if_any(method, limit).unwrap_or_else(|| panic!("no {method} after {limit:?}"))
    }

    /// The same, if it comes.
    pub(crate) fn next_if_any(&self, method: &str, limit: Duration) -> Option<Received> {
        self.next_that(limit, |it| it == method)
    }

    /// The next request, whatever it is.
    pub(crate) fn next_any(&self, limit: Duration) -> Option<Received> {
        self.next_that(limit, |_| true)
    }

    fn next_that(&self, limit: Duration, is_wanted: impl Fn(&str) -> bool) -> Option<Received> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 65_536];
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            let message = Message::parse(&buffer[..length]);
            if message.method().is_some_and(&is_wanted) {
                return Some(Received { message, from });
            }
        }
        None
    }

    /// Answers; `headers` are whole lines.
    pub(crate) fn answer(&self, request: &Received, status: &str, headers: &[&str]) {
        self.answer_with(request, status, headers, "");
    }

    /// The same, with SDP.
    pub(crate) fn answer_with(&self, request: &Received, status: &str, headers: &[&str], sdp: &str) {
        let text = request.message.answer(status, headers, sdp);
        self.socket.send_to(text.as_bytes(), request.from).unwrap();
    }

    /// Sends a request within the dialog of an INVITE that was answered; the final response, acknowledged if it is of an
    /// INVITE.
    #[track_caller]
    pub(crate) fn ask(&self, invite: &Received, method: &str, cseq: u32, contact: &str, sdp: &str) -> Message {
        let header = |name: &str| invite.message.header(name).unwrap();
        let target = header("Contact").split('<').nth(1).unwrap().split('>').next().unwrap().to_owned();
        let request = |method: &str, branch: &str, sdp: &str| {
            format!(
                "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{branch}-{cseq}\r\nMax-Forwards: 70\r\n\
                 From: {};tag=called\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{contact}\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                self.address,
                header("To"),
                header("From"),
                header("Call-ID"),
                sdp.len()
            )
        };
        self.socket.send_to(request(method, "asked", sdp).as_bytes(), invite.from).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        let mut buffer = [0; 65_536];
        while Instant::now() < end {
            self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let Ok((length, _)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            let message = Message::parse(&buffer[..length]);
            if message.status().is_some_and(|it| it >= 200) {
                self.socket.send_to(request("ACK", "ack", "").as_bytes(), invite.from).unwrap();
                return message;
            }
        }
        panic!("no answer to {method}");
    }

    /// Ends the call that an INVITE began; nobody waits for the answer.
    pub(crate) fn hang_up(&self, invite: &Received) {
        let header = |name: &str| invite.message.header(name).unwrap();
        let target = header("Contact").split('<').nth(1).unwrap().split('>').next().unwrap();
        let text = format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-bye\r\nMax-Forwards: 70\r\nFrom: {};tag=called\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            self.address,
            header("To"),
            header("From"),
            header("Call-ID"),
        );
        self.socket.send_to(text.as_bytes(), invite.from).unwrap();
    }

    /// Asks for credentials of `realm`.
    pub(crate) fn challenge(&self, request: &Received, realm: &str, nonce: &str) {
        let field = format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5");
        self.answer(request, "401 Unauthorized", &[&field]);
    }
}

impl Received {
    /// Whether it has the credentials of this user for this challenge (RFC 2617 §3.2.2.1, without qop).
    pub(crate) fn shows(&self, user: &str, password: &str, realm: &str, nonce: &str) -> bool {
        let hash = |text: String| Md5::digest(text).iter().map(|it| format!("{it:02x}")).collect::<String>();
        let mut start = self.message.start.split(' ');
        let (method, uri) = (start.next().unwrap(), start.next().unwrap());
        let secret = hash(format!("{user}:{realm}:{password}"));
        let response = hash(format!("{secret}:{nonce}:{}", hash(format!("{method}:{uri}"))));
        self.message.header("Authorization").is_some_and(|it| it.contains(&format!("response=\"{response}\"")))
    }
}
