//! Requests outside of dialogs: REGISTER and OPTIONS of ours (RFC 3261 §8.1, §10.2, §11.1).

use super::{Dialogs, ServerEvent};
use crate::sip::{Request, Response};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;

impl Dialogs {
    /// The top Via of a request that goes out on `flow`.
    pub(crate) fn next_via(&mut self, flow: Flow) -> String {
        self.shared.transactions.next_via(flow)
    }

    /// Our Contact for peers on the other end of `flow`.
    pub(crate) fn contact_of(&self, flow: Flow) -> String {
        self.shared.transactions.transport().contact_uri(flow)
    }

    /// A From tag and a Call-ID for a request that begins something.
    pub(crate) fn fresh_names(&mut self) -> (String, String) {
        let tokens = self.shared.transactions.tokens();
        (tokens.tag(), tokens.call_id())
    }

    /// Sends a request that is none of a session, with a Via from [`Self::next_via`]. A [`ServerEvent::Response`] tells its
    /// outcome. `None` if there is no room for it.
    pub(crate) fn send_alone(&mut self, flow: Flow, request: Request, now: Now) -> Option<TransactionId> {
        let id = self.shared.transactions.request(flow, request, now).ok()?;
        self.shared.standalone.insert(id);
        self.drain(now);
        Some(id)
    }

    /// Gives up on a request of [`Self::send_alone`]: nothing is told of it any more.
    pub(crate) fn abandon_alone(&mut self, id: TransactionId) {
        if self.shared.standalone.remove(&id) {
            self.shared.transactions.abandon(id);
        }
    }

    pub(super) fn handle_standalone_response(&mut self, id: TransactionId, response: &Response) {
        if response.status().is_final() && self.shared.standalone.remove(&id) {
            self.shared.server_events.push_back(ServerEvent::Response { id, response: Some(response.clone()) });
        }
    }

    pub(super) fn handle_no_standalone_response(&mut self, id: TransactionId) {
        if self.shared.standalone.remove(&id) {
            self.shared.server_events.push_back(ServerEvent::Response { id, response: None });
        }
    }
}
