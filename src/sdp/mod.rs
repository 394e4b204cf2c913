//! Session descriptions: bytes to values and back, without state (RFC 8866).

mod attributes;
mod description;
mod parse;

pub use attributes::{Attribute, Attributes, Crypto, Direction, Rtcp, RtpMap};
pub use description::{Connection, Media, Origin, OtherLine, SessionDescription};
pub use parse::SdpError;
