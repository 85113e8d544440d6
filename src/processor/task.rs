//! What a worker keeps for each partition that it owns.

use std::time::{Duration, Instant};

use crate::bus::{Offsets, Outbox, PartitionOffset};
use crate::model::incident::IncidentEvent;
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
/// For the answer where a full cut, once an hour, will begin.
const FLOOR_TIMEOUT: Duration = Duration::from_secs(1);

/// One partition. Begins with a restore; ends when the partition goes, or with an abort.
pub(super) struct Task {
    pub core: Core,
    /// The next record to be stepped.
    pub position: i64,
    /// Since the partition was taken over.
    pub counts: Counts,
    /// What of them is committed.
    committed: Counts,
    /// The position that the last transaction, ended or ending, makes the group's.
    promised: i64,
    /// The position that is the group's.
    settled: i64,
    /// When the clock allowed the judgements whose events no transaction holds yet that ends, ms.
    judged: Vec<i64>,
    /// Position of the last cut.
    cut: i64,
    /// Offset in `ops.state` that the last full cut does not lie before; `None` as long as there is none.
    state: Option<i64>,
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
            promised: restored.position,
            settled: restored.position,
            judged: Vec::new(),
            cut: marks.map_or(restored.position, |(cut, _)| cut),
            state: marks.map(|(_, state)| state),
            at_end: false,
            ticked: None,
            specs_seen: None,
        }
    }

    /// Was anything ever committed for this partition? If not, its first transaction must hold a cut.
    pub fn is_new(&self) -> bool {
        self.state.is_none()
    }

    /// Takes note of when these events could be decided, to tell their delay once they are committed. What a leap skipped
    /// and what a spec changed was not judged.
    pub fn note_judged(&mut self, events: &[IncidentEvent]) {
        for event in events.iter().filter(|event| event.kind.is_judged()) {
            let lateness = self.core.spec_of(&event.service).map(|spec| spec.lateness_ms);
            self.judged.extend(lateness.map(|lateness| event.at + lateness));
        }
    }

    /// How many records lie between what is committed and `end`.
    pub fn lag(&self, end: i64) -> i64 {
        (end - self.settled).max(0)
    }

    /// Sends effects and clears them. Says how many incident events there were.
    pub fn publish(
        &mut self,
        partition: i32,
        outbox: &mut Outbox,
        topics: &Topics,
        offsets: &Offsets,
        effects: &mut Effects,
    ) -> Result<usize> {
        publish::incidents(outbox, topics, partition, &effects.incidents)?;
        for cut in &effects.cuts {
            if cut.full {
                // All that we have sent and all that we will lies behind. Without an answer restores begin further back.
                self.state = offsets.floor(&topics.state, partition, FLOOR_TIMEOUT).or(self.state).or(Some(0));
            }
            publish::cut(outbox, topics, partition, cut)?;
            self.cut = cut.partition.cut_position;
        }
        let incidents = effects.incidents.len();
        effects.clear();
        Ok(incidents)
    }

    /// What the transaction that now ends will make true. `position` is that of the consumer.
    pub fn promise(&mut self, partition: i32, position: i64, released: bool) -> Promise {
        self.promised = position;
        let mark = Mark { partition, position, cut: self.cut, state: self.state, released };
        let judged = std::mem::take(&mut self.judged);
        Promise { mark, clock: self.core.clock(), counts: self.counts.clone(), judged }
    }

    /// It is true. `now_ms` is the host's clock, none where time is made up.
    pub fn keep(&mut self, promise: Promise, now_ms: Option<i64>, metrics: &ProcessorMetrics) {
        let Promise { mark, clock, counts, judged } = promise;
        self.settled = mark.position;
        if let Some(now_ms) = now_ms {
            metrics.judged(&judged, now_ms);
        }
        let new = counts.since(&self.committed);
        self.committed = counts;
        Committed {
            partition: mark.partition,
            clock,
            consumed: new.consumed,
            counted: new.counted,
            late: new.late,
            ticks: new.ticks,
            forwarded: new.forwarded,
            rejected: &mut new.rejected.iter().map(|(reason, number)| (reason.name(), *number)),
        }
        .emit(metrics);
    }

    /// Everything that the log holds was read, up to `position`. Says whether there is something to commit: markers and
    /// aborted records lie behind the last record, and where no tick comes the group would lag for ever.
    pub fn reach_end(&mut self, position: i64) -> bool {
        self.at_end = true;
        position > self.promised
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

/// What a transaction that is ending will make true of a partition, whose task goes on meanwhile.
pub(super) struct Promise {
    pub mark: Mark,
    clock: Option<i64>,
    counts: Counts,
    judged: Vec<i64>,
}

/// Where a partition stands in a transaction that is ending.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    partition: i32,
    position: i64,
    cut: i64,
    state: Option<i64>,
    released: bool,
}

impl Mark {
    /// Offset and metadata.
    pub fn offset(&self, topic: &str, writer: &str) -> PartitionOffset {
        let metadata = Metadata {
            writer: writer.to_owned(),
            cut: self.cut,
            state: self.state.unwrap_or(0),
            released: self.released,
        };
        PartitionOffset {
            topic: topic.to_owned(),
            partition: self.partition,
            offset: self.position,
            metadata: metadata.to_text(),
        }
    }
}
