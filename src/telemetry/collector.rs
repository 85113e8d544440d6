//! What a collector tells of itself: targets that go up and down, scrapes by outcome, readings, and what was not
//! delivered. Labels are bounded: outcomes and states, never a target's name. Written by [`crate::collect::scrape`],
//! read by whoever scrapes `/metrics`; decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::http::{Source, text_of};
use super::parts::number;
use crate::model::ServiceId;
use crate::model::target::Target;
use crate::spec::diagnose::harmless;

type Label = [(&'static str, &'static str); 1];

/// The metrics of one collector.
#[derive(Debug)]
pub struct CollectorMetrics {
    registry: Registry,
    targets: Family<Label, Gauge>,
    scrapes: Family<Label, Counter>,
    seconds: Histogram,
    sent: Family<Label, Counter>,
    undelivered: Family<Label, Counter>,
    partitions: Family<Label, Gauge>,
    in_group: AtomicBool,
}

impl Default for CollectorMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ops_collect");
        // From a millisecond to the longest that a scrape may take.
        let seconds = Histogram::new(exponential_buckets(0.001, 2.5, 11));
        let (targets, partitions) = (Family::<Label, Gauge>::default(), Family::<Label, Gauge>::default());
        let [scrapes, sent, undelivered]: [Family<Label, Counter>; 3] = Default::default();
        registry.register("targets", "Targets by state: up, down", targets.clone());
        registry.register("scrapes", "Scrapes of sensors by outcome: up, or why down", scrapes.clone());
        registry.register("scrape_seconds", "Time from the question to the readings of a page", seconds.clone());
        registry.register("sent", "Records given to the cluster: readings, or what is told of targets", sent.clone());
        registry.register("undelivered", "Records that found no room or were not acknowledged", undelivered.clone());
        registry.register("partitions", "Partitions of ops.services that are scraped here, by how", partitions.clone());
        // There from the beginning: the first of a kind is to be a rise.
        ["up", "down"].iter().for_each(|state| drop(targets.get_or_create(&[("state", state)])));
        drop(scrapes.get_or_create(&[("outcome", "up")]));
        ["reading", "health"].iter().for_each(|what| drop(sent.get_or_create(&[("what", what)])));
        ["reading", "health", "record"].iter().for_each(|what| drop(undelivered.get_or_create(&[("what", what)])));
        Self { registry, targets, scrapes, seconds, sent, undelivered, partitions, in_group: AtomicBool::new(false) }
    }
}

impl CollectorMetrics {
    /// One page was asked for; the outcome of each of its sensors.
    pub fn scraped(&self, took: Duration, outcomes: impl Iterator<Item = &'static str>) {
        self.seconds.observe(took.as_secs_f64());
        for outcome in outcomes {
            self.scrapes.get_or_create(&[("outcome", outcome)]).inc();
        }
    }

    /// So many more targets, or fewer, are up and down.
    pub fn moved(&self, up: i64, down: i64) {
        self.targets.get_or_create(&[("state", "up")]).inc_by(up);
        self.targets.get_or_create(&[("state", "down")]).inc_by(down);
    }

    /// What is scraped here. Sets `/readyz`.
    pub fn hold(&self, owned: usize, adopted: usize, in_group: bool) {
        self.partitions.get_or_create(&[("how", "owned")]).set(number(owned));
        self.partitions.get_or_create(&[("how", "adopted")]).set(number(adopted));
        self.in_group.store(in_group, Ordering::Relaxed);
    }

    /// A record was given to the cluster.
    pub fn sent(&self, is_reading: bool) {
        self.sent.get_or_create(&[("what", what(is_reading))]).inc();
    }

    /// Records found no room in our own queue.
    pub fn undelivered(&self, is_reading: bool, records: u64) {
        self.undelivered.get_or_create(&[("what", what(is_reading))]).inc_by(records);
    }
}

fn what(is_reading: bool) -> &'static str {
    if is_reading { "reading" } else { "health" }
}

impl Source for CollectorMetrics {
    fn text(&self) -> String {
        text_of(&self.registry)
    }

    fn is_ready(&self) -> bool {
        self.in_group.load(Ordering::Relaxed)
    }
}

/// A target went up or down.
pub struct TargetMoved<'a> {
    /// Whose.
    pub service: &'a ServiceId,
    /// How it is now.
    pub target: &'a Target,
}

impl TargetMoved<'_> {
    /// Log alone; the metric is [`CollectorMetrics::moved`].
    pub fn emit(self) {
        let Self { service, target: Target { sensor, url, up, reason, .. } } = self;
        match up {
            true => tracing::info!(%service, sensor, url, "target up"),
            false => {
                let reason = harmless(reason.as_deref().unwrap_or_default());
                tracing::warn!(%service, sensor, url, reason, "target down");
            }
        }
    }
}

/// Records that the cluster did not take.
pub struct Undelivered<'a> {
    /// How many.
    pub records: u64,
    /// Why.
    pub reason: &'a str,
}

impl Undelivered<'_> {
    /// Log and metric.
    pub fn emit(self, metrics: &CollectorMetrics) {
        tracing::warn!(records = self.records, reason = self.reason, "not delivered to the cluster");
        metrics.undelivered.get_or_create(&[("what", "record")]).inc_by(self.records);
    }
}
