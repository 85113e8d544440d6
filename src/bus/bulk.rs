//! Fills a topic as fast as the client can, and appends single records whose time is asked for: for benchmarks alone.
//!
//! Nothing here is exactly once. A record that was refused fails the whole filling, because who measures wants to know
//! what is on the topic, not what was tried.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::context::{self, Deliveries};
use super::error::{Error, Place};
use super::record::Record;
use super::room::Room;
use super::settings::Settings;
use super::verdict::Verdict;

/// Records in the client's queue; enough that batches are full.
const QUEUED: &str = "400000";
/// Between two looks at what was refused, records.
const LOOK_EVERY: u64 = 10_000;

/// Adds records to one topic, in order within a partition.
pub struct Bulk {
    client: BaseProducer<Deliveries>,
    topic: String,
    sent: u64,
}

impl Bulk {
    /// A producer of records of `topic`.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings, topic: &str) -> Result<Self, Error> {
        let mut config = settings.producer();
        config
            .set("queue.buffering.max.messages", QUEUED)
            .set("linger.ms", "20")
            // Successes are too many to be told one by one.
            .set("delivery.report.only.error", "true");
        let client = config
            .create_with_context(Deliveries::default())
            .map_err(Error::client("creating a producer", Place::topic(topic)))?;
        Ok(Self { client, topic: topic.to_owned(), sent: 0 })
    }

    /// Queues a record (copies it); waits while the queue is full, up to `patience`.
    ///
    /// # Errors
    /// The client's, or that of an earlier record.
    pub fn send(&mut self, record: &Record<'_>, patience: Duration) -> Result<(), Error> {
        let mut room = Room::within(patience);
        let record = Record { topic: &self.topic, ..*record };
        let mut outgoing = record.outgoing(());
        while let Err((error, back)) = self.client.send(outgoing) {
            if !room.waits_for(&self.client, &error) {
                return Err(Error::client("filling a topic", record.place())(error));
            }
            outgoing = back;
        }
        self.sent += 1;
        if self.sent.is_multiple_of(LOOK_EVERY) {
            self.client.poll(Duration::ZERO);
            self.check()?;
        }
        Ok(())
    }

    /// Waits up to `patience` until everything is acknowledged; says how many records that were.
    ///
    /// # Errors
    /// A record was refused, or is still on its way.
    pub fn finish(self, patience: Duration) -> Result<u64, Error> {
        self.client.flush(patience).map_err(Error::client("filling a topic", Place::topic(&self.topic)))?;
        self.check()?;
        Ok(self.sent)
    }

    fn check(&self) -> Result<(), Error> {
        match self.client.context().take().failed.into_iter().next() {
            None => Ok(()),
            Some((why, number)) => {
                let why = format!("{number} records were refused: {why}");
                Err(Error::judged("filling a topic", Place::topic(&self.topic), Verdict::Fatal, why))
            }
        }
    }
}

/// Appends one record at a time and says when the broker wrote it.
pub struct Appender {
    client: BaseProducer<LastTime>,
}

impl Appender {
    /// The client sends at once.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut config = settings.producer();
        config.set("linger.ms", "0");
        let client = config
            .create_with_context(LastTime::default())
            .map_err(Error::client("creating a producer", Place::none()))?;
        Ok(Self { client })
    }

    /// Waits up to `patience` for the answer: the time of the record, ms (of a topic with LogAppendTime, the broker's).
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn append(&self, record: &Record<'_>, patience: Duration) -> Result<i64, Error> {
        let failed = |error| Error::client("appending a record", record.place())(error);
        self.client.send(record.outgoing(())).map_err(|(error, _)| failed(error))?;
        self.client.flush(patience).map_err(failed)?;
        let answer = self.client.context().answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.unwrap_or(Err(KafkaError::MessageProduction(Code::MessageTimedOut))).map_err(failed)
    }
}

/// The time of the last record that was delivered, or why it was not.
#[derive(Default)]
struct LastTime {
    answer: Mutex<Option<Result<i64, KafkaError>>>,
}

impl ClientContext for LastTime {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }
}

impl ProducerContext for LastTime {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let answer = match result {
            Ok(message) => Ok(message.timestamp().to_millis().unwrap_or(0)),
            Err((error, _)) => Err(error.clone()),
        };
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}
