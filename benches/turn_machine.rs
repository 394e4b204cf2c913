//! What a tick of 20 ms costs: the turn machine alone, and a whole agent with and without the neural detector of voice.
//! Ends with the share of the 20 ms, which is the number of agents that a core can tick.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use divan::Bencher;
use hookswitch::agent::pathway::{Pathway, Run};
use hookswitch::agent::provider::{RecogniserEvent, SynthesiserEvent, UtteranceId};
use hookswitch::agent::turn_machine::{Floor, TurnMachine};
use hookswitch::agent::voice_activity::{Activity, Detector, VoiceActivity, VoiceActivityConfig};
use hookswitch::agent::{Agent, AgentConfig, Apology, CallContext, MindConfig, Output, Tick, TurnTaking};
use hookswitch::codec::{Frame, SampleRate};
use hookswitch::identity::{CallId, Pii};
use hookswitch::timer::Now;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

const RATE: SampleRate = SampleRate::Hz8000;
const DETECTORS: [Detector; 2] = [Detector::Energy, Detector::Neural];
const ROUNDS: u32 = 200;
const ROUND_TICKS: u32 = 100;

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() {
    divan::main();
    for detector in DETECTORS {
        let (mut agent, now) = answered(detector);
        let mut spent: Vec<Duration> = (0..ROUNDS)
            .map(|round| {
                let began = clock();
                for number in 0..ROUND_TICKS {
                    live(&mut agent, detector, round * ROUND_TICKS + number, now);
                }
                clock() - began
            })
            .collect();
        spent.sort();
        let median = spent.get(spent.len() / 2).copied().unwrap_or_default();
        let us = median.as_secs_f64() * 1e6 / f64::from(ROUND_TICKS);
        let share = us / 20_000.0;
        println!(
            "agent, {detector:?}: {us:.2} us of a tick's 20 ms: {:.3} %, {:.0} agents a core",
            share * 100.0,
            1.0 / share
        );
    }
}

#[divan::bench]
fn tick_of_the_turn_machine(bencher: Bencher<'_, '_>) {
    let mut machine = TurnMachine::new(TurnTaking::default());
    let mut number = 0_u32;
    bencher.bench_local(|| {
        number += 1;
        let activity = if number % 100 < 60 { Activity::Speech } else { Activity::Silence };
        machine.handle_tick(activity, Floor { interruptible: true, playout_empty: true });
        while let Some(output) = machine.poll_output() {
            black_box(output);
        }
    });
}

#[divan::bench(args = DETECTORS)]
fn frame_of_voice_activity(bencher: Bencher<'_, '_>, detector: Detector) {
    let mut voice = VoiceActivity::new(VoiceActivityConfig { detector, ..VoiceActivityConfig::default() });
    let frames = caller();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        voice.handle_frame(black_box(frames.get(number % frames.len())))
    });
}

#[divan::bench(args = DETECTORS)]
fn tick_of_an_agent(bencher: Bencher<'_, '_>, detector: Detector) {
    let (mut agent, now) = answered(detector);
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        live(&mut agent, detector, number, now);
    });
}

#[divan::bench]
fn an_agent_for_a_new_call(bencher: Bencher<'_, '_>) {
    let config = config(Detector::Neural);
    let now = origin();
    bencher.bench_local(|| Agent::new(config.clone(), context(), ChaCha12Rng::seed_from_u64(1), now));
}

#[divan::bench]
fn a_turn_through_the_receptionist(bencher: Bencher<'_, '_>) {
    let pathway = Pathway::receptionist();
    let mut run = Run::new(pathway, &BTreeMap::new(), ChaCha12Rng::seed_from_u64(1));
    run.handle_start();
    bencher.bench_local(|| {
        run.handle_speech(black_box("can you tell me your opening hours please"));
        while let Some(step) = run.poll_step() {
            black_box(step);
        }
    });
}

/// One tick of an agent that speaks while a caller does, with all that comes out of it.
fn live(agent: &mut Agent, detector: Detector, number: u32, now: Now) {
    thread_local! {
        static CALLER: Vec<Frame> = caller();
    }
    let audio = CALLER.with(|frames| frames.get(usize::try_from(number).unwrap_or(0) % frames.len()).copied());
    let tick = Tick { audio, played: Some((UtteranceId(0), number * 160)), digit: None, queued_frames: 9, missed: 0 };
    agent.handle_tick(&tick, now);
    while let Some(output) = agent.poll_output() {
        if let Output::HangUp { .. } = output {
            (*agent, _) = answered(detector);
        }
        black_box(output);
    }
}

/// An agent that has ten seconds of greeting to play, and no other duty.
fn answered(detector: Detector) -> (Agent, Now) {
    let now = origin();
    let mut agent = Agent::new(config(detector), context(), ChaCha12Rng::seed_from_u64(1), now);
    agent.handle_recogniser(RecogniserEvent::Ready, now);
    let utterance = UtteranceId(0);
    agent.handle_synthesiser(SynthesiserEvent::Audio { utterance, samples: vec![1; 80_000] }, now);
    agent.handle_synthesiser(SynthesiserEvent::Complete { utterance }, now);
    agent.handle_answered(now);
    (agent, now)
}

fn config(detector: Detector) -> AgentConfig {
    let mut config = AgentConfig::new(MindConfig::Pathway(Pathway::receptionist()), RATE, Apology::default());
    config.voice_activity.detector = detector;
    config.times.call_ms_max = u64::MAX;
    config.times.synthesiser_ms_max = u64::MAX;
    config.turn_taking.idle_ms = u32::MAX;
    config
}

fn context() -> CallContext {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    CallContext {
        call: CallId::generate(&mut rng, 0),
        from: Pii::default(),
        to: Pii::default(),
        variables: BTreeMap::new(),
    }
}

/// A spoken sentence and a pause.
fn caller() -> Vec<Frame> {
    let speech = include_bytes!("../tests/data/opening-hours.ulaw");
    let mut samples = vec![0; speech.len() + 16_000];
    hookswitch::codec::g711::decode_ulaw(speech, &mut samples);
    samples.chunks(160).map(|it| Frame::from_samples(RATE, it)).collect()
}

fn origin() -> Now {
    Now { instant: clock(), unix: Duration::from_secs(1_700_000_000) }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn clock() -> Instant {
    Instant::now()
}
