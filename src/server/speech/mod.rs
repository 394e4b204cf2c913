//! The local speech engine: pocketsphinx and flite behind the websocket protocol of `docs/speech-protocol.md`, so that
//! the agent reaches it as it reaches any other provider. Both libraries are loaded at run time.

mod audio;
pub mod counters;
mod decoders;
mod dictionary;
mod engine;
mod flite_ffi;
mod gate;
mod language_model;
mod library;
mod model;
mod numbers;
mod pocketsphinx_ffi;
mod recognise_session;
mod recogniser;
mod render;
pub mod scripted;
mod sentences;
mod synthesise_session;
mod synthesiser;
mod websocket;

pub use audio::converted;
pub use flite_ffi::NoAudio;
pub use library::{INSTALL_COMMAND, Missing};
pub use model::Model;
pub use recogniser::{Outcome, Recogniser};
pub use render::{fallback_tone, render_text};
pub use synthesiser::RenderError;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::counters::Counters;
use self::decoders::Decoders;
use self::engine::Engine;
use self::scripted::Scripted;
use self::synthesiser::Synthesiser;
use self::websocket::Shared;
use crate::agent::provider::secret::Secret;
use crate::limits::SPEECH_SESSIONS_MAX;
use crate::server::{clock, task};

/// How the speech server runs.
#[derive(Clone, Debug)]
pub struct SpeechConfig {
    /// A loopback address; port 0 takes any.
    pub listen: SocketAddr,
    /// What clients must present.
    pub token: Secret,
    /// The default voice: `rms`, `awb`, `slt` or `kal`.
    pub voice: String,
    /// How many sessions are recognised at once.
    pub recognisers: usize,
    /// How long a session beyond waits for one.
    pub recogniser_wait: Duration,
    /// The acoustic model.
    pub model: Model,
}

impl SpeechConfig {
    /// The usual: any port of 127.0.0.1, the voice that survives 8 kHz best, and twelve recognisers a core. A core
    /// sustained 27 callers who all spoke without pause (`benches/recogniser.rs`); the rest is for everything else.
    pub fn new(token: Secret) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token,
            voice: "rms".to_owned(),
            recognisers: cores.saturating_mul(12),
            recogniser_wait: Duration::from_secs(3),
            model: Model::debian(),
        }
    }
}

/// Why the speech server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not of the loopback interface.
    #[error("the speech server listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// There is no such voice.
    #[error("there is no voice `{0}`")]
    UnknownVoice(String),
    /// The address is taken, or there is no thread to be had.
    #[error("the speech server cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// A running speech server. Dropping it leaves it running; [`SpeechServer::stop`] ends it.
#[derive(Debug)]
pub struct SpeechServer {
    address: SocketAddr,
    counters: Arc<Counters>,
    group: task::Group,
}

impl SpeechServer {
    /// Starts the local engine. It starts without the speech libraries too: sessions are then refused with
    /// [`INSTALL_COMMAND`]; see [`probe`].
    ///
    /// # Errors
    ///
    /// If the address is not a free loopback address.
    pub async fn start(config: SpeechConfig) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::default());
        let (wait, model) = (config.recogniser_wait, config.model.clone());
        let decoders = Decoders::new(config.recognisers, wait, model, Arc::clone(&counters));
        let engine = Engine::Local { decoders, synthesiser: Synthesiser::start()? };
        Self::serve(config, engine, counters).await
    }

    /// Starts a peer that follows a script and needs no speech libraries.
    ///
    /// # Errors
    ///
    /// If the address is not a free loopback address.
    pub async fn start_scripted(config: SpeechConfig, scripted: Scripted) -> Result<Self, StartError> {
        Self::serve(config, Engine::Scripted(scripted), Arc::default()).await
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Ends every session with a going-away error and waits for them until `within` has passed; says how many are left.
    pub async fn stop(&self, within: Duration) -> usize {
        self.group.cancel();
        self.group.finish(clock::now().instant + within).await
    }

    async fn serve(config: SpeechConfig, engine: Engine, counters: Arc<Counters>) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        if !synthesiser::is_voice(&config.voice) {
            return Err(StartError::UnknownVoice(config.voice));
        }
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let group = task::Group::new();
        let router = websocket::router(Shared {
            engine,
            token: config.token,
            voice: config.voice,
            sessions: Arc::new(Semaphore::new(SPEECH_SESSIONS_MAX)),
            counters: Arc::clone(&counters),
            group: group.clone(),
        });
        let token = group.token().clone();
        group.spawn("speech server", async move {
            let server = axum::serve(axum::serve::ListenerExt::tap_io(listener, no_delay), router);
            if let Err(error) = server.with_graceful_shutdown(token.cancelled_owned()).await {
                tracing::error!(%error, "the speech server ended");
            }
        });
        Ok(Self { address, counters, group })
    }
}

/// Whether the speech libraries and the model are installed.
///
/// # Errors
///
/// What is missing, with the command that installs it.
pub fn probe(model: &Model) -> Result<(), Missing> {
    model.probe()?;
    drop(flite_ffi::flite()?);
    Ok(())
}

fn no_delay(stream: &mut tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small messages may be held back");
    }
}
