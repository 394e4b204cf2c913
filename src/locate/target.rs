//! What is to be located: the host, port and transport that a URI names (RFC 3263 §4).

use std::net::IpAddr;

use super::NotLocated;
use crate::sip::{Host, Scheme, Uri};
use crate::transport::TransportKind;

/// What is to be located.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub(super) host: TargetHost,
    pub(super) port: Option<u16>,
    pub(super) kind: Option<TransportKind>,
    /// Only what is encrypted will do.
    pub(super) is_sips: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TargetHost {
    /// In lower case, without the dot at its end.
    Name(Box<str>),
    Address(IpAddr),
}

impl Target {
    /// What `uri` names.
    ///
    /// # Errors
    /// If it has no host, or its `transport` parameter is none of ours.
    pub fn of(uri: &Uri) -> Result<Self, NotLocated> {
        let host = match uri.host().ok_or(NotLocated::NoHost)? {
            Host::Name(name) => TargetHost::Name(name.trim_end_matches('.').to_ascii_lowercase().into()),
            Host::V4(ip) => TargetHost::Address(ip.into()),
            Host::V6(ip) => TargetHost::Address(ip.into()),
        };
        let is_sips = uri.scheme() == Scheme::Sips;
        let kind = match uri.transport() {
            Some(text) => Some(TransportKind::of_uri_parameter(text, is_sips).ok_or(NotLocated::NoTransport)?),
            None => None,
        };
        Ok(Self { host, port: uri.port(), kind, is_sips })
    }

    /// The same, spoken to in this way only.
    #[must_use]
    pub fn over(self, kind: TransportKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// The host as text.
    pub fn host(&self) -> String {
        match &self.host {
            TargetHost::Name(name) => name.to_string(),
            TargetHost::Address(ip) => ip.to_string(),
        }
    }

    /// The transport that is used if nothing says another (RFC 3263 §4.1).
    pub(super) fn default_kind(&self) -> TransportKind {
        let plain = if self.is_sips { TransportKind::Tls } else { TransportKind::Udp };
        self.kind.unwrap_or(plain)
    }
}
