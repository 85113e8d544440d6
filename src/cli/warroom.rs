//! `ops warroom`: how the fleet is, over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use super::config::Config;
use super::connect::Connect;
use super::stop::StopSignal;
use crate::warroom::{Options, WarRoom};

/// Serve how the fleet is over HTTP: /api/v1/services, incidents, actions, and a stream of what is new.
///
/// Without tokens it listens on loopback alone, and whoever reaches it may do everything; with them a browser logs in by one.
/// It also takes readings as `ops collect --listen` does. /api/v1/openapi.json describes all of it; /healthz says that it
/// lives, /readyz that the topics are followed, /metrics its own numbers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  ops warroom
  ops warroom --vault ./vault
  curl -s http://127.0.0.1:8080/api/v1/services | jq '.services[] | {service, slo_state, quality, as_of}'
  curl -sN http://127.0.0.1:8080/api/v1/stream")]
pub struct Args {
    /// Where it listens; port 0 takes a free one, which is printed.
    #[arg(long, env = "OPS_WARROOM", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Configuration, for [[tokens]], [receive] and the networks of [collect]; ops.toml if there is one here.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The vault, so that an incident's page shows what of it is archived: a directory, or a file:// URL.
    #[arg(long, env = "OPS_VAULT", value_name = "DIR")]
    vault: Option<String>,
    /// Consumer group of the processors.
    #[arg(long, env = "OPS_PROCESSOR_GROUP", default_value = "ops-processor")]
    group: String,
    #[command(flatten)]
    connect: Connect,
}

/// Runs until it is told to stop.
///
/// # Errors
/// The address is taken; anybody could reach it and there is no token; no cluster.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let stop = StopSignal::install()?;
    let config = Config::load(args.config.as_deref())?;
    let tokens = config.tokens(|name| std::env::var(name).ok())?;
    let (settings, topics) = args.connect.reach("ops-warroom")?;
    let options = Options {
        tokens,
        vault: args.vault.clone(),
        group: args.group.clone(),
        mapping: config.receive,
        networks: config.collect.allow,
        ..Options::new(settings, topics, args.listen)
    };
    let room = WarRoom::start(options).with_context(|| format!("cannot serve the war room on {}", args.listen))?;
    println!("http://{}", room.address());
    stop.wait_until(|| false);
    Ok(true)
}
