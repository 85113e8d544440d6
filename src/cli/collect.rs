//! `ops collect`: readings from outside. What scraping is told is in [`super::collect_scrape`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::collect_scrape::ScrapeArgs;
use crate::cli::config::Config;
use crate::cli::connect::Connect;
use crate::cli::stop::StopSignal;
use crate::telemetry::collector::CollectorMetrics;
use crate::telemetry::http::Server;

/// Scrape the targets of registered sensors (scrape_url) and publish their readings.
///
/// Start as many as you like, each with its own --instance: they share the targets. When one dies, the others take its
/// targets over within seconds; when one ends in order, at once. How targets are shows `ops status`.
///
/// Public addresses alone are asked, and those inside that `[collect] allow` in ops.toml names.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops collect --instance c1 --metrics 127.0.0.1:9465\n  ops collect --try scanner.ops.yaml"
)]
pub struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Configuration; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9465")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    scrape: ScrapeArgs,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What the collector cannot mend by itself.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let config = Config::load(args.config.as_deref())?.collect;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(answer) = args.scrape.try_out(&config, &runtime) {
        return answer;
    }
    let stop = StopSignal::install()?;
    let (bus, topics) = args.connect.reach("ops-collector")?;
    let metrics = Arc::new(CollectorMetrics::default());
    let server = args.metrics.map(|address| {
        Server::start(address, metrics.clone()).with_context(|| format!("cannot serve metrics on {address}"))
    });
    let _server = server.transpose()?;
    let collector = args.scrape.start(config, bus, topics, metrics, runtime.handle().clone())?;
    stop.wait_until(|| collector.is_finished());
    collector.stop()?;
    Ok(true)
}
