//! The channels of `ops.toml`: who can be paged, by which means, with whose secrets. Secrets are named there, by a
//! variable of the environment or a file, and never stand in it. Part of [`super::config`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::actors::channel::Channel;
use crate::world::email::{self, Email};
use crate::world::pagerduty::{self, PagerDuty};
use crate::world::slack::{self, Slack};
use crate::world::{DEADLINE, webhook::Webhook};

/// Longest time that may be given to a receiver, s.
const MAX_TIMEOUT_SECONDS: u64 = 60;

/// One channel.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelConfig {
    /// Printed where the pager runs.
    Console {},
    /// Posted as JSON.
    Webhook(WebhookConfig),
    /// Events API v2.
    #[serde(rename = "pagerduty")]
    PagerDuty(PagerDutyConfig),
    /// `chat.postMessage`.
    Slack(SlackConfig),
    /// SMTP.
    Email(EmailConfig),
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
    timeout_seconds: Option<u64>,
}

/// One integration of PagerDuty's; its key exactly once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDutyConfig {
    routing_key_file: Option<PathBuf>,
    routing_key_env: Option<String>,
    url: Option<String>,
    timeout_seconds: Option<u64>,
}

/// One channel of Slack's; the bot's token exactly once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    channel: String,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    url: Option<String>,
    timeout_seconds: Option<u64>,
}

/// One list of recipients, and the server that takes mail for them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    server: String,
    port: Option<u16>,
    #[serde(default)]
    security: SecurityConfig,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    from: String,
    to: Vec<String>,
    timeout_seconds: Option<u64>,
}

/// How the way to a mail server is kept secret.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityConfig {
    /// STARTTLS, or nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// In the clear.
    None,
}

impl ChannelConfig {
    /// The channel, its secrets fetched from `environment` and files.
    ///
    /// # Errors
    /// A secret that is not there; an address that is none. Never the secret itself.
    pub fn channel(&self, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Channel> {
        Ok(match self {
            Self::Console {} => Channel::Console,
            Self::Webhook(config) => Channel::Webhook(config.webhook(environment)?),
            Self::PagerDuty(config) => {
                let from = (&config.routing_key_file, &config.routing_key_env);
                let key = secret("routing_key", from, environment)?;
                let url = config.url.as_deref().unwrap_or(pagerduty::URL);
                Channel::PagerDuty(PagerDuty::new(url, &key)?.within(timeout(config.timeout_seconds)?))
            }
            Self::Slack(config) => {
                let token = secret("token", (&config.token_file, &config.token_env), environment)?;
                let url = config.url.as_deref().unwrap_or(slack::URL);
                Channel::Slack(Slack::new(url, &token, &config.channel)?.within(timeout(config.timeout_seconds)?))
            }
            Self::Email(config) => Channel::Email(config.email(environment)?),
        })
    }
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
        Ok(Webhook::new(&url, &headers)?.within(timeout(self.timeout_seconds)?))
    }
}

impl EmailConfig {
    fn email(&self, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Email> {
        let credentials = match (&self.user, &self.password_file, &self.password_env) {
            (None, None, None) => None,
            (Some(user), file, env) => Some((user.clone(), secret("password", (file, env), environment)?)),
            (None, ..) => bail!("a password needs its user"),
        };
        let email = Email::new(email::Options {
            server: self.server.clone(),
            port: self.port,
            security: match self.security {
                SecurityConfig::Starttls => email::Security::StartTls,
                SecurityConfig::Tls => email::Security::Tls,
                SecurityConfig::None => email::Security::None,
            },
            credentials,
            from: self.from.clone(),
            to: self.to.clone(),
        })?;
        Ok(email.within(timeout(self.timeout_seconds)?))
    }
}

/// A secret, from where it was said to be.
pub(super) fn secret(
    name: &str,
    from: (&Option<PathBuf>, &Option<String>),
    environment: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<String> {
    match from {
        (Some(path), None) => from_file(path),
        (None, Some(variable)) => from_environment(variable, environment),
        _ => bail!("give one of {name}_file, {name}_env"),
    }
}

fn timeout(seconds: Option<u64>) -> anyhow::Result<Duration> {
    match seconds {
        None => Ok(DEADLINE),
        Some(seconds @ 1..=MAX_TIMEOUT_SECONDS) => Ok(Duration::from_secs(seconds)),
        Some(_) => bail!("timeout_seconds is 1 to {MAX_TIMEOUT_SECONDS}"),
    }
}

pub(super) fn from_file(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

pub(super) fn from_environment(name: &str, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    environment(name).with_context(|| format!("the environment variable {name} is not set"))
}
