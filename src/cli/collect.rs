//! `ops collect`: readings that no client of ours has sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::bus::courier::Limits;
use crate::cli::config::Config;
use crate::cli::connect::Connect;
use crate::cli::stop::StopSignal;
use crate::collect::receive::{Options, Receiver};
use crate::telemetry::http;
use crate::telemetry::receiver::ReceiverMetrics;

/// Receive readings over HTTP: JSON (POST /api/v1/emit), Prometheus remote write 1.0 and 2.0 (POST /api/v1/write),
/// OTLP (POST /v1/metrics).
///
/// A request is answered with success only when Kafka has acknowledged all of it. Which of the names and labels of others
/// are whose sensors stands under [receive] in ops.toml, who may send under [[tokens]].
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops collect --listen 127.0.0.1:9009\n  ops collect --listen 0.0.0.0:9009 --config ops.toml --metrics"
)]
pub struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Configuration; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Receive here. Without tokens only on loopback; no TLS: that is for what stands in front.
    #[arg(long, env = "OPS_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Threads that answer requests.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// After so long without an acknowledgement of Kafka's a request is answered with 503, s.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=300))]
    patience: u64,
    /// Readings that may wait for Kafka at once; a request that goes beyond is answered with 429.
    #[arg(long, default_value_t = 500_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_under_way: u64,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9465")]
    metrics: Option<SocketAddr>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// It cannot start.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let Some(address) = args.listen else { bail!("nothing to collect: give --listen ADDRESS to receive over HTTP") };
    let stop = StopSignal::install()?;
    let config = Config::load(args.config.as_deref())?;
    let tokens = config.tokens(|name| std::env::var(name).ok())?;
    let (settings, topics) = args.connect.reach("ops-collect")?;
    let metrics = Arc::new(ReceiverMetrics::default());
    let options = Options::new(settings, topics, address);
    let load = Limits { records: args.max_under_way, patience: Duration::from_secs(args.patience), ..options.load };
    let mapping = config.receive;
    let receiver = Receiver::start(Options {
        threads: args.threads.into(),
        tokens,
        mapping,
        load,
        metrics: metrics.clone(),
        ..options
    })?;
    // Only now: what serves metrics is ready.
    let server = args
        .metrics
        .map(|address| http::start(address, metrics).with_context(|| format!("cannot serve metrics on {address}")));
    let _server = server.transpose()?;
    stop.wait_until(|| false);
    drop(receiver);
    Ok(true)
}
