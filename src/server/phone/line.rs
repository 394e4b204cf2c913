//! One call of the test phone: dialled, talked on by a [`Dialogue`], listened to by a recogniser.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::dialogue::{Action, Dialogue, Output};
use crate::agent::provider::speech_protocol::{AudioFormat, RecogniserClient, RecogniserConfig};
use crate::agent::provider::{RecogniserCommand, RecogniserEvent};
use crate::call::{CallerId, CallsConfig, End, HangUpCause, Order, Outbound, Ring, TrunkConfig};
use crate::codec::{AudioCodec, Frame, SampleRate};
use crate::config::Advertise;
use crate::dialog::offer_answer::Capabilities;
use crate::identity::{AccountId, CallId};
use crate::limits::{DTMF_SENT_MS, RTP_PORTS_DEFAULT};
use crate::locate::{self, Hop, Reach};
use crate::media::levels::Level;
use crate::media::{Heard, PlayoutFrame, Report};
use crate::platform::calls::{Entry, Event};
use crate::route::Admission;
use crate::rtp::Digit;
use crate::server::call_log::CallLog;
use crate::server::connections::ConnectionLimits;
use crate::server::detection::Listening;
use crate::server::endpoint::{Endpoint, EndpointConfig, EndpointHandle, ListenOn, Recording, Tls};
use crate::server::media_link::{LegCommand, LegTick, TaskEnd};
use crate::server::provider::{Handle, SocketAddress, spawn_recogniser};
use crate::server::recorder::{Recorded, Recorder};
use crate::server::resolver::{self, Resolver};
use crate::server::shared_ports::SharedPortsConfig;
use crate::server::sip_worker::{Command, MediaClosed, Signal};
use crate::server::sounds::CallSounds;
use crate::server::tls::TlsClientFiles;
use crate::server::websocket::Origins;
use crate::sip::Uri;
use crate::transport::{Flow, TransportKind};

/// Whom to call, found on the network.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    uri: Uri,
    /// Where it is, in the order in which it is tried.
    hops: Vec<Hop>,
    trunk: Option<TrunkConfig>,
    dns: Vec<SocketAddr>,
}

/// How to call.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// The user part of our own address.
    pub(crate) from: String,
    /// What to offer, in order of preference.
    pub(crate) codecs: Vec<AudioCodec>,
    /// Where to keep both sides.
    pub(crate) record: Option<PathBuf>,
    /// The authorities that a TLS server's certificate is from; those of the system if `None`.
    pub(crate) tls_ca: Option<PathBuf>,
    /// The recogniser for the far side's words, and what it may say.
    pub(crate) ears: Option<(SocketAddress, Vec<String>)>,
}

/// What happens on the line.
#[derive(Debug)]
pub(crate) enum LineEvent {
    /// The far side rings.
    Ringing,
    /// Both sides may talk.
    Answered,
    /// An action begins.
    Began(String),
    /// The far side's first words after an action of ours came so many milliseconds after its end.
    ReplyBegins(u32),
    /// The far side has finished speaking.
    FarSideFinished,
    /// What the recogniser understood of it.
    Heard(String),
    /// Who or what answered, or a tone: what, when and why.
    Detected(String),
    /// There will be no more [`LineEvent::Heard`].
    Deaf(String),
    /// The call is over.
    Ended(End),
}

/// A call in progress.
pub(crate) struct Line {
    call: CallId,
    endpoint: EndpointHandle,
    link: TaskEnd,
    signals: mpsc::Receiver<Signal>,
    ears: Option<Handle<RecogniserCommand, RecogniserEvent>>,
    listening: Listening,
    turn: u32,
    /// What it does and when.
    pub(crate) dialogue: Dialogue,
    /// Keeps the recording's thread; and tells how the recording went.
    recording: Option<(Recorder, oneshot::Receiver<Recorded>)>,
    /// What its media came to, once it is over.
    media: MediaClosed,
    hung_up: bool,
    waiting: std::collections::VecDeque<LineEvent>,
}

impl Target {
    /// Reads `sip:user@host[:port][;transport=…]` and finds the host, by these name servers or those of the system.
    pub(crate) async fn find(text: &str, dns: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let written = if text.contains(':') { text.to_owned() } else { format!("sip:{text}") };
        let uri = Uri::parse(&written).map_err(|error| anyhow::anyhow!("`{text}` is not a SIP URI: {error}"))?;
        let target = locate::Target::of(&uri)
            .map_err(|error| anyhow::anyhow!("`{text}` cannot be called: {error}; write it as sip:user@host"))?;
        let found = resolver::locate(&Resolver::new(&dns), target, reach()).await;
        let hops = found.map_err(|error| anyhow::anyhow!("`{text}` cannot be called: {error}"))?;
        Ok(Self { uri, hops, trunk: None, dns })
    }

    /// Reads a number or URI that is to be called over `trunk`, and finds the trunk.
    pub(crate) async fn over(trunk: TrunkConfig, text: &str, dns: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let uri = if text.contains(':') { Uri::parse(text) } else { Uri::sip(Some(text), "trunk.invalid", None) };
        let uri = uri.map_err(|error| anyhow::anyhow!("`{text}` cannot be called: {error}"))?;
        anyhow::ensure!(
            !trunk.gateways.is_empty(),
            "the trunk {} has no `uri`: it registers with the server",
            trunk.name.0
        );
        let resolver = Resolver::new(&dns);
        let mut hops = vec![];
        for target in trunk.targets() {
            let found = resolver::locate(&resolver, target, reach()).await;
            hops.extend(found.map_err(|error| anyhow::anyhow!("the trunk {} is not found: {error}", trunk.name.0))?);
        }
        // It is the server that is registered, not the phone.
        let trunk = TrunkConfig { register_s: None, ping_every: None, ..trunk };
        Ok(Self { uri, hops, trunk: Some(trunk), dns })
    }
}

/// Where to listen to speak to all of `hops`.
pub(crate) fn listen_towards(hops: &[Hop]) -> Vec<ListenOn> {
    let mut listen: Vec<ListenOn> = vec![];
    for hop in hops {
        let on = hop.local_ip.map(|it| (hop.kind, SocketAddr::new(it, 0)));
        let is_there = |on: &(TransportKind, SocketAddr)| listen.iter().any(|it| (it.kind, it.address) == *on);
        if let Some((kind, address)) = on.filter(|it| !is_there(it)) {
            let admission = Admission::default();
            listen.push(ListenOn { kind, address, admission, advertise: None, required: true });
        }
    }
    listen
}

/// What the phone can speak.
fn reach() -> Reach {
    Reach { kinds: vec![TransportKind::Udp, TransportKind::Tcp, TransportKind::Tls], v4: true, v6: true }
}

impl Line {
    /// Dials; the call is under way when this returns.
    pub(crate) async fn dial(target: &Target, dial: Dial, dialogue: Dialogue) -> anyhow::Result<Self> {
        let listen = listen_towards(&target.hops);
        anyhow::ensure!(!listen.is_empty(), "there is no way to {}", target.uri);
        let rate = audio_rate(&dial.codecs);
        let recording = dial.record.as_deref().map(|it| Kept::begin(it, rate)).transpose()?;
        let (mut tap, recording) = recording.map_or((None, None), |it| (Some(it.tap), Some((it.recorder, it.done))));
        let config = EndpointConfig {
            listen,
            dns: target.dns.clone(),
            advertise_sip: Advertise::default(),
            advertise_rtp: Advertise::default(),
            rtp_ports: RTP_PORTS_DEFAULT,
            shared_ports: SharedPortsConfig::default(),
            inactivity: std::time::Duration::from_secs(60),
            media_threads: 1,
            tls: Tls {
                server: None,
                client: TlsClientFiles { roots: dial.tls_ca.clone(), ..TlsClientFiles::default() },
                trunks: vec![],
                peers: target.hops.iter().filter_map(|it| Some((it.remote, it.server_name.clone()?))).collect(),
            },
            origins: Origins::default(),
            connections: ConnectionLimits::default(),
            calls: CallsConfig {
                trunks: target.trunk.iter().cloned().collect(),
                ring: Ring { answer_after: None, ..Ring::default() },
                capabilities: Capabilities { codecs: dial.codecs, ..Capabilities::default() },
                ..CallsConfig::new(vec![])
            },
            record: Some(Recording::new(move |_, _| tap.take())),
            capture: None,
            sounds: CallSounds::default(),
            plans: std::sync::Arc::default(),
        };
        let log = CallLog::new(None, None);
        let mut events = log.watch();
        let mut endpoint = Endpoint::start(config, log)?;
        let ears = dial.ears.map(|(address, phrases)| {
            let config = RecogniserConfig { format: AudioFormat::linear16(rate), phrases, partial_results: false };
            spawn_recogniser(RecogniserClient::new(config), address)
        });
        let call = place(&endpoint, target, &dial.from).await?;
        let new = tokio::select! {
            biased;
            new = endpoint.new_calls.recv() => new.context("there is no port for the call's media")?,
            cause = ended(&mut events) => bail!("the call cannot be placed: {cause}"),
        };
        Ok(Self {
            call,
            endpoint: endpoint.handle,
            link: new.link.context("the call has no media")?,
            signals: new.signals,
            ears,
            listening: Listening::to_called(rate, None),
            turn: 0,
            dialogue,
            recording,
            media: vec![],
            hung_up: false,
            waiting: std::collections::VecDeque::new(),
        })
    }

    /// The next thing that happens; after [`LineEvent::Ended`] it is [`LineEvent::Ended`] no more and must not be asked.
    pub(crate) async fn next(&mut self) -> LineEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            tokio::select! {
                biased;
                signal = self.signals.recv() => match signal {
                    Some(Signal::Ringing) => return LineEvent::Ringing,
                    Some(Signal::Answered) => {
                        self.dialogue.handle_answered();
                        self.listening.handle_answered();
                        return LineEvent::Answered;
                    }
                    Some(Signal::Transferred(_) | Signal::Record(..) | Signal::Bridged(_)) => (),
                    Some(Signal::Ended { end, media, .. }) => {
                        self.media = media;
                        return LineEvent::Ended(end);
                    }
                    None => return LineEvent::Ended(GONE),
                },
                Some(tick) = self.link.tick() => self.handle_tick(&tick).await,
                event = next_heard(self.ears.as_mut()) => match event {
                    RecogniserEvent::Final { text, .. } if !text.is_empty() => return LineEvent::Heard(text),
                    RecogniserEvent::Failed { reason } => {
                        self.ears = None;
                        return LineEvent::Deaf(reason);
                    }
                    RecogniserEvent::Ready | RecogniserEvent::Partial { .. } | RecogniserEvent::Final { .. } => (),
                },
            }
        }
    }

    /// Ends the call.
    pub(crate) async fn hang_up(&mut self) {
        if !self.hung_up {
            self.hung_up = true;
            // Without a worker there is no call either, and its end follows.
            drop(self.endpoint.worker.send(Command::HangUp(self.call, HangUpCause::Done)).await);
        }
    }

    /// Waits until the last messages are out and says what the media came to and how the recording went, if there is one.
    pub(crate) async fn close(self) -> (Option<Report>, Option<Recorded>) {
        let Self { endpoint, link, recording, media, .. } = self;
        drop(link);
        let report = match media.into_iter().next() {
            Some((_, report)) => report.await.ok(),
            None => None,
        };
        for _ in 0..FAREWELL_LOOKS {
            if endpoint.status().counts.dialogs == 0 {
                break;
            }
            crate::server::task::deadline(crate::server::clock::now().instant + FAREWELL_LOOK).await;
        }
        endpoint.stop().await;
        let Some((recorder, done)) = recording else {
            return (report, None);
        };
        // Finishing the recorder's thread takes a write to the disk.
        let finish = tokio::task::spawn_blocking(move || drop(recorder));
        drop(finish.await);
        (report, done.await.ok())
    }

    async fn handle_tick(&mut self, tick: &LegTick) {
        let found = self.listening.hear(&tick.tick.heard).into_iter().flatten();
        self.waiting.extend(found.map(|it| LineEvent::Detected(it.to_string())));
        let frame = match &tick.tick.heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => *frame,
            Heard::Nothing => Frame::silence(self.link.rate()),
        };
        let speaks = Level::of(&frame).rms >= SPEECH_RMS_MIN;
        if let Some(ears) = &self.ears {
            // A recogniser that has ended says so by an event.
            ears.send(RecogniserCommand::Audio(frame)).unwrap_or(());
        }
        self.dialogue.handle_tick(speaks, tick.tick.queued_frames);
        while let Some(output) = self.dialogue.poll_output() {
            self.perform(output).await;
        }
    }

    async fn perform(&mut self, output: Output) {
        match output {
            Output::Play(frame) => {
                // Fewer frames are kept queued than fit; a leg that is gone takes none, and the end follows.
                self.link.command(LegCommand::Play(PlayoutFrame { utterance: self.turn, frame })).unwrap_or(());
            }
            Output::Press(key) => {
                if let Some(digit) = Digit::from_char(key) {
                    self.link.command(LegCommand::Dtmf(digit, DTMF_SENT_MS)).unwrap_or(());
                }
            }
            Output::Begin(label) => self.waiting.push_back(LineEvent::Began(label)),
            Output::ReplyBegins { after_ms } => self.waiting.push_back(LineEvent::ReplyBegins(after_ms)),
            Output::FarSideFinished => {
                self.turn += 1;
                if let Some(ears) = &self.ears {
                    ears.send(RecogniserCommand::Finalize { turn: self.turn }).unwrap_or(());
                }
                self.waiting.push_back(LineEvent::FarSideFinished);
            }
            Output::HangUp => self.hang_up().await,
        }
    }
}

/// The rate at which a call that offers `codecs` is spoken and heard.
pub(crate) fn audio_rate(codecs: &[AudioCodec]) -> SampleRate {
    codecs.iter().map(|it| it.rate()).max().unwrap_or(SampleRate::Hz8000)
}

/// The frames of a text, or of a file.
fn frames(samples: &[i16], rate: SampleRate) -> Vec<Frame> {
    samples.chunks(rate.frame_len()).map(|it| Frame::from_samples(rate, it)).collect()
}

/// An action that is heard.
pub(crate) fn speak(label: String, samples: &[i16], rate: SampleRate) -> Action {
    Action::Speak { label, frames: frames(samples, rate) }
}

async fn place(endpoint: &Endpoint, target: &Target, user: &str) -> anyhow::Result<CallId> {
    let (account, to) = (AccountId::default(), target.uri.clone());
    let placed = if let Some(trunk) = &target.trunk {
        let order = Order {
            account,
            to,
            user: None,
            from: if trunk.caller_id.is_some() { CallerId::OfTrunk } else { CallerId::User(user.to_owned()) },
            display_name: None,
            headers: vec![],
            credentials: None,
            trunk: Some(trunk.name.clone()),
            agent: None,
        };
        endpoint.handle.order(order).await
    } else {
        let flow = |hop: &Hop| {
            let is_on_the_way = |it: &&(TransportKind, SocketAddr)| it.0 == hop.kind && Some(it.1.ip()) == hop.local_ip;
            let local = endpoint.listening.iter().find(is_on_the_way)?.1;
            Some(Flow { kind: hop.kind, local, remote: hop.remote })
        };
        let mut flows = target.hops.iter().filter_map(flow);
        let flow = flows.next().context("the phone does not listen")?;
        let from = Uri::at(Some(user), flow.local);
        let outbound = Outbound {
            account,
            to,
            from: from.map_err(|error| anyhow::anyhow!("`{user}` cannot be a user: {error}"))?,
            display_name: None,
            flow,
            other_flows: flows.collect(),
            keeps_transport: false,
            headers: vec![],
            credentials: None,
        };
        endpoint.handle.place(outbound).await
    };
    placed.context("the call cannot be placed")
}

/// Why the call ended before it began.
async fn ended(events: &mut broadcast::Receiver<Entry>) -> String {
    loop {
        match events.recv().await {
            Ok(Entry { event: Event::Ended { cause, .. }, .. }) => return format!("{cause:?}"),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => (),
            Err(broadcast::error::RecvError::Closed) => return "the phone ended".to_owned(),
        }
    }
}

struct Kept {
    recorder: Recorder,
    tap: crate::server::recorder::TapEnd,
    done: oneshot::Receiver<Recorded>,
}

impl Kept {
    fn begin(path: &Path, rate: SampleRate) -> anyhow::Result<Self> {
        let recorder = Recorder::start().context("the recorder does not start")?;
        let (tap, done) = recorder.record(path, rate)?;
        Ok(Self { recorder, tap, done })
    }
}

async fn next_heard(ears: Option<&mut Handle<RecogniserCommand, RecogniserEvent>>) -> RecogniserEvent {
    let Some(ears) = ears else { return std::future::pending().await };
    match ears.next().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

/// The end of a call whose user agent is gone.
const GONE: End = End {
    cause: crate::call::EndCause::PeerLost,
    sip_status: None,
    initiator: crate::call::Initiator::Local,
    reason: None,
};
/// The level above which the far side speaks: a whisper on a telephone line, above comfort noise.
const SPEECH_RMS_MIN: u16 = 150;
/// Looks for the end of the last transaction.
const FAREWELL_LOOKS: u32 = 40;
const FAREWELL_LOOK: std::time::Duration = std::time::Duration::from_millis(25);
