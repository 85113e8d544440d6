//! A twin of PagerDuty's Events API v2: `POST /v2/enqueue`, held to its documentation.
//!
//! A trigger opens an alert, or joins the one that is open under its `dedup_key`; a resolve closes it; a resolve of
//! none does nothing. 202 taken, 400 with what is wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Calls, serve};

/// The key of its one integration.
pub const ROUTING_KEY: &str = "R0UT1NGKEY0123456789abcdefABCDEF";

/// See the module.
pub struct PagerDuty {
    /// Its address.
    pub url: String,
    /// What the calls meet.
    pub calls: Calls,
    state: Arc<Mutex<Alerts>>,
}

#[derive(Default)]
struct Alerts {
    by_key: BTreeMap<String, Alert>,
    /// Events that were taken, in order: what was asked, and the key.
    events: Vec<(String, String)>,
}

/// All about one `dedup_key`.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// Somebody is called.
    pub is_open: bool,
    /// How often it was opened.
    pub openings: u64,
    /// Triggers that were taken, oldest first.
    pub triggers: Vec<Value>,
    /// Resolves that were taken.
    pub resolves: u64,
}

impl PagerDuty {
    /// Nothing is wrong yet.
    pub async fn start() -> Self {
        let (calls, state) = (Calls::default(), Arc::<Mutex<Alerts>>::default());
        let router = Router::new().route("/v2/enqueue", post(enqueue)).with_state((calls.clone(), state.clone()));
        Self { url: serve(router).await, calls, state }
    }

    /// The alert of a key.
    pub fn alert(&self, key: &str) -> Alert {
        self.state.lock().unwrap().by_key.get(key).cloned().unwrap_or_default()
    }

    /// What was taken: `trigger KEY`, `resolve KEY`, in order.
    pub fn events(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.events.iter().map(|(action, key)| format!("{action} {key}")).collect()
    }

    /// Keys under which somebody is still called.
    pub fn open(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.by_key.iter().filter(|(_, alert)| alert.is_open).map(|(key, _)| key.clone()).collect()
    }
}

type Shared = (Calls, Arc<Mutex<Alerts>>);

async fn enqueue(State((calls, state)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let event = match read(&headers, &body) {
        Ok(event) => event,
        Err(errors) => {
            let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    let key = event["dedup_key"].as_str().unwrap_or_default().to_owned();
    let id = match event["payload"]["custom_details"]["action_id"].as_str() {
        Some(id) => id.to_owned(),
        // What resolves the same opening is the same.
        None => format!("resolve {key} {}", state.lock().unwrap().by_key.get(&key).map_or(0, |alert| alert.openings)),
    };
    let take = move || {
        let mut state = state.lock().unwrap();
        let action = event["event_action"].as_str().unwrap().to_owned();
        let alert = state.by_key.entry(key.clone()).or_default();
        match action.as_str() {
            "trigger" => {
                alert.openings += u64::from(!alert.is_open);
                alert.is_open = true;
                alert.triggers.push(event.clone());
            }
            "resolve" => {
                alert.is_open = false;
                alert.resolves += 1;
            }
            _ => {}
        }
        state.events.push((action, key.clone()));
        let body = json!({"status": "success", "message": "Event processed", "dedup_key": key});
        (StatusCode::ACCEPTED, Json(body)).into_response()
    };
    calls.answer(&id, take).await
}

/// The event, or what is wrong with it.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Vec<String>> {
    let event: Value = serde_json::from_slice(body).map_err(|error| vec![error.to_string()])?;
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let text =
        |value: &Value, most: usize| value.as_str().is_some_and(|text| (1..=most).contains(&text.chars().count()));
    let (action, payload) = (&event["event_action"], &event["payload"]);
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    must(kind.starts_with("application/json"), "content-type must be application/json");
    must(body.len() <= 512 * 1024, "the event is larger than 512 KB");
    must(event["routing_key"] == ROUTING_KEY, "routing_key is invalid");
    must(["trigger", "acknowledge", "resolve"].iter().any(|known| action == known), "event_action is unknown");
    let needs_key = action != "trigger" || !event["dedup_key"].is_null();
    must(!needs_key || text(&event["dedup_key"], 255), "dedup_key must be 1 to 255 characters");
    if action == "trigger" {
        must(text(&payload["summary"], 1024), "payload.summary must be 1 to 1024 characters");
        must(text(&payload["source"], 1024), "payload.source is missing");
        let severities = ["critical", "error", "warning", "info"];
        must(severities.iter().any(|known| payload["severity"] == *known), "payload.severity is unknown");
        let at = payload["timestamp"].as_str();
        must(at.is_none_or(|at| at.parse::<jiff::Timestamp>().is_ok()), "payload.timestamp is no ISO 8601");
        let links = event["links"].as_array().cloned().unwrap_or_default();
        must(links.iter().all(|link| text(&link["href"], 2048)), "a link without href");
        must(event.get("client_url").is_none_or(Value::is_string), "client_url is no text");
    }
    if wrong.is_empty() { Ok(event) } else { Err(wrong) }
}
