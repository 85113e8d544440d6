//! The limit: a consumer that does nothing but count. What it reaches is what the client library reaches, with the
//! settings of a member of the processor's group; for benchmarks alone.

use std::ffi::CString;
use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::context::Plain;
use super::error::{Error, Place};
use super::settings::Settings;
use super::verdict::Verdict;

/// The longest wait for a record.
const WAIT: Duration = Duration::from_millis(100);
/// Without any record for so long, the topic is not what it was said to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records between two calls of the caller's.
const TELL_EVERY: u64 = 8_192;
/// Records that one call of the batch form takes at most.
const BATCH: usize = 512;

/// How records are taken from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One a call, `BaseConsumer::poll`: the client's own face.
    Poll,
    /// Hundreds a call, `rd_kafka_consume_batch_queue` on the queues of the partitions.
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
    client.assign(&list).map_err(failed())?;
    let queues = match form {
        Form::Poll => Vec::new(),
        Form::Batch => spans.iter().map(|(partition, ..)| Queue::of(&client, topic, *partition)).collect(),
    };
    let expected = spans.iter().map(|(_, start, end)| u64::try_from(end - start).unwrap_or(0)).sum();
    let (mut seen, mut told, mut came) = (Seen::default(), 0, Instant::now());
    while seen.records < expected {
        let before = seen.records;
        match form {
            Form::Poll => poll(&client, &mut seen).map_err(failed())?,
            Form::Batch => batch(&client, &queues, &mut seen)?,
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

/// Takes one record.
fn poll(client: &BaseConsumer<Plain>, seen: &mut Seen) -> Result<(), KafkaError> {
    match client.poll(WAIT) {
        Some(Ok(message)) => {
            seen.records += 1;
            seen.bytes += (message.payload_len() + message.key_len()) as u64;
            Ok(())
        }
        None | Some(Err(KafkaError::PartitionEOF(_))) => Ok(()),
        Some(Err(error)) if Verdict::of(&error) == Verdict::Retry => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

/// Takes what is there, of each partition in turn; errors come by the client's own queue.
fn batch(client: &BaseConsumer<Plain>, queues: &[Queue], seen: &mut Seen) -> Result<(), Error> {
    let before = seen.records;
    queues.iter().for_each(|queue| queue.take(seen));
    // Several queues cannot be waited for together; a moment is not worth more.
    let wait = if seen.records == before { Duration::from_millis(1) } else { Duration::ZERO };
    match client.poll(wait) {
        Some(Err(error)) if Verdict::of(&error) != Verdict::Retry && !matches!(error, KafkaError::PartitionEOF(_)) => {
            Err(Error::client("counting a topic", Place::none())(error))
        }
        // A record that was on the way while its queue was taken aside.
        Some(Ok(message)) => {
            seen.records += 1;
            seen.bytes += (message.payload_len() + message.key_len()) as u64;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The queue of one partition, taken aside from the client's common one.
struct Queue(*mut native::rd_kafka_queue_t);

impl Queue {
    fn of(client: &BaseConsumer<Plain>, topic: &str, partition: i32) -> Self {
        let topic = CString::new(topic).unwrap_or_default();
        // SAFETY: the client is alive; the name is copied; the queue is ours to destroy.
        unsafe {
            let queue = native::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition);
            native::rd_kafka_queue_forward(queue, ptr::null_mut());
            Self(queue)
        }
    }

    fn take(&self, seen: &mut Seen) {
        let mut messages = [ptr::null_mut(); BATCH];
        // SAFETY: the queue is alive; what comes back are that many messages, ours to destroy, each once.
        unsafe {
            let number = native::rd_kafka_consume_batch_queue(self.0, 0, messages.as_mut_ptr(), BATCH);
            for message in &messages[..usize::try_from(number).unwrap_or(0)] {
                if (**message).err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    seen.records += 1;
                    seen.bytes += ((**message).len + (**message).key_len) as u64;
                }
                native::rd_kafka_message_destroy(*message);
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it was given to us to destroy, once. It dies before its client, which is declared before it.
        unsafe { native::rd_kafka_queue_destroy(self.0) }
    }
}
