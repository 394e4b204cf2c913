//! The end of a turn by silence: a short one after words that can end a sentence, a longer one after words that cannot.

use serde::Deserialize;

use super::Ending;

/// Ends a turn after a silence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SilenceEndpointing {
    /// The silence that ends a turn, in milliseconds.
    pub end_of_turn_ms: u32,
    /// The silence that ends it although its last word asks for another one.
    pub end_of_turn_ms_max: u32,
    /// Words after which a caller goes on.
    pub unfinished_words: Vec<String>,
}

impl SilenceEndpointing {
    pub(super) fn is_over(&self, ending: Ending<'_>) -> bool {
        let wait_ms = match self.is_unfinished(ending.text) {
            true => self.end_of_turn_ms.max(self.end_of_turn_ms_max),
            false => self.end_of_turn_ms,
        };
        ending.quiet_ms >= u64::from(wait_ms)
    }

    fn is_unfinished(&self, text: &str) -> bool {
        let text = text.trim_end();
        let last = text.rsplit(char::is_whitespace).next().unwrap_or_default();
        text.ends_with(',') || self.unfinished_words.iter().any(|it| it.eq_ignore_ascii_case(last))
    }
}

impl Default for SilenceEndpointing {
    fn default() -> Self {
        let words = ["and", "or", "but", "so", "because", "if", "the", "a", "an", "my", "to", "of", "for", "um", "uh"];
        Self {
            end_of_turn_ms: 500,
            end_of_turn_ms_max: 1_200,
            unfinished_words: words.iter().map(|it| (*it).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_that_goes_on_is_waited_for() {
        let rule = SilenceEndpointing::default();
        for (text, over_after_ms) in [
            ("", 500),
            ("I would like an appointment", 500),
            ("I would like an appointment and", 1_200),
            ("well, Um", 1_200),
            ("on Monday, ", 1_200),
            ("I lost my land", 500),
        ] {
            let over = |quiet_ms| rule.is_over(Ending { quiet_ms, text, recogniser_ended: false });
            assert_eq!((over(over_after_ms - 20), over(over_after_ms)), (false, true), "{text}");
        }
    }
}
