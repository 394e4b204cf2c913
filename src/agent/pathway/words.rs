//! Words as matching sees them: lower case, without punctuation, so that "Opening hours?" and "opening hours" are one.

/// A text as a sequence of words to compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Words(Vec<String>);

impl Words {
    /// Splits at anything that is neither a letter, a digit nor an apostrophe, and drops the apostrophes.
    pub fn of(text: &str) -> Self {
        let plain: String = text.chars().flat_map(char::to_lowercase).filter(|it| !matches!(it, '\'' | '’')).collect();
        Self(plain.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Where `other` stands in `self` as one run of words: the index of its first word. An empty run is nowhere.
    pub fn position(&self, other: &Self) -> Option<usize> {
        if other.is_empty() {
            return None;
        }
        self.0.windows(other.len()).position(|it| it == other.0)
    }

    /// Whether `other` stands in `self` as one run of words.
    pub fn contains(&self, other: &Self) -> bool {
        self.position(other).is_some()
    }

    /// How many words of `other` stand in `self`, in any place.
    pub fn shared_with(&self, other: &Self) -> usize {
        other.0.iter().filter(|it| self.0.contains(it)).count()
    }

    /// The words from the one at `index` on.
    pub fn from(&self, index: usize) -> Self {
        Self(self.0.iter().skip(index).cloned().collect())
    }
}

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_and_apostrophes_do_not_matter() {
        assert_eq!(Words::of("What's  your-name?"), Words::of("whats YOUR name"));
        assert!(Words::of("…").is_empty());
        let text = Words::of("can i speak to billing please");
        assert!(text.contains(&Words::of("to billing")) && !text.contains(&Words::of("to please")));
        assert!(!text.contains(&Words::of("")));
        assert_eq!(text.shared_with(&Words::of("please speak up")), 2);
    }
}
