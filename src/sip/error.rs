//! What can be wrong with a message, and the answer that says so (RFC 3261 §8.2.6, §16.3, §21.4.1).

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;

use super::header_name::{HeaderName, Known};
use super::method::Method;
use super::scan::{Entry, values};
use super::status::StatusCode;
use super::text::{Text, is_token, split, trim};
use super::via::Via;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Nothing but line ends or NULs: a keep-alive, to be ignored on UDP.
    #[error("Empty")]
    Empty,
    /// The first line is neither a request line nor a status line.
    #[error("Not SIP")]
    NotSip,
    /// The first line has blanks, parts or characters where none may be.
    #[error("Malformed Start Line")]
    StartLine,
    /// SIP, but not 2.0.
    #[error("Version Not Supported")]
    Version,
    /// The Request-URI is malformed, or carries headers.
    #[error("Malformed Request-URI")]
    RequestUri,
    /// The empty line after the headers does not come.
    #[error("Truncated Headers")]
    Truncated,
    /// A carriage return or line feed that is not half of a line end.
    #[error("Bare Line Break")]
    BareLineBreak,
    /// A NUL outside a quoted pair.
    #[error("NUL in Header")]
    Nul,
    /// A line without a name and a colon.
    #[error("Malformed Header Line")]
    HeaderLine,
    /// More bytes than a message may have.
    #[error("Message Too Large")]
    TooLarge,
    /// More headers than a message may have.
    #[error("Too Many Headers")]
    TooManyHeaders,
    /// A line longer than one may be.
    #[error("Header Line Too Long")]
    LineTooLong,
    /// A header that must stand is not there.
    #[error("Missing")]
    Missing,
    /// A header that may stand once stands twice.
    #[error("Duplicate")]
    Duplicate,
    /// A header does not follow its grammar or range.
    #[error("Malformed")]
    Malformed,
    /// The CSeq names another method than the request line.
    #[error("Method Mismatch in")]
    MethodMismatch,
    /// The body is shorter than the Content-Length says.
    #[error("Body Shorter Than")]
    BodyTruncated,
}

/// Why bytes are not a message, and what could be read all the same, so that it can be answered.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub struct ParseError {
    fault: Fault,
    header: Option<HeaderName>,
    request: Option<Box<Malformed>>,
}

impl ParseError {
    pub(crate) const fn new(fault: Fault, header: Option<HeaderName>, request: Option<Box<Malformed>>) -> Self {
        Self { fault, header, request }
    }

    /// What is wrong.
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The header at fault.
    pub const fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    /// The status that answers it.
    pub const fn status(&self) -> StatusCode {
        match self.fault {
            Fault::Version => StatusCode::VERSION_NOT_SUPPORTED,
            Fault::TooLarge | Fault::TooManyHeaders | Fault::LineTooLong => StatusCode::MESSAGE_TOO_LARGE,
            Fault::Empty
            | Fault::NotSip
            | Fault::StartLine
            | Fault::RequestUri
            | Fault::Truncated
            | Fault::BareLineBreak
            | Fault::Nul
            | Fault::HeaderLine
            | Fault::Missing
            | Fault::Duplicate
            | Fault::Malformed
            | Fault::MethodMismatch
            | Fault::BodyTruncated => StatusCode::BAD_REQUEST,
        }
    }

    /// The reason phrase that tells a person which header is at fault; it repeats nothing a peer chose.
    pub fn reason(&self) -> String {
        match self.header.as_ref().map(|it| it.known().map_or("Header", |_| it.as_str())) {
            Some(header) => format!("{} {header}", self.fault),
            None => self.fault.to_string(),
        }
    }

    /// The method of the request, as far as it could be read; `None` for responses and what cannot be answered.
    pub fn method(&self) -> Option<&Method> {
        self.request.as_deref().map(|it| &it.method)
    }

    /// The top Via of a request that can be answered.
    pub fn top_via(&self) -> Option<&Via> {
        self.request.as_deref().map(|it| &it.via)
    }

    /// The response that refuses the request, for the peer at `source`, where RFC 3261 §18.2.2 has it sent: Vias (the
    /// first one stamped with received and rport), From, To (with `tag` if it has none), Call-ID and CSeq as they came.
    ///
    /// `None` for responses, for an ACK, and if one of these headers could not be read.
    pub fn reply(&self, source: SocketAddr, tag: &str) -> Option<Bytes> {
        self.request.as_deref()?.reply(self.status(), &self.reason(), source, tag)
    }
}

/// Without what the peer wrote.
impl std::fmt::Debug for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParseError({}, answerable: {})", self.reason(), self.request.is_some())
    }
}

/// A request with a fault, of which the headers that a response copies can be read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    method: Method,
    via: Via,
    text: Text,
    entries: Box<[Entry]>,
}

impl Malformed {
    pub(crate) fn new(method: Method, text: Text, entries: &[Entry]) -> Option<Self> {
        let top = values(&text, entries, Known::Via).next().and_then(|it| split(it, b',').next())?;
        let via = Via::read(&text, top)?;
        let copied = [Known::From, Known::To, Known::CallId, Known::CSeq];
        let complete = copied.iter().all(|it| values(&text, entries, *it).next().is_some_and(|it| !it.is_empty()));
        (complete && method != Method::Ack).then(|| Self { method, via, text, entries: entries.into() })
    }

    fn reply(&self, status: StatusCode, reason: &str, source: SocketAddr, tag: &str) -> Option<Bytes> {
        let first = |name| values(&self.text, &self.entries, name).next();
        let mut out = format!("SIP/2.0 {status} {reason}\r\nVia: {}\r\n", self.via.stamped(source));
        let mut vias = values(&self.text, &self.entries, Known::Via);
        // The top Via may be the first of a list; the others of it follow.
        let (_, others) = vias.next()?.split_at_checked(self.via.as_str().len())?;
        for line in std::iter::once(trim(others).trim_start_matches(',')).chain(vias).map(trim) {
            if !line.is_empty() {
                write!(out, "Via: {line}\r\n").ok()?;
            }
        }
        let to = first(Known::To)?;
        let to_tag = if is_tagged(to) || !is_token(tag) { String::new() } else { format!(";tag={tag}") };
        let (from, call_id, cseq) = (first(Known::From)?, first(Known::CallId)?, first(Known::CSeq)?);
        write!(out, "From: {from}\r\nTo: {to}{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n").ok()?;
        out.push_str("Content-Length: 0\r\n\r\n");
        // What was copied must not say more than one line.
        let clean = out.split("\r\n").all(|line| !line.bytes().any(|it| it.is_ascii_control() && it != b'\t'));
        clean.then(|| Bytes::from(out))
    }
}

/// Whether a To that may be malformed has a tag, as far as can be told.
fn is_tagged(to: &str) -> bool {
    split(to, b';').skip(1).any(|it| {
        let name = it.split_once('=').map_or(it, |(name, _)| name);
        trim(name).eq_ignore_ascii_case("tag")
    })
}
