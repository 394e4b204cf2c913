//! What a media thread counts, and tells of its legs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::live::LiveReports;
use super::{Leg, MediaEvent};
use crate::media::{Dropped, LegTransport, Report};

/// The counters of one media thread. All but [`WorkerMetrics::legs`] only grow. What is counted in sessions arrives here
/// within a second.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Open legs.
    pub legs: AtomicU64,
    /// Legs that were closed by a panic.
    pub legs_failed: AtomicU64,
    /// Valid RTP packets received.
    pub packets_in: AtomicU64,
    /// RTP packets sent.
    pub packets_out: AtomicU64,
    /// Packets that never arrived.
    pub lost: AtomicU64,
    /// Packets that arrived after they were needed.
    pub late: AtomicU64,
    /// Frames of which audio had to be invented.
    pub concealed: AtomicU64,
    /// Datagrams on shared ports from where no leg's peer is.
    pub unmatched: AtomicU64,
    /// Datagrams that were not used, in the order of [`Dropped::by_reason`].
    pub dropped: [AtomicU64; 8],
    /// Packets that had come before, on legs without keys.
    pub duplicates: AtomicU64,
    /// RTP packets that came back as ICMP errors.
    pub refused: AtomicU64,
    /// Utterances that were interrupted because their next frame had not come in time.
    pub underruns: AtomicU64,
    /// Interarrival jitter, in microseconds, once a second and leg; divided by [`WorkerMetrics::jitter_samples`], the mean.
    pub jitter_us: AtomicU64,
    /// How often jitter was added up.
    pub jitter_samples: AtomicU64,
    /// Ticks of legs.
    pub ticks: AtomicU64,
    /// Ticks that were over five milliseconds late.
    pub ticks_late: AtomicU64,
    /// Ticks that were skipped after a stall.
    pub ticks_skipped: AtomicU64,
    /// Frames and digits that a leg had no room for.
    pub commands_refused: AtomicU64,
    /// Datagrams that the system did not take.
    pub send_failures: AtomicU64,
    /// Receive calls that failed.
    pub receive_failures: AtomicU64,
    /// How the legs are.
    pub live: LiveReports,
}

impl WorkerMetrics {
    /// Datagrams that were not used, by reason.
    pub fn dropped(&self) -> [(&'static str, u64); 8] {
        let mut reasons = Dropped::default().by_reason();
        for ((_, count), counter) in reasons.iter_mut().zip(&self.dropped) {
            *count = counter.load(Ordering::Relaxed);
        }
        reasons
    }

    /// Adds what a leg has counted since `before`.
    pub(super) fn publish(&self, report: &Report, before: &Report) {
        let add = |counter: &AtomicU64, count: fn(&Report) -> u64| {
            // Loss may shrink when a packet that was missed comes after all.
            counter.fetch_add(count(report).saturating_sub(count(before)), Ordering::Relaxed);
        };
        add(&self.packets_in, |it| it.received.packets);
        add(&self.packets_out, |it| it.sent.packets);
        add(&self.lost, |it| it.received.lost);
        add(&self.late, |it| it.received.late);
        add(&self.concealed, |it| it.received.concealed_frames);
        add(&self.duplicates, |it| it.received.duplicates);
        add(&self.refused, |it| it.sent.refused);
        add(&self.underruns, |it| it.sent.underruns);
        let dropped = report.dropped.by_reason().into_iter().zip(before.dropped.by_reason());
        for (counter, ((_, count), (_, before))) in self.dropped.iter().zip(dropped) {
            counter.fetch_add(count.saturating_sub(before), Ordering::Relaxed);
        }
        if report.received.packets > before.received.packets {
            self.jitter_us.fetch_add(u64::from(report.received.jitter_us), Ordering::Relaxed);
            self.jitter_samples.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Leg {
    /// Tells once that the peer has said nothing for too long.
    pub(super) fn tell_inactivity(&mut self, inactive_for: Duration, events: &mpsc::Sender<MediaEvent>) {
        let is_lost = matches!(&self.transport, LegTransport::WebRtc(peer) if peer.is_lost());
        let is_inactive = is_lost || self.inactivity.is_some_and(|it| inactive_for >= it);
        if is_inactive && !self.inactivity_told {
            // If there is no room, the next tick tries again.
            self.inactivity_told = events.try_send(MediaEvent::Inactive { leg: self.id }).is_ok();
        } else if !is_inactive {
            self.inactivity_told = false;
        }
    }
}
