//! What is still to be said on a leg: a queue of frames, each of an utterance, and what of it has left.

use std::collections::VecDeque;

use crate::codec::Frame;
use crate::limits::PLAYOUT_FRAMES_MAX;

/// 20 ms to be played, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayoutFrame {
    /// Names the utterance; comes back in [`Played`].
    pub utterance: u32,
    /// Its next 20 ms.
    pub frame: Frame,
}

/// How far an utterance has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// The utterance.
    pub utterance: u32,
    /// Samples of it sent so far, at the rate of its frames.
    pub position: u32,
}

/// [`PLAYOUT_FRAMES_MAX`] frames wait: this one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the playout queue is full")]
pub struct PlayoutFull;

/// The queue. When full, it refuses frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Playout {
    queue: VecDeque<PlayoutFrame>,
    /// The utterance that was sent last, and how many frames of it.
    played: Option<(u32, u32)>,
    /// The queue was found empty since the last frame, and not because it had been cleared.
    ran_dry: bool,
    was_cleared: bool,
    underruns: u64,
}

impl Playout {
    pub(super) fn push(&mut self, frame: PlayoutFrame) -> Result<(), PlayoutFull> {
        if self.queue.len() >= PLAYOUT_FRAMES_MAX {
            return Err(PlayoutFull);
        }
        if self.queue.capacity() == 0 {
            // What a bridged leg needs; a frame is long, and there are many legs.
            self.queue.reserve_exact(2);
        }
        self.queue.push_back(frame);
        Ok(())
    }

    /// The frame to send now. To be called once a tick.
    pub(super) fn next(&mut self) -> Option<(Frame, Played)> {
        let Some(PlayoutFrame { utterance, frame }) = self.queue.pop_front() else {
            self.ran_dry = !self.was_cleared;
            return None;
        };
        let before = self.played.filter(|it| it.0 == utterance);
        if before.is_some() && self.ran_dry {
            self.underruns += 1;
        }
        self.ran_dry = false;
        self.was_cleared = false;
        let frames = before.map_or(0, |it| it.1).saturating_add(1);
        self.played = Some((utterance, frames));
        let frame_len = frame.rate().hz() / 1_000 * Frame::MS;
        Some((frame, Played { utterance, position: frames.saturating_mul(frame_len) }))
    }

    /// Forgets what has not been sent. What follows of the same utterance counts from where it was cut.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.was_cleared = true;
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How often an utterance was interrupted because its next frame had not come in time.
    pub(super) const fn underruns(&self) -> u64 {
        self.underruns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn positions_count_within_an_utterance() {
        check("1 1 2 2", "1@160 1@320 2@160 2@320", 0);
    }

    #[test]
    fn a_gap_within_an_utterance_is_an_underrun_and_one_between_two_is_not() {
        check("1 . . 1 . 2", "1@160 . . 1@320 . 2@160", 1);
    }

    #[test]
    fn nothing_of_what_was_cleared_is_played() {
        check("1 x1 1", "1@160 . 1@320", 0);
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut playout = Playout::default();
        for _ in 0..PLAYOUT_FRAMES_MAX {
            assert_eq!(playout.push(frame(1)), Ok(()));
        }
        assert_eq!(playout.push(frame(1)), Err(PlayoutFull));
        assert_eq!(playout.len(), PLAYOUT_FRAMES_MAX);
    }

    /// Each word of `script` is one tick: `1` plays a frame of utterance 1, `x1` plays one and clears, `.` does nothing.
    #[track_caller]
    fn check(script: &str, expected: &str, underruns: u64) {
        let mut playout = Playout::default();
        let mut log = vec![];
        for word in script.split(' ') {
            if let Ok(utterance) = word.trim_start_matches('x').parse() {
                playout.push(frame(utterance)).unwrap();
            }
            if word.starts_with('x') {
                playout.clear();
            }
            let played = playout.next().map(|(_, it)| format!("{}@{}", it.utterance, it.position));
            log.push(played.unwrap_or_else(|| ".".to_owned()));
        }
        assert_eq!(log.join(" "), expected);
        assert_eq!(playout.underruns(), underruns);
    }

    fn frame(utterance: u32) -> PlayoutFrame {
        PlayoutFrame { utterance, frame: Frame::silence(SampleRate::Hz8000) }
    }
}
