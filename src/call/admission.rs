//! As whose a call counts that comes in: a trunk's, by its address, its certificate, its registration or its password; a
//! user's, by a password; or a stranger's. Nothing else that a message says counts.
//!
//! Where several trunks are known alike, the port that a call comes from decides, then the password that it shows, then the
//! number that it calls, if that is our name at one of them; else the first of them.
//!
//! A stranger is told the same whatever is asked for: neither that there are trunks, nor how they are known.

use super::Calls;
use crate::identity::{AccountId, Secret};
use crate::route::{self, Admission, Caller, Target, TrunkName};
use crate::sip::{HeaderName, Request};
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
        let caller = self.caller_on(flow, request, now);
        let is_listener = |it: &&(Listener, Admission)| it.0.kind == flow.kind && it.0.local == flow.local;
        let closed = Admission::default();
        let listener = self.config.listeners.iter().find(is_listener);
        let admission = listener.map_or(&closed, |(_, it)| it);
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
    fn caller_on(&mut self, flow: Flow, request: &Request, now: Now) -> Caller {
        let identity = self.dialogs.identity(flow);
        let mut known = identity.map_or_else(Vec::new, |it| self.trunks.admitting(|trunk| trunk.admits(it)));
        if known.is_empty() {
            if let Some(trunk) = self.registered_on(flow) {
                return Caller::Trunk(trunk.clone());
            }
            let there = self.config.routes.trunks_of(flow.remote.ip());
            known = there.filter_map(|it| self.trunks.index_of(it)).collect();
        }
        match self.one_of(known, flow, request, now) {
            Some(trunk) => Caller::Trunk(trunk),
            None => self.config.routes.caller(flow.remote.ip()),
        }
    }

    /// Which of these trunks calls.
    fn one_of(&mut self, known: Vec<usize>, flow: Flow, request: &Request, now: Now) -> Option<TrunkName> {
        let there = if known.len() > 1 { self.dialogs.peers_listening(known, flow, request) } else { known };
        let shows = there.len() > 1 && request.headers().contains(&HeaderName::Authorization);
        if shows && let Some(users) = &mut self.users {
            // Who shows nothing of use is known by its address all the same.
            let shown = users.check(request, flow.remote.ip(), now).ok();
            let shown = shown.and_then(|it| self.trunks.with_account(it.who.account(), it.who.user()));
            if let Some(name) = shown.filter(|it| self.trunks.index_of(it).is_some_and(|it| there.contains(&it))) {
                return Some(name.clone());
            }
        }
        let one = self.dialogs.nearest_peer(there, flow, request)?;
        self.trunks.name_of(one).cloned()
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
