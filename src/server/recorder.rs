//! Recordings: stereo WAV, the caller on the left and what was said to them on the right, written by a thread of its own.
//!
//! A media thread never waits for the disk: [`TapEnd::tick`] drops what does not fit into its queue of
//! [`TAP_TICKS_MAX`]. Both channels follow the tick numbers of the leg, so that what was dropped or never heard is silence
//! of the right length. The header is brought up to date every second: a process that is killed leaves a file that plays.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::oneshot;

use crate::codec::{AtRate, Frame, SampleRate};
use crate::limits::{RECORDING_SECONDS_MAX, RECORDINGS_MAX, TAP_TICKS_MAX};

/// The thread that writes all recordings. Dropping it finishes them.
#[derive(Debug)]
pub struct Recorder {
    /// `None` only while it is dropped.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// The media thread's end of a recording. Dropping it finishes the recording.
#[derive(Debug)]
pub struct TapEnd {
    ticks: Producer<TapTick>,
}

/// A recording that is finished, or has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The file.
    pub path: PathBuf,
    /// Its length, in milliseconds.
    pub duration_ms: u64,
    /// Ticks that are silence because the disk did not keep up.
    pub missed_ticks: u64,
    /// What the system said, if it ended early; what is in the file then is what was written before.
    pub error: Option<String>,
}

/// Too many recordings are under way, or the recorder has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more recordings can be made")]
pub struct RecorderBusy;

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// What the system says: no more threads.
    pub fn start() -> io::Result<Self> {
        let (orders, received) = sync_channel(RECORDINGS_MAX);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || run(&received))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Begins a recording of audio at `rate` in a new file. The file is made by the thread, so that nobody waits for it;
    /// the receiver tells how it went when it is finished.
    ///
    /// # Errors
    ///
    /// [`RecorderBusy`].
    pub fn record(&self, path: &Path, rate: SampleRate) -> Result<(TapEnd, oneshot::Receiver<Recorded>), RecorderBusy> {
        let (ticks_in, ticks_out) = RingBuffer::new(TAP_TICKS_MAX);
        let (done_in, done_out) = oneshot::channel();
        let order = Order { path: path.to_owned(), rate, ticks: ticks_out, done: done_in };
        match self.orders.as_ref().ok_or(RecorderBusy)?.try_send(order) {
            Ok(()) => Ok((TapEnd { ticks: ticks_in }, done_out)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(RecorderBusy),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            thread.join().unwrap_or(());
        }
    }
}

impl TapEnd {
    /// Takes a tick down: what was heard and what was sent, silence standing for nothing. Dropped if the queue is full.
    pub fn tick(&mut self, number: u64, heard: Option<&Frame>, sent: Option<&Frame>) {
        let tick = TapTick { number, heard: heard.copied(), sent: sent.copied() };
        // What is missing is noticed by its number.
        self.ticks.push(tick).unwrap_or(());
    }
}

#[derive(Debug)]
struct TapTick {
    number: u64,
    heard: Option<Frame>,
    sent: Option<Frame>,
}

#[derive(Debug)]
struct Order {
    path: PathBuf,
    rate: SampleRate,
    ticks: Consumer<TapTick>,
    done: oneshot::Sender<Recorded>,
}

fn run(orders: &Receiver<Order>) {
    let mut recordings: Vec<Recording> = vec![];
    let mut rounds = 0_u32;
    let mut is_open = true;
    while is_open {
        match orders.recv_timeout(ROUND) {
            Ok(order) if recordings.len() < RECORDINGS_MAX => recordings.push(Recording::begin(order)),
            Ok(order) => Recording::refuse(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_open = false,
        }
        rounds = rounds.wrapping_add(1);
        let is_time_to_flush = rounds.is_multiple_of(ROUNDS_PER_FLUSH);
        for recording in &mut recordings {
            recording.write_what_waits();
            if is_time_to_flush {
                recording.flush();
            }
        }
        for finished in recordings.extract_if(.., |it| it.is_finished()) {
            finished.finish();
        }
    }
    for recording in recordings {
        recording.finish();
    }
}

/// A recording that is being written.
struct Recording {
    ticks: Consumer<TapTick>,
    done: oneshot::Sender<Recorded>,
    /// Both channels at the rate of the file, whatever the codec of the leg.
    left: AtRate,
    right: AtRate,
    /// `None` after an error.
    writer: Option<WavWriter<BufWriter<File>>>,
    /// The number of the tick to be written next.
    next: Option<u64>,
    frames: u64,
    /// Everything that will come has come.
    is_over: bool,
    outcome: Recorded,
}

impl Recording {
    fn begin(order: Order) -> Self {
        let Order { path, rate, ticks, done } = order;
        let spec =
            WavSpec { channels: 2, sample_rate: rate.hz(), bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut outcome = Recorded { path, duration_ms: 0, missed_ticks: 0, error: None };
        let writer = match WavWriter::create(&outcome.path, spec) {
            Ok(writer) => Some(writer),
            Err(error) => {
                outcome.error = Some(error.to_string());
                None
            }
        };
        let (left, right) = (AtRate::new(rate), AtRate::new(rate));
        Self { ticks, done, left, right, writer, next: None, frames: 0, is_over: false, outcome }
    }

    fn refuse(order: Order) {
        let error = Some(RecorderBusy.to_string());
        let outcome = Recorded { path: order.path, duration_ms: 0, missed_ticks: 0, error };
        // Nobody may be waiting for the outcome.
        order.done.send(outcome).unwrap_or(());
    }

    fn write_what_waits(&mut self) {
        // In this order: what is pushed before the tap is dropped must not be missed.
        self.is_over = self.ticks.is_abandoned();
        while let Ok(tick) = self.ticks.pop() {
            let next = *self.next.get_or_insert(tick.number);
            let gap = tick.number.saturating_sub(next);
            self.next = Some(next.max(tick.number) + 1);
            self.outcome.missed_ticks += gap;
            let result = (0..gap.min(FRAMES_MAX))
                .try_for_each(|_| self.write(None, None))
                .and_then(|()| self.write(tick.heard.as_ref(), tick.sent.as_ref()));
            self.note(result);
        }
    }

    /// Writes 20 ms of both channels.
    fn write(&mut self, heard: Option<&Frame>, sent: Option<&Frame>) -> Result<(), hound::Error> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.frames < FRAMES_MAX) else {
            return Ok(());
        };
        self.frames += 1;
        let silence = Frame::silence(self.left.rate());
        let left = heard.map_or(silence, |it| self.left.process(it));
        let right = sent.map_or(silence, |it| self.right.process(it));
        for (left, right) in left.samples().iter().zip(right.samples()) {
            writer.write_sample(*left)?;
            writer.write_sample(*right)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        let result = self.writer.as_mut().map_or(Ok(()), WavWriter::flush);
        self.note(result);
    }

    /// After an error, what follows is thrown away; the leg does not notice.
    fn note(&mut self, result: Result<(), hound::Error>) {
        if let Err(error) = result {
            self.outcome.error.get_or_insert_with(|| error.to_string());
            self.writer = None;
        }
    }

    const fn is_finished(&self) -> bool {
        self.is_over
    }

    fn finish(mut self) {
        if let Some(writer) = self.writer.take() {
            let result = writer.finalize();
            self.note(result);
        }
        self.outcome.duration_ms = self.frames * u64::from(Frame::MS);
        // Nobody may be waiting for the outcome.
        self.done.send(self.outcome).unwrap_or(());
    }
}

const ROUND: Duration = Duration::from_millis(100);
const ROUNDS_PER_FLUSH: u32 = 10;
const FRAMES_MAX: u64 = RECORDING_SECONDS_MAX * 50;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn both_channels_follow_the_ticks() {
        let directory = Directory::new();
        let path = directory.0.join("call.wav");
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        tap.tick(100, Some(&frame(1)), None);
        tap.tick(101, None, Some(&frame(2)));
        tap.tick(104, Some(&frame(3)), Some(&frame(4))); // two were dropped
        drop(tap);
        let recorded = done.blocking_recv().unwrap();
        assert_eq!(recorded, Recorded { path: path.clone(), duration_ms: 100, missed_ticks: 2, error: None });
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.duration()), (2, 8_000, 5 * 160));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let each_tick: Vec<_> = samples.chunks(320).map(|it| (it[0], it[1], it[318], it[319])).collect();
        assert_eq!(each_tick, [(1, 0, 1, 0), (0, 2, 0, 2), (0, 0, 0, 0), (0, 0, 0, 0), (3, 4, 3, 4)]);
    }

    #[test]
    fn a_queue_that_is_full_costs_silence_and_no_time() {
        let directory = Directory::new();
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(&directory.0.join("a.wav"), SampleRate::Hz8000).unwrap();
        for number in 0..1_000 {
            tap.tick(number, Some(&frame(1)), None);
        }
        tap.tick(20_000, None, None);
        drop(tap);
        let recorded = done.blocking_recv().unwrap();
        // Whether the last tick found room depends on the other thread; the length follows the ticks either way.
        assert!(recorded.duration_ms >= TAP_TICKS_MAX as u64 * 20, "{recorded:?}");
        assert_eq!(recorded.error, None);
    }

    #[test]
    fn a_file_that_was_not_finished_plays() {
        let directory = Directory::new();
        let path = directory.0.join("killed.wav");
        let (mut ticks, consumer) = RingBuffer::new(TAP_TICKS_MAX);
        let (done, _outcome) = oneshot::channel();
        let order = Order { path: path.clone(), rate: SampleRate::Hz8000, ticks: consumer, done };
        let mut recording = Recording::begin(order);
        for number in 1..=50 {
            ticks.push(TapTick { number, heard: Some(frame(7)), sent: None }).unwrap();
        }
        recording.write_what_waits();
        recording.flush();
        let copy = directory.0.join("copy.wav"); // what is on the disk now, as a killed process would leave it
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(hound::WavReader::open(&copy).unwrap().duration(), 50 * 160);
    }

    #[test]
    fn a_disk_that_refuses_is_reported() {
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(Path::new("/nowhere/at/all.wav"), SampleRate::Hz8000).unwrap();
        tap.tick(1, None, None);
        drop(tap);
        assert!(done.blocking_recv().unwrap().error.is_some());
    }

    #[test]
    fn stopping_finishes_what_is_under_way() {
        let directory = Directory::new();
        let path = directory.0.join("stopped.wav");
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        tap.tick(1, Some(&frame(5)), None);
        drop(recorder);
        assert_eq!(done.blocking_recv().unwrap().duration_ms, 20);
        assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 160);
    }

    fn frame(value: i16) -> Frame {
        Frame::from_samples(SampleRate::Hz8000, &[value; 160])
    }

    /// A directory of this test alone, gone when it ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("hookswitch-recorder-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap_or(());
        }
    }
}
