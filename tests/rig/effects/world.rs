//! The world of the actors, as far as a test must meddle with it: a gate before the Kubernetes API that holds writes
//! back and lets them go (also when who sent them is dead by then), and a receiver of pages that remembers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::watch;

use crate::twins::serve;

/// See the module.
pub struct Gate {
    /// Where it listens.
    pub url: String,
    state: Arc<GateState>,
}

struct GateState {
    upstream: String,
    client: reqwest::Client,
    closed: watch::Sender<bool>,
    /// Those that come now pass, those that are held stay.
    passing: AtomicBool,
    held: Mutex<u32>,
}

impl Gate {
    /// Open, before `upstream`. Serves as long as the runtime lives.
    pub async fn start(upstream: String) -> Self {
        // The error only says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (closed, passing, held) = (watch::channel(false).0, AtomicBool::new(false), Mutex::new(0));
        let state = Arc::new(GateState { upstream, client, closed, passing, held });
        let url = serve(Router::new().fallback(pass).with_state(state.clone())).await;
        Self { url, state }
    }

    /// Holds writes back from now on.
    pub fn close(&self) {
        self.state.passing.store(false, Ordering::Relaxed);
        self.state.closed.send_replace(true);
    }

    /// How many writes were held back so far.
    pub fn held(&self) -> u32 {
        *self.state.held.lock().unwrap()
    }

    /// Lets those pass that come, and holds on to those that it has.
    pub fn open_for_others(&self) {
        self.state.passing.store(true, Ordering::Relaxed);
    }

    /// Lets go of them, and of all that come.
    pub fn open(&self) {
        self.state.closed.send_replace(false);
    }
}

async fn pass(
    State(gate): State<Arc<GateState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A task of its own: what was received is carried out, even if nobody waits for the answer any more.
    let passed = tokio::spawn(async move {
        let mut closed = gate.closed.subscribe();
        let passing = method == Method::GET || gate.passing.load(Ordering::Relaxed);
        if !passing && *closed.borrow_and_update() {
            *gate.held.lock().unwrap() += 1;
            // It is dropped after all who wait.
            let _ = closed.wait_for(|closed| !closed).await;
        }
        forward(&gate, method, &uri, &headers, body).await
    });
    match passed.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn forward(
    gate: &GateState,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, reqwest::Error> {
    let mut request = gate.client.request(method, format!("{}{uri}", gate.upstream)).body(body);
    for name in [ACCEPT, CONTENT_TYPE, USER_AGENT] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await?;
    let (status, kind) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    let mut response = (status, answer.bytes().await?).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// One page or clear that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// `page` or `clear`.
    pub kind: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// Which alert.
    pub alert: String,
    /// As the pager numbers its tries.
    pub attempt: u64,
}

/// See the module.
pub struct Sink {
    /// Where it listens.
    pub url: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Sink {
    /// Takes everything. Serves as long as the runtime lives.
    pub async fn start() -> Self {
        let posts = Arc::new(Mutex::new(Vec::new()));
        let url = serve(Router::new().fallback(take).with_state(posts.clone())).await;
        Self { url, posts }
    }

    /// All that was received, in order.
    pub fn all(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// What was received for an alert, in order.
    pub fn of(&self, alert: &str) -> Vec<Post> {
        self.posts.lock().unwrap().iter().filter(|post| post.alert == alert).cloned().collect()
    }
}

async fn take(State(posts): State<Arc<Mutex<Vec<Post>>>>, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let (kind, alert) = (text(&body["kind"]), text(&body["dedup_key"]));
    let attempt = body["attempt"].as_u64().unwrap_or_default();
    posts.lock().unwrap().push(Post { kind, key, alert, attempt });
    StatusCode::NO_CONTENT
}
