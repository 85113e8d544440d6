//! `ops act archiver`: the archiver as a service.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::actors::archiver::{self, GROUP, Options};
use crate::cli::connect::Connect;
use crate::cli::metrics;
use crate::cli::stop::StopSignal;
use crate::telemetry::archiver::ArchiverMetrics;
use crate::vault::archive::Limits;

/// Keep every record of ops.incidents and ops.actions in the vault, byte for byte.
///
/// Goes on where the vault ends, whatever the group has committed. While the vault's disk is full or read-only,
/// nothing is acknowledged and nothing is lost: it tries until there is room.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  ops act archiver --vault /var/lib/ops/vault\n  ops dta find --vault /var/lib/ops/vault"
)]
pub struct Args {
    /// Consumer group; also begins the transactional ids.
    #[arg(long, env = "OPS_ARCHIVER_GROUP", default_value = GROUP)]
    group: String,
    /// Name of this process in the group: unique, and the same after a restart.
    #[arg(long, env = "OPS_INSTANCE", default_value = "0")]
    instance: String,
    /// The vault's directory, or a file:// URL; made if it is not there.
    #[arg(long, env = "OPS_VAULT", default_value = "./vault", value_name = "DIR")]
    vault: String,
    /// How old the first record of a segment may become before the segment is written, ms.
    #[arg(long, env = "OPS_SEGMENT_AGE_MS", default_value_t = Limits::default().max_age_ms, value_parser = clap::value_parser!(i64).range(1..=3_600_000))]
    segment_age_ms: i64,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9468")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    connect: Connect,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What the archiver cannot mend by itself.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let stop = StopSignal::install()?;
    let (settings, topics) = args.connect.reach("ops-archiver")?;
    let numbers = Arc::new(ArchiverMetrics::default());
    let _server = metrics::serve(args.metrics, numbers.clone())?;
    let archiver = archiver::start(Options {
        settings,
        topics,
        group: args.group.clone(),
        instance: args.instance.clone(),
        vault_dir: args.vault.clone(),
        limits: Limits { max_age_ms: args.segment_age_ms, ..Limits::default() },
        metrics: numbers,
    })?;
    stop.wait_until(|| archiver.is_finished());
    archiver.stop()?;
    Ok(true)
}
