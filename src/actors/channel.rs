//! To whom a page goes: channels by name, and how a page gets there.
//!
//! A name that nobody configured leads to the channel of the service's owner, else to `default`, else to the console,
//! and says so: a page is never silently lost.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::page::{Kind, Page};
use crate::world::WorldError;
use crate::world::email::Email;
use crate::world::pagerduty::PagerDuty;
use crate::world::slack::Slack;
use crate::world::webhook::Webhook;

/// The channel of pages that name none.
pub const DEFAULT: &str = "default";

/// How long before a page its thread may have begun, ms: the history is read so far back.
const THREAD_MS: i64 = 24 * 3_600_000;
/// By how much our clock and a receiver's may differ, ms.
const SKEW_MS: i64 = 300_000;

/// What a receiver answered, by name; for `ops.actions`.
pub type Detail = BTreeMap<String, String>;

/// How pages get to somebody.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Printed where the pager runs.
    Console,
    /// Posted as JSON, with the action's id as `Idempotency-Key`.
    Webhook(Webhook),
    /// An alert, keyed by the episode.
    PagerDuty(PagerDuty),
    /// A message in the thread of the episode.
    Slack(Slack),
    /// A letter to each of its recipients.
    Email(Email),
}

impl Channel {
    /// As it is called in `ops.toml`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Webhook(_) => "webhook",
            Self::PagerDuty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
        }
    }
}

/// Where the console's pages are written.
#[derive(Clone)]
pub struct Console(Arc<Mutex<dyn Write + Send>>);

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

impl Console {
    /// A console that writes to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(out)))
    }

    /// Prints a page, whole.
    fn print(&self, page: &Page, note: Option<&str>) -> Result<(), WorldError> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = out.write_all(page.block(note).as_bytes()).and_then(|()| out.flush());
        printed.map_err(|error| WorldError::Unreachable { target: "console".to_owned(), reason: error.to_string() })
    }
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name of a channel that is configured; `None` is the console.
    pub name: Option<String>,
    /// Why it is not the one that was named.
    pub note: Option<String>,
}

/// All channels, and who is to have what.
#[derive(Clone, Debug)]
pub struct Channels {
    by_name: BTreeMap<String, Channel>,
    by_owner: BTreeMap<String, String>,
    console: Console,
}

impl Channels {
    /// These, and the console for all others.
    pub fn new(by_name: BTreeMap<String, Channel>, console: Console) -> Self {
        Self { by_name, by_owner: BTreeMap::new(), console }
    }

    /// The same; pages of an owner's services that lead nowhere go to that owner's channel.
    #[must_use]
    pub fn with_owners(self, by_owner: BTreeMap<String, String>) -> Self {
        Self { by_owner, ..self }
    }

    /// Where a page to `name` about a service of `owner` goes.
    pub fn route(&self, name: &str, owner: Option<&str>) -> Route {
        let configured = |name: &String| self.by_name.contains_key(name);
        if name != DEFAULT && self.by_name.contains_key(name) {
            return Route { name: Some(name.to_owned()), note: None };
        }
        let of_owner = owner.and_then(|owner| self.by_owner.get(owner)).filter(|name| configured(name));
        let to = of_owner.cloned().or_else(|| Some(DEFAULT.to_owned()).filter(configured));
        let note = (name != DEFAULT).then(|| match &to {
            Some(to) => format!("channel {name:?} is not configured, so it goes to {to:?}"),
            None => format!("channel {name:?} is not configured, so it is shown here"),
        });
        Route { name: to, note }
    }

    /// The channel that a page goes to.
    fn of(&self, page: &Page) -> &Channel {
        page.route.as_ref().and_then(|name| self.by_name.get(name)).unwrap_or(&Channel::Console)
    }

    /// Sends a page once; gives what the receiver answered.
    ///
    /// # Errors
    /// From the receiver.
    pub async fn send(&self, page: &Page) -> Result<Detail, WorldError> {
        let channel = self.of(page);
        let mut detail = match channel {
            Channel::Console => self.console.print(page, None).map(|()| Detail::new()),
            Channel::Webhook(webhook) => {
                webhook.post(&page.action_id.to_string(), &page.body()).await.map(|()| Detail::new())
            }
            Channel::PagerDuty(pagerduty) => to_pagerduty(pagerduty, page).await,
            Channel::Slack(slack) => to_slack(slack, page).await,
            Channel::Email(email) => to_email(email, page).await,
        }?;
        detail.insert("channel".to_owned(), channel.kind().to_owned());
        Ok(detail)
    }

    /// Asks whether a page is there that may have been sent; `None`: it is not, or nobody can be asked.
    ///
    /// # Errors
    /// From the receiver.
    pub(super) async fn read_back(&self, page: &Page) -> Result<Option<Detail>, WorldError> {
        let Channel::Slack(slack) = self.of(page) else { return Ok(None) };
        let since_ms = page.requested_at.saturating_sub(SKEW_MS);
        let found = slack.find(&page.mark(), since_ms, known_thread(slack, page)).await?;
        let Some(ts) = found.message else { return Ok(None) };
        let mut detail = posted(slack, &ts, found.thread.as_deref());
        detail.insert("channel".to_owned(), "slack".to_owned());
        detail.insert("read_back".to_owned(), "true".to_owned());
        Ok(Some(detail))
    }

    /// Shows a page that could not be delivered where it belongs.
    pub(super) fn fall_back(&self, page: &Page, why: &str) {
        if let Err(error) = self.console.print(page, Some(&format!("not delivered to {}: {why}", page.channel))) {
            tracing::error!(%error, "a page could be neither delivered nor shown");
        }
    }
}

async fn to_pagerduty(pagerduty: &PagerDuty, page: &Page) -> Result<Detail, WorldError> {
    match page.kind {
        Kind::Page => pagerduty.trigger(&page.dedup_key, &page.alert()).await?,
        Kind::Clear => pagerduty.resolve(&page.dedup_key).await?,
    }
    Ok(Detail::from([("dedup_key".to_owned(), page.dedup_key.clone())]))
}

async fn to_slack(slack: &Slack, page: &Page) -> Result<Detail, WorldError> {
    let mut thread = known_thread(slack, page).map(str::to_owned);
    if thread.is_none() && page.thread.may_be_older {
        let since_ms = page.requested_at.saturating_sub(THREAD_MS);
        match slack.find(&page.mark(), since_ms, None).await {
            Ok(found) => thread = found.thread,
            // In a place of its own is better than not at all.
            Err(error) => tracing::warn!(%error, incident = %page.incident, "the thread is not found"),
        }
    }
    let ts = match slack.post(&page.message(thread.clone())).await {
        // Somebody has deleted what it follows.
        Err(WorldError::NotFound { .. }) if thread.is_some() => {
            thread = None;
            slack.post(&page.message(None)).await?
        }
        posted => posted?,
    };
    Ok(posted(slack, &ts, thread.as_deref()))
}

/// The thread of a page, if it is known and of this channel.
fn known_thread<'p>(slack: &Slack, page: &'p Page) -> Option<&'p str> {
    page.thread.slack.as_ref().filter(|(channel, _)| channel == slack.channel()).map(|(_, ts)| ts.as_str())
}

/// Where a message of Slack's is: what follows finds its thread by this.
fn posted(slack: &Slack, ts: &str, thread: Option<&str>) -> Detail {
    let place = [("slack_channel", slack.channel()), ("ts", ts), ("thread", thread.unwrap_or(ts))];
    place.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

async fn to_email(email: &Email, page: &Page) -> Result<Detail, WorldError> {
    let letter = page.letter();
    let refused = email.send(&letter).await?;
    let mut detail = Detail::from([("message_id".to_owned(), email.message_id(&letter.id))]);
    if !refused.is_empty() {
        tracing::warn!(action = %page.action_id, ?refused, "recipients were refused");
        detail.insert("refused".to_owned(), refused.join(" "));
    }
    Ok(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(names: &[&str]) -> Channels {
        let by_name = names.iter().map(|name| ((*name).to_owned(), Channel::Console)).collect();
        let owners = [("TSA".to_owned(), "tsa_ops".to_owned()), ("FAA".to_owned(), "gone".to_owned())];
        Channels::new(by_name, Console::new(std::io::sink())).with_owners(owners.into())
    }

    #[test]
    fn a_name_leads_to_its_channel_then_to_the_owners_then_to_the_default_then_to_the_console() {
        let all = channels(&["tsa_ops", "duty", "default"]);
        for (name, owner, to, says) in [
            ("duty", Some("TSA"), Some("duty"), false),
            ("nobody", Some("TSA"), Some("tsa_ops"), true),
            ("nobody", Some("FAA"), Some("default"), true),
            ("nobody", None, Some("default"), true),
            ("default", Some("TSA"), Some("tsa_ops"), false),
            ("default", Some("x"), Some("default"), false),
        ] {
            let route = all.route(name, owner);
            assert_eq!((route.name.as_deref(), route.note.is_some()), (to, says), "{name} of {owner:?}");
        }
        let console = channels(&[]).route("nobody", Some("TSA"));
        assert_eq!(console.name, None);
        assert!(console.note.unwrap().contains("\"nobody\" is not configured"));
        assert_eq!(channels(&[]).route("default", None), Route { name: None, note: None });
    }
}
