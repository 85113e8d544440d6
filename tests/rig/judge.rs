//! Judges what the processors of a fleet have published: the oracle reads the same log of `ops.metrics` and says
//! which events, dead letters and forwards must be there, field by field, in order, each once.
//!
//! A partition is judged up to the offset that the group has committed. While processors run, [`Judge::advance`] goes
//! there from where it stopped before: all that comes of consumed records must be there, and what is there beyond
//! waits for the next time. When they have stopped in order, [`Judge::finish`] leaves nothing waiting.
//!
//! `follow` reads, `hearing` is one partition, `change` a spec's beginning and end, `forwards` the readings away from
//! home, `compare` the form in which both sides meet.

mod change;
mod compare;
mod follow;
mod forwards;
mod hearing;

use hms_ops::bus::{Isolation, Message, Next, Offsets, Reader};
use hms_ops::model::incident::IncidentEvent;
use hms_ops::model::rejected::Rejected;

use follow::Follower;
use forwards::{FORWARDED, Forwards};
use hearing::Hearing;

use super::cluster::PATIENCE;
use super::fleet::{Fleet, PARTITIONS};
use crate::oracle::{Counts, Told};

/// A record as it lies in its partition.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Offset.
    pub offset: i64,
    /// Append time, ms.
    pub append: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    fn of(message: &Message<'_>) -> Self {
        let headers = message.headers().into_iter();
        Self {
            offset: message.offset(),
            append: message.timestamp().ms().unwrap(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.name.into_owned(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(String::from_utf8(value.clone()?).unwrap())
    }

    fn is_forwarded(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == FORWARDED)
    }
}

/// Everything committed of a partition. Waits for transactions that are open now.
pub fn stored(fleet: &Fleet, topic: &str, partition: i32) -> Vec<Stored> {
    let offsets = Offsets::new(&fleet.settings).unwrap();
    let reader = Reader::open(&fleet.settings, topic, Isolation::Committed, [(partition, 0)]).unwrap();
    let mut reader = reader.until_now(&offsets).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => records.push(Stored::of(&message)),
            Next::End => return records,
            Next::Idle => panic!("{topic}/{partition} has no end"),
        }
    }
}

/// What was seen at the moment of a kill and is not committed in the end, was in a transaction that was open then.
/// Says whether an event is there for good.
pub fn is_committed(fleet: &Fleet, partition: i32, offset: i64) -> bool {
    let topic = &fleet.topics.incidents;
    let mut reader = Reader::open(&fleet.settings, topic, Isolation::Committed, [(partition, offset)]).unwrap();
    reader.until([(partition, offset + 1)]);
    match reader.next(PATIENCE).unwrap() {
        Next::Record(message) => message.offset() == offset,
        Next::End => false,
        Next::Idle => panic!("{topic}/{partition}: a transaction at offset {offset} has no end"),
    }
}

/// What the oracle confirmed.
#[derive(Debug, Default)]
pub struct Judged {
    /// Every event since the last time, partition by partition, in order.
    pub events: Vec<IncidentEvent>,
    /// What the oracle says, which is the same, in the same order.
    pub told: Vec<Told>,
    /// Every dead letter since the last time, partition by partition, in order.
    pub rejected: Vec<Rejected>,
    /// What became of the records, all of them from the first.
    pub counts: Counts,
    /// Readings that were found away from home, all of them from the first.
    pub forwarded: u64,
}

/// See the module.
pub struct Judge {
    metrics: Follower,
    incidents: Follower,
    rejected: Follower,
    hearings: Vec<Hearing>,
    forwards: Forwards,
}

impl Judge {
    /// Nothing is judged yet.
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            metrics: Follower::new(fleet, &fleet.topics.metrics),
            incidents: Follower::new(fleet, &fleet.topics.incidents),
            rejected: Follower::new(fleet, &fleet.topics.rejected),
            hearings: (0..PARTITIONS).map(Hearing::new).collect(),
            forwards: Forwards::default(),
        }
    }

    /// Judges what was consumed since the last time; processors may be running, none may be frozen. The first
    /// difference is the error.
    pub fn advance(&mut self, fleet: &Fleet) -> Result<Judged, String> {
        let ends = self.read(fleet)?;
        self.metrics.read_to(&ends)?;
        self.hear(&ends)
    }

    /// Judges the rest, and that nothing is left. The processors have stopped in order.
    pub fn finish(mut self, fleet: &Fleet) -> Result<Judged, String> {
        let ends = self.read(fleet)?;
        self.metrics.read_to_now()?;
        let mut judged = self.hear(&ends)?;
        for ((partition, hearing), end) in self.hearings.iter_mut().enumerate().zip(ends) {
            hearing.finish(end, &mut judged).map_err(|difference| at(partition, end, &difference))?;
            // Nobody has consumed the rest, but what was forwarded into it is there.
            while let Some(record) = self.metrics.next_before(partition, i64::MAX) {
                if record.is_forwarded() {
                    self.forwards.find(hearing.partition, &record)?;
                }
            }
        }
        self.forwards.finish()?;
        self.conserved(&judged)?;
        Ok(judged)
    }

    /// What is committed, and then what is published: in this order, so that all that comes of records before the
    /// committed offsets is there.
    fn read(&mut self, fleet: &Fleet) -> Result<Vec<i64>, String> {
        let ends: Vec<i64> = fleet.committed().into_iter().map(|(committed, _)| committed.unwrap_or(0)).collect();
        self.incidents.read_to_now()?;
        self.rejected.read_to_now()?;
        for (partition, hearing) in self.hearings.iter_mut().enumerate() {
            while let Some(record) = self.incidents.next_before(partition, i64::MAX) {
                hearing.find(&record)?;
            }
            while let Some(record) = self.rejected.next_before(partition, i64::MAX) {
                hearing.find_letter(&record, &fleet.topics.metrics)?;
            }
        }
        Ok(ends)
    }

    fn hear(&mut self, ends: &[i64]) -> Result<Judged, String> {
        let mut judged = Judged::default();
        for ((partition, hearing), end) in self.hearings.iter_mut().enumerate().zip(ends) {
            while let Some(record) = self.metrics.next_before(partition, *end) {
                if record.is_forwarded() {
                    self.forwards.find(hearing.partition, &record)?;
                }
                hearing.hear(&record, &mut self.forwards)?;
            }
            hearing.confirm(&mut judged).map_err(|difference| at(partition, *end, &difference))?;
            add(&mut judged.counts, &hearing.oracle.counts);
        }
        judged.forwarded = self.forwards.count;
        Ok(judged)
    }

    /// INV-12. Every dead letter and every forward was found by now, so these counts are those of the topics.
    fn conserved(&self, judged: &Judged) -> Result<(), String> {
        let counts = &judged.counts;
        let known = counts.counted + counts.rejected.values().sum::<u64>() + judged.forwarded + counts.ticks;
        if counts.consumed == known { Ok(()) } else { Err(format!("not conserved: {counts:?}")) }
    }
}

fn at(partition: usize, end: i64, difference: &str) -> String {
    format!("partition {partition}, judged up to {end}: {difference}")
}

/// Compares everything, at once. The first difference is the error.
pub fn judge(fleet: &Fleet) -> Result<Judged, String> {
    Judge::new(fleet).finish(fleet)
}

/// One partition, none of whose readings is away from home, from records alone: what is published of `log` is
/// `incidents` and `letters`.
pub fn judge_records(metrics: &str, log: &[Stored], incidents: &[Stored], letters: &[Stored]) -> Result<(), String> {
    let (mut hearing, mut forwards) = (Hearing::new(0), Forwards::default());
    incidents.iter().try_for_each(|record| hearing.find(record))?;
    letters.iter().try_for_each(|record| hearing.find_letter(record, metrics))?;
    log.iter().try_for_each(|record| hearing.hear(record, &mut forwards))?;
    hearing.finish(log.last().map_or(0, |record| record.offset + 1), &mut Judged::default())
}

/// Like [`judge`], for tests in which nothing may differ.
pub fn confirm(fleet: &Fleet) -> Judged {
    judge(fleet).unwrap_or_else(|difference| panic!("{}: {difference}", fleet.prefix))
}

fn add(sum: &mut Counts, counts: &Counts) {
    sum.consumed += counts.consumed;
    sum.counted += counts.counted;
    sum.late += counts.late;
    sum.ticks += counts.ticks;
    for (reason, count) in &counts.rejected {
        *sum.rejected.entry(reason).or_default() += count;
    }
}
