//! Challenged requests of sessions are sent again with credentials (RFC 3261 §22.2, §22.3), those that follow have them at
//! once.

use std::collections::BTreeMap;

use super::session::{OwnInvite, Session, State};
use super::shared::{Purpose, Shared};
use super::state::Dialog;
use super::{DialogId, Dialogs};
use crate::auth::{DigestAccount, DigestClient, Exchange, Protected};
use crate::sip::{HeaderName, Request, Response, StatusCode};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;

/// Who shows what, and which requests may have to be sent again. Bounded by the sessions and their transactions.
#[derive(Default)]
pub(super) struct OwnCredentials {
    clients: BTreeMap<DialogId, DigestClient>,
    open: BTreeMap<TransactionId, Open>,
}

/// A request that may be challenged.
struct Open {
    request: Request,
    flow: Flow,
    exchange: Exchange,
}

impl OwnCredentials {
    /// Adds the credentials that are known to be wanted.
    pub(super) fn authorize(&mut self, dialog: DialogId, request: Request) -> (Request, Exchange) {
        let mut exchange = Exchange::default();
        let Some(client) = self.clients.get_mut(&dialog) else {
            return (request, exchange);
        };
        let fields = client.authorize(&mut exchange, protected(&request));
        if fields.is_empty() {
            return (request, exchange);
        }
        // A request that grows too large for it goes out as it is, and is refused.
        let request = with(&request, fields, None).unwrap_or(request);
        (request, exchange)
    }

    /// Remembers a request that went out.
    pub(super) fn note(&mut self, dialog: DialogId, id: TransactionId, flow: Flow, sent: &Request, exchange: Exchange) {
        if self.clients.contains_key(&dialog) {
            self.open.insert(id, Open { request: sent.clone(), flow, exchange });
        }
    }

    /// A request was accepted: the next one takes the nonce that the peer wants. A peer that claims wrongly to know the
    /// password has answered the call all the same.
    fn note_accepted(&mut self, dialog: DialogId, id: TransactionId, response: &Response) {
        if let Some((client, open)) = self.clients.get_mut(&dialog).zip(self.open.get(&id)) {
            client.handle_accepted(response, open.request.uri_str());
        }
    }

    /// The transaction needs no more attention.
    pub(super) fn forget(&mut self, id: TransactionId) {
        self.open.remove(&id);
    }

    /// The session is over.
    pub(super) fn forget_session(&mut self, dialog: DialogId) {
        self.clients.remove(&dialog);
    }
}

impl Dialogs {
    /// Requests of a session may show these credentials.
    pub(crate) fn use_account(&mut self, id: DialogId, account: DigestAccount) {
        if self.sessions.contains_key(&id) {
            self.shared.use_account(id, account);
        }
    }
}

impl Shared {
    /// Requests of this session may show these credentials.
    pub(super) fn use_account(&mut self, dialog: DialogId, account: DigestAccount) {
        let rng = self.transactions.tokens().generator();
        self.credentials.clients.insert(dialog, DigestClient::new(account, rng));
    }
}

impl Session {
    /// Answers a 401 or 407 by the same request with credentials and the next number. Whether it was sent.
    pub(super) fn answer_challenge(
        &mut self,
        id: TransactionId,
        purpose: Purpose,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) -> bool {
        if response.status().is_success() {
            shared.credentials.note_accepted(self.id, id, response);
        }
        self.try_answer_challenge(id, purpose, response, shared, now).is_some()
    }

    fn try_answer_challenge(
        &mut self,
        id: TransactionId,
        purpose: Purpose,
        response: &Response,
        shared: &mut Shared,
        now: Now,
    ) -> Option<()> {
        if !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
            return None;
        }
        // A call that is given up does not begin again, nor does one that has ended, but for its BYE.
        let may_go_on = match &self.state {
            State::Calling(_) if matches!(purpose, Purpose::Prack | Purpose::Update) => true,
            State::Calling(it) => purpose == Purpose::Invite && it.waits_for(id) && !it.is_cancelled(),
            State::Confirmed(_) | State::Incoming(_) => true,
            State::Ended(_) => purpose == Purpose::Bye,
        };
        let client = shared.credentials.clients.get_mut(&self.id).filter(|_| may_go_on)?;
        let Open { request, flow, mut exchange } = shared.credentials.open.remove(&id)?;
        let fields = client.handle_challenge(&mut exchange, response, protected(&request)).ok()?;
        let number = match self.dialog_of(&request) {
            Some(dialog) => dialog.next_cseq(),
            None => request.headers().cseq().number.checked_add(1)?,
        };
        let via = shared.transactions.next_via(flow);
        let request = with(&request, fields, Some((number, &via)))?;
        let again = shared.send(self.id, purpose, flow, &request, exchange, now)?;
        match &mut self.state {
            State::Calling(it) if purpose == Purpose::Invite => it.sent_again(again),
            State::Calling(it) => it.reinvite.sent_again(id, again),
            State::Confirmed(it) => {
                it.reinvite.sent_again(id, again);
                if let Some(asking) = &mut it.asking {
                    asking.sent_again(id, again, number);
                }
                if let Some(asked) = &mut it.asked {
                    asked.sent_again(id, again);
                }
            }
            State::Incoming(it) => it.reinvite.sent_again(id, again),
            State::Ended(_) => (),
        }
        if purpose.is_invite() {
            self.invites.push(OwnInvite { id: again, flow, request, acks: smallvec::SmallVec::new() });
        }
        Some(())
    }
}

impl Session {
    /// The dialog that a request of ours is within.
    fn dialog_of(&mut self, request: &Request) -> Option<&mut Dialog> {
        if matches!(self.state, State::Calling(_)) {
            let tag = request.headers().to().tag()?;
            return self.early.iter_mut().map(|it| &mut it.dialog).find(|it| &*it.remote_tag == tag);
        }
        self.dialog_mut()
    }
}

fn protected(request: &Request) -> Protected<'_> {
    Protected { method: request.method().as_str(), uri: request.uri_str(), body: request.body() }
}

/// The request with these credentials and no others, and if it is sent again, with a number and Via of its own.
fn with(request: &Request, fields: Vec<(HeaderName, String)>, again: Option<(u32, &str)>) -> Option<Request> {
    let mut editor = request.edit().remove(&HeaderName::Authorization).remove(&HeaderName::ProxyAuthorization);
    if let Some((number, via)) = again {
        let cseq = format!("{number} {}", request.method());
        editor = editor.set(HeaderName::Via, via).set(HeaderName::CSeq, cseq);
    }
    for (name, value) in fields {
        editor = editor.append(name, value);
    }
    editor.build().ok()
}
