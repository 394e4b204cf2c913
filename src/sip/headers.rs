//! The headers of a message: what stands there, and typed views on demand (RFC 3261 §7.3, §20).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::cseq::{CSeq, RAck};
use super::fields::{MediaType, ReasonValue, RetryAfter, SessionExpires};
use super::header_name::{HeaderName, Known};
use super::name_addr::NameAddr;
use super::scan::{Entry, values};
use super::text::{Text, number, split, trim};
use super::via::Via;

/// The headers of a request or response. Those that every message has (RFC 3261 §8.1.1: Via, From, To, Call-ID, CSeq) were
/// read with it, so their accessors do not fail; the others are read when asked for. Cloning shares.
///
/// Values are text: continuation lines are joined, and bytes that are not UTF-8 stand as U+001A. [`Self::raw`] has the
/// bytes themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Headers(pub(crate) Arc<Head>);

#[derive(PartialEq, Eq)]
pub(crate) struct Head {
    /// The whole message.
    pub(crate) raw: Bytes,
    pub(crate) text: Text,
    /// Bytes of the first line, without its end.
    pub(crate) start_line: usize,
    pub(crate) entries: Vec<Entry>,
    pub(crate) via: Via,
    pub(crate) from: NameAddr,
    pub(crate) to: NameAddr,
    pub(crate) call_id: Range<usize>,
    pub(crate) cseq: CSeq,
    pub(crate) max_forwards: Option<u8>,
    pub(crate) content_length: Option<u32>,
}

/// A header is there but does not follow its grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct HeaderError(pub HeaderName);

/// The addresses of all Contact headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: all bindings, to be removed (RFC 3261 §10.2.2).
    Star,
    /// In order; empty if there is no Contact.
    List(Vec<NameAddr>),
}

impl Contacts {
    /// The first address.
    pub fn first(&self) -> Option<&NameAddr> {
        match self {
            Self::Star => None,
            Self::List(list) => list.first(),
        }
    }
}

/// One header line.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    text: &'a Text,
    raw: &'a Bytes,
    entry: &'a Entry,
}

impl<'a> Header<'a> {
    /// The name, compact forms spelled out.
    pub fn name(&self) -> HeaderName {
        match self.entry.known {
            Some(known) => known.into(),
            None => HeaderName::Other(self.name_str().into()),
        }
    }

    /// The name as written.
    pub fn name_str(&self) -> &'a str {
        self.entry.name(self.text)
    }

    /// The value as text, without blanks around it.
    #[inline]
    pub fn value(&self) -> &'a str {
        self.entry.value(self.text)
    }

    /// The bytes of the value.
    pub fn raw_value(&self) -> &'a [u8] {
        self.raw.get(self.entry.value_range()).unwrap_or_default()
    }

    /// The line without its end and blanks before it.
    pub(crate) fn raw_until_value_end(&self) -> &'a [u8] {
        self.raw.get(self.entry.line_range().start..self.entry.value_range().end).unwrap_or_default()
    }

    pub(crate) fn raw_line(&self) -> &'a [u8] {
        self.raw.get(self.entry.line_range()).unwrap_or_default()
    }

    #[inline]
    fn is(&self, name: &HeaderName, known: Option<Known>) -> bool {
        match known {
            Some(_) => self.entry.known == known,
            None => self.entry.known.is_none() && self.name_str().eq_ignore_ascii_case(name.as_str()),
        }
    }
}

impl Headers {
    /// The first value of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of this name, one a line; lists with commas stay whole.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.lines(name).map(|it| it.value())
    }

    /// The elements of all lists of this name, split at commas; empty elements are left out.
    pub fn list(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(|it| split(it, b',')).filter(|it| !it.is_empty())
    }

    /// Whether there is a header of this name.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.lines(name).next().is_some()
    }

    /// All header lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        self.0.entries.iter().map(|entry| Header { text: &self.0.text, raw: &self.0.raw, entry })
    }

    /// The bytes of the first value of this name.
    pub fn raw(&self, name: &HeaderName) -> Option<&[u8]> {
        self.lines(name).next().map(|it| it.raw_value())
    }

    pub(crate) fn lines(&self, name: &HeaderName) -> impl Iterator<Item = Header<'_>> {
        let known = name.known();
        self.iter().filter(move |it| it.is(name, known))
    }

    /// The Via of the hop that sent the message.
    pub fn top_via(&self) -> &Via {
        &self.0.via
    }

    /// All Vias, the top one first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        let mut vias = vec![self.0.via.clone()];
        for (index, line) in self.known(Known::Via).enumerate() {
            // The first of them was read with the message.
            for element in split(line, b',').skip(usize::from(index == 0)) {
                vias.push(Via::read(&self.0.text, element).ok_or(HeaderError(HeaderName::Via))?);
            }
        }
        Ok(vias)
    }

    fn known(&self, name: Known) -> impl Iterator<Item = &str> {
        values(&self.0.text, &self.0.entries, name)
    }

    /// From.
    pub fn from(&self) -> &NameAddr {
        &self.0.from
    }

    /// To.
    pub fn to(&self) -> &NameAddr {
        &self.0.to
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        self.0.text.cut(self.0.call_id.clone())
    }

    /// CSeq.
    pub fn cseq(&self) -> &CSeq {
        &self.0.cseq
    }

    /// Max-Forwards.
    pub fn max_forwards(&self) -> Option<u8> {
        self.0.max_forwards
    }

    /// Content-Length as written.
    pub fn content_length(&self) -> Option<u32> {
        self.0.content_length
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<Result<MediaType<'_>, HeaderError>> {
        self.typed(HeaderName::ContentType, MediaType::parse)
    }

    /// The addresses of all Contact headers.
    pub fn contacts(&self) -> Result<Contacts, HeaderError> {
        let mut lines = self.known(Known::Contact);
        match (lines.next(), lines.next()) {
            (Some("*"), None) => Ok(Contacts::Star),
            _ => Ok(Contacts::List(self.addresses(HeaderName::Contact)?)),
        }
    }

    /// The route set of a request, first hop first.
    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(HeaderName::Route)
    }

    /// The proxies that stay in the dialog, in order of the headers.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.addresses(HeaderName::RecordRoute)
    }

    /// The addresses of all headers of this name: P-Asserted-Identity, Diversion, Path …
    pub fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr>, HeaderError> {
        let mut found = vec![];
        let mut read = |line| {
            split(line, b',').try_for_each(|it| NameAddr::read(&self.0.text, it).map(|address| found.push(address)))
        };
        let all = match name.known() {
            Some(known) => self.known(known).try_for_each(&mut read),
            None => self.all(&name).try_for_each(&mut read),
        };
        all.or(Err(HeaderError(name)))?;
        Ok(found)
    }

    /// The one address of a header that may stand once: Refer-To, Referred-By …
    pub fn address(&self, name: HeaderName) -> Option<Result<NameAddr, HeaderError>> {
        match self.addresses(name.clone()) {
            Ok(list) if list.is_empty() => None,
            Ok(mut list) if list.len() == 1 => list.pop().map(Ok),
            Ok(_) => Some(Err(HeaderError(name))),
            Err(error) => Some(Err(error)),
        }
    }

    /// The option tags that the other side insists on.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.list(&HeaderName::Require)
    }

    /// The option tags that the other side knows.
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        self.list(&HeaderName::Supported)
    }

    /// The option tags that proxies must know.
    pub fn proxy_require(&self) -> impl Iterator<Item = &str> {
        self.list(&HeaderName::ProxyRequire)
    }

    /// Whether a list of tokens (Require, Supported, Allow-Events …) has this one, without regard to case.
    pub fn lists(&self, name: &HeaderName, token: &str) -> bool {
        self.list(name).any(|it| it.eq_ignore_ascii_case(token))
    }

    /// Whether Allow has this method; `None` without an Allow.
    pub fn allows(&self, method: &super::Method) -> Option<bool> {
        self.contains(&HeaderName::Allow).then(|| self.list(&HeaderName::Allow).any(|it| it == method.as_str()))
    }

    /// Session-Expires (RFC 4028 §4).
    pub fn session_expires(&self) -> Option<Result<SessionExpires, HeaderError>> {
        self.typed(HeaderName::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Option<Result<u32, HeaderError>> {
        self.typed(HeaderName::MinSe, |it| split(it, b';').next().and_then(number))
    }

    /// RSeq (RFC 3262 §7.1).
    pub fn rseq(&self) -> Option<Result<u32, HeaderError>> {
        self.typed(HeaderName::RSeq, number)
    }

    /// RAck (RFC 3262 §7.2).
    pub fn rack(&self) -> Option<Result<RAck, HeaderError>> {
        self.typed(HeaderName::RAck, RAck::parse)
    }

    /// Retry-After (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Option<Result<RetryAfter<'_>, HeaderError>> {
        self.typed(HeaderName::RetryAfter, RetryAfter::parse)
    }

    /// Reason (RFC 3326); malformed elements are left out.
    pub fn reasons(&self) -> impl Iterator<Item = ReasonValue<'_>> {
        self.list(&HeaderName::Reason).filter_map(ReasonValue::parse)
    }

    /// Expires in seconds; what is out of range is as long as can be (RFC 4475 §3.1.2.4).
    pub fn expires(&self) -> Option<Result<u32, HeaderError>> {
        self.typed(HeaderName::Expires, |it| {
            let digits = !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
            digits.then(|| it.parse().unwrap_or(u32::MAX))
        })
    }

    fn typed<'a, T>(
        &'a self,
        name: HeaderName,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<Result<T, HeaderError>> {
        let value = self.get(&name)?;
        Some(parse(trim(value)).ok_or(HeaderError(name)))
    }
}
