//! A small language model and dictionary made of the phrases a client expects: what pocketsphinx reads as an ARPA file.
//!
//! Trigrams with absolute discounting: every n-gram that was seen gives up [`DISCOUNT`] of its count to those that were
//! not, which then fall back to the next shorter history. So sentences that mix the phrases are possible, and those
//! that repeat them are likely.
//!
//! Counts are damped to one more than their logarithm, because phrases are a list and not a sample: that two thousand of
//! them begin with one word and one with "yes" does not make "yes" rare.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::dictionary::Dictionary;
use super::numbers::spoken;

/// A grammar that pocketsphinx can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grammar {
    /// The language model, ARPA format.
    pub arpa: String,
    /// The pronunciations of its words, one a line, as in the dictionary.
    pub dictionary: String,
    /// How many distinct words it has.
    pub words: u32,
    /// Words of the phrases without a pronunciation. Phrases are learnt without them.
    pub unknown_words: Vec<String>,
}

impl Grammar {
    /// Learns `phrases`, with the pronunciations of `dictionary`. `None` if no word of them is in the dictionary.
    pub(super) fn learn(phrases: &[String], dictionary: &Dictionary) -> Option<Self> {
        let phrases: Vec<Vec<String>> = phrases.iter().map(|it| words(it)).collect();
        let wanted: BTreeSet<&str> = phrases.iter().flatten().map(String::as_str).collect();
        let mut known = BTreeSet::new();
        let mut lines = String::new();
        for word in &wanted {
            for line in dictionary.lines(word) {
                known.insert(*word);
                lines.push_str(line);
                lines.push('\n');
            }
        }
        if known.is_empty() {
            return None;
        }
        let counts = Counts::of(&phrases, &known);
        Some(Self {
            arpa: counts.arpa(),
            dictionary: lines,
            words: u32::try_from(known.len()).unwrap_or(u32::MAX),
            unknown_words: wanted.difference(&known).map(|it| (*it).to_owned()).collect(),
        })
    }
}

/// A dictionary entry without the number of its pronunciation: `hours` for `hours(2)`.
pub(super) fn base_form(entry: &str) -> &str {
    match entry.split_once('(') {
        Some((word, _)) if !word.is_empty() => word,
        Some(_) | None => entry,
    }
}

/// The words of a phrase as the dictionary writes them: lower case, apostrophes kept, numbers spoken.
fn words(phrase: &str) -> Vec<String> {
    let phrase = phrase.replace('\u{2019}', "'").to_lowercase();
    let tokens = phrase.split(|it: char| !(it.is_alphanumeric() || it == '\'' || it == '.'));
    tokens
        .map(|it| it.trim_matches(['\'', '.']))
        .filter(|it| !it.is_empty())
        .flat_map(|it| if it.bytes().all(|it| it.is_ascii_digit()) { spoken(it) } else { vec![it.to_owned()] })
        .collect()
}

/// How often each history was followed by each word; sentences begin with [`BEGIN`] and end with [`END`].
#[derive(Debug, Default)]
struct Counts<'a> {
    unigrams: BTreeMap<&'a str, f64>,
    bigrams: BTreeMap<&'a str, BTreeMap<&'a str, f64>>,
    trigrams: BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, f64>>,
}

impl<'a> Counts<'a> {
    fn of(phrases: &'a [Vec<String>], known: &BTreeSet<&'a str>) -> Self {
        let mut counts = Self::default();
        for phrase in phrases {
            let words = phrase.iter().map(String::as_str).filter(|it| known.contains(it));
            let sentence: Vec<&str> = std::iter::once(BEGIN).chain(words).chain([END]).collect();
            if sentence.len() == 2 {
                continue;
            }
            for word in sentence.iter().skip(1) {
                *counts.unigrams.entry(word).or_default() += 1.0;
            }
            for [first, second] in sentence.array_windows() {
                *counts.bigrams.entry(first).or_default().entry(second).or_default() += 1.0;
            }
            for [first, second, third] in sentence.array_windows() {
                *counts.trigrams.entry((first, second)).or_default().entry(third).or_default() += 1.0;
            }
        }
        counts.damp();
        counts
    }

    fn damp(&mut self) {
        let followers = self.bigrams.values_mut().chain(self.trigrams.values_mut()).flat_map(BTreeMap::values_mut);
        for count in self.unigrams.values_mut().chain(followers) {
            *count = 1.0 + count.ln();
        }
    }

    fn unigram(&self, word: &str) -> f64 {
        let total: f64 = self.unigrams.values().sum();
        let count = self.unigrams.get(word).copied().unwrap_or(0.0);
        (count + DISCOUNT) / (total + DISCOUNT * as_f64(self.unigrams.len()))
    }

    /// Only asked of pairs and words that occur.
    fn bigram(&self, history: &str, word: &str) -> f64 {
        match self.bigrams.get(history).and_then(|it| it.get(word)) {
            Some(count) => discounted(*count, &self.bigrams, &history),
            None => self.bigram_backoff(history) * self.unigram(word),
        }
    }

    fn bigram_backoff(&self, history: &str) -> f64 {
        self.bigrams.get(history).map_or(1.0, |followers| backoff(followers, |word| self.unigram(word)))
    }

    fn trigram_backoff(&self, history: (&str, &str)) -> f64 {
        self.trigrams.get(&history).map_or(1.0, |followers| backoff(followers, |word| self.bigram(history.1, word)))
    }

    /// The ARPA file: base-ten logarithms of probabilities and back-off weights.
    fn arpa(&self) -> String {
        let mut arpa = format!(
            "\\data\\\nngram 1={}\nngram 2={}\nngram 3={}\n\n\\1-grams:\n",
            self.unigrams.len() + 1,
            self.bigrams.values().map(BTreeMap::len).sum::<usize>(),
            self.trigrams.values().map(BTreeMap::len).sum::<usize>(),
        );
        // Nothing leads to a beginning, which is written as an impossible probability.
        line(&mut arpa, -99.0, &[BEGIN], Some(self.bigram_backoff(BEGIN)));
        for word in self.unigrams.keys() {
            let weight = (*word != END).then(|| self.bigram_backoff(word));
            line(&mut arpa, self.unigram(word).log10(), &[word], weight);
        }
        arpa.push_str("\n\\2-grams:\n");
        for (history, followers) in &self.bigrams {
            for word in followers.keys() {
                let weight = (*word != END).then(|| self.trigram_backoff((history, word)));
                line(&mut arpa, self.bigram(history, word).log10(), &[history, word], weight);
            }
        }
        arpa.push_str("\n\\3-grams:\n");
        for (history, followers) in &self.trigrams {
            for (word, count) in followers {
                let probability = discounted(*count, &self.trigrams, history);
                line(&mut arpa, probability.log10(), &[history.0, history.1, word], None);
            }
        }
        arpa.push_str("\n\\end\\\n");
        arpa
    }
}

/// The share of a follower that was seen `count` times, less what it gives up.
fn discounted<H: Ord>(count: f64, table: &BTreeMap<H, BTreeMap<&str, f64>>, history: &H) -> f64 {
    let total: f64 = table.get(history).map_or(count, |it| it.values().sum());
    (count - DISCOUNT) / total
}

/// What scales the shorter histories' probabilities so that those of the words not seen here fill what was given up.
fn backoff<'a>(followers: &BTreeMap<&'a str, f64>, shorter: impl Fn(&'a str) -> f64) -> f64 {
    let total: f64 = followers.values().sum();
    let given_up = DISCOUNT * as_f64(followers.len()) / total;
    let unseen = 1.0 - followers.keys().map(|it| shorter(it)).sum::<f64>();
    given_up / unseen.max(UNSEEN_MIN)
}

fn line(arpa: &mut String, log_probability: f64, words: &[&str], weight: Option<f64>) {
    write!(arpa, "{log_probability:.4} {}", words.join(" ")).expect("writing to a string does not fail");
    if let Some(weight) = weight {
        write!(arpa, " {:.4}", weight.log10()).expect("writing to a string does not fail");
    }
    arpa.push('\n');
}

#[expect(clippy::cast_precision_loss, reason = "a grammar has far fewer words than 2^52")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

const BEGIN: &str = "<s>";
const END: &str = "</s>";
const DISCOUNT: f64 = 0.5;
/// Keeps the weight finite where everything was seen.
const UNSEEN_MIN: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    const DICTIONARY: &str = "a AH\na(2) EY\nno N OW\nplease P L IY Z\nthank TH AE NG K\ntwenty T W\nfour F AO R\n\
                              yes Y EH S\nyou Y UW\ndon't D OW N T\n";

    #[test]
    fn phrases_become_words_of_the_dictionary() {
        let grammar = learn(&["Yes, please!", "Don\u{2019}t... Zorblax 24", "A"]);
        assert_eq!(grammar.words, 6);
        assert_eq!(grammar.unknown_words, ["zorblax"]);
        assert_eq!(
            grammar.dictionary,
            "a AH\na(2) EY\ndon't D OW N T\nfour F AO R\nplease P L IY Z\ntwenty T W\nyes Y EH S\n"
        );
        let dictionary = Dictionary::of(DICTIONARY.to_owned());
        assert!(Grammar::learn(&["zorblax".to_owned()], &dictionary).is_none());
        assert!(Grammar::learn(&[], &dictionary).is_none());
    }

    #[test]
    fn a_small_model_is_written_in_full() {
        assert_eq!(
            learn(&["yes please"]).arpa,
            "\\data\\\nngram 1=4\nngram 2=3\nngram 3=2\n\n\\1-grams:\n-99.0000 <s> -0.1249\n-0.4771 </s>\n\
             -0.4771 please -0.1249\n-0.4771 yes -0.1249\n\n\\2-grams:\n-0.3010 <s> yes 0.0000\n\
             -0.3010 please </s>\n-0.3010 yes please 0.0000\n\n\\3-grams:\n-0.3010 <s> yes please\n\
             -0.3010 yes please </s>\n\n\\end\\\n"
        );
    }

    #[test]
    fn every_history_spends_all_of_its_probability() {
        let phrases = ["yes please", "yes thank you", "no thank you", "no", "a a a please", "yes"];
        let phrases: Vec<Vec<String>> = phrases.iter().map(|it| words(it)).collect();
        let known = phrases.iter().flatten().map(String::as_str).collect();
        let counts = Counts::of(&phrases, &known);
        let all: Vec<&str> = counts.unigrams.keys().copied().collect();
        let close = |sum: f64, history: &str| assert!((sum - 1.0).abs() < 1e-9, "{history}: {sum}");
        close(all.iter().map(|it| counts.unigram(it)).sum(), "");
        for history in counts.bigrams.keys() {
            close(all.iter().map(|it| counts.bigram(history, it)).sum(), history);
        }
        for (history, followers) in &counts.trigrams {
            let of = |word: &&str| match followers.get(*word) {
                Some(count) => discounted(*count, &counts.trigrams, history),
                None => counts.trigram_backoff(*history) * counts.bigram(history.1, word),
            };
            close(all.iter().map(of).sum(), history.1);
        }
    }

    fn learn(phrases: &[&str]) -> Grammar {
        let phrases: Vec<String> = phrases.iter().map(|it| (*it).to_owned()).collect();
        Grammar::learn(&phrases, &Dictionary::of(DICTIONARY.to_owned())).unwrap()
    }
}
