//! The names of things that every layer shares: accounts, calls and legs, and the wrappers that keep personal data and
//! secrets out of logs.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The account that owns a call, trunk, number, agent, recording or credential. A self-hoster has one, `default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub String);

impl Default for AccountId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A call, in the journal, in logs and in the API. Written `call_` and 32 hexadecimal digits, of which the first twelve
/// are the millisecond of its making, so that calls sort by time. It is not the SIP Call-ID, which a peer chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u128);

impl CallId {
    /// A fresh identifier: 48 bits of time, 80 bits from `rng`.
    pub fn generate(rng: &mut impl Rng, unix_ms: i64) -> Self {
        let time = u128::from(unix_ms.unsigned_abs()) & 0xffff_ffff_ffff;
        let random = (u128::from(rng.next_u64()) << 16) | u128::from(rng.next_u32() & 0xffff);
        Self((time << 80) | random)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call_{:032x}", self.0)
    }
}

impl std::str::FromStr for CallId {
    type Err = InvalidCallId;

    fn from_str(text: &str) -> Result<Self, InvalidCallId> {
        let digits = text.strip_prefix("call_").filter(|it| it.len() == 32).ok_or(InvalidCallId)?;
        if !digits.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it)) {
            return Err(InvalidCallId);
        }
        u128::from_str_radix(digits, 16).map(Self).or(Err(InvalidCallId))
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not `call_` and 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a call id is `call_` and 32 lower-case hexadecimal digits")]
pub struct InvalidCallId;

/// One leg of a call: the part between us and one peer, with its own dialog and RTP session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    /// The call the leg belongs to.
    pub call: CallId,
    /// Counts the legs of the call from zero.
    pub index: u8,
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.call, self.index)
    }
}

/// Personal data (a phone number, an address, words spoken): `Debug` and `Display` show only its length, so that
/// it cannot reach a log by accident. [`Pii::reveal`] gives the value to code that needs it, which keeps every
/// disclosure searchable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the wire, the store or a log that was asked to show it.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<str>> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<redacted {}>", self.0.as_ref().chars().count())
    }
}

impl<T: AsRef<str>> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A password, token or key. `Debug` shows that there is one, never which; it has no `Display` and is not serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for who needs it. The name keeps every disclosure searchable.
    pub const fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the secret in it: services quote the key they were given in their errors.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&*self.0, "<secret>") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn call_ids_sort_by_time_and_survive_writing() {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let first = CallId::generate(&mut rng, 1_700_000_000_000);
        let second = CallId::generate(&mut rng, 1_700_000_000_001);
        assert!(first < second && first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse(), Ok(first));
        for bad in ["", "call_", "call_+0000000000000000000000000000001", "0", "call_F0000000000000000000000000000001"]
        {
            assert_eq!(bad.parse::<CallId>(), Err(InvalidCallId), "{bad}");
        }
    }

    #[test]
    fn personal_data_does_not_print() {
        let number = Pii::new("+4915112345678");
        assert_eq!(format!("{number} {number:?}"), "<redacted 14> <redacted 14>");
    }

    #[test]
    fn a_secret_does_not_print() {
        let key = Secret::new("sk-1234");
        assert_eq!(format!("{key:?}"), "<secret>");
        assert_eq!(key.redact("bad key sk-1234!"), "bad key <secret>!");
        assert_eq!(Secret::new("").redact("as it is"), "as it is");
    }
}
