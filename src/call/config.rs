//! What the call layer is told once.

use std::time::Duration;

use super::{HangUpCause, TrunkConfig, UsersConfig};
use crate::dialog::offer_answer::Capabilities;
pub use crate::dialog::session_timer::SessionTimers;
use crate::limits::{
    CALLS_MAX, DIALOGS_MAX, NEXT_HOP_AFTER_MS, TRANSACTIONS_IN_DIALOG_RESERVE, TRANSACTIONS_MAX, UNACKNOWLEDGED_MAX,
};
use crate::route::{Admission, Routes};
use crate::sip::HeaderName;
use crate::transport::refusal::Refusal;
use crate::transport::{Listener, SourceLimits};

/// What the call layer is told once.
#[derive(Clone, Debug)]
pub struct CallsConfig {
    /// Where we receive, and what each listener takes from strangers.
    pub listeners: Vec<(Listener, Admission)>,
    /// Numbers and known sources.
    pub routes: Routes,
    /// Who may register, and call through listeners that ask for it.
    pub users: Option<UsersConfig>,
    /// What our media sessions can do.
    pub capabilities: Capabilities,
    /// What callers hear until we answer, and when we do.
    pub ring: Ring,
    /// Which sounds of ours a side of a bridged call hears.
    pub own_sounds: OwnSounds,
    /// What we want of session timers.
    pub session_timers: SessionTimers,
    /// Whether 18x are reliable where the peer can, not only where it insists (RFC 3262).
    pub reliable_provisionals: bool,
    /// What peers may ask for by REFER.
    pub transfers: Transfers,
    /// What INVITEs with Replaces may take over.
    pub replacements: Replacements,
    /// Whether [`Output::Received`](super::Output::Received) and
    /// [`Output::CallIdKnown`](super::Output::CallIdKnown) are told.
    pub captures: bool,
    /// The carriers and PBXs we call through, and register with.
    pub trunks: Vec<TrunkConfig>,
    /// After so long without any answer an INVITE goes to the next server as well, if there is one.
    pub next_hop_after: Duration,
    /// Header fields that cross from a leg that came in to the one that is called for it.
    pub passed_headers: Vec<HeaderName>,
    /// Header fields of INVITEs that are told to agents and in the journal as they are, see [`super::variable`].
    pub exposed_headers: Vec<HeaderName>,
    /// What is done when somebody who is called for a leg, a user or a SIP URI, points elsewhere (3xx). Trunks have a policy
    /// of their own.
    pub redirects: Redirects,
    /// As User-Agent and Server header fields name us.
    pub user_agent: String,
    /// Node and worker, in every tag, branch and Call-ID we make.
    pub shard: u16,
    /// When callers are told to come back, in seconds, if a limit is reached or we drain.
    pub retry_after_s: u32,
    /// How much is held.
    pub limits: CallLimits,
    /// How much a source may send.
    pub sources: SourceLimits,
}

/// Which sounds of ours a side of a bridged call hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSounds {
    /// Ringing while somebody is called for it who sends no audio; if not, that of its own network.
    pub ringback: bool,
    /// Music while the other side holds it; if not, the hold is passed on.
    pub hold_music: bool,
}

/// What callers hear until we answer, and when we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// What callers hear.
    pub tone: RingTone,
    /// How long we let it ring; `None` to wait for [`super::Calls::answer`]. The call is never answered before its media
    /// session is open.
    pub answer_after: Option<Duration>,
}

/// What callers hear until we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingTone {
    /// Nothing but what the 100 makes their network play.
    None,
    /// The tone of their own network: 180.
    Ringing,
    /// Audio of ours: 183 with the answer to their offer.
    EarlyMedia,
}

/// What peers may ask for by REFER. Whoever carries a transfer out calls somebody at our cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transfers {
    /// Nothing: 603.
    #[default]
    Refused,
    /// Transfers to these hosts, compared without regard to case; others get 403. They are told by
    /// [`super::Output::TransferAsked`] and carried out by whoever drives [`super::Calls`].
    ToHosts(Vec<String>),
    /// Users are transferred to whom they could call themselves; others get 403.
    CarriedOut {
        /// So are known sources.
        for_known_sources: bool,
    },
}

/// How the caller of an agent gets to whom it is handed over to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandOver {
    /// We call, and stay between the two.
    #[default]
    Bridged,
    /// The caller's side is asked to call there (REFER), and leaves.
    Referred,
    /// The same; if it does not do that, we call.
    ReferredOrBridged,
    /// We call, and once both hear each other the caller's side is asked to take our place there (REFER with Replaces, RFC
    /// 5589 §7). If it does not, we stay between the two.
    Released,
}

/// What INVITEs with Replaces (RFC 3891) may take over. Whoever takes a call over hears what its peer was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replacements {
    /// Nothing: 403.
    #[default]
    Refused,
    /// Calls whose peer is at the same address, as calls of one PBX are. For others the answer is that of calls that do not
    /// exist: 481.
    FromSameSource,
}

/// What is done when somebody who is called points elsewhere (RFC 3261 §8.1.3.4). Whoever answers such a call chooses where
/// it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Nothing: the call ends as one that is refused.
    #[default]
    Refused,
    /// The call goes there: from a user to whom that user could call itself, from others to that address, but over no
    /// trunk other than the one that points there.
    Followed,
}

/// How much is held. What happens at each limit is told where it is applied: a 503 and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls.
    pub calls_max: usize,
    /// Dialogs, those that are ending included.
    pub dialogs_max: usize,
    /// 2xx that wait for their ACK.
    pub unacknowledged_max: usize,
    /// Transactions.
    pub transactions_max: usize,
    /// Transactions on top, for requests within dialogs.
    pub transactions_in_dialog_reserve: usize,
}

impl Default for Ring {
    /// 180, and an answer as soon as media are ready.
    fn default() -> Self {
        Self { tone: RingTone::Ringing, answer_after: Some(Duration::ZERO) }
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls_max: CALLS_MAX,
            dialogs_max: DIALOGS_MAX,
            unacknowledged_max: UNACKNOWLEDGED_MAX,
            transactions_max: TRANSACTIONS_MAX,
            transactions_in_dialog_reserve: TRANSACTIONS_IN_DIALOG_RESERVE,
        }
    }
}

impl CallsConfig {
    /// How a call that is not answered is refused.
    pub(super) const fn refusal(&self, cause: HangUpCause) -> Refusal {
        match cause {
            HangUpCause::Done => Refusal::Declined,
            HangUpCause::Busy => Refusal::Busy,
            HangUpCause::Unavailable => Refusal::TemporarilyUnavailable,
            HangUpCause::Failed => Refusal::Failed,
            HangUpCause::ShutDown => Refusal::Unavailable { retry_after_s: self.retry_after_s },
        }
    }

    /// A configuration that answers nothing: no routes, and no stranger admitted.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self {
            listeners: listeners.into_iter().map(|it| (it, Admission::default())).collect(),
            routes: Routes::default(),
            users: None,
            capabilities: Capabilities::default(),
            ring: Ring::default(),
            own_sounds: OwnSounds::default(),
            session_timers: SessionTimers::default(),
            reliable_provisionals: false,
            transfers: Transfers::Refused,
            replacements: Replacements::Refused,
            captures: false,
            trunks: vec![],
            next_hop_after: Duration::from_millis(NEXT_HOP_AFTER_MS),
            passed_headers: vec![],
            exposed_headers: vec![],
            redirects: Redirects::Refused,
            user_agent: concat!("hookswitch/", env!("CARGO_PKG_VERSION")).to_owned(),
            shard: 0,
            retry_after_s: 30,
            limits: CallLimits::default(),
            sources: SourceLimits::none(),
        }
    }
}
