//! How well and how fast the local recogniser understands: sentences rendered by flite's voices, as 8 kHz µ-law, with
//! a grammar of phrases as a pathway would give it. Prints words wrong, processor time a second of speech, and so how
//! many callers who speak without pause one core sustains; real time is the limit, one second of speech a second.
//!
//! `cargo bench --bench recogniser`. Flite speaks more regularly than people do: read the errors as an upper bound of
//! quality, and the times as they are.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program that prints what it measures")]

use std::fs;
use std::time::Duration;

use hookswitch::agent::provider::speech_protocol::RecogniserDemand;
use hookswitch::codec::{SampleRate, g711};
use hookswitch::server::clock;
use hookswitch::server::speech::{Model, Outcome, Recogniser, probe, render_text};

const PHRASES: [&str; 50] = [
    "what are your opening hours",
    "when are you open",
    "are you open on saturday",
    "are you open today",
    "what time do you close",
    "i would like to speak to billing please",
    "i have a question about my invoice",
    "i want to pay my bill",
    "my bill is wrong",
    "i was charged twice",
    "i want to book an appointment",
    "can i make an appointment for tomorrow",
    "i would like to see the doctor",
    "do you have anything on friday",
    "cancel my appointment please",
    "i need to change my appointment",
    "where are you located",
    "what is your address",
    "how do i get to your office",
    "is there parking nearby",
    "how much does it cost",
    "what are your prices",
    "do you take credit cards",
    "please connect me to sales",
    "i need technical support",
    "my internet is not working",
    "i forgot my password",
    "can i talk to a human",
    "let me speak to a person",
    "transfer me to an operator",
    "yes please",
    "yes that is right",
    "no thank you",
    "no that is wrong",
    "i do not know",
    "can you repeat that",
    "that is all",
    "nothing else thank you",
    "goodbye",
    "thank you very much",
    "hello",
    "good morning",
    "monday morning",
    "tuesday afternoon",
    "wednesday evening",
    "next thursday",
    "my name is john smith",
    "one two three four five",
    "six seven eight nine zero",
    "leave a message",
];
/// Made of words of the phrases, in other orders.
const PARAPHRASES: [&str; 12] = [
    "what time are you open on friday",
    "i would like to change my appointment please",
    "can i speak to sales",
    "i want to talk to a person about my bill",
    "do you have parking",
    "when do you close today",
    "yes i want to make an appointment",
    "no i would like to speak to an operator",
    "my password is not working",
    "is there an appointment on monday morning",
    "hello i have a question",
    "connect me to technical support please",
];
/// Nothing of it is in the grammar's subject.
const STRANGE: [&str; 8] = [
    "the quick brown fox jumps over the lazy dog",
    "penguins rarely visit the northern hemisphere",
    "she sells sea shells by the sea shore",
    "our committee approved the budget unanimously",
    "tomatoes grow best in full sunlight",
    "the orchestra rehearsed until midnight",
    "frozen lakes creak beneath heavy boots",
    "geologists discovered copper under the valley",
];
const VOICES: [&str; 4] = ["rms", "awb", "slt", "kal"];

fn main() {
    if let Err(missing) = probe(&Model::debian()) {
        println!("{missing}");
        return;
    }
    println!("{:28} {:>7} {:>12} {:>12} {:>14}", "sentences x voice", "wrong", "CPU/speech", "result", "callers/core");
    let mut total = Tally::default();
    for (name, sentences) in
        [("of the grammar", &PHRASES[..]), ("paraphrases", &PARAPHRASES), ("fresh call each", &PHRASES)]
    {
        let mut of_name = Tally::default();
        for voice in VOICES {
            let tally = listen(sentences, voice, name == "fresh call each");
            tally.print(&format!("{} {name}, {voice}", sentences.len()));
            of_name.add(&tally);
        }
        of_name.print(&format!("{name}, all voices"));
        total.add(&of_name);
    }
    total.print("all");
    let strange: Vec<_> = VOICES.iter().map(|voice| listen(&STRANGE, voice, false)).collect();
    let heard: u32 = strange.iter().map(|it| it.understood).sum();
    println!(
        "{heard} of {} sentences outside the grammar were taken for words of it: the recogniser cannot tell.",
        STRANGE.len() * VOICES.len()
    );
    println!("{:?} to start a recogniser with a grammar of {} phrases", start_time(), PHRASES.len());
    for calls in [1, 8, 24, 48] {
        let share = concurrent(calls);
        println!(
            "{calls:3} calls at once: {share:.4} CPU/speech, {:.1} callers who speak without pause a core",
            1.0 / share
        );
    }
}

/// Processor time a second of speech while so many recognisers, each with a thread of its own, share the caches.
fn concurrent(calls: usize) -> f64 {
    let speech: Vec<Vec<i16>> = PARAPHRASES
        .iter()
        .map(|it| telephoned(&render_text(it, "rms", SampleRate::Hz8000).expect("flite is installed")))
        .collect();
    let seconds = speech.iter().map(Vec::len).sum::<usize>() as f64 / 8_000.0;
    let speech = &speech;
    let used: Duration = std::thread::scope(|scope| {
        let one = || {
            let mut call = call();
            let before = processor_time();
            for (turn, sentence) in (0..).zip(speech) {
                for frame in sentence.chunks(160) {
                    call.handle(RecogniserDemand::Audio(frame.to_vec()));
                }
                call.handle(RecogniserDemand::Finalize { turn });
            }
            processor_time().saturating_sub(before)
        };
        let threads: Vec<_> = (0..calls).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|it| it.join().expect("a recogniser does not panic")).sum()
    });
    used.as_secs_f64() / (seconds * calls as f64)
}

#[derive(Default)]
struct Tally {
    errors: u32,
    words: u32,
    understood: u32,
    speech: Duration,
    processor: Duration,
    results: Vec<Duration>,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.errors += other.errors;
        self.words += other.words;
        self.understood += other.understood;
        self.speech += other.speech;
        self.processor += other.processor;
        self.results.extend(&other.results);
    }

    fn print(&self, name: &str) {
        let share = self.processor.as_secs_f64() / self.speech.as_secs_f64();
        let mut results = self.results.clone();
        results.sort();
        let median = results.get(results.len() / 2).copied().unwrap_or_default();
        let wrong = f64::from(self.errors) * 100.0 / f64::from(self.words);
        println!("{name:28} {wrong:6.1}% {share:12.4} {:9.1} ms {:14.1}", median.as_secs_f64() * 1e3, 1.0 / share);
    }
}

/// One call, or one a sentence, in which `voice` says `sentences` with a pause after each.
fn listen(sentences: &[&str], voice: &str, fresh: bool) -> Tally {
    let mut tally = Tally::default();
    let mut call = call();
    for (turn, sentence) in (0..).zip(sentences) {
        if fresh {
            call = self::call();
        }
        let samples = render_text(sentence, voice, SampleRate::Hz8000).expect("flite is installed");
        let spoken = telephoned(&samples);
        tally.speech += Duration::from_secs_f64(spoken.len() as f64 / 8_000.0);
        let before = processor_time();
        for frame in spoken.chunks(160) {
            call.handle(RecogniserDemand::Audio(frame.to_vec()));
        }
        let asked = clock::now();
        let outcomes = call.handle(RecogniserDemand::Finalize { turn });
        tally.results.push(clock::now() - asked);
        tally.processor += processor_time().saturating_sub(before);
        let text = outcomes.iter().find_map(|it| {
            let Outcome::Complete { text, .. } = it else { return None };
            Some(text.as_str())
        });
        let text = text.expect("a finalize is answered");
        let (reference, heard): (Vec<_>, Vec<_>) = (sentence.split(' ').collect(), text.split_whitespace().collect());
        tally.errors += distance(&reference, &heard);
        tally.words += count(reference.len());
        tally.understood += u32::from(!text.is_empty());
    }
    tally
}

fn call() -> Recogniser {
    let mut recogniser = Recogniser::new(Model::debian(), SampleRate::Hz8000);
    let phrases = PHRASES.iter().map(|it| (*it).to_owned()).collect();
    let outcomes = recogniser.handle(RecogniserDemand::Grammar(phrases));
    let is_known =
        |it: &Outcome| matches!(it, Outcome::GrammarDefined { unknown_words, .. } if unknown_words.is_empty());
    assert!(outcomes.iter().all(is_known), "{outcomes:?}");
    recogniser.handle(RecogniserDemand::Start { partial_results: true });
    recogniser
}

fn start_time() -> Duration {
    let before = clock::now();
    drop(call());
    clock::now() - before
}

/// What comes out of a telephone: µ-law, with 300 ms of silence before and 500 ms after.
fn telephoned(samples: &[i16]) -> Vec<i16> {
    let padded = [&[0; 2_400], samples, &[0; 4_000]].concat();
    let (mut payload, mut back) = (vec![0; padded.len()], vec![0; padded.len()]);
    g711::encode_ulaw(&padded, &mut payload);
    g711::decode_ulaw(&payload, &mut back);
    back
}

/// Fewest words to put in, leave out or change.
fn distance(reference: &[&str], heard: &[&str]) -> u32 {
    let mut row: Vec<u32> = (0..=count(heard.len())).collect();
    for (at, word) in (1..).zip(reference) {
        let mut next = vec![at];
        for (pair, other) in row.windows(2).zip(heard) {
            let [diagonal, above] = *pair else { continue };
            let left = next.last().copied().unwrap_or(at);
            next.push((diagonal + u32::from(other != word)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("there are few")
}

/// Time this thread has run, whatever else the machine does meanwhile.
fn processor_time() -> Duration {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps scheduling statistics");
    let running = statistics.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(running.expect("the first number is the time in nanoseconds"))
}
