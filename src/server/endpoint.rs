//! A SIP user agent on the network: listeners, the SIP worker, media threads and ports. Who talks in its calls is
//! decided by whoever takes them from the queue of new calls: the server's agents, or the test phone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use crate::call::{Calls, CallsConfig, HangUpCause, Order, Outbound, TrunkState};
use crate::codec::SampleRate;
use crate::config::Advertise;
use crate::identity::{CallId, LegId};
use crate::limits::{MEDIA_EVENTS_MAX, NEW_CALLS_MAX, SIP_COMMANDS_MAX, SIP_INPUTS_MAX, SIP_NEW_CALLS_MAX};
use crate::media::Report;
use crate::registrar::RegistrationState;
use crate::route::{Admission, RoomName, TrunkName};
use crate::server::call_log::CallLog;
use crate::server::capture::CaptureTap;
use crate::server::connections::{ConnectionLimits, Connections, HandshakeFailure, NotAdmitted};
use crate::server::consent::BridgedPlans;
use crate::server::media_worker::MediaWorkers;
use crate::server::metrics::{PortsSnapshot, Snapshot, TrunkSnapshot, Way};
use crate::server::ports::{self, PortPool};
use crate::server::recorder::TapEnd;
use crate::server::resolver::Resolver;
use crate::server::shared_ports::{SharedPorts, SharedPortsConfig};
use crate::server::sip_sockets::SipSockets;
use crate::server::sip_worker::{Command, NewCall, SharedStatus, Shell, SipWorker, Status};
use crate::server::sounds::CallSounds;
use crate::server::tcp::{self, Acceptor};
use crate::server::tls::{self, TlsClient, TlsClientFiles, TlsError, TlsServer, TlsServerFiles};
use crate::server::websocket::Origins;
use crate::server::{clock, entropy, interfaces, task, udp};
use crate::transport::{Dropped, Listener, TransportKind};
use crate::webrtc::Identity;

/// One address to listen on, before wildcards are expanded.
#[derive(Clone, Debug)]
pub(crate) struct ListenOn {
    /// How.
    pub(crate) kind: TransportKind,
    /// Where; port 0 takes any.
    pub(crate) address: SocketAddr,
    /// What it takes from strangers.
    pub(crate) admission: Admission,
    /// What peers are told about it, if not what holds for all listeners: an address, and a port if that is another.
    pub(crate) advertise: Option<(IpAddr, Option<u16>)>,
    /// Whether the start fails when it cannot be bound because the machine lacks the address family.
    pub(crate) required: bool,
}

/// What a user agent is made from.
pub(crate) struct EndpointConfig {
    /// Where it listens.
    pub(crate) listen: Vec<ListenOn>,
    /// What peers are told instead of a local SIP address.
    pub(crate) advertise_sip: Advertise,
    /// What peers are told instead of a local RTP address.
    pub(crate) advertise_rtp: Advertise,
    /// The name servers to ask; those of the system if there are none.
    pub(crate) dns: Vec<SocketAddr>,
    /// Ports for media.
    pub(crate) rtp_ports: RangeInclusive<u16>,
    /// Those that many legs share.
    pub(crate) shared_ports: SharedPortsConfig,
    /// After so long without RTP a call is ended.
    pub(crate) inactivity: Duration,
    /// Media threads.
    pub(crate) media_threads: usize,
    /// Who we are in TLS.
    pub(crate) tls: Tls,
    /// The pages that may open websockets.
    pub(crate) origins: Origins,
    /// How many connections there may be.
    pub(crate) connections: ConnectionLimits,
    /// Everything about calls except the listeners, which are filled in here.
    pub(crate) calls: CallsConfig,
    /// Where a leg's recording goes, if it is recorded.
    pub(crate) record: Option<Recording>,
    /// Who keeps the SIP messages, if they are kept.
    pub(crate) capture: Option<CaptureTap>,
    /// What sides of bridged calls hear of ours.
    pub(crate) sounds: CallSounds,
    /// How calls between two people are recorded.
    pub(crate) plans: Arc<BridgedPlans>,
}

/// Who we are in TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// To those who connect.
    pub(crate) server: Option<TlsServerFiles>,
    /// To those whom we connect to, unless somebody knows better.
    pub(crate) client: TlsClientFiles,
    /// To the servers of trunks for which that differs.
    pub(crate) trunks: Vec<(TrunkName, TlsClientFiles)>,
    /// The hosts whom we connect to, by address, if that is known from the start: nobody connects to us then.
    pub(crate) peers: Vec<(SocketAddr, Box<str>)>,
}

/// Where the audio of each leg is written.
pub struct Recording(Box<dyn FnMut(LegId, SampleRate) -> Option<TapEnd> + Send>);

impl Recording {
    /// `tap` is asked once for every leg; a leg without a tap is not recorded.
    pub fn new(tap: impl FnMut(LegId, SampleRate) -> Option<TapEnd> + Send + 'static) -> Self {
        Self(Box::new(tap))
    }

    /// The tap of a new leg.
    pub(crate) fn tap(&mut self, leg: LegId, rate: SampleRate) -> Option<TapEnd> {
        (self.0)(leg, rate)
    }
}

/// Why a user agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another program has the port.
    #[error(
        "cannot listen on {scheme}://{address} for SIP: the port is in use; choose another with [sip] listen or HOOKSWITCH_SIP__LISTEN"
    )]
    InUse {
        /// `udp`, `tcp`, `tls`, `ws` or `wss`.
        scheme: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("cannot listen on {scheme}://{address} for SIP: {source}")]
    Listen {
        /// `udp`, `tcp`, `tls`, `ws` or `wss`.
        scheme: &'static str,
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// TLS is not possible.
    #[error("[sip.tls] {0}")]
    Tls(#[from] TlsError),
    /// There is no certificate for a listener.
    #[error(
        "{scheme}://{address} needs a certificate: set [sip.tls] certificate and key to the PEM files of the host name \
         that peers connect to"
    )]
    NoCertificate {
        /// `tls` or `wss`.
        scheme: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// No listener is left.
    #[error("there is no address to listen on for SIP")]
    NoListener,
    /// The RTP range holds no pair of ports.
    #[error(transparent)]
    Ports(#[from] ports::NoPortPair),
    /// The media threads do not start.
    #[error("the media threads do not start: {0}")]
    Media(std::io::Error),
}

/// A running user agent. It runs until [`EndpointHandle::stop`], or until the last handle is gone.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Where it listens.
    pub(crate) listening: Vec<(TransportKind, SocketAddr)>,
    /// For orders to it.
    pub(crate) handle: EndpointHandle,
    /// The calls that come into being.
    pub(crate) new_calls: mpsc::Receiver<NewCall>,
}

/// Orders to a running user agent, and a look at it. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct EndpointHandle {
    /// The SIP worker.
    pub(crate) worker: mpsc::Sender<Command>,
    status: SharedStatus,
    ports: Arc<PortPool>,
    media: Arc<MediaWorkers>,
    connections: Arc<Connections>,
    tls: Option<Arc<TlsServer>>,
    input_drops: Arc<AtomicU64>,
}

impl Endpoint {
    /// Binds the listeners and starts everything.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread cannot be started; nothing is left running then.
    pub(crate) fn start(config: EndpointConfig, log: CallLog) -> Result<Self, EndpointError> {
        let (inputs, input_queue) = mpsc::channel(SIP_INPUTS_MAX);
        let (invites, invite_queue) = mpsc::channel(SIP_NEW_CALLS_MAX);
        let (commands, command_queue) = mpsc::channel(SIP_COMMANDS_MAX);
        let (new_calls, new_call_queue) = mpsc::channel(NEW_CALLS_MAX);
        let (media_events, media_queue) = mpsc::channel(MEDIA_EVENTS_MAX);
        let mut rng = entropy::generator();
        let (server, client) = load_tls(&config)?;
        let ports = Arc::new(PortPool::new(config.rtp_ports, &mut rng)?);
        let bound = Bound::bind(&config.listen, &config.advertise_sip)?;
        let media = MediaWorkers::start(config.media_threads, &mut rng, &media_events).map(Arc::new);
        let media = media.map_err(EndpointError::Media)?;
        let connections = Arc::new(Connections::new(config.connections, rng.next_u64()));
        let input_drops = Arc::new(AtomicU64::new(0));
        let listening = bound.listeners.iter().map(|(it, _)| (it.kind, it.local)).collect();
        for (local, socket) in &bound.udp {
            let read = udp::read(Arc::clone(socket), *local, inputs.clone(), invites.clone(), Arc::clone(&input_drops));
            task::spawn("sip-udp-read", read);
        }
        for (kind, listener) in bound.streams {
            let acceptor = Acceptor {
                kind,
                worker: inputs.clone(),
                connections: Arc::clone(&connections),
                tls: server.clone(),
                origins: config.origins.clone(),
            };
            task::spawn("sip-accept", tcp::accept(listener, acceptor));
        }
        if let Some(server) = &server {
            task::spawn("sip-tls-reload", tls::reload(Arc::clone(server), inputs.clone()));
        }
        let status = SharedStatus::default();
        let trunks = load_trunks(&config.tls.trunks, client.is_some())?;
        let mut sockets =
            SipSockets::new(bound.udp, (client.clone(), trunks), Arc::clone(&connections), inputs.clone());
        for (address, name) in &config.tls.peers {
            if let Some(client) = &client {
                // Nothing is open yet.
                drop(sockets.expect_tls(*address, client.peer(name)?));
            }
        }
        let shell = Shell {
            resolver: Resolver::new(&config.dns),
            inputs,
            sockets,
            ports: Arc::clone(&ports),
            shared_ports: SharedPorts::new(config.shared_ports),
            media: Arc::clone(&media),
            advertise: config.advertise_rtp,
            inactivity: config.inactivity,
            offered_rate: config.calls.capabilities.rate(),
            new_calls,
            log,
            record: config.record,
            capture: config.capture,
            sounds: config.sounds,
            plans: config.plans,
            status: Arc::clone(&status),
        };
        let (now, captures) = (clock::now(), shell.capture.is_some());
        let mut calls = CallsConfig { listeners: bound.listeners, captures, ..config.calls };
        if config.listen.iter().any(|it| it.kind.is_websocket()) {
            calls.capabilities.browsers = Identity::generate().map(Arc::new);
        }
        let worker = SipWorker::new(Calls::new(calls, rng, now), shell, now);
        task::spawn("sip-worker", worker.run(input_queue, invite_queue, command_queue, media_queue));
        let handle = EndpointHandle { worker: commands, status, ports, media, connections, tls: server, input_drops };
        Ok(Self { listening, handle, new_calls: new_call_queue })
    }
}

impl EndpointHandle {
    /// Places a call; it comes out of the queue of new calls once it has media. `None` if the worker is gone.
    pub(crate) async fn place(&self, outbound: Outbound) -> Option<CallId> {
        let (reply, placed) = oneshot::channel();
        self.worker.send(Command::Place(Box::new(outbound), reply)).await.ok()?;
        placed.await.ok()
    }

    /// Places a call over whatever servers it takes; it comes out of the queue of new calls once it has media. `None` if the
    /// worker is gone.
    pub(crate) async fn order(&self, order: Order) -> Option<CallId> {
        self.order_for(order, BTreeMap::new()).await
    }

    /// The same, for an agent that is given these variables.
    pub(crate) async fn order_for(&self, order: Order, variables: BTreeMap<String, String>) -> Option<CallId> {
        let (reply, placed) = oneshot::channel();
        self.worker.send(Command::Order(Box::new(order), variables, reply)).await.ok()?;
        placed.await.ok()
    }

    /// The same, for somebody who is to be in a room.
    pub(crate) async fn invite(&self, order: Order, room: RoomName) -> Option<CallId> {
        let (reply, placed) = oneshot::channel();
        self.worker.send(Command::Invite(Box::new(order), room, reply)).await.ok()?;
        placed.await.ok()
    }

    /// Refuses new calls from here on.
    pub(crate) async fn drain(&self) {
        // A worker that is gone takes no calls either.
        let (reply, is_draining) = oneshot::channel();
        if self.worker.send(Command::Drain(reply)).await.is_ok() {
            drop(is_draining.await);
        }
    }

    /// Ends every call.
    pub(crate) async fn hang_up_all(&self, cause: HangUpCause) {
        drop(self.worker.send(Command::HangUpAll(cause)).await);
    }

    /// Ends the worker, and with it the readers of its sockets. Calls in progress are gone without a word.
    pub(crate) async fn stop(&self) {
        drop(self.worker.send(Command::Stop).await);
    }

    /// How things were a moment ago.
    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the legs of a call are, by their numbers, as of a second ago.
    pub(crate) fn media_of(&self, call: CallId) -> Vec<(u8, Report)> {
        self.media.metrics().flat_map(|it| it.live.of_call(call)).collect()
    }

    /// Adds what it counts to `snapshot`.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        let status = self.status();
        self.add_sip(&status, snapshot);
        let trunks = status.trunks.iter().map(|it| (it.name.0.clone(), trunk_snapshot(it)));
        snapshot.trunks.extend(trunks);
        for worker in self.media.metrics() {
            let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let rtp = &mut snapshot.rtp;
            rtp.sessions += value(&worker.legs);
            rtp.packets_in += value(&worker.packets_in);
            rtp.packets_out += value(&worker.packets_out);
            rtp.packets_lost += value(&worker.lost);
            rtp.packets_late += value(&worker.late);
            rtp.packets_unmatched += value(&worker.unmatched);
            for (reason, count) in worker.dropped() {
                *rtp.packets_dropped.entry(reason).or_default() += count;
            }
            rtp.packets_duplicate += value(&worker.duplicates);
            rtp.packets_refused += value(&worker.refused);
            rtp.packets_unsent += value(&worker.send_failures);
            rtp.concealed_ms += value(&worker.concealed) * 20;
            rtp.ticks_late += value(&worker.ticks_late);
            rtp.ticks_skipped += value(&worker.ticks_skipped);
            rtp.legs_failed += value(&worker.legs_failed);
            rtp.underruns += value(&worker.underruns);
            rtp.receive_failures += value(&worker.receive_failures);
            *snapshot.queue_drops.entry("leg_commands").or_default() += value(&worker.commands_refused);
        }
        snapshot.rtp.shared_port_conflicts = status.shared_port_conflicts;
        let ports = self.ports.counts();
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        snapshot.ports = PortsSnapshot {
            in_use: count(ports.in_use),
            quarantined: count(ports.in_quarantine),
            configured: count(ports.pairs),
        };
    }

    fn add_sip(&self, status: &Status, snapshot: &mut Snapshot) {
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        let sip = &mut snapshot.sip;
        let stats = &status.stats;
        sip.requests.extend(stats.requests_in().map(|(method, total)| ((Way::In, method.into()), total)));
        sip.requests.extend(stats.requests_out().map(|(method, total)| ((Way::Out, method.into()), total)));
        let responses_in = stats.responses_in().map(|(method, code, total)| ((Way::In, method.into(), code), total));
        sip.responses.extend(responses_in);
        let responses_out = stats.responses_out().map(|(method, code, total)| ((Way::Out, method.into(), code), total));
        sip.responses.extend(responses_out);
        sip.transactions = count(status.counts.transactions);
        sip.dialogs = count(status.counts.dialogs);
        sip.connections = count(self.connections.len());
        for reason in NotAdmitted::ALL {
            sip.drops.insert(reason.name(), self.connections.refused(reason));
        }
        for failure in HandshakeFailure::ALL {
            sip.handshakes_failed.insert(failure.name(), self.connections.failed(failure));
        }
        sip.certificate_days_left = self.tls.as_ref().and_then(|it| it.days_left());
        for reason in Dropped::ALL {
            let total = status.stats.dropped(reason);
            let is_unreadable = matches!(reason, Dropped::Garbage | Dropped::Malformed | Dropped::FramingLost);
            let counts = if is_unreadable { &mut sip.parse_errors } else { &mut sip.drops };
            counts.insert(reason.name(), total);
        }
        snapshot.rtp.keys_in_clear += status.keys_in_clear;
        snapshot.queue_drops.insert("sip_input", self.input_drops.load(Ordering::Relaxed));
        snapshot.queue_drops.insert("sip_send", status.send_drops);
        snapshot.queue_drops.insert("new_calls", status.new_call_drops);
        snapshot.queue_drops.insert("media_orders", status.media_refusals);
        snapshot.queue_drops.insert("journal_new_calls", status.journal_refusals);
        snapshot.supervisors = (count(status.supervisors.0), status.supervisors.1);
        if let Some((bindings, registrar, credentials)) = &status.users {
            snapshot.users.set(count(*bindings), *registrar, *credentials);
        }
    }
}

/// Reads the files of TLS. Only what listens or speaks TLS needs them.
fn load_tls(config: &EndpointConfig) -> Result<(Option<Arc<TlsServer>>, Option<TlsClient>), EndpointError> {
    let secure = config.listen.iter().find(|it| it.kind.is_secure());
    let Some(secure) = secure else { return Ok((None, None)) };
    let server = match &config.tls.server {
        Some(files) => Some(Arc::new(TlsServer::load(files.clone())?)),
        None if !config.tls.peers.is_empty() => None,
        None => return Err(EndpointError::NoCertificate { scheme: secure.kind.scheme(), address: secure.address }),
    };
    let client = match TlsClient::load(&config.tls.client) {
        Err(error @ TlsError::NoSystemRoots) if server.is_some() => {
            tracing::warn!(%error, "calls out over TLS need trunks that name their authorities");
            None
        }
        loaded => Some(loaded?),
    };
    Ok((server, client))
}

fn trunk_snapshot(trunk: &TrunkState) -> TrunkSnapshot {
    let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    let registered = trunk.registration.is_some_and(|it| it.state == RegistrationState::Registered);
    let stats = trunk.registration.map(|it| it.stats).unwrap_or_default();
    TrunkSnapshot {
        registered: trunk.registers.then_some(registered),
        registrations_accepted: stats.accepted,
        registrations_failed: stats.failed,
        registration_failures: trunk.registration_failures.iter().map(|(it, count)| (it.name(), *count)).collect(),
        gateways: count(trunk.gateways.len()),
        gateways_resting: count(trunk.gateways.iter().filter(|it| it.is_resting).count()),
        calls_in: trunk.calls.0,
        calls_out: trunk.calls.1,
    }
}

/// Reads the files of trunks that have their own. Without TLS nobody needs them.
fn load_trunks(
    trunks: &[(TrunkName, TlsClientFiles)],
    is_needed: bool,
) -> Result<BTreeMap<TrunkName, TlsClient>, TlsError> {
    let load = |(name, files): &(TrunkName, TlsClientFiles)| Ok((name.clone(), TlsClient::load(files)?));
    trunks.iter().filter(|_| is_needed).map(load).collect()
}

/// The sockets of all listeners.
struct Bound {
    listeners: Vec<(Listener, Admission)>,
    udp: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    streams: Vec<(TransportKind, tokio::net::TcpListener)>,
}

impl Bound {
    fn bind(listen: &[ListenOn], advertise: &Advertise) -> Result<Self, EndpointError> {
        let mut bound = Self { listeners: vec![], udp: BTreeMap::new(), streams: vec![] };
        for on in listen {
            let scheme = on.kind.scheme();
            let failed = |source: std::io::Error, address| {
                if source.kind() == std::io::ErrorKind::AddrInUse {
                    return EndpointError::InUse { scheme, address };
                }
                EndpointError::Listen { scheme, address, source }
            };
            for address in interfaces::expand(on.address).map_err(|it| failed(it, on.address))? {
                match bound.bind_one(on, address, advertise) {
                    Ok(()) => (),
                    Err(error) if !on.required && error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                        tracing::info!(%address, "not listening there: the machine does not have the address");
                    }
                    Err(error) => return Err(failed(error, address)),
                }
            }
        }
        if bound.listeners.is_empty() { Err(EndpointError::NoListener) } else { Ok(bound) }
    }

    fn bind_one(&mut self, on: &ListenOn, address: SocketAddr, advertise: &Advertise) -> std::io::Result<()> {
        let local = match on.kind {
            TransportKind::Udp => {
                let socket = udp::bind(address)?;
                let local = socket.local_addr()?;
                self.udp.insert(local, socket);
                local
            }
            kind @ (TransportKind::Tcp | TransportKind::Tls | TransportKind::Ws | TransportKind::Wss) => {
                let socket = tcp::bind(address)?;
                let local = socket.local_addr()?;
                self.streams.push((kind, socket));
                local
            }
        };
        let advertised = match on.advertise {
            Some((ip, port)) => SocketAddr::new(ip, port.unwrap_or_else(|| local.port())),
            None => advertise.of(local),
        };
        let mut listener = Listener::new(on.kind, local);
        if advertised != local {
            let host = match advertised.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            listener = listener.advertised_as(host, advertised.port());
        }
        self.listeners.push((listener, on.admission.clone()));
        Ok(())
    }
}
