//! `ops collect`: readings that no client of ours has sent. What scraping is told is in [`super::collect_scrape`], what
//! receiving is told in [`super::collect_receive`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;

use super::collect_receive::ReceiveArgs;
use super::collect_scrape::ScrapeArgs;
use crate::cli::config::Config;
use crate::cli::connect::Connect;
use crate::cli::metrics;
use crate::cli::stop::StopSignal;
use crate::telemetry::collector::CollectorMetrics;
use crate::telemetry::http::Source;
use crate::telemetry::receiver::ReceiverMetrics;

/// Scrape the targets of registered sensors (scrape_url), and with --listen receive readings over HTTP.
///
/// Start as many as you like, each with its own --instance: they share the targets. When one dies, the others take its
/// targets over within seconds; when one ends in order, at once. How targets are shows `ops status`. Public addresses alone
/// are asked, and those inside that `[collect] allow` in ops.toml names.
///
/// What is received is answered with success only when Kafka has acknowledged all of it. Which of the names and labels of
/// others are whose sensors stands under [receive] in ops.toml, who may send under [[tokens]].
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  ops collect --instance c1 --metrics
  ops collect --listen 127.0.0.1:9009                    scrapes and receives
  ops collect --listen 0.0.0.0:9009 --no-scrape --config ops.toml
  ops collect --try scanner.ops.yaml                     one look at what would be scraped")]
pub struct Args {
    #[command(flatten)]
    connect: Connect,
    /// Configuration; ./ops.toml if there is one.
    #[arg(long, env = "OPS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve /metrics, /healthz and /readyz here: no login and no TLS, so on loopback unless another address is given.
    #[arg(long, env = "OPS_METRICS", value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9465")]
    metrics: Option<SocketAddr>,
    /// Scrape nothing.
    #[arg(long)]
    no_scrape: bool,
    #[command(flatten)]
    scrape: ScrapeArgs,
    #[command(flatten)]
    receive: ReceiveArgs,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What it cannot mend by itself.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    if args.no_scrape && !args.receive.is_wanted() {
        bail!("nothing to collect: leave --no-scrape out, or give --listen ADDRESS to receive over HTTP");
    }
    let config = Config::load(args.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(answer) = args.scrape.try_out(&config.collect, &runtime) {
        return answer;
    }
    let stop = StopSignal::install()?;
    let (bus, topics) = args.connect.reach("ops-collect")?;
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    let received = Arc::new(ReceiverMetrics::default());
    let receiver = args.receive.start(&config, bus.clone(), topics.clone(), received.clone())?;
    if receiver.is_some() {
        sources.push(received);
    }
    let mut collector = None;
    if !args.no_scrape {
        let metrics = Arc::new(CollectorMetrics::default());
        sources.push(metrics.clone());
        collector = Some(args.scrape.start(config.collect, bus, topics, metrics, runtime.handle().clone())?);
    }
    let _server = metrics::serve(args.metrics, Arc::new(sources))?;
    stop.wait_until(|| collector.as_ref().is_some_and(|collector| collector.is_finished()));
    drop(receiver);
    collector.map_or(Ok(()), |collector| collector.stop())?;
    Ok(true)
}
