//! Partitions that wait for the schema registry. A record whose schema id nobody has explained yet can be judged neither
//! way: its partition stands still before it, the others go on, and when the answer is there it goes on with that record.
//! Nothing is skipped and nothing becomes a dead letter because a registry was down. The worker calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Session;
use crate::bus::{GroupConsumer, Message};
use crate::processor::error::Result;
use crate::torture::{self, Sabotage};

/// So long a batch waits for answers before partitions are held back: a registry that is well takes a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(200);

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<i32, Wait>);

#[derive(Debug)]
struct Wait {
    /// The record that cannot be judged.
    offset: i64,
    /// What it names.
    id: u32,
    /// The consumer hands out no more of the partition.
    paused: bool,
}

impl Held {
    /// Is this record held back, or behind one that is?
    #[inline]
    pub fn is_behind(&self, partition: i32, offset: i64) -> bool {
        !self.0.is_empty() && self.0.get(&partition).is_some_and(|wait| offset >= wait.offset)
    }

    /// Does this partition wait?
    pub fn holds(&self, partition: i32) -> bool {
        self.0.contains_key(&partition)
    }

    /// It is not ours any more.
    pub fn forget(&mut self, partition: i32) {
        self.0.remove(&partition);
    }
}

impl Session {
    /// Has the ids of these records explained, and holds back what nobody explains in time.
    pub(super) fn meet(&mut self, messages: &[Message<'_>]) {
        let unknown = |message: &Message<'_>| message.bytes().and_then(|value| self.ids.unknown(value));
        let wanted: BTreeSet<u32> = messages.iter().filter_map(unknown).collect();
        if wanted.is_empty() || torture::is_without(Sabotage::UnknownIdsRejected) {
            return;
        }
        self.ids = self.shared.settings.ask(&wanted, PATIENCE);
        for message in messages {
            let Some(id) = message.bytes().and_then(|value| self.ids.unknown(value)) else { continue };
            let wait = Wait { offset: message.offset(), id, paused: false };
            // Of several the first.
            self.held.0.entry(message.partition()).or_insert(wait);
        }
    }

    /// No more of what waits is to come. Before that the records in hand must be given back.
    pub(super) fn hold_back(&mut self, consumer: &GroupConsumer) -> Result<()> {
        for (&partition, wait) in self.held.0.iter_mut().filter(|(_, wait)| !wait.paused) {
            consumer.pause(partition)?;
            wait.paused = true;
            tracing::info!(partition, offset = wait.offset, id = wait.id, "waits for the schema registry");
        }
        Ok(())
    }

    /// What has its answer goes on.
    pub(super) fn let_go(&mut self, consumer: &GroupConsumer) -> Result<()> {
        self.ids = self.shared.settings.ids();
        if self.held.0.is_empty() {
            return Ok(());
        }
        let explained = |wait: &Wait| self.ids.knows(wait.id);
        let ready: Vec<i32> = self.held.0.iter().filter(|(_, wait)| explained(wait)).map(|(each, _)| *each).collect();
        for partition in ready {
            if let Some(task) = self.tasks.get(&partition) {
                consumer.start(partition, task.position)?;
            }
            self.held.forget(partition);
            tracing::info!(partition, "goes on: the schema registry has answered");
        }
        Ok(())
    }
}
