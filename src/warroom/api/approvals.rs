//! What waits for a human's word, and the word. What may be said when is `sdk::approve`'s; what comes of it is the
//! actor's.
//!
//! A word is answered when it was read back and counts: whoever says another after that is told so.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::Endpoint;
use super::{Answer, Ask, REASON, aside, failed, is_one_line, must_mean_it, who};
use crate::model::ActionId;
use crate::model::action::ActionEvent;
use crate::sdk::actions::Deed;
use crate::sdk::approve::{self, Pending, Refused, Said};
use crate::telemetry::clock::now_ms;
use crate::warroom::live::Knowledge;
use crate::web::extract::{self, Path};
use crate::web::{Problem, Right};

/// Between two looks for a word that was written.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn endpoints() -> Vec<Endpoint> {
    let word = |endpoint: Endpoint| endpoint.needs(Right::Act).by_hand().takes::<Reply>().sends::<ActionEvent>();
    let yes = "Lets an action be done that waits for a human";
    vec![
        Endpoint::get(
            "/api/v1/approvals",
            approvals,
            "What waits for a human and can still be decided, the most urgent first",
        )
        .needs(Right::Read)
        .sends::<Approvals>(),
        word(Endpoint::post("/api/v1/actions/{id}/approve", approve, yes)),
        word(Endpoint::post("/api/v1/actions/{id}/deny", deny, "Has it not done")),
    ]
}

/// What waits for a human.
#[derive(Serialize, JsonSchema)]
struct Approvals {
    /// The host's clock, ms.
    now: i64,
    approvals: Vec<Pending>,
}

async fn approvals(ask: Ask) -> Answer {
    ask.caller.must(Right::Read)?;
    let (knowledge, now) = (ask.knowledge()?, now_ms());
    let mut approvals = approve::all_pending(&knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner), now);
    approvals.retain(|pending| ask.caller.reaches(pending.service.as_str()));
    // Without a version: what is over by the clock alone would change none.
    Ok(Json(Approvals { now, approvals }).into_response())
}

/// A human's word.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reply {
    /// One line, not empty.
    reason: String,
    /// Of what was shown.
    hash: String,
}

async fn approve(ask: Ask, Path(id): Path<String>, extract::Json(word): extract::Json<Reply>) -> Answer {
    say(ask, &id, word, true).await
}

async fn deny(ask: Ask, Path(id): Path<String>, extract::Json(word): extract::Json<Reply>) -> Answer {
    say(ask, &id, word, false).await
}

async fn say(ask: Ask, id: &str, word: Reply, is_yes: bool) -> Answer {
    must_mean_it(&ask.headers)?;
    let Reply { reason, hash } = word;
    if reason.trim().is_empty() || !is_one_line(&reason) {
        return Err(Problem::bad_request(format!("a reason is one line of 1 to {REASON} characters")));
    }
    ask.caller.must(Right::Act)?;
    let knowledge = ask.knowledge()?;
    let unknown = || Problem::not_found(format!("no action {id:?} in the last 7 days"));
    let action: ActionId = id.parse().map_err(|_| unknown())?;
    let deed = deed(&knowledge, &action).ok_or_else(unknown)?;
    ask.caller.must_with(Right::Act, deed.service.as_str())?;
    let (proposed, proposal) = approve::open(&deed, Some(&hash), now_ms()).map_err(|refused| conflict(&refused))?;
    let (proposed, proposal) = (proposed.clone(), proposal.clone());
    let (who, live) = (who(&ask.caller), ask.live);
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
