//! `/v1/rooms`: the conference rooms, who is in them, and what is done with them, for whoever has shown a key.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, patch, post};
use axum::{Extension, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Rooms, View};
use crate::identity::{AccountId, CallId, InvalidCallId};
use crate::platform::calls::Event;
use crate::platform::problem::Problem;
use crate::platform::rooms::Member;
use crate::route::RoomName;
use crate::server::call_log::CallLog;
use crate::server::clock;
use crate::server::endpoint::EndpointHandle;
use crate::server::live_calls::RecordAction;
use crate::server::originate::Reach;

/// What the routes work with.
pub(crate) struct Desk {
    pub(crate) rooms: Rooms,
    pub(crate) endpoint: EndpointHandle,
    pub(crate) log: CallLog,
    pub(crate) reach: Reach,
}

/// The routes.
pub(crate) fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/v1/rooms", get(list))
        .route("/v1/rooms/{room}", get(show).patch(change))
        .route("/v1/rooms/{room}/end", post(end))
        .route("/v1/rooms/{room}/recording", post(record))
        .route("/v1/rooms/{room}/members", post(invite))
        .route("/v1/rooms/{room}/members/{call}", patch(change_member).delete(remove))
        .with_state(Arc::new(desk))
}

type At = State<Arc<Desk>>;

#[derive(Serialize)]
struct List {
    rooms: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    room: String,
    max_members: usize,
    locked: bool,
    /// For a moderator.
    waiting: bool,
    recording: bool,
    members: Vec<Member>,
}

impl Desk {
    fn shown(&self, room: &str) -> Option<Shown> {
        let View { members, members_max, is_locked, is_waiting, is_recorded } = self.rooms.view(room)?;
        Some(Shown {
            room: room.to_owned(),
            max_members: members_max,
            locked: is_locked,
            waiting: is_waiting,
            recording: is_recorded,
            members,
        })
    }

    async fn note(&self, call: CallId, room: &str, what: &str) {
        if self.log.is_live(call) {
            let event = Event::Room { room: room.to_owned(), what: what.to_owned() };
            self.log.write(call, event, clock::now()).await;
        }
    }
}

async fn list(State(desk): At) -> Json<List> {
    Json(List { rooms: desk.rooms.names().filter_map(|it| desk.shown(it)).collect() })
}

async fn show(State(desk): At, Path(room): Path<String>) -> Result<Json<Shown>, Problem> {
    desk.shown(&room).map(Json).ok_or_else(no_room)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRoom {
    locked: bool,
}

/// Locks a room with somebody in it, or opens it again.
async fn change(State(desk): At, Path(room): Path<String>, body: Bytes) -> Result<StatusCode, Problem> {
    let ChangeRoom { locked } = read(&body)?;
    let set = |room: &mut crate::platform::rooms::Room| {
        room.lock(locked);
        room.is_locked() == locked
    };
    match desk.rooms.with(&room, set).await.ok_or_else(no_room)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::conflict("nobody is in the room")),
    }
}

/// Hangs up on everybody in a room.
async fn end(State(desk): At, Path(room): Path<String>) -> Result<StatusCode, Problem> {
    desk.rooms.with(&room, crate::platform::rooms::Room::end).await.ok_or_else(no_room)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    action: RecordAction,
}

async fn record(State(desk): At, Path(room): Path<String>, body: Bytes) -> Result<StatusCode, Problem> {
    let Record { action } = read(&body)?;
    match desk.rooms.record(&room, action.into(), clock::now()).await.ok_or_else(no_room)? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(why) => Err(Problem::conflict(why)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeMember {
    muted: bool,
}

async fn change_member(
    State(desk): At,
    Path((room, call)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let ChangeMember { muted } = read(&body)?;
    let call = parse(&call)?;
    let is_there = desk.rooms.with(&room, |it| it.mute(call, muted)).await.ok_or_else(no_room)?;
    if !is_there {
        return Err(no_member());
    }
    desk.note(call, &room, if muted { "muted" } else { "unmuted" }).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Hangs up on a member.
async fn remove(State(desk): At, Path((room, call)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let call = parse(&call)?;
    if !desk.rooms.has(&room) {
        return Err(no_room());
    }
    // Before its call ends.
    let is_there = desk.rooms.view(&room).is_some_and(|it| it.members.iter().any(|it| it.call == call));
    if is_there {
        desk.note(call, &room, "removed").await;
    }
    match desk.rooms.with(&room, |it| it.remove(call)).await {
        Some(true) => Ok(StatusCode::NO_CONTENT),
        Some(false) | None => Err(no_member()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// A number, with a trunk; a user; or a SIP URI.
    to: String,
    trunk: Option<String>,
    /// The number that is shown; over a trunk, its own if there is none.
    from: Option<String>,
}

#[derive(Serialize)]
struct Invited {
    call: CallId,
}

/// Calls somebody, who is in the room when they answer.
async fn invite(
    State(desk): At,
    Extension(account): Extension<AccountId>,
    Path(room): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Invite { to, trunk, from } = read(&body)?;
    if !desk.rooms.has(&room) {
        return Err(no_room());
    }
    let order = desk.reach.order(account, to, trunk, from, &room)?;
    let call = desk.endpoint.invite(order, RoomName(room)).await.ok_or_else(Problem::internal)?;
    let place = [(header::LOCATION, format!("/v1/calls/{call}"))];
    Ok((StatusCode::CREATED, place, Json(Invited { call })).into_response())
}

/// The body of a request, which is JSON whatever its type says.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid_parameter("body", &format!("JSON that fits: {error}")))
}

fn parse(call: &str) -> Result<CallId, Problem> {
    call.parse().map_err(|_error: InvalidCallId| no_member())
}

fn no_room() -> Problem {
    Problem::not_found("room")
}

fn no_member() -> Problem {
    Problem::not_found("member")
}
