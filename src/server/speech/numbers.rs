//! Numbers as words, for phrases that are written with digits: the dictionary knows words only. The words are those that
//! pathways understand.

use crate::agent::pathway::number::{TENS, UNITS};

/// How a number is said: up to four digits as one number, longer ones digit by digit, as telephone numbers are.
pub(super) fn spoken(digits: &str) -> Vec<String> {
    match digits.parse::<u16>() {
        Ok(number) if digits.len() <= 4 && !(digits.starts_with('0') && digits.len() > 1) => {
            number_words(number).into_iter().map(str::to_owned).collect()
        }
        Ok(_) | Err(_) => digits
            .bytes()
            .filter_map(|it| UNITS.get(usize::from(it.wrapping_sub(b'0'))))
            .map(|it| (*it).to_owned())
            .collect(),
    }
}

fn number_words(number: u16) -> Vec<&'static str> {
    let one = |at: u16| UNITS.get(usize::from(at)).copied().into_iter();
    match number {
        0..20 => one(number).collect(),
        20..100 => {
            let ten = TENS.get(usize::from(number / 10 - 2)).copied().into_iter();
            ten.chain(one(number % 10).filter(|_| !number.is_multiple_of(10))).collect()
        }
        100..1_000 => one(number / 100).chain(["hundred"]).chain(rest(number % 100)).collect(),
        1_000.. => number_words(number / 1_000).into_iter().chain(["thousand"]).chain(rest(number % 1_000)).collect(),
    }
}

fn rest(number: u16) -> Vec<&'static str> {
    if number == 0 { vec![] } else { number_words(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        for (digits, words) in [
            ("0", "zero"),
            ("7", "seven"),
            ("20", "twenty"),
            ("42", "forty two"),
            ("100", "one hundred"),
            ("315", "three hundred fifteen"),
            ("2026", "two thousand twenty six"),
            ("9999", "nine thousand nine hundred ninety nine"),
            ("007", "zero zero seven"),
            ("55512", "five five five one two"),
        ] {
            assert_eq!(spoken(digits).join(" "), words);
        }
    }
}
