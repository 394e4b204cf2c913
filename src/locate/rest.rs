//! Servers that failed rest for a time (RFC 3263 §4.3, RFC 3261 §21.5.4 for Retry-After).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::{HOP_REST_S_MAX, HOP_REST_S_MIN, HOP_RETRY_AFTER_S_MAX, RESTING_HOPS_MAX};
use crate::timer::Deadlines;
use crate::transport::TransportKind;

type Place = (TransportKind, SocketAddr);

/// See the module. A server that fails again and again rests twice as long each time.
#[derive(Debug)]
pub(super) struct Rests {
    rests: BTreeMap<Place, Rest>,
    ends: Deadlines<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    failures: u32,
}

impl Rests {
    pub(super) const fn new() -> Self {
        Self { rests: BTreeMap::new(), ends: Deadlines::new() }
    }

    pub(super) fn begin(&mut self, place: Place, retry_after: Option<Duration>, now: Instant) {
        let before = self.rests.get(&place).copied();
        // Calls that fail together are one failure.
        let failures = before.map_or(0, |it| if it.until > now { it.failures } else { it.failures.saturating_add(1) });
        let doubled = HOP_REST_S_MIN.checked_shl(failures.min(16)).unwrap_or(HOP_REST_S_MAX).min(HOP_REST_S_MAX);
        let asked = retry_after.map(|it| it.min(Duration::from_secs(HOP_RETRY_AFTER_S_MAX)));
        let until = now + asked.unwrap_or_else(|| Duration::from_secs(doubled));
        let until = before.map_or(until, |it| it.until.max(until));
        if before.is_none() && self.rests.len() >= RESTING_HOPS_MAX {
            let first = self.ends.next().and_then(|it| self.ends.pop_due(it));
            first.and_then(|it| self.rests.remove(&it));
        }
        self.rests.insert(place, Rest { until, failures });
        self.ends.set(place, Some(until));
    }

    pub(super) fn end(&mut self, place: Place) {
        if self.rests.remove(&place).is_some() {
            self.ends.set(place, None);
        }
    }

    pub(super) fn until(&self, place: Place, now: Instant) -> Option<Instant> {
        self.rests.get(&place).map(|it| it.until).filter(|it| *it > now)
    }
}
