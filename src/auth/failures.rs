//! Who guesses passwords: wrong credentials are counted by source, and a source with too many is not listened to for a
//! while. Others are not affected.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::limits::{AUTH_FAILURES_MAX, AUTH_FAILURES_S, AUTH_SOURCES_MAX};
use crate::timer::{Deadlines, Now};

/// Counts of wrong credentials.
///
/// At most `AUTH_SOURCES_MAX` sources are counted; beyond it the one whose time ends first is forgotten.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: BTreeMap<IpAddr, u32>,
    ends: Deadlines<IpAddr>,
}

impl Failures {
    /// Whether a source is not listened to.
    pub(super) fn is_blocked(&mut self, source: IpAddr, now: Now) -> bool {
        self.forget_until(now.instant);
        self.counts.get(&network(source)).is_some_and(|it| *it >= AUTH_FAILURES_MAX)
    }

    /// A source has shown wrong credentials.
    pub(super) fn count(&mut self, source: IpAddr, now: Now) {
        let source = network(source);
        if !self.counts.contains_key(&source) {
            if self.counts.len() >= AUTH_SOURCES_MAX
                && let Some(next) = self.ends.next()
                && let Some(oldest) = self.ends.pop_due(next)
            {
                self.counts.remove(&oldest);
            }
            self.ends.set(source, Some(now.instant + Duration::from_secs(AUTH_FAILURES_S)));
        }
        let count = self.counts.entry(source).or_default();
        *count = count.saturating_add(1);
    }

    fn forget_until(&mut self, now: Instant) {
        while let Some(source) = self.ends.pop_due(now) {
            self.counts.remove(&source);
        }
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> 64 << 64)),
        it @ IpAddr::V4(_) => it,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_guesses_is_not_listened_to_for_a_while() {
        let start = Now::origin();
        let mut failures = Failures::default();
        for _ in 0..AUTH_FAILURES_MAX {
            assert!(!failures.is_blocked(address("2001:db8::1"), start));
            failures.count(address("2001:db8::2"), start);
        }
        assert!(failures.is_blocked(address("2001:db8::1"), start));
        assert!(!failures.is_blocked(address("2001:db8:0:1::1"), start));
        assert!(!failures.is_blocked(address("2001:db8::1"), start + Duration::from_secs(AUTH_FAILURES_S)));
        assert!(failures.counts.is_empty() && failures.ends.is_empty());
    }

    #[test]
    fn sources_are_bounded() {
        let now = Now::origin();
        let mut failures = Failures::default();
        for number in 0..u32::try_from(AUTH_SOURCES_MAX).expect("small") + 5 {
            failures.count(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!((failures.counts.len(), failures.ends.len()), (AUTH_SOURCES_MAX, AUTH_SOURCES_MAX));
    }
}
