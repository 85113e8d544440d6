//! The flags of every command that needs the cluster: which one, behind which prefix, with which client settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::config::{Config, RegistryConfig};
use crate::bus::{Settings, admin};
use crate::model::topics::Topics;
use crate::registry::{Access, Lookup};

/// How long a command waits for the cluster before it says that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which cluster.
#[derive(clap::Args, Clone, Debug, Default)]
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
    /// The schema registry, http(s)://HOST:PORT[/PATH]: values name their schemas by its ids then.
    #[arg(long, env = "OPS_REGISTRY", value_name = "URL")]
    pub registry: Option<String>,
    /// As whom it is asked; the password by --registry-password-file, or by OPS_REGISTRY_PASSWORD.
    #[arg(long, env = "OPS_REGISTRY_USER", value_name = "NAME")]
    pub registry_user: Option<String>,
    /// A file that holds the password.
    #[arg(long, env = "OPS_REGISTRY_PASSWORD_FILE", value_name = "FILE")]
    pub registry_password_file: Option<PathBuf>,
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

    /// [`Self::settings`] of a cluster that answers, and of the schema registry where there is one.
    ///
    /// # Errors
    /// One of them does not answer, a setting may not be given, our schemas are not registered.
    pub fn reach(&self, client_id: &str) -> anyhow::Result<(Settings, Topics)> {
        self.reach_by(client_id, None)
    }

    /// The same with the configuration of a command that has one.
    ///
    /// # Errors
    /// As [`Self::reach`].
    pub fn reach_by(&self, client_id: &str, config: Option<&Path>) -> anyhow::Result<(Settings, Topics)> {
        let (settings, topics) = self.reach_cluster(client_id)?;
        match self.registry(config)? {
            None => Ok((settings, topics)),
            Some(access) => {
                let lookup = Lookup::start(&access, &topics)?;
                Ok((settings.with_schemas(Arc::new(lookup)), topics))
            }
        }
    }

    /// The same without the registry: nothing is framed.
    ///
    /// # Errors
    /// The cluster does not answer, or a setting may not be given.
    pub fn reach_cluster(&self, client_id: &str) -> anyhow::Result<(Settings, Topics)> {
        let (settings, topics) = self.settings(client_id)?;
        admin::ping(&settings, PATIENCE)
            .with_context(|| format!("no Kafka answers at {} (--brokers, OPS_BROKERS)", self.brokers))?;
        Ok((settings, topics))
    }

    /// The schema registry: flags over the environment over the file. Not asked yet.
    ///
    /// # Errors
    /// A file that makes no sense, a password that is not there.
    pub fn registry(&self, config: Option<&Path>) -> anyhow::Result<Option<Access>> {
        let environment = |name: &str| std::env::var(name).ok();
        let path = config.map(Path::to_path_buf).or_else(|| environment("OPS_CONFIG").map(PathBuf::from));
        let RegistryConfig { url, user, password_file, password_env } = Config::load(path.as_deref())?.registry;
        let Some(url) = self.registry.clone().filter(|url| !url.is_empty()).or(url) else { return Ok(None) };
        let Some(user) = self.registry_user.clone().or(user) else { return Ok(Some(Access { url, user: None })) };
        let file = self.registry_password_file.clone();
        let from_file = |file: &PathBuf| {
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            anyhow::Ok(text.trim_end().to_owned())
        };
        let password = match (file, environment("OPS_REGISTRY_PASSWORD"), &password_file, &password_env) {
            (Some(file), ..) => from_file(&file)?,
            (None, Some(password), ..) => password,
            (None, None, Some(file), None) => from_file(file)?,
            (None, None, None, Some(name)) => {
                environment(name).with_context(|| format!("registry.password_env: {name} is not set"))?
            }
            _ => bail!(
                "the schema registry's user {user:?} has no password: give a file that holds it, or OPS_REGISTRY_PASSWORD"
            ),
        };
        Ok(Some(Access { url, user: Some((user, password)) }))
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

    /// A file over nothing, a flag over the file; and no password in the file itself.
    #[test]
    fn the_registry_is_that_of_the_flags_else_that_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (config, secret) = (directory.path().join("ops.toml"), directory.path().join("secret"));
        fs::write(&secret, "s3cret\n").unwrap();
        let text = format!("[registry]\nurl = \"http://file\"\nuser = \"ops\"\npassword_file = {secret:?}\n");
        fs::write(&config, text).unwrap();
        let of_file = Connect::default().registry(Some(&config)).unwrap().unwrap();
        assert_eq!(of_file.url, "http://file");
        assert_eq!(of_file.user, Some(("ops".to_owned(), "s3cret".to_owned())));
        let flag = Connect { registry: Some("http://flag".to_owned()), ..Connect::default() };
        assert_eq!(flag.registry(Some(&config)).unwrap().unwrap().url, "http://flag");
        fs::write(&config, "").unwrap();
        assert!(Connect::default().registry(Some(&config)).unwrap().is_none());
        for bad in ["url = \"http://r\"\nuser = \"ops\"", "url = \"http://r\"\npassword = \"s3cret\""] {
            fs::write(&config, format!("[registry]\n{bad}\n")).unwrap();
            let error = format!("{:#}", Connect::default().registry(Some(&config)).unwrap_err());
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
