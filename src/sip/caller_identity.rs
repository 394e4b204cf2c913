//! Who calls, as networks say it: P-Asserted-Identity (RFC 3325), Privacy (RFC 3323), Remote-Party-ID
//! (draft-ietf-sip-privacy-04), Identity (RFC 8224, 8225, 8588) and `verstat` (3GPP TS 24.229 §7.2A.20).
//!
//! Nothing here is verified: a signature is carried, and what is signed is read. Whoever believes it has to trust the peer
//! that it came from.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::header_name::HeaderName;
use super::headers::Headers;
use super::name_addr::NameAddr;
use super::params::Params;
use super::text::trim;

/// What a caller wants others not to see (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// `id`, `user` or `header`: who it is.
    pub of_caller: bool,
    /// `session`: where its media are.
    pub of_session: bool,
    /// `history`: whom it called before.
    pub of_history: bool,
    /// `critical`: rather no call than one without.
    pub is_critical: bool,
}

/// One Remote-Party-ID.
#[derive(Clone, Debug)]
pub struct RemoteParty {
    address: NameAddr,
}

/// One Identity: a signed statement about the caller.
#[derive(Clone, Copy, Debug)]
pub struct SignedIdentity<'a> {
    token: &'a str,
    /// `info` (where the certificate is), `alg`, `ppt`.
    pub params: Params<'a>,
}

/// What is stated in an Identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passport {
    /// How well the first network knows the caller (RFC 8588 §4).
    pub attestation: Option<Attestation>,
    /// The caller's number.
    pub from: Option<String>,
    /// When it was signed, in seconds since the Unix epoch.
    pub issued_unix_s: Option<u64>,
    /// By which customer or gateway the call came in, as the first network tells them apart.
    pub origin: Option<String>,
}

/// How well the first network knows a caller (RFC 8588 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// `A`: it knows the caller, who may use the number.
    Full,
    /// `B`: it knows the caller, but not whether it may use the number.
    Partial,
    /// `C`: it only knows where the call came in.
    Gateway,
}

impl Attestation {
    /// The letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Full => "A",
            Self::Partial => "B",
            Self::Gateway => "C",
        }
    }

    fn of(letter: &str) -> Option<Self> {
        [Self::Full, Self::Partial, Self::Gateway].into_iter().find(|it| it.letter().eq_ignore_ascii_case(letter))
    }
}

impl RemoteParty {
    /// Who.
    pub const fn address(&self) -> &NameAddr {
        &self.address
    }

    /// Whether it is the caller that is described, not the called side.
    pub fn is_caller(&self) -> bool {
        self.address.params().value("party").is_none_or(|it| it.eq_ignore_ascii_case("calling"))
    }

    /// Whether the network has checked it.
    pub fn is_screened(&self) -> bool {
        self.address.params().value("screen").is_some_and(|it| it.eq_ignore_ascii_case("yes"))
    }

    /// Whether it is not for others to see.
    pub fn is_private(&self) -> bool {
        self.address.params().unquoted("privacy").is_some_and(|it| !it.eq_ignore_ascii_case("off"))
    }
}

impl<'a> SignedIdentity<'a> {
    /// `None` unless it has the three parts of a signed token.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (token, params) = text.split_once(';').map_or((text, ""), |(token, params)| (token, params));
        let token = trim(token);
        (token.split('.').count() == 3).then(|| Self { token, params: Params::new(trim(params)) })
    }

    /// The token as written.
    pub const fn token(&self) -> &'a str {
        self.token
    }

    /// What is stated; `None` in the short form, which leaves it out (RFC 8225 §7), and if it cannot be read.
    pub fn passport(&self) -> Option<Passport> {
        let claims = self.token.split('.').nth(1).filter(|it| !it.is_empty())?;
        let claims: Value = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
        let text = |it: &Value| it.as_str().map(str::to_owned);
        let from = claims.get("orig").and_then(|it| it.get("tn").or_else(|| it.get("uri")));
        Some(Passport {
            attestation: claims.get("attest").and_then(Value::as_str).and_then(Attestation::of),
            from: from.and_then(text),
            issued_unix_s: claims.get("iat").and_then(Value::as_u64),
            origin: claims.get("origid").and_then(text),
        })
    }
}

impl Headers {
    /// P-Asserted-Identity; malformed ones are left out.
    pub fn asserted_identities(&self) -> impl Iterator<Item = NameAddr> {
        self.list(&HeaderName::PAssertedIdentity).filter_map(|it| NameAddr::parse(it).ok())
    }

    /// Remote-Party-ID; malformed ones are left out.
    pub fn remote_parties(&self) -> impl Iterator<Item = RemoteParty> {
        let all = self.list(&HeaderName::RemotePartyId).filter_map(|it| NameAddr::parse(it).ok());
        all.map(|address| RemoteParty { address })
    }

    /// Privacy.
    pub fn privacy(&self) -> Privacy {
        let mut privacy = Privacy::default();
        for value in self.all(&HeaderName::Privacy).flat_map(|it| it.split([';', ','])).map(trim) {
            let is = |name: &str| value.eq_ignore_ascii_case(name);
            privacy.of_caller |= is("id") || is("user") || is("header");
            privacy.of_session |= is("session");
            privacy.of_history |= is("history");
            privacy.is_critical |= is("critical");
        }
        privacy
    }

    /// Identity; malformed ones are left out.
    pub fn signed_identities(&self) -> impl Iterator<Item = SignedIdentity<'_>> {
        self.list(&HeaderName::Identity).filter_map(SignedIdentity::parse)
    }

    /// What the network found of the caller's signature, as it says in P-Asserted-Identity or From: `TN-Validation-Passed`.
    pub fn verification_status(&self) -> Option<String> {
        let asserted = self.asserted_identities().find_map(|it| verstat(&it));
        asserted.or_else(|| verstat(self.from()))
    }
}

fn verstat(address: &NameAddr) -> Option<String> {
    let in_uri = address.uri().params().value("verstat");
    // Of a SIP URI that holds a number, it is a parameter of the number.
    let in_user = || address.uri().user()?.split(';').find_map(|it| it.strip_prefix("verstat="));
    in_uri.or_else(in_user).or_else(|| address.params().value("verstat")).map(str::to_owned)
}

/// Tokens leave the padding out; some signers do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_read_and_not_believed() {
        // {"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://c"} and the claims, with any signature.
        let claims = r#"{"attest":"A","dest":{"tn":["12155550131"]},"iat":1443208345,"orig":{"tn":"12155550121"},"origid":"123e"}"#;
        let token = format!("eyJhbGciOiJFUzI1NiJ9.{}.c2ln", BASE64.encode(claims));
        let text = format!("{token};info=<https://c>;alg=ES256;ppt=\"shaken\"");
        let identity = SignedIdentity::parse(&text).expect("three parts");
        assert_eq!((identity.token(), identity.params.unquoted("ppt").as_deref()), (&*token, Some("shaken")));
        let passport = identity.passport().expect("claims");
        assert_eq!((passport.attestation, passport.issued_unix_s), (Some(Attestation::Full), Some(1_443_208_345)));
        assert_eq!((passport.from.as_deref(), passport.origin.as_deref()), (Some("12155550121"), Some("123e")));
    }

    #[test]
    fn short_and_broken_identities_state_nothing() {
        assert_eq!(SignedIdentity::parse("..c2ln;info=<https://c>").expect("three parts").passport(), None);
        for broken in ["a.!!!!.b", "a.e30", "a", "", "a.W10.b", "a.bm90IGpzb24.b"] {
            let stated = SignedIdentity::parse(broken).and_then(|it| it.passport()).unwrap_or_default();
            assert_eq!(stated, Passport::default(), "{broken}");
        }
        let deep = format!("a.{}.b", BASE64.encode("[".repeat(5_000)));
        assert_eq!(SignedIdentity::parse(&deep).expect("three parts").passport(), None);
    }

    #[test]
    fn what_networks_say_of_a_caller() {
        let read = headers(
            "P-Asserted-Identity: \"Real\" <sip:+4930;verstat=TN-Validation-Passed@h>, tel:+4930\r\n\
             Remote-Party-ID: <sip:7@h>;party=calling;screen=yes;privacy=full\r\nPrivacy: id;critical\r\n",
        );
        let asserted: Vec<_> = read.asserted_identities().map(|it| it.uri().to_string()).collect();
        assert_eq!(asserted, ["sip:+4930;verstat=TN-Validation-Passed@h", "tel:+4930"]);
        assert_eq!(read.verification_status().as_deref(), Some("TN-Validation-Passed"));
        let party = read.remote_parties().next().expect("there is one");
        assert!(party.is_caller() && party.is_screened() && party.is_private());
        assert_eq!(party.address().uri().as_str(), "sip:7@h");
        let privacy = read.privacy();
        assert!(privacy.of_caller && privacy.is_critical && !privacy.of_session && !privacy.of_history);
        assert_eq!(headers("").privacy(), Privacy::default());
    }

    fn headers(lines: &str) -> Headers {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        );
        super::super::Message::parse(bytes::Bytes::from(text)).expect("an INVITE").headers().clone()
    }
}
