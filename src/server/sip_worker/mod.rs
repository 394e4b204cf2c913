//! The SIP worker: one task that owns [`Calls`], feeds it datagrams, segments and deadlines, and carries out what it
//! asks for. Here a call's signalling, its media leg and its actor are tied together.

mod live;
mod media;
mod notices;
mod recording;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use self::live::Supervisors;
pub(crate) use self::live::{LiveOrder, LiveRefused, Mode, RecordRequest, Side, Vouching};
use self::notices::{tell_registration, tell_trunk};
pub(crate) use self::recording::Bridged;
use self::recording::Talking;
use self::rooms::RoomCalls;
use crate::auth::DigestServerStats;
use crate::call::{Calls, Counts, End, HandOver, HangUpCause, Order, Outbound, Output, TransferOutcome, TrunkState};
use crate::capture;
use crate::codec::SampleRate;
use crate::config::Advertise;
use crate::identity::{CallId, LegId, Pii};
use crate::limits::{CALL_SIGNALS_MAX, SIP_STATUS_MS, SIP_TURN_MAX};
use crate::locate::{Answer, Question};
use crate::media::Report;
use crate::platform::calls::EndCause;
use crate::registrar::RegistrarStats;
use crate::route::{RoomName, Target, TrunkName};
use crate::server::call_log::{self, CallLog};
use crate::server::capture::CaptureTap;
use crate::server::connections::{Connected, ConnectionId};
use crate::server::consent::BridgedPlans;
use crate::server::endpoint::Recording;
use crate::server::keys_in_clear::KeysInClear;
use crate::server::media_link::TaskEnd;
use crate::server::media_worker::{MediaEvent, MediaLeg, MediaWorkers, RoomOrder, Telling};
pub(crate) use crate::server::new_call::NewCall;
use crate::server::new_call::Party;
use crate::server::ports::PortPool;
use crate::server::recorder::TapEnd;
use crate::server::resolver::Resolver;
use crate::server::shared_ports::SharedPorts;
use crate::server::sip_sockets::SipSockets;
use crate::server::sounds::CallSounds;
use crate::server::{clock, task};
use crate::timer::Now;
use crate::transport::precedence::Intake;
use crate::transport::{Dropped, Flow, Stats, TransportKind};

/// What reaches the worker from its sockets.
#[derive(Debug)]
pub(crate) enum Input {
    /// A UDP datagram.
    Datagram(Flow, Bytes),
    /// The message of a websocket.
    Message((Flow, ConnectionId), Bytes),
    /// A connection is open, accepted or asked for.
    Connected(Connected),
    /// Bytes of a connection.
    Segment((Flow, ConnectionId), Bytes),
    /// A connection ended.
    Disconnected((Flow, ConnectionId)),
    /// A connection that was asked for did not come about.
    NotConnected(Flow),
    /// What came of a question to the name server.
    Answer(Question, Answer),
}

/// An INVITE that begins a call, as far as can be seen at a glance: it waits until nothing else does.
#[derive(Debug)]
pub(crate) struct WaitingInvite {
    /// The way it came.
    pub(crate) flow: Flow,
    /// The datagram.
    pub(crate) data: Bytes,
    /// Since when it waits.
    pub(crate) since: Instant,
}

/// What the rest of the program asks of the worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Place a call; it reaches the queue of new calls when it has media.
    Place(Box<Outbound>, oneshot::Sender<CallId>),
    /// The same, over whatever servers it takes; with variables for the agent that talks in it.
    Order(Box<Order>, BTreeMap<String, String>, oneshot::Sender<CallId>),
    /// The same, for somebody who is to be in a room.
    Invite(Box<Order>, RoomName, oneshot::Sender<CallId>),
    /// Answer a call that came in for a room.
    Answer(CallId),
    /// Do something with the first leg of a call and its room.
    Room(CallId, RoomOrder),
    /// End a call, whatever its state.
    HangUp(CallId, HangUpCause),
    /// Begin a recording of a call's first leg, or end one.
    Record(CallId, Option<TapEnd>),
    /// Have a side of a call told something, or end that.
    Tell(LegId, Option<Box<Telling>>),
    /// Call somebody for the agent's caller; [`Signal::Transferred`] tells what came of it.
    HandOver(CallId, Box<Target>, HandOver),
    /// Do something with a call that is under way, and tell whether that is done or begun.
    Live(CallId, Box<LiveOrder>, oneshot::Sender<Result<(), LiveRefused>>),
    /// Refuse new calls from here on.
    Drain(oneshot::Sender<()>),
    /// End every call.
    HangUpAll(HangUpCause),
    /// End the worker.
    Stop,
}

/// What the worker holds and has counted, as of at most [`SIP_STATUS_MS`] ago.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// What the signalling layers hold.
    pub(crate) counts: Counts,
    /// What they counted.
    pub(crate) stats: Stats,
    /// Messages that a socket did not take.
    pub(crate) send_drops: u64,
    /// Calls that nobody took because the queue of new calls was full.
    pub(crate) new_call_drops: u64,
    /// Orders that a media worker did not take.
    pub(crate) media_refusals: u64,
    /// Legs that could not share a media port because another has their address.
    pub(crate) shared_port_conflicts: u64,
    /// Calls refused because the journal could not take their first event.
    pub(crate) journal_refusals: u64,
    /// Legs whose SRTP keys were told over signalling that others can read.
    pub(crate) keys_in_clear: u64,
    /// Places where users can be reached, what became of registrations, and what was judged of credentials.
    pub(crate) users: Option<(usize, RegistrarStats, DigestServerStats)>,
    /// How the trunks are.
    pub(crate) trunks: Vec<TrunkState>,
    /// Supervisors who hear a call, or are called for that; and the total of those who came to hear one.
    pub(crate) supervisors: (usize, u64),
}

/// Where the worker shows its [`Status`] to whoever asks for metrics.
pub(crate) type SharedStatus = Arc<Mutex<Status>>;

/// What happens to a call, for its actor.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The far side rings.
    Ringing,
    /// Both sides may talk.
    Answered,
    /// Two people talk in it from here on, or another two.
    Bridged(Bridged),
    /// What is to become of the call's recording.
    Record(RecordRequest, oneshot::Sender<Result<(), LiveRefused>>),
    /// What came of the last [`Command::HandOver`]; after a success the agent has no part in the call any more.
    Transferred(TransferOutcome),
    /// The call is over for signalling. The actor writes the leg's report and the last event when it has written
    /// everything else.
    Ended {
        /// How.
        end: End,
        /// Why, if the worker knows better than signalling does.
        cause: Option<EndCause>,
        /// What will come of its legs.
        media: MediaClosed,
    },
}

/// The final report of each of a call's legs, once its media worker has closed it.
pub(crate) type MediaClosed = Vec<(LegId, oneshot::Receiver<Report>)>;

/// What the worker works with.
pub(crate) struct Shell {
    /// Its sockets.
    pub(crate) sockets: SipSockets,
    /// Who looks names up, and where its answers go.
    pub(crate) resolver: Resolver,
    pub(crate) inputs: mpsc::Sender<Input>,
    /// Where legs get their ports.
    pub(crate) ports: Arc<PortPool>,
    /// Which of them share theirs.
    pub(crate) shared_ports: SharedPorts,
    /// Where legs run.
    pub(crate) media: Arc<MediaWorkers>,
    /// The RTP address that peers are told for each local one.
    pub(crate) advertise: Advertise,
    /// After so long without RTP a call is ended.
    pub(crate) inactivity: Duration,
    /// The rate at which a leg is listened to whose codec is not agreed on yet.
    pub(crate) offered_rate: SampleRate,
    /// Who runs the actors of new calls.
    pub(crate) new_calls: mpsc::Sender<NewCall>,
    /// Where events are written.
    pub(crate) log: CallLog,
    /// Where a leg's recording goes, if it is recorded.
    pub(crate) record: Option<Recording>,
    /// What sides of bridged calls hear of ours.
    pub(crate) sounds: CallSounds,
    /// How calls between two people are recorded.
    pub(crate) plans: Arc<BridgedPlans>,
    /// Who keeps the messages, if they are kept.
    pub(crate) capture: Option<CaptureTap>,
    /// Where the worker shows how it is.
    pub(crate) status: SharedStatus,
}

/// See the module.
pub(crate) struct SipWorker {
    calls: Calls,
    intake: Intake,
    shell: Shell,
    legs: BTreeMap<LegId, MediaLeg>,
    /// Of legs whose actor has not been started yet.
    links: BTreeMap<LegId, TaskEnd>,
    actors: BTreeMap<CallId, mpsc::Sender<Signal>>,
    closing: BTreeMap<CallId, MediaClosed>,
    supervisors: Supervisors,
    talking: Talking,
    rooms: RoomCalls,
    /// Calls that somebody has hung up through the API.
    ended_by_operator: BTreeSet<CallId>,
    /// Where the media of placed calls goes, and who they are between.
    placed: BTreeMap<CallId, Party>,
    /// Whether every call is being ended because the server stops.
    is_hanging_up: bool,
    /// Messages that leave once everything else is done.
    leaving: Vec<(Flow, Bytes)>,
    new_call_drops: u64,
    media_refusals: u64,
    journal_refusals: u64,
    /// Calls that are being refused because the journal could not take their first event: it gets no other.
    unrecorded: BTreeSet<CallId>,
    shown: Now,
    /// How many requests each of [`LIMITS`] has refused, as far as the log knows.
    refusals: [u64; LIMITS.len()],
    refusals_told: Now,
    keys_in_clear: KeysInClear,
}

impl SipWorker {
    /// A worker for `calls`, idle until [`SipWorker::run`].
    pub(crate) fn new(calls: Calls, shell: Shell, now: Now) -> Self {
        Self {
            calls,
            intake: Intake::new(),
            shell,
            legs: BTreeMap::new(),
            links: BTreeMap::new(),
            actors: BTreeMap::new(),
            closing: BTreeMap::new(),
            supervisors: Supervisors::new(),
            talking: Talking::default(),
            rooms: RoomCalls::default(),
            ended_by_operator: BTreeSet::new(),
            placed: BTreeMap::new(),
            is_hanging_up: false,
            leaving: vec![],
            new_call_drops: 0,
            media_refusals: 0,
            journal_refusals: 0,
            unrecorded: BTreeSet::new(),
            shown: now,
            refusals: [0; LIMITS.len()],
            refusals_told: now,
            keys_in_clear: KeysInClear::default(),
        }
    }

    /// Works until it is told to stop, or every sender of `commands` is gone.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut invites: mpsc::Receiver<WaitingInvite>,
        mut commands: mpsc::Receiver<Command>,
        mut media: mpsc::Receiver<MediaEvent>,
    ) {
        loop {
            self.perform_outputs();
            let show_at = self.show_status(clock::now());
            let deadline = self.calls.poll_timeout().map(|(at, _)| at);
            let wake = deadline.into_iter().chain(show_at).min();
            let mut is_behind = false;
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => return,
                    Some(command) => self.handle_command(command),
                },
                Some(event) = media.recv() => self.handle_media(event),
                Some(input) = inputs.recv() => {
                    self.adjust_intake(inputs.len());
                    self.handle_input(input);
                    is_behind = self.work_off(&mut inputs, &mut invites);
                }
                Some(invite) = invites.recv() => {
                    self.adjust_intake(inputs.len());
                    self.handle_invite(invite);
                    is_behind = self.work_off(&mut inputs, &mut invites);
                }
                () = task::deadline_if_any(wake) => (),
            }
            // Expiry is told by the clock, not by the timer that woke us.
            self.calls.handle_timeout(clock::now());
            if is_behind {
                // Sockets are read and calls are served by other tasks, perhaps on this thread.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Works off a burst, calls that are there first, but not for so long that a deadline or a command waits for it.
    /// Whether more may wait.
    fn work_off(&mut self, inputs: &mut mpsc::Receiver<Input>, invites: &mut mpsc::Receiver<WaitingInvite>) -> bool {
        let start = clock::now();
        loop {
            for _ in 0..INPUTS_PER_LOOK {
                if let Ok(input) = inputs.try_recv() {
                    self.handle_input(input);
                } else if let Ok(invite) = invites.try_recv() {
                    self.handle_invite(invite);
                } else {
                    return false;
                }
            }
            if clock::now().since(start) >= SIP_TURN_MAX {
                return true;
            }
        }
    }

    /// Finds out how much of what comes has to be refused. To be called before anything of a burst is looked at.
    fn adjust_intake(&mut self, queued: usize) {
        let queued = f64::from(u32::try_from(queued).unwrap_or(u32::MAX)) / f64::from(SIP_INPUTS);
        let fullness = queued.max(self.shell.log.fullness());
        self.calls.shed(self.intake.look(fullness, clock::now().instant));
    }

    fn handle_invite(&mut self, invite: WaitingInvite) {
        let WaitingInvite { flow, data, since } = invite;
        let now = clock::now();
        if self.intake.note(since, now.instant) || self.shell.log.is_behind() {
            self.calls.handle_late_datagram(flow, data, now);
        } else {
            self.calls.handle_datagram(flow, data, now);
        }
        self.perform_outputs();
    }

    /// Shows how things are, but not too often; says when it should be done again because something is not shown yet.
    fn show_status(&mut self, now: Now) -> Option<Instant> {
        let interval = Duration::from_millis(SIP_STATUS_MS);
        if now.since(self.shown) < interval {
            return Some(self.shown.instant + interval);
        }
        self.show_status_now(now);
        None
    }

    fn show_status_now(&mut self, now: Now) {
        let status = Status {
            counts: self.calls.counts(),
            stats: self.calls.stats().clone(),
            send_drops: self.shell.sockets.dropped(),
            new_call_drops: self.new_call_drops,
            media_refusals: self.media_refusals,
            shared_port_conflicts: self.shell.shared_ports.conflicts(),
            journal_refusals: self.journal_refusals,
            keys_in_clear: self.keys_in_clear.total(),
            users: self.users(),
            trunks: self.calls.trunks(now),
            supervisors: self.supervisors.counts(),
        };
        self.tell_refusals(&status.stats, now);
        *self.shell.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.shown = now;
    }

    fn users(&self) -> Option<(usize, RegistrarStats, DigestServerStats)> {
        let (registrar, credentials) = self.calls.registrar().zip(self.calls.credentials_stats())?;
        Some((registrar.len(), *registrar.stats(), *credentials))
    }

    /// Logs what was refused because a limit was reached: a line for each limit, at most one a second.
    fn tell_refusals(&mut self, stats: &Stats, now: Now) {
        if now.since(self.refusals_told) < REFUSALS_TOLD_EVERY {
            return;
        }
        for (reason, told) in LIMITS.iter().zip(&mut self.refusals) {
            let total = stats.dropped(*reason);
            if total > *told {
                tracing::warn!(limit = reason.name(), requests = total - *told, "refused");
                *told = total;
                self.refusals_told = now;
            }
        }
    }

    fn handle_input(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Datagram(flow, data) => self.calls.handle_datagram(flow, data, now),
            // What came on a connection that is not the one of these addresses any more says nothing about the one that is.
            Input::Message((flow, id), data) => {
                if self.shell.sockets.is_open(flow, id) {
                    self.calls.handle_datagram(flow, data, now);
                }
            }
            Input::Segment((flow, id), data) => {
                if self.shell.sockets.is_open(flow, id) {
                    self.calls.handle_segment(flow, data, now);
                }
            }
            Input::Connected(connected) => self.handle_connected(connected, now),
            Input::Answer(question, answer) => self.calls.handle_answer(&question, answer, now),
            Input::Disconnected((flow, id)) => {
                if self.shell.sockets.is_open(flow, id) {
                    self.shell.sockets.close(flow);
                    self.calls.handle_disconnected(flow, now);
                }
            }
            Input::NotConnected(flow) => {
                self.shell.sockets.give_up(flow);
                self.calls.handle_send_failed(flow, now);
            }
        }
        self.perform_outputs();
    }

    fn handle_connected(&mut self, connected: Connected, now: Now) {
        let Connected { flow, is_ours, identity, .. } = &connected;
        let (flow, is_ours, identity) = (*flow, *is_ours, identity.clone());
        if self.shell.sockets.has(flow) {
            // The end of the one before is still to be heard of: nothing of it is the new one's.
            self.shell.sockets.close(flow);
            self.calls.handle_disconnected(flow, now);
        }
        // The core answers what it is handed, so the way has to be there first.
        if self.shell.sockets.connected(connected) {
            self.calls.handle_connected(flow, is_ours, identity, now);
        } else {
            self.calls.handle_disconnected(flow, now);
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Place(outbound, reply) => {
                let ends = (Pii::new(outbound.from.to_string()), Pii::new(outbound.to.to_string()));
                let call = self.calls.place(*outbound, now);
                let (from, to) = ends;
                self.placed.insert(call, Party { from, to, is_placed: true, ..Party::default() });
                if reply.send(call).is_err() {
                    // Whoever asked has gone.
                    self.calls.hang_up(call, HangUpCause::Done, now);
                }
            }
            Command::Order(order, variables, reply) => {
                let (to, agent) = (Pii::new(order.to.to_string()), order.agent.clone());
                let call = self.calls.order(*order, now);
                self.placed.insert(call, Party { agent, to, is_placed: true, variables, ..Party::default() });
                if reply.send(call).is_err() {
                    // Whoever asked has gone.
                    self.calls.hang_up(call, HangUpCause::Done, now);
                }
            }
            Command::Invite(order, room, reply) => self.invite(*order, room, reply, now),
            Command::Answer(call) => self.calls.answer(call, now),
            Command::Room(call, order) => self.order_room(call, order),
            Command::HangUp(call, cause) => self.calls.hang_up(call, cause, now),
            Command::HandOver(call, target, how) => self.calls.hand_over(call, *target, how, now),
            Command::Live(call, order, reply) => self.handle_live(call, *order, reply, now),
            Command::HangUpAll(cause) => {
                self.is_hanging_up = true;
                let with_media = self.legs.keys().map(|it| it.call);
                for call in self.actors.keys().copied().chain(with_media).collect::<BTreeSet<_>>() {
                    self.calls.hang_up(call, cause, now);
                }
            }
            Command::Record(call, tap) => self.record_leg(call, tap),
            Command::Tell(leg, telling) => self.tell_leg(leg, telling),
            Command::Drain(reply) => {
                self.calls.drain(now);
                // Whoever waits for the end of it must not take what was before for it.
                self.show_status_now(now);
                // Or does not wait.
                reply.send(()).unwrap_or_default();
            }
            Command::Stop => (),
        }
    }

    fn handle_media(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Inactive { leg, .. } | MediaEvent::Failed { leg, .. } => {
                self.calls.handle_media_inactive(leg, clock::now());
            }
            MediaEvent::Pressed { leg, digit, ms } => self.calls.press(leg, digit.to_char(), ms, clock::now()),
        }
    }

    /// Messages leave last: whoever answers an offer is ready for what it agrees to before the peer knows (RFC 3264 §6.1).
    fn perform_outputs(&mut self) {
        loop {
            while let Some(output) = self.calls.poll_output() {
                self.perform(output);
            }
            if self.leaving.is_empty() {
                return;
            }
            self.send_messages();
        }
    }

    fn send_messages(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for (flow, data) in leaving.drain(..) {
            self.capture(|it| it.message(capture::Direction::Sent, flow, data.clone()));
            if self.shell.sockets.send(flow, data).is_err() {
                self.lose(flow);
            }
        }
        // With its room, for the next ones.
        self.leaving = leaving;
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { flow, data } => self.leaving.push((flow, data)),
            Output::Close { flow } => {
                self.send_messages();
                self.shell.sockets.close(flow);
                self.calls.handle_disconnected(flow, clock::now());
            }
            Output::Received { flow, data } => {
                self.capture(|it| it.message(capture::Direction::Received, flow, data));
            }
            Output::CallIdKnown { call, call_id } => self.capture(|it| it.call_id(call, call_id)),
            Output::OpenMedia { leg, local_ip, peer, remote } => {
                self.open_media(leg, local_ip, peer, remote.as_ref());
            }
            Output::UpdateMedia { leg, peer, remote, is_another } => self.update_media(leg, peer, &remote, is_another),
            Output::CloseMedia { leg } => {
                self.links.remove(&leg);
                self.keys_in_clear.forget(leg);
                self.shell.shared_ports.close(leg);
                if let Some(media) = self.legs.remove(&leg) {
                    self.closing.entry(leg.call).or_default().push((leg, media.close()));
                }
            }
            Output::Bridge { a, b } => {
                // Nobody else listens to these.
                self.links.remove(&a);
                self.links.remove(&b);
                if let Some(other) = self.legs.remove(&b) {
                    self.order_media(a, |it| it.bridge(&other));
                    self.legs.insert(b, other);
                }
                self.direct_supervisor(a.call);
                self.tell_bridged(a.call, None);
            }
            Output::Unbridge { a, .. } => self.order_media(a, MediaLeg::unbridge),
            Output::Supervising { leg } => self.supervisor_answered(leg),
            Output::SupervisorGone { call } => self.supervisor_gone(call),
            Output::PlaySound { leg, sound } => self.play(leg, sound),
            Output::StartAgent { call: _, account: _, agent, leg, from, to, trunk: _, details } => {
                let variables = details.into_iter().map(|(name, value)| (name, value.reveal().clone())).collect();
                self.start_actor(leg, Party { agent: Some(agent), from, to, variables, ..Party::default() });
            }
            Output::EnterRoom { leg, room, caller, from, to } => self.note_room(leg, room, &caller, from, to),
            Output::Answered { call, .. } => {
                self.signal(call, Signal::Answered);
                self.tell_bridged(call, None);
            }
            Output::Digit { leg, digit, duration_ms } => self.tell_digit(leg, digit, duration_ms),
            Output::Transferred { call, outcome } => self.signal(call, Signal::Transferred(outcome)),
            // Nobody here places the call that a peer asks for.
            Output::TransferAsked { call, .. } => self.calls.report_transfer(call, 501, clock::now()),
            // The journal's entry, which every call has, ends it here.
            Output::Ended { .. } => (),
            Output::Ask(question) => self.shell.resolver.ask(question, self.shell.inputs.clone()),
            Output::Trunk { trunk, event } => tell_trunk(&trunk.0, event),
            Output::Secure { flow, server_name, trunk } => self.secure(flow, &server_name, trunk.as_ref()),
            // Who asks is told by the registrar itself.
            Output::Registration(event) => tell_registration(event),
            Output::Journal { call, event } => self.record(call, event),
        }
    }

    /// Has the far end of a TLS flow show the certificate of its host. Where it cannot, nothing is sent: the flow fails.
    fn secure(&mut self, flow: Flow, server_name: &str, trunk: Option<&TrunkName>) {
        match self.shell.sockets.expect_tls_name(flow.remote, server_name, trunk) {
            Ok(closed) => closed.into_iter().for_each(|it| self.calls.handle_disconnected(it, clock::now())),
            Err(reason) => {
                tracing::warn!(peer = %flow.remote, name = server_name, %reason, "not connected over TLS");
                self.calls.handle_send_failed(flow, clock::now());
            }
        }
    }

    /// What was written to the flow did not get out; a connection is gone then.
    fn lose(&mut self, flow: Flow) {
        let now = clock::now();
        match flow.kind {
            TransportKind::Udp => self.calls.handle_send_failed(flow, now),
            TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss => {
                self.calls.handle_disconnected(flow, now);
            }
        }
    }

    fn start_actor(&mut self, leg: LegId, party: Party) {
        let call = leg.call;
        if self.unrecorded.contains(&call) {
            self.links.remove(&leg);
            return;
        }
        let (signals, queue) = mpsc::channel(CALL_SIGNALS_MAX);
        let Some(link) = self.links.remove(&leg) else {
            return self.calls.hang_up(call, HangUpCause::Failed, clock::now());
        };
        let rate = link.rate();
        let new = NewCall { call, party, link: Some(link), rate, signals: queue };
        if self.shell.new_calls.try_send(new).is_err() {
            self.new_call_drops += 1;
            return self.calls.hang_up(call, HangUpCause::ShutDown, clock::now());
        }
        self.actors.insert(call, signals);
    }

    fn signal(&mut self, call: CallId, signal: Signal) {
        let Some(actor) = self.actors.get(&call) else { return };
        if actor.try_send(signal).is_err() {
            // An actor that takes no more signals has panicked or hangs: the call cannot go on without it.
            self.actors.remove(&call);
            self.calls.hang_up(call, HangUpCause::Failed, clock::now());
        }
    }

    fn write_end(&self, call: CallId, end: End, cause: Option<EndCause>) {
        // What cannot be written is reported by the log.
        self.shell.log.write_now(call, call_log::ended(end, cause), clock::now()).unwrap_or(());
    }

    fn end(&mut self, call: CallId, end: End) {
        self.placed.remove(&call);
        self.supervisors.remove(call);
        self.talking.remove(call);
        self.rooms.remove(call);
        self.capture(|it| it.ended(call));
        let media = self.closing.remove(&call).unwrap_or_default();
        if self.unrecorded.remove(&call) {
            return;
        }
        let by_operator = self.ended_by_operator.remove(&call).then_some(EndCause::HangUp);
        let cause = self.is_hanging_up.then_some(EndCause::Drained).or(by_operator);
        match self.actors.remove(&call) {
            Some(actor) => {
                if actor.try_send(Signal::Ended { end, cause: cause.clone(), media }).is_err() {
                    self.write_end(call, end, cause);
                }
            }
            None if media.is_empty() => self.write_end(call, end, cause),
            None => {
                let log = self.shell.log.clone();
                task::spawn("call-end", async move { log.finish(call, end, cause, media).await });
            }
        }
    }

    fn record(&mut self, call: CallId, event: crate::call::Event) {
        // A digit at the door of a room may be one of its PIN.
        let is_secret = matches!(event, crate::call::Event::Digit { .. }) && self.rooms.of(call).is_some();
        if is_secret || self.unrecorded.contains(&call) && !matches!(event, crate::call::Event::Ended(_)) {
            return;
        }
        if matches!(event, crate::call::Event::Ringing) {
            self.signal(call, Signal::Ringing);
        }
        if let crate::call::Event::Replaced { leg, .. } = event {
            self.tell_bridged(call, Some(leg));
        }
        if let crate::call::Event::Ended(end) = event {
            return self.end(call, end);
        }
        let is_first = matches!(event, crate::call::Event::Offered { .. });
        let written = call_log::signalling(event).map_or(Ok(()), |it| self.shell.log.write_now(call, it, clock::now()));
        if written.is_err() && is_first {
            // A call is a journal of events: one that cannot have a journal is refused with 503.
            self.journal_refusals += 1;
            self.unrecorded.insert(call);
            self.calls.hang_up(call, HangUpCause::ShutDown, clock::now());
        }
    }
}

/// Between looks at the clock while a burst is worked off.
const INPUTS_PER_LOOK: usize = 16;
/// [`SIP_INPUTS_MAX`](crate::limits::SIP_INPUTS_MAX), as a number to divide by.
const SIP_INPUTS: u32 = 8_192;
/// What refuses requests that are in order.
const LIMITS: [Dropped; 6] = [
    Dropped::TooManyTransactions,
    Dropped::TooManyDialogs,
    Dropped::TooManyUnacknowledged,
    Dropped::TooManyCalls,
    Dropped::Draining,
    Dropped::Overloaded,
];
/// Between lines about refusals.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(1);
