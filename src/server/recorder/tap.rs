//! The way of a leg's audio from its media thread to the recorder: one bounded queue of samples without a lock.
//!
//! A tick is written whole or not at all. What does not fit is dropped; the reader notices by the numbers of the ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::codec::{Frame, SampleRate};
use crate::limits::TAP_TICKS_MAX;

/// The media thread's end of a recording. Dropping it finishes the recording.
#[derive(Debug)]
pub struct TapEnd {
    samples: Producer<i16>,
    is_paused: Arc<AtomicBool>,
}

/// Pauses a recording and lets it go on; clones do so to the same one.
#[derive(Clone, Debug)]
pub struct TapControl(Arc<AtomicBool>);

/// The recorder's end.
#[derive(Debug)]
pub(super) struct TapReader {
    samples: Consumer<i16>,
}

/// A tick as the recorder gets it. Of a direction without audio there are no samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TapTick {
    pub(super) number: u64,
    pub(super) heard: Channel,
    pub(super) sent: Channel,
}

/// 20 ms of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) hz: u32,
    pub(super) samples: Vec<i16>,
}

/// A queue for [`TAP_TICKS_MAX`] ticks of audio at `rate`.
pub(super) fn tap(rate: SampleRate) -> (TapEnd, TapReader) {
    let (producer, consumer) = RingBuffer::new(TAP_TICKS_MAX * (HEAD_LEN + 2 * rate.frame_len()));
    (TapEnd { samples: producer, is_paused: Arc::default() }, TapReader { samples: consumer })
}

impl TapEnd {
    /// Takes a tick down: what was heard and what was sent, silence standing for nothing. Dropped if the queue is full.
    pub fn tick(&mut self, number: u64, heard: Option<&Frame>, sent: Option<&Frame>) {
        let is_paused = self.is_paused.load(Ordering::Relaxed);
        let (heard, sent) = (heard.filter(|_| !is_paused), sent.filter(|_| !is_paused));
        let samples = |frame: Option<&Frame>| frame.map_or(0, |it| it.samples().len());
        let len = HEAD_LEN + samples(heard) + samples(sent);
        let Ok(chunk) = self.samples.write_chunk_uninit(len) else {
            return;
        };
        let words = number.to_ne_bytes();
        let number = words.as_chunks::<2>().0.iter().map(|it| i16::from_ne_bytes(*it));
        let head = number.chain([kilohertz(heard), small(samples(heard)), kilohertz(sent), small(samples(sent))]);
        let audio = heard.into_iter().chain(sent).flat_map(|it| it.samples().iter().copied());
        chunk.fill_from_iter(head.chain(audio));
    }

    /// A handle that pauses the recording.
    pub fn control(&self) -> TapControl {
        TapControl(Arc::clone(&self.is_paused))
    }
}

impl TapControl {
    /// From the next tick on, silence is recorded, or the call again. While paused no audio leaves the media thread.
    pub fn pause(&self, is_paused: bool) {
        self.0.store(is_paused, Ordering::Relaxed);
    }
}

impl TapReader {
    /// Whether nothing more will come than what is there.
    pub(super) fn is_over(&self) -> bool {
        self.samples.is_abandoned()
    }

    /// Takes the next tick, in place of what `tick` held.
    pub(super) fn next(&mut self, tick: &mut TapTick) -> bool {
        let mut head = [0; HEAD_LEN];
        if self.samples.pop_entire_slice(&mut head).is_err() {
            return false;
        }
        let [a, b, c, d, heard_khz, heard_len, sent_khz, sent_len] = head;
        let words = [a, b, c, d].map(i16::to_ne_bytes);
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(words.as_flattened()) {
            *to = *from;
        }
        tick.number = u64::from_ne_bytes(number);
        for (channel, khz, len) in [(&mut tick.heard, heard_khz, heard_len), (&mut tick.sent, sent_khz, sent_len)] {
            channel.hz = u32::from(khz.unsigned_abs()) * 1_000;
            channel.samples.clear();
            channel.samples.resize(usize::from(len.unsigned_abs()), 0);
            // The other end commits whole ticks.
            self.samples.pop_entire_slice(&mut channel.samples).unwrap_or(());
        }
        true
    }
}

fn kilohertz(frame: Option<&Frame>) -> i16 {
    frame.map_or(0, |it| i16::try_from(it.rate().hz() / 1_000).unwrap_or(0))
}

fn small(len: usize) -> i16 {
    i16::try_from(len).unwrap_or(0)
}

/// The number of the tick, and rate and length of each direction.
const HEAD_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_out_as_they_went_in() {
        let (mut tap, mut reader) = tap(SampleRate::Hz8000);
        let heard = Frame::from_samples(SampleRate::Hz8000, &[1; 160]);
        let sent = Frame::from_samples(SampleRate::Hz16000, &[-2; 320]);
        tap.tick(u64::MAX - 5, Some(&heard), None);
        tap.tick(7, None, Some(&sent));
        tap.control().pause(true);
        tap.tick(8, Some(&heard), Some(&sent));
        tap.control().pause(false);
        tap.tick(9, Some(&heard), Some(&sent));
        let mut seen = vec![];
        let mut tick = TapTick::default();
        while reader.next(&mut tick) {
            seen.push(format!("{} {} {}", tick.number, shown(&tick.heard), shown(&tick.sent)));
        }
        let first = format!("{} 160 of 1 at 8000 -", u64::MAX - 5);
        assert_eq!(seen, [&first, "7 - 320 of -2 at 16000", "8 - -", "9 160 of 1 at 8000 320 of -2 at 16000"]);
        assert!(!reader.is_over());
        drop(tap);
        assert!(reader.is_over());
    }

    #[test]
    fn a_full_queue_drops_whole_ticks() {
        let (mut tap, mut reader) = tap(SampleRate::Hz8000);
        let frame = Frame::from_samples(SampleRate::Hz8000, &[3; 160]);
        let wide = Frame::from_samples(SampleRate::Hz16000, &[4; 320]);
        for number in 0..1_000 {
            tap.tick(number, Some(if number % 3 == 0 { &wide } else { &frame }), Some(&frame));
        }
        let (mut count, mut last, mut tick) = (0, None, TapTick::default());
        while reader.next(&mut tick) {
            assert!(last < Some(tick.number));
            assert!(tick.sent.samples == [3; 160]);
            last = Some(tick.number);
            count += 1;
        }
        assert!((TAP_TICKS_MAX / 2..=TAP_TICKS_MAX).contains(&count), "{count}");
    }

    fn shown(channel: &Channel) -> String {
        match channel.samples.first() {
            None => "-".to_owned(),
            Some(first) => format!("{} of {first} at {}", channel.samples.len(), channel.hz),
        }
    }
}
