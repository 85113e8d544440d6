//! An incident as the archive holds it: which records of the vault are its own.

use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;

use super::table::Endpoint;
use super::{Answer, Ask, Desk, aside, incidents};
use crate::model::IncidentId;
use crate::telemetry::clock::now_ms;
use crate::vault::decode::ByTopic;
use crate::vault::find::{Found, Query, find};
use crate::vault::{Vault, VaultError};
use crate::warroom::live::Knowledge;
use crate::web::extract::Path;
use crate::web::{Problem, Right};

/// An incident's records are appended after its opening; clocks may differ by so much, ms.
const BEFORE_MS: i64 = 600_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let about = "The records of an incident in the archive; 404 `no_vault` if the server was given none (--vault)";
    vec![Endpoint::get("/api/v1/incidents/{id}/vault", archived, about).needs(Right::Read).sends::<Archived>()]
}

/// What the archive holds of an incident.
#[derive(Serialize, JsonSchema)]
struct Archived {
    /// The host's clock, ms.
    now: i64,
    /// The vault, as the server was given it: `ops dta --vault ORIGIN`.
    origin: String,
    /// By append time.
    entries: Vec<Entry>,
    /// Null: this vault is not signed yet.
    checkpoint: (),
    /// What could not be read, so that something may be missing.
    damage: Vec<String>,
}

/// One record, byte for byte in the vault: `ops dta show TOPIC/PARTITION/OFFSET`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ArchivedEntry")]
struct Entry {
    topic: String,
    partition: i32,
    offset: i64,
    /// Its number among the archived records of the partition, from 0.
    position: Option<u64>,
    /// `opened`, `requested`, `done`, ...
    event: String,
    /// When it was appended, ms.
    at: i64,
}

async fn archived(ask: Ask, State(desk): State<Desk>, Path(id): Path<String>) -> Answer {
    let id = incidents::of_text(&id)?;
    ask.caller.must_with(Right::Read, id.service.as_str())?;
    let Some(origin) = desk.options.vault.clone() else {
        let (title, detail) = ("This server shows no vault", "start it with --vault DIR");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_vault", title, detail));
    };
    let knowledge = ask.knowledge()?;
    let from = opened_at(&knowledge, &id).map(|at| at - BEFORE_MS);
    let place = desk.place()?;
    let runtime = Handle::current();
    let look = aside(move || {
        let _place = place;
        runtime.block_on(look(&origin, id, from)).map(|(entries, damage)| (origin, entries, damage))
    });
    let (origin, entries, damage) = look.await?.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(Json(Archived { now: now_ms(), origin, entries, checkpoint: (), damage }).into_response())
}

/// None if that is too long ago: then all of the archive is looked through.
fn opened_at(knowledge: &Knowledge, id: &IncidentId) -> Option<i64> {
    let incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
    incidents.get(id).map(|story| story.opened_at)
}

async fn look(origin: &str, id: IncidentId, from: Option<i64>) -> Result<(Vec<Entry>, Vec<String>), VaultError> {
    let vault = Vault::open(origin)?;
    let query = Query { service: Some(id.service.to_string()), from, ..Query::default() };
    let findings = find(&vault, &query, &ByTopic).await?;
    let wanted = id.to_string();
    let entries = findings.found.into_iter().filter_map(|found| entry(found, &wanted)).collect();
    Ok((entries, findings.damage.iter().map(ToString::to_string).collect()))
}

/// None if it is of another incident, or nobody can tell.
fn entry(found: Found, incident: &str) -> Option<Entry> {
    let Found { log, entry, number, decoded } = found;
    let value = decoded.ok()?;
    (value["incident"] == incident).then(|| Entry {
        topic: log.topic,
        partition: log.partition,
        offset: entry.offset,
        position: number,
        event: value["event"].as_str().unwrap_or_default().to_owned(),
        at: entry.timestamp,
    })
}
