//! The speech engine and the providers' drivers, end to end over loopback.
#![cfg(feature = "server")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod engine;
mod language_model;
mod refusals;
mod scripted;

use std::future::Future;
use std::time::Duration;

use hookswitch::agent::provider::secret::Secret;
use hookswitch::agent::provider::speech_protocol::{
    AudioFormat, RecogniserClient, RecogniserConfig, SynthesiserClient, SynthesiserConfig,
};
use hookswitch::agent::provider::{RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent};
use hookswitch::codec::{Frame, SampleRate};
use hookswitch::server::provider::{Handle, SocketAddress, spawn_recogniser, spawn_synthesiser};
use hookswitch::server::speech::{Model, SpeechConfig, SpeechServer, probe};

pub(crate) const TOKEN: &str = "a-token-of-the-test";

pub(crate) type Recogniser = Handle<RecogniserCommand, RecogniserEvent>;
pub(crate) type Synthesiser = Handle<SynthesiserCommand, SynthesiserEvent>;

/// A server of the local engine; fails with what to install where the engine is absent.
pub(crate) async fn engine(change: impl FnOnce(&mut SpeechConfig)) -> SpeechServer {
    let mut config = SpeechConfig::new(Secret::new(TOKEN));
    if let Err(missing) = probe(&Model::debian()) {
        panic!("{missing}");
    }
    change(&mut config);
    SpeechServer::start(config).await.expect("a loopback port is free")
}

pub(crate) fn address(server: &SpeechServer) -> SocketAddress {
    SocketAddress {
        base: format!("ws://{}", server.address()),
        key: Secret::new(TOKEN),
        connect_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn recogniser(server: &SpeechServer, phrases: &[&str]) -> Recogniser {
    let phrases = phrases.iter().map(|it| (*it).to_owned()).collect();
    let config = RecogniserConfig { format: AudioFormat::MULAW, phrases, partial_results: true };
    spawn_recogniser(RecogniserClient::new(config), address(server))
}

pub(crate) fn synthesiser(server: &SpeechServer, format: AudioFormat, voice: Option<&str>) -> Synthesiser {
    let config = SynthesiserConfig { format, voice: voice.map(str::to_owned) };
    spawn_synthesiser(SynthesiserClient::new(config), address(server))
}

/// Frames of 20 ms at 8 kHz.
pub(crate) fn frames(samples: &[i16]) -> impl Iterator<Item = Frame> {
    samples.chunks(160).map(|it| Frame::from_samples(SampleRate::Hz8000, it))
}

/// The event, or a failed test if it takes longer than anything here should.
pub(crate) async fn soon<T>(future: impl Future<Output = Option<T>>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(20), future).await;
    within.expect("an event within 20 s").expect("an event before the end")
}
