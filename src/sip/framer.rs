//! Messages in a stream of bytes: RFC 3261 §18.3, with the keep-alives of RFC 5626 §4.4.1.
//!
//! Content-Length is mandatory. When it is missing or in doubt there is no telling where the next message begins, so the
//! connection has to be closed: nothing behind it is read, least of all a body as a request.

use bytes::{Buf, Bytes, BytesMut};

use super::error::{Fault, ParseError};
use super::header_name::{HeaderName, Known};
use super::message::{Message, assemble};
use super::scan::{Scan, scan};
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// What stands next in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// A message that is wrong in itself, but ends where it says: answer it and go on.
    Malformed(ParseError),
    /// Two line ends: to be answered by one.
    Ping,
    /// One line end: the answer to a ping.
    Pong,
}

/// The stream can no longer be divided into messages; close the connection. The error may be answered first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("framing is lost: {0}")]
pub struct FramingError(#[from] pub ParseError);

/// Divides a stream into messages. Push what arrives, then take frames until there is none: an iterator that may go on
/// after it said `None`.
///
/// When drained it holds less than one message; a head or body that would grow beyond
/// [`SIP_MESSAGE_BYTES_MAX`] ends the stream. After an error it takes and gives nothing.
#[derive(Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// Bytes of the buffer in which no end of a head was found.
    searched: usize,
    /// The head is complete, the body is not.
    head: Option<Scan>,
    /// The last frame was a single line end: another one makes it a ping.
    after_line_end: bool,
    is_lost: bool,
}

impl StreamFramer {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what arrived.
    pub fn push(&mut self, data: &[u8]) {
        if !self.is_lost {
            self.buffer.extend_from_slice(data);
        }
    }

    /// Bytes that wait for the rest of their message.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn keep_alive(&mut self) -> Option<Frame> {
        let (frame, length) = match self.buffer.get(..4) {
            Some(b"\r\n\r\n") => (Frame::Ping, 4),
            _ if self.after_line_end => (Frame::Ping, 2),
            _ => (Frame::Pong, 2),
        };
        self.buffer.advance(length);
        self.after_line_end = frame == Frame::Pong;
        Some(frame)
    }

    fn message(&mut self) -> Option<Result<Frame, ParseError>> {
        let scan = match self.head.take() {
            Some(scan) => scan,
            None => match self.complete_head()? {
                Ok(scan) => scan,
                Err(error) => return Some(Err(error)),
            },
        };
        let length = scan.content_length.unwrap_or_default() as usize;
        let end = scan.head.saturating_add(length);
        if self.buffer.len() < end && end <= SIP_MESSAGE_BYTES_MAX {
            self.head = Some(scan);
            return None;
        }
        // A copy of its own: the message does not keep alive what else the stream brought.
        let is_whole = end <= SIP_MESSAGE_BYTES_MAX;
        let raw = Bytes::copy_from_slice(self.buffer.get(..end).unwrap_or(&self.buffer));
        self.searched = 0;
        let is_lost = scan.is_lost || !is_whole;
        match assemble(raw, scan) {
            Ok(message) => {
                self.buffer.advance(end);
                Some(Ok(Frame::Message(message)))
            }
            Err(error) if is_lost || matches!(error.fault(), Fault::NotSip) => Some(Err(error)),
            Err(error) => {
                self.buffer.advance(end);
                Some(Ok(Frame::Malformed(error)))
            }
        }
    }

    /// The index of the head at the front of the buffer, once its empty line has come.
    fn complete_head(&mut self) -> Option<Result<Scan, ParseError>> {
        let from = self.searched.saturating_sub(3);
        let found = memchr::memmem::find(self.buffer.get(from..).unwrap_or_default(), b"\r\n\r\n");
        self.searched = self.buffer.len();
        let head = match found {
            Some(at) => from + at + 4,
            None if self.buffer.len() < SIP_MESSAGE_BYTES_MAX => return None,
            None => self.buffer.len(),
        };
        // The end of a head is there, or no room for it.
        let mut scan = scan(self.buffer.get(..head.min(SIP_MESSAGE_BYTES_MAX)).unwrap_or(&self.buffer));
        if matches!(scan.fault, Some((Fault::Truncated, _))) {
            scan.fault = Some((Fault::TooLarge, None));
        }
        if scan.fault.is_none() && scan.content_length.is_none() {
            scan.fault = Some((Fault::Missing, Some(Known::ContentLength)));
            scan.is_lost = true;
        }
        if scan.is_lost {
            let raw = Bytes::copy_from_slice(self.buffer.get(..scan.head).unwrap_or(&self.buffer));
            let error = match assemble(raw, scan) {
                Err(error) => error,
                Ok(_) => ParseError::new(Fault::Malformed, Some(HeaderName::ContentLength), None),
            };
            return Some(Err(error));
        }
        Some(Ok(scan))
    }
}

impl Iterator for StreamFramer {
    type Item = Result<Frame, FramingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_lost {
            return None;
        }
        if self.head.is_none() && self.searched == 0 && self.buffer.starts_with(b"\r\n") {
            return self.keep_alive().map(Ok);
        }
        if self.buffer.is_empty() || *self.buffer == b"\r"[..] {
            return None;
        }
        self.after_line_end = false;
        let frame = self.message()?;
        if frame.is_err() {
            self.is_lost = true;
            self.buffer = BytesMut::new();
        }
        Some(frame.map_err(FramingError))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(headers: &str, body: &str) -> String {
        format!(
            "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/TCP b.example;branch=z9hG4bK1\r\nFrom: <sip:b@example.com>;tag=1\r\n\
             To: <sip:a@example.com>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{headers}\r\n{body}"
        )
    }

    /// Feeds `stream` in pieces of every one of these sizes and compares what comes out.
    #[track_caller]
    fn check(stream: &str, expect: &[&str]) {
        for size in [1, 2, 3, 5, 7, 64, stream.len()] {
            let mut framer = StreamFramer::new();
            let mut found = vec![];
            for piece in stream.as_bytes().chunks(size) {
                framer.push(piece);
                for frame in framer.by_ref() {
                    found.push(match frame {
                        Ok(Frame::Message(message)) => String::from_utf8_lossy(message.body()).into_owned(),
                        Ok(Frame::Malformed(error)) => format!("{} {}", error.status(), error.reason()),
                        // Pieces decide how line ends group.
                        Ok(Frame::Ping | Frame::Pong) => continue,
                        Err(error) => format!("closed: {} {}", error.0.status(), error.0.reason()),
                    });
                }
            }
            assert_eq!(found, expect, "pieces of {size}");
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_come_in() {
        let (one, two) = (options("Content-Length: 3\r\n", "one"), options("l : 4\r\n", "\r\n\r\n"));
        check(&format!("{one}{two}{one}"), &["one", "\r\n\r\n", "one"]);
        check(&format!("\r\n\r\n{one}\r\n\r\n\r\n{two}"), &["one", "\r\n\r\n"]);
    }

    #[test]
    fn a_body_is_never_a_request() {
        let inner = options("Content-Length: 0\r\n", "");
        let outer = options(&format!("Content-Length: {}\r\n", inner.len()), &inner);
        check(&outer, &[&inner]);
        // Whatever is said about the length that cannot be relied on: nothing behind it is read.
        for (length, fault) in [
            ("", "400 Missing Content-Length"),
            ("Content-Length: -1\r\n", "400 Malformed Content-Length"),
            ("Content-Length: +0\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 0x0\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 0, 0\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 0 0\r\n", "400 Malformed Content-Length"),
            ("Content-Length:\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 4294967296\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 18446744073709551616\r\n", "400 Malformed Content-Length"),
            ("Content-Length: 0\r\nl: 5\r\n", "400 Duplicate Content-Length"),
            ("Content-Length : 5\r\nContent-Length: 0\r\n", "400 Duplicate Content-Length"),
            ("Content-Length: 65536\r\n", "513 Message Too Large"),
            ("X: a\nContent-Length: 0\r\n", "400 Bare Line Break"),
            ("X: a\rContent-Length: 0\r\n", "400 Bare Line Break"),
            ("X: a\0\r\nContent-Length: 0\r\n", "400 NUL in Header"),
            ("Content Length: 0\r\n", "400 Malformed Header Line"),
        ] {
            check(&format!("{}{inner}", options(length, "")), &[&format!("closed: {fault}")]);
        }
        check(&options("Content-Length: 2\r\nl:2\r\n", "hi"), &["hi"]);
    }

    #[test]
    fn a_fault_inside_clear_bounds_costs_one_message() {
        let bad = options("Content-Length: 2\r\nMax-Forwards: 256\r\n", "no");
        let good = options("Content-Length: 2\r\n", "ok");
        check(&format!("{bad}{good}"), &["400 Malformed Max-Forwards", "ok"]);
    }

    #[test]
    fn keep_alives_are_told_from_answers() {
        let mut framer = StreamFramer::new();
        framer.push(b"\r\n\r\n");
        assert_eq!((framer.next(), framer.next()), (Some(Ok(Frame::Ping)), None));
        framer.push(b"\r\n");
        assert_eq!((framer.next(), framer.next()), (Some(Ok(Frame::Pong)), None));
        // A ping in two segments: its first half passes for an answer, the whole is still answered.
        framer.push(b"\r\n");
        assert_eq!((framer.next(), framer.next()), (Some(Ok(Frame::Ping)), None));
        framer.push(b"\r");
        assert_eq!((framer.next(), framer.held_bytes()), (None, 1));
        framer.push(b"\n\r\n");
        assert_eq!(framer.next(), Some(Ok(Frame::Ping)));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let endless = format!("OPTIONS sip:a SIP/2.0\r\n{}", "X: y\r\n".repeat(12_000));
        check(&endless, &["closed: 513 Too Many Headers"]);
        check(&"x".repeat(70_000), &["closed: 513 Header Line Too Long"]);
        check(&format!("X sip:a SIP/2.0\r\nX: {}", "y".repeat(70_000)), &["closed: 513 Header Line Too Long"]);
        check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &["closed: 400 Not SIP"]);
        let mut framer = StreamFramer::new();
        framer.push(endless.as_bytes());
        assert!(framer.next().is_some_and(|it| it.is_err()));
        framer.push(options("Content-Length: 0\r\n", "").as_bytes());
        assert_eq!((framer.next(), framer.held_bytes()), (None, 0));
    }

    #[test]
    fn the_largest_message_byte_by_byte_is_searched_once() {
        let head = options("Content-Length: 60000\r\n", "");
        check(&format!("{head}{}", "\r\n\r\n".repeat(15_000)), &["\r\n\r\n".repeat(15_000).as_str()]);
        let long = format!("X: {}\r\n", "\r\n y".repeat(2_000));
        check(&options(&format!("{}Content-Length: 1\r\n", long.repeat(7)), "!"), &["!"]);
    }
}
