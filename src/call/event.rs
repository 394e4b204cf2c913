//! What happens to a call, as its journal keeps it, and why we end calls.

use crate::codec::AudioCodec;
pub use crate::dialog::end::{End, EndCause, Initiator, Reason};
pub use crate::dialog::transfer::TransferOutcome;
use crate::identity::{AccountId, Pii};
use crate::route::{AgentName, TrunkName};
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
        /// The trunk that the far end belongs to, by its address.
        trunk: Option<TrunkName>,
        /// The agent that answers; `None` if nobody does, or for a call of the test phone.
        agent: Option<AgentName>,
        /// What else the INVITE tells of the call, by the names of variables.
        details: Vec<(String, Pii<String>)>,
    },
    /// The called side rings.
    Ringing,
    /// The called side sends audio before it answers.
    EarlyMedia,
    /// The call is answered.
    Answered {
        /// The codec; `None` while the offer still waits for its answer.
        codec: Option<AudioCodec>,
    },
    /// The peer does not want to hear us for now.
    Held,
    /// The peer hears us again.
    Resumed,
    /// A digit in an INFO, between two legs that hear each other. Digits in RTP are the media session's to tell.
    Digit {
        /// One of `0-9`, `*`, `#` and `A-D`.
        digit: char,
        /// How long it was pressed, in milliseconds.
        duration_ms: u16,
    },
    /// We ask the peer to call somebody else.
    TransferStarted {
        /// Whom.
        to: Pii<String>,
    },
    /// How that ended.
    Transferred {
        /// Whom.
        to: Pii<String>,
        /// How.
        outcome: TransferOutcome,
    },
    /// The peer asks us to call somebody else.
    TransferAsked {
        /// Whom.
        to: Pii<String>,
        /// Whether we do.
        is_accepted: bool,
    },
    /// Who was called for the call points elsewhere, and that is called instead.
    Redirected {
        /// The number of the leg that was pointed elsewhere.
        leg: u8,
        /// Whom it is to be.
        to: Pii<String>,
    },
    /// Somebody is called for the call: one more leg of it.
    Dialled {
        /// The number of the leg.
        leg: u8,
        /// Whom.
        to: Pii<String>,
        /// The way the INVITE goes.
        flow: Flow,
    },
    /// Who is called for the call rings.
    LegRinging {
        /// The number of the leg.
        leg: u8,
    },
    /// Who is called for the call has answered.
    LegAnswered {
        /// The number of the leg.
        leg: u8,
        /// The codec.
        codec: Option<AudioCodec>,
    },
    /// A leg other than the first is over.
    LegEnded {
        /// The number of the leg.
        leg: u8,
        /// How.
        end: End,
    },
    /// Two legs hear each other from here on, and nobody else.
    Bridged {
        /// The number of the one.
        a: u8,
        /// The number of the other.
        b: u8,
    },
    /// Somebody has taken the peer's place.
    Replaced {
        /// The number of the leg.
        leg: u8,
        /// Who.
        by: Pii<String>,
    },
    /// The call is over.
    Ended(End),
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer called us.
    Inbound,
    /// We called the peer.
    Outbound,
}

/// Why we end a call. Before the answer it chooses the status of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpCause {
    /// The conversation is over. An unanswered call is declined: 603.
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
