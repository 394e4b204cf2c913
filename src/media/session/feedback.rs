//! What follows from what the peer has reported of our stream (RFC 3550 §6.4.1).

use super::Session;
use crate::webrtc::Feedback;

impl Session {
    /// Takes what the peer has reported to a transport that has RTCP of its own.
    pub fn handle_feedback(&mut self, feedback: &Feedback) {
        let clock_hz = self.clock_hz();
        self.control.handle_feedback(feedback, clock_hz);
        self.heed_loss();
    }

    /// As the peer loses packets, our encoder has more in each of what was in the one before.
    pub(super) fn heed_loss(&mut self) {
        if let Some(fraction_lost) = self.control.take_fraction_lost() {
            self.outgoing.expect_loss(fraction_lost);
        }
    }
}
