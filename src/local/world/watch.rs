//! A watch of the simulated API: the changes of a kind as JSON lines, for as long as the client listens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout_at};

use super::cluster::Shared;
use super::store::{Kind, Selector};
use super::tables;

/// What a client watches, and how it wants to see it.
pub(super) struct Watch {
    pub(super) kind: Kind,
    pub(super) selector: Selector,
    /// Changes after this one; `None`: first everything that is there.
    pub(super) from: Option<u64>,
    /// Rows of a table; if so, with whole objects or only their metadata.
    pub(super) table: Option<bool>,
    /// When the server ends the watch.
    pub(super) until: Instant,
}

/// The body of the answer.
pub(super) fn stream(shared: Arc<Shared>, watch: Watch) -> Body {
    let changed = shared.changed();
    let seed = Some((shared, watch, changed));
    Body::from_stream(stream::unfold(seed, |state| async move {
        let (shared, mut watch, mut changed) = state?;
        loop {
            changed.mark_unchanged();
            match news(&shared, &mut watch) {
                News::Lines(lines) if lines.is_empty() => {}
                News::Lines(lines) => return Some((line(lines), Some((shared, watch, changed)))),
                News::Last(lines) => return Some((line(lines), None)),
                News::End => return None,
            }
            wait(&mut changed, watch.until).await?;
        }
    }))
}

enum News {
    Lines(String),
    /// Nothing can follow these.
    Last(String),
    End,
}

fn line(text: String) -> Result<Bytes, Infallible> {
    Ok(Bytes::from(text))
}

/// Ends with `None` when the watch is over.
async fn wait(changed: &mut Receiver<()>, until: Instant) -> Option<()> {
    timeout_at(until, changed.changed()).await.ok()?.ok()
}

fn news(shared: &Shared, watch: &mut Watch) -> News {
    if shared.is_closed() {
        return News::End;
    }
    let cluster = shared.cluster();
    let store = &cluster.store;
    let mut lines = String::new();
    let mut add = |event: &str, object: &Value| {
        let object = match watch.table {
            Some(whole) => {
                let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                tables::table(watch.kind, [object], version, whole, Timestamp::now())
            }
            None => object.clone(),
        };
        lines += &json!({"type": event, "object": object}).to_string();
        lines.push('\n');
    };
    match watch.from {
        None => store.list(watch.kind).filter(|o| watch.selector.takes(o)).for_each(|o| add("ADDED", o)),
        Some(from) => match store.since(from) {
            Ok(changes) => changes
                .filter(|change| change.kind == watch.kind && watch.selector.takes(&change.object))
                .for_each(|change| add(change.event, &change.object)),
            Err(expired) => {
                let event = json!({"type": "ERROR", "object": expired.body()});
                return News::Last(format!("{event}\n"));
            }
        },
    }
    watch.from = Some(store.revision());
    News::Lines(lines)
}
