//! What a digest is computed from: RFC 7616 §3.4.1–§3.4.3, §3.5, with the hash functions of RFC 8760 §2.

use std::fmt;
use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use crate::sip::{Counted, DigestAlgorithm, Qop};

/// What the credentials of a request protect.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'a> {
    /// The method, which is no personal data, unlike what follows.
    pub method: &'a str,
    /// The Request-URI as written.
    pub uri: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Digest of user, realm and password: as good as the password, within the realm.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UserDigest(Box<str>);

impl UserDigest {
    pub(super) fn new(algorithm: DigestAlgorithm, user: &str, realm: &str, password: &str) -> Self {
        Self(hash(algorithm, &[user.as_bytes(), realm.as_bytes(), password.as_bytes()]).into())
    }

    /// What takes its place in a session that began with these nonces (§3.4.2, the `-sess` variants).
    pub(super) fn in_session(&self, algorithm: DigestAlgorithm, nonce: &str, cnonce: &str) -> Self {
        Self(hash(algorithm, &[self.0.as_bytes(), nonce.as_bytes(), cnonce.as_bytes()]).into())
    }

    /// What nobody's digest is, as long as that of somebody.
    pub(super) fn of_nobody(algorithm: DigestAlgorithm, secret: &[u8], user: &str) -> Self {
        Self(hash(algorithm, &[secret, user.as_bytes()]).into())
    }
}

impl fmt::Debug for UserDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The `response` of credentials.
pub(super) fn response(
    algorithm: DigestAlgorithm,
    user: &UserDigest,
    nonce: &str,
    counted: Option<Counted<'_>>,
    request: Protected<'_>,
) -> String {
    keyed(algorithm, user, nonce, counted, request.method, request)
}

/// The `rspauth` of a server (§3.5): as the response, without the method and over the body of the answer.
pub(super) fn rspauth(
    algorithm: DigestAlgorithm,
    user: &UserDigest,
    nonce: &str,
    counted: Option<Counted<'_>>,
    answer: Protected<'_>,
) -> String {
    keyed(algorithm, user, nonce, counted, "", answer)
}

fn keyed(
    algorithm: DigestAlgorithm,
    user: &UserDigest,
    nonce: &str,
    counted: Option<Counted<'_>>,
    method: &str,
    message: Protected<'_>,
) -> String {
    let (method, uri) = (method.as_bytes(), message.uri.as_bytes());
    let protected = match counted.map(|it| it.qop) {
        Some(Qop::AuthInt) => {
            let body = hash(algorithm, &[message.body]);
            hash(algorithm, &[method, uri, body.as_bytes()])
        }
        Some(Qop::Auth) | None => hash(algorithm, &[method, uri]),
    };
    let (user, nonce, protected) = (user.0.as_bytes(), nonce.as_bytes(), protected.as_bytes());
    match counted {
        Some(Counted { qop, cnonce, nc }) => {
            let qop = qop.as_str().as_bytes();
            hash(algorithm, &[user, nonce, nc.as_bytes(), cnonce.as_bytes(), qop, protected])
        }
        None => hash(algorithm, &[user, nonce, protected]),
    }
}

/// The hash of the parts with colons between them, in hexadecimal digits.
fn hash(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> String {
    match algorithm {
        DigestAlgorithm::Md5 | DigestAlgorithm::Md5Session => hash_with::<Md5>(parts),
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha256Session => hash_with::<Sha256>(parts),
        DigestAlgorithm::Sha512_256 | DigestAlgorithm::Sha512_256Session => hash_with::<Sha512_256>(parts),
    }
}

fn hash_with<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    hexadecimal(&digest.finalize())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUFASA: Counted<'_> =
        Counted { qop: Qop::Auth, cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", nc: "00000001" };

    #[track_caller]
    fn check(algorithm: DigestAlgorithm, expect: &str) {
        let user = UserDigest::new(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
        let request = Protected { method: "GET", uri: "/dir/index.html", body: b"" };
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        assert_eq!(response(algorithm, &user, nonce, Some(MUFASA), request), expect);
    }

    #[test]
    fn examples_of_rfc_7616() {
        check(DigestAlgorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec");
        check(DigestAlgorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    /// RFC 8760 has no digests to compare with, and that of RFC 7616 §3.9.2 is wrong (erratum 4897): this one is from
    /// another implementation of SHA-512/256, over the texts of §3.9.1.
    #[test]
    fn sha_512_256_agrees_with_another_implementation() {
        check(DigestAlgorithm::Sha512_256, "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0");
    }

    /// Computed with Python's hashlib from the texts of §3.9.1.
    #[test]
    fn a_session_puts_its_first_nonces_into_the_digest() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let request = Protected { method: "GET", uri: "/dir/index.html", body: b"" };
        for (algorithm, expect) in [
            (DigestAlgorithm::Md5Session, "e783283f46242139c486a698fec7211d"),
            (DigestAlgorithm::Sha256Session, "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7"),
            (DigestAlgorithm::Sha512_256Session, "3f2a34f923c38b0fb26dce2fdfc2ce326c23cecf86fbb1444f3e51fbbc2cb92e"),
        ] {
            let user = UserDigest::new(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            let session = user.in_session(algorithm, nonce, MUFASA.cnonce);
            assert_eq!(response(algorithm, &session, nonce, Some(MUFASA), request), expect, "{algorithm:?}");
        }
    }

    #[test]
    fn protections_differ() {
        let user = UserDigest::new(DigestAlgorithm::Md5, "bob", "biloxi.com", "zanzibar");
        let invite = Protected { method: "INVITE", uri: "sip:bob@biloxi.com", body: b"v=0\r\n" };
        let with =
            |counted| response(DigestAlgorithm::Md5, &user, "dcd98b7102dd2f0e8b11d0f600bfb0c093", counted, invite);
        let counted = |qop| Some(Counted { qop, cnonce: "0a4f113b", nc: "00000001" });
        assert_eq!(with(None), "bf57e4e0d0bffc0fbaedce64d59add5e");
        assert_eq!(with(counted(Qop::Auth)), "89eb0059246c02b2f6ee02c7961d5ea3");
        let other = Protected { body: b"v=1\r\n", ..invite };
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let of_other = response(DigestAlgorithm::Md5, &user, nonce, counted(Qop::AuthInt), other);
        assert_ne!(with(counted(Qop::AuthInt)), of_other);
        assert_eq!(format!("{user:?}"), "<secret>");
    }
}
