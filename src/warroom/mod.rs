//! The war room: how the fleet is, over HTTP. Reads what the processor and the actors have published and shows it;
//! judges nothing. What a human may do from here (freeze, thaw, approve, deny, register) goes the way of the commands, through
//! [`crate::sdk`], and what is received the way of `ops collect`, through [`crate::collect::receive`].
//!
//! - [`live`]: follows the topics on a thread of its own; many may read what it knows.
//! - [`feed`]: tells every open stream what is new; a stream that was cut off goes on where it was.
//! - [`edge`]: the newest readings of one series and its window, for a graph.
//! - [`assets`]: the pages.
//! - [`api`]: the paths under `/api/v1`, and who may ask for them.
//!
//! Started by `ops warroom`.

pub mod api;
mod assets;
pub mod edge;
pub mod feed;
pub mod live;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::bus::Settings;
use crate::collect::receive::{self, mapping::Mapping};
use crate::model::network::Networks;
use crate::model::topics::Topics;
use crate::telemetry::http::Source;
use crate::telemetry::receiver::ReceiverMetrics;
use crate::web::gate::Exposed;
use crate::web::{Gate, Limits, Server, Tokens};
use crate::{telemetry, web};
use api::Desk;
use live::{Follower, Live};

/// Streams and requests at once; what is beyond them is told to come again.
const CONNECTIONS: usize = 2048;
/// Threads that answer.
const THREADS: usize = 2;

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Anybody could do anything.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// The address is taken, or there is no thread.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What receivers are told makes no sense.
    #[error("{0}")]
    Mapping(String),
}

/// How a war room is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub settings: Settings,
    /// Its topics.
    pub topics: Topics,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may do what; none: whoever is on this machine, everything.
    pub tokens: Tokens,
    /// The archive, as `ops dta` takes it; none: it is not shown.
    pub vault: Option<String>,
    /// Consumer group of the processors, whose offsets say how far an incident can be computed again.
    pub group: String,
    /// Names and labels of others, for what is received.
    pub mapping: Mapping,
    /// Networks inside to which a `scrape_url` of what is registered may lead.
    pub networks: Networks,
}

impl Options {
    /// No tokens, no archive, the usual group.
    pub fn new(settings: Settings, topics: Topics, address: SocketAddr) -> Self {
        Self {
            settings,
            topics,
            address,
            tokens: Tokens::default(),
            vault: None,
            group: "ops-processor".to_owned(),
            mapping: Mapping::default(),
            networks: Networks::default(),
        }
    }
}

/// A running war room; ends when it is dropped.
pub struct WarRoom {
    // Streams end with the follower; then the server has nothing to wait for.
    _follower: Follower,
    server: Server,
}

/// Counts what is answered.
async fn count(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    live.answers.count(response.status().as_u16());
    response
}

impl WarRoom {
    /// Listens at once; what needs the cluster is answered when its topics are read, [`crate::telemetry::http`] says
    /// whether they are.
    ///
    /// # Errors
    /// [`Exposed`]; the address is taken.
    pub fn start(options: Options) -> Result<Self, Error> {
        options.mapping.check().map_err(Error::Mapping)?;
        let address = options.address;
        let gate = Gate::new(address, options.tokens.clone())?;
        let live = Arc::new(Live::new(&options.settings, &options.topics));
        let metrics = Arc::new(ReceiverMetrics::default());
        let own: Vec<Arc<dyn Source>> = vec![live.clone(), metrics.clone()];
        let router = api::router(Desk::new(live.clone(), gate, metrics, options));
        let router = router.merge(telemetry::http::router(Arc::new(own))).merge(assets::router());
        let router = router.layer(from_fn_with_state(live.clone(), count));
        let limits = Limits { connections: CONNECTIONS, ..receive::limits() };
        let options = web::Options { threads: THREADS, limits, ..web::Options::new("war room", address) };
        let server = Server::start(options, router)?;
        Ok(Self { _follower: Follower::start(live)?, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
