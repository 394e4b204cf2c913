//! The local engine: what flite says, pocketsphinx understands.

use std::time::{Duration, Instant};

use hookswitch::agent::provider::speech_protocol::AudioFormat;
use hookswitch::agent::provider::{
    RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent, UtteranceId, WordTime,
};
use hookswitch::codec::{Frame, SampleRate};
use hookswitch::server::clock;

use crate::{Recogniser, Synthesiser, engine, frames, recogniser, soon, synthesiser};

const PHRASES: [&str; 8] = [
    "what are your opening hours",
    "i would like to speak to billing please",
    "i want to book an appointment",
    "cancel my appointment please",
    "where are you located",
    "yes please",
    "no thank you",
    "goodbye",
];

/// The voice that sounds the same every time. The others have noise of a generator that all of the process share, so what
/// a test hears would depend on what other tests say meanwhile; `benches/recogniser.rs` measures those.
const REPEATABLE: Option<&str> = Some("kal");

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_understood() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, REPEATABLE);
    let mut listener = recogniser(&server, &PHRASES);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    let mut sent_ms = 0;
    for (turn, text) in (1..).zip([PHRASES[0], PHRASES[2], PHRASES[5]]) {
        let speech = say(&mut speaker, turn, text).await;
        // Nobody speaks in the first moment of a line.
        let began_ms = sent_ms + 10 * Frame::MS;
        for frame in silence(10).chain(frames(&speech.samples)).chain(silence(25)) {
            listener.send(RecogniserCommand::Audio(frame)).unwrap();
            sent_ms += Frame::MS;
            // At the pace of a call that runs a hundred times as fast, so that nothing is dropped.
            pace().await;
        }
        let (heard, words, partials, took) = finalize(&mut listener, turn).await;
        println!("{text:?} -> {heard:?}, {partials} partial results, final result after {took:?}");
        assert_eq!(heard, text);
        assert!(partials > 0);
        assert_eq!(words.iter().map(|it| it.word.as_str()).collect::<Vec<_>>().join(" "), text);
        // The recogniser's times agree with the synthesiser's own.
        for (spoken, heard) in speech.words.iter().zip(&words) {
            let late = i64::from(heard.end_ms) - i64::from(began_ms + spoken.end_ms);
            assert!(late.abs() < 200, "{spoken:?} {heard:?} off by {late} ms");
        }
    }
    assert_eq!(listener.dropped(), 0);
    assert_eq!(server.stop(Duration::from_secs(5)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_noise_are_understood_as_nothing() {
    let server = engine(|_| {}).await;
    let mut listener = recogniser(&server, &PHRASES);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    let mut seed = 1_u32;
    let mut noise = |loud: i32| -> Vec<i16> {
        (0..160 * 50)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                i16::try_from(((seed >> 16) as i32 - 32_768) * loud / 32_768).unwrap()
            })
            .collect()
    };
    for (turn, loud) in (1..).zip([0, 30, 300, 1_000]) {
        for frame in frames(&noise(loud)) {
            listener.send(RecogniserCommand::Audio(frame)).unwrap();
            pace().await;
        }
        let (heard, words, ..) = finalize(&mut listener, turn).await;
        assert_eq!((heard.as_str(), words.len()), ("", 0), "noise of {loud}");
    }
    // A turn without any audio is answered too.
    assert_eq!(finalize(&mut listener, 9).await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_rendered_in_every_voice_and_format_with_word_times() {
    let server = engine(|_| {}).await;
    for voice in ["rms", "awb", "slt", "kal"] {
        for format in [AudioFormat::MULAW, AudioFormat::ALAW, AudioFormat::linear16(SampleRate::Hz16000)] {
            let mut speaker = synthesiser(&server, format, Some(voice));
            let speech = say(&mut speaker, 1, "Hello. Your total is $25.50!").await;
            let ms = u32::try_from(speech.samples.len()).unwrap() * 1_000 / format.rate().hz();
            assert!((2_000..6_000).contains(&ms), "{voice}: {ms} ms");
            let words: Vec<_> = speech.words.iter().map(|it| it.word.as_str()).collect();
            assert_eq!(words, ["Hello.", "Your", "total", "is", "$25.50!"], "{voice}");
            assert!(speech.words.windows(2).all(|it| it[0].end_ms <= it[1].start_ms), "{voice}: {:?}", speech.words);
            assert!(speech.words.last().unwrap().end_ms <= ms);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_text_is_not_spoken_on_and_the_next_is() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Ready);
    let long = "This is one sentence of very many that nobody will hear. ".repeat(80);
    speaker.send(SynthesiserCommand::Speak { utterance: UtteranceId(1), text: long }).unwrap();
    while !matches!(soon(speaker.next()).await, SynthesiserEvent::Audio { .. }) {}
    let stopped = clock::now().instant;
    speaker.send(SynthesiserCommand::Stop { utterance: UtteranceId(1) }).unwrap();
    speaker.send(SynthesiserCommand::Speak { utterance: UtteranceId(2), text: "Next.".to_owned() }).unwrap();
    loop {
        match soon(speaker.next()).await {
            SynthesiserEvent::Complete { utterance } => {
                assert_eq!(utterance, UtteranceId(2));
                break;
            }
            SynthesiserEvent::Failed { reason } => panic!("{reason}"),
            SynthesiserEvent::Ready | SynthesiserEvent::Audio { .. } | SynthesiserEvent::Words { .. } => {}
        }
    }
    println!("stop -> next text complete after {:?}", since(stopped));
    // 80 sentences are four minutes of speech.
    assert!(server.counters().synthesised_ms.value() < 60_000);
}

/// Each sentence's audio comes before the next is rendered, so the first does not wait for the last. The time it takes
/// depends on the machine and is printed.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_comes_sentence_by_sentence() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Ready);
    let mut taken = vec![];
    for number in 0..6 {
        let text = "Our office is open from nine to five. We are closed on Sunday. ".repeat(4);
        let asked = clock::now().instant;
        speaker.send(SynthesiserCommand::Speak { utterance: UtteranceId(number), text }).unwrap();
        let mut order = vec![];
        let mut first_audio = None;
        loop {
            match soon(speaker.next()).await {
                SynthesiserEvent::Words { .. } => order.push("words"),
                SynthesiserEvent::Audio { .. } => {
                    first_audio.get_or_insert_with(|| since(asked));
                    order.push("audio");
                }
                SynthesiserEvent::Complete { .. } => break,
                other @ (SynthesiserEvent::Ready | SynthesiserEvent::Failed { .. }) => panic!("{other:?}"),
            }
        }
        order.dedup();
        assert_eq!(order, ["words", "audio"].repeat(8));
        taken.extend(first_audio);
    }
    println!("speak -> first audio: {taken:?}");
}

/// A crash in the C library would end every call: what a model writes must not reach it unharmed.
#[tokio::test(flavor = "multi_thread")]
async fn strange_texts_are_survived() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    let fixed = [
        String::new(),
        " . ".to_owned(),
        "\0\u{1b}[2J\r\n\t".to_owned(),
        "%s%n%x $(reboot) `x` <speak>&amp;</speak>".to_owned(),
        "9".repeat(200),
        "a".repeat(200),
        "$999,999,999,999,999,999.99 1/0 12:99:99 1e400 -0 0x7f".to_owned(),
        "\u{4f60}\u{597d} \u{1f600} \u{202e}abc \u{fffd}".to_owned(),
        "((((((((((\"\"\"''''....,,,,;;;;----____".to_owned(),
        "A.B.C.D. U.S.A. e.g. i.e. Ph.D. No. 5 St. St. Dr. Dr.".to_owned(),
    ];
    let mut seed = 7_u32;
    let random = (0..20).map(|_| {
        let pick = |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + u8::try_from((seed >> 16) % 95).unwrap())
        };
        (0..60).map(pick).collect::<String>()
    });
    for (number, text) in (1..).zip(fixed.into_iter().chain(random)) {
        say(&mut speaker, number, &text).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grammars_of_one_word_and_of_very_many_phrases_work() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, REPEATABLE);
    let spoken = say(&mut speaker, 1, "yes").await;
    let numbers: Vec<String> = (0..1_999).map(|it| format!("the number is {it}")).collect();
    let many: Vec<&str> = numbers.iter().map(String::as_str).chain(["yes"]).collect();
    for phrases in [&["yes"][..], &["yes"; 500], &many] {
        let asked = clock::now().instant;
        let mut listener = recogniser(&server, phrases);
        assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
        println!("{} phrases: ready after {:?}", phrases.len(), since(asked));
        for frame in silence(20).chain(frames(&spoken.samples)).chain(silence(25)) {
            listener.send(RecogniserCommand::Audio(frame)).unwrap();
            pace().await;
        }
        let (heard, words, ..) = finalize(&mut listener, 1).await;
        assert_eq!(listener.dropped(), 0, "{} phrases", phrases.len());
        assert_eq!(heard, "yes", "{} phrases, {words:?}", phrases.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grammar_the_general_model_listens() {
    let server = engine(|_| {}).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    let spoken = say(&mut speaker, 1, "good morning").await;
    let mut listener = recogniser(&server, &[]);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    for frame in silence(20).chain(frames(&spoken.samples)).chain(silence(25)) {
        listener.send(RecogniserCommand::Audio(frame)).unwrap();
        pace().await;
    }
    let (heard, ..) = finalize(&mut listener, 1).await;
    println!("general model heard {heard:?}");
    assert!(!heard.is_empty());
}

struct Said {
    samples: Vec<i16>,
    words: Vec<WordTime>,
}

async fn say(speaker: &mut Synthesiser, number: u32, text: &str) -> Said {
    let utterance = UtteranceId(number);
    speaker.send(SynthesiserCommand::Speak { utterance, text: text.to_owned() }).unwrap();
    let mut said = Said { samples: vec![], words: vec![] };
    loop {
        match soon(speaker.next()).await {
            SynthesiserEvent::Ready => {}
            SynthesiserEvent::Audio { samples, .. } => said.samples.extend(samples),
            SynthesiserEvent::Words { words, .. } => said.words.extend(words),
            SynthesiserEvent::Complete { .. } => return said,
            SynthesiserEvent::Failed { reason } => panic!("{reason}"),
        }
    }
}

async fn finalize(listener: &mut Recogniser, turn: u32) -> (String, Vec<WordTime>, usize, Duration) {
    let asked = clock::now().instant;
    listener.send(RecogniserCommand::Finalize { turn }).unwrap();
    let mut partials = 0;
    loop {
        match soon(listener.next()).await {
            RecogniserEvent::Partial { .. } => partials += 1,
            RecogniserEvent::Final { turn: answered, text, words } => {
                assert_eq!(answered, Some(turn));
                return (text, words, partials, since(asked));
            }
            RecogniserEvent::Ready => panic!("ready twice"),
            RecogniserEvent::Failed { reason } => panic!("{reason}"),
        }
    }
}

fn silence(count: usize) -> impl Iterator<Item = Frame> {
    std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), count)
}

fn since(instant: Instant) -> Duration {
    clock::now().instant - instant
}

async fn pace() {
    tokio::time::timeout(Duration::from_micros(500), std::future::pending::<()>()).await.unwrap_err();
}
