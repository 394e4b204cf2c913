//! UDP ports for RTP: pairs of an even and the following odd one (RFC 3550 §11), bound before they are offered.
//!
//! Pairs are given out in turn from a random start, so that a guess at the next one is as bad as it can be; one that was
//! in use rests for two seconds before it is given out again, so that late packets of one call cannot enter the next.
//! Pairs that other programs hold are skipped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use socket2::{Domain, Protocol, Socket, Type};

use super::clock;

/// All pairs of a range, on whatever addresses. A clone shares them.
#[derive(Clone, Debug)]
pub struct PortPool {
    shared: Arc<Mutex<Shared>>,
}

/// Two bound, non-blocking sockets. Dropping them gives the ports back.
#[derive(Debug)]
pub struct RtpSockets {
    /// On the even port.
    pub rtp: UdpSocket,
    /// On the odd port above it.
    pub rtcp: UdpSocket,
    /// After the sockets, so that they are closed before the ports are given back.
    _lease: Lease,
}

/// Two bound, non-blocking sockets that many legs share.
#[derive(Debug)]
pub struct SharedPair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    address: SocketAddr,
}

/// The sockets of a leg.
#[derive(Debug)]
pub enum LegSockets {
    /// Its own.
    Own(RtpSockets),
    /// Those of many: what comes from the leg's peer is the leg's.
    Shared(Arc<SharedPair>),
}

/// How many pairs there are, and what they are used for, over all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCounts {
    /// Given out.
    pub in_use: usize,
    /// Resting.
    pub in_quarantine: usize,
    /// In the range, for each address.
    pub pairs: usize,
}

/// Every pair is in use, resting, or held by another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTP port is free on {0}")]
pub struct PortsExhausted(pub IpAddr);

/// The range holds no pair of an even and an odd port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} to {} holds no even port with an odd one after it", .0.start(), .0.end())]
pub struct NoPortPair(pub RangeInclusive<u16>);

impl PortPool {
    /// All pairs within `ports`.
    ///
    /// # Errors
    ///
    /// [`NoPortPair`], if there is none.
    pub fn new(ports: RangeInclusive<u16>, rng: &mut ChaCha12Rng) -> Result<Self, NoPortPair> {
        let first = (*ports.start()).max(2).checked_next_multiple_of(2);
        let pairs = first.map_or(0, |first| (u32::from(*ports.end()) + 1).saturating_sub(u32::from(first)) / 2);
        let (Some(first), Ok(pairs @ 1..)) = (first, u16::try_from(pairs)) else {
            return Err(NoPortPair(ports));
        };
        let next = rng.random_range(0..pairs);
        let shared = Shared { first, pairs, next, by_address: BTreeMap::new() };
        Ok(Self { shared: Arc::new(Mutex::new(shared)) })
    }

    /// Binds the next free pair on `ip`.
    ///
    /// # Errors
    ///
    /// [`PortsExhausted`], if there is none, also because `ip` is not an address of this machine.
    pub fn allocate(&self, ip: IpAddr) -> Result<RtpSockets, PortsExhausted> {
        let now = clock::now().instant;
        let mut shared = self.lock();
        for _ in 0..shared.pairs {
            let Some(port) = shared.take_next(ip, now) else {
                continue;
            };
            match bind_pair(ip, port) {
                Ok((rtp, rtcp)) => return Ok(RtpSockets { rtp, rtcp, _lease: Lease { pool: self.clone(), ip, port } }),
                Err(error) => {
                    shared.give_back(ip, port, None);
                    if is_about_all(&error) {
                        tracing::error!(%error, "no socket can be had for media");
                        break;
                    }
                }
            }
        }
        Err(PortsExhausted(ip))
    }

    /// How many pairs are in use.
    pub fn counts(&self) -> PortCounts {
        let now = clock::now().instant;
        let mut shared = self.lock();
        let pairs = usize::from(shared.pairs);
        let mut counts = PortCounts { in_use: 0, in_quarantine: 0, pairs };
        for address in shared.by_address.values_mut() {
            address.release(now);
            counts.in_quarantine += address.resting.len();
            counts.in_use += address.taken.len() - address.resting.len();
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedPair {
    /// Binds an even port and the one after it.
    ///
    /// # Errors
    ///
    /// What the system says, mostly that another program has one of them.
    pub fn bind(ip: IpAddr, port: u16) -> io::Result<Self> {
        let (rtp, rtcp) = bind_pair(ip, port)?;
        // The packets of a thousand legs wait here. What the system does not grant is left out.
        socket2::SockRef::from(&rtp).set_recv_buffer_size(SHARED_BUFFER_BYTES).unwrap_or(());
        let address = rtp.local_addr()?;
        Ok(Self { rtp, rtcp, address })
    }

    /// Where RTP comes to.
    pub const fn rtp_address(&self) -> SocketAddr {
        self.address
    }
}

impl LegSockets {
    /// On the even port.
    pub fn rtp(&self) -> &UdpSocket {
        match self {
            Self::Own(own) => &own.rtp,
            Self::Shared(pair) => &pair.rtp,
        }
    }

    /// On the odd port above it.
    pub fn rtcp(&self) -> &UdpSocket {
        match self {
            Self::Own(own) => &own.rtcp,
            Self::Shared(pair) => &pair.rtcp,
        }
    }
}

/// The ports of `range` that the kernel may give to any program that asks for a port: RTP ports among them may be taken
/// when they are needed. `None` if there are none, or if the kernel does not say.
pub fn ephemeral_overlap(range: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    overlap(range, &text)
}

fn overlap(range: &RangeInclusive<u16>, kernel: &str) -> Option<RangeInclusive<u16>> {
    let mut bounds = kernel.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let overlap = first.max(*range.start())..=last.min(*range.end());
    (!overlap.is_empty()).then_some(overlap)
}

#[derive(Debug)]
struct Shared {
    /// The lowest even port.
    first: u16,
    pairs: u16,
    /// The pair to be tried next.
    next: u16,
    by_address: BTreeMap<IpAddr, Address>,
}

/// The even ports of one address.
#[derive(Debug, Default)]
struct Address {
    /// In use or resting.
    taken: BTreeSet<u16>,
    /// Resting, and until when, the earliest first.
    resting: VecDeque<(Instant, u16)>,
}

impl Shared {
    /// The even port of the next pair, if it is free.
    fn take_next(&mut self, ip: IpAddr, now: Instant) -> Option<u16> {
        let port = self.first + 2 * self.next;
        self.next = (self.next + 1) % self.pairs;
        let address = self.by_address.entry(ip).or_default();
        address.release(now);
        address.taken.insert(port).then_some(port)
    }

    fn give_back(&mut self, ip: IpAddr, port: u16, rest_until: Option<Instant>) {
        let Some(address) = self.by_address.get_mut(&ip) else {
            return;
        };
        match rest_until {
            Some(until) => address.resting.push_back((until, port)),
            None => {
                address.taken.remove(&port);
            }
        }
        if address.taken.is_empty() {
            self.by_address.remove(&ip);
        }
    }
}

impl Address {
    fn release(&mut self, now: Instant) {
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.taken.remove(&port);
        }
    }
}

#[derive(Debug)]
struct Lease {
    pool: PortPool,
    ip: IpAddr,
    port: u16,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let until = clock::now().instant + QUARANTINE;
        self.pool.lock().give_back(self.ip, self.port, Some(until));
    }
}

/// Whether no other port would do either.
fn is_about_all(error: &io::Error) -> bool {
    let raw = error.raw_os_error();
    raw.is_some_and(|it| [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL].contains(&it))
}

fn bind_pair(ip: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((bind(SocketAddr::new(ip, port))?, bind(SocketAddr::new(ip, port + 1))?))
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Expedited forwarding (RFC 3246) is a request to the network; a system that does not allow it is no reason to fail.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(EXPEDITED).unwrap_or(());
    } else {
        socket.set_tos_v4(EXPEDITED).unwrap_or(());
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

const SHARED_BUFFER_BYTES: usize = 4 << 20;
/// How long a pair rests after use.
const QUARANTINE: Duration = Duration::from_secs(2);
/// DSCP 46, above the two bits of ECN.
const EXPEDITED: u32 = 46 << 2;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use rand::SeedableRng;

    use super::*;

    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// A loopback address on which no other process tests at the same time.
    fn v4() -> IpAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, high, low, 77).into()
    }

    #[test]
    fn pairs_are_even_and_odd_and_bound() {
        let pool = pool(21_001..=21_041);
        for ip in [v4(), V6] {
            let sockets = pool.allocate(ip).unwrap();
            let (rtp, rtcp) = (sockets.rtp.local_addr().unwrap(), sockets.rtcp.local_addr().unwrap());
            assert_eq!((rtp.ip(), rtp.port() % 2, rtp.port() + 1), (ip, 0, rtcp.port()));
            assert!((21_002..=21_040).contains(&rtp.port()));
            let error = sockets.rtp.recv(&mut [0; 9]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_range_runs_out_and_used_pairs_rest() {
        let pool = pool(21_100..=21_107);
        let mut sockets: Vec<_> = (0..4).map(|_| pool.allocate(v4()).unwrap()).collect();
        assert_eq!(pool.allocate(v4()).unwrap_err(), PortsExhausted(v4()));
        assert!(pool.allocate(V6).is_ok(), "another address has its own ports");
        let freed = sockets.pop().unwrap().rtp.local_addr().unwrap().port();
        assert_eq!(pool.allocate(v4()).unwrap_err(), PortsExhausted(v4()));
        assert_eq!(pool.counts(), PortCounts { in_use: 3, in_quarantine: 2, pairs: 4 });

        let mut shared = pool.lock();
        let now = clock::now().instant;
        let take_all = |shared: &mut Shared, now| (0..4).find_map(|_| shared.take_next(v4(), now));
        assert_eq!(take_all(&mut shared, now + QUARANTINE / 2), None);
        assert_eq!(take_all(&mut shared, now + QUARANTINE), Some(freed));
    }

    #[test]
    fn pairs_that_others_hold_are_skipped() {
        let odd = UdpSocket::bind((v4(), 21_203)).unwrap();
        let pool = pool(21_200..=21_205);
        let ports: BTreeSet<_> = (0..2).map(|_| pool.allocate(v4()).unwrap()).map(port_of).collect();
        assert!(!ports.contains(&21_202), "{ports:?}");
        assert!(pool.allocate(v4()).is_err());
        drop(odd);
    }

    #[test]
    fn pairs_are_given_out_in_turn_from_a_random_start() {
        let pool = pool(21_300..=21_399);
        let ports: Vec<_> = (0..50).map(|_| port_of(pool.allocate(v4()).unwrap())).collect();
        let turned = ports.windows(2).filter(|it| it[1] != it[0] + 2).count();
        assert!(turned <= 1, "{ports:?}");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 50);
    }

    #[test]
    fn a_range_without_a_pair_is_refused() {
        for range in [21_001..=21_002, 65_535..=65_535, RangeInclusive::new(9, 1), 0..=1] {
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            assert!(PortPool::new(range.clone(), &mut rng).is_err(), "{range:?}");
        }
        assert_eq!(pool(65_534..=65_535).counts().pairs, 1);
        assert_eq!(pool(16_384..=32_767).counts().pairs, 8_192);
    }

    #[test]
    fn an_overlap_with_the_kernels_own_range_is_told() {
        assert_eq!(overlap(&(16_384..=32_767), "32768\t60999\n"), None);
        assert_eq!(overlap(&(30_000..=40_000), "32768\t60999\n"), Some(32_768..=40_000));
        assert_eq!(overlap(&(1..=65_535), "32768 60999"), Some(32_768..=60_999));
        assert_eq!(overlap(&(1..=65_535), "what"), None);
    }

    fn pool(ports: RangeInclusive<u16>) -> PortPool {
        PortPool::new(ports, &mut ChaCha12Rng::seed_from_u64(11)).unwrap()
    }

    fn port_of(sockets: RtpSockets) -> u16 {
        sockets.rtp.local_addr().unwrap().port()
    }
}
