//! The way to those whom we call: servers are looked for (RFC 3263), and the flows that lead to them are chosen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::dial::Errand;
use super::outgoing::Outgoing;
use super::{Calls, Direction, End, EndCause, Event, Initiator, Outbound, Output};
use crate::auth::DigestAccount;
use crate::dialog::ServerEvent;
use crate::identity::{AccountId, CallId, LegId, Pii};
use crate::locate::{Hop, LocateId, Locator, NotLocated, Reach, Target};
use crate::route::{Admission, AgentName, Destination, TrunkName};
use crate::sip::{HeaderName, StatusCode, Uri};
use crate::timer::Now;
use crate::transport::{Flow, Listener, TransportKind};

/// A call to place, whose way is not known yet.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who pays for it.
    pub account: AccountId,
    /// Whom to call. Over a trunk only its user part counts, and a `tel` URI will do; of a user of ours nothing does.
    pub to: Uri,
    /// The user of ours to call, where they are registered, instead of the servers of `to`.
    pub user: Option<String>,
    /// As whom.
    pub from: CallerId,
    /// The caller's name, as phones show it.
    pub display_name: Option<String>,
    /// More header fields for the INVITE.
    pub headers: Vec<(HeaderName, String)>,
    /// What to show if the called side or a proxy asks; over a trunk, its own.
    pub credentials: Option<DigestAccount>,
    /// The trunk to take; `None` for the servers of `to` itself.
    pub trunk: Option<TrunkName>,
    /// The agent that talks in it, for its record.
    pub agent: Option<AgentName>,
}

/// As whom a call is placed.
#[derive(Clone, Debug)]
pub enum CallerId {
    /// This address.
    Uri(Uri),
    /// This user, at the trunk's domain or, without a trunk, at our own address.
    User(String),
    /// As the trunk says.
    OfTrunk,
}

/// Searches under way, and for whom. Bounded by the locator.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) locator: Locator,
    listeners: Vec<Listener>,
    seekers: BTreeMap<u64, Seeking>,
    by_search: BTreeMap<LocateId, (u64, usize)>,
    by_call: BTreeMap<CallId, u64>,
    next: u64,
}

/// Who looks for servers, maybe in several places at once.
#[derive(Debug)]
struct Seeking {
    seeker: Seeker,
    found: Vec<Result<Vec<Hop>, NotLocated>>,
    waits_for: usize,
}

/// Who looks for servers.
#[derive(Debug)]
pub(super) enum Seeker {
    /// A call that is to be placed.
    Call(CallId, Box<Order>),
    /// Somebody who is to be called for a leg of a call.
    Errand(CallId, Box<Errand>),
    /// A call of ours that is pointed there.
    Elsewhere(LegId, Destination),
    /// The trunk at this place.
    Trunk(usize),
}

impl Servers {
    pub(super) fn new(listeners: &[(Listener, Admission)], rng: ChaCha12Rng) -> Self {
        let listeners: Vec<_> = listeners.iter().map(|(it, _)| it.clone()).collect();
        // A websocket is opened by its client, never by us.
        let kinds = TransportKind::ALL.into_iter().filter(|it| !it.is_websocket());
        let kinds = kinds.filter(|kind| listeners.iter().any(|it| it.kind == *kind));
        let reach = Reach {
            kinds: kinds.collect(),
            v4: listeners.iter().any(|it| it.local.is_ipv4()),
            v6: listeners.iter().any(|it| it.local.is_ipv6()),
        };
        Self {
            locator: Locator::new(reach, rng),
            listeners,
            seekers: BTreeMap::new(),
            by_search: BTreeMap::new(),
            by_call: BTreeMap::new(),
            next: 0,
        }
    }

    /// How many calls wait for their way.
    pub(super) fn orders(&self) -> usize {
        self.by_call.len()
    }

    /// Looks for the servers of all `targets`, those of the first one before the others.
    pub(super) fn seek(&mut self, seeker: Seeker, targets: Vec<Target>, now: Now) {
        self.next += 1;
        let id = self.next;
        if let Seeker::Call(call, _) = &seeker {
            self.by_call.insert(*call, id);
        }
        let waits_for = targets.len();
        let found = vec![Err(NotLocated::NoHost); waits_for];
        self.seekers.insert(id, Seeking { seeker, found, waits_for });
        for (index, target) in targets.into_iter().enumerate() {
            let search = self.locator.locate(target, now);
            self.by_search.insert(search, (id, index));
        }
    }

    /// The next search that is over.
    fn poll(&mut self, now: Now) -> Option<(Seeker, Result<Vec<Hop>, NotLocated>)> {
        while let Some((search, outcome)) = self.locator.poll_located() {
            let Some((id, index)) = self.by_search.remove(&search) else {
                continue;
            };
            let Some(seeking) = self.seekers.get_mut(&id) else {
                continue;
            };
            if let Some(place) = seeking.found.get_mut(index) {
                *place = outcome;
            }
            seeking.waits_for -= 1;
            if seeking.waits_for > 0 {
                continue;
            }
            let Seeking { seeker, found, .. } = self.seekers.remove(&id)?;
            if let Seeker::Call(call, _) = &seeker {
                self.by_call.remove(call);
            }
            let error = found.iter().find_map(|it| it.as_ref().err().copied());
            let mut hops: Vec<Hop> = vec![];
            for hop in found.into_iter().flatten().flatten() {
                if !hops.contains(&hop) {
                    hops.push(hop);
                }
            }
            // A trunk keeps its servers in the order in which they are preferred, whether they live or not.
            if !matches!(seeker, Seeker::Trunk(_)) {
                self.locator.sort(&mut hops, now);
            }
            let outcome = if hops.is_empty() { Err(error.unwrap_or(NotLocated::NoHost)) } else { Ok(hops) };
            return Some((seeker, outcome));
        }
        None
    }

    /// The flow to a server: from the listener whose address is on the way to it.
    pub(super) fn flow_to(&self, hop: &Hop) -> Option<Flow> {
        let fits = |it: &&Listener| it.kind == hop.kind && it.local.is_ipv4() == hop.remote.is_ipv4();
        let is_near = |it: &&Listener| Some(it.local.ip()) == hop.local_ip;
        let is_inside = |it: &&Listener| it.local.ip().is_loopback() == hop.remote.ip().is_loopback();
        let of_kind = || self.listeners.iter().filter(fits);
        let local = of_kind().find(is_near).or_else(|| of_kind().find(is_inside))?.local;
        Some(Flow { kind: hop.kind, local, remote: hop.remote })
    }

    /// What a flow begins with if nobody can be reached.
    fn nowhere(&self) -> Flow {
        let local = self.listeners.first().map_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |it| it.local);
        let any = if local.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        Flow { kind: TransportKind::Udp, local, remote: SocketAddr::new(any, 0) }
    }
}

impl Calls {
    pub(super) fn seek_for_call(&mut self, call: CallId, order: Order, now: Now) {
        if order.user.is_some() {
            self.place_to_user(call, order, now);
            return;
        }
        let called = order.to.user_decoded();
        let registered = order.trunk.as_ref().zip(called).filter(|_| !self.is_draining);
        if let Some(way) = registered.and_then(|(trunk, number)| self.registered_way(trunk, &number, now)) {
            self.place_registered(call, order, way, now);
            return;
        }
        let targets = match &order.trunk {
            Some(name) => self.trunks.targets_of(name),
            None => Target::of(&order.to).into_iter().collect(),
        };
        if targets.is_empty() || self.is_draining {
            self.refuse_order(call, &order);
            return;
        }
        self.servers.seek(Seeker::Call(call, Box::new(order)), targets, now);
    }

    /// Ends a call that waits for its way. Whether it did.
    pub(super) fn give_up_order(&mut self, call: CallId) -> bool {
        let seeking = self.servers.by_call.remove(&call).and_then(|it| self.servers.seekers.remove(&it));
        match seeking.map(|it| it.seeker) {
            Some(Seeker::Call(_, order)) => {
                self.end_order(call, &order, EndCause::Cancelled, None);
                true
            }
            Some(Seeker::Trunk(_) | Seeker::Errand(..) | Seeker::Elsewhere(..)) | None => false,
        }
    }

    /// Takes searches further. Whether anything happened.
    pub(super) fn pursue_searches(&mut self, now: Now) -> bool {
        if let Some(question) = self.servers.locator.poll_query() {
            self.tell(Output::Ask(question));
            return true;
        }
        match self.servers.poll(now) {
            Some((Seeker::Call(call, order), found)) => {
                match found {
                    Ok(hops) => self.place_order(call, *order, &hops, now),
                    Err(_) => self.refuse_order(call, &order),
                }
                true
            }
            Some((Seeker::Errand(call, errand), found)) => {
                self.handle_errand_located(call, *errand, &found.unwrap_or_default(), now);
                true
            }
            Some((Seeker::Elsewhere(leg, to), found)) => {
                self.handle_elsewhere_located(leg, &to, &found.unwrap_or_default(), now);
                true
            }
            Some((Seeker::Trunk(trunk), found)) => {
                self.trunk_located(trunk, found, now);
                true
            }
            None => false,
        }
    }

    /// The flows to servers, and for those that are encrypted, what they have to show.
    pub(super) fn flows_to(&mut self, hops: &[Hop], trunk: Option<&TrunkName>) -> Vec<Flow> {
        let mut flows = vec![];
        for hop in hops {
            let Some(flow) = self.direct_flow_to(hop, trunk) else {
                continue;
            };
            flows.extend(hop.server_name.as_ref().and_then(|it| self.dialogs.reusable(flow, it)));
            flows.push(flow);
        }
        flows
    }

    /// The flow to a server over a connection of ours, and if that is encrypted, what the server has to show.
    pub(super) fn direct_flow_to(&mut self, hop: &Hop, trunk: Option<&TrunkName>) -> Option<Flow> {
        let flow = self.servers.flow_to(hop)?;
        if let Some(server_name) = hop.server_name.clone() {
            self.tell(Output::Secure { flow, server_name, trunk: trunk.cloned() });
        }
        Some(flow)
    }

    /// Places a call whose servers are found.
    fn place_order(&mut self, call: CallId, order: Order, hops: &[Hop], now: Now) {
        let flows = self.flows_to(hops, order.trunk.as_ref());
        let Some((flow, other_flows)) = flows.split_first() else {
            self.refuse_order(call, &order);
            return;
        };
        let Some((to, from, mut headers, credentials)) = self.addresses_of(&order, *flow) else {
            self.refuse_order(call, &order);
            return;
        };
        headers.extend(order.headers);
        if let Some(trunk) = &order.trunk {
            self.trunks.count_out(trunk);
        }
        let keeps_transport = order.trunk.as_ref().is_some_and(|it| self.trunks.pins_transport(it));
        let outbound = Outbound {
            account: order.account,
            to,
            from,
            display_name: order.display_name,
            flow: *flow,
            other_flows: other_flows.to_vec(),
            keeps_transport,
            headers,
            credentials,
        };
        let outgoing = Outgoing { trunk: order.trunk, ..Outgoing::of(outbound) };
        self.place_as(call, outgoing, order.agent, now);
    }

    /// Called and calling address, the route and the credentials of a call.
    #[expect(clippy::type_complexity, reason = "named where it is taken apart")]
    fn addresses_of(
        &self,
        order: &Order,
        flow: Flow,
    ) -> Option<(Uri, Uri, Vec<(HeaderName, String)>, Option<DigestAccount>)> {
        let Some(trunk) = order.trunk.as_ref() else {
            let from = match &order.from {
                CallerId::Uri(uri) => uri.clone(),
                CallerId::User(user) => Uri::at(Some(user), flow.local).ok()?,
                CallerId::OfTrunk => Uri::at(None, flow.local).ok()?,
            };
            return Some((order.to.clone(), from, vec![], order.credentials.clone()));
        };
        let to = self.trunks.called(trunk, &order.to)?;
        let from = self.trunks.calling(trunk, &order.from)?;
        Some((to, from, self.trunks.route_of(trunk), self.trunks.credentials_of(trunk)))
    }

    pub(super) fn refuse_order(&mut self, call: CallId, order: &Order) {
        let (cause, status) = match &order.user {
            _ if self.is_draining => (EndCause::Overloaded, None),
            Some(_) => (EndCause::Rejected, Some(StatusCode::TEMPORARILY_UNAVAILABLE.code())),
            None => (EndCause::NotSent, None),
        };
        self.end_order(call, order, cause, status);
    }

    /// A call that never got as far as a server.
    fn end_order(&mut self, call: CallId, order: &Order, cause: EndCause, sip_status: Option<u16>) {
        let from = match &order.from {
            CallerId::Uri(uri) => uri.to_string(),
            CallerId::User(user) => user.clone(),
            CallerId::OfTrunk => String::new(),
        };
        let offered = Event::Offered {
            direction: Direction::Outbound,
            account: order.account.clone(),
            from: Pii::new(from),
            to: Pii::new(order.to.to_string()),
            flow: self.servers.nowhere(),
            trunk: order.trunk.clone(),
            agent: order.agent.clone(),
            details: vec![],
        };
        self.journal(call, offered);
        let end = End { cause, sip_status, initiator: Initiator::Local, reason: None };
        self.tell(Output::Ended { call, end });
        self.journal(call, Event::Ended(end));
    }

    /// What is learnt of servers while they are used.
    pub(super) fn handle_server_event(&mut self, event: ServerEvent, now: Now) {
        match event {
            ServerEvent::Failed { flow, retry_after_s } => {
                let retry_after = retry_after_s.map(|it| Duration::from_secs(it.into()));
                self.servers.locator.handle_failed(flow.kind, flow.remote, retry_after, now);
            }
            ServerEvent::Reached { flow } => self.servers.locator.handle_reached(flow.kind, flow.remote),
            ServerEvent::Response { id, response } => self.handle_trunk_response(id, response.as_ref(), now),
        }
    }
}
