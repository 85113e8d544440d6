//! What a worker does when it is interrupted: by the group, which gives and takes partitions, or by a transaction that
//! failed. State and offsets go back to what is committed, all partitions together. Called by the worker's loop and by
//! the consumer's poll.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Session;
use crate::bus::{self, GroupConsumer, Rebalance, TransactionalProducer, Verdict};
use crate::processor::error::{Error, Result};
use crate::torture::{self, Point, Sabotage};

impl Session {
    /// What can be mended within this membership is: the transaction is given up, or its producer replaced, and
    /// every partition goes back to what is committed.
    pub(super) fn mend(&mut self, done: Result<()>, consumer: &GroupConsumer) -> Result<()> {
        let error = match done.and_then(|()| self.failure.take().map_or(Ok(()), Err)) {
            Ok(()) => return Ok(()),
            Err(Error::Bus(error)) => error,
            Err(error) => return Err(error),
        };
        match error.verdict() {
            Verdict::Retry | Verdict::AbortAndRewind => {
                tracing::warn!(worker = self.name, %error, "rewinding to what is committed");
                if self.producer.abort().is_err() {
                    self.renew_producer()?;
                }
            }
            Verdict::Recreate => {
                tracing::warn!(worker = self.name, %error, "a new producer, and back to what is committed");
                self.renew_producer()?;
            }
            Verdict::Fenced | Verdict::Fatal => return Err(error.into()),
        }
        if torture::is_without(Sabotage::NoRewind) {
            return Ok(());
        }
        self.rewind(consumer)
    }

    fn renew_producer(&mut self) -> Result<()> {
        let id = self.shared.transactional_id(&self.name);
        // The old one goes first: whatever it has in flight is fenced by the new one.
        self.producer = TransactionalProducer::new(&self.shared.settings, &id)?;
        Ok(())
    }

    fn rewind(&mut self, consumer: &GroupConsumer) -> Result<()> {
        for partition in std::mem::take(&mut self.tasks).into_keys() {
            consumer.pause(partition)?;
            self.waiting.insert(partition);
        }
        self.forget();
        torture::reached(Point::AfterRewind);
        Ok(())
    }

    /// Nothing of the transaction is left.
    fn forget(&mut self) {
        self.forwards.clear();
        self.effects.clear();
        (self.dirty, self.hurry) = (false, false);
    }
}

impl Rebalance for Session {
    fn assigned(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.waiting.extend(partitions);
        if !partitions.is_empty() {
            self.assigned_at.get_or_insert_with(Instant::now);
        }
    }

    fn revoked(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        let ours: BTreeSet<i32> = partitions.iter().copied().collect();
        if self.failure.is_none()
            && let Err(error) = self.commit(consumer, &ours)
        {
            self.failure = Some(error);
        }
        torture::reached(Point::Revoked);
        self.tasks.retain(|partition, _| !ours.contains(partition));
        self.waiting.retain(|partition| !ours.contains(partition));
    }

    fn lost(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        if torture::is_without(Sabotage::CommitLost) {
            return self.revoked(consumer, partitions);
        }
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        self.waiting.retain(|partition| !partitions.contains(partition));
        // The open transaction holds effects of partitions that may be somebody else's by now.
        let place = bus::error::Place::topic(&self.shared.topics.metrics);
        self.failure = Some(bus::Error::rewind("keeping partitions", place, "they were lost").into());
    }
}
