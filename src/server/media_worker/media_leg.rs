//! What a leg is told by whoever has opened it, until it is closed.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::{Means, MediaBusy, MediaLeg, Order};
use crate::media::{RemoteMedia, Report};
use crate::server::recorder::TapEnd;

impl MediaLeg {
    /// Brings the session what signalling has agreed on ([`crate::media::Session::update`]), and its transport the keys of
    /// media that are secured, or the browser that the peer is ([`crate::media::LegTransport::update`]).
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn update(&self, remote: RemoteMedia, means: Means) -> Result<(), MediaBusy> {
        self.handle.order(Order::Update { key: self.key, agreed: Box::new((remote, means)) })
    }

    /// Begins a recording, or ends one.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn record(&self, tap: Option<TapEnd>) -> Result<(), MediaBusy> {
        self.handle.order(Order::Record { key: self.key, tap })
    }

    /// Closes the leg. The report comes when its sockets are closed; it does not if the thread is too busy or has ended,
    /// but the leg is closed all the same.
    pub fn close(mut self) -> oneshot::Receiver<Report> {
        let (reply, report) = oneshot::channel();
        // Refused, the order drops `reply`, and dropping `self` closes the leg. Taken, it is what closes the leg: were it
        // abandoned too, the thread might see that first and give no report.
        self.is_closing = self.handle.order(Order::Close { key: self.key, reply }).is_ok();
        report
    }
}

impl Drop for MediaLeg {
    fn drop(&mut self) {
        if !self.is_closing {
            self.abandoned.store(true, Ordering::Relaxed);
        }
    }
}
