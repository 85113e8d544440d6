//! `--metrics ADDRESS` of every service: its numbers over HTTP, beside what it does.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;

use crate::telemetry::http::{self, Source};
use crate::web::Server;

/// Serves `source` for as long as the answer lives, if an address was given.
///
/// # Errors
/// The address is taken, or none of this machine.
pub fn serve(address: Option<SocketAddr>, source: Arc<dyn Source>) -> anyhow::Result<Option<Server>> {
    let start = |address| http::start(address, source).with_context(|| format!("cannot serve metrics on {address}"));
    address.map(start).transpose()
}
