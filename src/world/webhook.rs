//! Driver of plain webhooks: one POST of a JSON body with an `Idempotency-Key`, bounded in time and size.
//!
//! It sends once. Whether and when to repeat is the actor's decision; the key lets the receiver see a repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use super::{DEADLINE, WorldError, excerpt, install_crypto_provider, with_causes};

/// Largest body that is sent.
const BODY_BYTES: usize = 256 * 1024;
/// How much of the answer of a receiver that refuses is read.
const ANSWER_BYTES: usize = 1024;

/// One receiver. Cheap to clone; keeps its connections.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
    /// Scheme and host: all of the address that may be shown, for path and query may hold a token.
    target: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A receiver at `url` (http or https); `headers` go with every request and may hold secrets.
    pub fn new(url: &str, headers: &BTreeMap<String, String>) -> Result<Self, WorldError> {
        install_crypto_provider();
        // The text itself is not repeated: it may hold a token.
        let invalid = |reason: String| WorldError::Invalid { target: "webhook".into(), reason };
        let url = Url::parse(url).map_err(|error| invalid(format!("its url cannot be read: {error}")))?;
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return Err(invalid("its url must be http:// or https:// with a host".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("its url must not hold a user; give a header instead".into()));
        }
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let target = format!("webhook {}://{host}{port}", url.scheme());
        let builder = if is_loopback(host) { Client::builder().no_proxy() } else { Client::builder() };
        let client = builder
            .default_headers(header_map(headers).map_err(invalid)?)
            // A redirect would send body and secrets to whom nobody named.
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(DEADLINE)
            .user_agent(concat!("hms-ops/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WorldError::Invalid { target: target.clone(), reason: reason_of(error) })?;
        Ok(Self { client, url, target })
    }

    /// Sends `body` once. 2xx is done, and so is 409: the receiver has seen this key before.
    pub async fn post(&self, idempotency_key: &str, body: &Value) -> Result<(), WorldError> {
        let invalid = |reason: String| WorldError::Invalid { target: self.target.clone(), reason };
        let key = HeaderValue::from_str(idempotency_key)
            .map_err(|_| invalid("the idempotency key does not fit into a header".into()))?;
        let bytes = serde_json::to_vec(body).map_err(|error| invalid(error.to_string()))?;
        if bytes.len() > BODY_BYTES {
            return Err(invalid(format!("a body of {} bytes is above the limit of {BODY_BYTES}", bytes.len())));
        }
        let request = self
            .client
            .post(self.url.clone())
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(bytes);
        match request.send().await {
            Ok(response) => self.verdict(response).await,
            Err(error) => Err(self.silence(error)),
        }
    }

    async fn verdict(&self, mut response: Response) -> Result<(), WorldError> {
        let target = self.target.clone();
        let status = response.status().as_u16();
        if matches!(status, 200..300 | 409) {
            return Ok(());
        }
        let retry_after_ms = response.headers().get(RETRY_AFTER).and_then(retry_after_ms);
        let reason = beginning(&mut response).await;
        Err(match status {
            401 | 403 => WorldError::Forbidden { target, reason },
            404 | 410 => WorldError::NotFound { target },
            // 503 and 429 say that it was not taken; any other 5xx may come from halfway through.
            500.. if status != 503 => WorldError::Unknown { target, reason: format!("status {status}: {reason}") },
            _ => WorldError::Refused { target, status, reason, retry_after_ms },
        })
    }

    fn silence(&self, error: reqwest::Error) -> WorldError {
        let target = self.target.clone();
        let (unsent, invalid) = (error.is_connect(), error.is_builder());
        let reason = reason_of(error);
        match (unsent, invalid) {
            (true, _) => WorldError::Unreachable { target, reason },
            (_, true) => WorldError::Invalid { target, reason },
            _ => WorldError::Unknown { target, reason },
        }
    }
}

/// What is on this machine is not reached through the environment's proxy.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
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

/// `Retry-After` in seconds. (The form with a date is not honoured: it would need our clock to be the receiver's.)
fn retry_after_ms(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse::<u64>().ok()?.checked_mul(1000)
}

/// The beginning of an answer; a receiver cannot make us read more.
async fn beginning(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - bytes.len())]),
            // The status was read; an answer that breaks off after it changes nothing.
            Ok(None) | Err(_) => break,
        }
    }
    excerpt(&String::from_utf8_lossy(&bytes), ANSWER_BYTES)
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
            let refused = Webhook::new(url, &BTreeMap::new()).unwrap_err();
            assert!(matches!(refused, WorldError::Invalid { .. }), "{url}");
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn what_is_shown_of_a_receiver_holds_no_token() {
        let headers = BTreeMap::from([("authorization".to_owned(), "Bearer t0ken".to_owned())]);
        let webhook = Webhook::new("https://hooks.example:8443/services/T000?k=t0ken", &headers).unwrap();
        assert_eq!(format!("{webhook:?}"), "Webhook { target: \"webhook https://hooks.example:8443\", .. }");
    }

    #[test]
    fn headers_that_would_split_the_request_are_refused() {
        for (name, value) in [("x y", "v"), ("x", "a\r\nb: c"), ("", "v")] {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert!(Webhook::new("http://host/", &headers).is_err(), "{name:?}");
        }
    }

    #[test]
    fn retry_after_counts_in_seconds() {
        for (text, ms) in [("2", Some(2000)), (" 0 ", Some(0)), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)] {
            assert_eq!(retry_after_ms(&HeaderValue::from_static(text)), ms, "{text}");
        }
    }
}
