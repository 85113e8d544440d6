//! Onto the bus, and never in the way: readings, health and beats wait in a bounded queue for one thread that has the
//! producer. Who finds the queue full goes on; what was not taken, and what the cluster did not take, is counted and
//! said. Owned by [`super::Collector`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::Error;
use crate::bus::{Offsets, Producer, Record, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::ids::home_partition;
use crate::model::reading::Reading;
use crate::model::target::{Beat, ServiceTargets, TargetRecord};
use crate::model::topics::Topics;
use crate::telemetry::collector::{CollectorMetrics, Undelivered};

/// What may wait for the thread, and what may wait for the cluster.
const QUEUE: usize = 10_000;
/// How long one record waits for room, or for a cluster that does not answer: then it is not sent.
const ROOM: Duration = Duration::from_secs(1);
/// So often is counted what became of what was sent.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long the end waits for acknowledgements.
const LAST: Duration = Duration::from_secs(5);

/// What can be said.
#[derive(Debug)]
pub enum Outgoing {
    /// A reading of a service.
    Reading {
        /// Whose.
        service: ServiceId,
        /// Of which sensor.
        sensor: Arc<str>,
        /// Event time, ms.
        ts: i64,
        /// Finite.
        value: f64,
    },
    /// How the targets of a service are.
    Health(ServiceTargets),
    /// A service has no targets any more.
    NoTargets(ServiceId),
    /// We are alive.
    Beat(Beat),
    /// We leave; the instance.
    Left(String),
}

/// A way to the thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outlet {
    queue: SyncSender<Outgoing>,
    metrics: Arc<CollectorMetrics>,
}

impl Outlet {
    /// Queues it; never waits. What finds no room is counted.
    pub fn send(&self, outgoing: Outgoing) {
        let is_reading = matches!(outgoing, Outgoing::Reading { .. });
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(outgoing) {
            self.metrics.undelivered(is_reading, 1);
        }
    }
}

/// The thread. Ends when every [`Outlet`] is gone; [`Publisher::join`] waits for that.
#[derive(Debug)]
pub struct Publisher(JoinHandle<()>);

impl Publisher {
    /// Asks where the topics are, and starts.
    ///
    /// # Errors
    /// The bus.
    pub fn start(
        settings: &Settings,
        topics: &Topics,
        metrics: Arc<CollectorMetrics>,
    ) -> Result<(Self, Outlet), Error> {
        let offsets = Offsets::new(settings)?;
        let partitions = (offsets.partitions(&topics.metrics)?, offsets.partitions(&topics.targets)?);
        let producer = Producer::new(settings, QUEUE)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let desk =
            Desk { producer, topics: topics.clone(), partitions, metrics: metrics.clone(), lost: BTreeMap::new() };
        let thread = std::thread::Builder::new().name("ops-collect-out".to_owned()).spawn(move || desk.run(&waiting));
        let thread = thread.map_err(|cause| Error::Thread { cause })?;
        Ok((Self(thread), Outlet { queue, metrics }))
    }

    /// Waits for the end: all outlets are gone, and what they sent is acknowledged or given up.
    pub fn join(self) {
        // A panic was said where it happened.
        let _ = self.0.join();
    }
}

struct Desk {
    producer: Producer,
    topics: Topics,
    /// Of `ops.metrics` and of `ops.targets`.
    partitions: (i32, i32),
    metrics: Arc<CollectorMetrics>,
    /// Not taken since the last count, by reason.
    lost: BTreeMap<String, u64>,
}

impl Desk {
    fn run(mut self, waiting: &Receiver<Outgoing>) {
        let mut counted = Instant::now();
        loop {
            match waiting.recv_timeout(COUNT_EVERY.saturating_sub(counted.elapsed())) {
                Ok(outgoing) => self.send(&outgoing),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if counted.elapsed() >= COUNT_EVERY {
                self.count(Duration::ZERO);
                counted = Instant::now();
            }
        }
        let pending = self.count(LAST);
        if pending > 0 {
            Undelivered { records: pending, reason: "no answer before the end" }.emit(&self.metrics);
        }
    }

    fn send(&mut self, outgoing: &Outgoing) {
        let (topic, partition, key, value) = self.record(outgoing);
        let record =
            Record { topic, partition, key: Some(key.as_bytes()), value: value.as_deref(), ..Record::default() };
        let sent = self.producer.send(&record, ROOM);
        match sent {
            Ok(()) => self.metrics.sent(matches!(outgoing, Outgoing::Reading { .. })),
            Err(error) => *self.lost.entry(error.to_string()).or_default() += 1,
        }
    }

    fn record(&self, outgoing: &Outgoing) -> (&str, i32, String, Option<Vec<u8>>) {
        let (metrics, targets) = self.partitions;
        match outgoing {
            Outgoing::Reading { service, sensor, ts, value } => {
                let reading = Reading {
                    service: service.as_str().into(),
                    sensor: (&**sensor).into(),
                    ts: *ts,
                    value: *value,
                    attributes: BTreeMap::new(),
                };
                let home = home_partition(service.as_str(), metrics);
                (&self.topics.metrics, home, service.to_string(), Some(codec::reading::encode(&reading)))
            }
            Outgoing::Health(health) => {
                let service = health.service.clone();
                let value = codec::target::encode(&TargetRecord::Service(health.clone()));
                (&self.topics.targets, service.home(targets), service.to_string(), Some(value))
            }
            Outgoing::NoTargets(service) => (&self.topics.targets, service.home(targets), service.to_string(), None),
            Outgoing::Beat(beat) => {
                let value = codec::target::encode(&TargetRecord::Collector(beat.clone()));
                (&self.topics.targets, Beat::PARTITION, Beat::key(&beat.collector), Some(value))
            }
            Outgoing::Left(collector) => (&self.topics.targets, Beat::PARTITION, Beat::key(collector), None),
        }
    }

    /// Says what was not delivered since the last count; gives what is still on its way.
    fn count(&mut self, timeout: Duration) -> u64 {
        let flushed = self.producer.flush(timeout);
        for (reason, records) in std::mem::take(&mut self.lost).into_iter().chain(flushed.failed) {
            Undelivered { records, reason: &reason }.emit(&self.metrics);
        }
        flushed.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::http::Source;

    #[test]
    fn who_finds_the_queue_full_goes_on_and_what_was_not_taken_is_counted() {
        let (queue, waiting) = sync_channel(1);
        let metrics = Arc::new(CollectorMetrics::default());
        let outlet = Outlet { queue, metrics: metrics.clone() };
        let reading =
            || Outgoing::Reading { service: ServiceId::new("s").unwrap(), sensor: "q".into(), ts: 1, value: 1.0 };
        outlet.send(reading());
        outlet.send(reading());
        outlet.send(Outgoing::Left("c1".to_owned()));
        drop(waiting);
        outlet.send(reading());
        let text = metrics.text();
        assert!(text.contains("undelivered_total{what=\"reading\"} 2"), "{text}");
        assert!(text.contains("undelivered_total{what=\"health\"} 1"), "{text}");
    }
}
