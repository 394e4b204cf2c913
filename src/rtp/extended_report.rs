//! [`VoipMetrics`]: what a peer says of how our audio sounds to it, in an extended report (RFC 3611 §4.7).

/// The VoIP metrics of one stream. What the peer does not know is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// Whose stream.
    pub ssrc: u32,
    /// Packets lost in the network since the beginning, in 1/256.
    pub loss_rate: u8,
    /// Packets that came too late to be played, in 1/256.
    pub discard_rate: u8,
    /// The round-trip time that the peer measured, in milliseconds; 0 if it has not.
    pub round_trip_ms: u16,
    /// The delay that the peer's own end adds, in milliseconds.
    pub end_system_ms: u16,
    /// The rating factor of the E-model, 0 to 100.
    pub rating: Option<u8>,
    /// The mean opinion score of listening, in tenths, 10 to 50.
    pub mos_listening_tenths: Option<u8>,
    /// The mean opinion score of conversation, in tenths, 10 to 50.
    pub mos_conversation_tenths: Option<u8>,
    /// The nominal delay of its jitter buffer, in milliseconds.
    pub jitter_buffer_ms: u16,
}

impl VoipMetrics {
    /// The first VoIP metrics among the report blocks in the body of an extended report, its sender's SSRC left out.
    pub(super) fn find(mut blocks: &[u8]) -> Option<Self> {
        loop {
            let ([block_type, _, high, low], rest) = blocks.split_first_chunk::<4>()?;
            let len = 4 * usize::from(u16::from_be_bytes([*high, *low]));
            let (content, after) = rest.split_at_checked(len)?;
            if *block_type == VOIP_METRICS
                && let Some(metrics) = Self::read(content)
            {
                return Some(metrics);
            }
            blocks = after;
        }
    }

    fn read(content: &[u8]) -> Option<Self> {
        let content: &[u8; VOIP_METRICS_BYTES] = content.first_chunk()?;
        let [a, b, c, d, loss_rate, discard_rate, _, _, _, _, _, _, trip_high, trip_low, end_high, end_low, ..] =
            *content;
        let [.., rating, _, listening, conversation, _, _, buffer_high, buffer_low, _, _, _, _] = *content;
        let score = |tenths: u8| (10..=50).contains(&tenths).then_some(tenths);
        Some(Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            loss_rate,
            discard_rate,
            round_trip_ms: u16::from_be_bytes([trip_high, trip_low]),
            end_system_ms: u16::from_be_bytes([end_high, end_low]),
            rating: (rating <= 100).then_some(rating),
            mos_listening_tenths: score(listening),
            mos_conversation_tenths: score(conversation),
            jitter_buffer_ms: u16::from_be_bytes([buffer_high, buffer_low]),
        })
    }
}

const VOIP_METRICS: u8 = 7;
/// Eight words follow the block's header.
const VOIP_METRICS_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// After the header: SSRC; loss, discard, densities; burst, gap; round trip, end system; signal, noise, RERL, Gmin;
    /// R, external R, MOS-LQ, MOS-CQ; configuration, reserved, nominal; maximum, absolute maximum.
    const METRICS: [u8; 36] = [
        7, 0, 0, 8, 0, 0, 0, 9, 13, 5, 0, 0, 0, 0, 0, 0, 0, 40, 0, 60, 127, 127, 127, 16, 80, 127, 41, 39, 0x30, 0, 0,
        60, 0, 90, 0, 200,
    ];

    #[test]
    fn metrics_are_found_among_other_blocks() {
        let expected = VoipMetrics {
            ssrc: 9,
            loss_rate: 13,
            discard_rate: 5,
            round_trip_ms: 40,
            end_system_ms: 60,
            rating: Some(80),
            mos_listening_tenths: Some(41),
            mos_conversation_tenths: Some(39),
            jitter_buffer_ms: 60,
        };
        assert_eq!(VoipMetrics::find(&METRICS), Some(expected));
        let receiver_time = [4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        let both = [&receiver_time[..], &METRICS].concat();
        assert_eq!(VoipMetrics::find(&both), Some(expected));
        let mut unknown = METRICS;
        unknown[24..28].fill(127);
        let found = VoipMetrics::find(&unknown).map(|it| (it.rating, it.mos_listening_tenths));
        assert_eq!(found, Some((None, None)));
    }

    #[test]
    fn what_is_cut_is_not_there() {
        for len in 0..METRICS.len() {
            assert_eq!(VoipMetrics::find(&METRICS[..len]), None, "{len}");
        }
        let mut short = METRICS;
        short[3] = 2;
        assert_eq!(VoipMetrics::find(&short), None);
        assert_eq!(VoipMetrics::find(&[7, 0, 0xff, 0xff]), None);
    }
}
