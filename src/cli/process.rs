//! `ops process`: the processor as a service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::connect::Connect;
use crate::cli::metrics;
use crate::cli::stop::StopSignal;
use crate::processor::{Processor, ProcessorOptions};
use crate::telemetry::processor::ProcessorMetrics;

/// Turn readings on ops.metrics into incidents on ops.incidents, exactly once.
///
/// Start as many as you like, each with its own --instance: they share the partitions. One that restarts under its
/// name takes its own place; one that is killed is replaced after its session (6 s).
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  ops topics apply && ops process --workers 2")]
pub struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Consumer group; also begins the transactional ids.
    #[arg(long, env = "OPS_PROCESSOR_GROUP", default_value = "ops-processor")]
    group: String,
    /// Name of this process in the group: unique, and the same after a restart.
    #[arg(long, env = "OPS_INSTANCE", default_value = "0")]
    instance: String,
    /// Threads; each has its own share of the partitions.
    #[arg(long, env = "OPS_WORKERS", default_value_t = 1)]
    workers: usize,
    /// The longest time between two commits while there is something to commit, ms.
    #[arg(long, env = "OPS_COMMIT_INTERVAL_MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    commit_interval_ms: u64,
    /// Start a partition's services anew where offset, state and log do not fit together: open incidents are closed,
    /// generations go on.
    #[arg(long)]
    accept_gap: bool,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    metrics: Option<SocketAddr>,
    /// Take append times that producers made up (message.timestamp.type=CreateTime); no ticks then. For tests.
    #[arg(long, hide = true)]
    simulated_time: bool,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What the processor cannot mend by itself.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let stop = StopSignal::install()?;
    take_small_pages();
    let (settings, topics) = args.connect.reach("ops-processor")?;
    let metrics = Arc::new(ProcessorMetrics::default());
    let _server = metrics::serve(args.metrics, metrics.clone())?;
    let processor = Processor::start(ProcessorOptions {
        group: args.group.clone(),
        instance: args.instance.clone(),
        workers: args.workers,
        commit_interval: Duration::from_millis(args.commit_interval_ms),
        accept_gap: args.accept_gap,
        simulated_time: args.simulated_time,
        metrics,
        ..ProcessorOptions::new(settings, topics)
    })?;
    stop.wait_until(|| processor.is_finished());
    processor.stop()?;
    Ok(true)
}

/// Memory in pages of 4 KiB alone: the small things that a window is made of leave much of a huge page empty. Saves a
/// quarter of all memory with 10,000 series, and costs no time that could be measured.
fn take_small_pages() {
    // SAFETY: no memory is touched.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
        tracing::debug!("this system decides about the size of pages itself");
    }
}
