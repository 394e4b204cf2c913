//! Secure RTP and RTCP: RFC 3711 with AES in counter mode, RFC 7714 with AES in Galois/Counter mode.
//!
//! [`Outbound`] protects what a leg sends, [`Inbound`] takes off the protection of what it is sent; both work within the
//! buffer of the packet and allocate nothing. Keys come from signalling (RFC 4568). Nothing is kept of a packet that
//! does not authenticate, and a packet that has been taken once is not taken again.
//!
//! Deviations: the key derivation rate is 0 (§4.3.1), as RFC 4568 offers nothing else by default; packets are always
//! encrypted and authenticated; an SRTCP packet that says it is not encrypted is dropped.

mod inbound;
mod outbound;
mod stream;
mod transform;

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha12Rng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::inbound::{Inbound, Rejected};
pub use self::outbound::{Outbound, Unprotected};

/// How packets are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// AES-128 in counter mode, HMAC-SHA1 cut to 80 bits.
    AesCm128HmacSha1Tag80,
    /// The same with tags of 32 bits on RTP; those on RTCP have 80.
    AesCm128HmacSha1Tag32,
    /// AES-128 in Galois/Counter mode, tags of 128 bits.
    AeadAes128Gcm,
    /// AES-256 in Galois/Counter mode, tags of 128 bits.
    AeadAes256Gcm,
}

/// A master key with its salt (§3.2.1). It does not print itself, and is overwritten when it is dropped.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    /// The key, then the salt.
    bytes: Zeroizing<[u8; MASTER_KEY_LEN_MAX]>,
}

/// By how much a packet grows at most when it is protected: index and tag of an SRTCP packet.
pub const OVERHEAD_BYTES_MAX: usize = 20;

const MASTER_KEY_LEN_MAX: usize = 44;

impl Suite {
    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

impl MasterKey {
    /// From a key followed by its salt; `None` if their lengths are not those of the suite.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_LEN_MAX]);
        let len = suite.key_len() + suite.salt_len();
        if key_and_salt.len() != len {
            return None;
        }
        bytes.get_mut(..len)?.copy_from_slice(key_and_salt);
        Some(Self { suite, bytes })
    }

    /// A new one.
    pub fn random(suite: Suite, rng: &mut ChaCha12Rng) -> Self {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_LEN_MAX]);
        rng.fill_bytes(bytes.get_mut(..suite.key_len() + suite.salt_len()).unwrap_or_default());
        Self { suite, bytes }
    }

    /// What it is for.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    fn key(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len()).unwrap_or_default()
    }

    fn salt(&self) -> &[u8] {
        let len = self.suite.key_len();
        self.bytes.get(len..len + self.suite.salt_len()).unwrap_or_default()
    }
}

/// In constant time.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.suite == other.suite && bool::from(self.bytes.ct_eq(&*other.bytes))
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({:?} <redacted>)", self.suite)
    }
}

#[cfg(test)]
mod tests;
