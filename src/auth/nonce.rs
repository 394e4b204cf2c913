//! Nonces of ours (RFC 7616 §3.3, §5.4): keyed, so that nothing is kept of those that are never used; expiring; and each
//! counted use taken once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use rand_chacha::ChaCha12Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::hexadecimal;
use crate::limits::NONCES_MAX;
use crate::timer::Now;

/// The nonces of one server.
///
/// A nonce is the microsecond of its making and a keyed hash of it. At most `NONCES_MAX` used ones are remembered; when
/// the oldest is forgotten, it and all before it become stale, so that none can be used again.
pub(super) struct Nonces {
    key: [u8; 32],
    start: Instant,
    lifetime: Duration,
    capacity: usize,
    last: Stamp,
    used: BTreeMap<Stamp, Window>,
    /// Nonces up to this one are stale.
    floor: Stamp,
}

/// When a nonce was made, in microseconds since the start. No two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

/// The uses of one nonce: the highest count, and which of those just below it were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u32,
    /// Bit 0 is the highest itself.
    seen: u64,
}

impl Nonces {
    pub(super) fn new(lifetime: Duration, rng: &mut ChaCha12Rng, now: Now) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        let (start, capacity, none) = (now.instant, NONCES_MAX, Stamp(0));
        Self { key, start, lifetime, capacity, last: none, used: BTreeMap::new(), floor: none }
    }

    /// A fresh nonce.
    pub(super) fn issue(&mut self, now: Now) -> String {
        let stamp = Stamp(self.elapsed(now).max(self.last.0 + 1));
        self.last = stamp;
        format!("{:016x}{}", stamp.0, hexadecimal(&self.tag(stamp)))
    }

    /// The stamp of a nonce of ours that may still be used.
    pub(super) fn check(&mut self, nonce: &str, now: Now) -> Option<Stamp> {
        self.forget_expired(now);
        let (stamp, tag) = nonce.split_at_checked(16)?;
        let stamp = Stamp(u64::from_str_radix(stamp, 16).ok()?);
        let is_ours = bool::from(hexadecimal(&self.tag(stamp)).as_bytes().ct_eq(tag.as_bytes()));
        (is_ours && stamp > self.floor && self.age(stamp, now) < self.lifetime).then_some(stamp)
    }

    /// Whether a nonce has lived for more than half of its time.
    pub(super) fn is_half_over(&self, stamp: Stamp, now: Now) -> bool {
        self.age(stamp, now) > self.lifetime / 2
    }

    /// Takes the use number `count` of a nonce. False if it was taken before.
    pub(super) fn take(&mut self, stamp: Stamp, count: u32) -> bool {
        if !self.used.get_mut(&stamp).map_or_else(|| count > 0, |it| it.is_new(count)) {
            return false;
        }
        self.used.entry(stamp).or_default().take(count);
        if self.used.len() > self.capacity
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = oldest;
        }
        // Its own floor: everything that is remembered is younger than this one.
        stamp > self.floor
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// How many used nonces are remembered.
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    fn forget_expired(&mut self, now: Now) {
        while let Some((stamp, _)) = self.used.first_key_value()
            && self.age(*stamp, now) >= self.lifetime
        {
            self.used.pop_first();
        }
    }

    fn elapsed(&self, now: Now) -> u64 {
        u64::try_from(now.instant.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    fn age(&self, stamp: Stamp, now: Now) -> Duration {
        Duration::from_micros(self.elapsed(now).saturating_sub(stamp.0))
    }

    fn tag(&self, stamp: Stamp) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(b"nonce");
        mac.update(&stamp.0.to_be_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let (tag, _) = bytes.split_first_chunk().expect("32 bytes have a first half");
        *tag
    }
}

impl Window {
    const BITS: u32 = u64::BITS;

    fn is_new(&self, count: u32) -> bool {
        match self.highest.checked_sub(count) {
            None => true,
            Some(below) if below < Self::BITS => count > 0 && self.seen & (1 << below) == 0,
            Some(_) => false,
        }
    }

    fn take(&mut self, count: u32) {
        match self.highest.checked_sub(count) {
            None => {
                let ahead = count - self.highest;
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = count;
            }
            Some(below) => self.seen |= 1_u64.checked_shl(below).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    fn nonces(now: Now) -> Nonces {
        Nonces::new(LIFETIME, &mut ChaCha12Rng::seed_from_u64(1), now)
    }

    #[test]
    fn a_nonce_is_good_until_it_expires() {
        let now = Now::origin();
        let mut nonces = nonces(now);
        let nonce = nonces.issue(now);
        assert_ne!(nonces.issue(now), nonce);
        assert!(nonces.check(&nonce, now + Duration::from_millis(299_999)).is_some());
        assert!(nonces.check(&nonce, now + LIFETIME + Duration::from_millis(1)).is_none());
        for forged in
            [nonce.replace('0', "1"), nonce.to_uppercase(), String::new(), format!("{nonce}0"), "é".repeat(24)]
        {
            assert!(nonces.check(&forged, now).is_none(), "{forged}");
        }
        let mut others = Nonces::new(LIFETIME, &mut ChaCha12Rng::seed_from_u64(2), now);
        assert!(others.check(&nonce, now).is_none());
    }

    #[test]
    fn each_count_is_taken_once_in_nearly_any_order() {
        let now = Now::origin();
        let mut nonces = nonces(now);
        let nonce = nonces.issue(now);
        let stamp = nonces.check(&nonce, now).expect("ours");
        let taken = [0, 1, 1, 3, 2, 2, 3, 100, 37, 36, 1, u32::MAX, 100, u32::MAX].map(|it| nonces.take(stamp, it));
        assert_eq!(taken, [false, true, false, true, true, false, false, true, true, false, false, true, false, false]);
        assert_eq!(nonces.len(), 1);
        let later = now + LIFETIME + Duration::from_millis(1);
        nonces.check("", later);
        assert_eq!(nonces.len(), 0);
    }

    #[test]
    fn the_oldest_becomes_stale_when_too_many_are_used() {
        let now = Now::origin();
        let mut nonces = nonces(now);
        nonces.capacity = 4;
        let issued: Vec<_> = (0..6).map(|_| nonces.issue(now)).collect();
        for nonce in issued.iter().skip(1) {
            let stamp = nonces.check(nonce, now).expect("fresh");
            assert!(nonces.take(stamp, 1));
        }
        assert_eq!(nonces.len(), 4);
        assert!(nonces.check(&issued[0], now).is_none() && nonces.check(&issued[1], now).is_none());
        assert!(nonces.check(&issued[2], now).is_some_and(|it| !nonces.take(it, 1)));
    }
}
