//! What waits for a websocket to take it. Sending this way can be put aside and taken up again within a `select!`
//! without losing or repeating a message, which `SinkExt::send` cannot.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::ready;

use futures_util::{Sink, SinkExt};

/// Messages on their way into `S`. Whoever fills it looks at [`Outbox::len`] first; that is the bound.
#[derive(Debug)]
pub struct Outbox<S, M> {
    sink: S,
    waiting: VecDeque<M>,
    is_flushed: bool,
}

impl<S: Sink<M> + Unpin, M> Outbox<S, M> {
    /// An empty outbox.
    pub const fn new(sink: S) -> Self {
        Self { sink, waiting: VecDeque::new(), is_flushed: true }
    }

    /// Whether the socket has taken every message, flushed or not.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a message.
    pub fn push(&mut self, message: M) {
        self.waiting.push_back(message);
        self.is_flushed = false;
    }

    /// How many messages the socket has not taken.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether everything has gone out.
    pub const fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Completes when everything has gone out. Dropping it half way loses nothing.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub async fn flush(&mut self) -> Result<(), S::Error> {
        poll_fn(|context| {
            while !self.waiting.is_empty() {
                ready!(self.sink.poll_ready_unpin(context))?;
                if let Some(message) = self.waiting.pop_front() {
                    self.sink.start_send_unpin(message)?;
                }
            }
            ready!(self.sink.poll_flush_unpin(context))?;
            self.is_flushed = true;
            Ok(()).into()
        })
        .await
    }
}
