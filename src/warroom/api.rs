//! The paths under `/api/v1`: what is read, and the little that a human may do. Every answer says `now`, every service
//! `as_of` and `quality`; what is refused is a problem document.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::approvals;
use super::edge::{self, Watched};
use super::feed::{Event, Subscription};
use super::live::{Knowledge, Live};
use crate::model::action::ActionKind;
use crate::model::spec::Spec;
use crate::model::{IncidentId, ServiceId};
use crate::sdk::actions::Deed;
use crate::sdk::catalog::Entry;
use crate::sdk::incidents::Story;
use crate::sdk::series::{self, Stretch};
use crate::sdk::status::Status;
use crate::sdk::{self, UnknownService, freeze};
use crate::spec::explain::explain;
use crate::telemetry::clock::now_ms;
use crate::web::extract::{self, Path, Query};
use crate::web::{Caller, Problem, Right};

/// How long the past of a series may take to read.
const SERIES_PATIENCE: Duration = Duration::from_secs(20);
/// How much of it is shown unless the request says otherwise, ms.
const SERIES_MS: i64 = 3_600_000;
/// The longest reason of a freeze, characters: it goes on the record.
pub(super) const REASON: usize = 500;
/// What a page of ours sends with whatever changes something; no form can.
pub(super) const HAND: &str = "x-ops";

pub(super) type Answer = Result<Response, Problem>;

/// All of them. Stands behind a [`crate::web::Gate`].
pub fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{id}", get(service))
        .route("/api/v1/services/{id}/series", get(past))
        .route("/api/v1/services/{id}/live", get(watch))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/incidents/{id}", get(incident))
        .route("/api/v1/actions", get(actions))
        .route("/api/v1/freeze", post(stop))
        .route("/api/v1/thaw", post(go_on))
        .route("/api/v1/stream", get(follow))
        .with_state(live.clone())
        .merge(approvals::router(live))
}

pub(super) fn known(live: &Live) -> Result<Arc<Knowledge>, Problem> {
    live.knowledge().ok_or_else(|| Problem::unavailable("the topics are not read yet"))
}

fn unknown(error: &UnknownService) -> Problem {
    let problem = Problem::not_found(error.to_string());
    error.near.iter().fold(problem, |problem, near| problem.with("near", near.as_str()))
}

pub(super) fn failed(error: &sdk::Error) -> Problem {
    tracing::warn!(%error, "a request could not be answered");
    Problem::unavailable(error.to_string())
}

/// Work that takes its time, away from the threads that answer.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|_| Problem::internal("the work was not finished"))
}

/// The JSON, with the version of all that is known; to who has that version already, only that.
fn tagged(live: &Live, asked: &HeaderMap, body: &impl Serialize) -> Answer {
    let version = format!("W/\"{}\"", live.feed.version());
    let tag = HeaderValue::from_str(&version).map_err(|_| Problem::internal("the version is no header"))?;
    let has = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.split(',').any(|tag| tag.trim() == version));
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if asked.get(header::IF_NONE_MATCH).is_some_and(has) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, Json(body)).into_response())
}

async fn services(State(live): State<Arc<Live>>, caller: Caller, asked: HeaderMap) -> Answer {
    caller.must(Right::Read)?;
    let (knowledge, now) = (known(&live)?, now_ms());
    let mut statuses = aside(move || knowledge.view.statuses(now)).await?;
    statuses.retain(|status| caller.reaches(status.service.as_str()));
    tagged(&live, &asked, &json!({"now": now, "services": statuses}))
}

/// A service and all that is registered of it.
#[derive(Serialize)]
struct Whole {
    now: i64,
    #[serde(flatten)]
    status: Status,
    registered: Value,
    /// What the spec means, line by line; none if this release does not understand it.
    explained: Vec<String>,
    sensors: Vec<Value>,
    slo: Option<Value>,
}

async fn service(State(live): State<Arc<Live>>, caller: Caller, Path(id): Path<String>, asked: HeaderMap) -> Answer {
    caller.must_with(Right::Read, &id)?;
    let (knowledge, now) = (known(&live)?, now_ms());
    let status = knowledge.view.status(&id, now).map_err(|error| unknown(&error))?;
    let entry = knowledge.view.entry(&id).map_err(|error| unknown(&error))?;
    tagged(&live, &asked, &whole(status, &entry, now))
}

fn whole(status: Status, entry: &Entry, now: i64) -> Whole {
    let registration = &entry.registration;
    let spec = entry.spec.as_ref().ok();
    Whole {
        now,
        status,
        registered: json!({
            "text": registration.text, "hash": entry.hash().to_string(), "owner": registration.owner,
            "by": registration.by, "registered_at": registration.registered_at,
        }),
        explained: spec.map_or_else(Vec::new, |spec| explain(spec).lines().map(str::to_owned).collect()),
        sensors: spec.map_or_else(Vec::new, sensors),
        slo: spec.and_then(slo),
    }
}

fn sensors(spec: &Spec) -> Vec<Value> {
    let unit = |sensor: &crate::model::spec::Sensor| crate::spec::unit_name(sensor.unit);
    let shown = spec.sensors.iter().map(|sensor| {
        json!({
            "name": sensor.name, "unit": unit(sensor), "interval_ms": sensor.interval_ms,
            "no_data_after_ms": sensor.no_data_after_ms, "scrape_url": sensor.scrape_url, "is_event": sensor.is_event,
        })
    });
    shown.collect()
}

fn slo(spec: &Spec) -> Option<Value> {
    let slo = spec.slo.as_ref()?;
    Some(json!({
        "target": spec.sensors[slo.target].name, "threshold": slo.threshold,
        "recover_threshold": slo.recover_threshold, "objective_ppm": slo.objective_ppm,
        "min_samples": slo.min_samples, "window_ms": spec.window_ms, "step_ms": spec.step_ms,
        "lateness_ms": spec.lateness_ms,
    }))
}

#[derive(Deserialize)]
struct PastQuery {
    sensor: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    points: Option<usize>,
}

async fn past(
    State(live): State<Arc<Live>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PastQuery>,
) -> Answer {
    caller.must_with(Right::Read, &id)?;
    let entry = known(&live)?.view.entry(&id).map_err(|error| unknown(&error))?;
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
    let (service, name) = (entry.registration.service, sensor.clone());
    let read = aside(move || {
        let series = (&service, name.as_str());
        series::read(&live.settings, &live.topics, series, stretch, points, SERIES_PATIENCE)
    });
    let buckets = read.await?.map_err(|error| failed(&error))?;
    let answer = json!({
        "service": id, "sensor": sensor, "from": stretch.from, "to": stretch.to, "points": buckets,
    });
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
struct LiveQuery {
    sensor: String,
}

/// Server-sent events, `news`: the readings of one series as they come, and its window at every instant.
async fn watch(
    State(live): State<Arc<Live>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<LiveQuery>,
) -> Answer {
    caller.must_with(Right::Read, &id)?;
    let entry = known(&live)?.view.entry(&id).map_err(|error| unknown(&error))?;
    let spec = entry.spec.map_err(|_| Problem::not_found(format!("the spec of {id} is not understood here")))?;
    let watched = Watched::of(&spec, &query.sensor);
    let watched = watched.ok_or_else(|| Problem::not_found(format!("{id} has no sensor {:?}", query.sensor)))?;
    let place = live.edges.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::overloaded("too many live graphs are open"))?;
    let (sender, receiver) = mpsc::channel(8);
    std::thread::Builder::new()
        .name("edge".into())
        .spawn(move || {
            let _place = place;
            if let Err(error) = edge::follow(&live.settings, &live.topics, watched, &sender) {
                tracing::warn!(%error, service = id, "a live graph ends");
            }
        })
        .map_err(|_| Problem::overloaded("no thread is left"))?;
    let events = stream::unfold(receiver, |mut receiver| async move {
        let news = receiver.recv().await?;
        let data = serde_json::to_string(&news).unwrap_or_default();
        Some((Sent::default().event("news").data(data), receiver))
    });
    Ok(answer(events))
}

#[derive(Deserialize)]
struct ListQuery {
    service: Option<String>,
    state: Option<Stage>,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Open,
    Over,
}

impl ListQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(200).min(5_000)
    }

    fn is_of(&self, service: &ServiceId) -> bool {
        self.service.as_ref().is_none_or(|wanted| wanted == service.as_str())
    }
}

async fn incidents(
    State(live): State<Arc<Live>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    asked: HeaderMap,
) -> Answer {
    caller.must(Right::Read)?;
    let knowledge = known(&live)?;
    let wanted = |story: &&Story| {
        let is_open = story.end.is_none();
        query.is_of(&story.service)
            && query.state.is_none_or(|stage| (stage == Stage::Open) == is_open)
            && caller.reaches(story.service.as_str())
    };
    let incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
    let stories: Vec<_> = incidents.all().filter(wanted).take(query.limit()).collect();
    tagged(&live, &asked, &json!({"now": now_ms(), "incidents": stories}))
}

async fn incident(State(live): State<Arc<Live>>, caller: Caller, Path(id): Path<String>, asked: HeaderMap) -> Answer {
    let parsed: IncidentId = id.parse().map_err(|_| Problem::not_found(format!("{id:?} is no incident's id")))?;
    caller.must_with(Right::Read, parsed.service.as_str())?;
    let knowledge = known(&live)?;
    let incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
    let story = incidents.get(&parsed);
    let story = story.ok_or_else(|| Problem::not_found(format!("no incident {id} in the last 7 days")))?;
    let deeds = knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let deeds: Vec<&Deed> = deeds.all().into_iter().filter(|deed| deed.incident == parsed).collect();
    let told = json!({"now": now_ms(), "story": story, "events": story.events, "actions": deeds});
    tagged(&live, &asked, &told)
}

async fn actions(
    State(live): State<Arc<Live>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
    asked: HeaderMap,
) -> Answer {
    caller.must(Right::Read)?;
    let knowledge = known(&live)?;
    let deeds = knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner);
    let reaches = |service: &ServiceId| service.is_ops() || caller.reaches(service.as_str());
    let wanted = |deed: &&&Deed| query.is_of(&deed.service) && reaches(&deed.service);
    let all = deeds.all();
    let newest: Vec<_> = all.iter().rev().filter(wanted).take(query.limit()).collect();
    let frozen: Vec<_> = deeds.frozen().all().filter(|event| reaches(&event.service)).collect();
    tagged(&live, &asked, &json!({"now": now_ms(), "frozen": frozen, "actions": newest}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// All, if none is named.
    service: Option<String>,
    reason: String,
}

async fn stop(
    State(live): State<Arc<Live>>,
    caller: Caller,
    asked: HeaderMap,
    extract::Json(switch): extract::Json<Switch>,
) -> Answer {
    let reason = switch.reason.clone();
    turn(live, caller, asked, switch, ActionKind::Frozen { reason }).await
}

async fn go_on(
    State(live): State<Arc<Live>>,
    caller: Caller,
    asked: HeaderMap,
    extract::Json(switch): extract::Json<Switch>,
) -> Answer {
    let reason = switch.reason.clone();
    turn(live, caller, asked, switch, ActionKind::Thawed { reason }).await
}

/// Freezes or thaws; answered when it holds.
async fn turn(live: Arc<Live>, caller: Caller, asked: HeaderMap, switch: Switch, kind: ActionKind) -> Answer {
    if !asked.contains_key(HAND) {
        return Err(Problem::bad_request(format!("what changes something needs the header {HAND}: 1")));
    }
    if switch.reason.chars().count() > REASON || switch.reason.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("a reason is one line of at most {REASON} characters")));
    }
    let service = match &switch.service {
        None => {
            caller.must_with(Right::Act, ServiceId::ops().as_str())?;
            None
        }
        Some(name) => {
            caller.must_with(Right::Act, name)?;
            Some(known(&live)?.view.entry(name).map_err(|error| unknown(&error))?.registration.service)
        }
    };
    let who = format!("war room: {}", caller.name().unwrap_or("somebody on this machine"));
    let write = move || freeze::switch(&live.settings, &live.topics, service.as_ref(), &who, kind);
    let event = aside(write).await?.map_err(|error| failed(&error))?;
    Ok(Json(event).into_response())
}

/// Server-sent events: all services first (`reset`), unless the stream says what it had last; then what is new.
async fn follow(State(live): State<Arc<Live>>, caller: Caller, asked: HeaderMap) -> Answer {
    caller.must(Right::Read)?;
    if !caller.reaches_all() {
        let detail = "a stream shows all services: it needs a token for all of them (services = [\"*\"])";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "This token is not for that", detail));
    }
    let knowledge = known(&live)?;
    let last = asked.get("last-event-id").and_then(|id| id.to_str().ok());
    let subscription = live.feed.subscribe(last).ok_or_else(|| Problem::overloaded("too many streams are open"))?;
    let Subscription { missed, last, news, place } = subscription;
    let first = match missed {
        Some(missed) => missed.iter().map(|event| sent(&live, event)).collect(),
        None => {
            let now = now_ms();
            let statuses = aside(move || knowledge.view.statuses(now)).await?;
            let data = json!({"now": now, "services": statuses}).to_string();
            vec![Sent::default().id(live.feed.id(last)).event("reset").data(data)]
        }
    };
    let rest = stream::unfold((live, news, place), |(live, mut news, place)| async move {
        match news.recv().await {
            Ok(event) => Some((sent(&live, &event), (live, news, place))),
            // It comes back and says what it had last.
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    Ok(answer(stream::iter(first).chain(rest)))
}

fn answer(events: impl Stream<Item = Sent> + Send + 'static) -> Response {
    let unbuffered =
        [(header::CACHE_CONTROL, "no-store"), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(events.map(Ok::<_, Infallible>))).into_response()
}

fn sent(live: &Live, event: &Event) -> Sent {
    let sent = Sent::default().event(event.name).data(&event.data);
    match event.number {
        Some(number) => sent.id(live.feed.id(number)),
        None => sent,
    }
}
