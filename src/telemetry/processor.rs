//! What a processor tells of itself: one struct a notable fact, whose `emit` writes log and metric together.
//!
//! Records are counted when they are committed, so that a replay after an abort does not count them twice, and the
//! numbers obey the law of the house: `consumed = counted + rejected + forwarded + ticks`. (What a commit of unknown
//! outcome held is not counted here; the log says what became of it.) Labels are bounded: reasons, outcomes,
//! partitions, workers. Counters that may stay at nothing are there from the beginning, so that the first of a kind is a
//! rise that an alert can see. Written by the workers, read by whoever scrapes `/metrics`; decides nothing.

use std::fmt::Display;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::{Source, text_of};
use super::parts::{Whole, number};
use crate::model::reading::RejectReason;

type Label<V> = [(&'static str, V); 1];

/// Upper ends of the times of commits, s: a broker beside us takes a few milliseconds, and after half a minute the client
/// gives up.
const COMMIT_SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Upper ends of the verdicts' delays, s: below a second if all is well, minutes while something is caught up on.
const DELAY_SECONDS: [f64; 14] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0, 600.0];
/// What the delay of a verdict is, in words that stand beside the number.
const DELAY: &str = "Delay of events of incidents (opened, requested, resolved, no_data, data_back, episode_ended), s: \
                     from when the clock allowed the judgement (instant judged + lateness of the spec) until the \
                     transaction that holds the event was known to be committed. By this host's clock, while instants \
                     follow the broker's: a difference between both is part of it, and less than nothing counts as 0";

/// What the lag is.
const LAG: &str = "Records (markers of transactions among them) between what is committed of a partition of ops.metrics \
                   and its end, as the client last heard of it";
/// How transactions end.
const OUTCOMES: [&str; 3] = ["committed", "rewound", "fenced"];

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
    partitions: Gauge,
    lag: Family<Label<i32>, Gauge>,
    commit_seconds: Histogram,
    verdict_delay: Histogram,
    violations: Counter,
    /// By worker: does it hold all that it was given? Absent before it has joined.
    whole: Whole,
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
        let (commit_seconds, verdict_delay) = (Histogram::new(COMMIT_SECONDS), Histogram::new(DELAY_SECONDS));
        let commit = "From the beginning of a commit until it was known to have succeeded, s";
        r.register("commit_seconds", commit, commit_seconds.clone());
        r.register("verdict_delay_seconds", DELAY, verdict_delay.clone());
        let metrics = Self {
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
            partitions: add(r, "partitions", "Partitions of ops.metrics, whoever holds them"),
            lag: add(r, "partition_lag", LAG),
            commit_seconds,
            verdict_delay,
            violations: add(r, "conservation_violations", "Records lost or counted twice inside a worker: it stops"),
            whole: Whole::default(),
            registry,
        };
        RejectReason::ALL.iter().for_each(|reason| drop(metrics.rejected.get_or_create(&[("reason", reason.name())])));
        OUTCOMES.iter().for_each(|outcome| drop(metrics.transactions.get_or_create(&[("outcome", outcome)])));
        metrics
    }
}

impl ProcessorMetrics {
    /// What a worker holds now, and whether anything it was given is still to be taken over. Sets `/readyz`.
    pub fn hold(&self, worker: &str, owned: usize, waiting: usize) {
        self.owned.get_or_create(&[("worker", worker.to_owned())]).set(number(owned));
        self.whole.set(worker, waiting == 0);
    }

    /// How many partitions there are to hold.
    pub fn share(&self, partitions: i32) {
        self.partitions.set(partitions.into());
    }

    /// How far what is committed of a partition is behind its end, records.
    pub fn behind(&self, partition: i32, lag: i64) {
        self.lag.get_or_create(&[("partition", partition)]).set(lag);
    }

    /// A partition is not held here any more: whoever has it now tells of it.
    pub fn let_go(&self, partition: i32) {
        self.lag.remove(&[("partition", partition)]);
        self.clock.remove(&[("partition", partition)]);
    }

    /// A commit succeeded.
    pub fn commit_took(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Events are committed at `now_ms` whose judgement the clock allowed at these times, ms.
    pub fn judged(&self, due_ms: &[i64], now_ms: i64) {
        for due in due_ms {
            self.verdict_delay.observe(now_ms.saturating_sub(*due).max(0) as f64 / 1000.0);
        }
    }

    /// A worker is outside of its group: it is not ready.
    pub fn leave(&self, worker: &str) {
        self.hold(worker, 0, 1);
    }
}

impl Source for ProcessorMetrics {
    fn text(&self) -> String {
        text_of(&self.registry)
    }

    fn is_ready(&self) -> bool {
        self.whole.is_whole()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_of_a_verdict_begins_when_the_clock_allowed_it() {
        let metrics = ProcessorMetrics::default();
        // The second by a host whose clock is behind the broker's.
        metrics.judged(&[10_000, 15_000], 14_000);
        let text = metrics.text();
        for line in [
            "ops_verdict_delay_seconds_sum 4.0",
            "ops_verdict_delay_seconds_bucket{le=\"0.05\"} 1",
            "ops_verdict_delay_seconds_bucket{le=\"3.0\"} 1",
            "ops_verdict_delay_seconds_bucket{le=\"5.0\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn of_a_partition_that_was_given_up_nothing_is_told() {
        let metrics = ProcessorMetrics::default();
        for partition in [3, 4] {
            metrics.behind(partition, 7);
            let rejected = &mut std::iter::empty();
            let none = Committed {
                partition,
                clock: Some(1),
                consumed: 0,
                counted: 0,
                late: 0,
                ticks: 0,
                forwarded: 0,
                rejected,
            };
            none.emit(&metrics);
        }
        metrics.let_go(3);
        let text = metrics.text();
        assert!(!text.contains("partition=\"3\"") && text.contains("ops_partition_lag{partition=\"4\"} 7"), "{text}");
        assert!(text.contains("ops_partition_clock_ms{partition=\"4\"} 1"), "{text}");
    }

    #[test]
    fn every_reason_is_there_before_its_first_reject() {
        let text = ProcessorMetrics::default().text();
        assert_eq!(text.matches("ops_rejected_total{").count(), RejectReason::ALL.len(), "{text}");
    }
}
