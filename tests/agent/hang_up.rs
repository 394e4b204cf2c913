//! The caller hangs up at every moment of a conversation, and nothing is left behind.

use hookswitch::agent::provider::{RecogniserEvent, SynthesiserEvent, UtteranceId};
use hookswitch::agent::{Event, Output, Tick};

use crate::world::{World, config, desk, model, origin};

/// A conversation that passes through every state: greeting, a turn, an interrupted answer, keys.
const INPUTS: &[(u64, &str)] = &[
    (100, "answered"),
    (2_000, "caller says what are your hours for 800"),
    (4_500, "caller says wait for 600"),
    (7_000, "caller presses 1"),
    (7_300, "caller presses 0"),
];

#[test]
fn hanging_up_at_any_moment_leaves_nothing() {
    for (mind, end_ms) in [(desk(), 10_000), (model(), 6_000)] {
        for hang_up_ms in (0..end_ms).step_by(20) {
            let mut world = World::new(config(mind.clone()));
            world.settle();
            for now_ms in (0..hang_up_ms).step_by(20) {
                for (_, input) in INPUTS.iter().filter(|(at_ms, _)| *at_ms == now_ms) {
                    world.apply(input);
                    world.settle();
                }
                world.step();
            }
            world.agent.handle_hangup(origin());
            let last: Vec<_> = std::iter::from_fn(|| world.agent.poll_output()).collect();
            for output in &last {
                match output {
                    Output::Event(Event::Transcript { .. } | Event::NodeEntered { .. } | Event::Played { .. })
                    | Output::Synthesiser(_)
                    | Output::Model(_)
                    | Output::ClearPlayout => {}
                    Output::Recogniser(_)
                    | Output::Play { .. }
                    | Output::SendDtmf(_)
                    | Output::Fetch { .. }
                    | Output::Event(_)
                    | Output::HangUp { .. } => panic!("{hang_up_ms} ms: {output:?}"),
                }
            }
            assert!(world.agent.is_ended() && world.agent.samples_waiting() == 0, "{hang_up_ms} ms");
            assert_nothing_follows(&mut world);
        }
    }
}

fn assert_nothing_follows(world: &mut World) {
    let now = origin();
    let audio = SynthesiserEvent::Audio { utterance: UtteranceId(0), samples: vec![1; 800] };
    world.agent.handle_answered(now);
    world.agent.handle_synthesiser(audio, now);
    let text = "hello".to_owned();
    world.agent.handle_recogniser(RecogniserEvent::Final { turn: None, text, words: vec![] }, now);
    world.agent.handle_transfer_refused("no", now);
    let tick = Tick { audio: None, played: None, digit: Some('1'), queued_frames: 0, missed: 7 };
    world.agent.handle_tick(&tick, now);
    world.agent.handle_hangup(now);
    assert_eq!(world.agent.poll_output(), None);
    assert_eq!(world.agent.samples_waiting(), 0);
}
