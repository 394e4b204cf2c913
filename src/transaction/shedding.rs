//! Which INVITEs that begin a call are refused so that the rest can be served (RFC 7339 §5.10).
//!
//! What is refused is spread evenly over what comes, and keeps no transaction: every copy of a refused INVITE gets the
//! same 503, and its ACK is recognised by the tag of that (RFC 3261 §8.2.7). All that is kept is a hash of it, for as long
//! as it may be repeated.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::key::ServerKey;
use crate::limits::{SHED_INVITES_MAX, SHED_S};

/// Says of each INVITE whether it is refused.
///
/// At most twice [`SHED_INVITES_MAX`] refused ones are remembered; the oldest half of them is forgotten when there are
/// more, or after [`SHED_S`].
#[derive(Debug)]
pub(super) struct Shedding {
    /// Of a whole, how many are refused: 0 to 1.
    share: f64,
    /// What is owed of the next one that is refused.
    owed: f64,
    secret: u64,
    young: HashSet<u64>,
    old: HashSet<u64>,
    turned_at: Option<Instant>,
}

impl Shedding {
    /// Nothing is refused. `secret` is any number that peers do not know.
    pub(super) fn new(secret: u64) -> Self {
        Self { share: 0.0, owed: 0.0, secret, young: HashSet::new(), old: HashSet::new(), turned_at: None }
    }

    /// From here on this share of what comes is refused. Returns the share before.
    pub(super) const fn set_share(&mut self, share: f64) -> f64 {
        std::mem::replace(&mut self.share, share.clamp(0.0, 1.0))
    }

    /// Whether the INVITE with this key, which nobody has answered otherwise, is refused; to be asked about each.
    pub(super) fn refuses(&mut self, key: &ServerKey, now: Instant) -> bool {
        if self.share <= 0.0 && self.turned_at.is_none() {
            return false;
        }
        self.forget(now);
        let mut hasher = DefaultHasher::new();
        (self.secret, key).hash(&mut hasher);
        let hash = hasher.finish();
        if self.young.contains(&hash) || self.old.contains(&hash) {
            return true;
        }
        self.owed += self.share;
        if self.owed < 1.0 {
            return false;
        }
        self.owed -= 1.0;
        self.turned_at.get_or_insert(now);
        self.young.insert(hash);
        true
    }

    fn forget(&mut self, now: Instant) {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= Duration::from_secs(SHED_S);
        if self.young.len() < SHED_INVITES_MAX && !self.turned_at.is_some_and(is_over) {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        self.turned_at = (!self.old.is_empty()).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, Request};
    use crate::timer::Now;

    #[test]
    fn a_share_is_refused_evenly() {
        check(0.0, 8, "........");
        check(0.25, 8, "...x...x");
        check(0.5, 8, ".x.x.x.x");
        check(0.75, 8, ".xxx.xxx");
        check(1.0, 4, "xxxx");
    }

    #[test]
    fn what_was_refused_is_refused_again_while_it_may_be_repeated() {
        let start = Now::origin().instant;
        let at = |s| start + Duration::from_secs(s);
        let mut shedding = Shedding::new(1);
        shedding.set_share(1.0);
        assert!(shedding.refuses(&key(1), start));
        shedding.set_share(0.0);
        for (number, second, is_refused) in [
            (1, 0, true),
            (2, 0, false),
            (1, SHED_S, true),
            (1, 2 * SHED_S - 1, true),
            (2, 2 * SHED_S - 1, false),
            (1, 2 * SHED_S, false),
        ] {
            assert_eq!(shedding.refuses(&key(number), at(second)), is_refused, "{number} at {second}");
        }
    }

    #[test]
    fn a_flood_of_refused_ones_is_forgotten_by_halves() {
        let now = Now::origin().instant;
        let mut shedding = Shedding::new(1);
        shedding.set_share(1.0);
        let mut most = 0;
        for number in 0..5 * SHED_INVITES_MAX / 2 {
            shedding.refuses(&key(number), now);
            most = most.max(shedding.young.len() + shedding.old.len());
        }
        assert_eq!(most, 2 * SHED_INVITES_MAX);
    }

    #[track_caller]
    fn check(share: f64, count: usize, expected: &str) {
        let mut shedding = Shedding::new(1);
        shedding.set_share(share);
        let now = Now::origin().instant;
        let seen: String = (0..count).map(|it| if shedding.refuses(&key(it), now) { 'x' } else { '.' }).collect();
        assert_eq!(seen, expected, "{share}");
    }

    fn key(number: usize) -> ServerKey {
        ServerKey::of(&request(number))
    }

    fn request(number: usize) -> Request {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{number}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: c{number}\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        match Message::parse(text.into()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }
}
