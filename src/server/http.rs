//! The HTTP server: `/healthz`, `/readyz`, `/metrics` and `/openapi.json`.
//!
//! Clients are hostile here too. The number of connections is bounded, and a connection beyond the bound is closed at
//! once; a client has a bounded time for the head of its request (and between two requests), for reading the answer and
//! for all its requests on one connection; it gets 431, 414 or 413 for a head, URI or body beyond its bound and 503 for
//! an answer that takes too long. Nothing here needs a key and
//! nothing here tells of numbers, keys or configuration.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::server::api_keys::{self, ApiKeys};
use crate::server::health::Health;
use crate::server::metrics::Metrics;
use crate::server::openapi;
use crate::server::{clock, task};

/// A socket that is listened on, before anything is served.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    bounds: Bounds,
}

/// Why there is no HTTP server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another program, or another server of ours, listens there.
    #[error(
        "cannot listen on {address} for HTTP: the port is in use; choose another with [http] listen or HOOKSWITCH_HTTP__LISTEN"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("cannot listen on {address} for HTTP: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

/// What every server serves.
pub fn router(metrics: Arc<Metrics>, health: Arc<Health>) -> Router {
    let metrics = Router::new().route("/metrics", get(show_metrics)).with_state(metrics);
    let health = Router::new().route("/readyz", get(show_readiness)).with_state(health);
    let free = Router::new().route("/healthz", get(show_health)).route("/openapi.json", get(openapi::show));
    free.merge(metrics).merge(health)
}

/// `routes`, for whoever shows one of `keys`.
pub(crate) fn api(routes: Router, keys: ApiKeys) -> Router {
    routes.route_layer(middleware::from_fn_with_state(Arc::new(keys), api_keys::authenticate))
}

impl HttpServer {
    /// Listens on `address`.
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        let listener = TcpListener::bind(address).await.map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                return HttpError::InUse { address };
            }
            HttpError::Listen { address, source }
        })?;
        Ok(Self { listener, bounds: Bounds::default() })
    }

    /// Where it listens; tells the port if port 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `router` in tasks of `group`. When that is cancelled, nothing new is accepted and requests in progress
    /// are answered.
    pub fn serve(self, router: Router, group: &task::Group) {
        let Self { listener, bounds } = self;
        let timeout = bounds.request;
        let router = router
            .layer(DefaultBodyLimit::max(limits::HTTP_BODY_BYTES_MAX))
            .layer(middleware::from_fn(move |request, next| within_bounds(timeout, request, next)));
        let members = group.clone();
        group.spawn("http listener", async move {
            let places = Arc::new(Semaphore::new(bounds.connections));
            while let Some(accepted) = members.token().run_until_cancelled(listener.accept()).await {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors, most likely: others must end before this can go on.
                    task::deadline(clock::now().instant + ACCEPT_PAUSE).await;
                    continue;
                };
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let connection = connection(stream, router.clone(), bounds, members.token().clone(), place);
                    members.spawn("http connection", connection);
                }
            }
        });
    }
}

/// Serves one client until it goes, is too slow, or is asked to end.
async fn connection(
    stream: TcpStream,
    router: Router,
    bounds: Bounds,
    cancelled: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_headers(limits::HTTP_HEADERS_MAX)
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    let lifetime = task::deadline(clock::now().instant + bounds.connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = cancelled.cancelled() => None,
        () = lifetime => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // What is being answered may end; a client that does not read its answer is not waited for.
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(bounds.request, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "http connection ended");
    }
}

async fn within_bounds(timeout: Duration, request: Request, next: Next) -> Result<Response, Infallible> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, str::len);
    if length > limits::HTTP_URI_BYTES_MAX {
        return Ok(StatusCode::URI_TOO_LONG.into_response());
    }
    // A body of unstated length is cut off by the router's own limit.
    if request.body().size_hint().lower() > BODY_BYTES_MAX {
        return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    }
    Ok(tokio::time::timeout(timeout, next.run(request))
        .await
        .unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()))
}

/// The process runs and answers.
async fn show_health() -> &'static str {
    "ok\n"
}

/// Whether it can take calls, and if not, why.
async fn show_readiness(State(health): State<Arc<Health>>) -> Response {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn show_metrics(State(metrics): State<Arc<Metrics>>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, metrics.render(clock::now())).into_response()
}

/// Those of the limits that a test cannot wait for.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    head: Duration,
    request: Duration,
    connection: Duration,
    connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head: limits::HTTP_HEAD_MAX,
            request: limits::HTTP_REQUEST_MAX,
            connection: limits::HTTP_CONNECTION_MAX,
            connections: limits::HTTP_CONNECTIONS_MAX,
        }
    }
}

const BODY_BYTES_MAX: u64 = limits::HTTP_BODY_BYTES_MAX as u64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Running {
        address: SocketAddr,
        group: task::Group,
        health: Arc<Health>,
    }

    async fn serve(bounds: Bounds) -> Running {
        let mut server = HttpServer::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        server.bounds = bounds;
        let address = server.local_addr().unwrap();
        let (group, health) = (task::Group::new(), Arc::new(Health::new()));
        let router = router(Arc::new(Metrics::new(clock::now())), Arc::clone(&health))
            .route("/never", get(std::future::pending::<()>))
            .route("/body", axum::routing::post(async |body: axum::body::Bytes| body.len().to_string()));
        server.serve(router, &group);
        Running { address, group, health }
    }

    impl Running {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Sends `request` and returns the status line and the body.
        async fn exchange(&self, request: &str) -> (String, String) {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![];
            // A server that did not read everything resets the connection behind its answer.
            while stream.read_buf(&mut answer).await.is_ok_and(|length| length > 0) {}
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
        }

        async fn get(&self, path: &str) -> (String, String) {
            self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await
        }
    }

    fn answer(status: &str, body: &str) -> (String, String) {
        (format!("HTTP/1.1 {status}"), body.to_owned())
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_served() {
        let server = serve(Bounds::default()).await;
        assert_eq!(server.get("/healthz").await, answer("200 OK", "ok\n"));
        assert_eq!(server.get("/readyz").await, answer("200 OK", r#"{"ready":true,"draining":false,"parts":{}}"#));
        server.health.report("speech", Err("flite is not installed".to_owned()));
        let expected = r#"{"ready":false,"draining":false,"parts":{"speech":"flite is not installed"}}"#;
        assert_eq!(server.get("/readyz").await, answer("503 Service Unavailable", expected));
        server.health.report("speech", Ok(()));
        server.health.drain();
        let expected = r#"{"ready":false,"draining":true,"parts":{"speech":"ok"}}"#;
        assert_eq!(server.get("/readyz").await, answer("503 Service Unavailable", expected));
        let (status, body) = server.get("/metrics").await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(body.contains("\nhookswitch_tasks{name=\"http listener\"} "), "{body}");
        assert_eq!(server.get("/").await.0, "HTTP/1.1 404 Not Found");
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        let server = serve(Bounds::default()).await;
        let uri = "a".repeat(limits::HTTP_URI_BYTES_MAX);
        assert_eq!(server.get(&format!("/{uri}")).await.0, "HTTP/1.1 414 URI Too Long");
        let header = format!("GET /healthz HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "a".repeat(20_000));
        assert_eq!(server.exchange(&header).await.0, "HTTP/1.1 431 Request Header Fields Too Large");
        let headers = format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: 1\r\n".repeat(100));
        assert_eq!(server.exchange(&headers).await.0, "HTTP/1.1 431 Request Header Fields Too Large");
        let body = "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000000\r\nConnection: close\r\n\r\n";
        assert_eq!(server.exchange(body).await.0, "HTTP/1.1 413 Payload Too Large");
    }

    #[tokio::test]
    async fn who_is_too_slow_is_dropped_and_disturbs_nobody() {
        let server = serve(Bounds { head: Duration::from_millis(100), ..Bounds::default() }).await;
        let mut slow = vec![];
        for _ in 0..100 {
            let mut stream = server.connect().await;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
            slow.push(stream);
        }
        slow.push(server.connect().await);
        assert_eq!(server.get("/healthz").await.0, "HTTP/1.1 200 OK");
        for mut stream in slow {
            stream.read_to_end(&mut vec![]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_given_up() {
        let server = serve(Bounds { request: Duration::from_millis(20), ..Bounds::default() }).await;
        assert_eq!(server.get("/never").await, answer("503 Service Unavailable", ""));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answers_is_dropped() {
        let short = Duration::from_millis(50);
        let server = serve(Bounds { request: short, connection: short, ..Bounds::default() }).await;
        let mut client = server.connect().await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1000);
        // Until the buffers of both sides are full, then until the server is gone.
        while client.write_all(&request).await.is_ok() {}
        assert_eq!(server.get("/healthz").await.0, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn a_connection_too_many_is_closed_at_once() {
        let server = serve(Bounds { connections: 1, ..Bounds::default() }).await;
        let mut first = server.connect().await;
        first.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n").await.unwrap();
        let mut second = server.connect().await;
        assert_eq!(second.read_to_end(&mut vec![]).await.unwrap(), 0);
        first.write_all(b"Connection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        first.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let first = HttpServer::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(
            HttpServer::bind(address).await.unwrap_err().to_string(),
            format!(
                "cannot listen on {address} for HTTP: the port is in use; choose another with [http] listen or \
                 HOOKSWITCH_HTTP__LISTEN"
            )
        );
    }

    #[tokio::test]
    async fn the_end_of_the_group_ends_the_server_and_its_connections() {
        let server = serve(Bounds::default()).await;
        let mut idle = server.connect().await;
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        assert_eq!(server.group.len(), 2);
        server.group.cancel();
        assert_eq!(server.group.finish(clock::now().instant + Duration::from_secs(10)).await, 0);
        assert!(TcpStream::connect(server.address).await.is_err());
    }
}
