//! Lines and names: from bytes to the header index (RFC 3261 §7.1-7.3, §25.1). One pass; every byte is looked at a
//! bounded number of times.
//!
//! Decisions: a line ends with CR LF and nothing else. A bare CR or LF in the head refuses the message: a line end that a
//! proxy before us does not see is a header that it did not check. Blanks before the colon are legal and belong to
//! neither name nor value. A message that begins with the end of another (RFC 3261 §7.5, leading CRLF) is read from its
//! start line on.

use std::borrow::Cow;

use super::error::Fault;
use super::header_name::Known;
use super::text::{SUBSTITUTE, Text, is_blank_byte, is_token_byte, number};
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

/// What is not UTF-8 is replaced byte for byte.
pub(crate) fn same_length_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut plain = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        plain.push_str(chunk.valid());
        plain.extend(chunk.invalid().iter().map(|_| char::from(SUBSTITUTE)));
    }
    plain.into()
}

/// The head as text: continuation lines joined with blanks, and what is not UTF-8 replaced by U+001A SUBSTITUTE, which no
/// grammar but that of free text takes. Every other byte keeps its place, so the index holds for both.
pub(crate) fn head_text(raw: &bytes::Bytes, scan: &Scan) -> Text {
    let head = raw.get(..scan.head).unwrap_or_default();
    if !scan.is_folded && (scan.is_ascii() || std::str::from_utf8(head).is_ok()) {
        return Text::checked(raw.slice(..scan.head));
    }
    let mut plain = same_length_text(head).into_owned().into_bytes();
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::limits::{SIP_HEADER_COUNT_MAX, SIP_HEADER_LINE_BYTES_MAX, SIP_MESSAGE_BYTES_MAX};
    use crate::sip::{HeaderName, Message};

    const HEADERS: [&str; 6] = [
        "Via: SIP/2.0/UDP b.example;branch=z9hG4bK1",
        "From: <sip:b@example.com>;tag=1",
        "To: <sip:a@example.com>",
        "Call-ID: c",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
    ];

    fn options(headers: &[&str], more: &str) -> String {
        format!("OPTIONS sip:a@example.com SIP/2.0\r\n{}\r\n{more}\r\n", headers.join("\r\n"))
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
            Ok(message) => format!("ok, body {:?}", String::from_utf8_lossy(message.body())),
            Err(error) => {
                let answered = error.reply(([192, 0, 2, 1], 5060).into(), "t").is_some();
                format!("{}{}", error.reason(), if answered { "" } else { ", silent" })
            }
        };
        let start = text.get(..300).unwrap_or(text);
        assert_eq!(found, expect, "{start:?}");
    }

    #[test]
    fn each_header_that_must_stand_must_stand_once() {
        check(&options(&HEADERS, ""), "ok, body \"\"");
        let missing = ["Missing Via", "Missing From", "Missing To", "Missing Call-ID", "Missing CSeq"];
        for (index, fault) in missing.iter().enumerate() {
            let without: Vec<_> =
                HEADERS.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, it)| *it).collect();
            check(&options(&without, ""), &format!("{fault}, silent"));
        }
        for (again, fault) in [
            ("F: <sip:x@example.com>;tag=2", "Duplicate From"),
            ("TO\t : <sip:x@example.com>", "Duplicate To"),
            ("i: c", "Duplicate Call-ID"),
            ("CSeq : 1 OPTIONS", "Duplicate CSeq"),
            ("max-forwards: 70", "Duplicate Max-Forwards"),
            ("c: a/b\r\nContent-Type: c/d", "Duplicate Content-Type"),
            ("l: 0\r\nContent-Length: 1", "Duplicate Content-Length"),
        ] {
            check(&options(&HEADERS, &format!("{again}\r\n")), fault);
        }
        check(
            &options(&HEADERS, "Via: SIP/2.0/UDP x\r\nl: 1\r\nl: 01\r\n").replace("\r\n\r\n", "\r\n\r\nab"),
            "ok, body \"a\"",
        );
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (from, to, fault) in [
            ("1 OPTIONS", "2147483647 OPTIONS", "ok, body \"\""),
            ("1 OPTIONS", "2147483648 OPTIONS", "Malformed CSeq"),
            ("1 OPTIONS", "-1 OPTIONS", "Malformed CSeq"),
            ("1 OPTIONS", "1 INVITE", "Method Mismatch in CSeq"),
            ("1 OPTIONS", "1 options", "Method Mismatch in CSeq"),
            ("Call-ID: c", "Call-ID: c d", "Malformed Call-ID"),
            ("Call-ID: c", "Call-ID:", "Malformed Call-ID, silent"),
            ("tag=1", "tag=1;tag=2", "Malformed From"),
            ("tag=1", "tag", "Malformed From"),
            ("Max-Forwards: 70", "Max-Forwards: 256", "Malformed Max-Forwards"),
            ("SIP/2.0/UDP b", "SIP/2.0/UDP", "Malformed Via, silent"),
            ("com SIP/2.0", "com SIP/3.0", "Version Not Supported"),
            ("com SIP/2.0", "com SIP/2.0.", "Not SIP, silent"),
            ("com SIP/2.0", "com HTTP/1.1", "Not SIP, silent"),
            ("OPTIONS sip", "OP(TIONS sip", "Malformed Start Line, silent"),
            ("OPTIONS sip", "ACK sip", "Method Mismatch in CSeq, silent"),
        ] {
            check(&options(&HEADERS, "").replacen(from, to, 1), fault);
        }
    }

    #[test]
    fn lines_that_others_may_read_otherwise_are_refused() {
        for (more, fault) in [
            ("X: a\nY: b\r\n", "Bare Line Break"),
            ("X: a\rY: b\r\n", "Bare Line Break"),
            ("X: a\r\r\n", "Bare Line Break"),
            ("X: a\0b\r\n", "NUL in Header"),
            ("X: \"a\\\0b\"\r\n", "ok, body \"\""),
            ("X\0: a\r\n", "Malformed Header Line"),
            ("X Y: a\r\n", "Malformed Header Line"),
            (": a\r\n", "Malformed Header Line"),
            ("X\r\n", "Malformed Header Line"),
            ("X\r\n : a\r\n", "Malformed Header Line"),
            ("X\u{a0}: a\r\n", "Malformed Header Line"),
            ("\u{b}To: a\r\n", "Malformed Header Line"),
            ("X \t : a\r\n b\r\n\tc\r\n", "ok, body \"\""),
            ("X:\r\n", "ok, body \"\""),
        ] {
            check(&options(&HEADERS, more), fault);
        }
        check(&options(&HEADERS, "").replace("\r\n", "\n"), "Bare Line Break, silent");
        check(&options(&HEADERS, "").replacen("\r\n", "\r\n ", 1), "Malformed Header Line, silent");
        check("", "Empty, silent");
        check("\r\n\r\n", "Empty, silent");
        check("\0\0\0\0", "Empty, silent");
        check(&format!("\r\n\r\n{}", options(&HEADERS, "")), "ok, body \"\"");
        check(&format!("\r{}", options(&HEADERS, "")), "Bare Line Break, silent");
        check("\0\u{1}\u{2}", "Truncated Headers, silent");
    }

    #[test]
    fn bounds_hold_to_the_byte() {
        let more = |count: usize| "X: y\r\n".repeat(count);
        check(&options(&HEADERS, &more(SIP_HEADER_COUNT_MAX - 6)), "ok, body \"\"");
        check(&options(&HEADERS, &more(SIP_HEADER_COUNT_MAX - 5)), "Too Many Headers");
        let line = |length: usize| format!("X: {}\r\n", "y".repeat(length - 5));
        check(&options(&HEADERS, &line(SIP_HEADER_LINE_BYTES_MAX)), "ok, body \"\"");
        check(&options(&HEADERS, &line(SIP_HEADER_LINE_BYTES_MAX + 1)), "Header Line Too Long");
        let folded = format!("X: y\r\n{}", " y\r\n".repeat(SIP_HEADER_LINE_BYTES_MAX / 4));
        check(&options(&HEADERS, &folded), "Header Line Too Long");
        let head = options(&HEADERS, "");
        let body = |length: usize| format!("{head}{}", "z".repeat(length - head.len()));
        assert!(
            Message::parse(body(SIP_MESSAGE_BYTES_MAX).into())
                .is_ok_and(|it| it.to_bytes().len() == SIP_MESSAGE_BYTES_MAX)
        );
        check(&body(SIP_MESSAGE_BYTES_MAX + 1), "Message Too Large");
        let long = "X: y\r\n z\r\n".repeat(7_000);
        check(&options(&HEADERS, &long), "Too Many Headers");
        check(&options(&HEADERS, "l: 5\r\n").replace("\r\n\r\n", "\r\n\r\nfour"), "Body Shorter Than Content-Length");
        check(&options(&HEADERS, "").replace("\r\n\r\n", "\r\nX: y"), "Truncated Headers");
    }

    /// Each of these would take minutes if anything were looked for again and again.
    #[test]
    fn the_worst_of_each_kind_is_read_in_linear_time() {
        for part in
            [";a", ";a=\"b\"", ",", "<", "\"", "\\", "%41", "<sip:a@b>,", ";", "a", "\t", "SIP/2.0/UDP a,", "[", "&a=b"]
        {
            for start in
                ["Contact: <sip:a@b", "Contact: <sip:a@b>", "Via: SIP/2.0/UDP a", "Route: ", "Reason: Q", "Supported: "]
            {
                let line = format!("{start}{}\r\n", part.repeat(8_000 / part.len()));
                let text = options(&HEADERS, &line.repeat(7));
                let Ok(message) = Message::parse(text.into()) else {
                    continue;
                };
                let headers = message.headers();
                let read = (headers.vias().is_ok(), headers.contacts().is_ok(), headers.routes().is_ok());
                let more = (
                    headers.reasons().count(),
                    headers.supported().count(),
                    headers.lists(&HeaderName::Supported, "x"),
                );
                assert!(more.0 + more.1 < 70_000, "{read:?}");
                for address in headers.addresses(HeaderName::Contact).into_iter().flatten().take(3) {
                    assert!(address.uri().equivalent(address.uri()));
                }
            }
        }
    }
}
