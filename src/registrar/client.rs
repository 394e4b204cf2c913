//! Registering with a carrier or PBX: RFC 3261 §10.2, with the pauses of RFC 5626 §4.5.
//!
//! | outcome                   | what follows                                                                    |
//! |---------------------------|---------------------------------------------------------------------------------|
//! | 2xx                       | refresh after 80 to 90 % of the time that was granted                           |
//! | 401, 407                  | credentials; if they are wrong, nothing for most of an hour                     |
//! | 423                       | the interval that is wanted                                                     |
//! | 408, 5xx, no answer, 3xx  | the next server; after the last one, a pause that doubles from 30 s to 30 min   |
//! | any other                 | the same pause                                                                  |
//!
//! A server that turns out not to live is left for the next one; one that lives again and is preferred is returned to.
//!
//! A redirection is not followed: credentials go to the servers that they were configured for.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha12Rng;

use crate::auth::{DigestAccount, DigestClient, Exchange, GaveUp, Protected};
use crate::limits::{PATH_HOPS_MAX, REGISTRATION_INTERVALS_MAX};
use crate::sip::{BuildError, Contacts, HeaderName, Method, NameAddr, Request, Response, StatusCode, Uri};
use crate::timer::Now;
use crate::transport::Flow;
use crate::transport::refusal::ALLOW;

/// A registration to keep.
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// The address that is registered: From and To.
    pub address: Uri,
    /// The Request-URI: the domain, without a user.
    pub registrar: Uri,
    /// The registrar's servers, the preferred one first. [`Registration::set_servers`] changes them.
    pub servers: Vec<Server>,
    /// The interval that is asked for first, in seconds.
    pub expires_s: u32,
    /// What to show if asked.
    pub account: Option<DigestAccount>,
    /// The Route to the registrar, if it is behind a proxy.
    pub route: Vec<(HeaderName, String)>,
    /// As the User-Agent header field names us.
    pub user_agent: String,
}

/// One server of a registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The way to it.
    pub flow: Flow,
    /// Where we want to be called from there.
    pub contact: Uri,
}

/// Keeps one registration.
#[derive(Debug)]
pub struct Registration {
    config: RegistrationConfig,
    rng: ChaCha12Rng,
    digest: Option<DigestClient>,
    call_id: String,
    tag: String,
    cseq: u32,
    /// The interval that is asked for, in seconds.
    expires_s: u32,
    server: usize,
    /// Servers that failed since one answered.
    failed_servers: usize,
    /// Pauses since a server accepted us.
    pauses: u32,
    state: RegistrationState,
    pending: Option<Pending>,
    /// When to register again.
    again_at: Option<Instant>,
    /// Until when a server has us, as far as is known, and which one.
    bound: Option<(Instant, Flow)>,
    /// The proxies that the registrar wants on the way of our calls (RFC 3608).
    service_route: Vec<NameAddr>,
    gave_up: Option<GaveUp>,
    /// A server that lives again, and is to be asked once the pending answer is there.
    returns_to: Option<Flow>,
    is_stopping: bool,
    outputs: VecDeque<Register>,
    stats: RegistrationStats,
    /// How often each reason made it fail. As many as there are statuses, at most.
    failures: BTreeMap<Failure, u64>,
}

/// How a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// Not wanted, or given up.
    NotRegistered,
    /// Asked for, for the first time or after a failure.
    Pending,
    /// Calls reach us.
    Registered,
    /// Not accepted; it is tried again.
    Failed(Failure),
    /// The credentials are wrong, or asked for by somebody they are not for.
    AuthFailed,
}

/// Why a registration failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// No server answered.
    #[error("no server answers")]
    NoAnswer,
    /// The last answer.
    #[error("the answer is {}", .0.code())]
    Refused(StatusCode),
    /// A 2xx that grants no time.
    #[error("it is accepted for no time")]
    NotGranted,
    /// There is no server to ask.
    #[error("there is no server to ask")]
    NoServer,
}

impl Failure {
    /// As a metric's label writes it: the status, or what there was instead.
    pub fn name(self) -> String {
        match self {
            Self::NoAnswer => "no_answer".to_owned(),
            Self::Refused(status) => status.code().to_string(),
            Self::NotGranted => "not_granted".to_owned(),
            Self::NoServer => "no_server".to_owned(),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistrationStats {
    /// Requests sent.
    pub sent: u64,
    /// Registrations and refreshes that were accepted.
    pub accepted: u64,
    /// Challenges answered.
    pub challenged: u64,
    /// Answers that were no, and answers that did not come.
    pub failed: u64,
    /// Changes to another server.
    pub failovers: u64,
}

/// A REGISTER to send.
#[derive(Clone, Debug)]
pub struct Register {
    /// The way out.
    pub flow: Flow,
    uri: Uri,
    headers: Vec<(HeaderName, String)>,
}

impl Register {
    /// The request with its Via.
    pub fn request(&self, via: &str) -> Result<Request, BuildError> {
        let mut builder = Request::builder(Method::Register, &self.uri).header(HeaderName::Via, via);
        for (name, value) in &self.headers {
            builder = builder.header(name.clone(), value);
        }
        builder.build()
    }
}

#[derive(Debug)]
struct Pending {
    exchange: Exchange,
    /// How often another interval was asked for.
    intervals: u8,
    /// It removes the binding.
    removes: bool,
}

impl Registration {
    /// A registration that waits for [`Self::start`].
    pub fn new(config: RegistrationConfig, mut rng: ChaCha12Rng) -> Self {
        let mut account = config.account.clone();
        let digest = account.take().map(|it| DigestClient::new(it, rand::SeedableRng::from_rng(&mut rng)));
        let call_id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
        let tag = format!("{:016x}", rng.next_u64());
        Self {
            digest,
            call_id,
            tag,
            cseq: 0,
            expires_s: config.expires_s,
            server: 0,
            failed_servers: 0,
            pauses: 0,
            state: RegistrationState::NotRegistered,
            pending: None,
            again_at: None,
            bound: None,
            service_route: vec![],
            gave_up: None,
            returns_to: None,
            is_stopping: false,
            outputs: VecDeque::new(),
            stats: RegistrationStats::default(),
            failures: BTreeMap::new(),
            config,
            rng,
        }
    }

    /// Registers, and keeps registered.
    pub fn start(&mut self, now: Now) {
        self.is_stopping = false;
        if self.pending.is_none() {
            self.begin(false, now);
        }
    }

    /// Removes the binding, at once or when the pending answer is there.
    pub fn stop(&mut self, now: Now) {
        self.is_stopping = true;
        self.again_at = None;
        if self.pending.is_none() {
            self.finish_stopping(now);
        }
    }

    /// The registrar is at these servers from here on, the preferred one first. What it knows of us where it was stands
    /// until it expires; a registration that has lost its server is made anew.
    pub fn set_servers(&mut self, servers: Vec<Server>, now: Now) {
        let current = self.server();
        let position = servers.iter().position(|it| Some(it.flow) == current);
        self.server = position.unwrap_or(0);
        self.config.servers = servers;
        let lacks_server = self.state == RegistrationState::Failed(Failure::NoServer);
        if (lacks_server || position.is_none()) && !self.is_stopping && self.again_at.is_some() {
            self.again_at = Some(now.instant);
        }
    }

    /// The proxies that the registrar wants on the way of our calls (RFC 3608).
    pub fn service_route(&self) -> &[NameAddr] {
        &self.service_route
    }

    /// A response to the latest REGISTER.
    pub fn handle_response(&mut self, response: &Response, now: Now) {
        let status = response.status();
        let is_ours = response.headers().cseq().number == self.cseq && response.headers().call_id() == self.call_id;
        let Some(pending) = self.pending.as_ref().filter(|_| is_ours && status.is_final()) else {
            return;
        };
        let removes = pending.removes;
        match status {
            _ if status.is_success() => self.handle_accepted(response, now),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                self.handle_challenge(response, now);
            }
            StatusCode::INTERVAL_TOO_BRIEF if !removes => self.handle_too_brief(response, now),
            // RFC 3261 §21.3: followed it would take the credentials elsewhere.
            _ if status.class() == 3 || status.class() == 5 || status == StatusCode::REQUEST_TIMEOUT => {
                let retry_after_s = response.headers().retry_after().and_then(Result::ok).map(|it| it.seconds);
                self.handle_server_failed(Failure::Refused(status), retry_after_s, now);
            }
            _ => self.fail(Failure::Refused(status), None, now),
        }
    }

    /// The latest REGISTER got no answer, or could not be sent.
    pub fn handle_no_answer(&mut self, now: Now) {
        if self.pending.is_some() {
            self.handle_server_failed(Failure::NoAnswer, None, now);
        }
    }

    /// A connection is gone: if calls would have come over it, registers anew (RFC 5626 §4.4).
    pub fn handle_disconnected(&mut self, flow: Flow, now: Now) {
        if self.bound.is_some_and(|(_, it)| it == flow) && self.pending.is_none() && !self.is_stopping {
            self.bound = None;
            self.state = RegistrationState::Failed(Failure::NoAnswer);
            let pause = self.share_of(Duration::from_secs(2), 0, 100);
            self.again_at = Some(now.instant + pause);
        }
    }

    /// The server at the other end of `flow` does not live any more: if it is the one that has us or is being asked, the next
    /// one is asked.
    pub fn handle_server_down(&mut self, flow: Flow, now: Now) {
        let has_others = self.config.servers.len() > 1;
        if !has_others || self.server() != Some(flow) || self.is_stopping {
            return;
        }
        if self.pending.is_some() {
            self.handle_server_failed(Failure::NoAnswer, None, now);
        } else {
            self.stats.failovers += 1;
            self.advance_server();
            self.again_at = Some(now.instant);
        }
    }

    /// The server at the other end of `flow` lives again: it is asked if it is preferred to the one that was asked last, or
    /// if that has not accepted us. Credentials that were refused are not tried again for it.
    pub fn handle_server_up(&mut self, flow: Flow, now: Now) {
        self.returns_to = (!self.is_stopping).then_some(flow);
        if self.pending.is_none() {
            self.return_to_server(now);
        }
    }

    fn return_to_server(&mut self, now: Now) {
        let Some(flow) = self.returns_to.take() else {
            return;
        };
        let Some(index) = self.config.servers.iter().position(|it| it.flow == flow) else {
            return;
        };
        let is_wanted = match self.state {
            RegistrationState::Registered => index < self.server,
            RegistrationState::Failed(_) => true,
            RegistrationState::NotRegistered | RegistrationState::Pending | RegistrationState::AuthFailed => false,
        };
        if is_wanted && !self.is_stopping {
            self.server = index;
            self.again_at = Some(now.instant);
        }
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.again_at.take_if(|it| *it <= now.instant).is_some() {
            self.begin(false, now);
        }
    }

    /// The next REGISTER to send, or `None` once drained.
    pub fn poll_output(&mut self) -> Option<Register> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and what asks for it.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let reason = if self.state == RegistrationState::Registered { "a refresh" } else { "a new attempt" };
        self.again_at.map(|it| (it, reason))
    }

    /// How it is.
    pub const fn state(&self) -> RegistrationState {
        self.state
    }

    /// Why credentials were of no use, if that is the state.
    pub fn gave_up(&self) -> Option<GaveUp> {
        self.gave_up.filter(|_| self.state == RegistrationState::AuthFailed)
    }

    /// Until when a server has us, as far as is known. It may while a refresh fails.
    pub fn bound_until(&self) -> Option<Instant> {
        self.bound.map(|(until, _)| until)
    }

    /// Whether a server has us, and reaches us over this flow.
    pub fn is_over(&self, flow: Flow) -> bool {
        self.bound.is_some_and(|(_, it)| it == flow)
    }

    /// The server that is asked, or was last.
    pub fn server(&self) -> Option<Flow> {
        self.config.servers.get(self.server).map(|it| it.flow)
    }

    /// How often each reason made it fail since the start.
    pub const fn failures(&self) -> &BTreeMap<Failure, u64> {
        &self.failures
    }

    /// What was done since the start.
    pub const fn stats(&self) -> &RegistrationStats {
        &self.stats
    }

    fn begin(&mut self, removes: bool, now: Now) {
        // A refresh changes nothing as long as it is not refused.
        if self.state != RegistrationState::Registered || removes {
            self.state = RegistrationState::Pending;
        }
        self.again_at = None;
        self.pending = Some(Pending { exchange: Exchange::default(), intervals: 0, removes });
        let uri = self.config.registrar.to_string();
        let request = Protected { method: "REGISTER", uri: &uri, body: b"" };
        let credentials = match (&mut self.digest, &mut self.pending) {
            (Some(digest), Some(pending)) => digest.authorize(&mut pending.exchange, request),
            (None, _) | (_, None) => vec![],
        };
        self.send(credentials, now);
    }

    fn send(&mut self, credentials: Vec<(HeaderName, String)>, now: Now) {
        let Some(Server { flow, contact }) = self.config.servers.get(self.server).cloned() else {
            self.fail(Failure::NoServer, None, now);
            return;
        };
        self.cseq = self.cseq.saturating_add(1);
        let RegistrationConfig { address, registrar, user_agent, .. } = &self.config;
        let removes = self.pending.as_ref().is_some_and(|it| it.removes);
        let expires_s = if removes { 0 } else { self.expires_s };
        let mut headers = vec![
            (HeaderName::MaxForwards, "70".to_owned()),
            (HeaderName::From, format!("<{address}>;tag={}", self.tag)),
            (HeaderName::To, format!("<{address}>")),
            (HeaderName::CallId, self.call_id.clone()),
            (HeaderName::CSeq, format!("{} REGISTER", self.cseq)),
            (HeaderName::Contact, format!("<{contact}>")),
            (HeaderName::Expires, expires_s.to_string()),
            (HeaderName::Allow, ALLOW.to_owned()),
            (HeaderName::Supported, "path".to_owned()),
            (HeaderName::UserAgent, user_agent.clone()),
        ];
        headers.extend(self.config.route.iter().cloned());
        headers.extend(credentials);
        self.stats.sent += 1;
        self.outputs.push_back(Register { flow, uri: registrar.clone(), headers });
    }

    fn handle_accepted(&mut self, response: &Response, now: Now) {
        let removes = self.pending.take().is_some_and(|it| it.removes);
        if removes {
            self.bound = None;
            self.state = RegistrationState::NotRegistered;
            return;
        }
        if let Some(digest) = &mut self.digest
            && !digest.handle_accepted(response, self.config.registrar.as_str())
        {
            self.give_up(now);
            return;
        }
        let granted_s = self.granted_s(response);
        let Some(flow) = self.server().filter(|_| granted_s > 0) else {
            self.fail(Failure::NotGranted, None, now);
            return;
        };
        let granted = Duration::from_secs(granted_s.into());
        self.stats.accepted += 1;
        (self.failed_servers, self.pauses) = (0, 0);
        self.bound = Some((now.instant + granted, flow));
        self.service_route = response.headers().addresses(HeaderName::ServiceRoute).unwrap_or_default();
        self.service_route.truncate(PATH_HOPS_MAX);
        self.state = RegistrationState::Registered;
        if self.is_stopping {
            self.finish_stopping(now);
            return;
        }
        let pause = self.share_of(granted, 80, 90);
        self.again_at = Some(now.instant + pause);
        self.return_to_server(now);
    }

    /// RFC 3261 §10.2.4: the time that our Contact has got. Border controllers write their own in its place.
    fn granted_s(&self, response: &Response) -> u32 {
        let headers = response.headers();
        let contacts = match headers.contacts() {
            Ok(Contacts::List(list)) => list,
            Ok(Contacts::Star) | Err(_) => vec![],
        };
        let own = self.config.servers.get(self.server);
        let ours = contacts.iter().find(|it| own.is_some_and(|own| it.uri().equivalent(&own.contact)));
        let only = contacts.first().filter(|_| contacts.len() == 1);
        let own = ours.or(only).and_then(|it| it.params().value("expires")).and_then(|it| it.parse().ok());
        let of_all = || headers.expires().and_then(Result::ok);
        // More than a day is an oversight, of whoever writes it.
        own.or_else(of_all).unwrap_or(self.expires_s).min(86_400)
    }

    fn handle_challenge(&mut self, response: &Response, now: Now) {
        let uri = self.config.registrar.to_string();
        let request = Protected { method: "REGISTER", uri: &uri, body: b"" };
        let credentials = match (&mut self.digest, &mut self.pending) {
            (Some(digest), Some(pending)) => digest.handle_challenge(&mut pending.exchange, response, request),
            (None, _) | (_, None) => Err(GaveUp::NoCredentials),
        };
        self.gave_up = credentials.as_ref().err().copied();
        match credentials {
            Ok(credentials) => {
                self.stats.challenged += 1;
                self.send(credentials, now);
            }
            Err(_) => self.give_up(now),
        }
    }

    /// The credentials are of no use. Another try soon would be one towards a locked account.
    fn give_up(&mut self, now: Now) {
        self.fail(Failure::Refused(StatusCode::UNAUTHORIZED), Some(AUTH_PAUSE_S), now);
        if !self.is_stopping {
            self.state = RegistrationState::AuthFailed;
        }
    }

    fn handle_too_brief(&mut self, response: &Response, now: Now) {
        let wanted = response.headers().get(&HeaderName::MinExpires).and_then(|it| it.parse::<u32>().ok());
        let wanted = wanted.filter(|it| *it > self.expires_s && *it <= 86_400);
        let may_ask = self.pending.as_ref().filter(|it| it.intervals < REGISTRATION_INTERVALS_MAX);
        let (Some(wanted), Some(intervals)) = (wanted, may_ask.map(|it| it.intervals)) else {
            self.fail(Failure::Refused(response.status()), None, now);
            return;
        };
        self.expires_s = wanted;
        self.begin(false, now);
        if let Some(pending) = &mut self.pending {
            pending.intervals = intervals + 1;
        }
    }

    /// Tries the next server, unless each has had its turn.
    fn handle_server_failed(&mut self, failure: Failure, retry_after_s: Option<u32>, now: Now) {
        self.failed_servers += 1;
        if self.is_stopping || self.failed_servers >= self.config.servers.len() {
            self.advance_server();
            self.fail(failure, retry_after_s, now);
            return;
        }
        self.count_failed(failure);
        self.stats.failovers += 1;
        self.advance_server();
        self.state = RegistrationState::Pending;
        self.begin(false, now);
    }

    fn count_failed(&mut self, failure: Failure) {
        self.stats.failed += 1;
        *self.failures.entry(failure).or_default() += 1;
    }

    fn advance_server(&mut self) {
        self.server = (self.server + 1) % self.config.servers.len().max(1);
    }

    /// Waits before the next attempt, at least `least_s`.
    fn fail(&mut self, failure: Failure, least_s: Option<u32>, now: Now) {
        let removed = self.pending.take().is_some_and(|it| it.removes);
        self.count_failed(failure);
        self.failed_servers = 0;
        if removed {
            // The binding will expire.
            self.bound = None;
        }
        if self.is_stopping {
            self.finish_stopping(now);
            return;
        }
        self.state = RegistrationState::Failed(failure);
        let doubled = PAUSE_S_MIN.checked_shl(self.pauses).unwrap_or(PAUSE_S_MAX).min(PAUSE_S_MAX);
        self.pauses = self.pauses.saturating_add(1).min(16);
        let least = Duration::from_secs(least_s.unwrap_or(0).min(3_600).into());
        let pause = self.share_of(Duration::from_secs(doubled.into()), 50, 100);
        // Everybody else was told the same time.
        let pause = if pause < least { least + self.share_of(least, 0, 10) } else { pause };
        self.again_at = Some(now.instant + pause);
        if least_s.is_none() {
            self.return_to_server(now);
        }
    }

    fn finish_stopping(&mut self, now: Now) {
        match self.bound {
            Some((until, _)) if until > now.instant => self.begin(true, now),
            Some(_) | None => {
                self.bound = None;
                self.state = RegistrationState::NotRegistered;
            }
        }
    }

    /// A random share of a duration, from and to percentages.
    fn share_of(&mut self, whole: Duration, from: u32, to: u32) -> Duration {
        let thousandths = from * 10 + self.rng.next_u32() % ((to - from) * 10 + 1);
        whole * thousandths / 1_000
    }
}

/// The first pause after a failure, in seconds; each is twice the one before (RFC 5626 §4.5).
const PAUSE_S_MIN: u32 = 30;
/// The longest pause, in seconds.
const PAUSE_S_MAX: u32 = 1_800;
/// The pause after credentials were refused, in seconds.
const AUTH_PAUSE_S: u32 = 3_000;
