//! A processor: several workers of one process, and what they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

#[cfg(feature = "torture")]
use crate::bus::PartitionOffset;
use crate::bus::{self, End, GroupConsumer, GroupMetadata, Offsets, Settings};
use crate::model::topics::Topics;
use crate::processor::error::{Error, Result};
use crate::processor::registry::Registry;
use crate::processor::task::Mark;
use crate::processor::worker::Worker;
use crate::telemetry::processor::ProcessorMetrics;
use crate::torture::{self, Point, Sabotage};

/// How a processor runs.
#[derive(Clone, Debug)]
pub struct ProcessorOptions {
    /// The cluster.
    pub settings: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// The consumer group; also begins the transactional ids.
    pub group: String,
    /// Unique and stable within the group: a restart under the same name takes its own place.
    pub instance: String,
    /// Threads; more than there are partitions are idle.
    pub workers: usize,
    /// The longest time between two commits while there is something to commit.
    pub commit_interval: Duration,
    /// Start a partition anew whose offset, state and log do not fit together.
    pub accept_gap: bool,
    /// Take append times that producers made up (tests, benchmarks); no ticks then.
    pub simulated_time: bool,
    /// Where its workers note what they do.
    pub metrics: Arc<ProcessorMetrics>,
}

impl ProcessorOptions {
    /// The defaults of `ops process`.
    pub fn new(settings: Settings, topics: Topics) -> Self {
        Self {
            settings,
            topics,
            group: "ops-processor".into(),
            instance: "0".into(),
            workers: 1,
            commit_interval: Duration::from_millis(100),
            accept_gap: false,
            simulated_time: false,
            metrics: Arc::default(),
        }
    }
}

/// A running processor. Dropping it stops it in order.
pub struct Processor {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<()>>>,
}

/// What the workers of a process share.
pub(super) struct Shared {
    pub settings: Settings,
    pub topics: Topics,
    pub group: String,
    pub partitions: i32,
    pub commit_interval: Duration,
    pub accept_gap: bool,
    pub simulated_time: bool,
    pub registry: Registry,
    pub metrics: Arc<ProcessorMetrics>,
    #[cfg(feature = "torture")]
    late_offsets: std::sync::Mutex<Vec<PartitionOffset>>,
}

impl Processor {
    /// Checks the topics and starts the workers.
    ///
    /// # Errors
    /// Topics that are missing or do not belong together; the cluster does not answer.
    pub fn start(options: ProcessorOptions) -> Result<Self> {
        let ProcessorOptions { settings, topics, group, instance, workers, .. } = options.clone();
        let partitions = co_partitioned(&settings, &topics)?;
        options.metrics.share(partitions);
        let registry = Registry::start(&settings, &topics)?;
        let shared = Arc::new(Shared {
            settings,
            topics,
            group,
            partitions,
            commit_interval: options.commit_interval,
            accept_gap: options.accept_gap,
            simulated_time: options.simulated_time,
            registry,
            metrics: options.metrics,
            #[cfg(feature = "torture")]
            late_offsets: std::sync::Mutex::default(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..workers.max(1))
            .map(|number| {
                let name = format!("{instance}-{number}");
                let worker = Worker::new(shared.clone(), name.clone(), stop.clone());
                let stop = stop.clone();
                Ok(std::thread::Builder::new().name(name).spawn(move || {
                    let done = worker.run();
                    if let Err(error) = &done {
                        tracing::error!(%error, "a worker has stopped, so the processor does");
                    }
                    // One worker that cannot go on must not leave a processor that looks alive.
                    stop.store(true, Ordering::Relaxed);
                    done
                })?)
            })
            .collect::<Result<_>>()?;
        Ok(Self { stop, workers })
    }

    /// Has it stopped by itself? Then [`Self::stop`] says why.
    pub fn is_finished(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Tells the workers to stop; does not wait.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Commits, gives the partitions up, and waits until that is done.
    ///
    /// # Errors
    /// Why a worker had stopped before.
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.request_stop();
        let mut first = Ok(());
        for (number, worker) in self.workers.drain(..).enumerate() {
            let done = worker.join().unwrap_or(Err(Error::Panicked(number)));
            if first.is_ok() {
                first = done;
            }
        }
        first
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::error!(%error, "the processor had stopped");
        }
    }
}

impl Shared {
    /// Stable for a worker slot: its successor fences it by taking the same id.
    pub fn transactional_id(&self, worker: &str) -> String {
        if torture::is_without(Sabotage::NoFence) {
            return format!("{}-{worker}-{}", self.group, std::process::id());
        }
        format!("{}-{worker}", self.group)
    }

    /// How a transaction of this member, as it is in the group now, ends: everything is delivered, then committed
    /// with the offsets.
    pub fn end(self: &Arc<Self>, consumer: &GroupConsumer, marks: Vec<Mark>) -> Result<End> {
        let (shared, way) = (self.clone(), self.way(consumer)?);
        Ok(Box::new(move |producer| {
            producer.flush()?;
            torture::reached(Point::AfterProduce);
            if torture::is_to_abort() {
                let place = bus::error::Place::topic(&shared.topics.metrics);
                return Err(bus::Error::rewind("committing", place, "a test gives this transaction up"));
            }
            let offsets: Vec<_> =
                marks.iter().map(|mark| mark.offset(&shared.topics.metrics, producer.transactional_id())).collect();
            match way {
                Way::With(group) => producer.commit(&offsets, &group),
                #[cfg(feature = "torture")]
                Way::Without => {
                    *shared.late_offsets() = offsets;
                    producer.commit_without_offsets()
                }
            }
        }))
    }

    fn way(&self, consumer: &GroupConsumer) -> Result<Way> {
        #[cfg(feature = "torture")]
        if torture::is_without(Sabotage::OffsetsOutsideTransaction) {
            consumer.commit_apart(&std::mem::take(&mut *self.late_offsets()))?;
            return Ok(Way::Without);
        }
        #[cfg(feature = "torture")]
        if torture::is_without(Sabotage::NoFence) {
            return Ok(Way::With(GroupConsumer::metadata_of_nobody(&self.settings, &self.group)?));
        }
        Ok(Way::With(consumer.group_metadata()?))
    }

    #[cfg(feature = "torture")]
    fn late_offsets(&self) -> std::sync::MutexGuard<'_, Vec<PartitionOffset>> {
        self.late_offsets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// With which offsets a transaction is committed.
enum Way {
    /// With its own, as this member of the group.
    With(GroupMetadata),
    /// A guard taken away: with none. They follow before the next one.
    #[cfg(feature = "torture")]
    Without,
}

/// The number of partitions, which all topics of the processor have to share.
fn co_partitioned(settings: &Settings, topics: &Topics) -> Result<i32> {
    let offsets = Offsets::new(settings)?;
    let expected = offsets.partitions(&topics.metrics)?;
    for topic in [&topics.incidents, &topics.rollups, &topics.state, &topics.rejected] {
        let found = offsets.partitions(topic)?;
        if found != expected {
            let (topic, metrics) = (topic.clone(), topics.metrics.clone());
            return Err(Error::Partitions { topic, found, metrics, expected });
        }
    }
    Ok(expected)
}
