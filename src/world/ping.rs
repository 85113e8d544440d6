//! Driver of a dead man's switch (healthchecks.io and its like): one GET that says that we are alive. Whoever is at the
//! other end tells people when it does not come.

use std::fmt;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::{DEADLINE, WorldError, install_crypto_provider, with_causes};

/// Where to say it. Its address is a secret: whoever knows it can say so too.
#[derive(Clone)]
pub struct Ping {
    client: Client,
    url: Url,
}

impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ping").field("target", &self.target()).finish_non_exhaustive()
    }
}

impl Ping {
    /// At `url` (http or https).
    ///
    /// # Errors
    /// It is none; the text itself is not repeated.
    pub fn new(url: &str) -> Result<Self, WorldError> {
        install_crypto_provider();
        let invalid = |reason: String| WorldError::Invalid { target: "ping".into(), reason };
        let url = Url::parse(url).map_err(|error| invalid(format!("its url cannot be read: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return Err(invalid("its url must be http:// or https:// with a host".into()));
        }
        let is_here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let builder = if is_here { Client::builder().no_proxy() } else { Client::builder() };
        let client = builder
            .redirect(Policy::none())
            .timeout(DEADLINE)
            .user_agent(concat!("hms-ops/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| invalid(with_causes(&error.without_url())))?;
        Ok(Self { client, url })
    }

    /// Says it once.
    ///
    /// # Errors
    /// Nobody answered, or not with 2xx.
    pub async fn send(&self) -> Result<(), WorldError> {
        let target = self.target();
        match self.client.get(self.url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status().as_u16();
                Err(WorldError::Refused { target, status, reason: "no 2xx".to_owned(), retry_after_ms: None })
            }
            Err(error) => Err(WorldError::Unreachable { target, reason: with_causes(&error.without_url()) }),
        }
    }

    /// Scheme and host: all of the address that may be shown.
    fn target(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_shown_whole() {
        let ping = Ping::new("https://hc.example/t0ken").unwrap();
        assert_eq!(format!("{ping:?}"), "Ping { target: \"https://hc.example\", .. }");
        for bad in ["ftp://t0ken/", "t0ken", "http://"] {
            let error = Ping::new(bad).unwrap_err().to_string();
            assert!(!error.contains("t0ken"), "{error}");
        }
    }
}
