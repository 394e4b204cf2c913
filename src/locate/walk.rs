//! The steps of RFC 3263 §4 from a target to its hops, over what is known: a walk that lacks answers says which.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rand_chacha::ChaCha12Rng;

use super::order::in_order;
use super::target::TargetHost;
use super::{Hop, Known, Naptr, NoRecords, NotLocated, Question, Reach, RecordKind, Records, Srv, Target};
use crate::limits::{HOPS_MAX, NAPTR_SERVICES_MAX, SRV_SERVERS_MAX};
use crate::transport::TransportKind;

/// See the module.
pub(super) struct Walk<'a> {
    target: &'a Target,
    reach: &'a Reach,
    known: &'a BTreeMap<Question, Known>,
    /// What has to be known to go on.
    pub(super) missing: Vec<Question>,
    /// Whether something was asked for in vain.
    has_failed: bool,
}

/// Servers of one transport.
struct Service<'a> {
    kind: TransportKind,
    servers: Servers<'a>,
}

enum Servers<'a> {
    /// In need of order.
    Named(Vec<&'a Srv>),
    /// One name and port.
    Host(&'a str, u16),
}

impl<'a> Walk<'a> {
    pub(super) const fn new(target: &'a Target, reach: &'a Reach, known: &'a BTreeMap<Question, Known>) -> Self {
        Self { target, reach, known, missing: vec![], has_failed: false }
    }

    /// The hops, if nothing is missing.
    pub(super) fn hops(&mut self, rng: &mut ChaCha12Rng) -> Result<Vec<Hop>, NotLocated> {
        let name = match &self.target.host {
            TargetHost::Name(name) => name,
            TargetHost::Address(ip) => return self.hop_of_address(*ip),
        };
        let services = self.services(name)?;
        let mut found: Vec<(TransportKind, SocketAddr)> = vec![];
        for Service { kind, servers } in services {
            match servers {
                Servers::Host(host, port) => self.addresses(kind, host, port, &mut found),
                Servers::Named(servers) => {
                    for server in in_order(&servers, rng) {
                        self.addresses(kind, &server.target, server.port, &mut found);
                    }
                }
            }
        }
        found.truncate(HOPS_MAX);
        let hops: Vec<_> = found.into_iter().map(|(kind, remote)| self.hop(kind, remote, name)).collect();
        match hops.is_empty() {
            true if self.has_failed => Err(NotLocated::NoAnswer),
            true => Err(NotLocated::NoAddress),
            false => Ok(hops),
        }
    }

    fn hop_of_address(&mut self, ip: IpAddr) -> Result<Vec<Hop>, NotLocated> {
        let kind = self.target.default_kind();
        let is_spoken = if ip.is_ipv4() { self.reach.v4 } else { self.reach.v6 };
        if !is_spoken || !self.reach.kinds.contains(&kind) {
            return Err(NotLocated::NoTransport);
        }
        let remote = SocketAddr::new(ip, self.target.port.unwrap_or_else(|| kind.default_port()));
        Ok(vec![self.hop(kind, remote, &ip.to_string())])
    }

    fn hop(&mut self, kind: TransportKind, remote: SocketAddr, name: &str) -> Hop {
        let local_ip = match self.ask(&remote.ip().to_string(), RecordKind::Route) {
            Some(Records::Addresses(addresses)) => addresses.first().copied(),
            Some(Records::Naptr(_) | Records::Srv(_)) | None => None,
        };
        Hop { kind, remote, local_ip, server_name: kind.is_secure().then(|| name.into()) }
    }

    /// The services of a domain (§4.1), each with its servers (§4.2).
    fn services(&mut self, name: &'a str) -> Result<Vec<Service<'a>>, NotLocated> {
        let default = self.target.default_kind();
        let host = |kind: TransportKind| {
            let port = self.target.port.unwrap_or_else(|| kind.default_port());
            Service { kind, servers: Servers::Host(name, port) }
        };
        if self.target.port.is_some() {
            return if self.reach.kinds.contains(&default) {
                Ok(vec![host(default)])
            } else {
                Err(NotLocated::NoTransport)
            };
        }
        let is_wanted = |kind: TransportKind| {
            self.reach.kinds.contains(&kind)
                && self.target.kind.is_none_or(|it| it == kind)
                && (kind.is_secure() || !self.target.is_sips)
        };
        let kinds: Vec<_> = self.reach.kinds.iter().copied().filter(|it| is_wanted(*it)).collect();
        if kinds.is_empty() {
            return Err(NotLocated::NoTransport);
        }
        let mut services = vec![];
        if self.target.kind.is_none() {
            for (kind, domain) in self.naptr(name, &kinds) {
                services.extend(self.servers(kind, domain));
            }
            if !self.missing.is_empty() || !services.is_empty() {
                return Ok(services);
            }
        }
        for kind in kinds.iter().copied() {
            if let Some(prefix) = srv_prefix(kind) {
                services.extend(self.servers(kind, &format!("{prefix}.{name}")));
            }
        }
        if services.is_empty() && self.missing.is_empty() {
            // Without a server of its own, a domain is its own server.
            let kind = if kinds.contains(&default) { Some(default) } else { kinds.first().copied() };
            let host = |kind: TransportKind| Service { kind, servers: Servers::Host(name, kind.default_port()) };
            services.extend(kind.map(host));
        }
        Ok(services)
    }

    /// Transport and domain of each usable service of a NAPTR set, the preferred one first.
    fn naptr(&mut self, name: &str, kinds: &[TransportKind]) -> Vec<(TransportKind, &'a str)> {
        let Some(Records::Naptr(records)) = self.ask(name, RecordKind::Naptr) else {
            return vec![];
        };
        let service = |it: &'a Naptr| {
            let kind = match it.services.to_ascii_uppercase().as_str() {
                "SIP+D2U" => TransportKind::Udp,
                "SIP+D2T" => TransportKind::Tcp,
                "SIPS+D2T" => TransportKind::Tls,
                _ => return None,
            };
            let is_usable = kinds.contains(&kind) && it.flags.eq_ignore_ascii_case("s");
            is_usable.then_some(((it.order, it.preference), kind, &*it.replacement))
        };
        let mut services: Vec<_> = records.iter().filter_map(service).collect();
        services.sort_by_key(|it| it.0);
        services.truncate(NAPTR_SERVICES_MAX);
        services.into_iter().map(|(_, kind, domain)| (kind, domain)).collect()
    }

    /// The servers of a service, if there are.
    fn servers(&mut self, kind: TransportKind, service: &str) -> Option<Service<'a>> {
        let Some(Records::Srv(records)) = self.ask(service, RecordKind::Srv) else {
            return None;
        };
        let mut servers: Vec<_> = records.iter().collect();
        servers.sort_by_key(|it| it.priority);
        servers.truncate(SRV_SERVERS_MAX);
        (!servers.is_empty()).then_some(Service { kind, servers: Servers::Named(servers) })
    }

    /// The addresses of a server. A lone dot says that the service is decidedly not there (RFC 2782).
    fn addresses(&mut self, kind: TransportKind, host: &str, port: u16, found: &mut Vec<(TransportKind, SocketAddr)>) {
        let host = host.trim_end_matches('.');
        if host.is_empty() || port == 0 {
            return;
        }
        let mut addresses: Vec<IpAddr> = host.parse().into_iter().collect();
        if addresses.is_empty() {
            let families = [(RecordKind::A, self.reach.v4), (RecordKind::Aaaa, self.reach.v6)];
            for (family, _) in families.into_iter().filter(|(_, is_spoken)| *is_spoken) {
                if let Some(Records::Addresses(of_family)) = self.ask(host, family) {
                    addresses.extend(of_family);
                }
            }
        }
        for ip in addresses {
            let hop = (kind, SocketAddr::new(ip, port));
            let is_spoken = if ip.is_ipv4() { self.reach.v4 } else { self.reach.v6 };
            if is_spoken && !found.contains(&hop) {
                found.push(hop);
            }
        }
    }

    fn ask(&mut self, name: &str, kind: RecordKind) -> Option<&'a Records> {
        let question = Question { name: name.trim_end_matches('.').to_ascii_lowercase().into(), kind };
        match self.known.get(&question) {
            Some(Ok(records)) => Some(records),
            Some(Err(why)) => {
                self.has_failed |= *why == NoRecords::Failed;
                None
            }
            None => {
                if !self.missing.contains(&question) {
                    self.missing.push(question);
                }
                None
            }
        }
    }
}

/// How the name of a service begins (RFC 3263 §4.1). Websockets have none.
const fn srv_prefix(kind: TransportKind) -> Option<&'static str> {
    match kind {
        TransportKind::Udp => Some("_sip._udp"),
        TransportKind::Tcp => Some("_sip._tcp"),
        TransportKind::Tls => Some("_sips._tcp"),
        TransportKind::Ws | TransportKind::Wss => None,
    }
}
