//! A whole server: agents, their speech engine, the user agent, the journal, HTTP. Started from a configuration, drained,
//! stopped; `hookswitch serve` runs one until it is told to stop, the demo runs one for a call.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::provider::secret::Secret;
use crate::auth::{DigestAccount, DigestServerConfig};
use crate::call::{
    CallLimits, CallsConfig, HangUpCause, OwnSounds, Redirects, Replacements, Ring, Transfers, TrunkAdmission,
    TrunkConfig, UsersConfig,
};
use crate::config::{
    self, Config, MediaAddresses, Number, SignallingTransport, SipLimits, SipTls, TlsClients, TransfersFor, Trunk,
    TrunkMedia, TrunkTls, User,
};
use crate::dialog::offer_answer::{Capabilities, Keys, Preference};
use crate::identity::AccountId;
use crate::limits::{PROVIDER_CONNECT_MS_MAX, SOURCE_BURST_S};
use crate::platform::calls;
use crate::platform::calls::sql::{Journal, OpenError, Writer};
use crate::registrar::RegistrarConfig;
use crate::route::{Admission, AgentName, Destination, Network, RoomName, Routes, Target, TrunkName};
use crate::server::agents::{self, AgentError, PreparedAgents};
use crate::server::api_keys::{self, ApiKeys};
use crate::server::call_actor::{self, Shared};
use crate::server::call_log::CallLog;
use crate::server::capture::{self, CaptureTap};
use crate::server::connections::ConnectionLimits;
use crate::server::consent::{BridgedPlans, Planner, WordsMissing};
use crate::server::endpoint::{Endpoint, EndpointConfig, EndpointError, EndpointHandle, ListenOn, Recording, Tls};
use crate::server::health::Health;
use crate::server::http::{self, HttpError, HttpServer};
use crate::server::live_calls::{self, LiveCalls, Present};
use crate::server::metrics::{DecodersSnapshot, Metrics};
use crate::server::originate::{self, Originator, Reach};
use crate::server::provider::SocketAddress;
use crate::server::recordings::{self, Recordings, RecordingsError};
use crate::server::rooms::{self, RoomSoundMissing, Rooms};
use crate::server::shared_ports::SharedPortsConfig;
use crate::server::sip_worker::NewCall;
use crate::server::sounds::{CallSounds, SoundMissing, Sounds, UnknownCountry};
use crate::server::speech::{self, SpeechConfig, SpeechServer};
use crate::server::tls::{CertificateFiles, ClientCertificates, TlsClientFiles, TlsServerFiles};
use crate::server::websocket::Origins;
use crate::server::{batched_udp, clock, entropy, ports, task};
use crate::sip::Uri;
use crate::transport::{Rate, SourceLimits, TransportKind};

/// A running server.
#[derive(Debug)]
pub struct System {
    /// Where SIP is listened for.
    pub sip: Vec<(TransportKind, SocketAddr)>,
    /// Where HTTP is listened for.
    pub http: SocketAddr,
    endpoint: EndpointHandle,
    log: CallLog,
    journal: Journal,
    writer: JoinHandle<()>,
    health: Arc<Health>,
    speech: Option<SpeechServer>,
    group: task::Group,
    /// The task that keeps SIP messages, which ends after the worker.
    capture: Option<JoinHandle<()>>,
    drain_limit: Duration,
    /// The API key that was made at this start, the first one in its data directory.
    pub new_api_key: Option<Secret>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// Calls that a crash left open cannot be settled.
    #[error("calls that were left open cannot be settled: {0}")]
    Settle(#[from] sqlx::Error),
    /// An agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The speech engine.
    #[error(transparent)]
    Speech(#[from] speech::StartError),
    /// SIP or media.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The file of the API key.
    #[error("the API key cannot be kept: {0}")]
    ApiKey(std::io::Error),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The place of recordings.
    #[error(transparent)]
    Recordings(#[from] RecordingsError),
    /// The tones.
    #[error(transparent)]
    Sounds(#[from] UnknownCountry),
    /// What is said before a recording.
    #[error(transparent)]
    Words(#[from] WordsMissing),
    /// Music on hold.
    #[error(transparent)]
    HoldMusic(#[from] SoundMissing),
    /// What is heard in a conference room.
    #[error(transparent)]
    RoomSound(#[from] RoomSoundMissing),
    /// The HTTP listener does not tell its address.
    #[error("the HTTP listener has no address: {0}")]
    HttpAddress(std::io::Error),
}

impl System {
    /// Starts everything, in an order in which a failure leaves nothing half done: what may fail comes before the first
    /// call can.
    ///
    /// # Errors
    /// Whatever keeps it from working, in words for whoever started it.
    pub async fn start(config: Config, record: Option<Recording>) -> Result<Self, StartError> {
        raise_open_files();
        let (journal, mut writer) = Journal::open(&config.data.directory, clock::now).await?;
        let recordings = Arc::new(Recordings::open(&config.recordings, &config.data.directory)?);
        settle(&mut writer, &journal, &recordings).await?;
        let http = HttpServer::bind(config.http.listen).await?;
        let http_address = http.local_addr().map_err(StartError::HttpAddress)?;
        let health = Arc::new(Health::new());
        let speech = start_speech(&config, &health).await?;
        let embedded = speech.as_ref().map(|(_, address)| address);
        let sounds = Arc::new(Sounds::new(&config.sounds)?);
        let call_sounds = sounds.of_calls(&config.sounds)?;
        let (agents, plans) = prepare(&config, embedded, &sounds)?;
        let metrics = Arc::new(Metrics::new(clock::now()));
        let log = CallLog::new(Some(journal.clone()), Some(Arc::clone(&metrics)));
        let (api_keys, new_api_key) = api_keys(&config).map_err(StartError::ApiKey)?;
        let (tap, capture) = start_capture(&config, &journal, &metrics);
        let endpoint = Endpoint::start(
            EndpointConfig { plans: Arc::clone(&plans), sounds: call_sounds, ..endpoint_config(&config, record, tap) },
            log.clone(),
        )?;
        warn_of_ephemeral_ports(&config);

        let writer = task::spawn("journal", writer.run());
        let Endpoint { listening, handle, new_calls } = endpoint;
        let rooms = start_rooms(&config, &sounds, &recordings, &handle, &metrics)?;
        let shared = Shared {
            agents,
            plans,
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            worker: handle.worker.clone(),
            recordings: Arc::clone(&recordings),
            sounds,
            rooms: rooms.clone(),
        };
        spawn_actors(new_calls, shared);
        let speech = speech.map(|(server, _)| server);
        let decoders = config.speech.decoders.map(u64::from);
        add_sources(&metrics, &handle, &journal, &log, speech.as_ref(), decoders);
        let watched = journal.clone();
        health.watch("journal", move || match watched.counts().failing {
            true => Err("the journal cannot be written".to_owned()),
            false => Ok(()),
        });
        let group = task::Group::new();
        recordings.spawn(&group);
        let counted = Arc::clone(&recordings);
        metrics.add_source(move |snapshot| snapshot.recordings = counted.snapshot());
        let routes = api_routes(&config, &handle, &log, &journal, recordings, rooms);
        let api = http::api(routes, api_keys);
        http.serve(http::router(metrics, Arc::clone(&health)).merge(api), &group);
        Ok(Self {
            sip: listening,
            http: http_address,
            endpoint: handle,
            log,
            journal,
            writer,
            health,
            speech,
            group,
            capture,
            drain_limit: config.drain.limit,
            new_api_key,
        })
    }

    /// The events of all calls from here on.
    pub const fn log(&self) -> &CallLog {
        &self.log
    }

    /// The journal, for reading.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Refuses new calls, lets those in progress finish within the configured limit, hangs up the rest, and stops.
    /// Returns when every call is in the journal.
    pub async fn drain(self) {
        self.health.drain();
        self.endpoint.drain().await;
        let until = clock::now().instant + self.drain_limit;
        if !self.wait_for_calls(until).await {
            tracing::warn!("calls are still in progress at the end of the drain; they are hung up");
            self.endpoint.hang_up_all(HangUpCause::ShutDown).await;
            self.wait_for_calls(clock::now().instant + HANG_UP_TIME).await;
        }
        self.stop().await;
    }

    /// Stops at once. Calls in progress are settled when the server starts again.
    async fn stop(self) {
        self.endpoint.stop().await;
        self.group.cancel();
        self.group.finish(clock::now().instant + STOP_TIME).await;
        if let Some(speech) = &self.speech {
            speech.stop(STOP_TIME).await;
        }
        if let Some(capture) = self.capture {
            // It ends when the worker has: the last messages are in the journal's queue then.
            let ended = tokio::time::timeout(STOP_TIME, capture).await;
            if ended.is_err() {
                tracing::warn!("the latest SIP messages are not kept");
            }
        }
        self.journal.close().await;
        // The writer ends when everything is on disk; an error of its task has been logged.
        drop(self.writer.await);
    }

    /// Whether every call was over by `until`.
    async fn wait_for_calls(&self, until: std::time::Instant) -> bool {
        let farewell_until = clock::now().instant + FAREWELL_TIME;
        loop {
            let (counts, now) = (self.endpoint.status().counts, clock::now().instant);
            let has_left = counts.farewells == 0 || now >= farewell_until;
            if self.log.open_calls() == 0 && counts.dialogs == 0 && has_left {
                return true;
            }
            if now >= until {
                return false;
            }
            task::deadline(until.min(now + LOOK_AGAIN)).await;
        }
    }
}

/// Closes the calls that a crash left open, with what was recorded of them.
async fn settle(writer: &mut Writer, journal: &Journal, recordings: &Recordings) -> Result<(), StartError> {
    let found = recordings::cut_off::tell(writer, journal, recordings).await?;
    let calls = writer.settle_open_calls(clock::now()).await?.len();
    if calls > 0 {
        tracing::warn!(calls, recordings = found, "calls were open when the server last stopped; they are settled now");
    }
    Ok(())
}

/// Who answers, and how calls between others are recorded.
fn prepare(
    config: &Config,
    embedded: Option<&SocketAddress>,
    sounds: &Sounds,
) -> Result<(Arc<PreparedAgents>, Arc<BridgedPlans>), StartError> {
    let planner = Planner::new(sounds);
    let agents = agents::prepare(&config.agents, embedded, config.speech.wait, sounds, &planner)?;
    Ok((Arc::new(agents), Arc::new(BridgedPlans::new(config, &planner)?)))
}

fn start_rooms(
    config: &Config,
    sounds: &Sounds,
    recordings: &Arc<Recordings>,
    handle: &EndpointHandle,
    metrics: &Metrics,
) -> Result<Rooms, RoomSoundMissing> {
    let planner = Planner::new(sounds);
    let rooms = Rooms::new(&config.rooms, (sounds, &planner), Arc::clone(recordings), handle.worker.clone())?;
    let counted = rooms.clone();
    metrics.add_source(move |snapshot| snapshot.rooms = counted.snapshot());
    Ok(rooms)
}

/// What is served to whoever shows a key.
fn api_routes(
    config: &Config,
    handle: &EndpointHandle,
    log: &CallLog,
    journal: &Journal,
    recordings: Arc<Recordings>,
    rooms: Rooms,
) -> Router {
    let originator = Originator {
        endpoint: handle.clone(),
        agents: config.agents.keys().cloned().collect(),
        reach: Reach::of(config),
    };
    let reach = Reach::of(config);
    let desk = rooms::http::Desk { rooms, endpoint: handle.clone(), log: log.clone(), reach };
    let present = Present { log: log.clone(), endpoint: handle.clone() };
    let live = LiveCalls::new(config, handle.worker.clone(), log.clone(), journal.clone());
    calls::http::routes(journal.clone(), Arc::new(present))
        .merge(originate::routes(originator))
        .merge(live_calls::routes(live))
        .merge(rooms::http::routes(desk))
        .merge(recordings::http::routes(journal.clone(), recordings))
}

/// The keys that are accepted, and the one that was made for the data directory just now.
fn api_keys(config: &Config) -> std::io::Result<(ApiKeys, Option<Secret>)> {
    let mut hashes = config.http.api_key_hashes.clone();
    hashes.extend(config.http.api_key.as_ref().map(|it| api_keys::hash(it.reveal())));
    if !hashes.is_empty() {
        return Ok((ApiKeys::new(hashes), None));
    }
    let (hash, made) = api_keys::of_directory(&config.data.directory)?;
    Ok((ApiKeys::new(vec![hash]), made))
}

fn start_capture(
    config: &Config,
    journal: &Journal,
    metrics: &Metrics,
) -> (Option<CaptureTap>, Option<JoinHandle<()>>) {
    let Some((tap, counters, task)) = capture::start(&config.capture, journal.clone()) else {
        return (None, None);
    };
    metrics.add_source(move |snapshot| counters.add_to(&mut snapshot.capture));
    (Some(tap), Some(task))
}

fn spawn_actors(new_calls: mpsc::Receiver<NewCall>, shared: Shared) {
    task::spawn("call-actors", call_actor::run_all(new_calls, shared));
}

async fn start_speech(config: &Config, health: &Health) -> Result<Option<(SpeechServer, SocketAddress)>, StartError> {
    if !config.speech.enabled {
        return Ok(None);
    }
    let mut speech_config = SpeechConfig::new(random_token());
    speech_config.recogniser_wait = config.speech.wait;
    if let Some(decoders) = config.speech.decoders {
        speech_config.recognisers = usize::try_from(decoders).unwrap_or(usize::MAX);
    }
    if let Err(missing) = speech::probe(&speech_config.model) {
        // Not an error: calls are answered with the apology, and agents may have speech services of their own.
        tracing::error!("{missing}");
        health.report("speech", Err(missing.to_string()));
    }
    let token = speech_config.token.clone();
    let server = SpeechServer::start(speech_config).await?;
    let address = speech_address(&server, token);
    Ok(Some((server, address)))
}

/// Where agents find the local speech engine.
pub(crate) fn speech_address(server: &SpeechServer, token: Secret) -> SocketAddress {
    SocketAddress {
        base: format!("ws://{}", server.address()),
        key: token,
        connect_timeout: Duration::from_millis(PROVIDER_CONNECT_MS_MAX),
    }
}

/// 192 bits that only this process knows.
pub(crate) fn random_token() -> Secret {
    let mut rng = entropy::generator();
    let words: [u64; 3] = std::array::from_fn(|_| rng.next_u64());
    Secret::new(words.map(|it| format!("{it:016x}")).concat())
}

fn add_sources(
    metrics: &Metrics,
    endpoint: &EndpointHandle,
    journal: &Journal,
    log: &CallLog,
    speech: Option<&SpeechServer>,
    decoders: Option<u64>,
) {
    let (endpoint, journal, calls) = (endpoint.clone(), journal.clone(), log.calls_in_progress());
    metrics.add_source(move |snapshot| {
        endpoint.add_to(snapshot);
        snapshot.journal = journal.counts();
        calls.add_to(snapshot);
    });
    if let Some(speech) = speech {
        let counters = speech.counters();
        let configured = decoders
            .unwrap_or_else(|| u64::try_from(SpeechConfig::new(Secret::new("")).recognisers).unwrap_or(u64::MAX));
        metrics.add_source(move |snapshot| {
            snapshot.decoders = DecodersSnapshot {
                configured,
                in_use: counters.recognisers_busy.value(),
                waiting: counters.recognisers_awaited.value(),
                refused: counters.recognisers_refused.value(),
            };
        });
    }
}

/// The user agent that a configuration describes.
pub(crate) fn endpoint_config(
    config: &Config,
    record: Option<Recording>,
    capture: Option<CaptureTap>,
) -> EndpointConfig {
    let routes = routes(config);
    let open = Admission {
        unknown_sources: true,
        unknown_numbers: config.sip.open_agent.as_deref().map(Target::agent),
        ..Admission::default()
    };
    let has_accounts = !config.users.is_empty() || config.trunks.values().any(|it| it.inbound.account.is_some());
    let closed = Admission { users: has_accounts, ..Admission::default() };
    let listen = config.sip.listeners.iter().map(|it| ListenOn {
        kind: kind(it.transport),
        advertise: it.advertise,
        address: it.address,
        admission: if it.open { open.clone() } else { closed.clone() },
        required: it.required,
    });
    let calls_max = usize::try_from(config.sip.calls_max).unwrap_or(usize::MAX);
    EndpointConfig {
        listen: listen.collect(),
        advertise_sip: config.sip.advertise.clone(),
        advertise_rtp: config.rtp.advertise.clone(),
        dns: config.dns.servers.clone(),
        rtp_ports: config.rtp.ports.first..=config.rtp.ports.last,
        shared_ports: shared_ports(config),
        inactivity: config.rtp.inactivity,
        media_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        tls: tls_files(&config.sip.tls, &config.trunks),
        origins: Origins::new(config.sip.origins.iter().cloned()),
        connections: connection_limits(&config.sip.limits),
        calls: CallsConfig {
            listeners: vec![],
            sources: source_limits(&config.sip.limits),
            routes,
            own_sounds: OwnSounds { ringback: config.sounds.ringback, hold_music: config.sounds.hold_music.is_some() },
            users: users_config(config),
            trunks: config.trunks.iter().map(|it| trunk_config(&config.media, it)).collect(),
            next_hop_after: config.sip.next_hop_after,
            capabilities: capabilities(&config.media),
            ring: Ring { answer_after: Some(config.sip.ring), ..Ring::default() },
            transfers: match config.sip.transfers {
                TransfersFor::Nobody => Transfers::Refused,
                TransfersFor::Users => Transfers::CarriedOut { for_known_sources: false },
                TransfersFor::Known => Transfers::CarriedOut { for_known_sources: true },
            },
            replacements: match config.sip.transfers {
                TransfersFor::Nobody => Replacements::Refused,
                TransfersFor::Users | TransfersFor::Known => Replacements::FromSameSource,
            },
            passed_headers: config.sip.pass_headers.clone(),
            exposed_headers: config.sip.expose_headers.clone(),
            redirects: redirects(config.sip.follows_redirects),
            user_agent: config.sip.user_agent.clone(),
            limits: CallLimits { calls_max, ..CallLimits::default() },
            ..CallsConfig::new(vec![])
        },
        record,
        capture,
        sounds: CallSounds::default(),
        plans: Arc::default(),
    }
}

const fn kind(transport: SignallingTransport) -> TransportKind {
    match transport {
        SignallingTransport::Udp => TransportKind::Udp,
        SignallingTransport::Tcp => TransportKind::Tcp,
        SignallingTransport::Tls => TransportKind::Tls,
        SignallingTransport::Ws => TransportKind::Ws,
        SignallingTransport::Wss => TransportKind::Wss,
    }
}

/// Who is told apart by its media addresses: where trunks call from whose addresses are exact, and their servers.
fn shared_ports(config: &Config) -> SharedPortsConfig {
    let networks = |it: &Trunk| {
        let hosts = it.gateways.iter().chain(&it.outbound_proxy).filter_map(Uri::host);
        let servers = hosts.filter_map(|it| it.to_string().trim_matches(['[', ']']).parse::<IpAddr>().ok());
        it.sources.iter().copied().chain(servers.map(Network::from)).collect::<Vec<_>>()
    };
    let of = |addresses| config.trunks.values().filter(move |it| it.media_addresses == addresses).flat_map(networks);
    let (exact, any_port) = (of(MediaAddresses::Exact).collect(), of(MediaAddresses::Host).collect());
    SharedPortsConfig { first: config.media.shared_port, exact, any_port }
}

fn capabilities(media: &config::Media) -> Capabilities {
    Capabilities {
        codecs: media.codecs.clone(),
        preference: if media.prefers_ours { Preference::Ours } else { Preference::Theirs },
        keys: Keys::Events,
        comfort_noise: media.comfort_noise,
        ptime_ms: media.ptime_ms,
        srtp: media.srtp,
        srtp_keys_in_clear: media.srtp_keys_in_clear,
        // Only listeners for them make us known to browsers.
        browsers: None,
    }
}

fn trunk_capabilities(media: &config::Media, trunk: &TrunkMedia) -> Capabilities {
    let general = capabilities(media);
    Capabilities {
        codecs: trunk.codecs.clone().unwrap_or(general.codecs),
        // Who writes an order for one carrier means it.
        preference: if trunk.codecs.is_some() { Preference::Ours } else { general.preference },
        keys: match trunk.keys {
            Some(config::Keys::Events) | None => general.keys,
            Some(config::Keys::Tones) => Keys::Tones,
            Some(config::Keys::Info) => Keys::Info,
        },
        ptime_ms: trunk.ptime_ms.unwrap_or(general.ptime_ms),
        srtp: trunk.srtp.unwrap_or(general.srtp),
        ..general
    }
}

fn tls_files(config: &SipTls, trunks: &BTreeMap<String, Trunk>) -> Tls {
    let certificate = config.certificate.clone().map(|(chain, key)| CertificateFiles { chain, key });
    let clients = match config.clients.clone() {
        TlsClients::None => ClientCertificates::None,
        TlsClients::Optional(ca) => ClientCertificates::Optional(ca),
        TlsClients::Required(ca) => ClientCertificates::Required(ca),
    };
    let server = certificate.clone().map(|certificate| TlsServerFiles { certificate, clients, alpn: config.alpn });
    let client = TlsClientFiles { roots: config.ca.clone(), certificate, alpn: config.alpn };
    let differing = trunks.iter().filter(|(_, it)| it.tls != TrunkTls::default());
    let of_trunk = |(name, trunk): (&String, &Trunk)| {
        let certificate = trunk.tls.certificate.clone().map(|(chain, key)| CertificateFiles { chain, key });
        let roots = trunk.tls.ca.clone().or_else(|| client.roots.clone());
        let certificate = certificate.or_else(|| client.certificate.clone());
        (TrunkName(name.clone()), TlsClientFiles { roots, certificate, alpn: client.alpn })
    };
    Tls { server, trunks: differing.map(of_trunk).collect(), client, peers: vec![] }
}

/// `per_s`, and as much at once as in some seconds; 0 is no limit.
fn rate(per_s: u32) -> Option<Rate> {
    (per_s > 0).then(|| Rate { per_s, burst: per_s.saturating_mul(SOURCE_BURST_S) })
}

fn source_limits(config: &SipLimits) -> SourceLimits {
    SourceLimits {
        messages: rate(config.messages_per_s),
        unknown_requests: rate(config.unknown_requests_per_s),
        exempt: config.exempt.clone(),
    }
}

fn connection_limits(config: &SipLimits) -> ConnectionLimits {
    let count = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
    ConnectionLimits {
        total: count(config.connections),
        per_source: count(config.connections_per_source),
        opening: rate(config.connections_per_s),
        exempt: config.exempt.clone(),
    }
}

/// Who answers which number, and whom users can call.
pub(crate) fn routes(config: &Config) -> Routes {
    let mut routes = Routes::default();
    for (number, to) in &config.numbers {
        routes.insert_number(number, target(to));
    }
    for user in config.users.keys() {
        routes.insert_user(AccountId::default(), user);
    }
    routes
}

/// Who answers, in the words of the router.
pub(crate) fn target(to: &Number) -> Target {
    let to = match to {
        Number::Agent(agent) => Destination::Agent(AgentName(agent.clone())),
        Number::User(user) => Destination::User(user.clone()),
        Number::Room(room) => Destination::Room(RoomName(room.clone())),
        Number::Uri(uri) => Destination::Uri(uri.clone()),
        Number::Trunk(trunk, dial) => Destination::Trunk(TrunkName(trunk.clone()), dial.clone()),
    };
    Target { account: AccountId::default(), to }
}

fn users_config(config: &Config) -> Option<UsersConfig> {
    let user = |(name, user): (&String, &User)| (AccountId::default(), name.clone(), user.password.clone());
    let users: Vec<_> = config.users.iter().map(user).collect();
    let caller_ids = |(name, user): (&String, &User)| ((AccountId::default(), name.clone()), user.caller_ids.clone());
    let caller_ids = config.users.iter().filter(|(_, it)| !it.caller_ids.is_empty()).map(caller_ids).collect();
    let plain_media = config.users.iter().filter(|(_, it)| !it.takes_webrtc);
    let plain_media = plain_media.map(|(name, _)| (AccountId::default(), name.clone())).collect();
    let is_asked = !users.is_empty() || config.trunks.values().any(|it| it.inbound.account.is_some());
    is_asked.then(|| UsersConfig {
        digest: DigestServerConfig {
            algorithms: config.sip.digest.clone(),
            informs: config.sip.authentication_info,
            auth_int: config.sip.auth_int,
            nonce_lifetime: config.sip.nonce_lifetime,
            ..DigestServerConfig::new(config.sip.realm.clone())
        },
        registrar: RegistrarConfig::default(),
        users,
        caller_ids,
        plain_media,
    })
}

/// A trunk of the configuration, as the call layer takes it.
pub(crate) fn trunk_config(media: &config::Media, (name, trunk): (&String, &Trunk)) -> TrunkConfig {
    let account = |(username, password): (String, Secret)| {
        // What cannot stand in quotes is refused when the configuration is read.
        DigestAccount::new(trunk.realms.clone(), username, password).ok()
    };
    let username = trunk.username.clone();
    TrunkConfig {
        name: TrunkName(name.clone()),
        account: AccountId::default(),
        domain: trunk.domain.clone(),
        gateways: trunk.outbound_proxy.clone().map_or_else(|| trunk.gateways.clone(), |it| vec![it]),
        proxy: trunk.outbound_proxy.clone(),
        transport: trunk.transport.as_deref().and_then(TransportKind::of_scheme),
        credentials: username.clone().zip(trunk.password.clone()).and_then(account),
        username,
        register_s: trunk.register.then(|| u32::try_from(trunk.expires.as_secs()).unwrap_or(u32::MAX)),
        sources: trunk.sources.clone(),
        admission: TrunkAdmission {
            by_address: trunk.inbound.address,
            by_registration: trunk.inbound.registration,
            certificate_names: trunk.inbound.certificate_names.clone(),
            account: trunk.inbound.account.clone(),
        },
        caller_id: trunk.caller_id.clone(),
        ping_every: trunk.options_every,
        capabilities: (trunk.media != TrunkMedia::default()).then(|| Box::new(trunk_capabilities(media, &trunk.media))),
        redirects: redirects(trunk.follows_redirects),
    }
}

const fn redirects(follows: bool) -> Redirects {
    if follows { Redirects::Followed } else { Redirects::Refused }
}

/// As far as the system lets us; a call takes two sockets and more.
fn raise_open_files() {
    match batched_udp::allow_open_files() {
        Ok(files) => tracing::debug!(files, "open files"),
        Err(error) => tracing::warn!(%error, "calls may run out of sockets: the limit of open files stays as it is"),
    }
}

fn warn_of_ephemeral_ports(config: &Config) {
    if let Some(overlap) = ports::ephemeral_overlap(&(config.rtp.ports.first..=config.rtp.ports.last)) {
        tracing::warn!(
            first = overlap.start(),
            last = overlap.end(),
            "[rtp] ports overlaps the range from which the kernel takes ports for other programs; calls may find theirs taken"
        );
    }
}

/// Between looks at what is left while draining.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// For the BYEs of the last calls and what follows them.
const HANG_UP_TIME: Duration = Duration::from_secs(5);
/// For carriers to answer that they know that we are gone.
const FAREWELL_TIME: Duration = Duration::from_secs(3);
/// For tasks that were told to stop.
const STOP_TIME: Duration = Duration::from_secs(2);
