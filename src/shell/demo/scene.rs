//! The demo's own two HTTP servers: the service that degrades, and the person who is told.

use crate::shell::http::{HttpError, HttpServer, serve_app};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// A service that answers 200 while it is well and 503 while it is not.
pub struct Service {
    well: Arc<AtomicBool>,
    server: HttpServer,
}

impl Service {
    /// Listens on a free port of the loopback, well.
    pub fn start() -> Result<Self, HttpError> {
        let well = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&well);
        let answer = move || {
            let well = state.load(Ordering::Relaxed);
            async move {
                if well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "degraded\n") }
            }
        };
        let server = serve_app("127.0.0.1:0", Router::new().route("/", get(answer)))?;
        Ok(Self { well, server })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.server.address)
    }

    /// Makes it well or not.
    pub fn set_well(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }
}

/// A notification as it arrived.
#[derive(Debug, Clone)]
pub struct Page {
    /// `Idempotency-Key` of the request.
    pub key: String,
    /// The payload.
    pub body: serde_json::Value,
}

/// A webhook receiver.
pub struct Person {
    /// What arrived, in order.
    pub pages: Receiver<Page>,
    server: HttpServer,
}

impl Person {
    /// Listens on a free port of the loopback.
    pub fn start() -> Result<Self, HttpError> {
        let (arrived, pages) = channel();
        let answer = move |headers: HeaderMap, body: Bytes| {
            let key = headers
                .get("idempotency-key")
                .and_then(|key| key.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let page = Page { key, body: serde_json::from_slice(&body).unwrap_or_default() };
            // The demo is over when nobody listens any more.
            let _ = arrived.send(page);
            async { "thanks\n" }
        };
        let server = serve_app("127.0.0.1:0", Router::new().route("/", post(answer)))?;
        Ok(Self { pages, server })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.server.address)
    }
}
