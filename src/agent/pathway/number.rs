//! English numbers as they are spoken: quantities ("two hundred and five"), rows of digits ("one oh double seven"),
//! and days of a month ("twenty first").

use super::words::Words;

/// The number that the words hold; `None` without one. The largest is 999,999.
pub(super) fn number_in(words: &Words) -> Option<u32> {
    let (mut total, mut below_thousand, mut found) = (0u32, 0u32, false);
    for word in words.iter() {
        if let Ok(value) = word.parse::<u32>() {
            below_thousand = below_thousand.checked_add(value)?;
        } else if let Some(value) = small_number(word) {
            below_thousand = below_thousand.checked_add(value)?;
        } else if word == "hundred" && found {
            below_thousand = below_thousand.checked_mul(100)?;
        } else if word == "thousand" && found {
            total = total.checked_add(below_thousand.checked_mul(1_000)?)?;
            below_thousand = 0;
        } else {
            continue;
        }
        found = true;
    }
    let number = total.checked_add(below_thousand)?;
    (found && number <= 999_999).then_some(number)
}

/// The digits that the words spell, in order; `None` without any.
pub(super) fn digits_in(words: &Words) -> Option<String> {
    let mut digits = String::new();
    let mut times = 1;
    for word in words.iter() {
        match word {
            "double" => times = 2,
            "triple" => times = 3,
            _ => {
                let zero = || matches!(word, "oh" | "o").then_some(0);
                if word.bytes().all(|it| it.is_ascii_digit()) {
                    digits.push_str(&word.repeat(times));
                } else if let Some(digit) = UNITS.iter().position(|it| *it == word).or_else(zero) {
                    digits.push_str(&digit.to_string().repeat(times));
                }
                times = 1;
            }
        }
    }
    (!digits.is_empty()).then_some(digits)
}

/// The day of a month: "third", "twenty first", "3rd".
pub(super) fn ordinal_in(words: &Words) -> Option<u32> {
    let mut tens = 0;
    for word in words.iter() {
        match word {
            "twenty" => tens = 20,
            "thirty" => tens = 30,
            "twentieth" => return Some(20),
            "thirtieth" => return Some(30),
            _ => {
                if let Some(at) = ORDINALS.iter().position(|it| *it == word) {
                    return u32::try_from(at).ok().map(|it| tens + it + 1);
                }
                let figures = word.trim_end_matches(|it: char| it.is_ascii_alphabetic());
                if figures.len() < word.len()
                    && let Ok(day) = figures.parse()
                {
                    return Some(day);
                }
            }
        }
    }
    None
}

fn small_number(word: &str) -> Option<u32> {
    let at = |list: &[&str]| list.iter().position(|it| *it == word).and_then(|it| u32::try_from(it).ok());
    at(UNITS).or_else(|| at(TENS).map(|it| (it + 2) * 10))
}

/// Words that numbers and digits are made of, for the recogniser's language model.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    UNITS.iter().chain(TENS).chain(&["hundred", "thousand", "double", "oh"]).copied()
}

/// Zero to nineteen.
pub const UNITS: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
/// Twenty to ninety, by tens.
pub const TENS: &[&str] = &["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: &[&str] = &[
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("seven", Some(7)),
            ("i have twenty five", Some(25)),
            ("two hundred and five", Some(205)),
            ("three thousand two hundred", Some(3_200)),
            ("42", Some(42)),
            ("hundred", None),
            ("nine nine nine thousand thousand thousand", Some(27_000)),
            ("4294967295 1", None),
            ("nothing", None),
        ] {
            assert_eq!(number_in(&Words::of(text)), expected, "{text}");
        }
    }

    #[test]
    fn rows_of_digits() {
        for (text, expected) in [
            ("one oh double seven", Some("1077")),
            ("it is 12 34", Some("1234")),
            ("triple nine", Some("999")),
            ("hello", None),
        ] {
            assert_eq!(digits_in(&Words::of(text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn days_of_a_month() {
        for (text, expected) in [("twenty first", Some(21)), ("the third", Some(3)), ("22nd", Some(22)), ("two", None)]
        {
            assert_eq!(ordinal_in(&Words::of(text)), expected, "{text}");
        }
    }
}
