//! [`Identity`]: the certificate that we show to browsers, and [`Fingerprint`]: how descriptions name one (RFC 8122).

use std::fmt;

use sha2::{Digest, Sha256};
use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;

/// A self-signed certificate with its key. It does not print the key.
pub struct Identity {
    pub(super) certificate: DtlsCert,
    fingerprint: Fingerprint,
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(super) [u8; 32]);

impl Identity {
    /// A new one; `None` if there is no randomness for it.
    pub fn generate() -> Option<Self> {
        let certificate = from_feature_flags().dtls_provider.generate_certificate()?;
        let fingerprint = Fingerprint(Sha256::digest(&certificate.certificate).into());
        Some(Self { certificate, fingerprint })
    }

    /// As our descriptions name it.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// By certificate.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`; `None` unless it is one of SHA-256.
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, digits) = text.trim().split_once(' ')?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut bytes = [0; 32];
        let mut pairs = digits.trim().split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|it| it.len() == 2 && it.bytes().all(|it| it.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256 ")?;
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
