//! When two URIs mean the same: RFC 3261 §19.1.4 for `sip` and `sips`, RFC 3966 §4 for `tel`.

use std::collections::BTreeMap;

use super::params::Params;
use super::uri::{Scheme, Uri, unescape};

impl Uri {
    /// Whether both mean the same. Not transitive: a parameter that only one has may or may not count.
    /// URIs of other schemes mean the same if their text is the same.
    pub fn equivalent(&self, other: &Self) -> bool {
        if self.scheme() != other.scheme() {
            return false;
        }
        match self.scheme() {
            Scheme::Sip | Scheme::Sips => self.same_sip(other),
            Scheme::Tel => self.same_tel(other),
            Scheme::Other => self.as_str() == other.as_str(),
        }
    }

    fn same_sip(&self, other: &Self) -> bool {
        let same_host = match (self.host(), other.host()) {
            (Some(one), Some(two)) => one.same(two),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        // An absent port is not 5060: it asks the DNS.
        same_host
            && self.port() == other.port()
            && same_text(self.user(), other.user(), false)
            && same_text(self.password(), other.password(), false)
            && same_params(self.params(), other.params())
            && self.same_headers(other)
    }

    /// Each header counts, whatever its place.
    fn same_headers(&self, other: &Self) -> bool {
        let sorted = |uri: &Self| {
            let mut all: Vec<_> =
                uri.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect();
            all.sort_unstable();
            all
        };
        match (self.has_headers(), other.has_headers()) {
            (false, false) => true,
            _ => sorted(self) == sorted(other),
        }
    }

    /// Visual separators do not count; parameters do, in any order.
    fn same_tel(&self, other: &Self) -> bool {
        let is_digit = |it: &u8| !matches!(it, b'-' | b'.' | b'(' | b')');
        let digits = |uri: &Self| -> Vec<u8> {
            let number = uri.user().unwrap_or_default();
            number.bytes().filter(is_digit).map(|it| it.to_ascii_lowercase()).collect()
        };
        let sorted = |uri: &Self| {
            let lower = |it: &str| unescape(it).to_ascii_lowercase();
            let mut all: Vec<_> = uri.params().iter().map(|(name, value)| (lower(name), value.map(lower))).collect();
            all.sort_unstable();
            all
        };
        digits(self) == digits(other) && sorted(self) == sorted(other)
    }
}

/// Those parameters that may not be absent on one side; the others count where both have them.
const ALWAYS: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// In either order; of several with one name the first counts.
fn same_params(one: Params<'_>, other: Params<'_>) -> bool {
    if one.is_empty() && other.is_empty() {
        return true;
    }
    let by_name = |params: Params<'_>| -> BTreeMap<String, Option<String>> {
        // A map, because a peer can send thousands and each would be looked for among all others.
        let mut map = BTreeMap::new();
        for (name, value) in params.iter() {
            map.entry(name.to_ascii_lowercase()).or_insert_with(|| value.map(str::to_owned));
        }
        map
    };
    let (one, other) = (by_name(one), by_name(other));
    let speaks_for = |one: &BTreeMap<String, Option<String>>, other: &BTreeMap<String, Option<String>>| {
        one.iter().all(|(name, value)| match other.get(name) {
            Some(there) => same_text(value.as_deref(), there.as_deref(), true),
            None => !ALWAYS.contains(&name.as_str()),
        })
    };
    speaks_for(&one, &other) && speaks_for(&other, &one)
}

/// Compares with escapes decoded, except those of reserved characters, which mean another thing unescaped.
fn same_text(one: Option<&str>, other: Option<&str>, ignore_case: bool) -> bool {
    let (one, other) = match (one, other) {
        (None, None) => return true,
        (Some(one), Some(other)) => (one, other),
        (Some(_), None) | (None, Some(_)) => return false,
    };
    let fold =
        |(byte, is_reserved): (u8, bool)| (if ignore_case { byte.to_ascii_lowercase() } else { byte }, is_reserved);
    decoded(one).map(fold).eq(decoded(other).map(fold))
}

/// The bytes that `text` means, and of each whether it was reserved and escaped.
fn decoded(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        let escaped = if byte == b'%' { after.split_first_chunk::<2>() } else { None };
        let value = escaped.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (escaped, value) {
            (Some((_, after)), Some(value)) => {
                rest = after;
                Some((value, b";/?:@&=+$,".contains(&value)))
            }
            _ => Some((byte, false)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, expect: bool) {
        let parse = |it: &str| Uri::parse(it).unwrap_or_else(|error| panic!("{it}: {error}"));
        assert_eq!(parse(one).equivalent(&parse(other)), expect, "{one} {other}");
        assert_eq!(parse(other).equivalent(&parse(one)), expect, "{other} {one}");
    }

    #[test]
    fn sip_uris_compare_as_the_rfc_says() {
        check("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true);
        check("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true);
        check("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true);
        check(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            true,
        );
        check(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            true,
        );
        check("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false);
        check("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false);
        check("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false);
        check("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false);
        check("sip:a;b@c.example", "sip:a%3Bb@c.example", false);
        check("sip:a@c.example", "sips:a@c.example", false);
        check("sip:a:b@c.example", "sip:a@c.example", false);
        check("sip:c.example", "sip:a@c.example", false);
        check("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", true);
    }

    #[test]
    fn telephone_numbers_compare_without_separators() {
        check("tel:+1-201-555-0123", "tel:+1(201)5550123", true);
        check("tel:7042;phone-context=example.com", "tel:7042;phone-context=EXAMPLE.com", true);
        check("tel:7042;phone-context=example.com", "tel:7042;phone-context=example.org", false);
        check("tel:+12015550123", "tel:12015550123", false);
        check("urn:service:sos", "urn:service:sos", true);
        check("urn:service:sos", "urn:service:SOS", false);
    }
}
