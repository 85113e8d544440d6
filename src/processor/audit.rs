//! Computes what a partition's log should have led to, and compares it with what was published: for auditors, who
//! trust neither. Reads only. Called by `ops replay --verify`, `ops explain` and tests.
//!
//! 1. What is published for certain: the group's offset, or the last cut.
//! 2. `ops.state` (the cuts, and where specs change), then `ops.incidents` (events, and where specs take effect).
//! 3. The core at the cut where the range begins, or a new one at the beginning of the log.
//! 4. The plain `step` over `ops.metrics`, event by event beside what is committed.

use std::ops::ControlFlow;

use crate::bus::{Admin, Isolation, Offsets, Reader, Settings, Watermarks};
use crate::codec;
use crate::model::topics::Topics;
use crate::processor::core::Core;
use crate::processor::error::{Error, Result};
use crate::processor::marks::{CutMark, Cuts, core_at};
use crate::processor::read::{Decoded, read_metrics, read_out};
use crate::processor::replay::{Committed, Comparison, Difference, Published, Replay};

/// Looks at a cluster from outside.
pub struct Auditor {
    pub(super) settings: Settings,
    pub(super) topics: Topics,
    pub(super) offsets: Offsets,
    partitions: i32,
    /// What the processors have committed, by partition.
    committed: Vec<Option<i64>>,
}

/// What is on the bus of one partition, but for its readings.
pub struct Ledger<'a> {
    pub(super) auditor: &'a Auditor,
    pub(super) partition: i32,
    pub(super) published: Published,
    cuts: Cuts,
    /// What `ops.metrics` holds.
    pub(super) log: Watermarks,
    /// `ops.incidents` still holds its first event.
    whole: bool,
    /// All that records before this offset decide is published.
    pub(super) settled: i64,
}

/// How an audit of one partition ended.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub partition: i32,
    /// The first record that was computed again.
    pub from: i64,
    /// There is no record of the range at or after this.
    pub to: i64,
    /// A cut was begun at; else it was the beginning of the log.
    pub from_cut: bool,
    /// Records that were computed again.
    pub records: u64,
    /// Events of the range that are the same.
    pub equal: usize,
    /// Services that ended at a place that nothing tells any more: the clock stands in for it.
    pub unplaced: usize,
    /// The range begins later than asked: windows were started anew here (`--accept-gap`).
    pub gap: Option<i64>,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// Called with the next offset of `ops.metrics` and the end of its range.
pub type Progress<'a> = &'a mut dyn FnMut(i64, i64);

impl Auditor {
    /// `group`: of the processors; what it has committed is complete.
    ///
    /// # Errors
    /// No such topics; the bus does not answer.
    pub fn new(settings: Settings, topics: Topics, group: &str) -> Result<Self> {
        let offsets = Offsets::new(&settings)?;
        let partitions = offsets.partitions(&topics.metrics)?;
        let all: Vec<i32> = (0..partitions).collect();
        let mut committed = Admin::new(&settings)?.group_offsets(group, &topics.metrics, &all)?;
        committed.sort_by_key(|found| found.partition);
        let committed = committed.into_iter().map(|found| found.offset).collect();
        Ok(Self { settings, topics, offsets, partitions, committed })
    }

    /// How many there are.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The offset of the first record of a partition that was appended at or after `ms`; its end, if there is none.
    ///
    /// # Errors
    /// No such partition; the bus does not answer.
    pub fn offset_at(&self, partition: i32, ms: i64) -> Result<i64> {
        match self.offsets.at_time(&self.topics.metrics, &[partition], ms)?.pop() {
            Some((_, Some(offset))) => Ok(offset),
            _ => Ok(self.offsets.watermarks(&self.topics.metrics, partition)?.high),
        }
    }

    /// Reads what there is of a partition. All its events are kept in memory.
    ///
    /// # Errors
    /// No such partition; the bus does not answer; a record of ours that cannot be read.
    pub fn open(&self, partition: i32) -> Result<Ledger<'_>> {
        let mut cuts = Cuts::read(&self.settings, &self.topics.state, &self.offsets, partition)?;
        let incidents = &self.topics.incidents;
        let low = self.offsets.watermarks(incidents, partition)?.low;
        let starts = [(partition, low)];
        let mut reader =
            Reader::open(&self.settings, incidents, Isolation::Committed, starts)?.until_now(&self.offsets)?;
        let mut events = Vec::new();
        read_out(&mut reader, incidents, |message| {
            let headers = message.headers().into_iter();
            events.push(Committed {
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.value().map(<[u8]>::to_vec),
                headers: headers.map(|header| (header.name.into_owned(), header.value.map(<[u8]>::to_vec))).collect(),
                event: message.value().and_then(|value| codec::incident::decode(value).ok()),
            });
            Ok(ControlFlow::Continue(()))
        })?;
        // After the events, so that no event was decided by a record behind the end of this.
        let log = self.offsets.watermarks(&self.topics.metrics, partition)?;
        let offset = usize::try_from(partition).ok().and_then(|place| *self.committed.get(place)?);
        let cut = cuts.marks.last().map(|mark| mark.position);
        let published = Published::new(events, std::mem::take(&mut cuts.moves));
        cuts.gap = cuts.gap.max(published.gap_before(log.low));
        let settled = offset.max(cut).unwrap_or(0);
        Ok(Ledger { auditor: self, partition, published, cuts, log, whole: low == 0, settled })
    }
}

impl Ledger<'_> {
    /// The cuts at which a range may begin, in order.
    pub fn cuts(&self) -> &[CutMark] {
        let first = self.cuts.marks.partition_point(|mark| mark.position < self.log.low);
        &self.cuts.marks[first..]
    }

    /// The log can be followed from its first record on.
    fn begins_at_zero(&self) -> bool {
        self.log.low == 0 && self.whole && self.cuts.gap.is_none()
    }

    /// The last cut that `fits`; the beginning of the log, if that is all there is.
    pub(super) fn last_cut(&self, what: &str, fits: impl Fn(&CutMark) -> bool) -> Result<Option<CutMark>> {
        let found = self.cuts().iter().rev().find(|mark| fits(mark));
        if found.is_none() && !self.begins_at_zero() {
            let first = self.cuts().first().map_or_else(
                || "it holds no cut at all".to_owned(),
                |mark| format!("the first cut is at offset {} (clock {:?} ms)", mark.position, mark.clock),
            );
            let what = format!("there is no cut {what}: {first}");
            return Err(self.failed(what));
        }
        Ok(found.copied())
    }

    fn first_start(&self) -> Result<Option<CutMark>> {
        if self.begins_at_zero() {
            return Ok(None);
        }
        match self.cuts().first() {
            Some(first) => Ok(Some(*first)),
            None if self.published.events.is_empty() && self.settled == 0 => Ok(None),
            None => Err(self.failed("no cut is left to begin at".to_owned())),
        }
    }

    fn failed(&self, what: String) -> Error {
        Error::Audit { topic: self.auditor.topics.metrics.clone(), partition: self.partition, what }
    }

    /// The core at `start`, and the index of the first event that it has not decided yet.
    pub(super) fn stand(&self, start: Option<&CutMark>) -> Result<(Core, usize)> {
        let auditor = self.auditor;
        let Some(mark) = start else { return Ok((Core::new(self.partition, auditor.partitions), 0)) };
        let (settings, topics) = (&auditor.settings, &auditor.topics);
        let core = core_at(mark, settings, topics, &auditor.offsets, self.partition, auditor.partitions)?;
        let first = self.published.first_after(&core, mark.position, self.cuts.gap);
        Ok((core, first))
    }

    /// Compares what records in `[from, to)` decide, beginning at the last cut at or before `from`. To be sure that
    /// nothing hides behind the last event, it goes on to the first one beyond.
    ///
    /// # Errors
    /// No such cut; what it needs is gone; the bus does not answer.
    pub fn verify(&self, from: Option<i64>, to: Option<i64>, progress: Progress<'_>) -> Result<Finding> {
        let start = match from {
            None => self.first_start()?,
            Some(from) => self.last_cut(&format!("at or before offset {from}"), |mark| mark.position <= from)?,
        };
        let (core, first) = self.stand(start.as_ref())?;
        let mut replay = Replay::new(core, self.published.changes(first));
        let mut comparison = Comparison::new(&self.published.events[first..]);
        let position = start.map_or(self.log.low, |mark| mark.position);
        let end = to.map_or(self.log.high, |to| to.clamp(position, self.log.high));
        let (mut in_range, mut records, mut difference) = (None, 0, None);
        let mut through = true;
        self.each_record(position, |offset, decoded| {
            if offset >= end {
                in_range.get_or_insert(comparison.equal);
            } else {
                records += 1;
                progress(offset, end);
            }
            replay.step(decoded.record());
            difference = replay.events().iter().find_map(|event| comparison.take(event, offset, offset < self.settled));
            let beyond = in_range.is_some_and(|equal| comparison.equal > equal || comparison.ahead);
            through = difference.is_none() && !beyond;
            if through { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if through {
            replay.finish(self.log.high);
            let settled = self.settled >= self.log.high;
            let found = replay.events().iter().find_map(|event| comparison.take(event, self.log.high, settled));
            difference = found.or_else(|| comparison.finish());
        }
        let difference = difference.or_else(|| self.published.untold(start.map_or(-1, |mark| mark.position), end));
        Ok(Finding {
            partition: self.partition,
            from: position,
            to: end,
            from_cut: start.is_some(),
            records,
            equal: in_range.unwrap_or(comparison.equal),
            unplaced: self.published.unplaced(first),
            gap: self.cuts.gap.filter(|gap| from.is_none_or(|from| from < *gap)),
            difference,
        })
    }

    /// The committed records of `ops.metrics` from `position` to the end, until `take` has enough.
    pub(super) fn each_record(
        &self,
        position: i64,
        mut take: impl FnMut(i64, &Decoded<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let topic = &self.auditor.topics.metrics;
        let starts = [(self.partition, position)];
        let mut reader = Reader::open(&self.auditor.settings, topic, Isolation::Committed, starts)?;
        reader.until([(self.partition, self.log.high)]);
        let settings = &self.auditor.settings;
        read_metrics(&mut reader, settings, topic, |message, decoded| take(message.offset(), decoded))
    }
}
