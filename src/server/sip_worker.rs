//! The SIP worker: one task that owns [`Calls`], feeds it datagrams, segments and deadlines, and carries out what it
//! asks for. Here a call's signalling, its media leg and its actor are tied together.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Calls, Counts, HangUpCause, Outbound, Output, Stats};
use crate::config::Advertise;
use crate::identity::{CallId, LegId, Pii};
use crate::limits::{CALL_SIGNALS_MAX, SIP_INPUTS_PER_TURN_MAX};
use crate::media::Report;
use crate::server::media_link::{self, TaskEnd};
use crate::server::media_worker::MediaWorkers;
use crate::server::ports::PortPool;
use crate::server::sip_sockets::SipSockets;
use crate::server::{clock, task, tcp};
use crate::transport::Flow;

/// What reaches the worker from its sockets.
#[derive(Debug)]
pub(crate) enum Input {
    /// A UDP datagram.
    Datagram(Flow, Bytes),
    /// A TCP connection is open, accepted or asked for.
    Connected(Flow, tcp::Writer),
    /// Bytes of a TCP connection.
    Segment(Flow, Bytes),
    /// A TCP connection ended.
    Disconnected(Flow),
    /// Something could not be sent.
    SendFailed(Flow),
}

/// What the rest of the program asks of the worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Place a call; the answer is its id.
    Place(Outbound, oneshot::Sender<CallId>),
    /// End a call, whatever its state.
    HangUp(CallId, HangUpCause),
    /// Refuse new calls from here on.
    Drain,
    /// End every call.
    HangUpAll(HangUpCause),
    /// Say how much is held and what was counted.
    Status(oneshot::Sender<Status>),
}

/// The worker's answer to [`Command::Status`].
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
}

/// A call that has come into being, for whoever runs its actor.
#[derive(Debug)]
pub(crate) struct NewCall {
    /// The call.
    pub(crate) call: CallId,
    /// Who is to answer it; `None` for a call placed by [`Command::Place`].
    pub(crate) agent: Option<AgentName>,
    /// Who calls.
    pub(crate) from: Pii<String>,
    /// Who is called.
    pub(crate) to: Pii<String>,
    /// The audio of its leg.
    pub(crate) link: TaskEnd,
    /// What happens to it. Closed without [`Signal::Ended`] only when the worker itself is gone.
    pub(crate) signals: mpsc::Receiver<Signal>,
}

/// What happens to a call, for its actor.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The far side rings.
    Ringing,
    /// Both sides may talk.
    Answered,
    /// A digit in an INFO.
    Digit(char),
    /// The call is over for signalling. The actor writes the media's report and [`Event::Ended`](
    /// crate::platform::calls::Event::Ended) when it has written everything else.
    Ended(call::End, MediaReports),
}

/// The final report of a call's leg, when its media worker has closed it; `None` if it never had one.
pub(crate) type MediaReports = Option<(LegId, oneshot::Receiver<Report>)>;

/// What the worker works with.
pub(crate) struct Shell {
    /// Its sockets.
    pub(crate) sockets: SipSockets,
    /// Where legs get their ports.
    pub(crate) ports: PortPool,
    /// Where legs run.
    pub(crate) media: MediaWorkers,
    /// The RTP address that peers are told for each local one.
    pub(crate) advertise: Advertise,
    /// Who runs the actors of new calls.
    pub(crate) new_calls: mpsc::Sender<NewCall>,
    /// Where events are written.
    pub(crate) log: CallLog,
    /// What a leg's recording is fed from, if calls are recorded.
    pub(crate) tap: Option<fn(CallId) -> Option<TapEnd>>,
}

/// See the module.
pub(crate) struct SipWorker {
    calls: Calls,
    shell: Shell,
    legs: BTreeMap<LegId, Option<TaskEnd>>,
    actors: BTreeMap<CallId, mpsc::Sender<Signal>>,
    closing: BTreeMap<CallId, MediaReports>,
    new_call_drops: u64,
}

impl SipWorker {
    /// A worker for `calls`, idle until [`SipWorker::run`].
    pub(crate) const fn new(calls: Calls, shell: Shell) -> Self {
        Self {
            calls,
            shell,
            legs: BTreeMap::new(),
            actors: BTreeMap::new(),
            closing: BTreeMap::new(),
            new_call_drops: 0,
        }
    }

    /// Works until every handle to `commands` is gone.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut commands: mpsc::Receiver<Command>,
        mut inactive: mpsc::Receiver<LegId>,
    ) {
        loop {
            self.perform_outputs();
            let deadline = self.calls.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(leg) = inactive.recv() => self.calls.handle_media_inactive(leg, clock::now()),
                Some(input) = inputs.recv() => {
                    self.handle_input(input);
                    // A burst is worked off in one turn, but never so long that a deadline or a command waits for it.
                    for _ in 1..SIP_INPUTS_PER_TURN_MAX {
                        let Ok(input) = inputs.try_recv() else { break };
                        self.handle_input(input);
                    }
                }
                () = task::deadline_if_any(deadline) => (),
            }
            // Expiry is told by the clock, not by the timer that woke us.
            self.calls.handle_timeout(clock::now());
        }
    }

    fn handle_input(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Datagram(flow, data) => self.calls.handle_datagram(flow, data, now),
            Input::Segment(flow, data) => self.calls.handle_segment(flow, data, now),
            Input::Connected(flow, writer) => self.shell.sockets.connected(flow, writer),
            Input::Disconnected(flow) => {
                self.shell.sockets.close(flow);
                self.calls.handle_disconnected(flow, now);
            }
            Input::SendFailed(flow) => {
                self.shell.sockets.close(flow);
                self.calls.handle_send_failed(flow, now);
            }
        }
        self.perform_outputs();
    }

    fn handle_command(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Place(outbound, reply) => {
                let call = self.calls.place(outbound, now);
                // Whoever asked may have gone; the call then ends by itself.
                drop(reply.send(call));
            }
            Command::HangUp(call, cause) => self.calls.hang_up(call, cause, now),
            Command::HangUpAll(cause) => {
                for call in self.calls.open_calls() {
                    self.calls.hang_up(call, cause, now);
                }
            }
            Command::Drain => self.calls.drain(now),
            Command::Status(reply) => {
                let status = Status {
                    counts: self.calls.counts(),
                    stats: self.calls.stats().clone(),
                    send_drops: self.shell.sockets.dropped(),
                    new_call_drops: self.new_call_drops,
                };
                drop(reply.send(status));
            }
        }
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { flow, data } => {
                if self.shell.sockets.send(flow, data).is_err() {
                    self.calls.handle_send_failed(flow, clock::now());
                }
            }
            Output::Close { flow } => self.shell.sockets.close(flow),
            Output::OpenMedia { leg, local_ip, remote } => self.open_media(leg, local_ip, remote),
            Output::UpdateMedia { leg, remote } => self.shell.media.update(leg, remote_media(&remote)),
            Output::CloseMedia { leg } => {
                self.legs.remove(&leg);
                let report = self.shell.media.close(leg);
                self.closing.insert(leg.call, Some((leg, report)));
            }
            Output::StartAgent { call, agent, leg, from, to } => self.start_actor(call, agent, leg, from, to),
            Output::Answered { call, .. } => self.signal(call, Signal::Answered),
            Output::Journal { call, event } => self.record(call, event),
        }
    }
}
