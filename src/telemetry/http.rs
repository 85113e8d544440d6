//! Metrics over HTTP: `/metrics` (OpenMetrics text), `/healthz` (the process lives), `/readyz` (it has all that it was
//! given). No TLS and no login: it listens on loopback unless it is told otherwise. Started by the commands.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// What is served.
pub trait Source: Send + Sync {
    /// The metrics as text.
    fn text(&self) -> String;

    /// Ready for work?
    fn is_ready(&self) -> bool;
}

/// A server on a thread of its own; ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken, or none of this machine.
    pub fn start(address: SocketAddr, source: Arc<dyn Source>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    served = async { axum::serve(listener, router(source)).await } => served,
                    _ = stopped => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::error!(%error, "metrics are not served any more");
            }
        })?;
        tracing::info!(url = %format_args!("http://{address}/metrics"), "metrics are served");
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if the server has ended by itself.
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(source: Arc<dyn Source>) -> Router {
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
