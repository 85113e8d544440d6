//! `ops.toml`: what is too long for flags. Flags win over the environment, that over this file, that over defaults;
//! a key that nobody knows is an error.
//!
//! ```toml
//! [channels.tsa_ops]
//! kind = "webhook"                                  # or "console"
//! url_env = "TSA_OPS_URL"                           # or url = "...", or url_file = "/run/secrets/url"
//! headers = { x-team = "tsa" }                      # in the open
//! headers_env = { authorization = "TSA_OPS_AUTH" }  # or headers_file = { authorization = "/run/secrets/auth" }
//!
//! [channels.default]                                # of pages that name no channel; the console unless it is here
//! kind = "console"
//!
//! [pager]
//! group = "ops-pager"
//!
//! [autoscaler]
//! group = "ops-autoscaler"
//! kubeconfig = "/etc/ops/kubeconfig"                # or server = "http://127.0.0.1:8001"
//! context = "prod"
//! dry_run = false
//! cool_down_seconds = 300                           # else the window of the service
//!
//! [alive]                                           # see `cli::alive`
//! url_env = "OPS_ALIVE_URL"
//! ```
//!
//! Addresses and headers may hold tokens: from the environment or a file they never stand in a file that is shared.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::alive::AliveConfig;
use crate::actors::channel::{Channel, Channels, Console};
use crate::world::webhook::Webhook;

/// The file that is read if there is one and no other is named.
pub const DEFAULT_PATH: &str = "ops.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who can be paged, by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// Of `ops act pager`.
    pub pager: PagerConfig,
    /// Of `ops act autoscaler`.
    pub autoscaler: AutoscalerConfig,
    /// Of the watch of `ops act pager`.
    pub alive: AliveConfig,
}

/// One channel.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelConfig {
    /// Printed where the pager runs.
    Console {},
    /// Posted as JSON.
    Webhook(WebhookConfig),
}

/// One receiver of webhooks; its address exactly once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    url: Option<String>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    headers_file: BTreeMap<String, PathBuf>,
    #[serde(default)]
    headers_env: BTreeMap<String, String>,
}

/// Of `ops act pager`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerConfig {
    /// Consumer group.
    pub group: Option<String>,
}

/// Of `ops act autoscaler`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscalerConfig {
    /// Consumer group.
    pub group: Option<String>,
    /// Kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// Context of it.
    pub context: Option<String>,
    /// A plain `http://` API without credentials, instead.
    pub server: Option<String>,
    /// Touch nothing.
    pub dry_run: bool,
    /// How long a verb rests after it acted on a service; the service's window if it is not given.
    pub cool_down_seconds: Option<u32>,
}

impl Config {
    /// Reads `path`, or `ops.toml` if there is one here.
    ///
    /// # Errors
    /// A named file that cannot be read; a file that makes no sense, with the line.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let (name, text) = match path {
            Some(path) => (path, fs::read_to_string(path)),
            None => (Path::new(DEFAULT_PATH), fs::read_to_string(DEFAULT_PATH)),
        };
        match text {
            Ok(text) => parse(&text).map_err(|(line, what)| anyhow::anyhow!("{}, line {line}: {what}", name.display())),
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", name.display())),
        }
    }

    /// The channels, their secrets fetched from `environment` and files.
    ///
    /// # Errors
    /// A secret that is not there; an address that is none. Never the secret itself.
    pub fn channels(&self, console: Console, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Channels> {
        let mut by_name = BTreeMap::new();
        for (name, channel) in &self.channels {
            let channel = match channel {
                ChannelConfig::Console {} => Channel::Console,
                ChannelConfig::Webhook(config) => {
                    Channel::Webhook(config.webhook(&environment).with_context(|| format!("channels.{name}"))?)
                }
            };
            by_name.insert(name.clone(), channel);
        }
        Ok(Channels::new(by_name, console))
    }
}

/// The line and what is wrong with it. Not the line itself, as the parser would show it: it may hold a token.
fn parse(text: &str) -> Result<Config, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        (before.matches('\n').count() + 1, error.message().to_owned())
    })
}

impl WebhookConfig {
    fn webhook(&self, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Webhook> {
        let url = match (&self.url, &self.url_file, &self.url_env) {
            (Some(url), None, None) => url.clone(),
            (None, Some(path), None) => from_file(path)?,
            (None, None, Some(name)) => from_environment(name, environment)?,
            _ => bail!("give one of url, url_file, url_env"),
        };
        let mut headers = self.headers.clone();
        for (name, path) in &self.headers_file {
            headers.insert(name.clone(), from_file(path)?);
        }
        for (name, variable) in &self.headers_env {
            headers.insert(name.clone(), from_environment(variable, environment)?);
        }
        if headers.len() != self.headers.len() + self.headers_file.len() + self.headers_env.len() {
            bail!("a header is given twice");
        }
        Ok(Webhook::new(&url, &headers)?)
    }
}

pub(super) fn from_file(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

pub(super) fn from_environment(name: &str, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    environment(name).with_context(|| format!("the environment variable {name} is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Channels> {
        let config = parse(text).map_err(|(line, what)| anyhow::anyhow!("line {line}: {what}"))?;
        let environment = |name: &str| (name == "URL").then(|| "https://hooks.example/t0ken".to_owned());
        config.channels(Console::new(io::sink()), environment)
    }

    #[test]
    fn what_the_file_may_hold_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("auth");
        fs::write(&secret, "Bearer t0ken\n").unwrap();
        let text = format!(
            "[channels.a]\nkind = \"webhook\"\nurl_env = \"URL\"\nheaders = {{ x-team = \"tsa\" }}\n\
             headers_file = {{ authorization = {secret:?} }}\n[channels.default]\nkind = \"console\"\n\
             [autoscaler]\ndry_run = true\nserver = \"http://127.0.0.1:1\"\n[pager]\ngroup = \"p\"\n"
        );
        let shown = format!("{:?}", load(&text).unwrap());
        assert!(shown.contains("hooks.example") && !shown.contains("t0ken"), "{shown}");
        let config: Config = toml::from_str(&text).unwrap();
        assert!(config.autoscaler.dry_run && config.pager.group.as_deref() == Some("p"));
    }

    #[test]
    fn what_nobody_knows_is_an_error_and_no_secret_is_repeated() {
        for (text, said) in [
            ("colour = 1", "colour"),
            ("[pager]\nchannel = \"x\"", "channel"),
            ("[channels.a]\nkind = \"pigeon\"", "line 2: unknown variant `pigeon`"),
            ("[channels.a]\nkind = \"webhook\"\nurl = \"http://h/t0ken", "line 3"),
            ("[channels.a]\nkind = \"console\"\nurl = \"x\"", "url"),
            ("[channels.a]\nkind = \"webhook\"\nurls = \"x\"", "urls"),
            ("[channels.a]\nkind = \"webhook\"", "give one of"),
            ("[channels.a]\nkind = \"webhook\"\nurl = \"http://h/\"\nurl_env = \"URL\"", "give one of"),
            ("[channels.a]\nkind = \"webhook\"\nurl_env = \"NOPE\"", "NOPE"),
            ("[channels.a]\nkind = \"webhook\"\nurl_file = \"/nowhere/at/all\"", "/nowhere"),
            ("[channels.a]\nkind = \"webhook\"\nurl = \"ftp://t0ken/\"", "http"),
        ] {
            let error = format!("{:#}", load(text).unwrap_err());
            assert!(error.contains(said) && !error.contains("t0ken"), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        assert!(Config::load(Some(Path::new("/nowhere/ops.toml"))).is_err());
    }
}
