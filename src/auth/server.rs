//! Asking for credentials and judging them: RFC 7616 §3.3–§3.5, RFC 8760 §2.3, RFC 3261 §22.
//!
//! What strangers can tell apart, they can use: unknown users cost the same work and get the same answers as known ones
//! with a wrong password. Credentials without `qop` are wrong ones, because they could be replayed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use subtle::ConstantTimeEq;

use super::client::NotQuotable;
use super::digest::{Protected, UserDigest, response, rspauth};
use super::failures::Failures;
use super::nonce::Nonces;
use super::{Authenticated, Side};
use crate::identity::{AccountId, Secret};
use crate::limits::NONCE_S_MAX;
use crate::sip::{
    AuthenticationInfo, Credentials, DigestAlgorithm, DigestChallenge, DigestCredentials, HeaderName, Qop, QopOffer,
    Request, Uri, is_quotable,
};
use crate::timer::Now;

/// What a server asks for.
#[derive(Clone, Debug)]
pub struct DigestServerConfig {
    /// Whose users it asks for.
    pub realm: String,
    /// What it offers, the first being the one it prefers. One challenge each: old clients answer the last or the only
    /// one that they know.
    pub algorithms: Vec<DigestAlgorithm>,
    /// Whether bodies may be protected, too.
    pub auth_int: bool,
    /// How long a nonce may be used.
    pub nonce_lifetime: Duration,
    /// Whether those who are granted get the proof that we know the password, too, and the next nonce before the one that
    /// they use is stale (RFC 7616 §3.5).
    pub informs: bool,
}

/// Judges credentials of the users of one realm.
pub struct DigestServer {
    config: DigestServerConfig,
    users: BTreeMap<Box<str>, User>,
    nonces: Nonces,
    failures: Failures,
    stats: DigestServerStats,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestServerStats {
    /// Right credentials.
    pub granted: u64,
    /// Requests without credentials for the realm.
    pub without_credentials: u64,
    /// Wrong password, unknown user, other URI, or not understood.
    pub wrong: u64,
    /// Right, but the nonce is not ours or too old.
    pub stale: u64,
    /// Right, but seen before.
    pub replayed: u64,
    /// Not looked at: too many wrong ones came from there.
    pub blocked: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Its sender is known.
    Granted(Box<Granted>),
    /// Answer it with the status of the side and these header fields.
    Challenged(Vec<(HeaderName, String)>),
    /// Do not listen to its sender for a while: answer 403 or nothing.
    Blocked,
}

/// Credentials that were right.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Whose.
    pub who: Authenticated,
    answer: Answer,
}

/// What the proof that we know the password is computed from.
#[derive(Clone, Debug)]
struct Answer {
    algorithm: DigestAlgorithm,
    digest: UserDigest,
    /// The credentials as written.
    credentials: Box<str>,
    /// The nonce to use from now on, if another one.
    next: Option<Box<str>>,
}

#[derive(Clone, Debug)]
struct User {
    account: AccountId,
    /// In the order of [`DigestAlgorithm::ALL`].
    digests: [UserDigest; DigestAlgorithm::ALL.len()],
}

impl DigestServerConfig {
    /// SHA-256 and MD5 without protection of bodies: what telephones answer.
    pub fn new(realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            auth_int: false,
            nonce_lifetime: Duration::from_secs(NONCE_S_MAX),
            informs: false,
        }
    }
}

impl DigestServer {
    /// A server without users; its key comes from `rng`. A realm that cannot stand in quotes is refused.
    pub fn new(config: DigestServerConfig, rng: &mut ChaCha12Rng, now: Now) -> Result<Self, NotQuotable> {
        if !is_quotable(&config.realm) {
            return Err(NotQuotable);
        }
        let nonces = Nonces::new(config.nonce_lifetime, rng, now);
        let (users, failures, stats) = (BTreeMap::new(), Failures::default(), DigestServerStats::default());
        Ok(Self { config, users, nonces, failures, stats })
    }

    /// Adds a user, or changes the password. A name that cannot stand in quotes is refused. The password is not kept.
    pub fn insert_user(&mut self, account: AccountId, name: &str, password: &Secret) -> Result<(), NotQuotable> {
        if !is_quotable(name) {
            return Err(NotQuotable);
        }
        let realm = &self.config.realm;
        let digests = DigestAlgorithm::ALL.map(|it| UserDigest::new(it, name, realm, password.reveal()));
        self.users.insert(name.into(), User { account, digests });
        Ok(())
    }

    /// Judges a request that came from `source`.
    pub fn check(&mut self, request: &Request, side: Side, source: IpAddr, now: Now) -> Verdict {
        if self.failures.is_blocked(source, now) {
            self.stats.blocked += 1;
            return Verdict::Blocked;
        }
        let name = side.credentials_header();
        let mut is_malformed = false;
        for credentials in request.headers().credentials(&name) {
            match credentials.ok().map(|it| it.digest()) {
                Some(Some(digest)) if digest.realm == self.config.realm => {
                    return self.judge(&digest, request, side, source, now);
                }
                Some(Some(_)) => (),
                Some(None) | None => is_malformed = true,
            }
        }
        if is_malformed {
            self.stats.wrong += 1;
            self.failures.count(source, now);
        } else {
            self.stats.without_credentials += 1;
        }
        self.challenge(side, false, now)
    }

    /// Whether answers to those who are granted are to hold an Authentication-Info.
    pub const fn informs(&self) -> bool {
        self.config.informs
    }

    /// What was judged since the start.
    pub const fn stats(&self) -> &DigestServerStats {
        &self.stats
    }

    /// How many users there are, and how many used nonces are remembered.
    pub fn counts(&self) -> (usize, usize) {
        (self.users.len(), self.nonces.len())
    }

    fn judge(
        &mut self,
        shown: &DigestCredentials<'_>,
        request: &Request,
        side: Side,
        source: IpAddr,
        now: Now,
    ) -> Verdict {
        let offered = shown.algorithm.filter(|it| self.config.algorithms.contains(it));
        let counted = shown.counted.filter(|it| it.qop == Qop::Auth || self.config.auth_int);
        let (Some(algorithm), Some(counted)) = (offered, counted) else {
            self.stats.wrong += 1;
            self.failures.count(source, now);
            return self.challenge(side, false, now);
        };
        // Computed for known users, too: the time must not tell.
        let nobody = UserDigest::of_nobody(algorithm, self.nonces.key(), shown.username);
        let user = self.users.get(shown.username);
        let index = DigestAlgorithm::ALL.iter().position(|it| *it == algorithm).unwrap_or_default();
        let digest = user.and_then(|it| it.digests.get(index)).unwrap_or(&nobody);
        let digest = match algorithm.is_session() {
            true => digest.in_session(algorithm, shown.nonce, counted.cnonce),
            false => digest.clone(),
        };
        let method = request.method().as_str();
        let protected = Protected { method, uri: shown.uri, body: request.body() };
        let expected = response(algorithm, &digest, shown.nonce, Some(counted), protected);
        let is_same = expected.as_bytes().ct_eq(shown.response.to_ascii_lowercase().as_bytes());
        let stamp = self.nonces.check(shown.nonce, now);
        let Some(user) = user.filter(|_| bool::from(is_same) && is_about(shown.uri, request)) else {
            self.stats.wrong += 1;
            self.failures.count(source, now);
            return self.challenge(side, false, now);
        };
        let account = user.account.clone();
        let Some(stamp) = stamp else {
            self.stats.stale += 1;
            return self.challenge(side, true, now);
        };
        if !self.nonces.take(stamp, counted.count()) {
            self.stats.replayed += 1;
            return self.challenge(side, true, now);
        }
        self.stats.granted += 1;
        let who = Authenticated { account, user: shown.username.into() };
        // A session goes on with its first nonce.
        let renews = self.config.informs && !algorithm.is_session() && self.nonces.is_half_over(stamp, now);
        let next = renews.then(|| self.nonces.issue(now).into());
        let answer = Answer { algorithm, digest, credentials: shown.to_string().into(), next };
        Verdict::Granted(Box::new(Granted { who, answer }))
    }

    fn challenge(&mut self, side: Side, stale: bool, now: Now) -> Verdict {
        let nonce = self.nonces.issue(now);
        let challenge = |algorithm: &DigestAlgorithm| {
            let challenge = DigestChallenge {
                realm: &self.config.realm,
                nonce: &nonce,
                opaque: None,
                domain: None,
                stale,
                algorithm: Some(*algorithm),
                qop: Some(QopOffer { auth: true, auth_int: self.config.auth_int }),
            };
            (side.challenge_header(), challenge.to_string())
        };
        Verdict::Challenged(self.config.algorithms.iter().map(challenge).collect())
    }
}

impl Granted {
    /// The Authentication-Info of an answer with this body: the proof that we know the password, too.
    pub fn authentication_info(&self, body: &[u8]) -> String {
        let Answer { algorithm, digest, credentials, next } = &self.answer;
        let shown = Credentials::parse(credentials).and_then(|it| it.digest());
        let shown = shown.expect("credentials that were read once can be read again");
        let answer = Protected { method: "", uri: shown.uri, body };
        let rspauth = rspauth(*algorithm, digest, shown.nonce, shown.counted, answer);
        AuthenticationInfo { nextnonce: next.as_deref(), rspauth: Some(&rspauth), counted: shown.counted }.to_string()
    }
}

/// Whether credentials were made for this request: the URI is that of the request, or means the same.
fn is_about(uri: &str, request: &Request) -> bool {
    uri == request.uri_str() || Uri::parse(uri).is_ok_and(|it| it.equivalent(request.uri()))
}
