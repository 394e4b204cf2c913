//! `a=crypto`: keys for SRTP (RFC 4568 §4, §6, §9).
//!
//! A line with several keys, or with a parameter that is not known, is read and is of no use: [`Crypto::key`] is `None`.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::attributes::digits;

/// One line. It does not print itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Names the line in offer and answer.
    pub tag: u32,
    /// `AES_CM_128_HMAC_SHA1_80` …
    pub suite: &'a str,
    /// `inline:…`, several separated by semicolons.
    pub key_params: &'a str,
    /// What follows, as written.
    pub session_params: &'a str,
}

/// The key of a line (§6.1). It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct InlineKey {
    /// Master key and master salt.
    pub key_and_salt: Zeroizing<Vec<u8>>,
    /// What the writer appends to its packets to name the key; empty if it does not.
    pub identifier: SmallVec<[u8; 4]>,
}

impl<'a> Crypto<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (tag, rest) = text.split_once([' ', '\t'])?;
        let (suite, rest) = rest.trim_start().split_once([' ', '\t'])?;
        let rest = rest.trim_start();
        let (key_params, session_params) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        // §9.1: a tag has at most nine digits.
        let tag = (tag.len() <= 9).then(|| digits(tag)).flatten()?;
        key_params.contains(':').then_some(Self { tag, suite, key_params, session_params: session_params.trim() })
    }

    /// The key, if it can be used: there is only one, and nothing is asked for that weakens it or is not known (§6.3).
    pub fn key(&self) -> Option<InlineKey> {
        if !self.session_params.split_ascii_whitespace().all(is_harmless) {
            return None;
        }
        let (method, info) = self.key_params.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") || info.contains(';') {
            return None;
        }
        let mut parts = info.split('|');
        let key_and_salt = Zeroizing::new(LENIENT.decode(parts.next()?).ok()?);
        let mut identifier = SmallVec::new();
        for (index, part) in parts.enumerate() {
            match part.split_once(':') {
                Some((value, len)) if identifier.is_empty() => identifier = key_identifier(value, len)?,
                None if index == 0 && is_lifetime(part) => (),
                _ => return None,
            }
        }
        Some(InlineKey { key_and_salt, identifier })
    }
}

impl InlineKey {
    /// Key and salt as they stand in a line: `inline:` and base64.
    pub fn write(key_and_salt: &[u8]) -> Zeroizing<String> {
        let mut text = Zeroizing::new("inline:".to_owned());
        LENIENT.encode_string(key_and_salt, &mut text);
        text
    }
}

/// §6.3: the window's size is our own affair, and a leading minus allows to ignore the rest.
fn is_harmless(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    name.starts_with('-') || name.eq_ignore_ascii_case("WSH") || (name.eq_ignore_ascii_case("KDR") && value == "0")
}

/// §6.1: a number of packets, as it is or as a power of two, at most 2^48. It is the writer who keeps count of them.
fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(exponent) => digits::<u32>(exponent).is_some_and(|it| it <= 48),
        None => digits::<u64>(text).is_some_and(|it| (1..=1 << 48).contains(&it)),
    }
}

/// §6.1: a number, written in as many bytes as the length says.
fn key_identifier(value: &str, len: &str) -> Option<SmallVec<[u8; 4]>> {
    let len = digits::<usize>(len).filter(|it| (1..=IDENTIFIER_BYTES_MAX).contains(it))?;
    let value = digits::<u128>(value)?.to_be_bytes();
    let mut bytes = SmallVec::from_elem(0, len);
    for (byte, from) in bytes.iter_mut().rev().zip(value.iter().rev()) {
        *byte = *from;
    }
    let fits = value.iter().rev().skip(len).all(|it| *it == 0);
    fits.then_some(bytes)
}

impl fmt::Debug for Crypto<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line that is written wrong may have its key where the suite should be.
        write!(f, "Crypto({} <redacted>)", self.tag)
    }
}

impl fmt::Debug for InlineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineKey(<redacted>)")
    }
}

/// Some peers leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const IDENTIFIER_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_are_read() {
        for (line, expected) in [
            ("1 AES_CM_128_HMAC_SHA1_80 inline:KEY", Some((1, 30, vec![]))),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4", Some((1, 30, vec![0, 0, 0, 1]))),
            ("1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:4", Some((1, 30, vec![0, 0, 0, 1]))),
            ("1 AES_CM_128_HMAC_SHA1_80 INLINE:KEY|1048576|258:2", Some((1, 30, vec![1, 2]))),
            ("999999999  X\tinline:KEY  WSH=64 -X=1 KDR=0", Some((999_999_999, 30, vec![]))),
            ("1 X inline:QUI=", Some((1, 2, vec![]))),
            ("1 X inline:QUI", Some((1, 2, vec![]))),
            ("1 X inline:KEY|1:18", Some((1, 30, [vec![0; 17], vec![1]].concat()))),
        ] {
            check(line, expected);
        }
    }

    #[test]
    fn lines_of_no_use_are_none() {
        for line in [
            "1 X inline:KEY;inline:KEY|2:1",
            "1 X inline:KEY|",
            "1 X inline:KEY|2^49",
            "1 X inline:KEY|0",
            "1 X inline:KEY|2^20|2^20",
            "1 X inline:KEY|1:0",
            "1 X inline:KEY|256:1",
            "1 X inline:KEY|-1:4",
            "1 X inline:KEY|1:129",
            "1 X inline:KEY|1:4|1:4",
            "1 X inline:*",
            "1 X other:KEY",
            "1 X inline:KEY UNENCRYPTED_SRTP",
            "1 X inline:KEY UNENCRYPTED_SRTCP",
            "1 X inline:KEY UNAUTHENTICATED_SRTP",
            "1 X inline:KEY KDR=1",
            "1 X inline:KEY FEC_ORDER=FEC_SRTP",
            "1 X inline:KEY SOMETHING",
        ] {
            assert!(Crypto::parse(line).is_some(), "{line}");
            check(line, None);
        }
        for line in ["", "1", "1 X", "1 X inline", "x X inline:KEY", "-1 X inline:KEY", "1000000000 X inline:KEY"] {
            assert!(Crypto::parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn keys_are_written_as_they_are_read_and_do_not_print_themselves() {
        let line = format!("7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let crypto = Crypto::parse(&line).expect("a line");
        let key = crypto.key().expect("a key");
        assert_eq!(*InlineKey::write(&key.key_and_salt), format!("inline:{KEY}"));
        let printed = format!("{crypto:?} {key:?}");
        assert!(!printed.contains("WVN") && !printed.contains("89"), "{printed}");
    }

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, usize, Vec<u8>)>) {
        let line = line.replace("KEY", KEY);
        let crypto = Crypto::parse(&line);
        let found = crypto.and_then(|it| Some((it.tag, it.key()?)));
        let found = found.map(|(tag, key)| (tag, key.key_and_salt.len(), key.identifier.to_vec()));
        assert_eq!(found, expected, "{line}");
    }
}
