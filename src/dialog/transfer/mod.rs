//! Transfers: REFER (RFC 3515, RFC 4488) and what NOTIFY tells about them, from either side.
//!
//! A REFER that is accepted is no success: how it ended is told by NOTIFY, and told on exactly once.

pub(crate) mod asked;
pub(crate) mod asking;

use crate::sip::{Request, StatusCode};

/// How a transfer that we asked for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// The peer reached its new partner.
    Succeeded,
    /// The peer did not reach it; the status its call ended with.
    Failed(u16),
    /// The peer does not do it; the status that says so.
    Refused(u16),
    /// The peer agreed, then hung up before it told how it went. Most peers that do so have succeeded.
    HungUp,
    /// The peer agreed, but will not tell, or did not in time, or the call ended by our side before.
    Unknown,
    /// There is no answered call to transfer, or another transfer of it is under way.
    NotPossible,
}

impl TransferOutcome {
    /// As the journal and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::HungUp => "hung_up",
            Self::Unknown => "unknown",
            Self::NotPossible => "not_possible",
        }
    }
}

/// The status in a body of type `message/sipfrag` (RFC 3420).
fn status_in(request: &Request) -> Option<StatusCode> {
    let is_fragment = |it: &crate::sip::MediaType<'_>| it.is("message", "sipfrag");
    request.headers().content_type()?.ok().filter(is_fragment)?;
    let line = request.body().split(|it| matches!(it, b'\r' | b'\n')).next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|it| it.eq_ignore_ascii_case("SIP/2.0"))?;
    let code = words.next().filter(|it| it.len() == 3)?;
    StatusCode::new(code.parse().ok()?)
}
