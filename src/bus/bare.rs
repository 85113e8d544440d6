//! The limit: a consumer that does nothing but count. What it reaches is what the client library reaches, with the
//! settings of a member of the processor's group; for benchmarks alone.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::context::Plain;
use super::error::{Error, Place};
use super::intake::{Intake, Taken};
use super::settings::Settings;
use super::verdict::Verdict;

/// The longest wait for a record.
const WAIT: Duration = Duration::from_millis(100);
/// Without any record for so long, the topic is not what it was said to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records between two calls of the caller's.
const TELL_EVERY: u64 = 8_192;

/// How records are taken from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One a call, `BaseConsumer::poll`: the client's own face.
    Poll,
    /// Hundreds a call, from a queue to which those of the partitions are led: as the processor takes them.
    Batch,
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Seen {
    fn note(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }
}

/// One partition to be counted: its number, the first offset and the one after the last. Without holes: written outside of
/// transactions, and not compacted.
pub type Span = (i32, i64, i64);

/// Counts `spans` of `topic` to their ends; `tell` is told how far it came every few thousand records.
///
/// # Errors
/// The client's; [`Error::TimedOut`] if the log does not hold as much as `spans` say.
pub fn count(
    settings: &Settings,
    topic: &str,
    spans: &[Span],
    form: Form,
    mut tell: impl FnMut(Seen),
) -> Result<Seen, Error> {
    let failed = || Error::client("counting a topic", Place::topic(topic));
    let client: BaseConsumer<Plain> =
        settings.member("hms-ops-bare", None).create_with_context(Plain).map_err(failed())?;
    let mut list = TopicPartitionList::with_capacity(spans.len());
    for (partition, start, _) in spans {
        list.add_partition_offset(topic, *partition, Offset::Offset(*start)).map_err(failed())?;
    }
    // Dropped before the client.
    let mut intake = match form {
        Form::Poll => None,
        Form::Batch => Some(Intake::new(&client)?),
    };
    if let Some(intake) = &intake {
        spans.iter().try_for_each(|(partition, ..)| intake.lead(&client, topic, *partition))?;
    }
    client.assign(&list).map_err(failed())?;
    let expected = spans.iter().map(|(_, start, end)| u64::try_from(end - start).unwrap_or(0)).sum();
    let (mut seen, mut told, mut came) = (Seen::default(), 0, Instant::now());
    while seen.records < expected {
        let before = seen.records;
        match &mut intake {
            None => poll(&client, WAIT, &mut seen).map_err(failed())?,
            Some(intake) => batch(&client, intake, &mut seen).map_err(failed())?,
        }
        if seen.records - told >= TELL_EVERY {
            (told, came) = (seen.records, Instant::now());
            tell(seen);
        } else if seen.records == before && came.elapsed() > PATIENCE {
            let (operation, place) = ("counting a topic", Place::topic(topic));
            return Err(Error::TimedOut { operation, place, waited: PATIENCE });
        }
    }
    tell(seen);
    Ok(seen)
}

/// Takes one record, or hears of an error.
fn poll(client: &BaseConsumer<Plain>, wait: Duration, seen: &mut Seen) -> Result<(), KafkaError> {
    match client.poll(wait) {
        Some(Ok(message)) => {
            seen.note(message.payload_len() + message.key_len());
            Ok(())
        }
        None => Ok(()),
        Some(Err(error)) => unless_mended(error),
    }
}

/// Takes what is there; the client's own errors come by its own queue.
fn batch(client: &BaseConsumer<Plain>, intake: &mut Intake, seen: &mut Seen) -> Result<(), KafkaError> {
    intake.fill(WAIT);
    while let Some(taken) = intake.next() {
        match taken {
            Taken::Record(message) => {
                seen.note(message.value().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len));
            }
            Taken::End { .. } => {}
            Taken::Failed { error, .. } => unless_mended(error)?,
        }
    }
    poll(client, Duration::ZERO, seen)
}

/// The client mends the rest by itself.
fn unless_mended(error: KafkaError) -> Result<(), KafkaError> {
    match error {
        KafkaError::PartitionEOF(_) => Ok(()),
        error if Verdict::of(&error) == Verdict::Retry => Ok(()),
        error => Err(error),
    }
}
