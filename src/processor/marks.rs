//! Which cuts of a partition its `ops.state` still holds, and the core at one of them. An audit begins there.
//!
//! ```text
//! ops.state/p:  a b p   a p   p   b p   a b p      a, b: services   p: the partition, at the end of its cut
//!               ^ full  ^ the state at this cut:   ^ full (once an hour)
//!                       b and p of this one, a of the first
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::bus::{Isolation, Offsets, Reader, Settings};
use crate::codec;
use crate::codec::state::StateRecord;
use crate::model::state::{PartitionRecord, ServiceRecord};
use crate::model::topics::Topics;
use crate::model::{ServiceId, SpecHash};
use crate::processor::core::Core;
use crate::processor::error::{Error, Result};
use crate::processor::read::{Need, State, read_out, read_rollups};
use crate::processor::replay::SpecMove;
use crate::processor::specs::Specs;

/// The last cut at a position: all that takes effect there is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutMark {
    /// The next record of `ops.metrics`.
    pub position: i64,
    /// The partition's clock, ms; none before its first record.
    pub clock: Option<i64>,
    /// Where in `ops.state` the last full cut up to this one begins.
    full: i64,
    /// Where the partition's own record lies.
    end: i64,
}

/// What `ops.state` says of a partition's past, in order.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    pub marks: Vec<CutMark>,
    /// Where specs took effect and ended.
    pub moves: Vec<SpecMove>,
    /// A gap was accepted here: what lies before cannot be followed beyond it.
    pub gap: Option<i64>,
    /// The spec in the last record seen of a service.
    specs: BTreeMap<ServiceId, Option<SpecHash>>,
    /// The offset of the first record of the cut that is being read.
    begin: Option<i64>,
    /// Services whose spec is another since this cut.
    moved: Vec<(ServiceId, Option<SpecHash>)>,
    /// Where the last full cut begins.
    full: Option<i64>,
    last: Option<PartitionRecord>,
}

impl Cuts {
    /// Reads a partition of the topic.
    ///
    /// # Errors
    /// The bus does not answer; a record that cannot be read.
    pub fn read(settings: &Settings, topic: &str, offsets: &Offsets, partition: i32) -> Result<Self> {
        let low = offsets.watermarks(topic, partition)?.low;
        let mut cuts = Self { full: (low == 0).then_some(0), ..Self::default() };
        let starts = [(partition, low)];
        let mut reader = Reader::open(settings, topic, Isolation::Committed, starts)?.until_now(offsets)?;
        read_out(&mut reader, topic, |message| {
            if let Some(value) = message.value() {
                cuts.begin.get_or_insert(message.offset());
                match codec::state::decode_state(value).map_err(|error| error.to_string())? {
                    StateRecord::Service(record) => cuts.service(record),
                    StateRecord::Partition(record) => cuts.end(record, message.offset()),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(cuts)
    }

    /// The first record of a service is news only where its windows begin: older ones may be compacted away.
    fn service(&mut self, record: ServiceRecord) {
        let now = record.active.as_ref().map(|active| SpecHash::of(&active.spec));
        let begins = record.active.is_some_and(|active| active.windows_from == record.cut_position);
        let before = self.specs.insert(record.service.clone(), now);
        if before.map_or(begins, |before| before != now) {
            self.moved.push((record.service, now));
        }
    }

    /// Did a worker start everything anew (`--accept-gap`)? Then it wrote a full cut although its clock, taken from the
    /// last cut, still stood; and perhaps further back than that. Or all services at once are gone.
    fn is_gap(&self, record: &PartitionRecord) -> bool {
        let Some(last) = &self.last else { return false };
        let anew =
            record.clock == last.clock && record.full_cut_clock == record.clock && last.full_cut_clock != record.clock;
        let ended = self.moved.iter().filter(|(_, spec)| spec.is_none()).count();
        anew || record.cut_position < last.cut_position || ended > 1
    }

    fn end(&mut self, record: PartitionRecord, offset: i64) {
        let position = record.cut_position;
        if self.is_gap(&record) {
            // All services are unregistered, and no event tells of it.
            self.moved.clear();
            self.marks.clear();
            self.gap = Some(position);
        }
        let at = record.clock.unwrap_or(0);
        self.moves.extend(self.moved.drain(..).map(|(service, spec)| SpecMove { service, spec, at, position }));
        let last_full = self.last.as_ref().map(|last| last.full_cut_clock);
        let is_full = record.full_cut_clock == record.clock && last_full.is_some_and(|last| last != record.clock);
        if record.clock.is_none() || is_full {
            self.full = self.begin;
        }
        self.begin = None;
        if let Some(full) = self.full {
            if self.marks.last().is_some_and(|last| last.position == position) {
                self.marks.pop();
            }
            self.marks.push(CutMark { position, clock: record.clock, full, end: offset });
        }
        self.last = Some(record);
    }
}

/// The core at a cut.
///
/// # Errors
/// The state or the rollups that it needs are gone; the bus does not answer.
pub(super) fn core_at(
    mark: &CutMark,
    settings: &Settings,
    topics: &Topics,
    offsets: &Offsets,
    partition: i32,
    partitions: i32,
) -> Result<Core> {
    let mut state = State::default();
    let mut reader = Reader::open(settings, &topics.state, Isolation::Committed, [(partition, mark.full)])?;
    reader.until([(partition, mark.end + 1)]);
    read_out(&mut reader, &topics.state, |message| {
        state.take(message.value())?;
        Ok(ControlFlow::Continue(()))
    })?;
    let gone = |topic: &str, what: String| Error::Audit { topic: topic.to_owned(), partition, what };
    let services = state.records();
    let record = state
        .partition
        .filter(|record| record.cut_position == mark.position)
        .ok_or_else(|| gone(&topics.state, format!("the cut at offset {} is gone", mark.position)))?;
    let failed = |source| Error::Restore { partition, source };
    let mut specs = Specs::default();
    let from_clock = Core::rollups_needed_from(&record, &services, &mut specs).map_err(failed)?;
    if let Some(oldest) = oldest_rollup(settings, topics, offsets, partition)?
        && oldest > from_clock
    {
        let what = format!("the cut at offset {} needs rollups from {from_clock} on, they are gone", mark.position);
        return Err(gone(&topics.rollups, what));
    }
    let needs = [(partition, Need { from_clock, through: mark.position })].into();
    let rollups = read_rollups(settings, &topics.rollups, offsets, &needs)?.remove(&partition).unwrap_or_default();
    Core::restore(partitions, &record, services, rollups, &mut specs).map_err(failed)
}

/// The clock of the oldest rollup, if older ones may be gone.
fn oldest_rollup(settings: &Settings, topics: &Topics, offsets: &Offsets, partition: i32) -> Result<Option<i64>> {
    let topic = &topics.rollups;
    let low = offsets.watermarks(topic, partition)?.low;
    if low == 0 {
        return Ok(None);
    }
    let mut oldest = None;
    let mut reader = Reader::open(settings, topic, Isolation::Committed, [(partition, low)])?.until_now(offsets)?;
    read_out(&mut reader, topic, |message| {
        let Some(value) = message.value() else { return Ok(ControlFlow::Continue(())) };
        oldest = Some(codec::state::decode_rollup(value).map_err(|error| error.to_string())?.cut_clock);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(oldest)
}
