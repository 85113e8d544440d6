//! Taking a partition over: from what its last owner committed to a core that stands exactly there.
//!
//! 1. The committed offset C and its metadata.
//! 2. Unless the last owner gave up in order: fence it, which also ends its open transaction at once.
//! 3. `ops.state` from the last full cut and `ops.rollups` from the oldest that the windows need, both up to the high
//!    watermark that open transactions cannot hide.
//! 4. The plain `step` from the cut to C, its effects muted.
//!
//! The worker then commits the offset under its own name before any output.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bus::{
    self, Admin, GroupConsumer, Isolation, Message, Next, Offsets, Reader, Settings, Timestamp, Watermarks,
};
use crate::codec;
use crate::codec::state::StateRecord;
use crate::model::ServiceId;
use crate::model::incident::IncidentEvent;
use crate::model::reading::{Reading, RejectReason};
use crate::model::state::{PartitionRecord, Rollup, ServiceRecord};
use crate::model::topics::Topics;
use crate::processor::core::{Body, Core, Effects, Record};
use crate::processor::error::{Error, Result};
use crate::processor::gap::Unfinished;
use crate::processor::metadata::Metadata;

/// The header of a reading that was found outside its home: `partition/offset/append time`.
pub(super) const FORWARDED: &str = "ops-from";
/// Our own topics answer within this, or something is wrong.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// What does not come for so long is asked for again from the beginning, so that a stop or a rebalance is noticed. A
/// transaction that nobody fenced holds records back until its timeout, and as long again until that is seen.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// How much earlier than needed rollups are looked for, ms: their append time is a broker's, not the partition's clock.
const SLACK_MS: i64 = 60_000;

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

/// A record of `ops.metrics` as the core takes it.
pub(super) struct Decoded {
    offset: i64,
    append_ms: i64,
    reading: std::result::Result<Reading, RejectReason>,
    forwarded: bool,
}

impl Decoded {
    /// Reads a record. A forwarded one without a `ts` of its own has the append time of its first place.
    pub fn of(message: &Message<'_>) -> Self {
        let append_ms = message.timestamp().ms().unwrap_or(0);
        let headers = message.headers();
        let from = headers.iter().find(|header| header.name == FORWARDED);
        let first_append = from
            .and_then(|header| std::str::from_utf8(header.value?).ok())
            .and_then(|text| text.rsplit('/').next()?.parse().ok());
        let stand_in = first_append.unwrap_or(append_ms);
        // Not our own header, or a record that was taken in its first place might be refused in the second.
        let strangers = headers.iter().filter(|header| header.name != FORWARDED);
        let length = codec::reading::headers_length(strangers.map(|header| (&*header.name, header.value)));
        Self {
            offset: message.offset(),
            append_ms,
            reading: codec::reading::decode_with_headers(message.key(), message.value(), length, stand_in),
            forwarded: from.is_some(),
        }
    }

    pub fn record(&self) -> Record<'_> {
        let body = match &self.reading {
            Ok(reading) => Body::Reading(reading),
            Err(reason) => Body::Unreadable(*reason),
        };
        Record { offset: self.offset, append_ms: self.append_ms, body, forwarded: self.forwarded }
    }
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
    ///
    /// # Errors
    /// `Gap` if offset, state and log do not fit together; the bus does not answer.
    pub fn run(&self, consumer: &GroupConsumer, partitions: &[i32]) -> Result<Vec<(i32, Restored)>> {
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
            match self.judge(offsets, partition, log, offset, metadata, state)? {
                Judged::Fresh(restored) => done.push((partition, restored)),
                Judged::Resumed(resume) => resumed.push(resume),
            }
        }
        let rollups = self.read_rollups(offsets, &resumed)?;
        done.extend(self.resume(resumed, rollups)?);
        Ok(done)
    }

    /// Do offset, state and log fit together?
    fn judge(
        &self,
        offsets: &Offsets,
        partition: i32,
        log: Watermarks,
        offset: Option<i64>,
        metadata: Option<Metadata>,
        state: State,
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
                let needed = Core::rollups_needed_from(found, &state.records())
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
            let Some(value) = message.value() else { return Ok(()) };
            unfinished.note(&codec::incident::decode(value).map_err(|error| error.to_string())?);
            Ok(())
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
        let core = Core::restore(self.partitions, &fresh, services, [])
            .map_err(|source| Error::Restore { partition, source })?;
        Ok(Restored { core, position: low, marks: None, farewell: unfinished.farewell(clock.unwrap_or(0)) })
    }

    /// Cores at their cuts, then the plain `step` to the committed offsets, its effects muted.
    fn resume(&self, resumed: Vec<Resume>, mut rollups: Rollups) -> Result<Vec<(i32, Restored)>> {
        let mut cores = BTreeMap::new();
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for Resume { partition, offset, metadata, state, .. } in resumed {
            let record = state.partition.clone().unwrap_or_default();
            let rollups = rollups.remove(&partition).unwrap_or_default();
            let core = Core::restore(self.partitions, &record, state.records(), rollups)
                .map_err(|source| Error::Restore { partition, source })?;
            starts.push((partition, metadata.cut));
            ends.push((partition, offset));
            let marks = Some((metadata.cut, metadata.state));
            cores.insert(partition, Restored { core, position: offset, marks, farewell: Vec::new() });
        }
        let mut reader = Reader::open(self.settings, &self.topics.metrics, Isolation::Committed, starts)?;
        reader.until(ends);
        let mut muted = Effects::default();
        read_out(&mut reader, &self.topics.metrics, |message| {
            if let Some(restored) = cores.get_mut(&message.partition()) {
                restored.core.step(Decoded::of(message).record(), &mut muted);
                muted.clear();
            }
            Ok(())
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
            let Some(value) = message.value() else { return Ok(()) };
            let state = states.entry(message.partition()).or_default();
            match codec::state::decode_state(value).map_err(|error| error.to_string())? {
                StateRecord::Partition(record) => state.partition = Some(record),
                StateRecord::Service(record) => {
                    state.services.insert(record.service.clone(), record);
                }
            }
            Ok(())
        })?;
        Ok(states)
    }

    /// The rollups of the cuts at or after the clocks that are needed, in order. Cuts only grow in their clock, so it
    /// is enough to begin at one that is older; where append times mislead, all are read.
    fn read_rollups(&self, offsets: &Offsets, resumed: &[Resume]) -> Result<Rollups> {
        let topic = &self.topics.rollups;
        let (mut starts, mut lows) = (BTreeMap::new(), BTreeMap::new());
        for resume in resumed {
            let low = offsets.watermarks(topic, resume.partition)?.low;
            let early = resume.needed.saturating_sub(SLACK_MS).max(0);
            let guess = match offsets.at_time(topic, &[resume.partition], early)?.pop() {
                Some((_, Some(offset))) => offset.max(low),
                _ => low,
            };
            starts.insert(resume.partition, guess);
            lows.insert(resume.partition, low);
        }
        let needed: BTreeMap<i32, i64> = resumed.iter().map(|resume| (resume.partition, resume.needed)).collect();
        let (mut found, oldest) = self.read_rollups_from(offsets, &starts, &needed)?;
        let misled = |partition: &i32| {
            starts[partition] > lows[partition]
                && oldest.get(partition).is_none_or(|oldest| oldest >= &needed[partition])
        };
        let again: BTreeMap<i32, i64> =
            lows.iter().filter(|(partition, _)| misled(partition)).map(|(p, low)| (*p, *low)).collect();
        if !again.is_empty() {
            found.extend(self.read_rollups_from(offsets, &again, &needed)?.0);
        }
        Ok(found)
    }

    /// The rollups that are needed, and the clock of the first that was met.
    fn read_rollups_from(
        &self,
        offsets: &Offsets,
        starts: &BTreeMap<i32, i64>,
        needed: &BTreeMap<i32, i64>,
    ) -> Result<(Rollups, BTreeMap<i32, i64>)> {
        let topic = &self.topics.rollups;
        let (mut rollups, mut oldest) = (Rollups::new(), BTreeMap::new());
        let starts = starts.iter().map(|(partition, offset)| (*partition, *offset));
        let mut reader = Reader::open(self.settings, topic, Isolation::Committed, starts)?.until_now(offsets)?;
        read_out(&mut reader, topic, |message| {
            let Some(value) = message.value() else { return Ok(()) };
            let rollup = codec::state::decode_rollup(value).map_err(|error| error.to_string())?;
            oldest.entry(message.partition()).or_insert(rollup.cut_clock);
            if rollup.cut_clock >= needed[&message.partition()] {
                rollups.entry(message.partition()).or_default().push(rollup);
            }
            Ok(())
        })?;
        Ok((rollups, oldest))
    }
}

/// Reads partitions of one of our own topics to their ends.
fn read_out(
    reader: &mut Reader,
    topic: &str,
    mut take: impl FnMut(&Message<'_>) -> std::result::Result<(), String>,
) -> Result<()> {
    let mut waited = Duration::ZERO;
    while waited < READ_PATIENCE {
        match reader.next(READ_TIMEOUT)? {
            Next::Record(message) => {
                waited = Duration::ZERO;
                take(&message).map_err(|reason| Error::State {
                    topic: topic.to_owned(),
                    partition: message.partition(),
                    offset: message.offset(),
                    reason,
                })?;
            }
            Next::End => return Ok(()),
            Next::Idle => {
                waited += READ_TIMEOUT;
                tracing::warn!(topic, ?waited, "waiting for the log while restoring");
            }
        }
    }
    let (operation, place) = ("reading the state back", bus::error::Place::topic(topic));
    Err(bus::Error::TimedOut { operation, place, waited }.into())
}

/// Rollups by partition, in the order of their cuts.
type Rollups = BTreeMap<i32, Vec<Rollup>>;

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

#[derive(Default)]
struct State {
    partition: Option<PartitionRecord>,
    services: BTreeMap<ServiceId, ServiceRecord>,
}

impl State {
    fn records(&self) -> Vec<ServiceRecord> {
        self.services.values().cloned().collect()
    }
}

/// Does the broker set the append times, as it must?
pub(super) fn is_appended_by_broker(message: &Message<'_>) -> bool {
    matches!(message.timestamp(), Timestamp::Append(_))
}
