//! Taking a partition over: from what its last owner committed to a core that stands exactly there.
//!
//! 1. The committed offset C and its metadata.
//! 2. Unless the last owner gave up in order: fence it, which also ends its open transaction at once.
//! 3. `ops.state` from the last full cut and `ops.rollups` from the oldest that the windows need, both up to the high
//!    watermark that open transactions cannot hide.
//! 4. The plain `step` from the cut to C, its effects muted.
//!
//! The worker then commits the offset under its own name before any output.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bus::{self, Admin, GroupConsumer, Isolation, Message, Next, Offsets, Reader, Settings, Timestamp};
use crate::codec;
use crate::codec::state::StateRecord;
use crate::model::ServiceId;
use crate::model::reading::{Reading, RejectReason};
use crate::model::state::{PartitionRecord, ServiceRecord};
use crate::model::topics::Topics;
use crate::processor::core::{Body, Core, Effects, Record};
use crate::processor::error::{Error, Result};
use crate::processor::metadata::Metadata;

/// The header of a reading that was found outside its home: `partition/offset/append time`.
pub(super) const FORWARDED: &str = "ops-from";
/// Our own topics answer within this, or something is wrong.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
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
        Self {
            offset: message.offset(),
            append_ms,
            reading: codec::reading::decode(message.key(), message.value(), stand_in),
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
    /// See the module.
    ///
    /// # Errors
    /// `Gap` if offset, state and log do not fit together; the bus does not answer.
    pub fn run(&self, consumer: &GroupConsumer, partition: i32) -> Result<Restored> {
        self.fence_last_writer(partition)?;
        let committed = consumer.committed(&[partition])?.pop();
        let (offset, metadata) = match committed {
            Some(committed) => (committed.offset, Metadata::parse(&committed.metadata)),
            None => (None, None),
        };
        let offsets = consumer.offsets();
        let log = offsets.watermarks(&self.topics.metrics, partition)?;
        let state = self.read_state(offsets, partition, metadata.as_ref().map(|metadata| metadata.state))?;
        match (offset, metadata, &state.partition) {
            (None, _, None) => {
                let core = Core::new(partition, self.partitions);
                Ok(Restored { core, position: log.low, marks: None })
            }
            (Some(offset), Some(metadata), Some(found)) if (log.low..=log.high).contains(&offset) => {
                if found.cut_position != metadata.cut || metadata.cut < log.low {
                    let what = format!(
                        "its last cut was at offset {}, ops.state knows one at {}, the log begins at {}",
                        metadata.cut, found.cut_position, log.low
                    );
                    return self.gap(partition, what, log.low, state);
                }
                self.restore(offsets, partition, offset, metadata, state)
            }
            (Some(offset), _, Some(_)) => {
                let what = format!("offset {offset} was committed, and the log holds {}..{}", log.low, log.high);
                self.gap(partition, what, log.low, state)
            }
            (None, _, Some(_)) => self.gap(partition, "its committed offset is gone (expired?)".into(), log.low, state),
            (Some(_), _, None) => self.gap(partition, "its state is gone".into(), log.low, state),
        }
    }

    /// The last owner may be a zombie: take its name from it, unless it is ours, or it said that it is done.
    fn fence_last_writer(&self, partition: i32) -> Result<()> {
        let admin = Admin::new(self.settings)?;
        let committed = admin.unstable_group_offsets(self.group, &self.topics.metrics, &[partition])?.pop();
        let last = committed.and_then(|committed| Metadata::parse(&committed.metadata));
        if let Some(last) = last.filter(|last| !last.released && last.writer != self.writer) {
            tracing::info!(partition, writer = last.writer, "fencing the last owner");
            bus::fence(self.settings, &last.writer)?;
        }
        Ok(())
    }

    fn gap(&self, partition: i32, what: String, low: i64, state: State) -> Result<Restored> {
        if !self.accept_gap {
            return Err(Error::Gap { topic: self.topics.metrics.clone(), partition, what });
        }
        tracing::warn!(partition, what, from = low, "a gap is accepted: windows start anew");
        let generations = state.services.into_values().map(|record| ServiceRecord { active: None, ..record }).collect();
        let fresh = PartitionRecord { partition, cut_position: low, ..PartitionRecord::default() };
        let core = Core::restore(self.partitions, &fresh, generations, [])
            .map_err(|source| Error::Restore { partition, source })?;
        Ok(Restored { core, position: low, marks: None })
    }

    fn restore(
        &self,
        offsets: &Offsets,
        partition: i32,
        offset: i64,
        metadata: Metadata,
        state: State,
    ) -> Result<Restored> {
        let failed = |source| Error::Restore { partition, source };
        let record = state.partition.unwrap_or_default();
        let services: Vec<_> = state.services.into_values().collect();
        let needed = Core::rollups_needed_from(&record, &services).map_err(failed)?;
        let rollups = self.read_rollups(offsets, partition, needed)?;
        let mut core = Core::restore(self.partitions, &record, services, rollups).map_err(failed)?;
        self.replay(&mut core, partition, metadata.cut, offset)?;
        Ok(Restored { core, position: offset, marks: Some((metadata.cut, metadata.state)) })
    }

    /// The newest record of every service since the last full cut (or of all times, if that is not known).
    fn read_state(&self, offsets: &Offsets, partition: i32, from: Option<i64>) -> Result<State> {
        let topic = &self.topics.state;
        let low = offsets.watermarks(topic, partition)?.low;
        let mut state = State::default();
        self.read(offsets, topic, partition, from.unwrap_or(low).max(low), |message| {
            match message.value().map(codec::state::decode_state).transpose().map_err(|error| error.to_string())? {
                Some(StateRecord::Partition(record)) => state.partition = Some(record),
                Some(StateRecord::Service(record)) => {
                    state.services.insert(record.service.clone(), record);
                }
                None => {}
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// The rollups of the cuts at or after the clock `needed`, in order. Cuts only grow in their clock, so it is
    /// enough to begin at one that is older; if append times mislead, all are read.
    fn read_rollups(&self, offsets: &Offsets, partition: i32, needed: i64) -> Result<Vec<crate::model::state::Rollup>> {
        let topic = &self.topics.rollups;
        let low = offsets.watermarks(topic, partition)?.low;
        let guess = match offsets.at_time(topic, &[partition], needed.saturating_sub(SLACK_MS).max(0))?.pop() {
            Some((_, Some(offset))) => offset.max(low),
            _ => low,
        };
        for from in [guess, low] {
            let (mut rollups, mut first) = (Vec::new(), None);
            self.read(offsets, topic, partition, from, |message| {
                let Some(value) = message.value() else { return Ok(()) };
                let rollup = codec::state::decode_rollup(value).map_err(|error| error.to_string())?;
                first.get_or_insert(rollup.cut_clock);
                if rollup.cut_clock >= needed {
                    rollups.push(rollup);
                }
                Ok(())
            })?;
            if from == low || first.is_some_and(|first| first < needed) {
                return Ok(rollups);
            }
        }
        Ok(Vec::new())
    }

    fn replay(&self, core: &mut Core, partition: i32, from: i64, to: i64) -> Result<()> {
        let topic = &self.topics.metrics;
        let mut reader = Reader::open(self.settings, topic, Isolation::Committed, [(partition, from)])?;
        reader.until([(partition, to)]);
        let mut muted = Effects::default();
        loop {
            match reader.next(READ_TIMEOUT)? {
                Next::Record(message) => {
                    core.step(Decoded::of(&message).record(), &mut muted);
                    muted.clear();
                }
                Next::End => return Ok(()),
                Next::Idle => tracing::warn!(partition, from, to, "waiting for the log while restoring"),
            }
        }
    }

    /// Reads a partition of one of our own topics to its end.
    fn read(
        &self,
        offsets: &Offsets,
        topic: &str,
        partition: i32,
        from: i64,
        mut take: impl FnMut(&Message<'_>) -> std::result::Result<(), String>,
    ) -> Result<()> {
        let mut reader =
            Reader::open(self.settings, topic, Isolation::Committed, [(partition, from)])?.until_now(offsets)?;
        loop {
            match reader.next(READ_TIMEOUT)? {
                Next::Record(message) => take(&message).map_err(|reason| Error::State {
                    topic: topic.to_owned(),
                    partition,
                    offset: message.offset(),
                    reason,
                })?,
                Next::End => return Ok(()),
                Next::Idle => tracing::warn!(topic, partition, "waiting for the state while restoring"),
            }
        }
    }
}

#[derive(Default)]
struct State {
    partition: Option<PartitionRecord>,
    services: BTreeMap<ServiceId, ServiceRecord>,
}

/// Does the broker set the append times, as it must?
pub(super) fn is_appended_by_broker(message: &Message<'_>) -> bool {
    matches!(message.timestamp(), Timestamp::Append(_))
}
