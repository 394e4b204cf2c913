//! How late packets are, and what follows for the delay a jitter buffer aims at.
//!
//! A packet's *transit* is its time of arrival minus its place in the stream; the smallest transit of the last five to
//! ten seconds stands for the network at its fastest, and a packet's *lateness* is by how much its own is larger. The
//! buffer aims at a delay that all but 2 % of the last 256 packets would have kept.

use super::report::Aim;
use crate::limits::{JITTER_TARGET_MS_MAX, JITTER_TARGET_MS_MIN};

/// The lateness of recent packets. Times are microseconds since any fixed moment.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The smallest transit of the current and of the previous period.
    fastest: [Option<i64>; 2],
    period_began_us: i64,
    /// The lateness of the last packets, in buckets of [`BUCKET_US`], the oldest to be replaced at `next`.
    window: [u8; WINDOW],
    next: usize,
    filled: usize,
    /// How many packets of the window are in each bucket.
    counts: [u16; BUCKETS],
    /// The bucket that all but 2 % of the window do not exceed.
    bucket: usize,
    /// Delay to be had beside that.
    reserve_ms: u32,
}

impl Arrival {
    pub(super) const fn new() -> Self {
        Self {
            fastest: [None; 2],
            period_began_us: 0,
            window: [0; WINDOW],
            next: 0,
            filled: 0,
            counts: [0; BUCKETS],
            bucket: 0,
            reserve_ms: 0,
        }
    }

    /// Takes a packet into account and returns its lateness.
    pub(super) fn observe(&mut self, transit_us: i64, now_us: i64) -> i64 {
        let [current, before] = self.fastest;
        if current.is_none() || now_us - self.period_began_us > PERIOD_US {
            self.fastest = [Some(transit_us), current.or(before)];
            self.period_began_us = now_us;
        } else {
            self.fastest = [current.map(|it| it.min(transit_us)), before];
        }
        let lateness_us = transit_us - self.fastest_us();
        if lateness_us > OUTAGE_US {
            return lateness_us;
        }
        self.count(usize::try_from(lateness_us / BUCKET_US).unwrap_or(0).min(BUCKETS - 1));
        lateness_us
    }

    /// The smallest transit of recent packets; 0 if there were none.
    pub(super) fn fastest_us(&self) -> i64 {
        let [current, before] = self.fastest;
        current.into_iter().chain(before).min().unwrap_or(0)
    }

    /// For how long a packet that arrives without lateness is to be held, at the least.
    pub(super) fn margin_us(&self) -> i64 {
        i64::from(self.target_ms()) * 1_000 - 15_000
    }

    /// The delay aimed at: a packet is held for 15 ms less to 5 ms more than this, as ticks are 20 ms apart.
    pub(super) fn target_ms(&self) -> u32 {
        let lateness_ms = u32::try_from(self.bucket).unwrap_or(u32::MAX).saturating_mul(BUCKET_MS);
        lateness_ms.saturating_add(JITTER_TARGET_MS_MIN + self.reserve_ms).min(JITTER_TARGET_MS_MAX)
    }

    /// What the delay aimed at is made of.
    pub(super) fn aim(&self) -> Aim {
        let lateness_ms = u32::try_from(self.bucket).unwrap_or(u32::MAX).saturating_mul(BUCKET_MS);
        Aim { target_ms: self.target_ms(), least_ms: JITTER_TARGET_MS_MIN, lateness_ms, reserve_ms: self.reserve_ms }
    }

    /// Aims at so much more.
    pub(super) const fn reserve(&mut self, ms: u32) {
        self.reserve_ms = ms;
    }

    /// Whether more is aimed at than the network demands.
    pub(super) const fn has_reserve(&self) -> bool {
        self.reserve_ms > 0
    }

    /// Forgets the network's speed, but not how much it varies.
    pub(super) const fn restart(&mut self) {
        self.fastest = [None; 2];
    }

    fn count(&mut self, bucket: usize) {
        if let Some(slot) = self.window.get_mut(self.next) {
            if self.filled == WINDOW
                && let Some(count) = self.counts.get_mut(usize::from(*slot))
            {
                *count -= 1;
            }
            *slot = u8::try_from(bucket).unwrap_or(u8::MAX);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.filled = (self.filled + 1).min(WINDOW);
        self.next = (self.next + 1) % WINDOW;
        let mut exceeding = 0;
        self.bucket = 0;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            exceeding += usize::from(*count);
            if exceeding * 50 > self.filled {
                self.bucket = bucket;
                break;
            }
        }
    }
}

const WINDOW: usize = 256;
const BUCKET_MS: u32 = 5;
const BUCKET_US: i64 = 5_000;
/// Up to 200 ms and more.
const BUCKETS: usize = 41;
const PERIOD_US: i64 = 5_000_000;
/// What is later is an outage, which no delay within bounds would have covered, rather than jitter.
const OUTAGE_US: i64 = 400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_network_needs_the_least_delay() {
        let mut arrival = Arrival::new();
        for index in 0..1_000 {
            arrival.observe(7_000 + index % 4 * 1_000, index * 20_000);
        }
        assert_eq!((arrival.target_ms(), arrival.margin_us(), arrival.fastest_us()), (20, 5_000, 7_000));
    }

    #[test]
    fn rare_outliers_do_not_count_and_frequent_ones_do() {
        check(100, 20); // one packet of a hundred is 80 ms late
        check(20, 100); // one of twenty
    }

    #[test]
    fn the_target_is_bounded_and_falls_when_the_network_calms_down() {
        let mut arrival = Arrival::new();
        for index in 0..300 {
            arrival.observe(index % 2 * 390_000, index * 20_000);
        }
        assert_eq!(arrival.target_ms(), 200);
        for index in 300..600 {
            arrival.observe(0, index * 20_000);
        }
        assert_eq!(arrival.target_ms(), 20);
    }

    #[test]
    fn an_outage_is_no_jitter() {
        let mut arrival = Arrival::new();
        for index in 0..300 {
            arrival.observe(if index == 200 { 3_000_000 } else { 0 }, index * 20_000);
        }
        assert_eq!(arrival.target_ms(), 20);
    }

    #[test]
    fn a_slower_route_is_the_new_normal_after_two_periods() {
        let mut arrival = Arrival::new();
        arrival.observe(0, 0);
        let lateness: Vec<_> = (1..700).map(|index| arrival.observe(50_000, index * 20_000)).collect();
        assert_eq!((lateness[0], lateness.last().copied()), (50_000, Some(0)));
    }

    #[track_caller]
    fn check(late_every: i64, expected_ms: u32) {
        let mut arrival = Arrival::new();
        for index in 0..1_000 {
            arrival.observe(if index % late_every == 1 { 80_000 } else { 0 }, index * 20_000);
        }
        assert_eq!(arrival.target_ms(), expected_ms);
    }
}
