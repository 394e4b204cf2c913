//! Those who are called and point elsewhere (RFC 3261 §8.1.3.4): whom that may be, how often, and in which order.
//!
//! Whoever points chooses where a call goes, so nobody is followed unless the configuration says so. A user leads to whom it
//! could call itself. Others lead to addresses, and over no trunk but the one that points: neither its credentials nor the
//! trust of any other trunk in our address are theirs to use. The trunk that points to itself is called as before.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::config::Redirects;
use super::dial::Errand;
use super::leg::Leg;
use super::party::user_of;
use super::{Calls, Event};
use crate::identity::{CallId, LegId, Pii};
use crate::limits::REDIRECTS_MAX;
use crate::locate::Hop;
use crate::route::{Admission, Caller, Destination, Target, TrunkName};
use crate::sip::{Scheme, Uri};
use crate::timer::Now;
use crate::transport::refusal::Refusal;

/// Where a call may go that is redirected.
#[derive(Debug)]
pub(super) struct Following {
    /// As it was at first.
    errand: Errand,
    /// To whom the call has gone: nobody gets it twice.
    tried: Vec<Destination>,
    /// Who is left to try, the preferred ones first.
    left: VecDeque<(Target, Box<Errand>)>,
}

/// Who pointed to whom a call goes.
#[derive(Clone, Debug)]
pub(super) struct Redirected {
    /// The trunk it belongs to.
    pub(super) trunk: Option<TrunkName>,
    /// Where it is.
    ip: IpAddr,
}

impl Following {
    pub(super) fn new(errand: &Errand) -> Self {
        Self { errand: errand.clone(), tried: vec![errand.target.to.clone()], left: VecDeque::new() }
    }

    /// Takes note that `to` is to be tried, unless it was, or enough were.
    fn note(&mut self, to: &Destination) -> bool {
        let is_new = self.tried.len() <= REDIRECTS_MAX && !self.tried.iter().any(|it| is_same(it, to));
        if is_new {
            self.tried.push(to.clone());
        }
        is_new
    }
}

impl Calls {
    /// Whether anybody is followed.
    pub(super) fn follows_redirects(&self) -> bool {
        self.config.redirects == Redirects::Followed || self.trunks.follow_redirects()
    }

    /// Who is called on a leg points to `contacts`, the preferred ones first. Its end will be told.
    pub(super) fn handle_redirected(&mut self, id: LegId, status: u16, contacts: &[Uri]) {
        let Some(leg) = self.legs.get(&id).filter(|it| !it.is_dropped) else {
            return;
        };
        let remote = leg.party.flow.remote;
        let ip = remote.ip();
        let is_user = matches!(leg.party.caller, Caller::User(..));
        let trunk = leg.over.as_ref().or_else(|| self.trunk_at(remote)).filter(|_| !is_user).cloned();
        let policy = trunk.as_ref().map_or(self.config.redirects, |it| self.trunks.redirects_of(it));
        if policy == Redirects::Refused {
            return;
        }
        let account = match &leg.party.caller {
            Caller::User(account, _) => Some(account.clone()),
            Caller::Known | Caller::Trunk(_) | Caller::Stranger => None,
        };
        let targets: Vec<_> = contacts.iter().filter_map(|it| self.pointed_to(leg, trunk.as_ref(), it)).collect();
        let user = leg.party.user.clone();
        if !leg.is_dialled {
            let by = Redirected { trunk, ip };
            self.note_elsewhere(id, by, targets, status);
            return;
        }
        if self.legs.get(&id).is_some_and(|it| it.is_aside) {
            return;
        }
        let following = self.calls.get_mut(&id.call).and_then(|it| it.dialling.as_mut()?.following.as_mut());
        let Some(following) = following else {
            return;
        };
        let mut followed = vec![];
        for (branches, to) in (0_u32..).zip(targets) {
            if !following.note(&to) {
                continue;
            }
            let mut errand = following.errand.clone();
            errand.carried.history.gave_away(user.clone(), status);
            errand.carried.history.note_branches(branches);
            // Users lead to where the configuration lets them, and no further.
            errand.redirected = account.is_none().then(|| Redirected { trunk: trunk.clone(), ip });
            let account = account.clone().unwrap_or_else(|| errand.target.account.clone());
            followed.push(Pii::new(shown(&to)));
            following.left.push_back((Target { account, to }, Box::new(errand)));
        }
        for to in followed {
            self.journal(id.call, Event::Redirected { leg: id.index, to });
        }
    }

    /// Whom `contact` means, if whoever is on `leg` may point there.
    fn pointed_to(&self, leg: &Leg, trunk: Option<&TrunkName>, contact: &Uri) -> Option<Destination> {
        if let Caller::User(..) = &leg.party.caller {
            let user = user_of(contact)?;
            let target = self.config.routes.route(&Admission::default(), &leg.party.caller, &user).ok()?;
            return Some(target.to).filter(|it| !matches!(it, Destination::Agent(_) | Destination::Room(_)));
        }
        match trunk {
            Some(trunk) if contact.scheme() == Scheme::Tel || self.trunks.is_at(trunk, contact) => {
                Some(Destination::Trunk(trunk.clone(), user_of(contact)?))
            }
            Some(_) | None if contact.is_sip() => Some(Destination::Uri(contact.without_headers().detached())),
            Some(_) | None => None,
        }
    }

    /// Nobody else is to be tried.
    pub(super) fn follow_nobody(&mut self, call: CallId) {
        if let Some(dialling) = self.calls.get_mut(&call).and_then(|it| it.dialling.as_mut()) {
            dialling.following = None;
        }
    }

    /// Calls the next one to whom somebody pointed. Whether there is one who can be called.
    pub(super) fn follow_next(&mut self, call: CallId, now: Now) -> bool {
        loop {
            let dialling = self.calls.get_mut(&call).and_then(|it| it.dialling.as_mut());
            let Some((target, errand)) = dialling.and_then(|it| it.following.as_mut()?.left.pop_front()) else {
                return false;
            };
            if self.pursue_errand(call, Errand { target, ..*errand }, now).is_ok() {
                return true;
            }
        }
    }

    /// Refuses servers to which somebody pointed who may not: those of trunks, who trust our address, and those of this very
    /// machine, unless that is where it came from.
    pub(super) fn check_redirected(&self, errand: &Errand, hops: &[Hop]) -> Result<(), Refusal> {
        errand.redirected.as_ref().map_or(Ok(()), |by| self.check_pointed_to(by, hops))
    }

    pub(super) fn check_pointed_to(&self, by: &Redirected, hops: &[Hop]) -> Result<(), Refusal> {
        let is_forbidden = |it: &Hop| {
            let ip = it.remote.ip();
            let is_inside = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
            (is_inside && !by.ip.is_loopback()) || self.is_of_others(ip, by.trunk.as_ref())
        };
        if hops.iter().any(is_forbidden) { Err(Refusal::Forbidden) } else { Ok(()) }
    }
}

pub(super) fn is_same(one: &Destination, two: &Destination) -> bool {
    match (one, two) {
        (Destination::Uri(one), Destination::Uri(two)) => one.equivalent(two),
        _ => one == two,
    }
}

/// As the journal writes it.
pub(super) fn shown(to: &Destination) -> String {
    match to {
        Destination::Agent(it) => it.0.clone(),
        Destination::Room(it) => it.0.clone(),
        Destination::User(it) | Destination::Trunk(_, it) => it.clone(),
        Destination::Uri(it) => it.to_string(),
    }
}
