//! `[sip.limits]`

use std::net::IpAddr;

use ipnet::IpNet;

use super::reading::Section;
use crate::limits;

/// `[sip.limits]`: what one source may do. A source is an IPv4 address or an IPv6 /64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipLimits {
    /// `messages_per_s`, of any source; 0 is no limit.
    pub messages_per_s: u32,
    /// `unknown_requests_per_s`, of a source that never had a request admitted; 0 is no other limit.
    pub unknown_requests_per_s: u32,
    /// `connections_per_s` that one source may open; 0 is no limit.
    pub connections_per_s: u32,
    /// `connections`, in all.
    pub connections: u32,
    /// `connections_per_source`
    pub connections_per_source: u32,
    /// `exempt`: sources without these limits, such as a proxy of one's own.
    pub exempt: Vec<IpNet>,
}

impl SipLimits {
    pub(super) fn read(sip: &Section<'_>) -> Self {
        let section = sip.section("limits");
        let rate = |key, default| section.number(key, 0..=limits::SOURCE_RATE_CONFIGURED_MAX).unwrap_or(default);
        let connections_max = u32::try_from(limits::TCP_CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let per_source_max = u32::try_from(limits::TCP_CONNECTIONS_PER_SOURCE_MAX).unwrap_or(u32::MAX);
        let exempt = section.list("exempt", parse_network).unwrap_or_else(|| {
            let loopback = [IpAddr::from([127, 0, 0, 0]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
            loopback.into_iter().zip([8, 128]).filter_map(|(ip, bits)| IpNet::new(ip, bits).ok()).collect()
        });
        if exempt.len() > limits::EXEMPT_NETWORKS_MAX {
            section.complain("exempt", &format!("expected at most {} networks", limits::EXEMPT_NETWORKS_MAX));
        }
        let read = Self {
            messages_per_s: rate("messages_per_s", limits::SOURCE_MESSAGES_PER_S),
            unknown_requests_per_s: rate("unknown_requests_per_s", limits::UNKNOWN_SOURCE_REQUESTS_PER_S),
            connections_per_s: rate("connections_per_s", limits::SOURCE_CONNECTIONS_PER_S),
            connections: section.number("connections", 1..=connections_max).unwrap_or(connections_max),
            connections_per_source: section
                .number("connections_per_source", 1..=connections_max)
                .unwrap_or(per_source_max),
            exempt,
        };
        section.finish();
        read
    }
}

/// An address, or an address, a slash and a number of bits.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let expected = || "expected an address or a network such as 10.0.0.0/8".to_owned();
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    address.or_else(|| text.parse().ok()).ok_or_else(expected)
}
