//! The demo's senses, a thread each: what the topics say, and the scanner that measures its own queue and sends it.
//! Everything goes into one channel, in the order in which it was seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::Error;
use super::story::Fact;
use crate::bus::{self, Isolation, Message, Next, Producer, Reader, Record, Settings};
use crate::codec;
use crate::local::world::scanner::Scanner;
use crate::model::ServiceId;
use crate::model::reading::Reading;
use crate::telemetry::clock;

/// How long a read waits before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Distance of two readings.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long a reading waits for room in the producer, and how long the last ones are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a thread has seen.
pub enum Heard {
    /// Something for the story; when, ms by the host's clock.
    Fact(Fact, i64),
    /// A record of the service's partition of `ops.metrics` has this append time, ms.
    Appended(i64),
    /// The pager's console printed this.
    Printed(String),
    /// The thread ends with this.
    Failed(Error),
}

/// Threads that listen; dropping ends them and waits for them.
#[derive(Default)]
pub struct Ears {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Ears {
    /// Reads partitions of a topic from their beginning; `hear` says what a record means.
    ///
    /// # Errors
    /// Wrong settings; no thread.
    pub fn follow(
        &mut self,
        settings: &Settings,
        topic: &str,
        (isolation, partitions): (Isolation, impl IntoIterator<Item = i32>),
        heard: &Sender<Heard>,
        hear: impl Fn(&Message<'_>) -> Option<Heard> + Send + 'static,
    ) -> Result<(), Error> {
        let starts = partitions.into_iter().map(|partition| (partition, 0));
        let mut reader = Reader::open(settings, topic, isolation, starts)?;
        self.spawn(heard, move |stop, heard| {
            while !stop.load(Ordering::Relaxed) {
                if let Next::Record(message) = reader.next(LOOK)?
                    && let Some(what) = hear(&message)
                    && heard.send(what).is_err()
                {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Lets passengers queue, measures, and sends a reading every [`INTERVAL`].
    ///
    /// # Errors
    /// Wrong settings; no thread.
    pub fn measure(&mut self, settings: &Settings, mut sensor: Sensor, heard: &Sender<Heard>) -> Result<(), Error> {
        let producer = Producer::new(settings, 1_000)?;
        self.spawn(heard, move |stop, heard| {
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                thread::park_timeout((last + INTERVAL).saturating_duration_since(Instant::now()));
                let now = Instant::now();
                if now < last + INTERVAL {
                    continue;
                }
                let fact = sensor.measure(&producer, now - last)?;
                last = now;
                if heard.send(Heard::Fact(fact, clock::now_ms())).is_err() {
                    break;
                }
            }
            sensor.count(&producer, PATIENCE);
            Ok(())
        })
    }

    fn spawn(
        &mut self,
        heard: &Sender<Heard>,
        body: impl FnOnce(&AtomicBool, &Sender<Heard>) -> Result<(), bus::Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (stop, heard) = (self.stop.clone(), heard.clone());
        let thread = thread::Builder::new().name("demo".to_owned()).spawn(move || {
            if let Err(error) = body(&stop, &heard) {
                // Nobody listens any more only when the demo ends.
                let _ = heard.send(Heard::Failed(error.into()));
            }
        });
        self.threads.push(thread.map_err(Error::io("starting a thread"))?);
        Ok(())
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // Its panic has been printed; there is nothing of it to save.
            let _ = thread.join();
        }
    }
}

/// The scanner and the way of its readings to the bus.
pub struct Sensor {
    /// The queue.
    pub scanner: Scanner,
    /// How many lanes are open now.
    pub lanes: Arc<dyn Fn() -> u32 + Send + Sync>,
    /// Whose readings.
    pub service: ServiceId,
    /// Name of the sensor.
    pub sensor: String,
    /// `ops.metrics`, and the service's home in it.
    pub place: (String, i32),
    /// Readings that the cluster has acknowledged.
    pub acknowledged: Arc<AtomicU64>,
}

impl Sensor {
    fn measure(&mut self, producer: &Producer, passed: Duration) -> Result<Fact, bus::Error> {
        let lanes = (self.lanes)();
        let queue_s = self.scanner.advance(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX), lanes);
        let reading = Reading {
            service: self.service.as_str().into(),
            sensor: self.sensor.as_str().into(),
            ts: clock::now_ms(),
            value: queue_s,
            attributes: Default::default(),
        };
        let (topic, partition) = &self.place;
        let record = Record {
            topic,
            partition: *partition,
            key: Some(self.service.as_str().as_bytes()),
            value: Some(&codec::reading::encode(&reading)),
            ..Record::default()
        };
        producer.send(&record, PATIENCE)?;
        self.count(producer, Duration::ZERO);
        Ok(Fact::Measured { queue_s, lanes })
    }

    fn count(&self, producer: &Producer, wait: Duration) {
        self.acknowledged.fetch_add(producer.flush(wait).delivered, Ordering::Relaxed);
    }
}
