//! Taking a partition over: from what its last owner committed to a core that stands exactly there.
//!
//! 1. The committed offset C and its metadata.
//! 2. Unless the last owner gave up in order: fence it, which also ends its open transaction at once.
//! 3. `ops.state` from the last full cut and `ops.rollups` from the oldest that the windows need, both up to the high
//!    watermark that open transactions cannot hide.
//! 4. The plain `step` from the cut to C, its effects muted.
//!
//! The worker then claims the partitions: the same offsets, under its own name; and commits before any output.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::bus::{self, Admin, GroupConsumer, Isolation, Message, Offsets, Reader, Settings, Timestamp, Watermarks};
use crate::codec;
use crate::model::ServiceId;
use crate::model::incident::IncidentEvent;
use crate::model::state::{PartitionRecord, ServiceRecord};
use crate::model::topics::Topics;
use crate::processor::core::{Core, Effects};
use crate::processor::error::{Error, Result};
use crate::processor::gap::Unfinished;
use crate::processor::metadata::Metadata;
use crate::processor::read::{Need, Rollups, State, read_metrics, read_out, read_rollups};
use crate::processor::specs::Specs;
use crate::torture::{self, Sabotage};

/// Who takes over, and from where.
pub(super) struct Takeover<'a> {
    pub settings: &'a Settings,
    pub topics: &'a Topics,
    pub group: &'a str,
    /// Our own transactional id: it needs no fencing.
    pub writer: &'a str,
    pub partitions: i32,
    pub accept_gap: bool,
}

/// A core that stands before the record at `position`.
pub(super) struct Restored {
    pub core: Core,
    pub position: i64,
    /// Position of the last cut and offset in `ops.state` of the last full one; none if the partition is new.
    pub marks: Option<(i64, i64)>,
    /// To be published first: what ends because of a gap.
    pub farewell: Vec<IncidentEvent>,
}

impl Takeover<'_> {
    /// The last owners of `partitions` may be zombies: takes their names from them, unless they are ours or said that
    /// they were done. Before [`Self::run`], as it ends their open transactions, for which stable offsets wait.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn fence(&self, partitions: &[i32]) -> Result<()> {
        let committed =
            Admin::new(self.settings)?.unstable_group_offsets(self.group, &self.topics.metrics, partitions)?;
        let writers: BTreeSet<String> = committed
            .iter()
            .filter_map(|committed| Metadata::parse(&committed.metadata))
            .filter(|last| !last.released && last.writer != self.writer)
            .map(|last| last.writer)
            .collect();
        for writer in writers {
            tracing::info!(writer, "fencing the last owner");
            bus::fence(self.settings, &writer)?;
        }
        Ok(())
    }

    /// See the module; after [`Self::fence`]. All partitions together, since opening a reader costs more than reading.
    /// `specs` are those that are known.
    ///
    /// # Errors
    /// `Gap` if offset, state and log do not fit together; the bus does not answer.
    pub fn run(&self, consumer: &GroupConsumer, partitions: &[i32], specs: &mut Specs) -> Result<Vec<(i32, Restored)>> {
        let offsets = consumer.offsets();
        let committed: BTreeMap<i32, (Option<i64>, Option<Metadata>)> = consumer
            .committed(partitions)?
            .into_iter()
            .map(|found| (found.partition, (found.offset, Metadata::parse(&found.metadata))))
            .collect();
        let mut states = self.read_states(offsets, partitions, &committed)?;
        let (mut done, mut resumed) = (Vec::new(), Vec::new());
        for &partition in partitions {
            let (offset, metadata) = committed.get(&partition).cloned().unwrap_or_default();
            let state = states.remove(&partition).unwrap_or_default();
            let log = offsets.watermarks(&self.topics.metrics, partition)?;
            match self.judge(offsets, partition, log, (offset, metadata), state, specs)? {
                Judged::Fresh(restored) => done.push((partition, restored)),
                Judged::Resumed(resume) => resumed.push(resume),
            }
        }
        let needs = resumed.iter().map(|resume| (resume.partition, resume.need())).collect();
        let rollups = read_rollups(self.settings, &self.topics.rollups, offsets, &needs)?;
        done.extend(self.resume(resumed, rollups, specs)?);
        Ok(done)
    }

    /// Do offset, state and log fit together?
    fn judge(
        &self,
        offsets: &Offsets,
        partition: i32,
        log: Watermarks,
        (offset, metadata): (Option<i64>, Option<Metadata>),
        state: State,
        specs: &mut Specs,
    ) -> Result<Judged> {
        let what = match (offset, metadata, &state.partition) {
            (None, _, None) => {
                let core = Core::new(partition, self.partitions);
                return Ok(Judged::Fresh(Restored { core, position: log.low, marks: None, farewell: Vec::new() }));
            }
            (Some(offset), Some(metadata), Some(found))
                if (log.low..=log.high).contains(&offset)
                    && found.cut_position == metadata.cut
                    && metadata.cut >= log.low =>
            {
                let needed = Core::rollups_needed_from(found, &state.records(), specs)
                    .map_err(|source| Error::Restore { partition, source })?;
                return Ok(Judged::Resumed(Resume { partition, offset, metadata, state, needed }));
            }
            (Some(offset), metadata, Some(found)) => format!(
                "offset {offset} was committed with a cut at {:?}, ops.state knows a cut at {}, the log holds {}..{}",
                metadata.map(|metadata| metadata.cut),
                found.cut_position,
                log.low,
                log.high
            ),
            (None, _, Some(_)) => "its committed offset is gone (expired?)".to_owned(),
            (Some(_), _, None) => "its state is gone".to_owned(),
        };
        if !self.accept_gap {
            return Err(Error::Gap { topic: self.topics.metrics.clone(), partition, what });
        }
        tracing::warn!(partition, what, from = log.low, "a gap is accepted: services start anew");
        self.start_anew(offsets, partition, log.low, state).map(Judged::Fresh)
    }

    /// Everything starts anew at the oldest record, but generations go on, and what was open is closed.
    fn start_anew(&self, offsets: &Offsets, partition: i32, low: i64, state: State) -> Result<Restored> {
        let topic = &self.topics.incidents;
        let first = offsets.watermarks(topic, partition)?.low;
        let mut reader =
            Reader::open(self.settings, topic, Isolation::Committed, [(partition, first)])?.until_now(offsets)?;
        let mut unfinished = Unfinished::default();
        read_out(&mut reader, topic, |message| {
            if let Some(value) = message.value() {
                unfinished.note(&codec::incident::decode(value).map_err(|error| error.to_string())?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let clock = state.partition.and_then(|record| record.clock);
        let mut generations: BTreeMap<ServiceId, u64> =
            state.services.into_values().map(|record| (record.service, record.generation)).collect();
        for (service, generation) in unfinished.generations() {
            let known = generations.entry(service.clone()).or_default();
            *known = (*known).max(*generation);
        }
        let services = generations
            .into_iter()
            .map(|(service, generation)| ServiceRecord { service, generation, cut_position: low, active: None })
            .collect();
        let fresh = PartitionRecord { partition, cut_position: low, clock, ..PartitionRecord::default() };
        let core = Core::restore(self.partitions, &fresh, services, [], &mut Specs::default())
            .map_err(|source| Error::Restore { partition, source })?;
        Ok(Restored { core, position: low, marks: None, farewell: unfinished.farewell(clock.unwrap_or(0)) })
    }

    /// Cores at their cuts, then the plain `step` to the committed offsets, its effects muted.
    fn resume(&self, resumed: Vec<Resume>, mut rollups: Rollups, specs: &mut Specs) -> Result<Vec<(i32, Restored)>> {
        let mut cores = BTreeMap::new();
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for Resume { partition, offset, metadata, state, .. } in resumed {
            let record = state.partition.clone().unwrap_or_default();
            let mut rollups = rollups.remove(&partition).unwrap_or_default();
            if torture::is_without(Sabotage::RestoreWithoutRollups) {
                rollups.clear();
            }
            let core = Core::restore(self.partitions, &record, state.records(), rollups, specs)
                .map_err(|source| Error::Restore { partition, source })?;
            let end = if torture::is_without(Sabotage::RestoreWithoutReplay) { metadata.cut } else { offset };
            starts.push((partition, metadata.cut));
            ends.push((partition, end));
            let marks = Some((metadata.cut, metadata.state));
            cores.insert(partition, Restored { core, position: offset, marks, farewell: Vec::new() });
        }
        let mut reader = Reader::open(self.settings, &self.topics.metrics, Isolation::Committed, starts)?;
        reader.until(ends);
        let mut muted = Effects::default();
        read_metrics(&mut reader, self.settings, &self.topics.metrics, |message, decoded| {
            if let Some(restored) = cores.get_mut(&message.partition()) {
                restored.core.step(decoded.record(), &mut muted);
                muted.clear();
            }
            ControlFlow::Continue(())
        })?;
        Ok(cores.into_iter().collect())
    }

    /// The newest record of every service since the last full cut (or of all times, if that is not known).
    fn read_states(
        &self,
        offsets: &Offsets,
        partitions: &[i32],
        committed: &BTreeMap<i32, (Option<i64>, Option<Metadata>)>,
    ) -> Result<BTreeMap<i32, State>> {
        let topic = &self.topics.state;
        let mut starts = Vec::new();
        for &partition in partitions {
            let low = offsets.watermarks(topic, partition)?.low;
            let metadata = committed.get(&partition).and_then(|(_, metadata)| metadata.as_ref());
            starts.push((partition, metadata.map_or(low, |metadata| metadata.state).max(low)));
        }
        let mut states: BTreeMap<i32, State> = BTreeMap::new();
        let mut reader = Reader::open(self.settings, topic, Isolation::Committed, starts)?.until_now(offsets)?;
        read_out(&mut reader, topic, |message| {
            states.entry(message.partition()).or_default().take(message.value())?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(states)
    }
}

/// What offset, state and log of a partition say together.
enum Judged {
    /// Nothing to go on from.
    Fresh(Restored),
    /// They fit.
    Resumed(Resume),
}

/// A partition that goes on where its last owner stopped.
struct Resume {
    partition: i32,
    /// C: the next record.
    offset: i64,
    metadata: Metadata,
    state: State,
    /// The clock of the oldest cut whose rollups are needed.
    needed: i64,
}

impl Resume {
    fn need(&self) -> Need {
        Need { from_clock: self.needed, through: self.metadata.cut }
    }
}

/// Does the broker set the append times, as it must?
pub(super) fn is_appended_by_broker(message: &Message<'_>) -> bool {
    matches!(message.timestamp(), Timestamp::Append(_))
}
