//! Attributes: kept as they stand, read on demand (RFC 8866 §6, RFC 3264, RFC 3605, RFC 5761, RFC 4568).
//!
//! A view of something malformed is absent: nonsense in one attribute costs that attribute, not the call.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::crypto::Crypto;
use super::description::Connection;

/// `a=name` or `a=name:value`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Before the colon; case matters.
    pub name: &'a str,
    /// After it.
    pub value: Option<&'a str>,
}

/// The attributes of the session or of one stream, in order. They are held as they are written, without the `a=`, one after
/// the other: a description has many, and is copied with every offer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(String);

/// Which way media flow, seen from whoever wrote the description (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// `a=rtpmap`: what a payload type means (RFC 8866 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// Compared without regard to case.
    pub encoding: &'a str,
    /// Of the RTP timestamp.
    pub clock_hz: u32,
    /// 1 if it is not said.
    pub channels: u8,
}

/// `a=rtcp`: where RTCP goes if not to the next port (RFC 3605).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// The address, if another one than that of RTP.
    pub connection: Option<Connection>,
}

impl Direction {
    /// The word of the attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same flow, seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::SendRecv | Self::Inactive => self,
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// From what each side can and wants: it sends if both say so, and receives if both say so.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive].into_iter().find(|it| it.as_str() == name)
    }
}

impl<'a> Attribute<'a> {
    fn of(line: &'a str) -> Self {
        let (name, value) = line.split_once(':').map_or((line, None), |(name, value)| (name, Some(value)));
        Self { name, value }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Attributes {
    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.0.split_terminator(END).map(Attribute::of)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.split_terminator(END).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends `a=name`.
    pub fn flag(&mut self, name: &str) {
        self.0.push_str(name);
        self.0.push(END);
    }

    /// Appends `a=name:value`.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        // Writing to a string does not fail.
        let _written = write!(self.0, "{name}:{value}{END}");
    }

    /// Removes all of this name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|it| it.name != name);
    }

    fn retain(&mut self, keeps: impl Fn(Attribute<'_>) -> bool) {
        let kept = self.0.split_inclusive(END).filter(|it| keeps(Attribute::of(it.trim_end_matches(END))));
        self.0 = kept.collect();
    }

    /// Takes the place of any direction there was.
    pub fn set_direction(&mut self, direction: Direction) {
        if self.direction().is_some() {
            self.retain(|it| Direction::parse(it.name).is_none());
        }
        self.flag(direction.as_str());
    }

    pub(crate) fn keep(&mut self, line: &str) {
        match line.split_once(':') {
            Some((name, value)) => self.push(name.trim_end(), value),
            None => self.flag(line.trim_end()),
        }
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|it| it.name == name)
    }

    /// The values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |it| it.name == name).filter_map(|it| it.value)
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().filter(|it| it.name == name).find_map(|it| it.value)
    }

    /// The direction, if one is written.
    pub fn direction(&self) -> Option<Direction> {
        self.iter().find_map(|it| Direction::parse(it.name))
    }

    /// All payload types that are explained.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'_>> {
        self.all("rtpmap").filter_map(RtpMap::parse)
    }

    /// What a payload type means, if the description says it.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'_>> {
        self.rtpmaps().find(|it| it.payload_type == payload_type)
    }

    /// The parameters of a payload type.
    pub fn fmtp(&self, payload_type: u8) -> Option<&str> {
        self.all("fmtp").find_map(|it| {
            let (number, params) = it.trim_start().split_once([' ', '\t'])?;
            (self::payload_type(number)? == payload_type).then(|| params.trim())
        })
    }

    /// Milliseconds of media in a packet, 1 to 1,000.
    pub fn ptime_ms(&self) -> Option<u16> {
        self.get("ptime").and_then(milliseconds)
    }

    /// The most milliseconds of media in a packet, 1 to 1,000.
    pub fn maxptime_ms(&self) -> Option<u16> {
        self.get("maxptime").and_then(milliseconds)
    }

    /// Where RTCP goes, if it is said.
    pub fn rtcp(&self) -> Option<Rtcp> {
        let mut words = self.get("rtcp")?.split_ascii_whitespace();
        let port = digits::<u16>(words.next()?).filter(|it| *it > 0)?;
        let connection = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(network), Some(family), Some(address)) => Some(Connection::of(network, family, address)),
            _ => return None,
        };
        Some(Rtcp { port, connection })
    }

    /// Whether RTP and RTCP share a port (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.contains("rtcp-mux")
    }

    /// The SRTP keys on offer, in order of preference.
    pub fn cryptos(&self) -> impl Iterator<Item = Crypto<'_>> {
        self.all("crypto").filter_map(Crypto::parse)
    }
}

impl<'a> RtpMap<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (number, rest) = text.trim_start().split_once([' ', '\t'])?;
        let mut parts = rest.trim().split('/');
        let (encoding, clock) = (parts.next()?, parts.next()?);
        let channels = match parts.next() {
            None => 1,
            Some(channels) => digits::<u8>(channels).filter(|it| *it > 0)?,
        };
        let clock_hz = digits::<u32>(clock).filter(|it| *it > 0)?;
        if encoding.is_empty() || parts.next().is_some() {
            return None;
        }
        Some(Self { payload_type: payload_type(number)?, encoding, clock_hz, channels })
    }

    /// Whether it is this encoding at this clock with one channel.
    pub fn is(&self, encoding: &str, clock_hz: u32) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding) && self.clock_hz == clock_hz && self.channels == 1
    }
}

/// Name only: `a=crypto` holds a key.
impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a={}", self.name)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rtcp {
    /// The address, if one is written and is not a host name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.connection.as_ref()?.ip()
    }
}

pub(crate) fn payload_type(text: &str) -> Option<u8> {
    digits::<u8>(text.trim()).filter(|it| *it < 128)
}

/// Between attributes; no line holds it.
const END: char = '\n';

/// Digits only; `str::parse` alone would take a sign.
pub(crate) fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    if text.is_empty() || !text.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Some telephones write `20.0`.
fn milliseconds(text: &str) -> Option<u16> {
    let whole = text.trim().split('.').next()?;
    digits::<u16>(whole).filter(|it| (1..=1_000).contains(it))
}
