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
//! [channels.oncall]
//! kind = "pagerduty"
//! routing_key_file = "/run/secrets/pagerduty"       # or routing_key_env
//!
//! [channels.airport]
//! kind = "slack"
//! channel = "C0123456789"                           # its id
//! token_env = "SLACK_TOKEN"                         # or token_file
//!
//! [channels.mail]
//! kind = "email"
//! server = "smtp.example.org"
//! security = "starttls"                             # or "tls", "none"
//! user = "ops"
//! password_file = "/run/secrets/smtp"               # or password_env
//! from = "HMS-OPS <ops@example.org>"
//! to = ["duty@example.org"]
//!
//! [channels.default]                                # of pages that name no channel; the console unless it is here
//! kind = "console"
//!
//! [owners]                                          # pages that name no channel of this file, by the service's owner
//! TSA = "tsa_ops"
//!
//! [pager]
//! group = "ops-pager"
//! link = "https://ops.example.org/{incident}"       # where a person can look; also {service}
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
//!
//! [[tokens]]                                        # who may call what listens; see `cli::tokens`
//! name = "edge"
//! token_file = "/run/secrets/edge"                  # or token_env
//! services = ["DCA_*"]                              # ids, BEGINNING* or *
//! may = ["emit"]                                    # emit, read
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
use super::tokens::TokenConfig;
use crate::actors::channel::{Channels, Console};
use crate::cli::channels::ChannelConfig;

/// The file that is read if there is one and no other is named.
pub const DEFAULT_PATH: &str = "ops.toml";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who can be paged, by name.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The channel of an owner's services, for pages that name none of the above.
    pub owners: BTreeMap<String, String>,
    /// Of `ops act pager`.
    pub pager: PagerConfig,
    /// Of `ops act autoscaler`.
    pub autoscaler: AutoscalerConfig,
    /// Of the watch of `ops act pager`.
    pub alive: AliveConfig,
    /// Who may call what listens.
    pub tokens: Vec<TokenConfig>,
}

/// Of `ops act pager`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerConfig {
    /// Consumer group.
    pub group: Option<String>,
    /// Where a person can look; `{incident}` and `{service}` stand for theirs.
    pub link: Option<String>,
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
            let channel = channel.channel(&environment).with_context(|| format!("channels.{name}"))?;
            by_name.insert(name.clone(), channel);
        }
        for (owner, name) in &self.owners {
            if !by_name.contains_key(name) {
                bail!("owners.{owner:?}: there is no channel {name:?} in this file");
            }
        }
        Ok(Channels::new(by_name, console).with_owners(self.owners.clone()))
    }

    /// Where a person can look.
    ///
    /// # Errors
    /// A text that is no address.
    pub fn link(&self) -> anyhow::Result<Option<String>> {
        let Some(link) = &self.pager.link else { return Ok(None) };
        let plain = !link.contains(|c: char| c.is_control() || c.is_whitespace());
        if !(plain && (link.starts_with("https://") || link.starts_with("http://"))) {
            bail!("pager.link is no address: it begins with https:// or http:// and has no blanks");
        }
        Ok(Some(link.clone()))
    }
}

/// The line and what is wrong with it. Not the line itself, as the parser would show it: it may hold a token.
fn parse(text: &str) -> Result<Config, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        (before.matches('\n').count() + 1, error.message().to_owned())
    })
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
            ("[channels.a]\nkind = \"webhook\"\nurl = \"http://h/\"\ntimeout_seconds = 0", "timeout_seconds"),
            ("[channels.a]\nkind = \"pagerduty\"\nrouting_key = \"t0ken\"", "routing_key_file"),
            ("[channels.a]\nkind = \"pagerduty\"", "give one of routing_key_file"),
            ("[channels.a]\nkind = \"pagerduty\"\nrouting_key_env = \"URL\"", "not 32 letters"),
            ("[channels.a]\nkind = \"slack\"\nchannel = \"C0123456789\"\ntoken = \"t0ken\"", "token_file"),
            ("[channels.a]\nkind = \"slack\"\nchannel = \"#ops\"\ntoken_env = \"URL\"", "no channel id"),
            (
                "[channels.a]\nkind = \"slack\"\nchannel = \"C0123456789\"\ntoken_env = \"URL\"\nurl = \"http://h/\"",
                "https",
            ),
            ("[channels.a]\nkind = \"email\"\nserver = \"s\"\nfrom = \"a@b.c\"\nto = []", "no recipient"),
            (
                "[channels.a]\nkind = \"email\"\nserver = \"s\"\nfrom = \"a@b.c\"\nto = []\npassword = \"t0ken\"",
                "password_file",
            ),
            (
                "[channels.a]\nkind = \"email\"\nserver = \"s\"\nfrom = \"a@b.c\"\nto = []\npassword_env = \"URL\"",
                "its user",
            ),
            ("[owners]\nTSA = \"nobody\"", "no channel \"nobody\""),
        ] {
            let error = format!("{:#}", load(text).unwrap_err());
            assert!(error.contains(said) && !error.contains("t0ken"), "{text}: {error}");
        }
    }

    #[test]
    fn each_kind_of_channel_is_taken_and_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "t0kent0kent0kent0kent0kent0kenab\n").unwrap();
        let text = format!(
            "[channels.pd]\nkind = \"pagerduty\"\nrouting_key_file = {secret:?}\ntimeout_seconds = 5\n\
             [channels.sl]\nkind = \"slack\"\nchannel = \"C0123456789\"\ntoken_file = {secret:?}\n\
             [channels.ma]\nkind = \"email\"\nserver = \"smtp.example.org\"\nuser = \"ops\"\npassword_file = {secret:?}\n\
             from = \"ops@example.org\"\nto = [\"duty@example.org\"]\n[owners]\nTSA = \"pd\"\n"
        );
        let shown = format!("{:?}", load(&text).unwrap());
        for part in ["events.pagerduty.com", "C0123456789", "smtp.example.org:587", "TSA"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn a_link_is_an_address() {
        let link = |link: &str| {
            let pager = PagerConfig { link: Some(link.to_owned()), ..PagerConfig::default() };
            Config { pager, ..Config::default() }.link()
        };
        assert_eq!(
            link("https://ops.example.org/{incident}").unwrap().as_deref(),
            Some("https://ops.example.org/{incident}")
        );
        for bad in ["ops.example.org", "javascript:x", "https://a b", "https://a\n"] {
            assert!(link(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        assert!(Config::load(Some(Path::new("/nowhere/ops.toml"))).is_err());
    }
}
