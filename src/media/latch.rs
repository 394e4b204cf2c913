//! From whom a leg takes RTP, and where it sends its own (symmetric RTP, RFC 4961, 7362).
//!
//! The address of the peer's SDP always counts. Another source is followed only on the host that signalling named as the
//! peer's public one, only the first of them, and only until the SDP address itself is heard. Nothing but signalling
//! undoes this, so a stranger can neither take over a stream nor listen to one: after a re-INVITE, another source is followed
//! once more if the one that was followed is silent, as it is when a NAT has given the peer another port.

use std::net::{IpAddr, SocketAddr};

/// Who else than the address of the peer's SDP may turn out to be the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Latching {
    /// Nobody.
    #[default]
    Exact,
    /// The first source on this host, whatever its port: the peer is behind a NAT that rewrites ports.
    Host(IpAddr),
}

/// The host to latch on to, if the peer seems to be behind a NAT: its SDP names an address that only its own network
/// knows, and its signalling came from a host outside of that.
pub fn host_behind_nat(sdp: IpAddr, signalling: IpAddr) -> Latching {
    let (sdp, signalling) = (sdp.to_canonical(), signalling.to_canonical());
    if sdp != signalling && is_private(sdp) { Latching::Host(signalling) } else { Latching::Exact }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latch {
    sdp: SocketAddr,
    rule: Latching,
    learned: Option<SocketAddr>,
    sdp_was_heard: bool,
    /// Signalling has spoken since the source was learned.
    may_learn_again: bool,
}

impl Latch {
    pub(super) fn new(sdp: SocketAddr, rule: Latching) -> Self {
        let rule = match rule {
            Latching::Exact => Latching::Exact,
            Latching::Host(host) => Latching::Host(host.to_canonical()),
        };
        Self { sdp: canonical(sdp), rule, learned: None, sdp_was_heard: false, may_learn_again: false }
    }

    /// Signalling has said once more that the peer is there, and that it may send.
    pub(super) const fn renew(&mut self) {
        self.may_learn_again = self.learned.is_some();
    }

    /// Whether a packet from there may be the peer's, of which nothing has come for a while if it `is_silent`.
    pub(super) fn admits(&self, from: SocketAddr, is_silent: bool) -> bool {
        let from = canonical(from);
        let may_learn = !self.sdp_was_heard && (self.learned.is_none() || (self.may_learn_again && is_silent));
        from == self.sdp || self.learned == Some(from) || (may_learn && self.rule == Latching::Host(from.ip()))
    }

    /// Takes note of a valid packet from a source that is admitted. Returns whether the peer has another source now.
    pub(super) fn follow(&mut self, from: SocketAddr) -> bool {
        let from = canonical(from);
        if from == self.sdp {
            self.sdp_was_heard = true;
            self.learned.take().is_some()
        } else {
            let is_another = self.learned.replace(from) != Some(from);
            self.may_learn_again &= !is_another;
            is_another
        }
    }

    /// Where to send.
    pub(super) fn destination(&self) -> SocketAddr {
        self.learned.unwrap_or(self.sdp)
    }

    /// Whether the peer is somewhere else than its SDP says.
    pub(super) const fn is_learned(&self) -> bool {
        self.learned.is_some()
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Not routed on the Internet: RFC 1918, 6598, 3927, 4193, loopback and unspecified addresses.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let [a, b, ..] = it.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            it.is_private() || it.is_link_local() || it.is_loopback() || it.is_unspecified() || is_shared
        }
        IpAddr::V6(it) => it.is_unique_local() || it.is_unicast_link_local() || it.is_loopback() || it.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "192.0.2.1:4000";

    #[test]
    fn only_the_sdp_address_counts_by_default() {
        check(Latching::Exact, &[("192.0.2.1:4002", false), ("198.51.100.9:4000", false), (SDP, true)], SDP);
        check(Latching::Exact, &[(SDP, true), ("192.0.2.1:4002", false), (SDP, true)], SDP);
        check(Latching::Exact, &[("[::ffff:192.0.2.1]:4000", true)], SDP);
    }

    #[test]
    fn the_first_source_on_the_named_host_is_kept() {
        let rule = Latching::Host("203.0.113.5".parse().unwrap());
        check(
            rule,
            &[
                ("198.51.100.9:4000", false),
                ("203.0.113.5:61000", true),
                ("203.0.113.5:61001", false),
                ("198.51.100.9:4000", false),
                ("203.0.113.5:61000", true),
            ],
            "203.0.113.5:61000",
        );
    }

    #[test]
    fn the_sdp_address_wins_over_a_learned_one() {
        let rule = Latching::Host("203.0.113.5".parse().unwrap());
        let packets = [("203.0.113.5:61000", true), (SDP, true), ("203.0.113.5:61000", false), (SDP, true)];
        check(rule, &packets, SDP);
    }

    #[test]
    fn after_signalling_another_source_is_followed_if_the_one_before_is_silent() {
        let [first, second, third] =
            ["203.0.113.5:61000", "203.0.113.5:61001", "203.0.113.5:61002"].map(|it| it.parse().unwrap());
        let mut latch = Latch::new(SDP.parse().unwrap(), Latching::Host("203.0.113.5".parse().unwrap()));
        latch.follow(first);
        assert!(!latch.admits(second, true), "signalling has said nothing");
        latch.renew();
        assert!(!latch.admits(second, false) && latch.admits(second, true));
        assert!(!latch.admits("198.51.100.9:4000".parse().unwrap(), true));
        assert!(latch.follow(second) && latch.destination() == second);
        assert!(!latch.admits(third, true) && !latch.admits(first, true), "once");
        // Where the SDP address itself is heard, nobody is learned.
        latch.follow(SDP.parse().unwrap());
        latch.renew();
        assert!(!latch.admits(third, true));
    }

    #[test]
    fn a_private_sdp_address_from_elsewhere_means_nat() {
        let host = |text: &str| text.parse::<IpAddr>().unwrap();
        for private in ["10.1.2.3", "192.168.1.4", "100.64.0.1", "169.254.1.1", "fd00::1", "::ffff:10.0.0.1"] {
            let public = host("203.0.113.5");
            assert_eq!(host_behind_nat(host(private), public), Latching::Host(public), "{private}");
            assert_eq!(host_behind_nat(host(private), host(private)), Latching::Exact, "{private}");
        }
        // A carrier's media gateway is not its signalling host.
        assert_eq!(host_behind_nat(host("192.0.2.1"), host("203.0.113.5")), Latching::Exact);
    }

    #[track_caller]
    fn check(rule: Latching, packets: &[(&str, bool)], destination: &str) {
        let mut latch = Latch::new(SDP.parse().unwrap(), rule);
        assert_eq!(latch.destination(), SDP.parse().unwrap());
        for (index, (from, admitted)) in packets.iter().enumerate() {
            let from = from.parse().unwrap();
            assert_eq!(latch.admits(from, true), *admitted, "packet {index}");
            if *admitted {
                latch.follow(from);
            }
        }
        assert_eq!(latch.destination(), destination.parse().unwrap());
    }
}
