//! The receivers of `ops collect` on this port too: the same router, begun when somebody sends for the first time. A
//! war room that nobody sends to needs no producer and follows no catalog of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::Desk;
use super::table::Endpoint;
use crate::collect::receive::{self, emit::Delivered};
use crate::telemetry::receiver::ReceiverMetrics;
use crate::warroom::Options;
use crate::web::{Gate, Problem, Right};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/emit", pass, "Readings as JSON: one object, an array of them, or an object a line")
            .leads_to(Right::Emit)
            .takes_any(&["application/json", "application/x-ndjson"])
            .sends::<Delivered>(),
        Endpoint::post("/api/v1/write", pass, "Prometheus remote write, 1.0 and 2.0, in a snappy block")
            .leads_to(Right::Emit)
            .takes_any(&["application/x-protobuf"])
            .sends_other("application/json"),
        Endpoint::post(
            "/v1/metrics",
            pass,
            "OTLP over HTTP; refusals are a google.rpc.Status, as that protocol wants it",
        )
        .leads_to(Right::Emit)
        .takes_any(&["application/x-protobuf", "application/json"])
        .sends_other("application/x-protobuf"),
    ]
}

/// The receivers, once somebody has sent something.
pub(super) struct Receivers {
    router: OnceCell<TowerToHyperService<Router>>,
    gate: Gate,
    begin: Box<dyn Fn() -> receive::Options + Send + Sync>,
}

impl Receivers {
    pub(super) fn new(options: &Options, gate: Gate, metrics: Arc<ReceiverMetrics>) -> Self {
        let (settings, topics, address) = (options.settings.clone(), options.topics.clone(), options.address);
        let mapping = options.mapping.clone();
        let begin = Box::new(move || receive::Options {
            mapping: mapping.clone(),
            metrics: metrics.clone(),
            ..receive::Options::new(settings.clone(), topics.clone(), address)
        });
        Self { router: OnceCell::new(), gate, begin }
    }

    async fn router(&self) -> Result<&TowerToHyperService<Router>, Problem> {
        let begin = || async {
            let (options, gate) = ((self.begin)(), self.gate.clone());
            let begun = spawn_blocking(move || receive::router(options, gate)).await;
            let begun = begun.map_err(|_| Problem::internal("the receivers were not begun"))?;
            begun.map(TowerToHyperService::new).map_err(|error| Problem::unavailable(error.to_string()))
        };
        self.router.get_or_try_init(begin).await
    }
}

async fn pass(State(desk): State<Desk>, request: Request) -> Response {
    match desk.receivers.router().await {
        Ok(router) => router.call(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => problem.into_response(),
    }
}
