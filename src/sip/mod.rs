//! SIP messages: bytes to values and back, without state (RFC 3261 §7, §19, §20, §25).

mod authentication;
mod build;
mod caller_identity;
mod cseq;
mod edit;
mod error;
mod fields;
mod framer;
mod header_name;
mod headers;
mod host;
mod message;
mod method;
mod name_addr;
mod params;
mod retargeting;
mod scan;
mod status;
mod text;
mod uri;
mod uri_equivalence;
mod user_to_user;
mod via;

pub use authentication::{
    AuthParams, AuthenticationInfo, Challenge, Counted, Credentials, DigestAlgorithm, DigestChallenge,
    DigestCredentials, Qop, QopOffer, is_quotable,
};
pub use build::{BuildError, RequestBuilder, ResponseBuilder};
pub use caller_identity::{Attestation, Passport, Privacy, RemoteParty, SignedIdentity};
pub use cseq::{CSeq, RAck};
pub use edit::Editor;
pub use error::{Fault, ParseError};
pub use fields::{MediaType, ReasonValue, Refresher, Replaces, RetryAfter, SessionExpires};
pub use framer::{Frame, FramingError, StreamFramer};
pub use header_name::HeaderName;
pub use headers::{Contacts, Header, HeaderError, Headers};
pub use host::Host;
pub use message::{Message, Request, Response};
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::Params;
pub use retargeting::{Diversion, HistoryEntry, HistoryIndex, MalformedIndex, Retargeting};
pub use status::StatusCode;
pub use uri::{Scheme, Uri, UriError};
pub use user_to_user::UserToUser;
pub use via::{BRANCH_COOKIE, Via, ViaError, ViaTransport};
