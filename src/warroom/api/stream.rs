//! What is new, as server-sent events: of the fleet, and of one series.

use std::convert::Infallible;

use axum::http::{StatusCode, header};
use axum::response::sse::{Event as Sent, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::services::Services;
use super::table::Endpoint;
use super::{Answer, Ask, aside, unknown};
use crate::model::action::ActionEvent;
use crate::sdk::incidents::Told;
use crate::telemetry::clock::now_ms;
use crate::warroom::edge::{self, News, Watched};
use crate::warroom::feed::{Event, Subscription};
use crate::warroom::live::Live;
use crate::web::extract::{Path, Query};
use crate::web::{Problem, Right};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let all = "What is new of all services, as server-sent events: `reset` (all services) unless the header Last-Event-ID says \
               what was had last, then `statuses`, `gone`, `incident`, `action`, and `beat` every 5 s";
    let one = "The newest readings of one sensor and its window at every instant, as server-sent events `news`";
    vec![
        Endpoint::get("/api/v1/stream", follow, all)
            .needs(Right::Read)
            .tells::<Services>("reset")
            .tells::<Told>("incident")
            .tells::<ActionEvent>("action"),
        Endpoint::get("/api/v1/services/{id}/live", watch, one)
            .needs(Right::Read)
            .asks::<LiveQuery>()
            .tells::<News>("news"),
    ]
}

/// Which series.
#[derive(Deserialize, JsonSchema)]
struct LiveQuery {
    sensor: String,
}

/// `news`: the readings of one series as they come, and its window at every instant.
async fn watch(ask: Ask, Path(id): Path<String>, Query(query): Query<LiveQuery>) -> Answer {
    ask.caller.must_with(Right::Read, &id)?;
    let entry = ask.knowledge()?.view.entry(&id).map_err(|error| unknown(&error))?;
    let spec = entry.spec.map_err(|_| Problem::not_found(format!("the spec of {id} is not understood here")))?;
    let watched = Watched::of(&spec, &query.sensor);
    let watched = watched.ok_or_else(|| Problem::not_found(format!("{id} has no sensor {:?}", query.sensor)))?;
    let live = ask.live;
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

/// All services first (`reset`), unless the stream says what it had last; then what is new.
async fn follow(ask: Ask) -> Answer {
    ask.caller.must(Right::Read)?;
    if !ask.caller.reaches_all() {
        let detail = "a stream shows all services: it needs a token for all of them (services = [\"*\"])";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "This token is not for that", detail));
    }
    let knowledge = ask.knowledge()?;
    let Ask { live, headers, .. } = ask;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let subscription = live.feed.subscribe(last).ok_or_else(|| Problem::overloaded("too many streams are open"))?;
    let Subscription { missed, last, news, place } = subscription;
    let first = match missed {
        Some(missed) => missed.iter().map(|event| sent(&live, event)).collect(),
        None => {
            let now = now_ms();
            let services = aside(move || knowledge.view.statuses(now)).await?;
            let data = serde_json::to_string(&Services { now, services });
            let data = data.map_err(|error| Problem::internal(error.to_string()))?;
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
