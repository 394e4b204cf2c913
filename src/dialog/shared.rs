//! What all sessions share: the transaction layer below, and who waits for which transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::credentials::OwnCredentials;
use super::inspection::SDP;
use super::offer_answer::Capabilities;
use super::peers::Peers;
use super::session_timer::Terms;
use super::state::Dialog;
use super::{DialogId, DialogsConfig, Event, ServerEvent};
use crate::auth::Exchange;
use crate::sip::{HeaderName, Request, RequestBuilder, Response, ResponseBuilder, StatusCode};
use crate::timer::Now;
use crate::transaction::{TransactionId, Transactions};
use crate::transport::refusal::{ALLOW, Refusal};
use crate::transport::{Dropped, Flow};

/// The extensions that we know, for the Supported header field.
const SUPPORTED: &str = "100rel, norefersub, timer";

/// The same where INVITEs may replace dialogs.
const SUPPORTED_WITH_REPLACES: &str = "100rel, norefersub, replaces, timer";

/// What all sessions share.
pub(super) struct Shared {
    pub(super) transactions: Transactions,
    pub(super) config: DialogsConfig,
    pub(super) peers: Peers,
    pub(super) events: VecDeque<Event>,
    pub(super) server_events: VecDeque<ServerEvent>,
    /// 2xx of ours that wait for their ACK.
    pub(super) unacknowledged: usize,
    pub(super) credentials: OwnCredentials,
    /// Sessions whose INVITE keeps its transport, whatever its size.
    pinned: BTreeSet<DialogId>,
    /// Requests outside of dialogs that wait for their response.
    pub(super) standalone: BTreeSet<TransactionId>,
    /// INVITEs that wait for nothing but a provisional response, to be cancelled: another server was tried, or answered.
    pub(super) left: BTreeSet<TransactionId>,
    clients: HashMap<TransactionId, (DialogId, Purpose)>,
    /// How many transactions each session waits for, those of INVITEs apart.
    waiting: BTreeMap<DialogId, usize>,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To begin a session.
    Invite,
    /// To change or refresh one.
    Reinvite,
    /// The same, without a new INVITE.
    Update,
    /// To end one.
    Bye,
    /// To acknowledge a provisional response.
    Prack,
    /// To transfer the peer.
    Refer,
    /// To tell how a transfer goes that the peer asked for.
    Notify,
    /// To tell of a key.
    Info,
}

impl Purpose {
    /// Whether the transaction is that of an INVITE, which outlives its final response.
    pub(super) const fn is_invite(self) -> bool {
        matches!(self, Self::Invite | Self::Reinvite)
    }
}

impl Shared {
    /// What our media sessions can do for that peer.
    pub(super) fn capabilities(&self, peer: Option<usize>) -> &Capabilities {
        self.peers.capabilities(peer).unwrap_or(&self.config.capabilities)
    }

    pub(super) fn new(transactions: Transactions, config: DialogsConfig) -> Self {
        Self {
            transactions,
            config,
            peers: Peers::default(),
            events: VecDeque::new(),
            server_events: VecDeque::new(),
            unacknowledged: 0,
            credentials: OwnCredentials::default(),
            pinned: BTreeSet::new(),
            standalone: BTreeSet::new(),
            left: BTreeSet::new(),
            clients: HashMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The extensions that we know, for the Supported header field.
    pub(super) const fn supported(&self) -> &'static str {
        if self.config.takes_replaces { SUPPORTED_WITH_REPLACES } else { SUPPORTED }
    }

    /// Tells the layer above.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Says whether the INVITE of a session keeps its transport, whatever its size.
    pub(super) fn keep_transport(&mut self, dialog: DialogId, keeps_transport: bool) {
        if keeps_transport {
            self.pinned.insert(dialog);
        }
    }

    /// A session is over.
    pub(super) fn forget_session(&mut self, dialog: DialogId) {
        self.credentials.forget_session(dialog);
        self.pinned.remove(&dialog);
        self.peers.forget(dialog);
    }

    /// Counts what was dropped.
    pub(super) fn drop(&mut self, reason: Dropped) {
        self.transactions.stats_mut().count_dropped(reason);
    }

    /// Keeps the number of 2xx that wait for their ACK.
    pub(super) fn count_unacknowledged(&mut self, before: bool, after: bool) {
        self.unacknowledged = self.unacknowledged + usize::from(after) - usize::from(before);
    }

    /// Sends a request of `dialog` in a transaction; `None` if that is not possible.
    pub(super) fn request(
        &mut self,
        dialog: DialogId,
        purpose: Purpose,
        flow: Flow,
        builder: RequestBuilder,
        now: Now,
    ) -> Option<(TransactionId, Request)> {
        let builder = builder.header(HeaderName::UserAgent, &self.config.user_agent);
        let (request, exchange) = self.credentials.authorize(dialog, builder.build().ok()?);
        let id = self.send(dialog, purpose, flow, &request, exchange, now)?;
        Some((id, request))
    }

    /// Sends a request that is written.
    pub(super) fn send(
        &mut self,
        dialog: DialogId,
        purpose: Purpose,
        flow: Flow,
        request: &Request,
        exchange: Exchange,
        now: Now,
    ) -> Option<TransactionId> {
        // Within a dialog, requests stay on its flow.
        let goes_by_size = purpose == Purpose::Invite && !self.pinned.contains(&dialog);
        let id = if goes_by_size {
            self.transactions.request_by_size(flow, request.clone(), now).ok()?
        } else {
            self.transactions.request(flow, request.clone(), now).ok()?
        };
        self.credentials.note(dialog, id, flow, request, exchange);
        self.clients.insert(id, (dialog, purpose));
        if !purpose.is_invite() {
            *self.waiting.entry(dialog).or_default() += 1;
        }
        Some(id)
    }

    /// Who waits for the transaction `id`, and for what.
    pub(super) fn client(&self, id: TransactionId) -> Option<(DialogId, Purpose)> {
        self.clients.get(&id).copied()
    }

    /// Nobody waits for the transaction `id` any more.
    pub(super) fn forget_client(&mut self, id: TransactionId) {
        self.credentials.forget(id);
        self.left.remove(&id);
        let Some((dialog, purpose)) = self.clients.remove(&id) else {
            return;
        };
        if let Some(count) = self.waiting.get_mut(&dialog).filter(|_| !purpose.is_invite()) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&dialog);
            }
        }
    }

    /// Whether a BYE or another request of `dialog` waits for its response.
    pub(super) fn is_waiting(&self, dialog: DialogId) -> bool {
        self.waiting.contains_key(&dialog)
    }

    /// Sends the response that `builder` makes, and returns it.
    pub(super) fn respond(&mut self, id: TransactionId, builder: ResponseBuilder, now: Now) -> Option<Response> {
        let response = builder.header(HeaderName::Server, &self.config.user_agent).build().ok()?;
        self.transactions.respond(id, &response, now);
        Some(response)
    }

    /// Refuses `request`. `tag` is our tag if there is a dialog.
    pub(super) fn refuse(
        &mut self,
        id: TransactionId,
        request: &Request,
        refusal: &Refusal,
        tag: Option<&str>,
        now: Now,
    ) {
        let tag = tag.map_or_else(|| self.transactions.tokens().tag(), str::to_owned);
        if let Ok(response) = refusal.reply(request, &tag) {
            self.transactions.respond(id, &response, now);
        }
    }

    /// Refuses `request` and keeps no transaction: a copy of it is refused again. So a flood of requests that pretend to
    /// be within dialogs cannot fill what is reserved for those that are.
    pub(super) fn refuse_and_forget(&mut self, id: TransactionId, request: &Request, refusal: &Refusal, now: Now) {
        let tag = self.transactions.transport().stateless_tag(request.headers().top_via());
        self.refuse(id, request, refusal, Some(&tag), now);
        self.transactions.abandon(id);
    }

    /// Begins a response within a dialog that makes or keeps it (RFC 3261 §12.1.1).
    pub(super) fn reply(&self, request: &Request, status: StatusCode, dialog: &Dialog) -> ResponseBuilder {
        let contact = self.transactions.transport().contact_uri(dialog.flow);
        Response::reply(request, status)
            .to_tag(request, &dialog.local_tag)
            .copy(request.headers(), &HeaderName::RecordRoute)
            .header(HeaderName::Contact, format_args!("<{contact}>"))
    }

    /// Begins a 2xx to INVITE or UPDATE, with a session description and a session timer if there are.
    pub(super) fn ok(
        &self,
        request: &Request,
        dialog: &Dialog,
        description: Option<String>,
        timer: Option<Terms>,
    ) -> ResponseBuilder {
        let reply = self
            .reply(request, StatusCode::OK, dialog)
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Supported, self.supported());
        let reply = match timer {
            Some(timer) => timer.write(reply),
            None => reply,
        };
        match description {
            Some(description) => reply.body(SDP, description.into()),
            None => reply,
        }
    }

    /// The flow for a request within `dialog`.
    pub(super) fn way_out(&self, dialog: &Dialog) -> Flow {
        let flow = dialog.flow;
        let is_gone = flow.kind.is_reliable() && !self.transactions.transport().has_stream(flow);
        match dialog.next_hop() {
            Some(remote) if is_gone => Flow { remote, ..flow },
            Some(_) | None => flow,
        }
    }
}
