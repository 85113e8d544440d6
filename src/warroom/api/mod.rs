//! The paths under `/api/v1`: what is read, and the little that a human may do. Every answer says `now`, every service
//! `as_of` and `quality`; what is refused is a problem document.
//!
//! - [`table`]: what is served: the one list that the router and [`openapi`], its description, are made of.
//! - [`login`]: who asks. [`services`], [`incidents`], [`actions`]: what is known of each, and the freeze.
//!   [`approvals`]: what waits for a human.
//! - [`explain`], [`archive`]: an incident computed again, and as the vault holds it.
//! - [`stream`]: what is new, as server-sent events. [`receive`], [`register`]: what is written.
//!
//! This file holds what all of them share: who asks, and how an answer is made.

mod actions;
mod approvals;
mod archive;
mod explain;
mod incidents;
mod login;
mod openapi;
mod receive;
mod register;
mod services;
mod stream;
mod table;

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::Options;
use super::live::{Knowledge, Live};
use crate::model::ServiceId;
use crate::sdk::{self, UnknownService};
use crate::telemetry::receiver::ReceiverMetrics;
use crate::web::gate::must_mean_it;
use crate::web::{Caller, Gate, Problem};
use receive::Receivers;

/// Requests that read logs or archives for seconds, at once.
const SLOW: usize = 2;

/// The longest reason that a human gives, characters: it goes on the record.
const REASON: usize = 500;

type Answer = Result<Response, Problem>;

/// What all handlers share.
#[derive(Clone)]
pub struct Desk {
    live: Arc<Live>,
    gate: Gate,
    slow: Arc<Semaphore>,
    receivers: Arc<Receivers>,
    options: Arc<Options>,
}

impl Desk {
    /// Nobody has asked for anything yet.
    pub fn new(live: Arc<Live>, gate: Gate, metrics: Arc<ReceiverMetrics>, options: Options) -> Self {
        let receivers = Arc::new(Receivers::new(&options, gate.clone(), metrics));
        Self { live, gate, slow: Arc::new(Semaphore::new(SLOW)), receivers, options: Arc::new(options) }
    }

    /// A place for work that takes seconds; the work keeps it, whether or not somebody still waits for the answer.
    ///
    /// # Errors
    /// 429: all are taken.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.slow.clone().try_acquire_owned();
        place.map_err(|_| Problem::overloaded("others are having incidents computed or looked up"))
    }
}

impl FromRef<Desk> for Arc<Live> {
    fn from_ref(desk: &Desk) -> Self {
        desk.live.clone()
    }
}

/// All of them, each behind its gate.
pub fn router(desk: Desk) -> Router {
    table::router(table::endpoints(), &desk.gate).with_state(desk)
}

/// How every request begins: who asks, of what, and how.
struct Ask {
    caller: Caller,
    live: Arc<Live>,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Ask
where
    Arc<Live>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self { caller, live: Arc::<Live>::from_ref(state), headers: parts.headers.clone() })
    }
}

impl Ask {
    /// What is known.
    ///
    /// # Errors
    /// 503: the topics were not read once yet.
    fn knowledge(&self) -> Result<Arc<Knowledge>, Problem> {
        self.live.knowledge().ok_or_else(|| Problem::unavailable("the topics are not read yet"))
    }

    /// The JSON, with the version of all that is known; to who has that version already, only that.
    fn answer(&self, body: &impl Serialize) -> Answer {
        let version = format!("W/\"{}\"", self.live.feed.version());
        let tag = HeaderValue::from_str(&version).map_err(|_| Problem::internal("the version is no header"))?;
        let has =
            |value: &HeaderValue| value.to_str().is_ok_and(|text| text.split(',').any(|tag| tag.trim() == version));
        let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if self.headers.get(header::IF_NONE_MATCH).is_some_and(has) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        Ok((headers, Json(body)).into_response())
    }
}

/// May this stand on the record as a reason?
fn is_one_line(reason: &str) -> bool {
    reason.chars().count() <= REASON && !reason.chars().any(char::is_control)
}

/// The caller, for the record.
fn who(caller: &Caller) -> String {
    format!("war room: {}", caller.name().unwrap_or("somebody on this machine"))
}

/// Which of a list are wanted.
#[derive(Deserialize, JsonSchema)]
struct ListQuery {
    /// Of this service alone.
    service: Option<String>,
    /// Of incidents.
    state: Option<Stage>,
    /// At most so many: 200 unless it is given, at most 5,000.
    limit: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq)]
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

fn unknown(error: &UnknownService) -> Problem {
    let problem = Problem::not_found(error.to_string());
    error.near.iter().fold(problem, |problem, near| problem.with("near", near.as_str()))
}

fn failed(error: &sdk::Error) -> Problem {
    tracing::warn!(%error, "a request could not be answered");
    Problem::unavailable(error.to_string())
}

/// Work that takes its time, away from the threads that answer.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|_| Problem::internal("the work was not finished"))
}
