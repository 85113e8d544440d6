//! What a worker tells of itself between commits: which partitions it holds and how far each is behind. The worker calls
//! it.

use std::time::{Duration, Instant};

use super::Session;
use crate::bus::GroupConsumer;

/// Between two looks at the lag: nobody scrapes more often.
const LAG_EVERY: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn tell_holdings(&self) {
        self.shared.metrics.hold(&self.name, self.tasks.len(), self.waiting.len());
    }

    /// Not at commits: a worker that cannot commit is the one whose lag matters.
    pub(super) fn tell_lag(&mut self, consumer: &GroupConsumer) {
        if self.lag_told.is_some_and(|told| told.elapsed() < LAG_EVERY) {
            return;
        }
        self.lag_told = Some(Instant::now());
        for (&partition, task) in &self.tasks {
            if let Some(end) = consumer.known_end(partition) {
                self.shared.metrics.behind(partition, task.lag(end));
            }
        }
    }

    /// These partitions are not ours any more.
    pub(super) fn drop_tasks(&mut self, partitions: &[i32]) {
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        partitions.iter().for_each(|partition| self.shared.metrics.let_go(*partition));
    }
}

/// A session that ends in order has given everything up before; one that was fenced has not.
impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.keys().chain(&self.waiting).for_each(|partition| self.shared.metrics.let_go(*partition));
    }
}
