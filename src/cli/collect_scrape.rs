//! What `ops collect` is told of scraping: flags, `[collect]` of `ops.toml`, and `--try`, which scrapes the targets of a
//! file once and publishes nothing.
//!
//! ```toml
//! [collect]
//! allow = ["10.0.0.0/8", "127.0.0.1/32:9100", "[fd00::/8]:9100"]   # networks inside that may be asked, and ports
//! group = "ops-collector"
//! ```
//!
//! Addresses at which clouds keep their metadata are allowed only by an entry within them, never by a wider one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::runtime::{Handle, Runtime};

use super::check;
use crate::bus::{Member, Settings};
use crate::collect::scrape::job::{Definition, Job, Scraped};
use crate::collect::scrape::{Collector, GROUP, Options};
use crate::model::network::Networks;
use crate::model::spec::{Sensor, Spec, Take};
use crate::model::topics::Topics;
use crate::spec::diagnose::{self, harmless};
use crate::spec::{self, Checked, Finding, Findings};
use crate::telemetry::collector::CollectorMetrics;

/// The longest pause before the second scrape of `--try`, which rates and quantiles need.
const SECOND: Duration = Duration::from_secs(5);

/// `[collect]` of `ops.toml`; see the module.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Networks inside to which a `scrape_url` may lead.
    pub allow: Networks,
    /// Consumer group.
    pub group: Option<String>,
}

/// Flags of scraping.
#[derive(clap::Args, Debug)]
pub struct ScrapeArgs {
    /// Consumer group [default: ops-collector].
    #[arg(long, env = "OPS_COLLECTOR_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// Name of this process in the group: unique, and the same after a restart.
    #[arg(long, env = "OPS_INSTANCE", default_value = "0")]
    instance: String,
    /// Scrape the targets of this spec now, show what would be published, and publish nothing: no broker is needed.
    #[arg(long = "try", value_name = "FILE")]
    file: Option<PathBuf>,
    /// With --try: one JSON object a sensor and line.
    #[arg(long, requires = "file")]
    json: bool,
}

impl ScrapeArgs {
    /// Starts to scrape.
    ///
    /// # Errors
    /// See [`Collector::start`].
    pub fn start(
        &self,
        config: CollectConfig,
        bus: Settings,
        topics: Topics,
        metrics: Arc<CollectorMetrics>,
        runtime: Handle,
    ) -> anyhow::Result<Collector> {
        let group = self.group.clone().or(config.group).unwrap_or_else(|| GROUP.to_owned());
        let member = Member { group, instance: self.instance.clone() };
        Ok(Collector::start(Options { bus, topics, member, networks: config.allow, metrics, runtime })?)
    }

    /// `--try`, if that was asked for: are all targets up?
    pub fn try_out(&self, config: &CollectConfig, runtime: &Runtime) -> Option<anyhow::Result<bool>> {
        self.file.as_deref().map(|file| try_out(file, self.json, &config.allow, runtime))
    }
}

fn try_out(file: &Path, json: bool, networks: &Networks, runtime: &Runtime) -> anyhow::Result<bool> {
    let bytes = check::read(file)?;
    let show = |findings: &[Finding]| {
        let (colour, text) = (super::colour(&io::stderr()), String::from_utf8_lossy(&bytes));
        let name = file.to_string_lossy();
        findings.iter().for_each(|finding| eprint!("{}", diagnose::render(&name, &text, finding, colour)));
    };
    let spec = match spec::lint_bytes(&bytes, networks) {
        Ok(Checked { spec, warnings }) => {
            show(&warnings);
            spec
        }
        Err(Findings(findings)) => {
            show(&findings);
            return Ok(false);
        }
    };
    let networks = Arc::new(networks.clone());
    let mut out = io::stdout().lock();
    let mut all_up = true;
    for definition in Definition::of(&spec) {
        let mut job = Job::new(definition);
        let scraped = runtime.block_on(twice_if_need_be(&mut job, &networks));
        for (sensor, result) in job.definition().sensors.iter().zip(&scraped.results) {
            all_up &= result.is_ok();
            let line =
                if json { line_json(&spec, sensor, &job, &scraped, result) } else { line_text(sensor, &job, result) };
            writeln!(out, "{line}")?;
        }
    }
    if spec.sensors.iter().all(|sensor| sensor.scrape_url.is_none()) {
        eprintln!("no sensor of {} has a scrape_url", spec.id);
    }
    Ok(all_up)
}

/// Scrapes; a second time where two pages are needed.
async fn twice_if_need_be(job: &mut Job, networks: &Arc<Networks>) -> Scraped {
    let first = job.scrape(networks).await;
    if job.definition().sensors.iter().all(|sensor| sensor.take == Take::Value) {
        return first;
    }
    tokio::time::sleep(job.definition().interval.min(SECOND)).await;
    job.scrape(networks).await
}

type Found = Result<Option<crate::collect::scrape::take::Taken>, crate::collect::scrape::down::Down>;

fn line_text(sensor: &Sensor, job: &Job, result: &Found) -> String {
    let what = match result {
        Ok(Some(taken)) => format!("{} at {}", taken.value, crate::telemetry::clock::format_time(taken.ts)),
        Ok(None) => "up, and nothing to say yet".to_owned(),
        Err(down) => format!("down: {}", harmless(&down.reason)),
    };
    format!("{} ({}): {what}", sensor.name, harmless(&job.shown()))
}

fn line_json(spec: &Spec, sensor: &Sensor, job: &Job, scraped: &Scraped, result: &Found) -> String {
    let taken = result.as_ref().ok().copied().flatten();
    json!({
        "service": spec.id,
        "sensor": &*sensor.name,
        "url": job.shown(),
        "up": result.is_ok(),
        "value": taken.map(|taken| taken.value),
        "ts": taken.map(|taken| taken.ts),
        "samples": scraped.samples,
        "reason": result.as_ref().err().map(|down| &down.reason),
    })
    .to_string()
}
