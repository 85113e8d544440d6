//! Taking a partition over: the bookmark, the fence, and both logs read to their ends. Nothing is done before.

use std::time::Duration;

use super::bookmark::Bookmark;
use super::counters::Counters;
use super::error::Error;
use super::frame::Options;
use super::ledger::Ledger;
use super::role::Role;
use crate::bus::{self, Committed, GroupConsumer, Isolation, Message, Next, Reader, Watermarks, fence};
use crate::codec;
use crate::model::action::ActionEvent;
use crate::model::incident::IncidentEvent;
use crate::torture::{self, Sabotage};

/// How long one wait for the next record takes; the reader ends by itself at its end.
const WAIT: Duration = Duration::from_secs(1);

/// What the actor knows of a partition, and the offset from which its group goes on.
pub(super) fn restore<R: Role>(
    role: &R,
    options: &Options,
    writer: &str,
    consumer: &GroupConsumer,
    committed: &Committed,
    counters: &Counters,
) -> Result<(Ledger, i64), Error> {
    let (partition, incidents, actions) = (committed.partition, &options.topics.incidents, &options.topics.actions);
    let Some(offset) = committed.offset else {
        // A new group: what was asked for before it is not its business.
        let Watermarks { high, .. } = consumer.watermarks(partition)?;
        // What was done before it is: by whom others are frozen or cool down is its business too.
        let ledger = Ledger::new(high, consumer.offsets().watermarks(actions, partition)?.low);
        let ledger = read_actions(ledger, options, consumer, partition, counters)?;
        tracing::info!(actor = role.name(), partition, offset = high, "a new group starts at the end");
        return Ok((ledger, high));
    };
    let bookmark: Bookmark = committed.metadata.parse().map_err(|()| Error::Bookmark {
        group: options.group.clone(),
        partition,
        metadata: committed.metadata.clone(),
    })?;
    if !bookmark.released && bookmark.writer != writer {
        fence(&options.bus, &bookmark.writer)?;
    }
    // The end is taken here, not from the reader: its position may be beyond, by a record that came meanwhile and
    // that it did not hand out.
    let Watermarks { low, high } = consumer.watermarks(partition)?;
    if offset > high {
        return Err(bus::Error::OffsetOutOfRange { topic: incidents.clone(), partition, offset, low, high }.into());
    }
    // What the log has let go is older than anything that is still acted on.
    let actions_low = consumer.offsets().watermarks(actions, partition)?.low;
    let mut actions_from = bookmark.actions.max(actions_low);
    if torture::is_without(Sabotage::RestoreWithoutActions) {
        actions_from = consumer.offsets().watermarks(actions, partition)?.high;
    }
    let ledger = Ledger::new(offset, actions_from);
    let mut ledger = read_actions(ledger, options, consumer, partition, counters)?;
    let from = bookmark.incidents.min(offset).max(low);
    let mut reader = Reader::open(&options.bus, incidents, Isolation::Committed, [(partition, from)])?;
    reader.until([(partition, high)]);
    let mut asked = Vec::new();
    while let Some((offset, event)) = next_incident(&mut reader, counters, incidents)? {
        ledger.fold_incident(offset, &event);
        asked.extend(role.asked(offset, &event, &ledger));
    }
    // Only now, when everything is known.
    asked.into_iter().for_each(|task| ledger.wait_for(task));
    let by_actions: Vec<_> = ledger.told().filter_map(|event| role.asked_by_action(event, &ledger)).collect();
    by_actions.into_iter().for_each(|task| ledger.wait_for(task));
    tracing::info!(actor = role.name(), partition, position = high, waiting = ledger.waiting().len(), "restored");
    Ok((ledger, high))
}

/// Folds all that `ops.actions` holds now, from where the ledger says.
fn read_actions(
    mut ledger: Ledger,
    options: &Options,
    consumer: &GroupConsumer,
    partition: i32,
    counters: &Counters,
) -> Result<Ledger, Error> {
    let actions = &options.topics.actions;
    let starts = [(partition, ledger.actions_next())];
    let reader = Reader::open(&options.bus, actions, Isolation::Committed, starts)?;
    let mut reader = reader.until_now(consumer.offsets())?;
    while let Some((offset, event)) = next_action(&mut reader, counters, actions)? {
        ledger.fold_action(Some(offset), &event);
    }
    Ok(ledger)
}

fn next_incident(reader: &mut Reader, counters: &Counters, topic: &str) -> Result<Option<(i64, IncidentEvent)>, Error> {
    loop {
        match reader.next(WAIT)? {
            Next::End => return Ok(None),
            Next::Idle => {}
            Next::Record(message) => {
                if let Some(event) = incident(&message, counters, topic) {
                    return Ok(Some((message.offset(), event)));
                }
            }
        }
    }
}

fn next_action(reader: &mut Reader, counters: &Counters, topic: &str) -> Result<Option<(i64, ActionEvent)>, Error> {
    loop {
        match reader.next(WAIT)? {
            Next::End => return Ok(None),
            Next::Idle => {}
            Next::Record(message) => {
                if let Some(event) = action(&message, counters, topic) {
                    return Ok(Some((message.offset(), event)));
                }
            }
        }
    }
}

/// Reads a record of `ops.incidents`; one that cannot be read is counted and said, and stops nothing.
pub(super) fn incident(message: &Message<'_>, counters: &Counters, topic: &str) -> Option<IncidentEvent> {
    match codec::incident::decode(message.value().unwrap_or_default()) {
        Ok(event) => Some(event),
        Err(error) => {
            undecodable(message, counters, topic, &error);
            None
        }
    }
}

/// Reads a record of `ops.actions`; one that cannot be read is counted and said, and stops nothing.
pub(super) fn action(message: &Message<'_>, counters: &Counters, topic: &str) -> Option<ActionEvent> {
    match codec::action::decode(message.value().unwrap_or_default()) {
        Ok(event) => Some(event),
        Err(error) => {
            undecodable(message, counters, topic, &error);
            None
        }
    }
}

fn undecodable(message: &Message<'_>, counters: &Counters, topic: &str, error: &codec::Error) {
    counters.undecodable(topic);
    let (partition, offset) = (message.partition(), message.offset());
    tracing::error!(topic, partition, offset, %error, "a record cannot be read and is left out");
}
