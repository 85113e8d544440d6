//! What the receivers tell of themselves. Labels are bounded: paths, statuses, outcomes. Written by
//! [`crate::collect::receive`], read by whoever scrapes `/metrics`; decides nothing.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::{Source, text_of};

/// Upper ends of the answer times, s.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// The numbers of one process.
#[derive(Debug)]
pub struct ReceiverMetrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    samples: Family<Labels<2>, Counter>,
    delivered: Counter,
    undelivered: Counter,
    under_way: Gauge,
    under_way_bytes: Gauge<i64, std::sync::atomic::AtomicI64>,
}

impl Default for ReceiverMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ops_receiver");
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            samples: Family::default(),
            delivered: Counter::<u64, AtomicU64>::default(),
            undelivered: Counter::default(),
            under_way: Gauge::default(),
            under_way_bytes: Gauge::default(),
        };
        registry.register("requests", "Requests by path and status", metrics.requests.clone());
        registry.register("answer_seconds", "From a request's head to its answer, s", metrics.seconds.clone());
        registry.register("samples", "Samples by path and what became of them", metrics.samples.clone());
        registry.register("delivered", "Readings that the cluster has acknowledged", metrics.delivered.clone());
        registry.register("undelivered", "Readings that it has not, in time", metrics.undelivered.clone());
        registry.register("under_way", "Readings that wait for the cluster", metrics.under_way.clone());
        registry.register("under_way_bytes", "Their keys and values, bytes", metrics.under_way_bytes.clone());
        Self { registry, ..metrics }
    }
}

impl ReceiverMetrics {
    /// A request was answered.
    pub fn answered(&self, path: &'static str, status: u16, took: Duration) {
        let path = || ("path", path.to_owned());
        self.requests.get_or_create(&[path(), ("status", status.to_string())]).inc();
        self.seconds.get_or_create(&[path()]).observe(took.as_secs_f64());
    }

    /// Samples were sorted, by outcome.
    pub fn sampled(&self, path: &'static str, outcomes: impl IntoIterator<Item = (&'static str, u64)>) {
        for (outcome, number) in outcomes.into_iter().filter(|(_, number)| *number > 0) {
            let labels = [("path", path.to_owned()), ("outcome", outcome.to_owned())];
            self.samples.get_or_create(&labels).inc_by(number);
        }
    }

    /// What the cluster has acknowledged of a request, and what it has not.
    pub fn delivered(&self, delivered: u64, undelivered: u64) {
        self.delivered.inc_by(delivered);
        self.undelivered.inc_by(undelivered);
    }

    /// How many readings, of how many bytes, wait for the cluster.
    pub fn under_way(&self, (records, bytes): (u64, u64)) {
        self.under_way.set(i64::try_from(records).unwrap_or(i64::MAX));
        self.under_way_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Source for ReceiverMetrics {
    fn text(&self) -> String {
        text_of(&self.registry)
    }

    /// It listens only when all that it needs is there.
    fn is_ready(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_told_by_path_and_outcome() {
        let metrics = ReceiverMetrics::default();
        metrics.answered("write", 200, Duration::from_millis(30));
        metrics.sampled("write", [("taken", 3), ("stale", 0)]);
        metrics.delivered(3, 1);
        let text = metrics.text();
        for line in [
            "ops_receiver_requests_total{path=\"write\",status=\"200\"} 1",
            "ops_receiver_answer_seconds_bucket{le=\"0.05\",path=\"write\"} 1",
            "ops_receiver_samples_total{path=\"write\",outcome=\"taken\"} 3",
            "ops_receiver_undelivered_total 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("stale"), "{text}");
    }
}
