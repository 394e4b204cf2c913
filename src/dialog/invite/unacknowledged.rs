//! A 2xx to an INVITE until its ACK: RFC 3261 §13.3.1.4. The transaction is over once the 2xx is out, so the dialog repeats
//! it, whatever the transport, because the ACK travels end to end.
//!
//! | input   | action          | next         |
//! |---------|-----------------|--------------|
//! | T1, 2*T1 … T2 | send again | waiting     |
//! | ACK     |                 | acknowledged |
//! | 64*T1   |                 | given up     |

use std::time::Instant;

use bytes::Bytes;

use crate::transaction::timers::{T1, T2};

/// One 2xx that waits for its ACK.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    response: Bytes,
    cseq: u32,
    again_at: Instant,
    interval: std::time::Duration,
    give_up_at: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send the 2xx again.
    Resend(Bytes),
    /// The ACK will not come: end the dialog with a BYE.
    GiveUp,
}

impl Unacknowledged {
    /// Waits for the ACK of `response`, which was sent at `now` in answer to the INVITE numbered `cseq`.
    pub(crate) fn new(response: Bytes, cseq: u32, now: Instant) -> Self {
        Self { response, cseq, again_at: now + T1, interval: T1, give_up_at: now + T1.saturating_mul(64) }
    }

    /// Whether an ACK numbered `cseq` is the one.
    pub(crate) const fn is_acknowledged_by(&self, cseq: u32) -> bool {
        self.cseq == cseq
    }

    /// What is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.give_up_at <= now {
            return Some(Due::GiveUp);
        }
        if self.again_at > now {
            return None;
        }
        self.interval = self.interval.saturating_mul(2).min(T2);
        self.again_at = now + self.interval;
        Some(Due::Resend(self.response.clone()))
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.again_at.min(self.give_up_at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timer::Now;

    #[test]
    fn a_2xx_is_sent_eleven_times_and_given_up_after_32_s() {
        let start = Now::origin().instant;
        let mut machine = Unacknowledged::new(Bytes::from_static(b"200"), 7, start);
        let mut log = vec![];
        loop {
            let now = machine.poll_timeout();
            assert_eq!(machine.handle_timeout(now - Duration::from_millis(1)), None, "early calls do nothing");
            let due = machine.handle_timeout(now).expect("its time has come");
            log.push((now - start).as_secs_f64());
            if due == Due::GiveUp {
                break;
            }
        }
        assert_eq!(log, [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0]);
        assert!(machine.is_acknowledged_by(7) && !machine.is_acknowledged_by(8));
    }
}
