//! Lines and names: from bytes to the header index (RFC 3261 §7.1-7.3, §25.1). One pass; every byte is looked at a
//! bounded number of times.
//!
//! Decisions: a line ends with CR LF and nothing else. A bare CR or LF in the head refuses the message: a line end that a
//! proxy before us does not see is a header that it did not check. Blanks before the colon are legal and belong to
//! neither name nor value. A message that begins with the end of another (RFC 3261 §7.5, leading CRLF) is read from its
//! start line on.

use super::error::Fault;
use super::header_name::Known;
use super::text::{Text, is_blank_byte, is_token_byte, number};
use crate::limits::{SIP_HEADER_COUNT_MAX, SIP_HEADER_LINE_BYTES_MAX, SIP_MESSAGE_BYTES_MAX};

/// Whether the header may stand once, and a second one would leave open which counts.
const fn is_single(name: Known) -> bool {
    matches!(
        name,
        Known::From
            | Known::To
            | Known::CallId
            | Known::CSeq
            | Known::MaxForwards
            | Known::ContentType
            | Known::ContentLength
    )
}

/// Room for the headers of nearly all messages.
const ENTRIES_USUAL: usize = 32;

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

    #[inline]
    pub(crate) fn value<'a>(&self, text: &'a Text) -> &'a str {
        text.cut(self.value_range())
    }

    #[inline]
    pub(crate) fn value_range(&self) -> std::ops::Range<usize> {
        self.place(self.value_start, self.value_length)
    }

    /// The line with its end.
    pub(crate) fn line_range(&self) -> std::ops::Range<usize> {
        self.place(0, self.length)
    }

    #[inline]
    const fn place(&self, offset: u16, length: u16) -> std::ops::Range<usize> {
        let start = self.start as usize + offset as usize;
        start..start + length as usize
    }
}

/// The values of a header, in order.
pub(crate) fn values<'a>(text: &'a Text, entries: &'a [Entry], name: Known) -> impl Iterator<Item = &'a str> {
    entries.iter().filter(move |it| it.known == Some(name)).map(|it| it.value(text))
}

/// The header index of a message.
pub(crate) struct Scan {
    /// Bytes of the first line, without its end.
    pub(crate) start_line: usize,
    pub(crate) entries: Vec<Entry>,
    /// Bytes up to the body.
    pub(crate) head: usize,
    pub(crate) content_length: Option<u32>,
    /// Whether a header goes over several lines.
    pub(crate) is_folded: bool,
    /// The first thing that is wrong.
    pub(crate) fault: Option<(Fault, Option<Known>)>,
    has_nul: bool,
    top_bits: u64,
    /// What is wrong leaves in doubt where headers and message end.
    pub(crate) is_lost: bool,
}

/// Indexes the head of a message, which begins with its start line.
pub(crate) fn scan(raw: &[u8]) -> Scan {
    let mut scan = Scan {
        start_line: 0,
        entries: Vec::with_capacity(ENTRIES_USUAL),
        head: raw.len(),
        content_length: None,
        is_folded: false,
        fault: None,
        has_nul: false,
        top_bits: 0,
        is_lost: false,
    };
    if let Err(fault) = scan.run(raw) {
        scan.lose(fault);
    }
    if scan.fault.is_none() && scan.has_nul {
        let lines = std::iter::once(0..scan.start_line).chain(scan.entries.iter().map(Entry::line_range));
        if lines.filter_map(|it| raw.get(it)).any(has_bare_nul) {
            scan.lose(Fault::Nul);
        }
    }
    scan
}

impl Scan {
    fn run(&mut self, raw: &[u8]) -> Result<(), Fault> {
        let mut at = self.line_end(raw, 0)?;
        self.start_line = at - 2;
        loop {
            let line = at;
            at = self.line_end(raw, at)?;
            if at == line + 2 {
                self.head = at;
                return Ok(());
            }
            while matches!(raw.get(at), Some(b' ' | b'\t')) {
                self.is_folded = true;
                at = self.line_end(raw, at)?;
                if at - line > SIP_HEADER_LINE_BYTES_MAX {
                    return Err(Fault::LineTooLong);
                }
            }
            if self.entries.len() == SIP_HEADER_COUNT_MAX {
                return Err(Fault::TooManyHeaders);
            }
            let entry = entry(line, raw.get(line..at).unwrap_or_default()).ok_or(Fault::HeaderLine)?;
            if let Some(known) = entry.known.filter(|it| is_single(*it)) {
                self.note(known, raw.get(entry.value_range()).unwrap_or_default());
            }
            self.entries.push(entry);
        }
    }

    /// Where the line that begins at `from` ends, its CR LF included.
    #[inline]
    fn line_end(&mut self, raw: &[u8], from: usize) -> Result<usize, Fault> {
        let mut at = from;
        loop {
            let Some(found) = self.next_control(raw.get(at..).unwrap_or_default()) else {
                let rest = raw.len().saturating_sub(from);
                return Err(if rest > SIP_HEADER_LINE_BYTES_MAX { Fault::LineTooLong } else { Fault::Truncated });
            };
            at += found + 1;
            match raw.get(at - 1..) {
                _ if at - from >= SIP_HEADER_LINE_BYTES_MAX => return Err(Fault::LineTooLong),
                Some([b'\r', b'\n', ..]) => return Ok(at + 1),
                Some([b'\r']) => return Err(Fault::Truncated),
                Some([b'\r' | b'\n', ..]) => return Err(Fault::BareLineBreak),
                Some([0, ..]) => self.has_nul = true,
                _ => (),
            }
        }
    }

    /// The place of the first byte below 0x20. Looks at eight bytes at a time, and on its way at the top bit of each.
    #[inline]
    fn next_control(&mut self, bytes: &[u8]) -> Option<usize> {
        const EACH: u64 = 0x0101_0101_0101_0101;
        let (words, tail) = bytes.as_chunks::<8>();
        let mut top_bits = 0;
        for (index, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            top_bits |= word;
            // Subtracting borrows into the top bit of a byte below 0x20, and from there only into later bytes.
            let control = word.wrapping_sub(EACH * 0x20) & !word & (EACH * 0x80);
            if control != 0 {
                self.top_bits |= top_bits;
                return Some(index * 8 + control.trailing_zeros() as usize / 8);
            }
        }
        self.top_bits |= tail.iter().fold(top_bits, |all, it| all | u64::from(*it));
        let found = tail.iter().position(|it| *it < 0x20)?;
        Some(words.len() * 8 + found)
    }

    /// Whether every byte of the head is ASCII; `false` may be wrong, as bytes of the body are looked at too.
    const fn is_ascii(&self) -> bool {
        self.top_bits & 0x8080_8080_8080_8080 == 0
    }

    /// What must be known of single headers before the message is taken apart.
    fn note(&mut self, known: Known, value: &[u8]) {
        let again = self.entries.iter().any(|it| it.known == Some(known));
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
        } else if again {
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

#[inline]
fn entry(start: usize, line: &[u8]) -> Option<Entry> {
    let colon = line.iter().position(|it| *it == b':')?;
    let name = line.get(..colon)?;
    let (known, name_length) = match Known::of(name) {
        Some(known) => (Some(known), colon),
        None => {
            let length = name.iter().rposition(|it| !is_blank_byte(*it))? + 1;
            let name = name.get(..length)?;
            if !name.iter().all(|it| is_token_byte(*it)) {
                return None;
            }
            (Known::of(name), length)
        }
    };
    let is_blank = |it: &u8| matches!(it, b' ' | b'\t' | b'\r' | b'\n');
    let value = line.get(colon + 1..)?;
    let (leading, end) = match value {
        // As nearly everyone writes it.
        [b' ', first, .., last, b'\r', b'\n'] if !is_blank(first) && !is_blank(last) => (1, value.len() - 2),
        _ => {
            let leading = value.iter().position(|it| !is_blank(it)).unwrap_or(value.len());
            (leading, value.iter().rposition(|it| !is_blank(it)).map_or(leading, |it| it + 1))
        }
    };
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
    let head = raw.get(..scan.head).unwrap_or_default();
    if !scan.is_folded && (scan.is_ascii() || std::str::from_utf8(head).is_ok()) {
        return Text::checked(raw.slice(..scan.head));
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
    Text::checked(plain.into())
}
