//! An incident computed again from the log: what `ops explain` prints. It reads a stretch of `ops.metrics`, which takes
//! seconds, so few may ask at once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use super::table::Endpoint;
use super::{Answer, Ask, Desk, aside, incidents};
use crate::model::IncidentId;
use crate::processor::Error;
use crate::processor::audit::Auditor;
use crate::processor::evidence::{self, Evidence, Fact};
use crate::processor::explain::Explanation;
use crate::telemetry::clock::now_ms;
use crate::warroom::Options;
use crate::web::extract::Path;
use crate::web::{Problem, Right};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let about = "By what an incident was decided, computed again from the log now; takes seconds, few at once (429)";
    vec![Endpoint::get("/api/v1/incidents/{id}/explain", explain, about).needs(Right::Read).sends::<Explained>()]
}

/// An incident, computed again.
#[derive(Serialize, JsonSchema)]
struct Explained {
    /// The host's clock, ms.
    now: i64,
    /// Line by line, as `ops explain` prints it.
    text: Vec<String>,
    /// The same, fact by fact.
    evidence: Vec<Fact>,
    #[serde(flatten)]
    all: Evidence,
}

async fn explain(ask: Ask, State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    let id = incidents::of_text(&id)?;
    ask.caller.must_with(Right::Read, id.service.as_str())?;
    let place = desk.place()?;
    let wanted = id.clone();
    let work = aside(move || {
        let _place = place;
        compute(&desk.options, &wanted)
    });
    let explanation = work.await?.map_err(|error| refused(&error))?;
    let gone = || Problem::not_found(format!("no opening of {id} is on the topic"));
    let explanation = explanation.ok_or_else(gone)?;
    let (evidence, all) = (evidence::facts(&explanation), Evidence::of(&id, &explanation));
    let text = evidence::text(&explanation, &evidence).lines().map(str::to_owned).collect();
    Ok(Json(Explained { now: now_ms(), text, evidence, all }).into_response())
}

fn compute(options: &Options, id: &IncidentId) -> Result<Option<Explanation>, Error> {
    let auditor = Auditor::new(options.settings.clone(), options.topics.clone(), &options.group)?;
    auditor.open(id.service.home(auditor.partitions()))?.explain(id, &mut |_, _| {})
}

/// What the log no longer holds is no fault of anybody's, and comes back for nobody.
fn refused(error: &Error) -> Problem {
    match error {
        Error::Bus(_) => Problem::unavailable(error.to_string()),
        _ => {
            let title = "It cannot be computed again";
            Problem::new(StatusCode::CONFLICT, "not_computable", title, error.to_string())
        }
    }
}
