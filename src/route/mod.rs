//! Who may call whom: a pure function from where an INVITE came from and whom it asks for to who answers it.
//!
//! What counts is the listener, never the look of the source address: a proxy on the same host makes the whole Internet
//! look local.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::identity::AccountId;

/// The name of an agent of an account, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(pub String);

/// The name of a trunk, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkName(pub String);

/// Who answers: an agent and the account it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The account that owns the call.
    pub account: AccountId,
    /// The agent that answers it.
    pub agent: AgentName,
}

/// The numbers and the known sources of this system.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    numbers: BTreeMap<String, Target>,
    sources: Vec<Network>,
    trunks: BTreeMap<TrunkName, Vec<Network>>,
}

/// What a listener takes from strangers.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Whether sources that [`Routes`] does not know may call.
    pub unknown_sources: bool,
    /// Whether users may call who show to know their password, from whatever source.
    pub users: bool,
    /// Who answers numbers that [`Routes`] does not know; nobody if `None`.
    pub unknown_numbers: Option<Target>,
}

/// Why a call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The source is not known, and the listener takes known ones only. The answer is the same for every number, so that
    /// strangers cannot find out which numbers exist.
    #[error("calls from this source are not accepted")]
    UnknownSource,
    /// Nobody answers this number.
    #[error("nobody answers this number")]
    UnknownNumber,
}

impl Routes {
    /// Makes `target` answer `number`: a telephone number in any common writing, or the user part of a SIP URI.
    pub fn insert_number(&mut self, number: &str, target: Target) {
        self.numbers.insert(normalise(number), target);
    }

    /// Makes every address of `network` a known source.
    pub fn insert_source(&mut self, network: Network) {
        self.sources.push(network);
    }

    /// Makes the addresses of `networks` known sources, those of a trunk, in place of what it had before.
    pub fn set_trunk_sources(&mut self, trunk: TrunkName, networks: Vec<Network>) {
        self.trunks.insert(trunk, networks);
    }

    /// The trunk that `source` belongs to.
    pub fn trunk_of(&self, source: IpAddr) -> Option<&TrunkName> {
        self.trunks.iter().find(|(_, it)| it.iter().any(|it| it.contains(source))).map(|(name, _)| name)
    }

    /// Whether `source` is known, by itself or as that of a trunk.
    pub fn is_known(&self, source: IpAddr) -> bool {
        self.sources.iter().any(|it| it.contains(source)) || self.trunk_of(source).is_some()
    }

    /// Who answers a call that `source` makes to `user`, the user part of the Request-URI.
    pub fn route(&self, admission: &Admission, source: IpAddr, user: &str) -> Result<Target, Refusal> {
        if !admission.unknown_sources && !self.is_known(source) {
            return Err(Refusal::UnknownSource);
        }
        let target = self.numbers.get(&normalise(user)).or(admission.unknown_numbers.as_ref());
        target.cloned().ok_or(Refusal::UnknownNumber)
    }
}

/// The addresses that share a prefix: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address written as IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let host_bits = width - u32::from(self.prefix_bits);
        (ours ^ theirs).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl From<IpAddr> for Network {
    /// One address.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix_bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().or(Err(InvalidNetwork))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(width), str::parse).or(Err(InvalidNetwork))?;
        if prefix_bits > width {
            return Err(InvalidNetwork);
        }
        Ok(Self { address, prefix_bits })
    }
}

/// The text is not an address, or an address, a slash and a number of bits that the address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address, or an address, a slash and a number of bits")]
pub struct InvalidNetwork;

/// Telephone numbers lose their `+` and their visual separators (RFC 3966 §5.1.1); names stay as they are.
fn normalise(user: &str) -> String {
    let number = user.strip_prefix('+').unwrap_or(user);
    let digits: String = number.chars().filter(|it| !matches!(it, '-' | '.' | '(' | ')' | ' ')).collect();
    let is_number = !digits.is_empty() && digits.chars().all(|it| it.is_ascii_digit() || matches!(it, '*' | '#'));
    if is_number { digits } else { user.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_learn_nothing_and_known_sources_reach_known_numbers() {
        let mut routes = Routes::default();
        routes.insert_number("+49 30 1234-5", target("reception"));
        routes.insert_number("sales", target("sales"));
        routes.insert_source("192.0.2.0/24".parse().expect("a network"));
        let closed = Admission::default();
        let open = Admission { unknown_sources: true, unknown_numbers: Some(target("demo")), ..Admission::default() };
        check(&routes, &closed, "192.0.2.7", "+4930(12345)", Ok("reception"));
        check(&routes, &closed, "192.0.2.7", "4930.12345", Ok("reception"));
        check(&routes, &closed, "::ffff:192.0.2.7", "sales", Ok("sales"));
        check(&routes, &closed, "192.0.2.7", "Sales", Err(Refusal::UnknownNumber));
        check(&routes, &closed, "192.0.3.7", "sales", Err(Refusal::UnknownSource));
        check(&routes, &closed, "192.0.3.7", "nobody", Err(Refusal::UnknownSource));
        check(&routes, &open, "2001:db8::1", "", Ok("demo"));
        check(&routes, &open, "2001:db8::1", "sales", Ok("sales"));
    }

    #[test]
    fn networks_match_their_prefix_only() {
        let check = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(check("0.0.0.0/0", "203.0.113.9") && check("::/0", "2001:db8::1"));
        assert!(!check("0.0.0.0/0", "2001:db8::1") && !check("::/0", "203.0.113.9"));
        assert!(check("192.0.2.128/25", "192.0.2.129") && !check("192.0.2.128/25", "192.0.2.127"));
        assert!(check("192.0.2.1", "192.0.2.1") && !check("192.0.2.1", "192.0.2.2"));
        for bad in ["", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "::/129", "example.org"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }

    #[track_caller]
    fn check(routes: &Routes, admission: &Admission, source: &str, user: &str, expected: Result<&str, Refusal>) {
        let found = routes.route(admission, source.parse().expect("an address"), user);
        assert_eq!(found.as_ref().map(|it| it.agent.0.as_str()).map_err(|it| *it), expected);
    }

    fn target(agent: &str) -> Target {
        Target { account: AccountId::default(), agent: AgentName(agent.to_owned()) }
    }
}
