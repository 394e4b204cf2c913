//! How dialogs and calls end.

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// The final status of the INVITE, or of the request that failed, where one was decisive.
    pub sip_status: Option<u16>,
    /// Which side ended it.
    pub initiator: Initiator,
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
    /// As the journal and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Cancelled => "cancelled",
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
