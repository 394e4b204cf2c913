//! Media of browsers: ICE-lite (RFC 8445 §2.5), DTLS-SRTP (RFC 5764) and consent (RFC 7675), all by `str0m`.
//!
//! Offer and answer stay where they are for every other call; this is told what they agreed on, and turns datagrams into
//! RTP packets and back. RTCP is between `str0m` and the browser.
//!
//! Deviations: `str0m` draws its randomness itself. One address each, one stream each way; the browser is the one that
//! checks connectivity and that begins the DTLS handshake.

mod identity;
mod peer;

use std::fmt;
use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha12Rng;

pub use self::identity::{Fingerprint, Identity};
pub use self::peer::{Feedback, Format, FormatKind, Peer};

/// How ICE knows a side (RFC 8839 §5.4). The password does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`
    pub user: String,
    /// `a=ice-pwd`
    pub password: String,
}

/// What offer and answer agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Our certificate.
    pub identity: Arc<Identity>,
    /// How the browser names us.
    pub ours: IceCredentials,
    /// How we name it.
    pub theirs: IceCredentials,
    /// Of its certificate.
    pub their_fingerprint: Fingerprint,
}

impl IceCredentials {
    /// New ones: 48 and 192 random bits.
    pub fn random(rng: &mut ChaCha12Rng) -> Self {
        let mut text = |bytes: usize| {
            let mut random = vec![0; bytes];
            rng.fill_bytes(&mut random);
            random.iter().map(|it| format!("{it:02x}")).collect()
        };
        Self { user: text(6), password: text(24) }
    }

    /// Those of a peer; `None` if their lengths or characters are not allowed.
    pub fn of_peer(user: &str, password: &str) -> Option<Self> {
        let is_valid = |text: &str, shortest: usize| {
            (shortest..=256).contains(&text.len())
                && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/'))
        };
        let credentials = Self { user: user.to_owned(), password: password.to_owned() };
        (is_valid(user, 4) && is_valid(password, 22)).then_some(credentials)
    }
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({} <redacted>)", self.user)
    }
}

#[cfg(test)]
mod tests;
