//! What became of a leg's media, in the words of the journal and the API.

use crate::media;
use crate::platform::calls::{JitterBufferReasons, JitterBufferReport, MediaReport};

/// Of leg number `leg`.
pub(crate) fn media_report(leg: u8, report: &media::Report) -> MediaReport {
    let media::Report { received, sent, dropped, remote, .. } = report;
    let dropped_now = dropped.by_reason().into_iter().filter(|(_, count)| *count > 0);
    MediaReport {
        leg,
        codec: report.codec.map_or_else(String::new, |it| it.name().to_owned()),
        packets_sent: sent.packets,
        packets_received: received.packets,
        packets_lost: received.lost,
        packets_late: received.late,
        packets_duplicate: received.duplicates,
        packets_strange: dropped.strange(),
        packets_refused: Some(report.sent.refused).filter(|it| *it > 0),
        packets_dropped: dropped_now.map(|(reason, count)| (reason.to_owned(), count)).collect(),
        concealed_ms: received.concealed_frames * 20,
        jitter_us: received.jitter_us,
        jitter_max_us: received.jitter_max_us,
        jitter_buffer: received.aim.map(|aim| jitter_buffer(aim, received)),
        mos_hundredths: Some(report.quality.mos_hundredths).filter(|it| *it > 0),
        round_trip_ms: remote.round_trip_us.map(|it| it.div_ceil(1_000)),
        far_packets_lost: (remote.reports > 0).then_some(u64::try_from(remote.lost).unwrap_or(0)),
        far_jitter_us: (remote.reports > 0).then_some(remote.jitter_us),
        far_mos_hundredths: far_mos_hundredths(report),
    }
}

fn jitter_buffer(aim: media::Aim, received: &media::Received) -> JitterBufferReport {
    let ms = |us: u64| u32::try_from(us / 1_000).unwrap_or(u32::MAX);
    JitterBufferReport {
        target_ms: aim.target_ms,
        because: JitterBufferReasons { least_ms: aim.least_ms, lateness_ms: aim.lateness_ms, fec_ms: aim.reserve_ms },
        delay_ms: ms(received.delay_us),
        delay_mean_ms: received.delay_mean_us.map(ms),
        shortened: received.shortened,
        skipped: received.skipped,
        recovered_ms: received.recovered_frames * 20,
    }
}

fn far_mos_hundredths(report: &media::Report) -> Option<u16> {
    let told = report.remote.voip.and_then(|it| it.mos_conversation_tenths.or(it.mos_listening_tenths));
    let estimated = report.remote_quality.map(|it| it.mos_hundredths).filter(|it| *it > 0);
    told.map(|it| u16::from(it) * 10).or(estimated)
}
