//! What a receiver keeps of one stream: RFC 3550 §A.1 (sequence numbers), §A.3 (loss) and §A.8 (jitter).
//!
//! Losses of streams that ended (another SSRC, a restarted numbering) stay counted.

use crate::rtp::sequence_distance;

/// Statistics of the stream that is followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Reception {
    stream: Option<Stream>,
    /// The sequence number that would confirm that the numbering has restarted.
    restart_at: Option<u16>,
    /// Of streams that ended.
    expected_before: u64,
    received_before: u64,
    duplicates: u64,
    /// At the last report.
    reported: (u64, u64),
    transit: Option<u32>,
    /// In sixteenths of a unit, as in §A.8.
    jitter: u32,
    jitter_max: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    first: u64,
    /// Extended by the number of wraps; the first of a stream lies between 2^16 and 2^17.
    highest: u64,
    received: u64,
    /// Which of the 64 numbers up to the highest have come; the lowest bit is the highest itself.
    seen: u64,
}

/// What a sequence number says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be used.
    Valid,
    /// It has come before.
    Duplicate,
    /// Far away from the others: to be dropped, unless the next one follows it.
    Astray,
    /// The second one in order after a jump: to be used, as the first of a new numbering.
    Restarted,
}

impl Reception {
    /// Takes a packet into account.
    pub(super) fn handle(&mut self, sequence: u16) -> Verdict {
        let Some(stream) = &mut self.stream else {
            self.begin(sequence);
            return Verdict::Valid;
        };
        let ahead = sequence_distance(low_bits(stream.highest), sequence);
        match ahead {
            1..=DROPOUT_MAX => {
                stream.highest += u64::from(ahead.unsigned_abs());
                stream.seen = stream.seen.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0) | 1;
            }
            MISORDER_MAX..=0 => {
                let bit = 1_u64.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0);
                if stream.seen & bit != 0 {
                    self.duplicates += 1;
                    return Verdict::Duplicate;
                }
                stream.seen |= bit;
            }
            _ if self.restart_at == Some(sequence) => {
                self.restart();
                self.begin(sequence);
                return Verdict::Restarted;
            }
            _ => {
                self.restart_at = Some(sequence.wrapping_add(1));
                return Verdict::Astray;
            }
        }
        stream.received += 1;
        self.restart_at = None;
        Verdict::Valid
    }

    /// Takes a packet's time into account; both in units of the stream's clock.
    pub(super) fn handle_time(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A jump of the timestamps is not jitter.
            if difference < TIME_JUMP {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
                self.jitter_max = self.jitter_max.max(self.jitter);
            }
        }
    }

    /// The stream has ended; the next packet begins another.
    pub(super) fn restart(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.expected_before += stream.expected();
            self.received_before += stream.received;
        }
        self.transit = None;
        self.restart_at = None;
    }

    /// Times count at another rate from now on.
    pub(super) fn change_clock(&mut self, from_hz: u32, to_hz: u32) {
        let scaled = |it: u32| u64::from(it) * u64::from(to_hz) / u64::from(from_hz.max(1));
        self.jitter = u32::try_from(scaled(self.jitter)).unwrap_or(u32::MAX);
        self.jitter_max = u32::try_from(scaled(self.jitter_max)).unwrap_or(u32::MAX);
        self.transit = None;
    }

    /// Packets lost since the beginning.
    pub(super) fn lost(&self) -> u64 {
        let (expected, received) = self.totals();
        expected.saturating_sub(received)
    }

    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Interarrival jitter now and at its highest, in units of the stream's clock.
    pub(super) const fn jitter(&self) -> (u32, u32) {
        (self.jitter >> 4, self.jitter_max >> 4)
    }

    /// For a report block: the fraction lost since the last call in 1/256, the packets lost of this stream, and its
    /// highest sequence number with its wraps. `None` without a stream.
    pub(super) fn report(&mut self) -> Option<(u8, i32, u32)> {
        let stream = self.stream?;
        let (expected, received) = self.totals();
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, received));
        let expected = expected - expected_before;
        let lost = expected.saturating_sub(received - received_before);
        let fraction = (lost << 8).checked_div(expected).map_or(0, |it| u8::try_from(it).unwrap_or(u8::MAX));
        let lost = i32::try_from(stream.expected().saturating_sub(stream.received)).unwrap_or(i32::MAX);
        let highest = u32::try_from((stream.highest - (1 << 16)) & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Some((fraction, lost, highest))
    }

    fn begin(&mut self, sequence: u16) {
        let first = (1 << 16) + u64::from(sequence);
        self.stream = Some(Stream { first, highest: first, received: 1, seen: 1 });
    }

    fn totals(&self) -> (u64, u64) {
        let (expected, received) = self.stream.map_or((0, 0), |it| (it.expected(), it.received));
        (self.expected_before + expected, self.received_before + received)
    }
}

impl Stream {
    const fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }
}

fn low_bits(sequence: u64) -> u16 {
    u16::try_from(sequence & 0xffff).unwrap_or(0)
}

const DROPOUT_MAX: i16 = 1_000;
const MISORDER_MAX: i16 = -100;
/// Ten seconds at 8 kHz.
const TIME_JUMP: u32 = 80_000;

#[cfg(test)]
mod tests {
    use super::Verdict::{Astray, Duplicate, Restarted, Valid};
    use super::*;

    #[test]
    fn order_wraps_loss_and_duplicates() {
        let mut reception = Reception::default();
        for (sequence, expected) in [(65_533, Valid), (65_534, Valid), (0, Valid), (65_535, Valid), (0, Duplicate)] {
            assert_eq!(reception.handle(sequence), expected, "{sequence}");
        }
        assert_eq!((reception.lost(), reception.duplicates()), (0, 1));
        assert_eq!(reception.handle(4), Valid);
        assert_eq!(reception.lost(), 3);
        assert_eq!(reception.report(), Some((96, 3, 0x1_0004)));
        assert_eq!(reception.handle(5), Valid);
        assert_eq!(reception.report(), Some((0, 3, 0x1_0005)));
    }

    #[test]
    fn a_jump_is_followed_at_its_second_packet() {
        let mut reception = Reception::default();
        let packets = [
            (100, Valid),
            (30_000, Astray),
            (101, Valid),
            (40_000, Astray),
            (50_000, Astray),
            (50_001, Restarted),
            (50_002, Valid),
            (50_004, Valid),
        ];
        for (sequence, expected) in packets {
            assert_eq!(reception.handle(sequence), expected, "{sequence}");
        }
        assert_eq!(reception.lost(), 1);
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let mut reception = Reception::default();
        for index in 0..1_000 {
            reception.handle_time(index * 160, index * 160 + index % 2 * 80);
        }
        assert_eq!(reception.jitter(), (79, 79));
        reception.handle_time(0, 1_000 * 160); // timestamps begin anew
        assert_eq!(reception.jitter(), (79, 79));
    }
}
