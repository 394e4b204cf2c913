//! [`Sentences`]: cuts a text that arrives in pieces into sentences, each of which can be spoken as soon as it is whole.

/// Cuts a growing text. The text that waits to be cut is at most `SENTENCE_CHARS_MAX` and one piece long.
#[derive(Debug, Default)]
pub struct Sentences {
    rest: String,
}

impl Sentences {
    /// Adds a piece; the sentences that it completes.
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        self.rest.push_str(piece);
        let mut sentences = vec![];
        while let Some(end) = end_of_sentence(&self.rest) {
            let rest = self.rest.split_off(end);
            let sentence = std::mem::replace(&mut self.rest, rest);
            sentences.extend(spoken(&sentence));
        }
        sentences
    }

    /// The text is complete: what is left is a sentence too.
    pub fn finish(&mut self) -> Option<String> {
        spoken(&std::mem::take(&mut self.rest))
    }
}

/// The place behind the first sentence. Only a mark with a blank behind it ends one, so "3.5" and the beginning of "..."
/// do not, nor do short abbreviations.
fn end_of_sentence(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().peekable();
    let (mut count, mut blank) = (0, None);
    while let Some((at, letter)) = letters.next() {
        count += 1;
        let end = at + letter.len_utf8();
        let before_blank = letters.peek().is_some_and(|(_, it)| it.is_whitespace());
        let ends = match letter {
            '.' => before_blank && !is_abbreviation(text.get(..at).unwrap_or_default()),
            '!' | '?' | '…' | ':' | ';' => before_blank && count >= SENTENCE_CHARS_MIN,
            '。' | '！' | '？' | '\n' => true,
            _ => false,
        };
        if ends {
            return Some(end);
        }
        if letter.is_whitespace() {
            blank = Some(end);
        }
        if count >= SENTENCE_CHARS_MAX {
            return Some(blank.unwrap_or(end));
        }
    }
    None
}

/// Whether the text before a dot ends in a title, an initial or a number of a list.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|it: char| it.is_whitespace() || it == '(').next().unwrap_or_default();
    let initial = word.chars().count() == 1 && word.chars().all(|it| it.is_uppercase() || it.is_ascii_digit());
    initial || word.contains('.') || ABBREVIATIONS.iter().any(|it| it.eq_ignore_ascii_case(word))
}

/// The text, if there is anything in it to say.
fn spoken(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().any(char::is_alphanumeric).then(|| text.to_owned())
}

/// A sentence that grows beyond this is cut at its last blank.
const SENTENCE_CHARS_MAX: usize = 300;
/// Shorter exclamations go with what follows.
const SENTENCE_CHARS_MIN: usize = 6;
const ABBREVIATIONS: &[&str] = &["mr", "mrs", "ms", "dr", "prof", "st", "no", "nr", "etc", "vs", "approx", "dept"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts the text in pieces of every size; the sentences must be the same.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let letters: Vec<char> = text.chars().collect();
        for size in [1, 2, 3, 7, letters.len().max(1)] {
            let mut sentences = Sentences::default();
            let mut found = vec![];
            for piece in letters.chunks(size) {
                found.extend(sentences.push(&piece.iter().collect::<String>()));
            }
            found.extend(sentences.finish());
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn sentences_are_cut_where_they_end() {
        check("Sure. It costs 3.50 euros! Anything else?", &["Sure.", "It costs 3.50 euros!", "Anything else?"]);
        check("Dr. Smith and J. Jones, i.e. both.  Yes", &["Dr. Smith and J. Jones, i.e. both.", "Yes"]);
        check("First line\nsecond line\n\n", &["First line", "second line"]);
        check("Oh! Really? I see.", &["Oh! Really?", "I see."]);
        check("... ! -", &[]);
        check("", &[]);
        check("これは文です。次です。", &["これは文です。", "次です。"]);
    }

    #[test]
    fn endless_sentences_are_cut_at_a_blank() {
        let text = "word ".repeat(100);
        let mut sentences = Sentences::default();
        let found = sentences.push(&text);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("word") && found[0].len() <= SENTENCE_CHARS_MAX);
        let mut sentences = Sentences::default();
        assert_eq!(sentences.push(&"x".repeat(1_000)).len(), 3);
        assert!(sentences.rest.len() < SENTENCE_CHARS_MAX);
    }
}
