//! Trunks: the carriers and PBXs that we call through, register with, and are called by. Their servers are found and kept
//! up to date, asked whether they live (OPTIONS, RFC 3261 §11), and let in as known sources.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::config::Redirects;
use super::servers::{CallerId, Seeker};
use super::{Calls, Output, TrunkAdmission};
use crate::auth::{DigestAccount, GaveUp};
use crate::dialog::Peer;
use crate::dialog::offer_answer::Capabilities;
use crate::identity::{AccountId, LegId};
use crate::limits::{TRUNK_OPTIONS_MS_MAX, TRUNK_REFRESH_S, TRUNK_RETRY_S};
use crate::locate::{Hop, NotLocated, Target};
use crate::registrar::{Failure, Registration, RegistrationConfig, RegistrationState, RegistrationStats, Server};
use crate::route::{Network, TrunkName};
use crate::sip::{HeaderName, Method, Request, Response, StatusCode, Uri};
use crate::timer::{Deadlines, Now};
use crate::transaction::{MAX_FORWARDS, TransactionId};
use crate::transport::{Flow, TransportKind};

/// A carrier or PBX.
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// Its name here.
    pub name: TrunkName,
    /// Whose it is.
    pub account: AccountId,
    /// The domain, as a URI without a user: what is called and registered with; `None` if it registers with us.
    pub domain: Option<Uri>,
    /// Where its servers are looked for, the preferred ones first: the domain itself, gateways, or a proxy; none if it
    /// registers with us.
    pub gateways: Vec<Uri>,
    /// The proxy that stands on the Route of every request.
    pub proxy: Option<Uri>,
    /// The only transport to use.
    pub transport: Option<TransportKind>,
    /// The user we are there.
    pub username: Option<String>,
    /// What to show if asked.
    pub credentials: Option<DigestAccount>,
    /// Whether to register, and for how long to ask, in seconds.
    pub register_s: Option<u32>,
    /// From where it calls, besides the addresses that its servers have.
    pub sources: Vec<Network>,
    /// How its calls are known as its own.
    pub admission: TrunkAdmission,
    /// As whom we call.
    pub caller_id: Option<String>,
    /// How often its servers are asked whether they live.
    pub ping_every: Option<Duration>,
    /// What our media sessions can do for it, if that is not what they can do for others.
    pub capabilities: Option<Box<Capabilities>>,
    /// What is done when it points elsewhere (3xx).
    pub redirects: Redirects,
}

impl TrunkConfig {
    /// What its servers are found by.
    pub fn targets(&self) -> Vec<Target> {
        let over = |it: Target| match self.transport {
            Some(kind) => it.over(kind),
            None => it,
        };
        self.gateways.iter().filter_map(|it| Target::of(it).ok()).map(over).collect()
    }
}

/// Something that is learnt of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkEvent {
    /// The registration is in another state.
    Registration(TrunkRegistration),
    /// Its servers cannot be found; those that were found last, if any, are used on.
    NotLocated(NotLocated),
    /// A server does not answer OPTIONS any more.
    Down(SocketAddr),
    /// It does again.
    Up(SocketAddr),
}

/// How a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkRegistration {
    /// Whether calls reach us.
    pub state: RegistrationState,
    /// Until when a server has us, as far as is known.
    pub until: Option<Instant>,
    /// The server that is asked, or was last.
    pub server: Option<SocketAddr>,
    /// Why credentials were of no use.
    pub gave_up: Option<GaveUp>,
    /// What was done since the start.
    pub stats: RegistrationStats,
}

/// How a trunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkState {
    /// Its name.
    pub name: TrunkName,
    /// Its registration, if it has one and its servers were ever found.
    pub registration: Option<TrunkRegistration>,
    /// How often it failed, by what there was instead of a yes.
    pub registration_failures: BTreeMap<Failure, u64>,
    /// Whether one was asked for.
    pub registers: bool,
    /// Its servers, in the order in which they are tried.
    pub gateways: Vec<GatewayState>,
    /// Calls that came from it, and calls that went to it.
    pub calls: (u64, u64),
}

/// How a server of a trunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayState {
    /// How it is spoken to.
    pub kind: TransportKind,
    /// Where it is.
    pub remote: SocketAddr,
    /// Whether it has failed a short time ago, so that it is tried last.
    pub is_resting: bool,
    /// Whether it answered the last OPTIONS; `None` before the first.
    pub lives: Option<bool>,
}

/// All trunks.
#[derive(Debug)]
pub(super) struct Trunks {
    all: Vec<Trunk>,
    deadlines: Deadlines<usize>,
    /// What our requests are for, and whom they ask.
    requests: BTreeMap<TransactionId, (usize, Sent, Flow)>,
    /// When OPTIONS that are not answered are given up.
    patience: Deadlines<TransactionId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Register,
    Options,
}

#[derive(Debug)]
struct Trunk {
    config: TrunkConfig,
    hops: Vec<Hop>,
    /// Whether servers answered the last OPTIONS.
    lives: BTreeMap<SocketAddr, bool>,
    registration: Option<Registration>,
    told: Option<RegistrationState>,
    is_lost_told: bool,
    refresh_at: Option<Instant>,
    ping_at: Option<Instant>,
    calls_in: u64,
    calls_out: u64,
}

impl Trunk {
    fn poll_timeout(&self) -> Option<Instant> {
        let registration = self.registration.as_ref().and_then(|it| it.poll_timeout()).map(|it| it.0);
        registration.into_iter().chain(self.refresh_at).chain(self.ping_at).min()
    }

    /// Where calls from it come from, if that is enough to know them.
    fn sources(&self) -> Vec<Network> {
        if !self.config.admission.by_address {
            return vec![];
        }
        let of_servers = self.hops.iter().map(|it| Network::from(it.remote.ip()));
        self.config.sources.iter().copied().chain(of_servers).collect()
    }

    /// What tells it from others at its address, and what our media sessions can do for it.
    fn peer(&self) -> Peer {
        let config = &self.config;
        Peer {
            sources: self.sources().iter().map(Network::range).collect(),
            servers: self.hops.iter().map(|it| it.remote).collect(),
            calls: config.username.iter().chain(&config.caller_id).cloned().collect(),
            capabilities: config.capabilities.clone(),
        }
    }

    /// Our URI there, or that of another user.
    fn address(&self, user: Option<&str>) -> Option<Uri> {
        let domain = self.config.domain.as_ref()?;
        let uri = Uri::sip(user, &domain.host()?.to_string(), domain.port()).ok()?;
        match domain.transport() {
            Some(transport) => uri.with_param("transport", Some(transport)).ok(),
            None => Some(uri),
        }
    }

    fn registration(&self) -> Option<TrunkRegistration> {
        let it = self.registration.as_ref()?;
        let (until, server) = (it.bound_until(), it.server().map(|it| it.remote));
        Some(TrunkRegistration { state: it.state(), until, server, gave_up: it.gave_up(), stats: *it.stats() })
    }
}

impl Trunks {
    pub(super) fn new(configs: Vec<TrunkConfig>, now: Now) -> Self {
        let mut deadlines = Deadlines::new();
        let trunk = |(index, config): (usize, TrunkConfig)| {
            let refresh_at = (!config.gateways.is_empty()).then_some(now.instant);
            deadlines.set(index, refresh_at);
            Trunk {
                config,
                hops: vec![],
                lives: BTreeMap::new(),
                registration: None,
                told: None,
                is_lost_told: false,
                refresh_at,
                ping_at: None,
                calls_in: 0,
                calls_out: 0,
            }
        };
        let all = configs.into_iter().enumerate().map(trunk).collect();
        Self { all, deadlines, requests: BTreeMap::new(), patience: Deadlines::new() }
    }

    /// From where each trunk calls, as far as that is known before its servers are found.
    pub(super) fn sources(&self) -> impl Iterator<Item = (TrunkName, Vec<Network>)> {
        self.all.iter().map(|it| (it.config.name.clone(), it.sources()))
    }

    /// The trunks as peers, and what is known of their addresses before they are found.
    pub(super) fn peers(&self) -> Vec<(usize, Peer)> {
        self.all.iter().map(Trunk::peer).enumerate().collect()
    }

    pub(super) fn index_of(&self, name: &TrunkName) -> Option<usize> {
        self.all.iter().position(|it| it.config.name == *name)
    }

    pub(super) fn name_of(&self, index: usize) -> Option<&TrunkName> {
        self.all.get(index).map(|it| &it.config.name)
    }

    /// The trunks with such an admission.
    pub(super) fn admitting(&self, admits: impl Fn(&TrunkAdmission) -> bool) -> Vec<usize> {
        let all = self.all.iter().enumerate();
        all.filter(|(_, it)| admits(&it.config.admission)).map(|(index, _)| index).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next().into_iter().chain(self.patience.next()).min()
    }

    /// How many registrars are being told that we are gone.
    pub(super) fn farewells(&self) -> usize {
        let is_leaving = |it: &&Trunk| {
            let has_left = matches!(it.told, Some(RegistrationState::NotRegistered));
            it.refresh_at.is_none() && it.registration.is_some() && !has_left
        };
        self.all.iter().filter(is_leaving).count()
    }

    fn of(&self, name: &TrunkName) -> Option<&Trunk> {
        self.all.iter().find(|it| it.config.name == *name)
    }

    pub(super) fn admitting_of(&self, name: &TrunkName) -> Option<&TrunkAdmission> {
        self.of(name).map(|it| &it.config.admission)
    }

    /// The trunk that is asked for this account's password.
    pub(super) fn with_account(&self, account: &AccountId, user: &str) -> Option<&TrunkName> {
        let has = |it: &&Trunk| {
            let name = it.config.admission.account.as_ref().map(|(name, _)| name.as_str());
            it.config.account == *account && name == Some(user)
        };
        self.all.iter().find(has).map(|it| &it.config.name)
    }

    /// The trunk that has us registered over this flow.
    pub(super) fn registered_over(&self, flow: Flow) -> Option<&TrunkName> {
        let is_over = |it: &&Trunk| {
            let registration = it.registration.as_ref();
            registration.is_some_and(|it| it.state() == RegistrationState::Registered && it.is_over(flow))
        };
        self.all.iter().find(is_over).map(|it| &it.config.name)
    }

    pub(super) fn targets_of(&self, name: &TrunkName) -> Vec<Target> {
        self.of(name).map_or_else(Vec::new, |it| it.config.targets())
    }

    pub(super) fn credentials_of(&self, name: &TrunkName) -> Option<DigestAccount> {
        self.of(name)?.config.credentials.clone()
    }

    /// The address of a called number at the trunk.
    pub(super) fn called(&self, name: &TrunkName, to: &Uri) -> Option<Uri> {
        self.of(name)?.address(Some(&to.user_decoded()?))
    }

    /// As whom we call over the trunk.
    pub(super) fn calling(&self, name: &TrunkName, from: &CallerId) -> Option<Uri> {
        let trunk = self.of(name)?;
        match from {
            CallerId::Uri(uri) => Some(uri.clone()),
            CallerId::User(user) => trunk.address(Some(user)),
            CallerId::OfTrunk => trunk.address(self.own_user(name)),
        }
    }

    /// As whom calls of others go over the trunk, if that is configured.
    pub(super) fn caller_id(&self, name: &TrunkName) -> Option<&str> {
        self.of(name)?.config.caller_id.as_deref()
    }

    /// As whom we call over the trunk who name nobody.
    pub(super) fn own_user(&self, name: &TrunkName) -> Option<&str> {
        let config = &self.of(name)?.config;
        config.caller_id.as_deref().or(config.username.as_deref())
    }

    /// A user at the trunk, or at our own place `here` if it has none.
    pub(super) fn user_at(&self, name: &TrunkName, user: Option<&str>, here: &Uri) -> Option<Uri> {
        let at_trunk = self.of(name)?.address(user);
        at_trunk.or_else(|| Uri::sip(user, &here.host()?.to_string(), here.port()).ok())
    }

    /// The account and the user as which it registers with us.
    pub(super) fn registering_as(&self, name: &TrunkName) -> Option<(&AccountId, &str)> {
        let config = &self.of(name)?.config;
        let (user, _) = config.admission.account.as_ref().filter(|_| config.admission.by_registration)?;
        Some((&config.account, user))
    }

    /// The Route of a call over the trunk: what its registrar wants, else its proxy.
    pub(super) fn route_of(&self, name: &TrunkName) -> Vec<(HeaderName, String)> {
        let Some(trunk) = self.of(name) else {
            return vec![];
        };
        let registered = trunk.registration.as_ref().map_or(&[][..], Registration::service_route);
        let route: Vec<_> = registered.iter().map(|it| (HeaderName::Route, it.to_string())).collect();
        if route.is_empty() { proxy_route(&trunk.config).into_iter().collect() } else { route }
    }

    /// Whether any trunk is followed that points elsewhere.
    pub(super) fn follow_redirects(&self) -> bool {
        self.all.iter().any(|it| it.config.redirects == Redirects::Followed)
    }

    /// What is done when a trunk points elsewhere.
    pub(super) fn redirects_of(&self, name: &TrunkName) -> Redirects {
        self.of(name).map_or(Redirects::Refused, |it| it.config.redirects)
    }

    /// Whether `uri` is at the trunk: at its domain or one of its gateways. A port that is another trunk's is not.
    pub(super) fn is_at(&self, name: &TrunkName, uri: &Uri) -> bool {
        let is_same = |it: &Uri| it.host().zip(uri.host()).is_some_and(|(one, two)| one.same(two));
        let has_port = |it: &&Trunk| {
            let mut places = it.config.domain.iter().chain(&it.config.gateways);
            places.any(|it| is_same(it) && it.port() == uri.port())
        };
        let has = |it: &Trunk| it.config.name == *name;
        if self.all.iter().any(|it| !has(it) && has_port(&it)) && !self.all.iter().any(|it| has(it) && has_port(&it)) {
            return false;
        }
        self.of(name).is_some_and(|it| it.config.domain.iter().chain(&it.config.gateways).any(is_same))
    }

    /// Whether a trunk names its transport.
    pub(super) fn pins_transport(&self, name: &TrunkName) -> bool {
        self.all.iter().any(|it| it.config.name == *name && it.config.transport.is_some())
    }

    /// Whom a trunk calls: the user of the Request-URI, unless that is only our own name there, as carriers write it that we
    /// register with.
    pub(super) fn called_user<'a>(&self, name: Option<&TrunkName>, request: &'a Request) -> Cow<'a, str> {
        let user = request.uri().user_decoded().unwrap_or_default();
        let own = name.and_then(|it| self.of(it)).and_then(|it| it.config.username.as_deref());
        match request.headers().to().uri().user_decoded() {
            Some(to) if own == Some(&*user) => Cow::Owned(to.into_owned()),
            Some(_) | None => user,
        }
    }

    pub(super) fn count_in(&mut self, name: Option<&TrunkName>) {
        if let Some(trunk) = self.all.iter_mut().find(|it| Some(&it.config.name) == name) {
            trunk.calls_in += 1;
        }
    }

    pub(super) fn count_out(&mut self, name: &TrunkName) {
        if let Some(trunk) = self.all.iter_mut().find(|it| it.config.name == *name) {
            trunk.calls_out += 1;
        }
    }

    fn settle(&mut self, index: usize) {
        let at = self.all.get(index).and_then(Trunk::poll_timeout);
        self.deadlines.set(index, at);
    }
}

impl Calls {
    /// How the trunks are, in the order of the configuration.
    pub fn trunks(&self, now: Now) -> Vec<TrunkState> {
        let gateway = |trunk: &Trunk, hop: &Hop| GatewayState {
            kind: hop.kind,
            remote: hop.remote,
            is_resting: self.servers.locator.rests_until(hop.kind, hop.remote, now).is_some(),
            lives: trunk.lives.get(&hop.remote).copied(),
        };
        let in_order = |trunk: &Trunk| {
            let mut hops = trunk.hops.clone();
            self.servers.locator.sort(&mut hops, now);
            hops
        };
        let state = |it: &Trunk| TrunkState {
            name: it.config.name.clone(),
            registration: it.registration(),
            registration_failures: it.registration.as_ref().map(|it| it.failures().clone()).unwrap_or_default(),
            registers: it.config.register_s.is_some(),
            gateways: in_order(it).iter().map(|hop| gateway(it, hop)).collect(),
            calls: (it.calls_in, it.calls_out),
        };
        self.trunks.all.iter().map(state).collect()
    }

    /// The trunk that has a server there, or else one at the same address, or that calls from it.
    pub(super) fn trunk_at(&self, remote: SocketAddr) -> Option<&TrunkName> {
        let is_there = |it: &&Trunk| it.hops.iter().any(|hop| hop.remote == remote);
        let is_near = |it: &&Trunk| it.hops.iter().any(|hop| hop.remote.ip() == remote.ip());
        let exact = self.trunks.all.iter().find(is_there).map(|it| &it.config.name);
        let near = || self.trunks.all.iter().find(is_near).map(|it| &it.config.name);
        exact.or_else(|| self.config.routes.trunks_of(remote.ip()).next()).or_else(near)
    }

    /// Whether trunks have servers there or call from there, and `name` is none of them.
    pub(super) fn is_of_others(&self, ip: IpAddr, name: Option<&TrunkName>) -> bool {
        let has = |it: &&Trunk| it.hops.iter().any(|hop| hop.remote.ip() == ip);
        let servers = self.trunks.all.iter().filter(has).map(|it| &it.config.name);
        let mut there = servers.chain(self.config.routes.trunks_of(ip)).peekable();
        there.peek().is_some() && !there.any(|it| Some(it) == name)
    }

    /// Whether nobody on the way can read the signalling of a leg.
    pub fn is_confidential(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|it| it.party.flow.kind.is_secure())
    }

    /// Whether a browser may be at the other end of a leg: its signalling goes over a websocket.
    pub fn may_be_browser(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|it| it.party.flow.kind.is_websocket())
    }

    /// The trunk that `uri` belongs to, by its domain, and the ways to its servers, of which there is at least one.
    pub(super) fn trunk_towards(&mut self, uri: &Uri, now: Now) -> Option<(TrunkName, Vec<Flow>)> {
        let is_there = |it: &&Trunk| {
            let hosts = it.config.domain.as_ref().and_then(Uri::host).zip(uri.host());
            hosts.is_some_and(|(one, two)| one.same(two))
        };
        let has_port = |it: &&Trunk| it.config.domain.as_ref().and_then(Uri::port) == uri.port();
        let mut there = self.trunks.all.iter().filter(is_there);
        let exact = there.clone().find(has_port);
        let trunk = exact.or_else(|| there.next().filter(|_| uri.port().is_none()))?;
        let (name, mut hops) = (trunk.config.name.clone(), trunk.hops.clone());
        self.servers.locator.sort(&mut hops, now);
        let flows = self.flows_to(&hops, Some(&name));
        (!flows.is_empty()).then_some((name, flows))
    }

    pub(super) fn handle_trunk_timeout(&mut self, now: Now) {
        while let Some(id) = self.trunks.patience.pop_due(now.instant) {
            self.dialogs.abandon_alone(id);
            self.handle_trunk_response(id, None, now);
        }
        while let Some(index) = self.trunks.deadlines.pop_due(now.instant) {
            let Some(trunk) = self.trunks.all.get_mut(index) else {
                continue;
            };
            if let Some(registration) = &mut trunk.registration {
                registration.handle_timeout(now);
            }
            let is_ping_due = trunk.ping_at.is_some_and(|it| it <= now.instant);
            if trunk.refresh_at.is_some_and(|it| it <= now.instant) {
                trunk.refresh_at = Some(now.instant + Duration::from_secs(TRUNK_REFRESH_S));
                let targets = trunk.config.targets();
                self.servers.seek(Seeker::Trunk(index), targets, now);
            }
            if is_ping_due {
                self.ping(index, now);
            }
            self.pursue_trunk(index, now);
        }
    }

    /// The servers of a trunk were looked for.
    pub(super) fn trunk_located(&mut self, index: usize, found: Result<Vec<Hop>, NotLocated>, now: Now) {
        let Some(trunk) = self.trunks.all.get_mut(index).filter(|it| it.refresh_at.is_some()) else {
            return;
        };
        let name = trunk.config.name.clone();
        let hops = match found {
            Ok(hops) => hops,
            Err(error) => {
                trunk.refresh_at = Some(now.instant + Duration::from_secs(TRUNK_RETRY_S));
                if !std::mem::replace(&mut trunk.is_lost_told, true) {
                    self.tell(Output::Trunk { trunk: name, event: TrunkEvent::NotLocated(error) });
                }
                self.trunks.settle(index);
                return;
            }
        };
        trunk.is_lost_told = false;
        let is_first = trunk.hops.is_empty();
        trunk.hops.clone_from(&hops);
        trunk.lives.retain(|it, _| hops.iter().any(|hop| hop.remote == *it));
        if is_first {
            trunk.ping_at = trunk.config.ping_every.map(|_| now.instant);
        }
        let sources = trunk.sources();
        self.dialogs.set_peer(index, trunk.peer());
        self.config.routes.set_trunk_sources(name.clone(), sources);
        // Calls come over the connection that registers: it is one of ours.
        let flows: Vec<_> = hops.iter().filter_map(|it| self.direct_flow_to(it, Some(&name))).collect();
        self.register_at(index, &flows, now);
        self.pursue_trunk(index, now);
    }

    fn register_at(&mut self, index: usize, flows: &[Flow], now: Now) {
        let contacts: Vec<_> = flows.iter().map(|it| self.dialogs.contact_of(*it)).collect();
        let user_agent = self.config.user_agent.clone();
        let rng = rand::SeedableRng::from_rng(&mut self.rng);
        let Some(trunk) = self.trunks.all.get_mut(index) else {
            return;
        };
        let config = &trunk.config;
        let (Some(expires_s), Some(user)) = (config.register_s, config.username.as_deref()) else {
            return;
        };
        let server = |(flow, contact): (&Flow, &String)| {
            let escaped = Uri::sip(Some(user), "user.invalid", None).ok()?;
            let contact = contact.replacen("sip:", &format!("sip:{}@", escaped.user()?), 1);
            Some(Server { flow: *flow, contact: Uri::parse(&contact).ok()? })
        };
        let servers = flows.iter().zip(&contacts).filter_map(server).collect();
        if let Some(registration) = &mut trunk.registration {
            registration.set_servers(servers, now);
            return;
        }
        let (Some(address), Some(registrar)) = (trunk.address(Some(user)), trunk.address(None)) else {
            return;
        };
        let account = config.credentials.clone();
        let route = proxy_route(config).into_iter().collect();
        let config = RegistrationConfig { address, registrar, servers, expires_s, account, route, user_agent };
        let mut registration = Registration::new(config, rng);
        registration.start(now);
        trunk.registration = Some(registration);
    }

    /// Sends what a registration wants to send, and tells how it is.
    fn pursue_trunk(&mut self, index: usize, now: Now) {
        while let Some(register) = self.trunks.all.get_mut(index).and_then(|it| it.registration.as_mut()?.poll_output())
        {
            let via = self.dialogs.next_via(register.flow);
            let request = register.request(&via).ok();
            // Nobody waits for the answer of a server that was left.
            self.trunks.requests.retain(|_, it| (it.0, it.1) != (index, Sent::Register));
            let sent = request.and_then(|it| self.dialogs.send_alone(register.flow, it, now));
            match sent {
                Some(id) => {
                    self.trunks.requests.insert(id, (index, Sent::Register, register.flow));
                }
                None => {
                    let registration = self.trunks.all.get_mut(index).and_then(|it| it.registration.as_mut());
                    registration.into_iter().for_each(|it| it.handle_no_answer(now));
                }
            }
        }
        self.tell_registration(index);
        self.trunks.settle(index);
    }

    fn tell_registration(&mut self, index: usize) {
        let Some(trunk) = self.trunks.all.get_mut(index) else {
            return;
        };
        let Some(registration) = trunk.registration().filter(|it| it.state != RegistrationState::Pending) else {
            return;
        };
        if trunk.told.replace(registration.state) != Some(registration.state) {
            let (trunk, event) = (trunk.config.name.clone(), TrunkEvent::Registration(registration));
            self.tell(Output::Trunk { trunk, event });
        }
    }

    /// Asks every server of a trunk whether it lives.
    fn ping(&mut self, index: usize, now: Now) {
        let Some(trunk) = self.trunks.all.get_mut(index) else {
            return;
        };
        trunk.ping_at = trunk.config.ping_every.map(|it| now.instant + it);
        let (Some(domain), Some(us)) = (trunk.address(None), trunk.address(trunk.config.username.as_deref())) else {
            return;
        };
        let route = proxy_route(&trunk.config);
        let hops = trunk.hops.clone();
        let is_asked = |flow: &Flow| self.trunks.requests.values().any(|it| *it == (index, Sent::Options, *flow));
        let way = |hop: &Hop| {
            let server = self.servers.flow_to(hop)?;
            let reusable = hop.server_name.as_ref().and_then(|it| self.dialogs.reusable(server, it));
            Some((server, reusable.unwrap_or(server)))
        };
        let ways: Vec<_> = hops.iter().filter_map(way).filter(|it| !is_asked(&it.0)).collect();
        for (server, flow) in ways {
            let (tag, call_id) = self.dialogs.fresh_names();
            let (via, contact) = (self.dialogs.next_via(flow), self.dialogs.contact_of(flow));
            let mut builder = Request::builder(Method::Options, &domain)
                .header(HeaderName::Via, via)
                .header(HeaderName::MaxForwards, MAX_FORWARDS)
                .header(HeaderName::From, format_args!("<{us}>;tag={tag}"))
                .header(HeaderName::To, format_args!("<{domain}>"))
                .header(HeaderName::CallId, call_id)
                .header(HeaderName::CSeq, "1 OPTIONS")
                .header(HeaderName::Contact, format_args!("<{contact}>"))
                .header(HeaderName::Accept, "application/sdp")
                .header(HeaderName::UserAgent, &self.config.user_agent);
            if let Some((name, value)) = route.clone() {
                builder = builder.header(name, value);
            }
            if let Some(id) = builder.build().ok().and_then(|it| self.dialogs.send_alone(flow, it, now)) {
                self.trunks.requests.insert(id, (index, Sent::Options, server));
                let until = now.instant + Duration::from_millis(TRUNK_OPTIONS_MS_MAX);
                self.trunks.patience.set(id, Some(until));
            }
        }
    }

    /// The outcome of a REGISTER or OPTIONS of ours.
    pub(super) fn handle_trunk_response(&mut self, id: TransactionId, response: Option<&Response>, now: Now) {
        self.trunks.patience.set(id, None);
        let Some((index, sent, flow)) = self.trunks.requests.remove(&id) else {
            return;
        };
        let Some(trunk) = self.trunks.all.get_mut(index) else {
            return;
        };
        let locator = &mut self.servers.locator;
        let is_unavailable = |it: &Response| it.status() == StatusCode::SERVICE_UNAVAILABLE;
        let lives = response.is_some_and(|it| !is_unavailable(it));
        if lives {
            locator.handle_reached(flow.kind, flow.remote);
        } else {
            let asked = response.and_then(|it| it.headers().retry_after()?.ok()).map(|it| it.seconds.into());
            // A server that does not answer OPTIONS rests until it does.
            let pings = trunk.config.ping_every.filter(|_| sent == Sent::Options).map(|it| it * 2);
            let rest = asked.map(Duration::from_secs).or(pings);
            locator.handle_failed(flow.kind, flow.remote, rest, now);
        }
        let mut event = None;
        match (sent, &mut trunk.registration) {
            (Sent::Register, Some(registration)) => match response {
                Some(response) => registration.handle_response(response, now),
                None => registration.handle_no_answer(now),
            },
            (Sent::Options, _) if lives => {
                let before = trunk.lives.insert(flow.remote, true);
                event = (before == Some(false)).then_some(TrunkEvent::Up(flow.remote));
                if let Some(registration) = trunk.registration.as_mut().filter(|_| event.is_some()) {
                    registration.handle_server_up(flow, now);
                }
            }
            (Sent::Options, _) => {
                let before = trunk.lives.insert(flow.remote, false);
                event = (before != Some(false)).then_some(TrunkEvent::Down(flow.remote));
                if let Some(registration) = trunk.registration.as_mut().filter(|_| event.is_some()) {
                    registration.handle_server_down(flow, now);
                }
            }
            (Sent::Register, None) => (),
        }
        let name = trunk.config.name.clone();
        if let Some(event) = event {
            self.tell(Output::Trunk { trunk: name, event });
        }
        self.pursue_trunk(index, now);
    }

    /// A connection is gone: registrations that counted on it are made anew.
    pub(super) fn trunk_disconnected(&mut self, flow: Flow, now: Now) {
        for index in 0..self.trunks.all.len() {
            if let Some(registration) = self.trunks.all.get_mut(index).and_then(|it| it.registration.as_mut()) {
                registration.handle_disconnected(flow, now);
                self.pursue_trunk(index, now);
            }
        }
    }

    /// Tells registrars that we are gone, and asks nobody any more.
    pub(super) fn stop_trunks(&mut self, now: Now) {
        for index in 0..self.trunks.all.len() {
            if let Some(trunk) = self.trunks.all.get_mut(index) {
                (trunk.refresh_at, trunk.ping_at) = (None, None);
                if let Some(registration) = &mut trunk.registration {
                    registration.stop(now);
                }
            }
            self.pursue_trunk(index, now);
        }
    }
}

/// The Route that leads through the proxy of a trunk.
fn proxy_route(config: &TrunkConfig) -> Option<(HeaderName, String)> {
    let proxy = config.proxy.as_ref()?.with_param("lr", None).ok()?;
    Some((HeaderName::Route, format!("<{proxy}>")))
}
