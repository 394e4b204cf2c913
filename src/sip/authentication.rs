//! Challenges and credentials: WWW-Authenticate, Proxy-Authenticate, Authorization, Proxy-Authorization and
//! Authentication-Info (RFC 3261 §20.6, §20.7, §20.27, §20.28, §20.44; RFC 7616 §3.3–§3.5; RFC 8760 §2).
//!
//! Deviations: a value may stand with or without quotes, whatever its parameter wants, and an unquoted one may hold any
//! visible character but a comma, quote or backslash; empty list elements are skipped; one field may hold several
//! challenges (RFC 9110 §11.6.1, which RFC 3261 forbids).

use std::borrow::Cow;
use std::fmt;

use super::header_name::HeaderName;
use super::headers::{HeaderError, Headers};
use super::text::{is_token_byte, quoted, quoted_length, trim, unescape_quoted};

/// What a server asks for: a scheme and its parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a>(Element<'a>);

/// What a client shows: a scheme and its parameters. `Debug` does not show them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a>(Element<'a>);

/// Parameters separated by commas, in their order. Names are compared without regard to case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthParams<'a>(&'a str);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Element<'a> {
    text: &'a str,
    scheme: &'a str,
    params: AuthParams<'a>,
}

impl<'a> Challenge<'a> {
    /// The challenges of one field; `None` unless all of it is well-formed.
    pub fn parse_all(text: &'a str) -> Option<Vec<Self>> {
        Some(elements(text)?.into_iter().map(Self).collect())
    }

    /// The scheme as written.
    pub const fn scheme(&self) -> &'a str {
        self.0.scheme
    }

    /// What follows the scheme.
    pub const fn params(&self) -> AuthParams<'a> {
        self.0.params
    }

    /// As written.
    pub const fn as_str(&self) -> &'a str {
        self.0.text
    }

    /// The challenge as one of the Digest scheme; `None` for another scheme, and without realm or nonce.
    pub fn digest(&self) -> Option<DigestChallenge<'a>> {
        DigestChallenge::read(&self.0)
    }
}

impl<'a> Credentials<'a> {
    /// `None` unless there is exactly one scheme with well-formed parameters.
    pub fn parse(text: &'a str) -> Option<Self> {
        match *elements(text)? {
            [one] => Some(Self(one)),
            _ => None,
        }
    }

    /// The scheme as written.
    pub const fn scheme(&self) -> &'a str {
        self.0.scheme
    }

    /// What follows the scheme.
    pub const fn params(&self) -> AuthParams<'a> {
        self.0.params
    }

    /// As written.
    pub const fn as_str(&self) -> &'a str {
        self.0.text
    }

    /// The credentials as those of the Digest scheme; `None` for another scheme, and without what every response has.
    pub fn digest(&self) -> Option<DigestCredentials<'a>> {
        DigestCredentials::read(&self.0)
    }
}

impl fmt::Debug for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({})", self.0.scheme)
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.0.scheme)
    }
}

impl<'a> AuthParams<'a> {
    /// `None` unless `text` is a list of `name=value`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text;
        while let Some(item) = next_item(&mut rest) {
            let Item::Param { .. } = item? else {
                return None;
            };
        }
        Some(Self(text))
    }

    /// As written.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Name and value of each, the value as written, with quotes and escapes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || match next_item(&mut rest)?? {
            Item::Param { name, value } => Some((name, value)),
            // The token68 of another scheme.
            Item::Scheme { .. } => None,
        })
    }

    /// The value of the first of this name without its quotes, but with its escapes: what digests are computed from.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| without_quotes(value))
    }

    /// The value of the first of this name, without quotes and escapes.
    pub fn unescaped(self, name: &str) -> Option<Cow<'a, str>> {
        self.value(name).map(unescape_quoted)
    }
}

impl Headers {
    /// The challenges of all WWW-Authenticate or Proxy-Authenticate fields, in order. A malformed field is one error, and
    /// no reason not to answer another.
    pub fn challenges(&self, name: &HeaderName) -> impl Iterator<Item = Result<Challenge<'_>, HeaderError>> {
        self.all(name).flat_map(move |field| match Challenge::parse_all(field) {
            Some(all) => all.into_iter().map(Ok).collect(),
            None => vec![Err(HeaderError(name.clone()))],
        })
    }

    /// The credentials of all Authorization or Proxy-Authorization fields, in order.
    pub fn credentials(&self, name: &HeaderName) -> impl Iterator<Item = Result<Credentials<'_>, HeaderError>> {
        self.all(name).map(move |field| Credentials::parse(field).ok_or_else(|| HeaderError(name.clone())))
    }

    /// Authentication-Info (RFC 7616 §3.5).
    pub fn authentication_info(&self) -> Option<Result<AuthenticationInfo<'_>, HeaderError>> {
        let field = self.get(&HeaderName::AuthenticationInfo)?;
        Some(AuthenticationInfo::parse(field).ok_or(HeaderError(HeaderName::AuthenticationInfo)))
    }
}

/// A hash function of digest authentication, and whether the first nonces of a session go into all that follows (the
/// `-sess` variants of RFC 7616 §3.4.2). Later ones are preferred: they are stronger, or of equals the simpler one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// `MD5-sess`.
    Md5Session,
    /// `MD5`: what a challenge without `algorithm` means.
    Md5,
    /// `SHA-256-sess`.
    Sha256Session,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256-sess`.
    Sha512_256Session,
    /// `SHA-512-256`.
    Sha512_256,
}

impl DigestAlgorithm {
    /// Every algorithm, the most preferred first.
    pub const ALL: [Self; 6] =
        [Self::Sha512_256, Self::Sha512_256Session, Self::Sha256, Self::Sha256Session, Self::Md5, Self::Md5Session];

    /// `None` for algorithms that are not known here.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text))
    }

    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5Session => "MD5-sess",
            Self::Md5 => "MD5",
            Self::Sha256Session => "SHA-256-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256Session => "SHA-512-256-sess",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// Whether it is a `-sess` variant.
    pub const fn is_session(self) -> bool {
        match self {
            Self::Md5Session | Self::Sha256Session | Self::Sha512_256Session => true,
            Self::Md5 | Self::Sha256 | Self::Sha512_256 => false,
        }
    }
}

/// What a digest protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body, too.
    AuthInt,
}

impl Qop {
    /// `None` for what is not known here.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text))
    }

    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// The protections that a challenge offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QopOffer {
    /// `auth`.
    pub auth: bool,
    /// `auth-int`.
    pub auth_int: bool,
}

/// A challenge of the Digest scheme. Texts are as they stand between their quotes, escapes included; they are written
/// the same way, so what was not read from a message must be [`is_quotable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestChallenge<'a> {
    /// Whose users are asked for.
    pub realm: &'a str,
    /// What the response is computed from.
    pub nonce: &'a str,
    /// To be given back as it is.
    pub opaque: Option<&'a str>,
    /// Where the credentials count.
    pub domain: Option<&'a str>,
    /// The credentials were right, their nonce too old.
    pub stale: bool,
    /// `None` for one that is not known here.
    pub algorithm: Option<DigestAlgorithm>,
    /// `None` from servers older than RFC 2617.
    pub qop: Option<QopOffer>,
}

/// Credentials of the Digest scheme. Texts are as they stand between their quotes, escapes included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestCredentials<'a> {
    /// The user.
    pub username: &'a str,
    /// Whose user.
    pub realm: &'a str,
    /// That of the challenge.
    pub nonce: &'a str,
    /// The Request-URI when the response was computed.
    pub uri: &'a str,
    /// The digest, hexadecimal.
    pub response: &'a str,
    /// `None` for one that is not known here.
    pub algorithm: Option<DigestAlgorithm>,
    /// That of the challenge.
    pub opaque: Option<&'a str>,
    /// What goes with a `qop`: protection, client nonce and count.
    pub counted: Option<Counted<'a>>,
}

/// What credentials have if the challenge offered a `qop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// What is protected.
    pub qop: Qop,
    /// The client's own nonce.
    pub cnonce: &'a str,
    /// How often the nonce was used: eight hexadecimal digits.
    pub nc: &'a str,
}

impl Counted<'_> {
    /// How often the nonce was used, this time included.
    pub fn count(&self) -> u32 {
        u32::from_str_radix(self.nc, 16).unwrap_or(0)
    }
}

/// What a server tells after the credentials were accepted (RFC 7616 §3.5). Texts as in [`DigestChallenge`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationInfo<'a> {
    /// The nonce to use from now on.
    pub nextnonce: Option<&'a str>,
    /// The proof that the server knows the password, hexadecimal.
    pub rspauth: Option<&'a str>,
    /// Those of the request.
    pub counted: Option<Counted<'a>>,
}

/// Whether a text may stand in quotes as it is, so that both sides compute the same from it.
pub fn is_quotable(text: &str) -> bool {
    !text.contains(['"', '\\']) && !text.chars().any(char::is_control)
}

impl<'a> DigestChallenge<'a> {
    fn read(element: &Element<'a>) -> Option<Self> {
        let [realm, nonce, opaque, domain, stale, algorithm, qop] =
            digest_params(element, ["realm", "nonce", "opaque", "domain", "stale", "algorithm", "qop"])?;
        Some(Self {
            realm: realm?,
            nonce: nonce.filter(|it| !it.is_empty())?,
            opaque,
            domain,
            stale: stale.is_some_and(|it| it.eq_ignore_ascii_case("true")),
            algorithm: algorithm.map_or(Some(DigestAlgorithm::Md5), DigestAlgorithm::parse),
            qop: qop.map(QopOffer::parse),
        })
    }
}

impl QopOffer {
    fn parse(text: &str) -> Self {
        let has = |qop: Qop| text.split(',').any(|it| Qop::parse(it.trim_matches([' ', '\t'])) == Some(qop));
        Self { auth: has(Qop::Auth), auth_int: has(Qop::AuthInt) }
    }
}

impl<'a> DigestCredentials<'a> {
    fn read(element: &Element<'a>) -> Option<Self> {
        let [username, realm, nonce, uri, response, algorithm, opaque, qop, cnonce, nc] = digest_params(
            element,
            ["username", "realm", "nonce", "uri", "response", "algorithm", "opaque", "qop", "cnonce", "nc"],
        )?;
        Some(Self {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?,
            algorithm: algorithm.map_or(Some(DigestAlgorithm::Md5), DigestAlgorithm::parse),
            opaque,
            counted: counted(qop, cnonce, nc)?,
        })
    }
}

impl<'a> AuthenticationInfo<'a> {
    /// `None` unless this is a list of parameters, each once.
    pub fn parse(text: &'a str) -> Option<Self> {
        let params = AuthParams::parse(text)?;
        let [nextnonce, rspauth, qop, cnonce, nc] = once(params, ["nextnonce", "rspauth", "qop", "cnonce", "nc"])?;
        Some(Self { nextnonce, rspauth, counted: counted(qop, cnonce, nc)? })
    }
}

/// `Some(None)` without a `qop`; `None` if something is missing or malformed.
fn counted<'a>(qop: Option<&str>, cnonce: Option<&'a str>, nc: Option<&'a str>) -> Option<Option<Counted<'a>>> {
    let Some(qop) = qop else {
        return Some(None);
    };
    let nc = nc.filter(|it| it.len() == 8 && it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    Some(Some(Counted { qop: Qop::parse(qop)?, cnonce: cnonce?, nc }))
}

fn digest_params<'a, const N: usize>(element: &Element<'a>, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    if !element.scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    once(element.params, names)
}

/// The values of these names; `None` if one of them stands twice.
fn once<'a, const N: usize>(params: AuthParams<'a>, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut found = [None; N];
    for (name, value) in params.iter() {
        let slot = names.iter().zip(&mut found).find(|(it, _)| it.eq_ignore_ascii_case(name));
        if let Some((_, slot)) = slot
            && slot.replace(without_quotes(value)).is_some()
        {
            return None;
        }
    }
    Some(found)
}

impl fmt::Display for DigestChallenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm=\"{}\", nonce=\"{}\"", self.realm, self.nonce)?;
        if let Some(domain) = self.domain {
            write!(f, ", domain=\"{domain}\"")?;
        }
        if let Some(opaque) = self.opaque {
            write!(f, ", opaque=\"{opaque}\"")?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.as_str())?;
        }
        match self.qop {
            Some(QopOffer { auth: true, auth_int: true }) => f.write_str(", qop=\"auth,auth-int\""),
            Some(QopOffer { auth: false, auth_int: true }) => f.write_str(", qop=\"auth-int\""),
            Some(QopOffer { auth: true, auth_int: false }) => f.write_str(", qop=\"auth\""),
            Some(QopOffer { auth: false, auth_int: false }) | None => Ok(()),
        }
    }
}

impl fmt::Display for DigestCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, realm, nonce, uri, response, .. } = self;
        write!(f, "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\"")?;
        write!(f, ", response=\"{response}\"")?;
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.as_str())?;
        }
        if let Some(Counted { qop, cnonce, nc }) = self.counted {
            write!(f, ", cnonce=\"{cnonce}\", qop={}, nc={nc}", qop.as_str())?;
        }
        match self.opaque {
            Some(opaque) => write!(f, ", opaque=\"{opaque}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for AuthenticationInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(nextnonce) = self.nextnonce {
            write!(f, "nextnonce=\"{nextnonce}\"")?;
            separator = ", ";
        }
        if let Some(rspauth) = self.rspauth {
            write!(f, "{separator}rspauth=\"{rspauth}\"")?;
            separator = ", ";
        }
        match self.counted {
            Some(Counted { qop, cnonce, nc }) => {
                write!(f, "{separator}qop={}, cnonce=\"{cnonce}\", nc={nc}", qop.as_str())
            }
            None => Ok(()),
        }
    }
}

/// Without the user and what was computed from the password.
impl fmt::Debug for DigestCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestCredentials({:?}, realm {:?})", self.algorithm, self.realm)
    }
}

impl fmt::Debug for AuthenticationInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticationInfo")
    }
}

impl fmt::Debug for AuthParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthParams({})", self.iter().count())
    }
}

// --- reading ---

enum Item<'a> {
    /// What begins an element; its token68, if it has one, is passed over.
    Scheme {
        scheme: &'a str,
        after: &'a str,
    },
    Param {
        name: &'a str,
        value: &'a str,
    },
}

/// The schemes of a list with the parameters that follow each.
fn elements(text: &str) -> Option<Vec<Element<'_>>> {
    let mut found: Vec<Element<'_>> = vec![];
    let mut rest = text;
    while let Some(item) = next_item(&mut rest) {
        let end = text.len() - rest.len();
        match item? {
            Item::Scheme { scheme, after } => {
                let start = text.len() - after.len() - scheme.len();
                let params = AuthParams(trim(after.get(..end - (text.len() - after.len()))?));
                found.push(Element { text: text.get(start..end)?, scheme, params });
            }
            Item::Param { .. } => {
                let element = found.last_mut()?;
                let start = element.text.as_ptr() as usize - text.as_ptr() as usize;
                element.text = text.get(start..end)?;
                let params = element.text.get(element.scheme.len()..)?;
                element.params = AuthParams(trim(params));
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Takes the next item off the front, and nothing of what follows it but a comma and blanks. `None` at the end,
/// `Some(None)` if it is malformed.
fn next_item<'a>(rest: &mut &'a str) -> Option<Option<Item<'a>>> {
    let front = rest.trim_start_matches([' ', '\t', ',']);
    if front.is_empty() {
        return None;
    }
    Some(item(front).map(|(item, after)| {
        *rest = after;
        item
    }))
}

/// The item at the front and what follows it.
fn item(front: &str) -> Option<(Item<'_>, &str)> {
    let (name, after) = split_at_first(front, |it| !is_token_byte(it));
    if name.is_empty() {
        return None;
    }
    let blankless = after.trim_start_matches([' ', '\t']);
    if let Some(value) = blankless.strip_prefix('=') {
        let value = value.trim_start_matches([' ', '\t']);
        let (value, after) = match quoted_length(value.as_bytes()) {
            Some(length) => value.split_at_checked(length)?,
            None => split_at_first(value, |it| it <= b' ' || matches!(it, b',' | b'"' | b'\\' | 0x7f)),
        };
        if value.is_empty() || !ends_item(after) {
            return None;
        }
        return Some((Item::Param { name, value }, after));
    }
    let is_alone = blankless.is_empty() || blankless.starts_with(',');
    if !is_alone && blankless.len() == after.len() {
        return None;
    }
    let is_token68 = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let (token68, tail) = split_at_first(blankless, |it| !is_token68(it));
    let tail = tail.trim_start_matches('=');
    let scheme = Item::Scheme { scheme: name, after };
    if is_alone || (!token68.is_empty() && ends_item(tail)) {
        return Some((scheme, if is_alone { after } else { tail }));
    }
    // A parameter must follow; the next look finds it or refuses.
    let (next, _) = split_at_first(blankless, |it| !is_token_byte(it));
    let follows = blankless.get(next.len()..)?.trim_start_matches([' ', '\t']).starts_with('=');
    (!next.is_empty() && follows).then_some((scheme, blankless))
}

fn ends_item(after: &str) -> bool {
    let after = after.trim_start_matches([' ', '\t']);
    after.is_empty() || after.starts_with(',')
}

/// Splits before the first byte that ends it. `ends` must tell ASCII characters only.
fn split_at_first(text: &str, ends: impl Fn(u8) -> bool) -> (&str, &str) {
    let at = text.bytes().position(ends).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn without_quotes(value: &str) -> &str {
    quoted(value).map_or(value, |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every challenge as `scheme|name=value|…`.
    #[track_caller]
    fn check(field: &str, expect: Option<&[&str]>) {
        let all = Challenge::parse_all(field);
        let show = |it: &Challenge<'_>| {
            let params: String = it.params().iter().map(|(name, value)| format!("|{name}={value}")).collect();
            format!("{}{params}", it.scheme())
        };
        let found: Option<Vec<_>> = all.as_ref().map(|it| it.iter().map(show).collect());
        assert_eq!(found, expect.map(|it| it.iter().map(|it| (*it).to_owned()).collect()), "{field}");
        for challenge in all.iter().flatten() {
            assert!(field.contains(challenge.as_str()));
            let again = Challenge::parse_all(challenge.as_str()).expect("one of them alone");
            assert_eq!(again.first().map(Challenge::as_str), Some(challenge.as_str()));
        }
    }

    #[test]
    fn fields_hold_one_or_more_challenges() {
        check("Digest realm=\"a, b\",nonce=c", Some(&["Digest|realm=\"a, b\"|nonce=c"]));
        check("Digest realm = \"a\" ,\tnonce = c ,", Some(&["Digest|realm=\"a\"|nonce=c"]));
        check("Digest a=b, Digest c=d, e=f", Some(&["Digest|a=b", "Digest|c=d|e=f"]));
        check("Negotiate, Digest a=b", Some(&["Negotiate", "Digest|a=b"]));
        check("Basic YWJj==, Digest a=b", Some(&["Basic|YWJj==", "Digest|a=b"]));
        check("digest a=\"\\\"x\\\\\"", Some(&["digest|a=\"\\\"x\\\\\""]));
        check("Digest a=b,, ,c=<sip:x;y>", Some(&["Digest|a=b|c=<sip:x;y>"]));
    }

    #[test]
    fn malformed_fields_are_refused() {
        for bad in ["", ",", "a=b", "Digest a=\"b", "Digest a=b c=d", "Digest a=\"b\"c", "Digest \"a\"=b"] {
            check(bad, None);
        }
        for bad in ["Digest a b", "Digest=, x", "Digest a=b\u{1}", "Dig\u{e9}st a=b", "Digest a=b; c=d e"] {
            check(bad, None);
        }
        assert!(Credentials::parse("Digest a=b, Digest c=d").is_none());
        assert!(AuthParams::parse("a=b, Digest c=d").is_none() && AuthParams::parse("a=b, c=\"d\"").is_some());
    }

    #[test]
    fn digest_challenges_are_read_and_written() {
        let read = |field: &'static str| Challenge::parse_all(field).and_then(|it| it.first()?.digest());
        let written =
            "Digest realm=\"a\", nonce=\"n\", opaque=\"o\", stale=true, algorithm=SHA-256, qop=\"auth,auth-int\"";
        let challenge = read(written).expect("valid");
        assert_eq!(challenge.qop, Some(QopOffer { auth: true, auth_int: true }));
        assert_eq!((challenge.stale, challenge.algorithm), (true, Some(DigestAlgorithm::Sha256)));
        assert_eq!(challenge.to_string(), written);
        let bare = read("Digest realm=a,nonce=n,algorithm=\"sha-512-256\",qop=auth").expect("valid");
        assert_eq!((bare.algorithm, bare.qop.map(|it| it.auth)), (Some(DigestAlgorithm::Sha512_256), Some(true)));
        assert_eq!(read("Digest realm=a,nonce=n").and_then(|it| it.algorithm), Some(DigestAlgorithm::Md5));
        assert_eq!(read("Digest realm=a,nonce=n,algorithm=MD4-sess").map(|it| it.algorithm), Some(None));
        for bad in ["Basic realm=a", "Digest realm=a", "Digest nonce=n", "Digest realm=a,nonce=n,Nonce=m"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn digest_credentials_are_read_and_written() {
        let written = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0a\", algorithm=MD5, \
            cnonce=\"c\", qop=auth-int, nc=0000000A, opaque=\"\"";
        let credentials = Credentials::parse(written).and_then(|it| it.digest()).expect("valid");
        assert_eq!(credentials.counted.map(|it| (it.qop, it.count())), Some((Qop::AuthInt, 10)));
        assert_eq!(credentials.to_string(), written);
        let shown = format!("{credentials:?}{:?}", Credentials::parse(written).expect("valid"));
        assert!(!shown.contains("0a") && !shown.contains('u'), "{shown}");
        for (part, other) in [("nc=0000000A", "nc=A"), ("nc=0000000A", "nc=+000000A"), ("=\"0a\"", "=\"zz\"")] {
            assert_eq!(Credentials::parse(&written.replace(part, other)).and_then(|it| it.digest()), None, "{other}");
        }
        for part in ["qop=auth-int", "cnonce=\"c\"", "uri=\"sip:x\"", "response=\"0a\""] {
            let without = written.replace(part, "x=y");
            let counted = Credentials::parse(&without).and_then(|it| it.digest()).map(|it| it.counted.is_some());
            assert_eq!(counted, if part == "qop=auth-int" { Some(false) } else { None }, "{part}");
        }
    }

    #[test]
    fn information_is_read_and_written() {
        let written = "nextnonce=\"n\", rspauth=\"0a\", qop=auth, cnonce=\"c\", nc=00000001";
        assert_eq!(AuthenticationInfo::parse(written).map(|it| it.to_string()).as_deref(), Some(written));
        assert!(AuthenticationInfo::parse("nextnonce=a, nextnonce=b").is_none());
    }
}
