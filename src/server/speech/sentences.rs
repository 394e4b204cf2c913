//! Cuts a text into pieces that are synthesised one by one, so that the first audio comes early, and makes each piece
//! safe for a synthesiser that knows ASCII only.

use crate::limits::{SPEECH_SENTENCE_CHARS_MAX, SPEECH_WORD_CHARS_MAX};

/// The sentences of `text` in order, each of plain ASCII words separated by one space, none longer than
/// [`SPEECH_SENTENCE_CHARS_MAX`] and none empty.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let text = plain(text);
    let mut sentences = vec![];
    let mut sentence = String::new();
    let mut words = text.split_ascii_whitespace().flat_map(cut).peekable();
    while let Some(word) = words.next() {
        if !sentence.is_empty() && sentence.len() + 1 + word.len() > SPEECH_SENTENCE_CHARS_MAX {
            sentences.push(std::mem::take(&mut sentence));
        }
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        if ends_sentence(word) && words.peek().is_some_and(|next| !next.starts_with(|it: char| it.is_ascii_lowercase()))
        {
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    sentences.push(sentence);
    sentences.retain(|it| it.bytes().any(|it| it.is_ascii_alphanumeric()));
    sentences
}

/// Whether a word ends a sentence rather than being an abbreviation.
fn ends_sentence(word: &str) -> bool {
    let word = word.trim_end_matches(['"', '\'', ')']);
    match word.strip_suffix(['!', '?', ':', ';']) {
        Some(_) => true,
        None => word.strip_suffix('.').is_some_and(|stem| {
            let is_initial = stem.len() == 1 && stem.bytes().all(|it| it.is_ascii_uppercase());
            !is_initial && !stem.contains('.') && !ABBREVIATIONS.contains(&stem)
        }),
    }
}

/// Pieces of a word that is too long to be one.
fn cut(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at_checked(SPEECH_WORD_CHARS_MAX).unwrap_or((rest, ""));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Typographic signs as their ASCII forms, accents taken off, and a space for everything else.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' '..='~' => plain.push(char),
            '\u{2018}' | '\u{2019}' => plain.push('\''),
            '\u{201c}' | '\u{201d}' | '«' | '»' => plain.push('"'),
            '\u{2013}' | '\u{2014}' => plain.push_str(", "),
            '\u{2026}' => plain.push_str("..."),
            '€' => plain.push_str(" euros "),
            '£' => plain.push_str(" pounds "),
            '°' => plain.push_str(" degrees "),
            'ß' => plain.push_str("ss"),
            'æ' | 'Æ' => plain.push_str("ae"),
            'œ' | 'Œ' => plain.push_str("oe"),
            _ => plain.push(FOLDED.iter().find(|(from, _)| from.contains(char)).map_or(' ', |(_, to)| *to)),
        }
    }
    plain
}

const ABBREVIATIONS: [&str; 12] = ["Mr", "Mrs", "Ms", "Dr", "St", "Prof", "No", "Inc", "Ltd", "vs", "approx", "Ave"];

const FOLDED: [(&str, char); 18] = [
    ("àáâãäåāăą", 'a'),
    ("ÀÁÂÃÄÅĀĂĄ", 'A'),
    ("çćč", 'c'),
    ("ÇĆČ", 'C'),
    ("èéêëēėęě", 'e'),
    ("ÈÉÊËĒĖĘĚ", 'E'),
    ("ìíîïīı", 'i'),
    ("ÌÍÎÏĪİ", 'I'),
    ("ñńň", 'n'),
    ("ÑŃŇ", 'N'),
    ("òóôõöøō", 'o'),
    ("ÒÓÔÕÖØŌ", 'O'),
    ("ùúûüūů", 'u'),
    ("ÙÚÛÜŪŮ", 'U'),
    ("śšş", 's'),
    ("ŚŠŞ", 'S'),
    ("źżž", 'z'),
    ("ýÿ", 'y'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_sentences_end() {
        for (text, expected) in [
            ("Hello! How are you? Fine.", vec!["Hello!", "How are you?", "Fine."]),
            (
                "Dr. Smith costs $2.50, e.g. on Mon. at St. Mary's.",
                vec!["Dr. Smith costs $2.50, e.g. on Mon. at St. Mary's."],
            ),
            ("He said \"stop.\" Then J. R. left", vec!["He said \"stop.\"", "Then J. R. left"]),
            ("  \n\t ", vec![]),
            ("... !!! ?", vec![]),
            ("Caf\u{e9} \u{2018}na\u{ef}ve\u{2019} \u{2014} 20\u{20ac}\u{1f600}", vec!["Cafe 'naive' , 20 euros"]),
            ("one\0two\x1b[31m", vec!["one two [31m"]),
        ] {
            assert_eq!(sentences(text), expected, "{text:?}");
        }
    }

    #[test]
    fn endless_sentences_and_words_are_cut() {
        let long = sentences(&"word ".repeat(200));
        assert!(long.len() > 1 && long.iter().all(|it| it.len() <= SPEECH_SENTENCE_CHARS_MAX));
        assert_eq!(long.join(" "), "word ".repeat(200).trim());
        let word = "9".repeat(1_000);
        for sentence in sentences(&word) {
            assert!(sentence.split(' ').all(|it| it.len() <= SPEECH_WORD_CHARS_MAX));
        }
    }
}
