//! The end of a turn by the recogniser's own judgement, with a silence that ends it if the judgement does not come.

use serde::Deserialize;

use super::Ending;

/// Ends a turn when the recogniser says so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecogniserEndpointing {
    /// The silence that ends a turn without the recogniser, in milliseconds.
    pub end_of_turn_ms_max: u32,
}

impl RecogniserEndpointing {
    pub(super) fn is_over(&self, ending: Ending<'_>) -> bool {
        ending.recogniser_ended || ending.quiet_ms >= u64::from(self.end_of_turn_ms_max)
    }
}

impl Default for RecogniserEndpointing {
    fn default() -> Self {
        Self { end_of_turn_ms_max: 3_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recogniser_decides_but_not_for_ever() {
        let rule = RecogniserEndpointing::default();
        let over = |quiet_ms, recogniser_ended| rule.is_over(Ending { quiet_ms, text: "", recogniser_ended });
        assert_eq!([over(0, true), over(2_980, false), over(3_000, false)], [true, false, true]);
    }
}
