//! The human's hand: stop all actions, or let them go on. It stands on `ops.actions`, where every actor reads it before
//! it begins anything; pages pass.
//!
//! A freeze of all services is one record in each partition. They are not one transaction: if some are lost the call
//! fails, and may be made again.

use std::ops::Range;
use std::time::Duration;

use super::{Error, acknowledged};
use crate::bus::{Offsets, Producer, Record, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::topics::Topics;
use crate::telemetry::clock::now_ms;

/// How long the brokers may take to acknowledge.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes `kind` (`frozen` or `thawed`) for a service, or for all, in the name of `who`. Whatever has not written its
/// intent when this returns sees it.
///
/// # Errors
/// The bus; what is not acknowledged may or may not hold.
pub fn switch(
    settings: &Settings,
    topics: &Topics,
    service: Option<&ServiceId>,
    who: &str,
    kind: ActionKind,
) -> Result<ActionEvent, Error> {
    let partitions = Offsets::new(settings)?.partitions(&topics.actions)?;
    let of = service.cloned().unwrap_or_else(ServiceId::ops);
    let event = ActionEvent::switch(kind, &of, who, now_ms());
    let homes = service.map_or(0..partitions, |service| {
        let home = service.home(partitions);
        home..home + 1
    });
    append(settings, topics, &event, homes)?;
    Ok(event)
}

/// Appends what a human says to these partitions of `ops.actions`.
pub(super) fn append(
    settings: &Settings,
    topics: &Topics,
    event: &ActionEvent,
    homes: Range<i32>,
) -> Result<(), Error> {
    let value = codec::action::encode(event);
    let headers = codec::action::headers(event);
    let headers: Vec<_> = headers.iter().map(|(name, text)| (*name, Some(text.as_bytes()))).collect();
    let producer = Producer::new(settings, 1000)?;
    for partition in homes {
        let record = Record {
            topic: &topics.actions,
            partition,
            key: Some(event.service.as_str().as_bytes()),
            value: Some(&value),
            headers: &headers,
            timestamp_ms: None,
        };
        producer.send(&record, PATIENCE)?;
    }
    acknowledged(&producer.flush(PATIENCE))
}
