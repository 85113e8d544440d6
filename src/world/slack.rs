//! Driver of Slack: `chat.postMessage` into one channel or one of its threads, and the question whether a message of
//! ours is there (`conversations.history`, `conversations.replies`). Each message carries metadata with the id of its
//! action and the key of its alert, by which it is found again: Slack itself refuses no repeat.
//!
//! It sends once and asks once. Whether and when to repeat is the actor's decision.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde_json::{Value, json};

use super::http::{Endpoint, beginning, retry_after_ms};
use super::{WorldError, excerpt};

/// Where the service is.
pub const URL: &str = "https://slack.com/api";
/// The `event_type` of our messages' metadata.
pub const EVENT_TYPE: &str = "hms_ops_page";
/// How much of an answer is read: a page of history with all its blocks.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Messages in a page of history, and pages that are read at most.
const HISTORY: (u32, u32) = (200, 20);

/// One channel of one workspace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Slack {
    endpoint: Endpoint,
    channel: String,
}

/// By what a message is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The same id is the same message.
    pub action_id: String,
    /// Messages with the same key belong into one thread.
    pub dedup_key: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What notifications show. Escaped ([`escaped`]).
    pub text: String,
    /// What the channel shows: Block Kit.
    pub blocks: Value,
    /// Its metadata.
    pub mark: Mark,
    /// The `ts` of the thread's first message; `None` begins one.
    pub thread: Option<String>,
}

/// What was found in the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The `ts` of the message with that action id.
    pub message: Option<String>,
    /// The `ts` of the first message of the thread with that key.
    pub thread: Option<String>,
}

impl Slack {
    /// The channel with this id, at `url` ([`URL`]), with the token of a bot.
    ///
    /// # Errors
    /// An address, a token or an id that cannot be one; the token is not repeated.
    pub fn new(url: &str, token: &str, channel: &str) -> Result<Self, WorldError> {
        let headers = BTreeMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
        let endpoint = Endpoint::with_secret("slack", url, &headers)?;
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(endpoint.invalid("the token is no token"));
        }
        let is_id = channel.len() >= 3
            && channel.starts_with(['C', 'G', 'D'])
            && channel.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_id {
            let reason = format!("{channel:?} is no channel id, such as C0123456789 (its name cannot be read back)");
            return Err(endpoint.invalid(reason));
        }
        Ok(Self { endpoint, channel: channel.to_owned() })
    }

    /// The same, with so much time for each request.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { endpoint: self.endpoint.within(timeout), ..self }
    }

    /// Its id.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Posts a message; gives its `ts`.
    ///
    /// # Errors
    /// What is known if it was not taken. `NotFound`: the thread is not there.
    pub async fn post(&self, message: &Message) -> Result<String, WorldError> {
        let Mark { action_id, dedup_key } = &message.mark;
        let mut body = json!({
            "channel": self.channel,
            "text": message.text,
            "blocks": message.blocks,
            "metadata": {
                "event_type": EVENT_TYPE,
                "event_payload": {"action_id": action_id, "dedup_key": dedup_key},
            },
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if let Some(thread) = &message.thread {
            body["thread_ts"] = thread.as_str().into();
        }
        let request = self.endpoint.post_to(self.endpoint.below(&["chat.postMessage"])).json(&body);
        let answer = self.call(request).await?;
        answer["ts"].as_str().map(str::to_owned).ok_or_else(|| self.endpoint.unknown("an answer without a ts"))
    }

    /// Looks for a message of ours since `since_ms`, and for the thread that it belongs to, unless `thread` is known.
    ///
    /// # Errors
    /// That it could not be asked; nothing was changed.
    pub async fn find(&self, mark: &Mark, since_ms: i64, thread: Option<&str>) -> Result<Found, WorldError> {
        let oldest = format!("{}.{:06}", since_ms.max(0) / 1000, 0);
        let mut found = Found { message: None, thread: thread.map(str::to_owned) };
        if thread.is_none() {
            let history = self.endpoint.below(&["conversations.history"]);
            self.walk(history, &[("oldest", &oldest)], |message| {
                let of_thread = text(message, "thread_ts").unwrap_or_default();
                let ts = text(message, "ts").unwrap_or_default();
                let begins = of_thread.is_empty() || of_thread == ts;
                // The newest come first: the last that is seen is the one that came first.
                if begins && is_ours(message, "dedup_key", &mark.dedup_key) {
                    found.thread = Some(ts.to_owned());
                }
                if is_ours(message, "action_id", &mark.action_id) {
                    found.message = Some(ts.to_owned());
                }
            })
            .await?;
        }
        if let (None, Some(thread)) = (&found.message, found.thread.clone()) {
            let replies = self.endpoint.below(&["conversations.replies"]);
            self.walk(replies, &[("ts", &thread), ("oldest", &oldest)], |message| {
                if is_ours(message, "action_id", &mark.action_id) {
                    found.message = text(message, "ts").map(str::to_owned);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// All messages that a question is answered with, page by page.
    async fn walk(&self, url: Url, query: &[(&str, &str)], mut see: impl FnMut(&Value)) -> Result<(), WorldError> {
        let mut cursor = String::new();
        for _ in 0..HISTORY.1 {
            let mut page = url.clone();
            page.query_pairs_mut()
                .append_pair("channel", &self.channel)
                .append_pair("include_all_metadata", "true")
                .append_pair("limit", &HISTORY.0.to_string())
                .extend_pairs(query);
            if !cursor.is_empty() {
                page.query_pairs_mut().append_pair("cursor", &cursor);
            }
            let answer = self.call(self.endpoint.get(page)).await.map_err(|error| match error {
                // A question changes nothing, whatever became of it.
                WorldError::Unknown { target, reason } => WorldError::Unreachable { target, reason },
                other => other,
            })?;
            answer["messages"].as_array().into_iter().flatten().for_each(&mut see);
            cursor = answer["response_metadata"]["next_cursor"].as_str().unwrap_or_default().to_owned();
            if cursor.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One call; Slack says in the body of a 200 whether it went well.
    async fn call(&self, request: RequestBuilder) -> Result<Value, WorldError> {
        let mut response = self.endpoint.send(request).await?;
        if response.status().as_u16() != 200 {
            return Err(self.endpoint.refusal(response).await);
        }
        let after_ms = retry_after_ms(&response).unwrap_or(0);
        let (body, _) = beginning(&mut response, ANSWER_BYTES).await;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (answer["ok"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => Ok(answer),
            (Some(false), Some(error)) => Err(self.refused(error, after_ms)),
            _ => Err(self.endpoint.unknown("no answer of Slack's")),
        }
    }

    /// What an `ok: false` means, by its documented codes.
    fn refused(&self, error: &str, after_ms: u64) -> WorldError {
        let (target, reason) = (self.endpoint.target().to_owned(), excerpt(error, 200));
        match error {
            "ratelimited" | "rate_limited" | "service_unavailable" | "request_timeout" | "team_added_to_org" => {
                WorldError::Busy { target, reason, after_ms }
            }
            // "It's possible some aspect of the operation succeeded before the error was raised."
            "internal_error" | "fatal_error" => WorldError::Unknown { target, reason },
            "thread_not_found" | "message_not_found" | "cannot_reply_to_message" => {
                WorldError::NotFound { target: format!("the thread at {target}") }
            }
            _ => WorldError::Forbidden { target, reason },
        }
    }
}

fn text<'v>(message: &'v Value, name: &str) -> Option<&'v str> {
    message[name].as_str()
}

/// Did we write this, with that in its metadata?
fn is_ours(message: &Value, name: &str, value: &str) -> bool {
    let metadata = &message["metadata"];
    metadata["event_type"] == EVENT_TYPE && metadata["event_payload"][name] == value
}

/// A text in which nothing means anything to Slack: no mention, no link, no entity.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_by_its_id_and_no_token_is_repeated() {
        for (token, channel) in
            [("", "C0123456789"), ("s3c ret", "C0123456789"), ("s3cret\n", "C1A"), ("s3cret", "#ops")]
        {
            let refused = Slack::new(URL, token, channel).unwrap_err().to_string();
            assert!(!refused.contains("s3c"), "{refused}");
        }
        let shown = format!("{:?}", Slack::new(URL, "s3cret", "C0123456789").unwrap());
        assert!(shown.contains("slack.com") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn only_what_surely_did_nothing_may_be_sent_again_without_a_look() {
        let slack = Slack::new(URL, "t", "C0123456789").unwrap();
        for (code, hint) in [
            ("ratelimited", super::super::Hint::Retry { after_ms: 7 }),
            ("internal_error", super::super::Hint::LookFirst),
            ("fatal_error", super::super::Hint::LookFirst),
            ("channel_not_found", super::super::Hint::GiveUp),
            ("invalid_auth", super::super::Hint::GiveUp),
            ("a_code_of_tomorrow", super::super::Hint::GiveUp),
        ] {
            assert_eq!(slack.refused(code, 7).hint(), hint, "{code}");
        }
    }

    #[test]
    fn an_escaped_text_mentions_nobody() {
        assert_eq!(escaped("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
    }
}
