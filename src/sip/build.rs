//! Writing new messages (RFC 3261 §7, §8.1.1, §8.2.6). What a builder makes is read back before it is handed out, so it
//! is as valid as what was parsed; a value with CR, LF or NUL is refused, so no header can be smuggled into one.

use std::fmt::{Display, Write as _};
use std::ops::Range;

use bytes::Bytes;

use super::error::ParseError;
use super::header_name::{HeaderName, Known};
use super::headers::Headers;
use super::message::{Message, Request, Response, assemble};
use super::method::Method;
use super::scan::scan;
use super::status::StatusCode;
use super::text::is_token;
use super::uri::Uri;

/// Why a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A value holds CR, LF or NUL, or a name is no token.
    #[error("forbidden characters in {0}")]
    Forbidden(HeaderName),
    /// The reason phrase holds CR, LF or NUL.
    #[error("forbidden characters in the reason phrase")]
    Reason,
    /// The Content-Length is not for the caller to write.
    #[error("the Content-Length is written by the builder")]
    ContentLength,
    /// It would not be a message.
    #[error(transparent)]
    Invalid(#[from] ParseError),
    /// A request where a response was built, or the reverse. The start line decides, so this does not happen.
    #[error("not the kind of message that was built")]
    Kind,
}

/// Collects the headers of a new request. Content-Length is written by [`Self::build`].
#[derive(Clone)]
pub struct RequestBuilder {
    start: String,
    lines: Vec<Line>,
    written: String,
    body: Bytes,
}

/// Collects the headers of a response to a request. Content-Length is written by [`Self::build`].
#[derive(Clone)]
pub struct ResponseBuilder {
    status: StatusCode,
    reason: Option<String>,
    lines: Vec<Line>,
    written: String,
    body: Bytes,
}

#[derive(Clone)]
pub(crate) enum Line {
    /// As it stands in another message, its end included.
    Kept(Bytes),
    New(HeaderName, String),
    /// As it stands in what the builder has written, its end included.
    Written(Range<usize>),
    /// What the caller gave may not be written.
    Refused(HeaderName),
}

impl RequestBuilder {
    /// Begins a request. The caller writes Via, From, To, Call-ID, CSeq and Max-Forwards.
    pub fn new(method: Method, uri: &Uri) -> Self {
        let (lines, written) = room();
        Self { start: format!("{method} {uri} SIP/2.0"), lines, written, body: Bytes::new() }
    }

    /// Appends a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Display) -> Self {
        self.lines.push(written(&mut self.written, name, &value));
        self
    }

    /// Appends all headers of this name of another message as they stand there.
    #[must_use]
    pub fn copy(mut self, headers: &Headers, name: &HeaderName) -> Self {
        self.lines.extend(kept(headers, name));
        self
    }

    /// Sets body and Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Bytes) -> Self {
        self.lines.push(written(&mut self.written, HeaderName::ContentType, &content_type));
        self.body = body;
        self
    }

    /// Writes the request.
    pub fn build(self) -> Result<Request, BuildError> {
        match write(self.start.as_bytes(), &self.lines, &self.written, &self.body, false)? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(BuildError::Kind),
        }
    }
}

impl ResponseBuilder {
    /// RFC 3261 §8.2.6.2: all Vias, From, To, Call-ID and CSeq are copied, and the Timestamp of what a 100 answers.
    pub(crate) fn reply(request: &Request, status: StatusCode) -> Self {
        let headers = request.headers();
        let (mut lines, written) = room();
        for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            lines.extend(kept(headers, &name));
        }
        if status == StatusCode::TRYING {
            lines.extend(kept(headers, &HeaderName::Timestamp));
        }
        Self { status, reason: None, lines, written, body: Bytes::new() }
    }

    /// Another reason phrase than the usual one.
    #[must_use]
    pub fn reason(mut self, reason: impl Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// Adds our tag, a token, to the To if it has none; RFC 3261 §8.2.6.2 has it in every response but 100.
    #[must_use]
    pub fn to_tag(mut self, request: &Request, tag: &str) -> Self {
        let headers = request.headers();
        let is_to = |it: &Line| matches!(it, Line::Kept(line) if line_is(line, Known::To));
        let to = headers.lines(&HeaderName::To).next().filter(|_| headers.to().tag().is_none());
        if let (Some(to), Some(line)) = (to, self.lines.iter_mut().find(|it| is_to(it))) {
            // Added to the bytes as they came: they may hold what nobody may write anew.
            *line = if is_token(tag) {
                Line::Kept([to.raw_until_value_end(), b";tag=", tag.as_bytes(), b"\r\n"].concat().into())
            } else {
                Line::Refused(HeaderName::To)
            };
        }
        self
    }

    /// Appends a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Display) -> Self {
        self.lines.push(written(&mut self.written, name, &value));
        self
    }

    /// Appends all headers of this name of another message as they stand there (Record-Route, for one).
    #[must_use]
    pub fn copy(mut self, headers: &Headers, name: &HeaderName) -> Self {
        self.lines.extend(kept(headers, name));
        self
    }

    /// Sets body and Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Bytes) -> Self {
        self.lines.push(written(&mut self.written, HeaderName::ContentType, &content_type));
        self.body = body;
        self
    }

    /// Writes the response.
    pub fn build(self) -> Result<Response, BuildError> {
        let reason = self.reason.as_deref().unwrap_or_else(|| self.status.reason());
        if has_forbidden(reason) {
            return Err(BuildError::Reason);
        }
        let start = format!("SIP/2.0 {} {reason}", self.status);
        match write(start.as_bytes(), &self.lines, &self.written, &self.body, false)? {
            Message::Response(response) => Ok(response),
            Message::Request(_) => Err(BuildError::Kind),
        }
    }
}

/// The ends of start line and head, and a Content-Length.
const LENGTH_BYTES: usize = 32;

/// Room for what most messages have.
fn room() -> (Vec<Line>, String) {
    (Vec::with_capacity(16), String::with_capacity(512))
}

/// Writes a line to `to`, unless it may not be written.
fn written(to: &mut String, name: HeaderName, value: &dyn Display) -> Line {
    let start = to.len();
    write!(to, "{}: {value}", name.as_str()).expect("a string takes what is written to it");
    let is_forbidden = !is_token(name.as_str()) || to.get(start..).is_none_or(has_forbidden);
    if is_forbidden || name == HeaderName::ContentLength {
        to.truncate(start);
        return Line::Refused(name);
    }
    to.push_str("\r\n");
    Line::Written(start..to.len())
}

fn kept(headers: &Headers, name: &HeaderName) -> impl Iterator<Item = Line> {
    headers.lines(name).map(|it| Line::Kept(headers.0.raw.slice_ref(it.raw_line())))
}

fn line_is(line: &[u8], known: Known) -> bool {
    let end = line.iter().position(|it| matches!(it, b':' | b' ' | b'\t')).unwrap_or(0);
    line.get(..end).and_then(Known::of) == Some(known)
}

fn has_forbidden(text: &str) -> bool {
    text.contains(['\r', '\n', '\0'])
}

/// Writes a message and reads it back. `has_length` says that a kept line states the length of the body.
pub(crate) fn write(
    start: &[u8],
    lines: &[Line],
    written: &str,
    body: &Bytes,
    has_length: bool,
) -> Result<Message, BuildError> {
    let length = |line: &Line| match line {
        Line::Kept(line) => line.len(),
        Line::Written(place) => place.len(),
        Line::New(name, value) => name.as_str().len() + value.len() + ": \r\n".len(),
        Line::Refused(_) => 0,
    };
    // No more than it takes: messages are kept for as long as their calls.
    let lines_length: usize = lines.iter().map(length).sum();
    let mut out = Vec::with_capacity(start.len() + lines_length + body.len() + LENGTH_BYTES);
    out.extend_from_slice(start);
    out.extend_from_slice(b"\r\n");
    for line in lines {
        match line {
            Line::Kept(line) => out.extend_from_slice(line),
            Line::Written(place) => {
                out.extend_from_slice(written.as_bytes().get(place.clone()).unwrap_or_default());
            }
            Line::Refused(HeaderName::ContentLength) => return Err(BuildError::ContentLength),
            Line::Refused(name) => return Err(BuildError::Forbidden(name.clone())),
            Line::New(HeaderName::ContentLength, _) => return Err(BuildError::ContentLength),
            Line::New(name, value) if !is_token(name.as_str()) || has_forbidden(value) => {
                return Err(BuildError::Forbidden(name.clone()));
            }
            Line::New(name, value) => {
                for part in [name.as_str(), ": ", value, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
        }
    }
    if !has_length {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    let raw = Bytes::from(out);
    let scan = scan(&raw);
    Ok(assemble(raw, scan)?)
}
