//! Follows partitions of a topic: first to their ends, then whatever comes. Used by [`super::Board`], by
//! [`crate::sdk::actions`] and by [`crate::sdk::directory`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::facts::Facts;
use crate::bus::{Error, Isolation, Message, Next, Offsets, Reader, Settings};

/// After so long without a record it is worth asking whether the end is reached.
const PAUSE: Duration = Duration::from_millis(20);
/// A writer that died in a transaction hides what follows for some seconds: what is committed is shown without it.
const STALL: Duration = Duration::from_secs(3);

/// See the module.
pub(in crate::sdk) struct Tail {
    reader: Reader,
    topic: String,
    partitions: Vec<i32>,
}

impl Tail {
    /// From the beginning of every partition.
    pub fn all(settings: &Settings, offsets: &Offsets, topic: &str) -> Result<Self, Error> {
        let low = |partition| Ok((partition, offsets.watermarks(topic, partition)?.low));
        let starts = (0..offsets.partitions(topic)?).map(low).collect::<Result<_, Error>>()?;
        Self::from(settings, topic, starts)
    }

    /// From the given offsets.
    pub fn from(settings: &Settings, topic: &str, starts: Vec<(i32, i64)>) -> Result<Self, Error> {
        let partitions = starts.iter().map(|(partition, _)| *partition).collect();
        let reader = Reader::open(settings, topic, Isolation::Committed, starts)?;
        Ok(Self { reader, topic: topic.to_owned(), partitions })
    }

    /// From what was written at or after a time (ms) of each partition.
    pub fn since(settings: &Settings, offsets: &Offsets, topic: &str, since: Vec<(i32, i64)>) -> Result<Self, Error> {
        Self::last(settings, offsets, topic, since, i64::MAX)
    }

    /// The same, and at most the last `most` offsets of each.
    pub fn last(
        settings: &Settings,
        offsets: &Offsets,
        topic: &str,
        since: impl IntoIterator<Item = (i32, i64)>,
        most: i64,
    ) -> Result<Self, Error> {
        let start = |(partition, ms): (i32, i64)| {
            let high = offsets.watermarks(topic, partition)?.high;
            let at = offsets.at_time(topic, &[partition], ms.max(0))?.into_iter().find_map(|(_, offset)| offset);
            Ok((partition, at.unwrap_or(high).max(high.saturating_sub(most))))
        };
        let starts = since.into_iter().map(start).collect::<Result<_, Error>>()?;
        Self::from(settings, topic, starts)
    }

    /// The next offset to be read of each partition.
    pub fn positions(&self) -> Vec<(i32, i64)> {
        self.reader.positions().iter().map(|(partition, offset)| (*partition, *offset)).collect()
    }

    /// Takes everything that the topic holds now.
    pub fn catch_up(&mut self, offsets: &Offsets, mut take: impl FnMut(&Message<'_>)) -> Result<(), Error> {
        let ends: BTreeMap<i32, i64> = self
            .partitions
            .iter()
            .map(|partition| Ok((*partition, offsets.watermarks(&self.topic, *partition)?.high)))
            .collect::<Result<_, Error>>()?;
        let (mut moved, mut before) = (Instant::now(), BTreeMap::new());
        loop {
            if let Next::Record(message) = self.reader.next(PAUSE)? {
                take(&message);
                continue;
            }
            let positions = self.reader.positions();
            let is_there = |(partition, end): (&i32, &i64)| positions.get(partition) >= Some(end);
            if ends.iter().all(is_there) {
                return Ok(());
            }
            if *positions != before {
                (moved, before) = (Instant::now(), positions.clone());
            } else if moved.elapsed() >= STALL {
                tracing::debug!(topic = self.topic, ?ends, "not read to the end: a transaction is open");
                return Ok(());
            }
        }
    }

    /// Waits up to `timeout` for a record, then takes what else is there. Was there any?
    pub fn glance(&mut self, timeout: Duration, mut take: impl FnMut(&Message<'_>)) -> Result<bool, Error> {
        let mut wait = timeout;
        let mut any = false;
        while let Next::Record(message) = self.reader.next(wait)? {
            take(&message);
            (any, wait) = (true, Duration::ZERO);
        }
        Ok(any)
    }
}

/// `ops.state`, every service and partition of it, without reading days of cuts: from the last full cut on, which
/// lies after `since` (ms) if the processor runs; else from the beginning.
pub(super) fn state(
    settings: &Settings,
    offsets: &Offsets,
    topic: &str,
    partitions: &[i32],
    since: i64,
    facts: &mut Facts,
) -> Result<Tail, Error> {
    let recent = partitions.iter().map(|partition| (*partition, since)).collect();
    let mut tail = Tail::since(settings, offsets, topic, recent)?;
    tail.catch_up(offsets, |message| facts.take_state(message))?;
    if partitions.iter().all(|partition| facts.full_cut(*partition) >= Some(since)) {
        return Ok(tail);
    }
    let low = |partition: &i32| Ok((*partition, offsets.watermarks(topic, *partition)?.low));
    let starts = partitions.iter().map(low).collect::<Result<_, Error>>()?;
    let mut tail = Tail::from(settings, topic, starts)?;
    tail.catch_up(offsets, |message| facts.take_state(message))?;
    Ok(tail)
}
