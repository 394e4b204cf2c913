//! Media ports that many legs share: a pair for each media thread and local address, for peers whose media addresses are
//! exact. A packet finds its leg by where it comes from, so no two legs of a pair may have the same remote address: a leg
//! whose peer offers one that is taken gets ports of its own.
//!
//! What we offer names our port before the peer's address is known. Should its answer name an address that is taken, the
//! leg moves to ports of its own, which its peer is told of by another offer, and so do those that are offered to that host
//! later from the beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smallvec::SmallVec;

use super::ports::SharedPair;
use crate::dialog::offer_answer::MediaDescription;
use crate::identity::LegId;
use crate::limits::AMBIGUOUS_HOSTS_MAX;
use crate::media::{Latching, RemoteMedia};
use crate::route::Network;

/// Who shares ports, and which of their addresses are taken.
#[derive(Debug, Default)]
pub(crate) struct SharedPorts {
    config: SharedPortsConfig,
    /// By media thread and local address; `None` if that pair could not be had.
    pairs: BTreeMap<(usize, IpAddr), Option<Arc<SharedPair>>>,
    legs: BTreeMap<LegId, Held>,
    /// Remote addresses of each port.
    taken: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Hosts that have answered with an address that was taken.
    ambiguous: BTreeSet<IpAddr>,
    conflicts: u64,
}

/// What is configured of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedPortsConfig {
    /// The RTP port of the first media thread; each has the two after those of the one before. `None`: nobody shares.
    pub(crate) first: Option<u16>,
    /// From where the signalling of peers comes whose media addresses are exact.
    pub(crate) exact: Vec<Network>,
    /// The same of peers whose media come from the host of their SDP, but maybe from another port.
    pub(crate) any_port: Vec<Network>,
}

/// An answer names an address that is another leg's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressTaken;

#[derive(Debug)]
struct Held {
    pair: Arc<SharedPair>,
    /// The ends of its flows, ours first.
    flows: SmallVec<[(SocketAddr, SocketAddr); 2]>,
}

impl SharedPorts {
    pub(crate) fn new(config: SharedPortsConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Who else than the address of its SDP may turn out to be this peer, which is `latching` if nothing is configured.
    pub(crate) fn latching(&self, peer: IpAddr, remote: &RemoteMedia) -> Latching {
        let is_any_port = || self.config.any_port.iter().any(|it| it.contains(peer));
        match remote.latching {
            _ if self.is_exact(peer) => Latching::Exact,
            Latching::Exact if is_any_port() => Latching::Host(remote.rtp.ip()),
            latching @ (Latching::Exact | Latching::Host(_)) => latching,
        }
    }

    /// Whether media from nowhere else than the address of its SDP is this peer's.
    fn is_exact(&self, peer: IpAddr) -> bool {
        self.config.exact.iter().any(|it| it.contains(peer))
    }

    /// How often an address was taken.
    pub(crate) const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The ports for a leg of a media thread whose peer `offers` or will be offered something; `None` if it should have
    /// ports of its own.
    pub(crate) fn open(
        &mut self,
        leg: LegId,
        thread: usize,
        local_ip: IpAddr,
        peer: IpAddr,
        offers: Option<&MediaDescription>,
    ) -> Option<Arc<SharedPair>> {
        let first = self.config.first.filter(|_| self.is_exact(peer))?;
        if offers.is_some_and(|it| it.webrtc.is_some()) {
            return None;
        }
        if offers.is_none() && self.ambiguous.contains(&peer.to_canonical()) {
            return None;
        }
        let pair = self.pairs.entry((thread, local_ip)).or_insert_with(|| bind(first, thread, local_ip)).clone()?;
        self.legs.insert(leg, Held { pair: Arc::clone(&pair), flows: SmallVec::new() });
        if let Some(offers) = offers
            && self.take(leg, [offers.rtp, offers.rtcp]).is_err()
        {
            self.close(leg);
            return None;
        }
        Some(pair)
    }

    /// A leg's peer has said where it is. Nothing changes if that is taken, or if the leg has ports of its own.
    ///
    /// # Errors
    ///
    /// [`AddressTaken`].
    pub(crate) fn update(&mut self, leg: LegId, peer: IpAddr, remote: &RemoteMedia) -> Result<(), AddressTaken> {
        let taken = self.take(leg, [remote.rtp, remote.rtcp]);
        if taken.is_err() && self.ambiguous.len() < AMBIGUOUS_HOSTS_MAX {
            self.ambiguous.insert(peer.to_canonical());
        }
        taken
    }

    /// A leg gets ports of its own; the local address of those that it had. `None` if it shares none.
    pub(crate) fn leave(&mut self, leg: LegId) -> Option<IpAddr> {
        let held = self.legs.remove(&leg)?;
        self.give_back(&held);
        Some(held.pair.rtp_address().ip())
    }

    /// A leg is over, or has not come to be.
    pub(crate) fn close(&mut self, leg: LegId) {
        if let Some(held) = self.legs.remove(&leg) {
            self.give_back(&held);
        }
    }

    fn take(&mut self, leg: LegId, [rtp, rtcp]: [SocketAddr; 2]) -> Result<(), AddressTaken> {
        let Some(mut held) = self.legs.remove(&leg) else {
            return Ok(());
        };
        self.give_back(&held);
        let ours = held.pair.rtp_address();
        let mut flows: SmallVec<[_; 2]> = SmallVec::new();
        // Held media names no address, or no port.
        if !rtp.ip().is_unspecified() && rtp.port() != 0 {
            flows.push((ours, canonical(rtp)));
            if rtcp != rtp {
                flows.push((SocketAddr::new(ours.ip(), ours.port() + 1), canonical(rtcp)));
            }
        }
        let is_taken = flows.iter().any(|it| self.taken.contains(it));
        if is_taken {
            self.conflicts += 1;
        } else {
            held.flows = flows;
        }
        self.taken.extend(held.flows.iter().copied());
        self.legs.insert(leg, held);
        if is_taken { Err(AddressTaken) } else { Ok(()) }
    }

    fn give_back(&mut self, held: &Held) {
        for flow in &held.flows {
            self.taken.remove(flow);
        }
    }
}

/// The pair of a media thread. Without it, legs have ports of their own.
fn bind(first: u16, thread: usize, ip: IpAddr) -> Option<Arc<SharedPair>> {
    let port = u16::try_from(thread).ok().and_then(|it| first.checked_add(it.checked_mul(2)?));
    let Some(port) = port.filter(|it| *it < u16::MAX) else {
        tracing::error!(thread, "there is no shared media port left for a media thread: its legs have their own");
        return None;
    };
    match SharedPair::bind(ip, port) {
        Ok(pair) => Some(Arc::new(pair)),
        Err(error) => {
            tracing::error!(%ip, port, %error, "a shared media port cannot be opened: legs have their own");
            None
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::codec::{AudioCodec, OpusSettings};
    use crate::identity::CallId;
    use crate::media::Latching;

    #[test]
    fn an_address_has_one_leg() {
        let mut shared = shared();
        let (first, second, third) = (leg(1), leg(2), leg(3));
        assert!(open(&mut shared, first) && open(&mut shared, second) && open(&mut shared, third));
        assert_eq!(shared.update(first, PEER, &remote(4_000)), Ok(()));
        assert_eq!(shared.update(second, PEER, &remote(4_001)), Ok(()), "where the RTCP of another comes from");
        assert_eq!(shared.update(second, PEER, &remote(4_002)), Ok(()));
        assert_eq!(shared.update(second, PEER, &remote(4_002)), Ok(()), "once more the same");
        assert_eq!(shared.update(third, PEER, &remote(4_000)), Err(AddressTaken));
        assert_eq!(shared.conflicts(), 1);
        let fourth = leg(4);
        assert!(!open(&mut shared, fourth), "that host is not to be told apart by address");
        shared.close(first);
        assert_eq!(shared.update(third, PEER, &remote(4_000)), Ok(()));
        assert_eq!(shared.update(second, PEER, &remote(4_000)), Err(AddressTaken));
        shared.close(third);
        assert_eq!(shared.update(second, PEER, &remote(4_002)), Ok(()), "it has kept its own");
        shared.close(second);
        shared.close(fourth);
        assert!(shared.legs.is_empty() && shared.taken.is_empty());
    }

    #[test]
    fn held_media_takes_no_address() {
        let mut shared = shared();
        let (first, second) = (leg(1), leg(2));
        assert!(open(&mut shared, first) && open(&mut shared, second));
        for leg in [first, second] {
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4_000));
            assert_eq!(shared.update(leg, PEER, &RemoteMedia { rtp: nowhere, rtcp: nowhere, ..remote(9) }), Ok(()));
            assert_eq!(shared.update(leg, PEER, &remote(0)), Ok(()));
        }
    }

    #[test]
    fn a_peer_may_send_from_another_port_if_that_is_said_of_it() {
        let gateway: IpAddr = "203.0.113.20".parse().unwrap();
        let config = SharedPortsConfig { any_port: vec![gateway.into()], exact: vec![PEER.into()], first: None };
        let shared = SharedPorts::new(config);
        let told = remote(4_000);
        assert_eq!(shared.latching(gateway, &told), Latching::Host(told.rtp.ip()));
        let behind_nat = RemoteMedia { latching: Latching::Host(gateway), ..told };
        assert_eq!(shared.latching(gateway, &behind_nat), Latching::Host(gateway));
        assert_eq!(shared.latching(PEER, &behind_nat), Latching::Exact);
        assert_eq!(shared.latching("203.0.113.21".parse().unwrap(), &told), Latching::Exact);
    }

    #[test]
    fn only_exact_peers_share_and_only_where_a_port_is() {
        let mut shared = shared();
        let stranger = "192.0.2.9".parse().unwrap();
        assert!(shared.open(leg(1), 0, local(), stranger, None).is_none());
        assert!(shared.open(leg(1), 60_000, local(), PEER, None).is_none(), "beyond the last port");
        let mut off = SharedPorts::new(SharedPortsConfig { first: None, ..shared.config.clone() });
        assert!(off.is_exact(PEER) && off.open(leg(1), 0, local(), PEER, None).is_none());
        let a = shared.open(leg(1), 0, local(), PEER, None).unwrap();
        let b = shared.open(leg(2), 0, local(), PEER, None).unwrap();
        let c = shared.open(leg(3), 1, local(), PEER, None).unwrap();
        assert!(Arc::ptr_eq(&a, &b) && a.rtp_address().port() + 2 == c.rtp_address().port());
    }

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn shared() -> SharedPorts {
        SharedPorts::new(SharedPortsConfig { first: Some(15_400), exact: vec![PEER.into()], any_port: vec![] })
    }

    /// An address on which no other process tests at the same time.
    fn local() -> IpAddr {
        static TESTS: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(90);
        thread_local!(static HERE: u8 = TESTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let [.., high, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, high, low, HERE.with(|it| *it)).into()
    }

    fn open(shared: &mut SharedPorts, leg: LegId) -> bool {
        shared.open(leg, 0, local(), PEER, None).is_some()
    }

    fn leg(number: u64) -> LegId {
        LegId { call: CallId::generate(&mut ChaCha12Rng::seed_from_u64(number), 0), index: 0 }
    }

    fn remote(port: u16) -> RemoteMedia {
        RemoteMedia {
            rtp: SocketAddr::from(([192, 0, 2, 1], port)),
            rtcp: SocketAddr::from(([192, 0, 2, 1], port + 1)),
            latching: Latching::Exact,
            codec: AudioCodec::Pcmu,
            payload_type: 0,
            received_payload_type: 0,
            ptime_ms: 20,
            maxptime_ms: None,
            opus: OpusSettings::default(),
            comfort_noise: None,
            telephone_event: None,
            send: true,
            receive: true,
        }
    }
}
