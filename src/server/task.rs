//! Tasks with names. Every task of the program starts here, so that `/metrics` and the leak tests can say how many of
//! each kind are alive, and so that a panic is logged with the task's name and ends that task only.
#![expect(clippy::disallowed_methods, reason = "tasks are spawned here and nowhere else")]

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How many tasks of one name there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Alive.
    pub live: u64,
    /// Ever started.
    pub started: u64,
    /// Ended by a panic.
    pub panicked: u64,
}

/// Starts a task on the current runtime, within the caller's tracing span.
///
/// A panic inside is logged and counted; awaiting the handle then gives a `JoinError`. Dropping the handle detaches the
/// task. The name is a label of a metric: a literal, never something that grows with the calls.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(named(name, future))
}

/// Completes at `at`, at once if that is past.
///
/// As the timer may fire a little late and never early, the woken task asks `clock::now` what is due, not this future.
pub fn deadline(at: Instant) -> Sleep {
    tokio::time::sleep_until(at.into())
}

/// [`deadline`], or never if there is none: for the `select!` of a driver whose core waits for input only.
pub async fn deadline_if_any(at: Option<Instant>) {
    match at {
        Some(at) => deadline(at).await,
        None => std::future::pending().await,
    }
}

/// The counts of every name seen so far.
pub fn counts() -> BTreeMap<&'static str, Count> {
    registry().clone()
}

/// How many tasks named `name` are alive.
pub fn live(name: &str) -> u64 {
    registry().get(name).map_or(0, |count| count.live)
}

/// Tasks that end together: each is counted by name like any other, all share a cancellation token, and
/// [`Group::finish`] waits for them.
#[derive(Clone, Debug, Default)]
pub struct Group {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty group that is cancelled with this one, but can also be cancelled and awaited alone.
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), token: self.token.child_token() }
    }

    /// The token that [`Group::cancel`] triggers. Tasks select on it.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// As [`spawn`], as a member of the group.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(named(name, future)))
    }

    /// Asks every member to end. Members that ignore the token go on.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// How many members are alive.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no member is alive.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Waits until every member has ended or `at` has come, and says how many are left. Members may still be added
    /// while it waits; they are waited for too.
    pub async fn finish(&self, at: Instant) -> usize {
        self.tracker.close();
        tokio::select! {
            () = self.tracker.wait() => 0,
            () = deadline(at) => self.tracker.len(),
        }
    }
}

/// Wraps `future` so that it is counted from now on until it is dropped, finished or not.
fn named<F>(name: &'static str, future: F) -> impl Future<Output = F::Output> + Send
where
    F: Future<Output: Send> + Send + 'static,
{
    let alive = Alive::new(name);
    // Boxed, it is moved by its address: a wrapper holds what it wraps twice, and a call's future is large.
    let future = AssertUnwindSafe(Box::pin(future)).catch_unwind();
    let guarded = async move {
        let alive = alive;
        match future.await {
            Ok(output) => output,
            Err(panic) => {
                tracing::error!(task = name, message = message_of(panic.as_ref()), "task panicked");
                count(name, |count| count.panicked += 1);
                drop(alive);
                resume_unwind(panic)
            }
        }
    };
    guarded.in_current_span()
}

struct Alive(&'static str);

impl Alive {
    fn new(name: &'static str) -> Self {
        count(name, |count| {
            count.live += 1;
            count.started += 1;
        });
        Self(name)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        count(self.0, |count| count.live -= 1);
    }
}

fn count(name: &'static str, change: impl FnOnce(&mut Count)) {
    change(registry().entry(name).or_default());
}

fn registry() -> MutexGuard<'static, BTreeMap<&'static str, Count>> {
    // Counting cannot panic half way, so a poisoned map is still whole.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Locked once when a task starts and once when it ends, never while anything is awaited.
static REGISTRY: Mutex<BTreeMap<&'static str, Count>> = Mutex::new(BTreeMap::new());

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::server::clock;

    #[tokio::test]
    async fn a_task_is_counted_while_it_lives() {
        let (end, ended) = oneshot::channel::<()>();
        let task = spawn("test counted", async move { ended.await.is_ok() });
        assert_eq!(counts()["test counted"], Count { live: 1, started: 1, panicked: 0 });
        end.send(()).unwrap();
        assert!(task.await.unwrap());
        assert_eq!(counts()["test counted"], Count { live: 0, started: 1, panicked: 0 });
    }

    #[tokio::test]
    async fn a_task_that_is_aborted_is_no_longer_counted() {
        let task = spawn("test aborted", std::future::pending::<()>());
        assert_eq!(live("test aborted"), 1);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(live("test aborted"), 0);
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_and_is_counted() {
        let task = spawn("test panicking", async { panic!("as the test wants") });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(counts()["test panicking"], Count { live: 0, started: 1, panicked: 1 });
    }

    #[tokio::test]
    async fn a_group_is_cancelled_with_its_parent_and_waits_for_its_members() {
        let parent = Group::new();
        let child = parent.child();
        let token = child.token().clone();
        child.spawn("test member", async move { token.cancelled().await });
        let stubborn = child.spawn("test stubborn", std::future::pending::<()>());
        assert_eq!(child.len(), 2);
        parent.cancel();
        assert_eq!(child.finish(clock::now().instant + Duration::from_millis(20)).await, 1);
        stubborn.abort();
        assert_eq!(child.finish(clock::now().instant + Duration::from_secs(30)).await, 0);
        assert!(child.is_empty() && parent.is_empty());
    }

    #[tokio::test]
    async fn a_past_deadline_completes_at_once() {
        deadline(clock::now().instant).await;
        tokio::select! {
            () = deadline_if_any(None) => panic!("there is no deadline"),
            () = deadline_if_any(Some(clock::now().instant)) => {}
        }
    }
}
