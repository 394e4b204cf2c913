//! `hookswitch serve`: a server from its configuration until it is told to stop, and `hookswitch health`, which asks one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Config};
use crate::server::logging;
use crate::server::system::System;
use crate::transport::TransportKind;

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
    let system = System::start(config, None).await?;
    announce(&system);
    told_to_stop().await?;
    tracing::info!(limit_s = drain_limit.as_secs(), "draining: new calls are refused, calls in progress may finish");
    tokio::select! {
        () = system.drain() => tracing::info!("stopped"),
        stopped = told_to_stop() => {
            stopped?;
            tracing::warn!("stopped at once; calls in progress are settled at the next start");
        }
    }
    Ok(())
}

fn announce(system: &System) {
    for (kind, address) in &system.sip {
        let scheme = match kind {
            TransportKind::Udp => "udp",
            TransportKind::Tcp => "tcp",
        };
        tracing::info!("SIP on {scheme}://{address}");
    }
    tracing::info!("HTTP on http://{} (/healthz, /readyz, /metrics)", system.http);
}

/// Completes at SIGTERM or SIGINT.
///
/// # Errors
/// When the system does not let us wait for signals.
pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    Ok(())
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
