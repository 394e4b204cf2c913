//! How much one source may send: token buckets (ITU-T I.371's leaky bucket, as a virtual schedule), and which sources are
//! known. Unknown ones, the scanners of every public address among them, get a tighter bucket.
//!
//! A source is an IPv4 address or an IPv6 /64. It is known for an hour after it had a request admitted (a call, a
//! registration), or after we sent it a request of ours. Being refused makes nobody known.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::limits::{SOURCE_KNOWN_S, SOURCES_CROWD_BUCKETS, SOURCES_HELD_MAX, SOURCES_KNOWN_MAX};
use crate::timer::Deadlines;

/// How many messages a source may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Of any source. `None` is no limit.
    pub messages: Option<Rate>,
    /// Requests of a source that is not known. `None` is no other limit than that of any source.
    pub unknown_requests: Option<Rate>,
    /// Sources that are never limited: a proxy of ours, which speaks for the whole world.
    pub exempt: Vec<IpNet>,
}

impl SourceLimits {
    /// No limits.
    pub const fn none() -> Self {
        Self { messages: None, unknown_requests: None, exempt: vec![] }
    }
}

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run; at least 1.
    pub per_s: u32,
    /// At once, after a pause; at least 1.
    pub burst: u32,
}

/// Why something is not taken from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooFast {
    /// It is known, or nobody asks.
    Anybody,
    /// It is not known.
    Unknown,
}

/// The sources of messages.
#[derive(Debug)]
pub(crate) struct Sources {
    exempt: Vec<IpNet>,
    all: Option<Rates>,
    unknown: Option<Rates>,
    known: Known,
}

impl Sources {
    pub(crate) fn new(limits: SourceLimits, secret: u64) -> Self {
        Self {
            exempt: limits.exempt,
            all: limits.messages.map(|it| Rates::new(it, secret)),
            unknown: limits.unknown_requests.map(|it| Rates::new(it, secret)),
            known: Known::default(),
        }
    }

    /// Counts a message of `source` and says whether it may be taken.
    pub(crate) fn admit(&mut self, source: IpAddr, is_request: bool, now: Instant) -> Result<(), TooFast> {
        if self.is_exempt(source) {
            return Ok(());
        }
        if let Some(unknown) = self.unknown.as_mut().filter(|_| is_request)
            && !self.known.contains(source, now)
            && !unknown.take(source, now)
        {
            return Err(TooFast::Unknown);
        }
        let is_in_time = self.all.as_mut().is_none_or(|it| it.take(source, now));
        if is_in_time { Ok(()) } else { Err(TooFast::Anybody) }
    }

    /// From here on `source` is known.
    pub(crate) fn note_known(&mut self, source: IpAddr, now: Instant) {
        if self.unknown.is_some() && !self.is_exempt(source) {
            self.known.insert(source, now);
        }
    }

    fn is_exempt(&self, source: IpAddr) -> bool {
        let is_limited = self.all.is_some() || self.unknown.is_some();
        !is_limited || is_in(&self.exempt, source)
    }
}

/// Whether `source` is in one of `networks`. An IPv4 address written as IPv6 counts as the IPv4 address.
pub(crate) fn is_in(networks: &[IpNet], source: IpAddr) -> bool {
    networks.iter().any(|it| it.contains(&source.to_canonical()))
}

/// Known sources, each until its time is over.
///
/// At most [`SOURCES_KNOWN_MAX`]; beyond it the one that was heard of longest ago is forgotten.
#[derive(Debug, Default)]
struct Known {
    until: Deadlines<IpAddr>,
    of: BTreeMap<IpAddr, Instant>,
}

impl Known {
    fn contains(&self, source: IpAddr, now: Instant) -> bool {
        self.of.get(&key(source)).is_some_and(|it| *it > now)
    }

    fn insert(&mut self, source: IpAddr, now: Instant) {
        let (source, time) = (key(source), Duration::from_secs(SOURCE_KNOWN_S));
        // A source that is heard of all the time is not moved all the time.
        if self.of.get(&source).is_some_and(|it| *it > now + time / 2) {
            return;
        }
        while let Some(over) = self.until.pop_due(now) {
            self.of.remove(&over);
        }
        if self.of.len() >= SOURCES_KNOWN_MAX
            && let Some(oldest) = self.until.next().and_then(|at| self.until.pop_due(at))
        {
            self.of.remove(&oldest);
        }
        self.of.insert(source, now + time);
        self.until.set(source, Some(now + time));
    }
}

/// A token bucket for each source.
///
/// Only a source whose bucket is not full is held, at most [`SOURCES_HELD_MAX`] of them, so that nothing is lost by
/// forgetting one: it is forgotten when its bucket is full again, and never to make room. A source that finds no room
/// shares one of [`SOURCES_CROWD_BUCKETS`] buckets with others, chosen by a secret, until there is room again. So whoever
/// fills the table with invented sources throttles newcomers, and neither frees himself nor stops those who are held.
#[derive(Debug)]
pub(crate) struct Rates {
    interval: Duration,
    depth: Duration,
    /// When the bucket of each source is full again.
    full_at: BTreeMap<IpAddr, Instant>,
    looked_at: Deadlines<IpAddr>,
    crowd: Vec<Option<Instant>>,
    secret: u64,
}

impl Rates {
    /// Full buckets. `secret` keeps sources from choosing with whom they share one.
    pub(crate) fn new(rate: Rate, secret: u64) -> Self {
        let interval = Duration::from_secs(1) / rate.per_s.max(1);
        Self {
            interval,
            depth: interval.saturating_mul(rate.burst.max(1)),
            full_at: BTreeMap::new(),
            looked_at: Deadlines::new(),
            crowd: vec![None; SOURCES_CROWD_BUCKETS],
            secret,
        }
    }

    /// Takes one token of `source`; false if there is none, and then nothing is taken.
    pub(crate) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        self.forget(now);
        let source = key(source);
        let (interval, depth) = (self.interval, self.depth);
        if let Some(full_at) = self.full_at.get_mut(&source) {
            return take(full_at, interval, depth, now);
        }
        if self.full_at.len() < SOURCES_HELD_MAX {
            let full_at = now + interval;
            self.full_at.insert(source, full_at);
            self.looked_at.set(source, Some(full_at));
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (self.secret, source).hash(&mut hasher);
        let slots = u64::try_from(self.crowd.len()).unwrap_or(u64::MAX).max(1);
        let slot = usize::try_from(hasher.finish() % slots).unwrap_or_default();
        match self.crowd.get_mut(slot) {
            Some(shared) => take(shared.get_or_insert(now), interval, depth, now),
            None => false,
        }
    }

    /// Lets go of the sources whose buckets are full.
    fn forget(&mut self, now: Instant) {
        while let Some(source) = self.looked_at.pop_due(now) {
            match self.full_at.get(&source) {
                Some(full_at) if *full_at > now => self.looked_at.set(source, Some(*full_at)),
                Some(_) | None => drop(self.full_at.remove(&source)),
            }
        }
    }
}

fn take(full_at: &mut Instant, interval: Duration, depth: Duration, now: Instant) -> bool {
    let after = (*full_at).max(now) + interval;
    let is_there = after.saturating_duration_since(now) <= depth;
    if is_there {
        *full_at = after;
    }
    is_there
}

/// What counts as one source.
pub(crate) fn key(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(it) => IpAddr::V4(it),
        IpAddr::V6(it) => {
            let [a, b, c, d, ..] = it.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::Now;

    #[test]
    fn a_source_may_burst_and_then_goes_at_its_rate() {
        let mut rates = Rates::new(Rate { per_s: 10, burst: 3 }, 1);
        let start = Now::origin().instant;
        // Milliseconds, the source, whether it is let through.
        for (ms, source, expected) in [
            (0, "192.0.2.1", "yes yes yes no no"),
            (0, "192.0.2.2", "yes"),
            (100, "192.0.2.1", "yes no"),
            (100, "::ffff:192.0.2.1", "no"),
            (150, "192.0.2.1", "no"),
            (200, "192.0.2.1", "yes no"),
            (10_000, "192.0.2.1", "yes yes yes no"),
            (0, "2001:db8:1:2::1", "yes yes"),
            (0, "2001:db8:1:2:ffff::1", "yes no"),
            (0, "2001:db8:1:3::1", "yes"),
        ] {
            let at = start + Duration::from_millis(ms);
            for (index, word) in expected.split(' ').enumerate() {
                assert_eq!(rates.take(ip(source), at), word == "yes", "{source} at {ms} ms, number {index}");
            }
        }
    }

    #[test]
    fn nobody_is_forgotten_before_his_bucket_is_full() {
        let mut rates = Rates::new(Rate { per_s: 1, burst: 2 }, 1);
        let start = Now::origin().instant;
        let attacker = ip("198.51.100.1");
        assert!(rates.take(attacker, start) && rates.take(attacker, start) && !rates.take(attacker, start));
        // He invents as many sources as he likes.
        for number in 0..u32::try_from(SOURCES_HELD_MAX + 2_000).expect("few enough") {
            rates.take(IpAddr::V4((0x0a00_0000 + number).into()), start);
        }
        assert_eq!(rates.full_at.len(), SOURCES_HELD_MAX);
        assert!(!rates.take(attacker, start), "he is held all the same");
        // Newcomers share what is left, until the table is free again.
        let newcomers = (0..10_000_u32).filter(|it| rates.take(IpAddr::V4((0xc000_0000 + it).into()), start)).count();
        assert!(newcomers <= SOURCES_CROWD_BUCKETS * 2, "{newcomers}");
        let later = start + Duration::from_secs(3);
        assert!(rates.take(attacker, later));
        assert_eq!((rates.full_at.len(), rates.looked_at.len()), (1, 1));
    }

    #[test]
    fn unknown_sources_are_held_tighter_until_they_are_known() {
        let limits = SourceLimits {
            messages: Some(Rate { per_s: 1, burst: 5 }),
            unknown_requests: Some(Rate { per_s: 1, burst: 2 }),
            exempt: vec!["127.0.0.0/8".parse().expect("a network")],
        };
        let mut sources = Sources::new(limits, 1);
        let start = Now::origin().instant;
        let admit = |sources: &mut Sources, source: &str, is_request| sources.admit(ip(source), is_request, start);
        for expected in [Ok(()), Ok(()), Err(TooFast::Unknown)] {
            assert_eq!(admit(&mut sources, "192.0.2.1", true), expected);
        }
        // Answers to what we sent are no requests.
        assert_eq!(admit(&mut sources, "192.0.2.1", false), Ok(()));
        sources.note_known(ip("192.0.2.1"), start);
        for expected in [Ok(()), Ok(()), Err(TooFast::Anybody)] {
            assert_eq!(admit(&mut sources, "192.0.2.1", true), expected);
        }
        for _ in 0..1_000 {
            assert_eq!(admit(&mut sources, "127.0.0.1", true), Ok(()));
        }
        let later = start + Duration::from_secs(SOURCE_KNOWN_S);
        assert!(!sources.known.contains(ip("192.0.2.1"), later), "an hour later he is a stranger again");
    }

    #[test]
    fn known_sources_are_bounded() {
        let mut known = Known::default();
        let start = Now::origin().instant;
        for number in 0..=u32::try_from(SOURCES_KNOWN_MAX).expect("few enough") {
            known.insert(IpAddr::V4(number.into()), start + Duration::from_millis(number.into()));
        }
        assert_eq!((known.of.len(), known.until.len()), (SOURCES_KNOWN_MAX, SOURCES_KNOWN_MAX));
        assert!(!known.contains(ip("0.0.0.0"), start) && known.contains(ip("0.0.0.1"), start));
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }
}
