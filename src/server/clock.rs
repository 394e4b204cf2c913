//! The one place that reads the clocks. Everything else is handed a [`Now`].
#![expect(clippy::disallowed_methods, reason = "the shell reads time here and hands it to everything else")]

use std::time::{Duration, SystemTime};

use crate::timer::Now;

/// This moment, on both clocks.
///
/// The monotonic clock is tokio's, which is the system's except in a test that paused it, so that deadlines and timers
/// of one process never disagree. A wall clock set before 1970 reads as 1970.
pub fn now() -> Now {
    Now {
        instant: tokio::time::Instant::now().into_std(),
        unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = now();
        let second = now();
        assert!(first <= second);
        assert!(first.unix > Duration::from_secs(1_700_000_000));
    }
}
