//! How the media of legs were: histograms of what is known when each is over.

use prometheus::{Histogram, HistogramOpts, IntCounter, Opts, Registry};

use super::metrics::{counters, histogram, seconds};
use crate::codec::AudioCodec;
use crate::platform::calls::MediaReport;

/// Of the media of legs that are over.
pub(super) struct MediaMetrics {
    jitter: Histogram,
    mos: Histogram,
    round_trip: Histogram,
    jitter_buffer: Histogram,
    codecs: Vec<(&'static str, IntCounter)>,
}

impl MediaMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let jitter = HistogramOpts::new("hookswitch_rtp_jitter_seconds", "Interarrival jitter of a leg at its end.");
        let mos = HistogramOpts::new("hookswitch_rtp_mos", "Mean opinion score of what a leg heard, by the E-model.");
        let round_trip =
            HistogramOpts::new("hookswitch_rtp_round_trip_seconds", "Round trip of a leg by RTCP at its end.");
        let jitter_buffer = HistogramOpts::new(
            "hookswitch_rtp_jitter_buffer_seconds",
            "What the jitter buffer of a leg added to the delay on the average.",
        );
        let legs = counters(
            registry,
            Opts::new("hookswitch_rtp_legs_ended_total", "Legs whose media ended, by codec."),
            &["codec"],
        );
        let mut codecs: Vec<_> = AudioCodec::ALL.iter().map(|it| it.name()).collect();
        codecs.dedup();
        Self {
            jitter: histogram(registry, jitter, &JITTER_SECONDS),
            mos: histogram(registry, mos, &MOS),
            round_trip: histogram(registry, round_trip, &ROUND_TRIP_SECONDS),
            jitter_buffer: histogram(registry, jitter_buffer, &JITTER_BUFFER_SECONDS),
            codecs: codecs.into_iter().map(|it| (it, legs.with_label_values(&[it]))).collect(),
        }
    }

    /// One more is over.
    pub(super) fn observe(&self, report: &MediaReport) {
        self.jitter.observe(f64::from(report.jitter_us) / 1e6);
        if let Some(mos_hundredths) = report.mos_hundredths {
            self.mos.observe(f64::from(mos_hundredths) / 100.0);
        }
        if let Some(ms) = report.round_trip_ms {
            self.round_trip.observe(seconds(ms));
        }
        if let Some(ms) = report.jitter_buffer.as_ref().and_then(|it| it.delay_mean_ms) {
            self.jitter_buffer.observe(seconds(ms));
        }
        if let Some((_, counter)) = self.codecs.iter().find(|(name, _)| *name == report.codec) {
            counter.inc();
        }
    }
}

const MOS: [f64; 9] = [1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.3, 4.4];
const JITTER_SECONDS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
const ROUND_TRIP_SECONDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6];
/// The target is 20 to 200 ms.
const JITTER_BUFFER_SECONDS: [f64; 9] = [0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24];
