//! Server-sent events (WHATWG HTML §9.2.6) as language models stream them: only `data` is kept; `event`, `id`, `retry`
//! and comments are read over. Lines end with LF, CR or CRLF, and chunks may be cut anywhere, within a character too.
//!
//! Deviation: data after the last blank line is delivered by [`EventStream::finish`] instead of discarded, because some
//! services leave the final blank line out.

use std::collections::VecDeque;

use crate::limits::{EVENT_STREAM_EVENT_BYTES_MAX, EVENT_STREAM_LINE_BYTES_MAX};

/// An incremental parser. Its line and its event are bounded; events that were not taken yet are bounded by the chunk
/// they came in.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    is_past_start: bool,
    events: VecDeque<String>,
}

/// A line or an event is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is too long")]
pub struct EventTooLong;

impl EventStream {
    /// A parser at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next chunk.
    ///
    /// # Errors
    ///
    /// When a line or an event is too long. The stream cannot be read further.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), EventTooLong> {
        for byte in chunk {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' => self.end_line()?,
                b'\r' => {
                    self.end_line()?;
                    self.after_cr = true;
                }
                _ if self.line.len() == EVENT_STREAM_LINE_BYTES_MAX => return Err(EventTooLong),
                _ => {
                    self.after_cr = false;
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    /// The stream has ended: what was begun counts as an event.
    ///
    /// # Errors
    ///
    /// When the event is too long.
    pub fn finish(&mut self) -> Result<(), EventTooLong> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.end_event();
        Ok(())
    }

    /// The data of the next event.
    pub fn next_event(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    fn end_line(&mut self) -> Result<(), EventTooLong> {
        let line = std::mem::take(&mut self.line);
        let is_first = !std::mem::replace(&mut self.is_past_start, true);
        let line = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if line.is_empty() {
            self.end_event();
            return Ok(());
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = colon.and_then(|at| line.split_at_checked(at)).unwrap_or((line, b""));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field != b"data" {
            return Ok(());
        }
        if self.data.len() + value.len() >= EVENT_STREAM_EVENT_BYTES_MAX {
            return Err(EventTooLong);
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn end_event(&mut self) {
        if std::mem::take(&mut self.has_data) {
            let data = std::mem::take(&mut self.data);
            self.events.push_back(String::from_utf8_lossy(&data).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_end_a_line_is_understood_wherever_the_chunks_are_cut() {
        let stream = "\u{feff}: hello\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\nevent: x\rid: 7\rdata: ü→\r\r\
                      retry: 5\n\n: only a comment\n\ndata\n\ndata: last";
        let expected = ["{\"a\":1}", "two\nlines", "ü→", "", "last"];
        let bytes = stream.as_bytes();
        for size in 1..=bytes.len() {
            let mut parser = EventStream::new();
            for chunk in bytes.chunks(size) {
                parser.push(chunk).unwrap();
            }
            parser.finish().unwrap();
            let events: Vec<_> = std::iter::from_fn(|| parser.next_event()).collect();
            assert_eq!(events, expected, "chunks of {size}");
        }
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let mut parser = EventStream::new();
        assert_eq!(parser.push(&vec![b'x'; EVENT_STREAM_LINE_BYTES_MAX]), Ok(()));
        assert_eq!(parser.push(b"x"), Err(EventTooLong));

        let mut parser = EventStream::new();
        let line = [b"data: ".as_slice(), &vec![b'x'; 1_000], b"\n"].concat();
        let mut pushed = 0;
        while parser.push(&line).is_ok() {
            pushed += 1_000;
            assert!(pushed <= EVENT_STREAM_EVENT_BYTES_MAX);
        }
        assert!(pushed > EVENT_STREAM_EVENT_BYTES_MAX / 2);
    }
}
