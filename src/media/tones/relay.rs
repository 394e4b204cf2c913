//! Which of several tellings of a digit counts, and how long it is held where it is sent on.

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

/// Whether a press is told for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It is.
    First,
    /// It has counted already, told by other means.
    Again,
}

/// For how many milliseconds a digit that was pressed for `heard_ms` is held where it is sent on.
pub fn held_ms(heard_ms: u32) -> u16 {
    u16::try_from(heard_ms).unwrap_or(u16::MAX).clamp(HELD_MS_MIN, DTMF_DIGIT_MS_MAX)
}

/// Lets a digit through once, when a peer sends it as an event and its tone leaks into the audio as well, or sends INFO
/// beside both. INFO may come when the key is let go, and after the next one has been pressed.
#[derive(Clone, Debug, Default)]
pub struct OneTelling {
    /// The last presses that counted, from the latest to the earliest.
    presses: [Option<Press>; PRESSES],
}

#[derive(Clone, Copy, Debug)]
struct Press {
    digit: Digit,
    by: Means,
    is_held: bool,
    /// When it was, or may be, let go.
    until: Now,
}

impl OneTelling {
    /// Whether this telling of a digit that begins to be pressed is the first. The same digit by the same means is another
    /// press.
    pub fn admits(&mut self, digit: Digit, means: Means, now: Now) -> Telling {
        let is_same = |it: &Press| it.digit == digit && it.by != means && now < it.until + SAME_PRESS;
        if self.presses.iter().flatten().any(is_same) {
            return Telling::Again;
        }
        self.presses.rotate_right(1);
        if let Some(latest) = self.presses.first_mut() {
            *latest = Some(Press { digit, by: means, is_held: true, until: now + HELD_MAX });
        }
        Telling::First
    }

    /// A digit is let go at `until`. Whether this is the telling that counted: then its end counts too.
    pub fn ends(&mut self, digit: Digit, means: Means, until: Now) -> bool {
        let is_it = |it: &&mut Press| it.digit == digit && it.by == means && it.is_held;
        let Some(press) = self.presses.iter_mut().flatten().find(is_it) else {
            return false;
        };
        (press.is_held, press.until) = (false, until);
        true
    }
}

/// What is shorter may be missed by a tone detector at the other end.
const HELD_MS_MIN: u16 = 60;
/// INFO comes by another way, and a tone is known late.
const SAME_PRESS: Duration = Duration::from_millis(500);
/// Longer than keys are held; after that the end of a press has been missed.
const HELD_MAX: Duration = Duration::from_mins(1);
/// As many as can be pressed while an INFO is under way.
const PRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_told_twice_counts_once_and_pressed_twice_counts_twice() {
        check(
            "
              0 1 event + 30
             40 1 tone
             90 1 info
            250 1 event + 330
            300 2 tone + 380
            350 2 event
            900 2 event + 980",
        );
    }

    #[test]
    fn a_long_press_counts_once_though_it_is_told_again_at_its_end() {
        check(
            "
               0 5 event + 900
             920 5 info
            1200 5 event + 1300
            1350 5 info
            2000 5 info + 2100",
        );
    }

    #[test]
    fn what_is_told_late_counts_once_though_other_keys_have_followed() {
        check(
            "
              0 5 event + 100
            150 6 event + 250
            300 5 info
            310 6 info
            350 7 event + 450
            500 7 info",
        );
    }

    #[test]
    fn a_press_whose_end_is_missed_is_not_held_for_ever() {
        check("0 5 event +\n59000 5 info\n61000 5 info + 61100");
    }

    #[test]
    fn a_digit_is_held_for_as_long_as_it_was_pressed_if_detectors_hear_that() {
        assert_eq!([0, 59, 60, 5_999, 6_000, u32::MAX].map(held_ms), [60, 60, 60, 5_999, 6_000, 6_000]);
    }

    /// Each line: millisecond, digit and means; `+` if it counts, and when it is let go.
    #[track_caller]
    fn check(tellings: &str) {
        let mut telling = OneTelling::default();
        let at = |ms: &str| Now::origin() + Duration::from_millis(ms.parse().unwrap());
        for line in tellings.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let words: Vec<_> = line.split(' ').collect();
            let digit = Digit::from_char(words[1].chars().next().unwrap()).unwrap();
            let means = match words[2] {
                "event" => Means::Event,
                "tone" => Means::Tone,
                _ => Means::Info,
            };
            let expected = if words.contains(&"+") { Telling::First } else { Telling::Again };
            assert_eq!(telling.admits(digit, means, at(words[0])), expected, "{line}");
            if let Some(end) = words.get(4) {
                assert!(telling.ends(digit, means, at(end)), "{line}");
            }
            assert!(words.len() < 5 || !telling.ends(digit, means, at(words[0])), "{line}: once");
        }
    }
}
