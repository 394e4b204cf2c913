//! `/v1/calls/{call}/recordings` and `/v1/calls/{call}/recording`: what was recorded of a call, for whoever has shown a key
//! of its account. Names of files come from the journal, never from the request. Ranges are those of RFC 9110 §14.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Extension, Router};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange};
use serde::{Deserialize, Serialize};

use super::Recordings;
use crate::identity::{AccountId, CallId, InvalidCallId};
use crate::platform::calls::sql::Journal;
use crate::platform::calls::{Event, Recording};
use crate::platform::problem::Problem;

#[derive(Clone)]
struct Kept {
    journal: Journal,
    recordings: Arc<Recordings>,
}

/// The routes.
pub(crate) fn routes(journal: Journal, recordings: Arc<Recordings>) -> Router {
    Router::new()
        .route("/v1/calls/{call}/recordings", get(list))
        .route("/v1/calls/{call}/recording", get(download))
        .with_state(Kept { journal, recordings })
}

#[derive(Serialize)]
struct List {
    call: CallId,
    recordings: Vec<Recording>,
}

#[derive(Deserialize)]
struct Which {
    /// Counted from one, in the order of the list.
    number: Option<usize>,
}

async fn list(
    State(kept): State<Kept>,
    Extension(account): Extension<AccountId>,
    Path(call): Path<String>,
) -> Result<Json<List>, Problem> {
    let (call, recordings) = kept.recordings_of(&account, &call).await?;
    Ok(Json(List { call, recordings }))
}

async fn download(
    State(kept): State<Kept>,
    Extension(account): Extension<AccountId>,
    Path(call): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let expected = || Problem::invalid_parameter("number", "a whole number from 1");
    let Query(Which { number }) = which.map_err(|_rejection: QueryRejection| expected())?;
    let index = number.unwrap_or(1).checked_sub(1).ok_or_else(expected)?;
    let (call, mut recordings) = kept.recordings_of(&account, &call).await?;
    if index >= recordings.len() {
        return Err(Problem::not_found("recording"));
    }
    let recording = recordings.swap_remove(index);
    let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let range = match range.and_then(|it| wanted(it, recording.bytes)) {
        None => None,
        Some(Some(range)) => Some(range),
        Some(None) => {
            let total = [(header::CONTENT_RANGE, format!("bytes */{}", recording.bytes))];
            return Ok((total, Problem::no_such_range(recording.bytes)).into_response());
        }
    };
    kept.send(call, &recording, range).await
}

impl Kept {
    async fn recordings_of(&self, account: &AccountId, call: &str) -> Result<(CallId, Vec<Recording>), Problem> {
        let call: CallId = call.parse().map_err(|_error: InvalidCallId| Problem::not_found("call"))?;
        let events = self.journal.events(account, call).await.map_err(|error| {
            tracing::error!(%error, "the journal cannot be read");
            Problem::internal()
        })?;
        if events.is_empty() {
            return Err(Problem::not_found("call"));
        }
        let mut recordings = vec![];
        for event in events {
            if let Event::Recording(recording) = event.event {
                recordings.push(recording);
            }
        }
        Ok((call, recordings))
    }

    async fn send(&self, call: CallId, recording: &Recording, range: Option<Range<u64>>) -> Result<Response, Problem> {
        let key = Key::parse(&recording.key).map_err(|_error| Problem::not_found("recording"))?;
        let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.recordings.get(&key, options).await.map_err(|error| {
            if matches!(error, object_store::Error::NotFound { .. }) {
                return Problem::not_found("recording: it is deleted");
            }
            tracing::error!(%error, "a recording cannot be read");
            Problem::internal()
        })?;
        let sent = got.range.clone();
        let (kind, extension) = match recording.format.as_str() {
            "mp3" => ("audio/mpeg", "mp3"),
            _ => ("audio/wav", "wav"),
        };
        let mut response = Response::builder()
            .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CONTENT_LENGTH, sent.end.saturating_sub(sent.start))
            .header(header::CONTENT_DISPOSITION, format!("inline; filename=\"{call}.{extension}\""));
        if range.is_some() {
            let last = sent.end.saturating_sub(1);
            response = response.header(header::CONTENT_RANGE, format!("bytes {}-{last}/{}", sent.start, got.meta.size));
        }
        if let Some(sha256) = &recording.sha256 {
            response = response.header(header::ETAG, format!("\"{sha256}\""));
        }
        response.body(Body::from_stream(got.into_stream())).or(Err(Problem::internal()))
    }
}

/// The bytes that a Range field asks for: `None` if it is to be ignored, which several ranges are and what is not
/// understood, and none inside if there are no such bytes.
fn wanted(field: &str, len: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = field.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()));
    let range = match (first, last) {
        ("", last) => {
            let suffix = number(last)?;
            len.saturating_sub(suffix)..if suffix == 0 { 0 } else { len }
        }
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
    };
    Some(Some(range).filter(|it| it.start < it.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        let check =
            |field: &str, expected: Option<Option<Range<u64>>>| assert_eq!(wanted(field, 1_000), expected, "{field}");
        check("bytes=0-0", Some(Some(0..1)));
        check("bytes=44-", Some(Some(44..1_000)));
        check("bytes=900-5000", Some(Some(900..1_000)));
        check("bytes=-100", Some(Some(900..1_000)));
        check("bytes=-5000", Some(Some(0..1_000)));
        check("bytes=1000-", Some(None));
        check("bytes=-0", Some(None));
        check("bytes=5-4", None);
        check("bytes=0-1,3-4", None);
        check("bytes=+1-4", None);
        check("items=0-1", None);
        check("bytes=99999999999999999999-", None);
    }
}
