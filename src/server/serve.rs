//! `hookswitch serve`: a server from its configuration until it is told to stop, and `hookswitch health`, which asks one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Config};
use crate::identity::Secret;
use crate::server::logging;
use crate::server::system::System;

/// Runs until SIGTERM or SIGINT, then drains. A second signal ends it at once.
///
/// # Errors
/// A configuration that cannot be used, or whatever keeps the server from starting.
pub async fn run(file: Option<&Path>) -> anyhow::Result<()> {
    let environment = config::environment();
    let config = match file {
        Some(file) => Config::load(file, &environment)?,
        None => Config::built_in(&environment)?,
    };
    logging::start(&config.log, environment.get("RUST_LOG").map(String::as_str))?;
    let drain_limit = config.drain.limit;
    // Before anything is ready, so that no signal finds its default action.
    let mut stop = StopSignals::new()?;
    let system = tokio::select! {
        system = System::start(config, None) => system?,
        () = stop.next() => return Ok(()),
    };
    announce(&system);
    stop.next().await;
    tracing::info!(limit_s = drain_limit.as_secs(), "draining: new calls are refused, calls in progress may finish");
    tokio::select! {
        () = system.drain() => tracing::info!("stopped"),
        () = stop.next() => {
            tracing::warn!("stopped at once; calls in progress are settled at the next start");
        }
    }
    Ok(())
}

fn announce(system: &System) {
    for (kind, address) in &system.sip {
        tracing::info!("SIP on {}://{address}", kind.scheme());
    }
    if let Some(key) = &system.new_api_key {
        tell_api_key(key);
    }
    tracing::info!("HTTP on http://{} (/v1, /healthz, /readyz, /metrics)", system.http);
}

/// Not into the log, which others may read.
#[expect(clippy::print_stdout, reason = "whoever starts the server for the first time is to see it, once")]
fn tell_api_key(key: &Secret) {
    println!("API key, made now and not shown again: {}", key.reveal());
}

/// SIGTERM and SIGINT, from its making on: none is lost between two waits.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes both signals over.
    ///
    /// # Errors
    /// When the system does not let us.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Completes at the next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

/// Asks the server at `http` whether it is ready.
///
/// # Errors
/// If it does not answer, or says that it is not.
pub async fn health(http: SocketAddr) -> anyhow::Result<()> {
    let ask = async {
        let mut stream = TcpStream::connect(http).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(HEALTH_ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(HEALTH_PATIENCE, ask)
        .await
        .with_context(|| format!("http://{http} does not answer"))?
        .with_context(|| format!("http://{http} cannot be asked"))?;
    let is_ready = answer.split_whitespace().nth(1) == Some("200");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    anyhow::ensure!(is_ready, "not ready: {}", body.trim());
    Ok(())
}

const HEALTH_PATIENCE: Duration = Duration::from_secs(3);
const HEALTH_ANSWER_BYTES_MAX: u64 = 64 << 10;
