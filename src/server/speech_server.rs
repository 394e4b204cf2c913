//! `hookswitch speech`: the local speech engine as a server of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use crate::agent::provider::secret::Secret;
use crate::server::serve::StopSignals;
use crate::server::speech::{self, SpeechConfig, SpeechServer};

/// Serves until the process is told to stop.
///
/// # Errors
/// If a speech library is missing or the address cannot be listened on.
pub async fn run(listen: SocketAddr, token: &str, decoders: Option<usize>) -> anyhow::Result<()> {
    anyhow::ensure!(!token.is_empty(), "the token is empty: clients must present one");
    let mut stop = StopSignals::new()?;
    let mut config = SpeechConfig::new(Secret::new(token));
    config.listen = listen;
    config.recognisers = decoders.unwrap_or(config.recognisers);
    speech::probe(&config.model)?;
    let server = SpeechServer::start(config).await.with_context(|| format!("on {listen}"))?;
    tracing::info!(address = %server.address(), "speech: ws://{}/v1/recognise and /v1/synthesise", server.address());
    stop.next().await;
    server.stop(Duration::from_secs(2)).await;
    Ok(())
}
