//! How the legs of calls under way are, for whoever asks: once a second each leaves its report here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Leg, WorkerMetrics};
use crate::identity::{CallId, LegId};
use crate::media::Report;
use crate::timer::Now;

/// The latest reports of the legs of a media thread.
#[derive(Debug, Default)]
pub struct LiveReports(Mutex<BTreeMap<LegId, Report>>);

impl LiveReports {
    /// Never waits: while somebody reads, the report of a second ago stays.
    pub(super) fn put(&self, leg: LegId, report: Report) {
        if let Ok(mut reports) = self.0.try_lock() {
            reports.insert(leg, report);
        }
    }

    /// The leg is closed.
    pub(super) fn remove(&self, leg: LegId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&leg);
    }

    /// Of the legs of a call, by their numbers.
    pub fn of_call(&self, call: CallId) -> Vec<(u8, Report)> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let legs = LegId { call, index: 0 }..=LegId { call, index: u8::MAX };
        reports.range(legs).map(|(leg, report)| (leg.index, *report)).collect()
    }
}

impl Leg {
    /// Tells the metrics, and whoever asks for it, what it has come to.
    pub(super) fn publish(&mut self, metrics: &WorkerMetrics, now: Now) {
        let report = self.session.report(now);
        metrics.publish(&report, &self.published);
        metrics.live.put(self.id, report);
        self.published = report;
    }
}
