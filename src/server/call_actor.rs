//! The actor of a call: one task that owns the call's [`Agent`] and its services, feeds it the ticks of the leg and the
//! events of the services, and carries out what it decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use crate::agent::provider::{
    ModelCommand, ModelEvent, RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent, UtteranceId,
};
use crate::agent::{self, Agent, AnsweredBy, CallContext, FirstMessage, HangUpReason, Output, Service, Speaker};
use crate::call::{End, HangUpCause, TransferOutcome};
use crate::codec::{Clip, SampleRate};
use crate::config::{Consent, OnFax};
use crate::identity::{CallId, LegId, Pii};
use crate::limits::{DTMF_SENT_MS, PROVIDER_IDLE_MS_MAX, RING_MS_MAX};
use crate::media::enhance::Enhancer;
use crate::media::{Heard, PlayoutFrame};
use crate::platform::calls::{DigitDirection, EndCause, Event, Role, TurnTiming};
use crate::route::Target;
use crate::rtp::Digit;
use crate::server::agents::{PreparedAgent, PreparedAgents};
use crate::server::attendant;
use crate::server::call_log::CallLog;
use crate::server::call_recording::{Ask, CALLER_LEG, CallRecording};
use crate::server::consent::{BridgedPlans, Listener};
use crate::server::detection::{Finding, Listening};
use crate::server::media_link::{self, LegCommand, LegTick};
use crate::server::media_worker::{TOLD, Telling};
use crate::server::metrics::{self, Metrics};
use crate::server::plays::Plays;
use crate::server::provider::{Handle, ModelHandle};
use crate::server::recordings::Recordings;
use crate::server::rooms::{Rooms, member};
use crate::server::sip_worker::{Bridged, Command, LiveRefused, MediaClosed, NewCall, RecordRequest, Signal};
use crate::server::sounds::Sounds;
use crate::server::{clock, entropy, logging, task};
use crate::timer::Now;

/// The services of one call. Dropping them ends their connections.
pub(crate) struct Services {
    /// Speech to text.
    pub(crate) recogniser: Handle<RecogniserCommand, RecogniserEvent>,
    /// Text to speech.
    pub(crate) synthesiser: Handle<SynthesiserCommand, SynthesiserEvent>,
    /// The language model of an agent that has one; or why there is none.
    pub(crate) model: Option<Result<ModelHandle, String>>,
}

/// What every actor works with.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The agents by name.
    pub(crate) agents: Arc<PreparedAgents>,
    /// How calls between two people are recorded.
    pub(crate) plans: Arc<BridgedPlans>,
    /// Where events are written.
    pub(crate) log: CallLog,
    /// Where turns and failures are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The SIP worker.
    pub(crate) worker: mpsc::Sender<Command>,
    /// Where calls are recorded.
    pub(crate) recordings: Arc<Recordings>,
    /// What agents may play.
    pub(crate) sounds: Arc<Sounds>,
    /// Where calls are mixed.
    pub(crate) rooms: Rooms,
}

/// Starts an actor for every new call until the SIP worker is gone.
pub(crate) async fn run_all(mut new_calls: mpsc::Receiver<NewCall>, shared: Shared) {
    while let Some(new) = new_calls.recv().await {
        let span = logging::call_span(new.call);
        if let Some(room) = new.party.room.clone() {
            task::spawn("room-member", member::run(room, new, shared.clone()).instrument(span));
            continue;
        }
        match new.link.is_some() {
            true => task::spawn("call-actor", run(new, shared.clone()).instrument(span)),
            false => task::spawn("call-attendant", attendant::run(new, shared.clone()).instrument(span)),
        };
    }
}

async fn run(new: NewCall, shared: Shared) {
    let call = new.call;
    let _guard = EndOnPanic { call, worker: shared.worker.clone() };
    let Some(prepared) = new.party.agent.as_ref().and_then(|it| shared.agents.get(&it.0)).map(Arc::clone) else {
        // Routes only name agents that exist; a call placed without one is nobody's here.
        hang_up(&shared, call, HangUpCause::Unavailable).await;
        return;
    };
    let Some(link) = new.link else {
        return;
    };
    let context = CallContext {
        call,
        from: new.party.from.clone(),
        to: new.party.to.clone(),
        variables: new.party.variables.clone(),
    };
    let rate = link.rate();
    let (plan, recordings) = (Arc::clone(&prepared.recording), Arc::clone(&shared.recordings));
    let enhancer = prepared.sound.any().then(|| Enhancer::new(prepared.sound, rate));
    let mut config = prepared.config(rate).clone();
    if new.party.is_placed {
        // Whoever is called speaks first.
        config.first_message = FirstMessage::CallerFirst { wait_ms_max: CALLED_SPEAKS_MS_MAX };
    }
    let agent = Box::new(Agent::new(config, context, entropy::generator(), clock::now()));
    let opens_at = clock::now().instant + Duration::from_millis(PROVIDER_IDLE_MS_MAX);
    let actor = CallActor {
        call,
        agent,
        services: Connections::Waiting { prepared: Arc::clone(&prepared), rate, opens_at, audio: vec![] },
        listening: match new.party.is_placed {
            true => Listening::to_called(rate, shared.sounds.tones()),
            false => Listening::to_caller(rate, shared.sounds.tones()),
        },
        is_placed: new.party.is_placed,
        answered_by: None,
        is_sent_to_fax: false,
        link,
        plays: Plays::new(shared.worker.clone(), Arc::clone(&shared.sounds), Arc::clone(&shared.metrics)),
        recording: CallRecording::new(call, plan, recordings, shared.worker.clone(), rate).of_caller(),
        listener: None,
        bridged: None,
        has_left: false,
        enhancer,
        shared,
        events: vec![],
        cause: None,
        stopped: None,
        fetching: FuturesUnordered::new(),
        prepared,
        wanted: None,
    };
    actor.run(new.signals).await;
}

struct CallActor {
    call: CallId,
    /// Boxed, since the actor is moved into its future.
    agent: Box<Agent>,
    services: Connections,
    listening: Listening,
    /// Whether somebody is called: the network's tones are for us then.
    is_placed: bool,
    /// Who or what has answered, as far as that was heard before the answer.
    answered_by: Option<AnsweredBy>,
    /// Whether a fax machine is being handed over.
    is_sent_to_fax: bool,
    link: media_link::TaskEnd,
    recording: CallRecording,
    plays: Plays,
    /// The caller, while it is told or asked in the middle of its call.
    listener: Option<Listener>,
    /// Those who talk from now on, if the caller is handed over.
    bridged: Option<Bridged>,
    /// Whether the agent has.
    has_left: bool,
    /// Of an agent whose callers are enhanced.
    enhancer: Option<Enhancer>,
    shared: Shared,
    /// What the agent told in this turn of the loop, to be written before the next.
    events: Vec<Event>,
    /// Why the agent ended the call, once it has.
    cause: Option<EndCause>,
    /// Set when the call is to be ended in this turn of the loop.
    stopped: Option<EndCause>,
    prepared: Arc<PreparedAgent>,
    /// Sounds that are being found.
    fetching: FuturesUnordered<BoxFuture<'static, (UtteranceId, Result<Clip, String>)>>,
    /// Set when the agent hands its caller over in this turn of the loop.
    wanted: Option<Target>,
}

/// The services of a call, which are opened when there is something to tell them. So a call that is over before
/// anything is said costs none, and one that rings finds them open when it is answered.
enum Connections {
    /// Nothing was to be told yet but a little of what the caller's side sounds like, which the recogniser gets later;
    /// when they are opened all the same.
    Waiting {
        prepared: Arc<PreparedAgent>,
        /// What the call is heard and spoken at.
        rate: SampleRate,
        opens_at: Instant,
        audio: Vec<RecogniserCommand>,
    },
    Open(Services),
    /// The call is over.
    Closed,
}

impl Connections {
    /// Opens them, unless they are or the call is over.
    fn open(&mut self) -> Option<&Services> {
        if let Self::Waiting { prepared, rate, audio, .. } = self {
            let services = prepared.open_services(*rate);
            for command in audio.drain(..) {
                refused(Some(services.recogniser.send(command)), "recogniser");
            }
            *self = Self::Open(services);
        }
        match self {
            Self::Open(services) => Some(services),
            Self::Waiting { .. } | Self::Closed => None,
        }
    }

    /// Tells the recogniser something. Audio alone opens nothing yet.
    fn recognise(&mut self, command: RecogniserCommand) {
        match self {
            Self::Waiting { audio, .. }
                if matches!(command, RecogniserCommand::Audio(_)) && audio.len() < FRAMES_HELD_MAX =>
            {
                audio.push(command);
            }
            Self::Waiting { .. } | Self::Open(_) | Self::Closed => {
                // A connection that has ended says so by an event; a full queue has dropped its oldest audio.
                let sent = self.open().map(|it| it.recogniser.send(command));
                refused(sent, "recogniser");
            }
        }
    }

    /// The next event of any service; or, while there are none, the time to open them.
    async fn next(&mut self) -> Option<ServiceEvent> {
        match self {
            Self::Waiting { opens_at, .. } => {
                task::deadline(*opens_at).await;
                None
            }
            Self::Open(services) => Some(next_event(services).await),
            Self::Closed => std::future::pending().await,
        }
    }
}

impl CallActor {
    async fn run(mut self, mut signals: mpsc::Receiver<Signal>) {
        let ended = loop {
            self.perform_outputs();
            self.write_events().await;
            if let Some(cause) = self.stopped.take() {
                self.cause = Some(cause);
                hang_up(&self.shared, self.call, HangUpCause::Done).await;
            }
            if let Some(target) = self.wanted.take() {
                // Without a worker there is no call either.
                drop(
                    self.shared
                        .worker
                        .send(Command::HandOver(self.call, Box::new(target), self.prepared.transfer_by))
                        .await,
                );
            }
            if self.has_left {
                break self.give_way(&mut signals).await;
            }
            self.end_asking().await;
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(Signal::Ended { end, cause, media }) => {
                        self.cause = self.cause.or(cause);
                        break Some((end, media));
                    }
                    Some(Signal::Play(request, seats, reply)) => {
                        reply.send(self.plays.handle_request(request, &seats, clock::now())).unwrap_or_default();
                    }
                    Some(Signal::Record(request, reply)) => self.record(request, reply).await,
                    Some(Signal::Bridged(bridged)) => self.bridged = Some(bridged),
                    Some(signal) => self.handle_signal(&signal),
                    // The worker is gone, and with it the process.
                    None => break None,
                },
                Some(tick) = self.link.tick(), if !self.link.is_closed() => self.handle_ticks(tick),
                Some((utterance, found)) = self.fetching.next(), if !self.fetching.is_empty() => {
                    self.agent.handle_sound(utterance, found, clock::now());
                }
                () = self.plays.next() => {}
                event = self.services.next() => match event {
                    Some(event) => self.handle_service(event),
                    None => {
                        self.services.open();
                    },
                },
            }
        };
        if let Connections::Waiting { .. } = self.services {
            self.services = Connections::Closed;
        }
        self.agent.handle_hangup(clock::now());
        self.perform_outputs();
        self.write_events().await;
        // Closes the connections before the call counts as ended.
        self.services = Connections::Closed;
        if let Some((end, media)) = ended {
            self.shared.log.write_all(self.call, self.plays.finish().await).await;
            for event in self.recording.finish().await {
                self.shared.log.write(self.call, event, clock::now()).await;
            }
            self.shared.log.finish(self.call, end, self.cause, media).await;
        }
    }

    fn handle_signal(&mut self, signal: &Signal) {
        let now = clock::now();
        match signal {
            Signal::Answered => {
                self.listening.handle_answered();
                if self.recording.handle_answered(now) {
                    self.agent.handle_answered(now);
                }
                if let Some(by) = self.answered_by {
                    self.agent.handle_answered_by(by, now);
                }
            }
            Signal::Transferred(TransferOutcome::Succeeded) => self.leave(now),
            Signal::Transferred(_) if self.is_sent_to_fax => self.stopped = Some(EndCause::Fax),
            Signal::Transferred(outcome) => {
                self.agent.handle_transfer_refused(&format!("nobody took it: {}", outcome.name()), now);
            }
            Signal::Ringing | Signal::Record(..) | Signal::Play(..) | Signal::Bridged(_) | Signal::Ended { .. } => (),
        }
    }

    /// The agent has no part in the call any more: people talk from here on, until it is over.
    async fn give_way(&mut self, signals: &mut mpsc::Receiver<Signal>) -> Option<(End, MediaClosed)> {
        let bridged = self.bridged.take();
        let (recording, plays) = (&mut self.recording, &mut self.plays);
        let over = attendant::attend(self.call, recording, plays, bridged, signals, &self.shared).await;
        let (end, cause, media) = over?;
        self.cause = self.cause.take().or(cause);
        Some((end, media))
    }

    async fn record(&mut self, request: RecordRequest, reply: oneshot::Sender<Result<(), LiveRefused>>) {
        let done = self.recording.handle_request(request, clock::now());
        // Whoever asked may have gone.
        reply.send(done.as_ref().map(|_| ()).map_err(|it| *it)).unwrap_or_default();
        if let Ok(Some(ask)) = done {
            self.ask(ask).await;
        }
    }

    /// Has the caller told or asked in the middle of its call. The agent's words wait.
    async fn ask(&mut self, ask: Ask) {
        self.listener = Some(Listener::new(ask.consent, &ask.clip));
        let telling = Telling { clip: ask.clip, link: None, takes_keys: ask.consent == Consent::Ask };
        attendant::tell(self.shared.worker.clone(), self.caller_leg(), Some(Box::new(telling))).await;
    }

    const fn caller_leg(&self) -> LegId {
        LegId { call: self.call, index: CALLER_LEG }
    }

    /// Ends that, once the answer is there.
    async fn end_asking(&mut self) {
        if self.listener.is_some() && !self.recording.is_asking() {
            self.listener = None;
            attendant::tell(self.shared.worker.clone(), self.caller_leg(), None).await;
        }
    }

    /// What the caller says to that is not for the agent.
    fn hear_answer(&mut self, leg_tick: &LegTick, tick: &mut agent::Tick, now: Now) {
        let Some(listener) = self.listener.as_mut() else {
            return;
        };
        tick.played = tick.played.filter(|it| it.0 != UtteranceId(TOLD));
        let pressed = tick.digit.and_then(|it| listener.handle_key(it));
        if pressed.is_some() {
            tick.digit = None;
        }
        if let Some(answer) = pressed.or_else(|| listener.handle_tick(leg_tick)) {
            self.recording.handle_answer(CALLER_LEG, answer, now);
        }
    }

    /// The caller talks to somebody else from here on. Only the call's end is still to be written down.
    fn leave(&mut self, now: Now) {
        self.agent.handle_hangup(now);
        self.services = Connections::Closed;
        self.fetching.clear();
        // Nobody listens any more, so that the two may get each other's packets as they come.
        self.link = media_link::link(self.link.rate()).0;
        self.listener = None;
        self.has_left = true;
    }

    fn handle_ticks(&mut self, first: LegTick) {
        let now = clock::now();
        let mut next = Some(first);
        while let Some(tick) = next {
            let leg_tick = tick;
            if leg_tick.missed > 0 {
                self.shared.metrics.leg_ticks_missed(leg_tick.missed);
            }
            self.listen(&leg_tick, now);
            let mut tick = agent_tick(&leg_tick);
            if let Some(enhancer) = &mut self.enhancer {
                tick.audio = enhancer.tick(leg_tick.tick.played, tick.audio);
            }
            self.hear_answer(&leg_tick, &mut tick, now);
            if self.recording.handle_tick(&leg_tick, tick.digit, &mut self.link, now) {
                // The key was for the question, not for the agent.
                tick.digit = None;
                self.agent.handle_answered(now);
            }
            self.agent.handle_tick(&tick, now);
            // Playout is topped up tick by tick, so what one decides must reach the leg before the next is looked at.
            self.perform_outputs();
            next = self.link.poll_tick();
        }
    }

    /// Writes down what is heard beside words, and does what follows from it.
    fn listen(&mut self, tick: &LegTick, now: Now) {
        for finding in self.listening.hear(&tick.tick.heard).into_iter().flatten() {
            self.find(finding, now);
        }
    }

    fn find(&mut self, finding: Finding, now: Now) {
        self.events.extend(finding.party().map(|party| Event::AnsweredBy { party }));
        self.events.push(note("detected", finding.to_string()));
        if let Some(by) = finding.answered_by() {
            self.answered_by = Some(by);
            self.agent.handle_answered_by(by, now);
        }
        if finding.is_fax(self.is_placed) {
            self.handle_fax();
        } else if self.is_placed
            && let Some(cause) = finding.end_cause()
        {
            // The network says by a tone, or by an announcement after one, what it might have said by signalling.
            self.stopped = self.stopped.take().or(Some(cause));
        }
    }

    fn handle_fax(&mut self) {
        match &self.prepared.on_fax {
            OnFax::GoOn => {}
            OnFax::HangUp => self.stopped = Some(EndCause::Fax),
            OnFax::Transfer(name) if !self.is_sent_to_fax => {
                self.is_sent_to_fax = true;
                self.agent.fall_silent(RING_MS_MAX);
                self.wanted = self.prepared.transfers.get(name).cloned();
            }
            OnFax::Transfer(_) => {}
        }
    }

    fn handle_service(&mut self, event: ServiceEvent) {
        let now = clock::now();
        match event {
            ServiceEvent::Recogniser(event) => {
                if let RecogniserEvent::Partial { text } | RecogniserEvent::Final { text, .. } = &event
                    && let Some(finding) = self.listening.understand(text)
                {
                    self.find(finding, now);
                }
                self.agent.handle_recogniser(event, now);
            }
            ServiceEvent::Synthesiser(event) => self.agent.handle_synthesiser(event, now),
            ServiceEvent::Model(event) => self.agent.handle_model(event, now),
        }
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        let now = clock::now();
        match output {
            Output::Recogniser(command) => self.services.recognise(command),
            Output::Synthesiser(command) => {
                let sent = self.services.open().map(|it| it.synthesiser.send(command));
                refused(sent, "synthesiser");
            }
            Output::Model(command) => self.perform_model(command, now),
            Output::Play { utterance: UtteranceId(utterance), frame } => {
                // The agent keeps fewer frames queued than fit; a leg that is gone takes none, and the end follows.
                let frame = PlayoutFrame { utterance, frame };
                if let Some(enhancer) = &mut self.enhancer {
                    enhancer.play(&frame);
                }
                refused(Some(self.link.command(LegCommand::Play(frame))), "leg");
            }
            Output::ClearPlayout => {
                if let Some(enhancer) = &mut self.enhancer {
                    enhancer.clear();
                }
                refused(Some(self.link.command(LegCommand::Clear)), "leg");
            }
            Output::SendDtmf(key) => {
                if let Some(digit) = Digit::from_char(key) {
                    refused(Some(self.link.command(LegCommand::Dtmf(digit, DTMF_SENT_MS))), "leg");
                    let (digit, direction) = (Pii::new(key.to_string()), DigitDirection::Sent);
                    self.events.push(Event::Digit { digit, direction });
                }
            }
            Output::Fetch { utterance, source } => {
                let (sounds, rate) = (Arc::clone(&self.shared.sounds), self.link.rate());
                self.fetching.push(async move { (utterance, sounds.find(&source, rate).await) }.boxed());
            }
            Output::Event(agent::Event::TransferRequested { target }) => {
                self.wanted = self.prepared.transfers.get(&target).cloned();
                if self.wanted.is_none() {
                    let (target, outcome) = (Pii::new(target), "refused".to_owned());
                    self.events.push(Event::Transfer { target, outcome });
                    self.agent.handle_transfer_refused("the agent may not transfer there", now);
                }
            }
            Output::Event(agent::Event::Recording(order)) => self.recording.handle_order(order, now),
            Output::Event(event) => self.note(event),
            Output::HangUp { reason } => self.stopped = Some(cause(reason)),
        }
    }

    fn perform_model(&mut self, command: ModelCommand, now: Now) {
        let generation = match &command {
            ModelCommand::Generate { generation, .. } => Some(*generation),
            ModelCommand::Cancel { .. } => None,
        };
        let reason = match self.services.open().and_then(|it| it.model.as_ref()) {
            Some(Ok(model)) => match model.send(command) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Some(Err(reason)) => reason.clone(),
            None => "the agent has no language model".to_owned(),
        };
        if let Some(generation) = generation {
            self.agent.handle_model(ModelEvent::Failed { generation, reason }, now);
        }
    }

    /// Writes down what the agent tells, in the journal's words.
    fn note(&mut self, event: agent::Event) {
        let metrics = &self.shared.metrics;
        let event = match event {
            agent::Event::Transcript { speaker, text, start_ms, end_ms, interrupted } => Event::Said {
                role: match speaker {
                    Speaker::Caller => Role::Caller,
                    Speaker::Agent => Role::Agent,
                },
                text: Pii::new(text),
                start_ms,
                end_ms,
                interrupted,
            },
            agent::Event::TurnLatency(latency) => {
                let timing = TurnTiming {
                    end_of_turn_ms: latency.end_of_turn_wait,
                    recogniser_ms: latency.recogniser,
                    decision_ms: latency.decision,
                    synthesiser_ms: latency.synthesiser,
                    playout_ms: latency.playout,
                    total_ms: latency.total,
                };
                metrics.turn(&timing);
                Event::TurnTiming(timing)
            }
            agent::Event::Digit(digit) => {
                Event::Digit { digit: Pii::new(digit.to_string()), direction: DigitDirection::Received }
            }
            agent::Event::ServiceFailed { service, reason } => {
                let (component, counted) = match service {
                    Service::Recogniser => ("recogniser", metrics::Service::Recogniser),
                    Service::Synthesiser => ("synthesiser", metrics::Service::Synthesiser),
                    Service::Model => ("model", metrics::Service::Model),
                };
                metrics.service_failed(counted);
                tracing::warn!(component, reason, "a service of the call failed");
                Event::Failed { component: component.to_owned(), reason }
            }
            agent::Event::RecogniserLate => note("recogniser", "the final result came too late".to_owned()),
            agent::Event::AudioDropped { utterance } => note("dropped", format!("audio of utterance {}", utterance.0)),
            agent::Event::Played { source, start_ms, end_ms, interrupted } => {
                let end = if interrupted { "cut off" } else { "to its end" };
                note("played", format!("{source} from {start_ms} to {end_ms} ms, {end}"))
            }
            agent::Event::NotPlayed { source, reason } => {
                tracing::warn!(source, reason, "not played");
                note("not_played", format!("{source}: {reason}"))
            }
            agent::Event::SpeechDropped => note("dropped", "something to say".to_owned()),
            agent::Event::NodeEntered { node } => note("node", node),
            agent::Event::VariableSet { name, value } => note("variable", format!("{name} = {value}")),
            agent::Event::VariableMissing { name } => note("variable", format!("{name} is missing")),
            agent::Event::Note { text } => note("pathway", text),
            agent::Event::TransferRefused { reason } => note("transfer", reason),
            agent::Event::State(_)
            | agent::Event::BargeIn
            | agent::Event::Recording(_)
            | agent::Event::TransferRequested { .. } => return,
        };
        self.events.push(event);
    }

    async fn write_events(&mut self) {
        self.shared.log.write_all(self.call, self.plays.take_events()).await;
        self.events.append(&mut self.recording.take_events());
        for event in self.events.drain(..) {
            self.shared.log.write(self.call, event, clock::now()).await;
        }
    }
}

/// Ends the call of an actor that panics: a defect of ours ends one call, and its caller is told.
struct EndOnPanic {
    call: CallId,
    worker: mpsc::Sender<Command>,
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // With a full queue the call ends when its far side or its media do.
            self.worker.try_send(Command::HangUp(self.call, HangUpCause::Failed)).unwrap_or(());
        }
    }
}

enum ServiceEvent {
    Recogniser(RecogniserEvent),
    Synthesiser(SynthesiserEvent),
    Model(ModelEvent),
}

/// The next event of any service; never, once all have ended.
async fn next_event(services: &mut Services) -> ServiceEvent {
    let model = async {
        match services.model.as_mut() {
            Some(Ok(model)) => model.next().await,
            Some(Err(_)) | None => None,
        }
    };
    tokio::select! {
        Some(event) = services.recogniser.next() => ServiceEvent::Recogniser(event),
        Some(event) = services.synthesiser.next() => ServiceEvent::Synthesiser(event),
        Some(event) = model => ServiceEvent::Model(event),
        else => std::future::pending().await,
    }
}

fn agent_tick(tick: &LegTick) -> agent::Tick {
    let missed = tick.missed;
    let tick = &tick.tick;
    agent::Tick {
        audio: match &tick.heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => Some(*frame),
            Heard::Nothing => None,
        },
        played: tick.played.map(|it| (UtteranceId(it.utterance), it.position)),
        digit: tick.dtmf.map(Digit::to_char),
        queued_frames: tick.queued_frames,
        missed,
    }
}

fn note(topic: &str, text: String) -> Event {
    Event::Note { topic: topic.to_owned(), text: Pii::new(text) }
}

fn refused<E: std::fmt::Display>(result: Option<Result<(), E>>, by: &'static str) {
    if let Some(Err(error)) = result {
        tracing::debug!(by, %error, "a command was refused");
    }
}

async fn hang_up(shared: &Shared, call: CallId, cause: HangUpCause) {
    // Without a worker there is no call either.
    drop(shared.worker.send(Command::HangUp(call, cause)).await);
}

fn cause(reason: HangUpReason) -> EndCause {
    match reason {
        HangUpReason::Finished | HangUpReason::NotUnderstood => EndCause::ConversationEnded,
        HangUpReason::CallerSilent => EndCause::CallerIdle,
        HangUpReason::MaxDuration => EndCause::DurationLimit,
        HangUpReason::ServiceFailed(_) => EndCause::ServiceFailed,
        HangUpReason::PathwayLoop => EndCause::Internal,
        HangUpReason::Machine => EndCause::MachineAnswered,
        HangUpReason::MessageLeft => EndCause::MessageLeft,
    }
}

/// How long whoever is called may take to say something, before the agent does.
const CALLED_SPEAKS_MS_MAX: u32 = 3_000;
/// Frames of audio that wait until the services are opened: a little more than come before they are opened all the same.
const FRAMES_HELD_MAX: usize = 8;
