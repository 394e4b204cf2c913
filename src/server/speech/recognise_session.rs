//! One websocket on `/v1/recognise`: the codec between a socket and a recogniser.

use std::collections::VecDeque;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::decoders::RecogniserLine;
use super::recogniser::Outcome;
use super::websocket::{Ended, to_message, to_wire};
use crate::agent::provider::speech_protocol::{AudioFormat, ErrorCode, RecogniserDemand, RecogniserServer};
use crate::agent::provider::wire::Output;
use crate::limits::{PROVIDER_OUTBOX_MAX, SPEECH_READ_AHEAD_MAX};
use crate::server::outbox::Outbox;
use crate::server::{clock, task};

/// Runs the session until either side ends it. What the recogniser has not taken yet waits here, so that a client that
/// leaves is noticed at once and its backlog dropped; when [`SPEECH_READ_AHEAD_MAX`] demands wait, or the socket is
/// behind, nothing more is read, and TCP holds the peer back.
pub(super) async fn run(
    socket: WebSocket,
    format: AudioFormat,
    line: RecogniserLine,
    shutdown: CancellationToken,
) -> Ended {
    let RecogniserLine { demands, mut outcomes } = line;
    let (sink, mut stream) = socket.split();
    let mut outbox = Outbox::new(sink);
    let mut codec = RecogniserServer::new(format, clock::now());
    let mut demanded: VecDeque<RecogniserDemand> = VecDeque::new();
    let mut ending = None;
    loop {
        while let Some(output) = codec.poll_output() {
            match output {
                Output::Send(message) => outbox.push(to_message(message)),
                Output::Event(demand) => demanded.push_back(demand),
                Output::Close { code, reason } => {
                    outbox.push(super::websocket::close(code, reason));
                    ending = Some(Ended::Failed);
                }
            }
        }
        if let Some(ended) = ending {
            return super::websocket::finish(outbox, stream, ended).await;
        }
        tokio::select! {
            message = stream.next(), if demanded.len() < SPEECH_READ_AHEAD_MAX && outbox.len() < PROVIDER_OUTBOX_MAX => match message {
                Some(Ok(Message::Close(_))) | None => return super::websocket::finish(outbox, stream, Ended::ByClient).await,
                Some(Ok(message)) => {
                    if let Some(message) = to_wire(message) {
                        codec.handle_message(message, clock::now());
                    }
                }
                Some(Err(_)) => return Ended::Lost,
            },
            permit = demands.reserve(), if !demanded.is_empty() => match permit {
                Ok(permit) => {
                    if let Some(demand) = demanded.pop_front() {
                        permit.send(demand);
                    }
                }
                // What it said last is still to be read from `outcomes`.
                Err(_) => demanded.clear(),
            },
            outcome = outcomes.recv(), if outbox.len() < PROVIDER_OUTBOX_MAX => match outcome {
                Some(Outcome::Vanish) => return Ended::Lost,
                Some(outcome) => respond(&mut codec, outcome),
                None => codec.fail(ErrorCode::EngineFailed, "the recogniser has crashed"),
            },
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

fn respond(codec: &mut RecogniserServer, outcome: Outcome) {
    match outcome {
        Outcome::Ready => codec.ready(),
        Outcome::GrammarDefined { words, unknown_words } => codec.grammar_defined(words, unknown_words),
        Outcome::StartOfInput { at_ms } => codec.start_of_input(at_ms),
        Outcome::Partial { text } => codec.intermediate_result(text),
        Outcome::Complete { turn, cause, text, words } => codec.recognition_complete(turn, cause, text, words),
        Outcome::Stopped => codec.stopped(),
        Outcome::Failed { code, message } => codec.fail(code, &message),
        Outcome::Vanish => {}
    }
}
