//! What a worker keeps for each partition that it owns.

use std::time::{Duration, Instant};

use crate::bus::{Ticket, TransactionalProducer};
use crate::model::topics::Topics;
use crate::processor::core::{Core, Effects};
use crate::processor::counts::Counts;
use crate::processor::error::Result;
use crate::processor::metadata::Metadata;
use crate::processor::publish;
use crate::processor::restore::Restored;
use crate::telemetry::processor::{Committed, ProcessorMetrics};

/// At most five ticks a second.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// A partition without services is ticked about once a second, so that its clock goes on.
const IDLE_MS: i64 = 1_000;

/// One partition. Begins with a restore; ends when the partition goes, or with an abort.
pub(super) struct Task {
    pub core: Core,
    /// The next record to be stepped.
    pub position: i64,
    /// Since the partition was taken over.
    pub counts: Counts,
    /// What of them is committed.
    committed: Counts,
    /// Position of the last cut.
    cut: i64,
    /// Offset in `ops.state` where the last full cut begins; `None` until its first record is delivered.
    state: Option<i64>,
    /// Asks for that offset.
    full_cut: Option<Ticket>,
    /// Everything that the log holds was read.
    pub at_end: bool,
    ticked: Option<Instant>,
    /// The version of the registry that was last looked at; none before the first look.
    pub specs_seen: Option<u64>,
}

impl Task {
    /// A task that stands where the last owner stopped.
    pub fn new(restored: Restored) -> Self {
        let marks = restored.marks;
        Self {
            core: restored.core,
            position: restored.position,
            counts: Counts::default(),
            committed: Counts::default(),
            cut: marks.map_or(restored.position, |(cut, _)| cut),
            state: marks.map(|(_, state)| state),
            full_cut: None,
            at_end: false,
            ticked: None,
            specs_seen: None,
        }
    }

    /// Was anything ever committed for this partition? If not, its first transaction must hold a cut.
    pub fn is_new(&self) -> bool {
        self.state.is_none() && self.full_cut.is_none()
    }

    /// Sends effects into the open transaction and clears them. Says how many incident events there were.
    pub fn publish(
        &mut self,
        partition: i32,
        producer: &mut TransactionalProducer,
        topics: &Topics,
        effects: &mut Effects,
    ) -> Result<usize> {
        publish::incidents(producer, topics, partition, &effects.incidents)?;
        for cut in &effects.cuts {
            if let Some(ticket) = publish::cut(producer, topics, partition, cut)? {
                self.full_cut = Some(ticket);
            }
            self.cut = cut.partition.cut_position;
        }
        let incidents = effects.incidents.len();
        effects.clear();
        Ok(incidents)
    }

    /// What is committed beside the offset. To be called after the flush.
    pub fn metadata(&mut self, producer: &TransactionalProducer, released: bool) -> Metadata {
        if let Some(offset) = self.full_cut.take().and_then(|ticket| producer.delivered(ticket)) {
            self.state = Some(offset);
        }
        Metadata {
            writer: producer.transactional_id().to_owned(),
            cut: self.cut,
            state: self.state.unwrap_or(0),
            released,
        }
    }

    /// All of it is committed: says so.
    pub fn note_committed(&mut self, partition: i32, metrics: &ProcessorMetrics) {
        let new = self.counts.since(&self.committed);
        self.committed.clone_from(&self.counts);
        Committed {
            partition,
            clock: self.core.clock(),
            consumed: new.consumed,
            counted: new.counted,
            late: new.late,
            ticks: new.ticks,
            forwarded: new.forwarded,
            rejected: &mut new.rejected.iter().map(|(reason, number)| (reason.name(), *number)),
        }
        .emit(metrics);
    }

    /// Is a tick wanted, by the host's clock? Only where nothing else comes that would move the partition's.
    pub fn wants_tick(&mut self, host_ms: i64) -> bool {
        let clock = self.core.clock();
        let due = self.core.next_due().or(clock.map(|clock| clock + IDLE_MS)).unwrap_or(i64::MIN);
        let recently = self.ticked.is_some_and(|ticked| ticked.elapsed() < TICK_EVERY);
        let wanted = self.at_end && !recently && host_ms >= due;
        if wanted {
            self.ticked = Some(Instant::now());
        }
        wanted
    }
}
