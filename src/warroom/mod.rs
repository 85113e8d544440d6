//! The war room: how the fleet is, over HTTP. Reads what the processor and the actors have published and shows it;
//! judges nothing. What a human may do from here (freeze, thaw, approve, deny) goes the way of the commands, through [`crate::sdk`].
//!
//! - [`live`]: follows the topics on a thread of its own; many may read what it knows.
//! - [`feed`]: tells every open stream what is new; a stream that was cut off goes on where it was.
//! - [`edge`]: the newest readings of one series and its window, for a graph.
//! - [`assets`]: the pages.
//! - [`api`]: the paths under `/api/v1`, and who may ask for them; [`approvals`]: those of what waits for a human.
//!
//! Started by `ops warroom`.

pub mod api;
pub mod approvals;
mod assets;
pub mod edge;
pub mod feed;
pub mod live;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::bus::Settings;
use crate::model::topics::Topics;
use crate::telemetry;
use crate::web::gate::Exposed;
use crate::web::{Gate, Limits, Options, Server, Tokens};
use live::{Follower, Live};

/// Streams and requests at once; what is beyond them waits to be taken.
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
}

/// A running war room; ends when it is dropped.
pub struct WarRoom {
    // Streams end with the follower; then the server has nothing to wait for.
    _follower: Follower,
    server: Server,
}

impl WarRoom {
    /// Listens at once; what needs the cluster is answered when its topics are read, [`crate::telemetry::http`] says
    /// whether they are.
    ///
    /// # Errors
    /// [`Exposed`]; the address is taken.
    pub fn start(settings: &Settings, topics: &Topics, address: SocketAddr, tokens: Tokens) -> Result<Self, Error> {
        let gate = Gate::new(address, tokens)?;
        let live = Arc::new(Live::new(settings, topics));
        let router = gate.protect(api::router(live.clone())).merge(telemetry::http::router(live.clone()));
        let router = router.merge(assets::router());
        let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
        let options = Options { threads: THREADS, limits, ..Options::new("war room", address) };
        let server = Server::start(options, router)?;
        Ok(Self { _follower: Follower::start(live)?, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
