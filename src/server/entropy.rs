//! Randomness from the operating system, for the generators that cores are handed.

use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha12Rng;

/// A fresh cryptographic generator.
///
/// # Panics
/// If the operating system has no randomness to give: then nothing that must be unpredictable can be made.
pub fn generator() -> ChaCha12Rng {
    ChaCha12Rng::try_from_rng(&mut SysRng).expect("the operating system has randomness")
}
