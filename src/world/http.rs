//! What the drivers of receivers over HTTP share: a client that is bounded in time, follows no redirect and shows of an
//! address only scheme and host; and what a refusal means. Called by [`super::webhook`], [`super::pagerduty`] and
//! [`super::slack`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};

use super::{DEADLINE, WorldError, excerpt, install_crypto_provider, with_causes};

/// How much of the answer of a receiver that refuses is kept.
const REASON_BYTES: usize = 1024;

/// One receiver. Cheap to clone; keeps its connections.
#[derive(Clone)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    /// Kind, scheme and host: all of the address that may be shown, for path and query may hold a token.
    target: String,
    timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.target)
    }
}

impl Endpoint {
    /// A receiver at `url` (http or https); `headers` go with every request and may hold secrets.
    ///
    /// # Errors
    /// An address or a header that cannot be one. The text itself is not repeated: it may hold a token.
    pub fn new(kind: &str, url: &str, headers: &BTreeMap<String, String>) -> Result<Self, WorldError> {
        install_crypto_provider();
        let invalid = |reason: String| WorldError::Invalid { target: kind.into(), reason };
        let url = Url::parse(url).map_err(|error| invalid(format!("its url cannot be read: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return Err(invalid("its url must be http:// or https:// with a host".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("its url must not hold a user; give a header instead".into()));
        }
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let target = format!("{kind} {}://{host}{port}", url.scheme());
        // What is on this machine is not reached through the environment's proxy.
        let builder = if is_loopback(host) { Client::builder().no_proxy() } else { Client::builder() };
        let client = builder
            .default_headers(header_map(headers).map_err(invalid)?)
            // A redirect would send body and secrets to whom nobody named.
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .user_agent(concat!("hms-ops/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WorldError::Invalid { target: target.clone(), reason: reason_of(error) })?;
        Ok(Self { client, url, target, timeout: DEADLINE })
    }

    /// The same, for a secret of ours: in the clear it goes to this machine alone.
    pub fn with_secret(kind: &str, url: &str, headers: &BTreeMap<String, String>) -> Result<Self, WorldError> {
        let endpoint = Self::new(kind, url, headers)?;
        if endpoint.url.scheme() != "https" && !is_loopback(endpoint.url.host_str().unwrap_or_default()) {
            let reason = "its url must be https://, or everybody on the way reads the secret".to_owned();
            return Err(WorldError::Invalid { target: endpoint.target, reason });
        }
        Ok(endpoint)
    }

    /// The same, with so much time for each request.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// What may be shown of it.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// A POST to the address itself.
    pub fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    /// The address with these segments after its path.
    pub fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        // It has a host, so it can be a base.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A POST to an address of it.
    pub fn post_to(&self, url: Url) -> RequestBuilder {
        self.client.post(url)
    }

    /// A question to an address of it.
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    /// Sends once. The error says whether it may have been taken.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, WorldError> {
        request.timeout(self.timeout).send().await.map_err(|error| {
            let target = self.target.clone();
            let (unsent, invalid) = (error.is_connect(), error.is_builder());
            let reason = reason_of(error);
            match (unsent, invalid) {
                (true, _) => WorldError::Unreachable { target, reason },
                (_, true) => WorldError::Invalid { target, reason },
                _ => WorldError::Unknown { target, reason },
            }
        })
    }

    /// Something about this receiver is not as it must be; nothing was sent.
    pub fn invalid(&self, reason: impl Into<String>) -> WorldError {
        WorldError::Invalid { target: self.target.clone(), reason: reason.into() }
    }

    /// It may have been taken.
    pub fn unknown(&self, reason: impl Into<String>) -> WorldError {
        WorldError::Unknown { target: self.target.clone(), reason: reason.into() }
    }

    /// What a status means that is no success.
    pub async fn refusal(&self, mut response: Response) -> WorldError {
        let target = self.target.clone();
        let (status, retry_after_ms) = (response.status().as_u16(), retry_after_ms(&response));
        let (body, _) = beginning(&mut response, REASON_BYTES).await;
        let reason = excerpt(&String::from_utf8_lossy(&body), REASON_BYTES);
        match status {
            401 | 403 => WorldError::Forbidden { target, reason },
            404 | 410 => WorldError::NotFound { target },
            // 503 and 429 say that it was not taken; any other 5xx may come from halfway through.
            500.. if status != 503 => WorldError::Unknown { target, reason: format!("status {status}: {reason}") },
            _ => WorldError::Refused { target, status, reason, retry_after_ms },
        }
    }
}

/// Does this name mean this machine?
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The beginning of an answer, and whether that is all of it; a receiver cannot make us read more.
pub(crate) async fn beginning(response: &mut Response, limit: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(limit - bytes.len())]),
            Ok(None) => return (bytes, true),
            Err(_) => break,
        }
    }
    (bytes, false)
}

/// `Retry-After` in seconds. (The form with a date is not honoured: it would need our clock to be the receiver's.)
pub(super) fn retry_after_ms(response: &Response) -> Option<u64> {
    response.headers().get(RETRY_AFTER).and_then(seconds_ms)
}

fn seconds_ms(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse::<u64>().ok()?.checked_mul(1000)
}

fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| format!("the value of header {name} is not text"))?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}

/// The error without the url (it may hold a token).
fn reason_of(error: reqwest::Error) -> String {
    with_causes(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_or_hold_a_user_are_refused_without_repeating_them() {
        for url in ["", "ftp://host/x", "file:///etc/passwd", "http://s3cret:pw@host/", "http://"] {
            let refused = Endpoint::new("webhook", url, &BTreeMap::new()).unwrap_err();
            assert!(matches!(refused, WorldError::Invalid { .. }), "{url}");
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn a_secret_goes_in_the_clear_to_this_machine_alone() {
        for (url, taken) in [
            ("http://host/s3cret", false),
            ("http://127.0.0.1.example/", false),
            ("https://host/", true),
            ("http://127.0.0.1:8/", true),
            ("http://[::1]:8/", true),
        ] {
            let made = Endpoint::with_secret("slack", url, &BTreeMap::new());
            assert_eq!(made.is_ok(), taken, "{url}");
            assert!(made.map_or_else(|error| !error.to_string().contains("s3cret"), |_| true), "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_a_receiver_holds_no_token() {
        let headers = BTreeMap::from([("authorization".to_owned(), "Bearer t0ken".to_owned())]);
        let endpoint = Endpoint::new("webhook", "https://hooks.example:8443/services/T000?k=t0ken", &headers).unwrap();
        assert_eq!(format!("{endpoint:?}"), "webhook https://hooks.example:8443");
    }

    #[test]
    fn headers_that_would_split_the_request_are_refused() {
        for (name, value) in [("x y", "v"), ("x", "a\r\nb: c"), ("", "v")] {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert!(Endpoint::new("webhook", "http://host/", &headers).is_err(), "{name:?}");
        }
    }

    #[test]
    fn retry_after_counts_in_seconds() {
        for (text, ms) in [("2", Some(2000)), (" 0 ", Some(0)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)] {
            assert_eq!(seconds_ms(&HeaderValue::from_static(text)), ms, "{text}");
        }
    }

    #[test]
    fn an_address_may_have_a_path_of_its_own() {
        for base in ["https://slack.com/api", "https://slack.com/api/"] {
            let endpoint = Endpoint::new("slack", base, &BTreeMap::new()).unwrap();
            assert_eq!(endpoint.below(&["chat.postMessage"]).as_str(), "https://slack.com/api/chat.postMessage");
        }
    }
}
