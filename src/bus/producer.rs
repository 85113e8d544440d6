//! The plain producer of readings and specs: idempotent, acknowledged by all replicas, outside of transactions.
//!
//! Deliveries are counted; what was refused is counted by reason, so that nothing is lost in silence. The
//! processor does not use it for anything that has to be exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;

use super::context::Deliveries;
use super::error::{Error, Place};
use super::record::Record;
use super::room::Room;
use super::served::Served;
use super::settings::Settings;
use crate::codec::ids::Ids;

/// What became of the records since the last flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Acknowledged by all replicas.
    pub delivered: u64,
    /// Refused, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Neither, within the timeout.
    pub pending: u64,
}

impl Flushed {
    /// Is every record delivered?
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.pending == 0
    }
}

/// See the module.
pub struct Producer {
    client: Served<Deliveries>,
    max_in_flight: usize,
    /// Topics that are known to exist.
    known: RwLock<BTreeSet<String>>,
    ids: Arc<Ids>,
}

impl Producer {
    /// A producer that holds at most `max_in_flight` records that are not yet acknowledged.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(settings: &Settings, max_in_flight: usize) -> Result<Self, Error> {
        let client = Served::new(&settings.producer(), Deliveries::default())?;
        Ok(Self { client, max_in_flight: max_in_flight.max(1), known: RwLock::default(), ids: settings.ids() })
    }

    /// Asks the cluster for a topic before the first record for it. The client by itself would take a second to
    /// look for a topic when it is not connected yet, and half a minute to say that there is none.
    fn look_up(&self, topic: &str, timeout: Duration) -> Result<(), Error> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Ok(());
        }
        let failed = || Error::client("asking for a topic", Place::topic(topic));
        let metadata = self.client.client().fetch_metadata(Some(topic), timeout).map_err(failed())?;
        match metadata.topics().iter().find(|found| found.name() == topic).map(|found| found.error().map(Code::from)) {
            Some(None) => {
                self.known.write().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
                Ok(())
            }
            None | Some(Some(Code::UnknownTopicOrPartition)) => Err(Error::NoSuchTopic { topic: topic.to_owned() }),
            Some(Some(code)) => Err(failed()(KafkaError::MetadataFetch(code))),
        }
    }

    /// Queues a record (copies it). Waits while the queue is full, up to `timeout`.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`]; `Retry` if the cluster did not answer, or there was no room, in time. The record was
    /// not taken then.
    pub fn send(&self, record: &Record<'_>, timeout: Duration) -> Result<(), Error> {
        let mut room = Room::since(Instant::now(), timeout);
        self.look_up(record.topic, timeout)?;
        let framed = record.value.and_then(|value| self.ids.frame(value));
        let mut outgoing = record.framed(framed.as_deref()).outgoing(());
        loop {
            let refused = if self.in_flight() < self.max_in_flight {
                match self.client.send(outgoing) {
                    Ok(()) => return Ok(()),
                    Err((error, back)) => {
                        outgoing = back;
                        error
                    }
                }
            } else {
                KafkaError::MessageProduction(Code::QueueFull)
            };
            if !room.waits_for(&self.client, &refused) {
                return Err(Error::client("sending a record", record.place())(refused));
            }
        }
    }

    /// Records that are not yet acknowledged or refused.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    /// What became of records since the last call or flush, without waiting.
    pub fn settled(&self) -> Flushed {
        let log = self.client.client().context().take();
        Flushed { delivered: log.delivered, failed: log.failed, pending: self.in_flight() as u64 }
    }

    /// Waits up to `timeout` for everything that was sent; says what became of all records since the last flush.
    pub fn flush(&self, timeout: Duration) -> Flushed {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive; with delivery events, which a thread serves, this only waits.
        // Its one error is that the time is over, which the counts say better.
        unsafe { native::rd_kafka_flush(self.client.client().native_ptr(), timeout) };
        self.settled()
    }
}
