//! Requests and responses (RFC 3261 §7): one [`Bytes`] kept, an index over it, typed views on demand.
//!
//! A message that was parsed is valid in what everyone relies on: its start line, the headers that every message has, and
//! where its body ends. What was not edited is written back byte for byte.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::build::{BuildError, RequestBuilder, ResponseBuilder};
use super::cseq::CSeq;
use super::edit::Editor;
use super::error::{Fault, Malformed, ParseError};
use super::header_name::Known;
use super::headers::{Head, Headers};
use super::method::Method;
use super::name_addr::NameAddr;
use super::scan::{Entry, Scan, head_text, scan};
use super::status::StatusCode;
use super::text::{Span, Text, number, split};
use super::uri::Uri;
use super::via::Via;
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// A request or a response.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request. Cloning shares.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    method: Method,
    uri: Uri,
    headers: Headers,
    body: Bytes,
}

/// A response. Cloning shares.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    reason: Span,
    headers: Headers,
    body: Bytes,
}

impl Message {
    /// Reads one UDP datagram. Line ends before the message are skipped; the body is cut by the Content-Length and what
    /// follows it ignored (RFC 3261 §18.3); without one it goes to the end.
    pub fn parse(datagram: Bytes) -> Result<Self, ParseError> {
        if datagram.iter().all(|it| matches!(it, b'\r' | b'\n' | 0)) {
            return Err(ParseError::new(Fault::Empty, None, None));
        }
        let mut blank = 0;
        while datagram.get(blank..).is_some_and(|it| it.starts_with(b"\r\n")) {
            blank += 2;
        }
        let raw = datagram.slice(blank..);
        let scan = scan(raw.get(..SIP_MESSAGE_BYTES_MAX).unwrap_or(&raw));
        assemble(raw, scan)
    }

    /// The headers.
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(it) => &it.headers,
            Self::Response(it) => &it.headers,
        }
    }

    /// The body.
    pub const fn body(&self) -> &Bytes {
        match self {
            Self::Request(it) => &it.body,
            Self::Response(it) => &it.body,
        }
    }

    /// The message as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        self.headers().0.raw.clone()
    }
}

impl Request {
    /// A new request, see [`RequestBuilder::new`].
    pub fn builder(method: Method, uri: &Uri) -> RequestBuilder {
        RequestBuilder::new(method, uri)
    }

    /// What it asks for.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Whom it asks. The scheme may be one that nobody here knows.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The Request-URI as written.
    pub fn uri_str(&self) -> &str {
        self.uri.as_str()
    }

    /// The headers.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The request as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        self.headers.0.raw.clone()
    }

    /// A copy with changes.
    pub fn edit(&self) -> Editor<'_, Self> {
        Editor::new(&self.headers, &self.body)
    }

    /// The request as its receiver passes it on: with what [`Editor::stamp_via`] notes, at less cost.
    pub(crate) fn stamped(self, source: SocketAddr) -> Result<Self, BuildError> {
        let via = self.headers.top_via();
        let stamped = via.stamped(source);
        if stamped == *via {
            return Ok(self);
        }
        let (raw, old) = (&self.headers.0.raw, via.as_str());
        // What is folded, or no UTF-8, was read from a copy.
        let start = (old.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
        let Some((before, rest)) = raw.split_at_checked(start).filter(|it| it.1.starts_with(old.as_bytes())) else {
            return self.edit().stamp_via(source).build();
        };
        let after = rest.get(old.len()..).unwrap_or_default();
        let raw = Bytes::from([before, stamped.as_str().as_bytes(), after].concat());
        let scan = scan(&raw);
        match assemble(raw, scan)? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(BuildError::Kind),
        }
    }
}

impl Response {
    /// The response to a request, with what RFC 3261 §8.2.6 has it copy; see [`ResponseBuilder`].
    pub fn reply(request: &Request, status: StatusCode) -> ResponseBuilder {
        ResponseBuilder::reply(request, status)
    }

    /// The code.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason phrase.
    pub fn reason(&self) -> &str {
        self.headers.0.text.at(self.reason)
    }

    /// The headers.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The response as it goes on the wire.
    pub fn to_bytes(&self) -> Bytes {
        self.headers.0.raw.clone()
    }

    /// A copy with changes.
    pub fn edit(&self) -> Editor<'_, Self> {
        Editor::new(&self.headers, &self.body)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}, Call-ID: {})", self.method, self.headers.call_id())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} to {}, Call-ID: {})", self.status, self.headers.cseq().method, self.headers.call_id())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(it) => it.fmt(f),
            Self::Response(it) => it.fmt(f),
        }
    }
}

/// How many headers there are and on which call: their values are personal data.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Headers({}, Call-ID: {})", self.0.entries.len(), self.call_id())
    }
}

enum StartLine {
    Request(Method, Uri),
    Response(StatusCode, Span),
}

/// Makes a message of `raw`, which begins with its start line, and the index over it.
pub(crate) fn assemble(raw: Bytes, scan: Scan) -> Result<Message, ParseError> {
    let text = head_text(&raw, &scan);
    let start = start_line(&text, scan.start_line);
    let end = match scan.content_length {
        Some(length) => scan.head.saturating_add(length as usize),
        None => raw.len(),
    };
    let fault = match (&start, scan.fault) {
        // The first line did not even end.
        (Err(_), Some(fault)) if scan.start_line == 0 => Some(fault),
        (Err(fault), _) => Some((*fault, None)),
        (Ok(_), Some(fault)) => Some(fault),
        (Ok(_), None) if end > SIP_MESSAGE_BYTES_MAX => Some((Fault::TooLarge, None)),
        (Ok(_), None) if end > raw.len() => Some((Fault::BodyTruncated, Some(Known::ContentLength))),
        (Ok(_), None) => None,
    };
    let (start, typed) = match (start, fault) {
        (Ok(start), None) => match Typed::read(&text, &scan, &start) {
            Ok(typed) => (start, typed),
            Err((fault, header)) => return Err(refuse(fault, Some(header), &text, &scan)),
        },
        (_, Some((fault, header))) => return Err(refuse(fault, header, &text, &scan)),
        (Err(fault), None) => return Err(refuse(fault, None, &text, &scan)),
    };
    let body = raw.slice(scan.head..end);
    let Typed { via, from, to, call_id, cseq, max_forwards } = typed;
    let Scan { start_line, entries, content_length, .. } = scan;
    let raw = raw.slice(..end);
    let head = Head { raw, text, start_line, entries, via, from, to, call_id, cseq, max_forwards, content_length };
    let headers = Headers(Arc::new(head));
    Ok(match start {
        StartLine::Request(method, uri) => Message::Request(Request { method, uri, headers, body }),
        StartLine::Response(status, reason) => Message::Response(Response { status, reason, headers, body }),
    })
}

fn refuse(fault: Fault, header: Option<Known>, text: &Text, scan: &Scan) -> ParseError {
    let line = text.cut(0..scan.start_line);
    let method = line.split_once(' ').and_then(|(method, _)| Method::parse(method));
    let is_sip = !matches!(fault, Fault::Empty | Fault::NotSip);
    let request = method.filter(|_| is_sip).and_then(|it| Malformed::new(it, text.clone(), &scan.entries));
    ParseError::new(fault, header.map(Into::into), request.map(Box::new))
}

/// RFC 3261 §7.1, §7.2: exactly one space between the parts.
fn start_line(text: &Text, length: usize) -> Result<StartLine, Fault> {
    let line = text.cut(0..length);
    if let Some(rest) = strip_version(line) {
        let (code, reason) =
            rest.strip_prefix(' ').ok_or(Fault::StartLine)?.split_at_checked(3).ok_or(Fault::StartLine)?;
        let reason = if reason.is_empty() { reason } else { reason.strip_prefix(' ').ok_or(Fault::StartLine)? };
        let status = number(code).and_then(StatusCode::new).ok_or(Fault::StartLine)?;
        return Ok(StartLine::Response(status, Span::of_part(line, reason)));
    }
    if is_other_version(line) {
        return Err(Fault::Version);
    }
    let mut parts = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let is_sip = line.rsplit(' ').find(|it| !it.is_empty()).is_some_and(is_version);
        return Err(if is_sip { Fault::StartLine } else { Fault::NotSip });
    };
    if strip_version(version) != Some("") {
        return Err(if is_other_version(version) { Fault::Version } else { Fault::NotSip });
    }
    let method = Method::parse(method).ok_or(Fault::StartLine)?;
    let uri = Uri::read_part(text, uri, uri).map_err(|_bad| Fault::RequestUri)?;
    // RFC 3261 §19.1.1, table 1: headers may not stand here; §19.1.5 says what they would be good for: smuggling.
    if uri.has_headers() {
        return Err(Fault::RequestUri);
    }
    Ok(StartLine::Request(method, uri))
}

fn strip_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_at_checked("SIP/2.0".len())?;
    version.eq_ignore_ascii_case("SIP/2.0").then_some(rest)
}

fn is_version(text: &str) -> bool {
    strip_version(text) == Some("") || is_other_version(text)
}

/// `SIP/digits.digits` at the start, but not 2.0.
fn is_other_version(text: &str) -> bool {
    let Some((protocol, rest)) = text.split_at_checked("SIP/".len()) else {
        return false;
    };
    let version = rest.split(' ').next().unwrap_or_default();
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    protocol.eq_ignore_ascii_case("SIP/")
        && version != "2.0"
        && version.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// What every message has.
struct Typed {
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: Range<usize>,
    cseq: CSeq,
    max_forwards: Option<u8>,
}

impl Typed {
    fn read(text: &Text, scan: &Scan, start: &StartLine) -> Result<Self, (Fault, Known)> {
        let entry = |name: Known| scan.entries.iter().find(|it| it.known == Some(name));
        let first = |name: Known| entry(name).map(|it| it.value(text));
        let must = |name: Known| first(name).ok_or((Fault::Missing, name));
        let malformed = |name: Known| (Fault::Malformed, name);
        let top = split(must(Known::Via)?, b',').next().unwrap_or_default();
        let via = Via::read(text, top).ok_or_else(|| malformed(Known::Via))?;
        let address = |name: Known| match NameAddr::read(text, must(name)?) {
            Ok(address) if has_sound_tag(&address) => Ok(address),
            Ok(_) | Err(_) => Err(malformed(name)),
        };
        let (from, to) = (address(Known::From)?, address(Known::To)?);
        let call_id = must(Known::CallId)?;
        if call_id.is_empty() || call_id.bytes().any(|it| it.is_ascii_control() || it == b' ') {
            return Err(malformed(Known::CallId));
        }
        let call_id = entry(Known::CallId).map(Entry::value_range).unwrap_or_default();
        let cseq = CSeq::parse(must(Known::CSeq)?).ok_or_else(|| malformed(Known::CSeq))?;
        if let StartLine::Request(method, _) = start
            && cseq.method != *method
        {
            return Err((Fault::MethodMismatch, Known::CSeq));
        }
        let max_forwards = match first(Known::MaxForwards) {
            Some(value) => Some(number::<u8>(value).ok_or_else(|| malformed(Known::MaxForwards))?),
            None => None,
        };
        Ok(Self { via, from, to, call_id, cseq, max_forwards })
    }
}

/// RFC 3261 §19.3, §25.1: at most one tag, and not without a value. Two would leave open which dialog is meant.
fn has_sound_tag(address: &NameAddr) -> bool {
    let mut tags = address.params().iter().filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
    tags.next().is_none_or(|(_, value)| value.is_some()) && tags.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Contacts, Frame, HeaderName, Host, StreamFramer};

    const INVITE: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP [2001:db8::9]:5070;branch=x\r\n\
        Max-Forwards: 70\r\n\
        t: Bob <sip:bob@biloxi.example.com>\r\n\
        From: \"Alice, the \\\"A\\\"\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@pc33\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: <sip:alice@pc33.atlanta.example.com>\r\n\
        Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n\
        X-Odd:\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 4\r\n\
        \r\n\
        v=0\n";

    fn invite() -> Request {
        match Message::parse(Bytes::from_static(INVITE.as_bytes())) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_ordinary_invite_is_read() {
        let request = invite();
        let headers = request.headers();
        assert_eq!((request.method(), request.uri_str()), (&Method::Invite, "sip:bob@biloxi.example.com"));
        assert_eq!(headers.from().display_name().as_deref(), Some("Alice, the \"A\""));
        assert_eq!((headers.from().tag(), headers.to().tag()), (Some("1928301774"), None));
        assert_eq!(headers.to().uri().host(), Some(Host::Name("biloxi.example.com")));
        assert_eq!(headers.vias().map(|it| it.len()), Ok(2));
        assert_eq!(headers.vias().ok().and_then(|it| it[1].port()), Some(5070));
        assert_eq!(headers.top_via().branch(), Some("z9hG4bK776asdhds"));
        assert_eq!(headers.routes().map(|it| it.iter().filter(|it| it.uri().is_loose_route()).count()), Ok(2));
        assert!(matches!(headers.contacts(), Ok(Contacts::List(list)) if list.len() == 1));
        assert_eq!(headers.get(&HeaderName::Other("x-odd".into())), Some(""));
        assert_eq!((headers.max_forwards(), headers.content_length()), (Some(70), Some(4)));
        assert_eq!(request.body(), "v=0\n");
        assert_eq!(request.to_bytes(), INVITE);
        assert_eq!(format!("{request:?}"), "Request(INVITE, Call-ID: a84b4c76e66710@pc33)");
    }

    #[test]
    fn a_stamp_is_the_same_however_it_is_made() {
        let vias = |request: &Request| {
            let all = request.headers().all(&HeaderName::Via).flat_map(|it| split(it, b','));
            all.map(|it| it.trim().to_owned()).collect::<Vec<_>>()
        };
        for via in [
            "Via: SIP/2.0/UDP a;branch=b;rport\r\n",
            "v: SIP/2.0/UDP a;branch=b;received=1.2.3.4 ,SIP/2.0/UDP c;branch=d\r\nVia: SIP/2.0/UDP e;branch=f\r\n",
            "Via:\r\n SIP/2.0/UDP a\r\n ;branch=b;rport\r\n",
            "Subject: \u{e9}\r\nVia: SIP/2.0/UDP a;rport;branch=b\r\n",
            "Via: SIP/2.0/UDP 192.0.2.7:5999;branch=b\r\n",
        ] {
            for subject in [&b"x"[..], b"\xff"] {
                let rest = "From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 2\r\n\r\nhi";
                let head = format!("BYE sip:a@b SIP/2.0\r\n{via}Organization: ");
                let raw = [head.as_bytes(), subject, b"\r\n", rest.as_bytes()].concat();
                let Ok(Message::Request(request)) = Message::parse(raw.into()) else { panic!("{via}") };
                let source = "192.0.2.7:5999".parse().expect("an address");
                let [one, two] = [request.edit().stamp_via(source).build(), request.clone().stamped(source)]
                    .map(|it| it.expect("valid"));
                assert_eq!(vias(&one), vias(&two), "{via}");
                let others = |it: &Request| it.headers().iter().filter(|it| it.name() != HeaderName::Via).count();
                assert_eq!((others(&one), one.body()), (others(&two), two.body()));
                assert_eq!(two.headers().top_via().as_str(), vias(&two)[0]);
            }
        }
    }

    #[test]
    fn a_reply_copies_what_it_must() {
        let request = invite().edit().stamp_via("192.0.2.7:5999".parse().expect("an address")).build().expect("valid");
        let response = Response::reply(&request, StatusCode::RINGING)
            .to_tag(&request, "ours")
            .header(HeaderName::Contact, "<sip:b2bua@192.0.2.1>")
            .build()
            .expect("valid");
        assert_eq!(
            response.to_bytes(),
            "SIP/2.0 180 Ringing\r\n\
             Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds;received=192.0.2.7;rport=5999\r\n\
             Via: SIP/2.0/TCP [2001:db8::9]:5070;branch=x\r\n\
             From: \"Alice, the \\\"A\\\"\" <sip:alice@atlanta.example.com>;tag=1928301774\r\n\
             t: Bob <sip:bob@biloxi.example.com>;tag=ours\r\n\
             Call-ID: a84b4c76e66710@pc33\r\n\
             CSeq: 314159 INVITE\r\n\
             Contact: <sip:b2bua@192.0.2.1>\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_fault_is_named_and_answered() {
        let bad = INVITE.replace("314159 INVITE", "4294967296 INVITE");
        let error = Message::parse(Bytes::from(bad)).expect_err("the CSeq is out of range");
        assert_eq!((error.fault(), error.reason().as_str()), (Fault::Malformed, "Malformed CSeq"));
        let reply = error.reply("192.0.2.7:5999".parse().expect("an address"), "t").expect("can be answered");
        let reply = std::str::from_utf8(&reply).expect("text");
        assert!(reply.starts_with("SIP/2.0 400 Malformed CSeq\r\nVia: SIP/2.0/UDP pc33.atlanta.example.com;branch="));
        assert!(reply.contains("rport=5999\r\nVia: SIP/2.0/TCP [2001:db8::9]:5070;branch=x\r\nFrom: "), "{reply}");
        assert!(reply.contains(";tag=t\r\nCall-ID: a84b4c76e66710@pc33\r\nCSeq: 4294967296 INVITE\r\n"));
    }

    #[test]
    fn streams_are_divided() {
        let mut framer = StreamFramer::new();
        framer.push(format!("\r\n\r\n{INVITE}{INVITE}").as_bytes());
        let frames: Vec<_> = framer.by_ref().collect();
        let invite = || Ok(Frame::Message(Message::Request(invite())));
        assert_eq!(frames, [Ok(Frame::Ping), invite(), invite()]);
        assert_eq!(framer.held_bytes(), 0);
    }
}
