//! To whom a page goes: channels by name, and how a page gets there. PagerDuty and Slack will be further kinds here.
//!
//! A name that nobody configured goes to the console, and says so: a page is never silently lost.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::page::Page;
use crate::world::WorldError;
use crate::world::webhook::Webhook;

/// The channel of pages that name none.
pub const DEFAULT: &str = "default";

/// How pages get to somebody.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Printed where the pager runs.
    Console,
    /// Posted as JSON, with the action's id as `Idempotency-Key`.
    Webhook(Webhook),
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
    fn print(&self, page: &Page, note: Option<&str>) -> std::io::Result<()> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(page.block(note).as_bytes())?;
        out.flush()
    }
}

/// All channels.
#[derive(Clone, Debug)]
pub struct Channels {
    by_name: BTreeMap<String, Channel>,
    console: Console,
}

impl Channels {
    /// These, and the console for all others.
    pub fn new(by_name: BTreeMap<String, Channel>, console: Console) -> Self {
        Self { by_name, console }
    }

    /// Can sending the same page twice to this channel be noticed by whoever gets it?
    pub(super) fn kind(&self, name: &str) -> &'static str {
        match self.by_name.get(name) {
            Some(Channel::Webhook(_)) => "webhook",
            Some(Channel::Console) | None => "console",
        }
    }

    /// Sends a page once.
    ///
    /// # Errors
    /// From the receiver.
    pub(super) async fn send(&self, name: &str, page: &Page) -> Result<(), WorldError> {
        match self.by_name.get(name) {
            Some(Channel::Webhook(webhook)) => webhook.post(&page.action_id.to_string(), &page.body()).await,
            Some(Channel::Console) => self.print(page, None),
            None if name == DEFAULT => self.print(page, None),
            None => self.print(page, Some(&format!("channel {name:?} is not configured, so it is shown here"))),
        }
    }

    /// Shows a page that could not be delivered where it belongs.
    pub(super) fn fall_back(&self, page: &Page, why: &str) {
        if let Err(error) = self.print(page, Some(&format!("not delivered to {}: {why}", page.channel))) {
            tracing::error!(%error, "a page could be neither delivered nor shown");
        }
    }

    fn print(&self, page: &Page, note: Option<&str>) -> Result<(), WorldError> {
        self.console
            .print(page, note)
            .map_err(|error| WorldError::Unreachable { target: "console".to_owned(), reason: error.to_string() })
    }
}
