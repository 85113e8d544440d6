//! Follows the partitions of a topic from their beginning, a stretch at a time: what was read and is not wanted yet
//! waits here. Knows nothing of what the records mean. Used by the judge alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hms_ops::bus::settings::TRANSACTION_TIMEOUT;
use hms_ops::bus::{Error, Isolation, Next, Offsets, Reader};

use super::Stored;
use crate::rig::fleet::{Fleet, PARTITIONS};

/// INV-7: no transaction hangs longer than its timeout and this.
const GRACE: Duration = Duration::from_secs(10);
/// How long a poll waits before positions are asked for.
const POLL: Duration = Duration::from_millis(20);

/// See the module.
pub struct Follower {
    topic: String,
    reader: Reader,
    offsets: Offsets,
    /// The next offset to be read of each partition.
    positions: Vec<i64>,
    waiting: Vec<VecDeque<Stored>>,
}

impl Follower {
    /// Nothing read yet.
    pub fn new(fleet: &Fleet, topic: &str) -> Self {
        let starts = (0..PARTITIONS).map(|partition| (partition, 0));
        let partitions = (0..PARTITIONS).map(|_| 0).collect::<Vec<i64>>();
        Self {
            topic: topic.to_owned(),
            reader: Reader::open(&fleet.settings, topic, Isolation::Committed, starts).unwrap(),
            offsets: Offsets::new(&fleet.settings).unwrap(),
            waiting: partitions.iter().map(|_| VecDeque::new()).collect(),
            positions: partitions,
        }
    }

    /// Reads everything that the topic holds now, and waits for the ends of transactions that are open now.
    pub fn read_to_now(&mut self) -> Result<(), String> {
        let ends: Result<Vec<i64>, Error> = (0..PARTITIONS)
            .map(|partition| self.offsets.watermarks(&self.topic, partition).map(|found| found.high))
            .collect();
        self.read_to(&ends.map_err(|error| error.to_string())?)
    }

    /// Reads each partition at least to an offset. A transaction that does not end in its time is the error.
    pub fn read_to(&mut self, ends: &[i64]) -> Result<(), String> {
        let mut moved = Instant::now();
        while self.positions.iter().zip(ends).any(|(position, end)| position < end) {
            let found = match self.reader.next(POLL).map_err(|error| error.to_string())? {
                Next::Record(message) => Some((message.partition(), Stored::of(&message))),
                Next::Idle | Next::End => None,
            };
            if let Some((partition, record)) = found {
                let partition = usize::try_from(partition).unwrap();
                self.positions[partition] = record.offset + 1;
                self.waiting[partition].push_back(record);
                moved = Instant::now();
            } else if self.pass_holes() {
                moved = Instant::now();
            }
            if moved.elapsed() > TRANSACTION_TIMEOUT + GRACE {
                let topic = &self.topic;
                return Err(format!("{topic}: an open transaction at {:?}, wanted up to {ends:?}", self.positions));
            }
        }
        Ok(())
    }

    /// Markers and what was aborted are passed without a record. Says whether there was anything.
    fn pass_holes(&mut self) -> bool {
        let found = self.reader.positions();
        let mut passed = false;
        for (position, found) in self.positions.iter_mut().zip(found.values()) {
            passed |= found > position;
            *position = *found.max(position);
        }
        passed
    }

    /// The next record of a partition, if it lies before `end`.
    pub fn next_before(&mut self, partition: usize, end: i64) -> Option<Stored> {
        let waiting = &mut self.waiting[partition];
        if waiting.front()?.offset < end { waiting.pop_front() } else { None }
    }
}
