//! Addresses: what is listened on, what peers are told instead (RFC 3261 §18.1.1, RFC 4566 §5.7), and `[rtp]` and
//! `[http]`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Places;
use super::reading::Section;
use crate::identity::Secret;
use crate::limits;

/// What carries SIP on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignallingTransport {
    /// `udp://`
    Udp,
    /// `tcp://`
    Tcp,
    /// `tls://`
    Tls,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
}

impl SignallingTransport {
    const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether it takes a certificate.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// One address that SIP is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// UDP, TCP, TLS or websocket.
    pub transport: SignallingTransport,
    /// As written: a wildcard stands for every address of the machine, port 0 for any free port.
    pub address: SocketAddr,
    /// What peers are told about it, if not what `[sip] advertise` says: an address, and a port if that is another.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Whether calls from unknown sources, and to unknown numbers, are accepted here.
    pub open: bool,
    /// Whether the server must not start without it. Built-in listeners may be missing on a machine without IPv6.
    pub required: bool,
}

impl fmt::Display for SignallingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport, self.address)
    }
}

/// `udp://address[:port]`, or with `tcp`, `tls`, `ws` or `wss`.
pub(super) fn parse_listener(text: &str) -> Result<(SignallingTransport, SocketAddr), String> {
    let written = text.split_once("://").and_then(|(scheme, address)| {
        Some((SignallingTransport::ALL.into_iter().find(|it| it.scheme() == scheme)?, address))
    });
    let Some((transport, address)) = written else {
        return Err(
            "expected udp://, tcp://, tls://, ws:// or wss:// and an address, such as udp://0.0.0.0:5060".to_owned()
        );
    };
    let (ip, port) = parse_address(address)?;
    Ok((transport, SocketAddr::new(ip, port.unwrap_or_else(|| transport.default_port()))))
}

/// What peers are told of one listener.
pub(super) fn parse_advertised(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    match parse_address(text)? {
        (ip, _) if ip.is_unspecified() => Err(format!("{ip} is no address that a peer could reach")),
        advertised => Ok(advertised),
    }
}

/// `address` or `address:port`; an IPv6 address with a port is in brackets.
pub(super) fn parse_address(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let unbracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = unbracketed.parse() {
        return Ok((ip, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((address.ip(), Some(address.port())));
    }
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let is_name = host.bytes().any(|it| it.is_ascii_alphabetic()) && !host.contains(':');
    Err(if is_name {
        format!("`{host}` is a name: write its address, such as 127.0.0.1")
    } else {
        "expected an address with or without a port, such as 192.0.2.1:5060 or [2001:db8::1]:5060".to_owned()
    })
}

/// What to tell peers in place of local addresses, for a machine behind NAT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise(BTreeMap<IpAddr, (IpAddr, Option<u16>)>);

impl Advertise {
    /// What peers are told in place of `local`: what is written for that address, else what is written for all
    /// addresses of its family (unless it is loopback), else `local` itself. A port is changed only if one is written.
    pub fn of(&self, local: SocketAddr) -> SocketAddr {
        let all = if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        let for_all = || self.0.get(&all).filter(|_| !local.ip().is_loopback());
        match self.0.get(&local.ip()).or_else(for_all) {
            Some((ip, port)) => SocketAddr::new(*ip, port.unwrap_or(local.port())),
            None => local,
        }
    }

    /// The pairs of local and advertised addresses as written; a wildcard stands for all addresses of its family.
    pub fn pairs(&self) -> impl Iterator<Item = (IpAddr, IpAddr, Option<u16>)> {
        self.0.iter().map(|(local, (ip, port))| (*local, *ip, *port))
    }

    /// Whether nothing is advertised but the local addresses.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same addresses without their ports, which are those of SIP.
    fn without_ports(&self) -> Self {
        Self(self.0.iter().map(|(local, (ip, _))| (*local, (*ip, None))).collect())
    }

    /// The key `advertise`: a table `local = advertised`, a list of `local=advertised`, or one address for all.
    pub(super) fn read(section: &Section<'_>, ports: bool) -> Option<Self> {
        let mut found = BTreeMap::new();
        for (local, advertised) in section.pairs("advertise")? {
            match Self::parse_pair(&local, &advertised, ports) {
                Ok((local, advertised)) => {
                    if found.insert(local, advertised).is_some() {
                        section.complain("advertise", &format!("{local} is there twice"));
                    }
                }
                Err(message) => section.complain("advertise", &message),
            }
        }
        Some(Self(found))
    }

    fn parse_pair(local: &str, advertised: &str, ports: bool) -> Result<(IpAddr, (IpAddr, Option<u16>)), String> {
        let (ip, port) = parse_address(advertised)?;
        if ip.is_unspecified() {
            return Err(format!("{ip} is no address that a peer could reach"));
        }
        if port.is_some() && !ports {
            return Err("media ports are not translated: advertise an address without a port".to_owned());
        }
        let local = match local {
            "" if ip.is_ipv4() => Ipv4Addr::UNSPECIFIED.into(),
            "" => Ipv6Addr::UNSPECIFIED.into(),
            local => match parse_address(local)? {
                (local, None) => local,
                (_, Some(_)) => return Err(format!("{local}: the local address stands without a port")),
            },
        };
        if local.is_ipv4() != ip.is_ipv4() {
            return Err(format!("{local} and {ip} are of different families"));
        }
        Ok((local, (ip, port)))
    }
}

/// A range of UDP ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port, even.
    pub first: u16,
    /// The last port, odd.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl PortRange {
    /// How many pairs of an RTP and an RTCP port it holds.
    pub fn pairs(self) -> u16 {
        self.last.abs_diff(self.first).div_ceil(2)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let ends = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)));
        match ends {
            Some((first, last)) if first >= 1024 && first % 2 == 0 && last % 2 == 1 && first < last => {
                Ok(Self { first, last })
            }
            Some(_) | None => Err(
                "expected an even first and an odd last port of 1024 to 65535, such as \"16384-32767\"; each call leg \
                 takes two"
                    .to_owned(),
            ),
        }
    }
}

/// `[rtp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// `ports`: an even one and the odd one above it for each leg.
    pub ports: PortRange,
    /// `inactivity_s`: a call that is not on hold and receives nothing for so long is ended.
    pub inactivity: Duration,
    /// `advertise`; unless written, that of `[sip]`.
    pub advertise: Advertise,
}

impl Rtp {
    pub(super) fn read(section: &Section<'_>, sip: &Advertise) -> Self {
        let seconds = section.number("inactivity_s", 1..=limits::RTP_INACTIVITY_CONFIGURED_S_MAX);
        Self {
            ports: section.parsed("ports", PortRange::parse).unwrap_or(PortRange { first: 16_384, last: 32_767 }),
            inactivity: Duration::from_secs(seconds.unwrap_or(30).into()),
            advertise: Advertise::read(section, false).unwrap_or_else(|| sip.without_ports()),
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `listen`: where health, metrics and the API are served. Port 0 is any free port.
    pub listen: SocketAddr,
    /// `api_key`, or what the variable named by `api_key_env` holds: who shows it may use the API.
    pub api_key: Option<Secret>,
    /// `api_keys`: more of them, as their SHA-256. Without any key one is made in the data directory.
    pub api_key_hashes: Vec<[u8; 32]>,
}

impl Http {
    pub(super) fn read(section: &Section<'_>, places: &Places<'_>) -> Self {
        let api_key = places.secret(section, "api_key", "api_key_env");
        if api_key.as_ref().is_some_and(|it| it.reveal().len() < limits::API_KEY_BYTES_MIN) {
            let message = format!("an API key has at least {} characters", limits::API_KEY_BYTES_MIN);
            section.complain_of_secret("api_key", &message);
        }
        let parse_hash =
            |text: &str| parse_sha256(text).ok_or_else(|| "expected \"sha256:\" and 64 hexadecimal digits".to_owned());
        let api_key_hashes = section.list("api_keys", parse_hash).unwrap_or_default();
        let listen = section.parsed("listen", |text| {
            let (ip, port) = parse_address(text)?;
            Ok(SocketAddr::new(ip, port.unwrap_or(HTTP_PORT)))
        });
        let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)));
        Self { listen, api_key, api_key_hashes }
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:").filter(|it| it.len() == 64 && it.is_ascii())?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
const HTTP_PORT: u16 = 8080;
