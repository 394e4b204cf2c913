//! Who may call whom: a pure function from where an INVITE came from and whom it asks for to who answers it.
//!
//! What counts is the listener, never the look of the source address: a proxy on the same host makes the whole Internet
//! look local.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::identity::AccountId;
use crate::sip::Uri;

/// The name of an agent of an account, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(pub String);

/// The name of a trunk, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkName(pub String);

/// The name of a conference room, as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(pub String);

/// Who answers, and the account that the call belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The account that owns the call, and pays for it.
    pub account: AccountId,
    /// Who answers it.
    pub to: Destination,
}

/// Where a call leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an agent of ours.
    Agent(AgentName),
    /// Into a room, where it is mixed with others.
    Room(RoomName),
    /// To a user, wherever it is registered.
    User(String),
    /// Out of the house, which may cost money.
    Uri(Uri),
    /// The same, to this number over a trunk.
    Trunk(TrunkName, String),
}

/// Who calls, or asks for a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that is known.
    Stranger,
    /// One of the known sources.
    Known,
    /// A carrier, or a PBX.
    Trunk(TrunkName),
    /// A user who has shown to be it.
    User(AccountId, String),
}

/// The numbers, the users and the known sources of this system.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    numbers: BTreeMap<String, Target>,
    users: BTreeSet<(AccountId, String)>,
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
    /// The number leads out of the house, and strangers do not call at our cost.
    #[error("this number is not for strangers")]
    NotAllowed,
}

impl Routes {
    /// Makes `target` answer `number`: a telephone number in any common writing, or the user part of a SIP URI.
    pub fn insert_number(&mut self, number: &str, target: Target) {
        self.numbers.insert(normalise(number), target);
    }

    /// The number that `user` means, without its `+` and its separators; `None` if it is none of ours.
    pub fn number(&self, user: &str) -> Option<String> {
        Some(normalise(user)).filter(|it| self.numbers.contains_key(it))
    }

    /// Makes every address of `network` a known source.
    pub fn insert_source(&mut self, network: Network) {
        self.sources.push(network);
    }

    /// Makes the addresses of `networks` known sources, those of a trunk, in place of what it had before.
    pub fn set_trunk_sources(&mut self, trunk: TrunkName, networks: Vec<Network>) {
        self.trunks.insert(trunk, networks);
    }

    /// The trunks that `source` belongs to, by their names.
    pub fn trunks_of(&self, source: IpAddr) -> impl Iterator<Item = &TrunkName> {
        self.trunks.iter().filter(move |(_, it)| it.iter().any(|it| it.contains(source))).map(|(name, _)| name)
    }

    /// Whether `source` is known, by itself or as that of a trunk.
    pub fn is_known(&self, source: IpAddr) -> bool {
        self.sources.iter().any(|it| it.contains(source)) || self.trunks_of(source).next().is_some()
    }

    /// Makes `name` a user, whom other users of the account can call by that name.
    pub fn insert_user(&mut self, account: AccountId, name: &str) {
        self.users.insert((account, name.to_owned()));
    }

    /// Who calls from `source`, as far as its address tells: of several trunks, the first by its name.
    pub fn caller(&self, source: IpAddr) -> Caller {
        match self.trunks_of(source).next() {
            Some(trunk) => Caller::Trunk(trunk.clone()),
            None if self.is_known(source) => Caller::Known,
            None => Caller::Stranger,
        }
    }

    /// Who answers a call that `caller` makes to `user`, the user part of the Request-URI. Users reach each other and the
    /// numbers; known sources reach the numbers; strangers reach, where they are admitted, the numbers that stay in the
    /// house.
    pub fn route(&self, admission: &Admission, caller: &Caller, user: &str) -> Result<Target, Refusal> {
        if *caller == Caller::Stranger && !admission.unknown_sources {
            return Err(Refusal::UnknownSource);
        }
        if let Some(target) = self.numbers.get(&normalise(user)) {
            let is_costly = matches!(target.to, Destination::Uri(_) | Destination::Trunk(..));
            let is_refused = is_costly && *caller == Caller::Stranger;
            return if is_refused { Err(Refusal::NotAllowed) } else { Ok(target.clone()) };
        }
        match caller {
            Caller::User(account, _) if self.users.contains(&(account.clone(), user.to_owned())) => {
                Ok(Target { account: account.clone(), to: Destination::User(user.to_owned()) })
            }
            Caller::Stranger | Caller::Known | Caller::Trunk(_) | Caller::User(..) => {
                admission.unknown_numbers.clone().ok_or(Refusal::UnknownNumber)
            }
        }
    }
}

impl Caller {
    /// The trunk that it is.
    pub const fn trunk(&self) -> Option<&TrunkName> {
        match self {
            Self::Trunk(name) => Some(name),
            Self::Stranger | Self::Known | Self::User(..) => None,
        }
    }
}

impl Target {
    /// An agent of the default account.
    pub fn agent(name: &str) -> Self {
        Self { account: AccountId::default(), to: Destination::Agent(AgentName(name.to_owned())) }
    }
}

/// The addresses that share a prefix: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// From its first address to its last.
    pub fn range(&self) -> RangeInclusive<IpAddr> {
        let ends = |bits: u128, width: u32| {
            let hosts = 1_u128.checked_shl(width - u32::from(self.prefix_bits)).map_or(u128::MAX, |it| it - 1);
            (bits & !hosts, bits | hosts)
        };
        match self.address {
            IpAddr::V4(address) => {
                let (first, last) = ends(u128::from(address.to_bits()), 32);
                let of = |bits| IpAddr::from(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
                of(first)..=of(last)
            }
            IpAddr::V6(address) => {
                let (first, last) = ends(address.to_bits(), 128);
                IpAddr::from(Ipv6Addr::from_bits(first))..=IpAddr::from(Ipv6Addr::from_bits(last))
            }
        }
    }

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
pub fn normalise(user: &str) -> String {
    let number = user.strip_prefix('+').unwrap_or(user);
    let digits: String = number.chars().filter(|it| !matches!(it, '-' | '.' | '(' | ')' | ' ')).collect();
    let is_number = !digits.is_empty() && digits.chars().all(|it| it.is_ascii_digit() || matches!(it, '*' | '#'));
    if is_number { digits } else { user.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_goes_from_its_first_address_to_its_last() {
        for (network, range) in [
            ("192.0.2.7", "192.0.2.7..=192.0.2.7"),
            ("192.0.2.77/24", "192.0.2.0..=192.0.2.255"),
            ("0.0.0.0/0", "0.0.0.0..=255.255.255.255"),
            ("2001:db8::1/64", "2001:db8::..=2001:db8::ffff:ffff:ffff:ffff"),
            ("::/0", "::..=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let found = network.parse::<Network>().unwrap().range();
            assert_eq!(format!("{}..={}", found.start(), found.end()), range, "{network}");
        }
    }

    #[test]
    fn strangers_learn_nothing_and_known_sources_reach_known_numbers() {
        let routes = routes();
        let closed = Admission::default();
        let open =
            Admission { unknown_sources: true, unknown_numbers: Some(Target::agent("demo")), ..Admission::default() };
        let check = |admission: &Admission, source: &str, user: &str, expected: Result<&str, Refusal>| {
            let caller = routes.caller(source.parse().expect("an address"));
            check(&routes, admission, &caller, user, expected);
        };
        check(&closed, "192.0.2.7", "+4930(12345)", Ok("agent reception"));
        check(&closed, "192.0.2.7", "4930.12345", Ok("agent reception"));
        check(&closed, "::ffff:192.0.2.7", "sales", Ok("agent sales"));
        check(&closed, "192.0.2.7", "Sales", Err(Refusal::UnknownNumber));
        check(&closed, "192.0.3.7", "sales", Err(Refusal::UnknownSource));
        check(&closed, "192.0.3.7", "nobody", Err(Refusal::UnknownSource));
        check(&open, "2001:db8::1", "", Ok("agent demo"));
        check(&open, "2001:db8::1", "sales", Ok("agent sales"));
    }

    #[test]
    fn only_known_callers_get_what_costs_money_and_only_users_reach_users_by_name() {
        let routes = routes();
        let open = Admission { unknown_sources: true, ..Admission::default() };
        let alice = Caller::User(AccountId::default(), "alice".to_owned());
        let elsewhere = Caller::User(AccountId("elsewhere".to_owned()), "eve".to_owned());
        check(&routes, &open, &Caller::Stranger, "out", Err(Refusal::NotAllowed));
        check(&routes, &open, &Caller::Known, "out", Ok("uri sip:out@192.0.2.99"));
        check(&routes, &open, &alice, "out", Ok("uri sip:out@192.0.2.99"));
        check(&routes, &open, &alice, "101", Ok("user 101"));
        check(&routes, &open, &Caller::Known, "101", Err(Refusal::UnknownNumber));
        check(&routes, &open, &Caller::Stranger, "101", Err(Refusal::UnknownNumber));
        check(&routes, &open, &elsewhere, "101", Err(Refusal::UnknownNumber));
        check(&routes, &open, &Caller::Stranger, "desk", Ok("user 101"));
        check(&routes, &Admission::default(), &Caller::Stranger, "desk", Err(Refusal::UnknownSource));
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
    fn check(routes: &Routes, admission: &Admission, caller: &Caller, user: &str, expected: Result<&str, Refusal>) {
        let found = routes.route(admission, caller, user).map(|it| match it.to {
            Destination::Agent(name) => format!("agent {}", name.0),
            Destination::Room(name) => format!("room {}", name.0),
            Destination::User(name) => format!("user {name}"),
            Destination::Uri(uri) => format!("uri {uri}"),
            Destination::Trunk(trunk, number) => format!("trunk {} {number}", trunk.0),
        });
        assert_eq!(found.as_deref().map_err(|it| *it), expected);
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        let to = |to| Target { account: AccountId::default(), to };
        routes.insert_number("+49 30 1234-5", Target::agent("reception"));
        routes.insert_number("sales", Target::agent("sales"));
        routes.insert_number("out", to(Destination::Uri("sip:out@192.0.2.99".parse().expect("a URI"))));
        routes.insert_number("desk", to(Destination::User("101".to_owned())));
        routes.insert_user(AccountId::default(), "101");
        routes.insert_source("192.0.2.0/24".parse().expect("a network"));
        routes
    }
}
