//! [`Door`]: the digits that somebody presses to get into a room.
//!
//! A PIN is compared as a whole and in the same time whatever it is, after `#` or a pause. Wrong ones are counted, and
//! nothing of what is pressed is told to anybody.

use subtle::ConstantTimeEq;

use super::Rules;
use crate::identity::Secret;
use crate::limits::{ROOM_PIN_ATTEMPTS_MAX, ROOM_PIN_DIGITS_MAX, ROOM_PIN_WAIT_TICKS};

/// What comes of a key, or of 20 ms without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// That was none: another attempt may follow.
    Wrong,
    /// That was the last attempt.
    Refused,
    /// In.
    Admitted {
        /// As a moderator.
        is_moderator: bool,
    },
}

/// Of one caller.
#[derive(Clone, Debug)]
pub struct Door {
    pin: Option<Secret>,
    moderator_pin: Option<Secret>,
    pressed: [u8; ROOM_PIN_DIGITS_MAX],
    len: usize,
    attempts: u8,
    /// Since the last key.
    idle: u32,
}

impl Door {
    /// Of a room; `None` if nothing is to be pressed there.
    pub fn of(rules: &Rules) -> Option<Self> {
        let has_pin = rules.pin.is_some() || rules.moderator_pin.is_some();
        has_pin.then(|| Self {
            pin: rules.pin.clone(),
            moderator_pin: rules.moderator_pin.clone(),
            pressed: [0; ROOM_PIN_DIGITS_MAX],
            len: 0,
            attempts: 0,
            idle: 0,
        })
    }

    /// A key is pressed.
    pub fn press(&mut self, key: char) -> Outcome {
        self.idle = 0;
        match key {
            '#' => self.judge(),
            digit if digit.is_ascii_digit() => {
                // One digit too many makes it wrong, and is not kept.
                if let (Some(to), Ok(digit)) = (self.pressed.get_mut(self.len), u8::try_from(digit)) {
                    *to = digit;
                }
                self.len = self.len.saturating_add(1);
                Outcome::Waiting
            }
            _ => {
                self.forget();
                Outcome::Waiting
            }
        }
    }

    /// So many times 20 ms pass without a key. A pause ends what was pressed, or is an attempt of its own.
    pub fn tick(&mut self, ticks: u32) -> Outcome {
        self.idle = self.idle.saturating_add(ticks);
        if self.idle < ROOM_PIN_WAIT_TICKS {
            return Outcome::Waiting;
        }
        self.idle = 0;
        self.judge()
    }

    fn judge(&mut self) -> Outcome {
        let (is_moderator, is_member) = (self.matches(self.moderator_pin.as_ref()), self.matches(self.pin.as_ref()));
        let is_free = self.pin.is_none() && self.len == 0;
        self.forget();
        if is_moderator {
            return Outcome::Admitted { is_moderator: true };
        }
        if is_member || is_free {
            return Outcome::Admitted { is_moderator: false };
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= ROOM_PIN_ATTEMPTS_MAX { Outcome::Refused } else { Outcome::Wrong }
    }

    fn matches(&self, pin: Option<&Secret>) -> bool {
        let Some(pin) = pin else {
            return false;
        };
        let mut padded = [0; ROOM_PIN_DIGITS_MAX];
        for (to, from) in padded.iter_mut().zip(pin.reveal().bytes()) {
            *to = from;
        }
        let mut same = self.len.ct_eq(&pin.reveal().len());
        for (ours, theirs) in padded.iter().zip(&self.pressed) {
            same &= ours.ct_eq(theirs);
        }
        same.into()
    }

    fn forget(&mut self) {
        self.pressed = [0; ROOM_PIN_DIGITS_MAX];
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_the_whole_pin_opens() {
        check(Some("1234"), None, "1234#", "in");
        check(Some("1234"), None, "1234~", "in");
        check(Some("1234"), None, "123# 12345# 1234#", "wrong wrong in");
        check(Some("1234"), None, "9*1234#", "in");
        check(Some("1234"), None, "# # #", "wrong wrong refused");
        check(Some("1234"), None, "~ 4321# ~", "wrong wrong refused");
        check(Some("1234567890123456"), None, "1234567890123456#", "in");
        check(Some("1234567890123456"), None, "12345678901234567#", "wrong");
        // What is not pressed is nothing, not a zero.
        check(Some("1200"), None, "12#", "wrong");
    }

    #[test]
    fn a_moderator_has_a_pin_of_its_own() {
        check(Some("1234"), Some("9999"), "9999#", "moderator");
        check(Some("1234"), Some("9999"), "1234#", "in");
        check(None, Some("9999"), "#", "in");
        check(None, Some("9999"), "~", "in");
        check(None, Some("9999"), "1# 9999#", "wrong moderator");
    }

    #[test]
    fn nothing_is_asked_where_there_is_no_pin() {
        assert!(Door::of(&rules(None, None)).is_none());
    }

    /// Presses keys, `~` being a pause, and compares what each word of them led to.
    #[track_caller]
    fn check(pin: Option<&str>, moderator_pin: Option<&str>, keys: &str, expected: &str) {
        let mut door = Door::of(&rules(pin, moderator_pin)).unwrap();
        let outcomes = keys.split(' ').map(|word| {
            let mut outcome = Outcome::Waiting;
            for key in word.chars() {
                assert_eq!(outcome, Outcome::Waiting);
                outcome = if key == '~' { door.tick(ROOM_PIN_WAIT_TICKS) } else { door.press(key) };
            }
            match outcome {
                Outcome::Waiting => "waiting",
                Outcome::Wrong => "wrong",
                Outcome::Refused => "refused",
                Outcome::Admitted { is_moderator: true } => "moderator",
                Outcome::Admitted { is_moderator: false } => "in",
            }
        });
        assert_eq!(outcomes.collect::<Vec<_>>().join(" "), expected);
    }

    fn rules(pin: Option<&str>, moderator_pin: Option<&str>) -> Rules {
        Rules {
            members_max: 3,
            pin: pin.map(Secret::new),
            moderator_pin: moderator_pin.map(Secret::new),
            moderators: BTreeSet::new(),
            mutes_on_entry: false,
            waits_for_moderator: false,
            ends_with_moderator: false,
        }
    }
}
