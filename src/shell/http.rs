//! The HTTP port of every long-running command: `/-/healthy`, `/-/ready` with its reasons, `/metrics`, and `/-/alive`,
//! which says who this process is: the workers of other zones keep a connection open after it (`shell::peers`).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::oneshot;

/// What stands between this process and being ready: condition to reason. Ready when it is empty.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<String, String>>);

impl Readiness {
    /// Says why a condition is not met.
    pub fn not_ready(&self, condition: &str, reason: impl Into<String>) {
        self.lock().insert(condition.to_owned(), reason.into());
    }

    /// Says that a condition is met.
    pub fn ready(&self, condition: &str) {
        self.lock().remove(condition);
    }

    /// The conditions that are not met, each with its reason.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the port could not be opened.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is taken, or is not this machine's.
    #[error(
        "http.listen: cannot listen on {address:?}: {source}. Choose another port with http.listen (port 0 takes any free one)"
    )]
    Bind {
        /// The address, as configured.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl HttpError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "http_bind"
    }

    /// A port may become free, but the operator chose it: not retried.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// A running HTTP port. Stops when dropped.
#[derive(Debug)]
pub struct HttpServer {
    /// The address that it listens on, the real port where 0 was asked for.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    readiness: Arc<Readiness>,
    identity: Arc<str>,
}

/// Opens the port of a long-running command. `identity` is what `/-/alive` answers.
pub fn serve(
    listen: &str,
    registry: Registry,
    readiness: Arc<Readiness>,
    identity: &str,
) -> Result<HttpServer, HttpError> {
    let app = axum::Router::new()
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .route("/-/alive", get(|State(shared): State<Shared>| async move { shared.identity.to_string() }))
        .route("/metrics", get(metrics))
        .with_state(Shared { registry: Arc::new(registry), readiness, identity: identity.into() });
    serve_app(listen, app)
}

/// The address under which others reach a port: `advertise` where it is set, else the address it listens on; in place
/// of a wildcard the address by which this machine reaches `towards` (a list of `host:port`, the first that has a way).
#[must_use]
pub fn advertised(listen: SocketAddr, advertise: &str, towards: &str) -> String {
    if !advertise.is_empty() {
        return advertise.to_owned();
    }
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    // Nothing is sent: connecting a datagram socket only looks up the way.
    let way = |to: &str| {
        let socket = std::net::UdpSocket::bind((listen.ip(), 0)).ok()?;
        socket.connect(to.trim()).ok()?;
        socket.local_addr().ok()
    };
    let found = towards.split(',').find_map(way);
    found.map_or(listen, |found| SocketAddr::new(found.ip(), listen.port())).to_string()
}

/// Serves `app` on a thread and a runtime of its own, so that busy workers never starve a probe.
pub fn serve_app(listen: &str, app: axum::Router) -> Result<HttpServer, HttpError> {
    let bind = |source| HttpError::Bind { address: listen.to_owned(), source };
    let listener = std::net::TcpListener::bind(listen).map_err(bind)?;
    listener.set_nonblocking(true).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(bind)?;
    let listener = {
        let _in_runtime = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(bind)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = super::thread::spawn("http", move || {
        runtime.block_on(async move {
            tokio::select! {
                served = axum::serve(listener, app) => {
                    if let Err(fault) = served {
                        tracing::error!(%fault, "http port closed");
                    }
                }
                _ = stopped => {}
            }
        });
    })
    .map_err(bind)?;
    Ok(HttpServer { address, stop: Some(stop), thread: Some(thread) })
}

async fn ready(State(shared): State<Shared>) -> Response {
    let reasons = shared.readiness.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String =
        reasons.iter().map(|(condition, reason)| format!("{condition}: {reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut body = String::new();
    match encode(&mut body, &shared.registry) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_advertised_as_the_address_towards_kafka() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let brokers = "no-such-host.invalid:9092,127.0.0.1:9092";
        assert_eq!(advertised(address("10.0.0.7:9470"), "", brokers), "10.0.0.7:9470");
        assert_eq!(advertised(address("0.0.0.0:9470"), "", brokers), "127.0.0.1:9470");
        assert_eq!(
            advertised(address("0.0.0.0:9470"), "worker-a1.example:80", brokers),
            "worker-a1.example:80"
        );
        assert_eq!(advertised(address("0.0.0.0:9470"), "", "nowhere"), "0.0.0.0:9470");
    }
}
