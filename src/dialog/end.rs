//! How dialogs and calls end, and what the sides say about it (RFC 3326).

use std::borrow::Cow;

use crate::sip::Headers;
use crate::transport::refusal::Refusal;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// The final status of the INVITE, or of the request that failed, where one was decisive.
    pub sip_status: Option<u16>,
    /// Which side ended it.
    pub initiator: Initiator,
    /// What the peer said about it (RFC 3326).
    pub reason: Option<Reason>,
}

/// Why a side ended a call, in the numbers of another protocol: RFC 3326.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A cause of ITU-T Q.850, as telephone networks tell it.
    Q850(u16),
    /// A SIP status: a CANCEL with 200 says that somebody else answered.
    Sip(u16),
}

impl Reason {
    /// What a message with these `headers` tells. A Q.850 cause counts more than a status, because it comes from farther.
    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        let numbered = |protocol: &str| {
            let mut all = headers.reasons().filter(|it| it.protocol.eq_ignore_ascii_case(protocol));
            all.find_map(|it| it.cause())
        };
        numbered("Q.850").map(Self::Q850).or_else(|| numbered("SIP").map(Self::Sip))
    }
}

/// Which side did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// Our side: agent, API, limits, timers.
    Local,
    /// The peer, or the network on its behalf.
    Remote,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndCause {
    /// One side hung up an answered call.
    HungUp,
    /// The caller gave up before the answer.
    Cancelled,
    /// Of several who were called, another one answered.
    AnsweredElsewhere,
    /// The called side refused.
    Rejected,
    /// The called side did not answer in time, or nothing of it was heard at all.
    NoAnswer,
    /// The call was accepted but the ACK never came.
    NotAcknowledged,
    /// Offer and answer found no common media.
    NoCommonMedia,
    /// No RTP port was free.
    NoMediaPort,
    /// No RTP came for the configured time.
    MediaInactive,
    /// The peer does not know the dialog any more, or does not answer within it.
    PeerLost,
    /// Nobody refreshed the session in time.
    SessionExpired,
    /// A limit of ours was reached, or we drain.
    Overloaded,
    /// Our INVITE could not be written or sent.
    NotSent,
}

impl EndCause {
    /// The value of the Reason header field of a BYE or CANCEL of ours (RFC 3326, ITU-T Q.850).
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::HungUp | Self::Cancelled => "Q.850;cause=16;text=\"Normal call clearing\"",
            Self::AnsweredElsewhere => "SIP;cause=200;text=\"Call completed elsewhere\"",
            Self::NoAnswer => "Q.850;cause=19;text=\"No answer from user\"",
            Self::Rejected => "Q.850;cause=21;text=\"Call rejected\"",
            Self::NoMediaPort | Self::Overloaded => "Q.850;cause=42;text=\"Switching equipment congestion\"",
            Self::MediaInactive | Self::PeerLost | Self::NotSent => "Q.850;cause=41;text=\"Temporary failure\"",
            Self::NoCommonMedia => "Q.850;cause=88;text=\"Incompatible destination\"",
            Self::NotAcknowledged | Self::SessionExpired => "Q.850;cause=102;text=\"Recovery on timer expiry\"",
        }
    }

    /// The same, unless the other side of the call told another cause of it.
    pub(crate) fn reason_told(self, refusal: &Refusal) -> Cow<'static, str> {
        if let Refusal::Relayed(_, Some(cause)) = refusal {
            return format!("Q.850;cause={cause}").into();
        }
        self.reason().into()
    }

    /// As the journal and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Cancelled => "cancelled",
            Self::AnsweredElsewhere => "answered_elsewhere",
            Self::Rejected => "rejected",
            Self::NoAnswer => "no_answer",
            Self::NotAcknowledged => "not_acknowledged",
            Self::NoCommonMedia => "no_common_media",
            Self::NoMediaPort => "no_media_port",
            Self::MediaInactive => "media_inactive",
            Self::PeerLost => "peer_lost",
            Self::SessionExpired => "session_expired",
            Self::Overloaded => "overloaded",
            Self::NotSent => "not_sent",
        }
    }
}
