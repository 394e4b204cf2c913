//! Random events in random order, most of them senseless. Whatever happens: no panic, bounded memory, at most one
//! hang-up, and nothing after it.

use std::time::Duration;

use hookswitch::agent::provider::{
    ModelEvent, RecogniserCommand, RecogniserEvent, SynthesiserEvent, UtteranceId, WordTime,
};
use hookswitch::agent::{Agent, FirstMessage, Output, Tick};
use hookswitch::codec::Frame;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::world::{RATE, config, context, desk, model, origin};

const EVENTS: u32 = 3_000;

#[test]
fn no_sequence_of_events_breaks_an_agent() {
    let mut hang_ups = 0;
    for seed in 0..200 {
        let outcome = std::panic::catch_unwind(|| live(seed));
        hang_ups += u32::from(outcome.unwrap_or_else(|_| panic!("seed {seed}")));
    }
    assert!(hang_ups > 20, "most of the agents are never brought to an end: {hang_ups}");
}

/// One agent's life; whether it hung up by itself.
fn live(seed: u64) -> bool {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut config = config(if rng.random_bool(0.5) { desk() } else { model() });
    if rng.random_bool(0.3) {
        config.first_message = FirstMessage::CallerFirst { wait_ms_max: 2_000 };
    }
    config.times.call_ms_max = rng.random_range(1_000..60_000);
    let mut now = origin();
    let mut agent = Agent::new(config, context(), ChaCha12Rng::seed_from_u64(seed), now);
    let mut hung_up = false;
    for _ in 0..EVENTS {
        now = now + Duration::from_millis(rng.random_range(0..25));
        disturb(&mut agent, &mut rng, now);
        let mut outputs = 0;
        while let Some(output) = agent.poll_output() {
            outputs += 1;
            assert!(!hung_up, "{output:?} after the hang-up");
            match output {
                Output::HangUp { .. } => hung_up = true,
                Output::Play { frame, .. } => assert_eq!(frame.rate(), RATE),
                Output::Recogniser(RecogniserCommand::Audio(_) | RecogniserCommand::Finalize { .. })
                | Output::Synthesiser(_)
                | Output::Model(_)
                | Output::ClearPlayout
                | Output::SendDtmf(_)
                | Output::Fetch { .. }
                | Output::Event(_) => {}
            }
        }
        assert!(outputs < 2_000, "{outputs} outputs of one event");
        assert!(agent.samples_waiting() <= 8 * 60_000 + 8 * 600, "{} samples", agent.samples_waiting());
        assert_eq!(hung_up || agent.is_ended(), agent.is_ended());
    }
    hung_up
}

fn disturb(agent: &mut Agent, rng: &mut ChaCha12Rng, now: hookswitch::timer::Now) {
    match rng.random_range(0..100) {
        0 => agent.handle_answered(now),
        1 if rng.random_bool(0.02) => agent.handle_hangup(now),
        2 => agent.handle_transfer_refused("no", now),
        3..8 => agent.handle_recogniser(recogniser_event(rng), now),
        8..18 => agent.handle_synthesiser(synthesiser_event(rng), now),
        18..24 => agent.handle_model(model_event(rng), now),
        _ => agent.handle_tick(&tick(rng), now),
    }
}

fn tick(rng: &mut ChaCha12Rng) -> Tick {
    // Voice comes in runs, or it would never be speech.
    let loud = rng.random_range(0..4) > 0;
    let audio = Frame::from_samples(RATE, &[if loud { 9_000 } else { 2 }; 160]);
    let played = (UtteranceId(rng.random_range(0..8)), rng.random_range(0..40_000));
    let digit = char::from(b"0123456789*#"[rng.random_range(0..12)]);
    Tick {
        audio: rng.random_bool(0.9).then_some(audio),
        played: rng.random_bool(0.6).then_some(played),
        digit: rng.random_bool(0.01).then_some(digit),
        queued_frames: if rng.random_bool(0.9) { rng.random_range(0..12) } else { u16::MAX },
        missed: if rng.random_bool(0.99) { 0 } else { rng.random_range(0..2_000) },
    }
}

fn text(rng: &mut ChaCha12Rng) -> String {
    const WORDS: &[&str] = &["hours", "goodbye", "wait", "and", "twelve", "hello.", "Well! ", "{{x}}", "…", "", "\n"];
    let count = if rng.random_bool(0.02) { 2_000 } else { rng.random_range(0..6) };
    (0..count).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn recogniser_event(rng: &mut ChaCha12Rng) -> RecogniserEvent {
    match rng.random_range(0..200) {
        0 => RecogniserEvent::Failed { reason: text(rng) },
        1..20 => RecogniserEvent::Ready,
        20..80 => RecogniserEvent::Partial { text: text(rng) },
        _ => {
            let turn = rng.random_bool(0.7).then(|| rng.random_range(0..10));
            RecogniserEvent::Final { turn, text: text(rng), words: vec![] }
        }
    }
}

fn synthesiser_event(rng: &mut ChaCha12Rng) -> SynthesiserEvent {
    let utterance = UtteranceId(rng.random_range(0..10));
    match rng.random_range(0..500) {
        0 => SynthesiserEvent::Failed { reason: text(rng) },
        1..10 => SynthesiserEvent::Ready,
        10..60 => {
            let (start_ms, end_ms) = (rng.next_u32() % 9_000, rng.next_u32());
            SynthesiserEvent::Words { utterance, words: vec![WordTime { word: text(rng), start_ms, end_ms }; 3] }
        }
        60..200 => SynthesiserEvent::Complete { utterance },
        _ => {
            let len = if rng.random_bool(0.02) { 500_000 } else { rng.random_range(0..3_000) };
            SynthesiserEvent::Audio { utterance, samples: vec![3; len] }
        }
    }
}

fn model_event(rng: &mut ChaCha12Rng) -> ModelEvent {
    let generation = rng.random_range(0..6);
    match rng.random_range(0..10) {
        0 => ModelEvent::Failed { generation, reason: text(rng) },
        1 | 2 => ModelEvent::Done { generation },
        _ => ModelEvent::Text { generation, delta: text(rng) },
    }
}
