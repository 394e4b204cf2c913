//! Dialogs and the sessions in them: RFC 3261 §8, §9, §12–§15, RFC 3262, RFC 3264, RFC 3311, RFC 3326, RFC 3515, RFC 3891,
//! RFC 4028.
//!
//! `Dialogs` owns the transaction layer. It refuses what cannot be served, makes dialogs of INVITEs in both directions,
//! repeats each 2xx until its ACK, negotiates media, and ends sessions. Who may call whom is the layer above's to say.

mod credentials;
pub mod dtmf_info;
pub mod end;
mod in_dialog;
mod inspection;
pub(crate) mod invite;
pub mod offer_answer;
mod peers;
mod session;
pub mod session_timer;
mod shared;
mod standalone;
mod state;
pub mod transfer;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::dtmf_info::Digit;
use self::end::{End, EndCause, Reason};
use self::inspection::Body;
use self::invite::uac::Invitation;
use self::offer_answer::{Capabilities, MediaDescription};
pub(crate) use self::peers::Peer;
use self::session::{Session, State};
use self::session_timer::SessionTimers;
use self::shared::Shared;
use self::transfer::TransferOutcome;
use self::transfer::asked::TransferRequest;
use crate::sip::{HeaderName, Method, Replaces, Request, Response, ResponseBuilder, StatusCode, Uri};
use crate::timer::{Deadlines, Now};
use crate::transaction::{self, TransactionId, Transactions};
use crate::transport::refusal::{ALLOW, Refusal};
use crate::transport::{Dropped, Flow, PeerIdentity, Stats, Wire};

/// The dialog layer.
///
/// At most `dialogs_max` dialogs are held and `unacknowledged_max` 2xx wait for their ACK; an INVITE beyond is answered
/// 503 and counted.
pub(crate) struct Dialogs {
    shared: Shared,
    sessions: BTreeMap<DialogId, Session>,
    by_local_tag: HashMap<Box<str>, DialogId>,
    /// Call-ID and From tag of INVITEs that came in, against copies that come when their transaction is gone.
    by_caller: HashMap<(Box<str>, Box<str>), DialogId>,
    by_server: HashMap<TransactionId, DialogId>,
    deadlines: Deadlines<DialogId>,
    next_id: u64,
    /// How many of the sessions are over, as the peer knows or can be left to find out, and only wait out their timers.
    ended: usize,
}

/// What the dialog layer is told once.
#[derive(Clone, Debug)]
pub struct DialogsConfig {
    /// What our media sessions can do.
    pub capabilities: Capabilities,
    /// What we want of session timers.
    pub session_timers: SessionTimers,
    /// Whether 18x are reliable where the peer can, not only where it insists (RFC 3262).
    pub reliable_provisionals: bool,
    /// Whether there is a registrar above.
    pub registers: bool,
    /// Whether peers may ask for transfers: the layer above then decides about each.
    pub takes_transfers: bool,
    /// Whether an INVITE may take the place of a dialog: the layer above then decides about each.
    pub takes_replaces: bool,
    /// After so long without any answer an INVITE goes to the next server as well, if there is one.
    pub next_hop_after: Duration,
    /// As User-Agent and Server header fields name us.
    pub user_agent: String,
    /// Dialogs held, those that are ending included.
    pub dialogs_max: usize,
    /// 2xx of ours that wait for their ACK.
    pub unacknowledged_max: usize,
    /// When to come back if a limit is reached, in seconds.
    pub retry_after_s: u32,
}

/// Names an INVITE session for as long as it is held; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialogId(u64);

/// What happens in sessions. Drain with [`Dialogs::poll_event`].
#[derive(Debug)]
pub(crate) enum Event {
    /// A call comes in: answer or reject it.
    Offered(Box<Offered>),
    /// Our call gets on: 18x, with media if audio may come before the answer.
    Provisional { dialog: DialogId, status: StatusCode, media: Option<MediaDescription> },
    /// Our call is pointed elsewhere; its end is told next. The preferred addresses come first.
    Redirected { dialog: DialogId, status: StatusCode, contacts: Vec<Uri> },
    /// The call is answered, by either side. The media are known unless our 200 holds the offer.
    Answered { dialog: DialogId, media: Option<MediaDescription> },
    /// The media are known at last, or change.
    Media { dialog: DialogId, media: MediaDescription },
    /// A REGISTER: answer it with [`Dialogs::respond`] or [`Dialogs::refuse`].
    Registering { id: TransactionId, flow: Flow, request: Request },
    /// A digit in an INFO.
    Digit { dialog: DialogId, digit: Digit },
    /// The transfer that we asked for is over.
    Transferred { dialog: DialogId, outcome: TransferOutcome },
    /// The peer asks for a transfer: decide with [`Dialogs::decide_transfer`].
    TransferAsked { dialog: DialogId, wanted: Box<TransferRequest> },
    /// The session is over. Not told to who ended it by [`Dialogs::hang_up`] or [`Dialogs::reject`], except for a call
    /// that waits for its CANCEL to take effect.
    Ended { dialog: DialogId, end: End },
}

/// What is learnt of servers. Drain with [`Dialogs::poll_server_event`].
#[derive(Debug)]
pub(crate) enum ServerEvent {
    /// A server did not take our INVITE: it did not answer, could not be reached, or is unavailable for a time.
    Failed { flow: Flow, retry_after_s: Option<u32> },
    /// A server answered our INVITE.
    Reached { flow: Flow },
    /// The final response to a request outside of dialogs, or `None` if there is none.
    Response { id: TransactionId, response: Option<Response> },
}

/// A call that comes in.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Its session.
    pub(crate) dialog: DialogId,
    /// The way it came.
    pub(crate) flow: Flow,
    /// The INVITE.
    pub(crate) request: Request,
    /// What our answer will agree to; `None` if the INVITE holds no offer.
    pub(crate) media: Option<MediaDescription>,
    /// The answered session that this one is to take the place of (RFC 3891).
    pub(crate) replaces: Option<DialogId>,
}

/// What became of hanging up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// The call is over.
    Done,
    /// An [`Event::Ended`] will tell.
    Pending,
}

impl Dialogs {
    /// An empty layer over `transactions`.
    pub(crate) fn new(transactions: Transactions, config: DialogsConfig) -> Self {
        Self {
            shared: Shared::new(transactions, config),
            sessions: BTreeMap::new(),
            by_local_tag: HashMap::new(),
            by_caller: HashMap::new(),
            by_server: HashMap::new(),
            deadlines: Deadlines::new(),
            next_id: 0,
            ended: 0,
        }
    }

    /// A datagram came.
    pub(crate) fn handle_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        self.shared.transactions.handle_datagram(flow, data, now);
        self.drain(now);
    }

    /// A datagram came, and waited for too long to be looked at: if it begins a call, it is answered 503.
    pub(crate) fn handle_late_datagram(&mut self, flow: Flow, data: Bytes, now: Now) {
        let share = self.shared.transactions.shed(1.0);
        self.handle_datagram(flow, data, now);
        self.shared.transactions.shed(share);
    }

    /// From here on this share of the INVITEs that begin a call, 0 to 1, is answered 503.
    pub(crate) const fn shed(&mut self, share: f64) {
        self.shared.transactions.shed(share);
    }

    /// A connection is open: we opened it if `is_ours`, and `identity` is what its peer's certificate shows.
    pub(crate) fn handle_connected(&mut self, flow: Flow, is_ours: bool, identity: PeerIdentity, now: Now) {
        self.shared.transactions.handle_connected(flow, is_ours, identity, now);
    }

    /// A source had a request admitted: it is no stranger.
    pub(crate) fn note_known(&mut self, source: IpAddr, now: Now) {
        self.shared.transactions.note_known(source, now);
    }

    /// The peer of a stream has agreed to keep it alive.
    pub(crate) fn expect_keep_alives(&mut self, flow: Flow, now: Now) {
        self.shared.transactions.expect_keep_alives(flow, now);
    }

    /// Who is at the other end of `flow`, as its certificate shows.
    pub(crate) fn identity(&self, flow: Flow) -> Option<&PeerIdentity> {
        self.shared.transactions.transport().identity(flow)
    }

    /// The connection that may be used in place of `flow` to reach `name`, because its peer says and shows so.
    pub(crate) fn reusable(&self, flow: Flow, name: &str) -> Option<Flow> {
        self.shared.transactions.transport().reusable(flow, name)
    }

    /// Bytes of a stream came.
    pub(crate) fn handle_segment(&mut self, flow: Flow, data: &[u8], now: Now) {
        self.shared.transactions.handle_segment(flow, data, now);
        self.drain(now);
    }

    /// A stream is gone.
    pub(crate) fn handle_disconnected(&mut self, flow: Flow, now: Now) {
        self.shared.transactions.handle_disconnected(flow, now);
        self.drain(now);
    }

    /// What was last written to the flow did not get out.
    pub(crate) fn handle_send_failed(&mut self, flow: Flow, now: Now) {
        self.shared.transactions.handle_send_failed(flow, now);
        self.drain(now);
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.shared.transactions.handle_timeout(now);
        self.drain(now);
        while let Some(id) = self.deadlines.pop_due(now.instant) {
            self.with(id, now, |session, shared| {
                session.handle_ack_timeout(shared, now);
                session.handle_cancel_timeout(shared, now);
                session.handle_hop_timeout(shared, now);
                session.handle_provisional_timeout(shared, now);
                session.handle_reinvite_timeout(shared, now);
                session.handle_session_timeout(shared, now);
                session.handle_asking_timeout(shared, now);
                session.handle_asked_timeout(shared, now);
                session.handle_end_timeout(shared, now);
            });
        }
    }

    /// Calls out; `None` if that is not possible.
    pub(crate) fn invite(&mut self, invitation: Invitation, now: Now) -> Option<DialogId> {
        if self.sessions.len() >= self.shared.config.dialogs_max {
            self.shared.drop(Dropped::TooManyDialogs);
            return None;
        }
        let id = self.fresh_id();
        let Some(session) = Session::invite(id, invitation, &mut self.shared, now) else {
            self.shared.forget_session(id);
            return None;
        };
        self.by_local_tag.insert(session.local_tag.clone(), id);
        self.sessions.insert(id, session);
        self.settle(id);
        self.drain(now);
        Some(id)
    }

    /// Sends 180 for a call that came in.
    pub(crate) fn ring(&mut self, id: DialogId, now: Now) {
        self.with(id, now, |session, shared| session.ring(shared, now));
    }

    /// The media session of a call that came in will be at `local`: an 18x that has to hold an offer can be sent.
    pub(crate) fn media_ready(&mut self, id: DialogId, local: SocketAddr, now: Now) {
        self.with(id, now, |session, shared| session.handle_media_ready(local, shared, now));
    }

    /// Sends 183 for a call that came in, with the answer to its offer, so that audio may flow from `local` already.
    pub(crate) fn progress(&mut self, id: DialogId, local: SocketAddr, now: Now) {
        self.with(id, now, |session, shared| session.progress(local, shared, now));
    }

    /// Answers a call that came in. `local` is the address of our media session.
    pub(crate) fn answer(&mut self, id: DialogId, local: SocketAddr, now: Now) {
        self.with(id, now, |session, shared| session.answer(local, shared, now));
    }

    /// Refuses a call that came in and is not answered.
    pub(crate) fn reject(&mut self, id: DialogId, refusal: &Refusal, now: Now) {
        self.with(id, now, |session, shared| {
            session.is_end_told = true;
            session.reject(refusal, shared, now);
        });
    }

    /// The Call-ID of a call that we placed and that is not over.
    pub(crate) fn call_id_of_placed(&self, id: DialogId) -> Option<&str> {
        Some(self.sessions.get(&id)?.invites.first()?.request.headers().call_id())
    }

    /// What is known of the peer of this number, from the next INVITE on.
    pub(crate) fn set_peer(&mut self, index: usize, peer: Peer) {
        self.shared.peers.set(index, peer);
    }

    /// Who of these peers sent `request` over `flow`, as its port and the called number tell; of equals the first.
    pub(crate) fn nearest_peer(&self, among: Vec<usize>, flow: Flow, request: &Request) -> Option<usize> {
        self.shared.peers.nearest(among.into_iter(), flow, Some(request))
    }

    /// Those of these peers who listen at the other end of `flow`, or all if nobody does.
    pub(crate) fn peers_listening(&self, among: Vec<usize>, flow: Flow, request: &Request) -> Vec<usize> {
        self.shared.peers.listening(among, flow, request)
    }

    /// Says whose a call is that came in and got no response yet, if that is another peer than its address seemed to tell.
    /// What is agreed on with it then, if it holds an offer.
    pub(crate) fn assign(
        &mut self,
        id: DialogId,
        peer: Option<usize>,
        media: Option<MediaDescription>,
    ) -> Result<Option<MediaDescription>, Refusal> {
        match self.sessions.get_mut(&id) {
            Some(session) if self.shared.peers.of_session(id) != peer => session.assign(peer, &mut self.shared),
            Some(_) | None => Ok(media),
        }
    }

    /// The Call-ID of a session that has a dialog.
    pub(crate) fn call_id(&self, id: DialogId) -> Option<&str> {
        match &self.sessions.get(&id)?.state {
            State::Incoming(it) => Some(&it.dialog.call_id),
            State::Confirmed(it) => Some(&it.dialog.call_id),
            State::Calling(_) | State::Ended(_) => None,
        }
    }

    /// Whether an UPDATE may change the media of a call that is not answered: offer and answer are complete, and the peer
    /// serves it.
    pub(crate) fn takes_early_offers(&self, id: DialogId) -> bool {
        self.sessions.get(&id).is_some_and(Session::takes_early_offers)
    }

    /// Puts the peer of a call on hold, or takes it back: at once if it is answered or takes early offers, else once it is
    /// answered.
    pub(crate) fn hold(&mut self, id: DialogId, holds: bool, now: Now) {
        self.with(id, now, |session, shared| session.hold(holds, shared, now));
    }

    /// Asks the peer of an answered call to call `to` instead. Whether that is possible.
    pub(crate) fn refer(&mut self, id: DialogId, to: &str, now: Now) -> bool {
        let mut is_sent = false;
        self.with(id, now, |session, shared| is_sent = session.refer(to, shared, now));
        is_sent
    }

    /// The Refer-To that has a peer take the place of our side in the answered call `id`: the URI of its peer, with the
    /// Replaces that names the dialog from there (RFC 3891 §6).
    pub(crate) fn refer_to_peer_of(&self, id: DialogId) -> Option<String> {
        match &self.sessions.get(&id)?.state {
            State::Confirmed(it) => Some(it.dialog.as_refer_to()),
            State::Incoming(_) | State::Calling(_) | State::Ended(_) => None,
        }
    }

    /// Where the peer of an answered call is.
    pub(crate) fn source_of(&self, id: DialogId) -> Option<IpAddr> {
        match &self.sessions.get(&id)?.state {
            State::Confirmed(it) => Some(it.dialog.flow.remote.ip()),
            State::Incoming(_) | State::Calling(_) | State::Ended(_) => None,
        }
    }

    /// How a peer reaches us over `flow`: the URI of our Contact.
    pub(crate) fn contact_uri(&self, flow: Flow) -> String {
        self.shared.transactions.transport().contact_uri(flow)
    }

    /// The answered session that `replaces` names.
    pub(crate) fn named_by(&self, replaces: &Replaces) -> Option<DialogId> {
        let session = self.by_local_tag.get(&*replaces.to_tag).and_then(|it| self.sessions.get(it))?;
        let State::Confirmed(it) = &session.state else {
            return None;
        };
        let is_named = *it.dialog.call_id == *replaces.call_id && *it.dialog.remote_tag == *replaces.from_tag;
        (is_named && it.hangs_up.is_none()).then_some(session.id)
    }

    /// Decides about the transfer that a peer asks for.
    pub(crate) fn decide_transfer(&mut self, id: DialogId, decision: Result<(), Refusal>, now: Now) {
        self.with(id, now, |session, shared| session.decide_transfer(decision, shared, now));
    }

    /// Tells a peer how the transfer goes that it asked for.
    pub(crate) fn report_transfer(&mut self, id: DialogId, status: StatusCode, now: Now) {
        self.with(id, now, |session, shared| session.report_transfer(status, shared, now));
    }

    /// Tells the peer of an answered call of a key that is pressed on our side.
    pub(crate) fn press(&mut self, id: DialogId, digit: Digit, now: Now) {
        self.with(id, now, |session, shared| session.press(digit, shared, now));
    }

    /// What our media sessions can do for the peer of a call.
    pub(crate) fn capabilities(&self, id: DialogId) -> &Capabilities {
        self.shared.capabilities(self.shared.peers.of_session(id))
    }

    /// Tells the peer of a call that our media session has moved, as soon as it can be told.
    pub(crate) fn move_media(&mut self, id: DialogId, local: SocketAddr, now: Now) {
        self.with(id, now, |session, shared| session.move_media(local, shared, now));
    }

    /// Ends a call as its state demands: CANCEL or BYE with `cause`, or for one that came in and is not answered, `refusal`.
    pub(crate) fn hang_up(&mut self, id: DialogId, refusal: &Refusal, cause: EndCause, now: Now) -> HangUp {
        let mut outcome = HangUp::Done;
        self.with(id, now, |session, shared| match &mut session.state {
            State::Incoming(_) => {
                session.is_end_told = true;
                session.reject(refusal, shared, now);
            }
            State::Calling(_) => {
                outcome = HangUp::Pending;
                session.cancel(&cause.reason_told(refusal), shared, now);
            }
            State::Confirmed(confirmed) => {
                session.is_end_told = true;
                if confirmed.unacknowledged.is_some() {
                    confirmed.hangs_up = Some(cause);
                    confirmed.timer = None;
                } else {
                    session.send_bye_because(&cause.reason_told(refusal), shared, now);
                }
            }
            State::Ended(_) => (),
        });
        outcome
    }

    /// The counters of the stack.
    pub(crate) const fn stats(&self) -> &Stats {
        self.shared.transactions.transport().stats()
    }

    /// The counters of the stack, to count in.
    pub(crate) fn drop_counted(&mut self, reason: Dropped) {
        self.shared.drop(reason);
    }

    /// Sessions that are not over, and those that only wait out their timers; 2xx that wait for their ACK; transactions
    /// held; streams held.
    pub(crate) fn counts(&self) -> [usize; 5] {
        let transactions = &self.shared.transactions;
        let live = self.sessions.len() - self.ended;
        let streams = transactions.transport().streams();
        [live, self.ended, self.shared.unacknowledged, transactions.len(), streams]
    }

    /// The next thing for the sockets, or `None` once drained.
    pub(crate) fn poll_wire(&mut self) -> Option<Wire> {
        self.shared.transactions.poll_wire()
    }

    /// The next thing to know, or `None` once drained.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// The next thing to know of servers, or `None` once drained.
    pub(crate) fn poll_server_event(&mut self) -> Option<ServerEvent> {
        self.shared.server_events.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and what asks for it.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let session = self.deadlines.next().map(|it| (it, "an ACK, PRACK, CANCEL, re-INVITE or refresh"));
        session.into_iter().chain(self.shared.transactions.poll_timeout()).min_by_key(|(at, _)| *at)
    }

    fn fresh_id(&mut self) -> DialogId {
        self.next_id += 1;
        DialogId(self.next_id)
    }

    /// Does something to a session, then drains what is below and drops the session if it is done.
    fn with(&mut self, id: DialogId, now: Now, act: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            act(session, &mut self.shared);
            session.note_end(now);
        }
        self.settle(id);
        self.drain(now);
    }

    /// Moves the deadline of a session, and drops it if it is done.
    fn settle(&mut self, id: DialogId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        self.deadlines.set(id, session.poll_timeout());
        // Whoever stops the program waits for the answers to BYEs, and for nothing that comes after them.
        let is_over = matches!(session.state, State::Ended(_)) && !self.shared.is_waiting(id);
        if is_over && !std::mem::replace(&mut session.is_counted_out, true) {
            self.ended += 1;
        }
        if !session.is_done(&self.shared) {
            return;
        }
        if let Some(session) = self.sessions.remove(&id) {
            self.ended -= usize::from(session.is_counted_out);
            self.forget(session);
        }
    }

    fn forget(&mut self, mut session: Session) {
        self.deadlines.set(session.id, None);
        self.shared.forget_session(session.id);
        if let Some(server) = session.server {
            self.by_server.remove(&server);
        }
        self.by_local_tag.remove(&session.local_tag);
        if let Some(dialog) = session.dialog_mut() {
            let caller = (dialog.call_id.clone(), dialog.remote_tag.clone());
            if self.by_caller.get(&caller) == Some(&session.id) {
                self.by_caller.remove(&caller);
            }
        }
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.shared.transactions.poll_output() {
            match output {
                transaction::Output::Request { id, flow, request } => self.handle_request(id, flow, &request, now),
                transaction::Output::Ack { request } => self.handle_ack(&request, now),
                transaction::Output::Cancel { id, request, invite } => self.handle_cancel(id, &request, invite, now),
                transaction::Output::Response { id, response } => self.handle_response(id, &response, now),
                transaction::Output::Timeout { id } => self.handle_no_response(id, now),
                transaction::Output::InviteEnded { id } => self.handle_invite_ended(id, now),
            }
        }
    }

    /// Answers a request that makes no dialog.
    pub(crate) fn respond(&mut self, id: TransactionId, request: &Request, reply: ResponseBuilder, now: Now) {
        let tag = self.shared.transactions.tokens().tag();
        self.shared.respond(id, reply.to_tag(request, &tag), now);
    }

    /// Refuses a request that makes no dialog.
    pub(crate) fn refuse(&mut self, id: TransactionId, request: &Request, refusal: &Refusal, now: Now) {
        self.shared.refuse(id, request, refusal, None, now);
    }

    fn handle_request(&mut self, id: TransactionId, flow: Flow, request: &Request, now: Now) {
        if *request.method() == Method::Register && self.shared.config.registers {
            self.shared.tell(Event::Registering { id, flow, request: request.clone() });
            return;
        }
        let body = match inspection::inspect(request, self.shared.supported()) {
            Ok(body) => body,
            Err(refusal) => {
                self.shared.refuse(id, request, &refusal, None, now);
                return;
            }
        };
        if request.headers().to().tag().is_some() {
            match self.find(request) {
                Some(dialog) => {
                    self.with(dialog, now, |session, shared| {
                        session.handle_request(id, flow, request, body, shared, now);
                    });
                }
                None => self.shared.refuse_and_forget(id, request, &Refusal::DoesNotExist, now),
            }
            return;
        }
        let outcome = if *request.method() == Method::Invite {
            self.handle_invite(id, flow, request, body)
        } else if *request.method() == Method::Options {
            let tag = self.shared.transactions.tokens().tag();
            self.shared.respond(id, options_reply(request, &tag, self.shared.supported()), now);
            Ok(())
        } else {
            // BYE, INFO and UPDATE only mean something within a dialog (§15.1.2).
            Err(Refusal::DoesNotExist)
        };
        if let Err(refusal) = outcome {
            self.shared.refuse(id, request, &refusal, None, now);
        }
    }

    /// An INVITE that begins a session.
    fn handle_invite(
        &mut self,
        server: TransactionId,
        flow: Flow,
        request: &Request,
        body: Body,
    ) -> Result<(), Refusal> {
        let config = &self.shared.config;
        let is_full = if self.sessions.len() >= config.dialogs_max {
            Some(Dropped::TooManyDialogs)
        } else if self.shared.unacknowledged >= config.unacknowledged_max {
            Some(Dropped::TooManyUnacknowledged)
        } else {
            None
        };
        if let Some(reason) = is_full {
            let retry_after_s = config.retry_after_s;
            self.shared.drop(reason);
            return Err(Refusal::Unavailable { retry_after_s });
        }
        let headers = request.headers();
        let caller = (headers.call_id().into(), headers.from().tag().unwrap_or_default().into());
        if self.by_caller.contains_key(&caller) {
            self.shared.drop(Dropped::Merged);
            return Err(Refusal::LoopDetected);
        }
        let replaces = self.replaced_by(request)?;
        let id = self.fresh_id();
        let session = Session::from_invite(id, server, flow, request.clone(), body, replaces, &mut self.shared)?;
        self.by_local_tag.insert(session.local_tag.clone(), id);
        self.by_caller.insert(caller, id);
        self.sessions.insert(id, session);
        self.by_server.insert(server, id);
        Ok(())
    }

    /// The session that an INVITE is to take the place of (RFC 3891 §3). Only answered ones can be replaced.
    fn replaced_by(&self, request: &Request) -> Result<Option<DialogId>, Refusal> {
        let mut fields = request.headers().all(&HeaderName::Replaces);
        let Some(field) = fields.next() else {
            return Ok(None);
        };
        if !self.shared.config.takes_replaces {
            return Err(Refusal::Forbidden);
        }
        let wanted = Replaces::parse(field).filter(|_| fields.next().is_none());
        let wanted = wanted.ok_or(Refusal::BadRequest("Exactly One Replaces"))?;
        let session = self.by_local_tag.get(&*wanted.to_tag).and_then(|it| self.sessions.get(it));
        let session = session.ok_or(Refusal::DoesNotExist)?;
        let (dialog, is_over) = match &session.state {
            State::Confirmed(it) => (&it.dialog, it.hangs_up.is_some()),
            State::Ended(Some(it)) => (&**it, true),
            State::Incoming(_) | State::Calling(_) | State::Ended(None) => return Err(Refusal::DoesNotExist),
        };
        match () {
            () if *dialog.call_id != *wanted.call_id || *dialog.remote_tag != *wanted.from_tag => {
                Err(Refusal::DoesNotExist)
            }
            () if is_over => Err(Refusal::Declined),
            () if wanted.early_only => Err(Refusal::Busy),
            () => Ok(Some(session.id)),
        }
    }

    /// The session that a request of the peer is within, if its tags and Call-ID match.
    fn find(&mut self, request: &Request) -> Option<DialogId> {
        let id = *self.by_local_tag.get(request.headers().to().tag()?)?;
        self.sessions.get_mut(&id)?.is_of(request).then_some(id)
    }

    fn handle_ack(&mut self, request: &Request, now: Now) {
        match self.find(request) {
            Some(id) => self.with(id, now, |session, shared| session.handle_ack(request, shared, now)),
            None => self.shared.drop(Dropped::StrayAck),
        }
    }

    fn handle_cancel(&mut self, id: TransactionId, request: &Request, invite: Option<TransactionId>, now: Now) {
        let Some(invite) = invite else {
            self.shared.refuse(id, request, &Refusal::DoesNotExist, None, now);
            return;
        };
        let session = self.by_server.get(&invite).copied();
        // The To tag is that of the response to the INVITE (§9.2).
        let tag = session.and_then(|it| self.sessions.get(&it)).map(|it| it.local_tag.to_string());
        let tag = tag.unwrap_or_else(|| self.shared.transactions.tokens().tag());
        let reply = Response::reply(request, StatusCode::OK).to_tag(request, &tag);
        self.shared.respond(id, reply, now);
        if let Some(session) = session.filter(|_| self.shared.transactions.is_proceeding(invite)) {
            let reason = Reason::of(request.headers());
            self.with(session, now, |session, shared| session.handle_cancel(reason, shared, now));
        }
    }

    fn handle_response(&mut self, id: TransactionId, response: &Response, now: Now) {
        let Some((dialog, purpose)) = self.shared.client(id) else {
            self.handle_standalone_response(id, response);
            return;
        };
        self.with(dialog, now, |session, shared| {
            let is_sent_again = session.answer_challenge(id, purpose, response, shared, now);
            if !purpose.is_invite() && response.status().is_final() {
                shared.forget_client(id);
            }
            if !is_sent_again {
                session.handle_response(id, purpose, response, shared, now);
            }
            session.pursue(shared, now);
        });
    }

    fn handle_no_response(&mut self, id: TransactionId, now: Now) {
        let Some((dialog, purpose)) = self.shared.client(id) else {
            self.handle_no_standalone_response(id);
            return;
        };
        if !purpose.is_invite() {
            self.shared.forget_client(id);
        }
        self.with(dialog, now, |session, shared| {
            session.handle_no_response(id, purpose, shared, now);
            session.pursue(shared, now);
        });
    }

    fn handle_invite_ended(&mut self, id: TransactionId, now: Now) {
        let Some((dialog, _)) = self.shared.client(id) else {
            return;
        };
        self.with(dialog, now, |session, shared| {
            shared.forget_client(id);
            session.invites.retain(|it| it.id != id);
        });
    }
}

/// The answer to OPTIONS (RFC 3261 §11.2). It says that we live, also while new calls are refused.
fn options_reply(request: &Request, tag: &str, supported: &str) -> ResponseBuilder {
    Response::reply(request, StatusCode::OK)
        .to_tag(request, tag)
        .header(HeaderName::Allow, ALLOW)
        .header(HeaderName::Accept, inspection::SDP)
        .header(HeaderName::AcceptEncoding, "identity")
        .header(HeaderName::AcceptLanguage, "en")
        .header(HeaderName::Supported, supported)
}
