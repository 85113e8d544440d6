//! Services: how each is, what is registered of it, the past of its sensors.

use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::Endpoint;
use super::{Answer, Ask, aside, failed, unknown};
use crate::model::SpecHash;
use crate::model::spec::Spec;
use crate::sdk::catalog::Entry;
use crate::sdk::series::{self, Bucket, Stretch};
use crate::sdk::status::Status;
use crate::spec::explain::explain;
use crate::spec::unit_name;
use crate::telemetry::clock::now_ms;
use crate::warroom::live::Services;
use crate::web::extract::{Path, Query};
use crate::web::{Problem, Right};

/// How long the past of a series may take to read.
const SERIES_PATIENCE: Duration = Duration::from_secs(20);
/// How much of it is shown unless the request says otherwise, ms.
const SERIES_MS: i64 = 3_600_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/services", services, "All services, how each is").needs(Right::Read).sends::<Services>(),
        Endpoint::get("/api/v1/services/{id}", service, "A service and all that is registered of it")
            .needs(Right::Read)
            .sends::<Whole>(),
        Endpoint::get("/api/v1/services/{id}/series", past, "The past of one of its sensors, from ops.rollups")
            .needs(Right::Read)
            .asks::<PastQuery>()
            .sends::<Past>(),
    ]
}

async fn services(ask: Ask) -> Answer {
    ask.caller.must(Right::Read)?;
    let (knowledge, now) = (ask.knowledge()?, now_ms());
    let mut services = aside(move || knowledge.view.statuses(now)).await?;
    services.retain(|status| ask.caller.reaches(status.service.as_str()));
    ask.answer(&Services { now, services })
}

/// A service and all that is registered of it.
#[derive(Serialize, JsonSchema)]
struct Whole {
    /// The host's clock, ms.
    now: i64,
    #[serde(flatten)]
    status: Status,
    registered: AsRegistered,
    /// What the spec means, line by line; none if this release does not understand it.
    explained: Vec<String>,
    sensors: Vec<Sensor>,
    /// None if the spec has none, or is not understood.
    slo: Option<Slo>,
}

/// The spec as it was registered.
#[derive(Serialize, JsonSchema)]
struct AsRegistered {
    text: String,
    hash: SpecHash,
    owner: String,
    /// Who did it, for people.
    by: String,
    /// When, ms.
    registered_at: i64,
}

/// One sensor of the spec.
#[derive(Serialize, JsonSchema)]
struct Sensor {
    name: String,
    unit: &'static str,
    interval_ms: i64,
    no_data_after_ms: i64,
    scrape_url: Option<String>,
    /// Named under `events:`.
    is_event: bool,
}

/// What is promised.
#[derive(Serialize, JsonSchema)]
struct Slo {
    /// The sensor.
    target: String,
    threshold: f64,
    recover_threshold: f64,
    /// 950,000 is p95.
    objective_ppm: u32,
    min_samples: u64,
    window_ms: i64,
    step_ms: i64,
    lateness_ms: i64,
}

async fn service(ask: Ask, Path(id): Path<String>) -> Answer {
    ask.caller.must_with(Right::Read, &id)?;
    let (knowledge, now) = (ask.knowledge()?, now_ms());
    let status = knowledge.view.status(&id, now).map_err(|error| unknown(&error))?;
    let entry = knowledge.view.entry(&id).map_err(|error| unknown(&error))?;
    ask.answer(&whole(status, &entry, now))
}

fn whole(status: Status, entry: &Entry, now: i64) -> Whole {
    let registration = &entry.registration;
    let spec = entry.spec.as_ref().ok();
    Whole {
        now,
        status,
        registered: AsRegistered {
            text: registration.text.clone(),
            hash: entry.hash(),
            owner: registration.owner.clone(),
            by: registration.by.clone(),
            registered_at: registration.registered_at,
        },
        explained: spec.map_or_else(Vec::new, |spec| explain(spec).lines().map(str::to_owned).collect()),
        sensors: spec.map_or_else(Vec::new, sensors),
        slo: spec.and_then(slo),
    }
}

fn sensors(spec: &Spec) -> Vec<Sensor> {
    let shown = spec.sensors.iter().map(|sensor| Sensor {
        name: sensor.name.to_string(),
        unit: unit_name(sensor.unit),
        interval_ms: sensor.interval_ms,
        no_data_after_ms: sensor.no_data_after_ms,
        scrape_url: sensor.scrape_url.clone(),
        is_event: sensor.is_event,
    });
    shown.collect()
}

fn slo(spec: &Spec) -> Option<Slo> {
    let slo = spec.slo.as_ref()?;
    Some(Slo {
        target: spec.sensors[slo.target].name.to_string(),
        threshold: slo.threshold,
        recover_threshold: slo.recover_threshold,
        objective_ppm: slo.objective_ppm,
        min_samples: slo.min_samples,
        window_ms: spec.window_ms,
        step_ms: spec.step_ms,
        lateness_ms: spec.lateness_ms,
    })
}

/// Which stretch of the past.
#[derive(Deserialize, JsonSchema)]
struct PastQuery {
    /// The SLO's target unless it is given.
    sensor: Option<String>,
    /// ms, exclusive; an hour before `to` unless it is given.
    from: Option<i64>,
    /// ms, inclusive; now unless it is given.
    to: Option<i64>,
    /// At most so many buckets, 500 unless it is given, at most 5,000.
    points: Option<usize>,
}

/// The past of one series, in buckets of whole cuts.
#[derive(Serialize, JsonSchema)]
struct Past {
    service: String,
    sensor: String,
    from: i64,
    to: i64,
    points: Vec<Bucket>,
}

async fn past(ask: Ask, Path(id): Path<String>, Query(query): Query<PastQuery>) -> Answer {
    ask.caller.must_with(Right::Read, &id)?;
    let entry = ask.knowledge()?.view.entry(&id).map_err(|error| unknown(&error))?;
    let spec = entry.spec.as_ref().ok();
    let target = || Some(spec?.sensors[spec?.slo.as_ref()?.target].name.to_string());
    let sensor = query.sensor.or_else(target).ok_or_else(|| Problem::bad_request("give sensor=NAME"))?;
    if spec.is_some_and(|spec| spec.sensor(&sensor).is_none()) {
        return Err(Problem::not_found(format!("{id} has no sensor {sensor:?}")));
    }
    let to = query.to.unwrap_or_else(now_ms);
    let stretch = Stretch { from: query.from.unwrap_or(to.saturating_sub(SERIES_MS)), to };
    if stretch.from >= stretch.to {
        return Err(Problem::bad_request("from must be before to; both are ms since 1970"));
    }
    let points = query.points.unwrap_or(500).clamp(1, 5_000);
    let (live, service, name) = (ask.live, entry.registration.service, sensor.clone());
    let read = aside(move || {
        let series = (&service, name.as_str());
        series::read(&live.settings, &live.topics, series, stretch, points, SERIES_PATIENCE)
    });
    let points = read.await?.map_err(|error| failed(&error))?;
    Ok(Json(Past { service: id, sensor, from: stretch.from, to: stretch.to, points }).into_response())
}
