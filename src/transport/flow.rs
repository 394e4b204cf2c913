//! Flows (RFC 5626 §3) and listeners: between which two addresses messages travel, and how we name ourselves there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How SIP messages are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream in TLS.
    Tls,
    /// A websocket (RFC 7118): each of its messages is one of ours.
    Ws,
    /// A websocket in TLS.
    Wss,
}

impl TransportKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether the transport delivers by itself, so that nothing is retransmitted over it.
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => true,
        }
    }

    /// Whether its bytes are a stream that has to be cut into messages.
    pub const fn is_stream(self) -> bool {
        match self {
            Self::Udp | Self::Ws | Self::Wss => false,
            Self::Tcp | Self::Tls => true,
        }
    }

    /// Whether its messages are encrypted on the way.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Ws => false,
            Self::Tls | Self::Wss => true,
        }
    }

    /// Whether it is a websocket: its client listens nowhere, and can be reached over its connection only.
    pub const fn is_websocket(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Tls => false,
            Self::Ws | Self::Wss => true,
        }
    }

    /// The port it has unless one is named.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// As the Via header field writes it.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// As the `transport` parameter of a URI writes it (RFC 7118 §5.4: `ws` is both websockets).
    pub const fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// As the address of a listener begins, in configuration and logs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The kind whose [`Self::scheme`] is `text`, in any case.
    pub fn of_scheme(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.scheme().eq_ignore_ascii_case(text))
    }

    /// The kind that the `transport` parameter `text` of a URI stands for; `is_sips` tells `sips:` from `sip:`.
    pub fn of_uri_parameter(text: &str, is_sips: bool) -> Option<Self> {
        match Self::of_scheme(text)? {
            Self::Tcp if is_sips => Some(Self::Tls),
            Self::Ws if is_sips => Some(Self::Wss),
            Self::Udp if is_sips => None,
            kind @ (Self::Udp | Self::Tcp | Self::Tls | Self::Ws | Self::Wss) => Some(kind),
        }
    }
}

/// Two addresses that exchange messages. A connection is its pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// How the messages are carried.
    pub kind: TransportKind,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address, as its packets show it.
    pub remote: SocketAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind.scheme(), self.local, self.remote)
    }
}

/// Who is at the other end of a connection, as its certificate shows to somebody who trusts its issuer (RFC 5922 §7.1).
/// Without a certificate nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    names: Arc<[Box<str>]>,
}

impl PeerIdentity {
    /// One with these names: host names, and addresses as text.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self { names: names.into_iter().map(|it| it.as_ref().to_ascii_lowercase().into()).collect() }
    }

    /// Its names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|it| &**it)
    }

    /// Whether it shows no name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it is `name`, in any case. A wildcard stands for no SIP domain (RFC 5922 §7.2).
    pub fn is(&self, name: &str) -> bool {
        self.names().any(|it| it.eq_ignore_ascii_case(name))
    }
}

/// An address we receive on, and what peers are told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// How messages are carried there.
    pub kind: TransportKind,
    /// The address that is bound; never a wildcard.
    pub local: SocketAddr,
    /// The host that peers are told, in the form of a URI: an IPv6 address stands in brackets.
    pub advertised_host: String,
    /// The port that peers are told.
    pub advertised_port: u16,
}

impl Listener {
    /// A listener that peers reach at the address it is bound to.
    pub fn new(kind: TransportKind, local: SocketAddr) -> Self {
        Self { kind, local, advertised_host: uri_host(local.ip()), advertised_port: local.port() }
    }

    /// The same listener behind a network address translator: peers are told `host` and `port`.
    #[must_use]
    pub fn advertised_as(self, host: impl Into<String>, port: u16) -> Self {
        Self { advertised_host: host.into(), advertised_port: port, ..self }
    }

    /// Our URI for Contact header fields.
    pub fn contact_uri(&self) -> String {
        let Self { advertised_host: host, advertised_port: port, .. } = self;
        match self.kind {
            TransportKind::Udp => format!("sip:{host}:{port}"),
            kind @ (TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss) => {
                format!("sip:{host}:{port};transport={}", kind.uri_parameter())
            }
        }
    }
}

/// `ip` as the host of a URI.
pub(crate) fn uri_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(it) => it.to_string(),
        IpAddr::V6(it) => format!("[{it}]"),
    }
}
