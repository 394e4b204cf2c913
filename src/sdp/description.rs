//! The lines of a session description: RFC 8866 §5, §9.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::attributes::{Attribute, Attributes};

/// A session description. Attributes are kept as they stand; typed views read them on demand.
///
/// Lines that nobody here reads (`i=`, `u=`, `e=`, `p=`, `b=`, `r=`, `z=`, `k=`) are kept and written in the order that
/// RFC 8866 §9 wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`
    pub origin: Origin,
    /// `s=`
    pub session_name: String,
    /// `c=` of the session: for media that have none of their own.
    pub connection: Option<Connection>,
    /// `t=`, as written. More than one, and `r=`, are kept in [`Self::other`].
    pub timing: String,
    /// Lines that are not looked at.
    pub other: Vec<OtherLine>,
    /// `a=` of the session.
    pub attributes: Attributes,
    /// `m=` in order.
    pub media: Vec<Media>,
}

/// `o=`: who made the session and which version of it this is (RFC 8866 §5.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// `-` if there is no name.
    pub username: String,
    /// Digits, of any number; a peer's may be any word.
    pub session_id: String,
    /// Grows by one with every change of the session (RFC 3264 §8).
    pub version: String,
    /// The address as written: `IN IP4 192.0.2.1`.
    pub address: Connection,
}

/// `c=`: where media go (RFC 8866 §5.7). Never resolved: a host name stays one.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// `IN`
    pub network: Cow<'static, str>,
    /// `IP4` or `IP6`
    pub family: Cow<'static, str>,
    /// The address with what follows it (multicast TTL and count).
    pub address: String,
}

/// `m=` and what belongs to it (RFC 8866 §5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `image` …
    pub kind: String,
    /// 0 refuses the stream (RFC 3264 §6).
    pub port: u16,
    /// How many ports, if it is said.
    pub port_count: Option<u16>,
    /// `RTP/AVP`, `RTP/SAVP`, `udptl` …
    pub protocol: String,
    /// Payload types of RTP, other words of other protocols; blanks are between them.
    pub formats: String,
    /// `c=`
    pub connection: Option<Connection>,
    /// Lines that are not looked at.
    pub other: Vec<OtherLine>,
    /// `a=`
    pub attributes: Attributes,
}

/// A line that is kept but not looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherLine {
    /// The letter before the equals sign.
    pub kind: char,
    /// What follows it.
    pub value: String,
}

impl SessionDescription {
    /// A description without media, with one address for origin and session.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        let connection = Connection::from(address);
        Self {
            origin: Origin {
                username: "-".to_owned(),
                session_id: session_id.to_string(),
                version: version.to_string(),
                address: connection.clone(),
            },
            session_name: "-".to_owned(),
            connection: Some(connection),
            timing: "0 0".to_owned(),
            other: vec![],
            attributes: Attributes::default(),
            media: vec![],
        }
    }

    /// Where `media` goes: its own connection, else the session's.
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Connection> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction of `media`: its own, else the session's, else both ways (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &Media) -> super::Direction {
        media.attributes.direction().or_else(|| self.attributes.direction()).unwrap_or_default()
    }
}

impl Media {
    /// A stream without attributes.
    pub fn new(kind: &str, port: u16, protocol: &str, formats: String) -> Self {
        Self {
            kind: kind.to_owned(),
            port,
            port_count: None,
            protocol: protocol.to_owned(),
            formats,
            connection: None,
            other: vec![],
            attributes: Attributes::default(),
        }
    }

    /// The same stream, refused: port 0, as RFC 3264 §6 has it in an answer.
    #[must_use]
    pub fn refused(&self) -> Self {
        Self::new(&self.kind, 0, &self.protocol, self.formats.clone())
    }

    /// Whether it is carried by RTP, secured or not.
    pub fn is_rtp(&self) -> bool {
        self.protocol.split('/').any(|it| matches!(it, "AVP" | "AVPF" | "SAVP" | "SAVPF"))
    }

    /// The formats that are payload types (0 to 127), in order of preference.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats.split(' ').filter_map(super::attributes::payload_type)
    }
}

impl Connection {
    /// From its three words.
    pub(crate) fn of(network: &str, family: &str, address: &str) -> Self {
        let known = |word: &str| -> Cow<'static, str> {
            let found = ["IN", "IP4", "IP6"].into_iter().find(|it| *it == word);
            found.map_or_else(|| Cow::Owned(word.to_owned()), Cow::Borrowed)
        };
        Self { network: known(network), family: known(family), address: address.to_owned() }
    }

    /// The address, unless it is a host name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.split('/').next()?.parse().ok()
    }

    /// Whether this is the address that put streams on hold before RFC 3264 (§8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|it| it.is_unspecified())
    }
}

impl From<IpAddr> for Connection {
    fn from(ip: IpAddr) -> Self {
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        Self { network: "IN".into(), family: family.into(), address: ip.to_string() }
    }
}

/// The version, without the user name.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({} {} {})", self.session_id, self.version, self.address)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({self})")
    }
}

/// The letter only: `e=` and `p=` hold addresses of people, `k=` a key.
impl fmt::Debug for OtherLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherLine({}=)", self.kind)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.username, self.session_id, self.version, self.address)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.network, self.family, self.address)
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=0\r\no={}\r\ns={}\r\n", self.origin, self.session_name)?;
        write_others(f, &self.other, "iuep")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        write_others(f, &self.other, "b")?;
        write!(f, "t={}\r\n", self.timing)?;
        write_others(f, &self.other, "rtzk")?;
        self.attributes.iter().try_for_each(|it| write_attribute(f, it))?;
        self.media.iter().try_for_each(|it| write!(f, "{it}"))
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {}", self.kind, self.port)?;
        if let Some(count) = self.port_count {
            write!(f, "/{count}")?;
        }
        write!(f, " {} {}", self.protocol, self.formats)?;
        f.write_str("\r\n")?;
        write_others(f, &self.other, "i")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        write_others(f, &self.other, "bk")?;
        self.attributes.iter().try_for_each(|it| write_attribute(f, it))
    }
}

/// Writes the lines of these kinds; the kinds in their order, the lines of one kind in theirs.
fn write_others(f: &mut fmt::Formatter<'_>, lines: &[OtherLine], kinds: &str) -> fmt::Result {
    for kind in kinds.chars() {
        for line in lines.iter().filter(|it| it.kind == kind) {
            write!(f, "{kind}={}\r\n", line.value)?;
        }
    }
    Ok(())
}

fn write_attribute(f: &mut fmt::Formatter<'_>, attribute: Attribute<'_>) -> fmt::Result {
    match attribute.value {
        Some(value) => write!(f, "a={}:{value}\r\n", attribute.name),
        None => write!(f, "a={}\r\n", attribute.name),
    }
}
