//! The flags of every command that needs the cluster: which one, behind which prefix, with which client settings.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use crate::bus::{Settings, admin};
use crate::model::topics::Topics;

/// How long a command waits for the cluster before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which cluster.
#[derive(clap::Args, Clone, Debug)]
pub struct Connect {
    /// The cluster, HOST:PORT[,HOST:PORT...].
    #[arg(long, env = "OPS_BROKERS", default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    pub brokers: String,
    /// Goes before the name of every topic, to keep installations apart on one cluster.
    #[arg(long, alias = "prefix", env = "OPS_TOPIC_PREFIX", default_value = "", hide = true, value_name = "TEXT")]
    pub topic_prefix: String,
    /// A setting of the Kafka client (may be repeated). Secrets only as KEY.file=PATH or by the environment.
    #[arg(long = "kafka", value_name = "KEY=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
}

impl Connect {
    /// The settings of our clients, named `client_id` in the brokers' logs, and the topics. Asks nothing of the
    /// cluster yet.
    ///
    /// # Errors
    /// A setting that may not be given.
    pub fn settings(&self, client_id: &str) -> anyhow::Result<(Settings, Topics)> {
        let overrides: BTreeMap<_, _> = self.settings.iter().cloned().collect();
        let environment = |name: &str| std::env::var(name).ok();
        let settings = Settings::new(&self.brokers, client_id).with_overrides(&overrides, environment)?;
        Ok((settings, Topics::new(&self.topic_prefix)))
    }

    /// [`Self::settings`] of a cluster that answers.
    ///
    /// # Errors
    /// It does not, or a setting may not be given.
    pub fn reach(&self, client_id: &str) -> anyhow::Result<(Settings, Topics)> {
        let (settings, topics) = self.settings(client_id)?;
        admin::ping(&settings, PATIENCE)
            .with_context(|| format!("no Kafka answers at {} (--brokers, OPS_BROKERS)", self.brokers))?;
        Ok((settings, topics))
    }
}

/// `KEY=VALUE`, for clap; a value may hold further `=`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
