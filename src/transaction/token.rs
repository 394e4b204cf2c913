//! Tags, branches and Call-IDs (RFC 3261 §8.1.1.7, §19.3): unpredictable, and each begins with the shard that made it, so
//! that a message finds its owner among several without a shared map.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Makes the tokens of one shard.
#[derive(Debug)]
pub(crate) struct Tokens {
    rng: ChaCha12Rng,
    shard: u16,
}

impl Tokens {
    /// Tokens of `shard`, drawn from `rng`.
    pub(crate) const fn new(rng: ChaCha12Rng, shard: u16) -> Self {
        Self { rng, shard }
    }

    /// A From or To tag: the shard and 64 random bits.
    pub(crate) fn tag(&mut self) -> String {
        format!("{:04x}{:016x}", self.shard, self.rng.next_u64())
    }

    /// A Via branch: the cookie of RFC 3261, the shard and 64 random bits.
    pub(crate) fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{:04x}{:016x}", self.shard, self.rng.next_u64())
    }

    /// A Call-ID: the shard and 128 random bits. It names no host.
    pub(crate) fn call_id(&mut self) -> String {
        format!("{:04x}{:016x}{:016x}", self.shard, self.rng.next_u64(), self.rng.next_u64())
    }

    /// A session identifier for the o= line: 62 random bits, which fit the signed integers of careless peers.
    pub(crate) fn session_id(&mut self) -> u64 {
        self.rng.next_u64() >> 2
    }

    /// The number of a first reliable provisional response (RFC 3262 §3): 30 random bits.
    pub(crate) fn rseq(&mut self) -> u32 {
        self.rng.next_u32() >> 2
    }

    /// The generator itself, for keys.
    pub(crate) const fn rng(&mut self) -> &mut ChaCha12Rng {
        &mut self.rng
    }

    /// Another generator.
    pub(crate) fn generator(&mut self) -> ChaCha12Rng {
        ChaCha12Rng::from_rng(&mut self.rng)
    }

    /// A duration between `from_ms` and `to_ms` in steps of ten milliseconds, as RFC 3261 §14.1 wants it.
    pub(crate) fn back_off_ms(&mut self, from_ms: u64, to_ms: u64) -> u64 {
        let steps = to_ms.saturating_sub(from_ms) / 10 + 1;
        from_ms + self.rng.next_u64() % steps * 10
    }
}

/// The shard that made a tag, branch or Call-ID, if it has the form of ours. The answer is a hint for finding the owner,
/// not a proof: a peer can write anything.
pub fn shard_of(token: &str) -> Option<u16> {
    let token = token.strip_prefix(MAGIC_COOKIE).unwrap_or(token);
    let digits = token.get(..4)?;
    let is_ours = matches!(token.len(), 20 | 36) && token.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// What a branch of RFC 3261 begins with.
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_token_names_its_shard_and_none_comes_twice() {
        let mut tokens = Tokens::new(ChaCha12Rng::seed_from_u64(1), 0x02a7);
        let made = [tokens.tag(), tokens.tag(), tokens.branch(), tokens.branch(), tokens.call_id(), tokens.call_id()];
        for (index, token) in made.iter().enumerate() {
            assert_eq!(shard_of(token), Some(0x02a7), "{token}");
            assert!(!made.iter().take(index).any(|it| it == token), "{token}");
        }
        for stranger in ["", "02a", "z9hG4bK", "02A70000000000000000", "hello@example.org", "z9hG4bKnashds7"] {
            assert_eq!(shard_of(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn back_off_stays_in_its_range() {
        let mut tokens = Tokens::new(ChaCha12Rng::seed_from_u64(2), 0);
        for _ in 0..1_000 {
            let ms = tokens.back_off_ms(2_100, 4_000);
            assert!((2_100..=4_000).contains(&ms) && ms.is_multiple_of(10), "{ms}");
        }
    }
}
