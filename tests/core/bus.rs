//! A bus in memory that behaves as Kafka does where exactly-once depends on it: offsets with holes (markers, aborted
//! records), transactions over several topics and the group's offsets, readers that stop at an open transaction,
//! fencing by the transactional id, append times that the broker sets. Not a model of its failures: the fake worker
//! beside it dies in their place.

use std::collections::BTreeMap;

use hms_ops::codec::incident::Wire;
use hms_ops::model::ServiceId;
use hms_ops::processor::core::SpecChange;

/// A transaction, by its place in the order in which they began.
pub type Transaction = usize;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Open,
    Committed,
    Aborted,
}

/// One partition of a topic.
#[derive(Debug)]
pub struct Log<T>(Vec<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    /// None is a marker.
    body: Option<T>,
    transaction: Option<Transaction>,
}

/// A record of `ops.metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub append: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Forwarded: partition, offset and append time of its first place.
    pub from: Option<(usize, i64, i64)>,
}

/// Partition p of every topic, and what the group committed of it.
#[derive(Debug, Default)]
pub struct Partition {
    pub metrics: Log<Metric>,
    pub incidents: Log<Wire>,
    pub rollups: Log<Vec<u8>>,
    pub state: Log<(String, Vec<u8>)>,
    pub rejected: Log<Vec<u8>>,
    /// Not a topic: where changes of specs took effect, committed with what they led to.
    pub changes: Log<(i64, SpecChange)>,
    /// The group's offset and metadata.
    pub committed: Option<(i64, String)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Bus {
    pub partitions: Vec<Partition>,
    transactions: Vec<Status>,
    /// By transactional id: how often it was taken, and its open transaction.
    producers: BTreeMap<String, (u64, Option<Transaction>)>,
    /// `ops.services`, compacted, and how often it changed.
    pub specs: BTreeMap<ServiceId, SpecChange>,
    pub version: u64,
    /// The broker's clock, ms.
    pub now: i64,
    /// By partition: who owns it in the group's present generation.
    pub owners: Vec<String>,
    /// A commit that its sender did not live to see answered: name, epoch, offsets.
    pub in_flight: Option<(String, u64, Vec<Offset>)>,
}

/// An offset of `ops.metrics`: partition, offset, metadata.
pub type Offset = (usize, i64, String);

/// Somebody else has taken the name.
#[derive(Debug, PartialEq)]
pub struct Fenced;

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Log<T> {
    /// The offset of the next record.
    pub fn end(&self) -> i64 {
        self.0.len() as i64
    }

    /// Appends a record and says where.
    pub fn append(&mut self, body: T, transaction: Option<Transaction>) -> i64 {
        self.0.push(Slot { body: Some(body), transaction });
        self.end() - 1
    }

    /// A hole that no record fills.
    pub fn append_marker(&mut self) {
        self.0.push(Slot { body: None, transaction: None });
    }

    fn holds(&self, transaction: Transaction) -> bool {
        self.0.iter().any(|slot| slot.transaction == Some(transaction))
    }

    fn end_transaction(&mut self, transaction: Transaction) {
        if self.holds(transaction) {
            self.append_marker();
        }
    }
}

impl Bus {
    pub fn new(partitions: usize) -> Self {
        let logs = (0..partitions).map(|_| Partition::default()).collect();
        Self { partitions: logs, owners: vec![String::new(); partitions], ..Self::default() }
    }

    /// What a reader sees from `from` on: committed records, up to the first of an open transaction.
    pub fn committed<'a, T>(&'a self, log: &'a Log<T>, from: i64) -> impl Iterator<Item = (i64, &'a T)> {
        let status = |slot: &Slot<T>| slot.transaction.map_or(Status::Committed, |number| self.transactions[number]);
        let stable = log.0.iter().position(|slot| status(slot) == Status::Open).unwrap_or(log.0.len());
        (0..).zip(&log.0[..stable]).skip(from.max(0) as usize).filter_map(move |(offset, slot)| {
            slot.body.as_ref().filter(|_| status(slot) == Status::Committed).map(|body| (offset, body))
        })
    }

    /// Where a consumer that has read everything up to `position` stands: behind the holes that follow.
    pub fn behind_holes(&self, partition: usize, position: i64) -> i64 {
        let log = &self.partitions[partition].metrics;
        let is_hole = |slot: &&Slot<Metric>| {
            slot.body.is_none() || slot.transaction.is_some_and(|number| self.transactions[number] == Status::Aborted)
        };
        position + log.0[position as usize..].iter().take_while(is_hole).count() as i64
    }

    /// Takes a transactional id: whatever its last holder left open is aborted, and its last holder fenced. Gives the
    /// epoch.
    pub fn take_name(&mut self, name: &str) -> u64 {
        let (_, open) = self.producers.get(name).copied().unwrap_or_default();
        if let Some(open) = open {
            self.end(open, Status::Aborted);
        }
        let producer = self.producers.entry(name.to_owned()).or_default();
        producer.1 = None;
        producer.0 += 1;
        producer.0
    }

    /// Does this holder still hold the name?
    pub fn check(&self, name: &str, epoch: u64) -> Result<(), Fenced> {
        if self.producers[name].0 == epoch { Ok(()) } else { Err(Fenced) }
    }

    /// The open transaction of a holder; begins one if there is none.
    pub fn transaction(&mut self, name: &str, epoch: u64) -> Result<Transaction, Fenced> {
        self.check(name, epoch)?;
        let next = self.transactions.len();
        let producer = self.producers.get_mut(name).expect("its name was taken");
        let open = *producer.1.get_or_insert(next);
        if open == next {
            self.transactions.push(Status::Open);
        }
        Ok(open)
    }

    /// Commits a transaction and the offsets in it, all at once.
    pub fn commit(&mut self, name: &str, epoch: u64, offsets: Vec<Offset>) -> Result<(), Fenced> {
        let transaction = self.transaction(name, epoch)?;
        if offsets.iter().any(|(partition, ..)| self.owners[*partition] != name) {
            self.end(transaction, Status::Aborted);
            return Err(Fenced);
        }
        self.end(transaction, Status::Committed);
        self.commit_apart(offsets);
        Ok(())
    }

    /// The commit that is under way arrives: too late if its sender's name was taken since. Its offsets were accepted
    /// when they were sent, whoever owns the partitions now.
    pub fn land(&mut self) {
        let Some((name, epoch, offsets)) = self.in_flight.take() else { return };
        if let Ok(transaction) = self.transaction(&name, epoch) {
            self.end(transaction, Status::Committed);
            self.commit_apart(offsets);
        }
    }

    /// A reader of a partition waits for the open transactions of others in it: what is under way arrives, the rest
    /// times out, which fences whoever was so slow.
    pub fn settle(&mut self, name: &str, partition: usize) {
        self.land();
        let touches = |transaction: Transaction| {
            let partition = &self.partitions[partition];
            partition.state.holds(transaction) || partition.rollups.holds(transaction)
        };
        let others = self.producers.iter().filter(|(other, (_, open))| *other != name && open.is_some_and(touches));
        for other in others.map(|(other, _)| other.clone()).collect::<Vec<_>>() {
            self.take_name(&other);
        }
    }

    /// Offsets alone: what a commit must never be.
    pub fn commit_apart(&mut self, offsets: Vec<Offset>) {
        for (partition, offset, metadata) in offsets {
            self.partitions[partition].committed = Some((offset, metadata));
        }
    }

    fn end(&mut self, transaction: Transaction, status: Status) {
        self.transactions[transaction] = status;
        for producer in self.producers.values_mut() {
            producer.1 = producer.1.filter(|open| *open != transaction);
        }
        for partition in &mut self.partitions {
            partition.metrics.end_transaction(transaction);
            partition.incidents.end_transaction(transaction);
            partition.rollups.end_transaction(transaction);
            partition.state.end_transaction(transaction);
            partition.rejected.end_transaction(transaction);
            partition.changes.end_transaction(transaction);
        }
    }
}
