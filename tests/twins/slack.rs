//! A twin of one Slack workspace: `chat.postMessage`, `conversations.history` and `conversations.replies`, held to
//! their documentation. A wrong call is answered with 200 and `ok: false`, as there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Calls, serve};

/// The bot's token, and the channel that it is in.
pub const TOKEN: &str = "a-token-of-the-twin";
/// See [`TOKEN`].
pub const CHANNEL: &str = "C0123456789";
/// Messages in a page of history, whatever was asked for: so that pages are turned.
const PAGE: usize = 2;

/// See the module.
pub struct Slack {
    /// The address of its API.
    pub url: String,
    /// What posts meet.
    pub posts: Calls,
    /// What questions meet.
    pub questions: Calls,
    messages: Messages,
}

/// As they were posted: the request, with its `ts`.
type Messages = Arc<Mutex<Vec<Value>>>;

#[derive(Clone)]
struct Shared {
    posts: Calls,
    questions: Calls,
    messages: Messages,
}

impl Slack {
    /// An empty channel.
    pub async fn start() -> Self {
        let shared = Shared { posts: Calls::default(), questions: Calls::default(), messages: Messages::default() };
        let router = Router::new()
            .route("/api/chat.postMessage", post(post_message))
            .route("/api/conversations.history", get(history))
            .route("/api/conversations.replies", get(replies))
            .with_state(shared.clone());
        let url = format!("{}/api", serve(router).await);
        let Shared { posts, questions, messages } = shared;
        Self { url, posts, questions, messages }
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap().clone()
    }

    /// The ids of the actions that were posted, in order.
    pub fn actions(&self) -> Vec<String> {
        let id = |message: &Value| message["metadata"]["event_payload"]["action_id"].as_str().unwrap().to_owned();
        self.messages().iter().map(id).collect()
    }

    /// Somebody deletes a message.
    pub fn delete(&self, ts: &str) {
        self.messages.lock().unwrap().retain(|message| message["ts"] != ts);
    }
}

fn refused(error: &str) -> Response {
    Json(json!({"ok": false, "error": error})).into_response()
}

fn is_known(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|found| found == &format!("Bearer {TOKEN}"))
}

async fn post_message(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_known(&headers) {
        return refused("invalid_auth");
    }
    if let Some(error) = wrong(&body) {
        return refused(error);
    }
    let messages = shared.messages.clone();
    if let Some(thread) = body["thread_ts"].as_str()
        && !messages.lock().unwrap().iter().any(|message| message["ts"] == thread)
    {
        return refused("thread_not_found");
    }
    let id = body["metadata"]["event_payload"]["action_id"].as_str().unwrap_or_default().to_owned();
    let take = move || {
        let mut messages = messages.lock().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // Unique, and in order.
        let ts = format!("{}.{:06}", now.as_secs(), messages.len());
        let mut message = body.clone();
        message["ts"] = ts.as_str().into();
        messages.push(message.clone());
        Json(json!({"ok": true, "channel": CHANNEL, "ts": ts, "message": message})).into_response()
    };
    shared.posts.answer(&id, take).await
}

/// What a post must hold.
fn wrong(body: &Value) -> Option<&'static str> {
    let chars = |value: &Value| value.as_str().map(|text| text.chars().count());
    let blocks = body["blocks"].as_array().cloned().unwrap_or_default();
    let fits = |block: &Value| {
        let (text, most) = (&block["text"], if block["type"] == "header" { 150 } else { 3_000 });
        let kind_fits = text["type"] == "plain_text" || (text["type"] == "mrkdwn" && block["type"] != "header");
        kind_fits && chars(&text["text"]).is_some_and(|length| (1..=most).contains(&length))
    };
    let metadata = &body["metadata"];
    match () {
        () if body["channel"] != CHANNEL => Some("channel_not_found"),
        () if chars(&body["text"]).unwrap_or(0) == 0 && blocks.is_empty() => Some("no_text"),
        () if chars(&body["text"]).unwrap_or(0) > 40_000 => Some("msg_too_long"),
        () if blocks.len() > 50 || !blocks.iter().all(fits) => Some("invalid_blocks"),
        () if !(metadata["event_type"].is_string() && metadata["event_payload"].is_object()) => {
            Some("invalid_metadata_format")
        }
        () => None,
    }
}

async fn history(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let begins = |message: &Value| message["thread_ts"].is_null() || message["thread_ts"] == message["ts"];
    let mut found: Vec<_> = shared.messages.lock().unwrap().iter().filter(|message| begins(message)).cloned().collect();
    found.reverse();
    page(&shared, &headers, &query, found).await
}

async fn replies(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(thread) = query.get("ts").cloned() else { return refused("invalid_arguments") };
    let of = |message: &Value| message["ts"] == *thread || message["thread_ts"] == *thread;
    let found: Vec<_> = shared.messages.lock().unwrap().iter().filter(|message| of(message)).cloned().collect();
    if found.is_empty() {
        return refused("thread_not_found");
    }
    page(&shared, &headers, &query, found).await
}

/// One page of what was found, as far as it was asked for.
async fn page(shared: &Shared, headers: &HeaderMap, query: &HashMap<String, String>, found: Vec<Value>) -> Response {
    let query = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if !is_known(headers) {
        return refused("invalid_auth");
    }
    if query("channel") != CHANNEL {
        return refused("channel_not_found");
    }
    let seconds = |ts: &str| ts.parse::<f64>().unwrap_or(0.0);
    let oldest = seconds(query("oldest"));
    let mut found: Vec<_> =
        found.into_iter().filter(|message| seconds(message["ts"].as_str().unwrap()) > oldest).collect();
    if query("include_all_metadata") != "true" {
        found.iter_mut().for_each(|message| message["metadata"] = Value::Null);
    }
    let from: usize = query("cursor").parse().unwrap_or(0);
    let limit = query("limit").parse().unwrap_or(100).min(PAGE);
    let next = (from + limit < found.len()).then(|| (from + limit).to_string());
    let messages: Vec<_> = found.into_iter().skip(from).take(limit).collect();
    let body = json!({
        "ok": true,
        "messages": messages,
        "has_more": next.is_some(),
        "response_metadata": {"next_cursor": next.unwrap_or_default()},
    });
    shared.questions.answer("question", move || Json(body.clone()).into_response()).await
}
