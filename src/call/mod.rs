//! Calls: who is let in, when a call rings and is answered, and what the media session and the agent are told.
//!
//! [`Calls`] is a whole user agent in one struct: the shell hands it datagrams, segments, commands and time, and performs
//! its [`Output`]s. A call is one leg here; its media session and its agent are ready from the offer on, and "answered"
//! is an event, so that ringing, early media and a pre-warmed agent take the same path.

mod config;
mod event;
#[cfg(test)]
mod hostile;
mod leg;
mod servers;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod timelines;
mod transfer;
mod trunks;
mod users;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

pub use self::config::{CallLimits, CallsConfig, Replacements, Ring, RingTone, SessionTimers, Transfers};
pub use self::event::{Direction, End, EndCause, Event, HangUpCause, Initiator, Reason, TransferOutcome};
use self::leg::Leg;
use self::servers::Servers;
pub use self::servers::{CallerId, Order};
use self::trunks::Trunks;
pub use self::trunks::{GatewayState, TrunkConfig, TrunkEvent, TrunkRegistration, TrunkState};
use self::users::Users;
pub use self::users::UsersConfig;
use crate::auth::{DigestAccount, DigestServerStats};
use crate::dialog::offer_answer::MediaDescription;
use crate::dialog::{DialogId, Dialogs, DialogsConfig};
use crate::identity::{AccountId, CallId, LegId, Pii};
use crate::locate::{Answer, Question};
use crate::registrar::{self, Registrar};
use crate::route::{AgentName, TrunkName};
use crate::sip::{HeaderName, NameAddr, Replaces, StatusCode, Uri};
use crate::timer::{Deadlines, Now};
use crate::transaction::token::Tokens;
use crate::transaction::{TransactionLimits, Transactions};
use crate::transport::{Flow, PeerIdentity, Stats, Transport, Wire};

/// A whole user agent.
///
/// At most `calls_max` calls are held; an INVITE beyond is answered 503 with Retry-After and counted.
pub struct Calls {
    dialogs: Dialogs,
    config: CallsConfig,
    rng: ChaCha12Rng,
    calls: BTreeMap<CallId, Leg>,
    by_dialog: BTreeMap<DialogId, CallId>,
    deadlines: Deadlines<CallId>,
    is_draining: bool,
    users: Option<Users>,
    servers: Servers,
    trunks: Trunks,
    outputs: VecDeque<Output>,
}

/// What is to be done, or known. Drain with [`Calls::poll_output`].
#[derive(Clone, Debug)]
pub enum Output {
    /// Write this to the flow. A stream that is not open is to be opened, to `flow.remote`.
    Send {
        /// The flow.
        flow: Flow,
        /// A whole message.
        data: Bytes,
    },
    /// Framing is lost, or the peer stalls: drop the connection.
    Close {
        /// The connection.
        flow: Flow,
    },
    /// Open a media session, then call [`Calls::handle_media_opened`] or [`Calls::handle_media_refused`].
    OpenMedia {
        /// The leg it is for.
        leg: LegId,
        /// The address of the listener that the call came to: RTP leaves from there.
        local_ip: IpAddr,
        /// What the peer offers; `None` until [`Output::UpdateMedia`].
        remote: Option<MediaDescription>,
    },
    /// The peer's side of the media is known or changes: update the session, never replace it.
    UpdateMedia {
        /// The leg.
        leg: LegId,
        /// What is agreed on.
        remote: MediaDescription,
    },
    /// Close the media session. Comes once for every [`Output::OpenMedia`] that was not refused.
    CloseMedia {
        /// The leg.
        leg: LegId,
    },
    /// Start the agent of a call that comes in. It may prepare, and must not be heard before [`Output::Answered`].
    StartAgent {
        /// The call.
        call: CallId,
        /// Its account.
        account: AccountId,
        /// Who answers.
        agent: AgentName,
        /// The leg it speaks on.
        leg: LegId,
        /// The caller's URI.
        from: Pii<String>,
        /// The called URI.
        to: Pii<String>,
        /// Header fields that carriers and PBXs tell about the call, by name.
        headers: Vec<(String, Pii<String>)>,
    },
    /// The call is answered, by either side.
    Answered {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// A digit came in an INFO.
    Digit {
        /// The call.
        call: CallId,
        /// One of `0-9`, `*`, `#` and `A-D`.
        digit: char,
        /// How long it was pressed, in milliseconds.
        duration_ms: u16,
    },
    /// A transfer that was asked for by [`Calls::transfer`] is over. Comes once for each.
    Transferred {
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: TransferOutcome,
    },
    /// The peer has us call somebody else, and we said that we do: report how it goes with [`Calls::report_transfer`].
    TransferAsked {
        /// The call.
        call: CallId,
        /// Whom to call.
        to: Uri,
        /// The dialog that the new call is to take the place of, for its Replaces.
        replaces: Option<Replaces>,
        /// Who asks, as it says; for the Referred-By of the new call.
        referred_by: Option<NameAddr>,
    },
    /// The call is over. Comes once for every call that was placed or got an agent.
    Ended {
        /// The call.
        call: CallId,
        /// How.
        end: End,
    },
    /// Ask the name server, and hand what it says to [`Calls::handle_answer`]. Each is to be answered, if only by a time-out.
    Ask(Question),
    /// Something is learnt of a trunk.
    Trunk {
        /// The trunk.
        trunk: TrunkName,
        /// What.
        event: TrunkEvent,
    },
    /// The messages of this flow, which is encrypted, go to a server that has to show this name, as that trunk demands.
    Secure {
        /// The flow.
        flow: Flow,
        /// What its certificate has to hold.
        server_name: Box<str>,
        /// The trunk, if it is one's.
        trunk: Option<TrunkName>,
    },
    /// A user can be reached, or cannot any more.
    Registration(registrar::Event),
    /// Keep this in the call's journal.
    Journal {
        /// The call.
        call: CallId,
        /// What happened.
        event: Event,
    },
}

/// A call to place.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Who pays for it.
    pub account: AccountId,
    /// Whom to call.
    pub to: Uri,
    /// As whom.
    pub from: Uri,
    /// The caller's name, as phones show it.
    pub display_name: Option<String>,
    /// The way out: a listener's address, or for a stream an address that it will have, and the next hop.
    pub flow: Flow,
    /// The ways to try one after the other if that one fails: no answer, no connection, or 503.
    pub other_flows: Vec<Flow>,
    /// More header fields for the INVITE. CR, LF and NUL in them end the call with [`EndCause::NotSent`].
    pub headers: Vec<(HeaderName, String)>,
    /// What to show if the called side or a proxy asks.
    pub credentials: Option<DigestAccount>,
}

/// Whom a peer is transferred to.
#[derive(Clone, Debug)]
pub enum TransferTarget {
    /// Somebody whom it is to call.
    Uri(Uri),
    /// The peer of another answered call of ours.
    Call(CallId),
}

/// How much is held right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that are not over.
    pub calls: usize,
    /// Dialogs, those that are ending included.
    pub dialogs: usize,
    /// 2xx of ours that wait for their ACK.
    pub unacknowledged: usize,
    /// Transactions, those that wait out their last timer included.
    pub transactions: usize,
    /// Streams.
    pub streams: usize,
    /// Trunks that are being told that we are gone.
    pub farewells: usize,
}

impl Calls {
    /// A user agent without calls. Tags, branches, identifiers and pauses come from `rng`.
    ///
    /// Users whose names or realm cannot stand in quotes are left out, all of them.
    pub fn new(mut config: CallsConfig, mut rng: ChaCha12Rng, now: Now) -> Self {
        let users = config.users.take().and_then(|it| Users::new(it, &mut rng, now).ok());
        let trunks = Trunks::new(std::mem::take(&mut config.trunks), now);
        let listeners = config.listeners.iter().map(|(it, _)| it.clone()).collect();
        let transport = Transport::new(listeners, config.sources.clone(), config.shard, rng.next_u64());
        let tokens = Tokens::new(ChaCha12Rng::from_rng(&mut rng), config.shard);
        let servers = Servers::new(&config.listeners, ChaCha12Rng::from_rng(&mut rng));
        let limits = TransactionLimits {
            transactions_max: config.limits.transactions_max,
            in_dialog_reserve: config.limits.transactions_in_dialog_reserve,
        };
        let dialogs = DialogsConfig {
            capabilities: config.capabilities.clone(),
            session_timers: config.session_timers,
            reliable_provisionals: config.reliable_provisionals,
            registers: users.is_some(),
            takes_replaces: config.replacements != Replacements::Refused,
            takes_transfers: config.transfers != Transfers::Refused,
            next_hop_after: config.next_hop_after,
            user_agent: config.user_agent.clone(),
            dialogs_max: config.limits.dialogs_max,
            unacknowledged_max: config.limits.unacknowledged_max,
            retry_after_s: config.retry_after_s,
        };
        Self {
            dialogs: Dialogs::new(Transactions::new(transport, tokens, limits), dialogs),
            config,
            rng,
            calls: BTreeMap::new(),
            by_dialog: BTreeMap::new(),
            deadlines: Deadlines::new(),
            is_draining: false,
            users,
            servers,
            trunks,
            outputs: VecDeque::new(),
        }
    }

    /// A connection is open: we opened it if `is_ours`, and `identity` is what its peer's certificate shows.
    pub fn handle_connected(&mut self, flow: Flow, is_ours: bool, identity: PeerIdentity, now: Now) {
        self.dialogs.handle_connected(flow, is_ours, identity, now);
        self.drain_dialogs(now);
    }

    /// A datagram or the message of a websocket came.
    pub fn handle_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        self.dialogs.handle_datagram(flow, data, now);
        self.drain_dialogs(now);
    }

    /// A datagram came, and waited for too long to be looked at: a call that it begins is refused with 503 and
    /// Retry-After, everything else goes on.
    pub fn handle_late_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        self.dialogs.handle_late_datagram(flow, data, now);
        self.drain_dialogs(now);
    }

    /// Bytes of a stream came.
    pub fn handle_segment(&mut self, flow: Flow, data: Bytes, now: Now) {
        self.dialogs.handle_segment(flow, &data, now);
        self.drain_dialogs(now);
    }

    /// A stream is gone.
    pub fn handle_disconnected(&mut self, flow: Flow, now: Now) {
        self.dialogs.handle_disconnected(flow, now);
        self.trunk_disconnected(flow, now);
        if let Some(users) = &mut self.users {
            users.registrar.handle_disconnected(flow);
        }
        self.tell_registrations();
        self.drain_dialogs(now);
    }

    /// What was last written to the flow did not get out, or the connection could not be opened.
    pub fn handle_send_failed(&mut self, flow: Flow, now: Now) {
        self.dialogs.handle_send_failed(flow, now);
        self.drain_dialogs(now);
    }

    /// The media session of a leg is open. `address` is where peers are told to send RTP.
    pub fn handle_media_opened(&mut self, leg: LegId, address: SocketAddr, now: Now) {
        self.media_opened(leg.call, address, now);
        self.drain_dialogs(now);
    }

    /// The media session of an answered call is at another address from here on: its peer is told by a re-INVITE.
    pub fn handle_media_moved(&mut self, leg: LegId, address: SocketAddr, now: Now) {
        if let Some(held) = self.calls.get_mut(&leg.call) {
            held.local = Some(address);
            if let Some(dialog) = held.dialog {
                self.dialogs.move_media(dialog, address, now);
            }
        }
        self.drain_dialogs(now);
    }

    /// There is no port for the leg.
    pub fn handle_media_refused(&mut self, leg: LegId, now: Now) {
        self.media_refused(leg.call, now);
        self.drain_dialogs(now);
    }

    /// No RTP came for the configured time. Without effect while one side is on hold.
    pub fn handle_media_inactive(&mut self, leg: LegId, now: Now) {
        self.media_inactive(leg.call, now);
        self.drain_dialogs(now);
    }

    /// Places a call. Whether it can be placed is told as that of every call, by its outputs.
    pub fn place(&mut self, outbound: Outbound, now: Now) -> CallId {
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        self.place_as(call, outbound, now);
        self.drain_dialogs(now);
        call
    }

    /// Places a call over whatever servers it takes, which are looked for first. Told as [`Self::place`] tells.
    pub fn order(&mut self, order: Order, now: Now) -> CallId {
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        self.seek_for_call(call, order, now);
        self.drain_dialogs(now);
        call
    }

    /// What came of a question to the name server.
    pub fn handle_answer(&mut self, question: &Question, answer: Answer, now: Now) {
        self.servers.locator.handle_answer(question, answer, now);
        self.drain_dialogs(now);
    }

    /// Answers a call that came in, as soon as its media session is open.
    pub fn answer(&mut self, call: CallId, now: Now) {
        self.answer_call(call, now);
        self.drain_dialogs(now);
    }

    /// Puts the peer of an answered call on hold, or takes it back.
    pub fn hold(&mut self, call: CallId, holds: bool, now: Now) {
        if let Some(dialog) = self.calls.get(&call).and_then(|it| it.dialog) {
            self.dialogs.hold(dialog, holds, now);
        }
        self.drain_dialogs(now);
    }

    /// Asks the peer of an answered call to call somebody else (REFER). An [`Output::Transferred`] tells the outcome.
    pub fn transfer(&mut self, call: CallId, to: &TransferTarget, now: Now) {
        self.start_transfer(call, to, now);
        self.drain_dialogs(now);
    }

    /// Tells the peer how the transfer goes that it asked for: the status of the new call, the first final one being the
    /// last that is told. Codes outside 100–699 are left out.
    pub fn report_transfer(&mut self, call: CallId, status: u16, now: Now) {
        let dialog = self.calls.get(&call).and_then(|it| it.dialog);
        if let Some((dialog, status)) = dialog.zip(StatusCode::new(status)) {
            self.dialogs.report_transfer(dialog, status, now);
        }
        self.drain_dialogs(now);
    }

    /// Ends a call as its state demands: CANCEL, BYE or a refusal.
    pub fn hang_up(&mut self, call: CallId, cause: HangUpCause, now: Now) {
        if !self.give_up_order(call) {
            self.end_call(call, cause, None, now);
        }
        self.drain_dialogs(now);
    }

    /// Takes no new calls from here on: INVITEs get 503 with Retry-After, and carriers are told that we are gone. Calls that
    /// are there go on.
    pub fn drain(&mut self, now: Now) {
        self.is_draining = true;
        self.stop_trunks(now);
        self.drain_dialogs(now);
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Now) {
        self.dialogs.handle_timeout(now);
        self.drain_dialogs(now);
        if let Some(users) = &mut self.users {
            users.registrar.handle_timeout(now);
        }
        self.tell_registrations();
        self.handle_trunk_timeout(now);
        self.drain_dialogs(now);
        while let Some(call) = self.deadlines.pop_due(now.instant) {
            self.call_timeout(call, now);
            self.drain_dialogs(now);
        }
    }

    /// The next thing to do or to know, or `None` once drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and what asks for it.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let call = self.deadlines.next().map(|it| (it, "a call that rings"));
        let binding = self.users.as_ref().and_then(|it| it.registrar.poll_timeout());
        let trunk = self.trunks.poll_timeout().map(|it| (it, "a trunk"));
        let others = self.dialogs.poll_timeout().into_iter().chain(binding).chain(trunk);
        call.into_iter().chain(others).min_by_key(|(at, _)| *at)
    }

    /// How much is held right now.
    pub fn counts(&self) -> Counts {
        let [dialogs, unacknowledged, transactions, streams] = self.dialogs.counts();
        let calls = self.calls.len() + self.servers.orders();
        let farewells = self.trunks.farewells();
        Counts { calls, dialogs, unacknowledged, transactions, streams, farewells }
    }

    /// Where users are, if there are any.
    pub fn registrar(&self) -> Option<&Registrar> {
        self.users.as_ref().map(|it| &it.registrar)
    }

    /// What was judged of users' credentials, if there are users.
    pub fn credentials_stats(&self) -> Option<&DigestServerStats> {
        self.users.as_ref().map(Users::stats)
    }

    /// Who is at the other end of `flow`, as its certificate shows; `None` if it shows none, or nobody we trust issued it.
    pub fn identity(&self, flow: Flow) -> Option<&PeerIdentity> {
        self.dialogs.identity(flow)
    }

    /// What was counted since the start.
    pub const fn stats(&self) -> &Stats {
        self.dialogs.stats()
    }

    fn drain_dialogs(&mut self, now: Now) {
        loop {
            if let Some(event) = self.dialogs.poll_event() {
                self.handle_event(event, now);
            } else if let Some(event) = self.dialogs.poll_server_event() {
                self.handle_server_event(event, now);
            } else if !self.pursue_searches(now) {
                break;
            }
        }
        self.flush();
    }

    /// What was decided goes out before what is told about it.
    fn flush(&mut self) {
        while let Some(wire) = self.dialogs.poll_wire() {
            self.outputs.push_back(match wire {
                Wire::Send { flow, data } => Output::Send { flow, data },
                Wire::Close { flow } => Output::Close { flow },
            });
        }
    }

    fn tell(&mut self, output: Output) {
        self.flush();
        self.outputs.push_back(output);
    }

    fn journal(&mut self, call: CallId, event: Event) {
        self.tell(Output::Journal { call, event });
    }
}
