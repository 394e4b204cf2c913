//! Legs that have failed, which is told as soon as there is room for it.

use tokio::sync::mpsc;

use super::{Legs, MediaEvent};

impl Legs {
    /// Tells of those of which nothing has been told yet.
    pub(super) fn tell_failures(&mut self) {
        while let Some(leg) = self.untold.front().copied() {
            if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(MediaEvent::Failed { leg }) {
                return;
            }
            self.untold.pop_front();
        }
    }
}
