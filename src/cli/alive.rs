//! `[alive]` of `ops.toml`: how the pager watches the pipeline, and whom it tells that the pipeline lives.
//!
//! ```toml
//! [alive]
//! url_env = "OPS_ALIVE_URL"          # or url, url_file: pinged (GET) while all partitions' clocks move
//! every_seconds = 60                 # so often
//! partition_seconds = 30             # a clock that stands still for so long is paged; two cuts are ten seconds apart
//! actor_seconds = 120                # an actor that owes an answer for so long is paged
//! actors = ["ops-autoscaler", "ops-archiver"]        # groups; one that never committed anything is not there
//! ```

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::channels::{from_environment, from_file};
use crate::actors::{archiver, autoscaler, frame, watch};
use crate::world::ping::Ping;

/// See the module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AliveConfig {
    url: Option<String>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    every_seconds: u32,
    partition_seconds: u32,
    actor_seconds: u32,
    actors: Vec<String>,
}

impl Default for AliveConfig {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            url_env: None,
            every_seconds: 60,
            partition_seconds: 30,
            actor_seconds: 120,
            actors: [autoscaler::GROUP, archiver::GROUP].map(str::to_owned).to_vec(),
        }
    }
}

impl AliveConfig {
    /// Whom to tell, if anybody.
    ///
    /// # Errors
    /// More than one address, or one that is none; a patience that every sound pipeline would try. Never the address.
    pub fn ping(&self, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Ping>> {
        if self.partition_seconds <= 10 || self.every_seconds == 0 || self.actor_seconds == 0 {
            bail!("alive: partition_seconds must be above 10 (two cuts are ten seconds apart), the others above 0");
        }
        let url = match (&self.url, &self.url_file, &self.url_env) {
            (None, None, None) => return Ok(None),
            (Some(url), None, None) => url.clone(),
            (None, Some(path), None) => from_file(path)?,
            (None, None, Some(name)) => from_environment(name, &environment)?,
            _ => bail!("alive: give one of url, url_file, url_env"),
        };
        Ok(Some(Ping::new(&url).context("alive")?))
    }

    /// The watch of a pager with these options.
    pub fn watch(&self, pager: &frame::Options, ping: Option<Ping>) -> watch::Options {
        let ms = |seconds: u32| i64::from(seconds) * 1000;
        watch::Options {
            bus: pager.bus.clone(),
            topics: pager.topics.clone(),
            actors: self.actors.clone(),
            partition_patience_ms: ms(self.partition_seconds),
            actor_patience_ms: ms(self.actor_seconds),
            ping: ping.map(|ping| (ping, Duration::from_secs(u64::from(self.every_seconds)))),
            runtime: pager.runtime.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_optional_and_given_once() {
        let ping = |text: &str| {
            let config: AliveConfig = toml::from_str(text)?;
            config.ping(|name| (name == "URL").then(|| "https://hc.example/t0ken".to_owned()))
        };
        assert!(ping("").unwrap().is_none());
        assert!(ping("url_env = \"URL\"\nevery_seconds = 5").unwrap().is_some());
        for bad in ["url = \"ftp://t0ken\"", "url = \"a\"\nurl_env = \"URL\"", "partition_seconds = 10", "urls = \"t\""]
        {
            let error = format!("{:#}", ping(bad).unwrap_err());
            assert!(!error.contains("t0ken"), "{error}");
        }
    }
}
