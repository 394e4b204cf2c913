//! Flows (RFC 5626 §3) and listeners: between which two addresses messages travel, and how we name ourselves there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How SIP messages are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
}

impl TransportKind {
    /// Whether the transport delivers by itself, so that nothing is retransmitted over it.
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp => true,
        }
    }

    /// As the Via header field writes it.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// As the `transport` parameter of a URI writes it.
    pub const fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Two addresses that exchange messages. A TCP connection is its pair of addresses.
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
        write!(f, "{} {} {}", self.kind.uri_parameter(), self.local, self.remote)
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
            TransportKind::Tcp => format!("sip:{host}:{port};transport=tcp"),
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
