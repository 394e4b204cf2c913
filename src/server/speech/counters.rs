//! What the speech server counts, for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One number that goes up, or up and down.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, for as long as what is returned lives.
    pub fn hold(counters: &Arc<Counters>, which: fn(&Counters) -> &Self) -> Held {
        which(counters).add(1);
        Held { counters: Arc::clone(counters), which }
    }
}

/// One of something that a gauge counts.
#[derive(Debug)]
pub struct Held {
    counters: Arc<Counters>,
    which: fn(&Counters) -> &Counter,
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.which)(&self.counters).0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Recogniser sessions connected (gauge).
    pub recogniser_sessions: Counter,
    /// Synthesiser sessions connected (gauge).
    pub synthesiser_sessions: Counter,
    /// Recognisers assigned to a session (gauge).
    pub recognisers_busy: Counter,
    /// Sessions waiting for a recogniser (gauge).
    pub recognisers_awaited: Counter,
    /// Sessions that waited for a recogniser in vain.
    pub recognisers_refused: Counter,
    /// Utterances recognised.
    pub utterances: Counter,
    /// Sentences synthesised.
    pub sentences: Counter,
    /// Audio synthesised, in milliseconds.
    pub synthesised_ms: Counter,
    /// Connections refused: no or a wrong token, an origin, a bad query, too many sessions.
    pub connections_refused: Counter,
    /// Sessions ended by a fatal error of either side.
    pub sessions_failed: Counter,
}
