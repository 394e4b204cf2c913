//! The commands on their way from an agent to a provider's driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What the driver takes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry<C> {
    /// A command.
    Command(C),
    /// So many droppable commands were left out here.
    Dropped(u32),
}

/// A bounded queue. When it is full, the oldest droppable command (a frame of audio) makes room, and what is missing is
/// remembered in its place; if there is none, the new command is refused.
#[derive(Debug)]
pub(super) struct Commands<C> {
    inner: Arc<Inner<C>>,
}

impl<C> Clone for Commands<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<C> {
    state: Mutex<State<C>>,
    changed: Notify,
    bound: usize,
    is_droppable: fn(&C) -> bool,
}

#[derive(Debug)]
struct State<C> {
    entries: VecDeque<Entry<C>>,
    commands: usize,
    dropped: u64,
    is_closed: bool,
}

/// The queue is full of commands that must not be dropped, or its other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The driver is too far behind.
    #[error("the provider is too far behind")]
    Full,
    /// The driver has ended.
    #[error("the provider's connection has ended")]
    Ended,
}

impl<C> Commands<C> {
    pub(super) fn new(bound: usize, is_droppable: fn(&C) -> bool) -> Self {
        let state = State { entries: VecDeque::new(), commands: 0, dropped: 0, is_closed: false };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Notify::new(), bound, is_droppable }) }
    }

    pub(super) fn push(&self, command: C) -> Result<(), Refused> {
        {
            let mut state = self.lock();
            if state.is_closed {
                return Err(Refused::Ended);
            }
            if state.commands >= self.inner.bound && !state.make_room(self.inner.is_droppable) {
                return Err(Refused::Full);
            }
            state.commands += 1;
            state.entries.push_back(Entry::Command(command));
        }
        self.inner.changed.notify_one();
        Ok(())
    }

    /// The next entry; `None` once the queue is closed, whatever is left in it. Dropping it half way loses nothing.
    pub(super) async fn next(&self) -> Option<Entry<C>> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                if let Some(entry) = state.entries.pop_front() {
                    state.commands -= usize::from(matches!(entry, Entry::Command(_)));
                    return Some(entry);
                }
            }
            self.inner.changed.notified().await;
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.inner.changed.notify_one();
    }

    /// How many commands were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // No code of ours that can panic runs under the lock half way through a change.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    /// Replaces the oldest droppable command by the fact that it is missing, joined with one before it.
    fn make_room(&mut self, is_droppable: fn(&C) -> bool) -> bool {
        let droppable = |it: &Entry<C>| matches!(it, Entry::Command(command) if is_droppable(command));
        let Some(at) = self.entries.iter().position(droppable) else {
            return false;
        };
        let before = at.checked_sub(1).and_then(|at| self.entries.get_mut(at));
        if let Some(Entry::Dropped(count)) = before {
            *count = count.saturating_add(1);
            self.entries.remove(at);
        } else if let Some(entry) = self.entries.get_mut(at) {
            *entry = Entry::Dropped(1);
        }
        self.commands -= 1;
        self.dropped += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_audio_makes_room_and_leaves_its_place() {
        let queue = Commands::new(3, |it: &i32| *it >= 0);
        for command in [1, 2, -1, 3, 4] {
            assert_eq!(queue.push(command), Ok(()));
        }
        assert_eq!(queue.dropped(), 2);
        for expected in [Entry::Dropped(2), Entry::Command(-1), Entry::Command(3), Entry::Command(4)] {
            assert_eq!(queue.next().await, Some(expected));
        }
    }

    #[tokio::test]
    async fn what_must_not_be_dropped_is_refused_when_there_is_no_room() {
        let queue = Commands::new(2, |_: &i32| false);
        assert_eq!([queue.push(1), queue.push(2), queue.push(3)], [Ok(()), Ok(()), Err(Refused::Full)]);
        assert_eq!(queue.next().await, Some(Entry::Command(1)));
        assert_eq!(queue.push(3), Ok(()));
        queue.close();
        assert_eq!(queue.push(4), Err(Refused::Ended));
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn interleaved_drops_keep_the_queue_bounded() {
        let queue = Commands::new(4, |it: &i32| *it >= 0);
        let mut stays = 0;
        for round in 0..1_000 {
            let pushed = queue.push(if round % 100 == 0 { -1 } else { round });
            stays += usize::from(round % 100 == 0 && pushed.is_ok());
            assert_eq!(pushed.is_ok(), stays < 4 || round == 300, "round {round}");
        }
        assert!(queue.lock().entries.len() <= 2 * 4 + 1);
    }
}
