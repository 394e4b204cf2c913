//! An interruption by words: later than by duration, but a cough is none.

use serde::Deserialize;

use super::Intrusion;

/// Interrupts after some words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WordsBargeIn {
    /// How many words interrupt.
    pub words: u8,
    /// Speech that interrupts although the recogniser gave fewer words, in milliseconds.
    pub speech_ms_max: u32,
}

impl WordsBargeIn {
    pub(super) fn interrupts(self, intrusion: Intrusion<'_>) -> bool {
        let words = intrusion.text.split_whitespace().count();
        let enough_words = self.words > 0 && words >= usize::from(self.words);
        enough_words || intrusion.speech_ms >= u64::from(self.speech_ms_max)
    }
}

impl Default for WordsBargeIn {
    fn default() -> Self {
        Self { words: 2, speech_ms_max: 1_500 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_interrupt_or_very_long_speech() {
        let interrupts = |speech_ms, text| WordsBargeIn::default().interrupts(Intrusion { speech_ms, text });
        assert!(!interrupts(600, "") && !interrupts(600, "okay") && !interrupts(1_480, " "));
        assert!(interrupts(300, "no wait") && interrupts(1_500, ""));
    }
}
