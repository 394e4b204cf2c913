//! [`NewCall`]: a call on its way from the SIP worker to whoever runs its actor.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::codec::SampleRate;
use crate::identity::{CallId, Pii};
use crate::route::{AgentName, RoomName};
use crate::server::media_link::TaskEnd;
use crate::server::sip_worker::Signal;

/// A call that has come into being, for whoever runs its actor.
#[derive(Debug)]
pub(crate) struct NewCall {
    /// The call.
    pub(crate) call: CallId,
    /// Between whom it is.
    pub(crate) party: Party,
    /// The audio of its leg; `None` if two people talk, and only their call is to be attended to.
    pub(crate) link: Option<TaskEnd>,
    /// What it is heard and recorded at.
    pub(crate) rate: SampleRate,
    /// What happens to it. Closed without [`Signal::Ended`] only when the worker itself is gone.
    pub(crate) signals: mpsc::Receiver<Signal>,
}

/// Between whom a call is.
#[derive(Debug, Default)]
pub(crate) struct Party {
    /// Who talks in it; `None` for one of the test phone.
    pub(crate) agent: Option<AgentName>,
    /// The room that it is for.
    pub(crate) room: Option<RoomName>,
    /// The user who has shown to call.
    pub(crate) user: Option<String>,
    /// Who calls.
    pub(crate) from: Pii<String>,
    /// Who is called.
    pub(crate) to: Pii<String>,
    /// Whether it is ours: somebody is called.
    pub(crate) is_placed: bool,
    /// What the agent is told of it.
    pub(crate) variables: BTreeMap<String, String>,
}
