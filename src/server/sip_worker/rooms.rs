//! Calls that are for a room: their media is opened where the room is, and their actors are told who they are.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::SipWorker;
use crate::call::{HangUpCause, Order};
use crate::identity::{CallId, LegId, Pii};
use crate::route::{Caller, RoomName};
use crate::server::media_worker::{RoomKey, RoomOrder};
use crate::server::new_call::Party;
use crate::timer::Now;

/// The rooms of calls.
#[derive(Debug, Default)]
pub(super) struct RoomCalls(BTreeMap<CallId, RoomKey>);

impl RoomCalls {
    /// That of a call.
    pub(super) fn of(&self, call: CallId) -> Option<RoomKey> {
        self.0.get(&call).copied()
    }

    /// The call is over.
    pub(super) fn remove(&mut self, call: CallId) {
        self.0.remove(&call);
    }
}

impl SipWorker {
    /// Somebody calls a room: its actor is started when its media is there.
    pub(super) fn note_room(
        &mut self,
        leg: LegId,
        room: RoomName,
        caller: &Caller,
        from: Pii<String>,
        to: Pii<String>,
    ) {
        self.rooms.0.insert(leg.call, RoomKey::of(&room.0));
        let user = match caller {
            Caller::User(_, name) => Some(name.clone()),
            Caller::Stranger | Caller::Known | Caller::Trunk(_) => None,
        };
        self.placed.insert(leg.call, Party { room: Some(room), user, from, to, ..Party::default() });
    }

    /// Calls somebody who is to be in a room.
    pub(super) fn invite(&mut self, order: Order, room: RoomName, reply: oneshot::Sender<CallId>, now: Now) {
        let to = Pii::new(order.to.to_string());
        let call = self.calls.order(order, now);
        self.rooms.0.insert(call, RoomKey::of(&room.0));
        self.placed.insert(call, Party { room: Some(room), to, is_placed: true, ..Party::default() });
        if reply.send(call).is_err() {
            // Whoever asked has gone.
            self.calls.hang_up(call, HangUpCause::Done, now);
        }
    }

    /// A tap that no leg takes is dropped, which finishes its recording.
    pub(super) fn order_room(&mut self, call: CallId, order: RoomOrder) {
        let (first, last) = (LegId { call, index: 0 }, LegId { call, index: u8::MAX });
        if let Some(leg) = self.legs.range(first..=last).next().map(|(leg, _)| *leg) {
            self.order_media(leg, |it| it.room(order));
        }
    }
}
