//! Recordings: two channels, the caller on the left and what was said to them on the right, written by threads of their
//! own while the call goes on.
//!
//! A media thread never waits for the disk: [`TapEnd::tick`] drops what does not fit into its queue of
//! [`TAP_TICKS_MAX`](crate::limits::TAP_TICKS_MAX). Both channels follow the tick numbers of the leg, so that what was
//! dropped, never heard or left out while paused is silence of the right length. The file is brought up to date every
//! second: a process that is killed leaves one that plays. A disk that fails ends the recording, never the call.

mod file;
mod tap;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::file::Format;
use self::file::RecordingFile;
use self::tap::{Channel, TapReader, TapTick, tap};
pub use self::tap::{TapControl, TapEnd};
use crate::codec::{Converter, SampleRate};
use crate::limits::{RECORDING_SECONDS_MAX, RECORDINGS_MAX};

/// The threads that write all recordings. Dropping it finishes them.
#[derive(Debug)]
pub struct Recorder {
    threads: Vec<Thread>,
    next: AtomicUsize,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Thread {
    /// `None` only while it is dropped.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
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

/// What the recorder has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderCounts {
    /// Recordings under way.
    pub active: u64,
    /// Total of recordings that are finished as they should be.
    pub finished: u64,
    /// Total of recordings that an error cut short or kept from beginning.
    pub failed: u64,
    /// Total of ticks that are silence because the disk did not keep up.
    pub missed_ticks: u64,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    missed_ticks: AtomicU64,
}

/// Too many recordings are under way, or the recorder has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more recordings can be made")]
pub struct RecorderBusy;

impl Recorder {
    /// Starts one thread.
    ///
    /// # Errors
    ///
    /// What the system says: no more threads.
    pub fn start() -> io::Result<Self> {
        Self::start_threads(1)
    }

    /// Starts `threads` threads, at least one, which share the recordings.
    ///
    /// # Errors
    ///
    /// What the system says: no more threads.
    pub fn start_threads(threads: usize) -> io::Result<Self> {
        let counters = Arc::new(Counters::default());
        let mut started = vec![];
        for index in 0..threads.max(1) {
            let (orders, received) = sync_channel(RECORDINGS_MAX);
            let counters = Arc::clone(&counters);
            let thread = std::thread::Builder::new().name(format!("recorder-{index}"));
            let thread = thread.spawn(move || run(&received, &counters))?;
            started.push(Thread { orders: Some(orders), thread: Some(thread) });
        }
        Ok(Self { threads: started, next: AtomicUsize::new(0), counters })
    }

    /// Begins a recording of audio at `rate` in a new WAV file. The file is made by the thread, so that nobody waits for
    /// it; the receiver tells how it went when it is finished.
    ///
    /// # Errors
    ///
    /// [`RecorderBusy`].
    pub fn record(&self, path: &Path, rate: SampleRate) -> Result<(TapEnd, oneshot::Receiver<Recorded>), RecorderBusy> {
        self.record_as(path, Format::Wav, rate)
    }

    /// As [`Recorder::record`], in a format. A leg whose rate changes is recorded at the rate that it began with.
    ///
    /// # Errors
    ///
    /// [`RecorderBusy`].
    pub fn record_as(
        &self,
        path: &Path,
        format: Format,
        rate: SampleRate,
    ) -> Result<(TapEnd, oneshot::Receiver<Recorded>), RecorderBusy> {
        let (ticks_in, ticks_out) = tap(rate);
        let (done_in, done_out) = oneshot::channel();
        let order = Order { path: path.to_owned(), format, rate, ticks: ticks_out, done: done_in };
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len().max(1);
        let orders = self.threads.get(index).and_then(|it| it.orders.as_ref()).ok_or(RecorderBusy)?;
        match orders.try_send(order) {
            Ok(()) => Ok((ticks_in, done_out)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(RecorderBusy),
        }
    }

    /// What it has done so far.
    pub fn counts(&self) -> RecorderCounts {
        RecorderCounts {
            active: self.counters.active.load(Ordering::Relaxed),
            finished: self.counters.finished.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            missed_ticks: self.counters.missed_ticks.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            drop(thread.orders.take());
        }
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take() {
                // A panic has been reported by the thread itself.
                thread.join().unwrap_or(());
            }
        }
    }
}

#[derive(Debug)]
struct Order {
    path: PathBuf,
    format: Format,
    rate: SampleRate,
    ticks: TapReader,
    done: oneshot::Sender<Recorded>,
}

fn run(orders: &Receiver<Order>, counters: &Counters) {
    let mut recordings: Vec<Recording> = vec![];
    let mut rounds = 0_u32;
    let mut is_open = true;
    while is_open {
        match orders.recv_timeout(ROUND) {
            Ok(order) if recordings.len() < RECORDINGS_MAX => {
                counters.active.fetch_add(1, Ordering::Relaxed);
                recordings.push(Recording::begin(order));
            }
            Ok(order) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                Recording::refuse(order);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_open = false,
        }
        rounds = rounds.wrapping_add(1);
        let is_time_to_flush = rounds.is_multiple_of(ROUNDS_PER_FLUSH);
        for recording in &mut recordings {
            recording.work(is_time_to_flush);
        }
        for finished in recordings.extract_if(.., |it| it.is_over) {
            finished.finish(counters);
        }
    }
    for recording in recordings {
        recording.finish(counters);
    }
}

/// A recording that is being written.
struct Recording {
    ticks: TapReader,
    done: oneshot::Sender<Recorded>,
    hz: u32,
    /// `None` after an error.
    file: Option<RecordingFile>,
    /// The tick at hand.
    tick: TapTick,
    left: Track,
    right: Track,
    /// The number of the tick to be written next.
    next: Option<u64>,
    frames: u64,
    /// Everything that will come has come.
    is_over: bool,
    outcome: Recorded,
}

/// One channel, on its way to the rate of the file.
#[derive(Debug, Default)]
struct Track {
    samples: Vec<i16>,
    converter: Option<(u32, Converter)>,
}

impl Recording {
    fn begin(order: Order) -> Self {
        let Order { path, format, rate, ticks, done } = order;
        let hz = format.file_hz(rate.hz());
        let file = RecordingFile::create(&path, format, hz);
        let error = file.as_ref().err().map(ToString::to_string);
        let outcome = Recorded { path, duration_ms: 0, missed_ticks: 0, error };
        Self {
            ticks,
            done,
            hz,
            file: file.ok(),
            tick: TapTick::default(),
            left: Track::default(),
            right: Track::default(),
            next: None,
            frames: 0,
            is_over: false,
            outcome,
        }
    }

    fn refuse(order: Order) {
        let error = Some(RecorderBusy.to_string());
        let outcome = Recorded { path: order.path, duration_ms: 0, missed_ticks: 0, error };
        // Nobody may be waiting for the outcome.
        order.done.send(outcome).unwrap_or(());
    }

    /// Writes what waits. A panic of an encoder ends this recording and no other.
    fn work(&mut self, flush: bool) {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            self.write_what_waits();
            if flush {
                self.flush();
            }
        }));
        if worked.is_err() {
            self.note(Err(io::Error::other("a defect of the recorder")));
        }
    }

    fn write_what_waits(&mut self) {
        // In this order: what is pushed before the tap is dropped must not be missed.
        self.is_over = self.ticks.is_over();
        let mut tick = std::mem::take(&mut self.tick);
        while self.ticks.next(&mut tick) {
            let next = *self.next.get_or_insert(tick.number);
            let gap = tick.number.saturating_sub(next);
            self.next = Some(next.max(tick.number) + 1);
            self.outcome.missed_ticks += gap;
            let result = (0..gap.min(FRAMES_MAX))
                .try_for_each(|_| self.write(&Channel::default(), &Channel::default()))
                .and_then(|()| self.write(&tick.heard, &tick.sent));
            self.note(result);
        }
        self.tick = tick;
    }

    /// Writes 20 ms of both channels.
    fn write(&mut self, heard: &Channel, sent: &Channel) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.frames < FRAMES_MAX) else {
            return Ok(());
        };
        self.frames += 1;
        self.left.take(heard, self.hz);
        self.right.take(sent, self.hz);
        file.write(&self.left.samples, &self.right.samples)
    }

    fn flush(&mut self) {
        let result = self.file.as_mut().map_or(Ok(()), RecordingFile::flush);
        self.note(result);
    }

    /// After an error, what follows is thrown away; the leg does not notice.
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.outcome.error.get_or_insert_with(|| error.to_string());
            self.file = None;
        }
    }

    fn finish(mut self, counters: &Counters) {
        if let Some(file) = self.file.take() {
            let finished = catch_unwind(AssertUnwindSafe(|| file.finish()));
            self.note(finished.unwrap_or_else(|_| Err(io::Error::other("a defect of the recorder"))));
        }
        self.outcome.duration_ms = self.frames * TICK_MS;
        let ended = if self.outcome.error.is_some() { &counters.failed } else { &counters.finished };
        ended.fetch_add(1, Ordering::Relaxed);
        counters.active.fetch_sub(1, Ordering::Relaxed);
        counters.missed_ticks.fetch_add(self.outcome.missed_ticks, Ordering::Relaxed);
        // Nobody may be waiting for the outcome.
        self.done.send(self.outcome).unwrap_or(());
    }
}

impl Track {
    /// Holds 20 ms at `hz` of what is in `channel`; silence if that is nothing, or of a rate that cannot be converted.
    fn take(&mut self, channel: &Channel, hz: u32) {
        let tick_len = |hz: u32| usize::try_from(hz / 50).unwrap_or(0);
        self.samples.clear();
        self.samples.resize(tick_len(hz), 0);
        if channel.samples.is_empty() {
            return;
        }
        if channel.hz == hz {
            for (to, from) in self.samples.iter_mut().zip(&channel.samples) {
                *to = *from;
            }
            return;
        }
        if self.converter.as_ref().is_none_or(|(from, _)| *from != channel.hz) {
            self.converter = Converter::new(channel.hz, hz).ok().map(|it| (channel.hz, it));
        }
        if let Some((_, converter)) = &mut self.converter {
            let to = self.samples.chunks_mut(converter.output_len());
            for (from, to) in channel.samples.chunks(converter.input_len()).zip(to) {
                converter.process(from, to);
            }
        }
    }
}

const ROUND: Duration = Duration::from_millis(100);
const ROUNDS_PER_FLUSH: u32 = 10;
const TICK_MS: u64 = 20;
const FRAMES_MAX: u64 = RECORDING_SECONDS_MAX * 50;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::codec::Frame;
    use crate::limits::TAP_TICKS_MAX;

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
        let (mut ticks, reader) = tap(SampleRate::Hz8000);
        let (done, _outcome) = oneshot::channel();
        let format = Format::Wav;
        let order = Order { path: path.clone(), format, rate: SampleRate::Hz8000, ticks: reader, done };
        let mut recording = Recording::begin(order);
        for number in 1..=50 {
            ticks.tick(number, Some(&frame(7)), None);
        }
        recording.work(true);
        let copy = directory.0.join("copy.wav"); // what is on the disk now, as a killed process would leave it
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(hound::WavReader::open(&copy).unwrap().duration(), 50 * 160);
    }

    #[test]
    fn a_disk_that_refuses_is_reported() {
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(Path::new("/dev/null/at/all.wav"), SampleRate::Hz8000).unwrap();
        tap.tick(1, None, None);
        drop(tap);
        assert!(done.blocking_recv().unwrap().error.is_some());
    }

    #[test]
    fn a_disk_that_fills_up_ends_the_recording_and_nothing_else() {
        let directory = Directory::new();
        let recorder = Recorder::start().unwrap();
        let (mut full, full_done) = recorder.record(Path::new("/dev/full"), SampleRate::Hz8000).unwrap();
        let path = directory.0.join("fine.wav");
        let (mut fine, fine_done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        for number in 0..90 {
            full.tick(number, Some(&frame(1)), Some(&frame(2)));
            fine.tick(number, Some(&frame(1)), Some(&frame(2)));
        }
        drop((full, fine));
        let error = full_done.blocking_recv().unwrap().error.unwrap();
        assert!(error.contains("No space left"), "{error}");
        assert_eq!(fine_done.blocking_recv().unwrap().error, None);
        let counts = RecorderCounts { active: 0, finished: 1, failed: 1, missed_ticks: 0 };
        assert_eq!(recorder.counts(), counts);
    }

    #[test]
    fn what_is_said_while_it_is_paused_is_silence_of_the_same_length() {
        let directory = Directory::new();
        let path = directory.0.join("paused.wav");
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        let control = tap.control();
        for number in 1..=6 {
            control.pause((3..=4).contains(&number));
            tap.tick(number, Some(&frame(9)), Some(&frame(8)));
        }
        drop(tap);
        let recorded = done.blocking_recv().unwrap();
        assert_eq!((recorded.duration_ms, recorded.missed_ticks), (120, 0));
        assert_eq!(firsts(&path, 320), [9, 9, 0, 0, 9, 9]);
    }

    #[test]
    fn a_leg_that_changes_its_rate_stays_aligned() {
        let directory = Directory::new();
        let path = directory.0.join("rates.wav");
        let recorder = Recorder::start().unwrap();
        let (mut tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        let wide = Frame::from_samples(SampleRate::Hz16000, &[5_000; 320]);
        for number in 0..20 {
            tap.tick(number, Some(&if number < 10 { wide } else { frame(0) }), None);
        }
        drop(tap);
        assert_eq!(done.blocking_recv().unwrap().duration_ms, 400);
        let reader = hound::WavReader::open(&path).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.duration()), (8_000, 20 * 160));
        let left: Vec<i16> = reader.into_samples().map(Result::unwrap).step_by(2).collect();
        let (first, second) = left.split_at(1_600);
        assert!(first[400..1_500].iter().all(|it| (4_900..5_100).contains(it)) && second.iter().all(|it| *it == 0));
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

    /// The first sample of every tick of `len` samples, both channels counted.
    fn firsts(path: &Path, len: usize) -> Vec<i16> {
        let samples: Vec<i16> = hound::WavReader::open(path).unwrap().samples().map(Result::unwrap).collect();
        samples.chunks(len).map(|it| it[0]).collect()
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
