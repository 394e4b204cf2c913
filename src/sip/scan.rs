//! Lines and names: from bytes to the header index (RFC 3261 §7.1-7.3, §25.1). One pass; every byte is looked at a
//! bounded number of times.
//!
//! Decisions: a line ends with CR LF and nothing else. A bare CR or LF in the head refuses the message: a line end that a
//! proxy before us does not see is a header that it did not check. Blanks before the colon are legal and belong to
//! neither name nor value. A message that begins with the end of another (RFC 3261 §7.5, leading CRLF) is read from its
//! start line on.

use smallvec::SmallVec;

use super::error::Fault;
use super::header_name::Known;
use super::text::{Text, is_token_byte, number};
use crate::limits::{SIP_HEADER_COUNT_MAX, SIP_HEADER_LINE_BYTES_MAX, SIP_MESSAGE_BYTES_MAX};

/// Headers that may stand once, and of which a second one would leave open which counts.
const SINGLE: [Known; 6] = [Known::From, Known::To, Known::CallId, Known::CSeq, Known::MaxForwards, Known::ContentType];

/// One header line: places in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    start: u32,
    length: u16,
    name_length: u16,
    value_start: u16,
    value_length: u16,
    pub(crate) known: Option<Known>,
}

impl Entry {
    pub(crate) fn name<'a>(&self, text: &'a Text) -> &'a str {
        text.cut(self.place(0, self.name_length))
    }

    pub(crate) fn value<'a>(&self, text: &'a Text) -> &'a str {
        text.cut(self.value_range())
    }

    pub(crate) fn value_range(&self) -> std::ops::Range<usize> {
        self.place(self.value_start, self.value_length)
    }

    /// The line with its end.
    pub(crate) fn line_range(&self) -> std::ops::Range<usize> {
        self.place(0, self.length)
    }

    const fn place(&self, offset: u16, length: u16) -> std::ops::Range<usize> {
        let start = self.start as usize + offset as usize;
        start..start + length as usize
    }
}

/// The values of a header, in order. `head` is the text of the whole head.
pub(crate) fn values<'a>(head: &'a str, entries: &'a [Entry], name: Known) -> impl Iterator<Item = &'a str> {
    entries.iter().filter(move |it| it.known == Some(name)).map(|it| head.get(it.value_range()).unwrap_or_default())
}

/// The header index of a message.
pub(crate) struct Scan {
    /// Bytes of the first line, without its end.
    pub(crate) start_line: usize,
    pub(crate) entries: SmallVec<[Entry; 24]>,
    /// Bytes up to the body.
    pub(crate) head: usize,
    pub(crate) content_length: Option<u32>,
    /// Whether a header goes over several lines.
    pub(crate) is_folded: bool,
    /// The first thing that is wrong.
    pub(crate) fault: Option<(Fault, Option<Known>)>,
    /// What is wrong leaves in doubt where headers and message end.
    pub(crate) is_lost: bool,
}

/// Indexes the head of a message, which begins with its start line.
pub(crate) fn scan(raw: &[u8]) -> Scan {
    let mut scan = Scan {
        start_line: 0,
        entries: SmallVec::new(),
        head: raw.len(),
        content_length: None,
        is_folded: false,
        fault: None,
        is_lost: false,
    };
    if let Err(fault) = scan.run(raw) {
        scan.lose(fault);
    }
    let head = raw.get(..scan.head).unwrap_or_default();
    if scan.fault.is_none() && memchr::memchr(0, head).is_some() {
        let lines = std::iter::once(0..scan.start_line).chain(scan.entries.iter().map(Entry::line_range));
        if lines.filter_map(|it| head.get(it)).any(has_bare_nul) {
            scan.lose(Fault::Nul);
        }
    }
    scan
}

impl Scan {
    fn run(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let mut at = line_end(raw, 0)?;
        self.start_line = at - 2;
        let mut seen = 0_u128;
        loop {
            let line = at;
            at = line_end(raw, at)?;
            if at == line + 2 {
                self.head = at;
                return Ok(());
            }
            while matches!(raw.get(at), Some(b' ' | b'\t')) {
                self.is_folded = true;
                at = line_end(raw, at)?;
                if at - line > SIP_HEADER_LINE_BYTES_MAX {
                    return Err(Fault::LineTooLong);
                }
            }
            if self.entries.len() == SIP_HEADER_COUNT_MAX {
                return Err(Fault::TooManyHeaders);
            }
            let entry = entry(line, raw.get(line..at).unwrap_or_default()).ok_or(Fault::HeaderLine)?;
            if let Some(known) = entry.known {
                self.note(known, raw.get(entry.value_range()).unwrap_or_default(), seen & (1 << known as u8) != 0);
                seen |= 1 << known as u8;
            }
            self.entries.push(entry);
        }
    }

    /// What must be known of single headers before the message is taken apart.
    fn note(&mut self, known: Known, value: &[u8], again: bool) {
        if known == Known::ContentLength {
            let length = std::str::from_utf8(value).ok().and_then(number::<u32>);
            let length = length.filter(|it| usize::try_from(*it).is_ok_and(|it| it <= SIP_MESSAGE_BYTES_MAX));
            if length.is_none() {
                self.fail(Fault::Malformed, known);
                self.is_lost = true;
            } else if again && length != self.content_length {
                self.fail(Fault::Duplicate, known);
                self.is_lost = true;
            }
            self.content_length = length;
        } else if again && SINGLE.contains(&known) {
            self.fail(Fault::Duplicate, known);
        }
    }

    fn fail(&mut self, fault: Fault, header: Known) {
        self.fault.get_or_insert((fault, Some(header)));
    }

    fn lose(&mut self, fault: Fault) {
        self.fault = Some((fault, None));
        self.is_lost = true;
    }
}

/// Where the line that begins at `from` ends, its CR LF included.
fn line_end(raw: &[u8], from: usize) -> Result<usize, Fault> {
    let rest = raw.get(from..).unwrap_or_default();
    let Some(length) = memchr::memchr2(b'\r', b'\n', rest) else {
        return Err(if rest.len() > SIP_HEADER_LINE_BYTES_MAX { Fault::LineTooLong } else { Fault::Truncated });
    };
    if length > SIP_HEADER_LINE_BYTES_MAX - 2 {
        return Err(Fault::LineTooLong);
    }
    match rest.get(length..length + 2) {
        Some(b"\r\n") => Ok(from + length + 2),
        Some(_) => Err(Fault::BareLineBreak),
        None if rest.last() == Some(&b'\r') => Err(Fault::Truncated),
        None => Err(Fault::BareLineBreak),
    }
}

fn entry(start: usize, line: &[u8]) -> Option<Entry> {
    let name_length = line.iter().position(|it| !is_token_byte(*it))?;
    let after = line.get(name_length..)?;
    let colon = name_length + after.iter().position(|it| !matches!(it, b' ' | b'\t'))?;
    if name_length == 0 || line.get(colon) != Some(&b':') {
        return None;
    }
    let is_blank = |it: &u8| matches!(it, b' ' | b'\t' | b'\r' | b'\n');
    let value = line.get(colon + 1..)?;
    let leading = value.iter().position(|it| !is_blank(it)).unwrap_or(value.len());
    let end = value.iter().rposition(|it| !is_blank(it)).map_or(leading, |it| it + 1);
    let known = Known::of(line.get(..name_length)?);
    Some(Entry {
        start: u32::try_from(start).ok()?,
        length: u16::try_from(line.len()).ok()?,
        name_length: u16::try_from(name_length).ok()?,
        value_start: u16::try_from(colon + 1 + leading).ok()?,
        value_length: u16::try_from(end - leading).ok()?,
        known,
    })
}

/// Whether there is a NUL that is not the second half of a quoted pair in a quoted string: the only place where
/// RFC 3261 §25.1 has one.
fn has_bare_nul(line: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for &byte in line {
        match byte {
            0 if !is_escaped => return true,
            b'"' if !is_escaped => is_quoted = !is_quoted,
            b'\\' if !is_escaped && is_quoted => is_escaped = true,
            _ => is_escaped = false,
        }
    }
    false
}

/// The head as text: continuation lines joined with blanks, and what is not UTF-8 replaced by U+001A SUBSTITUTE, which no
/// grammar but that of free text takes. Every other byte keeps its place, so the index holds for both.
pub(crate) fn head_text(raw: &bytes::Bytes, scan: &Scan) -> Text {
    let head = raw.slice(..scan.head);
    if !scan.is_folded
        && let Some(text) = Text::new(head.clone())
    {
        return text;
    }
    let mut plain = Vec::with_capacity(head.len());
    for chunk in head.utf8_chunks() {
        plain.extend_from_slice(chunk.valid().as_bytes());
        plain.extend(chunk.invalid().iter().map(|_| 0x1a));
    }
    for entry in &scan.entries {
        // The line's own end, the last two bytes, stays.
        let line = entry.line_range();
        for byte in plain.get_mut(line.start..line.end.saturating_sub(2)).unwrap_or_default() {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    Text::new(plain.into()).expect("invalid sequences were replaced")
}
