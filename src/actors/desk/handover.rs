//! Partitions come and go: taken over with all that is known of them, given up in order, or lost. The desk's consumer
//! calls it.

use std::time::{Duration, Instant};

use super::{Desk, WAIT};
use crate::actors::error::Error;
use crate::actors::restore;
use crate::actors::role::Role;
use crate::bus::{GroupConsumer, Isolation, Reader, Rebalance};

/// How long effects that are under way may take when partitions are given up. Whoever takes over looks first.
const GRACE: Duration = Duration::from_secs(3);

impl<R: Role> Desk<'_, R> {
    /// Lets effects that are under way end, then commits what is known, saying that the partitions are free.
    fn give_up(&mut self, consumer: &GroupConsumer, partitions: &[i32]) -> Result<(), Error> {
        let deadline = Instant::now() + GRACE;
        while self.work.is_acting() && Instant::now() < deadline {
            self.collect(WAIT);
        }
        let places = self.places(consumer, partitions)?;
        self.commit(consumer, places)
    }

    fn drop_partitions(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.committed.remove(partition);
            if let Some(ledger) = self.ledgers.remove(partition) {
                for task in ledger.waiting() {
                    self.work.done(&task.action_id);
                    self.intended.remove(&task.action_id);
                }
            }
        }
        self.outbox.retain(|out| !partitions.contains(&out.partition));
        self.counters.hold(self.ledgers.len(), self.failure.is_none());
    }

    fn take_over(&mut self, consumer: &GroupConsumer, partitions: &[i32]) -> Result<(), Error> {
        let writer = self.producer.transactional_id().to_owned();
        for committed in consumer.committed(partitions)? {
            let (ledger, position) =
                restore::restore(&*self.role, self.options, &writer, consumer, &committed, self.counters)?;
            consumer.start(committed.partition, position)?;
            self.ledgers.insert(committed.partition, ledger);
        }
        let starts: Vec<_> =
            self.ledgers.iter().map(|(partition, ledger)| (*partition, ledger.actions_next())).collect();
        let (bus, topic) = (&self.options.bus, &self.options.topics.actions);
        self.follower = Some(Reader::open(bus, topic, Isolation::Committed, starts)?);
        self.counters.hold(self.ledgers.len(), true);
        Ok(())
    }
}

impl<R: Role> Rebalance for Desk<'_, R> {
    fn assigned(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        if let Err(error) = self.take_over(consumer, partitions) {
            self.failure.get_or_insert(error);
        }
    }

    fn revoked(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        if let Err(error) = self.give_up(consumer, partitions) {
            self.failure.get_or_insert(error);
        }
        self.drop_partitions(partitions);
    }

    fn lost(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.drop_partitions(partitions);
    }
}
