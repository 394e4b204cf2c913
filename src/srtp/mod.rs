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
mod policy;
mod stream;
mod transform;

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha12Rng;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::inbound::{Inbound, Rejected};
pub use self::outbound::{Outbound, Unprotected};
pub use self::policy::SrtpPolicy;

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

/// The keys of a session, as signalling agreed on them: each side names the one that it sends under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// For what we send.
    pub ours: MasterKey,
    /// For what the peer sends.
    pub theirs: MasterKey,
    /// What the peer appends to its packets to name its key; empty if it does not.
    pub their_identifier: SmallVec<[u8; 4]>,
}

/// By how much a packet grows at most when it is protected: index and tag of an SRTCP packet.
pub const OVERHEAD_BYTES_MAX: usize = 20;

const MASTER_KEY_LEN_MAX: usize = 44;

impl Suite {
    /// All of them, those that most peers know first.
    pub const ALL: [Self; 4] =
        [Self::AesCm128HmacSha1Tag80, Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1Tag32];

    /// As session descriptions name it (RFC 4568 §6.2, RFC 7714 §14.2).
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(name))
    }

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

    /// The key, then the salt: for who signals it.
    pub fn key_and_salt(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len() + self.suite.salt_len()).unwrap_or_default()
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
