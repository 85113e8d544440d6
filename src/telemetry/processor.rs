//! What a processor tells of itself: one struct a notable fact, whose `emit` writes log and metric together.
//!
//! Records are counted when they are committed, so that a replay after an abort does not count them twice, and the
//! numbers obey the law of the house: `consumed = counted + rejected + forwarded + ticks`. (What a commit of unknown
//! outcome held is not counted here; the log says what became of it.) Labels are bounded: reasons, outcomes,
//! partitions, workers. Written by the workers, read by whoever scrapes `/metrics`; decides nothing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::http::Source;

type Label<V> = [(&'static str, V); 1];

/// The metrics of one process, shared by its workers.
#[derive(Debug)]
pub struct ProcessorMetrics {
    registry: Registry,
    consumed: Counter,
    counted: Counter,
    late: Counter,
    ticks: Counter,
    forwarded: Counter,
    rejected: Family<Label<&'static str>, Counter>,
    transactions: Family<Label<&'static str>, Counter>,
    restores: Counter,
    restore_seconds: Counter<f64, AtomicU64>,
    owned: Family<Label<String>, Gauge>,
    clock: Family<Label<i32>, Gauge>,
    violations: Counter,
    /// By worker: does it hold all that it was given? Absent before it has joined.
    whole: Mutex<BTreeMap<String, bool>>,
}

impl Default for ProcessorMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ops");
        /// Registers a metric under its name, with what it says.
        fn add<M: prometheus_client::registry::Metric + Clone + Default>(
            registry: &mut Registry,
            name: &str,
            help: &str,
        ) -> M {
            let metric = M::default();
            registry.register(name, help, metric.clone());
            metric
        }
        let r = &mut registry;
        Self {
            consumed: add(r, "consumed", "Records of ops.metrics whose fate is committed"),
            counted: add(r, "counted", "Readings that count, the late ones among them"),
            late: add(r, "late", "Readings that count but came after an instant they belong to"),
            ticks: add(r, "ticks", "Ticks"),
            forwarded: add(r, "forwarded", "Readings sent to their home partition"),
            rejected: add(r, "rejected", "Dead letters by reason"),
            transactions: add(r, "transactions", "Transactions by outcome: committed, rewound, fenced"),
            restores: add(r, "restores", "Partitions taken over"),
            restore_seconds: add(r, "restore_seconds", "Time that takeovers took, from assignment to a core"),
            owned: add(r, "partitions_owned", "Partitions that a worker holds"),
            clock: add(r, "partition_clock_ms", "Clock of a partition at the last commit, ms since the epoch"),
            violations: add(r, "conservation_violations", "Records lost or counted twice inside a worker: it stops"),
            whole: Mutex::default(),
            registry,
        }
    }
}

impl ProcessorMetrics {
    /// What a worker holds now, and whether anything it was given is still to be taken over. Sets `/readyz`.
    pub fn hold(&self, worker: &str, owned: usize, waiting: usize) {
        self.owned.get_or_create(&[("worker", worker.to_owned())]).set(i64::try_from(owned).unwrap_or(i64::MAX));
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).insert(worker.to_owned(), waiting == 0);
    }

    /// A worker is outside of its group: it is not ready.
    pub fn leave(&self, worker: &str) {
        self.hold(worker, 0, 1);
    }
}

impl Source for ProcessorMetrics {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn is_ready(&self) -> bool {
        let whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        !whole.is_empty() && whole.values().all(|whole| *whole)
    }
}

/// What became of the records of one partition since its last commit is committed.
pub struct Committed<'a> {
    /// Of `ops.metrics`.
    pub partition: i32,
    /// Its clock, ms.
    pub clock: Option<i64>,
    /// All records.
    pub consumed: u64,
    /// Readings that count.
    pub counted: u64,
    /// Those among them that were late.
    pub late: u64,
    /// Ticks.
    pub ticks: u64,
    /// Readings sent home.
    pub forwarded: u64,
    /// Dead letters by the name of their reason.
    pub rejected: &'a mut dyn Iterator<Item = (&'static str, u64)>,
}

impl Committed<'_> {
    /// Metric alone: a line a commit would drown the log.
    pub fn emit(self, metrics: &ProcessorMetrics) {
        metrics.consumed.inc_by(self.consumed);
        metrics.counted.inc_by(self.counted);
        metrics.late.inc_by(self.late);
        metrics.ticks.inc_by(self.ticks);
        metrics.forwarded.inc_by(self.forwarded);
        for (reason, number) in self.rejected {
            metrics.rejected.get_or_create(&[("reason", reason)]).inc_by(number);
        }
        if let Some(clock) = self.clock {
            metrics.clock.get_or_create(&[("partition", self.partition)]).set(clock);
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy)]
pub enum Ended<'a> {
    /// All of it is there.
    Committed,
    /// None of it is (or nobody knows): back to what is committed.
    Rewound(&'a dyn Display),
    /// Somebody has taken over.
    Fenced,
}

impl Ended<'_> {
    /// Log and metric.
    pub fn emit(self, worker: &str, metrics: &ProcessorMetrics) {
        let outcome = match self {
            Self::Committed => "committed",
            Self::Rewound(error) => {
                tracing::warn!(worker, %error, "rewinding to what is committed");
                "rewound"
            }
            Self::Fenced => {
                tracing::warn!(worker, "fenced: somebody has taken over, joining the group again");
                "fenced"
            }
        };
        metrics.transactions.get_or_create(&[("outcome", outcome)]).inc();
    }
}

/// A partition was taken over.
pub struct TakenOver {
    /// Of `ops.metrics`.
    pub partition: i32,
    /// Where it goes on.
    pub position: i64,
    /// Since its takeover began.
    pub took: Duration,
}

impl TakenOver {
    /// Log and metric.
    pub fn emit(self, worker: &str, metrics: &ProcessorMetrics) {
        let Self { partition, position, took } = self;
        tracing::info!(worker, partition, position, ?took, "taken over");
        metrics.restores.inc();
        metrics.restore_seconds.inc_by(took.as_secs_f64());
    }
}

/// INV-12 is broken: records were lost or counted twice.
pub struct NotConserved {
    /// Of `ops.metrics`.
    pub partition: i32,
}

impl NotConserved {
    /// Log and metric.
    pub fn emit(self, worker: &str, metrics: &ProcessorMetrics) {
        tracing::error!(worker, partition = self.partition, "records are not conserved, nothing is committed");
        metrics.violations.inc();
    }
}
