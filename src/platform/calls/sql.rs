//! The call journal in SQLite: one writer, many readers.
//!
//! ```text
//! Journal::append ── bounded queue ──> Writer::run ── a transaction every 20 ms ──> hookswitch.db
//! Journal::record, transcript, list <────────────── read-only connections ──────────────┘
//! ```
//!
//! *What survives.* The database is in WAL mode with `synchronous = NORMAL`. A transaction that was committed is in the
//! operating system's hands: it survives the death of this process, `kill -9` included, whole or (if the commit had not
//! returned) not at all. A power failure or a crash of the kernel may take the latest transactions, never the
//! consistency of the file. So a call whose end was awaited with [`Journal::append_and_commit`] is on record, and a call
//! that was cut off is closed by [`Writer::settle_open_calls`] at the next start.
//!
//! *When the queue is full.* The event that opens a call is refused at once, so that the call can be refused rather
//! than live without a record. The other events of a call wait for a bounded time, then are dropped and counted. A part
//! of the queue is kept for events that end a call. Media threads never touch the journal.
//!
//! *When the disk fails.* The writer tries a batch again for some seconds, while the queue holds back what comes;
//! then it drops the batch, counts it and says so in [`JournalCounts::failing`].

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, SqliteConnection, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::ladder_sql::{self, LadderRequest};
use super::record::CallRecord;
use super::transcript::Transcript;
use super::{Entry, Event, Recorded};
use crate::identity::{AccountId, CallId};
use crate::limits;
use crate::timer::Now;

/// A handle to the journal; clones are cheap and all lead to the same writer.
///
/// The queue to the writer is bounded; the module tells what happens when it is full.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(super) sender: mpsc::Sender<Request>,
    /// Of the queue, for events that do not end a call.
    places: Arc<Semaphore>,
    /// Of the queue, for parts of ladders.
    pub(super) ladder_places: Arc<Semaphore>,
    pub(super) readers: SqlitePool,
    pub(super) counters: Arc<Counters>,
    clock: fn() -> Now,
}

/// The one that writes. Its owner settles what a crash left open, then spawns [`Writer::run`].
#[derive(Debug)]
pub struct Writer {
    connection: SqliteConnection,
    receiver: mpsc::Receiver<Request>,
    /// The last sequence number of each open call that has events.
    sequences: BTreeMap<CallId, u32>,
    counters: Arc<Counters>,
    clock: fn() -> Now,
    retry_max: Duration,
    /// Held as long as the writer lives; the system frees it when the process dies.
    _lock: File,
}

/// What the journal has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Events committed.
    pub written: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Events not taken because the queue was full or the writer gone.
    pub dropped: u64,
    /// Events taken but lost because the database could not be written.
    pub lost: u64,
    /// Events in the queue.
    pub queued: u64,
    /// How long the oldest event of the latest batch waited for its commit, in microseconds.
    pub lag_us: u64,
    /// Whether the latest attempt to write failed.
    pub failing: bool,
    /// Parts of SIP ladders committed.
    pub ladders_written: u64,
    /// Parts of SIP ladders dropped because the queue was full or the database could not be written.
    pub ladders_lost: u64,
}

/// The event is not in the journal and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The queue was full.
    #[error("the journal is behind")]
    Full,
    /// The writer has ended.
    #[error("the journal is closed")]
    Closed,
    /// The database could not be written.
    #[error("the journal could not be written")]
    Lost,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("the data directory {} is in use by another server{}", .directory.display(), .process.as_ref().map_or_else(String::new, |it| format!(" (process {it})")))]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The other's process id, if it could be read.
        process: Option<String>,
    },
    /// The directory or a file in it cannot be made or opened.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was written by a version that this one does not know.
    #[error("the database in {} was written by a later version of hookswitch (migration {migration})", .directory.display())]
    Later {
        /// The directory.
        directory: PathBuf,
        /// The first migration that is not known.
        migration: i64,
    },
    /// Its tables cannot be brought up to date.
    #[error("the database cannot be brought up to date: {0}")]
    Migrate(#[source] MigrateError),
    /// SQLite cannot open it.
    #[error("the database cannot be opened: {0}")]
    Database(#[from] sqlx::Error),
}

impl Journal {
    /// Opens the journal in `directory`, which is made (for its owner only) if it is not there, and takes the lock that
    /// keeps a second server out.
    pub async fn open(directory: &Path, clock: fn() -> Now) -> Result<(Self, Writer), OpenError> {
        let lock = claim(directory)?;
        let file = directory.join(FILE);
        // SQLite gives its two side files the permissions of the database.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&file)
            .map_err(|source| OpenError::File { path: file.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        MIGRATIONS.run(&mut connection).await.map_err(|error| {
            if let MigrateError::VersionMissing(migration) = error {
                return OpenError::Later { directory: directory.to_owned(), migration };
            }
            OpenError::Migrate(error)
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(limits::JOURNAL_READERS_MAX)
            .acquire_timeout(BUSY)
            .connect_lazy_with(SqliteConnectOptions::new().filename(&file).read_only(true).busy_timeout(BUSY));
        let (sender, receiver) = mpsc::channel(limits::JOURNAL_QUEUE_EVENTS_MAX + limits::LADDERS_QUEUED_MAX);
        let counters = Arc::<Counters>::default();
        let writer = Writer {
            connection,
            receiver,
            sequences: BTreeMap::new(),
            counters: Arc::clone(&counters),
            clock,
            retry_max: limits::JOURNAL_RETRY_MAX,
            _lock: lock,
        };
        let places = Arc::new(Semaphore::new(limits::JOURNAL_QUEUE_EVENTS_MAX - limits::JOURNAL_QUEUE_RESERVED_EVENTS));
        let ladder_places = Arc::new(Semaphore::new(limits::LADDERS_QUEUED_MAX));
        Ok((Self { sender, places, ladder_places, readers, counters, clock }, writer))
    }

    /// Queues an event without waiting.
    pub fn try_append(&self, entry: Entry) -> Result<(), NotWritten> {
        self.fill(self.place_now(&entry.event), entry, None)
    }

    /// Queues an event; while the queue is full it waits, but not long, and not at all with an event that opens a call.
    pub async fn append(&self, entry: Entry) -> Result<(), NotWritten> {
        self.queue_or_wait(entry, None).await
    }

    /// As [`Journal::append`], and waits until the event and all before it are committed.
    pub async fn append_and_commit(&self, entry: Entry) -> Result<(), NotWritten> {
        let (committed, is_committed) = oneshot::channel();
        self.queue_or_wait(entry, Some(committed)).await?;
        is_committed.await.or(Err(NotWritten::Lost))
    }

    /// Tells the writer to commit what is queued and end. Its task is done when everything is on disk.
    pub async fn close(&self) {
        // A writer that is gone has nothing left to close.
        drop(self.sender.send(Request::Close).await);
    }

    /// Whether half of the queue is taken: calls that begin now would add to it until events are dropped.
    pub fn is_behind(&self) -> bool {
        self.sender.capacity() < self.sender.max_capacity() / 2
    }

    /// How full its queue is: 0 to 1.
    pub fn fullness(&self) -> f64 {
        let count = |it: usize| f64::from(u32::try_from(it).unwrap_or(u32::MAX));
        1.0 - count(self.sender.capacity()) / count(self.sender.max_capacity()).max(1.0)
    }

    /// What the journal has done so far.
    pub fn counts(&self) -> JournalCounts {
        let queued = self.sender.max_capacity() - self.sender.capacity();
        JournalCounts {
            written: self.counters.written.load(Ordering::Relaxed),
            batches: self.counters.batches.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
            queued: u64::try_from(queued).unwrap_or(u64::MAX),
            lag_us: self.counters.lag_us.load(Ordering::Relaxed),
            failing: self.counters.failing.load(Ordering::Relaxed),
            ladders_written: self.counters.ladders_written.load(Ordering::Relaxed),
            ladders_lost: self.counters.ladders_lost.load(Ordering::Relaxed),
        }
    }

    /// The committed events of a call, in order; none if the account has no such call.
    pub async fn events(&self, account: &AccountId, call: CallId) -> Result<Vec<Recorded>, sqlx::Error> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT sequence, unix_ms, body FROM events WHERE call_id = $1 AND account_id = $2 ORDER BY sequence LIMIT $3",
        )
        .bind(call.to_string())
        .bind(&account.0)
        .bind(i64::from(limits::JOURNAL_CALL_EVENTS_MAX) + 1)
        .fetch_all(&self.readers)
        .await?;
        let recorded = |(sequence, unix_ms, body): (i64, i64, String)| Recorded {
            sequence: u32::try_from(sequence).unwrap_or(u32::MAX),
            unix_ms,
            event: serde_json::from_str(&body).unwrap_or(Event::Unknown(serde_json::Value::String(body))),
        };
        Ok(rows.into_iter().map(recorded).collect())
    }

    /// The record of a call.
    pub async fn record(&self, account: &AccountId, call: CallId) -> Result<Option<CallRecord>, sqlx::Error> {
        let events = self.events(account, call).await?;
        Ok(CallRecord::derive(call, account.clone(), &events))
    }

    /// The transcript of a call.
    pub async fn transcript(&self, account: &AccountId, call: CallId) -> Result<Option<Transcript>, sqlx::Error> {
        let events = self.events(account, call).await?;
        Ok((!events.is_empty()).then(|| Transcript::derive(call, &events)))
    }

    /// The latest calls of an account, latest first; with `before`, those made before that one. At most `limit`, and
    /// at most [`limits::LIST_CALLS_MAX`].
    pub async fn list(
        &self,
        account: &AccountId,
        limit: u32,
        before: Option<CallId>,
    ) -> Result<Vec<CallRecord>, sqlx::Error> {
        let calls: Vec<String> = sqlx::query_scalar(
            "SELECT call_id FROM calls WHERE account_id = $1 AND call_id < $2 ORDER BY call_id DESC LIMIT $3",
        )
        .bind(&account.0)
        .bind(before.map_or_else(|| AFTER_ALL_CALLS.to_owned(), |call| call.to_string()))
        .bind(i64::from(limit.min(limits::LIST_CALLS_MAX)))
        .fetch_all(&self.readers)
        .await?;
        let mut records = vec![];
        for call in calls.iter().filter_map(|call| call.parse().ok()) {
            records.extend(self.record(account, call).await?);
        }
        Ok(records)
    }

    async fn queue_or_wait(&self, entry: Entry, committed: Option<oneshot::Sender<()>>) -> Result<(), NotWritten> {
        let place = match self.place_now(&entry.event) {
            Err(NotWritten::Full) if !matches!(entry.event, Event::Offered { .. }) => {
                let waiting = tokio::time::timeout(limits::JOURNAL_APPEND_WAIT_MAX, self.place(&entry.event));
                waiting.await.unwrap_or(Err(NotWritten::Full))
            }
            place => place,
        };
        self.fill(place, entry, committed)
    }

    fn fill(
        &self,
        place: Result<Place<'_>, NotWritten>,
        entry: Entry,
        committed: Option<oneshot::Sender<()>>,
    ) -> Result<(), NotWritten> {
        let Place { slot, counted } = place.inspect_err(|_| self.count_dropped())?;
        let queued = (self.clock)().instant;
        slot.send(Request::Append(Box::new(Append { entry, queued, committed, _counted: counted })));
        Ok(())
    }

    fn place_now(&self, event: &Event) -> Result<Place<'_>, NotWritten> {
        let counted = if event.is_final() {
            None
        } else {
            Some(Arc::clone(&self.places).try_acquire_owned().or(Err(NotWritten::Full))?)
        };
        let slot = self.sender.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => NotWritten::Full,
            mpsc::error::TrySendError::Closed(()) => NotWritten::Closed,
        })?;
        Ok(Place { slot, counted })
    }

    async fn place(&self, event: &Event) -> Result<Place<'_>, NotWritten> {
        let counted = if event.is_final() {
            None
        } else {
            Some(Arc::clone(&self.places).acquire_owned().await.or(Err(NotWritten::Closed))?)
        };
        let slot = self.sender.reserve().await.or(Err(NotWritten::Closed))?;
        Ok(Place { slot, counted })
    }

    fn count_dropped(&self) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Writer {
    /// The calls that have no end, as only a crash leaves any. To be called before [`Writer::run`], as are the next two.
    pub async fn open_calls(&mut self) -> Result<Vec<(AccountId, CallId)>, sqlx::Error> {
        let open: Vec<(String, String)> =
            sqlx::query_as("SELECT call_id, account_id FROM calls WHERE closed_unix_ms IS NULL ORDER BY call_id")
                .fetch_all(&mut self.connection)
                .await?;
        Ok(open.into_iter().filter_map(|(call, account)| Some((AccountId(account), call.parse().ok()?))).collect())
    }

    /// Writes what is known of them besides.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<(), sqlx::Error> {
        self.write(entries.iter()).await
    }

    /// Closes them. Returns them.
    pub async fn settle_open_calls(&mut self, now: Now) -> Result<Vec<CallId>, sqlx::Error> {
        let entry = |(account, call)| Entry { account, call, unix_ms: now.unix_ms(), event: Event::Settled };
        let entries: Vec<_> = self.open_calls().await?.into_iter().map(entry).collect();
        self.write(entries.iter()).await?;
        Ok(entries.iter().map(|entry| entry.call).collect())
    }

    /// Writes what is queued until [`Journal::close`], or until every [`Journal`] is dropped.
    pub async fn run(mut self) {
        let mut requests = vec![];
        while let Some(first) = self.receiver.recv().await {
            requests.push(first);
            let until = tokio::time::Instant::now() + limits::JOURNAL_BATCH_MAX;
            while requests.len() < limits::JOURNAL_BATCH_EVENTS_MAX {
                let room = limits::JOURNAL_BATCH_EVENTS_MAX - requests.len();
                match tokio::time::timeout_at(until, self.receiver.recv_many(&mut requests, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            let (mut batch, mut ladders) = (vec![], vec![]);
            for request in requests.drain(..) {
                match request {
                    Request::Append(append) => batch.push(*append),
                    Request::Ladder(ladder) => ladders.push(ladder),
                    Request::Close => self.receiver.close(),
                }
            }
            self.commit(batch).await;
            self.keep_ladders(&ladders).await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the journal was not closed cleanly");
        }
    }

    /// Writes a batch, trying again for some seconds if the database fails.
    async fn commit(&mut self, batch: Vec<Append>) {
        if batch.is_empty() {
            return;
        }
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.write(batch.iter().map(|it| &it.entry)).await {
            self.counters.failing.store(true, Ordering::Relaxed);
            if pause > self.retry_max {
                tracing::error!(%error, events = batch.len(), "the journal cannot be written, events are lost");
                self.counters.lost.fetch_add(count(batch.len()), Ordering::Relaxed);
                return;
            }
            tracing::warn!(%error, "the journal cannot be written, trying again");
            tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
            pause *= 2;
        }
        let now = (self.clock)().instant;
        let lag = batch.iter().map(|it| now.saturating_duration_since(it.queued)).max().unwrap_or_default();
        self.counters.failing.store(false, Ordering::Relaxed);
        self.counters.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.counters.written.fetch_add(count(batch.len()), Ordering::Relaxed);
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        for committed in batch.into_iter().filter_map(|it| it.committed) {
            // Whoever asked may have gone.
            committed.send(()).unwrap_or(());
        }
    }

    /// Stores parts of ladders, or gives them up.
    async fn keep_ladders(&mut self, requests: &[LadderRequest]) {
        if requests.is_empty() {
            return;
        }
        match ladder_sql::write(&mut self.connection, requests).await {
            Ok(written) => drop(self.counters.ladders_written.fetch_add(written, Ordering::Relaxed)),
            Err(error) => {
                tracing::warn!(%error, "SIP ladders cannot be written and are lost");
                self.counters.ladders_lost.fetch_add(count(requests.len()), Ordering::Relaxed);
            }
        }
    }

    /// Writes entries in one transaction: all of them or, with an error, none.
    async fn write(&mut self, entries: impl Iterator<Item = &Entry>) -> Result<(), sqlx::Error> {
        let result = write(&mut self.connection, &mut self.sequences, entries).await;
        if result.is_err() {
            self.sequences.clear();
        }
        result
    }
}

/// Writes entries in a few statements, however many there are: each goes to another thread and back.
async fn write(
    connection: &mut SqliteConnection,
    sequences: &mut BTreeMap<CallId, u32>,
    entries: impl Iterator<Item = &Entry>,
) -> Result<(), sqlx::Error> {
    let entries: Vec<_> = entries.collect();
    let mut transaction = connection.begin().await?;
    let mut unknown = BTreeMap::new();
    for entry in entries.iter().filter(|it| !sequences.contains_key(&it.call)) {
        unknown.entry(entry.call).or_insert(*entry);
    }
    let mut calls = open(&mut transaction, &unknown).await?;
    let (mut rows, mut closed) = (vec![], vec![]);
    for entry in entries {
        let known = || Progress { last: sequences.get(&entry.call).copied().unwrap_or(0), is_open: true };
        let call = calls.entry(entry.call).or_insert_with(known);
        call.last = call.last.saturating_add(1);
        if call.last > limits::JOURNAL_CALL_EVENTS_MAX && !entry.event.is_final() {
            call.last -= 1;
            continue;
        }
        let body = serde_json::to_string(&entry.event).map_err(|error| sqlx::Error::Encode(error.into()))?;
        rows.push((entry, call.last, body));
        if entry.event.is_final() && std::mem::take(&mut call.is_open) {
            closed.push(entry);
        }
    }
    if !rows.is_empty() {
        let mut insert = QueryBuilder::new("INSERT INTO events (call_id, sequence, account_id, unix_ms, body) ");
        insert.push_values(rows, |mut row, (entry, sequence, body)| {
            row.push_bind(entry.call.to_string()).push_bind(i64::from(sequence)).push_bind(&entry.account.0);
            row.push_bind(entry.unix_ms).push_bind(body);
        });
        insert.build().persistent(false).execute(&mut *transaction).await?;
    }
    if !closed.is_empty() {
        // The columns of VALUES have the same names in SQLite and PostgreSQL.
        let mut update = QueryBuilder::new("UPDATE calls SET closed_unix_ms = closed.column2 FROM (");
        update.push_values(closed, |mut row, entry| {
            row.push_bind(entry.call.to_string()).push_bind(entry.unix_ms);
        });
        update.push(") AS closed WHERE call_id = closed.column1");
        update.build().persistent(false).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    for (call, progress) in calls {
        if progress.is_open {
            sequences.insert(call, progress.last);
        } else {
            sequences.remove(&call);
        }
    }
    Ok(())
}

/// How far a call is in the journal.
struct Progress {
    /// The sequence number of its last event; 0 if it has none.
    last: u32,
    is_open: bool,
}

/// Makes the rows of calls unless they are there, each from its first entry.
async fn open(
    transaction: &mut SqliteConnection,
    unknown: &BTreeMap<CallId, &Entry>,
) -> Result<BTreeMap<CallId, Progress>, sqlx::Error> {
    if unknown.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut insert = QueryBuilder::new("INSERT INTO calls (call_id, account_id, opened_unix_ms) ");
    insert.push_values(unknown, |mut row, (call, entry)| {
        row.push_bind(call.to_string()).push_bind(&entry.account.0).push_bind(entry.unix_ms);
    });
    insert.push(" ON CONFLICT DO NOTHING");
    insert.build().persistent(false).execute(&mut *transaction).await?;
    let mut select = QueryBuilder::new(
        "SELECT call_id, coalesce((SELECT max(sequence) FROM events WHERE events.call_id = calls.call_id), 0), \
         closed_unix_ms IS NULL FROM calls WHERE call_id IN (",
    );
    let mut names = select.separated(", ");
    for call in unknown.keys() {
        names.push_bind(call.to_string());
    }
    select.push(")");
    let rows: Vec<(String, i64, bool)> = select.build_query_as().persistent(false).fetch_all(transaction).await?;
    let progress = |(call, last, is_open): (String, i64, bool)| {
        Some((call.parse().ok()?, Progress { last: u32::try_from(last).unwrap_or(u32::MAX), is_open }))
    };
    Ok(rows.into_iter().filter_map(progress).collect())
}

/// Makes the directory if need be and takes its lock, or tells who has it.
fn claim(directory: &Path) -> Result<File, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
    let path = directory.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut lock = options.open(&path).map_err(failed(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let read = Read::take(&mut lock, 20).read_to_string(&mut process);
            let process = read.ok().map(|_| process.trim().to_owned()).filter(|it| !it.is_empty());
            return Err(OpenError::InUse { directory: directory.to_owned(), process });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::File { path, source }),
    }
    lock.set_len(0).map_err(failed(&path))?;
    writeln!(lock, "{}", std::process::id()).map_err(failed(&path))?;
    warn_if_shared(directory);
    Ok(lock)
}

/// A directory that was there before keeps its permissions: it may hold more than our files, which are safe anyway.
fn warn_if_shared(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(directory).is_ok_and(|it| it.permissions().mode() & 0o077 != 0) {
        tracing::warn!(directory = %directory.display(), "the data directory is open to other users: chmod 700 it");
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub(super) enum Request {
    Append(Box<Append>),
    Ladder(LadderRequest),
    Close,
}

#[derive(Debug)]
pub(super) struct Append {
    entry: Entry,
    queued: Instant,
    committed: Option<oneshot::Sender<()>>,
    /// Given back when the event is committed or lost.
    _counted: Option<OwnedSemaphorePermit>,
}

/// Room for one event in the queue.
struct Place<'a> {
    slot: mpsc::Permit<'a, Request>,
    /// Counts it among those that wait, unless it ends a call.
    counted: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) ladders_lost: AtomicU64,
    ladders_written: AtomicU64,
    written: AtomicU64,
    batches: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    lag_us: AtomicU64,
    failing: AtomicBool,
}

static MIGRATIONS: Migrator = sqlx::migrate!();

const FILE: &str = "hookswitch.db";
const LOCK_FILE: &str = "lock";
const BUSY: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Sorts after every call id.
const AFTER_ALL_CALLS: &str = "call_g";

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{self, Command, Stdio};

    use super::super::{Direction, EndCause, Initiator, Role};
    use super::*;
    use crate::identity::Pii;
    use crate::platform::calls::record::Status;
    use crate::server::task;

    const FINISHED: &str = "call_018bcfe56800000000000000000000aa";
    const CUT_OFF: &str = "call_018bcfe56801000000000000000000bb";

    /// A directory of its own for each test, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hookswitch-{name}-{}", process::id()));
            drop(fs::remove_dir_all(&path));
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn clock() -> Now {
        Now::origin()
    }

    fn entry(call: &str, unix_ms: i64, event: Event) -> Entry {
        Entry { account: AccountId::default(), call: call.parse().unwrap(), unix_ms, event }
    }

    fn offered() -> Event {
        Event::Offered {
            direction: Direction::Inbound,
            from: Pii::new("+4930123".to_owned()),
            to: Pii::new("100".to_owned()),
            source: Pii::new("udp://192.0.2.1:5060".to_owned()),
            trunk: None,
            agent: Some("demo".to_owned()),
            details: BTreeMap::new(),
        }
    }

    fn answered() -> Event {
        Event::Answered { codec: "PCMU".to_owned() }
    }

    fn said(text: &str) -> Event {
        Event::Said {
            role: Role::Agent,
            text: Pii::new(text.to_owned()),
            start_ms: 100,
            end_ms: 900,
            interrupted: false,
        }
    }

    fn ended() -> Event {
        Event::Ended { cause: EndCause::HangUp, initiator: Initiator::Remote, sip_status: None }
    }

    async fn open(directory: &Path) -> (Journal, Writer) {
        Journal::open(directory, clock).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn write_two_calls(journal: &Journal) {
        journal.append(entry(FINISHED, 1_000, offered())).await.unwrap();
        journal.append(entry(CUT_OFF, 1_500, offered())).await.unwrap();
        journal.append(entry(FINISHED, 2_000, answered())).await.unwrap();
        journal.append(entry(CUT_OFF, 2_500, answered())).await.unwrap();
        journal.append(entry(FINISHED, 3_000, said("Hello."))).await.unwrap();
        journal.append(entry(CUT_OFF, 3_500, said("Good day."))).await.unwrap();
        journal.append_and_commit(entry(FINISHED, 4_000, ended())).await.unwrap();
    }

    /// What a server finds that starts on the journal of one which died after [`write_two_calls`].
    async fn check_after_crash(directory: &Path) {
        let (journal, mut writer) = open(directory).await;
        let now = Now::origin();
        assert_eq!(writer.settle_open_calls(now).await.unwrap(), [CUT_OFF.parse().unwrap()]);
        assert_eq!(writer.settle_open_calls(now).await.unwrap(), []);

        let account = AccountId::default();
        let records = journal.list(&account, 10, None).await.unwrap();
        let shown: Vec<_> = records
            .iter()
            .map(|it| (it.call.to_string(), it.status, it.end_reason.clone(), it.duration_ms, it.turns))
            .collect();
        assert_eq!(
            shown,
            [
                (CUT_OFF.to_owned(), Status::Answered, Some(EndCause::ServerLost), Some(2_000), 1),
                (FINISHED.to_owned(), Status::Answered, Some(EndCause::HangUp), Some(3_000), 1),
            ]
        );
        let transcript = journal.transcript(&account, FINISHED.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(transcript.text().to_string(), "Agent: Hello.\n");
    }

    /// The process that [`kill_9_loses_nothing_that_was_committed`] kills. Does nothing unless started by that.
    #[tokio::test]
    async fn process_to_be_killed() {
        let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
            return;
        };
        let (journal, writer) = open(Path::new(&directory)).await;
        task::spawn("test writer", writer.run());
        write_two_calls(&journal).await;
        println!("{WRITTEN}");
        // Waits for the signal, or for a parent that died.
        tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn kill_9_loses_nothing_that_was_committed() {
        let scratch = Scratch::new("killed");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "platform::calls::sql::tests::process_to_be_killed"])
            .env(CHILD_DIRECTORY, &scratch.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(WRITTEN)), "the child ended early");
        let error = Journal::open(&scratch.0, clock).await.unwrap_err().to_string();
        let expected =
            format!("the data directory {} is in use by another server (process {})", scratch.0.display(), child.id());
        assert_eq!(error, expected);
        child.kill().unwrap();
        child.wait().unwrap();
        check_after_crash(&scratch.0).await;
    }

    #[tokio::test]
    async fn closing_commits_what_is_queued() {
        let scratch = Scratch::new("closed");
        let (journal, writer) = open(&scratch.0).await;
        let account = AccountId::default();
        for _ in 0..300 {
            journal.append(entry(FINISHED, 1_000, said("one"))).await.unwrap();
        }
        assert_eq!(journal.events(&account, FINISHED.parse().unwrap()).await.unwrap(), []);
        journal.close().await;
        writer.run().await;
        let events = journal.events(&account, FINISHED.parse().unwrap()).await.unwrap();
        let sequences: Vec<_> = events.iter().map(|it| it.sequence).collect();
        assert_eq!(sequences, (1..=300).collect::<Vec<_>>());
        let counts = journal.counts();
        assert_eq!((counts.written, counts.batches, counts.queued, counts.failing), (300, 1, 0, false));
        let error = journal.append(entry(FINISHED, 1_000, ended())).await.unwrap_err();
        assert_eq!((error, journal.counts().dropped), (NotWritten::Closed, 1));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_new_calls_at_once_and_keeps_room_for_ends() {
        let scratch = Scratch::new("full");
        let (journal, writer) = open(&scratch.0).await;
        let places = limits::JOURNAL_QUEUE_EVENTS_MAX - limits::JOURNAL_QUEUE_RESERVED_EVENTS;
        for _ in 0..places {
            journal.try_append(entry(FINISHED, 1_000, Event::Ringing)).unwrap();
        }
        assert_eq!(journal.append(entry(CUT_OFF, 1_000, offered())).await, Err(NotWritten::Full));
        assert_eq!(journal.try_append(entry(FINISHED, 1_000, answered())), Err(NotWritten::Full));
        let waiting = journal.append(entry(FINISHED, 1_000, answered()));
        journal.try_append(entry(FINISHED, 2_000, ended())).unwrap();
        let writer = task::spawn("test writer", writer.run());
        waiting.await.unwrap();
        journal.close().await;
        writer.await.unwrap();
        let record = journal.record(&AccountId::default(), FINISHED.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((record.status, record.codec.as_deref()), (Status::Answered, Some("PCMU")));
        assert_eq!(journal.counts().dropped, 2);
    }

    #[tokio::test]
    async fn events_after_the_end_are_kept_and_change_nothing() {
        let scratch = Scratch::new("late");
        let (journal, writer) = open(&scratch.0).await;
        let writer = task::spawn("test writer", writer.run());
        journal.append_and_commit(entry(FINISHED, 1_000, offered())).await.unwrap();
        journal.append_and_commit(entry(FINISHED, 2_000, ended())).await.unwrap();
        for _ in 0..2 {
            journal.append_and_commit(entry(FINISHED, 9_000, said("too late"))).await.unwrap();
        }
        let record = journal.record(&AccountId::default(), FINISHED.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((record.duration_ms, record.turns), (Some(1_000), 2));
        journal.close().await;
        writer.await.unwrap();
        let (_journal, mut writer) = open(&scratch.0).await;
        assert_eq!(writer.settle_open_calls(Now::origin()).await.unwrap(), []);
    }

    #[tokio::test]
    async fn accounts_see_their_own_calls_page_by_page() {
        let scratch = Scratch::new("accounts");
        let (journal, writer) = open(&scratch.0).await;
        let (ours, theirs) = (AccountId::default(), AccountId("other".to_owned()));
        let calls: Vec<CallId> = (0..5).map(|it| format!("call_{it:032x}").parse().unwrap()).collect();
        for (call, account) in calls.iter().zip([&ours, &theirs, &ours, &ours, &theirs]) {
            let entry = Entry { account: account.clone(), call: *call, unix_ms: 0, event: offered() };
            journal.append(entry).await.unwrap();
        }
        journal.close().await;
        writer.run().await;
        let listed = async |account: &AccountId, limit, before| -> Vec<CallId> {
            journal.list(account, limit, before).await.unwrap().iter().map(|it| it.call).collect()
        };
        assert_eq!(listed(&ours, 2, None).await, [calls[3], calls[2]]);
        assert_eq!(listed(&ours, 2, Some(calls[2])).await, [calls[0]]);
        assert_eq!(listed(&theirs, 100, None).await, [calls[4], calls[1]]);
        assert_eq!(journal.record(&theirs, calls[0]).await.unwrap(), None);
        assert_eq!(journal.transcript(&theirs, calls[0]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_written_is_told_and_blocks_nobody() {
        let scratch = Scratch::new("failing");
        let (journal, mut writer) = open(&scratch.0).await;
        writer.retry_max = Duration::ZERO;
        sqlx::query("DROP TABLE events").execute(&mut writer.connection).await.unwrap();
        let writing = task::spawn("test writer", writer.run());
        assert_eq!(journal.append_and_commit(entry(FINISHED, 0, ended())).await, Err(NotWritten::Lost));
        let counts = journal.counts();
        assert_eq!((counts.written, counts.lost, counts.failing), (0, 1, true));
        journal.close().await;
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn only_the_owner_can_read_what_is_made_here() {
        let scratch = Scratch::new("permissions");
        let directory = scratch.0.join("deep").join("down");
        let (_journal, _writer) = open(&directory).await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&scratch.0), mode(&directory)), (0o700, 0o700));
        for file in fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn a_database_of_a_later_version_is_left_alone() {
        let scratch = Scratch::new("later");
        let (journal, mut writer) = open(&scratch.0).await;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', true, x'00', 0)",
        )
        .execute(&mut writer.connection)
        .await
        .unwrap();
        journal.close().await;
        writer.run().await;
        let error = Journal::open(&scratch.0, clock).await.unwrap_err().to_string();
        assert!(error.ends_with("was written by a later version of hookswitch (migration 9999)"), "{error}");
    }

    #[test]
    fn every_migration_is_compiled_in() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let files = fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
        let mut on_disk: Vec<_> = files.map(|it| fs::read_to_string(it).unwrap()).collect();
        on_disk.sort();
        let mut compiled: Vec<_> = MIGRATIONS.iter().map(|it| it.sql.as_str().to_owned()).collect();
        compiled.sort();
        assert_eq!(on_disk, compiled);
    }

    const CHILD_DIRECTORY: &str = "HOOKSWITCH_TEST_JOURNAL_DIRECTORY";
    const WRITTEN: &str = "written";
}
