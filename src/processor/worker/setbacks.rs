//! What interrupts the loop of a worker: partitions are taken over, asked back or lost, and what went wrong is led back
//! to what is committed. The worker calls it, and so does its consumer.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Session;
use super::held::Held;
use crate::bus::{self, GroupConsumer, PartitionOffset, Rebalance, TransactionalProducer, Verdict};
use crate::processor::error::{Error, Result};
use crate::processor::metadata::Metadata;
use crate::processor::restore::{Restored, Takeover};
use crate::processor::specs::Specs;
use crate::processor::task::Task;
use crate::telemetry::processor::{Ended, TakenOver};
use crate::torture::{self, Point, Sabotage};

impl Session {
    pub(super) fn restore(&mut self, consumer: &GroupConsumer) -> Result<()> {
        self.shared.registry.catch_up()?;
        let began = Instant::now();
        let takeover = Takeover {
            settings: &self.shared.settings,
            topics: &self.shared.topics,
            group: &self.shared.group,
            writer: self.outbox.transactional_id(),
            partitions: self.shared.partitions,
            accept_gap: self.shared.accept_gap,
        };
        let waiting: Vec<i32> = self.waiting.iter().copied().collect();
        if !torture::is_without(Sabotage::NoFence) {
            takeover.fence(&waiting)?;
        }
        torture::reached(Point::AfterFence);
        let mut specs: Specs = self.shared.registry.specs(|_| true).1.into_values().collect();
        let restored = takeover.run(consumer, &waiting, &mut specs)?;
        self.claim(consumer, &restored);
        for (partition, mut restored) in restored {
            self.effects.incidents.append(&mut restored.farewell);
            let mut task = Task::new(restored);
            if task.is_new() {
                task.core.cut(task.position, &mut self.effects);
                let (topics, offsets) = (&self.shared.topics, consumer.offsets());
                task.publish(partition, &mut self.outbox, topics, offsets, &mut self.effects)?;
            }
            consumer.start(partition, task.position)?;
            let taken = TakenOver { partition, position: task.position, took: began.elapsed() };
            taken.emit(&self.name, &self.shared.metrics);
            self.tasks.insert(partition, task);
            self.waiting.remove(&partition);
        }
        torture::reached(Point::AfterRestore);
        self.commit(consumer, &BTreeSet::new())?;
        torture::reached(Point::AfterFirstCommit);
        if let Some(at) = self.assigned_at.take() {
            let took_ms = at.elapsed().as_millis();
            tracing::info!(worker = self.name, partitions = ?waiting, took_ms, "first commit after the assignment");
        }
        Ok(())
    }

    /// Puts our name beside the offsets that are committed, before our first transaction: whoever follows us then knows
    /// whom to fence if we die inside it, and need not wait until the cluster gives the transaction up.
    fn claim(&self, consumer: &GroupConsumer, restored: &[(i32, Restored)]) {
        let claim = |(partition, restored): &(i32, Restored)| {
            let (cut, state) = restored.marks?;
            let metadata = Metadata { writer: self.outbox.transactional_id().to_owned(), cut, state, released: false };
            Some(PartitionOffset {
                topic: self.shared.topics.metrics.clone(),
                partition: *partition,
                offset: restored.position,
                metadata: metadata.to_text(),
            })
        };
        let claims: Vec<_> = restored.iter().filter_map(claim).collect();
        if let Err(error) = consumer.commit_apart(&claims) {
            // The transaction that follows is refused too, if there is a reason.
            tracing::debug!(worker = self.name, %error, "not claimed");
        }
    }

    /// What can be mended within this membership is: the transaction is given up, or its producer replaced, and
    /// every partition goes back to what is committed.
    pub(super) fn mend(&mut self, done: Result<()>, consumer: &GroupConsumer) -> Result<()> {
        let error = match done.and_then(|()| self.failure.take().map_or(Ok(()), Err)) {
            Ok(()) => return Ok(()),
            Err(Error::Bus(error)) => error,
            Err(error) => return Err(error),
        };
        // A transaction may be ending while something else went wrong. Of its end only that matters which leaves us no
        // way on; what is committed the rewind finds out.
        let error = match self.settle() {
            Err(Error::Bus(worse)) if matches!(worse.verdict(), Verdict::Fenced | Verdict::Fatal) => worse,
            Ok(()) | Err(_) => error,
        };
        match error.verdict() {
            Verdict::Retry | Verdict::AbortAndRewind => {
                Ended::Rewound(&error).emit(&self.name, &self.shared.metrics);
                if self.outbox.abort().is_err() {
                    self.renew_producer()?;
                }
            }
            Verdict::Recreate => {
                Ended::Rewound(&error).emit(&self.name, &self.shared.metrics);
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
        // The new one fences the old one and whatever that has in flight; then the old one goes.
        self.outbox.renew(TransactionalProducer::new(&self.shared.settings, &id)?);
        Ok(())
    }

    fn rewind(&mut self, consumer: &GroupConsumer) -> Result<()> {
        self.held = Held::default();
        for partition in std::mem::take(&mut self.tasks).into_keys() {
            consumer.pause(partition)?;
            self.waiting.insert(partition);
        }
        self.forget();
        self.tell_holdings();
        torture::reached(Point::AfterRewind);
        Ok(())
    }

    /// Nothing of the transaction is left.
    fn forget(&mut self) {
        self.forwards.clear();
        self.effects.clear();
        self.ending = None;
        (self.dirty, self.hurry) = (false, false);
    }
}

impl Rebalance for Session {
    fn assigned(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.waiting.extend(partitions);
        self.tell_holdings();
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
        torture::reached(Point::RevokedCommitted);
        self.drop_tasks(partitions);
        ours.iter().for_each(|partition| self.held.forget(*partition));
        self.waiting.retain(|partition| !ours.contains(partition));
        self.tell_holdings();
    }

    fn lost(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        if torture::is_without(Sabotage::CommitLost) {
            return self.revoked(consumer, partitions);
        }
        self.drop_tasks(partitions);
        partitions.iter().for_each(|partition| self.held.forget(*partition));
        self.waiting.retain(|partition| !partitions.contains(partition));
        self.tell_holdings();
        // The open transaction holds effects of partitions that may be somebody else's by now.
        let place = bus::error::Place::topic(&self.shared.topics.metrics);
        self.failure = Some(bus::Error::rewind("keeping partitions", place, "they were lost").into());
    }
}
