//! What waits for a human's word, and the word. What may be said when is `sdk::approve`'s; what comes of it is the
//! actor's.
//!
//! A word is answered when it was read back and counts: whoever says another after that is told so.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::api::{Answer, HAND, REASON, aside, failed, known};
use super::live::{Knowledge, Live};
use crate::model::ActionId;
use crate::model::action::ActionEvent;
use crate::sdk::actions::Deed;
use crate::sdk::approve::{self, Refused, Said};
use crate::telemetry::clock::now_ms;
use crate::web::extract::{self, Path};
use crate::web::{Caller, Problem, Right};

/// Between two looks for a word that was written.
const LOOK: Duration = Duration::from_millis(50);

/// All of them. Stands behind a [`crate::web::Gate`].
pub fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/api/v1/approvals", get(approvals))
        .route("/api/v1/actions/{id}/approve", post(approve))
        .route("/api/v1/actions/{id}/deny", post(deny))
        .with_state(live)
}

/// The most urgent first; only what can still be decided.
async fn approvals(State(live): State<Arc<Live>>, caller: Caller) -> Answer {
    caller.must(Right::Read)?;
    let (knowledge, now) = (known(&live)?, now_ms());
    let mut all = approve::all_pending(&knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner), now);
    all.retain(|pending| caller.reaches(pending.service.as_str()));
    // Without a version: what is over by the clock alone would change none.
    Ok(Json(json!({"now": now, "approvals": all})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    /// One line, not empty.
    reason: String,
    /// Of what was shown.
    hash: String,
}

async fn approve(
    live: State<Arc<Live>>,
    caller: Caller,
    asked: HeaderMap,
    Path(id): Path<String>,
    extract::Json(word): extract::Json<Word>,
) -> Answer {
    say(live, caller, asked, &id, word, true).await
}

async fn deny(
    live: State<Arc<Live>>,
    caller: Caller,
    asked: HeaderMap,
    Path(id): Path<String>,
    extract::Json(word): extract::Json<Word>,
) -> Answer {
    say(live, caller, asked, &id, word, false).await
}

async fn say(
    State(live): State<Arc<Live>>,
    caller: Caller,
    asked: HeaderMap,
    id: &str,
    word: Word,
    is_yes: bool,
) -> Answer {
    if !asked.contains_key(HAND) {
        return Err(Problem::bad_request(format!("what changes something needs the header {HAND}: 1")));
    }
    let Word { reason, hash } = word;
    if reason.trim().is_empty() || reason.chars().count() > REASON || reason.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("a reason is one line of 1 to {REASON} characters")));
    }
    caller.must(Right::Act)?;
    let knowledge = known(&live)?;
    let unknown = || Problem::not_found(format!("no action {id:?} in the last 7 days"));
    let action: ActionId = id.parse().map_err(|_| unknown())?;
    let deed = deed(&knowledge, &action).ok_or_else(unknown)?;
    caller.must_with(Right::Act, deed.service.as_str())?;
    let (proposed, proposal) = approve::open(&deed, Some(&hash), now_ms()).map_err(|refused| conflict(&refused))?;
    let (proposed, proposal) = (proposed.clone(), proposal.clone());
    let who = format!("war room: {}", caller.name().unwrap_or("somebody on this machine"));
    let write = move || approve::say(&live.settings, &live.topics, (&proposed, &proposal), is_yes, &who, &reason);
    let event = aside(write).await?.map_err(|error| failed(&error))?;
    read_back(&knowledge, event).await
}

fn deed(knowledge: &Knowledge, action: &ActionId) -> Option<Deed> {
    knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner).get(action).cloned()
}

/// The word, once the follower has read it and it counts.
async fn read_back(knowledge: &Knowledge, word: ActionEvent) -> Answer {
    let deadline = Instant::now() + approve::PATIENCE;
    loop {
        match approve::said(deed(knowledge, &word.action_id).as_ref(), &word) {
            Said::Counts => return Ok(Json(word).into_response()),
            Said::Too(refused) => return Err(conflict(&refused)),
            Said::Unseen if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            Said::Unseen => {
                return Err(Problem::unavailable("it is written, but was not read back yet: look at the action"));
            }
        }
    }
}

fn conflict(refused: &Refused) -> Problem {
    let kind = match refused {
        Refused::NotWaiting { .. } => "not_waiting",
        Refused::Answered { .. } => "answered",
        Refused::Expired { .. } => "expired",
        Refused::OtherHash => "other_hash",
    };
    Problem::new(StatusCode::CONFLICT, kind, "No word is taken on this action", refused.to_string())
}
