//! Where partitions begin and end, how many there are, and what offset a time has.
//!
//! A client of its own, because these must be the *high watermark*: a `read_committed` client is told the last
//! stable offset instead, and an open transaction would hide the newest state from a restore.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::context::Plain;
use super::error::{Error, Place};
use super::record::number;
use super::settings::Settings;
use super::verdict::Verdict;

/// How long a question is repeated.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries after an answer that asks for one: leaders and coordinators move in such times.
const PAUSE: Duration = Duration::from_millis(50);

/// What a partition holds: the offsets `[low, high)`, with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset.
    pub low: i64,
    /// The offset after the last record, committed or not, or marker.
    pub high: i64,
}

/// Answers about partitions. Cheap to keep, one a worker.
pub struct Offsets {
    client: BaseConsumer<Plain>,
    /// Topics that are known to exist.
    known: Mutex<BTreeSet<String>>,
}

impl Offsets {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let client = settings
            .consumer()
            .set("isolation.level", "read_uncommitted")
            .create_with_context(Plain)
            .map_err(Error::client("creating a client", Place::none()))?;
        Ok(Self { client, known: Mutex::default() })
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`]; no answer.
    pub fn partitions(&self, topic: &str) -> Result<i32, Error> {
        let metadata = patient("asking for a topic", Place::topic(topic), |timeout| {
            self.client.fetch_metadata(Some(topic), timeout)
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error().map(Code::from), found.partitions().len())) {
            None | Some((Some(Code::UnknownTopicOrPartition | Code::UnknownTopic), _)) => {
                Err(Error::NoSuchTopic { topic: topic.to_owned() })
            }
            Some((Some(code), _)) => {
                let error = KafkaError::MetadataFetch(code);
                Err(Error::client("asking for a topic", Place::topic(topic))(error))
            }
            Some((None, partitions)) => Ok(i32::try_from(partitions).unwrap_or(i32::MAX)),
        }
    }

    /// Before the first question about a topic's offsets. Asked straight away, a client that is not connected yet
    /// loses most of a second before it looks for the leader again; the question for the topic waits for a
    /// connection.
    fn look_up(&self, topic: &str) -> Result<(), Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(topic) {
            self.partitions(topic)?;
            known.insert(topic.to_owned());
        }
        Ok(())
    }

    /// What a partition holds now.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`]; no such partition; no answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, Error> {
        self.look_up(topic)?;
        let place = Place::partition(topic, partition);
        let (low, high) =
            patient("asking for watermarks", place, |timeout| self.client.fetch_watermarks(topic, partition, timeout))?;
        Ok(Watermarks { low, high })
    }

    /// An offset that no record to come lies before: where a partition ends now, if its leader says so within `timeout`.
    /// Asks once.
    pub fn floor(&self, topic: &str, partition: i32, timeout: Duration) -> Option<i64> {
        let answer = self.client.fetch_watermarks(topic, partition, timeout);
        answer
            .inspect_err(|error| tracing::debug!(topic, partition, %error, "where it ends is not known"))
            .ok()
            .map(|(_, high)| high)
    }

    /// For each of `partitions` the first offset whose record was written at or after `ms`; `None` if there is
    /// none.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`]; no such partition; no answer.
    pub fn at_time(&self, topic: &str, partitions: &[i32], ms: i64) -> Result<Vec<(i32, Option<i64>)>, Error> {
        self.look_up(topic)?;
        let answer = patient("asking for offsets by time", Place::topic(topic), |timeout| {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for partition in partitions {
                list.add_partition_offset(topic, *partition, Offset::Offset(ms))?;
            }
            self.client.offsets_for_times(list, timeout)
        })?;
        answer
            .elements()
            .iter()
            .map(|entry| {
                let place = Place::partition(topic, entry.partition());
                entry.error().map_err(Error::client("asking for offsets by time", place))?;
                Ok((entry.partition(), number(entry.offset())))
            })
            .collect()
    }
}

/// Repeats a question until it is answered, refused for good, or [`PATIENCE`] is over.
pub(super) fn patient<T>(
    operation: &'static str,
    place: Place,
    ask: impl Fn(Duration) -> KafkaResult<T>,
) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Error::TimedOut { operation, place, waited: PATIENCE });
        }
        match ask(remaining) {
            Ok(answer) => return Ok(answer),
            Err(error) if Verdict::of(&error) == Verdict::Retry => std::thread::sleep(PAUSE),
            Err(error) => return Err(Error::client(operation, place)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_passing_error_is_asked_again_and_a_lasting_one_is_not() {
        let asked = Cell::new(0);
        let answer = patient("asking", Place::none(), |_| {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Err(KafkaError::MetadataFetch(Code::LeaderNotAvailable)) } else { Ok(asked.get()) }
        });
        assert_eq!(answer.unwrap(), 3);
        let refused = patient("asking", Place::none(), |_| -> KafkaResult<()> {
            asked.set(asked.get() + 1);
            Err(KafkaError::MetadataFetch(Code::TopicAuthorizationFailed))
        });
        assert_eq!((refused.unwrap_err().verdict(), asked.get()), (Verdict::Fatal, 4));
    }
}
