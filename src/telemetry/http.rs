//! Metrics over HTTP: `/metrics` (OpenMetrics text), `/healthz` (the process lives), `/readyz` (it has all that it was
//! given). No TLS and no login: it listens on loopback unless it is told otherwise. Started by the commands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::web::{Options, Server};

/// What is served.
pub trait Source: Send + Sync {
    /// The metrics as text.
    fn text(&self) -> String;

    /// Ready for work?
    fn is_ready(&self) -> bool;
}

/// A registry as text.
pub fn text_of(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// What the end of the text says, once.
const END: &str = "# EOF\n";

/// Several, one after the other.
impl Source for Vec<Arc<dyn Source>> {
    fn text(&self) -> String {
        let texts = self.iter().map(|source| source.text());
        texts.map(|text| text.trim_end_matches(END).to_owned()).collect::<String>() + END
    }

    fn is_ready(&self) -> bool {
        self.iter().all(|source| source.is_ready())
    }
}

/// Serves `source` on `address` (port 0 takes a free one) until the server is dropped.
///
/// # Errors
/// The address is taken, or none of this machine.
pub fn start(address: SocketAddr, source: Arc<dyn Source>) -> io::Result<Server> {
    let server = Server::start(Options::new("metrics", address), router(source))?;
    tracing::info!(url = %format_args!("http://{}/metrics", server.address()), "metrics are served");
    Ok(server)
}

/// The three paths.
pub fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(source)
}

async fn metrics(State(source): State<Arc<dyn Source>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], source.text())
}

async fn ready(State(source): State<Arc<dyn Source>>) -> (StatusCode, &'static str) {
    if source.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not yet\n") }
}
