//! When which leg ticks: twenty slots of a millisecond, over and over. And when legs that do not tick are looked after.

use std::time::{Duration, Instant};

/// The legs of each slot, by their place, and how far time has been served.
#[derive(Debug)]
pub(super) struct Slots {
    origin: Instant,
    /// Slots since the origin that have been served.
    served: u64,
    legs: [Vec<usize>; SLOTS],
}

/// A slot to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) index: usize,
    /// It was due [`LATE_SLOTS`] milliseconds ago or earlier.
    pub(super) is_late: bool,
}

impl Slots {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, served: 0, legs: [const { vec![] }; SLOTS] }
    }

    /// Puts a leg into the least occupied slot, and says when it ticks first.
    pub(super) fn insert(&mut self, place: usize, now: Instant) -> Instant {
        if self.legs.iter().all(Vec::is_empty) {
            // Nothing was due while there was no leg.
            self.served = self.passed(now);
        }
        let after = |ahead: usize| (self.index(self.served) + ahead) % SLOTS;
        let ahead = (0..SLOTS).min_by_key(|it| self.len(after(*it))).unwrap_or(0);
        let index = after(ahead);
        if let Some(legs) = self.legs.get_mut(index) {
            legs.push(place);
        }
        self.due_at(self.served + u64::try_from(ahead).unwrap_or(0))
    }

    /// Takes a leg out, if it is in.
    pub(super) fn remove(&mut self, place: usize) {
        for legs in &mut self.legs {
            if let Some(index) = legs.iter().position(|it| *it == place) {
                legs.swap_remove(index);
                return;
            }
        }
    }

    /// Legs in a slot.
    pub(super) fn len(&self, index: usize) -> usize {
        self.legs.get(index).map_or(0, Vec::len)
    }

    /// A leg of a slot.
    pub(super) fn get(&self, slot: usize, index: usize) -> Option<usize> {
        self.legs.get(slot)?.get(index).copied()
    }

    /// How many slots have been served; the last of them may be being served now.
    pub(super) const fn served(&self) -> u64 {
        self.served
    }

    /// When the next slot with a leg in it is due; `None` without legs.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let first = self.index(self.served);
        let ahead = (0..SLOTS).find(|it| self.len((first + it) % SLOTS) > 0)?;
        Some(self.due_at(self.served + u64::try_from(ahead).unwrap_or(0)))
    }

    /// The next slot that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let passed = self.passed(now);
        if self.served >= passed {
            return None;
        }
        let due = Due { index: self.index(self.served), is_late: passed - self.served > LATE_SLOTS };
        self.served += 1;
        Some(due)
    }

    /// Passes over whole ticks if more than [`CATCH_UP_SLOTS`] are due; returns how many.
    pub(super) fn skip_after_stall(&mut self, now: Instant) -> u32 {
        let behind = self.passed(now).saturating_sub(self.served);
        if behind <= CATCH_UP_SLOTS || self.legs.iter().all(Vec::is_empty) {
            return 0;
        }
        let ticks = u32::try_from(behind / SLOTS as u64).unwrap_or(u32::MAX);
        self.served += u64::from(ticks) * SLOTS as u64;
        ticks
    }

    /// Slots that have begun by now.
    fn passed(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn due_at(&self, slot: u64) -> Instant {
        self.origin + Duration::from_millis(slot)
    }

    #[expect(clippy::unused_self, reason = "beside `due_at`, which asks the same of time")]
    fn index(&self, slot: u64) -> usize {
        usize::try_from(slot % SLOTS as u64).unwrap_or(0)
    }
}

/// The rounds of legs that do not tick: once a second each, a fiftieth of all places at a time.
#[derive(Debug)]
pub(super) struct Rounds {
    next: Instant,
    part: usize,
}

impl Rounds {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now, part: 0 }
    }

    pub(super) const fn next_due(&self) -> Instant {
        self.next
    }

    /// The places to be looked at now, if it is time, of `places` in all.
    pub(super) fn take_due(&mut self, now: Instant, places: usize) -> Option<impl Iterator<Item = usize> + use<>> {
        if now < self.next {
            return None;
        }
        self.next = now + ROUND_PART;
        self.part = (self.part + 1) % ROUND_PARTS;
        Some((self.part..places).step_by(ROUND_PARTS))
    }
}

const ROUND_PARTS: usize = 50;
const ROUND_PART: Duration = Duration::from_millis(20);
/// Milliseconds in a tick.
const SLOTS: usize = 20;
const LATE_SLOTS: u64 = 5;
/// Three ticks.
const CATCH_UP_SLOTS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::Now;

    #[test]
    fn legs_are_spread_and_each_ticks_every_twenty_milliseconds() {
        let origin = Now::origin().instant;
        let at = |ms| origin + Duration::from_millis(ms);
        let mut slots = Slots::new(origin);
        let first_ticks: Vec<_> = (0..40).map(|place| slots.insert(place, at(1_000))).collect();
        assert_eq!(first_ticks[..20], (1_001..1_021).map(at).collect::<Vec<_>>());
        assert_eq!(slots.next_due(), Some(at(1_001)));
        let mut ticks = vec![0; 40];
        for ms in 1_000..2_000 {
            while let Some(due) = slots.take_due(at(ms)) {
                assert!(!due.is_late);
                for index in 0..slots.len(due.index) {
                    ticks[slots.get(due.index, index).unwrap()] += 1;
                }
            }
        }
        assert!(ticks.iter().all(|it| (49..=50).contains(it)), "{ticks:?}");
    }

    #[test]
    fn rounds_come_to_every_place_once_a_second() {
        let origin = Now::origin().instant;
        let mut rounds = Rounds::new(origin);
        let mut seen = vec![0; 130];
        for ms in 0..3_000 {
            for place in rounds.take_due(origin + Duration::from_millis(ms), seen.len()).into_iter().flatten() {
                seen[place] += 1;
            }
        }
        assert!(seen.iter().all(|it| *it == 3), "{seen:?}");
        assert_eq!(rounds.next_due(), origin + Duration::from_millis(3_000));
    }

    #[test]
    fn a_short_stall_is_made_up_for_and_a_long_one_is_skipped() {
        let origin = Now::origin().instant;
        let at = |ms| origin + Duration::from_millis(ms);
        let mut slots = Slots::new(origin);
        slots.insert(7, origin);
        while slots.take_due(origin).is_some() {}
        assert_eq!(slots.skip_after_stall(at(55)), 0);
        let due: Vec<_> = std::iter::from_fn(|| slots.take_due(at(55))).collect();
        assert_eq!((due.len(), due.iter().filter(|it| it.is_late).count()), (55, 50));
        assert_eq!(slots.skip_after_stall(at(10_000)), 497);
        assert_eq!(std::iter::from_fn(|| slots.take_due(at(10_000))).count(), 5);
        slots.remove(7);
        assert_eq!((slots.next_due(), slots.skip_after_stall(at(20_000))), (None, 0));
    }
}
