//! Requests whose connection is lost before anything came for them (RFC 3261 §18.4). A peer that closes an idle connection
//! may do so at the very moment at which a request is written to it, and then has not read it.
//!
//! Such a request goes out again, once and as the same transaction, so that a peer that has read it after all takes it for a
//! copy: over a new connection to the same server if we had opened the one that is lost, else, within a dialog, to the
//! address that its route or target names. Requests to telephones that connected to us have nowhere else to go.

use std::net::SocketAddr;

use super::{Machine, TransactionId, Transactions};
use crate::sip::{NameAddr, Request, Uri};
use crate::timer::Now;
use crate::transport::Flow;

/// Where a request goes if its connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// To the same server, if the connection was ours.
    SameServer,
    /// To this address, if the connection was not ours.
    To(SocketAddr),
    /// Nowhere: it has been sent again already.
    Never,
}

impl Again {
    /// For a request that goes out on `flow`.
    pub(super) fn of(request: &Request, flow: Flow) -> Self {
        let is_within_dialog = request.headers().to().tag().is_some();
        if !is_within_dialog || !flow.kind.is_stream() {
            return Self::SameServer;
        }
        let route = request.headers().routes().unwrap_or_default();
        let uri = route.first().map_or_else(|| request.uri(), NameAddr::uri);
        address_of(uri, flow).map_or(Self::SameServer, Self::To)
    }
}

impl Transactions {
    /// Sends the request `id`, whose connection is lost, again, if it may. Whether it did.
    pub(super) fn send_again(&mut self, id: TransactionId, was_ours: bool, now: Now) -> bool {
        let Some(transaction) = self.machines.get_mut(&id) else { return false };
        let again = std::mem::replace(&mut transaction.again, Again::Never);
        let (unanswered, on) = match &mut transaction.machine {
            Machine::ClientInvite { machine, flow, .. } => (machine.unanswered(), flow),
            Machine::ClientNonInvite { machine, flow, .. } => (machine.unanswered(), flow),
            Machine::ServerInvite { .. } | Machine::ServerNonInvite { .. } => return false,
        };
        let before = *on;
        let to = match again {
            Again::SameServer | Again::To(_) if was_ours => before,
            Again::To(remote) => Flow { remote, ..before },
            Again::SameServer | Again::Never => return false,
        };
        let Some(request) = unanswered.filter(|_| to.kind.is_stream()) else { return false };
        *on = to;
        let method = transaction.method.clone();
        self.clients_by_flow.remove(&(before, id));
        self.clients_by_flow.insert((to, id));
        self.transport.send_request(to, request, &method, now);
        true
    }
}

fn address_of(uri: &Uri, flow: Flow) -> Option<SocketAddr> {
    let ip = uri.host()?.ip()?;
    Some(SocketAddr::new(ip, uri.port().unwrap_or_else(|| flow.kind.default_port())))
}
