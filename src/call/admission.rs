//! As whose a call counts that comes in: a trunk's, by its address, its certificate, its registration or its password; a
//! user's, by a password; or a stranger's. Nothing else that a message says counts.
//!
//! A stranger is told the same whatever is asked for: neither that there are trunks, nor how they are known.

use super::Calls;
use crate::identity::{AccountId, Secret};
use crate::route::{self, Admission, Caller, Target, TrunkName};
use crate::sip::Request;
use crate::timer::Now;
use crate::transport::refusal::Refusal;
use crate::transport::{Flow, Listener, PeerIdentity};

/// How calls of a trunk are known as its own. Each way is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkAdmission {
    /// By the addresses of its servers and its sources.
    pub by_address: bool,
    /// By the connection over which it registered with us, or we with it.
    pub by_registration: bool,
    /// By one of these names, which the certificate of the connection shows (RFC 5922 §7.1).
    pub certificate_names: Vec<String>,
    /// By the name and password that it shows when it is asked, where users are asked.
    pub account: Option<(String, Secret)>,
}

impl Default for TrunkAdmission {
    /// By its addresses.
    fn default() -> Self {
        Self { by_address: true, by_registration: false, certificate_names: vec![], account: None }
    }
}

impl TrunkAdmission {
    fn admits(&self, identity: &PeerIdentity) -> bool {
        self.certificate_names.iter().any(|it| identity.is(it))
    }
}

impl Calls {
    /// Who calls, and who answers. Strangers may show that they are none, if the listener lets users call: the error is the
    /// challenge.
    pub(super) fn route(
        &mut self,
        flow: Flow,
        request: &Request,
        now: Now,
    ) -> Result<(Caller, Result<Target, route::Refusal>), Refusal> {
        let is_listener = |it: &&(Listener, Admission)| it.0.kind == flow.kind && it.0.local == flow.local;
        let closed = Admission::default();
        let listener = self.config.listeners.iter().find(is_listener);
        let admission = listener.map_or(&closed, |(_, it)| it);
        let caller = self.caller_on(flow);
        let user = self.trunks.called_user(caller.trunk(), request);
        match (self.config.routes.route(admission, &caller, &user), &mut self.users) {
            (Err(route::Refusal::UnknownSource | route::Refusal::NotAllowed), Some(users)) if admission.users => {
                let who = users.check(request, flow.remote.ip(), now)?.who;
                let caller = match self.trunks.with_account(who.account(), who.user()) {
                    Some(trunk) => Caller::Trunk(trunk.clone()),
                    None => Caller::User(who.account().clone(), who.user().to_owned()),
                };
                let user = self.trunks.called_user(caller.trunk(), request);
                let routed = self.config.routes.route(admission, &caller, &user);
                Ok((caller, routed))
            }
            (routed, _) => Ok((caller, routed)),
        }
    }

    /// Who calls over `flow`, as far as that tells.
    fn caller_on(&self, flow: Flow) -> Caller {
        let identity = self.dialogs.identity(flow);
        let by_certificate = identity.and_then(|it| self.trunks.admitting(|trunk| trunk.admits(it)));
        match by_certificate.or_else(|| self.registered_on(flow)) {
            Some(trunk) => Caller::Trunk(trunk.clone()),
            None => self.config.routes.caller(flow.remote.ip()),
        }
    }

    /// The trunk that registered over this connection, or that we registered with.
    fn registered_on(&self, flow: Flow) -> Option<&TrunkName> {
        if !flow.kind.is_reliable() {
            // Anybody can write anybody's address on a datagram.
            return None;
        }
        let registrar = self.users.as_ref().map(|it| &it.registrar);
        let of_user = |(account, user)| self.trunks.with_account(account, user);
        let theirs = || registrar.into_iter().flat_map(|it| it.users_on(flow)).find_map(of_user);
        let trunk = self.trunks.registered_over(flow).or_else(theirs)?;
        self.trunks.admitting_of(trunk).is_some_and(|it| it.by_registration).then_some(trunk)
    }
}

/// The names and passwords of trunks that are asked for them.
pub(super) fn accounts<'a>(
    trunks: impl Iterator<Item = (&'a AccountId, &'a TrunkAdmission)>,
) -> Vec<(AccountId, String, Secret)> {
    trunks
        .filter_map(|(account, it)| Some((account.clone(), it.account.clone()?)))
        .map(|(account, (user, password))| (account, user, password))
        .collect()
}
