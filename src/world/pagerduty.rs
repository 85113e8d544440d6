//! Driver of PagerDuty: the Events API v2. A trigger raises an alert or joins the one that is open under the same
//! `dedup_key`; a resolve ends it. So a repeat does nothing, as long as the alert is open.
//!
//! What the answers mean is documented: 202 taken, 400 the event is wrong, 429 too many (later again), 5xx "the server
//! experienced an error while processing the event". It sends once; whether and when to repeat is the actor's decision.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::WorldError;
use super::http::{Endpoint, beginning};

/// Where the service is, outside of the EU.
pub const URL: &str = "https://events.pagerduty.com";
/// Largest event that is taken, bytes; less is sent, so that the rest of it fits too.
const EVENT_BYTES: usize = 500 * 1024;
/// Longest `summary`, characters.
const SUMMARY_CHARS: usize = 1024;
/// Longest `dedup_key`, characters.
const KEY_CHARS: usize = 255;
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// One integration of one service there. Cheap to clone.
#[derive(Clone)]
pub struct PagerDuty {
    endpoint: Endpoint,
    routing_key: String,
}

impl fmt::Debug for PagerDuty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagerDuty").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// An alert as it is raised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// What is wrong, in one line.
    pub summary: String,
    /// What is ill: the service.
    pub source: String,
    /// `critical`, `error`, `warning` or `info`.
    pub severity: String,
    /// When, ISO 8601.
    pub timestamp: String,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What kind of trouble: the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The evidence.
    pub custom_details: Value,
    /// Addresses with what stands there; beside the payload in the event.
    #[serde(skip)]
    pub links: Vec<(String, String)>,
}

impl PagerDuty {
    /// The integration with this key, at `url` ([`URL`]).
    ///
    /// # Errors
    /// An address or a key that cannot be one, not repeated.
    pub fn new(url: &str, routing_key: &str) -> Result<Self, WorldError> {
        let endpoint = Endpoint::with_secret("pagerduty", url, &BTreeMap::new())?;
        if routing_key.len() != 32 || !routing_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(endpoint.invalid("the routing key is not 32 letters and digits"));
        }
        Ok(Self { endpoint, routing_key: routing_key.to_owned() })
    }

    /// The same, with so much time for each request.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { endpoint: self.endpoint.within(timeout), ..self }
    }

    /// Raises an alert, or adds to the one that is open under `dedup_key`.
    ///
    /// # Errors
    /// What is known if it was not taken.
    pub async fn trigger(&self, dedup_key: &str, alert: &Alert) -> Result<(), WorldError> {
        let mut alert = alert.clone();
        alert.summary = alert.summary.chars().take(SUMMARY_CHARS).collect();
        let links: Vec<_> = alert.links.iter().map(|(href, text)| json!({"href": href, "text": text})).collect();
        let event = |alert: &Alert| {
            let mut event = json!({
                "routing_key": self.routing_key,
                "event_action": "trigger",
                "dedup_key": dedup_key,
                "client": "HMS-OPS",
                "links": links,
                "payload": alert,
            });
            if let Some(link) = links.first() {
                event["client_url"] = link["href"].clone();
            }
            event
        };
        let mut body = event(&alert);
        // Its length as it is sent: JSON without blanks.
        if body.to_string().len() > EVENT_BYTES {
            // Somebody is to be woken whatever the evidence weighs.
            alert.custom_details = json!({"note": "the evidence is too large for this place"});
            body = event(&alert);
        }
        self.enqueue(dedup_key, &body).await
    }

    /// Ends the alert of `dedup_key`; nothing happens if none is open.
    ///
    /// # Errors
    /// What is known if it was not taken.
    pub async fn resolve(&self, dedup_key: &str) -> Result<(), WorldError> {
        let body = json!({"routing_key": self.routing_key, "event_action": "resolve", "dedup_key": dedup_key});
        self.enqueue(dedup_key, &body).await
    }

    async fn enqueue(&self, dedup_key: &str, body: &Value) -> Result<(), WorldError> {
        if dedup_key.is_empty() || dedup_key.chars().count() > KEY_CHARS {
            return Err(self.endpoint.invalid(format!("a dedup_key has 1 to {KEY_CHARS} characters")));
        }
        let request = self.endpoint.post_to(self.endpoint.below(&["v2", "enqueue"])).json(body);
        let mut response = self.endpoint.send(request).await?;
        match response.status().as_u16() {
            200..300 => {
                let (body, _) = beginning(&mut response, ANSWER_BYTES).await;
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                // Whoever answers something else is not PagerDuty, and may have passed it on or not.
                if answer["status"] == "success" {
                    Ok(())
                } else {
                    Err(self.endpoint.unknown("no answer of PagerDuty's"))
                }
            }
            _ => Err(self.endpoint.refusal(response).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_and_not_repeated() {
        for key in ["", "s3cret", "0123456789abcdef0123456789abcde\n", "s3cret--s3cret--s3cret--s3cret--"] {
            let refused = PagerDuty::new(URL, key).unwrap_err().to_string();
            assert!(!refused.contains("s3cret") && refused.contains("routing key"), "{refused}");
        }
        let shown = format!("{:?}", PagerDuty::new(URL, "0123456789abcdef0123456789abcdef").unwrap());
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}
