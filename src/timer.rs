//! Time as cores see it: [`Now`], handed in with every input, and [`Deadlines`], the ordered structure in which an
//! owner of many machines keeps their next deadlines instead of scanning them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// One moment on both clocks. Cores never read a clock: they are handed this.
///
/// Ordering and arithmetic follow the monotonic clock; the wall clock is for what people and other machines read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock, as time since the Unix epoch.
    pub unix: Duration,
}

impl Now {
    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.unix.as_millis()).unwrap_or(i64::MAX)
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }

    /// An arbitrary origin for simulated time.
    #[cfg(test)]
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of simulated time")]
    pub fn origin() -> Self {
        Self { instant: Instant::now(), unix: Duration::from_secs(1_700_000_000) }
    }
}

impl Add<Duration> for Now {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self { instant: self.instant + rhs, unix: self.unix + rhs }
    }
}

impl Sub for Now {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// The next deadline of each of many machines, in order. Setting, clearing and taking the earliest are logarithmic.
///
/// Holds at most one deadline a key, so it is bounded by the number of machines its owner keeps.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    of: BTreeMap<K, Instant>,
}

impl<K: Ord + Clone> Deadlines<K> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { order: BTreeSet::new(), of: BTreeMap::new() }
    }

    /// Sets, moves or (with `None`) clears the deadline of `key`.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.of.insert(key.clone(), at),
            None => self.of.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Removes and returns the key whose deadline is the earliest, if that is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.of.remove(&key);
        Some(key)
    }

    /// Whether `key` has a deadline.
    pub fn contains(&self, key: &K) -> bool {
        self.of.contains_key(key)
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl<K: Ord + Clone> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_out_in_order_and_only_when_due() {
        let start = Now::origin().instant;
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::new();
        deadlines.set("b", Some(at(20)));
        deadlines.set("a", Some(at(10)));
        deadlines.set("c", Some(at(30)));
        deadlines.set("a", Some(at(25)));
        deadlines.set("c", None);
        assert_eq!(deadlines.next(), Some(at(20)));
        assert_eq!(deadlines.pop_due(at(19)), None);
        assert_eq!(deadlines.pop_due(at(40)), Some("b"));
        assert_eq!(deadlines.pop_due(at(40)), Some("a"));
        assert_eq!(deadlines.pop_due(at(40)), None);
        assert!(deadlines.is_empty());
    }
}
