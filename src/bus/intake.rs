//! Records by the batch: the client's own poll costs more than all that is done with a reading afterwards.
//!
//! The partitions' queues are led to a queue of ours, and that is emptied many records at a time. Never the client's
//! main queue: a rebalance that is met by a batch call makes the client drop its assignment. So whoever has an intake
//! also polls the client, for the group and for errors.
//!
//! The client counts a whole batch as read, and an end of partition or an error as a record; so positions are kept by whoever
//! hands the records out, and what lies here of a partition must be thrown away when that is paused, moved or given up.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::error::{Error, Place};
use super::queue::Queue;
use super::record::Message;
use super::verdict::Verdict;

/// Records that are taken at a time: enough to forget the cost of the call, few enough to stay in the cache and not to
/// keep the group waiting.
const BATCH: usize = 512;

/// One thing out of the queue.
pub(super) enum Taken<'a> {
    Record(Message<'a>),
    /// Nothing (committed) lies at this offset or after it, now.
    End {
        partition: i32,
        offset: i64,
    },
    Failed {
        partition: i32,
        error: KafkaError,
    },
}

/// See the module. Must be dropped before its client.
pub(super) struct Intake {
    queue: Queue,
    /// Taken and not yet handed out, the next one last.
    batch: Vec<Message<'static>>,
    /// What the client fills.
    room: Vec<*mut native::rd_kafka_message_t>,
}

// SAFETY: the client's queues and messages may be used, and given back, by any thread.
unsafe impl Send for Intake {}

impl Intake {
    pub fn new<C: ConsumerContext>(client: &BaseConsumer<C>) -> Result<Self, Error> {
        // SAFETY: the client is alive, and outlives us.
        let queue = Queue::own(unsafe { native::rd_kafka_queue_new(client.client().native_ptr()) })?;
        Ok(Self { queue, batch: Vec::with_capacity(BATCH), room: vec![std::ptr::null_mut(); BATCH] })
    }

    /// Leads the records of a partition here, for as long as the client lives. To be done before they can come.
    pub fn lead<C: ConsumerContext>(&self, client: &BaseConsumer<C>, topic: &str, partition: i32) -> Result<(), Error> {
        let place = || Place::partition(topic, partition);
        let name =
            CString::new(topic).map_err(|error| Error::judged("naming a topic", place(), Verdict::Fatal, error))?;
        // SAFETY: the client is alive, the name too; the queue is given back when it is dropped.
        unsafe {
            let client = client.client().native_ptr();
            let from = Queue::own(native::rd_kafka_queue_get_partition(client, name.as_ptr(), partition))?;
            native::rd_kafka_queue_forward(from.as_ptr(), self.queue.as_ptr());
        }
        Ok(())
    }

    /// Has everything been handed out? Then the client is to be polled before the next [`Self::fill`].
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Takes what is there; if there is nothing, waits for something up to `timeout`.
    pub fn fill(&mut self, timeout: Duration) {
        // A call with a timeout waits until its room is full: so with a timeout there is room for one.
        if self.take(BATCH, 0) == 0 && !timeout.is_zero() {
            let timeout = i32::try_from(timeout.as_millis().max(1)).unwrap_or(i32::MAX);
            self.take(1, timeout);
        }
    }

    fn take(&mut self, room: usize, timeout_ms: i32) -> usize {
        // SAFETY: the queue is alive; there is room for so many.
        let taken = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), timeout_ms, self.room.as_mut_ptr(), room)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: so many were filled in, each of them ours now.
        let messages = self.room[..taken].iter().rev().filter_map(|message| NonNull::new(*message));
        self.batch.extend(messages.map(|message| unsafe { Message::own(message, PhantomData) }));
        taken
    }

    /// The next one. The caller ties it to the life of the client.
    #[inline]
    pub fn next(&mut self) -> Option<Taken<'static>> {
        let message = self.batch.pop()?;
        Some(match message.error() {
            None => Taken::Record(message),
            Some(KafkaError::PartitionEOF(partition)) => Taken::End { partition, offset: message.offset() },
            Some(error) => Taken::Failed { partition: message.partition(), error },
        })
    }

    /// Throws away what is here of a partition.
    pub fn discard(&mut self, partition: i32) {
        self.batch.retain(|message| message.partition() != partition);
    }
}
