//! Actions, and the freeze: the human's hand over all of them.

use std::sync::PoisonError;

use axum::Json;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::Endpoint;
use super::{Answer, Ask, ListQuery, REASON, aside, failed, is_one_line, must_mean_it, unknown, who};
use crate::model::ServiceId;
use crate::model::action::{ActionEvent, ActionKind};
use crate::sdk::actions::Deed;
use crate::sdk::freeze;
use crate::telemetry::clock::now_ms;
use crate::web::extract::{self, Query};
use crate::web::{Problem, Right};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/actions", actions, "Actions of the last 7 days, the newest first, and what is frozen")
            .needs(Right::Read)
            .asks::<ListQuery>()
            .sends::<Deeds<'static>>(),
        Endpoint::post("/api/v1/freeze", stop, "Stops all actions, or those of one service; pages still go out")
            .needs(Right::Act)
            .by_hand()
            .takes::<Switch>()
            .sends::<ActionEvent>(),
        Endpoint::post("/api/v1/thaw", go_on, "Lets them go on")
            .needs(Right::Act)
            .by_hand()
            .takes::<Switch>()
            .sends::<ActionEvent>(),
    ]
}

/// What was done, the newest first, and what is frozen.
#[derive(Serialize, JsonSchema)]
struct Deeds<'a> {
    /// The host's clock, ms.
    now: i64,
    frozen: Vec<&'a ActionEvent>,
    actions: Vec<&'a Deed>,
}

async fn actions(ask: Ask, Query(query): Query<ListQuery>) -> Answer {
    ask.caller.must(Right::Read)?;
    let knowledge = ask.knowledge()?;
    let deeds = knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let reaches = |service: &ServiceId| service.is_ops() || ask.caller.reaches(service.as_str());
    let wanted = |deed: &&Deed| query.is_of(&deed.service) && reaches(&deed.service);
    let actions: Vec<_> = deeds.all().into_iter().rev().filter(wanted).take(query.limit()).collect();
    let frozen: Vec<_> = deeds.frozen().all().filter(|event| reaches(&event.service)).collect();
    ask.answer(&Deeds { now: now_ms(), frozen, actions })
}

/// What to freeze or thaw, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// All, if none is named.
    service: Option<String>,
    /// One line of at most 500 characters, for the record.
    reason: String,
}

async fn stop(ask: Ask, extract::Json(switch): extract::Json<Switch>) -> Answer {
    let reason = switch.reason.clone();
    turn(ask, switch, ActionKind::Frozen { reason }).await
}

async fn go_on(ask: Ask, extract::Json(switch): extract::Json<Switch>) -> Answer {
    let reason = switch.reason.clone();
    turn(ask, switch, ActionKind::Thawed { reason }).await
}

/// Freezes or thaws; answered when it holds.
async fn turn(ask: Ask, switch: Switch, kind: ActionKind) -> Answer {
    must_mean_it(&ask.headers)?;
    if !is_one_line(&switch.reason) {
        return Err(Problem::bad_request(format!("a reason is one line of at most {REASON} characters")));
    }
    let service = match &switch.service {
        None => {
            ask.caller.must_with(Right::Act, ServiceId::ops().as_str())?;
            None
        }
        Some(name) => {
            ask.caller.must_with(Right::Act, name)?;
            Some(ask.knowledge()?.view.entry(name).map_err(|error| unknown(&error))?.registration.service)
        }
    };
    let (who, live) = (who(&ask.caller), ask.live);
    let write = move || freeze::switch(&live.settings, &live.topics, service.as_ref(), &who, kind);
    let event = aside(write).await?.map_err(|error| failed(&error))?;
    Ok(Json(event).into_response())
}
