//! The registrar: RFC 3261 §10.3, with Path (RFC 3327) and the flows of RFC 5626.
//!
//! A binding keeps the flow that its REGISTER came on, because the Contact of a telephone behind a network address
//! translator leads nowhere. Users bind their own address only, and strangers none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::auth::Authenticated;
use crate::identity::{AccountId, Pii};
use crate::limits::{BINDING_CONTACT_BYTES_MAX, BINDINGS_MAX, BINDINGS_PER_USER_MAX, FLOW_TIMER_S, PATH_HOPS_MAX};
use crate::sip::{Contacts, HeaderName, NameAddr, Request, Response, ResponseBuilder, StatusCode, Uri, is_quotable};
use crate::timer::{Deadlines, Now};
use crate::transport::{Flow, TransportKind};

/// What the registrar is told once.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// The hosts whose users register here, as URIs write them; any if empty.
    pub domains: Vec<String>,
    /// How long a binding lives that asks for nothing, in seconds.
    pub default_s: u32,
    /// The shortest life, in seconds; what asks for less is answered 423. At most an hour (RFC 3261 §10.3).
    pub min_s: u32,
    /// The longest life, in seconds; what asks for more gets this.
    pub max_s: u32,
    /// Bindings of all users.
    pub bindings_max: usize,
    /// When to come back if there are too many, in seconds.
    pub retry_after_s: u32,
}

/// Where the users are.
///
/// A user has at most `BINDINGS_PER_USER_MAX` bindings: a new one takes the place of the one that was refreshed longest
/// ago. All together have at most `bindings_max`; a new one beyond is answered 503.
pub struct Registrar {
    config: RegistrarConfig,
    users: BTreeMap<Key, Vec<Binding>>,
    by_flow: BTreeSet<(Flow, Key)>,
    deadlines: Deadlines<Key>,
    total: usize,
    stats: RegistrarStats,
    events: VecDeque<Event>,
}

/// What became known of a user. Drain with [`Registrar::poll_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The user can be reached there; not told for a refresh.
    Bound {
        /// Whom the user belongs to.
        account: AccountId,
        /// The user.
        user: String,
        /// Where.
        contact: Pii<String>,
        /// The way there.
        flow: Flow,
    },
    /// The user cannot be reached there any more.
    Unbound {
        /// Whom the user belongs to.
        account: AccountId,
        /// The user.
        user: String,
        /// Where.
        contact: Pii<String>,
        /// Why.
        why: Unbound,
    },
}

/// Why a binding is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbound {
    /// The user asked for it.
    Removed,
    /// It was not refreshed.
    Expired,
    /// Its connection is gone, and there is no other way to it.
    FlowLost,
    /// A newer one took its place.
    MadeRoom,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistrarStats {
    /// New bindings.
    pub bound: u64,
    /// Bindings whose life was prolonged.
    pub refreshed: u64,
    /// Bindings that their users removed.
    pub removed: u64,
    /// Bindings that were not refreshed.
    pub expired: u64,
    /// Bindings whose connection was lost.
    pub lost: u64,
    /// Bindings that made room for newer ones.
    pub made_room: u64,
    /// Requests that were not served.
    pub refused: u64,
}

/// A place where a user can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Request-URI.
    pub uri: Uri,
    /// The Route, first hop first (RFC 3327 §5.3).
    pub path: Vec<NameAddr>,
    /// The way there.
    pub flow: Flow,
    /// Other flows of the same device, to be taken one after the other if that one fails (RFC 5626 §5.3).
    pub other_flows: Vec<Flow>,
    /// How much the user wants to be called there, in thousandths.
    pub q: u16,
}

/// An address of record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    account: AccountId,
    user: Box<str>,
}

#[derive(Clone, Debug)]
struct Binding {
    uri: Uri,
    q: u16,
    outbound: Option<Outbound>,
    path: Vec<NameAddr>,
    flow: Flow,
    call_id: Box<str>,
    cseq: u32,
    refreshed_at: Instant,
    expires_at: Instant,
}

/// RFC 5626 §4.2: which device, and which of its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outbound {
    instance: Box<str>,
    reg_id: u32,
}

/// What a Contact asks for.
struct Wanted {
    uri: Uri,
    q: u16,
    outbound: Option<Outbound>,
    expires_s: u32,
}

/// Why a REGISTER is not served.
enum Refused {
    /// 400.
    Malformed(&'static str),
    /// 403: a user may bind its own address only.
    NotYours,
    /// 404: not a domain of ours.
    UnknownDomain,
    /// 420: the extensions that are not known.
    Extension(Vec<String>),
    /// 439: it asks for a flow of its own through a proxy that keeps none.
    NoFlow,
    /// 423.
    TooBrief,
    /// 500: an older request than the one that was served.
    OutOfOrder,
    /// 503.
    Full,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            domains: vec![],
            default_s: 3_600,
            min_s: 60,
            max_s: 7_200,
            bindings_max: BINDINGS_MAX,
            retry_after_s: 30,
        }
    }
}

impl Registrar {
    /// A registrar that knows where nobody is.
    pub fn new(config: RegistrarConfig) -> Self {
        Self {
            config,
            users: BTreeMap::new(),
            by_flow: BTreeSet::new(),
            deadlines: Deadlines::new(),
            total: 0,
            stats: RegistrarStats::default(),
            events: VecDeque::new(),
        }
    }

    /// Serves a REGISTER that came on `flow`, and gives its response, which lacks our To tag. All its changes are made, or
    /// none.
    pub fn handle_register(&mut self, who: &Authenticated, request: &Request, flow: Flow, now: Now) -> ResponseBuilder {
        match self.register(who, request, flow, now) {
            Ok(reply) => reply,
            Err(refused) => {
                self.stats.refused += 1;
                self.refuse(request, refused)
            }
        }
    }

    /// A connection is gone: what can be reached over nothing else is unbound (RFC 5626 §5.3).
    pub fn handle_disconnected(&mut self, flow: Flow) {
        let first = (flow, Key { account: AccountId(String::new()), user: "".into() });
        let of_flow = self.by_flow.range(first..).take_while(|it| it.0 == flow);
        let keys: Vec<_> = of_flow.map(|(_, key)| key.clone()).collect();
        for key in keys {
            for binding in self.users.get_mut(&key).into_iter().flatten().filter(|it| it.flow == flow) {
                // What listens at its Contact can be connected to again.
                binding.flow = binding.direct_way().unwrap_or(flow);
            }
            self.unbind_if(&key, Unbound::FlowLost, |it| it.flow == flow);
            self.by_flow.remove(&(flow, key));
        }
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.deadlines.pop_due(now.instant) {
            self.unbind_if(&key, Unbound::Expired, |it| it.expires_at <= now.instant);
        }
    }

    /// Where a user can be reached, where the user wants to be called most first, and of equals the latest. A device that
    /// has several flows is there once.
    pub fn targets(&self, account: &AccountId, user: &str, now: Now) -> Vec<Target> {
        let key = Key { account: account.clone(), user: user.into() };
        let bindings = self.users.get(&key).into_iter().flatten();
        let mut alive: Vec<_> = bindings.filter(|it| it.expires_at > now.instant).collect();
        alive.sort_by_key(|it| std::cmp::Reverse((it.q, it.refreshed_at)));
        let mut targets: Vec<(Option<&str>, Target)> = vec![];
        for binding in alive {
            let device = binding.outbound.as_ref().map(|it| &*it.instance);
            let known = device.and_then(|_| targets.iter_mut().find(|it| it.0 == device));
            match known {
                // A flow with another path would need another Route.
                Some((_, target)) if target.path == binding.path => target.other_flows.push(binding.flow),
                Some(_) => (),
                None => targets.push((device, binding.target())),
            }
        }
        targets.into_iter().map(|it| it.1).collect()
    }

    /// Whether the peer of the connection `flow` was told to keep it alive (RFC 5626 §4.4): it is one of a device's flows.
    pub fn is_kept_alive(&self, flow: Flow) -> bool {
        let first = (flow, Key { account: AccountId(String::new()), user: "".into() });
        let of_flow = self.by_flow.range(first..).take_while(|it| it.0 == flow);
        of_flow.map(|(_, key)| key).any(|it| self.users.get(it).is_some_and(|it| keeps_alive(it, flow)))
    }

    /// Who registered over the connection `flow` for itself, without a proxy in between.
    pub fn users_on(&self, flow: Flow) -> impl Iterator<Item = (&AccountId, &str)> {
        let first = (flow, Key { account: AccountId(String::new()), user: "".into() });
        let of_flow = self.by_flow.range(first..).take_while(move |it| it.0 == flow).map(|(_, key)| key);
        let is_own = move |it: &Binding| it.flow == flow && it.path.is_empty();
        let has_own = move |key: &&Key| self.users.get(*key).is_some_and(|it| it.iter().any(is_own));
        of_flow.filter(has_own).map(|it| (&it.account, &*it.user))
    }

    /// The next thing to know, or `None` once drained.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and what asks for it.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next().map(|it| (it, "a binding that expires"))
    }

    /// How many bindings there are.
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether nobody is registered.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// What was done since the start.
    pub const fn stats(&self) -> &RegistrarStats {
        &self.stats
    }

    fn register(
        &mut self,
        who: &Authenticated,
        request: &Request,
        flow: Flow,
        now: Now,
    ) -> Result<ResponseBuilder, Refused> {
        self.handle_timeout(now);
        let headers = request.headers();
        let unknown = |it: &&str| !["path", "outbound"].iter().any(|known| it.eq_ignore_ascii_case(known));
        let unknown: Vec<_> = headers.require().filter(unknown).map(str::to_owned).collect();
        if !unknown.is_empty() {
            return Err(Refused::Extension(unknown));
        }
        let to = headers.to().uri();
        if !self.is_ours(request.uri()) || !self.is_ours(to) {
            return Err(Refused::UnknownDomain);
        }
        if to.user_decoded().as_deref() != Some(who.user()) {
            return Err(Refused::NotYours);
        }
        let path = headers.addresses(HeaderName::Path).or(Err(Refused::Malformed("Malformed Path")))?;
        if path.len() > PATH_HOPS_MAX {
            return Err(Refused::Malformed("Path Too Long"));
        }
        let key = Key { account: who.account().clone(), user: who.user().into() };
        let contacts = headers.contacts().or(Err(Refused::Malformed("Malformed Contact")))?;
        match contacts {
            Contacts::Star => {
                if !matches!(headers.expires(), Some(Ok(0))) {
                    return Err(Refused::Malformed("Contact * Without Expires 0"));
                }
                self.check_order(&key, request, |_| true)?;
                self.unbind_if(&key, Unbound::Removed, |_| true);
            }
            Contacts::List(list) => {
                let mut wanted = list.iter().map(|it| self.wanted(it, request)).collect::<Result<Vec<_>, _>>()?;
                if !keeps_flow(request, &path) {
                    let insists = headers.supported().any(|it| it.eq_ignore_ascii_case("outbound"));
                    if insists && wanted.iter().any(|it| it.outbound.is_some()) {
                        return Err(Refused::NoFlow);
                    }
                    wanted.iter_mut().for_each(|it| it.outbound = None);
                }
                self.check_order(&key, request, |binding| wanted.iter().any(|it| binding.is(it)))?;
                self.check_room(&key, &wanted)?;
                let path: Vec<_> = path.iter().map(NameAddr::detached).collect();
                for wanted in wanted {
                    self.bind(&key, wanted, request, &path, flow, now);
                }
                self.make_room(&key);
            }
        }
        self.settle(&key);
        Ok(self.accept(&key, request, flow, now))
    }

    fn is_ours(&self, uri: &Uri) -> bool {
        let domains = &self.config.domains;
        let is_ours = |host: crate::sip::Host<'_>| domains.iter().any(|it| host.to_string().eq_ignore_ascii_case(it));
        uri.is_sip() && (domains.is_empty() || uri.host().is_some_and(is_ours))
    }

    /// What a Contact asks for (§10.3, steps 6 and 7).
    fn wanted(&self, contact: &NameAddr, request: &Request) -> Result<Wanted, Refused> {
        let uri = contact.uri();
        if !uri.is_sip() || uri.has_headers() || contact.as_str().len() > BINDING_CONTACT_BYTES_MAX {
            return Err(Refused::Malformed("Contact Not Accepted"));
        }
        // RFC 3261 §20.19: what is malformed counts as an hour.
        let own = contact.params().value("expires").map(|it| seconds(it).unwrap_or(3_600));
        let of_all = || request.headers().expires().map(|it| it.unwrap_or(3_600));
        let expires_s = own.or_else(of_all).unwrap_or(self.config.default_s).min(self.config.max_s);
        if expires_s > 0 && expires_s < self.config.min_s.min(3_600) {
            return Err(Refused::TooBrief);
        }
        let q = contact.params().value("q").and_then(thousandths).unwrap_or(1_000);
        let instance = contact.params().unquoted("+sip.instance").filter(|it| is_quotable(it));
        let reg_id = contact.params().value("reg-id").and_then(seconds).filter(|it| *it > 0);
        let outbound = instance.zip(reg_id).map(|(it, reg_id)| Outbound { instance: it.as_ref().into(), reg_id });
        Ok(Wanted { uri: uri.detached(), q, outbound, expires_s })
    }

    /// A request of the same Call-ID must be newer than the one that made the binding.
    fn check_order(&self, key: &Key, request: &Request, touches: impl Fn(&Binding) -> bool) -> Result<(), Refused> {
        let (call_id, cseq) = (request.headers().call_id(), request.headers().cseq().number);
        let is_older = |it: &Binding| touches(it) && *it.call_id == *call_id && cseq <= it.cseq;
        let mut bindings = self.users.get(key).into_iter().flatten();
        if bindings.any(is_older) { Err(Refused::OutOfOrder) } else { Ok(()) }
    }

    fn check_room(&self, key: &Key, wanted: &[Wanted]) -> Result<(), Refused> {
        let bindings = self.users.get(key).map_or(&[][..], Vec::as_slice);
        let is_new = |it: &&Wanted| it.expires_s > 0 && !bindings.iter().any(|binding| binding.is(it));
        let new = wanted.iter().filter(is_new).count();
        if wanted.len() > BINDINGS_PER_USER_MAX {
            return Err(Refused::Malformed("Too Many Contacts"));
        }
        let new = new.min(BINDINGS_PER_USER_MAX.saturating_sub(bindings.len()));
        if self.total + new > self.config.bindings_max { Err(Refused::Full) } else { Ok(()) }
    }

    fn bind(&mut self, key: &Key, wanted: Wanted, request: &Request, path: &[NameAddr], flow: Flow, now: Now) {
        let bindings = self.users.entry(key.clone()).or_default();
        let found = bindings.iter().position(|it| it.is(&wanted));
        let Wanted { uri, q, outbound, expires_s } = wanted;
        if expires_s == 0 {
            if let Some(index) = found {
                let binding = bindings.remove(index);
                self.total = self.total.saturating_sub(1);
                self.tell_unbound(key, &binding, Unbound::Removed);
            }
            return;
        }
        let binding = Binding {
            flow: if outbound.is_some() { flow } else { way(&uri, path, flow) },
            uri,
            q,
            outbound,
            path: path.to_vec(),
            call_id: request.headers().call_id().into(),
            cseq: request.headers().cseq().number,
            refreshed_at: now.instant,
            expires_at: now.instant + Duration::from_secs(expires_s.into()),
        };
        if binding.flow.kind.is_reliable() {
            self.by_flow.insert((binding.flow, key.clone()));
        }
        if let Some(known) = found.and_then(|it| bindings.get_mut(it)) {
            let before = std::mem::replace(known, binding);
            self.stats.refreshed += 1;
            self.forget_flow(key, before.flow);
            return;
        }
        self.stats.bound += 1;
        self.total += 1;
        let contact = Pii::new(binding.uri.to_string());
        let (account, user) = (key.account.clone(), key.user.to_string());
        self.events.push_back(Event::Bound { account, user, contact, flow: binding.flow });
        bindings.push(binding);
    }

    /// Gives up what was refreshed longest ago. What this request asked for is the latest.
    fn make_room(&mut self, key: &Key) {
        while let Some(bindings) = self.users.get_mut(key).filter(|it| it.len() > BINDINGS_PER_USER_MAX) {
            let oldest = bindings.iter().enumerate().min_by_key(|(_, it)| it.refreshed_at).map(|(index, _)| index);
            let binding = bindings.remove(oldest.unwrap_or_default());
            self.total = self.total.saturating_sub(1);
            self.tell_unbound(key, &binding, Unbound::MadeRoom);
        }
    }

    fn unbind_if(&mut self, key: &Key, why: Unbound, mut is_over: impl FnMut(&Binding) -> bool) {
        let Some(bindings) = self.users.get_mut(key) else {
            return;
        };
        let over: Vec<_> = bindings.extract_if(.., |it| is_over(it)).collect();
        self.total = self.total.saturating_sub(over.len());
        for binding in over {
            self.tell_unbound(key, &binding, why);
        }
        self.settle(key);
    }

    fn tell_unbound(&mut self, key: &Key, binding: &Binding, why: Unbound) {
        let counter = match why {
            Unbound::Removed => &mut self.stats.removed,
            Unbound::Expired => &mut self.stats.expired,
            Unbound::FlowLost => &mut self.stats.lost,
            Unbound::MadeRoom => &mut self.stats.made_room,
        };
        *counter += 1;
        self.forget_flow(key, binding.flow);
        let contact = Pii::new(binding.uri.to_string());
        let (account, user) = (key.account.clone(), key.user.to_string());
        self.events.push_back(Event::Unbound { account, user, contact, why });
    }

    /// A binding does not use this flow any more; maybe none of the user's does.
    fn forget_flow(&mut self, key: &Key, flow: Flow) {
        let bindings = self.users.get(key).map_or(&[][..], Vec::as_slice);
        if !bindings.iter().any(|it| it.flow == flow) {
            self.by_flow.remove(&(flow, key.clone()));
        }
    }

    /// Moves the user's deadline, and forgets who has no binding.
    fn settle(&mut self, key: &Key) {
        let bindings = self.users.get(key).map_or(&[][..], Vec::as_slice);
        self.deadlines.set(key.clone(), bindings.iter().map(|it| it.expires_at).min());
        if bindings.is_empty() {
            self.users.remove(key);
        }
    }

    /// §10.3, step 8: all bindings that the user has now.
    fn accept(&self, key: &Key, request: &Request, flow: Flow, now: Now) -> ResponseBuilder {
        let mut reply = Response::reply(request, StatusCode::OK);
        let bindings = self.users.get(key).map_or(&[][..], Vec::as_slice);
        for binding in bindings {
            reply = reply.header(HeaderName::Contact, binding.shown(now));
        }
        if bindings.iter().any(|it| it.outbound.is_some() && *it.call_id == *request.headers().call_id()) {
            reply = reply.header(HeaderName::Require, "outbound");
            if keeps_alive(bindings, flow) {
                reply = reply.header(HeaderName::FlowTimer, FLOW_TIMER_S);
            }
        }
        // RFC 3327 §5.3.
        reply.copy(request.headers(), &HeaderName::Path).header(HeaderName::Supported, "path, outbound")
    }

    fn refuse(&self, request: &Request, refused: Refused) -> ResponseBuilder {
        let reply = |status| Response::reply(request, status);
        match refused {
            Refused::Malformed(reason) => reply(StatusCode::BAD_REQUEST).reason(reason),
            Refused::NotYours => reply(StatusCode::FORBIDDEN),
            Refused::UnknownDomain => reply(StatusCode::NOT_FOUND),
            Refused::Extension(tags) => {
                reply(StatusCode::BAD_EXTENSION).header(HeaderName::Unsupported, tags.join(", "))
            }
            Refused::NoFlow => reply(StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT),
            Refused::TooBrief => {
                reply(StatusCode::INTERVAL_TOO_BRIEF).header(HeaderName::MinExpires, self.config.min_s)
            }
            Refused::OutOfOrder => reply(StatusCode::SERVER_INTERNAL_ERROR).reason("Out of Order"),
            Refused::Full => {
                reply(StatusCode::SERVICE_UNAVAILABLE).header(HeaderName::RetryAfter, self.config.retry_after_s)
            }
        }
    }
}

impl Binding {
    fn is(&self, wanted: &Wanted) -> bool {
        match (&self.outbound, &wanted.outbound) {
            // RFC 5626 §6: whatever the URI.
            (Some(one), Some(two)) => one == two,
            (Some(_), None) | (None, Some(_)) | (None, None) => self.uri.equivalent(&wanted.uri),
        }
    }

    fn target(&self) -> Target {
        let (uri, path) = (self.uri.clone(), self.path.clone());
        Target { uri, path, flow: self.flow, other_flows: vec![], q: self.q }
    }

    /// The way to the Contact itself, where it leads somewhere.
    fn direct_way(&self) -> Option<Flow> {
        let is_direct = self.path.is_empty() && self.outbound.is_none();
        is_direct.then(|| direct_way(&self.uri, self.flow)).flatten()
    }

    fn shown(&self, now: Now) -> String {
        let left = self.expires_at.saturating_duration_since(now.instant);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let mut shown = format!("<{}>;expires={seconds}", self.uri);
        if self.q < 1_000 {
            shown.push_str(&format!(";q=0.{:03}", self.q));
        }
        if let Some(Outbound { instance, reg_id }) = &self.outbound {
            shown.push_str(&format!(";+sip.instance=\"{instance}\";reg-id={reg_id}"));
        }
        shown
    }
}

/// Whether one of them has this stream for a flow of its own, without a proxy in between, who would have to keep it alive.
fn keeps_alive(bindings: &[Binding], flow: Flow) -> bool {
    let is_own = |it: &Binding| it.flow == flow && it.outbound.is_some() && it.path.is_empty();
    flow.kind.is_stream() && bindings.iter().any(is_own)
}

/// Whether what is sent to the device comes to it on the flow that its REGISTER took (RFC 5626 §6): it came to us directly, or
/// the first proxy on its way says so.
fn keeps_flow(request: &Request, path: &[NameAddr]) -> bool {
    let is_direct = request.headers().all(&HeaderName::Via).count() == 1 && path.is_empty();
    is_direct || path.last().is_some_and(|it| it.uri().params().contains("ob"))
}

/// The way to a Contact. Datagrams go where it says if it names the address that they come from: no translator is in
/// between, and its port is the one that listens. Anything else goes back where it came from.
fn way(uri: &Uri, path: &[NameAddr], flow: Flow) -> Flow {
    let is_datagram = !flow.kind.is_reliable();
    let direct = direct_way(uri, flow).filter(|_| is_datagram && path.is_empty());
    direct.unwrap_or(flow)
}

/// The address that a URI names, if it is the one at the other end of `flow`.
fn direct_way(uri: &Uri, flow: Flow) -> Option<Flow> {
    let ip = uri.host()?.ip()?;
    let is_same_kind = match uri.transport() {
        Some(it) => it.eq_ignore_ascii_case(flow.kind.uri_parameter()),
        None => flow.kind == TransportKind::Udp,
    };
    let remote = SocketAddr::new(flow.remote.ip(), uri.port().unwrap_or(5060));
    (is_same_kind && ip.to_canonical() == flow.remote.ip().to_canonical()).then_some(Flow { remote, ..flow })
}

/// Digits only; what is out of range is as much as can be.
fn seconds(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// A qvalue (RFC 3261 §25.1) in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}
