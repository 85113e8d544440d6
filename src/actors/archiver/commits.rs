//! The offsets that the archiver's group commits: how far the archive is, for whoever watches the lag.
//!
//! Nothing hangs on them (where to go on says the vault), so what goes wrong here is said and tried again, no more.
//! The bus commits by transactions only; these have no records. The keeper calls it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Options;
use crate::bus::{Error, GroupConsumer, Outcome, PartitionOffset, Settings, TransactionalProducer};
use crate::telemetry::archiver::{ArchiverMetrics, Trouble};

/// Between two commits.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// So many failures in a row are no accident.
const WORTH_SAYING: u32 = 3;

/// See the module.
pub(super) struct Commits {
    settings: Settings,
    transactional_id: String,
    /// Made for the first commit, and anew after one without a clear answer.
    producer: Option<TransactionalProducer>,
    committed: BTreeMap<i32, i64>,
    next: Instant,
    /// Commits in a row that went wrong.
    failures: u32,
    metrics: Arc<ArchiverMetrics>,
}

impl Commits {
    /// Nothing is asked of the cluster before the first commit.
    pub fn new(options: &Options, transactional_id: String) -> Self {
        Self {
            settings: options.settings.clone(),
            transactional_id,
            producer: None,
            committed: BTreeMap::new(),
            next: Instant::now(),
            failures: 0,
            metrics: options.metrics.clone(),
        }
    }

    /// Is it time to look whether there is something to commit?
    pub fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// Commits `positions` if one of them is new.
    pub fn commit(&mut self, consumer: &GroupConsumer, positions: BTreeMap<i32, i64>) {
        self.next = Instant::now() + COMMIT_EVERY;
        if positions.iter().all(|(partition, position)| self.committed.get(partition) == Some(position)) {
            return;
        }
        let topic = consumer.topic();
        let offset = |(&partition, &offset): (&i32, &i64)| PartitionOffset {
            topic: topic.to_owned(),
            partition,
            offset,
            metadata: String::new(),
        };
        let offsets: Vec<_> = positions.iter().map(offset).collect();
        let began = Instant::now();
        let error = match self.transact(consumer, &offsets) {
            Ok(Outcome::Committed) => {
                self.metrics.committed(began.elapsed());
                self.failures = 0;
                self.committed.extend(positions);
                return;
            }
            Ok(Outcome::Aborted(error)) => error,
            Ok(Outcome::Fenced(error) | Outcome::InDoubt(error)) | Err(error) => {
                self.producer = None;
                error
            }
        };
        self.failures += 1;
        self.metrics.trouble(Trouble::Offsets);
        // A rebalance under way makes a generation old; that is over by the next try.
        if self.failures < WORTH_SAYING {
            tracing::debug!(topic, %error, "offsets not committed yet");
        } else {
            tracing::warn!(topic, %error, failures = self.failures, "offsets not committed");
        }
    }

    /// A transaction without records.
    fn transact(&mut self, consumer: &GroupConsumer, offsets: &[PartitionOffset]) -> Result<Outcome, Error> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => none.insert(TransactionalProducer::new(&self.settings, &self.transactional_id)?),
        };
        producer.commit(offsets, &consumer.group_metadata()?)
    }

    /// These partitions are no longer ours: what was committed for them may be overtaken.
    pub fn forget(&mut self, partitions: &[i32]) {
        self.committed.retain(|partition, _| !partitions.contains(partition));
    }
}
