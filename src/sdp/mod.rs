//! Session descriptions: bytes to values and back, without state (RFC 8866, 4568).

mod attributes;
mod crypto;
mod description;
mod parse;

pub use attributes::{Attribute, Attributes, Direction, Rtcp, RtpMap};
pub use crypto::{Crypto, InlineKey};
pub use description::{Connection, Media, Origin, OtherLine, SessionDescription};
pub use parse::SdpError;
