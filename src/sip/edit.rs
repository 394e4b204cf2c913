//! Changing messages on their way: what is not touched keeps its bytes.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;

use super::build::{BuildError, Line, write};
use super::header_name::{HeaderName, Known};
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::scan::same_length_text;
use super::text::split;
use super::uri::Uri;

/// Collects changes to a message; [`Self::build`] writes the changed copy. Content-Length follows the body.
pub struct Editor<'a, M> {
    headers: &'a Headers,
    start: Bytes,
    lines: Vec<(HeaderName, Line)>,
    body: Bytes,
    has_length: bool,
    kind: PhantomData<M>,
}

impl<'a, M> Editor<'a, M> {
    pub(crate) fn new(headers: &'a Headers, body: &Bytes) -> Self {
        let raw = &headers.0.raw;
        let start = raw.slice(..headers.0.start_line);
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
        let (_, line) = self.lines.remove(at);
        let rest = match line {
            // What follows keeps its bytes, folding and all.
            Line::Kept(line) => after_first(&line).map(|rest| {
                let colon: &[u8] = if rest.starts_with(b" ") { b":" } else { b": " };
                Line::Kept([name.as_str().as_bytes(), colon, rest].concat().into())
            }),
            Line::New(_, value) => after_first(value.as_bytes())
                .map(|rest| Line::New(name.clone(), String::from_utf8_lossy(rest).into_owned())),
            // An editor has none of its own writing.
            line @ (Line::Written(_) | Line::Refused(_)) => Some(line),
        };
        if let Some(rest) = rest {
            self.lines.insert(at, (name.clone(), rest));
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
        let mut editor = self.pop(&HeaderName::Via);
        let at = editor.first(&HeaderName::Via).unwrap_or(0);
        editor.keep(at, &HeaderName::Via, stamped.as_str());
        editor
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

    /// Inserts what was read from a message: one line, and free to hold what nobody may write anew.
    fn keep(&mut self, at: usize, name: &HeaderName, value: &str) {
        self.lines.insert(at, (name.clone(), Line::Kept(format!("{name}: {value}\r\n").into())));
    }

    fn write(self) -> Result<Message, BuildError> {
        let has_length = self.has_length && self.lines.iter().any(|(it, _)| it.known() == Some(Known::ContentLength));
        let lines: Vec<_> = self.lines.into_iter().map(|(_, line)| line).collect();
        write(&self.start, &lines, "", &self.body, has_length)
    }
}

/// What follows the first comma of a list.
fn after_first(line: &[u8]) -> Option<&[u8]> {
    let text = same_length_text(line);
    let first = split(&text, b',').next()?;
    let end = first.as_ptr() as usize - text.as_ptr() as usize + first.len();
    let comma = end + text.get(end..)?.find(',')?;
    line.get(comma + 1..)
}

impl Editor<'_, Request> {
    /// Replaces the Request-URI.
    #[must_use]
    pub fn uri(mut self, uri: &Uri) -> Self {
        let method = self.start.split(|it| *it == b' ').next().unwrap_or_default();
        self.start = [method, b" ", uri.as_str().as_bytes(), b" SIP/2.0"].concat().into();
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

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "BYE sip:b@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP a.example;branch=1;x=\"y,z\",\r\n SIP/2.0/UDP b.example;branch=2\r\n\
        Route: <sip:1.example,x;lr>, <sip:2.example;lr>\r\n\
        X-Odd : \x01 kept  \r\n\
        route: <sip:3.example;lr>\r\n\
        From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\
        Content-Length: 0\r\n\r\n";

    fn request() -> Request {
        match Message::parse(Bytes::from_static(REQUEST.as_bytes())) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(editor: Editor<'_, Request>, from: &str, to: &str) {
        let built = editor.build().expect("valid").to_bytes();
        let expect = REQUEST.replace(from, to);
        assert_eq!(std::str::from_utf8(&built), Ok(expect.as_str()));
    }

    #[test]
    fn only_what_is_changed_changes() {
        let request = request();
        let edit = || request.edit();
        check(edit(), "", "");
        check(edit().remove(&HeaderName::Other("x-odd".into())), "X-Odd : \x01 kept  \r\n", "");
        check(edit().set(HeaderName::CallId, "d"), "Call-ID: c", "Call-ID: d");
        check(edit().append(HeaderName::Server, "s"), "Length: 0\r\n", "Length: 0\r\nServer: s\r\n");
        check(edit().prepend(HeaderName::Route, "<sip:0>"), "Route: <sip:1", "Route: <sip:0>\r\nRoute: <sip:1");
        check(edit().uri(&"tel:+1".parse().expect("a URI")), "sip:b@example.com SIP", "tel:+1 SIP");
        let body = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
        check(edit().body("text/plain", Bytes::from_static(b"hi")), "Content-Length: 0\r\n\r\n", body);
    }

    #[test]
    fn lists_lose_their_first_element() {
        let request = request();
        let edit = || request.edit();
        let route = "Route: <sip:1.example,x;lr>, <sip:2.example;lr>\r\n";
        check(edit().pop(&HeaderName::Route), " <sip:1.example,x;lr>,", "");
        check(edit().pop(&HeaderName::Route).pop(&HeaderName::Route), route, "");
        let none = edit().pop(&HeaderName::Route).pop(&HeaderName::Route).pop(&HeaderName::Route);
        assert_eq!(none.build().map(|it| it.headers().contains(&HeaderName::Route)), Ok(false));
        let popped = edit().pop(&HeaderName::Via).build().expect("valid");
        assert_eq!(popped.headers().top_via().branch(), Some("2"));
        let source = "192.0.2.1:5".parse().expect("an address");
        let stamped = edit().stamp_via(source).build().expect("valid");
        let vias = stamped.headers().vias().expect("two");
        assert_eq!(vias[0].as_str(), "SIP/2.0/UDP a.example;branch=1;x=\"y,z\";received=192.0.2.1");
        assert_eq!((vias.len(), vias[1].branch()), (2, Some("2")));
    }

    #[test]
    fn nothing_is_smuggled_in() {
        let request = request();
        let evil = "<sip:1>, <sip:2>\r\nEvil: yes";
        let route = Err(BuildError::Forbidden(HeaderName::Route));
        assert_eq!(request.edit().set(HeaderName::Route, evil).build(), route);
        assert_eq!(request.edit().set(HeaderName::Route, evil).pop(&HeaderName::Route).build(), route);
        assert_eq!(request.edit().append(HeaderName::Route, "<sip:1\0>").build(), route);
        let name = HeaderName::Other("A: b\r\nC".into());
        assert_eq!(request.edit().append(name.clone(), "d").build(), Err(BuildError::Forbidden(name)));
        let reply = || Response::reply(&request, crate::sip::StatusCode::OK);
        assert_eq!(reply().reason("OK\r\nEvil: yes").build(), Err(BuildError::Reason));
        assert_eq!(reply().header(HeaderName::ContentLength, 7).build(), Err(BuildError::ContentLength));
        assert!(matches!(request.edit().remove(&HeaderName::From).build(), Err(BuildError::Invalid(_))));
    }
}
