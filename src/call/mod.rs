//! Calls: who is let in, when a call rings and is answered, and what the media session and the agent are told.
//!
//! [`Calls`] is a whole user agent in one struct: the shell hands it datagrams, segments, commands and time, and performs
//! its [`Output`]s. A call has one leg if it is with an agent, and two if it connects two peers, with dialogs of their own
//! (RFC 7092); more while several are called or somebody is transferred. The media session and the agent of a leg are
//! ready from the offer on, and "answered" is an event, so that ringing, early media and a pre-warmed agent take the same
//! path.

mod admission;
mod bridge;
mod carried;
mod config;
mod details;
mod dial;
mod elsewhere;
mod event;
mod history;
#[cfg(test)]
mod hostile;
mod incoming;
mod leg;
mod outgoing;
mod party;
mod redirect;
mod registered;
mod servers;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod simulation_bridged;
mod supervise;
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
use smallvec::SmallVec;

pub use self::admission::TrunkAdmission;
pub use self::config::{
    CallLimits, CallsConfig, HandOver, OwnSounds, Redirects, Replacements, Ring, RingTone, SessionTimers, Transfers,
};
pub use self::details::variable;
use self::dial::Dialling;
pub use self::event::{Direction, End, EndCause, Event, HangUpCause, Initiator, Reason, TransferOutcome};
use self::history::History;
use self::leg::Leg;
use self::outgoing::Outgoing;
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
use crate::limits::CALL_LEGS_MAX;
use crate::locate::{Answer, Question};
use crate::registrar::{self, Registrar};
use crate::route::{AgentName, Caller, RoomName, Target, TrunkName};
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
    calls: BTreeMap<CallId, Call>,
    legs: BTreeMap<LegId, Leg>,
    by_dialog: BTreeMap<DialogId, LegId>,
    deadlines: Deadlines<LegId>,
    is_draining: bool,
    users: Option<Users>,
    servers: Servers,
    trunks: Trunks,
    outputs: VecDeque<Output>,
}

/// A call: which legs it has, and what it is about to do with them.
#[derive(Debug)]
struct Call {
    /// The numbers of its legs, in order.
    legs: SmallVec<[u8; 2]>,
    /// The number of its next leg; `None` if it has had as many as can be told apart.
    next: Option<u8>,
    /// An agent, or whoever placed it, talks on its first leg.
    has_agent: bool,
    /// Somebody is being called for one of its legs.
    dialling: Option<Box<Dialling>>,
    /// Somebody is being called who is to supervise it.
    aside: Option<Box<Dialling>>,
    /// The number of the configuration that was called, if it came in to one.
    number: Option<Box<str>>,
    /// Whom it was sent to before, if it came in.
    history: Option<Box<History>>,
    /// How it ends, once it does.
    end: Option<End>,
}

/// A sound of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Ringing at the other end.
    Ringback,
    /// Music on hold.
    HoldMusic,
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
    /// For whoever captures: this message came, whatever became of it. Only if [`CallsConfig::captures`].
    Received {
        /// The way it came.
        flow: Flow,
        /// The whole message.
        data: Bytes,
    },
    /// For whoever captures: messages with this Call-ID are those of the call. A call may have several Call-IDs.
    CallIdKnown {
        /// The call.
        call: CallId,
        /// As in the header field.
        call_id: Box<str>,
    },
    /// Open a media session, then call [`Calls::handle_media_opened`] or [`Calls::handle_media_refused`].
    OpenMedia {
        /// The leg it is for.
        leg: LegId,
        /// The address of the listener that the call came to: RTP leaves from there.
        local_ip: IpAddr,
        /// Where the peer's SIP messages come from or go: its media may, too, if it is behind a NAT.
        peer: IpAddr,
        /// What the peer offers; `None` until [`Output::UpdateMedia`].
        remote: Option<MediaDescription>,
    },
    /// The peer's side of the media is known or changes: update the session, never replace it.
    UpdateMedia {
        /// The leg.
        leg: LegId,
        /// Where the peer's SIP messages come from or go.
        peer: IpAddr,
        /// What is agreed on.
        remote: MediaDescription,
        /// Whether that is another peer than before, which has taken its place in the call.
        is_another: bool,
    },
    /// Let each of two open media sessions of a call be heard on the other.
    Bridge {
        /// The one.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// End that. Comes once for every [`Output::Bridge`], before either is closed.
    Unbridge {
        /// The one.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Play this on the media session of a leg until something else is told, or until it is bridged anew.
    PlaySound {
        /// The leg.
        leg: LegId,
        /// What; `None` for nothing any more.
        sound: Option<Sound>,
    },
    /// Close the media session. Comes once for every [`Output::OpenMedia`] that was not refused.
    CloseMedia {
        /// The leg.
        leg: LegId,
    },
    /// A call that comes in is for a room. Comes before its [`Output::OpenMedia`], so that its media is opened where that
    /// of the room is. It rings until [`Calls::answer`] or [`Calls::hang_up`], and is not in the room before
    /// [`Output::Answered`].
    EnterRoom {
        /// Its leg.
        leg: LegId,
        /// The room.
        room: RoomName,
        /// As whose it counts.
        caller: Caller,
        /// The caller's URI.
        from: Pii<String>,
        /// The called URI.
        to: Pii<String>,
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
        /// The trunk it came over.
        trunk: Option<TrunkName>,
        /// What else the INVITE tells of the call, by the names of variables.
        details: Vec<(String, Pii<String>)>,
    },
    /// The call is answered, by either side.
    Answered {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// The peer of a leg tells of a digit by INFO: it is for whoever hears the leg, unless its media have told of it as well.
    Digit {
        /// The leg.
        leg: LegId,
        /// One of `0-9`, `*`, `#` and `A-D`.
        digit: char,
        /// How long it was pressed, in milliseconds.
        duration_ms: u16,
    },
    /// A transfer that was asked for by [`Calls::transfer`] or [`Calls::hand_over`] is over. Comes once for each.
    Transferred {
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: TransferOutcome,
    },
    /// The supervisor whom [`Calls::supervise`] called has answered: its leg, which has a media session, may hear the others.
    Supervising {
        /// The leg.
        leg: LegId,
    },
    /// The supervisor has hung up, or could not be reached, and the call goes on. Not told when the call is over.
    SupervisorGone {
        /// The call.
        call: CallId,
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
    /// Whether it goes over these even if it is too large for UDP, where TCP is tried otherwise (RFC 3261 §18.1.1).
    pub keeps_transport: bool,
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
    /// Dialogs that are not over, or whose BYE is not answered yet.
    pub dialogs: usize,
    /// Dialogs that are over, and wait out their last timers.
    pub ended_dialogs: usize,
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
        let mut users = config.users.take();
        if let Some(users) = &mut users {
            let of_trunks = config.trunks.iter().map(|it| (&it.account, &it.admission));
            users.users.extend(admission::accounts(of_trunks));
        }
        let users = users.and_then(|it| Users::new(it, &mut rng, now).ok());
        let trunks = Trunks::new(std::mem::take(&mut config.trunks), now);
        let listeners = config.listeners.iter().map(|(it, _)| it.clone()).collect();
        let mut transport = Transport::new(listeners, config.sources.clone(), config.shard, rng.next_u64());
        if config.captures {
            transport.tap();
        }
        let tokens = Tokens::new(ChaCha12Rng::from_rng(&mut rng), config.shard);
        let servers = Servers::new(&config.listeners, ChaCha12Rng::from_rng(&mut rng));
        let limits = TransactionLimits {
            transactions_max: config.limits.transactions_max,
            in_dialog_reserve: config.limits.transactions_in_dialog_reserve,
        };
        let peers = trunks.peers();
        for (name, sources) in trunks.sources() {
            config.routes.set_trunk_sources(name, sources);
        }
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
        let mut dialogs = Dialogs::new(Transactions::new(transport, tokens, limits), dialogs);
        for (index, peer) in peers {
            dialogs.set_peer(index, peer);
        }
        Self {
            dialogs,
            config,
            rng,
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
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

    /// From here on this share of the calls that come in, 0 to 1, is refused with 503 and Retry-After as soon as it is seen,
    /// evenly spread.
    pub const fn shed(&mut self, share: f64) {
        self.dialogs.shed(share);
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
        self.media_opened(leg, address, now);
        self.drain_dialogs(now);
    }

    /// The media session of a call is at another address from here on: its peer is told by a re-INVITE, or before the answer
    /// by an UPDATE if it takes that.
    pub fn handle_media_moved(&mut self, leg: LegId, address: SocketAddr, now: Now) {
        if let Some(held) = self.legs.get_mut(&leg) {
            held.note_moved(address);
            if let Some(dialog) = held.dialog {
                self.dialogs.move_media(dialog, address, now);
            }
        }
        self.drain_dialogs(now);
    }

    /// There is no port for the leg.
    pub fn handle_media_refused(&mut self, leg: LegId, now: Now) {
        self.media_refused(leg, now);
        self.drain_dialogs(now);
    }

    /// No RTP came for the configured time. Without effect while one side is on hold.
    pub fn handle_media_inactive(&mut self, leg: LegId, now: Now) {
        self.media_inactive(leg, now);
        self.drain_dialogs(now);
    }

    /// Places a call. Whether it can be placed is told as that of every call, by its outputs.
    pub fn place(&mut self, outbound: Outbound, now: Now) -> CallId {
        let call = CallId::generate(&mut self.rng, now.unix_ms());
        self.place_as(call, Outgoing::of(outbound), None, now);
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
        if let Some(leg) = self.main_leg(call).filter(|_| self.calls.get(&call).is_some_and(|it| it.has_agent)) {
            self.answer_leg(leg, now);
        }
        self.drain_dialogs(now);
    }

    /// Puts the peer of an answered call on hold, or takes it back.
    pub fn hold(&mut self, call: CallId, holds: bool, now: Now) {
        let leg = self.main_leg(call).and_then(|it| self.legs.get_mut(&it));
        if let Some((leg, dialog)) = leg.and_then(|it| Some((it.dialog?, it))).map(|(dialog, leg)| (leg, dialog)) {
            leg.holds = holds;
            self.dialogs.hold(dialog, holds, now);
        }
        self.drain_dialogs(now);
    }

    /// The agent of an answered call hands its caller over to `target`: as soon as that has answered, the agent is out of the
    /// call. An [`Output::Transferred`] tells the outcome; until then, and if it is not a success, the agent keeps its caller.
    pub fn hand_over(&mut self, call: CallId, target: Target, how: HandOver, now: Now) {
        self.start_handing_over(call, target, how, now);
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
        if let Some((leg, status)) = self.main_leg(call).zip(StatusCode::new(status)) {
            self.report_to(leg, status, now);
        }
        self.drain_dialogs(now);
    }

    /// Ends a call as its state demands: CANCEL, BYE or a refusal.
    pub fn hang_up(&mut self, call: CallId, cause: HangUpCause, now: Now) {
        if self.give_up_order(call) {
            // It had no leg yet.
        } else if let Some(leg) = self.main_leg(call) {
            self.end_leg(leg, &self.config.refusal(cause), None, now);
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
        while let Some(leg) = self.deadlines.pop_due(now.instant) {
            self.leg_timeout(leg, now);
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
        let [dialogs, ended_dialogs, unacknowledged, transactions, streams] = self.dialogs.counts();
        let calls = self.calls.len() + self.servers.orders();
        let farewells = self.trunks.farewells();
        Counts { calls, dialogs, ended_dialogs, unacknowledged, transactions, streams, farewells }
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

    /// The leg of a call that commands are about: the first that stays.
    fn main_leg(&self, call: CallId) -> Option<LegId> {
        let mut legs = self.calls.get(&call)?.legs().map(|index| LegId { call, index });
        legs.find(|it| self.legs.get(it).is_some_and(|it| !it.is_dropped && !it.is_dialled && !it.is_aside))
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
                Wire::Received { flow, data } => Output::Received { flow, data },
            });
        }
    }

    /// A dialog is that of a leg. Whoever captures is told its Call-ID before any of its messages that still wait.
    fn bind(&mut self, dialog: DialogId, leg: LegId, call_id: &str) {
        self.by_dialog.insert(dialog, leg);
        self.tell_call_id(leg.call, call_id);
    }

    /// Tells whose the messages with this Call-ID are.
    fn tell_call_id(&mut self, call: CallId, call_id: &str) {
        if self.config.captures {
            self.outputs.push_back(Output::CallIdKnown { call, call_id: call_id.into() });
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

impl Call {
    /// A call with its first leg.
    fn new(has_agent: bool) -> Self {
        Self {
            legs: SmallVec::from_slice(&[0]),
            next: Some(1),
            has_agent,
            dialling: None,
            aside: None,
            number: None,
            history: None,
            end: None,
        }
    }

    /// Who is being called for one of its legs, or beside them.
    const fn dialling(&mut self, is_aside: bool) -> &mut Option<Box<Dialling>> {
        if is_aside { &mut self.aside } else { &mut self.dialling }
    }

    /// The numbers of its legs, in order.
    fn legs(&self) -> impl Iterator<Item = u8> + use<> {
        self.legs.clone().into_iter()
    }

    /// One more leg; `None` if there have been too many.
    fn next_leg(&mut self) -> Option<u8> {
        let index = self.next.filter(|_| self.legs.len() < CALL_LEGS_MAX)?;
        self.next = index.checked_add(1);
        self.legs.push(index);
        Some(index)
    }

    fn remove_leg(&mut self, index: u8) {
        self.legs.retain(|it| *it != index);
    }
}
