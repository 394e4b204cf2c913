//! Authentication: digest both ways (RFC 7616, RFC 8760, RFC 3261 §22), and the proof of it.
//!
//! [`Authenticated`] is authority as a value: nothing outside this module can make one, so code that asks for one cannot
//! be reached by a stranger.

mod client;
#[cfg(test)]
mod conversations;
mod digest;
mod failures;
mod nonce;
mod server;

pub use self::client::{DigestAccount, DigestClient, Exchange, GaveUp, NotQuotable};
pub use self::digest::Protected;
pub use self::server::{DigestServer, DigestServerConfig, DigestServerStats, Granted, Verdict};
use crate::identity::AccountId;
use crate::sip::{HeaderName, StatusCode};

/// A user who has shown to know the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    account: AccountId,
    user: Box<str>,
}

impl Authenticated {
    /// Whom the user belongs to.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The user's name.
    pub const fn user(&self) -> &str {
        &self.user
    }

    /// A proof of nothing, for tests of other modules.
    #[cfg(test)]
    pub(crate) fn assumed(user: &str) -> Self {
        Self { account: AccountId::default(), user: user.into() }
    }
}

/// Who asks for credentials (RFC 3261 §22.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one who is addressed: 401.
    Server,
    /// One on the way: 407.
    Proxy,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Server, Self::Proxy];

    /// The status that asks for credentials.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Server => StatusCode::UNAUTHORIZED,
            Self::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The header that holds challenges.
    pub const fn challenge_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    /// The header that holds credentials.
    pub const fn credentials_header(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}
