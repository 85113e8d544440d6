//! What receiving is told: the flags of `ops collect --listen`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use crate::bus::Settings;
use crate::bus::courier::Limits;
use crate::collect::receive::{Options, Receiver};
use crate::model::topics::Topics;
use crate::telemetry::receiver::ReceiverMetrics;

/// See the module.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Receiving over HTTP")]
pub struct ReceiveArgs {
    /// Receive here: JSON (POST /api/v1/emit), Prometheus remote write 1.0 and 2.0 (POST /api/v1/write), OTLP (POST
    /// /v1/metrics). Without tokens only on loopback; no TLS: that is for what stands in front.
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
}

impl ReceiveArgs {
    /// Is anything to be received?
    pub fn is_wanted(&self) -> bool {
        self.listen.is_some()
    }

    /// Starts to receive, if that is wanted.
    ///
    /// # Errors
    /// See [`Receiver::start`]; a token that is not there.
    pub fn start(
        &self,
        config: &Config,
        settings: Settings,
        topics: Topics,
        metrics: Arc<ReceiverMetrics>,
    ) -> anyhow::Result<Option<Receiver>> {
        let Some(address) = self.listen else { return Ok(None) };
        let tokens = config.tokens(|name| std::env::var(name).ok())?;
        let options = Options::new(settings, topics, address);
        let load = Limits { records: self.max_under_way, patience: Duration::from_secs(self.patience), ..options.load };
        let (threads, mapping) = (self.threads.into(), config.receive.clone());
        Ok(Some(Receiver::start(Options { threads, tokens, mapping, load, metrics, ..options })?))
    }
}
