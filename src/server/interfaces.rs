//! The addresses that a wildcard listener stands for.

use std::net::{IpAddr, SocketAddr};

/// `address` itself or, when its IP is unspecified, one address for each of the host's interfaces in that family.
/// Binding each by itself makes answers leave from the address that the request came to.
///
/// # Errors
/// When the operating system does not list its interfaces.
pub(crate) fn expand(address: SocketAddr) -> std::io::Result<Vec<SocketAddr>> {
    if !address.ip().is_unspecified() {
        return Ok(vec![address]);
    }
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .map(|it| it.ip())
        .filter(|it| it.is_ipv4() == address.is_ipv4() && !is_link_local(*it))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect())
}

/// A link-local IPv6 address means nothing without its interface, which SIP and SDP cannot name.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_becomes_the_interfaces_and_an_address_stays() {
        let fixed: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        assert_eq!(expand(fixed).unwrap(), [fixed]);
        let all = expand("0.0.0.0:5060".parse().unwrap()).unwrap();
        assert!(all.contains(&fixed), "{all:?}");
        assert!(all.iter().all(|it| it.is_ipv4() && !it.ip().is_unspecified()));
    }
}
