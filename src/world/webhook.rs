//! Driver of plain webhooks: one POST of a JSON body with an `Idempotency-Key`, bounded in time and size.
//!
//! It sends once. Whether and when to repeat is the actor's decision; the key lets the receiver see a repeat.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::HeaderValue;
use serde_json::Value;

use super::WorldError;
use super::http::Endpoint;

/// Largest body that is sent.
const BODY_BYTES: usize = 256 * 1024;

/// One receiver. Cheap to clone; keeps its connections.
#[derive(Clone, Debug)]
pub struct Webhook {
    endpoint: Endpoint,
}

impl Webhook {
    /// A receiver at `url` (http or https); `headers` go with every request and may hold secrets.
    ///
    /// # Errors
    /// An address or a header that cannot be one, not repeated.
    pub fn new(url: &str, headers: &BTreeMap<String, String>) -> Result<Self, WorldError> {
        Ok(Self { endpoint: Endpoint::new("webhook", url, headers)? })
    }

    /// The same, with so much time for each request.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { endpoint: self.endpoint.within(timeout) }
    }

    /// Sends `body` once. 2xx is done, and so is 409: the receiver has seen this key before.
    ///
    /// # Errors
    /// What is known if it was not taken.
    pub async fn post(&self, idempotency_key: &str, body: &Value) -> Result<(), WorldError> {
        let invalid = |reason: String| self.endpoint.invalid(reason);
        let key = HeaderValue::from_str(idempotency_key)
            .map_err(|_| invalid("the idempotency key does not fit into a header".into()))?;
        let bytes = serde_json::to_vec(body).map_err(|error| invalid(error.to_string()))?;
        if bytes.len() > BODY_BYTES {
            return Err(invalid(format!("a body of {} bytes is above the limit of {BODY_BYTES}", bytes.len())));
        }
        let request = self.endpoint.post().header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(bytes);
        let response = self.endpoint.send(request).await?;
        match response.status().as_u16() {
            200..300 | 409 => Ok(()),
            _ => Err(self.endpoint.refusal(response).await),
        }
    }
}
