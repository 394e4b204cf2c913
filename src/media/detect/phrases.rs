//! What a recorded voice says: phrases that a person who has just answered does not use.

use super::answer::Answer;

/// What a transcript tells, if it tells anything. Looks for words, not for sentences, in English.
pub(super) fn classify(transcript: &str) -> Option<Answer> {
    let mut words = String::with_capacity(transcript.len() + 2);
    words.push(' ');
    for character in transcript.chars().take(TRANSCRIPT_CHARS_MAX) {
        match character {
            '\'' | '\u{2019}' => {}
            it if it.is_alphanumeric() => words.extend(it.to_lowercase()),
            _ if words.ends_with(' ') => {}
            _ => words.push(' '),
        }
    }
    words.push(' ');
    PHRASES.iter().find(|(phrase, _)| words.contains(phrase)).map(|it| it.1)
}

/// Screening before machines: both record. Each phrase is whole words.
const PHRASES: &[(&str, Answer)] = &[
    (" state your name ", Answer::Screening),
    (" say your name ", Answer::Screening),
    (" record your name ", Answer::Screening),
    (" reason for calling ", Answer::Screening),
    (" reason for your call ", Answer::Screening),
    (" call assist ", Answer::Screening),
    (" screening service ", Answer::Screening),
    (" mailbox is full ", Answer::Unavailable),
    (" not in service ", Answer::Unavailable),
    (" been disconnected ", Answer::Unavailable),
    (" cannot be completed ", Answer::Unavailable),
    (" has not been set up ", Answer::Unavailable),
    (" leave a message ", Answer::Machine),
    (" leave me a message ", Answer::Machine),
    (" leave your message ", Answer::Machine),
    (" leave your name ", Answer::Machine),
    (" after the tone ", Answer::Machine),
    (" after the beep ", Answer::Machine),
    (" at the tone ", Answer::Machine),
    (" voicemail ", Answer::Machine),
    (" voice mail ", Answer::Machine),
    (" record your message ", Answer::Machine),
    (" you have reached ", Answer::Machine),
    (" youve reached ", Answer::Machine),
    (" cant come to the phone ", Answer::Machine),
    (" unable to take your call ", Answer::Machine),
    (" press one ", Answer::Ivr),
    (" press 1 ", Answer::Ivr),
    (" press two ", Answer::Ivr),
    (" press 2 ", Answer::Ivr),
    (" following options ", Answer::Ivr),
    (" main menu ", Answer::Ivr),
    (" your call may be recorded ", Answer::Ivr),
    (" your call is important ", Answer::Ivr),
];
const TRANSCRIPT_CHARS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_tell_machines_from_people() {
        for (transcript, expected) in [
            ("Hello?", None),
            ("Smith residence, who is this", None),
            ("I read your message yesterday", None),
            ("Hi, you\u{2019}ve reached Ann. Leave a message after the BEEP!", Some(Answer::Machine)),
            ("Please state your name, and why you are calling", Some(Answer::Screening)),
            ("For sales, press 1.", Some(Answer::Ivr)),
            ("The number you have dialled is not in service", Some(Answer::Unavailable)),
            ("", None),
        ] {
            assert_eq!(classify(transcript), expected, "{transcript}");
        }
    }
}
