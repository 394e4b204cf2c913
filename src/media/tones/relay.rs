//! Digits from one leg to another that takes them by other means: which of several tellings of a digit counts, and how
//! long it is to be held.

use std::time::Duration;

use crate::limits::DTMF_DIGIT_MS_MAX;
use crate::rtp::Digit;
use crate::timer::Now;

/// How a digit travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// As telephone events (RFC 4733).
    Event,
    /// As tones in the audio.
    Tone,
    /// As SIP INFO requests.
    Info,
}

/// How a leg takes digits: events if they were agreed on, else what it is known to take, else tones.
pub const fn preferred(has_events: bool, wants_info: bool) -> Means {
    match (has_events, wants_info) {
        (true, _) => Means::Event,
        (false, true) => Means::Info,
        (false, false) => Means::Tone,
    }
}

/// How long a digit that was heard for `heard_ms` is held towards the other leg.
pub fn held_ms(heard_ms: u32) -> u16 {
    u16::try_from(heard_ms).unwrap_or(u16::MAX).clamp(HELD_MS_MIN, DTMF_DIGIT_MS_MAX)
}

/// Lets a digit through once, when a peer sends it as an event and its tone leaks into the audio as well, or sends INFO
/// beside both.
#[derive(Clone, Debug, Default)]
pub struct OneTelling {
    last: Option<(Digit, Means, Now)>,
}

impl OneTelling {
    /// Whether this telling of a digit is the first. The same digit by the same means is another press.
    pub fn admits(&mut self, digit: Digit, means: Means, now: Now) -> bool {
        if let Some((last, by, at)) = self.last
            && last == digit
            && by != means
            && now - at < SAME_PRESS
        {
            return false;
        }
        self.last = Some((digit, means, now));
        true
    }

    /// Whether this is the telling that counted: its end counts too.
    pub fn is_admitted(&self, digit: Digit, means: Means) -> bool {
        self.last.is_some_and(|(last, by, _)| last == digit && by == means)
    }
}

/// What is shorter may be missed by a tone detector at the other end.
const HELD_MS_MIN: u16 = 60;
/// INFO comes by another way, and a tone is known late.
const SAME_PRESS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_told_twice_counts_once_and_pressed_twice_counts_twice() {
        let one = Digit::from_char('1').unwrap();
        let two = Digit::from_char('2').unwrap();
        let mut telling = OneTelling::default();
        let tellings = [
            (0, one, Means::Event, true),
            (40, one, Means::Tone, false),
            (90, one, Means::Info, false),
            (250, one, Means::Event, true),
            (300, two, Means::Tone, true),
            (350, two, Means::Event, false),
            (900, two, Means::Event, true),
        ];
        for (ms, digit, means, expected) in tellings {
            let now = Now::origin() + Duration::from_millis(ms);
            assert_eq!(telling.admits(digit, means, now), expected, "{ms}");
        }
    }

    #[test]
    fn a_leg_gets_what_it_takes_for_as_long_as_it_needs() {
        assert_eq!(preferred(true, true), Means::Event);
        assert_eq!(preferred(false, true), Means::Info);
        assert_eq!(preferred(false, false), Means::Tone);
        assert_eq!([0, 59, 60, 5_999, 6_000, u32::MAX].map(held_ms), [60, 60, 60, 5_999, 6_000, 6_000]);
    }
}
