//! One websocket on `/v1/synthesise`: the codec between a socket and a synthesiser.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::audio::{converted, rate_of};
use super::counters::Counters;
use super::engine::Engine;
use super::sentences::sentences;
use super::synthesiser::{RenderError, Speech, is_voice};
use super::websocket::{Ended, to_message, to_wire};
use crate::agent::provider::speech_protocol::{
    AudioFormat, ErrorCode, SpeakRequest, SynthesiserDemand, SynthesiserServer, samples_to_ms,
};
use crate::agent::provider::wire::Output;
use crate::limits::PROVIDER_OUTBOX_MAX;
use crate::server::outbox::Outbox;
use crate::server::{clock, task};

type Rendering = Pin<Box<dyn Future<Output = Result<Speech, RenderError>> + Send>>;

/// The request that is spoken: one sentence is rendered at a time, when the one before has gone out. So a client that
/// reads slowly costs no more than a sentence, and a stop drops the rest.
struct Speaking {
    sentences: VecDeque<String>,
    voice: String,
    rendering: Option<Rendering>,
    audio: VecDeque<Vec<i16>>,
}

pub(super) struct Session {
    pub(super) engine: Engine,
    pub(super) format: AudioFormat,
    pub(super) voice: String,
    pub(super) counters: Arc<Counters>,
}

/// Runs the session until either side ends it.
pub(super) async fn run(socket: WebSocket, session: Session, shutdown: CancellationToken) -> Ended {
    let (sink, mut stream) = socket.split();
    let mut outbox = Outbox::new(sink);
    let mut codec = SynthesiserServer::new(session.format, Engine::voices(&session.voice), clock::now());
    let mut speaking: Option<Speaking> = None;
    let mut ending = None;
    loop {
        while let Some(output) = codec.poll_output() {
            match output {
                Output::Send(message) => outbox.push(to_message(message)),
                Output::Event(SynthesiserDemand::Speak(request)) => speaking = session.begin(request, &mut codec),
                Output::Event(SynthesiserDemand::Stop) => speaking = None,
                Output::Close { code, reason } => {
                    outbox.push(super::websocket::close(code, reason));
                    ending = Some(Ended::Failed);
                }
            }
        }
        if let Some(ended) = ending {
            return super::websocket::finish(outbox, stream, ended).await;
        }
        if outbox.is_empty() && session.step(&mut speaking, &mut codec) {
            continue;
        }
        tokio::select! {
            message = stream.next(), if outbox.len() < PROVIDER_OUTBOX_MAX => match message {
                Some(Ok(Message::Close(_))) | None => return super::websocket::finish(outbox, stream, Ended::ByClient).await,
                Some(Ok(message)) => {
                    if let Some(message) = to_wire(message) {
                        codec.handle_message(message, clock::now());
                    }
                }
                Some(Err(_)) => return Ended::Lost,
            },
            speech = rendered(&mut speaking) => session.take(speech, &mut speaking, &mut codec),
            result = outbox.flush(), if !outbox.is_flushed() => {
                if result.is_err() {
                    return Ended::Lost;
                }
            }
            () = task::deadline_if_any(codec.poll_timeout().map(|(at, _)| at)) => codec.handle_timeout(clock::now()),
            () = shutdown.cancelled() => codec.fail(ErrorCode::GoingAway, "the server is shutting down"),
        }
    }
}

impl Session {
    fn begin(&self, request: SpeakRequest, codec: &mut SynthesiserServer) -> Option<Speaking> {
        let voice = request.voice.unwrap_or_else(|| self.voice.clone());
        if !is_voice(&voice) {
            codec.refuse(ErrorCode::UnknownVoice, "there is no such voice");
            return None;
        }
        let sentences = sentences(&request.text).into();
        Some(Speaking { sentences, voice, rendering: None, audio: VecDeque::new() })
    }

    /// Hands the next audio to the socket, which has nothing to do, or sees to it that there is some. Whether it did
    /// anything that the codec must be asked about.
    fn step(&self, speaking: &mut Option<Speaking>, codec: &mut SynthesiserServer) -> bool {
        let Some(now) = speaking else {
            return false;
        };
        if let Some(samples) = now.audio.pop_front() {
            codec.audio(&samples);
            return true;
        }
        if now.rendering.is_some() {
            return false;
        }
        if let Some(sentence) = now.sentences.pop_front() {
            let (engine, voice) = (self.engine.clone(), now.voice.clone());
            now.rendering = Some(Box::pin(async move { engine.render(sentence, voice).await }));
            return false;
        }
        *speaking = None;
        codec.complete();
        true
    }

    /// A sentence has been rendered, or not.
    fn take(
        &self,
        speech: Result<Speech, RenderError>,
        speaking: &mut Option<Speaking>,
        codec: &mut SynthesiserServer,
    ) {
        let Some(now) = speaking else {
            return;
        };
        now.rendering = None;
        let speech = speech.and_then(|speech| match rate_of(speech.rate_hz) {
            Some(rate) => Ok((speech, rate)),
            None => Err(RenderError::NoAudio(super::flite_ffi::NoAudio)),
        });
        match speech {
            Ok((speech, rate)) => {
                let samples = converted(&speech.samples, rate, self.format.rate());
                self.counters.sentences.add(1);
                let ms = samples_to_ms(u64::try_from(samples.len()).unwrap_or(u64::MAX), self.format.rate());
                self.counters.synthesised_ms.add(u64::from(ms));
                codec.words(speech.words, speech.estimated);
                let len = self.format.rate().frame_len() * FRAMES_PER_MESSAGE;
                now.audio = samples.chunks(len).map(<[i16]>::to_vec).collect();
            }
            Err(error @ RenderError::Missing(_)) => codec.fail(ErrorCode::EngineUnavailable, &error.to_string()),
            Err(error @ (RenderError::NoAudio(_) | RenderError::Ended | RenderError::Scripted)) => {
                *speaking = None;
                codec.refuse(ErrorCode::EngineFailed, &error.to_string());
            }
        }
    }
}

/// Completes when the sentence being rendered is done; never if there is none.
async fn rendered(speaking: &mut Option<Speaking>) -> Result<Speech, RenderError> {
    match speaking.as_mut().and_then(|it| it.rendering.as_mut()) {
        Some(rendering) => rendering.await,
        None => std::future::pending().await,
    }
}

/// Frames of 20 ms in one binary message.
const FRAMES_PER_MESSAGE: usize = 5;
