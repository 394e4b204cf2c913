//! The bounded pool of recognisers. Each runs on an operating-system thread of its own for as long as its session
//! lasts, with a decoder of its own. A session beyond the pool waits for one up to a configured time, then is told that
//! all are busy; counters tell how many wait and how many waited in vain.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::counters::{Counter, Counters};
use super::model::Model;
use super::recogniser::{Outcome, Recogniser};
use crate::agent::provider::speech_protocol::{ErrorCode, RecogniserDemand};
use crate::codec::SampleRate;
use crate::limits::SPEECH_RECOGNISER_QUEUE_MAX;
use crate::server::{clock, task};

/// The pool.
#[derive(Clone, Debug)]
pub(super) struct Decoders {
    permits: Arc<Semaphore>,
    wait: Duration,
    model: Model,
    counters: Arc<Counters>,
}

/// A session's ends of the queues to and from its recogniser. When `demands` is full, the session reads no more from its
/// client until there is room; when `outcomes` is full, the recogniser waits, except that it drops partial results.
/// Dropping both ends the recogniser.
#[derive(Debug)]
pub(super) struct RecogniserLine {
    /// To the recogniser.
    pub demands: mpsc::Sender<RecogniserDemand>,
    /// From it. Ends without `Failed` only if it crashed.
    pub outcomes: mpsc::Receiver<Outcome>,
}

/// The recogniser's ends.
#[derive(Debug)]
pub(super) struct RecogniserEnd {
    /// From the session.
    pub demands: mpsc::Receiver<RecogniserDemand>,
    /// To it.
    pub outcomes: mpsc::Sender<Outcome>,
}

/// A pair of bounded queues.
pub(super) fn line() -> (RecogniserLine, RecogniserEnd) {
    let (demands, demanded) = mpsc::channel(SPEECH_RECOGNISER_QUEUE_MAX);
    let (tell, outcomes) = mpsc::channel(SPEECH_RECOGNISER_QUEUE_MAX);
    (RecogniserLine { demands, outcomes }, RecogniserEnd { demands: demanded, outcomes: tell })
}

impl Decoders {
    /// A pool of `count` recognisers.
    pub(super) fn new(count: usize, wait: Duration, model: Model, counters: Arc<Counters>) -> Self {
        Self { permits: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))), wait, model, counters }
    }

    /// A line to a recogniser for audio at `rate`, which says `Ready` once there is one.
    pub(super) fn open(&self, rate: SampleRate) -> RecogniserLine {
        let (line, end) = line();
        task::spawn("speech recogniser wait", self.clone().assign(rate, end));
        line
    }

    async fn assign(self, rate: SampleRate, end: RecogniserEnd) {
        let awaited = Counter::hold(&self.counters, |it| &it.recognisers_awaited);
        let permit = tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = task::deadline(clock::now().instant + self.wait) => None,
            () = end.outcomes.closed() => return,
        };
        drop(awaited);
        let Some(permit) = permit else {
            self.counters.recognisers_refused.add(1);
            let message = format!("all recognisers were taken for {} ms", self.wait.as_millis());
            return tell_failure(&end, ErrorCode::Busy, message).await;
        };
        let outcomes = end.outcomes.clone();
        let counters = Arc::clone(&self.counters);
        let thread = std::thread::Builder::new().name("recogniser".to_owned());
        if let Err(error) = thread.spawn(move || run(self.model, rate, end, &counters, permit)) {
            let failure = Outcome::Failed { code: ErrorCode::EngineFailed, message: format!("no thread: {error}") };
            // Nobody is told if the session has gone meanwhile.
            outcomes.send(failure).await.ok();
        }
    }
}

async fn tell_failure(end: &RecogniserEnd, code: ErrorCode, message: String) {
    // Nobody is told if the session has gone meanwhile.
    end.outcomes.send(Outcome::Failed { code, message }).await.ok();
}

/// The recogniser's thread. The permit returns to the pool when it ends, by a panic too.
fn run(model: Model, rate: SampleRate, end: RecogniserEnd, counters: &Arc<Counters>, permit: OwnedSemaphorePermit) {
    let RecogniserEnd { mut demands, outcomes } = end;
    let _busy = Counter::hold(counters, |it| &it.recognisers_busy);
    let mut recogniser = Recogniser::new(model, rate);
    if outcomes.blocking_send(Outcome::Ready).is_err() {
        return;
    }
    while let Some(demand) = demands.blocking_recv() {
        if outcomes.is_closed() {
            break;
        }
        for outcome in recogniser.handle(demand) {
            let is_last = matches!(outcome, Outcome::Failed { .. });
            counters.utterances.add(u64::from(matches!(outcome, Outcome::Complete { .. })));
            let is_told = if matches!(outcome, Outcome::Partial { .. }) {
                // A session that is behind does without a partial result; the next supersedes it.
                outcomes.try_send(outcome).is_ok() || !outcomes.is_closed()
            } else {
                outcomes.blocking_send(outcome).is_ok()
            };
            if is_last || !is_told {
                return;
            }
        }
    }
    drop(recogniser);
    drop(permit);
}
