//! The receivers: one HTTP service that takes readings from whatever speaks JSON, Prometheus remote write or OTLP.
//! Started by `ops collect --listen`; the war room has the same paths ([`router`]).
//!
//! ```text
//!  body -> unpack -> decode, sort ([`table`], [`cargo`]) -> courier -> all acknowledged? -> 2xx
//!                                                       \-> full: 429         \-> no: 503
//! ```
//!
//! Nothing of a request is sent before all of it is decoded, and it is answered with success only when the cluster has
//! acknowledged all that it gave. Whoever sends again after an error may double readings: at least once.
//!
//! - [`emit`]: `POST /api/v1/emit`; [`write`](mod@write): `POST /api/v1/write`; [`otlp`]: `POST /v1/metrics`.
//! - [`mapping`], [`table`]: names and labels of others -> service and sensor. [`wire`], [`squeeze`]: protobuf; unpacking.

pub mod cargo;
pub mod emit;
pub mod mapping;
pub mod otlp;
pub mod squeeze;
pub mod table;
pub mod wire;
pub mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use serde_json::json;
use tokio::time::timeout;

use crate::bus::courier::Limits as Load;
use crate::bus::{self, Courier, Offsets, Receipt, Record, Settings};
use crate::model::topics::Topics;
use crate::sdk::{self, Directory};
use crate::telemetry::receiver::ReceiverMetrics;
use crate::torture::{self, Sabotage};
use crate::web::{Gate, Limits, Problem, Server, Tokens, gate};
use cargo::Cargo;
use mapping::Mapping;
use table::Table;

/// The most failures that an answer names.
const NAMED: usize = 100;
/// The client reports what is too late a little later.
const LATE: Duration = Duration::from_secs(2);

/// How the receivers are started.
pub struct Options {
    /// The cluster.
    pub settings: Settings,
    /// Its topics.
    pub topics: Topics,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Threads that answer requests.
    pub threads: usize,
    /// Who may send; none: whoever is on this machine.
    pub tokens: Tokens,
    /// Names and labels of others.
    pub mapping: Mapping,
    /// What is on its way to the cluster at once, and for how long.
    pub load: Load,
    /// Where it counts.
    pub metrics: Arc<ReceiverMetrics>,
}

impl Options {
    /// One thread, no tokens, no rules, the usual limits.
    pub fn new(settings: Settings, topics: Topics, address: SocketAddr) -> Self {
        Self {
            settings,
            topics,
            address,
            threads: 1,
            tokens: Tokens::default(),
            mapping: Mapping::default(),
            load: Load { records: 500_000, bytes: 128 * 1024 * 1024, patience: Duration::from_secs(10) },
            metrics: Arc::default(),
        }
    }
}

/// Why the receivers cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster.
    #[error(transparent)]
    Sdk(#[from] sdk::Error),
    /// The cluster.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Anybody could send.
    #[error(transparent)]
    Exposed(#[from] gate::Exposed),
    /// The mapping makes no sense.
    #[error("{0}")]
    Mapping(String),
    /// It cannot listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// The running receivers; end when they are dropped, after the requests in hand.
pub struct Receiver {
    server: Server,
}

impl Receiver {
    /// Reads what is registered, and listens.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(options: Options) -> Result<Self, Error> {
        let gate = Gate::new(options.address, options.tokens.clone())?;
        let (address, threads) = (options.address, options.threads);
        let router = router(options, gate)?;
        let options =
            crate::web::Options { threads, limits: limits(), ..crate::web::Options::new("receiver", address) };
        let server = Server::start(options, router).map_err(|source| Error::Listen { address, source })?;
        tracing::info!(url = %format_args!("http://{}", server.address()), "readings are received");
        Ok(Self { server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// What a server stands that receives.
pub fn limits() -> Limits {
    Limits { body_bytes: 4 * 1024 * 1024, bodies_bytes: 256 * 1024 * 1024, ..Limits::default() }
}

/// The paths behind `gate`, for a server that has others too: reads what is registered first. Nothing is listened to;
/// `address`, `threads` and `tokens` are the server's business.
///
/// # Errors
/// The cluster does not answer; the mapping makes no sense.
pub fn router(options: Options, gate: Gate) -> Result<Router, Error> {
    let Options { settings, topics, mapping, load, metrics, .. } = options;
    mapping.check().map_err(Error::Mapping)?;
    let partitions = Offsets::new(&settings)?.partitions(&topics.metrics)?;
    let directory = Directory::follow(&settings, &topics)?;
    let table = Mutex::new(Table::new(mapping, partitions, directory.catalog()));
    let courier = Courier::new(&settings, load)?;
    let shared = Arc::new(Shared { courier, directory, table, topic: topics.metrics, partitions, load, metrics });
    let ours = Router::new().route("/api/v1/emit", post(emit::emit)).route("/api/v1/write", post(write::write));
    let otlp = gate.clone().protect(Router::new().route("/v1/metrics", post(otlp::export)));
    let router = gate.protect(ours).merge(otlp.layer(from_fn(otlp::as_status)));
    Ok(router.layer(from_fn_with_state(shared.clone(), count)).with_state(shared))
}

/// What all requests share.
struct Shared {
    courier: Courier,
    directory: Directory,
    table: Mutex<Table>,
    topic: String,
    partitions: i32,
    load: Load,
    metrics: Arc<ReceiverMetrics>,
}

impl Shared {
    /// The table, by the catalog of now.
    fn table(&self) -> MutexGuard<'_, Table> {
        let catalog = self.directory.catalog();
        // A panic while it was held leaves at most a route that is missing.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.follow(catalog);
        table
    }

    /// Sends all of it and waits until all of it is acknowledged.
    ///
    /// # Errors
    /// 429 if too much is on its way: nothing was sent. 503 if the cluster has not acknowledged all of it in time: says
    /// what was, and which were not. 413 if it is more than can ever be on its way.
    async fn deliver(&self, cargo: Cargo) -> Result<(), Problem> {
        let (records, bytes) = (cargo.len() as u64, cargo.bytes() as u64);
        if records > self.load.records || bytes > self.load.bytes {
            return Err(Problem::too_large(usize::try_from(self.load.bytes).unwrap_or(usize::MAX)));
        }
        let parcel = self.courier.open(records, bytes);
        let parcel =
            parcel.map_err(|_| Problem::overloaded("the cluster has not acknowledged what was sent before"))?;
        for (index, (service, partition, value)) in (0..).zip(cargo.iter()) {
            let key = Some(service.as_str().as_bytes());
            let record = Record { topic: &self.topic, partition, key, value: Some(value), ..Record::default() };
            self.courier.send(&record, index, &parcel);
        }
        if torture::is_without(Sabotage::AnswerBeforeAcknowledged) {
            return Ok(());
        }
        let receipt = match timeout(self.load.patience + LATE, parcel.wait()).await {
            Ok(receipt) => receipt,
            Err(_) => parcel.receipt(),
        };
        self.metrics.delivered(receipt.delivered, receipt.failed.len() as u64 + receipt.pending);
        if !receipt.is_complete() {
            return Err(undelivered(&receipt));
        }
        cargo.settle();
        Ok(())
    }
}

fn undelivered(receipt: &Receipt) -> Problem {
    let Receipt { delivered, failed, pending } = receipt;
    let all = delivered + failed.len() as u64 + pending;
    let named: Vec<_> =
        failed.iter().take(NAMED).map(|failure| json!({"index": failure.index, "reason": failure.reason})).collect();
    Problem::unavailable(format!("the cluster has acknowledged {delivered} of {all} readings"))
        .with("delivered", *delivered)
        .with("undelivered", failed.len() as u64 + pending)
        .with("failed", named)
}

/// Counts every request, whatever becomes of it.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = match request.uri().path() {
        "/api/v1/emit" => "emit",
        "/api/v1/write" => "write",
        "/v1/metrics" => "otlp",
        _ => "other",
    };
    let response = next.run(request).await;
    shared.metrics.answered(path, response.status().as_u16(), began.elapsed());
    shared.metrics.under_way(shared.courier.load());
    response
}
