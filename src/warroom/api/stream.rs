//! What is new, as server-sent events: of the fleet, and of one series.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::table::Endpoint;
use super::{Answer, Ask, aside, unknown};
use crate::model::action::ActionEvent;
use crate::sdk::incidents::Told;
use crate::warroom::edge::{self, News, Watched};
use crate::warroom::feed::{self, Subscription};
use crate::warroom::live::{Beat, Gone, Moved, Services};
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
            .tells::<Moved>("statuses")
            .tells::<Gone>("gone")
            .tells::<Beat>("beat")
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
        Some((feed::frame(None, "news", &news), receiver))
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
    let mut last = last.map(str::to_owned);
    let mut first = None;
    if !live.feed.knows(last.as_deref()) {
        // New, or gone for too long.
        let knows = live.clone();
        let all = aside(move || knows.first(&knowledge)).await?;
        (first, last) = (Some(all.frame), Some(all.id));
    }
    let subscription = live.feed.subscribe(last.as_deref());
    let subscription = subscription.ok_or_else(|| Problem::overloaded("too many streams are open"))?;
    let Subscription { missed, news, place } = subscription;
    let missed = missed.ok_or_else(|| Problem::overloaded("too much happens at once"))?;
    let missed = missed.into_iter().map(|event| event.frame.clone());
    let begin = stream::iter(first.into_iter().chain(missed).collect::<Vec<_>>());
    let rest = stream::unfold((news, place), |(mut news, place)| async move {
        match news.recv().await {
            Ok(event) => Some((event.frame.clone(), (news, place))),
            // It comes back and says what it had last.
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    Ok(answer(begin.chain(rest)))
}

/// Server-sent events, each as [`feed::frame`] makes it.
fn answer(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}
