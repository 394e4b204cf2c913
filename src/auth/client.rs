//! Answering challenges: RFC 7616 §3.4, RFC 8760 §2.4, RFC 3261 §22.2, §22.3, for any method and both 401 and 407.
//!
//! A password goes to the realms that it was configured for and to no other: whoever we call could ask for it.

use std::collections::VecDeque;

use rand::Rng;
use rand_chacha::ChaCha12Rng;
use subtle::ConstantTimeEq;

use super::Side;
use super::digest::{Protected, UserDigest, response, rspauth};
use crate::identity::Secret;
use crate::limits::{AUTH_REALMS_MAX, CHALLENGES_MAX};
use crate::sip::{
    Counted, DigestAlgorithm, DigestChallenge, DigestCredentials, HeaderName, Qop, QopOffer, Response, is_quotable,
};

/// What we may show, and to whom.
#[derive(Clone, Debug)]
pub struct DigestAccount {
    /// The realms that may ask.
    realms: Vec<String>,
    username: String,
    password: Secret,
    /// What is strong enough.
    algorithms: Vec<DigestAlgorithm>,
}

/// A user name or realm with quotes, backslashes or control characters: both sides would not compute the same from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quotes, backslashes and control characters cannot stand in a user name or realm")]
pub struct NotQuotable;

impl DigestAccount {
    /// Credentials for these realms, with any algorithm.
    pub fn new(realms: Vec<String>, username: impl Into<String>, password: Secret) -> Result<Self, NotQuotable> {
        let username = username.into();
        if !is_quotable(&username) || !realms.iter().all(|it| is_quotable(it)) {
            return Err(NotQuotable);
        }
        Ok(Self { realms, username, password, algorithms: DigestAlgorithm::ALL.to_vec() })
    }

    /// With only these algorithms allowed.
    #[must_use]
    pub fn allowing(self, algorithms: Vec<DigestAlgorithm>) -> Self {
        Self { algorithms, ..self }
    }
}

/// Answers the challenges to one account, and remembers the nonces of its realms.
///
/// At most `AUTH_REALMS_MAX` nonces are remembered; beyond it the oldest is forgotten.
#[derive(Debug)]
pub struct DigestClient {
    account: DigestAccount,
    rng: ChaCha12Rng,
    spaces: VecDeque<Space>,
}

/// What is remembered of a realm.
#[derive(Debug)]
struct Space {
    side: Side,
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    algorithm: DigestAlgorithm,
    qop: Option<Qop>,
    count: u32,
    /// Of the user, or of the session.
    digest: UserDigest,
    /// That of all requests of a session: servers differ in whether they take the first one or the one that is shown.
    cnonce: Option<Box<str>>,
}

/// One request and what was sent in its place after challenges. Begin a new one for every request.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    tried: Vec<(Side, Box<str>, Tried)>,
}

/// What a realm was shown in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// Credentials with a nonce from an earlier exchange.
    Remembered,
    /// Credentials with the nonce that was just asked for.
    Fresh,
    /// The same again, because the nonce was too old nevertheless.
    AfterStale,
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// The credentials were shown, and are wrong.
    #[error("the credentials are wrong")]
    Rejected,
    /// They are not meant for who asks.
    #[error("credentials were asked for by a realm that they are not for")]
    ForeignRealm,
    /// Nothing that is offered is known and allowed.
    #[error("no algorithm that is both offered and allowed")]
    NoCommonAlgorithm,
    /// There are none to show.
    #[error("credentials are asked for, and there are none")]
    NoCredentials,
    /// There is no challenge that can be read.
    #[error("no challenge that can be read")]
    NoChallenge,
}

impl DigestClient {
    /// A client for one account; client nonces come from `rng`.
    pub const fn new(account: DigestAccount, rng: ChaCha12Rng) -> Self {
        Self { account, rng, spaces: VecDeque::new() }
    }

    /// The header fields for a request that nobody has challenged yet: credentials for the realms that are known.
    pub fn authorize(&mut self, exchange: &mut Exchange, request: Protected<'_>) -> Vec<(HeaderName, String)> {
        for space in &self.spaces {
            exchange.note(space.side, &space.realm, Tried::Remembered);
        }
        self.fields(request)
    }

    /// What to send `request` again with after a 401 or 407: all credentials it needs, in place of those it had. The
    /// CSeq has to be the next one, the Call-ID and From tag the same (RFC 3261 §22.2).
    pub fn handle_challenge(
        &mut self,
        exchange: &mut Exchange,
        response: &Response,
        request: Protected<'_>,
    ) -> Result<Vec<(HeaderName, String)>, GaveUp> {
        let mut reason = GaveUp::NoChallenge;
        let mut is_answered = false;
        for side in Side::ALL {
            for challenge in self.answerable(side, response, &mut reason) {
                self.answer(exchange, side, &challenge)?;
                is_answered = true;
            }
        }
        if is_answered { Ok(self.fields(request)) } else { Err(reason) }
    }

    /// A request with credentials was accepted: takes the next nonce, if there is one. False if the server claims to
    /// know the password, and does not (RFC 7616 §3.5).
    pub fn handle_accepted(&mut self, response: &Response, uri: &str) -> bool {
        let Some(Ok(info)) = response.headers().authentication_info() else {
            return true;
        };
        // The field does not say whose it is.
        let [space] = self.spaces.make_contiguous() else {
            return true;
        };
        if let (Some(claimed), Some(counted)) = (info.rspauth, info.counted) {
            let answer = Protected { method: "", uri, body: response.body() };
            let expected = rspauth(space.algorithm, &space.digest, &space.nonce, Some(counted), answer);
            if !bool::from(expected.as_bytes().ct_eq(claimed.to_ascii_lowercase().as_bytes())) {
                return false;
            }
        }
        if let Some(next) = info.nextnonce {
            space.nonce = next.into();
            space.count = 0;
        }
        true
    }

    /// The strongest challenge of each realm of ours, on one side.
    fn answerable<'a>(&self, side: Side, response: &'a Response, reason: &mut GaveUp) -> Vec<DigestChallenge<'a>> {
        let name = side.challenge_header();
        let mut chosen: Vec<DigestChallenge<'a>> = vec![];
        let all = response.headers().challenges(&name).take(CHALLENGES_MAX);
        for challenge in all.filter_map(|it| it.ok().and_then(|it| it.digest())) {
            if !self.account.realms.iter().any(|it| it == challenge.realm) {
                *reason = GaveUp::ForeignRealm;
                continue;
            }
            let is_allowed = challenge.algorithm.is_some_and(|it| self.account.algorithms.contains(&it));
            let is_session = challenge.algorithm.is_some_and(DigestAlgorithm::is_session);
            // Without a client's nonce there is no session.
            let has_qop = challenge.qop.map_or(!is_session, |it| it.auth || it.auth_int);
            if !is_allowed || !has_qop {
                *reason = GaveUp::NoCommonAlgorithm;
                continue;
            }
            match chosen.iter_mut().find(|it| it.realm == challenge.realm) {
                Some(other) if other.algorithm < challenge.algorithm => *other = challenge,
                Some(_) => (),
                None => chosen.push(challenge),
            }
        }
        chosen
    }

    fn answer(&mut self, exchange: &mut Exchange, side: Side, challenge: &DigestChallenge<'_>) -> Result<(), GaveUp> {
        let known = self.spaces.iter().position(|it| it.side == side && *it.realm == *challenge.realm);
        let known = known.and_then(|it| self.spaces.remove(it));
        let is_new = known.as_ref().is_none_or(|it| *it.nonce != *challenge.nonce);
        let tried = match exchange.tried(side, challenge.realm) {
            None | Some(Tried::Remembered) => Tried::Fresh,
            Some(Tried::Fresh) if challenge.stale && is_new => Tried::AfterStale,
            Some(Tried::Fresh | Tried::AfterStale) => return Err(GaveUp::Rejected),
        };
        exchange.note(side, challenge.realm, tried);
        let algorithm = challenge.algorithm.ok_or(GaveUp::NoCommonAlgorithm)?;
        let qop = challenge.qop.map(|it| match it {
            QopOffer { auth: true, .. } => Qop::Auth,
            QopOffer { auth: false, .. } => Qop::AuthInt,
        });
        let DigestAccount { username, password, .. } = &self.account;
        let known = known.filter(|it| !is_new && it.algorithm == algorithm);
        let count = known.as_ref().map_or(0, |it| it.count);
        let user = || UserDigest::new(algorithm, username, challenge.realm, password.reveal());
        let (digest, cnonce) = match known {
            Some(known) => (known.digest, known.cnonce),
            None if algorithm.is_session() => {
                let cnonce: Box<str> = format!("{:016x}", self.rng.next_u64()).into();
                (user().in_session(algorithm, challenge.nonce, &cnonce), Some(cnonce))
            }
            None => (user(), None),
        };
        if self.spaces.len() >= AUTH_REALMS_MAX {
            self.spaces.pop_front();
        }
        self.spaces.push_back(Space {
            side,
            realm: challenge.realm.into(),
            nonce: challenge.nonce.into(),
            opaque: challenge.opaque.map(Into::into),
            algorithm,
            qop,
            count,
            digest,
            cnonce,
        });
        Ok(())
    }

    fn fields(&mut self, request: Protected<'_>) -> Vec<(HeaderName, String)> {
        let rng = &mut self.rng;
        let username = &self.account.username;
        self.spaces
            .iter_mut()
            .map(|it| (it.side.credentials_header(), it.credentials(username, request, rng)))
            .collect()
    }
}

impl Space {
    fn credentials(&mut self, username: &str, request: Protected<'_>, rng: &mut ChaCha12Rng) -> String {
        self.count = self.count.saturating_add(1);
        let cnonce = self.cnonce.as_ref().map_or_else(|| format!("{:016x}", rng.next_u64()), ToString::to_string);
        let nc = format!("{:08x}", self.count);
        let counted = self.qop.map(|qop| Counted { qop, cnonce: &cnonce, nc: &nc });
        let response = response(self.algorithm, &self.digest, &self.nonce, counted, request);
        let credentials = DigestCredentials {
            username,
            realm: &self.realm,
            nonce: &self.nonce,
            uri: request.uri,
            response: &response,
            algorithm: Some(self.algorithm),
            opaque: self.opaque.as_deref(),
            counted,
        };
        credentials.to_string()
    }
}

impl Exchange {
    fn tried(&self, side: Side, realm: &str) -> Option<Tried> {
        self.tried.iter().find(|it| it.0 == side && *it.1 == *realm).map(|it| it.2)
    }

    fn note(&mut self, side: Side, realm: &str, tried: Tried) {
        match self.tried.iter_mut().find(|it| it.0 == side && *it.1 == *realm) {
            Some(found) => found.2 = tried,
            None => self.tried.push((side, realm.into(), tried)),
        }
    }
}
