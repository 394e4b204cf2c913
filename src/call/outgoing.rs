//! A leg that goes out, for whoever places a call and for another leg.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::elsewhere::Placed;
use super::leg::{Leg, State};
use super::party::{Party, user_of};
use super::{Call, Calls, Direction, End, EndCause, Event, Initiator, Outbound, Output};
use crate::codec::AudioCodec;
use crate::dialog::invite::uac::Invitation;
use crate::identity::{CallId, LegId, Pii};
use crate::limits::{MEDIA_OPEN_MS_MAX, RING_MS_MAX};
use crate::route::{AgentName, TrunkName};
use crate::sip::{HeaderName, NameAddr, Uri};
use crate::timer::Now;
use crate::transaction::MAX_FORWARDS;

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) outbound: Outbound,
    /// The Request-URI: not the `to` of `outbound` where that is registered elsewhere.
    pub(super) target: Uri,
    /// Proxies on the way (RFC 3327).
    pub(super) path: Vec<NameAddr>,
    pub(super) max_forwards: u8,
    pub(super) prefers: Option<AudioCodec>,
    /// The trunk that it goes over.
    pub(super) trunk: Option<TrunkName>,
}

impl Outgoing {
    /// A call to the address itself.
    pub(super) fn of(outbound: Outbound) -> Self {
        let target = outbound.to.clone();
        Self { outbound, target, path: vec![], max_forwards: MAX_FORWARDS, prefers: None, trunk: None }
    }
}

impl Calls {
    /// Places a call.
    pub(super) fn place_as(&mut self, call: CallId, outgoing: Outgoing, agent: Option<AgentName>, now: Now) {
        let outbound = &outgoing.outbound;
        let leg = LegId { call, index: 0 };
        let offered = Event::Offered {
            direction: Direction::Outbound,
            account: outbound.account.clone(),
            from: Pii::new(outbound.from.to_string()),
            to: Pii::new(outbound.to.to_string()),
            flow: outbound.flow,
            trunk: outgoing.trunk.clone().or_else(|| self.trunk_at(outbound.flow.remote).cloned()),
            agent,
            details: vec![],
        };
        let user = user_of(&outbound.to);
        self.journal(call, offered);
        let is_full = self.is_draining || self.calls.len() >= self.config.limits.calls_max;
        let flow = outgoing.outbound.flow;
        self.calls.insert(call, Call::new(true));
        let mut party = Party::unknown(flow);
        party.user = user;
        let placed = self.follows_redirects().then(|| Box::new(Placed::new(&outgoing)));
        let mut held = prepared(leg, party, outgoing, now);
        (held.placed, held.has_media) = (placed, !is_full);
        self.legs.insert(leg, held);
        if is_full {
            let end = End { cause: EndCause::Overloaded, sip_status: None, initiator: Initiator::Local, reason: None };
            self.finish_leg(leg, end, now);
            return;
        }
        self.open_media(leg, flow.local.ip(), flow.remote.ip());
        self.settle(leg);
    }

    /// One more leg of a call, which goes out when its media session is open; `None` if the call has had too many.
    pub(super) fn add_leg(&mut self, call: CallId, party: Party, outgoing: Outgoing, now: Now) -> Option<LegId> {
        let index = self.calls.get_mut(&call)?.next_leg()?;
        let leg = LegId { call, index };
        let flow = outgoing.outbound.flow;
        let to = Pii::new(outgoing.outbound.to.to_string());
        let mut held = prepared(leg, party, outgoing, now);
        held.is_dialled = true;
        self.legs.insert(leg, held);
        self.journal(call, Event::Dialled { leg: index, to, flow });
        Some(leg)
    }

    pub(super) fn open_media(&mut self, leg: LegId, local_ip: IpAddr, peer: IpAddr) {
        self.tell(Output::OpenMedia { leg, local_ip, peer, remote: None });
        self.settle(leg);
    }

    pub(super) fn send_invite(&mut self, id: LegId, outgoing: Outgoing, local: SocketAddr, now: Now) {
        let Outgoing { outbound, target, path, max_forwards, prefers, trunk } = outgoing;
        let peer = trunk.as_ref().and_then(|it| self.trunks.index_of(it));
        let Outbound { to, from, display_name, flow, other_flows, keeps_transport, mut headers, credentials, .. } =
            outbound;
        let called = self.legs.get(&id).map(|it| &it.party.caller);
        let may_be_browser = |it| self.users.as_ref().is_none_or(|users| users.may_be_browser(it));
        let is_browser = flow.kind.is_websocket() && called.is_none_or(may_be_browser);
        let from = NameAddr::new(display_name.as_deref(), &from.without_headers());
        let (to, target) = (to.without_headers(), target.without_headers());
        headers.extend(path.iter().map(|it| (HeaderName::Route, it.to_string())));
        let dialog = from.ok().and_then(|from| {
            let invitation = Invitation {
                target,
                to,
                from,
                flow,
                other_flows,
                keeps_transport,
                peer,
                local,
                is_browser,
                max_forwards,
                prefers,
                headers,
                account: credentials,
            };
            self.dialogs.invite(invitation, now)
        });
        let (Some(dialog), Some(leg)) = (dialog, self.legs.get_mut(&id)) else {
            let end = End { cause: EndCause::NotSent, sip_status: None, initiator: Initiator::Local, reason: None };
            self.finish_leg(id, end, now);
            return;
        };
        leg.dialog = Some(dialog);
        leg.state = State::Calling { give_up_at: now.instant + Duration::from_millis(RING_MS_MAX) };
        let call_id = self.dialogs.call_id_of_placed(dialog).unwrap_or_default().to_owned();
        self.bind(dialog, id, &call_id);
        self.settle(id);
    }
}

/// A leg that waits for its media session.
fn prepared(leg: LegId, party: Party, outgoing: Outgoing, now: Now) -> Leg {
    let give_up_at = now.instant + Duration::from_millis(MEDIA_OPEN_MS_MAX);
    let over = outgoing.trunk.clone();
    let mut held = Leg::new(leg, party, State::Preparing { outgoing: Box::new(outgoing), give_up_at });
    held.over = over;
    held
}
