//! [`SlotKind`]: what kind of answer a `collect` node takes, and how it is read from speech or from keys.
//!
//! English only. A date is what the caller named ("tomorrow", "next monday", "march 3"), not a day of a calendar.

use super::number::{digits_in, number_in};
use super::words::Words;

/// The kind of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Whatever is said.
    Text,
    /// A whole number, written in digits.
    Number,
    /// A row of digits, such as an order number.
    Digits {
        /// The fewest that are taken.
        min: u8,
        /// The most; reaching it ends the input of keys.
        max: u8,
    },
    /// One of several values.
    Choice(Vec<Choice>),
    /// `yes` or `no`.
    YesNo,
    /// The name of a person.
    Name,
    /// A day: a weekday, today, tomorrow, or a day of a month.
    Date,
}

/// One value of a [`SlotKind::Choice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What the variable is set to.
    pub value: String,
    /// What the caller may say for it, the value among them.
    pub said: Vec<Words>,
    /// The key that stands for it.
    pub digit: Option<char>,
}

impl SlotKind {
    /// The answer in what was said; `None` if there is none of this kind.
    pub fn from_speech(&self, text: &str) -> Option<String> {
        let words = Words::of(text);
        match self {
            Self::Text => (!words.is_empty()).then(|| text.trim().to_owned()),
            Self::Number => number_in(&words).map(|it| it.to_string()),
            Self::Digits { min, max } => {
                digits_in(&words).filter(|it| (usize::from(*min)..=usize::from(*max)).contains(&it.len()))
            }
            Self::Choice(choices) => choice_in(choices, &words),
            Self::YesNo => yes_no_in(&words).map(str::to_owned),
            Self::Name => name_in(&words),
            Self::Date => date_in(&words),
        }
    }

    /// The answer in a sentence that was about something else as well, such as the day in "an appointment on monday".
    pub fn in_passing(&self, words: &Words) -> Option<String> {
        match self {
            Self::Text | Self::YesNo => None,
            Self::Name => name_after_lead(words),
            Self::Number | Self::Digits { .. } | Self::Choice(_) | Self::Date => self.from_speech(&words.to_string()),
        }
    }

    /// The answer in keys that were pressed.
    pub fn from_digits(&self, digits: &str) -> Option<String> {
        match self {
            Self::Number => digits.parse::<u32>().ok().map(|it| it.to_string()),
            Self::Digits { min, max } => {
                (usize::from(*min)..=usize::from(*max)).contains(&digits.len()).then(|| digits.to_owned())
            }
            Self::Choice(choices) => choices
                .iter()
                .find(|it| it.digit.is_some_and(|key| digits == key.to_string()))
                .map(|it| it.value.clone()),
            Self::YesNo => match digits {
                "1" => Some("yes".to_owned()),
                "2" => Some("no".to_owned()),
                _ => None,
            },
            Self::Text | Self::Name | Self::Date => None,
        }
    }

    /// After how many keys an input is complete; `None` if keys are no answer of this kind.
    pub fn digits_max(&self) -> Option<usize> {
        match self {
            Self::Number => Some(NUMBER_DIGITS_MAX),
            Self::Digits { max, .. } => Some(usize::from(*max)),
            Self::Choice(choices) => choices.iter().any(|it| it.digit.is_some()).then_some(1),
            Self::YesNo => Some(1),
            Self::Text | Self::Name | Self::Date => None,
        }
    }

    /// What callers are expected to say, for the recogniser's language model.
    pub fn phrases(&self) -> Vec<String> {
        match self {
            Self::Text | Self::Name => vec![],
            Self::Number | Self::Digits { .. } => super::number::words().map(str::to_owned).collect(),
            Self::Choice(choices) => choices.iter().flat_map(|it| &it.said).map(Words::to_string).collect(),
            Self::YesNo => YES.iter().chain(NO).map(|it| (*it).to_owned()).collect(),
            Self::Date => WEEKDAYS
                .iter()
                .chain(&["today", "tomorrow"])
                .flat_map(|day| [(*day).to_owned(), format!("on {day}"), format!("next {day}")])
                .chain(MONTHS.iter().map(|it| (*it).to_owned()))
                .collect(),
        }
    }
}

fn choice_in(choices: &[Choice], words: &Words) -> Option<String> {
    let longest = |it: &Choice| it.said.iter().filter(|it| words.contains(it)).map(Words::len).max();
    let mut best: Option<(usize, &Choice)> = None;
    for choice in choices {
        if let Some(len) = longest(choice)
            && best.is_none_or(|(before, _)| len > before)
        {
            best = Some((len, choice));
        }
    }
    best.map(|(_, it)| it.value.clone())
}

/// The first word that says one or the other: "yes, no problem" is a yes.
fn yes_no_in(words: &Words) -> Option<&'static str> {
    let first = |said: &[&str]| said.iter().filter_map(|it| words.position(&Words::of(it))).min();
    match (first(YES), first(NO)) {
        (Some(yes), Some(no)) => Some(if yes < no { "yes" } else { "no" }),
        (Some(_), None) => Some("yes"),
        (None, Some(_)) => Some("no"),
        (None, None) => None,
    }
}

fn name_in(words: &Words) -> Option<String> {
    let leads = NAME_LEADS.iter().chain(NAME_LEADS_IN_AN_ANSWER);
    name_from(words, after_last(leads, words).unwrap_or(0))
}

fn name_after_lead(words: &Words) -> Option<String> {
    name_from(words, after_last(NAME_LEADS.iter(), words)?)
}

/// The index of the word after the last of the leads.
fn after_last<'a>(leads: impl Iterator<Item = &'a &'a str>, words: &Words) -> Option<usize> {
    leads.map(|it| Words::of(it)).filter_map(|lead| words.position(&lead).map(|at| at + lead.len())).max()
}

fn name_from(words: &Words, start: usize) -> Option<String> {
    let rest = words.from(start);
    let name = rest.iter().skip_while(|it| NAME_FILLERS.contains(it));
    let name: Vec<_> = name.take_while(|it| !NAME_ENDS.contains(it)).take(4).map(capitalised).collect();
    (!name.is_empty()).then(|| name.join(" "))
}

fn date_in(words: &Words) -> Option<String> {
    let all: Vec<&str> = words.iter().collect();
    if let Some(month) = MONTHS.iter().find(|it| all.contains(it)) {
        let day = super::number::ordinal_in(words).or_else(|| number_in(words)).filter(|it| (1..=31).contains(it));
        return Some(day.map_or_else(|| (*month).to_owned(), |it| format!("{month} {it}")));
    }
    let day = WEEKDAYS.iter().chain(&["today", "tomorrow"]).find(|it| all.contains(it))?;
    let next = words.contains(&Words::of(&format!("next {day}")));
    Some(if next { format!("next {day}") } else { (*day).to_owned() })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const NUMBER_DIGITS_MAX: usize = 9;
const YES: &[&str] = &[
    "yes",
    "yeah",
    "yep",
    "sure",
    "correct",
    "right",
    "exactly",
    "okay",
    "ok",
    "of course",
    "please do",
    "absolutely",
];
const NO: &[&str] = &["no", "nope", "not", "wrong", "incorrect", "never"];
const NAME_LEADS: &[&str] = &["my name is", "the name is", "name is", "my names", "this is", "call me", "for"];
const NAME_LEADS_IN_AN_ANSWER: &[&str] = &["i am", "im", "it is", "its"];
const NAME_FILLERS: &[&str] = &["uh", "um", "yes", "hello", "hi", "sure", "well", "okay"];
const NAME_ENDS: &[&str] = &["on", "at", "in", "next", "today", "tomorrow", "please", "thanks", "thank", "and"];
const WEEKDAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &SlotKind, cases: &[(&str, Option<&str>)]) {
        for (text, expected) in cases {
            assert_eq!(kind.from_speech(text).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn answers_are_read_from_speech() {
        check(&SlotKind::Text, &[(" Anything at all. ", Some("Anything at all.")), ("…", None)]);
        check(&SlotKind::Number, &[("twenty five please", Some("25")), ("none", None)]);
        check(
            &SlotKind::Digits { min: 2, max: 4 },
            &[("one oh double seven", Some("1077")), ("one", None), ("one two three four five", None)],
        );
        check(
            &SlotKind::YesNo,
            &[
                ("Yes, please.", Some("yes")),
                ("no that is wrong", Some("no")),
                ("that is not right", Some("no")),
                ("yes no problem", Some("yes")),
                ("maybe", None),
            ],
        );
        check(
            &SlotKind::Name,
            &[
                ("My name is john smith", Some("John Smith")),
                ("uh this is Ada", Some("Ada")),
                ("Robert", Some("Robert")),
                ("", None),
                ("my name is", None),
            ],
        );
        check(
            &SlotKind::Date,
            &[
                ("on Tuesday please", Some("tuesday")),
                ("next friday", Some("next friday")),
                ("the third of march", Some("march 3")),
                ("march twenty first", Some("march 21")),
                ("tomorrow", Some("tomorrow")),
                ("soon", None),
            ],
        );
    }

    #[test]
    fn answers_are_found_in_passing() {
        let words = Words::of("I would like an appointment for Mary Jones on Wednesday please");
        assert_eq!(SlotKind::Name.in_passing(&words).as_deref(), Some("Mary Jones"));
        assert_eq!(SlotKind::Date.in_passing(&words).as_deref(), Some("wednesday"));
        assert_eq!(SlotKind::Text.in_passing(&words), None);
        assert_eq!(SlotKind::Name.in_passing(&Words::of("an appointment please")), None);
    }

    #[test]
    fn the_longest_choice_wins() {
        let choice = |value: &str, said: &[&str], digit| Choice {
            value: value.to_owned(),
            said: said.iter().map(|it| Words::of(it)).collect(),
            digit,
        };
        let kind = SlotKind::Choice(vec![
            choice("morning", &["morning"], Some('1')),
            choice("late morning", &["late morning", "before noon"], Some('2')),
        ]);
        check(&kind, &[("in the late morning", Some("late morning")), ("morning", Some("morning")), ("night", None)]);
        assert_eq!(kind.from_digits("2").as_deref(), Some("late morning"));
        assert_eq!((kind.from_digits("3"), kind.digits_max()), (None, Some(1)));
    }

    #[test]
    fn answers_are_read_from_keys() {
        assert_eq!(SlotKind::YesNo.from_digits("1").as_deref(), Some("yes"));
        assert_eq!(SlotKind::Number.from_digits("007").as_deref(), Some("7"));
        assert_eq!(SlotKind::Number.from_digits(""), None);
        assert_eq!(SlotKind::Digits { min: 2, max: 4 }.from_digits("1"), None);
        assert_eq!((SlotKind::Name.from_digits("1"), SlotKind::Name.digits_max()), (None, None));
    }
}
