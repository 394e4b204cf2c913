//! The link between a leg on its media thread and the task that listens and speaks on it.
//!
//! Two bounded queues without locks. When the task does not keep up, ticks are dropped on the media side, and the next
//! one that fits tells how many ([`LegTick::missed`]), so that media time stays right. When the leg does not keep up,
//! [`TaskEnd::command`] refuses; only [`LegCommand::Clear`] never fails and overtakes whatever was to be played before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Notify;

use crate::codec::{AtRate, SampleRate};
use crate::limits::{LEG_COMMANDS_MAX, LEG_TICKS_MAX};
use crate::media::{Heard, PlayoutFrame, Tick};
use crate::rtp::Digit;

/// 20 ms of a leg, as its task sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegTick {
    /// What happened.
    pub tick: Tick,
    /// Ticks that passed unseen since the one before: dropped because the queue was full, or skipped after a stall.
    pub missed: u32,
}

/// What a task tells its leg.
#[expect(clippy::large_enum_variant, reason = "nearly every command is audio; boxing it would allocate per frame")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegCommand {
    /// Play 20 ms after what is already to be played.
    Play(PlayoutFrame),
    /// Forget everything that was to be played.
    Clear,
    /// Send a digit, held for so many milliseconds.
    Dtmf(Digit, u16),
}

/// [`LEG_COMMANDS_MAX`] commands wait, or the leg is closed: this one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the leg takes no more commands")]
pub struct LinkFull;

/// Both ends of a new link to a task that hears and speaks at `rate`, whatever the rate of the leg.
pub fn link(rate: SampleRate) -> (TaskEnd, WorkerEnd) {
    let (ticks_in, ticks_out) = RingBuffer::new(LEG_TICKS_MAX);
    let (commands_in, commands_out) = RingBuffer::new(LEG_COMMANDS_MAX);
    let shared = Arc::new(Shared { notify: Notify::new(), cleared: AtomicU64::new(0) });
    let task = TaskEnd {
        ticks: ticks_out,
        commands: commands_in,
        shared: Arc::clone(&shared),
        pushed: 0,
        hearing: AtRate::new(rate),
    };
    let worker = WorkerEnd {
        ticks: Some(ticks_in),
        commands: commands_out,
        shared,
        popped: 0,
        cleared: 0,
        after_clearing: None,
        last_number: 0,
    };
    (task, worker)
}

/// The task's end.
#[derive(Debug)]
pub struct TaskEnd {
    ticks: Consumer<LegTick>,
    commands: Producer<LegCommand>,
    shared: Arc<Shared>,
    /// Commands pushed so far.
    pushed: u64,
    /// Brings what is heard to the rate of the task.
    hearing: AtRate,
}

/// The media thread's end. Dropping it closes the link.
#[derive(Debug)]
pub struct WorkerEnd {
    /// `None` only while it is dropped.
    ticks: Option<Producer<LegTick>>,
    commands: Consumer<LegCommand>,
    shared: Arc<Shared>,
    /// Commands popped so far.
    popped: u64,
    /// How many commands were pushed before the last clearing that was seen.
    cleared: u64,
    /// A command that was popped together with the clearing before it.
    after_clearing: Option<LegCommand>,
    /// The number of the last tick that was passed on.
    last_number: u64,
}

#[derive(Debug)]
struct Shared {
    /// There are ticks, or the link is closed.
    notify: Notify,
    /// How many commands were pushed before the last clearing: what of them is to be played is void. Plus one, so that
    /// zero stands for no clearing.
    cleared: AtomicU64,
}

impl TaskEnd {
    /// The next tick, if one waits.
    pub fn poll_tick(&mut self) -> Option<LegTick> {
        let mut tick = self.ticks.pop().ok()?;
        if let Heard::Audio(frame) | Heard::Concealed(frame) = &mut tick.tick.heard {
            *frame = self.hearing.process(frame);
        }
        Some(tick)
    }

    /// The rate of what is heard, and of what should be played: frames of other rates are brought to that of the leg too.
    pub const fn rate(&self) -> SampleRate {
        self.hearing.rate()
    }

    /// Waits for the next tick; `None` once the link is closed and every tick has been taken.
    pub async fn tick(&mut self) -> Option<LegTick> {
        loop {
            // In this order: what is pushed before the link is closed must not be missed.
            let is_closed = self.is_closed();
            if let Some(tick) = self.poll_tick() {
                return Some(tick);
            }
            if is_closed {
                return None;
            }
            self.shared.notify.notified().await;
        }
    }

    /// Tells the leg something.
    ///
    /// # Errors
    ///
    /// [`LinkFull`], except for [`LegCommand::Clear`].
    pub fn command(&mut self, command: LegCommand) -> Result<(), LinkFull> {
        if command == LegCommand::Clear {
            self.shared.cleared.store(self.pushed + 1, Ordering::Release);
            return Ok(());
        }
        if self.is_closed() {
            return Err(LinkFull);
        }
        self.commands.push(command).or(Err(LinkFull))?;
        self.pushed += 1;
        Ok(())
    }

    /// Whether the leg is gone. Ticks may still wait.
    pub fn is_closed(&self) -> bool {
        self.ticks.is_abandoned()
    }
}

impl WorkerEnd {
    /// Passes a tick on, or drops it if the queue is full or nobody listens any more.
    pub fn tick(&mut self, tick: Tick) {
        let Some(ticks) = &mut self.ticks else {
            return;
        };
        let number = tick.number;
        let missed = number.saturating_sub(self.last_number + 1);
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        if ticks.push(LegTick { tick, missed }).is_ok() {
            self.last_number = number;
            self.shared.notify.notify_one();
        }
    }

    /// Whether the other end is gone, and with it everyone who might listen.
    pub fn is_deserted(&self) -> bool {
        self.ticks.as_ref().is_none_or(Producer::is_abandoned)
    }

    /// The next command, if one waits. A clearing comes before everything that was pushed after it; what was to be
    /// played before it is left out.
    pub fn command(&mut self) -> Option<LegCommand> {
        if let Some(command) = self.after_clearing.take() {
            return Some(command);
        }
        if self.take_clearing() {
            return Some(LegCommand::Clear);
        }
        loop {
            let command = self.commands.pop().ok()?;
            self.popped += 1;
            // What has just been popped may have been pushed after a clearing that was not there to be seen above.
            let clears = self.take_clearing();
            let is_void = self.popped < self.cleared && matches!(command, LegCommand::Play(_));
            match (clears, is_void) {
                (false, false) => return Some(command),
                (false, true) => {}
                (true, false) => {
                    self.after_clearing = Some(command);
                    return Some(LegCommand::Clear);
                }
                (true, true) => return Some(LegCommand::Clear),
            }
        }
    }

    fn take_clearing(&mut self) -> bool {
        let cleared = self.shared.cleared.load(Ordering::Acquire);
        let is_new = cleared > self.cleared;
        self.cleared = cleared;
        is_new
    }
}

impl Drop for WorkerEnd {
    fn drop(&mut self) {
        // First the queue, then the wake-up: a task that is woken must see that the link is closed.
        drop(self.ticks.take());
        self.shared.notify.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::Frame;

    #[test]
    fn ticks_that_do_not_fit_are_counted() {
        let (mut task, mut worker) = link(SampleRate::Hz8000);
        for number in 1..=LEG_TICKS_MAX as u64 + 7 {
            worker.tick(tick(number));
        }
        let seen: Vec<_> = std::iter::from_fn(|| task.poll_tick()).collect();
        assert_eq!(seen.len(), LEG_TICKS_MAX);
        assert!(seen.iter().all(|it| it.missed == 0));
        worker.tick(tick(LEG_TICKS_MAX as u64 + 8));
        assert_eq!(task.poll_tick().map(|it| it.missed), Some(7));
        worker.tick(tick(LEG_TICKS_MAX as u64 + 9));
        assert_eq!(task.poll_tick().map(|it| it.missed), Some(0));
    }

    #[test]
    fn clearing_overtakes_a_full_queue_and_voids_what_came_before() {
        let (mut task, mut worker) = link(SampleRate::Hz8000);
        let digit = Digit::from_char('1').unwrap();
        assert_eq!(task.command(LegCommand::Dtmf(digit, 100)), Ok(()));
        while task.command(play(1)).is_ok() {}
        assert_eq!(task.command(LegCommand::Clear), Ok(()));
        assert_eq!(worker.command(), Some(LegCommand::Clear));
        assert_eq!(worker.command(), Some(LegCommand::Dtmf(digit, 100)));
        assert_eq!(worker.command(), None);
        assert_eq!(task.command(play(2)), Ok(()));
        assert_eq!(worker.command(), Some(play(2)));
        assert_eq!(worker.command(), None);
    }

    #[test]
    fn what_follows_a_clearing_is_played() {
        let (mut task, mut worker) = link(SampleRate::Hz8000);
        for command in [play(1), LegCommand::Clear, play(2), play(3)] {
            assert_eq!(task.command(command), Ok(()));
        }
        let seen: Vec<_> = std::iter::from_fn(|| worker.command()).collect();
        assert_eq!(seen, [LegCommand::Clear, play(2), play(3)]);
        assert_eq!(task.command(LegCommand::Clear), Ok(()));
        assert_eq!(worker.command(), Some(LegCommand::Clear));
    }

    #[tokio::test]
    async fn a_waiting_task_hears_of_ticks_and_of_the_end() {
        let (mut task, mut worker) = link(SampleRate::Hz8000);
        let leg = std::thread::spawn(move || {
            for number in 1..=20 {
                worker.tick(tick(number));
            }
        });
        let mut seen = 0;
        while let Some(tick) = tokio::time::timeout(Duration::from_secs(10), task.tick()).await.unwrap() {
            seen += 1;
            assert_eq!(tick.tick.number, seen);
        }
        assert_eq!(seen, 20);
        leg.join().unwrap();
        assert_eq!(task.command(play(1)), Err(LinkFull));
    }

    #[test]
    fn a_task_hears_at_its_own_rate() {
        let (mut task, mut worker) = link(SampleRate::Hz16000);
        for (number, rate) in (1..).zip([SampleRate::Hz16000, SampleRate::Hz8000, SampleRate::Hz8000]) {
            worker.tick(Tick { heard: Heard::Audio(Frame::silence(rate)), ..tick(number) });
            let heard = task.poll_tick().map(|it| it.tick.heard);
            assert_eq!(heard, Some(Heard::Audio(Frame::silence(SampleRate::Hz16000))));
        }
    }

    fn play(utterance: u32) -> LegCommand {
        LegCommand::Play(PlayoutFrame { utterance, frame: Frame::silence(SampleRate::Hz8000) })
    }

    fn tick(number: u64) -> Tick {
        Tick {
            number,
            heard: Heard::Nothing,
            played: None,
            dtmf: None,
            dtmf_ended: None,
            tone: None,
            queued_frames: 0,
            inactive_for: Duration::ZERO,
        }
    }
}
