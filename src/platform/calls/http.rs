//! `/v1/calls`: calls, their events, their words and their SIP messages, for whoever has shown a key of their account.
//!
//! Lists are paged by `cursor`: the one that a page gives leads to the next, and the last page gives none. The routes
//! expect the [`AccountId`] of the key among the request's extensions.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};

use super::ladder_sql::Ladder;
use super::record::{CallRecord, Status};
use super::sql::Journal;
use super::{MediaReport, Recorded};
use crate::capture::ladder::{self, Rung};
use crate::capture::{self, Direction, pcap};
use crate::identity::{AccountId, CallId, InvalidCallId};
use crate::limits;
use crate::platform::problem::Problem;

/// What is known of calls under way that is not in their journal yet.
pub trait Live: Send + Sync {
    /// Those calls, the latest first.
    fn calls(&self) -> Vec<CallId>;
    /// How the media of a call's legs are.
    fn media(&self, call: CallId) -> Vec<MediaReport>;
}

/// Shared by the routes.
pub type LiveCalls = std::sync::Arc<dyn Live>;

/// What the routes look at.
#[derive(Clone)]
struct Read {
    journal: Journal,
    live: LiveCalls,
}

impl FromRef<Read> for Journal {
    fn from_ref(read: &Read) -> Self {
        read.journal.clone()
    }
}

/// The routes, over `journal`.
pub fn routes(journal: Journal, live: LiveCalls) -> Router {
    Router::new()
        .route("/v1/calls", get(list))
        .route("/v1/calls/{call}", get(show))
        .route("/v1/calls/{call}/events", get(events))
        .route("/v1/calls/{call}/transcript", get(transcript))
        .route("/v1/calls/{call}/sip", get(sip))
        .with_state(Read { journal, live })
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u32>,
    cursor: Option<String>,
    state: Option<String>,
}

#[derive(Serialize)]
struct Calls {
    calls: Vec<CallRecord>,
    /// Of the next page.
    cursor: Option<CallId>,
}

#[derive(Serialize)]
struct Events {
    call: CallId,
    events: Vec<Recorded>,
}

/// A form of an answer, asked for by `?format=` or by Accept.
#[derive(Deserialize)]
struct Form {
    format: Option<String>,
}

#[derive(Serialize)]
struct SipLadder<'a> {
    call: CallId,
    /// How many messages were too many to be kept.
    not_kept: u64,
    messages: Vec<SipMessage<'a>>,
}

#[derive(Serialize)]
struct SipMessage<'a> {
    unix_us: u64,
    direction: Direction,
    transport: &'a str,
    local: String,
    remote: String,
    call_id: Option<std::borrow::Cow<'a, str>>,
    summary: String,
    text: std::borrow::Cow<'a, str>,
}

type Account = Extension<AccountId>;

async fn list(
    State(Read { journal, live }): State<Read>,
    Extension(account): Account,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Calls>, Problem> {
    let expected = format!("a whole number from 1 to {}", limits::LIST_CALLS_MAX);
    let bad_limit = || Problem::invalid_parameter("limit", &expected);
    let Query(Page { limit, cursor, state }) = page.map_err(|_rejection: QueryRejection| bad_limit())?;
    let limit = limit.unwrap_or(PAGE_CALLS);
    if !(1..=limits::LIST_CALLS_MAX).contains(&limit) {
        return Err(bad_limit());
    }
    let before = cursor.map(|it| it.parse::<CallId>()).transpose();
    let expected = "the cursor of a page before this one";
    let before = before.map_err(|_error: InvalidCallId| Problem::invalid_parameter("cursor", expected))?;
    match state.as_deref() {
        None => (),
        Some("live") => return Ok(Json(live_calls(&journal, &account, &*live, limit, before).await?)),
        Some(_) => return Err(Problem::invalid_parameter("state", "live")),
    }
    let calls = journal.list(&account, limit, before).await.map_err(failed)?;
    let is_full = calls.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let cursor = calls.last().filter(|_| is_full).map(|it| it.call);
    Ok(Json(Calls { calls, cursor }))
}

/// The calls under way, as far as they are in the journal: a call gets there some milliseconds after it has begun.
async fn live_calls(
    journal: &Journal,
    account: &AccountId,
    live: &dyn Live,
    limit: u32,
    before: Option<CallId>,
) -> Result<Calls, Problem> {
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rest = live.calls().into_iter().filter(|it| before.is_none_or(|before| *it < before));
    let (mut calls, mut last) = (vec![], None);
    for call in rest.by_ref().take(size) {
        last = Some(call);
        let record = journal.record(account, call).await.map_err(failed)?;
        calls.extend(record.map(|it| with_media(it, live)));
    }
    let cursor = last.filter(|_| rest.next().is_some());
    Ok(Calls { calls, cursor })
}

/// The record with the present media of legs that are not over.
fn with_media(mut record: CallRecord, live: &dyn Live) -> CallRecord {
    if record.status == Status::InProgress {
        let is_over = |it: &MediaReport| record.media.iter().any(|over| over.leg == it.leg);
        let present: Vec<_> = live.media(record.call).into_iter().filter(|it| !is_over(it)).collect();
        record.media.extend(present);
    }
    record
}

async fn show(
    State(Read { journal, live }): State<Read>,
    Extension(account): Account,
    Path(call): Path<String>,
) -> Result<Json<CallRecord>, Problem> {
    let record = journal.record(&account, named(&call)?).await.map_err(failed)?.ok_or_else(no_call)?;
    Ok(Json(with_media(record, &*live)))
}

async fn events(
    State(journal): State<Journal>,
    Extension(account): Account,
    Path(call): Path<String>,
) -> Result<Json<Events>, Problem> {
    let call = named(&call)?;
    let events = journal.events(&account, call).await.map_err(failed)?;
    if events.is_empty() { Err(no_call()) } else { Ok(Json(Events { call, events })) }
}

async fn transcript(
    State(journal): State<Journal>,
    Extension(account): Account,
    Path(call): Path<String>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let transcript = journal.transcript(&account, named(&call)?).await.map_err(failed)?.ok_or_else(no_call)?;
    Ok(match chosen(&form, &headers, &[JSON, TEXT])? {
        TEXT => typed(TEXT_TYPE, transcript.text().to_string().into_bytes()),
        _ => Json(transcript).into_response(),
    })
}

async fn sip(
    State(journal): State<Journal>,
    Extension(account): Account,
    Path(call): Path<String>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let call = named(&call)?;
    let form = chosen(&form, &headers, &[JSON, TEXT, PCAP])?;
    let Ladder { rungs, not_kept } = match journal.ladder(&account, call).await.map_err(failed)? {
        Some(ladder) => ladder,
        // The call is there, its messages are not yet, or not any more.
        None if !journal.events(&account, call).await.map_err(failed)?.is_empty() => Ladder::default(),
        None => return Err(no_call()),
    };
    Ok(match form {
        TEXT => typed(TEXT_TYPE, ladder::text(call, &rungs, not_kept).into_bytes()),
        PCAP => {
            let mut response = typed(PCAP.accept, pcap::file(&rungs));
            let name = format!("attachment; filename=\"{call}.pcap\"");
            if let Ok(name) = HeaderValue::from_str(&name) {
                response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
            }
            response
        }
        _ => Json(SipLadder { call, not_kept, messages: rungs.iter().map(message).collect() }).into_response(),
    })
}

fn message(rung: &Rung) -> SipMessage<'_> {
    SipMessage {
        unix_us: rung.unix_us,
        direction: rung.direction,
        transport: &rung.transport,
        local: rung.local.to_string(),
        remote: rung.remote.to_string(),
        call_id: capture::call_id(&rung.data).map(String::from_utf8_lossy),
        summary: rung.summary(),
        text: String::from_utf8_lossy(&rung.data),
    }
}

/// The name of a form and its media type.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    accept: &'static str,
}

const JSON: Kind = Kind { name: "json", accept: "application/json" };
const TEXT: Kind = Kind { name: "text", accept: "text/plain" };
const PCAP: Kind = Kind { name: "pcap", accept: "application/vnd.tcpdump.pcap" };
/// Of a page, unless another number is asked for.
const PAGE_CALLS: u32 = 50;
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// `?format=` goes before Accept, of which the first type counts that there is; without either, or with any other, it is
/// the first of `kinds`.
fn chosen(form: &Form, headers: &HeaderMap, kinds: &[Kind]) -> Result<Kind, Problem> {
    if let Some(format) = &form.format {
        let names: Vec<_> = kinds.iter().map(|it| it.name).collect();
        let kind = kinds.iter().find(|it| it.name == format).copied();
        return kind.ok_or_else(|| Problem::invalid_parameter("format", &names.join(", ")));
    }
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let wanted = accept.split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    let kind = wanted.filter_map(|wanted| kinds.iter().find(|it| it.accept.eq_ignore_ascii_case(wanted))).next();
    Ok(kind.or_else(|| kinds.first()).copied().unwrap_or(JSON))
}

fn typed(kind: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn named(call: &str) -> Result<CallId, Problem> {
    call.parse().map_err(|_error: InvalidCallId| no_call())
}

fn no_call() -> Problem {
    Problem::not_found("call")
}

fn failed(error: sqlx::Error) -> Problem {
    tracing::error!(%error, "the journal cannot be read");
    Problem::internal()
}
