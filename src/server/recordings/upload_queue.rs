//! Which recording is uploaded next: each that fails waits for a time of its own, so that one that can never be uploaded
//! holds up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::limits::RECORDING_UPLOADS_MAX;

/// The files that wait. Whoever uploads takes them by [`Queue::next`] and says by [`Queue::finish`] how it went.
#[derive(Debug)]
pub(super) struct Queue {
    /// The pause after the first failure; each further one doubles it.
    retry: Duration,
    /// Not tried yet.
    fresh: BTreeSet<String>,
    /// To be tried again.
    failed: BTreeSet<(Instant, String)>,
    /// The last pause of each that has failed.
    pauses: BTreeMap<String, Duration>,
    /// Under way, and whether it has failed before.
    underway: BTreeMap<String, bool>,
}

impl Queue {
    pub(super) const fn new(retry: Duration) -> Self {
        Self {
            retry,
            fresh: BTreeSet::new(),
            failed: BTreeSet::new(),
            pauses: BTreeMap::new(),
            underway: BTreeMap::new(),
        }
    }

    /// Takes in what is there to be uploaded; what is known already changes nothing.
    pub(super) fn add(&mut self, keys: Vec<String>) {
        let new = keys.into_iter().filter(|it| !self.pauses.contains_key(it) && !self.underway.contains_key(it));
        self.fresh.extend(new);
    }

    /// What is to be begun now: what was not tried yet, then what failed the longest ago. There is always room for
    /// something new beside what fails.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        if self.underway.len() >= RECORDING_UPLOADS_MAX {
            return None;
        }
        if let Some(key) = self.fresh.pop_first() {
            self.underway.insert(key.clone(), false);
            return Some(key);
        }
        if !self.has_room_for_failed() {
            return None;
        }
        let (_, key) = self.failed.first().filter(|(at, _)| *at <= now).cloned()?;
        self.failed.pop_first();
        self.underway.insert(key.clone(), true);
        Some(key)
    }

    /// When [`Queue::next`] has something again, if nothing happens before.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.failed.first().filter(|_| self.has_room_for_failed()).map(|(at, _)| *at)
    }

    /// An upload has ended. Returns after how long it is made again if it has failed.
    pub(super) fn finish(&mut self, key: String, is_done: bool, now: Instant) -> Duration {
        self.underway.remove(&key);
        if is_done {
            self.pauses.remove(&key);
            return Duration::ZERO;
        }
        let pause = self.pauses.get(&key).map_or(self.retry, |it| (2 * *it).min(RETRY_MAX));
        self.pauses.insert(key.clone(), pause);
        self.failed.insert((now + pause, key));
        pause
    }

    /// Files that wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.failed.len() + self.underway.len()
    }

    /// Files whose last attempt failed.
    pub(super) fn failing(&self) -> usize {
        self.pauses.len()
    }

    fn has_room_for_failed(&self) -> bool {
        self.underway.values().filter(|it| **it).count() < RECORDING_UPLOADS_MAX - 1
    }
}

const RETRY_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::clock;

    #[test]
    fn a_file_that_always_fails_waits_longer_each_time_and_holds_up_no_other() {
        let start = clock::now().instant;
        let at = |s| start + Duration::from_secs(s);
        let mut queue = Queue::new(Duration::from_secs(1));
        let mut pauses = vec![];
        queue.add(vec!["a".to_owned()]);
        let mut now = start;
        for _ in 0..11 {
            assert_eq!(queue.next(now).as_deref(), Some("a"));
            let pause = queue.finish("a".to_owned(), false, now);
            pauses.push(pause.as_secs());
            assert_eq!((queue.next(now), queue.next_due()), (None, Some(now + pause)));
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        queue.add(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(queue.next(at(0)).as_deref(), Some("b"), "at once");
        assert_eq!(queue.next(at(0)), None);
        assert_eq!(queue.finish("b".to_owned(), true, at(0)), Duration::ZERO);
        assert_eq!((queue.len(), queue.failing()), (1, 1));
    }

    #[test]
    fn what_fails_leaves_a_place_for_what_is_new() {
        let now = clock::now().instant;
        let mut queue = Queue::new(Duration::ZERO);
        queue.add((0..9).map(|it| it.to_string()).collect());
        let begun: Vec<_> = std::iter::from_fn(|| queue.next(now)).collect();
        assert_eq!(begun, ["0", "1", "2", "3"]);
        while queue.fresh.len() + queue.underway.len() > 0 {
            let under_way: Vec<_> = queue.underway.keys().cloned().collect();
            for key in under_way {
                queue.finish(key, false, now);
            }
            while !queue.fresh.is_empty() && queue.next(now).is_some() {}
        }
        let again: Vec<_> = std::iter::from_fn(|| queue.next(now)).collect();
        assert_eq!((again.len(), queue.next_due()), (RECORDING_UPLOADS_MAX - 1, None));
        queue.add(vec!["new".to_owned()]);
        assert_eq!(queue.next(now).as_deref(), Some("new"));
    }
}
