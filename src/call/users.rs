//! Users: telephones and PBXs that show to know a password, to register (RFC 3261 §10.3) or to call (§22.2). Requests
//! within dialogs are never challenged: who is in one has been let in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rand_chacha::ChaCha12Rng;

use super::{Calls, Output};
use crate::auth::{DigestServer, DigestServerConfig, DigestServerStats, Granted, NotQuotable, Side, Verdict};
use crate::identity::{AccountId, Secret};
use crate::registrar::{Registrar, RegistrarConfig};
use crate::route::Caller;
use crate::sip::{HeaderName, Request};
use crate::timer::Now;
use crate::transaction::TransactionId;
use crate::transport::Flow;
use crate::transport::refusal::Refusal;

/// Who may register, and call through listeners that ask for it.
#[derive(Clone, Debug)]
pub struct UsersConfig {
    /// What is asked for.
    pub digest: DigestServerConfig,
    /// How registrations are kept.
    pub registrar: RegistrarConfig,
    /// Account, name and password of each.
    pub users: Vec<(AccountId, String, Secret)>,
    /// As whom each may call out of the house: the first unless it names another one of them.
    pub caller_ids: BTreeMap<(AccountId, String), Vec<String>>,
    /// Those who are no browsers, although they have registered over a websocket.
    pub plain_media: BTreeSet<(AccountId, String)>,
}

/// The users and where they are.
pub(super) struct Users {
    digest: DigestServer,
    pub(super) registrar: Registrar,
    caller_ids: BTreeMap<(AccountId, String), Vec<String>>,
    plain_media: BTreeSet<(AccountId, String)>,
}

impl Users {
    pub(super) fn new(config: UsersConfig, rng: &mut ChaCha12Rng, now: Now) -> Result<Self, NotQuotable> {
        let UsersConfig { digest, registrar, users, caller_ids, plain_media } = config;
        let mut digest = DigestServer::new(digest, rng, now)?;
        for (account, name, password) in users {
            digest.insert_user(account, &name, &password)?;
        }
        Ok(Self { digest, registrar: Registrar::new(registrar), caller_ids, plain_media })
    }

    pub(super) const fn stats(&self) -> &DigestServerStats {
        self.digest.stats()
    }

    /// As whom `caller` may call out of the house.
    pub(super) fn caller_ids(&self, caller: &Caller) -> &[String] {
        match caller {
            Caller::User(account, name) => {
                self.caller_ids.get(&(account.clone(), name.clone())).map_or(&[], Vec::as_slice)
            }
            Caller::Known | Caller::Trunk(_) | Caller::Stranger => &[],
        }
    }

    /// Whether `called` is a browser, if it is at the other end of a websocket.
    pub(super) fn may_be_browser(&self, called: &Caller) -> bool {
        match called {
            Caller::User(account, name) => !self.plain_media.contains(&(account.clone(), name.clone())),
            Caller::Known | Caller::Trunk(_) | Caller::Stranger => true,
        }
    }

    /// Who sent `request`, or how it is refused.
    pub(super) fn check(&mut self, request: &Request, source: IpAddr, now: Now) -> Result<Box<Granted>, Refusal> {
        match self.digest.check(request, Side::Server, source, now) {
            Verdict::Granted(granted) => Ok(granted),
            Verdict::Challenged(fields) => Err(Refusal::Unauthenticated(fields)),
            Verdict::Blocked => Err(Refusal::Forbidden),
        }
    }
}

impl Calls {
    /// Somebody registers, or asks who is registered.
    pub(super) fn handle_registering(&mut self, id: TransactionId, flow: Flow, request: &Request, now: Now) {
        let Some(users) = &mut self.users else {
            self.dialogs.refuse(id, request, &Refusal::MethodNotAllowed, now);
            return;
        };
        match users.check(request, flow.remote.ip(), now) {
            Ok(granted) => {
                let mut reply = users.registrar.handle_register(&granted.who, request, flow, now);
                if users.digest.informs() {
                    reply = reply.header(HeaderName::AuthenticationInfo, granted.authentication_info(b""));
                }
                if users.registrar.is_kept_alive(flow) {
                    self.dialogs.expect_keep_alives(flow, now);
                }
                self.dialogs.note_known(flow.remote.ip(), now);
                self.dialogs.respond(id, request, reply, now);
            }
            Err(refusal) => self.dialogs.refuse(id, request, &refusal, now),
        }
        self.tell_registrations();
    }

    /// What the registrar has to tell.
    pub(super) fn tell_registrations(&mut self) {
        while let Some(event) = self.users.as_mut().and_then(|it| it.registrar.poll_event()) {
            self.tell(Output::Registration(event));
        }
    }
}
