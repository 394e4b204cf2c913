//! The scripted peer: the same protocol without an engine, and what the drivers make of its failures.

use std::time::Duration;

use hookswitch::agent::provider::secret::Secret;
use hookswitch::agent::provider::speech_protocol::AudioFormat;
use hookswitch::agent::provider::{
    RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent, UtteranceId,
};
use hookswitch::codec::SampleRate;
use hookswitch::server::speech::scripted::{Failure, Script, Scripted};
use hookswitch::server::speech::{SpeechConfig, SpeechServer};

use crate::{TOKEN, frames, recogniser, soon, synthesiser};

async fn peer(script: Script) -> SpeechServer {
    let config = SpeechConfig::new(Secret::new(TOKEN));
    SpeechServer::start_scripted(config, Scripted::new(script)).await.unwrap()
}

fn texts() -> Script {
    Script { texts: vec!["one two".to_owned(), "three".to_owned()], ..Script::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_follow_the_script_and_words_their_sound() {
    let server = peer(texts()).await;
    let mut listener = recogniser(&server, &["anything"]);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    let sound = [[0_i16; 800], [9_000; 800]].concat();
    for (turn, expected) in [(1, "one two"), (2, "three"), (3, "one two")] {
        for frame in frames(&sound) {
            listener.send(RecogniserCommand::Audio(frame)).unwrap();
        }
        listener.send(RecogniserCommand::Finalize { turn }).unwrap();
        let RecogniserEvent::Final { turn: answered, text, words } = soon(listener.next()).await else {
            panic!("not a result")
        };
        assert_eq!((answered, text.as_str()), (Some(turn), expected));
        let (first, last) = (words.first().unwrap(), words.last().unwrap());
        assert_eq!((first.start_ms, last.end_ms), (turn * 200 - 100, turn * 200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_as_long_as_its_text() {
    let server = peer(Script { audio_per_char: Duration::from_millis(50), ..Script::default() }).await;
    let format = AudioFormat::linear16(SampleRate::Hz16000);
    let mut speaker = synthesiser(&server, format, None);
    assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Ready);
    speaker.send(SynthesiserCommand::Speak { utterance: UtteranceId(4), text: "Ten chars.".to_owned() }).unwrap();
    let mut len = 0;
    loop {
        match soon(speaker.next()).await {
            SynthesiserEvent::Audio { utterance, samples } => {
                assert_eq!(utterance, UtteranceId(4));
                len += samples.len();
            }
            SynthesiserEvent::Words { words, .. } => {
                assert_eq!(words.iter().map(|it| it.end_ms).collect::<Vec<_>>(), [181, 500]);
            }
            SynthesiserEvent::Complete { .. } => break,
            other @ (SynthesiserEvent::Ready | SynthesiserEvent::Failed { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(len, 8_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_reaches_the_agent_as_one_event() {
    for (failure, reason) in [
        (Failure::Busy, "busy: all recognisers are taken, as scripted"),
        (Failure::RecogniserFails { after: 0 }, "engine-failed: failed as scripted"),
        (Failure::RecogniserVanishes { after: 0 }, "the connection was lost"),
    ] {
        let server = peer(Script { failure: Some(failure), ..texts() }).await;
        let mut listener = recogniser(&server, &[]);
        let mut event = soon(listener.next()).await;
        if event == RecogniserEvent::Ready {
            listener.send(RecogniserCommand::Finalize { turn: 1 }).unwrap();
            event = soon(listener.next()).await;
        }
        let RecogniserEvent::Failed { reason: told } = event else { panic!("{event:?}") };
        assert!(told.starts_with(reason), "{failure:?}: {told}");
        assert_eq!(listener.next().await, None, "no event follows");
        assert!(listener.send(RecogniserCommand::Finalize { turn: 2 }).is_err());
    }
    let server = peer(Script { failure: Some(Failure::SynthesiserFails { after: 1 }), ..texts() }).await;
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    let speak = |number| SynthesiserCommand::Speak { utterance: UtteranceId(number), text: "Hi.".to_owned() };
    speaker.send(speak(1)).unwrap();
    speaker.send(speak(2)).unwrap();
    let mut events = vec![];
    while let Some(event) = speaker.next().await {
        if !matches!(event, SynthesiserEvent::Audio { .. } | SynthesiserEvent::Words { .. }) {
            events.push(event);
        }
    }
    let failed = SynthesiserEvent::Failed { reason: "engine-failed: failed as scripted".to_owned() };
    assert_eq!(events, [SynthesiserEvent::Ready, SynthesiserEvent::Complete { utterance: UtteranceId(1) }, failed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_costs_nothing_and_ends_with_its_handle() {
    let server = peer(Script { failure: Some(Failure::RecogniserHangs { after: 0 }), ..texts() }).await;
    let mut listener = recogniser(&server, &[]);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    listener.send(RecogniserCommand::Finalize { turn: 1 }).unwrap();
    let counters = server.counters();
    assert_eq!(counters.recogniser_sessions.value(), 1);
    drop(listener);
    let gone = async {
        while counters.recogniser_sessions.value() > 0 {
            tokio::task::yield_now().await;
        }
        Some(())
    };
    soon(gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_at_once_leave_nothing_behind() {
    let server = peer(texts()).await;
    let mut sessions = vec![];
    for _ in 0..200 {
        sessions.push((recogniser(&server, &["x"]), synthesiser(&server, AudioFormat::MULAW, None)));
    }
    for (listener, speaker) in &mut sessions {
        assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
        assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Ready);
        listener.send(RecogniserCommand::Finalize { turn: 1 }).unwrap();
        speaker.send(SynthesiserCommand::Speak { utterance: UtteranceId(1), text: "Hi.".to_owned() }).unwrap();
    }
    for (listener, speaker) in &mut sessions {
        assert!(matches!(soon(listener.next()).await, RecogniserEvent::Final { .. }));
        while !matches!(soon(speaker.next()).await, SynthesiserEvent::Complete { .. }) {}
    }
    drop(sessions);
    assert_eq!(server.stop(Duration::from_secs(10)).await, 0);
    let counters = server.counters();
    assert_eq!((counters.recogniser_sessions.value(), counters.synthesiser_sessions.value()), (0, 0));
}
