//! What happens to a call, as its journal keeps it, and why calls end.

use crate::dialog::offer_answer::Codec;
use crate::identity::{AccountId, Pii};
use crate::route::AgentName;
use crate::transport::Flow;

/// One entry of a call's journal. [`Event::Offered`] comes first and once, [`Event::Ended`] last and once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The call begins: an INVITE came in, or one is about to go out.
    Offered {
        /// Who calls whom.
        direction: Direction,
        /// The account that owns the call.
        account: AccountId,
        /// The caller's URI.
        from: Pii<String>,
        /// The called URI.
        to: Pii<String>,
        /// The way the INVITE came or goes.
        flow: Flow,
        /// The agent that answers; `None` if nobody does, or for a call of the test phone.
        agent: Option<AgentName>,
    },
    /// The called side rings.
    Ringing,
    /// The called side sends audio before it answers.
    EarlyMedia,
    /// The call is answered.
    Answered {
        /// The codec; `None` while the offer still waits for its answer.
        codec: Option<Codec>,
    },
    /// The peer does not want to hear us for now.
    Held,
    /// The peer hears us again.
    Resumed,
    /// A digit in an INFO. Digits in RTP are the media session's to tell.
    Digit {
        /// One of `0-9`, `*`, `#` and `A-D`.
        digit: char,
        /// How long it was pressed, in milliseconds.
        duration_ms: u16,
    },
    /// The call is over.
    Ended(End),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// The final status of the INVITE or of the request that failed, where one was decisive.
    pub sip_status: Option<u16>,
    /// Which side ended it.
    pub initiator: Initiator,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer called us.
    Inbound,
    /// We called the peer.
    Outbound,
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
    /// The called side refused, or we did.
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
    /// A limit of ours was reached.
    Overloaded,
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
            Self::Overloaded => "overloaded",
        }
    }
}

/// Why we end a call. Before the answer it chooses the status of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpCause {
    /// The conversation is over. An unanswered call is declined.
    Done,
    /// Nobody is free to take it: 486.
    Busy,
    /// The one who should take it is not there: 480.
    Unavailable,
    /// Something of ours failed: 500.
    Failed,
    /// We shut down: 503.
    ShutDown,
}
