//! Which datagrams may wait when more come than can be looked at (RFC 7339 §5.10.1: requests within dialogs go before
//! those that begin one).

use std::time::{Duration, Instant};

use crate::limits::{SIP_BURST_MS, SIP_INTAKE_MS, SIP_NEW_CALL_WAIT_MS, SIP_NEW_CALL_WAIT_MS_MAX, SIP_REST_MS};

/// Finds the share of new calls that has to be refused so that the others wait for [`SIP_NEW_CALL_WAIT_MS`] at most, not
/// much more and not much less: as RFC 8033 does it for routers, by how long they wait and by whether that grows. A share
/// is steadier than refusing all and then none, and nothing has to be known of the machine.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    share: f64,
    /// The longest wait since the last look, in seconds.
    longest_s: f64,
    /// What it was then.
    before_s: f64,
    /// Since when requests wait for longer than they should.
    behind_since: Option<Instant>,
    looked_at: Option<Instant>,
}

impl Intake {
    /// Nothing is refused.
    pub const fn new() -> Self {
        Self { share: 0.0, longest_s: 0.0, before_s: 0.0, behind_since: None, looked_at: None }
    }

    /// A request that begins a call is looked at after it has waited since `since`. Whether it has waited for so long that
    /// it is to be refused whatever the share, because its sender is about to repeat it.
    pub fn note(&mut self, since: Instant, now: Instant) -> bool {
        let waited = now.saturating_duration_since(since);
        self.longest_s = self.longest_s.max(waited.as_secs_f64());
        waited > Duration::from_millis(SIP_NEW_CALL_WAIT_MS_MAX)
    }

    /// Adjusts the share, if it is time to; to be called at every turn. `fullness` is how full the fullest queue is that
    /// calls need, 0 to 1: one that is a quarter full counts as requests that wait for as long as they should at most.
    pub fn look(&mut self, fullness: f64, now: Instant) -> f64 {
        let interval = Duration::from_millis(SIP_INTAKE_MS);
        let looked_at = *self.looked_at.get_or_insert(now);
        let passed = now.saturating_duration_since(looked_at);
        if passed < interval {
            return self.share;
        }
        if passed >= Duration::from_millis(SIP_REST_MS) {
            // Nobody looks while nothing comes: whatever there was too much of is over.
            *self = Self { longest_s: self.longest_s, ..Self::new() };
        }
        let steps = (passed.as_secs_f64() / interval.as_secs_f64()).min(STEPS_MAX);
        let target_s = Duration::from_millis(SIP_NEW_CALL_WAIT_MS).as_secs_f64();
        let wait_s = self.longest_s.max(4.0 * fullness * target_s).min(WAIT_S_MAX);
        if wait_s <= target_s {
            self.behind_since = None;
        }
        let behind_since = (wait_s > target_s).then(|| *self.behind_since.get_or_insert(now));
        // A burst is worked off.
        let burst = Duration::from_millis(SIP_BURST_MS);
        let is_behind = behind_since.is_some_and(|it| now.saturating_duration_since(it) >= burst);
        if self.share > 0.0 || is_behind {
            let is_idle = wait_s.max(self.before_s) < target_s / 4.0;
            let grown_s = wait_s - self.before_s;
            let share = self.share + PER_S_BEYOND * (wait_s - target_s) * steps + PER_S_GROWN * grown_s;
            let share = if is_idle { share * 0.9_f64.powf(steps) } else { share };
            let is_over = share < SHARE_MIN && wait_s < target_s;
            self.share = if is_over { 0.0 } else { share.clamp(0.0, SHARE_MAX) };
        }
        (self.before_s, self.longest_s, self.looked_at) = (wait_s, 0.0, Some(now));
        self.share
    }
}

/// Whether a datagram looks like an INVITE that begins a call. A glance, not a reading: what it takes wrongly for one
/// waits longer and is treated no worse.
pub fn begins_call(datagram: &[u8]) -> bool {
    if !datagram.starts_with(b"INVITE ") {
        return false;
    }
    let to = memchr::memmem::find(datagram, b"\r\nTo:").or_else(|| memchr::memmem::find(datagram, b"\r\nt:"));
    let line = to.and_then(|at| datagram.get(at + 2..)).unwrap_or_default();
    let line = line.split(|byte| *byte == b'\r').next().unwrap_or_default();
    memchr::memmem::find(line, b";tag=").is_none()
}

/// How much the share grows in an interval for each second that requests wait beyond what they should.
const PER_S_BEYOND: f64 = 0.25;
/// How much it grows for each second by which they wait longer than an interval before.
const PER_S_GROWN: f64 = 4.0;
/// Some are always let in: how long they wait is what is measured.
const SHARE_MAX: f64 = 0.98;
/// Less than this is nothing.
const SHARE_MIN: f64 = 0.002;
/// Waits beyond say no more, and would be remembered for too long.
const WAIT_S_MAX: f64 = 0.5;
/// So many intervals at once, at most, after a pause.
const STEPS_MAX: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_refused_as_cannot_be_served() {
        // Calls that come and calls that can be served, a second; what is refused in the end, and how long the longest
        // waited after the first second.
        check(2_000, 2_500, 0.0..0.001, 0..1);
        check(2_600, 2_500, 0.02..0.06, 30..60);
        check(5_000, 2_500, 0.48..0.52, 30..60);
        check(10_000, 2_500, 0.73..0.77, 30..60);
        check(100_000, 2_500, 0.96..0.985, 30..200);
        check(500, 100, 0.75..0.85, 30..60);
    }

    #[test]
    fn a_burst_is_worked_off_and_overload_that_ends_is_forgotten() {
        let mut queue = Queue::new();
        // A tenth of a second's worth at once.
        queue.waiting = 250.0;
        queue.run(200, 2_500, 100);
        assert_eq!((queue.intake.share, queue.longest_ms < 100.0), (0.0, true));
        queue.run(1_500, 2_500, 5_000);
        assert!(queue.intake.share > 0.4, "{}", queue.intake.share);
        queue.run(1_000, 2_500, 100);
        assert_eq!(queue.intake.share, 0.0);
    }

    #[test]
    fn after_a_rest_nothing_is_refused() {
        let mut queue = Queue::new();
        queue.run(1_500, 2_500, 5_000);
        assert!(queue.intake.share > 0.4, "{}", queue.intake.share);
        queue.now += Duration::from_millis(SIP_REST_MS + 1);
        assert_eq!(queue.intake.look(0.0, queue.now), 0.0);
    }

    #[test]
    fn a_queue_that_fills_counts_as_waiting() {
        let start = crate::timer::Now::origin().instant;
        let at = |ms| start + Duration::from_millis(ms);
        let shares = |fullness: f64| {
            let mut intake = Intake::new();
            (0..100).map(|it| intake.look(fullness, at(it * SIP_INTAKE_MS))).fold(0.0, f64::max)
        };
        assert_eq!(shares(0.1), 0.0);
        assert!(shares(0.5) > 0.5);
    }

    #[test]
    fn what_has_waited_for_too_long_is_refused_whatever_the_share() {
        let start = crate::timer::Now::origin().instant;
        let mut intake = Intake::new();
        assert!(!intake.note(start, start + Duration::from_millis(400)));
        assert!(intake.note(start, start + Duration::from_millis(401)));
    }

    /// A queue in front of a server, in steps of a millisecond.
    struct Queue {
        intake: Intake,
        now: Instant,
        waiting: f64,
        longest_ms: f64,
    }

    impl Queue {
        fn new() -> Self {
            let now = crate::timer::Now::origin().instant;
            Self { intake: Intake::new(), now, waiting: 0.0, longest_ms: 0.0 }
        }

        fn run(&mut self, ms: usize, served: u32, offered: u32) {
            self.longest_ms = 0.0;
            for _ in 0..ms {
                self.now += Duration::from_millis(1);
                let share = self.intake.look(0.0, self.now);
                let come = f64::from(offered) / 1_000.0 * (1.0 - share);
                let most = 0.4 * f64::from(served);
                self.waiting = (self.waiting + come - f64::from(served) / 1_000.0).clamp(0.0, most);
                let waited_ms = self.waiting / f64::from(served) * 1_000.0;
                self.longest_ms = self.longest_ms.max(waited_ms);
                self.intake
                    .note(self.now.checked_sub(Duration::from_secs_f64(waited_ms / 1e3)).expect("late"), self.now);
            }
        }
    }

    #[track_caller]
    fn check(offered: u32, served: u32, share: std::ops::Range<f64>, waits_ms: std::ops::Range<u32>) {
        let mut queue = Queue::new();
        queue.run(3_000, served, offered);
        queue.run(3_000, served, offered);
        let (found, waited) = (queue.intake.share, queue.longest_ms);
        assert!(share.contains(&found), "{found} refused of {offered}");
        assert!(f64::from(waits_ms.start) <= waited && waited < f64::from(waits_ms.end), "{waited} ms of {offered}");
    }

    #[test]
    fn only_invites_without_a_to_tag_begin_a_call() {
        let with = |start: &str, to: &str| {
            begins_call(format!("{start} sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\n{to}\r\nCSeq: 1\r\n\r\n").as_bytes())
        };
        assert!(with("INVITE", "To: <sip:a>"));
        assert!(with("INVITE", "t:sip:a"));
        assert!(with("INVITE", "X: y"));
        assert!(!with("INVITE", "To: <sip:a>;tag=2"));
        assert!(!with("INVITE", "t: <sip:a>;x=y;tag=2"));
        assert!(!with("BYE", "To: <sip:a>;tag=2"));
        assert!(!with("ACK", "To: <sip:a>"));
        assert!(!begins_call(b""));
    }
}
