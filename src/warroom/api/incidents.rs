//! Incidents: the list, and the story of one with the numbers of every verdict.

use std::sync::PoisonError;

use schemars::JsonSchema;
use serde::Serialize;

use super::table::Endpoint;
use super::{Answer, Ask, ListQuery, Stage};
use crate::model::IncidentId;
use crate::sdk::actions::Deed;
use crate::sdk::incidents::{Story, Told};
use crate::telemetry::clock::now_ms;
use crate::web::extract::{Path, Query};
use crate::web::{Problem, Right};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/incidents", incidents, "Incidents of the last 7 days, the newest first")
            .needs(Right::Read)
            .asks::<ListQuery>()
            .sends::<Stories<'static>>(),
        Endpoint::get("/api/v1/incidents/{id}", incident, "The story of one incident: events, actions")
            .needs(Right::Read)
            .sends::<Tale<'static>>(),
    ]
}

/// The newest first.
#[derive(Serialize, JsonSchema)]
struct Stories<'a> {
    /// The host's clock, ms.
    now: i64,
    incidents: Vec<&'a Story>,
}

async fn incidents(ask: Ask, Query(query): Query<ListQuery>) -> Answer {
    ask.caller.must(Right::Read)?;
    let wanted = |story: &&Story| {
        let is_open = story.end.is_none();
        query.is_of(&story.service)
            && query.state.is_none_or(|stage| (stage == Stage::Open) == is_open)
            && ask.caller.reaches(story.service.as_str())
    };
    let knowledge = ask.knowledge()?;
    let incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
    let stories: Vec<_> = incidents.all().filter(wanted).take(query.limit()).collect();
    ask.answer(&Stories { now: now_ms(), incidents: stories })
}

/// One incident, whole.
#[derive(Serialize, JsonSchema)]
struct Tale<'a> {
    /// The host's clock, ms.
    now: i64,
    story: &'a Story,
    /// As they were published, in order.
    events: &'a [Told],
    actions: Vec<&'a Deed>,
}

async fn incident(ask: Ask, Path(id): Path<String>) -> Answer {
    let id = of_text(&id)?;
    ask.caller.must_with(Right::Read, id.service.as_str())?;
    let knowledge = ask.knowledge()?;
    let incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
    let story = incidents.get(&id);
    let story = story.ok_or_else(|| Problem::not_found(format!("no incident {id} in the last 7 days")))?;
    let deeds = knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let actions: Vec<&Deed> = deeds.all().into_iter().filter(|deed| deed.incident == id).collect();
    ask.answer(&Tale { now: now_ms(), story, events: &story.events, actions })
}

/// What stands in the path.
pub(super) fn of_text(text: &str) -> Result<IncidentId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("no incident is called {text:?}")))
}
