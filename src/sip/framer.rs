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
        let mut scan = scan(self.buffer.get(..head.min(SIP_MESSAGE_BYTES_MAX)).unwrap_or(&self.buffer));
        if found.is_none() && matches!(scan.fault, Some((Fault::Truncated, _))) {
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
