//! What is kept of one SSRC: the highest index of its packets (RFC 3711 §3.3.1) and which of those before it have been
//! seen (§3.3.2).

use smallvec::SmallVec;

use crate::limits::SRTP_STREAMS_MAX;

/// Indices of one SSRC: 48 bits of RTP, rollover counter and sequence number; 31 bits of RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) ssrc: u32,
    pub(super) highest: u64,
    /// Which of the 128 indices up to the highest have been seen; the lowest bit is the highest itself.
    seen: u128,
}

/// Those of one key, the one of the latest packet first. Of [`SRTP_STREAMS_MAX`] the one that has been silent for longest
/// gives way to a new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(SmallVec<[Stream; 1]>);

impl Stream {
    pub(super) const fn new(ssrc: u32, index: u64) -> Self {
        Self { ssrc, highest: index, seen: 1 }
    }

    /// The index that a sequence number most likely stands for. `None` if it lies before the first of all.
    pub(super) fn index_of(&self, sequence: u16) -> Option<u64> {
        let highest = u16::try_from(self.highest & 0xffff).unwrap_or(0);
        let ahead = i64::from(sequence.wrapping_sub(highest).cast_signed());
        self.highest.checked_add_signed(ahead).filter(|it| *it <= RTP_INDEX_MAX)
    }

    /// Whether a packet of this index may be taken: it has not been seen, and is not too old to know.
    pub(super) fn is_new(&self, index: u64) -> bool {
        let Some(behind) = self.highest.checked_sub(index) else {
            return true;
        };
        let behind = u32::try_from(behind).unwrap_or(u32::MAX);
        1_u128.checked_shl(behind).is_some_and(|bit| self.seen & bit == 0)
    }

    /// Takes note of a packet that may be taken and was.
    pub(super) fn take(&mut self, index: u64) {
        match index.checked_sub(self.highest) {
            Some(ahead) => {
                let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = index;
            }
            None => {
                let behind = u32::try_from(self.highest - index).unwrap_or(u32::MAX);
                self.seen |= 1_u128.checked_shl(behind).unwrap_or(0);
            }
        }
    }
}

impl Streams {
    pub(super) fn get(&self, ssrc: u32) -> Option<&Stream> {
        self.0.iter().find(|it| it.ssrc == ssrc)
    }

    /// Takes note of a packet.
    pub(super) fn take(&mut self, ssrc: u32, index: u64) {
        let Some(place) = self.0.iter().position(|it| it.ssrc == ssrc) else {
            self.0.truncate(SRTP_STREAMS_MAX - 1);
            self.0.insert(0, Stream::new(ssrc, index));
            return;
        };
        if let Some(up_to_it) = self.0.get_mut(..=place).filter(|_| place > 0) {
            up_to_it.rotate_right(1);
        }
        if let Some(stream) = self.0.first_mut() {
            stream.take(index);
        }
    }

    /// Whether there is none yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and of the `others` those that are not among them.
    pub(super) fn with_others(&self, others: &Self) -> Self {
        let rest = others.0.iter().filter(|it| self.get(it.ssrc).is_none());
        Self(self.0.iter().chain(rest).take(SRTP_STREAMS_MAX).copied().collect())
    }
}

const RTP_INDEX_MAX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_taken_for_the_nearest_index() {
        let check = |highest: u64, sequence: u16, expected: Option<u64>| {
            assert_eq!(Stream::new(1, highest).index_of(sequence), expected, "{highest:#x} {sequence:#x}");
        };
        check(5, 6, Some(6));
        check(0xfffe, 1, Some(0x1_0001));
        check(0x1_0001, 0xfffe, Some(0xfffe));
        check(5, 0xfffe, None);
        check(0x2_8000, 0x0001, Some(0x2_0001));
        check(0x2_8002, 0x0001, Some(0x3_0001));
        check((1 << 48) - 1, 0, None);
    }

    #[test]
    fn an_index_is_taken_once() {
        let mut stream = Stream::new(1, 1_000);
        for (index, expected) in
            [(1_000, false), (1_001, true), (1_001, false), (999, true), (999, false), (1_200, true), (1_072, false)]
        {
            assert_eq!(stream.is_new(index), expected, "{index}");
            if expected {
                stream.take(index);
            }
        }
        assert!(stream.is_new(1_073) && stream.is_new(1_199) && !stream.is_new(1_000));
        stream.take(1_073);
        assert!(!stream.is_new(1_073));
        stream.take(1_200 + 128);
        assert!(stream.is_new(1_201) && !stream.is_new(1_200));
    }

    #[test]
    fn the_stream_that_has_been_silent_for_longest_gives_way() {
        let mut streams = Streams::default();
        for ssrc in 0..16 {
            streams.take(ssrc, 7);
        }
        streams.take(0, 8);
        streams.take(16, 7);
        assert!((0..17).all(|ssrc| streams.get(ssrc).is_some() == (ssrc != 1)));
        assert!(streams.get(0).is_some_and(|it| !it.is_new(8) && it.is_new(9)));
        let others = streams.with_others(&Streams(SmallVec::from_iter([Stream::new(1, 9), Stream::new(0, 9)])));
        assert!(others.get(0).is_some_and(|it| it.highest == 8) && others.get(1).is_none());
    }
}
