//! [`Intent`]: what a caller may want, by the phrases and keywords that say it.
//!
//! A turn is scored against each intent: the whole phrase as said, a phrase inside a longer sentence, keywords, and
//! last a sentence that shares most words of a phrase. The highest score wins; at the same score the intent that is
//! asked about first, so a node's own intents come before the pathway's global ones.

use super::words::Words;

/// What a caller may want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name in the pathway.
    pub name: String,
    /// Sentences that say it.
    pub phrases: Vec<Words>,
    /// Words, or runs of words, that say it wherever they stand.
    pub keywords: Vec<Words>,
    /// Longer sentences that say it with more in them: they are not matched, but the recogniser is to expect them.
    pub examples: Vec<Words>,
}

impl Intent {
    /// How well `text` says it, from 1; `None` if it does not.
    pub fn score(&self, text: &Words) -> Option<u32> {
        let phrase = self.phrases.iter().filter_map(|it| phrase_score(it, text)).max();
        let longest_keyword = self.keywords.iter().filter(|it| text.contains(it)).map(Words::len).max();
        let hits = self.keywords.iter().filter(|it| text.contains(it)).count();
        let keyword = longest_keyword.map(|longest| KEYWORD + small(longest) * 10 + small(hits));
        phrase.max(keyword)
    }
}

/// The intent that `text` says best; the earlier one at the same score.
pub(super) fn best_match<'a>(intents: impl IntoIterator<Item = &'a Intent>, text: &Words) -> Option<&'a Intent> {
    let mut best: Option<(u32, &Intent)> = None;
    for intent in intents {
        if let Some(score) = intent.score(text)
            && best.is_none_or(|(highest, _)| score > highest)
        {
            best = Some((score, intent));
        }
    }
    best.map(|(_, intent)| intent)
}

fn phrase_score(phrase: &Words, text: &Words) -> Option<u32> {
    if phrase == text {
        return Some(EXACT);
    }
    if text.contains(phrase) {
        return Some(CONTAINED + small(phrase.len()));
    }
    // Recognisers drop and swap words: three quarters of a phrase of some length still say it.
    let shared = text.shared_with(phrase);
    (phrase.len() >= 3 && shared * 4 >= phrase.len() * 3).then(|| SIMILAR + small(shared))
}

fn small(count: usize) -> u32 {
    u32::try_from(count.min(9)).unwrap_or(9)
}

const EXACT: u32 = 1_000;
const CONTAINED: u32 = 500;
const KEYWORD: u32 = 200;
const SIMILAR: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(name: &str, phrases: &[&str], keywords: &[&str]) -> Intent {
        Intent {
            name: name.to_owned(),
            phrases: phrases.iter().map(|it| Words::of(it)).collect(),
            keywords: keywords.iter().map(|it| Words::of(it)).collect(),
            examples: vec![],
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let intents = [
            intent("hours", &["what are your opening hours", "when are you open"], &["opening hours", "hours"]),
            intent("billing", &["i have a question about my bill"], &["billing", "invoice"]),
            intent("open_account", &["i want to open an account"], &["account"]),
        ];
        let found = best_match(&intents, &Words::of(text)).map(|it| it.name.as_str());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn phrases_beat_keywords_beat_similar_sentences() {
        check("What are your opening hours?", Some("hours"));
        check("uh when are you open tomorrow", Some("hours"));
        check("billing please", Some("billing"));
        check("a question about the bill i have", Some("billing"));
        check("can you tell me the hours for billing", Some("hours"));
        check("what are the opening hours for billing", Some("hours"));
        check("i want to open account", Some("open_account"));
        check("the weather is nice", None);
        check("", None);
    }
}
