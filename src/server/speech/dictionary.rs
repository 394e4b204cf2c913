//! [`Dictionary`]: pronunciations, read once and shared by the sessions that learn phrases with them.

use super::language_model::base_form;

/// Lines of a word and its phones, found by the word.
#[derive(Debug)]
pub(super) struct Dictionary {
    text: String,
    /// Where lines begin, in the order of their words; of one word in the order of the file.
    by_word: Vec<u32>,
}

impl Dictionary {
    /// What is behind the first 4 GB of the text is left out.
    pub(super) fn of(text: String) -> Self {
        let mut by_word = vec![];
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            by_word.extend(u32::try_from(at).ok().filter(|_| !line.trim().is_empty()));
            at += line.len();
        }
        by_word.sort_by_key(|it| word_at(&text, *it));
        Self { text, by_word }
    }

    /// The lines of a word.
    pub(super) fn lines<'a>(&'a self, word: &str) -> impl Iterator<Item = &'a str> {
        let first = self.by_word.partition_point(|it| word_at(&self.text, *it) < word);
        let count = self.by_word.iter().skip(first).take_while(|it| word_at(&self.text, **it) == word).count();
        self.by_word.iter().skip(first).take(count).map(|it| line_at(&self.text, *it))
    }
}

fn line_at(text: &str, at: u32) -> &str {
    let rest = usize::try_from(at).ok().and_then(|it| text.get(it..)).unwrap_or_default();
    rest.lines().next().unwrap_or_default()
}

fn word_at(text: &str, at: u32) -> &str {
    base_form(line_at(text, at).split_ascii_whitespace().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pronunciation_of_a_word_is_found_wherever_it_stands() {
        let dictionary = Dictionary::of("no N OW\na AH\n\nyes Y EH S\na(2) EY\nabc EY\n'a X".to_owned());
        for (word, lines) in [("a", "a AH|a(2) EY"), ("no", "no N OW"), ("'a", "'a X"), ("zoo", ""), ("", "")] {
            assert_eq!(dictionary.lines(word).collect::<Vec<_>>().join("|"), lines, "{word}");
        }
        assert_eq!(Dictionary::of(String::new()).lines("a").count(), 0);
    }
}
