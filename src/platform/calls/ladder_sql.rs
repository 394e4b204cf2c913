//! The SIP ladders of calls in the journal's database, written by the journal's writer after the events that waited with
//! them. A ladder that finds no room in the queue, or that cannot be written, is dropped and counted: a call goes on
//! without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::sql::{Journal, NotWritten, Request};
use crate::capture::ladder::Rung;
use crate::identity::{AccountId, CallId};
use crate::limits;

/// A part of a ladder, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Whose call it is.
    pub account: AccountId,
    /// The call.
    pub call: CallId,
    /// Counts the parts of the call from zero.
    pub number: u32,
    /// When it was made, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// How many messages of the call were not kept until then.
    pub not_kept: u64,
    /// Its messages, as [`Rung::write`] writes them.
    pub body: Vec<u8>,
}

/// A call's ladder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Its messages, in order.
    pub rungs: Vec<Rung>,
    /// How many messages were not kept.
    pub not_kept: u64,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum LadderRequest {
    Keep {
        part: StoredPart,
        /// Given back when it is written or lost.
        _place: OwnedSemaphorePermit,
    },
    /// Delete what is older, in milliseconds since the Unix epoch.
    Expire(i64),
}

impl Journal {
    /// Queues a part of a ladder without waiting.
    ///
    /// # Errors
    /// When the queue is full or the writer gone.
    pub fn try_keep_ladder(&self, part: StoredPart) -> Result<(), NotWritten> {
        let place = Arc::clone(&self.ladder_places).try_acquire_owned().or(Err(NotWritten::Full));
        let queued = place.and_then(|place| {
            self.sender.try_send(Request::Ladder(LadderRequest::Keep { part, _place: place })).map_err(|error| {
                match error {
                    mpsc::error::TrySendError::Full(_) => NotWritten::Full,
                    mpsc::error::TrySendError::Closed(_) => NotWritten::Closed,
                }
            })
        });
        queued.inspect_err(|_| {
            self.counters.ladders_lost.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Has ladders deleted that were made before `unix_ms`, some at a time. Without effect while the queue is full.
    pub fn expire_ladders(&self, unix_ms: i64) {
        if let Ok(slot) = self.sender.try_reserve() {
            slot.send(Request::Ladder(LadderRequest::Expire(unix_ms)));
        }
    }

    /// The ladder of a call; `None` if nothing is kept of it, or the account has no such call.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn ladder(&self, account: &AccountId, call: CallId) -> Result<Option<Ladder>, sqlx::Error> {
        let parts: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT not_kept, body FROM sip_ladders WHERE call_id = $1 AND account_id = $2 ORDER BY part LIMIT $3",
        )
        .bind(call.to_string())
        .bind(&account.0)
        .bind(i64::from(limits::LADDER_PARTS_MAX))
        .fetch_all(&self.readers)
        .await?;
        let not_kept = parts.last().map(|(not_kept, _)| u64::try_from(*not_kept).unwrap_or(0));
        Ok(not_kept.map(|not_kept| {
            let rungs = parts.iter().flat_map(|(_, body)| Rung::read_all(body)).collect();
            Ladder { rungs, not_kept }
        }))
    }
}

/// Does what is asked in one transaction. Returns how many parts were written.
pub(super) async fn write(connection: &mut SqliteConnection, requests: &[LadderRequest]) -> Result<u64, sqlx::Error> {
    let mut written = 0;
    let mut transaction = connection.begin().await?;
    for request in requests {
        match request {
            LadderRequest::Keep { part, .. } => {
                sqlx::query(
                    "INSERT INTO sip_ladders (call_id, part, account_id, unix_ms, not_kept, body) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                )
                .bind(part.call.to_string())
                .bind(i64::from(part.number))
                .bind(&part.account.0)
                .bind(part.unix_ms)
                .bind(i64::try_from(part.not_kept).unwrap_or(i64::MAX))
                .bind(&part.body)
                .execute(&mut *transaction)
                .await?;
                written += 1;
            }
            LadderRequest::Expire(before) => {
                sqlx::query(
                    "DELETE FROM sip_ladders WHERE (call_id, part) IN \
                     (SELECT call_id, part FROM sip_ladders WHERE unix_ms < $1 ORDER BY unix_ms LIMIT $2)",
                )
                .bind(before)
                .bind(i64::from(limits::LADDERS_EXPIRED_MAX))
                .execute(&mut *transaction)
                .await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(written)
}
