//! The timers of RFC 3261 §17, Table 4, with Timers L and M of RFC 6026 §7 and the 200 ms of §17.2.1 after which a
//! server answers an INVITE with 100.

use std::time::Duration;

use crate::transport::TransportKind;

/// An estimate of the round-trip time.
pub const T1: Duration = Duration::from_millis(500);

/// The longest interval between retransmissions of anything but an INVITE request.
pub const T2: Duration = Duration::from_secs(4);

/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);

/// A timer, by the letter the RFCs give it. Timer C belongs to proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// INVITE request retransmit interval, first value.
    A,
    /// INVITE client transaction timeout.
    B,
    /// Wait for retransmitted responses to an INVITE.
    D,
    /// Non-INVITE request retransmit interval, first value.
    E,
    /// Non-INVITE transaction timeout.
    F,
    /// INVITE response retransmit interval, first value.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted responses to a non-INVITE.
    K,
    /// Wait for retransmitted INVITEs after a 2xx.
    L,
    /// Wait for 2xx of other forks and retransmitted 2xx.
    M,
    /// Time until an unanswered INVITE is answered with 100.
    Trying,
}

impl Timer {
    /// How long the timer runs over `transport`; `None` where Table 4 knows no such timer. Zero means that the state
    /// which would wait for it is skipped.
    pub const fn duration(self, transport: TransportKind) -> Option<Duration> {
        let timeout = T1.saturating_mul(64);
        match self {
            Self::A | Self::E | Self::G if transport.is_reliable() => None,
            Self::A | Self::E | Self::G => Some(T1),
            Self::D | Self::I | Self::J | Self::K if transport.is_reliable() => Some(Duration::ZERO),
            Self::D => Some(Duration::from_secs(32)),
            Self::I | Self::K => Some(T4),
            Self::B | Self::F | Self::H | Self::J | Self::L | Self::M => Some(timeout),
            Self::Trying => Some(Duration::from_millis(200)),
        }
    }

    /// Whether the timer ends the wait of its state at once, as D, I, J and K do over a reliable transport.
    pub(crate) const fn is_skipped(self, transport: TransportKind) -> bool {
        matches!(self.duration(transport), Some(Duration::ZERO))
    }

    /// [`Self::duration`] of a timer that runs over every transport.
    pub(crate) const fn length(self, transport: TransportKind) -> Duration {
        match self.duration(transport) {
            Some(duration) => duration,
            None => Duration::ZERO,
        }
    }
}

/// A retransmission that doubles: when it is due, and the interval that led there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// When to send again.
    pub(crate) at: std::time::Instant,
    interval: Duration,
}

impl Backoff {
    /// Starts `timer`, which is A, E or G; `None` over a reliable transport.
    pub(crate) fn start(timer: Timer, transport: TransportKind, now: std::time::Instant) -> Option<Self> {
        let interval = timer.duration(transport)?;
        Some(Self { at: now + interval, interval })
    }

    /// Doubles the interval without a ceiling, as Timer A does.
    pub(crate) fn double(&mut self, now: std::time::Instant) {
        self.interval = self.interval.saturating_mul(2);
        self.at = now + self.interval;
    }

    /// Doubles the interval up to T2, as Timers E and G do.
    pub(crate) fn double_to_t2(&mut self, now: std::time::Instant) {
        self.interval = self.interval.saturating_mul(2).min(T2);
        self.at = now + self.interval;
    }

    /// Goes on at intervals of T2, as Timer E does once a provisional response is there.
    pub(crate) fn slow_down(&mut self, now: std::time::Instant) {
        self.interval = T2;
        self.at = now + T2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_table_4() {
        let mut table = vec![];
        for timer in [
            Timer::A,
            Timer::B,
            Timer::D,
            Timer::E,
            Timer::F,
            Timer::G,
            Timer::H,
            Timer::I,
            Timer::J,
            Timer::K,
            Timer::L,
            Timer::M,
            Timer::Trying,
        ] {
            let show = |it: Option<Duration>| it.map_or_else(|| "-".to_owned(), |it| format!("{}ms", it.as_millis()));
            let udp = show(timer.duration(TransportKind::Udp));
            let tcp = show(timer.duration(TransportKind::Tcp));
            table.push(format!("{timer:?} {udp} {tcp}"));
        }
        assert_eq!((T1.as_millis(), T2.as_millis(), T4.as_millis()), (500, 4_000, 5_000));
        assert_eq!(
            table,
            [
                "A 500ms -",
                "B 32000ms 32000ms",
                "D 32000ms 0ms",
                "E 500ms -",
                "F 32000ms 32000ms",
                "G 500ms -",
                "H 32000ms 32000ms",
                "I 5000ms 0ms",
                "J 32000ms 0ms",
                "K 5000ms 0ms",
                "L 32000ms 32000ms",
                "M 32000ms 32000ms",
                "Trying 200ms 200ms",
            ]
        );
    }
}
