//! Reads partitions of one topic without a group: restores, status, replays, the vault, tests.
//!
//! A reader with ends stops at the high watermarks that were taken when it was told to
//! ([`Reader::until_now`]), which is not after the last record: markers and compaction leave holes, so it goes by
//! the position. Without ends it follows the log for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::context::Plain;
use super::error::{Error, Place};
use super::group::DEAF;
use super::intake::{Intake, Taken};
use super::offsets::{Offsets, Watermarks};
use super::record::Message;
use super::settings::Settings;
use super::verdict::Verdict;
use crate::codec::ids::Ids;

/// Which records are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Committed ones, up to the first open transaction.
    Committed,
    /// All, aborted and open ones too.
    Uncommitted,
}

/// What [`Reader::next`] found.
#[derive(Debug)]
pub enum Next<'a> {
    /// A record.
    Record(Message<'a>),
    /// Nothing within the timeout; more may come.
    Idle,
    /// Every partition was read to its end. Comes again when asked again; never without ends.
    End,
}

/// See the module.
pub struct Reader {
    // Dropped before the client.
    intake: Intake,
    client: BaseConsumer<Plain>,
    topic: String,
    /// The next offset to be handed out of each partition.
    positions: BTreeMap<i32, i64>,
    /// The offset before which each partition is to be read; partitions that were read to it are gone from here.
    ends: Option<BTreeMap<i32, i64>>,
    ids: Arc<Ids>,
}

impl Reader {
    /// Reads `topic` from the given (partition, offset) on; no end.
    ///
    /// # Errors
    /// Wrong settings. An offset that the log does not hold shows at [`Self::next`].
    pub fn open(
        settings: &Settings,
        topic: &str,
        isolation: Isolation,
        starts: impl IntoIterator<Item = (i32, i64)>,
    ) -> Result<Self, Error> {
        let failed = || Error::client("reading a topic", Place::topic(topic));
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let mut config = settings.consumer();
        // The client does not assign without a group's name; nothing is ever asked of, or committed to, this one.
        config.set("group.id", "hms-ops-reader").set("isolation.level", level);
        let client: BaseConsumer<Plain> = config.create_with_context(Plain).map_err(failed())?;
        let intake = Intake::new(&client)?;
        let positions: BTreeMap<i32, i64> = starts.into_iter().collect();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in &positions {
            intake.lead(&client, topic, *partition)?;
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(failed())?;
        }
        client.assign(&list).map_err(failed())?;
        Ok(Self { intake, client, topic: topic.to_owned(), positions, ends: None, ids: settings.ids() })
    }

    /// Reads all that the topic's partitions hold now.
    ///
    /// # Errors
    /// No such topic; no answer.
    pub fn all(settings: &Settings, offsets: &Offsets, topic: &str, isolation: Isolation) -> Result<Self, Error> {
        let starts: Vec<_> = (0..offsets.partitions(topic)?)
            .map(|partition| Ok((partition, offsets.watermarks(topic, partition)?.low)))
            .collect::<Result<_, Error>>()?;
        Self::open(settings, topic, isolation, starts)?.until_now(offsets)
    }

    /// Stops at what the log holds now, open transactions included: fence their writers, or a committed reader
    /// waits for them.
    ///
    /// # Errors
    /// No answer; [`Error::OffsetOutOfRange`].
    pub fn until_now(mut self, offsets: &Offsets) -> Result<Self, Error> {
        let mut ends = BTreeMap::new();
        for (&partition, &offset) in &self.positions {
            let Watermarks { low, high } = offsets.watermarks(&self.topic, partition)?;
            if !(low..=high).contains(&offset) {
                return Err(Error::OffsetOutOfRange { topic: self.topic, partition, offset, low, high });
            }
            ends.insert(partition, high);
        }
        self.until(ends);
        Ok(self)
    }

    /// Stops each partition before an offset of the caller's choice. Partitions that are not named are not waited
    /// for.
    pub fn until(&mut self, ends: impl IntoIterator<Item = (i32, i64)>) {
        let is_ahead = |(partition, end): &(i32, i64)| self.positions.get(partition).is_some_and(|at| at < end);
        self.ends = Some(ends.into_iter().filter(is_ahead).collect());
    }

    /// Waits up to `timeout` for the next record.
    ///
    /// # Errors
    /// Never `Retry`. [`Error::OffsetOutOfRange`] without watermarks known has them as -1.
    // Not an `Iterator`: a record borrows the reader.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, timeout: Duration) -> Result<Next<'_>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if self.ends.as_ref().is_some_and(BTreeMap::is_empty) {
                return Ok(Next::End);
            }
            match self.intake.next() {
                Some(Taken::Record(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    self.positions.insert(partition, offset + 1);
                    if is_wanted(self.ends.as_mut(), partition, offset) {
                        return Ok(Next::Record(message.unframed(&self.ids)));
                    }
                }
                Some(Taken::End { partition, offset }) => {
                    self.positions.insert(partition, offset);
                    if let Some(ends) = &mut self.ends {
                        ends.retain(|other, end| *other != partition || offset < *end);
                    }
                }
                Some(Taken::Failed { error, .. }) => self.judge(error)?,
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // Never records: what the client itself has to say.
                    if let Some(Err(error)) = self.client.poll(Duration::ZERO) {
                        self.judge(error)?;
                    }
                    self.intake.fill(left.min(DEAF));
                    if self.intake.is_empty() && left.is_zero() {
                        return Ok(Next::Idle);
                    }
                }
            }
        }
    }

    /// The next offset to be read of each partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// What is left of an error when the client's own mending is set aside.
    fn judge(&self, error: KafkaError) -> Result<(), Error> {
        let code = error.rdkafka_error_code();
        let topic = &self.topic;
        if matches!(code, Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset)) {
            // The client does not say which partition it was; the log does.
            for (&partition, &offset) in &self.positions {
                let watermarks = self.client.fetch_watermarks(topic, partition, super::offsets::PATIENCE);
                if let Ok((low, high)) = watermarks
                    && !(low..=high).contains(&offset)
                {
                    return Err(Error::OffsetOutOfRange { topic: topic.clone(), partition, offset, low, high });
                }
            }
        }
        match Verdict::of(&error) {
            Verdict::Retry => {
                tracing::debug!(topic, %error, "the reader mends itself");
                Ok(())
            }
            _ => Err(Error::client("reading", Place::topic(topic))(error)),
        }
    }
}

/// Does a record lie before its partition's end? The last record before it ends the partition.
fn is_wanted(ends: Option<&mut BTreeMap<i32, i64>>, partition: i32, offset: i64) -> bool {
    let Some(ends) = ends else { return true };
    let Some(&end) = ends.get(&partition) else { return false };
    if offset + 1 >= end {
        ends.remove(&partition);
    }
    offset < end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_ends_with_the_last_record_before_its_end() {
        let mut ends: BTreeMap<i32, i64> = [(0, 3), (1, 9)].into();
        assert!(is_wanted(Some(&mut ends), 0, 1) && ends.len() == 2);
        assert!(is_wanted(Some(&mut ends), 0, 2) && ends.len() == 1, "nothing can follow offset 2 before 3");
        assert!(!is_wanted(Some(&mut ends), 0, 3), "what was appended later is not wanted");
        assert!(!is_wanted(Some(&mut ends), 1, 12) && ends.is_empty(), "a hole up to the end");
        assert!(is_wanted(None, 0, 99));
    }
}
