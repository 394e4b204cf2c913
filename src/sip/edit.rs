//! Changing messages on their way: what is not touched keeps its bytes.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;

use super::build::{BuildError, Line, write};
use super::header_name::{HeaderName, Known};
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::text::{split, trim};
use super::uri::Uri;

/// Collects changes to a message; [`Self::build`] writes the changed copy. Content-Length follows the body.
pub struct Editor<'a, M> {
    headers: &'a Headers,
    start: String,
    lines: Vec<(HeaderName, Line)>,
    body: Bytes,
    has_length: bool,
    kind: PhantomData<M>,
}

impl<'a, M> Editor<'a, M> {
    pub(crate) fn new(headers: &'a Headers, start: String, body: &Bytes) -> Self {
        let raw = &headers.0.raw;
        let lines = headers.iter().map(|it| (it.name(), Line::Kept(raw.slice_ref(it.raw_line())))).collect();
        let has_length = headers.content_length().is_some();
        Self { headers, start, lines, body: body.clone(), has_length, kind: PhantomData }
    }

    /// Replaces all headers of this name by one, which stands where the first one stood, or last.
    #[must_use]
    pub fn set(mut self, name: HeaderName, value: impl Display) -> Self {
        let at = self.first(&name).unwrap_or(self.lines.len());
        self.lines.retain(|(it, _)| *it != name);
        self.insert(at, name, &value);
        self
    }

    /// Removes all headers of this name.
    #[must_use]
    pub fn remove(mut self, name: &HeaderName) -> Self {
        self.lines.retain(|(it, _)| it != name);
        self
    }

    /// Adds a header after all others.
    #[must_use]
    pub fn append(mut self, name: HeaderName, value: impl Display) -> Self {
        self.insert(self.lines.len(), name, &value);
        self
    }

    /// Adds a header before the others of its name, or before all.
    #[must_use]
    pub fn prepend(mut self, name: HeaderName, value: impl Display) -> Self {
        self.insert(self.first(&name).unwrap_or(0), name, &value);
        self
    }

    /// Removes the first element of the lists of this name: the top Via, the next hop of a Route.
    #[must_use]
    pub fn pop(mut self, name: &HeaderName) -> Self {
        let Some(at) = self.first(name) else {
            return self;
        };
        let value = match self.lines.get(at) {
            Some((_, Line::New(_, value))) => value.clone(),
            _ => self.headers.get(name).unwrap_or_default().to_owned(),
        };
        let first = split(&value, b',').next().map_or(0, str::len);
        let rest = trim(trim(&value).get(first..).unwrap_or_default());
        self.lines.remove(at);
        if let Some(rest) = rest.strip_prefix(',') {
            self.insert(at, name.clone(), &trim(rest));
        }
        self
    }

    /// Notes in the top Via where the message came from (RFC 3261 §18.2.1, RFC 3581 §4); see [`super::Via::stamped`].
    #[must_use]
    pub fn stamp_via(self, source: SocketAddr) -> Self {
        let via = self.headers.top_via();
        let stamped = via.stamped(source);
        if stamped == *via {
            return self;
        }
        self.pop(&HeaderName::Via).prepend(HeaderName::Via, stamped)
    }

    /// Replaces the body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Bytes) -> Self {
        self = self.remove(&HeaderName::ContentLength).set(HeaderName::ContentType, content_type);
        self.has_length = false;
        self.body = body;
        self
    }

    fn first(&self, name: &HeaderName) -> Option<usize> {
        self.lines.iter().position(|(it, _)| it == name)
    }

    fn insert(&mut self, at: usize, name: HeaderName, value: &dyn Display) {
        self.lines.insert(at, (name.clone(), Line::New(name, value.to_string())));
    }

    fn write(self) -> Result<Message, BuildError> {
        let has_length = self.has_length && self.lines.iter().any(|(it, _)| it.known() == Some(Known::ContentLength));
        let lines: Vec<_> = self.lines.into_iter().map(|(_, line)| line).collect();
        write(&self.start, &lines, &self.body, has_length)
    }
}

impl Editor<'_, Request> {
    /// Replaces the Request-URI.
    #[must_use]
    pub fn uri(mut self, uri: &Uri) -> Self {
        let method = self.start.split(' ').next().unwrap_or_default();
        self.start = format!("{method} {uri} SIP/2.0");
        self
    }

    /// Writes the changed request.
    pub fn build(self) -> Result<Request, BuildError> {
        match self.write()? {
            Message::Request(request) => Ok(request),
            Message::Response(_) => Err(BuildError::Kind),
        }
    }
}

impl Editor<'_, Response> {
    /// Writes the changed response.
    pub fn build(self) -> Result<Response, BuildError> {
        match self.write()? {
            Message::Response(response) => Ok(response),
            Message::Request(_) => Err(BuildError::Kind),
        }
    }
}
